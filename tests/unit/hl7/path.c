/* tests/unit/hl7/path.c -- paths from text and back. */
#include "fixture.h"

static const struct { const char *text; hl7_path path; const char *written; } good[] = {
    { "PID", { "PID", 1, 0, 0, 0, 0 }, NULL },
    { "ZP1", { "ZP1", 1, 0, 0, 0, 0 }, NULL },
    { "PID-3", { "PID", 1, 3, 0, 0, 0 }, NULL },
    { "PID-3.4", { "PID", 1, 3, 0, 4, 0 }, NULL },
    { "PID-3[2]", { "PID", 1, 3, 2, 0, 0 }, NULL },
    { "PID-3[1].4", { "PID", 1, 3, 1, 4, 0 }, NULL },
    { "PID-3[2].4.1", { "PID", 1, 3, 2, 4, 1 }, NULL },
    { "PID-3[*].1", { "PID", 1, 3, HL7_EVERY, 1, 0 }, NULL },
    { "OBX[3]-5", { "OBX", 3, 5, 0, 0, 0 }, NULL },
    { "OBX[1]-5", { "OBX", 1, 5, 0, 0, 0 }, "OBX-5" },
    { "OBX[*]-3", { "OBX", HL7_EVERY, 3, 0, 0, 0 }, NULL },
    { "OBX[2]", { "OBX", 2, 0, 0, 0, 0 }, NULL },
    { "PID-65534[65534].65534.65534", { "PID", 1, 65534, 65534, 65534, 65534 }, NULL },
};

static void a_path_is_read_and_written(void **state)
{
    for (size_t i = 0; i < countof(good); i++) {
        hl7_path p = path_of(good[i].text), again;
        buf b = buf_in(*state);
        if (memcmp(&p, &good[i].path, sizeof p) != 0) fail_msg("%s is misread", good[i].text);
        hl7_path_write(&b, &p);
        expect_slice("written", buf_slice(&b), good[i].written != NULL ? good[i].written : good[i].text);
        again = path_of(arena_cstr(*state, buf_slice(&b)));
        assert_memory_equal(&p, &again, sizeof p);
    }
}

static const struct { const char *text; const char *why; } bad[] = {
    { "", "character 1: a segment's name" }, { "PI", "a segment's name" }, { "pid-3", "a segment's name" },
    { "1ID-3", "a segment's name" }, { "P D-3", "a segment's name" },
    { "PID3", "character 4: \"-\" and a field's number, or \"[\"" }, { "PIDX-3", "character 4" },
    { "PID-", "character 5: a number" }, { "PID-x", "character 5: a number" }, { "PID.3", "character 4" },
    { "PID-0", "numbers count from 1" }, { "PID-03", "numbers count from 1" }, { "PID--3", "a number" },
    { "PID-65535", "too large" }, { "PID-99999999999999999999", "too large" },
    { "PID-3[", "a number" }, { "PID-3[]", "a number" }, { "PID-3[2", "a \"]\"" }, { "PID-3[0]", "count from 1" },
    { "PID-3[-1]", "a number" }, { "PID-3[**]", "a \"]\"" }, { "PID-3[2]4", "should end here" },
    { "PID-3.", "a number" }, { "PID-3..1", "a number" }, { "PID-3.4.1.2", "should end here" },
    { "PID-3.*", "a number" }, { "PID-3.4[2]", "should end here" }, { "PID-3 ", "should end here" },
    { " PID-3", "a segment's name" }, { "PID[1]3", "\"-\" and a field's number is" }, { "PID[", "a number" },
    { "PID-3\n", "should end here" },
};

static void a_wrong_path_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(bad); i++) {
        err_info why = { ERR_OK, "" };
        hl7_path p;
        if (hl7_path_parse(slice_of(bad[i].text), &p, &why) != ERR_PATH) fail_msg("taken: %s", bad[i].text);
        if (strstr(why.text, bad[i].why) == NULL) fail_msg("%s: \"%s\" does not say: %s", bad[i].text, why.text, bad[i].why);
        assert_non_null(strstr(why.text, bad[i].text));
    }
    assert_int_equal(hl7_path_parse(SLICE_NONE, &(hl7_path){ .occ = 0 }, NULL), ERR_PATH);
}

static void a_field_path_takes_its_segment(void **state)
{
    hl7_path p;
    err_info why;

    (void)state;
    assert_int_equal(hl7_path_parse_field(slice_lit("3[2].4"), "PID", &p, &why), ERR_OK);
    assert_memory_equal(&p, (&(hl7_path){ "PID", 1, 3, 2, 4, 0 }), sizeof p);
    assert_int_equal(hl7_path_parse_field(slice_lit("5"), "OBX", &p, &why), ERR_OK);
    assert_string_equal(p.seg, "OBX");
    assert_int_equal(hl7_path_parse_field(slice_lit("PID-3"), "PID", &p, &why), ERR_PATH);
    assert_int_equal(hl7_path_parse_field(slice_lit(""), "PID", &p, &why), ERR_PATH);
    assert_int_equal(hl7_path_parse_field(slice_lit("*"), "PID", &p, &why), ERR_PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_arena(a_path_is_read_and_written),
        with_arena(a_wrong_path_is_refused),
        with_arena(a_field_path_takes_its_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
