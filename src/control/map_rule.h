/*
 * One packet filter rule while it is being read: sources, destinations, protocols, expanded to prefixes.
 *
 * JSON gives the protocols after the addresses, so a rule must be held until its end. What it can hold is bounded; sources,
 * destinations or protocols over that are left out, which can only make the rule allow less (`is_lossy`). Source: control.md
 * 10.2 (wgengine/filter of the official module).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CONTROL_MAP_RULE_H
#define ML_CONTROL_MAP_RULE_H

#include "model/delta.h"

#ifndef ML_CFG_RULE_SRCS
#define ML_CFG_RULE_SRCS 64 /**< Source prefixes of one rule as sent; 17 bytes each in the map parser. */
#endif
#ifndef ML_CFG_RULE_DSTS
#define ML_CFG_RULE_DSTS 24 /**< Destinations of one rule as sent; 22 bytes each. */
#endif

struct ml_map_rule {
    ml_prefix srcs[ML_CFG_RULE_SRCS];
    struct ml_rule_dst dsts[ML_CFG_RULE_DSTS];
    uint16_t src_count, dst_count;
    uint8_t protos[ML_RULE_PROTOS];
    uint8_t proto_count;
    bool has_protos;
    bool is_lossy;
    bool is_invalid; /* SrcBits or Bits: the whole filter as sent must not be used */
    bool is_spoilt;  /* something has the wrong type: the rule allows nothing */
    uint32_t cut_count;

    struct ml_rule_dst dst; /* the DstPorts entry being read; only its ports */
    uint16_t dst_first;     /* where its prefixes begin in `dsts` */
    bool is_dst_bad;
};

struct ml_map_parse;

void ml_map_rule_begin(struct ml_map_rule *r);
/** A source: "*", an address, a prefix without host bits, a range, or "cap:..." (which is left out, making the rule lossy). */
void ml_map_rule_src(struct ml_map_rule *r, const char *text, size_t len);
/** A protocol number; outside 0..255 it is ignored, but the list then is not the default one any more (C53). */
void ml_map_rule_proto(struct ml_map_rule *r, int64_t n);
void ml_map_dst_begin(struct ml_map_rule *r);
void ml_map_dst_ip(struct ml_map_rule *r, const char *text, size_t len);
void ml_map_dst_end(struct ml_map_rule *r);
/** Hand the rule out in chunks that fit struct ml_rule: every chunk of sources with every chunk of destinations. */
void ml_map_rule_emit(struct ml_map_parse *p, void (*emit)(struct ml_map_parse *p, const struct ml_delta *d));

#endif
