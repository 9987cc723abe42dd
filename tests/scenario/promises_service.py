"""A FHIR service that can fail in every way that the field knows: a proxy in front of the
demo store. Its base is http://127.0.0.1:PORT/TENANT/fhir, and each tenant has a mood:

    pass             hands on, answers
    drop             hands on, then closes the connection without the answer
    a number         answers with that status, and hands nothing on
    a fraction       hands on that many seconds later, answers
    (number, words)  the same, to requests that hold these words; the others pass
"""
import collections
import http.client
import json
import re
import socket
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from promises_books import pack_folder, site


class Service:
    def __init__(self, s, demo):
        self.demo = urllib.parse.urlsplit(demo)
        self.moods = {}                  # tenant -> mood
        self.times = {}                  # tenant -> how many requests more the mood lasts
        self.requests = []               # (tenant, method, path, body, status)
        self.errand = "no"               # what refusals say
        self.port = 0
        self.server = None
        self.links = []
        self.open()
        s.parts.append(self.close)

    def open(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def answer(self):
                service.answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def setup(self):
                super().setup()
                service.links.append(self.connection)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass                     # who asked has gone

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/{{tenant}}/fhir"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        """Refuses connections from here on, and ends those that are open."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        for link in self.links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass                     # it has ended
        self.links.clear()

    def base(self, tenant):
        return self.url.replace("{tenant}", tenant)

    def be(self, tenant, mood, times=None):
        self.times[tenant] = times
        self.moods[tenant] = mood

    def seen(self, tenant):
        return [r for r in self.requests if r[0] == tenant]

    def mood(self, tenant):
        mood, times = self.moods.get(tenant, "pass"), self.times.get(tenant)
        if times is not None:
            self.times[tenant] = times - 1
            if times <= 0:
                self.moods[tenant] = mood = "pass"
        return mood

    def answer(self, request):
        _, tenant, rest = request.path.split("/", 2)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        mood = self.mood(tenant)
        if isinstance(mood, tuple):
            mood = mood[0] if mood[1] in body or mood[1] in rest.encode() else "pass"
        if isinstance(mood, int):
            self.requests.append((tenant, request.command, rest, body, mood))
            self.reply(request, mood, [], json.dumps({"resourceType": "OperationOutcome", "issue": [
                {"severity": "error", "code": "processing", "diagnostics": self.errand}]}).encode())
            return
        if isinstance(mood, float):
            time.sleep(mood)
        link = http.client.HTTPConnection(self.demo.hostname, self.demo.port, timeout=60)
        link.request(request.command, "/" + rest, body or None,
                     {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length", "connection")})
        got = link.getresponse()
        data = got.read()
        link.close()
        self.requests.append((tenant, request.command, rest, body, got.status))
        if mood == "drop":
            request.close_connection = True
            return
        self.reply(request, got.status, [(k, v) for k, v in got.getheaders() if k.lower() in (
            "content-type", "location", "etag", "last-modified")], data)

    @staticmethod
    def reply(request, status, headers, data):
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


def one_at_a_time(s, pg, service, tenant):
    """A connector whose messages each make one request, which holds the control id, and no two at once; its port."""
    folder = pack_folder(s, tenant, 'return function(msg, out) out:put({ resourceType = "Patient", identifier = { { system = "urn:x", '
                                    f'value = msg:get "MSH-10" }} }} }}, {{ to = "{tenant}" }}) end\n')
    pg.psql("insert into fhir_services (id, tenant_id, name, url, concurrency) values "
            f"('SVC_{tenant}', '{tenant}', '{tenant}', '{service.base(tenant)}', 1)")
    return site(s, pg, None, tenant, None, tenant, "--pack", folder)


def control_ids(service, tenant):
    """How often the service was asked for each of such messages."""
    return collections.Counter(re.search(rb'"urn:x","value":"([^"]+)"', body).group(1).decode()
                               for _, _, _, body, _ in service.seen(tenant))
