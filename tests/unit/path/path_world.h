/*
 * A path manager with two slots, and peers that speak DISCO to it: what the tests of src/path share. Time is `now`.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TESTS_UNIT_PATH_WORLD_H
#define TESTS_UNIT_PATH_WORLD_H

#include "base/key.h"
#include "disco/vectors.h"
#include "path/path_internal.h"

#define WORLD_SLOTS 3
#define WORLD_SENT  64

struct remote {
    ml_private_key priv;
    ml_disco_key disco;
    ml_node_key node;
};

/* One datagram the path sent, opened again with the receiver's key. */
struct sent {
    struct ml_path_dst dst;
    struct ml_disco_msg msg;
    size_t len;
    int remote; /* who could open it, -1 = nobody */
};

struct world {
    uint64_t seed;
    ml_random rng;
    struct ml_path p;
    struct ml_path_peer peers[WORLD_SLOTS];
    struct remote us, r[WORLD_SLOTS];
    ml_time now;
    struct sent sent[WORLD_SENT];
    size_t sent_count;
    enum ml_drop drop;
};

static inline void remote_init(struct world *w, struct remote *r, uint8_t mark)
{
    ml_x25519_keygen(&r->priv, &w->rng);
    ml_x25519_base(r->disco.b, &r->priv);
    memset(r->node.b, mark, sizeof r->node.b);
}

static inline void world_init(struct world *w, const struct ml_path_cfg *extra)
{
    memset(w, 0, sizeof *w);
    w->seed = 11;
    w->rng = (ml_random){vec_random_fill, &w->seed};
    struct ml_path_cfg cfg = extra ? *extra : (struct ml_path_cfg){0};
    cfg.rng = &w->rng;
    ml_path_init(&w->p, &cfg, w->peers, WORLD_SLOTS);
    remote_init(w, &w->us, 0xaa);
    for (int i = 0; i < WORLD_SLOTS; i++) {
        remote_init(w, &w->r[i], (uint8_t)(i + 1));
    }
    ml_path_set_keys(&w->p, &w->us.node, &w->us.priv);
    w->now = ML_SEC(1000);
}

static inline void open_slot(struct world *w, uint16_t slot, uint16_t region, const ml_addr *eps, size_t count)
{
    struct ml_path_info info = {.node = &w->r[slot].node, .disco = &w->r[slot].disco, .home_region = region};
    info.endpoints = eps;
    info.endpoint_count = count;
    ml_path_peer_open(&w->p, w->now, slot, &info);
}

static inline bool has_candidate(struct world *w, uint16_t slot, const ml_addr *addr)
{
    return ml_path_cand_find(&w->peers[slot], addr) != NULL;
}

/* Fresh own endpoints, so that call-me-maybes do not wait. */
static inline void fresh_endpoints(struct world *w)
{
    ml_addr local = vec_addr("10.0.0.2:41641");
    ml_path_set_local_addrs(&w->p, &local, 1);
    struct ml_endpoint_facts f = {.global4 = vec_addr("198.51.100.7:1234")};
    ml_path_set_facts(&w->p, w->now, &f);
}

/* Takes everything the path wants to send into w->sent (replacing what was there). */
static inline size_t drain(struct world *w)
{
    uint8_t buf[ML_PATH_SEND_MAX];
    w->sent_count = 0;
    for (;;) {
        struct ml_path_dst dst;
        size_t n = ml_path_poll_send(&w->p, w->now, buf, sizeof buf, &dst);
        if (n == 0) {
            return w->sent_count;
        }
        assert_true(w->sent_count < WORLD_SENT);
        struct sent *s = &w->sent[w->sent_count++];
        *s = (struct sent){.dst = dst, .len = n, .remote = -1};
        for (int i = 0; i < WORLD_SLOTS && s->remote < 0; i++) {
            struct ml_disco_shared k;
            uint8_t copy[ML_PATH_SEND_MAX], *m;
            size_t m_len;
            memcpy(copy, buf, n);
            if (ml_disco_shared(&k, &w->us.disco, &w->r[i].priv) && ml_disco_open(copy, n, &k, &m, &m_len)) {
                assert_int_equal(ml_disco_parse(&s->msg, m, m_len), ML_DISCO_PARSE_OK);
                s->remote = i;
            }
        }
    }
}

static inline size_t count_type(const struct world *w, enum ml_disco_type t)
{
    size_t n = 0;
    for (size_t i = 0; i < w->sent_count; i++) {
        n += w->sent[i].remote >= 0 && w->sent[i].msg.type == t;
    }
    return n;
}

static inline const struct sent *find_ping_to(const struct world *w, const char *addr)
{
    ml_addr a = vec_addr(addr);
    for (size_t i = 0; i < w->sent_count; i++) {
        if (w->sent[i].msg.type == ML_DISCO_PING && ml_addr_equal(&w->sent[i].dst.udp, &a)) {
            return &w->sent[i];
        }
    }
    return NULL;
}

/* Delivers plain bytes of a message, boxed by remote `r`, from a UDP address, or over DERP when `from` is NULL. */
static inline uint16_t deliver_bytes(struct world *w, const struct remote *r, const char *from, uint16_t region,
                                     const ml_node_key *source, const uint8_t *plain, size_t len)
{
    uint8_t buf[2048];
    struct ml_disco_shared k;
    assert_true(ml_disco_shared(&k, &w->us.disco, &r->priv));
    size_t n = ml_disco_seal(buf, sizeof buf, &k, &r->disco, &w->rng, plain, len);
    struct ml_path_in in = {.derp_region = region, .is_derp_source_known = source != NULL};
    if (from) {
        in.from = vec_addr(from);
    }
    if (source) {
        in.derp_source = *source;
    }
    if (!ml_path_disco_open(&w->p, w->now, &in, buf, n, &w->drop)) {
        return ML_PATH_NO_SLOT;
    }
    return ml_path_disco_handle(&w->p, w->now, &in, &w->drop);
}

static inline uint16_t deliver(struct world *w, const struct remote *r, const char *from, uint16_t region,
                               const ml_node_key *source, const struct ml_disco_msg *m)
{
    uint8_t plain[ML_DISCO_MSG_MAX];
    struct ml_writer wr = ml_writer_of(plain, sizeof plain);
    ml_disco_write(&wr, m);
    assert_false(wr.bad);
    return deliver_bytes(w, r, from, region, source, plain, wr.len);
}

static inline void ping_us(struct world *w, int r, const char *from, uint8_t tx)
{
    struct ml_disco_msg m = {.type = ML_DISCO_PING, .node_key = w->r[r].node};
    memset(m.tx, tx, sizeof m.tx);
    deliver(w, &w->r[r], from, 0, NULL, &m);
}

static inline void answer(struct world *w, const struct sent *ping, const char *from)
{
    struct ml_disco_msg m = {.type = ML_DISCO_PONG};
    if (!ping) {
        fail_msg("no such ping was sent");
        return;
    }
    memcpy(m.tx, ping->msg.tx, sizeof m.tx);
    m.src = vec_addr("198.51.100.7:1234");
    deliver(w, &w->r[ping->remote], from, 0, NULL, &m);
}

static inline void advance(struct world *w, ml_time d)
{
    w->now += d;
    ml_path_on_time(&w->p, w->now);
}

/* Makes `addr` (a candidate of slot 0) the trusted path with this latency. */
static inline void make_direct(struct world *w, const char *addr, ml_time latency)
{
    struct ml_path_route r;
    ml_path_route(&w->p, w->now, 0, &r);
    drain(w);
    const struct sent *ping = find_ping_to(w, addr);
    assert_non_null(ping);
    w->now += latency;
    answer(w, ping, addr);
    struct ml_path_status st;
    ml_path_get_status(&w->p, w->now, 0, &st);
    ml_addr want = vec_addr(addr);
    assert_true(ml_addr_equal(&st.direct, &want));
}

#endif
