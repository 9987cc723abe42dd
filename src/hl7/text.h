/* hl7/text.h -- from bytes as sent to text: character sets (MSH-18, HL7 table
 * 0211, 2.15.9.18) and escape sequences (2.7). */
#ifndef HL7_TEXT_H
#define HL7_TEXT_H

#include "hl7/parse.h"

/* The whole message as UTF-8 for people and TEXT columns: by MSH-18 (its first
 * repetition; ISO IR escapes by the others), by UTF-8 when MSH-18 is absent and
 * the bytes are valid UTF-8, else by ISO 8859-1. Bytes that the declared set
 * does not have become U+FFFD, NUL becomes U+2400. `*exact` tells whether the
 * result is byte for byte what was sent, in which case `*out` is `bytes`. A
 * message that declares another set and is in fact clean UTF-8 beyond ASCII is
 * taken as UTF-8. */
void hl7_decode(arena *mem, slice bytes, slice charset_field, char repetition, slice *out, bool *exact);

/* The way back, for a message whose decoding was not exact: UTF-8 to the bytes of
 * the set that `charset_field` declares, `?` for a character that it does not
 * have. `like` is the message as it was sent: it shows UTF-16 and UTF-32, and
 * whether ISO 2022 sequences are used. */
void hl7_encode(arena *mem, slice text, slice like, slice charset_field, char repetition, slice *out);

/* The text of a component or subcomponent of a message that hl7_decode made
 * UTF-8, with escapes resolved: \F\ \S\ \T\ \R\ \E\ \P\ give the delimiters, \.br\
 * \.sp<n>\ \.ce\ line breaks, \.sk<n>\ blanks, \H\ \N\ and other formatting nothing,
 * \Xhh..\ the characters that the bytes stand for in the message's character set;
 * what follows \Mxxyyzz\ or \Cxxyy\ is in the set that this ISO 2022 sequence
 * names (2.7.2). An unknown escape stays as it is, backslashes and all.
 * Returns `raw` itself where nothing was escaped. */
slice hl7_unescape(arena *mem, const hl7_msg *m, slice raw);

/* Appends `text` with the delimiters, the escape character, CR (\X0D\) and LF
 * (\X0A\) escaped; as blanks where the message declares no escape character. */
void hl7_escape(buf *out, const hl7_delims *d, slice text);

#endif
