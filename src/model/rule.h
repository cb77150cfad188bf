/*
 * One packet filter rule in compiled form: every source may reach every destination. Source: tailcfg.FilterRule.
 *
 * A rule with more sources or destinations than fit is handed out as several chunks whose union is the same (each chunk of
 * sources with each chunk of destinations is not needed: the parser repeats source chunks per destination chunk). Address
 * ranges arrive already expanded to prefixes; "*" arrives as 0.0.0.0/0 and ::/0.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MODEL_RULE_H
#define ML_MODEL_RULE_H

#include "microlink/types.h"

#define ML_RULE_SRCS   16
#define ML_RULE_DSTS   8
#define ML_RULE_PROTOS 8

struct ml_rule_dst {
    ml_prefix net;
    uint16_t port_first, port_last;
};

struct ml_rule {
    ml_prefix srcs[ML_RULE_SRCS];
    struct ml_rule_dst dsts[ML_RULE_DSTS];
    uint8_t protos[ML_RULE_PROTOS]; /* valid when has_protos; otherwise TCP, UDP, ICMP, ICMPv6 */
    uint8_t src_count, dst_count, proto_count;
    bool has_protos; /* IPProto was present and not empty; with proto_count 0 it matches ICMP by address only */
    bool is_lossy;   /* something of this rule could not be kept (a cap: source, too many protos): it allows less */
};

#endif
