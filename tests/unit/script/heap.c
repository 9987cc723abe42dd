/* The allocator of a Lua state: what it gives is kept as it was written, the account
 * is exact, and the limit holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "script/heap.h"

enum { SLOTS = 4000, STEPS = 400000 };

typedef struct slot { unsigned char *ptr; size_t size; unsigned char mark; } slot;

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void check_marks(const slot *s, size_t len)
{
    for (size_t i = 0; i < len; i++) assert_int_equal(s->ptr[i], s->mark);
}

/* Every size between none and beyond the small ones, each change from and to each. */
static void blocks_keep_what_they_hold(void **state)
{
    heap h = { .limit = SIZE_MAX };
    uint64_t seed = 0x9e3779b97f4a7c15u;
    size_t expected = 0;
    (void)state;

    slot *slots = calloc(SLOTS, sizeof *slots);
    assert_non_null(slots);
    for (int n = 0; n < STEPS; n++) {
        slot *s = &slots[random_next(&seed) % SLOTS];
        size_t want = random_next(&seed) % 4 == 0 ? 0 : random_next(&seed) % (HEAP_SMALL_MAX + 200);
        if (s->ptr == NULL && want == 0) continue;
        if (s->ptr != NULL) check_marks(s, s->size);
        unsigned char *ptr = heap_alloc(&h, s->ptr, s->ptr == NULL ? 5 : s->size, want);
        expected = expected - s->size + want;
        assert_int_equal(h.used, expected);
        assert_true(heap_held(&h) >= expected);
        s->ptr = ptr;
        if (want > 0) assert_non_null(ptr);
        if (want > 0 && s->size > 0) check_marks(s, s->size < want ? s->size : want);
        s->size = want;
        s->mark = (unsigned char)random_next(&seed);
        if (want == 0) continue;
        assert_int_equal((uintptr_t)ptr % 16, 0);
        memset(ptr, s->mark, want);
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].ptr != NULL) (void)heap_alloc(&h, slots[i].ptr, slots[i].size, 0);
    assert_int_equal(h.used, 0);
    heap_trim(&h);
    assert_int_equal(heap_held(&h), 0);
    free(slots);
}

static void limit_holds(void **state)
{
    heap h = { .limit = 1000 };
    (void)state;

    void *a = heap_alloc(&h, NULL, 0, 600), *b = heap_alloc(&h, NULL, 0, 400);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(heap_alloc(&h, NULL, 0, 1));
    assert_null(heap_alloc(&h, b, 400, 401));
    b = heap_alloc(&h, b, 400, 399);
    assert_non_null(b);
    assert_int_equal(h.used, 999);
    (void)heap_alloc(&h, a, 600, 0);
    (void)heap_alloc(&h, b, 399, 0);
    heap_trim(&h);
}

/* Slabs that one size has left serve the next: what the heap takes stays near to
 * what is used at once. */
static void sizes_share_slabs(void **state)
{
    heap h = { .limit = SIZE_MAX };
    void *held[4000];
    (void)state;

    for (size_t size = 16; size <= HEAP_SMALL_MAX; size += 16) {
        size_t count = 250000 / size < countof(held) ? 250000 / size : countof(held);
        for (size_t i = 0; i < count; i++) assert_non_null(held[i] = heap_alloc(&h, NULL, 0, size));
        for (size_t i = 0; i < count; i++) (void)heap_alloc(&h, held[i], size, 0);
    }
    assert_int_equal(h.used, 0);
    assert_true(h.slabbed <= (size_t)1 << 20);
    heap_trim(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_what_they_hold),
        cmocka_unit_test(limit_holds),
        cmocka_unit_test(sizes_share_slabs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
