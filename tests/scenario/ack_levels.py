#!/usr/bin/env python3
"""Connectors that promise more than storing: the acknowledgement waits until the message is mapped, or delivered,
and says AE when it failed, when one before it failed, or at the deadline. The message is kept in any case."""
import time

from harness import Failed, Scenario, frame, listening, wait_for
from promises_books import adt, pack_folder, site
from promises_service import Service


class Site:
    def __init__(self, s):
        self.s = s
        self.pg = s.postgres()
        s.interop("migrate")
        self.service = Service(s, s.fhir_demo())
        self.engine = s.engine()
        self.port = 0

    def open(self, tenant, level, *more):
        self.port = site(self.s, self.pg, self.service.url, tenant, None, "adt", "--set", f"ack_level={level}", "--set",
                         "retry_base_ms=600s", "--set", "retry_cap_ms=600s", "--set", "max_attempts=3", *more)
        wait_for("the listener", lambda: listening(self.port))
        return self.s.mllp(self.port)

    def status(self, control_id):
        return self.pg.value(f"select processing_status from hl7_messages where message_control_id = '{control_id}'")

    def ask(self, client, message):
        """The answer, and how long it took."""
        begun = time.monotonic()
        answer = client.exchange(message)
        if answer is None:
            raise Failed("no answer")
        return answer, time.monotonic() - begun


def mapped(x):
    """`mapped`: AA when the script has run, whatever its target does; AE when it failed, and why is not told."""
    s = x.s
    body = 'return function(msg, out) if msg:get "PID-5.1" == "Secret" then error("about Secret") end end\n'
    client = x.open("mapped", "mapped", "--pack", pack_folder(s, "fails", body))
    s.equal(x.ask(client, adt("map-1"))[0].code, "AA", "a message that is mapped is acknowledged")
    s.equal(x.status("map-1"), "processed", "and is, when its acknowledgement comes")
    answer, took = x.ask(client, adt("map-2", "M2", "Secret"))
    s.check(answer.code == "AE" and "it failed: it is kept and tried again" in repr(answer), "one that fails is not", repr(answer))
    s.check(took < 5 and "Secret" not in repr(answer), f"at once ({took:.2f} s), without what it is about", repr(answer))
    answer, took = x.ask(client, adt("map-3", "M2", "After"))
    s.check(answer.code == "AE" and "earlier message of the same key" in repr(answer) and took < 5,
            f"nor, at once ({took:.2f} s), one behind it of its key", repr(answer))
    s.equal(x.ask(client, adt("map-4", "M4"))[0].code, "AA", "one of another key is")
    s.interop("connector", "set", "adt", "--tenant", "mapped", "--pack", pack_folder(s, "mended", "return function() end\n"))
    wait_for("the mended pack", lambda: '"pack":"mended"' in x.engine.text())
    s.equal(x.ask(client, adt("map-2", "M2", "Secret"))[0].code, "AA", "sent again, what failed is tried at once")
    wait_for("what was behind it", lambda: x.status("map-3") == "processed")
    s.equal(x.ask(client, adt("map-3", "M2", "After"))[0].code, "AA", "and what is done by now is acknowledged")
    s.equal(x.pg.value("select count(*) n from hl7_messages where tenant_id = 'mapped'"), 4, "each is stored once")


def delivered(x):
    """`delivered`: AA when every target has it; AE at the deadline, while the engine works on."""
    s, client = x.s, x.open("given", "delivered", "--set", "ack_deadline=1500ms")
    x.service.be("given", 0.7)
    answer, took = x.ask(client, adt("dlv-1", "D1"))
    s.check(answer.code == "AA" and took >= 0.7, f"the acknowledgement waits for the service ({took:.2f} s)", repr(answer))
    x.service.be("given", 503)
    answer, took = x.ask(client, adt("dlv-2", "D2"))
    s.check(answer.code == "AE" and "not there yet" in repr(answer) and 1.4 < took < 5, f"AE at the deadline ({took:.2f} s)", repr(answer))
    answer, took = x.ask(client, adt("dlv-2", "D2"))
    s.check(answer.code == "AE" and took > 1.4, f"a repeat of what is in work waits too ({took:.2f} s)", repr(answer))
    x.service.be("given", "pass")
    wait_for("it to be delivered", lambda: x.status("dlv-2") == "processed", 40)
    s.equal(x.ask(client, adt("dlv-2", "D2"))[0].code, "AA", "and is positive when it is done")
    x.service.be("given", 400)
    answer, took = x.ask(client, adt("dlv-3", "D3"))
    s.check(answer.code == "AE" and "it failed" in repr(answer) and took < 1.4, f"a refusal is told at once ({took:.2f} s)", repr(answer))
    x.service.be("given", "pass")
    s.equal(x.ask(client, adt("dlv-3", "D3"))[0].code, "AA", "sent again, it is tried again at once")
    s.equal(x.pg.value("select count(*) n from hl7_messages where tenant_id = 'given'"), 3, "each is stored once")


def enhanced(x):
    """In enhanced mode CA says that it is stored, at once, and AA or AE what became of it; frames are answered in order."""
    s, client = x.s, x.open("both", "delivered")

    def asking(control_id, accept, application, mrn):
        return adt(control_id, mrn).replace(b"|P|2.5.1\r", f"|P|2.5.1|||{accept}|{application}\r".encode())
    x.service.be("both", 1.0)
    begun = time.monotonic()
    client.send(frame(asking("enh-1", "AL", "AL", "E1")) + frame(asking("enh-2", "AL", "NE", "E2")) + frame(asking("enh-3", "AL", "AL", "E3")))
    answers, times = [], []
    for _ in range(5):
        answer = client.receive()
        answers.append(f"{answer.code} {answer.control_id}")
        times.append(time.monotonic() - begun)
    s.equal(answers, ["CA enh-1", "AA enh-1", "CA enh-2", "CA enh-3", "AA enh-3"], "accept and application acknowledgements, in order")
    s.check(times[0] < 0.7 <= times[1], f"CA at once ({times[0]:.2f} s), AA when it is delivered ({times[1]:.2f} s)")
    x.service.be("both", "pass")
    client.send(frame(b"BHS|^~\\&|A\r" + asking("bat-1", "AL", "ER", "B1") + asking("bat-2", "NE", "AL", "B2") +
                      asking("bat-3", "AL", "AL", "B3") + b"BTS|3\r"))
    answer = client.receive()
    s.equal([segment[:3] for segment in answer.segments if segment[0] == "MSA"],
            [["MSA", code, control_id] for code, control_id in (("CA", "bat-1"), ("AA", "bat-2"), ("CA", "bat-3"), ("AA", "bat-3"))],
            "those of a batch are a batch, in one frame")
    s.equal((answer.segments[0][0], answer.segments[-1]), ("BHS", ["BTS", "4"]), "which says how many they are")
    s.equal(client.exchange(asking("enh-4", "AL", "NE", "E4")).control_id, "enh-4", "and nothing follows it")


def elsewhere(x):
    """Another node runs the connector: its sender here is told all the same."""
    s = x.s
    ports = {}
    for n in range(12):                  # which node is to have one follows from the ids: all of them stay here once in 4096 times
        x.open(f"far{n}", "delivered").close()
        ports[f"far{n}"] = x.port
    other = s.engine(INTEROP_MLLP_ADDRESS="127.0.0.2")
    held = ("select l.tenant_id tenant from interop_leases l join interop_nodes n on n.id = l.node_id "
            f"where n.pid = {other.pid} and l.tenant_id like 'far%'")
    wait_for("the other node to run some of them", lambda: x.pg.rows(held), 30)
    tenant = x.pg.rows(held)[0]["tenant"]
    client = s.mllp(ports[tenant])
    for n in range(5):
        answer, took = x.ask(client, adt(f"far-{n}", "F1"))
        s.check(answer.code == "AA" and took < 5, f"while another does ({took:.2f} s)", repr(answer))
    other.stop()


def stops(x):
    """A clean stop does not wait for services: senders are told that it is kept."""
    s, client = x.s, x.open("stop", "delivered")
    x.service.be("stop", 503)
    client.send(frame(adt("stop-1", "S1")))
    wait_for("it to be in work", lambda: x.status("stop-1") == "processing")
    x.engine.stop()
    answer = client.receive()
    s.check(answer is not None and answer.code == "AE" and "kept" in repr(answer), "AE, and it is kept", repr(answer))


CASES = [mapped, delivered, enhanced, elsewhere, stops]


def main():
    with Scenario("ack_levels") as s:
        x = Site(s)
        for case in s.cases(CASES):
            case(x)


if __name__ == "__main__":
    main()
