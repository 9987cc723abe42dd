/* engine/connector_feed.c -- reads work back from the database, in its order, as far as memory allows.
 *
 * After a start first the deliveries that are open, by the messages that they belong to;
 * then messages that are not transformed. While a connector is behind, what is stored
 * stays in the database; it has caught up when a reading came to the end and nothing
 * was stored since it began.
 *
 * What this node itself stores meanwhile waits in memory, a little of it (connector_parked.c).
 *
 * Messages become visible in nearly the order of `seq`: a reading may pass over one
 * that is still on its way. Up to ingest_floor there is none, so the next reading
 * begins there at the latest, and never behind a message that is not taken (promise P3);
 * what is in memory is left out then, and what it meets otherwise is no longer open. */
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "engine/inside.h"

/* ALWAYS: messages that each connector may hold, whatever they weigh. TRIED: of one reading while it is not
 * known what its messages weigh. */
enum { READ_AT_ONCE = 500, ALWAYS = 8, TRIED = 16, WEIGHT = 8192 };

static size_t less(size_t all, size_t taken) { return all > taken ? all - taken : 0; }
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t weight_of_one(const connector *c) { return larger(c->weight, WEIGHT); }

/* How many messages may enter. What others leave of the memory is anyone's who does not hold twice as many
 * by now, and as much as half of it besides is shared out among the connectors that run here: a dead target
 * of one must not stop another. */
static size_t room(const connector *c)
{
    const engine *e = c->e;
    size_t bytes = (size_t)e->cfg->memory_bytes, messages = (size_t)e->cfg->memory_messages, parts = 2 * larger(e->owned, 1);
    size_t has = c->entered + c->parked_count + (c->feeding ? (size_t)c->asked_page : 0);
    size_t has_bytes = c->held + c->parked_bytes + (c->feeding ? c->asked_bytes : 0);
    size_t of_all = smaller(less(bytes, e->held + e->asked_bytes) / weight_of_one(c), less(messages, e->job_count + e->asked));
    size_t own = smaller(less(bytes / parts, has_bytes) / weight_of_one(c), less(messages / parts, has));

    if (has > 2 * of_all) of_all = 0;
    return smaller(larger(larger(of_all, own), less(ALWAYS, has)), less((size_t)e->cfg->lane_messages, has));
}

bool connector_has_room(const connector *c) { return room(c) > 0; }

/* While the database is asked, what it may answer takes its room. */
static void ask_page(connector *c, size_t messages)
{
    c->feeding = true;
    c->asked_page = (int)smaller(messages, c->weight == 0 ? TRIED : READ_AT_ONCE);
    c->asked_bytes = (size_t)c->asked_page * weight_of_one(c);
    c->e->asked += (size_t)c->asked_page;
    c->e->asked_bytes += c->asked_bytes;
}

static void page_answered(connector *c)
{
    c->feeding = false;
    c->e->asked -= (size_t)c->asked_page;
    c->e->asked_bytes -= c->asked_bytes;
}

static bool can_work(const connector *c)
{
    return c->prog != NULL && c->routes != NULL && !c->closing && !c->e->closing && c->epoch != 0 && !c->leaving &&
           (slice_is(c->status, "active") || slice_is(c->status, "paused"));
}

static void fall_behind(connector *c)
{
    if (!c->behind) {
        log_line(LOG_INFO, "connector.behind", log_id("connectorId", id_slice(&c->connector_id)));
        c->behind = c->told_behind = true;
        c->fed_seq = ingest_floor(c->e->in);
    }
    c->dropped++;
}

void connector_missed(connector *c, int64_t seq)
{
    if (c->epoch == 0) return;           /* who runs it reads it */
    fall_behind(c);
    if (seq <= c->fed_seq) c->from_start = true;         /* the sequence went back: a failover, a restore */
    connector_feed(c);
}

void connector_missed_behind(connector *c, int64_t seq)
{
    fall_behind(c);
    if (seq < c->fed_seq) c->fed_seq = seq;
    if (seq < c->heard_behind) c->heard_behind = seq;
    connector_feed(c);
}

void connector_enter(connector *c, job *j)
{
    int64_t seq = j->seq;
    bool may_enter;

    if (job_find(c->e, j->message_id.text) != NULL) {    /* it was read back before we heard of its commit */
        job_end(j);
        return;
    }
    /* What a reading may have met, and is not in memory, has ended or was passed over: the database knows. */
    may_enter = seq > c->highest_read && can_work(c);
    if (may_enter && !c->behind && connector_has_room(c)) { flow_enter(j); return; }
    if (may_enter && parked_put(c, j)) return;
    job_end(j);
    engine_balance(c->e);
    connector_missed(c, seq);
}

/* A job from a row of feed_messages or feed_deliveries. */
static job *job_from_row(connector *c, const pg_result *r, int row)
{
    job *j = job_new(c);
    slice bytes = feed_bytes(&j->mem, pg_cell(r, row, MSG_BYTES));

    (void)slice_cstr(pg_cell(r, row, MSG_ID), j->message_id.text, sizeof j->message_id.text);
    j->bytes = bytes.ptr != NULL ? bytes : arena_dup(&j->mem, pg_cell(r, row, MSG_TEXT));
    j->seq = pg_cell_int(r, row, MSG_SEQ);
    j->received_us = pg_cell_int(r, row, MSG_RECEIVED_US);
    j->attempts = (int)pg_cell_int(r, row, MSG_ATTEMPTS);
    j->next_attempt_us = pg_cell_int(r, row, MSG_NEXT_US);
    j->replay = (int)pg_cell_int(r, row, MSG_REPLAY);
    j->key_count = feed_array(&j->mem, pg_cell(r, row, MSG_KEYS), j->keys, HL7_KEYS_MAX);
    j->run_error = job_parse(j, &j->run_why);            /* it parsed when it was stored */
    job_weigh(j);
    return j;
}

static void enter_from_row(connector *c, const pg_result *r, int row)
{
    slice by = pg_cell(r, row, MSG_PACK);
    job *j = job_from_row(c, r, row);

    if (by.len > 0) flow_enter_by(j, by);
    else flow_enter(j);
}

/* False when an answer is of no use: what was asked is asked again, at once after a lost connection
 * (it waits for the new one), else at the next tick. */
static bool may_go_on(connector *c, err e, const err_info *why)
{
    if (e == ERR_OK) return true;
    if (e == ERR_STORE_LOST) connector_feed(c);
    else log_line(LOG_WARN, "connector.not_fed", log_id("connectorId", id_slice(&c->connector_id)), log_why(why));
    return false;
}

/* ---- messages --------------------------------------------------------------------------- */

/* False: it is in memory. */
static bool enter_once(connector *c, const pg_result *r, int row)
{
    slice message_id = pg_cell(r, row, MSG_ID);
    char text[ID_MAX + 1];
    job *j;

    if (job_find(c->e, slice_cstr(message_id, text, sizeof text)) != NULL) return false;
    j = parked_take(c, message_id);
    if (j != NULL) flow_enter(j);
    else enter_from_row(c, r, row);
    return true;
}

static bool all_heard(connector *c, slice handed)
{
    bool all;

    c->feeding = true;                   /* what is heard now is read when all of it is */
    all = connector_heard_all(c, handed);
    c->feeding = false;
    return all;
}

static void on_messages(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    connector *c = arg;
    int64_t last = 0;
    bool any = false;
    int rows;

    (void)count; (void)sqlstate;
    page_answered(c);
    if (e == ERR_CLOSED || c->closing || c->e->closing) return;
    if (!may_go_on(c, e, why)) return;
    if (c->from_start || c->asked_epoch != c->epoch) { connector_feed(c); return; }
    rows = pg_rows(&results[1]);
    if (rows > 0) failpoint("feed.messages_read");
    if (rows > 0 && !all_heard(c, pg_cell(&results[1], 0, MSG_HANDED))) { connector_feed(c); return; }
    for (int i = 0; i < rows; i++) {
        last = pg_cell_int(&results[1], i, MSG_SEQ);
        parked_enter_until(c, last);
        if (enter_once(c, &results[1], i)) any = true;
    }
    if (last > c->highest_read) c->highest_read = last;
    ingest_begin_behind(c->e->in, last);
    c->far_behind = rows == c->asked_page;
    if (c->far_behind) parked_drop(c);
    else parked_enter_until(c, INT64_MAX);
    if (!c->far_behind && c->dropped == c->asked_dropped) {
        if (c->told_behind) log_line(LOG_INFO, "connector.caught_up", log_id("connectorId", id_slice(&c->connector_id)));
        c->told_behind = false;
        c->behind = false;
        parked_enter_all(c);
        return;
    }
    if (!c->far_behind || last > c->asked_floor) last = c->asked_floor;
    if (last > c->heard_behind) last = c->heard_behind;
    /* A full page that waits for one on its way: asked again when it is there. */
    if (c->far_behind && last <= c->fed_seq && !any && c->heard_behind == INT64_MAX && c->dropped == c->asked_dropped) return;
    if (last > c->fed_seq) c->fed_seq = last;
    connector_feed(c);
}

/* ---- deliveries -------------------------------------------------------------------------- */

static void add_again(job *j, const pg_result *r, int row)
{
    again *a = &j->again[j->again_count++];
    slice status = pg_cell(r, row, DLV_STATUS);

    (void)slice_cstr(pg_cell(r, row, DLV_ID), a->delivery_id.text, sizeof a->delivery_id.text);
    a->service_url = arena_dup(&j->mem, pg_cell(r, row, DLV_URL));
    a->attempts = (int)pg_cell_int(r, row, DLV_ATTEMPTS);
    a->next_attempt_us = pg_cell_int(r, row, DLV_NEXT_US);
    a->ended = !slice_is(status, "pending") && !slice_is(status, "failed");
}

static void on_deliveries(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    connector *c = arg;
    const pg_result *r = &results[1];
    int rows, messages = 0;

    (void)count; (void)sqlstate;
    page_answered(c);
    if (e == ERR_CLOSED || c->closing || c->e->closing) return;
    if (!may_go_on(c, e, why)) return;
    if (c->asked_epoch != c->epoch) { connector_feed(c); return; }
    rows = pg_rows(r);
    if (rows > 0) failpoint("feed.deliveries_read");
    for (int i = 0, next; i < rows; i = next) {
        slice message_id = pg_cell(r, i, MSG_ID);
        char text[ID_MAX + 1];
        job *j;

        for (next = i + 1; next < rows && slice_eq(pg_cell(r, next, MSG_ID), message_id);) next++;
        messages++;
        c->delivery_seq = pg_cell_int(r, i, DLV_SEQ);
        if (job_find(c->e, slice_cstr(message_id, text, sizeof text)) != NULL) continue;
        j = job_from_row(c, r, i);
        j->redelivery = true;
        j->next_attempt_us = 0;          /* each delivery has its own */
        j->again = arena_array(&j->mem, again, (size_t)(next - i));
        for (int k = i; k < next; k++) add_again(j, r, k);
        flow_again(j, pg_cell(r, i, DLV_PACK));
    }
    c->deliveries_fed = messages < c->asked_page;
    connector_feed(c);
}

/* ---- what next ------------------------------------------------------------------------------ */

/* Readings overlap (see above). Those whose deliveries are under way are transformed, and do not come anyhow. */
static void read_messages(connector *c)
{
    slice *held = mem_alloc(c->job_count * sizeof *held);
    size_t count = 0;

    list_each(l, &c->jobs) {
        const job *j = container_of(l, job, link);
        bool open = j->state == JOB_PARKED || (j->indexed && !j->redelivery && j->state != JOB_DELIVERING);
        if (open && j->seq > c->fed_seq) held[count++] = id_slice(&j->message_id);
    }
    feed_messages(c->e->feed, c->tenant, id_slice(&c->connector_id), c->fed_seq, held, count, c->asked_page, on_messages, c);
    free(held);
}

/* Asked for each message that ends: before room is reckoned. */
static bool has_to_read(const connector *c) { return (!c->deliveries_fed || c->behind) && !c->feeding && can_work(c); }

static void feed(connector *c, size_t messages)
{
    if (messages == 0) return;
    ask_page(c, messages);
    c->asked_epoch = c->epoch;
    if (!c->deliveries_fed) {
        feed_deliveries(c->e->feed, c->tenant, id_slice(&c->connector_id), c->delivery_seq, c->asked_page, on_deliveries, c);
        return;
    }
    if (c->from_start) {
        c->fed_seq = 0;
        parked_drop(c);
    }
    c->from_start = false;
    c->readings++;
    c->asked_floor = ingest_floor(c->e->in);
    c->asked_dropped = c->dropped;
    c->asked_seq = c->fed_seq;
    c->heard_behind = INT64_MAX;
    connector_heard_ask(c);
    read_messages(c);
}

/* What is parked must not be in the way of what it waits for. */
static size_t room_to_read(connector *c)
{
    size_t messages = room(c);

    if (messages > 0 || c->parked_count == 0) return messages;
    parked_drop(c);
    return room(c);
}

void connector_feed(connector *c)
{
    size_t free_room;

    if (!has_to_read(c)) return;
    free_room = room_to_read(c);
    if (c->entered <= larger(free_room, ALWAYS)) feed(c, free_room);     /* read in large pieces */
}

void connector_feed_any(connector *c)
{
    if (has_to_read(c)) feed(c, room_to_read(c));
}

void connector_reread(connector *c)
{
    if (c->epoch == 0) return;
    c->from_start = c->behind = true;
    connector_feed(c);
}

/* ---- one message ------------------------------------------------------------------------------- */

static void on_message(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    engine *eng = arg;
    connector *c;
    job *old;
    char text[ID_MAX + 1];

    (void)count; (void)sqlstate;
    if (e == ERR_CLOSED || eng->closing) return;
    if (e != ERR_OK) {                   /* which one is not known here: all look for it */
        log_line(LOG_WARN, "message.not_read", log_why(why));
        list_each(l, &eng->connector_list) connector_reread(container_of(l, connector, link));
        return;
    }
    if (pg_rows(&results[1]) == 0) return;
    c = connector_find(eng, pg_cell(&results[1], 0, MSG_CONNECTOR));
    if (c == NULL || c->closing || c->epoch == 0) return;
    old = job_find(eng, slice_cstr(pg_cell(&results[1], 0, MSG_ID), text, sizeof text));
    if (old != NULL) {
        if (job_is_orphan(old)) return;
        if (pg_cell_int(&results[1], 0, MSG_REPLAY) > old->replay) flow_replayed(old);
        else flow_try_now(old);
        return;
    }
    if (!slice_is(pg_cell(&results[1], 0, MSG_STATUS), "pending")) return;
    if (c->behind || !can_work(c) || !connector_has_room(c)) { connector_reread(c); return; }
    enter_from_row(c, &results[1], 0);
}

void connector_take(engine *e, slice tenant, slice message_id) { feed_message(e->feed, tenant, message_id, on_message, e); }
