/* engine/aside.c -- a hash map of keys. */
#include "engine/aside.h"

#include <stdlib.h>

enum { MOST = 65536 };                   /* keys: more are not worth their memory */

typedef struct aside_key {
    map_node node;
    int64_t  from, wake_us;
    size_t   len;
    char     text[];
} aside_key;

static const slice no_key = { "", 0 };

static aside_key *of(map_node *node) { return container_of(node, aside_key, node); }

static bool same(const map_node *node, const void *key)
{
    const aside_key *k = (const aside_key *)(const void *)((const char *)node - offsetof(aside_key, node));
    return slice_eq((slice){ k->text, k->len }, *(const slice *)key);
}

static map_node *find(const aside *a, slice key) { return map_find(&a->keys, hash_bytes(key), same, &key); }

bool aside_has(const aside *a, const slice *keys, size_t count)
{
    if (a->all) return true;
    if (a->keys.count == 0) return false;
    if (count == 0) return find(a, no_key) != NULL;
    for (size_t i = 0; i < count; i++)
        if (find(a, keys[i]) != NULL) return true;
    return false;
}

static void earlier(int64_t *at, int64_t us)
{
    if (us != 0 && (*at == 0 || us < *at)) *at = us;
}

static void add(aside *a, slice key, int64_t seq, int64_t wake_us)
{
    map_node *node = find(a, key);
    aside_key *k;

    if (node == NULL) {
        k = mem_alloc(sizeof *k + key.len);
        *k = (aside_key){ .from = seq, .len = key.len };
        if (key.len > 0) memcpy(k->text, key.ptr, key.len);
        map_add(&a->keys, &k->node, hash_bytes(key));
    } else {
        k = of(node);
    }
    if (seq < k->from) k->from = seq;
    earlier(&k->wake_us, wake_us);
}

typedef struct released {
    aside   *of;
    bool   (*stays)(void *arg, slice key);
    void    *arg;
    int64_t  from, wake_us;
} released;

static void release_one(map_node *node, void *arg)
{
    released *r = arg;
    aside_key *k = of(node);

    if (r->stays != NULL && r->stays(r->arg, (slice){ k->text, k->len })) {
        earlier(&r->wake_us, k->wake_us);
        return;
    }
    if (k->from < r->from) r->from = k->from;
    map_remove(&r->of->keys, node);
    free(k);
}

int64_t aside_release(aside *a, bool (*stays)(void *arg, slice key), void *arg)
{
    released r = { .of = a, .stays = stays, .arg = arg, .from = a->all ? a->from : INT64_MAX };

    map_each(&a->keys, release_one, &r);
    a->wake_us = r.wake_us;
    a->all = false;
    return r.from;
}

void aside_add(aside *a, const slice *keys, size_t count, int64_t seq, int64_t wake_us)
{
    int64_t first_wake_us = a->wake_us;

    if (!a->all && a->keys.count + count > MOST) {
        a->from = aside_release(a, NULL, NULL);
        a->all = true;
        a->wake_us = first_wake_us;
    }
    earlier(&a->wake_us, wake_us);
    if (a->all) {
        if (seq < a->from) a->from = seq;
        return;
    }
    if (count == 0) add(a, no_key, seq, wake_us);
    for (size_t i = 0; i < count; i++) add(a, keys[i], seq, wake_us);
}

typedef struct listing { slice *out; size_t room, count; } listing;

static void list_one(map_node *node, void *arg)
{
    listing *all = arg;
    const aside_key *k = of(node);

    if (all->count < all->room) all->out[all->count++] = (slice){ k->text, k->len };
}

size_t aside_keys(aside *a, slice *out, size_t room)
{
    listing all = { out, room, 0 };

    map_each(&a->keys, list_one, &all);
    return all.count;
}

void aside_clear(aside *a)
{
    (void)aside_release(a, NULL, NULL);
    map_free(&a->keys);
    *a = (aside){ 0 };
}
