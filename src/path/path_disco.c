/*
 * DISCO datagrams coming in: authenticate, parse, act. dataplane.md 3.3, 4.4, 4.5.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/key.h"
#include "model/peer.h"
#include "path/path_internal.h"

/* Rounds of pings that received call-me-maybes may cause, per peer (4.4). */
#define CMM_ROUND_INTERVAL ML_SEC(1)
/* Between two pings to one address that pings of the peer cause after we called it again. */
#define CALLED_PING_INTERVAL ML_MSEC(400)
/* We do not probe the MTU: every path counts with the size every path carries (tstun.SafeWireMTU). */
#define WIRE_MTU 1280

bool ml_path_disco_sender(const uint8_t *buf, size_t len, ml_disco_key *sender)
{
    return ml_disco_sender(buf, len, sender);
}

bool ml_path_disco_open(struct ml_path *p, ml_time now, struct ml_path_in *in, uint8_t *buf, size_t len, enum ml_drop *drop)
{
    if (!ml_disco_sender(buf, len, &in->sender)) {
        *drop = ML_DROP_MALFORMED;
        return false;
    }
    if (!p->has_keys) {
        *drop = ML_DROP_NOT_READY;
        return false;
    }
    const struct ml_disco_shared *shared = ml_path_shared(p, now, &in->sender);
    if (!shared) {
        *drop = ML_DROP_DISCO_LIMITED;
        return false;
    }
    uint8_t *msg;
    size_t msg_len;
    if (!ml_disco_open(buf, len, shared, &msg, &msg_len)) {
        *drop = ML_DROP_DISCO_BAD_BOX;
        return false;
    }
    switch (ml_disco_parse(&in->msg, msg, msg_len)) {
    case ML_DISCO_PARSE_OK:
        *drop = ML_DROP_NONE;
        return true;
    case ML_DISCO_PARSE_SHORT:
        *drop = ML_DROP_MALFORMED;
        return false;
    case ML_DISCO_PARSE_UNKNOWN:
    case ML_DISCO_PARSE_EMPTY:
        break;
    }
    *drop = ML_DROP_UNKNOWN_TYPE;
    return false;
}

bool ml_path_disco_wants_slot(const struct ml_path_in *in)
{
    return in->msg.type == ML_DISCO_CALL_ME_MAYBE && in->derp_region != 0;
}

static bool is_from(const struct ml_path_peer *peer, const ml_disco_key *sender)
{
    return ml_path_is_open(peer) && ml_key_equal(peer->disco, sender);
}

/* The same UDP ping again, of the same peer from the same address? Remembers it. A ping can reach us twice on some networks; it is answered once. */
static bool is_ping_repeated(struct ml_path *p, const struct ml_path_in *in)
{
    uint8_t what[ML_DISCO_TX_LEN + 8 + 16 + 4] = {0};
    memcpy(what, in->msg.tx, ML_DISCO_TX_LEN);
    memcpy(what + ML_DISCO_TX_LEN, in->sender.b, 8);
    memcpy(what + ML_DISCO_TX_LEN + 8, in->from.ip.b, 16);
    ml_put_be16(what + ML_DISCO_TX_LEN + 24, in->from.port);
    uint32_t mark = ml_peer_hash(what, sizeof what) | 1;
    for (size_t i = 0; i < ML_PATH_HEARD; i++) {
        if (p->heard[i] == mark) {
            return true;
        }
    }
    p->heard[p->heard_next] = mark;
    p->heard_next = (uint8_t)((p->heard_next + 1) % ML_PATH_HEARD);
    return false;
}

/* ---- Ping ---- */

static void handle_derp_ping(struct ml_path *p, const struct ml_path_in *in, enum ml_drop *drop)
{
    if (!in->is_derp_source_known) {
        *drop = ML_DROP_DERP_UNKNOWN_PEER;
        return;
    }
    ml_addr src = {.ip = ml_ip4(127, 3, 3, 40), .port = in->derp_region};
    if (!ml_path_pong_queue(p, in, &src)) {
        *drop = ML_DROP_DISCO_LIMITED;
    }
}

/* A ping from a peer that we send to while there is no direct path we trust: what it came through is open now, so ping back at
 * once. Our own ping of a moment ago may have been lost on the way that has only now been opened; that is why the first ping
 * heard from an address in 5 s lifts the limit of discovery (path.h). So do the pings that follow our repeated call-me-maybe:
 * then one of the two is known to have been lost. */
static void ping_back(struct ml_path *p, ml_time now, uint16_t slot, struct ml_path_candidate *c, uint16_t heard)
{
    struct ml_path_peer *peer = &p->peers[slot];
    uint16_t tick = ml_path_cand_tick(peer, now);
    bool is_active = peer->last_send_at != 0 && ml_path_since(p, now, peer->last_send_at) <= ML_PATH_SESSION_ACTIVE;
    bool is_news = ml_path_tick_passed(heard, tick, ML_PATH_PING_INTERVAL);
    bool is_due = ml_path_tick_passed(c->pinged, tick, ML_PATH_PING_INTERVAL);
    bool is_called = peer->is_cmm_repeat && ml_path_since(p, now, peer->cmm_wanted_at) < ML_PATH_PING_INTERVAL &&
                     ml_path_tick_passed(c->pinged, tick, CALLED_PING_INTERVAL);
    if (is_active && (is_news || is_due || is_called) && !ml_path_is_trusted(p, peer, now) &&
        ml_path_family_usable(p, c->ip6 == 0)) {
        ml_path_ping_candidate(p, now, slot, c);
    }
}

/* Every peer with the sender's key gets the address as a candidate, because a key can be shared (3.3). Returns the slot of the
 * node that the ping names, or of another with that key. */
static uint16_t note_udp_ping(struct ml_path *p, ml_time now, const struct ml_path_in *in, bool is_repeated)
{
    uint16_t slot = ML_PATH_NO_SLOT;
    for (uint16_t i = 0; i < p->peer_count; i++) {
        struct ml_path_peer *peer = &p->peers[i];
        if (!is_from(peer, &in->sender)) {
            continue;
        }
        if (slot == ML_PATH_NO_SLOT || ml_key_equal(peer->node, &in->msg.node_key)) {
            slot = i;
        }
        (void)ml_path_cand_tick(peer, now);
        struct ml_path_candidate *c = ml_path_cand_find(peer, &in->from);
        uint16_t heard = c ? c->heard : 0;
        c = ml_path_cand_heard(peer, now, &in->from);
        if (c && !is_repeated) {
            peer->is_called = false;
            ping_back(p, now, i, c, heard);
        }
    }
    return slot;
}

static uint16_t handle_ping(struct ml_path *p, ml_time now, const struct ml_path_in *in, enum ml_drop *drop)
{
    uint16_t slot = ML_PATH_NO_SLOT;
    if (in->derp_region) {
        handle_derp_ping(p, in, drop);
        return slot;
    }
    if (p->cfg.no_disco) {
        *drop = ML_DROP_DISCO_WRONG_CARRIER;
        return slot;
    }
    bool is_repeated = is_ping_repeated(p, in);
    slot = note_udp_ping(p, now, in, is_repeated);
    if (is_repeated) {
        *drop = ML_DROP_DISCO_DUPLICATE;
    } else if (!ml_path_pong_queue(p, in, &in->from)) {
        *drop = ML_DROP_DISCO_LIMITED;
    }
    return slot;
}

/* ---- Pong ---- */

static void credit(struct ml_path *p, struct ml_path_peer *peer, ml_time now, const struct ml_path_candidate *to,
                   ml_time latency)
{
    struct ml_path_quality now_seen = {.addr = ml_path_cand_addr(peer, to), .latency = latency, .wire_mtu = WIRE_MTU};
    struct ml_path_quality best = {.addr = ml_path_best_addr(peer), .latency = peer->latency_us, .wire_mtu = WIRE_MTU};
    if (!ml_path_is_trusted(p, peer, now) || ml_path_better(&now_seen, &best)) {
        ml_path_best_set(peer, to);
    }
    if (to == &peer->cand[peer->best - 1]) {
        peer->latency_us = (uint32_t)latency; /* at most the 5 s a ping is waited for */
        peer->trust_until = ml_path_tick(p, now + ML_PATH_TRUST);
        ml_path_note_heard(p, peer, now);
        peer->cmm_repeats = 0;
    }
}

static uint16_t handle_pong(struct ml_path *p, ml_time now, const struct ml_path_in *in, enum ml_drop *drop)
{
    struct ml_path_ping *found = ml_path_ping_find(p, now, in->msg.tx, &in->sender);
    if (!found) {
        *drop = ML_DROP_DISCO_UNKNOWN_TX;
        return ML_PATH_NO_SLOT;
    }
    struct ml_path_ping ping = *found;
    ml_zero(found);
    struct ml_path_peer *peer = &p->peers[ping.slot];
    ml_time latency = now > ping.at ? now - ping.at : 1;
    bool is_direct = in->derp_region == 0;
    bool is_old_path = ml_path_is_trusted(p, peer, now) && ml_path_is_best(peer, &ping.to);
    struct ml_path_candidate *c = NULL;
    if (is_direct) {
        /* The credit goes to the address we pinged, whatever address answered. It may be no candidate any more. */
        c = ml_path_cand_find(peer, &ping.to);
        if (!c) {
            return ping.slot;
        }
        c->has_pong = true;
    }
    struct ml_path_pong result = {.latency = latency, .via = ping.to, .derp_region = ping.derp_region};
    ml_path_cli_finish(p, ping.cli, &result);
    if (c) {
        credit(p, peer, now, c, latency);
        if (ml_path_is_best(peer, &ping.to)) {
            ml_path_note_seen(p, now, peer, &in->msg.src, is_old_path);
        }
    }
    return ping.slot;
}

/* ---- Call-me-maybe ---- */

/* The peer's pings come through: one was heard just now. */
static bool is_pinged(struct ml_path_peer *peer, ml_time now)
{
    uint16_t tick = ml_path_cand_tick(peer, now);
    bool is_heard = false;
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        const struct ml_path_candidate *c = &peer->cand[i];
        is_heard |= c->from && !ml_path_tick_passed(c->heard, tick, CMM_ROUND_INTERVAL);
    }
    return is_heard;
}

static uint16_t handle_cmm(struct ml_path *p, ml_time now, const struct ml_path_in *in, enum ml_drop *drop)
{
    if (in->derp_region == 0) {
        *drop = ML_DROP_DISCO_WRONG_CARRIER;
        return ML_PATH_NO_SLOT;
    }
    uint16_t slot = 0;
    while (slot < p->peer_count && !(ml_path_is_open(&p->peers[slot]) && ml_key_equal(p->peers[slot].node, &in->derp_source))) {
        slot++;
    }
    if (slot == p->peer_count) {
        *drop = ML_DROP_DERP_UNKNOWN_PEER;
        return ML_PATH_NO_SLOT;
    }
    struct ml_path_peer *peer = &p->peers[slot];
    if (!ml_key_equal(peer->disco, &in->sender)) {
        *drop = ML_DROP_DISCO_UNKNOWN_KEY;
        return ML_PATH_NO_SLOT;
    }
    bool had_best = ml_path_has_best(peer);
    ml_path_cand_merge(peer, ML_CAND_CMM, in->msg.addrs, in->msg.addr_count);
    /* A list that takes our path away is worth a round of its own: there is none without a pong to the round before. */
    bool has_lost_best = had_best && !ml_path_has_best(peer);
    if (!has_lost_best && peer->cmm_round_at != 0 && ml_path_since(p, now, peer->cmm_round_at) < CMM_ROUND_INTERVAL) {
        *drop = ML_DROP_DISCO_LIMITED;
        return slot;
    }
    if (!peer->is_cmm_wanted &&
        (peer->cmm_round_at == 0 || ml_path_since(p, now, peer->cmm_round_at) >= 2 * ML_PATH_PING_INTERVAL)) {
        /* The first of a series. When the peer's pings arrive they do, and ours waits as if one had just gone out. Else our
         * router dropped them: the pings below make it take them, but an official peer repeats its own only when called. */
        if (is_pinged(peer, now)) {
            peer->cmm_wanted_at = ml_path_tick(p, now);
        } else {
            peer->is_called = true;
        }
    }
    peer->cmm_round_at = ml_path_tick(p, ml_path_stamp(now));
    /* The peer looks for a path; so what we believe of ours may be old news. The pings below tell. */
    if (ml_path_is_trusted(p, peer, now)) {
        ml_path_check_begin(p, peer, now);
    }
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        peer->cand[i].pinged = 0;
    }
    ml_path_discover(p, now, slot, false);
    return slot;
}

uint16_t ml_path_disco_handle(struct ml_path *p, ml_time now, const struct ml_path_in *in, enum ml_drop *drop)
{
    uint16_t slot = ML_PATH_NO_SLOT;
    *drop = ML_DROP_NONE;
    switch (in->msg.type) {
    case ML_DISCO_PING:
        slot = handle_ping(p, now, in, drop);
        break;
    case ML_DISCO_PONG:
        slot = handle_pong(p, now, in, drop);
        break;
    case ML_DISCO_CALL_ME_MAYBE:
        slot = handle_cmm(p, now, in, drop);
        break;
    case ML_DISCO_BIND:
    case ML_DISCO_BIND_CHALLENGE:
    case ML_DISCO_BIND_ANSWER:
    case ML_DISCO_CALL_ME_MAYBE_VIA:
    case ML_DISCO_ALLOCATE_REQUEST:
    case ML_DISCO_ALLOCATE_RESPONSE:
        *drop = ML_DROP_UNKNOWN_TYPE; /* peer relays are not used */
        break;
    }
    if (slot != ML_PATH_NO_SLOT) {
        p->peers[slot].is_unheard = false;
    }
    return slot;
}
