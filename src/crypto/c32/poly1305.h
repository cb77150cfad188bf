/*
 * Poly1305 (RFC 8439) for 32-bit cores.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_C32_POLY1305_H
#define ML_CRYPTO_C32_POLY1305_H

#include <stddef.h>
#include <stdint.h>

/** Secret; ml_poly1305_final() wipes it. */
struct ml_poly1305 {
    uint32_t r[4];
    uint32_t h[5]; /**< below 2^131 */
    uint32_t pad[4];
};

void ml_poly1305_init(struct ml_poly1305 *p, const uint8_t key[32]);
/**
 * @p len bytes; a part of 16 bytes at the end is filled up with zeros when @p zeros is true (as RFC 8439 wants of each of its
 * parts), else it is the end of the message and nothing may follow.
 */
void ml_poly1305_update(struct ml_poly1305 *p, const uint8_t *data, size_t len, _Bool zeros);
void ml_poly1305_final(struct ml_poly1305 *p, uint8_t tag[16]);

#endif
