/*
 * A Linux TUN device with the node's addresses and the tailnet's routes, configured over rtnetlink.
 *
 * The device is not persistent: it, its addresses and its routes go when the descriptor is closed, also when the process dies.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_TUN_H
#define ML_POSIX_TUN_H

#include "loop.h"
#include "microlink/engine.h"

struct ml_tun {
    int fd; /**< -1: not open. */
    char name[16];
    ml_ip ip4, ip6; /**< As assigned. */
};

/** @brief Create the device @p name (at most 15 characters), MTU 1280, up. @retval ML_ERR_STATE with a sentence. */
ml_err ml_tun_open(struct ml_tun *t, const char *name, char *why, size_t why_cap);
void ml_tun_close(struct ml_tun *t);
/** @brief Assign /32 and /128 and route 100.64.0.0/10 and fd7a:115c:a1e0::/48 here; replaces what was assigned before. */
ml_err ml_tun_set_addrs(struct ml_tun *t, const ml_ip *ip4, const ml_ip *ip6, char *why, size_t why_cap);
/** @brief One packet from the host. @return its length, 0 when there is none. */
size_t ml_tun_read(struct ml_tun *t, uint8_t *buf, size_t cap);
/** @brief One packet to the host; what the kernel does not take is lost. */
void ml_tun_write(struct ml_tun *t, const uint8_t *packet, size_t len);

#endif
