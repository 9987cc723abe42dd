#!/usr/bin/env python3
"""More comes in than memory may hold: what is stored waits in the database and is read back,
while more is stored on several connections whose commits overtake each other. None is
passed over, none is done twice, and each sender's messages keep their order. Nor do those whose
services are dead take the memory that others need."""
import threading
import time

from harness import SANITIZED, Scenario, free_port, wait_for
from promises_books import OUT_OF_ORDER, Load, check_books, pack_folder, settled, site, to

MESSAGES = 60 if SANITIZED else 300      # of each connection
BURSTS = 14
TENANTS = 10

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


def others_memory(s):
    """Tenants whose service is dead bring more than memory holds; another must not notice."""
    pg = s.postgres()
    s.interop("migrate")
    port = free_port()
    dead, well = f"http://127.0.0.1:{port}/fhir", s.fhir_demo()
    ports = {}
    pack = pack_folder(s, "there", to("there"))
    for tenant in (*(f"dead-{n}" for n in range(TENANTS)), "well"):
        pg.psql("insert into fhir_services (id, tenant_id, name, url) values "
                f"('SVC_{tenant}', '{tenant}', 'there', '{well if tenant == 'well' else dead}')")
        ports[tenant] = site(s, pg, None, tenant, None, "adt", "--pack", pack)
    well_id = pg.value("select id from interop_connectors where tenant_id = 'well'")
    s.env["INTEROP_MEMORY_BYTES"] = "16MiB"
    engine = s.engine()

    def done(tenant):
        return pg.value(f"select count(*) n from hl7_messages where tenant_id like '{tenant}' and processing_status = 'processed'")

    waiting = 0
    for n in range(TENANTS):
        load = Load(ports[f"dead-{n}"], f"D{n}x", connections=4, patients=MESSAGES, messages=MESSAGES // 3)
        load.finish(s)
        waiting += load.total
    held, most = engine.metric("interop_messages_in_memory"), 1.5 * (16 << 20) / 8192 + 8 * (TENANTS + 1)
    s.check(held < most, f"of {waiting} messages that wait, memory holds what it may ({held:.0f})")
    loads = [Load(ports["well"], "W", connections=6, patients=4, messages=12)]       # its share holds them all
    loads[0].finish(s)
    wait_for("the other tenant's messages to be delivered", lambda: done("well") == 72)
    late = [line for line in engine.text().splitlines() if "connector.behind" in line and well_id in line]
    s.equal(late, [], "whose messages were never left to be read back")
    engine.stop()
    engine = s.engine()
    loads.append(Load(ports["well"], "X", connections=6, patients=4, messages=20))
    loads[1].finish(s)
    wait_for("them to be after a restart, too", lambda: done("well") == 192)
    time.sleep(2)                        # more is read when a second has passed
    held = engine.metric("interop_messages_in_memory")
    s.check(held < most, f"memory holds no more than before ({held:.0f})")
    s.equal(done("dead-%"), 0, "nothing went to the dead service")
    s.fhir_demo(port=port)
    wait_for("all to be delivered when it is back", lambda: done("dead-%") == waiting, 120, 0.2)
    s.equal(pg.value(OUT_OF_ORDER), 0, "in order")
    engine.stop()


def main():
    with Scenario("overflow_memory") as s:
        others_memory(s)
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
