/* store/events.h -- the outbox event that tells of a change, written in the
 * transaction that makes it (promise P10).
 *
 * Subject and payload are built by the database's interop_subject and
 * interop_event, so that command line and engine write the same. */
#ifndef STORE_EVENTS_H
#define STORE_EVENTS_H

#include "store/db.h"

/* Whom events about routing rules and shared services belong to: they are no
 * tenant's. No tenant may have a name that begins with `_`. */
#define EVENT_PLATFORM "_platform"

/* Adds `entity_event` ("connector.activated") about `aggregate` (CONN_…), with
 * `data` (a JSON object without PHI; empty: {}). `seq` is the aggregate's own count,
 * drawn under its row lock; 0 for an aggregate that keeps none: then the next one.
 * Within a transaction for `tenant`. */
must_check err event_add(db *d, slice tenant, slice aggregate, int64_t seq, const char *entity_event,
                         slice data, err_info *why);

/* The same for what is no tenant's; within any transaction. */
must_check err event_add_platform(db *d, slice aggregate, const char *entity_event, slice data, err_info *why);

#endif
