/*
 * A network under the engines of core_world.h: relays that speak DERP, STUN and the latency check; routers; delay.
 *
 * A relay of region R is 192.0.2.(200 + R), "relayR.example". Everything takes time: NET_UDP_DELAY each way for datagrams,
 * NET_RELAY_DELAY each way between a node and any relay unless its region says otherwise. What the engines publish is given to
 * the others by net_exchange(), as control would.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_CORE_NET_H
#define ML_TEST_CORE_NET_H

#include "core/core_world.h"
#include "derp/derp_frame.h"
#include "disco/disco_demux.h"
#include "stun/stun_msg.h"

#define NET_REGIONS   4
#define NET_UDP_DELAY ML_MSEC(10)
#define NET_HOLE_LIFE ML_SEC(30)

/* What stands between a node and the rest. All but NET_OPEN let in only what answers. */
enum net_kind {
    NET_OPEN,
    NET_FIREWALL, /* the node's own address, filtered */
    NET_EASY,     /* one public port per socket */
    NET_HARD      /* one public port per destination */
};

struct net_hole {
    ml_addr to;
    uint16_t port; /* public port */
    ml_time at;    /* last packet out */
};

struct net_host {
    enum net_kind kind;
    bool is_blocked; /* no UDP at all */
    ml_ip pub;
    struct net_hole holes[256];
    unsigned hole_count;
    unsigned tx, rx; /* datagrams out and in */
    uint64_t tx_bytes, stream_tx_bytes, stream_rx_bytes;
    unsigned stun_requests, pings_out;
};

struct net_stream {
    bool is_used, is_open, is_stuck; /* stuck: the node's application takes nothing, so neither does its port */
    bool has_login, is_preferred;
    unsigned node;
    uint16_t region;
    ml_stream_id id;
    ml_addr local; /* the node's end of it: what is written to it reaches a node that still has that address */
    ml_node_key key;
    ml_time keepalive_at;
    uint8_t in[8192];
    size_t in_len;
    uint8_t pending[65536]; /* arrived at the node, not taken by its engine yet */
    size_t pending_len;
    ml_time pending_since; /* 0 = all was taken */
};

struct net_msg {
    ml_time due;
    unsigned seq;
    unsigned node;
    ml_addr from;    /* datagram */
    ml_stream_id id; /* or stream bytes; len 0 = opened */
    size_t len;
    struct net_msg *next;
    uint8_t data[];
};

struct net {
    struct world w;
    struct net_host host[WORLD_NODES];
    struct net_stream streams[16];
    struct net_msg *queue;
    unsigned seq;
    ml_private_key relay_key;
    ml_node_key relay_pub;
    uint64_t relay_seed;
    ml_time relay_delay[NET_REGIONS + 1];
    bool is_relay_down[NET_REGIONS + 1];
    bool no_home[NET_REGIONS + 1];
    uint8_t regions; /* 1..regions exist */
    unsigned dials[NET_REGIONS + 1], latency_checks[NET_REGIONS + 1], frames[NET_REGIONS + 1];
    unsigned stun_asked[NET_REGIONS + 1];
    ml_addr stun_saw[WORLD_NODES];  /* source of the last STUN request of each node */
    ml_addr wg_to[WORLD_NODES];     /* where its last WireGuard datagram went */
    ml_addr wg_source[WORLD_NODES]; /* if set, its WireGuard datagrams seem to come from there */
    ml_time longest_stall;          /* longest time that stream bytes waited for an engine to take them */
    bool is_overlay_blocked[WORLD_NODES];
};

static inline ml_ip net_relay_ip(uint16_t region)
{
    return ml_ip4(192, 0, 2, (uint8_t)(200 + region));
}

static inline void net_post(struct net *n, ml_time delay, unsigned node, const ml_addr *from, ml_stream_id id, const void *data,
                            size_t len)
{
    struct net_msg *m = malloc(sizeof *m + len + 1);
    if (!m) {
        abort();
    }
    memset(m, 0, sizeof *m);
    m->due = n->w.now + delay;
    m->seq = n->seq++;
    m->node = node;
    m->id = id;
    m->len = len;
    if (from) {
        m->from = *from;
    }
    if (len) {
        memcpy(m->data, data, len);
    }
    struct net_msg **at = &n->queue;
    while (*at && (*at)->due <= m->due) {
        at = &(*at)->next;
    }
    m->next = *at;
    *at = m;
}

/* ---- UDP ---- */

static inline struct net_hole *net_hole_to(struct net *n, struct net_host *h, const ml_addr *to)
{
    for (unsigned i = 0; i < h->hole_count; i++) {
        if (ml_addr_equal(&h->holes[i].to, to)) {
            return &h->holes[i];
        }
    }
    struct net_hole *hole = &h->holes[h->hole_count++ % 256];
    if (h->hole_count > 256) {
        h->hole_count = 256;
    }
    *hole = (struct net_hole){.to = *to, .port = (uint16_t)(h->kind == NET_HARD ? 20000 + n->seq++ % 40000 : 0)};
    return hole;
}

/* The source address as the world sees it; opens the way back. */
static inline ml_addr net_out(struct net *n, unsigned node, const ml_addr *to)
{
    struct net_host *h = &n->host[node];
    struct net_hole *hole = net_hole_to(n, h, to);
    ml_addr src = n->w.n[node].addr;
    hole->at = n->w.now;
    if (h->kind == NET_EASY || h->kind == NET_HARD) {
        src.ip = h->pub;
        src.port = h->kind == NET_EASY ? 5000 : hole->port;
    }
    hole->port = src.port;
    return src;
}

/* Does a datagram to `to` from `from` reach this node? */
static inline bool net_lets_in(struct net *n, unsigned node, const ml_addr *to, const ml_addr *from)
{
    struct net_host *h = &n->host[node];
    bool is_nat = h->kind == NET_EASY || h->kind == NET_HARD;
    const ml_ip *ip = is_nat ? &h->pub : &n->w.n[node].addr.ip;
    if (h->is_blocked || !ml_ip_equal(&to->ip, ip) || (!is_nat && to->port != n->w.n[node].addr.port)) {
        return false;
    }
    for (unsigned i = 0; i < h->hole_count && h->kind != NET_OPEN; i++) {
        const struct net_hole *hole = &h->holes[i];
        if (ml_addr_equal(&hole->to, from) && hole->port == to->port && n->w.now - hole->at < NET_HOLE_LIFE) {
            return true;
        }
    }
    return h->kind == NET_OPEN;
}

static inline void net_stun(struct net *n, unsigned node, const ml_addr *to, const ml_addr *src, const uint8_t *req,
                            uint16_t region)
{
    uint8_t answer[32] = {0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42};
    static const uint8_t cookie[4] = {0x21, 0x12, 0xa4, 0x42};
    memcpy(answer + 8, req + 8, 12);
    memcpy(answer + 20, "\0\x20\0\x08\0\x01", 6);
    ml_put_be16(answer + 26, (uint16_t)(src->port ^ 0x2112));
    for (int i = 0; i < 4; i++) {
        answer[28 + i] = src->ip.b[12 + i] ^ cookie[i];
    }
    n->stun_saw[node] = *src;
    n->stun_asked[region]++;
    n->host[node].stun_requests++;
    if (region <= NET_REGIONS && !n->is_relay_down[region]) {
        net_post(n, 2 * n->relay_delay[region], node, to, 0, answer, sizeof answer);
    }
}

static inline void net_datagram(struct net *n, unsigned node, const ml_output *out)
{
    struct net_host *h = &n->host[node];
    h->tx++;
    h->tx_bytes += out->len;
    n->w.n[node].datagrams++;
    if (h->is_blocked) {
        return;
    }
    ml_addr src = net_out(n, node, &out->addr);
    for (uint16_t r = 1; r <= n->regions; r++) {
        ml_ip ip = net_relay_ip(r);
        if (ml_ip_equal(&out->addr.ip, &ip) && out->addr.port == ML_STUN_PORT && ml_stun_is_binding(out->data, out->len)) {
            net_stun(n, node, &out->addr, &src, out->data, r);
            return;
        }
    }
    bool is_wg = ml_datagram_classify(out->data, out->len) == ML_DATAGRAM_WIREGUARD;
    if (is_wg) {
        n->wg_to[node] = out->addr;
    }
    for (unsigned k = 0; k < WORLD_NODES; k++) {
        if (k != node && net_lets_in(n, k, &out->addr, &src)) {
            if (is_wg && ml_addr_is_set(&n->wg_source[node])) {
                src = n->wg_source[node];
            }
            net_post(n, NET_UDP_DELAY, k, &src, 0, out->data, out->len);
        }
    }
}

/* ---- Relays ---- */

static inline struct net_stream *net_stream_of(struct net *n, unsigned node, ml_stream_id id)
{
    for (size_t i = 0; i < sizeof n->streams / sizeof n->streams[0]; i++) {
        if (n->streams[i].is_used && n->streams[i].node == node && n->streams[i].id == id) {
            return &n->streams[i];
        }
    }
    return NULL;
}

static inline void net_open(struct net *n, unsigned node, const ml_stream_open *o)
{
    unsigned region = 0;
    n->w.n[node].opens++;
    if (sscanf(o->host, "relay%u.example", &region) != 1 || region == 0 || region > NET_REGIONS) {
        return; /* control is never reached */
    }
    n->dials[region]++;
    if (n->is_relay_down[region]) {
        ml_handle_stream_closed(n->w.n[node].ml, n->w.now, o->id, ML_CLOSE_REFUSED, NULL);
        return;
    }
    for (size_t i = 0; i < sizeof n->streams / sizeof n->streams[0]; i++) {
        struct net_stream *s = &n->streams[i];
        if (!s->is_used) {
            memset(s, 0, sizeof *s);
            s->is_used = true;
            s->node = node;
            s->region = (uint16_t)region;
            s->id = o->id;
            s->local = n->w.n[node].addr;
            net_post(n, 4 * n->relay_delay[region], node, NULL, o->id, NULL, 0);
            return;
        }
    }
    abort();
}

static inline void net_reply(struct net *n, const struct net_stream *s, const void *data, size_t len)
{
    net_post(n, 2 * n->relay_delay[s->region], s->node, NULL, s->id, data, len); /* there and back, or from node to node */
}

static inline void net_frame_out(struct net *n, const struct net_stream *s, uint8_t type, const uint8_t *a, size_t a_len,
                                 const uint8_t *b, size_t b_len)
{
    uint8_t frame[5 + 64 + 2048] = {type};
    ml_put_be32(frame + 1, (uint32_t)(a_len + b_len));
    if (a_len) {
        memcpy(frame + 5, a, a_len);
    }
    if (b_len) {
        memcpy(frame + 5 + a_len, b, b_len);
    }
    net_reply(n, s, frame, 5 + a_len + b_len);
}

static inline void net_frame_in(struct net *n, struct net_stream *s, uint8_t type, uint8_t *p, size_t len)
{
    static const char info[] = "{\"version\":2}";
    uint8_t shared[32], box[24 + 16 + sizeof info];
    n->frames[s->region]++;
    switch (type) {
    case ML_DERP_CLIENT_INFO:
        memcpy(s->key.b, p, 32);
        if (!ml_box_beforenm(shared, s->key.b, &n->relay_key)) {
            abort();
        }
        world_random(&n->relay_seed, box, 24);
        ml_box_seal(box + 24, shared, box, (const uint8_t *)info, sizeof info - 1);
        s->has_login = true;
        net_frame_out(n, s, ML_DERP_SERVER_INFO, box, sizeof box - 1, NULL, 0);
        break;
    case ML_DERP_NOTE_PREFERRED:
        s->is_preferred = p[0] != 0;
        break;
    case ML_DERP_PING:
        net_frame_out(n, s, ML_DERP_PONG, p, 8, NULL, 0);
        break;
    case ML_DERP_SEND_PACKET:
        /* The newest connection of the key in this region, as a relay does it. */
        for (size_t i = sizeof n->streams / sizeof n->streams[0]; i-- > 0;) {
            struct net_stream *to = &n->streams[i];
            if (to->is_used && to->has_login && to->region == s->region && memcmp(to->key.b, p, 32) == 0) {
                net_frame_out(n, to, ML_DERP_RECV_PACKET, s->key.b, 32, p + 32, len - 32);
                break;
            }
        }
        break;
    default:
        break;
    }
}

static inline void net_http(struct net *n, struct net_stream *s)
{
    static const char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n";
    static const char checked[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const uint8_t magic[8] = {0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};
    if (memcmp(s->in, "GET /derp/latency-check HTTP/1.1\r\n", 34) == 0) {
        n->latency_checks[s->region]++;
        net_reply(n, s, checked, sizeof checked - 1);
    } else if (memcmp(s->in, "GET /derp HTTP/1.1\r\n", 20) == 0) {
        net_reply(n, s, upgraded, sizeof upgraded - 1);
        net_frame_out(n, s, ML_DERP_SERVER_KEY, magic, 8, n->relay_pub.b, 32);
        s->is_open = true;
    }
}

/* Bytes the engine wrote; whole requests and frames are acted on. */
static inline void net_relay_in(struct net *n, struct net_stream *s, const uint8_t *p, size_t len)
{
    if (len > sizeof s->in - s->in_len) {
        abort();
    }
    memcpy(s->in + s->in_len, p, len);
    s->in_len += len;
    while (s->in_len) {
        size_t take = 0;
        if (!s->is_open) {
            s->in[s->in_len < sizeof s->in ? s->in_len : sizeof s->in - 1] = 0;
            char *end = strstr((char *)s->in, "\r\n\r\n");
            if (!end) {
                return;
            }
            take = (size_t)(end + 4 - (char *)s->in);
            net_http(n, s);
        } else {
            if (s->in_len < 5 || s->in_len < 5 + ml_get_be32(s->in + 1)) {
                return;
            }
            take = 5 + ml_get_be32(s->in + 1);
            net_frame_in(n, s, s->in[0], s->in + 5, take - 5);
        }
        memmove(s->in, s->in + take, s->in_len - take);
        s->in_len -= take;
    }
}

/* ---- Driving ---- */

/* Gives the engine what has come on a stream; notes for how long it leaves bytes untaken. */
static inline bool net_feed(struct net *n, struct net_stream *s)
{
    size_t used = 0;
    if (!s->pending_len || s->is_stuck) {
        return false;
    }
    ml_handle_stream_data(n->w.n[s->node].ml, n->w.now, s->id, s->pending, s->pending_len, &used);
    memmove(s->pending, s->pending + used, s->pending_len - used);
    s->pending_len -= used;
    if (used) {
        s->pending_since = s->pending_len ? n->w.now : 0;
    } else if (n->w.now - s->pending_since > n->longest_stall) {
        n->longest_stall = n->w.now - s->pending_since;
    }
    return used > 0;
}

static inline bool net_drain(struct net *n, unsigned i)
{
    struct world_node *node = &n->w.n[i];
    ml_output out;
    bool any = false;
    while (world_poll(node->ml, n->w.now, &out)) {
        any = true;
        switch (out.type) {
        case ML_OUT_DATAGRAM:
            net_datagram(n, i, &out);
            break;
        case ML_OUT_OVERLAY:
            if (out.len <= sizeof node->inbox[0]) {
                memcpy(node->inbox[node->inbox_count % 8], out.data, out.len);
                node->inbox_len[node->inbox_count % 8] = out.len;
                node->inbox_count++;
            }
            break;
        case ML_OUT_STREAM_OPEN:
            net_open(n, i, &out.stream);
            break;
        case ML_OUT_STREAM_CLOSE: {
            struct net_stream *s = net_stream_of(n, i, out.stream.id);
            node->closes++;
            if (s) {
                s->is_used = false;
            }
            break;
        }
        case ML_OUT_STORE:
            node->stores++;
            ml_handle_stored(node->ml, n->w.now, out.store, true);
            break;
        case ML_OUT_EVENT:
            node->events[node->event_count++ % 64] = out.event;
            break;
        case ML_OUT_RESOLVE:
            ml_handle_resolved(node->ml, n->w.now, out.token, NULL, 0);
            break;
        case ML_OUT_NONE:
            break;
        }
    }
    for (size_t k = 0; k < sizeof n->streams / sizeof n->streams[0]; k++) {
        struct net_stream *s = &n->streams[k];
        const uint8_t *p = NULL;
        size_t len = s->is_used && s->node == i ? ml_stream_tx_peek(node->ml, s->id, &p) : 0;
        if (len && ml_addr_equal(&s->local, &node->addr)) {
            uint8_t copy[4096];
            len = len < sizeof copy ? len : sizeof copy;
            memcpy(copy, p, len);
            n->host[i].stream_tx_bytes += len;
            ml_stream_tx_done(node->ml, n->w.now, s->id, len);
            net_relay_in(n, s, copy, len);
            any = true;
        }
        any = (s->is_used && s->node == i && net_feed(n, s)) || any;
    }
    return any;
}

static inline void net_settle(struct net *n)
{
    for (int round = 0; round < 1000; round++) {
        bool any = false;
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            any = (!n->is_overlay_blocked[i] && net_drain(n, i)) || any;
        }
        if (!any) {
            return;
        }
    }
}

static inline void net_deliver(struct net *n, struct net_msg *m)
{
    struct world_node *node = &n->w.n[m->node];
    if (!m->id) {
        n->host[m->node].rx++;
        (void)ml_handle_datagram(node->ml, n->w.now, &m->from, m->data, m->len);
        return;
    }
    struct net_stream *s = net_stream_of(n, m->node, m->id);
    if (!s || n->is_relay_down[s->region] || !ml_addr_equal(&s->local, &node->addr)) {
        return;
    }
    if (m->len == 0) {
        const ml_stream_info info = {.local = node->addr};
        ml_handle_stream_opened(node->ml, n->w.now, m->id, &info);
        return;
    }
    n->host[m->node].stream_rx_bytes += m->len;
    if (m->len > sizeof s->pending - s->pending_len) {
        abort();
    }
    if (!s->pending_len) {
        s->pending_since = n->w.now;
    }
    memcpy(s->pending + s->pending_len, m->data, m->len);
    s->pending_len += m->len;
    net_feed(n, s);
}

/* Every relay says something once a minute. */
static inline void net_keepalive(struct net *n)
{
    for (size_t i = 0; i < sizeof n->streams / sizeof n->streams[0]; i++) {
        struct net_stream *s = &n->streams[i];
        if (s->is_used && s->has_login && n->w.now >= s->keepalive_at) {
            s->keepalive_at = n->w.now + ML_SEC(60);
            net_frame_out(n, s, ML_DERP_KEEPALIVE, NULL, 0, NULL, 0);
        }
    }
}

/* Lets time pass, from one thing to happen to the next. */
static inline void net_run(struct net *n, ml_time span)
{
    ml_time end = n->w.now + span;
    net_settle(n);
    while (n->w.now < end) {
        ml_time next = end;
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            ml_time at = ml_poll_deadline(n->w.n[i].ml);
            next = at < next ? at : next;
        }
        next = n->queue && n->queue->due < next ? n->queue->due : next;
        n->w.now = next > n->w.now ? next : n->w.now + 1;
        while (n->queue && n->queue->due <= n->w.now) {
            struct net_msg *m = n->queue;
            n->queue = m->next;
            net_deliver(n, m);
            free(m);
            net_settle(n);
        }
        net_keepalive(n);
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            ml_handle_time(n->w.n[i].ml, n->w.now);
        }
        net_settle(n);
    }
}

/* ---- Set-up ---- */

static inline ml_ip net_ip6(uint32_t prefix, uint8_t host)
{
    uint8_t b[16] = {0};
    ml_put_be32(b, prefix);
    b[4] = 0xa1;
    b[5] = 0xe0;
    b[15] = host;
    return ml_ip_from16(b);
}

static inline void net_regions(struct net *n, unsigned i)
{
    world_delta(&n->w, i, &(struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    for (uint16_t r = 1; r <= n->regions; r++) {
        struct ml_derp_region region = {.id = r, .node_count = 1, .no_measure_no_home = n->no_home[r]};
        snprintf(region.code, sizeof region.code, "r%u", (unsigned)r);
        snprintf(region.nodes[0].host, sizeof region.nodes[0].host, "relay%u.example", (unsigned)r);
        region.nodes[0].ip4 = net_relay_ip(r);
        world_delta(&n->w, i, &(struct ml_delta){.type = ML_DELTA_DERP_REGION, .region = &region});
    }
    world_delta(&n->w, i, &(struct ml_delta){.type = ML_DELTA_DERP_END});
}

static inline void net_node_of(const struct net *n, unsigned k, struct ml_node *out)
{
    const struct ml_control_published *p = &n->w.n[k].ml->control.pub;
    world_node_of(&n->w, k, out);
    out->home_region = p->home_region;
    out->endpoint_count = 0;
    for (uint8_t e = 0; e < p->endpoint_count && e < ML_NODE_ENDPOINTS; e++) {
        out->endpoints[out->endpoint_count++] = p->endpoints[e];
    }
}

/* Tells every node what the others have published. */
static inline void net_exchange(struct net *n)
{
    struct ml_node node;
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        for (unsigned k = 0; k < WORLD_NODES; k++) {
            if (k != i) {
                net_node_of(n, k, &node);
                world_delta(&n->w, i, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
            }
        }
        world_delta(&n->w, i, &(struct ml_delta){.type = ML_DELTA_END});
    }
    net_settle(n);
}

/* Nodes behind these, homes chosen, each other's addresses known, nothing sent yet. */
static inline struct net *net_start(enum net_kind a, enum net_kind b, uint8_t regions)
{
    struct net *n = calloc(1, sizeof *n);
    if (!n || !ml_crypto_init()) {
        abort();
    }
    n->w.now = ML_SEC(5);
    n->relay_seed = 99;
    n->regions = regions;
    const ml_random rng = {.fill = world_random, .ctx = &n->relay_seed};
    ml_x25519_keygen(&n->relay_key, &rng);
    ml_x25519_base(n->relay_pub.b, &n->relay_key);
    for (uint16_t r = 1; r <= NET_REGIONS; r++) {
        n->relay_delay[r] = ML_MSEC(20) * r; /* the first is the nearest */
    }
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        struct world_node *node = &n->w.n[i];
        n->host[i] = (struct net_host){.kind = i ? b : a, .pub = ml_ip4(198, 51, 100, (uint8_t)(1 + i))};
        node->seed = 2000 + i;
        bool is_nat = n->host[i].kind >= NET_EASY;
        node->addr =
            (ml_addr){.ip = is_nat ? ml_ip4(10, (uint8_t)i, 0, 2) : ml_ip4(203, 0, 113, (uint8_t)(1 + i)), .port = 41641};
        node->ip4 = ml_ip4(100, 64, 0, (uint8_t)(1 + i));
        node->ip6 = net_ip6(0xfd7a115c, (uint8_t)(1 + i));
        const ml_config cfg = {.random = {.fill = world_random, .ctx = &node->seed},
                               .control_url = "http://127.0.0.1:1",
                               .hostname = i ? "b" : "a"};
        size_t need = ml_mem_needed(&cfg);
        node->mem = malloc(need);
        if (!node->mem || ml_init(&node->ml, node->mem, need, &cfg) != ML_OK) {
            abort();
        }
        ml_x25519_keygen(&node->ml->identity.machine, &node->ml->random);
        ml_x25519_keygen(&node->ml->identity.disco, &node->ml->random);
        ml_x25519_keygen(&node->ml->identity.node, &node->ml->random);
        node->ml->identity.has_node = node->ml->has_machine = true;
        if (ml_start(node->ml, n->w.now) != ML_OK) {
            abort();
        }
        ml_set_local_addrs(node->ml, n->w.now, &node->addr, 1);
    }
    return n;
}

/* Everything of the tailnet's IPv6 addresses, besides what world_netmap() allows. */
static inline void net_allow6(struct net *n, unsigned i)
{
    struct ml_rule rule = {.src_count = 1, .dst_count = 1};
    rule.srcs[0] = (ml_prefix){.ip = net_ip6(0xfd7a115c, 0), .bits = 48};
    rule.dsts[0] = (struct ml_rule_dst){.net = rule.srcs[0], .port_last = 65535};
    world_delta(&n->w, i, &(struct ml_delta){.type = ML_DELTA_RULES_BEGIN, .text = "six"});
    world_delta(&n->w, i, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &rule});
    world_delta(&n->w, i, &(struct ml_delta){.type = ML_DELTA_RULES_END, .text = "six"});
}

static inline void net_join(struct net *n)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        ml_netcheck_set_map_poll(&n->w.n[i].ml->netcheck, true);
        net_regions(n, i);
        world_netmap(&n->w, i);
        net_allow6(n, i);
    }
    net_run(n, ML_SEC(6));
    net_exchange(n);
    net_run(n, ML_SEC(60)); /* long enough for own endpoints to be stale again, as on any idle node */
}

static inline void net_end(struct net *n)
{
    while (n->queue) {
        struct net_msg *m = n->queue;
        n->queue = m->next;
        free(m);
    }
    world_end(&n->w);
    free(n);
}

static inline ml_err net_send_ip(struct net *n, unsigned i, unsigned k, const char *text, bool is6)
{
    uint8_t pkt[256];
    ml_addr src = {.ip = is6 ? n->w.n[i].ip6 : n->w.n[i].ip4, .port = 1000};
    ml_addr dst = {.ip = is6 ? n->w.n[k].ip6 : n->w.n[k].ip4, .port = 2000};
    size_t len = ml_udp_build(pkt, sizeof pkt, &src, &dst, (const uint8_t *)text, strlen(text), 1);
    ml_err err = ml_handle_overlay(n->w.n[i].ml, n->w.now, pkt, len);
    net_settle(n);
    return err;
}

/* A UDP datagram of the host of node i to that of node k. */
static inline ml_err net_send(struct net *n, unsigned i, unsigned k, const char *text)
{
    return net_send_ip(n, i, k, text, false);
}

/* The trusted direct address from i to k, unset while relayed. */
static inline ml_addr net_direct(struct net *n, unsigned i, unsigned k)
{
    ml_peer_info info;
    memset(&info, 0, sizeof info);
    (void)ml_get_peer_by_ip(n->w.n[i].ml, n->w.now, &n->w.n[k].ip4, &info);
    return info.direct;
}

static inline bool net_is_direct(struct net *n, unsigned i, unsigned k)
{
    ml_addr a = net_direct(n, i, k);
    return ml_addr_is_set(&a);
}

#endif
