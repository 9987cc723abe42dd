/* engine/waiters.h -- acknowledgements that wait for what becomes of a message (settings: ack_level).
 *
 * A waiter is told by the flow where its message is on its way here; where another node runs it, or it
 * is in the database only, the database is asked a few times a second. Past its deadline, or when the message or one
 * before it failed, it is told so: the message stays stored, and is tried on. */
#ifndef ENGINE_WAITERS_H
#define ENGINE_WAITERS_H

#include "engine/connector.h"

typedef enum became {
    BECAME_MAPPED,                       /* transformed; deliveries are under way */
    BECAME_DONE,                         /* processed */
    BECAME_FAILED,                       /* tried again later */
    BECAME_HELD,                         /* one before it of the same key failed */
    BECAME_DEAD,                         /* not tried again */
    BECAME_LATE                          /* not yet what is waited for, at the deadline */
} became;

typedef struct waiter {
    list       link;
    map_node   node;                     /* by message */
    connector *conn;
    id         message_id;
    ack_level  level;
    uint64_t   ask_ns, deadline_ns;      /* not asked of the database before */
    unsigned   round;
    void     (*done)(struct waiter *w, became what);     /* frees it */
} waiter;

typedef struct waiters waiters;

waiters *waiters_new(engine *e);

/* `conn`, `message_id`, `level` and `done` are set. `tried`: a failed message is tried anew just now. */
void waiters_add(waiters *all, waiter *w, bool tried);

/* What was committed of a message. */
void waiters_tell(waiters *all, const id *message_id, became what);

/* All are late: nothing is worked on any longer. */
void waiters_end(waiters *all);
void waiters_free(waiters *all, void (*done)(void *arg), void *arg);

#endif
