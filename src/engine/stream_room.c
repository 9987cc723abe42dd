/* engine/stream_room.c -- deliveries that only wait leave memory: behind one that failed, behind one whose answer
 * they need and that left, and those for a target that does not take them. */
#include "base/failpoint.h"
#include "engine/reading.h"
#include "engine/stream.h"

static delivery *of_gathered(list *l) { return container_of(container_of(l, lane_pass, gathered), delivery, pass); }

static void gather(delivery *d, list *gathered)
{
    if (list_empty(&d->pass.gathered)) list_push(gathered, &d->pass.gathered);
}

/* Does it stand in its lanes, and nobody has it in hand? */
static bool waits(const delivery *d)
{
    return d->pass.inside && (d->state == DELIVERY_LANE || d->state == DELIVERY_NEEDS || d->state == DELIVERY_QUEUED ||
                              d->state == DELIVERY_RETRYING);
}

/* ---- which -------------------------------------------------------------------------------- */

typedef struct shed {                    /* what leaves, from which connector */
    connector *c;
    bool       failed;
    size_t     may_stay;                 /* of those that failed and are not due */
    list       gathered;
} shed;

/* What needs its answer has to wait as long as it does. */
static void gather_dependents(shed *all, const delivery *d)
{
    job *j = d->j;

    for (int i = 0; i < j->plan.count; i++) {
        delivery *other = &j->deliveries[i];
        for (int k = 0; k < other->plan->need_count; k++)
            if (other->plan->needs[k] == d->ordinal && waits(other)) gather(other, &all->gathered);
    }
}

/* Does it need the answer of one that will not come soon? */
static bool needs_one_stuck(const delivery *d)
{
    for (int i = 0; i < d->plan->need_count; i++) {
        const delivery *other = &d->j->deliveries[d->plan->needs[i]];
        if (other->state == DELIVERY_ASIDE || (other->of->stuck && waits(other))) return true;
    }
    return false;
}

static void gather_of(shed *all, delivery *d)
{
    if (!waits(d)) return;
    if (d->of->stuck) {                  /* the target tries a few of them, and goes on with these */
        if (d->state == DELIVERY_QUEUED && d->of->may_stay > 0) d->of->may_stay--;
        else gather(d, &all->gathered);
    } else if (needs_one_stuck(d)) {
        gather(d, &all->gathered);
    } else if (d->state == DELIVERY_RETRYING && all->failed && !reading_is_soon(d->next_attempt_us)) {
        if (all->may_stay > 0) all->may_stay--;
        else gather(d, &all->gathered);
    }
    if (d->state == DELIVERY_RETRYING || d->state == DELIVERY_NEEDS) lanes_gather(&d->pass, &all->gathered);
}

static void gather_all(shed *all)
{
    list_each(l, &all->c->jobs) {
        job *j = container_of(l, job, link);
        for (int i = 0; j->entered && i < j->plan.count; i++)
            if (j->deliveries[i].of != NULL) gather_of(all, &j->deliveries[i]);
    }
    list_each(l, &all->gathered) {       /* it grows */
        const delivery *d = of_gathered(l);
        lanes_gather(&d->pass, &all->gathered);
        gather_dependents(all, d);
    }
}

/* ---- out ------------------------------------------------------------------------------------- */

/* Where it waits from now on. Of a target that is stuck all are read; else it is a matter of their keys. */
static void note(const shed *all, const delivery *d)
{
    const job *j = d->j;

    stream_tell(d->of, true);
    if (d->of->stuck) { stream_missed(d->of, j->seq); return; }
    aside_add(&d->of->aside, j->keys, j->key_count, j->seq, d->state == DELIVERY_RETRYING ? d->next_attempt_us : 0);
    if (d->state == DELIVERY_LANE) waiters_tell(all->c->e->waiters, &j->message_id, BECAME_HELD);
}

static void leave(shed *all)
{
    list jobs;

    list_init(&jobs);
    list_each_safe(l, &all->gathered) {
        delivery *d = of_gathered(l);
        if (!waits(d)) { lanes_ungather(&d->pass); continue; }      /* its end is being committed */
        note(all, d);
        deliver_leave(d);
        if (list_empty(&d->j->run_link)) list_push(&jobs, &d->j->run_link);
    }
    if (!list_empty(&jobs)) failpoint("stream.left");
    for (list *l; (l = list_pop(&all->gathered)) != NULL;) deliver_leave_lane(of_gathered(l));
    for (list *l; (l = list_pop(&jobs)) != NULL;) {
        job *j = container_of(l, job, run_link);
        if (j->open_deliveries == 0) flow_left(j);
    }
}

void streams_make_room(connector *c, bool failed, size_t stay)
{
    shed all = { .c = c, .failed = failed, .may_stay = stay };

    list_init(&all.gathered);
    list_each(l, &c->streams) {
        stream *s = container_of(l, stream, link);
        s->stuck = deliver_is_stuck(c->e->deliveries, slice_of(s->url));
        s->may_stay = stay;
        if (s->stuck) stream_unpark(s);
    }
    gather_all(&all);
    leave(&all);
}
