/*
 * Path selection: slots, where a WireGuard packet goes, heartbeats and discovery. dataplane.md 4.3, 4.4, 4.6, 4.10.
 *
 * The rules and their timers are listed in path.h; receiving is in path_disco.c, sending in path_ping.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/key.h"
#include "path/path_internal.h"

/* A WireGuard-only peer has no pings: an address it was heard from is believed for this long (dataplane.md 15). */
#define WIREGUARD_ONLY_TRUST ML_SEC(5)

void ml_path_init(struct ml_path *p, const struct ml_path_cfg *cfg, struct ml_path_peer *peers, uint16_t count)
{
    ml_zero(p);
    p->cfg = *cfg;
    p->peers = peers;
    p->peer_count = count;
    ml_endpoints_init(&p->ep);
    for (size_t i = 0; i < count; i++) {
        ml_zero(&peers[i]);
        peers[i].heartbeat_at = peers[i].check_until = ML_TICK_NEVER;
    }
}

ml_tick ml_path_tick(struct ml_path *p, ml_time at)
{
    if (at != ML_NEVER && at != 0 && ml_epoch_is_due(&p->epoch, at)) {
        ml_time by = ml_epoch_move(&p->epoch, at);
        for (size_t i = 0; i < p->peer_count; i++) {
            struct ml_path_peer *peer = &p->peers[i];
            ml_tick *const all[] = {&peer->trust_until,  &peer->heard_at,      &peer->check_until,
                                    &peer->last_send_at, &peer->last_rx_at,    &peer->last_full_ping_at,
                                    &peer->heartbeat_at, &peer->cmm_wanted_at, &peer->cmm_round_at};
            for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
                *all[k] = ml_tick_moved(*all[k], by);
            }
        }
    }
    return ml_tick_of(&p->epoch, at);
}

ml_time ml_path_since(const struct ml_path *p, ml_time now, ml_tick t)
{
    return now - ml_path_time(p, t);
}

bool ml_path_is_trusted(const struct ml_path *p, const struct ml_path_peer *peer, ml_time now)
{
    return ml_path_has_best(peer) && now <= ml_path_time(p, peer->trust_until);
}

void ml_path_clear(struct ml_path *p)
{
    ml_wipe(p->peers, p->peer_count * sizeof *p->peers);
    ml_wipe(p, sizeof *p);
}

void ml_path_set_keys(struct ml_path *p, const ml_node_key *node, const ml_private_key *disco)
{
    p->node_pub = *node;
    if (p->has_keys && ml_ct_equal(p->disco_priv.b, disco->b, sizeof disco->b)) {
        return;
    }
    ml_path_keys_clear(p);
    p->disco_priv = *disco;
    ml_x25519_base(p->disco_pub.b, disco);
    p->has_keys = true;
}

const ml_disco_key *ml_path_disco_key(const struct ml_path *p)
{
    return &p->disco_pub;
}

/* ---- Own endpoints ---- */

void ml_path_set_local_addrs(struct ml_path *p, const ml_addr *addrs, size_t count)
{
    p->has_local = count > 0;
    p->has_local4 = p->has_local6 = false;
    for (size_t i = 0; i < count; i++) {
        p->has_local4 |= ml_ip_is4(&addrs[i].ip);
        p->has_local6 |= ml_ip_is6(&addrs[i].ip) && !ml_ip_is_link_local(&addrs[i].ip);
    }
    ml_endpoints_set_local(&p->ep, addrs, count);
}

void ml_path_set_facts(struct ml_path *p, ml_time now, const struct ml_endpoint_facts *facts)
{
    ml_endpoints_set_facts(&p->ep, now, facts);
}

bool ml_path_is_waiting_for_facts(const struct ml_path *p, ml_time now)
{
    bool is_waiting = false;
    for (size_t i = 0; i < p->peer_count; i++) {
        is_waiting = is_waiting || p->peers[i].is_cmm_wanted;
    }
    return is_waiting && !p->cfg.no_stun && !ml_endpoints_is_fresh(&p->ep, now);
}

bool ml_path_take_stun_wanted(struct ml_path *p)
{
    bool is_wanted = p->is_stun_wanted;
    p->is_stun_wanted = false;
    return is_wanted;
}

bool ml_path_take_router_doubted(struct ml_path *p)
{
    bool is_doubted = p->is_router_doubted;
    p->is_router_doubted = false;
    return is_doubted;
}

bool ml_path_family_usable(const struct ml_path *p, bool is4)
{
    /* Pinging an IPv6 address from a host without IPv6 only fills the table of outstanding pings. */
    return !p->has_local || (is4 ? p->has_local4 : p->has_local6);
}

/* ---- Slots ---- */

void ml_path_peer_update(struct ml_path *p, ml_time now, uint16_t slot, const struct ml_path_info *info)
{
    struct ml_path_peer *peer = &p->peers[slot];
    if (!ml_path_is_open(peer)) {
        return;
    }
    peer->node = info->node;
    peer->disco = info->disco;
    peer->home_region = info->home_region;
    peer->is_wireguard_only = info->is_wireguard_only;
    ml_path_shared_check(peer); /* only the key: the way to the peer is as good as before */
    ml_path_cand_prune(peer, now);
    ml_path_cand_merge(peer, ML_CAND_NETMAP, info->endpoints, info->endpoint_count);
}

void ml_path_peer_open(struct ml_path *p, ml_time now, uint16_t slot, const struct ml_path_info *info)
{
    struct ml_path_peer *peer = &p->peers[slot];
    ml_path_peer_close(p, slot);
    peer->node = info->node;
    ml_path_peer_update(p, now, slot, info);
}

void ml_path_peer_close(struct ml_path *p, uint16_t slot)
{
    ml_path_ping_forget_slot(p, slot);
    ml_wipe(&p->peers[slot], sizeof p->peers[slot]);
    p->peers[slot].heartbeat_at = p->peers[slot].check_until = ML_TICK_NEVER;
}

/* ---- Discovery and heartbeat ---- */

bool ml_path_ping_candidate(struct ml_path *p, ml_time now, uint16_t slot, struct ml_path_candidate *c)
{
    struct ml_path_peer *peer = &p->peers[slot];
    ml_addr to = ml_path_cand_addr(peer, c);
    bool is_queued = ml_path_ping_queue(p, now, slot, &to, 0, ML_PURPOSE_DISCOVERY, 0);
    if (is_queued) {
        c->pinged = ml_path_cand_tick(peer, now);
    }
    return is_queued;
}

/* A call-me-maybe goes with a round of pings. The peer's own call-me-maybes cause rounds too, which must not put ours off for
 * ever: two peers that call each other every 5 s would then go on telling what one of them knows. */
static bool is_cmm_due(const struct ml_path *p, const struct ml_path_peer *peer, ml_time now, bool has_pinged_now,
                       bool has_pinged_lately)
{
    if (peer->home_region == 0 || p->cfg.no_derp || peer->is_cmm_wanted) {
        return false;
    }
    return has_pinged_now || (has_pinged_lately && ml_path_since(p, now, peer->cmm_wanted_at) >= ML_PATH_PING_INTERVAL);
}

/* A call-me-maybe follows the pings that are queued or were sent, with fresh endpoints. */
static void call(struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    peer->is_cmm_wanted = true;
    peer->is_cmm_repeat = false;
    peer->is_called = false;
    peer->cmm_wanted_at = ml_path_tick(p, now);
    if (!p->cfg.no_stun && !ml_endpoints_is_fresh(&p->ep, now)) {
        p->is_stun_wanted = true;
    }
}

void ml_path_discover(struct ml_path *p, ml_time now, uint16_t slot, bool with_cmm)
{
    struct ml_path_peer *peer = &p->peers[slot];
    uint16_t tick = ml_path_cand_tick(peer, now);
    bool has_pinged_now = false, has_pinged_lately = false;
    peer->last_full_ping_at = ml_path_tick(p, ml_path_stamp(now));
    ml_path_cand_prune(peer, now);
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        struct ml_path_candidate *c = &peer->cand[i];
        if (!c->from || !ml_path_family_usable(p, c->ip6 == 0)) {
            continue;
        }
        if (!ml_path_tick_passed(c->pinged, tick, ML_PATH_PING_INTERVAL)) {
            has_pinged_lately = true;
        } else {
            has_pinged_now |= ml_path_ping_candidate(p, now, slot, c);
        }
    }
    if (!with_cmm || !is_cmm_due(p, peer, now, has_pinged_now, has_pinged_lately)) {
        return;
    }
    call(p, peer, now);
}

static bool wants_full_ping(const struct ml_path *p, const struct ml_path_peer *peer, ml_time now)
{
    if (!ml_path_is_trusted(p, peer, now) || peer->last_full_ping_at == 0) {
        return true;
    }
    return peer->latency_us > ML_PATH_GOOD_ENOUGH && ml_path_since(p, now, peer->last_full_ping_at) >= ML_PATH_UPGRADE;
}

bool ml_path_ping_best(struct ml_path *p, ml_time now, uint16_t slot)
{
    struct ml_path_peer *peer = &p->peers[slot];
    ml_addr to = ml_path_best_addr(peer);
    if (!ml_path_has_best(peer) || !ml_path_ping_queue(p, now, slot, &to, 0, ML_PURPOSE_HEARTBEAT, 0)) {
        return false;
    }
    peer->cand[peer->best - 1].pinged = ml_path_cand_tick(peer, now);
    return true;
}

static void heartbeat(struct ml_path *p, ml_time now, uint16_t slot)
{
    struct ml_path_peer *peer = &p->peers[slot];
    if (ml_path_since(p, now, peer->last_send_at) > ML_PATH_SESSION_ACTIVE) {
        peer->heartbeat_at = ML_TICK_NEVER;
        return;
    }
    peer->heartbeat_at = ml_path_tick(p, now + ML_PATH_HEARTBEAT);
    ml_path_ping_best(p, now, slot);
    if (wants_full_ping(p, peer, now)) {
        ml_path_discover(p, now, slot, true);
    }
}

static void note_send(struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    peer->last_send_at = ml_path_tick(p, ml_path_stamp(now));
    if (peer->heartbeat_at == ML_TICK_NEVER) {
        peer->heartbeat_at = ml_path_tick(p, now + ML_PATH_HEARTBEAT);
        peer->cmm_repeats = 0;
    }
}

/* ---- WireGuard packets ---- */

static bool route_wireguard_only(struct ml_path *p, ml_time now, struct ml_path_peer *peer, struct ml_path_route *out)
{
    peer->last_send_at = ml_path_tick(p, ml_path_stamp(now));
    if (ml_path_is_trusted(p, peer, now)) {
        out->udp = ml_path_best_addr(peer);
        return true;
    }
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        const struct ml_path_candidate *c = &peer->cand[i];
        if (c->from && ml_path_family_usable(p, c->ip6 == 0)) {
            out->udp = ml_path_cand_addr(peer, c);
            return true;
        }
    }
    return false;
}

/* We send on a trusted path and hear nothing: ask whether it still works, not only at the next heartbeat. */
static void check_best(struct ml_path *p, ml_time now, uint16_t slot)
{
    struct ml_path_peer *peer = &p->peers[slot];
    if (peer->check == ML_CHECK_NONE && ml_path_since(p, now, peer->heard_at) >= ML_PATH_CHECK_AFTER &&
        ml_path_ping_best(p, now, slot)) {
        ml_path_check_begin(p, peer, now);
    }
}

/* We send on a path that works for us, to a peer that called for one and whose pings were not heard: it has none. */
static void call_back(struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    if (!peer->is_called) {
        return;
    }
    peer->is_called = false;
    if (ml_path_since(p, now, peer->cmm_round_at) < ML_PATH_PING_INTERVAL && is_cmm_due(p, peer, now, true, true)) {
        call(p, peer, now);
    }
}

bool ml_path_route(struct ml_path *p, ml_time now, uint16_t slot, struct ml_path_route *out)
{
    struct ml_path_peer *peer = &p->peers[slot];
    ml_zero(out);
    if (!ml_path_is_open(peer)) {
        return false;
    }
    if (peer->is_wireguard_only) {
        return route_wireguard_only(p, now, peer, out);
    }
    out->udp = ml_path_best_addr(peer);
    if (!ml_path_is_trusted(p, peer, now)) {
        out->derp_region = p->cfg.no_derp ? 0 : peer->home_region;
        ml_path_discover(p, now, slot, true);
    } else {
        call_back(p, peer, now);
        check_best(p, now, slot);
    }
    note_send(p, peer, now);
    return ml_addr_is_set(&out->udp) || out->derp_region != 0;
}

void ml_path_note_rx(struct ml_path *p, ml_time now, uint16_t slot, const ml_addr *from)
{
    struct ml_path_peer *peer = &p->peers[slot];
    if (!ml_path_is_open(peer)) {
        return;
    }
    peer->last_rx_at = ml_path_tick(p, ml_path_stamp(now));
    /* What comes from elsewhere does not show that the path we send on works. */
    if (from && ml_path_is_best(peer, from)) {
        ml_path_note_heard(p, peer, now);
    }
    if (peer->is_wireguard_only && from) {
        struct ml_path_candidate *c = ml_path_cand_heard(peer, now, from);
        if (c) {
            ml_path_best_set(peer, c);
        }
        peer->trust_until = ml_path_tick(p, now + WIREGUARD_ONLY_TRUST);
    }
}

static void forget_history(struct ml_path_candidate *c)
{
    c->pinged = 0;
    c->has_pong = false;
}

void ml_path_note_unreachable(struct ml_path *p, const ml_addr *addr)
{
    for (size_t i = 0; i < p->peer_count; i++) {
        struct ml_path_peer *peer = &p->peers[i];
        if (ml_path_is_best(peer, addr)) {
            forget_history(&peer->cand[peer->best - 1]);
            ml_path_best_clear(peer);
        }
    }
}

/* ---- Time and status ---- */

void ml_path_rebind(struct ml_path *p)
{
    for (size_t i = 0; i < p->peer_count; i++) {
        struct ml_path_peer *peer = &p->peers[i];
        ml_path_best_clear(peer);
        ml_path_check_end(peer);
        peer->notice = ML_NOTICE_NONE;
        peer->seen4 = 0;
        peer->cmm_repeats = 0;
        if (peer->heartbeat_at != ML_TICK_NEVER) {
            peer->heartbeat_at = 0; /* discovery at once, and a call-me-maybe: the peer still sends to where we were */
        }
        for (size_t k = 0; k < ML_PATH_CANDIDATES; k++) {
            forget_history(&peer->cand[k]);
        }
    }
    ml_endpoints_forget_global(&p->ep);
    p->is_stun_wanted = !p->cfg.no_stun;
}

/* Never inlined: the struct is far inside of the engine's, where each access takes three instructions. */
__attribute__((noinline)) void ml_path_on_time(struct ml_path *p, ml_time now)
{
    ml_path_ping_on_time(p, now);
    for (uint16_t i = 0; i < p->peer_count; i++) {
        if (ml_path_is_open(&p->peers[i])) {
            ml_path_check_on_time(p, now, i);
        }
        if (ml_path_is_open(&p->peers[i]) && now >= ml_path_time(p, p->peers[i].heartbeat_at)) {
            heartbeat(p, now, i);
        }
    }
}

ml_time ml_path_deadline(const struct ml_path *p)
{
    ml_time first = ml_path_ping_deadline(p);
    for (size_t i = 0; i < p->peer_count; i++) {
        ml_time heartbeat_at = ml_path_time(p, p->peers[i].heartbeat_at),
                check_until = ml_path_time(p, p->peers[i].check_until);
        first = heartbeat_at < first ? heartbeat_at : first;
        first = check_until < first ? check_until : first;
    }
    return first;
}

void ml_path_get_status(const struct ml_path *p, ml_time now, uint16_t slot, struct ml_path_status *out)
{
    const struct ml_path_peer *peer = &p->peers[slot];
    ml_zero(out);
    if (!ml_path_is_open(peer)) {
        return;
    }
    if (ml_path_is_trusted(p, peer, now)) {
        out->direct = ml_path_best_addr(peer);
    }
    out->latency = peer->latency_us;
    out->last_rx_at = ml_path_time(p, peer->last_rx_at);
    out->is_active = peer->last_send_at != 0 && ml_path_since(p, now, peer->last_send_at) < ML_PATH_SESSION_ACTIVE;
}

ml_time ml_path_idle_for(const struct ml_path *p, ml_time now, uint16_t slot)
{
    const struct ml_path_peer *peer = &p->peers[slot];
    return ml_path_is_open(peer) && peer->last_send_at != 0 ? ml_path_since(p, now, peer->last_send_at) : ML_NEVER;
}
