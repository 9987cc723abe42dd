"""The benches that take long: faults and loads of the size of a hospital's."""
import os
import re
import subprocess
import sys
import time

from parts import Failed, Flow, Quiet, Sink, all_processed, driven, listening, processed, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenario"))
import containment_storm as storm  # noqa: E402
from harness import frame  # noqa: E402
from promises_books import OUT_OF_ORDER, adt, pack_folder, shared_out, site, to  # noqa: E402


def minutes(bench, standard):
    return 0.1 if bench.smoke else float(os.environ.get("MINUTES", standard))


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


def soak(bench):
    """The whole way for a long time; the most memory in each tenth of it."""
    seconds = minutes(bench, 10) * 60
    with Quiet("bench-soak") as s:
        pg = s.started(0 if bench.smoke else 1500)
        s.interop("rule", "add", "--type", "*", "--url", Sink(s).url)
        ports = s.connectors(pg, 1, mapped=True)
        engine = s.engine()
        flow = Flow(s, ports, "S", 10000000)
        marks = driven([engine], flow, 4000, seconds)
        flow.child.kill()
        tenths = [max(mb for at, _, _, mb in marks if int(10 * at / seconds) == n) for n in range(10)]
        half = next(mark for mark in marks if mark[0] >= seconds / 2)
        bench.figure("soak", "messages_per_s_first_half", half[1] / half[0], "1/s", None, f"{seconds / 60:.1f} minutes in all")
        bench.figure("soak", "messages_per_s_second_half", (marks[-1][1] - half[1]) / (marks[-1][0] - half[0]), "1/s",
                     half[1] / half[0], "of the first half")
        bench.figure("soak", "rss_mb_most", max(tenths[5:]), "MB", max(tenths[:5]),
                     f"in the first half; by tenths {', '.join(f'{mb:.0f}' for mb in tenths)}")
        engine.stop()


# By the control id.
DEAD_OR_NEAR = f"""
local dead = (function() {to("dead")} end)()
local near = (function() {to("near")} end)()
return function(msg, out) return (msg:get("MSH-10"):sub(1, 1) == "S" and near or dead)(msg, out) end
"""


def outage(bench):
    """Two tenants, each with a service of its own; that of one dies for a while at full intake. A tenth of what this one's
    connector gets goes to another service, which is well."""
    seconds = minutes(bench, 30) * 60
    with Quiet("bench-outage") as s:
        pg = s.started(0 if bench.smoke else 1500)
        sinks, ports = [], []
        for n, name in enumerate(("dead", "well")):
            sinks.append(Sink(s))
            pg.psql(f"insert into fhir_services (id, tenant_id, name, url) values ('SVC_{name}', '{name}', '{name}', '{sinks[n].url}')")
            ports.append(site(s, pg, None, name, None, "adt", "--pack", pack_folder(s, name, to(name) if name == "well" else DEAD_OR_NEAR)))
        pg.psql(f"insert into fhir_services (id, tenant_id, name, url) values ('SVC_near', 'dead', 'near', '{Sink(s).url}')")
        engine = s.engine()

        def done(tenant, near="false"):
            return int(pg.value(f"select count(*) from hl7_messages where tenant_id = '{tenant}' and processing_status = 'processed' "
                                f"and (message_control_id like 'S%') = {near}"))

        def late(prefix):
            return pg.value("select coalesce(percentile_cont(0.99) within group (order by extract(epoch from processed_at - received_at)), 0) "
                            f"* 1000 from hl7_messages where message_control_id like '{prefix}%'")
        first = 2000 if bench.smoke else 60000
        marks = driven([engine], Flow(s, [ports[0]], "F", first), 4000)
        full = first / marks[-1][0]
        # Full intake: what both together bring is what the engine delivers when all is well.
        rate = 0.4 * full
        calm = Flow(s, [ports[1]], "C", int(rate * max(seconds / 6, 3))).at(rate)
        other = Flow(s, [ports[0]], "B", int(rate * max(seconds / 6, 3))).at(rate)
        near = [Flow(s, [ports[0]], "SC", int(rate / 10 * max(seconds / 6, 3))).at(rate / 10)]
        calm_account, _, _ = calm.account(), other.account(), near[0].account()
        wait_for("all to be delivered", lambda: processed([engine]) >= first + calm.messages + other.messages + near[0].messages, 120)
        sinks[0].kill()
        before = done("dead")
        begun, samples = time.monotonic(), []
        dead = Flow(s, [ports[0]], "D", int(rate * seconds)).at(rate)
        well = Flow(s, [ports[1]], "W", int(rate * seconds)).at(rate)
        near.append(Flow(s, [ports[0]], "SD", int(rate / 10 * seconds)).at(rate / 10))
        while dead.is_alive() or well.is_alive():
            samples.append((time.monotonic() - begun, engine.rss_kb() / 1024))
            engine.must_run()
            time.sleep(0.5)
        well_account, dead_account, _ = well.account(), dead.account(), near[1].account()
        wait_for("what the other service gets", lambda: done("well") == calm.messages + well.messages, 60, 1)
        wait_for("and the one beside the dead one", lambda: done("dead", "true") == sum(flow.messages for flow in near), 60, 1)
        if done("dead") != before:
            raise Failed("something was delivered to a service that is dead")
        sinks[0].start()
        back, marks = time.monotonic(), []
        while not marks or marks[-1][1] < dead.messages:
            marks.append((time.monotonic() - back, done("dead") - before))
            if marks[-1][0] > 60 + 10 * seconds:
                raise Failed(f"only {marks[-1][1]} of {dead.messages} that waited were delivered")
            time.sleep(1)
        # From the first to the last: a breaker takes its time to try again.
        start = next(mark for mark in marks if mark[1] > 0)
        drained = (marks[-1][1] - start[1]) / max(marks[-1][0] - start[0], 0.001)
        wrong = int(pg.value(OUT_OF_ORDER.replace("partition by tenant_id,", "partition by tenant_id, message_control_id like 'S%',")))
        if wrong:
            raise Failed(f"{wrong} messages were processed before one that came earlier")
        all_processed(pg, first + calm.messages + other.messages + dead.messages + well.messages + sum(flow.messages for flow in near))
        bench.figure("outage", "p99_ms_to_ack", dead_account["p99_us"] / 1000, "ms", calm_account["p99_us"] / 1000,
                     f"with both services well; {seconds / 60:.1f} minutes, {rate:.0f} messages/s to each")
        bench.figure("outage", "p99_ms_other_service", late("W"), "ms", late("C"), "from received to delivered, with both services well")
        bench.figure("outage", "p99_ms_other_service_of_connector", late("SD"), "ms", late("SC"), "of the same connector, the same")
        bench.figure("outage", "other_acked_per_s", well_account["per_s"], "1/s", calm_account["per_s"], "with both services well")
        settled = max(mb for at, mb in samples if at < max(seconds / 10, 2))
        bench.figure("outage", "rss_mb_most", max(mb for _, mb in samples), "MB", settled, "the most in the first tenth of the time")
        bench.figure("outage", "first_delivery_s", start[0], "s", None, "after the service is back")
        bench.figure("outage", "drained_per_s", drained, "1/s", full,
                     f"delivered when all is well; {dead.messages} waited, all in order afterwards")
        engine.stop()


def poison(bench):
    """By turns without and with messages of a key that is stuck, the median round of each. A round is of 10,000 other keys, and
    about as long as what the disk does every half minute, which may fall upon any."""
    body = 'local put = (function() ' + to("sink") + ' end)()\nreturn function(msg, out) if msg:get "PID-3.1" == "STUCK" then error("stuck") end ' \
           'put(msg, out) end\n'
    rounds, count = (1, 300) if bench.smoke else (8, 10000)
    with Quiet("bench-poison") as s:
        pg = s.started(0 if bench.smoke else 800)
        pg.psql(f"insert into fhir_services (id, tenant_id, name, url) values ('SVC_sink', 'one', 'sink', '{Sink(s).url}')")
        port = site(s, pg, None, "one", None, "adt", "--pack", pack_folder(s, "stuck", body), "--set", "retry_base_ms=50",
                    "--set", "retry_cap_ms=200", "--set", "max_attempts=1000")
        engine = s.engine()
        Flow(s, [port], "WARM", 2000).at(500).account()
        found = {False: [], True: []}
        for n in range(rounds):
            for stuck in (False, True) if n % 2 == 0 else (True, False):
                prefix = f"R{'P' if stuck else 'A'}{n}x"
                flow = Flow(s, [port], prefix, count).at(500)
                if stuck:
                    with s.mllp(port) as client:
                        k = 0
                        while flow.is_alive():
                            client.send(frame(adt(f"S{n}-{k}", "STUCK")))
                            if client.receive().code != "AA":
                                raise Failed("a message of the stuck key was not acknowledged")
                            k += 1
                            time.sleep(0.02)
                acked = flow.account()["p99_us"] / 1000
                wait_for("the others", lambda prefix=prefix: int(pg.value(
                    f"select count(*) from hl7_messages where message_control_id like '{prefix}%' and processing_status <> 'processed'")) == 0, 30)
                done = pg.value("select percentile_cont(0.99) within group (order by extract(epoch from processed_at - received_at)) * 1000 "
                                f"from hl7_messages where message_control_id like '{prefix}%'")
                found[stuck].append((acked, float(done)))
        held = int(pg.value("select count(*) from hl7_messages where processing_status <> 'processed'"))
        for figure, at in (("p99_ms_to_ack", 0), ("p99_ms_to_delivered", 1)):
            alone, beside = (storm.median([r[at] for r in found[stuck]]) for stuck in (False, True))
            bench.figure("poison", figure, beside, "ms", alone, f"without; at the end {held} messages wait behind the stuck one")
        engine.stop()


def many(bench):
    connectors, connections = (20, 200) if bench.smoke else (1000, 10000)
    with Quiet("bench-many") as s:
        pg = s.started(0 if bench.smoke else 1500)
        s.interop("rule", "add", "--type", "*", "--url", Sink(s).url)
        ports = s.connectors(pg, connectors, mapped=True)
        engine = s.engine()
        started = time.monotonic() - engine.started
        for port in ports:
            wait_for(f"port {port}", lambda port=port: listening(port))
        listening_s = time.monotonic() - engine.started
        rss = engine.rss_kb() / 1024
        messages = 2 * connections
        load = Flow(s, ports, "M", messages, connections=connections)
        wait_for("the connections", lambda: engine.metric("interop_connections") >= connections, 60)
        held = engine.rss_kb() / 1024
        load.allow(messages)
        account = load.account()
        wait_for("all to be delivered", lambda: processed([engine]) >= messages, 120, 0.2)
        all_processed(pg, messages)
        bench.figure("many", "ready_ms", started * 1000, "ms", None, f"{connectors} connectors, one tenant each; all listen after {listening_s:.1f} s")
        bench.figure("many", "rss_mb", held, "MB", rss, f"before the {connections} connections")
        bench.figure("many", "acks_per_s", account["per_s"], "1/s", None, f"{connections} connections with one message in flight each")
        bench.figure("many", "p99_ms", account["p99_us"] / 1000, "ms", None, "of them")
        bench.figure("many", "rss_mb_afterwards", engine.rss_kb() / 1024, "MB", None, "when all are delivered")
        engine.stop()


def nodes(bench):
    """One engine and two by turns, each time all of it anew."""
    rounds, messages = (1, 2000) if bench.smoke else (5, 40000)
    hosts = ("127.0.0.1", "127.0.0.2")
    found = {1: [], 2: []}
    for n in range(rounds):
        for count in (1, 2):
            with Quiet(f"bench-nodes-{count}-{n}") as s:
                pg = s.started(0 if bench.smoke else 800)
                s.interop("rule", "add", "--type", "*", "--url", Sink(s).url)
                ports = s.connectors(pg, 4, mapped=True)
                engines = [s.engine(INTEROP_MLLP_ADDRESS=host) for host in hosts[:count]]
                wait_for("each connector to be where it is to be", lambda pg=pg, count=count: shared_out(pg, count, 4))
                flow = Flow(s, [f"{host}:{port}" for host in hosts[:count] for port in ports], "N", messages)
                marks = driven(engines, flow, 4000)
                all_processed(pg, messages)
                found[count].append(messages / marks[-1][0])
                for engine in engines:
                    engine.stop()
    one, two = (storm.median(found[count]) for count in (1, 2))
    by_round = ", ".join(f"{100 * b / a:.0f}%" for a, b in zip(found[1], found[2]))
    bench.figure("nodes", "messages_per_s_two_nodes", two, "1/s", one, f"by one node, frame to delivery; round by round {by_round}")


BENCHES = {"crash": crash, "soak": soak, "outage": outage, "poison": poison, "many": many, "nodes": nodes}
