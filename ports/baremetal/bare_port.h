/*
 * What the bare-metal port has beyond microlink/port.h: figures about itself.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BAREMETAL_PORT_H
#define ML_BAREMETAL_PORT_H

#include "microlink/port.h"

#ifndef ML_BOARD_ENGINE_BYTES
#define ML_BOARD_ENGINE_BYTES 65536
#endif

struct ml_bare_stats {
    size_t engine_need;        /**< ml_mem_needed() of this configuration. */
    ml_time longest;           /**< Longest time in one ml_port_step(), waiting not counted. */
    ml_time longest_plain;     /**< The same of steps without public-key work: no step of a TLS handshake and no X25519. */
    ml_time longest_plain_net; /**< What of it went into taking in frames. */
    ml_time longest_tls;       /**< Longest step with a part of a TLS handshake. */
    ml_time busy;              /**< Sum of those times. */
    uint32_t steps;
    uint32_t entropy_waits;       /**< How often there was no randomness yet. */
    uint32_t x25519, x25519_most; /**< X25519 operations of the engine: all, and the most in one step. */
};

/** @brief X25519 operations since power-on; wraps. */
uint32_t ml_bare_x25519_count(void);
/** @brief True randomness; waits until there is some, and says that it does. */
void ml_bare_random(uint8_t *buf, size_t len);
void ml_bare_get_stats(const ml_port *p, struct ml_bare_stats *out);

#endif
