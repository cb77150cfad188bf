/*
 * Noise_IKpsk2 as WireGuard uses it, both roles, with the all-zero pre-shared key of Tailscale (dataplane.md 1.2).
 *
 * Turns keys into messages and messages into keys. No timers, no peers, no MACs (wg_cookie.h): mac1 and mac2 of a message
 * written here are still to be filled in, and those of a message read here have been checked before.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_HANDSHAKE_H
#define ML_WG_HANDSHAKE_H

#include "crypto/noise_sym.h"
#include "wg/wg_msg.h"

extern const uint8_t ml_wg_initial_ck[32];   /* H(construction) */
extern const uint8_t ml_wg_initial_hash[32]; /* H(initial_ck || identifier) */

/** Our static key pair. */
struct ml_wg_identity {
    ml_private_key priv;
    uint8_t pub[32];
};

/** An initiation of ours that waits for its response. Secret. */
struct ml_wg_initiator {
    struct ml_noise_sym sym;
    ml_private_key ephemeral;
    uint32_t local_index; /* 0: no initiation in flight */
};

/** An initiation of a peer that is not answered yet. Secret. */
struct ml_wg_responder {
    struct ml_noise_sym sym;
    uint8_t remote_static[32]; /* who the sender says it is; true only once `is_authentic` */
    uint8_t remote_ephemeral[32];
    uint8_t stamp[ML_WG_STAMP_LEN]; /* valid once `is_authentic` */
    uint8_t sealed_stamp[ML_WG_STAMP_LEN + 16];
    uint32_t remote_index;
    bool is_open;      /* holds an initiation */
    bool is_authentic; /* the timestamp opened: the sender holds the private key of `remote_static` */
};

/** What a completed handshake yields. Secret. */
struct ml_wg_keys {
    uint8_t send[32];
    uint8_t receive[32];
    uint32_t local_index, remote_index;
};

/**
 * @brief Write an initiation, but for its MACs.
 * @param ss     X25519(our static, theirs).
 * @param stamp  TAI64N, greater than in any initiation to this peer before.
 * @param index  Our new receiver index, not 0.
 * @return false when @p peer_pub is a low-order point; @p hs then is cleared.
 */
bool ml_wg_initiation_write(struct ml_wg_initiator *hs, const struct ml_wg_identity *id, const ml_random *rng,
                            const uint8_t peer_pub[32], const uint8_t ss[32], const uint8_t stamp[ML_WG_STAMP_LEN],
                            uint32_t index, uint8_t msg[ML_WG_INITIATION_LEN]);
/** Opens the static key of an initiation: one X25519. The sender is not authenticated yet. False: forged or not for us. */
bool ml_wg_initiation_open(struct ml_wg_responder *hs, const struct ml_wg_identity *id,
                           const uint8_t msg[ML_WG_INITIATION_LEN]);
/** Opens its timestamp, which authenticates the sender. @p ss: X25519(our static, remote_static). */
bool ml_wg_initiation_verify(struct ml_wg_responder *hs, const uint8_t ss[32]);
/**
 * @brief Answer an authentic initiation: writes the response, but for its MACs, and derives the keys. Clears @p hs.
 * @return false when a key of the peer is a low-order point.
 */
bool ml_wg_response_write(struct ml_wg_responder *hs, const ml_random *rng, uint32_t index, uint8_t msg[ML_WG_RESPONSE_LEN],
                          struct ml_wg_keys *keys);
/** Consumes the response to @p hs and derives the keys. On success @p hs is cleared, on failure it is unchanged. */
bool ml_wg_response_open(struct ml_wg_initiator *hs, const struct ml_wg_identity *id, const uint8_t msg[ML_WG_RESPONSE_LEN],
                         struct ml_wg_keys *keys);

#endif
