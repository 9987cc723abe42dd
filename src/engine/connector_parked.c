/* engine/connector_parked.c -- what is stored here while the database is being read for the same connector.
 *
 * It may have to follow what the reading brings, and was committed too late to be in it, or not: so it waits
 * for the next one to end that began when it was here already, which need not bring it again. A reading that
 * meets it lets it enter in its place.
 *
 * Only few wait, and none while there is more in the database than one reading brings: they are not to take
 * the room of what comes before them. */
#include "engine/inside.h"

enum { PARKED_MAX = 256 };

static job *job_of(list *l) { return container_of(l, job, run_link); }

bool parked_put(connector *c, job *j)
{
    list *at = c->parked.prev;

    if (!c->feeding || !c->deliveries_fed || c->from_start) return false;
    if (c->far_behind || c->parked_count == PARKED_MAX || !connector_has_room(c)) return false;
    while (at != &c->parked && job_of(at)->seq > j->seq) at = at->prev;
    list_push_front(at, &j->run_link);   /* right behind that one */
    c->parked_count++;
    c->parked_bytes += j->held;
    j->state = JOB_PARKED;
    j->parked_in = c->readings;
    return true;
}

void parked_leave(job *j)
{
    list_remove(&j->run_link);
    j->conn->parked_count--;
    j->conn->parked_bytes -= j->held;
    j->state = JOB_STORING;
}

job *parked_take(connector *c, slice message_id)
{
    list_each(l, &c->parked) {
        job *j = job_of(l);
        if (!slice_eq(id_slice(&j->message_id), message_id)) continue;
        parked_leave(j);
        return j;
    }
    return NULL;
}

static void enter_until(connector *c, int64_t seq, uint64_t readings)
{
    list_each_safe(l, &c->parked) {
        job *j = job_of(l);
        if (j->seq > seq) return;
        if (j->parked_in >= readings) continue;
        parked_leave(j);
        if (!connector_sets_job_aside(c, j)) flow_enter(j);
    }
}

void parked_enter_until(connector *c, int64_t seq) { enter_until(c, seq, c->readings); }

void parked_enter_all(connector *c) { enter_until(c, INT64_MAX, UINT64_MAX); }

void parked_drop(connector *c)
{
    while (!list_empty(&c->parked)) {
        job_end(job_of(c->parked.next));
        c->dropped++;
    }
}
