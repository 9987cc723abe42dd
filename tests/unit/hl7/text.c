/* tests/unit/hl7/text.c -- character sets and escape sequences. */
#include "fixture.h"
#include "hl7/text.h"

/* ---- character sets ---------------------------------------------------------- */

static const struct { const char *name; slice bytes; const char *set; const char *text; bool exact; } decoded[] = {
    { "ASCII, nothing declared", slice_lit("Zuerich"), "", "Zuerich", true },
    { "UTF-8, nothing declared", slice_lit("Z\xC3\xBCrich"), "", "Z\xC3\xBCrich", true },
    { "neither, nothing declared", slice_lit("Z\xFCrich"), "", "Z\xC3\xBCrich", false },
    { "nobody knows the name", slice_lit("Z\xFCrich"), "EBCDIC", "Z\xC3\xBCrich", false },
    { "a name without end", slice_lit("\xFC"), "8859/1 8859/1 8859/1 8859/1 8859/1 8859/1", "\xC3\xBC", false },
    { "UTF-8", slice_lit("Z\xC3\xBCrich"), "UNICODE UTF-8", "Z\xC3\xBCrich", true },
    { "UTF-8 that is none", slice_lit("Z\xFCrich \xE2\x82"), "UNICODE UTF-8", "Z\xEF\xBF\xBDrich \xEF\xBF\xBD\xEF\xBF\xBD", false },
    { "UTF-8 by other names", slice_lit("\xC3\xBC"), "utf8", "\xC3\xBC", true },
    { "UTF-8~UNICODE", slice_lit("\xC3\xBC"), "UTF-8~UNICODE", "\xC3\xBC", true },
    { "8859/1", slice_lit("Z\xFCrich"), "8859/1", "Z\xC3\xBCrich", false },
    { "8859/1, only ASCII", slice_lit("Zuerich"), "8859/1", "Zuerich", true },
    { "8859/1 that is UTF-8", slice_lit("Z\xC3\xBCrich"), "8859/1", "Z\xC3\xBCrich", true },
    { "8859/1 by other names", slice_lit("\xFC"), "ISO-8859-1", "\xC3\xBC", false },
    { "8859/2", slice_lit("\xB3\xF3""d\xBC"), "8859/2", "\xC5\x82\xC3\xB3""d\xC5\xBA", false },
    { "8859/5", slice_lit("\xB0"), "8859/5", "\xD0\x90", false },
    { "8859/7", slice_lit("\xC1"), "8859/7", "\xCE\x91", false },
    { "8859/8", slice_lit("\xE0"), "8859/8", "\xD7\x90", false },
    { "8859/9", slice_lit("\xFD"), "8859/9", "\xC4\xB1", false },
    { "8859/15", slice_lit("\xA4"), "8859/15", "\xE2\x82\xAC", false },
    { "not in the set", slice_lit("a\xFF""b"), "8859/7", "a\xEF\xBF\xBD""b", false },
    { "ASCII with a high byte", slice_lit("Z\xFCrich"), "ASCII", "Z\xEF\xBF\xBDrich", false },
    { "windows-1252", slice_lit("\x80"), "windows-1252", "\xE2\x82\xAC", false },
    { "GB 18030-2000", slice_lit("\xC0\xEE\xCB\xC4"), "GB 18030-2000", "\xE6\x9D\x8E\xE5\x9B\x9B", false },
    { "GB 18030, bytes like UTF-8 of two", slice_lit("\xC4\xA3"), "GB 18030-2000", "\xE6\xA8\xA1", false },
    { "GB 18030 that is UTF-8", slice_lit("\xE6\x9D\x8E"), "GB 18030-2000", "\xE6\x9D\x8E", true },
    { "GB 18030, cut", slice_lit("a\xC0"), "GB 18030-2000", "a\xEF\xBF\xBD", false },
    { "BIG-5 with | and \\ as second bytes", slice_lit("|\xA5\x7C\xB3\x5C|"), "BIG-5", "|\xE5\x9B\x9B\xE8\xA8\xB1|", false },
    { "KS X 1001", slice_lit("\xB1\xE8"), "KS X 1001", "\xEA\xB9\x80", false },
    { "CNS 11643-1992", slice_lit("\xC4\xE3"), "CNS 11643-1992", "\xE4\xB8\xAD", false },
    { "Shift JIS", slice_lit("\x8E\x52\\~"), "Shift_JIS", "\xE5\xB1\xB1\\~", false },
    { "ISO IR14", slice_lit("\xD4\xCF\xC0^~\\&"), "ISO IR14", "\xEF\xBE\x94\xEF\xBE\x8F\xEF\xBE\x80^~\\&", false },
    { "ISO IR87 as a repetition", slice_lit("YAMADA^\x1B$B;3ED\x1B(B^~\\&"), "~ISO IR87", "YAMADA^\xE5\xB1\xB1\xE7\x94\xB0^~\\&", false },
    { "ISO IR87, JIS-Roman after it", slice_lit("\x1B$B;3\x1B(J\\~"), "ASCII~ISO IR87", "\xE5\xB1\xB1\\~", false },
    { "ISO IR87 ended by the segment", slice_lit("\x1B$B;3\rPID|\x1B$B;3\r"), "~ISO IR87", "\xE5\xB1\xB1\rPID|\xE5\xB1\xB1\r", false },
    { "ISO IR159", slice_lit("\x1B$(D0!\x1B(B"), "~ISO IR87~ISO IR159", "\xE4\xB8\x82", false },
    { "ISO IR87 and Latin-1", slice_lit("\xFC\x1B$B;3\x1B(B"), "8859/1~ISO IR87", "\xC3\xBC\xE5\xB1\xB1", false },
    { "UTF-16 with a mark", slice_lit("\xFF\xFEM\0S\0H\0|\0\xFC\0"), "", "MSH|\xC3\xBC", false },
    { "UTF-16, big end first", slice_lit("\0M\0S\0H\0|"), "", "MSH|", false },
    { "UTF-32", slice_lit("M\0\0\0S\0\0\0"), "", "MS", false },
    { "UTF-16 declared, ASCII sent", slice_lit("MSH|"), "UNICODE UTF-16", "MSH|", true },
    { "NUL", slice_lit("a\0b"), "", "a\xE2\x90\x80""b", false },
    { "NUL in Latin-1", slice_lit("\xFC\0"), "8859/1", "\xC3\xBC\xE2\x90\x80", false },
    { "nothing", { "", 0 }, "8859/1", "", true },
};

static void bytes_become_text(void **state)
{
    for (size_t i = 0; i < countof(decoded); i++) {
        slice bytes = exact_copy(*state, decoded[i].bytes), text;
        bool exact;
        hl7_decode(*state, bytes, slice_of(decoded[i].set), '~', &text, &exact);
        expect_slice(decoded[i].name, text, decoded[i].text);
        if (exact != decoded[i].exact) fail_msg("%s: exact is %d", decoded[i].name, exact);
        if (exact) assert_ptr_equal(text.ptr, bytes.ptr);
    }
}

/* What was decoded without loss comes back to the bytes that were sent. */
static void text_becomes_bytes_again(void **state)
{
    for (size_t i = 0; i < countof(decoded); i++) {
        slice bytes = decoded[i].bytes, text, again;
        bool exact, lossy = strstr(decoded[i].text, "\xEF\xBF\xBD") != NULL || strstr(decoded[i].text, "\xE2\x90\x80") != NULL;
        hl7_decode(*state, bytes, slice_of(decoded[i].set), '~', &text, &exact);
        if (exact || lossy || strstr(decoded[i].name, "IR87") != NULL) continue;
        hl7_encode(*state, text, bytes, slice_of(decoded[i].set), '~', &again);
        if (!slice_eq(bytes, again)) fail_msg("%s: %zu bytes instead of %zu", decoded[i].name, again.len, bytes.len);
    }
    slice again, sent = slice_lit("A\x1B$B;3ED\x1B(B^~\\&");
    hl7_encode(*state, slice_lit("A\xE5\xB1\xB1\xE7\x94\xB0^~\\&"), sent, slice_lit("~ISO IR87"), '~', &again);
    assert_true(slice_eq(sent, again));
    hl7_encode(*state, slice_lit("a\xE2\x82\xAC""b"), slice_lit("\xFC"), slice_lit("8859/1"), '~', &again);
    expect_slice("not in the set", again, "a?b");
}

/* ---- escapes ------------------------------------------------------------------ */

static const struct { const char *set, *raw, *text; } escapes[] = {
    { "", "plain", "plain" }, { "", "", "" },
    { "", "a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f" },
    { "", "\\F\\\\F\\", "||" }, { "", "\\E\\F\\E\\", "\\F\\" },
    { "", "\\H\\loud\\N\\ quiet", "loud quiet" },
    { "", "one\\.br\\two\\.sp\\three\\.sp2\\four\\.ce\\five", "one\ntwo\nthree\n\nfour\nfive" },
    { "", "\\.sp+2\\x\\.sp 2\\y", "\n\nx\n\ny" },
    { "", "\\.in+4\\\\.ti-2\\\\.fi\\\\.nf\\x\\.sk3\\y", "x   y" },
    { "", "\\X41\\\\X0d0A\\", "A\r\n" },
    { "", "\\XC3A9\\ \\XC3\\\\XA9\\ \\XE9\\", "\xC3\xA9 \xC3\xA9 \xC3\xA9" },
    { "8859/1", "\\XE9\\", "\xC3\xA9" }, { "8859/15", "\\XA4\\", "\xE2\x82\xAC" },
    { "UNICODE UTF-8", "\\XE282AC\\", "\xE2\x82\xAC" }, { "UNICODE UTF-8", "\\XE9\\", "\xEF\xBF\xBD" },
    { "", "\\X00\\", "\xE2\x90\x80" },
    { "", "\\M2442\\;3ED\\C2842\\ x", "\xE5\xB1\xB1\xE7\x94\xB0 x" },
    { "", "\\M2442\\;3ED", "\xE5\xB1\xB1\xE7\x94\xB0" },
    { "", "\\M242844\\0!\\C2842\\", "\xE4\xB8\x82" },
    { "", "\\C2D41\\\xC3\xA9", "\xC3\xA9" },
    /* not escapes that we know */
    { "", "\\Zlocal\\x", "\\Zlocal\\x" }, { "", "\\Za\\T\\Zb\\", "\\Za\\T\\Zb\\" },
    { "", "\\.foo\\x", "\\.foo\\x" }, { "", "\\.sp-1\\", "\\.sp-1\\" }, { "", "\\Q\\", "\\Q\\" },
    { "", "\\X4\\", "\\X4\\" }, { "", "\\XZZ\\", "\\XZZ\\" }, { "", "\\X\\", "\\X\\" }, { "", "\\X41ZZ\\", "\\X41ZZ\\" },
    { "", "\\M24\\", "\\M24\\" }, { "", "\\MZZZZ\\", "\\MZZZZ\\" }, { "", "\\P\\", "\\P\\" },
    { "", "C:\\temp\\file", "C:\\temp\\file" }, { "", "\\\\srv\\share", "\\\\srv\\share" },
    { "", "5\\6 mg \\T\\ x", "5\\6 mg & x" }, { "", "lone \\", "lone \\" }, { "", "\\", "\\" }, { "", "\\\\", "\\\\" },
    { "", "\\X41\\b\\", "Ab\\" },
};

static void escapes_are_resolved(void **state)
{
    for (size_t i = 0; i < countof(escapes); i++) {
        const hl7_msg *m = parsed(*state, arena_printf(*state, "MSH|^~\\&||||||||||||||||%s\r", escapes[i].set));
        slice raw = exact_copy(*state, slice_of(escapes[i].raw)), text = hl7_unescape(*state, m, raw);
        expect_slice(escapes[i].raw, text, escapes[i].text);
        if (memchr(escapes[i].raw, '\\', raw.len) == NULL) assert_ptr_equal(text.ptr, raw.ptr);
    }
}

static void escapes_follow_the_delimiters(void **state)
{
    const hl7_msg *other = parsed(*state, slice_lit("MSH#!@%*$#\r")), *none = parsed(*state, slice_lit("MSH|^~&|\r"));

    expect_slice("other", hl7_unescape(*state, other, slice_lit("%F%%S%%T%%R%%E%%P%\\F\\")), "#!*@%$\\F\\");
    expect_slice("none", hl7_unescape(*state, none, slice_lit("\\F\\&F&")), "\\F\\&F&");
    assert_null(hl7_unescape(*state, other, SLICE_NONE).ptr);
}

static void a_formatting_bomb_is_bounded(void **state)
{
    const hl7_msg *m = parsed(*state, slice_lit("MSH|^~\\&|\r"));

    assert_true(hl7_unescape(*state, m, slice_lit("\\.sp999999999999\\\\.sk4000000000\\")).len <= 200);
}

static void text_is_escaped_and_comes_back(void **state)
{
    static const struct { const char *msh, *text, *escaped; } table[] = {
        { "MSH|^~\\&|", "a|b^c~d\\e&f\r\ng#", "a\\F\\b\\S\\c\\R\\d\\E\\e\\T\\f\\X0D\\\\X0A\\g#" },
        { "MSH|^~\\&#|", "#1", "\\P\\1" },
        { "MSH#!@%*#", "a#b!c|", "a%F%b%S%c|" },
        { "MSH|^~\\|", "a&b", "a&b" },
        { "MSH|^~\\&|", "", "" },
    };

    for (size_t i = 0; i < countof(table); i++) {
        const hl7_msg *m = parsed(*state, slice_of(table[i].msh));
        buf b = buf_in(*state);
        hl7_escape(&b, hl7_delims_of(m), slice_of(table[i].text));
        expect_slice("escaped", buf_slice(&b), table[i].escaped);
        expect_slice("back", hl7_unescape(*state, m, buf_slice(&b)), table[i].text);
    }
    buf b = buf_in(*state);
    hl7_escape(&b, &(hl7_delims){ '|', '^', '~', 0, '&', 0 }, slice_lit("a|b&c\rd\\"));
    expect_slice("without an escape character", buf_slice(&b), "a b c d\\");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_arena(bytes_become_text),
        with_arena(text_becomes_bytes_again),
        with_arena(escapes_are_resolved),
        with_arena(escapes_follow_the_delimiters),
        with_arena(a_formatting_bomb_is_bounded),
        with_arena(text_is_escaped_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
