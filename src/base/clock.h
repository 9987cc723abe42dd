/* base/clock.h -- time, by what it is for. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/base.h"

/* Nanoseconds that never jump, for durations within this process. */
uint64_t clock_ns(void);

/* Milliseconds that also run while the machine is suspended (CLOCK_BOOTTIME),
 * for leases and deadlines that other nodes rely on. */
uint64_t clock_boot_ms(void);

/* Wall time in microseconds since 1970-01-01 UTC. */
int64_t clock_real_us(void);

/* CPU time of the calling thread in nanoseconds. */
uint64_t clock_cpu_ns(void);

#define CLOCK_TEXT_LEN 27
/* "2026-04-18T09:30:00.123456Z" with a NUL behind; returns `out`. */
char *clock_text(int64_t real_us, char out[CLOCK_TEXT_LEN + 1]);

#endif
