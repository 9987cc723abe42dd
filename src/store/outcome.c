/* store/outcome.c -- a batch of outcomes, of any tenants, as two calls with arrays. */
#include "store/outcome.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/hash.h"

enum { BATCH_ROOM = 256, GATHER_MS = 20, MAX_CONNECTIONS = 16 };

/* The work itself is in two functions of the database (sql/0002_spine.sql), one call of
 * each for a whole batch, behind a look at the leases (sql/0003_nodes.sql). */
static const pg_statement check = { "outcome_check", "SELECT interop_lease_check($1::text[], $2::bigint[])" };

static const pg_statement transformed = {
    "outcome_transformed",
    "SELECT interop_message_transformed($1::text[], $2::text[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[],"
    " $8::text[], $9::int[], $10::timestamptz[], $11::text[], $12::int[],"
    " $13::text[], $14::text[], $15::int[], $16::text[], $17::text[], $18::text[], $19::int[], $20::text[],"
    " $21::int8[], $22::text[], $23::text[], $24::text[], $25::text[], $26::int[])"
};

static const pg_statement delivered = {
    "outcome_delivered",
    "SELECT interop_delivered($1::text[], $2::text[], $3::text[], $4::int[], $5::timestamptz[], $6::int[], $7::text[],"
    " $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::int[], $15::text[], $16::text[])"
};

/* For columns_init. */
static const char transformed_types[] = "ttiittttiwti" "ttitttitl" "tttti", delivered_types[] = "tttiwit" "tttt" "ttitt";

static const pg_statement *const statements[] = { &check, &transformed, &delivered, NULL };

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

/* ---- a batch as arrays ------------------------------------------------------------- */

typedef struct columns {                 /* the array parameters of one call */
    pg_array array[26];
    int      count;
} columns;

/* Text, int4, int8, timestamptz. */
static pg_type type_of(char letter)
{
    return letter == 'i' ? PG_INT4 : letter == 'l' ? PG_INT8 : letter == 'w' ? PG_TIMESTAMPTZ : PG_TEXT;
}

static void columns_init(columns *c, arena *mem, const char *types)
{
    c->count = (int)strlen(types);
    for (int i = 0; i < c->count; i++) pg_array_begin(&c->array[i], mem, type_of(types[i]));
}

static void columns_add(pg_unit *unit, const pg_statement *st, columns *c)
{
    pg_param *params = arena_array(pg_unit_arena(unit), pg_param, (size_t)c->count);

    for (int i = 0; i < c->count; i++) params[i] = pg_array_end(&c->array[i]);
    pg_unit_add(unit, st, params, c->count);
}

static void put_transformed(arena *mem, columns *c, const outcome_op *op)
{
    pg_array *a = c->array, *d = c->array + 12, *e = c->array + 21;

    pg_array_text(a++, op->tenant);
    pg_array_text(a++, id_slice(&op->message_id));
    pg_array_int(a++, op->replay);
    pg_array_int(a++, op->attempts_before);
    pg_array_text(a++, op->parsed);
    pg_array_text(a++, slice_of(op->status));
    pg_array_text(a++, op->pack_digest);
    pg_array_text(a++, op->error);
    pg_array_int(a++, op->attempts);
    pg_array_time(a++, op->next_attempt_us);
    pg_array_text(a++, id_slice(&op->event_id));
    pg_array_int(a++, op->event_count);
    for (int i = 0; i < op->delivery_count; i++) {
        const outcome_delivery *made = &op->deliveries[i];
        pg_array_text(d, id_slice(&op->message_id));
        pg_array_text(d + 1, id_slice(&made->delivery_id));
        pg_array_int(d + 2, i);
        pg_array_text(d + 3, made->service_url);
        pg_array_text(d + 4, pg_literal(mem, &made->rule_id, made->rule_id.len > 0));
        pg_array_text(d + 5, pg_literal_ints(mem, made->needs, (size_t)made->need_count));
        pg_array_int(d + 6, made->entry_count);
        pg_array_text(d + 7, made->resources == NULL ? SLICE_NONE : pg_literal_ints(mem, made->resources, (size_t)made->entry_count));
        pg_array_int8(d + 8, made->shape);
    }
    for (int i = 0; i < op->event_count; i++) {
        pg_array_text(e, id_slice(&op->message_id));
        pg_array_text(e + 1, id_slice(&op->events[i].event_id));
        pg_array_text(e + 2, op->events[i].type);
        pg_array_text(e + 3, op->events[i].data);
        pg_array_int(e + 4, op->event_count - i);        /* before the message's own event */
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

/* Has a delivery of the same message come before in this batch? Its message is one row. */
static bool message_came_before(const list *at, const list *batch)
{
    const outcome_op *op = op_of((list *)at);

    for (const list *l = at->prev; l != batch; l = l->prev) {
        const outcome_op *earlier = op_of((list *)l);
        if (earlier->kind == OUTCOME_DELIVERED && earlier->replay == op->replay &&
            strcmp(earlier->message_id.text, op->message_id.text) == 0) return true;
    }
    return false;
}

/* Ids, types, resources and actions, each an array as text. */
static void put_links(arena *mem, pg_array *into, const outcome_op *op)
{
    size_t n = (size_t)op->link_count;
    slice *column[4];

    for (int k = 0; k < 4; k++) column[k] = arena_array(mem, slice, n);
    for (size_t i = 0; i < n; i++) {
        id *link_id = arena_new(mem, id);
        *link_id = id_new(ID_LINK);
        column[0][i] = id_slice(link_id);
        column[1][i] = op->links[i].resource_type;
        column[2][i] = op->links[i].resource_id;
        column[3][i] = slice_of(op->links[i].created ? "created" : "updated");
    }
    for (int k = 0; k < 4; k++) pg_array_text(into + k, pg_literal(mem, column[k], n));
}

static void put_delivered(arena *mem, columns *c, const list *at, const list *batch)
{
    const outcome_op *op = op_of((list *)at);
    pg_array *a = c->array, *m = c->array + 11;

    pg_array_text(a++, op->tenant);
    pg_array_text(a++, id_slice(&op->delivery_id));
    pg_array_text(a++, slice_of(op->status));
    pg_array_int(a++, op->attempts);
    pg_array_time(a++, op->next_attempt_us);
    pg_array_int(a++, op->http_status);
    pg_array_text(a++, op->error);
    put_links(mem, a, op);
    if (!op->only && message_came_before(at, batch)) return;
    pg_array_text(m, op->tenant);
    pg_array_text(m + 1, id_slice(&op->message_id));
    pg_array_int(m + 2, op->replay);
    pg_array_text(m + 3, id_slice(&op->event_id));
    pg_array_text(m + 4, op->only ? resources_json(mem, op) : SLICE_NONE);
}

/* Of each connector and epoch that comes, once where they come together. */
static void add_check(pg_unit *unit, const list *batch)
{
    arena *mem = pg_unit_arena(unit);
    pg_param *params = arena_array(mem, pg_param, 2);
    const outcome_op *last = NULL;
    pg_array connectors, epochs;

    pg_array_begin(&connectors, mem, PG_TEXT);
    pg_array_begin(&epochs, mem, PG_INT8);
    for (const list *l = batch->next; l != batch; l = l->next) {
        const outcome_op *op = op_of((list *)l);
        if (last != NULL && last->epoch == op->epoch && slice_eq(last->connector_id, op->connector_id)) continue;
        pg_array_text(&connectors, op->connector_id);
        pg_array_int8(&epochs, op->epoch);
        last = op;
    }
    params[0] = pg_array_end(&connectors);
    params[1] = pg_array_end(&epochs);
    pg_unit_add(unit, &check, params, 2);
}

static void build_batch(void *arg, pg_unit *unit, list *batch)
{
    arena *mem = pg_unit_arena(unit);
    columns *made = NULL, *ended = NULL;

    (void)arg;
    failpoint("outcome.before_commit");
    add_check(unit, batch);
    list_each(l, batch) {
        outcome_op *op = op_of(l);
        columns **into = op->kind == OUTCOME_TRANSFORMED ? &made : &ended;
        if (*into == NULL) {
            *into = arena_new(mem, columns);
            columns_init(*into, mem, op->kind == OUTCOME_TRANSFORMED ? transformed_types : delivered_types);
        }
        op->sent++;
        if (op->kind == OUTCOME_TRANSFORMED) put_transformed(mem, made, op);
        else put_delivered(mem, ended, l, batch);
    }
    if (made != NULL) columns_add(unit, &transformed, made);
    if (ended != NULL) columns_add(unit, &delivered, ended);
}

/* Is the message among the rows? They come in the order in which they were given, so that
 * `*from` is nearly always the place. */
static bool is_among(const pg_result *r, const id *message_id, int *from)
{
    int rows = pg_rows(r);

    for (int i = 0; i < rows; i++) {
        int row = (*from + i) % rows;
        if (!slice_eq(pg_cell(r, row, 0), id_slice(message_id))) continue;
        *from = row + 1;
        return true;
    }
    return false;
}

static bool batch_committed(void *arg, list *batch, const pg_result *results, int count)
{
    static const err_info gone = { ERR_CONFLICT, "the message is no longer what was read" };
    list ended;
    int from = 0;

    (void)arg; (void)count;
    failpoint("outcome.committed");
    list_init(&ended);
    list_splice(&ended, batch);
    for (list *l; (l = list_pop(&ended)) != NULL;) {
        outcome_op *op = op_of(l);       /* the transformed ones come behind the check, where there are any */
        bool stored = op->kind != OUTCOME_TRANSFORMED || op->sent > 1 || is_among(&results[1], &op->message_id, &from);
        op->done(op, stored ? ERR_OK : ERR_CONFLICT, stored ? NULL : &gone);
    }
    return true;
}

static void batch_undone(void *arg, const list *batch)
{
    (void)arg;
    for (const list *l = batch->next; l != batch; l = l->next) op_of((list *)l)->sent = 0;
}

static void op_refused(void *arg, write_op *op, const char *sqlstate, const err_info *why)
{
    outcome_op *refused = container_of(op, outcome_op, op);

    (void)arg;
    refused->lease_lost = strcmp(sqlstate, WRITER_LEASE_LOST) == 0;
    refused->done(refused, refused->lease_lost ? ERR_CONFLICT : ERR_STORE, why);
}

/* ---- life ----------------------------------------------------------------------------- */

static size_t op_weight(const write_op *op)
{
    return container_of(op, outcome_op, op)->parsed.len;
}

static const writer_kind kind = {
    .room = BATCH_ROOM, .gather_ms = GATHER_MS, .weight = op_weight, .build = build_batch, .undone = batch_undone,
    .committed = batch_committed, .refused = op_refused
};

outcome *outcome_open(uv_loop_t *loop, const char *url, unsigned connections)
{
    outcome *s = mem_zalloc(sizeof *s);

    s->count = connections > MAX_CONNECTIONS ? MAX_CONNECTIONS : connections;
    for (unsigned i = 0; i < s->count; i++) {
        pg_options options = { .url = url, .application = "interop outcome", .statements = statements };
        s->lane[i].owner = s;
        s->lane[i].conn = pg_open(loop, &options);
        s->lane[i].out = writer_new(s->lane[i].conn, loop, &kind, &s->lane[i]);
    }
    return s;
}

void outcome_put(outcome *s, outcome_op *op)
{
    op->event_id = id_new(ID_EVENT);
    writer_put(s->lane[hash_bytes(id_slice(&op->message_id)) % s->count].out, &op->op);
}

size_t outcome_waiting(const outcome *s)
{
    size_t n = 0;
    for (unsigned i = 0; i < s->count; i++) n += writer_waiting(s->lane[i].out);
    return n;
}

bool outcome_is_ready(const outcome *s, err_info *why)
{
    for (unsigned i = 0; i < s->count; i++)
        if (!pg_answers(s->lane[i].conn, why) || !writer_is_well(s->lane[i].out, why)) return false;
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
