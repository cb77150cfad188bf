/*
 * BLAKE2s (RFC 7693), HMAC (RFC 2104) and HKDF (RFC 5869) over it. See blake2s.h.
 *
 * Ours because libsodium has BLAKE2b only. Constant-time by construction: no branch or index depends on data, only on
 * lengths. The ten rounds are a loop over the
 * message schedule, which costs two instructions a word and saves 6 KB.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/blake2s.h"

#include "base/bytes.h"
#include "crypto/crypto_backend.h"
#include "crypto/words.h"

static const uint32_t iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* RFC 7693 section 2.7, as offsets of the words in bytes. */
#define W(a, b, c, d, e, f, g, h) 4 * (a), 4 * (b), 4 * (c), 4 * (d), 4 * (e), 4 * (f), 4 * (g), 4 * (h)
static const uint8_t sigma[10][16] = {
    {W(0, 1, 2, 3, 4, 5, 6, 7), W(8, 9, 10, 11, 12, 13, 14, 15)}, {W(14, 10, 4, 8, 9, 15, 13, 6), W(1, 12, 0, 2, 11, 7, 5, 3)},
    {W(11, 8, 12, 0, 5, 2, 15, 13), W(10, 14, 3, 6, 7, 1, 9, 4)}, {W(7, 9, 3, 1, 13, 12, 11, 14), W(2, 6, 5, 10, 4, 0, 15, 8)},
    {W(9, 0, 5, 7, 2, 4, 10, 15), W(14, 1, 11, 12, 6, 8, 3, 13)}, {W(2, 12, 6, 10, 0, 11, 8, 3), W(4, 13, 7, 5, 15, 14, 1, 9)},
    {W(12, 5, 1, 15, 14, 13, 4, 10), W(0, 7, 6, 3, 9, 2, 8, 11)}, {W(13, 11, 7, 14, 12, 1, 3, 9), W(5, 0, 15, 4, 8, 6, 2, 10)},
    {W(6, 15, 14, 9, 11, 3, 0, 8), W(12, 2, 13, 7, 1, 4, 10, 5)}, {W(10, 2, 8, 4, 7, 6, 1, 5), W(15, 11, 9, 14, 3, 12, 13, 0)},
};
#undef W

static inline uint32_t rotr(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

/* Inlined, its words stay in registers. */
static inline __attribute__((always_inline)) void mix(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, uint32_t x,
                                                      uint32_t y)
{
    *a += *b + x;
    *d = rotr(*d ^ *a, 16);
    *c += *d;
    *b = rotr(*b ^ *c, 12);
    *a += *b + y;
    *d = rotr(*d ^ *a, 8);
    *c += *d;
    *b = rotr(*b ^ *c, 7);
}

/* One block; `count` bytes of message are in it. The sixteen words of the state are variables, not an array, so that they
 * live in registers; the message is read where it is, or from an aligned copy. That one may have key material, as HMAC does. */
static void compress(struct ml_blake2s *s, const uint8_t block[ML_BLAKE2S_BLOCK], uint32_t count, bool is_last)
{
    _Alignas(4) uint8_t copy[ML_BLAKE2S_BLOCK];
    const uint8_t *m = block;
    s->t[0] += count;
    s->t[1] += s->t[0] < count;
    if (!ml_words_aligned(block)) {
        memcpy(copy, block, sizeof copy);
        m = copy;
    }
    uint32_t *h = s->h;
    uint32_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    uint32_t v8 = iv[0], v9 = iv[1], v10 = iv[2], v11 = iv[3], v12 = iv[4] ^ s->t[0], v13 = iv[5] ^ s->t[1];
    uint32_t v14 = is_last ? ~iv[6] : iv[6], v15 = iv[7];
    for (unsigned r = 0; r < 10; r++) {
        const uint8_t *o = sigma[r];
        mix(&v0, &v4, &v8, &v12, ml_word_get(m + o[0]), ml_word_get(m + o[1]));
        mix(&v1, &v5, &v9, &v13, ml_word_get(m + o[2]), ml_word_get(m + o[3]));
        mix(&v2, &v6, &v10, &v14, ml_word_get(m + o[4]), ml_word_get(m + o[5]));
        mix(&v3, &v7, &v11, &v15, ml_word_get(m + o[6]), ml_word_get(m + o[7]));
        mix(&v0, &v5, &v10, &v15, ml_word_get(m + o[8]), ml_word_get(m + o[9]));
        mix(&v1, &v6, &v11, &v12, ml_word_get(m + o[10]), ml_word_get(m + o[11]));
        mix(&v2, &v7, &v8, &v13, ml_word_get(m + o[12]), ml_word_get(m + o[13]));
        mix(&v3, &v4, &v9, &v14, ml_word_get(m + o[14]), ml_word_get(m + o[15]));
    }
    h[0] ^= v0 ^ v8;
    h[1] ^= v1 ^ v9;
    h[2] ^= v2 ^ v10;
    h[3] ^= v3 ^ v11;
    h[4] ^= v4 ^ v12;
    h[5] ^= v5 ^ v13;
    h[6] ^= v6 ^ v14;
    h[7] ^= v7 ^ v15;
    if (m == copy) {
        ml_wipe(copy, sizeof copy);
    }
}

void ml_blake2s_init(struct ml_blake2s *s, size_t out_len, const uint8_t *key, size_t key_len)
{
    memset(s, 0, sizeof *s);
    memcpy(s->h, iv, sizeof iv);
    s->h[0] ^= 0x01010000U ^ (uint32_t)key_len << 8 ^ (uint32_t)out_len;
    s->out_len = (uint8_t)out_len;
    if (key_len > 0) {
        memcpy(s->buf, key, key_len);
        s->buf_len = ML_BLAKE2S_BLOCK; /* the padded key is the first block */
    }
}

void ml_blake2s_update(struct ml_blake2s *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        if (s->buf_len == ML_BLAKE2S_BLOCK) { /* only now is it known not to be the last block */
            compress(s, s->buf, ML_BLAKE2S_BLOCK, false);
            s->buf_len = 0;
        }
        if (s->buf_len == 0 && len > ML_BLAKE2S_BLOCK) { /* no need to copy a whole one */
            compress(s, p, ML_BLAKE2S_BLOCK, false);
            p += ML_BLAKE2S_BLOCK;
            len -= ML_BLAKE2S_BLOCK;
            continue;
        }
        size_t n = ML_BLAKE2S_BLOCK - s->buf_len;
        n = n < len ? n : len;
        memcpy(s->buf + s->buf_len, p, n);
        s->buf_len = (uint8_t)(s->buf_len + n);
        p += n;
        len -= n;
    }
}

void ml_blake2s_final(struct ml_blake2s *s, uint8_t *out)
{
    uint8_t full[ML_BLAKE2S_LEN];
    memset(s->buf + s->buf_len, 0, (size_t)ML_BLAKE2S_BLOCK - s->buf_len);
    compress(s, s->buf, s->buf_len, true);
    for (int i = 0; i < 8; i++) {
        ml_put_le32(full + 4 * i, s->h[i]);
    }
    memcpy(out, full, s->out_len);
    ml_wipe(full, sizeof full);
    ml_wipe(s, sizeof *s);
}

void ml_blake2s_2(uint8_t out[32], const void *a, size_t a_len, const void *b, size_t b_len)
{
    struct ml_blake2s s;
    ml_blake2s_init(&s, ML_BLAKE2S_LEN, NULL, 0);
    ml_blake2s_update(&s, a, a_len);
    ml_blake2s_update(&s, b, b_len);
    ml_blake2s_final(&s, out);
}

void ml_blake2s_mac16(uint8_t out[16], const uint8_t *key, size_t key_len, const void *data, size_t len)
{
    struct ml_blake2s s;
    ml_blake2s_init(&s, 16, key, key_len);
    ml_blake2s_update(&s, data, len);
    ml_blake2s_final(&s, out);
}

void ml_hmac_blake2s(uint8_t out[32], const uint8_t *key, size_t key_len, const void *a, size_t a_len, const void *b,
                     size_t b_len)
{
    struct ml_blake2s s;
    uint8_t pad[ML_BLAKE2S_BLOCK] = {0};
    uint8_t inner[ML_BLAKE2S_LEN];
    if (key_len > ML_BLAKE2S_BLOCK) {
        ml_blake2s_2(pad, key, key_len, NULL, 0);
    } else if (key_len > 0) {
        memcpy(pad, key, key_len);
    }
    for (size_t i = 0; i < sizeof pad; i++) {
        pad[i] ^= 0x36;
    }
    ml_blake2s_init(&s, ML_BLAKE2S_LEN, NULL, 0);
    ml_blake2s_update(&s, pad, sizeof pad);
    ml_blake2s_update(&s, a, a_len);
    ml_blake2s_update(&s, b, b_len);
    ml_blake2s_final(&s, inner);
    for (size_t i = 0; i < sizeof pad; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    ml_blake2s_init(&s, ML_BLAKE2S_LEN, NULL, 0);
    ml_blake2s_update(&s, pad, sizeof pad);
    ml_blake2s_update(&s, inner, sizeof inner);
    ml_blake2s_final(&s, out);
    ml_wipe(pad, sizeof pad);
    ml_wipe(inner, sizeof inner);
}

void ml_hkdf_blake2s(uint8_t out1[32], uint8_t *out2, uint8_t *out3, const uint8_t ck[32], const void *ikm, size_t ikm_len)
{
    static const uint8_t number[3] = {1, 2, 3};
    uint8_t prk[ML_BLAKE2S_LEN];
    uint8_t t[ML_BLAKE2S_LEN];
    ml_hmac_blake2s(prk, ck, ML_BLAKE2S_LEN, ikm, ikm_len, NULL, 0);
    ml_hmac_blake2s(t, prk, sizeof prk, NULL, 0, number, 1);
    memcpy(out1, t, sizeof t);
    if (out2) {
        ml_hmac_blake2s(t, prk, sizeof prk, t, sizeof t, number + 1, 1);
        memcpy(out2, t, sizeof t);
    }
    if (out2 && out3) {
        ml_hmac_blake2s(t, prk, sizeof prk, t, sizeof t, number + 2, 1);
        memcpy(out3, t, sizeof t);
    }
    ml_wipe(prk, sizeof prk);
    ml_wipe(t, sizeof t);
}
