/* base/clock.c -- the kernel's clocks and the one date format that we write. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t clock_read(clockid_t id)
{
    struct timespec t;

    if (clock_gettime(id, &t) != 0) die("clock_gettime(%d) failed", (int)id);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_ns(void) { return clock_read(CLOCK_MONOTONIC); }
uint64_t clock_boot_ms(void) { return clock_read(CLOCK_BOOTTIME) / 1000000u; }
int64_t clock_real_us(void) { return (int64_t)(clock_read(CLOCK_REALTIME) / 1000u); }
uint64_t clock_cpu_ns(void) { return clock_read(CLOCK_THREAD_CPUTIME_ID); }

char *clock_text(int64_t real_us, char out[CLOCK_TEXT_LEN + 1])
{
    time_t seconds = (time_t)(real_us / 1000000);
    long us = (long)(real_us % 1000000);
    struct tm t;

    if (us < 0) { us += 1000000; seconds--; }
    if (gmtime_r(&seconds, &t) == NULL || t.tm_year < -1900 || t.tm_year > 8099) {
        seconds = 0;
        (void)gmtime_r(&seconds, &t);
    }
    /* Unsigned remainders let the compiler see that all of it fits. */
    (void)snprintf(out, CLOCK_TEXT_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
                   (unsigned)(t.tm_year + 1900) % 10000, (unsigned)(t.tm_mon + 1) % 100,
                   (unsigned)t.tm_mday % 100, (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100,
                   (unsigned)t.tm_sec % 100, (unsigned)us % 1000000);
    return out;
}
