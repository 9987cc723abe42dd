#!/usr/bin/env python3
"""The engine is killed (SIGKILL) again and again while several senders send, and started
again each time; the senders repeat what was not acknowledged. Afterwards the books
must balance: nothing that was promised is lost, nothing is doubled, nothing out of order."""
import time

from harness import SANITIZED, Scenario, frame, wait_for
from promises_books import Load, adt, check_books, settled, site

KILLS = 3 if SANITIZED else 6
MESSAGES = 60 if SANITIZED else 400      # of each connection


def late_commit(s, pg, port, engine):
    """A commit that outlives its engine is read back by the next one."""
    pg.psql("create function test_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return null; end $$;"
            " create trigger test_slow after insert on hl7_messages for each statement execute function test_slow()")
    client = s.mllp(port)
    client.send(frame(adt("LATE1", mrn="LATE1")))
    wait_for("the INSERT", lambda: pg.value("select count(*) n from pg_stat_activity where state = 'active' "
                                            "and application_name like 'interop ingest %'") > 0)
    engine.kill()
    engine = s.engine()
    wait_for("the message whose commit outlives its engine to be processed by the next",
             lambda: pg.value("select processing_status s from hl7_messages where message_control_id = 'LATE1'") == "processed")
    s.check(pg.value("select count(*) n from hl7_messages where message_control_id = 'LATE1'") == 1, "and it is there once")
    return engine


def main():
    with Scenario("crash") as s:
        pg = s.postgres()
        s.equal(pg.value("select current_setting('fsync') || current_setting('synchronous_commit')"), "onon",
                "PostgreSQL writes to the disk before it says so")
        nats = s.nats()
        s.interop("migrate")
        base = s.fhir_demo()
        port = site(s, pg, base)
        engine = s.engine()
        load = Load(port, "C", connections=8, patients=6, messages=MESSAGES)
        open_at_kill = 0
        for n in range(1, KILLS + 1):
            goal = load.total * n // (KILLS + 1)
            wait_for(f"{goal} acknowledgements", lambda g=goal: load.acked() >= g and engine.must_run(), 60, 0.002)
            engine.kill()
            left = pg.rows("select (select count(*) from hl7_messages where transformed_at is null) pending, "
                           "(select count(*) from hl7_deliveries where status = 'pending') deliveries, "
                           "(select count(*) from outbox_events where not published) events")[0]
            s.say(f"kill {n}: {load.acked()} of {load.total} acknowledged; left {left}")
            # A sanitized engine may be killed before its first transformation ends.
            open_at_kill += left["deliveries"] + (left["pending"] if SANITIZED else 0)
            engine = s.engine()
            if n % 2 == 0:               # while it reads back what the kill left open
                time.sleep(0.03 * n)
                engine.kill()
                engine = s.engine()
        load.finish(s)
        s.check(load.resent() > 0 and open_at_kill > 0, "the kills met messages in flight",
                f"{load.resent()} sent again, {open_at_kill} open")
        settled(s, pg)
        s.equal(engine.metric("interop_messages_dead_lettered_total"), 0, "no message was given up")
        check_books(s, pg, nats, base, [load])
        late_commit(s, pg, port, engine).stop()


if __name__ == "__main__":
    main()
