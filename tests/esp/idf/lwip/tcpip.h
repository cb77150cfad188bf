/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "lwip/netif.h"
#include "lwip/pbuf.h"
err_t tcpip_callback(void (*fn)(void *ctx), void *ctx);
err_t tcpip_try_callback(void (*fn)(void *ctx), void *ctx);
err_t tcpip_input(struct pbuf *p, struct netif *n);
