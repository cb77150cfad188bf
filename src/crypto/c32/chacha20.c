/*
 * ChaCha20. See chacha20.h.
 *
 * The sixteen words live in registers over all rounds; a rotation is three instructions without a rotate instruction, so a
 * byte cannot cost less than 25. Constant-time by construction.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/c32/chacha20.h"

#include "base/bytes.h"
#include "crypto/crypto_backend.h"
#include "crypto/words.h"

static inline uint32_t rotl(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

/* Inlined, its words stay in registers. */
static inline __attribute__((always_inline)) void quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b;
    *d = rotl(*d ^ *a, 16);
    *c += *d;
    *b = rotl(*b ^ *c, 12);
    *a += *b;
    *d = rotl(*d ^ *a, 8);
    *c += *d;
    *b = rotl(*b ^ *c, 7);
}

/* A block of key stream: twenty rounds, and what came in added to what comes out. */
static void block(uint32_t out[16], const uint32_t in[16])
{
    uint32_t x0 = in[0], x1 = in[1], x2 = in[2], x3 = in[3], x4 = in[4], x5 = in[5], x6 = in[6], x7 = in[7];
    uint32_t x8 = in[8], x9 = in[9], x10 = in[10], x11 = in[11], x12 = in[12], x13 = in[13], x14 = in[14], x15 = in[15];
    for (unsigned i = 0; i < 10; i++) {
        quarter(&x0, &x4, &x8, &x12);
        quarter(&x1, &x5, &x9, &x13);
        quarter(&x2, &x6, &x10, &x14);
        quarter(&x3, &x7, &x11, &x15);
        quarter(&x0, &x5, &x10, &x15);
        quarter(&x1, &x6, &x11, &x12);
        quarter(&x2, &x7, &x8, &x13);
        quarter(&x3, &x4, &x9, &x14);
    }
#define OUT(i) out[i] = x##i + in[i]
    OUT(0), OUT(1), OUT(2), OUT(3), OUT(4), OUT(5), OUT(6), OUT(7);
    OUT(8), OUT(9), OUT(10), OUT(11), OUT(12), OUT(13), OUT(14), OUT(15);
#undef OUT
}

void ml_chacha20_init(struct ml_chacha20 *c, const uint8_t key[32], const uint8_t nonce[12], uint32_t counter)
{
    /* "expand 32-byte k" */
    static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(c->in, constants, sizeof constants);
    for (unsigned i = 0; i < 8; i++) {
        c->in[4 + i] = ml_get_le32(key + (size_t)4 * i);
    }
    c->in[12] = counter;
    for (unsigned i = 0; i < 3; i++) {
        c->in[13 + i] = ml_get_le32(nonce + (size_t)4 * i);
    }
}

void ml_chacha20_xor(struct ml_chacha20 *c, uint8_t *dst, const uint8_t *src, size_t len)
{
    uint32_t stream[16];
    const bool by_words = ml_words_aligned(dst) && ml_words_aligned(src);
    while (len > 0) {
        block(stream, c->in);
        c->in[12]++;
        if (by_words && len >= 64) {
#pragma GCC unroll 16
            for (unsigned i = 0; i < 64; i += 4) {
                ml_word_put(dst + i, ml_word_get(src + i) ^ stream[i / 4]);
            }
        } else {
            size_t n = len < 64 ? len : 64;
            for (unsigned i = 0; i < n; i++) {
                dst[i] = src[i] ^ (uint8_t)(stream[i / 4] >> i % 4 * 8);
            }
            if (n < 64) {
                break;
            }
        }
        dst += 64;
        src += 64;
        len -= 64;
    }
    ml_wipe(stream, sizeof stream);
}

void ml_hchacha20(uint8_t out[32], const uint8_t key[32], const uint8_t nonce[16])
{
    struct ml_chacha20 c;
    uint32_t x[16];
    ml_chacha20_init(&c, key, nonce + 4, ml_get_le32(nonce));
    block(x, c.in);
    for (unsigned i = 0; i < 4; i++) {
        /* the rounds alone: without the last addition */
        ml_put_le32(out + (size_t)4 * i, x[i] - c.in[i]);
        ml_put_le32(out + 16 + (size_t)4 * i, x[12 + i] - c.in[12 + i]);
    }
    ml_wipe(&c, sizeof c);
    ml_wipe(x, sizeof x);
}
