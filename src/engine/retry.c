/* engine/retry.c -- exponential backoff with jitter. */
#include "engine/retry.h"

#include "base/clock.h"
#include "base/hash.h"

int64_t retry_delay_us(int attempts, int64_t base_ms, int64_t cap_ms)
{
    uint64_t now = clock_ns();
    uint64_t random = hash_bytes((slice){ (const char *)&now, sizeof now });
    int64_t ms = base_ms;

    for (int i = 0; i < attempts && ms < cap_ms; i++) ms *= 2;
    if (ms > cap_ms) ms = cap_ms;
    return (ms - (int64_t)(random % (uint64_t)(ms / 4 + 1))) * 1000;
}
