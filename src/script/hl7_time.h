/* script/hl7_time.h -- HL7 dates and times (2A.3.22 DTM, 2A.3.75 TM) as FHIR's. */
#ifndef SCRIPT_HL7_TIME_H
#define SCRIPT_HL7_TIME_H

#include "base/buf.h"
#include "script/timezone.h"

typedef struct hl7_time {
    int   year, month, day;              /* month, day: 0 when not written */
    int   hour, minute, second;          /* -1 when not written */
    slice fraction;                      /* digits */
    bool  has_offset;
    int   offset;                        /* minutes east */
} hl7_time;

/* YYYY[MM[DD[HH[MM[SS[.S…]]]]]][+/-ZZZZ]; NULL, or what is wrong with it. */
const char *hl7_time_read(slice text, hl7_time *out) must_check;

/* "+0100" to minutes. */
must_check bool hl7_offset_read(slice text, int *minutes);

/* The offset of a local time in a zone, in minutes. */
int hl7_time_zone_offset(const hl7_time *t, const zone *z);

#define FHIR_TIME_MAX 48
/* FHIR date, at the precision written; and dateTime, for which a time of day must
 * have its offset: without one it is cut to the date. Return `out`. */
char *fhir_date_write(const hl7_time *t, char out[FHIR_TIME_MAX]);
char *fhir_datetime_write(const hl7_time *t, char out[FHIR_TIME_MAX]);

/* HH[MM[SS[.S…]]] as a FHIR time in `out`; NULL, or what is wrong with it. */
const char *fhir_time_convert(slice text, char out[FHIR_TIME_MAX]) must_check;

#endif
