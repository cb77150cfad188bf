/*
 * Our own endpoints: sorting out local addresses, remembering STUN results, building the list. dataplane.md 4.9.
 *
 * Which local addresses count is as in net/netmon.LocalAddresses; how long others live as in magicsock's endpointTracker.
 *
 * SPDX-License-Identifier: MIT
 */
#include "path/endpoints.h"

#include "base/addr.h"

#define TRACKED_FOR (ML_SEC(5 * 60) + ML_SEC(10)) /* endpointTrackerLifetime */
#define FRESH_FOR   ML_SEC(27)                    /* endpointsFreshEnoughDuration */

enum { LOCAL_ROOM = 2, PER_SUBNET6 = 2 };

void ml_endpoints_init(struct ml_endpoints *e)
{
    ml_zero(e);
}

static bool contains(const struct ml_endpoint *list, size_t count, const struct ml_endpoint *ep)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].type == ep->type && ml_addr_equal(&list[i].addr, &ep->addr)) {
            return true;
        }
    }
    return false;
}

/* A list under construction: no address twice, the first type given to one stays. */
struct list {
    struct ml_endpoint ep[ML_ENDPOINTS];
    uint8_t count;
};

static void add(struct list *l, size_t limit, const ml_addr *addr, enum ml_endpoint_type type)
{
    if (!ml_addr_is_set(addr) || l->count >= limit) {
        return;
    }
    for (size_t i = 0; i < l->count; i++) {
        if (ml_addr_equal(&l->ep[i].addr, addr)) {
            return;
        }
    }
    l->ep[l->count++] = (struct ml_endpoint){.addr = *addr, .type = (uint8_t)type};
}

static void add_facts(const struct ml_endpoint_facts *f, struct list *l, size_t limit)
{
    add(l, limit, &f->global4, ML_ENDPOINT_STUN);
    for (size_t i = 0; i < sizeof f->extra / sizeof f->extra[0]; i++) {
        add(l, limit, &f->extra[i], ML_ENDPOINT_STUN);
    }
    add(l, limit, &f->global6, ML_ENDPOINT_STUN);
    if (f->mapping_varies && f->fixed_port && ml_addr_is_set(&f->global4)) {
        ml_addr guess = {.ip = f->global4.ip, .port = f->fixed_port};
        add(l, limit, &guess, ML_ENDPOINT_STUN4_LOCAL_PORT);
    }
}

static void rebuild(struct ml_endpoints *e)
{
    struct list l = {.count = 0};
    size_t room = e->local_count < LOCAL_ROOM ? e->local_count : LOCAL_ROOM;
    add_facts(&e->facts, &l, ML_ENDPOINTS - room);
    for (size_t i = 0; i < ML_ENDPOINTS_TRACKED; i++) {
        if (e->tracked[i].until) {
            add(&l, ML_ENDPOINTS - room, &e->tracked[i].ep.addr, (enum ml_endpoint_type)e->tracked[i].ep.type);
        }
    }
    for (size_t i = 0; i < e->local_count; i++) {
        /* Loopback only if nothing at all is known. */
        if (!ml_ip_is_loopback(&e->local[i].ip) || l.count == 0 || ml_ip_is_loopback(&l.ep[0].addr.ip)) {
            add(&l, ML_ENDPOINTS, &e->local[i], ML_ENDPOINT_LOCAL);
        }
    }

    bool is_same = l.count == e->count;
    for (size_t i = 0; i < l.count && is_same; i++) {
        is_same = contains(e->list, e->count, &l.ep[i]);
    }
    e->is_changed |= !is_same;
    memcpy(e->list, l.ep, sizeof l.ep);
    e->count = l.count;
}

/* ---- Local addresses ---- */

/* How willing we are to publish a local address: the lowest rank present wins, higher ones are left out. */
enum rank { RANK_REGULAR, RANK_LAST_RESORT, RANK_LOOPBACK, RANK_NEVER };

static enum rank rank_of(const ml_addr *a)
{
    const ml_ip *ip = &a->ip;
    if (!ml_addr_is_set(a) || ml_ip_is_tailscale(ip) || ml_ip_is_multicast(ip) || ml_ip_is_unspecified(ip)) {
        return RANK_NEVER;
    }
    if (ml_ip_is_loopback(ip)) {
        return RANK_LOOPBACK;
    }
    if (ml_ip_is_link_local(ip)) {
        return ml_ip_is4(ip) ? RANK_LAST_RESORT : RANK_NEVER;
    }
    return ml_ip_is6(ip) && ml_ip_is_private(ip) ? RANK_LAST_RESORT : RANK_REGULAR;
}

static bool is_subnet_full(const struct ml_endpoints *e, const ml_addr *a)
{
    size_t n = 0;
    for (size_t i = 0; i < e->local_count; i++) {
        n += ml_ip_is6(&e->local[i].ip) && memcmp(e->local[i].ip.b, a->ip.b, 8) == 0;
    }
    return n >= PER_SUBNET6;
}

void ml_endpoints_set_local(struct ml_endpoints *e, const ml_addr *addrs, size_t count)
{
    enum rank best = RANK_NEVER;
    for (size_t i = 0; i < count; i++) {
        enum rank r = rank_of(&addrs[i]);
        best = r < best ? r : best;
    }
    e->local_count = 0;
    for (int family = 4; family <= 6 && best != RANK_NEVER; family += 2) {
        for (size_t i = 0; i < count && e->local_count < ML_ENDPOINTS_LOCAL; i++) {
            const ml_addr *a = &addrs[i];
            if (rank_of(a) == best && ml_ip_is4(&a->ip) == (family == 4) && (family == 4 || !is_subnet_full(e, a))) {
                e->local[e->local_count++] = *a;
            }
        }
    }
    rebuild(e);
}

/* ---- What measurements say ---- */

static void track(struct ml_endpoints *e, ml_time now, const struct ml_endpoint *ep)
{
    size_t at = 0;
    for (size_t i = 0; i < ML_ENDPOINTS_TRACKED; i++) {
        if (e->tracked[i].until && ml_addr_equal(&e->tracked[i].ep.addr, &ep->addr)) {
            at = i;
            break;
        }
        if (e->tracked[i].until < e->tracked[at].until) {
            at = i;
        }
    }
    e->tracked[at].ep = *ep;
    e->tracked[at].until = now + TRACKED_FOR;
}

void ml_endpoints_set_facts(struct ml_endpoints *e, ml_time now, const struct ml_endpoint_facts *f)
{
    for (size_t i = 0; i < ML_ENDPOINTS_TRACKED; i++) {
        if (e->is_forgetting || now >= e->tracked[i].until) {
            e->tracked[i].until = 0;
        }
    }
    e->is_forgetting = false;
    e->facts = *f;
    struct list l = {.count = 0};
    add_facts(f, &l, ML_ENDPOINTS);
    for (size_t i = 0; i < l.count; i++) {
        track(e, now, &l.ep[i]);
    }
    e->has_refreshed = true;
    e->refreshed_at = now;
    rebuild(e);
}

void ml_endpoints_forget_global(struct ml_endpoints *e)
{
    e->is_forgetting = true;
    e->has_refreshed = false;
}

void ml_endpoints_doubt(struct ml_endpoints *e)
{
    e->has_refreshed = false;
}

/* Never inlined: a call is shorter. */
__attribute__((noinline)) bool ml_endpoints_is_fresh(const struct ml_endpoints *e, ml_time now)
{
    return e->has_refreshed && now - e->refreshed_at < FRESH_FOR;
}

bool ml_endpoints_take_changed(struct ml_endpoints *e)
{
    bool is_changed = e->is_changed;
    e->is_changed = false;
    return is_changed;
}
