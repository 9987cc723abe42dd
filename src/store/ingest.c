/* store/ingest.c -- the INSERT of a batch, and what its conflicts mean.
 *
 * One statement stores rows of many tenants and their events. Row-level security stays
 * in force: the SELECT list sets app.current_tenant_id for each row as it is
 * produced, and PostgreSQL checks each row as it arrives. If it ever evaluated
 * them otherwise, the check would fail and nothing be stored. (A set_config and an
 * INSERT for each tenant cost twice as much at one row a tenant.)
 *
 * Rows are sorted by (tenant, connector, control id, sender), so that two batches
 * meet in the same order and cannot deadlock; `seq` is by arrival.
 *
 * A batch is first tried as if all of its ids were new, which they nearly always are and
 * which costs less. When one is not, the batch, and for a while each next one, goes by a
 * statement that leaves such rows out. What was left out met a row with its id: that
 * row, and those with ~2, ~3, … behind the id, are read and compared by hash.
 *
 * Operations are completed in the order of arrival, the inserted ones too: after a lost
 * connection the batch goes again together with what came since, and a frame that
 * meets its own row must not be overtaken by the next one (promise P3). */
#include "store/ingest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/hash.h"

enum { BATCH_ROOM = 512, CONTROL_ID_MAX = 199, PROBE = 16, LOOK_UPS = 64, MAX_CONNECTIONS = 16, CAREFUL_BATCHES = 64 };

#define ROWS                                                                                                \
    "unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],"  \
    " $9::text[], $10::text[], $11::bytea[], $12::bytea[], $13::text[], $14::timestamptz[], $15::int[])"      \
    " AS u (tenant, id, connector, type, cid, sent, app, facility, receiver, body, bytes, hash, keys, received, place)"

#define INSERT_MESSAGES                                                                                     \
    "WITH batch AS MATERIALIZED (SELECT nextval('hl7_message_batch_seq') * 4096 AS base),"                   \
    " stored AS ("                                                                                           \
    "  INSERT INTO hl7_messages (tenant_id, id, connector_id, direction, message_type, message_control_id,"  \
    "    sent_control_id, sending_app, sending_facility, receiving_app, raw_payload, raw_bytes,"             \
    "    content_hash, lane_keys, received_at, seq)"                                                         \
    "  SELECT set_config('app.current_tenant_id', u.tenant, true), u.id, u.connector, 'inbound', u.type,"    \
    "    u.cid, u.sent, u.app, u.facility, u.receiver, u.body, u.bytes, u.hash, u.keys::text[], u.received," \
    "    batch.base + u.place"                                                                               \
    "  FROM batch, " ROWS

/* For s.tenant, s.id, s.connector, s.type. */
#define INSERT_EVENTS                                                                                       \
    " told AS ("                                                                                             \
    "  INSERT INTO outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq,"  \
    "    created_at)"                                                                                        \
    "  SELECT set_config('app.current_tenant_id', s.tenant, true), 'EVT_' || substr(s.id, 5),"               \
    "    interop_subject(s.tenant, 'message.received'), 'message.received',"                                 \
    "    interop_event('EVT_' || substr(s.id, 5), 'message.received', s.id,"                                 \
    "      jsonb_build_object('connectorId', s.connector, 'messageType', s.type, 'status', 'pending')),"     \
    "    s.id, 1, clock_timestamp() FROM "

/* Handovers (sql/0003_nodes.sql), for a node that is not alone: $16 the connectors, $17 the node, $18 the
 * writer. */
#define HANDOVERS                                                                                           \
    " (SELECT * FROM interop_handover($16::text[], $17, $18, b.base)"                                        \
    "   WHERE EXISTS (SELECT FROM interop_nodes n WHERE n.id <> $17)) h"

/* Result: the batch's base, in a row for each handover. */
static const pg_statement insert_new = {
    "ingest_insert_new",
    INSERT_MESSAGES "),"
    INSERT_EVENTS "unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS s (tenant, id, connector, type))"
    " SELECT b.base, h.connector_id, h.writer, h.seq FROM batch b LEFT JOIN LATERAL" HANDOVERS " ON true"
};

/* Result: id and seq of the rows whose ids were new, then handovers. */
static const pg_statement insert_unless_there = {
    "ingest_insert_unless_there",
    INSERT_MESSAGES
    "  ON CONFLICT DO NOTHING"
    "  RETURNING tenant_id AS tenant, id, connector_id AS connector, message_type AS type, seq),"
    INSERT_EVENTS "stored s)"
    " SELECT s.seq, NULL, NULL, NULL, s.id FROM stored s UNION ALL"
    " SELECT b.base, h.connector_id, h.writer, h.seq, NULL FROM batch b, LATERAL" HANDOVERS
};

/* With a transaction id of its own the look-up commits like a write: a row that it found has then
 * reached the synchronous standby, though the wait of who wrote it was cancelled (promise P1).
 * Without sorting it goes along the unique index, which alone has its order: while there are no statistics
 * it would look through all that the connector has. */
static const pg_statement set_tenant = {
    "ingest_tenant",
    "SELECT set_config('app.current_tenant_id', $1, true), set_config('enable_sort', 'off', true), pg_current_xact_id()"
};

/* The row that is found may be there without the synchronous standby having it: its commit
 * was doubtful, and the INSERT that was tried again wrote nothing. The lock is a write, so
 * that this commit waits for the standby, up to the row and beyond (promise P1). */
static const pg_statement find_same = {
    "ingest_find",
    "SELECT m.* FROM unnest($3::text[]) AS u (name), LATERAL ("
    "  SELECT id, message_control_id, encode(content_hash, 'hex'), processing_status, seq FROM hl7_messages"
    "   WHERE connector_id = $1 AND message_control_id = u.name AND sending_app IS NOT DISTINCT FROM $2"
    "   ORDER BY sending_app FOR KEY SHARE) m"
};

static const pg_statement *const statements[] = { &insert_new, &insert_unless_there, &set_tenant, &find_same, NULL };

/* Columns of both. */
enum { ROW_SEQ, ROW_CONNECTOR, ROW_WRITER, ROW_HANDED, ROW_ID };

typedef struct lane_writer {             /* one database connection */
    ingest  *owner;
    char     name[16];                   /* among all of all nodes */
    pg      *conn;
    writer  *out;
    size_t   sent;                       /* operations that were sent and not completed: some may be committed */
    int64_t  floor;                      /* when the first of them was sent, all up to here were completed */
    unsigned careful;                    /* batches still to go by insert_unless_there */
    bool     sent_careful;
    list     settling;                   /* of the batch that was committed, to be completed in this order */
    list     again;                      /* of them, those that go again, by another suffix */
    size_t   settling_count;             /* of both */
    unsigned probed;                     /* suffixes looked at for the first of them */
    unsigned asked;                      /* of how many that were not inserted the rows are looked for */
} lane_writer;

struct ingest {
    unsigned    count;
    unsigned    used, wanted;            /* of the connections, from the first on; where they differ a change is due */
    unsigned    change;                  /* counts them */
    size_t      before;                  /* operations that were put before the last and are not done: it is made when none is, */
    list        held;                    /* and what would go another way waits, for frames of a sender's connection must not */
    size_t      held_count;              /* be on two at once; */
    bool        hold_all;                /* all that is put, when a change is followed by another */
    int64_t     newest;                  /* the highest `seq` that came back, or was seen */
    id          node_id;
    ingest_heard heard;
    void       *heard_arg;
    lane_writer lane[MAX_CONNECTIONS];
    unsigned    open;
    void      (*lost)(ingest_op *op);
    void      (*closed)(void *arg);
    void       *closed_arg;
};

static ingest_op *op_of(list *l) { return container_of(container_of(l, write_op, link), ingest_op, op); }

/* ---- the batch ------------------------------------------------------------------ */

static int by_identity(const void *left, const void *right)
{
    const ingest_op *a = *(ingest_op *const *)left, *b = *(ingest_op *const *)right;
    int order = slice_cmp(a->tenant, b->tenant);

    if (order == 0) order = slice_cmp(a->connector_id, b->connector_id);
    if (order == 0) order = slice_cmp(a->control_id, b->control_id);
    if (order == 0) order = slice_cmp(a->sending_app, b->sending_app);
    return order != 0 ? order : a->place - b->place;
}

static slice stored_id(arena *mem, const ingest_op *op)
{
    return op->suffix == 0 ? op->control_id
        : arena_printf(mem, "%.*s~%u", (int)op->control_id.len, op->control_id.ptr, op->suffix);
}

/* The operations of a batch in the order of their rows; each remembers its place of
 * arrival. Two that are alike keep that order. */
static int sort_batch(const list *batch, ingest_op *sorted[BATCH_ROOM])
{
    int n = 0;

    for (list *l = batch->next; l != batch; l = l->next) {
        sorted[n] = op_of(l);
        sorted[n]->place = n;
        n++;
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_identity);
    return n;
}

static void build_batch(void *arg, pg_unit *unit, list *batch)
{
    static const pg_type types[] = {
        PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_BYTEA, PG_BYTEA,
        PG_TEXT, PG_TIMESTAMPTZ, PG_INT4
    };
    enum { COLUMNS = countof(types), CONNECTORS = COLUMNS, NODE, WRITER, PARAMS };
    arena *mem = pg_unit_arena(unit);
    ingest_op *sorted[BATCH_ROOM];
    pg_array column[COLUMNS], connectors;
    pg_param *params = arena_array(mem, pg_param, PARAMS);
    int n = sort_batch(batch, sorted);
    lane_writer *w = arg;

    if (w->sent == 0) w->floor = w->owner->newest;
    for (int i = 0; i < COLUMNS; i++) pg_array_begin(&column[i], mem, types[i]);
    pg_array_begin(&connectors, mem, PG_TEXT);
    for (int i = 0; i < n; i++) {
        ingest_op *op = sorted[i];
        int k = 0;

        if (i == 0 || !slice_eq(op->connector_id, sorted[i - 1]->connector_id)) pg_array_text(&connectors, op->connector_id);
        if (!op->sent) w->sent++;
        op->sent = true;
        pg_array_text(&column[k++], op->tenant);
        pg_array_text(&column[k++], id_slice(&op->message_id));
        pg_array_text(&column[k++], op->connector_id);
        pg_array_text(&column[k++], op->type);
        pg_array_text(&column[k++], stored_id(mem, op));
        pg_array_text(&column[k++], op->suffix == 0 ? SLICE_NONE : op->control_id);
        pg_array_text(&column[k++], op->sending_app);
        pg_array_text(&column[k++], op->sending_facility);
        pg_array_text(&column[k++], op->receiving_app);
        pg_array_text(&column[k++], op->text);
        pg_array_text(&column[k++], op->bytes);
        pg_array_text(&column[k++], (slice){ (const char *)op->hash.byte, sizeof op->hash.byte });
        pg_array_text(&column[k++], pg_literal(mem, op->keys, op->key_count));
        pg_array_time(&column[k++], op->received_us);
        pg_array_int(&column[k++], op->place);
    }
    for (int i = 0; i < COLUMNS; i++) params[i] = pg_array_end(&column[i]);
    params[CONNECTORS] = pg_array_end(&connectors);
    params[NODE] = pg_text(mem, id_slice(&w->owner->node_id));
    params[WRITER] = pg_text(mem, slice_of(w->name));
    failpoint("ingest.before_commit");
    w->sent_careful = w->careful > 0;
    if (w->careful > 0) w->careful--;
    pg_unit_add(unit, w->sent_careful ? &insert_unless_there : &insert_new, params, PARAMS);
}

/* An id that is there already? Then the batch goes again by the other statement. */
static bool batch_goes_again(void *arg, const char *sqlstate)
{
    lane_writer *w = arg;

    if (w->sent_careful || strcmp(sqlstate, "23505") != 0) return false;
    w->careful = CAREFUL_BATCHES;
    return true;
}

/* A connector that accepts reused ids may need a second INSERT for a frame; the
 * next frame of that connection then must not be stored before it. */
static bool fits_batch(void *arg, const list *batch, const write_op *next)
{
    const ingest_op *op = container_of(next, ingest_op, op);

    (void)arg;
    if (!op->accept_reused) return true;
    for (const list *l = batch->next; l != batch; l = l->next) {
        const ingest_op *other = container_of(container_of(l, write_op, link), ingest_op, op);
        if (other->connection == op->connection) return false;
    }
    return true;
}

/* Counted until its owner has it, so that it is above ingest_floor for its owner too. */
static void op_done(lane_writer *w, ingest_op *op, ingest_outcome outcome)
{
    bool sent = op->sent;

    if (op->change != w->owner->change) w->owner->before--;
    op->outcome = outcome;
    op->done(op);
    if (sent) w->sent--;
}

static bool settle(lane_writer *w);

/* Does another node run this connector? Then a handover without a writer says so. */
static bool is_elsewhere(const pg_result *r, int from, slice connector_id)
{
    for (int i = from; i < pg_rows(r); i++)
        if (pg_cell(r, i, ROW_WRITER).len == 0 && slice_eq(pg_cell(r, i, ROW_CONNECTOR), connector_id)) return true;
    return false;
}

/* What others have stored of connectors that are run here; what of this batch is run by others. */
static void take_handovers(const ingest *s, const pg_result *r, int from, ingest_op **sorted, int n)
{
    if (from >= pg_rows(r) || pg_cell(r, from, ROW_CONNECTOR).ptr == NULL) return;
    for (int i = from; i < pg_rows(r); i++) {
        slice writer_name = pg_cell(r, i, ROW_WRITER);
        if (writer_name.len > 0) s->heard(s->heard_arg, pg_cell(r, i, ROW_CONNECTOR), writer_name, pg_cell_int(r, i, ROW_HANDED));
    }
    for (int i = 0; i < n; i++)
        sorted[i]->elsewhere = i > 0 && slice_eq(sorted[i]->connector_id, sorted[i - 1]->connector_id)
            ? sorted[i - 1]->elsewhere : is_elsewhere(r, from, sorted[i]->connector_id);
}

static size_t under_way(const ingest *s)
{
    size_t n = 0;

    for (unsigned i = 0; i < s->count; i++) n += writer_waiting(s->lane[i].out) + s->lane[i].settling_count;
    return n;
}

static void put(ingest *s, ingest_op *op)
{
    op->change = s->change;
    writer_put(s->lane[op->sender % s->used].out, &op->op);
}

/* Makes the change that is due, if all is done that was put before. */
static void change_over(ingest *s)
{
    if (s->used != s->wanted && s->before > 0) return;
    s->used = s->wanted;
    s->hold_all = false;
    s->held_count = 0;
    for (list *l; (l = list_pop(&s->held)) != NULL;) put(s, op_of(l));
}

static bool batch_committed(void *arg, list *batch, const pg_result *results, int count)
{
    lane_writer *w = arg;
    const pg_result *r = &results[0];
    int rows = pg_rows(r), row = 0;
    ingest_op *sorted[BATCH_ROOM];
    int n = sort_batch(batch, sorted);

    (void)count;
    failpoint("ingest.committed");
    for (int i = 0; i < n; i++) {
        ingest_op *op = sorted[i];
        if (!w->sent_careful) {
            op->seq = pg_cell_int(r, 0, ROW_SEQ) + op->place;
            op->inserted = true;
        } else {                         /* rows come back in the order they were given */
            op->inserted = row < rows && slice_eq(pg_cell(r, row, ROW_ID), id_slice(&op->message_id));
            if (op->inserted) op->seq = pg_cell_int(r, row++, ROW_SEQ);
        }
        if (op->inserted && op->seq > w->owner->newest) w->owner->newest = op->seq;
    }
    if (w->sent_careful && row < rows && pg_cell(r, row, ROW_ID).ptr != NULL) die("ingest: PostgreSQL returned rows out of order");
    take_handovers(w->owner, r, row, sorted, n);
    list_splice(&w->settling, batch);
    w->settling_count = (size_t)n;
    w->probed = 0;
    if (!settle(w)) return false;
    change_over(w->owner);
    return true;
}

static void batch_refused(void *arg, write_op *op, const char *sqlstate, const err_info *why)
{
    lane_writer *w = arg;
    ingest_op *refused = container_of(op, ingest_op, op);

    refused->why = *why;
    (void)slice_cstr(slice_of(sqlstate), refused->sqlstate, sizeof refused->sqlstate);
    op_done(w, refused, INGEST_REFUSED);
    change_over(w->owner);
}

/* ---- conflicts -------------------------------------------------------------------- */

static void on_found(void *arg, err e, const pg_result *results, int count,
                     const char *sqlstate, const err_info *why);

static void ask_for(pg_unit *unit, const ingest_op *op, unsigned probed)
{
    arena *mem = pg_unit_arena(unit);
    pg_param *tenant = arena_array(mem, pg_param, 1), *params = arena_array(mem, pg_param, 3);
    pg_array names;

    pg_array_begin(&names, mem, PG_TEXT);
    for (unsigned i = 0; i < PROBE; i++) {
        unsigned suffix = probed + i + 1;
        pg_array_text(&names, suffix == 1 ? op->control_id
            : arena_printf(mem, "%.*s~%u", (int)op->control_id.len, op->control_id.ptr, suffix));
    }
    tenant[0] = pg_text(mem, op->tenant);
    params[0] = pg_text(mem, op->connector_id);
    params[1] = pg_text(mem, op->sending_app);
    params[2] = pg_array_end(&names);
    pg_unit_add(unit, &set_tenant, tenant, 1);
    pg_unit_add(unit, &find_same, params, 3);
}

/* Of the next that were not inserted, many in one commit: who was cut off sends much again. */
static void look_up(lane_writer *w)
{
    pg_unit *unit = pg_unit_new(w->conn);

    w->asked = 0;
    list_each(l, &w->settling) {
        if (op_of(l)->inserted) continue;
        ask_for(unit, op_of(l), w->asked == 0 ? w->probed : 0);
        if (++w->asked == LOOK_UPS || w->probed > 0) break;
    }
    pg_submit(unit, on_found, w);
}

static ingest_op *take_first(lane_writer *w)
{
    w->settling_count--;
    return op_of(list_pop(&w->settling));
}

/* True when nothing is left to settle and the writer may go on. */
static bool settle(lane_writer *w)
{
    while (!list_empty(&w->settling)) {
        if (!op_of(w->settling.next)->inserted) {
            look_up(w);
            return false;
        }
        op_done(w, take_first(w), INGEST_STORED);
    }
    return true;
}

/* What is not settled goes again, in its order and before all else. */
static void go_again(lane_writer *w)
{
    list_splice(&w->again, &w->settling);
    while (!list_empty(&w->again)) {
        list *last = w->again.prev;
        list_remove(last);
        writer_put_front(w->out, container_of(last, write_op, link));
    }
    w->settling_count = 0;
}

/* The database cannot compare now: the rest goes again from the start, a little later. */
static void settle_later(lane_writer *w, const char *sqlstate, const err_info *why)
{
    go_again(w);
    writer_rest(w->out, sqlstate, why);
}

static void take_row(ingest_op *op, const pg_result *r, int row)
{
    (void)slice_cstr(pg_cell(r, row, 0), op->found_id.text, sizeof op->found_id.text);
    (void)slice_cstr(pg_cell(r, row, 3), op->found_status, sizeof op->found_status);
    op->seq = pg_cell_int(r, row, 4);
}

/* The first suffix from `probed` on that no row has; 1 is the id itself, 0: none is free. */
static unsigned first_free(const ingest_op *op, unsigned probed, const pg_result *r)
{
    char name[CONTROL_ID_MAX + 16];
    bool taken = true;
    unsigned suffix = probed;

    while (taken) {
        if (++suffix > probed + PROBE) return 0;
        (void)snprintf(name, sizeof name, suffix == 1 ? "%.*s" : "%.*s~%u", (int)op->control_id.len,
                       op->control_id.ptr, suffix);
        taken = false;
        for (int i = 0; i < pg_rows(r); i++) taken |= slice_is(pg_cell(r, i, 1), name);
    }
    return suffix;
}

/* The first that is not settled, by the rows of its id: it was stored before, or goes again. False: further
 * suffixes have to be looked at. */
static bool found(lane_writer *w, const pg_result *r)
{
    ingest_op *op = op_of(w->settling.next);
    char hex[SHA256_HEX + 1];
    unsigned free_suffix;

    for (int i = 0; i < pg_rows(r); i++) {
        if (!slice_is(pg_cell(r, i, 2), sha256_hex(&op->hash, hex))) continue;
        take_row(op, r, i);
        /* Our own row: a commit whose answer was lost. */
        op_done(w, take_first(w), slice_eq(slice_of(op->found_id.text), id_slice(&op->message_id)) ? INGEST_STORED : INGEST_REPEAT);
        return true;
    }
    free_suffix = first_free(op, w->probed, r);
    if (free_suffix == 0) return false;                  /* reused often */
    if (free_suffix > 1 && !op->accept_reused) {
        take_row(op, r, 0);
        op_done(w, take_first(w), INGEST_REUSED);
        return true;
    }
    op->suffix = free_suffix == 1 ? 0 : free_suffix;     /* 1: the row that we met is gone */
    list_remove(&op->op.link);
    list_push(&w->again, &op->op.link);
    return true;
}

static void on_found(void *arg, err e, const pg_result *results, int count,
                     const char *sqlstate, const err_info *why)
{
    lane_writer *w = arg;
    bool more = false;

    (void)count;
    if (e == ERR_CLOSED) return;                         /* ingest_close has taken the rest */
    if (e == ERR_STORE_LOST) { look_up(w); return; }     /* waits for the connection */
    if (e != ERR_OK) { settle_later(w, sqlstate, why); return; }
    for (unsigned i = 0; i < w->asked && !more; i++) {
        while (op_of(w->settling.next)->inserted) op_done(w, take_first(w), INGEST_STORED);
        more = !found(w, &results[2 * i + 1]);
        w->probed = more ? w->probed + PROBE : 0;
    }
    if (!settle(w)) return;
    go_again(w);
    change_over(w->owner);
    writer_resume(w->out);
}

/* ---- life ------------------------------------------------------------------------- */

static size_t op_weight(const write_op *op)
{
    const ingest_op *o = container_of(op, ingest_op, op);
    return o->text.len + 2 * o->bytes.len;               /* in hex */
}

static const writer_kind kind = {
    .room = BATCH_ROOM, .weight = op_weight, .fits = fits_batch, .build = build_batch,
    .again = batch_goes_again, .committed = batch_committed, .refused = batch_refused
};

ingest *ingest_open(uv_loop_t *loop, const char *url, unsigned connections, ingest_heard heard, void *arg)
{
    ingest *s = mem_zalloc(sizeof *s);

    s->heard = heard;
    s->heard_arg = arg;

    s->count = s->used = s->wanted = connections > MAX_CONNECTIONS ? MAX_CONNECTIONS : connections;
    list_init(&s->held);
    for (unsigned i = 0; i < s->count; i++) {
        lane_writer *w = &s->lane[i];
        pg_options options = { .url = url, .application = "interop ingest", .statements = statements,
                               .on_connect = writer_planner };
        w->owner = s;
        (void)snprintf(w->name, sizeof w->name, "%s.%u", pg_instance(), i);
        list_init(&w->settling);
        list_init(&w->again);
        w->conn = pg_open(loop, &options);
        w->out = writer_new(w->conn, loop, &kind, w);
    }
    return s;
}

void ingest_put(ingest *s, ingest_op *op)
{
    if (op->control_id.len > CONTROL_ID_MAX || op->sending_app.len > CONTROL_ID_MAX * 5) {
        (void)err_set(&op->why, ERR_LIMIT, "MSH-10 is longer than %d bytes or MSH-3 longer than %d",
                      CONTROL_ID_MAX, CONTROL_ID_MAX * 5);
        op->outcome = INGEST_REFUSED;
        op->done(op);
        return;
    }
    op->sender = hash_mix(hash_bytes(op->connector_id), op->connection);
    if (!s->hold_all && op->sender % s->used == op->sender % s->wanted) {
        put(s, op);
    } else {
        list_push(&s->held, &op->op.link);
        s->held_count++;
    }
}

void ingest_among(ingest *s, unsigned nodes)
{
    unsigned wanted = nodes == 0 ? s->count : (s->count + nodes - 1) / nodes;

    if (wanted != s->wanted) {
        s->hold_all = s->held_count > 0;
        s->wanted = wanted;
        s->change++;
        s->before = under_way(s);
    }
    change_over(s);
}

void ingest_as(ingest *s, const id *node_id) { s->node_id = *node_id; }

void ingest_begin_behind(ingest *s, int64_t seq)
{
    if (seq > s->newest) s->newest = seq;
}

int64_t ingest_floor(const ingest *s)
{
    int64_t floor = s->newest;

    for (unsigned i = 0; i < s->count; i++)
        if (s->lane[i].sent > 0 && s->lane[i].floor < floor) floor = s->lane[i].floor;
    return floor;
}

size_t ingest_waiting(const ingest *s)
{
    return under_way(s) + s->held_count;
}

bool ingest_is_ready(const ingest *s, err_info *why)
{
    for (unsigned i = 0; i < s->count; i++)
        if (!pg_answers(s->lane[i].conn, why) || !writer_is_well(s->lane[i].out, why)) return false;
    return true;
}

static void one_closed(void *arg)
{
    ingest *s = arg;
    void (*closed)(void *) = s->closed;
    void *closed_arg = s->closed_arg;

    if (--s->open > 0) return;
    free(s);
    closed(closed_arg);
}

void ingest_close(ingest *s, void (*lost)(ingest_op *op), void (*done)(void *arg), void *arg)
{
    list left;

    list_init(&left);
    s->lost = lost;
    s->closed = done;
    s->closed_arg = arg;
    s->open = s->count * 2;
    for (unsigned i = 0; i < s->count; i++) {
        lane_writer *w = &s->lane[i];
        writer_free(w->out, &left, one_closed, s);
        list_splice(&left, &w->again);
        list_splice(&left, &w->settling);
        pg_close(w->conn, one_closed, s);
    }
    list_splice(&left, &s->held);
    for (list *l; (l = list_pop(&left)) != NULL;) lost(op_of(l));
}
