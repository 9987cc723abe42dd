/* base/queue.h -- hands objects from thread to thread. Unbounded: who puts is
 * who limits. */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <pthread.h>

#include "base/base.h"

typedef struct queue {
    pthread_mutex_t lock;
    pthread_cond_t  filled;
    list            items;
    bool            closed;
} queue;

void queue_init(queue *q);
void queue_fini(queue *q);               /* it is empty and nobody waits */

/* Appends; returns true when the queue was empty, so that its reader may need
 * a wake-up. */
bool queue_put(queue *q, list *item);

/* Waits for an item; NULL once the queue is closed and empty. */
list *queue_wait(queue *q);

/* All that is there, appended to `out`, without waiting. */
void queue_drain(queue *q, list *out);

/* Lets every waiter go once the queue is empty. */
void queue_close(queue *q);

#endif
