/* engine/words.c -- units, and the nearest known word. */
#include "engine/words.h"

#include <stdio.h>

typedef struct unit { const char *name; int64_t factor; } unit;

static const unit size_units[] = {
    { "GiB", INT64_C(1) << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 },
    { "GB", 1000000000 }, { "MB", 1000000 }, { "kB", 1000 },
    { "G", INT64_C(1) << 30 }, { "M", 1 << 20 }, { "K", 1 << 10 }, { "k", 1 << 10 }, { "B", 1 }, { "", 1 },
};

static const unit duration_units[] = {
    { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { "", 1 },
};

static bool read_units(slice text, const unit *units, size_t count, int64_t *out)
{
    size_t digits = 0;
    int64_t n;

    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') digits++;
    if (!slice_int((slice){ text.ptr, digits }, &n)) return false;
    text = slice_trim(slice_from(text, digits));
    for (size_t i = 0; i < count; i++) {
        if (!slice_is(text, units[i].name)) continue;
        if (n > INT64_MAX / units[i].factor) return false;
        *out = n * units[i].factor;
        return true;
    }
    return false;
}

static void put_units(buf *out, int64_t n, const unit *units, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (n % units[i].factor != 0 || (n == 0 && units[i].factor > 1)) continue;
        buf_int(out, n / units[i].factor);
        buf_puts(out, units[i].name);
        return;
    }
}

bool words_size(slice text, int64_t *bytes)
{
    return read_units(text, size_units, countof(size_units), bytes);
}

bool words_duration(slice text, int64_t *ms)
{
    return read_units(text, duration_units, countof(duration_units), ms);
}

void words_put_size(buf *out, int64_t bytes)
{
    put_units(out, bytes, size_units, 3);
    if (bytes % 1024 != 0 || bytes == 0) buf_int(out, bytes);
}

void words_put_duration(buf *out, int64_t ms) { put_units(out, ms, duration_units, 5); }

#define WORD_MAX 40

/* Edits from one word to the other: a letter added, left out, changed, or two
 * neighbours swapped. One row of the table for each letter of `a`. */
static size_t distance(slice a, slice b)
{
    size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b.len; j++) last[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t cost = a.ptr[i - 1] != b.ptr[j - 1], least = last[j - 1] + cost;
            if (last[j] + 1 < least) least = last[j] + 1;
            if (row[j - 1] + 1 < least) least = row[j - 1] + 1;
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1] &&
                before[j - 2] + 1 < least)
                least = before[j - 2] + 1;
            row[j] = least;
        }
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[b.len];
}

const char *words_nearest(slice word, const void *first, size_t stride, size_t count)
{
    size_t least = word.len < 3 ? 2 : word.len / 3 + 2;          /* not nearer: no suggestion */
    const char *nearest = NULL;

    if (word.len > WORD_MAX) return NULL;
    for (size_t i = 0; i < count; i++) {
        const char *name = *(const char *const *)(const void *)((const char *)first + i * stride);
        size_t len = strlen(name);
        if (len > WORD_MAX) continue;
        size_t d = distance(word, (slice){ name, len });
        if (d < least) { least = d; nearest = name; }
    }
    return nearest;
}

words_shown words_show(slice word)
{
    words_shown out;
    size_t n = word.len < sizeof out.text - 4 ? word.len : sizeof out.text - 4;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)word.ptr[i];
        out.text[i] = c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    (void)memcpy(out.text + n, n < word.len ? "..." : "", n < word.len ? 4 : 1);
    return out;
}

words_hint words_suggest(slice word, const void *first, size_t stride, size_t count)
{
    const char *nearest = words_nearest(word, first, stride, count);
    words_hint hint = { "" };

    if (nearest != NULL) (void)snprintf(hint.text, sizeof hint.text, " (did you mean \"%s\"?)", nearest);
    return hint;
}
