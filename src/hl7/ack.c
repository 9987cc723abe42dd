/* hl7/ack.c -- writes and reads acknowledgements.
 *
 * What an ACK looks like depends on the version of the message it answers:
 *
 *   MSH-9   ACK up to 2.2, ACK^A01 in 2.3, ACK^A01^ACK from 2.3.1
 *   MSA-3   the text, up to 2.6; withdrawn in 2.7
 *   ERR     ERR-1 as segment^sequence^field^code up to 2.4;
 *           ERR-2 location, ERR-3 code, ERR-4 severity, ERR-8 text from 2.5 on */
#include "hl7/ack.h"

#include "hl7/text.h"

#define NEWEST 999999
#define TEXT_MAX 80                      /* MSA-3 in the versions that have it */

static const char *const code_texts[] = {
    [HL7_AA] = "AA", [HL7_AE] = "AE", [HL7_AR] = "AR",
    [HL7_CA] = "CA", [HL7_CE] = "CE", [HL7_CR] = "CR",
};

const char *hl7_ack_code_text(hl7_ack_code code) { return code_texts[code]; }

/* HL7 table 0357. */
static const char *error_text(hl7_error error)
{
    switch (error) {
    case HL7_ERROR_NONE:          return "";
    case HL7_ERROR_SEQUENCE:      return "Segment sequence error";
    case HL7_ERROR_FIELD_MISSING: return "Required field missing";
    case HL7_ERROR_DATA_TYPE:     return "Data type error";
    case HL7_ERROR_TABLE_VALUE:   return "Table value not found";
    case HL7_ERROR_VALUE_TOO_LONG: return "Value too long";
    case HL7_ERROR_TYPE:          return "Unsupported message type";
    case HL7_ERROR_EVENT:         return "Unsupported event code";
    case HL7_ERROR_PROCESSING_ID: return "Unsupported processing id";
    case HL7_ERROR_VERSION:       return "Unsupported version id";
    case HL7_ERROR_UNKNOWN_KEY:   return "Unknown key identifier";
    case HL7_ERROR_DUPLICATE_KEY: return "Duplicate key identifier";
    case HL7_ERROR_LOCKED:        return "Application record locked";
    case HL7_ERROR_INTERNAL:      return "Application internal error";
    }
    return "";
}

/* "2.5.1" as 20501, so that versions compare; what is no version counts as new. */
static int version_number(slice version)
{
    int parts[3] = { 0, 0, 0 };
    slice rest = version;

    for (size_t n = 0; n < countof(parts) && rest.ptr != NULL; n++) {
        int64_t part;
        if (!slice_int(slice_cut(rest, '.', &rest), &part) || part < 0 || part > 99) return NEWEST;
        parts[n] = (int)part;
    }
    return parts[0] == 0 ? NEWEST : parts[0] * 10000 + parts[1] * 100 + parts[2];
}

static void put_delims(buf *out, const hl7_delims *d)
{
    const char all[] = { d->field, d->component, d->repetition, d->escape, d->subcomponent, d->truncation };

    for (size_t i = 0; i < sizeof all; i++)
        if (all[i] != 0) buf_putc(out, all[i]);
}

static void put_type(buf *out, const hl7_head *about, int version)
{
    char c = about->delims.component;

    buf_puts(out, "ACK");
    if (about->event.len == 0 || version < 20300) return;
    buf_putc(out, c);
    buf_put(out, about->event);
    if (version < 20301) return;
    buf_putc(out, c);
    buf_puts(out, "ACK");
}

static void put_msh(buf *out, const hl7_head *about, const hl7_ack *ack, int version)
{
    const char f = about->delims.field;
    const slice charset = hl7_part(about->charset, about->delims.repetition, 1);
    const slice swapped[] = { about->receiving_app, about->receiving_facility,
                              about->sending_app, about->sending_facility };

    buf_puts(out, "MSH");
    put_delims(out, &about->delims);
    for (size_t i = 0; i < countof(swapped); i++) {
        buf_putc(out, f);
        buf_put(out, swapped[i]);
    }
    buf_putc(out, f);
    hl7_escape(out, &about->delims, ack->time);      /* somebody may separate by `+` */
    buf_putc(out, f);
    buf_putc(out, f);
    put_type(out, about, version);
    buf_putc(out, f);
    hl7_escape(out, &about->delims, ack->control_id);
    buf_putc(out, f);
    buf_put(out, about->processing_id.len > 0 ? about->processing_id : slice_lit("P"));
    buf_putc(out, f);
    buf_put(out, about->version.len > 0 ? about->version : slice_lit("2.5.1"));
    if (charset.len > 0) {
        for (int field = 13; field <= 18; field++) buf_putc(out, f);
        buf_put(out, charset);
    }
    buf_putc(out, '\r');
}

/* The front of `text` in at most `max` bytes, not cut inside a character. */
static slice cut_text(slice text, size_t max)
{
    if (text.len <= max) return text;
    while (max > 0 && ((unsigned char)text.ptr[max] & 0xC0) == 0x80) max--;
    return (slice){ text.ptr, max };
}

/* `code^text^HL70357`, or as subcomponents; the code alone where they cannot be told apart. */
static void put_error_code(buf *out, const hl7_ack *ack, char separator)
{
    buf_printf(out, "%d", (int)ack->error);
    if (separator == 0) return;
    buf_putc(out, separator);
    buf_puts(out, error_text(ack->error));
    buf_putc(out, separator);
    buf_puts(out, "HL70357");
}

static void put_number(buf *out, uint16_t n)
{
    if (n > 0) buf_int(out, n == HL7_EVERY ? 1 : n);
}

/* Segment, which of its kind, field; from 2.5 on (ERL) also repetition,
 * component and subcomponent, as far as they are known. */
static void put_location(buf *out, const hl7_path *at, char c, bool whole)
{
    const uint16_t numbers[] = { at->occ, at->field, at->rep, at->comp, at->sub };
    size_t used = whole ? 1 : 2;

    for (size_t i = 1; whole && i < countof(numbers); i++)
        if (numbers[i] > 0) used = i + 1;
    buf_puts(out, at->seg);
    for (size_t i = 0; i < used; i++) {
        buf_putc(out, c);
        put_number(out, numbers[i]);
    }
}

static void put_err(buf *out, const hl7_head *about, const hl7_ack *ack, int version)
{
    const hl7_delims *d = &about->delims;
    hl7_path at = { .occ = 0 };
    bool located = hl7_path_parse(ack->location, &at, NULL) == ERR_OK;

    buf_puts(out, "ERR");
    buf_putc(out, d->field);
    if (version < 20500) {
        put_location(out, &at, d->component, false);
        buf_putc(out, d->component);
        put_error_code(out, ack, version < 20300 ? 0 : d->subcomponent);
    } else {
        buf_putc(out, d->field);
        if (located) put_location(out, &at, d->component, true);
        buf_putc(out, d->field);
        put_error_code(out, ack, d->component);
        buf_putc(out, d->field);
        buf_putc(out, 'E');
        if (ack->text.len > 0) {
            for (int field = 5; field <= 8; field++) buf_putc(out, d->field);
            hl7_escape(out, d, ack->text);
        }
    }
    buf_putc(out, '\r');
}

void hl7_ack_write(buf *out, const hl7_head *about, const hl7_ack *ack)
{
    hl7_head head = *about;
    int version;

    if (head.delims.field == 0) head.delims = (hl7_delims){ '|', '^', '~', '\\', '&', 0 };
    version = head.version.len > 0 ? version_number(head.version) : 20501;
    put_msh(out, &head, ack, version);
    buf_puts(out, "MSA");
    buf_putc(out, head.delims.field);
    buf_puts(out, hl7_ack_code_text(ack->code));
    buf_putc(out, head.delims.field);
    buf_put(out, head.control_id);
    if (ack->text.len > 0 && version < 20700) {
        buf_putc(out, head.delims.field);
        hl7_escape(out, &head.delims, cut_text(ack->text, TEXT_MAX));
    }
    buf_putc(out, '\r');
    if (ack->error != HL7_ERROR_NONE) put_err(out, &head, ack, version);
}

bool hl7_ack_wanted(slice condition, bool positive)
{
    if (slice_is(condition, "NE")) return false;
    if (slice_is(condition, "ER")) return !positive;
    if (slice_is(condition, "SU")) return positive;
    return true;
}

err hl7_ack_read(arena *mem, slice bytes, hl7_ack_code *code, slice *about_id, err_info *why)
{
    hl7_msg *m;
    err e = hl7_parse(mem, bytes, &m, why);
    if (e != ERR_OK) return e;

    size_t msa = hl7_segment_find(m, "MSA", 1);
    if (msa == SIZE_MAX) return err_set(why, ERR_HL7, "the answer has no MSA segment");
    slice value = hl7_field(m, msa, 1);
    for (size_t i = 0; i < countof(code_texts); i++) {
        if (!slice_is(value, code_texts[i])) continue;
        *code = (hl7_ack_code)i;
        *about_id = hl7_field(m, msa, 2);
        return ERR_OK;
    }
    return err_set(why, ERR_HL7, "the answer's MSA-1 is no acknowledgement code");
}
