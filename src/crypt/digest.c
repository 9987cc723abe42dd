/* crypt/digest.c -- SHA-256 by OpenSSL's EVP. Fetching an algorithm and making a
 * context cost more than hashing a message, so the first is done once for the
 * process and the second once for each thread. */
#include "crypt/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

struct hasher { EVP_MD_CTX *ctx; };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256_md;                /* set once, never freed */
static pthread_key_t own_digest;         /* each thread's, for sha256_of */

static void free_own(void *arg) { digest_end(arg); }

static void fetch_md(void)
{
    sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (sha256_md == NULL || pthread_key_create(&own_digest, free_own) != 0)
        die("OpenSSL has no SHA-256");
}

hasher *digest_begin(void)
{
    hasher *d = mem_alloc(sizeof *d);

    (void)pthread_once(&once, fetch_md);
    d->ctx = EVP_MD_CTX_new();
    if (d->ctx == NULL || EVP_DigestInit_ex(d->ctx, sha256_md, NULL) != 1) die("SHA-256 cannot begin");
    return d;
}

void digest_reset(hasher *d)
{
    if (EVP_DigestInit_ex(d->ctx, NULL, NULL) != 1) die("SHA-256 cannot begin");
}

void digest_add(hasher *d, slice piece)
{
    if (piece.len > 0 && EVP_DigestUpdate(d->ctx, piece.ptr, piece.len) != 1) die("SHA-256 failed");
}

sha256 digest_value(hasher *d)
{
    sha256 value;

    if (EVP_DigestFinal_ex(d->ctx, value.byte, NULL) != 1) die("SHA-256 failed");
    return value;
}

void digest_end(hasher *d)
{
    if (d == NULL) return;
    EVP_MD_CTX_free(d->ctx);
    free(d);
}

sha256 sha256_of(slice bytes)
{
    (void)pthread_once(&once, fetch_md);
    hasher *d = pthread_getspecific(own_digest);
    if (d == NULL) {
        d = digest_begin();
        if (pthread_setspecific(own_digest, d) != 0) die("out of memory");
    } else {
        digest_reset(d);
    }
    digest_add(d, bytes);
    return digest_value(d);
}

char *sha256_hex(const sha256 *d, char out[SHA256_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof d->byte; i++) {
        out[2 * i] = digits[d->byte[i] >> 4];
        out[2 * i + 1] = digits[d->byte[i] & 15];
    }
    out[SHA256_HEX] = '\0';
    return out;
}

bool secret_eq(slice a, slice b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}
