/*
 * What is this datagram? The classification of everything that arrives on the UDP socket. dataplane.md section 2.
 *
 * First match wins: STUN, Geneve with DISCO, Geneve with WireGuard, naked DISCO, and all else is WireGuard. Looks at shape
 * only. STUN is recognised here by its own fixed bytes, so that one function holds the whole table.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_DISCO_DEMUX_H
#define ML_DISCO_DEMUX_H

#include "microlink/types.h"

#define ML_GENEVE_LEN 8 /* fixed header to strip for the two relayed classes */

enum ml_datagram_class {
    ML_DATAGRAM_STUN,
    ML_DATAGRAM_GENEVE_DISCO,
    ML_DATAGRAM_GENEVE_WIREGUARD,
    ML_DATAGRAM_DISCO,
    ML_DATAGRAM_WIREGUARD /* also whatever is nothing else, down to length 0 */
};

/** @brief Classify a datagram from the UDP socket. */
enum ml_datagram_class ml_datagram_classify(const uint8_t *buf, size_t len);

/** @brief Classify a packet from a DERP relay: DISCO or WireGuard, nothing else is valid there. */
enum ml_datagram_class ml_derp_packet_classify(const uint8_t *buf, size_t len);

#endif
