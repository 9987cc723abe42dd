#!/usr/bin/env python3
"""What PostgreSQL does to an engine while it stands: it breaks connections off at any byte, is locked, hangs,
finds deadlocks, runs out of disk, takes a right away, waits for a standby that is gone. Each under
load; nothing that was acknowledged is lost or doubled, what an operator must know is told once and by
/readyz, and all goes on by itself. `database.py cut hangs` runs these cases; SEED draws the same again."""
import collections
import json
import os
import random
import signal
import sys
import threading
import time

from database_parts import Cutter, SmallDisk, descendants
from harness import PATIENCE, Scenario, frame, listening, wait_for
from promises import Session
from promises_books import Load, adt, check_books, settled, site

SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))
MESSAGES = 150                           # of each of four connections, while connections are cut


class Site:
    """One database for all cases, with an engine for each; the books are of all loads so far."""

    def __init__(self, s):
        self.s = s
        self.pg = s.postgres()
        self.nats = s.nats()
        s.interop("migrate")
        self.base = s.fhir_demo()
        self.port = site(s, self.pg, self.base)
        self.loads = []
        self.singles = []                # control ids of messages sent one by one, acknowledged

    def load(self, messages=60, connections=6, pause=0.0):
        self.loads.append(Load(self.port, f"L{len(self.loads)}x", connections, 4, messages, pause))
        return self.loads[-1]

    def engine(self, **env):
        """One that gives a statement two seconds; its /readyz is silent for a third of one at most."""
        engine = self.s.engine(**{"INTEROP_DATABASE_PATIENCE": "2s", **env})
        wait_for("the listener", lambda: listening(self.port))
        return engine

    def send(self, *control_ids):
        """Messages, each on a connection of its own, not yet answered."""
        clients = []
        for control_id in control_ids:
            clients.append(self.s.mllp(self.port))
            clients[-1].send(frame(adt(control_id, mrn=control_id)))
        self.singles += control_ids
        return clients

    def balance(self):
        settled(self.s, self.pg, 60)
        for control_id in self.singles:
            rows = self.pg.value(f"select count(*) n from hl7_messages where message_control_id = '{control_id}'")
            if rows != 1:
                self.s.equal(rows, 1, f"{control_id} is stored once")
        check_books(self.s, self.pg, self.nats, self.base, self.loads, True)


def told(engine, event):
    return [entry for entry in map(json.loads, engine.text().splitlines()) if entry["event"] == event]


def not_ready(s, engine, says, seconds=10):
    """In a while, /readyz is 503 and says why."""
    seen = []

    def look():
        ready = engine.get("/readyz")
        seen[:] = [ready]
        return ready.status == 503 and says in str(ready.body)
    try:
        wait_for("/readyz", look, seconds, 0.05)
    except Exception:
        s.equal(seen[0], says, "what /readyz says")
    s.check(True, f"/readyz is 503 and says: {says}")


def refused_or_silent(s, clients, seconds=0.5):
    """Nobody was told that their message is safe."""
    for client in clients:
        client.socket.settimeout(seconds)
        try:
            ack = client.receive()
        except TimeoutError:
            ack = None
        s.check(ack is None or ack.code != "AA", "meanwhile there is no positive acknowledgement")
        client.socket.settimeout(30 * PATIENCE)


def answered(s, clients):
    s.equal([client.receive().code for client in clients], ["AA"] * len(clients), "the acknowledgements come")


# ---- connections ----------------------------------------------------------------------------------

def cut(x):
    """Connections end behind the n-th byte of either side, for many n: what was committed is looked up."""
    s, draw = x.s, random.Random(SEED)
    way = Cutter(s, x.pg)
    engine = x.engine(INTEROP_DATABASE_URL=way.url)
    load = x.load(messages=MESSAGES, connections=4, pause=0.05)
    cuts = collections.Counter()
    while any(sender.is_alive() for sender in load.senders):
        name, answers = draw.choice([b"interop ingest"] * 3 + [b"interop outcome"] * 2 + [b"interop engine"]), draw.random() < 0.6
        done = way.cut(name, answers, draw.randint(1, 400 if answers else 12000))
        cuts[(name.decode(), "its answers" if answers else "what it sent")] += done.wait(1)
        way.disarm()
        time.sleep(draw.choice((0, 0.02, 0.1)))
    load.finish(s)
    s.say(f"SEED={SEED}: {sum(cuts.values())} cuts: " + ", ".join(f"{n} of {' '.join(what)}" for what, n in sorted(cuts.items())))
    s.check(sum(cuts.values()) >= 20 and len(+cuts) >= 5, "connections were cut at many places")
    x.balance()
    engine.stop()


# ---- a database that is busy with something else, or hangs -------------------------------------------

def locked(x):
    """The table is locked for longer than a statement may take."""
    s, engine = x.s, x.engine()
    load = x.load(messages=80, pause=0.01)
    wait_for("load", lambda: load.acked() > load.total // 4)
    lock = Session(x.pg, "begin; lock table hl7_messages in access exclusive mode;")
    time.sleep(0.2)
    acked = load.acked()
    not_ready(s, engine, "waits for a lock")
    wait_for("the statement to be ended", lambda: told(engine, "store.batch_waits"))
    s.check("another session holds a lock" in str(told(engine, "store.batch_waits")[0]), "the log says where to look",
            str(told(engine, "store.batch_waits")))
    time.sleep(2)
    s.equal(load.acked(), acked, "meanwhile nothing is acknowledged")
    s.check(len(told(engine, "store.batch_waits")) <= 6, "and it is not told again and again", engine.tail())
    lock.close()
    load.finish(s)
    engine.wait_ready()
    x.balance()
    engine.stop()


def backends(pg, name):
    return [row["pid"] for row in pg.rows(f"select pid from pg_stat_activity where application_name like '{name} %'")]


def hangs(x):
    """Single processes of PostgreSQL hang, as in a read from a disk that does not answer."""
    s, engine = x.s, x.engine()
    held = backends(x.pg, "interop ingest") + backends(x.pg, "interop outcome")
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        clients = x.send(*[f"hang-{n}" for n in range(8)])
        not_ready(s, engine, "PostgreSQL hangs")
        answered(s, clients)             # within the clients' patience
        s.check(True, "other connections do what the ones that hang were asked for")
        wait_for("the messages to be processed", lambda: x.pg.value(
            "select count(*) n from hl7_messages where message_control_id like 'hang-%' and processing_status = 'processed'") == 8)
        engine.wait_ready()
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)
    wait_for("those that hung to end", lambda: not set(held) & set(backends(x.pg, "interop")), 5)
    s.check(True, "what hung does nothing any more when it goes on")
    x.balance()
    engine.stop()


def suspended(x):
    """The whole server hangs under load."""
    s, engine = x.s, x.engine()
    load = x.load(messages=80, pause=0.01)
    wait_for("load", lambda: load.acked() > load.total // 4)
    every = descendants(x.pg.process.pid)
    for pid in every:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(0.3)                  # what was on its way has arrived
        acked = load.acked()
        not_ready(s, engine, "PostgreSQL hangs")
        wait_for("the engine to give its connections up", lambda: told(engine, "store.unavailable"))
        s.check("no answer for" in str(told(engine, "store.unavailable")[0]), "the log says so", str(told(engine, "store.unavailable")))
        time.sleep(1)
        s.equal(load.acked(), acked, "nothing is acknowledged")
        s.equal(engine.get("/livez").status, 200, "the engine lives")
    finally:
        for pid in every:
            os.kill(pid, signal.SIGCONT)
    load.finish(s, 90)
    engine.wait_ready(30)
    x.balance()
    engine.stop()


def standby_gone(x):
    """Commits wait for a standby that is not there, for longer than a statement may take."""
    s, engine = x.s, x.engine()
    x.pg.psql("alter system set synchronous_standby_names = 'nobody'; ")
    x.pg.psql("select pg_reload_conf();")
    wait_for("the setting", lambda: x.pg.value("select current_setting('synchronous_standby_names')") == "nobody")
    clients = x.send(*[f"alone-{n}" for n in range(6)])
    not_ready(s, engine, "synchronous standby")
    most = 0
    for _ in range(12):                  # more than twice what it takes to give a connection up
        time.sleep(0.6)
        most = max(most, x.pg.value("select count(*) n from pg_stat_activity where application_name like 'interop%'"))
    refused_or_silent(s, clients, 0.1)
    s.check(most <= 20, "sessions do not pile up", f"{most}")
    s.equal(engine.get("/readyz").status, 503, "/readyz does not forget it")
    x.pg.psql("alter system reset synchronous_standby_names; ")
    x.pg.psql("select pg_reload_conf();")
    answered(s, clients)
    engine.wait_ready()
    x.balance()
    engine.stop()


# ---- errors that pass -------------------------------------------------------------------------------

DISTURB = """
create or replace procedure test_disturb(seconds float) language plpgsql as $$
declare
  until timestamptz := clock_timestamp() + seconds * interval '1 second';
  m text;
begin
  while clock_timestamp() < until loop
    begin
      -- Against the order in which they came, each lock held until the last is there.
      for m in select id from hl7_messages where transformed_at is null or processed_at is null order by seq desc limit 12 loop
        perform from hl7_messages where id = m for update;
        perform pg_sleep(0.004);
      end loop;
    exception when deadlock_detected then null;
    end;
    commit;
    perform pg_sleep(0.01);
  end loop;
end $$;
create or replace function test_fails() returns trigger language plpgsql as $$
begin
  if random() < 0.12 then raise exception 'could not serialize access' using errcode = 'serialization_failure'; end if;
  return null;
end $$;
create trigger test_fails after insert or update on hl7_messages for each statement execute function test_fails();
create trigger test_fails after insert or update on hl7_deliveries for each statement execute function test_fails();
create trigger test_fails after insert or update on outbox_events for each statement execute function test_fails();
alter role engine set default_transaction_isolation = 'serializable';
alter role engine set statement_timeout = '1ms';
alter role engine set lock_timeout = '150ms';
"""
NO_MORE = """
drop trigger test_fails on hl7_messages; drop trigger test_fails on hl7_deliveries; drop trigger test_fails on outbox_events;
drop function test_fails; drop procedure test_disturb;
alter role engine reset all;
"""


def disturbed(x):
    """Deadlocks, serialisation failures, lock timeouts, and settings of the role that do not suit."""
    s = x.s
    x.pg.psql(DISTURB)
    x.pg.psql("alter system set deadlock_timeout = '20ms'; ")
    x.pg.psql("select pg_reload_conf();")
    before = x.pg.value("select deadlocks n from pg_stat_database where datname = 'interop'")
    engine = x.engine()
    other = threading.Thread(target=x.pg.psql, args=("set deadlock_timeout = '5s'; call test_disturb(5);",))
    other.start()
    load = x.load(messages=60, pause=0.02)
    load.finish(s, 90)
    other.join()
    settled(s, x.pg, 60)
    waits = told(engine, "store.batch_waits")
    states = {entry["sqlstate"] for entry in waits}
    deadlocks = x.pg.value("select deadlocks n from pg_stat_database where datname = 'interop'") - before
    s.say(f"{deadlocks} deadlocks; batches waited for {sorted(states)}, told in {len(waits)} lines")
    s.check("40001" in states and states & {"40P01", "55P03"}, "batches met serialisation failures and locks", str(sorted(states)))
    s.check("57014" not in states, "the role's statement_timeout is not in force", str(waits))
    x.pg.psql(NO_MORE)
    x.pg.psql("alter system reset deadlock_timeout; ")
    x.pg.psql("select pg_reload_conf();")
    x.balance()
    engine.stop()


# ---- a right that is gone ---------------------------------------------------------------------------

def revoked(x):
    """The engine's role loses a right, and gets it back."""
    s, engine = x.s, x.engine()
    for right, says, waits_for_ack in (("insert on hl7_messages", "permission denied for table hl7_messages", True),
                                       ("execute on function interop_delivered", "permission denied for function", False)):
        count = len(told(engine, "store.batch_waits"))
        x.pg.psql(f"revoke {right} from engine")
        clients = x.send(*[f"right-{waits_for_ack}-{n}" for n in range(6)])
        not_ready(s, engine, says)
        time.sleep(1.5)
        if waits_for_ack:
            refused_or_silent(s, clients, 0.2)
        else:
            answered(s, clients)
        lines = told(engine, "store.batch_waits")[count:]
        s.check(1 <= len(lines) <= 2, "it is told once for a connection, however often it is tried", str(lines))
        s.check(all(says in line["error"] and "interop migrate" in line["error"] for line in lines), "with what to do", str(lines))
        if waits_for_ack:
            x.pg.psql(f"grant {right} to engine")
        else:
            s.interop("migrate")
        if waits_for_ack:
            answered(s, clients)
        engine.wait_ready()
        wait_for("all to be processed", lambda: x.pg.value("select count(*) n from hl7_messages where processing_status <> 'processed'") == 0)
        s.check(told(engine, "store.batch_goes_on"), "it goes on, and says so")
    x.balance()
    engine.stop()


# ---- a disk that is full ------------------------------------------------------------------------------

def disk_full(x):
    """First that of the tables, which makes statements fail, then that of the log, which ends PostgreSQL."""
    s, env = x.s, dict(x.s.env)
    small = SmallDisk(s, {"base": 40000, "pg_wal": 6000})
    if small.refused:
        s.left_out(f"a disk that is full: a small tmpfs cannot be mounted here ({small.refused})")
        return
    pg, nats = small.pg, s.nats()
    base = s.fhir_demo()
    port = site(s, pg, base)
    engine = s.engine(INTEROP_DATABASE_PATIENCE="2s")
    wait_for("the listener", lambda: listening(port))
    loads = []
    for disk, says in (("base", "No space left on device"), ("pg_wal", "PostgreSQL is not available")):
        loads.append(Load(port, f"D{disk[0]}", 6, 4, 60, 0.01))
        load = loads[-1]
        wait_for("load", lambda: load.acked() > load.total // 5)
        small.fill(disk)
        not_ready(s, engine, says, 20)
        for _ in range(10):              # what PostgreSQL makes free by its restart goes, too
            small.fill(disk)
            time.sleep(0.15)
        acked = load.acked()             # a page that has room may still have taken a few
        s.say(f"{disk}: {acked} of {load.total} acknowledged; PostgreSQL {'runs' if small.running() else 'has ended'}")
        time.sleep(1)
        s.check(load.acked() < load.total * 0.9, "on a full disk acknowledgements stop", f"{load.acked()} of {load.total}")
        s.check(engine.running() and engine.get("/livez").status == 200, "the engine lives")
        if disk == "base":
            s.check(any("make room on the disk" in line["error"] for line in told(engine, "store.batch_waits")),
                    "the log says what to do", engine.tail())
        small.make_room(disk)
        if disk == "pg_wal" and not (small.running() and pg.ready()):
            wait_for("PostgreSQL to end", lambda: not small.running() or pg.ready(), 20)
            if not small.running():
                small.start()
        load.finish(s, 90)
        settled(s, pg, 60)
        engine.wait_ready()
        check_books(s, pg, nats, base, loads, True)
    engine.stop()
    s.env.clear()
    s.env.update(env)


CASES = [cut, locked, hangs, suspended, standby_gone, disturbed, revoked, disk_full]


def main():
    with Scenario("database") as s:
        x = Site(s)
        for case in CASES:
            if sys.argv[1:] and not any(case.__name__.startswith(a) for a in sys.argv[1:]):
                continue
            began = time.monotonic()
            s.say(f"-- {case.__name__}: {' '.join((case.__doc__ or '').split())}")
            case(x)
            s.say(f"({time.monotonic() - began:.1f} s)")


if __name__ == "__main__":
    main()
