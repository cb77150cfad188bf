/*
 * The candidate addresses of one peer: where they come from, how long they live, which one gives way. dataplane.md 4.2.
 *
 * Rules of the table of ML_PATH_CANDIDATES entries (D37):
 *   - at most ML_PATH_GIVEN_MAX hold addresses from the netmap or a call-me-maybe, so that sources of pings, which are what
 *     works behind a hard NAT, always find room;
 *   - a ping source takes a free entry, else that of the ping source heard from longest ago;
 *   - a given address takes a free entry, else a ping source's as above; at the limit a call-me-maybe's address takes the
 *     entry of a netmap address that has not answered, and a netmap address is not kept;
 *   - the best path is never taken.
 * IPv6 addresses are among the entries, but their bytes are in a table of their own, of ML_PATH_IP6, ML_PATH_IP6_GIVEN of them
 * for given addresses: when it is full, or at that limit, the entry that gives way by these rules has to be IPv6.
 *
 * SPDX-License-Identifier: MIT
 */
#include "path/path_internal.h"

enum { TICK_SHIFT = 14 };
#define STAMP_LIFE ML_SEC(60)
#define TICKS(d)   ((uint32_t)((d) >> TICK_SHIFT))

static void forget_old(uint16_t *stamp, uint32_t tick, bool is_all)
{
    if (is_all || (uint16_t)(tick - *stamp) >= TICKS(STAMP_LIFE)) {
        *stamp = 0;
    }
}

uint16_t ml_path_cand_tick(struct ml_path_peer *peer, ml_time now)
{
    uint32_t tick = (uint32_t)(now >> TICK_SHIFT);
    bool is_all = tick - peer->aged_tick >= TICKS(STAMP_LIFE);

    for (size_t i = 0; i < ML_PATH_CANDIDATES && tick != peer->aged_tick; i++) {
        forget_old(&peer->cand[i].pinged, tick, is_all);
        forget_old(&peer->cand[i].heard, tick, is_all);
    }
    peer->aged_tick = tick;
    return (uint16_t)tick ? (uint16_t)tick : 1;
}

bool ml_path_tick_passed(uint16_t then, uint16_t now, ml_time d)
{
    /* Both ends are rounded down and 0 is moved to 1: two ticks more make it certain. */
    return then == 0 || (uint16_t)(now - then) >= TICKS(d) + 2;
}

static const ml_ip *ip6_of(const struct ml_path_peer *peer, const struct ml_path_candidate *c)
{
    return c->ip6 ? &peer->ip6[c->ip6 - 1] : NULL;
}

ml_addr ml_path_cand_addr(const struct ml_path_peer *peer, const struct ml_path_candidate *c)
{
    return (ml_addr){.ip = c->ip6 ? *ip6_of(peer, c) : ml_ip4_u32(c->ip4), .port = c->port};
}

static bool is_at(const struct ml_path_peer *peer, const struct ml_path_candidate *c, const ml_addr *addr)
{
    if (c->port != addr->port || (c->ip6 != 0) == ml_ip_is4(&addr->ip)) {
        return false;
    }
    return c->ip6 ? ml_ip_equal(ip6_of(peer, c), &addr->ip) : c->ip4 == ml_ip4_to_u32(&addr->ip);
}

static bool is_best(const struct ml_path_peer *peer, const struct ml_path_candidate *c)
{
    return ml_path_has_best(peer) && c == &peer->cand[peer->best - 1];
}

ml_addr ml_path_best_addr(const struct ml_path_peer *peer)
{
    return ml_path_has_best(peer) ? ml_path_cand_addr(peer, &peer->cand[peer->best - 1]) : (ml_addr){.port = 0};
}

bool ml_path_is_best(const struct ml_path_peer *peer, const ml_addr *addr)
{
    return ml_path_has_best(peer) && is_at(peer, &peer->cand[peer->best - 1], addr);
}

void ml_path_best_set(struct ml_path_peer *peer, const struct ml_path_candidate *c)
{
    peer->best = (uint8_t)(c - peer->cand + 1);
}

void ml_path_best_clear(struct ml_path_peer *peer)
{
    peer->best = 0;
    peer->trust_until = 0;
    peer->latency_us = 0;
}

struct ml_path_candidate *ml_path_cand_find(struct ml_path_peer *peer, const ml_addr *addr)
{
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        if (peer->cand[i].from && is_at(peer, &peer->cand[i], addr)) {
            return &peer->cand[i];
        }
    }
    return NULL;
}

static void empty(struct ml_path_peer *peer, struct ml_path_candidate *c)
{
    if (c->ip6) {
        ml_zero(&peer->ip6[c->ip6 - 1]);
    }
    ml_zero(c);
}

/* Place + 1 for another IPv6 address, 0 when there is none. */
static unsigned find_free6(const struct ml_path_peer *peer)
{
    for (unsigned i = 0; i < ML_PATH_IP6; i++) {
        if (!ml_ip_is_set(&peer->ip6[i])) {
            return i + 1;
        }
    }
    return 0;
}

static struct ml_path_candidate *find_free(struct ml_path_peer *peer)
{
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        if (!peer->cand[i].from) {
            return &peer->cand[i];
        }
    }
    return NULL;
}

/* The address known from pings only and heard from longest ago. */
static struct ml_path_candidate *find_stalest_source(struct ml_path_peer *peer, bool is_6_only)
{
    struct ml_path_candidate *victim = NULL;
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        struct ml_path_candidate *c = &peer->cand[i];
        if (c->from && !(c->from & ML_CAND_GIVEN) && !is_best(peer, c) && (c->ip6 || !is_6_only) &&
            (!victim || !c->heard || (victim->heard && (int16_t)(c->heard - victim->heard) < 0))) {
            victim = c;
        }
    }
    return victim;
}

/* An address that only the netmap holds and that never answered. */
static struct ml_path_candidate *find_silent_netmap(struct ml_path_peer *peer, bool is_6_only)
{
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        struct ml_path_candidate *c = &peer->cand[i];
        if (c->from == ML_CAND_NETMAP && !c->has_pong && !is_best(peer, c) && (c->ip6 || !is_6_only)) {
            return c;
        }
    }
    return NULL;
}

static size_t given_count(const struct ml_path_peer *peer, bool is_6_only)
{
    size_t n = 0;
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        const struct ml_path_candidate *c = &peer->cand[i];
        n += (c->from & ML_CAND_GIVEN) != 0 && (c->ip6 || !is_6_only);
    }
    return n;
}

/* In an entry whose holder, if any, gives way. */
static struct ml_path_candidate *put(struct ml_path_peer *peer, struct ml_path_candidate *c, const ml_addr *addr, uint8_t from)
{
    if (!c) {
        return NULL;
    }
    empty(peer, c);
    c->from = from;
    c->port = addr->port;
    if (ml_ip_is4(&addr->ip)) {
        c->ip4 = ml_ip4_to_u32(&addr->ip);
    } else {
        c->ip6 = find_free6(peer) & 0xf;
        peer->ip6[c->ip6 - 1] = addr->ip;
    }
    return c;
}

static struct ml_path_candidate *find_room(struct ml_path_peer *peer, const ml_addr *addr)
{
    bool is_6_only = !ml_ip_is4(&addr->ip) && find_free6(peer) == 0;
    struct ml_path_candidate *c = is_6_only ? NULL : find_free(peer);
    return c ? c : find_stalest_source(peer, is_6_only);
}

static bool is_usable(const ml_addr *a)
{
    /* fe80:: needs a zone, which no list carries. */
    return ml_addr_is_set(a) && !ml_ip_is_multicast(&a->ip) && !ml_ip_is_unspecified(&a->ip) &&
           !(ml_ip_is6(&a->ip) && ml_ip_is_link_local(&a->ip));
}

/* Beyond the first two of its kind: public IPv4, private IPv4, IPv6. Lists begin with what was measured last and go on with what
 * was before (endpoints.c, as the official client's), then come local addresses: none may keep the others out. */
static bool is_spare(const ml_addr *addrs, size_t i)
{
    enum { EACH = 2 };
    size_t before = 0;
    for (size_t k = 0; k < i; k++) {
        bool is6 = ml_ip_is6(&addrs[k].ip);
        before += is_usable(&addrs[k]) && is6 == ml_ip_is6(&addrs[i].ip) &&
                  (is6 || ml_ip_is_private(&addrs[k].ip) == ml_ip_is_private(&addrs[i].ip));
    }
    return before >= EACH;
}

static struct ml_path_candidate *find_last_spare(struct ml_path_peer *peer, const ml_addr *addrs, size_t count, bool is_6_only)
{
    while (count-- > 0) {
        struct ml_path_candidate *c = is_spare(addrs, count) ? ml_path_cand_find(peer, &addrs[count]) : NULL;
        if (c && (c->from & ML_CAND_GIVEN) && !is_best(peer, c) && (c->ip6 || !is_6_only)) {
            return c;
        }
    }
    return NULL;
}

static void add_given(struct ml_path_peer *peer, const ml_addr *addrs, size_t count, size_t i, uint8_t from)
{
    const ml_addr *addr = &addrs[i];
    struct ml_path_candidate *c = ml_path_cand_find(peer, addr);
    bool is6 = !ml_ip_is4(&addr->ip);
    bool is_limit6 = is6 && given_count(peer, true) >= ML_PATH_IP6_GIVEN;
    bool is_limit = is_limit6 || given_count(peer, false) >= ML_PATH_GIVEN_MAX;
    if (c) {
        /* At the limit a ping source stays a ping source. */
        if (!is_limit || (c->from & ML_CAND_GIVEN)) {
            c->from |= from;
        }
        return;
    }
    if (!is_limit) {
        put(peer, find_room(peer, addr), addr, from);
        return;
    }
    bool is_6_only = is_limit6 || (is6 && find_free6(peer) == 0);
    if (from == ML_CAND_CMM) {
        c = find_silent_netmap(peer, is_6_only);
    }
    if (!c && !is_spare(addrs, i)) {
        c = find_last_spare(peer, addrs, count, is_6_only);
    }
    put(peer, c, addr, from);
}

struct ml_path_candidate *ml_path_cand_heard(struct ml_path_peer *peer, ml_time now, const ml_addr *addr)
{
    uint16_t tick = ml_path_cand_tick(peer, now);
    struct ml_path_candidate *c = ml_path_cand_find(peer, addr);
    if (!c && is_usable(addr)) {
        c = put(peer, find_room(peer, addr), addr, ML_CAND_PING);
    }
    if (c) {
        c->from |= ML_CAND_PING;
        c->heard = tick;
    }
    return c;
}

/* Lists can be longer than the room for them. */
static void add_list(struct ml_path_peer *peer, uint8_t from, const ml_addr *addrs, size_t count)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            if (is_usable(&addrs[i]) && is_spare(addrs, i) == (pass == 1)) {
                add_given(peer, addrs, count, i, from);
            }
        }
    }
}

static void drop_unheld(struct ml_path_peer *peer)
{
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        struct ml_path_candidate *c = &peer->cand[i];
        if (!c->from) {
            if (is_best(peer, c)) {
                ml_path_best_clear(peer);
            }
            empty(peer, c);
        }
    }
}

void ml_path_cand_merge(struct ml_path_peer *peer, uint8_t from, const ml_addr *addrs, size_t count)
{
    /* What stays is marked before anything is dropped, so that the history of an address survives its renewal. */
    for (size_t i = 0; i < count; i++) {
        struct ml_path_candidate *c = ml_path_cand_find(peer, &addrs[i]);
        if (c && (c->from & from)) {
            c->from |= ML_CAND_MARK;
        }
    }
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        struct ml_path_candidate *c = &peer->cand[i];
        if (!(c->from & ML_CAND_MARK)) {
            /* The peer itself does not name the address any more: it is gone, whoever else still holds it (as the official
             * client has it). After a change of network this is what turns us away from a path that still looks well. */
            bool is_withdrawn = from == ML_CAND_CMM && (c->from & ML_CAND_CMM);
            c->from &= is_withdrawn ? 0 : (uint8_t)~from;
        }
        c->from &= (uint8_t)~ML_CAND_MARK;
    }
    drop_unheld(peer);
    add_list(peer, from, addrs, count);
}

void ml_path_cand_prune(struct ml_path_peer *peer, ml_time now)
{
    uint16_t tick = ml_path_cand_tick(peer, now);
    for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
        struct ml_path_candidate *c = &peer->cand[i];
        if ((c->from & ML_CAND_PING) && ml_path_tick_passed(c->heard, tick, ML_PATH_SESSION_ACTIVE)) {
            c->from &= (uint8_t)~ML_CAND_PING;
        }
    }
    drop_unheld(peer);
}
