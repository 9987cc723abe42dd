/* store/messages.c -- the SQL of hl7_messages for people. */
#include "store/messages.h"

#include "store/events.h"
#include "store/feed.h"

#define COLUMNS "m.id, m.tenant_id, m.connector_id, c.name, m.direction, m.message_type, m.message_control_id," \
    " m.sent_control_id, m.sending_app, m.sending_facility, m.receiving_app, m.processing_status, m.error_detail," \
    " m.pack_digest, m.attempt_count, m.replay_count, " SQL_TIME("m.received_at") ", " SQL_TIME("m.processed_at") \
    ", " SQL_TIME("m.next_attempt_at") ", " SQL_TIME("m.created_at")
#define PAYLOAD ", m.raw_payload, m.parsed_data::text"
#define FROM " FROM hl7_messages m JOIN interop_connectors c ON c.tenant_id = m.tenant_id AND c.id = m.connector_id"

static void read_row(arena *mem, const pg_result *r, int i, bool payload, message_row *out)
{
    slice *const texts[] = {
        &out->id, &out->tenant_id, &out->connector_id, &out->connector_name, &out->direction, &out->message_type,
        &out->control_id, &out->sent_control_id, &out->sending_app, &out->sending_facility, &out->receiving_app,
        &out->status, &out->error_detail, &out->pack_digest, NULL, NULL, &out->received_at, &out->processed_at,
        &out->next_attempt_at, &out->created_at, &out->raw_payload, &out->parsed_data,
    };
    int columns = (int)countof(texts) - (payload ? 0 : 2);

    *out = (message_row){ .attempt_count = pg_cell_int(r, i, 14), .replay_count = pg_cell_int(r, i, 15) };
    for (int column = 0; column < columns; column++)
        if (texts[column] != NULL) *texts[column] = row_cell(mem, r, i, column);
}

void message_json_begin(buf *out, const message_row *m)
{
    row_begin(out);
    row_text(out, "id", m->id);
    row_text(out, "tenantId", m->tenant_id);
    row_text(out, "connectorId", m->connector_id);
    row_text(out, "connectorName", m->connector_name);
    row_text(out, "direction", m->direction);
    row_text(out, "messageType", m->message_type);
    row_text(out, "messageControlId", m->control_id);
    row_text(out, "sentControlId", m->sent_control_id);
    row_text(out, "sendingApp", m->sending_app);
    row_text(out, "sendingFacility", m->sending_facility);
    row_text(out, "receivingApp", m->receiving_app);
    row_text(out, "rawPayload", m->raw_payload);
    row_json(out, "parsedData", m->parsed_data);
    row_text(out, "processingStatus", m->status);
    row_text(out, "errorDetail", m->error_detail);
    row_int(out, "attemptCount", m->attempt_count);
    row_int(out, "replayCount", m->replay_count);
    row_text(out, "packDigest", m->pack_digest);
    row_text(out, "receivedAt", m->received_at);
    row_text(out, "processedAt", m->processed_at);
    row_text(out, "nextAttemptAt", m->next_attempt_at);
    row_text(out, "createdAt", m->created_at);
}

err messages_list(db *d, arena *mem, const message_filter *f, message_row **out, size_t *count, err_info *why)
{
    slice params[6];
    int n = 0;
    buf sql = buf_in(mem);
    pg_result r;
    err e;

    buf_puts(&sql, "SELECT " COLUMNS);
    if (f->payload) buf_puts(&sql, PAYLOAD);
    buf_puts(&sql, FROM " WHERE TRUE");
    if (f->connector.ptr != NULL) {
        params[n++] = f->connector;
        buf_printf(&sql, " AND (c.id = $%d OR c.name = $%d)", n, n);
    }
    if (f->status.ptr != NULL) {
        params[n++] = f->status;
        buf_printf(&sql, " AND m.processing_status = $%d", n);
    }
    if (f->type.ptr != NULL) {
        params[n++] = f->type;
        buf_printf(&sql, " AND (m.message_type = $%d OR starts_with(m.message_type, $%d || '^'))", n, n);
    }
    if (f->control_id.ptr != NULL) {
        params[n++] = f->control_id;
        buf_printf(&sql, " AND COALESCE(m.sent_control_id, m.message_control_id) = $%d", n);
    }
    if (f->before.ptr != NULL) {
        params[n++] = f->before;
        buf_printf(&sql, " AND m.id < $%d", n);
    }
    params[n++] = row_param(mem, f->limit);
    buf_printf(&sql, " ORDER BY m.id DESC LIMIT $%d::bigint", n);      /* ids are ULIDs: by time */
    buf_putc(&sql, '\0');
    e = db_exec(d, sql.ptr, params, n, &r, why);
    if (e != ERR_OK) return e;
    *count = (size_t)pg_rows(&r);
    *out = arena_array(mem, message_row, *count + 1);
    for (size_t i = 0; i < *count; i++) read_row(mem, &r, (int)i, f->payload, &(*out)[i]);
    return ERR_OK;
}

static err no_message(slice message_id, err_info *why)
{
    return err_set(why, ERR_NOT_FOUND, "the tenant has no message %.*s: see `interop message list`",
                   (int)message_id.len, message_id.ptr);
}

err messages_get(db *d, arena *mem, slice message_id, message_row *out, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT " COLUMNS PAYLOAD FROM " WHERE m.id = $1", &message_id, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0) return no_message(message_id, why);
    read_row(mem, &r, 0, true, out);
    return ERR_OK;
}

err messages_bytes(db *d, arena *mem, slice message_id, slice *out, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT COALESCE(raw_bytes, convert_to(raw_payload, 'UTF8')) FROM hl7_messages WHERE id = $1",
                    &message_id, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0) return no_message(message_id, why);
    *out = feed_bytes(mem, pg_cell(&r, 0, 0));
    return ERR_OK;
}

/* One statement that gives one JSON text. */
static err read_json(db *d, arena *mem, const char *sql, slice message_id, slice *out, err_info *why)
{
    pg_result r;
    err e = db_exec(d, sql, &message_id, 1, &r, why);

    if (e == ERR_OK) *out = row_cell(mem, &r, 0, 0);
    return e;
}

#define LINK_JSON "json_build_object('id', l.id, 'messageId', l.message_id, 'resourceType', l.resource_type," \
    " 'resourceId', l.resource_id, 'action', l.action)"

err messages_fate(db *d, arena *mem, slice message_id, message_fate *out, err_info *why)
{
    err e = read_json(d, mem,
        "SELECT COALESCE(json_agg(json_strip_nulls(json_build_object('id', v.id, 'ordinal', v.ordinal,"
        "   'replay', v.replay, 'serviceUrl', v.service_url, 'serviceName', (SELECT s.name FROM fhir_services s"
        "     WHERE s.url = v.service_url ORDER BY s.tenant_id NULLS LAST LIMIT 1), 'ruleIds', v.rule_ids,"
        "   'status', v.status, 'attemptCount', v.attempt_count, 'httpStatus', v.http_status,"
        "   'errorDetail', v.error_detail, 'nextAttemptAt', " SQL_TIME("v.next_attempt_at") ","
        "   'endedAt', " SQL_TIME("v.ended_at") ", 'links', (SELECT COALESCE(json_agg(" LINK_JSON " ORDER BY l.entry), '[]')"
        "     FROM hl7_resource_links l WHERE l.tenant_id = v.tenant_id AND l.delivery_id = v.id)))"
        "   ORDER BY v.replay, v.ordinal), '[]')::text FROM hl7_deliveries v WHERE v.message_id = $1",
        message_id, &out->deliveries, why);

    if (e == ERR_OK)
        e = read_json(d, mem, "SELECT COALESCE(json_agg(" LINK_JSON " ORDER BY l.id), '[]')::text"
                      " FROM hl7_resource_links l WHERE l.message_id = $1 AND l.delivery_id IS NULL",
                      message_id, &out->links, why);
    if (e == ERR_OK)
        e = read_json(d, mem, "SELECT COALESCE(json_agg(json_build_object('id', e.id, 'type', e.event_type,"
                      "   'seq', e.aggregate_seq, 'published', e.published, 'createdAt', " SQL_TIME("e.created_at") ")"
                      "   ORDER BY e.aggregate_seq), '[]')::text FROM outbox_events e WHERE e.aggregate_id = $1",
                      message_id, &out->events, why);
    return e;
}

/* ---- replay --------------------------------------------------------------------------- */

/* The row, locked; and whether a later message of one of its keys (or, without
 * keys, of its connector) was processed. */
static err may_replay(db *d, slice message_id, bool force, err_info *why)
{
    char status[16];
    pg_result r;
    err e = db_exec(d, "SELECT processing_status FROM hl7_messages WHERE id = $1 FOR UPDATE", &message_id, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0) return no_message(message_id, why);
    (void)slice_cstr(pg_cell(&r, 0, 0), status, sizeof status);
    if (strcmp(status, "pending") == 0 || strcmp(status, "processing") == 0)
        return err_set(why, ERR_CONFLICT, "message %.*s is %s: it is in work already",
                       (int)message_id.len, message_id.ptr, status);
    if (force) return ERR_OK;
    e = db_exec(d, "SELECT o.id FROM hl7_messages m JOIN hl7_messages o ON o.tenant_id = m.tenant_id"
                "  AND o.connector_id = m.connector_id AND o.seq > m.seq AND o.processing_status = 'processed'"
                "  AND (o.lane_keys && m.lane_keys OR (o.lane_keys = '{}' AND m.lane_keys = '{}'))"
                " WHERE m.id = $1 LIMIT 1", &message_id, 1, &r, why);
    if (e != ERR_OK || pg_rows(&r) == 0) return e;
    return err_set(why, ERR_CONFLICT, "a later message of the same key was processed (%.*s), and this one "
                   "would overwrite it: replay it with --force if that is right",
                   (int)pg_cell(&r, 0, 0).len, pg_cell(&r, 0, 0).ptr);
}

static err tell_engines(db *d, slice tenant, slice message_id, err_info *why)
{
    slice work[] = { tenant, message_id };
    return db_exec(d, "SELECT pg_notify('interop_work', 'message:' || $1 || ':' || $2)", work, 2, NULL, why);
}

/* Its event, from a row of event_seq, connector, type, status and replay_count; then the engines. */
static err tell_changed(db *d, slice tenant, slice message_id, const char *event, const pg_result *r, err_info *why)
{
    buf data = buf_in(NULL);
    err e;

    row_begin(&data);
    row_text(&data, "connectorId", pg_cell(r, 0, 1));
    row_text(&data, "messageType", pg_cell(r, 0, 2));
    row_text(&data, "status", pg_cell(r, 0, 3));
    row_int(&data, "replay", pg_cell_int(r, 0, 4));
    row_end(&data);
    e = event_add(d, tenant, message_id, pg_cell_int(r, 0, 0), event, buf_slice(&data), why);
    buf_free(&data);
    return e == ERR_OK ? tell_engines(d, tenant, message_id, why) : e;
}

#define CHANGED " RETURNING event_seq, connector_id, message_type, processing_status, replay_count"

err messages_replay(db *d, slice tenant, slice message_id, message_by by, bool force, err_info *why)
{
    slice params[] = { message_id, by == MESSAGE_AS_THEN ? slice_lit("true") : slice_lit("false") };
    pg_result r;
    err e = may_replay(d, message_id, force, why);

    if (e == ERR_OK && by == MESSAGE_AS_THEN) {
        e = db_exec(d, "SELECT FROM hl7_messages WHERE id = $1 AND pack_digest IS NOT NULL", &message_id, 1, &r, why);
        if (e == ERR_OK && pg_rows(&r) == 0)
            e = err_set(why, ERR_CONFLICT, "message %.*s was never transformed: there is no pack of then",
                        (int)message_id.len, message_id.ptr);
    }
    if (e == ERR_OK)
        e = db_exec(d, "UPDATE hl7_deliveries SET status = 'superseded', next_attempt_at = NULL, ended_at = NOW()"
                    " WHERE message_id = $1 AND status IN ('pending', 'failed')", &message_id, 1, NULL, why);
    if (e == ERR_OK)
        e = db_exec(d, "UPDATE hl7_messages SET processing_status = 'pending', attempt_count = 0, error_detail = NULL,"
                    " transformed_at = NULL, processed_at = NULL, next_attempt_at = NULL,"
                    " seq = nextval('hl7_message_batch_seq') * 4096,"
                    " replay_pack = CASE WHEN $2::boolean THEN pack_digest END,"
                    " replay_count = replay_count + 1, event_seq = event_seq + 1"
                    " WHERE id = $1" CHANGED, params, 2, &r, why);
    return e == ERR_OK ? tell_changed(d, tenant, message_id, "message.replayed", &r, why) : e;
}

/* ---- a message that holds its key ---------------------------------------------------------- */

/* The row, locked, if it is still open. */
static err must_be_open(db *d, slice message_id, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT processing_status FROM hl7_messages WHERE id = $1 FOR UPDATE", &message_id, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0) return no_message(message_id, why);
    if (slice_is(pg_cell(&r, 0, 0), "processed") || slice_is(pg_cell(&r, 0, 0), "dead_lettered"))
        return err_set(why, ERR_CONFLICT, "message %.*s is %.*s: it holds nothing up", (int)message_id.len, message_id.ptr,
                       (int)pg_cell(&r, 0, 0).len, pg_cell(&r, 0, 0).ptr);
    return ERR_OK;
}

err messages_release(db *d, slice tenant, slice message_id, err_info *why)
{
    pg_result r;
    err e = must_be_open(d, message_id, why);

    if (e == ERR_OK)
        e = db_exec(d, "UPDATE hl7_deliveries SET next_attempt_at = NULL WHERE message_id = $1 AND status = 'failed'",
                    &message_id, 1, NULL, why);
    if (e == ERR_OK)
        e = db_exec(d, "UPDATE hl7_messages SET next_attempt_at = NULL, event_seq = event_seq + 1 WHERE id = $1" CHANGED,
                    &message_id, 1, &r, why);
    return e == ERR_OK ? tell_changed(d, tenant, message_id, "message.released", &r, why) : e;
}

err messages_skip(db *d, slice tenant, slice message_id, err_info *why)
{
    pg_result r;
    err e = must_be_open(d, message_id, why);

    if (e == ERR_OK)
        e = db_exec(d, "UPDATE hl7_deliveries SET status = 'superseded', next_attempt_at = NULL, ended_at = NOW()"
                    " WHERE message_id = $1 AND status IN ('pending', 'failed')", &message_id, 1, NULL, why);
    /* With another replay_count whatever is under way for it changes nothing any more. */
    if (e == ERR_OK)
        e = db_exec(d, "UPDATE hl7_messages SET processing_status = 'dead_lettered', processed_at = NOW(),"
                    " error_detail = 'skipped by hand' || COALESCE('; before: ' || error_detail, ''), next_attempt_at = NULL,"
                    " replay_count = replay_count + 1, event_seq = event_seq + 1 WHERE id = $1" CHANGED,
                    &message_id, 1, &r, why);
    return e == ERR_OK ? tell_changed(d, tenant, message_id, "message.dead_lettered", &r, why) : e;
}
