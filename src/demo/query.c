/* demo/query.c -- query parameters in, pages of Bundles out.
 *
 * Pages go by key, not by offset: `next` carries time and id of the page's last resource
 * ("_after=1776504615123000.abc"), so that writing meanwhile neither repeats nor skips
 * what stays as it is. */
#include "demo/query.h"

#include "demo/index.h"
#include "fhir/outcome.h"
#include "fhir/resource.h"
#include "fhir/search.h"
#include "net/http_server.h"

/* ---- reading ------------------------------------------------------------------- */

typedef struct reader {
    arena      *mem;
    slice       base;
    demo_query *q;
    buf         criteria, self, ignored;
    int         room;                    /* of q->keys */
} reader;

static void put_encoded(buf *out, slice s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("-._~:/,|", c) != NULL);
        if (plain) {
            buf_putc(out, (char)c);
        } else {
            buf_putc(out, '%');
            buf_putc(out, hex[c >> 4]);
            buf_putc(out, hex[c & 15]);
        }
    }
}

static void honour(reader *r, slice name, slice value)
{
    if (r->self.len > 0) buf_putc(&r->self, '&');
    put_encoded(&r->self, name);
    buf_putc(&r->self, '=');
    put_encoded(&r->self, value);
}

/* A name is the sender's text: only what looks like one is said back. */
static void ignore(reader *r, slice name)
{
    slice modifier, plain = fhir_search_name(name, &modifier);
    bool word = plain.len > 0 && plain.len <= 64;

    for (size_t i = 0; i < plain.len && word; i++) {
        char c = plain.ptr[i];
        word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
    }
    if (r->ignored.len > 0) buf_puts(&r->ignored, ", ");
    buf_put(&r->ignored, word ? plain : slice_lit("(another)"));
}

/* A range that the present criterion, number q->number, asks for. */
static void on_range(void *arg, slice lo, slice hi)
{
    reader *r = arg;
    demo_query *q = r->q;

    if (q->key_count == r->room) {
        int room = r->room == 0 ? 4 : r->room * 2;
        slice *keys = arena_array(r->mem, slice, (size_t)room);
        if (q->key_count > 0) memcpy(keys, q->keys, sizeof *keys * (size_t)q->key_count);
        q->keys = keys;
        r->room = room;
    }
    q->keys[q->key_count++] = lo;
    buf_printf(&r->criteria, "%s{\"n\":%d,\"lo\":", r->criteria.len > 0 ? "," : "", q->number);
    buf_json(&r->criteria, lo);
    buf_puts(&r->criteria, ",\"hi\":");
    buf_json(&r->criteria, hi);
    buf_putc(&r->criteria, '}');
}

static err read_id(reader *r, slice value, err_info *why)
{
    slice id;

    while (fhir_search_next(&value, &id)) {
        if (!fhir_id_valid(id)) return err_set(why, ERR_USAGE, "_id must be an id, or several with commas");
        id = arena_printf(r->mem, "_id=%.*s", (int)id.len, id.ptr);
        on_range(r, id, id);
    }
    return ERR_OK;
}

/* Several _lastUpdated narrow each other down. */
static err read_updated(demo_query *q, slice value, err_info *why)
{
    fhir_span s;
    err e;

    if (value.len > 0 && memchr(value.ptr, ',', value.len) != NULL)
        return err_set(why, ERR_USAGE, "_lastUpdated takes no alternatives with commas here");
    e = fhir_search_date_parse(value, &s, why);
    if (e != ERR_OK) return err_prefix(why, "_lastUpdated");
    if (!q->bounded) q->updated = s;
    if (s.from_us > q->updated.from_us) q->updated.from_us = s.from_us;
    if (s.to_us < q->updated.to_us) q->updated.to_us = s.to_us;
    q->bounded = true;
    return ERR_OK;
}

static err read_after(demo_query *q, slice value, err_info *why)
{
    slice id, us = slice_cut(value, '.', &id);

    if (!slice_int(us, &q->after_us) || !fhir_id_valid(id))
        return err_set(why, ERR_USAGE, "_after must come from a next link");
    q->after = true;
    q->after_id = id;
    return ERR_OK;
}

static const char *order_of(slice sort)
{
    static const struct { const char *sort, *order; } orders[] = {
        { "_id", "id" }, { "-_id", "-id" }, { "_lastUpdated", "updated" }, { "-_lastUpdated", "-updated" },
    };

    for (size_t i = 0; i < countof(orders); i++) {
        if (slice_is(sort, orders[i].sort)) return orders[i].order;
    }
    return NULL;
}

/* Parameters of the result (R4 search, 3.1.1.5); false when it is none that we have. */
static bool read_control(reader *r, slice name, slice value, err *e, err_info *why)
{
    demo_query *q = r->q;
    int64_t n;

    *e = ERR_OK;
    if (slice_is(name, "_format") || slice_is(name, "_pretty")) return true;
    if (slice_is(name, "_after")) {
        *e = read_after(q, value, why);
        return true;
    }
    if (slice_is(name, "_count")) {
        if (!slice_int(value, &n) || n < 0) {
            *e = err_set(why, ERR_USAGE, "_count must be a number");
            return true;
        }
        q->count = n > DEMO_COUNT_MAX ? DEMO_COUNT_MAX : (int)n;
    } else if (slice_is(name, "_sort")) {
        if (order_of(value) == NULL) return false;
        q->order = order_of(value);
    } else if (slice_is(name, "_summary")) {
        if (slice_is(value, "count")) q->count = 0;
        else if (!slice_is(value, "false")) return false;
    } else if (slice_is(name, "_total")) {
        if (!slice_is(value, "none") && !slice_is(value, "accurate") && !slice_is(value, "estimate")) return false;
        q->total = !slice_is(value, "none");
    } else {
        return false;
    }
    honour(r, name, value);
    return true;
}

static err read_param(reader *r, slice name, slice value, err_info *why)
{
    slice modifier, plain = fhir_search_name(name, &modifier);
    const demo_param *p;
    err e;

    if (read_control(r, name, value, &e, why)) return e;
    if (slice_is(name, "_lastUpdated")) {
        honour(r, name, value);
        return read_updated(r->q, value, why);
    }
    p = demo_param_find(r->q->type, plain);
    if (p == NULL && !slice_is(name, "_id")) {
        ignore(r, name);
        return ERR_OK;
    }
    honour(r, name, value);
    r->q->number++;
    return p == NULL ? read_id(r, value, why)
                     : demo_ranges(r->mem, p, modifier, value, r->base, on_range, r, why);
}

err demo_query_parse(arena *mem, slice type, slice query, slice base, demo_query *out, err_info *why)
{
    reader r = { .mem = mem, .base = base, .q = out,
                 .criteria = buf_in(mem), .self = buf_in(mem), .ignored = buf_in(mem) };
    slice rest = query, name, value;

    *out = (demo_query){ .type = type, .order = "updated", .count = DEMO_COUNT_DEFAULT, .total = true };
    while (http_param_next(mem, &rest, &name, &value)) {
        err e;
        if (value.len == 0) continue;    /* "?name=" asks for nothing (R4 search, 3.1.1.4.1) */
        e = read_param(&r, name, value, why);
        if (e != ERR_OK) return e;
    }
    out->criteria = arena_printf(mem, "[%.*s]", (int)r.criteria.len, r.criteria.len > 0 ? r.criteria.ptr : "");
    out->self = buf_slice(&r.self);
    out->ignored = buf_slice(&r.ignored);
    return ERR_OK;
}

err demo_condition_parse(arena *mem, slice type, slice query, slice base, demo_query *out, err_info *why)
{
    err e = demo_query_parse(mem, type, query, base, out, why);

    if (e != ERR_OK) return e;
    if (out->ignored.len > 0)
        return err_set(why, ERR_USAGE, "the condition has parameters that are not supported: %.*s",
                       out->ignored.len > 150 ? 150 : (int)out->ignored.len, out->ignored.ptr);
    if (out->bounded || out->after)
        return err_set(why, ERR_USAGE, "the condition may not use _lastUpdated or a page");
    return out->number > 0
        ? ERR_OK
        : err_set(why, ERR_USAGE, "the condition asks for nothing; give identifier=system|value");
}

/* ---- asking ---------------------------------------------------------------------- */

static pg_param bound(arena *mem, bool set, int64_t us)
{
    return set && us != INT64_MIN && us != INT64_MAX ? pg_int(mem, us) : pg_text(mem, SLICE_NONE);
}

int demo_query_calls(arena *mem, const demo_query *q, demo_call *calls)
{
    pg_param type = pg_text(mem, q->type), criteria = pg_text(mem, q->criteria);
    pg_param from = bound(mem, q->bounded, q->updated.from_us), to = bound(mem, q->bounded, q->updated.to_us);
    int n = 0;

    if (q->count > 0) {
        calls[n++] = (demo_call){ DEMO_SEARCH, {
            type, criteria, from, to, pg_text(mem, slice_of(q->order)),
            q->after ? pg_int(mem, q->after_us) : pg_text(mem, SLICE_NONE), pg_text(mem, q->after_id),
            pg_int(mem, q->count + 1) } };           /* one more tells whether there is a next page */
    }
    if (q->total || q->count == 0) calls[n++] = (demo_call){ DEMO_COUNT, { type, criteria, from, to } };
    return n;
}

/* ---- answering -------------------------------------------------------------------- */

static void put_link(buf *out, const char *relation, slice base, slice type, slice self, slice after)
{
    buf url = buf_in(out->mem);

    buf_put(&url, base);
    buf_putc(&url, '/');
    buf_put(&url, type);
    if (self.len > 0 || after.len > 0) buf_putc(&url, '?');
    buf_put(&url, self);
    if (after.len > 0) {
        if (self.len > 0) buf_putc(&url, '&');
        buf_puts(&url, "_after=");
        buf_put(&url, after);
    }
    buf_printf(out, "{\"relation\":\"%s\",\"url\":", relation);
    buf_json(out, buf_slice(&url));
    buf_putc(out, '}');
}

static void put_full_url(buf *out, slice base, slice type, slice id)
{
    buf_puts(out, "\"fullUrl\":");
    buf_json(out, arena_printf(out->mem, "%.*s/%.*s/%.*s", (int)base.len, base.ptr, (int)type.len, type.ptr,
                               (int)id.len, id.ptr));
}

static void put_ignored(buf *out, slice ignored)
{
    slice said = arena_printf(out->mem, "parameters that are not supported were ignored: %.*s", (int)ignored.len,
                              ignored.ptr);

    buf_puts(out, "{\"resource\":");
    json_write(out, fhir_outcome(out->mem, FHIR_WARNING, "not-supported", said));
    buf_puts(out, ",\"search\":{\"mode\":\"outcome\"}}");
}

slice demo_query_bundle(arena *mem, const demo_query *q, slice base, const pg_result *results)
{
    const pg_result *page = q->count > 0 ? &results[0] : NULL;
    int rows = page == NULL ? 0 : pg_rows(page), shown = rows > q->count ? q->count : rows;
    buf out = buf_in(mem);
    slice after;

    buf_puts(&out, "{\"resourceType\":\"Bundle\",\"type\":\"searchset\"");
    if (q->total || q->count == 0) {
        buf_puts(&out, ",\"total\":");
        buf_int(&out, pg_cell_int(&results[page == NULL ? 0 : 1], 0, 0));
    }
    buf_puts(&out, ",\"link\":[");
    after = q->after ? arena_printf(mem, "%lld.%.*s", (long long)q->after_us, (int)q->after_id.len, q->after_id.ptr)
                     : SLICE_NONE;
    put_link(&out, "self", base, q->type, q->self, after);
    if (rows > shown) {
        slice id = pg_cell(page, shown - 1, 0);
        buf_putc(&out, ',');
        put_link(&out, "next", base, q->type, q->self,
                 arena_printf(mem, "%lld.%.*s", (long long)pg_cell_int(page, shown - 1, 1), (int)id.len, id.ptr));
    }
    buf_putc(&out, ']');
    if (shown > 0 || q->ignored.len > 0) {       /* FHIR has no empty arrays */
        buf_puts(&out, ",\"entry\":[");
        for (int i = 0; i < shown; i++) {
            buf_puts(&out, i > 0 ? ",{" : "{");
            put_full_url(&out, base, q->type, pg_cell(page, i, 0));
            buf_puts(&out, ",\"resource\":");
            buf_put(&out, pg_cell(page, i, 2));
            buf_puts(&out, ",\"search\":{\"mode\":\"match\"}}");
        }
        if (q->ignored.len > 0) {
            if (shown > 0) buf_putc(&out, ',');
            put_ignored(&out, q->ignored);
        }
        buf_putc(&out, ']');
    }
    buf_putc(&out, '}');
    return buf_slice(&out);
}

slice demo_history_bundle(arena *mem, slice type, slice id, slice base, const pg_result *result)
{
    enum { DELETED, VERSION, UPDATED, METHOD, CONTENT, TOTAL };
    buf out = buf_in(mem);

    buf_printf(&out, "{\"resourceType\":\"Bundle\",\"type\":\"history\",\"total\":%lld,\"entry\":[",
               (long long)pg_cell_int(result, 0, TOTAL));
    for (int i = 0; i < pg_rows(result); i++) {
        slice method = pg_cell(result, i, METHOD), updated = pg_cell(result, i, UPDATED);
        bool deleted = pg_cell_bool(result, i, DELETED), made = slice_is(method, "POST");
        bool first = pg_cell_int(result, i, VERSION) == 1;

        buf_puts(&out, i > 0 ? ",{" : "{");
        put_full_url(&out, base, type, id);
        if (!deleted) {
            buf_puts(&out, ",\"resource\":");
            buf_put(&out, pg_cell(result, i, CONTENT));
        }
        buf_printf(&out, ",\"request\":{\"method\":\"%.*s\",\"url\":\"%.*s", (int)method.len, method.ptr,
                   (int)type.len, type.ptr);
        if (!made) buf_printf(&out, "/%.*s", (int)id.len, id.ptr);
        buf_printf(&out, "\"},\"response\":{\"status\":\"%s\",\"etag\":\"W/\\\"%lld\\\"\",\"lastModified\":\"%.*s\"}}",
                   deleted ? "204 No Content" : first ? "201 Created" : "200 OK",
                   (long long)pg_cell_int(result, i, VERSION), (int)updated.len, updated.ptr);
    }
    buf_puts(&out, "]}");
    return buf_slice(&out);
}
