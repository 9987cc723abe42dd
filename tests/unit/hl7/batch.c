/* tests/unit/hl7/batch.c -- files and batches cut into messages. */
#include "fixture.h"
#include "hl7/batch.h"

#define A "MSH|^~\\&|A\rPID|1\r"
#define B "MSH|^~\\&|B\rPID|2\r"

typedef struct expected {
    const char *name;
    slice       bytes;
    bool        is_batch;
    const char *cut;                     /* "[message]", "{stray}" in front of its message, CR shown as / */
    int64_t     declared;
    bool        wrapped, count_wrong;
} expected;

static const expected table[] = {
    { "nothing", { "", 0 }, false, "", -1, false, false },
    { "blanks", slice_lit("\r\n \r\n"), false, "", -1, false, false },
    { "one", slice_lit(A), false, "[MSH|^~\\&|A/PID|1/]", -1, false, false },
    { "one, not ended", slice_lit("MSH|^~\\&|A\rPID|1"), false, "[MSH|^~\\&|A/PID|1]", -1, false, false },
    { "two", slice_lit(A B), true, "[MSH|^~\\&|A/PID|1/][MSH|^~\\&|B/PID|2/]", -1, false, false },
    { "blank lines around", slice_lit("\r\r" A "\r\r" B "\r \r"), true,
      "[MSH|^~\\&|A/PID|1/][MSH|^~\\&|B/PID|2/]", -1, false, false },
    { "blank lines within", slice_lit("MSH|^~\\&|A\r\rPID|1\r\r"), false, "[MSH|^~\\&|A//PID|1/]", -1, false, false },
    { "file", slice_lit("FHS|^~\\&|X\rBHS|^~\\&\r" A B "BTS|2\rFTS|1\r"), true,
      "[MSH|^~\\&|A/PID|1/][MSH|^~\\&|B/PID|2/]", 2, true, false },
    { "line feeds", slice_lit("BHS|^~\\&\nMSH|^~\\&|A\nPID|1\nBTS|1\n"), true, "[MSH|^~\\&|A/PID|1/]", 1, true, false },
    { "CRLF", slice_lit("BHS|^~\\&\r\nMSH|^~\\&|A\r\nPID|1\r\nBTS|1"), true, "[MSH|^~\\&|A/PID|1/]", 1, true, false },
    { "two batches", slice_lit("BHS|^\r" A "BTS|1\rBHS|^\r" B A "BTS|2\r"), true,
      "[MSH|^~\\&|A/PID|1/][MSH|^~\\&|B/PID|2/][MSH|^~\\&|A/PID|1/]", 2, true, false },
    { "wrong count", slice_lit("BHS|^\r" A "BTS|5\r"), true, "[MSH|^~\\&|A/PID|1/]", 5, true, true },
    { "wrong count in the first", slice_lit("BHS|^\r" A "BTS|2\rBHS|^\r" B "BTS|1\r"), true,
      "[MSH|^~\\&|A/PID|1/][MSH|^~\\&|B/PID|2/]", 1, true, true },
    { "no count", slice_lit("BHS|^\r" A "BTS|\r"), true, "[MSH|^~\\&|A/PID|1/]", -1, true, false },
    { "count of blanks and letters", slice_lit("BHS|^\r" A "BTS| x\r"), true, "[MSH|^~\\&|A/PID|1/]", -1, true, false },
    { "bare trailer", slice_lit(A "BTS"), true, "[MSH|^~\\&|A/PID|1/]", -1, false, false },
    { "empty batch", slice_lit("BHS|^\rBTS|0\r"), true, "", 0, true, false },
    { "other separators", slice_lit("BHS#!@%*\rMSH#!@%*#A\rBTS#1\r"), true, "[MSH#!@%*#A/]", 1, true, false },
    { "trailers only", slice_lit("BTS|0\rFTS|1\r"), true, "", 0, false, false },
    { "byte order marks", slice_lit("\xEF\xBB\xBF" A "\xEF\xBB\xBF" B), true,
      "[MSH|^~\\&|A/PID|1/][MSH|^~\\&|B/PID|2/]", -1, false, false },
    { "framed", slice_lit("\x0B" A "\x1C\r\x0B" B "\x1C\r"), true,
      "[MSH|^~\\&|A/PID|1/][MSH|^~\\&|B/PID|2/]", -1, false, false },
    { "framed, end block behind the last segment", slice_lit("\x0BMSH|^~\\&|A\rPID|1\x1C\r\x0B" B), true,
      "[MSH|^~\\&|A/PID|1][MSH|^~\\&|B/PID|2/]", -1, false, false },
    { "stray in front", slice_lit("junk\r" A), false, "{junk}[MSH|^~\\&|A/PID|1/]", -1, false, false },
    { "stray behind an end block", slice_lit(A "\x1Cjunk\r" B), true,
      "[MSH|^~\\&|A/PID|1/]{junk}[MSH|^~\\&|B/PID|2/]", -1, false, false },
    { "stray only", slice_lit("junk\r\rmore \r"), false, "{junk//more}", -1, false, false },
    { "no MSH in the batch", slice_lit("BHS|^\rEVN|1\rPID|1\rBTS|1\r"), true, "{EVN|1/PID|1}", 1, true, true },
    { "stray after a trailer", slice_lit("BHS|^\r" A "BTS|1\rBHS|^\rPID|9\r"), true,
      "[MSH|^~\\&|A/PID|1/]{PID|9}", 1, true, false },
    { "torn by a header", slice_lit("BHS|^\rMSH|^~\\&|A\rBHS|^\r\rPID|1\rBTS|1\r"), true,
      "[MSH|^~\\&|A/BHS|^//PID|1/]", 1, true, false },
    { "not a header", slice_lit("MSHX|\r" "MSH 1\r" "MSH|^~\\&|A\rBTSX|1\rFHS1\r"), false,
      "{MSHX|/MSH 1}[MSH|^~\\&|A/BTSX|1/FHS1/]", -1, false, false },
    { "indented", slice_lit(A "  " B), true, "[MSH|^~\\&|A/PID|1/][MSH|^~\\&|B/PID|2/]", -1, false, false },
};

static void put_shown(buf *out, char open, slice s, char shut)
{
    buf_putc(out, open);
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\r') buf_putc(out, '/');
        else if (s.ptr[i] == '\n' && s.ptr[i - 1] != '\r') buf_putc(out, '/');
        else if (s.ptr[i] != '\n') buf_putc(out, s.ptr[i]);
    }
    buf_putc(out, shut);
}

static void a_file_is_cut_into_messages(void **state)
{
    for (size_t i = 0; i < countof(table); i++) {
        const expected *e = &table[i];
        slice bytes = exact_copy(*state, e->bytes), message, stray;
        buf found = buf_in(*state);
        size_t offset, count = 0;
        hl7_batch b;
        bool more;

        if (hl7_batch_is(bytes) != e->is_batch) fail_msg("%s: is it a batch?", e->name);
        hl7_batch_open(&b, bytes);
        do {
            more = hl7_batch_next(&b, &message, &offset, &stray);
            if (stray.ptr != NULL) put_shown(&found, '{', stray, '}');
            if (!more) continue;
            count++;
            assert_ptr_equal(message.ptr, bytes.ptr + offset);
            put_shown(&found, '[', message, ']');
        } while (more);
        expect_slice(e->name, buf_slice(&found), e->cut);
        assert_int_equal(b.messages, count);
        assert_int_equal(b.rest.len, 0);
        assert_int_equal(b.offset, bytes.len);
        if (b.declared != e->declared || b.wrapped != e->wrapped || b.count_wrong != e->count_wrong)
            fail_msg("%s: declared %lld, wrapped %d, count wrong %d", e->name, (long long)b.declared, b.wrapped,
                     b.count_wrong);
    }
}

static void a_torn_message_is_refused(void **state)
{
    slice message, stray;
    size_t offset;
    hl7_batch b;
    hl7_msg *m;

    hl7_batch_open(&b, slice_lit("BHS|^\rMSH|^~\\&|A\rBHS|^~\\&\rPID|1\rBTS|1\r"));
    assert_true(hl7_batch_next(&b, &message, &offset, &stray));
    assert_int_equal(hl7_parse(*state, message, &m, NULL), ERR_HL7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_arena(a_file_is_cut_into_messages),
        with_arena(a_torn_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
