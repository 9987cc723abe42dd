/* engine/waiters.c -- waiters by message, and a list of them that is looked through a few times a second while
 * there are any. */
#include "engine/waiters.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/inside.h"

enum { LOOK_MS = 100, ASK_AT_ONCE = 500, GRACE_NS = 500000000 };

struct waiters {
    engine    *e;
    list       all;
    map        by_message;
    uv_timer_t look;
    bool       asking;
    unsigned   round;                    /* of asking the database, a tenant after the other */
    void     (*done)(void *arg);
    void      *arg;
};

static void end(waiters *all, waiter *w, became what)
{
    list_remove(&w->link);
    map_remove(&all->by_message, &w->node);
    w->done(w, what);
}

/* Is this what it waits for, or the end of waiting? */
static bool is_enough(const waiter *w, became what) { return what != BECAME_MAPPED || w->level == ACK_LEVEL_MAPPED; }

typedef struct told { const char *message_id; became what; } told;

static bool is_told(const map_node *found, const void *key)
{
    const waiter *w = (const waiter *)(const void *)((const char *)found - offsetof(waiter, node));
    const told *t = key;
    return strcmp(w->message_id.text, t->message_id) == 0 && is_enough(w, t->what);
}

void waiters_tell(waiters *all, const id *message_id, became what)
{
    const told key = { message_id->text, what };
    map_node *found;

    if (list_empty(&all->all)) return;
    while ((found = map_find(&all->by_message, hash_bytes(id_slice(message_id)), is_told, &key)) != NULL)
        end(all, container_of(found, waiter, node), what);
}

/* ---- asking the database ------------------------------------------------------------------- */

static void ask_next(waiters *all);

static void take_row(waiters *all, const pg_result *r, int row)
{
    slice status = pg_cell(r, row, STATUS_STATUS);
    became what;
    id message_id;

    (void)slice_cstr(pg_cell(r, row, STATUS_ID), message_id.text, sizeof message_id.text);
    if (slice_is(status, "processed")) what = BECAME_DONE;
    else if (slice_is(status, "dead_lettered")) what = BECAME_DEAD;
    else if (slice_is(status, "failed")) what = BECAME_FAILED;
    else if (slice_is(status, "processing")) what = BECAME_MAPPED;
    else return;
    /* It was mapped, whatever became of its deliveries. */
    if (pg_cell_bool(r, row, STATUS_MAPPED)) waiters_tell(all, &message_id, BECAME_MAPPED);
    waiters_tell(all, &message_id, what);
}

static void on_statuses(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    waiters *all = arg;

    (void)count; (void)sqlstate;
    all->asking = false;
    if (e == ERR_CLOSED || all->e->closing) return;
    if (e == ERR_STORE) log_line(LOG_WARN, "ack.not_known", log_why(why));
    if (e != ERR_OK) return;             /* asked again at the next look */
    for (int i = 0; i < pg_rows(&results[1]); i++) take_row(all, &results[1], i);
    ask_next(all);
}

/* Those of one tenant that nobody here will tell. */
static void ask_next(waiters *all)
{
    slice ids[ASK_AT_ONCE], tenant = SLICE_NONE;
    uint64_t now = clock_ns();
    size_t count = 0;

    list_each(l, &all->all) {
        waiter *w = container_of(l, waiter, link);
        const job *j;
        if (w->round == all->round || now < w->ask_ns || count == ASK_AT_ONCE) continue;
        if (tenant.ptr != NULL && !slice_eq(tenant, w->conn->tenant)) continue;
        j = job_find(all->e, w->message_id.text);
        if (j != NULL && !job_is_orphan(j)) continue;
        w->round = all->round;
        tenant = w->conn->tenant;
        ids[count++] = id_slice(&w->message_id);
    }
    if (count == 0) return;
    all->asking = true;
    feed_statuses(all->e->feed, tenant, ids, count, on_statuses, all);
}

/* ---- looking ---------------------------------------------------------------------------------- */

/* Does one that failed stand before it? */
static bool is_held(const job *j)
{
    for (size_t i = 0; j->state == JOB_QUEUED && i < j->pass.count; i++) {
        const lane_pass *head = lanes_head(&j->pass, i);
        if (head != &j->pass && container_of(head, job, pass)->state == JOB_RETRYING) return true;
    }
    return j->state == JOB_DELIVERING && deliver_is_held(j);
}

static void on_look(uv_timer_t *t)
{
    waiters *all = container_of(t, waiters, look);
    uint64_t now = clock_ns();

    list_each_safe(l, &all->all) {
        waiter *w = container_of(l, waiter, link);
        const job *j = job_find(all->e, w->message_id.text);
        if (now >= w->deadline_ns) end(all, w, BECAME_LATE);
        else if (j != NULL && is_held(j)) end(all, w, BECAME_HELD);
    }
    if (list_empty(&all->all)) { (void)uv_timer_stop(t); return; }
    if (all->asking || !pg_is_ready(all->e->feed)) return;
    all->round++;
    ask_next(all);
}

void waiters_add(waiters *all, waiter *w, bool tried)
{
    uint64_t now = clock_ns();

    if (all->e->closing) {
        w->done(w, BECAME_LATE);
        return;
    }
    w->ask_ns = tried ? now + GRACE_NS : now;
    w->deadline_ns = now + (uint64_t)w->conn->settings.ack_deadline_ms * 1000000u;
    w->round = all->round;
    if (list_empty(&all->all)) uv_timer_start(&all->look, on_look, LOOK_MS, LOOK_MS);
    list_push(&all->all, &w->link);
    map_add(&all->by_message, &w->node, hash_bytes(id_slice(&w->message_id)));
}

/* ---- life ---------------------------------------------------------------------------------------- */

waiters *waiters_new(engine *e)
{
    waiters *all = mem_zalloc(sizeof *all);

    all->e = e;
    list_init(&all->all);
    if (uv_timer_init(e->loop, &all->look) != 0) die("uv_timer_init failed");
    return all;
}

void waiters_end(waiters *all)
{
    while (!list_empty(&all->all)) end(all, container_of(all->all.next, waiter, link), BECAME_LATE);
    (void)uv_timer_stop(&all->look);
}

static void on_closed(uv_handle_t *h)
{
    waiters *all = container_of((uv_timer_t *)h, waiters, look);
    void (*done)(void *) = all->done;
    void *arg = all->arg;

    map_free(&all->by_message);
    free(all);
    done(arg);
}

void waiters_free(waiters *all, void (*done)(void *arg), void *arg)
{
    all->done = done;
    all->arg = arg;
    uv_close((uv_handle_t *)&all->look, on_closed);
}
