/*
 * The map stream parser: a stack of open JSON containers, and what each field of them does.
 *
 * map_fields.c says which fields are known; anything else is skipped whatever its depth and size. A value of the wrong type
 * or form is left out and counted (`cut`); three things are never guessed: a peer without a valid id and key is dropped, a
 * self node like that fails the message, and a filter entry that is not understood allows nothing. Source: control.md 8, 10.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/map_parse.h"

#include "base/addr.h"
#include "base/key.h"
#include "control/map_fields.h"
#include "json/json_time.h"

/* Whatever the size of the message: the promise is 8 KB for all of parsing, the goal 4. */
_Static_assert(sizeof(struct ml_map_parse) <= 1 << ML_MAP_PLACE_SHIFT, "working memory of the netmap parser");

/* A scalar: its event, and its text when it has one. */
struct value {
    enum ml_json_event kind;
    const char *text;
    size_t len;
    bool is_cut;
};

/* Never inlined: what is rare shall not take room at each place. */
__attribute__((noinline)) static void cut(struct ml_map_parse *p)
{
    p->cut_count++;
}

static bool equals(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(text, word, len) == 0;
}

/* FNV-1a: tells a repeated URL from a new one. A server that makes two collide only loses its own ping. */
static uint32_t hash_text(const char *text)
{
    uint32_t h = 2166136261U;
    for (; *text; text++) {
        h = (h ^ (uint8_t)*text) * 16777619U;
    }
    return h;
}

/* ---- Handing out ---- */

static void hand_out(const struct ml_map_parse *p, const struct ml_delta *d)
{
    if (p->sink && p->sink->fn) {
        p->sink->fn(p->sink->ctx, d);
    }
}

static void emit_type(const struct ml_map_parse *p, enum ml_delta_type type)
{
    hand_out(p, &(struct ml_delta){.type = type, .first = p->is_first});
}

/* Every delta that is netmap state goes through here, so that BEGIN comes before the first of a message. */
static void emit(struct ml_map_parse *p, const struct ml_delta *d)
{
    if (!p->has_begun) {
        p->has_begun = true;
        emit_type(p, ML_DELTA_BEGIN);
        if (p->is_first) {
            emit_type(p, ML_DELTA_HEALTH_BEGIN);
            hand_out(p, &(struct ml_delta){.type = ML_DELTA_MESSAGE_GONE, .name = "*"});
            emit_type(p, ML_DELTA_PEERS_BEGIN);
        }
    }
    hand_out(p, d);
}

/* Never inlined: a call is shorter than a delta. */
__attribute__((noinline)) static void emit_text(struct ml_map_parse *p, enum ml_delta_type type, const char *text)
{
    emit(p, &(struct ml_delta){.type = type, .text = text});
}

__attribute__((noinline)) static void emit_flag(struct ml_map_parse *p, enum ml_delta_type type, uint64_t id, bool flag)
{
    emit(p, &(struct ml_delta){.type = type, .id = id, .flag = flag});
}

static void emit_rules(struct ml_map_parse *p, enum ml_delta_type type, const char *set)
{
    if (p->is_first && !p->has_rules) {
        emit_text(p, ML_DELTA_RULES_CLEAR_ALL, NULL);
    }
    p->has_rules = true;
    emit_text(p, type, set);
}

/* ---- Small values ---- */

static bool parse_bool(const struct value *v, bool *out)
{
    if (v->kind != ML_JSON_TRUE && v->kind != ML_JSON_FALSE) {
        return false;
    }
    *out = v->kind == ML_JSON_TRUE;
    return true;
}

static bool parse_int(const struct ml_map_parse *p, const struct value *v, int64_t *out)
{
    return v->kind == ML_JSON_NUMBER && ml_json_get_i64(&p->json, out);
}

/* A number in thousandths, saturating; negative becomes 0. Enough for scores and pauses. */
static bool parse_milli(const struct ml_map_parse *p, const struct value *v, uint32_t *out)
{
    int64_t milli = 0;
    if (v->kind != ML_JSON_NUMBER || !ml_json_get_milli(&p->json, &milli)) {
        return false;
    }
    *out = milli < 0 ? 0 : (milli > UINT32_MAX ? UINT32_MAX : (uint32_t)milli);
    return true;
}

static bool set_u16(struct ml_map_parse *p, const struct value *v, uint16_t *out)
{
    int64_t n = 0;
    if (!parse_int(p, v, &n) || n < 0 || n > UINT16_MAX) {
        cut(p);
        return false;
    }
    *out = (uint16_t)n;
    return true;
}

/* An id: any int64. Servers give positive ones, but the official test server's fake nodes are negative half of the time. */
static void set_id(struct ml_map_parse *p, const struct value *v, uint64_t *out)
{
    int64_t n = 0;
    if (parse_int(p, v, &n)) {
        *out = (uint64_t)n;
    } else {
        cut(p);
    }
}

static void set_bool(struct ml_map_parse *p, const struct value *v, bool *out)
{
    if (!parse_bool(v, out)) {
        cut(p);
    }
}

static void set_text(struct ml_map_parse *p, const struct value *v, char *dst, size_t cap)
{
    if (v->kind != ML_JSON_STRING || !ml_str_copy(dst, cap, v->text, v->len) || v->is_cut) {
        cut(p);
    }
}

static bool set_key(struct ml_map_parse *p, const struct value *v, const char *prefix, uint8_t out[32])
{
    if (v->kind != ML_JSON_STRING || !ml_key_parse(prefix, v->text, v->len, out)) {
        cut(p);
        return false;
    }
    return true;
}

/* Go's zero time becomes 0: unset, never (C2). */
static bool set_time(struct ml_map_parse *p, const struct value *v, int64_t *unix_ms)
{
    if (v->kind != ML_JSON_STRING || !ml_time_parse_rfc3339(v->text, v->len, unix_ms)) {
        cut(p);
        return false;
    }
    if (!ml_unix_ms_is_set(*unix_ms)) {
        *unix_ms = 0;
    }
    return true;
}

static void set_expiry(struct ml_map_parse *p, const struct value *v, int64_t *unix_s)
{
    int64_t ms = 0;
    if (set_time(p, v, &ms)) {
        *unix_s = ms / 1000;
    }
}

static void set_ip(struct ml_map_parse *p, const struct value *v, ml_ip *out)
{
    if (v->kind != ML_JSON_STRING || (v->len != 0 && !ml_ip_parse(v->text, v->len, out))) {
        cut(p);
    }
}

static void add_prefix(struct ml_map_parse *p, const struct value *v, ml_prefix *list, uint8_t *count, uint8_t cap,
                       uint8_t *dropped)
{
    ml_prefix net;
    if (v->kind != ML_JSON_STRING || !ml_prefix_parse(v->text, v->len, &net)) {
        cut(p);
    } else if (*count < cap) {
        list[(*count)++] = net;
    } else {
        cut(p);
        *dropped = (uint8_t)(*dropped + (*dropped < UINT8_MAX ? 1 : 0));
    }
}

static void add_endpoint(struct ml_map_parse *p, const struct value *v, ml_addr *list, uint8_t *count, uint8_t *dropped)
{
    ml_addr addr;
    if (v->kind != ML_JSON_STRING || !ml_addr_parse(v->text, v->len, &addr)) {
        cut(p);
    } else if (*count < ML_NODE_ENDPOINTS) {
        list[(*count)++] = addr;
    } else {
        cut(p);
        *dropped = (uint8_t)(*dropped + (*dropped < UINT8_MAX ? 1 : 0));
    }
}

/* The legacy form of HomeDERP: "127.3.3.40:N". */
static void set_legacy_derp(struct ml_map_parse *p, const struct value *v)
{
    ml_addr addr;
    ml_ip magic = ml_ip4(127, 3, 3, 40);
    if (v->kind != ML_JSON_STRING || (v->len != 0 && !ml_addr_parse(v->text, v->len, &addr))) {
        cut(p);
    } else if (v->len != 0 && ml_ip_equal(&addr.ip, &magic)) {
        p->legacy_derp = addr.port;
    }
}

static void node_capability(struct ml_map_parse *p, const char *name, size_t len)
{
    struct ml_node *n = &p->u.node;
    n->cap_tailnet_lock |= equals(name, len, "https://tailscale.com/cap/tailnet-lock");
    n->cap_magicdns_aaaa |= equals(name, len, "magicdns-aaaa");
    n->cap_only_tcp_443 |= equals(name, len, "only-tcp-443");
    n->cap_silent_disco |= equals(name, len, "silent-disco");
    n->cap_randomize_port |= equals(name, len, "randomize-client-port");
}

/* ---- Containers begin ---- */

static void enter_rules(struct ml_map_parse *p, const char *name)
{
    (void)ml_str_set(p->set_name, sizeof p->set_name, name);
    emit_rules(p, ML_DELTA_RULES_BEGIN, p->set_name);
}

static void begin_record(struct ml_map_parse *p, size_t size)
{
    memset(&p->u, 0, size);
    p->is_bad = false;
}

static void enter_node(struct ml_map_parse *p, enum ml_map_field owner)
{
    begin_record(p, sizeof p->u.node);
    p->has_allowed = false;
    p->legacy_derp = 0;
    if (owner == F_PEERS && !p->is_full_list) {
        p->is_full_list = true;
        if (!p->is_first) {
            emit_text(p, ML_DELTA_PEERS_BEGIN, NULL);
        }
    }
}

static void enter(struct ml_map_parse *p, enum ml_map_ctx ctx, enum ml_map_field owner)
{
    switch (ctx) {
    case C_NODE:
        enter_node(p, owner);
        break;
    case C_PREFIXES:
        if (owner == F_NODE_ALLOWED) {
            p->has_allowed = true;
            p->u.node.allowed_count = 0;
        } else {
            p->u.node.address_count = 0;
        }
        break;
    case C_ENDPOINTS:
        if (owner == F_NODE_ENDPOINTS) {
            p->u.node.endpoint_count = 0;
        } else {
            p->u.patch.endpoint_count = 0;
            p->u.patch.fields |= ML_PATCH_ENDPOINTS;
        }
        break;
    case C_SERVICE:
        p->service_kind = 0;
        p->service_port = 0;
        break;
    case C_PATCH:
        begin_record(p, sizeof p->u.patch);
        break;
    case C_USER:
    case C_MESSAGE:
    case C_PING:
        begin_record(p, sizeof p->u);
        break;
    case C_REGIONS:
        emit_text(p, ML_DELTA_DERP_BEGIN, NULL);
        break;
    case C_REGION:
        begin_record(p, sizeof p->u.region);
        p->u.region.region.id = p->map_id <= UINT16_MAX ? (uint16_t)p->map_id : 0;
        break;
    case C_DERP_NODE:
        memset(&p->u.region.node, 0, sizeof p->u.region.node);
        p->u.region.cert[0] = '\0';
        p->is_derp_bad = false;
        break;
    case C_SCORES:
        emit_text(p, ML_DELTA_DERP_SCORE_RESET, NULL);
        break;
    case C_RULES:
        enter_rules(p, owner == F_PACKET_FILTER ? "base" : p->map_name);
        break;
    case C_RULE:
        ml_map_rule_begin(&p->u.rule);
        break;
    case C_DST:
        ml_map_dst_begin(&p->u.rule);
        break;
    case C_SRCS: /* a repeated field replaces the earlier one */
        p->u.rule.src_count = 0;
        break;
    case C_DSTS:
        p->u.rule.dst_count = 0;
        break;
    case C_PROTOS:
        p->u.rule.proto_count = 0;
        break;
    case C_DNS:
        p->is_proxied = false;
        break;
    case C_HEALTH:
        emit_text(p, ML_DELTA_HEALTH_BEGIN, NULL);
        break;
    case C_TKA:
        p->is_lock_disabled = false;
        break;
    default:
        break;
    }
}

/* ---- Containers end ---- */

static void leave_node(struct ml_map_parse *p, enum ml_map_field owner)
{
    struct ml_node *n = &p->u.node;
    if (n->home_region == 0) {
        n->home_region = p->legacy_derp;
    }
    if (!p->has_allowed || n->is_unsigned_peerapi_only) {
        memcpy(n->allowed, n->addresses, sizeof n->addresses);
        n->allowed_count = n->address_count;
    }
    bool is_usable = !p->is_bad && n->id != 0 && ml_key_is_set(&n->key);
    if (owner == F_SELF) {
        p->is_self_bad |= !is_usable;
        if (is_usable) {
            p->has_self = true;
            emit(p, &(struct ml_delta){.type = ML_DELTA_SELF, .node = n, .id = n->id});
        }
    } else if (!is_usable) {
        cut(p);
    } else {
        emit(p, &(struct ml_delta){.type = ML_DELTA_PEER, .node = n, .id = n->id});
    }
}

static void leave_patch(struct ml_map_parse *p)
{
    struct ml_node_patch *patch = &p->u.patch;
    if (p->is_bad || patch->id == 0) {
        cut(p);
        return;
    }
    emit(p, &(struct ml_delta){.type = ML_DELTA_PEER_PATCH, .patch = patch, .id = patch->id});
}

/* Keeps the first nodes, but never only such that cannot relay. */
static void leave_derp_node(struct ml_map_parse *p)
{
    struct ml_derp_region *r = &p->u.region.region;
    struct ml_derp_node *n = &p->u.region.node;
    if (n->host[0] == '\0' || p->is_derp_bad || !ml_derp_set_cert(n, p->u.region.cert)) {
        cut(p);
    } else if (r->node_count < ML_DERP_NODES) {
        r->nodes[r->node_count++] = *n;
    } else {
        bool can_relay = false;
        for (uint8_t i = 0; i < ML_DERP_NODES; i++) {
            can_relay |= !r->nodes[i].is_stun_only;
        }
        if (!can_relay && !n->is_stun_only) {
            r->nodes[ML_DERP_NODES - 1] = *n;
        }
    }
}

static void leave_ping(struct ml_map_parse *p)
{
    const struct ml_ping_request *ping = &p->u.ping;
    uint32_t h = hash_text(ping->url);
    if (ping->url[0] == '\0' || h == p->last_ping) {
        return;
    }
    p->last_ping = h;
    hand_out(p, &(struct ml_delta){.type = ML_DELTA_PING, .ping = ping});
}

static void leave_message(struct ml_map_parse *p)
{
    struct ml_writer w = ml_writer_of((uint8_t *)p->u.message.line, sizeof p->u.message.line);
    ml_write_str(&w, p->u.message.title);
    if (p->u.message.title[0] && p->u.message.text[0]) {
        ml_write_str(&w, ": ");
    }
    ml_write_str(&w, p->u.message.text);
    const char *line = ml_write_end_str(&w);
    emit(p, &(struct ml_delta){.type = ML_DELTA_MESSAGE, .name = p->map_name, .text = line});
}

static void leave(struct ml_map_parse *p, enum ml_map_ctx ctx, enum ml_map_field owner)
{
    switch (ctx) {
    case C_NODE:
        leave_node(p, owner);
        break;
    case C_NODES:
        if (owner == F_PEERS && p->is_full_list && !p->is_first) {
            emit_text(p, ML_DELTA_PEERS_END, NULL);
        }
        break;
    case C_SERVICE:
        if (p->service_kind == 4) {
            p->u.node.peerapi4 = p->service_port;
        } else if (p->service_kind == 6) {
            p->u.node.peerapi6 = p->service_port;
        }
        break;
    case C_PATCH:
        leave_patch(p);
        break;
    case C_REGION:
        if (p->u.region.region.id != 0) {
            emit(p,
                 &(struct ml_delta){.type = ML_DELTA_DERP_REGION, .region = &p->u.region.region, .id = p->u.region.region.id});
        } else {
            cut(p);
        }
        break;
    case C_DERP_NODE:
        leave_derp_node(p);
        break;
    case C_REGIONS:
        emit_text(p, ML_DELTA_DERP_END, NULL);
        break;
    case C_RULES:
        emit_text(p, ML_DELTA_RULES_END, p->set_name);
        break;
    case C_RULE:
        if (p->u.rule.is_invalid) {
            emit_text(p, ML_DELTA_RULES_INVALID, p->set_name);
        } else {
            p->cut_count += p->u.rule.cut_count;
            ml_map_rule_emit(p, emit);
        }
        break;
    case C_DST:
        ml_map_dst_end(&p->u.rule);
        break;
    case C_USER:
        if (p->u.user.id != 0) {
            emit(p, &(struct ml_delta){.type = ML_DELTA_USER, .id = p->u.user.id, .text = p->u.user.login});
        }
        break;
    case C_DNS:
        emit_flag(p, ML_DELTA_DNS_PROXIED, 0, p->is_proxied);
        break;
    case C_MESSAGE:
        leave_message(p);
        break;
    case C_TKA:
        p->has_tka = true;
        emit_flag(p, ML_DELTA_TKA, 0, !p->is_lock_disabled);
        break;
    case C_PING:
        leave_ping(p);
        break;
    default:
        break;
    }
}

/* ---- Scalars ---- */

static void scalar_top(struct ml_map_parse *p, enum ml_map_field f, const struct value *v)
{
    int64_t n = 0;
    switch (f) {
    case F_POP_URL:
        if (v->kind != ML_JSON_STRING || v->is_cut) {
            cut(p);
        } else if (v->len > 0 && hash_text(v->text) != p->last_pop) {
            p->last_pop = hash_text(v->text);
            hand_out(p, &(struct ml_delta){.type = ML_DELTA_POP_URL, .text = v->text});
        }
        break;
    case F_CONTROL_TIME:
        if (set_time(p, v, &n) && n != 0) {
            hand_out(p, &(struct ml_delta){.type = ML_DELTA_TIME, .unix_ms = n});
        }
        break;
    case F_DOMAIN:
        if (v->kind != ML_JSON_STRING) {
            cut(p);
        } else if (v->len > 0) {
            emit_text(p, ML_DELTA_DOMAIN, v->text);
        }
        break;
    case F_HEALTH:
        if (v->kind == ML_JSON_STRING) {
            emit_text(p, ML_DELTA_HEALTH, v->text);
        } else {
            cut(p);
        }
        break;
    case F_REMOVED:
        if (parse_int(p, v, &n) && n != 0) {
            emit_flag(p, ML_DELTA_PEER_REMOVED, (uint64_t)n, false);
        } else {
            cut(p);
        }
        break;
    case F_SEEN_CHANGE:
    case F_ONLINE_CHANGE: {
        bool flag = false;
        if (p->map_id != 0 && parse_bool(v, &flag)) {
            emit_flag(p, f == F_SEEN_CHANGE ? ML_DELTA_PEER_SEEN : ML_DELTA_PEER_ONLINE, p->map_id, flag);
        } else {
            cut(p);
        }
        break;
    }
    case F_SCORE: {
        uint32_t milli = 0;
        if (p->map_id == 0 || p->map_id > UINT16_MAX || !parse_milli(p, v, &milli) || milli == 0) {
            cut(p); /* zero or less is ignored by the reference too */
        } else {
            emit(p, &(struct ml_delta){.type = ML_DELTA_DERP_SCORE, .id = p->map_id, .score_milli = milli});
        }
        break;
    }
    case F_SLEEP:
        if (!parse_milli(p, v, &p->sleep_ms)) {
            cut(p);
        }
        break;
    case F_EXIT:
        hand_out(p, &(struct ml_delta){.type = ML_DELTA_DEBUG_EXIT});
        break;
    case F_USER_LOGIN:
        set_text(p, v, p->u.user.login, sizeof p->u.user.login);
        break;
    case F_MESSAGE_TITLE:
        set_text(p, v, p->u.message.title, sizeof p->u.message.title);
        break;
    case F_MESSAGE_TEXT:
        set_text(p, v, p->u.message.text, sizeof p->u.message.text);
        break;
    default:
        cut(p); /* a scalar where a container belongs */
        break;
    }
}

static void scalar_node(struct ml_map_parse *p, enum ml_map_field f, const struct value *v)
{
    struct ml_node *n = &p->u.node;
    switch (f) {
    case F_NODE_NAME:
        set_text(p, v, n->name, sizeof n->name);
        break;
    case F_NODE_KEY:
        p->is_bad |= !set_key(p, v, ML_KEY_PREFIX_NODE, n->key.b);
        break;
    case F_NODE_DISCO:
        p->is_bad |= !set_key(p, v, ML_KEY_PREFIX_DISCO, n->disco.b);
        break;
    case F_NODE_KEY_EXPIRY:
        set_expiry(p, v, &n->key_expiry);
        break;
    case F_NODE_SIGNATURE:
        n->has_key_signature = v->kind == ML_JSON_STRING && v->len > 0;
        break;
    case F_NODE_ADDRESSES: {
        uint8_t dropped = 0;
        add_prefix(p, v, n->addresses, &n->address_count, ML_NODE_ADDRESSES, &dropped);
        break;
    }
    case F_NODE_ALLOWED:
        add_prefix(p, v, n->allowed, &n->allowed_count, ML_NODE_ALLOWED, &n->allowed_dropped);
        break;
    case F_NODE_ENDPOINTS:
        add_endpoint(p, v, n->endpoints, &n->endpoint_count, &n->endpoint_dropped);
        break;
    case F_NODE_DERP:
        set_legacy_derp(p, v);
        break;
    case F_NODE_ONLINE:
        n->is_online_known = parse_bool(v, &n->is_online);
        break;
    case F_NODE_CAPABILITY:
        if (v->kind == ML_JSON_STRING) {
            node_capability(p, v->text, v->len);
        }
        break;
    case F_NODE_OS:
        set_text(p, v, n->os, sizeof n->os);
        break;
    case F_SERVICE_PROTO:
        if (v->kind == ML_JSON_STRING) {
            p->service_kind = equals(v->text, v->len, "peerapi4") ? 4 : (equals(v->text, v->len, "peerapi6") ? 6 : 0);
        }
        break;
    default:
        cut(p);
        break;
    }
}

static void scalar_patch(struct ml_map_parse *p, enum ml_map_field f, const struct value *v)
{
    struct ml_node_patch *patch = &p->u.patch;
    int64_t ms = 0;
    switch (f) {
    case F_PATCH_REGION:
        if (set_u16(p, v, &patch->region) && patch->region != 0) {
            patch->fields |= ML_PATCH_REGION;
        }
        break;
    case F_PATCH_CAP:
        if (set_u16(p, v, &patch->cap) && patch->cap != 0) {
            patch->fields |= ML_PATCH_CAP;
        }
        break;
    case F_PATCH_ENDPOINTS:
        add_endpoint(p, v, patch->endpoints, &patch->endpoint_count, &patch->endpoint_dropped);
        break;
    case F_PATCH_KEY:
        p->is_bad |= !set_key(p, v, ML_KEY_PREFIX_NODE, patch->key.b);
        patch->fields |= ML_PATCH_KEY;
        break;
    case F_PATCH_SIGNATURE:
        patch->fields |= ML_PATCH_KEY_SIGNATURE;
        break;
    case F_PATCH_DISCO:
        p->is_bad |= !set_key(p, v, ML_KEY_PREFIX_DISCO, patch->disco.b);
        patch->fields |= ML_PATCH_DISCO;
        break;
    case F_PATCH_ONLINE:
        if (parse_bool(v, &patch->is_online)) {
            patch->fields |= ML_PATCH_ONLINE;
        } else {
            cut(p);
        }
        break;
    case F_PATCH_SEEN:
        if (set_time(p, v, &ms)) {
            patch->last_seen = ms / 1000;
            patch->fields |= ML_PATCH_LAST_SEEN;
        }
        break;
    case F_PATCH_EXPIRY:
        if (set_time(p, v, &ms)) {
            patch->key_expiry = ms / 1000;
            patch->fields |= ML_PATCH_KEY_EXPIRY;
        }
        break;
    default:
        cut(p);
        break;
    }
}

/* A DERP server's address of one family: empty = ask DNS, an address = use it, any other text = the family is off. */
static void set_derp_ip(struct ml_map_parse *p, const struct value *v, bool want_ip4, ml_ip *ip, bool *is_off)
{
    if (v->kind != ML_JSON_STRING) {
        cut(p);
        return;
    }
    ml_ip parsed;
    bool is_ip = ml_ip_parse(v->text, v->len, &parsed) && ml_ip_is4(&parsed) == want_ip4;
    *is_off = v->len > 0 && !is_ip;
    if (is_ip) {
        *ip = parsed;
    }
}

static void scalar_derp(struct ml_map_parse *p, enum ml_map_field f, const struct value *v)
{
    struct ml_derp_region *r = &p->u.region.region;
    struct ml_derp_node *n = &p->u.region.node;
    int64_t port = 0;
    switch (f) {
    case F_REGION_CODE:
        set_text(p, v, r->code, sizeof r->code);
        break;
    case F_REGION_NAME:
        set_text(p, v, r->name, sizeof r->name);
        break;
    case F_DERP_HOST:
    case F_DERP_CERT: {
        char *dst = f == F_DERP_HOST ? n->host : p->u.region.cert;
        size_t cap = f == F_DERP_HOST ? ML_DERP_HOST_CAP : sizeof p->u.region.cert;
        if (v->kind != ML_JSON_STRING || v->is_cut || v->len >= cap) {
            /* Cut short it would be another host or another pin: such a server is left out. */
            p->is_derp_bad = true;
            cut(p);
        } else {
            set_text(p, v, dst, cap);
        }
        break;
    }
    case F_DERP_IP4:
        set_derp_ip(p, v, true, &n->ip4, &n->no_ip4);
        break;
    case F_DERP_IP6:
        set_derp_ip(p, v, false, &n->ip6, &n->no_ip6);
        break;
    case F_DERP_STUN_PORT:
        if (parse_int(p, v, &port) && port >= -1 && port <= UINT16_MAX) {
            n->stun_port = (int32_t)port;
        } else {
            n->stun_port = -1;
            cut(p);
        }
        break;
    default:
        cut(p);
        break;
    }
}

static void scalar_ping(struct ml_map_parse *p, enum ml_map_field f, const struct value *v)
{
    struct ml_ping_request *ping = &p->u.ping;
    bool is_string = v->kind == ML_JSON_STRING;
    switch (f) {
    case F_PING_URL:
        ping->is_cut |= !is_string || v->is_cut || !ml_str_copy(ping->url, sizeof ping->url, v->text, v->len);
        break;
    case F_PING_TYPES:
        ping->is_cut |= !is_string || v->is_cut || !ml_str_copy(ping->types, sizeof ping->types, v->text, v->len);
        break;
    case F_PING_PAYLOAD: {
        size_t n = is_string && !v->is_cut ? ml_base64_parse(v->text, v->len, ping->payload, sizeof ping->payload) : SIZE_MAX;
        ping->is_cut |= n == SIZE_MAX;
        ping->payload_len = n == SIZE_MAX ? 0 : n;
        break;
    }
    default:
        cut(p);
        break;
    }
}

static void scalar_rule(struct ml_map_parse *p, enum ml_map_field f, const struct value *v)
{
    int64_t n = 0;
    struct ml_map_rule *r = &p->u.rule;
    bool is_text = v->kind == ML_JSON_STRING && !v->is_cut;
    switch (f) {
    case F_RULE_SRC:
        if (is_text) {
            ml_map_rule_src(r, v->text, v->len);
        } else {
            r->is_spoilt = true;
        }
        break;
    case F_RULE_BITS:
    case F_DST_BITS:
        r->is_invalid = true;
        break;
    case F_RULE_PROTO:
        if (parse_int(p, v, &n)) {
            ml_map_rule_proto(r, n);
        } else {
            r->is_spoilt = true;
        }
        break;
    case F_DST_IP:
        if (is_text) {
            ml_map_dst_ip(r, v->text, v->len);
        } else {
            r->is_spoilt = true;
        }
        break;
    case F_PORT_FIRST:
    case F_PORT_LAST:
        if (!parse_int(p, v, &n) || n < 0 || n > UINT16_MAX) {
            r->is_spoilt = true;
        } else if (f == F_PORT_FIRST) {
            r->dst.port_first = (uint16_t)n;
        } else {
            r->dst.port_last = (uint16_t)n;
        }
        break;
    default:
        r->is_spoilt = true;
        cut(p);
        break;
    }
}

static void scalar_place(struct ml_map_parse *p, const struct value *v)
{
    void *at = (uint8_t *)p + (p->place & ((1U << ML_MAP_PLACE_SHIFT) - 1));
    switch ((enum ml_map_place)(p->place >> ML_MAP_PLACE_SHIFT)) {
    case PLACE_BOOL:
        set_bool(p, v, at);
        break;
    case PLACE_U16:
        (void)set_u16(p, v, at);
        break;
    case PLACE_ID:
        set_id(p, v, at);
        break;
    default:
        set_ip(p, v, at);
        break;
    }
}

/* ---- The walk ---- */

static void scalar(struct ml_map_parse *p, enum ml_map_field f, const struct value *v)
{
    if (f >= F_RULE_SRC) {
        scalar_rule(p, f, v);
    } else if (f >= F_PING_URL) {
        scalar_ping(p, f, v);
    } else if (f >= F_REGION_CODE) {
        scalar_derp(p, f, v);
    } else if (f >= F_PATCH_REGION) {
        scalar_patch(p, f, v);
    } else if (f >= F_NODE_NAME) {
        scalar_node(p, f, v);
    } else if (f != F_UNKNOWN) {
        scalar_top(p, f, v);
    }
}

/* Fields of a message that are not looked at: all state of a keepalive, all other peer fields after a full list. */
static bool is_ignored(const struct ml_map_parse *p, enum ml_map_field f)
{
    bool is_stateless = f == F_KEEPALIVE || f == F_PING || f == F_POP_URL || f == F_CONTROL_TIME;
    if (p->is_keepalive && !is_stateless) {
        return true;
    }
    return p->is_full_list && f >= F_CHANGED && f <= F_ONLINE_CHANGE;
}

/* A decimal id as the name of a member. */
static bool parse_map_id(struct ml_map_parse *p)
{
    const struct ml_json *j = &p->json;
    size_t sign = j->tok_len > 0 && j->tok[0] == '-' ? 1 : 0;
    if (!ml_dec_parse(j->tok + sign, j->tok_len - sign, &p->map_id) || p->map_id == 0 || p->map_id > INT64_MAX) {
        return false;
    }
    p->map_id = sign ? 0 - p->map_id : p->map_id;
    return true;
}

static void on_key(struct ml_map_parse *p)
{
    struct ml_json *j = &p->json;
    enum ml_map_ctx ctx = (enum ml_map_ctx)p->stack[p->depth - 1].ctx;
    uint8_t field = F_UNKNOWN;
    uint8_t child = C_NONE;
    p->place = 0;
    switch (ml_map_ctx_defs[ctx].kind) {
    case KIND_OBJECT: {
        const struct ml_map_field_def *def = ml_map_field_lookup(ctx, j->tok, j->tok_len);
        if (def && !(ctx == C_TOP && is_ignored(p, (enum ml_map_field)def->field))) {
            field = def->field;
            child = def->child;
            p->place = def->place;
        }
        break;
    }
    case KIND_ID_MAP:
        if (parse_map_id(p)) {
            field = p->stack[p->depth - 1].owner;
            child = ml_map_ctx_defs[ctx].child;
        } else {
            cut(p);
        }
        break;
    case KIND_NAME_MAP:
        if (ctx == C_CAPMAP) {
            node_capability(p, j->tok, j->tok_len);
        } else if (ml_str_copy(p->map_name, sizeof p->map_name, j->tok, j->tok_len) && !ml_json_is_cut(j)) {
            field = p->stack[p->depth - 1].owner;
            child = ml_map_ctx_defs[ctx].child;
        } else {
            cut(p);
        }
        break;
    default:
        break;
    }
    p->stack[p->depth - 1].field = field;
    p->stack[p->depth - 1].child = child;
    if (field == F_UNKNOWN) {
        ml_json_skip(j);
    }
}

/* null means absent, except in the three maps where it removes an entry. */
static void on_null(struct ml_map_parse *p)
{
    bool is_all = strcmp(p->map_name, "*") == 0;
    switch (p->stack[p->depth - 1].ctx) {
    case C_RULE_SETS:
        if (is_all) {
            /* Kept are sets that this message gave before: JSON objects of the servers are sorted, so there are none. */
            emit_rules(p, ML_DELTA_RULES_CLEAR_ALL, NULL);
        } else {
            emit_rules(p, ML_DELTA_RULES_DELETE, p->map_name);
        }
        break;
    case C_BITS:
        p->u.rule.is_invalid = true; /* an entry all the same */
        break;
    case C_PROTOS:
        p->u.rule.is_spoilt = true;
        break;
    case C_MESSAGES:
        emit(p, &(struct ml_delta){.type = ML_DELTA_MESSAGE_GONE, .name = p->map_name});
        break;
    default:
        break;
    }
}

/* A known field holds what it should not. In a filter rule that must not widen what the rule allows. */
static void on_wrong_type(struct ml_map_parse *p, uint8_t field)
{
    if (field >= F_RULE_SRC) {
        p->u.rule.is_spoilt = true;
    }
    if (field == F_NODE_KEY || field == F_NODE_DISCO || field == F_PATCH_KEY || field == F_PATCH_DISCO) {
        p->is_bad = true;
    }
    if (field == F_PING_PAYLOAD || field == F_PING_URL) {
        p->u.ping.is_cut = true;
    }
    cut(p);
}

static void on_container(struct ml_map_parse *p, bool is_object)
{
    if (p->depth == 0) {
        if (!is_object) {
            p->is_self_bad = true; /* the message is not an object: nothing in it is looked at */
            ml_json_skip(&p->json);
            return;
        }
        p->stack[0].ctx = C_TOP;
        p->stack[0].owner = F_UNKNOWN;
        p->depth = 1;
        return;
    }
    uint8_t kind = ml_map_ctx_defs[p->stack[p->depth - 1].ctx].kind;
    bool in_list = kind == KIND_LIST || kind == KIND_VALUES;
    uint8_t field = in_list ? p->stack[p->depth - 1].owner : p->stack[p->depth - 1].field;
    uint8_t child = in_list ? ml_map_ctx_defs[p->stack[p->depth - 1].ctx].child : p->stack[p->depth - 1].child;
    uint8_t child_kind = child == C_NONE ? KIND_OBJECT : ml_map_ctx_defs[child].kind;
    bool wants_object = child_kind == KIND_OBJECT || child_kind == KIND_ID_MAP || child_kind == KIND_NAME_MAP;
    bool is_cleared = child == C_RULES && strcmp(p->map_name, "*") == 0 && field == F_PACKET_FILTERS;
    if (child == C_NONE || wants_object != is_object || p->depth == ML_MAP_DEPTH || is_cleared) {
        if (!is_cleared) {
            on_wrong_type(p, field);
        }
        ml_json_skip(&p->json);
        return;
    }
    p->stack[p->depth].ctx = child;
    p->stack[p->depth].owner = field;
    p->stack[p->depth].field = F_UNKNOWN;
    p->stack[p->depth].child = C_NONE;
    p->depth++;
    enter(p, (enum ml_map_ctx)child, (enum ml_map_field)field);
}

/* Never inlined, nor is ml_map_parse_feed(): here `p` is in a register, there it would be far inside of another struct. */
__attribute__((noinline)) static void on_event(struct ml_map_parse *p, enum ml_json_event ev)
{
    if (p->depth == 0 && ev != ML_JSON_OBJECT_BEGIN && ev != ML_JSON_ARRAY_BEGIN) {
        p->is_self_bad = true; /* a bare scalar */
        return;
    }
    switch (ev) {
    case ML_JSON_KEY:
        on_key(p);
        break;
    case ML_JSON_OBJECT_BEGIN:
    case ML_JSON_ARRAY_BEGIN:
        on_container(p, ev == ML_JSON_OBJECT_BEGIN);
        break;
    case ML_JSON_OBJECT_END:
    case ML_JSON_ARRAY_END:
        p->depth--;
        leave(p, (enum ml_map_ctx)p->stack[p->depth].ctx, (enum ml_map_field)p->stack[p->depth].owner);
        break;
    case ML_JSON_NULL:
        on_null(p);
        break;
    default: {
        struct value v = {.kind = ev, .text = p->json.tok, .len = p->json.tok_len, .is_cut = ml_json_is_cut(&p->json)};
        uint8_t kind = ml_map_ctx_defs[p->stack[p->depth - 1].ctx].kind;
        uint8_t field = p->stack[p->depth - 1].field;
        if (kind == KIND_LIST || (kind != KIND_VALUES && p->stack[p->depth - 1].child != C_NONE)) {
            on_wrong_type(p, kind == KIND_LIST ? p->stack[p->depth - 1].owner : field);
        } else if (kind == KIND_OBJECT && p->place) {
            scalar_place(p, &v);
        } else {
            scalar(p, (enum ml_map_field)(kind == KIND_VALUES ? p->stack[p->depth - 1].owner : field), &v);
        }
        break;
    }
    }
}

void ml_map_parse_init(struct ml_map_parse *p)
{
    memset(p, 0, sizeof *p);
    p->is_first = true;
    ml_map_parse_begin(p);
}

void ml_map_parse_stream(struct ml_map_parse *p)
{
    p->is_first = true;
    ml_map_parse_begin(p);
}

void ml_map_parse_begin(struct ml_map_parse *p)
{
    ml_json_init(&p->json, p->token, sizeof p->token);
    p->depth = 0;
    p->has_begun = p->has_self = p->is_self_bad = p->is_keepalive = p->is_full_list = p->has_rules = p->has_tka = false;
    p->sleep_ms = 0;
}

__attribute__((noinline)) bool ml_map_parse_feed(struct ml_map_parse *p, const uint8_t *buf, size_t len,
                                                 const struct ml_delta_sink *sink)
{
    p->sink = sink;
    enum ml_json_event ev = ML_JSON_NEED_MORE;
    size_t used = 0;
    do {
        ev = ml_json_next(&p->json, buf, len, &used);
        buf += used;
        len -= used;
        if (ev != ML_JSON_NEED_MORE && ev != ML_JSON_END && ev != ML_JSON_ERROR) {
            on_event(p, ev);
        }
    } while (ev != ML_JSON_NEED_MORE && ev != ML_JSON_ERROR && !(ev == ML_JSON_END && len == 0));
    p->sink = NULL;
    return ev != ML_JSON_ERROR;
}

bool ml_map_parse_end(struct ml_map_parse *p, const struct ml_delta_sink *sink)
{
    if (ml_json_finish(&p->json) != ML_JSON_END || p->is_self_bad || (p->is_first && !p->is_keepalive && !p->has_self)) {
        ml_map_parse_abort(p, sink);
        return false;
    }
    p->sink = sink;
    if (p->is_first && p->has_self) {
        if (!p->has_rules) {
            emit_text(p, ML_DELTA_RULES_CLEAR_ALL, NULL);
        }
        if (!p->has_tka) {
            emit_text(p, ML_DELTA_TKA, NULL);
        }
        emit_type(p, ML_DELTA_PEERS_END);
    }
    if (p->has_begun) {
        emit_type(p, ML_DELTA_END);
        p->has_begun = false;
    }
    if (p->has_self) {
        p->is_first = false;
    }
    p->sink = NULL;
    return true;
}

void ml_map_parse_abort(struct ml_map_parse *p, const struct ml_delta_sink *sink)
{
    p->sink = sink;
    if (p->has_begun) {
        emit_type(p, ML_DELTA_ABORT);
        p->has_begun = false;
    }
    p->sink = NULL;
}
