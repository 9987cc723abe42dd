/* tests/unit/engine/aside.c -- which keys wait in the database, from where, and until when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "engine/aside.h"

static const slice a = slice_lit("a"), b = slice_lit("b"), c = slice_lit("c");

static bool is_key(void *arg, slice key) { return slice_eq(key, *(const slice *)arg); }

static void test_keys(void **state)
{
    const slice ab[] = { a, b };
    aside set = { 0 };

    (void)state;
    assert_true(aside_is_empty(&set));
    assert_false(aside_has(&set, NULL, 0));
    aside_add(&set, ab, 2, 7, 0);
    assert_false(aside_is_empty(&set));
    assert_true(aside_has(&set, &a, 1));
    assert_true(aside_has(&set, &b, 1));
    assert_false(aside_has(&set, &c, 1));
    assert_true(aside_has(&set, (slice[]){ c, b }, 2));
    assert_false(aside_has(&set, NULL, 0));
    aside_add(&set, NULL, 0, 9, 0);      /* those without a key have one lane among them */
    assert_true(aside_has(&set, NULL, 0));
    assert_false(aside_has(&set, &c, 1));
    aside_clear(&set);
    assert_true(aside_is_empty(&set));
}

static void test_release(void **state)
{
    aside set = { 0 };
    slice kept = b, keys[4];

    (void)state;
    aside_add(&set, &a, 1, 30, 0);
    aside_add(&set, &a, 1, 20, 0);
    aside_add(&set, &a, 1, 40, 0);
    aside_add(&set, &b, 1, 10, 0);
    assert_int_equal(aside_keys(&set, keys, 1), 1);
    assert_int_equal(aside_keys(&set, keys, 4), 2);
    assert_int_equal(aside_release(&set, is_key, &kept), 20);          /* of those that are free */
    assert_false(aside_has(&set, &a, 1));
    assert_true(aside_has(&set, &b, 1));
    assert_int_equal(aside_release(&set, is_key, &kept), INT64_MAX);
    assert_int_equal(aside_release(&set, NULL, NULL), 10);
    assert_true(aside_is_empty(&set));
    aside_clear(&set);
}

static void test_wake(void **state)
{
    aside set = { 0 };
    slice kept = b;

    (void)state;
    aside_add(&set, &a, 1, 1, 0);
    assert_int_equal(set.wake_us, 0);
    aside_add(&set, &a, 1, 2, 500);
    aside_add(&set, &b, 1, 3, 900);
    assert_int_equal(set.wake_us, 500);
    (void)aside_release(&set, is_key, &kept);
    assert_int_equal(set.wake_us, 900);  /* of the one that is left */
    (void)aside_release(&set, NULL, NULL);
    assert_int_equal(set.wake_us, 0);
    aside_clear(&set);
}

/* More keys than are worth telling apart: every key waits, and none is read too late. */
static void test_all(void **state)
{
    enum { KEYS = 70000 };
    aside set = { 0 };
    slice kept = c;
    char text[16];

    (void)state;
    for (int i = 0; i < KEYS; i++) {
        slice key = { text, (size_t)snprintf(text, sizeof text, "k%d", i) };
        aside_add(&set, &key, 1, KEYS - i, i == 5 ? 77 : 0);
    }
    assert_true(aside_has(&set, &c, 1));
    assert_true(aside_has(&set, NULL, 0));
    assert_int_equal(set.wake_us, 77);
    assert_int_equal(aside_keys(&set, &kept, 1), 0);
    assert_int_equal(aside_release(&set, is_key, &kept), 1);
    assert_true(aside_is_empty(&set));
    assert_false(aside_has(&set, &c, 1));
    aside_clear(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys), cmocka_unit_test(test_release), cmocka_unit_test(test_wake), cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
