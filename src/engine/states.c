/* engine/states.c -- which Lua states a thread keeps. */
#include "engine/states.h"

#include <stdlib.h>

void states_init(states *all, size_t most)
{
    *all = (states){ .most = most };
    list_init(&all->used);
}

void states_fini(states *all)
{
    while (!list_empty(&all->used)) states_drop(all, container_of(all->used.next, state, link));
    map_free(&all->by_connector);
}

void states_drop(states *all, state *s)
{
    map_remove(&all->by_connector, &s->node);
    list_remove(&s->link);
    all->bytes -= s->bytes;
    vm_close(s->lua);
    program_drop(s->prog);
    free(s);
}

static bool same_connector(const map_node *node, const void *key)
{
    const state *s = (const state *)(const void *)((const char *)node - offsetof(state, node));
    const slice *connector_id = key;
    return slice_eq(s->prog->scope.connector_id, *connector_id);
}

err states_get(states *all, program *p, state **out, err_info *why)
{
    uint64_t hash = hash_bytes(p->scope.connector_id);
    map_node *node = map_find(&all->by_connector, hash, same_connector, &p->scope.connector_id);
    state *s = node == NULL ? NULL : container_of(node, state, node);
    vm *lua = NULL;
    err e;

    if (s != NULL && s->prog != p) { states_drop(all, s); s = NULL; }
    if (s == NULL) {
        e = vm_open(p->pack, &p->scope, &p->limits, &lua, why);
        if (e != ERR_OK) return e;
        s = mem_zalloc(sizeof *s);
        s->prog = program_keep(p);
        s->lua = lua;
        list_init(&s->link);
        map_add(&all->by_connector, &s->node, hash);
    }
    list_remove(&s->link);
    list_push_front(&all->used, &s->link);
    *out = s;
    return ERR_OK;
}

static void measure(states *all, state *s)
{
    all->bytes -= s->bytes;
    s->bytes = vm_memory(s->lua);
    all->bytes += s->bytes;
}

/* The one unused for the longest time that has not rested since; NULL: all have. */
static state *to_rest(const states *all)
{
    for (list *l = all->used.prev; l != &all->used; l = l->prev) {
        state *s = container_of(l, state, link);
        if (!s->rested) return s;
    }
    return NULL;
}

/* What a state keeps is its pack's choice: the largest, when it is far larger than the others, who must
 * not pay for it; else the one unused for the longest time. */
static state *to_drop(const states *all)
{
    state *oldest = container_of(all->used.prev, state, link), *largest = oldest;
    size_t count = 0;

    list_each(l, &all->used) {
        state *s = container_of(l, state, link);
        if (s->bytes > largest->bytes) largest = s;
        count++;
    }
    return largest->bytes / 4 > all->bytes / count ? largest : oldest;
}

void states_weigh(states *all, state *s)
{
    s->rested = false;
    measure(all, s);
    while (all->bytes > all->most && (s = to_rest(all)) != NULL) {
        vm_rest(s->lua);
        s->rested = true;
        measure(all, s);
    }
    while (all->bytes > all->most) states_drop(all, to_drop(all));
}
