/* hl7/path.h -- where something stands in a message, in the field's usual words.
 *
 *   PID-3            a field                 PID-3[2]      its second repetition
 *   PID-3.4          a component             PID-3[2].4.1  a subcomponent
 *   OBX[3]-5         of the third OBX        OBX[*]-3      of every OBX
 *   PID-3[*].1       of every repetition     ZPD           a segment */
#ifndef HL7_PATH_H
#define HL7_PATH_H

#include "base/buf.h"

#define HL7_EVERY UINT16_MAX             /* `[*]` */

typedef struct hl7_path {
    char     seg[4];                     /* NUL-terminated */
    uint16_t occ;                        /* of the segment, from 1; 1 when not said */
    uint16_t field;                      /* 0: the segment itself */
    uint16_t rep;                        /* 0: not said */
    uint16_t comp, sub;                  /* 0: not said */
} hl7_path;

/* ERR_PATH says what is wrong and at which character. Paths are the caller's
 * own words, so `why` may quote them. */
must_check err hl7_path_parse(slice text, hl7_path *out, err_info *why);

/* A path relative to a segment that the caller has: "3[2].4", "5". `seg` is kept. */
must_check err hl7_path_parse_field(slice text, const char seg[3], hl7_path *out, err_info *why);

void hl7_path_write(buf *out, const hl7_path *path);

#endif
