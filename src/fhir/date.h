/* fhir/date.h -- FHIR's date, dateTime and instant as a span of time (R4 datatypes,
 * 2.24.0.1), and instants as text.
 *
 * A value says as much as it is precise: "2026-04" is the whole of April, "…T09:30:00"
 * one second, "…00.1" a tenth of it. Without an offset it is taken as UTC. */
#ifndef FHIR_DATE_H
#define FHIR_DATE_H

#include "base/base.h"

typedef struct fhir_span { int64_t from_us, to_us; } fhir_span;  /* µs of 1970, `to_us` excluded */

/* False when it is no calendar date of the years 1 to 9999. "T09:30" without seconds is
 * taken, as it is allowed in searches (R4 search, 3.1.1.4.7). */
must_check bool fhir_date_parse(slice text, fhir_span *out);

#define FHIR_INSTANT_LEN 24
/* "2026-04-18T09:30:00.123Z" with a NUL behind; returns `out`. */
char *fhir_instant(int64_t us, char out[FHIR_INSTANT_LEN + 1]);

#endif
