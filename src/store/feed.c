/* store/feed.c -- reading work back, and the configuration that it needs. */
#include "store/feed.h"

#include "base/ulid.h"
#include "store/feed_statements.h"
#include "store/migrate_files.h"

#define US(column) "(extract(epoch FROM " column ") * 1000000)::bigint"
#define MESSAGE_COLUMNS \
    "m.id, m.seq, m.raw_payload, m.raw_bytes, m.lane_keys, m.attempt_count, " US("m.next_attempt_at") \
    ", m.replay_count, " US("m.received_at") ", m.message_type, m.processing_status, m.connector_id, m.replay_pack"

const pg_statement feed_set_tenant = { "feed_tenant", "SELECT set_config('app.current_tenant_id', $1, true)" };

/* Planned without sorting, the next statement goes along an index that has its order, which of many rows that are
 * done takes only the open ones. With statistics of another hour it would look through all that are done. A sort that
 * there has to be counts as very dear then, which is not worth compiling for. */
static const pg_statement set_tenant_in_order = {
    "feed_tenant_in_order",
    "SELECT set_config('app.current_tenant_id', $1, true), set_config('enable_sort', 'off', true), set_config('jit', 'off', true)"
};

#define OPEN(columns, more) \
    "SELECT " columns " FROM hl7_messages m WHERE m.connector_id = $1 AND m.seq > $2" \
    " AND m.processing_status IN ('pending', 'processing', 'failed') AND m.direction = 'inbound' AND " more " ORDER BY m.seq"
#define NOT_TRANSFORMED "m.transformed_at IS NULL AND m.id NOT IN (SELECT unnest($4::text[]))"      /* hashed, where <> ALL compares with each */
#define HANDED "(SELECT string_agg(h.writer || ' ' || h.seq, ' ') FROM interop_handovers h WHERE h.connector_id = $1)"
#define PASSED_OVER(keys) "CASE WHEN s.lane_keys = '{}' THEN '' = ANY (" keys "::text[]) ELSE s.lane_keys <@ " keys "::text[] END"

/* A page, and what was looked at for it. The rows are fetched by key, each by itself: OFFSET leaves the planner no
 * other way, whatever it thinks how many they are. */
#define OF_PAGE(columns) \
    " SELECT " MESSAGE_COLUMNS ", e.last, e.looked_at, " columns \
    " FROM (SELECT max(seq) AS last, count(*) AS looked_at FROM span) e" \
    " LEFT JOIN (page p CROSS JOIN LATERAL (SELECT * FROM hl7_messages o WHERE o.id = p.id OFFSET 0) m"

/* With all that is open in order, a page of it is the beginning; */
static const pg_statement messages = {
    "feed_messages", OPEN(MESSAGE_COLUMNS ", NULL, NULL, " HANDED, NOT_TRANSFORMED) " LIMIT $3"
};

/* with some keys left out, the beginning of what remains, as far as one looks. */
static const pg_statement messages_but = {
    "feed_messages_but",
    "WITH span AS MATERIALIZED (" OPEN("m.id, m.seq, m.lane_keys", NOT_TRANSFORMED) " LIMIT $5),"
    " page AS (SELECT s.id, s.seq FROM span s WHERE NOT " PASSED_OVER("$6") " ORDER BY s.seq LIMIT $3)"
    OF_PAGE(HANDED) ") ON TRUE ORDER BY p.seq"
};

static const pg_statement message = {
    "feed_message", "SELECT " MESSAGE_COLUMNS " FROM hl7_messages m WHERE m.id = $1"
};

static const pg_statement statuses = {
    "feed_statuses",
    "SELECT id, processing_status, transformed_at IS NOT NULL FROM hl7_messages WHERE id = ANY ($1::text[])"
};

static const pg_statement deliveries = {
    "feed_deliveries",
    "WITH span AS MATERIALIZED (" OPEN("m.id, m.seq, m.replay_count, m.lane_keys", "m.transformed_at IS NOT NULL") " LIMIT $4),"
    " page AS ("
    "  SELECT s.id, s.seq, s.replay_count FROM span s WHERE NOT " PASSED_OVER("$5")
    "    AND (SELECT TRUE FROM hl7_deliveries d WHERE d.message_id = s.id AND d.replay = s.replay_count"
    "      AND d.status IN ('pending', 'failed')"
    "      AND CASE WHEN $6::text IS NULL THEN d.service_url <> ALL ($7::text[]) ELSE d.service_url = $6 END LIMIT 1)"
    "  ORDER BY s.seq LIMIT $3)"
    OF_PAGE("d.id, d.ordinal, d.service_url, d.attempt_count, " US("d.next_attempt_at") ", d.status, d.resources, d.shape, m.pack_digest"
            ", (SELECT TRUE FROM hl7_deliveries n WHERE n.message_id = d.message_id AND n.replay = d.replay"
            "    AND n.ordinal = ANY (d.needs) AND n.status IN ('pending', 'failed') LIMIT 1)")
    "   CROSS JOIN LATERAL (SELECT * FROM hl7_deliveries o WHERE o.message_id = p.id AND o.replay = p.replay_count OFFSET 0) d)"
    " ON TRUE ORDER BY p.seq, d.ordinal"
};

static const pg_statement links = {
    "feed_links",
    "SELECT d.ordinal, l.entry, l.resource_type, l.resource_id"
    " FROM hl7_resource_links l JOIN hl7_messages m ON m.id = l.message_id"
    " JOIN hl7_deliveries d ON d.tenant_id = l.tenant_id AND d.id = l.delivery_id AND d.replay = m.replay_count"
    " WHERE l.message_id = $1 AND d.status = 'delivered' ORDER BY d.ordinal, l.entry"
};

static const pg_statement connector_ids = {
    "feed_connector_ids", "SELECT tenant_id, id FROM interop_connector_ids()"
};

static const pg_statement connectors = {
    "feed_connectors",
    "SELECT tenant_id, id, name, protocol, direction, host, port, tls_enabled, auth_mode, message_types,"
    "   status, version, pack_digest, settings"
    " FROM interop_connectors WHERE tenant_id = $1 AND ($2::text IS NULL OR id = $2)"
};

static const pg_statement services = {
    "feed_services",
    "SELECT id, name, url, transactions, concurrency, ca_file FROM fhir_services"
    " ORDER BY tenant_id NULLS LAST, id"                 /* a tenant's own comes before a shared one */
};

static const pg_statement rules = {
    "feed_rules",
    "SELECT id, resource_type, category, profile, service_url, priority FROM fhir_routing_rules WHERE active"
};

static const pg_statement pack = {
    "feed_pack", "SELECT archive FROM script_packs WHERE tenant_id = $1 AND digest = $2"
};

static const pg_statement server = {
    "feed_server",
    "SELECT current_setting('fsync'), current_setting('full_page_writes'),"
    "   current_setting('synchronous_standby_names'), r.rolsuper OR r.rolbypassrls,"
    "   pg_try_advisory_lock_shared(hashtext('interop engine')),"
    "   nextval('hl7_message_batch_seq') * 4096, " MIGRATE_GRANTED
    " FROM pg_roles r WHERE r.rolname = current_user"
};

const pg_statement *const feed_statements[] = {
    &feed_set_tenant, &set_tenant_in_order, &messages, &messages_but, &message, &statuses, &deliveries, &links, &connector_ids, &connectors,
    &services, &rules, &pack, &server, &feed_pending, &feed_read_events, &feed_set_published, &feed_stream_events,
    &feed_stream_known, &feed_stream_first, &feed_stream_newest, &feed_tell_connector, &feed_try_message,
    &feed_replay_message, NULL
};

static pg_unit *unit_with(pg *c, const pg_statement *first, slice tenant)
{
    pg_unit *unit = pg_unit_new(c);
    pg_param *param = arena_array(pg_unit_arena(unit), pg_param, 1);

    param[0] = pg_text(pg_unit_arena(unit), tenant);
    pg_unit_add(unit, first, param, 1);
    return unit;
}

pg_unit *feed_unit(pg *c, slice tenant) { return unit_with(c, &feed_set_tenant, tenant); }

void feed_messages(pg *c, const feed_span *span, const slice *held, size_t held_count, pg_done done, void *arg)
{
    bool all = span->not_key_count == 0;
    pg_unit *unit = unit_with(c, &set_tenant_in_order, span->tenant);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 6);

    params[0] = pg_text(mem, span->connector_id);
    params[1] = pg_int(mem, span->after_seq);
    params[2] = pg_int(mem, span->rows);
    params[3] = pg_text_array(mem, held, held_count);
    params[4] = pg_int(mem, span->scan);
    params[5] = pg_text_array(mem, span->not_keys, span->not_key_count);
    pg_unit_add(unit, all ? &messages : &messages_but, params, all ? 4 : 6);
    pg_submit(unit, done, arg);
}

void feed_by_text(pg *c, slice tenant, const pg_statement *st, slice value, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    pg_param *params = arena_array(pg_unit_arena(unit), pg_param, 1);

    params[0] = pg_text(pg_unit_arena(unit), value);
    pg_unit_add(unit, st, params, 1);
    pg_submit(unit, done, arg);
}

void feed_message(pg *c, slice tenant, slice message_id, pg_done done, void *arg)
{
    feed_by_text(c, tenant, &message, message_id, done, arg);
}

void feed_statuses(pg *c, slice tenant, const slice *message_ids, size_t count, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    pg_param *params = arena_array(pg_unit_arena(unit), pg_param, 1);

    params[0] = pg_text_array(pg_unit_arena(unit), message_ids, count);
    pg_unit_add(unit, &statuses, params, 1);
    pg_submit(unit, done, arg);
}

void feed_links(pg *c, slice tenant, slice message_id, pg_done done, void *arg)
{
    feed_by_text(c, tenant, &links, message_id, done, arg);
}

void feed_deliveries(pg *c, const feed_span *span, slice url, const slice *not_urls, size_t not_url_count, pg_done done, void *arg)
{
    pg_unit *unit = unit_with(c, &set_tenant_in_order, span->tenant);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 7);

    params[0] = pg_text(mem, span->connector_id);
    params[1] = pg_int(mem, span->after_seq);
    params[2] = pg_int(mem, span->rows);
    params[3] = pg_int(mem, span->scan);
    params[4] = pg_text_array(mem, span->not_keys, span->not_key_count);
    params[5] = pg_text(mem, url);
    params[6] = pg_text_array(mem, not_urls, not_url_count);
    pg_unit_add(unit, &deliveries, params, 7);
    pg_submit(unit, done, arg);
}

void feed_connector_ids(pg *c, pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);

    pg_unit_add(unit, &connector_ids, NULL, 0);
    pg_submit(unit, done, arg);
}

void feed_connectors(pg *c, slice tenant, slice id_or_none, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 2);

    params[0] = pg_text(mem, tenant);
    params[1] = pg_text(mem, id_or_none);
    pg_unit_add(unit, &connectors, params, 2);
    pg_submit(unit, done, arg);
}

void feed_routes(pg *c, slice tenant, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);

    pg_unit_add(unit, &services, NULL, 0);
    pg_unit_add(unit, &rules, NULL, 0);
    pg_submit(unit, done, arg);
}

void feed_pack(pg *c, slice tenant, slice digest, pg_done done, void *arg)
{
    pg_unit *unit = feed_unit(c, tenant);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 2);

    params[0] = pg_text(mem, tenant);
    params[1] = pg_text(mem, digest);
    pg_unit_add(unit, &pack, params, 2);
    pg_submit(unit, done, arg);
}

void feed_server(pg *c, pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);

    pg_unit_add(unit, &server, NULL, 0);
    pg_submit(unit, done, arg);
}

void feed_standbys(pg *c, pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);

    pg_unit_sql(unit, "SELECT current_setting('synchronous_standby_names')", NULL, 0);
    pg_submit(unit, done, arg);
}

/* ---- cells ------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

slice feed_bytes(arena *mem, slice cell)
{
    size_t n = cell.len < 2 ? 0 : (cell.len - 2) / 2;
    char *bytes;

    if (cell.ptr == NULL) return SLICE_NONE;
    bytes = arena_alloc(mem, n + 1);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(hex_digit(cell.ptr[2 + 2 * i]) << 4 | hex_digit(cell.ptr[3 + 2 * i]));
    return (slice){ bytes, n };
}

size_t feed_array(arena *mem, slice cell, slice *out, size_t room)
{
    size_t count = 0, i = 1;

    if (cell.len < 2) return 0;
    while (i + 1 < cell.len && count < room) {
        bool quoted = cell.ptr[i] == '"';
        buf element = buf_in(mem);

        if (quoted) i++;
        while (i + 1 < cell.len && cell.ptr[i] != (quoted ? '"' : ',')) {
            if (cell.ptr[i] == '\\') i++;
            buf_putc(&element, cell.ptr[i++]);
        }
        i += quoted ? 2 : 1;             /* past the quote and the comma */
        out[count++] = element.len == 0 ? (slice){ "", 0 } : buf_slice(&element);
    }
    return count;
}

int *feed_ints(arena *mem, slice cell, int *count)
{
    int *out = cell.ptr == NULL ? NULL : arena_array(mem, int, cell.len);        /* one takes a digit at least */
    slice rest = cell.len > 2 ? (slice){ cell.ptr + 1, cell.len - 2 } : SLICE_NONE;

    *count = 0;
    while (rest.ptr != NULL) {
        int64_t n;
        out[(*count)++] = slice_int(slice_cut(rest, ',', &rest), &n) ? (int)n : -1;
    }
    return out;
}
