/*
 * A Linux TUN device with the node's addresses and the tailnet's routes, configured over rtnetlink.
 *
 * The device is not persistent: it, its addresses and its routes go when the descriptor is closed, also when the process dies.
 * TCP comes and goes in runs of segments (tun_offload.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_TUN_H
#define ML_POSIX_TUN_H

#include "loop.h"
#include "microlink/engine.h"
#include "tun_offload.h"

struct ml_tun {
    int fd; /**< -1: not open. */
    char name[16];
    ml_ip ip4, ip6;        /**< As assigned. */
    bool no_runs;          /**< The kernel refused one. */
    struct ml_tun_run run; /**< On its way to the host. */
    struct {
        struct ml_tun_head head;
        uint8_t packet[ML_TUN_PACKET_MAX];
    } in;
};

/** @brief Create the device @p name (at most 15 characters), MTU 1280, up. @retval ML_ERR_STATE with a sentence. */
ml_err ml_tun_open(struct ml_tun *t, const char *name, char *why, size_t why_cap);
void ml_tun_close(struct ml_tun *t);
/** @brief Assign /32 and /128 and route 100.64.0.0/10 and fd7a:115c:a1e0::/48 here; replaces what was assigned before. */
ml_err ml_tun_set_addrs(struct ml_tun *t, const ml_ip *ip4, const ml_ip *ip6, char *why, size_t why_cap);
/**
 * @brief Read once, and call @p fn for each packet that this gives.
 * @return How many; 0 when there is nothing to read. What is longer than the MTU is dropped.
 */
size_t ml_tun_read(struct ml_tun *t, ml_tun_packet_fn fn, void *ctx);
/** @brief One packet to the host, now or with ml_tun_flush(); order is kept. What the kernel does not take is lost. */
void ml_tun_write(struct ml_tun *t, const uint8_t *packet, size_t len);
void ml_tun_flush(struct ml_tun *t);

#endif
