/* tests/unit/crypt/digest.c -- SHA-256 (FIPS 180-4's examples), UUIDs (RFC 9562's
 * example) and comparing secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "crypt/digest.h"
#include "crypt/uuid.h"

static const struct { const char *text, *hex; } known[] = {
    { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

static void test_known(void **state)
{
    char hex[SHA256_HEX + 1];
    hasher *d = digest_begin();

    (void)state;
    for (size_t i = 0; i < countof(known); i++) {
        slice text = slice_of(known[i].text);
        sha256 whole = sha256_of(text);
        assert_string_equal(sha256_hex(&whole, hex), known[i].hex);
        for (size_t cut = 0; cut <= text.len; cut++) {
            if (i > 0 || cut > 0) digest_reset(d);
            digest_add(d, (slice){ text.ptr, cut });
            digest_add(d, slice_from(text, cut));
            sha256 parts = digest_value(d);
            assert_memory_equal(parts.byte, whole.byte, sizeof whole.byte);
        }
    }
    digest_end(d);
    digest_end(NULL);
}

/* NULL when all were right. */
static void *hash_many(void *arg)
{
    char hex[SHA256_HEX + 1];

    (void)arg;
    for (int i = 0; i < 1000; i++) {
        sha256 value = sha256_of(slice_of(known[i % 3].text));
        if (strcmp(sha256_hex(&value, hex), known[i % 3].hex) != 0) return "wrong";
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t thread[4];
    void *answer;

    (void)state;
    for (size_t i = 0; i < countof(thread); i++)
        assert_int_equal(pthread_create(&thread[i], NULL, hash_many, NULL), 0);
    for (size_t i = 0; i < countof(thread); i++) {
        assert_int_equal(pthread_join(thread[i], &answer), 0);
        assert_null(answer);
    }
}

static void test_uuid(void **state)
{
    static const unsigned char dns[16] = { 0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
                                           0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8 };
    char out[UUID_LEN + 1], ours[UUID_LEN + 1];

    (void)state;
    assert_string_equal(uuid5(dns, slice_lit("www.example.com"), out), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    /* Ids in the field were derived from this namespace: it can never change. */
    assert_string_equal(uuid5(UUID_INTEROP, slice_lit("Patient"), ours), "b6c47122-3235-5855-b625-b8dd4415f0d1");
    assert_string_not_equal(uuid5(UUID_INTEROP, SLICE_NONE, out), ours);
    assert_int_equal(out[14], '5');
}

static void test_secret(void **state)
{
    (void)state;
    assert_true(secret_eq(slice_lit("token"), slice_lit("token")));
    assert_false(secret_eq(slice_lit("token"), slice_lit("tokem")));
    assert_false(secret_eq(slice_lit("token"), slice_lit("toke")));
    assert_true(secret_eq(SLICE_NONE, slice_lit("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_uuid), cmocka_unit_test(test_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
