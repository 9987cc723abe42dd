#!/usr/bin/env python3
"""The engine dies at every place that the sources name, one by one, under load: before and after each
commit, acknowledgement, hand-over, request, answer and publication. The next one takes over, the
senders repeat what was not acknowledged, and in the end the books balance. And it hangs where a request
begins, until another one has sent it.

How often it comes to a place before it dies there is drawn; SEED in the environment draws the same again."""
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

    def work_for_streams(self, load, name):
        """Deliveries leave memory while the service is away, and are read back; the engine dies at either."""
        self.s.demo.end(signal.SIGKILL)
        engine = self.s.engine(ready=False, INTEROP_FAILPOINT=name, INTEROP_LANE_MESSAGES=20)
        sending = load()
        wait_for("deliveries to leave memory, or its end", lambda: "stream.behind" in engine.text() or not engine.running())
        self.s.fhir_demo(port=self.port)
        return engine, sending


def dies(x):
    """At each place: the next one takes over, the senders repeat what was not acknowledged."""
    s, loads = x.s, []
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    draw = random.Random(seed)
    names = places()
    s.equal(len(set(names)), len(names), f"{len(names)} places, each named once; SEED={seed}")
    port = site(s, x.pg, x.base)

    def load():
        n = len(loads)
        loads.append(Load(port, chr(ord("A") + n // 26) + chr(ord("A") + n % 26), connections=4, patients=3, messages=MESSAGES))
        return loads[-1]

    for name in names:
        times = draw.randint(1, RARE.get(name.partition(".")[0], 12))
        if name in LEAVES:
            times = 1
            engine = s.engine(ready=False, INTEROP_FAILPOINT=f"{LEAVES[name]}:1")
            sending = load()
            wait_for(f"the engine to leave work open at {LEAVES[name]}", lambda: not engine.running(), 30, 0.01)
            engine = s.engine(ready=False, INTEROP_FAILPOINT=f"{name}:1")
        elif name.startswith("stream."):
            engine, sending = x.work_for_streams(load, f"{name}:{times}")
        else:
            engine = s.engine(ready=False, INTEROP_FAILPOINT=f"{name}:{times}")
            sending = load()
        wait_for(f"the engine to die at {name}:{times}", lambda: not engine.running(), 30, 0.01)
        s.equal(engine.child.returncode, -signal.SIGKILL, f"it dies at {name}, the {times}. time it comes there")
        acked = sending.acked()
        engine = s.engine()
        sending.finish(s)
        settled(s, x.pg, 30)
        s.say(f"{acked} of {sending.total} were acknowledged when it died, {sending.resent()} were sent again")
        engine.stop()
    check_books(s, x.pg, x.nats, x.base, loads)


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
