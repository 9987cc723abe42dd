"""Promise P9, as far as logs, metrics and events go: marked words are planted wherever a
patient's data can stand and whatever can go wrong with them, and must then be nowhere
but in the tables that hold them. The cases are run by promises.py."""
import os

from harness import Failed, frame, wait_for
from promises_books import adt, pack_folder
from promises_service import Service

WORD = "zebraquartz"                     # begins every planted word

# One script for each way in which a value can get into an error.
SCRIPTS = {
    "text": 'error("cannot map " .. name)',
    "table": "error({ patient = name })",
    "tostring": "error(setmetatable({}, { __tostring = function() return name end }))",
    "arithmetic": "return name + 1",
    "call": "return name()",
    "index": "return _G[name].x",
    "path": "return msg:get(name)",
    "require": "return require(name)",
    "decimal": 'return require("host").decimal(name)',
    "json": 'return require("json").decode(name)',
    "key": 'out:put({ resourceType = "Basic", [name] = "x" })',
    "kind": "out:put({ resourceType = name })",
    "deep": 'out:put({ resourceType = "Basic", text = { [name] = function() end } })',
    "service": 'out:put({ resourceType = "Basic", id = "b" }, { to = name })',
    "options": 'out:put({ resourceType = "Basic", id = "b" }, { [name] = 1 })',
    "refuse": 'out:refuse("not this one: " .. name)',
    "skip": 'out:skip("not this one: " .. name)',
}


def phi(n):
    """Words of message n, and a message that is full of them."""
    words = {place: f"{WORD}{n}{place}" for place in (
        "family", "given", "mrn", "street", "phone", "kin", "visit", "doctor", "note", "value", "private")}
    extra = (f"NK1|1|{words['kin']}^Jo|SPO|{words['street']}^^Town|{words['phone']}\r"
             f"PV1|1|I|W^1||||77^{words['doctor']}{'|' * 12}{words['visit']}^^^H^VN\r"
             f"OBX|1|ST|8302-2^Height^LN||{words['value']}||||||F\rNTE|1||{words['note']}\rZPI|1|{words['private']}\r")
    message = adt(f"secret-{n}", words["mrn"], words["family"], "A01", extra=extra)
    return message.replace(b"^Lena||19780422|F", f"^{words['given']}||19780422|F|||{words['street']}||{words['phone']}".encode())


def found(text):
    """Where a planted word stands in a text."""
    low = text.lower()
    at = low.find(WORD)
    return text[max(0, at - 150):at + 80] if at >= 0 else ""


def look_everywhere(x, what):
    s = x.s
    for log in sorted(os.listdir(s.folder)):
        if log.endswith(("engine.log", "fhir-demo.log", "nats.log")):
            with open(os.path.join(s.folder, log), encoding="utf-8", errors="replace") as file:
                s.check(not found(text := file.read()), f"{what}: no word of it in {log}", found(text))
    metrics = x.engine.get("/metrics").body.decode()
    s.check(not found(metrics), f"{what}: nor in /metrics", found(metrics))
    events = x.pg.psql("select subject || payload::text from outbox_events")
    s.check(not found(events), f"{what}: nor in an event", found(events))


def planted(x, tenant):
    """The words are where they belong, or the case would prove nothing."""
    n = x.pg.value("select (select count(*) from hl7_messages where tenant_id = "
                   f"'{tenant}' and raw_payload like '%{WORD}%') + (select count(*) from hl7_quarantine where tenant_id = "
                   f"'{tenant}' and encode(bytes, 'escape') like '%{WORD}%') n")
    if n == 0:
        raise Failed("no word was planted")


def p9_messages(x):
    s, port = x.s, x.open("secret", "--type", "ADT")
    with s.mllp(port) as client:
        s.equal(client.exchange(phi(1)).code, "AA", "a message full of marked words is stored")
    x.ended("secret")
    s.check(x.pg.value(f"select count(*) n from fhir_demo.resource where rest like '%{WORD}1family%'") == 1, "and delivered")
    message = phi(2)
    for data in (frame(message.replace(b"MSH|", b"XSH|")), frame(b"MSH|^~\\&|" + WORD.encode()), message + b"\x1c\r",
                 frame(message.replace(b"ADT^A01", b"ORU^R01")), frame(message.replace(b"secret-2", b"")),
                 frame(message.replace(b"secret-2", b"i" * 150 + WORD.encode() + b"i" * 90)),
                 frame(message.replace(b"secret-2", b"secret-1")), b"\x0b" + message):
        with s.mllp(port) as client:
            client.send(data)
            if data.startswith(b"\x0b" + b"MSH") and not data.endswith(b"\r\n") and b"\x1c" not in data:
                client.socket.shutdown(1)                # the end that is missing
            ack = client.receive()
            s.check(ack is not None and ack.code in ("AR", "AE"), "a flawed one is refused", repr(ack)[:80])
            s.check(not found(ack.reason), "with a reason that quotes nothing of it", ack.reason)
    with s.mllp(port) as client:
        client.exchange(phi(3).replace(b"Town", b"To\x00wn"))
        client.exchange(phi(4).replace(b"Town", b"To\xffwn"))
    planted(x, "secret")
    reasons = x.pg.psql("select detail from hl7_quarantine")
    s.check(not found(reasons), "nor does quarantine's text", found(reasons))
    look_everywhere(x, "messages")


def p9_scripts(x):
    s = x.s
    for n, (name, body) in enumerate(SCRIPTS.items()):
        folder = pack_folder(s, f"leak-{name}", f'return function(msg, out)\n  local name = msg:get "PID-5.1"\n  {body}\nend\n')
        with s.mllp(x.open(f"leak-{name}", "--pack", folder, "--set", "max_attempts=2")) as client:
            s.equal(client.exchange(phi(100 + n)).code, "AA", f"for a script that fails by its {name}")
    wait_for("all to end", lambda: x.pg.value("select count(*) n from hl7_messages where tenant_id like 'leak-%' and "
                                              "processing_status not in ('dead_lettered', 'processed')") == 0)
    s.equal(x.pg.psql("select tenant_id from hl7_messages where tenant_id like 'leak-%' and processing_status = 'processed' "
                      "order by 1").split(), ["leak-skip"], "each of them failed, but for the one that only skips")
    look_everywhere(x, "scripts")


def p9_deliveries(x):
    """The service quotes the patient in every refusal, and breaks off in between."""
    s, service = x.s, Service(x.s, x.demo)
    service.errand = f"no patient {WORD}errand of mrn {WORD}mrn"
    s.interop("rule", "add", "--type", "Patient", "--url", service.url)
    rule = x.pg.value("select id from fhir_routing_rules where active and resource_type = 'Patient'")
    tenants = {400: 1, 409: 1, 412: 1, 422: 1, 302: 1, 503: 2, 401: 2, 429: 2, 404: 2, "drop": 2}
    for n, (mood, times) in enumerate(tenants.items()):
        service.be(f"refuse-{mood}", mood, times if times > 1 else None)
        with s.mllp(x.open(f"refuse-{mood}", "--set", "max_attempts=2")) as client:
            s.equal(client.exchange(phi(200 + n)).code, "AA", f"for a service that answers {mood}")
    wait_for("all to end", lambda: x.pg.value("select count(*) n from hl7_messages where tenant_id like 'refuse-%' and "
                                              "processing_status not in ('dead_lettered', 'processed')") == 0, 40)
    service.close()
    s.interop("rule", "deactivate", rule)
    look_everywhere(x, "deliveries")


def p9_database(x):
    """A row that PostgreSQL refuses, with a text of its own that quotes it."""
    s, port = x.s, x.open("refused")
    x.pg.psql(f"create function leak() returns trigger language plpgsql as $$ begin if new.raw_payload like '%{WORD}300%' then "
              "raise exception 'cannot store %', new.raw_payload using errcode = '22000', detail = new.raw_payload; end if; "
              "return new; end $$; create trigger leak before insert on hl7_messages for each row execute function leak();")
    with s.mllp(port) as client:
        ack = client.exchange(phi(300))
        s.equal(ack.code, "AE", "a row that the database refuses is refused")
        s.check(not found(repr(ack)), "and the answer does not quote it", repr(ack))
    x.pg.psql("drop trigger leak on hl7_messages; drop function leak();")
    planted(x, "refused")
    look_everywhere(x, "the database")


P9_CASES = [p9_messages, p9_scripts, p9_deliveries, p9_database]
