/* engine/released.c -- ingests what was released from quarantine (promise P5).
 *
 * A release is a note in the database. The node that runs the connector ingests the bytes when it hears of
 * it; and it looks for such notes when it comes to run the connector and when one may have been missed.
 * In the end the row names the message that it became, or is in quarantine again. A release that is cut
 * short stays noted: who runs the connector next does it anew, and what was stored of it is a repeat. */
#include <stdlib.h>

#include "base/log.h"
#include "engine/inside.h"

typedef struct releasing {
    list    link;                        /* in e->releasing */
    engine *e;
    arena   mem;
    slice   tenant, quarantine_id, released_at;
} releasing;

static void end(releasing *r)
{
    list_remove(&r->link);
    arena_free(&r->mem);
    free(r);
}

static void on_noted(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    releasing *r = arg;

    (void)results; (void)count; (void)sqlstate;
    if (e != ERR_OK && e != ERR_CLOSED)
        log_line(LOG_WARN, "quarantine.release_not_noted", log_id("quarantineId", r->quarantine_id), log_why(why));
    end(r);
}

static void on_ingested(void *arg, const id *message_id, const err_info *why)
{
    releasing *r = arg;

    if (message_id != NULL) {
        quarantine_released(r->e->feed, r->tenant, r->quarantine_id, id_slice(message_id), on_noted, r);
    } else if (why->code == ERR_CLOSED) {
        end(r);
    } else {
        log_line(LOG_WARN, "quarantine.refused_again", log_id("quarantineId", r->quarantine_id), log_why(why));
        quarantine_put_back(r->e->feed, r->tenant, r->quarantine_id, r->released_at, on_noted, r);
    }
}

static void on_row(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    releasing *r = arg;
    connector *c = NULL;

    (void)count; (void)sqlstate;
    if (e == ERR_OK && pg_rows(&results[1]) == 1) c = connector_find(r->e, pg_cell(&results[1], 0, 0));
    if (e != ERR_OK && e != ERR_CLOSED)
        log_line(LOG_WARN, "quarantine.not_read", log_id("quarantineId", r->quarantine_id), log_why(why));
    if (c == NULL || c->epoch == 0 || c->closing || r->e->closing) {     /* who runs it takes it */
        end(r);
        return;
    }
    r->released_at = arena_dup(&r->mem, pg_cell(&results[1], 0, 2));
    intake_release(c, feed_bytes(&r->mem, pg_cell(&results[1], 0, 1)), on_ingested, r);
}

void released_take(engine *e, slice tenant, slice quarantine_id)
{
    releasing *r;

    list_each(l, &e->releasing)
        if (slice_eq(container_of(l, releasing, link)->quarantine_id, quarantine_id)) return;
    r = mem_zalloc(sizeof *r);
    r->e = e;
    r->tenant = arena_dup(&r->mem, tenant);
    r->quarantine_id = arena_dup(&r->mem, quarantine_id);
    list_push(&e->releasing, &r->link);
    quarantine_read(e->feed, r->tenant, r->quarantine_id, on_row, r);
}

static void on_found(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    engine *eng = arg;

    (void)count; (void)sqlstate;
    if (e == ERR_CLOSED || eng->closing) return;
    if (e != ERR_OK) {
        log_line(LOG_WARN, "quarantine.not_looked_at", log_why(why), log_word("then", "looked at again"));
        return;
    }
    for (int i = 0; i < pg_rows(&results[1]); i++)
        released_take(eng, pg_cell(&results[1], i, 0), pg_cell(&results[1], i, 1));
}

void released_look(connector *c)
{
    if (c->epoch != 0) quarantine_find_released(c->e->feed, c->tenant, id_slice(&c->connector_id), on_found, c->e);
}
