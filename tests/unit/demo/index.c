/* tests/unit/demo/index.c -- keys of resources, ranges of searches, pages and conditions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "demo/index.h"
#include "demo/query.h"

#define BASE slice_lit("http://me/fhir")

static json *read_json(arena *mem, const char *text)
{
    json *v;
    err_info why;
    if (json_parse(mem, slice_of(text), &v, &why) != ERR_OK) fail_msg("%s: %s", text, why.text);
    return v;
}

static void on_link(void *arg, slice reference, const char *param)
{
    buf *links = arg;
    buf_printf(links, "%s:%.*s ", param, (int)reference.len, reference.ptr);
}

static const struct { const char *resource, *keys, *links; } indexed[] = {
    { "{\"resourceType\":\"Patient\",\"identifier\":[{\"system\":\"urn:x\",\"value\":\"a|b\"},{\"value\":\"7\"}],"
      "\"name\":[{\"use\":\"official\",\"family\":\"M\xc3\xbcLLER\",\"given\":[\"Anna\",\"B\"]}],\"gender\":\"female\","
      "\"birthDate\":\"1970-05\",\"active\":true}",
      "[\"identifier=a\\\\|b\",\"identifier=urn:x|a\\\\|b\",\"identifier=7\",\"identifier=|7\",\"gender=female\","
      "\"gender=|female\",\"active=true\",\"active=|true\",\"name=m\xc3\xbcller\",\"name=anna\",\"name=b\","
      "\"family=m\xc3\xbcller\",\"given=anna\",\"given=b\",\"birthdate=1970-05-01T00:00:00.000Z\"]", "" },
    { "{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{\"coding\":[{\"system\":\"l\",\"code\":\"1\"}]},"
      "\"subject\":{\"reference\":\"Patient/p\"},\"encounter\":{\"reference\":\"http://me/fhir/Encounter/e\"},"
      "\"performer\":[{\"reference\":\"http://other/Practitioner/1\"},{\"display\":\"x\"}],"
      "\"effectiveDateTime\":\"2026-04-18T09:30:00+02:00\"}",
      "[\"code=1\",\"code=l|1\",\"status=final\",\"status=|final\",\"date=2026-04-18T07:30:00.000Z\","
      "\"subject=Patient/p\",\"subject=p\",\"patient=p\",\"encounter=Encounter/e\",\"encounter=e\","
      "\"performer=http://other/Practitioner/1\"]", "" },
    { "{\"resourceType\":\"Encounter\",\"status\":\"planned\",\"class\":{\"code\":\"AMB\"},"
      "\"subject\":{\"reference\":\"urn:uuid:1\"},\"participant\":[{\"individual\":{\"reference\":\"Practitioner?x=y\"}}],"
      "\"meta\":{\"profile\":[\"http://p\"],\"tag\":[{\"code\":\"t\"}]}}",
      "[\"class=AMB\",\"class=|AMB\",\"status=planned\",\"status=|planned\",\"_profile=http://p\",\"_tag=t\",\"_tag=|t\"]",
      "subject:urn:uuid:1 patient:urn:uuid:1 participant:Practitioner?x=y " },
    { "{\"resourceType\":\"Condition\",\"subject\":{\"reference\":\"Group/g\"},\"code\":{\"coding\":[{\"code\":\"a\\u0000b\"}]}}",
      "[\"subject=Group/g\",\"subject=g\"]", "" },
};

static void test_index(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(indexed); i++) {
        arena mem = { 0 };
        buf keys = buf_in(&mem), links = buf_in(&mem);
        demo_index(&mem, &keys, read_json(&mem, indexed[i].resource), BASE, on_link, &links);
        assert_string_equal(arena_cstr(&mem, buf_slice(&keys)), indexed[i].keys);
        assert_string_equal(arena_cstr(&mem, (slice){ links.len > 0 ? links.ptr : "", links.len }), indexed[i].links);
        arena_free(&mem);
    }
}

static const struct { const char *type, *query, *criteria, *self, *ignored; } queries[] = {
    { "Patient", "identifier=urn:x%7C1", "[{\"n\":1,\"lo\":\"identifier=urn:x|1\",\"hi\":\"identifier=urn:x|1\"}]",
      "identifier=urn:x|1", "" },
    { "Patient", "identifier=urn:x|", "[{\"n\":1,\"lo\":\"identifier=urn:x|\",\"hi\":\"identifier=urn:x|\xf4\x8f\xbf\xbf\"}]",
      "identifier=urn:x|", "" },
    { "Patient", "identifier=1,2&gender=female",
      "[{\"n\":1,\"lo\":\"identifier=1\",\"hi\":\"identifier=1\"},{\"n\":1,\"lo\":\"identifier=2\",\"hi\":\"identifier=2\"},"
      "{\"n\":2,\"lo\":\"gender=female\",\"hi\":\"gender=female\"}]", "identifier=1,2&gender=female", "" },
    { "Patient", "gender=http://hl7.org/fhir/administrative-gender|female",
      "[{\"n\":1,\"lo\":\"gender=female\",\"hi\":\"gender=female\"}]",
      "gender=http://hl7.org/fhir/administrative-gender|female", "" },
    { "Patient", "_id=a,b", "[{\"n\":1,\"lo\":\"_id=a\",\"hi\":\"_id=a\"},{\"n\":1,\"lo\":\"_id=b\",\"hi\":\"_id=b\"}]",
      "_id=a,b", "" },
    { "Observation", "patient=Patient/1&subject=1",
      "[{\"n\":1,\"lo\":\"patient=1\",\"hi\":\"patient=1\"},{\"n\":2,\"lo\":\"subject=1\",\"hi\":\"subject=1\"}]",
      "patient=Patient/1&subject=1", "" },
    { "Observation", "subject:Patient=1&encounter=http://me/fhir/Encounter/2",
      "[{\"n\":1,\"lo\":\"subject=Patient/1\",\"hi\":\"subject=Patient/1\"},"
      "{\"n\":2,\"lo\":\"encounter=Encounter/2\",\"hi\":\"encounter=Encounter/2\"}]",
      "subject:Patient=1&encounter=http://me/fhir/Encounter/2", "" },
    { "Patient", "birthdate=ge1970&birthdate=lt1980-02",
      "[{\"n\":1,\"lo\":\"birthdate=1970-01-01T00:00:00.000Z\",\"hi\":\"birthdate=9~\"},"
      "{\"n\":2,\"lo\":\"birthdate=0\",\"hi\":\"birthdate=1980-01-31T23:59:59.999Z\"}]",
      "birthdate=ge1970&birthdate=lt1980-02", "" },
    { "Patient", "name=Ann", "[{\"n\":1,\"lo\":\"name=ann\",\"hi\":\"name=ann\xf4\x8f\xbf\xbf\"}]", "name=Ann", "" },
    { "Patient", "_count=5&_sort=-_lastUpdated&_format=json", "[]", "_count=5&_sort=-_lastUpdated", "" },
    { "Patient", "nonsense=1&status=final&_include=Patient:organization&Max%20M=1&gender=", "[]", "",
      "nonsense, status, _include, (another)" },
    { "Patient", "", "[]", "", "" },
};

static void test_query(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(queries); i++) {
        arena mem = { 0 };
        demo_query q;
        err_info why;
        err e = demo_query_parse(&mem, slice_of(queries[i].type), slice_of(queries[i].query), BASE, &q, &why);
        if (e != ERR_OK) fail_msg("%s: %s", queries[i].query, why.text);
        assert_string_equal(arena_cstr(&mem, q.criteria), queries[i].criteria);
        assert_string_equal(arena_cstr(&mem, q.self), queries[i].self);
        assert_string_equal(arena_cstr(&mem, q.ignored), queries[i].ignored);
        arena_free(&mem);
    }
}

static const char *const wrong[] = {
    "_count=x", "_count=-1", "_lastUpdated=tomorrow", "_lastUpdated=2026,2027", "_id=a/b", "_after=1", "_after=x.y",
    "identifier=", "identifier=,a", "identifier=a|b|c", "identifier:text=a", "name:contains=x", "birthdate=ne2020",
    "name=%00", "name=%ff", "general-practitioner=a/b/c", "general-practitioner:Nobody=1",
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(wrong); i++) {
        arena mem = { 0 };
        demo_query q;
        err_info why = { 0 };
        err e = demo_query_parse(&mem, slice_lit("Patient"), slice_of(wrong[i]), BASE, &q, &why);
        bool empty = strcmp(wrong[i], "identifier=") == 0;       /* asks for nothing, in a search */
        if ((e == ERR_OK) != empty) fail_msg("%s", wrong[i]);
        if (demo_condition_parse(&mem, slice_lit("Patient"), slice_of(wrong[i]), BASE, &q, &why) != ERR_USAGE)
            fail_msg("%s as a condition", wrong[i]);
        arena_free(&mem);
    }
}

static void test_condition(void **state)
{
    arena mem = { 0 };
    demo_query q;
    err_info why;

    (void)state;
    assert_int_equal(demo_condition_parse(&mem, slice_lit("Patient"), slice_lit("identifier=a|1,a|2"), BASE, &q, &why),
                     ERR_OK);
    assert_int_equal(q.key_count, 2);
    assert_true(slice_is(q.keys[1], "identifier=a|2"));
    assert_int_equal(demo_condition_parse(&mem, slice_lit("Patient"), slice_lit("identifier=1&foo=2"), BASE, &q, &why),
                     ERR_USAGE);
    assert_non_null(strstr(why.text, "foo"));
    assert_int_equal(demo_condition_parse(&mem, slice_lit("Patient"), slice_lit("_count=1"), BASE, &q, &why), ERR_USAGE);
    assert_int_equal(demo_condition_parse(&mem, slice_lit("Patient"), slice_lit("_lastUpdated=2026"), BASE, &q, &why),
                     ERR_USAGE);
    arena_free(&mem);
}

static void test_bounds(void **state)
{
    arena mem = { 0 };
    demo_query q;
    err_info why;
    char text[FHIR_INSTANT_LEN + 1];

    (void)state;
    assert_int_equal(demo_query_parse(&mem, slice_lit("Patient"),
                                      slice_lit("_lastUpdated=ge2026-04&_lastUpdated=lt2026-05-02&_lastUpdated=le2026-05"),
                                      BASE, &q, &why), ERR_OK);
    assert_true(q.bounded);
    assert_string_equal(fhir_instant(q.updated.from_us, text), "2026-04-01T00:00:00.000Z");
    assert_string_equal(fhir_instant(q.updated.to_us, text), "2026-05-02T00:00:00.000Z");
    assert_int_equal(demo_query_parse(&mem, slice_lit("Patient"), slice_lit("_count=100000&_after=17.a-b.c&_total=none"),
                                      BASE, &q, &why), ERR_OK);
    assert_int_equal(q.count, DEMO_COUNT_MAX);
    assert_true(q.after && !q.total);
    assert_int_equal(q.after_us, 17);
    assert_true(slice_is(q.after_id, "a-b.c"));
    assert_int_equal(demo_query_parse(&mem, slice_lit("Patient"), slice_lit("_summary=count"), BASE, &q, &why), ERR_OK);
    assert_int_equal(q.count, 0);
    arena_free(&mem);
}

/* Identifiers longer than an index entry stay distinct and valid. */
static void test_long_keys(void **state)
{
    arena mem = { 0 };
    char value[2001];
    demo_query a, b;
    err_info why;

    (void)state;
    memset(value, 'x', sizeof value);
    for (size_t i = 300; i < 400; i += 2) memcpy(value + i, "\xc3\xa9", 2);
    value[2000] = '\0';
    slice first = arena_printf(&mem, "identifier=%s1", value), second = arena_printf(&mem, "identifier=%s2", value);
    assert_int_equal(demo_condition_parse(&mem, slice_lit("Patient"), first, BASE, &a, &why), ERR_OK);
    assert_int_equal(demo_condition_parse(&mem, slice_lit("Patient"), second, BASE, &b, &why), ERR_OK);
    assert_false(slice_eq(a.keys[0], b.keys[0]));
    assert_in_range(a.keys[0].len, 300, 400);
    assert_int_equal(utf8_valid(a.keys[0]), a.keys[0].len);
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index), cmocka_unit_test(test_query), cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_condition), cmocka_unit_test(test_bounds), cmocka_unit_test(test_long_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
