#!/usr/bin/env python3
"""How nodes divide connectors among them, by the database's functions alone: nodes that come and go in any
order, ask at any time, and take long to give something up."""
import collections
import os
import random

from harness import Scenario

CONNECTORS = {"active": 6, "paused": 2, "inactive": 3}
NUMBERS = {True: CONNECTORS["active"] + CONNECTORS["paused"], False: CONNECTORS["inactive"]}     # by whether they are worked on


class Nodes:
    """What engines do with their beats, without engines (engine/node.c)."""

    def __init__(self, s, pg):
        self.s, self.pg = s, pg
        self.alive = []
        self.began = 0

    def join(self):
        self.began += 1
        self.alive.append(f"NODE_{self.began:03}")
        self.pg.psql(f"select interop_node_join('{self.alive[-1]}', 'host', '{self.began:08x}', 'host', 1, 1, 'test', 3600000)")

    def leave(self, node):
        self.alive.remove(node)
        self.pg.psql(f"select interop_node_leave('{node}')")

    def held(self):
        rows = self.pg.rows("select l.connector_id c, n.id n, k.status in ('active', 'paused') works from interop_leases l "
                            "join interop_nodes n on n.id = l.node_id join interop_connectors k on k.id = l.connector_id")
        return {row["c"]: (row["n"], row["works"]) for row in rows}

    def asks(self, node):
        return self.pg.rows(f"select connector_id c, take from interop_lease_changes('{node}')")

    def acts(self, node, changes, slow):
        """Takes all that it is to take, and gives up some, or all, of what it is to give up."""
        for call, ids in (("take", [row["c"] for row in changes if row["take"]]),
                          ("release", [row["c"] for row in changes if not row["take"] and random.random() > slow])):
            if ids:
                self.pg.psql(f"select interop_lease_{call}('{node}', array['" + "', '".join(ids) + "'])")
        return len(changes)

    def settle(self):
        """Until a round of all changes nothing; how many connectors went from one living node to another."""
        before, alive = self.held(), set(self.alive)
        for n in range(100):
            slow = random.choice([0, 0.5, 0.9]) if n < 50 else 0
            beats, together = random.sample(self.alive, len(self.alive)), random.random() < 0.5
            asked = {node: self.asks(node) for node in beats} if together else {}
            if sum(self.acts(node, asked[node] if together else self.asks(node), slow) for node in beats) == 0:
                break
        else:
            self.s.check(False, "the division comes to rest")
        after = self.held()
        return sum(1 for c, (node, _) in before.items() if node in alive and after[c][0] != node)

    def uneven(self):
        """Kinds of connectors of which not each is held, or one node holds two more than another."""
        counts = collections.defaultdict(collections.Counter)
        for node, works in self.held().values():
            counts[works][node] += 1
        return [(works, dict(counts[works])) for works, number in NUMBERS.items()
                if sum(counts[works].values()) != number
                or max(counts[works].values()) - min(counts[works][n] for n in self.alive) > 1]


def must_move(before, nodes):
    """How many connectors have to leave living nodes so that each kind is divided evenly."""
    moves = 0
    for works, number in NUMBERS.items():
        has = collections.Counter(node for node, w in before.values() if w == works)
        low, more = divmod(number, len(nodes))
        shares = [low + 1] * more + [low] * (len(nodes) - more)
        moves += sum(max(0, h - share) for h, share in zip(sorted((has[n] for n in nodes), reverse=True), shares))
    return moves


def main():
    with Scenario("leases") as s:
        seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
        random.seed(seed)
        s.say(f"SEED={seed}")
        pg = s.postgres()
        s.interop("migrate")
        number = 0
        for status, count in CONNECTORS.items():
            for _ in range(count):
                number += 1
                pg.psql("insert into interop_connectors (id, tenant_id, name, protocol, direction, status) "
                        f"values ('CONN_{number:03}', 't{number % 4}', 'c{number}', 'mllp', 'inbound', '{status}')")
        nodes = Nodes(s, pg)
        for step in range(8):
            if len(nodes.alive) < 2 or (len(nodes.alive) < 4 and random.random() < 0.5):
                for _ in range(random.choice([1, 1, 2])):
                    nodes.join()
            else:
                nodes.leave(random.choice(nodes.alive))
            wanted = must_move(nodes.held(), nodes.alive)
            moved = nodes.settle()
            if nodes.uneven() or moved != wanted:
                s.equal((nodes.uneven(), moved), ([], wanted), f"step {step}: {len(nodes.alive)} nodes")
        s.check(nodes.began > 2, f"{nodes.began} nodes came and went, each time divided evenly, and no more moved than had to")
        while len(nodes.alive) < sum(CONNECTORS.values()) + 2:
            nodes.join()
        nodes.settle()
        s.equal(nodes.uneven(), [], "more nodes than connectors: one each at most")


if __name__ == "__main__":
    main()
