/*
 * Our configuration of lwIP for `--tun userspace-networking`: no threads (NO_SYS), one interface, IPv4 and IPv6, memory from
 * malloc so that an idle node holds none. Option names are lwIP's (opt.h there explains each).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_LWIPOPTS_H
#define ML_LWIPOPTS_H

#define NO_SYS                        1
#define SYS_LIGHTWEIGHT_PROT          0
#define LWIP_SINGLE_NETIF             1
#define LWIP_SOCKET                   0
#define LWIP_NETCONN                  0
#define LWIP_ARP                      0
#define LWIP_IPV4                     1
#define LWIP_IPV6                     1
#define LWIP_IPV6_MLD                 0
#define LWIP_IPV6_AUTOCONFIG          0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_ICMP                     1
#define LWIP_ICMP6                    1
#define LWIP_RAW                      0
#define LWIP_UDP                      1
#define LWIP_TCP                      1
#define LWIP_DHCP                     0
#define LWIP_DNS                      0
#define LWIP_IGMP                     0
#define LWIP_STATS                    0
#define LWIP_NETIF_API                0
#define IP_FORWARD                    0
/* Fragments of inner packets do not exist: the overlay's MTU is the smallest that IPv6 knows. */
#define IP_REASSEMBLY                0
#define IP_FRAG                      0
#define LWIP_IPV6_FRAG               0
#define LWIP_IPV6_REASS              0
#define MEM_LIBC_MALLOC              1
#define MEMP_MEM_MALLOC              1
#define MEM_ALIGNMENT                8
#define MEMP_NUM_TCP_PCB             32
#define PBUF_LINK_HLEN               0
#define PBUF_LINK_ENCAPSULATION_HLEN 0

/* 1280 less IPv6 and TCP headers; windows for about 50 Mbit/s at 20 ms. */
#define TCP_MSS                        1220
#define LWIP_WND_SCALE                 1
#define TCP_RCV_SCALE                  2
#define TCP_WND                        (96 * TCP_MSS)
#define TCP_SND_BUF                    (48 * TCP_MSS)
#define TCP_SND_QUEUELEN               192
#define MEMP_NUM_TCP_SEG               256
#define TCP_QUEUE_OOSEQ                1
#define TCP_LISTEN_BACKLOG             1
#define LWIP_TCP_SACK_OUT              1
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

#endif
