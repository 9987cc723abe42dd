/* tests/unit/engine/written.c -- what was written last: found by all four parts of its key,
 * replaced, forgotten, and dropped least recently used first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "engine/written.h"

static const slice connector = slice_lit("CONN_1"), url = slice_lit("http://fhir"), type = slice_lit("Patient");

static void put(written *w, slice criteria, const char *text)
{
    written_put(w, connector, url, type, criteria,
                &(written_item){ slice_lit("p1"), slice_lit("3"), slice_of(text) });
}

static void test_key(void **state)
{
    written w;
    written_item found;
    const slice criteria = slice_lit("identifier=x");

    (void)state;
    written_init(&w, 1 << 20);
    assert_false(written_find(&w, connector, url, type, criteria, &found));
    put(&w, criteria, "{}");
    assert_true(written_find(&w, connector, url, type, criteria, &found));
    assert_true(slice_is(found.resource_id, "p1"));
    assert_true(slice_is(found.version, "3"));
    assert_true(slice_is(found.text, "{}"));
    assert_false(written_find(&w, slice_lit("CONN_2"), url, type, criteria, &found));
    assert_false(written_find(&w, connector, slice_lit("http://other"), type, criteria, &found));
    assert_false(written_find(&w, connector, url, slice_lit("Person"), criteria, &found));
    assert_false(written_find(&w, connector, url, type, slice_lit("identifier=y"), &found));
    put(&w, criteria, "{\"a\":1}");
    assert_true(written_find(&w, connector, url, type, criteria, &found));
    assert_true(slice_is(found.text, "{\"a\":1}"));
    assert_int_equal(w.by_key.count, 1);
    written_forget(&w, connector, url, type, criteria);
    written_forget(&w, connector, url, type, criteria);
    assert_false(written_find(&w, connector, url, type, criteria, &found));
    assert_int_equal(w.held, 0);
    written_free(&w);
}

static void test_least_recently_used(void **state)
{
    enum { ROOM = 4096 };
    static char large[ROOM + 1];
    written w;
    written_item found;
    char name[32];
    int kept = 0;

    (void)state;
    memset(large, 'x', ROOM);
    written_init(&w, ROOM);
    put(&w, slice_lit("first"), "1");
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        put(&w, slice_of(name), "some text");
        assert_true(w.held <= w.most);
        assert_true(written_find(&w, connector, url, type, slice_lit("first"), &found));   /* used: it stays */
    }
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        kept += written_find(&w, connector, url, type, slice_of(name), &found);
    }
    assert_in_range(kept, 2, 100);
    assert_true(written_find(&w, connector, url, type, slice_lit("n199"), &found));
    assert_false(written_find(&w, connector, url, type, slice_lit("n0"), &found));
    put(&w, slice_lit("n199"), large);   /* larger than everything: not kept, and nor is what stood there */
    assert_false(written_find(&w, connector, url, type, slice_lit("n199"), &found));
    written_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_key), cmocka_unit_test(test_least_recently_used) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
