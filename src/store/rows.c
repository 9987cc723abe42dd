/* store/rows.c -- members of JSON objects. */
#include "store/rows.h"

void row_begin(buf *out) { buf_putc(out, '{'); }
void row_end(buf *out) { buf_putc(out, '}'); }

static void put_key(buf *out, const char *key)
{
    if (out->ptr[out->len - 1] != '{') buf_putc(out, ',');
    buf_json(out, slice_of(key));
    buf_putc(out, ':');
}

void row_text(buf *out, const char *key, slice value)
{
    if (value.ptr == NULL) return;
    put_key(out, key);
    buf_json(out, value);
}

void row_int(buf *out, const char *key, int64_t value)
{
    put_key(out, key);
    buf_int(out, value);
}

void row_bool(buf *out, const char *key, bool value)
{
    put_key(out, key);
    buf_puts(out, value ? "true" : "false");
}

void row_json(buf *out, const char *key, slice json)
{
    if (json.ptr == NULL) return;
    put_key(out, key);
    buf_put(out, json);
}

slice row_cell(arena *mem, const pg_result *r, int row, int column)
{
    slice cell = pg_cell(r, row, column);
    return cell.ptr == NULL ? SLICE_NONE : arena_dup(mem, cell);
}

slice row_param(arena *mem, int64_t value) { return arena_printf(mem, "%lld", (long long)value); }
