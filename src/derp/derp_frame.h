/*
 * DERP frames: "u8 type, u32 length, payload", and the payloads a client reads or writes.
 *
 * Source: dataplane.md 7.2 and 7.3 (package derp of the official module). Codec only: no state, no I/O.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_DERP_DERP_FRAME_H
#define ML_DERP_DERP_FRAME_H

#include "base/bytes.h"
#include "crypto/crypto_backend.h"

#define ML_DERP_HEADER_LEN 5
#define ML_DERP_FRAME_MAX  (1U << 20) /**< A longer one announced ends the connection. */
#define ML_DERP_PACKET_MAX 65536U     /**< Longest packet a server carries. */
#define ML_DERP_VERSION    2

enum ml_derp_frame_type {
    ML_DERP_SERVER_KEY = 0x01,
    ML_DERP_CLIENT_INFO = 0x02,
    ML_DERP_SERVER_INFO = 0x03,
    ML_DERP_SEND_PACKET = 0x04,
    ML_DERP_RECV_PACKET = 0x05,
    ML_DERP_KEEPALIVE = 0x06,
    ML_DERP_NOTE_PREFERRED = 0x07,
    ML_DERP_PEER_GONE = 0x08,
    ML_DERP_PING = 0x12,
    ML_DERP_PONG = 0x13,
    ML_DERP_HEALTH = 0x14,
    ML_DERP_RESTARTING = 0x15
};

#define ML_DERP_GONE_DISCONNECTED 0
#define ML_DERP_GONE_NOT_HERE     1

/** What ServerInfo says. A rate of 0 means unlimited. */
struct ml_derp_server_info {
    uint32_t version;
    uint32_t bytes_per_sec;
    uint32_t bytes_burst;
};

/** Length of the ClientInfo frame with its header. */
#define ML_DERP_CLIENT_INFO_LEN (ML_DERP_HEADER_LEN + 32 + ML_BOX_NONCE + ML_BOX_TAG + 32)

void ml_derp_write_header(struct ml_writer *w, enum ml_derp_frame_type type, uint32_t payload_len);
/** SendPacket: header, destination, packet. Writes all or nothing (and sets `bad`). @p len at most ML_DERP_PACKET_MAX. */
void ml_derp_write_send_packet(struct ml_writer *w, const ml_node_key *dst, const uint8_t *packet, size_t len);
/** ClientInfo: our node key in clear, then nonce and box of {"version":2,"CanAckPings":true}. @p shared: crypto_box key. */
void ml_derp_write_client_info(struct ml_writer *w, const ml_node_key *self, const uint8_t shared[32], const ml_random *rng);

/** ServerKey payload: magic and key; bytes after them are for the future. False: not a DERP server. */
bool ml_derp_parse_server_key(const uint8_t *payload, size_t len, ml_derp_key *out);
/** ServerInfo payload: opens the box in place and reads the limits. False: forged, too short, or not an object. */
bool ml_derp_open_server_info(uint8_t *payload, size_t len, const uint8_t shared[32], struct ml_derp_server_info *out);
/** The JSON in it. Unknown members are skipped, numbers over 32 bits are cut to the largest. */
bool ml_derp_parse_server_info(const char *json, size_t len, struct ml_derp_server_info *out);

#endif
