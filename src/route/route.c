/*
 * Longest prefix match over the peer table: own addresses by hash first, since a host prefix is always the longest, then the
 * few other prefixes in order of length. See route.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "route/route.h"

#include "ip/ip_view.h"

bool ml_route_is_usable(const struct ml_peer *p)
{
    static const ml_disco_key none;

    if (p->id == 0 || (p->flags & ML_PEER_IS_EXPIRED)) {
        return false;
    }
    return memcmp(p->disco.b, none.b, sizeof none.b) != 0 || p->home_region != 0 || (p->flags & ML_PEER_IS_WIREGUARD_ONLY);
}

static bool owns(const struct ml_peer *p, const ml_ip *ip)
{
    if (ml_ip_is4(ip)) {
        return (p->flags & ML_PEER_ROUTES_IP4) && memcmp(p->ip4, ip->b + 12, 4) == 0;
    }
    return (p->flags & ML_PEER_ROUTES_IP6) && memcmp(p->ip6, ip->b, 16) == 0;
}

/* Walks the hash chain of an address. `is_expired` is set when only peers that may not be used own it. */
static uint16_t find_host(const struct ml_peer_table *t, const ml_ip *ip, bool *is_expired)
{
    uint16_t best = ML_PEER_NONE;

    if (!t->ip_index) {
        return ML_PEER_NONE;
    }
    uint32_t at = ml_peer_hash(ip->b, 16) & t->ip_mask;
    for (uint32_t i = 0; i <= t->ip_mask && t->ip_index[at] != ML_PEER_NONE; i++, at = (at + 1) & t->ip_mask) {
        uint16_t slot = t->ip_index[at] & (uint16_t)~ML_PEER_CELL_IP6;
        const struct ml_peer *p = &t->peers[slot];
        if (!owns(p, ip)) {
            continue;
        }
        if (!ml_route_is_usable(p)) {
            *is_expired = *is_expired || (p->flags & ML_PEER_IS_EXPIRED);
        } else if (best == ML_PEER_NONE || p->id < t->peers[best].id) {
            best = slot;
        }
    }
    return best;
}

static bool is_accepted(const struct ml_peer_table *t, const struct ml_route_prefs *prefs, const struct ml_peer_extra *e)
{
    const struct ml_peer *p = &t->peers[e->slot];

    if (!ml_route_is_usable(p)) {
        return false;
    }
    switch (e->kind) {
    case ML_EXTRA_ADDRESS:
        return true;
    case ML_EXTRA_SUBNET:
        return prefs->accept_routes;
    case ML_EXTRA_DEFAULT:
        return prefs->exit_node_id != 0 && p->id == prefs->exit_node_id;
    default:
        return false;
    }
}

static uint16_t find_extra(const struct ml_peer_table *t, const struct ml_route_prefs *prefs, const ml_ip *ip)
{
    for (uint16_t i = 0; i < t->extra_count; i++) {
        const struct ml_peer_extra *e = &t->extras[i];
        ml_prefix net = {.ip = e->ip, .bits = e->bits};
        if (is_accepted(t, prefs, e) && ml_prefix_contains(&net, ip)) {
            return e->slot;
        }
    }
    return ML_PEER_NONE;
}

ml_drop ml_route_lookup(const struct ml_peer_table *t, const struct ml_route_prefs *prefs, const ml_ip *dst, uint16_t *slot)
{
    bool is_expired = false;

    *slot = ML_PEER_NONE;
    if (ml_ip_is_service(dst)) {
        return ML_DROP_ROUTE_SERVICE_IP;
    }
    if (!ml_ip_is_set(dst)) {
        return ML_DROP_ROUTE_NO_PEER;
    }
    *slot = find_host(t, dst, &is_expired);
    if (*slot == ML_PEER_NONE) {
        *slot = find_extra(t, prefs, dst);
    }
    if (*slot != ML_PEER_NONE) {
        return ML_DROP_NONE;
    }
    return is_expired ? ML_DROP_ROUTE_PEER_EXPIRED : ML_DROP_ROUTE_NO_PEER;
}

bool ml_route_is_source_ok(const struct ml_peer_table *t, const struct ml_route_prefs *prefs, uint16_t slot, const ml_ip *src)
{
    uint16_t owner = ML_PEER_NONE;
    return slot != ML_PEER_NONE && ml_route_lookup(t, prefs, src, &owner) == ML_DROP_NONE && owner == slot;
}

bool ml_route_masquerade(const struct ml_peer_table *t, uint16_t slot, const ml_ip *family, ml_ip *out)
{
    if (slot >= t->slot_count || !(t->peers[slot].flags & ML_PEER_HAS_EXTRA)) {
        return false;
    }
    for (uint16_t i = 0; i < t->extra_count; i++) {
        const struct ml_peer_extra *e = &t->extras[i];
        if (e->slot == slot && e->kind == ML_EXTRA_MASQ && ml_ip_is4(&e->ip) == ml_ip_is4(family)) {
            *out = e->ip;
            return true;
        }
    }
    return false;
}
