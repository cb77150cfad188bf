/*
 * The primitives every backend supplies: X25519, ChaCha20-Poly1305, XChaCha20-Poly1305, the NaCl box, wiping and comparing.
 *
 * Exactly one backend is linked into a binary, chosen by the build: crypto_sodium.c, or c32/ on 32-bit cores where instructions
 * and flash are scarce (docs/decisions/0005-own-primitives-on-32-bit.md). None of them allocates. All functions are
 * constant-time in their secret inputs: crypto_sodium.c as far as libsodium is, c32/ as test_c32 shows.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_BACKEND_H
#define ML_CRYPTO_BACKEND_H

#include "microlink/types.h"

#define ML_AEAD_TAG  16
#define ML_BOX_NONCE 24
#define ML_BOX_TAG   16

/** Prepares the library (CPU feature detection). Idempotent; called by ml_init(). False: the backend cannot run here. */
bool ml_crypto_init(void);

/** A clamped private key from @p rng. */
void ml_x25519_keygen(ml_private_key *out, const ml_random *rng);
void ml_x25519_base(uint8_t pub[32], const ml_private_key *priv);
/** @return false, with @p out zero, when the result is all zero (a low-order point): never use it. */
bool ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32]);

/** RFC 8439. Writes @p len + 16 bytes; @p dst may be @p src. */
void ml_aead_seal(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[12], const uint8_t *ad, size_t ad_len,
                  const uint8_t *src, size_t len);
/** @param len  Of the ciphertext with its tag. Writes len - 16 bytes; @p dst may be @p src. False: forged, @p dst undefined. */
bool ml_aead_open(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[12], const uint8_t *ad, size_t ad_len,
                  const uint8_t *src, size_t len);
/** XChaCha20-Poly1305 with a 24-byte nonce (WireGuard cookies); otherwise as above. */
void ml_xaead_seal(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[24], const uint8_t *ad, size_t ad_len,
                   const uint8_t *src, size_t len);
bool ml_xaead_open(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[24], const uint8_t *ad, size_t ad_len,
                   const uint8_t *src, size_t len);

/** The shared key of crypto_box between a public and a private key. False: low-order point. Secret; wipe it. */
bool ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv);
/** NaCl box layout: 16-byte tag, then the text. Writes len + 16 bytes; @p dst may be @p src + 0 only if room follows. */
void ml_box_seal(uint8_t *dst, const uint8_t shared[32], const uint8_t nonce[24], const uint8_t *src, size_t len);
bool ml_box_open(uint8_t *dst, const uint8_t shared[32], const uint8_t nonce[24], const uint8_t *src, size_t len);

/** Overwrites; not optimised away. */
void ml_wipe(void *p, size_t len);
/** Constant-time equality. */
bool ml_ct_equal(const void *a, const void *b, size_t len);

#endif
