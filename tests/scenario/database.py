#!/usr/bin/env python3
"""The database goes away or says nothing: connections end at any byte, a table is locked, single processes or
the whole server hang, commits wait for a standby that is gone. Each under load; nothing that was
acknowledged is lost or doubled, /readyz and the log say what an operator must know, and all goes on by
itself. `database.py cut hangs` runs these cases; SEED draws the same cuts again."""
import collections
import os
import random
import signal
import time

from database_parts import Cutter, answered, descendants, not_ready, refused_or_silent, run_cases, told
from harness import wait_for
from promises import Session

SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))
SOON = 1.5                               # s; less than the patience with a statement
MESSAGES = 150                           # of each of four connections, while connections are cut


def backends(pg, name, which="true"):
    """The processes that serve these connections."""
    return [row["pid"] for row in pg.rows(f"select pid from pg_stat_activity where application_name like '{name} %' and {which}")]


# ---- connections ----------------------------------------------------------------------------------

def cut(x):
    """Connections end behind the n-th byte of either side, for many n: what was committed is looked up."""
    s, draw = x.s, random.Random(SEED)
    way = Cutter(s, x.pg)
    engine = x.engine(INTEROP_DATABASE_URL=way.url, INTEROP_DATABASE_PATIENCE="8s")
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
    lock = Session(x.pg, "begin; lock table hl7_messages in share mode;")
    clients = x.send(*[f"cut-{n}" for n in range(8)])
    waiting = []

    def wait_for_lock():
        waiting[:] = backends(x.pg, "interop ingest", "wait_event_type = 'Lock'")
        return waiting
    wait_for("statements to wait", wait_for_lock)
    way.cut_now(b"interop ingest")       # PostgreSQL does not look at a connection while a statement waits
    wait_for("what was left behind to be ended", lambda: not set(waiting) & set(backends(x.pg, "interop ingest")), 3)
    s.check(True, "a new connection ends what the old one left behind")
    lock.close()
    answered(s, clients)
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
    not_ready(s, engine, "waits for a lock", SOON)
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


def hangs(x):
    """Single processes of PostgreSQL hang, as in a read from a disk that does not answer."""
    s, engine = x.s, x.engine()
    held = backends(x.pg, "interop ingest") + backends(x.pg, "interop outcome")
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        clients = x.send(*[f"hang-{n}" for n in range(8)])
        not_ready(s, engine, "PostgreSQL hangs", SOON)
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
    not_ready(s, engine, "synchronous standby", SOON)
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


CASES = [cut, locked, hangs, suspended, standby_gone]


def main():
    run_cases("database", CASES)


if __name__ == "__main__":
    main()
