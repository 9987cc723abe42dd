/* base/queue.c -- a mutex, a condition and a list. */
#include "base/queue.h"

void queue_init(queue *q)
{
    if (pthread_mutex_init(&q->lock, NULL) != 0 || pthread_cond_init(&q->filled, NULL) != 0)
        die("queue_init failed");
    list_init(&q->items);
    q->closed = false;
}

void queue_fini(queue *q)
{
    (void)pthread_cond_destroy(&q->filled);
    (void)pthread_mutex_destroy(&q->lock);
}

bool queue_put(queue *q, list *item)
{
    (void)pthread_mutex_lock(&q->lock);
    bool was_empty = list_empty(&q->items);
    list_push(&q->items, item);
    (void)pthread_cond_signal(&q->filled);
    (void)pthread_mutex_unlock(&q->lock);
    return was_empty;
}

list *queue_wait(queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    while (list_empty(&q->items) && !q->closed) (void)pthread_cond_wait(&q->filled, &q->lock);
    list *item = list_pop(&q->items);
    (void)pthread_mutex_unlock(&q->lock);
    return item;
}

void queue_drain(queue *q, list *out)
{
    (void)pthread_mutex_lock(&q->lock);
    list_splice(out, &q->items);
    (void)pthread_mutex_unlock(&q->lock);
}

void queue_close(queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->closed = true;
    (void)pthread_cond_broadcast(&q->filled);
    (void)pthread_mutex_unlock(&q->lock);
}
