/* tests/unit/engine/plan.c -- where resources go: precedence of rules, categories and profiles,
 * {tenant}; then the plan: one delivery a service, references that cross, circles; and the plan of then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <libpq-fe.h>

#include "engine/plan.h"

/* Rows as the database would give them; NULL stays NULL. */
static pg_result rows_of(int columns, const char *const *cells, int count)
{
    static PGresAttDesc names[8] = { { .name = (char *)(uintptr_t)"c" } };
    PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

    for (int i = 0; i < columns; i++) names[i] = names[0];
    assert_int_equal(PQsetResultAttrs(r, columns, names), 1);
    for (int row = 0; row < count; row++) {
        for (int c = 0; c < columns; c++) {
            const char *cell = cells[row * columns + c];
            assert_int_equal(PQsetvalue(r, row, c, (char *)(uintptr_t)cell, cell == NULL ? -1 : (int)strlen(cell)), 1);
        }
    }
    return (pg_result){ r };
}

/*  id, name, url, transactions, concurrency, ca */
static const char *const service_rows[] = {
    "SVC_1", "main",    "http://main/fhir/",          "t", "16", NULL,
    "SVC_2", "lab",     "http://lab/{tenant}/fhir",   "t", "4",  "/ca.pem",
    "SVC_3", "archive", "http://archive",             "f", "1",  NULL,
};

/*  id, type, category, profile, url, priority */
static const char *const rule_rows[] = {
    "RR_1", "*",           NULL,                    NULL,           "http://main/fhir",         "0",
    "RR_2", "Observation", NULL,                    NULL,           "http://main/fhir",         "0",
    "RR_3", "Observation", "laboratory",            NULL,           "http://lab/{tenant}/fhir", "0",
    "RR_4", "Observation", "http://sys|vital-signs", NULL,          "http://archive/",          "0",
    "RR_5", "Observation", NULL,                    "http://p/bmi", "http://archive",           "0",
    "RR_6", "Device",      NULL,                    NULL,           "http://elsewhere",         "0",
    "RR_7", "*",           "laboratory",            NULL,           "http://archive",           "9",
    "RR_9", "Patient",     NULL,                    NULL,           "http://archive",           "1",
    "RR_8", "Patient",     NULL,                    NULL,           "http://main/fhir",         "5",
};

static routes *all_routes(void)
{
    pg_result services = rows_of(6, service_rows, countof(service_rows) / 6), rules = rows_of(6, rule_rows, countof(rule_rows) / 6);
    routes *r = routes_new(slice_lit("north"), &services, &rules);

    PQclear(services.pg);
    PQclear(rules.pg);
    return r;
}

static json *parsed(arena *mem, const char *text)
{
    json *v;

    assert_int_equal(json_parse(mem, slice_of(text), &v, NULL), ERR_OK);
    return v;
}

static void test_precedence(void **state)
{
    static const struct { const char *resource, *rule, *url; } cases[] = {
        { "{\"resourceType\":\"Basic\"}", "RR_1", "http://main/fhir" },
        { "{\"resourceType\":\"Observation\"}", "RR_2", "http://main/fhir" },
        { "{\"resourceType\":\"Observation\",\"category\":[{\"coding\":[{\"code\":\"laboratory\"}]}]}", "RR_3", "http://lab/north/fhir" },
        { "{\"resourceType\":\"Observation\",\"category\":[{\"coding\":[{\"system\":\"http://sys\",\"code\":\"vital-signs\"}]}]}", "RR_4", "http://archive" },
        { "{\"resourceType\":\"Observation\",\"category\":[{\"coding\":[{\"system\":\"http://no\",\"code\":\"vital-signs\"}]}]}", "RR_2", "http://main/fhir" },
        { "{\"resourceType\":\"Observation\",\"category\":[{\"coding\":[{\"code\":\"laboratory\"}]}],\"meta\":{\"profile\":[\"http://p/bmi|1\"]}}", "RR_5", "http://archive" },
        { "{\"resourceType\":\"Basic\",\"category\":{\"coding\":[{\"code\":\"laboratory\"}]}}", "RR_7", "http://archive" },
        { "{\"resourceType\":\"Patient\"}", "RR_8", "http://main/fhir" },
        { "{\"resourceType\":\"Device\"}", "RR_6", NULL },
    };
    routes *r = all_routes();
    arena mem = { 0 };

    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        const routing_rule *rule = routes_find(r, &mem, parsed(&mem, cases[i].resource));
        assert_non_null(rule);
        if (!slice_is(rule->id, cases[i].rule))
            fail_msg("%s went by %.*s, not %s", cases[i].resource, (int)rule->id.len, rule->id.ptr, cases[i].rule);
        if (cases[i].url == NULL) assert_null(rule->to);
        else assert_true(slice_is(rule->to->url, cases[i].url));
    }
    assert_true(slice_is(routes_service(r, slice_lit("lab"))->url, "http://lab/north/fhir"));
    assert_string_equal(routes_service(r, slice_lit("lab"))->ca, "/ca.pem");
    assert_null(routes_service(r, slice_lit("nowhere")));
    routes_drop(routes_keep(r));
    routes_drop(r);
    arena_free(&mem);
}

static void test_no_rules(void **state)
{
    pg_result none = rows_of(6, NULL, 0);
    routes *r = routes_new(slice_lit("north"), &none, &none);
    arena mem = { 0 };

    (void)state;
    assert_null(routes_find(r, &mem, parsed(&mem, "{\"resourceType\":\"Patient\"}")));
    PQclear(none.pg);
    routes_drop(r);
    arena_free(&mem);
}

/* ---- the plan ------------------------------------------------------------------------ */

typedef struct put { const char *to, *full_url, *resource; } put;

static script_result result_of(arena *mem, const put *puts, size_t count)
{
    script_result result = { 0 };
    script_resource **end = &result.resources;

    for (size_t i = 0; i < count; i++) {
        script_resource *s = arena_new(mem, script_resource);
        s->resource = parsed(mem, puts[i].resource);
        s->type = json_text(s->resource, "resourceType");
        s->full_url = slice_of(puts[i].full_url);
        s->to = slice_of(puts[i].to);
        *end = s;
        end = &s->next;
        result.resource_count++;
    }
    return result;
}

static err plan_of(arena *mem, const routes *r, const put *puts, size_t count, plan *out, err_info *why)
{
    script_result result = result_of(mem, puts, count);
    return plan_make(mem, &result, r, out, why);
}

static void test_deliveries(void **state)
{
    static const put puts[] = {
        { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\",\"active\":true}" },
        { NULL, "urn:uuid:2", "{\"resourceType\":\"Observation\",\"subject\":{\"reference\":\"urn:uuid:1\"},\"category\":[{\"coding\":[{\"code\":\"laboratory\"}]}]}" },
        { "archive", "urn:uuid:2", "{\"resourceType\":\"Observation\",\"subject\":{\"reference\":\"urn:uuid:1\"},\"hasMember\":[{\"reference\":\"urn:uuid:3\"}]}" },
        { "lab", "urn:uuid:3", "{\"resourceType\":\"Observation\"}" },
        { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\",\"active\":false}" },
    };
    routes *r = all_routes();
    arena mem = { 0 };
    plan p;
    int delivery, entry;

    (void)state;
    assert_int_equal(plan_of(&mem, r, puts, countof(puts), &p, NULL), ERR_OK);
    assert_int_equal(p.count, 3);
    assert_true(slice_is(p.deliveries[0].to->name, "main"));
    assert_true(slice_is(p.deliveries[0].rule_id, "RR_8"));
    assert_int_equal(p.deliveries[0].entry_count, 1);    /* put twice: the later one, in the place of the first */
    assert_true(json_is(json_get(p.deliveries[0].entries[0].resource, "active"), JSON_FALSE));
    assert_int_equal(p.deliveries[0].need_count, 0);
    assert_true(slice_is(p.deliveries[1].to->name, "lab"));
    assert_int_equal(p.deliveries[1].entry_count, 2);
    assert_int_equal(p.deliveries[1].need_count, 1);
    assert_int_equal(p.deliveries[1].needs[0], 0);
    assert_true(slice_is(p.deliveries[2].to->name, "archive"));
    assert_int_equal(p.deliveries[2].rule_id.len, 0);
    assert_int_equal(p.deliveries[2].need_count, 2);
    assert_int_equal(p.deliveries[2].needs[0], 0);
    assert_int_equal(p.deliveries[2].needs[1], 1);
    assert_true(plan_find(&p, slice_lit("urn:uuid:3"), &delivery, &entry));
    assert_int_equal(delivery, 1);
    assert_int_equal(entry, 1);
    assert_false(plan_find(&p, slice_lit("urn:uuid:4"), &delivery, &entry));
    routes_drop(r);
    arena_free(&mem);
}

static void test_refusals(void **state)
{
    static const struct { put puts[2]; size_t count; const char *says; } cases[] = {
        { { { NULL, "urn:uuid:1", "{\"resourceType\":\"Device\"}" } }, 1, "RR_6" },
        { { { "nowhere", "urn:uuid:1", "{\"resourceType\":\"Patient\"}" } }, 1, "does not reach" },
        { { { "main", "urn:uuid:1", "{\"resourceType\":\"Basic\",\"subject\":{\"reference\":\"urn:uuid:2\"}}" },
            { "lab", "urn:uuid:2", "{\"resourceType\":\"Basic\",\"subject\":{\"reference\":\"urn:uuid:1\"}}" } }, 2, "circle" },
    };
    routes *r = all_routes();
    arena mem = { 0 };
    err_info why;
    plan p;

    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        assert_int_equal(plan_of(&mem, r, cases[i].puts, cases[i].count, &p, &why), ERR_REFUSED);
        if (strstr(why.text, cases[i].says) == NULL) fail_msg("'%s' does not say '%s'", why.text, cases[i].says);
    }
    assert_int_equal(plan_of(&mem, r, NULL, 0, &p, &why), ERR_OK);
    assert_int_equal(p.count, 0);
    routes_drop(r);
    arena_free(&mem);
}

/* A report on one service, its result on another, the patient of both on the first again. */
static void test_steps(void **state)
{
    static const struct put puts[] = {
        { "main", "urn:uuid:1", "{\"resourceType\":\"Patient\"}" },
        { "lab", "urn:uuid:2", "{\"resourceType\":\"Observation\",\"subject\":{\"reference\":\"urn:uuid:1\"}}" },
        { "main", "urn:uuid:3", "{\"resourceType\":\"DiagnosticReport\",\"subject\":{\"reference\":\"urn:uuid:1\"},"
                                "\"result\":[{\"reference\":\"urn:uuid:2\"}]}" },
    };
    routes *r = all_routes();
    arena mem = { 0 };
    err_info why;
    plan p;

    (void)state;
    assert_int_equal(plan_of(&mem, r, puts, 3, &p, &why), ERR_OK);
    assert_int_equal(p.count, 3);
    assert_true(p.deliveries[0].to == p.deliveries[1].to && p.deliveries[2].to != p.deliveries[0].to);
    assert_true(slice_is(p.deliveries[0].entries[0].type, "Patient"));
    assert_int_equal(p.deliveries[0].need_count, 0);
    assert_true(slice_is(p.deliveries[1].entries[0].type, "DiagnosticReport"));
    assert_int_equal(p.deliveries[1].need_count, 2);      /* the patient, and the result */
    assert_int_equal(p.deliveries[1].needs[0], 0);
    assert_int_equal(p.deliveries[1].needs[1], 2);
    assert_int_equal(p.deliveries[2].need_count, 1);
    assert_int_equal(p.deliveries[2].needs[0], 0);
    routes_drop(r);
    arena_free(&mem);
}

/* ---- the plan of then ---------------------------------------------------------------- */

/* What is stored of a plan. */
static plan_made *made_of(arena *mem, const plan *p)
{
    plan_made *made = arena_array(mem, plan_made, (size_t)p->count);

    for (int i = 0; i < p->count; i++) {
        const plan_delivery *d = &p->deliveries[i];
        const int *resources = plan_resources(mem, p, i);
        made[i] = (plan_made){ d->to->url, true, resources, resources == NULL ? 0 : d->entry_count, plan_shape(d) };
    }
    return made;
}

/* The same services, and one rule. */
static routes *all_to(const char *url)
{
    const char *const rule[] = { "RR_1", "*", NULL, NULL, url, "0" };
    pg_result services = rows_of(6, service_rows, countof(service_rows) / 6), rules = rows_of(6, rule, 1);
    routes *r = routes_new(slice_lit("north"), &services, &rules);

    PQclear(services.pg);
    PQclear(rules.pg);
    return r;
}

/* Every plan comes out the same when all is routed elsewhere by now: by services, put twice, in steps. */
static void test_made_then(void **state)
{
    static const put puts[] = {
        { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\",\"active\":true}" },
        { NULL, "urn:uuid:2", "{\"resourceType\":\"Observation\",\"subject\":{\"reference\":\"urn:uuid:1\"},\"category\":[{\"coding\":[{\"code\":\"laboratory\"}]}]}" },
        { "archive", "urn:uuid:2", "{\"resourceType\":\"Observation\",\"subject\":{\"reference\":\"urn:uuid:1\"}}" },
        { NULL, "urn:uuid:3", "{\"resourceType\":\"DiagnosticReport\",\"subject\":{\"reference\":\"urn:uuid:1\"},\"result\":[{\"reference\":\"urn:uuid:2\"}]}" },
        { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\",\"active\":false}" },
    };
    routes *then = all_routes(), *now = all_to("http://archive");
    arena mem = { 0 };
    plan p, again;

    (void)state;
    for (size_t count = 1; count <= countof(puts); count++) {
        script_result result = result_of(&mem, puts, count);
        assert_int_equal(plan_make(&mem, &result, then, &p, NULL), ERR_OK);
        assert_int_equal(plan_remake(&mem, &result, now, made_of(&mem, &p), p.count, &again, NULL), ERR_OK);
        assert_int_equal(again.count, p.count);
        for (int i = 0; i < p.count; i++) {
            const plan_delivery *a = &p.deliveries[i], *b = &again.deliveries[i];
            assert_true(slice_eq(a->to->url, b->to->url));
            assert_int_equal(a->entry_count, b->entry_count);
            for (int k = 0; k < a->entry_count; k++) assert_ptr_equal(a->entries[k].resource, b->entries[k].resource);
            assert_int_equal(a->need_count, b->need_count);
            for (int k = 0; k < a->need_count; k++) assert_int_equal(a->needs[k], b->needs[k]);
        }
    }
    assert_int_equal(p.count, 4);        /* the last one was in steps */
    routes_drop(then);
    routes_drop(now);
    arena_free(&mem);
}

/* Two resources by two services, the second of which refers to the first. */
static const put two[] = {
    { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\"}" },
    { "lab", "urn:uuid:2", "{\"resourceType\":\"Basic\",\"subject\":{\"reference\":\"urn:uuid:1\"}}" },
};

/* What was made of a result by `by`, after which the plan of then is the same. */
static plan_made *made_by(arena *mem, const script_result *result, const routes *by, int count)
{
    plan_made *made;
    plan p;

    assert_int_equal(plan_make(mem, result, by, &p, NULL), ERR_OK);
    assert_int_equal(p.count, count);
    made = made_of(mem, &p);
    assert_int_equal(plan_remake(mem, result, by, made, count, &p, NULL), ERR_OK);
    return made;
}

static void remake_fails(arena *mem, const script_result *result, const routes *by, const plan_made *made, int count)
{
    err_info why;
    plan p;

    assert_int_equal(plan_remake(mem, result, by, made, count, &p, &why), ERR_CONFLICT);
    assert_non_null(strstr(why.text, "mapping or routing changed"));
}

/* The script gives something else than then: with another setting, say. */
static void test_not_as_then(void **state)
{
    static const put others[][3] = {
        { { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\"}" }, { "lab", "urn:uuid:2", "{\"resourceType\":\"Basic\"}" },
          { NULL, "urn:uuid:3", "{\"resourceType\":\"Basic\"}" } },
        { { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\"}" }, { "archive", "urn:uuid:2", "{\"resourceType\":\"Basic\"}" } },
        { { "lab", "urn:uuid:2", "{\"resourceType\":\"Basic\"}" }, { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\"}" } },
        { { NULL, "urn:uuid:1", "{\"resourceType\":\"Patient\"}" } },
        { { NULL, NULL, NULL } },
    };
    static const size_t counts[] = { 3, 2, 2, 1, 0 };
    static const int far[] = { 0, 7 };
    routes *r = all_to("http://main/fhir");
    arena mem = { 0 };
    script_result result = result_of(&mem, two, 2);
    plan_made *made = made_by(&mem, &result, r, 2);

    (void)state;
    for (size_t i = 0; i < countof(counts); i++) {
        script_result other = result_of(&mem, others[i], counts[i]);
        remake_fails(&mem, &other, r, made, 2);
    }
    made[0].resources = far;
    made[0].resource_count = 2;
    remake_fails(&mem, &result, r, made, 2);

    /* Of an only delivery too, which has all. */
    result = result_of(&mem, two, 1);
    made = made_by(&mem, &result, r, 1);
    assert_null(made->resources);
    for (size_t i = 0; i < countof(counts); i++) {
        script_result other = result_of(&mem, others[i], counts[i]);
        if (counts[i] != 1) remake_fails(&mem, &other, r, made, 1);
    }
    routes_drop(r);
    arena_free(&mem);
}

static void test_service_is_gone(void **state)
{
    routes *r = all_to("http://main/fhir");
    arena mem = { 0 };
    script_result result = result_of(&mem, two, 2);
    plan_made *made = made_by(&mem, &result, r, 2);
    plan p;

    (void)state;
    made[0].service_url = slice_lit("http://gone");
    assert_int_equal(plan_remake(&mem, &result, r, made, 2, &p, NULL), ERR_OK);
    assert_true(p.deliveries[0].gone && slice_is(p.deliveries[0].to->url, "http://gone"));
    assert_false(p.deliveries[1].gone);
    assert_true(slice_is(p.deliveries[1].to->name, "lab"));
    assert_int_equal(p.deliveries[1].need_count, 1);
    routes_drop(r);
    arena_free(&mem);
}

/* A release before stored no more than the services: the routes of now are to say the same. */
static void test_not_known(void **state)
{
    routes *same = all_to("http://main/fhir"), *other = all_to("http://archive"), *one = all_to("http://lab/{tenant}/fhir");
    arena mem = { 0 };
    script_result result = result_of(&mem, two, 2);
    plan_made *made = made_by(&mem, &result, same, 2);
    plan p;

    (void)state;
    made[0].known = made[1].known = false;
    assert_int_equal(plan_remake(&mem, &result, same, made, 2, &p, NULL), ERR_OK);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.deliveries[1].entry_count, 1);
    remake_fails(&mem, &result, other, made, 2);
    remake_fails(&mem, &result, one, made, 2);
    routes_drop(same);
    routes_drop(other);
    routes_drop(one);
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence), cmocka_unit_test(test_no_rules), cmocka_unit_test(test_deliveries),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_steps), cmocka_unit_test(test_made_then),
        cmocka_unit_test(test_not_as_then), cmocka_unit_test(test_service_is_gone), cmocka_unit_test(test_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
