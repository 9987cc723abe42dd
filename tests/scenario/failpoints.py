#!/usr/bin/env python3
"""The engine dies at every place that the sources name, one by one, under load: before and after each
commit, acknowledgement, hand-over, request, answer and publication. The next one takes over, the
senders repeat what was not acknowledged, and in the end the books balance.

How often it comes to a place before it dies there is drawn; SEED in the environment draws the same again."""
import os
import pathlib
import random
import re
import signal

from harness import ROOT, Scenario, wait_for
from promises_books import Load, check_books, settled, site

RARE = {"relay": 4, "node": 1}          # how often at most such a place is come to
# What is read back is what an engine leaves open that dies here: a message not transformed, a delivery not recorded.
LEAVES = {"feed.messages_read": "flow.transformed", "feed.deliveries_read": "deliver.answered"}
MESSAGES = 30                            # of each of four connections


def places():
    """What the sources name, in their order."""
    found = []
    for path in sorted(pathlib.Path(ROOT, "src").rglob("*.c")):
        found += re.findall(r'failpoint\("([a-z_.]+)"\)', path.read_text(encoding="utf-8"))
    return found


def main():
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    draw = random.Random(seed)
    with Scenario("failpoints") as s:
        names = places()
        s.equal(len(set(names)), len(names), f"{len(names)} places, each named once; SEED={seed}")
        pg = s.postgres()
        nats = s.nats()
        s.interop("migrate")
        base = s.fhir_demo()
        port = site(s, pg, base)
        loads = []

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
            else:
                engine = s.engine(ready=False, INTEROP_FAILPOINT=f"{name}:{times}")
                sending = load()
            wait_for(f"the engine to die at {name}:{times}", lambda: not engine.running(), 30, 0.01)
            s.equal(engine.child.returncode, -signal.SIGKILL, f"it dies at {name}, the {times}. time it comes there")
            acked = sending.acked()
            engine = s.engine()
            sending.finish(s)
            settled(s, pg, 30)
            s.say(f"{acked} of {sending.total} were acknowledged when it died, {sending.resent()} were sent again")
            engine.stop()
        check_books(s, pg, nats, base, loads)


if __name__ == "__main__":
    main()
