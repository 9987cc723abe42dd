"""What the benches share: figures, the parts that they run, a load that is watched."""
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenario"))
from harness import BINARY, Failed, Process, Scenario, free_port, listening, wait_for  # noqa: E402

TREE = os.path.dirname(BINARY)
# All else as PostgreSQL comes. Checkpoints come by time, as on a server set up for writing, and
# WAL goes into segments that are there, as on a server that has run for a while.
POSTGRES = ["shared_buffers=512MB", "max_wal_size=8GB", "min_wal_size=2GB", "checkpoint_timeout=15min"]
FILL_WAL = "select count(pg_logical_emit_message(false, 'bench', repeat('x', 1000000))) from generate_series(1, {megabytes})"
PACK = "lua/packs/v2-to-fhir"


class Bench:
    def __init__(self, as_json, smoke):
        self.as_json = as_json
        self.smoke = smoke

    def figure(self, bench, figure, value, unit, limit, limit_is):
        """A limit may be None, where nothing can be measured beside the value."""
        value = round(value, 3 if value < 10 else 1 if value < 1000 else 0)
        if limit is not None:
            limit = round(limit, 3 if limit < 10 else 1 if limit < 1000 else 0)
        if self.as_json:
            line = {"bench": bench, "figure": figure, "value": value, "unit": unit, "limit": limit, "limit_is": limit_is}
            print(json.dumps(line), flush=True)
        else:
            beside = f"beside {limit:>9,} {unit}: {limit_is}" if limit is not None else limit_is
            print(f"{bench:11} {figure:26} {value:>11,} {unit:12} {beside}", flush=True)


class Quiet(Scenario):
    """The harness's parts without its account."""

    def __enter__(self):
        out, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="ascii")
        try:
            return super().__enter__()
        finally:
            sys.stdout.close()
            sys.stdout = out

    def __exit__(self, kind, value, trace):
        if kind is not None:
            return super().__exit__(kind, value, trace)
        out, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="ascii")
        try:
            return super().__exit__(kind, value, trace)
        finally:
            sys.stdout.close()
            sys.stdout = out

    def started(self, wal_megabytes=0):
        """A database, migrated, with WAL segments to reuse."""
        pg = self.postgres(*POSTGRES)
        self.interop("migrate")
        if wal_megabytes:
            pg.psql(FILL_WAL.format(megabytes=wal_megabytes))
            pg.psql("checkpoint")
        self.env["INTEROP_LOG_LEVEL"] = "warn"
        return pg

    def connectors(self, pg, count, mapped, *options):
        """Active connectors, each of a tenant of its own; their ports. Without `mapped` they
        have no pack: their messages are stored and acknowledged, and wait."""
        ports = []
        for n in range(count):
            port = free_port()
            while port in ports:
                port = free_port()
            ports.append(port)
            self.interop("connector", "add", "--tenant", f"tenant-{n}", "--name", "adt", "--protocol", "mllp",
                         "--direction", "inbound", "--port", port, "--pack", PACK, *(["--activate"] if mapped else []),
                         *options)
        if not mapped:
            pg.psql("update interop_connectors set pack_digest = null, status = 'active'")
        return ports

    def load(self, ports, messages, prefix, connections=64, patients=10000, warm=0):
        for port in ports:
            wait_for(f"port {port}", lambda port=port: listening(port))
        if warm:
            self.load(ports, warm, prefix + "W", connections, patients)
        done = subprocess.run([f"{TREE}/bench_mllp_load", "--connections", str(connections), "--messages", str(messages),
                               "--patients", str(patients), "--id", prefix, *map(str, ports)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"bench_mllp_load: {done.stderr}")
        account = json.loads(done.stdout)
        if account["negative"]:
            raise Failed(f"{account['negative']} messages were refused: {done.stderr}")
        return account


def measured(program, *args):
    """What one of the C benches prints."""
    done = subprocess.run([f"{TREE}/{program}", *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{program}: {done.stderr}")
    return json.loads(done.stdout)


def wal(pg):
    """WAL bytes written so far."""
    return pg.value("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")


def rows(pg):
    """How many rows each of the tables holds that grow with messages."""
    return {table: pg.value(f"select count(*) from {table}")
            for table in ("hl7_messages", "hl7_deliveries", "hl7_resource_links", "outbox_events")}


class Sink:
    """A FHIR service that answers at once, on a port that stays the same while it is dead."""

    def __init__(self, s):
        self.s = s
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/fhir"
        s.parts.append(self.kill)
        self.start()

    def start(self):
        self.process = Process("sink", [f"{TREE}/bench_sink", str(self.port)], self.s.log("sink"))
        wait_for("the sink", lambda: listening(self.port))

    def kill(self):
        if self.process.running():
            self.process.end()


class Flow(threading.Thread):
    """A load that sends as many messages as it is let: so many a second, or so many ahead of what is processed."""

    def __init__(self, s, addresses, prefix, messages, patients=10000, connections=64):
        super().__init__(daemon=True)
        for address in addresses:
            host, _, port = str(address).rpartition(":")
            wait_for(f"port {address}", lambda host=host, port=port: listening(int(port), host or "127.0.0.1"))
        self.child = subprocess.Popen([f"{TREE}/bench_mllp_load", "--follow", "--messages", str(messages), "--id", prefix, "--patients",
                                       str(patients), "--connections", str(connections), *map(str, addresses)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        s.parts.append(self.child.kill)
        self.messages = messages
        self.rate = 0.0                  # a second, once it is started
        self.let = 0
        self.stopping = False

    def allow(self, count):
        """So many in all; more than it has are all of them."""
        self.let = count
        if self.child.poll() is None:
            try:
                self.child.stdin.write(f"{count}\n")
                self.child.stdin.flush()
            except BrokenPipeError:
                pass
        elif self.child.returncode != 0:
            raise Failed("the load failed")

    def run(self):
        begun = time.monotonic()
        while not self.stopping and self.let < self.messages:
            self.allow(int((time.monotonic() - begun) * self.rate))
            time.sleep(0.05)

    def at(self, rate):
        self.rate = rate
        self.start()
        return self

    def account(self):
        """What it says of itself when all is sent."""
        if self.ident is not None:
            self.join()
        out, _ = self.child.communicate()
        account = json.loads(out)
        if self.child.returncode != 0 or account["negative"]:
            raise Failed(f"the load failed: {out}")
        return account


def processed(engines):
    return sum(int(engine.metric("interop_messages_processed_total")) for engine in engines)


def stored(engines):
    return sum(int(engine.metric("interop_messages_stored_total")) for engine in engines)


def driven(engines, flow, window, seconds=None, limit=900):
    """Sends with a backlog of at most `window` (what was acknowledged and is not delivered yet), until all are
    processed or, if `seconds` are given, these are over. Marks, as (seconds, processed, backlog, MB of memory)."""
    begun, first, marks = time.monotonic(), processed(engines), []
    first_stored = stored(engines)
    done = 0
    while done < flow.messages and (seconds is None or time.monotonic() - begun < seconds):
        done = processed(engines) - first
        marks.append((time.monotonic() - begun, done, stored(engines) - first_stored - done,
                      sum(engine.rss_kb() for engine in engines) / 1024))
        flow.allow(done + window)
        for engine in engines:
            engine.must_run()
        if seconds is None and marks[-1][0] > limit:
            raise Failed(f"only {done} of {flow.messages} were processed in {limit} s")
        time.sleep(0.1)
    return marks


def all_processed(pg, messages):
    states = pg.rows("select processing_status as status, count(*) as n from hl7_messages group by 1")
    if states != [{"status": "processed", "n": messages}]:
        raise Failed(f"not all were processed: {states}")
