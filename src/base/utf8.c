/* base/utf8.c -- where valid UTF-8 ends. Most of what passes is ASCII, so that
 * is skipped 32 bytes at a time; the rest follows table 3-7 of the Unicode
 * Standard, in which only the second byte's range depends on the first. */
#include "base/json.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

static inline uint64_t load(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static size_t ascii_prefix(const char *at, size_t len)
{
    size_t i = 0;

    while (len - i >= 32) {
        uint64_t any = load(at + i) | load(at + i + 8) | load(at + i + 16) | load(at + i + 24);
        if ((any & HIGH_BITS) != 0) break;
        i += 32;
    }
    while (i < len && (unsigned char)at[i] < 0x80) i++;
    return i;
}

/* The length of the character at `at`, which is not ASCII; 0 when it is none. */
static size_t wide_length(const unsigned char *at, size_t len)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t want = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

    if (at[0] < 0xc2 || at[0] > 0xf4 || len < want) return 0;
    switch (at[0]) {
    case 0xe0: low = 0xa0; break;        /* overlong below */
    case 0xed: high = 0x9f; break;       /* surrogates above */
    case 0xf0: low = 0x90; break;        /* overlong below */
    case 0xf4: high = 0x8f; break;       /* past U+10FFFF above */
    default: break;
    }
    if (at[1] < low || at[1] > high) return 0;
    for (size_t i = 2; i < want; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    return want;
}

size_t utf8_valid(slice s)
{
    size_t i = 0;

    while (i < s.len) {
        i += ascii_prefix(s.ptr + i, s.len - i);
        while (i < s.len && (unsigned char)s.ptr[i] >= 0x80) {
            size_t n = wide_length((const unsigned char *)s.ptr + i, s.len - i);
            if (n == 0) return i;
            i += n;
        }
    }
    return i;
}
