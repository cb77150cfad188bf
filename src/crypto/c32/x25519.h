/*
 * X25519 (RFC 7748) for 32-bit cores: the Montgomery ladder.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_C32_X25519_H
#define ML_CRYPTO_C32_X25519_H

#include <stdint.h>

/**
 * @p scalar is clamped first, bit 255 of @p u is ignored; @p out may be either. NULL as @p u is the base point, 9, for which the
 * ladder is a tenth shorter. All zero for a point of low order.
 */
void ml_x25519_ladder(uint8_t out[32], const uint8_t scalar[32], const uint8_t u[32]);

#endif
