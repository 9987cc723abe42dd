/* tests/unit/net/mllp.c -- the MLLP codec, fed whole, at every split point and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "net/mllp.h"

#define VT "\x0b"
#define FS "\x1c"
#define CAP 12

static const char *const flaw_name[] = { "good", "no-start", "no-end", "too-long", "empty" };

/* What came out, as text: "good(MSH) no-end(PID)". */
static void note(void *arg, mllp_flaw flaw, slice frame)
{
    buf *out = arg;
    char *copy = mem_dup(frame);         /* so that reading past the end is found */
    buf_printf(out, "%s%s(%s)", out->len > 0 ? " " : "", flaw_name[flaw], copy);
    free(copy);
}

static const struct { const char *in, *out; } cases[] = {
    { VT "MSH|1\r" FS "\r", "good(MSH|1\r)" },
    { VT "A" FS "\r" VT "B" FS "\r" VT "C" FS "\r", "good(A) good(B) good(C)" },
    { VT "A" FS VT "B" FS "\r\n" VT "C" FS "\n", "good(A) good(B) good(C)" },
    { " \r\n\t" VT "A" FS "\r\r\n  " VT "B" FS, "good(A) good(B)" },
    { VT VT "A" FS FS "\r", "good(A)" },
    { VT " \r" VT "A" FS "\r", "good(A)" },
    { VT FS "\r", "empty()" },
    { VT " \r\n" FS "\r", "empty( \r\n)" },
    { "MSH|1" FS "\r", "no-start(MSH|1)" },
    { "junk" VT "A" FS "\r", "no-start(junk) good(A)" },
    { VT "A" FS "junk \r" VT "B" FS "\r", "good(A) no-start(junk \r) good(B)" },
    { VT "A" VT "B" FS "\r", "no-end(A) good(B)" },
    { VT "A\r" VT "B\r" VT "C" FS, "no-end(A\r) no-end(B\r) good(C)" },
    { VT "123456789012" FS "\r", "good(123456789012)" },
    { VT "1234567890123" FS "\r" VT "B" FS "\r", "too-long(123456789012) good(B)" },
    { VT "1234567890123456789012345678901234567890" FS "\r", "too-long(123456789012)" },
    { VT "12345678901234567890" VT "B" FS "\r", "too-long(123456789012) good(B)" },
    { "12345678901234567890" FS "\r" VT "B" FS, "too-long(123456789012) good(B)" },
    { "\r\n \r\n", "" },
    { FS "\r", "" },
    { "", "" },
    /* The peer ends here. */
    { VT "A", "no-end(A)" },
    { VT "A" FS "\r" "rest", "good(A) no-start(rest)" },
    { VT, "" },
    { VT " \r", "" },
    { VT "12345678901234", "too-long(123456789012)" },
};

static void feed(mllp_codec *c, slice in, buf *out)
{
    char *copy = mem_alloc(in.len + 1);  /* an exact block: overruns are found */
    if (in.len > 0) memcpy(copy, in.ptr, in.len);
    char *exact = mem_realloc(copy, in.len == 0 ? 1 : in.len);
    mllp_codec_feed(c, (slice){ exact, in.len }, note, out);
    free(exact);
}

static void check(const buf *out, const char *expected, const char *how, size_t at)
{
    if (!slice_eq(buf_slice(out), slice_of(expected)))
        fail_msg("%s at %zu: got \"%.*s\", expected \"%s\"", how, at, (int)out->len, out->ptr, expected);
}

static void each_split_gives_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        slice in = slice_of(cases[i].in);
        for (size_t cut = 0; cut <= in.len; cut++) {
            buf out = buf_in(NULL);
            mllp_codec c;
            mllp_codec_init(&c, CAP);
            feed(&c, (slice){ in.ptr, cut }, &out);
            feed(&c, slice_from(in, cut), &out);
            mllp_codec_end(&c, note, &out);
            check(&out, cases[i].out, cases[i].in, cut);
            assert_false(mllp_codec_busy(&c));
            assert_null(c.held.ptr);     /* an idle codec holds nothing */
            buf_free(&out);
        }
        buf out = buf_in(NULL);
        mllp_codec c;
        mllp_codec_init(&c, CAP);
        for (size_t at = 0; at < in.len; at++) feed(&c, (slice){ in.ptr + at, 1 }, &out);
        mllp_codec_end(&c, note, &out);
        check(&out, cases[i].out, "byte by byte", i);
        buf_free(&out);
    }
}

static void keep_pointer(void *arg, mllp_flaw flaw, slice frame)
{
    assert_int_equal(flaw, MLLP_GOOD);
    *(const char **)arg = frame.ptr;
}

static void whole_frame_is_not_copied(void **state)
{
    static const char in[] = VT "MSH|^~\\&|" FS "\r";
    const char *at = NULL;
    mllp_codec c;

    (void)state;
    mllp_codec_init(&c, 100);
    mllp_codec_feed(&c, slice_lit(in), keep_pointer, &at);
    assert_ptr_equal(at, in + 1);
    assert_false(mllp_codec_busy(&c));
}

static void held_memory_is_bounded(void **state)
{
    buf out = buf_in(NULL);
    mllp_codec c;

    (void)state;
    mllp_codec_init(&c, 1000);
    feed(&c, slice_lit(VT), &out);
    for (int i = 0; i < 10000; i++) {
        feed(&c, slice_lit("0123456789"), &out);
        assert_true(c.held.cap <= 2000);
        assert_true(mllp_codec_busy(&c));
    }
    assert_int_equal(out.len, strlen("too-long()") + 1000);
    feed(&c, slice_lit(FS "\r"), &out);
    assert_false(mllp_codec_busy(&c));
    buf_free(&out);
    mllp_codec_free(&c);
}

static void freed_in_the_middle_starts_anew(void **state)
{
    buf out = buf_in(NULL);
    mllp_codec c;

    (void)state;
    mllp_codec_init(&c, CAP);
    feed(&c, slice_lit(VT "half"), &out);
    mllp_codec_free(&c);
    feed(&c, slice_lit(VT "A" FS), &out);
    check(&out, "good(A)", "after free", 0);
    buf_free(&out);
}

static void written_frame_reads_back(void **state)
{
    buf wire = buf_in(NULL), out = buf_in(NULL);
    mllp_codec c;

    (void)state;
    mllp_write(&wire, slice_lit("MSA|AA\r"));
    assert_true(slice_is(buf_slice(&wire), VT "MSA|AA\r" FS "\r"));
    mllp_codec_init(&c, CAP);
    feed(&c, buf_slice(&wire), &out);
    check(&out, "good(MSA|AA\r)", "read back", 0);
    for (int flaw = MLLP_GOOD; flaw <= MLLP_EMPTY; flaw++)
        assert_true(strlen(mllp_flaw_text((mllp_flaw)flaw)) > 10);
    buf_free(&wire);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_split_gives_the_same),
        cmocka_unit_test(whole_frame_is_not_copied),
        cmocka_unit_test(held_memory_is_bounded),
        cmocka_unit_test(freed_in_the_middle_starts_anew),
        cmocka_unit_test(written_frame_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
