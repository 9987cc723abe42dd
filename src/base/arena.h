/* base/arena.h -- memory for one job, given back all at once.
 *
 * An arena belongs to one thread at a time; handing the job to another thread
 * hands over its arena. Nothing from it is freed alone. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/base.h"

typedef struct arena_block arena_block;

typedef struct arena {
    arena_block *block;                  /* the newest; older ones behind it */
    char        *at, *end;               /* free room in `block` */
    size_t       held;                   /* bytes taken from malloc */
} arena;

/* An all-zero arena is a valid empty one. */
void arena_init(arena *a);

/* `size` bytes aligned for anything; never NULL. The _zalloc form clears them. */
void *arena_alloc(arena *a, size_t size) __attribute__((malloc, returns_nonnull));
void *arena_zalloc(arena *a, size_t size) __attribute__((malloc, returns_nonnull));

/* A copy with a NUL behind it (not counted in `len`). */
slice arena_dup(arena *a, slice s);
char *arena_cstr(arena *a, slice s) __attribute__((returns_nonnull));
slice arena_printf(arena *a, const char *fmt, ...) printf_like(2, 3);

/* Everything taken is invalid afterwards; keeps one block of moderate size. */
void arena_reset(arena *a);
void arena_free(arena *a);

#define arena_new(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_zalloc((a), sizeof(type) * (n)))

#endif
