/* engine/target.c -- a queue behind a limit and a breaker. */
#include "engine/target.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum { FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 30000, LONGEST_RETRY_AFTER_MS = 300000 };

static void target_pump(target *t)
{
    int limit = t->state == BREAKER_CLOSED ? t->limit : t->state == BREAKER_PROBING ? 1 : 0;

    while (t->active < limit && !t->stopped && !t->held && !list_empty(&t->queue)) {
        t->active++;
        t->queued--;
        metric_set(t->waiting, (int64_t)t->queued);
        t->send(list_pop(&t->queue));
    }
}

static void on_timer(uv_timer_t *timer)
{
    target *t = container_of(timer, target, timer);

    if (t->state == BREAKER_OPEN) t->state = BREAKER_PROBING;
    target_pump(t);
}

void target_probe(target *t)
{
    if (t->state == BREAKER_OPEN) uv_timer_start(&t->timer, on_timer, 0, 0);
}

target *target_new(uv_loop_t *loop, slice url, const char *ca, int limit, void (*send)(list *link))
{
    target *t = mem_zalloc(sizeof *t);

    t->loop = loop;
    t->url = mem_dup(url);
    t->ca = ca == NULL ? NULL : mem_dup(slice_of(ca));
    t->limit = limit;
    t->send = send;
    t->wait_ms = FIRST_WAIT_MS;
    list_init(&t->queue);
    if (uv_timer_init(loop, &t->timer) != 0) die("uv_timer_init failed");
    t->delivered = metric_get(metric_family_get(METRIC_COUNTER, "interop_deliveries_total",
                                                "Deliveries that ended well.", "target"), &url);
    t->failed = metric_get(metric_family_get(METRIC_COUNTER, "interop_delivery_failures_total",
                                             "Attempts that failed, by whosever fault.", "target"), &url);
    t->waiting = metric_get(metric_family_get(METRIC_GAUGE, "interop_deliveries_waiting",
                                              "Deliveries that wait for the target.", "target"), &url);
    t->open = metric_get(metric_family_get(METRIC_GAUGE, "interop_target_unavailable",
                                           "1 while the breaker of the target is open.", "target"), &url);
    return t;
}

void target_put(target *t, list *link)
{
    list_push(&t->queue, link);
    t->queued++;
    target_pump(t);
    metric_set(t->waiting, (int64_t)t->queued);
}

/* Not at the front: if it is this one that the target fails on, the next probe must be another,
 * or the breaker would never close. All in the queue may go; their order is the lanes'. */
void target_put_back(target *t, list *link)
{
    list_push(&t->queue, link);
    t->queued++;
    metric_set(t->waiting, (int64_t)t->queued);
}

void target_take_out(target *t, list *link)
{
    list_remove(link);
    t->queued--;
    metric_set(t->waiting, (int64_t)t->queued);
}

void target_stop(target *t) { t->stopped = true; }

void target_hold(target *t, bool hold)
{
    t->held = hold;
    target_pump(t);
}

void target_good(target *t)
{
    t->last_good_ns = clock_ns();
    t->wait_ms = FIRST_WAIT_MS;
    if (t->state == BREAKER_CLOSED) return;
    t->state = BREAKER_CLOSED;
    uv_timer_stop(&t->timer);
    metric_set(t->open, 0);
    log_line(LOG_INFO, "target.available", log_id("target", slice_of(t->url)));
}

bool target_fault(target *t, uint64_t retry_after_ms)
{
    bool opened = t->state == BREAKER_CLOSED;
    uint64_t wait = retry_after_ms > t->wait_ms ? retry_after_ms : t->wait_ms;

    if (t->state == BREAKER_OPEN) return false;          /* others that were under way */
    t->state = BREAKER_OPEN;
    if (wait > LONGEST_RETRY_AFTER_MS) wait = LONGEST_RETRY_AFTER_MS;
    uv_timer_start(&t->timer, on_timer, wait, 0);
    t->wait_ms = t->wait_ms * 2 > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : t->wait_ms * 2;
    metric_set(t->open, 1);
    return opened;
}

void target_done(target *t)
{
    t->active--;
    target_pump(t);
}

static void on_closed(uv_handle_t *h)
{
    target *t = container_of((uv_timer_t *)h, target, timer);
    void (*closed)(void *) = t->closed;
    void *arg = t->closed_arg;

    free(t->url);
    free(t->ca);
    free(t);
    closed(arg);
}

void target_close(target *t, void (*closed)(void *arg), void *arg)
{
    t->closed = closed;
    t->closed_arg = arg;
    uv_close((uv_handle_t *)&t->timer, on_closed);
}
