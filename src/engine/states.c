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

/* What a state keeps is its pack's choice, and others must not pay for it: the largest, when it is large. */
static state *outlier(const states *all)
{
    state *largest = container_of(all->used.next, state, link);

    list_each(l, &all->used) {
        state *s = container_of(l, state, link);
        if (s->bytes > largest->bytes) largest = s;
    }
    return largest->bytes > all->most / 8 ? largest : NULL;
}

/* The one unused for the longest time that has not rested since; NULL: all have. */
static state *tired(const states *all)
{
    for (list *l = all->used.prev; l != &all->used; l = l->prev) {
        state *s = container_of(l, state, link);
        if (!s->rested) return s;
    }
    return NULL;
}

void states_weigh(states *all, state *s)
{
    enum { RESTS = 8 };                  /* at most at once: each takes a millisecond */
    size_t before = s->bytes;
    state *next;

    measure(all, s);
    if (s->bytes != before) s->rested = false;
    for (int rests = 0; all->bytes > all->most;) {
        if ((next = outlier(all)) != NULL) {
            states_drop(all, next);
        } else if (rests++ < RESTS && (next = tired(all)) != NULL) {
            vm_rest(next->lua);
            next->rested = true;
            measure(all, next);
        } else {
            states_drop(all, container_of(all->used.prev, state, link));
        }
    }
}
