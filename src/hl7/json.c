/* hl7/json.c -- `parsed_data`, written and rebuilt.
 *
 * Both ways walk down the same levels (field, repetition, component,
 * subcomponent), each an array only where its separator occurs. So the shape
 * says which separators there were, and the bytes come back. */
#include "hl7/json.h"

/* ---- writing ----------------------------------------------------------------- */

/* The separators that divide a field, outermost first. */
enum { LEVELS = 3 };

static void level_separators(const hl7_delims *d, char out[LEVELS])
{
    out[0] = d->repetition;
    out[1] = d->component;
    out[2] = d->subcomponent;
}

static bool holds(slice s, char separator)
{
    return separator != 0 && s.len > 0 && memchr(s.ptr, separator, s.len) != NULL;
}

/* A value at `level`: a string unless it holds this separator or a lower one. */
static void write_level(buf *out, slice v, const char separators[LEVELS], int level)
{
    bool divided = false;
    slice rest;

    for (int i = level; i < LEVELS; i++) divided = divided || holds(v, separators[i]);
    if (!divided) {
        buf_json(out, v);
        return;
    }
    buf_putc(out, '[');
    do {
        rest = SLICE_NONE;
        slice part = separators[level] == 0 ? v : slice_cut(v, separators[level], &rest);
        write_level(out, part, separators, level + 1);
        if (rest.ptr != NULL) buf_putc(out, ',');
        v = rest;
    } while (rest.ptr != NULL);
    buf_putc(out, ']');
}

static void write_segment(buf *out, const hl7_msg *m, size_t index, const char separators[LEVELS])
{
    size_t fields = hl7_field_count(m, index);

    buf_putc(out, '[');
    buf_json(out, hl7_segment_name(m, index));
    for (size_t n = 1; n <= fields; n++) {
        buf_putc(out, ',');
        if (index == 0 && n <= 2) buf_json(out, hl7_field(m, index, n));
        else write_level(out, hl7_field(m, index, n), separators, 0);
    }
    buf_putc(out, ']');
}

/* What stands between the segment and the next: its terminator, then blank lines. */
static slice gap_behind(const hl7_msg *m, size_t index, size_t *terminator)
{
    slice all = hl7_bytes(m), s = hl7_segment_bytes(m, index), gap;
    const char *from = s.ptr + s.len, *to = all.ptr + all.len;

    if (index + 1 < hl7_segment_count(m)) to = hl7_segment_bytes(m, index + 1).ptr;
    gap = (slice){ from, (size_t)(to - from) };
    *terminator = slice_starts(gap, slice_lit("\r\n")) ? 2 : gap.len > 0;
    return gap;
}

static void write_terminators(buf *out, const hl7_msg *m)
{
    size_t count = hl7_segment_count(m), length;
    slice first = gap_behind(m, 0, &length);
    bool same = true;

    first.len = length;
    for (size_t i = 1; i < count && same; i++) {
        slice gap = gap_behind(m, i, &length);
        same = slice_eq(first, (slice){ gap.ptr, length });
    }
    if (same) {
        buf_puts(out, "\"terminator\":");
        buf_json(out, first);
        return;
    }
    buf_puts(out, "\"terminators\":[");
    for (size_t i = 0; i < count; i++) {
        slice gap = gap_behind(m, i, &length);
        if (i > 0) buf_putc(out, ',');
        buf_json(out, (slice){ gap.ptr, length });
    }
    buf_putc(out, ']');
}

static void write_blanks(buf *out, const hl7_msg *m)
{
    size_t written = 0, length;

    for (size_t i = 0; i < hl7_segment_count(m); i++) {
        slice gap = gap_behind(m, i, &length);
        if (gap.len == length) continue;
        buf_puts(out, written++ == 0 ? ",\"blank\":[[" : ",[");
        buf_int(out, (int64_t)i + 1);
        buf_putc(out, ',');
        buf_json(out, slice_from(gap, length));
        buf_putc(out, ']');
    }
    if (written > 0) buf_putc(out, ']');
}

void hl7_json_write(buf *out, const hl7_msg *m)
{
    slice msh = hl7_segment_bytes(m, 0), prefix = hl7_bytes(m);
    char separators[LEVELS];

    level_separators(hl7_delims_of(m), separators);
    prefix.len = (size_t)(msh.ptr - prefix.ptr);
    buf_puts(out, "{\"delimiters\":");
    buf_json(out, (slice){ msh.ptr + 3, hl7_field(m, 0, 2).len + 1 });
    if (prefix.len > 0) {
        buf_puts(out, ",\"prefix\":");
        buf_json(out, prefix);
    }
    buf_putc(out, ',');
    write_terminators(out, m);
    write_blanks(out, m);
    buf_puts(out, ",\"segments\":[");
    for (size_t i = 0; i < hl7_segment_count(m); i++) {
        if (i > 0) buf_putc(out, ',');
        write_segment(out, m, i, separators);
    }
    buf_puts(out, "]}");
}

/* ---- rebuilding ---------------------------------------------------------------- */

typedef struct rebuilder {
    buf       *out;
    hl7_delims d;
    char       separators[LEVELS];
    size_t     segment, field;           /* from 1, for `why` */
    err_info  *why;
} rebuilder;

static err not_ours(rebuilder *r, const char *what)
{
    if (r->field > 0)
        return err_set(r->why, ERR_JSON, "segment %zu, field %zu: %s", r->segment, r->field, what);
    if (r->segment > 0) return err_set(r->why, ERR_JSON, "segment %zu: %s", r->segment, what);
    return err_set(r->why, ERR_JSON, "parsed message: %s", what);
}

/* A string may hold no separator: as it stands it would come back as two. */
static err put_plain(rebuilder *r, slice text)
{
    const char never[] = { r->d.field, r->d.repetition, r->d.component, r->d.subcomponent, '\r', '\n' };

    for (size_t i = 0; i < sizeof never; i++)
        if (holds(text, never[i])) return not_ours(r, "a string holds a separator or a line end");
    buf_put(r->out, text);
    return ERR_OK;
}

static err put_level(rebuilder *r, const json *v, int level)
{
    err e = ERR_OK;

    if (v->type == JSON_STRING) return put_plain(r, v->text);
    if (v->type != JSON_ARRAY || v->count == 0 || level == LEVELS)
        return not_ours(r, "neither a string nor an array of parts");
    if (v->count > 1 && r->separators[level] == 0)
        return not_ours(r, "parts that the delimiters cannot separate");
    for (const json *part = v->child; part != NULL && e == ERR_OK; part = part->next) {
        if (part != v->child) buf_putc(r->out, r->separators[level]);
        e = put_level(r, part, level + 1);
    }
    return e;
}

static err put_segment(rebuilder *r, const json *v)
{
    const json *name = v->child, *field;
    err e = ERR_OK;

    r->field = 0;
    if (v->type != JSON_ARRAY || name == NULL || name->type != JSON_STRING || name->text.len != 3
        || !hl7_name_valid(name->text.ptr))
        return not_ours(r, "no array that begins with a segment's name");
    if (slice_is(name->text, "MSH") != (r->segment == 1))
        return not_ours(r, "MSH is the first segment and no other");
    buf_put(r->out, name->text);
    field = name->next;
    if (r->segment == 1) {               /* checked by read_delims */
        buf_put(r->out, field->text);
        buf_put(r->out, field->next->text);
        r->field = 2;
        field = field->next->next;
    }
    for (; field != NULL && e == ERR_OK; field = field->next) {
        r->field++;
        buf_putc(r->out, r->d.field);
        e = put_level(r, field, 0);
    }
    r->field = 0;
    return e;
}

/* MSH-1 and MSH-2 of the first segment, which `delimiters` repeats. */
static err read_delims(rebuilder *r, const json *v)
{
    const json *segments = json_get(v, "segments");
    const json *field, *encoding = NULL;
    slice repeated = json_text(v, "delimiters");

    if (segments == NULL || segments->type != JSON_ARRAY || segments->child == NULL
        || segments->child->type != JSON_ARRAY || segments->child->child == NULL)
        return not_ours(r, "no \"segments\"");
    field = segments->child->child->next;
    if (field != NULL) encoding = field->next;
    if (encoding == NULL || field->type != JSON_STRING || field->text.len != 1
        || encoding->type != JSON_STRING || holds(encoding->text, field->text.ptr[0]))
        return not_ours(r, "MSH has no delimiters");
    if (repeated.len != 1 + encoding->text.len || repeated.ptr[0] != field->text.ptr[0]
        || !slice_eq(slice_from(repeated, 1), encoding->text))
        return not_ours(r, "\"delimiters\" differ from MSH-1 and MSH-2");
    if (hl7_delims_read(field->text.ptr[0], encoding->text, &r->d, r->why) != ERR_OK)
        return err_set(r->why, ERR_JSON, "parsed message: delimiters that cannot separate");
    level_separators(&r->d, r->separators);
    return ERR_OK;
}

/* The terminator of the current segment: `v` is one for all, or the segment's own. */
static err put_terminator(rebuilder *r, const json *v, bool last)
{
    static const char *const known[] = { "\r", "\n", "\r\n", "" };

    for (size_t i = 0; v != NULL && v->type == JSON_STRING && i < countof(known); i++) {
        if (!slice_is(v->text, known[i]) || (v->text.len == 0 && !last)) continue;
        buf_put(r->out, v->text);
        return ERR_OK;
    }
    return not_ours(r, "no terminator");
}

/* Puts the blank lines behind the current segment, if `*v` is about it. */
static err put_blank(rebuilder *r, const json **v)
{
    const json *entry = *v, *text;
    int64_t behind;

    if (entry == NULL) return ERR_OK;
    if (entry->type != JSON_ARRAY || entry->count != 2 || entry->child->type != JSON_NUMBER
        || !slice_int(entry->child->text, &behind))
        return not_ours(r, "an entry of \"blank\" is no segment number and text");
    if (behind != (int64_t)r->segment) return ERR_OK;
    text = entry->child->next;
    if (text->type != JSON_STRING || slice_trim(text->text).len > 0)
        return not_ours(r, "\"blank\" holds more than blanks");
    buf_put(r->out, text->text);
    *v = entry->next;
    return ERR_OK;
}

err hl7_json_rebuild(buf *out, const json *v, err_info *why)
{
    rebuilder r = { .out = out, .why = why };
    const json *prefix = json_get(v, "prefix"), *one = json_get(v, "terminator");
    const json *each = json_get(v, "terminators"), *blank = json_get(v, "blank");
    err e = read_delims(&r, v);

    if (e != ERR_OK) return e;
    if (prefix != NULL) {
        if (prefix->type != JSON_STRING || hl7_start(prefix->text) != prefix->text.len)
            return not_ours(&r, "\"prefix\" holds more than a byte order mark and blanks");
        buf_put(out, prefix->text);
    }
    if ((blank != NULL && blank->type != JSON_ARRAY) || (each != NULL && each->type != JSON_ARRAY))
        return not_ours(&r, "\"blank\" or \"terminators\" is no array");
    if (blank != NULL) blank = blank->child;
    if (each != NULL) each = each->child;
    for (const json *s = json_get(v, "segments")->child; s != NULL; s = s->next) {
        r.segment++;
        if ((e = put_segment(&r, s)) != ERR_OK) return e;
        if ((e = put_terminator(&r, one != NULL ? one : each, s->next == NULL)) != ERR_OK) return e;
        if ((e = put_blank(&r, &blank)) != ERR_OK) return e;
        if (each != NULL) each = each->next;
    }
    r.segment = 0;
    if (blank != NULL || each != NULL) return not_ours(&r, "more terminators or blank lines than segments");
    return ERR_OK;
}
