/* store/feed_statements.h -- shared by feed.c, feed_events.c and quarantine_in.c only. */
#ifndef STORE_FEED_STATEMENTS_H
#define STORE_FEED_STATEMENTS_H

#include "store/feed.h"

extern const pg_statement feed_set_tenant, feed_pending, feed_read_events, feed_set_published,
    feed_stream_events, feed_stream_known, feed_stream_first, feed_stream_newest, feed_tell_connector, feed_try_message, feed_replay_message;

/* A unit that begins by setting the tenant. */
pg_unit *feed_unit(pg *c, slice tenant);

/* One statement with one parameter, for the tenant; its result is the second. */
void feed_by_text(pg *c, slice tenant, const pg_statement *st, slice value, pg_done done, void *arg);

#endif
