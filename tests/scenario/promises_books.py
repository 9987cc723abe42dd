"""Senders that do what a hospital's do, and the books: what must add up afterwards,
whatever happened in between."""
import collections
import json
import os
import socket
import threading
import time

from harness import END, PATIENCE, TSAN, Ack, Failed, frame, http, wait_for

PACK = "lua/packs/v2-to-fhir"

# Messages that were done before one of the same patient that came earlier.
OUT_OF_ORDER = """select count(*) n from (select processed_at, max(processed_at) over (partition by tenant_id, substring(raw_payload from
    'PID[|]1[|][|]([^^]+)') order by seq rows between unbounded preceding and 1 preceding) as before
    from hl7_messages) m where processed_at < before"""


def pack_folder(s, name, body):
    """A pack whose one handler is `body`, for everything."""
    folder = os.path.join(s.folder, "packs", name)
    os.makedirs(folder, exist_ok=True)
    for file, text in (("pack.lua", f'return {{ name = "{name}", version = "1", handlers = {{ ["*"] = "main" }} }}\n'), ("main.lua", body)):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as out:
            out.write(text)
    return folder


def to(service):
    """A handler that sends a Patient to the service of this name."""
    return (f'return function(msg, out) out:put({{ resourceType = "Patient", identifier = {{ {{ system = "urn:mrn", value = '
            f'msg:get "PID-3.1" }} }} }}, {{ to = "{service}" }}) end\n')


def adt(control_id, mrn="4711", family="Hartmann", event="A08", when="20260418093012", app="ADTNORTH",
        visit=None, extra="", authority="NORTHHOSP"):
    """An ADT of our own making; `visit` gives it a PV1."""
    text = (f"MSH|^~\\&|{app}|NORTHHOSP|INTEROP|NORTH|{when}||ADT^{event}|{control_id}|P|2.5.1\r"
            f"EVN||20260418093000\rPID|1||{mrn}^^^{authority}^MR||{family}^Lena||19780422|F\r")
    if visit:
        text += f"PV1|1|I|3WEST^312^B^NORTHHOSP{'|' * 16}{visit}^^^NORTHHOSP^VN\r"
    return (text + extra).encode()


class Sender(threading.Thread):
    """One connection of a sender that gives nothing up: up to `window` messages are out,
    and what a lost connection leaves unanswered is sent again, in its order, with a new
    MSH-7 as senders do. `messages` are (control id, function of MSH-7) pairs. With several
    hosts each new connection goes to the next one."""

    def __init__(self, port, messages, window=1, hosts=("127.0.0.1",)):
        super().__init__(daemon=True)
        self.port = port
        self.hosts = collections.deque(hosts)
        self.waiting = collections.deque(messages)
        self.window = window
        self.acked = {}                  # control id -> when
        self.refused = []
        self.resent = 0
        self.stopping = False
        self.failure = None

    def run(self):
        out = collections.deque()
        try:
            while (self.waiting or out) and not self.stopping:
                self.resent += len(out)
                try:
                    self.hosts.rotate(-1)
                    with socket.create_connection((self.hosts[0], self.port), 5) as link:
                        link.settimeout((20 if len(self.hosts) == 1 else 3) * PATIENCE)
                        for item in out:
                            link.sendall(self.frame(item))
                        self.talk(link, out)
                except OSError:
                    time.sleep(0.02)
        except Exception as failure:     # shown by `finish`, in the thread that can fail the scenario
            self.failure = failure

    @staticmethod
    def frame(item):
        return frame(item[1](time.strftime("%Y%m%d%H%M%S") + f".{time.monotonic_ns() // 1000 % 10000:04}"))

    def talk(self, link, out):
        rest = b""
        while (self.waiting or out) and not self.stopping:
            while self.waiting and len(out) < self.window:
                out.append(self.waiting.popleft())
                link.sendall(self.frame(out[-1]))
            data = link.recv(65536)
            if not data:
                return
            rest += data
            while END in rest:
                one, _, rest = rest.partition(END)
                ack = Ack(one[1:])
                item = out.popleft()
                if ack.control_id != item[0]:
                    raise ValueError(f"the answer to {item[0]} is for {ack.control_id}")
                if ack.code == "AA":
                    self.acked[item[0]] = time.monotonic()
                else:
                    self.refused.append((item[0], ack.code))


class Load:
    """Several senders, each with patients of its own whose story it tells in order:
    the family name counts up, the visit is one. `pause`: of each sender, before each message."""

    def __init__(self, port, prefix, connections=6, patients=5, messages=150, hosts=("127.0.0.1",), pause=0):
        self.last = {}                   # MRN -> family name of its last message
        self.visits = {}
        self.senders = []
        for c in range(connections):
            todo = []
            for n in range(messages):
                mrn = f"{prefix}{c}{n % patients:03}"
                family, control_id = f"Step{n:05}", f"{prefix}{c}-{n:05}"
                self.last[mrn] = family
                self.visits[mrn] = f"V{mrn}"
                todo.append((control_id, lambda when, i=control_id, m=mrn, f=family, e="A01" if n < patients else "A08":
                             (time.sleep(pause), adt(i, m, f, e, when, visit=f"V{m}"))[1]))
            # One message at a time as most senders do, and several on one connection as some do.
            self.senders.append(Sender(port, todo, 1 if c % 2 == 0 else 8, hosts[c % len(hosts):] + hosts[:c % len(hosts)]))
        self.total = connections * messages
        for sender in self.senders:
            sender.start()

    def acked(self):
        return sum(len(sender.acked) for sender in self.senders)

    def resent(self):
        return sum(sender.resent for sender in self.senders)

    def finish(self, s, seconds=60):
        """Until all is acknowledged."""
        end = time.monotonic() + seconds * PATIENCE
        for sender in self.senders:
            sender.join(max(0.1, end - time.monotonic()))
        for sender in self.senders:
            if sender.failure:
                raise sender.failure
        s.equal([r for sender in self.senders for r in sender.refused], [], "nothing was refused")
        s.equal(self.acked(), self.total, "every message is acknowledged in the end")

    def stop(self):
        """The senders give up where they are; what they were promised stays in `acked`."""
        for sender in self.senders:
            sender.stopping = True
        for sender in self.senders:
            sender.join(30 * PATIENCE)

    def promised(self):
        return [control_id for sender in self.senders for control_id in sender.acked]


def settled(s, pg, seconds=60):
    """Waits until nothing is open: every message ended, every event published."""
    def rest():
        return pg.rows("select processing_status status, count(*) n from hl7_messages "
                       "where processing_status not in ('processed', 'dead_lettered') group by 1 "
                       "union all select 'event', count(*) from outbox_events where not published having count(*) > 0")
    try:
        wait_for("messages to end and events to be published", lambda: not rest(), seconds, 0.2)
    except Exception:
        s.say(f"still open: {rest()}")
        raise


def shared_out(pg, nodes, connectors):
    """Whether there are so many nodes, and each of so many connectors is held by the one that is to have it."""
    return pg.rows("select (select count(*) from interop_nodes) nodes, "
                   "(select count(*) from interop_leases l join interop_nodes n on n.id = l.node_id) held, "
                   "(select count(*) from interop_nodes n, interop_lease_changes(n.id)) changes") \
        == [{"nodes": nodes, "held": connectors, "changes": 0}]


def check_messages(s, pg, promised):
    """Stored once, processed once, delivered once."""
    stored = collections.Counter(row["id"] for row in pg.rows("select message_control_id id from hl7_messages"))
    s.equal([i for i in promised if stored[i] != 1][:5], [], f"each of {len(promised)} acknowledged messages is stored once")
    s.equal(pg.rows("select processing_status s, count(*) > 0 n from hl7_messages group by 1"),
            [{"s": "processed", "n": True}], "all of them are processed")
    s.equal(pg.rows("select m.message_control_id id, count(d.id) n from hl7_messages m left join hl7_deliveries d "
                    "on d.message_id = m.id and d.replay = m.replay_count and d.status = 'delivered' "
                    "group by m.id having count(d.id) <> 1"), [], "each has exactly one delivery")
    s.equal(pg.rows("select distinct status from hl7_deliveries"), [{"status": "delivered"}], "and none is left over")
    s.equal(pg.value("select count(*) n from (select message_id from hl7_deliveries group by message_id, replay, ordinal "
                     "having count(*) > 1) d"), 0, "one delivery for each (message, replay, ordinal)")


def check_links(s, pg):
    s.equal(pg.rows("select d.id, d.entry_count, count(l.id) n from hl7_deliveries d left join hl7_resource_links l "
                    "on l.delivery_id = d.id and l.entry between 0 and d.entry_count - 1 where d.status = 'delivered' "
                    "group by d.tenant_id, d.id having count(l.id) <> d.entry_count limit 5"), [],
            "each entry of a delivery has one link")
    s.equal(pg.rows("select l.resource_type, l.resource_id from hl7_resource_links l left join fhir_demo.resource r "
                    "on r.type = l.resource_type and r.id = l.resource_id and not r.deleted where r.id is null limit 5"),
            [], "and each link's resource exists")
    s.equal(pg.rows("select r.type, r.id from fhir_demo.resource r where r.type in ('Patient', 'Encounter') and not exists "
                    "(select from hl7_resource_links l where l.resource_type = r.type and l.resource_id = r.id and "
                    "l.action = 'created') limit 5"), [], "and each resource one that says it was created")


def everything(base, kind):
    """All resources of a type in a FHIR service, by its own paging."""
    def page():
        answer = http(url)
        if answer.status not in (200, 503):              # 503: the service has not found its own database again
            raise Failed(f"{url}: {answer.status} {answer.body}")
        return answer.body if answer.status == 200 else None
    found, url = [], f"{base}/{kind}?_count=500"
    while url:
        bundle = wait_for("the FHIR service", page)
        found += [entry["resource"] for entry in bundle.get("entry", [])]
        url = next((link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), None)
    return found


def check_resources(s, base, last, visits):
    """One resource for each business identifier, in the state of the last message of its key."""
    patients = collections.defaultdict(list)
    for patient in everything(base, "Patient"):
        for identifier in patient["identifier"]:
            patients[identifier["value"]].append(patient)
    s.equal({m: len(patients[m]) for m in last if len(patients[m]) != 1}, {}, f"one Patient for each of {len(last)} MRNs")
    s.equal({m: patients[m][0]["name"][0]["family"] for m in last if patients[m][0]["name"][0]["family"] != last[m]}, {},
            "each in the state of its last message")
    encounters = collections.defaultdict(list)
    for encounter in everything(base, "Encounter"):
        for identifier in encounter["identifier"]:
            encounters[identifier["value"]].append(encounter["subject"]["reference"])
    s.equal({v: encounters[v] for m, v in visits.items() if encounters[v] != ["Patient/" + patients[m][0]["id"]]}, {},
            "one Encounter for each visit, of that patient")


def check_events(s, pg, nats, retries=False):
    """What was committed was told, once and in order; what was not committed was not."""
    rows = pg.rows("select id, aggregate_id a, aggregate_seq n, event_type kind, published from outbox_events "
                   "order by aggregate_id, aggregate_seq")
    stories = collections.defaultdict(list)
    for row in rows:
        stories[row["a"]].append((row["n"], row["kind"].partition(".")[2]))
    retries = retries or TSAN            # under which a script may need more than its CPU time, once
    wrong = {a: story for a, story in stories.items() if a.startswith("MSG_") and (
        [n for n, _ in story] != list(range(1, len(story) + 1)) or
        [kind for _, kind in story if not (retries and kind == "failed")] != ["received", "processing", "processed"])}
    s.equal(dict(list(wrong.items())[:3]), {}, "each message's events are received, processing, processed, without a gap")
    s.equal(sum(a.startswith("MSG_") for a in stories), pg.value("select count(*) n from hl7_messages"), "of every message")
    s.equal([row["id"] for row in rows if not row["published"]], [], "all are published")
    told = [(next(line.partition(":")[2].strip() for line in headers.splitlines() if line.startswith("Nats-Msg-Id")),
             json.loads(data)) for _, headers, data in nats.messages("interop")]
    times = collections.Counter(event_id for event_id, _ in told)
    s.equal([i for i, n in times.items() if n > 1][:5], [], f"none of {len(told)} is in the stream twice")
    s.equal([row["id"] for row in rows if times[row["id"]] != 1][:5], [], "each is in the stream")
    known = {row["id"]: row for row in rows}
    s.equal([i for i in times if i not in known][:5], [], "and the stream has none that was not committed")
    seen = collections.defaultdict(int)
    for event_id, event in told:
        row = known[event_id]
        if event["id"] != event_id or event["subject"] != row["a"] or row["n"] != seen[row["a"]] + 1:
            s.equal((event["id"], event["subject"], row["n"]), (event_id, row["a"], seen[row["a"]] + 1), "the stream's order")
        seen[row["a"]] = row["n"]
    s.check(len(seen) > 0, "and tells each aggregate in its order")


def check_books(s, pg, nats, base, loads, retries=False):
    """All of the above, for these loads; with `retries` a delivery may have failed in between."""
    pg.psql("analyze")                   # the questions that follow join all of it
    promised = [control_id for load in loads for control_id in load.promised()]
    check_messages(s, pg, promised)
    check_links(s, pg)
    check_resources(s, base, {m: f for load in loads for m, f in load.last.items()},
                    {m: v for load in loads for m, v in load.visits.items()})
    check_events(s, pg, nats, retries)


def site(s, pg, base, tenant="north", port=None, name="adt", *more, pack=PACK):
    """A tenant's connector that feeds `base`; returns its port."""
    from harness import free_port
    port = port or free_port()
    s.interop("connector", "add", "--tenant", tenant, "--name", name, "--protocol", "mllp", "--direction", "inbound",
              "--port", port, "--pack", pack, "--activate", *more)
    if base and not pg.value(f"select count(*) n from fhir_routing_rules where active and service_url = '{base}'"):
        s.interop("rule", "add", "--type", "*", "--url", base)
    return port
