/*
 * lwIP on the board: Ethernet below (static address or DHCP, DNS), the tailnet above, and the one UDP socket of the underlay.
 *
 * Both interfaces live in one stack. What keeps them apart: sockets of the underlay are bound to Ethernet, those of
 * applications to the tailnet, and nothing is forwarded.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BAREMETAL_NETIF_H
#define ML_BAREMETAL_NETIF_H

#include "microlink/engine.h"

#include "lwip/netif.h"

/** What the port wants to hear; called from ml_net_poll() and ml_net_tunnel_input(). */
struct ml_net_events {
    void (*datagram)(const ml_addr *from, uint8_t *buf, size_t len);
    /** An IP packet from the stack for the tunnel; dies with the call. False: no room now, see ml_net_retry(). */
    bool (*to_tunnel)(const uint8_t *packet, size_t len);
    /** Ethernet has an address now, or another one, or none. */
    void (*address_changed)(void);
};

extern struct netif ml_net_eth, ml_net_tunnel;

/** Packets lost on the board itself, which no network is to blame for. */
struct ml_net_stats {
    uint32_t tx_busy;   /**< Frames that the device did not take. */
    uint32_t tx_no_mem; /**< Datagrams of the underlay without memory. */
    uint32_t rx_no_mem; /**< Frames and packets of the tunnel that came in without memory for them. */
};

/** @return false without Ethernet. What finds no memory is tried again by ml_net_poll(). */
bool ml_net_init(const struct ml_net_events *events, uint16_t port);
/** @brief Run the stack's timers and take in what arrived, no more after @p until. @return true when there may be more. */
bool ml_net_poll(ml_time until);
ml_time ml_net_deadline(ml_time now);
bool ml_net_get_addr(ml_addr *out);
void ml_net_udp_send(const ml_addr *to, const uint8_t *data, size_t len);
void ml_net_tunnel_set_addr(const ml_ip *ip4);
void ml_net_tunnel_input(const uint8_t *packet, size_t len);
void ml_net_get_stats(struct ml_net_stats *out);
/** @brief Let TCP try again what the tunnel had no room for. */
void ml_net_retry(void);

#endif
