/* base/arena.c -- a chain of blocks, each a quarter to a half of all before it up to
 * a bound, so that small jobs cost one block and large ones few, and little stays empty.
 *
 * Blocks of these sizes come from a store that all threads share, and go back there:
 * jobs are filled by one thread and freed by another, thousands a second, which
 * malloc would pay for with trimming and faulting in the same pages. */
#include "base/arena.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sanitizer.h"

#if UNDER_ASAN
#include <sanitizer/asan_interface.h>
#define poison(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define poison(p, n) ((void)0)
#define unpoison(p, n) ((void)0)
#endif

#define FIRST_BLOCK ((size_t)4096)
#define LARGEST_GROWTH ((size_t)1 << 20)
#define KEPT_AT_RESET ((size_t)64 << 10)
#define ALIGNMENT _Alignof(max_align_t)

struct arena_block {
    arena_block *older;
    size_t       size;                   /* of the whole block, header too */
};

#define HEADER ((sizeof(arena_block) + ALIGNMENT - 1) & ~(ALIGNMENT - 1))

void arena_init(arena *a) { *a = (arena){ 0 }; }

/* ---- the shared store ------------------------------------------------------ */

enum { CLASSES = 9, STORED_BYTES = 32 << 20 };           /* 4 kB, 8 kB, … 1 MB */

static struct {
    pthread_mutex_t lock;
    arena_block    *first[CLASSES];
    size_t          bytes;
} store = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* CLASSES when no class has just this size. */
static int class_of(size_t size)
{
    int n = 0;

    while (n < CLASSES && FIRST_BLOCK << n != size) n++;
    return n;
}

static arena_block *block_new(size_t size)
{
    int n = class_of(size);
    arena_block *block = NULL;

    if (n < CLASSES) {
        (void)pthread_mutex_lock(&store.lock);
        block = store.first[n];
        if (block != NULL) {
            store.first[n] = block->older;
            store.bytes -= size;
        }
        (void)pthread_mutex_unlock(&store.lock);
    }
    return block != NULL ? block : mem_alloc(size);
}

static void block_free(arena_block *block)
{
    size_t size = block->size;
    int n = class_of(size);
    bool kept = false;

    if (n < CLASSES) {
        (void)pthread_mutex_lock(&store.lock);
        kept = store.bytes + size <= STORED_BYTES;
        if (kept) {
            block->older = store.first[n];
            store.first[n] = block;
            store.bytes += size;
        }
        (void)pthread_mutex_unlock(&store.lock);
    }
    if (!kept) free(block);
}

/* ---- arenas ------------------------------------------------------------------ */

static void use_block(arena *a, arena_block *block)
{
    a->block = block;
    a->at = (char *)block + HEADER;
    a->end = (char *)block + block->size;
    poison(a->at, (size_t)(a->end - a->at));
}

static void add_block(arena *a, size_t room)
{
    size_t size = FIRST_BLOCK;

    while (size < LARGEST_GROWTH && size * 4 <= a->held) size *= 2;
    if (size < room + HEADER) size = room + HEADER;
    arena_block *block = block_new(size);
    block->older = a->block;
    block->size = size;
    a->held += size;
    use_block(a, block);
}

void *arena_alloc(arena *a, size_t size)
{
    size_t want;

    if (size > SIZE_MAX / 2) die("arena: %zu bytes wanted", size);
    want = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
#if UNDER_ASAN
    want += ALIGNMENT;                   /* a poisoned gap finds overruns */
#endif
    if (a->at == NULL || (size_t)(a->end - a->at) < want) add_block(a, want);
    void *ptr = a->at;
    a->at += want;
    unpoison(ptr, size);
    return ptr;
}

void *arena_zalloc(arena *a, size_t size)
{
    void *ptr = arena_alloc(a, size);
    memset(ptr, 0, size);
    return ptr;
}

char *arena_cstr(arena *a, slice s)
{
    char *copy = arena_alloc(a, s.len + 1);
    return slice_cstr(s, copy, s.len + 1);
}

slice arena_dup(arena *a, slice s)
{
    return (slice){ arena_cstr(a, s), s.len };
}

slice arena_printf(arena *a, const char *fmt, ...)
{
    va_list args, again;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) die("arena_printf: bad format");
    char *text = arena_alloc(a, (size_t)n + 1);
    (void)vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return (slice){ text, (size_t)n };
}

static void free_blocks(arena_block *block)
{
    while (block != NULL) {
        arena_block *older = block->older;
        unpoison(block, block->size);
        block_free(block);
        block = older;
    }
}

void arena_reset(arena *a)
{
    arena_block *kept = a->block;

    if (kept == NULL) return;
    if (kept->older != NULL && a->held <= KEPT_AT_RESET) {           /* one that all will fit in, next time */
        size_t held = a->held, size = FIRST_BLOCK;
        while (size < held) size *= 2;
        arena_free(a);
        add_block(a, size - HEADER);
        return;
    }
    if (kept->size > KEPT_AT_RESET) { arena_free(a); return; }
    free_blocks(kept->older);
    kept->older = NULL;
    a->held = kept->size;
    use_block(a, kept);
}

void arena_free(arena *a)
{
    free_blocks(a->block);
    arena_init(a);
}
