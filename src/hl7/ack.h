/* hl7/ack.h -- acknowledgements (HL7 v2.8.2, 2.9 and 2.14.8; ERR: 2.14.5). */
#ifndef HL7_ACK_H
#define HL7_ACK_H

#include "base/buf.h"
#include "hl7/head.h"

/* HL7 table 0008. The application codes are original mode, the commit codes
 * enhanced mode. */
typedef enum hl7_ack_code { HL7_AA, HL7_AE, HL7_AR, HL7_CA, HL7_CE, HL7_CR } hl7_ack_code;

/* HL7 table 0357. */
typedef enum hl7_error {
    HL7_ERROR_NONE = 0,
    HL7_ERROR_SEQUENCE = 100, HL7_ERROR_FIELD_MISSING = 101, HL7_ERROR_DATA_TYPE = 102,
    HL7_ERROR_TABLE_VALUE = 103, HL7_ERROR_VALUE_TOO_LONG = 104,
    HL7_ERROR_TYPE = 200, HL7_ERROR_EVENT = 201, HL7_ERROR_PROCESSING_ID = 202,
    HL7_ERROR_VERSION = 203, HL7_ERROR_UNKNOWN_KEY = 204, HL7_ERROR_DUPLICATE_KEY = 205,
    HL7_ERROR_LOCKED = 206, HL7_ERROR_INTERNAL = 207
} hl7_error;

typedef struct hl7_ack {
    hl7_ack_code code;
    hl7_error    error;                  /* HL7_ERROR_NONE: no ERR segment */
    slice        location;               /* ERR-2 as a path such as "MSH-10", may be empty */
    slice        text;                   /* why, for a person; never a field's content */
    slice        control_id;             /* MSH-10 of the ACK itself */
    slice        time;                   /* MSH-7 of the ACK, "20260418093000+0000" */
} hl7_ack;

/* Appends the ACK for a message with this header, segments ended by CR: the
 * sender's delimiters, version, processing id and character set, the
 * applications and facilities swapped, MSH-9 as the version has it (ACK up to
 * 2.2, ACK^A01 from 2.3, ACK^A01^ACK from 2.3.1), MSA-2 as it was sent. ERR is written as the
 * version has it: ERR-1 up to 2.4, ERR-2 to ERR-8 from 2.5. `text` also goes to
 * MSA-3 up to 2.6. Text is escaped for the sender's delimiters. `about` may be all
 * zero, when nothing could be read: then `|^~\&`, version 2.5.1, MSA-2 empty. */
void hl7_ack_write(buf *out, const hl7_head *about, const hl7_ack *ack);

/* HL7 table 0155 (AL, NE, ER, SU): is an acknowledgement with this outcome
 * wanted? An empty condition means: original mode, or the field's default. */
bool hl7_ack_wanted(slice condition, bool positive);

/* Reads an answer: MSA-1 and MSA-2. ERR_HL7 when it is no acknowledgement. */
must_check err hl7_ack_read(arena *mem, slice bytes, hl7_ack_code *code, slice *about_id, err_info *why);

const char *hl7_ack_code_text(hl7_ack_code code);        /* "AA" */

#endif
