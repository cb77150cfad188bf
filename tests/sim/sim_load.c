/*
 * Scenarios of many: a mesh, a large netmap, floods; and of nothing at all: what idle nodes send.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "disco/disco_box.h"
#include "disco/disco_msg.h"
#include "stun/stun_msg.h"
#include "wg/wg_cookie.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Everybody with everybody ---- */

unsigned sim_run_mesh(const struct sim_opts *o)
{
    enum { N = 8 };
    static const enum sim_kind kinds[N] = {SIM_NONE, SIM_EASY, SIM_HARD, SIM_CGNAT, SIM_BLOCKED, SIM_V6, SIM_V6, SIM_EASY};
    struct sim *w = sim_new("mesh", o, o->seed);
    unsigned t[N][N] = {{0}}, direct = 0, possible = 0;
    ml_time worst = 0;
    for (unsigned i = 0; i < N; i++) {
        sim_add_node(w, kinds[i]);
        sim_set_loss(w, i, 10);
    }
    sim_start(w, NULL);
    sim_run(w, ML_SEC(8));
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < N; k++) {
            if (i != k) {
                t[i][k] = sim_traffic_start(w, i, k, ML_MSEC(500) + sim_below(w, 1000));
            }
        }
    }
    sim_run(w, ML_SEC(30));
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < N; k++) {
            if (i != k) {
                sim_traffic_mark(w, t[i][k]);
            }
        }
    }
    sim_run(w, o->is_quick ? ML_SEC(300) : ML_SEC(3600));
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < N; k++) {
            if (i == k) {
                continue;
            }
            uint32_t sent = sim_traffic_sent(w, t[i][k]), got = w->traffic[t[i][k]].got;
            ml_time gap = sim_traffic_gap(w, t[i][k]);
            worst = gap > worst ? gap : worst;
            bool can = sim_can_be_direct(w, i, k), is = sim_is_direct(w, i, k, NULL);
            possible += can;
            direct += is;
            SIM_CHECK(w, got >= sent * 95 / 100, "%u to %u: %u of %u packets", i, k, got, sent);
            SIM_CHECK(w, can == is, "%u to %u (%s to %s): direct: %d, can be: %d", i, k, sim_kind_names[kinds[i]],
                      sim_kind_names[kinds[k]], is, can);
        }
    }
    SIM_CHECK(w, worst <= ML_SEC(4), "%.1f s of silence", (double)worst / 1e6);
    printf("%u nodes: %u of %u possible ways are direct, silence at most %.2f s\n", N, direct, possible, (double)worst / 1e6);
    return sim_free(w);
}

/* ---- Everybody at once ---- */

/* All peers that a small device has sessions for call it at the same moment, as they do when it was away. */
unsigned sim_run_crowd(const struct sim_opts *o)
{
    enum { N = 16 };
    static const enum sim_kind kinds[4] = {SIM_NONE, SIM_EASY, SIM_CGNAT, SIM_BLOCKED};
    struct sim *w = sim_new("crowd", o, o->seed);
    const ml_config cfg = {.max_peers = N, .max_sessions = N, .out_queue_bytes = 4096};
    unsigned t[N], late = 0;
    for (unsigned i = 0; i <= N; i++) {
        sim_add_node(w, kinds[i % 4]);
    }
    sim_start(w, &cfg);
    sim_run(w, ML_SEC(8));
    for (unsigned i = 0; i < N; i++) {
        t[i] = sim_traffic_start(w, i + 1, 0, ML_MSEC(100));
    }
    sim_run(w, ML_SEC(1));
    for (unsigned i = 0; i < N; i++) {
        late += w->traffic[t[i]].got == 0;
    }
    ml_stats st;
    ml_get_stats(w->n[0].ml, &st);
    SIM_CHECK(w, late == 0, "%u of %u peers were not heard within a second; no room for %u handshakes, %u not kept", late, N,
              (unsigned)st.drop[ML_DROP_NO_MEMORY], (unsigned)st.drop[ML_DROP_WG_RATE_LIMITED]);
    printf("%u peers call at once: %u are heard within a second\n", N, N - late);
    return sim_free(w);
}

/* ---- A thousand peers ---- */

/* Datagrams a minute that node 0 sends to find and keep paths to `active` peers, with so many idle ones beside them. */
static unsigned probes_with(const struct sim_opts *o, unsigned phantoms, double *active_rate, double *idle_rate)
{
    enum { ACTIVE = 16 };
    static const enum sim_kind kinds[4] = {SIM_NONE, SIM_EASY, SIM_CGNAT, SIM_HARD};
    struct sim *w = sim_new("scale", o, o->seed);
    const ml_config cfg = {.max_peers = 1024};
    unsigned t[ACTIVE];
    w->phantoms = phantoms;
    sim_add_node(w, SIM_EASY);
    for (unsigned i = 0; i < ACTIVE; i++) {
        sim_add_node(w, kinds[i % 4]);
    }
    sim_start(w, &cfg);
    sim_run(w, ML_SEC(8));
    for (unsigned i = 0; i < ACTIVE; i++) {
        t[i] = sim_traffic_start(w, 0, i + 1, ML_SEC(1));
    }
    sim_run(w, ML_SEC(30));
    const struct sim_node *n = &w->n[0];
    for (unsigned i = 0; i < ACTIVE; i++) {
        sim_traffic_mark(w, t[i]);
    }
    uint64_t before = n->disco;
    sim_run(w, ML_SEC(300));
    *active_rate = (double)(n->disco - before) / 5;
    for (unsigned i = 0; i < ACTIVE; i++) {
        uint32_t sent = sim_traffic_sent(w, t[i]);
        SIM_CHECK(w, w->traffic[t[i]].got + 1 >= sent, "peer %u got %u of %u", i, w->traffic[t[i]].got, sent);
        SIM_CHECK(w, sim_is_direct(w, 0, i + 1, NULL) == sim_can_be_direct(w, 0, i + 1), "peer %u: wrong path", i);
        sim_traffic_stop(w, t[i]);
    }
    sim_run(w, ML_SEC(60));
    before = n->disco + n->stun;
    sim_run(w, ML_SEC(600));
    *idle_rate = (double)(n->disco + n->stun - before) / 10;
    SIM_CHECK(w, n->to_phantoms == 0, "%u datagrams to idle peers", (unsigned)n->to_phantoms);
    SIM_CHECK(w, *idle_rate < 1, "%.1f probes a minute without traffic", *idle_rate);
    SIM_CHECK(w, ml_get_peer_count(n->ml) == phantoms + ACTIVE, "%zu peers", ml_get_peer_count(n->ml));
    return sim_free(w);
}

unsigned sim_run_scale(const struct sim_opts *o)
{
    double active[2], idle[2];
    unsigned failures = probes_with(o, 0, &active[0], &idle[0]) + probes_with(o, 984, &active[1], &idle[1]);
    printf("16 active peers, 0 idle: %.1f DISCO datagrams a minute, %.1f without traffic\n", active[0], idle[0]);
    printf("16 active peers, 984 idle: %.1f DISCO datagrams a minute, %.1f without traffic\n", active[1], idle[1]);
    if (active[1] > active[0] * 1.1 + 5) {
        printf("FAIL scale --seed %llu: idle peers cost probes\n", (unsigned long long)o->seed);
        failures++;
    }
    return failures;
}

/* ---- Idle ---- */

unsigned sim_run_idle(const struct sim_opts *o)
{
    struct sim *w = sim_new("idle", o, o->seed);
    sim_add_node(w, SIM_EASY);
    sim_add_node(w, SIM_EASY);
    sim_start(w, NULL);
    sim_run(w, ML_SEC(8));
    unsigned t = sim_traffic_start(w, 0, 1, ML_MSEC(100));
    sim_run(w, ML_SEC(60));
    sim_traffic_stop(w, t);
    sim_run(w, ML_SEC(600));
    uint64_t bytes = w->n[0].bytes + w->n[1].bytes, datagrams = w->n[0].datagrams + w->n[1].datagrams;
    sim_run(w, ML_SEC(3600));
    double per_min = (double)(w->n[0].bytes + w->n[1].bytes - bytes) / 60;
    printf("two idle nodes: %.0f bytes and %.1f datagrams a minute, relays' keepalives included, control not\n", per_min,
           (double)(w->n[0].datagrams + w->n[1].datagrams - datagrams) / 60);
    SIM_CHECK(w, per_min < 3072, "%.0f bytes a minute", per_min);
    const ml_ip ip = w->n[1].overlay;
    ml_time t0 = w->now;
    SIM_CHECK(w, ml_ping(w->n[0].ml, w->now, &ip, ML_PING_TSMP, 1) == ML_OK, "ping refused");
    sim_drain(w, 0);
    while (w->n[0].pongs == 0 && w->now - t0 < ML_SEC(5)) {
        sim_run(w, ML_MSEC(5));
    }
    printf("the first ping after it is answered in %.3f s\n", (double)(w->now - t0) / 1e6);
    /* At once: a handshake and an answer, by relay if need be, and no timer in between. */
    SIM_CHECK(w, w->now - t0 <= ML_MSEC(400), "the first ping after it takes %.2f s", (double)(w->now - t0) / 1e6);
    return sim_free(w);
}

/* ---- Floods ---- */

enum { TARGET, FRIEND, NEWCOMER, TRAITOR }; /* the traitor is in everybody's netmap */

struct flood {
    struct sim *w;
    ml_time until;
    ml_addr target;
    ml_node_key target_key;
    ml_disco_key friend_disco, traitor_disco;
    struct ml_disco_shared traitor_shared;
    uint64_t sent;
};

static void rng_fill(void *ctx, uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)sim_rand(ctx);
    }
}

static size_t forge(struct flood *f, uint8_t *buf, size_t cap)
{
    static const uint8_t disco_magic[6] = {'T', 'S', 0xf0, 0x9f, 0x92, 0xac};
    const ml_random rng = {.fill = rng_fill, .ctx = f->w};
    struct ml_disco_msg ping = {.type = ML_DISCO_PING};
    uint8_t plain[128];
    struct ml_writer wr = ml_writer_of(plain, sizeof plain);
    rng_fill(f->w, buf, 256);
    switch (sim_below(f->w, 8)) {
    case 0: /* DISCO in a friend's name */
        memcpy(buf, disco_magic, sizeof disco_magic);
        memcpy(buf + 6, f->friend_disco.b, 32);
        return 126;
    case 1: /* DISCO of somebody unknown */
        memcpy(buf, disco_magic, sizeof disco_magic);
        return 126;
    case 2: /* an initiation as far as anybody can make one who knows only our key */
        memset(buf, 0, 4);
        buf[0] = ML_WG_MSG_INITIATION;
        ml_wg_cookie_add_macs(NULL, f->w->now, f->target_key.b, buf, ML_WG_INITIATION_LEN, NULL);
        return ML_WG_INITIATION_LEN;
    case 3: /* data for a slot that exists */
        memset(buf, 0, 4);
        buf[0] = ML_WG_MSG_DATA;
        return 96;
    case 4: /* an answer to no request */
        ml_put_be16(buf, 0x0101);
        ml_put_be16(buf + 2, 12);
        ml_put_be32(buf + 4, UINT32_C(0x2112a442));
        ml_put_be16(buf + 20, 0x0020);
        ml_put_be16(buf + 22, 8);
        ml_put_be16(buf + 24, 1);
        return 32;
    case 5: /* a handshake response, and a cookie, to nothing */
        memset(buf, 0, 4);
        buf[0] = sim_chance(f->w, 500) ? ML_WG_MSG_RESPONSE : ML_WG_MSG_COOKIE;
        return buf[0] == ML_WG_MSG_RESPONSE ? ML_WG_RESPONSE_LEN : ML_WG_COOKIE_LEN;
    case 6: /* what a friend once sent, from elsewhere */
        if (f->w->captured_len[0]) {
            unsigned k = sim_below(f->w, SIM_CAPTURES);
            memcpy(buf, f->w->captured[k], f->w->captured_len[k]);
            return f->w->captured_len[k];
        }
        return 64;
    default: /* genuine pings of a peer that means ill */
        rng_fill(f->w, ping.tx, sizeof ping.tx);
        ml_x25519_base(ping.node_key.b, &f->w->n[TRAITOR].node_key);
        ml_disco_write(&wr, &ping);
        return ml_disco_seal(buf, cap, &f->traitor_shared, &f->traitor_disco, &rng, plain, wr.len);
    }
}

static void flood_step(struct sim *w, void *arg)
{
    struct flood *f = arg;
    uint8_t buf[1500];
    if (w->now >= f->until) {
        return;
    }
    ml_addr from = {.ip = ml_ip4(198, 19, (uint8_t)sim_below(w, 256), (uint8_t)sim_below(w, 256)),
                    .port = (uint16_t)(1 + sim_below(w, 65535))};
    if (sim_chance(w, 500)) {
        from.ip = ml_ip4(198, 19, 7, 7); /* many ports of one host */
    }
    size_t len = forge(f, buf, sizeof buf);
    sim_net_inject(w, &from, &f->target, buf, len);
    f->sent++;
    sim_call_at(w, w->now + 500 + sim_below(w, 1000), flood_step, f);
}

static bool is_newcomer_direct(struct sim *w, void *arg)
{
    (void)arg;
    return sim_is_direct(w, NEWCOMER, TARGET, NULL);
}

unsigned sim_run_flood(const struct sim_opts *o)
{
    struct sim *w = sim_new("flood", o, o->seed);
    sim_add_node(w, SIM_NONE);
    sim_add_node(w, SIM_EASY);
    sim_add_node(w, SIM_EASY);
    sim_add_node(w, SIM_NONE);
    sim_start(w, NULL);
    sim_run(w, ML_SEC(8));
    unsigned a = sim_traffic_start(w, TARGET, FRIEND, ML_MSEC(100)), b = sim_traffic_start(w, FRIEND, TARGET, ML_MSEC(100));
    sim_run(w, ML_SEC(20));
    ml_addr via[2];
    SIM_CHECK(w, sim_is_direct(w, TARGET, FRIEND, &via[0]), "not direct before the flood");
    sim_traffic_mark(w, a);
    sim_traffic_mark(w, b);
    struct flood f = {.w = w, .target = w->n[TARGET].local4, .until = w->now + (o->is_quick ? ML_SEC(150) : ML_SEC(1200))};
    ml_disco_key target_disco;
    ml_x25519_base(f.target_key.b, &w->n[TARGET].node_key);
    ml_x25519_base(target_disco.b, &w->n[TARGET].disco_key);
    ml_x25519_base(f.friend_disco.b, &w->n[FRIEND].disco_key);
    ml_x25519_base(f.traitor_disco.b, &w->n[TRAITOR].disco_key);
    (void)ml_disco_shared(&f.traitor_shared, &target_disco, &w->n[TRAITOR].disco_key);
    w->capture_of = TARGET;
    w->is_capturing = true;
    flood_step(w, &f);
    sim_run(w, ML_SEC(10));

    /* In the midst of it somebody new wants in: the responder is under load, so a cookie and a retry are the price. */
    unsigned c = sim_traffic_start(w, NEWCOMER, TARGET, ML_MSEC(100));
    ml_time t0 = w->now;
    bool ok = sim_run_until(w, ML_SEC(30), is_newcomer_direct, NULL);
    double direct_after = (double)(w->now - t0) / 1e6;
    SIM_CHECK(w, ok, "a newcomer gets no direct path within 30 s of flood");
    if (w->now < f.until) {
        sim_run(w, f.until - w->now);
    }
    SIM_CHECK(w, w->traffic[c].got > 0 && w->traffic[c].first_at - t0 < ML_SEC(17), "a newcomer gets no session");
    SIM_CHECK(w, sim_is_direct(w, TARGET, FRIEND, &via[1]) && ml_addr_equal(&via[0], &via[1]), "the flood moved the best path");
    ml_time gap = sim_traffic_gap(w, a) > sim_traffic_gap(w, b) ? sim_traffic_gap(w, a) : sim_traffic_gap(w, b);
    SIM_CHECK(w, gap <= ML_SEC(1), "a friend was not heard for %.1f s", (double)gap / 1e6);
    printf("%llu forged datagrams: friends' silence at most %.2f s, a newcomer is heard after %.2f s and direct after %.2f s\n",
           (unsigned long long)f.sent, (double)gap / 1e6, (double)(w->traffic[c].first_at - t0) / 1e6, direct_after);
    /* What a node sends in answer to strangers must not be more than it takes. */
    printf("the target sent %llu datagrams, dropped: bad box %llu, unknown disco key %llu, unknown index %llu, no cookie %llu, "
           "stun %llu\n",
           (unsigned long long)w->n[TARGET].datagrams, (unsigned long long)sim_drops(w, TARGET, ML_DROP_DISCO_BAD_BOX),
           (unsigned long long)sim_drops(w, TARGET, ML_DROP_DISCO_UNKNOWN_KEY),
           (unsigned long long)sim_drops(w, TARGET, ML_DROP_WG_UNKNOWN_INDEX),
           (unsigned long long)sim_drops(w, TARGET, ML_DROP_WG_BAD_MAC2),
           (unsigned long long)sim_drops(w, TARGET, ML_DROP_STUN_UNKNOWN_TX));
    return sim_free(w);
}

/* ---- The simulator itself ---- */

static uint64_t digest_of(const struct sim_opts *o, uint64_t seed)
{
    struct sim *w = sim_new("repeat", o, seed);
    for (unsigned i = 0; i < 4; i++) {
        sim_add_node(w, (enum sim_kind)(i + 1));
        sim_set_loss(w, i, 50);
    }
    sim_start(w, NULL);
    sim_run(w, ML_SEC(8));
    for (unsigned i = 0; i < 4; i++) {
        sim_traffic_start(w, i, (i + 1) % 4, ML_MSEC(100));
    }
    sim_run(w, ML_SEC(200));
    uint64_t digest = w->digest;
    (void)sim_free(w);
    return digest;
}

unsigned sim_run_repeat(const struct sim_opts *o)
{
    uint64_t a = digest_of(o, o->seed), b = digest_of(o, o->seed), c = digest_of(o, o->seed + 1);
    printf("digest of all datagrams: %016llx, again %016llx, with another seed %016llx\n", (unsigned long long)a,
           (unsigned long long)b, (unsigned long long)c);
    return a != b || a == c;
}
