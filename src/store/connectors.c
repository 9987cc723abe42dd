/* store/connectors.c -- the SQL of interop_connectors. */
#include "store/connectors.h"

#include "base/ulid.h"
#include "store/events.h"

#define COLUMNS "id, tenant_id, facility_id, name, protocol, direction, host, port, tls_enabled, auth_mode, " \
    SQL_LIST("message_types") ", status, version, " SQL_TIME("created_at") ", " SQL_TIME("updated_at") \
    ", pack_digest, settings::text"
#define EVENT_SEQ 17                     /* the column behind COLUMNS, where it is asked for */

static void read_row(arena *mem, const pg_result *r, int i, connector_row *out)
{
    slice *const texts[] = {
        &out->id, &out->tenant_id, &out->facility_id, &out->name, &out->protocol, &out->direction, &out->host, NULL,
        NULL, &out->auth_mode, &out->message_types, &out->status, NULL, &out->created_at, &out->updated_at,
        &out->pack_digest, &out->settings,
    };

    for (int column = 0; column < (int)countof(texts); column++)
        if (texts[column] != NULL) *texts[column] = row_cell(mem, r, i, column);
    out->port = pg_cell(r, i, 7).ptr == NULL ? -1 : pg_cell_int(r, i, 7);
    out->tls_enabled = pg_cell_bool(r, i, 8);
    out->version = pg_cell_int(r, i, 12);
}

void connector_json(buf *out, const connector_row *c)
{
    row_begin(out);
    row_text(out, "id", c->id);
    row_text(out, "tenantId", c->tenant_id);
    row_text(out, "facilityId", c->facility_id);
    row_text(out, "name", c->name);
    row_text(out, "protocol", c->protocol);
    row_text(out, "direction", c->direction);
    row_text(out, "host", c->host);
    if (c->port >= 0) row_int(out, "port", c->port);
    row_bool(out, "tlsEnabled", c->tls_enabled);
    row_text(out, "authMode", c->auth_mode);
    row_json(out, "messageTypes", c->message_types);
    row_text(out, "status", c->status);
    row_int(out, "version", c->version);
    row_text(out, "packDigest", c->pack_digest);
    row_json(out, "settings", c->settings);
    row_text(out, "createdAt", c->created_at);
    row_text(out, "updatedAt", c->updated_at);
    row_end(out);
}

static slice port_param(arena *mem, int64_t port) { return port < 0 ? SLICE_NONE : row_param(mem, port); }

static err tell(db *d, arena *mem, connector_row *c, int64_t seq, const char *event, err_info *why)
{
    buf data = buf_in(mem);

    row_begin(&data);
    row_text(&data, "name", c->name);
    row_text(&data, "status", c->status);
    row_int(&data, "version", c->version);
    row_text(&data, "packDigest", c->pack_digest);
    row_end(&data);
    return event_add(d, c->tenant_id, c->id, seq, event, buf_slice(&data), why);
}

err connectors_add(db *d, arena *mem, connector_row *c, err_info *why)
{
    id fresh = id_new(ID_CONNECTOR);
    slice params[] = {
        arena_dup(mem, id_slice(&fresh)), c->tenant_id, c->facility_id, c->name, c->protocol, c->direction, c->host,
        port_param(mem, c->port), slice_of(c->tls_enabled ? "t" : "f"), c->auth_mode, c->message_types,
        c->pack_digest, c->settings,
    };
    slice name = c->name;
    pg_result r;
    err e = db_exec(d, "INSERT INTO interop_connectors (id, tenant_id, facility_id, name, protocol, direction, host,"
                    " port, tls_enabled, auth_mode, message_types, pack_digest, settings, event_seq)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8::integer, $9::boolean, $10, " SQL_LIST_OF("$11")
                    ", $12, $13::jsonb, 1) RETURNING " COLUMNS, params, countof(params), &r, why);

    if (e == ERR_CONFLICT)
        return err_set(why, e, "the tenant has a connector \"%.*s\" already: choose another name, or change it "
                       "with `interop connector set`", (int)name.len, name.ptr);
    if (e != ERR_OK) return e;
    read_row(mem, &r, 0, c);
    return tell(d, mem, c, 1, "connector.configured", why);
}

err connectors_get(db *d, arena *mem, slice tenant, slice name_or_id, connector_row *out, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT " COLUMNS " FROM interop_connectors WHERE id = $1 OR name = $1"
                    " ORDER BY id <> $1 LIMIT 1 FOR UPDATE", &name_or_id, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0)
        return err_set(why, ERR_NOT_FOUND, "tenant \"%.*s\" has no connector \"%.*s\": see `interop connector list`",
                       (int)tenant.len, tenant.ptr, (int)name_or_id.len, name_or_id.ptr);
    read_row(mem, &r, 0, out);
    return ERR_OK;
}

err connectors_list(db *d, arena *mem, connector_row **out, size_t *count, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT " COLUMNS " FROM interop_connectors ORDER BY name", NULL, 0, &r, why);

    if (e != ERR_OK) return e;
    *count = (size_t)pg_rows(&r);
    *out = arena_array(mem, connector_row, *count + 1);
    for (size_t i = 0; i < *count; i++) read_row(mem, &r, (int)i, &(*out)[i]);
    return ERR_OK;
}

err connectors_set(db *d, arena *mem, connector_row *c, err_info *why)
{
    slice params[] = {
        c->id, row_param(mem, c->version), c->name, c->host, port_param(mem, c->port),
        slice_of(c->tls_enabled ? "t" : "f"), c->message_types, c->pack_digest, c->settings, c->auth_mode,
    };
    slice name = c->name;
    pg_result r;
    err e = db_exec(d, "UPDATE interop_connectors SET name = $3, host = $4, port = $5::integer,"
                    " tls_enabled = $6::boolean, message_types = " SQL_LIST_OF("$7") ", pack_digest = $8,"
                    " settings = $9::jsonb, auth_mode = $10, version = version + 1, updated_at = now(), event_seq = event_seq + 1"
                    " WHERE id = $1 AND version = $2::integer RETURNING " COLUMNS ", event_seq",
                    params, countof(params), &r, why);

    if (e == ERR_CONFLICT)
        return err_set(why, e, "the tenant has a connector \"%.*s\" already", (int)name.len, name.ptr);
    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0)
        return err_set(why, ERR_CONFLICT, "the connector was changed meanwhile and is no longer version %lld: "
                       "look at it again", (long long)c->version);
    int64_t seq = pg_cell_int(&r, 0, EVENT_SEQ);
    read_row(mem, &r, 0, c);
    return tell(d, mem, c, seq, "connector.changed", why);
}

err connectors_enter(db *d, arena *mem, connector_row *c, const char *status, err_info *why)
{
    static const struct { const char *status, *event, *from; } moves[] = {
        { "active",   "connector.activated",   "configured paused inactive" },
        { "paused",   "connector.paused",      "active" },
        { "inactive", "connector.deactivated", "configured active paused" },
    };
    slice params[] = { c->id, slice_of(status) };
    char was[16];
    pg_result r;
    size_t i = 0;
    err e;

    if (slice_is(c->status, status)) return ERR_OK;
    while (i + 1 < countof(moves) && strcmp(moves[i].status, status) != 0) i++;
    if (strstr(moves[i].from, slice_cstr(c->status, was, sizeof was)) == NULL)
        return err_set(why, ERR_CONFLICT, "connector \"%.*s\" is %s, and only an active one can be paused",
                       (int)c->name.len, c->name.ptr, was);
    e = db_exec(d, "UPDATE interop_connectors SET status = $2, version = version + 1,"
                " updated_at = now(), event_seq = event_seq + 1"
                " WHERE id = $1 RETURNING " COLUMNS ", event_seq", params, countof(params), &r, why);
    if (e != ERR_OK) return e;
    int64_t seq = pg_cell_int(&r, 0, EVENT_SEQ);
    read_row(mem, &r, 0, c);
    return tell(d, mem, c, seq, moves[i].event, why);
}

err connectors_port_free(db *d, arena *mem, slice address, int64_t port, slice own_id, err_info *why)
{
    slice params[] = { address, row_param(mem, port), own_id.ptr == NULL ? slice_lit("") : own_id };
    pg_result r;
    err e = db_exec(d, "SELECT tenant_id, id FROM interop_port_users($1, $2::integer) WHERE id <> $3 LIMIT 1",
                    params, countof(params), &r, why);

    if (e != ERR_OK || pg_rows(&r) == 0) return e;
    return err_set(why, ERR_CONFLICT, "port %lld is taken by connector %.*s of tenant \"%.*s\": choose another port, "
                   "or deactivate that one", (long long)port, (int)pg_cell(&r, 0, 1).len, pg_cell(&r, 0, 1).ptr,
                   (int)pg_cell(&r, 0, 0).len, pg_cell(&r, 0, 0).ptr);
}

err connectors_tenants(db *d, arena *mem, slice **out, size_t *count, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT DISTINCT tenant_id FROM interop_connector_ids() ORDER BY 1", NULL, 0, &r, why);

    if (e != ERR_OK) return e;
    *count = (size_t)pg_rows(&r);
    *out = arena_array(mem, slice, *count + 1);
    for (size_t i = 0; i < *count; i++) (*out)[i] = row_cell(mem, &r, (int)i, 0);
    return ERR_OK;
}
