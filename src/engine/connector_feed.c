/* engine/connector_feed.c -- reads work back from the database, in its order, as far as memory allows.
 *
 * After a start first the deliveries that are open, by the messages that they belong to;
 * then messages that are not transformed. While a connector is behind, what is stored
 * stays in the database; it has caught up when a reading came to the end and nothing
 * was stored since it began.
 *
 * What this node itself stores meanwhile waits in memory, a little of it (connector_parked.c). What waits for a key
 * of which a message fails is passed over (connector_aside.c), as are deliveries that wait for a target (stream.c).
 *
 * Messages become visible in nearly the order of `seq`: a reading may pass over one
 * that is still on its way. Up to ingest_floor there is none, so the next reading
 * begins there at the latest, and never behind a message that is not taken (promise P3);
 * what is in memory is left out then, and what it meets otherwise is no longer open. */
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "engine/inside.h"
#include "engine/reading.h"
#include "engine/stream.h"

enum { KEYS_MOST = 200, URLS_MOST = 64, BEFORE_MESSAGES = 10000 };

static void fall_behind(connector *c)
{
    if (!c->behind) {
        c->behind = true;
        c->fed_seq = ingest_floor(c->e->in);
    }
    c->dropped++;
}

static void tell_behind(connector *c)
{
    if (!c->told_behind && !c->behind) {
        log_line(LOG_INFO, "connector.behind", log_id("connectorId", id_slice(&c->connector_id)));
        c->told_behind = true;
    }
}

void connector_missed(connector *c, int64_t seq)
{
    if (c->epoch == 0) return;           /* who runs it reads it */
    tell_behind(c);
    fall_behind(c);
    if (seq <= c->fed_seq) c->from_start = true;         /* the sequence went back: a failover, a restore */
    connector_feed(c);
}

void connector_read_from(connector *c, int64_t seq)
{
    fall_behind(c);
    if (seq <= c->fed_seq) c->fed_seq = seq - 1;
    if (seq <= c->heard_behind) c->heard_behind = seq - 1;
    connector_feed(c);
}

void connector_missed_behind(connector *c, int64_t seq)
{
    tell_behind(c);
    connector_read_from(c, seq + 1);
}

void connector_enter(connector *c, job *j)
{
    int64_t seq = j->seq;
    bool may_enter;

    if (seq > c->highest) c->highest = seq;
    if (job_find(c->e, j->message_id.text) != NULL) {    /* it was read back before we heard of its commit */
        job_end(j);
        return;
    }
    /* What a reading may have met, and is not in memory, has ended or was passed over: the database knows. */
    may_enter = seq > c->highest_read && reading_may_begin(c);
    if (may_enter && !c->behind && connector_sets_job_aside(c, j)) return;
    if (may_enter && !c->behind && connector_has_room(c)) { flow_enter(j); return; }
    if (may_enter && parked_put(c, j)) return;
    job_end(j);
    engine_balance(c->e);
    connector_missed(c, seq);
}

static void enter_from_row(connector *c, const pg_result *r, int row)
{
    slice by = pg_cell(r, row, MSG_PACK), keys[HL7_KEYS_MAX];
    arena mem = { 0 };
    size_t count = feed_array(&mem, pg_cell(r, row, MSG_KEYS), keys, countof(keys));
    bool waits = connector_sets_aside(c, keys, count, pg_cell_int(r, row, MSG_SEQ), pg_cell_int(r, row, MSG_NEXT_US));
    job *j;

    arena_free(&mem);
    if (waits) return;
    j = reading_job(c, r, row);
    if (by.len > 0) flow_enter_by(j, by);
    else flow_enter(j);
}

static bool may_go_on(connector *c, err e, const err_info *why)
{
    if (reading_went_well(c, e, why)) return true;
    if (e == ERR_STORE_LOST) connector_feed(c);
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
    if (j == NULL) enter_from_row(c, r, row);
    else if (!connector_sets_job_aside(c, j)) flow_enter(j);
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
    const pg_result *r = &results[1];
    int messages = 0, looked_at;
    int64_t last = 0;
    bool any = false;

    (void)count; (void)sqlstate;
    c->feeding = false;
    reading_answered(c, &c->page);
    if (e == ERR_CLOSED || c->closing || c->e->closing) return;
    if (!may_go_on(c, e, why)) return;
    if (c->from_start || c->released || c->asked_epoch != c->epoch) { connector_feed(c); return; }
    if (pg_rows(r) > 0) failpoint("feed.messages_read");
    if (pg_rows(r) > 0 && !all_heard(c, pg_cell(r, 0, MSG_HANDED))) { connector_feed(c); return; }
    for (; messages < pg_rows(r) && pg_cell(r, messages, MSG_ID).ptr != NULL; messages++) {
        last = pg_cell_int(r, messages, MSG_SEQ);
        parked_enter_until(c, last);
        if (enter_once(c, r, messages)) any = true;
    }
    looked_at = pg_rows(r) == 0 ? 0 : (int)pg_cell_int(r, 0, MSG_SPAN_ROWS);
    if (looked_at > 0 && messages < c->page.messages) last = pg_cell_int(r, 0, MSG_SPAN_END);
    if (looked_at > messages) any = true;                /* the others wait for their keys */
    c->far_behind = messages == c->page.messages || (looked_at > 0 && looked_at == c->scan);
    c->scan = reading_next_scan(c->scan, c->page.messages, messages);
    if (last > c->highest_read) c->highest_read = last;
    if (last > c->highest) c->highest = last;
    release_reached(&c->release, &c->page, looked_at > messages ? looked_at : messages, c->far_behind ? last : INT64_MAX);
    ingest_begin_behind(c->e->in, last);
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

/* ---- deliveries: of all targets, but those that are read on their own -------------------------- */

static void on_deliveries(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    connector *c = arg;
    const pg_result *r = &results[1];
    int64_t end;
    int messages = 0;

    (void)count; (void)sqlstate;
    c->feeding = false;
    reading_answered(c, &c->page);
    if (e == ERR_CLOSED || c->closing || c->e->closing) return;
    if (!may_go_on(c, e, why)) return;
    if (c->asked_epoch != c->epoch || c->asked_seq != c->delivery_seq) { connector_feed(c); return; }
    failpoint("feed.deliveries_read");
    for (int i = 0, next; i < pg_rows(r) && pg_cell(r, i, MSG_ID).ptr != NULL; i = next) {
        char text[ID_MAX + 1];
        job *j = job_find(c->e, slice_cstr(pg_cell(r, i, MSG_ID), text, sizeof text));
        next = reading_rows_end(r, i);
        messages++;
        c->delivery_seq = pg_cell_int(r, i, MSG_SEQ);
        if (j != NULL) (void)stream_meet(NULL, j);
        else flow_again(reading_job_again(c, r, i, next), pg_cell(r, i, DLV_PACK));
    }
    end = pg_cell_int(r, 0, MSG_SPAN_END);
    if (messages < c->page.messages && end > c->delivery_seq) c->delivery_seq = end;
    c->deliveries_fed = messages < c->page.messages && pg_cell_int(r, 0, MSG_SPAN_ROWS) < c->scan;
    c->scan = reading_next_scan(c->scan, c->page.messages, messages);
    /* So many that other messages are not to wait for them. */
    c->deliveries_read += (size_t)messages;
    if (c->deliveries_read >= BEFORE_MESSAGES) streams_read_from(c, c->delivery_seq);
    connector_feed(c);
}

/* ---- what next ------------------------------------------------------------------------------ */

static feed_span span_from(connector *c, int64_t seq)
{
    if (c->scan < c->page.messages) c->scan = c->page.messages;
    return (feed_span){ .tenant = c->tenant, .connector_id = id_slice(&c->connector_id), .after_seq = seq,
                        .rows = c->page.messages, .scan = c->scan };
}

/* Readings overlap (see above). Those whose deliveries are under way are transformed, and do not come anyhow. */
static void read_messages(connector *c)
{
    slice *held = mem_alloc(c->job_count * sizeof *held), keys[KEYS_MOST];
    feed_span span = span_from(c, c->fed_seq);
    size_t count = 0;

    list_each(l, &c->jobs) {
        const job *j = container_of(l, job, link);
        bool open = j->state == JOB_PARKED || (j->indexed && !j->redelivery && j->state != JOB_DELIVERING);
        if (open && j->seq > c->fed_seq) held[count++] = id_slice(&j->message_id);
    }
    span.not_keys = keys;
    span.not_key_count = aside_keys(&c->aside, keys, KEYS_MOST);
    feed_messages(c->e->feed, &span, held, count, on_messages, c);
    /* What is passed over may come before all that was set aside of its key. */
    if (span.not_key_count > 0) aside_add(&c->aside, keys, span.not_key_count, c->fed_seq + 1, 0);
    free(held);
}

static void read_deliveries(connector *c)
{
    slice urls[URLS_MOST];
    feed_span span = span_from(c, c->delivery_seq);

    c->asked_seq = c->delivery_seq;
    feed_deliveries(c->e->feed, &span, SLICE_NONE, urls, streams_reading(c, urls, URLS_MOST), on_deliveries, c);
}

/* Asked for each message that ends: before room is reckoned. */
static bool has_to_read(const connector *c) { return (!c->deliveries_fed || c->behind) && !c->feeding && reading_may_begin(c); }

static void feed(connector *c, size_t messages)
{
    if (messages == 0) return;
    c->feeding = true;
    reading_ask(c, &c->page, messages);
    c->asked_epoch = c->epoch;
    if (!c->deliveries_fed) {
        read_deliveries(c);
        return;
    }
    if (c->from_start) {
        c->fed_seq = 0;
        parked_drop(c);
        connector_forget_aside(c);
    }
    c->from_start = c->released = false;
    c->readings++;
    c->asked_floor = ingest_floor(c->e->in);
    c->asked_dropped = c->dropped;
    c->asked_seq = c->fed_seq;
    c->heard_behind = INT64_MAX;
    connector_heard_ask(c);
    read_messages(c);
}

/* What is parked must not be in the way of what it waits for, nor what waits in memory in that of what could go. */
static size_t room_to_read(connector *c)
{
    if (!reading_is_roomy(c)) connector_make_room(c);
    if (!connector_has_room(c) && c->parked_count > 0) parked_drop(c);
    return reading_room(c);
}

void connector_feed(connector *c)
{
    size_t room;

    streams_feed(c);
    if (!has_to_read(c)) return;
    room = room_to_read(c);
    if (reading_is_roomy(c)) feed(c, room);      /* a page is to be a large one */
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
    connector_release(c);                /* it may be the one that others are set aside for */
    streams_release(c, false);
    if (!slice_is(pg_cell(&results[1], 0, MSG_STATUS), "pending")) return;
    if (c->behind || !reading_may_begin(c) || !connector_has_room(c)) { connector_reread(c); return; }
    enter_from_row(c, &results[1], 0);
}

void connector_take(engine *e, slice tenant, slice message_id) { feed_message(e->feed, tenant, message_id, on_message, e); }
