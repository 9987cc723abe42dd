/* fhir/bundle.c -- transaction Bundles and their responses. */
#include "fhir/bundle.h"

/* ---- writing ------------------------------------------------------------------------------ */

/* A resource without its null elements: they mark what an update deletes. */
static void write_resource(buf *out, const json *resource)
{
    bool first = true;

    buf_putc(out, '{');
    for (const json *m = resource->child; m != NULL; m = m->next) {
        if (m->type == JSON_NULL) continue;
        if (!first) buf_putc(out, ',');
        first = false;
        buf_json(out, m->key);
        buf_putc(out, ':');
        json_write(out, m);
    }
    buf_putc(out, '}');
}

static void write_member(buf *out, const char *name, slice value)
{
    if (value.len == 0) return;
    buf_puts(out, ",\"");
    buf_puts(out, name);
    buf_puts(out, "\":");
    buf_json(out, value);
}

static void write_entry(buf *out, const fhir_bundle_entry *e)
{
    buf_putc(out, '{');
    if (e->full_url.len > 0) {
        buf_puts(out, "\"fullUrl\":");
        buf_json(out, e->full_url);
        buf_putc(out, ',');
    }
    if (e->resource != NULL) {
        buf_puts(out, "\"resource\":");
        write_resource(out, e->resource);
        buf_putc(out, ',');
    }
    buf_puts(out, "\"request\":{\"method\":");
    buf_json(out, e->method);
    write_member(out, "url", e->url);
    write_member(out, "ifMatch", e->if_match);
    write_member(out, "ifNoneExist", e->if_none_exist);
    buf_puts(out, "}}");
}

void fhir_bundle_write(buf *out, slice identifier_system, slice identifier_value,
                       const fhir_bundle_entry *entries, size_t count)
{
    buf_puts(out, "{\"resourceType\":\"Bundle\",");
    if (identifier_value.len > 0) {
        buf_puts(out, "\"identifier\":{");
        if (identifier_system.len > 0) {
            buf_puts(out, "\"system\":");
            buf_json(out, identifier_system);
            buf_putc(out, ',');
        }
        buf_puts(out, "\"value\":");
        buf_json(out, identifier_value);
        buf_puts(out, "},");
    }
    buf_puts(out, "\"type\":\"transaction\"");
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i == 0 ? ",\"entry\":[" : ",");
        write_entry(out, &entries[i]);
    }
    buf_puts(out, count == 0 ? "}" : "]}");
}

/* ---- reading ------------------------------------------------------------------------------ */

/* The last two segments, or those around `_history`:
 * [base/]Patient/123[/_history/4]. */
static void read_location(slice location, fhir_bundle_answer *out)
{
    slice part[4] = { SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE };   /* the last ones, newest first */

    while (location.ptr != NULL) {
        slice next = slice_cut(location, '/', &location);
        memmove(part + 1, part, 3 * sizeof *part);
        part[0] = next;
    }
    if (slice_is(part[1], "_history")) {
        out->version = part[0];
        part[0] = part[2];
        part[1] = part[3];
    }
    if (part[1].len == 0 || part[0].len == 0) return;
    out->type = part[1];
    out->id = part[0];
}

/* W/"4" or "4" */
static slice read_etag(slice etag)
{
    if (slice_starts(etag, slice_lit("W/"))) etag = slice_from(etag, 2);
    if (etag.len < 2 || etag.ptr[0] != '"' || etag.ptr[etag.len - 1] != '"') return SLICE_NONE;
    return (slice){ etag.ptr + 1, etag.len - 2 };
}

/* Three digits, then nothing or a blank and the reason. */
static bool read_status(slice text, int *out)
{
    int64_t n;

    if (text.len < 3 || (text.len > 3 && text.ptr[3] != ' ')) return false;
    if (!slice_int((slice){ text.ptr, 3 }, &n) || n < 100) return false;
    *out = (int)n;
    return true;
}

static bool read_answer(const json *entry, fhir_bundle_answer *out)
{
    const json *response = json_get(entry, "response"), *resource = json_get(entry, "resource");
    const json *outcome = json_get(response, "outcome");
    slice etag = read_etag(json_text(response, "etag"));

    *out = (fhir_bundle_answer){ 0 };
    if (!read_status(json_text(response, "status"), &out->status)) return false;
    if (outcome == NULL && slice_is(json_text(resource, "resourceType"), "OperationOutcome"))
        outcome = resource;
    out->outcome = outcome;
    read_location(json_text(response, "location"), out);
    if (etag.len > 0) out->version = etag;
    if (out->id.len == 0 && resource != NULL && resource != outcome) {
        out->type = json_text(resource, "resourceType");
        out->id = json_text(resource, "id");
        if (out->version.len == 0) out->version = json_text(json_get(resource, "meta"), "versionId");
    }
    return true;
}

err fhir_bundle_read_response(arena *mem, const json *v, size_t expected, fhir_bundle_answer **out,
                              size_t *count, err_info *why)
{
    const json *entries = json_get(v, "entry");
    slice type = json_text(v, "type");
    size_t n = 0;

    *count = 0;
    if (!slice_is(json_text(v, "resourceType"), "Bundle") ||
        (!slice_is(type, "transaction-response") && !slice_is(type, "batch-response")))
        return err_set(why, ERR_FHIR, "the answer is no transaction-response Bundle");
    if (entries != NULL && !json_is(entries, JSON_ARRAY))
        return err_set(why, ERR_FHIR, "the answer's entry is no array");
    size_t have = entries == NULL ? 0 : entries->count;
    if (expected != SIZE_MAX && have != expected)
        return err_set(why, ERR_FHIR, "the answer has %zu entries for %zu requests", have, expected);
    *out = arena_array(mem, fhir_bundle_answer, have);
    for (const json *e = entries == NULL ? NULL : entries->child; e != NULL; e = e->next, n++)
        if (!read_answer(e, &(*out)[n]))
            return err_set(why, ERR_FHIR, "entry %zu of the answer has no response.status", n + 1);
    *count = n;
    return ERR_OK;
}
