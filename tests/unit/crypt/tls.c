/* tests/unit/crypt/tls.c -- a client and a server against each other, in memory:
 * fed whole and byte by byte and cut at every point, and each refusal with its text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "certs.h"
#include "crypt/tls.h"

#define HELLO "MSH|^~\\&|hello"
#define REPLY "MSA|AA|reply"

static int make_certs(void **state)
{
    static const cert_spec specs[] = {
        { .name = "ca", .cn = "Test CA", .ca = true },
        { .name = "other-ca", .cn = "Other CA", .ca = true },
        { .name = "server", .cn = "server", .san = "DNS:engine.test,IP:127.0.0.1", .issuer = "ca" },
        { .name = "expired", .cn = "old", .san = "DNS:engine.test", .issuer = "ca", .from_days = -9, .until_days = -2 },
        { .name = "future", .cn = "new", .san = "DNS:engine.test", .issuer = "ca", .from_days = 5, .until_days = 9 },
        { .name = "client", .cn = "lab-west", .san = "DNS:lab.west.test,DNS:second.west.test", .issuer = "ca" },
        { .name = "stranger", .cn = "lab west\n\xc3\xa9", .issuer = "ca" },
        { .name = "foreign", .cn = "lab-west", .issuer = "other-ca" },
        { .name = "locked", .cn = "locked", .issuer = "ca", .passphrase = "secret" },
    };

    (void)state;
    certs_begin();
    for (size_t i = 0; i < countof(specs); i++) cert_make(&specs[i]);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    certs_end();
    return 0;
}

/* ---- two ends ------------------------------------------------------------------- */

typedef struct end {
    tls     *t;
    buf      out, plain;                 /* to the other end; from it */
    err      error;
    err_info why;
    bool     closed;
} end;

typedef struct pair { end client, server; } pair;

static void end_open(end *e, tls_context *c, const char *server_name)
{
    *e = (end){ .t = tls_open(c, server_name), .out = buf_in(NULL), .plain = buf_in(NULL) };
    tls_context_drop(c);                 /* the connection keeps it */
}

static void end_free(end *e)
{
    tls_free(e->t);
    buf_free(&e->out);
    buf_free(&e->plain);
}

static void end_take(end *e, slice bytes)
{
    if (e->error != ERR_OK) return;
    e->error = tls_receive(e->t, bytes, &e->plain, &e->out, &e->closed, &e->why);
}

/* Carries bytes both ways until both are silent: at most `piece` at once, the
 * first delivery to each end only `first` (0: no difference). */
static void pump(pair *p, size_t piece, size_t first)
{
    end *from = &p->client, *to = &p->server;
    size_t cut[2] = { first, first };

    for (int quiet = 0, turn = 0; quiet < 2; turn ^= 1) {
        buf sent = from->out;
        from->out = buf_in(NULL);
        quiet = sent.len == 0 ? quiet + 1 : 0;
        for (size_t at = 0; at < sent.len;) {
            size_t n = cut[turn] > 0 ? cut[turn] : piece;
            if (n > sent.len - at) n = sent.len - at;
            cut[turn] = 0;
            char *exact = malloc(n);     /* so that ASan sees a read behind it */
            assert_non_null(exact);
            memcpy(exact, sent.ptr + at, n);
            end_take(to, (slice){ exact, n });
            free(exact);
            at += n;
        }
        buf_free(&sent);
        end *swap = from;
        from = to;
        to = swap;
    }
}

static tls_context *server_context(const char *name, bool require_peer, const char *const *names)
{
    tls_config config = { cert_path(name, "pem"), cert_path(name, "key"), cert_path("ca", "pem"), require_peer, names };
    tls_context *c = NULL;
    err_info why;

    if (tls_server_context(&config, &c, &why) != ERR_OK) fail_msg("%s", why.text);
    return c;
}

static tls_context *client_context(const char *name, const char *ca)
{
    tls_config config = { 0 };
    tls_context *c = NULL;
    err_info why;

    if (ca != NULL) config.ca = cert_path(ca, "pem");
    if (name != NULL) {
        config.certificate = cert_path(name, "pem");
        config.key = cert_path(name, "key");
    }
    if (tls_client_context(&config, &c, &why) != ERR_OK) fail_msg("%s", why.text);
    return c;
}

static void pair_open(pair *p, tls_context *client, tls_context *server, const char *host)
{
    end_open(&p->client, client, host);
    end_open(&p->server, server, NULL);
    assert_int_equal(tls_start(p->client.t, &p->client.out, &p->client.why), ERR_OK);
    assert_false(tls_ready(p->client.t));
}

static void pair_free(pair *p)
{
    end_free(&p->client);
    end_free(&p->server);
}

/* ---- what works ------------------------------------------------------------------- */

static void talk(pair *p, size_t piece, size_t first)
{
    /* Before the handshake is done: kept, and sent when it is. */
    assert_int_equal(tls_send(p->client.t, slice_lit(HELLO), &p->client.out, NULL), ERR_OK);
    pump(p, piece, first);
    if (p->client.error != ERR_OK) fail_msg("client: %s", p->client.why.text);
    if (p->server.error != ERR_OK) fail_msg("server: %s", p->server.why.text);
    assert_true(tls_ready(p->client.t) && tls_ready(p->server.t));
    assert_true(slice_is(buf_slice(&p->server.plain), HELLO));
    assert_int_equal(tls_send(p->server.t, slice_lit(REPLY), &p->server.out, NULL), ERR_OK);
    pump(p, piece, 0);
    assert_true(slice_is(buf_slice(&p->client.plain), REPLY));

    tls_close(p->client.t, &p->client.out);
    pump(p, piece, 0);
    assert_true(p->server.closed);
    assert_int_equal(p->server.error, ERR_OK);
    /* Half-closed: an answer may still go the other way. */
    assert_int_equal(tls_send(p->server.t, slice_lit(REPLY), &p->server.out, NULL), ERR_OK);
    tls_close(p->server.t, &p->server.out);
}

static void test_split(void **state)
{
    static const size_t pieces[] = { 1, 2, 5, 7, 1000, SIZE_MAX };
    pair p;

    (void)state;
    for (size_t i = 0; i < countof(pieces); i++) {
        pair_open(&p, client_context("client", "ca"), server_context("server", true, NULL), "engine.test");
        talk(&p, pieces[i], 0);
        assert_true(slice_is(tls_peer_name(p.server.t), "lab-west"));
        assert_true(slice_is(tls_peer_name(p.client.t), "server"));
        pair_free(&p);
    }
    for (size_t first = 1; first < 1200; first += 1) {   /* the first flights, cut at every point */
        if (first > 300 && first % 7 != 0) continue;
        pair_open(&p, client_context(NULL, "ca"), server_context("server", false, NULL), "engine.test");
        talk(&p, SIZE_MAX, first);
        assert_null(tls_peer_name(p.server.t).ptr);
        pair_free(&p);
    }
}

static void test_large(void **state)
{
    buf text = buf_in(NULL);
    pair p;

    (void)state;
    for (int i = 0; i < 100000; i++) buf_printf(&text, "%d,", i);
    pair_open(&p, client_context(NULL, "ca"), server_context("server", false, NULL), "engine.test");
    assert_int_equal(tls_send(p.client.t, buf_slice(&text), &p.client.out, NULL), ERR_OK);
    pump(&p, 1000, 0);
    assert_true(slice_eq(buf_slice(&p.server.plain), buf_slice(&text)));
    assert_int_equal(tls_send(p.server.t, buf_slice(&text), &p.server.out, NULL), ERR_OK);
    pump(&p, 70000, 0);
    assert_true(slice_eq(buf_slice(&p.client.plain), buf_slice(&text)));
    pair_free(&p);
    buf_free(&text);
}

static const char *const allow_cn[] = { "other", "LAB-West", NULL };
static const char *const allow_san[] = { "second.west.test", NULL };
static const char *const allow_part[] = { "lab", "lab-east", "west.test", "lab-west-2", "*.west.test", NULL };
static const char *const allow_none[] = { NULL };

static const struct {
    const char *client, *client_ca, *server, *host;
    bool        require_peer;
    const char *const *names;
    const char *peer_name;               /* that the server saw */
    const char *client_says, *server_says;   /* NULL: no error */
} cases[] = {
    { "client", "ca", "server", "127.0.0.1", true, NULL, "lab-west", NULL, NULL },
    { "client", "ca", "server", "ENGINE.test", true, allow_cn, "lab-west", NULL, NULL },
    { "client", "ca", "server", "engine.test", true, allow_san, "second.west.test", NULL, NULL },
    { "client", "ca", "server", "engine.test", false, allow_none, NULL, NULL, NULL },
    { NULL, "ca", "server", "elsewhere.test", false, NULL, NULL,
      "the server's certificate is not for elsewhere.test", "the peer refuses our certificate" },
    { NULL, "ca", "server", "server", false, NULL, NULL,         /* a CN does not count beside a SAN */
      "the server's certificate is not for server", "the peer refuses our certificate" },
    { NULL, "ca", "server", "127.0.0.2", false, NULL, NULL,
      "the server's certificate is not for 127.0.0.2", "the peer refuses our certificate" },
    { NULL, "other-ca", "server", "engine.test", false, NULL, NULL,
      "is not signed by a trusted CA", "does not trust the CA" },
    { NULL, NULL, "server", "engine.test", false, NULL, NULL, "is not signed by a trusted CA", "does not trust the CA" },
    { NULL, "ca", "server", "engine.test", true, NULL, NULL,
      "the server demands a client certificate", "the client sent no certificate" },
    { "foreign", "ca", "server", "engine.test", true, NULL, NULL,
      "does not trust the CA that signed our certificate", "the client's certificate is not signed by a trusted CA" },
    { "client", "ca", "server", "engine.test", true, allow_part, NULL,
      "the peer refuses", "the client's certificate name lab-west is not on the list" },
    { "client", "ca", "server", "engine.test", true, allow_none, NULL, "the peer refuses", "is not on the list" },
    { "stranger", "ca", "server", "engine.test", true, allow_cn, NULL,
      "the peer refuses", "name lab?west??? is not on the list" },
};

static void assert_says(const char *who, size_t i, const end *e, const char *want)
{
    if (want == NULL && e->error != ERR_OK) fail_msg("case %zu, %s: %s", i, who, e->why.text);
    if (want == NULL) return;
    if (e->error != ERR_TLS) fail_msg("case %zu, %s: no error", i, who);
    if (strstr(e->why.text, want) == NULL) fail_msg("case %zu, %s: %s", i, who, e->why.text);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        pair p;
        pair_open(&p, client_context(cases[i].client, cases[i].client_ca),
                  server_context(cases[i].server, cases[i].require_peer, cases[i].names), cases[i].host);
        assert_int_equal(tls_send(p.client.t, slice_lit(HELLO), &p.client.out, NULL), ERR_OK);
        pump(&p, SIZE_MAX, 0);
        assert_says("client", i, &p.client, cases[i].client_says);
        assert_says("server", i, &p.server, cases[i].server_says);
        if (cases[i].server_says != NULL) {
            assert_int_equal(p.server.plain.len, 0);     /* nothing of a refused peer is let through */
            assert_false(tls_ready(p.server.t));
            assert_null(tls_peer_name(p.server.t).ptr);
            assert_int_equal(tls_send(p.server.t, slice_lit(REPLY), &p.server.out, NULL), ERR_TLS);
        } else {
            assert_true(slice_is(buf_slice(&p.server.plain), HELLO));
            assert_true(slice_eq(tls_peer_name(p.server.t), slice_of(cases[i].peer_name)));
        }
        pair_free(&p);
    }
}

/* What is no TLS at all, or was tampered with, or an old version. */
static void test_garbage(void **state)
{
    static const struct { slice bytes; const char *says; } wires[] = {
        { { "\x0bMSH|^~\\&|CLEAR|TEXT\r\x1c\r", 24 }, "does not speak TLS here" },
        { { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27 }, "clear text HTTP" },
        { { "\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x01"            /* a ClientHello of TLS 1.0 */
            "0123456789abcdef0123456789abcdef\x00\x00\x04\x00\x2f\x00\x35\x01\x00", 52 }, "older than 1.2" },
    };

    (void)state;
    for (size_t i = 0; i < countof(wires); i++) {
        end e;
        end_open(&e, server_context("server", false, NULL), NULL);
        end_take(&e, wires[i].bytes);
        assert_says("server", i, &e, wires[i].says);
        end_free(&e);
    }
    pair p;
    pair_open(&p, client_context(NULL, "ca"), server_context("server", false, NULL), "engine.test");
    pump(&p, SIZE_MAX, 0);
    assert_int_equal(tls_send(p.client.t, slice_lit(HELLO), &p.client.out, NULL), ERR_OK);
    p.client.out.ptr[p.client.out.len - 1] ^= 1;
    pump(&p, SIZE_MAX, 0);
    assert_int_equal(p.server.error, ERR_TLS);
    assert_int_equal(p.server.plain.len, 0);
    pair_free(&p);
}

/* ---- files ------------------------------------------------------------------------- */

static const struct {
    const char *certificate, *key, *ca;  /* names; "-": a file without PEM; "?": none such */
    bool        server, require_peer;
    err         error;
    const char *says;
} files[] = {
    { NULL, NULL, NULL, true, false, ERR_CONFIG, "TLS needs a certificate and its key" },
    { "server", NULL, NULL, true, false, ERR_CONFIG, "without its key" },
    { "server", "server", NULL, true, true, ERR_CONFIG, "no ca says who signs them" },
    { "?", "server", NULL, true, false, ERR_TLS, "?.pem: No such file or directory" },
    { "-", "server", NULL, true, false, ERR_TLS, "-.pem: the file holds no PEM certificate" },
    { "server", "?", NULL, true, false, ERR_TLS, "?.key: No such file or directory" },
    { "server", "-", NULL, true, false, ERR_TLS, "-.key: the file holds no PEM private key" },
    { "server", "client", NULL, true, false, ERR_TLS, "client.key does not belong to certificate" },
    { "locked", "locked", NULL, true, false, ERR_TLS, "locked.key is encrypted; give one without a passphrase" },
    { "expired", "expired", NULL, true, false, ERR_TLS, "expired.pem ended on 20" },
    { "future", "future", NULL, true, false, ERR_TLS, "future.pem begins only on 20" },
    { "server", "server", "?", true, true, ERR_TLS, "?.pem: No such file or directory" },
    { "server", "server", "-", true, true, ERR_TLS, "-.pem: the file holds no PEM certificate" },
    { NULL, NULL, "?", false, false, ERR_TLS, "?.pem: No such file or directory" },
    { "client", NULL, "ca", false, false, ERR_CONFIG, "without its key" },
};

static const char *path_or_null(const char *name, const char *suffix)
{
    return name == NULL ? NULL : cert_path(name, suffix);
}

static void write_text(const char *path)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    (void)fputs("this is not PEM\n", f);
    (void)fclose(f);
}

static void test_files(void **state)
{
    (void)state;
    write_text(cert_path("-", "pem"));
    write_text(cert_path("-", "key"));
    for (size_t i = 0; i < countof(files); i++) {
        tls_config config = { path_or_null(files[i].certificate, "pem"), path_or_null(files[i].key, "key"),
                              path_or_null(files[i].ca, "pem"), files[i].require_peer, NULL };
        tls_context *c = NULL;
        err_info why = { 0 };
        err e = files[i].server ? tls_server_context(&config, &c, &why) : tls_client_context(&config, &c, &why);
        if (e != files[i].error || strstr(why.text, files[i].says) == NULL)
            fail_msg("case %zu: %s", i, why.text);
        assert_null(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split), cmocka_unit_test(test_large), cmocka_unit_test(test_cases),
        cmocka_unit_test(test_garbage), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
