/* engine/transform.c -- a run queue for each tenant, and a few threads.
 *
 * A thread that runs a script is busy until the script ends. A tenant one of whose jobs took
 * longer than a budget (it was spent, and a new state was opened and its pack loaded) is slow
 * for a while: slow tenants together never hold the last thread, so that others find one. */
#include "engine/transform.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/queue.h"
#include "engine/connector.h"
#include "engine/states.h"
#include "hl7/json.h"

enum { MAX_THREADS = 64 };

#define PARSED_KEPT  ((size_t)1 << 20)
#define TURN_NS      10000000u           /* CPU time: opening a state must be worth it */
#define SLOW_NS      120000000000u       /* since the last job that took too long */
#define SHARED_NS    60000000000u        /* since the threads served more than one tenant */

typedef struct tenant_queue {
    map_node node;
    list     link;                       /* among the tenants that have jobs, when it has */
    list     jobs;
    uint64_t used_ns;                    /* CPU time, the measure of fairness */
    uint64_t slow_ns;                    /* when a job took too long; 0: none did lately */
    size_t   running;
    size_t   name_len;
    char     name[];
} tenant_queue;

typedef struct worker {
    transform *pool;
    pthread_t  thread;
    states     lua;
    buf        parsed;                   /* scratch */
    tenant_queue *serves;                /* whose turn it is on this thread */
    uint64_t   turn_ns;                  /* CPU time that the turn took so far */
} worker;

struct transform {
    pthread_mutex_t lock;
    pthread_cond_t  filled;
    map             tenants;
    list            active;              /* tenant_queue with jobs */
    uint64_t        least_ns;            /* where a tenant that was idle begins */
    const tenant_queue *latest;          /* whose job was put last */
    uint64_t        shared_ns;           /* when another's was put before it */
    unsigned        slow_running;        /* threads that run jobs of slow tenants */
    bool            closing;
    queue           ended;               /* jobs on their way back */
    uv_async_t      wake;
    unsigned        count;
    size_t          waiting;             /* loop's thread only */
    worker          workers[MAX_THREADS];
    void          (*done)(void *arg, job *j);
    void           *arg;
    void          (*closed)(void *arg);
    void           *closed_arg;
};

/* ---- one job --------------------------------------------------------------------- */

static err job_run(worker *w, job *j)
{
    vm_input input = { j->msg, id_slice(&j->message_id), j->received_us };
    script_result result = { 0 };
    state *s;
    err e;

    /* A redelivery was stored before; its parsed form stands already. */
    if (!j->redelivery) {
        hl7_json_write(&w->parsed, j->msg);
        j->parsed = arena_dup(&j->mem, buf_slice(&w->parsed));
        if (w->parsed.cap > PARSED_KEPT) buf_free(&w->parsed);
        else buf_clear(&w->parsed);
    }
    e = states_get(&w->lua, j->run_program, &s, &j->run_why);
    if (e != ERR_OK) return e;
    e = vm_transform(s->lua, &input, &j->mem, &result, &j->run_why);
    if (e == ERR_BUDGET) states_drop(&w->lua, s);
    else states_weigh(&w->lua, s);
    if (e != ERR_OK) return e;
    if (result.refused)
        return err_set(&j->run_why, ERR_REFUSED, "refused by the script: %.*s", (int)result.reason.len, result.reason.ptr);
    if (result.hl7_count > 0)
        return err_set(&j->run_why, ERR_REFUSED, "out:hl7 needs an outbound connector named '%.*s', and there is none",
                       (int)result.hl7->connector.len, result.hl7->connector.ptr);
    e = j->redelivery ? plan_remake(&j->mem, &result, j->run_routes, j->made, j->again_count, &j->plan, &j->run_why)
                      : plan_make(&j->mem, &result, j->run_routes, &j->plan, &j->run_why);
    j->events = result.events;
    j->event_count = result.event_count;
    return e;
}

/* ---- whose turn it is ---------------------------------------------------------------- */

static bool is_slow(const transform *t, const tenant_queue *q)
{
    return q->slow_ns > 0 && t->shared_ns > 0 && clock_ns() - t->shared_ns < SHARED_NS;
}

/* NULL when there is none, or only slow ones that have to wait for a slow one to end. */
static tenant_queue *least_used(transform *t)
{
    bool slow_wait = t->count > 1 && t->slow_running + 1 >= t->count;
    tenant_queue *best = NULL;
    uint64_t least = 0;

    list_each(l, &t->active) {
        tenant_queue *q = container_of(l, tenant_queue, link);
        uint64_t used = q->used_ns + q->running * TURN_NS;           /* the turn that it has elsewhere */
        if (slow_wait && is_slow(t, q)) continue;
        if (best == NULL || used < least) { best = q; least = used; }
    }
    if (best != NULL && best->used_ns > t->least_ns) t->least_ns = best->used_ns;
    return best;
}

/* Its turn goes on for a while: a thousand tenants one message each by turns would open a state for each. */
static tenant_queue *next_served(worker *w)
{
    transform *t = w->pool;
    tenant_queue *q = w->serves;

    if (q != NULL && !list_empty(&q->jobs) && w->turn_ns < TURN_NS && !is_slow(t, q)) return q;
    w->turn_ns = 0;
    w->serves = least_used(t);
    return w->serves;
}

static job *take_job(worker *w, tenant_queue **from, bool *slow)
{
    transform *t = w->pool;
    tenant_queue *q;
    job *j;

    while ((q = next_served(w)) == NULL) {
        if (t->closing) return NULL;
        (void)pthread_cond_wait(&t->filled, &t->lock);
    }
    j = container_of(list_pop(&q->jobs), job, run_link);
    if (list_empty(&q->jobs)) list_remove(&q->link);
    q->running++;
    *from = q;
    *slow = is_slow(t, q);
    t->slow_running += *slow;
    return j;
}

/* It took `used`, on behalf of `q`, where one budget is `budget`. */
static void job_ended(transform *t, tenant_queue *q, bool slow, uint64_t used, uint64_t budget)
{
    uint64_t now = clock_ns();

    q->used_ns += used;
    q->running--;
    t->slow_running -= slow;
    if (used > budget) q->slow_ns = now;
    else if (q->slow_ns > 0 && now - q->slow_ns > SLOW_NS) q->slow_ns = 0;
    if (!list_empty(&t->active)) (void)pthread_cond_signal(&t->filled);      /* a slow one may go now */
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    transform *t = w->pool;
    tenant_queue *from;
    bool slow;
    job *j;

    (void)pthread_mutex_lock(&t->lock);
    while ((j = take_job(w, &from, &slow)) != NULL) {
        uint64_t before = clock_cpu_ns(), used, budget;

        (void)pthread_mutex_unlock(&t->lock);
        budget = j->run_program->limits.cpu_ns;
        j->run_error = job_run(w, j);
        used = clock_cpu_ns() - before;
        w->turn_ns += used;
        if (queue_put(&t->ended, &j->run_link)) (void)uv_async_send(&t->wake);
        (void)pthread_mutex_lock(&t->lock);
        job_ended(t, from, slow, used, budget);
    }
    (void)pthread_mutex_unlock(&t->lock);
    states_fini(&w->lua);
    buf_free(&w->parsed);
    return NULL;
}

static void on_wake(uv_async_t *a)
{
    transform *t = container_of(a, transform, wake);
    list ended;

    list_init(&ended);
    queue_drain(&t->ended, &ended);
    for (list *l; (l = list_pop(&ended)) != NULL;) {
        t->waiting--;
        t->done(t->arg, container_of(l, job, run_link));
    }
}

static bool same_tenant(const map_node *node, const void *key)
{
    const tenant_queue *q = (const tenant_queue *)(const void *)((const char *)node - offsetof(tenant_queue, node));
    const slice *name = key;
    return slice_eq((slice){ q->name, q->name_len }, *name);
}

static tenant_queue *queue_for(transform *t, slice tenant)
{
    uint64_t hash = hash_bytes(tenant);
    map_node *node = map_find(&t->tenants, hash, same_tenant, &tenant);
    tenant_queue *q;

    if (node != NULL) return container_of(node, tenant_queue, node);
    q = mem_zalloc(sizeof *q + tenant.len);
    q->name_len = tenant.len;
    if (tenant.len > 0) memcpy(q->name, tenant.ptr, tenant.len);
    list_init(&q->jobs);
    list_init(&q->link);
    map_add(&t->tenants, &q->node, hash);
    return q;
}

void transform_put(transform *t, job *j)
{
    tenant_queue *q;

    t->waiting++;
    j->run_error = ERR_OK;
    j->plan = (plan){ 0 };
    (void)pthread_mutex_lock(&t->lock);
    q = queue_for(t, j->conn->tenant);
    if (t->latest != NULL && t->latest != q) t->shared_ns = clock_ns();
    t->latest = q;
    if (list_empty(&q->jobs)) {
        /* Idle time earns nothing: it begins level with who is served now. */
        if (q->running == 0 && q->used_ns < t->least_ns) q->used_ns = t->least_ns;
        list_push(&t->active, &q->link);
    }
    list_push(&q->jobs, &j->run_link);
    (void)pthread_cond_signal(&t->filled);
    (void)pthread_mutex_unlock(&t->lock);
}

size_t transform_waiting(const transform *t) { return t->waiting; }

void transform_stop(transform *t)
{
    (void)pthread_mutex_lock(&t->lock);
    for (list *l; (l = list_pop(&t->active)) != NULL;) {
        tenant_queue *q = container_of(l, tenant_queue, link);
        for (list *k; (k = list_pop(&q->jobs)) != NULL;) {
            container_of(k, job, run_link)->run_error = ERR_CLOSED;
            (void)queue_put(&t->ended, k);
        }
    }
    (void)pthread_mutex_unlock(&t->lock);
    (void)uv_async_send(&t->wake);
}

/* ---- life ----------------------------------------------------------------------------- */

transform *transform_open(uv_loop_t *loop, unsigned threads, size_t states_most, void (*done)(void *arg, job *j), void *arg)
{
    transform *t = mem_zalloc(sizeof *t);
    static const int loops[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };
    sigset_t all, before;

    t->done = done;
    t->arg = arg;
    t->count = threads > MAX_THREADS ? MAX_THREADS : threads;
    list_init(&t->active);
    queue_init(&t->ended);
    if (pthread_mutex_init(&t->lock, NULL) != 0 || pthread_cond_init(&t->filled, NULL) != 0 ||
        uv_async_init(loop, &t->wake, on_wake) != 0) die("transform_open failed");
    /* The process's signals belong to the loop; a thread's own budget signal must reach it. */
    (void)sigemptyset(&all);
    for (size_t i = 0; i < countof(loops); i++) (void)sigaddset(&all, loops[i]);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    for (unsigned i = 0; i < t->count; i++) {
        t->workers[i].pool = t;
        states_init(&t->workers[i].lua, states_most);
        if (pthread_create(&t->workers[i].thread, NULL, worker_main, &t->workers[i]) != 0)
            die("pthread_create failed");
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return t;
}

static void free_tenant(map_node *node, void *arg)
{
    (void)arg;
    free(container_of(node, tenant_queue, node));
}

static void on_async_closed(uv_handle_t *h)
{
    transform *t = container_of((uv_async_t *)h, transform, wake);
    void (*closed)(void *) = t->closed;
    void *arg = t->closed_arg;

    map_each(&t->tenants, free_tenant, NULL);
    map_free(&t->tenants);
    queue_fini(&t->ended);
    (void)pthread_cond_destroy(&t->filled);
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
    closed(arg);
}

void transform_close(transform *t, void (*closed)(void *arg), void *arg)
{
    t->closed = closed;
    t->closed_arg = arg;
    (void)pthread_mutex_lock(&t->lock);
    t->closing = true;
    (void)pthread_cond_broadcast(&t->filled);
    (void)pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->count; i++) (void)pthread_join(t->workers[i].thread, NULL);
    on_wake(&t->wake);
    uv_close((uv_handle_t *)&t->wake, on_async_closed);
}
