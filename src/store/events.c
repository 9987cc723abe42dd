/* store/events.c -- rows of outbox_events for the command line. */
#include "store/events.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ulid.h"

err event_add(db *d, slice tenant, slice aggregate, int64_t seq, const char *entity_event, slice data, err_info *why)
{
    id event = id_new(ID_EVENT);
    char number[24];
    slice params[] = { id_slice(&event), tenant, slice_of(entity_event), aggregate,
                       data.len > 0 ? data : slice_lit("{}"), SLICE_NONE };

    (void)snprintf(number, sizeof number, "%lld", (long long)seq);
    if (seq > 0) params[5] = slice_of(number);
    return db_exec(d, "INSERT INTO outbox_events"
                   " (id, tenant_id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)"
                   " VALUES ($1, $2, interop_subject($2, $3), $3, interop_event($1, $3, $4, $5::jsonb), $4,"
                   "  COALESCE($6::integer, (SELECT COALESCE(MAX(aggregate_seq), 0) + 1 FROM outbox_events"
                   "                          WHERE aggregate_id = $4)), clock_timestamp())",
                   params, countof(params), NULL, why);
}

static err set_tenant(db *d, slice tenant, err_info *why)
{
    return db_exec(d, "SELECT set_config('app.current_tenant_id', $1, TRUE)", &tenant, 1, NULL, why);
}

err event_add_platform(db *d, slice aggregate, const char *entity_event, slice data, err_info *why)
{
    slice platform = slice_lit(EVENT_PLATFORM);
    char *before;
    pg_result r;
    err e = db_exec(d, "SELECT COALESCE(current_setting('app.current_tenant_id', TRUE), '')", NULL, 0, &r, why);

    if (e != ERR_OK) return e;
    before = mem_dup(pg_cell(&r, 0, 0));
    e = set_tenant(d, platform, why);
    if (e == ERR_OK) e = event_add(d, platform, aggregate, 0, entity_event, data, why);
    if (e == ERR_OK) e = set_tenant(d, slice_of(before), why);
    free(before);
    return e;
}
