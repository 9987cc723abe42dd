/* script/edit.c -- puts a value into a message, by writing the message anew. */
#include "script/edit.h"

#include "hl7/text.h"

typedef struct level { char separator; size_t part; } level;

/* Writes `whole` with the part that the levels name replaced by `value`. */
static void put_part(buf *out, slice whole, const level *at, int levels, slice value)
{
    if (levels == 0) {
        buf_put(out, value);
        return;
    }
    slice part, rest = whole;
    for (size_t i = 1; i <= at->part || rest.ptr != NULL; i++) {
        if (at->separator != 0 && rest.ptr != NULL) {
            part = slice_cut(rest, at->separator, &rest);
        } else {
            part = rest;
            rest = SLICE_NONE;
        }
        if (i > 1) buf_putc(out, at->separator);
        if (i == at->part) put_part(out, part, at + 1, levels - 1, value);
        else buf_put(out, part);
    }
}

err message_set_raw(message_edit *e, const hl7_path *path, slice raw, err_info *why)
{
    const hl7_delims *d = hl7_delims_of(e->msg);
    size_t occ = path->occ == 0 ? 1 : path->occ, index = hl7_segment_find(e->msg, path->seg, occ);
    slice bytes = hl7_bytes(e->msg), segment = hl7_segment_bytes(e->msg, index), old;
    hl7_msg *changed;

    if (path->field == 0 || path->occ == HL7_EVERY || path->rep == HL7_EVERY)
        return err_set(why, ERR_PATH, "a path to set names one field");
    if (index == SIZE_MAX) return err_set(why, ERR_PATH, "no %s segment to set", path->seg);
    if (index == 0 && path->field <= 2) return err_set(why, ERR_PATH, "MSH-1 and MSH-2 cannot be set");

    size_t have = hl7_field_count(e->msg, index);
    old = hl7_field(e->msg, index, path->field);
    const char *before = path->field <= have ? old.ptr : segment.ptr + segment.len;
    const char *after = path->field <= have ? old.ptr + old.len : before;
    level levels[3] = { { d->repetition, path->rep == 0 ? 1 : path->rep },
                        { d->component, path->comp == 0 ? 1 : path->comp },
                        { d->subcomponent, path->sub } };
    int depth = path->sub > 0 ? 3 : path->comp > 0 ? 2 : path->rep > 0;
    for (int i = 0; i < depth; i++)
        if (levels[i].separator == 0 && levels[i].part > 1)
            return err_set(why, ERR_PATH, "MSH-2 has no separator for what the path names");

    buf out = buf_in(e->mem);
    buf_put(&out, (slice){ bytes.ptr, (size_t)(before - bytes.ptr) });
    for (size_t i = have; i < path->field; i++) buf_putc(&out, d->field);
    put_part(&out, path->field <= have ? old : SLICE_NONE, levels, depth, raw);
    buf_put(&out, (slice){ after, (size_t)(bytes.ptr + bytes.len - after) });
    err code = hl7_parse(e->mem, buf_slice(&out), &changed, why);
    if (code == ERR_OK) e->msg = changed;
    return code;
}

err message_set(message_edit *e, const hl7_path *path, slice text, err_info *why)
{
    buf escaped = buf_in(e->mem);

    hl7_escape(&escaped, hl7_delims_of(e->msg), text);
    return message_set_raw(e, path, buf_slice(&escaped), why);
}

err message_declare_utf8(message_edit *e, err_info *why)
{
    static const hl7_path charset = { .seg = "MSH", .occ = 1, .field = 18 };
    slice bytes = hl7_bytes(e->msg);
    size_t i = 0;

    while (i < bytes.len && (unsigned char)bytes.ptr[i] < 0x80) i++;
    if (i == bytes.len || slice_is(hl7_get(e->msg, &charset), "UNICODE UTF-8")) return ERR_OK;
    return message_set_raw(e, &charset, slice_lit("UNICODE UTF-8"), why);
}
