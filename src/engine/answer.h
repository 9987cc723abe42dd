/* engine/answer.h -- answers to frames: which acknowledgement a message gets, when. */
#ifndef ENGINE_ANSWER_H
#define ENGINE_ANSWER_H

#include "engine/settings.h"
#include "hl7/ack.h"

typedef enum answer_kind {
    ANSWER_POSITIVE,
    ANSWER_REJECT,                       /* AR, CR: this message will never be taken */
    ANSWER_ERROR                         /* AE, CE: something went wrong here */
} answer_kind;

typedef struct answer {
    answer_kind kind;
    hl7_error   error;
    slice       location, text;          /* see hl7_ack; no content of a message */
} answer;

/* Puts the acknowledgements that `about` asks for into the empty `out`: one, none, or in enhanced mode
 * the accept and the application acknowledgement (2.9.3), with `between` between them. Returns how many. */
size_t answer_write(buf *out, slice between, ack_mode mode, const hl7_head *about, const answer *a);

/* The same in two steps, for a message that is stored and whose application acknowledgement waits for what
 * becomes of it: the accept acknowledgement, if one is asked for; whether there is an application
 * acknowledgement to wait for; and that one, behind what `out` holds. */
size_t answer_accept(buf *out, ack_mode mode, const hl7_head *about);
bool answer_waits(ack_mode mode, const hl7_head *about);
size_t answer_application(buf *out, slice between, ack_mode mode, const hl7_head *about, const answer *a);

#endif
