/* engine/lanes.h -- who may go, in order, by key (promise P3).
 *
 * A pass stands in the lane of each of its keys; it may go when it is at the head of
 * all of them. As every pass enters all its lanes at once, two can never wait for
 * each other. One thread. */
#ifndef ENGINE_LANES_H
#define ENGINE_LANES_H

#include "base/hash.h"

typedef struct lanes { map by_key; size_t passes; } lanes;

typedef struct lane lane;
typedef struct lane_ticket {
    list              link;              /* in its lane */
    lane             *of;
    struct lane_pass *pass;
    bool              walked;            /* all behind it are gathered */
} lane_ticket;

typedef struct lane_pass {
    lane_ticket *tickets;                /* one a key; the caller's memory */
    size_t       count, behind;          /* tickets that are not at their lane's head */
    bool         inside;
    uint64_t     since_ns;               /* when it entered */
    list         gathered;               /* see lanes_gather */
    void       (*go)(struct lane_pass *pass);
} lane_pass;

/* Enters the lanes of `keys` (without any: the lane of the scope itself). `tickets`
 * has room for max(1, key_count). `go` is called when it may go, perhaps at once; it
 * stays at the head until lanes_leave. `scope` keeps lanes of different kinds apart. */
void lanes_enter(lanes *l, lane_pass *pass, uint64_t scope, const slice *keys, size_t key_count);

/* Leaves all lanes, from wherever it stands; who is next may go. */
void lanes_leave(lanes *l, lane_pass *pass);

/* Who stands at the head of the lane of one of its keys: itself, or who it waits for. */
const lane_pass *lanes_head(const lane_pass *pass, size_t key);

/* Does anybody stand in this lane (of no key: the scope's own)? */
bool lanes_has(const lanes *l, uint64_t scope, slice key);

/* Adds to `into`, by `gathered`, all that cannot go before `from` has left: who stands behind it in one of its
 * lanes, and behind those. They are to leave their lanes, in any order: that lets nobody go but some of them. One
 * that is to stay after all is taken out of that list before they do. */
void lanes_gather(const lane_pass *from, list *into);
void lanes_ungather(lane_pass *pass);

void lanes_fini(lanes *l);               /* no pass is inside */

#endif
