/* net/mllp.c -- the MLLP codec: cuts a byte stream into frames, whatever the peer
 * sends.
 *
 *              VT                       FS: GOOD, EMPTY
 *   BETWEEN --------> FRAME ----------------------------> BETWEEN
 *      |                |  ^ VT: NO_END, and the next begins
 *      |                `--'
 *      | any other      FRAME, STRAY --longer than cap: TOO_LONG--> SWALLOW
 *      `--------> STRAY --VT or FS: NO_START--> FRAME or BETWEEN      |
 *                                       FS: BETWEEN, VT: FRAME <------'
 *
 * The content cannot hold VT or FS: the standard forbids control characters other
 * than CR in it, so either byte is always framing. Each position of either is
 * looked up once in a feed, so that no input costs more than two scans. */
#include "net/mllp.h"

#define VT '\x0b'
#define FS '\x1c'

enum { BETWEEN, FRAME, STRAY, SWALLOW };

typedef struct feeding {
    mllp_codec *codec;
    const char *at, *end;
    const char *vt, *fs;                 /* the next of each from `at` on; `end` when none */
    void      (*frame)(void *arg, mllp_flaw flaw, slice frame);
    void       *arg;
} feeding;

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

const char *mllp_flaw_text(mllp_flaw flaw)
{
    switch (flaw) {
    case MLLP_GOOD: return "a well-framed message";
    case MLLP_NO_START: return "bytes without a start block (VT, 0x0B) before them";
    case MLLP_NO_END: return "no end block (FS CR, 0x1C 0x0D) after the message";
    case MLLP_TOO_LONG: return "the message is longer than this listener takes";
    case MLLP_EMPTY: return "an empty message";
    }
    return "";
}

void mllp_codec_init(mllp_codec *c, size_t cap)
{
    *c = (mllp_codec){ .held = buf_in(NULL), .cap = cap, .state = BETWEEN };
}

void mllp_codec_free(mllp_codec *c)
{
    buf_free(&c->held);
    c->state = BETWEEN;
}

bool mllp_codec_busy(const mllp_codec *c) { return c->state != BETWEEN; }

static const char *find(const char *from, const char *end, char c)
{
    const char *hit = memchr(from, c, (size_t)(end - from));
    return hit == NULL ? end : hit;
}

static void look_ahead(feeding *f)
{
    if (f->vt < f->at) f->vt = find(f->at, f->end, VT);
    if (f->fs < f->at) f->fs = find(f->at, f->end, FS);
}

/* The frame is what is held and `last`. The state is set before the call, and
 * the codec lets go of its memory after it. */
static void give(feeding *f, mllp_flaw flaw, slice last, int next_state)
{
    mllp_codec *c = f->codec;
    buf held = c->held;

    c->held = buf_in(NULL);
    c->state = next_state;
    if (held.len == 0) {
        f->frame(f->arg, flaw, last);
    } else {
        buf_put(&held, last);
        f->frame(f->arg, flaw, buf_slice(&held));
    }
    buf_free(&held);
}

static bool all_blank(const mllp_codec *c, slice last)
{
    return slice_trim(buf_slice(&c->held)).len == 0 && slice_trim(last).len == 0;
}

/* Takes the bytes up to the next VT or FS as content of the frame that is open. */
static void take_content(feeding *f)
{
    mllp_codec *c = f->codec;
    const char *stop = f->vt < f->fs ? f->vt : f->fs;
    slice part = { f->at, (size_t)(stop - f->at) };
    bool framed = c->state == FRAME;
    size_t room = c->cap - c->held.len;

    if (part.len > room) {
        f->at += room + 1;
        give(f, MLLP_TOO_LONG, (slice){ part.ptr, room }, SWALLOW);
        return;
    }
    f->at = stop;
    if (stop == f->end) {
        buf_put(&c->held, part);
        return;
    }
    f->at++;
    int next = *stop == VT ? FRAME : BETWEEN;
    if (!framed) {
        give(f, MLLP_NO_START, part, next);
    } else if (!all_blank(c, part)) {
        give(f, *stop == VT ? MLLP_NO_END : MLLP_GOOD, part, next);
    } else if (*stop == VT) {
        buf_free(&c->held);              /* a doubled start block; nothing is lost */
    } else {
        give(f, MLLP_EMPTY, part, next);
    }
}

void mllp_codec_feed(mllp_codec *c, slice bytes,
                     void (*frame)(void *arg, mllp_flaw flaw, slice frame), void *arg)
{
    if (bytes.len == 0) return;
    feeding f = { c, bytes.ptr, bytes.ptr + bytes.len, NULL, NULL, frame, arg };

    f.vt = find(f.at, f.end, VT);
    f.fs = find(f.at, f.end, FS);
    while (f.at < f.end) {
        look_ahead(&f);
        switch (c->state) {
        case BETWEEN:
            if (*f.at == VT) { c->state = FRAME; f.at++; }
            else if (is_blank(*f.at) || *f.at == FS) f.at++;
            else c->state = STRAY;
            break;
        case SWALLOW:
            f.at = f.vt < f.fs ? f.vt : f.fs;
            if (f.at == f.end) return;
            c->state = *f.at == VT ? FRAME : BETWEEN;
            f.at++;
            break;
        default:
            take_content(&f);
            break;
        }
    }
}

void mllp_codec_end(mllp_codec *c, void (*frame)(void *arg, mllp_flaw flaw, slice frame), void *arg)
{
    feeding f = { .codec = c, .frame = frame, .arg = arg };

    if (c->held.len > 0 && !all_blank(c, SLICE_NONE))
        give(&f, c->state == FRAME ? MLLP_NO_END : MLLP_NO_START, SLICE_NONE, BETWEEN);
    mllp_codec_free(c);
}

void mllp_write(buf *out, slice message)
{
    (void)buf_room(out, message.len + 3);
    buf_putc(out, VT);
    buf_put(out, message);
    buf_put(out, slice_lit("\x1c\r"));
}
