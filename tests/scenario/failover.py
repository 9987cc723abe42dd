#!/usr/bin/env python3
"""PostgreSQL goes over to its standby under load: the primary is killed, or hangs as a machine does that
is suspended. With a synchronous standby nothing that was acknowledged is lost, and all goes on by
itself; without one, /readyz and the log say what may be. `failover.py killed` runs that case."""
import json
import os
import signal
import socket
import time

from database_parts import Server, both
from harness import PATIENCE, Scenario, free_port, wait_for
from promises_books import Load, check_books, settled, site


class Pair:
    """A primary, its synchronous standby, and all that works on them."""

    def __init__(self, s, prefix):
        self.s = s
        self.primary = Server(s, f"{prefix}-one")
        s.env["INTEROP_OWNER_DATABASE_URL"], s.env["INTEROP_DATABASE_URL"] = self.primary.owner_url, self.primary.engine_url
        s.interop("migrate")
        # Set first, so that the standby has it, too, as with most tools that set up a pair.
        self.primary.psql("alter system set synchronous_standby_names = '*'; ")
        self.standby = Server(s, f"{prefix}-two", self.primary)
        self.primary.psql("select pg_reload_conf();")
        wait_for("the standby to follow", lambda: self.primary.value(
            "select count(*) n from pg_stat_replication where sync_state = 'sync'") == 1)
        s.env["INTEROP_DATABASE_URL"] = both("engine", self.primary, self.standby)
        s.env["INTEROP_OWNER_DATABASE_URL"] = both("owner", self.primary, self.standby)      # the demo store's, too
        self.nats = s.nats()
        self.base = s.fhir_demo()
        self.port = site(s, self.primary, self.base)
        self.engine = s.engine()
        ready = self.engine.get("/readyz").body
        s.check(ready["failoverSafe"] is True and "warning" not in ready, "/readyz: a failover loses nothing", str(ready))

    def promote(self):
        """As an operator does: what was the standby has none of its own yet, and must not wait for one."""
        self.standby.psql("alter system reset synchronous_standby_names; ")
        self.standby.psql("select pg_reload_conf();")
        self.standby.psql("select pg_promote(true, 60);")


def rate(load, begin, end):
    return sum(begin <= when < end for sender in load.senders for when in list(sender.acked.values())) / (end - begin)


def goes_over(s, pair, load, break_it, limit):
    """Breaks the primary under load and promotes the standby; says how long it took."""
    began = time.monotonic()
    wait_for("load", lambda: load.acked() > load.total // 4, 60, 0.01)
    broken = time.monotonic()
    before = rate(load, began + 0.5, broken)
    break_it()
    time.sleep(0.3)                      # what was on its way has arrived
    acked = load.acked()
    time.sleep(0.5)
    s.equal(load.acked() - acked, 0, "without a primary nothing is acknowledged")
    pair.promote()
    promoted = time.monotonic()
    wait_for("an acknowledgement", lambda: load.acked() > acked, 60, 0.005)
    first = time.monotonic() - promoted
    wait_for("the rate of before", lambda: rate(load, time.monotonic() - 0.5, time.monotonic()) > 0.9 * before, 60, 0.02)
    full = time.monotonic() - promoted
    s.say(f"{before:.0f} messages/s before; after the promotion the first acknowledgement came in {first:.2f} s, "
          f"the full rate in {full:.2f} s")
    s.check(full < limit * PATIENCE, f"back to the full rate within {limit} s")
    load.finish(s, 90)


def balance(s, pair, load):
    settled(s, pair.standby, 60)
    check_books(s, pair.standby, pair.nats, pair.base, [load], True)


def killed(s):
    """The primary dies while the standby is a little behind."""
    pair = Pair(s, "dies")
    load = Load(pair.port, "K", connections=8, patients=5, messages=250, pause=0.02)

    def kill():
        receiver = pair.standby.value("select pid from pg_stat_wal_receiver")
        os.kill(receiver, signal.SIGSTOP)        # what is committed from here on is not on the standby
        time.sleep(0.4)
        pair.primary.stop(signal.SIGKILL)
        os.kill(receiver, signal.SIGCONT)
    goes_over(s, pair, load, kill, 10)
    balance(s, pair, load)
    wait_for("/readyz to say what is so now", lambda: pair.engine.get("/readyz").body["failoverSafe"] is False, 10)
    s.check("may lose acknowledged messages" in str(pair.engine.get("/readyz").body) and "store.no_synchronous_standby" in
            pair.engine.text(), "without a standby now, /readyz and the log say what may be lost")
    pair.engine.stop()
    pair.standby.stop()


def silent(s):
    """The primary accepts connections and says nothing; later it wakes up, and is not gone back to."""
    s.env["INTEROP_DATABASE_PATIENCE"] = "2s"
    s.env["INTEROP_INGEST_CONNECTIONS"] = "12"   # more than there are senders: some have nothing to do
    pair = Pair(s, "hangs")
    load = Load(pair.port, "S", connections=6, patients=4, messages=150, pause=0.02)

    def suspend():
        pair.primary.held(signal.SIGSTOP)
        wait_for("/readyz to say so", lambda: pair.engine.answers("/readyz", 503), 5, 0.02)
        s.check("PostgreSQL is not available" in str(pair.engine.get("/readyz").body), "/readyz says that the database is silent")
    goes_over(s, pair, load, suspend, 12)
    # 12 that store messages, one that stores results, one that reads, one that listens.
    wait_for("idle connections to follow", lambda: pair.standby.value(
        "select count(*) n from pg_stat_activity where application_name ~ '^interop (ingest|outcome|engine|listen) '") == 15, 10)
    s.check(True, "connections that had nothing to do have followed")
    pair.primary.held(signal.SIGCONT)
    left = []

    def gone():
        left[:] = pair.primary.rows("select application_name, state, wait_event from pg_stat_activity where application_name like "
                                    "'interop%' and application_name not like 'interop fhir%' and wait_event is distinct from 'SyncRep'")
        return not left
    try:
        wait_for("the old primary's sessions to end", gone, 8)
    finally:
        s.equal(left, [], "on the old primary nothing is left when it wakes up, but for commits that no standby will confirm")
    pair.primary.kill()                  # as an operator must: it takes writes, though none is confirmed
    balance(s, pair, load)
    pair.engine.stop()
    pair.standby.stop()


def alone(s):
    """Without a standby, and with one that comes and goes while the engine runs."""
    pg = s.postgres()
    s.interop("migrate")
    engine = s.engine()
    ready = engine.get("/readyz").body
    s.check(ready["failoverSafe"] is False and "may lose acknowledged messages" in ready["warning"], "/readyz says what may be lost",
            str(ready))

    def told(event):
        return [entry for entry in map(json.loads, engine.text().splitlines()) if entry["event"] == event]
    s.check(len(told("store.no_synchronous_standby")) == 1 and "may lose acknowledged" in str(told("store.no_synchronous_standby")),
            "and so does the log, once", engine.tail())
    for setting, safe in (("set synchronous_standby_names = '*'", True), ("reset synchronous_standby_names", False)):
        pg.psql(f"alter system {setting}; ")
        pg.psql("select pg_reload_conf();")
        wait_for("/readyz to follow", lambda want=safe: engine.get("/readyz").body["failoverSafe"] is want, 10)
        s.check(True, f"{setting}: followed while it runs")
    s.equal([entry["level"] for entry in told("store.no_synchronous_standby")], ["info", "warn"], "the log tells that it is gone")
    engine.stop()
    pg.stop()


def addresses(s):
    """Hosts of the connection string that are gone, as a start after a failover finds them: refused, silent, unknown."""
    pg = Server(s, "there")
    s.env["INTEROP_OWNER_DATABASE_URL"], s.env["INTEROP_DATABASE_URL"] = pg.owner_url, pg.engine_url
    s.interop("migrate")
    hosts = {"refuses": f"127.0.0.1:{free_port()}"}
    with socket.create_server(("127.0.0.1", 0)) as dumb:
        hosts["is silent"] = f"127.0.0.1:{dumb.getsockname()[1]}"
        began = time.monotonic()
        try:
            socket.getaddrinfo("gone.invalid", 1)
        except OSError:
            hosts["is unknown"] = "gone.invalid"
        if time.monotonic() - began > 3:
            hosts.pop("is unknown", None)
            s.left_out("a name that is unknown: to find that out takes too long here")
        for what, host in hosts.items():
            engine = s.engine(INTEROP_DATABASE_URL=f"postgresql://engine@{host},localhost:{pg.port}/interop")
            s.check(True, f"the first host {what}: ready by the second within {time.monotonic() - engine.started:.1f} s")
            engine.stop()
    pg.stop()


CASES = [killed, silent, alone, addresses]


def main():
    with Scenario("failover") as s:
        env = dict(s.env)
        for case in s.cases(CASES):
            s.env.clear()
            s.env.update(env)
            case(s)


if __name__ == "__main__":
    main()
