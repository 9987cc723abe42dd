/* hl7/batch.c -- cuts a file into messages, line by line.
 *
 *   [FHS] { [BHS] { MSH … } [BTS] } [FTS]        each of FHS, BHS, BTS, FTS optional
 *
 * Headers and trailers are known by the first three letters of a line and a
 * fourth character that can separate, or none. What is neither in a message nor
 * a header or trailer is stray. */
#include "hl7/batch.h"

#include "hl7/parse.h"
#include "hl7/scan.h"

#define START_BLOCK '\x0B'
#define END_BLOCK '\x1C'

typedef enum kind { KIND_OTHER, KIND_MSH, KIND_FHS, KIND_BHS, KIND_BTS, KIND_FTS } kind;

static kind line_kind(slice line)
{
    static const char *const names[] = {
        [KIND_MSH] = "MSH", [KIND_FHS] = "FHS", [KIND_BHS] = "BHS", [KIND_BTS] = "BTS", [KIND_FTS] = "FTS"
    };

    if (line.len > 3 && !hl7_can_separate(line.ptr[3])) return KIND_OTHER;
    for (kind k = KIND_MSH; k <= KIND_FTS; k++)
        if (slice_starts(line, (slice){ names[k], 3 })) return k;
    return KIND_OTHER;
}

static bool is_framing(char c) { return c == START_BLOCK || c == END_BLOCK; }

/* A byte order mark, framing bytes and blanks at the front of a line. */
static size_t skip_front(slice line)
{
    size_t at = 0;

    while (at < line.len) {
        if (is_framing(line.ptr[at]) || line.ptr[at] == ' ' || line.ptr[at] == '\t') at++;
        else if (slice_starts(slice_from(line, at), slice_lit("\xEF\xBB\xBF"))) at += 3;
        else break;
    }
    return at;
}

/* The line at `from` without its terminator, which lies in [end, next). An end
 * block ends a line too: what follows it is not the message's. */
static slice line_at(slice s, size_t from, size_t *next)
{
    size_t end = from;

    for (; s.len - end >= SCAN_BLOCK; end += SCAN_BLOCK) {
        scan_masks m = scan_block(s.ptr + end, END_BLOCK);
        if ((m.seps | m.ends) != 0) {
            end += (size_t)__builtin_ctzll(m.seps | m.ends);
            break;
        }
    }
    while (end < s.len && s.ptr[end] != '\r' && s.ptr[end] != '\n' && s.ptr[end] != END_BLOCK) end++;
    *next = end < s.len ? end + 1 : end;
    if (end + 1 < s.len && s.ptr[end] == '\r' && s.ptr[end + 1] == '\n') *next = end + 2;
    return (slice){ s.ptr + from, end - from };
}

void hl7_batch_open(hl7_batch *b, slice bytes)
{
    *b = (hl7_batch){ .rest = bytes, .declared = -1 };
}

bool hl7_batch_is(slice bytes)
{
    size_t messages = 0, next;

    for (size_t at = 0; at < bytes.len; at = next) {
        slice line = line_at(bytes, at, &next);
        kind k = line_kind(slice_from(line, skip_front(line)));
        if (k == KIND_MSH ? ++messages > 1 : k != KIND_OTHER) return true;
    }
    return false;
}

/* BTS-1 against the messages that were in the batch. */
static void end_batch(hl7_batch *b, slice line)
{
    slice count = line.len > 3 ? hl7_part(line, line.ptr[3], 2) : SLICE_NONE;

    b->declared = -1;
    if (slice_int(slice_trim(count), &b->declared) && b->declared != (int64_t)b->in_batch)
        b->count_wrong = true;
    b->in_batch = 0;
}

/* Is the next line that is not blank an ordinary segment? */
static bool segment_follows(slice s, size_t at)
{
    size_t next;

    for (; at < s.len; at = next) {
        slice line = line_at(s, at, &next);
        if (slice_trim(line).len > 0) return line_kind(slice_from(line, skip_front(line))) == KIND_OTHER;
    }
    return false;
}

/* The message that begins at `from` reaches to the next header or trailer, or to
 * an end block; blank lines behind its last segment are left out. A header or
 * trailer in the midst of a message would tear its segments apart, and a sender
 * would be told that all is well while half is lost: it stays where it is, and
 * hl7_parse refuses the whole. */
static slice take_message(slice s, size_t from, size_t *next)
{
    size_t end = from, at = from, after;
    bool ended;

    do {
        slice line = line_at(s, at, &after);
        ended = after > at + line.len && line.ptr[line.len] == END_BLOCK;
        if (slice_trim(line).len > 0) {
            kind k = at == from ? KIND_OTHER : line_kind(slice_from(line, skip_front(line)));
            if (k == KIND_MSH || (k != KIND_OTHER && !segment_follows(s, after))) break;
            end = ended ? at + line.len : after;
        }
        at = after;
    } while (at < s.len && !ended);
    *next = at;
    return (slice){ s.ptr + from, end - from };
}

/* One line outside a message. Its own text is stray when it is no header or trailer. */
static kind read_outside(hl7_batch *b, slice line)
{
    kind k = line_kind(line);

    switch (k) {
    case KIND_FHS: case KIND_BHS:
        b->wrapped = true;
        b->in_batch = 0;
        break;
    case KIND_BTS:
        end_batch(b, line);
        break;
    case KIND_MSH: case KIND_FTS: case KIND_OTHER:
        break;
    }
    return k;
}

bool hl7_batch_next(hl7_batch *b, slice *message, size_t *offset, slice *stray)
{
    slice s = b->rest;
    size_t at = 0, next;

    *message = *stray = SLICE_NONE;
    *offset = 0;
    for (; at < s.len; at = next) {
        slice line = line_at(s, at, &next);
        size_t front = skip_front(line);
        slice inner = slice_trim(slice_from(line, front));
        kind k = read_outside(b, slice_from(line, front));
        if (k == KIND_MSH) {
            *message = take_message(s, at + front, &next);
            *offset = b->offset + at + front;
            b->messages++;
            b->in_batch++;
            at = next;
            break;
        }
        if (k == KIND_OTHER && inner.len > 0) {
            const char *from = stray->ptr == NULL ? inner.ptr : stray->ptr;
            *stray = (slice){ from, (size_t)(inner.ptr + inner.len - from) };
        }
    }
    b->rest = slice_from(s, at);
    b->offset += at;
    return message->ptr != NULL;
}
