/* tests/unit/base/hash.c -- the map against a plain array, through growth and removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"

#define MANY 5000

typedef struct entry { map_node node; size_t key; bool in; } entry;

static bool same_key(const map_node *node, const void *key)
{
    return container_of(node, entry, node)->key == *(const size_t *)key;
}

static uint64_t hash_of(size_t key)
{
    return key % 7 == 0 ? 42 : hash_bytes((slice){ (const char *)&key, sizeof key });    /* some collide */
}

static void check(const map *m, const entry *entries)
{
    for (size_t i = 0; i < MANY; i++) {
        const map_node *found = map_find(m, hash_of(i), same_key, &i);
        assert_ptr_equal(found, entries[i].in ? &entries[i].node : NULL);
    }
}

typedef struct sweep { map *m; size_t seen; } sweep;

static void remove_thirds(map_node *node, void *arg)
{
    sweep *s = arg;
    entry *e = container_of(node, entry, node);

    s->seen++;
    if (e->key % 3 != 0) return;
    map_remove(s->m, node);
    e->in = false;
    memset(node, 0xa5, sizeof *node);    /* the map must not look at it again */
}

static void test_map(void **state)
{
    static entry entries[MANY];
    map m = { 0 };
    sweep s = { &m, 0 };

    (void)state;
    check(&m, entries);
    for (size_t i = 0; i < MANY; i++) {
        entries[i].key = i;
        entries[i].in = true;
        map_add(&m, &entries[i].node, hash_of(i));
    }
    assert_int_equal(m.count, MANY);
    check(&m, entries);
    map_each(&m, remove_thirds, &s);
    assert_int_equal(s.seen, MANY);
    assert_int_equal(m.count, MANY - (MANY + 2) / 3);
    check(&m, entries);
    map_free(&m);
    assert_null(m.bucket);
}

static void test_hash(void **state)
{
    unsigned char bytes[64] = { 0 };
    uint64_t empty = hash_bytes(SLICE_NONE);

    (void)state;
    assert_true(empty == hash_bytes(slice_lit("")));
    for (size_t i = 0; i < sizeof bytes; i++) {      /* every byte and every length counts */
        slice before = { (const char *)bytes, i }, after = { (const char *)bytes, i + 1 };
        assert_true(hash_bytes(before) != hash_bytes(after));
        uint64_t old = hash_bytes(after);
        bytes[i] = 1;
        assert_true(hash_bytes(after) != old);
        bytes[i] = 0;
        assert_true(hash_bytes(after) == old);
    }
    assert_true(hash_mix(1, 2) != hash_mix(2, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_map), cmocka_unit_test(test_hash) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
