/* hl7/parse.h -- index one HL7 v2 message without copying it (HL7 v2.8.2, chapter 2).
 *
 * A message is the caller's bytes plus arrays of offsets in an arena; both must
 * outlive it. There is no free: reset the arena. Segments and fields are found
 * while parsing; repetitions, components and subcomponents when they are asked
 * for. Reading never changes the message: any number of threads may read it. */
#ifndef HL7_PARSE_H
#define HL7_PARSE_H

#include "base/arena.h"
#include "hl7/path.h"

typedef struct hl7_msg hl7_msg;                          /* opaque, see parse.c */

/* MSH-1 and MSH-2 (2.5.4): what separates what. 0 where the message declares none. */
typedef struct hl7_delims {
    char field, component, repetition, escape, subcomponent, truncation;
} hl7_delims;

/* What MSH-1 and MSH-2 declare; ERR_HL7 when they cannot separate. Two slips of
 * messages that were string literals once are read as they were meant: `^~\\&`
 * as `^~\&`, and `^~&` with `&` as the subcomponent separator and no escape. */
must_check err hl7_delims_read(char field, slice encoding, hl7_delims *out, err_info *why);

/* Neither a letter or digit, nor a blank, NUL, CR, LF or part of a multi-byte character. */
bool hl7_can_separate(char c);

/* MSH-2 of bytes that begin with MSH and a field separator. */
slice hl7_encoding(slice msh);

/* A capital letter followed by two capital letters or digits. */
bool hl7_name_valid(const char name[3]);

/* Where MSH should be: behind a byte order mark and blank lines. */
size_t hl7_start(slice bytes);

/* Parses `bytes`: segments ended by CR, LF or CRLF, in any mixture, the last
 * one perhaps not ended; blank lines between segments are kept for writing back
 * and are no segments. A UTF-8 byte order mark and blanks before MSH are stepped
 * over.
 *
 * ERR_HL7 when this is no message: no MSH at the front, MSH-1 or MSH-2 that
 * cannot separate (missing, a letter or digit, one character twice), a second
 * MSH, a batch's header or trailer that says something, a segment whose name is
 * not a capital letter followed by two capital letters or digits, or a name
 * followed by anything but the field separator or the segment's end. `why` says
 * which segment and byte (both from 1), never a field's content. ERR_LIMIT from
 * 4 GiB on: offsets have 32 bits. */
must_check err hl7_parse(arena *mem, slice bytes, hl7_msg **out, err_info *why);

slice hl7_bytes(const hl7_msg *m);                       /* as given to hl7_parse */
const hl7_delims *hl7_delims_of(const hl7_msg *m);

/* Segments, in order, from 0. `hl7_segment_name` has 3 characters. */
size_t hl7_segment_count(const hl7_msg *m);
slice hl7_segment_name(const hl7_msg *m, size_t index);
slice hl7_segment_bytes(const hl7_msg *m, size_t index); /* without its terminator */

/* The index of the `occ`-th (from 1) segment of this name; SIZE_MAX if none. */
size_t hl7_segment_find(const hl7_msg *m, const char name[3], size_t occ);

/* The number of fields that the segment has (its last field's number). MSH-1 is
 * the separator itself, MSH-2 the encoding characters (2.14.9). */
size_t hl7_field_count(const hl7_msg *m, size_t segment);

/* A field as sent, with repetitions and escapes; SLICE_NONE when absent. */
slice hl7_field(const hl7_msg *m, size_t segment, size_t field);

/* Parts of what hl7_field gave: the `n`-th (from 1) repetition, component of a
 * repetition, subcomponent of a component. SLICE_NONE when there is none.
 * MSH-2 has one repetition of one component, whatever its characters. */
slice hl7_part(slice whole, char separator, size_t n);
size_t hl7_part_count(slice whole, char separator);      /* 0 for an empty slice */

/* The value at a path as sent, escapes and all; SLICE_NONE when absent, a slice
 * of length 0 with a pointer when present and empty. What a path does not name
 * is the first: `PID-3` in hl7_get is the whole field, `PID-3.1` the first
 * repetition's first component, `PID-3[2].4.1` all of it. A component path on a
 * field without separators gives the field for component 1 (2.5.3). */
slice hl7_get(const hl7_msg *m, const hl7_path *path);

/* The same within the segment `index`, for paths whose segment is known. */
slice hl7_get_in(const hl7_msg *m, size_t index, const hl7_path *path);

/* True for the null value `""` (2.5.3.2: delete what you hold). */
static inline bool hl7_is_null(slice v)
{
    return v.len == 2 && v.ptr[0] == '"' && v.ptr[1] == '"';
}

#endif
