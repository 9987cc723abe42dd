#!/usr/bin/env python3
"""The harness itself: a check that fails must fail, and the parts must be the real ones."""
import os
import socket
import subprocess
import sys
import threading

from harness import Ack, Failed, Mllp, Scenario, Tap, frame, frames


def echo_server():
    """Answers each frame with AA; for the tap and the client."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            data = client.recv(65536)
            while data:
                client.sendall(frame(b"MSH|^~\\&|B|||||x|ACK|9|P|2.5\rMSA|AA|7|fine\rERR|||101^gone^HL70357|E\r"))
                data = client.recv(65536)
            client.close()
    threading.Thread(target=serve, daemon=True).start()
    return listener


def main():
    with Scenario("harness") as s:
        pg = s.postgres()
        s.equal(pg.value("select current_setting('fsync')"), "on", "the private PostgreSQL has fsync on")
        pg.psql("create table t (n int, x text); insert into t values (1, 'a|b'), (2, null);")
        s.equal(pg.rows("select * from t order by n"), [{"n": 1, "x": "a|b"}, {"n": 2, "x": None}], "rows come as JSON")
        s.check("division by zero" in pg.refused("select 1 / 0;"), "an SQL error is told")
        pg.kill()
        s.check(not pg.ready(), "a killed PostgreSQL is gone")
        pg.start()
        s.equal(pg.value("select count(*) from t"), 2, "and has its rows after a restart")

        nats = s.nats()
        nats.request("$JS.API.STREAM.CREATE.seen", b'{"name":"seen","subjects":["seen.>"]}')
        for n in range(3):
            nats.request("seen.it", b"%d" % n)
        s.equal([payload for _, _, payload in nats.messages("seen")], [b"0", b"1", b"2"], "JetStream keeps what was sent")

        server = echo_server()
        tap = Tap(server.getsockname()[1])
        with Mllp(tap.port) as client:
            ack = client.exchange(b"MSH|^~\\&|A\rPID|1\r")
        s.equal((ack.code, ack.control_id, ack.error), ("AA", "7", "101"), "an acknowledgement is read")
        tap.connections[0].ended.wait(5)
        s.equal(frames(tap.connections[0].sent), [b"MSH|^~\\&|A\rPID|1\r"], "the tap keeps the client's exact bytes")
        s.equal(Ack(frames(tap.connections[0].answered)[0]).code, "AA", "and the server's")
        server.close()

        # Called again with an argument this file is a scenario that fails.
        broken = subprocess.run([sys.executable, __file__, "broken"], capture_output=True, text=True, check=False)
        s.equal(broken.returncode, 1, "a scenario whose check fails exits 1")
        s.check("FAILED: two is three: got 2, want 3" in broken.stdout, "and says which", broken.stdout)
        pid = int(next(line for line in broken.stdout.splitlines() if "postmaster" in line).split()[-1])
        s.check(not os.path.exists(f"/proc/{pid}"), "and leaves no PostgreSQL behind")
        try:
            s.run("--no-such-option", code=99)
        except (Failed, FileNotFoundError):
            s.check(True, "a command that exits otherwise than expected fails")


def broken():
    with Scenario("harness-broken") as s:
        s.say(f"postmaster {s.postgres().process.pid}")
        s.equal(2, 3, "two is three")


broken() if sys.argv[1:] == ["broken"] else main()
