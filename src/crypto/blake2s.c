/*
 * BLAKE2s (RFC 7693), HMAC (RFC 2104) and HKDF (RFC 5869) over it. See blake2s.h.
 *
 * Ours because libsodium has BLAKE2b only. Constant-time by construction: no branch or index depends on data, only on
 * lengths. Written for small code: the ten rounds are a loop over the message schedule.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/blake2s.h"

#include "base/bytes.h"
#include "crypto/crypto_backend.h"

static const uint32_t iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* RFC 7693 section 2.7. */
static const uint8_t sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint32_t rotr(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static inline void mix(uint32_t v[16], int a, int b, int c, int d, uint32_t x, uint32_t y)
{
    v[a] += v[b] + x;
    v[d] = rotr(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotr(v[b] ^ v[c], 12);
    v[a] += v[b] + y;
    v[d] = rotr(v[d] ^ v[a], 8);
    v[c] += v[d];
    v[b] = rotr(v[b] ^ v[c], 7);
}

/* One block; `count` bytes of message are in it. v and m hold key material in HMAC, so they are wiped. */
static void compress(struct ml_blake2s *s, const uint8_t block[ML_BLAKE2S_BLOCK], uint32_t count, bool is_last)
{
    uint32_t v[16];
    uint32_t m[16];
    s->t[0] += count;
    s->t[1] += s->t[0] < count;
    for (int i = 0; i < 16; i++) {
        m[i] = ml_get_le32(block + 4 * i);
    }
    memcpy(v, s->h, sizeof s->h);
    memcpy(v + 8, iv, sizeof iv);
    v[12] ^= s->t[0];
    v[13] ^= s->t[1];
    if (is_last) {
        v[14] = ~v[14];
    }
    for (int r = 0; r < 10; r++) {
        const uint8_t *o = sigma[r];
        mix(v, 0, 4, 8, 12, m[o[0]], m[o[1]]);
        mix(v, 1, 5, 9, 13, m[o[2]], m[o[3]]);
        mix(v, 2, 6, 10, 14, m[o[4]], m[o[5]]);
        mix(v, 3, 7, 11, 15, m[o[6]], m[o[7]]);
        mix(v, 0, 5, 10, 15, m[o[8]], m[o[9]]);
        mix(v, 1, 6, 11, 12, m[o[10]], m[o[11]]);
        mix(v, 2, 7, 8, 13, m[o[12]], m[o[13]]);
        mix(v, 3, 4, 9, 14, m[o[14]], m[o[15]]);
    }
    for (int i = 0; i < 8; i++) {
        s->h[i] ^= v[i] ^ v[i + 8];
    }
    ml_wipe(v, sizeof v);
    ml_wipe(m, sizeof m);
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
