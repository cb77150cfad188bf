/*
 * A delta as one line of text: what the vectors of tests/vectors/control_map_*.txt expect, and what control_client prints.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef DELTA_TEXT_H
#define DELTA_TEXT_H

#include "base/addr.h"
#include "base/key.h"
#include "model/delta.h"

static inline void dt_num(struct ml_writer *w, const char *name, int64_t v)
{
    ml_write_str(w, " ");
    ml_write_str(w, name);
    ml_write_str(w, v < 0 ? "=-" : "=");
    ml_write_dec(w, (uint64_t)(v < 0 ? -v : v));
}

static inline void dt_str(struct ml_writer *w, const char *name, const char *v)
{
    ml_write_str(w, " ");
    ml_write_str(w, name);
    ml_write_str(w, "=");
    ml_write_str(w, v);
}

static inline void dt_key(struct ml_writer *w, const char *name, const uint8_t b[32])
{
    dt_str(w, name, "");
    ml_write_hex(w, b, 32);
}

static inline void dt_prefixes(struct ml_writer *w, const char *name, const ml_prefix *p, size_t n)
{
    dt_str(w, name, "");
    for (size_t i = 0; i < n; i++) {
        ml_write_str(w, i ? "," : "");
        ml_write_prefix(w, &p[i]);
    }
}

static inline void dt_addrs(struct ml_writer *w, const char *name, const ml_addr *p, size_t n)
{
    dt_str(w, name, "");
    for (size_t i = 0; i < n; i++) {
        ml_write_str(w, i ? "," : "");
        ml_write_addr(w, &p[i]);
    }
}

static inline void dt_node(struct ml_writer *w, const struct ml_node *n)
{
    dt_num(w, "id", (int64_t)n->id);
    dt_num(w, "user", (int64_t)n->user_id);
    dt_str(w, "name", n->name);
    dt_str(w, "os", n->os);
    dt_key(w, "key", n->key.b);
    dt_key(w, "disco", n->disco.b);
    dt_str(w, "masq4", "");
    ml_write_ip(w, &n->masq4);
    dt_str(w, "masq6", "");
    ml_write_ip(w, &n->masq6);
    dt_prefixes(w, "addresses", n->addresses, n->address_count);
    dt_prefixes(w, "allowed", n->allowed, n->allowed_count);
    dt_addrs(w, "endpoints", n->endpoints, n->endpoint_count);
    dt_num(w, "home", n->home_region);
    dt_num(w, "cap", n->cap);
    dt_num(w, "peerapi4", n->peerapi4);
    dt_num(w, "peerapi6", n->peerapi6);
    dt_num(w, "expiry", n->key_expiry);
    dt_str(w, "online", n->is_online_known ? (n->is_online ? "1" : "0") : "?");
    ml_write_str(w, n->is_expired ? " expired" : "");
    ml_write_str(w, n->is_machine_authorized ? " authorized" : "");
    ml_write_str(w, n->is_wireguard_only ? " wgonly" : "");
    ml_write_str(w, n->is_jailed ? " jailed" : "");
    ml_write_str(w, n->is_unsigned_peerapi_only ? " unsigned" : "");
    ml_write_str(w, n->has_key_signature ? " signature" : "");
    ml_write_str(w, n->cap_tailnet_lock ? " lock" : "");
    ml_write_str(w, n->cap_magicdns_aaaa ? " aaaa" : "");
    ml_write_str(w, n->cap_only_tcp_443 ? " tcp443" : "");
    ml_write_str(w, n->cap_silent_disco ? " silent" : "");
    ml_write_str(w, n->cap_randomize_port ? " randomport" : "");
}

static inline void dt_patch(struct ml_writer *w, const struct ml_node_patch *p)
{
    dt_num(w, "id", (int64_t)p->id);
    if (p->fields & ML_PATCH_REGION) {
        dt_num(w, "region", p->region);
    }
    if (p->fields & ML_PATCH_CAP) {
        dt_num(w, "cap", p->cap);
    }
    if (p->fields & ML_PATCH_ENDPOINTS) {
        dt_addrs(w, "endpoints", p->endpoints, p->endpoint_count);
    }
    if (p->fields & ML_PATCH_KEY) {
        dt_key(w, "key", p->key.b);
    }
    if (p->fields & ML_PATCH_DISCO) {
        dt_key(w, "disco", p->disco.b);
    }
    if (p->fields & ML_PATCH_ONLINE) {
        dt_num(w, "online", p->is_online);
    }
    if (p->fields & ML_PATCH_LAST_SEEN) {
        dt_num(w, "seen", p->last_seen);
    }
    if (p->fields & ML_PATCH_KEY_EXPIRY) {
        dt_num(w, "expiry", p->key_expiry);
    }
    ml_write_str(w, p->fields & ML_PATCH_KEY_SIGNATURE ? " signature" : "");
}

static inline void dt_region(struct ml_writer *w, const struct ml_derp_region *r)
{
    dt_num(w, "id", r->id);
    dt_str(w, "code", r->code);
    dt_str(w, "name", r->name);
    ml_write_str(w, r->avoid ? " avoid" : "");
    ml_write_str(w, r->no_measure_no_home ? " nohome" : "");
    for (uint8_t i = 0; i < r->node_count; i++) {
        const struct ml_derp_node *n = &r->nodes[i];
        dt_str(w, "node", n->host);
        ml_write_str(w, "|");
        ml_derp_write_cert(w, n);
        ml_write_str(w, "|");
        ml_write_str(w, n->no_ip4 ? "off" : "");
        ml_write_ip(w, &n->ip4);
        ml_write_str(w, "|");
        ml_write_str(w, n->no_ip6 ? "off" : "");
        ml_write_ip(w, &n->ip6);
        dt_num(w, "stun", n->stun_port);
        dt_num(w, "port", n->derp_port);
        ml_write_str(w, n->is_stun_only ? " stunonly" : "");
        ml_write_str(w, n->is_insecure_for_tests ? " insecure" : "");
    }
}

static inline void dt_rule(struct ml_writer *w, const struct ml_rule *r)
{
    dt_prefixes(w, "src", r->srcs, r->src_count);
    dt_str(w, "dst", "");
    for (uint8_t i = 0; i < r->dst_count; i++) {
        ml_write_str(w, i ? "," : "");
        ml_write_prefix(w, &r->dsts[i].net);
        ml_write_str(w, ":");
        ml_write_dec(w, r->dsts[i].port_first);
        ml_write_str(w, "-");
        ml_write_dec(w, r->dsts[i].port_last);
    }
    dt_str(w, "proto", r->has_protos ? "" : "default");
    for (uint8_t i = 0; r->has_protos && i < r->proto_count; i++) {
        ml_write_str(w, i ? "," : "");
        ml_write_dec(w, r->protos[i]);
    }
    ml_write_str(w, r->is_lossy ? " lossy" : "");
}

/** Writes the line of @p d, without newline, into @p dst and returns it. */
static inline const char *delta_text(const struct ml_delta *d, char *dst, size_t cap)
{
    static const char *const names[] = {
        [ML_DELTA_BEGIN] = "begin",
        [ML_DELTA_SELF] = "self",
        [ML_DELTA_PEERS_BEGIN] = "peers-begin",
        [ML_DELTA_PEER] = "peer",
        [ML_DELTA_PEERS_END] = "peers-end",
        [ML_DELTA_PEER_REMOVED] = "removed",
        [ML_DELTA_PEER_SEEN] = "seen",
        [ML_DELTA_PEER_ONLINE] = "online",
        [ML_DELTA_PEER_PATCH] = "patch",
        [ML_DELTA_DERP_BEGIN] = "derp-begin",
        [ML_DELTA_DERP_REGION] = "derp-region",
        [ML_DELTA_DERP_END] = "derp-end",
        [ML_DELTA_DERP_SCORE_RESET] = "score-reset",
        [ML_DELTA_DERP_SCORE] = "score",
        [ML_DELTA_RULES_BEGIN] = "rules-begin",
        [ML_DELTA_RULES_CLEAR_ALL] = "rules-clear",
        [ML_DELTA_RULES_DELETE] = "rules-delete",
        [ML_DELTA_RULE] = "rule",
        [ML_DELTA_RULES_INVALID] = "rules-invalid",
        [ML_DELTA_RULES_END] = "rules-end",
        [ML_DELTA_USER] = "user",
        [ML_DELTA_DOMAIN] = "domain",
        [ML_DELTA_TIME] = "time",
        [ML_DELTA_TKA] = "tka",
        [ML_DELTA_DNS_PROXIED] = "dns-proxied",
        [ML_DELTA_HEALTH_BEGIN] = "health-begin",
        [ML_DELTA_HEALTH] = "health",
        [ML_DELTA_MESSAGE] = "message",
        [ML_DELTA_MESSAGE_GONE] = "message-gone",
        [ML_DELTA_POP_URL] = "pop-url",
        [ML_DELTA_PING] = "ping",
        [ML_DELTA_DEBUG_EXIT] = "exit",
        [ML_DELTA_END] = "end",
        [ML_DELTA_ABORT] = "abort",
    };
    struct ml_writer w = ml_writer_of((uint8_t *)dst, cap);
    ml_write_str(&w, names[d->type]);
    switch (d->type) {
    case ML_DELTA_BEGIN:
        ml_write_str(&w, d->first ? " first" : "");
        break;
    case ML_DELTA_SELF:
    case ML_DELTA_PEER:
        dt_node(&w, d->node);
        break;
    case ML_DELTA_PEER_PATCH:
        dt_patch(&w, d->patch);
        break;
    case ML_DELTA_DERP_REGION:
        dt_region(&w, d->region);
        break;
    case ML_DELTA_RULE:
        dt_rule(&w, d->rule);
        break;
    case ML_DELTA_PEER_REMOVED:
        dt_num(&w, "id", (int64_t)d->id);
        break;
    case ML_DELTA_PEER_SEEN:
    case ML_DELTA_PEER_ONLINE:
        dt_num(&w, "id", (int64_t)d->id);
        dt_num(&w, "flag", d->flag);
        break;
    case ML_DELTA_DERP_SCORE:
        dt_num(&w, "id", (int64_t)d->id);
        dt_num(&w, "milli", d->score_milli);
        break;
    case ML_DELTA_TKA:
    case ML_DELTA_DNS_PROXIED:
        dt_num(&w, "flag", d->flag);
        break;
    case ML_DELTA_TIME:
        dt_num(&w, "ms", d->unix_ms);
        break;
    case ML_DELTA_USER:
        dt_num(&w, "id", (int64_t)d->id);
        break;
    case ML_DELTA_PING:
        dt_str(&w, "url", d->ping->url);
        dt_str(&w, "types", d->ping->types);
        dt_num(&w, "noise", d->ping->is_url_noise);
        dt_num(&w, "cut", d->ping->is_cut);
        dt_str(&w, "ip", "");
        ml_write_ip(&w, &d->ping->ip);
        dt_str(&w, "payload", "");
        ml_write_hex(&w, d->ping->payload, d->ping->payload_len);
        break;
    default:
        break;
    }
    if (d->name) {
        dt_str(&w, "name", d->name);
    }
    if (d->text && d->type != ML_DELTA_RULE && d->type != ML_DELTA_RULES_END && d->type != ML_DELTA_RULES_INVALID) {
        dt_str(&w, "text", d->text);
    }
    return ml_write_end_str(&w);
}

#endif
