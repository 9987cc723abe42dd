"""What every scenario stands on: the real parts, started privately and ended by their own pid.

    with Scenario("crash") as s:
        pg = s.postgres()                     # a cluster of its own, fsync on
        s.interop("migrate")
        s.interop("connector", "add", ...)
        engine = s.engine()                   # `interop run`, waited for by /readyz
        ack = s.mllp(port).exchange(message)
        s.equal(ack.code, "AA", "the message is acknowledged")

A scenario says in plain lines what it checked; the first check that fails ends
it, and what the parts wrote stays in build/scenario/NAME. Children that outlive
a killed scenario are ended by the kernel (PR_SET_PDEATHSIG).
"""
import base64
import collections
import contextlib
import ctypes
import glob
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SHARED = os.environ.get("INTEROP_SHARED") or os.path.join(os.path.dirname(ROOT), "shared")
DATA = os.path.join(ROOT, "tests", "data")
BINARY = os.path.join(ROOT, os.environ.get("INTEROP_BINARY", "build/release/interop"))
TSAN = "tsan" in BINARY
SANITIZED = "asan" in BINARY or TSAN
REPORT = "sanitizer"                     # beginning of the names of the files that sanitizers write
PATIENCE = 4 if SANITIZED else 1         # what waits are multiplied by
GIVEN = set()                            # ports of free_port


class Failed(Exception):
    """A check that did not hold."""


def die_with_parent():
    """In a child, before exec: end when the scenario ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


def free_port():
    """A TCP port of the loopback that nothing listens on now, and that was not given before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def listening(port, host="127.0.0.1"):
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def alive(pid):
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(what, condition, seconds=20, every=0.05):
    """Returns the first true value of `condition()`; Failed when there is none in time."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds * PATIENCE} s in vain for {what}")
        time.sleep(every)


class Process:
    """A child whose output goes to a file."""

    def __init__(self, name, argv, log, env=None, group=True):
        self.name = name
        self.log = log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env,
                                          cwd=ROOT, preexec_fn=die_with_parent if group else None)
        self.pid = self.child.pid

    def running(self):
        return self.child.poll() is None

    def must_run(self):
        """For waits: Failed with the end of the log when the process has ended."""
        if not self.running():
            raise Failed(f"{self.name} ended with {self.child.returncode}:\n{self.tail()}")
        return True

    def end(self, sig=signal.SIGTERM, seconds=30):
        """Sends a signal, waits, and returns the exit code; SIGKILL and Failed when it does not end."""
        if self.running():
            self.child.send_signal(sig)
        try:
            return self.child.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise Failed(f"{self.name} did not end within {seconds * PATIENCE} s:\n{self.tail()}") from None

    def holds(self):
        """Whether every thread has stopped."""
        def states():
            for task in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{task}/stat", encoding="ascii", errors="replace") as file:
                    yield file.read().rpartition(")")[2].split()[0]
        return self.must_run() and set(states()) == {"T"}

    def hold(self):
        """SIGSTOP; returns when it holds, which takes a while on a busy machine."""
        self.child.send_signal(signal.SIGSTOP)
        wait_for(f"{self.name} to stop", self.holds, 10, 0.01)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def tail(self, lines=25):
        return "\n".join(self.text().splitlines()[-lines:])

    def rss_kb(self):
        """Resident memory, now."""
        return self.status_kb("VmRSS")

    def peak_mb(self):
        """The most resident memory so far."""
        return self.status_kb("VmHWM") / 1024

    def status_kb(self, name):
        """proc(5), /proc/PID/status."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith(name)).split()[1])


class Postgres:
    """A private cluster (scripts/postgres). Queries run as its superuser `owner`, past
    row-level security, unless a URL is given."""

    def __init__(self, folder, log, settings=()):
        self.folder = folder
        self.log = log
        self.settings = list(settings)
        self.process = None
        self._script("make")
        self.owner_url = self._script("url")
        self.engine_url = self.owner_url.replace("//owner@", "//engine@")
        self.start()

    def _script(self, verb):
        done = subprocess.run([os.path.join(ROOT, "scripts", "postgres"), verb, self.folder], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              env={**os.environ, "CLUSTER_TEMPLATE": os.path.join(ROOT, "build", "cluster")})
        if done.returncode != 0:
            raise Failed(f"scripts/postgres {verb}: {done.stderr}")
        return done.stdout.strip()

    def start(self):
        argv = [os.path.join(ROOT, "scripts", "postgres"), "run", self.folder, *self.settings]
        end = time.monotonic() + 60
        while True:
            # After a kill the old children may hold the cluster for a moment longer.
            self.process = Process("postgres", argv, self.log, group=False)
            while self.process.running():
                if self.ready():
                    return
                time.sleep(0.03)
            if time.monotonic() > end:
                raise Failed(f"PostgreSQL does not start:\n{self.process.tail()}")
            time.sleep(0.2)

    def socket_folder(self):
        return urllib.parse.unquote(self.owner_url.partition("host=")[2].partition("&")[0])

    def ready(self):
        return subprocess.run(["psql", self.owner_url, "-XAtqc", "select 1"], stdin=subprocess.DEVNULL,
                              capture_output=True, check=False).returncode == 0

    def stop(self, sig=signal.SIGINT):
        """SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
        if self.process is not None:
            self.process.end(sig, 60)

    def kill(self):
        """kill -9 of the server with all that it started: its backends would go on with what they have, to the commit."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split()]
        self.stop(signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for("PostgreSQL's processes to be gone", lambda: not any(map(alive, children)))

    def psql(self, sql, url=None):
        """What psql prints for `sql`: columns by '|', rows by newline. Failed on an error."""
        done = subprocess.run(["psql", url or self.owner_url, "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"], input=sql,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"psql: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def refused(self, sql, url=None):
        """The error that `sql` meets; Failed when it meets none."""
        done = subprocess.run(["psql", url or self.owner_url, "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"], input=sql,
                              capture_output=True, text=True, check=False)
        if done.returncode == 0:
            raise Failed(f"PostgreSQL did not refuse: {sql}")
        return done.stderr.strip()

    def rows(self, select, url=None, tenant=None):
        """The rows of a SELECT as dictionaries, read as JSON."""
        before = f"set app.current_tenant_id = '{tenant}';\n" if tenant is not None else ""
        return json.loads(self.psql(f"{before}select coalesce(json_agg(t), '[]') from ({select}) t;", url))

    def value(self, select):
        """The one value of a SELECT of one row and one column; None for no row."""
        rows = self.rows(select)
        return next(iter(rows[0].values())) if rows else None


class Nats:
    """nats-server with JetStream, and as much of its protocol as tests need to look into it."""

    def __init__(self, folder, log):
        self.folder = folder
        self.log = log
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = Process("nats-server", ["nats-server", "-a", "127.0.0.1", "-p", str(self.port),
                                               "-js", "-sd", self.folder], self.log)

        def answers():
            self.process.must_run()
            return listening(self.port)
        wait_for("nats-server", answers)

    def stop(self):
        self.process.end(signal.SIGTERM)

    def request(self, subject, payload=b""):
        """One request and its answer."""
        return self.requests(subject, [payload])[0]

    def requests(self, subject, payloads):
        """Requests and their answers in the order in which they come, as NATS clients do
        it: SUB an inbox, PUB, wait for as many MSG."""
        found = []
        with socket.create_connection(("127.0.0.1", self.port), 10) as link, link.makefile("rb") as lines:
            lines.readline()                              # INFO
            link.sendall(b'CONNECT {"verbose":false}\r\nSUB _INBOX.test 1\r\n' + b"".join(
                f"PUB {subject} _INBOX.test {len(p)}\r\n".encode() + p + b"\r\n" for p in payloads))
            while len(found) < len(payloads):
                line = lines.readline()
                if line.startswith(b"PING"):
                    link.sendall(b"PONG\r\n")
                elif line.startswith(b"MSG"):
                    size = int(line.split()[-1])
                    found.append(json.loads(lines.read(size + 2)[:size]))
                elif not line or line.startswith(b"-ERR"):
                    raise Failed(f"nats-server: {line!r}")
        return found

    def streams(self):
        return self.request("$JS.API.STREAM.NAMES").get("streams") or []

    def messages(self, stream):
        """Every message of a stream, in its order: (subject, headers as text, payload)."""
        state = self.request(f"$JS.API.STREAM.INFO.{stream}")["state"]
        found = []
        for first in range(state["first_seq"], state["last_seq"] + 1, 200):
            wanted = range(first, min(first + 200, state["last_seq"] + 1))
            found += [answer["message"] for answer in self.requests(
                f"$JS.API.STREAM.MSG.GET.{stream}", [b'{"seq":%d}' % seq for seq in wanted]) if "message" in answer]
        return [(m["subject"], base64.b64decode(m.get("hdrs", "")).decode(), base64.b64decode(m.get("data", "")))
                for m in sorted(found, key=lambda m: m["seq"])]


class Tap:
    """A TCP relay on the loopback that keeps exactly what crossed it. `connections` are
    in the order in which they were accepted; each has `sent` (by the client) and
    `answered` (by the server), and `ended` once both sides are closed."""

    def __init__(self, target):
        self.target = target
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    class Connection:
        def __init__(self):
            self.sent = bytearray()
            self.answered = bytearray()
            self.ended = threading.Event()
            self.open = 2

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            seen = Tap.Connection()
            self.connections.append(seen)
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                client.close()
                seen.ended.set()
                continue
            server.settimeout(None)
            for source, sink, record in ((client, server, seen.sent), (server, client, seen.answered)):
                threading.Thread(target=self._relay, args=(seen, source, sink, record), daemon=True).start()

    @staticmethod
    def _relay(seen, source, sink, record):
        try:
            while data := source.recv(65536):
                record += data
                try:
                    sink.sendall(data)
                except OSError:
                    pass                 # that side is gone; what still comes is recorded
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        seen.open -= 1
        if seen.open == 0:
            source.close()
            sink.close()
            seen.ended.set()

    def close(self):
        self.listener.close()


START, END = b"\x0b", b"\x1c\x0d"


def frame(message):
    return START + message + END


def frames(data):
    """The contents of the frames in what crossed a wire."""
    found = []
    for part in bytes(data).split(END):
        if START in part:
            found.append(part[part.index(START) + 1:])
    return found


class Ack:
    """An acknowledgement, cut by its own delimiters."""

    def __init__(self, data):
        self.bytes = data
        text = data.decode("latin-1")
        sep = text[3:4] or "|"
        self.component = text[4:5] or "^"
        self.segments = [segment.split(sep) for segment in text.replace("\n", "\r").split("\r") if segment]

    def first(self, name):
        return next((s for s in self.segments if s[0] == name), [])

    def field(self, name, number):
        """As sent; MSH-1 is the separator itself, so that MSH counts from one earlier."""
        segment = self.first(name)
        index = number - 1 if name == "MSH" else number
        return segment[index] if index < len(segment) else ""

    @property
    def code(self):
        return self.field("MSA", 1)

    @property
    def control_id(self):
        return self.field("MSA", 2)

    @property
    def error(self):
        """ERR-3.1, the code of HL7 table 0357."""
        return self.field("ERR", 3).split(self.component)[0]

    @property
    def reason(self):
        return self.field("ERR", 8) or self.field("ERR", 7) or self.field("MSA", 3)

    def __repr__(self):
        return self.bytes.decode("utf-8", "replace").replace("\r", "\\r")


class Mllp:
    """An MLLP client that does what it is told, also what no client should."""

    def __init__(self, port, tls=None, seconds=20, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), seconds * PATIENCE)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.rest = b""

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """The next frame's content as an Ack; None when the peer closed before one was complete."""
        while END not in self.rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self.rest += data
        whole, _, self.rest = self.rest.partition(END)
        return Ack(whole[whole.index(START) + 1:])

    def exchange(self, message):
        self.send(frame(message))
        return self.receive()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def trusting(ca, certificate=None, key=None):
    """A TLS client context that trusts `ca` alone."""
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


Answer = collections.namedtuple("Answer", "status headers body")


def http(url, method="GET", body=None, headers=None):
    """One HTTP exchange on the loopback; JSON in and out where it is JSON."""
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/fhir+json")
    if isinstance(body, str):
        body = body.encode()
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30 * PATIENCE) as got:
            status, kept, data = got.status, got.headers, got.read()
    except urllib.error.HTTPError as refused:
        status, kept, data = refused.code, refused.headers, refused.read()
    if "json" in (kept.get("Content-Type") or "") and data:
        data = json.loads(data)
    return Answer(status, kept, data)


class Engine(Process):
    """`interop run`."""

    def __init__(self, scenario, log, env):
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.started = time.monotonic()
        super().__init__("interop run", [scenario.binary, "run"], log,
                         {**scenario.env, "INTEROP_HTTP": f"127.0.0.1:{self.port}", **env})

    def get(self, path):
        return http(self.base + path)

    def answers(self, path, status=200):
        self.must_run()
        try:
            return self.get(path).status == status
        except OSError:
            return False

    def wait_ready(self, seconds=20):
        wait_for("/readyz", lambda: self.answers("/readyz"), seconds, 0.02)
        return time.monotonic() - self.started

    def metric(self, name, **labels):
        """The sum of a metric's samples that carry these labels; 0 when there is none."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{k}="{v}"' in head for k, v in labels.items()):
                total += float(value)
        return total

    def kill(self):
        return self.end(signal.SIGKILL)

    def stop(self):
        """SIGTERM; exit 0 is part of the contract."""
        code = self.end(signal.SIGTERM)
        if code != 0:
            raise Failed(f"interop run ended with {code} on SIGTERM:\n{self.tail()}")


class Scenario:
    """One scenario's parts, folder and account."""

    def __init__(self, name):
        self.name = name
        self.binary = BINARY             # of the commands and engines that are started next
        self.folder = os.path.join(ROOT, "build", "scenario", name + (".sanitized" if SANITIZED else ""))
        self.checked = 0
        self.parts = []                  # things to end, latest first
        self.logs = 0

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        # The cluster's folder must be open to the user postgres, and its path short.
        self.scratch = tempfile.mkdtemp(prefix="interop-", dir="/var/tmp")
        os.chmod(self.scratch, 0o755)
        self.env = {**{k: v for k, v in os.environ.items() if not k.startswith("INTEROP_")}, "INTEROP_LOG": "json"}
        for name, more in (("ASAN_OPTIONS", ""), ("UBSAN_OPTIONS", ""), ("TSAN_OPTIONS", f" suppressions={ROOT}/tests/scenario/tsan.txt")):
            self.env[name] = f"{self.env.get(name, '')} log_path={self.folder}/{REPORT}{more}".strip()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        print(f"{self.name}: {os.path.relpath(BINARY, ROOT)}", flush=True)
        return self

    def __exit__(self, kind, value, trace):
        for part in reversed(self.parts):
            try:
                part()
            except Exception as failure:  # what fails while tidying up must not hide what failed before
                print(f"{self.name}: while ending: {failure}", flush=True)
                kind = kind or Failed
        shutil.rmtree(self.scratch, ignore_errors=True)
        for report in sorted(glob.glob(os.path.join(self.folder, REPORT + ".*"))):       # also of who was killed afterwards
            with open(report, encoding="utf-8", errors="replace") as file:
                print(f"  FAILED: a sanitizer's report, {os.path.relpath(report, ROOT)}:\n{file.read(4000)}", flush=True)
            kind = kind or Failed
        if kind is None:
            print(f"{self.name}: {self.checked} checks passed", flush=True)
            return False
        if issubclass(kind, SystemExit) and not value.code:
            return False
        if value is not None:
            if issubclass(kind, Failed):
                where = traceback.extract_tb(trace)[0] if trace else None
                print(f"  FAILED: {value}" + (f"  ({os.path.basename(where.filename)}:{where.lineno})" if where else ""))
            else:
                traceback.print_exception(kind, value, trace)
        print(f"{self.name}: failed after {self.checked} checks; logs in {os.path.relpath(self.folder, ROOT)}", flush=True)
        sys.exit(1)

    # -- what was checked

    def say(self, text):
        print(f"  {text}", flush=True)

    def left_out(self, what):
        print(f"  left out: {what}", flush=True)

    def check(self, holds, text, detail=""):
        if not holds:
            raise Failed(f"{text}{': ' if detail else ''}{detail}")
        self.checked += 1
        self.say(f"ok: {text}")

    def equal(self, got, want, text):
        self.check(got == want, text, f"got {got!r}, want {want!r}")

    # -- the parts

    def log(self, name):
        self.logs += 1
        return os.path.join(self.folder, f"{self.logs:02}-{name}.log")

    def postgres(self, *settings):
        """A cluster; the commands and engines started after it use it."""
        pg = Postgres(os.path.join(self.scratch, f"pg{self.logs}"), self.log("postgres"), settings)
        self.parts.append(pg.stop)
        self.env["INTEROP_OWNER_DATABASE_URL"] = pg.owner_url
        self.env["INTEROP_DATABASE_URL"] = pg.engine_url
        return pg

    def nats(self):
        nats = Nats(os.path.join(self.scratch, f"nats{self.logs}"), self.log("nats"))
        self.parts.append(nats.stop)
        self.env["INTEROP_NATS_URL"] = nats.url
        return nats

    def run(self, *args, code=0, stdin=None, env=None, seconds=120):
        """`interop ARGS`, to its end; Failed unless it exits with `code` (None: any)."""
        argv = [str(arg) for arg in args]
        done = subprocess.run([self.binary, *argv], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                              capture_output=True, env={**self.env, **(env or {})}, cwd=ROOT, check=False,
                              timeout=seconds * PATIENCE)
        with open(os.path.join(self.folder, "commands.log"), "ab") as log:
            log.write(f"$ interop {' '.join(argv)}\n".encode() + done.stdout + done.stderr +
                      f"-> {done.returncode}\n".encode())
        if code is not None and done.returncode != code:
            raise Failed(f"interop {' '.join(argv)} exited {done.returncode}, not {code}: "
                         f"{done.stderr.decode(errors='replace').strip()[-2000:]}")
        return done

    def interop(self, *args, **options):
        """The same; standard output as text."""
        return self.run(*args, **options).stdout.decode()

    def interop_json(self, *args, **options):
        """The same with `--format json`; one value, or a list of those that stand a line each."""
        text = self.interop(*args, "--format", "json", **options)
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return [json.loads(line) for line in text.splitlines() if line.strip()]

    def cases(self, functions):
        """Those whose names begin with an argument of the command line, without one all; each is announced."""
        wanted = [case for case in functions if not sys.argv[1:] or any(case.__name__.startswith(a) for a in sys.argv[1:])]
        if not wanted:
            raise Failed(f"no case begins with {' or '.join(sys.argv[1:])}")
        for case in wanted:
            self.say(f"-- {case.__name__}: {' '.join((case.__doc__ or '').split())}")
            yield case

    def engine(self, ready=True, **env):
        engine = Engine(self, self.log("engine"), {key: str(value) for key, value in env.items()})
        self.parts.append(lambda: engine.end(signal.SIGTERM) if engine.running() else None)
        if ready:
            engine.wait_ready()
        return engine

    def fhir_demo(self, *args, port=None):
        """The demo FHIR store on a port of its own; returns its base URL. The process is `self.demo`."""
        port = port or free_port()
        demo = Process("interop fhir-demo", [self.binary, "fhir-demo", "--http", f"127.0.0.1:{port}", *args], self.log("fhir-demo"),
                       self.env)
        self.demo = demo
        self.parts.append(lambda: demo.end(signal.SIGTERM) if demo.running() else None)
        base = f"http://127.0.0.1:{port}/fhir"

        def answers():
            demo.must_run()
            try:
                return http(base + "/metadata").status == 200
            except OSError:
                return False
        wait_for("the demo FHIR store", answers)
        return base

    def tap(self, target):
        tap = Tap(target)
        self.parts.append(tap.close)
        return tap

    def mllp(self, port, tls=None, host="127.0.0.1"):
        client = Mllp(port, tls, host=host)
        self.parts.append(client.close)
        return client
