/* engine/states.h -- the Lua states of one transform thread, one for each connector that it served
 * lately, within a bound of memory. One thread. */
#ifndef ENGINE_STATES_H
#define ENGINE_STATES_H

#include "base/hash.h"
#include "engine/program.h"

typedef struct states {
    list   used;                         /* newest first */
    map    by_connector;
    size_t bytes, most;                  /* that they keep between runs; may keep */
} states;

typedef struct state {
    list     link;
    map_node node;
    program *prog;                       /* kept */
    vm      *lua;
    size_t   bytes;                      /* that it kept after its last run */
    bool     rested;                     /* nothing that a run left behind is in it */
} state;

void states_init(states *all, size_t most);
void states_fini(states *all);

/* The state for a program of a connector, opened if need be; one for an older program of it is
 * closed. Errors as of vm_open. It is the callee's, until it is dropped or another is weighed. */
must_check err states_get(states *all, program *p, state **out, err_info *why);

/* It has run: where all together keep too much, they give up what runs left behind, or some are
 * dropped, perhaps this one. */
void states_weigh(states *all, state *s);

void states_drop(states *all, state *s);

#endif
