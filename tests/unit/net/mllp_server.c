/* tests/unit/net/mllp_server.c -- the MLLP listener over real loopback sockets. */
#include "peer.h"

#include "../crypt/certs.h"
#include "net/mllp_server.h"

#define VT "\x0b"
#define FS "\x1c"
#define END FS "\r"
#define TICKETS 40000

/* A listener and what it told. Frames are noted as "good:MSH|1" and so on, one a
 * line; with `answer` each is answered at once, else its ticket waits. */
typedef struct site {
    uv_loop_t     loop;
    mllp_server  *server;
    uint16_t      port;
    bool          answer, end, done;
    buf           log;
    mllp_ticket  *ticket[TICKETS];
    size_t        frames, next;          /* told; the next to be answered */
    unsigned      opened, closed;
    err           last_error;
    err_info      last_why;
    buf           peer_name;
} site;

static const char *const flaw_name[] = { "good", "no-start", "no-end", "too-long", "empty" };

static void on_frame(void *arg, mllp_ticket *t, mllp_flaw flaw, slice bytes)
{
    site *s = arg;

    buf_printf(&s->log, "%s:%.*s\n", flaw_name[flaw], (int)bytes.len, bytes.ptr);
    assert_true(slice_is(mllp_ticket_peer(t), "127.0.0.1"));
    assert_true(mllp_ticket_conn(t) > 0);
    s->frames++;
    if (s->answer) {
        char ack[32];
        (void)snprintf(ack, sizeof ack, "A%zu", s->frames);
        mllp_answer(t, slice_of(ack), s->end);
    } else {
        assert_true(s->frames <= TICKETS);
        s->ticket[s->frames - 1] = t;
    }
}

static void on_opened(void *arg, mllp_conn *c)
{
    site *s = arg;
    s->opened++;
    buf_clear(&s->peer_name);
    buf_put(&s->peer_name, mllp_conn_peer_name(c));
    assert_true(slice_is(mllp_conn_peer(c), "127.0.0.1"));
}

static void on_closed(void *arg, mllp_conn *c, err e, const err_info *why)
{
    site *s = arg;
    assert_true(mllp_conn_id(c) > 0);
    s->closed++;
    s->last_error = e;
    if (e != ERR_OK) s->last_why = *why;
}

static void on_done(void *arg) { ((site *)arg)->done = true; }

static const mllp_server_events events = { on_frame, on_opened, on_closed };

static site *site_open(const mllp_server_config *config)
{
    mllp_server_config with = *config;
    site *s = mem_zalloc(sizeof *s);
    err_info why = { 0 };

    with.address = "127.0.0.1";
    if (with.frame_cap == 0) with.frame_cap = 1000;
    if (with.max_connections == 0) with.max_connections = 10;
    if (with.max_in_flight == 0) with.max_in_flight = 100;
    s->answer = true;
    s->log = s->peer_name = buf_in(NULL);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    if (mllp_server_open(&s->loop, &with, &events, s, &s->server, &why) != ERR_OK) fail_msg("%s", why.text);
    s->port = mllp_server_port(s->server);
    return s;
}

static void site_close(site *s)
{
    if (s->server != NULL) {
        mllp_server_close(s->server, 0, on_done, s);
        turn_until(&s->loop, s->done);
    }
    end_loop(&s->loop);
    buf_free(&s->log);
    buf_free(&s->peer_name);
    free(s);
}

static void answer(site *s, size_t frame, const char *ack) { mllp_answer(s->ticket[frame], slice_of(ack), false); }

static void expect_log(site *s, const char *text)
{
    turn_until(&s->loop, s->log.len >= strlen(text));
    if (!slice_is(buf_slice(&s->log), text))
        fail_msg("frames were \"%.*s\", not \"%s\"", (int)s->log.len, s->log.ptr, text);
}

static void many_in_one_read(void **state)
{
    site *s = site_open(&(mllp_server_config){ .max_in_flight = 4 });
    peer p = peer_open(s->port);
    buf wire = buf_in(NULL), acks = buf_in(NULL);

    (void)state;
    for (int i = 1; i <= 200; i++) {
        buf_printf(&wire, VT "M%d" END, i);
        buf_printf(&acks, VT "A%d" END, i);
    }
    buf_putc(&acks, '\0');
    peer_send(&s->loop, &p, buf_slice(&wire));
    peer_expect(&s->loop, &p, acks.ptr);
    assert_int_equal(s->frames, 200);
    buf_free(&wire);
    buf_free(&acks);
    peer_close(&p);
    site_close(s);
}

static void one_in_a_hundred_reads(void **state)
{
    site *s = site_open(&(mllp_server_config){ 0 });
    peer p = peer_open(s->port);
    char text[104] = VT;

    (void)state;
    memset(text + 1, 'x', 100);
    memcpy(text + 101, END, 3);
    for (size_t i = 0; i < 103; i++) {
        peer_send(&s->loop, &p, (slice){ text + i, 1 });
        turn_for(&s->loop, 1);
    }
    peer_expect(&s->loop, &p, VT "A1" END);
    assert_int_equal(s->frames, 1);
    peer_close(&p);
    site_close(s);
}

static void flaws_are_told_and_the_connection_goes_on(void **state)
{
    site *s = site_open(&(mllp_server_config){ .frame_cap = 20 });
    peer p = peer_open(s->port);

    (void)state;
    peer_send(&s->loop, &p, slice_lit("junk" VT "M1" END "\r\n \n" VT "M2" VT "M3" END VT END
                                      VT "a message that is longer than the cap" END VT "M4" END));
    expect_log(s, "no-start:junk\ngood:M1\nno-end:M2\ngood:M3\nempty:\n"
                  "too-long:a message that is lo\ngood:M4\n");
    peer_expect(&s->loop, &p, VT "A1" END VT "A2" END VT "A3" END VT "A4" END VT "A5" END VT "A6" END VT "A7" END);
    peer_close(&p);
    site_close(s);
}

static void slow_drip_is_answered_and_closed(void **state)
{
    site *s = site_open(&(mllp_server_config){ .frame_ms = 150, .idle_ms = 60000 });
    peer p = peer_open(s->port);
    uint64_t began = now_ms();

    (void)state;
    peer_send(&s->loop, &p, slice_lit(VT));
    while (!peer_read(&p) && now_ms() < began + 5000) {
        peer_send(&s->loop, &p, slice_lit("x"));         /* a byte now and then does not help */
        turn_for(&s->loop, 10);
    }
    assert_true(p.ended);
    assert_true(now_ms() - began >= 75);
    assert_true(now_ms() - began < 20000);
    assert_true(slice_is(buf_slice(&p.got), VT "A1" END));
    assert_true(slice_starts(buf_slice(&s->log), slice_lit("no-end:x")));
    peer_close(&p);
    turn_until(&s->loop, s->closed == 1);
    assert_int_equal(s->last_error, ERR_TIMEOUT);
    site_close(s);
}

static void idle_is_closed_but_not_while_an_answer_is_due(void **state)
{
    site *s = site_open(&(mllp_server_config){ .idle_ms = 100, .frame_ms = 60000 });
    peer p = peer_open(s->port);
    uint64_t began;

    (void)state;
    s->answer = false;
    peer_send(&s->loop, &p, slice_lit(VT "M1" END));
    turn_until(&s->loop, s->frames == 1);
    turn_for(&s->loop, 300);
    assert_int_equal(s->closed, 0);
    began = now_ms();
    answer(s, 0, "A1");
    peer_expect(&s->loop, &p, VT "A1" END);
    turn_until(&s->loop, peer_read(&p));
    assert_true(now_ms() - began >= 45);                 /* counted from the answer */
    peer_close(&p);
    turn_until(&s->loop, s->closed == 1);
    assert_int_equal(s->last_error, ERR_TIMEOUT);
    assert_int_equal(s->frames, 1);      /* an empty end makes no frame */
    site_close(s);
}

static void connections_are_capped(void **state)
{
    site *s = site_open(&(mllp_server_config){ .max_connections = 2 });
    peer a = peer_open(s->port), b = peer_open(s->port);

    (void)state;
    turn_until(&s->loop, s->opened == 2);
    peer c = peer_open(s->port);
    turn_until(&s->loop, peer_read(&c));
    assert_int_equal(mllp_server_connections(s->server), 2);
    assert_int_equal(mllp_server_refused(s->server), 1);
    peer_close(&a);
    turn_until(&s->loop, mllp_server_connections(s->server) == 1);
    peer_close(&c);
    c = peer_open(s->port);
    peer_send(&s->loop, &c, slice_lit(VT "M" END));
    peer_expect(&s->loop, &c, VT "A1" END);
    peer_close(&b);
    peer_close(&c);
    site_close(s);
}

static void answers_leave_in_order(void **state)
{
    site *s = site_open(&(mllp_server_config){ 0 });
    peer p = peer_open(s->port);

    (void)state;
    s->answer = false;
    peer_send(&s->loop, &p, slice_lit(VT "1" END VT "2" END VT "3" END VT "4" END));
    turn_until(&s->loop, s->frames == 4);
    answer(s, 3, "four");
    answer(s, 1, "two");
    turn_for(&s->loop, 30);
    (void)peer_read(&p);
    assert_int_equal(p.got.len, 0);
    answer(s, 0, "one");
    peer_expect(&s->loop, &p, VT "one" END VT "two" END);
    answer(s, 2, "");                    /* no answer wanted: the order stays */
    peer_expect(&s->loop, &p, VT "four" END);
    peer_close(&p);
    site_close(s);
}

static void orphaned_tickets_are_just_freed(void **state)
{
    site *s = site_open(&(mllp_server_config){ 0 });
    peer p = peer_open(s->port);
    struct linger at_once = { 1, 0 };

    (void)state;
    s->answer = false;
    peer_send(&s->loop, &p, slice_lit(VT "1" END VT "2" END VT "3" END VT "half"));
    turn_until(&s->loop, s->frames == 3);
    answer(s, 1, "early");
    (void)setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    peer_close(&p);                      /* a reset */
    turn_until(&s->loop, s->closed == 1);
    assert_int_equal(s->last_error, ERR_NET);
    expect_log(s, "good:1\ngood:2\ngood:3\nno-end:half\n");
    assert_true(slice_is(mllp_ticket_peer(s->ticket[0]), "127.0.0.1"));
    answer(s, 0, "A1");
    mllp_server_close(s->server, 1000, on_done, s);      /* and one outlives the server */
    turn_until(&s->loop, s->done);
    s->server = NULL;
    answer(s, 2, "A3");
    answer(s, 3, "A4");
    site_close(s);
}

static void in_flight_is_bounded(void **state)
{
    site *s = site_open(&(mllp_server_config){ .max_in_flight = 3 });
    peer p = peer_open(s->port);
    buf wire = buf_in(NULL);

    (void)state;
    s->answer = false;
    for (int i = 0; i < 1000; i++) buf_printf(&wire, VT "%d" END, i);
    peer_send(&s->loop, &p, buf_slice(&wire));
    for (size_t done = 0; done < 1000; done++) {
        turn_until(&s->loop, s->frames > done);
        assert_true(s->frames <= done + 3);
        answer(s, done, "A");
    }
    turn_until(&s->loop, peer_has(&p, 1000 * strlen(VT "A" END)));
    buf_free(&wire);
    peer_close(&p);
    site_close(s);
}

/* Tiny frames that wait while the server is paused, and are answered from within
 * the event when it goes on: the stack must not grow with them. */
static void paused_server_reads_nothing_more(void **state)
{
    site *s = site_open(&(mllp_server_config){ 0 });
    peer p = peer_open(s->port);
    buf wire = buf_in(NULL);

    (void)state;
    peer_send(&s->loop, &p, slice_lit(VT "1" END));
    peer_expect(&s->loop, &p, VT "A1" END);
    mllp_server_pause(s->server);
    for (int i = 0; i < 16000; i++) buf_puts(&wire, VT "x" FS);
    peer_send(&s->loop, &p, buf_slice(&wire));
    turn_for(&s->loop, 50);
    assert_int_equal(s->frames, 1);
    mllp_server_resume(s->server);
    turn_until(&s->loop, (peer_read(&p), s->frames == 16001));
    buf_free(&wire);
    peer_close(&p);
    site_close(s);
}

static void peer_that_does_not_read_is_not_read(void **state)
{
    site *s = site_open(&(mllp_server_config){ 0 });
    peer p = peer_open(s->port);
    uint64_t until = now_ms() + 300;
    buf wire = buf_in(NULL);
    size_t before;

    (void)state;
    for (int i = 0; i < 1000; i++) buf_puts(&wire, VT "x" END);
    do {
        before = s->frames;
        if (send(p.fd, wire.ptr, wire.len, MSG_NOSIGNAL) > 0) until = now_ms() + 300;
        (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    } while (before != s->frames || now_ms() < until);
    /* The socket is full, and so is its other direction: nothing moves. */
    assert_true(s->frames > 1000);
    assert_int_equal(s->closed, 0);
    turn_until(&s->loop, (peer_read(&p), s->frames > before));
    buf_free(&wire);
    peer_close(&p);
    site_close(s);
}

static void half_closed_peer_gets_its_answers(void **state)
{
    site *s = site_open(&(mllp_server_config){ .max_in_flight = 1 });
    peer p = peer_open(s->port);

    (void)state;
    s->answer = false;
    peer_send(&s->loop, &p, slice_lit(VT "1" END VT "2" END VT "half"));
    assert_int_equal(shutdown(p.fd, SHUT_WR), 0);
    turn_until(&s->loop, s->frames == 1);
    answer(s, 0, "A1");
    turn_until(&s->loop, s->frames == 2);
    answer(s, 1, "A2");
    turn_until(&s->loop, s->frames == 3);
    answer(s, 2, "A3");
    turn_until(&s->loop, peer_read(&p));
    assert_false(p.reset);
    assert_true(slice_is(buf_slice(&p.got), VT "A1" END VT "A2" END VT "A3" END));
    assert_true(slice_is(buf_slice(&s->log), "good:1\ngood:2\nno-end:half\n"));
    turn_until(&s->loop, s->closed == 1);
    assert_int_equal(s->last_error, ERR_OK);
    peer_close(&p);
    site_close(s);
}

static void answer_that_ends_is_the_last(void **state)
{
    site *s = site_open(&(mllp_server_config){ 0 });
    peer p = peer_open(s->port);

    (void)state;
    s->end = true;
    peer_send(&s->loop, &p, slice_lit(VT "1" END VT "2" END));
    turn_until(&s->loop, peer_read(&p));
    assert_false(p.reset);
    assert_true(slice_is(buf_slice(&p.got), VT "A1" END));
    assert_int_equal(s->frames, 1);
    peer_close(&p);
    site_close(s);
}

static void close_drains(void **state)
{
    site *s = site_open(&(mllp_server_config){ .max_in_flight = 1 });
    peer p = peer_open(s->port), idle = peer_open(s->port);

    (void)state;
    s->answer = false;
    peer_send(&s->loop, &p, slice_lit(VT "1" END VT "2" END VT "half"));
    turn_until(&s->loop, s->frames == 1 && s->opened == 2);
    mllp_server_close(s->server, 60000, on_done, s);
    turn_until(&s->loop, peer_read(&idle));              /* at once: it waits for nothing */
    assert_false(s->done);
    answer(s, 0, "A1");
    turn_until(&s->loop, s->frames == 2);
    answer(s, 1, "A2");
    turn_until(&s->loop, peer_read(&p));
    assert_true(slice_is(buf_slice(&p.got), VT "A1" END VT "A2" END));
    peer_close(&p);
    peer_close(&idle);
    turn_until(&s->loop, s->done);
    assert_int_equal(s->frames, 2);      /* the half is the sender's to repeat */
    s->server = NULL;
    site_close(s);
}

static void drain_ends_in_time(void **state)
{
    site *s = site_open(&(mllp_server_config){ 0 });
    peer p = peer_open(s->port);
    uint64_t began;

    (void)state;
    s->answer = false;
    peer_send(&s->loop, &p, slice_lit(VT "1" END));
    turn_until(&s->loop, s->frames == 1);
    began = now_ms();
    mllp_server_close(s->server, 100, on_done, s);
    turn_until(&s->loop, s->done);
    assert_true(now_ms() - began >= 45);
    assert_true(now_ms() - began < 200000);
    s->server = NULL;
    answer(s, 0, "too late");
    peer_close(&p);
    site_close(s);
}

static void port_in_use_says_so(void **state)
{
    site *s = site_open(&(mllp_server_config){ 0 });
    mllp_server_config again = { .address = "127.0.0.1", .port = s->port, .max_connections = 1 };
    mllp_server *other = NULL;
    err_info why;

    (void)state;
    assert_int_equal(mllp_server_open(&s->loop, &again, &events, s, &other, &why), ERR_NET);
    assert_non_null(strstr(why.text, "in use"));
    again.address = "not an address";
    assert_int_equal(mllp_server_open(&s->loop, &again, &events, s, &other, &why), ERR_CONFIG);
    assert_null(other);
    site_close(s);
}

/* ---- TLS -------------------------------------------------------------------- */

typedef struct tls_peer { stream *stream; buf got; bool open, closed; err error; err_info why; } tls_peer;

static void peer_opened(void *arg) { ((tls_peer *)arg)->open = true; }
static void peer_data(void *arg, slice bytes) { buf_put(&((tls_peer *)arg)->got, bytes); }
static void peer_closed(void *arg, err e, const err_info *why)
{
    tls_peer *p = arg;
    p->closed = true;
    p->error = e;
    if (why != NULL) p->why = *why;
}

static const stream_events peer_events = { .open = peer_opened, .data = peer_data, .closed = peer_closed };

static tls_context *client_context(const char *name)
{
    tls_config config = { .ca = cert_path("ca", "pem") };
    tls_context *c = NULL;
    err_info why;

    if (name != NULL) { config.certificate = cert_path(name, "pem"); config.key = cert_path(name, "key"); }
    if (tls_client_context(&config, &c, &why) != ERR_OK) fail_msg("%s", why.text);
    return c;
}

static void tls_with_client_certificates(void **state)
{
    static const char *const allowed[] = { "lab", NULL };
    static const struct { const char *name; bool good; } clients[] = {
        { "lab", true }, { "ward", false }, { NULL, false }, { "lab", true }
    };
    tls_context *context = NULL;
    err_info why;
    unsigned opened = 0;

    (void)state;
    certs_begin();
    cert_make(&(cert_spec){ .name = "ca", .cn = "Test CA", .ca = true });
    cert_make(&(cert_spec){ .name = "server", .cn = "server", .san = "DNS:localhost,IP:127.0.0.1", .issuer = "ca" });
    cert_make(&(cert_spec){ .name = "lab", .cn = "lab", .issuer = "ca" });
    cert_make(&(cert_spec){ .name = "ward", .cn = "ward", .issuer = "ca" });
    tls_config config = { .certificate = cert_path("server", "pem"), .key = cert_path("server", "key"),
                          .ca = cert_path("ca", "pem"), .require_peer = true, .peer_names = allowed };
    if (tls_server_context(&config, &context, &why) != ERR_OK) fail_msg("%s", why.text);
    site *s = site_open(&(mllp_server_config){ .tls = context });
    tls_context_drop(context);           /* the server keeps its own */

    for (size_t i = 0; i < countof(clients); i++) {
        tls_peer p = { .got = buf_in(NULL) };
        tls_context *c = client_context(clients[i].name);
        s->frames = 0;
        p.stream = stream_connect(&s->loop, "127.0.0.1", s->port, c, 5000, &peer_events, &p);
        turn_until(&s->loop, p.open || p.closed);
        if (clients[i].good) {
            assert_true(p.open);
            stream_write(p.stream, slice_lit(VT "M1" END VT "M2" END));
            turn_until(&s->loop, p.got.len >= 10 || p.closed);
            assert_true(slice_is(buf_slice(&p.got), VT "A1" END VT "A2" END));
            assert_true(slice_is(buf_slice(&s->peer_name), "lab"));
            stream_close(p.stream, 1000);
            turn_until(&s->loop, p.closed);
            assert_int_equal(p.error, ERR_OK);
            opened++;
        } else {
            turn_until(&s->loop, p.closed);
            assert_int_equal(p.error, ERR_TLS);          /* the alert came through */
        }
        turn_until(&s->loop, s->closed == i + 1);
        assert_int_equal(s->last_error, clients[i].good ? ERR_OK : ERR_TLS);
        assert_int_equal(s->opened, opened);
        tls_context_drop(c);
        buf_free(&p.got);
    }

    /* A peer that speaks clear text is closed, and said to be so. */
    peer plain = peer_open(s->port);
    peer_send(&s->loop, &plain, slice_lit(VT "MSH|^~\\&|" END));
    turn_until(&s->loop, peer_read(&plain) && s->closed == countof(clients) + 1);
    assert_int_equal(s->last_error, ERR_TLS);
    peer_close(&plain);
    site_close(s);
    certs_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_in_one_read),
        cmocka_unit_test(one_in_a_hundred_reads),
        cmocka_unit_test(flaws_are_told_and_the_connection_goes_on),
        cmocka_unit_test(slow_drip_is_answered_and_closed),
        cmocka_unit_test(idle_is_closed_but_not_while_an_answer_is_due),
        cmocka_unit_test(connections_are_capped),
        cmocka_unit_test(answers_leave_in_order),
        cmocka_unit_test(orphaned_tickets_are_just_freed),
        cmocka_unit_test(in_flight_is_bounded),
        cmocka_unit_test(paused_server_reads_nothing_more),
        cmocka_unit_test(peer_that_does_not_read_is_not_read),
        cmocka_unit_test(half_closed_peer_gets_its_answers),
        cmocka_unit_test(answer_that_ends_is_the_last),
        cmocka_unit_test(close_drains),
        cmocka_unit_test(drain_ends_in_time),
        cmocka_unit_test(port_in_use_says_so),
        cmocka_unit_test(tls_with_client_certificates),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
