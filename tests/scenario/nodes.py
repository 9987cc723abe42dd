#!/usr/bin/env python3
"""Several engines on one database: connectors are divided, what one stores another runs, in order; a node
that is killed, that hangs past its leases, or that stops is replaced in time; and the books balance."""
import json
import os
import signal
import subprocess
import time

from harness import Failed, Scenario, frame, free_port, listening, wait_for
from promises_books import Load, adt, check_books, settled, shared_out, site
from promises_service import Service, control_ids, one_at_a_time

HOSTS = ("127.0.0.1", "127.0.0.2")       # one of each node
# One that does nothing: it is only there. Its name comes first.
THIRD = """insert into interop_nodes (id, name, instance, host, pid, pid_since, release, expires_at)
values ('NODE_third', '', '00000003', 'elsewhere', 1, 1, 'test', now() + interval '1 hour')"""
CONNECTIONS = 3                          # for storing: two of each of two nodes, one of each of three
OTHERS = 12                              # connectors beside the one that is worked on


class Site:
    def __init__(self, s):
        self.s = s
        self.pg = s.postgres()
        self.nats = s.nats()
        s.interop("migrate")
        self.base = s.fhir_demo()
        self.port = site(s, self.pg, self.base, port=free_port())
        for n in range(OTHERS):
            site(s, self.pg, None, tenant=f"t{n}")
        self.engines = [self.start(n) for n in range(2)]
        self.loads = []
        self.connector = self.pg.value("select id from interop_connectors where tenant_id = 'north'")
        self.divided()

    def start(self, n):
        return self.s.engine(INTEROP_MLLP_ADDRESS=HOSTS[n], INTEROP_INGEST_CONNECTIONS=CONNECTIONS)

    def divided(self):
        wait_for("each connector to be where it is to be", lambda: shared_out(self.pg, 2, OTHERS + 1), 20)

    def back(self, n):
        """The node begins anew, and has its part of the connectors."""
        self.engines[n] = self.start(n)
        self.divided()

    def holder(self):
        """The index of the node that runs the connector; None while there is none."""
        return holder(self, "north")

    def load(self, messages=150):
        self.loads.append(Load(self.port, chr(ord("A") + len(self.loads)), connections=6, patients=4, messages=messages, hosts=HOSTS))
        return self.loads[-1]

    def under_load(self, part=0.3, messages=150):
        sending = self.load(messages)
        wait_for("the load to be on its way", lambda: sending.acked() > sending.total * part, 60, 0.002)
        return sending

    def finish(self, sending):
        sending.finish(self.s)
        settled(self.s, self.pg)

    def books(self):
        check_books(self.s, self.pg, self.nats, self.base, self.loads)

    def owned(self, n):
        return sum(self.engines[n].metric("interop_connector_owned", connector="adt", tenant=t)
                   for t in ["north"] + [f"t{i}" for i in range(OTHERS)])


def holder(x, tenant):
    pid = x.pg.rows("select n.pid from interop_leases l join interop_nodes n on n.id = l.node_id "
                    f"where l.tenant_id = '{tenant}'")
    return next((n for n, e in enumerate(x.engines) if pid and e.pid == pid[0]["pid"]), None)


def divided(x):
    """Connectors are divided, each is run by one node, and what either stores is processed in order."""
    s = x.s
    wait_for("both nodes to run some of the connectors", lambda: min(x.owned(0), x.owned(1)) > 0)
    wait_for("each to be run by one", lambda: x.owned(0) + x.owned(1) == OTHERS + 1)
    listed = {n["connectors"] for n in map(json.loads, s.interop("node", "list", "--format", "json").splitlines())}
    s.equal(listed, {x.owned(0), x.owned(1)}, "`node list` says so")
    s.equal(sorted((x.owned(0), x.owned(1))), [OTHERS // 2, OTHERS // 2 + 1], "evenly")
    x.finish(x.load())
    stored = [e.metric("interop_messages_stored_total", connector="adt", tenant="north") for e in x.engines]
    done = [e.metric("interop_messages_processed_total", connector="adt", tenant="north") for e in x.engines]
    s.check(min(stored) > 0, "both nodes store messages of the connector", str(stored))
    s.equal(sorted(n > 0 for n in done), [False, True], "one of them runs it")


def acknowledged_then_sent_to_the_other(x):
    """Of one patient, one after the other, each to the other node as soon as the one before is acknowledged; others meanwhile."""
    s, clients, sending = x.s, [x.s.mllp(x.port, host=host) for host in HOSTS], x.load()
    for n in range(60):
        answer = clients[n % 2].exchange(adt(f"X{n:03}", "XX1", f"Step{n:05}", when=f"2026041809{n:02}12", visit="VXX1"))
        if answer.code != "AA":
            s.equal(answer.code, "AA", "each is acknowledged")
    x.finish(sending)
    for load in x.loads[:1]:
        load.last["XX1"], load.visits["XX1"] = "Step00059", "VXX1"
    s.equal([row["n"] for row in x.pg.rows(
        "select count(*) n from (select transformed_at, lag(transformed_at) over (order by message_control_id) as before "
        "from hl7_messages where message_control_id like 'X0%') t where transformed_at < before")], [0],
            "messages of one patient are transformed in the order of their acknowledgements, whichever node took them")


def stored(x, client, n, mrn):
    x.s.equal(client.exchange(adt(f"W{n:03}", mrn, f"Step{n:05}", visit=f"V{mrn}")).code, "AA", f"{mrn} is acknowledged")


def by_writer(x, begin):
    """Two senders to the node that does not run the connector, by the database connection that stores what they send."""
    pg, senders = x.pg, {}
    for n in range(begin, begin + 20):
        before = pg.rows(f"select writer, seq from interop_handovers where connector_id = '{x.connector}'")
        client = x.s.mllp(x.port, host=HOSTS[1 - x.holder()])
        stored(x, client, n, f"WW{n}")
        after = pg.rows(f"select writer, seq from interop_handovers where connector_id = '{x.connector}'")
        senders[next(row["writer"] for row in after if row not in before)] = client
        if len(senders) == 2:
            break
    return sorted(senders.items())


def stuck(x, writer):
    """A session that lets nothing be committed that this writer stores of the connector, until it ends."""
    lock = subprocess.Popen(["psql", x.pg.owner_url, "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lock.stdin.write(f"begin; select 1 from interop_handovers where connector_id = '{x.connector}' and writer = '{writer}' for update;\n")
    lock.stdin.flush()
    lock.stdout.readline()
    return lock


def wait_for_lock(x):
    wait_for("it to wait within its commit", lambda: x.pg.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"))


def late_word(x):
    """Of one patient through two database connections of the other node: word of the first comes after the second is read."""
    s, pg = x.s, x.pg
    (first, one), (_, two) = by_writer(x, 0)
    told = pg.value("select pg_get_functiondef('interop_handover'::regproc)")
    silent = told.replace("= ANY (elsewhere);\n    RETURN", f"= ANY (elsewhere) AND me <> '{first}';\n    RETURN")
    s.check(silent != told, f"{first} stores without a word")
    pg.psql(silent)
    lock = stuck(x, first)
    one.send(frame(adt("W100", "WW1", "Step00100", visit="VWW1")))
    wait_for_lock(x)
    stored(x, two, 101, "WW2")           # from here on what comes next is read from behind this one
    wait_for("that", lambda: pg.value("select processing_status from hl7_messages where message_control_id = 'W101'") == "processed")
    lock.communicate("rollback;\n")
    s.equal(one.receive().code, "AA", "WW1 is acknowledged")
    stored(x, two, 102, "WW1")
    pg.psql(told)
    settled(s, pg)
    s.check(pg.value("select a.transformed_at < b.transformed_at from hl7_messages a, hl7_messages b "
                     "where a.message_control_id = 'W100' and b.message_control_id = 'W102'"), "and transformed in that order")


SLOW_READING = """create function slow_reading(control_id text) returns boolean language plpgsql as $$ begin
  if control_id = 'W400' and current_setting('application_name') like 'interop engine%' then perform pg_sleep(2); end if;
  return true; end $$;
create policy slow on hl7_messages as restrictive for select using (slow_reading(message_control_id))"""


def stored_during_a_reading(x):
    """Of one patient: the second is stored by the node that runs it while a reading is under way that began before the first was."""
    s, pg, runs = x.s, x.pg, x.holder()
    here, elsewhere = (s.mllp(x.port, host=HOSTS[n]) for n in (runs, 1 - runs))
    pg.psql(SLOW_READING)
    stored(x, elsewhere, 400, "WW4")
    wait_for("it to be read, slowly", lambda: pg.value("select count(*) from pg_stat_activity where wait_event = 'PgSleep'"))
    stored(x, elsewhere, 401, "WW5")
    stored(x, here, 402, "WW5")
    s.equal(pg.value("select count(*) from pg_stat_activity where wait_event = 'PgSleep'"), 1, "all of that during one reading")
    settled(s, pg)
    pg.psql("drop policy slow on hl7_messages; drop function slow_reading")
    s.equal(pg.rows("select message_control_id id from hl7_messages where message_control_id in ('W401', 'W402') order by transformed_at"),
            [{"id": "W401"}, {"id": "W402"}], "they are transformed in their order")


def another_joins(x):
    """Of one sender, while the database connections for storing become fewer: what is stored by another waits for what was before."""
    s, pg = x.s, x.pg
    _, (last, client) = by_writer(x, 200)           # the connection that is not used among three
    lock = stuck(x, last)
    client.send(frame(adt("W300", "WW1", "Step00300", visit="VWW1")))
    wait_for_lock(x)
    pg.psql(THIRD)
    beats = pg.rows("select id, expires_at from interop_nodes")
    wait_for("both to know of the third", lambda: [row in beats for row in pg.rows("select id, expires_at from interop_nodes order by name")]
             == [True, False, False])
    client.send(frame(adt("W301", "WW1", "Step00301", visit="VWW1")))
    client.send(frame(adt("W302", "WW1", "Step00302", visit="VWW1")))
    time.sleep(1.5)                      # another beat
    s.equal(pg.value("select count(*) from hl7_messages where message_control_id in ('W301', 'W302')"), 0, "none overtakes it")
    lock.communicate("rollback;\n")
    s.equal([client.receive().code for _ in range(3)], ["AA"] * 3, "all are acknowledged")
    pg.psql("delete from interop_nodes where id = 'NODE_third'")
    settled(s, pg)
    s.equal(pg.rows("select message_control_id id from hl7_messages where message_control_id like 'W30%' order by transformed_at"),
            [{"id": f"W30{n}"} for n in range(3)], "and transformed in their order")
    x.divided()


def changes_reach_all(x):
    """A change of configuration is in force on every node within a second, wherever it was made."""
    s = x.s
    begun = time.monotonic()
    s.interop("connector", "pause", "adt", "--tenant", "t0")
    port = x.pg.value("select port from interop_connectors where tenant_id = 't0'")
    wait_for("both listeners to close", lambda: not any(listening(port, host) for host in HOSTS), 5, 0.02)
    s.say(f"both listeners closed {time.monotonic() - begun:.2f} s after the command began")


def open_transaction(x, instance):
    """What looks like a transaction of that process that stores results, and does not end."""
    session = subprocess.Popen(["psql", x.pg.engine_url, "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PGAPPNAME": f"interop outcome {instance}"})
    session.stdin.write("begin; select 1;\n")
    session.stdin.flush()
    wait_for("the transaction", lambda: x.pg.value("select count(*) n from pg_stat_activity where state = 'idle in transaction' "
                                                   f"and application_name = 'interop outcome {instance}'"))
    return session


def long_transaction(x):
    """A node that takes over waits for the transactions of living nodes, however long, and renews its leases meanwhile."""
    s, n = x.s, x.holder()
    other = x.engines[1 - n]
    session = open_transaction(x, x.pg.value(f"select instance from interop_nodes where pid = {other.pid}"))
    x.engines[n].kill()
    wait_for("the other to take over", lambda: x.holder() == 1 - n, 12, 0.02)
    time.sleep(6)                        # longer than a lease
    s.equal((other.metric("interop_connector_owned", tenant="north"), "node.fenced" in other.text()), (0, False), "it waits, and is not fenced")
    session.communicate()
    wait_for("it to run the connector", lambda: other.metric("interop_connector_owned", tenant="north") == 1, 5)
    x.back(n)


def killed(x):
    """kill -9 of the node that runs the connector, under load; a transaction of a writer that is gone is in the way."""
    s = x.s
    sending = x.under_load()
    n = x.holder()
    hung = open_transaction(x, "0badcafe")
    x.engines[n].kill()
    begun = time.monotonic()
    wait_for("the other to take over", lambda: x.holder() == 1 - n, 12, 0.02)
    s.say(f"the other node took over {time.monotonic() - begun:.2f} s after the kill")
    wait_for("it to end the hung transaction", lambda: "node.fences" in x.engines[1 - n].text(), 10)
    hung.communicate()
    x.finish(sending)
    x.back(n)
    wait_for("the connectors to be divided again", lambda: min(x.owned(0), x.owned(1)) > 0, 20)


def hangs(x):
    """The node that runs the connector is stopped past its leases, under load, and goes on."""
    s = x.s
    sending = x.under_load(messages=400)
    n = x.holder()
    x.engines[n].hold()
    begun = time.monotonic()
    try:
        wait_for("the other to take over", lambda: x.holder() == 1 - n, 12, 0.02)
        took = time.monotonic() - begun
        s.check(took < 10, "the other node takes over within 10 s", f"{took:.1f} s")
        s.say(f"after {took:.2f} s")
        sent = sending.acked()
        wait_for("it to go on", lambda: sending.acked() > sent or sent == sending.total)
    finally:
        os.kill(x.engines[n].pid, signal.SIGCONT)
    wait_for("it to find that it was fenced", lambda: "node.fenced" in x.engines[n].text(), 10)
    x.finish(sending)
    x.engines[n].must_run()
    x.divided()
    wait_for("the connectors to be divided again", lambda: min(x.owned(0), x.owned(1)) > 0, 20)


def stale_requests(x):
    """A node that was stopped past its leases begins no request when it goes on: what is sent twice is what was under way."""
    s = x.s
    service = Service(s, x.base)
    service.be("slow", 0.2)
    port = one_at_a_time(s, x.pg, service, "slow")
    wait_for("it to be run", lambda: holder(x, "slow") is not None)
    wait_for("its listener", lambda: listening(port, HOSTS[0]))
    with s.mllp(port) as client:
        for n in range(60):
            if client.exchange(adt(f"SLOW{n:02}", f"S{n:02}")).code != "AA":
                raise Failed("a message was not acknowledged")
    n = holder(x, "slow")
    wait_for("some to be delivered", lambda: len(service.seen("slow")) > 3)
    x.engines[n].hold()
    try:
        wait_for("the other to take over", lambda: holder(x, "slow") == 1 - n, 12, 0.02)
        seen = len(service.seen("slow"))
        wait_for("it to deliver", lambda: len(service.seen("slow")) > seen + 3)
    finally:
        os.kill(x.engines[n].pid, signal.SIGCONT)
    settled(s, x.pg)
    sent = control_ids(service, "slow")
    s.equal(len(sent), 60, "all are delivered")
    s.check(sum(sent.values()) <= 61, "and none twice but the one that was under way", str(sent.most_common(4)))


def stops(x):
    """A clean stop hands everything over at once."""
    s = x.s
    sending = x.under_load()
    n = x.holder()
    x.engines[n].stop()
    begun = time.monotonic()
    wait_for("the other to run it", lambda: x.holder() == 1 - n, 5, 0.02)
    s.say(f"the other node took over {time.monotonic() - begun:.2f} s after the end of the first")
    x.finish(sending)
    x.back(n)


CASES = [divided, acknowledged_then_sent_to_the_other, late_word, stored_during_a_reading, another_joins, changes_reach_all, killed, long_transaction, hangs, stops, stale_requests]


def main():
    with Scenario("nodes") as s:
        x = Site(s)
        for case in s.cases(CASES):
            if case is stale_requests and x.loads:       # which leaves other resources than these
                x.books()
            case(x)
        for engine in x.engines:
            engine.stop()


if __name__ == "__main__":
    main()
