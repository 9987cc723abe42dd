/* store/outcome.h -- writes what became of messages: transformed or failed, and
 * then what became of each delivery, with links and events, in group commits.
 *
 * The outcomes of one message go through one database connection, in order. Each can be
 * repeated after a lost connection without a second row or event. */
#ifndef STORE_OUTCOME_H
#define STORE_OUTCOME_H

#include "base/ulid.h"
#include "store/writer.h"

typedef struct outcome_delivery {        /* a delivery to make */
    id       delivery_id;
    slice    service_url;
    slice    rule_id;                    /* why it goes there; empty: the script said so */
    const int *needs;                    /* ordinals whose answers it refers to */
    int      need_count;
    int      entry_count;
    const int *resources;                /* entry_count of them: which of the script's; NULL: all, of an only delivery */
    int64_t  shape;                      /* a hash by which another run knows them again */
} outcome_delivery;

typedef struct outcome_event {           /* out:event of a script */
    id    event_id;
    slice type;
    slice data;                          /* JSON object */
} outcome_event;

typedef struct outcome_link {
    slice resource_type, resource_id;
    bool  created;                       /* else updated */
} outcome_link;

typedef enum outcome_kind { OUTCOME_TRANSFORMED, OUTCOME_DELIVERED } outcome_kind;

/* Slices and arrays are borrowed until `done`. */
typedef struct outcome_op {
    write_op     op;
    outcome_kind kind;
    slice        tenant, connector_id;
    id           message_id;
    int64_t      epoch;                  /* of the connector's lease, under which it was made */
    int          replay;                 /* hl7_messages.replay_count that it was made for */
    const char  *status;                 /* of the message, or of the delivery */
    int          attempts;               /* attempt_count to be stored */
    int64_t      next_attempt_us;        /* 0: none */
    slice        error;                  /* error_detail; NULL pointer: none */
    id           event_id;               /* set by outcome_put */

    /* OUTCOME_TRANSFORMED */
    int          attempts_before;        /* attempt_count that was read */
    slice        parsed;                 /* JSON; NULL pointer: none */
    slice        pack_digest;
    const outcome_delivery *deliveries;
    int          delivery_count;
    const outcome_event *events;
    int          event_count;

    /* OUTCOME_DELIVERED */
    id           delivery_id;
    int          http_status;            /* 0: none */
    const outcome_link *links;           /* of each entry of the delivery, in their order */
    int          link_count;
    bool         only;                   /* the message has no other delivery */

    /* ERR_OK: committed. ERR_STORE: the database refuses it for good. ERR_CONFLICT: the message
     * is no longer what was read (it was replayed, or another run has ended it), or the connector's lease
     * has gone (`lease_lost`): nothing was stored. */
    bool         lease_lost;
    void       (*done)(struct outcome_op *op, err e, const err_info *why);
    /* private */
    unsigned     sent;                   /* how often since it is known that nothing is kept: a repetition finds its own rows */
} outcome_op;

typedef struct outcome outcome;

outcome *outcome_open(uv_loop_t *loop, const char *url, unsigned connections);
void outcome_put(outcome *s, outcome_op *op);
size_t outcome_waiting(const outcome *s);
bool outcome_is_ready(const outcome *s, err_info *why);  /* as ingest_is_ready */

/* As ingest_close: `lost` for each that was not committed; it is done again after a restart. */
void outcome_close(outcome *s, void (*lost)(outcome_op *op), void (*done)(void *arg), void *arg);

#endif
