/* store/messages.h -- hl7_messages for people: looking at them, and replaying one.
 * Within a transaction for the tenant. */
#ifndef STORE_MESSAGES_H
#define STORE_MESSAGES_H

#include "store/rows.h"

typedef struct message_row {
    slice   id, tenant_id, connector_id, connector_name, direction, message_type;
    slice   control_id;                  /* as stored */
    slice   sent_control_id;             /* as sent, where that differs; NULL pointer: it does not */
    slice   sending_app, sending_facility, receiving_app;        /* NULL pointer: absent */
    slice   status, error_detail, pack_digest;
    int64_t attempt_count, replay_count;
    slice   received_at, processed_at, next_attempt_at, created_at;
    slice   raw_payload, parsed_data;    /* NULL pointer unless asked for */
} message_row;

/* As the data model's interface Hl7Message, with what was added. `begin` and the
 * caller's row_end leave room for more members. */
void message_json_begin(buf *out, const message_row *m);

/* What to list; a NULL pointer takes all. */
typedef struct message_filter {
    slice   connector;                   /* name or id */
    slice   status;
    slice   type;                        /* "ADT^A01", "ADT" for every event of it */
    slice   control_id;                  /* as sent */
    slice   before;                      /* a message's id: what is older, for the next page */
    int64_t limit;
    bool    payload;                     /* raw_payload and parsed_data too */
} message_filter;

/* Newest first. */
must_check err messages_list(db *d, arena *mem, const message_filter *f, message_row **out, size_t *count,
                             err_info *why);

/* One, with its payload; ERR_NOT_FOUND. */
must_check err messages_get(db *d, arena *mem, slice message_id, message_row *out, err_info *why);

/* Its exact bytes. */
must_check err messages_bytes(db *d, arena *mem, slice message_id, slice *out, err_info *why);

/* What became of it: JSON arrays of its deliveries (each with its links), of the links that
 * no delivery made, and of its events. */
typedef struct message_fate { slice deliveries, links, events; } message_fate;
must_check err messages_fate(db *d, arena *mem, slice message_id, message_fate *out, err_info *why);

/* By the pack that the connector has now, or by the one that transformed it then. */
typedef enum message_by { MESSAGE_AS_NOW, MESSAGE_AS_THEN } message_by;

/* Puts it at its lane's tail, to be transformed and delivered again. ERR_NOT_FOUND;
 * ERR_CONFLICT while it is in work, unless `force` where a later message of one of its keys
 * was processed, and for the pack of then where there was none. Event: message.replayed. */
must_check err messages_replay(db *d, slice tenant, slice message_id, message_by by, bool force, err_info *why);

/* What it waits for is not waited for any longer: a failed message or delivery is tried at once, and so is a target that
 * was not available. ERR_NOT_FOUND; ERR_CONFLICT when it has ended. Event: message.released. */
must_check err messages_release(db *d, slice tenant, slice message_id, err_info *why);

/* Ends an open message as dead-lettered, so that the next of its keys go; what was delivered of it
 * stays, what was not is given up. It can be replayed. ERR_NOT_FOUND; ERR_CONFLICT when it has ended.
 * Event: message.dead_lettered. */
must_check err messages_skip(db *d, slice tenant, slice message_id, err_info *why);

#endif
