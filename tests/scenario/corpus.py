#!/usr/bin/env python3
"""Every message of the corpus, sent by clients that others wrote.

Each client has a connector of its own and sends through a wire tap, since clients may
re-encode: what counts is what crossed the wire. What is well-formed must be acknowledged,
stored with exactly those bytes, and rebuilt from parsed_data to the same; what is not gets
a negative acknowledgement that says why, and its bytes stand in quarantine. Where the wire
carried what the file holds, corpus_verdicts.tsv, a reviewed table, says which it must be.

The connectors accept reused control ids, for many of these files share one; the default,
which refuses them, is the last case. They acknowledge in original mode, for some files ask
for no acknowledgement (MSH-15 and MSH-16 are NE or ER).
"""
import collections
import concurrent.futures
import csv
import json
import os
import re
import subprocess
import sys

from harness import PATIENCE, ROOT, SANITIZED, SHARED, Ack, Scenario, frame, frames, free_port, listening, wait_for

CORPUS = os.path.join(SHARED, "corpus")
CLIENTS = os.path.join(ROOT, "tests", "scenario", "clients")
NPM = os.path.join(ROOT, "build", "npm", "node_modules")

# What the engine's quarantine calls the table's reasons, where it has one word for several.
QUARANTINED_AS = {"bad-segment": "bad-message", "bad-delimiters": "bad-message", "no-msh": "bad-message"}

AROUND = (b"FHS", b"BHS", b"BTS", b"FTS")

Verdict = collections.namedtuple("Verdict", "messages ok reason")


def read_verdicts():
    with open(os.path.join(ROOT, "tests", "scenario", "corpus_verdicts.tsv"), encoding="utf-8") as table:
        return {row["file"]: Verdict(int(row["messages"]), row["verdict"] == "ok", row["reason"])
                for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)}


def read(path):
    with open(path, "rb") as file:
        return file.read()


# -- the clients: each sends the files one after the other, a connection each, and tells of
# -- those that it did not send

def send_by(command, tap, files, prepared, **env):
    """By a program that is told the files' names; `prepared` gives the name of what is sent for a file."""
    child = subprocess.Popen([*command, str(tap.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, env={**os.environ, **env})
    try:
        for path in files:
            before = len(tap.connections)
            child.stdin.write(prepared(path) + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
            answer = json.loads(line) if line else {"error": "the client ended"}
            yield path, tap.connections[before:], answer.get("error", "")
    finally:
        child.kill()
        child.wait()


def send_by_python(tap, files, scratch):
    """python3-hl7's mllp_send. It wants the framing in the file, and passes on what is in it."""
    def framed(path):
        wrapped, data = os.path.join(scratch, "framed"), read(path)
        with open(wrapped, "wb") as out:
            out.write(data if b"\x1c" in data else frame(data))
        return wrapped
    return send_by([sys.executable, os.path.join(CLIENTS, "send.py")], tap, files, framed, PATIENCE=str(PATIENCE))


def send_by_node(name):
    def send(tap, files, _):
        return send_by(["node", os.path.join(CLIENTS, "send.js"), name], tap, files, lambda path: path, NODE_PATH=NPM)
    return send


# -- what crossed the wire

def messages_in(content):
    """The messages of one frame: it may hold a batch or several (HL7 2.10.3). In a way of our
    own, for comparing: segments with their terminators, cut before each MSH. Headers, trailers
    and blank lines between messages belong to none; in the midst of one they tear it."""
    segments = re.findall(rb"[^\r\n]*(?:\r\n|\r|\n|$)", content)
    if len([line for line in segments if line.startswith(AROUND + (b"MSH",))]) < 2:
        return [content]
    found, held = [], b""
    for line in segments:
        if line.startswith(b"MSH"):
            found.append(line)
            held = b""
        elif found and (line.startswith(AROUND) or not line.strip()):
            held += line
        elif found:
            found[-1] += held + line
            held = b""
    return found


def answers_in(data):
    """(code, whether a reason is given) of every MSA that came back."""
    found = []
    for content in frames(data):
        for message in messages_in(content):
            ack = Ack(message)
            found.append((ack.code, bool(ack.reason or ack.error)))
    return found


def stable(message):
    """A message without MSH-7 and MSH-8, which senders renew when they send again (promise P2)."""
    before, msh, rest = re.match(rb"(.*?)(MSH[^\r\n]*)(.*)", message, re.S).groups()
    sep = msh[3:4]
    fields = msh.split(sep)
    if sep:
        fields[6:8] = [b"" for _ in fields[6:8]]
        msh = sep.join(fields)
    return before + msh + rest


class Account:
    """What became of one client's files."""

    def __init__(self, client):
        self.client = client
        self.counts = collections.Counter()
        self.unsent = collections.Counter()
        self.wrong = []

    def miss(self, file, text):
        self.wrong.append(f"{file}: {text}")


def judge(account, name, data, connection, verdict, stored, aside):
    """One connection: every message on it stored or in quarantine, as it was answered. `stored`: as it was sent, and
    without what a sender renews."""
    for content in frames(connection.sent):
        messages = messages_in(content)
        answers = answers_in(connection.answered)
        positive = [code for code, _ in answers if code in ("AA", "CA")]
        negative = [said for code, said in answers if code not in ("AA", "CA")]
        same = content.strip(b"\x0b\r\n") == data.strip(b"\x0b\x1c\r\n")
        account.counts["as the file"] += same

        if same and verdict.ok and (len(positive), len(negative)) != (verdict.messages, 0):
            account.miss(name, f"{verdict.messages} positive answers expected, got {answers}")
        if same and not verdict.ok and (positive or not negative):
            account.miss(name, f"to be refused as {verdict.reason}, got {answers}")
        if not all(negative):
            account.miss(name, "refused without saying why")
        if not answers:
            account.miss(name, "no answer")
            continue

        if not negative:
            for message in messages:
                if message in stored[0]:
                    account.counts["stored"] += 1
                elif stable(message) in stored[1]:
                    account.counts["stored before (only MSH-7 or MSH-8 differs)"] += 1
                else:
                    account.miss(name, "acknowledged, but no row has its bytes")
        else:
            held = [reason for reason, kept in aside if kept in content]
            if not held:
                account.miss(name, "refused, but not in quarantine")
            elif same and not verdict.ok and QUARANTINED_AS.get(verdict.reason, verdict.reason) not in held:
                account.miss(name, f"in quarantine as {held}, not as {verdict.reason}")
            else:
                account.counts["refused"] += 1


def wait_answered(connection):
    """Until both sides have closed; a client that forgets to does not keep us long after its answer."""
    for _ in range(100):
        if connection.ended.wait(0.1 if not frames(connection.answered) else 0.5) or frames(connection.answered):
            return


def rebuild(s, pg):
    """Every message rebuilt from parsed_data by the command line; of those with the same bytes one, if it is alike in all."""
    exact = "coalesce(raw_bytes, convert_to(raw_payload, 'UTF8'))"
    rows = pg.rows(f"select min(id) id, encode({exact}, 'hex') as bytes, count(distinct parsed_data) kinds, count(*) n "
                   f"from hl7_messages group by {exact}")

    def one(row):
        made = s.run("message", "show", row["id"], "--tenant", "north", "--format", "parsed", code=None)
        return row["id"], made.stdout == bytes.fromhex(row["bytes"]) and row["kinds"] == 1
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [message for message, good in pool.map(one, rows) if not good]
    s.check(rows and not wrong, f"{sum(row['n'] for row in rows)} messages, {len(rows)} of them different, are rebuilt from "
            "parsed_data to the same bytes", f"not {', '.join(wrong[:10])}")


def run_client(s, pg, client, send, files, verdicts):
    port = free_port()
    connector = s.interop_json("connector", "add", "--tenant", "north", "--name", client, "--protocol", "mllp",
                               "--direction", "inbound", "--port", port, "--pack", "lua/packs/v2-to-fhir",
                               "--reused-ids", "accept", "--set", "ack_mode=original", "--set", "max_attempts=1", "--activate")["id"]
    wait_for(f"port {port}", lambda: listening(port))
    tap = s.tap(port)
    account = Account(client)
    seen = []
    for path, connections, error in send(tap, files, s.scratch):
        if not any(frames(connection.sent) for connection in connections):
            account.unsent[re.sub(r"\d+", "N", error)] += 1
        for connection in connections:
            wait_answered(connection)
            seen.append((path, connection))

    def parsed():
        return pg.value(f"select count(*) from hl7_messages where connector_id = '{connector}' and parsed_data is null") == 0
    wait_for(f"{client}'s messages to be parsed", parsed, 120, 0.2)
    exact = {bytes.fromhex(row["bytes"]) for row in pg.rows(
        f"select encode(coalesce(raw_bytes, convert_to(raw_payload, 'UTF8')), 'hex') as bytes "
        f"from hl7_messages where connector_id = '{connector}'")}
    stored = exact, {stable(message) for message in exact}
    aside = [(row["reason"], bytes.fromhex(row["bytes"])) for row in pg.rows(
        f"select reason, encode(bytes, 'hex') as bytes from hl7_quarantine where connector_id = '{connector}'")]
    for path, connection in seen:
        name = os.path.relpath(path, CORPUS)
        judge(account, name, read(path), connection, verdicts[name], stored, aside)

    counts = account.counts
    s.say(f"{client}: {len(files)} files; "
          + ", ".join(f"{counts[key]} {key}" for key in ("as the file", "stored", "stored before (only MSH-7 or MSH-8 differs)",
                                                        "refused") if counts[key])
          + "".join(f"; {n} not sent ({why})" for why, n in account.unsent.items()))
    for line in account.wrong:
        s.say(f"   WRONG {line}")
    s.check(not account.wrong, f"{client}: every message is where its answer says", f"{len(account.wrong)} are not")
    return account


def reused_ids(s, pg):
    """The default: an id reused for other content is refused, a repeat is not."""
    port = free_port()
    s.interop("connector", "add", "--tenant", "north", "--name", "strict", "--protocol", "mllp", "--direction", "inbound",
              "--port", port, "--pack", "lua/packs/v2-to-fhir", "--activate")
    wait_for(f"port {port}", lambda: listening(port))
    first = b"MSH|^~\\&|LAB|NORTH|||20260301080000||ADT^A01|1001|P|2.5\rPID|1||17^^^NORTH^MR||DOE^JANE\r"
    again = first.replace(b"20260301080000", b"20260301090000")
    other = first.replace(b"DOE^JANE", b"ROE^JOHN")
    client = s.mllp(port)
    s.equal([client.exchange(message).code for message in (first, again)], ["AA", "AA"],
            "a message and its repeat with a later MSH-7 are acknowledged")
    ack = client.exchange(other)
    s.equal((ack.code[1], ack.error, ack.control_id), ("R", "205", "1001"), "other content under its id is refused with 205")
    rows = pg.rows("select m.message_control_id from hl7_messages m join interop_connectors c on c.id = m.connector_id "
                   "where c.name = 'strict'")
    s.equal(rows, [{"message_control_id": "1001"}], "one row is stored")
    held = pg.rows("select reason, encode(bytes, 'hex') as bytes, count from hl7_quarantine q join interop_connectors c "
                   "on c.id = q.connector_id where c.name = 'strict'")
    s.equal(held, [{"reason": "reused-id", "bytes": other.hex(), "count": 1}], "the other's bytes are in quarantine")


def main():
    with Scenario("corpus") as s:
        pg = s.postgres()
        s.interop("migrate")
        fhir = s.fhir_demo()
        s.interop("rule", "add", "--type", "*", "--url", fhir)
        engine = s.engine()
        if os.path.isdir(CORPUS):
            verdicts = read_verdicts()
            files = sorted(os.path.join(folder, file) for folder, _, names in os.walk(CORPUS)
                           for file in names if file.endswith(".hl7"))
            s.equal(sorted(os.path.relpath(path, CORPUS) for path in files), sorted(verdicts),
                    f"the table has a verdict for each of {len(files)} files")
            run_client(s, pg, "mllp-send", send_by_python, files, verdicts)
            for name in ("medplum", "simple-hl7", "node-hl7-client"):
                if SANITIZED and name != "node-hl7-client":
                    s.left_out(f"{name}: sends much the same, and all of them against the release build")
                elif os.path.isdir(NPM):
                    run_client(s, pg, name, send_by_node(name), files, verdicts)
                else:
                    s.left_out(f"{name}: not installed (no npm registry?)")
            rebuild(s, pg)
            status = pg.rows("select processing_status, count(*) from hl7_messages group by 1 order by 1")
            s.say("afterwards: " + ", ".join(f"{row['count']} {row['processing_status']}" for row in status))
        else:
            s.left_out(f"the corpus (no {CORPUS})")
        reused_ids(s, pg)
        engine.stop()


if __name__ == "__main__":
    sys.exit(main())
