/* store/outcome.c -- a batch of outcomes: for each tenant in it, one statement of
 * each kind. What the second and third statement write depends on the rows that
 * the first one changed, recognised by `= now()`, the transaction's own time: a
 * message that was replayed meanwhile gets nothing of an older run. */
#include "store/outcome.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"

enum { BATCH_ROOM = 256, MAX_CONNECTIONS = 16 };

static const pg_statement set_tenant = {
    "outcome_tenant", "SELECT set_config('app.current_tenant_id', $1, true)"
};

static const pg_statement transformed = {
    "outcome_transformed",
    "WITH ended AS ("
    "  UPDATE hl7_messages m SET parsed_data = u.parsed::jsonb, processing_status = u.status,"
    "    pack_digest = u.digest, error_detail = u.error, attempt_count = u.attempts, next_attempt_at = u.next,"
    "    transformed_at = CASE WHEN u.status IN ('processing', 'processed') THEN now() END,"
    "    processed_at = CASE WHEN u.status IN ('processed', 'dead_lettered') THEN now() END,"
    "    event_seq = m.event_seq + u.events + 1"
    "  FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[],"
    "    $8::timestamptz[], $9::int[], $10::int[], $11::text[])"
    "    AS u (id, replay, parsed, status, digest, error, attempts, next, before, events, event)"
    "  WHERE m.id = u.id AND m.replay_count = u.replay AND m.transformed_at IS NULL"
    "    AND m.attempt_count = u.before AND m.processing_status IN ('pending', 'failed')"
    "  RETURNING m.tenant_id, m.id, m.connector_id, m.message_type, m.processing_status, m.event_seq,"
    "    m.attempt_count, u.event)"
    " INSERT INTO outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)"
    " SELECT e.tenant_id, e.event, interop_subject(e.tenant_id, 'message.' || e.processing_status),"
    "   'message.' || e.processing_status,"
    "   interop_event(e.event, 'message.' || e.processing_status, e.id, jsonb_build_object('connectorId', e.connector_id,"
    "     'messageType', e.message_type, 'status', e.processing_status, 'attemptCount', e.attempt_count)),"
    "   e.id, e.event_seq, clock_timestamp()"
    " FROM ended e"
};

static const pg_statement script_events = {
    "outcome_events",
    "INSERT INTO outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)"
    " SELECT m.tenant_id, u.event, interop_subject(m.tenant_id, 'script.' || u.type), 'script.' || u.type,"
    "   interop_event(u.event, 'script.' || u.type, m.id, jsonb_build_object('connectorId', m.connector_id,"
    "     'messageType', m.message_type, 'event', u.data::jsonb)), m.id, m.event_seq - u.back, clock_timestamp()"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[]) AS u (message, event, type, data, back)"
    " JOIN hl7_messages m ON m.id = u.message AND m.transformed_at = now()"
};

static const pg_statement new_deliveries = {
    "outcome_deliveries",
    "WITH batch AS MATERIALIZED (SELECT nextval('hl7_delivery_batch_seq') * 4096 AS base)"
    " INSERT INTO hl7_deliveries (tenant_id, id, message_id, connector_id, ordinal, replay, seq, service_url,"
    "   rule_ids, lane_keys, needs, entry_count)"
    " SELECT m.tenant_id, u.id, m.id, m.connector_id, u.ordinal, m.replay_count, batch.base + u.place, u.url,"
    "   u.rules::text[], m.lane_keys, u.needs::int[], u.entries"
    " FROM batch, unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::int[], $8::int[])"
    "   AS u (id, message, ordinal, url, rules, needs, entries, place)"
    " JOIN hl7_messages m ON m.id = u.message AND m.transformed_at = now()"
};

static const pg_statement delivered = {
    "outcome_delivered",
    "UPDATE hl7_deliveries d SET status = u.status, attempt_count = u.attempts, next_attempt_at = u.next,"
    "   http_status = NULLIF(u.http, 0), error_detail = u.error,"
    "   ended_at = CASE WHEN u.status IN ('delivered', 'dead_lettered') THEN now() END"
    " FROM unnest($1::text[], $2::text[], $3::int[], $4::timestamptz[], $5::int[], $6::text[])"
    "   AS u (id, status, attempts, next, http, error)"
    " WHERE d.tenant_id = current_setting('app.current_tenant_id') AND d.id = u.id"
    "   AND d.status IN ('pending', 'failed')"
};

static const pg_statement new_links = {
    "outcome_links",
    "INSERT INTO hl7_resource_links (id, tenant_id, message_id, delivery_id, entry, resource_type, resource_id, action)"
    " SELECT u.id, current_setting('app.current_tenant_id'), u.message, u.delivery, u.entry, u.type, u.resource,"
    "   CASE WHEN u.created = 1 THEN 'created' ELSE 'updated' END"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::int[])"
    "   AS u (id, message, delivery, entry, type, resource, created)"
    " ON CONFLICT (delivery_id, entry) DO NOTHING"
};

/* The message's status follows from all of its deliveries. */
static const pg_statement rolled_up = {
    "outcome_rolled_up",
    "WITH state AS ("
    "  SELECT u.message, u.replay, u.event, u.resources, CASE WHEN bool_or(d.status = 'failed') THEN 'failed'"
    "      WHEN bool_or(d.status = 'pending') THEN 'processing'"
    "      WHEN bool_or(d.status = 'dead_lettered') THEN 'dead_lettered' ELSE 'processed' END AS status,"
    "    max(d.attempt_count) AS attempts, min(d.next_attempt_at) AS next,"
    "    (array_agg(d.error_detail ORDER BY d.ordinal) FILTER (WHERE d.error_detail IS NOT NULL))[1] AS error"
    "  FROM unnest($1::text[], $2::int[], $3::text[], $4::text[]) AS u (message, replay, event, resources)"
    "  JOIN hl7_deliveries d ON d.message_id = u.message AND d.replay = u.replay"
    "  GROUP BY u.message, u.replay, u.event, u.resources),"
    " ended AS ("
    "  UPDATE hl7_messages m SET processing_status = s.status, error_detail = s.error,"
    "    attempt_count = s.attempts, next_attempt_at = s.next,"
    "    processed_at = CASE WHEN s.status IN ('processed', 'dead_lettered') THEN now() END,"
    "    event_seq = m.event_seq + 1"
    "  FROM state s"
    "  WHERE m.id = s.message AND m.replay_count = s.replay"
    "    AND (m.processing_status <> s.status OR m.attempt_count <> s.attempts)"
    "  RETURNING m.tenant_id, m.id, m.connector_id, m.message_type, m.processing_status, m.event_seq,"
    "    m.attempt_count, s.event, s.resources)"
    " INSERT INTO outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)"
    " SELECT e.tenant_id, e.event, interop_subject(e.tenant_id, 'message.' || e.processing_status),"
    "   'message.' || e.processing_status,"
    "   interop_event(e.event, 'message.' || e.processing_status, e.id, jsonb_build_object('connectorId', e.connector_id,"
    "     'messageType', e.message_type, 'status', e.processing_status, 'attemptCount', e.attempt_count,"
    "     'resources', COALESCE(e.resources::jsonb, (SELECT COALESCE(jsonb_agg(jsonb_build_object("
    "       'resourceType', l.resource_type, 'resourceId', l.resource_id, 'action', l.action)"
    "       ORDER BY l.delivery_id, l.entry), '[]') FROM hl7_resource_links l WHERE l.message_id = e.id)))),"
    "   e.id, e.event_seq, clock_timestamp()"
    " FROM ended e"
};

static const pg_statement *const statements[] = {
    &set_tenant, &transformed, &script_events, &new_deliveries, &delivered, &new_links, &rolled_up, NULL
};

typedef struct outcome_lane {
    outcome *owner;
    pg      *conn;
    writer  *out;
} outcome_lane;

struct outcome {
    unsigned     count, open;
    outcome_lane lane[MAX_CONNECTIONS];
    void       (*closed)(void *arg);
    void        *closed_arg;
};

static outcome_op *op_of(list *l) { return container_of(container_of(l, write_op, link), outcome_op, op); }

/* ---- one tenant's share of a batch ------------------------------------------------- */

typedef struct columns {                 /* array parameters of one statement */
    pg_array array[12];
    int      count, rows;
} columns;

static columns *columns_new(arena *mem, int count)
{
    columns *c = arena_new(mem, columns);
    c->count = count;
    for (int i = 0; i < count; i++) pg_array_begin(&c->array[i], mem);
    return c;
}

static void columns_add(pg_unit *unit, const pg_statement *st, columns *c)
{
    pg_param *params;

    if (c->rows == 0) return;
    params = arena_array(pg_unit_arena(unit), pg_param, (size_t)c->count);
    for (int i = 0; i < c->count; i++) params[i] = pg_array_end(&c->array[i]);
    pg_unit_add(unit, st, params, c->count);
}

static void put_time(pg_array *a, int64_t us)
{
    char when[CLOCK_TEXT_LEN + 1];
    pg_array_text(a, us == 0 ? SLICE_NONE : slice_of(clock_text(us, when)));
}

static void put_transformed(columns *c, const outcome_op *op)
{
    pg_array *a = c->array;

    pg_array_text(a++, id_slice(&op->message_id));
    pg_array_int(a++, op->replay);
    pg_array_text(a++, op->parsed);
    pg_array_text(a++, slice_of(op->status));
    pg_array_text(a++, op->pack_digest);
    pg_array_text(a++, op->error);
    pg_array_int(a++, op->attempts);
    put_time(a++, op->next_attempt_us);
    pg_array_int(a++, op->attempts_before);
    pg_array_int(a++, op->event_count);
    pg_array_text(a++, id_slice(&op->event_id));
    c->rows++;
}

static void put_events(columns *c, const outcome_op *op)
{
    for (int i = 0; i < op->event_count; i++) {
        pg_array *a = c->array;
        pg_array_text(a++, id_slice(&op->message_id));
        pg_array_text(a++, id_slice(&op->events[i].event_id));
        pg_array_text(a++, op->events[i].type);
        pg_array_text(a++, op->events[i].data);
        pg_array_int(a++, op->event_count - i);          /* before the message's own event */
        c->rows++;
    }
}

static void put_deliveries(arena *mem, columns *c, const outcome_op *op)
{
    for (int i = 0; i < op->delivery_count; i++) {
        const outcome_delivery *d = &op->deliveries[i];
        pg_array *a = c->array, rules, needs;

        pg_array_begin(&rules, mem);
        if (d->rule_id.len > 0) pg_array_text(&rules, d->rule_id);
        pg_array_begin(&needs, mem);
        for (int k = 0; k < d->need_count; k++) pg_array_int(&needs, d->needs[k]);
        pg_array_text(a++, id_slice(&d->delivery_id));
        pg_array_text(a++, id_slice(&op->message_id));
        pg_array_int(a++, i);
        pg_array_text(a++, d->service_url);
        pg_array_text(a++, slice_of(pg_array_end(&rules).value));
        pg_array_text(a++, slice_of(pg_array_end(&needs).value));
        pg_array_int(a++, d->entry_count);
        pg_array_int(a++, c->rows);
        c->rows++;
    }
}

static void put_delivered(columns *c, const outcome_op *op)
{
    pg_array *a = c->array;

    pg_array_text(a++, id_slice(&op->delivery_id));
    pg_array_text(a++, slice_of(op->status));
    pg_array_int(a++, op->attempts);
    put_time(a++, op->next_attempt_us);
    pg_array_int(a++, op->http_status);
    pg_array_text(a++, op->error);
    c->rows++;
}

static void put_links(columns *c, const outcome_op *op)
{
    for (int i = 0; i < op->link_count; i++) {
        const outcome_link *l = &op->links[i];
        id link_id = id_new(ID_LINK);
        pg_array *a = c->array;

        pg_array_text(a++, id_slice(&link_id));
        pg_array_text(a++, id_slice(&op->message_id));
        pg_array_text(a++, id_slice(&op->delivery_id));
        pg_array_int(a++, l->entry);
        pg_array_text(a++, l->resource_type);
        pg_array_text(a++, l->resource_id);
        pg_array_int(a++, l->created);
        c->rows++;
    }
}

/* What the only delivery of a message gave, for its event; with several the links are read. */
static slice resources_json(arena *mem, const outcome_op *op)
{
    buf b = buf_in(mem);

    buf_putc(&b, '[');
    for (int i = 0; i < op->link_count; i++) {
        buf_puts(&b, i > 0 ? ",{\"resourceType\":" : "{\"resourceType\":");
        buf_json(&b, op->links[i].resource_type);
        buf_puts(&b, ",\"resourceId\":");
        buf_json(&b, op->links[i].resource_id);
        buf_puts(&b, op->links[i].created ? ",\"action\":\"created\"}" : ",\"action\":\"updated\"}");
    }
    buf_putc(&b, ']');
    return buf_slice(&b);
}

/* One row a message: several deliveries of it may end in one batch. */
static void put_rolled_up(arena *mem, columns *c, const outcome_op *op, list *from, list *batch)
{
    for (list *l = from->prev; l != batch; l = l->prev) {
        const outcome_op *earlier = op_of(l);
        if (earlier->kind == OUTCOME_DELIVERED && earlier->replay == op->replay &&
            strcmp(earlier->message_id.text, op->message_id.text) == 0) return;
    }
    pg_array *a = c->array;
    pg_array_text(a++, id_slice(&op->message_id));
    pg_array_int(a++, op->replay);
    pg_array_text(a++, id_slice(&op->event_id));
    pg_array_text(a++, op->only ? resources_json(mem, op) : SLICE_NONE);
    c->rows++;
}

static void build_tenant(pg_unit *unit, list *batch, slice tenant)
{
    arena *mem = pg_unit_arena(unit);
    pg_param *param = arena_array(mem, pg_param, 1);
    columns *messages = columns_new(mem, 11), *events = columns_new(mem, 5), *made = columns_new(mem, 8),
            *ended = columns_new(mem, 6), *links = columns_new(mem, 7), *rolled = columns_new(mem, 4);

    list_each(l, batch) {
        const outcome_op *op = op_of(l);
        if (!slice_eq(op->tenant, tenant)) continue;
        if (op->kind == OUTCOME_TRANSFORMED) {
            put_transformed(messages, op);
            put_events(events, op);
            put_deliveries(mem, made, op);
        } else {
            put_delivered(ended, op);
            put_links(links, op);
            put_rolled_up(mem, rolled, op, l, batch);
        }
    }
    param[0] = pg_text(mem, tenant);
    pg_unit_add(unit, &set_tenant, param, 1);
    columns_add(unit, &transformed, messages);
    columns_add(unit, &script_events, events);
    columns_add(unit, &new_deliveries, made);
    columns_add(unit, &delivered, ended);
    columns_add(unit, &new_links, links);
    columns_add(unit, &rolled_up, rolled);
}

static bool tenant_came_before(list *at, list *batch)
{
    for (list *l = at->prev; l != batch; l = l->prev)
        if (slice_eq(op_of(l)->tenant, op_of(at)->tenant)) return true;
    return false;
}

static void build_batch(void *arg, pg_unit *unit, list *batch)
{
    (void)arg;
    list_each(l, batch)
        if (!tenant_came_before(l, batch)) build_tenant(unit, batch, op_of(l)->tenant);
}

static bool batch_committed(void *arg, list *batch, const pg_result *results, int count)
{
    list ended;

    (void)arg; (void)results; (void)count;
    list_init(&ended);
    list_splice(&ended, batch);
    for (list *l; (l = list_pop(&ended)) != NULL;) op_of(l)->done(op_of(l), ERR_OK, NULL);
    return true;
}

static void op_refused(void *arg, write_op *op, const char *sqlstate, const err_info *why)
{
    outcome_op *refused = container_of(op, outcome_op, op);

    (void)arg; (void)sqlstate;
    refused->done(refused, ERR_STORE, why);
}

/* ---- life ----------------------------------------------------------------------------- */

static const writer_kind kind = {
    .room = BATCH_ROOM, .build = build_batch, .committed = batch_committed, .refused = op_refused
};

outcome *outcome_open(uv_loop_t *loop, const char *url, unsigned connections)
{
    outcome *s = mem_zalloc(sizeof *s);

    s->count = connections > MAX_CONNECTIONS ? MAX_CONNECTIONS : connections;
    for (unsigned i = 0; i < s->count; i++) {
        pg_options options = { .url = url, .application = "interop outcome", .statements = statements,
                               .on_connect = writer_planner };
        s->lane[i].owner = s;
        s->lane[i].conn = pg_open(loop, &options);
        s->lane[i].out = writer_new(s->lane[i].conn, loop, &kind, &s->lane[i]);
    }
    return s;
}

void outcome_put(outcome *s, outcome_op *op)
{
    op->event_id = id_new(ID_EVENT);
    writer_put(s->lane[hash_bytes(op->connector_id) % s->count].out, &op->op);
}

size_t outcome_waiting(const outcome *s)
{
    size_t n = 0;
    for (unsigned i = 0; i < s->count; i++) n += writer_waiting(s->lane[i].out);
    return n;
}

bool outcome_is_ready(const outcome *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (!pg_is_ready(s->lane[i].conn)) return false;
    return true;
}

static void one_closed(void *arg)
{
    outcome *s = arg;
    void (*closed)(void *) = s->closed;
    void *closed_arg = s->closed_arg;

    if (--s->open > 0) return;
    free(s);
    closed(closed_arg);
}

void outcome_close(outcome *s, void (*lost)(outcome_op *op), void (*done)(void *arg), void *arg)
{
    list left;

    list_init(&left);
    s->closed = done;
    s->closed_arg = arg;
    s->open = s->count * 2;
    for (unsigned i = 0; i < s->count; i++) {
        writer_free(s->lane[i].out, &left, one_closed, s);
        pg_close(s->lane[i].conn, one_closed, s);
    }
    for (list *l; (l = list_pop(&left)) != NULL;) lost(op_of(l));
}
