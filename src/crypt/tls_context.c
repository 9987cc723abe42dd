/* crypt/tls_context.c -- certificates, keys and rules, read from files with
 * errors that say which file and what to do about it.
 *
 * TLS 1.2 with forward secrecy and authenticated ciphers, or 1.3; no
 * renegotiation, no compression. A listener that demands client certificates
 * resumes no sessions, so that each connection proves its certificate again. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "crypt/tls_inner.h"

#define CIPHERS_12 "ECDHE+AESGCM:ECDHE+CHACHA20"

const char *tls_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);

    ERR_clear_error();
    return text == NULL ? "unknown OpenSSL error" : text;
}

static err check_readable(const char *what, const char *path, err_info *why)
{
    FILE *file = fopen(path, "re");

    if (file == NULL) return err_set(why, ERR_TLS, "%s %s: %s", what, path, strerror(errno));
    (void)fclose(file);
    return ERR_OK;
}

static void date_text(const ASN1_TIME *when, char out[16])
{
    struct tm t;

    (void)snprintf(out, 16, "an unknown day");
    if (ASN1_TIME_to_tm(when, &t) == 1) (void)strftime(out, 16, "%Y-%m-%d", &t);
}

/* Peers would refuse it anyway, with an error that names no file. */
static err check_dates(const X509 *cert, const char *path, err_info *why)
{
    const ASN1_TIME *from = X509_get0_notBefore(cert), *until = X509_get0_notAfter(cert);
    char day[16];

    if (X509_cmp_current_time(until) < 0) {
        date_text(until, day);
        return err_set(why, ERR_TLS, "certificate %s ended on %s; renew it", path, day);
    }
    if (X509_cmp_current_time(from) > 0) {
        date_text(from, day);
        return err_set(why, ERR_TLS, "certificate %s begins only on %s; check this machine's clock", path, day);
    }
    return ERR_OK;
}

static err load_certificate(SSL_CTX *ssl, const char *path, err_info *why)
{
    err e = check_readable("certificate", path, why);

    if (e != ERR_OK) return e;
    if (SSL_CTX_use_certificate_chain_file(ssl, path) != 1) {
        bool none = ERR_GET_REASON(ERR_peek_error()) == PEM_R_NO_START_LINE;
        return err_set(why, ERR_TLS, "certificate %s: %s", path,
                       none ? "the file holds no PEM certificate" : tls_reason());
    }
    return check_dates(SSL_CTX_get0_certificate(ssl), path, why);
}

/* Without it OpenSSL would ask at the terminal, and wait. */
static int no_passphrase(char *out, int cap, int writing, void *arg)
{
    (void)out; (void)cap; (void)writing;
    *(bool *)arg = true;
    return 0;
}

static err load_key(SSL_CTX *ssl, const char *certificate, const char *path, err_info *why)
{
    bool encrypted = false;
    err e = check_readable("key", path, why);

    if (e != ERR_OK) return e;
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *key = file == NULL ? NULL : PEM_read_bio_PrivateKey(file, NULL, no_passphrase, &encrypted);
    BIO_free(file);
    if (key == NULL) {
        e = err_set(why, ERR_TLS, encrypted ? "key %s is encrypted; give one without a passphrase"
                                            : "key %s: the file holds no PEM private key", path);
    } else if (X509_check_private_key(SSL_CTX_get0_certificate(ssl), key) != 1) {
        e = err_set(why, ERR_TLS, "key %s does not belong to certificate %s", path, certificate);
    } else if (SSL_CTX_use_PrivateKey(ssl, key) != 1) {
        e = err_set(why, ERR_TLS, "key %s: %s", path, tls_reason());
    }
    EVP_PKEY_free(key);
    return e;
}

static err load_ca(SSL_CTX *ssl, const tls_config *config, bool server, err_info *why)
{
    err e;

    if (config->ca == NULL) {
        if (SSL_CTX_set_default_verify_paths(ssl) == 1) return ERR_OK;
        return err_set(why, ERR_TLS, "the system's CA certificates cannot be read: %s", tls_reason());
    }
    if ((e = check_readable("ca", config->ca, why)) != ERR_OK) return e;
    if (SSL_CTX_load_verify_file(ssl, config->ca) != 1)
        return err_set(why, ERR_TLS, "ca %s: the file holds no PEM certificate", config->ca);
    if (server) SSL_CTX_set_client_CA_list(ssl, SSL_load_client_CA_file(config->ca));
    return ERR_OK;
}

static err check_config(const tls_config *config, bool server, err_info *why)
{
    if (server && config->certificate == NULL)
        return err_set(why, ERR_CONFIG, "TLS needs a certificate and its key");
    if (config->certificate != NULL && config->key == NULL)
        return err_set(why, ERR_CONFIG, "certificate %s is given without its key", config->certificate);
    if (server && config->require_peer && config->ca == NULL)
        return err_set(why, ERR_CONFIG, "client certificates are demanded, but no ca says who signs them");
    return ERR_OK;
}

static err load_files(tls_context *c, const tls_config *config, err_info *why)
{
    err e;

    if (config->certificate != NULL) {
        if ((e = load_certificate(c->ssl, config->certificate, why)) != ERR_OK) return e;
        if ((e = load_key(c->ssl, config->certificate, config->key, why)) != ERR_OK) return e;
    }
    if (!c->server || config->require_peer) return load_ca(c->ssl, config, c->server, why);
    return ERR_OK;
}

static char **copy_names(const char *const *names)
{
    size_t n = 0;

    if (names == NULL) return NULL;
    while (names[n] != NULL) n++;
    char **copy = mem_zalloc((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++) copy[i] = mem_dup(slice_of(names[i]));
    return copy;
}

static void set_rules(const tls_context *c)
{
    if (SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION) != 1
        || SSL_CTX_set_cipher_list(c->ssl, CIPHERS_12) != 1)
        die("OpenSSL has no TLS 1.2");
    (void)SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION
                                          | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);     /* idle connections stay small */
    (void)SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    if (c->require_peer) {
        (void)SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
        (void)SSL_CTX_set_num_tickets(c->ssl, 0);
    }
}

static err context_new(const tls_config *config, bool server, tls_context **out, err_info *why)
{
    err e = check_config(config, server, why);

    if (e != ERR_OK) return e;
    tls_context *c = mem_zalloc(sizeof *c);
    c->held = 1;
    c->server = server;
    c->require_peer = server && config->require_peer;
    c->peer_names = copy_names(config->peer_names);
    c->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (c->ssl == NULL) die("OpenSSL cannot make a context: %s", tls_reason());
    set_rules(c);
    ERR_clear_error();
    if ((e = load_files(c, config, why)) != ERR_OK) {
        ERR_clear_error();
        tls_context_drop(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

err tls_server_context(const tls_config *config, tls_context **out, err_info *why)
{
    return context_new(config, true, out, why);
}

err tls_client_context(const tls_config *config, tls_context **out, err_info *why)
{
    return context_new(config, false, out, why);
}

tls_context *tls_context_keep(tls_context *c)
{
    (void)atomic_fetch_add(&c->held, 1);
    return c;
}

void tls_context_drop(tls_context *c)
{
    if (c == NULL || atomic_fetch_sub(&c->held, 1) > 1) return;
    for (char **name = c->peer_names; name != NULL && *name != NULL; name++) free(*name);
    free(c->peer_names);
    SSL_CTX_free(c->ssl);
    free(c);
}
