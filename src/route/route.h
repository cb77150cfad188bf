/*
 * Overlay routes: which peer a destination belongs to, and which inner sources a peer may use.
 *
 * Both read the same prefixes (dataplane.md 9.1): a peer's addresses always, its subnet routes if the node accepts routes, a
 * default route only of the selected exit node. Expired peers, and peers with neither disco key nor home region (unless
 * WireGuard-only), have none. Reads the table of model/peer.h, which map/ fills; keeps no state of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ROUTE_ROUTE_H
#define ML_ROUTE_ROUTE_H

#include "base/addr.h"
#include "microlink/stats.h"
#include "model/peer.h"

/** The node's own choices. All zero: hosts of the tailnet only. */
struct ml_route_prefs {
    bool accept_routes;
    uint64_t exit_node_id; /**< 0 = none. */
};

/**
 * The slot that packets to @p dst go to: the longest prefix decides, among equals the lowest node id.
 * @param slot  ML_PEER_NONE unless ML_DROP_NONE is returned.
 * @return ML_DROP_NONE, ML_DROP_ROUTE_NO_PEER, ML_DROP_ROUTE_PEER_EXPIRED, or ML_DROP_ROUTE_SERVICE_IP for an address that
 * is served locally and must never enter the tunnel.
 */
ml_drop ml_route_lookup(const struct ml_peer_table *t, const struct ml_route_prefs *prefs, const ml_ip *dst, uint16_t *slot);
/**
 * Whether a packet from the peer in @p slot may carry the inner source @p src: the peer that @p src would be routed to is
 * this one, as in WireGuard's allowed-IP check.
 */
bool ml_route_is_source_ok(const struct ml_peer_table *t, const struct ml_route_prefs *prefs, uint16_t slot, const ml_ip *src);
/** Whether this peer takes part at all (not expired, and reachable in principle). */
bool ml_route_is_usable(const struct ml_peer *p);
/** Our address of the family of @p family as the peer in @p slot must see it; false when it sees the real one. */
bool ml_route_masquerade(const struct ml_peer_table *t, uint16_t slot, const ml_ip *family, ml_ip *out);

#endif
