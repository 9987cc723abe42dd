/* hl7/head.h -- what the engine needs to know of a message before it is stored:
 * MSH's fields and the ordering keys. */
#ifndef HL7_HEAD_H
#define HL7_HEAD_H

#include "hl7/parse.h"

/* Slices point into the message, as sent (escapes kept); empty when absent. */
typedef struct hl7_head {
    hl7_delims delims;
    slice sending_app, sending_facility;         /* MSH-3, MSH-4: whole fields */
    slice receiving_app, receiving_facility;     /* MSH-5, MSH-6 */
    slice time;                                  /* MSH-7 */
    slice security;                              /* MSH-8 */
    slice type, event, structure;                /* MSH-9.1, 9.2, 9.3 */
    slice control_id;                            /* MSH-10 */
    slice processing_id;                         /* MSH-11 */
    slice version;                               /* MSH-12.1 */
    slice accept_ack, application_ack;           /* MSH-15, MSH-16 */
    slice charset;                               /* MSH-18, whole: as hl7_decode wants it */
} hl7_head;

/* Reads MSH of a parsed message. */
void hl7_head_read(const hl7_msg *m, hl7_head *out);

/* Reads as much of an MSH as can be found at the front of bytes that need not
 * be a message, so that a negative acknowledgement can name what it answers.
 * False when not even MSH and a field separator are there. */
must_check bool hl7_head_guess(slice bytes, hl7_head *out);

/* "ADT^A01" (also from "ADT^A01^ADT_A01"), "ACK" without an event; in `mem`. */
slice hl7_head_type(arena *mem, const hl7_head *h);

/* True when `type` ("ADT^A01") is matched by `pattern`: "*", "ADT", "ADT^*", "ADT^A01". */
bool hl7_type_matches(slice pattern, slice type);

#define HL7_KEYS_MAX 16

/* The ordering keys of a message: the distinct values at `paths`, escapes kept,
 * sorted by bytes, at most HL7_KEYS_MAX (the first ones found). With no paths
 * the default: component 1 with component 4 of the first repetition of PID-3 and
 * MRG-1 that has an id, in all PID and MRG segments, as "id^authority". Returns how
 * many; 0 means that the message has none. Slices are in `mem`. */
size_t hl7_keys(arena *mem, const hl7_msg *m, const hl7_path *paths, size_t path_count,
                slice out[HL7_KEYS_MAX]);

/* Calls `each` for the message's bytes in pieces, leaving out the content of
 * MSH-7 and MSH-8, which may differ when a message is sent again. For hashing. */
void hl7_stable_bytes(const hl7_msg *m, void (*each)(void *arg, slice piece), void *arg);

#endif
