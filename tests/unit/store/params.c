/* tests/unit/store/params.c -- array parameters as PostgreSQL reads them, and back by feed_array
 * and feed_bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/feed.h"

static void test_text_array(void **state)
{
    static const slice values[] = {
        slice_lit("plain"), slice_lit(""), slice_lit("a,b{}"), slice_lit("quote\" and \\ back"), slice_lit("\\\\"),
        slice_lit("NULL"), slice_lit(" blank "), slice_lit("\"")
    };
    arena mem = { 0 };
    pg_array a;
    pg_param p;
    slice out[countof(values)];

    (void)state;
    pg_array_begin(&a, &mem);
    for (size_t i = 0; i < countof(values); i++) pg_array_text(&a, values[i]);
    p = pg_array_end(&a);
    assert_int_equal(p.len, strlen(p.value));
    assert_int_equal(feed_array(&mem, slice_of(p.value), out, countof(out)), countof(values));
    for (size_t i = 0; i < countof(values); i++) assert_true(slice_eq(values[i], out[i]));
    assert_int_equal(feed_array(&mem, slice_of(p.value), out, 3), 3);
    assert_int_equal(feed_array(&mem, slice_lit("{}"), out, 3), 0);
    assert_int_equal(feed_array(&mem, SLICE_NONE, out, 3), 0);
    assert_int_equal(feed_array(&mem, slice_lit("{a,b}"), out, 3), 2);       /* as PostgreSQL writes simple ones */
    assert_true(slice_is(out[1], "b"));
    arena_free(&mem);
}

static void test_other_arrays(void **state)
{
    arena mem = { 0 };
    pg_array a;

    (void)state;
    pg_array_begin(&a, &mem);
    assert_string_equal(pg_array_end(&a).value, "{}");
    pg_array_begin(&a, &mem);
    pg_array_text(&a, SLICE_NONE);
    pg_array_int(&a, INT64_MIN);
    pg_array_bytea(&a, SLICE_NONE);
    pg_array_bytea(&a, slice_lit("\x00\xff\x10"));
    pg_array_bytea(&a, slice_lit(""));
    assert_string_equal(pg_array_end(&a).value, "{NULL,-9223372036854775808,NULL,\"\\\\x00ff10\",\"\\\\x\"}");
    assert_null(pg_text(&mem, SLICE_NONE).value);
    assert_string_equal(pg_text(&mem, slice_lit("")).value, "");
    assert_string_equal(pg_int(&mem, -7).value, "-7");
    arena_free(&mem);
}

static void test_bytes(void **state)
{
    arena mem = { 0 };
    slice all;

    (void)state;
    all = feed_bytes(&mem, slice_lit("\\x00ff10ab"));
    assert_int_equal(all.len, 4);
    assert_memory_equal(all.ptr, "\x00\xff\x10\xab", 4);
    all = feed_bytes(&mem, slice_lit("\\x"));
    assert_non_null(all.ptr);
    assert_int_equal(all.len, 0);
    assert_null(feed_bytes(&mem, SLICE_NONE).ptr);
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_array), cmocka_unit_test(test_other_arrays), cmocka_unit_test(test_bytes)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
