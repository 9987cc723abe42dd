"""PostgreSQL as it fails: servers that are copied from each other, a way to them that breaks off,
a disk that is small; and what the scenarios of these faults share."""
import glob
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from harness import PATIENCE, Failed, Postgres, Scenario, frame, free_port, listening, wait_for
from promises_books import Load, adt, check_books, settled, site

BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
# PostgreSQL refuses to run as root.
AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"] if os.geteuid() == 0 else []


def as_postgres(*argv):
    done = subprocess.run([*AS_POSTGRES, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode != 0:
        raise Failed(f"{argv[0]}: {done.stderr.strip()}")


def descendants(pid):
    """A process and all below it."""
    found = [pid]
    for parent in found:
        try:
            with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
        except OSError:
            pass
    return found


class Server(Postgres):
    """A cluster that is reached through TCP, too. `copy_of`: a standby of that one, which calls itself `name`."""

    def __init__(self, s, name, copy_of=None, settings=()):
        self.name = name
        self.port = free_port()
        folder = os.path.join(s.scratch, name)
        if copy_of is not None:
            os.mkdir(folder, 0o700)
            if AS_POSTGRES:
                subprocess.run(["chown", "postgres:postgres", folder], check=True)
            as_postgres(os.path.join(BIN, "pg_basebackup"), "-D", os.path.join(folder, "data"), "-d", copy_of.owner_url, "-R",
                        "-X", "stream", "-c", "fast")
            as_postgres("touch", os.path.join(folder, "made"))
        super().__init__(folder, s.log(name), ["listen_addresses=127.0.0.1", f"port={self.port}", f"cluster_name={name}", *settings])
        s.parts.append(self.stop)

    def _script(self, verb):
        said = super()._script(verb)
        return f"{said}&port={self.port}" if verb == "url" else said

    def held(self, sig):
        """SIGSTOP: all of its processes hang, as on a machine that is suspended; SIGCONT: they go on."""
        for pid in descendants(self.process.pid):
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass

    def stop(self, sig=signal.SIGINT):
        self.held(signal.SIGCONT)
        super().stop(sig)


def both(role, *servers):
    """Their URL for a role, as an operator writes it."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://{role}@{hosts}/interop?target_session_attrs=read-write"


class Cutter:
    """A TCP way to a server that breaks off where it is told to. Connections are told apart by
    the application name that they begin with."""

    def __init__(self, s, pg):
        self.socket_path = os.path.join(pg.socket_folder(), ".s.PGSQL.5432")
        self.links = []                  # (link, client, server)
        self.armed = None                # (name, of the server's bytes, how many are left, event)
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"postgresql://engine@127.0.0.1:{self.listener.getsockname()[1]}/interop"
        threading.Thread(target=self._accept, daemon=True).start()
        s.parts.append(self.listener.close)

    def cut(self, name, answers, after):
        """The next connection of that name on which `after` bytes have passed, of the server's `answers`
        or of the client's, ends behind them. Returns an event for when it has."""
        done = threading.Event()
        with self.lock:
            self.armed = [name, answers, after, done]
        return done

    def cut_now(self, name):
        """All connections of that name end, whatever is under way."""
        for link, client, server in self.links:
            if link["name"].startswith(name):
                self._end(client, server)

    @staticmethod
    def _end(*ends):
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def disarm(self):
        with self.lock:
            self.armed = None

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.socket_path)
            except OSError:
                client.close()
                continue
            link = {"name": b"", "begin": b""}
            self.links.append((link, client, server))
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._relay, args=(link, source, sink, answers), daemon=True).start()

    def _share(self, link, answers, data):
        """How much of it passes; all: None."""
        with self.lock:
            if self.armed is None or not link["name"].startswith(self.armed[0]) or answers != self.armed[1]:
                return None
            self.armed[2] -= len(data)
            if self.armed[2] > 0:
                return None
            self.armed[3].set()
            left, self.armed = self.armed[2], None
            return len(data) + left

    def _relay(self, link, source, sink, answers):
        try:
            while data := source.recv(65536):
                if not answers and not link["name"] and len(link["begin"]) < 4096:
                    link["begin"] += data
                    found = re.search(rb"application_name\0([^\0]*)\0", link["begin"])
                    link["name"] = found[1] if found else b""
                share = self._share(link, answers, data)
                sink.sendall(data if share is None else data[:share])
                if share is not None:
                    break
        except OSError:
            pass
        self._end(source, sink)          # both ways at once, as when a router goes


class SmallDisk:
    """A cluster whose tables and whose log are on small disks of their own, which can be filled: tmpfs
    in a mount namespace, made by who may. `refused` says why there is none."""

    WAYS = ([["unshare", "--mount"]] if AS_POSTGRES else []) + \
        [[*AS_POSTGRES, "unshare", "--map-current-user", "--mount", "--keep-caps"]]

    def __init__(self, s, sizes):
        self.refused = None
        self.log = s.log("small")
        self.folder = os.path.join(s.scratch, "small")
        for way in self.WAYS:
            done = subprocess.run([*way, "sh", "-c", "mount -t tmpfs tmpfs /mnt"], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, cwd="/", check=False)
            if done.returncode == 0:
                break
            self.refused = done.stderr.strip().splitlines()[-1] if done.stderr else "unshare failed"
        else:
            return
        self.refused = None
        self.inner = AS_POSTGRES if way[0] == "unshare" else []
        pg = Postgres(self.folder, s.log("postgres"), ["wal_level=minimal", "max_wal_senders=0"])
        s.env["INTEROP_OWNER_DATABASE_URL"], s.env["INTEROP_DATABASE_URL"] = pg.owner_url, pg.engine_url
        self.pg = pg
        s.interop("migrate")
        pg.stop()
        data = os.path.join(self.folder, "data")
        as_postgres(os.path.join(BIN, "pg_resetwal"), "--wal-segsize=1", "-D", data)
        self.shell = subprocess.Popen([*way, "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      text=True, cwd="/")
        s.parts.append(self.end)
        for name, more_kb in sizes.items():
            at = os.path.join(data, name)
            self.do(f"mv {at} {at}.was && mkdir -m 700 {at} && mount -t tmpfs -o mode=700,size=$(( $(du -sk {at}.was | cut -f1)"
                    f" + {more_kb} ))k tmpfs {at} && cp -a {at}.was/. {at}/ && chown --reference={at}.was {at}")
        self.start()

    def do(self, command):
        """Runs it where the disks are to be seen; its exit code must be 0 unless it ends with `|| true`."""
        self.shell.stdin.write(f"{{ {command} ; }} 2>&1; echo \"=$?\"\n")
        self.shell.stdin.flush()
        said = []
        while True:
            line = self.shell.stdout.readline()
            if line.startswith("=") or not line:
                break
            said.append(line)
        if line.strip() != "=0":
            raise Failed(f"{command}: {''.join(said)}")
        return "".join(said)

    def start(self):
        argv = " ".join([*self.inner, "setpriv", "--pdeathsig", "QUIT", os.path.join(BIN, "postgres"), "-D",
                         os.path.join(self.folder, "data"), "-c listen_addresses= -c max_wal_size=4MB -c min_wal_size=2MB",
                         "-c wal_level=minimal -c max_wal_senders=0 -c checkpoint_timeout=30s",
                         f"-c unix_socket_directories={self.pg.socket_folder()}"])
        self.pid = int(self.do(f"{argv} </dev/null >>{self.log} 2>&1 & echo $!").split()[0])
        wait_for("PostgreSQL on the small disk", self.pg.ready)

    def running(self):
        try:
            with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as file:
                return file.read().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def fill(self, name):
        """Takes what is free there now; PostgreSQL may free more."""
        self.do(f"dd if=/dev/zero of={self.folder}/data/{name}/ballast bs=4k oflag=append conv=notrunc 2>/dev/null || true")

    def fill_log(self):
        """Fills the log's disk, and uses up the segments that PostgreSQL holds in reserve there, until it ends."""
        def ended():
            self.fill("pg_wal")
            try:
                self.pg.psql("select txid_current(); select pg_switch_wal();\n" * 16)
            except Failed:               # no room, or no PostgreSQL any more
                pass
            return not self.running()
        wait_for("PostgreSQL to end", ended, 60)

    def make_room(self, name):
        self.do(f"rm {self.folder}/data/{name}/ballast")

    def end(self):
        if self.running():
            self.do(f"kill -QUIT {self.pid} || true")
            wait_for("PostgreSQL to end", lambda: not self.running())
        self.shell.stdin.close()
        self.shell.wait(20)


class Site:
    """One database for all cases, with an engine for each; the books are of all loads so far."""

    def __init__(self, s):
        self.s = s
        self.pg = s.postgres()
        self.nats = s.nats()
        s.interop("migrate")
        self.base = s.fhir_demo()
        self.port = site(s, self.pg, self.base)
        self.loads = []
        self.singles = []                # control ids of messages sent one by one, acknowledged

    def load(self, messages=60, connections=6, pause=0.0):
        self.loads.append(Load(self.port, f"L{len(self.loads)}x", connections, 4, messages, pause=pause))
        return self.loads[-1]

    def engine(self, **env):
        """One that gives a statement two seconds; its /readyz is silent for a third of one at most."""
        engine = self.s.engine(**{"INTEROP_DATABASE_PATIENCE": "2s", **env})
        wait_for("the listener", lambda: listening(self.port))
        return engine

    def send(self, *control_ids):
        """Messages, each on a connection of its own, not yet answered."""
        clients = []
        for control_id in control_ids:
            clients.append(self.s.mllp(self.port))
            clients[-1].send(frame(adt(control_id, mrn=control_id)))
        self.singles += control_ids
        return clients

    def balance(self):
        settled(self.s, self.pg, 60)
        for control_id in self.singles:
            rows = self.pg.value(f"select count(*) n from hl7_messages where message_control_id = '{control_id}'")
            if rows != 1:
                self.s.equal(rows, 1, f"{control_id} is stored once")
        check_books(self.s, self.pg, self.nats, self.base, self.loads, True)


def told(engine, event):
    return [entry for entry in map(json.loads, engine.text().splitlines()) if entry["event"] == event]


def not_ready(s, engine, says, seconds=10):
    """In a while, /readyz is 503 and says why."""
    seen = []

    def look():
        ready = engine.get("/readyz")
        seen[:] = [ready]
        return ready.status == 503 and says in str(ready.body)
    try:
        wait_for("/readyz", look, seconds, 0.05)
    except Exception:
        s.equal(seen[0], says, "what /readyz says")
    s.check(True, f"/readyz is 503 and says: {says}")


def refused_or_silent(s, clients, seconds=0.5):
    """Nobody was told that their message is safe."""
    for client in clients:
        client.socket.settimeout(seconds)
        try:
            ack = client.receive()
        except TimeoutError:
            ack = None
        s.check(ack is None or ack.code != "AA", "meanwhile there is no positive acknowledgement")
        client.socket.settimeout(30 * PATIENCE)


def answered(s, clients):
    try:
        codes = [client.receive().code for client in clients]
    except TimeoutError:
        codes = "none in time"
    s.equal(codes, ["AA"] * len(clients), "the acknowledgements come")


def run_cases(name, cases):
    """Those whose names begin with an argument; without one, all."""
    with Scenario(name) as s:
        x = Site(s)
        for case in s.cases(cases):
            began = time.monotonic()
            case(x)
            s.say(f"({time.monotonic() - began:.1f} s)")
