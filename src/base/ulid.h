/* base/ulid.h -- prefixed ULIDs, our identifiers (data model, section 1).
 *
 * 26 characters of Crockford's base 32: 48 bits of milliseconds, 80 random
 * bits. Within this process each is greater than the one before, also within
 * a millisecond and when the wall clock steps back. Any thread. */
#ifndef BASE_ULID_H
#define BASE_ULID_H

#include "base/base.h"

#define ULID_LEN 26
#define ID_MAX (5 + ULID_LEN)            /* the longest prefix has 5 characters */

typedef struct id { char text[ID_MAX + 1]; } id;      /* NUL-terminated */

#define ID_CONNECTOR "CONN_"
#define ID_MESSAGE   "MSG_"
#define ID_JOB       "JOB_"
#define ID_RULE      "RR_"
#define ID_LINK      "LNK_"
#define ID_DELIVERY  "DLV_"
#define ID_EVENT     "EVT_"
#define ID_QUARANTINE "QTN_"
#define ID_SERVICE   "SVC_"
#define ID_AUDIT     "AUD_"
#define ID_NODE      "NODE_"

/* A new identifier with `prefix` in front. */
id id_new(const char *prefix);

static inline slice id_slice(const id *i) { return slice_of(i->text); }

/* Copies `text` if it is `prefix` and 26 characters of the alphabet; else false. */
must_check bool id_parse(slice text, const char *prefix, id *out);

#endif
