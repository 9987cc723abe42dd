/* tests/unit/engine/lanes.c -- order by key: alone, with two keys, from the midst, and a
 * random run beside a model that keeps whole queues. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "engine/lanes.h"

enum { KEYS_MOST = 4 };

typedef struct runner {
    lane_pass   pass;
    lane_ticket tickets[KEYS_MOST];
    unsigned    keys;                    /* of the model: a bit each */
    bool        inside;
    int         gone;                    /* how often it was told to go */
} runner;

static void on_go(lane_pass *p) { container_of(p, runner, pass)->gone++; }

static const slice names[] = { slice_lit("a"), slice_lit("b"), slice_lit("c"), slice_lit("d"), slice_lit("e") };

static void enter(lanes *l, runner *r, uint64_t scope, unsigned keys)
{
    slice given[KEYS_MOST];
    size_t n = 0;

    for (unsigned k = 0; k < countof(names); k++)
        if ((keys >> k & 1) != 0) given[n++] = names[k];
    *r = (runner){ .keys = keys, .inside = true };
    r->pass.tickets = r->tickets;
    r->pass.go = on_go;
    lanes_enter(l, &r->pass, scope, given, n);
}

static void leave(lanes *l, runner *r)
{
    r->inside = false;
    lanes_leave(l, &r->pass);
}

static void test_one_key(void **state)
{
    lanes l = { 0 };
    runner r[3];

    (void)state;
    for (int i = 0; i < 3; i++) enter(&l, &r[i], 0, 1);
    assert_int_equal(r[0].gone, 1);
    assert_int_equal(r[1].gone, 0);
    leave(&l, &r[0]);
    assert_int_equal(r[1].gone, 1);
    assert_int_equal(r[2].gone, 0);
    leave(&l, &r[1]);
    leave(&l, &r[2]);
    leave(&l, &r[2]);                    /* outside: nothing */
    assert_int_equal(r[2].gone, 1);
    assert_int_equal(l.passes, 0);
    lanes_fini(&l);
}

/* A merge has the keys of both patients: it waits for both, and both wait for it. */
static void test_two_keys(void **state)
{
    lanes l = { 0 };
    runner one, two, merge, after_one, after_two, other;

    (void)state;
    enter(&l, &one, 0, 1);
    enter(&l, &two, 0, 2);
    enter(&l, &merge, 0, 3);
    enter(&l, &after_one, 0, 1);
    enter(&l, &after_two, 0, 2);
    enter(&l, &other, 0, 4);
    assert_int_equal(other.gone, 1);
    leave(&l, &one);
    assert_int_equal(merge.gone, 0);
    assert_int_equal(after_one.gone, 0);
    leave(&l, &two);
    assert_int_equal(merge.gone, 1);
    assert_int_equal(after_two.gone, 0);
    leave(&l, &merge);
    assert_int_equal(after_one.gone, 1);
    assert_int_equal(after_two.gone, 1);
    leave(&l, &after_one);
    leave(&l, &after_two);
    leave(&l, &other);
    lanes_fini(&l);
}

static void test_from_the_midst(void **state)
{
    lanes l = { 0 };
    runner r[3];

    (void)state;
    for (int i = 0; i < 3; i++) enter(&l, &r[i], 0, 1);
    leave(&l, &r[1]);
    assert_int_equal(r[1].gone, 0);
    assert_int_equal(r[2].gone, 0);
    leave(&l, &r[0]);
    assert_int_equal(r[2].gone, 1);
    leave(&l, &r[2]);
    lanes_fini(&l);
}

static void test_scopes_and_no_key(void **state)
{
    lanes l = { 0 };
    runner a, b, c, d;

    (void)state;
    enter(&l, &a, 1, 1);
    enter(&l, &b, 2, 1);                 /* the same key of another scope */
    enter(&l, &c, 1, 0);                 /* the scope's own lane */
    enter(&l, &d, 1, 0);
    assert_int_equal(a.gone + b.gone + c.gone, 3);
    assert_int_equal(d.gone, 0);
    leave(&l, &c);
    assert_int_equal(d.gone, 1);
    leave(&l, &a);
    leave(&l, &b);
    leave(&l, &d);
    lanes_fini(&l);
}

/* By the model one may go when none that entered before it and is still inside shares a key with it. */
static void check_model(runner *const queue[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool may = true;
        for (size_t k = 0; k < i; k++) may &= !queue[k]->inside || (queue[k]->keys & queue[i]->keys) == 0;
        if (queue[i]->inside) assert_int_equal(queue[i]->gone, may);
    }
}

static void test_random(void **state)
{
    enum { ROUNDS = 3000, MOST = 24 };
    lanes l = { 0 };
    runner *queue[MOST];
    size_t count = 0;

    (void)state;
    srandom(7);
    for (int round = 0; round < ROUNDS; round++) {
        if (count < MOST && (count == 0 || random() % 2 == 0)) {
            unsigned keys = 1 + (unsigned)(random() % 15);
            queue[count] = calloc(1, sizeof *queue[count]);
            enter(&l, queue[count], 0, keys);
            count++;
        } else {
            size_t which = (size_t)random() % count;
            leave(&l, queue[which]);
            free(queue[which]);
            memmove(queue + which, queue + which + 1, sizeof *queue * (count - which - 1));
            count--;
        }
        assert_int_equal(l.passes, count);
        check_model(queue, count);
    }
    while (count > 0) {
        leave(&l, queue[--count]);
        free(queue[count]);
    }
    lanes_fini(&l);
}

/* ---- who cannot go before another has left -------------------------------------------------- */

static bool waits_for(const runner *behind, const runner *before) { return (behind->keys & before->keys) != 0; }

/* What is behind queue[root], by the model: who shares a key with it, or with one that is, and came later. */
static void mark_behind(runner *const queue[], size_t count, size_t root, bool behind[])
{
    for (size_t i = 0; i < count; i++) behind[i] = false;
    for (size_t i = root + 1; i < count; i++) {
        behind[i] = waits_for(queue[i], queue[root]);
        for (size_t k = root + 1; k < i; k++) behind[i] |= behind[k] && waits_for(queue[i], queue[k]);
    }
}

static bool is_gathered(list *all, const runner *r)
{
    list_each(l, all)
        if (container_of(container_of(l, lane_pass, gathered), runner, pass) == r) return true;
    return false;
}

/* Their going is not looked at: it is the owner's to know that they are on their way out. */
static size_t take_out(lanes *l, runner *queue[], size_t count, const bool out[])
{
    size_t left = 0;

    for (size_t i = count; i-- > 0;)     /* from the last one, and then from the first: any order does */
        if (out[i] && i % 2 == 0) leave(l, queue[i]);
    for (size_t i = 0; i < count; i++) {
        if (!out[i]) { queue[left++] = queue[i]; continue; }
        leave(l, queue[i]);
        free(queue[i]);
    }
    return left;
}

static void test_gather(void **state)
{
    enum { ROUNDS = 4000, MOST = 24 };
    lanes l = { 0 };
    runner *queue[MOST];
    size_t count = 0, seen = 0;

    (void)state;
    srandom(11);
    for (int round = 0; round < ROUNDS; round++) {
        bool behind[MOST] = { false };
        size_t root;
        list gathered;
        if (count < MOST && random() % 4 != 0) {
            queue[count] = calloc(1, sizeof *queue[count]);
            enter(&l, queue[count], 0, 1 + (unsigned)(random() % 15));
            count++;
            continue;
        }
        if (count == 0) continue;
        root = (size_t)random() % count;
        mark_behind(queue, count, root, behind);
        list_init(&gathered);
        lanes_gather(&queue[root]->pass, &gathered);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(is_gathered(&gathered, queue[i]), behind[i]);
            seen += behind[i];
        }
        behind[root] = random() % 2 == 0;                /* it may stay where it is */
        while (list_pop(&gathered) != NULL) {}
        count = take_out(&l, queue, count, behind);
        check_model(queue, count);       /* nobody else was let go, and who may go was told */
        assert_int_equal(l.passes, count);
    }
    assert_true(seen > ROUNDS / 4);
    while (count > 0) {
        leave(&l, queue[--count]);
        free(queue[count]);
    }
    lanes_fini(&l);
}

/* One of those that were gathered stays: who comes behind it is found the next time. */
static void test_ungather(void **state)
{
    lanes l = { 0 };
    runner root, stays, later;
    list gathered;

    (void)state;
    enter(&l, &root, 0, 1);
    enter(&l, &stays, 0, 1);
    list_init(&gathered);
    lanes_gather(&root.pass, &gathered);
    assert_true(is_gathered(&gathered, &stays));
    lanes_ungather(&stays.pass);
    assert_true(list_empty(&gathered));
    enter(&l, &later, 0, 1);
    lanes_gather(&root.pass, &gathered);
    assert_true(is_gathered(&gathered, &stays));
    assert_true(is_gathered(&gathered, &later));
    assert_true(lanes_has(&l, 0, names[0]));
    assert_false(lanes_has(&l, 1, names[0]));
    assert_false(lanes_has(&l, 0, names[1]));
    leave(&l, &later);
    leave(&l, &stays);
    leave(&l, &root);
    assert_false(lanes_has(&l, 0, names[0]));
    lanes_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_key),         cmocka_unit_test(test_two_keys),
        cmocka_unit_test(test_from_the_midst),  cmocka_unit_test(test_scopes_and_no_key),
        cmocka_unit_test(test_random),          cmocka_unit_test(test_gather),
        cmocka_unit_test(test_ungather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
