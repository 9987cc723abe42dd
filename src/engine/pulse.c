/* engine/pulse.c -- asks the database every few seconds what may change while its connections stand:
 * whether a failover can lose what was acknowledged. It asks on the connection that listens for changes,
 * which has nothing else to say and would not notice that nobody is there any more. */
#include "base/log.h"
#include "engine/inside.h"

enum { EVERY = 2 };                      /* ticks */

void pulse_says(engine *e, bool failover_safe)
{
    bool changed = e->joined && failover_safe != e->failover_safe;

    e->failover_safe = failover_safe;
    if (changed && failover_safe)
        log_line(LOG_INFO, "store.synchronous_standby", log_word("means", "what is acknowledged survives a failover of PostgreSQL"));
    else if (changed)
        log_line(LOG_WARN, "store.no_synchronous_standby", log_word("means", "a failover of PostgreSQL may lose acknowledged messages"));
}

static void on_standbys(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    engine *eng = arg;

    (void)count; (void)sqlstate; (void)why;
    if (e == ERR_CLOSED || eng->closing) return;
    eng->pulse_asked = false;
    if (e == ERR_OK) pulse_says(eng, pg_cell(&results[0], 0, 0).len > 0);
}

void pulse_tick(engine *e)
{
    if (e->ears == NULL || !pg_is_ready(e->ears) || e->pulse_asked || e->closing || ++e->pulse_ticks % EVERY != 0) return;
    e->pulse_asked = true;
    feed_standbys(e->ears, on_standbys, e);
}
