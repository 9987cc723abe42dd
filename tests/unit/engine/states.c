/* The Lua states of a thread: one for each connector, within a bound that one hungry pack
 * does not make the others pay for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/states.h"

enum { CONNECTORS = 40 };

#define MOST ((size_t)12 << 20)

typedef struct bench {
    arena    mem;
    states   all;
    program *programs[CONNECTORS];
    err_info why;
} bench;

/* Keeps KEEP bytes of text from its first run on, and leaves garbage behind in each. */
#define MAIN \
    "local kept return function(m, out) kept = kept or ('x'):rep(m.settings.keep) " \
    "local t = {} for i = 1, 2000 do t[i] = { i } end out:event('ran', { #kept }) end"

static program *program_for(bench *b, int number, int keep)
{
    pack_builder *files = pack_builder_new(&b->mem);
    vm_scope scope = {
        .tenant = slice_lit("north"), .connector_name = slice_lit("adt"),
        .connector_id = arena_printf(&b->mem, "CONN_%d", number), .settings = arena_printf(&b->mem, "{\"keep\":%d}", keep),
    };
    program *made = NULL;

    pack_builder_add(files, slice_lit("pack.lua"), slice_lit("return { name = 'test', version = '1', handlers = { ['*'] = 'main' } }"));
    pack_builder_add(files, slice_lit("main.lua"), slice_lit(MAIN));
    if (program_new(pack_builder_archive(files), NULL, &scope, &made, &b->why) != ERR_OK) fail_msg("%s", b->why.text);
    made->limits.cpu_ns = made->limits.wall_ns = UINT64_C(20000000000);          /* under a sanitizer, too */
    return made;
}

static void open_bench(bench *b)
{
    *b = (bench){ 0 };
    states_init(&b->all, MOST);
    for (int i = 0; i < CONNECTORS; i++) b->programs[i] = program_for(b, i, 300000);
}

static void close_bench(bench *b)
{
    states_fini(&b->all);
    assert_int_equal(b->all.bytes, 0);
    for (int i = 0; i < CONNECTORS; i++) program_drop(b->programs[i]);
    arena_free(&b->mem);
}

static state *run(bench *b, program *p)
{
    hl7_msg *msg;
    script_result result;
    arena mem = { 0 };
    state *s;

    assert_int_equal(hl7_parse(&mem, slice_lit("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\r"), &msg, &b->why), ERR_OK);
    vm_input input = { .msg = msg, .message_id = slice_lit("MSG_1"), .received_us = 1 };
    assert_int_equal(states_get(&b->all, p, &s, &b->why), ERR_OK);
    if (vm_transform(s->lua, &input, &mem, &result, &b->why) != ERR_OK) fail_msg("%s", b->why.text);
    states_weigh(&b->all, s);
    arena_free(&mem);
    return s;
}

static bool is_kept(const bench *b, const program *p)
{
    list_each(l, &b->all.used) {
        const state *s = container_of(l, state, link);
        if (s->prog == p) return true;
    }
    return false;
}

static size_t count_kept(const bench *b)
{
    size_t count = 0;

    list_each(l, &b->all.used) count++;
    return count;
}

static void the_same_state_serves_again(void **unused)
{
    bench b;
    (void)unused;

    open_bench(&b);
    state *first = run(&b, b.programs[0]);
    (void)run(&b, b.programs[1]);
    assert_ptr_equal(run(&b, b.programs[0]), first);
    assert_int_equal(count_kept(&b), 2);
    close_bench(&b);
}

static void a_newer_program_replaces_it(void **unused)
{
    bench b;
    (void)unused;

    open_bench(&b);
    (void)run(&b, b.programs[0]);
    program *newer = program_for(&b, 0, 200000);
    (void)run(&b, newer);
    assert_int_equal(count_kept(&b), 1);
    assert_true(is_kept(&b, newer));
    program_drop(newer);
    close_bench(&b);
}

/* Garbage goes before states do; then those that were not used for the longest time. */
static void the_bound_holds(void **unused)
{
    bench b;
    (void)unused;

    open_bench(&b);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CONNECTORS; i++) {
            (void)run(&b, b.programs[i]);
            assert_true(b.all.bytes <= MOST);
        }
    }
    assert_true(count_kept(&b) > CONNECTORS / 4);
    assert_true(count_kept(&b) < CONNECTORS);
    assert_true(is_kept(&b, b.programs[CONNECTORS - 1]));
    assert_false(is_kept(&b, b.programs[0]));
    close_bench(&b);
}

static void the_hungry_one_goes_first(void **unused)
{
    bench b;
    (void)unused;

    open_bench(&b);
    program *hungry = program_for(&b, 1000, 11 << 20);
    for (int i = 0; i < 4; i++) (void)run(&b, b.programs[i]);
    (void)run(&b, hungry);
    (void)run(&b, b.programs[4]);
    for (int i = 5; i < 10; i++) (void)run(&b, b.programs[i]);
    assert_false(is_kept(&b, hungry));
    for (int i = 0; i < 10; i++) assert_true(is_kept(&b, b.programs[i]));
    program_drop(hungry);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_state_serves_again),
        cmocka_unit_test(a_newer_program_replaces_it),
        cmocka_unit_test(the_bound_holds),
        cmocka_unit_test(the_hungry_one_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
