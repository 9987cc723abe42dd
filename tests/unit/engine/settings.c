/* tests/unit/engine/settings.c -- every key by a good and a bad value, what must
 * fit together, and the words of a command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/settings.h"
#include "engine/words.h"

static void test_standards(void **state)
{
    connector_settings s;
    arena mem;

    (void)state;
    arena_init(&mem);
    assert_int_equal(settings_parse(&mem, SLICE_NONE, &s, NULL), ERR_OK);
    assert_int_equal(s.level, ACK_LEVEL_STORED);
    assert_int_equal(s.ack_deadline_ms, 20000);
    assert_int_equal(s.mode, ACK_MODE_AUTO);
    assert_false(s.accept_reused_ids);
    assert_int_equal(s.key_path_count, 0);
    assert_true(s.address.len == 0);
    assert_int_equal(s.frame_cap, 16 << 20);
    assert_int_equal(s.frame_ms, 30000);
    assert_int_equal(s.max_connections, 1000);
    assert_int_equal(s.max_attempts, 5);
    assert_int_equal(s.quarantine_bytes, 256 << 20);
    assert_true(slice_is(s.script, "{}"));
    assert_null(s.tls_certificate);
    assert_null(s.tls_names);
    assert_int_equal(s.keep_days, 0);
    arena_free(&mem);
}

static void test_all_keys(void **state)
{
    static const char text[] =
        "{\"ack_level\":\"delivered\",\"ack_deadline\":1500,\"ack_mode\":\"enhanced\",\"reused_ids\":\"accept\","
        "\"key_paths\":[\"PID-3.1\",\"OBX[2]-5\"],\"timezone\":\"Europe/Berlin\",\"address\":\"::1\","
        "\"frame_cap\":4096,\"idle_ms\":1,\"frame_ms\":50,\"max_connections\":20000,\"max_in_flight\":1,"
        "\"max_attempts\":1,\"retry_base_ms\":7,\"retry_cap_ms\":7,\"quarantine_rows\":0,\"quarantine_bytes\":0,"
        "\"script\":{\"b\":1.10,\"a\":[]},\"tls_certificate\":\"/c\",\"tls_key\":\"/k\",\"tls_ca\":\"/a\","
        "\"tls_names\":[\"one\",\"two\"],\"keep_days\":30}";
    connector_settings s;
    err_info why = { ERR_OK, "" };
    arena mem;

    (void)state;
    arena_init(&mem);
    if (settings_parse(&mem, slice_of(text), &s, &why) != ERR_OK) fail_msg("%s", why.text);
    assert_int_equal(s.mode, ACK_MODE_ENHANCED);
    assert_true(s.accept_reused_ids);
    assert_int_equal(s.key_path_count, 2);
    assert_string_equal(s.key_paths[1].seg, "OBX");
    assert_int_equal(s.key_paths[1].occ, 2);
    assert_true(slice_is(s.timezone, "Europe/Berlin"));
    assert_true(slice_is(s.address, "::1"));
    assert_int_equal(s.max_connections, 20000);
    assert_int_equal(s.quarantine_rows, 0);
    assert_true(slice_is(s.script, "{\"b\":1.10,\"a\":[]}"));
    assert_string_equal(s.tls_ca, "/a");
    assert_string_equal(s.tls_names[1], "two");
    assert_null(s.tls_names[2]);
    assert_int_equal(s.keep_days, 30);
    arena_free(&mem);
}

static void test_refused(void **state)
{
    static const struct { const char *text, *says; } table[] = {
        { "[]", "JSON object" },
        { "{\"a\":", "settings: " },
        { "{\"frame_size\":1}", "unknown setting \"frame_size\"" },
        { "{\"frame_cap\":1023}", "frame_cap takes a size from 1KiB to 256MiB" },
        { "{\"frame_cap\":\"1MiB\"}", "frame_cap takes" },
        { "{\"frame_cap\":4096.5}", "frame_cap takes" },
        { "{\"max_attempts\":0}", "a number from 1 to 1000" },
        { "{\"idle_ms\":-1}", "idle_ms takes a time from 0" },
        { "{\"ack_mode\":\"both\"}", "\"auto\" or \"original\" or \"enhanced\"" },
        { "{\"ack_level\":\"seen\"}", "\"stored\" or \"mapped\" or \"delivered\"" },
        { "{\"reused_ids\":true}", "\"refuse\" or \"accept\"" },
        { "{\"timezone\":\"Europe/Berln\"}", "time zone database" },
        { "{\"timezone\":\"../../etc/passwd\"}", "time zone database" },
        { "{\"key_paths\":\"PID-3\"}", "list of HL7 paths" },
        { "{\"key_paths\":[\"PID-\"]}", "key_paths: " },
        { "{\"key_paths\":[\"PID\"]}", "names a segment" },
        { "{\"tls_names\":[1]}", "list of names" },
        { "{\"tls_certificate\":\"c.pem\",\"tls_key\":\"/k\"}", "from the root" },
        { "{\"tls_certificate\":\"/c\"}", "tls_key is missing" },
        { "{\"tls_key\":\"/k\"}", "tls_certificate is missing" },
        { "{\"tls_ca\":\"/a\"}", "the listener needs one too" },
        { "{\"tls_names\":[\"x\"]}", "needs tls_ca" },
        { "{\"retry_base_ms\":2000,\"retry_cap_ms\":1000}", "less than" },
        { "{\"script\":[]}", "JSON object" },
        { "{\"address\":\"a/b\"}", "IP address" },
    };
    arena mem;

    (void)state;
    arena_init(&mem);
    for (size_t i = 0; i < countof(table); i++) {
        connector_settings s;
        err_info why = { ERR_OK, "" };
        assert_int_equal(settings_parse(&mem, slice_of(table[i].text), &s, &why), ERR_CONFIG);
        if (strstr(why.text, table[i].says) == NULL) fail_msg("%s: '%s' lacks '%s'", table[i].text, why.text, table[i].says);
    }
    arena_free(&mem);
}

static void test_null_is_the_default(void **state)
{
    connector_settings s;
    arena mem;

    (void)state;
    arena_init(&mem);
    assert_int_equal(settings_parse(&mem, slice_lit("{\"keep_days\":null,\"frame_cap\":null}"), &s, NULL), ERR_OK);
    assert_int_equal(s.frame_cap, 16 << 20);
    arena_free(&mem);
}

static void test_set(void **state)
{
    static const struct { const char *assignment, *result; } table[] = {
        { "frame_cap=4MiB", "{\"frame_cap\":4194304}" },
        { "frame_cap = 1GB", NULL },
        { " idle_ms = 10s ", "{\"frame_cap\":4194304,\"idle_ms\":10000}" },
        { "frame_cap=", "{\"idle_ms\":10000}" },
        { "key_paths=PID-3.1, MRG-1", "{\"idle_ms\":10000,\"key_paths\":[\"PID-3.1\",\"MRG-1\"]}" },
        { "key_paths=PID-3.", NULL },
        { "key_paths=", "{\"idle_ms\":10000}" },
        { "idle_ms=5m", "{\"idle_ms\":300000}" },
        { "script={\"x\":{\"y\":1.0}}", "{\"idle_ms\":300000,\"script\":{\"x\":{\"y\":1.0}}}" },
        { "script={", NULL },
        { "script=7", NULL },
        { "reused_ids=accept", "{\"idle_ms\":300000,\"script\":{\"x\":{\"y\":1.0}},\"reused_ids\":\"accept\"}" },
        { "max_attempts", NULL },
        { "nothing=1", NULL },
    };
    json *object;
    arena mem;

    (void)state;
    arena_init(&mem);
    object = json_new(&mem, JSON_OBJECT);
    for (size_t i = 0; i < countof(table); i++) {
        char assignment[64];             /* the object must not depend on the words' memory */
        err_info why = { ERR_OK, "" };
        buf now = buf_in(&mem);
        err e = settings_set(&mem, object, slice_of(strcpy(assignment, table[i].assignment)), &why);
        memset(assignment, 'x', sizeof assignment);
        if (table[i].result == NULL) {
            assert_int_equal(e, ERR_CONFIG);
            assert_true(why.text[0] != '\0');
            continue;
        }
        assert_int_equal(e, ERR_OK);
        json_write(&now, object);
        if (!slice_is(buf_slice(&now), table[i].result)) fail_msg("%s: %.*s", table[i].assignment, (int)now.len, now.ptr);
    }
    arena_free(&mem);
}

static void test_describes_every_key(void **state)
{
    static const char *const some[] = { "ack_level", "frame_cap", "16MiB", "tls_names", "keep_days", "30s" };
    buf out = buf_in(NULL);

    (void)state;
    settings_describe(&out);
    buf_putc(&out, '\0');
    for (size_t i = 0; i < countof(some); i++) assert_non_null(strstr(out.ptr, some[i]));
    buf_free(&out);
}

static void test_units(void **state)
{
    static const struct { const char *text; int64_t bytes, ms; } table[] = {
        { "0", 0, 0 }, { "17", 17, 17 }, { "4k", 4096, -1 }, { "4kB", 4000, -1 }, { "4 KiB", 4096, -1 },
        { "2G", INT64_C(2) << 30, -1 }, { "1s", -1, 1000 }, { "2m", -1, 120000 }, { "1d", -1, 86400000 },
        { "5ms", -1, 5 }, { "1M", 1 << 20, -1 }, { "", -1, -1 }, { "x", -1, -1 }, { "-1", -1, -1 }, { "1.5s", -1, -1 },
        { "99999999999999999999", -1, -1 }, { "9223372036854775807G", -1, -1 },
    };

    (void)state;
    for (size_t i = 0; i < countof(table); i++) {
        int64_t bytes = -1, ms = -1;
        assert_int_equal(words_size(slice_of(table[i].text), &bytes), table[i].bytes >= 0);
        assert_int_equal(bytes, table[i].bytes);
        assert_int_equal(words_duration(slice_of(table[i].text), &ms), table[i].ms >= 0);
        assert_int_equal(ms, table[i].ms);
    }
}

static void test_nearest(void **state)
{
    static const char *const known[] = { "connector", "message", "migrate", "map", "quarantine", "run" };
    static const struct { const char *word, *meant; } table[] = {
        { "conector", "connector" }, { "mesage", "message" }, { "migarte", "migrate" }, { "rnu", "run" },
        { "quarantene", "quarantine" }, { "mop", "map" }, { "elephant", NULL }, { "", NULL },
    };

    (void)state;
    for (size_t i = 0; i < countof(table); i++) {
        const char *meant = words_nearest(slice_of(table[i].word), known, sizeof *known, countof(known));
        if (table[i].meant == NULL) assert_null(meant);
        else assert_string_equal(meant, table[i].meant);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standards), cmocka_unit_test(test_all_keys), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_null_is_the_default), cmocka_unit_test(test_set),
        cmocka_unit_test(test_describes_every_key), cmocka_unit_test(test_units), cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
