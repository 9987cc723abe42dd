/* hl7/escape.c -- escape sequences (2.7), read and written.
 *
 * An escape is what stands between two escape characters. One that we do not
 * know stays as it is; unless it is a local one (\Z…\) or formatting (\.…\), its
 * second escape character may begin the next: in `5\6 mg \T\ x` only `\T\` is one. */
#include "hl7/text.h"

#define LINES_MAX 100                    /* \.sp<n>\ and \.sk<n>\ from anybody */

typedef struct unescaper {
    arena            *mem;
    const hl7_msg    *m;
    const hl7_delims *d;
    buf               out;
    buf               hex;               /* bytes of \X…\ that stand side by side */
    slice             shift;             /* the character set that \M…\ or \C…\ chose */
    size_t            shifted;           /* where in `out` its characters begin */
} unescaper;

/* ---- bytes that mean characters of the message's set ------------------------ */

/* Together, since a character may be cut over several escapes: \XC3\\XA9\. */
static void flush_hex(unescaper *u)
{
    static const hl7_path charset = { .seg = "MSH", .occ = 1, .field = 18 };
    slice text;
    bool exact;

    if (u->hex.len == 0) return;
    hl7_decode(u->mem, buf_slice(&u->hex), hl7_get(u->m, &charset), u->d->repetition, &text, &exact);
    buf_put(&u->out, text);
    buf_clear(&u->hex);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static bool hex_bytes(buf *out, slice digits)
{
    size_t before = out->len;

    if (digits.len == 0 || digits.len % 2 != 0) return false;
    for (size_t i = 0; i < digits.len; i += 2) {
        int high = hex_digit(digits.ptr[i]), low = hex_digit(digits.ptr[i + 1]);
        if (high < 0 || low < 0) {
            out->len = before;
            return false;
        }
        buf_putc(out, (char)(unsigned char)(high * 16 + low));
    }
    return true;
}

/* What follows a \M…\ or \C…\ up to the next one, or to the end, is in the set
 * that its ISO 2022 sequence names (2.7.2): \M2442\ Kanji, \C2842\ ASCII again. */
static void end_shift(unescaper *u)
{
    slice text, coded;
    bool exact;

    flush_hex(u);
    if (u->shift.len > 0 && u->out.len > u->shifted) {
        coded = arena_printf(u->mem, "\x1B%.*s%.*s\x1B(B", (int)u->shift.len, u->shift.ptr,
                             (int)(u->out.len - u->shifted), u->out.ptr + u->shifted);
        hl7_decode(u->mem, coded, slice_lit("~ISO IR87~ISO IR159"), '~', &text, &exact);
        u->out.len = u->shifted;
        buf_put(&u->out, text);
    }
    u->shift = SLICE_NONE;
}

static bool begin_shift(unescaper *u, slice digits)
{
    buf bytes = buf_in(u->mem);

    if (!hex_bytes(&bytes, digits)) return false;
    end_shift(u);
    /* ASCII, and sets of the upper half, which is decoded already, change nothing. */
    if (bytes.ptr[0] == '$' || (bytes.ptr[0] == '(' && bytes.len == 2 && bytes.ptr[1] != 'B')) {
        u->shift = buf_slice(&bytes);
        u->shifted = u->out.len;
    }
    return true;
}

/* ---- one escape -------------------------------------------------------------- */

/* The count behind \.sp and \.sk, 1 when none is given. */
static bool read_count(slice text, size_t *out)
{
    int64_t n = 1;

    text = slice_trim(text);
    if (text.len > 0 && text.ptr[0] == '+') text = slice_from(text, 1);
    if (text.len > 0 && (!slice_int(text, &n) || n < 0)) return false;
    *out = n < LINES_MAX ? (size_t)n : LINES_MAX;
    return true;
}

static void put_times(buf *out, char c, size_t n)
{
    while (n-- > 0) buf_putc(out, c);
}

static bool format(unescaper *u, slice command)
{
    static const char *const silent[] = { ".in", ".ti", ".fi", ".nf" };
    size_t n;

    if (slice_is(command, ".br") || slice_is(command, ".ce")) {
        buf_putc(&u->out, '\n');
        return true;
    }
    if (slice_starts(command, slice_lit(".sp")) && read_count(slice_from(command, 3), &n)) {
        put_times(&u->out, '\n', n);
        return true;
    }
    if (slice_starts(command, slice_lit(".sk")) && read_count(slice_from(command, 3), &n)) {
        put_times(&u->out, ' ', n);
        return true;
    }
    for (size_t i = 0; i < countof(silent); i++)
        if (slice_starts(command, slice_of(silent[i]))) return true;
    return false;
}

/* False when it is no escape that we know. */
static bool resolve(unescaper *u, slice escape)
{
    const hl7_delims *d = u->d;
    char c = escape.len > 0 ? escape.ptr[0] : 0, meant = 0;

    if (c == 'X') return hex_bytes(&u->hex, slice_from(escape, 1));
    flush_hex(u);
    if (c == '.') return format(u, escape);
    if ((c == 'C' && escape.len == 5) || (c == 'M' && (escape.len == 5 || escape.len == 7)))
        return begin_shift(u, slice_from(escape, 1));
    if (escape.len != 1) return false;
    switch (c) {
    case 'F': meant = d->field; break;
    case 'S': meant = d->component; break;
    case 'T': meant = d->subcomponent; break;
    case 'R': meant = d->repetition; break;
    case 'E': meant = d->escape; break;
    case 'P': meant = d->truncation; break;
    case 'H': case 'N': return true;     /* highlighting */
    default: break;
    }
    if (meant == 0) return false;
    buf_putc(&u->out, meant);
    return true;
}

slice hl7_unescape(arena *mem, const hl7_msg *m, slice raw)
{
    const hl7_delims *d = hl7_delims_of(m);
    const char *open, *shut;

    if (raw.len == 0 || d->escape == 0 || memchr(raw.ptr, d->escape, raw.len) == NULL) return raw;
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    unescaper u = { .mem = mem, .m = m, .d = d, .out = buf_in(mem), .hex = buf_in(mem) };
    while ((open = memchr(at, d->escape, (size_t)(end - at))) != NULL) {
        if (open > at) flush_hex(&u);
        buf_put(&u.out, (slice){ at, (size_t)(open - at) });
        shut = memchr(open + 1, d->escape, (size_t)(end - open - 1));
        at = open;
        if (shut == NULL) break;
        slice escape = { open + 1, (size_t)(shut - open - 1) };
        if (resolve(&u, escape)) {
            at = shut + 1;
            continue;
        }
        flush_hex(&u);
        bool whole = escape.len > 0 && (escape.ptr[0] == 'Z' || escape.ptr[0] == '.');
        at = whole ? shut + 1 : open + 1;
        buf_put(&u.out, (slice){ open, (size_t)(at - open) });
    }
    flush_hex(&u);
    buf_put(&u.out, (slice){ at, (size_t)(end - at) });
    end_shift(&u);
    return buf_slice(&u.out);
}

/* ---- writing ------------------------------------------------------------------ */

/* The letter that stands for a delimiter; 0 when `c` is none. */
static char escape_letter(const hl7_delims *d, char c)
{
    if (c == 0) return 0;
    if (c == d->field) return 'F';
    if (c == d->component) return 'S';
    if (c == d->subcomponent) return 'T';
    if (c == d->repetition) return 'R';
    if (c == d->escape) return 'E';
    if (c == d->truncation) return 'P';
    return 0;
}

void hl7_escape(buf *out, const hl7_delims *d, slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i], letter = escape_letter(d, c);
        bool line_end = c == '\r' || c == '\n';

        if (letter == 0 && !line_end) {
            buf_putc(out, c);
        } else if (d->escape == 0) {     /* the sender has no way to say it */
            buf_putc(out, ' ');
        } else {
            buf_putc(out, d->escape);
            if (line_end) buf_puts(out, c == '\r' ? "X0D" : "X0A");
            else buf_putc(out, letter);
            buf_putc(out, d->escape);
        }
    }
}
