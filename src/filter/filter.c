/*
 * Verdicts of the packet filter, in the order of control.md 10.4. Rules are in filter_rules.c, flows in flow.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "filter/filter.h"

#include "filter/filter_private.h"

enum {
    DEFAULT_ENTRIES = 64,
    DEFAULT_FLOWS = 64,
    DEFAULT_JAILED_FLOWS = 16,
    MAX_ENTRIES = 65000,
    MAX_FLOWS = 32768,
    MIN_PACKET_LEN = 20,
    REJECTS_PER_SECOND = 10
};

struct sizes {
    uint16_t entries, flows, jailed;
    size_t pool_at, jailed_at, buckets_at, jailed_buckets_at, total;
};

static bool get_sizes(const struct ml_filter_cfg *cfg, struct sizes *s)
{
    s->entries = cfg->max_entries ? cfg->max_entries : DEFAULT_ENTRIES;
    s->flows = cfg->max_flows ? cfg->max_flows : DEFAULT_FLOWS;
    s->jailed = cfg->max_jailed_flows ? cfg->max_jailed_flows : DEFAULT_JAILED_FLOWS;
    if (s->entries > MAX_ENTRIES || s->flows > MAX_FLOWS || s->jailed > MAX_FLOWS) {
        return false;
    }
    /* Every part has 2-byte alignment at most. */
    s->jailed_at = s->flows * sizeof(struct ml_flow);
    s->pool_at = s->jailed_at + s->jailed * sizeof(struct ml_flow);
    s->buckets_at = s->pool_at + s->entries * sizeof(struct ml_filter_entry);
    s->jailed_buckets_at = s->buckets_at + ml_flow_bucket_count(s->flows) * sizeof(uint16_t);
    s->total = s->jailed_buckets_at + ml_flow_bucket_count(s->jailed) * sizeof(uint16_t);
    return true;
}

size_t ml_filter_mem(const struct ml_filter_cfg *cfg)
{
    struct sizes s;
    return get_sizes(cfg, &s) ? s.total : 0;
}

void ml_filter_init(struct ml_filter *f, const struct ml_filter_cfg *cfg, void *mem)
{
    struct sizes s;
    uint8_t *base = mem;

    ml_zero(f);
    if (!get_sizes(cfg, &s)) {
        return;
    }
    f->pool = (void *)(base + s.pool_at);
    f->pool_cap = s.entries;
    ml_flow_init(&f->flows, (void *)base, (void *)(base + s.buckets_at), s.flows);
    ml_flow_init(&f->jailed_flows, (void *)(base + s.jailed_at), (void *)(base + s.jailed_buckets_at), s.jailed);
}

void ml_filter_clear(struct ml_filter *f)
{
    ml_filter_clear_rules(f);
    f->local_count = 0;
    ml_flow_clear(&f->flows);
    ml_flow_clear(&f->jailed_flows);
}

size_t ml_filter_set_locals(struct ml_filter *f, const ml_prefix *nets, size_t count)
{
    f->local_count = (uint8_t)(count < ML_FILTER_LOCALS ? count : ML_FILTER_LOCALS);
    for (uint8_t i = 0; i < f->local_count; i++) {
        f->locals[i] = nets[i];
    }
    return f->local_count;
}

void ml_filter_set_shields_up(struct ml_filter *f, bool is_on)
{
    if (f->is_shields_up != is_on) {
        ml_flow_clear(&f->flows);
    }
    f->is_shields_up = is_on;
}

/* ---- Matching ---- */

/*
 * Whether a prefix holds an address of a packet. Not ml_prefix_contains(), which takes :: for "no address": on the wire it is
 * an address like any other.
 */
static bool net_contains(const uint8_t net[16], uint8_t bits, const ml_ip *ip)
{
    ml_ip base;
    memcpy(base.b, net, sizeof base.b);
    bool is4 = ml_ip_is4(&base);
    unsigned n = is4 ? bits + 96u : bits;

    if (is4 != ml_ip_is4(ip) || n > 128 || memcmp(net, ip->b, n / 8) != 0) {
        return false;
    }
    return n % 8 == 0 || ((net[n / 8] ^ ip->b[n / 8]) & (0xff00u >> (n % 8)) & 0xff) == 0;
}

static bool is_local(const struct ml_filter *f, const ml_ip *ip)
{
    for (uint8_t i = 0; i < f->local_count; i++) {
        if (net_contains(f->locals[i].ip.b, f->locals[i].bits, ip)) {
            return true;
        }
    }
    return false;
}

static bool has_proto(const struct ml_filter_entry *head, uint8_t proto)
{
    return memchr(head->b, proto, head->bits) != NULL;
}

static bool entry_contains(const struct ml_filter_entry *e, const ml_ip *ip)
{
    return net_contains(e->b, e->bits, ip);
}

/* How a rule's protocols and ports count. */
enum match_kind {
    MATCH_PORTS,    /* protocol listed, destination port in range */
    MATCH_IPS,      /* addresses only, for ICMP */
    MATCH_ALL_PORTS /* protocol listed, and the range is all ports, for protocols without ports */
};

static bool rule_matches(const struct ml_filter_entry *head, const struct ml_ip_view *v, enum match_kind kind)
{
    const struct ml_filter_entry *e = head + 1;
    bool is_source = false;

    if (kind != MATCH_IPS && !has_proto(head, v->proto)) {
        return false;
    }
    for (uint16_t i = 0; i < head->port_first; i++, e++) {
        is_source = is_source || entry_contains(e, &v->src);
    }
    if (!is_source) {
        return false;
    }
    for (uint16_t i = 0; i < head->port_last; i++, e++) {
        bool is_port = kind == MATCH_IPS ||
                       (kind == MATCH_PORTS && v->dst_port >= e->port_first && v->dst_port <= e->port_last) ||
                       (kind == MATCH_ALL_PORTS && e->port_first == 0 && e->port_last == UINT16_MAX);
        if (is_port && entry_contains(e, &v->dst)) {
            return true;
        }
    }
    return false;
}

bool ml_filter_is_valid(const struct ml_filter *f)
{
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        if (f->sets[i].name[0] && f->sets[i].is_invalid) {
            return false; /* one invalid set voids them all: what the server meant is not known */
        }
    }
    return !f->is_void;
}

static bool any_rule_matches(const struct ml_filter *f, const struct ml_ip_view *v, enum match_kind kind)
{
    struct ml_filter_cursor c = {0};

    if (f->is_shields_up) {
        return false;
    }
    if (!ml_filter_is_valid(f)) {
        return false;
    }
    while (ml_filter_next_rule(f, &c)) {
        if (rule_matches(c.head, v, kind)) {
            return true;
        }
    }
    return false;
}

bool ml_filter_names_source(const struct ml_filter *f, const ml_ip *ip)
{
    struct ml_filter_cursor c = {0};

    while (!f->is_void && ml_filter_next_rule(f, &c)) {
        for (uint16_t i = 1; i <= c.head->port_first; i++) {
            if (entry_contains(&c.head[i], ip)) {
                return true;
            }
        }
    }
    return false;
}

uint32_t ml_filter_digest(const struct ml_filter *f)
{
    struct ml_filter_cursor c = {0};
    uint32_t h = 2166136261u;

    while (ml_filter_next_rule(f, &c)) {
        for (uint32_t i = 0; i <= (uint32_t)c.head->port_first + c.head->port_last; i++) {
            const struct ml_filter_entry *e = &c.head[i];
            for (size_t k = 0; k < sizeof e->b; k++) {
                h = (h ^ e->b[k]) * 16777619u;
            }
            h = (h ^ e->port_first) * 16777619u;
            h = (h ^ e->port_last) * 16777619u;
            h = (h ^ ((uint32_t)e->bits << 8 | e->kind)) * 16777619u;
        }
    }
    return h;
}

/* ---- Verdicts ---- */

static bool is_flow_proto(const struct ml_ip_view *v)
{
    return v->proto == ML_IPPROTO_UDP || v->proto == ML_IPPROTO_SCTP;
}

/* The pre-checks of both directions. True when the verdict is reached. */
static bool pre_check(const struct ml_ip_view *v, ml_drop *verdict)
{
    *verdict = ML_DROP_NONE;
    if (v->len == 0) {
        return true; /* WireGuard keepalive */
    }
    if (v->len < MIN_PACKET_LEN || v->proto == ML_IPPROTO_UNKNOWN) {
        *verdict = ML_DROP_FILTER_MALFORMED;
        return true;
    }
    bool is_metadata = ml_ip4_to_u32(&v->dst) == 0xa9fea9fe; /* 169.254.169.254, a cloud's resolver */
    if (ml_ip_is_multicast(&v->dst) || (ml_ip_is_link_local(&v->dst) && !is_metadata)) {
        *verdict = ML_DROP_FILTER_MULTICAST;
        return true;
    }
    return v->proto == ML_IPPROTO_FRAGMENT;
}

static bool is_allowed_in(struct ml_filter *f, const struct ml_ip_view *v, bool is_jailed)
{
    switch (v->proto) {
    case ML_IPPROTO_TCP:
        if (!ml_ip_view_is_tcp_syn(v)) {
            return true; /* opens nothing */
        }
        return !is_jailed && any_rule_matches(f, v, MATCH_PORTS);
    case ML_IPPROTO_UDP:
    case ML_IPPROTO_SCTP:
        if (ml_flow_is_known(is_jailed ? &f->jailed_flows : &f->flows, v)) {
            return true;
        }
        return !is_jailed && any_rule_matches(f, v, MATCH_PORTS);
    case ML_IPPROTO_TSMP:
        return true;
    default:
        break;
    }
    if (v->proto == (v->version == 4 ? ML_IPPROTO_ICMP : ML_IPPROTO_ICMPV6)) {
        if (ml_ip_view_is_echo_reply(v) || ml_ip_view_is_icmp_error(v)) {
            return true;
        }
        return !is_jailed && any_rule_matches(f, v, MATCH_IPS);
    }
    return !is_jailed && any_rule_matches(f, v, MATCH_ALL_PORTS);
}

ml_drop ml_filter_in(struct ml_filter *f, const struct ml_ip_view *v, bool is_jailed)
{
    ml_drop verdict = ML_DROP_NONE;

    if (pre_check(v, &verdict)) {
        return verdict;
    }
    if (!is_local(f, &v->dst)) {
        return ML_DROP_FILTER_NOT_LOCAL;
    }
    if (is_allowed_in(f, v, is_jailed)) {
        return ML_DROP_NONE;
    }
    uint16_t peerapi = v->version == 4 ? f->peerapi_port4 : f->peerapi_port6;
    if (v->proto == ML_IPPROTO_TCP && peerapi && v->dst_port == peerapi) {
        return ML_DROP_NONE;
    }
    return ML_DROP_FILTER_DENIED;
}

void ml_filter_note(struct ml_filter *f, const struct ml_ip_view *v, bool is_jailed)
{
    if (is_flow_proto(v)) {
        ml_flow_add_reverse(is_jailed ? &f->jailed_flows : &f->flows, v);
    }
}

ml_drop ml_filter_out(struct ml_filter *f, const struct ml_ip_view *v, bool is_jailed)
{
    ml_drop verdict = ML_DROP_NONE;

    if (!pre_check(v, &verdict)) {
        ml_filter_note(f, v, is_jailed);
    }
    return verdict;
}

enum ml_filter_reject ml_filter_reject(struct ml_filter *f, ml_time now, const struct ml_ip_view *v, ml_drop verdict,
                                       uint8_t *reason)
{
    if (v->version != 4 || !ml_ip_view_is_tcp_syn(v) ||
        (verdict != ML_DROP_FILTER_DENIED && verdict != ML_DROP_FILTER_NOT_LOCAL)) {
        return ML_FILTER_SILENT;
    }
    if (f->reject_count == 0 || now - f->reject_window_at >= ML_SEC(1)) {
        f->reject_window_at = now;
        f->reject_count = 0;
    }
    if (f->reject_count >= REJECTS_PER_SECOND) {
        return ML_FILTER_LIMITED;
    }
    f->reject_count++;
    *reason = f->is_shields_up ? 'S' : 'A';
    return ML_FILTER_TELL;
}
