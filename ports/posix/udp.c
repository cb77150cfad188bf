/*
 * UDP sockets of the underlay (see udp.h). recvmmsg() and sendmmsg() where the system has them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "udp.h"

#include "base/addr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/** Room for bursts: at 1280 bytes a packet about 800 of them. Clipped by the system's own limit. */
#define SOCKET_BUFFER (1 << 20)

socklen_t ml_sys_sockaddr(const ml_addr *a, bool v6_socket, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (!ml_ip_is_set(&a->ip)) {
        return 0;
    }
    if (ml_ip_is4(&a->ip) && !v6_socket) {
        struct sockaddr_in *s = (struct sockaddr_in *)(void *)out;
        s->sin_family = AF_INET;
        s->sin_port = htons(a->port);
        memcpy(&s->sin_addr, a->ip.b + 12, 4);
        return sizeof *s;
    }
    struct sockaddr_in6 *s = (struct sockaddr_in6 *)(void *)out;
    s->sin6_family = AF_INET6;
    s->sin6_port = htons(a->port);
    memcpy(&s->sin6_addr, a->ip.b, 16);
    return sizeof *s;
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

static int open_socket(int family, uint16_t port, uint16_t *bound)
{
    int fd = socket(family, SOCK_DGRAM, IPPROTO_UDP);
    if (fd < 0) {
        return -1;
    }
    struct sockaddr_storage ss = {0};
    socklen_t len;
    if (family == AF_INET6) {
        int one = 1;
        struct sockaddr_in6 *s = (struct sockaddr_in6 *)(void *)&ss;
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        s->sin6_family = AF_INET6;
        s->sin6_port = htons(port);
        len = sizeof *s;
    } else {
        struct sockaddr_in *s = (struct sockaddr_in *)(void *)&ss;
        s->sin_family = AF_INET;
        s->sin_port = htons(port);
        len = sizeof *s;
    }
    int size = SOCKET_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (ml_sys_prepare_fd(fd) != 0 || bind(fd, (struct sockaddr *)&ss, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    *bound = ml_sys_addr((struct sockaddr *)&ss).port;
    return fd;
}

static void deliver(struct ml_udp *u, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (u->in->len[i] > 0) {
            u->recv(u->ctx, &u->in->addr[i], u->in->data[i], u->in->len[i]);
        }
    }
}

#ifdef __linux__
static size_t read_batch(struct ml_udp *u, int fd)
{
    struct mmsghdr msgs[ML_UDP_BATCH];
    struct iovec iov[ML_UDP_BATCH];
    struct sockaddr_storage from[ML_UDP_BATCH];
    memset(msgs, 0, sizeof msgs);
    for (size_t i = 0; i < ML_UDP_BATCH; i++) {
        iov[i] = (struct iovec){u->in->data[i], ML_UDP_ROOM};
        msgs[i].msg_hdr.msg_iov = &iov[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
        msgs[i].msg_hdr.msg_name = &from[i];
        msgs[i].msg_hdr.msg_namelen = sizeof from[i];
    }
    int n = recvmmsg(fd, msgs, ML_UDP_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        bool cut = msgs[i].msg_hdr.msg_flags & MSG_TRUNC;
        u->in->len[i] = cut ? 0 : (uint16_t)msgs[i].msg_len;
        u->in->addr[i] = ml_sys_addr((struct sockaddr *)&from[i]);
    }
    return n > 0 ? (size_t)n : 0;
}
#else
static size_t read_batch(struct ml_udp *u, int fd)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    ssize_t n = recvfrom(fd, u->in->data[0], ML_UDP_ROOM, 0, (struct sockaddr *)&from, &len);
    if (n <= 0 || n == ML_UDP_ROOM) {
        return 0;
    }
    u->in->len[0] = (uint16_t)n;
    u->in->addr[0] = ml_sys_addr((struct sockaddr *)&from);
    return 1;
}
#endif

/* A few batches per wake-up, so that the other descriptors get their turn. */
static void readable(struct ml_udp *u, int fd)
{
    for (int round = 0; round < 4; round++) {
        size_t n = read_batch(u, fd);
        deliver(u, n);
        if (n < ML_UDP_BATCH) {
            return;
        }
    }
}

static void on_fd4(void *ctx, short revents)
{
    (void)revents;
    struct ml_udp *u = ctx;
    readable(u, u->fd4);
}

static void on_fd6(void *ctx, short revents)
{
    (void)revents;
    struct ml_udp *u = ctx;
    readable(u, u->fd6);
}

static void close_sockets(struct ml_udp *u)
{
    ml_loop_remove(u->loop, u->slot4);
    ml_loop_remove(u->loop, u->slot6);
    u->slot4 = u->slot6 = -1;
    if (u->fd4 >= 0) {
        close(u->fd4);
    }
    if (u->fd6 >= 0) {
        close(u->fd6);
    }
    u->fd4 = u->fd6 = -1;
}

static ml_err open_sockets(struct ml_udp *u, uint16_t port4, uint16_t port6, char *why, size_t cap)
{
    u->fd4 = open_socket(AF_INET, port4, &u->port4);
    int e = errno;
    if (u->fd4 < 0 && port4 != 0 && u->want_port == 0) {
        u->fd4 = open_socket(AF_INET, 0, &u->port4);
    }
    /* The same port for both families if it is free: one number to open in a firewall. */
    uint16_t wish = port6 ? port6 : u->port4;
    u->fd6 = open_socket(AF_INET6, wish, &u->port6);
    if (u->fd6 < 0 && wish != 0 && u->want_port == 0) {
        u->fd6 = open_socket(AF_INET6, 0, &u->port6);
    }
    if (u->fd4 < 0 && (u->fd6 < 0 || u->want_port != 0)) {
        if (cap > 0) {
            snprintf(why, cap, "UDP port %u: %s", (unsigned)port4, strerror(e));
        }
        close_sockets(u);
        return ML_ERR_STATE;
    }
    if (u->fd4 >= 0) {
        u->slot4 = ml_loop_add(u->loop, u->fd4, POLLIN, on_fd4, u);
    } else {
        u->port4 = 0;
    }
    if (u->fd6 >= 0) {
        u->slot6 = ml_loop_add(u->loop, u->fd6, POLLIN, on_fd6, u);
    } else {
        u->port6 = 0;
    }
    return ML_OK;
}

ml_err ml_udp_open(struct ml_udp *u, struct ml_loop *loop, uint16_t port, ml_udp_recv_fn recv, void *ctx, char *why,
                   size_t why_cap)
{
    *u = (struct ml_udp){.loop = loop, .fd4 = -1, .fd6 = -1, .slot4 = -1, .slot6 = -1, .want_port = port};
    u->recv = recv;
    u->ctx = ctx;
    u->in = malloc(sizeof *u->in);
    u->out = malloc(sizeof *u->out);
    if (u->in == NULL || u->out == NULL) {
        ml_udp_close(u);
        return ML_ERR_NO_MEM;
    }
    u->out->count = 0;
    ml_err err = open_sockets(u, port, port, why, why_cap);
    if (err != ML_OK) {
        ml_udp_close(u);
    }
    return err;
}

void ml_udp_close(struct ml_udp *u)
{
    if (u->loop == NULL) {
        return;
    }
    close_sockets(u);
    free(u->in);
    free(u->out);
    u->in = u->out = NULL;
}

ml_err ml_udp_rebind(struct ml_udp *u, char *why, size_t why_cap)
{
    uint16_t port4 = u->port4, port6 = u->port6;
    close_sockets(u);
    return open_sockets(u, port4, port6, why, why_cap);
}

void ml_udp_queue(struct ml_udp *u, const ml_addr *to, const uint8_t *data, size_t len)
{
    if (len > ML_UDP_ROOM) {
        u->send_errors++;
        return;
    }
    size_t i = u->out->count++;
    memcpy(u->out->data[i], data, len);
    u->out->len[i] = (uint16_t)len;
    u->out->addr[i] = *to;
    if (u->out->count == ML_UDP_BATCH) {
        ml_udp_flush(u); /* after the copy: what it reports may be a call on the engine that owns `data` */
    }
}

static bool is_unreachable(int error)
{
    return error == EHOSTUNREACH || error == ENETUNREACH || error == ENETDOWN;
}

/** Sends those of the batch that belong to one family. */
static void send_family(struct ml_udp *u, int fd, bool v6)
{
    struct sockaddr_storage to[ML_UDP_BATCH];
    struct iovec iov[ML_UDP_BATCH];
    size_t index[ML_UDP_BATCH]; /* in the batch */
#ifdef __linux__
    struct mmsghdr msgs[ML_UDP_BATCH];
#else
    struct {
        struct msghdr msg_hdr;
    } msgs[ML_UDP_BATCH];
#endif
    unsigned n = 0;
    memset(msgs, 0, sizeof msgs);
    for (size_t i = 0; i < u->out->count; i++) {
        if (ml_ip_is6(&u->out->addr[i].ip) != v6) {
            continue;
        }
        iov[n] = (struct iovec){u->out->data[i], u->out->len[i]};
        msgs[n].msg_hdr.msg_name = &to[n];
        msgs[n].msg_hdr.msg_namelen = ml_sys_sockaddr(&u->out->addr[i], v6, &to[n]);
        msgs[n].msg_hdr.msg_iov = &iov[n];
        msgs[n].msg_hdr.msg_iovlen = 1;
        index[n] = i;
        n++;
    }
    unsigned done = 0;
    while (done < n) {
        if (fd < 0) {
            u->send_errors += n - done;
            return;
        }
#ifdef __linux__
        int sent = sendmmsg(fd, msgs + done, n - done, MSG_DONTWAIT);
#else
        int sent = sendmsg(fd, &msgs[done].msg_hdr, 0) < 0 ? -1 : 1;
#endif
        if (sent > 0) {
            done += (unsigned)sent;
        } else if (errno != EINTR) {
            /* A full buffer, no route, or an ICMP error held over from an earlier datagram: this one is lost. */
            u->send_errors++;
            if (is_unreachable(errno) && u->unreachable != NULL) {
                u->unreachable(u->ctx, &u->out->addr[index[done]]);
            }
            done++;
        }
    }
}

void ml_udp_flush(struct ml_udp *u)
{
    if (u->out->count > 0) {
        send_family(u, u->fd4, false);
        send_family(u, u->fd6, true);
        u->out->count = 0;
    }
}
