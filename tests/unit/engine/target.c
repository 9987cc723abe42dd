/* tests/unit/engine/target.c -- a target's limit and its breaker, on a real loop. What is sent is
 * only noted; the test plays the answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "engine/target.h"

enum { MOST = 8 };

typedef struct sent { list link; int times; } sent;

static sent      items[MOST];
static sent     *order[64];
static size_t    count;
static uv_loop_t loop;

static void on_send(list *link)
{
    sent *s = container_of(link, sent, link);

    s->times++;
    order[count++] = s;
}

static target *begin(int limit)
{
    target *t;

    memset(items, 0, sizeof items);
    count = 0;
    for (size_t i = 0; i < MOST; i++) list_init(&items[i].link);
    assert_int_equal(uv_loop_init(&loop), 0);
    t = target_new(&loop, slice_lit("http://127.0.0.1/fhir"), NULL, limit, on_send);
    return t;
}

static void on_closed(void *arg) { *(bool *)arg = true; }

static void end(target *t)
{
    bool closed = false;

    target_close(t, on_closed, &closed);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* Until something more was sent; false when the breaker's timer is all there is and `ms` are over. */
static bool run_until_sent(size_t wanted, uint64_t ms)
{
    uint64_t until = clock_ns() + ms * 1000000;

    while (count < wanted && clock_ns() < until) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    return count >= wanted;
}

static void test_limit(void **state)
{
    target *t = begin(2);

    (void)state;
    for (int i = 0; i < 4; i++) target_put(t, &items[i].link);
    assert_int_equal(count, 2);
    assert_int_equal(t->queued, 2);
    assert_int_equal(metric_value(t->waiting), 2);
    target_take_out(t, &items[2].link);
    target_good(t);
    target_done(t);
    assert_int_equal(count, 3);
    assert_ptr_equal(order[2], &items[3]);
    assert_int_equal(items[2].times, 0);
    assert_int_equal(metric_value(t->waiting), 0);
    end(t);
}

static void test_breaker(void **state)
{
    target *t = begin(2);
    uint64_t before;

    (void)state;
    for (int i = 0; i < 4; i++) target_put(t, &items[i].link);
    target_put_back(t, &items[0].link);
    assert_true(target_fault(t, 0));
    target_done(t);
    target_put_back(t, &items[1].link);
    assert_false(target_fault(t, 0));    /* the other that was under way opens nothing */
    target_done(t);
    assert_int_equal(t->state, BREAKER_OPEN);
    assert_int_equal(metric_value(t->open), 1);
    assert_int_equal(count, 2);

    /* One probe, and not the one that failed. */
    before = clock_ns();
    assert_true(run_until_sent(3, 5000));
    assert_true(clock_ns() - before > 400 * 1000000ull);
    assert_int_equal(t->state, BREAKER_PROBING);
    assert_ptr_equal(order[2], &items[2]);
    assert_int_equal(t->active, 1);
    target_put_back(t, &items[2].link);
    assert_false(target_fault(t, 0));
    target_done(t);
    assert_int_equal(t->state, BREAKER_OPEN);

    /* The wait has doubled; then it answers, and all go. */
    before = clock_ns();
    assert_true(run_until_sent(4, 5000));
    assert_true(clock_ns() - before > 800 * 1000000ull);
    assert_ptr_equal(order[3], &items[3]);
    target_good(t);
    assert_int_equal(metric_value(t->open), 0);
    target_done(t);
    assert_int_equal(t->state, BREAKER_CLOSED);
    assert_int_equal(count, 6);
    target_done(t);
    target_done(t);
    assert_int_equal(count, 7);
    assert_int_equal(t->queued, 0);
    end(t);
}

/* With nothing queued when the time is up, the next that comes is the probe. */
static void test_probe_comes_later(void **state)
{
    target *t = begin(4);

    (void)state;
    target_put(t, &items[0].link);
    assert_true(target_fault(t, 0));
    target_done(t);
    assert_false(run_until_sent(2, 700));
    assert_int_equal(t->state, BREAKER_PROBING);
    target_put(t, &items[1].link);
    target_put(t, &items[2].link);
    assert_int_equal(count, 2);
    target_good(t);
    target_done(t);
    assert_int_equal(count, 3);
    end(t);
}

static void test_retry_after(void **state)
{
    target *t = begin(1);
    uint64_t before = clock_ns();

    (void)state;
    target_put(t, &items[0].link);
    target_put_back(t, &items[0].link);
    assert_true(target_fault(t, 1200));  /* as the target said, not the 500 ms of ours */
    target_done(t);
    assert_true(run_until_sent(2, 5000));
    assert_true(clock_ns() - before > 1100 * 1000000ull);
    end(t);
}

static void test_stopped(void **state)
{
    target *t = begin(1);

    (void)state;
    target_put(t, &items[0].link);
    target_put(t, &items[1].link);
    target_stop(t);
    target_good(t);
    target_done(t);
    assert_int_equal(count, 1);
    target_take_out(t, &items[1].link);
    end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),       cmocka_unit_test(test_breaker), cmocka_unit_test(test_probe_comes_later),
        cmocka_unit_test(test_retry_after), cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
