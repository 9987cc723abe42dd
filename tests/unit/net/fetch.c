/* tests/unit/net/fetch.c -- requests against a small HTTP server on the same loop,
 * which behaves, or misbehaves, as the path asks it to. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../crypt/certs.h"
#include "base/clock.h"
#include "crypt/tls.h"
#include "net/fetch.h"

/* ---- the server ------------------------------------------------------------------ */

typedef struct server {
    uv_loop_t   *loop;
    uv_tcp_t     listener;
    tls_context *tls;
    int          port;
    unsigned     open, accepted, most, requests;
    list         conns;
} server;

typedef struct conn {
    list       link;
    server    *s;
    uv_tcp_t   tcp;
    uv_timer_t delay;
    tls       *tls;
    buf        in;
    unsigned   requests;
    bool       closing;
    int        owed;
} conn;

static void conn_settle(conn *c)
{
    if (--c->owed > 0) return;
    list_remove(&c->link);
    c->s->open--;
    tls_free(c->tls);
    buf_free(&c->in);
    free(c);
}

static void on_tcp_closed(uv_handle_t *h) { conn_settle(container_of(h, conn, tcp)); }
static void on_delay_closed(uv_handle_t *h) { conn_settle(container_of(h, conn, delay)); }

static void conn_close(conn *c)
{
    if (c->closing) return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_tcp_closed);
    uv_close((uv_handle_t *)&c->delay, on_delay_closed);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *b)
{
    (void)h;
    *b = uv_buf_init(mem_alloc(hint), (unsigned)hint);
}

typedef struct sending { uv_write_t req; buf bytes; } sending;

static void on_sent(uv_write_t *req, int status)
{
    sending *w = container_of(req, sending, req);
    (void)status;
    buf_free(&w->bytes);
    free(w);
}

static void conn_raw(conn *c, buf *bytes)
{
    if (bytes->len == 0 || c->closing) { buf_free(bytes); return; }
    sending *w = mem_zalloc(sizeof *w);
    w->bytes = *bytes;
    uv_buf_t out = uv_buf_init(bytes->ptr, (unsigned)bytes->len);
    assert_int_equal(uv_write(&w->req, (uv_stream_t *)&c->tcp, &out, 1, on_sent), 0);
}

static void conn_send(conn *c, slice text)
{
    buf out = buf_in(NULL);

    if (c->tls == NULL) buf_put(&out, text);
    else assert_int_equal(tls_send(c->tls, text, &out, NULL), ERR_OK);
    conn_raw(c, &out);
}

static void on_delay(uv_timer_t *t)
{
    conn_send(container_of(t, conn, delay), slice_lit("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"));
}

/* One whole request in c->in: head until `head`, then `body`. */
static void conn_answer(conn *c, slice head, slice body)
{
    slice method = slice_cut(head, ' ', &head), path = slice_cut(head, ' ', &head);
    slice query;
    buf out = buf_in(NULL);

    path = slice_cut(path, '?', &query);
    c->s->requests++;
    c->requests++;
    if (slice_is(path, "/echo")) {
        buf_printf(&out, "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nETag: W/\"1\"\r\nlocation: /x/1\r\n"
                         "Retry-After:  7\r\nContent-Length: %zu\r\n\r\n", method.len + 1 + head.len + body.len);
        buf_put(&out, method);
        buf_putc(&out, ' ');
        buf_put(&out, head);
        buf_put(&out, body);
    } else if (slice_is(path, "/chunked")) {
        buf_puts(&out, "HTTP/1.1 100 Continue\r\nETag: no\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\none\r\n4\r\n two\r\n0\r\n\r\n");
    } else if (slice_is(path, "/redirect")) {
        buf_puts(&out, "HTTP/1.1 302 Found\r\nLocation: /echo\r\nContent-Length: 0\r\n\r\n");
    } else if (slice_is(path, "/large")) {
        buf_puts(&out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 20; i++) buf_printf(&out, "3e8\r\n%01000d\r\n", i);
        buf_puts(&out, "0\r\n\r\n");
    } else if (slice_is(path, "/delay")) {
        (void)uv_timer_start(&c->delay, on_delay, 20, 0);
    } else if (slice_is(path, "/first") && c->requests == 1) {
        buf_puts(&out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    } else if (slice_is(path, "/half")) {
        buf_puts(&out, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    }
    slice text = buf_slice(&out);
    if (text.len > 0) conn_send(c, text);
    buf_free(&out);
    if (slice_is(path, "/close") || slice_is(path, "/half") || (slice_is(path, "/first") && c->requests > 1)) conn_close(c);
}

static size_t body_length(slice head)
{
    static const char name[] = "content-length:";

    for (slice rest = head; rest.len > 0;) {
        slice line = slice_cut(rest, '\n', &rest);
        int64_t n;
        if (line.len < sizeof name || strncasecmp(line.ptr, name, sizeof name - 1) != 0) continue;
        assert_true(slice_int(slice_trim(slice_from(line, sizeof name - 1)), &n) && n >= 0);
        return (size_t)n;
    }
    return 0;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    conn *c = container_of(stream, conn, tcp);
    slice got = { b->base, n > 0 ? (size_t)n : 0 };
    bool closed = n < 0;

    if (c->tls == NULL) {
        buf_put(&c->in, got);
        closed |= c->in.len > 0 && c->in.ptr[0] == 0x16;     /* a TLS handshake */
    } else if (got.len > 0) {
        buf wire = buf_in(NULL);
        closed = tls_receive(c->tls, got, &c->in, &wire, &closed, NULL) != ERR_OK || closed;
        conn_raw(c, &wire);
    }
    free(b->base);
    while (!closed && !c->closing && c->in.len > 0) {
        const char *end = memmem(c->in.ptr, c->in.len, "\r\n\r\n", 4);
        if (end == NULL) break;
        slice head = { c->in.ptr, (size_t)(end - c->in.ptr) + 4 };
        size_t length = body_length(head);
        if (c->in.len < head.len + length) break;
        conn_answer(c, head, (slice){ end + 4, length });
        c->in.len -= head.len + length;
        memmove(c->in.ptr, c->in.ptr + head.len + length, c->in.len);
    }
    if (closed) conn_close(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
    server *s = container_of(listener, server, listener);
    conn *c = mem_zalloc(sizeof *c);

    assert_int_equal(status, 0);
    c->s = s;
    c->owed = 2;
    c->in = buf_in(NULL);
    if (s->tls != NULL) c->tls = tls_open(s->tls, NULL);
    list_push(&s->conns, &c->link);
    s->accepted++;
    if (++s->open > s->most) s->most = s->open;
    (void)uv_tcp_init(s->loop, &c->tcp);
    (void)uv_timer_init(s->loop, &c->delay);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0
        || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        conn_close(c);
}

static void server_open(server *s, uv_loop_t *loop, tls_context *rules)
{
    struct sockaddr_in at;
    struct sockaddr_storage bound;
    int n = sizeof bound;

    *s = (server){ .loop = loop, .tls = rules };
    list_init(&s->conns);
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &at), 0);
    assert_int_equal(uv_tcp_init(loop, &s->listener), 0);
    assert_int_equal(uv_tcp_bind(&s->listener, (struct sockaddr *)&at, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->listener, 511, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&s->listener, (struct sockaddr *)&bound, &n), 0);
    s->port = ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port);
}

static void server_close(server *s)
{
    list_each_safe(it, &s->conns) conn_close(container_of(it, conn, link));
    uv_close((uv_handle_t *)&s->listener, NULL);
}

/* ---- one test's surroundings ------------------------------------------------------- */

typedef struct env {
    uv_loop_t loop;
    server    s;
    fetch    *f;
} env;

static void env_open(env *e, tls_context *rules, unsigned connections)
{
    assert_int_equal(uv_loop_init(&e->loop), 0);
    server_open(&e->s, &e->loop, rules);
    e->f = fetch_open(&e->loop, connections);
}

static void on_closed(void *arg) { *(bool *)arg = true; }

/* Every handle must be closed, or uv_loop_close says so. */
static void env_close(env *e)
{
    bool closed = false;

    fetch_close(e->f, on_closed, &closed);
    assert_false(closed);                /* later, not from within */
    server_close(&e->s);
    (void)uv_run(&e->loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&e->loop), 0);
}

typedef struct result {
    uv_loop_t *loop;
    bool     done;
    err      error;
    bool     sent, sent_again;
    int      status;
    char     why[256], body[4096], location[64], etag[64], retry_after[64], content_type[64];
    unsigned *count;
    void   (*also)(struct result *r);
    void    *also_arg;
} result;

static void on_done(void *arg, const fetch_answer *a)
{
    result *r = arg;

    assert_false(r->done);
    uv_stop(r->loop);                    /* else the loop may wait for ever after the last timer */
    r->done = true;
    r->error = a->error;
    r->sent = a->sent;
    r->sent_again = a->sent_again;
    r->status = a->status;
    if (a->error != ERR_OK) (void)slice_cstr(slice_of(a->why.text), r->why, sizeof r->why);
    (void)slice_cstr(a->body, r->body, sizeof r->body);
    (void)slice_cstr(a->location, r->location, sizeof r->location);
    (void)slice_cstr(a->etag, r->etag, sizeof r->etag);
    (void)slice_cstr(a->retry_after, r->retry_after, sizeof r->retry_after);
    (void)slice_cstr(a->content_type, r->content_type, sizeof r->content_type);
    if (r->count != NULL) ++*r->count;
    if (r->also != NULL) r->also(r);
}

static bool late;                        /* the next requests may not be begun any more */

static fetch_call *start(env *e, const char *method, const char *url, const char *body, result *r)
{
    static const slice headers[] = { { "Content-Type: application/fhir+json", 35 }, { "X-Test: yes", 11 } };
    char text[256];
    r->loop = &e->loop;
    fetch_request q = { .method = method, .headers = headers, .header_count = countof(headers),
                        .body = slice_of(body), .connect_ms = 2000, .total_ms = 2000, .answer_cap = 10000 };

    (void)snprintf(text, sizeof text, url, e->s.port);       /* the URL is copied by fetch_start */
    q.url = slice_of(text);
    if (late) q.send_until_ms = clock_boot_ms();
    if (e->s.tls != NULL && strstr(url, "trusted") != NULL) q.ca = cert_path("ca", "pem");
    if (strstr(url, "/large") != NULL || strstr(url, "/slow") != NULL) q.total_ms = 300;
    return fetch_start(e->f, &q, on_done, r);
}

static void run_until(env *e, const bool *done)
{
    while (!*done) assert_int_not_equal(uv_run(&e->loop, UV_RUN_DEFAULT), 0);
}

static void run_until_count(env *e, const unsigned *count, unsigned wanted)
{
    while (*count < wanted) assert_int_not_equal(uv_run(&e->loop, UV_RUN_DEFAULT), 0);
}

static void ask(env *e, const char *method, const char *url, const char *body, result *r)
{
    *r = (result){ .done = false };
    (void)start(e, method, url, body, r);
    assert_false(r->done);
    run_until(e, &r->done);
}

/* ---- tests ----------------------------------------------------------------------------- */

static void test_methods(void **state)
{
    static const char *const methods[] = { "POST", "PUT", "GET", "PATCH", "DELETE", "POST", "GET" };
    env e;
    result r;

    (void)state;
    env_open(&e, NULL, 2);
    for (size_t i = 0; i < countof(methods); i++) {
        const char *body = strcmp(methods[i], "GET") == 0 || strcmp(methods[i], "DELETE") == 0 ? NULL : "{\"a\":1}";
        ask(&e, methods[i], "http://127.0.0.1:%d/echo", body, &r);
        assert_string_equal(r.why, "");
        assert_int_equal(r.status, 201);
        assert_true(r.sent);
        assert_memory_equal(r.body, methods[i], strlen(methods[i]));
        assert_non_null(strstr(r.body, "\r\nContent-Type: application/fhir+json\r\n"));
        assert_non_null(strstr(r.body, "\r\nX-Test: yes\r\n"));
        assert_null(strstr(r.body, "Expect"));
        assert_string_equal(strstr(r.body, "\r\n\r\n") + 4, body == NULL ? "" : body);
        assert_string_equal(r.location, "/x/1");
        assert_string_equal(r.etag, "W/\"1\"");
        assert_string_equal(r.retry_after, "7");
        assert_string_equal(r.content_type, "text/plain");
    }
    assert_int_equal(e.s.accepted, 1);           /* one kept connection for all */
    ask(&e, "POST", "http://127.0.0.1:%d/echo", "", &r);
    assert_non_null(strstr(r.body, "Content-Length: 0"));
    env_close(&e);
}

static const struct {
    const char *url;
    err         error;
    bool        sent;
    int         status;
    const char *says, *body;
} cases[] = {
    { "http://127.0.0.1:%d/chunked", ERR_OK, true, 200, "", "one two" },
    { "http://127.0.0.1:%d/redirect", ERR_OK, true, 302, "", "" },
    { "http://127.0.0.1:%d/delay", ERR_OK, true, 200, "", "late" },
    { "http://127.0.0.1:%d/slow?patient=Doe", ERR_TIMEOUT, true, 0, "gave no whole answer within 300 ms", "" },
    { "http://127.0.0.1:%d/large", ERR_LIMIT, true, 0, "sent an answer of more than 10000 bytes", "" },
    { "http://127.0.0.1:%d/close", ERR_NET, true, 0, "closed the connection before its answer was whole", "" },
    { "http://127.0.0.1:%d/half", ERR_NET, true, 0, "closed the connection before its answer was whole", "" },
    { "http://127.0.0.1:1/?patient=Doe", ERR_NET, false, 0, "127.0.0.1:1 cannot be connected to: Connection refused", "" },
    { "http://no-such-host.invalid/?patient=Doe", ERR_NET, false, 0,
      "no-such-host.invalid:80: DNS has no address for this name", "" },
    { "https://127.0.0.1:%d/echo", ERR_TLS, false, 0, "127.0.0.1:", "" },       /* a server without TLS */
    { "ftp://127.0.0.1/patient=Doe", ERR_CONFIG, false, 0, "not a valid http or https URL", "" },
    { "file:///etc/passwd", ERR_CONFIG, false, 0, "not a valid http or https URL", "" },
    { "http://127.0.0.1:99999/", ERR_CONFIG, false, 0, "not a valid http or https URL", "" },
    { "http://127.0.0.1:%d/echo\r\nX-Evil: 1", ERR_CONFIG, false, 0, "the URL holds a line end", "" },
    { "", ERR_CONFIG, false, 0, "not a valid http or https URL", "" },
};

static void test_cases(void **state)
{
    env e;
    result r;

    (void)state;
    env_open(&e, NULL, 2);
    for (int round = 0; round < 2; round++) {        /* the second on reused handles */
        for (size_t i = 0; i < countof(cases); i++) {
                        ask(&e, "POST", cases[i].url, "{}", &r);
            if (r.error != cases[i].error || r.sent != cases[i].sent || strstr(r.why, cases[i].says) == NULL)
                fail_msg("%s: %s, sent %d: %s", cases[i].url, err_name(r.error), r.sent, r.why);
            assert_int_equal(r.status, cases[i].status);
            assert_string_equal(r.body, cases[i].body);
            assert_null(strstr(r.why, "Doe"));       /* the URL may concern a patient */
        }
    }
    env_close(&e);
}

static void test_bad_header(void **state)
{
    static const slice evil[] = { { "If-None-Exist: a\r\nX-Evil: 1", 27 } };
    fetch_request q = { .method = "POST", .headers = evil, .header_count = 1, .answer_cap = 100 };
    result r = { .done = false };
    char url[64];
    env e;

    (void)state;
    env_open(&e, NULL, 2);
    r.loop = &e.loop;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/echo", e.s.port);
    q.url = slice_of(url);
    (void)fetch_start(e.f, &q, on_done, &r);
    assert_false(r.done);
    run_until(&e, &r.done);
    assert_int_equal(r.error, ERR_CONFIG);
    assert_string_equal(r.why, "not sent: a header holds a line end");
    assert_int_equal(e.s.requests, 0);
    env_close(&e);
}

static void test_tls(void **state)
{
    static const cert_spec specs[] = {
        { .name = "ca", .cn = "Test CA", .ca = true },
        { .name = "server", .cn = "server", .san = "IP:127.0.0.1", .issuer = "ca" },
    };
    static const struct { const char *url; err error; const char *says; } tried[] = {
        { "https://127.0.0.1:%d/echo?trusted", ERR_OK, "" },
        { "https://127.0.0.1:%d/echo", ERR_TLS, "certificate" },
        { "https://localhost:%d/echo?trusted", ERR_TLS, "localhost" },
        { "https://127.0.0.1:%d/delay?trusted", ERR_OK, "" },
    };
    tls_context *context = NULL;
    result r;
    env e;

    (void)state;
    certs_begin();
    for (size_t i = 0; i < countof(specs); i++) cert_make(&specs[i]);
    tls_config config = { .certificate = cert_path("server", "pem"), .key = cert_path("server", "key") };
    assert_int_equal(tls_server_context(&config, &context, NULL), ERR_OK);
    env_open(&e, context, 2);
    for (size_t i = 0; i < countof(tried); i++) {
        ask(&e, "POST", tried[i].url, "{}", &r);
        if (r.error != tried[i].error || strstr(r.why, tried[i].says) == NULL)
            fail_msg("%s: %s: %s", tried[i].url, err_name(r.error), r.why);
        if (r.error != ERR_OK) assert_false(r.sent);
    }
    env_close(&e);
    tls_context_drop(context);
    certs_end();
}

#define MANY 200

static void test_many(void **state)
{
    static result r[MANY];
    unsigned count = 0;
    env e;

    (void)state;
    env_open(&e, NULL, 8);
    for (size_t i = 0; i < MANY; i++) {
        r[i] = (result){ .count = &count };
        (void)start(&e, "POST", i % 3 == 0 ? "http://127.0.0.1:%d/delay" : "http://127.0.0.1:%d/echo", "{}", &r[i]);
    }
    run_until_count(&e, &count, MANY);
    for (size_t i = 0; i < MANY; i++)
        if (r[i].error != ERR_OK) fail_msg("%zu: %s", i, r[i].why);
    assert_int_equal(e.s.requests, MANY);
    assert_in_range(e.s.most, 2, 8);             /* the cap on connections holds */
    assert_int_equal(e.s.accepted, e.s.most);
    env_close(&e);
}

/* Behind a peer that never answers, waiting for a connection ends in time too. */
static void test_waiting(void **state)
{
    result r[3];
    unsigned count = 0;
    env e;

    (void)state;
    env_open(&e, NULL, 1);
    for (size_t i = 0; i < countof(r); i++) {
        r[i] = (result){ .count = &count };
        (void)start(&e, "POST", i == 0 ? "http://127.0.0.1:%d/never" : "http://127.0.0.1:%d/slow", "{}", &r[i]);
    }
    run_until_count(&e, &count, countof(r));         /* the first has the one connection for 2 s, the others wait for 300 ms */
    for (size_t i = 0; i < countof(r); i++) {
        assert_int_equal(r[i].error, ERR_TIMEOUT);
        assert_int_equal(r[i].sent, i == 0);
    }
    assert_int_equal(e.s.requests, 1);
    env_close(&e);
}

static void cancel_other(result *r) { fetch_cancel(r->also_arg); }

static void test_cancel(void **state)
{
    result never = { .done = false }, perhaps = { .done = false }, first = { .also = cancel_other };
    env e;

    (void)state;
    env_open(&e, NULL, 4);
    fetch_cancel(start(&e, "POST", "http://127.0.0.1:%d/echo", "{}", &never));     /* at once */
    first.also_arg = start(&e, "POST", "http://127.0.0.1:%d/never", "{}", &never);  /* from another's done */
    (void)start(&e, "POST", "http://127.0.0.1:%d/echo", "{}", &first);
    run_until(&e, &first.done);
    ask(&e, "GET", "http://127.0.0.1:%d/echo", NULL, &first);            /* goes on working */
    assert_int_equal(first.status, 201);
    (void)start(&e, "POST", "http://127.0.0.1:%d/never", "{}", &never);   /* by closing */
    (void)start(&e, "GET", "http://no-such-host.invalid/", NULL, &perhaps);      /* while its name is looked up, or just after */
    (void)uv_run(&e.loop, UV_RUN_NOWAIT);
    env_close(&e);
    assert_false(never.done);
}

static bool closed_early;

static void close_now(result *r)
{
    env *e = r->also_arg;
    fetch_close(e->f, on_closed, &closed_early);
    server_close(&e->s);
}

/* fetch_close from within a `done`, with others under way. */
static void test_close_in_done(void **state)
{
    result never = { .done = false }, r = { .also = close_now };
    env e;

    (void)state;
    env_open(&e, NULL, 4);
    r.also_arg = &e;
    (void)start(&e, "POST", "http://127.0.0.1:%d/never", "{}", &never);
    (void)start(&e, "POST", "http://127.0.0.1:%d/echo", "{}", &r);
    while (uv_run(&e.loop, UV_RUN_DEFAULT) != 0) { }
    assert_true(r.done && closed_early);
    assert_false(never.done);
    assert_int_equal(uv_loop_close(&e.loop), 0);
}

/* The pool's connection dies while it is idle: the next request gets a new one. */
static void test_dead_connection(void **state)
{
    result r;
    env e;

    (void)state;
    env_open(&e, NULL, 1);
    ask(&e, "POST", "http://127.0.0.1:%d/echo", "{}", &r);
    list_each_safe(it, &e.s.conns) conn_close(container_of(it, conn, link));
    ask(&e, "POST", "http://127.0.0.1:%d/echo", "{}", &r);
    assert_int_equal(r.status, 201);
    assert_int_equal(e.s.accepted, 2);
    env_close(&e);
}

/* What may not be begun any more is not sent. */
static void test_too_late(void **state)
{
    result r = { .done = false };
    env e;

    (void)state;
    env_open(&e, NULL, 1);
    late = true;
    (void)start(&e, "POST", "http://127.0.0.1:%d/echo", "{}", &r);
    run_until(&e, &r.done);
    late = false;
    assert_int_equal(r.error, ERR_EXPIRED);
    assert_false(r.sent);
    assert_int_equal(e.s.requests, 0);
    ask(&e, "POST", "http://127.0.0.1:%d/echo", "{}", &r);
    assert_int_equal(r.status, 201);
    env_close(&e);
}

/* It dies when the peer has the request already: who asks learns that it was done twice. */
static void test_sent_again(void **state)
{
    result r;
    env e;

    (void)state;
    env_open(&e, NULL, 1);
    ask(&e, "POST", "http://127.0.0.1:%d/first", "{}", &r);
    assert_true(r.status == 200 && r.sent && !r.sent_again);
    ask(&e, "POST", "http://127.0.0.1:%d/first", "{}", &r);
    assert_true(r.status == 200 && r.sent && r.sent_again);
    assert_int_equal(e.s.requests, 3);
    assert_int_equal(e.s.accepted, 2);
    ask(&e, "POST", "http://127.0.0.1:%d/echo", "{}", &r);
    assert_true(r.status == 201 && !r.sent_again);           /* the handle, used again, starts anew */
    env_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods), cmocka_unit_test(test_cases), cmocka_unit_test(test_bad_header),
        cmocka_unit_test(test_tls), cmocka_unit_test(test_many), cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_cancel), cmocka_unit_test(test_close_in_done), cmocka_unit_test(test_dead_connection),
        cmocka_unit_test(test_sent_again), cmocka_unit_test(test_too_late),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1);     /* must not be looked at */
    (void)setenv("https_proxy", "http://127.0.0.1:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
