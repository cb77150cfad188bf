/*
 * Two WireGuard devices, A and B, joined by hand, with time and randomness in the test's control.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_WG_PAIR_H
#define ML_TEST_WG_PAIR_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "wg/wg.h"

#define PEERS   3
#define STAGE   4
#define FLIGHTS 2
#define SPARES  2

struct side {
    struct ml_wg wg;
    struct ml_wg_peer peers[PEERS];
    struct ml_wg_stage stage[STAGE];
    struct ml_wg_flight flights[FLIGHTS];
    struct ml_wg_spare spares[SPARES];
    ml_private_key priv;
    ml_node_key pub;
    uint32_t seed;
    ml_random rng;
    struct ml_wg_source addr; /* where its packets come from */
};

struct pkt {
    uint8_t b[2048];
    size_t len;
    uint16_t slot;
};

/* splitmix-like; never the same twice, the same every run. */
static inline void test_fill(void *ctx, uint8_t *buf, size_t len)
{
    uint32_t *seed = ctx;
    for (size_t i = 0; i < len; i++) {
        *seed += 0x9e3779b9u;
        uint32_t z = *seed;
        z = (z ^ (z >> 16)) * 0x85ebca6bu;
        z = (z ^ (z >> 13)) * 0xc2b2ae35u;
        buf[i] = (uint8_t)(z >> 24);
    }
}

static inline void side_init(struct side *s, ml_time now, uint32_t seed, const uint8_t *mark)
{
    s->seed = seed;
    s->rng = (ml_random){.fill = test_fill, .ctx = &s->seed};
    struct ml_wg_cfg cfg = {.random = &s->rng,
                            .peers = s->peers,
                            .stage = s->stage,
                            .flights = s->flights,
                            .flight_count = FLIGHTS,
                            .spares = s->spares,
                            .spare_count = SPARES,
                            .peer_count = PEERS,
                            .stage_count = STAGE,
                            .stage_per_peer = 3,
                            .tai_mark = mark,
                            .unix_sec = mark ? 0 : 1700000000};
    uint8_t stored[ML_WG_STAMP_LEN];
    assert_true(ml_crypto_init());
    assert_int_equal(ml_wg_init(&s->wg, now, &cfg), ML_OK);
    ml_x25519_keygen(&s->priv, &s->rng);
    ml_x25519_base(s->pub.b, &s->priv);
    ml_wg_set_key(&s->wg, &s->priv);
    assert_true(ml_wg_poll_clock(&s->wg, now, stored));
    ml_wg_clock_stored(&s->wg, true);
    memset(&s->addr, 0, sizeof s->addr);
    s->addr.addr.ip.b[10] = s->addr.addr.ip.b[11] = 0xff;
    s->addr.addr.ip.b[12] = 192;
    s->addr.addr.ip.b[15] = (uint8_t)seed;
    s->addr.addr.port = 41641;
}

/* Each has the other in slot 1. */
struct pair {
    struct side a, b;
    ml_time now;
};

#define SLOT 1

static inline void pair_init(struct pair *p)
{
    p->now = ML_SEC(1000);
    side_init(&p->a, p->now, 1, NULL);
    side_init(&p->b, p->now, 2, NULL);
    assert_true(ml_wg_peer_open(&p->a.wg, SLOT, &p->b.pub));
    assert_true(ml_wg_peer_open(&p->b.wg, SLOT, &p->a.pub));
}

static inline bool take(struct side *s, ml_time now, struct pkt *out)
{
    return ml_wg_poll_send(&s->wg, now, out->b, sizeof out->b, &out->slot, &out->len);
}

static inline void assert_silent(struct side *s, ml_time now)
{
    struct pkt p;
    assert_false(take(s, now, &p));
}

/* Gives a copy of the packet to `to`. */
static inline struct ml_wg_in give(struct side *to, ml_time now, const struct side *from, const struct pkt *in)
{
    static uint8_t scratch[2048];
    struct ml_wg_in res;
    memcpy(scratch, in->b, in->len);
    ml_wg_on_packet(&to->wg, now, &from->addr, scratch, in->len, &res);
    return res;
}

/* An IPv4 packet of `len` bytes. */
static inline struct pkt ip4(size_t len)
{
    struct pkt p = {.len = len};
    for (size_t i = 0; i < len; i++) {
        p.b[i] = (uint8_t)(i * 7);
    }
    p.b[0] = 0x45;
    ml_put_be16(p.b + 2, (uint16_t)len);
    return p;
}

static inline struct pkt must_seal(struct side *s, ml_time now, size_t len)
{
    struct pkt in = ip4(len);
    struct pkt out = {.slot = SLOT};
    assert_int_equal(ml_wg_seal(&s->wg, now, SLOT, in.b, len, out.b, sizeof out.b, &out.len), ML_WG_SEALED);
    return out;
}

static inline void must_stage(struct side *s, ml_time now, size_t len)
{
    struct pkt in = ip4(len);
    struct pkt out;
    assert_int_equal(ml_wg_seal(&s->wg, now, SLOT, in.b, len, out.b, sizeof out.b, &out.len), ML_WG_STAGED);
}

/* The initiation that `s` sends now. */
static inline struct pkt must_take(struct side *s, ml_time now, size_t len)
{
    struct pkt p;
    assert_true(take(s, now, &p));
    assert_int_equal(p.len, len);
    assert_int_equal(p.slot, SLOT);
    return p;
}

/* `to` answers an initiation of `from`; the response is returned. */
static inline struct pkt must_answer(struct side *to, ml_time now, const struct side *from, const struct pkt *initiation)
{
    struct pkt out = {.slot = SLOT};
    struct ml_wg_in res = give(to, now, from, initiation);
    assert_int_equal(res.type, ML_WG_IN_INITIATION);
    assert_memory_equal(res.key.b, from->pub.b, 32);
    assert_int_equal(ml_wg_accept(&to->wg, now, SLOT, &res), ML_DROP_NONE);
    assert_int_equal(res.len, ML_WG_RESPONSE_LEN);
    memcpy(out.b, res.data, res.len);
    out.len = res.len;
    return out;
}

/* Drains the events; returns a set of 1 << event. */
static inline unsigned events(struct side *s)
{
    unsigned set = 0;
    uint16_t slot;
    for (enum ml_wg_event e; (e = ml_wg_poll_event(&s->wg, &slot)) != ML_WG_EV_NONE;) {
        set |= 1u << e;
    }
    return set;
}

/* `a` starts, `b` answers, the keepalive confirms. */
static inline void handshake(struct side *a, struct side *b, ml_time now)
{
    ml_wg_peer_connect(&a->wg, now, SLOT);
    struct pkt init = must_take(a, now, ML_WG_INITIATION_LEN);
    struct pkt resp = must_answer(b, now, a, &init);
    assert_int_equal(give(a, now, b, &resp).type, ML_WG_IN_HANDSHAKE);
    struct pkt keepalive = must_take(a, now, ML_WG_KEEPALIVE_LEN);
    struct ml_wg_in res = give(b, now, a, &keepalive);
    assert_int_equal(res.type, ML_WG_IN_KEEPALIVE);
    assert_true(res.first_on_session);
    assert_int_equal(events(a), 1u << ML_WG_EV_ESTABLISHED);
    assert_int_equal(events(b), 1u << ML_WG_EV_ESTABLISHED);
    assert_silent(a, now);
    assert_silent(b, now);
}

#endif
