/* tests/unit/hl7/parse.c -- the index: what is a message, and where everything is in it. */
#include <stdlib.h>

#include "fixture.h"

#define MSH "MSH|^~\\&|LAB|NORTH|EHR|NORTH|20260418||ORU^R01|1|P|2.5.1"

/* ---- what is a message ------------------------------------------------------- */

static const struct { const char *name; slice bytes; size_t segments; } good[] = {
    { "only MSH", slice_lit(MSH), 1 },
    { "CR", slice_lit(MSH "\rPID|1\r"), 2 },
    { "LF", slice_lit(MSH "\nPID|1\n"), 2 },
    { "CRLF", slice_lit(MSH "\r\nPID|1\r\n"), 2 },
    { "mixed, the last not ended", slice_lit(MSH "\rPID|1\nPV1|1\r\nOBX|1"), 4 },
    { "blank lines", slice_lit(MSH "\r\r\n\n \t\rPID|1\r\r\n"), 2 },
    { "byte order mark", slice_lit("\xEF\xBB\xBF" MSH "\r"), 1 },
    { "blank lines in front", slice_lit("\r\n " MSH "\r"), 1 },
    { "names without fields", slice_lit(MSH "\rPV1\rPD1"), 3 },
    { "Z segment, digits in the name", slice_lit(MSH "\rZP1|x\rZ99|y\r"), 3 },
    { "shortest", slice_lit("MSH|^"), 1 },
    { "truncation character", slice_lit("MSH|^~\\&#|LAB\r"), 1 },
    { "NUL and high bytes in a value", slice_lit(MSH "\rOBX|\0\xFF\xC3|\r"), 2 },
    { "empty batch segments", slice_lit(MSH "\rBTS|\rFHS||\rPID|1\r"), 4 },
};

static void a_message_is_indexed(void **state)
{
    for (size_t i = 0; i < countof(good); i++) {
        const hl7_msg *m = parsed(*state, good[i].bytes);
        if (hl7_segment_count(m) != good[i].segments) fail_msg("%s: %zu segments", good[i].name, hl7_segment_count(m));
        assert_true(slice_eq(hl7_bytes(m), good[i].bytes));
    }
}

static const struct { slice bytes; const char *why; } bad[] = {
    { { "", 0 }, "empty: no MSH segment" },
    { slice_lit("\r\n\r\n"), "empty: no MSH segment" },
    { slice_lit("PID|1\r"), "byte 1: no MSH segment at the front" },
    { slice_lit("msh|^~\\&|\r"), "byte 1: no MSH segment at the front" },
    { slice_lit("\xEF\xBB\xBF\rFHS|^~\\&|\r"), "byte 5: no MSH segment at the front" },
    { slice_lit("MSH"), "MSH ends before MSH-1" },
    { slice_lit("MSH\r"), "MSH-1 (byte 4 of MSH) cannot be a field separator" },
    { slice_lit("MSHA^~\\&A"), "MSH-1 (byte 4 of MSH)" },
    { slice_lit("MSH ^~\\& LAB"), "MSH-1 (byte 4 of MSH)" },
    { slice_lit("MSH\xA6^~\\&\xA6"), "MSH-1 (byte 4 of MSH)" },
    { slice_lit("MSH\0^~\\&\0"), "MSH-1 (byte 4 of MSH)" },
    { slice_lit("MSH|"), "MSH-2 is empty" },
    { slice_lit("MSH||LAB\r"), "MSH-2 is empty" },
    { slice_lit("MSH|&&&&|LAB\r"), "MSH-2: character 2 stands there twice" },
    { slice_lit("MSH|^~\\^|LAB\r"), "MSH-2: character 4 stands there twice" },
    { slice_lit("MSH|^~\\\\|LAB\r"), "MSH-2: character 4 stands there twice" },
    { slice_lit("MSH|^~\\&LAB|\r"), "MSH-2: character 5 cannot be an encoding character" },
    { slice_lit("MSH|^~\\ |LAB\r"), "MSH-2: character 4 cannot be an encoding character" },
    { slice_lit("MSH|^~\\&#@|LAB\r"), "MSH-2 has more than five encoding characters" },
    { slice_lit(MSH "\r" MSH "\r"), "segment 2 (byte 58): a second MSH in one message" },
    { slice_lit(MSH "\rPID|1\rBHS|^~\\&\rPV1|\r"), "segment 3 (byte 64): a batch's header or trailer" },
    { slice_lit(MSH "\rBTS|1\r"), "segment 2 (byte 58): a batch's header or trailer" },
    { slice_lit(MSH "\rPID|1\rgoes on here|\r"), "segment 3 (byte 64): the line does not begin with a segment's name" },
    { slice_lit(MSH "\r pid|1\r"), "segment 2 (byte 58): the line does not begin" },
    { slice_lit(MSH "\rPi1|1\r"), "the line does not begin" },
    { slice_lit(MSH "\r1PI|1\r"), "the line does not begin" },
    { slice_lit(MSH "\rPI\r"), "the line does not begin" },
    { slice_lit(MSH "\r||\r"), "the line does not begin" },
    { slice_lit(MSH "\rPIDX|1\r"), "segment 2 (byte 58): no field separator after the segment's name" },
    { slice_lit(MSH "\rPID^1\r"), "no field separator after the segment's name" },
};

static void what_is_no_message_is_refused(void **state)
{
    for (size_t i = 0; i < countof(bad); i++) {
        err_info why = { ERR_OK, "" };
        hl7_msg *m;
        if (hl7_parse(*state, exact_copy(*state, bad[i].bytes), &m, &why) != ERR_HL7)
            fail_msg("taken: %.*s", (int)bad[i].bytes.len, bad[i].bytes.ptr);
        if (strstr(why.text, bad[i].why) == NULL) fail_msg("\"%s\" does not say: %s", why.text, bad[i].why);
    }
}

static void an_error_shows_no_content(void **state)
{
    err_info why;
    hl7_msg *m;

    assert_int_equal(hl7_parse(*state, slice_lit(MSH "\rPID|SECRET\rSECRETSECRET SECRET|SECRET\r"), &m, &why), ERR_HL7);
    assert_null(strstr(why.text, "SECRET"));
}

static void four_gigabytes_are_refused_unread(void **state)
{
    err_info why;
    hl7_msg *m;

    if (SIZE_MAX == UINT32_MAX) skip();
    assert_int_equal(hl7_parse(*state, (slice){ "MSH|^~\\&|", UINT32_MAX }, &m, &why), ERR_LIMIT);
}

/* ---- delimiters ---------------------------------------------------------------- */

static const struct { char field; const char *encoding; hl7_delims d; } declared[] = {
    { '|', "^~\\&", { '|', '^', '~', '\\', '&', 0 } },
    { '|', "^~\\&#", { '|', '^', '~', '\\', '&', '#' } },
    { '|', "^~\\\\&", { '|', '^', '~', '\\', '&', 0 } },     /* doubled in a string literal */
    { '|', "^~\\\\&#", { '|', '^', '~', '\\', '&', '#' } },
    { '|', "^~&", { '|', '^', '~', 0, '&', 0 } },            /* lost in a string literal */
    { '|', "^~\\", { '|', '^', '~', '\\', 0, 0 } },
    { '|', "^~", { '|', '^', '~', 0, 0, 0 } },
    { '|', "^", { '|', '^', 0, 0, 0, 0 } },
    { '|', "^~`&", { '|', '^', '~', '`', '&', 0 } },
    { '^', "~|\\&", { '^', '~', '|', '\\', '&', 0 } },
    { '$', "%~\\&", { '$', '%', '~', '\\', '&', 0 } },
    { '#', "!@%*", { '#', '!', '@', '%', '*', 0 } },
    { '\x1D', "\x1E\x1F\x01\x02", { '\x1D', '\x1E', '\x1F', '\x01', '\x02', 0 } },
};

static void delimiters_are_as_declared(void **state)
{
    for (size_t i = 0; i < countof(declared); i++) {
        slice bytes = arena_printf(*state, "MSH%c%s%cX%c\r", declared[i].field, declared[i].encoding,
                                   declared[i].field, declared[i].field);
        const hl7_msg *m = parsed(*state, bytes);
        const hl7_delims *d = hl7_delims_of(m);
        if (memcmp(d, &declared[i].d, sizeof *d) != 0) fail_msg("MSH-2 %s is misread", declared[i].encoding);
        expect_slice("MSH-2", hl7_field(m, 0, 2), declared[i].encoding);
        expect_slice("MSH-3", hl7_field(m, 0, 3), "X");
        assert_int_equal(hl7_field_count(m, 0), 4);
    }
}

/* ---- reading ------------------------------------------------------------------- */

static const char oru[] =
    MSH "\r"
    "PID|1||77^^^NORTH&1.2.3&ISO^MR~88^^^SOUTH^PI~99||MUSTER^ANNA^\"\"||\"\"|F|\r"
    "OBX|1|NM|718-7^Hb^LN||13.2|g/dL\r"
    "OBX|2|CE|882-1^ABO^LN||A&B^x||\r"
    "ZPD\r"
    "OBX|3|ST|~^&\r";

static const struct { const char *path; const char *value; } gets[] = {
    { "MSH-1", "|" }, { "MSH-2", "^~\\&" }, { "MSH-2.1", "^~\\&" }, { "MSH-2[1].1.1", "^~\\&" },
    { "MSH-2.2", NULL }, { "MSH-2[2]", NULL }, { "MSH-3", "LAB" }, { "MSH-9", "ORU^R01" }, { "MSH-9.2", "R01" },
    { "MSH-12", "2.5.1" }, { "MSH-13", NULL },
    { "PID-1", "1" }, { "PID-2", "" }, { "PID-2.1", "" }, { "PID-2.2", NULL },
    { "PID-3", "77^^^NORTH&1.2.3&ISO^MR~88^^^SOUTH^PI~99" },
    { "PID-3.1", "77" }, { "PID-3[1]", "77^^^NORTH&1.2.3&ISO^MR" }, { "PID-3[2]", "88^^^SOUTH^PI" },
    { "PID-3[3]", "99" }, { "PID-3[3].1", "99" }, { "PID-3[3].1.1", "99" }, { "PID-3[3].2", NULL },
    { "PID-3[4]", NULL }, { "PID-3[*].1", "77" }, { "PID-3.2", "" }, { "PID-3.4", "NORTH&1.2.3&ISO" },
    { "PID-3.4.1", "NORTH" }, { "PID-3.4.3", "ISO" }, { "PID-3.4.4", NULL }, { "PID-3[2].4.1", "SOUTH" },
    { "PID-3[2].4.2", NULL }, { "PID-5.3", "\"\"" }, { "PID-7", "\"\"" }, { "PID-8", "F" }, { "PID-9", "" },
    { "PID-10", NULL },
    { "OBX-1", "1" }, { "OBX[2]-1", "2" }, { "OBX[3]-1", "3" }, { "OBX[4]-1", NULL }, { "OBX[*]-1", "1" },
    { "OBX[2]-5.1.2", "B" }, { "OBX[2]-5.2", "x" }, { "OBX[2]-7", "" }, { "OBX[2]-8", NULL },
    { "OBX[3]-3", "~^&" }, { "OBX[3]-3[1]", "" }, { "OBX[3]-3[2].2.2", "" }, { "OBX[3]-3[2].2.3", NULL },
    { "ZPD", "ZPD" }, { "ZPD-1", NULL }, { "PV1-1", NULL }, { "PV1", NULL },
    { "OBX[2]", "OBX|2|CE|882-1^ABO^LN||A&B^x||" },
};

static void a_path_gives_its_value(void **state)
{
    const hl7_msg *m = parsed(*state, slice_lit(oru));

    for (size_t i = 0; i < countof(gets); i++) {
        hl7_path p = path_of(gets[i].path);
        slice v = hl7_get(m, &p);
        if ((v.ptr == NULL) != (gets[i].value == NULL))
            fail_msg("%s is %s", gets[i].path, v.ptr == NULL ? "absent" : "there");
        if (gets[i].value != NULL) expect_slice(gets[i].path, v, gets[i].value);
    }
    assert_true(hl7_is_null(hl7_field(m, 1, 7)));
    assert_false(hl7_is_null(hl7_field(m, 1, 2)));
}

static void segments_are_counted_and_found(void **state)
{
    const hl7_msg *m = parsed(*state, slice_lit(oru));

    assert_int_equal(hl7_segment_count(m), 6);
    assert_int_equal(hl7_segment_find(m, "OBX", 1), 2);
    assert_int_equal(hl7_segment_find(m, "OBX", 3), 5);
    assert_int_equal(hl7_segment_find(m, "OBX", 4), SIZE_MAX);
    assert_int_equal(hl7_segment_find(m, "OBX", 0), SIZE_MAX);
    assert_int_equal(hl7_segment_find(m, "NTE", 1), SIZE_MAX);
    assert_int_equal(hl7_field_count(m, 0), 12);
    assert_int_equal(hl7_field_count(m, 1), 9);
    assert_int_equal(hl7_field_count(m, 4), 0);
    assert_int_equal(hl7_field_count(m, 6), 0);
    assert_null(hl7_segment_name(m, 6).ptr);
    assert_null(hl7_segment_bytes(m, 6).ptr);
    assert_null(hl7_field(m, 1, 0).ptr);
    assert_null(hl7_field(m, 1, SIZE_MAX).ptr);
    expect_slice("name", hl7_segment_name(m, 4), "ZPD");
}

static void parts_are_counted(void **state)
{
    static const struct { const char *whole; char separator; size_t count; } parts[] = {
        { "", '^', 0 }, { "a", '^', 1 }, { "a^b", '^', 2 }, { "^", '^', 2 }, { "a^", '^', 2 }, { "^^", '^', 3 },
        { "a^b", 0, 1 }, { "a^b", '~', 1 },
    };

    (void)state;
    for (size_t i = 0; i < countof(parts); i++) {
        slice whole = slice_of(parts[i].whole);
        assert_int_equal(hl7_part_count(whole, parts[i].separator), parts[i].count);
        assert_null(hl7_part(whole, parts[i].separator, parts[i].count + (whole.len == 0 ? 2 : 1)).ptr);
    }
    assert_int_equal(hl7_part_count(SLICE_NONE, '^'), 0);
    assert_null(hl7_part(SLICE_NONE, '^', 1).ptr);
    assert_null(hl7_part(slice_lit("a"), '^', 0).ptr);
}

/* Separators and line ends at every place relative to the blocks of the scan. */
static void the_place_in_a_block_does_not_matter(void **state)
{
    for (size_t pad = 0; pad < 200; pad++) {
        arena mem = { 0 };
        buf b = buf_in(&mem);
        buf_puts(&b, "MSH|^~\\&|");
        for (size_t i = 0; i < pad; i++) buf_putc(&b, 'x');
        buf_puts(&b, "|\r\nPID|||||||||\rOBX|a|b");
        const hl7_msg *m = parsed(&mem, buf_slice(&b));
        assert_int_equal(hl7_segment_count(m), 3);
        assert_int_equal(hl7_field(m, 0, 3).len, pad);
        assert_int_equal(hl7_field_count(m, 0), 4);
        assert_int_equal(hl7_field_count(m, 1), 9);
        expect_slice("OBX-2", hl7_field(m, 2, 2), "b");
        arena_free(&mem);
    }
    (void)state;
}

/* A report of 10 MB in one field, and a message of separators only. */
static void large_messages_are_indexed(void **state)
{
    enum { SIZE = 10 << 20 };
    buf b = buf_in(*state);
    const hl7_msg *m;
    hl7_msg *again;

    buf_puts(&b, MSH "\rOBX|1|ED|PDF||");
    memset(buf_room(&b, SIZE), 'A', SIZE);
    b.len += SIZE;
    buf_puts(&b, "|F\r");
    m = parsed(*state, buf_slice(&b));
    assert_int_equal(hl7_field(m, 1, 5).len, SIZE);
    expect_slice("OBX-6", hl7_field(m, 1, 6), "F");

    memset(b.ptr + sizeof MSH + 4, '|', SIZE);
    assert_int_equal(hl7_parse(*state, buf_slice(&b), &again, NULL), ERR_OK);
    assert_true(hl7_field_count(again, 1) > SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_arena(a_message_is_indexed),
        with_arena(what_is_no_message_is_refused),
        with_arena(an_error_shows_no_content),
        with_arena(four_gigabytes_are_refused_unread),
        with_arena(delimiters_are_as_declared),
        with_arena(a_path_gives_its_value),
        with_arena(segments_are_counted_and_found),
        with_arena(parts_are_counted),
        with_arena(the_place_in_a_block_does_not_matter),
        with_arena(large_messages_are_indexed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
