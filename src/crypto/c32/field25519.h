/*
 * Arithmetic modulo 2^255 - 19 for 32-bit cores whose multiplier gives 64 bits of product.
 *
 * An element is ten signed limbs of alternately 26 and 25 bits: limb i weighs 2^ceil(25.5 i). Limbs have one of two sizes,
 * and every function says which it takes and gives:
 *
 *   small  |limb| <= 2^25 (even i) or 2^24 (odd i), plus at most 2^13: what a multiplication gives
 *   wide   twice that, limb 0 up to 2^23 more: the sum or the difference of two small ones; no carrying is needed before a
 *          multiplication
 *
 * No branch and no address depends on a limb.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_C32_FIELD25519_H
#define ML_CRYPTO_C32_FIELD25519_H

#include <stdint.h>

typedef struct {
    int32_t v[10];
} ml_fe;

/** Little-endian bytes, bit 255 ignored, any value below 2^255. Gives small limbs. */
void ml_fe_from_bytes(ml_fe *out, const uint8_t in[32]);
/** The one representative below 2^255 - 19. Takes small limbs. */
void ml_fe_to_bytes(uint8_t out[32], const ml_fe *in);

/** Takes wide limbs, gives small ones; @p out may be an input. */
void ml_fe_mul(ml_fe *out, const ml_fe *a, const ml_fe *b);
/** a squared @p times times (at least once). Takes wide limbs, gives small ones; @p out may be @p a. */
void ml_fe_sq(ml_fe *out, const ml_fe *a, unsigned times);
/** out = a + factor b, for a factor below 2^17. Takes small @p a and wide @p b, gives wide limbs; small ones when @p a is 0. */
void ml_fe_add_scaled(ml_fe *out, const ml_fe *a, const ml_fe *b, int32_t factor);
/** 1 / a, and 0 for 0. Takes wide limbs, gives small ones; @p out must not be @p a. */
void ml_fe_invert(ml_fe *out, const ml_fe *a);

#endif
