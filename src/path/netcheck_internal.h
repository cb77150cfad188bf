/*
 * What the sources of netcheck.h share among themselves. For src/path only. SPDX-License-Identifier: MIT
 */
#ifndef ML_NETCHECK_INTERNAL_H
#define ML_NETCHECK_INTERNAL_H

#include "path/netcheck.h"

struct ml_netcheck_region *ml_netcheck_region_find(const struct ml_netcheck *n, uint16_t id);
/* Lowest latency of the report under way, 0 = not heard. */
uint32_t ml_netcheck_now(const struct ml_netcheck_region *r);
/* Lowest latency retained from the last 5 min 5 s, 0 = none. */
uint32_t ml_netcheck_recent(const struct ml_netcheck_region *r, ml_time now);
/* Ends the report's measuring: takes its latencies into the history and says which region is home now. 0 = there is none. */
uint16_t ml_netcheck_choose_home(struct ml_netcheck *n, ml_time now);

#endif
