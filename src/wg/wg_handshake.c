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

enum ml_curve_step ml_wg_draft_run(struct ml_wg_draft *d, const ml_random *rng, const uint8_t peer_pub[32],
                                   struct ml_curve_budget *budget)
{
    if (d->step == 0) {
        if (!ml_curve_take(budget)) {
            return ML_CURVE_LATER;
        }
        ml_x25519_keygen(&d->ephemeral, rng);
        ml_x25519_base(d->ephemeral_pub, &d->ephemeral);
        d->step = 1;
    }
    if (d->step == 1) {
        if (!ml_curve_take(budget)) {
            return ML_CURVE_LATER;
        }
        if (!ml_x25519(d->es, &d->ephemeral, peer_pub)) {
            ml_wipe(d, sizeof *d);
            return ML_CURVE_BAD;
        }
        d->step = 2;
    }
    return ML_CURVE_DONE;
}

void ml_wg_initiation_write(struct ml_wg_initiator *hs, struct ml_wg_draft *d, const struct ml_wg_identity *id,
                            const uint8_t peer_pub[32], const uint8_t ss[32], const uint8_t stamp[ML_WG_STAMP_LEN],
                            uint32_t index, uint8_t msg[ML_WG_INITIATION_LEN])
{
    uint8_t key[32];

    memset(msg, 0, ML_WG_INITIATION_LEN);
    ml_put_le32(msg, ML_WG_MSG_INITIATION);
    ml_put_le32(msg + ML_WG_OFF_SENDER, index);
    memcpy(msg + ML_WG_INIT_OFF_EPHEMERAL, d->ephemeral_pub, 32);
    hs->ephemeral = d->ephemeral;
    hs->local_index = index;
    start(&hs->sym, peer_pub, d->ephemeral_pub);
    ml_noise_mix_key2(&hs->sym, key, d->es, 32);
    ml_noise_seal(&hs->sym, msg + ML_WG_INIT_OFF_STATIC, key, id->pub, 32);
    ml_noise_mix_key2(&hs->sym, key, ss, 32);
    ml_noise_seal(&hs->sym, msg + ML_WG_INIT_OFF_STAMP, key, stamp, ML_WG_STAMP_LEN);
    ml_wipe(d, sizeof *d);
    ml_wipe(key, sizeof key);
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

/* The curve operations of a response, each mixed in as it is done. */
static enum ml_curve_step respond(struct ml_wg_responder *hs, const ml_random *rng, struct ml_curve_budget *budget)
{
    for (; hs->step < 3; hs->step++) {
        if (!ml_curve_take(budget)) {
            return ML_CURVE_LATER;
        }
        if (hs->step == 0) {
            ml_x25519_keygen(&hs->ephemeral, rng);
            ml_x25519_base(hs->ephemeral_pub, &hs->ephemeral);
            ml_noise_mix_hash(&hs->sym, hs->ephemeral_pub, 32);
            ml_noise_mix_key(&hs->sym, hs->ephemeral_pub, 32);
        } else if (!mix_dh(&hs->sym, &hs->ephemeral, hs->step == 1 ? hs->remote_ephemeral : hs->remote_static)) {
            return ML_CURVE_BAD;
        }
    }
    return ML_CURVE_DONE;
}

enum ml_curve_step ml_wg_response_write(struct ml_wg_responder *hs, const ml_random *rng, uint32_t index,
                                        uint8_t msg[ML_WG_RESPONSE_LEN], struct ml_wg_keys *keys,
                                        struct ml_curve_budget *budget)
{
    uint8_t key[32];
    enum ml_curve_step step = hs->is_open && hs->is_authentic ? respond(hs, rng, budget) : ML_CURVE_BAD;

    if (step == ML_CURVE_LATER) {
        return step;
    }
    if (step == ML_CURVE_DONE) {
        memset(msg, 0, ML_WG_RESPONSE_LEN);
        ml_put_le32(msg, ML_WG_MSG_RESPONSE);
        ml_put_le32(msg + ML_WG_OFF_SENDER, index);
        ml_put_le32(msg + ML_WG_RESP_OFF_RECEIVER, hs->remote_index);
        memcpy(msg + ML_WG_RESP_OFF_EPHEMERAL, hs->ephemeral_pub, 32);
        mix_psk(&hs->sym, key);
        ml_noise_seal(&hs->sym, msg + ML_WG_RESP_OFF_EMPTY, key, key, 0);
        ml_hkdf_blake2s(keys->receive, keys->send, NULL, hs->sym.ck, key, 0);
        keys->local_index = index;
        keys->remote_index = hs->remote_index;
        ml_wipe(key, sizeof key);
    }
    ml_wipe(hs, sizeof *hs);
    return step;
}

/* The same of opening a response. */
static enum ml_curve_step consume(const struct ml_wg_initiator *hs, struct ml_wg_answer *a, const struct ml_wg_identity *id,
                                  const uint8_t *ephemeral, struct ml_curve_budget *budget)
{
    for (; a->step < 2; a->step++) {
        if (!ml_curve_take(budget)) {
            return ML_CURVE_LATER;
        }
        if (a->step == 0) {
            a->sym = hs->sym;
            ml_noise_mix_hash(&a->sym, ephemeral, 32);
            ml_noise_mix_key(&a->sym, ephemeral, 32);
        }
        if (!mix_dh(&a->sym, a->step == 0 ? &hs->ephemeral : &id->priv, ephemeral)) {
            return ML_CURVE_BAD;
        }
    }
    return ML_CURVE_DONE;
}

enum ml_curve_step ml_wg_response_open(struct ml_wg_initiator *hs, struct ml_wg_answer *a, const struct ml_wg_identity *id,
                                       const uint8_t msg[ML_WG_RESPONSE_LEN], struct ml_wg_keys *keys,
                                       struct ml_curve_budget *budget)
{
    uint8_t key[32];
    uint8_t nothing[1];
    enum ml_curve_step step = consume(hs, a, id, msg + ML_WG_RESP_OFF_EPHEMERAL, budget);

    if (step == ML_CURVE_LATER) {
        return step;
    }
    if (step == ML_CURVE_DONE) {
        mix_psk(&a->sym, key);
        if (!ml_noise_open(&a->sym, nothing, key, msg + ML_WG_RESP_OFF_EMPTY, ML_AEAD_TAG)) {
            step = ML_CURVE_BAD;
        }
    }
    if (step == ML_CURVE_DONE) {
        ml_hkdf_blake2s(keys->send, keys->receive, NULL, a->sym.ck, key, 0);
        keys->local_index = hs->local_index;
        keys->remote_index = ml_get_le32(msg + ML_WG_OFF_SENDER);
        ml_wipe(hs, sizeof *hs);
    }
    ml_wipe(key, sizeof key);
    ml_wipe(a, sizeof *a);
    return step;
}
