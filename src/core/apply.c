/*
 * Netmap deltas -> tables, and what a change of a table ends at once: sessions of peers that are gone, expired or have a new
 * key; connections to relays that are gone; access that new rules no longer give.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include <string.h>

/* Server and device disagree by less than this: take the device's clock as it is (control.md 13.1). */
#define CLOCK_TOLERANCE_S 60
#define EXPIRY_SLACK_S    10
#define EXPIRY_CHECK_MAX  ML_SEC(3600)
#define REMOVALS_TOLD     8 /* lines in the log */
#define REMOVALS_WITHIN   ML_SEC(60)

static void log_peer(struct ml_engine *ml, ml_log_level level, const char *what, uint16_t peer, uint64_t id)
{
    char line[ML_NAME_CAP + 64];
    char name[ML_NAME_CAP];
    if (!ml_log_on(&ml->log, level)) {
        return;
    }
    struct ml_writer w = ml_writer_of((uint8_t *)line, sizeof line);
    ml_write_str(&w, what);
    if (peer != ML_PEER_NONE && ml_map_peer_name(&ml->map, peer, name, sizeof name)) {
        ml_write_str(&w, name);
    } else {
        ml_write_str(&w, "node ");
        ml_write_dec(&w, id);
    }
    ml_log_text(&ml->log, level, ml_write_end_str(&w));
}

/* A tailnet under churn must not fill the log: a few removals a minute are told, the others only at debug level. */
static ml_log_level removal_level(struct ml_engine *ml, ml_time now)
{
    if (ml->removals_told == 0 || now - ml->removals_at >= REMOVALS_WITHIN) {
        ml->removals_at = now;
        ml->removals_told = 0;
    }
    if (ml->removals_told == REMOVALS_TOLD) {
        return ML_LOG_DEBUG;
    }
    ml->removals_told++;
    return ML_LOG_INFO;
}

static void close_slot_of(struct ml_engine *ml, uint16_t peer)
{
    uint16_t slot = core_slot_of(ml, peer);
    if (slot != ML_PATH_NO_SLOT) {
        core_slot_close(ml, slot);
    }
}

/* One change of the peer table. */
static void peer_changed(struct ml_engine *ml, ml_time now, const struct ml_map_change *c)
{
    if (!c->what) {
        return;
    }
    if (c->what & ML_MAP_REMOVED) {
        close_slot_of(ml, c->slot);
        core_peer_event(ml, ML_EV_PEER_REMOVED, c->old_id);
        log_peer(ml, removal_level(ml, now), "peer removed: ", ML_PEER_NONE, c->old_id);
        ml->has_peers_changed = true;
        if (core_is_recent(ml, c->old_id)) {
            core_forget_recent(ml, c->old_id);
            core_cache_touch(ml, now, true);
        }
    }
    const struct ml_peer *p = ml_map_peer(&ml->map, c->slot);
    if (!p) {
        return;
    }
    if (c->what & ML_MAP_ADDED) {
        core_peer_event(ml, ML_EV_PEER_ADDED, p->id);
        log_peer(ml, ML_LOG_DEBUG, "peer added: ", c->slot, p->id);
        ml->has_peers_changed = true;
        return;
    }
    if (c->what & (ML_MAP_KEY | ML_MAP_EXPIRED)) {
        close_slot_of(ml, c->slot);
        log_peer(ml, ML_LOG_INFO, c->what & ML_MAP_KEY ? "peer has a new key: " : "peer's key has expired: ", c->slot, p->id);
    } else if (c->what & (ML_MAP_DISCO | ML_MAP_ENDPOINTS | ML_MAP_REGION | ML_MAP_RENEWED)) {
        uint16_t slot = core_slot_of(ml, c->slot);
        if (slot != ML_PATH_NO_SLOT) {
            core_slot_refresh(ml, now, slot);
        }
    }
    if (c->what & (ML_MAP_ADDRESS | ML_MAP_JAILED)) {
        ml->has_peers_changed = true;
    }
    if (core_is_recent(ml, p->id)) {
        core_cache_touch(ml, now, (c->what & (ML_MAP_KEY | ML_MAP_EXPIRED | ML_MAP_ADDRESS | ML_MAP_JAILED)) != 0);
    }
    core_peer_event(ml, ML_EV_PEER_CHANGED, p->id);
}

static void region_changed(struct ml_engine *ml, ml_time now, const struct ml_derp_change *c)
{
    if (c->what & ML_DERP_REGION_REMOVED) {
        ml_derp_pool_close_region(&ml->derp, now, c->old_id);
    }
    if (c->what & ML_DERP_REGION_CHANGED) {
        ml_derp_pool_close_region(&ml->derp, now, c->id);
    }
}

/* The region table stands still again: measure it. */
void core_regions_ready(struct ml_engine *ml, ml_time now)
{
    for (uint16_t i = 0; i < ml->regions.region_count; i++) {
        ml->scores[i] = ml_derp_table_score(&ml->regions, ml->regions.regions[i].id);
    }
    ml->is_derp_map_open = false;
    ml_netcheck_set_regions(&ml->netcheck, now, ml->regions.regions, ml->regions.region_count, ml->scores);
    /* The home of an earlier run, or the present one, is connected without waiting for the measurement. */
    uint16_t home = ml->derp.home ? ml->derp.home : ml->cache.home_region;
    const struct ml_derp_region *r = home ? ml_derp_table_find(&ml->regions, home) : NULL;
    if (!r || r->no_measure_no_home || ml->no_derp) {
        home = 0;
    }
    if (ml->derp.home != home) {
        ml_derp_pool_set_home(&ml->derp, now, home);
        core_publish(ml, now);
    }
    ml_netcheck_start(&ml->netcheck, now, true);
}

static void self_changed(struct ml_engine *ml, ml_time now, const struct ml_node *n)
{
    struct core_self *s = &ml->self;
    struct core_self before = *s;
    s->node_id = n->id;
    s->user_id = n->user_id;
    ml_str_set(s->name, sizeof s->name, n->name);
    s->ip4 = s->ip6 = (ml_ip){{0}};
    s->address_count = 0;
    for (uint8_t i = 0; i < n->address_count; i++) {
        const ml_ip *ip = &n->addresses[i].ip;
        s->addresses[s->address_count++] = n->addresses[i];
        if (ml_ip_is4(ip) && !ml_ip_is_set(&s->ip4)) {
            s->ip4 = *ip;
        } else if (ml_ip_is6(ip) && !ml_ip_is_set(&s->ip6)) {
            s->ip6 = *ip;
        }
    }
    s->key_expiry = n->key_expiry;
    s->is_authorized = n->is_machine_authorized;
    s->is_known = true;
    s->is_expired = n->is_expired;
    ml_filter_set_locals(&ml->filter, s->addresses, s->address_count);
    core_check_expiry(ml, now);
    if (before.node_id != s->node_id || strcmp(before.name, s->name) != 0 || !ml_ip_equal(&before.ip4, &s->ip4) ||
        !ml_ip_equal(&before.ip6, &s->ip6) || before.key_expiry != s->key_expiry || before.is_expired != s->is_expired ||
        before.is_authorized != s->is_authorized || !before.is_known) {
        core_mark(ml, CORE_MARK_SELF);
    }
    if (!ml_ip_equal(&ml->cache.ip4, &s->ip4) || !ml_ip_equal(&ml->cache.ip6, &s->ip6)) {
        ml->cache.ip4 = s->ip4;
        ml->cache.ip6 = s->ip6;
        core_store(ml, ML_STORE_CACHE);
    }
}

static void lock_changed(struct ml_engine *ml, ml_time now, bool is_on)
{
    if (ml->is_locked == is_on) {
        return;
    }
    ml->is_locked = is_on;
    core_set_problem(
        ml, CORE_PROBLEM_LOCK,
        is_on ? "this tailnet has Tailnet Lock enabled, whose signatures microlink cannot check yet, so it carries no "
                "traffic; disable Tailnet Lock, or use an official client here"
              : "");
    core_cache_touch(ml, now, true);
    if (is_on) {
        for (uint16_t i = 0; i < ml->max_slots; i++) {
            core_slot_close(ml, i);
        }
    }
}

/* The filter must not admit peers whose node keys nobody signed (control.md 10.6). */
static void check_unsigned(struct ml_engine *ml)
{
    ml_filter_unsigned_begin(&ml->filter);
    for (uint16_t i = 0; ml->map.unsigned_count && i < ml->map.peer_count; i++) {
        const struct ml_peer *p = ml_map_peer(&ml->map, ml_map_at(&ml->map, i));
        if (!p || !(p->flags & ML_PEER_IS_UNSIGNED)) {
            continue;
        }
        ml_ip ip4 = ml_map_peer_ip4(p), ip6 = ml_map_peer_ip6(p);
        if (ml_ip_is_set(&ip4)) {
            ml_filter_unsigned_prefix(&ml->filter, &(ml_prefix){.ip = ip4, .bits = 32});
        }
        if (ml_ip_is_set(&ip6)) {
            ml_filter_unsigned_prefix(&ml->filter, &(ml_prefix){.ip = ip6, .bits = 128});
        }
    }
}

static void message_done(struct ml_engine *ml, ml_time now)
{
    char text[ML_TEXT_CAP];
    struct ml_writer w = ml_writer_of((uint8_t *)text, sizeof text);
    core_need_message_end(ml, now, ml->has_rules_changed);
    if (ml->has_rules_changed) {
        core_cache_touch(ml, now, true);
    }
    if (ml->has_rules_changed || ml->has_peers_changed) {
        check_unsigned(ml);
        core_set_problem(ml, CORE_PROBLEM_RULES,
                         ml_filter_is_partial(&ml->filter)
                             ? "the tailnet has more access rules than this device keeps, so it allows less than they say; "
                               "raise max_rules or simplify the policy"
                             : "");
        ml->has_rules_changed = ml->has_peers_changed = false;
    }
    if (ml->map.omitted) {
        ml_write_str(&w, "the tailnet has ");
        ml_write_dec(&w, ml->map.omitted);
        ml_write_str(&w, " peers more than this device keeps (");
        ml_write_dec(&w, ml->max_peers);
        ml_write_str(&w, "); raise max_peers");
    }
    core_set_problem(ml, CORE_PROBLEM_PEERS, ml_write_end_str(&w));
    ml_netcheck_set_wanted(&ml->netcheck, now, ml->identity.has_node && ml->map.peer_count > 0);
    core_check_expiry(ml, now);
}

static void control_time(struct ml_engine *ml, ml_time now, int64_t unix_ms)
{
    if (unix_ms <= 0) {
        return;
    }
    if (ml->wall_ms == 0) {
        ml_set_wall_clock(ml, now, (uint64_t)unix_ms);
        return;
    }
    int64_t ours = (int64_t)((ml->wall_ms + (now - ml->wall_at) / 1000U) / 1000U);
    int64_t diff = unix_ms / 1000 - ours;
    ml->control_offset_s = diff > CLOCK_TOLERANCE_S || diff < -CLOCK_TOLERANCE_S ? diff : 0;
}

void core_check_expiry(struct ml_engine *ml, ml_time now)
{
    int64_t unix_now = core_unix_now(ml, now);
    struct ml_map_change change;
    while (unix_now && ml_map_expire(&ml->map, unix_now, &change)) {
        peer_changed(ml, now, &change);
    }
    ml_time next = EXPIRY_CHECK_MAX;
    int64_t peer_at = ml_map_next_expiry(&ml->map);
    int64_t self_at = ml->self.key_expiry;
    if (unix_now && peer_at > unix_now && (uint64_t)(peer_at - unix_now + EXPIRY_SLACK_S) < next / ML_USEC_PER_SEC) {
        next = ML_SEC(peer_at - unix_now + EXPIRY_SLACK_S);
    }
    bool is_own_expired = ml->self.is_expired || (self_at && unix_now >= ML_MAP_CLOCK_MIN && self_at <= unix_now);
    if (!is_own_expired && unix_now && self_at > unix_now && (uint64_t)(self_at - unix_now) < next / ML_USEC_PER_SEC) {
        next = ML_SEC(self_at - unix_now);
    }
    ml->expiry_check_at = now + next;
    ml->self.is_expired = is_own_expired; /* a new self node said nothing of the clock */
    if (is_own_expired != ml->is_expiry_told) {
        ml->is_expiry_told = is_own_expired;
        core_set_problem(ml, CORE_PROBLEM_EXPIRED,
                         is_own_expired ? "this node's key has expired; log in again, or give it a new auth key" : "");
        if (is_own_expired) {
            for (uint16_t i = 0; i < ml->max_slots; i++) {
                core_slot_close(ml, i);
            }
            ml_control_set_expired(&ml->control, now);
        }
        core_mark(ml, CORE_MARK_SELF);
    }
}

void core_apply(void *ctx, const struct ml_delta *d)
{
    const struct core_apply_ctx *c = ctx;
    struct ml_engine *ml = c->ml;
    ml_time now = c->now;
    struct ml_map_change change;
    struct ml_derp_change derp_change;

    core_need_before(ml, now, d);
    ml_map_apply(&ml->map, d, core_unix_now(ml, now), &change);
    peer_changed(ml, now, &change);
    if (d->type == ML_DELTA_PEERS_END || d->type == ML_DELTA_END) {
        while (ml_map_sweep(&ml->map, &change)) {
            peer_changed(ml, now, &change);
        }
    }
    ml_derp_table_apply(&ml->regions, d, &ml->map.t, ml->derp.home, &derp_change);
    region_changed(ml, now, &derp_change);
    core_count(ml, ml_filter_apply(&ml->filter, d));

    switch (d->type) {
    case ML_DELTA_SELF:
        self_changed(ml, now, d->node);
        break;
    case ML_DELTA_DERP_BEGIN:
        ml->is_derp_map_open = true;
        break;
    case ML_DELTA_DERP_END:
        while (ml_derp_table_sweep(&ml->regions, &derp_change)) {
            region_changed(ml, now, &derp_change);
        }
        core_regions_ready(ml, now);
        break;
    case ML_DELTA_DERP_SCORE_RESET:
    case ML_DELTA_DERP_SCORE:
        if (!ml->is_derp_map_open) {
            for (uint16_t i = 0; i < ml->regions.region_count; i++) {
                ml->scores[i] = ml_derp_table_score(&ml->regions, ml->regions.regions[i].id);
            }
        }
        break;
    case ML_DELTA_RULES_BEGIN:
    case ML_DELTA_RULES_DELETE:
    case ML_DELTA_RULES_CLEAR_ALL:
        ml->has_rules_changed = true;
        break;
    case ML_DELTA_USER:
        if (d->id == ml->self.user_id && d->text) {
            ml_str_set(ml->self.login, sizeof ml->self.login, d->text);
        }
        break;
    case ML_DELTA_DOMAIN:
        ml_str_set(ml->self.domain, sizeof ml->self.domain, d->text);
        break;
    case ML_DELTA_TIME:
        control_time(ml, now, d->unix_ms);
        break;
    case ML_DELTA_TKA:
        lock_changed(ml, now, d->flag);
        break;
    case ML_DELTA_HEALTH_BEGIN:
        core_set_problem(ml, CORE_PROBLEM_HEALTH, "");
        break;
    case ML_DELTA_HEALTH:
        if (!core_problem(ml, CORE_PROBLEM_HEALTH)[0]) {
            core_set_problem(ml, CORE_PROBLEM_HEALTH, d->text);
        }
        break;
    case ML_DELTA_END:
        message_done(ml, now);
        break;
    case ML_DELTA_ABORT:
        if (ml->is_derp_map_open) {
            core_regions_ready(ml, now);
        }
        break;
    default: /* for the tables above, or of no concern */
        break;
    }
}
