/* script/heap.h -- the memory of one Lua state, and its account.
 *
 * A run makes some thousands of small objects that die together. They come from
 * slabs of one size class each, at a few instructions a piece; larger ones from
 * malloc. A slab that is empty serves any class, or goes back to malloc. */
#ifndef SCRIPT_HEAP_H
#define SCRIPT_HEAP_H

#include "base/base.h"

#define HEAP_SMALL_MAX 512
#define HEAP_CLASSES 16

typedef struct slab slab;

typedef struct heap {
    size_t limit;                        /* of `used` */
    size_t used;                         /* bytes that Lua holds */
    size_t slabbed;                      /* bytes of all slabs */
    size_t large;                        /* bytes that Lua holds outside of them */
    slab  *open[HEAP_CLASSES];           /* those of each class that have room */
    slab  *empty;
    size_t empty_count;
} heap;

/* A lua_Alloc; `ud` is the heap. NULL when the limit would be passed. */
void *heap_alloc(void *ud, void *ptr, size_t old, size_t want);

/* What it takes from malloc: more than `used` by what is free in slabs. */
size_t heap_held(const heap *h);

/* Gives empty slabs back: all of them, when Lua has given everything back. */
void heap_trim(heap *h);

#endif
