/* tests/unit/net/stream.c -- connecting, writing, pausing and closing a stream. */
#include "peer.h"

#include "net/stream.h"

#define MUCH ((size_t)5 << 20)

/* A listener that takes one stream, and what that or a connecting stream told. */
typedef struct side {
    uv_loop_t loop;
    uv_tcp_t  listener;
    uint16_t  port;
    stream   *stream;
    buf       got;
    bool      open, closed, close_in_data;
    size_t    drained;
    err       error;
    err_info  why;
} side;

static void on_open(void *arg) { ((side *)arg)->open = true; }
static void on_drained(void *arg) { ((side *)arg)->drained++; }

static void on_data(void *arg, slice bytes)
{
    side *s = arg;
    buf_put(&s->got, bytes);
    if (s->close_in_data) stream_close(s->stream, 0);
}

static void on_closed(void *arg, err e, const err_info *why)
{
    side *s = arg;
    assert_false(s->closed);
    s->closed = true;
    s->error = e;
    if (why != NULL) s->why = *why;
}

static const stream_events events = { .open = on_open, .data = on_data, .drained = on_drained, .closed = on_closed };

static void on_connection(uv_stream_t *listener, int status)
{
    side *s = container_of(listener, side, listener);
    assert_int_equal(status, 0);
    s->stream = stream_accept(listener, NULL, &events, s);
    assert_non_null(s->stream);
}

static void side_open(side *s)
{
    err_info why;

    *s = (side){ .got = buf_in(NULL) };
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(net_listen(&s->loop, &s->listener, "127.0.0.1", 0, 10, on_connection, &s->port, &why), ERR_OK);
}

static void side_close(side *s)
{
    if (!uv_is_closing((uv_handle_t *)&s->listener)) uv_close((uv_handle_t *)&s->listener, NULL);
    if (s->stream != NULL && !s->closed) stream_close(s->stream, 0);
    end_loop(&s->loop);
    buf_free(&s->got);
}

static void refused_says_where(void **state)
{
    side s;

    (void)state;
    side_open(&s);
    uv_close((uv_handle_t *)&s.listener, NULL);
    turn_for(&s.loop, 10);
    s.stream = stream_connect(&s.loop, "127.0.0.1", s.port, NULL, 5000, &events, &s);
    assert_false(s.closed);              /* never from within the call */
    turn_until(&s.loop, s.closed);
    assert_int_equal(s.error, ERR_NET);
    assert_non_null(strstr(s.why.text, "127.0.0.1"));
    assert_non_null(strstr(s.why.text, "refused"));
    assert_false(s.open);
    side_close(&s);
}

/* Mostly ::1 comes first, where nobody listens. */
static void next_address_is_tried(void **state)
{
    side s, c = { .got = buf_in(NULL) };

    (void)state;
    side_open(&s);
    c.stream = stream_connect(&s.loop, "localhost", s.port, NULL, 5000, &events, &c);
    turn_until(&s.loop, c.open || c.closed);
    assert_true(c.open);
    assert_true(slice_is(stream_peer(c.stream), "127.0.0.1"));
    stream_write(c.stream, slice_lit("hello"));
    turn_until(&s.loop, s.got.len == 5);
    stream_close(c.stream, 1000);
    turn_until(&s.loop, s.closed && c.closed);
    assert_int_equal(s.error, ERR_OK);
    assert_int_equal(c.error, ERR_OK);
    side_close(&s);
}

static void silent_server_times_out(void **state)
{
    tls_config config = { 0 };
    tls_context *context = NULL;
    side s, c = { .got = buf_in(NULL) };
    uint64_t began = now_ms();

    (void)state;
    side_open(&s);
    assert_int_equal(tls_client_context(&config, &context, NULL), ERR_OK);
    c.stream = stream_connect(&s.loop, "127.0.0.1", s.port, context, 150, &events, &c);
    turn_until(&s.loop, c.closed);
    assert_int_equal(c.error, ERR_TIMEOUT);
    assert_true(now_ms() - began >= 75 && now_ms() - began < 200000);
    tls_context_drop(context);
    side_close(&s);
}

static void closed_while_connecting(void **state)
{
    side s, c = { .got = buf_in(NULL) };

    (void)state;
    side_open(&s);
    c.stream = stream_connect(&s.loop, "127.0.0.1", s.port, NULL, 5000, &events, &c);
    stream_close(c.stream, 0);
    turn_until(&s.loop, c.closed);
    assert_int_equal(c.error, ERR_OK);
    side_close(&s);
}

static void closing_flushes_to_a_slow_reader(void **state)
{
    char *much = mem_alloc(MUCH);
    side s;

    (void)state;
    memset(much, 'm', MUCH);
    side_open(&s);
    peer p = peer_open(s.port);
    turn_until(&s.loop, s.stream != NULL);
    peer_send(&s.loop, &p, slice_lit("never read"));
    stream_write(s.stream, (slice){ much, MUCH });
    assert_true(stream_pending(s.stream) > 0);
    stream_close(s.stream, 10000);
    stream_write(s.stream, slice_lit("too late"));
    turn_for(&s.loop, 50);
    assert_false(s.closed);
    turn_until(&s.loop, peer_read(&p));
    assert_false(p.reset);
    assert_int_equal(p.got.len, MUCH);
    peer_close(&p);
    turn_until(&s.loop, s.closed);
    assert_int_equal(s.error, ERR_OK);
    assert_int_equal(s.got.len, 0);
    free(much);
    side_close(&s);
}

static void flushing_ends_in_time(void **state)
{
    char *much = mem_zalloc(MUCH);
    uint64_t began;
    side s;

    (void)state;
    side_open(&s);
    peer p = peer_open(s.port);
    turn_until(&s.loop, s.stream != NULL);
    stream_write(s.stream, (slice){ much, MUCH });
    began = now_ms();
    stream_close(s.stream, 150);
    turn_until(&s.loop, s.closed);
    assert_true(now_ms() - began >= 75 && now_ms() - began < 200000);
    assert_int_equal(s.error, ERR_TIMEOUT);
    peer_close(&p);
    free(much);
    side_close(&s);
}

static void pending_falls_to_nothing(void **state)
{
    char *much = mem_zalloc(MUCH);
    side s;

    (void)state;
    side_open(&s);
    peer p = peer_open(s.port);
    turn_until(&s.loop, s.stream != NULL);
    stream_write(s.stream, slice_lit("small"));          /* the socket takes it at once */
    assert_int_equal(stream_pending(s.stream), 0);
    stream_write(s.stream, (slice){ much, MUCH });
    stream_write(s.stream, slice_lit("behind"));
    assert_true(stream_pending(s.stream) > 6);
    assert_int_equal(s.drained, 0);
    turn_until(&s.loop, (peer_read(&p), s.drained == 1));
    assert_int_equal(stream_pending(s.stream), 0);
    turn_until(&s.loop, peer_has(&p, 5 + MUCH + 6));
    assert_memory_equal(p.got.ptr + 5 + MUCH, "behind", 6);
    peer_close(&p);
    free(much);
    side_close(&s);
}

static void paused_stream_says_nothing(void **state)
{
    side s;

    (void)state;
    side_open(&s);
    peer p = peer_open(s.port);
    turn_until(&s.loop, s.stream != NULL);
    stream_pause(s.stream);
    peer_send(&s.loop, &p, slice_lit("waits"));
    turn_for(&s.loop, 30);
    assert_int_equal(s.got.len, 0);
    stream_resume(s.stream);
    turn_until(&s.loop, s.got.len == 5);
    s.close_in_data = true;
    peer_send(&s.loop, &p, slice_lit("the end"));
    turn_until(&s.loop, s.closed);
    assert_int_equal(s.error, ERR_OK);
    peer_close(&p);
    side_close(&s);
}

static void reset_is_an_error(void **state)
{
    struct linger at_once = { 1, 0 };
    side s;

    (void)state;
    side_open(&s);
    peer p = peer_open(s.port);
    turn_until(&s.loop, s.stream != NULL);
    (void)setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    peer_close(&p);
    turn_until(&s.loop, s.closed);
    assert_int_equal(s.error, ERR_NET);
    assert_non_null(strstr(s.why.text, "127.0.0.1"));
    side_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_says_where),
        cmocka_unit_test(next_address_is_tried),
        cmocka_unit_test(silent_server_times_out),
        cmocka_unit_test(closed_while_connecting),
        cmocka_unit_test(closing_flushes_to_a_slow_reader),
        cmocka_unit_test(flushing_ends_in_time),
        cmocka_unit_test(pending_falls_to_nothing),
        cmocka_unit_test(paused_stream_says_nothing),
        cmocka_unit_test(reset_is_an_error),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
