/*
 * The tunnel as a network interface of ESP-IDF, so that ordinary sockets, esp-mqtt, esp_http_server and the rest work over it.
 *
 * Made when the first tailnet address is known. Never the default route: only 100.64.0.0/10 and our IPv6 /64 go there. What
 * lwIP sends is copied into a bounded mailbox in lwIP's thread (full: dropped, as on any interface); the driving task takes
 * it from there.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ESP_TUNNEL_H
#define ML_ESP_TUNNEL_H

#include "esp_netif.h"
#include "microlink/types.h"

/** @brief Set the addresses (unset: none), making the interface when there is one. False: no memory. */
bool ml_tunnel_set_addrs(const ml_ip *ip4, const ml_ip *ip6);
void ml_tunnel_close(void);
/** @brief Give a packet to lwIP. False: there is no interface, or it had no memory (the packet is lost). */
bool ml_tunnel_input(const uint8_t *packet, size_t len);
/** @brief Take a packet that lwIP sent; 0 when there is none. @p cap at least ML_OVERLAY_MTU. */
size_t ml_tunnel_take(uint8_t *packet, size_t cap);
/** @brief Whether @p netif (a struct netif of lwIP) is the tunnel; in lwIP's thread. */
bool ml_tunnel_is(const void *netif);
esp_netif_t *ml_tunnel_netif(void);

#endif
