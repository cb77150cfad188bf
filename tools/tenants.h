/*
 * Names of the arena's tenants, those of docs/footprint.md, and what one more peer takes; for tools/sizes.c and
 * tests/board/figures.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TOOLS_TENANTS_H
#define ML_TOOLS_TENANTS_H

#include "core/engine_priv.h"

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

/* What one more costs: the slope between two configurations in which nothing else differs. */
static size_t peer_at_rest(void)
{
    return (arena(10000, 16) - arena(1000, 16)) / 9000;
}

static size_t peer_with_session(void)
{
    return (arena(1000, 256) - arena(1000, 16)) / 240;
}

#endif
