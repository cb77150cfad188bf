/*
 * The underlay's addresses and their changes: getifaddrs() for the list, rtnetlink for the news.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_NETMON_H
#define ML_POSIX_NETMON_H

#include "loop.h"
#include "microlink/engine.h"

/** As many as ml_set_local_addrs() keeps. */
#define ML_NETMON_ADDRS 8

struct ml_netmon {
    struct ml_loop *loop;
    int fd, slot;           /**< rtnetlink; -1 where there is none. */
    ml_time settle_at;      /**< A change was announced; look when it has settled. ML_NEVER: none. */
    bool default_route_new; /**< Among the changes was a default route. */
    unsigned skip_ifindex;  /**< The tunnel's own interface; 0 = none. */
    ml_ip addrs[ML_NETMON_ADDRS];
    size_t count;
};

/** @brief Start watching. Without rtnetlink only ml_netmon_refresh() works. */
void ml_netmon_open(struct ml_netmon *m, struct ml_loop *loop);
void ml_netmon_close(struct ml_netmon *m);
/** @brief Leave out this interface from addresses and news; NULL: none. */
void ml_netmon_skip(struct ml_netmon *m, const char *ifname);
/**
 * @brief Read the addresses: interfaces that are up, without tailnet, link-local and multicast ones; loopback only when there
 * is nothing else.
 * @return true when the list differs from the one before.
 */
bool ml_netmon_refresh(struct ml_netmon *m);
/** @brief True once after announced changes settled and mattered (addresses or default route). Call when its time came. */
bool ml_netmon_poll(struct ml_netmon *m, ml_time now);

#endif
