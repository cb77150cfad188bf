/*
 * One node of a netmap, as the map stream describes it: a fixed record that the streaming parser fills, one at a time.
 *
 * It is the form in which control hands nodes to the engine, not the form in which peers are kept (map/ packs them). What
 * does not fit is cut and counted, never a reason to lose the node. Source: tailcfg.Node, control.md 8.3.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MODEL_NODE_H
#define ML_MODEL_NODE_H

#include "microlink/engine.h"

#define ML_NODE_ADDRESSES 4
#define ML_NODE_ALLOWED   16
#define ML_NODE_ENDPOINTS 16

struct ml_node {
    uint64_t id;
    uint64_t user_id;
    char name[ML_NAME_CAP]; /* FQDN with trailing dot as sent; "" if absent */
    char os[16];            /* Hostinfo.OS */
    ml_node_key key;
    ml_disco_key disco;
    ml_ip masq4, masq6; /* our address as this peer must see it; unset = none */
    ml_prefix addresses[ML_NODE_ADDRESSES];
    ml_prefix allowed[ML_NODE_ALLOWED]; /* equal to `addresses` when the field was absent (control.md C41) */
    ml_addr endpoints[ML_NODE_ENDPOINTS];
    uint8_t address_count, allowed_count, endpoint_count;
    uint8_t allowed_dropped, endpoint_dropped; /* did not fit */
    uint16_t home_region;                      /* HomeDERP, else from the legacy DERP string */
    uint16_t cap;
    uint16_t peerapi4, peerapi6; /* ports from Hostinfo.Services, 0 = none */
    int64_t key_expiry;          /* Unix seconds, 0 = never */
    bool is_online_known, is_online;
    bool is_expired;
    bool is_machine_authorized;
    bool is_wireguard_only;
    bool is_jailed;
    bool is_unsigned_peerapi_only;
    bool has_key_signature;
    /* Self node only, from CapMap and Capabilities. */
    bool cap_tailnet_lock, cap_magicdns_aaaa, cap_only_tcp_443, cap_silent_disco, cap_randomize_port;
};

/* Which fields of a node patch are present (tailcfg.PeerChange, control.md 8.2). */
enum {
    ML_PATCH_REGION = 1 << 0,
    ML_PATCH_CAP = 1 << 1,
    ML_PATCH_ENDPOINTS = 1 << 2,
    ML_PATCH_KEY = 1 << 3,
    ML_PATCH_DISCO = 1 << 4,
    ML_PATCH_ONLINE = 1 << 5,
    ML_PATCH_LAST_SEEN = 1 << 6,
    ML_PATCH_KEY_EXPIRY = 1 << 7,
    ML_PATCH_KEY_SIGNATURE = 1 << 8
};

struct ml_node_patch {
    uint64_t id;
    uint32_t fields;
    uint16_t region, cap;
    ml_node_key key;
    ml_disco_key disco;
    bool is_online;
    int64_t last_seen;  /* Unix seconds */
    int64_t key_expiry; /* Unix seconds, 0 = never (a zero time clears) */
    ml_addr endpoints[ML_NODE_ENDPOINTS];
    uint8_t endpoint_count, endpoint_dropped;
};

#endif
