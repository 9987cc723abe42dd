/* engine/written.c -- least recently used goes first. */
#include "engine/written.h"

#include <stdlib.h>

typedef struct item {
    map_node     node;
    list         link;
    size_t       size;
    slice        key[4];
    written_item value;
    char         bytes[];
} item;

static bool same_item(const map_node *node, const void *key)
{
    const item *i = (const item *)(const void *)((const char *)node - offsetof(item, node));
    const slice *k = key;

    for (int n = 0; n < 4; n++)
        if (!slice_eq(i->key[n], k[n])) return false;
    return true;
}

static uint64_t hash_key(const slice key[4])
{
    uint64_t hash = 0;

    for (int n = 0; n < 4; n++) hash = hash_mix(hash, hash_bytes(key[n]));
    return hash;
}

static item *find(written *w, const slice key[4])
{
    map_node *node = map_find(&w->by_key, hash_key(key), same_item, key);
    return node == NULL ? NULL : container_of(node, item, node);
}

static void drop(written *w, item *i)
{
    map_remove(&w->by_key, &i->node);
    list_remove(&i->link);
    w->held -= i->size;
    free(i);
}

void written_init(written *w, size_t most)
{
    *w = (written){ .most = most };
    list_init(&w->used);
}

void written_free(written *w)
{
    while (!list_empty(&w->used)) drop(w, container_of(w->used.next, item, link));
    map_free(&w->by_key);
}

bool written_find(written *w, slice connector, slice url, slice type, slice criteria, written_item *out)
{
    item *i = find(w, (slice[4]){ connector, url, type, criteria });

    if (i == NULL) return false;
    list_remove(&i->link);
    list_push_front(&w->used, &i->link);
    *out = i->value;
    return true;
}

void written_forget(written *w, slice connector, slice url, slice type, slice criteria)
{
    item *i = find(w, (slice[4]){ connector, url, type, criteria });
    if (i != NULL) drop(w, i);
}

void written_put(written *w, slice connector, slice url, slice type, slice criteria, const written_item *value)
{
    slice from[7] = { connector, url, type, criteria, value->resource_id, value->version, value->text };
    slice *to[7];
    size_t size = sizeof(item);
    char *at;
    item *i;

    written_forget(w, connector, url, type, criteria);
    for (int n = 0; n < 7; n++) size += from[n].len;
    if (size > w->most) return;
    i = mem_zalloc(size);
    i->size = size;
    for (int n = 0; n < 4; n++) to[n] = &i->key[n];
    to[4] = &i->value.resource_id;
    to[5] = &i->value.version;
    to[6] = &i->value.text;
    at = i->bytes;
    for (int n = 0; n < 7; n++) {
        if (from[n].len > 0) memcpy(at, from[n].ptr, from[n].len);
        *to[n] = (slice){ at, from[n].len };
        at += from[n].len;
    }
    list_init(&i->link);
    list_push_front(&w->used, &i->link);
    map_add(&w->by_key, &i->node, hash_key(i->key));
    w->held += size;
    while (w->held > w->most) drop(w, container_of(w->used.prev, item, link));
}
