/*
 * Pings the application asks for. DISCO pings run in path/; TSMP and ICMP ones travel through the tunnel and are matched
 * here by eight random bytes that the answer must bring back.
 *
 * At most CORE_PINGS at a time; more are refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include "ip/ip_build.h"
#include "ip/tsmp.h"

#include <string.h>

static struct core_ping *free_ping(struct ml_engine *ml)
{
    for (unsigned i = 0; i < CORE_PINGS; i++) {
        if (!ml->pings[i].is_used) {
            return &ml->pings[i];
        }
    }
    return NULL;
}

static void tunnel_ping(struct ml_engine *ml, ml_time now, struct core_ping *ping, const ml_ip *dst, uint16_t slot)
{
    uint8_t pkt[ML_IP6_HEADER_LEN + 32];
    const ml_ip *own = ml_ip_is4(dst) ? &ml->self.ip4 : &ml->self.ip6;
    struct ml_ip_view v;
    size_t n = 0;
    ml_random_fill(&ml->random, ping->nonce, sizeof ping->nonce);
    if (ping->kind == ML_PING_TSMP) {
        n = ml_tsmp_build_ping(pkt, sizeof pkt, own, dst, ping->nonce);
    } else {
        n = ml_icmp_build_echo(pkt, sizeof pkt, own, dst, false, ml_get_be16(ping->nonce), ml_get_be16(ping->nonce + 2),
                               ping->nonce, sizeof ping->nonce);
    }
    if (n == 0) {
        return; /* the peer has no address of a family that we have too: runs into its time-out */
    }
    ml_ip_view_parse(&v, pkt, n);
    ml_filter_note(&ml->filter, &v, false);
    core_send_inner(ml, now, slot, pkt, n);
}

ml_err ml_ping(ml_engine *ml, ml_time now, const ml_ip *peer_ip, ml_ping_kind kind, uint32_t token)
{
    if (!ml || !peer_ip || !ml_ip_is_set(peer_ip) || kind > ML_PING_ICMP) {
        return ML_ERR_ARG;
    }
    if (!core_is_live(ml)) {
        return ML_ERR_STATE;
    }
    uint16_t peer = ml_map_find_ip(&ml->map, peer_ip);
    const struct ml_peer *p = ml_map_peer(&ml->map, peer);
    if (!p) {
        core_want_ip(ml, now, peer_ip);
        return ML_ERR_NOT_FOUND;
    }
    struct core_ping *ping = free_ping(ml);
    uint16_t slot = core_slot_get(ml, now, peer, true);
    if (!ping || slot == ML_PATH_NO_SLOT) {
        return ML_ERR_FULL;
    }
    *ping = (struct core_ping){.kind = kind, .token = token, .node_id = p->id, .sent_at = now};
    if (kind == ML_PING_DISCO) {
        /* The path knows the ping by its place in our table. */
        ml_err err = ml_path_cli_ping(&ml->path, now, slot, (uint32_t)(ping - ml->pings), now < ml->fresh_until);
        if (err != ML_OK) {
            return err;
        }
    } else {
        tunnel_ping(ml, now, ping, peer_ip, slot);
    }
    ping->is_used = true;
    return ML_OK;
}

static void answer(struct ml_engine *ml, struct core_ping *ping, ml_event_type type, ml_pong *pong)
{
    pong->token = ping->token;
    pong->kind = ping->kind;
    pong->node_id = ping->node_id;
    ping->is_used = false;
    core_pong_event(ml, type, pong);
}

bool core_ping_answered(struct ml_engine *ml, ml_time now, ml_ping_kind kind, uint64_t node_id, const uint8_t nonce[8],
                        uint16_t peerapi_port)
{
    for (unsigned i = 0; i < CORE_PINGS; i++) {
        struct core_ping *ping = &ml->pings[i];
        if (!ping->is_used || ping->kind != kind || ping->node_id != node_id || memcmp(ping->nonce, nonce, 8) != 0) {
            continue;
        }
        ml_pong pong = {.latency = now - ping->sent_at, .peerapi_port = peerapi_port};
        uint16_t slot = core_slot_of(ml, ml_map_find_id(&ml->map, node_id));
        if (slot != ML_PATH_NO_SLOT) {
            struct ml_path_status st;
            ml_path_get_status(&ml->path, now, slot, &st);
            pong.via = st.direct;
            if (!ml_addr_is_set(&st.direct)) {
                const struct ml_peer *p = core_slot_peer(ml, slot);
                pong.derp_region = p ? p->home_region : 0;
            }
        }
        answer(ml, ping, ML_EV_PONG, &pong);
        return true;
    }
    return false;
}

void core_drain_pongs(struct ml_engine *ml, ml_time now)
{
    struct ml_path_pong r;
    (void)now;
    while (ml_path_poll_pong(&ml->path, &r)) {
        struct core_ping *ping = r.token < CORE_PINGS ? &ml->pings[r.token] : NULL;
        if (!ping || !ping->is_used || ping->kind != ML_PING_DISCO) {
            continue;
        }
        ml_pong pong = {.latency = r.latency, .via = r.via, .derp_region = r.derp_region};
        answer(ml, ping, r.is_timeout ? ML_EV_PING_FAILED : ML_EV_PONG, &pong);
    }
}

void core_ping_time(struct ml_engine *ml, ml_time now)
{
    for (unsigned i = 0; i < CORE_PINGS; i++) {
        struct core_ping *ping = &ml->pings[i];
        if (ping->is_used && ping->kind != ML_PING_DISCO && now - ping->sent_at >= CORE_TUNNEL_PING_TIMEOUT) {
            ml_pong pong = {0};
            answer(ml, ping, ML_EV_PING_FAILED, &pong);
        }
    }
}

ml_time core_ping_deadline(const struct ml_engine *ml)
{
    ml_time at = ML_NEVER;
    for (unsigned i = 0; i < CORE_PINGS; i++) {
        const struct core_ping *ping = &ml->pings[i];
        if (ping->is_used && ping->kind != ML_PING_DISCO && ping->sent_at + CORE_TUNNEL_PING_TIMEOUT < at) {
            at = ping->sent_at + CORE_TUNNEL_PING_TIMEOUT;
        }
    }
    return at;
}

void core_ping_fail_all(struct ml_engine *ml)
{
    for (unsigned i = 0; i < CORE_PINGS; i++) {
        if (ml->pings[i].is_used) {
            ml_pong pong = {.error = ML_ERR_STATE};
            answer(ml, &ml->pings[i], ML_EV_PING_FAILED, &pong);
        }
    }
}
