/* store/ingest.h -- stores messages that arrived: once each, in order, with their
 * outbox event, many connections and tenants in one transaction (promises P1, P2, P10).
 *
 * Frames of one connection of a sender go through one database connection, one batch after the
 * other, so that their `seq` are in their order. Those of a connector go through several:
 * what is stored at the same time may become visible in another order than that of
 * `seq`, but never before what was answered earlier. See ingest_floor. */
#ifndef STORE_INGEST_H
#define STORE_INGEST_H

#include "base/ulid.h"
#include "crypt/digest.h"
#include "store/writer.h"

typedef enum ingest_outcome {
    INGEST_STORED,                       /* a new row */
    INGEST_REPEAT,                       /* the same content was stored before: see `found_…` */
    INGEST_REUSED,                       /* the id stands for other content, and may not be reused */
    INGEST_REFUSED                       /* the database refuses the row; `why` says why */
} ingest_outcome;

/* A message to store. Slices are borrowed until `done`. */
typedef struct ingest_op {
    write_op op;
    id       message_id;
    slice    tenant, connector_id;
    slice    type, control_id;
    slice    sending_app, sending_facility, receiving_app;       /* NULL pointer: absent */
    slice    text;                       /* UTF-8 */
    slice    bytes;                      /* exact, where `text` is only their decoding; else NULL pointer */
    sha256   hash;
    const slice *keys;
    size_t   key_count;
    int64_t  received_us;
    uint64_t connection;                 /* frames of one connection keep their order */
    bool     accept_reused;

    /* what became of it */
    ingest_outcome outcome;
    int64_t  seq;
    bool     elsewhere;                  /* INGEST_STORED: another node runs the connector, and was told */
    id       found_id;                   /* INGEST_REPEAT, INGEST_REUSED */
    char     found_status[16];           /* INGEST_REPEAT: processing_status */
    char     sqlstate[6];                /* INGEST_REFUSED */
    err_info why;
    void   (*done)(struct ingest_op *op);
    /* private */
    int      place;                      /* of arrival in its batch */
    uint64_t sender;                     /* hash of connector and connection: which database connection is its way */
    unsigned change;                     /* of the number of connections in use, before it was put */
    bool     inserted, sent;
    unsigned suffix;                     /* of a reused id: ~2, ~3, …; 0: none */
} ingest_op;

typedef struct ingest ingest;

/* A writer of another node has stored messages of a connector that this node runs; `seq` is the first
 * of its newest batch. Called before `done` of what was stored later. */
typedef void (*ingest_heard)(void *arg, slice connector_id, slice writer_name, int64_t seq);

ingest *ingest_open(uv_loop_t *loop, const char *url, unsigned connections, ingest_heard heard, void *arg);

/* The node for which it stores, from now on. */
void ingest_as(ingest *s, const id *node_id);

/* It is one of so many nodes: the connections are meant for all of them together, each has one at least.
 * Fewer of them with larger batches cost the database less. */
void ingest_among(ingest *s, unsigned nodes);

void ingest_put(ingest *s, ingest_op *op);
size_t ingest_waiting(const ingest *s);

/* Every `seq` up to this one is taken: what is sent to be stored from now on gets a higher one. */
void ingest_begin_behind(ingest *s, int64_t seq);

/* No message that is under way will have a `seq` up to this one, nor has the one that is being handed to
 * `done`: all up to here were handed over, but for those that other processes store. */
int64_t ingest_floor(const ingest *s);

/* Every connection stands and answers, and what is put is stored; else `why` (may be NULL) says what is not so. */
bool ingest_is_ready(const ingest *s, err_info *why);

/* Gives up what was not committed: those operations get no answer (`lost` is called
 * for each), and whoever sent them sends again. Then `done`. */
void ingest_close(ingest *s, void (*lost)(ingest_op *op), void (*done)(void *arg), void *arg);

#endif
