"""`interop map` from outside: files, batches, character sets, what fails, exit codes."""
import json
import os
import subprocess
import sys
import tempfile

BINARY, ROOT = sys.argv[1], sys.argv[2]
DATA = os.path.join(ROOT, "tests/data")

PACK = {
    "pack.lua": """return { name = "p", version = "1",
        handlers = { ADT = "adt", ["ORU^R01"] = "bad", MDM = "loop", SIU = "skip", ACK = "refuse" },
        settings = { site = { type = "string", default = "none" } } }""",
    "adt.lua": """local host = require "host"
        return function(msg, out)
          local p = { resourceType = "Patient", name = { { family = msg:get "PID-5" } }, n = host.null,
                      at = host.datetime("202607150930"), site = msg.settings.site,
                      sex = (host.table("sex")[msg:get "PID-8"] or {}).to }
          out:put(p, { if_none_exist = "identifier=" .. msg:get "MSH-10" })
          out:put(p, { to = "archive" })
          out:event("seen", { n = 1 })
          out:hl7("west", msg:copy { ["MSH-5"] = "X" })
        end""",
    "bad.lua": 'return function(msg, out) error "no PID-3" end',
    "loop.lua": "return function(msg, out) while true do end end",
    "skip.lua": 'return function(msg, out) out:skip "not ours" end',
    "refuse.lua": 'return function(msg, out) out:refuse "unwanted" end',
    "tables/sex.csv": "code,to\nF,female\n",
}


def message(kind, control_id="1", family="Doe", extra=""):
    return f"MSH|^~\\&|A|B|C|D|20260418||{kind}|{control_id}|P|2.5{extra}\rPID|1||7||{family}|||F\r"


def write(folder, files):
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())


def run(*args, folder, stdin=b""):
    env = dict(os.environ, INTEROP_LUA=os.path.join(ROOT, "lua"))
    done = subprocess.run([BINARY, "map", *args], cwd=folder, env=env, input=stdin, capture_output=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def check(what, holds):
    if not holds:
        sys.exit(f"map: {what}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        write(folder, {f"pack/{name}": text for name, text in PACK.items()})
        write(folder, {
            "a.hl7": message("ADT^A01", "A-1"),
            "latin.hl7": message("ADT^A01", "L-1", "M\xfcller", "||||||8859/1").encode("latin-1"),
            "utf16.hl7": message("ADT^A01", "U-1", "M\xfcller").encode("utf-16"),
            "batch.hl7": "FHS|^~\\&\rBHS|^~\\&\r" + message("ADT^A01", "B-1") + message("ORU^R01", "B-2")
                         + message("MDM^T02", "B-3") + message("ADT^A08", "B-4") + "BTS|4\rFTS|1\r",
            "skip.hl7": message("SIU^S12"), "refuse.hl7": message("ACK"), "none.hl7": message("ZZZ^Z01"),
            "broken.hl7": "MSH|^~\\&|A\rPID\x01|1\r", "stray.hl7": "hello\r" + message("ADT^A01"), "empty.hl7": "",
            "settings.json": '{"site":"west"}', "wrong.json": '{"sight":"west"}',
            "over/sex.csv": "code,to\nF,other\n", "bad/sex.csv": "code\nx,y\n",
        })

        code, out, err = run("pack", "a.hl7", "latin.hl7", "utf16.hl7", folder=folder)
        check(f"three good files: {code} {err}", code == 0 and err == "")
        check("a Bundle each, named by its MSH-10", [b["identifier"] for b in out] ==
              [{"value": "A-1"}, {"value": "L-1"}, {"value": "U-1"}])
        check("text in UTF-8", [b["entry"][0]["resource"]["name"][0]["family"] for b in out] == ["Doe", "M\xfcller", "M\xfcller"])
        entry = out[0]["entry"]
        check(f"one entry, though it goes to two services: {entry}", len(entry) == 1)
        check("a conditional create", entry[0]["request"] ==
              {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=A-1"})
        check("no deletion mark, no offset", "n" not in entry[0]["resource"] and entry[0]["resource"]["at"] == "2026-07-15")
        check("setting and table of the pack", entry[0]["resource"]["site"] == "none" and entry[0]["resource"]["sex"] == "female")

        code, out, _ = run("pack", "a.hl7", "--timezone", "Europe/Berlin", "--settings=settings.json", "--tables", "over",
                           "--all", folder=folder)
        resource = out[0]["bundle"]["entry"][0]["resource"]
        check(f"given zone, settings, tables: {resource}", code == 0 and resource["at"] == "2026-07-15T09:30:00+02:00"
              and resource["site"] == "west" and resource["sex"] == "other")
        check("all: routes, events, messages", out[0]["routes"][0]["to"] == "archive"
              and out[0]["events"] == [{"type": "seen", "data": {"n": 1}}]
              and out[0]["hl7"][0]["connector"] == "west" and "|X|" in out[0]["hl7"][0]["text"])

        code, out, err = run("pack", "batch.hl7", "a.hl7", folder=folder)
        lines = err.splitlines()
        check(f"the rest go on: {code} {err}", code == 1 and [b["identifier"]["value"] for b in out] == ["B-1", "B-4", "A-1"])
        check(f"a line each: {lines}", len(lines) == 2
              and lines[0] == "interop map: batch.hl7: message 2: bad.lua:1: no PID-3"
              and lines[1].startswith("interop map: batch.hl7: message 3: loop.lua:1: CPU time budget"))

        for name, expected, text in (("skip.hl7", 0, "skipped: not ours"), ("refuse.hl7", 1, "refused: unwanted"),
                                     ("none.hl7", 0, "skipped: no handler for ZZZ^Z01"), ("broken.hl7", 1, "message 1: "),
                                     ("stray.hl7", 1, "belongs to no message"), ("empty.hl7", 1, "holds no message"),
                                     ("gone.hl7", 1, "cannot read gone.hl7")):
            code, out, err = run("pack", name, folder=folder)
            check(f"{name}: {code} {err}", code == expected and text in err and err.count("\n") == 1)
            check(f"{name}: what came out", len(out) == (name == "stray.hl7"))
        code, out, _ = run("pack", "skip.hl7", "refuse.hl7", "--all", folder=folder)
        check("all: skipped and refused", code == 1 and out[0]["skipped"] == "not ours" and out[1]["refused"] == "unwanted")

        code, out, err = run("pack", "-", folder=folder, stdin=message("ADT^A01", "S-1").encode())
        check("standard input", code == 0 and out[0]["identifier"]["value"] == "S-1")

        for args, text in ((["pack"], "name a pack's folder"), (["pack", "a.hl7", "--nope"], "unknown option"),
                           (["pack", "a.hl7", "--timezone", "Mars/Base"], "timezone 'Mars/Base': no such IANA zone"),
                           (["pack", "a.hl7", "--settings", "wrong.json"], "no setting 'sight'")):
            code, out, err = run(*args, folder=folder)
            check(f"{args}: {code} {err}", code == 2 and text in err and out == [])
        for args, text in ((["over", "a.hl7"], "over/pack.lua: No such file"),
                           (["pack", "a.hl7", "--tables", "bad"], "bad/sex.csv: line 2")):
            code, out, err = run(*args, folder=folder)
            check(f"{args}: {code} {err}", code == 1 and text in err and out == [])

        first = run("pack", "a.hl7", "--all", folder=folder)
        check("the same bytes again", first == run("pack", "a.hl7", "--all", folder=folder))


main()
