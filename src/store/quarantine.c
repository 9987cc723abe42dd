/* store/quarantine.c -- the SQL of hl7_quarantine for people. */
#include "store/quarantine.h"

#include "store/events.h"
#include "store/feed.h"

#define COLUMNS "q.id, q.tenant_id, q.connector_id, c.name, q.reason, q.detail, q.peer, q.count, q.byte_count," \
    " q.byte_count > octet_length(q.bytes), " SQL_TIME("q.first_at") ", " SQL_TIME("q.last_at") ", " \
    SQL_TIME("q.released_at") ", q.message_id"
#define FROM " FROM hl7_quarantine q JOIN interop_connectors c ON c.tenant_id = q.tenant_id AND c.id = q.connector_id"

static void read_row(arena *mem, const pg_result *r, int i, quarantined *out)
{
    slice *const texts[] = {
        &out->id, &out->tenant_id, &out->connector_id, &out->connector_name, &out->reason, &out->detail, &out->peer,
        NULL, NULL, NULL, &out->first_at, &out->last_at, &out->released_at, &out->message_id,
    };

    *out = (quarantined){ .count = pg_cell_int(r, i, 7), .byte_count = pg_cell_int(r, i, 8), .cut = pg_cell_bool(r, i, 9) };
    for (int column = 0; column < (int)countof(texts); column++)
        if (texts[column] != NULL) *texts[column] = row_cell(mem, r, i, column);
}

void quarantine_json(buf *out, const quarantined *q)
{
    row_begin(out);
    row_text(out, "id", q->id);
    row_text(out, "tenantId", q->tenant_id);
    row_text(out, "connectorId", q->connector_id);
    row_text(out, "connectorName", q->connector_name);
    row_text(out, "reason", q->reason);
    row_text(out, "detail", q->detail);
    row_text(out, "peer", q->peer);
    row_int(out, "count", q->count);
    row_int(out, "byteCount", q->byte_count);
    row_bool(out, "cut", q->cut);
    row_text(out, "firstAt", q->first_at);
    row_text(out, "lastAt", q->last_at);
    row_text(out, "releasedAt", q->released_at);
    row_text(out, "messageId", q->message_id);
    row_end(out);
}

err quarantine_list(db *d, arena *mem, const quarantine_filter *f, quarantined **out, size_t *count, err_info *why)
{
    slice params[] = { f->connector, f->reason, slice_of(f->released ? "t" : "f"), f->before, row_param(mem, f->limit) };
    pg_result r;
    err e = db_exec(d, "SELECT " COLUMNS FROM " WHERE ($1::text IS NULL OR c.id = $1 OR c.name = $1)"
                    " AND ($2::text IS NULL OR q.reason = $2) AND ($3::boolean OR q.released_at IS NULL)"
                    " AND ($4::text IS NULL OR q.id < $4) ORDER BY q.id DESC LIMIT $5::bigint",
                    params, countof(params), &r, why);

    if (e != ERR_OK) return e;
    *count = (size_t)pg_rows(&r);
    *out = arena_array(mem, quarantined, *count + 1);
    for (size_t i = 0; i < *count; i++) read_row(mem, &r, (int)i, &(*out)[i]);
    return ERR_OK;
}

static err not_there(slice id, err_info *why)
{
    return err_set(why, ERR_NOT_FOUND, "the tenant has nothing in quarantine with the id %.*s: see `interop quarantine list`",
                   (int)id.len, id.ptr);
}

err quarantine_get(db *d, arena *mem, slice id, quarantined *out, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT " COLUMNS FROM " WHERE q.id = $1 FOR UPDATE OF q", &id, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0) return not_there(id, why);
    read_row(mem, &r, 0, out);
    return ERR_OK;
}

err quarantine_bytes(db *d, arena *mem, slice id, slice *out, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT bytes FROM hl7_quarantine WHERE id = $1", &id, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0) return not_there(id, why);
    *out = feed_bytes(mem, pg_cell(&r, 0, 0));
    return ERR_OK;
}

err quarantine_release(db *d, arena *mem, slice id, err_info *why)
{
    quarantined q = { .count = 0 };
    buf data = buf_in(mem);
    err e = quarantine_get(d, mem, id, &q, why);

    if (e != ERR_OK) return e;
    if (q.message_id.ptr != NULL)
        return err_set(why, ERR_CONFLICT, "%.*s was released and became message %.*s", (int)id.len, id.ptr,
                       (int)q.message_id.len, q.message_id.ptr);
    if (q.released_at.ptr != NULL)
        return err_set(why, ERR_CONFLICT, "%.*s was released, and the engine has not ingested it yet", (int)id.len, id.ptr);
    if (q.cut)
        return err_set(why, ERR_CONFLICT, "%.*s cannot be released: only a part of its %lld bytes was kept",
                       (int)id.len, id.ptr, (long long)q.byte_count);
    e = db_exec(d, "UPDATE hl7_quarantine SET released_at = NOW() WHERE id = $1", &id, 1, NULL, why);
    if (e != ERR_OK) return e;
    row_begin(&data);
    row_text(&data, "connectorId", q.connector_id);
    row_text(&data, "reason", q.reason);
    row_end(&data);
    e = event_add(d, q.tenant_id, q.id, 0, "quarantine.released", buf_slice(&data), why);
    slice work[] = { q.tenant_id, q.id };
    if (e == ERR_OK)
        e = db_exec(d, "SELECT pg_notify('interop_work', 'quarantine:' || $1 || ':' || $2)", work, 2, NULL, why);
    return e;
}
