/*
 * BLAKE2s (RFC 7693), keyed and unkeyed, and the HMAC and HKDF that WireGuard and ts2021 build on it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_BLAKE2S_H
#define ML_CRYPTO_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

#define ML_BLAKE2S_LEN   32
#define ML_BLAKE2S_BLOCK 64

struct ml_blake2s {
    uint32_t h[8];
    uint32_t t[2];
    uint8_t buf[ML_BLAKE2S_BLOCK]; /**< aligned, as what is before it is words */
    uint8_t buf_len;
    uint8_t out_len;
};

/** @param key_len 0 for the plain hash, else 1..32.  @param out_len 1..32. */
void ml_blake2s_init(struct ml_blake2s *s, size_t out_len, const uint8_t *key, size_t key_len);
void ml_blake2s_update(struct ml_blake2s *s, const void *data, size_t len);
void ml_blake2s_final(struct ml_blake2s *s, uint8_t *out); /**< Wipes the state. */

/** H(a || b); either may be empty. @p out may alias @p a. */
void ml_blake2s_2(uint8_t out[32], const void *a, size_t a_len, const void *b, size_t b_len);
/** Keyed BLAKE2s with a 16-byte result: WireGuard's MAC. */
void ml_blake2s_mac16(uint8_t out[16], const uint8_t *key, size_t key_len, const void *data, size_t len);
/** HMAC (RFC 2104) over unkeyed BLAKE2s-256 of a || b. */
void ml_hmac_blake2s(uint8_t out[32], const uint8_t *key, size_t key_len, const void *a, size_t a_len, const void *b,
                     size_t b_len);
/** HKDF (RFC 5869) with empty info: 1..3 outputs of 32 bytes; NULL ones end the list. @p ck may alias an output. */
void ml_hkdf_blake2s(uint8_t out1[32], uint8_t *out2, uint8_t *out3, const uint8_t ck[32], const void *ikm, size_t ikm_len);

#endif
