/*
 * Bounded table of flows that went out, least recently used first to go. Private to filter/.
 *
 * A flow is held as its replies look: protocol, remote as source, local as destination. Looking one up makes it recent, as in
 * net/flowtrack. No timeout. SPDX-License-Identifier: MIT
 */
#ifndef ML_FILTER_FLOW_H
#define ML_FILTER_FLOW_H

#include "filter/filter.h"

#define ML_FLOW_NONE UINT16_MAX

struct ml_flow {
    uint8_t key[37]; /* source, destination, ports, protocol */
    uint8_t pad;
    uint16_t chain;        /* next in the same bucket */
    uint16_t newer, older; /* neighbours in order of use */
};

uint32_t ml_flow_bucket_count(uint16_t cap); /**< A power of two, at least @p cap. */
void ml_flow_init(struct ml_flow_table *t, struct ml_flow *flows, uint16_t *buckets, uint16_t cap);
void ml_flow_clear(struct ml_flow_table *t);
/** Remembers the reply direction of outgoing @p v; a new flow takes the place of the one longest not used when full. */
void ml_flow_add_reverse(struct ml_flow_table *t, const struct ml_ip_view *v);
/** Whether incoming @p v belongs to a flow, which then counts as used now. */
bool ml_flow_is_known(struct ml_flow_table *t, const struct ml_ip_view *v);
bool ml_flow_check(const struct ml_flow_table *t);

#endif
