/* hl7/charset.c -- MSH-18 (HL7 table 0211) to UTF-8 and back.
 *
 * What most messages are costs one look over the bytes: valid UTF-8 (ASCII is)
 * stays where it is. Latin-1 is widened here; the rest is glibc's iconv, opened
 * for each message that needs it. */
#include <errno.h>
#include <iconv.h>

#include "base/json.h"
#include "hl7/text.h"

#define REPLACEMENT "\xEF\xBF\xBD"       /* U+FFFD */
#define SYMBOL_NUL "\xE2\x90\x80"        /* U+2400 */

typedef enum coding {
    CODING_UNKNOWN,      /* not declared, or by a name that nobody knows */
    CODING_UTF8,
    CODING_LATIN1,
    CODING_KATAKANA,     /* JIS X 0201: ASCII and half-width katakana */
    CODING_SINGLE,       /* a byte a character, by iconv */
    CODING_DOUBLE,       /* two bytes a character, ASCII beside them, by iconv */
    CODING_ISO2022       /* switched to by ESC sequences */
} coding;

typedef struct charset {
    const char *name;                    /* normalised, see charset_of */
    coding      coding;
    const char *iconv;
} charset;

/* Table 0211, and names that the field uses beside it. The UTF-16 and UTF-32
 * codes are not here: bytes of those forms show what they are, and a message
 * that declares them in ASCII bytes is not in them. */
static const charset charsets[] = {
    { "ASCII", CODING_SINGLE, "ASCII" },          { "USASCII", CODING_SINGLE, "ASCII" },
    { "IR6", CODING_SINGLE, "ASCII" },
    { "88591", CODING_LATIN1, "ISO-8859-1" },     { "LATIN1", CODING_LATIN1, "ISO-8859-1" },
    { "IR100", CODING_LATIN1, "ISO-8859-1" },
    { "88592", CODING_SINGLE, "ISO-8859-2" },     { "88593", CODING_SINGLE, "ISO-8859-3" },
    { "88594", CODING_SINGLE, "ISO-8859-4" },     { "88595", CODING_SINGLE, "ISO-8859-5" },
    { "88596", CODING_SINGLE, "ISO-8859-6" },     { "88597", CODING_SINGLE, "ISO-8859-7" },
    { "88598", CODING_SINGLE, "ISO-8859-8" },     { "88599", CODING_SINGLE, "ISO-8859-9" },
    { "885915", CODING_SINGLE, "ISO-8859-15" },
    { "WINDOWS1252", CODING_SINGLE, "CP1252" },   { "CP1252", CODING_SINGLE, "CP1252" },
    { "WINDOWS1250", CODING_SINGLE, "CP1250" },   { "WINDOWS1251", CODING_SINGLE, "CP1251" },
    { "IR14", CODING_KATAKANA, "ASCII" },
    { "IR87", CODING_ISO2022, "ISO-2022-JP" },    { "IR159", CODING_ISO2022, "ISO-2022-JP-2" },
    { "GB180302000", CODING_DOUBLE, "GB18030" },  { "GB18030", CODING_DOUBLE, "GB18030" },
    { "GB2312", CODING_DOUBLE, "GB18030" },       { "GBK", CODING_DOUBLE, "GB18030" },
    { "KSX1001", CODING_DOUBLE, "UHC" },          { "EUCKR", CODING_DOUBLE, "UHC" },
    { "CNS116431992", CODING_DOUBLE, "EUC-TW" },
    { "BIG5", CODING_DOUBLE, "BIG5" },
    { "SHIFTJIS", CODING_DOUBLE, "CP932" },       { "SJIS", CODING_DOUBLE, "CP932" },
    { "UNICODE", CODING_UTF8, NULL },             { "UNICODEUTF8", CODING_UTF8, NULL },
    { "UTF8", CODING_UTF8, NULL },
};

static const charset unknown_charset = { "", CODING_UNKNOWN, NULL };

/* By its letters and digits, whatever is between: "8859/1", "ISO-8859-1", "iso ir100". */
static const charset *charset_of(slice name)
{
    char plain[24];
    size_t n = 0;

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9')) continue;
        if (n == sizeof plain) return &unknown_charset;
        plain[n++] = c;
        if (n == 3 && memcmp(plain, "ISO", 3) == 0) n = 0;
    }
    for (size_t i = 0; i < countof(charsets); i++)
        if (slice_is((slice){ plain, n }, charsets[i].name)) return &charsets[i];
    return &unknown_charset;
}

/* The ISO 2022 set among the field's repetitions, the richest; NULL when none. */
static const charset *switched_set(slice field, char repetition)
{
    const charset *found = NULL;

    for (size_t n = 1; n <= hl7_part_count(field, repetition); n++) {
        const charset *c = charset_of(hl7_part(field, repetition, n));
        if (c->coding == CODING_ISO2022 && (found == NULL || slice_is(slice_of(c->name), "IR159")))
            found = c;
    }
    return found;
}

/* ---- conversion --------------------------------------------------------------- */

static void put_code_point(buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_putc(out, (char)c);
    } else if (c < 0x800) {
        buf_putc(out, (char)(0xC0 | (c >> 6)));
        buf_putc(out, (char)(0x80 | (c & 63)));
    } else {
        buf_putc(out, (char)(0xE0 | (c >> 12)));
        buf_putc(out, (char)(0x80 | ((c >> 6) & 63)));
        buf_putc(out, (char)(0x80 | (c & 63)));
    }
}

/* One conversion, kept open for all the parts of a message. */
typedef struct converter {
    iconv_t     cd;
    bool        from_utf8;
    const char *instead;                 /* for what has no counterpart */
} converter;

static converter converter_open(const char *to, const char *from, const char *instead)
{
    return (converter){ iconv_open(to, from), strcmp(from, "UTF-8") == 0, instead };
}

static bool is_open(const converter *c) { return c->cd != (iconv_t)-1; }

static void converter_shut(converter *c)
{
    if (is_open(c)) (void)iconv_close(c->cd);
}

/* ASCII alone, on a system without glibc's gconv modules. */
static void put_ascii(buf *out, slice in, const char *instead)
{
    for (size_t i = 0; i < in.len; i++)
        if ((unsigned char)in.ptr[i] < 0x80) buf_putc(out, in.ptr[i]);
        else buf_puts(out, instead);
}

static void convert(buf *out, slice in, const converter *c)
{
    char *at = (char *)(uintptr_t)in.ptr;        /* iconv does not write there */
    size_t left = in.len, size;
    char *room, *end;

    if (!is_open(c)) {
        put_ascii(out, in, c->instead);
        return;
    }
    while (left > 0) {
        room = end = buf_room(out, left * 2 + 16);
        size = out->cap - out->len;
        size_t done = iconv(c->cd, &at, &left, &end, &size);
        out->len += (size_t)(end - room);
        if (done != (size_t)-1 || errno == E2BIG) continue;
        buf_puts(out, c->instead);
        do {                             /* a whole character where that is known */
            at++;
            left--;
        } while (c->from_utf8 && left > 0 && ((unsigned char)*at & 0xC0) == 0x80);
    }
    room = end = buf_room(out, 16);
    size = out->cap - out->len;
    (void)iconv(c->cd, NULL, NULL, &end, &size); /* back to the initial shift state */
    out->len += (size_t)(end - room);
}

static void convert_once(buf *out, slice in, const char *to, const char *from, const char *instead)
{
    converter c = converter_open(to, from, instead);

    convert(out, in, &c);
    converter_shut(&c);
}

static void decode_utf8(buf *out, slice in)
{
    while (in.len > 0) {
        size_t good = utf8_valid(in);
        buf_put(out, (slice){ in.ptr, good });
        in = slice_from(in, good);
        if (in.len == 0) break;
        buf_puts(out, REPLACEMENT);
        in = slice_from(in, 1);
    }
}

static bool needs_iconv(const charset *c)
{
    return c->coding == CODING_SINGLE || c->coding == CODING_DOUBLE || c->coding == CODING_ISO2022;
}

static converter decoder_of(const charset *c)
{
    if (!needs_iconv(c)) return (converter){ .cd = (iconv_t)-1 };
    return converter_open("UTF-8", c->iconv, REPLACEMENT);
}

/* `by` is the set's decoder. */
static void decode_part(buf *out, slice in, const charset *c, const converter *by)
{
    if (c->coding == CODING_UTF8) {
        decode_utf8(out, in);
    } else if (needs_iconv(c)) {
        convert(out, in, by);
    } else {
        for (size_t i = 0; i < in.len; i++) {
            unsigned char u = (unsigned char)in.ptr[i];
            if (c->coding != CODING_KATAKANA || u < 0x80) put_code_point(out, u);
            else put_code_point(out, u >= 0xA1 && u <= 0xDF ? 0xFF61u + (u - 0xA1u) : 0xFFFD);
        }
    }
}

/* ESC sequences that end a run of another set: ASCII or JIS-Roman into G0. */
static size_t run_end(slice in)
{
    for (size_t i = 0; i + 3 <= in.len; i++) {
        if (in.ptr[i] == '\r' || in.ptr[i] == '\n') return i;
        if (in.ptr[i] == 0x1B && in.ptr[i + 1] == '(' && (in.ptr[i + 2] == 'B' || in.ptr[i + 2] == 'J'))
            return i + 3;
    }
    return in.len;
}

/* What is not in another set is in the first one, as each line is at its start.
 * Only the runs are converted by ISO 2022: in JIS-Roman `\` would be a yen sign. */
static void decode_switched(buf *out, slice in, const charset *first, const charset *other)
{
    converter by_first = decoder_of(first), by_other = decoder_of(other);

    while (in.len > 0) {
        const char *esc = memchr(in.ptr, 0x1B, in.len);
        size_t plain = esc == NULL ? in.len : (size_t)(esc - in.ptr);
        decode_part(out, (slice){ in.ptr, plain }, first, &by_first);
        in = slice_from(in, plain);
        size_t run = run_end(in);
        decode_part(out, (slice){ in.ptr, run }, other, &by_other);
        in = slice_from(in, run);
    }
    converter_shut(&by_first);
    converter_shut(&by_other);
}

/* UTF-16 and UTF-32 show by a byte order mark or by the zeros in "MSH". */
static const char *wide_form(slice bytes, size_t *mark)
{
    static const struct { slice front; size_t mark; const char *name; } forms[] = {
        { { "\xFF\xFE\0\0", 4 }, 4, "UTF-32LE" }, { { "\0\0\xFE\xFF", 4 }, 4, "UTF-32BE" },
        { { "M\0\0\0S", 5 }, 0, "UTF-32LE" },     { { "\0\0\0M\0", 5 }, 0, "UTF-32BE" },
        { { "\xFF\xFE", 2 }, 2, "UTF-16LE" },     { { "\xFE\xFF", 2 }, 2, "UTF-16BE" },
        { { "M\0S\0", 4 }, 0, "UTF-16LE" },       { { "\0M\0S", 4 }, 0, "UTF-16BE" },
    };

    for (size_t i = 0; i < countof(forms); i++) {
        if (!slice_starts(bytes, forms[i].front)) continue;
        *mark = forms[i].mark;
        return forms[i].name;
    }
    return NULL;
}

/* Valid UTF-8 is taken as such whatever was declared. Two bytes of a double-byte
 * set may look like one UTF-8 character of two bytes, so there it takes one of
 * three, which is what the same text would have in UTF-8. */
static bool is_utf8(slice bytes, const charset *declared)
{
    bool high = false;

    if (utf8_valid(bytes) != bytes.len) return false;
    if (declared->coding != CODING_DOUBLE) return true;
    for (size_t i = 0; i < bytes.len; i++) {
        if ((unsigned char)bytes.ptr[i] >= 0xE0) return true;
        high = high || (unsigned char)bytes.ptr[i] >= 0x80;
    }
    return !high;
}

static slice show_nuls(arena *mem, slice text)
{
    buf out = buf_in(mem);
    const char *nul;

    if (text.len == 0 || memchr(text.ptr, 0, text.len) == NULL) return text;
    while (text.len > 0 && (nul = memchr(text.ptr, 0, text.len)) != NULL) {
        buf_put(&out, (slice){ text.ptr, (size_t)(nul - text.ptr) });
        buf_puts(&out, SYMBOL_NUL);
        text = slice_from(text, (size_t)(nul - text.ptr) + 1);
    }
    buf_put(&out, text);
    return buf_slice(&out);
}

void hl7_decode(arena *mem, slice bytes, slice charset_field, char repetition, slice *out, bool *exact)
{
    const charset *first = charset_of(hl7_part(charset_field, repetition, 1));
    const charset *other = switched_set(charset_field, repetition);
    bool switches = other != NULL && bytes.len > 0 && memchr(bytes.ptr, 0x1B, bytes.len) != NULL;
    buf text = buf_in(mem);
    size_t mark;
    const char *wide = wide_form(bytes, &mark);

    if (wide != NULL) {
        convert_once(&text, slice_from(bytes, mark), "UTF-8", wide, REPLACEMENT);
    } else if (!switches && is_utf8(bytes, first)) {
        *out = show_nuls(mem, bytes);
        *exact = out->ptr == bytes.ptr;
        return;
    } else if (switches) {
        decode_switched(&text, bytes, first, other);
    } else {
        converter by = decoder_of(first);
        decode_part(&text, bytes, first, &by);
        converter_shut(&by);
    }
    *out = show_nuls(mem, buf_slice(&text));
    *exact = false;
}

/* Half-width katakana back to one byte each; ASCII passes. */
static void encode_katakana(buf *out, slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char u = (unsigned char)text.ptr[i];
        if (u < 0x80) {
            buf_putc(out, (char)u);
        } else if (u == 0xEF && text.len - i >= 3) {
            uint32_t c = 0xF000u | ((uint32_t)(text.ptr[i + 1] & 63) << 6) | (uint32_t)(text.ptr[i + 2] & 63);
            buf_putc(out, c >= 0xFF61 && c <= 0xFF9F ? (char)(c - 0xFF61 + 0xA1) : '?');
            i += 2;
        } else if (u >= 0xC0) {
            buf_putc(out, '?');          /* its other bytes are stepped over */
        }
    }
}

void hl7_encode(arena *mem, slice text, slice like, slice charset_field, char repetition, slice *out)
{
    const charset *c = charset_of(hl7_part(charset_field, repetition, 1));
    const charset *other = switched_set(charset_field, repetition);
    buf bytes = buf_in(mem);
    size_t mark;
    const char *wide = wide_form(like, &mark);

    if (other != NULL && like.len > 0 && memchr(like.ptr, 0x1B, like.len) != NULL) c = other;
    if (wide != NULL) {
        buf_put(&bytes, (slice){ like.ptr, mark });
        convert_once(&bytes, text, wide, "UTF-8", "");
    } else if (c->coding == CODING_UTF8) {
        buf_put(&bytes, text);
    } else if (c->coding == CODING_KATAKANA) {
        encode_katakana(&bytes, text);
    } else {
        convert_once(&bytes, text, c->iconv != NULL ? c->iconv : "ISO-8859-1", "UTF-8", "?");
    }
    *out = buf_slice(&bytes);
}
