/*
 * crypto_backend.h by libsodium. Why not OpenSSL for packets: docs/decisions/0002-packet-aead.md.
 *
 * libsodium keeps the CPU features it detected in its own static data; the engine keeps none. ml_x25519_keygen() draws from
 * the engine's random source, never from libsodium's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/crypto_backend.h"

#include <sodium.h>
#include <string.h>

_Static_assert(ML_BOX_TAG == crypto_box_MACBYTES && ML_BOX_NONCE == crypto_box_NONCEBYTES, "NaCl box");
_Static_assert(ML_AEAD_TAG == crypto_aead_chacha20poly1305_ietf_ABYTES, "RFC 8439 tag");

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
    crypto_scalarmult_base(pub, priv->b);
}

bool ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32])
{
    /* libsodium refuses low-order points before it multiplies, and then leaves the output alone. */
    if (crypto_scalarmult(out, priv->b, pub) != 0) {
        memset(out, 0, 32);
        return false;
    }
    return true;
}

void ml_aead_seal(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[12], const uint8_t *ad, size_t ad_len,
                  const uint8_t *src, size_t len)
{
    crypto_aead_chacha20poly1305_ietf_encrypt(dst, NULL, src, len, ad, ad_len, NULL, nonce, key);
}

bool ml_aead_open(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[12], const uint8_t *ad, size_t ad_len,
                  const uint8_t *src, size_t len)
{
    return crypto_aead_chacha20poly1305_ietf_decrypt(dst, NULL, NULL, src, len, ad, ad_len, nonce, key) == 0;
}

void ml_xaead_seal(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[24], const uint8_t *ad, size_t ad_len,
                   const uint8_t *src, size_t len)
{
    crypto_aead_xchacha20poly1305_ietf_encrypt(dst, NULL, src, len, ad, ad_len, NULL, nonce, key);
}

bool ml_xaead_open(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[24], const uint8_t *ad, size_t ad_len,
                   const uint8_t *src, size_t len)
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt(dst, NULL, NULL, src, len, ad, ad_len, nonce, key) == 0;
}

bool ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv)
{
    if (crypto_box_beforenm(shared, pub, priv->b) != 0) {
        memset(shared, 0, 32);
        return false;
    }
    return true;
}

void ml_box_seal(uint8_t *dst, const uint8_t shared[32], const uint8_t nonce[24], const uint8_t *src, size_t len)
{
    (void)crypto_box_easy_afternm(dst, src, len, nonce, shared); /* fails only for lengths beyond any address space */
}

bool ml_box_open(uint8_t *dst, const uint8_t shared[32], const uint8_t nonce[24], const uint8_t *src, size_t len)
{
    return len >= ML_BOX_TAG && crypto_box_open_easy_afternm(dst, src, len, nonce, shared) == 0;
}

void ml_wipe(void *p, size_t len)
{
    sodium_memzero(p, len);
}

bool ml_ct_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}
