/* crypt/digest.h -- SHA-256, and comparing without telling how far it matched. */
#ifndef CRYPT_DIGEST_H
#define CRYPT_DIGEST_H

#include "base/base.h"

typedef struct sha256 { unsigned char byte[32]; } sha256;

sha256 sha256_of(slice bytes);

/* In pieces; `digest_begin` allocates, `digest_end` frees (NULL allowed). Keep one
 * for each thread; digest_reset, after digest_value, begins anew without allocating. */
typedef struct hasher hasher;
hasher *digest_begin(void) __attribute__((returns_nonnull));
void digest_reset(hasher *d);
void digest_add(hasher *d, slice piece);
sha256 digest_value(hasher *d);
void digest_end(hasher *d);

#define SHA256_HEX 64
char *sha256_hex(const sha256 *d, char out[SHA256_HEX + 1]);

/* True when equal; takes the same time wherever they differ. */
bool secret_eq(slice a, slice b);

#endif
