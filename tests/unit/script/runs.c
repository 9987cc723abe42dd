/* The same bytes from the same input: in one state again and again, in other states
 * on other threads at once, and in fresh processes (promise P8). */
#include "support.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* What would differ if it could: order of keys, text of values, defaults. */
static const char main_lua[] =
    "local host, json = require 'host', require 'json'\n"
    "return function(msg, out)\n"
    "  local bag, order = {}, {}\n"
    "  for s in msg:segments() do for i = 1, 8 do bag[s.name .. i] = s:get(i) or 'none' end end\n"
    "  for k, v in pairs(bag) do order[#order + 1] = k .. tostring(v) end\n"
    "  for k in next, bag do order[#order + 1] = k end\n"
    "  out:put { resourceType = 'Basic', order = order, bag = json.encode(bag), show = tostring(bag) .. tostring(pairs),\n"
    "            id = host.uuid5(msg:get 'PID-3'), at = msg.received, fmt = ('%s %g'):format({}, 1 / 3) }\n"
    "  out:put { resourceType = 'Basic', error = tostring(select(2, pcall(function() return nil .. bag end))) }\n"
    "  out:event('e', bag)\n"
    "  out:hl7('x', msg:copy { ['MSH-5'] = 'A', ['PID-3.1'] = 'B', ['PID-3'] = 'C' })\n"
    "end\n";

static slice run_once(arena *mem)
{
    bench b;

    if (bench_open(&b, main_lua) != ERR_OK || bench_run(&b, ADT) != ERR_OK) fail_msg("%s", b.why.text);
    slice out = arena_dup(mem, result_text(&b.mem, &b.result));
    bench_close(&b);
    return out;
}

static void repeated(void **state)
{
    arena mem = { 0 };
    bench b;

    (void)state;
    slice first = run_once(&mem);
    assert_int_equal(bench_open(&b, main_lua), ERR_OK);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(bench_run(&b, ADT), ERR_OK);
        assert_true(slice_eq(result_text(&b.mem, &b.result), first));
    }
    bench_close(&b);
    arena_free(&mem);
}

static void processes(void **state)
{
    arena mem = { 0 };
    slice first = run_once(&mem);

    (void)state;
    for (int i = 0; i < 4; i++) {
        static char text[65536];
        char exe[4096];
        ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
        assert_true(n > 0);
        exe[n] = '\0';
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            (void)dup2(ends[1], 1);
            (void)execl(exe, exe, "--print", (char *)NULL);
            _exit(127);
        }
        (void)close(ends[1]);
        size_t len = 0;
        while ((n = read(ends[0], text + len, sizeof text - len)) > 0) len += (size_t)n;
        (void)close(ends[0]);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_true(slice_eq((slice){ text, len }, first));
    }
    arena_free(&mem);
}

typedef struct worker { pthread_t thread; pack *pack; slice expected; int good, budget; } worker;

/* A state each; every fourth message breaks its budget and costs the state. */
static void *work(void *arg)
{
    const vm_scope scope = { .tenant = slice_lit("north"), .connector_id = slice_lit("CONN_1"),
                             .connector_name = slice_lit("adt"), .timezone = slice_lit("Europe/Berlin") };
    vm_limits limits = test_limits;
    worker *w = arg;
    vm *v = NULL;

    limits.cpu_ns = 20000000u;
    for (int i = 0; i < 20; i++) {
        arena mem = { 0 };
        script_result result;
        hl7_msg *msg;
        err_info why;
        const char *text = i % 4 == 3 ? "MSH|^~\\&|||||2026||ZZZ^Z01|1|P|2.5\r" : ADT;

        if (v == NULL && vm_open(w->pack, &scope, &limits, &v, &why) != ERR_OK) break;
        if (hl7_parse(&mem, slice_of(text), &msg, &why) != ERR_OK) break;
        vm_input input = { .msg = msg, .message_id = slice_lit("MSG_1"), .received_us = 1776497400000000 };
        err e = vm_transform(v, &input, &mem, &result, &why);
        w->good += e == ERR_OK && slice_eq(result_text(&mem, &result), w->expected);
        w->budget += e == ERR_BUDGET;
        if (e == ERR_BUDGET) {
            vm_close(v);
            v = NULL;
        }
        arena_free(&mem);
    }
    vm_close(v);
    return NULL;
}

static void threads(void **state)
{
    const file files[] = {
        { "pack.lua", "return { name = 't', version = '1', handlers = { ['*'] = 'main', ZZZ = 'loop' } }" },
        { "main.lua", main_lua }, { "loop.lua", "return function() while true do local s = tostring(1) .. 'x' end end" }, { NULL, NULL }
    };
    worker workers[4] = { 0 };
    arena mem = { 0 };
    err_info why;
    pack *p;

    (void)state;
    assert_int_equal(pack_open(build_archive(&mem, files), NULL, &p, &why), ERR_OK);
    slice expected = run_once(&mem);
    for (size_t i = 0; i < countof(workers); i++) {
        workers[i].pack = p;
        workers[i].expected = expected;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < countof(workers); i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].good, 15);
        assert_int_equal(workers[i].budget, 5);
    }
    pack_drop(p);
    arena_free(&mem);
}

/* A state may move to another thread between two runs: the budget's timers are
 * the running thread's. */
static void *run_there(void *arg)
{
    bench *b = arg;
    return bench_run(b, ADT) == ERR_BUDGET ? b : NULL;
}

static void moved(void **state)
{
    pthread_t thread;
    bench b;
    void *good;

    (void)state;
    assert_int_equal(bench_open(&b, "local n = 0 return function() n = n + 1 if n == 2 then while true do local s = n .. 'x' end end end"), ERR_OK);
    assert_int_equal(bench_run(&b, ADT), ERR_OK);
    assert_int_equal(pthread_create(&thread, NULL, run_there, &b), 0);
    assert_int_equal(pthread_join(thread, &good), 0);
    assert_ptr_equal(good, &b);
    bench_close(&b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeated), cmocka_unit_test(processes), cmocka_unit_test(threads), cmocka_unit_test(moved),
    };

    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        arena mem = { 0 };
        slice out = run_once(&mem);
        (void)fwrite(out.ptr, 1, out.len, stdout);
        arena_free(&mem);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
