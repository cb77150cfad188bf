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
/* Of the initiation */
#define EPHEMERAL        5
#define SEALED_MACHINE   37
#define TAG              85
#define INITIATION_STEPS 4
#define HEADER_LEN       3 /* of what the server sends; the initiation has two more bytes for the version */

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

void ml_noise_ik_begin(struct ml_noise_ik *ik, uint16_t version, const ml_private_key *machine,
                       const ml_machine_key *server_pub)
{
    ml_zero(ik);
    ik->result = ML_NOISE_IK_MORE;
    ik->version = version;
    ik->machine = *machine;
    ik->server = *server_pub;
}

/* What comes before the first secret: the ephemeral key is there. */
static void write_head(struct ml_noise_ik *ik)
{
    uint8_t prologue[sizeof prologue_text + 5];
    struct ml_noise_sym *s = &ik->sym;
    uint8_t *out = ik->u.initiation;

    ml_put_be16(out, ik->version);
    out[2] = TYPE_INITIATION;
    ml_put_be16(out + 3, ML_NOISE_INITIATION_LEN - 5);
    /* The name is longer than a hash, so it is hashed; the chaining key starts as that hash. */
    ml_blake2s_2(s->h, protocol_name, sizeof protocol_name - 1, NULL, 0);
    memcpy(s->ck, s->h, sizeof s->ck);
    struct ml_writer w = ml_writer_of(prologue, sizeof prologue);
    ml_write_str(&w, prologue_text);
    ml_write_dec(&w, ik->version);
    ml_noise_mix_hash(s, prologue, w.len);     /* 1 */
    ml_noise_mix_hash(s, ik->server.b, 32);    /* 2 */
    ml_noise_mix_hash(s, out + EPHEMERAL, 32); /* 3 */
}

/* One curve operation of the initiation. Our own public key waits where it will be sealed. */
static bool initiate(struct ml_noise_ik *ik, const ml_random *rng)
{
    uint8_t key[32];
    uint8_t pub[32];
    uint8_t *out = ik->u.initiation;
    bool ok = true;

    switch (ik->step) {
    case 0:
        ml_x25519_keygen(&ik->ephemeral, rng);
        ml_x25519_base(out + EPHEMERAL, &ik->ephemeral);
        write_head(ik);
        break;
    case 1:
        ml_x25519_base(out + SEALED_MACHINE, &ik->machine);
        break;
    case 2:
        ok = ml_noise_mix_dh(&ik->sym, key, &ik->ephemeral, ik->server.b); /* 4 */
        if (ok) {
            memcpy(pub, out + SEALED_MACHINE, 32);
            ml_noise_seal(&ik->sym, out + SEALED_MACHINE, key, pub, 32);
        }
        break;
    default:
        ok = ml_noise_mix_dh(&ik->sym, key, &ik->machine, ik->server.b); /* 5 */
        if (ok) {
            ml_noise_seal(&ik->sym, out + TAG, key, NULL, 0);
        }
        break;
    }
    ml_wipe(key, sizeof key);
    return ok;
}

enum ml_curve_step ml_noise_ik_initiate(struct ml_noise_ik *ik, const ml_random *rng, uint8_t out[ML_NOISE_INITIATION_LEN],
                                        struct ml_curve_budget *budget)
{
    for (; ik->step < INITIATION_STEPS; ik->step++) {
        if (!ml_curve_take(budget)) {
            return ML_CURVE_LATER;
        }
        if (!initiate(ik, rng)) {
            ml_noise_ik_clear(ik);
            ik->result = ML_NOISE_IK_BAD_AUTH;
            return ML_CURVE_BAD;
        }
    }
    memcpy(out, ik->u.initiation, ML_NOISE_INITIATION_LEN);
    memset(&ik->u, 0, sizeof ik->u);
    return ML_CURVE_DONE;
}

static enum ml_noise_ik_result consume_response(struct ml_noise_ik *ik, struct ml_curve_budget *budget)
{
    struct ml_noise_sym *s = &ik->sym;
    const uint8_t *ephemeral_pub = ik->u.frame + 3;
    const uint8_t *tag = ik->u.frame + 35;
    uint8_t key[32];
    uint8_t nothing[1];
    bool ok = true;

    for (; ok && ik->step < INITIATION_STEPS + 2; ik->step++) {
        if (!ml_curve_take(budget)) {
            return ML_NOISE_IK_LATER;
        }
        if (ik->step == INITIATION_STEPS) {
            ml_noise_mix_hash(s, ephemeral_pub, 32);                     /* 6 */
            ok = ml_noise_mix_dh(s, key, &ik->ephemeral, ephemeral_pub); /* 7: only the chaining key matters */
        } else {
            ok = ml_noise_mix_dh(s, key, &ik->machine, ephemeral_pub) && /* 8 */
                 ml_noise_open(s, nothing, key, tag, ML_AEAD_TAG);
        }
        ml_wipe(key, sizeof key);
    }
    if (ok) {
        ml_hkdf_blake2s(ik->tx_key, ik->rx_key, NULL, s->ck, NULL, 0); /* 9 */
    }
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

/* The frame is whole. */
static void conclude(struct ml_noise_ik *ik, struct ml_curve_budget *budget)
{
    ik->result = ik->type == TYPE_ERROR ? ML_NOISE_IK_REFUSED : consume_response(ik, budget);
}

/* Never inlined: its struct is far inside of another, where each access takes three instructions. */
__attribute__((noinline)) enum ml_noise_ik_result ml_noise_ik_feed(struct ml_noise_ik *ik, const uint8_t *buf, size_t len,
                                                                   size_t *used, struct ml_curve_budget *budget)
{
    size_t pos = 0;
    if (ik->need == 0) {
        ik->need = HEADER_LEN;
    }
    while (ik->result == ML_NOISE_IK_MORE && pos < len) {
        take_byte(ik, buf[pos++]);
        if (ik->got == HEADER_LEN && ik->type == 0) {
            ik->result = consume_header(ik);
        }
        if (ik->got == ik->need && ik->result == ML_NOISE_IK_MORE) {
            ik->result = ML_NOISE_IK_LATER;
        }
    }
    if (ik->result == ML_NOISE_IK_LATER) {
        conclude(ik, budget);
    }
    if (ik->result != ML_NOISE_IK_MORE && ik->result != ML_NOISE_IK_LATER) {
        wipe_handshake(ik);
    }
    *used = pos;
    return ik->result;
}
