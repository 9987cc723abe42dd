/* tests/fuzz/hl7_batch.c -- any bytes cut into messages: in order, without overlap, nothing lost. */
#include <stdlib.h>

#include "hl7/batch.h"
#include "hl7/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool holds)
{
    if (!holds) abort();
}

static bool inside(slice whole, slice part)
{
    return part.ptr == NULL || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice bytes = { (const char *)data, size }, message, stray;
    size_t offset, done = 0, count = 0;
    arena mem = { 0 };
    hl7_batch b;
    hl7_msg *m;

    hl7_batch_open(&b, bytes);
    while (hl7_batch_next(&b, &message, &offset, &stray)) {
        insist(inside(bytes, message) && inside(bytes, stray));
        insist(message.ptr == bytes.ptr + offset && offset >= done);
        insist(slice_starts(message, slice_lit("MSH")));
        insist(stray.ptr == NULL || (size_t)(stray.ptr - bytes.ptr) >= done);
        done = offset + message.len;
        count++;
        if (hl7_parse(&mem, message, &m, NULL) == ERR_OK) insist(hl7_segment_find(m, "MSH", 2) == SIZE_MAX);
        arena_reset(&mem);
    }
    insist(inside(bytes, stray) && message.ptr == NULL);
    insist(b.messages == count && b.rest.len == 0 && b.offset == size);
    if (count > 1 || b.wrapped) insist(hl7_batch_is(bytes));
    /* A message by itself is cut out whole, but for blanks around it. */
    if (hl7_parse(&mem, bytes, &m, NULL) == ERR_OK && size > 0 && memchr(data, 0x1C, size) == NULL
        && memchr(data, 0x0B, size) == NULL && !hl7_batch_is(bytes))
        insist(count == 1);
    arena_free(&mem);
    return 0;
}
