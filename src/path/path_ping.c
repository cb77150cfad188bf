/*
 * What DISCO sends: the table of outstanding pings, the queue of pongs, CLI pings, and the sealing of all of it on demand.
 *
 * A ping is queued when it is decided on and gets its time when it is polled, so that waiting for the drain does not count as
 * latency. dataplane.md 3.3, 4.4, 4.7.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/key.h"
#include "base/rng.h"
#include "path/path_internal.h"

/* A discovery ping this old gives its place to a new one when the table is full: most round trips are shorter. */
#define YIELD_AFTER ML_SEC(1)
/* A CLI ping to a peer that may not know us yet is repeated so often, this long after each other. */
#define CLI_REPEATS 3
#define CLI_REPEAT  ML_MSEC(250)
/* A call-me-maybe that found no fresh endpoints for this long is pointless: discovery asks for a new one. */
#define CMM_PATIENCE ML_SEC(10)

/* ---- Outstanding pings ---- */

static struct ml_path_ping *ping_room(struct ml_path *p, ml_time now, uint16_t slot, enum ml_path_purpose purpose)
{
    struct ml_path_ping *unused = NULL, *victim = NULL, *own = NULL;
    size_t own_count = 0;
    for (size_t i = 0; i < ML_PATH_PINGS; i++) {
        struct ml_path_ping *g = &p->pings[i];
        if (g->state == ML_PING_FREE) {
            unused = g;
            continue;
        }
        if (g->purpose != ML_PURPOSE_DISCOVERY) {
            continue;
        }
        if (!victim || g->at < victim->at) {
            victim = g;
        }
        if (g->slot == slot) {
            own_count++;
            own = !own || g->at < own->at ? g : own;
        }
    }
    if (purpose == ML_PURPOSE_DISCOVERY && own_count >= ML_PATH_PINGS_EACH) {
        victim = own;
    } else if (unused) {
        return unused;
    }
    if (victim && purpose == ML_PURPOSE_DISCOVERY && now - victim->at < YIELD_AFTER) {
        return NULL;
    }
    return victim;
}

bool ml_path_ping_queue(struct ml_path *p, ml_time now, uint16_t slot, const ml_addr *to, uint16_t derp_region,
                        enum ml_path_purpose purpose, uint8_t cli)
{
    if (!p->has_keys || !ml_key_is_set(p->peers[slot].disco) || (p->cfg.no_disco && derp_region == 0)) {
        return false;
    }
    struct ml_path_ping *g = ping_room(p, now, slot, purpose);
    if (!g) {
        return false;
    }
    ml_zero(g);
    ml_random_fill(p->cfg.rng, g->tx, sizeof g->tx);
    g->state = ML_PING_QUEUED;
    g->purpose = (uint8_t)purpose;
    g->slot = slot;
    g->derp_region = derp_region;
    g->cli = cli;
    g->at = now;
    if (to) {
        g->to = *to;
    }
    return true;
}

struct ml_path_ping *ml_path_ping_find(struct ml_path *p, ml_time now, const uint8_t tx[ML_DISCO_TX_LEN],
                                       const ml_disco_key *disco)
{
    for (size_t i = 0; i < ML_PATH_PINGS; i++) {
        struct ml_path_ping *g = &p->pings[i];
        if (g->state == ML_PING_SENT && now - g->at < ML_PATH_PING_TIMEOUT && memcmp(g->tx, tx, sizeof g->tx) == 0 &&
            ml_key_equal(p->peers[g->slot].disco, disco)) {
            return g;
        }
    }
    return NULL;
}

void ml_path_ping_forget_slot(struct ml_path *p, uint16_t slot)
{
    for (size_t i = 0; i < ML_PATH_PINGS; i++) {
        if (p->pings[i].state != ML_PING_FREE && p->pings[i].slot == slot) {
            ml_zero(&p->pings[i]);
        }
    }
    for (size_t i = 0; i < ML_PATH_CLI; i++) {
        struct ml_path_cli *c = &p->cli[i];
        if (c->is_used && !c->is_done && c->slot == slot) {
            c->is_done = true;
            c->result.is_timeout = true;
        }
    }
}

static bool cli_queue(struct ml_path *p, ml_time now, uint16_t slot, uint8_t cli)
{
    const struct ml_path_peer *peer = &p->peers[slot];
    if (ml_path_is_trusted(p, peer, now)) {
        ml_addr to = ml_path_best_addr(peer);
        return ml_path_ping_queue(p, now, slot, &to, 0, ML_PURPOSE_CLI, cli);
    }
    bool any = false;
    if (peer->home_region && !p->cfg.no_derp) {
        any = ml_path_ping_queue(p, now, slot, NULL, peer->home_region, ML_PURPOSE_CLI, cli);
    }
    for (size_t k = 0; k < ML_PATH_CANDIDATES; k++) {
        const struct ml_path_candidate *c = &peer->cand[k];
        if (c->from && ml_path_family_usable(p, c->ip6 == 0)) {
            ml_addr to = ml_path_cand_addr(peer, c);
            any |= ml_path_ping_queue(p, now, slot, &to, 0, ML_PURPOSE_CLI, cli);
        }
    }
    return any;
}

/* Over the relay alone: one way is enough, and the table of pings is small. */
static void cli_repeat(struct ml_path *p, ml_time now, uint8_t i)
{
    struct ml_path_cli *c = &p->cli[i];
    uint16_t home = p->cfg.no_derp ? 0 : p->peers[c->slot].home_region;
    c->repeats--;
    c->repeat_at = c->repeats ? now + CLI_REPEAT : ML_NEVER;
    if (home) {
        (void)ml_path_ping_queue(p, now, c->slot, NULL, home, ML_PURPOSE_CLI, (uint8_t)(i + 1));
    }
}

void ml_path_ping_on_time(struct ml_path *p, ml_time now)
{
    for (size_t i = 0; i < ML_PATH_PINGS; i++) {
        struct ml_path_ping *g = &p->pings[i];
        if (g->state == ML_PING_FREE || now - g->at < ML_PATH_PING_TIMEOUT) {
            continue;
        }
        struct ml_path_peer *peer = &p->peers[g->slot];
        if (g->state == ML_PING_SENT && ml_path_is_best(peer, &g->to) && !ml_path_is_trusted(p, peer, now)) {
            ml_path_best_clear(peer);
        }
        ml_zero(g);
    }
    for (uint8_t i = 0; i < ML_PATH_CLI; i++) {
        struct ml_path_cli *c = &p->cli[i];
        if (!c->is_used || c->is_done) {
            continue;
        }
        if (now - c->at >= ML_PATH_PING_TIMEOUT) {
            c->is_done = true;
            c->result.is_timeout = true;
        } else if (now >= c->repeat_at) {
            cli_repeat(p, now, i);
        }
    }
    for (size_t i = 0; i < p->peer_count; i++) {
        struct ml_path_peer *peer = &p->peers[i];
        if (peer->is_cmm_wanted && ml_path_since(p, now, peer->cmm_wanted_at) >= CMM_PATIENCE) {
            peer->is_cmm_wanted = false;
        }
    }
}

ml_time ml_path_ping_deadline(const struct ml_path *p)
{
    ml_time first = ML_NEVER;
    for (size_t i = 0; i < ML_PATH_PINGS; i++) {
        if (p->pings[i].state != ML_PING_FREE && p->pings[i].at + ML_PATH_PING_TIMEOUT < first) {
            first = p->pings[i].at + ML_PATH_PING_TIMEOUT;
        }
    }
    for (size_t i = 0; i < ML_PATH_CLI; i++) {
        const struct ml_path_cli *c = &p->cli[i];
        if (c->is_used && !c->is_done) {
            ml_time at = c->at + ML_PATH_PING_TIMEOUT;
            at = c->repeat_at < at ? c->repeat_at : at;
            first = at < first ? at : first;
        }
    }
    for (size_t i = 0; i < p->peer_count; i++) {
        const struct ml_path_peer *peer = &p->peers[i];
        if (peer->is_cmm_wanted && ml_path_time(p, peer->cmm_wanted_at) + CMM_PATIENCE < first) {
            first = ml_path_time(p, peer->cmm_wanted_at) + CMM_PATIENCE;
        }
    }
    return first;
}

/* ---- Pongs ---- */

bool ml_path_pong_queue(struct ml_path *p, const struct ml_path_in *in, const ml_addr *src)
{
    if (p->pong_count == ML_PATH_PONGS) {
        return false;
    }
    struct ml_path_reply *r = &p->pongs[(p->pong_head + p->pong_count++) % ML_PATH_PONGS];
    *r = (struct ml_path_reply){.derp_region = in->derp_region, .src = *src, .node = in->derp_source, .disco = in->sender};
    memcpy(r->tx, in->msg.tx, sizeof r->tx);
    return true;
}

/* ---- Sealing ---- */

static size_t seal(struct ml_path *p, ml_time now, const ml_disco_key *disco, const struct ml_disco_msg *m, uint8_t *buf,
                   size_t cap)
{
    const struct ml_disco_shared *shared = ml_path_shared(p, now, disco);
    if (!shared) {
        return 0;
    }
    uint8_t plain[ML_PATH_SEND_MAX - ML_DISCO_OVERHEAD];
    struct ml_writer w = ml_writer_of(plain, sizeof plain);
    ml_disco_write(&w, m);
    return w.bad ? 0 : ml_disco_seal(buf, cap, shared, &p->disco_pub, p->cfg.rng, plain, w.len);
}

/* Sealing failed for want of a curve operation: it is done in a later call. */
static bool is_put_off(const struct ml_path *p)
{
    return p->cfg.budget && p->cfg.budget->is_short;
}

static size_t send_pong(struct ml_path *p, ml_time now, struct ml_disco_msg *m, uint8_t *buf, size_t cap,
                        struct ml_path_dst *dst)
{
    while (p->pong_count > 0) {
        const struct ml_path_reply *r = &p->pongs[p->pong_head];
        m->type = ML_DISCO_PONG;
        memcpy(m->tx, r->tx, sizeof m->tx);
        m->src = r->src;
        size_t n = seal(p, now, &r->disco, m, buf, cap);
        if (n == 0 && is_put_off(p)) {
            return 0;
        }
        p->pong_head = (uint8_t)((p->pong_head + 1) % ML_PATH_PONGS);
        p->pong_count--;
        if (n > 0) {
            if (r->derp_region) {
                dst->derp_region = r->derp_region;
                dst->node = r->node;
            } else {
                dst->udp = r->src; /* the exact source of the ping, as we tell the peer */
            }
            return n;
        }
    }
    return 0;
}

static size_t send_ping(struct ml_path *p, ml_time now, struct ml_disco_msg *m, uint8_t *buf, size_t cap,
                        struct ml_path_dst *dst)
{
    for (size_t i = 0; i < ML_PATH_PINGS; i++) {
        struct ml_path_ping *g = &p->pings[i];
        if (g->state != ML_PING_QUEUED) {
            continue;
        }
        const struct ml_path_peer *peer = &p->peers[g->slot];
        m->type = ML_DISCO_PING;
        memcpy(m->tx, g->tx, sizeof m->tx);
        m->node_key = p->node_pub;
        size_t n = seal(p, now, peer->disco, m, buf, cap);
        if (n == 0 && is_put_off(p)) {
            return 0;
        }
        if (n == 0) {
            ml_zero(g); /* the peer's key is no good: as if it was never asked for */
            continue;
        }
        g->state = ML_PING_SENT;
        g->at = now;
        dst->udp = g->to;
        dst->derp_region = g->derp_region;
        if (g->derp_region) {
            dst->node = *peer->node;
        }
        return n;
    }
    return 0;
}

static size_t send_cmm(struct ml_path *p, ml_time now, struct ml_disco_msg *m, uint8_t *buf, size_t cap,
                       struct ml_path_dst *dst)
{
    bool is_fresh = p->cfg.no_stun || ml_endpoints_is_fresh(&p->ep, now);
    for (size_t i = 0; i < p->peer_count; i++) {
        struct ml_path_peer *peer = &p->peers[i];
        /* What is named between a notice's two messages the second one would leave out. */
        bool is_due = peer->is_cmm_wanted && is_fresh && peer->check != ML_CHECK_LEAVING;
        if (peer->notice == ML_NOTICE_NONE && !is_due) {
            continue;
        }
        if (peer->home_region == 0) {
            ml_path_cmm_done(peer);
            continue;
        }
        ml_path_cmm_write(p, now, peer, m);
        size_t n = seal(p, now, peer->disco, m, buf, cap);
        if (n == 0 && is_put_off(p)) {
            return 0;
        }
        bool is_discovery = peer->notice == ML_NOTICE_NONE;
        ml_path_cmm_done(peer);
        if (n > 0) {
            if (is_discovery) {
                ml_path_cmm_await(p, peer, now);
            }
            if (is_discovery && !peer->is_cmm_repeat) {
                dst->deaf = peer->is_unheard ? (uint16_t)(i + 1) : 0;
                peer->is_unheard = true;
            }
            dst->derp_region = peer->home_region;
            dst->node = *peer->node;
            return n;
        }
    }
    return 0;
}

size_t ml_path_poll_send(struct ml_path *p, ml_time now, uint8_t *buf, size_t cap, struct ml_path_dst *dst)
{
    struct ml_disco_msg m = {0};
    ml_zero(dst);
    if (!p->has_keys || cap < ML_PATH_SEND_MAX) {
        return 0;
    }
    size_t n = send_pong(p, now, &m, buf, cap, dst);
    if (n == 0) {
        n = send_ping(p, now, &m, buf, cap, dst);
    }
    if (n == 0) {
        n = send_cmm(p, now, &m, buf, cap, dst);
    }
    return n;
}

/* ---- CLI pings ---- */

ml_err ml_path_cli_ping(struct ml_path *p, ml_time now, uint16_t slot, uint32_t token, bool is_newcomer)
{
    if (!p->has_keys) {
        return ML_ERR_STATE;
    }
    if (slot >= p->peer_count || !ml_path_is_open(&p->peers[slot])) {
        return ML_ERR_NOT_FOUND;
    }
    uint8_t i = 0;
    while (i < ML_PATH_CLI && p->cli[i].is_used) {
        i++;
    }
    if (i == ML_PATH_CLI) {
        return ML_ERR_FULL;
    }
    struct ml_path_peer *peer = &p->peers[slot];
    if (!cli_queue(p, now, slot, (uint8_t)(i + 1))) {
        return ML_ERR_NO_PATH;
    }
    p->cli[i] = (struct ml_path_cli){.is_used = true, .slot = slot, .at = now, .result = {.token = token}};
    p->cli[i].repeats = CLI_REPEATS;
    p->cli[i].repeat_at = is_newcomer ? now + CLI_REPEAT : ML_NEVER;
    peer->last_send_at = ml_path_tick(p, ml_path_stamp(now));
    if (peer->heartbeat_at == ML_TICK_NEVER) {
        peer->heartbeat_at = ml_path_tick(p, now + ML_PATH_HEARTBEAT);
    }
    return ML_OK;
}

void ml_path_cli_finish(struct ml_path *p, uint8_t cli, const struct ml_path_pong *result)
{
    if (cli == 0 || !p->cli[cli - 1].is_used || p->cli[cli - 1].is_done) {
        return;
    }
    struct ml_path_cli *c = &p->cli[cli - 1];
    uint32_t token = c->result.token;
    c->result = *result;
    c->result.token = token;
    c->is_done = true;
}

bool ml_path_poll_pong(struct ml_path *p, struct ml_path_pong *out)
{
    for (uint8_t i = 0; i < ML_PATH_CLI; i++) {
        struct ml_path_cli *c = &p->cli[i];
        if (!c->is_used || !c->is_done) {
            continue;
        }
        *out = c->result;
        ml_zero(c);
        /* Its other pings go on as ordinary ones: the entry may serve the next CLI ping before they are answered. */
        for (size_t k = 0; k < ML_PATH_PINGS; k++) {
            if (p->pings[k].cli == i + 1) {
                p->pings[k].cli = 0;
            }
        }
        return true;
    }
    return false;
}
