/* net/http_server.c -- an HTTP listener and its connections.
 *
 *   OPENING --TLS done--> IDLE --byte--> HEAD --> BODY --> ANSWERING --reply--.
 *                          ^              `------------------^                |
 *                          `-- keep-alive ------------------------------------|
 *                                      close, refused, late: PARTING <--------'
 *
 *   ANSWERING  a handler has the request; what the peer sends meanwhile waits in
 *              `rest`, up to the high-water mark, then the socket is not read
 *   PARTING    nothing more is read; what was written goes out, then it is closed
 *   GONE       the stream is gone; a request that is out lives on by itself
 *
 * Only conn_enter() assigns c->state. Deadlines are absolute: a byte now and then
 * does not move them. One timer serves them all; it may fire too early and then
 * sleeps again. A peer that takes nothing of its answer for `idle_ms` is closed. */
#include <stdlib.h>

#include "net/http_server_conn.h"

#define BACKLOG 1024
#define FLUSH_MS 5000

typedef enum conn_state {
    CONN_OPENING, CONN_IDLE, CONN_HEAD, CONN_BODY, CONN_ANSWERING, CONN_PARTING, CONN_GONE
} conn_state;

struct http_server {
    uv_tcp_t           listener;
    uv_timer_t         drain;
    uv_loop_t         *loop;
    http_server_config config;
    http_handler       handler;
    void              *arg;
    list               conns;
    unsigned           conn_count;
    uint16_t           port;
    bool               closing;
    int                owed;             /* handles that are closing */
    void             (*done)(void *arg);
    void              *done_arg;
    time_t             date_at;
    char               date[48];
};

struct http_conn {
    list          link;
    http_server  *server;
    stream       *stream;                /* NULL once GONE */
    uv_timer_t    timer;
    conn_state    state;
    http_parser  *parser;                /* HEAD and BODY */
    http_request *request;               /* HEAD to ANSWERING */
    buf           rest;                  /* of later requests */
    bool          taking;                /* within conn_take: who called it goes on */
    bool          last, ended;           /* closes after the reply; the peer sends no more */
    uint64_t      since_ms;              /* this state began */
    uint64_t      written, taken_before; /* bytes, for finding a peer that takes none */
};

static void conn_enter(http_conn *c, conn_state next);
static void conn_go_on(http_conn *c);
static void server_settle(http_server *s);

void http_request_free(http_request *r)
{
    if (r == NULL) return;
    http_head_free(&r->head);
    buf_free(&r->body);
    arena_free(&r->mem);
    free(r);
}

static void drop_request(http_conn *c)
{
    http_parser_free(c->parser);
    http_request_free(c->request);
    c->parser = NULL;
    c->request = NULL;
}

/* ---- deadlines --------------------------------------------------------------- */

static uint64_t later(uint64_t since, uint64_t ms) { return ms == 0 ? 0 : since + ms; }

/* On the loop's clock; 0: never. */
static uint64_t conn_due(const http_conn *c)
{
    const http_server_config *config = &c->server->config;

    switch (c->state) {
    case CONN_HEAD: return later(c->since_ms, config->header_ms);
    case CONN_BODY: return later(c->since_ms, config->body_ms);
    case CONN_IDLE: return later(c->since_ms, config->idle_ms);
    case CONN_ANSWERING: case CONN_PARTING:
        return stream_pending(c->stream) == 0 ? 0 : later(c->since_ms, config->idle_ms);
    default: return 0;
    }
}

static void on_deadline(uv_timer_t *t);

static void conn_arm(http_conn *c)
{
    uint64_t due = conn_due(c), now = uv_now(c->server->loop);

    if (due == 0) return;
    due = due > now ? due - now : 0;
    if (!uv_is_active((uv_handle_t *)&c->timer) || uv_timer_get_due_in(&c->timer) > due)
        uv_timer_start(&c->timer, on_deadline, due, 0);
}

static void conn_refuse(http_conn *c, int status, const char *why);

static void on_deadline(uv_timer_t *t)
{
    http_conn *c = container_of(t, http_conn, timer);
    uint64_t due = conn_due(c), now = uv_now(c->server->loop), taken;

    if (due == 0) return;
    if (due > now) { conn_arm(c); return; }
    if (c->state == CONN_HEAD || c->state == CONN_BODY) {
        conn_refuse(c, 408, "the request was not complete in time");
    } else if (stream_pending(c->stream) > 0) {
        taken = c->written - stream_pending(c->stream);
        if (taken == c->taken_before) { stream_close(c->stream, 0); return; }
        c->taken_before = taken;
        c->since_ms = now;
        conn_arm(c);
    } else {
        conn_enter(c, CONN_PARTING);
    }
}

/* ---- writing ----------------------------------------------------------------- */

void http_conn_write(http_conn *c, slice bytes)
{
    if (c->state == CONN_ANSWERING && stream_pending(c->stream) == 0) {
        c->since_ms = uv_now(c->server->loop);           /* from now on it can be slow */
        c->taken_before = c->written;
    }
    c->written += bytes.len;
    stream_write(c->stream, bytes);
    if (stream_pending(c->stream) > 0) conn_arm(c);
}

size_t http_conn_pending(const http_conn *c) { return stream_pending(c->stream); }
bool http_conn_is_last(const http_conn *c) { return c->last || c->server->closing; }
void http_conn_make_last(http_conn *c) { c->last = true; }

slice http_conn_date(http_conn *c)
{
    http_server *s = c->server;
    time_t now = time(NULL);
    struct tm at;

    if (now != s->date_at && gmtime_r(&now, &at) != NULL) {
        /* In the C locale, which nothing in this program changes (RFC 9110, 5.6.7). */
        (void)strftime(s->date, sizeof s->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &at);
        s->date_at = now;
    }
    return slice_of(s->date);
}

static void conn_refuse(http_conn *c, int status, const char *why)
{
    buf out = buf_in(NULL);

    http_head_write(&out, status, http_conn_date(c), "text/plain; charset=utf-8", (int64_t)strlen(why) + 1,
                    SLICE_NONE, "close");
    buf_puts(&out, why);
    buf_putc(&out, '\n');
    http_conn_write(c, buf_slice(&out));
    buf_free(&out);
    conn_enter(c, CONN_PARTING);
}

void http_conn_replied(http_request *r)
{
    http_conn *c = r->conn;

    http_request_free(r);
    if (c == NULL) return;
    c->request = NULL;
    conn_enter(c, http_conn_is_last(c) ? CONN_PARTING : CONN_IDLE);
    conn_go_on(c);
}

/* ---- reading ----------------------------------------------------------------- */

static bool conn_takes(const http_conn *c)
{
    return c->state >= CONN_IDLE && c->state <= CONN_BODY && stream_pending(c->stream) < HTTP_HIGH_WATER;
}

static void begin_request(http_conn *c)
{
    http_request *r = mem_zalloc(sizeof *r);

    r->conn = c;
    r->body = buf_in(NULL);
    c->request = r;
    c->parser = http_parser_open(&r->head, &r->body, c->server->config.header_cap, c->server->config.body_cap);
    conn_enter(c, CONN_HEAD);
}

static void hand_over(http_conn *c)
{
    http_request *r = c->request;
    slice name = stream_peer_name(c->stream);

    http_parser_free(c->parser);
    c->parser = NULL;
    r->extra = buf_in(&r->mem);
    r->peer = arena_dup(&r->mem, stream_peer(c->stream));
    if (name.ptr != NULL) r->peer_name = arena_dup(&r->mem, name);
    if (!r->head.keep_alive) c->last = true;
    conn_enter(c, CONN_ANSWERING);
    c->server->handler(c->server->arg, r);
}

/* Takes requests from the bytes, as long as each is answered at once; what is left
 * then waits in `rest`. */
static void conn_take(http_conn *c, slice bytes)
{
    const char *why;
    int status;

    c->taking = true;
    while (bytes.len > 0 && conn_takes(c)) {
        if (c->state == CONN_IDLE) begin_request(c);
        switch (http_parser_feed(c->parser, &bytes)) {
        case HTTP_MORE:
            break;
        case HTTP_BODY_FOLLOWS:
            conn_enter(c, CONN_BODY);
            if (c->request->head.expects_continue && bytes.len == 0)
                http_conn_write(c, slice_lit("HTTP/1.1 100 Continue\r\n\r\n"));
            break;
        case HTTP_WHOLE:
            hand_over(c);
            break;
        case HTTP_BAD:
            status = http_parser_problem(c->parser, &why);
            conn_refuse(c, status, why);
            break;
        }
    }
    c->taking = false;
    if (c->state < CONN_PARTING) buf_put(&c->rest, bytes);
}

/* After a reply, or once the peer has taken what was sent: the next request. */
static void conn_go_on(http_conn *c)
{
    if (c->taking || c->state == CONN_GONE) return;
    if (c->rest.len > 0 && conn_takes(c)) {
        buf rest = c->rest;

        c->rest = buf_in(NULL);
        conn_take(c, buf_slice(&rest));
        buf_free(&rest);
    }
    if (c->state == CONN_PARTING) {
        if (stream_pending(c->stream) == 0) stream_close(c->stream, FLUSH_MS);
    } else if (c->ended && conn_takes(c)) {
        conn_enter(c, CONN_PARTING);     /* the rest of a request will not come */
    } else if (c->rest.len < HTTP_HIGH_WATER) {
        stream_resume(c->stream);
    } else {
        stream_pause(c->stream);
    }
}

static void on_data(void *arg, slice bytes)
{
    http_conn *c = arg;

    if (c->state >= CONN_PARTING) return;
    if (c->rest.len > 0 || !conn_takes(c)) buf_put(&c->rest, bytes);
    else conn_take(c, bytes);
    conn_go_on(c);
}

/* The request outlives the connection; a stream is told. */
static void let_go(http_conn *c)
{
    http_request *r = c->request;

    if (r == NULL || c->parser != NULL) { drop_request(c); return; }
    c->request = NULL;
    r->conn = NULL;
    if (r->streaming && r->on_gone != NULL) r->on_gone(r->arg);      /* may free it */
}

static void on_ended(void *arg)
{
    http_conn *c = arg;

    c->ended = true;
    if (c->request != NULL && c->request->streaming) {
        let_go(c);
        conn_enter(c, CONN_PARTING);
    } else {
        conn_go_on(c);
    }
}

static void on_drained(void *arg)
{
    http_conn *c = arg;
    http_request *r = c->request;

    if (r != NULL && r->streaming && r->full) {
        r->full = false;
        if (r->on_room != NULL) { r->on_room(r->arg); return; }
    }
    conn_go_on(c);
}

/* ---- states ------------------------------------------------------------------ */

static void conn_enter(http_conn *c, conn_state next)
{
    if (c->state == CONN_GONE || (c->state == CONN_PARTING && next != CONN_GONE)) return;
    c->state = next;
    c->since_ms = uv_now(c->server->loop);
    switch (next) {
    case CONN_PARTING:
        if (c->parser != NULL) drop_request(c);
        buf_free(&c->rest);
        stream_pause(c->stream);
        conn_arm(c);
        conn_go_on(c);
        return;
    case CONN_IDLE:
        if (c->server->closing) { conn_enter(c, CONN_PARTING); return; }
        conn_arm(c);
        return;
    default:
        conn_arm(c);
        return;
    }
}

static void on_open(void *arg) { conn_enter(arg, CONN_IDLE); }

static void on_timer_closed(uv_handle_t *h)
{
    http_conn *c = container_of(h, http_conn, timer);
    http_server *s = c->server;

    list_remove(&c->link);
    free(c);
    s->conn_count--;
    server_settle(s);
}

static void on_closed(void *arg, err e, const err_info *why)
{
    http_conn *c = arg;

    (void)e; (void)why;
    let_go(c);
    conn_enter(c, CONN_GONE);
    c->stream = NULL;
    buf_free(&c->rest);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

/* ---- the listener ------------------------------------------------------------ */

static const stream_events conn_events = {
    .open = on_open, .data = on_data, .drained = on_drained, .closed = on_closed, .ended = on_ended
};

static void on_connection(uv_stream_t *listener, int status)
{
    http_server *s = container_of(listener, http_server, listener);

    if (status < 0) return;              /* the peer is gone again */
    if (s->conn_count >= s->config.max_connections) { stream_refuse(listener); return; }
    http_conn *c = mem_zalloc(sizeof *c);
    c->stream = stream_accept(listener, s->config.tls, &conn_events, c);
    if (c->stream == NULL) { free(c); return; }
    c->server = s;
    c->rest = buf_in(NULL);
    list_push(&s->conns, &c->link);
    s->conn_count++;
    if (uv_timer_init(s->loop, &c->timer) < 0) die("uv_timer_init");
    if (s->config.tls == NULL) on_open(c);
}

static void server_free(http_server *s)
{
    tls_context_drop(s->config.tls);
    free(s);
}

static void on_listener_dropped(uv_handle_t *h) { server_free(container_of(h, http_server, listener)); }

must_check err http_server_open(uv_loop_t *loop, const http_server_config *config,
                                http_handler handler, void *arg, http_server **out, err_info *why)
{
    http_server *s = mem_zalloc(sizeof *s);
    err e;

    s->loop = loop;
    s->config = *config;
    s->config.address = NULL;            /* the caller's, and not needed again */
    if (config->tls != NULL) s->config.tls = tls_context_keep(config->tls);
    s->handler = handler;
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

uint16_t http_server_port(const http_server *s) { return s->port; }
unsigned http_server_connections(const http_server *s) { return s->conn_count; }

static void on_server_handle_closed(uv_handle_t *h)
{
    http_server *s = h->data;
    s->owed--;
    server_settle(s);
}

static void server_settle(http_server *s)
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
    http_server *s = container_of(t, http_server, drain);

    list_each(it, &s->conns) {
        http_conn *c = container_of(it, http_conn, link);
        if (c->state != CONN_GONE) stream_close(c->stream, 0);
    }
}

void http_server_close(http_server *s, uint64_t drain_ms, void (*done)(void *arg), void *arg)
{
    if (s->closing) die("http_server_close: called twice");
    s->closing = true;
    s->done = done;
    s->done_arg = arg;
    s->owed = 2;
    s->listener.data = s->drain.data = s;
    uv_close((uv_handle_t *)&s->listener, on_server_handle_closed);
    uv_timer_start(&s->drain, on_drain_over, drain_ms, 0);
    list_each(it, &s->conns) {
        http_conn *c = container_of(it, http_conn, link);
        if (c->state == CONN_OPENING) stream_close(c->stream, 0);
        else if (c->state == CONN_IDLE) conn_enter(c, CONN_PARTING);
    }
    server_settle(s);
}
