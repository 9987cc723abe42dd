/* base/hash.c -- SipHash-1-3 (Aumasson and Bernstein) and a chained map that
 * doubles when it holds more nodes than buckets. */
#include "base/hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t key0, key1;

static void draw_key(void)
{
    uint64_t k[2];

    if (getrandom(k, sizeof k, 0) != (ssize_t)sizeof k) die("getrandom failed");
    key0 = k[0];
    key1 = k[1];
}

static inline uint64_t rotl(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1]; v[1] = rotl(v[1], 13); v[1] ^= v[0]; v[0] = rotl(v[0], 32);
    v[2] += v[3]; v[3] = rotl(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = rotl(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = rotl(v[1], 17); v[1] ^= v[2]; v[2] = rotl(v[2], 32);
}

uint64_t hash_bytes(slice s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    size_t whole = s.len & ~(size_t)7;
    uint64_t tail = (uint64_t)s.len << 56;

    (void)pthread_once(&once, draw_key);
    uint64_t v[4] = { key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du,
                      key0 ^ 0x6c7967656e657261u, key1 ^ 0x7465646279746573u };
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, s.ptr + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = whole; i < s.len; i++)
        tail |= (uint64_t)(unsigned char)s.ptr[i] << (8 * (i - whole));
    v[3] ^= tail;
    sip_round(v);
    v[0] ^= tail;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

map_node *map_find(const map *m, uint64_t hash, map_same same, const void *key)
{
    if (m->size == 0) return NULL;
    for (map_node *n = m->bucket[hash & (m->size - 1)]; n != NULL; n = n->next)
        if (n->hash == hash && same(n, key)) return n;
    return NULL;
}

static void map_grow(map *m)
{
    size_t size = m->size == 0 ? 16 : m->size * 2;
    map_node **bucket = mem_zalloc(size * sizeof *bucket);

    for (size_t i = 0; i < m->size; i++) {
        for (map_node *n = m->bucket[i], *next; n != NULL; n = next) {
            next = n->next;
            n->next = bucket[n->hash & (size - 1)];
            bucket[n->hash & (size - 1)] = n;
        }
    }
    free(m->bucket);
    m->bucket = bucket;
    m->size = size;
}

void map_add(map *m, map_node *node, uint64_t hash)
{
    if (m->count >= m->size) map_grow(m);
    node->hash = hash;
    node->next = m->bucket[hash & (m->size - 1)];
    m->bucket[hash & (m->size - 1)] = node;
    m->count++;
}

void map_remove(map *m, map_node *node)
{
    for (map_node **at = &m->bucket[node->hash & (m->size - 1)]; *at != NULL; at = &(*at)->next) {
        if (*at != node) continue;
        *at = node->next;
        m->count--;
        return;
    }
    die("map_remove: the node is not in the map");
}

void map_each(map *m, void (*each)(map_node *node, void *arg), void *arg)
{
    for (size_t i = 0; i < m->size; i++) {
        for (map_node *n = m->bucket[i], *next; n != NULL; n = next) {
            next = n->next;
            each(n, arg);
        }
    }
}

void map_free(map *m)
{
    free(m->bucket);
    *m = (map){ 0 };
}
