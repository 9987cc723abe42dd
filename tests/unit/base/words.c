/* tests/unit/base/words.c -- slices, errors, lists, arenas, buffers and the clock's text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"

static void test_slices(void **state)
{
    slice rest = slice_lit("a||c");

    (void)state;
    assert_true(slice_is(slice_trim(slice_lit(" \t\r\nx y \n")), "x y"));
    assert_int_equal(slice_trim(slice_lit(" \n")).len, 0);
    assert_true(slice_is(slice_cut(rest, '|', &rest), "a"));
    assert_true(slice_is(slice_cut(rest, '|', &rest), ""));
    assert_true(slice_is(rest, "c"));
    assert_true(slice_is(slice_cut(rest, '|', &rest), "c"));
    assert_null(rest.ptr);
    rest = slice_lit("end|");
    (void)slice_cut(rest, '|', &rest);
    assert_non_null(rest.ptr);           /* an empty rest is not the same as none */
    assert_int_equal(rest.len, 0);
    assert_true(slice_eq(SLICE_NONE, slice_lit("")));
    assert_true(slice_starts(slice_lit("MSG_1"), slice_lit("MSG_")));
    assert_false(slice_starts(slice_lit("MSG"), slice_lit("MSG_")));
    assert_int_equal(slice_from(slice_lit("abc"), 9).len, 0);
    assert_true(slice_cmp(slice_lit("a"), slice_lit("ab")) < 0);
    assert_true(slice_cmp(slice_lit("\xff"), slice_lit("a")) > 0);
    assert_int_equal(slice_cmp(SLICE_NONE, slice_lit("")), 0);
    char cut[4];
    assert_string_equal(slice_cstr(slice_lit("abcdef"), cut, sizeof cut), "abc");
}

static const struct { const char *text; bool good; int64_t n; } numbers[] = {
    { "0", true, 0 }, { "-0", true, 0 }, { "007", true, 7 }, { "-12", true, -12 },
    { "9223372036854775807", true, INT64_MAX }, { "-9223372036854775808", true, INT64_MIN },
    { "9223372036854775808", false, 0 }, { "-9223372036854775809", false, 0 },
    { "99999999999999999999", false, 0 }, { "", false, 0 }, { "-", false, 0 }, { "+1", false, 0 },
    { "1 ", false, 0 }, { "1.0", false, 0 }, { "0x1", false, 0 },
};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(numbers); i++) {
        int64_t n = 0;
        assert_int_equal(slice_int(slice_of(numbers[i].text), &n), numbers[i].good);
        if (numbers[i].good) assert_true(n == numbers[i].n);
    }
}

static void test_errors(void **state)
{
    err_info why;
    char longer[400];

    (void)state;
    assert_int_equal(err_set(NULL, ERR_IO, "x"), ERR_IO);
    assert_int_equal(err_set(&why, ERR_NET, "port %d", 1), ERR_NET);
    assert_int_equal(err_prefix(&why, "adt"), ERR_NET);
    assert_string_equal(why.text, "adt: port 1");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    (void)err_set(&why, ERR_NET, "%s", longer);
    (void)err_prefix(&why, "%s", longer);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
    for (int e = 0; e < ERR_COUNT; e++) assert_string_not_equal(err_name((err)e), "unknown");
    assert_string_equal(err_name((err)999), "unknown");
}

typedef struct item { list link; int n; } item;

static int sum_of(const list *head)
{
    int digits = 0;

    list_each(it, head) digits = digits * 10 + container_of(it, item, link)->n;
    return digits;
}

static void test_lists(void **state)
{
    item items[5];
    list a, b;

    (void)state;
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 5; i++) items[i].n = i + 1;
    for (int i = 0; i < 3; i++) list_push(&a, &items[i].link);
    list_push_front(&b, &items[4].link);
    list_push_front(&b, &items[3].link);
    list_splice(&a, &b);
    assert_true(list_empty(&b));
    list_splice(&a, &b);
    assert_int_equal(sum_of(&a), 12345);
    list_each_safe(it, &a) if (container_of(it, item, link)->n % 2 == 0) list_remove(it);
    assert_int_equal(sum_of(&a), 135);
    assert_ptr_equal(list_pop(&a), &items[0].link);
    list_insert_before(&items[4].link, &items[1].link);
    assert_int_equal(sum_of(&a), 325);
    for (int i = 0; i < 3; i++) assert_non_null(list_pop(&a));
    assert_null(list_pop(&a));
}

static void test_arena(void **state)
{
    arena mem = { 0 };
    char *kept[200];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < countof(kept); i++) {
            size_t size = i * i;         /* from nothing to 40 kB */
            kept[i] = arena_alloc(&mem, size);
            assert_int_equal((uintptr_t)kept[i] % _Alignof(max_align_t), 0);
            memset(kept[i], (int)i, size);
        }
        for (size_t i = 1; i < countof(kept); i++)
            for (size_t at = 0; at < i * i; at += i) assert_int_equal((unsigned char)kept[i][at], i);
        arena_reset(&mem);
        assert_in_range(mem.held, 0, 64 << 10);
    }
    const char *zero = arena_zalloc(&mem, 1000);
    for (size_t i = 0; i < 1000; i++) assert_int_equal(zero[i], 0);
    assert_string_equal(arena_dup(&mem, slice_lit("abc")).ptr, "abc");
    assert_true(slice_is(arena_printf(&mem, "%s-%d", "x", 5), "x-5"));
    arena_free(&mem);
    assert_int_equal(mem.held, 0);
    arena_reset(&mem);                   /* of an empty one */
}

static void test_buf(void **state)
{
    arena mem = { 0 };

    (void)state;
    for (int in_arena = 0; in_arena < 2; in_arena++) {
        buf b = buf_in(in_arena ? &mem : NULL);
        for (int i = 0; i < 1000; i++) buf_printf(&b, "%03d", i);
        assert_int_equal(b.len, 3000);
        assert_memory_equal(b.ptr + 2997, "999", 3);
        buf_clear(&b);
        buf_int(&b, INT64_MIN);
        buf_putc(&b, ' ');
        buf_int(&b, 0);
        buf_put(&b, SLICE_NONE);
        buf_puts(&b, "!");
        assert_true(slice_is(buf_slice(&b), "-9223372036854775808 0!"));
        buf_clear(&b);
        buf_json(&b, slice_lit("a\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9\0z"));
        assert_true(slice_is(buf_slice(&b), "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\\u0000z\""));
        buf_free(&b);
    }
    arena_free(&mem);
}

static const struct { int64_t us; const char *text; } times[] = {
    { 0, "1970-01-01T00:00:00.000000Z" }, { -1, "1969-12-31T23:59:59.999999Z" },
    { 951782400000000, "2000-02-29T00:00:00.000000Z" }, { 1776504600123456, "2026-04-18T09:30:00.123456Z" },
    { 253402300799999999, "9999-12-31T23:59:59.999999Z" },
};

static void test_clock(void **state)
{
    char out[CLOCK_TEXT_LEN + 1];

    (void)state;
    for (size_t i = 0; i < countof(times); i++) assert_string_equal(clock_text(times[i].us, out), times[i].text);
    assert_int_equal(strlen(clock_text(INT64_MAX, out)), CLOCK_TEXT_LEN);
    uint64_t before = clock_ns();
    assert_true(clock_ns() >= before);
    assert_true(clock_real_us() > 1767225600000000);         /* 2026 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices), cmocka_unit_test(test_numbers), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_lists), cmocka_unit_test(test_arena), cmocka_unit_test(test_buf),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
