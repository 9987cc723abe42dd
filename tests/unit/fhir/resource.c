/* tests/unit/fhir/resource.c -- what is found in resources, and what is not one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fhir/check.h"
#include "fhir/outcome.h"
#include "fhir/r4.h"
#include "fhir/resource.h"

static json *read_json(arena *mem, const char *text)
{
    json *v;
    err_info why;
    if (json_parse(mem, slice_of(text), &v, &why) != ERR_OK) fail_msg("%s: %s", text, why.text);
    return v;
}

static void test_ids_and_types(void **state)
{
    (void)state;
    assert_true(fhir_id_valid(slice_lit("a-B.9")));
    assert_true(fhir_id_valid(slice_lit("1234567890123456789012345678901234567890123456789012345678901234")));
    assert_false(fhir_id_valid(slice_lit("12345678901234567890123456789012345678901234567890123456789012345")));
    assert_false(fhir_id_valid(slice_lit("")));
    assert_false(fhir_id_valid(slice_lit("a_b")));
    assert_false(fhir_id_valid(slice_lit("a/b")));

    assert_int_equal(r4_type_count, 146);
    for (size_t i = 1; i < r4_type_count; i++)       /* what the search relies on */
        assert_true(strcmp(r4_types[i - 1].name, r4_types[i].name) < 0);
    assert_true(fhir_type_known(slice_lit("Patient")));
    assert_true(fhir_type_known(slice_lit("Account")));
    assert_true(fhir_type_known(slice_lit("VisionPrescription")));
    assert_false(fhir_type_known(slice_lit("patient")));
    assert_false(fhir_type_known(slice_lit("Resource")));
    assert_false(fhir_type_known(SLICE_NONE));
}

static void test_elements(void **state)
{
    const r4_type *observation = r4_type_find(slice_lit("Observation"));
    r4_element e;

    (void)state;
    assert_true(r4_element_find(observation, slice_lit("valueQuantity"), &e));
    assert_int_equal(e.kind, R4_CHOICE);
    assert_true(slice_is(e.name, "value"));
    assert_true(r4_element_find(observation, slice_lit("_issued"), &e));
    assert_int_equal(e.kind, R4_TEXT);
    assert_true(r4_element_find(observation, slice_lit("status"), &e));
    assert_true(e.required && !e.many);
    assert_true(slice_starts(e.codes, slice_lit("registered|")));
    assert_true(r4_element_find(observation, slice_lit("category"), &e));
    assert_true(e.many && !e.required);
    assert_false(r4_element_find(observation, slice_lit("value"), &e));
    assert_false(r4_element_find(observation, slice_lit("valuequantity"), &e));
    assert_false(r4_element_find(observation, slice_lit("gender"), &e));
}

static const struct { const char *resource, *wrong; } checks[] = {       /* NULL: nothing wrong */
    { "{\"resourceType\":\"Patient\"}", NULL },
    { "{\"resourceType\":\"Patient\",\"id\":\"1\",\"meta\":{\"tag\":[{}]},\"text\":{},\"extension\":[{}],"
      "\"identifier\":[{\"value\":\"1\"}],\"active\":true,\"gender\":\"male\",\"birthDate\":\"1970\","
      "\"_birthDate\":{\"extension\":[{}]},\"deceasedBoolean\":false,\"multipleBirthInteger\":2}", NULL },
    { "{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{},\"valueInteger\":1}", NULL },
    { "{\"resourceType\":\"Observation\",\"_status\":{\"extension\":[{}]},\"code\":{},"
      "\"_effectiveDateTime\":{\"extension\":[{}]}}", NULL },
    { "{\"resourceType\":\"PlanDefinition\",\"status\":\"draft\",\"library\":[\"a\",null],"
      "\"_library\":[null,{\"id\":\"x\"}]}", NULL },
    { "{\"resourceType\":\"Patient\",\"contained\":[{\"resourceType\":\"Organization\",\"name\":\"x\"}]}", NULL },
    { "[]", "a JSON object" },
    { "{}", "resourceType is missing" },
    { "{\"resourceType\":1}", "resourceType is missing" },
    { "{\"resourceType\":\"Person2\"}", "none that FHIR R4 has" },
    { "{\"resourceType\":\"Patient\",\"id\":\"a b\"}", "Patient.id" },
    { "{\"resourceType\":\"Patient\",\"foo\":1}", "no element foo" },
    { "{\"resourceType\":\"Patient\",\"\":1}", "no element like that" },
    { "{\"resourceType\":\"Patient\",\"Max Mustermann\":1}", "no element like that" },
    { "{\"resourceType\":\"Patient\",\"gender\":\"M\"}", "Patient.gender holds a code" },
    { "{\"resourceType\":\"Patient\",\"gender\":null}", "Patient.gender must be a string" },
    { "{\"resourceType\":\"Patient\",\"birthDate\":\"\"}", "birthDate is empty" },
    { "{\"resourceType\":\"Patient\",\"active\":\"true\"}", "Patient.active must be true or false" },
    { "{\"resourceType\":\"Patient\",\"name\":{}}", "Patient.name repeats" },
    { "{\"resourceType\":\"Patient\",\"name\":[]}", "Patient.name is an empty array" },
    { "{\"resourceType\":\"Patient\",\"name\":[\"x\"]}", "Patient.name must be an object" },
    { "{\"resourceType\":\"Patient\",\"maritalStatus\":[{}]}", "Patient.maritalStatus must be an object" },
    { "{\"resourceType\":\"Patient\",\"deceasedBoolean\":true,\"deceasedDateTime\":\"2020\"}",
      "Patient.deceased[x] may have one type only" },
    { "{\"resourceType\":\"Observation\",\"code\":{}}", "Observation.status is required" },
    { "{\"resourceType\":\"MedicationRequest\",\"status\":\"active\",\"intent\":\"order\",\"subject\":{}}",
      "MedicationRequest.medication is required" },
    { "{\"resourceType\":\"Patient\",\"contained\":[{\"resourceType\":\"Organization\",\"nam\":\"x\"}]}",
      "Patient.contained: Organization has no element nam" },
    { "{\"resourceType\":\"Patient\",\"contained\":[{\"resourceType\":\"Group\",\"type\":\"person\","
      "\"actual\":true,\"contained\":[{\"resourceType\":\"Group\"}]}]}", "may not contain others" },
};

static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(checks); i++) {
        arena mem = { 0 };
        err_info why = { 0 };
        err e = fhir_check(read_json(&mem, checks[i].resource), &why);
        if (checks[i].wrong == NULL) {
            if (e != ERR_OK) fail_msg("%s: %s", checks[i].resource, why.text);
        } else {
            assert_int_equal(e, ERR_FHIR);
            if (strstr(why.text, checks[i].wrong) == NULL)
                fail_msg("%s: '%s' does not say '%s'", checks[i].resource, why.text, checks[i].wrong);
        }
        arena_free(&mem);
    }
}

static void test_tokens(void **state)
{
    arena mem = { 0 };
    json *v = read_json(&mem,
        "{\"resourceType\":\"Observation\",\"identifier\":[{\"system\":\"s\",\"value\":\"1\"},"
        "{\"system\":\"s\"},{\"value\":\"2\"},7,{\"value\":\"3\"},{\"value\":\"4\"},{\"value\":\"5\"}],"
        "\"category\":[{\"coding\":[{\"system\":\"c\",\"code\":\"lab\"},{\"code\":\"x\"},{\"display\":\"no\"}]},"
        "{\"text\":\"only\"}],\"meta\":{\"profile\":[\"http://p|1.0\",\"http://q\"]}}");
    fhir_tokens t = fhir_identifiers(&mem, v);

    (void)state;
    assert_int_equal(t.count, 5);
    assert_true(slice_is(t.at[0].system, "s") && slice_is(t.at[0].code, "1"));
    assert_null(t.at[1].system.ptr);
    assert_true(slice_is(t.at[4].code, "5"));
    t = fhir_categories(&mem, v);
    assert_int_equal(t.count, 2);
    assert_true(slice_is(t.at[0].system, "c") && slice_is(t.at[0].code, "lab"));
    assert_null(t.at[1].system.ptr);

    t = fhir_identifiers(&mem, read_json(&mem, "{\"identifier\":{\"value\":\"b\"}}"));     /* Bundle's is single */
    assert_int_equal(t.count, 1);
    t = fhir_codings(&mem, read_json(&mem, "{\"class\":{\"system\":\"v3\",\"code\":\"AMB\"}}"), "class");
    assert_int_equal(t.count, 1);
    assert_true(slice_is(t.at[0].code, "AMB"));

    assert_true(fhir_has_profile(v, slice_lit("http://p")));
    assert_true(fhir_has_profile(v, slice_lit("http://p|1.0")));
    assert_true(fhir_has_profile(v, slice_lit("http://q")));
    assert_false(fhir_has_profile(v, slice_lit("http://r")));
    arena_free(&mem);
}

typedef struct seen { arena *mem; buf text; } seen;

static void on_reference(void *arg, slice element, json *reference)
{
    seen *s = arg;
    buf_put(&s->text, element);
    buf_putc(&s->text, '=');
    buf_put(&s->text, reference->text);
    buf_putc(&s->text, ' ');
    reference->text = slice_lit("Patient/new");
}

static void test_references(void **state)
{
    arena mem = { 0 };
    seen s = { &mem, buf_in(&mem) };
    buf out = buf_in(&mem);
    json *v = read_json(&mem,
        "{\"reference\":\"odd\",\"subject\":{\"reference\":\"urn:uuid:1\",\"display\":\"reference\"},"
        "\"performer\":[{\"reference\":\"A/1\"},{\"identifier\":{\"value\":\"x\"}}],"
        "\"contained\":[{\"managingOrganization\":{\"reference\":\"#o\"}}]}");

    (void)state;
    fhir_references(v, on_reference, &s);
    buf_putc(&s.text, '\0');
    assert_string_equal(s.text.ptr, "=odd subject=urn:uuid:1 performer=A/1 managingOrganization=#o ");
    json_write(&out, json_get(v, "subject"));
    assert_true(slice_is(buf_slice(&out), "{\"reference\":\"Patient/new\",\"display\":\"reference\"}"));
    arena_free(&mem);
}

static const struct { const char *text, *base, *type, *id, *version; } targets[] = {
    { "Patient/1", NULL, "Patient", "1", NULL },
    { "Patient/1/_history/2", NULL, "Patient", "1", "2" },
    { "http://h/fhir/Patient/1", "http://h/fhir", "Patient", "1", NULL },
    { "https://h/fhir/Patient/1/_history/9", "https://h/fhir", "Patient", "1", "9" },
    { "", NULL, NULL, NULL, NULL }, { "1", NULL, NULL, NULL, NULL }, { "#p", NULL, NULL, NULL, NULL },
    { "patient/1", NULL, NULL, NULL, NULL }, { "/Patient/1", NULL, NULL, NULL, NULL },
    { "x/Patient/1", NULL, NULL, NULL, NULL }, { "Patient/", NULL, NULL, NULL, NULL },
    { "Patient/1/_history/", NULL, NULL, NULL, NULL }, { "_history/1", NULL, NULL, NULL, NULL },
    { "urn:uuid:11111111-1111-4111-8111-111111111111", NULL, NULL, NULL, NULL },
    { "Patient?identifier=a|b", NULL, NULL, NULL, NULL },
};

static bool is(slice got, const char *want)
{
    return want == NULL ? got.ptr == NULL : got.ptr != NULL && slice_is(got, want);
}

static void test_reference_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(targets); i++) {
        fhir_target t;
        bool ok = fhir_reference_parse(slice_of(targets[i].text), &t);
        if (ok != (targets[i].id != NULL)) fail_msg("%s", targets[i].text);
        if (ok && !(is(t.base, targets[i].base) && is(t.type, targets[i].type) && is(t.id, targets[i].id) &&
                    is(t.version, targets[i].version)))
            fail_msg("%s taken apart wrongly", targets[i].text);
    }
}

static void test_same(void **state)
{
    arena mem = { 0 };

    (void)state;
#define SAME(a, b) fhir_same(read_json(&mem, (a)), read_json(&mem, (b)))
    assert_true(SAME("{\"a\":1,\"b\":[{\"c\":null}],\"d\":{}}", "{\"d\":{},\"b\":[{\"c\":null}],\"a\":1}"));
    assert_false(SAME("{\"a\":1.10}", "{\"a\":1.1}"));
    assert_false(SAME("[1,2]", "[2,1]"));
    assert_false(SAME("{\"a\":1}", "{\"b\":1}"));
    assert_false(SAME("{\"a\":1}", "{\"a\":1,\"b\":1}"));
    assert_false(SAME("{\"a\":true}", "{\"a\":false}"));
    assert_false(SAME("[]", "{}"));
#undef SAME
    arena_free(&mem);
}

static void test_outcome(void **state)
{
    arena mem = { 0 };
    buf out = buf_in(&mem);
    json *o = fhir_outcome(&mem, FHIR_ERROR, "not-found", slice_lit("no \"x\""));
    err_info why;

    (void)state;
    assert_int_equal(fhir_check(o, &why), ERR_OK);
    json_write(&out, o);
    assert_true(slice_is(buf_slice(&out),
        "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"not-found\","
        "\"details\":{\"text\":\"no \\\"x\\\"\"},\"diagnostics\":\"no \\\"x\\\"\"}]}"));
    fhir_outcome_add(&mem, o, FHIR_WARNING, "conflict", slice_lit("two"));
    assert_int_equal(json_get(o, "issue")->count, 2);
    for (err e = ERR_HL7; e < ERR_COUNT; e++) {
        assert_non_null(fhir_issue_code(e));
        assert_in_range(fhir_issue_status(e), 400, 599);
    }
    assert_int_equal(fhir_issue_status(ERR_OK), 500);
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_and_types), cmocka_unit_test(test_elements), cmocka_unit_test(test_check),
        cmocka_unit_test(test_tokens), cmocka_unit_test(test_references),
        cmocka_unit_test(test_reference_parse), cmocka_unit_test(test_same), cmocka_unit_test(test_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
