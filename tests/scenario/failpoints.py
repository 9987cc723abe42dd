#!/usr/bin/env python3
"""The engine dies at every place that the sources name, one by one, under load: before and after each
commit, acknowledgement, hand-over, request, answer and publication. The next one takes over, the
senders repeat what was not acknowledged, and in the end the books balance. And it hangs where a request
begins, until another one has sent it.

How often it comes to a place before it dies there is drawn; SEED in the environment draws the same again.
An engine that had done all before it came there so often is sent more."""
import os
import pathlib
import random
import re
import signal

from harness import ROOT, Scenario, frame, free_port, listening, wait_for
from promises_books import Load, adt, check_books, settled, site
from promises_service import Service, control_ids, one_at_a_time

RARE = {"relay": 4, "node": 1, "stream": 1}          # how often at most such a place is come to
# What is read back is what an engine leaves open that dies here: a message not transformed, a delivery not recorded.
LEAVES = {"feed.messages_read": "flow.transformed", "feed.deliveries_read": "deliver.answered"}
MESSAGES = 30                            # of each of four connections


def places():
    """What the sources name, in their order."""
    found = []
    for path in sorted(pathlib.Path(ROOT, "src").rglob("*.c")):
        found += re.findall(r'failpoint\("([a-z_.]+)"\)', path.read_text(encoding="utf-8"))
    return found


class Site:
    def __init__(self, s):
        self.s = s
        self.pg = s.postgres()
        self.nats = s.nats()
        s.interop("migrate")
        self.port = free_port()
        self.base = s.fhir_demo(port=self.port)
        self.mllp = None                 # the port that loads are sent to
        self.loads = []

    def load(self):
        n = len(self.loads)
        self.loads.append(Load(self.mllp, chr(ord("A") + n // 26) + chr(ord("A") + n % 26), connections=4, patients=3, messages=MESSAGES))
        return self.loads[-1]

    def until_dead(self, engine, sending, where):
        """What was sent until it died: what has all been acknowledged may have needed fewer publications
        than it was to die after."""
        sent = [sending]

        def dead():
            if engine.running() and sent[-1].acked() == sent[-1].total:
                sent.append(self.load())
            return not engine.running()

        wait_for(f"the engine to die at {where}", dead, 30, 0.01)
        return sent

    def work_for_streams(self, name):
        """Deliveries leave memory while the service is away, and are read back; the engine dies at either."""
        self.s.demo.end(signal.SIGKILL)
        engine = self.s.engine(ready=False, INTEROP_FAILPOINT=name, INTEROP_LANE_MESSAGES=20)
        sending = self.load()
        wait_for("deliveries to leave memory, or its end", lambda: "stream.behind" in engine.text() or not engine.running())
        self.s.fhir_demo(port=self.port)
        return engine, sending


def dies(x):
    """At each place: the next one takes over, the senders repeat what was not acknowledged."""
    s = x.s
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    draw = random.Random(seed)
    names = places()
    s.equal(len(set(names)), len(names), f"{len(names)} places, each named once; SEED={seed}")
    x.mllp = site(s, x.pg, x.base)
    for name in names:
        times = draw.randint(1, RARE.get(name.partition(".")[0], 12))
        if name in LEAVES:
            times = 1
            engine = s.engine(ready=False, INTEROP_FAILPOINT=f"{LEAVES[name]}:1")
            sending = x.load()
            wait_for(f"the engine to leave work open at {LEAVES[name]}", lambda engine=engine: not engine.running(), 30, 0.01)
            engine = s.engine(ready=False, INTEROP_FAILPOINT=f"{name}:1")
        elif name.startswith("stream."):
            engine, sending = x.work_for_streams(f"{name}:{times}")
        else:
            engine = s.engine(ready=False, INTEROP_FAILPOINT=f"{name}:{times}")
            sending = x.load()
        sent = x.until_dead(engine, sending, f"{name}:{times}")
        s.equal(engine.child.returncode, -signal.SIGKILL, f"it dies at {name}, the {times}. time it comes there")
        acked = sum(load.acked() for load in sent)
        engine = s.engine()
        for load in sent:
            load.finish(s)
        settled(s, x.pg, 30)
        s.say(f"{acked} of {sum(load.total for load in sent)} were acknowledged when it died, "
              f"{sum(load.resent() for load in sent)} were sent again")
        engine.stop()
    check_books(s, x.pg, x.nats, x.base, x.loads)


def hangs(x):
    """Right before a request, past its leases: the one who took over has sent it, so it is not sent again."""
    s, service = x.s, Service(x.s, x.base)
    for name in ("deliver.before_send", "fetch.connected"):
        tenant = name.partition(".")[0]
        port = one_at_a_time(s, x.pg, service, tenant)
        service.be(tenant, 0.2)          # all are acknowledged before it hangs
        first = s.engine(INTEROP_FAILPOINT=f"{name}:5:hang")
        wait_for("its listener", lambda port=port: listening(port))
        with s.mllp(port) as client:
            for n in range(20):          # of one patient: each is recorded before the next is sent
                client.send(frame(adt(f"{tenant}-{n}")))
                client.receive()
            wait_for(f"it to hang at {name}", first.holds)
            service.be(tenant, "pass")
            s.equal(len(service.seen(tenant)), 4, f"it hangs at {name}, the 5. time it comes there")
            second = s.engine()
            try:
                settled(s, x.pg)
            finally:
                os.kill(first.pid, signal.SIGCONT)
        wait_for("it to find that it was fenced", lambda first=first: "node.fenced" in first.text())
        wait_for("it to be a node again", lambda: x.pg.value("select count(*) from interop_nodes") == 2)
        s.equal(control_ids(service, tenant), {f"{tenant}-{n}": 1 for n in range(20)}, "what the other one sent is not sent again")
        first.stop()
        second.stop()


def main():
    with Scenario("failpoints") as s:
        x = Site(s)
        for case in s.cases([dies, hangs]):
            case(x)


if __name__ == "__main__":
    main()
