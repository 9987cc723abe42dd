/* engine/target.h -- one service that deliveries go to: its queue, its limit, its breaker.
 *
 *   CLOSED --a fault of the target--> OPEN --time is up--> PROBING --answer--> CLOSED
 *                                      ^                       `--fault--'
 *
 * While it is open nothing is sent, nothing is given up and no attempt is used up. */
#ifndef ENGINE_TARGET_H
#define ENGINE_TARGET_H

#include "base/hash.h"
#include "base/metric.h"

#include <uv.h>

typedef enum breaker { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING } breaker;

typedef struct target {
    map_node    node;                    /* by URL */
    uv_loop_t  *loop;
    char       *url, *ca;
    int         limit, active;           /* deliveries under way at once */
    list        queue;                   /* that may go when there is room */
    size_t      queued;
    breaker     state;
    bool        stopped, held;
    uv_timer_t  timer;
    uint64_t    wait_ms;                 /* of the breaker, doubling */
    uint64_t    last_good_ns;            /* when it last did what was asked */
    void      (*send)(list *link);       /* sends the delivery that `link` is in */
    metric     *delivered, *failed, *waiting, *open;
    void      (*closed)(void *arg);
    void       *closed_arg;
} target;

target *target_new(uv_loop_t *loop, slice url, const char *ca, int limit, void (*send)(list *link));
void target_put(target *t, list *link);
void target_put_back(target *t, list *link);             /* it was sent, and the target failed: last in the queue */
void target_take_out(target *t, list *link);             /* out of the queue */
void target_stop(target *t);                             /* sends nothing more */
void target_hold(target *t, bool hold);                  /* sends nothing while it is held */

/* A call has ended: the target did its work (also by saying that a message is wrong), or
 * failed. True when this opened the breaker. `retry_after_ms` 0: the target did not say. */
void target_good(target *t);
must_check bool target_fault(target *t, uint64_t retry_after_ms);
void target_probe(target *t);                            /* tries one at once, if the breaker is open */
void target_done(target *t);                             /* there is room for another */

void target_close(target *t, void (*closed)(void *arg), void *arg);

#endif
