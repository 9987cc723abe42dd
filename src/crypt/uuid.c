/* crypt/uuid.c -- UUID version 5: the SHA-1 of namespace and name, cut to 16
 * bytes with version and variant written over six of its bits. SHA-1 is what
 * RFC 9562 section 5.5 asks for; nothing here relies on its strength. */
#include "crypt/uuid.h"

#include <openssl/evp.h>
#include <pthread.h>

/* Drawn at random, once. Changing it changes every id ever derived from it. */
const unsigned char UUID_INTEROP[16] = {
    0x50, 0x1d, 0xe1, 0x7c, 0x23, 0x25, 0x4e, 0x7f,
    0xb6, 0x89, 0xbc, 0x30, 0x8d, 0x6a, 0xd2, 0x15
};

static EVP_MD *sha1_md;                  /* fetched once, never freed */

static void fetch_md(void)
{
    sha1_md = EVP_MD_fetch(NULL, "SHA1", NULL);
    if (sha1_md == NULL) die("OpenSSL has no SHA-1");
}

char *uuid5(const unsigned char space[16], slice name, char out[UUID_LEN + 1])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    char *at = out;

    (void)pthread_once(&once, fetch_md);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL || EVP_DigestInit_ex(ctx, sha1_md, NULL) != 1
        || EVP_DigestUpdate(ctx, space, 16) != 1 || EVP_DigestUpdate(ctx, name.ptr, name.len) != 1
        || EVP_DigestFinal_ex(ctx, hash, NULL) != 1)
        die("SHA-1 failed");
    EVP_MD_CTX_free(ctx);

    hash[6] = (unsigned char)((hash[6] & 0x0f) | 0x50);
    hash[8] = (unsigned char)((hash[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
        *at++ = digits[hash[i] >> 4];
        *at++ = digits[hash[i] & 15];
    }
    *at = '\0';
    return out;
}
