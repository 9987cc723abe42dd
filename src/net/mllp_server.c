/* net/mllp_server.c -- an MLLP listener and its connections.
 *
 *   OPENING --TLS done--> READING <--> HOLDING
 *                            `----------'--peer ended, late, answered with `end`,
 *                                          server closes--> ENDING --> GONE -> freed
 *
 *   READING  the socket is read
 *   HOLDING  it is not: too many frames wait for answers, the server is paused, or
 *            the peer does not read what it is answered
 *   ENDING   nothing more is read; what was read is answered, then it is closed
 *   GONE     the stream is gone; tickets that are out keep the structure alive
 *
 * Only conn_enter() assigns c->state. Answers leave in the order of the frames:
 * `tickets` holds those that are out, oldest first, and an answer that comes early
 * waits in its ticket. What one read brought beyond `max_in_flight` is copied to
 * `waiting`, which the read buffer's size and one frame's cap bound.
 *
 * One timer serves all deadlines of a connection. It is not moved for every byte:
 * when it fires it looks whether the deadline has moved on, and if so sleeps again. */
#include "net/mllp_server.h"

#include <stdlib.h>

#define BACKLOG 1024
#define UNREAD_CAP ((size_t)64 << 10)    /* answers that a peer has not read */
#define FLUSH_MS 5000

typedef enum conn_state { CONN_OPENING, CONN_READING, CONN_HOLDING, CONN_ENDING, CONN_GONE } conn_state;

struct mllp_server {
    uv_tcp_t           listener;
    uv_timer_t         drain;
    uv_loop_t         *loop;
    mllp_server_config config;
    mllp_server_events events;
    void              *arg;
    list               conns;
    unsigned           conn_count;
    uint64_t           refused;
    uint16_t           port;
    bool               paused, closing;
    int                owed;             /* handles that are closing */
    void             (*done)(void *arg);
    void              *done_arg;
};

struct mllp_conn {
    list         link;
    mllp_server *server;                 /* NULL once GONE and its timer is closed */
    stream      *stream;                 /* NULL once GONE */
    uv_timer_t   timer;
    conn_state   state;
    mllp_codec   codec;
    list         tickets, waiting;
    unsigned     in_flight;              /* tickets that are out and belong to this list */
    unsigned     refs;                   /* stream, timer, tickets */
    bool         handing;                /* within events.frame: who called it goes on */
    bool         last_sent;              /* an answer with `end` was sent: nothing follows it */
    bool         given_up;               /* nor is anything more handed over */
    const char  *late;                   /* the deadline that ended it */
    uint64_t     id;
    uint64_t     last_ms, frame_ms;      /* the last byte or answer; the open frame's first byte */
    char        *peer_name;
    char         peer[INET6_ADDRSTRLEN];
};

struct mllp_ticket {
    list       link;
    mllp_conn *conn;
    buf        ack;
    bool       answered, end;
};

typedef struct held_frame {
    list      link;
    mllp_flaw flaw;
    size_t    len;
    char      bytes[];
} held_frame;

static void conn_enter(mllp_conn *c, conn_state next);
static void conn_flow(mllp_conn *c);
static void server_settle(mllp_server *s);

static uint64_t next_conn_id(void)
{
    static _Atomic uint64_t last;
    return ++last;
}

static void conn_unref(mllp_conn *c)
{
    if (--c->refs > 0) return;
    free(c->peer_name);
    free(c);
}

/* ---- deadlines ------------------------------------------------------------ */

/* When this connection is late, on the loop's clock; 0: never. While frames wait
 * for our own answer, or we do not read, the peer cannot be late. */
static uint64_t conn_due(const mllp_conn *c)
{
    const mllp_server_config *config = &c->server->config;

    if (c->state != CONN_READING) return 0;
    if (mllp_codec_busy(&c->codec)) return config->frame_ms == 0 ? 0 : c->frame_ms + config->frame_ms;
    return config->idle_ms == 0 || c->in_flight > 0 ? 0 : c->last_ms + config->idle_ms;
}

static void on_deadline(uv_timer_t *t);

static void conn_arm(mllp_conn *c)
{
    uint64_t due = conn_due(c), now = uv_now(c->server->loop);

    if (due == 0) return;                /* what fires too early does no harm */
    due = due > now ? due - now : 0;
    if (!uv_is_active((uv_handle_t *)&c->timer) || uv_timer_get_due_in(&c->timer) > due)
        uv_timer_start(&c->timer, on_deadline, due, 0);
}

static void on_frame(void *arg, mllp_flaw flaw, slice bytes);

static void on_deadline(uv_timer_t *t)
{
    mllp_conn *c = container_of(t, mllp_conn, timer);
    uint64_t due = conn_due(c);

    if (due == 0) return;
    if (due > uv_now(c->server->loop)) { conn_arm(c); return; }
    if (mllp_codec_busy(&c->codec)) {
        c->late = "a frame was not complete in time";
        mllp_codec_end(&c->codec, on_frame, c);
    } else {
        c->late = "nothing came for longer than the idle time";
    }
    conn_enter(c, CONN_ENDING);
}

/* ---- frames in ------------------------------------------------------------ */

static bool conn_is_full(const mllp_conn *c)
{
    return c->in_flight >= c->server->config.max_in_flight || c->server->paused
        || stream_pending(c->stream) >= UNREAD_CAP;
}

static void hand_over(mllp_conn *c, mllp_flaw flaw, slice bytes)
{
    mllp_ticket *t = mem_zalloc(sizeof *t);

    t->conn = c;
    t->ack = buf_in(NULL);
    list_push(&c->tickets, &t->link);
    c->in_flight++;
    c->refs++;
    c->handing = true;
    c->server->events.frame(c->server->arg, t, flaw, bytes);
    c->handing = false;
}

static void on_frame(void *arg, mllp_flaw flaw, slice bytes)
{
    mllp_conn *c = arg;

    if (c->last_sent || c->given_up) return;
    if (list_empty(&c->waiting) && !conn_is_full(c)) {
        hand_over(c, flaw, bytes);
        return;
    }
    held_frame *held = mem_alloc(sizeof *held + bytes.len);
    held->flaw = flaw;
    held->len = bytes.len;
    if (bytes.len > 0) memcpy(held->bytes, bytes.ptr, bytes.len);
    list_push(&c->waiting, &held->link);
}

static void hand_over_waiting(mllp_conn *c, bool all)
{
    while (!list_empty(&c->waiting) && !c->last_sent && (all || !conn_is_full(c))) {
        held_frame *held = container_of(list_pop(&c->waiting), held_frame, link);
        hand_over(c, held->flaw, (slice){ held->bytes, held->len });
        free(held);
    }
}

static void drop_waiting(mllp_conn *c)
{
    list_each_safe(it, &c->waiting) free(container_of(it, held_frame, link));
    list_init(&c->waiting);
}

static void on_data(void *arg, slice bytes)
{
    mllp_conn *c = arg;
    uint64_t now = uv_now(c->server->loop);
    bool was_busy = mllp_codec_busy(&c->codec);

    if (c->state != CONN_READING && c->state != CONN_HOLDING) return;
    c->last_ms = now;
    /* A frame began in these bytes unless one goes on that began before; that
     * one cannot end and another begin without an FS or VT among the bytes. */
    if (!was_busy || memchr(bytes.ptr, '\x1c', bytes.len) != NULL || memchr(bytes.ptr, '\x0b', bytes.len) != NULL)
        c->frame_ms = now;
    c->refs++;
    mllp_codec_feed(&c->codec, bytes, on_frame, c);
    conn_flow(c);
    conn_unref(c);
}

static void on_ended(void *arg)
{
    mllp_conn *c = arg;

    if (c->state != CONN_ENDING) mllp_codec_end(&c->codec, on_frame, c);
    conn_enter(c, CONN_ENDING);
}

static void on_drained(void *arg) { conn_flow(arg); }

/* ---- answers out ---------------------------------------------------------- */

static void ticket_free(mllp_ticket *t)
{
    mllp_conn *c = t->conn;

    list_remove(&t->link);
    c->in_flight--;
    buf_free(&t->ack);
    free(t);
    conn_unref(c);
}

/* Sends what stands answered at the front, in one write, and what is there of the first that is
 * not. True: the connection ends after it. */
static bool send_answers(mllp_conn *c)
{
    buf wire = buf_in(NULL);
    bool end = false;

    list_each_safe(it, &c->tickets) {
        mllp_ticket *t = container_of(it, mllp_ticket, link);
        if (end || (!t->answered && t->ack.len == 0)) break;
        if (wire.len == 0) {             /* mostly the only one: its bytes are sent as they are */
            buf_free(&wire);
            wire = t->ack;
            t->ack = buf_in(NULL);
        } else {
            buf_put(&wire, buf_slice(&t->ack));
            buf_clear(&t->ack);
        }
        if (!t->answered) break;
        end = t->end;
        ticket_free(t);
        c->last_ms = uv_now(c->server->loop);            /* now it is the peer's turn */
    }
    if (wire.len > 0) stream_write(c->stream, buf_slice(&wire));
    buf_free(&wire);
    return end;
}

void mllp_answer(mllp_ticket *t, slice ack, bool end)
{
    mllp_conn *c = t->conn;

    if (t->answered) die("mllp_answer: a ticket was answered twice");
    t->answered = true;
    t->end = end;
    if (c->state == CONN_GONE) { ticket_free(t); return; }
    if (ack.len > 0) mllp_write(&t->ack, ack);
    c->refs++;
    if (&t->link == c->tickets.next && send_answers(c)) {
        c->last_sent = true;
        conn_enter(c, CONN_ENDING);
    }
    conn_flow(c);
    conn_unref(c);
}

void mllp_answer_part(mllp_ticket *t, slice ack)
{
    mllp_conn *c = t->conn;

    if (c->state == CONN_GONE) return;
    mllp_write(&t->ack, ack);
    if (&t->link == c->tickets.next) (void)send_answers(c);
}

void mllp_give_up(mllp_ticket *t)
{
    t->conn->given_up = true;
    drop_waiting(t->conn);
}

uint64_t mllp_conn_id(const mllp_conn *c) { return c->id; }
slice mllp_conn_peer(const mllp_conn *c) { return slice_of(c->peer); }
slice mllp_conn_peer_name(const mllp_conn *c) { return slice_of(c->peer_name); }
uint64_t mllp_ticket_conn(const mllp_ticket *t) { return t->conn->id; }
slice mllp_ticket_peer(const mllp_ticket *t) { return mllp_conn_peer(t->conn); }
slice mllp_ticket_peer_name(const mllp_ticket *t) { return mllp_conn_peer_name(t->conn); }

/* ---- states --------------------------------------------------------------- */

/* Hands over what waits, then reads, holds or closes as room and answers allow. */
static void conn_flow(mllp_conn *c)
{
    if (c->state == CONN_GONE || c->state == CONN_OPENING || c->handing) return;
    hand_over_waiting(c, false);
    if (c->state == CONN_ENDING) {
        if (c->last_sent || (c->in_flight == 0 && list_empty(&c->waiting))) stream_close(c->stream, FLUSH_MS);
    } else {
        conn_enter(c, conn_is_full(c) || !list_empty(&c->waiting) ? CONN_HOLDING : CONN_READING);
    }
}

static void conn_enter(mllp_conn *c, conn_state next)
{
    conn_state before = c->state;

    if (before == CONN_GONE || (before == CONN_ENDING && next != CONN_GONE)) return;
    c->state = next;
    switch (next) {
    case CONN_OPENING:
        return;
    case CONN_READING:
        if (before != CONN_READING) {
            c->last_ms = c->frame_ms = uv_now(c->server->loop);
            stream_resume(c->stream);
        }
        conn_arm(c);
        return;
    case CONN_HOLDING:
        if (before != CONN_HOLDING) stream_pause(c->stream);
        return;
    case CONN_ENDING:
        stream_pause(c->stream);
        conn_flow(c);
        return;
    case CONN_GONE:
        return;
    }
}

static void on_open(void *arg)
{
    mllp_conn *c = arg;
    slice name = stream_peer_name(c->stream);

    if (name.ptr != NULL) c->peer_name = mem_dup(name);
    if (c->server->events.opened != NULL) c->server->events.opened(c->server->arg, c);
    conn_enter(c, conn_is_full(c) ? CONN_HOLDING : CONN_READING);
}

static void on_timer_closed(uv_handle_t *h)
{
    mllp_conn *c = container_of(h, mllp_conn, timer);
    mllp_server *s = c->server;

    list_remove(&c->link);
    s->conn_count--;
    c->server = NULL;
    conn_unref(c);
    server_settle(s);
}

/* What was read whole, and the piece of a frame that was cut off, is still handed
 * over: an engine that has it answers nobody, but keeps it. */
static void on_closed(void *arg, err e, const err_info *why)
{
    mllp_conn *c = arg;
    mllp_server *s = c->server;
    err_info late;

    if (c->state == CONN_READING || c->state == CONN_HOLDING) mllp_codec_end(&c->codec, on_frame, c);
    if (!s->closing) hand_over_waiting(c, true);
    drop_waiting(c);
    if (c->late != NULL && e == ERR_OK) {
        e = err_set(&late, ERR_TIMEOUT, "%s: %s", c->peer, c->late);
        why = &late;
    }
    if (s->events.closed != NULL) s->events.closed(s->arg, c, e, why);
    mllp_codec_free(&c->codec);
    conn_enter(c, CONN_GONE);
    c->stream = NULL;
    list_each_safe(it, &c->tickets) {
        mllp_ticket *t = container_of(it, mllp_ticket, link);
        if (t->answered) ticket_free(t);
    }
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    conn_unref(c);
}

/* ---- the listener --------------------------------------------------------- */

static const stream_events conn_events = {
    .open = on_open, .data = on_data, .drained = on_drained, .closed = on_closed, .ended = on_ended
};

static void on_connection(uv_stream_t *listener, int status)
{
    mllp_server *s = container_of(listener, mllp_server, listener);

    if (status < 0) return;              /* the peer is gone again */
    if (s->conn_count >= s->config.max_connections) {
        s->refused++;
        stream_refuse(listener);
        return;
    }
    mllp_conn *c = mem_zalloc(sizeof *c);
    c->stream = stream_accept(listener, s->config.tls, &conn_events, c);
    if (c->stream == NULL) { free(c); return; }
    c->server = s;
    c->id = next_conn_id();
    c->refs = 2;                         /* the stream and the timer */
    list_init(&c->tickets);
    list_init(&c->waiting);
    list_push(&s->conns, &c->link);
    s->conn_count++;
    mllp_codec_init(&c->codec, s->config.frame_cap);
    (void)slice_cstr(stream_peer(c->stream), c->peer, sizeof c->peer);
    if (uv_timer_init(s->loop, &c->timer) < 0) die("uv_timer_init");
    if (s->config.tls == NULL) on_open(c);
}

static void server_free(mllp_server *s)
{
    tls_context_drop(s->config.tls);
    free(s);
}

static void on_listener_dropped(uv_handle_t *h) { server_free(container_of(h, mllp_server, listener)); }

must_check err mllp_server_open(uv_loop_t *loop, const mllp_server_config *config,
                                const mllp_server_events *events, void *arg,
                                mllp_server **out, err_info *why)
{
    mllp_server *s = mem_zalloc(sizeof *s);
    err e;

    s->loop = loop;
    s->config = *config;
    s->config.address = NULL;            /* the caller's, and not needed again */
    if (s->config.max_in_flight == 0) s->config.max_in_flight = 1;
    if (config->tls != NULL) s->config.tls = tls_context_keep(config->tls);
    s->events = *events;
    s->arg = arg;
    list_init(&s->conns);
    e = net_listen(loop, &s->listener, config->address, config->port, BACKLOG, on_connection, &s->port, why);
    if (e != ERR_OK) {
        uv_close((uv_handle_t *)&s->listener, on_listener_dropped);
        return e;
    }
    if (uv_timer_init(loop, &s->drain) < 0) die("uv_timer_init");
    *out = s;
    return ERR_OK;
}

uint16_t mllp_server_port(const mllp_server *s) { return s->port; }
unsigned mllp_server_connections(const mllp_server *s) { return s->conn_count; }
uint64_t mllp_server_refused(const mllp_server *s) { return s->refused; }

void mllp_server_pause(mllp_server *s)
{
    s->paused = true;
    list_each(it, &s->conns) conn_flow(container_of(it, mllp_conn, link));
}

void mllp_server_resume(mllp_server *s)
{
    s->paused = false;
    list_each(it, &s->conns) conn_flow(container_of(it, mllp_conn, link));
}

static void on_server_handle_closed(uv_handle_t *h)
{
    mllp_server *s = h->data;
    s->owed--;
    server_settle(s);
}

static void server_settle(mllp_server *s)
{
    if (!s->closing || s->conn_count > 0) return;
    if (!uv_is_closing((uv_handle_t *)&s->drain)) {
        uv_close((uv_handle_t *)&s->drain, on_server_handle_closed);
    } else if (s->owed == 0) {
        if (s->done != NULL) s->done(s->done_arg);
        server_free(s);
    }
}

static void on_drain_over(uv_timer_t *t)
{
    mllp_server *s = container_of(t, mllp_server, drain);
    list_each(it, &s->conns) {
        mllp_conn *c = container_of(it, mllp_conn, link);
        if (c->state != CONN_GONE) stream_close(c->stream, 0);
    }
}

void mllp_server_close(mllp_server *s, uint64_t drain_ms, void (*done)(void *arg), void *arg)
{
    if (s->closing) die("mllp_server_close: called twice");
    s->closing = true;
    s->paused = false;
    s->done = done;
    s->done_arg = arg;
    s->owed = 2;
    s->listener.data = s->drain.data = s;
    uv_close((uv_handle_t *)&s->listener, on_server_handle_closed);
    uv_timer_start(&s->drain, on_drain_over, drain_ms, 0);
    list_each(it, &s->conns) {
        mllp_conn *c = container_of(it, mllp_conn, link);
        if (c->state == CONN_OPENING) stream_close(c->stream, 0);
        else conn_enter(c, CONN_ENDING);
    }
    server_settle(s);
}
