/* demo/bundle.c -- the entries of a Bundle as interactions, their answers as entries.
 *
 * A transaction is one unit of work for PostgreSQL: one call that writes all entries in the
 * order FHIR prescribes, then a call or two for each GET, which so sees what was
 * written. Any refusal is the answer to the whole Bundle. */
#include "demo/bundle.h"

#include "demo/entry.h"
#include "fhir/check.h"
#include "fhir/resource.h"

enum { MAX_READS = 100, MAX_ENTRIES = 20000 };

typedef struct bundle_entry {
    struct bundle    *bundle;
    demo_interaction  ix;
    demo_answer       answer;
    slice             full_url;
    int               row;               /* of the write's result; reads: the first of their results */
} bundle_entry;

typedef struct bundle {
    const demo_scope *scope;
    bundle_entry     *entries;
    int               count;
    int               writes, reads, pending;
    bool              transaction;
    demo_call        *calls;
    int               call_count;
    demo_done         done;
    void             *arg;
} bundle;

/* ---- the answer ------------------------------------------------------------------------ */

static const char *status_text(int status)
{
    switch (status) {
    case 200: return "200 OK";
    case 201: return "201 Created";
    case 204: return "204 No Content";
    case 304: return "304 Not Modified";
    case 400: return "400 Bad Request";
    case 404: return "404 Not Found";
    case 405: return "405 Method Not Allowed";
    case 410: return "410 Gone";
    case 412: return "412 Precondition Failed";
    case 422: return "422 Unprocessable Entity";
    case 503: return "503 Service Unavailable";
    default:  return "500 Internal Server Error";
    }
}

static void put_entry(buf *out, const bundle_entry *e)
{
    const demo_answer *a = &e->answer;
    bool failed = a->status >= 400;

    buf_putc(out, '{');
    if (!failed && a->body.ptr != NULL) {
        buf_puts(out, "\"resource\":");
        buf_put(out, a->body);
        buf_putc(out, ',');
    }
    buf_printf(out, "\"response\":{\"status\":\"%s\"", status_text(a->status));
    if (a->version > 0) {
        buf_printf(out, ",\"location\":\"%.*s/%.*s/_history/%lld\",\"etag\":\"W/\\\"%lld\\\"\"", (int)a->type.len,
                   a->type.ptr, (int)a->id.len, a->id.ptr, (long long)a->version, (long long)a->version);
        buf_printf(out, ",\"lastModified\":\"%.*s\"", (int)a->updated.len, a->updated.ptr);
    }
    if (failed) {
        buf_puts(out, ",\"outcome\":");
        buf_put(out, a->body);
    }
    buf_puts(out, "}}");
}

static void bundle_answer(bundle *b)
{
    buf out = buf_in(b->scope->mem);
    demo_answer answer = { .status = 200 };

    buf_printf(&out, "{\"resourceType\":\"Bundle\",\"type\":\"%s-response\"", b->transaction ? "transaction" : "batch");
    for (int i = 0; i < b->count; i++) {
        buf_puts(&out, i == 0 ? ",\"entry\":[" : ",");
        put_entry(&out, &b->entries[i]);
    }
    buf_puts(&out, b->count > 0 ? "]}" : "}");
    answer.body = buf_slice(&out);
    b->done(b->arg, &answer);
}

/* ---- the entries ------------------------------------------------------------------------- */

/* "Patient/1", "/Patient/1", or with our base in front: the path and the query. */
static slice path_of(const demo_scope *scope, slice url, slice *query)
{
    if (slice_starts(url, scope->base)) url = slice_from(url, scope->base.len);
    return slice_cut(url, '?', query);
}

static bool entry_read(bundle *b, bundle_entry *e, const json *entry)
{
    const demo_scope *scope = b->scope;
    const json *request = json_get(entry, "request");
    slice url = json_text(request, "url"), path;

    if (request == NULL || url.ptr == NULL)
        return demo_refuse(scope->mem, &e->answer, 400, "required", "the entry has no request with method and url");
    path = path_of(scope, url, &e->ix.query);
    if (!demo_route(scope->mem, json_text(request, "method"), path, &e->ix, &e->answer)) return false;
    if (e->ix.verb == DO_BUNDLE || e->ix.verb == DO_METADATA || e->ix.verb == DO_PATCH)
        return demo_refuse(scope->mem, &e->answer, 400, "not-supported",
                           "a Bundle here takes GET, POST, PUT and DELETE of resources");
    e->full_url = json_text(entry, "fullUrl");
    e->ix.if_match = json_text(request, "ifMatch");
    e->ix.if_none_match = json_text(request, "ifNoneMatch");
    e->ix.if_none_exist = json_text(request, "ifNoneExist");
    e->ix.body = json_get(entry, "resource");
    return true;
}

/* ---- batch --------------------------------------------------------------------------------- */

static void batch_settle(bundle *b)
{
    if (--b->pending == 0) bundle_answer(b);
}

static void on_entry(void *arg, const demo_answer *answer)
{
    bundle_entry *e = arg;

    e->answer = *answer;
    if (demo_is_write(e->ix.verb) && answer->status < 300 && !e->bundle->scope->want_body) e->answer.body = SLICE_NONE;
    batch_settle(e->bundle);
}

/* `entries`: the first of them. */
static void batch_run(bundle *b, const json *entries)
{
    bundle_entry *e = b->entries;

    b->pending = b->count + 1;           /* one more, so that it does not end in the middle of this */
    for (const json *entry = entries; entry != NULL; entry = entry->next, e++) {
        if (entry_read(b, e, entry)) demo_run(b->scope, &e->ix, on_entry, e);
        else batch_settle(b);
    }
    batch_settle(b);
}

/* ---- transaction ------------------------------------------------------------------------------ */

/* The whole fails because of one entry, which the outcome names (counted from 0, as FHIRPath does). */
static void transaction_fail(bundle *b, int at, const demo_answer *of_entry)
{
    demo_answer answer = *of_entry;
    json *outcome, *issue, *where;
    err_info why;
    buf out = buf_in(b->scope->mem);
    arena *mem = b->scope->mem;

    if (json_parse(mem, of_entry->body, &outcome, &why) != ERR_OK) die("demo: an outcome does not parse");
    issue = json_get(outcome, "issue")->child;
    where = json_new(mem, JSON_ARRAY);
    json_push(where, json_string(mem, arena_printf(mem, "Bundle.entry[%d]", at)));
    json_set(issue, slice_lit("expression"), where);
    json_write(&out, outcome);
    answer.body = buf_slice(&out);
    answer.allow = NULL;
    if (answer.status == 404 || answer.status == 405) answer.status = 400;   /* not of the base's URL */
    b->done(b->arg, &answer);
}

static void on_transaction(void *arg, err e, const pg_result *results, int count, const char *sqlstate,
                           const err_info *why)
{
    bundle *b = arg;
    int write = b->writes > 0 ? 1 : 0, refused;
    demo_answer answer;

    (void)count; (void)why;
    if (e != ERR_OK) {
        demo_store_failed(b->scope->mem, &answer, e, sqlstate);
        b->done(b->arg, &answer);
        return;
    }
    refused = write > 0 ? demo_write_refused(b->scope, &results[0], &answer) : 0;
    for (int i = 0, w = 0; i < b->count; i++) {
        bundle_entry *x = &b->entries[i];
        bool writes = demo_is_write(x->ix.verb);
        if (refused > 0) {
            if (!writes || ++w != refused) continue;
            transaction_fail(b, i, &answer);
            return;
        }
        if (writes) demo_write_answer(b->scope, &results[0], x->row, &x->answer);
        else demo_read_answer(b->scope, &x->ix, &results[x->row], &x->answer);
    }
    bundle_answer(b);
}

/* References may go to entries that create or update. */
static bool transaction_names(bundle *b, demo_write *w, int *at, demo_answer *answer)
{
    int number = 0;

    for (int i = 0; i < b->count; i++) {
        bundle_entry *e = &b->entries[i];
        if (!demo_is_write(e->ix.verb)) continue;
        number++;
        if (e->full_url.ptr == NULL || e->ix.verb == DO_DELETE) continue;
        if (demo_write_name(w, e->full_url, number)) continue;
        *at = i;
        return demo_refuse(b->scope->mem, answer, 400, "invalid", "two entries have the same fullUrl");
    }
    return true;
}

static bool transaction_build(bundle *b, demo_write *w, int *at, demo_answer *answer)
{
    if (!transaction_names(b, w, at, answer)) return false;
    for (int i = 0; i < b->count; i++) {
        bundle_entry *e = &b->entries[i];
        *at = i;
        if (!demo_is_write(e->ix.verb)) continue;
        if (!demo_write_add(w, &e->ix, answer)) return false;
        e->row = b->writes++;
    }
    b->calls = arena_array(b->scope->mem, demo_call, (size_t)b->reads * 2 + 1);
    if (b->writes > 0) b->calls[b->call_count++] = demo_write_call(w, b->scope->want_body);
    for (int i = 0; i < b->count; i++) {
        bundle_entry *e = &b->entries[i];
        if (demo_is_write(e->ix.verb)) continue;
        e->row = b->call_count;
        b->call_count += demo_read_calls(b->scope, &e->ix, &b->calls[b->call_count]);
    }
    return true;
}

static void transaction_run(bundle *b, const json *entries)
{
    bundle_entry *e = b->entries;
    demo_answer answer;
    demo_write w;
    bool built;
    int at = 0;

    for (const json *entry = entries; entry != NULL; entry = entry->next, e++) {
        bool ok = entry_read(b, e, entry) && demo_prepare(b->scope, &e->ix, &e->answer);
        if (ok && !demo_is_write(e->ix.verb) && ++b->reads > MAX_READS)
            ok = demo_refuse(b->scope->mem, &e->answer, 400, "too-costly", "a transaction takes at most %d GETs",
                             MAX_READS);
        if (ok) continue;
        transaction_fail(b, (int)(e - b->entries), &e->answer);
        return;
    }
    demo_write_begin(&w, b->scope, true);
    built = transaction_build(b, &w, &at, &answer);
    demo_write_free(&w);
    if (!built) transaction_fail(b, at, &answer);
    else if (b->call_count == 0) bundle_answer(b);
    else demo_store_run(b->scope->store, b->calls, b->call_count, on_transaction, b);
}

/* ---- both --------------------------------------------------------------------------------------- */

void demo_bundle_run(const demo_scope *scope, json *body, demo_done done, void *arg)
{
    slice type = json_text(body, "type");
    const json *entries = json_get(body, "entry");
    demo_answer answer;
    err_info why;
    bundle *b;
    bool ok = true;

    if (!slice_is(fhir_type(body), "Bundle"))
        ok = demo_refuse(scope->mem, &answer, 422, "invalid", "the base takes Bundles only");
    else if (fhir_check(body, &why) != ERR_OK)
        ok = demo_refuse(scope->mem, &answer, 400, "invalid", "%s", why.text);
    else if (!slice_is(type, "transaction") && !slice_is(type, "batch"))
        ok = demo_refuse(scope->mem, &answer, 400, "invalid", "the Bundle's type must be transaction or batch");
    else if (entries != NULL && entries->count > MAX_ENTRIES)
        ok = demo_refuse(scope->mem, &answer, 413, "too-long", "a Bundle has at most %d entries", MAX_ENTRIES);
    if (!ok) {
        done(arg, &answer);
        return;
    }
    b = arena_new(scope->mem, bundle);
    *b = (bundle){ .scope = scope, .transaction = slice_is(type, "transaction"), .done = done, .arg = arg,
                   .count = entries == NULL ? 0 : (int)entries->count };
    b->entries = arena_array(scope->mem, bundle_entry, (size_t)b->count + 1);
    for (int i = 0; i < b->count; i++) b->entries[i].bundle = b;
    if (b->transaction) transaction_run(b, entries == NULL ? NULL : entries->child);
    else batch_run(b, entries == NULL ? NULL : entries->child);
}
