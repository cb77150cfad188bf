/*
 * The underlay's UDP: one lwIP socket per address family on one port, kept across rebinds.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ESP_UDP_H
#define ML_ESP_UDP_H

#include "loop.h"
#include "microlink/engine.h"

#include <netinet/in.h>
#include <sys/socket.h>

typedef void (*ml_udp_recv_fn)(void *ctx, const ml_addr *from, uint8_t *buf, size_t len);
/** There is no way to @p to: lwIP has no route. */
typedef void (*ml_udp_unreachable_fn)(void *ctx, const ml_addr *to);

/** One more than fits, so that what is too long shows. */
#define ML_UDP_RX (ML_UNDERLAY_MAX + 1)

struct ml_udp {
    struct ml_loop *loop;
    int fd4, fd6; /**< -1: family not available. */
    int slot4, slot6;
    uint16_t want_port;    /**< 0 = any. */
    uint16_t port4, port6; /**< As bound, 0 = not. */
    ml_udp_recv_fn recv;
    ml_udp_unreachable_fn unreachable;
    void *ctx;
    uint8_t *rx; /**< ML_UDP_RX bytes, the caller's. */
};

/**
 * @param rx  ML_UDP_RX bytes, in use only while @p recv is called
 * @retval ML_ERR_STATE  no socket of either family; @p why says it
 */
ml_err ml_udp_open(struct ml_udp *u, struct ml_loop *loop, uint16_t port, uint8_t *rx, ml_udp_recv_fn recv,
                   ml_udp_unreachable_fn unreachable, void *ctx, char *why, size_t why_cap);
void ml_udp_close(struct ml_udp *u);
/** @brief Close and open again on the same ports. */
ml_err ml_udp_rebind(struct ml_udp *u, char *why, size_t why_cap);
/** @brief Send; what lwIP has no memory for is lost. */
void ml_udp_send(struct ml_udp *u, const ml_addr *to, const uint8_t *data, size_t len);

/** @brief Our address type from and to the system's. @return length, 0 when the address is unset. */
socklen_t ml_sys_sockaddr(const ml_addr *a, bool v6_socket, struct sockaddr_storage *out);
ml_addr ml_sys_addr(const struct sockaddr *sa);

#endif
