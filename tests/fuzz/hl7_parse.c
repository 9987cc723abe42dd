/* tests/fuzz/hl7_parse.c -- any bytes as a message: parsed, read everywhere, turned to
 * text, to JSON and back. The bytes that come back must be those of the text. */
#include <stdlib.h>

#include "hl7/ack.h"
#include "hl7/json.h"
#include "hl7/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool holds)
{
    if (!holds) abort();
}

/* Paths up to just past what is there, in a bounded number, and each value's text. */
static void read_everywhere(arena *mem, const hl7_msg *m)
{
    slice all = hl7_bytes(m);

    for (size_t i = 0; i < hl7_segment_count(m) && i < 24; i++) {
        slice name = hl7_segment_name(m, i);
        hl7_path p = { .occ = 1 };
        memcpy(p.seg, name.ptr, 3);
        insist(hl7_segment_find(m, name.ptr, 1) <= i);
        for (size_t f = 0; f <= hl7_field_count(m, i) + 1 && f < 24; f++) {
            slice field = hl7_field(m, i, f);
            insist(field.ptr == NULL || (field.ptr >= all.ptr && field.ptr + field.len <= all.ptr + all.len));
            (void)hl7_unescape(mem, m, field);
            p.field = (uint16_t)f;
            for (unsigned n = 0; n < 8; n++) {
                p.rep = n & 1 ? 2 : 0;
                p.comp = n & 2 ? 2 : 1;
                p.sub = n & 4 ? 2 : 0;
                (void)hl7_unescape(mem, m, hl7_get_in(m, i, &p));
                (void)hl7_get(m, &p);
            }
        }
    }
}

static void sum_piece(void *arg, slice piece) { *(size_t *)arg += piece.len; }

static void read_head(arena *mem, const hl7_msg *m)
{
    slice keys[HL7_KEYS_MAX];
    size_t stable = 0, count = hl7_keys(mem, m, NULL, 0, keys);
    hl7_head read, guess;

    for (size_t i = 1; i < count; i++) insist(slice_cmp(keys[i - 1], keys[i]) < 0);
    hl7_stable_bytes(m, sum_piece, &stable);
    hl7_head_read(m, &read);
    insist(stable == hl7_bytes(m).len - read.time.len - read.security.len);
    insist(hl7_head_guess(hl7_bytes(m), &guess));
    insist(slice_eq(read.control_id, guess.control_id) && slice_eq(read.type, guess.type));
}

/* The answer to anything is a message that names what it answers. */
static void answer(arena *mem, slice bytes)
{
    const hl7_ack ack = { .code = HL7_AE, .error = HL7_ERROR_SEQUENCE, .location = slice_lit("OBX[2]-5.1"),
                          .text = slice_lit("a | b ^ c \\ d & e ~ f"), .control_id = slice_lit("A1"),
                          .time = slice_lit("20260418093000+0000") };
    buf out = buf_in(mem);
    hl7_ack_code code;
    hl7_head head;
    slice id;

    (void)hl7_head_guess(bytes, &head);
    hl7_ack_write(&out, &head, &ack);
    insist(hl7_ack_read(mem, buf_slice(&out), &code, &id, NULL) == ERR_OK);
    insist(code == HL7_AE && slice_eq(id, head.control_id));
}

static void to_json_and_back(arena *mem, slice bytes, const hl7_msg *raw)
{
    buf text = buf_in(mem), again = buf_in(mem);
    slice decoded, encoded;
    hl7_msg *m;
    json *v;
    bool exact;

    hl7_decode(mem, bytes, hl7_field(raw, 0, 18), hl7_delims_of(raw)->repetition, &decoded, &exact);
    insist(utf8_valid(decoded) == decoded.len);
    insist(!exact || decoded.ptr == bytes.ptr);
    hl7_encode(mem, decoded, bytes, hl7_field(raw, 0, 18), hl7_delims_of(raw)->repetition, &encoded);
    /* A decoded double-byte character may have hidden a separator, never a line end. */
    if (hl7_parse(mem, decoded, &m, NULL) != ERR_OK) {
        insist(!exact);
        return;
    }
    hl7_json_write(&text, m);
    insist(json_parse(mem, buf_slice(&text), &v, NULL) == ERR_OK);
    insist(hl7_json_rebuild(&again, v, NULL) == ERR_OK);
    insist(slice_eq(buf_slice(&again), decoded));
    read_everywhere(mem, m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice bytes = { (const char *)data, size };
    arena mem = { 0 };
    err_info why = { ERR_OK, "" };
    hl7_msg *m;

    answer(&mem, bytes);
    if (hl7_parse(&mem, bytes, &m, &why) == ERR_OK) {
        read_everywhere(&mem, m);
        read_head(&mem, m);
        to_json_and_back(&mem, bytes, m);
    } else {
        insist(why.code == ERR_HL7 && why.text[0] != 0);
    }
    arena_free(&mem);
    return 0;
}
