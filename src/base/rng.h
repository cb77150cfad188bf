/*
 * Draws from the engine's one source of randomness. SPDX-License-Identifier: MIT
 */
#ifndef ML_BASE_RNG_H
#define ML_BASE_RNG_H

#include "microlink/types.h"

static inline void ml_random_fill(const ml_random *rng, uint8_t *buf, size_t len)
{
    rng->fill(rng->ctx, buf, len);
}
uint32_t ml_random_u32(const ml_random *rng);
/** Uniform in [0, bound); 0 when @p bound is 0. */
uint32_t ml_random_below(const ml_random *rng, uint32_t bound);
/** @p d scaled by a uniform factor in [0.5, 1.5): the jitter of util/backoff. */
ml_time ml_random_jitter(const ml_random *rng, ml_time d);
/** Back-off before attempt n+1 after @p failures in a row: min(n^2 * 10 ms, cap) with jitter (util/backoff). 0 for no
 * failure. */
ml_time ml_backoff(const ml_random *rng, uint32_t failures, ml_time cap);
/** The same with a floor of 1 s from the third failure on: for servers to which an attempt costs much and which nobody's
 * packets wait for (control.md 9.3). */
ml_time ml_backoff_floored(const ml_random *rng, uint32_t failures, ml_time cap);

#endif
