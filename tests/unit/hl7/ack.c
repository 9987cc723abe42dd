/* tests/unit/hl7/ack.c -- acknowledgements by version, in the sender's hand. */
#include "fixture.h"
#include "hl7/ack.h"
#include "hl7/text.h"

static const hl7_ack refused = {
    .code = HL7_AR, .error = HL7_ERROR_FIELD_MISSING, .location = { "MSH-10", 6 },
    .text = { "no control id | in MSH-10", 25 }, .control_id = { "A1", 2 }, .time = { "20260418093000+0000", 19 },
};
static const hl7_ack taken = { .code = HL7_AA, .control_id = { "A1", 2 }, .time = { "20260418093000+0000", 19 } };

#define MSH "MSH|^~\\&|SA^1.2^ISO|SF|RA|RF|20260401|pw|"
#define ACK "MSH|^~\\&|RA|RF|SA^1.2^ISO|SF|20260418093000+0000||"

static const struct { const char *name, *message; const hl7_ack *ack; const char *written; } table[] = {
    { "2.1", MSH "ADT^A01|7|P|2.1", &taken, ACK "ACK|A1|P|2.1\rMSA|AA|7\r" },
    { "2.2", MSH "ADT^A01|7|P|2.2", &refused,
      ACK "ACK|A1|P|2.2\rMSA|AR|7|no control id \\F\\ in MSH-10\rERR|MSH^1^10^101\r" },
    { "2.3", MSH "ADT^A01|7|D|2.3", &refused,
      ACK "ACK^A01|A1|D|2.3\rMSA|AR|7|no control id \\F\\ in MSH-10\rERR|MSH^1^10^101&Required field missing&HL70357\r" },
    { "2.3.1", MSH "ADT^A01^ADT_A01|7|P|2.3.1", &taken, ACK "ACK^A01^ACK|A1|P|2.3.1\rMSA|AA|7\r" },
    { "2.4", MSH "ADT^A01^ADT_A01|7|P^A|2.4^CHE", &taken, ACK "ACK^A01^ACK|A1|P^A|2.4\rMSA|AA|7\r" },
    { "2.5.1", MSH "ADT^A01^ADT_A01|7|P|2.5.1", &refused,
      ACK "ACK^A01^ACK|A1|P|2.5.1\rMSA|AR|7|no control id \\F\\ in MSH-10\r"
      "ERR||MSH^1^10|101^Required field missing^HL70357|E||||no control id \\F\\ in MSH-10\r" },
    { "2.7", MSH "ADT^A01^ADT_A01|7|P|2.7", &refused,
      ACK "ACK^A01^ACK|A1|P|2.7\rMSA|AR|7\r"
      "ERR||MSH^1^10|101^Required field missing^HL70357|E||||no control id \\F\\ in MSH-10\r" },
    { "2.10 is newer than 2.9", MSH "ADT^A01|7|P|2.10", &taken, ACK "ACK^A01^ACK|A1|P|2.10\rMSA|AA|7\r" },
    { "no version", MSH "ADT^A01|7|P", &taken, ACK "ACK^A01^ACK|A1|P|2.5.1\rMSA|AA|7\r" },
    { "an odd version", MSH "ADT^A01|7|P|2.x", &taken, ACK "ACK^A01^ACK|A1|P|2.x\rMSA|AA|7\r" },
    { "no event", MSH "ADT|7|P|2.5", &taken, ACK "ACK|A1|P|2.5\rMSA|AA|7\r" },
    { "no id, no processing id", MSH "ADT^A01||", &taken, ACK "ACK^A01^ACK|A1|P|2.5.1\rMSA|AA|\r" },
    { "character set", MSH "ADT^A01|7|P|2.5||||||8859/1~ISO IR87", &taken,
      ACK "ACK^A01^ACK|A1|P|2.5||||||8859/1\rMSA|AA|7\r" },
    { "MSA-2 as sent", MSH "ADT^A01|a\\T\\b&c~d|P|2.5", &taken, ACK "ACK^A01^ACK|A1|P|2.5\rMSA|AA|a\\T\\b&c~d\r" },
    { "other delimiters", "MSH#!@%*#SA#SF#RA#RF#1##ADT!A01#7#P#2.5", &refused,
      "MSH#!@%*#RA#RF#SA#SF#20260418093000+0000##ACK!A01!ACK#A1#P#2.5\rMSA#AR#7#no control id | in MSH-10\r"
      "ERR##MSH!1!10#101!Required field missing!HL70357#E####no control id | in MSH-10\r" },
    { "a delimiter of ours", "MSH|+~\\&|SA|SF|RA|RF|1||ADT+A01|7|P|2.5", &taken,
      "MSH|+~\\&|RA|RF|SA|SF|20260418093000\\S\\0000||ACK+A01+ACK|A1|P|2.5\rMSA|AA|7\r" },
    { "truncation character", "MSH|^~\\&#|SA|SF|RA|RF|1||ADT^A01|7|P|2.7", &taken,
      "MSH|^~\\&#|RA|RF|SA|SF|20260418093000+0000||ACK^A01^ACK|A1|P|2.7\rMSA|AA|7\r" },
    { "no escape character", "MSH|^~&|SA|SF|RA|RF|1||ADT^A01|7|P|2.5", &refused,
      "MSH|^~&|RA|RF|SA|SF|20260418093000+0000||ACK^A01^ACK|A1|P|2.5\rMSA|AR|7|no control id   in MSH-10\r"
      "ERR||MSH^1^10|101^Required field missing^HL70357|E||||no control id   in MSH-10\r" },
    { "no subcomponent separator", "MSH|^~\\|SA|SF|RA|RF|1||ADT^A01|7|P|2.3", &refused,
      "MSH|^~\\|RA|RF|SA|SF|20260418093000+0000||ACK^A01|A1|P|2.3\rMSA|AR|7|no control id \\F\\ in MSH-10\rERR|MSH^1^10^101\r" },
    { "delimiters that cannot separate", "MSH|&&&&|SA|SF|RA|RF|1||ADT^A01|7|P|2.5", &taken,
      "MSH|^~\\&|RA|RF|SA|SF|20260418093000+0000||ACK^A01^ACK|A1|P|2.5\rMSA|AA|7\r" },
    { "nothing readable", "GET / HTTP/1.1", &refused,
      "MSH|^~\\&|||||20260418093000+0000||ACK|A1|P|2.5.1\rMSA|AR||no control id \\F\\ in MSH-10\r"
      "ERR||MSH^1^10|101^Required field missing^HL70357|E||||no control id \\F\\ in MSH-10\r" },
};

static void an_ack_is_written_as_its_version_has_it(void **state)
{
    for (size_t i = 0; i < countof(table); i++) {
        hl7_head about;
        buf b = buf_in(*state);
        bool any = hl7_head_guess(slice_of(table[i].message), &about);
        assert_int_equal(any, slice_starts(slice_of(table[i].message), slice_lit("MSH")));
        hl7_ack_write(&b, &about, table[i].ack);
        expect_slice(table[i].name, buf_slice(&b), table[i].written);

        hl7_ack_code code;
        slice id;
        assert_int_equal(hl7_ack_read(*state, buf_slice(&b), &code, &id, NULL), ERR_OK);
        assert_int_equal(code, table[i].ack->code);
        assert_true(slice_eq(id, about.control_id));
    }
}

static void locations_and_errors_are_as_far_as_known(void **state)
{
    static const struct { hl7_error error; const char *location, *err; } errors[] = {
        { HL7_ERROR_DUPLICATE_KEY, "MSH-10", "ERR||MSH^1^10|205^Duplicate key identifier^HL70357|E\r" },
        { HL7_ERROR_SEQUENCE, "", "ERR|||100^Segment sequence error^HL70357|E\r" },
        { HL7_ERROR_SEQUENCE, "not a path", "ERR|||100^Segment sequence error^HL70357|E\r" },
        { HL7_ERROR_TABLE_VALUE, "OBX[3]-5[2].1.4", "ERR||OBX^3^5^2^1^4|103^Table value not found^HL70357|E\r" },
        { HL7_ERROR_DATA_TYPE, "PID-7.1", "ERR||PID^1^7^^1|102^Data type error^HL70357|E\r" },
        { HL7_ERROR_SEQUENCE, "PV1", "ERR||PV1^1|100^Segment sequence error^HL70357|E\r" },
        { HL7_ERROR_INTERNAL, "", "ERR|||207^Application internal error^HL70357|E\r" },
    };
    hl7_head about;

    assert_true(hl7_head_guess(slice_lit(MSH "ADT^A01|7|P|2.5"), &about));
    for (size_t i = 0; i < countof(errors); i++) {
        buf b = buf_in(*state);
        hl7_ack ack = { .code = HL7_AE, .error = errors[i].error, .location = slice_of(errors[i].location) };
        hl7_ack_write(&b, &about, &ack);
        slice at = buf_slice(&b);
        while (!slice_starts(at, slice_lit("ERR"))) at = slice_from(at, 1);
        expect_slice(errors[i].location, at, errors[i].err);
    }
}

static void a_long_text_is_cut_between_characters(void **state)
{
    hl7_head about;
    hl7_ack ack = { .code = HL7_AE };
    buf text = buf_in(*state), b = buf_in(*state);
    const hl7_msg *m;

    for (int i = 0; i < 79; i++) buf_putc(&text, 'x');
    buf_puts(&text, "\xC3\xA9 and more");
    ack.text = buf_slice(&text);
    assert_true(hl7_head_guess(slice_lit(MSH "ADT^A01|7|P|2.5"), &about));
    hl7_ack_write(&b, &about, &ack);
    m = parsed(*state, buf_slice(&b));
    assert_int_equal(hl7_field(m, 1, 3).len, 79);
}

static void conditions_follow_table_0155(void **state)
{
    (void)state;
    assert_true(hl7_ack_wanted(slice_lit("AL"), true) && hl7_ack_wanted(slice_lit("AL"), false));
    assert_false(hl7_ack_wanted(slice_lit("NE"), true) || hl7_ack_wanted(slice_lit("NE"), false));
    assert_true(hl7_ack_wanted(slice_lit("ER"), false) && !hl7_ack_wanted(slice_lit("ER"), true));
    assert_true(hl7_ack_wanted(slice_lit("SU"), true) && !hl7_ack_wanted(slice_lit("SU"), false));
    assert_true(hl7_ack_wanted(SLICE_NONE, true) && hl7_ack_wanted(SLICE_NONE, false));
}

static void what_is_no_answer_is_refused(void **state)
{
    static const char *const bytes[] = {
        "", "MSA|AA|1", "MSH|^~\\&|A\rPID|1\r", "MSH|^~\\&|A\rMSA\r", "MSH|^~\\&|A\rMSA|XX|1\r", "MSH|^~\\&|A\rMSA|aa|1\r",
    };
    hl7_ack_code code;
    err_info why;
    slice id;

    for (size_t i = 0; i < countof(bytes); i++)
        assert_int_equal(hl7_ack_read(*state, slice_of(bytes[i]), &code, &id, &why), ERR_HL7);
    assert_int_equal(hl7_ack_read(*state, slice_lit("MSH|^~\\&|A\nMSA|CE|a^b\n"), &code, &id, &why), ERR_OK);
    assert_int_equal(code, HL7_CE);
    expect_slice("MSA-2", id, "a^b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_arena(an_ack_is_written_as_its_version_has_it),
        with_arena(locations_and_errors_are_as_far_as_known),
        with_arena(a_long_text_is_cut_between_characters),
        with_arena(conditions_follow_table_0155),
        with_arena(what_is_no_answer_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
