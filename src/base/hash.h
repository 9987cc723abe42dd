/* base/hash.h -- keyed hashing for tables, and an intrusive hash map.
 *
 * The key is random per process, so that nobody who sends messages can choose
 * keys that collide. Not for storing and not for security. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/base.h"

/* SipHash-1-3 of `s` under this process's key. */
uint64_t hash_bytes(slice s);

/* Mixes `b` into `a`, for keys of several parts. */
static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    a ^= b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2);
    a ^= a >> 32; a *= 0xd6e8feb86659fd93u; a ^= a >> 32;
    return a;
}

/* A node lives inside the object it finds; the map owns only its buckets. */
typedef struct map_node {
    struct map_node *next;
    uint64_t         hash;
} map_node;

typedef struct map {
    map_node **bucket;
    size_t     size, count;              /* `size` is a power of two, or 0 */
} map;

typedef bool (*map_same)(const map_node *node, const void *key);

/* The node with this hash for which same(node, key) holds, or NULL. */
map_node *map_find(const map *m, uint64_t hash, map_same same, const void *key);

/* Adds a node; the caller has made sure that its key is not there. */
void map_add(map *m, map_node *node, uint64_t hash);

/* Takes out a node that is in the map. */
void map_remove(map *m, map_node *node);

/* Calls `each` for every node; it may remove and free the node it is given. */
void map_each(map *m, void (*each)(map_node *node, void *arg), void *arg);

/* Frees the buckets; the nodes are their owners'. */
void map_free(map *m);

#endif
