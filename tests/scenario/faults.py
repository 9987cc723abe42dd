#!/usr/bin/env python3
"""What an operator meets: each fault says in one line what is wrong and what to do, ends
with 2 where nothing but a change helps and is tried again where it may pass; and what
comes and goes under load loses nothing. `faults.py NAME…` runs the cases so named."""
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import warnings

from harness import PATIENCE, Failed, Mllp, Scenario, free_port, listening, trusting, wait_for
from promises_books import Load, adt, check_books, settled, site


class Site:
    def __init__(self, s):
        self.s = s
        self.pg = s.postgres()
        self.migrated = False

    def migrate(self):
        if not self.migrated:
            self.s.interop("migrate")
            self.migrated = True


def troubles(engine, word):
    """The lines of a log that are about `word`, of level warn and error."""
    found = []
    for line in engine.text().splitlines():
        entry = json.loads(line)
        if entry["level"] in ("warn", "error") and word in line:
            found.append(entry)
    return found


def one_line(s, engine, word, *says, seconds=1.5):
    """In a while, the fault is told once, and so that a person can act on it."""
    wait_for(f"a line about {word}", lambda: troubles(engine, word) or not engine.running())
    time.sleep(seconds)
    told = troubles(engine, word)
    s.equal(len(told), 1, "it is told once, however often it is tried")
    for text in says:
        s.check(re.search(text, json.dumps(told[0])), f"the line says: {text}", json.dumps(told[0]))


def refused(s, text, *args, env=None, stdin=None):
    """A command that ends with 2 and one line."""
    done = s.run(*args, code=2, env=env, stdin=stdin, seconds=20)
    lines = [line for line in done.stderr.decode().strip().splitlines() if '"level":"info"' not in line]
    s.check(len(lines) == 1 and re.search(text, lines[0]), f"exit code 2 and one line: {text}", "\n".join(lines))


# ---- configuration -----------------------------------------------------------------------------

def configuration(x):
    s = x.s
    path = os.path.join(s.folder, "interop.conf")
    for line, text in (
            ("htpp = 127.0.0.1:8080", r"interop\.conf:1: .*htpp.*did you mean .*http"),
            ("# a comment\n\nhttp = nowhere", r"interop\.conf:3: .*http takes HOST:PORT"),
            ("log = xml", r"log takes json or text"),
            ("log_level = loud", r"log_level takes debug, info, warn or error"),
            ("transform_threads = many", r"transform_threads takes a number from 1 to 64"),
            ("ingest_connections = 0", r"ingest_connections takes a number from 1"),
            ("memory_bytes = 1KiB", r"memory_bytes takes a size from 16MiB"),
            ("drain_ms = soon", r"drain_ms takes a time"),
            ("just words", r"interop\.conf:1: ")):
        with open(path, "w", encoding="utf-8") as file:
            file.write(line + "\n")
        refused(s, text, "run", "--config", path)
    refused(s, r"absent\.conf.*No such file", "run", "--config", os.path.join(s.folder, "absent.conf"))
    refused(s, r"INTEROP_HTTP.* takes HOST:PORT", "run", env={"INTEROP_HTTP": "8080"})
    refused(s, r"INTEROP_DATABASE_URL", "run", env={"INTEROP_DATABASE_URL": ""})
    refused(s, r"write INTEROP_DATABASE_URL as postgresql://", "run",
            env={"INTEROP_DATABASE_URL": "postgresql://engine@/interop?hots=x"})


# ---- the database --------------------------------------------------------------------------------

def not_migrated(x):
    """No role yet, then no tables yet: the engine waits for `interop migrate`."""
    s = x.s
    engine = s.engine(ready=False, INTEROP_TRANSFORM_THREAD="2", INTEROP_PORT="tcp://10.0.0.1:80")
    one_line(s, engine, "config.unknown_variable", r"INTEROP_TRANSFORM_THREAD\b.*transform_threads")
    one_line(s, engine, 'role', r"role .*engine", r"interop migrate")
    s.equal(engine.get("/livez").status, 200, "it lives")
    ready = engine.get("/readyz")
    s.check(ready.status == 503 and "role" in str(ready.body), "and /readyz says what is missing", str(ready))
    x.pg.psql("create role engine login")
    wait_for("the next line", lambda: troubles(engine, "migrate") and len(troubles(engine, "store.unavailable")) >= 2)
    s.check(re.search(r"interop migrate", json.dumps(troubles(engine, "store.unavailable")[-1])),
            "without tables it says to migrate", str(troubles(engine, "store.unavailable")))
    x.migrate()
    engine.wait_ready()
    s.check(True, "and goes on by itself after `interop migrate`")
    engine.stop()


def wrong_password(x):
    s = x.s
    x.migrate()
    hba = x.pg.value("select current_setting('hba_file')")
    with open(hba, encoding="utf-8") as file:
        before = file.read()
    with open(hba, "w", encoding="utf-8") as file:
        file.write("local all engine scram-sha-256\n" + before)
    x.pg.psql("alter role engine password 'right'; ")
    x.pg.psql("select pg_reload_conf();")
    url = x.pg.engine_url.replace("//engine@", "//engine:wr0ng-s3cret@")
    engine = s.engine(ready=False, INTEROP_DATABASE_URL=url)
    one_line(s, engine, "store.unavailable", r"password authentication failed", r"check user and password")
    s.check("wr0ng-s3cret" not in engine.text(), "without the password")
    refused(s, r"password authentication failed", "connector", "list", "--tenant", "t", env={"INTEROP_DATABASE_URL": url})
    x.pg.psql("alter role engine password 'wr0ng-s3cret'")
    engine.wait_ready()
    s.check(True, "when the password is set as configured, the engine goes on")
    engine.stop()
    with open(hba, "w", encoding="utf-8") as file:
        file.write(before)
    x.pg.psql("select pg_reload_conf();")


def database_down_at_start(x):
    s = x.s
    x.migrate()
    x.pg.stop()
    engine = s.engine(ready=False)
    one_line(s, engine, "store.unavailable", r"check that PostgreSQL runs there", r"tried again", seconds=2.5)
    s.equal(engine.get("/readyz").status, 503, "not ready")
    refused(s, r"check that PostgreSQL runs there", "connector", "list", "--tenant", "t")
    x.pg.start()
    engine.wait_ready()
    s.check(True, "it is ready once the database is up")
    engine.stop()


def too_mighty_role(x):
    """A role that sees past tenants is refused for good."""
    s = x.s
    x.migrate()
    engine = s.engine(ready=False, INTEROP_DATABASE_URL=x.pg.owner_url)
    s.equal(engine.child.wait(20 * PATIENCE), 2, "a superuser as the engine's role ends it with 2")
    told = troubles(engine, "superuser")
    s.check(len(told) == 1 and "name a plain role" in str(told[0]), "and one line", engine.text())


# ---- ports and certificates -----------------------------------------------------------------------

def http_port_in_use(x):
    s = x.s
    x.migrate()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused(s, rf"127\.0\.0\.1.*{port}.*(in use|address already)", "run", env={"INTEROP_HTTP": f"127.0.0.1:{port}"})
    refused(s, r"192\.0\.2\.1", "run", env={"INTEROP_HTTP": "192.0.2.1:8080"})


def mllp_port_in_use(x):
    s = x.s
    x.migrate()
    engine = s.engine()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = site(s, x.pg, None, "inuse", other.getsockname()[1])
        one_line(s, engine, "connector.cannot_listen", rf"{port}", r"in use|already", seconds=2.5)
    wait_for("the listener", lambda: listening(port))
    s.check(True, "when the port is free, it listens")
    s.equal(engine.get("/readyz").status, 200, "the engine was ready all the time")
    engine.stop()


class Certificates:
    """Two authorities, and what they signed, made by openssl."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        for ca in ("ours", "theirs"):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                         "-subj", f"/CN={ca} authority", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
        self.sign("ours", "server", "localhost", "DNS:localhost")
        self.sign("ours", "sender", "lab-sender", "DNS:lab-sender")
        self.sign("ours", "stranger", "unknown-sender", "DNS:unknown-sender")
        self.sign("theirs", "foreign", "lab-sender", "DNS:lab-sender")

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True)

    def sign(self, ca, name, subject, alt):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={subject}",
                     "-addext", f"subjectAltName={alt}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
                     "-days", "2", "-copy_extensions", "copy", "-out", f"{name}.pem")

    def __getitem__(self, name):
        return os.path.join(self.folder, name)


def tls_sends(port, context, message):
    """The answer's code; None when the server does not want this client."""
    try:
        with Mllp(port, context) as client:
            ack = client.exchange(message)
            return ack and ack.code
    except (ssl.SSLError, ConnectionError, OSError):
        return None


def tls_listener(x):
    s = x.s
    x.migrate()
    c = Certificates(os.path.join(s.folder, "tls"))
    engine = s.engine()
    port = site(s, x.pg, None, "tls", None, "adt", "--tls-cert", c["server.pem"], "--tls-key", c["server.key"], "--tls-ca",
                c["ours.pem"], "--set", "tls_names=lab-sender,other-sender")
    wait_for("the listener", lambda: listening(port))
    sender = trusting(c["ours.pem"], c["sender.pem"], c["sender.key"])
    s.equal(tls_sends(port, sender, adt("tls-1")), "AA", "a client with its certificate is served")
    s.equal(tls_sends(port, trusting(c["ours.pem"]), adt("tls-2")), None, "one without is not")
    s.equal(tls_sends(port, trusting(c["ours.pem"], c["foreign.pem"], c["foreign.key"]), adt("tls-3")), None,
            "nor one that another authority signed")
    s.equal(tls_sends(port, trusting(c["ours.pem"], c["stranger.pem"], c["stranger.key"]), adt("tls-4")), None,
            "nor one whose name is not in the list")
    s.equal(tls_sends(port, None, adt("tls-5")), None, "nor one in clear")
    try:
        tls_sends(port, None, adt("x"))
        with Mllp(port, trusting(c["theirs.pem"])):
            raise Failed("the server's certificate is not the one it was given")
    except ssl.SSLCertVerificationError:
        s.check(True, "the server shows its own certificate")
    old = trusting(c["ours.pem"], c["sender.pem"], c["sender.key"])
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():      # Python knows that it is too old
        warnings.simplefilter("ignore")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    s.equal(tls_sends(port, old, adt("tls-6")), None, "TLS 1.1 is refused")
    s.equal(x.pg.rows("select message_control_id id from hl7_messages where tenant_id = 'tls'"), [{"id": "tls-1"}],
            "one message is stored")
    wait_for("lines about the refused", lambda: len(troubles(engine, "connector.tls_refused")) >= 3)
    for entry in troubles(engine, "connector.tls_refused"):
        s.check(len(entry["error"]) > 10, "the log says why", str(entry))
    engine.stop()


def wrong_certificate(x):
    s = x.s
    x.migrate()
    c = Certificates(os.path.join(s.folder, "tls2"))
    with open(c["words.pem"], "w", encoding="utf-8") as file:
        file.write("no certificate\n")
    for name in ("gone", "spoiled"):
        shutil.copy(c["server.pem"], c[f"{name}.pem"])

    def add(name, certificate, key):
        return ("connector", "add", "--tenant", "cert", "--name", name, "--protocol", "mllp", "--direction", "inbound",
                "--port", free_port(), "--pack", "lua/packs/v2-to-fhir", "--tls-cert", c[certificate], "--tls-key", c[key],
                "--activate")
    refused(s, r"no file .*absent\.pem", *add("absent", "absent.pem", "server.key"))
    refused(s, r"words\.pem.*no PEM certificate", *add("words", "words.pem", "server.key"))
    refused(s, r"sender\.key.*(match|belong)", *add("other", "server.pem", "sender.key"))
    args = {name: add(name, f"{name}.pem", "server.key") for name in ("gone", "spoiled")}
    for arg in args.values():
        s.interop(*arg)
    os.unlink(c["gone.pem"])             # both were right when the connectors were made
    shutil.copy(c["words.pem"], c["spoiled.pem"])
    engine = s.engine()
    one_line(s, engine, '"gone"', r"gone\.pem", r"No such file")
    one_line(s, engine, '"spoiled"', r"spoiled\.pem", r"no PEM certificate", seconds=0)
    port = args["gone"][args["gone"].index("--port") + 1]
    shutil.copy(c["server.pem"], c["gone.pem"])
    wait_for("the listener", lambda: listening(port))
    s.equal(tls_sends(port, trusting(c["ours.pem"]), adt("later-1")), "AA", "once the file is right, it listens")
    engine.stop()


# ---- what comes and goes under load ----------------------------------------------------------------

def under_load(x, what, fault, nats=None, retries=False, messages=80):
    """Senders send, `fault` happens, all is well in the end."""
    s, pg = x.s, x.pg
    x.migrate()
    s.interop("migrate")
    nats = nats or s.nats()
    base = s.fhir_demo()
    port = site(s, pg, base, "load")
    engine = s.engine()
    load = Load(port, "F", connections=6, patients=4, messages=messages)
    wait_for("load", lambda: load.acked() > load.total // 4, 60, 0.005)
    engine = fault(engine, load) or engine
    load.finish(s, 90)
    settled(s, pg, 90)
    s.say(f"books after: {what}")
    check_books(s, pg, nats, base, [load], retries)
    return engine


def fresh(s):
    """A cluster and a site of its own, since books are of a whole database."""
    return Site(s)


def database_restarts(x):
    x = fresh(x.s)

    def fault(engine, load):
        for n, sig in enumerate((signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)):
            x.pg.stop(sig)
            time.sleep(0.3 * n)
            x.pg.start()
            goal = min(load.total, load.acked() + load.total // 6)
            wait_for("going on", lambda g=goal: load.acked() >= g, 60, 0.01)
    # The demo store is on it, too, and answers 500 in between.
    engine = under_load(x, "the database was stopped three ways", fault, retries=True)
    told = troubles(engine, "store.unavailable")
    x.s.check(1 <= len(told) <= 9, "each loss is told, and not in floods", f"{len(told)} lines")
    engine.stop()
    x.pg.stop()


def clean_stop(x):
    """SIGTERM under load: what was read is answered, what is open is found again."""
    x = fresh(x.s)
    s = x.s

    def fault(engine, load):
        for _ in range(2):
            began = time.monotonic()
            s.equal(engine.end(signal.SIGTERM, 15), 0, "SIGTERM under load: exit 0")
            took = time.monotonic() - began
            s.check(took < 10.5 * PATIENCE, f"within the drain time ({took:.1f} s)")
            acked = set(load.promised())
            stored = {row["id"] for row in x.pg.rows("select message_control_id id from hl7_messages")}
            s.equal(acked - stored, set(), "nothing that was acknowledged is missing")
            engine = s.engine()
            wait_for("going on", lambda g=min(load.total, len(acked) + load.total // 6): load.acked() >= g, 60, 0.01)
        return engine
    engine = under_load(x, "two clean stops", fault)
    engine.stop()
    x.pg.stop()


def clean_stop_in_time(x):
    """A target that does not answer cannot hold up the stop."""
    x = fresh(x.s)
    s = x.s
    x.migrate()
    with socket.create_server(("127.0.0.1", 0)) as dumb:
        port = site(s, x.pg, f"http://127.0.0.1:{dumb.getsockname()[1]}/fhir", "hangs")
        engine = s.engine(INTEROP_DRAIN_MS="2s")
        wait_for("the listener", lambda: listening(port))
        with s.mllp(port) as client:
            s.equal(client.exchange(adt("hang-1")).code, "AA", "a message for a target that never answers")
        wait_for("the delivery", lambda: x.pg.value("select count(*) n from hl7_deliveries") == 1)
        idle = s.mllp(port)
        idle.send(b"\x0bMSH|^~\\&|half")
        time.sleep(0.3)
        began = time.monotonic()
        s.equal(engine.end(signal.SIGTERM, 15), 0, "exit 0")
        took = time.monotonic() - began
        s.check(took < 3 * PATIENCE, f"within its drain time of 2 s ({took:.1f} s)")
    s.equal(x.pg.rows("select status, attempt_count n from hl7_deliveries"), [{"status": "pending", "n": 0}],
            "the delivery is open, and goes on after the next start")
    x.pg.stop()


def broker_down_at_start(x):
    x = fresh(x.s)
    s = x.s
    x.migrate()
    nats = s.nats()
    nats.stop()

    def fault(engine, load):
        one_line(s, engine, "relay.broker_unavailable", r"tried again")
        nats.start()
        wait_for("the broker", lambda: "relay.connected" in engine.text())
    engine = under_load(x, "a broker that came late", fault, nats)
    engine.stop()
    x.pg.stop()


def role_without_rights(x):
    """A database is migrated, and the engine's role not yet granted what this release needs: the engine waits for it."""
    s = x.s
    x.migrate()
    x.pg.psql("revoke execute on function interop_message_transformed from engine")
    engine = s.engine(ready=False)
    one_line(s, engine, "engine.waits", r"lacks rights that this release needs", r"interop migrate")
    s.equal(engine.get("/readyz").status, 503, "it is not ready")
    s.interop("migrate")
    engine.wait_ready()
    x.pg.psql("revoke execute on function interop_message_transformed from engine")
    x.pg.stop()
    x.pg.start()
    wait_for("it to see that it has lost them", lambda: "lacks rights" in str(engine.get("/readyz").body))
    s.interop("migrate")
    engine.wait_ready()
    engine.stop()
    x.pg.stop()


def older_engine(x):
    """An engine of a release without nodes, which has its lock alone, is waited for; and it waits for nodes."""
    s = x.s
    x.migrate()
    lock = "select pg_try_advisory_lock(hashtext('interop engine')) as got"
    older = subprocess.Popen(["psql", "-XAtq", x.pg.owner_url], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    older.stdin.write(lock + ";\n")
    older.stdin.flush()
    wait_for("the older engine's lock", lambda: not x.pg.value(lock + ", pg_advisory_unlock_all()"))
    engine = s.engine(ready=False)
    one_line(s, engine, "engine.waits", r"engine of an older release works on this database", r"begins when it ends")
    s.equal(engine.get("/readyz").status, 503, "it is not ready")
    older.kill()
    older.wait()
    engine.wait_ready()
    s.equal(x.pg.value(lock + ", pg_advisory_unlock_all()"), False, "until that one is gone, which then could not begin")
    engine.stop()


CASES = [configuration, not_migrated, wrong_password, database_down_at_start, too_mighty_role, http_port_in_use,
         mllp_port_in_use, tls_listener, wrong_certificate, older_engine, role_without_rights, clean_stop_in_time, clean_stop,
         database_restarts, broker_down_at_start]


def main():
    with Scenario("faults") as s:
        x = Site(s)
        env = dict(s.env)
        for case in s.cases(CASES):
            s.env.clear()
            s.env.update(env)
            case(x)


if __name__ == "__main__":
    main()
