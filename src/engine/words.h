/* engine/words.h -- reading what people write in settings and on command lines. */
#ifndef ENGINE_WORDS_H
#define ENGINE_WORDS_H

#include "base/buf.h"

/* "4096", "64kB", "256MiB", "1GB" in bytes (kB, MB, GB are powers of 1000; KiB,
 * MiB, GiB, and the letters K, M, G alone, of 1024). False when it is none. */
must_check bool words_size(slice text, int64_t *bytes);

/* "500", "500ms", "10s", "5m", "2h", "1d" in milliseconds. False when it is none. */
must_check bool words_duration(slice text, int64_t *ms);

/* The same the other way round, in the largest unit that fits exactly. */
void words_put_size(buf *out, int64_t bytes);
void words_put_duration(buf *out, int64_t ms);

/* The candidate that `word` most likely was meant to be, NULL when none is near.
 * Candidate i stands at `first + i * stride` as a `const char *`, so that a table
 * can be searched where it is. */
const char *words_nearest(slice word, const void *first, size_t stride, size_t count);

/* " (did you mean "x"?)" for an error's text, or "". */
typedef struct words_hint { char text[64]; } words_hint;
words_hint words_suggest(slice word, const void *first, size_t stride, size_t count);

/* A word of somebody's for an error's text: cut, and without control characters. */
typedef struct words_shown { char text[64]; } words_shown;
words_shown words_show(slice word);

#endif
