/* crypt/tls_inner.h -- what tls_context.c and tls.c share; for nobody else. */
#ifndef CRYPT_TLS_INNER_H
#define CRYPT_TLS_INNER_H

#include <openssl/ssl.h>

#include "crypt/tls.h"

struct tls_context {
    SSL_CTX         *ssl;
    _Atomic unsigned held;
    bool             server, require_peer;
    char           **peer_names;         /* NULL-terminated; NULL: any */
};

/* The text of OpenSSL's latest error on this thread; empties its queue. Never NULL. */
const char *tls_reason(void);

#endif
