/* demo/interaction.c -- from method and URL to an answer.
 *
 * Which statuses: 400 for what cannot be read or is not R4 (an id that differs from the URL's
 * is that too: R4 http, 3.1.0.4), 422 for a resource of another type than the URL says, 412
 * for conditions and versions, 404 never was, 410 was deleted. */
#include "demo/interaction.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "demo/entry.h"
#include "demo/patch.h"
#include "fhir/check.h"
#include "fhir/outcome.h"
#include "fhir/resource.h"
#include "net/http_server.h"

enum { MAX_HISTORY = 1000 };

/* ---- refusing ---------------------------------------------------------------------- */

bool demo_refuse(arena *mem, demo_answer *answer, int status, const char *code, const char *fmt, ...)
{
    buf out = buf_in(mem);
    va_list args;
    char said[512];

    va_start(args, fmt);
    (void)vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    json_write(&out, fhir_outcome(mem, FHIR_ERROR, code, arena_dup(mem, slice_of(said))));
    *answer = (demo_answer){ .status = status, .body = buf_slice(&out) };
    return false;
}

void demo_store_failed(arena *mem, demo_answer *answer, err e, const char *sqlstate)
{
    if (e == ERR_STORE) {
        log_line(LOG_ERROR, "demo.statement_failed", log_id("sqlstate", slice_of(sqlstate)));
        (void)demo_refuse(mem, answer, 500, "exception", "the store refused it (SQLSTATE %.5s)", sqlstate);
    } else {
        (void)demo_refuse(mem, answer, 503, "transient",
                          "the database connection was lost; nobody knows whether this was written");
    }
}

/* ---- routing ----------------------------------------------------------------------- */

static bool not_allowed(arena *mem, demo_answer *answer, const char *allow)
{
    (void)demo_refuse(mem, answer, 405, "not-supported", "this URL takes %s", allow);
    answer->allow = allow;
    return false;
}

typedef struct method_verb { const char *method; demo_verb verb; } method_verb;

/* Sets the verb that belongs to the method; `allow` lists the methods of `table`. */
static bool choose(arena *mem, slice method, const method_verb *table, size_t count, const char *allow,
                   demo_interaction *ix, demo_answer *answer)
{
    for (size_t i = 0; i < count; i++) {
        if (!slice_is(method, table[i].method)) continue;
        ix->verb = table[i].verb;
        ix->method = table[i].method;
        return true;
    }
    return not_allowed(mem, answer, allow);
}

static const method_verb on_base[] = { { "POST", DO_BUNDLE } };
static const method_verb on_metadata[] = { { "GET", DO_METADATA } };
static const method_verb on_search[] = { { "POST", DO_SEARCH } };
static const method_verb on_type[] = {
    { "GET", DO_SEARCH }, { "POST", DO_CREATE }, { "PUT", DO_UPDATE }, { "DELETE", DO_DELETE }
};
static const method_verb on_instance[] = {
    { "GET", DO_READ }, { "PUT", DO_UPDATE }, { "PATCH", DO_PATCH }, { "DELETE", DO_DELETE }
};
static const method_verb on_history[] = { { "GET", DO_HISTORY } };
static const method_verb on_version[] = { { "GET", DO_VREAD } };

#define CHOOSE(table, allow) choose(mem, method, (table), countof(table), (allow), ix, answer)

bool demo_route(arena *mem, slice method, slice path, demo_interaction *ix, demo_answer *answer)
{
    enum { MAX_PARTS = 4 };
    slice part[MAX_PARTS] = { SLICE_NONE }, rest = path;
    int n = 0;

    while (rest.ptr != NULL && rest.len > 0 && rest.ptr[0] == '/') rest = slice_from(rest, 1);
    while (rest.ptr != NULL && rest.len > 0) {
        slice raw = slice_cut(rest, '/', &rest);
        if (n == MAX_PARTS) return demo_refuse(mem, answer, 404, "not-found", "there is nothing at this URL");
        part[n++] = http_decode(mem, raw, false);
    }
    if (n == 0) return CHOOSE(on_base, "POST");
    if (n == 1 && slice_is(part[0], "metadata")) return CHOOSE(on_metadata, "GET");
    if (!fhir_type_known(part[0]))
        return demo_refuse(mem, answer, 404, "not-supported", "the URL begins with no resource type of FHIR R4");
    ix->type = part[0];
    if (n == 1) return CHOOSE(on_type, "GET, POST, PUT, DELETE");
    if (n == 2 && slice_is(part[1], "_search")) return CHOOSE(on_search, "POST");
    if (!fhir_id_valid(part[1])) {
        return part[1].len > 0 && (part[1].ptr[0] == '_' || part[1].ptr[0] == '$')
            ? demo_refuse(mem, answer, 404, "not-supported", "this demo store has no such operation")
            : demo_refuse(mem, answer, 400, "value", "an id is 1 to 64 letters, digits, '-' or '.'");
    }
    ix->id = part[1];
    if (n == 2) return CHOOSE(on_instance, "GET, PUT, PATCH, DELETE");
    if (!slice_is(part[2], "_history"))
        return demo_refuse(mem, answer, 404, "not-supported", "this demo store has no such operation");
    if (n == 3) return CHOOSE(on_history, "GET");
    ix->version = part[3];
    return CHOOSE(on_version, "GET");
}

/* ---- checking ------------------------------------------------------------------------ */

static bool check_body(arena *mem, const demo_interaction *ix, demo_answer *answer)
{
    slice type = fhir_type(ix->body), id;
    err_info why;

    if (ix->body == NULL) return demo_refuse(mem, answer, 400, "required", "the resource is missing");
    if (fhir_type_known(type) && !slice_eq(type, ix->type))
        return demo_refuse(mem, answer, 422, "invalid", "the resource is of another type than the URL says");
    if (fhir_check(ix->body, &why) != ERR_OK)
        return demo_refuse(mem, answer, 400, fhir_issue_code(ERR_FHIR), "%s", why.text);
    id = fhir_id(ix->body);
    if (ix->verb == DO_UPDATE && ix->id.ptr != NULL) {
        if (id.ptr == NULL)
            return demo_refuse(mem, answer, 400, "required", "an update's resource needs its id, as in the URL");
        if (!slice_eq(id, ix->id))
            return demo_refuse(mem, answer, 400, "invalid", "the resource has another id than the URL");
    }
    return true;
}

static bool check_condition(const demo_scope *scope, demo_interaction *ix, slice query, demo_answer *answer)
{
    err_info why;

    if (slice_starts(query, slice_lit("?"))) query = slice_from(query, 1);
    ix->conditional = true;
    return demo_condition_parse(scope->mem, ix->type, query, scope->base, &ix->search, &why) == ERR_OK ||
           demo_refuse(scope->mem, answer, 400, "invalid", "%s", why.text);
}

static bool check_search(const demo_scope *scope, demo_interaction *ix, demo_answer *answer)
{
    err_info why;
    const demo_query *q = &ix->search;

    if (demo_query_parse(scope->mem, ix->type, ix->query, scope->base, &ix->search, &why) != ERR_OK)
        return demo_refuse(scope->mem, answer, 400, "invalid", "%s", why.text);
    if (scope->strict && q->ignored.len > 0)
        return demo_refuse(scope->mem, answer, 400, "not-supported", "parameters that are not supported: %.*s",
                           (int)q->ignored.len, q->ignored.ptr);
    return true;
}

bool demo_prepare(const demo_scope *scope, demo_interaction *ix, demo_answer *answer)
{
    int64_t version;

    switch (ix->verb) {
    case DO_SEARCH: return check_search(scope, ix, answer);
    case DO_VREAD:
        return slice_int(ix->version, &version) ||
               demo_refuse(scope->mem, answer, 404, "not-found", "there is no such version");
    case DO_CREATE: case DO_UPDATE: case DO_DELETE:
        if (ix->verb == DO_DELETE) ix->body = NULL;
        else if (!check_body(scope->mem, ix, answer)) return false;
        if (ix->verb == DO_CREATE)
            return ix->if_none_exist.ptr == NULL || check_condition(scope, ix, ix->if_none_exist, answer);
        return ix->id.ptr != NULL || check_condition(scope, ix, ix->query, answer);
    case DO_METADATA: case DO_BUNDLE: case DO_READ: case DO_HISTORY: case DO_PATCH: break;
    }
    return true;
}

/* ---- reading ----------------------------------------------------------------------- */

int demo_read_calls(const demo_scope *scope, const demo_interaction *ix, demo_call *calls)
{
    arena *mem = scope->mem;
    pg_param type = pg_text(mem, ix->type), id = pg_text(mem, ix->id);

    if (ix->verb == DO_SEARCH) return demo_query_calls(mem, &ix->search, calls);
    calls[0] = ix->verb == DO_HISTORY ? (demo_call){ DEMO_HISTORY, { type, id, pg_int(mem, MAX_HISTORY) } }
                                      : (demo_call){ DEMO_READ, { type, id, pg_text(mem, ix->version) } };
    return 1;
}

static void one_answer(const demo_scope *scope, const demo_interaction *ix, const pg_result *r,
                       demo_answer *answer)
{
    enum { DELETED, VERSION, UPDATED, UPDATED_US, CONTENT };
    arena *mem = scope->mem;
    int64_t seen;
    slice etag = ix->if_none_match;

    if (pg_cell_bool(r, 0, DELETED)) {
        (void)demo_refuse(mem, answer, 410, "deleted", "%.*s/%.*s was deleted", (int)ix->type.len, ix->type.ptr,
                          (int)ix->id.len, ix->id.ptr);
        return;
    }
    *answer = (demo_answer){
        .status = 200, .body = arena_dup(mem, pg_cell(r, 0, CONTENT)), .type = ix->type, .id = ix->id,
        .updated = arena_dup(mem, pg_cell(r, 0, UPDATED)), .version = pg_cell_int(r, 0, VERSION),
        .updated_us = pg_cell_int(r, 0, UPDATED_US),
    };
    if (slice_starts(etag, slice_lit("W/\"")) && etag.len > 4 &&
        slice_int((slice){ etag.ptr + 3, etag.len - 4 }, &seen) && seen == answer->version) {
        answer->status = 304;
        answer->body = SLICE_NONE;
    }
}

void demo_read_answer(const demo_scope *scope, const demo_interaction *ix, const pg_result *results,
                      demo_answer *answer)
{
    if (ix->verb == DO_SEARCH) {
        *answer = (demo_answer){ .status = 200,
                                 .body = demo_query_bundle(scope->mem, &ix->search, scope->base, results) };
    } else if (pg_rows(&results[0]) == 0) {
        (void)demo_refuse(scope->mem, answer, 404, "not-found", "%.*s/%.*s is not known here", (int)ix->type.len,
                          ix->type.ptr, (int)ix->id.len, ix->id.ptr);
    } else if (ix->verb == DO_HISTORY) {
        *answer = (demo_answer){ .status = 200, .body = demo_history_bundle(scope->mem, ix->type, ix->id,
                                                                            scope->base, &results[0]) };
    } else {
        one_answer(scope, ix, &results[0], answer);
    }
}

/* ---- running ------------------------------------------------------------------------ */

/* One interaction on its way: READING and WRITING are each one round to the store. A patch does
 * both, the write with the version that was read as If-Match, and begins anew when somebody
 * else was faster. */
typedef struct course {
    const demo_scope *scope;
    demo_interaction *ix;
    demo_interaction  update;            /* of a patch */
    demo_call         calls[2];
    int               tries;
    demo_done         done;
    void             *arg;
} course;

enum { PATCH_TRIES = 5 };

static void course_read(course *c);

static void on_written(void *arg, err e, const pg_result *results, int count, const char *sqlstate,
                       const err_info *why)
{
    course *c = arg;
    demo_answer answer;

    (void)count; (void)why;
    if (e != ERR_OK) {
        demo_store_failed(c->scope->mem, &answer, e, sqlstate);
    } else if (demo_write_refused(c->scope, &results[0], &answer) != 0) {
        if (c->ix->verb == DO_PATCH && c->ix->if_match.ptr == NULL && answer.status == 412 &&
            ++c->tries < PATCH_TRIES) {
            course_read(c);
            return;
        }
    } else {
        demo_write_answer(c->scope, &results[0], 0, &answer);
    }
    c->done(c->arg, &answer);
}

static void course_write(course *c, const demo_interaction *ix)
{
    demo_answer answer;
    demo_write w;

    demo_write_begin(&w, c->scope, false);
    if (!demo_write_add(&w, ix, &answer)) {
        demo_write_free(&w);
        c->done(c->arg, &answer);
        return;
    }
    c->calls[0] = demo_write_call(&w, c->scope->want_body);
    demo_write_free(&w);
    demo_store_run(c->scope->store, c->calls, 1, on_written, c);
}

/* The patched resource becomes an update, held to the version that was read. */
static bool patch_update(course *c, demo_answer *answer)
{
    arena *mem = c->scope->mem;
    demo_interaction *u = &c->update;
    json *held;
    err_info why;

    *u = *c->ix;
    u->verb = DO_UPDATE;
    if (u->if_match.ptr == NULL) u->if_match = arena_printf(mem, "W/\"%lld\"", (long long)answer->version);
    if (json_parse(mem, answer->body, &held, &why) != ERR_OK) die("demo: stored JSON does not parse");
    if (demo_patch(mem, held, c->ix->body, &u->body, &why) != ERR_OK)
        return demo_refuse(mem, answer, why.code == ERR_CONFLICT ? 422 : 400, "processing", "%s", why.text);
    return demo_prepare(c->scope, u, answer);
}

static void on_read(void *arg, err e, const pg_result *results, int count, const char *sqlstate,
                    const err_info *why)
{
    course *c = arg;
    demo_answer answer;

    (void)count; (void)why;
    if (e != ERR_OK) demo_store_failed(c->scope->mem, &answer, e, sqlstate);
    else demo_read_answer(c->scope, c->ix, results, &answer);
    if (c->ix->verb == DO_PATCH && answer.status == 200 && patch_update(c, &answer)) {
        course_write(c, &c->update);
        return;
    }
    c->done(c->arg, &answer);
}

static void course_read(course *c)
{
    demo_store_run(c->scope->store, c->calls, demo_read_calls(c->scope, c->ix, c->calls), on_read, c);
}

void demo_run(const demo_scope *scope, demo_interaction *ix, demo_done done, void *arg)
{
    demo_answer answer;
    course *c;

    if (!demo_prepare(scope, ix, &answer)) {
        done(arg, &answer);
        return;
    }
    c = arena_new(scope->mem, course);
    *c = (course){ .scope = scope, .ix = ix, .done = done, .arg = arg };
    if (demo_is_write(ix->verb)) course_write(c, ix);
    else course_read(c);
}
