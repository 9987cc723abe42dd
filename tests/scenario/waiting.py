#!/usr/bin/env python3
"""What only waits must not be in the way of what could go, however much it is (promise P3): behind a message that
fails, for a service that is not there, for the answer of another. It leaves memory, is read back when it may go, in
order, and more comes in all the while. `waiting.py dead_target` runs one case."""
import collections
import re
import sys
import threading
import time

from harness import Failed, Scenario, wait_for
from promises_books import Load, adt, pack_folder, site
from promises_service import Service

LANE_MESSAGES = 40
HELD = ("--set", "retry_base_ms=600s", "--set", "retry_cap_ms=600s")

# To each of these services a resource that names patient, family name and control id.
TO = """
local function put(msg, out, to, n, subject)
  out:put({ resourceType = "Basic", code = { text = msg:get "PID-3.1" .. " " .. msg:get "PID-5.1" .. " " .. to }, subject = subject,
            identifier = { { system = "urn:" .. to, value = msg:get "MSH-10" } } },
          { to = to, full_url = "urn:uuid:11111111-1111-4111-8111-11111111111" .. n })
end
return function(msg, out)
  if msg:get "PID-5.1" == "Poison" then error("on purpose") end
"""


class Site:
    """One connector of a tenant `case`, whose script puts to the services `one` and `two`."""

    def __init__(self, s, case, body, *more):
        self.s = s
        self.pg = s.postgres()
        s.interop("migrate")
        self.service = Service(s, s.fhir_demo())
        for name in ("one", "two"):
            self.pg.psql("insert into fhir_services (id, tenant_id, name, url) values "
                         f"('SVC_{name}', '{case}', '{name}', '{self.service.base(name)}')")
        s.env.update({"INTEROP_LANE_MESSAGES": str(LANE_MESSAGES)})
        self.tenant = case
        self.folder = pack_folder(s, "to", TO + body + "end\n")
        self.port = site(s, self.pg, None, case, None, "adt", "--pack", self.folder, *more)
        self.engine = s.engine()
        self.most = 0
        self.looked_at = 0               # of the requests
        self.given = collections.defaultdict(lambda: collections.defaultdict(list))
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while True:
            try:
                self.most = max(self.most, self.engine.metric("interop_messages_in_memory"))
            except (OSError, Failed):
                pass                     # it is on its way up or down
            time.sleep(0.05)

    def load(self, prefix, patients=5, messages=25, **more):
        return Load(self.port, prefix, connections=4, patients=patients, messages=messages, **more)

    def send(self, *messages):
        """Each is what `adt` takes."""
        with self.s.mllp(self.port) as client:
            for message in messages:
                ack = client.exchange(adt(*message))
                if ack is None or ack.code != "AA":
                    raise Failed(f"the message was not acknowledged: {ack!r}")

    def push(self, old, new):
        """The script changes."""
        path = f"{self.folder}/main.lua"
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
        self.s.interop("pack", "push", "--tenant", self.tenant, self.folder, "--connector", "adt")

    def had(self, name):
        """What the service was given, by patient, in its order."""
        for service, _, _, body, status in self.service.requests[self.looked_at:]:
            self.looked_at += 1
            for mrn, family in re.findall(r'"text":"(\w+) (\w+) ' + service + '"', body.decode()) if status < 300 else ():
                self.given[service][mrn].append(family)
        return self.given[name]

    def waits_for(self, what, name, count, seconds=60):
        """Until the service was given so many different messages."""
        def given():
            return sum(len(set(families)) for families in self.had(name).values())
        try:
            wait_for(f"{what} ({count})", lambda: given() == count, seconds, 0.1)
        except Failed:
            self.s.say(f"it has {given()}")
            raise

    def in_order(self, name, what, again=False):
        had = self.had(name)
        s = self.s
        s.equal({mrn: f for mrn, f in had.items() if f != sorted(f)}, {}, f"{what}: each patient's in order")
        if not again:
            s.equal({mrn: f for mrn, f in had.items() if len(set(f)) != len(f)}, {}, f"{what}: none of them twice")

    def message(self, control_id):
        rows = self.pg.rows("select id, processing_status status, attempt_count attempts from hl7_messages "
                            f"where message_control_id = '{control_id}'")
        return rows[0] if rows else {}

    def fails_before_others(self, family):
        """The first of a patient's messages fails, and 120 come behind it."""
        self.send(("P-0", "MP", family))
        self.ends("P-0", "failed")
        self.send(*((f"P-b{n}", "MP", f"Step{n:05}") for n in range(120)))

    def ends(self, control_id, status):
        wait_for(f"{control_id} to be {status}", lambda: self.message(control_id).get("status") == status)

    def all_processed(self, but=()):
        left = ", ".join(f"'{b}'" for b in ("", *but))
        wait_for("all to be processed", lambda: self.pg.value(
            "select count(*) n from hl7_messages where processing_status <> 'processed' and message_control_id "
            f"not in ({left})") == 0, 60, 0.2)

    def by_hand(self, control_id, verb):
        self.s.interop("message", verb, "--tenant", self.tenant, self.message(control_id)["id"])

    def bounded(self):
        # A frame that is not stored yet counts too; the bound is for those on their way.
        self.s.check(self.most <= LANE_MESSAGES + 64, f"memory held at most {self.most:.0f} messages")


def dead_target(s):
    """Of two services one is dead: the other gets everything at once, also after a kill and a takeover."""
    x = Site(s, "dead", 'put(msg, out, "one", 1) put(msg, out, "two", 2)\n')
    x.service.be("two", 503)
    loads = [x.load("A")]
    loads[0].finish(s)
    x.waits_for("the well service to have what came first", "one", 100)
    s.equal(x.had("two"), {}, "the dead one has nothing")
    x.engine.kill()
    x.engine = s.engine()
    loads.append(x.load("B"))
    loads[1].finish(s)
    x.waits_for("and after a kill", "one", 200)
    held = x.engine.metric("interop_messages_in_memory")
    s.check(held < LANE_MESSAGES, f"200 wait, and memory holds {held:.0f} of them")
    s.equal(x.engine.metric("interop_connector_behind"), 1, "and the metric says that some wait in the database")
    other = s.engine()
    x.engine.kill()
    x.engine = other
    loads.append(x.load("C"))
    loads[2].finish(s)
    x.waits_for("and when another node has taken over", "one", 300)
    loads.append(x.load("D", messages=100, pause=0.02))
    time.sleep(0.3)
    x.service.be("two", "pass")
    x.waits_for("the dead one is back, and has all that waited, while more comes in", "two", 700, 120)
    loads[3].finish(s)
    x.all_processed()
    x.waits_for("the well one has them too", "one", 700)
    x.in_order("one", "the well one", True)
    x.in_order("two", "the one that was dead", True)
    wait_for("nothing to be in the database only", lambda: x.engine.metric("interop_connector_behind") == 0)
    x.load("E").finish(s)
    x.waits_for("what comes then goes its usual way", "two", 800)
    x.bounded()


def comes_and_goes(s):
    """Services that are there and not there, under load, while some messages take long to transform and so come late to
    what is being read: nothing is passed over, nothing is done twice."""
    x = Site(s, "goes", """
  if tonumber(msg:get "PID-5.1":match "%d+$") % 9 == 3 then local t = 0 for i = 1, 2000000 do t = t + i end end
  put(msg, out, "one", 1) put(msg, out, "two", 2)
""")
    load = x.load("G", patients=1, messages=300, pause=0.04)
    for name, seconds, mood in (("two", 2.5, 503), ("two", 3.5, "pass"), ("two", 1, 503), ("one", 2, 503), ("two", 1, "pass"), ("one", 1, "pass")):
        x.service.be(name, mood)
        time.sleep(seconds)
    load.finish(s)
    for name in ("one", "two"):
        x.waits_for(f"{name} to have all", name, 1200, 120)
        x.in_order(name, name)
    x.all_processed()
    s.check(x.engine.text().count("stream.behind") >= 2, "and it was left to the database more than once")
    x.bounded()


def poisoned_key(s):
    """A script fails for one patient's message: the others do not notice, and a merge takes its keys along."""
    x = Site(s, "poison", 'put(msg, out, "one", 1)\n', *HELD)
    x.fails_before_others("Poison")
    # Behind it also a merge of another patient, and what is told of that one afterwards.
    x.send(("P-before", "MQ", "Step00000"), ("P-merge", "MP", "Step00200", "A40", "20260418093012", "ADTNORTH", None,
                                             "MRG|MQ^^^NORTHHOSP^MR\r"), ("P-after", "MQ", "Step00001"))
    loads = [x.load("A")]
    loads[0].finish(s)
    x.waits_for("the other patients' messages, and what came before the merge", "one", 101)
    s.equal((x.had("one")["MP"], x.had("one")["MQ"]), ([], ["Step00000"]), "none that stands behind it")
    x.engine.kill()
    x.engine = s.engine()
    loads.append(x.load("B"))
    loads[1].finish(s)
    x.waits_for("the same after a kill", "one", 201)
    lane = s.interop_json("lane", "list", "--tenant", "poison", "--held")
    s.equal((lane["key"].split("^")[0], lane["waiting"], lane["messageId"]), ("MP", 121, x.message("P-0")["id"]),
            "lane list tells how many wait, and why")
    x.by_hand("P-0", "skip")
    x.waits_for("all that stood behind it when it is skipped", "one", 201 + 122)
    x.all_processed(("P-0",))
    x.in_order("one", "of all patients", True)
    s.equal(x.had("one")["MP"][-1], "Step00200", "the merge last")
    x.bounded()


def poisoned_key_mended(s):
    """The same, and the script is mended; the message is released by hand."""
    x = Site(s, "mended", 'put(msg, out, "one", 1)\n', *HELD)
    x.fails_before_others("Poison")
    x.load("A").finish(s)
    x.waits_for("the other patients' messages", "one", 100)
    x.push('== "Poison"', '== "Never"')
    wait_for("the mended pack to be active", lambda: x.engine.text().count("connector.pack_active") == 2)
    loads = x.load("B", messages=75, pause=0.02)
    x.by_hand("P-0", "release")
    x.waits_for("it and what stood behind it, while more comes in", "one", 100 + 121 + 300)
    loads.finish(s)
    x.all_processed()
    s.equal(x.had("one")["MP"], ["Poison"] + [f"Step{n:05}" for n in range(120)], "in order, none of them twice")
    x.in_order("one", "all patients")
    x.bounded()


def many_poisoned(s):
    """More messages fail than memory may hold: those that do not go on, and each is tried again when it is due."""
    x = Site(s, "many", 'put(msg, out, "one", 1)\n', "--set", "retry_base_ms=3s", "--set", "retry_cap_ms=3s",
             "--set", "max_attempts=1000")
    poisoned = 3 * LANE_MESSAGES
    failing = [(f"P-{n}", f"MP{n}", "Poison") for n in range(poisoned)]
    x.send(*(message for n in range(poisoned) for message in (failing[n], (f"P-{n}b", f"MP{n}", "Qbehind"))))
    x.load("A").finish(s)
    x.waits_for("the other patients' messages", "one", 100)
    tried = x.pg.value("select min(attempt_count) n from hl7_messages where processing_status = 'failed'")
    wait_for("each of them to be tried again", lambda: x.pg.value(
        "select min(attempt_count) n from hl7_messages where processing_status = 'failed'") > tried, 20, 0.5)
    x.send(*failing)                     # again: they keep their places
    s.equal(x.pg.value("select count(*) n from hl7_messages where processing_status = 'failed'"), poisoned, "all of which fail")
    x.push('== "Poison"', '== "Never"')
    x.waits_for("all of them when the script is mended", "one", 100 + 2 * poisoned, 120)
    x.all_processed()
    x.in_order("one", "of all patients")
    x.bounded()


def refused_delivery(s):
    """A service refuses one patient's message: those behind it wait, for this service, and nobody else."""
    x = Site(s, "refused", 'put(msg, out, "one", 1) put(msg, out, "two", 2)\n', *HELD)
    x.service.be("two", (422, b"Refuse"))
    x.fails_before_others("Refuse")
    x.load("A").finish(s)
    x.waits_for("the other service to have everything", "one", 221)
    x.waits_for("and this one the other patients'", "two", 100)
    x.engine.kill()
    x.engine = s.engine()
    x.load("B").finish(s)
    x.waits_for("the same after a kill", "one", 321)
    x.waits_for("for both", "two", 200)
    s.equal(x.had("two")["MP"], [], "nothing behind the refused one")
    x.service.be("two", "pass")
    x.by_hand("P-0", "release")
    x.waits_for("all when it is released", "two", 321)
    x.all_processed()
    s.equal(x.had("two")["MP"], ["Refuse"] + [f"Step{n:05}" for n in range(120)], "in order, none of them twice")
    x.in_order("one", "at the other", True)
    x.bounded()


def answer_needed(s):
    """What refers to a resource on a dead service waits for that one's answer, and what comes behind it too; the
    rest that goes to its own service does not."""
    x = Site(s, "needed", """
  if msg:get "MSH-9.2" == "A08" then put(msg, out, "two", 2) return end
  local function refer() put(msg, out, "two", 2, { reference = "urn:uuid:11111111-1111-4111-8111-111111111119" }) end
  if msg:get "MSH-10":match "[02468]$" then refer() end
  out:put({ resourceType = "Patient", identifier = { { system = "urn:mrn", value = msg:get "PID-3.1" } } },
          { to = "one", full_url = "urn:uuid:11111111-1111-4111-8111-111111111119" })
  if not msg:get "MSH-10":match "[02468]$" then refer() end
""")
    x.service.be("one", 503)
    # Many behind the first of them.
    x.send(("N-h", "MNhot", "Step00000", "A01"), *((f"N-h{n}", "MNhot", f"Step{n + 1:05}") for n in range(2 * LANE_MESSAGES)))
    for n in range(3 * LANE_MESSAGES):
        x.send((f"N-{n}", f"MN{n}", "Step00000", "A01"), (f"N-{n}b", f"MN{n}", "Step00001"))
    x.send(*((f"N-o{n}", f"MO{n}", "Step00000") for n in range(3 * LANE_MESSAGES)))
    x.waits_for("what needs nothing of the dead service", "two", 3 * LANE_MESSAGES)
    x.service.be("one", "pass")
    x.waits_for("the rest when it is back", "two", 11 * LANE_MESSAGES + 1, 120)
    x.all_processed()
    x.in_order("two", "at the service that was well")
    wrong = [body for _, _, _, body, status in x.service.seen("two")
             if status < 300 and b"Step00000" in body and b"MN" in body and b"/Patient/" not in body]
    s.equal(wrong, [], "each refers to its patient, where it is")
    x.bounded()


def rerouted(s):
    """While a service is dead its resources are routed elsewhere: what was made before goes where it was routed then,
    and only what is made afterwards elsewhere. What waits for a service that is gone for good can be replayed."""
    x = Site(s, "moved", """
  local function put(type, status, name, subject)
    out:put({ resourceType = type, code = { text = msg:get "PID-3.1" .. " " .. msg:get "PID-5.1" .. " " .. name }, status = status,
              subject = subject, identifier = { { system = "urn:" .. name, value = msg:get "MSH-10" } } })
  end
  local patient = "urn:uuid:11111111-1111-4111-8111-111111111111"
  put("Basic", nil, "three")
  put("Observation", "final", "two", { reference = patient })
  put("Flag", "active", "one", { reference = patient })
  out:put({ resourceType = "Patient", identifier = { { system = "urn:mrn", value = msg:get "PID-3.1" } } }, { full_url = patient })
""")
    def route(kind, name):
        x.pg.psql(f"delete from fhir_routing_rules where resource_type = '{kind}'")
        s.interop("rule", "add", "--type", kind, "--url", x.service.base(name))

    def recorded(name):
        wait_for("all of it to be recorded", lambda: x.pg.value(
            f"select count(*) n from hl7_deliveries where service_url = '{x.service.base(name)}' and status in ('pending', 'failed')") == 0)

    def gone(name):
        x.pg.psql(f"delete from fhir_services where url = '{x.service.base(name)}'")

    for kind, name in (("*", "one"), ("Observation", "two"), ("Basic", "three")):
        route(kind, name)
    x.engine.stop()
    x.engine = s.engine()
    x.service.be("two", 503)
    x.load("A").finish(s)
    x.send(("S-0", "MS", "Step00000"))
    x.waits_for("the well service to have everything", "one", 101)
    route("Observation", "one")
    x.load("B").finish(s)
    x.waits_for("and what is routed there by now", "one", 201)
    x.by_hand("S-0", "skip")
    x.by_hand("S-0", "replay")
    x.ends("S-0", "processed")
    s.equal(x.had("one")["MS"], ["Step00000"] * 2, "one that is skipped and replayed waits no longer")
    recorded("one")
    x.engine.kill()
    gone("one")                          # where it has ended, and whose answers are needed
    x.engine = s.engine()
    x.service.be("two", "pass")
    x.waits_for("the dead one to have what was routed there, when it is back", "two", 100)
    x.all_processed()
    x.in_order("one", "the well one", True)
    x.in_order("two", "the one that was dead", True)
    found = [re.findall(r'"text":"(\w).*"reference":"([^"]*)/Patient/', body.decode()) for _, _, _, body, status in x.service.seen("two") if status < 300]
    s.equal({pair for pairs in found for pair in pairs}, {("A", x.service.base("one"))}, "only what was made before, and it refers to where the patient is")

    for kind, name in (("*", "one"), ("Observation", "two")):
        route(kind, name)
    x.service.be("two", 503)
    x.service.be("three", 503)
    x.load("C").finish(s)
    x.waits_for("more to wait for it, and for another", "one", 301)
    recorded("one")
    x.engine.kill()
    gone("two")
    x.engine = s.engine()
    dead = "select count(*) n from hl7_deliveries where status = 'dead_lettered' and error_detail like '%not one that this tenant reaches any more%'"
    wait_for("what waits for a service that is gone to be dead-lettered", lambda: x.pg.value(dead) == 100)
    x.service.be("three", "pass")
    x.waits_for("the other to have all when it is back", "three", 301)
    x.in_order("three", "that one", True)
    route("Observation", "one")
    x.ends("C0-00000", "dead_lettered")
    x.by_hand("C0-00000", "replay")
    x.ends("C0-00000", "processed")
    s.say("one that is replayed goes where it is routed by now")
    x.bounded()


CASES = [dead_target, comes_and_goes, poisoned_key, poisoned_key_mended, many_poisoned, refused_delivery, answer_needed, rerouted]


def main():
    for case in CASES:
        if len(sys.argv) > 1 and case.__name__ not in sys.argv[1:]:
            continue
        with Scenario(f"waiting_{case.__name__}") as s:
            case(s)


if __name__ == "__main__":
    main()
