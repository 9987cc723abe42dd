/* store/quarantine_in.h -- keeps what could not be stored as a message (promise P5). */
#ifndef STORE_QUARANTINE_IN_H
#define STORE_QUARANTINE_IN_H

#include "crypt/digest.h"
#include "store/pg.h"

typedef struct quarantine_row {          /* borrowed until `done` */
    slice       tenant, connector_id;
    const char *reason;                  /* a word: "bad-framing", "reused-id", … */
    const char *detail;                  /* for a person; no content of a message */
    slice       bytes;                   /* as received; kept up to QUARANTINE_BYTES */
    slice       peer;
    int64_t     most_rows, most_bytes;   /* the connector's quota */
} quarantine_row;

#define QUARANTINE_BYTES ((size_t)16 << 20)

extern const pg_statement *const quarantine_statements[];

/* One row for each (connector, reason, digest) with a count, and an event. `kept` is
 * false when the quota is used up: then the row is not stored. ERR_STORE: the database refuses
 * it for good. ERR_STORE_LOST: it cannot now, or nobody knows: to be put again, a little later. */
void quarantine_put(pg *c, const quarantine_row *row,
                    void (*done)(void *arg, err e, bool kept, const err_info *why), void *arg);

/* result 1: tenant and id of the connector's rows that are released and not ingested yet, in the order of release. */
void quarantine_find_released(pg *c, slice tenant, slice connector_id, pg_done done, void *arg);

/* result 1: connector, bytes and time of release of a row that is released and not ingested yet, or none. */
void quarantine_read(pg *c, slice tenant, slice quarantine_id, pg_done done, void *arg);

/* It was refused again: it is not released any more, unless that was asked anew since `released_at`. */
void quarantine_put_back(pg *c, slice tenant, slice quarantine_id, slice released_at, pg_done done, void *arg);

/* Notes what a released row became. */
void quarantine_released(pg *c, slice tenant, slice quarantine_id, slice message_id, pg_done done, void *arg);

#endif
