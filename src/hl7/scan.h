/* hl7/scan.h -- finds field separators and line ends, 64 bytes at a time.
 *
 * Internal to hl7. A block gives two masks, bit i for byte i. SSE2 belongs to
 * every x86-64; elsewhere the plain loop does the same. */
#ifndef HL7_SCAN_H
#define HL7_SCAN_H

#include "base/base.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define SCAN_BLOCK 64

typedef struct scan_masks { uint64_t seps, ends; } scan_masks;

#if defined(__SSE2__)

static inline scan_masks scan_block(const char *p, char sep)
{
    const __m128i s = _mm_set1_epi8(sep), cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
    scan_masks m = { 0, 0 };

    for (int i = 0; i < SCAN_BLOCK; i += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        const __m128i end = _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf));
        m.seps |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, s)) << i;
        m.ends |= (uint64_t)(uint32_t)_mm_movemask_epi8(end) << i;
    }
    return m;
}

/* How many bits all blocks of `bytes` together will have, without making masks:
 * 16 counters of a byte each, summed before any can overflow. */
static inline void scan_count(slice bytes, char sep, size_t *seps, size_t *ends)
{
    const __m128i s = _mm_set1_epi8(sep), cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
    const __m128i zero = _mm_setzero_si128();
    __m128i sep_sum = zero, end_sum = zero;
    size_t at = 0;

    while (bytes.len - at >= 16) {
        __m128i sep_counts = zero, end_counts = zero;
        for (int n = 0; n < 255 && bytes.len - at >= 16; n++, at += 16) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(bytes.ptr + at));
            sep_counts = _mm_sub_epi8(sep_counts, _mm_cmpeq_epi8(v, s));
            end_counts = _mm_sub_epi8(end_counts,
                                      _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf)));
        }
        sep_sum = _mm_add_epi64(sep_sum, _mm_sad_epu8(sep_counts, zero));
        end_sum = _mm_add_epi64(end_sum, _mm_sad_epu8(end_counts, zero));
    }
    uint64_t sums[4];
    _mm_storeu_si128((__m128i *)(void *)sums, sep_sum);
    _mm_storeu_si128((__m128i *)(void *)(sums + 2), end_sum);
    *seps = sums[0] + sums[1];
    *ends = sums[2] + sums[3];
    for (; at < bytes.len; at++) {
        *seps += bytes.ptr[at] == sep;
        *ends += bytes.ptr[at] == '\r' || bytes.ptr[at] == '\n';
    }
}

#else

static inline scan_masks scan_block(const char *p, char sep)
{
    scan_masks m = { 0, 0 };

    for (int i = 0; i < SCAN_BLOCK; i++) {
        m.seps |= (uint64_t)(p[i] == sep) << i;
        m.ends |= (uint64_t)(p[i] == '\r' || p[i] == '\n') << i;
    }
    return m;
}

static inline void scan_count(slice bytes, char sep, size_t *seps, size_t *ends)
{
    *seps = *ends = 0;
    for (size_t at = 0; at < bytes.len; at++) {
        *seps += bytes.ptr[at] == sep;
        *ends += bytes.ptr[at] == '\r' || bytes.ptr[at] == '\n';
    }
}

#endif
#endif
