/*
 * The underlay's UDP: one socket per address family on one port, kept across rebinds; batches in both directions, and in them
 * runs of datagrams of one length to one address as one (Linux' UDP_SEGMENT and UDP_GRO), where the system has that.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_UDP_H
#define ML_POSIX_UDP_H

#include "loop.h"
#include "microlink/engine.h"

#include <netinet/in.h>

/** Datagrams written per system call: full runs of full packets, two and a half of them. */
#define ML_UDP_BATCH 128
/** Datagrams in a run at most (UDP_MAX_SEGMENTS; newer kernels take 128). */
#define ML_UDP_RUN 64
/** The longest datagram; others are dropped. */
#define ML_UDP_ROOM 1536
/** Messages read per system call, each a datagram or a run of them. */
#define ML_UDP_READS 16
/** Room for a run. */
#define ML_UDP_RUN_ROOM 65536

/** One batch of datagrams on its way out; allocated, since it is large. */
struct ml_udp_batch {
    uint8_t data[ML_UDP_BATCH][ML_UDP_ROOM];
    uint16_t len[ML_UDP_BATCH];
    ml_addr addr[ML_UDP_BATCH];
    size_t count;
};

/** @param now  When its run was read: asking for the time of each datagram costs a twentieth of what opening it does. */
typedef void (*ml_udp_recv_fn)(void *ctx, ml_time now, const ml_addr *from, uint8_t *buf, size_t len);
/** There is no way to @p to: the system said network or host unreachable. */
typedef void (*ml_udp_unreachable_fn)(void *ctx, const ml_addr *to);

struct ml_udp {
    struct ml_loop *loop;
    int fd4, fd6; /**< -1: family not available. */
    int slot4, slot6;
    uint16_t want_port;    /**< 0 = any. */
    uint16_t port4, port6; /**< As bound, 0 = not. */
    struct ml_udp_batch *out;
    uint8_t (*in)[ML_UDP_RUN_ROOM]; /**< ML_UDP_READS; pages that no run needs cost nothing. */
    bool has_runs;                  /**< The kernel sends runs; cleared when a device turns out to be unable to. */
    ml_udp_recv_fn recv;
    ml_udp_unreachable_fn unreachable; /**< May be NULL; set it after ml_udp_open(). Must not send. */
    void *ctx;
    uint64_t send_errors; /**< Datagrams the kernel refused; loss, as the protocol sees it. */
};

/**
 * @brief Open the sockets. @p port 0 takes any, the same for both families if possible.
 * @retval ML_ERR_STATE  no socket of either family; @p why says it
 */
ml_err ml_udp_open(struct ml_udp *u, struct ml_loop *loop, uint16_t port, ml_udp_recv_fn recv, void *ctx, char *why,
                   size_t why_cap);
void ml_udp_close(struct ml_udp *u);
/** @brief Close and open again on the same ports (a taken ephemeral port is replaced by another). */
ml_err ml_udp_rebind(struct ml_udp *u, char *why, size_t why_cap);
/** @brief Copy one datagram into the batch; a full batch is sent. */
void ml_udp_queue(struct ml_udp *u, const ml_addr *to, const uint8_t *data, size_t len);
/** @brief Send the batch. What does not fit the socket buffer is lost. */
void ml_udp_flush(struct ml_udp *u);

/** @brief Our address type from and to the system's. @return length, 0 when the address is unset. */
socklen_t ml_sys_sockaddr(const ml_addr *a, bool v6_socket, struct sockaddr_storage *out);
ml_addr ml_sys_addr(const struct sockaddr *sa);

#endif
