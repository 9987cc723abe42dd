/* net/http_query.c -- query strings and forms: percent-decoding and parameters. */
#include "net/http_server.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* A `%` that no two hex digits follow stays as it is. */
slice http_decode(arena *mem, slice percent, bool plus_is_blank)
{
    size_t from = 0, len = 0;

    while (from < percent.len && percent.ptr[from] != '%' && !(plus_is_blank && percent.ptr[from] == '+')) from++;
    if (from == percent.len) return percent;

    char *out = arena_alloc(mem, percent.len);
    for (size_t i = 0; i < percent.len; i++) {
        char c = percent.ptr[i];
        if (c == '%' && percent.len - i > 2) {
            int high = hex_digit(percent.ptr[i + 1]), low = hex_digit(percent.ptr[i + 2]);
            if (high >= 0 && low >= 0) { c = (char)(high * 16 + low); i += 2; }
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        out[len++] = c;
    }
    return (slice){ out, len };
}

bool http_param_next(arena *mem, slice *rest, slice *name, slice *value)
{
    while (rest->len > 0) {
        slice pair = slice_cut(*rest, '&', rest), raw;

        if (pair.len == 0) continue;     /* "a=1&&b=2" */
        slice raw_name = slice_cut(pair, '=', &raw);
        *name = http_decode(mem, raw_name, true);
        *value = raw.len == 0 ? slice_lit("") : http_decode(mem, raw, true);
        return true;
    }
    return false;
}

slice http_param(arena *mem, slice query, const char *name)
{
    slice key, value;

    while (http_param_next(mem, &query, &key, &value))
        if (slice_is(key, name)) return value;
    return SLICE_NONE;
}
