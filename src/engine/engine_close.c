/* engine/engine_close.c -- a clean stop, a step at a time:
 *
 *   LISTENERS  stop reading; what was read is committed and answered
 *   WORK       what runs and what is being sent ends; nothing new begins
 *   STORE      outcomes are committed; then the connections close
 *   NODE       other nodes are told that this one leaves
 *   PARTS      jobs are dropped (the database has them), threads joined
 *
 * Each step but the last has the time until drain_ms is over. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/inside.h"

enum { STEP_LISTENERS, STEP_WORK, STEP_STORE, STEP_NODE, STEP_PARTS };

static bool late(const engine *e) { return clock_ns() > e->close_by_ns; }

static void on_tick_closed(uv_handle_t *h)
{
    engine *e = container_of((uv_timer_t *)h, engine, tick);
    void (*closed)(void *) = e->closed;
    void *arg = e->closed_arg;

    digest_end(e->hash);
    map_free(&e->connectors);
    map_free(&e->jobs);
    log_line(LOG_INFO, "engine.stopped");
    free(e);
    closed(arg);
}

static void on_soon_closed(uv_handle_t *h)
{
    engine *e = container_of((uv_idle_t *)h, engine, soon);
    uv_close((uv_handle_t *)&e->tick, on_tick_closed);
}

static void node_freed(void *arg)
{
    engine *e = arg;
    uv_close((uv_handle_t *)&e->soon, on_soon_closed);
}

static void part_closed(void *arg)
{
    engine *e = arg;

    if (--e->parts > 0) return;
    while (!list_empty(&e->connector_list)) connector_free(container_of(e->connector_list.next, connector, link));
    node_free(e->node, node_freed, e);   /* what it asked of the database is answered */
}

static void close_parts(engine *e)
{
    list_each(l, &e->connector_list) {
        connector *c = container_of(l, connector, link);
        list_each_safe(k, &c->jobs) {
            job *j = container_of(k, job, link);
            deliver_abandon(e->deliveries, j);
            flow_abandon(j);
        }
    }
    (void)uv_timer_stop(&e->tick);       /* it looks at parts that are going now */
    intake_give_up(e);
    e->parts = 6;
    waiters_free(e->waiters, part_closed, e);
    if (e->ears != NULL) { e->parts++; pg_close(e->ears, part_closed, e); }
    if (e->relay != NULL) { e->parts++; relay_close(e->relay, part_closed, e); }
    e->relay = NULL;
    watch_close(e->watched, part_closed, e);
    transform_close(e->pool, part_closed, e);
    fetch_close(e->http, part_closed, e);
    deliver_close(e->deliveries, part_closed, e);
    pg_close(e->feed, part_closed, e);
}

/* Requests that are still under way must not end in a store that is closed. */
static void cancel_requests(engine *e)
{
    list_each(l, &e->connector_list)
        list_each(k, &container_of(l, connector, link)->jobs) deliver_abandon(e->deliveries, container_of(k, job, link));
}

/* The job of an operation that was not committed is dropped with all others. */
static void lost_outcome(outcome_op *op) { (void)op; }

static void node_left(void *arg)
{
    engine *e = arg;

    if (e->closing_step != STEP_NODE) return;
    e->closing_step = STEP_PARTS;
    close_parts(e);
}

static void store_closed(void *arg)
{
    engine *e = arg;

    if (--e->parts > 0) return;
    e->in = NULL;                        /* freed, and what comes back from other connections looks at it */
    e->out = NULL;
    e->closing_step = STEP_NODE;
    e->parts = 1;
    node_end(e->node, node_left, e);
}

static void listener_stopped(void *arg)
{
    engine *e = arg;

    e->parts--;
    if (e->closing_step == STEP_LISTENERS) engine_close_step(e);
}

void engine_close_step(engine *e)
{
    if (e->closing_step == STEP_LISTENERS && e->parts == 0) e->closing_step = STEP_WORK;
    if (e->closing_step == STEP_WORK &&
        ((transform_waiting(e->pool) == 0 && deliver_active(e->deliveries) == 0) || late(e)))
        e->closing_step = STEP_STORE;
    if (e->closing_step == STEP_STORE && e->parts == 0 && transform_waiting(e->pool) == 0 &&
        (e->in == NULL || (outcome_waiting(e->out) == 0 && ingest_waiting(e->in) == 0) || late(e))) {
        cancel_requests(e);
        e->parts = e->in == NULL ? 1 : 2;
        if (e->in == NULL) { store_closed(e); return; }  /* it never had its turn */
        ingest_close(e->in, intake_lost, store_closed, e);
        outcome_close(e->out, lost_outcome, store_closed, e);
    }
}

void engine_close(engine *e, void (*done)(void *arg), void *arg)
{
    uint64_t drain_ms = (uint64_t)e->cfg->drain_ms;

    e->closing = true;
    e->closed = done;
    e->closed_arg = arg;
    e->close_by_ns = clock_ns() + drain_ms * 1000000;
    e->closing_step = STEP_LISTENERS;
    deliver_stop(e->deliveries);
    transform_stop(e->pool);
    waiters_end(e->waiters);
    e->parts = 1;
    list_each(l, &e->connector_list) {
        e->parts++;
        connector_stop(container_of(l, connector, link), drain_ms / 2, listener_stopped, e);
    }
    uv_timer_start(&e->tick, e->tick.timer_cb, 20, 20);
    listener_stopped(e);
}
