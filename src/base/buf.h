/* base/buf.h -- a growing run of bytes for building output.
 *
 * With an arena the bytes live there and buf_free does nothing; without one
 * they are the buffer's own. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/arena.h"

typedef struct buf {
    char  *ptr;
    size_t len, cap;
    arena *mem;                          /* NULL: malloc */
} buf;

static inline buf buf_in(arena *mem) { return (buf){ NULL, 0, 0, mem }; }
static inline slice buf_slice(const buf *b) { return (slice){ b->ptr, b->len }; }
static inline void buf_clear(buf *b) { b->len = 0; }
void buf_free(buf *b);

/* Makes room for `more` bytes and returns where they go; `len` is not changed. */
char *buf_room(buf *b, size_t more) __attribute__((returns_nonnull));

void buf_put(buf *b, slice s);
void buf_puts(buf *b, const char *text);
void buf_printf(buf *b, const char *fmt, ...) printf_like(2, 3);
void buf_int(buf *b, int64_t n);

static inline void buf_putc(buf *b, char c)
{
    if (b->len == b->cap) (void)buf_room(b, 1);
    b->ptr[b->len++] = c;
}

/* A JSON string with its quotes (RFC 8259 section 7). `s` is taken as UTF-8;
 * control characters are escaped, `/` and non-ASCII characters are not. */
void buf_json(buf *b, slice s);

#endif
