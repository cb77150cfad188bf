/*
 * UDP sockets of the underlay (see udp.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "udp.h"

#include "base/addr.h"
#include "sdkconfig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/** Datagrams taken per wake-up and socket, so that streams and timers get their turn, and lwIP's answers to them have room. */
#if CONFIG_MICROLINK_NETIF
#define BURST CONFIG_MICROLINK_NETIF_QUEUE
#else
#define BURST 16
#endif

socklen_t ml_sys_sockaddr(const ml_addr *a, bool v6_socket, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (!ml_ip_is_set(&a->ip)) {
        return 0;
    }
    if (ml_ip_is4(&a->ip) && !v6_socket) {
        struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&s.sin_addr, a->ip.b + 12, 4);
        memcpy(out, &s, sizeof s);
        return sizeof s;
    }
    struct sockaddr_in6 s = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
    memcpy(&s.sin6_addr, a->ip.b, 16);
    memcpy(out, &s, sizeof s);
    return sizeof s;
}

ml_addr ml_sys_addr(const struct sockaddr *sa)
{
    ml_addr a = {0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in s;
        memcpy(&s, sa, sizeof s);
        a.ip = ml_ip_from4((const uint8_t *)&s.sin_addr);
        a.port = ntohs(s.sin_port);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 s;
        memcpy(&s, sa, sizeof s);
        a.ip = ml_ip_from16((const uint8_t *)&s.sin6_addr);
        a.port = ntohs(s.sin6_port);
    }
    return a;
}

static void read_all(struct ml_udp *u, int fd)
{
    for (int i = 0; i < BURST; i++) {
        struct sockaddr_storage ss;
        socklen_t ss_len = sizeof ss;
        ssize_t n = recvfrom(fd, u->rx, ML_UDP_RX, 0, (struct sockaddr *)&ss, &ss_len);
        if (n <= 0) {
            return;
        }
        if ((size_t)n <= ML_UNDERLAY_MAX) {
            ml_addr from = ml_sys_addr((struct sockaddr *)&ss);
            u->recv(u->ctx, &from, u->rx, (size_t)n);
        }
    }
}

static void on_readable4(void *ctx, short revents)
{
    struct ml_udp *u = ctx;
    (void)revents;
    read_all(u, u->fd4);
}

static void on_readable6(void *ctx, short revents)
{
    struct ml_udp *u = ctx;
    (void)revents;
    read_all(u, u->fd6);
}

static int open_socket(int family, uint16_t port, uint16_t *bound)
{
    int fd = socket(family, SOCK_DGRAM, IPPROTO_UDP);
    if (fd < 0) {
        return -1;
    }
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(struct sockaddr_in);
    if (family == AF_INET6) {
        struct sockaddr_in6 s = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        int one = 1;
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        len = sizeof s;
        memcpy(&ss, &s, sizeof s);
    } else {
        struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(port)};
        memcpy(&ss, &s, sizeof s);
    }
    if (ml_sys_prepare_fd(fd) != 0 || bind(fd, (struct sockaddr *)&ss, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
        close(fd);
        return -1;
    }
    *bound = ml_sys_addr((struct sockaddr *)&ss).port;
    return fd;
}

static ml_err open_both(struct ml_udp *u, uint16_t port, char *why, size_t why_cap)
{
    u->fd4 = open_socket(AF_INET, port, &u->port4);
#if CONFIG_LWIP_IPV6
    u->fd6 = open_socket(AF_INET6, port ? port : u->port4, &u->port6);
#endif
    if (u->fd4 < 0 && u->fd6 < 0) {
        snprintf(why, why_cap, "no UDP socket: raise CONFIG_LWIP_MAX_SOCKETS, or UDP port %u is taken (error %d)", port, errno);
        return ML_ERR_STATE;
    }
    u->slot4 = u->fd4 >= 0 ? ml_loop_add(u->loop, u->fd4, POLLIN, on_readable4, u) : -1;
    u->slot6 = u->fd6 >= 0 ? ml_loop_add(u->loop, u->fd6, POLLIN, on_readable6, u) : -1;
    return ML_OK;
}

ml_err ml_udp_open(struct ml_udp *u, struct ml_loop *loop, uint16_t port, uint8_t *rx, ml_udp_recv_fn recv,
                   ml_udp_unreachable_fn unreachable, void *ctx, char *why, size_t why_cap)
{
    *u = (struct ml_udp){.loop = loop, .fd4 = -1, .fd6 = -1, .slot4 = -1, .slot6 = -1, .want_port = port};
    u->rx = rx;
    u->recv = recv;
    u->unreachable = unreachable;
    u->ctx = ctx;
    return open_both(u, port, why, why_cap);
}

void ml_udp_close(struct ml_udp *u)
{
    if (u->loop == NULL) {
        return;
    }
    ml_loop_remove(u->loop, u->slot4);
    ml_loop_remove(u->loop, u->slot6);
    if (u->fd4 >= 0) {
        close(u->fd4);
    }
    if (u->fd6 >= 0) {
        close(u->fd6);
    }
    u->fd4 = u->fd6 = u->slot4 = u->slot6 = -1;
}

ml_err ml_udp_rebind(struct ml_udp *u, char *why, size_t why_cap)
{
    uint16_t port = u->want_port ? u->want_port : u->port4 ? u->port4 : u->port6;
    ml_udp_close(u);
    u->port4 = u->port6 = 0;
    ml_err err = open_both(u, port, why, why_cap);
    return err == ML_OK || u->want_port ? err : open_both(u, 0, why, why_cap);
}

void ml_udp_send(struct ml_udp *u, const ml_addr *to, const uint8_t *data, size_t len)
{
    int fd = ml_ip_is4(&to->ip) ? u->fd4 : u->fd6;
    struct sockaddr_storage ss;
    socklen_t ss_len = ml_sys_sockaddr(to, ml_ip_is6(&to->ip), &ss);
    if (fd < 0 || ss_len == 0) {
        u->unreachable(u->ctx, to);
        return;
    }
    if (sendto(fd, data, len, 0, (struct sockaddr *)&ss, ss_len) < 0 && (errno == EHOSTUNREACH || errno == ENETUNREACH)) {
        u->unreachable(u->ctx, to);
    }
}
