"""An attacker's scripts, and a victim beside whom they run: for the scenario, which checks that
each is contained, and for `scripts/bench containment`, which measures what the victim feels.

The attacker's handler chooses its attack by the patient's family name."""
import os
import threading
import time

from harness import Failed, free_port, frame, wait_for
from promises_books import adt

BUDGET_MS = 50
CPU = "CPU time budget of 50 ms spent"
MEMORY = "memory budget of 64 MiB spent"
EITHER = "budget of"                     # CPU, memory or output, whichever this machine meets first

# Name, body of a handler, and what error_detail must hold.
ATTACKS = [
    ("loop", "while true do end", CPU),
    ("goto", "::a:: goto a", CPU),
    ("pcall", "local function f() while true do end end while true do pcall(f) end", CPU),
    ("xpcall", "local function f() while true do end end while true do xpcall(f, f) end", CPU),
    ("nested", "local function f() pcall(f) f() end while true do pcall(f) end", CPU),
    ("closing", "local m = {} local t = setmetatable({}, m) m.__close = function() while true do end end "
                "while true do pcall(function() local x <close> = t end) end", CPU),
    ("memory", "local t = {} for i = 1, 1e9 do t[i] = { i } end", EITHER),
    ("text", "local s = 'x' while true do s = s .. s end", EITHER),
    ("garbage", "while true do local s = ('x'):rep(8000000) end", EITHER),
    ("rep", "local s = ('x'):rep(1 << 40)", MEMORY),
    ("rep_caught", "pcall(string.rep, 'x', 1 << 40) out:event 'survived'", MEMORY),
    ("room", "local s = ('x'):rep(1 << 20):rep(63)", MEMORY),     # refused before a byte of it is written
    ("pattern", "('a'):rep(1500):find '.-.-.-.-.-b'", CPU),
    ("pattern_set", r"('x'):find('[' .. ('\0-\255'):rep(1000):rep(1000) .. ']')", "pattern of more than 4096 bytes"),
    ("recursion", "local function f() return 1 + f() end f()", EITHER),
    ("recursion_caught", "local function f(n) if n == 0 then while true do end end return 1 + f(n - 1) end "
                         "while true do pcall(f, 190000) end", EITHER),
    ("call_chain", "local t = {} setmetatable(t, { __call = t }) t()", CPU),
    ("concat", "table.concat(setmetatable({}, { __index = function() return '' end, __len = function() return 1 << 60 end }))", CPU),
    ("move", "table.move({}, 1, 1 << 60, 2)", CPU),
    ("sort", "local t = {} for i = 1, 100 do t[i] = i end while true do table.sort(t, function() return true end) end", CPU),
    ("unpack", "table.unpack({}, 1, 1e8)", "too many results"),
    ("format", "string.format('%99999d', 1)", "invalid conversion"),
    ("tostring", "error(setmetatable({}, { __tostring = function() while true do end end }))", CPU),
    ("bytes", r"error('\255\0' .. ('\xc3'):rep(400))", "main.lua:"),
    ("coroutine", "coroutine.wrap(function() while true do end end)()", "'coroutine'"),
    ("debug", "debug.sethook()", "'debug'"),
    ("load", "load('while true do end')()", "'load'"),
    ("finalizer", "setmetatable({}, { __gc = function() while true do end end })", "__gc is not for scripts"),
    ("metatable", "getmetatable('').__index = nil", "attempt to index a string value"),
    ("poison", "string.find = nil", "'find' cannot be set: the table is read-only"),
    ("poison_pairs", "local _, t = pairs(string) t.format = nil", "the table is read-only"),
    ("poison_globals", "local _, t = pairs(_ENV) t.pairs = nil", "global 'pairs' cannot be set"),
    ("poison_settings", "local _, t = pairs(msg.settings) t.x = 1", "the table is read-only"),
    ("require", "require 'endless'", CPU),
    ("copies", "while true do msg:copy { ['PID-60000'] = 'x' } end", EITHER),
    ("repetitions", "local m = require 'hl7'.parse('MSH|^~\\\\&|\\rPID|||' .. ('~'):rep(1000000)) "
                    "while true do m:copy { ['PID-3[1]'] = 'x' } end", EITHER),
    ("messages", "require 'hl7'.parse('MSH|^~\\\\&|' .. ('\\r'):rep(1000):rep(5000))", "a message of more than 4194304 bytes"),
    ("json", "require 'json'.decode('[' .. ('1,'):rep(1000):rep(3000) .. '1]')", "json: text of more than"),
    ("deep", "local r = { resourceType = 'Basic' } local t = r for i = 1, 1000 do t.a = {} t = t.a end t.b = 1 out:put(r)",
     "nested too deeply"),
    ("circle", "local t = { resourceType = 'Basic' } t.t = t out:put(t)", "nested too deeply"),
    ("wide", "local t = { 1, 1, 1, 1 } for i = 1, 40 do t = { t, t, t, t } end out:put { resourceType = 'Basic', t = t }",
     EITHER),
    ("long", "local s = ('x'):rep(9000000) out:put { resourceType = 'Basic', a = s, b = s }", EITHER),
    ("resources", "for i = 1, 1e9 do out:put { resourceType = 'Basic' } end", ""),
    ("events", "for i = 1, 1e9 do out:event 'e' end", "more than 1000 events of one message"),
    ("event", "out:event('e', { x = ('x'):rep(66000) })", "more than 64 KiB of data"),
    ("event_nul", r"out:event('e', { x = '\0' })", "the result cannot be stored"),
    ("event_number", "out:event('e', require 'json'.number '1e999999')", "the result cannot be stored"),
    ("header", r"out:put({ resourceType = 'Basic' }, { if_none_exist = 'a=b\r\nX-Evil: 1' })", "a control character"),
]
STORM = ["loop", "pcall", "memory", "garbage", "pattern", "call_chain", "recursion_caught", "wide"]

# Loading takes three budgets: the next message after one that broke its budget pays for it.
SLOW_TO_LOAD = "for i = 1, 15000000 do end\n"


def write_pack(folder, name, main, **files):
    folder = os.path.join(folder, "packs", name)
    os.makedirs(folder, exist_ok=True)
    for file, text in {"pack": f'return {{ name = "{name}", version = "1", handlers = {{ ["*"] = "main" }} }}\n',
                       "main": main, **files}.items():
        with open(os.path.join(folder, file + ".lua"), "w", encoding="utf-8") as out:
            out.write(text)
    return folder


def attacker_pack(folder, top=""):
    handlers = "".join(f"a[\"{name}\"] = function(msg, out)\n{body}\nend\n" for name, body, _ in ATTACKS)
    return write_pack(folder, "attacker", f"{top}local a = {{}}\n{handlers}return function(msg, out)\n"
                      "  local f = a[msg:get 'PID-5.1']\n  if f then f(msg, out) else assert(#string.format('%s', 1) == 1) end\nend\n",
                      endless="while true do end\n")


def victim_pack(folder):
    return write_pack(folder, "plain", "return function(msg, out)\n  for s in msg:segments() do for i = 1, 20 do s:get(i) end end\nend\n")


def connector(s, tenant, name, pack, *more):
    """An active connector; its port."""
    port = free_port()
    s.interop("connector", "add", "--tenant", tenant, "--name", name, "--protocol", "mllp", "--direction", "inbound",
              "--port", port, "--pack", pack, "--activate", "--set", "max_attempts=1", *more)
    return port


def client_of(s, port):
    def connected():
        try:
            return s.mllp(port)
        except OSError:
            return None
    return wait_for(f"port {port}", connected)


def send(client, control_id, mrn, family):
    ack = client.exchange(adt(control_id, mrn, family))
    if ack is None or ack.code != "AA":
        raise Failed(f"{control_id} was not acknowledged: {ack!r}")


class Storm:
    """Attacks at a steady rate until `stop`, more than the threads can take."""

    def __init__(self, s, port, prefix, per_second=12):
        self.client = client_of(s, port)
        self.prefix = prefix
        self.pause = 1 / per_second
        self.sent = 0
        self.failure = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.stopping.wait(self.pause):
                send(self.client, f"{self.prefix}{self.sent}", f"{self.prefix}{self.sent}", STORM[self.sent % len(STORM)])
                self.sent += 1
        except Exception as failure:     # shown by `stop`, in the thread that can fail the scenario
            self.failure = failure

    def stop(self):
        self.stopping.set()
        self.thread.join()
        if self.failure:
            raise self.failure


def p99(values):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * 99 // 100)]


def calm(pg):
    wait_for("every message to end", lambda: pg.value("select count(*) from hl7_messages where processing_status in "
                                                      "('pending', 'processing', 'failed')") == 0, 120, 0.1)


def victim_round(pg, client, prefix, messages, pause=0.005):
    """Sends one message after the other; p99 in ms from sending to ACK, and from sending to processed."""
    acks, sent = [], {}
    for n in range(messages):
        began = time.monotonic()
        sent[f"{prefix}{n}"] = time.time()
        send(client, f"{prefix}{n}", f"M{prefix}{n % 20}", "Hartmann")
        acks.append((time.monotonic() - began) * 1000)
        time.sleep(pause)
    done = {}

    def all_processed():
        done.update((row["id"], row["at"]) for row in pg.rows(
            "select message_control_id id, extract(epoch from processed_at)::float8 at from hl7_messages "
            f"where message_control_id like '{prefix}%' and processing_status = 'processed'"))
        return len(done) == messages
    wait_for(f"the victim's messages {prefix}…", all_processed, 60, 0.1)
    return p99(acks), p99([(done[i] - sent[i]) * 1000 for i in sent])


def rounds(s, pg, victim, attackers, count, messages):
    """Alone and under attack by turns: the two lists of (ACK, processed) p99, in ms."""
    alone, attacked = [], []
    client = client_of(s, victim)
    victim_round(pg, client, "warm", messages // 2)
    for n in range(count):
        alone.append(victim_round(pg, client, f"alone{n}-", messages))
        storms = [Storm(s, port, f"storm{n}-{i}-") for i, port in enumerate(attackers)]
        time.sleep(0.3)                  # until the threads have more than they can take
        attacked.append(victim_round(pg, client, f"under{n}-", messages))
        for storm in storms:
            storm.stop()
        calm(pg)
    return alone, attacked


def median(values):
    return sorted(values)[len(values) // 2]
