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
    size_t engine_need; /**< ml_mem_needed() of this configuration. */
    ml_time longest;    /**< Longest time in one ml_port_step(), waiting not counted. */
    ml_time busy;       /**< Sum of those times. */
    uint32_t steps;
};

void ml_bare_get_stats(const ml_port *p, struct ml_bare_stats *out);

#endif
