#!/usr/bin/env python3
"""/v1/events: what happens to a tenant's messages as server-sent events, and no other's; a client
that comes back with Last-Event-ID goes on where it was, without a gap and without a repetition."""
import json
import socket

from harness import Scenario, wait_for
from promises import Session
from promises_books import adt, site

STORY = ["received", "processing", "processed"]


class Stream:
    """A client of the stream: the events so far as (id, subject, data)."""

    def __init__(self, engine, tenant, last=None):
        self.socket = socket.create_connection(("127.0.0.1", engine.port), 5)
        self.raw, self.text, self.events, self.head, self.begun = b"", b"", [], None, False
        resume = f"Last-Event-ID: {last}\r\n" if last else ""
        self.socket.sendall(f"GET /v1/events?tenant={tenant} HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n".encode())
        wait_for("the stream to begin", lambda: self.read() or self.begun or self.head and self.status() != 200)

    def status(self):
        return int(self.head.split()[1])

    def read(self):
        """Takes in what is there."""
        self.socket.settimeout(0.05)
        try:
            self.raw += self.socket.recv(65536)
        except (TimeoutError, ConnectionResetError):
            return
        if self.head is None and b"\r\n\r\n" in self.raw:
            head, _, self.raw = self.raw.partition(b"\r\n\r\n")
            self.head = head.decode()
        while self.head and b"\r\n" in self.raw:             # chunks: a size in hex, the bytes
            size, _, rest = self.raw.partition(b"\r\n")
            if "chunked" not in self.head or len(rest) < int(size, 16) + 2:
                return
            self.text, self.raw = self.text + rest[:int(size, 16)], rest[int(size, 16) + 2:]
            while b"\n\n" in self.text:
                block, _, self.text = self.text.partition(b"\n\n")
                self.take(block.decode())

    def take(self, block):
        self.begun = True
        event = {name: value for name, _, value in (line.partition(": ") for line in block.splitlines())}
        if "data" in event:
            self.events.append((event["id"], event["event"], json.loads(event["data"])))

    def until(self, count):
        wait_for(f"{count} events", lambda: self.read() or len(self.events) >= count, 20)
        self.read()
        return self.events

    def close(self):
        self.socket.close()


def kinds(events):
    return [subject.rpartition(".")[2] for _, subject, _ in events]


def committed(pg, tenant):
    """The ids of what was told of a tenant's messages, in the order of their commits."""
    return [row["id"] for row in pg.rows(f"select id from outbox_events where tenant_id = '{tenant}' and aggregate_id like 'MSG%' "
                                         "order by xid, id")]


def main():
    with Scenario("events") as s:
        pg = s.postgres()
        s.interop("migrate")
        base = s.fhir_demo()
        ports = {tenant: site(s, pg, base, tenant) for tenant in ("north", "south")}
        engine = s.engine()

        def send(tenant, *control_ids):
            with s.mllp(ports[tenant]) as client:
                for control_id in control_ids:
                    s.check(client.exchange(adt(control_id, mrn=f"M{control_id}")).code == "AA", f"{control_id} is taken")

        s.equal(engine.get("/v1/events").status, 400, "without a tenant: 400")
        north, south = Stream(engine, "north"), Stream(engine, "south")
        s.check("text/event-stream" in north.head, "it is an event stream")
        send("north", "E1")
        events = north.until(3)
        s.equal(kinds(events), STORY, "a message's story, in order")
        s.equal({subject.split(".")[1] for _, subject, _ in events}, {"north"}, "under its tenant's subject")
        s.equal([event_id for event_id, _, _ in events], [data["id"] for _, _, data in events], "the id is the event's own")
        send("south", "E2")
        s.equal((kinds(south.until(3)), len(north.events)), (STORY, 3), "another tenant's is in that one's stream alone")

        last = north.events[0][0]
        north.close()
        send("north", *(f"E{n}" for n in range(10, 20)))
        north = Stream(engine, "north", last)
        north.until(32)
        s.equal([event_id for event_id, _, _ in north.events], committed(pg, "north")[1:], "it goes on behind Last-Event-ID")

        # An older transaction commits after younger ones.
        late = Session(pg, "begin; insert into outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, created_at) "
                           "values ('north', 'EVT_LATE', 'interop.north.message.late', 'message.late', '{\"id\": \"EVT_LATE\"}', "
                           "'MSG_LATE', now());")
        send("north", "E20")
        wait_for("it to be processed", lambda: pg.value("select count(*) n from hl7_messages where processing_status <> 'processed'") == 0)
        late.child.stdin.write("commit;\n")
        late.close()
        north.until(36)
        s.equal([event_id for event_id, _, _ in north.events], committed(pg, "north")[1:], "a late commit is not passed over")
        s.check("EVT_LATE" in [event_id for event_id, _, _ in north.events], "and is told")

        last = north.events[-1][0]
        engine.kill()
        engine = s.engine()
        send("north", "E30")
        again = Stream(engine, "north", last)
        s.equal(kinds(again.until(3)), STORY, "it goes on after the engine was killed")
        s.equal([event_id for event_id, _, _ in again.events], committed(pg, "north")[37:], "with what it had not told yet")
        s.equal(Stream(engine, "north", last + "x" * 80).status(), 400, "a Last-Event-ID that is none is refused")
        s.equal(Stream(engine, "north", "EVT_PURGED").status(), 410, "one that is not kept: 410, so that the client knows of the gap")
        s.equal(Stream(engine, "south", last).status(), 410, "another tenant's is not there either")
        engine.stop()


if __name__ == "__main__":
    main()
