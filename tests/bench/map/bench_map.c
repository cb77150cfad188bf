/*
 * Netmap parsing speed: one message of ten thousand realistic peers, about 1.1 KB each, given to the parser in pieces of a
 * TCP segment. Prints MB/s (on bare rv32: instructions a byte) of the parser alone, and with the deltas applied to a table of 16 and to one that holds all.
 * Usage: bench_map [PEERS]. SPDX-License-Identifier: MIT
 */
#include "control/map_parse.h"
#include "map/netmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define SEGMENT 1400
#ifndef DEFAULT_PEERS
#define DEFAULT_PEERS 10000
#endif

/* On a bare rv32 machine instructions are counted, on a host time is taken. */
#ifdef __riscv
#define UNIT "instructions/byte"
static double mark(void)
{
    uint32_t n;
    __asm__ volatile(".option push\n.option arch, +zicsr\ncsrr %0, minstret\n.option pop" : "=r"(n));
    return (double)n;
}
static double figure(size_t bytes, double spent)
{
    return spent / (double)bytes;
}
static bool is_better(double a, double b)
{
    return b == 0 || a < b;
}
#else
#include <time.h>
#define UNIT "MB/s"
static double mark(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static double figure(size_t bytes, double spent)
{
    return (double)bytes / spent / 1e6;
}
static bool is_better(double a, double b)
{
    return a > b;
}
#endif

static void hex(char *out, unsigned id, unsigned salt)
{
    unsigned long long x = id * 2654435761ULL + salt;
    for (int i = 0; i < 64; i++) {
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        out[i] = "0123456789abcdef"[x >> 60];
    }
    out[64] = 0;
}

static size_t peer(char *at, size_t cap, unsigned id)
{
    char node[65], machine[65], disco[65];
    hex(node, id, 1);
    hex(machine, id, 2);
    hex(disco, id, 3);
    return (size_t)snprintf(
        at, cap,
        "%s{\"ID\":%u,\"StableID\":\"n%uCNTRL\",\"Name\":\"workstation-%u.example.ts.net.\",\"User\":%u,\"Key\":\"nodekey:%s\","
        "\"KeyExpiry\":\"2030-01-01T00:00:00Z\",\"Machine\":\"mkey:%s\",\"DiscoKey\":\"discokey:%s\",\"Addresses\":"
        "[\"100.64.%u.%u/32\",\"fd7a:115c:a1e0::%x/128\"],\"AllowedIPs\":[\"100.64.%u.%u/32\",\"fd7a:115c:a1e0::%x/128\"],"
        "\"Endpoints\":[\"203.0.113.%u:41641\",\"192.168.1.%u:41641\",\"[2001:db8::%x]:41641\"],\"HomeDERP\":%u,\"Hostinfo\":"
        "{\"OS\":\"linux\",\"OSVersion\":\"6.1.0-18-amd64\",\"Hostname\":\"workstation-%u\",\"Services\":[{\"Proto\":"
        "\"peerapi4\",\"Port\":41000},{\"Proto\":\"peerapi6\",\"Port\":41001}]},\"Created\":\"2026-11-01T10:20:30Z\",\"Cap\":"
        "130,"
        "\"Tags\":[\"tag:workstation\",\"tag:office\"],\"LastSeen\":\"2026-11-01T10:20:30Z\",\"Online\":true,"
        "\"MachineAuthorized\":true,\"CapMap\":{\"https://tailscale.com/cap/file-sharing\":null,\"funnel\":null},"
        "\"ComputedName\":\"workstation-%u\",\"ComputedNameWithHost\":\"workstation-%u\"}",
        id == 1 ? "" : ",", id, id, id, 1000 + id % 700, node, machine, disco, id >> 8 & 255, id & 255, id, id >> 8 & 255,
        id & 255, id, id % 250, id % 250, id, 1 + id % 20, id, id, id);
}

static void apply(void *ctx, const struct ml_delta *d)
{
    struct ml_map_change change;
    if (ctx) {
        ml_map_apply(ctx, d, 0, &change);
        while ((d->type == ML_DELTA_PEERS_END || d->type == ML_DELTA_END) && ml_map_sweep(ctx, &change)) {
        }
    }
}

static double run(const char *json, size_t len, struct ml_map *map)
{
    static struct ml_map_parse p;
    const struct ml_delta_sink sink = {.fn = apply, .ctx = map};
    double best = 0;
    for (int round = 0; round < 5; round++) {
        double began = mark();
        ml_map_parse_init(&p);
        ml_map_parse_stream(&p);
        ml_map_parse_begin(&p);
        for (size_t at = 0; at < len; at += SEGMENT) {
            size_t n = len - at < SEGMENT ? len - at : SEGMENT;
            if (!ml_map_parse_feed(&p, (const uint8_t *)json + at, n, &sink)) {
                exit(1);
            }
        }
        if (!ml_map_parse_end(&p, &sink)) {
            exit(1);
        }
        double got = figure(len, mark() - began);
        best = is_better(got, best) ? got : best;
    }
    return best;
}

static double run_with_table(const char *json, size_t len, uint16_t peers)
{
    const struct ml_map_cfg cfg = {.max_peers = peers};
    struct ml_map map;
    void *mem = calloc(1, ml_map_mem(&cfg));
    if (!mem) {
        exit(1);
    }
    ml_map_init(&map, &cfg, mem);
    double rate = run(json, len, &map);
    free(mem);
    return rate;
}

int main(int argc, char **argv)
{
    unsigned peers = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : DEFAULT_PEERS;
    size_t cap = 4096 + (size_t)peers * 1400, len = 0;
    char *json = malloc(cap), key[65];
    if (!json || peers == 0 || peers > 30000) {
        return 1;
    }
    hex(key, 0, 9);
    len += (size_t)snprintf(
        json, cap, "{\"Node\":{\"ID\":99999,\"Key\":\"nodekey:%s\",\"Addresses\":[\"100.127.0.1/32\"]},\"Peers\":[", key);
    for (unsigned id = 1; id <= peers; id++) {
        len += peer(json + len, cap - len, id);
    }
    len += (size_t)snprintf(json + len, cap - len, "]}");
    printf("map: %u peers, %u KB in one message, %u bytes each\n", peers, (unsigned)(len / 1000), (unsigned)(len / peers));
    printf("map: parser's working memory %u bytes\n", (unsigned)sizeof(struct ml_map_parse));
    printf("map: parse only          %6.1f " UNIT "\n", run(json, len, NULL));
    printf("map: into a table of 16  %6.1f " UNIT "\n", run_with_table(json, len, 16));
    printf("map: into a table of all %6.1f " UNIT "\n", run_with_table(json, len, (uint16_t)(peers + 16)));
    free(json);
    return 0;
}
