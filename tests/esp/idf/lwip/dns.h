/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "lwip/netif.h"
#define LWIP_DNS_ADDRTYPE_IPV4 0
#define LWIP_DNS_ADDRTYPE_IPV6 1
err_t dns_gethostbyname_addrtype(const char *name, ip_addr_t *out,
                                 void (*found)(const char *name, const ip_addr_t *ip, void *arg), void *arg, u8_t type);
