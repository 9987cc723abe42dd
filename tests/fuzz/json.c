/* tests/fuzz/json.c -- what parses is written, parsed and written again to the same
 * bytes, numbers keep their text, and a copy is the same value. */
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
    if (!holds) die("json: %s", what);
}

static void same(const json *a, const json *b)
{
    must(a->type == b->type && a->count == b->count && slice_eq(a->text, b->text) && slice_eq(a->key, b->key),
         "a value changed");
    must(utf8_valid(a->text) == a->text.len, "a text is not UTF-8");
    const json *x = a->child, *y = b->child, *last = NULL;
    for (; x != NULL && y != NULL; last = x, x = x->next, y = y->next) same(x, y);
    must(x == NULL && y == NULL && a->last == last, "children were lost");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena mem = { 0 };
    buf once = buf_in(&mem), twice = buf_in(&mem);
    err_info why = { 0 };
    json *v, *again;

    if (json_parse(&mem, (slice){ (const char *)data, size }, &v, &why) == ERR_OK) {
        json_write(&once, v);
        must(json_parse(&mem, buf_slice(&once), &again, &why) == ERR_OK, why.text);
        same(v, again);
        same(v, json_copy(&mem, v));
        json_write(&twice, again);
        must(slice_eq(buf_slice(&once), buf_slice(&twice)), "written twice, it differs");
    } else {
        must(why.text[0] != '\0', "refused without a reason");
    }
    arena_free(&mem);
    return 0;
}
