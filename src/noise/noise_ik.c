/*
 * Client side of the ts2021 Noise IK handshake. See noise_ik.h; step numbers are those of control.md 3.4.
 *
 * SPDX-License-Identifier: MIT
 */
#include "noise/noise_ik.h"

#include "base/bytes.h"
#include "crypto/blake2s.h"

#define TYPE_INITIATION 1
#define TYPE_RESPONSE   2
#define TYPE_ERROR      3
#define HEADER_LEN      3 /* of what the server sends; the initiation has two more bytes for the version */

static const char protocol_name[] = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
static const char prologue_text[] = "Tailscale Control Protocol v";

static void wipe_handshake(struct ml_noise_ik *ik)
{
    ml_wipe(&ik->sym, sizeof ik->sym);
    ml_wipe(&ik->machine, sizeof ik->machine);
    ml_wipe(&ik->ephemeral, sizeof ik->ephemeral);
}

void ml_noise_ik_clear(struct ml_noise_ik *ik)
{
    ml_wipe(ik, sizeof *ik);
}

bool ml_noise_ik_start(struct ml_noise_ik *ik, uint16_t version, const ml_private_key *machine,
                       const ml_machine_key *server_pub, const ml_random *rng, uint8_t out[ML_NOISE_INITIATION_LEN])
{
    uint8_t prologue[sizeof prologue_text + 5];
    uint8_t key[32];
    uint8_t machine_pub[32];
    uint8_t *ephemeral_pub = out + 5;
    uint8_t *sealed_machine = out + 37;
    uint8_t *tag = out + 85;

    ml_zero(ik);
    ik->result = ML_NOISE_IK_MORE;
    ik->machine = *machine;
    ml_x25519_keygen(&ik->ephemeral, rng);
    ml_x25519_base(machine_pub, machine);

    ml_put_be16(out, version);
    out[2] = TYPE_INITIATION;
    ml_put_be16(out + 3, ML_NOISE_INITIATION_LEN - 5);
    ml_x25519_base(ephemeral_pub, &ik->ephemeral);

    /* The name is longer than a hash, so it is hashed; the chaining key starts as that hash. */
    struct ml_noise_sym *s = &ik->sym;
    ml_blake2s_2(s->h, protocol_name, sizeof protocol_name - 1, NULL, 0);
    memcpy(s->ck, s->h, sizeof s->ck);
    struct ml_writer w = ml_writer_of(prologue, sizeof prologue);
    ml_write_str(&w, prologue_text);
    ml_write_dec(&w, version);
    ml_noise_mix_hash(s, prologue, w.len);                            /* 1 */
    ml_noise_mix_hash(s, server_pub->b, 32);                          /* 2 */
    ml_noise_mix_hash(s, ephemeral_pub, 32);                          /* 3 */
    bool ok = ml_noise_mix_dh(s, key, &ik->ephemeral, server_pub->b); /* 4 */
    if (ok) {
        ml_noise_seal(s, sealed_machine, key, machine_pub, 32);
        ok = ml_noise_mix_dh(s, key, &ik->machine, server_pub->b); /* 5 */
    }
    if (ok) {
        ml_noise_seal(s, tag, key, NULL, 0);
    }
    ml_wipe(key, sizeof key);
    if (!ok) {
        ml_wipe(out, ML_NOISE_INITIATION_LEN);
        ml_noise_ik_clear(ik);
        ik->result = ML_NOISE_IK_BAD_AUTH;
    }
    return ok;
}

static enum ml_noise_ik_result consume_response(struct ml_noise_ik *ik)
{
    struct ml_noise_sym *s = &ik->sym;
    const uint8_t *ephemeral_pub = ik->u.frame + 3;
    const uint8_t *tag = ik->u.frame + 35;
    uint8_t key[32];
    uint8_t nothing[1];

    ml_noise_mix_hash(s, ephemeral_pub, 32);                            /* 6 */
    bool ok = ml_noise_mix_dh(s, key, &ik->ephemeral, ephemeral_pub) && /* 7: only the chaining key matters */
              ml_noise_mix_dh(s, key, &ik->machine, ephemeral_pub) &&   /* 8 */
              ml_noise_open(s, nothing, key, tag, ML_AEAD_TAG);
    if (ok) {
        ml_hkdf_blake2s(ik->tx_key, ik->rx_key, NULL, s->ck, NULL, 0); /* 9 */
    }
    ml_wipe(key, sizeof key);
    return ok ? ML_NOISE_IK_DONE : ML_NOISE_IK_BAD_AUTH;
}

/* The three header bytes are there: what will follow? */
static enum ml_noise_ik_result consume_header(struct ml_noise_ik *ik)
{
    uint16_t len = ml_get_be16(ik->u.frame + 1);
    ik->type = ik->u.frame[0];
    if (ik->type == TYPE_RESPONSE && len == ML_NOISE_RESPONSE_LEN - HEADER_LEN) {
        ik->need = ML_NOISE_RESPONSE_LEN;
        return ML_NOISE_IK_MORE;
    }
    if (ik->type == TYPE_ERROR) {
        /* The connection ends here anyway: of a longer text only the beginning is waited for. */
        size_t keep = len < ML_NOISE_ERROR_TEXT_CAP - 1 ? len : ML_NOISE_ERROR_TEXT_CAP - 1;
        ik->need = (uint16_t)(HEADER_LEN + keep);
        memset(&ik->u, 0, sizeof ik->u);
        return ML_NOISE_IK_MORE;
    }
    return ML_NOISE_IK_BAD_FRAME;
}

static void take_byte(struct ml_noise_ik *ik, uint8_t b)
{
    if (ik->type == TYPE_ERROR) {
        ik->u.error_text[ik->got - HEADER_LEN] = (char)(b >= 0x20 && b < 0x7f ? b : '?');
    } else {
        ik->u.frame[ik->got] = b;
    }
    ik->got++;
}

enum ml_noise_ik_result ml_noise_ik_feed(struct ml_noise_ik *ik, const uint8_t *buf, size_t len, size_t *used)
{
    size_t pos = 0;
    if (ik->need == 0) {
        ik->need = HEADER_LEN;
    }
    while (ik->result == ML_NOISE_IK_MORE && pos < len) {
        take_byte(ik, buf[pos++]);
        if (ik->got < ik->need) {
            continue;
        }
        if (ik->got == HEADER_LEN && ik->type == 0) {
            ik->result = consume_header(ik);
        }
        if (ik->got == ik->need && ik->result == ML_NOISE_IK_MORE) {
            ik->result = ik->type == TYPE_ERROR ? ML_NOISE_IK_REFUSED : consume_response(ik);
        }
        if (ik->result != ML_NOISE_IK_MORE) {
            wipe_handshake(ik);
        }
    }
    *used = pos;
    return ik->result;
}
