#!/usr/bin/env python3
"""The demo FHIR store: every interaction over HTTP, conditions under concurrency, its ways to fail."""
import concurrent.futures
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request

from harness import BINARY, SHARED, Process, Scenario, free_port, http, wait_for

SYSTEM = "urn:oid:1.2.3"


class Store:
    """One `interop fhir-demo`."""

    def __init__(self, s, *args):
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}/fhir"
        self.process = Process("interop fhir-demo",
                               [BINARY, "fhir-demo", "--http", f"127.0.0.1:{self.port}", *args], s.log("fhir-demo"), s.env)
        s.parts.append(lambda: self.process.end(signal.SIGTERM) if self.process.running() else None)

    def __call__(self, method, path, body=None, **headers):
        return http(self.base + path, method, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def status(self):
        self.process.must_run()
        try:
            return self("GET", "/metadata").status
        except OSError:
            return 0

    def wait(self, status=200):
        wait_for(f"the demo store to answer {status}", lambda: self.status() == status)

    def raw(self, path):
        with urllib.request.urlopen(self.base + path) as answer:
            return answer.read().decode()


def patient(value, family="Test", **more):
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": value}],
            "name": [{"family": family}], **more}


def observation(subject, **more):
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
            "subject": {"reference": subject}, **more}


def entry(method, url, resource=None, full_url=None, **request):
    made = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full_url is not None:
        made["fullUrl"] = full_url
    return made


def bundle(kind, *entries):
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def by(value):
    return "identifier=" + urllib.parse.quote(f"{SYSTEM}|{value}")


def total(store, path):
    return store("GET", path + ("&" if "?" in path else "?") + "_summary=count").body["total"]


def issue(answer):
    return answer.body["issue"][0]


def reading_and_writing(s, store):
    got = store("GET", "/metadata")
    s.equal((got.body["resourceType"], got.body["fhirVersion"], got.body["experimental"]),
            ("CapabilityStatement", "4.0.1", True), "metadata is a CapabilityStatement")
    s.check("demo" in got.body["description"].lower(), "that says it is a demo")

    made = store("POST", "/Patient", patient("c1-Zq7"))
    ident = made.body["id"]
    s.equal((made.status, made.headers["ETag"], made.body["meta"]["versionId"]), (201, 'W/"1"', "1"), "create")
    s.equal(made.headers["Location"], f"{store.base}/Patient/{ident}/_history/1", "its Location")
    s.check(made.headers["Last-Modified"].endswith(" GMT"), "its Last-Modified is an HTTP date")
    got = store("GET", f"/Patient/{ident}")
    s.equal((got.status, got.body), (200, made.body), "read")
    s.equal(store("GET", f"/Patient/{ident}", If_None_Match='W/"1"').status, 304, "read of what is known")

    put = store("PUT", "/Patient/own-id.1", patient("c2", id="own-id.1"))
    s.equal((put.status, put.body["id"]), (201, "own-id.1"), "update creates with the client's id")
    put = store("PUT", "/Patient/own-id.1", patient("c3", id="own-id.1", meta={"versionId": "77", "tag": [{"code": "t"}]}))
    s.equal((put.status, put.headers["ETag"], put.body["meta"]["versionId"], put.body["meta"]["tag"]),
            (200, 'W/"2"', "2", [{"code": "t"}]), "update; the version is the store's, the tag is kept")
    s.equal(total(store, "/Patient?" + by("c2")), 0, "an identifier that went is not found any more")
    s.equal(total(store, "/Patient?" + by("c3")), 1, "the one that came is")
    s.equal(store("PUT", "/Patient/own-id.1", patient("c3", id="own-id.1"), If_Match='W/"1"').status, 412, "If-Match of an old version")
    s.equal(store("PUT", "/Patient/own-id.1", patient("c3", id="own-id.1"), If_Match="nonsense").status, 412, "If-Match that is no version")
    s.equal(store("PUT", "/Patient/nobody", patient("c3", id="nobody"), If_Match='W/"1"').status, 412, "If-Match of what is not there")
    s.equal(store("PUT", "/Patient/own-id.1", patient("c3", id="own-id.1"), If_Match='W/"2"').status, 200, "If-Match of the present one")
    s.equal(store("GET", "/Patient/own-id.1/_history/1").body["identifier"][0]["value"], "c2", "vread of an old version")
    s.equal(store("GET", "/Patient/own-id.1/_history/9").status, 404, "vread of one that never was")

    text = ('{"resourceType":"Observation","id":"exact","status":"final","valueQuantity":{"value":1.10,"unit":"\\u00b5g"},'
            '"code":{"text":"a \\"reference\\":\\"urn:uuid:1\\" in a text"},"subject":{"reference":"Patient/own-id.1"}}')
    s.equal(store("PUT", "/Observation/exact", text, Content_Type="application/fhir+json").status, 201, "a precise Observation")
    kept = store.raw("/Observation/exact")
    s.check('"value":1.10,' in kept and kept.index('"status"') < kept.index('"valueQuantity"') < kept.index('"code"'),
            "the number's text and the order of elements stay")

    got = store("PATCH", f"/Patient/{ident}", '[{"op":"add","path":"/active","value":true}]', Content_Type="application/json-patch+json")
    s.equal((got.status, got.body["active"], got.headers["ETag"]), (200, True, 'W/"2"'), "patch")
    got = store("PATCH", f"/Patient/{ident}", '[{"op":"test","path":"/active","value":false}]', Content_Type="application/json-patch+json")
    s.equal(got.status, 422, "patch whose test fails")
    got = store("PATCH", f"/Patient/{ident}", '[{"op":"add","path":"/foo","value":1}]', Content_Type="application/json-patch+json")
    s.equal(got.status, 400, "patch to what R4 does not have")

    s.equal(store("DELETE", f"/Patient/{ident}").status, 204, "delete")
    s.equal(store("DELETE", f"/Patient/{ident}").status, 204, "delete again")
    s.equal(store("DELETE", "/Patient/never-was").status, 204, "delete of what never was")
    gone = store("GET", f"/Patient/{ident}")
    s.equal((gone.status, issue(gone)["code"]), (410, "deleted"), "read of what was deleted")
    s.equal(total(store, "/Patient?" + by("c1-Zq7")), 0, "it is not found")
    got = store("GET", f"/Patient/{ident}/_history")
    s.equal([e["request"]["method"] for e in got.body["entry"]], ["DELETE", "PATCH", "POST"], "history, newest first")
    back = store("PUT", f"/Patient/{ident}", patient("c1-Zq7", id=ident))
    s.equal((back.status, back.headers["ETag"]), (201, 'W/"4"'), "an update brings it back with its versions")

    s.equal(store("POST", "/Patient", patient("c4"), Prefer="return=minimal").body, b"", "return=minimal has no body")
    got = store("POST", "/Patient", patient("c5"), Prefer="handling=strict; return=OperationOutcome")
    s.equal((got.status, got.body["resourceType"]), (201, "OperationOutcome"), "return=OperationOutcome")


def refusing(s, store):
    json_type = {"Content_Type": "application/fhir+json"}
    for text, want, answer in [
            ("bad JSON", 400, store("POST", "/Patient", '{"resourceType":"Patient",', **json_type)),
            ("JSON with a key twice", 400, store("POST", "/Patient", '{"resourceType":"Patient","id":"1","id":"2"}', **json_type)),
            ("an empty body", 400, store("POST", "/Patient", b"", **json_type)),
            ("an element that R4 does not have", 400, store("POST", "/Patient", {"resourceType": "Patient", "foo": 1})),
            ("a code that R4 does not have", 400, store("POST", "/Patient", {"resourceType": "Patient", "gender": "M"})),
            ("a resource of another type", 422, store("POST", "/Patient", observation("Patient/1"))),
            ("another id than the URL's", 400, store("PUT", "/Patient/a", patient("x", id="b"))),
            ("no id in an update", 400, store("PUT", "/Patient/a", patient("x"))),
            ("an id that is none", 400, store("PUT", "/Patient/a_b", patient("x", id="a_b"))),
            ("an unknown type", 404, store("GET", "/Person2/1")),
            ("an unknown id", 404, store("GET", "/Patient/never")),
            ("an operation", 404, store("GET", "/Patient/1/$everything")),
            ("DELETE of the base", 405, store("DELETE", "")),
            ("POST to an instance", 405, store("POST", "/Patient/1", patient("x"))),
            ("XML", 415, store("POST", "/Patient", "<Patient/>", Content_Type="application/fhir+xml")),
            ("a patch as plain JSON", 415, store("PATCH", "/Patient/own-id.1", [])),
            ("XML wanted", 406, store("GET", "/Patient", Accept="application/fhir+xml")),
            ("a condition that says nothing", 400, store("PUT", "/Patient?", patient("x"))),
            ("a condition with an unknown parameter", 400, store("PUT", "/Patient?foo=1&identifier=x", patient("x"))),
            ("a search with a bad date", 400, store("GET", "/Patient?_lastUpdated=yesterday")),
            ("a base that takes Bundles only", 422, store("POST", "", patient("x"))),
            ("a Bundle of another type", 400, store("POST", "", bundle("collection"))),
            ("outside of the base", 404, http(store.base.replace("/fhir", "/other"))),
    ]:
        s.check(answer.status == want and answer.body["resourceType"] == "OperationOutcome",
                f"{text}: {want} with an OperationOutcome", f"{answer.status} {answer.body}")
    s.equal(store("POST", "/Patient/1", patient("x")).headers["Allow"], "GET, PUT, PATCH, DELETE", "a 405 lists what is allowed")


def conditional(s, store):
    first = store("POST", "/Patient", patient("n1"), If_None_Exist=by("n1"))
    again = store("POST", "/Patient", patient("n1", "Other"), If_None_Exist=by("n1"))
    s.equal((first.status, again.status), (201, 200), "conditional create: 201, then 200")
    s.equal(again.body, first.body, "and nothing is changed")
    s.equal(again.headers["Location"], first.headers["Location"], "the answer says where it is")
    put = store("PUT", "/Patient?" + by("n1"), patient("n1", "Other"))
    s.equal((put.status, put.body["id"], put.headers["ETag"]), (200, first.body["id"], 'W/"2"'), "conditional update of the one that matches")
    s.equal(store("PUT", "/Patient?" + by("n1"), patient("n1", id="other")).status, 400, "not with another id")
    s.equal(store("PUT", "/Patient?" + by("n2"), patient("n2")).status, 201, "conditional update creates")
    s.equal(store("PUT", "/Patient?" + by("n3"), patient("n3", id="n3")).body["id"], "n3", "with the id that it brings")
    store("POST", "/Patient", patient("n2"))
    s.equal(store("POST", "/Patient", patient("n2"), If_None_Exist=by("n2")).status, 412, "conditional create with several matches")
    s.equal(store("PUT", "/Patient?" + by("n2"), patient("n2")).status, 412, "conditional update with several matches")
    s.equal(store("DELETE", "/Patient?" + by("n2")).status, 412, "conditional delete with several matches")
    s.equal(store("DELETE", "/Patient?" + by("n3")).status, 204, "conditional delete")
    s.equal(store("GET", "/Patient/n3").status, 410, "has deleted it")


def searching(s, store):
    for n in range(25):
        time.sleep(0.002)                # each in a millisecond of its own: lastUpdated tells no less apart
        store("PUT", f"/Basic/b{n:02}", {"resourceType": "Basic", "id": f"b{n:02}", "code": {"coding": [{"code": "page"}]},
                                         "subject": {"reference": "Patient/p" + "ab"[n % 2]}})
    pages, ids = 0, []
    url = "/Basic?code=page&_count=10&_sort=-_id"
    while url:
        got = store("GET", url).body
        s.equal(got["total"], 25, "each page tells the total")
        ids += [e["resource"]["id"] for e in got["entry"]]
        if pages == 0:
            store("PUT", "/Basic/b98", {"resourceType": "Basic", "id": "b98", "code": {"coding": [{"code": "other"}]}})
            s.check(got["entry"][0]["fullUrl"] == store.base + "/Basic/b24" and got["entry"][0]["search"] == {"mode": "match"},
                    "an entry has its fullUrl and mode")
        url = next((link["url"].removeprefix(store.base) for link in got["link"] if link["relation"] == "next"), None)
        pages += 1
    s.equal((pages, ids), (3, [f"b{n:02}" for n in reversed(range(25))]), "pages in order, nothing twice")

    def found(query, path="/Basic?"):
        return [e["resource"]["id"] for e in store("GET", path + query).body.get("entry", [])]

    s.equal(found("_id=b01,b03,zz"), ["b01", "b03"], "_id with alternatives")
    s.equal(len(found("subject=Patient/pa")), 13, "subject by reference")
    s.equal(len(found("patient=pb")), 12, "patient by id")
    s.equal(len(found("subject:Patient=pb")), 12, "subject by type and id")
    s.equal(len(found(f"patient={store.base}/Patient/pb")), 12, "patient by our own URL")
    s.equal(found("subject=Group/pa"), [], "not another type")
    s.equal(found("patient=pa&_id=b00,b01"), ["b00"], "several parameters narrow down")
    first, last = (store("GET", "/Basic/" + x).body["meta"]["lastUpdated"] for x in ("b05", "b20"))
    s.equal(found(f"_lastUpdated=ge{first}&_lastUpdated=le{last}&_sort=_lastUpdated"), [f"b{n:02}" for n in range(5, 21)], "_lastUpdated from and to")
    s.equal(found("_lastUpdated=lt2020"), [], "_lastUpdated long ago")
    s.equal(found("_lastUpdated=ge2020&_sort=-_lastUpdated&_count=2"), ["b98", "b24"], "newest first")
    got = store("GET", "/Basic?_count=0").body
    s.equal((got["total"], "entry" in got), (26, False), "_count=0 is the total alone")
    s.check("total" not in store("GET", "/Basic?_total=none").body, "_total=none")
    s.equal(store("POST", "/Basic/_search?patient=pa", "_id=b00,b01,b02", Content_Type="application/x-www-form-urlencoded").body["total"],
            2, "POST _search takes form and query")
    got = store("GET", "/Basic?colour=red&_id=b00").body
    s.equal([e["search"]["mode"] for e in got["entry"]], ["match", "outcome"], "what is not supported is told in the result")
    s.check("colour" not in got["link"][0]["url"], "and is not in the self link")
    s.equal(store("GET", "/Basic?colour=red", Prefer="handling=strict").status, 400, "strict handling refuses it")

    store("POST", "/Patient", patient("s|1", "O'Neil", birthDate="1970-05-02", identifier=[
        {"system": SYSTEM, "value": "s|1"}, {"value": "bare"}]))
    for query, want in [("identifier=" + urllib.parse.quote(SYSTEM + "|s\\|1"), 1), ("identifier=bare", 1), ("identifier=|bare", 1),
                        ("identifier=|s\\|1", 0), ("identifier=" + SYSTEM + "|bare", 0), ("identifier=s\\|1,none", 1),
                        ("family=o'n", 1), ("name=O'NEIL", 1), ("family=neil", 0), ("birthdate=1970", 1), ("birthdate=lt1970-05-02", 0)]:
        s.equal(total(store, "/Patient?" + query), want, f"Patient?{query}")
    s.check(total(store, f"/Patient?identifier={SYSTEM}|") > 3, "every identifier of a system")


def transactions(s, store):
    urn, visit = "urn:uuid:11111111-1111-4111-8111-111111111111", "urn:uuid:22222222-2222-4222-8222-222222222222"
    got = store("POST", "", bundle(
        "transaction",
        entry("GET", "Observation?" + by("t-obs")),
        entry("PUT", "Encounter?" + by("t-visit"), {
            "resourceType": "Encounter", "identifier": [{"system": SYSTEM, "value": "t-visit"}], "status": "planned",
            "class": {"code": "AMB"}, "subject": {"reference": urn}}, visit),
        entry("POST", "Observation", observation(urn, identifier=[{"system": SYSTEM, "value": "t-obs"}],
                                                 encounter={"reference": visit},
                                                 performer=[{"reference": "Practitioner?" + by("t-doc")}],
                                                 hasMember=[{"reference": urn}])),
        entry("POST", "Patient", patient("t1"), urn, ifNoneExist=by("t1")),
        entry("POST", "Practitioner", {"resourceType": "Practitioner", "identifier": [{"system": SYSTEM, "value": "t-doc"}]}),
    ))
    s.equal((got.status, got.body["type"]), (200, "transaction-response"), "transaction")
    s.equal([e["response"]["status"] for e in got.body["entry"]],
            ["200 OK", "201 Created", "201 Created", "201 Created", "201 Created"], "answers in the order of the entries")
    s.equal(got.body["entry"][0]["resource"]["total"], 1, "the GET sees what was written")
    where = [e["response"].get("location", "").partition("/_history")[0] for e in got.body["entry"]]
    seen = got.body["entry"][0]["resource"]["entry"][0]["resource"]
    s.equal((seen["subject"]["reference"], seen["encounter"]["reference"], seen["performer"][0]["reference"], seen["hasMember"][0]["reference"]),
            (where[3], where[1], where[4], where[3]), "urn:uuid and conditional references are rewritten, in any direction")
    s.equal(store("GET", "/" + where[1]).body["subject"]["reference"], where[3], "in the conditional update too")
    s.equal(total(store, "/Observation?patient=" + where[3]), 1, "and they are found")
    s.equal(total(store, "/Observation?performer=" + where[4]), 1, "the conditional one too")
    r = got.body["entry"][3]["response"]
    s.check(r["etag"] == 'W/"1"' and r["lastModified"].endswith("Z") and "resource" not in got.body["entry"][3],
            "an answer has etag and lastModified, and no resource")

    again = store("POST", "", bundle(
        "transaction", entry("POST", "Patient", patient("t1", "Changed"), urn, ifNoneExist=by("t1")),
        entry("POST", "Patient", patient("t2"), ifNoneExist=by("t2")), entry("POST", "Patient", patient("t2"), ifNoneExist=by("t2")),
        entry("POST", "Observation", observation(urn))), Prefer="return=representation")
    s.equal([e["response"]["status"][:3] for e in again.body["entry"]], ["200", "201", "200", "201"], "conditional creates in a transaction")
    s.equal(again.body["entry"][0]["resource"]["name"][0]["family"], "Test", "what is there stays")
    s.equal(again.body["entry"][3]["resource"]["subject"]["reference"], where[3], "references go to it")

    before = total(store, "/Patient")
    ident = where[3].partition("/")[2]
    for text, want, entries in [
            ("a stale ifMatch", 412, [entry("POST", "Patient", patient("roll")), entry("PUT", where[3], patient("t1", id=ident), ifMatch='W/"9"')]),
            ("a bad resource", 400, [entry("POST", "Patient", patient("roll")), entry("POST", "Observation", {"resourceType": "Observation"})]),
            ("one resource twice", 400, [entry("POST", "Patient", patient("roll")), entry("PUT", where[3], patient("t1", id=ident)),
                                         entry("DELETE", where[3])]),
            ("a urn without its entry", 400, [entry("POST", "Patient", patient("roll")), entry("POST", "Observation", observation(visit))]),
            ("a conditional reference to nothing", 412, [entry("POST", "Patient", patient("roll")),
                                                         entry("POST", "Observation", observation("Patient?" + by("nothing")))]),
            ("a fullUrl twice", 400, [entry("POST", "Patient", patient("roll"), urn), entry("POST", "Patient", patient("roll2"), urn)]),
            ("a method of its own", 400, [entry("POST", "Patient", patient("roll")), entry("JUMP", "Patient/1")]),
    ]:
        answer = store("POST", "", bundle("transaction", *entries))
        s.check(answer.status == want and issue(answer)["expression"][0].startswith("Bundle.entry["), f"{text} fails the transaction",
                f"{answer.status} {answer.body}")
        s.equal(total(store, "/Patient"), before, "and nothing of it is kept")
    s.equal(issue(store("POST", "", bundle("transaction", entry("GET", "Patient/x"), entry("POST", "Patient", patient("r")),
                                           entry("PUT", where[3], patient("t1", id=ident), ifMatch='W/"9"'))))["expression"],
            ["Bundle.entry[2]"], "the outcome names the entry")

    got = store("POST", "", bundle("transaction", entry("PUT", "Patient/swap", patient("t3", id="swap")), entry("DELETE", where[3])))
    s.equal([e["response"]["status"] for e in got.body["entry"]], ["201 Created", "204 No Content"], "delete and create")
    s.equal(store("POST", "", {"resourceType": "Bundle", "type": "transaction"}).body, {"resourceType": "Bundle", "type": "transaction-response"},
            "an empty transaction")

    store("PUT", "/Patient/gone", patient("t4", id="gone"))              # no two entries of a batch may be about the same
    got = store("POST", "", bundle("batch", entry("GET", "Patient/swap"), entry("GET", "Patient/nope"), entry("POST", "Patient", {"resourceType": "Patient", "x": 1}),
                                   entry("POST", "Patient", patient("batched")), entry("DELETE", f"{store.base}/Patient/gone"), {}))
    s.equal([e["response"]["status"][:3] for e in got.body["entry"]], ["200", "404", "400", "201", "204", "400"], "the entries of a batch stand alone")
    store("DELETE", "/Patient/swap")
    s.equal(got.body["entry"][1]["response"]["outcome"]["issue"][0]["code"], "not-found", "each with its outcome")
    s.equal(total(store, "/Patient?" + by("batched")), 1, "the good ones are kept")


def concurrently(s, store):
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        def create(n):
            if n % 2:
                return store("POST", "/Patient", patient("race"), If_None_Exist=by("race")).status
            answer = store("POST", "", bundle("transaction", entry("POST", "Patient", patient("race"), ifNoneExist=by("race")),
                                              entry("POST", "Patient", patient(f"race{n}"))))
            return int(answer.body["entry"][0]["response"]["status"][:3]) if answer.status == 200 else answer.status
        got = sorted(pool.map(create, range(72)))
        s.equal((total(store, "/Patient?" + by("race")), got), (1, [200] * 71 + [201]),
                "72 conditional creates at once, single and in transactions, make one resource")

        got = sorted(pool.map(lambda n: store("PUT", "/Patient?" + by("put"), patient("put")).status, range(48)))
        s.equal((total(store, "/Patient?" + by("put")), got), (1, [200] * 47 + [201]), "48 conditional updates at once make one")

        for ident in ("dead-a", "dead-b"):
            store("PUT", f"/Patient/{ident}", patient(ident, id=ident))

        def cross(n):
            pair = [entry("PUT", "Patient?" + by(x), patient(x)) if n % 3 else entry("PUT", f"Patient/{x}", patient(x, id=x)) for x in ("dead-a", "dead-b")]
            return store("POST", "", bundle("transaction", *(pair if n % 2 else reversed(pair)))).status
        s.equal(list(pool.map(cross, range(60))), [200] * 60, "60 transactions that cross each other all succeed")
        s.equal([store("GET", f"/Patient/{x}").headers["ETag"] for x in ("dead-a", "dead-b")], ['W/"61"'] * 2, "and each is a version")

        store("PUT", "/Patient/match", patient("match", id="match"))
        got = sorted(pool.map(lambda n: store("PUT", "/Patient/match", patient("match", id="match"), If_Match='W/"1"').status, range(24)))
        s.equal(got, [200] + [412] * 23, "of 24 updates with the same If-Match one wins")
        got = list(pool.map(lambda n: store("PATCH", "/Patient/match", f'[{{"op":"add","path":"/name/-","value":{{"text":"n{n}"}}}}]',
                                            Content_Type="application/json-patch+json").status, range(4)))
        s.equal((got, len(store("GET", "/Patient/match").body["name"])), ([200] * 4, 5), "patches at once all count")


def apart_and_again(s, pg, store):
    other = Store(s, "--schema", "second_store", "--database", pg.owner_url)
    other.wait()
    other("PUT", "/Patient/own-id.1", patient("second", id="own-id.1"))
    s.equal((total(other, "/Patient"), other("GET", "/Patient/own-id.1").headers["ETag"]), (1, 'W/"1"'),
            "a second store in the same database is its own")
    s.equal(other.process.end(signal.SIGINT), 0, "SIGINT ends it with 0")

    count = total(store, "/Patient")
    s.equal(store.process.end(signal.SIGTERM), 0, "SIGTERM ends it with 0")
    store = Store(s)
    store.wait()
    s.equal(total(store, "/Patient"), count, "a restart keeps everything")
    pg.kill()
    wait_for("503", lambda: store("GET", "/Patient/own-id.1").status == 503)
    s.check(True, "without the database it answers 503")
    pg.start()
    store.wait()
    s.equal(total(store, "/Patient"), count, "and goes on when the database is back")
    s.check("demo.database_unavailable" in store.process.text(), "the log says so")
    s.check("c1-Zq7" not in store.process.text() and SYSTEM not in store.process.text(), "the log holds nothing of the resources")
    return store


def wrong_usage(s, pg, store):
    for text, say, args, env in [
            ("a port in use", str(store.port), ["--http", f"127.0.0.1:{store.port}"], {}),
            ("an address that is none", "--http", ["--http", "nonsense"], {}),
            ("a schema that is none", "schema", ["--schema", "a;b", "--http", "127.0.0.1:0"], {}),
            ("no database", "--database", [], {"INTEROP_OWNER_DATABASE_URL": ""}),
            ("an unknown option", "--colour", ["--colour"], {}),
    ]:
        done = s.run("fhir-demo", *args, code=2, env=env)
        last = done.stderr.decode().strip().splitlines()[-1]
        s.check(say in last, f"{text}: one line that says so, exit 2", last)


def judged_by_others(s, store):
    checks = os.path.join(SHARED, "tools", "fhir-server-checks.mjs")
    if not os.path.exists(checks) or not shutil.which("node"):
        s.left_out("fhir-server-checks.mjs: it is not here, or node is not")
        return
    done = subprocess.run(["node", checks, store.base], capture_output=True, text=True, check=False, timeout=120)
    lines = done.stdout.splitlines()
    s.check(done.returncode == 0 and len(lines) >= 20 and all(line.startswith("PASS") for line in lines),
            f"somebody else's {len(lines)} checks of a FHIR server pass", done.stdout + done.stderr)


def main():
    with Scenario("demo_store") as s:
        pg = s.postgres()
        pg.stop()
        store = Store(s)
        store.wait(503)
        s.check(True, "it starts without its database and answers 503")
        pg.start()
        started = time.monotonic()
        store.wait()
        s.check(time.monotonic() - started < 10, "and is ready soon after the database is")
        reading_and_writing(s, store)
        refusing(s, store)
        conditional(s, store)
        searching(s, store)
        transactions(s, store)
        concurrently(s, store)
        judged_by_others(s, store)
        store = apart_and_again(s, pg, store)
        wrong_usage(s, pg, store)


if __name__ == "__main__":
    main()
