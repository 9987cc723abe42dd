/* store/lanes.h -- where messages wait, for people: a row for each ordering key of a connector, and
 * for each (key, service), in which something is open. Within a transaction for the tenant. */
#ifndef STORE_LANES_H
#define STORE_LANES_H

#include "store/rows.h"

typedef struct lane_row {
    slice   connector_name;
    slice   stage;                       /* transform, deliver */
    slice   service_url;                 /* of a delivery; else a NULL pointer */
    slice   key;                         /* empty: messages without a key, all in one lane */
    slice   message_id;                  /* the head, for which the others wait */
    slice   status, error_detail;        /* of the head's message or delivery */
    int64_t attempt_count;
    int64_t waiting;                     /* behind the head */
    slice   since, next_attempt_at;      /* the head's */
} lane_row;

/* Those that wait longest come first. `connector`: a name or an id, a NULL pointer for all;
 * `held`: only where the head has failed. */
must_check err lanes_list(db *d, arena *mem, slice connector, bool held, int64_t limit, lane_row **out, size_t *count,
                          err_info *why);

#endif
