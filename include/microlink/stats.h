/*
 * Counters of an engine: traffic, and one per reason for which something was dropped.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MICROLINK_STATS_H
#define MICROLINK_STATS_H

#include "microlink/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @brief Why something went nowhere. One name per early return in a packet path, so that a counter in `microlink status`
 * tells the line of code. The X-macro keeps names and texts together: ML_DROP_<NAME>, "text".
 */
#define ML_DROP_LIST(X)                                                                                                        \
    X(NONE, "not dropped")                                                                                                     \
    X(MALFORMED, "malformed packet")                                                                                           \
    X(TOO_LARGE, "larger than we take")                                                                                        \
    X(UNKNOWN_TYPE, "unknown message type or version")                                                                         \
    X(NOT_READY, "no identity or netmap yet")                                                                                  \
    X(OUT_FULL, "output queue full")                                                                                           \
    X(NO_MEMORY, "table full")                                                                                                 \
    X(WG_BAD_MAC1, "wireguard: mac1 wrong")                                                                                    \
    X(WG_BAD_MAC2, "wireguard: under load and mac2 missing or wrong")                                                          \
    X(WG_RATE_LIMITED, "wireguard: too many handshakes from one address")                                                      \
    X(WG_UNKNOWN_PEER, "wireguard: initiation from an unknown key")                                                            \
    X(WG_UNKNOWN_INDEX, "wireguard: unknown receiver index")                                                                   \
    X(WG_BAD_AUTH, "wireguard: authentication failed")                                                                         \
    X(WG_OLD_TIMESTAMP, "wireguard: initiation timestamp not newer")                                                           \
    X(WG_FLOOD, "wireguard: initiation within 20 ms of the last")                                                              \
    X(WG_REPLAY, "wireguard: counter already seen or too old")                                                                 \
    X(WG_EXPIRED, "wireguard: keypair too old")                                                                                \
    X(WG_UNEXPECTED, "wireguard: no such handshake in progress")                                                               \
    X(WG_STAGED_FULL, "wireguard: waiting for a handshake, oldest packet dropped")                                             \
    X(WG_GAVE_UP, "wireguard: handshake not answered, waiting packets dropped")                                                \
    X(DISCO_UNKNOWN_KEY, "disco: sender not in the netmap")                                                                    \
    X(DISCO_BAD_BOX, "disco: box does not open")                                                                               \
    X(DISCO_UNKNOWN_TX, "disco: pong to no ping of ours")                                                                      \
    X(DISCO_WRONG_CARRIER, "disco: message not allowed on this carrier")                                                       \
    X(DISCO_DUPLICATE, "disco: ping repeated")                                                                                 \
    X(DISCO_LIMITED, "disco: over the rate or table limit")                                                                    \
    X(STUN_UNKNOWN_TX, "stun: answer to no request of ours")                                                                   \
    X(DERP_UNKNOWN_PEER, "derp: packet from a key not in the netmap")                                                          \
    X(DERP_QUEUE_FULL, "derp: relay slower than we send")                                                                      \
    X(DERP_RATE_LIMITED, "derp: over the relay's announced rate")                                                              \
    X(DERP_UNKNOWN_FRAME, "derp: unknown frame type")                                                                          \
    X(ROUTE_NO_PEER, "overlay: no peer has that address")                                                                      \
    X(ROUTE_BAD_SOURCE, "overlay: inner source not allowed for this peer")                                                     \
    X(ROUTE_NO_PATH, "overlay: no path to the peer")                                                                           \
    X(ROUTE_PEER_EXPIRED, "overlay: peer's key expired")                                                                       \
    X(ROUTE_SERVICE_IP, "overlay: service address stays local")                                                                \
    X(FILTER_DENIED, "filter: no rule allows it")                                                                              \
    X(FILTER_MALFORMED, "filter: unparsable packet")                                                                           \
    X(FILTER_NOT_LOCAL, "filter: destination is not ours")                                                                     \
    X(FILTER_MULTICAST, "filter: multicast or link-local destination")                                                         \
    X(TSMP_FROM_HOST, "tsmp: the host must not send it")                                                                       \
    X(TSMP_LIMITED, "tsmp: reject messages over their rate")                                                                   \
    X(MAP_PEER_OVER_LIMIT, "netmap: more peers than slots")                                                                    \
    X(MAP_ENDPOINT_OVER_LIMIT, "netmap: more endpoints than slots")                                                            \
    X(MAP_RULE_OVER_LIMIT, "netmap: filter rules over the limit, failing closed")                                              \
    X(MAP_REGION_OVER_LIMIT, "netmap: more relay regions than slots")                                                          \
    X(STREAM_STALE, "stream: event for a stream already closed")

typedef enum ml_drop {
#define ML_DROP_ENUM(name, text) ML_DROP_##name,
    ML_DROP_LIST(ML_DROP_ENUM)
#undef ML_DROP_ENUM
        ML_DROP_COUNT
} ml_drop;

/** @brief The text of a drop reason; never NULL. Static storage. */
const char *ml_drop_text(ml_drop reason);

typedef struct ml_stats {
    uint64_t overlay_tx_packets, overlay_tx_bytes; /**< IP packets taken from the host and sent into the tunnel. */
    uint64_t overlay_rx_packets, overlay_rx_bytes; /**< IP packets given to the host. */
    uint64_t direct_tx_packets, direct_rx_packets; /**< UDP datagrams to and from peers (WireGuard and DISCO). */
    uint64_t derp_tx_packets, derp_rx_packets;     /**< Packets through relays. */
    uint64_t handshakes;                           /**< WireGuard handshakes completed, either role. */
    uint64_t map_messages, map_bytes;              /**< Netmap messages read, keepalives included. */
    uint64_t map_rereads;                          /**< Times the whole netmap was asked for again (docs/netmap.md). */
    uint64_t control_connects, derp_connects;      /**< Connections completed. */
    uint64_t stores;                               /**< State writes asked of the port, for flash-wear accounting. */
    uint64_t drop[ML_DROP_COUNT];
} ml_stats;

#ifdef __cplusplus
}
#endif

#endif
