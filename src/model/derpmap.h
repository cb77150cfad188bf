/*
 * One DERP region with the servers we may use of it. Source: tailcfg.DERPRegion, control.md 8.4.
 *
 * Only the first ML_DERP_NODES servers of a region are kept, in their order of priority.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MODEL_DERPMAP_H
#define ML_MODEL_DERPMAP_H

#include "base/bytes.h"
#include "microlink/types.h"

#include <string.h>

#define ML_DERP_NODES    2
#define ML_DERP_HOST_CAP 80
#define ML_DERP_CERT_CAP 80 /* "sha256-raw:" and 64 hex digits, or a DNS name */
#define ML_DERP_PIN      "sha256-raw:"

struct ml_derp_node {
    /* A name of less than ML_DERP_HOST_CAP bytes. Behind its zero the name in the certificate, "" being the same; with has_pin
     * the hash of the certificate, 32 bytes. */
    char host[ML_DERP_HOST_CAP + 32];
    bool has_pin;
    ml_ip ip4, ip6;      /* unset = use DNS */
    bool no_ip4, no_ip6; /* "none": family switched off */
    bool is_stun_only;
    bool is_insecure_for_tests;
    int32_t stun_port;  /* 0 = 3478, -1 = none */
    uint16_t derp_port; /* 0 = 443 */
};

static inline const char *ml_derp_cert(const struct ml_derp_node *n)
{
    return n->host + strlen(n->host) + 1;
}

/** Set what follows the host from the text of DERPNode.CertName. @return false: it has no room, and nothing was set. */
bool ml_derp_set_cert(struct ml_derp_node *n, const char *text);
/** That text again. */
void ml_derp_write_cert(struct ml_writer *w, const struct ml_derp_node *n);

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
