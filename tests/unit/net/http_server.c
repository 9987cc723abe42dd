/* tests/unit/net/http_server.c -- the HTTP server over real loopback sockets. What is
 * refused in a request's bytes is http_parse.c's; here it is answers, order, deadlines. */
#include "peer.h"

#include "../crypt/certs.h"
#include "net/http_server.h"

#define H "Host: a\r\n"
#define BIG ((size_t)3 << 20)

typedef struct site {
    uv_loop_t     loop;
    http_server  *server;
    uint16_t      port;
    bool          later, done;           /* requests are kept instead of answered */
    http_request *kept[100];
    size_t        count;
    buf           peer_name;
    size_t        rooms, gone;
} site;

/* GET /big: BIG bytes; GET /none: 204; else "METHOD path?query [body]". */
static void on_request(void *arg, http_request *r)
{
    site *s = arg;

    s->count++;
    assert_true(slice_is(http_peer(r), "127.0.0.1"));
    buf_clear(&s->peer_name);
    buf_put(&s->peer_name, http_peer_name(r));
    if (s->later) { s->kept[s->count - 1] = r; return; }
    if (slice_is(http_path(r), "/big")) {
        char *big = arena_alloc(http_arena(r), BIG);
        memset(big, 'b', BIG);
        http_reply(r, 200, "text/plain", (slice){ big, BIG });
    } else if (slice_is(http_path(r), "/none")) {
        http_reply(r, 204, NULL, SLICE_NONE);
    } else {
        slice m = http_method(r), p = http_path(r), q = http_query(r), b = http_body(r);
        http_reply_header(r, "X-Test", slice_lit("yes"));
        http_reply(r, 200, "text/plain",
                   arena_printf(http_arena(r), "%.*s %.*s?%.*s [%.*s]", (int)m.len, m.ptr, (int)p.len, p.ptr,
                                (int)q.len, q.ptr, (int)b.len, b.ptr));
    }
}

static void on_done(void *arg) { ((site *)arg)->done = true; }

static site *site_open(const http_server_config *config)
{
    http_server_config with = *config;
    site *s = mem_zalloc(sizeof *s);
    err_info why = { 0 };

    with.address = "127.0.0.1";
    if (with.header_cap == 0) with.header_cap = 8192;
    if (with.body_cap == 0) with.body_cap = 2 * BIG;
    if (with.header_ms == 0) with.header_ms = 5000;
    if (with.body_ms == 0) with.body_ms = 5000;
    if (with.idle_ms == 0) with.idle_ms = 5000;
    if (with.max_connections == 0) with.max_connections = 10;
    s->peer_name = buf_in(NULL);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    if (http_server_open(&s->loop, &with, on_request, s, &s->server, &why) != ERR_OK) fail_msg("%s", why.text);
    s->port = http_server_port(s->server);
    return s;
}

static void site_close(site *s)
{
    if (!s->done) {
        http_server_close(s->server, 0, on_done, s);
        turn_until(&s->loop, s->done);
    }
    end_loop(&s->loop);
    buf_free(&s->peer_name);
    free(s);
}

/* ---- reading answers --------------------------------------------------------- */

static slice head_of(const peer *p)
{
    const char *end = p->got.len == 0 ? NULL : memmem(p->got.ptr, p->got.len, "\r\n\r\n", 4);
    return end == NULL ? SLICE_NONE : (slice){ p->got.ptr, (size_t)(end + 4 - p->got.ptr) };
}

static bool head_has(slice head, const char *text) { return memmem(head.ptr, head.len, text, strlen(text)) != NULL; }

/* The next answer's status; `*body` is its body by Content-Length, copied. */
static int next_answer(site *s, peer *p, char **body)
{
    slice head;
    int status = 0;
    unsigned long length = 0;
    const char *field;

    turn_until(&s->loop, (peer_read(p), head_of(p).ptr != NULL) || p->ended);
    head = head_of(p);
    if (head.ptr == NULL) return 0;
    assert_true(slice_starts(head, slice_lit("HTTP/1.1 ")));
    status = atoi(head.ptr + 9);
    assert_true(status < 200 || head_has(head, "\r\nDate: "));
    field = memmem(head.ptr, head.len, "Content-Length: ", 16);
    if (field != NULL) length = strtoul(field + 16, NULL, 10);
    turn_until(&s->loop, peer_has(p, head.len + length) || p->ended);
    head = head_of(p);
    assert_true(p->got.len >= head.len + length);
    if (body != NULL) {
        *body = mem_dup((slice){ p->got.ptr + head.len, length });
    }
    memmove(p->got.ptr, p->got.ptr + head.len + length, p->got.len - head.len - length);
    p->got.len -= head.len + length;
    return status;
}

static void expect_answer(site *s, peer *p, int status, const char *text)
{
    char *body = NULL;
    int got = next_answer(s, p, &body);

    if (got != status || strcmp(body, text) != 0) fail_msg("got %d \"%s\", not %d \"%s\"", got, body, status, text);
    free(body);
}

static void expect_end(site *s, peer *p)
{
    turn_until(&s->loop, peer_read(p));
    assert_false(p->reset);              /* a reset could overtake the answer */
    assert_int_equal(p->got.len, 0);
}

/* ---- tests --------------------------------------------------------------------- */

static void requests_are_answered_in_order(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    peer p = peer_open(s->port);

    (void)state;
    peer_send(&s->loop, &p, slice_lit("GET /1?a HTTP/1.1\r\n" H "\r\nPOST /2 HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nPUT /3 HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nyo"));
    expect_answer(s, &p, 200, "GET /1?a []");
    expect_answer(s, &p, 200, "POST /2? [hi]");
    expect_answer(s, &p, 200, "PUT /3? [yo]");
    peer_send(&s->loop, &p, slice_lit("GET /none HTTP/1.1\r\n" H "\r\nGET /4 HTTP/1.1\r\n" H "Connection: close\r\n\r\n"
                                      "GET /5 HTTP/1.1\r\n" H "\r\n"));
    turn_until(&s->loop, (peer_read(&p), head_of(&p).ptr != NULL));
    assert_false(head_has(head_of(&p), "Content-Length"));
    assert_int_equal(next_answer(s, &p, NULL), 204);
    turn_until(&s->loop, (peer_read(&p), head_of(&p).ptr != NULL));
    assert_true(head_has(head_of(&p), "\r\nConnection: close\r\n"));
    assert_true(head_has(head_of(&p), "\r\nX-Test: yes\r\n"));
    expect_answer(s, &p, 200, "GET /4? []");
    expect_end(s, &p);
    assert_int_equal(s->count, 5);       /* what follows `close` is not read */
    peer_close(&p);
    site_close(s);
}

static void later_answers_keep_the_order(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    peer p = peer_open(s->port);

    (void)state;
    s->later = true;
    peer_send(&s->loop, &p, slice_lit("GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\n"));
    turn_until(&s->loop, s->count == 1);
    turn_for(&s->loop, 30);
    assert_int_equal(s->count, 1);       /* the second waits */
    http_reply(s->kept[0], 200, NULL, slice_lit("one"));
    turn_until(&s->loop, s->count == 2);
    assert_true(slice_is(http_header(s->kept[1], "HOST"), "a"));
    assert_null(http_header(s->kept[1], "X-None").ptr);
    http_reply(s->kept[1], 404, NULL, slice_lit("two"));
    expect_answer(s, &p, 200, "one");
    expect_answer(s, &p, 404, "two");
    peer_close(&p);
    site_close(s);
}

static void head_and_http_1_0(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    peer p = peer_open(s->port), old = peer_open(s->port);

    (void)state;
    peer_send(&s->loop, &p, slice_lit("HEAD /x HTTP/1.1\r\n" H "\r\n"));
    turn_until(&s->loop, (peer_read(&p), head_of(&p).ptr != NULL));
    turn_for(&s->loop, 20);
    (void)peer_read(&p);
    assert_true(head_has(head_of(&p), "\r\nContent-Length: 11\r\n"));
    assert_int_equal(p.got.len, head_of(&p).len);
    peer_close(&p);

    peer_send(&s->loop, &old, slice_lit("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    turn_until(&s->loop, (peer_read(&old), head_of(&old).ptr != NULL));
    assert_true(head_has(head_of(&old), "\r\nConnection: keep-alive\r\n"));
    expect_answer(s, &old, 200, "GET /1? []");
    peer_send(&s->loop, &old, slice_lit("GET /2 HTTP/1.0\r\n\r\n"));
    expect_answer(s, &old, 200, "GET /2? []");
    expect_end(s, &old);
    peer_close(&old);
    site_close(s);
}

static void continue_is_said_when_it_helps(void **state)
{
    site *s = site_open(&(http_server_config){ .body_cap = 100 });
    peer p = peer_open(s->port);

    (void)state;
    peer_send(&s->loop, &p, slice_lit("PUT /1 HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    peer_expect(&s->loop, &p, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_send(&s->loop, &p, slice_lit("ab"));
    expect_answer(s, &p, 200, "PUT /1? [ab]");
    peer_send(&s->loop, &p, slice_lit("PUT /2 HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab"));
    expect_answer(s, &p, 200, "PUT /2? [ab]");
    peer_send(&s->loop, &p, slice_lit("PUT /3 HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 101\r\n\r\n"));
    expect_answer(s, &p, 413, "the body is too large\n");
    expect_end(s, &p);
    peer_close(&p);
    site_close(s);
}

/* The peer goes on sending: the answer must still reach it. */
static void refusal_is_answered_in_full(void **state)
{
    site *s = site_open(&(http_server_config){ .body_cap = 1000 });
    peer p = peer_open(s->port);
    char *much = mem_zalloc(200000);

    (void)state;
    peer_send(&s->loop, &p, slice_lit("POST / HTTP/1.1\r\n" H "Content-Length: 200000\r\n\r\n"));
    peer_send(&s->loop, &p, (slice){ much, 200000 });
    expect_answer(s, &p, 413, "the body is too large\n");
    expect_end(s, &p);
    assert_int_equal(s->count, 0);
    peer_close(&p);
    p = peer_open(s->port);
    peer_send(&s->loop, &p, slice_lit("GET / HTTP/1.1\r\n\r\n"));
    expect_answer(s, &p, 400, "no Host\n");
    expect_end(s, &p);
    free(much);
    peer_close(&p);
    site_close(s);
}

static void slow_requests_are_cut(void **state)
{
    static const struct { const char *begin, *drip, *answer; } slow[] = {
        { "GET / HTTP/1.1\r\n", "X: y\r\n", "the request was not complete in time\n" },
        { "POST / HTTP/1.1\r\n" H "Content-Length: 10000\r\n\r\n", "x", "the request was not complete in time\n" },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "the request was not complete in time\n" },
    };
    site *s = site_open(&(http_server_config){ .header_ms = 150, .body_ms = 150 });

    (void)state;
    for (size_t i = 0; i < countof(slow); i++) {
        peer p = peer_open(s->port);
        uint64_t began = now_ms();
        peer_send(&s->loop, &p, slice_of(slow[i].begin));
        while ((peer_read(&p), p.got.len == 0) && now_ms() < began + 5000) {
            peer_send(&s->loop, &p, slice_of(slow[i].drip));
            turn_for(&s->loop, 10);
        }
        assert_true(now_ms() - began >= 75 && now_ms() - began < 20000);
        expect_answer(s, &p, 408, slow[i].answer);
        turn_until(&s->loop, peer_read(&p));
        peer_close(&p);
    }
    site_close(s);
}

static void idle_is_closed_without_a_word(void **state)
{
    site *s = site_open(&(http_server_config){ .idle_ms = 100 });
    peer p = peer_open(s->port), q = peer_open(s->port);

    (void)state;
    expect_end(s, &p);
    peer_send(&s->loop, &q, slice_lit("GET / HTTP/1.1\r\n" H "\r\n"));
    turn_until(&s->loop, peer_read(&q));
    assert_true(q.ended);
    peer_close(&p);
    peer_close(&q);
    turn_until(&s->loop, http_server_connections(s->server) == 0);
    site_close(s);
}

static void big_bodies_go_both_ways(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    peer p = peer_open(s->port);
    char *big = mem_alloc(BIG), *body = NULL;

    (void)state;
    memset(big, 'x', BIG);
    s->later = true;
    peer_send(&s->loop, &p, slice_lit("POST / HTTP/1.1\r\n" H "Content-Length: 3145728\r\n\r\n"));
    peer_send(&s->loop, &p, (slice){ big, BIG });
    turn_until(&s->loop, s->count == 1);
    assert_true(slice_eq(http_body(s->kept[0]), (slice){ big, BIG }));
    s->later = false;
    http_reply(s->kept[0], 200, NULL, slice_lit("ok"));
    expect_answer(s, &p, 200, "ok");
    peer_send(&s->loop, &p, slice_lit("GET /big HTTP/1.1\r\n" H "Connection: close\r\n\r\n"));
    turn_for(&s->loop, 100);             /* the reader is slow */
    assert_int_equal(next_answer(s, &p, &body), 200);
    assert_int_equal(strspn(body, "b"), BIG);
    expect_end(s, &p);
    free(body);
    free(big);
    peer_close(&p);
    site_close(s);
}

/* A peer that asks and asks and does not read gets no more memory than the mark. */
static void unread_answers_hold_up_the_next(void **state)
{
    site *s = site_open(&(http_server_config){ .idle_ms = 300 });
    peer p = peer_open(s->port);

    (void)state;
    for (int i = 0; i < 20; i++) peer_send(&s->loop, &p, slice_lit("GET /big HTTP/1.1\r\n" H "\r\n"));
    turn_for(&s->loop, 100);
    assert_true(s->count < 10);
    turn_until(&s->loop, http_server_connections(s->server) == 0);   /* and is closed in the end */
    peer_close(&p);
    site_close(s);
}

static void half_closed_peer_gets_its_answers(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    peer p = peer_open(s->port);

    (void)state;
    peer_send(&s->loop, &p, slice_lit("GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\nGET /3 HTT"));
    assert_int_equal(shutdown(p.fd, SHUT_WR), 0);
    expect_answer(s, &p, 200, "GET /1? []");
    expect_answer(s, &p, 200, "GET /2? []");
    expect_end(s, &p);
    peer_close(&p);
    site_close(s);
}

static void request_outlives_its_peer(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    struct linger at_once = { 1, 0 };
    peer p = peer_open(s->port);

    (void)state;
    s->later = true;
    peer_send(&s->loop, &p, slice_lit("POST /1 HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi"));
    turn_until(&s->loop, s->count == 1);
    (void)setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    peer_close(&p);
    turn_until(&s->loop, http_server_connections(s->server) == 0);
    http_server_close(s->server, 1000, on_done, s);
    turn_until(&s->loop, s->done);
    assert_true(slice_is(http_body(s->kept[0]), "hi"));
    assert_true(slice_is(http_peer(s->kept[0]), "127.0.0.1"));
    http_reply_header(s->kept[0], "X", slice_lit("y"));
    http_reply(s->kept[0], 200, NULL, slice_lit("to nobody"));
    site_close(s);
}

/* ---- streams -------------------------------------------------------------------- */

static void on_room(void *arg) { ((site *)arg)->rooms++; }
static void on_gone(void *arg) { ((site *)arg)->gone++; }

static void streams_are_chunked(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    peer p = peer_open(s->port);

    (void)state;
    s->later = true;
    peer_send(&s->loop, &p, slice_lit("GET /events HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\n"));
    turn_until(&s->loop, s->count == 1);
    http_reply_header(s->kept[0], "Cache-Control", slice_lit("no-store"));
    http_stream_begin(s->kept[0], 200, "text/event-stream", on_room, on_gone, s);
    turn_until(&s->loop, (peer_read(&p), head_of(&p).ptr != NULL));
    assert_true(head_has(head_of(&p), "\r\nTransfer-Encoding: chunked\r\n"));
    assert_true(head_has(head_of(&p), "\r\nCache-Control: no-store\r\n"));
    assert_false(head_has(head_of(&p), "Content-Length"));
    buf_clear(&p.got);
    http_stream_write(s->kept[0], slice_lit("data: 1\n\n"));
    peer_expect(&s->loop, &p, "9\r\ndata: 1\n\n\r\n");
    http_stream_write(s->kept[0], SLICE_NONE);           /* an empty chunk would end it */
    http_stream_write(s->kept[0], slice_lit("x"));
    http_stream_end(s->kept[0]);
    peer_expect(&s->loop, &p, "1\r\nx\r\n0\r\n\r\n");
    turn_until(&s->loop, s->count == 2);                 /* and the connection goes on */
    http_reply(s->kept[1], 200, NULL, slice_lit("two"));
    expect_answer(s, &p, 200, "two");
    peer_close(&p);

    peer old = peer_open(s->port);
    peer_send(&s->loop, &old, slice_lit("GET /events HTTP/1.0\r\n\r\n"));
    turn_until(&s->loop, s->count == 3);
    http_stream_begin(s->kept[2], 200, "text/event-stream", NULL, NULL, NULL);
    http_stream_write(s->kept[2], slice_lit("plain"));
    http_stream_end(s->kept[2]);
    turn_until(&s->loop, peer_read(&old));
    assert_true(head_has(head_of(&old), "\r\nConnection: close\r\n"));
    assert_true(slice_is(slice_from(buf_slice(&old.got), head_of(&old).len), "plain"));
    peer_close(&old);
    site_close(s);
}

static void stream_has_backpressure(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    peer p = peer_open(s->port);
    char *piece = mem_zalloc(60000);
    size_t sent = 0;

    (void)state;
    s->later = true;
    peer_send(&s->loop, &p, slice_lit("GET / HTTP/1.1\r\n" H "\r\n"));
    turn_until(&s->loop, s->count == 1);
    http_stream_begin(s->kept[0], 200, "application/octet-stream", on_room, on_gone, s);
    for (uint64_t until = now_ms() + 100; now_ms() < until;) {
        (void)uv_run(&s->loop, UV_RUN_NOWAIT);
        while (http_stream_pending(s->kept[0]) < 65536 && sent < ((size_t)50 << 20)) {
            http_stream_write(s->kept[0], (slice){ piece, 60000 });
            sent += 60000;
            until = now_ms() + 100;
        }
    }
    assert_true(sent < ((size_t)50 << 20));              /* it was told to stop */
    assert_true(http_stream_pending(s->kept[0]) <= 65536 + 60020);
    size_t rooms = s->rooms;
    turn_until(&s->loop, (peer_read(&p), s->rooms > rooms));
    assert_true(http_stream_pending(s->kept[0]) < 65536);
    assert_int_equal(s->gone, 0);
    peer_close(&p);
    turn_until(&s->loop, s->gone == 1);
    http_stream_write(s->kept[0], slice_lit("to nobody"));
    http_stream_end(s->kept[0]);
    free(piece);
    site_close(s);
}

static void close_drains(void **state)
{
    site *s = site_open(&(http_server_config){ 0 });
    peer idle = peer_open(s->port), busy = peer_open(s->port), half = peer_open(s->port), never = peer_open(s->port);

    (void)state;
    s->later = true;
    peer_send(&s->loop, &busy, slice_lit("GET /1 HTTP/1.1\r\n" H "\r\n"));
    peer_send(&s->loop, &half, slice_lit("GET /2 HTTP"));
    turn_until(&s->loop, s->count == 1 && http_server_connections(s->server) == 4);
    peer_send(&s->loop, &never, slice_lit("GET /n HTTP/1.1\r\n" H "\r\n"));
    turn_until(&s->loop, s->count == 2);
    turn_for(&s->loop, 20);
    http_server_close(s->server, 400, on_done, s);
    expect_end(s, &idle);
    peer_close(&idle);
    peer_send(&s->loop, &half, slice_lit("/1.1\r\n" H "\r\n"));
    turn_until(&s->loop, s->count == 3);
    http_reply(s->kept[0], 200, NULL, slice_lit("one"));
    http_reply(s->kept[2], 200, NULL, slice_lit("two"));
    turn_until(&s->loop, (peer_read(&busy), head_of(&busy).ptr != NULL));
    assert_true(head_has(head_of(&busy), "\r\nConnection: close\r\n"));
    expect_answer(s, &busy, 200, "one");
    expect_answer(s, &half, 200, "two");
    peer_close(&busy);
    peer_close(&half);
    assert_false(s->done);
    turn_until(&s->loop, s->done);       /* the one that is never answered is given up */
    http_reply(s->kept[1], 200, NULL, SLICE_NONE);
    peer_close(&never);
    site_close(s);
}

static void connections_are_capped(void **state)
{
    site *s = site_open(&(http_server_config){ .max_connections = 1 });
    peer p = peer_open(s->port);

    (void)state;
    turn_until(&s->loop, http_server_connections(s->server) == 1);
    peer q = peer_open(s->port);
    turn_until(&s->loop, peer_read(&q));
    peer_send(&s->loop, &p, slice_lit("GET / HTTP/1.1\r\n" H "\r\n"));
    expect_answer(s, &p, 200, "GET /? []");
    peer_close(&p);
    peer_close(&q);
    site_close(s);
}

/* ---- TLS -------------------------------------------------------------------------- */

typedef struct tls_peer { stream *stream; buf got; bool open, closed; } tls_peer;

static void peer_opened(void *arg) { ((tls_peer *)arg)->open = true; }
static void peer_data(void *arg, slice bytes) { buf_put(&((tls_peer *)arg)->got, bytes); }
static void peer_closed(void *arg, err e, const err_info *why)
{
    (void)e; (void)why;
    ((tls_peer *)arg)->closed = true;
}

static void tls_carries_it_all(void **state)
{
    static const stream_events events = { .open = peer_opened, .data = peer_data, .closed = peer_closed };
    tls_context *server = NULL, *client = NULL;
    err_info why;

    (void)state;
    certs_begin();
    cert_make(&(cert_spec){ .name = "ca", .cn = "Test CA", .ca = true });
    cert_make(&(cert_spec){ .name = "server", .cn = "server", .san = "DNS:localhost", .issuer = "ca" });
    cert_make(&(cert_spec){ .name = "lab", .cn = "lab", .issuer = "ca" });
    tls_config of_server = { .certificate = cert_path("server", "pem"), .key = cert_path("server", "key"),
                             .ca = cert_path("ca", "pem"), .require_peer = true };
    tls_config of_client = { .certificate = cert_path("lab", "pem"), .key = cert_path("lab", "key"),
                             .ca = cert_path("ca", "pem") };
    if (tls_server_context(&of_server, &server, &why) != ERR_OK) fail_msg("%s", why.text);
    if (tls_client_context(&of_client, &client, &why) != ERR_OK) fail_msg("%s", why.text);
    site *s = site_open(&(http_server_config){ .tls = server });
    tls_peer p = { .got = buf_in(NULL) };
    p.stream = stream_connect(&s->loop, "localhost", s->port, client, 5000, &events, &p);
    turn_until(&s->loop, p.open || p.closed);
    assert_true(p.open);
    stream_write(p.stream, slice_lit("GET /big HTTP/1.1\r\n" H "Connection: close\r\n\r\n"));
    turn_until(&s->loop, p.closed);
    assert_true(p.got.len > BIG);
    assert_true(slice_is(buf_slice(&s->peer_name), "lab"));
    buf_free(&p.got);
    tls_context_drop(server);
    tls_context_drop(client);
    site_close(s);
    certs_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_in_order),
        cmocka_unit_test(later_answers_keep_the_order),
        cmocka_unit_test(head_and_http_1_0),
        cmocka_unit_test(continue_is_said_when_it_helps),
        cmocka_unit_test(refusal_is_answered_in_full),
        cmocka_unit_test(slow_requests_are_cut),
        cmocka_unit_test(idle_is_closed_without_a_word),
        cmocka_unit_test(big_bodies_go_both_ways),
        cmocka_unit_test(unread_answers_hold_up_the_next),
        cmocka_unit_test(half_closed_peer_gets_its_answers),
        cmocka_unit_test(request_outlives_its_peer),
        cmocka_unit_test(streams_are_chunked),
        cmocka_unit_test(stream_has_backpressure),
        cmocka_unit_test(close_drains),
        cmocka_unit_test(connections_are_capped),
        cmocka_unit_test(tls_carries_it_all),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
