/* Attacks on the sandbox: each ends within its budget, says what it was, and leaves
 * the process as it was; the state can be used again unless a budget was spent. */
#include "support.h"

#include "base/clock.h"
#include "base/sanitizer.h"

enum { SLOWED = UNDER_ASAN || UNDER_TSAN ? 10 : 1 };     /* how many times the CPU time a script may need */

typedef struct attack {
    const char *name;
    const char *body;                    /* of the handler */
    err         expected;
    const char *text;                    /* in the error */
} attack;

static const attack attacks[] = {
    { "endless loop", "while true do end", ERR_BUDGET, "CPU time budget of 300 ms spent" },
    { "endless loop, line", "\n\n while true do end", ERR_BUDGET, "main.lua:3: CPU time" },
    { "pcall loop", "local function f() while true do end end while true do pcall(f) end", ERR_BUDGET, "CPU" },
    { "pcall in pcall", "local function f() pcall(f) f() end while true do pcall(f) end", ERR_BUDGET, "CPU" },
    { "xpcall loop", "while true do xpcall(function() while true do end end, function() while true do end end) end",
      ERR_BUDGET, "CPU" },
    { "for loop", "for i = 1, 1e15 do end", ERR_BUDGET, "CPU" },
    { "goto loop", "::a:: goto a", ERR_BUDGET, "CPU" },
    { "memory bomb", "local t = {} for i = 1, 1e9 do t[i] = { i } end", ERR_BUDGET, "memory budget of 64 MiB spent" },
    { "memory bomb, caught", "while true do pcall(function() local t = {} for i = 1, 1e9 do t[i] = { i } end end) end",
      ERR_BUDGET, "memory budget" },
    { "text bomb", "local s = 'x' while true do s = s .. s end", ERR_BUDGET, "memory budget" },
    { "rep", "local s = ('x'):rep(1 << 40)", ERR_BUDGET, "memory budget" },
    { "rep of nothing", "local s = (''):rep(1 << 60)", ERR_OK, "" },
    { "rep, caught", "pcall(string.rep, 'x', 1 << 40) out:event 'survived'", ERR_BUDGET, "memory budget" },
    { "wide format", "string.format('%99999d', 1)", ERR_SCRIPT, "invalid" },
    { "pattern bomb", "('a'):rep(1500):find('.-.-.-.-.-b')", ERR_BUDGET, "CPU" },
    { "pattern bomb, gsub", "('a'):rep(3000):gsub('.-.-.-.-b', '')", ERR_BUDGET, "CPU" },
    { "pattern bomb, gmatch", "for _ in ('a'):rep(3000):gmatch('.-.-.-.-b') do end", ERR_BUDGET, "CPU" },
    { "pattern bomb, caught", "while true do pcall(string.find, ('a'):rep(3000), '.-.-.-.-b') end", ERR_BUDGET, "CPU" },
    { "long pattern", "('x'):find('[' .. ('\\0-\\255'):rep(2000000) .. ']')", ERR_SCRIPT, "pattern of more than 4096 bytes" },
    { "call of itself", "local t = {} setmetatable(t, { __call = t }) t()", ERR_BUDGET, "CPU" },
    { "call of itself, later", "local m = {} local t = setmetatable({}, m) m.__call = t while true do pcall(t) end", ERR_BUDGET, "CPU" },
    { "calls in a row", "local f = function() end for i = 1, 50 do f = setmetatable({}, { __call = f }) end f()", ERR_OK, "" },
    { "long concat", "table.concat(setmetatable({}, { __index = function() return '' end, __len = function() return 1 << 60 end }))",
      ERR_BUDGET, "CPU" },
    { "long insert", "table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)", ERR_BUDGET, "CPU" },
    { "long remove", "table.remove(setmetatable({}, { __len = function() return 1 << 60 end }), 1)", ERR_BUDGET, "CPU" },
    { "long move", "table.move({}, 1, 1 << 60, 2)", ERR_BUDGET, "CPU" },
    { "long unpack", "table.unpack({}, 1, 1e8)", ERR_SCRIPT, "too many results" },
    { "sort by the clock", "local t = {} for i = 1, 3000 do t[i] = { k = 5, i = i } end for _, i in ipairs { 1, 1500, 3000 } do "
      "t[i].k = 0 end table.sort(t, function(a, b) return a.k < b.k end) for i = 4, 2999 do assert(t[i].i < t[i + 1].i, i) end",
      ERR_OK, "" },
    { "sort by nonsense", "local t, n = {}, 0 for i = 1, 5000 do t[i] = i end "
      "table.sort(t, function() n = n + 1 return n % 3 == 0 end) assert(#t == 5000)", ERR_OK, "" },
    { "sort within a sort", "local t = { 3, 2, 1 } table.sort(t, function(a, b) table.sort(t) return a < b end) "
      "assert(table.concat(t) == '123')", ERR_OK, "" },
    { "long sort", "local t = {} for i = 1, 1e6 do t[i] = -i end while true do table.sort(t, math.ult) end",
      ERR_BUDGET, "" },
    { "deep recursion", "local function f() return 1 + f() end f()", ERR_BUDGET, "memory budget" },
    { "deep loop", "local function f(n) if n == 0 then while true do end end return 1 + f(n - 1) end while true do pcall(f, 190000) end",
      ERR_BUDGET, "CPU" },
    { "deep pcall", "local function f() pcall(f) end f() out:event 'fine'", ERR_OK, "" },
    { "__index chain", "local t = {} for i = 1, 1e5 do t = setmetatable({}, { __index = t }) end return t.x",
      ERR_SCRIPT, "" },
    { "deep result", "local t = {} local r = t for i = 1, 1000 do t.a = {} t = t.a end t.b = 1 r.resourceType = 'Basic' out:put(r)",
      ERR_SCRIPT, "Basic.a.a" },
    { "circular result", "local t = { resourceType = 'Basic', a = 1 } t.t = t out:put(t)", ERR_SCRIPT, "nested too deeply" },
    { "huge result", "for i = 1, 1e6 do out:event('e', { x = ('x'):rep(4000) }) end", ERR_BUDGET,
      "output budget of 1 MiB spent" },
    { "huge result, caught", "while true do pcall(out.event, out, 'e', { x = ('x'):rep(4000) }) end", ERR_BUDGET, "output" },
    { "many resources", "for i = 1, 1e6 do out:put { resourceType = 'Basic' } end", ERR_SCRIPT,
      "more than 5000 resources of one message" },
    { "many events", "for i = 1, 1e6 do out:event 'e' end", ERR_SCRIPT, "more than 1000 events of one message" },
    { "many messages out", "for i = 1, 1e6 do out:hl7('x', 'MSH|^~\\\\&|') end", ERR_SCRIPT, "more than 1000 messages" },
    { "huge event", "out:event('e', { x = ('x'):rep(66000) })", ERR_SCRIPT, "more than 64 KiB of data" },
    { "smuggled header", "out:put({ resourceType = 'Basic' }, { if_none_exist = 'a=b\\r\\nX-Evil: 1' })", ERR_SCRIPT,
      "a control character in 'if_none_exist'" },
    { "NUL in a URL", "out:put({ resourceType = 'Basic' }, { full_url = 'urn:uuid:\\0' })", ERR_SCRIPT, "control character" },
    { "long condition", "out:put({ resourceType = 'Basic' }, { if_none_exist = 'a=' .. ('b'):rep(5000) })", ERR_SCRIPT,
      "'if_none_exist' of more than 4096 bytes" },
    { "wide result", "local t = { 1, 1, 1, 1, 1, 1, 1, 1 } for i = 1, 12 do t = { t, t, t, t } end out:event('e', t)",
      ERR_BUDGET, "output" },
    { "many messages", "local s = 'MSH|^~\\\\&|' .. ('x'):rep(100000) while true do require 'hl7'.parse(s) end",
      ERR_BUDGET, "" },
    { "many copies", "while true do msg:copy { ['PID-60000'] = 'x' } end", ERR_BUDGET, "" },
    { "many repetitions", "local m = require 'hl7'.parse('MSH|^~\\\\&|\\rPID|||' .. ('~'):rep(1000000)) "
      "m = m:copy { ['PID-3[1]'] = 'x' } assert(m:get 'PID-3' == 'x' and m:one 'PID':count(3) == 1000001)", ERR_OK, "" },
    { "huge message", "require 'hl7'.parse('MSH|^~\\\\&|' .. ('\\r'):rep(5000000))", ERR_SCRIPT, "a message of more than 4194304 bytes" },
    { "json keys", "local t = {} for i = 1, 100000 do t[i] = ('\"%d\":1'):format(i) end "
      "for i = 1, 100 do require 'json'.decode('{' .. table.concat(t, ',') .. '}') end", ERR_BUDGET, "" },
    { "json bomb", "require 'json'.decode('[' .. ('1,'):rep(3000000) .. '1]')", ERR_SCRIPT, "more than" },
    { "__gc", "setmetatable({}, { __gc = function() end })", ERR_SCRIPT, "__gc is not for scripts" },
    { "__close", "setmetatable({}, { __close = function() end })", ERR_SCRIPT, "__close" },
    { "__mode", "setmetatable({}, { __mode = 'k' })", ERR_SCRIPT, "__mode" },
    { "locked string", "assert(getmetatable('') == 'locked')", ERR_OK, "" },
    { "poisoned string", "string.find = function() end", ERR_SCRIPT, "'find' cannot be set: the table is read-only" },
    { "poisoned string, raw", "rawset(string, 'find', 1)", ERR_SCRIPT, "read-only" },
    { "poisoned string, metatable", "setmetatable(string, {})", ERR_SCRIPT, "protected" },
    { "poisoned string, by pairs", "local _, t = pairs(string) t.find = 1", ERR_SCRIPT, "'find' cannot be set" },
    { "poisoned globals, by pairs", "local _, t = pairs(_ENV) t.x = 1", ERR_SCRIPT, "global 'x' cannot be set" },
    { "poisoned module, by pairs", "local _, t = pairs(require 'json') t.encode = 1", ERR_SCRIPT, "read-only" },
    { "settings, by pairs", "local _, t = pairs(msg.settings) t.x = 1", ERR_SCRIPT, "read-only" },
    { "poisoned insert", "table.insert(string, 1)", ERR_SCRIPT, "read-only" },
    { "global", "x = 1", ERR_SCRIPT, "main.lua:1: global 'x' cannot be set" },
    { "settings", "msg.settings.x = 1", ERR_SCRIPT, "read-only" },
    { "__tostring loop", "error(setmetatable({}, { __tostring = function() while true do end end }))", ERR_BUDGET, "CPU" },
    { "__tostring of another kind", "error(setmetatable({}, { __tostring = function() return 1 end }))", ERR_SCRIPT, "" },
    { "__tostring", "error(setmetatable({}, { __tostring = function() return 'mine' end }))", ERR_SCRIPT, "mine" },
    { "error without text", "error({})", ERR_SCRIPT, "error object is a table value" },
    { "error nil", "error()", ERR_SCRIPT, "nil" },
    { "address, format", "string.format('%p', {})", ERR_SCRIPT, "addresses" },
    { "no address", "assert(tostring({}) == 'table' and tostring(print) == 'nil' and tostring(pcall) == 'function' "
      "and string.format('%s %5s', {}, pcall) == 'table function')", ERR_OK, "" },
    { "absent", "for _, n in ipairs { 'os', 'io', 'debug', 'coroutine', 'package', 'load', 'loadstring', 'dofile', "
      "'loadfile', 'collectgarbage', 'print', 'warn', '_G' } do if ({ pcall(require, n) })[1] then error(n) end end "
      "assert(not load and not os and not io and not debug and not coroutine and not package and not _G "
      "and not collectgarbage and not dofile and not math.random and not string.dump and not print)", ERR_OK, "" },
    { "message in error", "out:event('e', { m = msg })", ERR_SCRIPT, "event.m: a message, which JSON cannot hold" },
};

static void attack_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(attacks); i++) {
        const attack *a = &attacks[i];
        vm_limits limits = test_limits;
        char text[1024];
        bench b;

        (void)snprintf(text, sizeof text, "return function(msg, out) %s end", a->body);
        const file files[] = { { "pack.lua", MANIFEST }, { "main.lua", text }, { NULL, NULL } };
        const vm_scope scope = { .tenant = slice_lit("north") };
        /* What is to end by something else than the CPU time must come to that; memory takes time to fill. */
        if (strstr(a->text, "memory") != NULL || strstr(a->text, "output") != NULL) limits.cpu_ns *= 10;
        else if (a->expected != ERR_BUDGET) limits.cpu_ns *= SLOWED;
        if (bench_open_files(&b, files, &scope, &limits) != ERR_OK) fail_msg("%s: %s", a->name, b.why.text);
        uint64_t cpu = clock_cpu_ns();
        err e = bench_run(&b, ADT);
        cpu = clock_cpu_ns() - cpu;
        if (e != a->expected) fail_msg("%s: %s: %s", a->name, err_name(e), e == ERR_OK ? "" : b.why.text);
        if (e != ERR_OK && strstr(b.why.text, a->text) == NULL) fail_msg("%s: %s", a->name, b.why.text);
        /* Beyond it: the last collection before the memory is refused. */
        if (cpu > limits.cpu_ns + 1000000000u) fail_msg("%s: took %llu ms", a->name, (unsigned long long)(cpu / 1000000));
        /* After a spent budget the state refuses; after anything else it works. */
        err again = bench_run(&b, ADT);
        if (again != e) fail_msg("%s: %s, and again: %s: %s", a->name, err_name(e), err_name(again), again == ERR_OK ? "" : b.why.text);
        bench_close(&b);
    }
}

/* Boxes that a script kept from a run raise in the next. */
static void stale_boxes(void **state)
{
    static const char *const uses[] = {
        "kept.msg:get 'PID-3'", "kept.seg:get(3)", "kept.seg.name", "kept.rep:get(1)", "kept.each()", "kept.all()",
        "kept.out:event 'e'", "kept.msg.type",
    };
    (void)state;
    for (size_t i = 0; i < countof(uses); i++) {
        char text[1024];
        bench b;

        (void)snprintf(text, sizeof text, "local kept return function(msg, out) if kept then return %s end "
                       "kept = { msg = msg, out = out, seg = msg:one 'PID', rep = msg:one('PID'):field(3), "
                       "each = msg:each 'OBX', all = msg:one('PID'):all(3) } end", uses[i]);
        assert_int_equal(bench_open(&b, text), ERR_OK);
        assert_int_equal(bench_run(&b, ADT), ERR_OK);
        if (bench_run(&b, ADT) != ERR_SCRIPT || strstr(b.why.text, "used after its run ended") == NULL)
            fail_msg("%s: %s", uses[i], b.why.text);
        bench_close(&b);
    }
}

/* Memory stays flat over many runs, and garbage of one run does not add up. */
static void flat_memory(void **state)
{
    size_t before = 0;
    bench b;

    (void)state;
    assert_int_equal(bench_open(&b, "return function(msg, out) local t = {} for i = 1, 2000 do t[i] = { i .. 'x' } end end"),
                     ERR_OK);
    for (int i = 0; i < 400; i++) {
        assert_int_equal(bench_run(&b, ADT), ERR_OK);
        if (i == 100) before = vm_memory(b.vm);
    }
    assert_true(vm_memory(b.vm) < before + ((size_t)3 << 20));
    vm_rest(b.vm);
    assert_true(vm_memory(b.vm) < (size_t)1 << 20);
    assert_int_equal(bench_run(&b, ADT), ERR_OK);
    bench_close(&b);
}

/* The trace names the way to the error, and is gone after a good run. */
static void trace(void **state)
{
    bench b;

    (void)state;
    assert_int_equal(bench_open(&b, "local function inner() error 'deep' end local n = 0\n"
                                    "return function(msg, out) n = n + 1 if n == 1 then inner() end end"), ERR_OK);
    assert_int_equal(bench_run(&b, ADT), ERR_SCRIPT);
    assert_string_equal(b.why.text, "main.lua:1: deep");
    assert_non_null(strstr(vm_trace(b.vm).ptr, "main.lua:1: in upvalue 'inner'"));
    assert_int_equal(bench_run(&b, ADT), ERR_OK);
    assert_int_equal(vm_trace(b.vm).len, 0);
    bench_close(&b);
}

/* Wall time is the backstop where CPU time does not pass, or is plenty. */
static void wall_time(void **state)
{
    const file files[] = { { "pack.lua", MANIFEST }, { "main.lua", "return function() while true do end end" }, { NULL, NULL } };
    const vm_scope scope = { .tenant = slice_lit("north") };
    vm_limits limits = test_limits;
    bench b;

    (void)state;
    limits.cpu_ns = 60000000000u;
    limits.wall_ns = 100000000u;
    assert_int_equal(bench_open_files(&b, files, &scope, &limits), ERR_OK);
    uint64_t start = clock_ns();
    assert_int_equal(bench_run(&b, ADT), ERR_BUDGET);
    assert_string_equal(b.why.text, "main.lua:1: wall time budget of 0.1 s spent");
    assert_true(clock_ns() - start < 20000000000u);
    bench_close(&b);
}

/* A limit that a state alone exceeds, and a module that loops while it is loaded. */
static void opening(void **state)
{
    const file files[] = { { "pack.lua", MANIFEST }, { "main.lua", "return function() end" }, { NULL, NULL } };
    const vm_scope scope = { .tenant = slice_lit("north") };
    vm_limits small = test_limits;
    bench b;

    (void)state;
    small.memory = 1000;
    assert_int_equal(bench_open_files(&b, files, &scope, &small), ERR_BUDGET);
    bench_close(&b);
    small.memory = 20000;
    assert_int_equal(bench_open_files(&b, files, &scope, &small), ERR_BUDGET);
    bench_close(&b);
    assert_int_equal(bench_open(&b, "while true do end"), ERR_BUDGET);
    assert_non_null(strstr(b.why.text, "main.lua:1: CPU time budget of 1000 ms spent"));
    bench_close(&b);
    assert_int_equal(bench_open(&b, "return 1"), ERR_SCRIPT);
    assert_string_equal(b.why.text, "handler 'main' returns a number, not a function");
    bench_close(&b);
    assert_int_equal(bench_open(&b, "return function( end"), ERR_SCRIPT);
    assert_non_null(strstr(b.why.text, "main.lua:1:"));
    bench_close(&b);
    assert_int_equal(bench_open(&b, "\033Lua"), ERR_SCRIPT);         /* bytecode */
    assert_non_null(strstr(b.why.text, "attempt to load a binary chunk"));
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attack_ends), cmocka_unit_test(stale_boxes), cmocka_unit_test(flat_memory),
        cmocka_unit_test(trace), cmocka_unit_test(wall_time), cmocka_unit_test(opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
