/*
 * The symmetric state of a Noise handshake with BLAKE2s and ChaCha20-Poly1305: what WireGuard and ts2021 share.
 *
 * Every AEAD of a handshake uses an all-zero nonce, since each of its keys is used once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_NOISE_SYM_H
#define ML_CRYPTO_NOISE_SYM_H

#include "crypto/crypto_backend.h"

struct ml_noise_sym {
    uint8_t h[32];
    uint8_t ck[32];
};

void ml_noise_mix_hash(struct ml_noise_sym *s, const void *data, size_t len);
/** ck = HKDF(ck, ikm) with one output: WireGuard's mixK of a public key. */
void ml_noise_mix_key(struct ml_noise_sym *s, const void *ikm, size_t len);
/** (ck, key) = HKDF(ck, ikm). */
void ml_noise_mix_key2(struct ml_noise_sym *s, uint8_t key[32], const void *ikm, size_t len);
/** (ck, key) = HKDF(ck, X25519(priv, pub)); false on an all-zero secret. */
bool ml_noise_mix_dh(struct ml_noise_sym *s, uint8_t key[32], const ml_private_key *priv, const uint8_t pub[32]);
/** dst = AEAD(key, nonce 0, ad = h, src), then mixes the ciphertext. Writes len + 16 bytes. */
void ml_noise_seal(struct ml_noise_sym *s, uint8_t *dst, const uint8_t key[32], const uint8_t *src, size_t len);
/** The reverse; @p len counts the tag. On failure the state is unchanged. @p dst must not overlap @p src. */
bool ml_noise_open(struct ml_noise_sym *s, uint8_t *dst, const uint8_t key[32], const uint8_t *src, size_t len);

#endif
