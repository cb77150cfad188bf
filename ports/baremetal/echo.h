/*
 * An echo server on the board's tailnet address, over lwIP's raw TCP: something for peers to talk to.
 * A few connections at a time: the oldest makes room for a new one, and one whose peer is gone ends within a minute.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BAREMETAL_ECHO_H
#define ML_BAREMETAL_ECHO_H

#include <stdbool.h>
#include <stdint.h>

/** @brief Listen on @p port of the tailnet interface. False: no memory. */
bool ml_echo_start(uint16_t port);

#endif
