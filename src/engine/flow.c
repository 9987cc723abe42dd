/* engine/flow.c -- a job's way from its lane to its end. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/inside.h"
#include "engine/retry.h"
#include "engine/stream.h"

/* ---- jobs ------------------------------------------------------------------------- */

static void on_pass(lane_pass *pass);

job *job_new(connector *c)
{
    job *j = mem_zalloc(sizeof *j);

    j->conn = c;
    j->pass.tickets = j->tickets;
    j->pass.go = on_pass;
    list_init(&j->run_link);
    list_push(&c->jobs, &j->link);
    c->job_count++;
    c->e->job_count++;
    return j;
}

static void account(job *j, size_t bytes)
{
    if (j->indexed) j->conn->held += bytes - j->held;
    j->conn->e->held += bytes - j->held;
    j->held = bytes;
}

void job_weigh(job *j) { account(j, j->mem.held + deliver_bytes(j) + sizeof *j); }

/* What it may weigh when it is transformed, as the connector's last ones did, whose length may have been another. */
static void reserve(job *j)
{
    enum { GROWTH = 16 };
    size_t expected = j->conn->weight < GROWTH * j->held ? j->conn->weight : GROWTH * j->held;

    if (j->held < expected) account(j, expected);
}

static void learn_weight(const job *j)
{
    connector *c = j->conn;
    c->weight = c->weight == 0 ? j->held : c->weight - c->weight / 16 + j->held / 16;
}

static void on_timer_closed(uv_handle_t *h) { free(h); }

void job_end(job *j)
{
    connector *c = j->conn;
    stream *awaited = j->coming ? j->read_for : NULL;

    if (j->timer != NULL) {
        uv_close((uv_handle_t *)j->timer, on_timer_closed);
        c->failed--;
    }
    if (j->state == JOB_PARKED) parked_leave(j);
    list_remove(&j->link);
    c->job_count--;
    c->e->job_count--;
    if (j->indexed) {
        map_remove(&c->e->jobs, &j->node);
        c->entered--;
        c->held -= j->held;
    }
    c->e->held -= j->held;
    if (j->pack_pending) c->old_waiting--;
    program_drop(j->run_program);
    routes_drop(j->run_routes);
    deliver_free(j);
    arena_free(&j->mem);
    free(j);
    if (awaited != NULL) stream_came(awaited);
}

static bool same_message(const map_node *node, const void *key)
{
    const job *j = (const job *)(const void *)((const char *)node - offsetof(job, node));
    return strcmp(j->message_id.text, key) == 0;
}

job *job_find(engine *e, const char *message_id)
{
    map_node *node = map_find(&e->jobs, hash_bytes(slice_of(message_id)), same_message, message_id);
    return node == NULL ? NULL : container_of(node, job, node);
}

void flow_left(job *j)
{
    connector *c = j->conn;

    lanes_leave(&c->lanes, &j->pass);
    job_end(j);
    engine_balance(c->e);
}

/* The job has ended: there is room for another. */
void flow_end(job *j)
{
    connector *c = j->conn;
    id message_id = j->message_id;
    int64_t seq = j->seq;
    bool replayed = j->replayed, of_before = j->indexed && j->epoch != c->epoch;
    bool awaited = aside_has(&c->aside, j->keys, j->key_count);

    flow_left(j);
    if (replayed) connector_take(c->e, c->tenant, id_slice(&message_id));
    if (of_before) connector_met_before(c, seq);
    if (awaited) connector_release(c);
    connector_feed(c);
}

void flow_replayed(job *j)
{
    j->replayed = true;
    (void)job_drop(j);
}

void flow_abandon(job *j)
{
    lanes_leave(&j->conn->lanes, &j->pass);
    job_end(j);
}

/* ---- transforming ------------------------------------------------------------------- */

static void enter(job *j)
{
    map_add(&j->conn->e->jobs, &j->node, hash_bytes(id_slice(&j->message_id)));
    j->indexed = true;
    j->conn->entered++;
    j->conn->held += j->held;
    reserve(j);
    j->epoch = j->conn->epoch;
    j->state = JOB_QUEUED;
}

void flow_enter(job *j)
{
    connector *c = j->conn;

    enter(j);
    lanes_enter(&c->lanes, &j->pass, 0, j->keys, j->key_count);
    failpoint("flow.entered");
}

static void flow_run(job *j)
{
    connector *c = j->conn;

    routes_drop(j->run_routes);
    j->run_routes = routes_keep(c->routes);
    if (!j->redelivery && !j->by_pack_of_then) {
        program_drop(j->run_program);
        j->run_program = program_keep(c->prog);
    }
    if (j->msg == NULL || j->run_program == NULL) {      /* it cannot run: run_why says why */
        flow_transformed(c->e, j);
        return;
    }
    j->state = JOB_RUNNING;
    transform_put(c->e->pool, j);
}

/* ---- again, after a restart: deliveries are derived anew ----------------------------- */

void flow_repacked(job *j)
{
    if (j->pass.behind == 0) on_pass(&j->pass);
}

static void enter_by(job *j, slice pack_of_then)
{
    connector *c = j->conn;

    enter(j);
    if (slice_is(pack_of_then, pack_digest(c->prog->pack))) j->run_program = program_keep(c->prog);
    else old_pack_wait(j, pack_of_then); /* it keeps its place in the lanes meanwhile */
    /* What is read for a target keeps its own order: nothing that is made for it meanwhile comes before it. */
    lanes_enter(&c->lanes, &j->pass, j->read_for == NULL ? 0 : j->read_for->scope, j->keys, j->key_count);
}

void flow_again(job *j, slice pack_of_then) { enter_by(j, pack_of_then); }

void flow_enter_by(job *j, slice digest)
{
    j->by_pack_of_then = true;
    enter_by(j, digest);
}

static void on_retry_timer(uv_timer_t *t)
{
    job *j = t->data;

    if (j->conn->e->closing) return;
    if (j->state == JOB_RETRYING && job_may_begin(j)) flow_run(j);
}

static void flow_wait(job *j, int64_t until_us)
{
    int64_t left_ms = (until_us - clock_real_us()) / 1000;

    if (j->timer == NULL) {
        j->timer = mem_zalloc(sizeof *j->timer);
        if (uv_timer_init(j->conn->e->loop, j->timer) != 0) die("uv_timer_init failed");
        j->timer->data = j;
        j->conn->failed++;
    }
    j->state = JOB_RETRYING;
    uv_timer_start(j->timer, on_retry_timer, left_ms < 0 ? 0 : (uint64_t)left_ms, 0);
}

void flow_later(job *j)
{
    enum { PAUSE_US = 1000000 };
    flow_wait(j, clock_real_us() + PAUSE_US);
}

/* At the head of all its lanes: its turn. */
static void on_pass(lane_pass *pass)
{
    job *j = container_of(pass, job, pass);

    if (j->conn->e->closing || j->pack_pending || j->set_aside || !job_may_begin(j)) return;
    if (j->next_attempt_us > clock_real_us()) flow_wait(j, j->next_attempt_us);
    else flow_run(j);
}

static void on_committed(outcome_op *op, err e, const err_info *why);

static void put_outcome(job *j, const char *status, slice error, int64_t next_us)
{
    outcome_op *op = &j->outcome;

    *op = (outcome_op){
        .kind = OUTCOME_TRANSFORMED, .tenant = j->conn->tenant, .connector_id = id_slice(&j->conn->connector_id),
        .message_id = j->message_id, .epoch = j->epoch, .replay = j->replay, .status = status, .attempts_before = j->attempts,
        .attempts = error.ptr == NULL ? j->attempts : j->attempts + 1, .next_attempt_us = next_us, .error = error,
        .parsed = j->parsed.len == 0 ? SLICE_NONE : j->parsed,
        .pack_digest = j->run_program == NULL ? SLICE_NONE : slice_of(pack_digest(j->run_program->pack)), .done = on_committed,
    };
    j->attempts = op->attempts;
    j->state = JOB_COMMITTING;
}

static void add_deliveries(job *j)
{
    outcome_delivery *made = arena_array(&j->mem, outcome_delivery, (size_t)j->plan.count);

    for (int i = 0; i < j->plan.count; i++) {
        const plan_delivery *d = &j->plan.deliveries[i];
        made[i] = (outcome_delivery){
            .delivery_id = id_new(ID_DELIVERY), .service_url = d->to->url, .rule_id = d->rule_id,
            .needs = d->needs, .need_count = d->need_count, .entry_count = d->entry_count,
            .resources = plan_resources(&j->mem, &j->plan, i), .shape = plan_shape(d),
        };
    }
    j->outcome.deliveries = made;
    j->outcome.delivery_count = j->plan.count;
}

static void add_events(job *j)
{
    outcome_event *made = arena_array(&j->mem, outcome_event, j->event_count);
    int n = 0;

    for (const script_event *ev = j->events; ev != NULL; ev = ev->next) {
        buf data = buf_in(&j->mem);
        if (ev->data == NULL) buf_puts(&data, "{}");
        else json_write(&data, ev->data);
        made[n++] = (outcome_event){ .event_id = id_new(ID_EVENT), .type = ev->type, .data = buf_slice(&data) };
    }
    j->outcome.events = made;
    j->outcome.event_count = n;
}

/* Refused on purpose, or by a rule: trying again changes nothing until somebody does. */
static void put_failure(job *j)
{
    const connector *c = j->conn;
    slice text = slice_of(j->run_why.text);
    slice error = arena_dup(&j->mem, (slice){ text.ptr, utf8_valid(text) });     /* it may have been cut */
    bool last = j->run_error == ERR_REFUSED || j->attempts + 1 >= c->settings.max_attempts;
    int64_t next = last ? 0 : clock_real_us() + retry_delay_us(j->attempts, c->settings.retry_base_ms, c->settings.retry_cap_ms);

    metric_add(last ? c->count.dead_lettered : c->count.failed, 1);
    log_line(LOG_WARN, last ? "message.dead_lettered" : "message.failed", log_id("connectorId", id_slice(&c->connector_id)),
             log_id("messageId", id_slice(&j->message_id)), log_int("attempt", j->attempts + 1),
             log_word("kind", err_name(j->run_error)));
    put_outcome(j, last ? "dead_lettered" : "failed", error, next);
    j->next_attempt_us = next;
}

void flow_transformed(void *arg, job *j)
{
    engine *e = arg;

    failpoint("flow.transformed");
    job_weigh(j);
    learn_weight(j);
    j->state = JOB_QUEUED;
    if (job_is_orphan(j)) { (void)job_drop(j); return; }
    if (e->closing && (j->redelivery || j->run_error == ERR_CLOSED)) { flow_abandon(j); return; }
    if (j->redelivery) {
        deliver_again(e->deliveries, j);
        return;
    }
    if (j->run_error != ERR_OK) {
        put_failure(j);
    } else {
        put_outcome(j, j->plan.count > 0 ? "processing" : "processed", SLICE_NONE, 0);
        add_deliveries(j);
        add_events(j);
    }
    outcome_put(e->out, &j->outcome);
}

static void tell_waiters(const job *j, const char *status)
{
    became what = strcmp(status, "processed") == 0 ? BECAME_DONE : strcmp(status, "failed") == 0 ? BECAME_FAILED
        : strcmp(status, "processing") == 0 ? BECAME_MAPPED : BECAME_DEAD;
    waiters_tell(j->conn->e->waiters, &j->message_id, what);
}

static void on_committed(outcome_op *op, err e, const err_info *why)
{
    job *j = container_of(op, job, outcome);
    connector *c = j->conn;

    if (op->lease_lost) node_lost(c->e->node, c);        /* it is an orphan now, like the others */
    if (job_is_orphan(j)) {
        j->state = JOB_QUEUED;
        (void)job_drop(j);
        return;
    }
    if (e == ERR_STORE && !j->result_refused) {
        /* The result itself cannot be stored (a character that JSONB refuses, a size):
         * the message's fault, without its parsed form. */
        j->result_refused = true;
        j->attempts = op->attempts_before;
        j->run_error = ERR_REFUSED;
        (void)err_set(&j->run_why, ERR_REFUSED, "the result cannot be stored: %s", why->text);
        j->parsed = SLICE_NONE;
        put_failure(j);
        outcome_put(c->e->out, &j->outcome);
        return;
    }
    if (e == ERR_STORE)                  /* it stays open in the database, and is met again by the next reading */
        log_line(LOG_ERROR, "message.not_recorded", log_id("messageId", id_slice(&j->message_id)), log_why(why));
    if (e == ERR_CONFLICT) j->replayed = true;
    if (e != ERR_OK || j->replayed) { flow_end(j); return; }
    engine_told(c->e);
    tell_waiters(j, op->status);
    if (strcmp(op->status, "failed") == 0) {
        flow_wait(j, j->next_attempt_us);
        connector_feed(c);               /* others may go while it waits */
    } else if (strcmp(op->status, "processing") == 0) {
        j->state = JOB_DELIVERING;
        deliver_start(c->e->deliveries, j);
    } else {
        if (strcmp(op->status, "processed") == 0) metric_add(c->count.processed, 1);
        flow_end(j);
    }
}

void flow_delivered(job *j)
{
    if (--j->open_deliveries > 0) return;
    if (deliver_is_left(j)) { flow_end(j); return; }
    tell_waiters(j, j->any_dead ? "dead_lettered" : "processed");
    metric_add(j->any_dead ? j->conn->count.dead_lettered : j->conn->count.processed, 1);
    flow_end(j);
}

/* ---- trying again -------------------------------------------------------------------- */

static void on_told_to_try(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    (void)arg; (void)results; (void)count; (void)sqlstate;
    if (e != ERR_OK && e != ERR_CLOSED) log_line(LOG_WARN, "message.not_tried_again", log_why(why));
}

void flow_try_now(job *j)
{
    if (j->state == JOB_RETRYING) uv_timer_start(j->timer, on_retry_timer, 0, 0);
    else if (j->state == JOB_DELIVERING) deliver_retry_now(j->conn->e->deliveries, j);
}

void flow_try_again(connector *c, const id *message_id)
{
    job *j = job_find(c->e, message_id->text);

    if (j == NULL) feed_try_again(c->e->feed, c->tenant, id_slice(message_id), on_told_to_try, c);
    else flow_try_now(j);
}
