/* crypt/uuid.h -- name-based UUIDs (RFC 9562, version 5), for deterministic ids. */
#ifndef CRYPT_UUID_H
#define CRYPT_UUID_H

#include "base/base.h"

#define UUID_LEN 36

/* The namespace of every deterministic id of Interop. */
extern const unsigned char UUID_INTEROP[16];

/* "f81d4fae-7dec-5…" of `name` in `space`; returns `out`, NUL-terminated. */
char *uuid5(const unsigned char space[16], slice name, char out[UUID_LEN + 1]);

#endif
