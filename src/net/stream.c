/* net/stream.c -- a TCP or TLS byte stream as a state machine on libuv.
 *
 *   RESOLVING -> CONNECTING ---------.            accepted, clear: OPEN at once
 *                 |  ^ next address  |            accepted, TLS:   HANDSHAKE
 *                 `--'               v
 *                           HANDSHAKE (TLS) -> OPEN -> FLUSHING -> CLOSED -> freed
 *
 * Any state may go to CLOSED. Only enter() assigns s->state. FLUSHING: what was
 * written goes out, then our FIN, then what the peer still sends is discarded for
 * a moment, since closing a socket with unread bytes makes the kernel send a
 * reset, which can overtake the answer that explains why we closed.
 *
 * Memory: all streams of a thread share one read buffer, so an idle stream is this
 * structure alone (below 1 kB). `owed` counts the callbacks that libuv owes us for
 * handles and name lookup; the last one reports `closed` and frees. Requests on
 * the socket need no count: libuv ends them before the handle's own callback. */
#include "net/stream.h"

#include <stdio.h>
#include <stdlib.h>

#define READ_ROOM ((size_t)64 << 10)
#define HANDSHAKE_MS 10000
#define LINGER_MS 1000
#define KEEPALIVE_S 60

typedef enum stream_state {
    STREAM_RESOLVING, STREAM_CONNECTING, STREAM_HANDSHAKE, STREAM_OPEN, STREAM_FLUSHING, STREAM_CLOSED
} stream_state;

/* What is only needed while a connection is being made. */
typedef struct dialing {
    char              host[256];
    uint16_t          port;
    uint64_t          timeout_ms;
    uv_getaddrinfo_t  resolve;
    uv_connect_t      connect;
    struct addrinfo  *found, *next;
    bool              resolving;
} dialing;

struct stream {
    uv_tcp_t      tcp;
    uv_timer_t    timer;
    stream_events events;
    void         *arg;
    tls          *tls;
    dialing      *dial;
    err_info     *why;                   /* what broke; NULL: nothing did */
    size_t        pending;
    uint64_t      flush_ms;
    stream_state  state;
    unsigned char owed;
    bool          client, paused, peer_ended, mute;
    char          peer[INET6_ADDRSTRLEN];
};

typedef struct write_job {
    uv_write_t req;
    stream    *of;
    size_t     len;
    char       bytes[];
} write_job;

/* Shared by all streams of a thread: read, handed over, and free again before
 * the loop goes on. */
static _Thread_local char read_room[READ_ROOM];

static void enter(stream *s, stream_state next);

/* ---- the end -------------------------------------------------------------- */

static void settle(stream *s)
{
    if (--s->owed > 0) return;
    if (!s->mute)
        s->events.closed(s->arg, s->why == NULL ? ERR_OK : s->why->code, s->why);
    if (s->dial != NULL && s->dial->found != NULL) uv_freeaddrinfo(s->dial->found);
    free(s->dial);
    tls_free(s->tls);
    free(s->why);
    free(s);
}

static void try_address(stream *s);

static void on_tcp_closed(uv_handle_t *h)
{
    stream *s = container_of(h, stream, tcp);

    if (s->state == STREAM_CONNECTING) {
        if (uv_tcp_init(s->timer.loop, &s->tcp) < 0) die("uv_tcp_init");
        try_address(s);
    } else {
        settle(s);
    }
}

static void on_timer_closed(uv_handle_t *h) { settle(container_of(h, stream, timer)); }

/* Keeps the first reason and goes to `next`. Once we are closing by ourselves,
 * what breaks is of interest only if written bytes were lost. */
static void fail(stream *s, stream_state next, const err_info *why)
{
    bool of_interest = s->state != STREAM_FLUSHING || s->pending > 0;

    if (s->state == next || s->state == STREAM_CLOSED) return;
    if (s->why == NULL && of_interest) {
        s->why = mem_alloc(sizeof *s->why);
        *s->why = *why;
    }
    enter(s, next);
}

static void fail_uv(stream *s, const char *doing, int status)
{
    err_info why;
    (void)err_set(&why, ERR_NET, "%s %s: %s", doing, s->peer, uv_strerror(status));
    fail(s, STREAM_CLOSED, &why);
}

/* The alert that says why is on its way, so the peer gets a moment to read it. */
static void fail_tls(stream *s, const err_info *why)
{
    s->flush_ms = LINGER_MS;
    fail(s, STREAM_FLUSHING, why);
}

static void on_timer(uv_timer_t *t)
{
    stream *s = container_of(t, stream, timer);
    err_info why;

    if (s->state == STREAM_FLUSHING)
        (void)err_set(&why, ERR_TIMEOUT, "%s did not take %zu bytes in time", s->peer, s->pending);
    else if (s->dial == NULL)
        (void)err_set(&why, ERR_TIMEOUT, "TLS handshake with %s not done within %d ms", s->peer, HANDSHAKE_MS);
    else
        (void)err_set(&why, ERR_TIMEOUT, "no connection to %s:%u within %llu ms", s->dial->host,
                      s->dial->port, (unsigned long long)s->dial->timeout_ms);
    fail(s, STREAM_CLOSED, &why);
}

/* ---- writing -------------------------------------------------------------- */

static void on_written(uv_write_t *req, int status)
{
    write_job *job = container_of(req, write_job, req);
    stream *s = job->of;

    if (status < 0) fail_uv(s, "writing to", status);
    s->pending -= job->len;
    free(job);
    if (status < 0 || s->state == STREAM_CLOSED) return;
    if (s->pending == 0 && s->state == STREAM_OPEN && s->events.drained != NULL) s->events.drained(s->arg);
}

/* Most writes are an ACK that the socket takes at once; only the rest is copied. */
static void send_wire(stream *s, slice wire)
{
    if (wire.len == 0 || s->state == STREAM_CLOSED) return;
    if (s->pending == 0) {
        uv_buf_t whole = uv_buf_init((char *)(uintptr_t)wire.ptr,
                                     wire.len > INT32_MAX ? INT32_MAX : (unsigned)wire.len);
        int n = uv_try_write((uv_stream_t *)&s->tcp, &whole, 1);
        if (n > 0) wire = slice_from(wire, (size_t)n);
        else if (n < 0 && n != UV_EAGAIN) { fail_uv(s, "writing to", n); return; }
    }
    while (wire.len > 0) {
        size_t len = wire.len > INT32_MAX ? INT32_MAX : wire.len;
        write_job *job = mem_alloc(sizeof *job + len);

        job->of = s;
        job->len = len;
        memcpy(job->bytes, wire.ptr, len);
        uv_buf_t rest = uv_buf_init(job->bytes, (unsigned)len);
        int status = uv_write(&job->req, (uv_stream_t *)&s->tcp, &rest, 1, on_written);
        if (status < 0) { free(job); fail_uv(s, "writing to", status); return; }
        s->pending += len;
        wire = slice_from(wire, len);
    }
}

void stream_write(stream *s, slice bytes)
{
    if (s->state == STREAM_FLUSHING || s->state == STREAM_CLOSED) return;
    if (s->state != STREAM_OPEN) die("stream_write before the stream is open");
    if (s->tls == NULL) { send_wire(s, bytes); return; }

    buf wire = buf_in(NULL);
    err_info why;
    err e = tls_send(s->tls, bytes, &wire, &why);
    send_wire(s, buf_slice(&wire));
    buf_free(&wire);
    if (e != ERR_OK) fail_tls(s, &why);
}

size_t stream_pending(const stream *s) { return s->pending; }

/* ---- reading -------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *room)
{
    (void)h; (void)hint;
    *room = uv_buf_init(read_room, READ_ROOM);
}

static void peer_ended(stream *s)
{
    s->peer_ended = true;
    uv_read_stop((uv_stream_t *)&s->tcp);
    if (s->state == STREAM_HANDSHAKE) {
        err_info why;
        (void)err_set(&why, ERR_TLS, "%s closed the connection during the TLS handshake", s->peer);
        fail(s, STREAM_CLOSED, &why);
    } else if (s->state == STREAM_OPEN && s->events.ended != NULL) {
        s->events.ended(s->arg);
    } else {
        enter(s, STREAM_CLOSED);
    }
}

static void receive_tls(stream *s, slice records)
{
    buf plain = buf_in(NULL), wire = buf_in(NULL);
    bool closed = false;
    err_info why;
    err e = tls_receive(s->tls, records, &plain, &wire, &closed, &why);

    send_wire(s, buf_slice(&wire));
    if (s->state == STREAM_HANDSHAKE && tls_ready(s->tls)) enter(s, STREAM_OPEN);
    if (s->state == STREAM_OPEN && plain.len > 0) s->events.data(s->arg, buf_slice(&plain));
    if (e != ERR_OK) fail_tls(s, &why);
    else if (closed && s->state == STREAM_OPEN) peer_ended(s);
    buf_free(&plain);
    buf_free(&wire);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *room)
{
    stream *s = container_of(h, stream, tcp);

    if (n == 0 || s->state == STREAM_CLOSED) return;     /* 0: EAGAIN, says libuv */
    if (n == UV_EOF) peer_ended(s);
    else if (n < 0) fail_uv(s, "reading from", (int)n);
    else if (s->state == STREAM_FLUSHING) return;
    else if (s->tls != NULL) receive_tls(s, (slice){ room->base, (size_t)n });
    else s->events.data(s->arg, (slice){ room->base, (size_t)n });
}

static void read_on(stream *s)
{
    int status = uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
    if (status < 0 && status != UV_EALREADY) fail_uv(s, "reading from", status);
}

void stream_pause(stream *s)
{
    s->paused = true;
    if (s->state == STREAM_OPEN) uv_read_stop((uv_stream_t *)&s->tcp);
}

void stream_resume(stream *s)
{
    s->paused = false;
    if (s->state == STREAM_OPEN && !s->peer_ended) read_on(s);
}

/* ---- states --------------------------------------------------------------- */

static void read_peer(stream *s)
{
    struct sockaddr_storage at;
    int len = sizeof at;

    if (uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&at, &len) < 0 ||
        uv_ip_name((struct sockaddr *)&at, s->peer, sizeof s->peer) < 0)
        (void)snprintf(s->peer, sizeof s->peer, "the peer");
}

static void on_shut(uv_shutdown_t *req, int status)
{
    stream *s = req->data;

    free(req);
    if (s->state == STREAM_CLOSED) return;
    if (status < 0 || s->peer_ended) { enter(s, STREAM_CLOSED); return; }
    if (uv_timer_get_due_in(&s->timer) > LINGER_MS) uv_timer_start(&s->timer, on_timer, LINGER_MS, 0);
    read_on(s);
}

static void flush(stream *s)
{
    uv_shutdown_t *req = mem_alloc(sizeof *req);

    uv_read_stop((uv_stream_t *)&s->tcp);
    uv_timer_start(&s->timer, on_timer, s->flush_ms, 0);
    if (s->tls != NULL && s->why == NULL) {
        buf wire = buf_in(NULL);
        tls_close(s->tls, &wire);
        send_wire(s, buf_slice(&wire));
        buf_free(&wire);
    }
    req->data = s;
    if (s->state != STREAM_FLUSHING || uv_shutdown(req, (uv_stream_t *)&s->tcp, on_shut) < 0) {
        free(req);
        enter(s, STREAM_CLOSED);
    }
}

static void enter(stream *s, stream_state next)
{
    err_info why;

    if (s->state == STREAM_CLOSED) return;               /* final */
    s->state = next;
    switch (next) {
    case STREAM_RESOLVING:
        return;
    case STREAM_CONNECTING:
        s->dial->next = s->dial->found;
        try_address(s);
        return;
    case STREAM_HANDSHAKE:
        read_on(s);
        if (s->client) {
            buf wire = buf_in(NULL);
            err e = tls_start(s->tls, &wire, &why);
            send_wire(s, buf_slice(&wire));
            buf_free(&wire);
            if (e != ERR_OK) fail_tls(s, &why);
        } else {
            uv_timer_start(&s->timer, on_timer, HANDSHAKE_MS, 0);
        }
        return;
    case STREAM_OPEN:
        uv_timer_stop(&s->timer);
        if (s->dial != NULL) {
            uv_freeaddrinfo(s->dial->found);
            free(s->dial);
            s->dial = NULL;
        }
        if (s->paused) uv_read_stop((uv_stream_t *)&s->tcp);
        else read_on(s);
        if ((s->client || s->tls != NULL) && s->events.open != NULL) s->events.open(s->arg);
        return;
    case STREAM_FLUSHING:
        flush(s);
        return;
    case STREAM_CLOSED:
        if (!uv_is_closing((uv_handle_t *)&s->tcp)) uv_close((uv_handle_t *)&s->tcp, on_tcp_closed);
        uv_close((uv_handle_t *)&s->timer, on_timer_closed);
        if (s->dial != NULL && s->dial->resolving) (void)uv_cancel((uv_req_t *)&s->dial->resolve);
        return;
    }
}

void stream_close(stream *s, uint64_t flush_ms)
{
    if (flush_ms == 0 || s->state < STREAM_OPEN) { enter(s, STREAM_CLOSED); return; }
    if (s->state != STREAM_OPEN) return;
    s->flush_ms = flush_ms;
    enter(s, STREAM_FLUSHING);
}

slice stream_peer(const stream *s) { return slice_of(s->peer); }

slice stream_peer_name(const stream *s)
{
    return s->tls == NULL ? SLICE_NONE : tls_peer_name(s->tls);
}

/* ---- accepting and connecting --------------------------------------------- */

static stream *stream_new(uv_loop_t *loop, const stream_events *events, void *arg)
{
    stream *s = mem_zalloc(sizeof *s);

    s->events = *events;
    s->arg = arg;
    s->owed = 2;                         /* the two handles */
    if (uv_tcp_init(loop, &s->tcp) < 0 || uv_timer_init(loop, &s->timer) < 0) die("uv_tcp_init");
    return s;
}

static void set_options(stream *s)
{
    (void)uv_tcp_nodelay(&s->tcp, 1);
    (void)uv_tcp_keepalive(&s->tcp, 1, KEEPALIVE_S);
    read_peer(s);
}

stream *stream_accept(uv_stream_t *listener, tls_context *tls_or_null,
                      const stream_events *events, void *arg)
{
    stream *s = stream_new(listener->loop, events, arg);

    if (uv_accept(listener, (uv_stream_t *)&s->tcp) < 0) {
        s->mute = true;
        enter(s, STREAM_CLOSED);
        return NULL;
    }
    set_options(s);
    if (tls_or_null != NULL) s->tls = tls_open(tls_or_null, NULL);
    enter(s, tls_or_null != NULL ? STREAM_HANDSHAKE : STREAM_OPEN);
    return s;
}

static void on_refused_closed(uv_handle_t *h) { free(h); }

void stream_refuse(uv_stream_t *listener)
{
    uv_tcp_t *tcp = mem_alloc(sizeof *tcp);

    if (uv_tcp_init(listener->loop, tcp) < 0) die("uv_tcp_init");
    (void)uv_accept(listener, (uv_stream_t *)tcp);
    uv_close((uv_handle_t *)tcp, on_refused_closed);
}

static void cannot_connect(stream *s, int status)
{
    err_info why;
    (void)err_set(&why, ERR_NET, "cannot connect to %s:%u: %s", s->dial->host, s->dial->port,
                  uv_strerror(status));
    fail(s, STREAM_CLOSED, &why);
}

/* A socket whose connect failed cannot be used again: on_tcp_closed makes the next. */
static void address_failed(stream *s, int status)
{
    if (s->dial->next == NULL) cannot_connect(s, status);
    else uv_close((uv_handle_t *)&s->tcp, on_tcp_closed);
}

static void on_connected(uv_connect_t *req, int status)
{
    stream *s = req->data;

    if (s->state != STREAM_CONNECTING || status == UV_ECANCELED) return;
    if (status < 0) { address_failed(s, status); return; }
    set_options(s);
    enter(s, s->tls != NULL ? STREAM_HANDSHAKE : STREAM_OPEN);
}

static void try_address(stream *s)
{
    struct addrinfo *at = s->dial->next;
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } to;
    int status;

    s->dial->next = at->ai_next;
    memset(&to, 0, sizeof to);
    memcpy(&to, at->ai_addr, at->ai_addrlen < sizeof to ? at->ai_addrlen : sizeof to);
    if (to.any.sa_family == AF_INET6) to.v6.sin6_port = htons(s->dial->port);
    else to.v4.sin_port = htons(s->dial->port);
    s->dial->connect.data = s;
    status = uv_tcp_connect(&s->dial->connect, &s->tcp, &to.any, on_connected);
    if (status < 0) address_failed(s, status);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    stream *s = req->data;

    s->dial->resolving = false;
    s->dial->found = found;
    if (s->state == STREAM_RESOLVING) {
        if (status < 0 || found == NULL) cannot_connect(s, status < 0 ? status : UV_EAI_NONAME);
        else enter(s, STREAM_CONNECTING);
    }
    settle(s);
}

stream *stream_connect(uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls_or_null,
                       uint64_t timeout_ms, const stream_events *events, void *arg)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    stream *s = stream_new(loop, events, arg);
    int status;

    s->client = true;
    s->dial = mem_zalloc(sizeof *s->dial);
    (void)slice_cstr(slice_of(host), s->dial->host, sizeof s->dial->host);
    s->dial->port = port;
    s->dial->timeout_ms = timeout_ms;
    s->dial->resolve.data = s;
    if (tls_or_null != NULL) s->tls = tls_open(tls_or_null, s->dial->host);
    uv_timer_start(&s->timer, on_timer, timeout_ms, 0);
    enter(s, STREAM_RESOLVING);
    status = uv_getaddrinfo(loop, &s->dial->resolve, on_resolved, s->dial->host, NULL, &hints);
    if (status < 0) {
        cannot_connect(s, status);
    } else {
        s->dial->resolving = true;
        s->owed++;
    }
    return s;
}

must_check err net_listen(uv_loop_t *loop, uv_tcp_t *listener, const char *address, uint16_t port,
                          int backlog, uv_connection_cb on_connection, uint16_t *bound_port, err_info *why)
{
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } at;
    int status, len = sizeof at;

    if (uv_tcp_init(loop, listener) < 0) die("uv_tcp_init");
    if (uv_ip4_addr(address, port, &at.v4) < 0 && uv_ip6_addr(address, port, &at.v6) < 0)
        return err_set(why, ERR_CONFIG, "'%s' is no IP address to listen on (such as 127.0.0.1, 0.0.0.0 or ::)",
                       address);
    status = uv_tcp_bind(listener, &at.any, 0);
    if (status == 0) status = uv_listen((uv_stream_t *)listener, backlog, on_connection);
    if (status == 0) status = uv_tcp_getsockname(listener, &at.any, &len);
    switch (status) {
    case 0:
        *bound_port = ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
        return ERR_OK;
    case UV_EADDRINUSE:
        return err_set(why, ERR_NET, "%s:%u is in use: end the process that listens there, or choose another port",
                       address, port);
    case UV_EACCES:
        return err_set(why, ERR_NET, "%s:%u needs a privilege: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
                       address, port);
    case UV_EADDRNOTAVAIL:
        return err_set(why, ERR_NET, "%s is not an address of this machine: listen on one that is, or on 0.0.0.0",
                       address);
    default:
        return err_set(why, ERR_NET, "cannot listen on %s:%u: %s", address, port, uv_strerror(status));
    }
}
