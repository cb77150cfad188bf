/*
 * Noise_IKpsk2 for WireGuard; see wg_handshake.h and the table of steps in dataplane.md 1.2.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg_handshake.h"
#include "crypto/blake2s.h"

/* H("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s") */
const uint8_t ml_wg_initial_ck[32] = {0x60, 0xe2, 0x6d, 0xae, 0xf3, 0x27, 0xef, 0xc0, 0x2e, 0xc3, 0x35,
                                      0xe2, 0xa0, 0x25, 0xd2, 0xd0, 0x16, 0xeb, 0x42, 0x06, 0xf8, 0x72,
                                      0x77, 0xf5, 0x2d, 0x38, 0xd1, 0x98, 0x8b, 0x78, 0xcd, 0x36};
/* H(initial_ck || "WireGuard v1 zx2c4 Jason@zx2c4.com") */
const uint8_t ml_wg_initial_hash[32] = {0x22, 0x11, 0xb3, 0x61, 0x08, 0x1a, 0xc5, 0x66, 0x69, 0x12, 0x43,
                                        0xdb, 0x45, 0x8a, 0xd5, 0x32, 0x2d, 0x9c, 0x6c, 0x66, 0x22, 0x93,
                                        0xe8, 0xb7, 0x0e, 0xe1, 0x9c, 0x65, 0xba, 0x07, 0x9e, 0xf3};

static void start(struct ml_noise_sym *s, const uint8_t responder_static[32], const uint8_t initiator_ephemeral[32])
{
    memcpy(s->ck, ml_wg_initial_ck, 32);
    memcpy(s->h, ml_wg_initial_hash, 32);
    ml_noise_mix_hash(s, responder_static, 32);
    ml_noise_mix_hash(s, initiator_ephemeral, 32);
    ml_noise_mix_key(s, initiator_ephemeral, 32);
}

/* mixK(DH): like ml_noise_mix_dh(), but without a key beside the chaining key. */
static bool mix_dh(struct ml_noise_sym *s, const ml_private_key *priv, const uint8_t pub[32])
{
    uint8_t dh[32];
    bool ok = ml_x25519(dh, priv, pub);

    if (ok) {
        ml_noise_mix_key(s, dh, 32);
    }
    ml_wipe(dh, sizeof dh);
    return ok;
}

/* Step "resp 2" up to the AEAD: Tailscale has no pre-shared keys, so the pre-shared key is 32 zero bytes. */
static void mix_psk(struct ml_noise_sym *s, uint8_t key[32])
{
    static const uint8_t psk[32];
    uint8_t tau[32];

    ml_hkdf_blake2s(s->ck, tau, key, s->ck, psk, sizeof psk);
    ml_noise_mix_hash(s, tau, sizeof tau);
    ml_wipe(tau, sizeof tau);
}

bool ml_wg_initiation_write(struct ml_wg_initiator *hs, const struct ml_wg_identity *id, const ml_random *rng,
                            const uint8_t peer_pub[32], const uint8_t ss[32], const uint8_t stamp[ML_WG_STAMP_LEN],
                            uint32_t index, uint8_t msg[ML_WG_INITIATION_LEN])
{
    uint8_t key[32];
    uint8_t *ephemeral = msg + ML_WG_INIT_OFF_EPHEMERAL;
    bool ok = false;

    memset(msg, 0, ML_WG_INITIATION_LEN);
    ml_put_le32(msg, ML_WG_MSG_INITIATION);
    ml_put_le32(msg + ML_WG_OFF_SENDER, index);
    ml_x25519_keygen(&hs->ephemeral, rng);
    ml_x25519_base(ephemeral, &hs->ephemeral);
    hs->local_index = index;

    start(&hs->sym, peer_pub, ephemeral);
    if (ml_noise_mix_dh(&hs->sym, key, &hs->ephemeral, peer_pub)) {
        ml_noise_seal(&hs->sym, msg + ML_WG_INIT_OFF_STATIC, key, id->pub, 32);
        ml_noise_mix_key2(&hs->sym, key, ss, 32);
        ml_noise_seal(&hs->sym, msg + ML_WG_INIT_OFF_STAMP, key, stamp, ML_WG_STAMP_LEN);
        ok = true;
    } else {
        ml_wipe(hs, sizeof *hs);
    }
    ml_wipe(key, sizeof key);
    return ok;
}

bool ml_wg_initiation_open(struct ml_wg_responder *hs, const struct ml_wg_identity *id, const uint8_t msg[ML_WG_INITIATION_LEN])
{
    uint8_t key[32];
    const uint8_t *ephemeral = msg + ML_WG_INIT_OFF_EPHEMERAL;

    ml_zero(hs);
    start(&hs->sym, id->pub, ephemeral);
    if (ml_noise_mix_dh(&hs->sym, key, &id->priv, ephemeral) &&
        ml_noise_open(&hs->sym, hs->remote_static, key, msg + ML_WG_INIT_OFF_STATIC, 32 + ML_AEAD_TAG)) {
        memcpy(hs->remote_ephemeral, ephemeral, 32);
        memcpy(hs->sealed_stamp, msg + ML_WG_INIT_OFF_STAMP, sizeof hs->sealed_stamp);
        hs->remote_index = ml_get_le32(msg + ML_WG_OFF_SENDER);
        hs->is_open = true;
    }
    ml_wipe(key, sizeof key);
    if (!hs->is_open) {
        ml_wipe(hs, sizeof *hs);
        return false;
    }
    return true;
}

bool ml_wg_initiation_verify(struct ml_wg_responder *hs, const uint8_t ss[32])
{
    uint8_t key[32];

    if (!hs->is_open) {
        return false;
    }
    if (!hs->is_authentic) {
        ml_noise_mix_key2(&hs->sym, key, ss, 32);
        hs->is_authentic = ml_noise_open(&hs->sym, hs->stamp, key, hs->sealed_stamp, sizeof hs->sealed_stamp);
        ml_wipe(key, sizeof key);
        if (!hs->is_authentic) {
            ml_wipe(hs, sizeof *hs);
            return false;
        }
    }
    return true;
}

bool ml_wg_response_write(struct ml_wg_responder *hs, const ml_random *rng, uint32_t index, uint8_t msg[ML_WG_RESPONSE_LEN],
                          struct ml_wg_keys *keys)
{
    uint8_t key[32];
    ml_private_key ephemeral;
    uint8_t *ephemeral_pub = msg + ML_WG_RESP_OFF_EPHEMERAL;
    bool ok = false;

    if (!hs->is_open || !hs->is_authentic) {
        return false;
    }
    memset(msg, 0, ML_WG_RESPONSE_LEN);
    ml_put_le32(msg, ML_WG_MSG_RESPONSE);
    ml_put_le32(msg + ML_WG_OFF_SENDER, index);
    ml_put_le32(msg + ML_WG_RESP_OFF_RECEIVER, hs->remote_index);
    ml_x25519_keygen(&ephemeral, rng);
    ml_x25519_base(ephemeral_pub, &ephemeral);
    ml_noise_mix_hash(&hs->sym, ephemeral_pub, 32);
    ml_noise_mix_key(&hs->sym, ephemeral_pub, 32);
    if (mix_dh(&hs->sym, &ephemeral, hs->remote_ephemeral) && mix_dh(&hs->sym, &ephemeral, hs->remote_static)) {
        mix_psk(&hs->sym, key);
        ml_noise_seal(&hs->sym, msg + ML_WG_RESP_OFF_EMPTY, key, key, 0);
        ml_hkdf_blake2s(keys->receive, keys->send, NULL, hs->sym.ck, key, 0);
        keys->local_index = index;
        keys->remote_index = hs->remote_index;
        ok = true;
    }
    ml_wipe(key, sizeof key);
    ml_wipe(&ephemeral, sizeof ephemeral);
    ml_wipe(hs, sizeof *hs);
    return ok;
}

bool ml_wg_response_open(struct ml_wg_initiator *hs, const struct ml_wg_identity *id, const uint8_t msg[ML_WG_RESPONSE_LEN],
                         struct ml_wg_keys *keys)
{
    struct ml_noise_sym sym = hs->sym;
    uint8_t key[32];
    uint8_t nothing[1];
    const uint8_t *ephemeral = msg + ML_WG_RESP_OFF_EPHEMERAL;
    bool ok = false;

    ml_noise_mix_hash(&sym, ephemeral, 32);
    ml_noise_mix_key(&sym, ephemeral, 32);
    if (mix_dh(&sym, &hs->ephemeral, ephemeral) && mix_dh(&sym, &id->priv, ephemeral)) {
        mix_psk(&sym, key);
        ok = ml_noise_open(&sym, nothing, key, msg + ML_WG_RESP_OFF_EMPTY, ML_AEAD_TAG);
    }
    if (ok) {
        ml_hkdf_blake2s(keys->send, keys->receive, NULL, sym.ck, key, 0);
        keys->local_index = hs->local_index;
        keys->remote_index = ml_get_le32(msg + ML_WG_OFF_SENDER);
        ml_wipe(hs, sizeof *hs);
    }
    ml_wipe(key, sizeof key);
    ml_wipe(&sym, sizeof sym);
    return ok;
}
