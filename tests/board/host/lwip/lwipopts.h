/*
 * lwIP of the machines that the board talks to in the host tests: roomy, memory from malloc, nothing shared with the board's
 * own copy (CMakeLists.txt hides its symbols). Option names are lwIP's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_WORLD_LWIPOPTS_H
#define ML_TEST_WORLD_LWIPOPTS_H

#define NO_SYS                         1
#define SYS_LIGHTWEIGHT_PROT           0
#define LWIP_SOCKET                    0
#define LWIP_NETCONN                   0
#define LWIP_IPV4                      1
#define LWIP_IPV6                      0
#define LWIP_ARP                       1
#define LWIP_ICMP                      1
#define LWIP_RAW                       0
#define LWIP_UDP                       0
#define LWIP_DHCP                      0
#define LWIP_DNS                       0
#define LWIP_TCP                       1
#define LWIP_STATS                     0
#define IP_FORWARD                     0
#define IP_REASSEMBLY                  0
#define IP_FRAG                        0
#define MEM_LIBC_MALLOC                1
#define MEMP_MEM_MALLOC                1
#define MEM_ALIGNMENT                  8
#define TCP_MSS                        1200
#define TCP_WND                        (8 * TCP_MSS)
#define TCP_SND_BUF                    (16 * TCP_MSS)
#define TCP_SND_QUEUELEN               64
#define MEMP_NUM_TCP_SEG               128
#define TCP_MSL                        1000UL
#define TCP_QUEUE_OOSEQ                1
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

#endif
