/*
 * The client side of the ts2021 Noise IK handshake: one 101-byte initiation out, one 51-byte response (or an error frame) in.
 *
 * Source: control.md 3.3 and 3.4 (control/controlbase of the official module). The initiation travels base64-coded in an HTTP
 * header, the response is the first frame after the 101; both carriers are the caller's business. What comes out is a pair of
 * keys for noise_frame.h.
 *
 * Order of calls: ml_noise_ik_begin(), ml_noise_ik_initiate(), then ml_noise_ik_feed() with whatever arrives until it says
 * something else than MORE or LATER, then ml_noise_conn_init() with the keys, then ml_noise_ik_clear(). Both sides of it need
 * several curve operations and take a budget of them (crypto/curve_budget.h); NULL is none to keep to. A new attempt, even a parallel one to the same server,
 * needs a struct and a start of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_NOISE_NOISE_IK_H
#define ML_NOISE_NOISE_IK_H

#include "crypto/curve_budget.h"
#include "crypto/noise_sym.h"

#define ML_NOISE_INITIATION_LEN 101
#define ML_NOISE_RESPONSE_LEN   51
#define ML_NOISE_ERROR_TEXT_CAP 128 /**< What is kept of an error frame's text, with its zero. */

enum ml_noise_ik_result {
    ML_NOISE_IK_MORE,      /**< Need more bytes. */
    ML_NOISE_IK_LATER,     /**< The frame is whole, but no curve operation is left: call again, with or without bytes. */
    ML_NOISE_IK_DONE,      /**< `tx_key` and `rx_key` are valid. */
    ML_NOISE_IK_REFUSED,   /**< The server sent an error frame: `error_text`, unauthenticated, for the log only. */
    ML_NOISE_IK_BAD_FRAME, /**< Not a response frame, or of a wrong length. */
    ML_NOISE_IK_BAD_AUTH   /**< The response does not authenticate: not the server whose key we have. */
};

/** One handshake. All secrets in it are wiped as soon as they have served, on success and on every failure. */
struct ml_noise_ik {
    struct ml_noise_sym sym;
    ml_private_key machine;
    ml_private_key ephemeral;
    ml_machine_key server;
    uint8_t tx_key[32]; /**< Client to server; valid after DONE. */
    uint8_t rx_key[32]; /**< Server to client. */
    enum ml_noise_ik_result result;
    uint16_t version;
    uint8_t step;  /* of the initiation, then of the response */
    uint8_t type;  /* of the frame being received */
    uint16_t need; /* bytes of the frame announced, header included */
    uint16_t got;  /* bytes of the frame seen */
    union {
        uint8_t initiation[ML_NOISE_INITIATION_LEN]; /* as far as it is made */
        uint8_t frame[ML_NOISE_RESPONSE_LEN];
        char error_text[ML_NOISE_ERROR_TEXT_CAP]; /**< Zero-terminated, unprintable bytes replaced; valid after REFUSED. */
    } u;
};

/**
 * @brief Prepare.
 * @param version     Capability version: announced in the header and mixed as the prologue's decimal.
 * @param machine     Our machine private key; copied, wiped when the handshake ends.
 * @param server_pub  The control server's public key; copied.
 */
void ml_noise_ik_begin(struct ml_noise_ik *ik, uint16_t version, const ml_private_key *machine,
                       const ml_machine_key *server_pub);
/**
 * @brief Make the initiation: four curve operations.
 * @param out  The ML_NOISE_INITIATION_LEN bytes to send, when done.
 * @return BAD when the server's key is a low-order point; the struct is then clear.
 */
enum ml_curve_step ml_noise_ik_initiate(struct ml_noise_ik *ik, const ml_random *rng, uint8_t out[ML_NOISE_INITIATION_LEN],
                                        struct ml_curve_budget *budget);

/**
 * @brief Take bytes that follow the 101. Never takes a byte beyond the response frame. Two curve operations once it is whole.
 * @param used  How many were taken; the rest belongs to the record layer.
 * @return MORE until the frame is whole; afterwards, but for LATER, always the same final result.
 */
enum ml_noise_ik_result ml_noise_ik_feed(struct ml_noise_ik *ik, const uint8_t *buf, size_t len, size_t *used,
                                         struct ml_curve_budget *budget);

/** @brief Wipe everything. Safe in any state, also on an all-zero struct. */
void ml_noise_ik_clear(struct ml_noise_ik *ik);

#endif
