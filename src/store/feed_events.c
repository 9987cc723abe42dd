/* store/feed_events.c -- events: for the relay, for the server-sent stream, and those
 * that the engine raises about a connector. */
#include "base/ulid.h"
#include "store/feed_statements.h"

#define EVENT_COLUMNS "tenant_id, id, subject, payload, aggregate_id, aggregate_seq"

const pg_statement feed_pending = { "feed_pending", "SELECT tenant_id, id FROM interop_outbox_pending($1::int, $2::int[])" };

const pg_statement feed_read_events = {
    "feed_read_events", "SELECT " EVENT_COLUMNS " FROM outbox_events WHERE id = ANY ($1::text[])"
};

const pg_statement feed_set_published = { "feed_set_published", "SELECT interop_outbox_published($1::text[])" };

/* Behind a given event by (xid, id), and before every transaction that is still
 * open: what commits later has a greater xid than all that was shown. */
const pg_statement feed_stream_events = {
    "feed_stream_events",
    "SELECT " EVENT_COLUMNS " FROM outbox_events"
    " WHERE xid < pg_snapshot_xmin(pg_current_snapshot())"
    "   AND xid >= (SELECT a.xid FROM outbox_events a WHERE a.id = $1)"
    "   AND (xid > (SELECT a.xid FROM outbox_events a WHERE a.id = $1) OR id > $1)"
    " ORDER BY xid, id LIMIT $2"
};

const pg_statement feed_stream_known = {
    "feed_stream_known", "SELECT id FROM outbox_events WHERE id = $1"
};

const pg_statement feed_stream_first = {
    "feed_stream_first",
    "SELECT " EVENT_COLUMNS " FROM outbox_events"
    " WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, id LIMIT $1"
};

const pg_statement feed_stream_newest = {
    "feed_stream_newest",
    "SELECT " EVENT_COLUMNS " FROM outbox_events"
    " WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid DESC, id DESC LIMIT 1"
};

const pg_statement feed_tell_connector = {
    "feed_tell_connector",
    "WITH c AS (UPDATE interop_connectors SET event_seq = event_seq + 1 WHERE id = $1"
    "   RETURNING tenant_id, id, event_seq)"
    " INSERT INTO outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)"
    " SELECT c.tenant_id, $2, interop_subject(c.tenant_id, $3), $3, interop_event($2, $3, c.id, $4::jsonb),"
    "   c.id, c.event_seq, clock_timestamp() FROM c"
};

/* One that failed keeps its place: others wait behind it. */
const pg_statement feed_try_message = {
    "feed_try_message",
    "WITH m AS (UPDATE hl7_messages SET next_attempt_at = NULL WHERE id = $1 AND processing_status = 'failed' RETURNING tenant_id, id),"
    " d AS (UPDATE hl7_deliveries SET next_attempt_at = NULL WHERE message_id = (SELECT id FROM m) AND status = 'failed')"
    " SELECT pg_notify('interop_work', 'message:' || m.tenant_id || ':' || m.id) FROM m"
};

const pg_statement feed_replay_message = {
    "feed_replay_message",
    "WITH m AS (UPDATE hl7_messages SET processing_status = 'pending', seq = nextval('hl7_message_batch_seq') * 4096,"
    "   attempt_count = 0, error_detail = NULL, transformed_at = NULL, next_attempt_at = NULL, processed_at = NULL,"
    "   replay_pack = NULL, replay_count = replay_count + 1, event_seq = event_seq + 1"
    "   WHERE id = $1 AND processing_status = 'dead_lettered'"
    "   RETURNING tenant_id, id, connector_id, message_type, event_seq),"
    " d AS (UPDATE hl7_deliveries SET status = 'superseded', ended_at = now()"
    "   WHERE message_id = (SELECT id FROM m) AND status IN ('pending', 'failed')),"
    " told AS (INSERT INTO outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)"
    "   SELECT m.tenant_id, $2, interop_subject(m.tenant_id, 'message.replayed'), 'message.replayed',"
    "     interop_event($2, 'message.replayed', m.id, jsonb_build_object('connectorId', m.connector_id,"
    "       'messageType', m.message_type, 'status', 'pending')), m.id, m.event_seq, clock_timestamp() FROM m)"
    " SELECT pg_notify('interop_work', 'message:' || m.tenant_id || ':' || m.id) FROM m"
};

void feed_pending_events(pg *c, int most, const int *slices, int count, pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);
    pg_param *params = arena_array(pg_unit_arena(unit), pg_param, 2);
    pg_array wanted;

    pg_array_begin(&wanted, pg_unit_arena(unit), PG_INT4);
    for (int i = 0; i < count; i++) pg_array_int(&wanted, slices[i]);
    params[0] = pg_int(pg_unit_arena(unit), most);
    params[1] = pg_array_end(&wanted);
    pg_unit_add(unit, &feed_pending, params, 2);
    pg_submit(unit, done, arg);
}

void feed_events(pg *c, slice tenant, const slice *ids, size_t count, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    pg_param *params = arena_array(pg_unit_arena(unit), pg_param, 1);

    params[0] = pg_text_array(pg_unit_arena(unit), ids, count);
    pg_unit_add(unit, &feed_read_events, params, 1);
    pg_submit(unit, done, arg);
}

void feed_published(pg *c, const slice *ids, size_t count, pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);
    pg_param *params = arena_array(pg_unit_arena(unit), pg_param, 1);

    params[0] = pg_text_array(pg_unit_arena(unit), ids, count);
    pg_unit_add(unit, &feed_set_published, params, 1);
    pg_submit(unit, done, arg);
}

void feed_stream(pg *c, slice tenant, slice after, int most, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 2);

    if (after.len == 0) {
        pg_unit_add(unit, &feed_stream_newest, NULL, 0);
    } else if (slice_is(after, FEED_STREAM_START)) {
        params[0] = pg_int(mem, most);
        pg_unit_add(unit, &feed_stream_first, params, 1);
    } else {
        params[0] = pg_text(mem, after);
        params[1] = pg_int(mem, most);
        pg_unit_add(unit, &feed_stream_events, params, 2);
    }
    pg_submit(unit, done, arg);
}

void feed_stream_has(pg *c, slice tenant, slice event_id, pg_done done, void *arg)
{
    feed_by_text(c, tenant, &feed_stream_known, event_id, done, arg);
}

void feed_tell(pg *c, slice tenant, slice connector_id, const char *event, slice data, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 4);
    id event_id = id_new(ID_EVENT);

    params[0] = pg_text(mem, connector_id);
    params[1] = pg_text(mem, id_slice(&event_id));
    params[2] = pg_text(mem, slice_of(event));
    params[3] = pg_text(mem, data);
    pg_unit_add(unit, &feed_tell_connector, params, 4);
    pg_submit(unit, done, arg);
}

void feed_try_again(pg *c, slice tenant, slice message_id, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 2);
    id event_id = id_new(ID_EVENT);

    params[0] = pg_text(mem, message_id);
    params[1] = pg_text(mem, id_slice(&event_id));
    pg_unit_add(unit, &feed_try_message, params, 1);
    pg_unit_add(unit, &feed_replay_message, params, 2);
    pg_submit(unit, done, arg);
}
