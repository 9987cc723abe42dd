#!/usr/bin/env python3
"""A database is migrated and its nodes are replaced one by one, under load, from the release before the newest
migration; one goes back. The two releases run side by side, each takes over from the other, and the books balance.
The earlier release is built from this repository's history, once."""
import os
import shutil
import subprocess

from harness import BINARY, ROOT, Scenario, free_port, listening, wait_for
from promises_books import PACK, Load, check_books, settled, site

HOSTS = ("127.0.0.1", "127.0.0.2")       # one of each node
OTHERS = 4                               # connectors beside the one that is worked on


def git(*args):
    """What git says, or None where it can't: in an unpacked archive, or behind the end of a shallow clone."""
    done = subprocess.run(["git", "-C", ROOT, *args], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def earlier():
    """The commit before the newest migration came; None where the history is not there."""
    added = (git("log", "-1", "--diff-filter=A", "--format=%H", "--", "sql/0*.sql") or b"").decode().strip()
    found = git("rev-parse", "--verify", "--quiet", added + "^") if added else None
    return found.decode().strip() if found else None


def built(s, commit):
    """Its release build."""
    tree = os.path.join(ROOT, "build", "earlier", commit[:12])
    binary = os.path.join(tree, "build", "release", "interop")
    if not os.path.exists(binary):
        shutil.rmtree(os.path.dirname(tree), ignore_errors=True)
        os.makedirs(tree)
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)
        done = subprocess.run([os.path.join(tree, "scripts", "build"), "release", "interop"], capture_output=True, text=True, check=False)
        s.equal(done.returncode, 0, f"the release before the newest migration ({commit[:12]}) builds")
    return binary


class Site:
    def __init__(self, s, old):
        self.s, self.old = s, old
        self.pg = s.postgres()
        self.nats = s.nats()
        s.binary = old
        s.interop("migrate")
        self.base = s.fhir_demo()
        pack = os.path.join(os.path.dirname(old), "..", "..", PACK)      # which the earlier release can run
        self.port = site(s, self.pg, self.base, port=free_port(), pack=pack)
        for n in range(OTHERS):
            site(s, self.pg, None, tenant=f"t{n}", pack=pack)
        self.engines = [None, None]
        self.loads = []

    def start(self, n, binary):
        self.s.binary = binary
        self.engines[n] = self.s.engine(INTEROP_MLLP_ADDRESS=HOSTS[n])
        wait_for("it to listen", lambda: listening(self.port, HOSTS[n]))

    def migrations(self):
        return {row["name"] for row in self.pg.rows("select name from interop_migrations")}

    def held(self):
        """How many connectors each node runs."""
        rows = self.pg.rows("select n.pid, count(l.*) held from interop_nodes n left join interop_leases l on l.node_id = n.id group by 1")
        of = {row["pid"]: row["held"] for row in rows}
        return [of.get(engine.pid, 0) if engine and engine.running() else 0 for engine in self.engines]

    def share(self):
        wait_for("both nodes to run connectors", lambda: min(self.held()) > 0 and sum(self.held()) == OTHERS + 1, 20)

    def takes_over(self, n):
        wait_for("the other to run them all", lambda: self.held()[n] == OTHERS + 1, 20)

    def under_load(self, what, act):
        load = Load(self.port, chr(ord("A") + len(self.loads)), connections=6, patients=4, messages=60, hosts=HOSTS, pause=0.03)
        self.loads.append(load)
        wait_for("the load to be on its way", lambda: load.acked() > load.total * 0.2, 60, 0.002)
        act()
        load.finish(self.s)
        settled(self.s, self.pg)
        self.s.say(f"all is processed: {what}")


def upgrade(x):
    s, old = x.s, x.old

    def migrate():
        before = x.migrations()
        s.binary = BINARY
        s.interop("migrate")
        s.check(before < x.migrations(), "the new release has a migration that the earlier one has not")

    def replace(n, binary):
        def act():
            x.engines[n].stop()
            x.start(n, binary)
            x.share()
        return act

    def dies(n, binary):
        """The other takes over what it ran."""
        def act():
            x.engines[n].kill()
            x.takes_over(1 - n)
            x.start(n, binary)
            x.share()
        return act

    for n in range(2):
        x.start(n, old)
    x.share()
    x.under_load("the database is migrated while the earlier release runs", migrate)
    x.under_load("one node is of the new release", replace(0, BINARY))
    x.under_load("the earlier one dies, the new one takes over", dies(1, old))
    x.under_load("the new one dies, the earlier one takes over", dies(0, BINARY))
    x.under_load("the new one goes back to the earlier release", replace(0, old))
    x.under_load("and is new again", replace(0, BINARY))
    x.under_load("so is the other", replace(1, BINARY))
    check_books(s, x.pg, x.nats, x.base, x.loads)
    for engine in x.engines:
        engine.stop()


def main():
    with Scenario("releases") as s:
        commit = earlier()
        if not commit:
            s.left_out("an upgrade from the release before, since this checkout does not hold its history")
            return
        upgrade(Site(s, built(s, commit)))


if __name__ == "__main__":
    main()
