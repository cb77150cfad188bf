/*
 * Does the path that we trust still work, for both sides? dataplane.md 4.3, 4.4.
 *
 * The official client asks its best path every 3 s and believes it for 6.5 s after the last answer: when a path dies it is silent
 * for so long. What we do sooner is here, in two steps, because each side has to be told:
 *
 *   ours      we send, and hear nothing from the path for 1 s: a ping asks, a second one after half the wait. Without an answer
 *             the path is no longer trusted, and packets go over DERP as well.
 *   theirs    the peer goes on sending to where it knows us, and an official peer leaves that address only when its own trust
 *             ends, or when a call-me-maybe that once named the address names it no longer (endpoint.go,
 *             handleCallMeMaybe: deleteEndpointLocked clears bestAddr). So with the second ping goes a call-me-maybe with the
 *             address that the peer sees us at, another when the check has failed, and one without it right after. (The first
 *             finds out whether the relay's connection still works: when a router lost its mappings that may be dead too, and
 *             what was written into it is lost.) What follows from the peer comes over DERP. As soon as our own endpoints have
 *             been measured again, a last one names them all.
 *
 * A router that forgot its mapping shows in the first answer already: the pong tells that we are seen at another address. Our
 * packets arrive, the peer's do not. The path is as good as before then; only the old address is named and left out again. What
 * else went through that router is in doubt: the caller checks its connections.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "path/path_internal.h"

/* Between the call-me-maybe that names an old address and the one that does not: the peer handles each in a thread of its own. */
#define LEAVE_WAIT ML_MSEC(60)
/* A peer that says so again and again does not have the servers asked more often. */
#define ROUTER_DOUBT_INTERVAL ML_SEC(30)
/* A repeat follows REPEAT_FIRST after a call-me-maybe, and a second one REPEAT_NEXT after that: by then also a peer of our own
 * kind, which takes one round a second, pings again. Four repeats are two rounds of discovery; later rounds have none. */
#define REPEAT_FIRST ML_MSEC(500)
#define REPEAT_NEXT  ML_MSEC(700)
#define REPEATS_EACH 2
#define REPEATS_MAX  4

static void await(struct ml_path *p, struct ml_path_peer *peer, ml_time now, enum ml_path_check state)
{
    peer->check = (uint8_t)state;
    peer->check_until = ml_path_tick(p, now + ML_PATH_CHECK_WAIT / 2 + peer->latency_us);
}

void ml_path_check_end(struct ml_path_peer *peer)
{
    peer->check = ML_CHECK_NONE;
    peer->check_until = ML_TICK_NEVER;
}

void ml_path_check_begin(struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    if (peer->check == ML_CHECK_NONE) {
        await(p, peer, now, ML_CHECK_ASKED);
    }
}

void ml_path_note_heard(struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    peer->heard_at = ml_path_tick(p, now);
    if (peer->check != ML_CHECK_LEAVING) {
        ml_path_check_end(peer);
    }
}

static bool can_call(const struct ml_path *p, const struct ml_path_peer *peer)
{
    return peer->home_region != 0 && !p->cfg.no_derp;
}

/* Our router forgot us, or a line of ours is dead: what it gave us before is measured again before anybody is told of it. */
static void doubt_own(struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    if (can_call(p, peer) && !p->cfg.no_stun) {
        peer->is_cmm_wanted = true;
        peer->cmm_wanted_at = ml_path_tick(p, now);
    }
    ml_endpoints_doubt(&p->ep);
    p->is_stun_wanted = p->is_stun_wanted || !p->cfg.no_stun;
}

/* Names where the peer sees us, and leaves it out LEAVE_WAIT later. */
static void leave_seen(struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    peer->notice = ML_NOTICE_NAME;
    peer->check = ML_CHECK_LEAVING;
    peer->check_until = ml_path_tick(p, now + LEAVE_WAIT);
}

static void failed(struct ml_path *p, ml_time now, uint16_t slot)
{
    struct ml_path_peer *peer = &p->peers[slot];
    bool was_trusted = ml_path_is_trusted(p, peer, now);
    ml_path_check_end(peer);
    if (!was_trusted) {
        return;
    }
    peer->trust_until = ml_path_tick(p, now ? now - 1 : 0);
    ml_path_ping_best(p, now, slot); /* it may have been those two pings */
    peer->notice = ML_NOTICE_NONE;
    if (can_call(p, peer)) {
        leave_seen(p, peer, now);
    }
    doubt_own(p, peer, now);
}

void ml_path_cmm_await(struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    bool is_last = peer->is_cmm_repeat && peer->cmm_repeats % REPEATS_EACH == 0;
    if (is_last || peer->check != ML_CHECK_NONE || peer->cmm_repeats >= REPEATS_MAX || ml_path_is_trusted(p, peer, now)) {
        return;
    }
    peer->check = ML_CHECK_CALLED;
    peer->check_until = ml_path_tick(p, now + (peer->is_cmm_repeat ? REPEAT_NEXT : REPEAT_FIRST));
}

/* One lost packet of the exchange - ping, pong or the peer's ping - would cost the 5 s until the next round. Candidates are
 * not pinged before that, except when the peer calls; so the peer is asked to ping once more, and is pinged back (path_disco.c). */
static void call_again(const struct ml_path *p, struct ml_path_peer *peer, ml_time now)
{
    bool is_sending = peer->last_send_at != 0 && ml_path_since(p, now, peer->last_send_at) <= REPEAT_FIRST + REPEAT_NEXT;
    if (!ml_path_is_trusted(p, peer, now) && is_sending && ml_path_since(p, now, peer->cmm_wanted_at) < ML_PATH_PING_INTERVAL) {
        peer->cmm_repeats++;
        peer->is_cmm_repeat = true;
        peer->is_cmm_wanted = true;
    }
}

void ml_path_check_on_time(struct ml_path *p, ml_time now, uint16_t slot)
{
    struct ml_path_peer *peer = &p->peers[slot];
    if (now < ml_path_time(p, peer->check_until)) {
        return;
    }
    switch ((enum ml_path_check)peer->check) {
    case ML_CHECK_NONE:
        break;
    case ML_CHECK_ASKED:
        await(p, peer, now, ML_CHECK_ASKED_AGAIN);
        ml_path_ping_best(p, now, slot);
        peer->notice = can_call(p, peer) ? ML_NOTICE_NAME : ML_NOTICE_NONE;
        return;
    case ML_CHECK_ASKED_AGAIN:
        failed(p, now, slot);
        return;
    case ML_CHECK_CALLED:
        call_again(p, peer, now);
        break;
    case ML_CHECK_LEAVING:
        peer->notice = can_call(p, peer) ? ML_NOTICE_LEAVE : ML_NOTICE_NONE;
        break;
    }
    ml_path_check_end(peer);
}

/* ---- Where the peer sees us ---- */

static void remember(struct ml_path_peer *peer, const ml_addr *seen)
{
    peer->seen4 = ml_ip4_to_u32(&seen->ip); /* 0 for IPv6, where no router gives us an address of its own */
    peer->seen4_port = seen->port;
}

static ml_addr seen_as(const struct ml_path_peer *peer)
{
    ml_addr a = {.port = 0};
    if (peer->seen4) {
        a = (ml_addr){.ip = ml_ip4_u32(peer->seen4), .port = peer->seen4_port};
    }
    return a;
}

void ml_path_note_seen(struct ml_path *p, ml_time now, struct ml_path_peer *peer, const ml_addr *seen, bool is_old_path)
{
    ml_addr before = seen_as(peer);
    bool is_moved = is_old_path && ml_addr_is_set(&before) && ml_ip_is4(&seen->ip) && !ml_addr_equal(&before, seen);
    if (!is_moved || !can_call(p, peer) || ml_path_since(p, now, peer->cmm_wanted_at) < ML_PATH_PING_INTERVAL) {
        if (peer->check != ML_CHECK_LEAVING) {
            remember(peer, seen);
        }
        return;
    }
    /* The old address stays in mind until it has been left out. A peer that sees us elsewhere with each ping causes one such
     * round in ML_PATH_PING_INTERVAL. */
    leave_seen(p, peer, now);
    if (now >= p->router_doubt_from) {
        p->router_doubt_from = now + ROUTER_DOUBT_INTERVAL;
        p->is_router_doubted = true;
    }
    peer->cmm_wanted_at = ml_path_tick(p, now);
    ml_endpoints_forget_global(&p->ep);
    p->is_stun_wanted = p->is_stun_wanted || !p->cfg.no_stun;
}

/* ---- What a call-me-maybe names ---- */

static bool is_named(const struct ml_path_peer *peer, const struct ml_endpoint *ep, bool is_fresh)
{
    if (peer->notice != ML_NOTICE_LEAVE) {
        return is_fresh || ep->type == ML_ENDPOINT_LOCAL;
    }
    /* With IPv6 there is no NAT: what the peer sends to is one of our own. */
    ml_addr best = ml_path_best_addr(peer);
    bool is_left6 = ml_ip_is6(&ep->addr.ip) && ml_ip_is6(&best.ip);
    ml_addr seen = seen_as(peer);
    return ep->type == ML_ENDPOINT_LOCAL && !is_left6 && !ml_addr_equal(&ep->addr, &seen);
}

void ml_path_cmm_write(const struct ml_path *p, ml_time now, const struct ml_path_peer *peer, struct ml_disco_msg *m)
{
    bool is_fresh = p->cfg.no_stun || ml_endpoints_is_fresh(&p->ep, now), is_seen_named = false;
    ml_addr seen = seen_as(peer);
    m->type = ML_DISCO_CALL_ME_MAYBE;
    m->addr_count = 0;
    for (size_t i = 0; i < p->ep.count; i++) {
        if (is_named(peer, &p->ep.list[i], is_fresh)) {
            m->addrs[m->addr_count++] = p->ep.list[i].addr;
            is_seen_named |= ml_addr_equal(&p->ep.list[i].addr, &seen);
        }
    }
    /* What the peer itself told us about ML_PATH_TRUST ago at most. Behind a hard NAT no server knows it, and a peer to whom it was
     * named once would leave it with the first list that lacks it. */
    bool is_seen_known = ml_path_is_trusted(p, peer, now) || peer->check == ML_CHECK_LEAVING;
    if (peer->notice != ML_NOTICE_LEAVE && is_seen_known && ml_addr_is_set(&seen) && !is_seen_named) {
        m->addrs[m->addr_count++] = seen;
    }
}

void ml_path_cmm_done(struct ml_path_peer *peer)
{
    if (peer->notice == ML_NOTICE_NONE) {
        peer->is_cmm_wanted = false;
    } else if (peer->notice == ML_NOTICE_LEAVE) {
        peer->seen4 = 0;
    }
    peer->notice = ML_NOTICE_NONE;
}
