#!/usr/bin/env python3
"""Much at once: batches of many messages in one frame, and messages of megabytes, in bounded memory and in order.
MESSAGES is how many the long batch has."""
import os
import time

from harness import SANITIZED, Mllp, Scenario, frame, listening, wait_for
from promises_books import adt, pack_folder, site

MESSAGES = int(os.environ.get("MESSAGES", "5000" if SANITIZED else "100000"))
MB = 1 << 20
NOTHING = "return function() end\n"


class Site:
    def __init__(self, s):
        self.s = s
        self.pg = s.postgres()
        s.interop("migrate")
        self.engine = s.engine()
        self.pack = pack_folder(s, "nothing", NOTHING)

    def open(self, tenant, *more):
        port = site(self.s, self.pg, None, tenant, None, "adt", "--pack", self.pack, *more)
        wait_for("the listener", lambda: listening(port))
        return port

    def rss_mb(self):
        """Of a new engine, from whose start on peak_mb counts."""
        self.engine.stop()
        self.restart()
        wait_for("its connectors", lambda: self.engine.metric("interop_connector_owned") > 0)
        return self.engine.rss_kb() / 1024

    def restart(self):
        self.engine = self.s.engine()

    def count(self, tenant, status="processed"):
        return self.pg.value(f"select count(*) n from hl7_messages where tenant_id = '{tenant}' and processing_status = '{status}'")


def batch(name, count, patients=500):
    return (b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + b"".join(adt(f"{name}{n:06}", f"{name}{n % patients}") for n in range(count)) +
            f"BTS|{count}\rFTS|1\r".encode())


def answered(answer):
    """The MSA segments of a batch's answer, as (code, control id)."""
    return [(segment[1], segment[2]) for segment in answer.segments if segment[0] == "MSA"]


def stored(x, tenant):
    return x.pg.psql(f"select message_control_id from hl7_messages where tenant_id = '{tenant}' order by seq").split()


def long_batch(x):
    """A batch in one frame: each message is answered, in order, and what is sent behind it comes after it."""
    s, port = x.s, x.open("long", "--set", "frame_cap=256MiB")
    other = x.open("other")
    data = batch("L", MESSAGES)
    before = x.rss_mb()
    wait_for("the listeners", lambda: listening(port) and listening(other))
    with Mllp(port, seconds=600) as client, s.mllp(other) as beside:
        client.send(frame(data) + frame(adt("behind-1", "L1")) + frame(batch("M", 3)) + frame(adt("behind-2", "L1")))
        worst, n, begun = 0, 0, time.monotonic()
        while x.pg.value("select count(*) n from hl7_messages where tenant_id = 'long'") < MESSAGES:
            start = time.monotonic()
            s.equal(beside.exchange(adt(f"O{n}", f"O{n}")).code, "AA", "another connector's message") if n == 0 else \
                beside.exchange(adt(f"O{n}", f"O{n}"))
            worst, n = max(worst, time.monotonic() - start), n + 1
        seconds = time.monotonic() - begun
        answer = client.receive()
        s.equal(answered(answer), [("AA", f"L{n:06}") for n in range(MESSAGES)], "each message of the batch is acknowledged, in order")
        s.equal(answer.segments[-1], ["BTS", str(MESSAGES)], "in a batch that says how many")
        s.equal([answered(client.receive()) for _ in range(3)],
                [[("AA", "behind-1")], [("AA", f"M{n:06}") for n in range(3)], [("AA", "behind-2")]], "and what came behind it")
    s.equal(stored(x, "long"), [f"L{n:06}" for n in range(MESSAGES)] + ["behind-1", "M000000", "M000001", "M000002", "behind-2"],
            "all of it is stored in the order of sending")
    s.say(f"{len(data) / MB:.1f} MB in {seconds:.1f} s; {n} messages of another connector meanwhile, the slowest in {worst * 1000:.0f} ms")
    wait_for("it to be processed", lambda: x.count("long") == MESSAGES + 5, 300, 1)
    if not SANITIZED:                # a sanitizer keeps what was freed
        grown = x.engine.peak_mb() - before
        s.check(grown < 256 + 3 * len(data) / MB, f"memory stays within the frame and `memory_bytes` ({grown:.0f} MB more)")


def empty_batch(x):
    """A batch around nothing is refused."""
    s, port = x.s, x.open("empty")
    with s.mllp(port) as client:
        s.equal(client.exchange(b"BHS|^~\\&|A\rBTS|0\r").code, "AR", "a batch without a message")
        s.equal(client.exchange(adt("next")).code, "AA", "and the connection goes on")


def stopped(x):
    """An end in the midst of a batch: no answer, nothing behind it comes before the rest of it, and nothing is doubled
    when it is sent again."""
    s, port, data = x.s, x.open("stopped", "--set", "frame_cap=64MiB"), batch("S", 40000)
    for how in ("stop", "kill"):
        with Mllp(port, seconds=120) as client:
            client.send(frame(data) + frame(adt("behind", "S1")) + frame(batch("B", 3)))
            so_far = len(stored(x, "stopped"))
            wait_for("some of it to be stored", lambda: len(stored(x, "stopped")) > so_far, every=0.01)
            getattr(x.engine, how)()
            s.check(client.receive() is None, f"no answer when the engine is ended ({how})")
        now = stored(x, "stopped")
        s.check(0 < len(now) < 40000, f"some of it is stored ({how})", str(len(now)))
        s.equal(now, [f"S{n:06}" for n in range(len(now))], "the first of it, and nothing of what was sent behind it")
        x.restart()
        wait_for("the listener", lambda: listening(port))
    with Mllp(port, seconds=120) as client:
        s.equal(answered(client.exchange(data)), [("AA", f"S{n:06}") for n in range(40000)], "sent again, all of it is acknowledged")
    s.equal(stored(x, "stopped"), [f"S{n:06}" for n in range(40000)], "stored once, in order")
    wait_for("it to be processed", lambda: x.count("stopped") == 40000, 240, 1)


def released(x):
    """A batch released from quarantine, with an end in the midst: once it is noted as released, all of it is stored."""
    s, port = x.s, x.open("released", "--set", "frame_cap=16MiB")
    for how in ("stop", "kill"):
        with s.mllp(port) as client:
            client.send(batch(how, 10000) + b"\x1c\r")
            s.equal(client.receive().code, "AR", "a batch without a start block is refused")
        row = x.pg.rows("select id from hl7_quarantine where tenant_id = 'released' and released_at is null")[0]["id"]
        so_far = len(stored(x, "released"))
        s.interop("quarantine", "release", row, "--tenant", "released")
        wait_for("some of it to be stored", lambda so_far=so_far: len(stored(x, "released")) > so_far, every=0.01)
        getattr(x.engine, how)()
        noted = x.pg.value(f"select count(message_id) n from hl7_quarantine where id = '{row}'") == 1
        now = len(stored(x, "released")) - so_far
        s.check(now == 10000 or not noted, f"what is noted as released is stored ({how}: {now} stored, {'' if noted else 'not '}noted)")
        x.restart()
        wait_for("the listener", lambda: listening(port))
        if how == "stop":
            s.equal((now, noted), (10000, True), "a clean stop waits for a release that has begun")
        wait_for("the rest, which nobody asks for again", lambda so_far=so_far: len(stored(x, "released")) == so_far + 10000, 120)
        wait_for("the note", lambda row=row: x.pg.value(f"select count(message_id) n from hl7_quarantine where id = '{row}'") == 1)
    s.equal(stored(x, "released"), [f"{how}{n:06}" for how in ("stop", "kill") for n in range(10000)], "stored once, in order")


def stopped_without_database(x):
    """A clean stop in the midst of a batch while the database is away: what it holds of it is given up, and all comes again."""
    s, port = x.s, x.open("away", "--set", "frame_cap=64MiB")
    data = batch("A", 2000) + b"MSH|^~\\&|A\r" + batch("Z", 2000)
    with Mllp(port, seconds=120) as client, Mllp(port, seconds=120) as bad:
        x.pg.kill()
        before = x.engine.metric("interop_frames_received_total")
        client.send(frame(data) + frame(adt("behind", "A1")))
        bad.send(frame(b"PID|1||4711\r"))
        wait_for("the frames to be read", lambda: x.engine.metric("interop_frames_received_total") == before + 3)
        x.engine.stop()
        s.check(client.receive() is None and bad.receive() is None, "neither is answered")
    x.pg.start()
    s.equal(stored(x, "away"), [], "nothing is stored")
    x.restart()
    wait_for("the listener", lambda: listening(port))
    with Mllp(port, seconds=120) as client:
        s.equal(answered(client.exchange(data)), [("AA", f"A{n:06}") for n in range(2000)] + [("AR", "")] +
                [("AA", f"Z{n:06}") for n in range(2000)], "sent again, all of it is answered")


def refused_within(x):
    """Of a batch, what cannot be a message is refused by itself."""
    s, port = x.s, x.open("within")
    with s.mllp(port) as client:
        answer = client.exchange(b"BHS|^~\\&|A\r" + adt("w-1") + b"MSH|^~\\&|A\r" + adt("w-2") + b"BTS|3\r")
        codes = [segment[1] for segment in answer.segments if segment[0] == "MSA"]
        s.equal(codes, ["AA", "AR", "AA"], "each has its own answer")
    s.equal(stored(x, "within"), ["w-1", "w-2"], "the others are stored")


def megabytes(x):
    """Messages of 10 MB, one on each of four connections at a time."""
    s, port = x.s, x.open("large", "--set", "frame_cap=16MiB")
    page = b"JVBERi0xLjQK" * (10 * MB // 12)
    before = x.rss_mb()
    wait_for("the listener", lambda: listening(port))
    clients = [Mllp(port, seconds=120) for _ in range(4)]
    for n in range(5):
        for k, client in enumerate(clients):
            client.send(frame(adt(f"mb-{k}-{n}", f"K{k}", extra="") + b"OBX|1|ED|PDF||^application^pdf^Base64^" + page + b"\r"))
        s.equal([client.receive().code for client in clients], ["AA"] * 4, "four messages of 10 MB are acknowledged")
    for client in clients:
        client.close()
    wait_for("them to be processed", lambda: x.count("large") == 20, 120)
    s.equal(x.pg.value("select count(*) n from hl7_messages where tenant_id = 'large' and length(raw_payload) > 10000000"), 20,
            "each is stored whole")
    if not SANITIZED:
        s.check(x.engine.peak_mb() - before < 1024, f"memory is bounded ({x.engine.peak_mb() - before:.0f} MB more)")


CASES = [empty_batch, refused_within, megabytes, long_batch, stopped, released, stopped_without_database]


def main():
    with Scenario("batches") as s:
        x = Site(s)
        for case in s.cases(CASES):
            case(x)
        x.engine.stop()


if __name__ == "__main__":
    main()
