/* engine/connector_owner.c -- a connector comes to this node, and goes from it.
 *
 * A job belongs to the lease under which it entered (job.epoch). When that is lost the job is an orphan and
 * dropped, the database has it; one that a thread or the store still holds does nothing more and is dropped
 * when it comes back. So is a job whose message was replayed or skipped meanwhile. */
#include "base/log.h"
#include "engine/inside.h"

bool connector_busy(const connector *c)
{
    list_each(l, &c->jobs)
        if (container_of(l, job, link)->state != JOB_STORING) return true;
    return false;
}

/* Does a thread, a service or the store have something of it in hand? */
bool connector_working(const connector *c)
{
    list_each(l, &c->jobs) {
        const job *j = container_of(l, job, link);
        if (j->state == JOB_RUNNING || j->state == JOB_COMMITTING || deliver_under_way(j)) return true;
    }
    return false;
}

void connector_own(connector *c, int64_t epoch)
{
    log_line(LOG_INFO, "connector.owned", log_id("connectorId", id_slice(&c->connector_id)), log_id("name", c->name),
             log_int("epoch", epoch));
    c->epoch = epoch;
    c->holds = true;
    c->deliveries_fed = c->told_behind = false;
    c->delivery_seq = 0;
    c->highest_read = 0;
    c->writer_count = 0;
    metric_set(c->count.owned, 1);
    connector_reread(c);
    released_look(c);
}

bool job_is_orphan(const job *j) { return j->epoch != j->conn->epoch || j->replayed; }

bool job_may_begin(const job *j) { return !job_is_orphan(j) && !j->conn->leaving; }

bool job_drop(job *j)
{
    if (j->state == JOB_STORING) return false;
    if (j->state == JOB_RUNNING || j->state == JOB_COMMITTING) return false;
    if (!deliver_drop(j->conn->e->deliveries, j)) return false;
    flow_end(j);
    return true;
}

void connector_lose(connector *c)
{
    if (c->epoch == 0) return;
    log_line(LOG_INFO, "connector.given_up", log_id("connectorId", id_slice(&c->connector_id)), log_id("name", c->name),
             log_int("epoch", c->epoch), log_int("jobs", (int64_t)c->job_count));
    c->epoch = 0;                        /* from here on its jobs are orphans: none begins anything */
    c->holds = false;
    metric_set(c->count.owned, 0);
    list_each_safe(l, &c->jobs) (void)job_drop(container_of(l, job, link));
    engine_balance(c->e);
}

/* ---- what other nodes store ---------------------------------------------------------------- */

static struct heard *writer_add(connector *c)
{
    if (c->writer_count == c->writer_room) {
        c->writer_room = c->writer_room == 0 ? 4 : 2 * c->writer_room;
        c->writers = mem_realloc(c->writers, c->writer_room * sizeof *c->writers);
    }
    return &c->writers[c->writer_count++];
}

void connector_heard(connector *c, slice writer_name, int64_t base)
{
    enum { BATCH_END = 4095 };           /* `seq` is the batch's number times 4096 plus the place in it */
    uint64_t who = hash_bytes(writer_name);
    struct heard *h = NULL;

    if (c->epoch == 0) return;           /* who takes it reads everything */
    if (c->e->in != NULL) ingest_begin_behind(c->e->in, base + BATCH_END);
    for (size_t i = 0; i < c->writer_count; i++)
        if (c->writers[i].writer == who) h = &c->writers[i];
    if (h != NULL && h->base >= base) return;
    connector_missed(c, base);
    if (h == NULL || c->from_start) {
        c->from_start = true;
        if (h == NULL) h = writer_add(c);
    } else if (c->fed_seq > h->base + BATCH_END) {       /* what it stored since may lie between what was read */
        c->fed_seq = h->base + BATCH_END;
    }
    *h = (struct heard){ who, base };
    connector_feed(c);
}
