/* tests/unit/store/rules.c -- base URLs of services, and rows as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/rules.h"

static void test_url(void **state)
{
    static const struct { const char *given, *url, *host; } table[] = {
        { "http://127.0.0.1:8090/fhir", "http://127.0.0.1:8090/fhir", "127.0.0.1:8090" },
        { "https://fhir.example.org/r4//", "https://fhir.example.org/r4", "fhir.example.org" },
        { "https://[::1]:443", "https://[::1]:443", "[::1]:443" },
        { "http://h/{tenant}/fhir", "http://h/{tenant}/fhir", "h" },
        { "ftp://h/", NULL, NULL }, { "h/fhir", NULL, NULL }, { "http://", NULL, NULL }, { "", NULL, NULL },
        { "http://user:s3cret@h/", NULL, NULL }, { "http://h/a b", NULL, NULL }, { "http://h/?x=1", NULL, NULL },
        { "http://h/#x", NULL, NULL }, { "http://h/\x01", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < countof(table); i++) {
        slice url, host;
        err_info why = { ERR_OK, "" };
        err e = rule_url(slice_of(table[i].given), &url, &host, &why);
        assert_int_equal(e, table[i].url == NULL ? ERR_CONFIG : ERR_OK);
        if (table[i].url == NULL) {
            assert_true(why.text[0] != '\0');
            assert_null(strstr(why.text, "s3cret"));
            continue;
        }
        assert_true(slice_is(url, table[i].url));
        assert_true(slice_is(host, table[i].host));
    }
}

static void test_json(void **state)
{
    const rule_row r = { .id = slice_lit("RR_1"), .resource_type = slice_lit("*"), .service_url = slice_lit("http://h"),
                         .category = slice_lit("a\"b"), .priority = -3, .active = true };
    buf out = buf_in(NULL);

    (void)state;
    rule_json(&out, &r);
    assert_true(slice_is(buf_slice(&out), "{\"id\":\"RR_1\",\"resourceType\":\"*\",\"category\":\"a\\\"b\","
                         "\"serviceUrl\":\"http://h\",\"fanOut\":false,\"priority\":-3,\"active\":true}"));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_url), cmocka_unit_test(test_json) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
