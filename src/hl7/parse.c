/* hl7/parse.c -- the index over a message's bytes.
 *
 * Two passes over the bytes. The first counts separators and line ends, so that
 * both arrays have their exact size; the second fills them:
 *
 *   marks      offsets of the field separators of a segment, then of its end,
 *              for one segment after the other: field n of a segment lies between
 *              two neighbouring marks, without a special case for the last one
 *   segments   name, start, and where its marks begin; one more closes the row
 *
 * What lies between a segment's end and the next one's start is its terminator
 * and perhaps blank lines. Nothing else is kept, and nothing is copied. */
#include "hl7/parse.h"

#include "hl7/scan.h"

typedef struct segment {
    uint32_t name;                       /* its 3 bytes and a 0, as in hl7_path.seg */
    uint32_t start;
    uint32_t first;                      /* of its marks */
} segment;

struct hl7_msg {
    slice      bytes;
    hl7_delims delims;
    segment   *segments;                 /* count + 1 */
    uint32_t  *marks;
    size_t     count;
};

static uint32_t name_pack(const char *p)
{
    uint32_t name = 0;
    memcpy(&name, p, 3);
    return name;
}

static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool hl7_name_valid(const char name[3])
{
    return is_upper(name[0]) && (is_upper(name[1]) || is_digit(name[1]))
        && (is_upper(name[2]) || is_digit(name[2]));
}

/* ---- delimiters ------------------------------------------------------------ */

bool hl7_can_separate(char c)
{
    unsigned char u = (unsigned char)c;
    bool letter = is_upper((char)(c & ~0x20)) || is_digit(c);

    return !letter && u != 0 && u != ' ' && u != '\r' && u != '\n' && u < 0x80;
}

err hl7_delims_read(char field, slice encoding, hl7_delims *out, err_info *why)
{
    hl7_delims d = { .field = field };
    char *role[] = { &d.component, &d.repetition, &d.escape, &d.subcomponent, &d.truncation };
    size_t roles = 0;

    if (!hl7_can_separate(field))
        return err_set(why, ERR_HL7, "MSH-1 (byte 4 of MSH) cannot be a field separator");
    if (encoding.len == 0) return err_set(why, ERR_HL7, "MSH-2 is empty: no encoding characters");
    for (size_t i = 0; i < encoding.len; i++) {
        char c = encoding.ptr[i];
        if (!hl7_can_separate(c))
            return err_set(why, ERR_HL7, "MSH-2: character %zu cannot be an encoding character", i + 1);
        if (i == 3 && c == d.escape && encoding.len > 4)
            continue;                    /* `^~\\&`, written by way of a string literal */
        if (roles == countof(role))
            return err_set(why, ERR_HL7, "MSH-2 has more than five encoding characters");
        for (size_t n = 0; n < roles; n++)
            if (*role[n] == c)
                return err_set(why, ERR_HL7, "MSH-2: character %zu stands there twice", i + 1);
        *role[roles++] = c;
    }
    if (roles == 3 && d.escape == '&') { /* `^~&`, the same slip the other way round */
        d.subcomponent = '&';
        d.escape = 0;
    }
    *out = d;
    return ERR_OK;
}

/* ---- the index ------------------------------------------------------------- */

typedef struct filler {
    const char *base;
    segment    *segments;
    uint32_t   *marks;
    size_t      count, mark;
    size_t      line;                    /* where the current line starts */
    size_t      line_mark;               /* its first mark */
    char        sep;
} filler;

static bool is_blank(slice line) { return slice_trim(line).len == 0; }

/* FHS, BHS, BTS, FTS stand around messages, never in one (2.10.3). With empty
 * fields they are but names, from a sender who writes every segment there is. */
static bool is_wrapper(const char *p, size_t len, char sep)
{
    if ((p[0] != 'F' && p[0] != 'B') || (p[1] != 'H' && p[1] != 'T') || p[2] != 'S') return false;
    for (size_t i = 3; i < len; i++)
        if (p[i] != sep) return true;
    return false;
}

/* What is wrong with a line that is neither a segment nor blank. */
static const char *line_fault(const char *p, size_t len)
{
    if (len < 3 || !hl7_name_valid(p)) return "the line does not begin with a segment's name";
    return "no field separator after the segment's name";
}

/* The line that began at f->line ends before `end`: a segment, or blank. */
static err end_line(filler *f, size_t end, err_info *why)
{
    const char *p = f->base + f->line, *fault = NULL;
    size_t len = end - f->line;

    if (len >= 3 && hl7_name_valid(p) && (len == 3 || p[3] == f->sep)) {
        segment *s = &f->segments[f->count];
        *s = (segment){ name_pack(p), (uint32_t)f->line, (uint32_t)f->line_mark };
        if (f->count > 0 && s->name == f->segments[0].name) fault = "a second MSH in one message";
        else if (is_wrapper(p, len, f->sep)) fault = "a batch's header or trailer inside a message";
        f->count++;
        f->marks[f->mark++] = (uint32_t)end;
    } else if (len > 0 && !is_blank((slice){ p, len })) {
        f->count++;
        fault = line_fault(p, len);
    }
    if (fault != NULL)
        return err_set(why, ERR_HL7, "segment %zu (byte %zu): %s", f->count, f->line + 1, fault);
    f->line = end + 1;
    f->line_mark = f->mark;
    return ERR_OK;
}

static inline void put_marks(filler *f, size_t base, uint64_t mask)
{
    uint32_t *at = f->marks + f->mark;

    for (; mask != 0; mask &= mask - 1)
        *at++ = (uint32_t)(base + (size_t)__builtin_ctzll(mask));
    f->mark = (size_t)(at - f->marks);
}

static err fill_block(filler *f, const char *p, size_t base, err_info *why)
{
    scan_masks m = scan_block(p, f->sep);

    while (m.ends != 0) {
        uint64_t before = m.seps & ((m.ends & -m.ends) - 1);
        size_t end = base + (size_t)__builtin_ctzll(m.ends);
        put_marks(f, base, before);
        err e = end_line(f, end, why);
        if (e != ERR_OK) return e;
        m.seps ^= before;
        m.ends &= m.ends - 1;
    }
    put_marks(f, base, m.seps);
    return ERR_OK;
}

static err fill(filler *f, slice bytes, err_info *why)
{
    char last[SCAN_BLOCK] = { 0 };       /* 0 is neither separator nor line end */
    size_t at = f->line;
    err e;

    for (; bytes.len - at >= SCAN_BLOCK; at += SCAN_BLOCK)
        if ((e = fill_block(f, bytes.ptr + at, at, why)) != ERR_OK) return e;
    memcpy(last, bytes.ptr + at, bytes.len - at);
    if ((e = fill_block(f, last, at, why)) != ERR_OK) return e;
    if (f->line < bytes.len && (e = end_line(f, bytes.len, why)) != ERR_OK) return e;
    f->segments[f->count] = (segment){ 0, (uint32_t)bytes.len, (uint32_t)f->mark };
    return ERR_OK;
}

size_t hl7_start(slice bytes)
{
    size_t at = slice_starts(bytes, slice_lit("\xEF\xBB\xBF")) ? 3 : 0;

    while (at < bytes.len && strchr("\r\n\t ", bytes.ptr[at]) != NULL && bytes.ptr[at] != 0) at++;
    return at;
}

err hl7_parse(arena *mem, slice bytes, hl7_msg **out, err_info *why)
{
    size_t start = hl7_start(bytes), seps, ends;
    slice rest = slice_from(bytes, start), encoding;
    hl7_delims delims;

    if (bytes.len >= UINT32_MAX) return err_set(why, ERR_LIMIT, "a message of 4 GiB or more");
    if (rest.len == 0) return err_set(why, ERR_HL7, "empty: no MSH segment");
    if (!slice_starts(rest, slice_lit("MSH")))
        return err_set(why, ERR_HL7, "byte %zu: no MSH segment at the front", start + 1);
    if (rest.len < 4) return err_set(why, ERR_HL7, "MSH ends before MSH-1, the field separator");
    encoding = hl7_encoding(rest);
    err e = hl7_delims_read(rest.ptr[3], encoding, &delims, why);
    if (e != ERR_OK) return e;

    scan_count(rest, delims.field, &seps, &ends);
    filler f = {
        .base = bytes.ptr, .line = start, .sep = delims.field,
        .segments = arena_alloc(mem, (ends + 2) * sizeof(segment)),
        .marks = arena_alloc(mem, (seps + ends + 1) * sizeof(uint32_t)),
    };
    if ((e = fill(&f, bytes, why)) != ERR_OK) return e;

    hl7_msg *m = arena_alloc(mem, sizeof *m);
    *m = (hl7_msg){ bytes, delims, f.segments, f.marks, f.count };
    *out = m;
    return ERR_OK;
}

slice hl7_encoding(slice msh)
{
    size_t end = 4;

    while (end < msh.len && msh.ptr[end] != msh.ptr[3] && msh.ptr[end] != '\r' && msh.ptr[end] != '\n')
        end++;
    return (slice){ msh.ptr + 4, end - 4 };
}

/* ---- reading --------------------------------------------------------------- */

slice hl7_bytes(const hl7_msg *m) { return m->bytes; }
const hl7_delims *hl7_delims_of(const hl7_msg *m) { return &m->delims; }
size_t hl7_segment_count(const hl7_msg *m) { return m->count; }

slice hl7_segment_name(const hl7_msg *m, size_t index)
{
    if (index >= m->count) return SLICE_NONE;
    return (slice){ m->bytes.ptr + m->segments[index].start, 3 };
}

slice hl7_segment_bytes(const hl7_msg *m, size_t index)
{
    if (index >= m->count) return SLICE_NONE;
    const segment *s = &m->segments[index];
    return (slice){ m->bytes.ptr + s->start, m->marks[s[1].first - 1] - s->start };
}

static size_t find(const hl7_msg *m, uint32_t name, size_t occ)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->segments[i].name == name && --occ == 0) return i;
    return SIZE_MAX;
}

size_t hl7_segment_find(const hl7_msg *m, const char name[3], size_t occ)
{
    return occ == 0 ? SIZE_MAX : find(m, name_pack(name), occ);
}

size_t hl7_field_count(const hl7_msg *m, size_t index)
{
    if (index >= m->count) return 0;
    const segment *s = &m->segments[index];
    /* One mark is the end; MSH counts its first separator as a field (2.14.9). */
    return s[1].first - s->first - (index > 0);
}

slice hl7_field(const hl7_msg *m, size_t index, size_t field)
{
    if (field == 0 || field > hl7_field_count(m, index)) return SLICE_NONE;
    const segment *s = &m->segments[index];
    if (index == 0 && --field == 0) return (slice){ m->bytes.ptr + s->start + 3, 1 };
    uint32_t from = m->marks[s->first + field - 1] + 1;
    return (slice){ m->bytes.ptr + from, m->marks[s->first + field] - from };
}

slice hl7_part(slice whole, char separator, size_t n)
{
    if (whole.ptr == NULL || n == 0) return SLICE_NONE;
    if (separator == 0) return n == 1 ? whole : SLICE_NONE;
    const char *end = whole.ptr + whole.len, *at = whole.ptr;
    for (;;) {
        const char *cut = memchr(at, separator, (size_t)(end - at));
        if (n == 1) return (slice){ at, (size_t)((cut == NULL ? end : cut) - at) };
        if (cut == NULL) return SLICE_NONE;
        at = cut + 1;
        n--;
    }
}

size_t hl7_part_count(slice whole, char separator)
{
    size_t count = whole.len > 0;

    if (separator == 0) return count;
    for (slice rest = whole; rest.len > 0; count++) {
        const char *cut = memchr(rest.ptr, separator, rest.len);
        if (cut == NULL) break;
        rest = slice_from(rest, (size_t)(cut - rest.ptr) + 1);
    }
    return count;
}

/* `[*]` means the first here: one value is asked for. */
static size_t ordinal(uint16_t n) { return n == 0 || n == HL7_EVERY ? 1 : n; }

slice hl7_get_in(const hl7_msg *m, size_t index, const hl7_path *path)
{
    const hl7_delims *d = &m->delims;
    slice v;

    if (path->field == 0) return hl7_segment_bytes(m, index);
    v = hl7_field(m, index, path->field);
    if (path->rep == 0 && path->comp == 0) return v;
    if (index == 0 && path->field <= 2)  /* MSH-1 and MSH-2 are what would split them */
        return ordinal(path->rep) == 1 && path->comp <= 1 && path->sub <= 1 ? v : SLICE_NONE;
    v = hl7_part(v, d->repetition, ordinal(path->rep));
    if (path->comp > 0) v = hl7_part(v, d->component, path->comp);
    if (path->sub > 0) v = hl7_part(v, d->subcomponent, path->sub);
    return v;
}

slice hl7_get(const hl7_msg *m, const hl7_path *path)
{
    size_t index = find(m, name_pack(path->seg), ordinal(path->occ));

    return index == SIZE_MAX ? SLICE_NONE : hl7_get_in(m, index, path);
}
