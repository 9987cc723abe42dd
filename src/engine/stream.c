/* engine/stream.c -- reads deliveries back for one target, in their order.
 *
 *   all in memory --one is left to the database--> READING --a page was the end, and none was left since--> at its end
 *        ^                                            ^  `--few are in memory, and there is room: a page--.     |
 *        |                                            `---------------------------------------------------'     |
 *        `---------- what was read is in its lanes: what is parked follows it <---------------------------------'
 *
 * Towards the end, what is newly made is parked in memory: else there would always be a few more to read. */
#include "engine/stream.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/reading.h"

enum { KEYS_MOST = 200, BLOCKED_US = 5000000 };

static stream *of_link(list *l) { return container_of(l, stream, link); }

stream *stream_of(connector *c, slice url)
{
    stream *s;

    list_each(l, &c->streams)
        if (slice_is(url, of_link(l)->url)) return of_link(l);
    s = mem_zalloc(sizeof *s);
    s->conn = c;
    s->url = mem_dup(url);
    s->scope = hash_mix(hash_bytes(id_slice(&c->connector_id)), hash_bytes(url)) | 1;
    list_init(&s->parked);
    s->missed_from = INT64_MAX;
    list_push(&c->streams, &s->link);
    c->stream_count++;
    return s;
}

size_t stream_keeps(const connector *c)
{
    enum { PART = 8, MOST = 256 };
    size_t part = (size_t)c->e->cfg->lane_messages / PART / (c->stream_count == 0 ? 1 : c->stream_count);
    return part < 1 ? 1 : part > MOST ? MOST : part;
}

/* ---- into memory, or not ------------------------------------------------------------------ */

static void stream_feed(stream *s);

/* What is on its way behind there is read again, in its order: it does not enter by itself. */
static void rewind_to(stream *s, int64_t seq)
{
    if (seq > s->cursor) return;
    s->cursor = seq - 1;
    s->rewound = true;
}

void stream_missed(stream *s, int64_t seq)
{
    if (s->conn->epoch == 0) return;     /* who runs it reads it */
    if (!s->reading) {
        s->reading = true;
        s->cursor = seq - 1;
        s->near_end = false;
        s->scan = 0;
    }
    rewind_to(s, seq);
    if (seq < s->missed_from) s->missed_from = seq;
    s->at_end = s->held_up = false;
    stream_feed(s);
}

bool stream_needs_one_aside(const delivery *d)
{
    for (int i = 0; i < d->plan->need_count; i++)
        if (d->j->deliveries[d->plan->needs[i]].state == DELIVERY_ASIDE) return true;
    return false;
}

/* Its place is in the lanes, if the key is free and nothing is needed that cannot come now. */
static void enter(stream *s, delivery *d)
{
    job *j = d->j;

    if (!aside_has(&s->aside, j->keys, j->key_count) && !stream_needs_one_aside(d)) { deliver_enter(d); return; }
    aside_add(&s->aside, j->keys, j->key_count, j->seq, 0);
    waiters_tell(j->conn->e->waiters, &j->message_id, BECAME_HELD);
}

static void park(stream *s, delivery *d)
{
    d->state = DELIVERY_PARKED;
    list_push(&s->parked, &d->link);
    s->parked_count++;
    d->j->open_deliveries++;
    s->held_up = false;
    stream_feed(s);
}

static void unpark(stream *s, delivery *d)
{
    list_remove(&d->link);
    s->parked_count--;
    d->state = DELIVERY_ASIDE;
    d->j->open_deliveries--;
}

static bool is_stuck(const stream *s) { return deliver_is_stuck(s->conn->e->deliveries, slice_of(s->url)); }

static bool may_park(const stream *s) { return (s->near_end || s->at_end) && s->parked_count < stream_keeps(s->conn) && !is_stuck(s); }

void stream_put(delivery *d)
{
    stream *s = d->of;
    job *j = d->j;
    bool own = j->read_for == s;

    d->state = DELIVERY_ASIDE;
    if (j->seq > s->highest) s->highest = j->seq;
    if (j->read_for != NULL && !own) {   /* read for another: here it is in the database, or a reading passed it */
        if (j->passed_over) stream_missed(s, j->seq);
    } else if (!s->reading || (own && j->seq <= s->cursor)) {
        enter(s, d);
    } else if (!j->redelivery && may_park(s)) {
        park(s, d);
    } else {
        /* What is parked was made before: it is to be read before this one. */
        if (!j->redelivery) stream_unpark(s);
        stream_missed(s, j->seq);
    }
}

void stream_unpark(stream *s)
{
    while (!list_empty(&s->parked)) {
        delivery *d = container_of(s->parked.next, delivery, link);
        job *j = d->j;
        unpark(s, d);
        stream_missed(s, j->seq);
        if (j->open_deliveries == 0) flow_left(j);
    }
}

void stream_take_out(delivery *d)
{
    if (d->state == DELIVERY_PARKED) unpark(d->of, d);
}

void stream_freed(stream *s, const slice *keys, size_t count)
{
    if (aside_has(&s->aside, keys, count)) stream_release(s);
    stream_feed(s);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* What was read is in its lanes, or set aside: what is parked follows it. */
static void stream_end(stream *s)
{
    s->reading = s->at_end = false;
    while (!list_empty(&s->parked)) {
        delivery *d = container_of(s->parked.next, delivery, link);
        job *j = d->j;
        unpark(s, d);
        enter(s, d);
        if (j->open_deliveries == 0) flow_left(j);
    }
}

void stream_came(stream *s)
{
    s->coming--;
    if (s->at_end && s->coming == 0) engine_soon(s->conn);
    else stream_feed(s);
}

void streams_end(connector *c)
{
    list_each(l, &c->streams)
        if (of_link(l)->at_end && of_link(l)->coming == 0) stream_end(of_link(l));
}

bool stream_meet(stream *s, job *j)
{
    if (job_is_orphan(j)) return true;
    if (!j->entered) { j->passed_over = true; return false; }
    for (int i = 0; i < j->plan.count; i++) {
        delivery *d = &j->deliveries[i];
        if (s == NULL ? d->of->reading : d->of != s) continue;
        if (d->state != DELIVERY_ASIDE) continue;        /* what is parked follows all that is read */
        if (d->needs_left > 0) aside_add(&d->of->aside, j->keys, j->key_count, j->seq, 0);
        else enter(d->of, d);
    }
    if (j->open_deliveries == 0) flow_left(j);
    return true;
}

/* Until when a message waits that cannot go: what it needs is open, or it is one of so many that failed. 0: it can. */
static int64_t waits_until(const stream *s, const pg_result *r, int row, int end)
{
    bool many = s->failed >= stream_keeps(s->conn) && !aside_is_empty(&s->aside);

    for (; row < end; row++) {
        int64_t next_us = pg_cell_int(r, row, DLV_NEXT_US);
        if (!slice_is(pg_cell(r, row, DLV_URL), s->url)) continue;
        if (pg_cell_bool(r, row, DLV_BLOCKED)) return clock_real_us() + BLOCKED_US;
        if (many && !reading_is_soon(next_us)) return next_us;
    }
    return 0;
}

/* The rows of one message. False: it is in memory and on its way to its lanes, and what comes next is to follow it. */
static bool take(stream *s, const pg_result *r, int row, int end)
{
    connector *c = s->conn;
    char text[ID_MAX + 1];
    int64_t until;
    slice keys[HL7_KEYS_MAX];
    arena mem = { 0 };
    size_t count;
    job *j = job_find(c->e, slice_cstr(pg_cell(r, row, MSG_ID), text, sizeof text));

    if (j != NULL) return stream_meet(s, j);
    until = waits_until(s, r, row, end);
    count = feed_array(&mem, pg_cell(r, row, MSG_KEYS), keys, countof(keys));
    if (until != 0 || aside_has(&s->aside, keys, count)) {
        aside_add(&s->aside, keys, count, pg_cell_int(r, row, MSG_SEQ), until);
    } else {
        j = reading_job_again(c, r, row, end);
        j->read_for = s;
        j->coming = true;
        s->coming++;
        flow_again(j, pg_cell(r, row, DLV_PACK));
    }
    arena_free(&mem);
    return true;
}

static void on_page(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    stream *s = arg;
    connector *c = s->conn;
    const pg_result *r = &results[1];
    int messages = 0;
    bool more;

    (void)count; (void)sqlstate;
    reading_answered(c, &s->page);
    s->asked = false;
    if (e == ERR_CLOSED || c->closing || c->e->closing) return;
    if (!reading_went_well(c, e, why)) {
        if (e == ERR_STORE_LOST) stream_feed(s);
        return;
    }
    if (s->asked_epoch != c->epoch || !s->reading || s->cursor != s->asked_cursor) { stream_feed(s); return; }
    failpoint("stream.page_read");
    for (int i = 0, next; i < pg_rows(r) && pg_cell(r, i, MSG_ID).ptr != NULL; i = next) {
        next = reading_rows_end(r, i);
        if (!take(s, r, i, next)) { s->held_up = true; break; }
        messages++;
        s->cursor = pg_cell_int(r, i, MSG_SEQ);
    }
    more = s->held_up || messages == s->page.messages || pg_cell_int(r, 0, MSG_SPAN_ROWS) == s->scan;
    if (!s->held_up && messages < s->page.messages && pg_cell_int(r, 0, MSG_SPAN_END) > s->cursor)
        s->cursor = pg_cell_int(r, 0, MSG_SPAN_END);
    s->scan = reading_next_scan(s->scan, s->page.messages, messages);
    release_reached(&s->release, &s->page, (int)pg_cell_int(r, 0, MSG_SPAN_ROWS), more ? s->cursor : INT64_MAX);
    s->near_end = !more;
    s->at_end = !more && s->missed_from == INT64_MAX;
    rewind_to(s, s->missed_from);        /* it was not there yet when this was read */
    if (s->at_end && s->coming == 0) engine_soon(c);
    else stream_feed(s);
}

/* Not while enough is here that goes on, for a target that takes it; one that does not needs but something to be
 * tried with. */
static bool has_enough(const stream *s)
{
    size_t here = s->inside + s->coming - s->failed;
    return here >= stream_keeps(s->conn) || (s->inside + s->coming > 0 && is_stuck(s));
}

static void stream_feed(stream *s)
{
    connector *c = s->conn;
    slice keys[KEYS_MOST];
    size_t most = (size_t)c->e->cfg->lane_messages / 4, messages;
    feed_span span;

    if (!s->reading || s->asked || s->at_end || s->held_up || (s->rewound && s->coming > 0) || !reading_may_begin(c)) return;
    if (has_enough(s) || !connector_has_room(c)) connector_make_room(c);
    if (s->asked || has_enough(s)) return;
    messages = reading_room(c);
    if (messages > most) messages = most < 1 ? 1 : most;
    if (messages == 0) return;
    s->asked = true;
    s->rewound = false;
    s->missed_from = INT64_MAX;
    s->asked_epoch = c->epoch;
    s->asked_cursor = s->cursor;
    reading_ask(c, &s->page, messages);
    if (s->scan < s->page.messages) s->scan = s->page.messages;
    span = (feed_span){
        .tenant = c->tenant, .connector_id = id_slice(&c->connector_id), .after_seq = s->cursor, .rows = s->page.messages,
        .scan = s->scan, .not_keys = keys, .not_key_count = aside_keys(&s->aside, keys, KEYS_MOST),
    };
    feed_deliveries(c->e->feed, &span, slice_of(s->url), NULL, 0, on_page, s);
    /* What is passed over may come before all that was set aside of its key. */
    if (span.not_key_count > 0) aside_add(&s->aside, keys, span.not_key_count, s->cursor + 1, 0);
}

void streams_feed(connector *c)
{
    list_each(l, &c->streams) stream_feed(of_link(l));
}

void streams_read_from(connector *c, int64_t seq)
{
    list_each(l, &c->streams)
        if (!of_link(l)->reading) stream_missed(of_link(l), seq + 1);
}

size_t streams_reading(const connector *c, slice *urls, size_t room)
{
    size_t n = 0;

    list_each(l, &c->streams)
        if (of_link(l)->reading && n < room) urls[n++] = slice_of(of_link(l)->url);
    return n;
}

/* ---- what is set aside -------------------------------------------------------------------- */

static bool someone_is_inside(void *arg, slice key)
{
    const stream *s = arg;
    return deliver_lane_is_used(s->conn->e->deliveries, s->scope, key);
}

void stream_release(stream *s)
{
    int64_t from;

    if (aside_is_empty(&s->aside) || s->conn->epoch == 0 || !release_may_begin(&s->release)) return;
    from = aside_release(&s->aside, someone_is_inside, s);
    if (from == INT64_MAX) return;
    s->asked_cursor = -1;                /* a page under way has passed some of them over */
    release_began(&s->release, s->highest);
    stream_missed(s, from);
}

void streams_release(connector *c, bool due)
{
    int64_t now_us = clock_real_us();

    list_each(l, &c->streams) {
        stream *s = of_link(l);
        if (!due || s->release.due || (s->aside.wake_us != 0 && now_us >= s->aside.wake_us)) stream_release(s);
    }
}

static bool is_behind(const stream *s) { return s->reading || !aside_is_empty(&s->aside); }

bool streams_wait(const connector *c)
{
    list_each(l, &c->streams)
        if (is_behind(of_link(l))) return true;
    return false;
}

void stream_tell(stream *s, bool behind)
{
    if (s->told == behind) return;
    s->told = behind;
    log_line(LOG_INFO, behind ? "stream.behind" : "stream.caught_up", log_id("connectorId", id_slice(&s->conn->connector_id)),
             log_id("target", slice_of(s->url)));
}

void streams_tick(connector *c)
{
    streams_release(c, true);
    list_each(l, &c->streams) {
        stream *s = of_link(l);
        if (!is_behind(s) && !s->release.under_way) stream_tell(s, false);
        s->held_up = false;
        stream_feed(s);
    }
}

/* ---- life ------------------------------------------------------------------------------------- */

void streams_reset(connector *c)
{
    list_each(l, &c->streams) {
        stream *s = of_link(l);
        aside_clear(&s->aside);
        s->reading = s->at_end = s->near_end = s->held_up = s->rewound = false;
        s->release = (struct release){ 0 };
        s->cursor = s->highest = 0;
    }
}

void streams_free(connector *c)
{
    for (list *l; (l = list_pop(&c->streams)) != NULL;) {
        stream *s = of_link(l);
        aside_clear(&s->aside);
        free(s->url);
        free(s);
    }
}
