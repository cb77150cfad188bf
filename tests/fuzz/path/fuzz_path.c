/*
 * A path manager with two peers, driven by a byte string of events: packets, time, netmap changes, datagrams both authentic
 * and not. After each event the invariants of path.h must hold.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "base/addr.h"
#include "base/key.h"
#include "path/path_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { SLOTS = 2 };

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    uint32_t *s = ctx;
    for (size_t i = 0; i < len; i++) {
        *s = *s * 1664525U + 1013904223U;
        buf[i] = (uint8_t)(*s >> 24);
    }
}

struct world {
    uint32_t seed;
    ml_random rng;
    struct ml_path p;
    struct ml_path_peer peers[SLOTS];
    ml_private_key priv[SLOTS];
    ml_disco_key pub[SLOTS];
    ml_node_key node[SLOTS];
    struct ml_disco_shared shared[SLOTS];
    ml_time now;
    uint8_t last_tx[SLOTS][ML_DISCO_TX_LEN]; /* of the newest ping to each peer, so that pongs can match */
};

/* Small worlds of addresses, so that events meet. */
static ml_addr addr_of(uint8_t b)
{
    if (b & 0x80) {
        return (ml_addr){.ip = {{0x20, 0x01, 0x0d, 0xb8, [15] = b & 0x1f}}, .port = (uint16_t)(1 + (b >> 5))};
    }
    return (ml_addr){.ip = ml_ip4(203, 0, 113, b & 0x1f), .port = (uint16_t)(1 + (b >> 5))};
}

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check(struct world *w)
{
    for (int s = 0; s < SLOTS; s++) {
        struct ml_path_peer *peer = &w->peers[s];
        size_t given = 0, given6 = 0;
        for (size_t i = 0; i < ML_PATH_CANDIDATES; i++) {
            given += (peer->cand[i].from & 3) != 0;
            const struct ml_path_candidate *c = &peer->cand[i];
            ml_addr addr = ml_path_cand_addr(peer, c);
            given6 += (c->from & 3) != 0 && c->ip6;
            require(!c->ip6 || (c->from && ml_ip_is6(&addr.ip)));
            for (size_t k = 0; k < i; k++) {
                ml_addr other = ml_path_cand_addr(peer, &peer->cand[k]);
                require(!c->from || !peer->cand[k].from || !ml_addr_equal(&addr, &other));
                require(!c->ip6 || c->ip6 != peer->cand[k].ip6);
            }
        }
        require(given <= ML_PATH_GIVEN_MAX && given6 <= ML_PATH_IP6_GIVEN);
        require(peer->best <= ML_PATH_CANDIDATES && (!peer->best || peer->cand[peer->best - 1].from));
        require(peer->node || (peer->heartbeat_at == ML_TICK_NEVER && !peer->is_cmm_wanted));
    }
    for (size_t i = 0; i < ML_PATH_PINGS; i++) {
        require(!w->p.pings[i].state || w->peers[w->p.pings[i].slot].node);
    }
    require(w->p.pong_count <= ML_PATH_PONGS && w->p.ep.count <= ML_ENDPOINTS);
    require(ml_path_deadline(&w->p) >= w->now); /* after on_time nothing is overdue */
}

static void drain(struct world *w)
{
    uint8_t buf[ML_PATH_SEND_MAX];
    struct ml_path_dst dst;
    size_t sent = 0;
    for (size_t n; (n = ml_path_poll_send(&w->p, w->now, buf, sizeof buf, &dst)) > 0;) {
        require(ml_addr_is_set(&dst.udp) != (dst.derp_region != 0));
        require(++sent <= ML_PATH_PINGS + ML_PATH_PONGS + SLOTS);
        for (int s = 0; s < SLOTS; s++) {
            uint8_t copy[ML_PATH_SEND_MAX], *m;
            size_t m_len;
            memcpy(copy, buf, n);
            if (ml_disco_open(copy, n, &w->shared[s], &m, &m_len) && m[0] == ML_DISCO_PING) {
                memcpy(w->last_tx[s], m + 2, ML_DISCO_TX_LEN);
            }
        }
    }
    struct ml_path_pong pong;
    while (ml_path_poll_pong(&w->p, &pong)) {
        require(pong.is_timeout || pong.latency > 0);
    }
}

/* A datagram boxed by peer `s`, or bytes as they are. */
static void datagram(struct world *w, int s, bool is_sealed, bool is_derp, uint8_t from, const uint8_t *plain, size_t len)
{
    uint8_t buf[512];
    size_t n = len;
    if (len == 0) {
        plain = buf; /* a reader at its end has no bytes to point at */
    }
    if (is_sealed) {
        n = ml_disco_seal(buf, sizeof buf, &w->shared[s], &w->pub[s], &w->rng, plain, len);
    } else if (len <= sizeof buf) {
        memcpy(buf, plain, len);
    }
    struct ml_path_in in = {0};
    if (is_derp) {
        in.derp_region = (uint16_t)(1 + (from & 3));
        in.is_derp_source_known = true;
        memset(in.derp_source.b, (from >> 2 & 1) + 1, 32);
    } else {
        in.from = addr_of(from);
    }
    enum ml_drop drop = ML_DROP_COUNT;
    if (ml_path_disco_open(&w->p, w->now, &in, buf, n, &drop)) {
        uint16_t slot = ml_path_disco_handle(&w->p, w->now, &in, &drop);
        require(slot == ML_PATH_NO_SLOT || slot < SLOTS);
    }
    require(drop < ML_DROP_COUNT);
}

static void netmap(struct world *w, uint16_t s, bool is_update, const uint8_t *b, size_t count)
{
    ml_addr eps[16];
    for (size_t i = 0; i < count; i++) {
        eps[i] = addr_of(b[i]);
    }
    struct ml_path_info info = {
        .node = &w->node[s], .disco = &w->pub[s], .home_region = count & 3, .endpoints = eps, .endpoint_count = count};
    if (is_update) {
        ml_path_peer_update(&w->p, w->now, s, &info);
    } else {
        ml_path_peer_open(&w->p, w->now, s, &info);
    }
}

static void start(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->seed = 1;
    w->rng = (ml_random){fill, &w->seed};
    w->now = ML_SEC(1);
    struct ml_path_cfg cfg = {.rng = &w->rng};
    ml_path_init(&w->p, &cfg, w->peers, SLOTS);
    ml_node_key node = {{0xaa}};
    ml_private_key own;
    ml_x25519_keygen(&own, &w->rng);
    ml_path_set_keys(&w->p, &node, &own);
    for (int s = 0; s < SLOTS; s++) {
        ml_x25519_keygen(&w->priv[s], &w->rng);
        ml_x25519_base(w->pub[s].b, &w->priv[s]);
        memset(w->node[s].b, s + 1, sizeof w->node[s].b);
        require(ml_disco_shared(&w->shared[s], ml_path_disco_key(&w->p), &w->priv[s]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct world world; /* large; reset for every input */
    struct world *w = &world;
    start(w);
    struct ml_reader r = ml_reader_of(data, len);
    while (ml_reader_left(&r) > 0) {
        uint8_t op = ml_read_u8(&r), arg = ml_read_u8(&r);
        uint16_t s = arg & 1;
        size_t n = arg >> 4;
        n = n > ml_reader_left(&r) ? ml_reader_left(&r) : n;
        struct ml_path_route route;
        struct ml_disco_msg m = {0};
        uint8_t plain[64];
        struct ml_writer pw = ml_writer_of(plain, sizeof plain);
        ml_addr a = addr_of(arg);
        struct ml_endpoint_facts facts = {.global4 = addr_of(arg & 0x7f), .mapping_varies = op & 0x80, .fixed_port = 5};
        switch (op & 0x0f) {
        case 0:
            ml_path_route(&w->p, w->now, s, &route);
            break;
        case 1:
            w->now += ML_MSEC(10) * arg;
            break;
        case 2:
            w->now += ML_SEC(1) * arg;
            break;
        case 3:
        case 4:
            netmap(w, s, (op & 0x0f) == 3, ml_read_bytes(&r, n), n);
            break;
        case 5:
            ml_path_peer_close(&w->p, s);
            break;
        case 6:
            m.type = ML_DISCO_PING;
            memset(m.tx, op, sizeof m.tx);
            ml_disco_write(&pw, &m);
            datagram(w, s, true, op & 0x80, arg >> 1, plain, pw.len);
            break;
        case 7:
            m.type = ML_DISCO_PONG;
            memcpy(m.tx, w->last_tx[s], sizeof m.tx);
            ml_disco_write(&pw, &m);
            datagram(w, s, true, op & 0x80, arg >> 1, plain, pw.len);
            break;
        case 8: {
            size_t take = ml_read_u8(&r);
            take = take > ml_reader_left(&r) ? ml_reader_left(&r) : take;
            datagram(w, s, !(op & 0x40), op & 0x80, arg >> 1, ml_read_bytes(&r, take), take);
            break;
        }
        case 9:
            (void)ml_path_cli_ping(&w->p, w->now, s, arg, arg & 1);
            break;
        case 10:
            ml_path_rebind(&w->p);
            break;
        case 11:
            ml_path_set_facts(&w->p, w->now, &facts);
            break;
        case 12:
            ml_path_set_local_addrs(&w->p, &a, op & 0x80 ? 1 : 0);
            break;
        case 13:
            ml_path_note_unreachable(&w->p, &a);
            break;
        case 14:
            ml_path_note_rx(&w->p, w->now, s, &a);
            break;
        default:
            drain(w);
            break;
        }
        ml_path_on_time(&w->p, w->now);
        check(w);
    }
    drain(w);
    return 0;
}
