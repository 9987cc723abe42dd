/* engine/deliver_call.c -- the requests of one delivery, and what their answers mean.
 *
 * One transaction Bundle is the rule. What this connector wrote last goes into it as PUT
 * with If-Match, merged from memory; everything else as POST with ifNoneExist. When such
 * a POST met a resource that the message owns, and that we do not know, it is read,
 * merged and written by itself afterwards. A service without transactions gets the
 * same requests one by one, what is referred to before what refers. */
#include <stdio.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "engine/delivery.h"
#include "fhir/merge.h"
#include "fhir/resource.h"

enum { CONNECT_MS = 5000, TOTAL_MS = 30000, ANSWER_CAP = 32 << 20, MOST_STALE = 5 };

static const slice urn = slice_lit("urn:uuid:");

/* ---- references -------------------------------------------------------------------- */

typedef struct resolving { const delivery *in, *from; bool settled; } resolving;     /* `settled`: by answers alone, not by memory */

static void resolve_one(void *arg, slice element, json *reference)
{
    resolving *r = arg;

    (void)element;
    if (!slice_starts(reference->text, urn)) return;
    for (int i = 0; i < r->from->plan->entry_count; i++) {
        const entry_state *st = &r->from->entries[i];
        if (st->id.len == 0 || (r->settled && !st->done) || !slice_eq(r->from->plan->entries[i].full_url, reference->text)) continue;
        reference->text = slice_eq(r->in->plan->to->url, r->from->plan->to->url)
            ? arena_printf(&r->in->j->mem, "%.*s/%.*s", (int)st->type.len, st->type.ptr, (int)st->id.len, st->id.ptr)
            : arena_printf(&r->in->j->mem, "%.*s/%.*s/%.*s", (int)r->from->plan->to->url.len, r->from->plan->to->url.ptr, (int)st->type.len, st->type.ptr,
                           (int)st->id.len, st->id.ptr);
        return;
    }
}

void call_resolve(delivery *in, const delivery *from)
{
    for (int i = 0; i < in->plan->entry_count; i++) {
        fhir_references(in->plan->entries[i].resource, resolve_one, &(resolving){ in, from, true });
        if (in == from && in->entries[i].sent != NULL && in->entries[i].sent != in->plan->entries[i].resource)
            fhir_references(in->entries[i].sent, resolve_one, &(resolving){ in, from, true });
    }
}

/* ---- paths and versions -------------------------------------------------------------------- */

static slice path_of(delivery *d, int i)
{
    const entry_state *st = &d->entries[i];
    return arena_printf(&d->j->mem, "%.*s/%.*s", (int)st->type.len, st->type.ptr, (int)st->id.len, st->id.ptr);
}

static slice etag_of(arena *mem, slice version)
{
    return arena_printf(mem, "W/\"%.*s\"", (int)version.len, version.ptr);
}

/* W/"3" -> 3; empty when there is none. */
static slice version_of(slice etag)
{
    if (slice_starts(etag, slice_lit("W/"))) etag = slice_from(etag, 2);
    if (etag.len < 2 || etag.ptr[0] != '"' || etag.ptr[etag.len - 1] != '"') return SLICE_NONE;
    return (slice){ etag.ptr + 1, etag.len - 2 };
}

/* ---- what is remembered ------------------------------------------------------------------ */

static slice connector_of(const delivery *d) { return id_slice(&d->j->conn->connector_id); }

static slice text_with_id(arena *mem, const json *resource, slice resource_id)
{
    buf text = buf_in(mem);

    buf_puts(&text, "{\"id\":");
    buf_json(&text, resource_id);
    for (const json *m = resource->child; m != NULL; m = m->next) {
        if (slice_is(m->key, "id")) continue;
        buf_putc(&text, ',');
        buf_json(&text, m->key);
        buf_putc(&text, ':');
        json_write(&text, m);
    }
    buf_putc(&text, '}');
    return buf_slice(&text);
}

static void remember(deliverer *all, delivery *d, int i)
{
    const plan_entry *p = &d->plan->entries[i];
    const entry_state *st = &d->entries[i];
    written_item item = { st->id, st->version, SLICE_NONE };

    if (!p->owned || p->if_none_exist.len == 0 || st->sent == NULL || st->version.len == 0) return;
    item.text = text_with_id(&d->work, st->sent, st->id);
    written_put(&all->memory, connector_of(d), slice_of(d->to->url), p->type, p->if_none_exist, &item);
}

static void forget(deliverer *all, const delivery *d)
{
    for (int i = 0; i < d->plan->entry_count; i++)
        written_forget(&all->memory, connector_of(d), slice_of(d->to->url), d->plan->entries[i].type,
                       d->plan->entries[i].if_none_exist);
}

/* Memory was wrong: everything that is not written yet is asked of the service. */
static void distrust(deliverer *all, delivery *d)
{
    forget(all, d);
    d->distrust = true;
    for (int i = 0; i < d->plan->entry_count; i++)
        if (!d->entries[i].done) d->entries[i].type = d->entries[i].id = SLICE_NONE;
}

/* What we know has an id already: it is referred to by that, also where memory is merged. True
 * when this is one of those. What was believed before a 412 is forgotten here. */
static bool recall(deliverer *all, delivery *d, int i)
{
    const plan_entry *p = &d->plan->entries[i];
    written_item item;

    d->entries[i].type = d->entries[i].id = SLICE_NONE;
    if (!p->owned || d->distrust || p->if_none_exist.len == 0) return false;
    if (!written_find(&all->memory, connector_of(d), slice_of(d->to->url), p->type, p->if_none_exist, &item)) return false;
    d->entries[i].type = p->type;
    d->entries[i].id = arena_dup(&d->j->mem, item.resource_id);
    return true;
}

/* A copy that refers by the ids of memory. The plan's own keeps its urn:uuid until the service has
 * answered: memory may be wrong. */
static json *referring(delivery *d, const json *resource)
{
    json *copy = json_copy(&d->work, resource);

    fhir_references(copy, resolve_one, &(resolving){ d, d, false });
    return copy;
}

/* The request for one entry, of `resource`: from memory where we know what the service holds. */
static void prepare(deliverer *all, delivery *d, int i, json *resource, fhir_bundle_entry *out)
{
    const plan_entry *p = &d->plan->entries[i];
    entry_state *st = &d->entries[i];
    arena *mem = &d->work;
    written_item item;
    json *held;
    bool changed;

    st->known = false;
    st->believed = SLICE_NONE;
    st->sent = fhir_without_nulls(mem, resource);
    *out = (fhir_bundle_entry){ .full_url = p->full_url, .resource = st->sent, .method = slice_lit("POST"), .url = p->type,
                                .if_none_exist = p->if_none_exist };
    if (!p->owned || d->distrust || p->if_none_exist.len == 0) return;
    if (!written_find(&all->memory, connector_of(d), slice_of(d->to->url), p->type, p->if_none_exist, &item)) return;
    if (json_parse(mem, arena_dup(mem, item.text), &held, NULL) != ERR_OK) return;
    st->sent = fhir_merge(mem, held, resource, &changed);
    if (!changed) {                      /* nothing to write: the POST only finds it */
        st->believed = arena_dup(mem, item.version);
        return;
    }
    st->known = true;
    st->type = p->type;
    st->id = arena_dup(&d->j->mem, item.resource_id);
    out->resource = st->sent;
    out->method = slice_lit("PUT");
    out->url = path_of(d, i);
    out->if_none_exist = SLICE_NONE;
    out->if_match = etag_of(mem, item.version);
}

/* ---- requests --------------------------------------------------------------------------------- */

static verdict start(deliverer *all, delivery *d, const char *method, slice path, const slice *extra, size_t extra_count)
{
    slice headers[4] = { slice_lit("Content-Type: application/fhir+json"), slice_lit("Accept: application/fhir+json") };
    fetch_request request = {
        .method = method, .headers = headers, .header_count = 2 + extra_count, .body = buf_slice(&d->body),
        .connect_ms = CONNECT_MS, .total_ms = TOTAL_MS, .answer_cap = ANSWER_CAP, .ca = d->to->ca,
        .send_until_ms = all->e->send_until_ms,
    };

    if (!engine_may_send(all->e)) return VERDICT_HELD;
    for (size_t i = 0; i < extra_count; i++) headers[2 + i] = extra[i];
    request.url = path.len == 0 ? slice_of(d->to->url)
        : arena_printf(&d->work, "%s/%.*s", d->to->url, (int)path.len, path.ptr);
    d->call = fetch_start(all->e->http, &request, d->answered, d);
    failpoint("deliver.sent");
    return VERDICT_MORE;
}

static verdict start_bundle(deliverer *all, delivery *d)
{
    arena *mem = &d->work;
    fhir_bundle_entry *entries = arena_array(mem, fhir_bundle_entry, (size_t)d->plan->entry_count);
    bool known = false;

    for (int i = 0; i < d->plan->entry_count; i++) known |= recall(all, d, i);
    for (int i = 0; i < d->plan->entry_count; i++) {
        json *resource = d->plan->entries[i].resource;
        prepare(all, d, i, known ? referring(d, resource) : resource, &entries[i]);
    }
    fhir_bundle_write(&d->body, SLICE_NONE, SLICE_NONE, entries, (size_t)d->plan->entry_count);
    d->kind = CALL_BUNDLE;
    return start(all, d, "POST", SLICE_NONE, NULL, 0);
}

typedef struct waiting_for { const delivery *d; bool found; } waiting_for;

static void note_unresolved(void *arg, slice element, json *reference)
{
    waiting_for *w = arg;

    (void)element;
    for (int i = 0; i < w->d->plan->entry_count; i++)
        if (!w->d->entries[i].done && slice_eq(w->d->plan->entries[i].full_url, reference->text)) w->found = true;
}

/* The next entry that refers to none that is not there yet; in a circle, the first. */
static int next_single(const delivery *d)
{
    int first = -1;

    for (int i = 0; i < d->plan->entry_count; i++) {
        waiting_for w = { d, false };
        if (d->entries[i].done) continue;
        if (first < 0) first = i;
        fhir_references(d->plan->entries[i].resource, note_unresolved, &w);
        if (!w.found) return i;
    }
    return first;
}

static verdict start_single(deliverer *all, delivery *d)
{
    fhir_bundle_entry e;
    slice extra;

    d->at = next_single(d);
    call_resolve(d, d);
    prepare(all, d, d->at, d->plan->entries[d->at].resource, &e);
    json_write(&d->body, e.resource);
    d->kind = CALL_SINGLE;
    if (e.if_match.len > 0) extra = arena_printf(&d->work, "If-Match: %.*s", (int)e.if_match.len, e.if_match.ptr);
    else extra = arena_printf(&d->work, "If-None-Exist: %.*s", (int)e.if_none_exist.len, e.if_none_exist.ptr);
    return start(all, d, slice_is(e.method, "PUT") ? "PUT" : "POST", e.url, &extra,
          e.if_match.len > 0 || e.if_none_exist.len > 0 ? 1 : 0);
}

void call_forget(delivery *d)
{
    for (int i = 0; i < d->plan->entry_count; i++)
        if (d->entries[i].done) return;
    call_end(d);
}

void call_end(delivery *d)
{
    for (int i = 0; i < d->plan->entry_count; i++) {
        d->entries[i].sent = NULL;
        d->entries[i].believed = SLICE_NONE;
    }
    d->body = (buf){ 0 };
    arena_free(&d->work);
}

verdict call_next(deliverer *all, delivery *d)
{
    call_forget(d);
    d->body = buf_in(&d->work);
    for (int i = 0; i < d->plan->entry_count; i++) {
        if (d->entries[i].done) continue;
        return d->transactions ? start_bundle(all, d) : start_single(all, d);
    }
    for (int i = 0; i < d->plan->entry_count; i++) {
        if (!d->entries[i].find) continue;
        d->at = i;
        d->kind = CALL_FIND;
        return start(all, d, "GET", arena_printf(&d->work, "%.*s?%.*s", (int)d->plan->entries[i].type.len, d->plan->entries[i].type.ptr,
                                          (int)d->plan->entries[i].if_none_exist.len, d->plan->entries[i].if_none_exist.ptr),
              NULL, 0);
    }
    for (int i = 0; i < d->plan->entry_count; i++) {
        if (!d->entries[i].read) continue;
        d->at = i;
        d->kind = CALL_READ;
        return start(all, d, "GET", path_of(d, i), NULL, 0);
    }
    return VERDICT_DONE;
}

static verdict start_write(deliverer *all, delivery *d)
{
    const entry_state *st = &d->entries[d->at];
    slice match = arena_printf(&d->work, "If-Match: W/\"%.*s\"", (int)st->version.len, st->version.ptr);

    d->body = buf_in(&d->work);
    json_write(&d->body, st->sent);
    d->kind = CALL_WRITE;
    return start(all, d, "PUT", path_of(d, d->at), &match, st->version.len > 0 ? 1 : 0);
}

/* ---- answers ----------------------------------------------------------------------------------- */

/* An entry was answered: created, found, or written. */
static void settle(delivery *d, int i, int status, slice type, slice resource_id, slice version)
{
    const plan_entry *p = &d->plan->entries[i];
    entry_state *st = &d->entries[i];
    arena *mem = &d->j->mem;

    st->done = true;
    st->type = arena_dup(mem, type);
    st->id = arena_dup(mem, resource_id);
    st->version = arena_dup(mem, version);
    /* After a lost answer our own creation is found, not made. */
    st->find = st->id.len == 0;
    st->created = status == 201 || (d->maybe_sent && !st->known && st->believed.len == 0 && slice_is(version, "1"));
    if (st->known || status == 201) return;
    st->read = p->owned && p->if_none_exist.len > 0 && !(st->believed.len > 0 && slice_eq(st->believed, version));
}

static verdict all_settled(deliverer *all, delivery *d)
{
    call_resolve(d, d);
    for (int i = 0; i < d->plan->entry_count; i++)
        if (d->entries[i].done && !d->entries[i].find && !d->entries[i].read && d->entries[i].believed.len == 0) remember(all, d, i);
    return VERDICT_MORE;
}

/* A service may say 200 to a conditional create without saying which resource it met: then
 * the condition itself is searched for. */
static bool may_be_found(const delivery *d, int i, int status)
{
    return status == 200 && d->plan->entries[i].if_none_exist.len > 0;
}

static verdict bundle_answered(deliverer *all, delivery *d, slice body)
{
    size_t expected = (size_t)d->plan->entry_count, count;
    fhir_bundle_answer *answers;
    json *v;

    if (json_parse(&d->work, body, &v, &d->why) != ERR_OK ||
        fhir_bundle_read_response(&d->work, v, expected, &answers, &count, &d->why) != ERR_OK) return VERDICT_MESSAGE;
    for (size_t i = 0; i < count; i++) {
        if (answers[i].id.len > 0 && slice_eq(answers[i].type, d->plan->entries[i].type)) continue;
        if (may_be_found(d, (int)i, answers[i].status)) continue;
        (void)err_set(&d->why, ERR_FHIR, "the service does not say which resource entry %zu became", i);
        return VERDICT_MESSAGE;
    }
    for (size_t i = 0; i < count; i++) {
        const entry_state *st = &d->entries[i];
        if (st->believed.len == 0 || answers[i].id.len == 0 || slice_eq(answers[i].id, st->id) || d->stale >= MOST_STALE) continue;
        d->stale++;                      /* it was deleted, and the others refer to what it was */
        d->maybe_sent = true;
        distrust(all, d);
        return VERDICT_AGAIN;
    }
    for (size_t i = 0; i < count; i++)
        settle(d, (int)i, answers[i].status, answers[i].type, answers[i].id, answers[i].version);
    return all_settled(all, d);
}

static verdict single_answered(deliverer *all, delivery *d, const fetch_answer *a)
{
    const entry_state *st = &d->entries[d->at];
    fhir_target at = { .type = st->type, .id = st->id };
    slice version = version_of(a->etag);

    if (!st->known && !fhir_reference_parse(a->location, &at) && !may_be_found(d, d->at, a->status)) {
        (void)err_set(&d->why, ERR_FHIR, "%.*s: the answer has no Location", (int)d->plan->entries[d->at].type.len,
                      d->plan->entries[d->at].type.ptr);
        return VERDICT_MESSAGE;
    }
    settle(d, d->at, a->status, at.type, at.id, version.len > 0 ? version : at.version);
    return all_settled(all, d);
}

static verdict read_answered(deliverer *all, delivery *d, const fetch_answer *a)
{
    entry_state *st = &d->entries[d->at];
    slice etag = version_of(a->etag);
    json *held;
    bool changed;

    if (json_parse(&d->work, arena_dup(&d->work, a->body), &held, &d->why) != ERR_OK ||
        !slice_eq(fhir_type(held), st->type)) {
        (void)err_set(&d->why, ERR_FHIR, "%.*s: the service returned something else when it was read",
                      (int)st->type.len, st->type.ptr);
        return VERDICT_MESSAGE;
    }
    st->version = arena_dup(&d->j->mem, etag.len > 0 ? etag : json_text(json_get(held, "meta"), "versionId"));
    st->sent = fhir_merge(&d->work, held, d->plan->entries[d->at].resource, &changed);
    if (changed) return start_write(all, d);
    st->read = false;
    remember(all, d, d->at);
    return VERDICT_MORE;
}

static verdict find_answered(deliverer *all, delivery *d, const fetch_answer *a)
{
    entry_state *st = &d->entries[d->at];
    const json *entry, *resource = NULL;
    json *bundle;
    int found = 0;

    if (json_parse(&d->work, arena_dup(&d->work, a->body), &bundle, &d->why) != ERR_OK) return VERDICT_MESSAGE;
    entry = json_get(bundle, "entry");
    for (entry = entry == NULL ? NULL : entry->child; entry != NULL; entry = entry->next) {
        if (!slice_eq(fhir_type(json_get(entry, "resource")), d->plan->entries[d->at].type)) continue;
        resource = json_get(entry, "resource");
        found++;
    }
    if (found != 1) {
        (void)err_set(&d->why, ERR_FHIR, "%.*s: the service finds %d resources by its identifier",
                      (int)d->plan->entries[d->at].type.len, d->plan->entries[d->at].type.ptr, found);
        return VERDICT_MESSAGE;
    }
    st->type = d->plan->entries[d->at].type;
    st->id = arena_dup(&d->j->mem, fhir_id(resource));
    if (st->id.len == 0) {
        (void)err_set(&d->why, ERR_FHIR, "%.*s: the service found it and gives no id", (int)st->type.len, st->type.ptr);
        return VERDICT_MESSAGE;
    }
    st->find = false;
    st->version = arena_dup(&d->j->mem, json_text(json_get(resource, "meta"), "versionId"));
    return all_settled(all, d);
}

static void write_answered(deliverer *all, delivery *d, const fetch_answer *a)
{
    entry_state *st = &d->entries[d->at];

    st->version = arena_dup(&d->j->mem, version_of(a->etag));
    st->read = false;
    remember(all, d, d->at);
}

static uint64_t retry_after(slice header)
{
    int64_t seconds;
    return slice_int(slice_trim(header), &seconds) && seconds > 0 && seconds < 86400 ? (uint64_t)seconds * 1000 : 0;
}

/* Whose fault (DESIGN section 2, Status)? */
static verdict failed(deliverer *all, delivery *d, const fetch_answer *a)
{
    if (a->error == ERR_EXPIRED) return VERDICT_HELD;
    d->retry_after_ms = retry_after(a->retry_after);
    if (a->error == ERR_LIMIT) { d->why = a->why; return VERDICT_MESSAGE; }
    if (a->error != ERR_OK) {
        d->why = a->why;
        if (a->sent) d->maybe_sent = true;
        return VERDICT_TARGET;
    }
    (void)err_set(&d->why, ERR_FHIR, "the service answered %d", a->status);
    if (a->status == 412 && d->stale < MOST_STALE) {
        bool from_memory = d->kind == CALL_WRITE;
        for (int i = 0; i < d->plan->entry_count; i++) from_memory |= d->entries[i].known;
        if (from_memory) {               /* somebody else wrote it: read first */
            d->stale++;
            if (d->kind == CALL_WRITE) return VERDICT_AGAIN;
            distrust(all, d);
            return VERDICT_AGAIN;
        }
    }
    /* A 404 of what is not a resource is one of the base, or of a type that the service does not have. */
    if (a->status >= 500 || (a->status == 404 && d->kind != CALL_READ && d->kind != CALL_WRITE)) {
        /* The target's, unless it did what others asked since this one failed before. */
        bool others = d->failed_ns != 0 && d->to->last_good_ns > d->failed_ns;
        d->failed_ns = clock_ns();
        d->maybe_sent |= a->status >= 500;
        return others ? VERDICT_MESSAGE : VERDICT_TARGET;
    }
    if (a->status == 401 || a->status == 403 || a->status == 407 || a->status == 429) return VERDICT_TARGET;
    if ((a->status == 404 || a->status == 410) && d->kind == CALL_READ) {     /* deleted since we found it */
        for (int i = 0; i < d->plan->entry_count; i++) d->entries[i] = (entry_state){ 0 };
        return d->stale++ < MOST_STALE ? VERDICT_AGAIN : VERDICT_MESSAGE;
    }
    return VERDICT_MESSAGE;
}

verdict call_answered(deliverer *all, delivery *d, const fetch_answer *a)
{
    verdict v = VERDICT_MORE;

    d->call = NULL;
    d->maybe_sent |= a->sent_again;
    d->http_status = a->status;
    if (a->error != ERR_OK || a->status < 200 || a->status > 299) return failed(all, d, a);
    target_good(d->to);
    switch (d->kind) {
    case CALL_BUNDLE: v = bundle_answered(all, d, arena_dup(&d->work, a->body)); break;
    case CALL_SINGLE: v = single_answered(all, d, a); break;
    case CALL_FIND: v = find_answered(all, d, a); break;
    case CALL_READ:
        v = read_answered(all, d, a);
        if (v == VERDICT_MORE && d->call != NULL) return VERDICT_MORE;   /* the write is under way */
        break;
    case CALL_WRITE: write_answered(all, d, a); break;
    }
    return v == VERDICT_MORE ? call_next(all, d) : v;
}
