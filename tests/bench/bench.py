"""scripts/bench NAME… [--json] [--smoke]: measures the release build, each figure beside its limit.

  parse      indexing a message and reading 30 fields of it, one core
  map        mapping messages to FHIR with the stock pack, one core
  ack        messages durably committed and acknowledged, 64 connections with one in flight each
  pipeline   from frame to committed delivery at a FHIR service that answers at once
  idle       memory, connections held, time to ready
  containment  a tenant's p99 while others' scripts attack, beside 1.5 times its own alone and one budget
  all        all of these
  crash      200,000 messages while engines, PostgreSQL, the broker and the FHIR service die again and again, and
             the books afterwards; SEED draws the same faults again

The engine, PostgreSQL (fsync on, every index) and the load share this machine. The limit is
what the same machine gives in the same run when nothing else is done: what it is stands
beside it. --smoke takes short runs, to see that the benches work.
"""
import json
import os
import re
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenario"))
import containment_storm as storm  # noqa: E402
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


def lines(bench, program, env=None):
    """The figures of one of the C benches that prints them itself."""
    done = subprocess.run([f"{TREE}/{program}", "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise Failed(f"{program}: {done.stderr}")
    for line in map(json.loads, done.stdout.splitlines()):
        bench.figure(*(line[key] for key in ("bench", "figure", "value", "unit", "limit", "limit_is")))


def parse(bench):
    lines(bench, "bench_parse")


def mapped(bench):
    lines(bench, "bench_map", {"REPEATS": "200"} if bench.smoke else None)


def one_connection(s, pg, ports, rounds, messages):
    """By turns, the median round of each: machines are shared."""
    ours, bare = [], []
    for n in range(rounds):
        ours.append(s.load(ports, messages, f"B{n}x", connections=1)["p50_us"] / 1000)
        bare.append(measured("bench_store_bound", "single", pg.owner_url, messages)["p50_us"] / 1000)
    return storm.median(ours), storm.median(bare)


def ack(bench):
    with Quiet("bench-ack") as s:
        pg = s.started(0 if bench.smoke else 1500)
        rows = 4000 if bench.smoke else 200000
        bound = measured("bench_store_bound", "insert", pg.owner_url, rows)
    unnest = "the same rows by unnest of 200 on two connections, nothing else running"
    for tenants, suffix in ((1, ""), (64, "_64_tenants")):
        with Quiet(f"bench-ack-{tenants}") as s:
            pg = s.started(0 if bench.smoke else 1500)
            ports = s.connectors(pg, tenants, mapped=False)
            engine = s.engine()
            got = s.load(ports, 2000 if bench.smoke else 150000, "A", warm=0 if bench.smoke else 20000)
            bench.figure("ack", "acks_per_s" + suffix, got["per_s"], "1/s", bound["per_s"], unnest)
            bench.figure("ack", "p99_ms" + suffix, got["p99_us"] / 1000, "ms", bound["p99_us"] / 1000,
                         "p99 of one of those commits of 200 rows")
            stored = pg.value("select count(*) from hl7_messages")
            events = pg.value("select count(*) from outbox_events where event_type = 'message.received'")
            if stored != events or stored < got["messages"]:
                raise Failed(f"{got['messages']} acknowledged, {stored} stored, {events} events")
            if tenants == 1:
                one, single = one_connection(s, pg, ports, *((1, 200) if bench.smoke else (9, 1000)))
                bench.figure("ack", "p50_ms_one_connection", one, "ms", single, "p50 of a bare prepared INSERT and commit, by turns")
            engine.stop()


def wal(pg):
    """WAL bytes written so far."""
    return pg.value("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")


def rows(pg):
    """How many rows each of the tables holds that grow with messages."""
    return {table: pg.value(f"select count(*) from {table}")
            for table in ("hl7_messages", "hl7_deliveries", "hl7_resource_links", "outbox_events")}


def life(bench):
    """The engine's own SQL by itself: messages a second, WAL bytes and rows a message."""
    with Quiet("bench-life") as s:
        pg = s.started(0 if bench.smoke else 1500)
        s.connectors(pg, 1, mapped=False)
        connector = pg.value("select id from interop_connectors")
        messages = 2000 if bench.smoke else 100000
        pg.psql("insert into interop_leases (connector_id, tenant_id, epoch) select id, tenant_id, 1 from interop_connectors")
        before = wal(pg)
        got = measured("bench_store_life", pg.engine_url, "tenant-0", connector, messages)
        return got["per_s"], (wal(pg) - before) / messages


def pipeline(bench):
    messages, window = (2000, 500) if bench.smoke else (200000, 4000)
    bound, bound_wal = life(bench)
    with Quiet("bench-pipeline") as s:
        pg = s.started(0 if bench.smoke else 1500)
        sink = Process("bench_sink", [f"{TREE}/bench_sink"], s.log("sink"))
        s.parts.append(lambda: sink.end())
        wait_for("the sink", lambda: "listening" in sink.text())
        target = f"http://127.0.0.1:{sink.text().split()[1]}/fhir"
        s.interop("rule", "add", "--type", "*", "--url", target)
        [port] = s.connectors(pg, 1, mapped=True)
        engine = s.engine()
        wait_for("the listener", lambda: listening(port))

        before, events = wal(pg), rows(pg)["outbox_events"]
        load = subprocess.Popen([f"{TREE}/bench_mllp_load", "--follow", "--messages", str(messages), "--id", "P",
                                 "--patients", "10000", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        s.parts.append(load.kill)
        # The backlog is kept under a window: what was acknowledged and is not delivered yet.
        start = time.monotonic()
        processed, backlogs, marks = 0, [], []
        while processed < messages:
            processed = int(engine.metric("interop_messages_processed_total"))
            stored = int(engine.metric("interop_messages_stored_total"))
            backlogs.append(stored - processed)
            marks.append((time.monotonic() - start, processed))
            if load.poll() is None:
                try:
                    load.stdin.write(f"{processed + window}\n")
                    load.stdin.flush()
                except BrokenPipeError:
                    pass
            elif load.returncode != 0:
                raise Failed("the load failed")
            engine.must_run()
            if time.monotonic() - start > 900:
                raise Failed(f"only {processed} of {messages} were processed in 15 minutes")
            time.sleep(0.1)
        seconds = time.monotonic() - start
        written, kept = wal(pg) - before, rows(pg)
        kept["outbox_events"] -= events
        states = pg.rows("select processing_status as status, count(*) as n from hl7_messages group by 1")
        if states != [{"status": "processed", "n": messages}]:
            raise Failed(f"not all were processed: {states}")
        half = next(at for at, done in marks if done >= messages / 2)
        bench.figure("pipeline", "messages_per_s", messages / seconds, "1/s", bound,
                     "the same SQL by itself: stored, transformed, delivered, links and events")
        bench.figure("pipeline", "messages_per_s_second_half", messages / 2 / (seconds - half), "1/s", bound, "the same")
        bench.figure("pipeline", "wal_bytes_per_message", written / messages, "bytes", bound_wal,
                     "the same SQL by itself, with 2.4 kB of parsed data and 6 links")
        bench.figure("pipeline", "rows_per_message", sum(kept.values()) / messages, "rows", None,
                     ", ".join(f"{count / messages:.1f} {table}" for table, count in kept.items()))
        bench.figure("pipeline", "backlog_most", max(backlogs), "messages", window, "the window that the load keeps to")
        engine.stop()


def idle(bench):
    held = 200 if bench.smoke else 10000
    with Quiet("bench-idle") as s:
        pg = s.started()
        [port] = s.connectors(pg, 1, True, "--set", f"max_connections={held + 100}")
        s.engine().stop()                # the database is warm now
        start = time.monotonic()
        subprocess.run(["psql", pg.engine_url, "-XAtqc", "select 1"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
        psql_ms = (time.monotonic() - start) * 1000
        engine = s.engine(ready=False)
        while True:
            engine.must_run()
            try:
                with socket.create_connection(("127.0.0.1", engine.port), 1) as link:
                    link.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if b" 200 " in link.recv(64):
                        break
            except OSError:
                pass
            time.sleep(0.002)
        ready_ms = (time.monotonic() - engine.started) * 1000
        wait_for("the listener", lambda: listening(port))
        time.sleep(1)
        bare = Process("interop listen", [BINARY, "listen", str(free_port())], s.log("listen"))
        s.parts.append(lambda: bare.end() if bare.running() else None)
        time.sleep(0.5)
        bare.must_run()
        rss = engine.rss_kb()
        bench.figure("idle", "rss_mb", rss / 1024, "MB", bare.rss_kb() / 1024, "the same binary as a bare test listener")
        bench.figure("idle", "ready_ms", ready_ms, "ms", psql_ms, "psql connects and asks one question")

        load = subprocess.Popen([f"{TREE}/bench_mllp_load", "--idle", "--connections", str(held), str(port)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        s.parts.append(load.kill)
        if load.stdout.readline().strip() != "connected":
            raise Failed("the idle connections could not be opened")

        def counted():
            engine.must_run()
            return engine.metric("interop_connections") >= held
        wait_for(f"{held} connections", counted, 30)
        time.sleep(1)
        bench.figure("idle", "kb_per_connection", (engine.rss_kb() - rss) / held, "kB", None, f"with {held} idle connections held")
        ack_one = s.load([port], 50, "I", connections=1)
        bench.figure("idle", "p50_ms_beside_idle", ack_one["p50_us"] / 1000, "ms", None,
                     f"one more connection is answered while {held} are held")
        load.stdin.close()
        load.wait(30)
        engine.stop()


def containment(bench):
    """Alone and under attack by turns, the median round of each: machines are shared."""
    with Quiet("bench-containment") as s:
        pg = s.started()
        victim = storm.connector(s, "victim", "adt", storm.victim_pack(s.folder))
        pack = storm.attacker_pack(s.folder, storm.SLOW_TO_LOAD)
        attackers = [storm.connector(s, tenant, "storm", pack) for tenant in ("storm-a", "storm-b")]
        engine = s.engine(INTEROP_TRANSFORM_THREADS=2)
        alone, attacked = storm.rounds(s, pg, victim, attackers, 1 if bench.smoke else 7, 50 if bench.smoke else 500)
        for figure, at in (("p99_ms_to_ack", 0), ("p99_ms_to_processed", 1)):
            by_itself, beside = (storm.median([r[at] for r in found]) for found in (alone, attacked))
            bench.figure("containment", figure, beside, "ms", 1.5 * by_itself + storm.BUDGET_MS,
                         f"1.5 times its {by_itself:.1f} ms alone, and a budget of {storm.BUDGET_MS} ms")
        engine.stop()


def crash(bench):
    env = {**os.environ, "MESSAGES": "2400" if bench.smoke else "200000"}
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenario", "chaos.py")
    said = []
    with subprocess.Popen(["/usr/bin/python3", script], env=env, stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            said.append(line)
            print(line, end="", file=sys.stderr, flush=True)
    if run.returncode != 0:
        raise Failed("the books do not balance")
    faults, seconds, again = re.search(r"(\d+) faults in (\d+) s, (\d+) messages sent again", "".join(said)).groups()
    bench.figure("crash", "messages_per_s", int(env["MESSAGES"]) / int(seconds), "1/s", None,
                 f"through {faults} faults, {again} messages sent again, none lost, doubled or out of order")


BENCHES = {"parse": parse, "map": mapped, "ack": ack, "pipeline": pipeline, "idle": idle, "containment": containment}


def main():
    names = [arg for arg in sys.argv[1:] if not arg.startswith("--")]
    flags = [arg for arg in sys.argv[1:] if arg.startswith("--")]
    if names == ["all"]:
        names = list(BENCHES)
    if not names or any(n not in BENCHES and n != "crash" for n in names) or any(f not in ("--json", "--smoke") for f in flags):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    bench = Bench("--json" in flags, "--smoke" in flags)
    for name in names:
        (crash if name == "crash" else BENCHES[name])(bench)
    return 0


sys.exit(main())
