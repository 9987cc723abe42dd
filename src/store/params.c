/* store/params.c -- parameters as libpq takes them; arrays in PostgreSQL's text form. */
#include "store/pg.h"

static pg_param param_of(slice v) { return (pg_param){ v.ptr, (int)v.len, 0 }; }

pg_param pg_text(arena *mem, slice v)
{
    return v.ptr == NULL ? (pg_param){ NULL, 0, 0 } : param_of(arena_dup(mem, v));
}

pg_param pg_int(arena *mem, int64_t v)
{
    buf b = buf_in(mem);

    buf_int(&b, v);
    buf_putc(&b, '\0');
    return (pg_param){ b.ptr, (int)b.len - 1, 0 };
}

void pg_array_begin(pg_array *a, arena *mem)
{
    *a = (pg_array){ buf_in(mem), false };
    buf_putc(&a->b, '{');
}

static void next_element(pg_array *a)
{
    if (a->any) buf_putc(&a->b, ',');
    a->any = true;
}

void pg_array_text(pg_array *a, slice v)
{
    size_t from = 0;

    next_element(a);
    if (v.ptr == NULL) { buf_puts(&a->b, "NULL"); return; }
    buf_putc(&a->b, '"');
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] != '"' && v.ptr[i] != '\\') continue;
        buf_put(&a->b, (slice){ v.ptr + from, i - from });
        buf_putc(&a->b, '\\');
        from = i;
    }
    buf_put(&a->b, (slice){ v.ptr + from, v.len - from });
    buf_putc(&a->b, '"');
}

void pg_array_int(pg_array *a, int64_t v)
{
    next_element(a);
    buf_int(&a->b, v);
}

void pg_array_bytea(pg_array *a, slice v)
{
    static const char hex[] = "0123456789abcdef";
    char *at;

    next_element(a);
    if (v.ptr == NULL) { buf_puts(&a->b, "NULL"); return; }
    buf_puts(&a->b, "\"\\\\x");
    at = buf_room(&a->b, v.len * 2);
    for (size_t i = 0; i < v.len; i++) {
        *at++ = hex[(unsigned char)v.ptr[i] >> 4];
        *at++ = hex[(unsigned char)v.ptr[i] & 15];
    }
    a->b.len += v.len * 2;
    buf_putc(&a->b, '"');
}

pg_param pg_array_end(pg_array *a)
{
    buf_putc(&a->b, '}');
    buf_putc(&a->b, '\0');
    return (pg_param){ a->b.ptr, (int)a->b.len - 1, 0 };
}
