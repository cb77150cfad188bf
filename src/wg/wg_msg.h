/*
 * The four WireGuard messages as bytes: sizes, field offsets, classification (dataplane.md 1.1).
 *
 * Fields are read and written at fixed offsets of fixed-size messages; all integers are little-endian. A message whose
 * type word is not exactly 1..4 (so also one with a non-zero reserved byte), or whose length does not fit its type, is
 * none. No state, no crypto.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_MSG_H
#define ML_WG_MSG_H

#include "base/bytes.h"

enum ml_wg_msg_type {
    ML_WG_MSG_NONE = 0,
    ML_WG_MSG_INITIATION = 1,
    ML_WG_MSG_RESPONSE = 2,
    ML_WG_MSG_COOKIE = 3,
    ML_WG_MSG_DATA = 4
};

#define ML_WG_INITIATION_LEN 148
#define ML_WG_RESPONSE_LEN   92
#define ML_WG_COOKIE_LEN     64
#define ML_WG_KEEPALIVE_LEN  32 /* a data message without content */
#define ML_WG_DATA_HEADER    16 /* before the ciphertext */
#define ML_WG_DATA_OVERHEAD  32 /* header and tag */
#define ML_WG_MAC_LEN        16
#define ML_WG_STAMP_LEN      12 /* TAI64N */

/* Offsets. The sender index of an initiation and of a response is at the same place. */
#define ML_WG_OFF_SENDER 4 /* initiation, response */

#define ML_WG_INIT_OFF_EPHEMERAL 8
#define ML_WG_INIT_OFF_STATIC    40 /* 32 + tag */
#define ML_WG_INIT_OFF_STAMP     88 /* 12 + tag */

#define ML_WG_RESP_OFF_RECEIVER  8
#define ML_WG_RESP_OFF_EPHEMERAL 12
#define ML_WG_RESP_OFF_EMPTY     44 /* tag only */

#define ML_WG_COOKIE_OFF_RECEIVER 4
#define ML_WG_COOKIE_OFF_NONCE    8  /* 24 */
#define ML_WG_COOKIE_OFF_COOKIE   32 /* 16 + tag */

#define ML_WG_DATA_OFF_RECEIVER 4
#define ML_WG_DATA_OFF_COUNTER  8

/** The type of a packet from the network, ML_WG_MSG_NONE when it is not a well-formed message. */
enum ml_wg_msg_type ml_wg_msg_classify(const uint8_t *buf, size_t len);

/** Writes the type word and the fields after it up to the content. */
void ml_wg_msg_write_data_header(uint8_t *dst, uint32_t receiver, uint64_t counter);

/**
 * @brief Plaintext length on the wire for an IP packet of @p len bytes: the next multiple of 16, but never beyond @p mtu.
 * @param len  0..mtu
 */
size_t ml_wg_padded_len(size_t len, size_t mtu);

/**
 * @brief Length of the IP packet at the start of a decrypted plaintext, from its own length field; what follows is padding.
 * @return 0 when it is neither IPv4 nor IPv6, or longer than @p len, or too short for its header.
 */
size_t ml_wg_inner_len(const uint8_t *plain, size_t len);

#endif
