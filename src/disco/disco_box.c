/*
 * The DISCO wrapper: sealing, opening, and the sender's key in the clear. dataplane.md 3.1. SPDX-License-Identifier: MIT
 */
#include "disco/disco_box.h"

#include "base/bytes.h"
#include "base/rng.h"

static const uint8_t disco_magic[ML_DISCO_MAGIC_LEN] = {0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac};

enum { KEY_AT = ML_DISCO_MAGIC_LEN, NONCE_AT = KEY_AT + 32 };

bool ml_disco_shared(struct ml_disco_shared *out, const ml_disco_key *peer, const ml_private_key *own)
{
    if (!ml_box_beforenm(out->b, peer->b, own)) {
        ml_wipe(out, sizeof *out);
        return false;
    }
    return true;
}

bool ml_disco_is_wrapper(const uint8_t *buf, size_t len)
{
    return len >= ML_DISCO_HEADER_LEN && memcmp(buf, disco_magic, sizeof disco_magic) == 0;
}

bool ml_disco_sender(const uint8_t *buf, size_t len, ml_disco_key *sender)
{
    if (!ml_disco_is_wrapper(buf, len)) {
        return false;
    }
    memcpy(sender->b, buf + KEY_AT, sizeof sender->b);
    return true;
}

size_t ml_disco_seal(uint8_t *out, size_t cap, const struct ml_disco_shared *shared, const ml_disco_key *own,
                     const ml_random *rng, const uint8_t *msg, size_t len)
{
    if (cap < ML_DISCO_OVERHEAD || cap - ML_DISCO_OVERHEAD < len) {
        return 0;
    }
    memcpy(out, disco_magic, sizeof disco_magic);
    memcpy(out + KEY_AT, own->b, sizeof own->b);
    ml_random_fill(rng, out + NONCE_AT, ML_BOX_NONCE);
    ml_box_seal(out + ML_DISCO_HEADER_LEN, shared->b, out + NONCE_AT, msg, len);
    return len + ML_DISCO_OVERHEAD;
}

bool ml_disco_open(uint8_t *buf, size_t len, const struct ml_disco_shared *shared, uint8_t **msg, size_t *msg_len)
{
    if (!ml_disco_is_wrapper(buf, len) || len < ML_DISCO_OVERHEAD) {
        return false;
    }
    uint8_t *box = buf + ML_DISCO_HEADER_LEN;
    if (!ml_box_open(box, shared->b, buf + NONCE_AT, box, len - ML_DISCO_HEADER_LEN)) {
        return false;
    }
    *msg = box;
    *msg_len = len - ML_DISCO_OVERHEAD;
    return true;
}
