/*
 * Prints what the engine takes in memory on the machine it is built for, a line each: what, name, bytes. tools/footprint.py
 * builds and reads it; the names are those of docs/footprint.md.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include <stdio.h>

static const char *const tenants[CORE_TENANT_COUNT] = {
    [CORE_TENANT_ENGINE] = "engine and its modules",
    [CORE_TENANT_WG_PEERS] = "WireGuard sessions",
    [CORE_TENANT_WG_FLIGHTS] = "initiations waiting for an answer",
    [CORE_TENANT_WG_SPARES] = "next and previous keypairs",
    [CORE_TENANT_WG_STAGES] = "packets waiting for a session",
    [CORE_TENANT_PATH_PEERS] = "paths of sessions",
    [CORE_TENANT_NETCHECK] = "latency measurements",
    [CORE_TENANT_DERP_SLOTS] = "relay connections",
    [CORE_TENANT_DERP_STREAMS] = "relay streams",
    [CORE_TENANT_DERP_ROUTES] = "relay routes",
    [CORE_TENANT_HANDSHAKES] = "handshake messages",
    [CORE_TENANT_SLOTS] = "session book-keeping",
    [CORE_TENANT_SLOT_OF_PEER] = "peer to session index",
    [CORE_TENANT_SCORES] = "region scores",
    [CORE_TENANT_DERP_TX] = "relay send buffers",
    [CORE_TENANT_OUTQ] = "packet queue",
    [CORE_TENANT_CONTROL_TX] = "control send buffer",
    [CORE_TENANT_MAP] = "peers of the netmap",
    [CORE_TENANT_REGIONS] = "relay regions",
    [CORE_TENANT_FILTER] = "packet filter and flows",
};

static size_t arena(uint16_t peers, uint16_t sessions)
{
    const ml_config cfg = {.max_peers = peers, .max_sessions = sessions};
    return ml_mem_needed(&cfg);
}

#define PRINT_SIZE(type) printf("struct\t%s\t%zu\n", #type, sizeof(type))

int main(void)
{
    static const uint16_t configs[] = {16, 64, 1000, 10000};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const ml_config cfg = {.max_peers = configs[i]};
        size_t len_of[CORE_TENANT_COUNT] = {0};
        printf("arena\t%u\t%zu\n", configs[i], core_arena_by_tenant(&cfg, len_of));
        for (unsigned t = 0; t < CORE_TENANT_COUNT; t++) {
            printf("tenant %u\t%s\t%zu\n", configs[i], tenants[t], len_of[t]);
        }
    }
    /* What one more costs: the slope between two configurations in which nothing else differs. */
    printf("each\tpeer at rest\t%zu\n", (arena(10000, 16) - arena(1000, 16)) / 9000);
    printf("each\tlive session\t%zu\n", (arena(1000, 256) - arena(1000, 16)) / 240);
    PRINT_SIZE(struct ml_engine);
    PRINT_SIZE(struct ml_control);
    PRINT_SIZE(struct ml_h2);
    PRINT_SIZE(struct ml_wg);
    PRINT_SIZE(struct ml_wg_peer);
    PRINT_SIZE(struct ml_wg_spare);
    PRINT_SIZE(struct ml_wg_stage);
    PRINT_SIZE(struct ml_path);
    PRINT_SIZE(struct ml_path_peer);
    PRINT_SIZE(struct ml_netcheck);
    PRINT_SIZE(struct ml_netcheck_region);
    PRINT_SIZE(struct ml_derp_pool);
    PRINT_SIZE(struct ml_derp_slot);
    PRINT_SIZE(struct ml_derp_route);
    PRINT_SIZE(struct ml_peer);
    PRINT_SIZE(struct ml_node);
    PRINT_SIZE(struct ml_filter);
    PRINT_SIZE(struct core_slot);
    return 0;
}
