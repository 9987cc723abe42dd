/* net/mllp.h -- MLLP framing (HL7 Minimal Lower Layer Protocol, release 1:
 * <VT> message <FS><CR>), the codec by itself: no sockets, so that it can be fed
 * at every split point.
 *
 * The field sends more than the standard has: FS without CR or followed by LF, a
 * doubled VT or FS, blanks and line ends between frames; these are taken silently. What cannot be taken
 * comes out as a frame with a flaw, so that it is answered and kept (promise P5). */
#ifndef NET_MLLP_H
#define NET_MLLP_H

#include "base/buf.h"

typedef enum mllp_flaw {
    MLLP_GOOD,
    MLLP_NO_START,                       /* bytes that no VT began, up to FS, VT or the end */
    MLLP_NO_END,                         /* a new VT, or the end, before FS */
    MLLP_TOO_LONG,                       /* its first `cap` bytes; the rest, up to FS or VT, is swallowed */
    MLLP_EMPTY                           /* VT FS with nothing but blanks between */
} mllp_flaw;

const char *mllp_flaw_text(mllp_flaw flaw);      /* for a person: what was wrong */

typedef struct mllp_codec {
    buf    held;                         /* a frame that is not complete; freed when idle */
    size_t cap;                          /* the longest frame in bytes */
    int    state;
} mllp_codec;

void mllp_codec_init(mllp_codec *c, size_t cap);
void mllp_codec_free(mllp_codec *c);

/* Feeds bytes; calls `frame` for each frame that ends in them, in order. The
 * bytes are borrowed until it returns: from the input where the frame lies in it whole. */
void mllp_codec_feed(mllp_codec *c, slice bytes,
                     void (*frame)(void *arg, mllp_flaw flaw, slice frame), void *arg);

/* The peer ended or is late: what is held comes out flawed. */
void mllp_codec_end(mllp_codec *c, void (*frame)(void *arg, mllp_flaw flaw, slice frame), void *arg);

bool mllp_codec_busy(const mllp_codec *c);       /* in the middle of a frame */

void mllp_write(buf *out, slice message);        /* VT message FS CR */

#endif
