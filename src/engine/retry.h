/* engine/retry.h -- how long to wait before the next attempt. */
#ifndef ENGINE_RETRY_H
#define ENGINE_RETRY_H

#include "base/base.h"

/* Microseconds: base × 2^attempts up to the cap, less up to a quarter at random, so that what
 * failed together does not come back together. */
int64_t retry_delay_us(int attempts, int64_t base_ms, int64_t cap_ms);

#endif
