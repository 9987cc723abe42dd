/* crypt/tls.c -- one TLS connection between bytes and bytes.
 *
 *   SHAKING --handshake done, peer verified--> OPEN --close_notify--> ENDED
 *      `------------------ any failure --------> BROKEN
 *
 * OpenSSL reads and writes through a BIO of our own that has no memory: it takes
 * straight from what tls_receive was given and appends straight to `wire`. So
 * nothing is copied twice, and an idle connection holds no buffer. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include "crypt/tls_inner.h"

#define READ_ROOM 4096
#define NAME_SHOWN 80

struct tls {
    enum { SHAKING, OPEN, ENDED, BROKEN } state;
    SSL         *ssl;
    tls_context *context;
    char        *server_name;            /* a client's */
    char        *peer_name;
    slice        from;                   /* not yet taken by OpenSSL; within tls_receive only */
    buf         *wire;                   /* within a call only */
    buf          early;                  /* plain text sent before the handshake was done */
    bool         name_refused;           /* verified, but not on the list */
};

/* ---- the BIO ----------------------------------------------------------------- */

static int wire_write(BIO *b, const char *bytes, int n)
{
    const tls *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    if (t->wire == NULL || n <= 0) return -1;
    buf_put(t->wire, (slice){ bytes, (size_t)n });
    return n;
}

static int wire_read(BIO *b, char *out, int cap)
{
    tls *t = BIO_get_data(b);
    size_t n = t->from.len;

    BIO_clear_retry_flags(b);
    if (n == 0 || cap <= 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    if (n > (size_t)cap) n = (size_t)cap;
    memcpy(out, t->from.ptr, n);
    t->from = slice_from(t->from, n);
    return (int)n;
}

static long wire_ctrl(BIO *b, int command, long n, void *arg)
{
    (void)b; (void)n; (void)arg;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *wire_method;          /* made once, never freed */

static void make_method(void)
{
    wire_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "interop wire");
    if (wire_method == NULL || BIO_meth_set_write(wire_method, wire_write) != 1
        || BIO_meth_set_read(wire_method, wire_read) != 1 || BIO_meth_set_ctrl(wire_method, wire_ctrl) != 1)
        die("OpenSSL cannot make a BIO");
}

static BIO *wire_new(tls *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, make_method);
    BIO *b = BIO_new(wire_method);
    if (b == NULL) die("OpenSSL cannot make a BIO");
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    return b;
}

/* ---- names in certificates ------------------------------------------------------ */

/* "good.example\0.evil" must not pass for the name before its NUL. */
static bool offer_name(slice name, bool (*each)(void *arg, slice name), void *arg)
{
    return name.len > 0 && memchr(name.ptr, '\0', name.len) == NULL && each(arg, name);
}

/* Calls `each` with the CNs, then the dNSNames, until it returns true. */
static bool each_name(const X509 *cert, bool (*each)(void *arg, slice name), void *arg)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    bool found = false;

    for (int at = -1; !found && (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, at);
        unsigned char *text = NULL;
        int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
        if (n > 0) found = offer_name((slice){ (const char *)text, (size_t)n }, each, arg);
        OPENSSL_free(text);
    }
    GENERAL_NAMES *others = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; !found && i < sk_GENERAL_NAME_num(others); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(others, i);
        if (name->type != GEN_DNS) continue;
        found = offer_name((slice){ (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                                    (size_t)ASN1_STRING_length(name->d.dNSName) }, each, arg);
    }
    GENERAL_NAMES_free(others);
    return found;
}

static bool keep_name(void *arg, slice name)
{
    tls *t = arg;

    free(t->peer_name);
    t->peer_name = mem_dup(name);
    return true;
}

static bool keep_allowed(void *arg, slice name)
{
    const tls *t = arg;

    for (char **allowed = t->context->peer_names; *allowed != NULL; allowed++)
        if (strlen(*allowed) == name.len && strncasecmp(*allowed, name.ptr, name.len) == 0)
            return keep_name(arg, name);
    return false;
}

/* Called by OpenSSL for each certificate of the chain. Names are compared here,
 * not after the handshake, so that the peer is told by an alert. */
static int on_verify(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    tls *t = SSL_get_app_data(ssl);

    if (!good || X509_STORE_CTX_get_error_depth(store) > 0) return good;
    const X509 *cert = X509_STORE_CTX_get_current_cert(store);
    if (t->context->server && t->context->peer_names != NULL) {
        if (each_name(cert, keep_allowed, t)) return 1;
        t->name_refused = true;
        (void)each_name(cert, keep_name, t);
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    (void)each_name(cert, keep_name, t);
    return 1;
}

/* ---- what went wrong --------------------------------------------------------------- */

static const struct { int reason; const char *text; } handshake_texts[] = {
    { SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the client sent no certificate, and this listener demands one" },
    { SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the server demands a client certificate" },
    { SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS here (clear text?)" },
    { SSL_R_HTTP_REQUEST, "the peer does not speak TLS here (clear text HTTP)" },
    { SSL_R_HTTPS_PROXY_REQUEST, "the peer does not speak TLS here (clear text HTTP)" },
    { SSL_R_PACKET_LENGTH_TOO_LONG, "the peer does not speak TLS here (clear text?)" },
    { SSL_R_BAD_PACKET_LENGTH, "the peer does not speak TLS here (clear text?)" },
    { SSL_R_UNSUPPORTED_PROTOCOL, "the peer offers only TLS older than 1.2" },
    { SSL_R_VERSION_TOO_LOW, "the peer offers only TLS older than 1.2" },
    { SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the peer refuses our TLS versions (1.2 and 1.3)" },
    { SSL_R_NO_SHARED_CIPHER, "no cipher in common with the peer" },
    { SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the peer refuses the handshake (no cipher in common, or it demands a certificate)" },
    { SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the peer does not trust the CA that signed our certificate" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the peer says that our certificate has ended" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the peer says that our certificate is revoked" },
    { SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the peer refuses our certificate" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the peer refuses our certificate" },
    { SSL_R_TLSV1_ALERT_ACCESS_DENIED, "the peer refuses our certificate" },
    { SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "the peer refuses our kind of certificate" },
};

/* The peer chose this text: only what is harmless in a log is shown. */
static const char *shown_name(const tls *t, char out[NAME_SHOWN + 1])
{
    (void)slice_cstr(slice_of(t->peer_name == NULL ? "none" : t->peer_name), out, NAME_SHOWN + 1);
    for (char *c = out; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || *c == '"') *c = '?';
    return out;
}

static err verify_failed(const tls *t, long result, err_info *why)
{
    const char *whose = t->context->server ? "client" : "server";
    char name[NAME_SHOWN + 1];

    switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH: case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return err_set(why, ERR_TLS, "the server's certificate is not for %s", t->server_name);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return err_set(why, ERR_TLS, "the %s's certificate, or one that signed it, has ended", whose);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return err_set(why, ERR_TLS, "the %s's certificate is not valid yet; check the clocks", whose);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT: case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return err_set(why, ERR_TLS, "the %s's certificate is not signed by a trusted CA; set ca to the one that did", whose);
    case X509_V_ERR_APPLICATION_VERIFICATION:
        if (!t->name_refused) break;
        return err_set(why, ERR_TLS, "the client's certificate name %s is not on the list of allowed names",
                       shown_name(t, name));
    default: break;
    }
    return err_set(why, ERR_TLS, "the %s's certificate is refused: %s", whose, X509_verify_cert_error_string(result));
}

static err broken(tls *t, err_info *why)
{
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    long result = SSL_get_verify_result(t->ssl);

    t->state = BROKEN;
    if (result != X509_V_OK && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        ERR_clear_error();
        return verify_failed(t, result, why);
    }
    for (size_t i = 0; i < countof(handshake_texts); i++) {
        if (reason != handshake_texts[i].reason) continue;
        ERR_clear_error();
        return err_set(why, ERR_TLS, "%s", handshake_texts[i].text);
    }
    return err_set(why, ERR_TLS, "TLS failed: %s", tls_reason());
}

/* ---- a connection ---------------------------------------------------------------- */

/* The name, or address, that the server's certificate must carry. */
static void expect_server(tls *t, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);

    t->server_name = mem_dup(slice_of(name));
    SSL_set_verify(t->ssl, SSL_VERIFY_PEER, on_verify);
    SSL_set_connect_state(t->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1) return;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_host(param, name, 0) != 1) die("tls_open: no memory");
    (void)SSL_set_tlsext_host_name(t->ssl, name);      /* SNI is a hint; set1_host is the proof */
    ERR_clear_error();
}

tls *tls_open(tls_context *c, const char *server_name)
{
    tls *t = mem_zalloc(sizeof *t);
    BIO *wire = wire_new(t);

    if (!c->server && (server_name == NULL || *server_name == '\0'))
        die("tls_open: a client must know whom it talks to");
    t->context = tls_context_keep(c);
    t->early = buf_in(NULL);
    t->ssl = SSL_new(c->ssl);
    if (t->ssl == NULL) die("OpenSSL cannot make a connection: %s", tls_reason());
    SSL_set_bio(t->ssl, wire, wire);
    SSL_set_app_data(t->ssl, t);
    if (!c->server) {
        expect_server(t, server_name);
    } else {
        if (c->require_peer)
            SSL_set_verify(t->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
        SSL_set_accept_state(t->ssl);
    }
    return t;
}

void tls_free(tls *t)
{
    if (t == NULL) return;
    SSL_free(t->ssl);
    tls_context_drop(t->context);
    buf_free(&t->early);
    free(t->server_name);
    free(t->peer_name);
    free(t);
}

static err encrypt(tls *t, slice plain, err_info *why)
{
    size_t done;

    if (plain.len == 0) return ERR_OK;
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, plain.ptr, plain.len, &done) != 1) return broken(t, why);
    return ERR_OK;                       /* without partial writes it takes all or fails */
}

static err shake_hands(tls *t, err_info *why)
{
    ERR_clear_error();
    int n = SSL_do_handshake(t->ssl);
    if (n != 1) return SSL_get_error(t->ssl, n) == SSL_ERROR_WANT_READ ? ERR_OK : broken(t, why);
    t->state = OPEN;
    err e = encrypt(t, buf_slice(&t->early), why);
    buf_free(&t->early);
    return e;
}

static err decrypt(tls *t, buf *plain, err_info *why)
{
    for (;;) {
        size_t n = 0;
        ERR_clear_error();
        int good = SSL_read_ex(t->ssl, buf_room(plain, READ_ROOM), READ_ROOM, &n);
        if (good == 1) {
            plain->len += n;
            continue;
        }
        switch (SSL_get_error(t->ssl, good)) {
        case SSL_ERROR_WANT_READ: return ERR_OK;
        case SSL_ERROR_ZERO_RETURN: t->state = ENDED; return ERR_OK;
        default: return broken(t, why);
        }
    }
}

err tls_receive(tls *t, slice from_peer, buf *plain, buf *wire, bool *closed, err_info *why)
{
    err e = ERR_OK;

    *closed = t->state == ENDED;
    if (t->state == ENDED) return ERR_OK;
    if (t->state == BROKEN) return err_set(why, ERR_TLS, "the TLS connection has failed before");
    t->from = from_peer;
    t->wire = wire;
    if (t->state == SHAKING) e = shake_hands(t, why);
    if (e == ERR_OK && t->state == OPEN) e = decrypt(t, plain, why);
    t->from = SLICE_NONE;
    t->wire = NULL;
    *closed = t->state == ENDED;
    return e;
}

err tls_send(tls *t, slice plain, buf *wire, err_info *why)
{
    if (t->state == BROKEN) return err_set(why, ERR_TLS, "the TLS connection has failed before");
    if (t->state == SHAKING) {
        buf_put(&t->early, plain);
        return ERR_OK;
    }
    t->wire = wire;                      /* after the peer's close_notify ours is still open */
    err e = encrypt(t, plain, why);
    t->wire = NULL;
    return e;
}

err tls_start(tls *t, buf *wire, err_info *why)
{
    t->wire = wire;
    err e = shake_hands(t, why);
    t->wire = NULL;
    return e;
}

void tls_close(tls *t, buf *wire)
{
    if (t->state != OPEN && t->state != ENDED) return;
    t->wire = wire;
    (void)SSL_shutdown(t->ssl);
    t->wire = NULL;
    ERR_clear_error();
}

bool tls_ready(const tls *t) { return t->state == OPEN || t->state == ENDED; }

slice tls_peer_name(const tls *t)
{
    return tls_ready(t) ? slice_of(t->peer_name) : SLICE_NONE;
}
