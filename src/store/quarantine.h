/* store/quarantine.h -- hl7_quarantine for people: looking at what could not be
 * stored as a message, and having the engine ingest it again. Within a transaction
 * for the tenant. */
#ifndef STORE_QUARANTINE_H
#define STORE_QUARANTINE_H

#include "store/rows.h"

typedef struct quarantined {
    slice   id, tenant_id, connector_id, connector_name;
    slice   reason, detail, peer;        /* peer: NULL pointer when not known */
    int64_t count, byte_count;
    bool    cut;                         /* more was received than is kept */
    slice   first_at, last_at;
    slice   released_at, message_id;     /* NULL pointer: not (yet) */
} quarantined;

void quarantine_json(buf *out, const quarantined *q);

typedef struct quarantine_filter {
    slice   connector, reason;           /* NULL pointer: all */
    bool    released;                    /* those that were released, too */
    slice   before;                      /* an id: what is older */
    int64_t limit;
} quarantine_filter;

must_check err quarantine_list(db *d, arena *mem, const quarantine_filter *f, quarantined **out, size_t *count,
                               err_info *why);
must_check err quarantine_get(db *d, arena *mem, slice id, quarantined *out, err_info *why);
must_check err quarantine_bytes(db *d, arena *mem, slice id, slice *out, err_info *why);

/* Marks it released, for the engine to ingest: released_at set and no message_id
 * is work that the engine also looks for when it starts. ERR_CONFLICT when it was
 * released already or is cut. Event: quarantine.released. */
must_check err quarantine_release(db *d, arena *mem, slice id, err_info *why);

#endif
