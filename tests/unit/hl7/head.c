/* tests/unit/hl7/head.c -- MSH's fields, also of what is no message; types; keys; what is hashed. */
#include "fixture.h"
#include "hl7/head.h"

static const char full[] =
    "MSH|^~\\&|APP^1.2^ISO|FAC|RAPP|RFAC|20260418|SECRET|ADT^A01^ADT_A01|ID1|P^T|2.5.1^CHE|7||AL|NE|CHE|8859/1~ISO IR87|\r"
    "PID|1\r";

static void expect_full(const hl7_head *h)
{
    expect_slice("MSH-3", h->sending_app, "APP^1.2^ISO");
    expect_slice("MSH-4", h->sending_facility, "FAC");
    expect_slice("MSH-5", h->receiving_app, "RAPP");
    expect_slice("MSH-6", h->receiving_facility, "RFAC");
    expect_slice("MSH-7", h->time, "20260418");
    expect_slice("MSH-8", h->security, "SECRET");
    expect_slice("MSH-9.1", h->type, "ADT");
    expect_slice("MSH-9.2", h->event, "A01");
    expect_slice("MSH-9.3", h->structure, "ADT_A01");
    expect_slice("MSH-10", h->control_id, "ID1");
    expect_slice("MSH-11", h->processing_id, "P^T");
    expect_slice("MSH-12.1", h->version, "2.5.1");
    expect_slice("MSH-15", h->accept_ack, "AL");
    expect_slice("MSH-16", h->application_ack, "NE");
    expect_slice("MSH-18", h->charset, "8859/1~ISO IR87");
}

static void a_head_is_read_and_guessed_alike(void **state)
{
    hl7_head read, guess;

    hl7_head_read(parsed(*state, slice_of(full)), &read);
    expect_full(&read);
    assert_true(hl7_head_guess(exact_copy(*state, slice_of(full)), &guess));
    expect_full(&guess);
    assert_memory_equal(&read.delims, &guess.delims, sizeof read.delims);
}

static void what_is_absent_is_empty(void **state)
{
    hl7_head h;

    hl7_head_read(parsed(*state, slice_lit("MSH|^~\\&|APP\r")), &h);
    assert_int_equal(h.control_id.len, 0);
    assert_int_equal(h.type.len, 0);
    assert_int_equal(h.charset.len, 0);
    hl7_head_read(parsed(*state, slice_lit("MSH|^~\\&|||||||ADT|1|P|")), &h);
    expect_slice("MSH-9.1", h.type, "ADT");
    assert_int_equal(h.event.len, 0);
}

/* Not a message, but enough of one to answer. */
static void a_broken_message_gives_its_head(void **state)
{
    hl7_head h;

    assert_true(hl7_head_guess(exact_copy(*state, slice_lit("\xEF\xBB\xBF\r\nMSH|^~\\&|APP||||||ORU^R01|ID9\rbroken line")), &h));
    expect_slice("MSH-10", h.control_id, "ID9");
    assert_true(hl7_head_guess(slice_lit("MSH|&&&&|APP||||||ORU^R01|ID9|P|2.3"), &h));
    expect_slice("MSH-10", h.control_id, "ID9");
    expect_slice("MSH-9.2", h.event, "R01");
    assert_memory_equal(&h.delims, (&(hl7_delims){ '|', '^', '~', '\\', '&', 0 }), sizeof h.delims);
    assert_true(hl7_head_guess(slice_lit("MSH^^APP"), &h));
    expect_slice("MSH-3", h.sending_app, "APP");
    assert_int_equal(h.delims.field, '^');
    assert_int_equal(h.delims.component, '|');
    assert_true(hl7_head_guess(slice_lit("MSH|"), &h));

    static const char *const nothing[] = { "", "MSH", "MSH\r", "MSHX^~\\&", "MSH ", "PID|1", "GET / HTTP/1.1\r\n", "\rMS" };
    for (size_t i = 0; i < countof(nothing); i++) {
        assert_false(hl7_head_guess(exact_copy(*state, slice_of(nothing[i])), &h));
        assert_memory_equal(&h, &(hl7_head){ 0 }, sizeof h);
    }
}

static void types_are_named_and_matched(void **state)
{
    static const struct { const char *pattern, *type; bool matches; } table[] = {
        { "*", "ADT^A01", true }, { "*", "", true }, { "ADT", "ADT^A01", true }, { "ADT", "ADT", true },
        { "ADT^*", "ADT^A01", true }, { "ADT^*", "ADT", true }, { "ADT^A01", "ADT^A01", true },
        { "ADT^A01", "ADT^A04", false }, { "ADT^A01", "ADT", false }, { "ADT", "ORU^R01", false },
        { "AD", "ADT^A01", false }, { "ADT^A0", "ADT^A01", false }, { "", "ADT^A01", false }, { "*^A01", "ADT^A01", false },
    };
    static const struct { const char *msh9, *name; } names[] = {
        { "ADT^A01^ADT_A01", "ADT^A01" }, { "ADT^A01", "ADT^A01" }, { "ACK", "ACK" }, { "ORU^^ORU_R01", "ORU" },
        { "", "" },
    };

    for (size_t i = 0; i < countof(table); i++)
        if (hl7_type_matches(slice_of(table[i].pattern), slice_of(table[i].type)) != table[i].matches)
            fail_msg("\"%s\" and \"%s\"", table[i].pattern, table[i].type);
    for (size_t i = 0; i < countof(names); i++) {
        hl7_head h;
        hl7_head_read(parsed(*state, arena_printf(*state, "MSH|^~\\&|||||||%s|1\r", names[i].msh9)), &h);
        expect_slice("type", hl7_head_type(*state, &h), names[i].name);
    }
}

/* ---- ordering keys -------------------------------------------------------------- */

static const struct { const char *segments, *paths, *keys; } keyed[] = {
    { "PID|1||77^^^NORTH^MR\r", "", "77^NORTH" },
    { "PID|1||77\r", "", "77^" },
    { "PID|1||77^^^B&1.2&ISO~12^^^A~77^^^B&1.2&ISO\r", "", "77^B&1.2&ISO" },
    { "PID|1||5^^^N\rMRG|4^^^N~3^^^N\rPID|1||9^^^N\r", "", "4^N 5^N 9^N" },
    { "PID|1||~\"\"^^^N~8^^^N~7^^^N\r", "", "8^N" },
    { "PID|1||~^^^N~\"\"^^^N\r", "", "" },
    { "PID|1\rPV1|1\r", "", "" },
    { "NTE|77\r", "", "" },
    { "PID|1||7^^^N\rPV1|1||||||||||||||||||V1\r", "PV1-19", "V1" },
    { "ORC|NW|1\rORC|NW|2\rORC|NW|1\r", "ORC-2", "1" },
    { "ORC|NW|2\rORC|NW|1\rORC|NW|2\r", "ORC[*]-2", "1 2" },
    { "ORC|NW|2\rORC|NW|1\r", "ORC[2]-2", "1" },
    { "PID|1||b~a^x~c\r", "PID-3[*].1", "a b c" },
    { "PID|1||b~a^x~c\r", "PID-3", "b~a^x~c" },
    { "PID|1||b^1\rORC|NW|a\r", "PID-3.1 ORC-2 ZZZ-1", "a b" },
};

static void keys_are_distinct_and_sorted(void **state)
{
    for (size_t i = 0; i < countof(keyed); i++) {
        const hl7_msg *m = parsed(*state, arena_printf(*state, "MSH|^~\\&|\r%s", keyed[i].segments));
        hl7_path paths[4];
        size_t count = 0;
        slice keys[HL7_KEYS_MAX], rest = slice_of(keyed[i].paths);
        buf found = buf_in(*state);
        while (rest.len > 0) {
            slice one = slice_cut(rest, ' ', &rest);
            paths[count++] = path_of(arena_cstr(*state, one));
        }
        size_t n = hl7_keys(*state, m, paths, count, keys);
        for (size_t k = 0; k < n; k++) {
            if (k > 0) buf_putc(&found, ' ');
            buf_put(&found, keys[k]);
        }
        expect_slice(keyed[i].segments, buf_slice(&found), keyed[i].keys);
    }
}

static void keys_are_bounded(void **state)
{
    buf b = buf_in(*state);
    slice keys[HL7_KEYS_MAX];

    buf_puts(&b, "MSH|^~\\&|\r");
    for (int i = 99; i > 0; i--) buf_printf(&b, "PID|1||%02d\r", i);
    assert_int_equal(hl7_keys(*state, parsed(*state, buf_slice(&b)), NULL, 0, keys), HL7_KEYS_MAX);
    expect_slice("the first ones found, sorted", keys[0], "84^");
    expect_slice("the first ones found, sorted", keys[HL7_KEYS_MAX - 1], "99^");
}

static void put_piece(void *arg, slice piece) { buf_put(arg, piece); }

static void time_and_security_are_left_out(void **state)
{
    static const struct { const char *bytes, *stable; } table[] = {
        { "MSH|^~\\&|A|B|C|D|2026|SECRET|ADT\rPID|1\r", "MSH|^~\\&|A|B|C|D|||ADT\rPID|1\r" },
        { "MSH|^~\\&|A|B|C|D|2026||ADT\r", "MSH|^~\\&|A|B|C|D|||ADT\r" },
        { "MSH|^~\\&|A|B|C|D||X|ADT\r", "MSH|^~\\&|A|B|C|D|||ADT\r" },
        { "MSH|^~\\&|A|B|C|D|2026|SECRET", "MSH|^~\\&|A|B|C|D||" },
        { "\xEF\xBB\xBFMSH|^~\\&|A", "\xEF\xBB\xBFMSH|^~\\&|A" },
    };

    for (size_t i = 0; i < countof(table); i++) {
        buf b = buf_in(*state);
        hl7_stable_bytes(parsed(*state, slice_of(table[i].bytes)), put_piece, &b);
        expect_slice(table[i].bytes, buf_slice(&b), table[i].stable);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_arena(a_head_is_read_and_guessed_alike),
        with_arena(what_is_absent_is_empty),
        with_arena(a_broken_message_gives_its_head),
        with_arena(types_are_named_and_matched),
        with_arena(keys_are_distinct_and_sorted),
        with_arena(keys_are_bounded),
        with_arena(time_and_security_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
