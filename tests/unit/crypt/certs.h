/* tests/unit/crypt/certs.h -- makes CAs and certificates for a test, in a folder of
 * its own, by OpenSSL's own calls. */
#ifndef TESTS_CERTS_H
#define TESTS_CERTS_H

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"

typedef struct cert_spec {
    const char *name;                    /* NAME.pem and NAME.key are written */
    const char *cn;
    const char *san;                     /* "DNS:a,IP:127.0.0.1"; NULL: none */
    const char *issuer;                  /* the `name` of its CA; NULL: signed by itself */
    bool        ca;
    int         from_days, until_days;   /* from now; both 0: yesterday until in a month */
    const char *passphrase;              /* of the key; NULL: in clear */
} cert_spec;

static char certs_dir[32];

static inline const char *cert_path(const char *name, const char *suffix)
{
    static char path[8][96];
    static unsigned turn;
    char *out = path[turn++ % countof(path)];

    (void)snprintf(out, sizeof path[0], "%s/%s.%s", certs_dir, name, suffix);
    return out;
}

static inline void certs_must(bool holds, const char *what)
{
    if (!holds) die("certificates for the test: %s", what);
}

static inline void certs_begin(void)
{
    (void)snprintf(certs_dir, sizeof certs_dir, "/tmp/interop-test-XXXXXX");
    certs_must(mkdtemp(certs_dir) != NULL, "no folder in /tmp");
}

static inline void certs_end(void)
{
    char command[64];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", certs_dir);
    certs_must(system(command) == 0, "the folder cannot be removed");
}

static inline void cert_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    certs_must(extension != NULL && X509_add_ext(cert, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

static inline void cert_make(const cert_spec *spec)
{
    static long serial = 1;
    EVP_PKEY *key = EVP_EC_gen("P-256"), *ca_key = key;
    X509 *cert = X509_new(), *ca = cert;
    bool dated = spec->from_days != 0 || spec->until_days != 0;
    FILE *file;

    certs_must(key != NULL && cert != NULL, "no key");
    if (spec->issuer != NULL) {
        certs_must((file = fopen(cert_path(spec->issuer, "pem"), "r")) != NULL, spec->issuer);
        ca = PEM_read_X509(file, NULL, NULL, NULL);
        (void)fclose(file);
        certs_must((file = fopen(cert_path(spec->issuer, "key"), "r")) != NULL, spec->issuer);
        ca_key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        (void)fclose(file);
    }
    (void)X509_set_version(cert, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), 86400L * (dated ? spec->from_days : -1));
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), 86400L * (dated ? spec->until_days : 30));
    (void)X509_set_pubkey(cert, key);
    (void)X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                     (const unsigned char *)spec->cn, -1, -1, 0);
    (void)X509_set_issuer_name(cert, X509_get_subject_name(ca));
    cert_extend(cert, ca, NID_basic_constraints, spec->ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (spec->san != NULL) cert_extend(cert, ca, NID_subject_alt_name, spec->san);
    certs_must(X509_sign(cert, ca_key, EVP_sha256()) > 0, "cannot sign");

    certs_must((file = fopen(cert_path(spec->name, "pem"), "w")) != NULL, spec->name);
    certs_must(PEM_write_X509(file, cert) == 1, spec->name);
    (void)fclose(file);
    certs_must((file = fopen(cert_path(spec->name, "key"), "w")) != NULL, spec->name);
    certs_must(PEM_write_PKCS8PrivateKey(file, key, spec->passphrase == NULL ? NULL : EVP_aes_256_cbc(),
                                         spec->passphrase, spec->passphrase == NULL ? 0 : (int)strlen(spec->passphrase),
                                         NULL, NULL) == 1, spec->name);
    (void)fclose(file);
    if (ca != cert) X509_free(ca);
    if (ca_key != key) EVP_PKEY_free(ca_key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

#endif
