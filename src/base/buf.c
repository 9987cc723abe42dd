/* base/buf.c -- growing output, and the one place that escapes JSON strings. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_free(buf *b)
{
    if (b->mem == NULL) free(b->ptr);
    *b = buf_in(b->mem);
}

char *buf_room(buf *b, size_t more)
{
    if (b->cap - b->len < more) {
        size_t cap = b->cap < 64 ? 128 : b->cap * 2;
        if (cap - b->len < more) cap = b->len + more;
        if (b->mem == NULL) {
            b->ptr = mem_realloc(b->ptr, cap);
        } else {
            char *grown = arena_alloc(b->mem, cap);
            if (b->len > 0) memcpy(grown, b->ptr, b->len);
            b->ptr = grown;
        }
        b->cap = cap;
    }
    return b->ptr + b->len;
}

void buf_put(buf *b, slice s)
{
    if (s.len == 0) return;
    memcpy(buf_room(b, s.len), s.ptr, s.len);
    b->len += s.len;
}

void buf_puts(buf *b, const char *text) { buf_put(b, slice_of(text)); }

void buf_printf(buf *b, const char *fmt, ...)
{
    va_list args, again;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) die("buf_printf: bad format");
    (void)vsnprintf(buf_room(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

void buf_int(buf *b, int64_t n)
{
    char digits[20], *at = digits + sizeof digits;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    do { *--at = (char)('0' + rest % 10); rest /= 10; } while (rest > 0);
    if (n < 0) *--at = '-';
    buf_put(b, (slice){ at, (size_t)(digits + sizeof digits - at) });
}

static bool json_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

void buf_json(buf *b, slice s)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;

    buf_putc(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i], named = 0;

        if (json_plain(c)) continue;
        buf_put(b, (slice){ s.ptr + from, i - from });
        from = i + 1;
        switch (c) {
        case '"': case '\\': named = c; break;
        case '\n': named = 'n'; break;
        case '\r': named = 'r'; break;
        case '\t': named = 't'; break;
        case '\b': named = 'b'; break;
        case '\f': named = 'f'; break;
        default: break;
        }
        if (named != 0) {
            buf_put(b, (slice){ (char[]){ '\\', named }, 2 });
        } else {
            buf_put(b, slice_lit("\\u00"));
            buf_putc(b, hex[((unsigned char)c >> 4) & 15]);
            buf_putc(b, hex[(unsigned char)c & 15]);
        }
    }
    buf_put(b, (slice){ s.ptr + from, s.len - from });
    buf_putc(b, '"');
}
