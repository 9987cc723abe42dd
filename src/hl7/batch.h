/* hl7/batch.h -- cuts files and batches into messages (2.10.3: FHS BHS MSH… BTS FTS). */
#ifndef HL7_BATCH_H
#define HL7_BATCH_H

#include "base/base.h"

typedef struct hl7_batch {
    slice    rest;                       /* not looked at yet */
    size_t   offset;                     /* of `rest` in the whole */
    size_t   messages;                   /* given out so far */
    bool     wrapped;                    /* an FHS or BHS was seen */
    int64_t  declared;                   /* the last BTS-1, -1 when none */
    size_t   in_batch;                   /* messages since the last BHS */
    bool     count_wrong;                /* a BTS-1 differed from its batch */
} hl7_batch;

void hl7_batch_open(hl7_batch *b, slice bytes);

/* True when `bytes` hold a header or trailer (FHS, BHS, BTS, FTS), or more than one MSH. */
bool hl7_batch_is(slice bytes);

/* The next message, from its MSH to before the next MSH, BHS, BTS, FHS or FTS
 * at the start of a line, without blank lines behind it; terminators and BOM as
 * in hl7_parse. A header or trailer with an ordinary segment behind it, in the
 * midst of a message, is left in it: such a message is torn, and hl7_parse
 * refuses it as a whole. MLLP framing bytes between messages are stepped over. `*offset`
 * is where it begins. False when there is none left. What stands before it and
 * is neither header nor trailer (after the last: behind it) is given in `*stray`
 * (SLICE_NONE if nothing but blanks): it is the caller's to report. */
must_check bool hl7_batch_next(hl7_batch *b, slice *message, size_t *offset, slice *stray);

#endif
