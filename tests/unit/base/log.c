/* tests/unit/base/log.c -- what stands in a line, and what can never stand there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/log.h"

static FILE *caught;
static int real_stderr;

static void catch_begin(void)
{
    (void)fflush(stderr);
    caught = tmpfile();
    assert_non_null(caught);
    real_stderr = dup(STDERR_FILENO);
    assert_int_not_equal(dup2(fileno(caught), STDERR_FILENO), -1);
}

/* The first 4 kB of what was written since, with a NUL behind; static. */
static const char *catch_end(void)
{
    static char text[4096];

    assert_int_not_equal(dup2(real_stderr, STDERR_FILENO), -1);
    (void)close(real_stderr);
    rewind(caught);
    text[fread(text, 1, sizeof text - 1, caught)] = '\0';
    (void)fclose(caught);
    return text;
}

/* Identifiers of ours pass; what a message might hold does not. */
static const struct { slice value; const char *shown; } ids[] = {
    { { "CONN_01ARZ3NDEKTSV4RRFFQ69G5FAV", 31 }, "CONN_01ARZ3NDEKTSV4RRFFQ69G5FAV" },
    { { "ADT^A01", 7 }, "ADT^A01" }, { { "lua/packs/v2-to-fhir", 20 }, "lua/packs/v2-to-fhir" },
    { { "ADT^*", 5 }, "ADT^*" }, { { "10.0.0.1:2575", 13 }, "10.0.0.1:2575" },
    { { "John Doe", 8 }, "?" }, { { "Doe|John", 8 }, "?" }, { { "", 0 }, "?" }, { { NULL, 0 }, "?" },
    { { "a\"b", 3 }, "?" }, { { "a\nb", 3 }, "?" }, { { "a\0b", 3 }, "?" }, { { "M\xc3\xbcller", 7 }, "?" },
    { { "a&b", 3 }, "?" }, { { "a=b", 3 }, "?" }, { { "a,b", 3 }, "?" },
};

static void test_ids(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(ids); i++) {
        for (int text = 0; text < 2; text++) {
            arena mem = { 0 };
            char want[64];
            json *line;
            log_set_text(text != 0);
            catch_begin();
            log_line(LOG_WARN, "test.event", log_id("value", ids[i].value), log_int("n", -5));
            const char *got = catch_end();
            if (text) {
                (void)snprintf(want, sizeof want, " warn  test.event value=%s n=-5\n", ids[i].shown);
                if (strstr(got, want) == NULL) fail_msg("%s", got);
            } else {
                assert_int_equal(json_parse(&mem, slice_of(got), &line, NULL), ERR_OK);
                assert_true(slice_is(json_text(line, "value"), ids[i].shown));
                assert_true(slice_is(json_text(line, "event"), "test.event"));
                assert_true(slice_is(json_text(line, "level"), "warn"));
                assert_int_equal(json_text(line, "time").len, 27);
                assert_true(slice_is(json_get(line, "n")->text, "-5"));
            }
            arena_free(&mem);
        }
    }
    log_set_text(false);
}

static void test_long_id(void **state)
{
    char name[201];

    (void)state;
    memset(name, 'a', sizeof name);
    catch_begin();
    log_line(LOG_INFO, "e", log_id("fits", (slice){ name, 200 }), log_id("long", (slice){ name, 201 }));
    assert_non_null(strstr(catch_end(), "a\",\"long\":\"?\"}\n"));
}

static void test_words(void **state)
{
    err_info why;

    (void)state;
    (void)err_set(&why, ERR_IO, "say \"no\"\nand more");
    catch_begin();
    log_line(LOG_ERROR, "e", log_word("state", "paused"), log_why(&why));
    assert_non_null(strstr(catch_end(), "\"level\":\"error\",\"event\":\"e\",\"state\":\"paused\","
                                        "\"error\":\"say \\\"no\\\"\\nand more\"}\n"));
    log_set_text(true);
    catch_begin();
    log_line(LOG_ERROR, "e", log_why(&why));
    assert_non_null(strstr(catch_end(), " e error=\"say \\\"no\\\"\\nand more\"\n"));
    log_set_text(false);
}

static void test_levels(void **state)
{
    log_level level;

    (void)state;
    assert_true(log_level_parse(slice_lit("warn"), &level));
    assert_false(log_level_parse(slice_lit("Warn"), &level));
    log_set_level(level);
    catch_begin();
    log_line(LOG_INFO, "quiet");
    log_line(LOG_WARN, "loud");
    const char *got = catch_end();
    assert_null(strstr(got, "quiet"));
    assert_non_null(strstr(got, "loud"));
    log_set_level(LOG_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids), cmocka_unit_test(test_long_id),
        cmocka_unit_test(test_words), cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
