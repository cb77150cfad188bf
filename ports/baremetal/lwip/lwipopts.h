/*
 * Our configuration of lwIP for the board: no threads (NO_SYS), two interfaces (Ethernet below, the tailnet above), all memory
 * from the arena shared with TLS (arena.h). Option names are lwIP's (opt.h there explains each).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BOARD_LWIPOPTS_H
#define ML_BOARD_LWIPOPTS_H

#include "arena.h"

#define NO_SYS                     1
#define SYS_LIGHTWEIGHT_PROT       0
#define LWIP_SOCKET                0
#define LWIP_NETCONN               0
#define LWIP_IPV4                  1
#define LWIP_IPV6                  0
#define LWIP_ARP                   1
#define LWIP_ICMP                  1
#define LWIP_RAW                   0
#define LWIP_UDP                   1
#define LWIP_TCP                   1
#define LWIP_DHCP                  1
#define DHCP_DOES_ARP_CHECK        0
#define LWIP_DNS                   1
#define DNS_TABLE_SIZE             2
#define DNS_MAX_NAME_LENGTH        128
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_STATS                 0
#define IP_FORWARD                 0
#define IP_REASSEMBLY              0
#define IP_FRAG                    0
#define ARP_TABLE_SIZE             ML_BOARD_ARP_ENTRIES
#define ARP_QUEUEING               1
#define ETH_PAD_SIZE               0
#define LWIP_NETIF_TX_SINGLE_PBUF  0

/* Memory: what lwIP allocates is taken from the arena when it is needed. */
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT   4
#define mem_clib_malloc ml_arena_lwip_malloc
#define mem_clib_calloc ml_arena_lwip_calloc
#define mem_clib_free   ml_arena_lwip_free

/* A relay's packets are below 1.4 KB and the engine takes them at once: small windows lose nothing but throughput. */
#define TCP_MSS          1460
#define TCP_WND          (3 * TCP_MSS)
#define TCP_SND_BUF      (4 * TCP_MSS)
#define TCP_SND_QUEUELEN 16
#define MEMP_NUM_TCP_SEG 32
#define MEMP_NUM_TCP_PCB 8
/* A lost segment costs one repetition: those behind it wait (two full ones at most), and without timestamps a sender that had to
 * repeat everything measures no round trip and waits longer each time, tens of seconds on a link that loses one frame in twenty. */
#define TCP_QUEUE_OOSEQ                1
#define TCP_OOSEQ_MAX_BYTES            (2 * TCP_MSS)
#define TCP_OOSEQ_MAX_PBUFS            4
#define LWIP_TCP_TIMESTAMPS            1
#define LWIP_TCP_KEEPALIVE             1
#define TCP_MSL                        5000UL
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

#endif
