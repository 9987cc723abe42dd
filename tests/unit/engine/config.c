/* tests/unit/engine/config.c -- defaults, a file, the environment on top, and errors
 * that name where they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/config.h"

static char path[64];

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int make_path(void **state)
{
    int fd;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/interop-config-XXXXXX", P_tmpdir);
    fd = mkstemp(path);
    if (fd < 0) return -1;
    (void)close(fd);
    (void)unsetenv("INTEROP_CONFIG");
    return clearenv();
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_standards(void **state)
{
    arena mem;
    config c;

    (void)state;
    arena_init(&mem);
    assert_int_equal(config_load(&mem, NULL, &c, NULL), ERR_OK);
    assert_string_equal(c.database_url, "");
    assert_string_equal(c.http_host, "127.0.0.1");
    assert_int_equal(c.http_port, 8080);
    assert_false(c.log_text);
    assert_int_equal(c.log_least, LOG_INFO);
    assert_true(c.transform_threads >= 1 && c.transform_threads <= 64);
    assert_int_equal(c.memory_bytes, 256 << 20);
    assert_int_equal(c.script_bytes, 128 << 20);
    assert_int_equal(c.drain_ms, 10000);
    assert_int_equal(c.event_window_hours, 72);
    arena_free(&mem);
}

static void test_file_and_environment(void **state)
{
    arena mem;
    config c;

    (void)state;
    arena_init(&mem);
    write_file("# a comment\n"
               "\n"
               "database_url = postgresql://engine@/interop   # behind a value\n"
               "http=[::1]:9000\n"
               "  memory_bytes  =  1GiB\n"
               "drain_ms = 2s\r\n"
               "admin_token = \" s # t \"\n"
               "log = text");
    assert_int_equal(config_load(&mem, path, &c, NULL), ERR_OK);
    assert_string_equal(c.database_url, "postgresql://engine@/interop");
    assert_string_equal(c.http_host, "::1");
    assert_int_equal(c.http_port, 9000);
    assert_int_equal(c.memory_bytes, 1 << 30);
    assert_int_equal(c.drain_ms, 2000);
    assert_string_equal(c.admin_token, " s # t ");
    assert_true(c.log_text);

    assert_int_equal(setenv("INTEROP_HTTP", ":81", 1), 0);
    assert_int_equal(setenv("INTEROP_LOG", "", 1), 0);       /* as if it were not set */
    assert_int_equal(setenv("INTEROP_CONFIG", path, 1), 0);
    assert_int_equal(config_load(&mem, NULL, &c, NULL), ERR_OK);
    assert_string_equal(c.http_host, "0.0.0.0");
    assert_int_equal(c.http_port, 81);
    assert_true(c.log_text);
    assert_string_equal(c.database_url, "postgresql://engine@/interop");
    arena_free(&mem);
}

static void test_refused(void **state)
{
    static const struct { const char *text, *says; } table[] = {
        { "http = x\ndatabse_url = y\n", ":1: http takes HOST:PORT" },
        { "\ndatabse_url = y\n", ":2: unknown key \"databse_url\" (did you mean \"database_url\"?)" },
        { "log = json\nlog = text\n", ":2: log is set already in line 1" },
        { "memory_bytes = 1\n", ":1: memory_bytes takes a size from 16MiB to 1024GiB" },
        { "transform_threads = 65\n", "a number from 1 to 64" },
        { "ingest_connections = cores\n", "a number from 1 to 16" },
        { "drain_ms = 2h\n", "a time from 0ms to 1h" },
        { "log_level = loud\n", "debug, info, warn or error" },
        { "admin_token secret\n", ":1: write key = value" },
        { "http = ::1:80\n", "HOST:PORT" },
        { "http = 127.0.0.1:65536\n", "HOST:PORT" },
    };
    arena mem;

    (void)state;
    arena_init(&mem);
    for (size_t i = 0; i < countof(table); i++) {
        err_info why = { ERR_OK, "" };
        config c;
        write_file(table[i].text);
        assert_int_equal(config_load(&mem, path, &c, &why), ERR_CONFIG);
        if (strstr(why.text, table[i].says) == NULL) fail_msg("%s: '%s' lacks '%s'", table[i].text, why.text, table[i].says);
        assert_null(strstr(why.text, "secret"));
    }
    arena_free(&mem);
}

static void test_environment_refused(void **state)
{
    err_info why;
    arena mem;
    config c;

    (void)state;
    arena_init(&mem);
    assert_int_equal(setenv("INTEROP_DRAIN_MS", "soon", 1), 0);
    assert_int_equal(config_load(&mem, NULL, &c, &why), ERR_CONFIG);
    assert_non_null(strstr(why.text, "INTEROP_DRAIN_MS: drain_ms takes a time"));
    assert_int_equal(config_load(&mem, "/nowhere/at/all", &c, &why), ERR_CONFIG);
    assert_non_null(strstr(why.text, "/nowhere/at/all: No such file"));
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_standards, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_file_and_environment, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_refused, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_environment_refused, make_path, remove_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
