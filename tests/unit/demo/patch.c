/* tests/unit/demo/patch.c -- JSON Patch, with the cases of RFC 6902, appendix A, that matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "demo/patch.h"

static const struct { const char *held, *patch, *want; } patches[] = {   /* NULL: refused */
    { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":[2]}]", "{\"a\":1,\"b\":[2]}" },
    { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1.10}]", "{\"a\":1.10}" },
    { "{\"a\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":2}]", "{\"a\":[1,2,3]}" },
    { "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":2}]", "{\"a\":[1,2]}" },
    { "{\"a\":[]}", "[{\"op\":\"add\",\"path\":\"/a/0\",\"value\":2}]", "{\"a\":[2]}" },
    { "{\"a\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/a/0\"},{\"op\":\"remove\",\"path\":\"/a/1\"}]", "{\"a\":[2]}" },
    { "{\"a\":{\"b\":1},\"c\":2}", "[{\"op\":\"remove\",\"path\":\"/a/b\"}]", "{\"a\":{},\"c\":2}" },
    { "{\"a\":[1,2]}", "[{\"op\":\"replace\",\"path\":\"/a/1\",\"value\":{}}]", "{\"a\":[1,{}]}" },
    { "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"z\":0}}]", "{\"z\":0}" },
    { "{\"a\":{\"x\":1},\"b\":{}}", "[{\"op\":\"move\",\"from\":\"/a/x\",\"path\":\"/b/y\"}]", "{\"a\":{},\"b\":{\"y\":1}}" },
    { "{\"a\":[1,2,3]}", "[{\"op\":\"move\",\"from\":\"/a/0\",\"path\":\"/a/2\"}]", "{\"a\":[2,3,1]}" },
    { "{\"a\":[1]}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]", "{\"a\":[1],\"b\":[1]}" },
    { "{\"a/b\":1,\"m~n\":2}", "[{\"op\":\"remove\",\"path\":\"/a~1b\"},{\"op\":\"test\",\"path\":\"/m~0n\",\"value\":2}]",
      "{\"m~n\":2}" },
    { "{\"a\":{\"b\":[1]}}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"b\":[1]}}]", "{\"a\":{\"b\":[1]}}" },
    { "{\"a\":1}", "[]", "{\"a\":1}" },
    { "{\"a\":1}", "{}", NULL },
    { "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/b\",\"value\":1}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"\"}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b/c\",\"value\":1}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/c\",\"value\":1}]", NULL },
    { "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/3\",\"value\":1}]", NULL },
    { "{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", NULL },
    { "{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/-\"}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"b\",\"value\":1}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\"}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"jump\",\"path\":\"/a\"}]", NULL },
    { "{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", NULL },
    { "{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/b\"}]", NULL },
};

static json *read_json(arena *mem, const char *text)
{
    json *v;
    err_info why;
    if (json_parse(mem, slice_of(text), &v, &why) != ERR_OK) fail_msg("%s: %s", text, why.text);
    return v;
}

static void test_patch(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(patches); i++) {
        arena mem = { 0 };
        buf text = buf_in(&mem), before = buf_in(&mem);
        json *held = read_json(&mem, patches[i].held), *got;
        err_info why;
        err e = demo_patch(&mem, held, read_json(&mem, patches[i].patch), &got, &why);

        if ((e == ERR_OK) != (patches[i].want != NULL)) fail_msg("%s on %s", patches[i].patch, patches[i].held);
        if (e == ERR_OK) {
            json_write(&text, got);
            assert_string_equal(arena_cstr(&mem, buf_slice(&text)), patches[i].want);
        }
        json_write(&before, held);
        assert_string_equal(arena_cstr(&mem, buf_slice(&before)), patches[i].held);
        arena_free(&mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_patch) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
