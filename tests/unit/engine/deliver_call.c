/* tests/unit/engine/deliver_call.c -- the requests of a delivery and what their answers mean, by the
 * real fetch against an HTTP server whose answers are written down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/clock.h"
#include "engine/delivery.h"
#include "net/http_server.h"

/* ---- the service -------------------------------------------------------------------------- */

typedef struct step {                    /* what must be asked, and what is answered */
    const char *method, *path, *holds;   /* holds: in the body, or in a header; NULL: anything */
    int         status;
    const char *etag, *location, *body;
} step;

static uv_loop_t    loop;
static http_server *server;
static const step  *steps;
static size_t       step_count, step_at;
static char         base[64];

static void on_request(void *arg, http_request *r)
{
    const step *s = &steps[step_at++];
    slice body = http_body(r), match = http_header(r, "if-match"), none = http_header(r, "if-none-exist");

    (void)arg;
    if (step_at > step_count) fail_msg("a request too many: %.*s", (int)http_path(r).len, http_path(r).ptr);
    assert_true(slice_is(http_method(r), s->method));
    if (!slice_is(http_path(r), s->path)) fail_msg("asked %.*s, not %s", (int)http_path(r).len, http_path(r).ptr, s->path);
    if (s->holds != NULL && memmem(body.ptr, body.len, s->holds, strlen(s->holds)) == NULL && !slice_is(match, s->holds) &&
        !slice_is(none, s->holds))
        fail_msg("step %zu does not hold %s: %.*s", step_at, s->holds, (int)body.len, body.ptr);
    if (s->etag != NULL) http_reply_header(r, "ETag", slice_of(s->etag));
    if (s->location != NULL) http_reply_header(r, "Location", slice_of(s->location));
    http_reply(r, s->status, "application/fhir+json", slice_of(s->body == NULL ? "{}" : s->body));
}

/* ---- a delivery ------------------------------------------------------------------------------- */

typedef struct trial {
    engine    e;
    deliverer all;
    connector c;
    job       j;
    delivery  d;
    service   to;
    plan_delivery plan;
    verdict   last;
    bool      over;
} trial;

static void on_answered(void *arg, const fetch_answer *answer)
{
    trial *t = container_of((delivery *)arg, trial, d);

    t->last = call_answered(&t->all, &t->d, answer);
    while (t->last == VERDICT_AGAIN) t->last = call_next(&t->all, &t->d);
    t->over = t->last != VERDICT_MORE;
}

static void on_send(list *link) { (void)link; }

static void trial_begin(trial *t, bool transactions)
{
    memset(t, 0, sizeof *t);
    t->e.loop = &loop;
    t->e.http = fetch_open(&loop, 4);
    t->e.send_until_ms = UINT64_MAX;
    t->all.e = &t->e;
    written_init(&t->all.memory, 1 << 20);
    (void)slice_cstr(slice_lit("CONN_1"), t->c.connector_id.text, sizeof t->c.connector_id.text);
    t->c.e = &t->e;
    t->to = (service){ .url = slice_of(base), .transactions = transactions };
    t->d.to = target_new(&loop, slice_of(base), NULL, 4, on_send);
}

static void on_closed(void *arg) { (*(int *)arg)++; }

static void trial_end(trial *t)
{
    int closed = 0;

    arena_free(&t->d.work);
    arena_free(&t->j.mem);
    written_free(&t->all.memory);
    fetch_close(t->e.http, on_closed, &closed);
    target_close(t->d.to, on_closed, &closed);
    while (closed < 2) (void)uv_run(&loop, UV_RUN_ONCE);
}

/* A new message with these resources; each finds itself by identifier=<its number> and is owned or not. */
static void message(trial *t, size_t count, const char *const *resources, bool owned)
{
    target *to = t->d.to;
    bool transactions = t->to.transactions;

    arena_free(&t->d.work);
    arena_free(&t->j.mem);
    memset(&t->j, 0, sizeof t->j);
    memset(&t->d, 0, sizeof t->d);
    t->j.conn = &t->c;
    t->plan = (plan_delivery){ .to = &t->to, .entries = arena_array(&t->j.mem, plan_entry, count), .entry_count = (int)count };
    for (size_t i = 0; i < count; i++) {
        plan_entry *p = &t->plan.entries[i];
        assert_int_equal(json_parse(&t->j.mem, slice_of(resources[i]), &p->resource, NULL), ERR_OK);
        p->type = json_text(p->resource, "resourceType");
        p->full_url = arena_printf(&t->j.mem, "urn:uuid:%zu", i);
        p->if_none_exist = arena_printf(&t->j.mem, "identifier=%zu", i);
        p->owned = owned;
    }
    t->d.j = &t->j;
    t->d.to = to;
    t->d.plan = &t->plan;
    t->d.transactions = transactions;
    t->d.answered = on_answered;
    t->d.entries = arena_array(&t->j.mem, entry_state, count);
}

static verdict deliver(trial *t, const step *script, size_t count)
{
    uint64_t until = clock_ns() + 20000000000ull;

    steps = script;
    step_count = count;
    step_at = 0;
    t->over = false;
    t->last = call_next(&t->all, &t->d);
    t->over = t->last != VERDICT_MORE;
    while (!t->over && clock_ns() < until) (void)uv_run(&loop, UV_RUN_ONCE);
    assert_true(t->over);
    assert_int_equal(step_at, count);
    if (t->last == VERDICT_DONE) call_end(&t->d);        /* what is looked at now must have outlived the calls */
    return t->last;
}

#define BUNDLE(entries) "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\",\"entry\":[" entries "]}"
#define RESPONSE(status, location) "{\"response\":{\"status\":\"" status "\",\"location\":\"" location "\"}}"

static const char *const patient[] = { "{\"resourceType\":\"Patient\",\"gender\":\"male\"}" };
static const char *const other[] = { "{\"resourceType\":\"Patient\",\"gender\":\"female\"}" };
static const char *const pair[] = {
    "{\"resourceType\":\"Observation\",\"subject\":{\"reference\":\"urn:uuid:1\"}}", "{\"resourceType\":\"Patient\"}"
};

static const step created[] = {
    { "POST", "/fhir", "\"ifNoneExist\":\"identifier=0\"", 200, NULL, NULL, BUNDLE(RESPONSE("201 Created", "Patient/p1/_history/1")) },
};

static void test_memory(void **state)
{
    static const step unchanged[] = {
        { "POST", "/fhir", "\"ifNoneExist\":\"identifier=0\"", 200, NULL, NULL, BUNDLE(RESPONSE("200 OK", "Patient/p1/_history/1")) },
    };
    static const step changed[] = {
        { "POST", "/fhir", "\"method\":\"PUT\",\"url\":\"Patient/p1\",\"ifMatch\":\"W/\\\"1\\\"\"", 200, NULL, NULL,
          BUNDLE(RESPONSE("200 OK", "Patient/p1/_history/2")) },
    };
    static const step stale[] = {        /* somebody else wrote it: found, read, merged, written */
        { "POST", "/fhir", "\"ifMatch\":\"W/\\\"2\\\"\"", 412, NULL, NULL, NULL },
        { "POST", "/fhir", "\"ifNoneExist\":\"identifier=0\"", 200, NULL, NULL, BUNDLE(RESPONSE("200 OK", "Patient/p1/_history/3")) },
        { "GET", "/fhir/Patient/p1", NULL, 200, "W/\"3\"", NULL, "{\"resourceType\":\"Patient\",\"id\":\"p1\",\"active\":true,\"gender\":\"female\"}" },
        { "PUT", "/fhir/Patient/p1", "\"active\":true", 200, "W/\"4\"", NULL, NULL },
    };
    static const step after[] = {
        { "POST", "/fhir", "\"ifMatch\":\"W/\\\"4\\\"\"", 200, NULL, NULL, BUNDLE(RESPONSE("200 OK", "Patient/p1/_history/5")) },
    };
    trial t;

    (void)state;
    trial_begin(&t, true);
    message(&t, 1, patient, true);
    assert_int_equal(deliver(&t, created, countof(created)), VERDICT_DONE);
    assert_true(t.d.entries[0].created);
    assert_true(slice_is(t.d.entries[0].id, "p1"));
    message(&t, 1, patient, true);
    assert_int_equal(deliver(&t, unchanged, countof(unchanged)), VERDICT_DONE);
    assert_false(t.d.entries[0].created);
    message(&t, 1, other, true);
    assert_int_equal(deliver(&t, changed, countof(changed)), VERDICT_DONE);
    assert_false(t.d.entries[0].created);
    message(&t, 1, patient, true);
    assert_int_equal(deliver(&t, stale, countof(stale)), VERDICT_DONE);
    message(&t, 1, other, true);
    assert_int_equal(deliver(&t, after, countof(after)), VERDICT_DONE);
    trial_end(&t);
}

/* What memory said was wrong: the patient has another id now, and who refers to it refers to that one. */
static void test_wrong_id(void **state)
{
    static const step first[] = {
        { "POST", "/fhir", "\"reference\":\"urn:uuid:1\"", 200, NULL, NULL,
          BUNDLE(RESPONSE("201", "Observation/o1/_history/1") "," RESPONSE("201", "Patient/p1/_history/1")) },
    };
    static const step moved[] = {
        { "POST", "/fhir", "\"reference\":\"Patient/p1\"", 412, NULL, NULL, NULL },
        { "POST", "/fhir", "\"reference\":\"urn:uuid:1\"", 200, NULL, NULL,
          BUNDLE(RESPONSE("201", "Observation/o2/_history/1") "," RESPONSE("201", "Patient/p2/_history/1")) },
    };
    static const char *const changed[] = {
        "{\"resourceType\":\"Observation\",\"status\":\"final\",\"subject\":{\"reference\":\"urn:uuid:1\"}}",
        "{\"resourceType\":\"Patient\",\"active\":true}"
    };
    trial t;

    (void)state;
    trial_begin(&t, true);
    message(&t, 2, pair, true);
    assert_int_equal(deliver(&t, first, countof(first)), VERDICT_DONE);
    message(&t, 2, changed, true);
    assert_int_equal(deliver(&t, moved, countof(moved)), VERDICT_DONE);
    assert_true(slice_is(t.d.entries[1].id, "p2"));
    trial_end(&t);
}

static void test_not_owned(void **state)
{
    static const step found[] = {        /* it refers only: what is there stays as it is */
        { "POST", "/fhir", "\"ifNoneExist\":\"identifier=0\"", 200, NULL, NULL, BUNDLE(RESPONSE("200 OK", "Patient/p9/_history/7")) },
    };
    static const step unsaid[] = {       /* 200 without a location: it is searched for */
        { "POST", "/fhir", NULL, 200, NULL, NULL, BUNDLE("{\"response\":{\"status\":\"200\"}}") },
        { "GET", "/fhir/Patient", NULL, 200, NULL, NULL, "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"p9\"}}]}" },
    };
    static const step nameless[] = {
        { "POST", "/fhir", NULL, 200, NULL, NULL, BUNDLE("{\"response\":{\"status\":\"200\"}}") },
        { "GET", "/fhir/Patient", NULL, 200, NULL, NULL, "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Patient\"}}]}" },
    };
    trial t;

    (void)state;
    trial_begin(&t, true);
    message(&t, 1, patient, false);
    assert_int_equal(deliver(&t, found, countof(found)), VERDICT_DONE);
    assert_true(slice_is(t.d.entries[0].id, "p9"));
    assert_false(t.d.entries[0].created);
    message(&t, 1, patient, false);
    assert_int_equal(deliver(&t, unsaid, countof(unsaid)), VERDICT_DONE);
    assert_true(slice_is(t.d.entries[0].id, "p9"));
    message(&t, 1, patient, false);
    assert_int_equal(deliver(&t, nameless, countof(nameless)), VERDICT_MESSAGE);
    trial_end(&t);
}

static void test_single(void **state)
{
    static const step both[] = {         /* what is referred to first */
        { "POST", "/fhir/Patient", "identifier=1", 201, "W/\"1\"", "http://x/fhir/Patient/p1/_history/1", NULL },
        { "POST", "/fhir/Observation", "\"reference\":\"Patient/p1\"", 201, NULL, "Observation/o1", NULL },
    };
    trial t;

    (void)state;
    trial_begin(&t, false);
    message(&t, 2, pair, true);
    assert_int_equal(deliver(&t, both, countof(both)), VERDICT_DONE);
    assert_true(slice_is(t.d.entries[0].id, "o1"));
    assert_true(slice_is(t.d.entries[1].id, "p1"));
    trial_end(&t);
}

static void test_whose_fault(void **state)
{
    static const struct { int status; const char *body; verdict v; } cases[] = {
        { 500, NULL, VERDICT_TARGET },  { 503, NULL, VERDICT_TARGET },  { 401, NULL, VERDICT_TARGET },
        { 403, NULL, VERDICT_TARGET },  { 407, NULL, VERDICT_TARGET },  { 429, NULL, VERDICT_TARGET },
        { 404, NULL, VERDICT_TARGET },  { 400, NULL, VERDICT_MESSAGE }, { 412, NULL, VERDICT_MESSAGE },
        { 422, NULL, VERDICT_MESSAGE }, { 200, "Doe^Jane", VERDICT_MESSAGE }, { 200, "{}", VERDICT_MESSAGE },
        { 200, BUNDLE(""), VERDICT_MESSAGE }, { 200, BUNDLE(RESPONSE("201", "Person/1")), VERDICT_MESSAGE },
    };
    trial t;

    (void)state;
    trial_begin(&t, true);
    for (size_t i = 0; i < countof(cases); i++) {
        step one = { "POST", "/fhir", NULL, cases[i].status, NULL, NULL, cases[i].body };
        message(&t, 1, patient, true);
        if (deliver(&t, &one, 1) != cases[i].v) fail_msg("case %zu: status %d gave %d", i, cases[i].status, t.last);
        assert_int_equal(t.d.http_status, cases[i].status);
        assert_int_not_equal(t.d.why.text[0], '\0');
        assert_null(strstr(t.d.why.text, "Doe"));
    }
    trial_end(&t);
}

/* A 5xx is the target's, until the target does what others ask and fails on this one again. */
static void test_poison(void **state)
{
    static const step fails[] = { { "POST", "/fhir", NULL, 500, NULL, NULL, NULL } };
    trial t;

    (void)state;
    trial_begin(&t, true);
    message(&t, 1, patient, true);
    assert_int_equal(deliver(&t, fails, 1), VERDICT_TARGET);
    assert_true(t.d.maybe_sent);
    assert_int_equal(deliver(&t, fails, 1), VERDICT_TARGET);
    target_good(t.d.to);
    assert_int_equal(deliver(&t, fails, 1), VERDICT_MESSAGE);
    assert_int_equal(deliver(&t, fails, 1), VERDICT_TARGET);     /* nobody else was served since */
    trial_end(&t);
}

/* The answer to a creation was lost: version 1 is ours, and counts as created. */
static void test_lost_answer(void **state)
{
    static const step found[] = {
        { "POST", "/fhir", NULL, 200, NULL, NULL, BUNDLE(RESPONSE("200 OK", "Observation/o1/_history/1") "," RESPONSE("200 OK", "Patient/p1/_history/2")) },
    };
    trial t;

    (void)state;
    trial_begin(&t, true);
    message(&t, 2, pair, false);
    t.d.maybe_sent = true;
    assert_int_equal(deliver(&t, found, 1), VERDICT_DONE);
    assert_true(t.d.entries[0].created);
    assert_false(t.d.entries[1].created);
    trial_end(&t);
}

/* While the lease is running out nothing is sent, and nothing is anybody's fault. */
static void test_held(void **state)
{
    static const step sent[] = {
        { "POST", "/fhir", NULL, 200, NULL, NULL, BUNDLE(RESPONSE("201 Created", "Observation/o1/_history/1") "," RESPONSE("201 Created", "Patient/p1/_history/1")) },
    };
    trial t;

    (void)state;
    trial_begin(&t, true);
    message(&t, 2, pair, false);
    t.e.send_until_ms = clock_boot_ms();
    assert_int_equal(call_next(&t.all, &t.d), VERDICT_HELD);
    assert_null(t.d.call);
    t.e.send_until_ms = UINT64_MAX;
    assert_int_equal(deliver(&t, sent, 1), VERDICT_DONE);
    trial_end(&t);
}

static int start_service(void **state)
{
    http_server_config wanted = { .address = "127.0.0.1", .header_cap = 16 << 10, .body_cap = 1 << 20, .max_connections = 100 };
    err_info why;

    (void)state;
    if (uv_loop_init(&loop) != 0 || http_server_open(&loop, &wanted, on_request, NULL, &server, &why) != ERR_OK) return -1;
    (void)snprintf(base, sizeof base, "http://127.0.0.1:%u/fhir", http_server_port(server));
    return 0;
}

static int stop_service(void **state)
{
    int closed = 0;

    (void)state;
    http_server_close(server, 1000, on_closed, &closed);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    return closed == 1 && uv_loop_close(&loop) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_wrong_id),    cmocka_unit_test(test_not_owned),
        cmocka_unit_test(test_single),      cmocka_unit_test(test_whose_fault), cmocka_unit_test(test_poison),
        cmocka_unit_test(test_lost_answer), cmocka_unit_test(test_held),
    };
    return cmocka_run_group_tests(tests, start_service, stop_service);
}
