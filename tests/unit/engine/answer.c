/* tests/unit/engine/answer.c -- which acknowledgements a message gets, in original and in
 * enhanced mode; and how long a retry waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/answer.h"
#include "engine/retry.h"

/* The codes of all frames, "CA AA"; MSA-2 of each is checked on the way. */
static void codes_of(slice all, char out[32])
{
    size_t n = 0;

    for (size_t i = 0; i + 7 < all.len; i++) {
        if (memcmp(all.ptr + i, "MSA|", 4) != 0) continue;
        if (n > 0) out[n++] = ' ';
        out[n++] = all.ptr[i + 4];
        out[n++] = all.ptr[i + 5];
        assert_memory_equal(all.ptr + i + 6, "|M1", 3);
    }
    out[n] = '\0';
}

static void test_modes(void **state)
{
    static const struct { ack_mode mode; const char *accept, *application; answer_kind kind; const char *codes; } cases[] = {
        { ACK_MODE_AUTO, "", "", ANSWER_POSITIVE, "AA" },
        { ACK_MODE_AUTO, "", "", ANSWER_REJECT, "AR" },
        { ACK_MODE_AUTO, "", "", ANSWER_ERROR, "AE" },
        { ACK_MODE_ORIGINAL, "AL", "AL", ANSWER_POSITIVE, "AA" },
        { ACK_MODE_AUTO, "AL", "NE", ANSWER_POSITIVE, "CA" },
        { ACK_MODE_AUTO, "AL", "", ANSWER_POSITIVE, "CA" },
        { ACK_MODE_AUTO, "AL", "", ANSWER_REJECT, "CR" },
        { ACK_MODE_AUTO, "AL", "", ANSWER_ERROR, "CE" },
        { ACK_MODE_AUTO, "NE", "AL", ANSWER_POSITIVE, "AA" },
        { ACK_MODE_AUTO, "", "AL", ANSWER_POSITIVE, "AA" },
        { ACK_MODE_AUTO, "AL", "AL", ANSWER_POSITIVE, "CA AA" },
        { ACK_MODE_AUTO, "AL", "AL", ANSWER_REJECT, "CR" },
        { ACK_MODE_AUTO, "NE", "NE", ANSWER_POSITIVE, "" },
        { ACK_MODE_AUTO, "NE", "NE", ANSWER_REJECT, "" },
        { ACK_MODE_AUTO, "ER", "ER", ANSWER_POSITIVE, "" },
        { ACK_MODE_AUTO, "ER", "NE", ANSWER_REJECT, "CR" },
        { ACK_MODE_AUTO, "NE", "ER", ANSWER_REJECT, "AR" },
        { ACK_MODE_AUTO, "SU", "SU", ANSWER_POSITIVE, "CA AA" },
        { ACK_MODE_AUTO, "SU", "NE", ANSWER_REJECT, "" },
        { ACK_MODE_ENHANCED, "", "", ANSWER_POSITIVE, "CA" },
        { ACK_MODE_ENHANCED, "", "", ANSWER_REJECT, "CR" },
    };

    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        hl7_head about;
        buf out = buf_in(NULL);
        char codes[32];
        answer a = { .kind = cases[i].kind, .error = HL7_ERROR_TYPE, .location = slice_lit("MSH-9"), .text = slice_lit("no") };

        assert_true(hl7_head_guess(slice_lit("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|M1|P|2.5\r"), &about));
        about.accept_ack = slice_of(cases[i].accept);
        about.application_ack = slice_of(cases[i].application);
        assert_int_equal(answer_write(&out, slice_lit("/"), cases[i].mode, &about, &a), (strlen(cases[i].codes) + 1) / 3);
        codes_of(buf_slice(&out), codes);
        if (strcmp(codes, cases[i].codes) != 0)
            fail_msg("case %zu: MSH-15 '%s', MSH-16 '%s' gave '%s', not '%s'", i, cases[i].accept, cases[i].application,
                     codes, cases[i].codes);
        assert_int_equal(strstr(codes, " ") != NULL, out.len > 0 && memmem(out.ptr, out.len, "\r/MSH", 5) != NULL);
        if (cases[i].kind != ANSWER_POSITIVE && codes[0] != '\0')
            assert_non_null(memmem(out.ptr, out.len, "ERR|", 4));
        buf_free(&out);
    }
}

static void test_time_and_id(void **state)
{
    buf out = buf_in(NULL);
    hl7_head about;
    hl7_msg *m;
    arena mem = { 0 };
    hl7_head head;

    (void)state;
    assert_true(hl7_head_guess(slice_lit("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|M1|P|2.5\r"), &about));
    (void)answer_write(&out, SLICE_NONE, ACK_MODE_AUTO, &about, &(answer){ .kind = ANSWER_POSITIVE });
    assert_int_equal(hl7_parse(&mem, buf_slice(&out), &m, NULL), ERR_OK);
    hl7_head_read(m, &head);
    assert_int_equal(head.control_id.len, 20);
    assert_int_equal(head.time.len, 19);
    assert_memory_equal(head.time.ptr + 14, "+0000", 5);
    assert_memory_equal(head.time.ptr, "20", 2);
    assert_true(slice_is(head.sending_app, "C"));
    assert_true(slice_is(head.receiving_app, "A"));
    buf_free(&out);
    arena_free(&mem);
}

static void test_retry(void **state)
{
    (void)state;
    for (int attempts = 0; attempts < 80; attempts++) {
        int64_t whole = attempts < 7 ? INT64_C(1000) << attempts : 60000;
        if (whole > 60000) whole = 60000;
        for (int i = 0; i < 50; i++) {
            int64_t us = retry_delay_us(attempts, 1000, 60000);
            assert_true(us <= whole * 1000 && us >= whole * 750);
        }
    }
    assert_int_equal(retry_delay_us(0, 0, 0), 0);
    assert_true(retry_delay_us(1000, INT64_MAX / 8000, INT64_MAX / 4000) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes), cmocka_unit_test(test_time_and_id), cmocka_unit_test(test_retry)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
