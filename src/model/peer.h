/*
 * The peer table at rest: the record of one peer, the records that few peers need, and the view of all of them that the
 * overlay routes read. map/ owns and changes the table, route/ looks things up in it; nobody else writes here.
 *
 * A peer is named by its slot, an index that stays the same while the peer is in the table. Sizes: 160 B a peer, 20 B an
 * extra, plus names and indexes (map/netmap.h says what a table costs).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MODEL_PEER_H
#define ML_MODEL_PEER_H

#include "microlink/types.h"

#define ML_PEER_NONE     UINT16_MAX /**< No slot. */
#define ML_PEER_EP_BYTES 36
#define ML_PEER_EP_MAX   6 /**< 6 IPv4, or 1 IPv6 and 3 IPv4, or 2 IPv6: what fits into ML_PEER_EP_BYTES at 6 and 18 bytes. */

/* ml_peer.flags */
enum {
    ML_PEER_IS_ONLINE_KNOWN = 1 << 0,
    ML_PEER_IS_ONLINE = 1 << 1,
    ML_PEER_IS_EXPIRED = 1 << 2, /**< As control says, or by local time (netmap.h): never talked to. */
    ML_PEER_IS_WIREGUARD_ONLY = 1 << 3,
    ML_PEER_IS_JAILED = 1 << 4,
    ML_PEER_IS_UNSIGNED = 1 << 5, /**< UnsignedPeerAPIOnly: only its own addresses are routed (control.md 8.3, 10.6). */
    ML_PEER_ROUTES_IP4 = 1 << 6,  /**< `ip4` is in its AllowedIPs. */
    ML_PEER_ROUTES_IP6 = 1 << 7,
    ML_PEER_HAS_EXTRA = 1 << 8, /**< There are ml_peer_extra records of it. */
    ML_PEER_HAS_SIGNATURE = 1 << 9,
    ML_PEER_IS_AUTHORIZED = 1 << 10,
    /* For map/ only. */
    ML_PEER_NEED = 3 << 11,              /**< enum ml_map_need. */
    ML_PEER_MARK_LOCAL_EXPIRY = 1 << 13, /**< Expired by local time, not by control's word. */
    ML_PEER_MARK_NAMED = 1 << 14,        /**< Named in the message being read. */
    ML_PEER_MARK_PATCHED = 1 << 15       /**< Online state set by a patch of the message being read. */
};

struct ml_peer {
    uint64_t id; /**< 0: the slot is free. */
    uint64_t user_id;
    ml_node_key key;
    ml_disco_key disco;  /**< All zero: none. */
    uint8_t ip6[16];     /**< First IPv6 address; all zero: none. */
    uint8_t ip4[4];      /**< First IPv4 address; all zero: none. */
    uint32_t key_expiry; /**< Unix seconds; 0 = never. */
    uint32_t last_seen;  /**< Unix seconds; 0 = not known. */
    uint32_t name_at;    /**< For map/: where the name is; 0 = no name. */
    uint16_t home_region;
    uint16_t cap;
    uint16_t peerapi4, peerapi6;
    uint16_t flags;
    unsigned os : 4; /**< Index into a fixed list (ml_map_peer_os); 0 = another or unknown. */
    unsigned ep_count : 4;
    unsigned ep_is6 : 8;          /**< Bit i: endpoint i is IPv6. */
    uint8_t ep[ML_PEER_EP_BYTES]; /**< Address and port in network order, one after the other. */
};

/* What an extra record says. */
enum ml_peer_extra_kind {
    ML_EXTRA_ADDRESS, /**< A routed address beyond the first of its family, or a single Tailscale address (a service). */
    ML_EXTRA_SUBNET,  /**< A route that is used only if routes are accepted. */
    ML_EXTRA_DEFAULT, /**< 0.0.0.0/0 or ::/0: used only if this peer is the selected exit node. */
    ML_EXTRA_MASQ     /**< Our address as this peer must see it. */
};

/* Kept sorted by prefix length, longest first, then by peer id, so that the first match is the longest. */
struct ml_peer_extra {
    ml_ip ip;
    uint8_t bits;
    uint8_t kind;
    uint16_t slot;
};

/**
 * Read access to the table. `ip_index` is an open-addressing hash of the peers' own addresses: start at
 * ml_peer_hash(address) & ip_mask, step by one, until ML_PEER_NONE. A cell is a slot, plus ML_PEER_CELL_IP6 when it stands
 * for the peer's IPv6 address.
 */
#define ML_PEER_CELL_IP6 0x8000u
struct ml_peer_table {
    struct ml_peer *peers;
    struct ml_peer_extra *extras;
    uint16_t *ip_index;
    uint32_t ip_mask;
    uint16_t slot_count; /**< Slots there are; those with id 0 are free. */
    uint16_t extra_count;
};

/** Spreads @p n bytes, a multiple of 4; not keyed: what is hashed here comes from control, not from strangers. */
static inline uint32_t ml_peer_hash(const uint8_t *p, unsigned n)
{
    uint32_t h = 0x9e3779b9u;
    for (unsigned i = 0; i < n; i += 4) {
        uint32_t w = (uint32_t)p[i] | (uint32_t)p[i + 1] << 8 | (uint32_t)p[i + 2] << 16 | (uint32_t)p[i + 3] << 24;
        h = (h ^ w) * 0x85ebca6bu;
        h ^= h >> 15;
    }
    return h;
}

#endif
