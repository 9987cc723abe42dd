#!/usr/bin/env python3
"""Everything dies, again and again, at random moments and under load: engines, PostgreSQL, the broker, the FHIR
service; two nodes, of which one may also hang past its leases. Then the books balance.

SEED in the environment draws the same faults again, at other moments; MESSAGES is how many are sent."""
import os
import random
import signal
import time
import urllib.parse

from harness import Scenario, free_port, wait_for
from promises_books import Load, check_books, settled, site

HOSTS = ("127.0.0.1", "127.0.0.2")       # one of each node
CONNECTIONS = 8
MESSAGES = int(os.environ.get("MESSAGES") or 2400)
LEAST = 8                                # faults, however fast the load


class Site:
    def __init__(self, s, draw):
        self.s, self.draw = s, draw
        self.pg = s.postgres()
        self.nats = s.nats()
        s.interop("migrate")
        self.base = s.fhir_demo()
        self.port = site(s, self.pg, self.base, port=free_port())
        self.engines = [self.start(n) for n in range(len(HOSTS))]

    def start(self, n, ready=True):
        return self.s.engine(ready, INTEROP_MLLP_ADDRESS=HOSTS[n])

    def kill_engine(self):
        """kill -9 of a node, which is started again"""
        n = self.draw.randrange(len(HOSTS))
        self.engines[n].kill()
        time.sleep(self.draw.uniform(0, 0.5))
        self.engines[n] = self.start(n)

    def kill_both(self):
        """kill -9 of both nodes"""
        for engine in self.engines:
            engine.kill()
        self.engines = [self.start(n, ready=False) for n in range(len(HOSTS))]
        for engine in self.engines:
            engine.wait_ready()

    def hang_engine(self):
        """SIGSTOP of a node, past its leases"""
        engine = self.draw.choice(self.engines)
        engine.hold()
        time.sleep(self.draw.uniform(7.5, 9))
        os.kill(engine.pid, signal.SIGCONT)

    def stop_postgres(self):
        """an immediate stop of PostgreSQL"""
        self.pg.stop(signal.SIGQUIT)
        time.sleep(self.draw.uniform(0, 0.5))
        self.pg.start()

    def kill_nats(self):
        """kill -9 of the broker"""
        self.nats.process.end(signal.SIGKILL)
        time.sleep(self.draw.uniform(0, 0.5))
        self.nats.start()

    def kill_service(self):
        """kill -9 of the FHIR service"""
        self.s.demo.end(signal.SIGKILL)
        time.sleep(self.draw.uniform(0, 1))
        self.s.fhir_demo(port=urllib.parse.urlsplit(self.base).port)


KINDS = [Site.kill_engine, Site.kill_both, Site.hang_engine, Site.stop_postgres, Site.kill_nats, Site.kill_service]


def main():
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    draw = random.Random(seed)
    with Scenario("chaos") as s:
        s.say(f"SEED={seed} MESSAGES={MESSAGES}")
        x = Site(s, draw)
        started = time.monotonic()
        load = Load(x.port, "Z", CONNECTIONS, 6, MESSAGES // CONNECTIONS, HOSTS, pause=0.05 if MESSAGES < 10000 else 0)
        plan = draw.sample(KINDS, len(KINDS))            # each at least once
        count = 0
        while count < LEAST or load.acked() < load.total:
            fault = plan.pop() if plan else draw.choice(KINDS)
            time.sleep(draw.uniform(0.1, 1.5))
            before = load.acked()
            fault(x)
            count += 1
            s.say(f"{count}: {fault.__doc__}, {before} to {load.acked()} of {load.total} acknowledged")
            if load.acked() < load.total:                # the next one meets work again
                wait_for("the load to go on", lambda before=load.acked(): load.acked() > before, 60)
        load.finish(s, 120)
        settled(s, x.pg, 120 + MESSAGES // 50)
        s.say(f"{count} faults in {time.monotonic() - started:.0f} s, {load.resent()} messages sent again")
        for engine in x.engines:
            engine.must_run()
        s.equal(sum(e.metric("interop_messages_dead_lettered_total") for e in x.engines), 0, "no message was given up")
        check_books(s, x.pg, x.nats, x.base, [load], retries=True)
        for engine in x.engines:
            engine.stop()


if __name__ == "__main__":
    main()
