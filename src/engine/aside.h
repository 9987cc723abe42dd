/* engine/aside.h -- keys whose messages wait in the database while those of others go on (promise P3).
 *
 * What stands behind a message that fails need not stand there in memory: it is set aside, and so is all that
 * comes after it with one of its keys, until somebody says that the key is free and reads from there. */
#ifndef ENGINE_ASIDE_H
#define ENGINE_ASIDE_H

#include "base/hash.h"

typedef struct aside {
    map     keys;                        /* set aside, see aside.c */
    bool    all;                         /* too many to tell: every key is */
    int64_t from;                        /* of what was set aside while that holds: the lowest seq */
    int64_t wake_us;                     /* when the first of those that failed is due; 0: none is here */
} aside;

static inline bool aside_is_empty(const aside *a) { return a->keys.count == 0 && !a->all; }

/* Is one of these keys set aside? (No keys: that of no key.) */
bool aside_has(const aside *a, const slice *keys, size_t count);

/* A message of these keys, with this seq, is left to the database; if it failed, until `wake_us`, else 0. */
void aside_add(aside *a, const slice *keys, size_t count, int64_t seq, int64_t wake_us);

/* Forgets all keys but those that `stays` holds for. The lowest seq that was set aside under those
 * that it forgot; INT64_MAX when there were none. */
int64_t aside_release(aside *a, bool (*stays)(void *arg, slice key), void *arg);

/* As many of the keys as there is room for. */
size_t aside_keys(aside *a, slice *out, size_t room);

void aside_clear(aside *a);

#endif
