/*
 * The underlay's addresses and their changes: lwIP's interfaces for the list, ESP-IDF's IP events for the news.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ESP_NETMON_H
#define ML_ESP_NETMON_H

#include "microlink/types.h"

/** As many as ml_set_local_addrs() keeps. */
#define ML_NETMON_ADDRS 8

struct ml_netmon {
    bool registered;
    ml_time settle_at; /**< A change was announced; look when it has settled. ML_NEVER: none. */
    ml_ip addrs[ML_NETMON_ADDRS];
    size_t count;
};

/** @brief Listen for IP events; needs the default event loop. */
bool ml_netmon_open(struct ml_netmon *m);
void ml_netmon_close(struct ml_netmon *m);
/** @brief Read the addresses of all interfaces that are up, but the tunnel's, loopback and link-local ones. */
void ml_netmon_refresh(struct ml_netmon *m);
/** @brief True once after announced changes settled. Call after every wait. */
bool ml_netmon_poll(struct ml_netmon *m, ml_time now);

#endif
