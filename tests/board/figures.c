/*
 * Figures of the engine on rv32imac, a line each on the console: what, name, number. Two engines talk to each other in virtual
 * time; under QEMU's -icount the counter below counts instructions exactly. tools/footprint_board.py reads the lines.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdlib.h>

/* The C library's malloc() aligns to 8 bytes here, an engine wants the alignment of max_align_t, which is 16. */
static void *aligned(size_t len)
{
    uint8_t *p = malloc(len + 16);
    if (p == NULL) {
        return NULL;
    }
    size_t skip = 16 - (uintptr_t)p % 16;
    p[skip - 1] = (uint8_t)skip;
    return p + skip;
}

static void release(void *p)
{
    if (p != NULL) {
        free((uint8_t *)p - ((uint8_t *)p)[-1]);
    }
}

#define malloc aligned
#define free   release
#include "control/map_parse.h"
#include "core/core_world.h"
#include "crypto/blake2s.h"
#include "crypto/crypto_backend.h"
#include "noise/noise_frame.h"
#include "tenants.h"

/* ---- Instructions ---- */

static uint64_t instructions(void)
{
    uint32_t hi, lo, again;
    do {
        __asm__ volatile(".option push\n .option arch, +zicsr\n csrr %0, minstreth\n csrr %1, minstret\n csrr %2, minstreth\n"
                         ".option pop"
                         : "=r"(hi), "=r"(lo), "=r"(again));
    } while (hi != again);
    return (uint64_t)hi << 32 | lo;
}

static void report(const char *what, const char *name, uint64_t n)
{
    printf("%s\t%s\t%u\n", what, name, (unsigned)n);
}

/* ---- Memory ---- */

static void memory(void)
{
    const ml_config cfg = {.max_peers = ML_BOARD_MAX_PEERS,
                           .max_sessions = ML_BOARD_MAX_SESSIONS,
                           .max_regions = ML_BOARD_MAX_REGIONS,
                           .max_rules = ML_BOARD_MAX_RULES,
                           .out_queue_bytes = ML_BOARD_OUT_QUEUE_BYTES,
                           .stream_tx_bytes = ML_BOARD_STREAM_TX_BYTES};
    size_t len_of[CORE_TENANT_COUNT] = {0};
    report("memory", "engine", core_arena_by_tenant(&cfg, len_of));
    for (unsigned t = 0; t < CORE_TENANT_COUNT; t++) {
        report("tenant", tenants[t], len_of[t]);
    }
    report("memory", "netmap", sizeof(struct ml_map_parse));
    report("memory", "peer at rest", peer_at_rest());
    report("memory", "peer with a session", peer_with_session());
}

/* ---- Primitives ---- */

static void primitives(void)
{
    static uint8_t buf[1280 + 16];
    uint8_t key[32] = {1}, nonce[12] = {2}, out[32];
    ml_private_key priv = {.b = {8, 3}};
    uint64_t at = instructions();
    report("count", "nothing", instructions() - at);
    at = instructions();
    ml_x25519_base(out, &priv);
    report("count", "X25519, base point", instructions() - at);
    at = instructions();
    (void)ml_x25519(out, &priv, out);
    report("count", "X25519", instructions() - at);
    at = instructions();
    ml_aead_seal(buf, key, nonce, NULL, 0, buf, 64);
    report("count", "ChaCha20-Poly1305, seal 64 bytes", instructions() - at);
    at = instructions();
    if (!ml_aead_open(buf, key, nonce, NULL, 0, buf, 80)) {
        printf("cannot open\n");
    }
    report("count", "ChaCha20-Poly1305, open 64 bytes", instructions() - at);
    at = instructions();
    ml_aead_seal(buf, key, nonce, NULL, 0, buf, 1280);
    report("count", "ChaCha20-Poly1305, seal 1280 bytes", instructions() - at);
    at = instructions();
    if (!ml_aead_open(buf, key, nonce, NULL, 0, buf, 1296)) {
        printf("cannot open\n");
    }
    report("count", "ChaCha20-Poly1305, open 1280 bytes", instructions() - at);
    at = instructions();
    ml_blake2s_2(out, buf, 1024, NULL, 0);
    report("count", "BLAKE2s, 1024 bytes", instructions() - at);
}

/* ---- Netmap ---- */

static void ignore(void *ctx, const struct ml_delta *d)
{
    (void)ctx;
    (void)d;
}

/** Peers as control sends them, parsed; what becomes of them is not counted. */
static void netmap(void)
{
    enum { PEERS = 64 };
    static char json[PEERS * 800];
    static struct ml_map_parse p;
    const struct ml_delta_sink sink = {.fn = ignore};
    size_t len =
        (size_t)snprintf(json, sizeof json,
                         "{\"Node\":{\"ID\":99,\"Key\":\"nodekey:%064x\",\"Addresses\":[\"100.127.0.1/32\"]},\"Peers\":[", 99U);
    for (unsigned i = 0; i < PEERS; i++) {
        len += (size_t)snprintf(
            json + len, sizeof json - len,
            "%s{\"ID\":%u,\"StableID\":\"n%uCNTRL\",\"Name\":\"node-%u.example.ts.net.\",\"User\":7,\"Key\":\"nodekey:%064x\","
            "\"Machine\":\"mkey:%064x\",\"DiscoKey\":\"discokey:%064x\",\"Addresses\":[\"100.64.0.%u/32\"],\"AllowedIPs\":"
            "[\"100.64.0.%u/"
            "32\"],\"Endpoints\":[\"203.0.113.%u:41641\"],\"HomeDERP\":1,\"Hostinfo\":{\"OS\":\"linux\",\"Hostname\":"
            "\"node-%u\"},\"Created\":\"2026-11-01T10:20:30Z\",\"Cap\":130,\"Online\":true,\"MachineAuthorized\":true}",
            i == 0 ? "" : ",", i + 1, i, i, i + 1, i + 2, i + 3, i, i, i, i);
    }
    len += (size_t)snprintf(json + len, sizeof json - len, "]}");
    ml_map_parse_init(&p);
    uint64_t at = instructions();
    ml_map_parse_stream(&p);
    ml_map_parse_begin(&p);
    if (!ml_map_parse_feed(&p, (const uint8_t *)json, len, &sink) || !ml_map_parse_end(&p, &sink)) {
        printf("cannot parse\n");
    }
    report("count", "netmap, 100 bytes", (instructions() - at) * 100 / len);
}

/* ---- Two engines ---- */

static uint8_t flying[4][1500];
static size_t flying_len[4];

/** Drains engine @p i; datagrams are kept, in order, and counted. */
static unsigned drain(struct world *w, unsigned i)
{
    ml_output out;
    unsigned n = 0;
    while (world_poll(w->n[i].ml, w->now, &out)) {
        if (out.type == ML_OUT_DATAGRAM && n < 4) {
            memcpy(flying[n], out.data, out.len);
            flying_len[n++] = out.len;
        } else if (out.type == ML_OUT_STORE) {
            ml_handle_stored(w->n[i].ml, w->now, out.store, true);
        }
    }
    return n;
}

/** One packet of @p len bytes from engine 0 to 1: what each side spends, copies to the queue included. */
static void one_packet(struct world *w, size_t len)
{
    static uint8_t pkt[1280], payload[1280];
    char name[40];
    ml_addr src = {.ip = w->n[0].ip4, .port = 1000}, dst = {.ip = w->n[1].ip4, .port = 2000};
    size_t n = ml_udp_build(pkt, sizeof pkt, &src, &dst, payload, len - 28, 1);
    uint64_t at = instructions();
    (void)ml_handle_overlay(w->n[0].ml, w->now, pkt, n);
    unsigned count = drain(w, 0);
    snprintf(name, sizeof name, "packet of %u bytes, send", (unsigned)len);
    report("count", name, instructions() - at);
    if (count != 1) {
        printf("expected one datagram, there are %u\n", count);
    }
    at = instructions();
    (void)ml_handle_datagram(w->n[1].ml, w->now, &w->n[0].addr, flying[0], flying_len[0]);
    (void)drain(w, 1);
    snprintf(name, sizeof name, "packet of %u bytes, receive", (unsigned)len);
    report("count", name, instructions() - at);
}

static void engines(void)
{
    static struct world w;
    ml_ip ip;
    world_start(&w);
    ip = w.n[1].ip4;

    uint64_t at = instructions();
    (void)ml_ping(w.n[0].ml, w.now, &ip, ML_PING_DISCO, 1);
    unsigned n = drain(&w, 0);
    report("count", "DISCO ping, send", instructions() - at);
    at = instructions();
    for (unsigned i = 0; i < n; i++) {
        (void)ml_handle_datagram(w.n[1].ml, w.now, &w.n[0].addr, flying[i], flying_len[i]);
    }
    (void)drain(&w, 1);
    report("count", "DISCO ping, answer", instructions() - at);
    world_settle(&w);

    /* A session: initiation, response, both sides. */
    uint8_t pkt[64];
    ml_addr src = {.ip = w.n[0].ip4, .port = 1000}, dst = {.ip = ip, .port = 2000};
    size_t len = ml_udp_build(pkt, sizeof pkt, &src, &dst, (const uint8_t *)"x", 1, 1);
    at = instructions();
    (void)ml_handle_overlay(w.n[0].ml, w.now, pkt, len);
    n = drain(&w, 0);
    report("count", "WireGuard handshake, initiation", instructions() - at);
    at = instructions();
    for (unsigned i = 0; i < n; i++) {
        (void)ml_handle_datagram(w.n[1].ml, w.now, &w.n[0].addr, flying[i], flying_len[i]);
    }
    n = drain(&w, 1);
    report("count", "WireGuard handshake, response", instructions() - at);
    at = instructions();
    for (unsigned i = 0; i < n; i++) {
        (void)ml_handle_datagram(w.n[0].ml, w.now, &w.n[1].addr, flying[i], flying_len[i]);
    }
    n = drain(&w, 0);
    report("count", "WireGuard handshake, end", instructions() - at);
    for (unsigned i = 0; i < n; i++) {
        (void)ml_handle_datagram(w.n[1].ml, w.now, &w.n[0].addr, flying[i], flying_len[i]);
    }
    world_settle(&w);

    one_packet(&w, 64);
    one_packet(&w, 1280);

    /* Idle: an hour later everything has come to rest. */
    world_run(&w, ML_SEC(3600));
    at = instructions();
    world_run(&w, ML_SEC(60));
    report("count", "one idle engine, a second", (instructions() - at) / 60 / WORLD_NODES);
    world_end(&w);
}

int main(void)
{
    memory();
    primitives();
    netmap();
    engines();
    printf("end\n");
    return 0;
}
