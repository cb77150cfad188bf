/*
 * Noise_IKpsk2 as WireGuard uses it, both roles, with the all-zero pre-shared key of Tailscale (dataplane.md 1.2).
 *
 * Turns keys into messages and messages into keys. No timers, no peers, no MACs (wg_cookie.h): mac1 and mac2 of a message
 * written here are still to be filled in, and those of a message read here have been checked before. Functions that need
 * several curve operations take a budget (crypto/curve_budget.h) and are called again, with the same arguments, after
 * ML_CURVE_LATER.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_HANDSHAKE_H
#define ML_WG_HANDSHAKE_H

#include "crypto/curve_budget.h"
#include "crypto/noise_sym.h"
#include "wg/wg_msg.h"

extern const uint8_t ml_wg_initial_ck[32];   /* H(construction) */
extern const uint8_t ml_wg_initial_hash[32]; /* H(initial_ck || identifier) */

/** Our static key pair. */
struct ml_wg_identity {
    ml_private_key priv;
    uint8_t pub[32];
};

/** The curve operations of an initiation, done before it is written. All zero at first. Secret. */
struct ml_wg_draft {
    ml_private_key ephemeral;
    uint8_t ephemeral_pub[32];
    uint8_t es[32]; /* X25519(ephemeral, their static) */
    uint8_t step;
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
    bool is_open;             /* holds an initiation */
    bool is_authentic;        /* the timestamp opened: the sender holds the private key of `remote_static` */
    uint8_t step;             /* of the response */
    ml_private_key ephemeral; /* ours, from the first step on */
    uint8_t ephemeral_pub[32];
};

/** A response on its way through the curve operations of opening it. All zero at first. Secret. */
struct ml_wg_answer {
    struct ml_noise_sym sym;
    uint8_t step;
};

/** What a completed handshake yields. Secret. */
struct ml_wg_keys {
    uint8_t send[32];
    uint8_t receive[32];
    uint32_t local_index, remote_index;
};

/** Two operations: a new ephemeral key, and its secret with @p peer_pub. BAD: that is a low-order point; @p d is wiped. */
enum ml_curve_step ml_wg_draft_run(struct ml_wg_draft *d, const ml_random *rng, const uint8_t peer_pub[32],
                                   struct ml_curve_budget *budget);
/**
 * @brief Write an initiation, but for its MACs.
 * @param d      Done; wiped.
 * @param ss     X25519(our static, theirs).
 * @param stamp  TAI64N, greater than in any initiation to this peer before.
 * @param index  Our new receiver index, not 0.
 */
void ml_wg_initiation_write(struct ml_wg_initiator *hs, struct ml_wg_draft *d, const struct ml_wg_identity *id,
                            const uint8_t peer_pub[32], const uint8_t ss[32], const uint8_t stamp[ML_WG_STAMP_LEN],
                            uint32_t index, uint8_t msg[ML_WG_INITIATION_LEN]);
/** Opens the static key of an initiation: one X25519. The sender is not authenticated yet. False: forged or not for us. */
bool ml_wg_initiation_open(struct ml_wg_responder *hs, const struct ml_wg_identity *id,
                           const uint8_t msg[ML_WG_INITIATION_LEN]);
/** Opens its timestamp, which authenticates the sender. @p ss: X25519(our static, remote_static). */
bool ml_wg_initiation_verify(struct ml_wg_responder *hs, const uint8_t ss[32]);
/**
 * @brief Answer an authentic initiation, three operations: writes the response, but for its MACs, derives the keys, clears
 *        @p hs. BAD, @p hs cleared too: not authentic, or a key of the peer is a low-order point.
 */
enum ml_curve_step ml_wg_response_write(struct ml_wg_responder *hs, const ml_random *rng, uint32_t index,
                                        uint8_t msg[ML_WG_RESPONSE_LEN], struct ml_wg_keys *keys,
                                        struct ml_curve_budget *budget);
/**
 * @brief Consume the response to @p hs, two operations, and derive the keys. When done @p hs is cleared, when BAD it is
 *        unchanged; either way @p a is cleared.
 */
enum ml_curve_step ml_wg_response_open(struct ml_wg_initiator *hs, struct ml_wg_answer *a, const struct ml_wg_identity *id,
                                       const uint8_t msg[ML_WG_RESPONSE_LEN], struct ml_wg_keys *keys,
                                       struct ml_curve_budget *budget);

#endif
