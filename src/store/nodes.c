/* store/nodes.c -- the statements of nodes and leases. */
#include "store/nodes.h"

#define WRITERS                                                                                             \
    " FROM pg_stat_activity a WHERE a.usename = current_user AND a.datname = current_database()"              \
    " AND a.application_name ~ '^interop (ingest|outcome) '"

static const pg_statement join = {
    "node_join", "SELECT interop_node_join($1, $2, $3, $4, $5::int, $6::bigint, $7, $8::int)"
};

static const pg_statement beat = { "node_beat", "SELECT interop_node_beat($1, $2::int, $3::int)" };

static const pg_statement changes = { "node_changes", "SELECT connector_id, take FROM interop_lease_changes($1)" };

static const pg_statement neighbours = {
    "node_neighbours", "SELECT id, pid, pid_since FROM interop_nodes WHERE host = $1 AND id <> $2"
};

static const pg_statement nodes = { "node_count", "SELECT count(*) FROM interop_nodes" };

static const pg_statement share = { "node_share", "SELECT interop_relay_share($1)" };

static const pg_statement take = { "node_take", "SELECT connector_id, epoch FROM interop_lease_take($1, $2::text[])" };

static const pg_statement release = { "node_release", "SELECT interop_lease_release($1, $2::text[])" };

static const pg_statement leave = { "node_leave", "SELECT interop_node_leave($1)" };

static const pg_statement earlier = {
    "node_earlier",
    "SELECT m.moment::text, (SELECT count(*)" WRITERS " AND a.xact_start < m.moment)"
    " FROM (SELECT COALESCE($1::timestamptz, clock_timestamp()) AS moment OFFSET 0) m"
};

static const pg_statement fence = {
    "node_fence",
    "SELECT pg_terminate_backend(a.pid)" WRITERS " AND a.xact_start < $1::timestamptz"
    " AND split_part(a.application_name, ' ', 3) NOT IN (SELECT instance FROM interop_nodes)"
};

const pg_statement *const nodes_statements[] = {
    &join, &beat, &changes, &neighbours, &nodes, &share, &take, &release, &leave, &earlier, &fence, NULL
};

static void add_text(pg_unit *unit, const pg_statement *st, slice a, slice b)
{
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 2);

    params[0] = pg_text(mem, a);
    params[1] = pg_text(mem, b);
    pg_unit_add(unit, st, params, b.ptr == NULL ? 1 : 2);
}

static void one_text(pg *c, const pg_statement *st, slice a, pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);

    add_text(unit, st, a, SLICE_NONE);
    pg_submit(unit, done, arg);
}

void nodes_join(pg *c, slice node_id, const node_process *self, int lease_ms, pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 8);

    params[0] = pg_text(mem, node_id);
    params[1] = pg_text(mem, self->name);
    params[2] = pg_text(mem, slice_of(pg_instance()));
    params[3] = pg_text(mem, self->host);
    params[4] = pg_int(mem, self->pid);
    params[5] = pg_int(mem, self->since);
    params[6] = pg_text(mem, slice_of(INTEROP_VERSION));
    params[7] = pg_int(mem, lease_ms);
    pg_unit_add(unit, &join, params, 8);
    pg_submit(unit, done, arg);
}

void nodes_beat(pg *c, slice node_id, slice host, int lease_ms, int grace_ms, pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 3);

    params[0] = pg_text(mem, node_id);
    params[1] = pg_int(mem, lease_ms);
    params[2] = pg_int(mem, grace_ms);
    pg_unit_add(unit, &beat, params, 3);
    add_text(unit, &changes, node_id, SLICE_NONE);
    add_text(unit, &neighbours, host, node_id);
    add_text(unit, &share, node_id, SLICE_NONE);
    pg_unit_add(unit, &nodes, NULL, 0);
    pg_submit(unit, done, arg);
}

static void about_connectors(pg *c, const pg_statement *st, slice node_id, const slice *connectors, size_t count,
                             pg_done done, void *arg)
{
    pg_unit *unit = pg_unit_new(c);
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 2);

    params[0] = pg_text(mem, node_id);
    params[1] = pg_text_array(mem, connectors, count);
    pg_unit_add(unit, st, params, 2);
    pg_submit(unit, done, arg);
}

void nodes_take(pg *c, slice node_id, const slice *connectors, size_t count, pg_done done, void *arg)
{
    about_connectors(c, &take, node_id, connectors, count, done, arg);
}

void nodes_release(pg *c, slice node_id, const slice *connectors, size_t count, pg_done done, void *arg)
{
    about_connectors(c, &release, node_id, connectors, count, done, arg);
}

void nodes_leave(pg *c, slice node_id, pg_done done, void *arg)           { one_text(c, &leave, node_id, done, arg); }
void nodes_earlier_writers(pg *c, slice moment, pg_done done, void *arg) { one_text(c, &earlier, moment, done, arg); }
void nodes_fence(pg *c, slice moment, pg_done done, void *arg)           { one_text(c, &fence, moment, done, arg); }

/* ---- for people -------------------------------------------------------------------- */

err nodes_list(db *d, arena *mem, node_row **out, size_t *count, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT n.id, n.name, n.release, " SQL_TIME("n.started_at") ", " SQL_TIME("n.expires_at") ", c.connectors,"
                    " n.expires_at < clock_timestamp() FROM interop_nodes n JOIN interop_lease_counts() c ON c.node_id = n.id"
                    " ORDER BY n.started_at, n.id", NULL, 0, &r, why);

    if (e != ERR_OK) return e;
    *count = (size_t)pg_rows(&r);
    *out = arena_array(mem, node_row, *count + 1);
    for (int i = 0; i < (int)*count; i++)
        (*out)[i] = (node_row){
            .id = row_cell(mem, &r, i, 0), .name = row_cell(mem, &r, i, 1), .release = row_cell(mem, &r, i, 2),
            .started_at = row_cell(mem, &r, i, 3), .expires_at = row_cell(mem, &r, i, 4),
            .connectors = pg_cell_int(&r, i, 5), .expired = pg_cell_bool(&r, i, 6),
        };
    return ERR_OK;
}
