/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "sdkconfig.h"

#include <stdint.h>
typedef uint8_t u8_t;
typedef uint16_t u16_t;
typedef int8_t err_t;
enum { ERR_OK = 0, ERR_MEM = -1, ERR_BUF = -2, ERR_INPROGRESS = -5 };
typedef struct {
    uint32_t addr;
} ip4_addr_t;
typedef struct {
    uint32_t addr[4];
} ip6_addr_t;
#define LWIP_IPV6_NUM_ADDRESSES 3
#if CONFIG_LWIP_IPV6
typedef struct {
    union {
        ip6_addr_t ip6;
        ip4_addr_t ip4;
    } u_addr;
    u8_t type;
} ip_addr_t;
#define ip_2_ip4(ip) (&(ip)->u_addr.ip4)
#define ip_2_ip6(ip) (&(ip)->u_addr.ip6)
#define IP_IS_V6(ip) ((ip)->type == 6)
#define IPADDR4_INIT_BYTES(a, b, c, d)                                                                                         \
    {                                                                                                                          \
        {{{(a) + (b) + (c) + (d), 0, 0, 0}}}, 0                                                                                \
    }
#else
typedef ip4_addr_t ip_addr_t;
#define ip_2_ip4(ip) (ip)
#define IPADDR4_INIT_BYTES(a, b, c, d)                                                                                         \
    {                                                                                                                          \
        (a) + (b) + (c) + (d)                                                                                                  \
    }
#endif
#define PP_HTONL(x)                 ((uint32_t)(x))
#define IP6_ADDR_INVALID            0x00
#define IP6_ADDR_PREFERRED          0x30
#define ip6_addr_isvalid(state)     ((state)&0x10)
#define ip6_addr_ispreferred(state) ((state) == IP6_ADDR_PREFERRED)
#define ip6_addr_isglobal(ip)       ((ip)->addr[0] != 0)
#define ip4_addr_isany_val(ip)      ((ip).addr == 0)
struct pbuf {
    struct pbuf *next;
    void *payload;
    u16_t tot_len, len;
};
struct netif {
    struct netif *next;
    ip4_addr_t ip;
    ip6_addr_t ip6[LWIP_IPV6_NUM_ADDRESSES];
    u8_t state6[LWIP_IPV6_NUM_ADDRESSES];
    err_t (*output)(struct netif *n, struct pbuf *p, const ip4_addr_t *to);
    err_t (*output_ip6)(struct netif *n, struct pbuf *p, const ip6_addr_t *to);
    u16_t mtu;
    u8_t flags;
    char name[2];
};
extern struct netif *netif_list;
#define netif_is_up(n)             ((n)->flags & 1)
#define netif_is_link_up(n)        ((n)->flags & 4)
#define netif_ip4_addr(n)          ((const ip4_addr_t *)&(n)->ip)
#define netif_ip6_addr(n, i)       ((const ip6_addr_t *)&(n)->ip6[i])
#define netif_ip6_addr_state(n, i) ((n)->state6[i])
void netif_ip6_addr_set(struct netif *n, int8_t i, const ip6_addr_t *a);
void netif_ip6_addr_set_state(struct netif *n, int8_t i, u8_t state);
