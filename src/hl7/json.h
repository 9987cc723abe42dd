/* hl7/json.h -- `parsed_data`: a message as JSON, from which its exact bytes can
 * be rebuilt.
 *
 *   {"delimiters":"|^~\\&","terminator":"\r","segments":[["MSH","|","^~\\&","LAB",…],
 *    ["PID","1","",[["123","","","HOSP"],["9","","",["A","B"]]],…]]}
 *
 * A segment is an array: its name, then field 1, 2, …. A field is a string; or,
 * where it has separators, an array of repetitions, each a string or an array of
 * components, each a string or an array of subcomponents, of one shape by these
 * rules: repetitions [r1,r2]; components without repetition [[c1,c2]];
 * subcomponents [[[s1,s2],c2]]. Strings are as sent, escapes kept, decoded to
 * UTF-8. "terminators" replaces "terminator" where they differ, one a segment
 * (the last perhaps ""); "prefix" holds what stands before MSH; "blank" the blank
 * lines, as [[n,"\r\n"],…] with the number of the segment (from 1) that they follow. */
#ifndef HL7_JSON_H
#define HL7_JSON_H

#include "base/json.h"
#include "hl7/parse.h"

/* `m` is a message in UTF-8 (see hl7_decode). */
void hl7_json_write(buf *out, const hl7_msg *m);

/* The message's bytes (UTF-8) back from JSON; ERR_JSON when it is not of this form. */
must_check err hl7_json_rebuild(buf *out, const json *v, err_info *why);

#endif
