/* script/timezone.h -- from an IANA zone and a local time to the offset from UTC,
 * without touching the process's own time zone. */
#ifndef SCRIPT_TIMEZONE_H
#define SCRIPT_TIMEZONE_H

#include "base/base.h"

typedef struct zone zone;                /* immutable; kept for the process's life */

/* "Europe/Berlin". Reads the system's zone file the first time. ERR_CONFIG when
 * the name is none, or there is no such zone. Any thread. */
must_check err zone_get(slice name, const zone **out, err_info *why);

/* The same from the bytes of a zone file (RFC 8536), not kept: to be freed. */
must_check err zone_read(slice file, zone **out, err_info *why);
void zone_free(zone *z);

/* Seconds east of UTC at a local time, given in seconds as if it were UTC. A time
 * that a clock change skips, or that occurs twice, has the offset from before
 * the change: the same instant that a clock would show that was not yet moved. */
int32_t zone_offset(const zone *z, int64_t local);

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
int64_t days_from_civil(int64_t year, int month, int day);

#endif
