/*
 * Answers for status and the application: copies out of the tables, nothing changes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include <string.h>

#define ACTIVE_WITHIN ML_SEC(120)

ml_state ml_get_state(const ml_engine *ml)
{
    return ml ? ml->state : ML_STATE_STOPPED;
}

void ml_get_self(const ml_engine *ml, ml_self_info *out)
{
    if (!out) {
        return;
    }
    memset(out, 0, sizeof *out);
    if (!ml) {
        return;
    }
    const struct core_self *s = &ml->self;
    out->node_id = s->node_id;
    memcpy(out->name, s->name, sizeof out->name);
    memcpy(out->hostname, ml->hostname, sizeof out->hostname);
    memcpy(out->domain, s->domain, sizeof out->domain);
    memcpy(out->user_login, s->login[0] ? s->login : ml->identity.login, sizeof out->user_login);
    out->user_id = s->user_id;
    out->ip4 = s->is_known ? s->ip4 : ml->cache.ip4;
    out->ip6 = s->is_known ? s->ip6 : ml->cache.ip6;
    out->node_key = ml->node_pub;
    out->disco_key = *ml_path_disco_key(&ml->path);
    out->machine_key = ml->machine_pub;
    out->home_region = ml->derp.home;
    out->key_expiry_unix = s->key_expiry > 0 ? (uint64_t)s->key_expiry : 0;
    out->is_expired = s->is_expired;
    out->endpoint_count = ml->path.ep.count < 8 ? ml->path.ep.count : 8;
    for (uint8_t i = 0; i < out->endpoint_count; i++) {
        out->endpoints[i] = ml->path.ep.list[i].addr;
    }
}

bool ml_is_masquerade(const ml_engine *ml, const ml_ip *ip)
{
    for (uint16_t i = 0; ml && ip && i < ml->map.t.extra_count; i++) {
        const struct ml_peer_extra *e = &ml->map.t.extras[i];
        if (e->kind == ML_EXTRA_MASQ && ml_ip_equal(&e->ip, ip)) {
            return true;
        }
    }
    return false;
}

size_t ml_get_peer_count(const ml_engine *ml)
{
    return ml ? ml->map.peer_count : 0;
}

static ml_err fill_peer(const ml_engine *ml, ml_time now, uint16_t peer, ml_peer_info *out)
{
    const struct ml_peer *p = ml_map_peer(&ml->map, peer);
    memset(out, 0, sizeof *out);
    if (!p) {
        return ML_ERR_NOT_FOUND;
    }
    out->node_id = p->id;
    ml_map_peer_name(&ml->map, peer, out->name, sizeof out->name);
    ml_str_copy(out->hostname, sizeof out->hostname, out->name, strcspn(out->name, "."));
    const char *os = ml_map_peer_os(p);
    ml_str_set(out->os, sizeof out->os, os);
    out->user_id = p->user_id;
    out->ip4 = ml_map_peer_ip4(p);
    out->ip6 = ml_map_peer_ip6(p);
    out->node_key = p->key;
    out->disco_key = p->disco;
    _Static_assert(ML_PEER_ENDPOINTS >= ML_PEER_EP_MAX, "every endpoint kept can be shown");
    out->endpoint_count = ml_map_peer_endpoints(p, out->endpoints);
    out->home_region = p->home_region;
    out->is_online_known = (p->flags & ML_PEER_IS_ONLINE_KNOWN) != 0;
    out->is_online = (p->flags & ML_PEER_IS_ONLINE) != 0;
    out->is_expired = (p->flags & ML_PEER_IS_EXPIRED) != 0;
    uint16_t slot = core_slot_of(ml, peer);
    if (slot != ML_PATH_NO_SLOT) {
        const struct core_slot *s = &ml->slots[slot];
        struct ml_path_status st;
        ml_path_get_status(&ml->path, now, slot, &st);
        out->has_session = ml_wg_peer_has_session(&ml->wg, now, slot);
        out->is_active = now - ml_tick_time(&ml->epoch, s->used_at) < ACTIVE_WITHIN && out->has_session;
        out->direct = st.direct;
        out->latency = st.latency;
        out->rx_bytes = s->rx_bytes;
        out->tx_bytes = s->tx_bytes;
        out->last_handshake_at = ml_tick_time(&ml->epoch, s->handshake_at);
        out->last_rx_at = st.last_rx_at;
    }
    return ML_OK;
}

ml_err ml_get_peer(const ml_engine *ml, ml_time now, size_t index, ml_peer_info *out)
{
    if (!ml || !out) {
        return ML_ERR_ARG;
    }
    return index < ml->map.peer_count ? fill_peer(ml, now, ml_map_at(&ml->map, (uint16_t)index), out) : ML_ERR_NOT_FOUND;
}

ml_err ml_get_peer_by_ip(const ml_engine *ml, ml_time now, const ml_ip *ip, ml_peer_info *out)
{
    if (!ml || !ip || !out) {
        return ML_ERR_ARG;
    }
    return fill_peer(ml, now, ml_map_find_ip(&ml->map, ip), out);
}

ml_err ml_get_peer_by_name(const ml_engine *ml, ml_time now, const char *name, ml_peer_info *out)
{
    if (!ml || !name || !out) {
        return ML_ERR_ARG;
    }
    return fill_peer(ml, now, ml_map_find_name(&ml->map, name, strlen(name)), out);
}

size_t ml_get_region_count(const ml_engine *ml)
{
    return ml ? ml->regions.region_count : 0;
}

ml_err ml_get_region(const ml_engine *ml, size_t index, ml_region_info *out)
{
    if (!ml || !out) {
        return ML_ERR_ARG;
    }
    memset(out, 0, sizeof *out);
    if (index >= ml->regions.region_count) {
        return ML_ERR_NOT_FOUND;
    }
    const struct ml_derp_region *r = &ml->regions.regions[index];
    out->id = r->id;
    memcpy(out->code, r->code, sizeof out->code);
    memcpy(out->name, r->name, sizeof out->name);
    out->latency = ml->is_derp_map_open ? 0 : ml_netcheck_latency(&ml->netcheck, ml->netcheck.ended_at, r->id);
    out->is_home = r->id == ml->derp.home;
    out->is_connected = ml_derp_pool_is_connected(&ml->derp, r->id);
    return ML_OK;
}

void ml_get_netcheck(const ml_engine *ml, ml_netcheck_info *out)
{
    if (!out) {
        return;
    }
    memset(out, 0, sizeof *out);
    if (!ml) {
        return;
    }
    const struct ml_netcheck_report *r = &ml->netcheck.report;
    out->udp = r->udp;
    out->global4 = r->facts.global4;
    out->global6 = r->facts.global6;
    out->ip6 = r->ip6;
    out->os_has_ip6 = r->os_has_ip6;
    out->mapping_varies_known = r->mapping_varies != ML_TRI_UNKNOWN;
    out->mapping_varies = r->mapping_varies == ML_TRI_TRUE;
    out->home_region = ml->derp.home;
}

void ml_get_stats(const ml_engine *ml, ml_stats *out)
{
    if (!out) {
        return;
    }
    memset(out, 0, sizeof *out);
    if (!ml) {
        return;
    }
    *out = ml->stats;
    /* Modules count what happens without a call of ours to return it from. */
    struct ml_control_stats c;
    ml_control_get_stats(&ml->control, &c);
    out->map_messages = c.map_messages;
    out->map_bytes = c.map_bytes;
    out->drop[ML_DROP_WG_STAGED_FULL] += ml->wg.counters.staged_dropped;
    out->drop[ML_DROP_WG_GAVE_UP] += ml->wg.counters.gave_up_dropped;
    out->drop[ML_DROP_MAP_PEER_OVER_LIMIT] += ml->map.counts.peer_over_limit;
    out->drop[ML_DROP_MAP_ENDPOINT_OVER_LIMIT] += ml->map.counts.endpoint_over_limit;
    out->drop[ML_DROP_MAP_REGION_OVER_LIMIT] += ml->regions.over_limit;
}

uint64_t ml_get_unix_time(const ml_engine *ml, ml_time now)
{
    int64_t t = ml ? core_unix_now(ml, now) : 0;
    if (ml && t < ML_MAP_CLOCK_MIN) {
        t -= ml->control_offset_s; /* a server that lives in the past does not correct anybody */
    }
    return t >= ML_MAP_CLOCK_MIN ? (uint64_t)t : 0;
}

const char *ml_get_login_url(const ml_engine *ml)
{
    return ml ? ml->login_url : "";
}

const char *ml_get_problem(const ml_engine *ml)
{
    const char *text = "";
    for (unsigned i = 0; ml && !text[0] && i < CORE_PROBLEM_COUNT; i++) {
        text = core_problem(ml, (enum core_problem)i);
    }
    return text;
}
