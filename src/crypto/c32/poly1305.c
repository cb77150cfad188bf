/*
 * Poly1305. See poly1305.h.
 *
 * h is four words and a few bits, r four words of 28 bits. What of a product weighs 2^128 and more comes down again by
 * 2^130 = 5: since the low two bits of r[1..3] are zero, 2^128 r[i] is 5/4 r[i], a whole number. All sums stay below 2^63.
 * No branch and no address depends on the key or the data.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/c32/poly1305.h"

#include "base/bytes.h"
#include "crypto/crypto_backend.h"
#include "crypto/words.h"

void ml_poly1305_init(struct ml_poly1305 *p, const uint8_t key[32])
{
    memset(p, 0, sizeof *p);
    for (unsigned i = 0; i < 4; i++) {
        p->r[i] = ml_get_le32(key + (size_t)4 * i) & (i == 0 ? 0x0fffffffU : 0x0ffffffcU);
        p->pad[i] = ml_get_le32(key + 16 + (size_t)4 * i);
    }
}

static inline uint64_t mul(uint32_t a, uint32_t b)
{
    return (uint64_t)a * b;
}

/* Whole blocks; `top` is 1, or 0 for the end of a message, which has its 1 inside. */
static void blocks(struct ml_poly1305 *p, const uint8_t *m, size_t len, uint32_t top)
{
    const uint32_t r0 = p->r[0], r1 = p->r[1], r2 = p->r[2], r3 = p->r[3];
    const uint32_t s1 = r1 + (r1 >> 2), s2 = r2 + (r2 >> 2), s3 = r3 + (r3 >> 2);
    uint32_t h0 = p->h[0], h1 = p->h[1], h2 = p->h[2], h3 = p->h[3], h4 = p->h[4];
    uint32_t over = 0; /* what has not yet been added to h0 */
    const bool by_words = ml_words_aligned(m);
    for (; len >= 16; len -= 16, m += 16) {
        uint32_t m0, m1, m2, m3;
        if (by_words) {
            m0 = ml_word_get(m);
            m1 = ml_word_get(m + 4);
            m2 = ml_word_get(m + 8);
            m3 = ml_word_get(m + 12);
        } else {
            m0 = ml_get_le32(m);
            m1 = ml_get_le32(m + 4);
            m2 = ml_get_le32(m + 8);
            m3 = ml_get_le32(m + 12);
        }
        uint64_t d = (uint64_t)h0 + m0 + over;
        h0 = (uint32_t)d;
        d = (d >> 32) + h1 + m1;
        h1 = (uint32_t)d;
        d = (d >> 32) + h2 + m2;
        h2 = (uint32_t)d;
        d = (d >> 32) + h3 + m3;
        h3 = (uint32_t)d;
        h4 += (uint32_t)(d >> 32) + top;

        d = mul(h0, r0) + mul(h1, s3) + mul(h2, s2) + mul(h3, s1);
        uint32_t n0 = (uint32_t)d;
        d = (d >> 32) + mul(h0, r1) + mul(h1, r0) + mul(h2, s3) + mul(h3, s2) + h4 * s1;
        uint32_t n1 = (uint32_t)d;
        d = (d >> 32) + mul(h0, r2) + mul(h1, r1) + mul(h2, r0) + mul(h3, s3) + h4 * s2;
        uint32_t n2 = (uint32_t)d;
        d = (d >> 32) + mul(h0, r3) + mul(h1, r2) + mul(h2, r1) + mul(h3, r0) + h4 * s3;
        h3 = (uint32_t)d;
        h4 = (uint32_t)(d >> 32) + h4 * r0;
        h0 = n0;
        h1 = n1;
        h2 = n2;
        over = (h4 >> 2) * 5;
        h4 &= 3;
    }
    uint64_t d = (uint64_t)h0 + over;
    p->h[0] = (uint32_t)d;
    d = (d >> 32) + h1;
    p->h[1] = (uint32_t)d;
    d = (d >> 32) + h2;
    p->h[2] = (uint32_t)d;
    d = (d >> 32) + h3;
    p->h[3] = (uint32_t)d;
    p->h[4] = h4 + (uint32_t)(d >> 32);
}

void ml_poly1305_update(struct ml_poly1305 *p, const uint8_t *data, size_t len, bool zeros)
{
    size_t whole = len & ~(size_t)15;
    blocks(p, data, whole, 1);
    if (len > whole) {
        uint8_t last[16] = {0};
        memcpy(last, data + whole, len - whole);
        if (!zeros) {
            last[len - whole] = 1;
        }
        blocks(p, last, sizeof last, zeros);
    }
}

void ml_poly1305_final(struct ml_poly1305 *p, uint8_t tag[16])
{
    /* h - p, if that is not negative; h is below 2p, so once is enough after the bits from 2^130 on are folded. */
    uint32_t h[5];
    uint32_t g[5];
    uint64_t d = (uint64_t)(p->h[4] >> 2) * 5;
    p->h[4] &= 3;
    for (unsigned i = 0; i < 5; i++) {
        d += p->h[i];
        h[i] = (uint32_t)d;
        d >>= 32;
    }
    d = 5;
    for (unsigned i = 0; i < 5; i++) {
        d += h[i];
        g[i] = (uint32_t)d;
        d >>= 32;
    }
    uint32_t take_g = 0 - (g[4] >> 2 & 1);
    __asm__("" : "+r"(take_g)); /* or a compiler might branch on it */
    d = 0;
    for (unsigned i = 0; i < 4; i++) {
        d += (uint64_t)(h[i] ^ ((h[i] ^ g[i]) & take_g)) + p->pad[i];
        ml_put_le32(tag + (size_t)4 * i, (uint32_t)d);
        d >>= 32;
    }
    ml_wipe(h, sizeof h);
    ml_wipe(g, sizeof g);
    ml_wipe(p, sizeof *p);
}
