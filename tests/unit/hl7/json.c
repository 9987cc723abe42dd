/* tests/unit/hl7/json.c -- `parsed_data`: its form, and the way back to the bytes. */
#include "fixture.h"
#include "hl7/json.h"

static const struct { const char *name; slice bytes; const char *json; } forms[] = {
    { "shortest", slice_lit("MSH|^"), "{\"delimiters\":\"|^\",\"terminator\":\"\",\"segments\":[[\"MSH\",\"|\",\"^\"]]}" },
    { "usual", slice_lit("MSH|^~\\&|LAB\rPID|1||123^^^HOSP~9^^^A&B\r"),
      "{\"delimiters\":\"|^~\\\\&\",\"terminator\":\"\\r\",\"segments\":[[\"MSH\",\"|\",\"^~\\\\&\",\"LAB\"],"
      "[\"PID\",\"1\",\"\",[[\"123\",\"\",\"\",\"HOSP\"],[\"9\",\"\",\"\",[\"A\",\"B\"]]]]]}" },
    { "shapes", slice_lit("MSH|^~\\&\nZZZ|a~b|a^b|a&b|a&b^c|~|^|&|\n"),
      "{\"delimiters\":\"|^~\\\\&\",\"terminator\":\"\\n\",\"segments\":[[\"MSH\",\"|\",\"^~\\\\&\"],"
      "[\"ZZZ\",[\"a\",\"b\"],[[\"a\",\"b\"]],[[[\"a\",\"b\"]]],[[[\"a\",\"b\"],\"c\"]],[\"\",\"\"],[[\"\",\"\"]],[[[\"\",\"\"]]],\"\"]]}" },
    { "terminators, prefix, blank lines", slice_lit("\xEF\xBB\xBF\r\nMSH|^~\\&\r\n\r\nPV1\r \nPD1"),
      "{\"delimiters\":\"|^~\\\\&\",\"prefix\":\"\xEF\xBB\xBF\\r\\n\",\"terminators\":[\"\\r\\n\",\"\\r\",\"\"],"
      "\"blank\":[[1,\"\\r\\n\"],[2,\" \\n\"]],\"segments\":[[\"MSH\",\"|\",\"^~\\\\&\"],[\"PV1\"],[\"PD1\"]]}" },
    { "escapes and quotes stay as sent", slice_lit("MSH|^~\\&\rNTE|\"\"|\\T\\ \t\r"),
      "{\"delimiters\":\"|^~\\\\&\",\"terminator\":\"\\r\",\"segments\":[[\"MSH\",\"|\",\"^~\\\\&\"],"
      "[\"NTE\",\"\\\"\\\"\",\"\\\\T\\\\ \\t\"]]}" },
    { "delimiters that are not declared divide nothing", slice_lit("MSH|^\rNTE|a~b&c^d\r"),
      "{\"delimiters\":\"|^\",\"terminator\":\"\\r\",\"segments\":[[\"MSH\",\"|\",\"^\"],[\"NTE\",[[\"a~b&c\",\"d\"]]]]}" },
    { "doubled escape", slice_lit("MSH|^~\\\\&|A\r"),
      "{\"delimiters\":\"|^~\\\\\\\\&\",\"terminator\":\"\\r\",\"segments\":[[\"MSH\",\"|\",\"^~\\\\\\\\&\",\"A\"]]}" },
    { "other delimiters", slice_lit("MSH#!@%*#A!B*C\r"),
      "{\"delimiters\":\"#!@%*\",\"terminator\":\"\\r\",\"segments\":[[\"MSH\",\"#\",\"!@%*\",[[\"A\",[\"B\",\"C\"]]]]]}" },
};

static void rebuild(arena *mem, const char *name, slice text, slice expected)
{
    buf out = buf_in(mem);
    err_info why = { ERR_OK, "" };
    json *v;

    if (json_parse(mem, text, &v, &why) != ERR_OK || hl7_json_rebuild(&out, v, &why) != ERR_OK)
        fail_msg("%s: %s", name, why.text);
    if (!slice_eq(buf_slice(&out), expected)) fail_msg("%s does not come back", name);
}

static void a_message_has_this_form_and_comes_back(void **state)
{
    for (size_t i = 0; i < countof(forms); i++) {
        buf b = buf_in(*state);
        hl7_json_write(&b, parsed(*state, forms[i].bytes));
        expect_slice(forms[i].name, buf_slice(&b), forms[i].json);
        rebuild(*state, forms[i].name, buf_slice(&b), forms[i].bytes);
    }
}

/* Every short field of separators and letters comes back. */
static void every_shape_comes_back(void **state)
{
    static const char letters[] = "a^~&|\\";
    size_t count = 1;

    for (size_t len = 0; len <= 5; len++, count *= sizeof letters - 1) {
        for (size_t n = 0; n < count; n++) {
            arena mem = { 0 };
            buf message = buf_in(&mem), text = buf_in(&mem);
            buf_puts(&message, "MSH|^~\\&|\rZZZ|");
            for (size_t i = 0, rest = n; i < len; i++, rest /= sizeof letters - 1)
                buf_putc(&message, letters[rest % (sizeof letters - 1)]);
            hl7_json_write(&text, parsed(&mem, buf_slice(&message)));
            rebuild(&mem, "a shape", buf_slice(&text), buf_slice(&message));
            arena_free(&mem);
        }
    }
    (void)state;
}

#define FRONT "{\"delimiters\":\"|^~\\\\&\",\"terminator\":\"\\r\",\"segments\":[[\"MSH\",\"|\",\"^~\\\\&\",\"A\"]"

static const struct { const char *json, *why; } foreign[] = {
    { "null", "no \"segments\"" }, { "{}", "no \"segments\"" }, { "{\"segments\":{}}", "no \"segments\"" },
    { "{\"segments\":[]}", "no \"segments\"" }, { "{\"segments\":[[]]}", "no \"segments\"" },
    { "{\"segments\":[[\"MSH\"]]}", "MSH has no delimiters" },
    { "{\"segments\":[[\"MSH\",\"|\"]]}", "MSH has no delimiters" },
    { "{\"segments\":[[\"MSH\",\"||\",\"^\"]]}", "MSH has no delimiters" },
    { "{\"segments\":[[\"MSH\",\"|\",[\"^\"]]]}", "MSH has no delimiters" },
    { "{\"segments\":[[\"MSH\",\"|\",\"^|\"]]}", "MSH has no delimiters" },
    { "{\"segments\":[[\"MSH\",\"|\",\"^\"]]}", "\"delimiters\" differ" },
    { "{\"delimiters\":\"|~\",\"segments\":[[\"MSH\",\"|\",\"^\"]]}", "\"delimiters\" differ" },
    { "{\"delimiters\":\"|&&\",\"segments\":[[\"MSH\",\"|\",\"&&\"]]}", "cannot separate" },
    { "{\"delimiters\":\"|^\",\"segments\":[[\"MSH\",\"|\",\"^\"]]}", "segment 1: no terminator" },
    { "{\"delimiters\":\"|^\",\"terminator\":\"x\",\"segments\":[[\"MSH\",\"|\",\"^\"]]}", "no terminator" },
    { "{\"delimiters\":\"|^\",\"terminator\":1,\"segments\":[[\"MSH\",\"|\",\"^\"]]}", "no terminator" },
    { "{\"delimiters\":\"|^\",\"terminator\":\"\",\"segments\":[[\"MSH\",\"|\",\"^\"],[\"PID\"]]}", "segment 1: no terminator" },
    { "{\"delimiters\":\"|^\",\"terminators\":[\"\\r\"],\"segments\":[[\"MSH\",\"|\",\"^\"],[\"PID\"]]}", "segment 2: no terminator" },
    { "{\"delimiters\":\"|^\",\"terminators\":[\"\\r\",\"\\r\"],\"segments\":[[\"MSH\",\"|\",\"^\"]]}", "more terminators" },
    { FRONT ",[]]}", "segment 2: no array that begins" }, { FRONT ",\"PID\"]}", "segment 2: no array" },
    { FRONT ",[\"pid\"]]}", "segment 2: no array" }, { FRONT ",[\"PIDX\"]]}", "segment 2: no array" },
    { FRONT ",[[\"PID\"]]]}", "segment 2: no array" }, { FRONT ",[\"MSH\",\"|\",\"^~\\\\&\"]]}", "MSH is the first" },
    { FRONT ",[\"PID\",1]]}", "segment 2, field 1: neither" }, { FRONT ",[\"PID\",\"\",[]]]}", "segment 2, field 2: neither" },
    { FRONT ",[\"PID\",{}]]}", "neither" }, { FRONT ",[\"PID\",[[[[\"a\",\"b\"]]]]]]}", "neither" },
    { FRONT ",[\"PID\",\"a|b\"]]}", "segment 2, field 1: a string holds a separator" },
    { FRONT ",[\"PID\",\"a\\rOBX|1\"]]}", "a string holds" }, { FRONT ",[\"PID\",\"a\\n\"]]}", "a string holds" },
    { FRONT ",[\"PID\",[\"a~b\",\"c\"]]]}", "a string holds" }, { FRONT ",[\"PID\",\"a&b\"]]}", "a string holds" },
    { FRONT "],\"prefix\":\"x\"}", "\"prefix\" holds more" }, { FRONT "],\"prefix\":1}", "\"prefix\" holds more" },
    { FRONT "],\"blank\":[[1,\"x\"]]}", "\"blank\" holds more" }, { FRONT "],\"blank\":[[2,\"\\r\"]]}", "more terminators or blank" },
    { FRONT "],\"blank\":5}", "is no array" }, { FRONT "],\"terminators\":\"\"}", "is no array" },
    { FRONT "],\"blank\":[1]}", "an entry of \"blank\"" }, { FRONT "],\"blank\":[[1]]}", "an entry of \"blank\"" },
    { FRONT "],\"blank\":[[\"1\",\"\\r\"]]}", "an entry of \"blank\"" }, { FRONT "],\"blank\":[[1,2]]}", "\"blank\" holds more" },
    { "{\"delimiters\":\"|^\",\"terminator\":\"\\r\",\"segments\":[[\"MSH\",\"|\",\"^\",[\"a\",\"b\"]]]}", "cannot separate" },
};

static void other_json_is_refused(void **state)
{
    for (size_t i = 0; i < countof(foreign); i++) {
        buf out = buf_in(*state);
        err_info why = { ERR_OK, "" };
        json *v;
        if (json_parse(*state, slice_of(foreign[i].json), &v, &why) != ERR_OK) fail_msg("%s: %s", foreign[i].json, why.text);
        if (hl7_json_rebuild(&out, v, &why) != ERR_JSON) fail_msg("taken: %s", foreign[i].json);
        if (strstr(why.text, foreign[i].why) == NULL) fail_msg("%s: \"%s\" does not say: %s", foreign[i].json, why.text, foreign[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_arena(a_message_has_this_form_and_comes_back),
        with_arena(every_shape_comes_back),
        with_arena(other_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
