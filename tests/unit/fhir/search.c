/* tests/unit/fhir/search.c -- dates as spans, and the values of search parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fhir/search.h"

static const struct { const char *text, *from, *to; } dates[] = {        /* from NULL: refused */
    { "2026", "2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z" },
    { "2024-02", "2024-02-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z" },
    { "2026-12", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z" },
    { "2024-02-29", "2024-02-29T00:00:00.000Z", "2024-03-01T00:00:00.000Z" },
    { "1969-12-31", "1969-12-31T00:00:00.000Z", "1970-01-01T00:00:00.000Z" },
    { "0001-01-01", "0001-01-01T00:00:00.000Z", "0001-01-02T00:00:00.000Z" },
    { "2026-04-18T09:30", "2026-04-18T09:30:00.000Z", "2026-04-18T09:31:00.000Z" },
    { "2026-04-18T09:30:15", "2026-04-18T09:30:15.000Z", "2026-04-18T09:30:16.000Z" },
    { "2026-04-18T09:30:15Z", "2026-04-18T09:30:15.000Z", "2026-04-18T09:30:16.000Z" },
    { "2026-04-18T09:30:15+02:00", "2026-04-18T07:30:15.000Z", "2026-04-18T07:30:16.000Z" },
    { "2026-01-01T00:30:00-05:30", "2026-01-01T06:00:00.000Z", "2026-01-01T06:00:01.000Z" },
    { "2026-04-18T09:30:15.5Z", "2026-04-18T09:30:15.500Z", "2026-04-18T09:30:15.600Z" },
    { "2026-04-18T09:30:15.123Z", "2026-04-18T09:30:15.123Z", "2026-04-18T09:30:15.124Z" },
    { "2026-12-31T23:59:60Z", "2027-01-01T00:00:00.000Z", "2027-01-01T00:00:01.000Z" },
    { "", NULL, NULL }, { "26", NULL, NULL }, { "0000", NULL, NULL }, { "2026-", NULL, NULL },
    { "2026-13", NULL, NULL }, { "2026-00", NULL, NULL }, { "2025-02-29", NULL, NULL },
    { "1900-02-29", NULL, NULL }, { "2026-04-31", NULL, NULL }, { "2026-04-18T", NULL, NULL },
    { "2026-04-18T9:30", NULL, NULL }, { "2026-04-18T24:00:00Z", NULL, NULL },
    { "2026-04-18T09:30:15.Z", NULL, NULL }, { "2026-04-18T09:30:15+02", NULL, NULL },
    { "2026-04-18T09:30:15X", NULL, NULL }, { "2026-04-18 09:30:15", NULL, NULL },
    { "2026-04-18T09:30:15Zz", NULL, NULL }, { "20260418", NULL, NULL },
};

static void test_dates(void **state)
{
    char from[FHIR_INSTANT_LEN + 1], to[FHIR_INSTANT_LEN + 1];

    (void)state;
    for (size_t i = 0; i < countof(dates); i++) {
        fhir_span s;
        bool ok = fhir_date_parse(slice_of(dates[i].text), &s);
        if (ok != (dates[i].from != NULL)) fail_msg("%s", dates[i].text);
        if (!ok) continue;
        assert_string_equal(fhir_instant(s.from_us, from), dates[i].from);
        assert_string_equal(fhir_instant(s.to_us, to), dates[i].to);
    }
}

/* Every day of four centuries goes to text and back. */
static void test_days(void **state)
{
    char text[FHIR_INSTANT_LEN + 1];

    (void)state;
    for (int64_t day = -80000; day < 80000; day++) {
        int64_t us = day * INT64_C(86400000000) + INT64_C(86399999000);
        fhir_span s;
        assert_true(fhir_date_parse(slice_of(fhir_instant(us, text)), &s));
        assert_int_equal(s.from_us, us);
    }
}

static void test_next(void **state)
{
    slice rest = slice_lit("a,b\\,c,,d"), value;

    (void)state;
    assert_true(fhir_search_next(&rest, &value) && slice_is(value, "a"));
    assert_true(fhir_search_next(&rest, &value) && slice_is(value, "b\\,c"));
    assert_true(fhir_search_next(&rest, &value) && value.len == 0);
    assert_true(fhir_search_next(&rest, &value) && slice_is(value, "d"));
    assert_false(fhir_search_next(&rest, &value));
    rest = slice_lit("x\\");
    assert_true(fhir_search_next(&rest, &value) && slice_is(value, "x\\"));

    assert_true(slice_is(fhir_search_name(slice_lit("subject:Patient"), &rest), "subject"));
    assert_true(slice_is(rest, "Patient"));
    assert_true(slice_is(fhir_search_name(slice_lit("_id"), &rest), "_id"));
    assert_null(rest.ptr);
}

static const struct { const char *text; int kind; const char *system, *code; } tokens[] = {   /* kind -1: refused */
    { "http://s|1", TOKEN_BOTH, "http://s", "1" },
    { "|1", TOKEN_NO_SYSTEM, NULL, "1" },
    { "1", TOKEN_CODE, NULL, "1" },
    { "http://s|", TOKEN_SYSTEM, "http://s", NULL },
    { "a\\|b|c\\,d\\\\e\\$", TOKEN_BOTH, "a|b", "c,d\\e$" },
    { "a\\|b", TOKEN_CODE, NULL, "a|b" },
    { "a\\n", TOKEN_CODE, NULL, "a\\n" },
    { "", -1, NULL, NULL }, { "|", -1, NULL, NULL }, { "a|b|c", -1, NULL, NULL },
};

static bool is(slice got, const char *want)
{
    return want == NULL ? got.ptr == NULL : got.ptr != NULL && slice_is(got, want);
}

static void test_tokens(void **state)
{
    arena mem = { 0 };

    (void)state;
    for (size_t i = 0; i < countof(tokens); i++) {
        fhir_search_token t;
        err_info why;
        err e = fhir_search_token_parse(&mem, slice_of(tokens[i].text), &t, &why);
        if ((e == ERR_OK) != (tokens[i].kind >= 0)) fail_msg("%s", tokens[i].text);
        if (e != ERR_OK) continue;
        if ((int)t.kind != tokens[i].kind || !is(t.system, tokens[i].system) || !is(t.code, tokens[i].code))
            fail_msg("%s taken apart wrongly", tokens[i].text);
    }
    arena_free(&mem);
}

static const struct { const char *text, *hint, *type, *id, *url; } references[] = {       /* id, url NULL: refused */
    { "1", "Patient", "Patient", "1", NULL },
    { "1", NULL, NULL, "1", NULL },
    { "Patient/1", NULL, "Patient", "1", NULL },
    { "http://me/fhir/Patient/1", "Patient", "Patient", "1", NULL },
    { "http://other/fhir/Patient/1", NULL, NULL, NULL, "http://other/fhir/Patient/1" },
    { "urn:uuid:1", NULL, NULL, NULL, "urn:uuid:1" },
    { "Group/1", "Patient", NULL, NULL, NULL }, { "", NULL, NULL, NULL, NULL }, { "a/b/c", NULL, NULL, NULL, NULL },
};

static void test_references(void **state)
{
    arena mem = { 0 };

    (void)state;
    for (size_t i = 0; i < countof(references); i++) {
        fhir_search_reference r;
        err_info why;
        err e = fhir_search_reference_parse(&mem, slice_of(references[i].text), slice_lit("http://me/fhir"),
                                            slice_of(references[i].hint), &r, &why);
        bool want = references[i].id != NULL || references[i].url != NULL;
        if ((e == ERR_OK) != want) fail_msg("%s", references[i].text);
        if (e == ERR_OK && !(is(r.type, references[i].type) && is(r.id, references[i].id) &&
                             is(r.url, references[i].url)))
            fail_msg("%s taken apart wrongly", references[i].text);
    }
    arena_free(&mem);
}

/* Which of the days around April 2026 match. */
static const struct { const char *value; bool march, april, may; } prefixes[] = {
    { "2026-04", false, true, false }, { "eq2026-04", false, true, false }, { "ge2026-04", false, true, true },
    { "gt2026-04", false, false, true }, { "sa2026-04", false, false, true }, { "le2026-04", true, true, false },
    { "lt2026-04", true, false, false }, { "eb2026-04", true, false, false },
};

static bool covers(fhir_span s, const char *instant)
{
    fhir_span at;
    assert_true(fhir_date_parse(slice_of(instant), &at));
    return at.from_us >= s.from_us && at.from_us < s.to_us;
}

static void test_prefixes(void **state)
{
    fhir_span s;
    err_info why;

    (void)state;
    for (size_t i = 0; i < countof(prefixes); i++) {
        assert_int_equal(fhir_search_date_parse(slice_of(prefixes[i].value), &s, &why), ERR_OK);
        assert_int_equal(covers(s, "2026-03-31T23:59:59.999Z"), prefixes[i].march);
        assert_int_equal(covers(s, "2026-04-01T00:00:00Z"), prefixes[i].april);
        assert_int_equal(covers(s, "2026-04-30T23:59:59.999Z"), prefixes[i].april);
        assert_int_equal(covers(s, "2026-05-01T00:00:00Z"), prefixes[i].may);
    }
    assert_int_equal(fhir_search_date_parse(slice_lit("ne2026"), &s, &why), ERR_USAGE);
    assert_int_equal(fhir_search_date_parse(slice_lit("ap2026"), &s, &why), ERR_USAGE);
    assert_int_equal(fhir_search_date_parse(slice_lit("ge"), &s, &why), ERR_USAGE);
    assert_int_equal(fhir_search_date_parse(slice_lit("yesterday"), &s, &why), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates), cmocka_unit_test(test_days), cmocka_unit_test(test_next),
        cmocka_unit_test(test_tokens), cmocka_unit_test(test_references), cmocka_unit_test(test_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
