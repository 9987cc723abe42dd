/* script/heap.c -- slabs for small objects.
 *
 * A slab lies at a multiple of its size, so that a block's address names its slab,
 * and Lua tells each block's size when it gives it back: no block needs a header.
 * With AddressSanitizer everything comes from malloc, which then watches it. */
#include "script/heap.h"

#include <stdlib.h>

#include "base/sanitizer.h"

#define SLAB_ALIGN ((size_t)8 << 10)
/* The rest is where malloc keeps its own header of the slab behind. */
#define SLAB_SIZE (SLAB_ALIGN - 16)
#define EMPTY_KEPT 128

typedef struct block { struct block *next; } block;

struct slab {
    slab  *next, *before;                /* in `open`; `next` in `empty` */
    block *given_back;
    char  *at, *end;                     /* room that was never used */
    size_t live;                         /* blocks in use */
};

#define HEADER ((sizeof(slab) + 15) & ~(size_t)15)

/* 16, 32, … 128 bytes; 160, 192, 224, 256; 320, 384, 448, 512: a class with few blocks takes a
 * whole slab, so there are not too many of them. */
static inline size_t class_of(size_t size)
{
    size_t n = (size - 1) / 16;

    return n < 8 ? n : n < 16 ? 4 + n / 2 : 8 + n / 4;
}

static inline size_t class_size(size_t class)
{
    return class < 8 ? 16 * (class + 1) : class < 12 ? 32 * (class - 3) : 64 * (class - 7);
}

static inline bool is_small(size_t size)
{
#if UNDER_ASAN
    (void)size;
    return false;
#else
    return size <= HEAP_SMALL_MAX;
#endif
}

static inline slab *slab_of(void *ptr)
{
    return (slab *)(void *)((char *)ptr - ((uintptr_t)ptr & (SLAB_ALIGN - 1)));
}

static inline bool is_full(const slab *s, size_t size)
{
    return s->given_back == NULL && (size_t)(s->end - s->at) < size;
}

static void link_open(heap *h, slab *s, size_t class)
{
    s->before = NULL;
    s->next = h->open[class];
    if (s->next != NULL) s->next->before = s;
    h->open[class] = s;
}

static void unlink_open(heap *h, slab *s, size_t class)
{
    if (s->next != NULL) s->next->before = s->before;
    if (s->before != NULL) s->before->next = s->next;
    else h->open[class] = s->next;
}

/* A script can leave one block in each of many slabs: what the slabs take beyond the
 * account is bounded, too. */
static slab *slab_new(heap *h)
{
    slab *s = h->empty;

    if (s != NULL) {
        h->empty = s->next;
        h->empty_count--;
        return s;
    }
    if (h->slabbed / 2 > h->limit) return NULL;
    void *room = NULL;                   /* not aligned_alloc: that wants a multiple of the alignment */
    if (posix_memalign(&room, SLAB_ALIGN, SLAB_SIZE) != 0) return NULL;
    h->slabbed += SLAB_ALIGN;
    return room;
}

static void slab_empty(heap *h, slab *s)
{
    if (h->empty_count == EMPTY_KEPT) {
        h->slabbed -= SLAB_ALIGN;
        free(s);
        return;
    }
    s->next = h->empty;
    h->empty = s;
    h->empty_count++;
}

static void *small_alloc(heap *h, size_t want)
{
    size_t class = class_of(want), size = class_size(class);
    slab *s = h->open[class];
    void *ptr;

    if (s == NULL) {
        if ((s = slab_new(h)) == NULL) return NULL;
        s->given_back = NULL;
        s->at = (char *)s + HEADER;
        s->end = (char *)s + SLAB_SIZE;
        s->live = 0;
        link_open(h, s, class);
    }
    if (s->given_back != NULL) {
        ptr = s->given_back;
        s->given_back = s->given_back->next;
    } else {
        ptr = s->at;
        s->at += size;
    }
    s->live++;
    if (is_full(s, size)) unlink_open(h, s, class);
    return ptr;
}

static void small_free(heap *h, void *ptr, size_t old)
{
    size_t class = class_of(old);
    slab *s = slab_of(ptr);
    block *b = ptr;

    if (is_full(s, class_size(class))) link_open(h, s, class);
    b->next = s->given_back;
    s->given_back = b;
    if (--s->live == 0) {
        unlink_open(h, s, class);
        slab_empty(h, s);
    }
}

/* From or to a small block: never in place, but for the same class. */
static void *move(heap *h, void *ptr, size_t old, size_t want)
{
    if (is_small(old) && is_small(want) && class_of(old) == class_of(want)) return ptr;
    void *moved = is_small(want) ? small_alloc(h, want) : malloc(want);
    if (moved == NULL) return NULL;
    memcpy(moved, ptr, old < want ? old : want);
    if (is_small(old)) small_free(h, ptr, old);
    else free(ptr);
    return moved;
}

void *heap_alloc(void *ud, void *ptr, size_t old, size_t want)
{
    heap *h = ud;
    void *out;

    if (ptr == NULL) old = 0;            /* then `old` is a type tag */
    if (want == 0) {
        h->used -= old;
        if (!is_small(old)) h->large -= old;
        if (ptr != NULL && is_small(old)) small_free(h, ptr, old);
        else free(ptr);
        return NULL;
    }
    if (want > old && want - old > h->limit - h->used) return NULL;
    if (ptr == NULL) out = is_small(want) ? small_alloc(h, want) : malloc(want);
    else if (is_small(old) || is_small(want)) out = move(h, ptr, old, want);
    else out = realloc(ptr, want);
    if (out == NULL) return NULL;
    h->used = h->used - old + want;
    h->large = h->large - (is_small(old) ? 0 : old) + (is_small(want) ? 0 : want);
    return out;
}

size_t heap_held(const heap *h) { return h->slabbed + h->large; }

void heap_trim(heap *h)
{
    for (slab *s = h->empty, *next; s != NULL; s = next) {
        next = s->next;
        free(s);
        h->slabbed -= SLAB_ALIGN;
    }
    h->empty = NULL;
    h->empty_count = 0;
}
