/* tests/unit/base/json.c -- what is taken, what is refused and where, and that
 * nothing is lost on the way through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"

/* An allocation of exactly the text, so that ASan sees a read behind its end. */
static err parse_exact(arena *mem, slice text, json **out, err_info *why, char **copy)
{
    *copy = malloc(text.len == 0 ? 1 : text.len);
    assert_non_null(*copy);
    if (text.len > 0) memcpy(*copy, text.ptr, text.len);
    return json_parse(mem, (slice){ *copy, text.len }, out, why);
}

static slice written(arena *mem, const json *v)
{
    buf out = buf_in(mem);
    json_write(&out, v);
    return buf_slice(&out);
}

/* `out` NULL: written as it was read. */
static const struct { const char *in, *out; } good[] = {
    { "null", NULL }, { "true", NULL }, { " \t\r\n false \n", "false" }, { "\"\"", NULL },
    { "0", NULL }, { "-0", NULL }, { "1.10", NULL }, { "9007199254740993", NULL }, { "-0.000e+00", NULL },
    { "1E400", NULL }, { "12345678901234567890.12345678901234567890", NULL },
    { "[]", NULL }, { "{}", NULL }, { "[ ]", "[]" }, { "{ }", "{}" }, { "[[],{},[{}]]", NULL },
    { "[1 , 2\n,3 ]", "[1,2,3]" },
    { "{\"b\":1,\"a\":{\"b\":[null,true,false]},\"\":2}", NULL },
    { "{\"a\" : 1 , \"A\" : 2}", "{\"a\":1,\"A\":2}" },
    { "\"seven b\"", NULL }, { "\"exactly8\"", NULL }, { "\"nine byte\"", NULL }, { "\"\x7f/\"", NULL },
    { "\"12345678\\\"1234567\\\\\"", NULL },
    { "\"\\b\\f\\n\\r\\t\\/\\\"\\\\\"", "\"\\b\\f\\n\\r\\t/\\\"\\\\\"" },
    { "\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\\u0000\\u001f\"", "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\\u0000\\u001f\"" },
    { "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"", NULL },
    { "{\"\\u006bey\":\"v\"}", "{\"key\":\"v\"}" },
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(good); i++) {
        const char *want = good[i].out == NULL ? good[i].in : good[i].out;
        arena mem = { 0 };
        err_info why = { 0 };
        char *copy;
        json *v;
        if (parse_exact(&mem, slice_of(good[i].in), &v, &why, &copy) != ERR_OK)
            fail_msg("%s: %s", good[i].in, why.text);
        assert_string_equal(arena_cstr(&mem, written(&mem, v)), want);
        json *twin = json_copy(&mem, v);
        memset(copy, 'x', strlen(good[i].in));       /* the copy borrows nothing */
        assert_string_equal(arena_cstr(&mem, written(&mem, twin)), want);
        free(copy);
        arena_free(&mem);
    }
}

static const struct { const char *in; size_t len; size_t at; const char *says; } bad[] = {
#define BAD(text, at, says) { text, sizeof(text) - 1, at, says }
    BAD("nul", 0, "true, false nor null"), BAD("True", 0, "value"), BAD("nullx", 4, "follows"),
    BAD("  ", 2, "ends"), BAD("[1,]", 3, "value"), BAD("[1 2]", 3, "comma or ]"), BAD("[1", 2, "ends"),
    BAD("[", 1, "ends"), BAD("]", 0, "value"), BAD("[}", 1, "value"), BAD("{\"a\":1,}", 7, "key"),
    BAD("{a:1}", 1, "key"), BAD("{\"a\" 1}", 5, "colon"), BAD("{\"a\":}", 5, "value"),
    BAD("{\"a\":1]", 6, "comma or }"), BAD("{\"a\":1 \"b\":2}", 7, "comma or }"), BAD("{} {}", 3, "follows"),
    BAD("01", 1, "needless"), BAD("-01", 2, "needless"), BAD("-", 1, "digit"), BAD("+1", 0, "value"),
    BAD(".5", 0, "value"), BAD("1.", 2, "decimal"), BAD("1.e5", 2, "decimal"), BAD("1e", 2, "exponent"),
    BAD("1e+", 3, "exponent"), BAD("0x10", 1, "follows"), BAD("NaN", 0, "value"), BAD("Infinity", 0, "value"),
    BAD("\"abc", 0, "no end"), BAD("\"abc\\\"", 0, "no end"), BAD("\"a\\", 2, "escape"), BAD("\"\\x41\"", 1, "escape"),
    BAD("\"\\u12g4\"", 1, "escape"), BAD("\"\\u123", 1, "escape"), BAD("\"\\ud800\"", 1, "surrogate"),
    BAD("\"\\udc00\"", 1, "surrogate"), BAD("\"\\ud800\\u0041\"", 1, "surrogate"),
    BAD("\"\\ud83d\\ud83d\"", 1, "surrogate"), BAD("\"a\nb\"", 2, "control"), BAD("\"1234567\x1f\"", 8, "control"),
    BAD("\"a\0b\"", 2, "control"), BAD("1\0", 1, "follows"), BAD("\0", 0, "value"), BAD("\"\\\0\"", 1, "escape"),
    BAD("'a'", 0, "value"), BAD("[1] // no", 4, "follows"), BAD("\xef\xbb\xbf{}", 0, "value"),
    BAD("\"\xff\"", 1, "UTF-8"), BAD("\"\xc3\"", 1, "UTF-8"), BAD("\"\xc0\x80\"", 1, "UTF-8"),
    BAD("\"\xed\xa0\x80\"", 1, "UTF-8"), BAD("\"\xf4\x90\x80\x80\"", 1, "UTF-8"), BAD("\"\xe0\x9f\xbf\"", 1, "UTF-8"),
    BAD("{\"a\":1,\"b\":2,\"a\":3}", 13, "already"), BAD("{\"a\":1,\"\\u0061\":3}", 7, "already"),
    BAD("[{\"x\":{\"\":0,\"\":0}}]", 12, "already"),
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(bad); i++) {
        arena mem = { 0 };
        err_info why = { 0 };
        char *copy, at[32];
        json *v;
        assert_int_equal(parse_exact(&mem, (slice){ bad[i].in, bad[i].len }, &v, &why, &copy), ERR_JSON);
        (void)snprintf(at, sizeof at, "byte %zu:", bad[i].at);
        if (strstr(why.text, at) == NULL || strstr(why.text, bad[i].says) == NULL)
            fail_msg("%s -> %s (wanted %s %s)", bad[i].in, why.text, at, bad[i].says);
        free(copy);
        arena_free(&mem);
    }
}

/* A document cut anywhere is refused, and nothing behind the cut is read. */
static void test_cut(void **state)
{
    slice whole = slice_lit("{\"a\":[1.50e-1,\"\\ud83d\\ude00\xc3\xa9\",true,null,{\"b\":{}}],\"long key\":false}");

    (void)state;
    for (size_t n = 0; n <= whole.len; n++) {
        arena mem = { 0 };
        err_info why;
        char *copy;
        json *v;
        err e = parse_exact(&mem, (slice){ whole.ptr, n }, &v, &why, &copy);
        assert_int_equal(e, n == whole.len ? ERR_OK : ERR_JSON);
        free(copy);
        arena_free(&mem);
    }
}

static err parse_nested(unsigned depth, const char *open, const char *close)
{
    arena mem = { 0 };
    buf text = buf_in(&mem);
    err_info why;
    json *v;

    for (unsigned i = 0; i < depth; i++) buf_puts(&text, open);
    buf_puts(&text, "0");
    for (unsigned i = 0; i < depth; i++) buf_puts(&text, close);
    err e = json_parse(&mem, buf_slice(&text), &v, &why);
    arena_free(&mem);
    return e;
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(parse_nested(JSON_DEPTH, "[", "]"), ERR_OK);
    assert_int_equal(parse_nested(JSON_DEPTH + 1, "[", "]"), ERR_JSON);
    assert_int_equal(parse_nested(JSON_DEPTH, "{\"a\":", "}"), ERR_OK);
    assert_int_equal(parse_nested(JSON_DEPTH + 1, "{\"a\":", "}"), ERR_JSON);
    assert_int_equal(parse_nested(1000000, "[", "]"), ERR_JSON);
}

/* Duplicates are found on both sides of the step from comparing to hashing, and a
 * huge object does not take quadratic time (that would be minutes). */
static void test_many_keys(void **state)
{
    static const unsigned sizes[] = { 1, 15, 16, 17, 31, 32, 33, 64, 200000 };

    (void)state;
    for (size_t i = 0; i < countof(sizes); i++) {
        for (int doubled = 0; doubled < 2; doubled++) {
            arena mem = { 0 };
            buf text = buf_in(NULL);
            err_info why;
            json *v;
            buf_puts(&text, "{");
            for (unsigned k = 0; k < sizes[i]; k++) buf_printf(&text, "\"k%u\":%u,", k, k);
            buf_printf(&text, "\"k%u\":0}", doubled ? sizes[i] / 2 : sizes[i]);
            assert_int_equal(json_parse(&mem, buf_slice(&text), &v, &why), doubled ? ERR_JSON : ERR_OK);
            if (!doubled) assert_int_equal(v->count, sizes[i] + 1);
            buf_free(&text);
            arena_free(&mem);
        }
    }
}

static void test_reading(void **state)
{
    slice text = slice_lit("{\"s\":\"text\",\"n\":1.10,\"o\":{\"x\":[]},\"e\":\"\"}");
    arena mem = { 0 };
    json *v;

    (void)state;
    assert_int_equal(json_parse(&mem, text, &v, NULL), ERR_OK);
    assert_true(slice_is(json_text(v, "s"), "text"));
    assert_ptr_equal(json_text(v, "s").ptr, text.ptr + 6);        /* borrowed */
    assert_null(json_text(v, "n").ptr);
    assert_null(json_text(v, "missing").ptr);
    assert_non_null(json_text(v, "e").ptr);
    assert_true(slice_is(json_get(v, "n")->text, "1.10"));
    assert_true(json_is(json_get(json_get(v, "o"), "x"), JSON_ARRAY));
    assert_null(json_get(json_get(v, "none"), "x"));
    assert_null(json_get(json_get(v, "s"), "x"));
    assert_false(json_is(NULL, JSON_NULL));
    arena_free(&mem);
}

static void test_building(void **state)
{
    arena mem = { 0 };
    json *o = json_new(&mem, JSON_OBJECT), *a = json_new(&mem, JSON_ARRAY);

    (void)state;
    json_set(o, slice_lit("a"), json_int(&mem, INT64_MIN));
    json_set(o, slice_lit("b"), json_string(&mem, slice_lit("q\"")));
    json_set(o, slice_lit("c"), a);
    json_push(a, json_int(&mem, 1));
    json_push(a, json_new(&mem, JSON_NULL));
    json_set(o, slice_lit("a"), json_int(&mem, 7));               /* in its place */
    assert_true(slice_is(written(&mem, o), "{\"a\":7,\"b\":\"q\\\"\",\"c\":[1,null]}"));
    json_set(o, slice_lit("c"), json_new(&mem, JSON_TRUE));       /* the last one */
    json_set(o, slice_lit("d"), json_new(&mem, JSON_FALSE));
    assert_true(slice_is(written(&mem, o), "{\"a\":7,\"b\":\"q\\\"\",\"c\":true,\"d\":false}"));
    json_remove(o, slice_lit("b"));
    json_remove(o, slice_lit("d"));
    json_remove(o, slice_lit("nothing"));
    assert_int_equal(o->count, 2);
    json_set(o, slice_lit("e"), json_new(&mem, JSON_NULL));
    json_remove(o, slice_lit("a"));
    assert_true(slice_is(written(&mem, o), "{\"c\":true,\"e\":null}"));
    json_remove(o, slice_lit("c"));
    json_remove(o, slice_lit("e"));
    json_set(o, slice_lit("z"), json_int(&mem, -1));
    assert_true(slice_is(written(&mem, o), "{\"z\":-1}"));
    arena_free(&mem);
}

/* Every string of two bytes, at each offset within a word: agrees with a plain rule. */
static void test_utf8(void **state)
{
    char text[48];

    (void)state;
    assert_int_equal(utf8_valid(SLICE_NONE), 0);
    for (size_t offset = 0; offset < 40; offset += 13) {
        for (unsigned pair = 0; pair < 0x10000; pair++) {
            unsigned char a = (unsigned char)(pair >> 8), b = (unsigned char)pair;
            size_t want = a >= 0x80 ? (a >= 0xc2 && a <= 0xdf && (b & 0xc0) == 0x80 ? 48 : offset)
                                    : b >= 0x80 ? offset + 1 : 48;
            memset(text, 'a', sizeof text);
            text[offset] = (char)a;
            text[offset + 1] = (char)b;
            assert_int_equal(utf8_valid((slice){ text, sizeof text }), want);
        }
    }
    assert_int_equal(utf8_valid(slice_lit("\xf0\x9f\x98")), 0);
    assert_int_equal(utf8_valid(slice_lit("ab\xe2\x82")), 2);
    assert_int_equal(utf8_valid(slice_lit("\xf0\x8f\xbf\xbf")), 0);
    assert_int_equal(utf8_valid(slice_lit("\xf5\x80\x80\x80")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_many_keys), cmocka_unit_test(test_reading),
        cmocka_unit_test(test_building), cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
