/*
 * crypto_backend.h for 32-bit cores without cryptographic hardware: X25519, ChaCha20 and Poly1305 are our own, made for such
 * cores; XSalsa20 of the NaCl box, wiping and comparing are libsodium's. Chosen by the build instead of crypto_sodium.c, when
 * instructions and flash are scarce (docs/decisions/0005-own-primitives-on-32-bit.md).
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/bytes.h"
#include "crypto/c32/chacha20.h"
#include "crypto/c32/poly1305.h"
#include "crypto/c32/x25519.h"
#include "crypto/crypto_backend.h"
#include "crypto/words.h"

#include <sodium.h>
#include <string.h>

bool ml_crypto_init(void)
{
    return sodium_init() >= 0;
}

void ml_x25519_keygen(ml_private_key *out, const ml_random *rng)
{
    rng->fill(rng->ctx, out->b, sizeof out->b);
    out->b[0] &= 248;
    out->b[31] = (uint8_t)((out->b[31] & 127) | 64);
}

void ml_x25519_base(uint8_t pub[32], const ml_private_key *priv)
{
    ml_x25519_ladder(pub, priv->b, NULL);
}

bool ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32])
{
    ml_x25519_ladder(out, priv->b, pub);
    return !sodium_is_zero(out, 32);
}

/* ---- RFC 8439 ---- */

/* Starts a message: the first block of key stream is the key of its tag, the second is where the text begins. */
static void start(struct ml_chacha20 *c, struct ml_poly1305 *p, const uint8_t key[32], const uint8_t nonce[12])
{
    _Alignas(4) uint8_t first[64] = {0};
    ml_chacha20_init(c, key, nonce, 0);
    ml_chacha20_xor(c, first, first, sizeof first);
    ml_poly1305_init(p, first);
    ml_wipe(first, sizeof first);
}

/* The tag over the additional data, the ciphertext and their lengths. */
static void finish(struct ml_poly1305 *p, uint8_t tag[ML_AEAD_TAG], const uint8_t *ad, size_t ad_len, const uint8_t *text,
                   size_t len)
{
    uint8_t lengths[16];
    ml_put_le64(lengths, ad_len);
    ml_put_le64(lengths + 8, len);
    ml_poly1305_update(p, ad, ad_len, true);
    ml_poly1305_update(p, text, len, true);
    ml_poly1305_update(p, lengths, sizeof lengths, true);
    ml_poly1305_final(p, tag);
}

void ml_aead_seal(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[12], const uint8_t *ad, size_t ad_len,
                  const uint8_t *src, size_t len)
{
    struct ml_chacha20 c;
    struct ml_poly1305 p;
    start(&c, &p, key, nonce);
    ml_chacha20_xor(&c, dst, src, len);
    finish(&p, dst + len, ad, ad_len, dst, len);
    ml_wipe(&c, sizeof c);
}

bool ml_aead_open(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[12], const uint8_t *ad, size_t ad_len,
                  const uint8_t *src, size_t len)
{
    struct ml_chacha20 c;
    struct ml_poly1305 p;
    uint8_t tag[ML_AEAD_TAG];
    if (len < ML_AEAD_TAG) {
        return false;
    }
    len -= ML_AEAD_TAG;
    start(&c, &p, key, nonce);
    finish(&p, tag, ad, ad_len, src, len);
    bool is_good = ml_ct_equal(tag, src + len, sizeof tag);
    if (is_good) {
        ml_chacha20_xor(&c, dst, src, len);
    }
    ml_wipe(&c, sizeof c);
    return is_good;
}

/* ---- draft-irtf-cfrg-xchacha ---- */

/* The key and the nonce under which an XChaCha20 message is an ordinary one. */
static void inner(uint8_t key_out[32], uint8_t nonce_out[12], const uint8_t key[32], const uint8_t nonce[24])
{
    ml_hchacha20(key_out, key, nonce);
    memset(nonce_out, 0, 4);
    memcpy(nonce_out + 4, nonce + 16, 8);
}

void ml_xaead_seal(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[24], const uint8_t *ad, size_t ad_len,
                   const uint8_t *src, size_t len)
{
    uint8_t key2[32];
    uint8_t nonce2[12];
    inner(key2, nonce2, key, nonce);
    ml_aead_seal(dst, key2, nonce2, ad, ad_len, src, len);
    ml_wipe(key2, sizeof key2);
}

bool ml_xaead_open(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[24], const uint8_t *ad, size_t ad_len,
                   const uint8_t *src, size_t len)
{
    uint8_t key2[32];
    uint8_t nonce2[12];
    inner(key2, nonce2, key, nonce);
    bool is_good = ml_aead_open(dst, key2, nonce2, ad, ad_len, src, len);
    ml_wipe(key2, sizeof key2);
    return is_good;
}

/* ---- NaCl box: XSalsa20 with Poly1305 ---- */

bool ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv)
{
    static const uint8_t zero[16];
    uint8_t secret[32];
    bool is_good = ml_x25519(secret, priv, pub);
    if (is_good) {
        (void)crypto_core_hsalsa20(shared, zero, secret, NULL);
    } else {
        memset(shared, 0, 32);
    }
    ml_wipe(secret, sizeof secret);
    return is_good;
}

/* The first 32 bytes of key stream are the key of the tag, the text begins at the next byte. */
static void box_start(uint8_t block[64], struct ml_poly1305 *p, const uint8_t *src, size_t n, const uint8_t nonce[24],
                      const uint8_t shared[32])
{
    memset(block, 0, 64);
    if (n > 0) {
        memcpy(block + 32, src, n);
    }
    (void)crypto_stream_xsalsa20_xor(block, block, 64, nonce, shared);
    ml_poly1305_init(p, block);
}

void ml_box_seal(uint8_t *dst, const uint8_t shared[32], const uint8_t nonce[24], const uint8_t *src, size_t len)
{
    uint8_t block[64];
    struct ml_poly1305 p;
    size_t n = len < 32 ? len : 32;
    box_start(block, &p, src, n, nonce, shared);
    memmove(dst + ML_BOX_TAG, src, len);
    memcpy(dst + ML_BOX_TAG, block + 32, n);
    if (len > n) {
        (void)crypto_stream_xsalsa20_xor_ic(dst + ML_BOX_TAG + n, dst + ML_BOX_TAG + n, len - n, nonce, 1, shared);
    }
    ml_poly1305_update(&p, dst + ML_BOX_TAG, len, false);
    ml_poly1305_final(&p, dst);
    ml_wipe(block, sizeof block);
}

bool ml_box_open(uint8_t *dst, const uint8_t shared[32], const uint8_t nonce[24], const uint8_t *src, size_t len)
{
    uint8_t block[64];
    uint8_t tag[ML_BOX_TAG];
    struct ml_poly1305 p;
    if (len < ML_BOX_TAG) {
        return false;
    }
    len -= ML_BOX_TAG;
    size_t n = len < 32 ? len : 32;
    box_start(block, &p, src + ML_BOX_TAG, n, nonce, shared);
    ml_poly1305_update(&p, src + ML_BOX_TAG, len, false);
    ml_poly1305_final(&p, tag);
    bool is_good = ml_ct_equal(tag, src, sizeof tag);
    if (is_good) {
        memmove(dst, src + ML_BOX_TAG, len);
        memcpy(dst, block + 32, n);
        if (len > n) {
            (void)crypto_stream_xsalsa20_xor_ic(dst + n, dst + n, len - n, nonce, 1, shared);
        }
    }
    ml_wipe(block, sizeof block);
    return is_good;
}

void ml_wipe(void *p, size_t len)
{
    /* By words where that is possible: libsodium's goes byte by byte here. The barrier stands for a reader of what was written. */
    uint8_t *b = p;
    if (ml_words_aligned(b)) {
        for (; len >= 16; len -= 16, b += 16) {
            ml_word_put(b, 0);
            ml_word_put(b + 4, 0);
            ml_word_put(b + 8, 0);
            ml_word_put(b + 12, 0);
        }
    }
    for (; len > 0; len--) {
        *b++ = 0;
    }
    __asm__ volatile("" : : "r"(p) : "memory");
}

bool ml_ct_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}
