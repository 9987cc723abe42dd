#!/usr/bin/env python3
"""More comes in than memory may hold: what is stored waits in the database and is read back,
while more is stored on several connections whose commits overtake each other. None is
passed over, none is done twice, and each sender's messages keep their order."""
import threading
import time

from harness import SANITIZED, Scenario, wait_for
from promises_books import Load, check_books, settled, site

MESSAGES = 60 if SANITIZED else 300      # of each connection
BURSTS = 14

# Some transactions take longer between drawing their place and their commit.
SLOW_COMMITS = """
create function test_slow() returns trigger language plpgsql as $$
begin
  if random() < 0.1 then perform pg_sleep(random() * 0.03); end if;
  return null;
end $$;
create trigger test_slow after insert on hl7_messages for each statement execute function test_slow()
"""


class Watch(threading.Thread):
    """Counts how often the connector is seen behind."""

    def __init__(self, engine):
        super().__init__(daemon=True)
        self.engine = engine
        self.behind = 0
        self.ended = False
        self.start()

    def run(self):
        while not self.ended and self.engine.running():
            try:
                self.behind += self.engine.metric("interop_connector_behind") > 0
            except OSError:              # it is on its way down
                return
            time.sleep(0.01)

    def stop(self):
        self.ended = True
        self.join()
        return self.behind


def main():
    with Scenario("overflow") as s:
        pg = s.postgres()
        nats = s.nats()
        s.interop("migrate")
        base = s.fhir_demo()
        port = site(s, pg, base)
        pg.psql(SLOW_COMMITS)
        s.env.update({"INTEROP_LANE_MESSAGES": "20", "INTEROP_INGEST_CONNECTIONS": "4"})
        engine = s.engine()
        watch = Watch(engine)
        load = Load(port, "O", connections=12, patients=6, messages=MESSAGES)
        load.finish(s)
        settled(s, pg)
        s.check(watch.stop() > 0, "the connector was behind")
        wait_for("it to catch up", lambda: engine.metric("interop_connector_behind") == 0)
        overtaken = pg.value("select count(*) n from (select seq, lag(seq) over (order by received_at, id) before "
                             "from hl7_messages) m where seq < before")
        s.check(overtaken > 0, f"messages were stored in another order than they came in ({overtaken} times)")
        check_books(s, pg, nats, base, [load])

        # Bursts: it falls behind again and again, by batches of any size.
        loads = [load]
        for n in range(BURSTS):
            loads.append(Load(port, chr(ord("A") + n), connections=24, patients=1, messages=2))
            loads[-1].finish(s)
            settled(s, pg, 20)
        check_books(s, pg, nats, base, loads)
        engine.stop()


if __name__ == "__main__":
    main()
