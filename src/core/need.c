/*
 * Which peers matter when the tailnet is larger than the peer table, and how one that is not in it gets in.
 *
 *   - a pinned peer and one with a session stay; then come those that spoke with us lately and those somebody waits for, then those the
 *     rules let speak to us, then the others (enum ml_map_need).
 *   - a packet from or to a peer that was left out puts it on the list of the wanted, and the netmap is read again: the same
 *     poll, opened anew. The packet is lost; handshakes and connections repeat theirs.
 *   - while a message is being read the next reading is put off until its end.
 *   - the netmap is also read again when new rules make others matter, and when a full list left places free.
 *   - the pause between two readings doubles from REREAD_MIN to REREAD_MAX and is short again when REREAD_CALM passed without
 *     one being wanted, so whoever sends us packets under foreign names gets a bounded number of them.
 *
 * Owns the wanted and the recent. docs/netmap.md has policy and cost.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include <string.h>

#define WANTED_FOR  ML_SEC(60)
#define REREAD_MIN  ML_SEC(5)
#define REREAD_MAX  ML_SEC(3600)
#define REREAD_CALM ML_SEC(600)

/* ---- Reading again ---- */

static void want_reread(struct ml_engine *ml, ml_time now)
{
    struct core_need *n = &ml->need;
    ml_time at = n->has_reread && n->reread_last + n->reread_gap > now ? n->reread_last + n->reread_gap : now;
    n->reread_at = at < n->reread_at ? at : n->reread_at;
}

static bool is_anybody_wanted(const struct ml_engine *ml, ml_time now)
{
    for (unsigned i = 0; i < CORE_WANTED; i++) {
        if (ml->need.wanted[i].is_used && now - ml->need.wanted[i].at < WANTED_FOR) {
            return true;
        }
    }
    return false;
}

void core_need_time(struct ml_engine *ml, ml_time now)
{
    struct core_need *n = &ml->need;
    if (now < n->reread_at) {
        return;
    }
    n->reread_at = ML_NEVER;
    if (!n->is_list_stale && !is_anybody_wanted(ml, now)) {
        return;
    }
    if (!ml_control_reread(&ml->control, now)) {
        /* A list of ten thousand takes a small chip seconds. Whom it still brings need not be asked for again, and whom it does
         * not is asked for right after it: an attempt that does nothing must not lengthen the pause. */
        n->is_reread_put_off = true;
        return;
    }
    n->is_list_stale = false;
    bool is_calm = !n->has_reread || now - n->reread_last >= n->reread_gap + REREAD_CALM;
    n->reread_gap = is_calm ? REREAD_MIN : (n->reread_gap < REREAD_MAX / 2 ? 2 * n->reread_gap : REREAD_MAX);
    n->reread_last = now;
    n->has_reread = true;
    ml->stats.map_rereads++;
    ml_log_text(&ml->log, ML_LOG_INFO, "reading the netmap again for peers that this device has no room for");
}

ml_time core_need_deadline(const struct ml_engine *ml)
{
    return ml->need.reread_at;
}

void core_need_clear(struct ml_engine *ml)
{
    ml_zero(&ml->need);
    ml->need.reread_at = ML_NEVER;
}

/* ---- The wanted ---- */

static void want(struct ml_engine *ml, ml_time now, const uint8_t what[16], bool is_ip)
{
    struct core_wanted *at = &ml->need.wanted[0];
    for (unsigned i = 0; i < CORE_WANTED; i++) {
        struct core_wanted *w = &ml->need.wanted[i];
        if (w->is_used && w->is_ip == is_ip && memcmp(w->what, what, 16) == 0) {
            at = w;
            break;
        }
        if (!w->is_used || (at->is_used && w->at < at->at)) {
            at = w; /* a free place, or the one wanted longest ago */
        }
    }
    *at = (struct core_wanted){.is_used = true, .is_ip = is_ip, .at = now};
    memcpy(at->what, what, 16);
    want_reread(ml, now);
}

void core_want_key(struct ml_engine *ml, ml_time now, const ml_node_key *key)
{
    if (ml_map_may_omit_key(&ml->map, key)) {
        want(ml, now, key->b, false);
    }
}

void core_want_ip(struct ml_engine *ml, ml_time now, const ml_ip *ip)
{
    if (ml_map_may_omit_ip(&ml->map, ip)) {
        want(ml, now, ip->b, true);
    }
}

static bool is_wanted(const struct core_wanted *w, const struct ml_node *n)
{
    if (!w->is_used || !w->is_ip) {
        return w->is_used && memcmp(w->what, n->key.b, 16) == 0;
    }
    for (uint8_t i = 0; i < n->address_count; i++) {
        if (memcmp(w->what, n->addresses[i].ip.b, 16) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- The recent ---- */

void core_note_recent(struct ml_engine *ml, ml_time now, uint64_t id)
{
    uint64_t *r = ml->need.recent;
    if (!core_is_recent(ml, id)) {
        core_cache_touch(ml, now, false);
    }
    unsigned at = 0;
    while (at < CORE_RECENT - 1 && r[at] != id) {
        at++;
    }
    memmove(&r[1], &r[0], at * sizeof r[0]);
    r[0] = id;
}

void core_forget_recent(struct ml_engine *ml, uint64_t id)
{
    uint64_t *r = ml->need.recent;
    for (unsigned i = 0; i < CORE_RECENT; i++) {
        if (r[i] == id) {
            memmove(&r[i], &r[i + 1], (CORE_RECENT - 1 - i) * sizeof r[0]);
            r[CORE_RECENT - 1] = 0;
        }
    }
}

bool core_is_recent(const struct ml_engine *ml, uint64_t id)
{
    for (unsigned i = 0; i < CORE_RECENT; i++) {
        if (id && ml->need.recent[i] == id) {
            return true;
        }
    }
    return false;
}

/* ---- The pinned ---- */

static bool is_pinned(const struct ml_engine *ml, const ml_ip *ip)
{
    for (unsigned i = 0; ml_ip_is_set(ip) && i < ML_PINS; i++) {
        if (ml_ip_equal(&ml->pins[i], ip)) {
            return true;
        }
    }
    return false;
}

enum ml_map_need core_need_at_rest(const struct ml_engine *ml, uint16_t peer)
{
    const struct ml_peer *p = ml_map_peer(&ml->map, peer);
    if (!p) {
        return ML_NEED_NONE;
    }
    ml_ip ip4 = ml_map_peer_ip4(p), ip6 = ml_map_peer_ip6(p);
    if (is_pinned(ml, &ip4) || is_pinned(ml, &ip6)) {
        return ML_NEED_LIVE;
    }
    return core_is_recent(ml, p->id) ? ML_NEED_RECENT : ML_NEED_NONE;
}

ml_err ml_pin_peer(ml_engine *ml, ml_time now, const ml_ip *peer_ip, bool is_on)
{
    if (!ml || !peer_ip || !ml_ip_is_set(peer_ip)) {
        return ML_ERR_ARG;
    }
    ml_ip *at = NULL;
    unsigned count = 0;
    for (unsigned i = 0; i < ML_PINS; i++) {
        if (ml_ip_equal(&ml->pins[i], peer_ip)) {
            at = &ml->pins[i];
            break;
        }
        if (!ml_ip_is_set(&ml->pins[i])) {
            at = at ? at : &ml->pins[i];
        } else {
            count++;
        }
    }
    if (is_on && (!at || (!ml_ip_equal(at, peer_ip) && count + 1U >= ml->max_peers))) {
        return ML_ERR_FULL;
    }
    uint16_t peer = ml_map_find_ip(&ml->map, peer_ip);
    if (is_on) {
        *at = *peer_ip;
        if (peer == ML_PEER_NONE) {
            core_want_ip(ml, now, peer_ip);
        }
    } else if (at && ml_ip_equal(at, peer_ip)) {
        ml_zero(at);
    }
    if (peer != ML_PEER_NONE && core_slot_of(ml, peer) == ML_PATH_NO_SLOT) {
        ml_map_set_need(&ml->map, peer, core_need_at_rest(ml, peer));
    }
    return ML_OK;
}

/* ---- Need of a peer ---- */

static enum ml_map_need need_by_rules(const struct ml_engine *ml, const ml_ip *ip4, const ml_ip *ip6)
{
    bool is_allowed = (ml_ip_is_set(ip4) && ml_filter_names_source(&ml->filter, ip4)) ||
                      (ml_ip_is_set(ip6) && ml_filter_names_source(&ml->filter, ip6));
    return is_allowed ? ML_NEED_ALLOWED : ML_NEED_NONE;
}

/* The table is full: from now on it matters what its peers are needed for. True when there are some that nobody needs. */
static bool weigh_all(struct ml_engine *ml)
{
    bool has_idle = false;
    for (uint16_t i = 0; i < ml->map.peer_count; i++) {
        uint16_t slot = ml_map_at(&ml->map, i);
        const struct ml_peer *p = ml_map_peer(&ml->map, slot);
        if (p && ml_map_need_of(&ml->map, slot) <= ML_NEED_ALLOWED) {
            ml_ip ip4 = ml_map_peer_ip4(p), ip6 = ml_map_peer_ip6(p);
            enum ml_map_need need = need_by_rules(ml, &ip4, &ip6);
            ml_map_set_need(&ml->map, slot, need);
            has_idle = has_idle || need == ML_NEED_NONE;
        }
    }
    return has_idle;
}

/* Somebody who was waited for is coming and the table is full: whoever was used longest ago stands back. */
static void stand_back(struct ml_engine *ml, ml_time now)
{
    uint16_t who = ML_PEER_NONE;
    for (uint16_t i = 0; i < ml->map.peer_count; i++) {
        if (ml_map_need_of(&ml->map, ml_map_at(&ml->map, i)) <= ML_NEED_ALLOWED) {
            return; /* there is somebody to leave */
        }
    }
    for (unsigned i = CORE_RECENT; i-- > 0 && who == ML_PEER_NONE;) {
        uint16_t slot = ml_map_find_id(&ml->map, ml->need.recent[i]);
        who = ml_map_need_of(&ml->map, slot) == ML_NEED_RECENT ? slot : ML_PEER_NONE;
    }
    if (who == ML_PEER_NONE) {
        who = core_slot_close_idle(ml, now);
    }
    const struct ml_peer *p = ml_map_peer(&ml->map, who);
    if (p) {
        core_forget_recent(ml, p->id);
        ml_map_set_need(&ml->map, who, ML_NEED_NONE);
    }
}

static enum ml_map_need need_of_node(struct ml_engine *ml, ml_time now, const struct ml_node *n)
{
    for (unsigned i = 0; i < CORE_WANTED; i++) {
        if (is_wanted(&ml->need.wanted[i], n)) {
            ml_zero(&ml->need.wanted[i]);
            if (ml->map.peer_count == ml->max_peers && ml_map_find_id(&ml->map, n->id) == ML_PEER_NONE) {
                stand_back(ml, now);
            }
            core_note_recent(ml, now, n->id);
        }
    }
    for (uint8_t i = 0; i < n->address_count; i++) {
        if (is_pinned(ml, &n->addresses[i].ip)) {
            return ML_NEED_LIVE;
        }
    }
    if (core_is_recent(ml, n->id)) {
        return ML_NEED_RECENT;
    }
    if (ml->map.peer_count < ml->max_peers) {
        return ML_NEED_NONE; /* there is room: nobody asks */
    }
    if (!ml->need.is_weighed) {
        ml->need.is_weighed = true;
        (void)weigh_all(ml);
    }
    const ml_ip none = {{0}}, *ip4 = &none, *ip6 = &none;
    for (uint8_t i = n->address_count; i-- > 0;) {
        *(ml_ip_is4(&n->addresses[i].ip) ? &ip4 : &ip6) = &n->addresses[i].ip;
    }
    return need_by_rules(ml, ip4, ip6);
}

void core_need_before(struct ml_engine *ml, ml_time now, const struct ml_delta *d)
{
    switch (d->type) {
    case ML_DELTA_BEGIN:
        ml->need.is_weighed = false;
        ml->need.has_list = false;
        break;
    case ML_DELTA_PEERS_BEGIN:
        ml->need.has_list = true;
        ml->need.list_rules = ml_filter_digest(&ml->filter);
        break;
    case ML_DELTA_PEER:
        if (d->node) {
            ml->map.next_need = need_of_node(ml, now, d->node);
        }
        break;
    default:
        break;
    }
}

void core_need_message_end(struct ml_engine *ml, ml_time now, bool has_new_rules)
{
    struct core_need *n = &ml->need;
    if (n->is_reread_put_off) {
        n->is_reread_put_off = false;
        want_reread(ml, now);
    }
    if (!ml->map.omitted) {
        return;
    }
    /* The peers of a list are weighed by the rules before it: with others, others may matter. */
    bool is_other = has_new_rules && ml_filter_digest(&ml->filter) != n->list_rules && weigh_all(ml);
    if (is_other) {
        n->list_rules = ml_filter_digest(&ml->filter);
    }
    if (is_other || (n->has_list && ml->map.peer_count < ml->max_peers)) {
        n->is_list_stale = true;
        want_reread(ml, now);
    }
}
