/* engine/deliver.h -- carries the resources of a transformed message to their services.
 *
 * Each delivery stands in the lane of its keys and its target, so that what one
 * connector sends about one patient arrives in order, and a dead target holds
 * only its own. It leaves the lane when its end is committed. */
#ifndef ENGINE_DELIVER_H
#define ENGINE_DELIVER_H

#include "engine/job.h"

typedef struct deliverer deliverer;

deliverer *deliver_open(engine *e);

/* The deliveries of a job that was just transformed and committed; in that order. */
void deliver_start(deliverer *all, job *j);

/* The open ones of a job that was read back (job.again) and transformed again. */
void deliver_again(deliverer *all, job *j);

/* Those that wait for a retry go now. */
void deliver_retry_now(deliverer *all, job *j);

size_t deliver_active(const deliverer *all);             /* requests under way */

/* Shutting down, in this order: nothing new is sent; each job's calls and timers are
 * dropped (the database has its deliveries); the targets are closed. */
void deliver_stop(deliverer *all);
void deliver_abandon(deliverer *all, job *j);

/* While the leases are not sure, no request is begun; what was to be sent waits. */
void deliver_hold(deliverer *all, bool hold);

/* Is one of them left to the database? */
bool deliver_is_left(const job *j);

/* Does one that failed stand before one of its deliveries? */
bool deliver_is_held(const job *j);

/* Is one of its deliveries with the service, or with the store? */
bool deliver_under_way(const job *j);

/* An orphan's requests are given up, and its places in lanes and queues. True when nothing refers to
 * it any more. */
bool deliver_drop(deliverer *all, job *j);

/* The memory of a job's requests, besides its arena: how much, and given back at its end. */
size_t deliver_bytes(const job *j);
void deliver_free(job *j);

void deliver_close(deliverer *all, void (*done)(void *arg), void *arg);

#endif
