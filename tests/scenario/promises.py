#!/usr/bin/env python3
"""Promises P1 (durable), P2 (once), P5 (nothing vanishes), P6 (immutable), P9 (secret, in logs
and what leaves) and P10 (told), each by cases that fail when it is broken.
`promises.py p1 p5` runs the cases of these. P4 and P7 are in promises_delivery.py."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

from harness import DATA, PATIENCE, Failed, Scenario, frame, wait_for
from promises_books import Load, adt, site
from promises_secret import P9_CASES


class Site:
    """The parts that all cases share; each case has a tenant of its own."""

    def __init__(self, s):
        self.s = s
        self.pg = s.postgres()
        self.nats = s.nats()
        s.interop("migrate")
        self.demo = s.fhir_demo()
        self.engine = s.engine(INTEROP_LOG_LEVEL="debug")

    def restart(self):
        self.engine.stop()
        self.engine = self.s.engine()

    def open(self, tenant, *more):
        """The port of a tenant's new connector."""
        port = site(self.s, self.pg, self.demo, tenant, None, "adt", "--set", "retry_base_ms=20", "--set",
                    "retry_cap_ms=50", *more)

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_for("the listener", listens)
        return port

    def rows(self, tenant, columns="message_control_id id, sent_control_id sent, processing_status status"):
        return self.pg.rows(f"select {columns} from hl7_messages where tenant_id = '{tenant}' order by seq")

    def quarantine(self, tenant):
        return self.pg.rows("select id, reason, detail, encode(bytes, 'hex') bytes, count, byte_count, released_at, message_id "
                            f"from hl7_quarantine where tenant_id = '{tenant}' order by first_at, id")

    def ended(self, tenant):
        wait_for(f"{tenant}'s messages to end", lambda: self.pg.value(
            f"select count(*) n from hl7_messages where tenant_id = '{tenant}' and processing_status <> 'processed'") == 0)


class Session:
    """A psql that stays open, to hold a lock or a transaction."""

    def __init__(self, pg, sql):
        self.child = subprocess.Popen(["psql", pg.owner_url, "-XAtq", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        self.child.stdin.write(sql + "\n\\echo held\n")
        self.child.stdin.flush()
        while self.child.stdout.readline().strip() != "held":
            if self.child.poll() is not None:
                raise Failed(f"psql ended: {sql}")

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def silent(client, seconds=0.7):
    """Whether nothing comes within this time."""
    client.socket.settimeout(seconds)
    try:
        client.rest += client.socket.recv(65536)
        return not client.rest
    except TimeoutError:
        return True
    finally:
        client.socket.settimeout(30 * PATIENCE)


# ---- P1: acknowledged only once it is committed ------------------------------------------------

AT_COMMIT = """
create function hold() returns trigger language plpgsql as $$ begin {} return null; end $$;
create constraint trigger hold after insert on hl7_messages deferrable initially deferred
  for each row execute function hold();
"""
NO_HOLD = "drop trigger hold on hl7_messages; drop function hold();"


def p1_waits_for_the_insert(x):
    client = x.s.mllp(x.open("lock"))
    lock = Session(x.pg, "begin; lock table hl7_messages in access exclusive mode;")
    client.send(frame(adt("lock-1")))
    x.s.check(silent(client), "while the table is locked there is no acknowledgement")
    lock.close()
    x.s.equal(client.receive().code, "AA", "it comes when the message is stored")
    x.s.equal(len(x.rows("lock")), 1, "and the row is there")


def p1_waits_for_the_commit(x):
    """The row is inserted, and the commit itself takes long: the answer of the INSERT is not enough."""
    client = x.s.mllp(x.open("commit"))
    x.pg.psql(AT_COMMIT.format("perform pg_advisory_xact_lock_shared(4711);"))
    lock = Session(x.pg, "select pg_advisory_lock(4711);")
    client.send(frame(adt("commit-1")))
    x.s.check(silent(client), "while the commit is held up there is no acknowledgement")
    lock.close()
    x.s.equal(client.receive().code, "AA", "it comes after the commit")
    x.pg.psql(NO_HOLD)
    x.s.equal(len(x.rows("commit")), 1, "and the row is there")


def p1_commit_fails(x):
    """A commit that fails is tried again, and nothing said meanwhile."""
    client = x.s.mllp(x.open("fails"))
    x.pg.psql(AT_COMMIT.format("raise exception 'the disk is full' using errcode = 'disk_full';"))
    client.send(frame(adt("fails-1")))
    x.s.check(silent(client), "while commits fail there is no acknowledgement")
    x.s.equal(x.rows("fails"), [], "and no row")
    x.pg.psql(NO_HOLD)
    x.s.equal(client.receive().code, "AA", "it comes when a commit succeeds")
    x.s.equal([r["id"] for r in x.rows("fails")], ["fails-1"], "and there is one row")


def p1_synchronous_replication(x):
    """'canceling wait for synchronous replication' means: not safe yet."""
    client = x.s.mllp(x.open("sync"))
    ready = x.engine.get("/readyz").body
    x.pg.psql("alter system set synchronous_standby_names = 'nobody'; ")
    x.pg.psql("select pg_reload_conf();")
    wait_for("the setting", lambda: x.pg.value("select current_setting('synchronous_standby_names')") == "nobody")
    client.send(frame(adt("sync-1")))
    x.s.check(silent(client), "while the standby has not confirmed there is no acknowledgement")
    for _ in range(2):
        x.pg.psql("select pg_cancel_backend(pid) from pg_stat_activity where application_name like 'interop ingest %'")
        x.s.check(silent(client), "nor when the wait for it is cancelled")
    x.pg.psql("alter system reset synchronous_standby_names; ")
    x.pg.psql("select pg_reload_conf();")
    x.s.equal(client.receive().code, "AA", "it comes when it is safe")
    x.s.equal([r["id"] for r in x.rows("sync")], ["sync-1"], "of one row")
    x.s.check("failover" in json.dumps(ready).lower() or "standby" in json.dumps(ready).lower(),
              "/readyz tells whether a failover can lose rows", str(ready))


def p1_postgresql_dies(x):
    """PostgreSQL is stopped at once and killed while messages are in flight."""
    load = Load(x.open("dies"), "D", connections=4, patients=3, messages=60 if PATIENCE == 1 else 30)
    for n, sig in enumerate((signal.SIGQUIT, signal.SIGKILL)):
        wait_for("load", lambda g=load.total * (n + 1) // 3: load.acked() >= g, 60, 0.005)
        x.pg.stop(sig)
        time.sleep(0.3)                  # what was on its way has arrived
        acked = load.acked()
        time.sleep(0.5)
        x.s.equal(load.acked() - acked, 0, "without a database nothing is acknowledged")
        x.s.equal(x.engine.get("/readyz").status, 503, "and /readyz says so")
        x.pg.start()
    load.finish(x.s, 90)
    x.ended("dies")
    stored = [r["id"] for r in x.rows("dies")]
    x.s.equal(sorted(load.promised()), sorted(stored), "every acknowledged message has its one row")


def refuses_setting(x, *settings):
    s, env = x.s, dict(x.s.env)
    pg = s.postgres(*settings)
    s.interop("migrate")
    engine = s.engine(ready=False)
    s.equal(engine.child.wait(20 * PATIENCE), 2, f"with {' '.join(settings)} the engine ends with 2")
    told = [json.loads(line) for line in engine.text().splitlines() if '"error"' in line]
    s.equal(len(told), 1, "and one line")
    s.check("fsync or full_page_writes off" in str(told[0]) and "switch both on" in str(told[0]),
            "that says what is wrong and what to do", str(told[0]))
    pg.stop()
    s.env.clear()
    s.env.update(env)


def p1_refuses_fsync_off(x):
    refuses_setting(x, "fsync=off")


def p1_refuses_full_page_writes_off(x):
    refuses_setting(x, "full_page_writes=off")


# ---- P2: once --------------------------------------------------------------------------------

def p2_repeat(x):
    s, client = x.s, x.s.mllp(x.open("repeat"))
    for when in ("20260418093012", "20260418093013", "20260418101500+0200"):
        ack = client.exchange(adt("r1", when=when))
        s.equal((ack.code, ack.control_id), ("AA", "r1"), f"sent with MSH-7 {when} it is acknowledged")
    s.equal(len(x.rows("repeat")), 1, "and stored once")
    x.ended("repeat")
    x.restart()
    with s.mllp(client.socket.getpeername()[1]) as after:
        s.equal(after.exchange(adt("r1", when="20260419000000")).code, "AA", "also after a restart")
    s.equal(len(x.rows("repeat")), 1, "and stored once")
    s.equal(x.pg.value("select count(*) n from hl7_deliveries where tenant_id = 'repeat'"), 1, "and delivered once")


def p2_together(x):
    """The same message on many connections at the same time."""
    s, port = x.s, x.open("together")
    codes, gate = [], threading.Barrier(12)

    def send():
        with s.mllp(port) as client:
            gate.wait()
            codes.append(client.exchange(adt("t1")).code)
    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    s.equal(codes, ["AA"] * 12, "twelve senders of one message are all acknowledged")
    s.equal(len(x.rows("together")), 1, "and it is stored once")


def p2_reused_refused(x):
    s, client = x.s, x.s.mllp(x.open("reuse"))
    other = adt("u1", family="Somebody")
    s.equal(client.exchange(adt("u1")).code, "AA", "an id is used")
    ack = client.exchange(other)
    s.equal((ack.code, ack.error, ack.control_id), ("AR", "205", "u1"), "used for other content it is refused, as a duplicate key")
    s.check("used before" in ack.reason, "with the reason", ack.reason)
    s.equal(len(x.rows("reuse")), 1, "the first one stands alone")
    s.equal([(q["reason"], bytes.fromhex(q["bytes"])) for q in x.quarantine("reuse")], [("reused-id", other)],
            "and the other's bytes are in quarantine")
    s.equal(x.pg.value("select count(*) n from outbox_events where tenant_id = 'reuse' and event_type = 'quarantine.added'"), 1,
            "with an event")


def p2_reused_accepted(x):
    s, client = x.s, x.s.mllp(x.open("accept", "--reused-ids", "accept"))
    for family in ("One", "Two", "Three", "Two", "One", "Three"):
        ack = client.exchange(adt("u1", family=family, when="20260418" + str(93000 + len(family))))
        s.equal((ack.code, ack.control_id), ("AA", "u1"), f"{family} is acknowledged under the id that was sent")
    s.equal([(r["id"], r["sent"]) for r in x.rows("accept")], [("u1", None), ("u1~2", "u1"), ("u1~3", "u1")],
            "three contents are three rows, each repeat none")
    x.ended("accept")


def p2_no_sender(x):
    s, client = x.s, x.s.mllp(x.open("nosender"))
    s.equal(client.exchange(adt("n1", app="")).code, "AA", "a message without sending application is stored")
    s.equal(client.exchange(adt("n1", app="", when="20260418093013")).code, "AA", "its repeat is known")
    s.equal(client.exchange(adt("n1", app="", family="Else")).error, "205", "its id, used again, is refused")
    s.equal(client.exchange(adt("n1", app="LAB")).code, "AA", "another application's same id is another message")
    s.equal(len(x.rows("nosender")), 2, "two rows")


def p2_quarantine_takes_no_id(x):
    s, client = x.s, x.s.mllp(x.open("noid", "--type", "ADT^A08"))
    s.equal(client.exchange(adt("q1", event="A01")).code, "AR", "a type that is not taken is refused")
    s.equal(client.exchange(adt("q1", event="A08")).code, "AA", "and its id is still free")


# ---- P5: nothing vanishes ---------------------------------------------------------------------------

def p5_each_reason(x):
    s, port = x.s, x.open("odd", "--type", "ADT", "--set", "frame_cap=4KiB")
    good = adt("o1")
    cases = [
        ("no start block", b"garbage without a start\x1c\r", "bad-framing", b"garbage without a start", "100"),
        ("no end block", b"\x0b" + good + frame(adt("o2")), "bad-framing", good, "100"),
        ("nothing in the frame", frame(b""), "bad-framing", b"", "100"),
        ("too long", frame(good + b"NTE|1||" + b"x" * 5000 + b"\r"), "too-long", None, "104"),
        ("no MSH", frame(b"PID|1||4711\r"), "bad-message", b"PID|1||4711\r", "100"),
        ("MSH cut off", frame(b"MSH"), "bad-message", b"MSH", "100"),
        ("no MSH-10", frame(adt("")), "no-control-id", adt(""), "101"),
        ("no MSH-9", frame(good.replace(b"ADT^A08", b"")), "no-type", good.replace(b"ADT^A08", b""), "101"),
        ("a type that is not taken", frame(good.replace(b"ADT^A08", b"ORU^R01")), "type-not-taken",
         good.replace(b"ADT^A08", b"ORU^R01"), "200"),
        ("an id over 199 bytes", frame(adt("i" * 200)), "refused-by-store", adt("i" * 200), "207"),
    ]
    for what, data, reason, kept, code in cases:
        before = {q["id"] for q in x.quarantine("odd")}
        with s.mllp(port) as client:
            client.send(data)
            ack = client.receive()
            s.check(ack is not None and ack.code in ("AR", "AE") and ack.error == code and len(ack.reason) > 8,
                    f"{what}: refused, and told why", repr(ack))
        new = [q for q in x.quarantine("odd") if q["id"] not in before]
        s.equal([(q["reason"], q["count"]) for q in new], [(reason, 1)], f"{what}: in quarantine as {reason}")
        if kept is not None:
            s.equal(bytes.fromhex(new[0]["bytes"]), kept, f"{what}: with exactly its bytes")
    s.equal([r["id"] for r in x.rows("odd")], ["o2"], "none of them is a message")


def p5_counted(x):
    s, port = x.s, x.open("count", "--set", "quarantine_rows=3")
    for _ in range(4):
        with s.mllp(port) as client:
            s.equal(client.exchange(b"the same again").code, "AR", "refused each time")
    s.equal([(q["reason"], q["count"]) for q in x.quarantine("count")], [("bad-message", 4)], "one row, with a count")
    with s.mllp(port):
        pass
    with s.mllp(port) as client:
        client.send(b"\r\n \n")
    s.equal(len(x.quarantine("count")), 1, "a connection that says nothing leaves none")
    for n in range(5):
        with s.mllp(port) as client:
            s.equal(client.exchange(b"another %d" % n).code, "AR", "beyond the quota it is still refused with an answer")
    s.equal(len(x.quarantine("count")), 3, "and no more is kept than the quota allows")
    s.check(x.engine.metric("interop_frames_refused_total", tenant="count") == 3, "what was not kept is counted")
    with s.mllp(port) as client:
        client.exchange(b"the same again")
    s.equal(x.quarantine("count")[0]["count"], 5, "what is known is still counted when it is full")


def p5_bytes_quota(x):
    s, port = x.s, x.open("size", "--set", "quarantine_bytes=2KiB")
    for n in range(3):
        with s.mllp(port) as client:
            client.exchange(b"%d" % n + b"z" * 1000)
    s.equal(len(x.quarantine("size")), 2, "bytes have a quota, too")


def p5_release(x):
    s, port = x.s, x.open("release", "--type", "ORU")
    message = adt("rel-1", "Mrel")
    with s.mllp(port) as client:
        client.exchange(message)
        client.exchange(b"nothing to save")
    first, second = x.quarantine("release")
    shown = s.run("quarantine", "show", first["id"], "--tenant", "release", "--format", "raw").stdout
    s.equal(shown, message, "`quarantine show` gives the bytes")
    listed = s.interop_json("quarantine", "list", "--tenant", "release")
    s.equal(sorted(q["reason"] for q in listed), ["bad-message", "type-not-taken"], "`quarantine list` lists them")
    s.interop("connector", "set", "adt", "--tenant", "release", "--type", "ADT")
    s.interop("quarantine", "release", first["id"], "--tenant", "release")
    wait_for("the message", lambda: [r["status"] for r in x.rows("release")] == ["processed"])
    wait_for("the note", lambda: x.quarantine("release")[0]["message_id"])
    row = x.quarantine("release")[0]
    s.equal(row["message_id"], x.pg.value("select id from hl7_messages where tenant_id = 'release'"),
            "released, it is ingested again, and the row says what it became")
    s.interop("quarantine", "release", second["id"], "--tenant", "release")
    wait_for("the second try", lambda: x.quarantine("release")[1]["count"] == 2)
    s.equal((x.quarantine("release")[1]["released_at"], len(x.rows("release"))), (None, 1),
            "what is still none stays in quarantine")
    with s.mllp(port) as client:
        client.send(b"no start block\x1c\r")
        s.equal(client.receive().code, "AR", "bytes in no frame")
    third = x.quarantine("release")[2]
    s.interop("quarantine", "release", third["id"], "--tenant", "release")
    wait_for("the third try", lambda: len(x.quarantine("release")) == 4)
    wait_for("its note", lambda: x.quarantine("release")[2]["released_at"] is None)
    s.equal([q["reason"] for q in x.quarantine("release")[2:]], ["bad-framing", "bad-message"],
            "what is refused for another reason is there under both, and may be released again")


# ---- P6: immutable, and exact -------------------------------------------------------------------------

def p6_immutable(x):
    s, client = x.s, x.s.mllp(x.open("fixed"))
    client.exchange(adt("f1"))
    x.ended("fixed")
    before = x.rows("fixed", "raw_payload, raw_bytes, content_hash")
    as_engine = "set app.current_tenant_id = 'fixed'; "
    for sql in ("update hl7_messages set raw_payload = 'x'", "update hl7_messages set raw_bytes = 'x'",
                "update hl7_messages set raw_payload = raw_payload || 'x' where message_control_id = 'f1'",
                "delete from hl7_messages", "truncate hl7_messages cascade", "alter table hl7_messages disable trigger all",
                "insert into hl7_messages select * from hl7_messages on conflict (id) do update set raw_payload = 'x'"):
        refused = x.pg.refused(as_engine + sql, x.pg.engine_url)
        s.check("permission denied" in refused or "must be owner" in refused, f"the engine's role may not: {sql}", refused)
    for column in ("raw_payload", "raw_bytes", "content_hash", "connector_id"):
        refused = x.pg.refused(f"update hl7_messages set {column} = 'x' where tenant_id = 'fixed'")
        s.check("immutable" in refused, f"nor may the owner change {column}", refused)
    s.equal(x.rows("fixed", "raw_payload, raw_bytes, content_hash"), before, "nothing has changed")


def p6_exact_bytes(x):
    s, port = x.s, x.open("bytes")
    with open(os.path.join(DATA, "adt-a01-latin1.hl7"), "rb") as file:
        latin = file.read()
    utf8 = adt("b-utf8", family="Müller", extra="NTE|1||naïve – test\r")
    nul = adt("b-nul", family="Null").replace(b"Lena", b"Le\x00na")
    broken = adt("b-broken", family="Bro").replace(b"Lena", b"Le\xff\xfena")
    for data in (latin, utf8, nul, broken):
        with s.mllp(port) as client:
            s.equal(client.exchange(data).code, "AA", "acknowledged")
    rows = x.rows("bytes", "id, message_control_id cid, raw_payload, encode(raw_bytes, 'hex') bytes, processing_status status")
    s.equal([r["bytes"] and bytes.fromhex(r["bytes"]) for r in rows], [latin, None, nul, broken],
            "what is not clean UTF-8 is kept in bytes, exactly")
    s.equal(rows[0]["raw_payload"], latin.decode("latin-1"), "and raw_payload is its decoding")
    s.equal(rows[1]["raw_payload"].encode(), utf8, "clean UTF-8 is its own")
    for row, data in zip(rows, (latin, utf8, nul, broken)):
        shown = s.run("message", "show", row["id"], "--tenant", "bytes", "--format", "raw").stdout
        s.equal(shown, data, f"`message show --format raw` gives {row['cid']} back as it came")


NAME = "Жуков"                           # in UTF-8 two bytes a letter, which is no proof against GB 18030


def p6_replay_uses_the_bytes(x):
    """Decoded twice, the name would be wrong; and the engine has forgotten what it wrote."""
    s, port = x.s, x.open("replay")
    message = adt("rp-1", "Mreplay", NAME, "A01").decode().replace("|2.5.1\r", "|2.5.1||||||GB 18030-2000\r", 1).encode("gb18030")
    with s.mllp(port) as client:
        s.equal(client.exchange(message).code, "AA", "a message in GB 18030 is acknowledged")
    x.ended("replay")

    def names():
        return x.pg.rows(f"select (rest::text) ~ '{NAME}' good from fhir_demo.resource where type = 'Patient' and "
                         "rest like '%Mreplay%'")
    s.equal(names(), [{"good": True}], "its Patient has the name")
    x.pg.psql(f"update fhir_demo.resource set rest = replace(rest, '{NAME}', 'Other') where rest like '%Mreplay%'")
    x.restart()
    s.interop("message", "replay", "--tenant", "replay", x.pg.value("select id from hl7_messages where tenant_id = 'replay'"))
    wait_for("the replay", lambda: x.rows("replay", "replay_count n, processing_status s") == [{"n": 1, "s": "processed"}])
    s.equal(names(), [{"good": True}], "replayed, it is read from the bytes again")


# ---- P10: told -------------------------------------------------------------------------------------------

def p10_same_transaction(x):
    """An event that cannot be written takes the change of state along."""
    s, port = x.s, x.open("told")
    x.pg.psql("create function mute() returns trigger language plpgsql as $$ begin if new.event_type = "
              "current_setting('interop.muted', true) or new.event_type = (select v from muted) then "
              "raise exception 'no events' using errcode = 'disk_full'; end if; return new; end $$;"
              "create table muted (v text); grant select on muted to public;"
              "create trigger mute before insert on outbox_events for each row execute function mute();")
    client = s.mllp(port)
    x.pg.psql("insert into muted values ('message.received')")
    client.send(frame(adt("told-1")))
    s.check(silent(client), "no event, no acknowledgement")
    s.equal(x.rows("told"), [], "and no row")
    x.pg.psql("update muted set v = 'message.processing'")
    s.equal(client.receive().code, "AA", "it is stored when its event can be")
    time.sleep(0.6)
    s.equal([r["status"] for r in x.rows("told")], ["pending"], "no event of its transform, and it is still pending")
    s.equal(x.pg.value("select count(*) n from hl7_deliveries where tenant_id = 'told'"), 0, "without a delivery")
    x.pg.psql("update muted set v = 'message.processed'")
    wait_for("processing", lambda: [r["status"] for r in x.rows("told")] == ["processing"])
    time.sleep(0.6)
    s.equal([r["status"] for r in x.rows("told")], ["processing"], "no event of its end, and it has not ended")
    s.equal(x.pg.value("select count(*) n from hl7_resource_links where tenant_id = 'told'"), 0, "nor has it links")
    x.pg.psql("update muted set v = 'quarantine.added'")
    x.ended("told")
    client.send(frame(b"no message"))
    s.check(silent(client), "nor is anything put in quarantine without its event")
    s.equal(x.quarantine("told"), [], "no row")
    x.pg.psql("drop trigger mute on outbox_events; drop function mute(); drop table muted;")
    s.equal(client.receive().code, "AR", "until it can be told")
    s.equal(len(x.quarantine("told")), 1, "then it is there")


def subjects(x, tenant):
    """What the stream has of a tenant, by aggregate and in order; each message id once."""
    found, seen = [], set()
    for subject, headers, data in x.nats.messages("interop"):
        if not subject.startswith(f"interop.{tenant}."):
            continue
        event = json.loads(data)
        if event["id"] in seen:
            raise Failed(f"{event['id']} is in the stream twice")
        seen.add(event["id"])
        if f"Nats-Msg-Id: {event['id']}" not in headers and f"Nats-Msg-Id:{event['id']}" not in headers:
            raise Failed(f"no message id: {headers}")
        found.append((subject.split(".", 2)[2], event))
    return found


def p10_every_change(x):
    """From a connector's birth to a replay: each change has its event, and the broker has it."""
    s, port = x.s, x.open("every", "--type", "ADT")
    s.interop("connector", "set", "adt", "--tenant", "every", "--set", "max_attempts=2")
    client = s.mllp(port)
    client.exchange(adt("ev-1", "Mev"))
    client.exchange(b"bad")
    x.ended("every")
    message = x.pg.value("select id from hl7_messages where tenant_id = 'every'")
    s.interop("message", "replay", "--tenant", "every", message)
    wait_for("the replay", lambda: x.rows("every", "replay_count n, processing_status s") == [{"n": 1, "s": "processed"}])
    s.interop("quarantine", "release", x.quarantine("every")[0]["id"], "--tenant", "every")
    wait_for("the release", lambda: x.quarantine("every")[0]["count"] == 2)
    s.interop("connector", "set", "adt", "--tenant", "every", "--status", "inactive") if False else None
    wait_for("publication", lambda: x.pg.value(
        "select count(*) n from outbox_events where tenant_id = 'every' and not published") == 0)
    told = subjects(x, "every")
    kinds = [kind for kind, _ in told]
    s.equal([kind for kind, event in told if event["subject"] == message],
            ["message.received", "message.processing", "message.processed", "message.replayed", "message.processing",
             "message.processed"], "a message's story is told in order")
    for kind in ("pack.pushed", "connector.configured", "connector.activated", "connector.changed", "quarantine.added",
                 "quarantine.released"):
        s.check(kind in kinds, f"{kind} is told", str(sorted(set(kinds))))
    s.equal(kinds.count("quarantine.added"), 2, "each time")
    s.equal({event["specversion"] for _, event in told}, {"1.0"}, "as CloudEvents")
    s.equal(len(told), x.pg.value("select count(*) n from outbox_events where tenant_id = 'every'"), "and nothing is left out")


def p10_broker_away(x):
    """The broker is killed in between; events wait, and come once and in order."""
    s, port = x.s, x.open("broker")
    client = s.mllp(port)
    client.exchange(adt("br-0", "Mbr0"))
    x.ended("broker")
    x.nats.process.end(signal.SIGKILL)
    for n in range(1, 6):
        s.equal(client.exchange(adt(f"br-{n}", f"Mbr{n}")).code, "AA", "without a broker messages are taken")
    x.ended("broker")
    s.check(x.pg.value("select count(*) n from outbox_events where tenant_id = 'broker' and not published") >= 15,
            "and their events wait in the outbox")
    x.nats.start()
    wait_for("publication", lambda: x.pg.value(
        "select count(*) n from outbox_events where tenant_id = 'broker' and not published") == 0, 40)
    told = subjects(x, "broker")
    for row in x.rows("broker", "id"):
        s.equal([kind for kind, event in told if event["subject"] == row["id"]],
                ["message.received", "message.processing", "message.processed"], "told once it is back, once, in order")


def p10_broker_hangs(x):
    """The broker hangs with events on their way to it, and dies: only what it acknowledged counts as published."""
    s, port = x.s, x.open("hangs")
    client = s.mllp(port)
    client.exchange(adt("hang-0", "Mhang0"))
    x.ended("hangs")
    unpublished = "select count(*) n from outbox_events where tenant_id = 'hangs' and not published"
    wait_for("publication", lambda: x.pg.value(unpublished) == 0)
    x.nats.process.hold()
    for n in range(1, 4):
        client.exchange(adt(f"hang-{n}", f"Mhang{n}"))
    x.ended("hangs")
    time.sleep(6)                        # longer than the relay waits for an acknowledgement
    s.equal(x.pg.value(unpublished), 9, "what the broker does not acknowledge is not published")
    x.nats.process.end(signal.SIGKILL)
    x.nats.start()
    wait_for("publication", lambda: x.pg.value(unpublished) == 0, 40)
    told = subjects(x, "hangs")
    for row in x.rows("hangs", "id"):
        s.equal([kind for kind, event in told if event["subject"] == row["id"]],
                ["message.received", "message.processing", "message.processed"], "told by the new one, once, in order")


CASES = [p1_waits_for_the_insert, p1_waits_for_the_commit, p1_commit_fails, p1_synchronous_replication, p1_postgresql_dies,
         p1_refuses_fsync_off, p1_refuses_full_page_writes_off,
         p2_repeat, p2_together, p2_reused_refused, p2_reused_accepted, p2_no_sender, p2_quarantine_takes_no_id,
         p5_each_reason, p5_counted, p5_bytes_quota, p5_release,
         p6_immutable, p6_exact_bytes, p6_replay_uses_the_bytes, *P9_CASES,
         p10_same_transaction, p10_every_change, p10_broker_away, p10_broker_hangs]


def main():
    with Scenario("promises") as s:
        x = Site(s)
        for case in s.cases(CASES):
            case(x)
        x.engine.stop()


if __name__ == "__main__":
    main()
