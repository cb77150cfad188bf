/*
 * Symmetric state of a Noise handshake. See noise_sym.h; Noise specification revision 34, section 5.2.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/noise_sym.h"

#include "crypto/blake2s.h"

static const uint8_t zero_nonce[12] = {0};

void ml_noise_mix_hash(struct ml_noise_sym *s, const void *data, size_t len)
{
    ml_blake2s_2(s->h, s->h, sizeof s->h, data, len);
}

void ml_noise_mix_key(struct ml_noise_sym *s, const void *ikm, size_t len)
{
    ml_hkdf_blake2s(s->ck, NULL, NULL, s->ck, ikm, len);
}

void ml_noise_mix_key2(struct ml_noise_sym *s, uint8_t key[32], const void *ikm, size_t len)
{
    ml_hkdf_blake2s(s->ck, key, NULL, s->ck, ikm, len);
}

bool ml_noise_mix_dh(struct ml_noise_sym *s, uint8_t key[32], const ml_private_key *priv, const uint8_t pub[32])
{
    uint8_t secret[32];
    bool ok = ml_x25519(secret, priv, pub);
    if (ok) {
        ml_noise_mix_key2(s, key, secret, sizeof secret);
    }
    ml_wipe(secret, sizeof secret);
    return ok;
}

void ml_noise_seal(struct ml_noise_sym *s, uint8_t *dst, const uint8_t key[32], const uint8_t *src, size_t len)
{
    ml_aead_seal(dst, key, zero_nonce, s->h, sizeof s->h, src, len);
    ml_noise_mix_hash(s, dst, len + ML_AEAD_TAG);
}

bool ml_noise_open(struct ml_noise_sym *s, uint8_t *dst, const uint8_t key[32], const uint8_t *src, size_t len)
{
    if (len < ML_AEAD_TAG || !ml_aead_open(dst, key, zero_nonce, s->h, sizeof s->h, src, len)) {
        return false;
    }
    ml_noise_mix_hash(s, src, len);
    return true;
}
