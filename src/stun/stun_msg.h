/*
 * STUN as Tailscale uses it: one 40-byte binding request, and the parser of its answer. Source: net/stun, dataplane.md 5.
 *
 * Codec only: who is asked, when, and whether an answer is to a request of ours is for stun_query.h and path/netcheck.h.
 * There is no integrity protection beyond the random transaction ID, so that must be 12 fresh random bytes each time.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_STUN_MSG_H
#define ML_STUN_MSG_H

#include "microlink/types.h"

#define ML_STUN_TX_LEN      12
#define ML_STUN_HEADER_LEN  20
#define ML_STUN_REQUEST_LEN 40
#define ML_STUN_PORT        3478 /* where DERPNode.STUNPort is 0 */

/** @brief Writes the binding request of transaction @p tx: SOFTWARE "tailnode", FINGERPRINT last, as the servers insist. */
void ml_stun_write_request(uint8_t out[ML_STUN_REQUEST_LEN], const uint8_t tx[ML_STUN_TX_LEN]);

/** @brief Has the shape of a STUN message: 20 bytes or more, two zero top bits, the magic cookie. */
bool ml_stun_is(const uint8_t *buf, size_t len);

/** @brief Is a STUN message of method "binding" as the demultiplexer of the UDP socket asks (dataplane.md section 2, row 1). */
bool ml_stun_is_binding(const uint8_t *buf, size_t len);

/**
 * @brief Parse a binding success response.
 * @param tx    Its transaction ID; set only on success.
 * @param addr  Our address as the server saw it, from the last XOR-MAPPED-ADDRESS (0x0020 or 0x8020), else MAPPED-ADDRESS.
 * @return false, both untouched, when it is something else, an attribute is truncated, or no address is in it.
 */
bool ml_stun_parse_response(const uint8_t *buf, size_t len, uint8_t tx[ML_STUN_TX_LEN], ml_addr *addr);

#endif
