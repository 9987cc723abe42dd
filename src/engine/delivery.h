/* engine/delivery.h -- one delivery on its way; shared by deliver.c (order, retries,
 * commits) and deliver_call.c (requests and answers). */
#ifndef ENGINE_DELIVERY_H
#define ENGINE_DELIVERY_H

#include "engine/inside.h"
#include "engine/target.h"
#include "engine/written.h"
#include "fhir/bundle.h"

/* What one call has come to. */
typedef enum verdict {
    VERDICT_DONE,                        /* everything is delivered */
    VERDICT_MORE,                        /* good so far; the next call is under way */
    VERDICT_TARGET,                      /* the target's fault: wait for it */
    VERDICT_MESSAGE,                     /* the message's fault: an attempt is used up */
    VERDICT_HELD,                        /* nothing was sent: the lease is running out */
    VERDICT_AGAIN                        /* what was remembered is stale: at once, reading first */
} verdict;

typedef enum call_kind { CALL_BUNDLE, CALL_SINGLE, CALL_FIND, CALL_READ, CALL_WRITE } call_kind;

typedef struct entry_state {             /* of one resource of a delivery */
    bool   done;                         /* the service has answered for it */
    bool   created;
    bool   find;                         /* it was there, and the service did not say where */
    bool   read;                         /* ours, and it existed: read, merge and write it */
    bool   known;                        /* sent from memory, with If-Match */
    slice  type, id, version;
    slice  believed;                     /* the version that we remembered, when nothing had changed */
    json  *sent;                         /* the resource as sent, for the memory */
} entry_state;

typedef enum delivery_state {
    DELIVERY_NEW,
    DELIVERY_ASIDE,                      /* in the database only, though the job is here */
    DELIVERY_PARKED,                     /* until its stream was read to the end */
    DELIVERY_LANE, DELIVERY_NEEDS, DELIVERY_QUEUED, DELIVERY_SENDING, DELIVERY_RETRYING,
    DELIVERY_COMMITTING, DELIVERY_ENDED
} delivery_state;

typedef struct delivery {
    delivery_state  state;
    job            *j;
    int             ordinal;
    id              delivery_id;
    plan_delivery  *plan;
    target         *to;
    struct stream  *of;
    lane_pass       pass;
    lane_ticket     tickets[HL7_KEYS_MAX];
    list            link;                /* in the target's queue, or where it is parked */
    uint64_t        queued_ns;           /* since when it is there */
    int             needs_left;
    int             attempts;
    int64_t         next_attempt_us;
    bool            maybe_sent;          /* an answer was lost: what we find may be ours */
    bool            distrust;            /* do not send from memory */
    int             stale;               /* how often that was so in this attempt */
    uint64_t        failed_ns;           /* when the target last failed on it; 0: it did not */
    uv_timer_t     *timer;
    entry_state    *entries;
    bool            transactions;        /* the service takes them */
    void          (*answered)(void *arg, const fetch_answer *answer);
    call_kind       kind;
    int             at;                  /* the entry of a CALL_SINGLE, _READ or _WRITE */
    arena           work;                /* of its calls: several times what is sent; the job's arena keeps their results */
    buf             body;                /* in `work` */
    fetch_call     *call;
    int             http_status;
    uint64_t        retry_after_ms;
    err_info        why;
    outcome_op      outcome;
} delivery;

struct deliverer {
    engine *e;
    lanes   lanes;
    map     targets;
    written memory;
    size_t  active;
    bool    closing, held;
    unsigned open_targets;
    void  (*closed)(void *arg);
    void   *closed_arg;
};

/* Into its lanes: one that is aside. */
void deliver_enter(delivery *d);

/* Out of memory, which the database has it for: first all that leave, then each out of its lanes. */
void deliver_leave(delivery *d);
void deliver_leave_lane(delivery *d);

/* Does anybody stand in this lane? Is the target away, or takes nothing in time? */
bool deliver_lane_is_used(const deliverer *all, uint64_t scope, slice key);
bool deliver_is_stuck(const deliverer *all, slice url);

/* Starts the next call of a delivery. VERDICT_DONE when nothing is left to be called. */
verdict call_next(deliverer *all, delivery *d);

/* Gives `work` back; no call may be under way. The latter only where all is to be sent again: once an entry
 * is done, what was sent is needed until the end. */
void call_end(delivery *d);
void call_forget(delivery *d);

/* Takes the answer of the call under way. */
verdict call_answered(deliverer *all, delivery *d, const fetch_answer *answer);

/* Replaces references to an entry of `from` by where it is now, in the resources of `in`.
 * With the base of the service when they are on another one. */
void call_resolve(delivery *in, const delivery *from);

#endif
