/* engine/connector_aside.c -- what only waits leaves memory when others could go: the messages that stand behind one
 * that failed, and with too many of these, they too. The database has them; their keys are remembered, and when one
 * is free what there is of it is read from where it was left (promise P3). */
#include "base/clock.h"
#include "base/log.h"
#include "engine/inside.h"
#include "engine/reading.h"
#include "engine/stream.h"

static job *of_gathered(list *l) { return container_of(container_of(l, lane_pass, gathered), job, pass); }

static void set_aside(connector *c, const slice *keys, size_t count, int64_t seq, int64_t wake_us)
{
    if (!c->told_aside) log_line(LOG_INFO, "connector.keys_set_aside", log_id("connectorId", id_slice(&c->connector_id)));
    c->told_aside = true;
    aside_add(&c->aside, keys, count, seq, wake_us);
}

bool connector_sets_aside(connector *c, const slice *keys, size_t count, int64_t seq, int64_t next_us)
{
    bool later = !aside_is_empty(&c->aside) && !reading_is_soon(next_us) && c->failed >= stream_keeps(c);

    if (!later && !aside_has(&c->aside, keys, count)) return false;
    set_aside(c, keys, count, seq, next_us);
    return true;
}

bool connector_sets_job_aside(connector *c, job *j)
{
    if (!connector_sets_aside(c, j->keys, j->key_count, j->seq, 0)) return false;
    waiters_tell(c->e->waiters, &j->message_id, BECAME_HELD);
    job_end(j);
    engine_balance(c->e);
    return true;
}

/* Its deliveries were read back, but not yet entered their lanes: their streams read them again. */
static void leave_to_streams(connector *c, const job *j)
{
    for (int i = 0; i < j->again_count; i++) {
        stream *s = stream_of(c, j->made[i].service_url);
        if (!j->again[i].ended && (j->read_for == NULL || j->read_for == s || j->passed_over)) stream_missed(s, j->seq);
    }
}

/* None of them may be told of its turn when the others leave. */
static void leave(connector *c, list *gathered, bool failed)
{
    list_each(l, gathered) {
        job *j = of_gathered(l);
        j->set_aside = true;
        if (!j->redelivery) set_aside(c, j->keys, j->key_count, j->seq, failed ? j->next_attempt_us : 0);
    }
    for (list *l; (l = list_pop(gathered)) != NULL;) {
        job *j = of_gathered(l);
        if (j->redelivery) leave_to_streams(c, j);
        else if (!failed) waiters_tell(c->e->waiters, &j->message_id, BECAME_HELD);
        lanes_leave(&c->lanes, &j->pass);
        job_end(j);
    }
}

static void leave_behind_failed(connector *c)
{
    list gathered;

    list_init(&gathered);
    list_each(l, &c->jobs) {
        const job *j = container_of(l, job, link);
        if (j->state == JOB_RETRYING) lanes_gather(&j->pass, &gathered);
    }
    leave(c, &gathered, false);
}

/* Those that are not tried again soon, but for as many as may stay. Nobody stands behind them by now. */
static void leave_failed(connector *c, size_t stay)
{
    list gathered;

    list_init(&gathered);
    list_each(l, &c->jobs) {
        job *j = container_of(l, job, link);
        if (j->state != JOB_RETRYING || j->redelivery || reading_is_soon(j->next_attempt_us)) continue;
        if (stay > 0) stay--;
        else list_push(&gathered, &j->pass.gathered);
    }
    leave(c, &gathered, true);
}

static void make_room(connector *c)
{
    leave_behind_failed(c);
    streams_make_room(c, false, stream_keeps(c));
    if (reading_is_roomy(c)) return;
    leave_failed(c, stream_keeps(c));
    streams_make_room(c, true, stream_keeps(c));
    if (connector_has_room(c)) return;
    leave_failed(c, 0);
    streams_make_room(c, true, 1);
}

void connector_make_room(connector *c)
{
    enum { PAUSE_NS = 100000000 };
    uint64_t now = clock_ns();

    if (c->made_room_ns != 0 && now - c->made_room_ns < PAUSE_NS) return;
    c->made_room_ns = now;
    c->room_due = true;
    engine_soon(c);
}

void connector_soon(connector *c)
{
    bool room_due = c->room_due;

    c->soon = c->room_due = false;
    if (c->epoch == 0 || c->closing || c->e->closing) return;
    if (room_due) make_room(c);
    streams_end(c);
    connector_feed(c);
}

/* ---- back ------------------------------------------------------------------------------ */

static bool someone_is_inside(void *arg, slice key)
{
    const connector *c = arg;
    return lanes_has(&c->lanes, 0, key);
}

void connector_release(connector *c)
{
    int64_t from;

    if (aside_is_empty(&c->aside) || c->epoch == 0 || !release_may_begin(&c->release)) return;
    from = aside_release(&c->aside, someone_is_inside, c);
    if (from == INT64_MAX) return;
    c->released = true;
    release_began(&c->release, c->highest);
    connector_read_from(c, from);
}

void connector_freed(connector *c, const slice *keys, size_t count)
{
    if (aside_has(&c->aside, keys, count)) connector_release(c);
}

void connector_release_due(connector *c)
{
    if (c->release.due || (c->aside.wake_us != 0 && clock_real_us() >= c->aside.wake_us)) connector_release(c);
    if (!c->told_aside || !aside_is_empty(&c->aside) || c->release.under_way) return;
    c->told_aside = false;
    log_line(LOG_INFO, "connector.keys_free", log_id("connectorId", id_slice(&c->connector_id)));
}

void connector_forget_aside(connector *c)
{
    (void)aside_release(&c->aside, someone_is_inside, c);
    c->release = (struct release){ 0 };
}
