/*
 * ChaCha20 (RFC 8439) and HChaCha20 (draft-irtf-cfrg-xchacha) for 32-bit cores.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_C32_CHACHA20_H
#define ML_CRYPTO_C32_CHACHA20_H

#include <stddef.h>
#include <stdint.h>

/** Key, nonce and block counter; secret. */
struct ml_chacha20 {
    uint32_t in[16];
};

void ml_chacha20_init(struct ml_chacha20 *c, const uint8_t key[32], const uint8_t nonce[12], uint32_t counter);
/**
 * dst = src xor key stream, from a block boundary on; @p dst may be @p src. The rest of a last short block is lost. Quickest
 * when both are aligned to 4 bytes.
 */
void ml_chacha20_xor(struct ml_chacha20 *c, uint8_t *dst, const uint8_t *src, size_t len);
/** A key from a key and the first 16 bytes of an XChaCha20 nonce. */
void ml_hchacha20(uint8_t out[32], const uint8_t key[32], const uint8_t nonce[16]);

#endif
