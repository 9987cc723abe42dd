/* hl7/head.c -- MSH's fields, ordering keys, and what to hash. */
#include "hl7/head.h"

static slice first_part(const hl7_delims *d, slice field, size_t component)
{
    return hl7_part(hl7_part(field, d->repetition, 1), d->component, component);
}

/* Fills `h` from MSH's fields, wherever `field` finds them. */
static void read_fields(hl7_head *h, slice (*field)(const void *from, size_t n), const void *from)
{
    const hl7_delims *d = &h->delims;
    slice type = field(from, 9);

    h->sending_app = field(from, 3);
    h->sending_facility = field(from, 4);
    h->receiving_app = field(from, 5);
    h->receiving_facility = field(from, 6);
    h->time = field(from, 7);
    h->security = field(from, 8);
    h->type = first_part(d, type, 1);
    h->event = first_part(d, type, 2);
    h->structure = first_part(d, type, 3);
    h->control_id = field(from, 10);
    h->processing_id = field(from, 11);
    h->version = first_part(d, field(from, 12), 1);
    h->accept_ack = field(from, 15);
    h->application_ack = field(from, 16);
    h->charset = field(from, 18);
}

static slice field_of_message(const void *from, size_t n) { return hl7_field(from, 0, n); }

void hl7_head_read(const hl7_msg *m, hl7_head *out)
{
    *out = (hl7_head){ .delims = *hl7_delims_of(m) };
    read_fields(out, field_of_message, m);
}

/* MSH-1 as the separator, so that field 1 is the name and 2 the encoding characters. */
static slice field_of_line(const void *from, size_t n)
{
    const slice *msh = from;
    return hl7_part(*msh, msh->ptr[3], n);
}

/* The usual characters, `|` in the place of one that already separates fields. */
static hl7_delims usual_delims(char field)
{
    hl7_delims d = { field, '^', '~', '\\', '&', 0 };
    char *role[] = { &d.component, &d.repetition, &d.escape, &d.subcomponent };

    for (size_t i = 0; i < countof(role); i++)
        if (*role[i] == field) *role[i] = '|';
    return d;
}

bool hl7_head_guess(slice bytes, hl7_head *out)
{
    slice msh = slice_from(bytes, hl7_start(bytes));
    size_t end = 0;

    *out = (hl7_head){ 0 };
    if (msh.len < 4 || !slice_starts(msh, slice_lit("MSH"))) return false;
    while (end < msh.len && msh.ptr[end] != '\r' && msh.ptr[end] != '\n') end++;
    msh.len = end;
    if (msh.len < 4 || !hl7_can_separate(msh.ptr[3])) return false;
    if (hl7_delims_read(msh.ptr[3], hl7_encoding(msh), &out->delims, NULL) != ERR_OK)
        out->delims = usual_delims(msh.ptr[3]);
    read_fields(out, field_of_line, &msh);
    return true;
}

slice hl7_head_type(arena *mem, const hl7_head *h)
{
    buf b = buf_in(mem);

    buf_put(&b, h->type);
    if (h->event.len > 0) {
        buf_putc(&b, '^');
        buf_put(&b, h->event);
    }
    return buf_slice(&b);
}

bool hl7_type_matches(slice pattern, slice type)
{
    slice event, wanted_event;
    slice code = slice_cut(type, '^', &event), wanted = slice_cut(pattern, '^', &wanted_event);

    if (slice_is(pattern, "*")) return true;
    if (!slice_eq(code, wanted)) return false;
    return wanted_event.ptr == NULL || slice_is(wanted_event, "*") || slice_eq(wanted_event, event);
}

/* ---- ordering keys ---------------------------------------------------------- */

typedef struct key_set {
    arena *mem;
    slice *key;
    size_t count;
} key_set;

/* Keeps the set sorted; the null value names nothing and is no key. */
static void add_key(key_set *set, slice key)
{
    size_t at = 0;

    if (key.len == 0 || hl7_is_null(key)) return;
    while (at < set->count && slice_cmp(set->key[at], key) < 0) at++;
    if (set->count == HL7_KEYS_MAX || (at < set->count && slice_eq(set->key[at], key))) return;
    memmove(set->key + at + 1, set->key + at, (set->count - at) * sizeof(slice));
    set->key[at] = arena_dup(set->mem, key);
    set->count++;
}

static void add_at_path(key_set *set, const hl7_msg *m, size_t index, const hl7_path *path)
{
    size_t reps = 1;
    hl7_path p = *path;

    if (path->rep == HL7_EVERY)
        reps = hl7_part_count(hl7_field(m, index, path->field), hl7_delims_of(m)->repetition);
    for (size_t r = 1; r <= reps && r < HL7_EVERY; r++) {
        if (path->rep == HL7_EVERY) p.rep = (uint16_t)r;
        add_key(set, hl7_get_in(m, index, &p));
    }
}

/* "id^authority" of a CX field's first repetition that has an id. Not of the others: what many
 * patients share there (a placeholder for a missing number) would put them all in one lane. */
static void add_patient_id(key_set *set, const hl7_msg *m, size_t index, size_t field)
{
    const hl7_delims *d = hl7_delims_of(m);
    slice rest;

    for (slice rep = hl7_field(m, index, field); rep.ptr != NULL; rep = rest) {
        rest = SLICE_NONE;
        slice one = d->repetition == 0 ? rep : slice_cut(rep, d->repetition, &rest);
        slice id = hl7_part(one, d->component, 1), authority = hl7_part(one, d->component, 4);
        if (id.len == 0 || hl7_is_null(id)) continue;
        buf b = buf_in(set->mem);
        buf_put(&b, id);
        buf_putc(&b, '^');
        buf_put(&b, authority);
        add_key(set, buf_slice(&b));
        return;
    }
}

size_t hl7_keys(arena *mem, const hl7_msg *m, const hl7_path *paths, size_t path_count,
                slice out[HL7_KEYS_MAX])
{
    key_set set = { mem, out, 0 };

    for (size_t i = 0; path_count == 0 && i < hl7_segment_count(m); i++) {
        slice name = hl7_segment_name(m, i);
        if (slice_is(name, "PID")) add_patient_id(&set, m, i, 3);
        else if (slice_is(name, "MRG")) add_patient_id(&set, m, i, 1);
    }
    for (size_t n = 0; n < path_count; n++) {
        const hl7_path *p = &paths[n];
        size_t seen = 0;
        for (size_t i = 0; i < hl7_segment_count(m); i++) {
            if (memcmp(hl7_segment_name(m, i).ptr, p->seg, 3) != 0) continue;
            seen++;
            if (p->occ == HL7_EVERY || seen == (p->occ == 0 ? 1 : p->occ))
                add_at_path(&set, m, i, p);
        }
    }
    return set.count;
}

void hl7_stable_bytes(const hl7_msg *m, void (*each)(void *arg, slice piece), void *arg)
{
    slice bytes = hl7_bytes(m);
    const char *from = bytes.ptr;

    for (size_t field = 7; field <= 8; field++) {
        slice left_out = hl7_field(m, 0, field);
        if (left_out.len == 0) continue;
        each(arg, (slice){ from, (size_t)(left_out.ptr - from) });
        from = left_out.ptr + left_out.len;
    }
    each(arg, (slice){ from, (size_t)(bytes.ptr + bytes.len - from) });
}
