/* store/quarantine_in.c -- the engine's side of hl7_quarantine. */
#include "store/quarantine_in.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/ulid.h"
#include "store/feed_statements.h"
#include "store/writer.h"

static const pg_statement put = {
    "quarantine_put",
    "WITH used AS (SELECT count(*) AS n, COALESCE(sum(octet_length(bytes)), 0) AS size FROM hl7_quarantine"
    "   WHERE connector_id = $2 AND released_at IS NULL),"
    " kept AS (INSERT INTO hl7_quarantine (id, tenant_id, connector_id, reason, detail, digest, bytes, byte_count, peer)"
    "   SELECT $1, current_setting('app.current_tenant_id'), $2, $3, $4, $5::bytea, $6::bytea, $7::int, $8 FROM used"
    "   WHERE (used.n < $9::bigint AND used.size + $7::int <= $10::bigint) OR EXISTS (SELECT FROM hl7_quarantine q"
    "     WHERE q.connector_id = $2 AND q.reason = $3 AND q.digest = $5::bytea)"
    "   ON CONFLICT (connector_id, reason, digest) DO UPDATE SET count = hl7_quarantine.count + 1,"
    "     last_at = NOW(), released_at = NULL"
    "   RETURNING tenant_id, id, connector_id, reason, count),"
    " told AS (INSERT INTO outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)"
    "   SELECT k.tenant_id, $11, interop_subject(k.tenant_id, 'quarantine.added'), 'quarantine.added',"
    "     interop_event($11, 'quarantine.added', k.id, jsonb_build_object('connectorId', k.connector_id,"
    "       'reason', k.reason, 'count', k.count)),"
    "     k.id, COALESCE((SELECT max(e.aggregate_seq) FROM outbox_events e WHERE e.aggregate_id = k.id), 0) + 1,"
    "     clock_timestamp() FROM kept k)"
    " SELECT id FROM kept"
};

static const pg_statement read_row = {
    "quarantine_read", "SELECT connector_id, bytes, released_at::text FROM hl7_quarantine WHERE id = $1 AND released_at IS NOT NULL AND message_id IS NULL"
};

static const pg_statement find_released = {
    "quarantine_find_released",
    "SELECT tenant_id, id FROM hl7_quarantine WHERE tenant_id = current_setting('app.current_tenant_id') AND connector_id = $1"
    "  AND released_at IS NOT NULL AND message_id IS NULL ORDER BY released_at, id"
};

static const pg_statement released = {
    "quarantine_released", "UPDATE hl7_quarantine SET message_id = $2, released_at = NOW() WHERE id = $1"
};

static const pg_statement put_back = {
    "quarantine_put_back", "UPDATE hl7_quarantine SET released_at = NULL WHERE id = $1 AND released_at = $2::timestamptz AND message_id IS NULL"
};

const pg_statement *const quarantine_statements[] = { &put, &read_row, &find_released, &released, &put_back, NULL };

typedef struct putting {
    void (*done)(void *arg, err e, bool kept, const err_info *why);
    void  *arg;
} putting;

static void on_put(void *arg, err e, const pg_result *results, int count,
                   const char *sqlstate, const err_info *why)
{
    putting p = *(putting *)arg;

    (void)count;
    free(arg);
    if (e == ERR_STORE && !writer_rows_fault(sqlstate)) e = ERR_STORE_LOST;
    p.done(p.arg, e, e == ERR_OK && pg_rows(&results[1]) > 0, why);
}

void quarantine_put(pg *c, const quarantine_row *row,
                    void (*done)(void *arg, err e, bool kept, const err_info *why), void *arg)
{
    pg_unit *unit = feed_unit(c, row->tenant);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 11);
    slice bytes = row->bytes.len > QUARANTINE_BYTES ? (slice){ row->bytes.ptr, QUARANTINE_BYTES } : row->bytes;
    sha256 hash = sha256_of(row->bytes);
    id row_id = id_new(ID_QUARANTINE), event_id = id_new(ID_EVENT);
    putting *p = mem_zalloc(sizeof *p);

    *p = (putting){ done, arg };
    params[0] = pg_text(mem, id_slice(&row_id));
    params[1] = pg_text(mem, row->connector_id);
    params[2] = pg_text(mem, slice_of(row->reason));
    params[3] = pg_text(mem, (slice){ row->detail, utf8_valid(slice_of(row->detail)) });   /* it may have been cut */
    params[4] = pg_bytea(mem, (slice){ (const char *)hash.byte, sizeof hash.byte });
    params[5] = pg_bytea(mem, bytes.len == 0 ? slice_lit("") : bytes);
    params[6] = pg_int(mem, (int64_t)row->bytes.len);
    params[7] = pg_text(mem, row->peer);
    params[8] = pg_int(mem, row->most_rows);
    params[9] = pg_int(mem, row->most_bytes);
    params[10] = pg_text(mem, id_slice(&event_id));
    pg_unit_add(unit, &put, params, 11);
    pg_submit(unit, on_put, p);
}

void quarantine_read(pg *c, slice tenant, slice quarantine_id, pg_done done, void *arg)
{
    feed_by_text(c, tenant, &read_row, quarantine_id, done, arg);
}

void quarantine_find_released(pg *c, slice tenant, slice connector_id, pg_done done, void *arg)
{
    feed_by_text(c, tenant, &find_released, connector_id, done, arg);
}

static void by_two_texts(pg *c, slice tenant, const pg_statement *st, slice first, slice second, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    pg_param *params = arena_array(pg_unit_arena(unit), pg_param, 2);

    params[0] = pg_text(pg_unit_arena(unit), first);
    params[1] = pg_text(pg_unit_arena(unit), second);
    pg_unit_add(unit, st, params, 2);
    pg_submit(unit, done, arg);
}

void quarantine_put_back(pg *c, slice tenant, slice quarantine_id, slice released_at, pg_done done, void *arg)
{
    by_two_texts(c, tenant, &put_back, quarantine_id, released_at, done, arg);
}

void quarantine_released(pg *c, slice tenant, slice quarantine_id, slice message_id, pg_done done, void *arg)
{
    by_two_texts(c, tenant, &released, quarantine_id, message_id, done, arg);
}
