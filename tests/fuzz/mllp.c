/* tests/fuzz/mllp.c -- the MLLP codec must give the same frames however the bytes are
 * cut, hold no more than its cap, and give out every byte of content at most once.
 *
 * The first two bytes choose the cap and the length of the pieces. */
#include <stdlib.h>

#include "net/mllp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct noted { buf text; size_t cap, content; } noted;

static void note(void *arg, mllp_flaw flaw, slice frame)
{
    noted *n = arg;

    if (frame.len > n->cap) abort();
    if (flaw == MLLP_GOOD && slice_trim(frame).len == 0) abort();
    if (frame.len > 0 && (memchr(frame.ptr, 0x0b, frame.len) != NULL || memchr(frame.ptr, 0x1c, frame.len) != NULL))
        abort();
    n->content += frame.len;
    buf_printf(&n->text, "%d:%zu:", (int)flaw, frame.len);
    buf_put(&n->text, frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    size_t cap = (size_t)data[0] + 1, piece = (size_t)data[1] + 1;
    slice in = { (const char *)data + 2, size - 2 };
    noted whole = { buf_in(NULL), cap, 0 }, cut = whole;
    mllp_codec c;

    mllp_codec_init(&c, cap);
    mllp_codec_feed(&c, in, note, &whole);
    mllp_codec_end(&c, note, &whole);

    for (size_t at = 0; at < in.len; at += piece) {
        slice rest = slice_from(in, at);
        mllp_codec_feed(&c, (slice){ rest.ptr, rest.len < piece ? rest.len : piece }, note, &cut);
        if (c.held.len > cap || (!mllp_codec_busy(&c) && c.held.ptr != NULL)) abort();
    }
    mllp_codec_end(&c, note, &cut);
    if (mllp_codec_busy(&c) || c.held.ptr != NULL || whole.content > in.len) abort();
    if (!slice_eq(buf_slice(&whole.text), buf_slice(&cut.text))) abort();
    buf_free(&whole.text);
    buf_free(&cut.text);
    return 0;
}
