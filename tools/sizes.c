/*
 * Prints what the engine takes in memory on the machine it is built for, a line each: what, name, bytes. tools/footprint.py
 * builds and reads it; the names are those of docs/footprint.md.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tenants.h"

#include <stdio.h>

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
    printf("each\tpeer at rest\t%zu\n", peer_at_rest());
    printf("each\tlive session\t%zu\n", peer_with_session());
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
