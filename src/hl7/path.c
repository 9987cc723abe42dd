/* hl7/path.c -- paths from text and back:
 *
 *   path  = name [ "[" n "]" ] [ "-" field ]
 *   field = n [ "[" n "]" ] [ "." n [ "." n ] ]       n = 1…65534, or * in brackets */
#include "hl7/path.h"

#include "hl7/parse.h"

typedef struct reader {
    slice    text;
    size_t   at;
    err_info *why;
} reader;

static err wrong(reader *r, const char *what)
{
    int shown = r->text.len < 80 ? (int)r->text.len : 80;
    return err_set(r->why, ERR_PATH, "path \"%.*s\", character %zu: %s", shown,
                   r->text.ptr == NULL ? "" : r->text.ptr, r->at + 1, what);
}

static bool take(reader *r, char c)
{
    if (r->at >= r->text.len || r->text.ptr[r->at] != c) return false;
    r->at++;
    return true;
}

static err read_number(reader *r, uint16_t *out)
{
    uint32_t n = 0;
    size_t from = r->at;

    for (; r->at < r->text.len && r->text.ptr[r->at] >= '0' && r->text.ptr[r->at] <= '9'; r->at++) {
        n = n * 10 + (uint32_t)(r->text.ptr[r->at] - '0');
        if (n == 0) return wrong(r, "numbers count from 1");
        if (n >= HL7_EVERY) return wrong(r, "the number is too large");
    }
    if (r->at == from) return wrong(r, "a number is expected here");
    *out = (uint16_t)n;
    return ERR_OK;
}

static err read_index(reader *r, uint16_t *out)
{
    err e = ERR_OK;

    if (take(r, '*')) *out = HL7_EVERY;
    else e = read_number(r, out);
    if (e == ERR_OK && !take(r, ']')) e = wrong(r, "a \"]\" is expected here");
    return e;
}

static err read_field(reader *r, hl7_path *p)
{
    err e = read_number(r, &p->field);

    if (e == ERR_OK && take(r, '[')) e = read_index(r, &p->rep);
    if (e == ERR_OK && take(r, '.')) {
        e = read_number(r, &p->comp);
        if (e == ERR_OK && take(r, '.')) e = read_number(r, &p->sub);
    }
    if (e == ERR_OK && r->at < r->text.len) e = wrong(r, "the path should end here");
    return e;
}

err hl7_path_parse(slice text, hl7_path *out, err_info *why)
{
    reader r = { text, 0, why };
    hl7_path p = { .occ = 1 };
    err e = ERR_OK;

    if (text.len < 3 || !hl7_name_valid(text.ptr))
        return wrong(&r, "a segment's name is expected here, such as PID");
    memcpy(p.seg, text.ptr, 3);
    r.at = 3;
    if (take(&r, '[')) e = read_index(&r, &p.occ);
    if (e == ERR_OK && r.at < text.len)
        e = take(&r, '-') ? read_field(&r, &p)
          : wrong(&r, r.at == 3 ? "\"-\" and a field's number, or \"[\", is expected here"
                                 : "\"-\" and a field's number is expected here");
    if (e == ERR_OK) *out = p;
    return e;
}

err hl7_path_parse_field(slice text, const char seg[3], hl7_path *out, err_info *why)
{
    reader r = { text, 0, why };
    hl7_path p = { .occ = 1 };

    memcpy(p.seg, seg, 3);
    err e = read_field(&r, &p);
    if (e == ERR_OK) *out = p;
    return e;
}

static void write_index(buf *out, uint16_t n)
{
    if (n == HL7_EVERY) buf_puts(out, "[*]");
    else buf_printf(out, "[%u]", n);
}

void hl7_path_write(buf *out, const hl7_path *p)
{
    buf_put(out, slice_of(p->seg));
    if (p->occ > 1) write_index(out, p->occ);
    if (p->field == 0) return;
    buf_printf(out, "-%u", p->field);
    if (p->rep > 0) write_index(out, p->rep);
    if (p->comp > 0) buf_printf(out, ".%u", p->comp);
    if (p->comp > 0 && p->sub > 0) buf_printf(out, ".%u", p->sub);
}
