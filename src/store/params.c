/* store/params.c -- parameters as libpq takes them; arrays in PostgreSQL's binary form
 * (array_send), which the server reads in a third of the time of the text form. */
#include "store/pg.h"

#define POSTGRES_EPOCH_US INT64_C(946684800000000)       /* 2000-01-01 UTC */

enum { HEADER = 20 };                    /* dimensions, has nulls, element type, length, lower bound */

pg_param pg_text(arena *mem, slice v)
{
    if (v.ptr == NULL) return (pg_param){ NULL, 0, 0 };
    v = arena_dup(mem, v);
    return (pg_param){ v.ptr, (int)v.len, 0 };
}

pg_param pg_bytea(arena *mem, slice v)
{
    pg_param p = pg_text(mem, v);
    p.format = 1;
    return p;
}

pg_param pg_int(arena *mem, int64_t v)
{
    buf b = buf_in(mem);

    buf_int(&b, v);
    buf_putc(&b, '\0');
    return (pg_param){ b.ptr, (int)b.len - 1, 0 };
}

/* ---- arrays ------------------------------------------------------------------------ */

static char *put_big_endian(char *at, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) *at++ = (char)(v >> (8 * i));
    return at;
}

void pg_array_begin(pg_array *a, arena *mem, pg_type type)
{
    *a = (pg_array){ .b = buf_in(mem), .type = type };
    (void)buf_room(&a->b, HEADER);
    a->b.len = HEADER;
}

/* Room for the next element behind its length. */
static char *element(pg_array *a, size_t len)
{
    char *at = buf_room(&a->b, 4 + len);

    a->count++;
    a->b.len += 4 + len;
    return put_big_endian(at, len, 4);
}

static void null_element(pg_array *a)
{
    a->nulls = true;
    a->count++;
    (void)put_big_endian(buf_room(&a->b, 4), UINT32_MAX, 4);
    a->b.len += 4;
}

void pg_array_text(pg_array *a, slice v)
{
    if (v.ptr == NULL) null_element(a);
    else if (v.len == 0) (void)element(a, 0);
    else memcpy(element(a, v.len), v.ptr, v.len);
}

void pg_array_int(pg_array *a, int v) { (void)put_big_endian(element(a, 4), (uint32_t)v, 4); }

void pg_array_int8(pg_array *a, int64_t v) { (void)put_big_endian(element(a, 8), (uint64_t)v, 8); }

void pg_array_time(pg_array *a, int64_t us)
{
    if (us == 0) null_element(a);
    else (void)put_big_endian(element(a, 8), (uint64_t)(us - POSTGRES_EPOCH_US), 8);
}

pg_param pg_array_end(pg_array *a)
{
    char *at = a->b.ptr;

    at = put_big_endian(at, a->count > 0 ? 1 : 0, 4);
    at = put_big_endian(at, a->nulls, 4);
    at = put_big_endian(at, a->type, 4);
    at = put_big_endian(at, (uint64_t)a->count, 4);
    (void)put_big_endian(at, 1, 4);
    return (pg_param){ a->b.ptr, a->count > 0 ? (int)a->b.len : HEADER - 8, 1 };
}

/* ---- arrays in arrays: as text, which PostgreSQL casts --------------------------------- */

slice pg_literal(arena *mem, const slice *elements, size_t count)
{
    buf b = buf_in(mem);

    buf_putc(&b, '{');
    for (size_t k = 0; k < count; k++) {
        slice v = elements[k];
        size_t from = 0;
        buf_puts(&b, k > 0 ? ",\"" : "\"");
        for (size_t i = 0; i < v.len; i++) {
            if (v.ptr[i] != '"' && v.ptr[i] != '\\') continue;
            buf_put(&b, (slice){ v.ptr + from, i - from });
            buf_putc(&b, '\\');
            from = i;
        }
        buf_put(&b, (slice){ v.ptr + from, v.len - from });
        buf_putc(&b, '"');
    }
    buf_putc(&b, '}');
    return buf_slice(&b);
}

slice pg_literal_ints(arena *mem, const int *elements, size_t count)
{
    buf b = buf_in(mem);

    buf_putc(&b, '{');
    for (size_t k = 0; k < count; k++) {
        if (k > 0) buf_putc(&b, ',');
        buf_int(&b, elements[k]);
    }
    buf_putc(&b, '}');
    return buf_slice(&b);
}

pg_param pg_text_array(arena *mem, const slice *elements, size_t count)
{
    pg_array a;

    pg_array_begin(&a, mem, PG_TEXT);
    for (size_t i = 0; i < count; i++) pg_array_text(&a, elements[i]);
    return pg_array_end(&a);
}
