/* engine/transform.h -- the threads that run Lua. They take jobs from the loop and give
 * them back to it; nothing else is shared.
 *
 * Tenants share the threads by the CPU time that they used: whose jobs used least so
 * far goes next, for 10 ms, so that a tenant with heavy scripts waits for itself. */
#ifndef ENGINE_TRANSFORM_H
#define ENGINE_TRANSFORM_H

#include "engine/job.h"

typedef struct transform transform;

/* `done` gets each job back on the loop's thread: run_error, run_why, parsed and plan are set.
 * `states_most`: bytes that the Lua states of one thread may keep between runs. */
transform *transform_open(uv_loop_t *loop, unsigned threads, size_t states_most, void (*done)(void *arg, job *j), void *arg);

/* The job has run_program and run_routes; it is the pool's until `done`. */
void transform_put(transform *t, job *j);
size_t transform_waiting(const transform *t);            /* jobs put and not yet given back */

/* Gives back what has not begun, with run_error ERR_CLOSED; what runs goes on to its end. */
void transform_stop(transform *t);

/* Nothing is waiting: joins the threads and calls `closed`. */
void transform_close(transform *t, void (*closed)(void *arg), void *arg);

#endif
