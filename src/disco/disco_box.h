/*
 * The DISCO wrapper: magic, sender's disco key, nonce, NaCl box. Source: types/key (DiscoShared), dataplane.md 3.1.
 *
 * Works with a shared key computed once per peer (ml_disco_shared); that is the only curve operation in DISCO.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_DISCO_BOX_H
#define ML_DISCO_BOX_H

#include "crypto/crypto_backend.h"

#define ML_DISCO_MAGIC_LEN  6
#define ML_DISCO_HEADER_LEN 62                                 /* magic, key, nonce */
#define ML_DISCO_OVERHEAD   (ML_DISCO_HEADER_LEN + ML_BOX_TAG) /* a datagram is this much longer than its message */

/** Secret: what two disco keys have in common. Wipe it when the peer or its key is gone. */
struct ml_disco_shared {
    uint8_t b[32];
};

/** @brief False, with @p out wiped, when @p peer is a low-order point: nothing may be sealed or opened with it. */
bool ml_disco_shared(struct ml_disco_shared *out, const ml_disco_key *peer, const ml_private_key *own);

/** @brief Is this a DISCO wrapper? Bare shape: 62 bytes or more and the magic (disco.LooksLikeDiscoWrapper). */
bool ml_disco_is_wrapper(const uint8_t *buf, size_t len);

/** @brief The sender's claimed key, before anything is authenticated. False when it is no wrapper. */
bool ml_disco_sender(const uint8_t *buf, size_t len, ml_disco_key *sender);

/**
 * @brief Wrap a message.
 * @return the datagram's length, @p len + ML_DISCO_OVERHEAD, or 0 when @p cap is too small. @p msg must not overlap @p out.
 */
size_t ml_disco_seal(uint8_t *out, size_t cap, const struct ml_disco_shared *shared, const ml_disco_key *own,
                     const ml_random *rng, const uint8_t *msg, size_t len);

/**
 * @brief Open a wrapper in place.
 * @param msg  The message, inside @p buf.
 * @return false when it is forged or too short; @p buf is then unspecified.
 */
bool ml_disco_open(uint8_t *buf, size_t len, const struct ml_disco_shared *shared, uint8_t **msg, size_t *msg_len);

#endif
