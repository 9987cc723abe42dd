/* crypt/tls.h -- TLS 1.2 and later as a filter between bytes and bytes (OpenSSL
 * with memory BIOs). It never touches a socket: net/stream carries its records. */
#ifndef CRYPT_TLS_H
#define CRYPT_TLS_H

#include "base/buf.h"

typedef struct tls_context tls_context;  /* certificates and rules; shared, counted */
typedef struct tls tls;                  /* one connection */

typedef struct tls_config {
    const char *certificate;             /* PEM file with the chain; NULL for a plain client */
    const char *key;                     /* PEM file */
    const char *ca;                      /* PEM file: who signs the peer; NULL: the system's */
    bool        require_peer;            /* server: a client certificate is demanded */
    const char *const *peer_names;       /* server: allowed names (CN or SAN), NULL-terminated; NULL: any that `ca` signed */
} tls_config;

/* Reads the files; ERR_TLS names the file and what is wrong with it, that a key
 * does not fit its certificate, that a certificate has ended. ERR_CONFIG: something
 * is missing; a server that demands client certificates needs a `ca` of its own. */
must_check err tls_server_context(const tls_config *config, tls_context **out, err_info *why);
must_check err tls_client_context(const tls_config *config, tls_context **out, err_info *why);
tls_context *tls_context_keep(tls_context *c);
void tls_context_drop(tls_context *c);   /* NULL allowed */

/* A connection; a client gives the name or address that the server must prove
 * (SNI too); a server's is NULL. */
tls *tls_open(tls_context *c, const char *server_name);
void tls_free(tls *t);                   /* NULL allowed */

/* Feeds bytes from the peer, takes plain text out. `plain` and `wire` are
 * appended to: what the peer said, and what must be sent to it. ERR_TLS ends the
 * connection; `wire` then may hold the alert. `*closed` when the peer said it is done. */
must_check err tls_receive(tls *t, slice from_peer, buf *plain, buf *wire, bool *closed, err_info *why);

/* Encrypts; before the handshake is done the text is kept and sent after it. */
must_check err tls_send(tls *t, slice plain, buf *wire, err_info *why);

/* Begins a client's handshake. */
must_check err tls_start(tls *t, buf *wire, err_info *why);
void tls_close(tls *t, buf *wire);       /* close_notify */
bool tls_ready(const tls *t);            /* handshake done, peer verified */

/* The verified peer's certificate name, SLICE_NONE without one; borrowed. */
slice tls_peer_name(const tls *t);

#endif
