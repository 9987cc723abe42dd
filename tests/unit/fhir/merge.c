/* tests/unit/fhir/merge.c -- a thin message over a rich resource. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fhir/merge.h"

#define P "\"resourceType\":\"Patient\""

static const struct { const char *what, *held, *update, *want; bool changed; } merges[] = {
    { "absent stays", "{" P ",\"id\":\"1\",\"name\":[{\"family\":\"A\"}],\"gender\":\"male\"}",
      "{" P ",\"gender\":\"female\"}",
      "{" P ",\"id\":\"1\",\"name\":[{\"family\":\"A\"}],\"gender\":\"female\"}", true },
    { "an element is replaced as a whole, in its place",
      "{" P ",\"name\":[{\"family\":\"A\"},{\"family\":\"B\"}],\"gender\":\"male\"}",
      "{" P ",\"name\":[{\"family\":\"C\"}]}",
      "{" P ",\"name\":[{\"family\":\"C\"}],\"gender\":\"male\"}", true },
    { "null deletes", "{" P ",\"gender\":\"male\",\"active\":true}", "{" P ",\"gender\":null}",
      "{" P ",\"active\":true}", true },
    { "null of what is not there", "{" P ",\"active\":true}", "{" P ",\"gender\":null}",
      "{" P ",\"active\":true}", false },
    { "new ones behind", "{" P ",\"active\":true}", "{" P ",\"gender\":\"male\"}",
      "{" P ",\"active\":true,\"gender\":\"male\"}", true },
    { "the same again", "{" P ",\"name\":[{\"family\":\"A\",\"given\":[\"B\"]}]}",
      "{" P ",\"name\":[{\"given\":[\"B\"],\"family\":\"A\"}]}",
      "{" P ",\"name\":[{\"given\":[\"B\"],\"family\":\"A\"}]}", false },
    { "id and meta of the held stay",
      "{" P ",\"id\":\"1\",\"meta\":{\"versionId\":\"3\",\"source\":\"s\"}}",
      "{" P ",\"id\":\"2\",\"meta\":{\"versionId\":\"9\",\"source\":\"t\"}}",
      "{" P ",\"id\":\"1\",\"meta\":{\"versionId\":\"3\",\"source\":\"s\"}}", false },
    { "profiles and tags are added once",
      "{" P ",\"meta\":{\"profile\":[\"p\"],\"tag\":[{\"system\":\"s\",\"code\":\"a\",\"display\":\"A\"}]}}",
      "{" P ",\"meta\":{\"profile\":[\"q\",\"p\",\"q\"],\"tag\":[{\"system\":\"s\",\"code\":\"a\"},{\"code\":\"a\"}]}}",
      "{" P ",\"meta\":{\"profile\":[\"p\",\"q\"],\"tag\":[{\"system\":\"s\",\"code\":\"a\",\"display\":\"A\"},"
      "{\"code\":\"a\"}]}}", true },
    { "meta where there was none", "{" P "}", "{" P ",\"meta\":{\"profile\":[\"q\"]}}",
      "{" P ",\"meta\":{\"profile\":[\"q\"]}}", true },
    { "an empty meta stays what it is", "{" P ",\"meta\":{}}", "{" P ",\"meta\":{}}", "{" P ",\"meta\":{}}", false },
    { "no meta for nothing", "{" P "}", "{" P ",\"meta\":{\"versionId\":\"2\"}}", "{" P "}", false },
    { "a primitive takes its extensions along",
      "{" P ",\"birthDate\":\"1970\",\"_birthDate\":{\"id\":\"x\"},\"active\":true}",
      "{" P ",\"birthDate\":\"1971\"}", "{" P ",\"birthDate\":\"1971\",\"active\":true}", true },
    { "extensions instead of the primitive",
      "{" P ",\"birthDate\":\"1970\",\"active\":true}", "{" P ",\"_birthDate\":{\"id\":\"x\"}}",
      "{" P ",\"_birthDate\":{\"id\":\"x\"},\"active\":true}", true },
    { "one type of a choice replaces the other",
      "{" P ",\"deceasedBoolean\":true,\"active\":true}", "{" P ",\"deceasedDateTime\":\"2026\"}",
      "{" P ",\"deceasedDateTime\":\"2026\",\"active\":true}", true },
    { "null of one type deletes the choice",
      "{" P ",\"deceasedDateTime\":\"2026\",\"_deceasedDateTime\":{\"id\":\"x\"}}",
      "{" P ",\"deceasedBoolean\":null}", "{" P "}", true },
    { "choices of one resource do not meet",
      "{" P ",\"deceasedBoolean\":true,\"multipleBirthInteger\":1}", "{" P ",\"multipleBirthBoolean\":true}",
      "{" P ",\"deceasedBoolean\":true,\"multipleBirthBoolean\":true}", true },
    { "the precision of a number is a difference", "{\"resourceType\":\"X\",\"v\":1.10}",
      "{\"resourceType\":\"X\",\"v\":1.1}", "{\"resourceType\":\"X\",\"v\":1.1}", true },
};

static json *read_json(arena *mem, const char *text)
{
    json *v;
    err_info why;
    if (json_parse(mem, slice_of(text), &v, &why) != ERR_OK) fail_msg("%s: %s", text, why.text);
    return v;
}

static const char *written(arena *mem, const json *v)
{
    buf out = buf_in(mem);
    json_write(&out, v);
    return arena_cstr(mem, buf_slice(&out));
}

static void test_merge(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(merges); i++) {
        arena in = { 0 }, mem = { 0 };
        bool changed;
        json *held = read_json(&in, merges[i].held), *update = read_json(&in, merges[i].update);
        json *got = fhir_merge(&mem, held, update, &changed);

        if (strcmp(written(&mem, held), merges[i].held) != 0 ||
            strcmp(written(&mem, update), merges[i].update) != 0)
            fail_msg("%s: an input was changed", merges[i].what);
        arena_free(&in);                             /* the result borrows nothing */
        if (strcmp(written(&mem, got), merges[i].want) != 0)
            fail_msg("%s: %s", merges[i].what, written(&mem, got));
        if (changed != merges[i].changed) fail_msg("%s: changed is %d", merges[i].what, changed);
        arena_free(&mem);
    }
}

static void test_without_nulls(void **state)
{
    arena mem = { 0 };
    json *held = read_json(&mem, "{" P ",\"gender\":null,\"active\":true}");
    json *got = fhir_without_nulls(&mem, held);

    (void)state;
    assert_string_equal(written(&mem, got), "{" P ",\"active\":true}");
    assert_string_equal(written(&mem, held), "{" P ",\"gender\":null,\"active\":true}");
    assert_ptr_equal(fhir_without_nulls(&mem, got), got);
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_merge), cmocka_unit_test(test_without_nulls) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
