/* store/feed.h -- what the engine reads back: work that is open after a restart, a
 * retry or an overflow, the configuration, and events to publish.
 *
 * Each call is one unit on the connection; `done` gets its results, the first of
 * which (0) belongs to setting the tenant. Columns are named by the enums. */
#ifndef STORE_FEED_H
#define STORE_FEED_H

#include "store/pg.h"

/* The statements that the connection must be opened with. */
extern const pg_statement *const feed_statements[];

/* ---- work ---------------------------------------------------------------------- */

enum { MSG_ID, MSG_SEQ, MSG_TEXT, MSG_BYTES, MSG_KEYS, MSG_ATTEMPTS, MSG_NEXT_US, MSG_REPLAY, MSG_RECEIVED_US,
       MSG_TYPE, MSG_STATUS, MSG_CONNECTOR, MSG_PACK, MSG_COLUMNS };

/* A part of what is open of a connector, in order of `seq`: from behind `after_seq` at most `rows` messages, among the
 * next `scan` that there are; less than all of `scan` where some are passed over. `not_keys`: those whose keys are
 * all of these are ('' stands for no key). Each list is copied.
 *
 * MSG_SPAN_END: the last `seq` that was looked at, MSG_SPAN_ROWS: how many were; NULL: just those that came. They
 * are told also where no message came: in one row, in which MSG_ID is NULL. */
typedef struct feed_span {
    slice        tenant, connector_id;
    int64_t      after_seq;
    int          rows, scan;
    const slice *not_keys;
    size_t       not_key_count;
} feed_span;

/* Messages that are not transformed yet, but for those of `held` (ids). Each row has the handovers that had been
 * made by then: "WRITER SEQ WRITER SEQ…". */
enum { MSG_SPAN_END = MSG_COLUMNS, MSG_SPAN_ROWS, MSG_HANDED };
void feed_messages(pg *c, const feed_span *span, const slice *held, size_t held_count, pg_done done, void *arg);

/* One message, whatever its state. */
void feed_message(pg *c, slice tenant, slice message_id, pg_done done, void *arg);

/* DLV_BLOCKED: it needs the answer of another that is open. */
enum { DLV_ID = MSG_SPAN_ROWS + 1, DLV_ORDINAL, DLV_URL, DLV_ATTEMPTS, DLV_NEXT_US, DLV_STATUS, DLV_RESOURCES, DLV_SHAPE,
       DLV_PACK, DLV_BLOCKED };

/* Transformed messages that have a delivery open to `url`; SLICE_NONE: to any but `not_urls`. All deliveries of each,
 * the ended ones too, a row each, by ordinal. */
void feed_deliveries(pg *c, const feed_span *span, slice url, const slice *not_urls, size_t not_url_count, pg_done done, void *arg);

enum { STATUS_ID, STATUS_STATUS, STATUS_MAPPED };

/* result 1: what has become of these messages. */
void feed_statuses(pg *c, slice tenant, const slice *message_ids, size_t count, pg_done done, void *arg);

enum { LINK_ORDINAL, LINK_ENTRY, LINK_TYPE, LINK_RESOURCE };

/* Lets a failed message be tried at once, where it stands; makes a dead-lettered one pending again, at the tail of its
 * lane, its open deliveries superseded. Tells every engine (channel interop_work). */
void feed_try_again(pg *c, slice tenant, slice message_id, pg_done done, void *arg);

/* What the ended deliveries of a message were answered. */
void feed_links(pg *c, slice tenant, slice message_id, pg_done done, void *arg);

/* The bytes of a bytea cell in PostgreSQL's hex form, in `mem`; SLICE_NONE for NULL. */
slice feed_bytes(arena *mem, slice cell);

/* The elements of a text[] cell, at most `room`; returns how many. In `mem`. */
size_t feed_array(arena *mem, slice cell, slice *out, size_t room);

/* The elements of an integer[] cell without NULLs, in `mem`; NULL for NULL. */
int *feed_ints(arena *mem, slice cell, int *count);

/* ---- configuration --------------------------------------------------------------- */

/* result 0: tenant, id of every connector of every tenant. */
void feed_connector_ids(pg *c, pg_done done, void *arg);

enum { CONN_TENANT, CONN_ID, CONN_NAME, CONN_PROTOCOL, CONN_DIRECTION, CONN_HOST, CONN_PORT, CONN_TLS,
       CONN_AUTH_MODE, CONN_TYPES, CONN_STATUS, CONN_VERSION, CONN_PACK, CONN_SETTINGS };

/* One tenant's connectors; with an id just that one. */
void feed_connectors(pg *c, slice tenant, slice id_or_none, pg_done done, void *arg);

enum { SVC_ID, SVC_NAME, SVC_URL, SVC_TRANSACTIONS, SVC_CONCURRENCY, SVC_CA };
enum { RULE_ID, RULE_TYPE, RULE_CATEGORY, RULE_PROFILE, RULE_URL, RULE_PRIORITY };

/* result 1: the services that the tenant reaches; result 2: the active rules. */
void feed_routes(pg *c, slice tenant, pg_done done, void *arg);

/* result 1: the archive of a pack, no row when there is none. */
void feed_pack(pg *c, slice tenant, slice digest, pg_done done, void *arg);

enum { SERVER_FSYNC, SERVER_PAGES, SERVER_STANDBYS, SERVER_ROLE_UNSAFE, SERVER_LOCKED, SERVER_SEQ, SERVER_GRANTED };

/* result 0: the settings fsync, full_page_writes and synchronous_standby_names; whether this role is a
 * superuser or bypasses row-level security; whether the lock is held that nodes share, and that an engine
 * of a release without nodes has alone; a `seq` for what comes next; whether the role has the rights that
 * this release needs. */
void feed_server(pg *c, pg_done done, void *arg);

/* result 0: the setting synchronous_standby_names. */
void feed_standbys(pg *c, pg_done done, void *arg);

/* ---- events ---------------------------------------------------------------------- */

enum { EVENT_TENANT, EVENT_ID, EVENT_SUBJECT, EVENT_PAYLOAD, EVENT_AGGREGATE, EVENT_SEQ };

/* result 0: tenant and id of events of these slices that may be published, oldest first. */
void feed_pending_events(pg *c, int most, const int *slices, int count, pg_done done, void *arg);

/* result 1: these events of one tenant. */
void feed_events(pg *c, slice tenant, const slice *ids, size_t count, pg_done done, void *arg);

/* Marks events of any tenants as published. */
void feed_published(pg *c, const slice *ids, size_t count, pg_done done, void *arg);

/* result 1: the tenant's events behind the event `after` (FEED_STREAM_START: from the first;
 * empty: the newest alone, so that one can begin behind it), in commit-safe order; columns as EVENT_…. */
#define FEED_STREAM_START "0"
void feed_stream(pg *c, slice tenant, slice after, int most, pg_done done, void *arg);

/* result 1: a row when the tenant has this event. */
void feed_stream_has(pg *c, slice tenant, slice event_id, pg_done done, void *arg);

/* Raises an event about a connector: its own event_seq, in its own transaction. */
void feed_tell(pg *c, slice tenant, slice connector_id, const char *event, slice data, pg_done done, void *arg);

#endif
