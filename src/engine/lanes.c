/* engine/lanes.c -- a hash map of lanes, each a list of tickets; a lane exists while
 * somebody stands in it. */
#include "engine/lanes.h"

#include <stdlib.h>

#include "base/clock.h"

struct lane {
    map_node node;
    uint64_t scope;
    list     tickets;
    size_t   key_len;
    char     key[];
};

typedef struct lane_key { uint64_t scope; slice key; } lane_key;

static bool same_lane(const map_node *node, const void *key)
{
    const lane *l = (const lane *)(const void *)((const char *)node - offsetof(lane, node));
    const lane_key *k = key;
    return l->scope == k->scope && slice_eq((slice){ l->key, l->key_len }, k->key);
}

static lane *lane_get(lanes *all, uint64_t scope, slice key)
{
    uint64_t hash = hash_mix(hash_bytes(key), scope);
    map_node *found = map_find(&all->by_key, hash, same_lane, &(lane_key){ scope, key });
    lane *l;

    if (found != NULL) return container_of(found, lane, node);
    l = mem_zalloc(sizeof *l + key.len);
    l->scope = scope;
    l->key_len = key.len;
    if (key.len > 0) memcpy(l->key, key.ptr, key.len);
    list_init(&l->tickets);
    map_add(&all->by_key, &l->node, hash);
    return l;
}

void lanes_enter(lanes *all, lane_pass *pass, uint64_t scope, const slice *keys, size_t key_count)
{
    static const slice whole = { "", 0 };

    if (key_count == 0) { keys = &whole; key_count = 1; }
    pass->count = key_count;
    pass->behind = 0;
    pass->inside = true;
    list_init(&pass->gathered);
    pass->since_ns = clock_ns();
    all->passes++;
    for (size_t i = 0; i < key_count; i++) {
        lane *l = lane_get(all, scope, keys[i]);
        pass->tickets[i].of = l;
        pass->tickets[i].pass = pass;
        pass->tickets[i].walked = false;
        if (!list_empty(&l->tickets)) pass->behind++;
        list_push(&l->tickets, &pass->tickets[i].link);
    }
    if (pass->behind == 0) pass->go(pass);
}

/* The heads that follow are collected before any of them goes, since going may
 * enter and leave lanes. */
void lanes_leave(lanes *all, lane_pass *pass)
{
    enum { MOST = 32 };
    lane_pass *next[MOST];
    size_t ready = 0;

    if (!pass->inside) return;
    if (pass->count > MOST) die("lanes: a pass with %zu keys", pass->count);
    pass->inside = false;
    all->passes--;
    for (size_t i = 0; i < pass->count; i++) {
        lane *l = pass->tickets[i].of;
        bool head = l->tickets.next == &pass->tickets[i].link;

        list_remove(&pass->tickets[i].link);
        if (list_empty(&l->tickets)) {
            map_remove(&all->by_key, &l->node);
            free(l);
        } else if (head) {
            lane_pass *p = container_of(l->tickets.next, lane_ticket, link)->pass;
            if (--p->behind == 0) next[ready++] = p;
        }
    }
    for (size_t i = 0; i < ready; i++) next[i]->go(next[i]);
}

const lane_pass *lanes_head(const lane_pass *pass, size_t key)
{
    return container_of(pass->tickets[key].of->tickets.next, lane_ticket, link)->pass;
}

bool lanes_has(const lanes *all, uint64_t scope, slice key)
{
    return map_find(&all->by_key, hash_mix(hash_bytes(key), scope), same_lane, &(lane_key){ scope, key }) != NULL;
}

static void gather_behind(const lane_pass *from, list *into)
{
    for (size_t i = 0; i < from->count; i++) {
        const lane_ticket *own = &from->tickets[i];
        for (list *l = own->link.next; !own->walked && l != &own->of->tickets; l = l->next) {
            lane_ticket *behind = container_of(l, lane_ticket, link);
            if (behind->walked) break;
            behind->walked = true;
            if (list_empty(&behind->pass->gathered)) list_push(into, &behind->pass->gathered);
        }
    }
}

void lanes_gather(const lane_pass *from, list *into)
{
    list *last = into->prev;

    if (!from->inside) return;
    gather_behind(from, into);
    for (list *l = last->next; l != into; l = l->next)    /* it grows */
        gather_behind(container_of(l, lane_pass, gathered), into);
}

void lanes_ungather(lane_pass *pass)
{
    list_remove(&pass->gathered);
    for (size_t i = 0; i < pass->count; i++) pass->tickets[i].walked = false;
}

void lanes_fini(lanes *all)
{
    if (all->passes != 0) die("lanes: %zu passes still inside", all->passes);
    map_free(&all->by_key);
}
