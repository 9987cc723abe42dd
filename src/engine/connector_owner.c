/* engine/connector_owner.c -- a connector comes to this node, and goes from it.
 *
 * A job belongs to the lease under which it entered (job.epoch). When that is lost the job is an orphan and
 * dropped, the database has it; one that a thread or the store still holds does nothing more and is dropped
 * when it comes back. So is a job whose message was replayed or skipped meanwhile. */
#include "base/log.h"
#include "engine/inside.h"
#include "engine/stream.h"

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
    if (c->epoch == 0) c->e->owned++;
    c->epoch = epoch;
    c->holds = true;
    c->deliveries_fed = c->told_behind = false;
    c->delivery_seq = 0;
    c->deliveries_read = 0;
    aside_clear(&c->aside);
    c->release = (struct release){ 0 };
    streams_reset(c);
    c->highest_read = c->highest = 0;
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

void connector_met_before(connector *c, int64_t seq)
{
    if (c->epoch == 0) return;
    connector_missed_behind(c, seq - 1);
    c->deliveries_fed = false;
    if (seq <= c->delivery_seq) c->delivery_seq = seq - 1;
}

void connector_lose(connector *c)
{
    if (c->epoch == 0) return;
    log_line(LOG_INFO, "connector.given_up", log_id("connectorId", id_slice(&c->connector_id)), log_id("name", c->name),
             log_int("epoch", c->epoch), log_int("jobs", (int64_t)c->job_count));
    c->e->owned--;
    c->epoch = 0;                        /* from here on its jobs are orphans: none begins anything */
    c->holds = false;
    metric_set(c->count.owned, 0);
    list_each_safe(l, &c->jobs) (void)job_drop(container_of(l, job, link));
    engine_balance(c->e);
}

/* ---- what other nodes store ----------------------------------------------------------------
 *
 * A database connection of another node is a writer, and stores one batch after the other. Its newest one
 * that is known here is `base`: all of its earlier ones are committed, and are or will be read. A reading
 * sees what was committed when it began, and word of that may come after it. So the reading itself tells
 * what had been handed over (MSG_HANDED), and counts only if it was to begin where the first unknown batch
 * may begin: else it may hold a message whose sender had the acknowledgement of one that it passed over. */

enum { BATCH_END = 4095 };               /* `seq` is the batch's number times 4096 plus the place in it */

static struct heard *writer_find(connector *c, slice name)
{
    uint64_t who = hash_bytes(name);

    for (size_t i = 0; i < c->writer_count; i++)
        if (c->writers[i].writer == who) return &c->writers[i];
    return NULL;
}

static struct heard *writer_add(connector *c, slice name)
{
    struct heard *h;

    if (c->writer_count == c->writer_room) {
        c->writer_room = c->writer_room == 0 ? 4 : 2 * c->writer_room;
        c->writers = mem_realloc(c->writers, c->writer_room * sizeof *c->writers);
    }
    h = &c->writers[c->writer_count++];
    *h = (struct heard){ .writer = hash_bytes(name) };
    return h;
}

/* The end of what was known of it; of one that is new, nothing. */
static int64_t end_of(int64_t base) { return base == 0 ? 0 : base + BATCH_END; }

void connector_heard(connector *c, slice writer_name, int64_t base)
{
    struct heard *h = writer_find(c, writer_name);
    int64_t known = h == NULL ? 0 : h->base;

    if (c->epoch == 0 || known >= base) return;          /* who takes it reads everything */
    if (h == NULL) h = writer_add(c, writer_name);
    h->base = base;
    ingest_begin_behind(c->e->in, base + BATCH_END);
    connector_missed_behind(c, end_of(known));
}

void connector_heard_ask(connector *c)
{
    for (size_t i = 0; i < c->writer_count; i++) c->writers[i].asked_base = c->writers[i].base;
}

bool connector_heard_all(connector *c, slice handed)
{
    bool all = true;
    int64_t base;

    for (slice rest = handed; rest.len > 0;) {
        slice name = slice_cut(rest, ' ', &rest);
        struct heard *h = writer_find(c, name);
        int64_t asked = h == NULL ? 0 : h->asked_base;

        if (!slice_int(slice_cut(rest, ' ', &rest), &base) || base <= asked) continue;
        if (c->asked_seq <= end_of(asked)) {             /* it is among what was read */
            if (h == NULL) h = writer_add(c, name);
            if (h->base < base) h->base = base;
            ingest_begin_behind(c->e->in, base + BATCH_END);
        } else {
            all = false;
            connector_heard(c, name, base);
        }
    }
    return all;
}
