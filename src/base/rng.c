/*
 * Numbers, jitter and back-off drawn from the engine's random source. See rng.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/rng.h"

#include "base/bytes.h"

uint32_t ml_random_u32(const ml_random *rng)
{
    uint8_t b[4];
    ml_random_fill(rng, b, sizeof b);
    return ml_get_le32(b);
}

uint32_t ml_random_below(const ml_random *rng, uint32_t bound)
{
    /* The top 32 bits of a 64-bit draw times the bound: uneven by less than 2^-32, and without a loop that a broken
     * source could keep going for ever. */
    uint8_t b[8];
    ml_random_fill(rng, b, sizeof b);
    uint64_t hi = ml_get_le32(b);
    uint64_t lo = ml_get_le32(b + 4);
    return (uint32_t)((hi * bound + (lo * bound >> 32)) >> 32);
}

ml_time ml_random_jitter(const ml_random *rng, ml_time d)
{
    uint64_t r = ml_random_u32(rng);
    return d / 2 + (d >> 32) * r + ((d & 0xffffffff) * r >> 32);
}

ml_time ml_backoff(const ml_random *rng, uint32_t failures, ml_time cap)
{
    if (failures == 0) {
        return 0;
    }
    uint64_t n = failures < 100000 ? failures : 100000; /* the square stays far from overflow, every cap is below it */
    ml_time d = n * n * ML_MSEC(10);
    if (d > cap) {
        d = cap;
    }
    return ml_random_jitter(rng, d);
}

ml_time ml_backoff_floored(const ml_random *rng, uint32_t failures, ml_time cap)
{
    ml_time d = ml_backoff(rng, failures, cap);
    if (failures >= 3 && d < ML_SEC(1) && cap >= ML_SEC(1)) {
        d = ML_SEC(1) + ml_random_below(rng, (uint32_t)ML_MSEC(500)); /* a floor for all, yet not one instant for all */
    }
    return d;
}
