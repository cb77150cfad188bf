/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "lwip/netif.h"
#include "lwip/pbuf.h"
struct udp_pcb;
struct udp_pcb *udp_new(void);
void udp_remove(struct udp_pcb *pcb);
err_t udp_sendto(struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *to, u16_t port);
