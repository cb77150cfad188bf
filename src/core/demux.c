/*
 * What is this packet, and what becomes of it: the underlay's way in, and the overlay's both ways.
 *
 *   underlay in   datagram or relayed packet -> STUN | DISCO | WireGuard -> inner packet -> route, TSMP, filter -> host
 *   overlay in    IP packet of the host -> route, filter -> seal -> path -> datagram and, or, relay
 *
 * Nothing is answered before it is authenticated; every way out of these functions counts its reason.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include "disco/disco_demux.h"
#include "ip/ip_build.h"
#include "ip/tsmp.h"
#include "wg/wg_msg.h"

#include <string.h>

/* ---- Out: one sealed packet to a live peer ---- */

/* By UDP it is committed, by relay copied, by both both. */
static void transmit_by_route(struct ml_engine *ml, ml_time now, uint16_t slot, const struct ml_peer *p, const uint8_t *pkt,
                              size_t len)
{
    struct ml_path_route r = {0};
    bool has_route = ml_path_route(&ml->path, now, slot, &r);
    ml->slots[slot].used_at = core_tick(ml, now);
    ml_netcheck_note_activity(&ml->netcheck, now);
    if (r.derp_region || (!has_route && !ml->no_derp)) {
        /* Without a home of its own the peer may still be where we heard it last. */
        ml_drop drop = ml_derp_pool_send(&ml->derp, now, &p->key, r.derp_region, pkt, len);
        if (drop == ML_DROP_NONE) {
            ml->stats.derp_tx_packets++;
        } else if (!ml_addr_is_set(&r.udp)) {
            core_count(ml, drop);
        }
    }
    if (ml_addr_is_set(&r.udp)) {
        ml->stats.direct_tx_packets++;
        ml_outq_commit(&ml->outq, ML_OUT_DATAGRAM, &r.udp, (uint32_t)len);
    } else if (!has_route && ml->no_derp) {
        core_count(ml, ML_DROP_ROUTE_NO_PATH);
    }
}

/* Sends what lies in the reserved room of the output queue. */
static void transmit_reserved(struct ml_engine *ml, ml_time now, uint16_t slot, const uint8_t *pkt, size_t len)
{
    const struct ml_peer *p = core_slot_peer(ml, slot);
    if (!p) {
        return;
    }
    enum ml_wg_msg_type type = ml_wg_msg_classify(pkt, len);
    if (type == ML_WG_MSG_INITIATION || type == ML_WG_MSG_RESPONSE) {
        core_handshake_send(ml, now, slot, p, pkt, len);
    } else {
        transmit_by_route(ml, now, slot, p, pkt, len);
    }
}

/* An inner packet of our own making, or the host's, whose route is decided. */
static ml_err send_inner(struct ml_engine *ml, ml_time now, uint16_t slot, const uint8_t *packet, size_t len, const ml_ip *masq)
{
    size_t out_len = 0;
    uint8_t *room = ml_outq_reserve(&ml->outq, CORE_PACKET_MAX);
    if (!room) {
        core_count(ml, ML_DROP_OUT_FULL);
        return ML_ERR_FULL;
    }
    uint8_t *inner = room + ML_WG_DATA_HEADER;
    memcpy(inner, packet, len);
    if (masq && !ml_ip_rewrite(inner, len, false, masq)) {
        core_count(ml, ML_DROP_FILTER_MALFORMED);
        return ML_OK;
    }
    switch (ml_wg_seal(&ml->wg, now, slot, inner, len, room, CORE_PACKET_MAX, &out_len)) {
    case ML_WG_SEALED:
        transmit_reserved(ml, now, slot, room, out_len);
        break;
    case ML_WG_STAGED:
        break;
    case ML_WG_REFUSED:
        core_count(ml, ML_DROP_TOO_LARGE);
        return ML_OK;
    case ML_WG_DROPPED:
        core_count(ml, ML_DROP_WG_STAGED_FULL);
        return ML_OK;
    }
    ml->slots[slot].used_at = core_tick(ml, now);
    ml->slots[slot].tx_bytes += len;
    return ML_OK;
}

void core_send_inner(struct ml_engine *ml, ml_time now, uint16_t slot, const uint8_t *packet, size_t len)
{
    const ml_ip *masq = NULL;
    ml_ip masq_ip;
    struct ml_ip_view v;
    ml_ip_view_parse(&v, packet, len);
    if (v.version == 0 || len > ML_OVERLAY_MTU || ml->slots[slot].peer == ML_PEER_NONE) {
        return;
    }
    if (ml_route_masquerade(&ml->map.t, ml->slots[slot].peer, &v.src, &masq_ip)) {
        masq = &masq_ip;
    }
    send_inner(ml, now, slot, packet, len, masq);
}

/* ---- In: an inner packet, authenticated as the peer's ---- */

static bool is_own(const struct ml_engine *ml, const ml_ip *ip)
{
    return ml_ip_is_set(ip) && (ml_ip_equal(ip, &ml->self.ip4) || ml_ip_equal(ip, &ml->self.ip6));
}

/* TSMP and the answers to our own pings are consumed here. */
static bool consume(struct ml_engine *ml, ml_time now, uint16_t slot, const struct ml_peer *p, const struct ml_ip_view *v)
{
    uint8_t answer[ML_TSMP_MAX];
    size_t answer_len = 0;
    struct ml_tsmp msg;
    struct ml_map_change change;
    uint16_t peerapi_port = v->version == 4 ? ml->filter.peerapi_port4 : ml->filter.peerapi_port6;
    switch (ml_tsmp_handle(v, peerapi_port, &msg, answer, sizeof answer, &answer_len)) {
    case ML_TSMP_NOT:
        break;
    case ML_TSMP_IGNORE:
        return true;
    case ML_TSMP_ANSWER:
        core_send_inner(ml, now, slot, answer, answer_len);
        return true;
    case ML_TSMP_SET_DISCO:
        ml_map_set_disco(&ml->map, ml->slots[slot].peer, &msg.disco, &change); /* its path looks there */
        return true;
    case ML_TSMP_GOT_PONG:
        (void)core_ping_answered(ml, now, ML_PING_TSMP, p->id, msg.data, msg.peerapi_port);
        return true;
    case ML_TSMP_GOT_REJECT:
        ml->reject = (ml_event){.type = ML_EV_REJECTED, .node_id = p->id};
        ml->reject.reject.src = msg.flow_src;
        ml->reject.reject.dst = msg.flow_dst;
        ml->reject.reject.proto = msg.proto;
        ml->reject.reject.reason = (char)msg.reason;
        core_mark(ml, CORE_MARK_REJECTED);
        return true;
    }
    bool is_reply = false;
    uint16_t ident = 0, seq = 0;
    const uint8_t *data = NULL;
    size_t data_len = 0;
    if (ml_ip_view_is_echo_reply(v) && ml_icmp_parse_echo(v, &is_reply, &ident, &seq, &data, &data_len) && data_len == 8) {
        return core_ping_answered(ml, now, ML_PING_ICMP, p->id, data, 0);
    }
    return false;
}

static void reject(struct ml_engine *ml, ml_time now, uint16_t slot, const struct ml_ip_view *v, ml_drop verdict)
{
    uint8_t reason = 0;
    uint8_t msg[ML_TSMP_MAX];
    switch (ml_filter_reject(&ml->filter, now, v, verdict, &reason)) {
    case ML_FILTER_SILENT:
        break;
    case ML_FILTER_LIMITED:
        core_count(ml, ML_DROP_TSMP_LIMITED);
        break;
    case ML_FILTER_TELL: {
        size_t n = ml_tsmp_build_rejected(msg, sizeof msg, v, reason, false);
        if (n) {
            core_send_inner(ml, now, slot, msg, n);
        }
        break;
    }
    }
}

static void inner_in(struct ml_engine *ml, ml_time now, uint16_t slot, uint8_t *data, size_t len)
{
    struct core_slot *s = &ml->slots[slot];
    const struct ml_peer *p = core_slot_peer(ml, slot);
    struct ml_ip_view v;
    ml_ip masq;
    if (!p) {
        core_count(ml, ML_DROP_WG_UNKNOWN_PEER);
        return;
    }
    s->rx_bytes += len;
    ml_ip_view_parse(&v, data, len);
    if (v.version == 0) {
        core_count(ml, ML_DROP_FILTER_MALFORMED);
        return;
    }
    if (!ml_route_is_source_ok(&ml->map.t, &ml->route_prefs, s->peer, &v.src)) {
        core_count(ml, ML_DROP_ROUTE_BAD_SOURCE);
        return;
    }
    if (ml_route_masquerade(&ml->map.t, s->peer, &v.dst, &masq) && ml_ip_equal(&masq, &v.dst)) {
        const ml_ip *own = v.version == 4 ? &ml->self.ip4 : &ml->self.ip6;
        if (!ml_ip_is_set(own) || !ml_ip_rewrite(data, len, true, own)) {
            core_count(ml, ML_DROP_FILTER_MALFORMED);
            return;
        }
        ml_ip_view_parse(&v, data, len);
    }
    if (consume(ml, now, slot, p, &v)) {
        return;
    }
    bool is_jailed = (p->flags & ML_PEER_IS_JAILED) != 0;
    ml_drop verdict = ml_filter_in(&ml->filter, &v, is_jailed);
    if (verdict != ML_DROP_NONE) {
        core_count(ml, verdict);
        reject(ml, now, slot, &v, verdict);
        return;
    }
    uint8_t *room = ml_outq_reserve(&ml->outq, (uint32_t)len);
    if (!room) {
        core_count(ml, ML_DROP_OUT_FULL);
        return;
    }
    memcpy(room, data, len);
    ml_outq_commit(&ml->outq, ML_OUT_OVERLAY, NULL, (uint32_t)len);
    ml->stats.overlay_rx_packets++;
    ml->stats.overlay_rx_bytes += len;
}

/* ---- In: WireGuard ---- */

static void note_rx(struct ml_engine *ml, ml_time now, uint16_t slot, const struct core_carrier *c)
{
    struct core_slot *s = &ml->slots[slot];
    s->used_at = core_tick(ml, now);
    ml_path_note_rx(&ml->path, now, slot, c->region ? NULL : &c->from);
    ml_netcheck_note_activity(&ml->netcheck, now);
}

/* A packet of the device's own making that answers the carrier it came by, not a peer: a cookie reply. */
static void reply_to(struct ml_engine *ml, ml_time now, const struct core_carrier *c, const uint8_t *pkt, size_t len)
{
    if (c->region) {
        core_count(ml, ml_derp_pool_send_on(&ml->derp, now, c->region, &c->source, pkt, len));
        return;
    }
    uint8_t *room = ml_outq_reserve(&ml->outq, (uint32_t)len);
    if (room) {
        memcpy(room, pkt, len);
        ml_outq_commit(&ml->outq, ML_OUT_DATAGRAM, &c->from, (uint32_t)len);
    } else {
        core_count(ml, ML_DROP_OUT_FULL);
    }
}

/* The room for new keypairs is taken by peers that were answered a moment ago. Their first packets, which free it, are on their
 * way; nobody repeats an initiation that is dropped for 5 s. */
#define ROOM_WAIT ML_MSEC(500)

static bool may_wait_for_room(struct ml_engine *ml, ml_time now)
{
    if (ml->room_until == 0) {
        ml->room_until = now + ROOM_WAIT;
    }
    return now < ml->room_until;
}

/* An initiation that opened: whose is it, and do we answer? False: there is more to do, in another call. */
static bool initiation_in(struct ml_engine *ml, ml_time now, const struct core_carrier *c, struct ml_wg_in *in)
{
    uint16_t peer = ml_map_find_key(&ml->map, &in->key);
    const struct ml_peer *p = ml_map_peer(&ml->map, peer);
    if (!p || !ml_route_is_usable(p)) {
        ml_drop proof = !p && ml_map_may_omit_key(&ml->map, &in->key) ? ml_wg_verify(&ml->wg) : ML_DROP_WG_UNKNOWN_PEER;
        if (proof == ML_WG_LATER) {
            return false;
        }
        if (proof == ML_DROP_NONE) {
            core_want_key(ml, now, &in->key);
        }
        core_count(ml, p ? ML_DROP_ROUTE_PEER_EXPIRED : ML_DROP_WG_UNKNOWN_PEER);
        return true;
    }
    uint16_t slot = core_slot_of(ml, peer);
    if (slot == ML_PATH_NO_SLOT) {
        /* Anybody can name a key: prove it before a slot is opened, or taken from somebody else. */
        ml_drop drop = ml_wg_verify(&ml->wg);
        if (drop != ML_DROP_NONE) {
            core_count(ml, drop);
            return drop != ML_WG_LATER;
        }
        slot = core_slot_get(ml, now, peer, true);
        if (slot == ML_PATH_NO_SLOT) {
            return true;
        }
    }
    ml_drop drop = ml_wg_accept(&ml->wg, now, slot, in);
    if (drop == ML_DROP_NO_MEMORY && may_wait_for_room(ml, now)) {
        return false;
    }
    if (drop != ML_DROP_NONE) {
        core_count(ml, drop);
        return drop != ML_WG_LATER;
    }
    note_rx(ml, now, slot, c);
    uint8_t *room = ml_outq_reserve(&ml->outq, CORE_PACKET_MAX);
    if (room) {
        memcpy(room, in->data, in->len);
        transmit_reserved(ml, now, slot, room, in->len);
    } else {
        core_count(ml, ML_DROP_OUT_FULL);
    }
    return true;
}

/* One step of the oldest handshake message that waits. False: it is not done with. */
static bool handshake_in(struct ml_engine *ml, ml_time now, const struct core_handshake *h)
{
    struct ml_wg_in in;
    ml_wg_on_handshake(&ml->wg, now, h->msg, h->len, &in);
    switch (in.type) {
    case ML_WG_IN_LATER:
        return false;
    case ML_WG_IN_INITIATION:
        return initiation_in(ml, now, &h->from, &in);
    case ML_WG_IN_HANDSHAKE:
        note_rx(ml, now, in.slot, &h->from);
        return true;
    default:
        core_count(ml, in.drop);
        return true;
    }
}

void core_handshakes(struct ml_engine *ml, ml_time now)
{
    while (ml->handshake_count > 0 && ml_outq_has_room(&ml->outq, CORE_PACKET_MAX)) {
        struct core_handshake *h = &ml->handshakes[ml->handshake_head];
        if (core_is_live(ml) && !handshake_in(ml, now, h)) {
            return;
        }
        ml_wg_refuse(&ml->wg);
        ml->room_until = 0;
        ml->handshake_head = (uint8_t)((ml->handshake_head + 1) % ml->handshake_cap);
        ml->handshake_count--;
    }
}

/* The cheap checks were passed: it is worked on, in its turn, by the polls that follow. */
static void keep_handshake(struct ml_engine *ml, const struct core_carrier *c, const uint8_t *buf, size_t len)
{
    if (ml->handshake_count == ml->handshake_cap) {
        core_count(ml, ML_DROP_WG_RATE_LIMITED); /* its sender repeats it */
        return;
    }
    struct core_handshake *h = &ml->handshakes[(ml->handshake_head + ml->handshake_count++) % ml->handshake_cap];
    h->from = *c;
    h->len = (uint8_t)len;
    memcpy(h->msg, buf, len);
}

static void wireguard_in(struct ml_engine *ml, ml_time now, const struct core_carrier *c, uint8_t *buf, size_t len)
{
    struct ml_wg_source source = {0};
    struct ml_wg_in in = {0};
    if (c->region) {
        source.relay = c->source;
    } else {
        source.addr = c->from;
    }
    enum ml_wg_msg_type type = ml_wg_msg_classify(buf, len);
    if (type == ML_WG_MSG_INITIATION || type == ML_WG_MSG_RESPONSE) {
        if (ml_wg_check(&ml->wg, now, &source, buf, len, &in)) {
            keep_handshake(ml, c, buf, len);
            return;
        }
    } else {
        ml_wg_on_packet(&ml->wg, now, &source, buf, len, &in);
    }
    switch (in.type) {
    case ML_WG_IN_DROP:
        core_count(ml, in.drop);
        if (in.drop == ML_DROP_WG_UNKNOWN_INDEX) {
            core_renew(ml, now, c);
        }
        break;
    case ML_WG_IN_DATA:
        note_rx(ml, now, in.slot, c);
        inner_in(ml, now, in.slot, in.data, in.len);
        break;
    case ML_WG_IN_KEEPALIVE:
    case ML_WG_IN_COOKIE:
        note_rx(ml, now, in.slot, c);
        break;
    case ML_WG_IN_REPLY:
        reply_to(ml, now, c, in.data, in.len);
        break;
    case ML_WG_IN_HANDSHAKE:
    case ML_WG_IN_INITIATION:
    case ML_WG_IN_LATER: /* of core_handshakes() */
        break;
    }
}

/* ---- In: DISCO ---- */

static void disco_in(struct ml_engine *ml, ml_time now, const struct core_carrier *c, uint8_t *buf, size_t len)
{
    struct ml_path_in in = {.from = c->from, .derp_region = c->region, .derp_source = c->source};
    ml_disco_key sender;
    ml_drop drop = ML_DROP_NONE;
    if (!ml_path_disco_sender(buf, len, &sender)) {
        core_count(ml, ML_DROP_MALFORMED);
        return;
    }
    if (ml_map_find_disco(&ml->map, &sender, ML_PEER_NONE) == ML_PEER_NONE) {
        core_count(ml, ML_DROP_DISCO_UNKNOWN_KEY);
        return;
    }
    in.is_derp_source_known = c->region != 0; /* core_packet_in() let it through */
    if (!ml_path_disco_open(&ml->path, now, &in, buf, len, &drop)) {
        core_count(ml, drop);
        return;
    }
    /* A peer that speaks to us is about to send: path state from its first word on saves it a round. Never at the cost of
     * somebody's session. */
    uint16_t peer = ML_PEER_NONE;
    if (ml_path_disco_wants_slot(&in)) {
        peer = ml_map_find_key(&ml->map, &in.derp_source);
    } else if (in.msg.type == ML_DISCO_PING && ml_key_is_set(&in.msg.node_key)) {
        peer = ml_map_find_key(&ml->map, &in.msg.node_key);
    }
    const struct ml_peer *p = ml_map_peer(&ml->map, peer);
    if (p && ml_key_equal(&p->disco, &sender) && ml_route_is_usable(p)) {
        (void)core_slot_get(ml, now, peer, ml_path_disco_wants_slot(&in));
    }
    uint16_t slot = ml_path_disco_handle(&ml->path, now, &in, &drop);
    core_count(ml, drop);
    if (slot != ML_PATH_NO_SLOT && drop == ML_DROP_NONE && slot < ml->max_slots) {
        ml->slots[slot].used_at = core_tick(ml, now);
    }
}

void core_packet_in(struct ml_engine *ml, ml_time now, const struct core_carrier *c, uint8_t *buf, size_t len)
{
    enum ml_datagram_class class = c->region ? ml_derp_packet_classify(buf, len) : ml_datagram_classify(buf, len);
    if (class == ML_DATAGRAM_STUN) {
        ml_drop drop = ML_DROP_NONE;
        if (!ml->is_derp_map_open) {
            ml_netcheck_on_stun(&ml->netcheck, now, buf, len, &drop);
            core_count(ml, drop);
            /* A peer waits to be called: the rest of the measurement can take seconds when some region is silent. */
            struct ml_endpoint_facts early;
            if (ml_path_is_waiting_for_facts(&ml->path, now) && ml_netcheck_get_early_facts(&ml->netcheck, &early)) {
                ml_path_set_facts(&ml->path, now, &early);
            }
        }
        return;
    }
    if (!core_is_live(ml)) {
        core_count(ml, ML_DROP_NOT_READY);
        return;
    }
    if (c->region) {
        if (ml_map_find_key(&ml->map, &c->source) == ML_PEER_NONE) {
            core_want_key(ml, now, &c->source);
            core_count(ml, ML_DROP_DERP_UNKNOWN_PEER);
            return;
        }
        ml_derp_pool_learn(&ml->derp, &c->source, c->derp_slot);
    }
    switch (class) {
    case ML_DATAGRAM_DISCO:
        disco_in(ml, now, c, buf, len);
        break;
    case ML_DATAGRAM_WIREGUARD:
        wireguard_in(ml, now, c, buf, len);
        break;
    case ML_DATAGRAM_GENEVE_DISCO:
    case ML_DATAGRAM_GENEVE_WIREGUARD: /* peer relays are not built in */
    case ML_DATAGRAM_STUN:
        core_count(ml, ML_DROP_UNKNOWN_TYPE);
        break;
    }
}

ml_err ml_handle_datagram(ml_engine *ml, ml_time now, const ml_addr *from, uint8_t *buf, size_t len)
{
    if (!ml || !from || (len && !buf)) {
        return ML_ERR_ARG;
    }
    if (!ml->is_started) {
        core_count(ml, ML_DROP_NOT_READY);
        return ML_OK;
    }
    /* At most one packet for the host and one in answer. */
    if (!ml_outq_has_room(&ml->outq, 2 * CORE_PACKET_MAX)) {
        return ML_ERR_FULL;
    }
    const struct core_carrier c = {.from = *from};
    core_begin(ml);
    ml->stats.direct_rx_packets++;
    core_packet_in(ml, now, &c, buf, len);
    return ML_OK;
}

void ml_handle_send_failed(ml_engine *ml, ml_time now, const ml_addr *addr)
{
    (void)now; /* what follows from it waits for the next packet to that peer, or its heartbeat */
    if (ml && addr && ml->is_started) {
        ml_path_note_unreachable(&ml->path, addr);
    }
}

/* ---- In: the host ---- */

ml_err ml_handle_overlay(ml_engine *ml, ml_time now, const uint8_t *ip_packet, size_t len)
{
    struct ml_ip_view v;
    uint16_t peer = ML_PEER_NONE;
    ml_ip masq;
    if (!ml || !ip_packet || len == 0 || len > ML_OVERLAY_MTU) {
        return ML_ERR_ARG;
    }
    if (!core_is_live(ml)) {
        core_count(ml, ML_DROP_NOT_READY);
        return ML_ERR_STATE;
    }
    if (!ml_outq_has_room(&ml->outq, CORE_PACKET_MAX)) {
        return ML_ERR_FULL;
    }
    ml_ip_view_parse(&v, ip_packet, len);
    if (v.version == 0) {
        core_count(ml, ML_DROP_FILTER_MALFORMED);
        return ML_OK;
    }
    if (v.proto == ML_IPPROTO_TSMP) {
        core_count(ml, ML_DROP_TSMP_FROM_HOST);
        return ML_OK;
    }
    if (is_own(ml, &v.dst)) {
        core_count(ml, ML_DROP_ROUTE_NO_PEER);
        return ML_ERR_NO_PATH;
    }
    ml_drop drop = ml_route_lookup(&ml->map.t, &ml->route_prefs, &v.dst, &peer);
    if (drop != ML_DROP_NONE) {
        core_want_ip(ml, now, &v.dst);
        core_count(ml, drop);
        return drop == ML_DROP_ROUTE_SERVICE_IP ? ML_OK : ML_ERR_NO_PATH;
    }
    const struct ml_peer *p = ml_map_peer(&ml->map, peer);
    bool is_jailed = p && (p->flags & ML_PEER_IS_JAILED) != 0;
    drop = ml_filter_out(&ml->filter, &v, is_jailed);
    if (drop != ML_DROP_NONE) {
        core_count(ml, drop);
        return ML_OK;
    }
    uint16_t slot = core_slot_get(ml, now, peer, true);
    if (slot == ML_PATH_NO_SLOT) {
        return ML_ERR_FULL;
    }
    const ml_ip *own = v.version == 4 ? &ml->self.ip4 : &ml->self.ip6;
    bool has_masq = ml_ip_equal(&v.src, own) && ml_route_masquerade(&ml->map.t, peer, &v.src, &masq);
    ml->stats.overlay_tx_packets++;
    ml->stats.overlay_tx_bytes += len;
    ml->slots[slot].has_host_sent = true;
    return send_inner(ml, now, slot, ip_packet, len, has_masq ? &masq : NULL);
}

/* ---- Out: what the modules themselves want sent ---- */

/* Tells a peer our disco key, in case it holds a stale one (dataplane.md 1.4, 8.4). */
static void advertise(struct ml_engine *ml, ml_time now, uint16_t slot)
{
    uint8_t msg[ML_TSMP_MAX];
    const struct ml_peer *p = core_slot_peer(ml, slot);
    if (!p || ml->no_disco || (p->flags & ML_PEER_IS_WIREGUARD_ONLY)) {
        return;
    }
    ml_ip to = ml_map_peer_ip4(p);
    const ml_ip *own = &ml->self.ip4;
    if (!ml_ip_is_set(&to) || !ml_ip_is_set(own)) {
        to = ml_map_peer_ip6(p);
        own = &ml->self.ip6;
    }
    size_t n = ml_tsmp_build_advertisement(msg, sizeof msg, own, &to, ml_path_disco_key(&ml->path));
    if (n) {
        core_send_inner(ml, now, slot, msg, n);
    }
}

/* To the peer of slot `deaf` - 1. Only while the host talks to it: two idle nodes would keep each other awake. */
static void advertise_again(struct ml_engine *ml, ml_time now, uint16_t deaf)
{
    uint16_t slot = (uint16_t)(deaf - 1);
    if (deaf != 0 && ml->slots[slot].has_host_sent && ml_wg_peer_has_session(&ml->wg, now, slot)) {
        ml->slots[slot].has_host_sent = false;
        advertise(ml, now, slot);
    }
}

static void drain_wg(struct ml_engine *ml, ml_time now)
{
    uint16_t slot = 0;
    enum ml_wg_event ev;
    while (ml_outq_has_room(&ml->outq, CORE_PACKET_MAX) && (ev = ml_wg_poll_event(&ml->wg, &slot)) != ML_WG_EV_NONE) {
        if (!core_slot_peer(ml, slot)) {
            continue;
        }
        if (ev == ML_WG_EV_ESTABLISHED) {
            ml->stats.handshakes++;
            ml->slots[slot].handshake_at = core_tick(ml, now);
            advertise(ml, now, slot); /* first on every session */
        } else if (ev == ML_WG_EV_DEAD) {
            core_slot_close(ml, slot);
        }
    }
    for (;;) {
        size_t len = 0;
        uint8_t *room = ml_outq_reserve(&ml->outq, CORE_PACKET_MAX);
        if (!room || !ml_wg_poll_send(&ml->wg, now, room, CORE_PACKET_MAX, &slot, &len)) {
            break;
        }
        transmit_reserved(ml, now, slot, room, len);
    }
    core_handshake_go_on(ml, now);
}

static void drain_path(struct ml_engine *ml, ml_time now)
{
    for (;;) {
        struct ml_path_dst dst = {0};
        uint8_t *room = ml_outq_reserve(&ml->outq, ML_PATH_SEND_MAX);
        size_t len = room ? ml_path_poll_send(&ml->path, now, room, ML_PATH_SEND_MAX, &dst) : 0;
        if (len == 0) {
            break; /* nothing, or nothing without a curve operation that this call does not have */
        }
        if (dst.derp_region) {
            ml_drop drop = ml_derp_pool_send(&ml->derp, now, &dst.node, dst.derp_region, room, len);
            core_count(ml, drop);
            ml->stats.derp_tx_packets += drop == ML_DROP_NONE;
            advertise_again(ml, now, dst.deaf);
        } else {
            ml_outq_commit(&ml->outq, ML_OUT_DATAGRAM, &dst.udp, (uint32_t)len);
            ml->stats.direct_tx_packets++;
        }
    }
    if (ml_path_take_stun_wanted(&ml->path)) {
        ml_netcheck_start(&ml->netcheck, now, false);
    }
    if (ml_path_take_router_doubted(&ml->path)) {
        core_check_streams(ml, now);
    }
}

static void drain_netcheck(struct ml_engine *ml, ml_time now)
{
    while (!ml->is_derp_map_open) {
        ml_addr dst = {0};
        uint8_t *room = ml_outq_reserve(&ml->outq, ML_STUN_REQUEST_LEN);
        if (!room || !ml_netcheck_poll_send(&ml->netcheck, now, room, &dst)) {
            break;
        }
        ml_outq_commit(&ml->outq, ML_OUT_DATAGRAM, &dst, ML_STUN_REQUEST_LEN);
    }
}

void core_drain_senders(struct ml_engine *ml, ml_time now)
{
    if (core_is_live(ml)) {
        drain_wg(ml, now);
        drain_path(ml, now);
    }
    drain_netcheck(ml, now);
}
