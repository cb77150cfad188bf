/*
 * Which of two working paths to a peer is better. Source: betterAddr of wgengine/magicsock/endpoint.go, dataplane.md 4.5.
 *
 * A pure function, in a file of its own so that it can be compared with the official one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_PATH_BETTER_H
#define ML_PATH_BETTER_H

#include "microlink/types.h"

/** What is known of a path that answered. An unset address means "no path". */
struct ml_path_quality {
    ml_addr addr;
    ml_time latency; /* microseconds, round trip */
    uint32_t vni;    /* of a peer relay; counts only when is_relay */
    uint16_t wire_mtu;
    bool is_relay;
};

/** @brief Should @p a replace @p b? Not an order: within the hysteresis neither replaces the other. */
bool ml_path_better(const struct ml_path_quality *a, const struct ml_path_quality *b);

#endif
