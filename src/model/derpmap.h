/*
 * One DERP region with the servers we may use of it. Source: tailcfg.DERPRegion, control.md 8.4.
 *
 * Only the first ML_DERP_NODES servers of a region are kept, in their order of priority.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MODEL_DERPMAP_H
#define ML_MODEL_DERPMAP_H

#include "microlink/types.h"

#define ML_DERP_NODES    2
#define ML_DERP_HOST_CAP 80
#define ML_DERP_CERT_CAP 80 /* "sha256-raw:" and 64 hex digits, or a DNS name */

struct ml_derp_node {
    char host[ML_DERP_HOST_CAP];
    char cert_name[ML_DERP_CERT_CAP]; /* "" = same as host */
    ml_ip ip4, ip6;                   /* unset = use DNS */
    bool no_ip4, no_ip6;              /* "none": family switched off */
    bool is_stun_only;
    bool is_insecure_for_tests;
    int32_t stun_port;  /* 0 = 3478, -1 = none */
    uint16_t derp_port; /* 0 = 443 */
};

struct ml_derp_region {
    uint16_t id;
    char code[16];
    char name[32];
    bool avoid;
    bool no_measure_no_home;
    uint8_t node_count;
    struct ml_derp_node nodes[ML_DERP_NODES];
};

#endif
