/*
 * The relay connections of a node. See derp_pool.h for the rules.
 *
 * SPDX-License-Identifier: MIT
 */
#include "derp/derp_pool.h"

#include "base/key.h"
#include "base/rng.h"

#define NO_SLOT UINT8_MAX
/* A server may smear its clients over some time when it restarts; more than this is not believed. */
#define RESTART_MAX ML_SEC(60)

enum {
    SLOT_FREE,
    SLOT_WANT,    /* to be opened, at open_at or later */
    SLOT_OPENING, /* the caller is dialling */
    SLOT_UP       /* the stream is up */
};

void ml_derp_pool_init(struct ml_derp_pool *p, const struct ml_derp_pool_cfg *cfg)
{
    ml_zero(p);
    p->self = cfg->self;
    p->slots = cfg->slots;
    p->slot_count = cfg->slot_count;
    p->routes = cfg->routes;
    p->route_count = cfg->route_count;
    for (unsigned i = 0; i < p->slot_count; i++) {
        ml_zero(&p->slots[i]);
        ml_derp_client_init(&p->slots[i].client, &p->self, cfg->tx + i * cfg->tx_cap_each, cfg->tx_cap_each);
    }
    for (unsigned i = 0; i < p->route_count; i++) {
        p->routes[i].slot = NO_SLOT;
    }
}

/* ---- Back-off per region ---- */

static struct ml_derp_backoff *backoff_find(struct ml_derp_pool *p, uint16_t region)
{
    for (unsigned i = 0; i < ML_DERP_BACKOFFS; i++) {
        if (p->backoffs[i].region == region) {
            return &p->backoffs[i];
        }
    }
    return NULL;
}

static struct ml_derp_backoff *backoff_add(struct ml_derp_pool *p, uint16_t region)
{
    struct ml_derp_backoff *b = backoff_find(p, region);
    if (b) {
        return b;
    }
    b = backoff_find(p, 0);
    if (!b) {
        b = &p->backoffs[0];
        for (unsigned i = 1; i < ML_DERP_BACKOFFS; i++) {
            b = p->backoffs[i].until < b->until ? &p->backoffs[i] : b;
        }
    }
    ml_zero(b);
    b->region = region;
    return b;
}

static void backoff_forget(struct ml_derp_pool *p, uint16_t region)
{
    struct ml_derp_backoff *b = backoff_find(p, region);
    if (b) {
        ml_zero(b);
    }
}

/* ---- Slots ---- */

static unsigned slot_of(const struct ml_derp_pool *p, uint16_t region)
{
    for (unsigned i = 0; region != 0 && i < p->slot_count; i++) {
        if (p->slots[i].region == region) {
            return i;
        }
    }
    return NO_SLOT;
}

static void forget_routes(struct ml_derp_pool *p, unsigned slot)
{
    for (unsigned i = 0; i < p->route_count; i++) {
        if (p->routes[i].slot == slot) {
            p->routes[i].slot = NO_SLOT;
        }
    }
}

/* Ends the slot's life. A stream the caller still holds is left to poll_close(). */
static unsigned slot_release(struct ml_derp_pool *p, unsigned slot, bool has_stream)
{
    struct ml_derp_slot *s = &p->slots[slot];
    unsigned lost = ml_derp_client_close(&s->client);
    forget_routes(p, slot);
    s->must_close = s->must_close || has_stream;
    s->region = 0;
    s->state = SLOT_FREE;
    return lost;
}

static bool has_stream(const struct ml_derp_slot *s)
{
    return s->state == SLOT_OPENING || s->state == SLOT_UP;
}

/* A slot for one more region: a free one, else the non-home connection unused for longest. The home always has one. */
static unsigned slot_take(struct ml_derp_pool *p, ml_time now, uint16_t region)
{
    unsigned slot = NO_SLOT;
    for (unsigned i = 0; i < p->slot_count; i++) {
        const struct ml_derp_slot *s = &p->slots[i];
        if (s->state == SLOT_FREE) {
            slot = i;
            break;
        }
        if (s->region != p->home && (slot == NO_SLOT || s->write_at < p->slots[slot].write_at)) {
            slot = i;
        }
    }
    if (slot == NO_SLOT) {
        return NO_SLOT;
    }
    if (p->slots[slot].state != SLOT_FREE) {
        if (region != p->home && now - p->slots[slot].write_at < ML_DERP_EVICT_IDLE) {
            return NO_SLOT;
        }
        slot_release(p, slot, has_stream(&p->slots[slot]));
    }
    struct ml_derp_slot *s = &p->slots[slot];
    const struct ml_derp_backoff *b = backoff_find(p, region);
    s->region = region;
    s->state = SLOT_WANT;
    s->was_login = false;
    s->open_at = b && b->until > now ? b->until : now;
    s->write_at = now;
    s->idle_for = ML_DERP_IDLE_MIN + ml_random_below(p->self.rng, (uint32_t)ML_DERP_IDLE_SPREAD);
    s->restart_in = ML_NEVER;
    return slot;
}

static void want_home(struct ml_derp_pool *p, ml_time now)
{
    if (p->home != 0 && slot_of(p, p->home) == NO_SLOT) {
        (void)slot_take(p, now, p->home); /* always finds one: every other slot may be taken from its region */
    }
}

/* The connection of a slot broke, or could not be made: note it against the region and free the slot. */
static unsigned slot_failed(struct ml_derp_pool *p, ml_time now, unsigned slot, bool has_open_stream)
{
    struct ml_derp_slot *s = &p->slots[slot];
    uint16_t region = s->region;
    struct ml_derp_backoff *b = backoff_add(p, region);
    if (s->restart_in != ML_NEVER) {
        b->until = now + s->restart_in; /* announced, so not a failure */
        b->until_sending = b->until;
    } else {
        b->failures = (uint16_t)(b->failures < UINT16_MAX ? b->failures + 1 : b->failures);
        b->until = now + ml_backoff(p->self.rng, b->failures, ML_DERP_BACKOFF_CAP);
        b->until_sending = b->until;
        if (b->failures <= ML_DERP_EAGER_DIALS) {
            ml_time sooner = now + ml_random_jitter(p->self.rng, ML_DERP_EAGER_WAIT);
            b->until_sending = sooner < b->until ? sooner : b->until;
        }
    }
    unsigned lost = slot_release(p, slot, has_open_stream);
    if (region == p->home) {
        want_home(p, now);
    }
    return lost;
}

void ml_derp_pool_set_home(struct ml_derp_pool *p, ml_time now, uint16_t region)
{
    if (region == p->home) {
        return;
    }
    unsigned old = slot_of(p, p->home);
    if (old != NO_SLOT) {
        p->slots[old].write_at = now; /* peers may still look for us there: it lives as long as any other */
    }
    p->home = region;
    for (unsigned i = 0; i < p->slot_count; i++) {
        ml_derp_client_note_preferred(&p->slots[i].client, region != 0 && p->slots[i].region == region);
    }
    want_home(p, now);
}

void ml_derp_pool_close_region(struct ml_derp_pool *p, ml_time now, uint16_t region)
{
    unsigned slot = slot_of(p, region);
    backoff_forget(p, region);
    if (slot != NO_SLOT) {
        slot_release(p, slot, has_stream(&p->slots[slot]));
        want_home(p, now);
    }
}

void ml_derp_pool_reset(struct ml_derp_pool *p, ml_time now)
{
    for (unsigned i = 0; i < p->slot_count; i++) {
        slot_release(p, i, has_stream(&p->slots[i]));
    }
    ml_zero(&p->backoffs);
    want_home(p, now);
}

void ml_derp_pool_check(struct ml_derp_pool *p, ml_time now)
{
    for (unsigned i = 0; i < p->slot_count; i++) {
        struct ml_derp_slot *s = &p->slots[i];
        if (s->state == SLOT_UP) {
            ml_derp_client_check(&s->client, now);
            continue;
        }
        if (s->state == SLOT_OPENING) { /* dialled from an address that may be gone: again, not after the dial's time-out */
            s->state = SLOT_WANT;
            s->must_close = true;
        }
        if (s->state == SLOT_WANT) {
            s->open_at = now;
        }
    }
}

/* ---- Sending ---- */

static ml_drop send_over(struct ml_derp_pool *p, ml_time now, unsigned slot, const ml_node_key *dst, const uint8_t *packet,
                         size_t len)
{
    ml_drop drop = ml_derp_client_send(&p->slots[slot].client, now, dst, packet, len);
    if (drop == ML_DROP_NONE) {
        p->slots[slot].write_at = now;
    }
    return drop;
}

/* The region's slot, for a packet that is there or waits for it. */
static unsigned want_region(struct ml_derp_pool *p, ml_time now, uint16_t region)
{
    unsigned slot = slot_of(p, region);
    if (slot == NO_SLOT) {
        slot = slot_take(p, now, region);
    }
    const struct ml_derp_backoff *b = backoff_find(p, region);
    if (slot != NO_SLOT && p->slots[slot].state == SLOT_WANT && b && b->until_sending < p->slots[slot].open_at) {
        p->slots[slot].open_at = b->until_sending;
    }
    return slot;
}

void ml_derp_pool_dial(struct ml_derp_pool *p, ml_time now, uint16_t region)
{
    if (region != 0) {
        (void)want_region(p, now, region);
    }
}

/* Who sends waits for answers, and they come over the home. */
static void want_answers(struct ml_derp_pool *p, ml_time now)
{
    ml_derp_pool_dial(p, now, p->home);
}

ml_drop ml_derp_pool_send_on(struct ml_derp_pool *p, ml_time now, uint16_t region, const ml_node_key *dst,
                             const uint8_t *packet, size_t len)
{
    if (region == 0) {
        return ML_DROP_ROUTE_NO_PATH;
    }
    want_answers(p, now);
    unsigned slot = want_region(p, now, region);
    return slot == NO_SLOT ? ML_DROP_NO_MEMORY : send_over(p, now, slot, dst, packet, len);
}

static struct ml_derp_route *route_find(const struct ml_derp_pool *p, const ml_node_key *key)
{
    for (unsigned i = 0; i < p->route_count; i++) {
        if (p->routes[i].slot != NO_SLOT && memcmp(p->routes[i].key, key->b, sizeof p->routes[i].key) == 0) {
            return &p->routes[i];
        }
    }
    return NULL;
}

/* The connection by which a packet to this node leaves at once. */
static unsigned ready_slot(const struct ml_derp_pool *p, const ml_node_key *dst, uint16_t home_region)
{
    unsigned slot = slot_of(p, home_region);
    if (slot != NO_SLOT && ml_derp_client_is_ready(&p->slots[slot].client)) {
        return slot;
    }
    const struct ml_derp_route *r = route_find(p, dst);
    return r && ml_derp_client_is_ready(&p->slots[r->slot].client) ? r->slot : NO_SLOT;
}

bool ml_derp_pool_has_way(const struct ml_derp_pool *p, const ml_node_key *dst, uint16_t home_region)
{
    return ready_slot(p, dst, home_region) != NO_SLOT;
}

ml_drop ml_derp_pool_send(struct ml_derp_pool *p, ml_time now, const ml_node_key *dst, uint16_t home_region,
                          const uint8_t *packet, size_t len)
{
    unsigned slot = ready_slot(p, dst, home_region);
    if (slot != NO_SLOT) {
        want_answers(p, now);
        return send_over(p, now, slot, dst, packet, len);
    }
    return ml_derp_pool_send_on(p, now, home_region, dst, packet, len);
}

void ml_derp_pool_learn(struct ml_derp_pool *p, const ml_node_key *key, unsigned slot)
{
    if (p->route_count == 0 || slot >= p->slot_count) {
        return;
    }
    struct ml_derp_route *r = route_find(p, key);
    for (unsigned i = 0; !r && i < p->route_count; i++) {
        r = p->routes[i].slot == NO_SLOT ? &p->routes[i] : NULL;
    }
    if (!r) {
        r = &p->routes[0];
        for (unsigned i = 1; i < p->route_count; i++) {
            r = p->heard - p->routes[i].heard > p->heard - r->heard ? &p->routes[i] : r;
        }
    }
    memcpy(r->key, key->b, sizeof r->key);
    r->slot = (uint8_t)slot;
    r->heard = ++p->heard;
}

/* ---- Streams ---- */

bool ml_derp_pool_poll_open(struct ml_derp_pool *p, ml_time now, unsigned *slot, uint16_t *region)
{
    for (unsigned i = 0; i < p->slot_count; i++) {
        struct ml_derp_slot *s = &p->slots[i];
        if (s->state == SLOT_WANT && !s->must_close && now >= s->open_at) {
            s->state = SLOT_OPENING;
            *slot = i;
            *region = s->region;
            return true;
        }
    }
    return false;
}

bool ml_derp_pool_poll_close(struct ml_derp_pool *p, unsigned *slot)
{
    for (unsigned i = 0; i < p->slot_count; i++) {
        if (p->slots[i].must_close) {
            p->slots[i].must_close = false;
            *slot = i;
            return true;
        }
    }
    return false;
}

void ml_derp_pool_opened(struct ml_derp_pool *p, ml_time now, unsigned slot, const struct ml_derp_server *server)
{
    if (slot >= p->slot_count || p->slots[slot].state != SLOT_OPENING) {
        return;
    }
    struct ml_derp_slot *s = &p->slots[slot];
    struct ml_derp_server copy = *server;
    copy.is_home = s->region == p->home;
    s->state = SLOT_UP;
    ml_derp_client_open(&s->client, now, &copy);
}

unsigned ml_derp_pool_closed(struct ml_derp_pool *p, ml_time now, unsigned slot)
{
    if (slot >= p->slot_count) {
        return 0;
    }
    if (!has_stream(&p->slots[slot])) {
        p->slots[slot].must_close = false; /* the stream of the slot's former life ended before we asked for it */
        return 0;
    }
    return slot_failed(p, now, slot, false);
}

void ml_derp_pool_data(struct ml_derp_pool *p, ml_time now, unsigned slot, const uint8_t *buf, size_t len, size_t *used)
{
    *used = 0;
    if (slot < p->slot_count && p->slots[slot].state == SLOT_UP) {
        ml_derp_client_data(&p->slots[slot].client, now, buf, len, used);
    }
}

static void note_event(struct ml_derp_pool *p, ml_time now, unsigned slot, const struct ml_derp_event *ev)
{
    struct ml_derp_slot *s = &p->slots[slot];
    struct ml_derp_route *r;
    switch (ev->type) {
    case ML_DERP_EV_LOGIN:
        s->was_login = true;
        backoff_forget(p, s->region);
        break;
    case ML_DERP_EV_PEER_GONE:
        r = route_find(p, &ev->key);
        if (r && r->slot == slot) {
            r->slot = NO_SLOT;
        }
        break;
    case ML_DERP_EV_RESTARTING:
        s->restart_in = ev->reconnect_in < RESTART_MAX ? ev->reconnect_in : RESTART_MAX;
        break;
    case ML_DERP_EV_FAILED:
        slot_failed(p, now, slot, true);
        break;
    default:
        break;
    }
}

bool ml_derp_pool_poll_event(struct ml_derp_pool *p, ml_time now, unsigned *slot, uint16_t *region, struct ml_derp_event *ev)
{
    for (unsigned i = 0; i < p->slot_count; i++) {
        if (p->slots[i].state == SLOT_UP && ml_derp_client_poll_event(&p->slots[i].client, ev)) {
            *slot = i;
            *region = p->slots[i].region;
            note_event(p, now, i, ev);
            return true;
        }
    }
    return false;
}

size_t ml_derp_pool_tx_peek(const struct ml_derp_pool *p, unsigned slot, const uint8_t **buf)
{
    if (slot >= p->slot_count || p->slots[slot].state != SLOT_UP) {
        return 0;
    }
    return ml_derp_client_tx_peek(&p->slots[slot].client, buf);
}

void ml_derp_pool_tx_done(struct ml_derp_pool *p, unsigned slot, size_t n)
{
    if (slot < p->slot_count && p->slots[slot].state == SLOT_UP) {
        ml_derp_client_tx_done(&p->slots[slot].client, n);
    }
}

/* ---- Time ---- */

void ml_derp_pool_time(struct ml_derp_pool *p, ml_time now)
{
    for (unsigned i = 0; i < p->slot_count; i++) {
        struct ml_derp_slot *s = &p->slots[i];
        if (s->state == SLOT_FREE) {
            continue;
        }
        ml_derp_client_time(&s->client, now);
        if (s->region != p->home && now >= s->write_at + s->idle_for) {
            slot_release(p, i, has_stream(s));
        }
    }
}

ml_time ml_derp_pool_deadline(const struct ml_derp_pool *p)
{
    ml_time at = ML_NEVER;
    for (unsigned i = 0; i < p->slot_count; i++) {
        const struct ml_derp_slot *s = &p->slots[i];
        if (s->state == SLOT_FREE) {
            continue;
        }
        ml_time client = ml_derp_client_deadline(&s->client);
        at = client < at ? client : at;
        if (s->state == SLOT_WANT && s->open_at < at) {
            at = s->open_at;
        }
        if (s->region != p->home && s->write_at + s->idle_for < at) {
            at = s->write_at + s->idle_for;
        }
    }
    return at;
}

bool ml_derp_pool_is_connected(const struct ml_derp_pool *p, uint16_t region)
{
    unsigned slot = slot_of(p, region);
    return slot != NO_SLOT && p->slots[slot].state == SLOT_UP && p->slots[slot].was_login;
}
