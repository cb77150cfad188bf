/*
 * Two or more engines in one process, a virtual clock, and the network between them: what the tests of core/ stand on.
 *
 * The netmap is given to the engines as deltas, as control would; streams are never opened, so there is no relay unless a
 * test plays one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_CORE_WORLD_H
#define ML_TEST_CORE_WORLD_H

#include "core/engine_priv.h"
#include "ip/ip_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_NODES 2

struct world_node {
    ml_engine *ml;
    void *mem;
    uint64_t seed;
    ml_addr addr;           /* underlay */
    ml_ip ip4, ip6;         /* overlay; no IPv6 unless a test gives it */
    uint8_t inbox[8][1500]; /* overlay packets delivered to the host, newest overwrites from the start */
    size_t inbox_len[8];
    unsigned inbox_count;
    ml_event events[64];
    unsigned event_count;
    unsigned opens, closes, stores, datagrams;
    uint8_t record[ML_STORE_COUNT][ML_STORE_MAX]; /* as last stored */
    size_t record_len[ML_STORE_COUNT];
    unsigned store_count[ML_STORE_COUNT];
};

struct world {
    ml_time now;
    struct world_node n[WORLD_NODES];
    bool is_udp_cut;
    unsigned lost;
};

static inline void world_random(void *ctx, uint8_t *buf, size_t len)
{
    uint64_t *s = ctx;
    for (size_t i = 0; i < len; i++) {
        *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        buf[i] = (uint8_t)(*s >> 56);
    }
}

static inline void world_delta(struct world *w, unsigned i, const struct ml_delta *d)
{
    struct core_apply_ctx ctx = {.ml = w->n[i].ml, .now = w->now};
    core_apply(&ctx, d);
}

static inline void world_node_of(const struct world *w, unsigned i, struct ml_node *out)
{
    memset(out, 0, sizeof *out);
    out->id = 100 + i;
    snprintf(out->name, sizeof out->name, "node%u.example.ts.net.", i);
    out->key = w->n[i].ml->node_pub;
    out->disco = *ml_path_disco_key(&w->n[i].ml->path);
    out->addresses[0] = (ml_prefix){.ip = w->n[i].ip4, .bits = 32};
    out->addresses[1] = (ml_prefix){.ip = w->n[i].ip6, .bits = 128};
    out->address_count = ml_ip_is_set(&w->n[i].ip6) ? 2 : 1;
    memcpy(out->allowed, out->addresses, sizeof out->addresses[0] * out->address_count);
    out->allowed_count = out->address_count;
    out->endpoints[0] = w->n[i].addr;
    out->endpoint_count = 1;
    out->is_machine_authorized = true;
}

static inline void world_allow_all(struct world *w, unsigned i)
{
    struct ml_rule rule = {0};
    rule.srcs[0] = (ml_prefix){.ip = ml_ip4(0, 0, 0, 0), .bits = 0};
    rule.src_count = 1;
    rule.dsts[0] = (struct ml_rule_dst){.net = rule.srcs[0], .port_last = 65535};
    rule.dst_count = 1;
    world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_RULES_BEGIN, .text = "base"});
    world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &rule});
    world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_RULES_END, .text = "base"});
}

/* The first message of a map stream: who i is and who the others are. */
static inline void world_netmap(struct world *w, unsigned i)
{
    struct ml_node node;
    world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_BEGIN, .first = true});
    world_node_of(w, i, &node);
    world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_SELF, .node = &node});
    world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEERS_BEGIN});
    for (unsigned k = 0; k < WORLD_NODES; k++) {
        if (k != i) {
            world_node_of(w, k, &node);
            world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
        }
    }
    world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEERS_END});
    world_allow_all(w, i);
    world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_END});
}

static inline void world_end(struct world *w)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        ml_clear(w->n[i].ml);
        free(w->n[i].mem);
    }
}

static inline void world_deliver(struct world *w, unsigned from, const ml_output *out)
{
    w->n[from].datagrams++;
    for (unsigned k = 0; k < WORLD_NODES; k++) {
        if (!w->is_udp_cut && ml_addr_equal(&w->n[k].addr, &out->addr)) {
            uint8_t *copy = malloc(out->len ? out->len : 1); /* exact size: a read past the end is seen */
            if (!copy) {
                abort();
            }
            memcpy(copy, out->data, out->len);
            (void)ml_handle_datagram(w->n[k].ml, w->now, &w->n[from].addr, copy, out->len);
            free(copy);
            return;
        }
    }
    w->lost++;
}

/* The next output. A poll without one may have done a part of a handshake, and the next does the next part. */
static inline bool world_poll(ml_engine *ml, ml_time now, ml_output *out)
{
    do {
        if (ml_poll_output(ml, now, out)) {
            return true;
        }
    } while (ml->curve.is_short);
    return false;
}

/* Takes everything out of one engine; true if there was anything. */
static inline bool world_drain(struct world *w, unsigned i)
{
    struct world_node *n = &w->n[i];
    ml_output out;
    bool any = false;
    while (world_poll(n->ml, w->now, &out)) {
        any = true;
        switch (out.type) {
        case ML_OUT_DATAGRAM:
            world_deliver(w, i, &out);
            break;
        case ML_OUT_OVERLAY:
            if (out.len <= sizeof n->inbox[0]) {
                memcpy(n->inbox[n->inbox_count % 8], out.data, out.len);
                n->inbox_len[n->inbox_count % 8] = out.len;
                n->inbox_count++;
            }
            break;
        case ML_OUT_STREAM_OPEN:
            n->opens++;
            break;
        case ML_OUT_STREAM_CLOSE:
            n->closes++;
            break;
        case ML_OUT_STORE:
            n->stores++;
            n->store_count[out.store]++;
            n->record_len[out.store] = out.len;
            memcpy(n->record[out.store], out.data, out.len);
            ml_handle_stored(n->ml, w->now, out.store, true);
            break;
        case ML_OUT_EVENT:
            n->events[n->event_count++ % 64] = out.event;
            break;
        case ML_OUT_RESOLVE:
            ml_handle_resolved(n->ml, w->now, out.token, NULL, 0);
            break;
        case ML_OUT_NONE:
            break;
        }
    }
    return any;
}

static inline void world_settle(struct world *w)
{
    for (int round = 0; round < 100; round++) {
        bool any = false;
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            any = world_drain(w, i) || any;
        }
        if (!any) {
            return;
        }
    }
}

static inline void world_start(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->now = ML_SEC(5);
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        struct world_node *n = &w->n[i];
        n->seed = 1000 + i;
        n->addr = (ml_addr){.ip = ml_ip4(192, 0, 2, (uint8_t)(1 + i)), .port = 41641};
        n->ip4 = ml_ip4(100, 64, 0, (uint8_t)(1 + i));
        const ml_config cfg = {.random = {.fill = world_random, .ctx = &n->seed},
                               .control_url = "http://127.0.0.1:1",
                               .hostname = i ? "b" : "a",
                               .no_stun = true};
        size_t need = ml_mem_needed(&cfg);
        n->mem = malloc(need);
        if (!n->mem || ml_init(&n->ml, n->mem, need, &cfg) != ML_OK) {
            abort();
        }
        ml_x25519_keygen(&n->ml->identity.machine, &n->ml->random);
        ml_x25519_keygen(&n->ml->identity.disco, &n->ml->random);
        ml_x25519_keygen(&n->ml->identity.node, &n->ml->random);
        n->ml->identity.has_node = n->ml->has_machine = true;
        if (ml_start(n->ml, w->now) != ML_OK) {
            abort();
        }
        ml_set_local_addrs(n->ml, w->now, &n->addr, 1);
    }
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        world_netmap(w, i);
    }
    /* There is no relay: the first initiation finds no path yet and only its repetition gets through. A ping finds one. */
    world_settle(w);
    ml_ip ip = w->n[1].ip4;
    (void)ml_ping(w->n[0].ml, w->now, &ip, ML_PING_DISCO, 0);
    ip = w->n[0].ip4;
    (void)ml_ping(w->n[1].ml, w->now, &ip, ML_PING_DISCO, 0);
    world_settle(w);
}

/* Lets time pass from deadline to deadline. */
static inline void world_run(struct world *w, ml_time span)
{
    ml_time end = w->now + span;
    world_settle(w);
    while (w->now < end) {
        ml_time next = end;
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            ml_time at = ml_poll_deadline(w->n[i].ml);
            next = at < next ? at : next;
        }
        w->now = next > w->now ? next : w->now + 1;
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            ml_handle_time(w->n[i].ml, w->now);
        }
        world_settle(w);
    }
}

/* A UDP datagram from node i's host to node k's. */
static inline ml_err world_send(struct world *w, unsigned i, unsigned k, const char *text)
{
    uint8_t pkt[256];
    ml_addr src = {.ip = w->n[i].ip4, .port = 1000}, dst = {.ip = w->n[k].ip4, .port = 2000};
    size_t n = ml_udp_build(pkt, sizeof pkt, &src, &dst, (const uint8_t *)text, strlen(text), 1);
    ml_err err = ml_handle_overlay(w->n[i].ml, w->now, pkt, n);
    world_settle(w);
    return err;
}

static inline bool world_got(const struct world *w, unsigned i, const char *text)
{
    const struct world_node *n = &w->n[i];
    for (unsigned k = 0; k < 8 && k < n->inbox_count; k++) {
        size_t headers = n->inbox_len[k] && n->inbox[k][0] >> 4 == 6 ? 48 : 28;
        if (n->inbox_len[k] == headers + strlen(text) && memcmp(n->inbox[k] + headers, text, strlen(text)) == 0) {
            return true;
        }
    }
    return false;
}

#endif
