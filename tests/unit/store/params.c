/* tests/unit/store/params.c -- array parameters byte by byte as array_recv of PostgreSQL reads them;
 * literals, and back by feed_array, feed_ints and feed_bytes. */
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
    slice text, out[countof(values)];

    (void)state;
    text = pg_literal(&mem, values, countof(values));
    assert_int_equal(feed_array(&mem, text, out, countof(out)), countof(values));
    for (size_t i = 0; i < countof(values); i++) assert_true(slice_eq(values[i], out[i]));
    assert_int_equal(feed_array(&mem, text, out, 3), 3);
    assert_int_equal(feed_array(&mem, slice_lit("{}"), out, 3), 0);
    assert_int_equal(feed_array(&mem, SLICE_NONE, out, 3), 0);
    assert_int_equal(feed_array(&mem, slice_lit("{a,b}"), out, 3), 2);       /* as PostgreSQL writes simple ones */
    assert_true(slice_is(out[1], "b"));
    arena_free(&mem);
}

static void test_ints(void **state)
{
    static const int values[] = { 0, 7, 4096 };
    arena mem = { 0 };
    int count, *back = feed_ints(&mem, pg_literal_ints(&mem, values, countof(values)), &count);

    (void)state;
    assert_int_equal(count, countof(values));
    assert_memory_equal(back, values, sizeof values);
    assert_non_null(feed_ints(&mem, slice_lit("{}"), &count));
    assert_int_equal(count, 0);
    assert_null(feed_ints(&mem, SLICE_NONE, &count));
    assert_int_equal(count, 0);
    assert_int_equal(feed_ints(&mem, slice_lit("{1,NULL}"), &count)[1], -1);
    arena_free(&mem);
}

static void test_other_arrays(void **state)
{
    arena mem = { 0 };
    static const char two_ints[] = "\0\0\0\1" "\0\0\0\0" "\0\0\0\x17" "\0\0\0\2" "\0\0\0\1"
        "\0\0\0\4\x80\0\0\0" "\0\0\0\4\0\0\1\2";
    static const char nulls[] = "\0\0\0\1" "\0\0\0\1" "\0\0\0\x11" "\0\0\0\3" "\0\0\0\1"
        "\xff\xff\xff\xff" "\0\0\0\0" "\0\0\0\3\0\xff\x10";
    static const char time[] = "\0\0\0\1" "\0\0\0\0" "\0\0\4\xa0" "\0\0\0\1" "\0\0\0\1"
        "\0\0\0\x8\xff\xff\xff\xff\xff\xff\xff\xff";
    static const char eight[] = "\0\0\0\1" "\0\0\0\0" "\0\0\0\x14" "\0\0\0\1" "\0\0\0\1"
        "\0\0\0\x8\xff\xff\xff\xfe\xff\xff\xff\xff";
    static const int ints[] = { 3, -1 };
    pg_array a;
    pg_param p;

    (void)state;
    pg_array_begin(&a, &mem, PG_TEXT);
    p = pg_array_end(&a);                /* no dimension */
    assert_int_equal(p.len, 12);
    assert_memory_equal(p.value, "\0\0\0\0" "\0\0\0\0" "\0\0\0\x19", 12);
    pg_array_begin(&a, &mem, PG_INT4);
    pg_array_int(&a, INT32_MIN);
    pg_array_int(&a, 258);
    p = pg_array_end(&a);
    assert_int_equal(p.len, sizeof two_ints - 1);
    assert_memory_equal(p.value, two_ints, sizeof two_ints - 1);
    pg_array_begin(&a, &mem, PG_BYTEA);
    pg_array_text(&a, SLICE_NONE);
    pg_array_text(&a, slice_lit(""));
    pg_array_text(&a, slice_lit("\x00\xff\x10"));
    p = pg_array_end(&a);
    assert_int_equal(p.len, sizeof nulls - 1);
    assert_memory_equal(p.value, nulls, sizeof nulls - 1);
    pg_array_begin(&a, &mem, PG_INT8);
    pg_array_int8(&a, INT64_C(-4294967297));
    p = pg_array_end(&a);
    assert_int_equal(p.len, sizeof eight - 1);
    assert_memory_equal(p.value, eight, sizeof eight - 1);
    pg_array_begin(&a, &mem, PG_TIMESTAMPTZ);
    pg_array_time(&a, INT64_C(946684799999999));         /* a microsecond before 2000 */
    p = pg_array_end(&a);
    assert_int_equal(p.len, sizeof time - 1);
    assert_memory_equal(p.value, time, sizeof time - 1);
    assert_true(slice_is(pg_literal_ints(&mem, ints, 2), "{3,-1}"));
    assert_true(slice_is(pg_literal_ints(&mem, ints, 0), "{}"));
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
        cmocka_unit_test(test_text_array), cmocka_unit_test(test_ints), cmocka_unit_test(test_other_arrays), cmocka_unit_test(test_bytes)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
