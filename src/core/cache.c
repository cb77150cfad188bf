/*
 * The cache record: what lets packets flow after a restart before control has answered.
 *
 * Behind the fields of struct ml_cache it holds, all or nothing but in this order while there is room: whose it is, the
 * UDP port (peers go on sending there), the relay regions of our home and of the peers, the peers last spoken with, and the filter rules in effect if all of them fit
 * (without them only replies come in). It is read into the tables at load and used by ml_start() when it belongs to this
 * node key and server; the first netmap then replaces all of it, so a peer removed meanwhile is gone with that.
 * Nothing of it is kept while Tailnet Lock is on, nor of peers that are unsigned or see us under another address.
 *
 * Wear: a change of keys or own addresses is written at once. All else that matters after a restart waits until an hour has
 * passed since the last time, the first one of a run ten seconds; what takes access away waits a second. A bucket of
 * CACHE_BURST writes that gains one an hour bounds them all, endpoints alone cause none, and neither does content that is
 * stored already. That is at most 28 writes a day under any churn, and none at rest.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include "crypto/blake2s.h"

#include <string.h>

#define CACHE_SETTLE    ML_SEC(10)
#define CACHE_URGENT    ML_SEC(1)
#define CACHE_PERIOD    ML_SEC(3600)
#define CACHE_BURST     4
#define CACHE_REGIONS   4
#define CACHE_ENDPOINTS 2
#define OWNER_LEN       8

enum { REGION_AVOID = 1, REGION_NO_HOME = 2 };
enum { NODE_NO_IP4 = 1, NODE_NO_IP6 = 2, NODE_STUN_ONLY = 4, NODE_INSECURE = 8 };

/* ---- Values ---- */

static void write_ip(struct ml_writer *w, const ml_ip *ip)
{
    uint8_t len = !ml_ip_is_set(ip) ? 0 : (ml_ip_is4(ip) ? 4 : 16);
    ml_write_u8(w, len);
    ml_write_bytes(w, ip->b + 16 - len, len);
}

static ml_ip read_ip(struct ml_reader *r)
{
    uint8_t b[16] = {0};
    uint8_t len = ml_read_u8(r);
    if (len == 4) {
        ml_read_copy(r, b, 4);
        return ml_ip_from4(b);
    }
    if (len == 16) {
        ml_read_copy(r, b, 16);
    } else if (len) {
        r->bad = true;
    }
    return ml_ip_from16(b);
}

/* As many bytes of the address as the prefix has, at least its family. */
static void write_prefix(struct ml_writer *w, const ml_prefix *net)
{
    bool is4 = ml_ip_is4(&net->ip);
    ml_write_u8(w, is4 ? 4 : 6);
    ml_write_u8(w, net->bits);
    ml_write_bytes(w, net->ip.b + (is4 ? 12 : 0), (net->bits + 7u) / 8u);
}

static ml_prefix read_prefix(struct ml_reader *r)
{
    uint8_t b[16] = {0};
    bool is4 = ml_read_u8(r) == 4;
    uint8_t bits = ml_read_u8(r);
    if (bits > (is4 ? 32 : 128)) {
        r->bad = true;
        bits = 0;
    }
    ml_read_copy(r, b, (bits + 7u) / 8u);
    return (ml_prefix){.ip = is4 ? ml_ip_from4(b) : ml_ip_from16(b), .bits = bits};
}

static void get_owner(const struct ml_engine *ml, uint8_t owner[OWNER_LEN])
{
    static const uint8_t key[] = "microlink cache owner";
    struct ml_blake2s s;
    ml_blake2s_init(&s, OWNER_LEN, key, sizeof key - 1);
    ml_blake2s_update(&s, ml->node_pub.b, sizeof ml->node_pub.b);
    ml_blake2s_update(&s, (const uint8_t *)ml->url.host, strlen(ml->url.host));
    ml_blake2s_final(&s, owner);
}

/* ---- Regions ---- */

static void write_region(struct ml_writer *w, const struct ml_derp_region *g)
{
    ml_write_be16(w, g->id);
    ml_write_u8(w, (uint8_t)((g->avoid ? REGION_AVOID : 0) | (g->no_measure_no_home ? REGION_NO_HOME : 0)));
    ml_store_write_text(w, g->code);
    ml_store_write_text(w, g->name);
    ml_write_u8(w, g->node_count);
    for (uint8_t i = 0; i < g->node_count; i++) {
        const struct ml_derp_node *n = &g->nodes[i];
        ml_write_u8(w, (uint8_t)((n->no_ip4 ? NODE_NO_IP4 : 0) | (n->no_ip6 ? NODE_NO_IP6 : 0) |
                                 (n->is_stun_only ? NODE_STUN_ONLY : 0) | (n->is_insecure_for_tests ? NODE_INSECURE : 0)));
        ml_store_write_text(w, n->host);
        char cert[ML_DERP_CERT_CAP];
        struct ml_writer cw = ml_writer_of((uint8_t *)cert, sizeof cert);
        ml_derp_write_cert(&cw, n);
        ml_write_end_str(&cw);
        ml_store_write_text(w, cert);
        write_ip(w, &n->ip4);
        write_ip(w, &n->ip6);
        ml_write_be32(w, (uint32_t)n->stun_port);
        ml_write_be16(w, n->derp_port);
    }
}

static void read_region(struct ml_reader *r, struct ml_derp_region *g)
{
    memset(g, 0, sizeof *g);
    g->id = ml_read_be16(r);
    uint8_t flags = ml_read_u8(r);
    g->avoid = (flags & REGION_AVOID) != 0;
    g->no_measure_no_home = (flags & REGION_NO_HOME) != 0;
    ml_store_read_text(r, g->code, sizeof g->code);
    ml_store_read_text(r, g->name, sizeof g->name);
    g->node_count = ml_read_u8(r);
    if (g->node_count > ML_DERP_NODES) {
        g->node_count = 0;
        r->bad = true;
    }
    for (uint8_t i = 0; i < g->node_count; i++) {
        struct ml_derp_node *n = &g->nodes[i];
        flags = ml_read_u8(r);
        n->no_ip4 = (flags & NODE_NO_IP4) != 0;
        n->no_ip6 = (flags & NODE_NO_IP6) != 0;
        n->is_stun_only = (flags & NODE_STUN_ONLY) != 0;
        n->is_insecure_for_tests = (flags & NODE_INSECURE) != 0;
        char cert[ML_DERP_CERT_CAP] = "";
        ml_store_read_text(r, n->host, ML_DERP_HOST_CAP);
        ml_store_read_text(r, cert, sizeof cert);
        r->bad |= !ml_derp_set_cert(n, cert);
        n->ip4 = read_ip(r);
        n->ip6 = read_ip(r);
        n->stun_port = (int32_t)ml_read_be32(r);
        n->derp_port = ml_read_be16(r);
    }
}

/* ---- Peers ---- */

static bool has_masquerade(const struct ml_engine *ml, uint16_t slot)
{
    const ml_ip four = ml_ip4(0, 0, 0, 0), six = {{0xfd}};
    ml_ip out;
    return ml_route_masquerade(&ml->map.t, slot, &four, &out) || ml_route_masquerade(&ml->map.t, slot, &six, &out);
}

static const struct ml_peer *cacheable(const struct ml_engine *ml, uint64_t id)
{
    uint16_t slot = ml_map_find_id(&ml->map, id);
    const struct ml_peer *p = ml_map_peer(&ml->map, slot);
    bool ok = p && ml_route_is_usable(p) && !(p->flags & ML_PEER_IS_UNSIGNED) && !has_masquerade(ml, slot);
    return ok ? p : NULL;
}

enum { PEER_FLAGS = ML_PEER_IS_WIREGUARD_ONLY | ML_PEER_IS_JAILED | ML_PEER_ROUTES_IP4 | ML_PEER_ROUTES_IP6 };

static void write_peer(struct ml_writer *w, const struct ml_peer *p, bool with_endpoints)
{
    ml_addr eps[ML_PEER_EP_MAX];
    uint8_t count = with_endpoints ? ml_map_peer_endpoints(p, eps) : 0;
    ml_ip ip4 = ml_map_peer_ip4(p), ip6 = ml_map_peer_ip6(p);
    count = count < CACHE_ENDPOINTS ? count : CACHE_ENDPOINTS;
    ml_write_be64(w, p->id);
    ml_write_bytes(w, p->key.b, sizeof p->key.b);
    ml_write_bytes(w, p->disco.b, sizeof p->disco.b);
    write_ip(w, &ip4);
    write_ip(w, &ip6);
    ml_write_be32(w, p->key_expiry);
    ml_write_be16(w, p->home_region);
    ml_write_be16(w, p->cap);
    ml_write_be16(w, p->flags & PEER_FLAGS);
    ml_write_u8(w, count);
    for (uint8_t i = 0; i < count; i++) {
        write_ip(w, &eps[i].ip);
        ml_write_be16(w, eps[i].port);
    }
}

static void add_host(struct ml_node *n, const ml_ip *ip, bool is_routed)
{
    const ml_prefix net = {.ip = *ip, .bits = ml_ip_is4(ip) ? 32 : 128};
    if (!ml_ip_is_set(ip)) {
        return;
    }
    n->addresses[n->address_count++] = net;
    if (is_routed) {
        n->allowed[n->allowed_count++] = net;
    }
}

static void read_peer(struct ml_reader *r, struct ml_node *n)
{
    memset(n, 0, sizeof *n);
    n->id = ml_read_be64(r);
    ml_read_copy(r, n->key.b, sizeof n->key.b);
    ml_read_copy(r, n->disco.b, sizeof n->disco.b);
    ml_ip ip4 = read_ip(r), ip6 = read_ip(r);
    n->key_expiry = ml_read_be32(r);
    n->home_region = ml_read_be16(r);
    n->cap = ml_read_be16(r);
    uint16_t flags = ml_read_be16(r);
    add_host(n, &ip4, (flags & ML_PEER_ROUTES_IP4) != 0);
    add_host(n, &ip6, (flags & ML_PEER_ROUTES_IP6) != 0);
    n->is_wireguard_only = (flags & ML_PEER_IS_WIREGUARD_ONLY) != 0;
    n->is_jailed = (flags & ML_PEER_IS_JAILED) != 0;
    n->is_machine_authorized = true;
    n->endpoint_count = ml_read_u8(r);
    if (n->endpoint_count > ML_NODE_ENDPOINTS) {
        n->endpoint_count = 0;
        r->bad = true;
    }
    for (uint8_t i = 0; i < n->endpoint_count; i++) {
        n->endpoints[i].ip = read_ip(r);
        n->endpoints[i].port = ml_read_be16(r);
    }
}

/* ---- Rules ---- */

static void write_rule(struct ml_writer *w, const struct ml_rule *rule)
{
    ml_write_u8(w, rule->proto_count);
    ml_write_u8(w, rule->src_count);
    ml_write_u8(w, rule->dst_count);
    ml_write_bytes(w, rule->protos, rule->proto_count);
    for (uint8_t i = 0; i < rule->src_count; i++) {
        write_prefix(w, &rule->srcs[i]);
    }
    for (uint8_t i = 0; i < rule->dst_count; i++) {
        write_prefix(w, &rule->dsts[i].net);
        ml_write_be16(w, rule->dsts[i].port_first);
        ml_write_be16(w, rule->dsts[i].port_last);
    }
}

static void read_rule(struct ml_reader *r, struct ml_rule *rule)
{
    memset(rule, 0, sizeof *rule);
    rule->has_protos = true;
    rule->proto_count = ml_read_u8(r);
    rule->src_count = ml_read_u8(r);
    rule->dst_count = ml_read_u8(r);
    if (rule->proto_count > ML_RULE_PROTOS || rule->src_count > ML_RULE_SRCS || rule->dst_count > ML_RULE_DSTS) {
        r->bad = true;
        return;
    }
    ml_read_copy(r, rule->protos, rule->proto_count);
    for (uint8_t i = 0; i < rule->src_count; i++) {
        rule->srcs[i] = read_prefix(r);
    }
    for (uint8_t i = 0; i < rule->dst_count; i++) {
        rule->dsts[i].net = read_prefix(r);
        rule->dsts[i].port_first = ml_read_be16(r);
        rule->dsts[i].port_last = ml_read_be16(r);
    }
}

/* ---- The record ---- */

static void write_regions(struct ml_writer *w, const struct ml_engine *ml)
{
    uint16_t ids[CACHE_REGIONS] = {ml->cache.home_region};
    uint8_t count = 0;
    size_t count_at = w->len;
    for (unsigned i = 0, n = 1; i < CORE_RECENT && n < CACHE_REGIONS; i++) {
        const struct ml_peer *p = cacheable(ml, ml->need.recent[i]);
        bool is_new = p && p->home_region;
        for (unsigned k = 0; k < n && is_new; k++) {
            is_new = ids[k] != p->home_region;
        }
        if (is_new) {
            ids[n++] = p->home_region;
        }
    }
    ml_write_u8(w, 0);
    for (unsigned i = 0; i < CACHE_REGIONS; i++) {
        const struct ml_derp_region *g = ids[i] ? ml_derp_table_find(&ml->regions, ids[i]) : NULL;
        if (g) {
            write_region(w, g);
            count++;
        }
    }
    if (!w->bad) {
        w->p[count_at] = count;
    }
}

static void write_peers(struct ml_writer *w, const struct ml_engine *ml, bool with_endpoints)
{
    uint8_t count = 0;
    size_t count_at = w->len;
    ml_write_u8(w, 0);
    for (unsigned i = 0; i < CORE_RECENT; i++) {
        const struct ml_peer *p = cacheable(ml, ml->need.recent[i]);
        if (p) {
            write_peer(w, p, with_endpoints);
            count++;
        }
    }
    if (!w->bad) {
        w->p[count_at] = count;
    }
}

/* All rules, or the word that there are none to rely on. */
static void write_rules(struct ml_writer *w, const struct ml_engine *ml)
{
    struct ml_filter_cursor c = {0};
    struct ml_rule rule;
    size_t at = w->len;
    uint8_t count = 0;
    if (w->bad) {
        return;
    }
    size_t cap = w->cap;
    w->cap = w->cap > ML_STORE_TRAILER ? w->cap - ML_STORE_TRAILER : 0;
    ml_write_u8(w, 0);
    bool is_valid = ml_filter_is_valid(&ml->filter);
    while (is_valid && ml_filter_get_rule(&ml->filter, &c, &rule)) {
        write_rule(w, &rule);
        is_valid = !w->bad && ++count < UINT8_MAX;
    }
    w->cap = cap;
    if (!is_valid || w->bad) { /* fail closed: some of the rules would be a policy that nobody made */
        w->bad = false;
        w->len = at;
        ml_write_u8(w, 0);
    } else {
        w->p[at] = count;
    }
}

static size_t write_record(const struct ml_engine *ml, uint8_t *buf, size_t cap, bool with_endpoints)
{
    uint8_t owner[OWNER_LEN];
    struct ml_writer w;
    ml_store_begin_cache(&w, buf, cap, &ml->cache);
    if (ml->is_locked || !ml->self.is_known || !ml->identity.has_node) {
        return ml_store_end(&w);
    }
    get_owner(ml, owner);
    ml_write_bytes(&w, owner, sizeof owner);
    ml_write_be16(&w, ml->cache.udp_port);
    ml_write_be64(&w, ml->self.node_id);
    ml_write_be64(&w, (uint64_t)ml->self.key_expiry);
    write_regions(&w, ml);
    write_peers(&w, ml, with_endpoints);
    write_rules(&w, ml);
    return ml_store_end(&w);
}

size_t core_cache_write(struct ml_engine *ml, uint8_t *buf, size_t cap)
{
    size_t len = write_record(ml, buf, cap, false);
    ml->cache_out.digest = len >= 4 ? ml_get_be32(buf + len - 4) : 0; /* the end of its checksum */
    return write_record(ml, buf, cap, true);
}

/* ---- Reading ---- */

static void take(struct ml_engine *ml, const struct ml_delta *d)
{
    struct ml_map_change peer;
    struct ml_derp_change region;
    if (d->type == ML_DELTA_PEER) {
        ml->map.next_need = ML_NEED_RECENT;
    }
    ml_map_apply(&ml->map, d, 0, &peer);
    ml_derp_table_apply(&ml->regions, d, &ml->map.t, ml->cache.home_region, &region);
    (void)ml_filter_apply(&ml->filter, d);
}

static void read_tables(struct ml_engine *ml, struct ml_reader *r)
{
    struct ml_derp_region region;
    struct ml_node node;
    struct ml_rule rule;
    take(ml, &(struct ml_delta){.type = ML_DELTA_BEGIN});
    take(ml, &(struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    for (uint8_t n = ml_read_u8(r); n && !r->bad; n--) {
        read_region(r, &region);
        if (!r->bad) {
            take(ml, &(struct ml_delta){.type = ML_DELTA_DERP_REGION, .region = &region});
        }
    }
    take(ml, &(struct ml_delta){.type = ML_DELTA_DERP_END});
    uint8_t peers = ml_read_u8(r);
    for (uint8_t n = 0; n < peers && n < CORE_RECENT && !r->bad; n++) {
        read_peer(r, &node);
        if (!r->bad) {
            take(ml, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
            ml->need.recent[n] = node.id;
        }
    }
    take(ml, &(struct ml_delta){.type = ML_DELTA_RULES_BEGIN, .text = "base"});
    for (uint8_t n = ml_read_u8(r); n && !r->bad; n--) {
        read_rule(r, &rule);
        if (!r->bad) {
            take(ml, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &rule});
        }
    }
    take(ml, &(struct ml_delta){.type = ML_DELTA_RULES_END, .text = "base"});
    take(ml, &(struct ml_delta){.type = r->bad ? ML_DELTA_ABORT : ML_DELTA_END});
}

static void forget(struct ml_engine *ml)
{
    ml_map_clear(&ml->map);
    ml_derp_table_clear(&ml->regions);
    ml_filter_clear(&ml->filter);
    core_need_clear(ml);
    memset(&ml->self, 0, sizeof ml->self);
}

bool core_cache_read(struct ml_engine *ml, const uint8_t *buf, size_t len)
{
    struct ml_reader r;
    if (!ml_store_open_cache(&r, buf, len, &ml->cache)) {
        return false;
    }
    forget(ml);
    if (ml_reader_left(&r) == 0) {
        return true; /* of an earlier version, or there was nothing to keep */
    }
    ml_read_copy(&r, ml->cache_out.owner, OWNER_LEN);
    ml->cache.udp_port = ml_read_be16(&r);
    ml->self.node_id = ml_read_be64(&r);
    ml->self.key_expiry = (int64_t)ml_read_be64(&r);
    read_tables(ml, &r);
    if (r.bad) {
        forget(ml);
        return true; /* what it says of control is good */
    }
    ml->cache_out.is_loaded = true;
    return true;
}

void core_cache_use(struct ml_engine *ml, ml_time now)
{
    uint8_t owner[OWNER_LEN];
    struct core_self *s = &ml->self;
    if (!ml->cache_out.is_loaded) {
        return;
    }
    ml->cache_out.is_loaded = false;
    get_owner(ml, owner);
    if (!ml->identity.has_node || memcmp(owner, ml->cache_out.owner, OWNER_LEN) != 0) {
        forget(ml); /* another login, or another server */
        return;
    }
    s->ip4 = ml->cache.ip4;
    s->ip6 = ml->cache.ip6;
    const ml_ip *own[] = {&s->ip4, &s->ip6};
    for (unsigned i = 0; i < 2; i++) {
        if (ml_ip_is_set(own[i])) {
            s->addresses[s->address_count++] = (ml_prefix){.ip = *own[i], .bits = i ? 128 : 32};
        }
    }
    s->is_known = s->is_authorized = true;
    ml_filter_set_locals(&ml->filter, s->addresses, s->address_count);
    for (uint16_t i = 0; i < ml->map.peer_count; i++) {
        core_peer_event(ml, ML_EV_PEER_ADDED, ml_map_peer(&ml->map, ml_map_at(&ml->map, i))->id);
    }
    core_regions_ready(ml, now);
    ml_netcheck_set_wanted(&ml->netcheck, now, ml->map.peer_count > 0);
    core_check_expiry(ml, now);
    core_mark(ml, CORE_MARK_SELF);
    /* What is stored is what would be written now. */
    uint8_t *buf = ml_outq_scratch(&ml->outq, ML_STORE_MAX);
    if (buf) {
        (void)core_cache_write(ml, buf, ML_STORE_MAX);
    }
    ml_log_text(&ml->log, ML_LOG_INFO, "starting with the peers and rules of the last run");
}

/* ---- Sessions that our restart ended ---- */

static bool has_endpoint(const struct ml_peer *p, const ml_addr *from)
{
    ml_addr eps[ML_PEER_EP_MAX];
    for (uint8_t n = ml_map_peer_endpoints(p, eps); n-- > 0;) {
        if (ml_addr_equal(&eps[n], from)) {
            return true;
        }
    }
    return false;
}

/*
 * The peer would go on with the old session for 15 s before it asks for a new one. Nothing is proven here: at worst a peer
 * that we know gets one initiation in 5 s, as often as it could be made to by a packet for it.
 */
void core_renew(struct ml_engine *ml, ml_time now, const struct core_carrier *c)
{
    uint16_t peer = c->region ? ml_map_find_key(&ml->map, &c->source) : ML_PEER_NONE;
    for (unsigned i = 0; !c->region && i < CORE_RECENT && peer == ML_PEER_NONE; i++) {
        const struct ml_peer *p = cacheable(ml, ml->need.recent[i]);
        peer = p && has_endpoint(p, &c->from) ? ml_map_find_id(&ml->map, p->id) : ML_PEER_NONE;
    }
    const struct ml_peer *p = ml_map_peer(&ml->map, peer);
    if (!p || !ml_route_is_usable(p) || core_slot_of(ml, peer) != ML_PATH_NO_SLOT) {
        return;
    }
    uint16_t slot = core_slot_get(ml, now, peer, false);
    if (slot != ML_PATH_NO_SLOT) {
        ml_wg_peer_connect(&ml->wg, now, slot);
    }
}

uint16_t ml_get_last_udp_port(const ml_engine *ml)
{
    return ml ? ml->cache.udp_port : 0;
}

/* ---- When to write ---- */

void core_cache_touch(struct ml_engine *ml, ml_time now, bool is_urgent)
{
    struct core_cache_out *c = &ml->cache_out;
    ml_time at = now + (is_urgent ? CACHE_URGENT : CACHE_SETTLE);
    if (!is_urgent && c->has_written && c->written_at + CACHE_PERIOD > at) {
        at = c->written_at + CACHE_PERIOD;
    }
    c->due_at = at < c->due_at ? at : c->due_at;
    c->is_hurried = c->is_hurried || is_urgent;
}

/* Takes one of the bucket's writes; false, and later, when it is empty. */
static bool take_token(struct core_cache_out *c, ml_time now)
{
    while (c->spent && now - c->refill_at >= CACHE_PERIOD) {
        c->spent--;
        c->refill_at += CACHE_PERIOD;
    }
    if (c->spent == CACHE_BURST) {
        c->due_at = c->refill_at + CACHE_PERIOD;
        return false;
    }
    c->refill_at = c->spent ? c->refill_at : now;
    c->spent++;
    return true;
}

bool core_cache_poll(struct ml_engine *ml, ml_time now)
{
    struct core_cache_out *c = &ml->cache_out;
    if (now < c->due_at || ml->is_store_busy[ML_STORE_CACHE]) {
        return false;
    }
    uint8_t *buf = ml_outq_scratch(&ml->outq, ML_STORE_MAX);
    if (!buf) {
        return false;
    }
    size_t len = write_record(ml, buf, ML_STORE_MAX, false);
    bool is_stored = len >= 4 && ml_get_be32(buf + len - 4) == c->digest;
    if (!is_stored && !take_token(c, now)) {
        return false;
    }
    if (!is_stored && !c->is_hurried) {
        c->has_written = true;
        c->written_at = now;
    }
    c->due_at = ML_NEVER;
    c->is_hurried = false;
    return !is_stored;
}

void core_cache_flush(struct ml_engine *ml, ml_time now)
{
    if (ml->cache_out.due_at != ML_NEVER) {
        ml->cache_out.due_at = now;
    }
}

ml_time core_cache_deadline(const struct ml_engine *ml)
{
    return ml->is_store_busy[ML_STORE_CACHE] ? ML_NEVER : ml->cache_out.due_at;
}
