/* engine/old_pack.c -- the pack of then: a message whose deliveries are open is transformed again
 * by the pack that made them, which need not be the connector's pack of today.
 *
 * Such packs are read one after the other for a connector, and each is given to all jobs that
 * wait for it; the last one is kept. A job that waits keeps its place in its lanes. */
#include "base/log.h"
#include "engine/inside.h"

static void give(job *j, program *p, const err_info *why)
{
    j->pack_pending = false;
    j->conn->old_waiting--;
    if (p != NULL) {
        j->run_program = program_keep(p);
    } else {
        j->run_why = *why;
        j->run_error = ERR_SCRIPT;
    }
    flow_repacked(j);
}

/* To everyone that waits for it; NULL: it cannot be had. */
static void give_all(connector *c, slice digest, program *p, const err_info *why)
{
    c->old_asked[0] = '\0';
    list_each_safe(l, &c->jobs) {
        job *j = container_of(l, job, link);
        if (j->pack_pending && slice_is(digest, j->run_digest)) give(j, p, why);
    }
    old_pack_ask(c);
}

static void on_open(connector *c, unsigned generation, slice digest, program *made, const err_info *why)
{
    (void)generation;
    program_drop(c->old);
    c->old = made;
    give_all(c, digest, made, why);
}

static void on_read(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    static const err_info gone = { ERR_NOT_FOUND, "the pack of then is gone" };
    connector *c = arg;

    (void)count; (void)sqlstate;
    if (e == ERR_CLOSED || c->closing) return;
    if (e != ERR_OK) {                   /* the next tick asks again */
        log_line(LOG_WARN, "connector.pack_not_read", log_id("connectorId", id_slice(&c->connector_id)), log_why(why));
        c->old_asked[0] = '\0';
    } else if (pg_rows(&results[1]) == 0) {
        char digest[sizeof c->old_asked];
        memcpy(digest, c->old_asked, sizeof digest);
        give_all(c, slice_of(digest), NULL, &gone);
    } else {
        connector_open_pack(c, pg_cell(&results[1], 0, 0), slice_of(c->old_asked), 0, on_open);
    }
}

void old_pack_ask(connector *c)
{
    if (c->old_asked[0] != '\0' || c->old_waiting == 0 || c->closing) return;
    list_each(l, &c->jobs) {
        const job *j = container_of(l, job, link);
        if (!j->pack_pending) continue;
        memcpy(c->old_asked, j->run_digest, sizeof c->old_asked);
        feed_pack(c->e->feed, c->tenant, slice_of(c->old_asked), on_read, c);
        return;
    }
}

void old_pack_wait(job *j, slice digest)
{
    connector *c = j->conn;

    if (c->old != NULL && slice_is(digest, pack_digest(c->old->pack))) {
        j->run_program = program_keep(c->old);
        return;
    }
    j->pack_pending = true;
    c->old_waiting++;
    (void)slice_cstr(digest, j->run_digest, sizeof j->run_digest);
    old_pack_ask(c);
}
