"""scripts/bench NAME… [--json] [--smoke]: measures the release build, each figure beside its limit.

  parse      indexing a message and reading 30 fields of it, one core
  map        mapping messages to FHIR with the stock pack, one core
  ack        messages durably committed and acknowledged, 64 connections with one in flight each
  pipeline   from frame to committed delivery at a FHIR service that answers at once
  idle       memory, connections held, time to ready
  containment  a tenant's p99 while others' scripts attack, beside 1.5 times its own alone and one budget
  all        all of these

By themselves, since they take long:

  crash      200,000 messages while engines, PostgreSQL, the broker and the FHIR service die again and again, and
             the books afterwards; SEED draws the same faults again
  soak       `pipeline` for MINUTES (10): is memory flat?
  outage     one of two targets dead for MINUTES (30) under load: the other, memory, the way back
  poison     one key of 10,000 whose messages fail: how long the others take
  many       1,000 connectors with 10,000 connections
  nodes      two engines beside one, on the same cores

The engine, PostgreSQL (fsync on, every index) and the load share this machine. The limit is
what the same machine gives in the same run when nothing else is done: what it is stands
beside it. --smoke takes short runs, to see that the benches work.
"""
import json
import os
import socket
import subprocess
import sys
import time

import endurance
from parts import (BINARY, TREE, Bench, Failed, Flow, Process, Quiet, Sink, all_processed, driven, free_port, listening, measured,
                   rows, wait_for, wal)
import containment_storm as storm  # noqa: E402  where parts.py has pointed to


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
        s.interop("rule", "add", "--type", "*", "--url", Sink(s).url)
        ports = s.connectors(pg, 1, mapped=True)
        engine = s.engine()
        flow = Flow(s, ports, "P", messages)
        before, events = wal(pg), rows(pg)["outbox_events"]
        marks = driven([engine], flow, window)
        seconds = marks[-1][0]
        written, kept = wal(pg) - before, rows(pg)
        kept["outbox_events"] -= events
        all_processed(pg, messages)
        half = next(at for at, done, _, _ in marks if done >= messages / 2)
        bench.figure("pipeline", "messages_per_s", messages / seconds, "1/s", bound,
                     "the same SQL by itself: stored, transformed, delivered, links and events")
        bench.figure("pipeline", "messages_per_s_second_half", messages / 2 / (seconds - half), "1/s", bound, "the same")
        bench.figure("pipeline", "wal_bytes_per_message", written / messages, "bytes", bound_wal,
                     "the same SQL by itself, with 2.4 kB of parsed data and 6 links")
        bench.figure("pipeline", "rows_per_message", sum(kept.values()) / messages, "rows", None,
                     ", ".join(f"{count / messages:.1f} {table}" for table, count in kept.items()))
        bench.figure("pipeline", "backlog_most", max(backlog for _, _, backlog, _ in marks), "messages", window,
                     "the window that the load keeps to")
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


BENCHES = {"parse": parse, "map": mapped, "ack": ack, "pipeline": pipeline, "idle": idle, "containment": containment}


def main():
    names = [arg for arg in sys.argv[1:] if not arg.startswith("--")]
    flags = [arg for arg in sys.argv[1:] if arg.startswith("--")]
    if names == ["all"]:
        names = list(BENCHES)
    if not names or any(n not in BENCHES and n not in endurance.BENCHES for n in names) or any(f not in ("--json", "--smoke") for f in flags):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    bench = Bench("--json" in flags, "--smoke" in flags)
    for name in names:
        (BENCHES.get(name) or endurance.BENCHES[name])(bench)
    return 0


sys.exit(main())
