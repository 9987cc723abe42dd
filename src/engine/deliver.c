/* engine/deliver.c -- the order of deliveries, their retries, and the commit of their ends.
 *
 *   LANE --at the head--> NEEDS --answers are there--> QUEUED --room--> SENDING
 *                                                        ^                 |
 *                             target's fault: end of the queue ------------+
 *                             message's fault: RETRYING (timer) -----------+
 *                                                                          v
 *                                       lane is left <-- ENDED <-- COMMITTING
 *
 * One that only waits may be left to the database (ASIDE), and come back; see stream.h. */
#include "engine/deliver.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/delivery.h"
#include "engine/retry.h"
#include "engine/stream.h"

enum { MEMORY_BYTES = 32 << 20 };

static void on_answered(void *arg, const fetch_answer *answer);

/* ---- targets ------------------------------------------------------------------------- */

static bool same_url(const map_node *node, const void *key)
{
    const target *t = (const target *)(const void *)((const char *)node - offsetof(target, node));
    return slice_eq(slice_of(t->url), *(const slice *)key);
}

static void delivery_send(list *link);

static target *target_for(deliverer *all, const service *s)
{
    uint64_t hash = hash_bytes(s->url);
    map_node *node = map_find(&all->targets, hash, same_url, &s->url);
    target *t;

    if (node != NULL) {
        t = container_of(node, target, node);
        t->limit = s->concurrency;
        return t;
    }
    t = target_new(all->e->loop, s->url, s->ca, s->concurrency, delivery_send);
    t->held = all->held;
    map_add(&all->targets, &t->node, hash);
    return t;
}

/* ---- making -------------------------------------------------------------------------------- */

static void on_pass(lane_pass *pass);

static void delivery_init(deliverer *all, job *j, int ordinal, const id *delivery_id)
{
    delivery *d = &j->deliveries[ordinal];

    d->j = j;
    d->ordinal = ordinal;
    d->delivery_id = *delivery_id;
    d->plan = &j->plan.deliveries[ordinal];
    if (d->plan->to != NULL && !d->plan->gone) {
        d->to = target_for(all, d->plan->to);
        d->transactions = d->plan->to->transactions;
    }
    d->of = stream_of(j->conn, d->plan->to != NULL ? d->plan->to->url : j->made[ordinal].service_url);
    d->answered = on_answered;
    d->pass.tickets = d->tickets;
    d->pass.go = on_pass;
    d->entries = arena_array(&j->mem, entry_state, (size_t)d->plan->entry_count);
    list_init(&d->link);
}

static bool is_over(const delivery *d) { return d->state == DELIVERY_ENDED || d->state == DELIVERY_COMMITTING; }

void deliver_enter(delivery *d)
{
    job *j = d->j;

    d->state = DELIVERY_LANE;
    j->open_deliveries++;
    d->of->inside++;
    lanes_enter(&j->conn->e->deliveries->lanes, &d->pass, d->of->scope, j->keys, j->key_count);
}

void deliver_leave_lane(delivery *d)
{
    if (!d->pass.inside) return;
    d->of->inside--;
    lanes_leave(&d->j->conn->e->deliveries->lanes, &d->pass);
}

/* It is there, for those that waited for it to be read; and what comes next of these keys may be transformed:
 * its deliveries will stand behind. */
static void job_entered(job *j)
{
    connector *c = j->conn;

    bool came = j->coming;

    j->coming = false;
    if (came) stream_came(j->read_for);
    lanes_leave(&c->lanes, &j->pass);
    connector_freed(c, j->keys, j->key_count);
}

static void delivery_commit(deliverer *all, delivery *d, const char *status, const err_info *why, int64_t next_us);

static void give_up(delivery *d)
{
    d->j->open_deliveries++;
    (void)err_set(&d->why, ERR_REFUSED, "the service at %s is not one that this tenant reaches any more: replay the message", d->of->url);
    delivery_commit(d->j->conn->e->deliveries, d, "dead_lettered", &d->why, 0);
}

static void enter_all(job *j)
{
    j->entered = true;
    j->open_deliveries = 0;
    for (int i = 0; i < j->plan.count; i++) {
        delivery *d = &j->deliveries[i];
        if (d->state == DELIVERY_ENDED) continue;
        if (d->plan->gone) give_up(d);
        else stream_put(d);
    }
    job_entered(j);
    if (j->open_deliveries == 0) flow_end(j);            /* all are left to the database */
}

void deliver_start(deliverer *all, job *j)
{
    j->deliveries = arena_array(&j->mem, delivery, (size_t)j->plan.count);
    for (int i = 0; i < j->plan.count; i++) {
        delivery_init(all, j, i, &j->outcome.deliveries[i].delivery_id);
        j->deliveries[i].needs_left = j->plan.deliveries[i].need_count;
    }
    enter_all(j);
}

/* ---- going ------------------------------------------------------------------------------------ */

static void queue_up(delivery *d)
{
    d->state = DELIVERY_QUEUED;
    d->queued_ns = clock_ns();
    target_put(d->to, &d->link);
}

static void on_retry_timer(uv_timer_t *t)
{
    delivery *d = t->data;

    if (d->state == DELIVERY_RETRYING && !d->j->conn->e->closing) queue_up(d);
}

static void delivery_wait(delivery *d)
{
    int64_t left_ms = (d->next_attempt_us - clock_real_us()) / 1000;

    if (d->timer == NULL) {
        d->timer = mem_zalloc(sizeof *d->timer);
        if (uv_timer_init(d->j->conn->e->loop, d->timer) != 0) die("uv_timer_init failed");
        d->timer->data = d;
        d->of->failed++;
    }
    d->state = DELIVERY_RETRYING;
    uv_timer_start(d->timer, on_retry_timer, left_ms < 0 ? 0 : (uint64_t)left_ms, 0);
}

static void delivery_go(deliverer *all, delivery *d)
{
    if (all->closing || !job_may_begin(d->j)) return;
    if (d->needs_left > 0) {
        d->state = DELIVERY_NEEDS;
    } else if (d->next_attempt_us > clock_real_us()) {
        delivery_wait(d);
    } else {
        queue_up(d);
    }
}

static void on_pass(lane_pass *pass)
{
    delivery *d = container_of(pass, delivery, pass);
    /* One that ends with what it refers to may be told of its turn while that is committed. */
    if (d->state == DELIVERY_LANE) delivery_go(d->j->conn->e->deliveries, d);
}

static void delivery_end(deliverer *all, delivery *d);

static void delivery_follow(deliverer *all, delivery *d, verdict v)
{
    switch (v) {
    case VERDICT_MORE:
        return;
    case VERDICT_AGAIN:
        delivery_follow(all, d, call_next(all, d));
        return;
    case VERDICT_HELD:                   /* the others too: node.c holds them until it has renewed */
        d->state = DELIVERY_QUEUED;
        call_forget(d);
        job_weigh(d->j);
        deliver_hold(all, true);
        target_put_back(d->to, &d->link);
        break;
    case VERDICT_DONE:
        metric_add(d->to->delivered, 1);
        delivery_commit(all, d, "delivered", NULL, 0);
        break;
    case VERDICT_TARGET: {
        connector *c = d->j->conn;
        metric_add(d->to->failed, 1);
        d->state = DELIVERY_QUEUED;
        call_forget(d);
        job_weigh(d->j);
        target_put_back(d->to, &d->link);
        if (target_fault(d->to, d->retry_after_ms)) {
            log_line(LOG_WARN, "target.unavailable", log_id("target", slice_of(d->to->url)), log_why(&d->why));
            engine_tell(c, "connector.target_unavailable", d->plan->to->id);
        }
        break;
    }
    case VERDICT_MESSAGE: {
        const connector_settings *s = &d->j->conn->settings;
        bool last = d->attempts + 1 >= s->max_attempts;
        metric_add(d->to->failed, 1);
        d->attempts++;
        d->stale = 0;
        d->distrust = true;
        d->next_attempt_us = last ? 0 : clock_real_us() + retry_delay_us(d->attempts - 1, s->retry_base_ms, s->retry_cap_ms);
        log_line(LOG_WARN, last ? "delivery.dead_lettered" : "delivery.failed",
                 log_id("messageId", id_slice(&d->j->message_id)), log_id("deliveryId", id_slice(&d->delivery_id)),
                 log_int("attempt", d->attempts), log_int("status", d->http_status));
        target_good(d->to);
        delivery_commit(all, d, last ? "dead_lettered" : "failed", &d->why, d->next_attempt_us);
        break;
    }
    }
    all->active--;
    target_done(d->to);
}

static void delivery_send(list *link)
{
    delivery *d = container_of(link, delivery, link);
    deliverer *all = d->j->conn->e->deliveries;

    failpoint("deliver.before_send");
    if (!job_may_begin(d->j)) {          /* about to be dropped */
        d->state = DELIVERY_NEEDS;
        target_done(d->to);
        return;
    }
    d->state = DELIVERY_SENDING;
    all->active++;
    delivery_follow(all, d, call_next(all, d));
}

static void on_answered(void *arg, const fetch_answer *answer)
{
    delivery *d = arg;
    deliverer *all = d->j->conn->e->deliveries;
    verdict v;

    failpoint("deliver.answered");
    v = call_answered(all, d, answer);
    job_weigh(d->j);
    delivery_follow(all, d, v);
}

/* ---- ending ------------------------------------------------------------------------------------- */

static void on_committed(outcome_op *op, err e, const err_info *why);

static void delivery_commit(deliverer *all, delivery *d, const char *status, const err_info *why, int64_t next_us)
{
    job *j = d->j;
    outcome_op *op = &d->outcome;
    bool good = strcmp(status, "delivered") == 0;
    outcome_link *links = arena_array(&j->mem, outcome_link, (size_t)d->plan->entry_count);

    failpoint("deliver.before_record");
    d->state = DELIVERY_COMMITTING;
    if (next_us == 0) call_end(d);
    else call_forget(d);
    job_weigh(j);
    *op = (outcome_op){
        .kind = OUTCOME_DELIVERED, .tenant = j->conn->tenant, .connector_id = id_slice(&j->conn->connector_id),
        .message_id = j->message_id, .epoch = j->epoch, .replay = j->replay, .status = status, .attempts = d->attempts,
        .next_attempt_us = next_us, .delivery_id = d->delivery_id, .http_status = d->http_status, .only = j->plan.count == 1,
        .error = why == NULL ? SLICE_NONE : arena_dup(&j->mem, (slice){ why->text, utf8_valid(slice_of(why->text)) }),
        .done = on_committed,
    };
    for (int i = 0; good && i < d->plan->entry_count; i++)
        links[op->link_count++] = (outcome_link){ d->entries[i].type, d->entries[i].id, d->entries[i].created };
    op->links = links;
    outcome_put(all->e->out, op);
}

static void on_committed(outcome_op *op, err e, const err_info *why)
{
    delivery *d = container_of(op, delivery, outcome);
    deliverer *all = d->j->conn->e->deliveries;

    if (op->lease_lost) node_lost(all->e->node, d->j->conn);
    if (job_is_orphan(d->j)) {
        d->state = DELIVERY_NEEDS;
        (void)job_drop(d->j);
        return;
    }
    if (e != ERR_OK) {                   /* the row itself is refused: without links and text it is not */
        log_line(LOG_ERROR, "delivery.not_recorded", log_id("deliveryId", id_slice(&d->delivery_id)), log_why(why));
        if (op->link_count > 0 || op->error.ptr != NULL) {
            op->link_count = 0;
            op->error = SLICE_NONE;
            outcome_put(all->e->out, op);
            return;
        }
    }
    failpoint("deliver.recorded");
    engine_told(all->e);
    if (strcmp(op->status, "failed") == 0) waiters_tell(all->e->waiters, &d->j->message_id, BECAME_FAILED);
    if (strcmp(op->status, "failed") != 0) { delivery_end(all, d); return; }
    delivery_wait(d);
    connector_feed(d->j->conn);          /* others may go while it waits */
}

static void on_timer_closed(uv_handle_t *h) { free(h); }

static void drop_timer(delivery *d)
{
    if (d->timer == NULL) return;
    uv_close((uv_handle_t *)d->timer, on_timer_closed);
    d->timer = NULL;
    d->of->failed--;
}

/* Those that waited for this one's answer go, or end with it. */
static void wake_dependents(deliverer *all, delivery *d, bool good)
{
    job *j = d->j;

    for (int i = 0; i < j->plan.count; i++) {
        delivery *other = &j->deliveries[i];
        bool needs = false;
        for (int k = 0; k < other->plan->need_count; k++) needs |= other->plan->needs[k] == d->ordinal;
        if (!needs || is_over(other)) continue;
        if (good) call_resolve(other, d);
        other->needs_left--;
        if (!good) {
            stream_take_out(other);
            if (other->state == DELIVERY_ASIDE) j->open_deliveries++;
            (void)err_set(&other->why, ERR_REFUSED, "what it refers to was not delivered");
            other->needs_left = -1;      /* never goes */
            delivery_commit(all, other, "dead_lettered", &other->why, 0);
        } else if (other->state == DELIVERY_NEEDS && other->needs_left == 0) {
            delivery_go(all, other);
        } else if (other->state == DELIVERY_ASIDE && other->needs_left == 0) {
            stream_release(other->of);   /* it may have been set aside for this */
        }
    }
}

static void delivery_end(deliverer *all, delivery *d)
{
    job *j = d->j;
    bool good = strcmp(d->outcome.status, "delivered") == 0;

    d->state = DELIVERY_ENDED;
    drop_timer(d);
    j->any_dead |= !good;
    wake_dependents(all, d, good);
    deliver_leave_lane(d);
    stream_freed(d->of, j->keys, j->key_count);
    flow_delivered(j);
}

/* ---- again: after a restart -------------------------------------------------------------------- */

static void take_answers(job *j, const pg_result *rows)
{
    for (int i = 0; i < pg_rows(rows); i++) {
        int64_t ordinal = pg_cell_int(rows, i, LINK_ORDINAL), entry = pg_cell_int(rows, i, LINK_ENTRY);
        if (ordinal < 0 || ordinal >= j->plan.count) continue;
        delivery *d = &j->deliveries[ordinal];
        if (entry < 0 || entry >= d->plan->entry_count) continue;
        d->entries[entry].type = arena_dup(&j->mem, pg_cell(rows, i, LINK_TYPE));
        d->entries[entry].id = arena_dup(&j->mem, pg_cell(rows, i, LINK_RESOURCE));
        d->entries[entry].done = true;
    }
}

/* What the ended deliveries were answered goes into those that are still open. */
static void on_links(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    job *j = arg;
    deliverer *all;

    (void)count; (void)sqlstate;
    if (e == ERR_CLOSED) return;         /* and the job is gone */
    all = j->conn->e->deliveries;
    j->reading_links = false;
    if (job_is_orphan(j)) { (void)job_drop(j); return; }
    if (e != ERR_OK) {
        log_line(LOG_WARN, "delivery.links_not_read", log_id("messageId", id_slice(&j->message_id)), log_why(why));
        j->deliveries = NULL;            /* they are derived anew */
        if (!all->closing) flow_later(j);
        return;
    }
    take_answers(j, &results[1]);
    for (int i = 0; i < j->plan.count; i++) {
        delivery *d = &j->deliveries[i];
        for (int k = 0; k < d->plan->need_count && d->state != DELIVERY_ENDED; k++) {
            const delivery *other = &j->deliveries[d->plan->needs[k]];
            if (other->state != DELIVERY_ENDED) continue;
            call_resolve(d, other);
            d->needs_left--;
        }
    }
    enter_all(j);
}

/* It was transformed before: that it needed more time or memory now is this moment's fault. */
static bool is_worth_another(job *j)
{
    bool within = j->run_error == ERR_BUDGET || j->run_error == ERR_TIMEOUT;
    return within && ++j->rederived < j->conn->settings.max_attempts;
}

void deliver_again(deliverer *all, job *j)
{
    bool fits = j->run_error == ERR_OK, any_ended = false;

    if (!fits && is_worth_another(j)) {
        flow_later(j);
        return;
    }
    if (!fits) {                         /* nobody may guess which is which: empty plans, that end at once */
        j->plan.count = j->again_count;
        j->plan.deliveries = arena_array(&j->mem, plan_delivery, (size_t)j->again_count);
    }
    j->state = JOB_DELIVERING;
    j->deliveries = arena_array(&j->mem, delivery, (size_t)j->plan.count);
    for (int i = 0; i < j->again_count; i++) {
        delivery *d = &j->deliveries[i];
        delivery_init(all, j, i, &j->again[i].delivery_id);
        d->needs_left = d->plan->need_count;
        d->attempts = j->again[i].attempts;
        d->next_attempt_us = j->again[i].next_attempt_us;
        d->maybe_sent = true;
        any_ended |= j->again[i].ended;
        if (j->again[i].ended) d->state = DELIVERY_ENDED;
        else if (!fits) j->open_deliveries++;
    }
    if (fits && !any_ended) {
        enter_all(j);
        return;
    }
    if (fits) {
        j->reading_links = true;
        feed_links(all->e->feed, j->conn->tenant, id_slice(&j->message_id), on_links, j);
        return;
    }
    for (int i = 0; i < j->again_count; i++) {
        delivery *d = &j->deliveries[i];
        if (d->state == DELIVERY_ENDED) continue;
        if (j->run_error == ERR_CONFLICT)
            d->why = j->run_why;
        else
            (void)err_set(&d->why, ERR_REFUSED, "it cannot be derived again (%s): replay the message", j->run_why.text);
        delivery_commit(all, d, "dead_lettered", &d->why, 0);
    }
}

bool deliver_is_left(const job *j)
{
    for (int i = 0; i < j->plan.count; i++)
        if (j->deliveries[i].state == DELIVERY_ASIDE) return true;
    return false;
}

void deliver_leave(delivery *d)
{
    if (d->state == DELIVERY_QUEUED) target_take_out(d->to, &d->link);
    drop_timer(d);
    d->state = DELIVERY_ASIDE;
    d->j->open_deliveries--;
}

bool deliver_lane_is_used(const deliverer *all, uint64_t scope, slice key) { return lanes_has(&all->lanes, scope, key); }

bool deliver_is_stuck(const deliverer *all, slice url)
{
    enum { TOO_SLOW_S = 30 };
    map_node *node = map_find(&all->targets, hash_bytes(url), same_url, &url);
    const target *t = node == NULL ? NULL : container_of(node, target, node);
    const delivery *next;

    if (t == NULL || t->state != BREAKER_CLOSED || list_empty(&t->queue)) return t != NULL && t->state != BREAKER_CLOSED;
    next = container_of(t->queue.next, delivery, link);
    return clock_ns() - next->queued_ns > TOO_SLOW_S * UINT64_C(1000000000);
}

void deliver_retry_now(deliverer *all, job *j)
{
    (void)all;
    for (int i = 0; i < j->plan.count; i++) {
        const delivery *d = &j->deliveries[i];
        if (d->state == DELIVERY_RETRYING) uv_timer_start(d->timer, on_retry_timer, 0, 0);
        else if (d->state == DELIVERY_QUEUED) target_probe(d->to);
        else if (d->state == DELIVERY_ASIDE) stream_release(d->of);
    }
}

/* ---- life -------------------------------------------------------------------------------------- */

deliverer *deliver_open(engine *e)
{
    deliverer *all = mem_zalloc(sizeof *all);

    all->e = e;
    written_init(&all->memory, MEMORY_BYTES);
    return all;
}

size_t deliver_active(const deliverer *all) { return all->active; }

static void hold_target(map_node *node, void *arg)
{
    target_hold(container_of(node, target, node), *(const bool *)arg);
}

void deliver_hold(deliverer *all, bool hold)
{
    if (all->held == hold) return;
    all->held = hold;
    map_each(&all->targets, hold_target, &hold);
}

bool deliver_is_held(const job *j)
{
    for (int i = 0; j->deliveries != NULL && i < j->plan.count; i++) {
        const delivery *d = &j->deliveries[i];
        for (size_t k = 0; d->state == DELIVERY_LANE && d->pass.inside && k < d->pass.count; k++) {
            const lane_pass *head = lanes_head(&d->pass, k);
            if (head != &d->pass && container_of(head, delivery, pass)->state == DELIVERY_RETRYING) return true;
        }
    }
    return false;
}

bool deliver_under_way(const job *j)
{
    for (int i = 0; j->deliveries != NULL && i < j->plan.count; i++)
        if (j->deliveries[i].state == DELIVERY_SENDING || j->deliveries[i].state == DELIVERY_COMMITTING) return true;
    return j->reading_links;
}

static void drop_delivery(deliverer *all, delivery *d)
{
    if (d->state == DELIVERY_QUEUED && !list_empty(&d->link)) target_take_out(d->to, &d->link);
    stream_take_out(d);
    d->state = DELIVERY_ENDED;
    drop_timer(d);
    deliver_leave_lane(d);
    if (d->call == NULL) return;
    fetch_cancel(d->call);
    d->call = NULL;
    all->active--;
    target_done(d->to);
}

bool deliver_drop(deliverer *all, job *j)
{
    bool free = !j->reading_links;

    for (int i = 0; j->deliveries != NULL && i < j->plan.count; i++) {
        delivery *d = &j->deliveries[i];
        if (d->state == DELIVERY_COMMITTING) free = false;
        else if (d->state != DELIVERY_ENDED) drop_delivery(all, d);
    }
    return free;
}

void deliver_free(job *j)
{
    for (int i = 0; j->deliveries != NULL && i < j->plan.count; i++) arena_free(&j->deliveries[i].work);
}

size_t deliver_bytes(const job *j)
{
    size_t sum = 0;

    for (int i = 0; j->deliveries != NULL && i < j->plan.count; i++) sum += j->deliveries[i].work.held;
    return sum;
}

void deliver_abandon(deliverer *all, job *j)
{
    for (int i = 0; j->deliveries != NULL && i < j->plan.count; i++) {
        delivery *d = &j->deliveries[i];
        if (d->call != NULL) { fetch_cancel(d->call); all->active--; }
        d->call = NULL;
        if (d->state == DELIVERY_QUEUED && !list_empty(&d->link)) target_take_out(d->to, &d->link);
        stream_take_out(d);
        drop_timer(d);
        deliver_leave_lane(d);
    }
}

static void stop_target(map_node *node, void *arg)
{
    (void)arg;
    target_stop(container_of(node, target, node));
}

void deliver_stop(deliverer *all)
{
    all->closing = true;
    map_each(&all->targets, stop_target, NULL);
}

static void one_closed(void *arg)
{
    deliverer *all = arg;
    void (*closed)(void *) = all->closed;
    void *closed_arg = all->closed_arg;

    if (--all->open_targets > 0) return;
    map_free(&all->targets);
    free(all);
    closed(closed_arg);
}

static void close_target(map_node *node, void *arg)
{
    deliverer *all = arg;

    all->open_targets++;
    target_close(container_of(node, target, node), one_closed, all);
}

static void on_last(uv_handle_t *h)
{
    one_closed(h->data);
    free(h);
}

void deliver_close(deliverer *all, void (*done)(void *arg), void *arg)
{
    uv_timer_t *last = mem_zalloc(sizeof *last);        /* `done` comes later, also without targets */

    all->closed = done;
    all->closed_arg = arg;
    all->open_targets = 1;
    written_free(&all->memory);
    lanes_fini(&all->lanes);
    map_each(&all->targets, close_target, all);
    if (uv_timer_init(all->e->loop, last) != 0) die("uv_timer_init failed");
    last->data = all;
    uv_close((uv_handle_t *)last, on_last);
}
