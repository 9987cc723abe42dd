#!/usr/bin/env python3
"""The engine is killed (SIGKILL) again and again while several senders send, and started
again each time; the senders repeat what was not acknowledged. Afterwards the books
must balance: nothing that was promised is lost, nothing is doubled, nothing out of order."""
import time

from harness import SANITIZED, Scenario, wait_for
from promises_books import Load, check_books, settled, site

KILLS = 3 if SANITIZED else 6
MESSAGES = 60 if SANITIZED else 400      # of each connection


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
            open_at_kill += left["deliveries"]
            engine = s.engine()
            if n % 2 == 0:               # while it reads back what the kill left open
                time.sleep(0.03 * n)
                engine.kill()
                engine = s.engine()
        load.finish(s)
        s.check(load.resent() > 0 and open_at_kill > 0, "the kills met messages in flight",
                f"{load.resent()} sent again, {open_at_kill} deliveries open")
        settled(s, pg)
        s.equal(engine.metric("interop_messages_dead_lettered_total"), 0, "no message was given up")
        check_books(s, pg, nats, base, [load])
        engine.stop()


if __name__ == "__main__":
    main()
