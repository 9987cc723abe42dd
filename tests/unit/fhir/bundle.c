/* Transaction Bundles as they are written, and answers as services give them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fhir/bundle.h"

static const json *parsed(arena *mem, const char *text)
{
    err_info why;
    json *v;

    if (json_parse(mem, slice_of(text), &v, &why) != ERR_OK) fail_msg("%s: %s", text, why.text);
    return v;
}

static void written(void **state)
{
    arena mem = { 0 };
    buf out = buf_in(&mem);
    const fhir_bundle_entry entries[] = {
        { .full_url = slice_lit("urn:uuid:1"), .method = slice_lit("POST"), .url = slice_lit("Patient"),
          .if_none_exist = slice_lit("identifier=a|\"b\""),
          .resource = parsed(&mem, "{\"resourceType\":\"Patient\",\"gender\":null,\"x\":1.10,\"y\":[{\"z\":null}],\"n\":null}") },
        { .method = slice_lit("PUT"), .url = slice_lit("Patient/1"), .if_match = slice_lit("W/\"3\""),
          .resource = parsed(&mem, "{\"resourceType\":\"Patient\",\"id\":\"1\"}") },
        { .method = slice_lit("DELETE"), .url = slice_lit("Patient/2") },
    };

    (void)state;
    fhir_bundle_write(&out, slice_lit("urn:s"), slice_lit("MSG_1"), entries, countof(entries));
    buf_putc(&out, '\0');
    assert_string_equal(out.ptr,
        "{\"resourceType\":\"Bundle\",\"identifier\":{\"system\":\"urn:s\",\"value\":\"MSG_1\"},\"type\":\"transaction\","
        "\"entry\":[{\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"resourceType\":\"Patient\",\"x\":1.10,\"y\":[{\"z\":null}]},"
        "\"request\":{\"method\":\"POST\",\"url\":\"Patient\",\"ifNoneExist\":\"identifier=a|\\\"b\\\"\"}},"
        "{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"1\"},\"request\":{\"method\":\"PUT\",\"url\":\"Patient/1\","
        "\"ifMatch\":\"W/\\\"3\\\"\"}},{\"request\":{\"method\":\"DELETE\",\"url\":\"Patient/2\"}}]}");
    buf_clear(&out);
    fhir_bundle_write(&out, SLICE_NONE, SLICE_NONE, NULL, 0);
    buf_putc(&out, '\0');
    assert_string_equal(out.ptr, "{\"resourceType\":\"Bundle\",\"type\":\"transaction\"}");
    arena_free(&mem);
}

static void answered(void **state)
{
    static const struct { const char *entry; int status; const char *type, *id, *version; bool outcome; } rows[] = {
        { "{\"response\":{\"status\":\"201 Created\",\"location\":\"Patient/12/_history/1\",\"etag\":\"W/\\\"1\\\"\"}}",
          201, "Patient", "12", "1", false },
        { "{\"response\":{\"status\":\"200\",\"location\":\"http://h/fhir/Patient/12/_history/7\"}}", 200, "Patient", "12", "7", false },
        { "{\"response\":{\"status\":\"200 OK\",\"location\":\"https://h/fhir/Patient/12\",\"etag\":\"W/\\\"4\\\"\"}}",
          200, "Patient", "12", "4", false },
        { "{\"response\":{\"status\":\"200 OK\",\"etag\":\"\\\"4\\\"\"},\"resource\":{\"resourceType\":\"Patient\",\"id\":\"9\"}}",
          200, "Patient", "9", "4", false },
        { "{\"response\":{\"status\":\"200 OK\"},\"resource\":{\"resourceType\":\"Patient\",\"id\":\"9\",\"meta\":{\"versionId\":\"2\"}}}",
          200, "Patient", "9", "2", false },
        { "{\"response\":{\"status\":\"204 No Content\",\"etag\":\"x\"}}", 204, "", "", "", false },
        { "{\"response\":{\"status\":\"412 Precondition Failed\",\"outcome\":{\"resourceType\":\"OperationOutcome\"}}}",
          412, "", "", "", true },
        { "{\"response\":{\"status\":\"422\"},\"resource\":{\"resourceType\":\"OperationOutcome\",\"id\":\"1\"}}", 422, "", "", "", true },
        { "{\"response\":{\"status\":\"201\",\"location\":\"12\"}}", 201, "", "", "", false },
    };

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        arena mem = { 0 };
        fhir_bundle_answer *a;
        char text[1024];
        size_t count;
        err_info why;

        (void)snprintf(text, sizeof text, "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\",\"entry\":[%s]}", rows[i].entry);
        assert_int_equal(fhir_bundle_read_response(&mem, parsed(&mem, text), 1, &a, &count, &why), ERR_OK);
        assert_int_equal(count, 1);
        assert_int_equal(a->status, rows[i].status);
        if (!slice_is(a->type, rows[i].type) || !slice_is(a->id, rows[i].id) || !slice_is(a->version, rows[i].version))
            fail_msg("%s", rows[i].entry);
        assert_int_equal(a->outcome != NULL, rows[i].outcome);
        arena_free(&mem);
    }
}

static void refused(void **state)
{
    static const char *const rows[][2] = {
        { "{\"resourceType\":\"OperationOutcome\"}", "no transaction-response" },
        { "{\"resourceType\":\"Bundle\",\"type\":\"searchset\"}", "no transaction-response" },
        { "[]", "no transaction-response" },
        { "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\"}", "0 entries for 1" },
        { "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\",\"entry\":{}}", "no array" },
        { "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\",\"entry\":[{},{}]}", "2 entries for 1" },
        { "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\",\"entry\":[{}]}", "entry 1" },
        { "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\",\"entry\":[{\"response\":{\"status\":\"2010\"}}]}", "entry 1" },
        { "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\",\"entry\":[{\"response\":{\"status\":\"099\"}}]}", "entry 1" },
    };

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        arena mem = { 0 };
        fhir_bundle_answer *a;
        size_t count;
        err_info why;

        assert_int_equal(fhir_bundle_read_response(&mem, parsed(&mem, rows[i][0]), 1, &a, &count, &why), ERR_FHIR);
        if (strstr(why.text, rows[i][1]) == NULL) fail_msg("%s: %s", rows[i][0], why.text);
        arena_free(&mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(written), cmocka_unit_test(answered), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
