/* script/csv.c -- reads RFC 4180, with LF beside CRLF. */
#include "script/csv.h"

#include "base/buf.h"

void csv_open(csv *c, slice text)
{
    if (slice_starts(text, slice_lit("\xEF\xBB\xBF"))) text = slice_from(text, 3);
    *c = (csv){ text, 0, 1 };
}

static bool at_line_end(slice s)
{
    return s.len == 0 || s.ptr[0] == '\n' || (s.ptr[0] == '\r' && (s.len == 1 || s.ptr[1] == '\n'));
}

static void skip_line_end(csv *c)
{
    if (c->rest.len > 0 && c->rest.ptr[0] == '\r') c->rest = slice_from(c->rest, 1);
    if (c->rest.len > 0) c->rest = slice_from(c->rest, 1);
    c->next_line++;
}

static err quoted_field(csv *c, arena *mem, slice *out, err_info *why)
{
    buf text = buf_in(mem);
    slice part = slice_from(c->rest, 1);
    bool doubled = false;

    for (size_t i = 0;; i++) {
        if (i >= part.len) return err_set(why, ERR_SCRIPT, "line %zu: a quote is not closed", c->line);
        if (part.ptr[i] == '\n') c->next_line++;
        if (part.ptr[i] != '"') continue;
        slice before = { part.ptr, i };
        part = slice_from(part, i + 1);
        if (part.len == 0 || part.ptr[0] != '"') {
            if (doubled) buf_put(&text, before);
            *out = doubled ? buf_slice(&text) : before;
            c->rest = part;
            break;
        }
        buf_put(&text, before);
        buf_putc(&text, '"');
        doubled = true;
        part = slice_from(part, 1);
        i = SIZE_MAX;                    /* from the front of what is left */
    }
    if (!at_line_end(c->rest) && c->rest.ptr[0] != ',')
        return err_set(why, ERR_SCRIPT, "line %zu: text behind a closing quote", c->line);
    return ERR_OK;
}

static err plain_field(csv *c, slice *out, err_info *why)
{
    size_t n = 0;

    while (!at_line_end(slice_from(c->rest, n)) && c->rest.ptr[n] != ',') {
        if (c->rest.ptr[n] == '"')
            return err_set(why, ERR_SCRIPT, "line %zu: a quote inside a field without quotes", c->line);
        n++;
    }
    *out = (slice){ c->rest.ptr, n };
    c->rest = slice_from(c->rest, n);
    return ERR_OK;
}

err csv_next(csv *c, arena *mem, slice fields[CSV_FIELDS_MAX], size_t *count, err_info *why)
{
    *count = 0;
    while (c->rest.len > 0 && at_line_end(c->rest)) skip_line_end(c);
    c->line = c->next_line;
    if (c->rest.len == 0) return ERR_OK;
    for (;;) {
        if (*count == CSV_FIELDS_MAX)
            return err_set(why, ERR_SCRIPT, "line %zu: more than %d fields", c->line, CSV_FIELDS_MAX);
        slice *field = &fields[(*count)++];
        err e = c->rest.len > 0 && c->rest.ptr[0] == '"' ? quoted_field(c, mem, field, why)
                                                         : plain_field(c, field, why);
        if (e != ERR_OK) return e;
        if (at_line_end(c->rest)) break;
        c->rest = slice_from(c->rest, 1);
    }
    skip_line_end(c);
    return ERR_OK;
}
