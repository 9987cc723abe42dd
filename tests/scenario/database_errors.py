#!/usr/bin/env python3
"""The database answers, and says no: deadlocks, serialisation failures, lock timeouts, a right that is gone, a
server that takes no writes, a disk that is full. Nothing that was acknowledged is lost or doubled, what an
operator must know is told once and by /readyz, and all goes on by itself.
`database_errors.py disk` runs that case."""
import threading
import time

from database_parts import SmallDisk, answered, not_ready, refused_or_silent, run_cases, told
from harness import listening, wait_for
from promises_books import Load, check_books, settled, site


# ---- errors that pass -------------------------------------------------------------------------------

DISTURB = """
create or replace procedure test_disturb(seconds float) language plpgsql as $$
declare
  until timestamptz := clock_timestamp() + seconds * interval '1 second';
  m text;
  held int := 0;
begin
  while clock_timestamp() < until or (held < 3 and clock_timestamp() < until + interval '10 s') loop
    -- What is open and locked has its outcome before it: that batch meets lock_timeout.
    perform from hl7_messages where processed_at is null order by seq limit 3 for update skip locked;
    if found then
      held := held + 1;
      perform pg_sleep(0.3);
    end if;
    commit;
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
    """Serialisation failures, lock timeouts, deadlocks as they come about, and settings of the role that do not suit."""
    s = x.s
    x.pg.psql(DISTURB)
    x.pg.psql("alter system set deadlock_timeout = '20ms'; ")
    x.pg.psql("select pg_reload_conf();")
    before = x.pg.value("select deadlocks n from pg_stat_database where datname = 'interop'")
    engine = x.engine()
    other = threading.Thread(target=x.pg.psql, args=("set deadlock_timeout = '5s'; call test_disturb(5);",))
    other.start()
    load = x.load(messages=60, pause=0.04)
    watched = 0
    while any(sender.is_alive() for sender in load.senders):
        watched = max(watched, x.pg.value("select count(*) n from pg_locks where mode = 'SIReadLock'"))
        time.sleep(0.1)
    s.equal(watched, 0, "the role's isolation level is not in force")
    load.finish(s, 90)
    other.join()
    settled(s, x.pg, 60)
    waits = told(engine, "store.batch_waits")
    states = {entry["sqlstate"] for entry in waits}
    deadlocks = x.pg.value("select deadlocks n from pg_stat_database where datname = 'interop'") - before
    s.say(f"{deadlocks} deadlocks; batches waited for {sorted(states)}, told in {len(waits)} lines")
    s.check({"40001", "55P03"} <= states, "batches met serialisation failures and locks", str(sorted(states)))
    s.check("57014" not in states, "the role's statement_timeout is not in force", str(waits))
    x.pg.psql(NO_MORE)
    x.pg.psql("alter system reset deadlock_timeout; ")
    x.pg.psql("select pg_reload_conf();")
    x.balance()
    engine.stop()


# ---- a server that takes no writes --------------------------------------------------------------------

def read_only(x):
    """As a standby that one has come to by a name that moves: it is left, until the one found takes writes."""
    s, engine = x.s, x.engine()
    x.pg.psql("alter system set default_transaction_read_only = on; ")
    x.pg.psql("select pg_reload_conf();")
    wait_for("the setting", lambda: x.pg.value("select current_setting('default_transaction_read_only')") == "on")
    clients = x.send(*[f"read-{n}" for n in range(4)])
    not_ready(s, engine, "takes no writes")
    refused_or_silent(s, clients, 0.3)
    s.check("target_session_attrs=read-write" in str(told(engine, "store.batch_waits")), "the log says what to do", engine.tail())
    time.sleep(1.5)
    lines = len(told(engine, "store.unavailable")) + len(told(engine, "store.batch_waits")) + len(told(engine, "engine.check_failed"))
    s.check(lines <= 12, "and not in floods", f"{lines} lines")
    x.pg.psql("set default_transaction_read_only = off; alter system reset default_transaction_read_only; ")
    x.pg.psql("select pg_reload_conf();")
    answered(s, clients)
    engine.wait_ready()
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
    small = SmallDisk(s, {"base": 40000, "pg_wal": 40000})
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
        loads.append(Load(port, f"D{disk[0]}", 6, 4, 60, pause=0.03))
        load = loads[-1]
        wait_for("load", lambda: load.acked() > load.total // 5)
        if disk == "base":
            small.fill(disk)
        else:
            small.fill_log()
        not_ready(s, engine, says, 20)
        if disk == "base":
            small.fill(disk)             # what vacuum has made free goes, too
        acked = load.acked()             # a page that has room may still have taken a few
        s.say(f"{disk}: {acked} of {load.total} acknowledged; PostgreSQL {'runs' if small.running() else 'has ended'}")
        time.sleep(1)
        s.check(load.acked() < load.total * 0.9, "on a full disk acknowledgements stop", f"{load.acked()} of {load.total}")
        s.check(engine.running() and engine.get("/livez").status == 200, "the engine lives")
        if disk == "base":
            s.check(any("make room on the disk" in line["error"] for line in told(engine, "store.batch_waits")),
                    "the log says what to do", engine.tail())
        small.make_room(disk)
        if not small.running():
            small.start()
        load.finish(s, 90)
        settled(s, pg, 60)
        engine.wait_ready()
        check_books(s, pg, nats, base, loads, True)
    engine.stop()
    s.env.clear()
    s.env.update(env)


CASES = [disturbed, read_only, revoked, disk_full]


def main():
    run_cases("database_errors", CASES)


if __name__ == "__main__":
    main()
