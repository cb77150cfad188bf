/*
 * UDP sockets of the underlay (see udp.h). recvmmsg(), sendmmsg() and runs of datagrams where the system has them.
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

#ifdef __linux__
#include <netinet/udp.h>
#endif

/** Room for bursts: at 1280 bytes a packet about 800 of them. */
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

static void set_buffers(int fd)
{
    int size = SOCKET_BUFFER;
#ifdef __linux__
    /* Root may go beyond the system's limit, which a burst of a bulk transfer exceeds. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == 0) {
        return;
    }
#endif
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/** @return whether the kernel takes runs. */
static bool enable_runs(int fd)
{
#ifdef __linux__
    int one = 1;
    int none = 0;
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one);
    return setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &none, sizeof none) == 0;
#else
    (void)fd;
    return false;
#endif
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
    set_buffers(fd);
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

/** One message: a datagram, or datagrams of @p segment bytes each but the last. */
static void deliver(struct ml_udp *u, const struct sockaddr_storage *from, uint8_t *data, size_t len, size_t segment)
{
    ml_addr addr = ml_sys_addr((const struct sockaddr *)from);
    ml_time now = ml_sys_now();
    for (size_t at = 0; at < len; at += segment) {
        size_t n = len - at < segment ? len - at : segment;
        if (n <= ML_UDP_ROOM) {
            u->recv(u->ctx, now, &addr, data + at, n);
        }
    }
}

#ifdef __linux__
/** Control data: the length of a run's datagrams. */
union run_control {
    struct cmsghdr align;
    uint8_t room[CMSG_SPACE(sizeof(int))];
};

static size_t segment_of(struct msghdr *m, size_t len)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int segment;
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
            return segment > 0 ? (size_t)segment : len;
        }
    }
    return len;
}

static size_t read_batch(struct ml_udp *u, int fd)
{
    struct mmsghdr msgs[ML_UDP_READS];
    struct iovec iov[ML_UDP_READS];
    struct sockaddr_storage from[ML_UDP_READS];
    union run_control control[ML_UDP_READS];
    memset(msgs, 0, sizeof msgs);
    for (size_t i = 0; i < ML_UDP_READS; i++) {
        iov[i] = (struct iovec){u->in[i], ML_UDP_RUN_ROOM};
        msgs[i].msg_hdr.msg_iov = &iov[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
        msgs[i].msg_hdr.msg_name = &from[i];
        msgs[i].msg_hdr.msg_namelen = sizeof from[i];
        msgs[i].msg_hdr.msg_control = &control[i];
        msgs[i].msg_hdr.msg_controllen = sizeof control[i];
    }
    int n = recvmmsg(fd, msgs, ML_UDP_READS, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        size_t len = msgs[i].msg_len;
        deliver(u, &from[i], u->in[i], len, segment_of(&msgs[i].msg_hdr, len));
    }
    return n > 0 ? (size_t)n : 0;
}
#else
static size_t read_batch(struct ml_udp *u, int fd)
{
    size_t n = 0;
    for (; n < ML_UDP_READS; n++) {
        struct sockaddr_storage from;
        socklen_t from_len = sizeof from;
        ssize_t len = recvfrom(fd, u->in[0], ML_UDP_RUN_ROOM, 0, (struct sockaddr *)&from, &from_len);
        if (len < 0) {
            break;
        }
        deliver(u, &from, u->in[0], (size_t)len, (size_t)len);
    }
    return n;
}
#endif

/* A few batches per wake-up, so that the other descriptors get their turn. */
static void readable(struct ml_udp *u, int fd)
{
    for (int round = 0; round < 4; round++) {
        if (read_batch(u, fd) < ML_UDP_READS) {
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
    u->has_runs = true;
    if (u->fd4 >= 0) {
        u->slot4 = ml_loop_add(u->loop, u->fd4, POLLIN, on_fd4, u);
        u->has_runs = enable_runs(u->fd4);
    } else {
        u->port4 = 0;
    }
    if (u->fd6 >= 0) {
        u->slot6 = ml_loop_add(u->loop, u->fd6, POLLIN, on_fd6, u);
        u->has_runs = enable_runs(u->fd6) && u->has_runs;
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
    u->in = malloc(ML_UDP_READS * sizeof *u->in);
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
    u->in = NULL;
    u->out = NULL;
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

/** The batch's datagrams of one family, as messages of one or, in a run, several. */
struct messages {
    struct {
        size_t first; /**< In the batch. */
        size_t len;
    } m[ML_UDP_BATCH];
#ifdef __linux__
    struct mmsghdr sys[ML_UDP_BATCH];
    union run_control control[ML_UDP_BATCH];
#else
    struct {
        struct msghdr msg_hdr;
    } sys[ML_UDP_BATCH];
#endif
    struct iovec iov[ML_UDP_BATCH]; /**< One a datagram; those of a message are neighbours. */
    struct sockaddr_storage to[ML_UDP_BATCH];
    unsigned count;
};

/** Whether the batch's datagram @p i may be the next of the last message: of one length, but for a shorter last one. */
static bool continues_run(const struct ml_udp *u, const struct messages *ms, size_t i)
{
    if (!u->has_runs || ms->count == 0) {
        return false;
    }
    const struct ml_udp_batch *b = u->out;
    size_t first = ms->m[ms->count - 1].first;
    size_t len = ms->m[ms->count - 1].len;
    return ms->sys[ms->count - 1].msg_hdr.msg_iovlen < ML_UDP_RUN && len % b->len[first] == 0 && b->len[i] <= b->len[first] &&
           len + b->len[i] <= UINT16_MAX - ML_UDP_ROOM && ml_addr_equal(&b->addr[first], &b->addr[i]);
}

static void mark_run(struct messages *ms, unsigned i, uint16_t segment)
{
#ifdef __linux__
    struct msghdr *h = &ms->sys[i].msg_hdr;
    h->msg_control = &ms->control[i];
    h->msg_controllen = CMSG_SPACE(sizeof segment);
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
#else
    (void)ms, (void)i, (void)segment;
#endif
}

static void collect(const struct ml_udp *u, bool v6, struct messages *ms)
{
    struct ml_udp_batch *b = u->out;
    size_t datagrams = 0;
    ms->count = 0;
    for (size_t i = 0; i < b->count; i++) {
        if (ml_ip_is6(&b->addr[i].ip) != v6 || b->len[i] == 0) {
            continue;
        }
        struct iovec *iov = &ms->iov[datagrams++];
        *iov = (struct iovec){b->data[i], b->len[i]};
        if (continues_run(u, ms, i)) {
            unsigned last = ms->count - 1;
            ms->m[last].len += b->len[i];
            if (++ms->sys[last].msg_hdr.msg_iovlen == 2) {
                mark_run(ms, last, b->len[ms->m[last].first]);
            }
        } else {
            unsigned n = ms->count++;
            ms->m[n].first = i;
            ms->m[n].len = b->len[i];
            memset(&ms->sys[n], 0, sizeof ms->sys[n]);
            ms->sys[n].msg_hdr.msg_name = &ms->to[n];
            ms->sys[n].msg_hdr.msg_namelen = ml_sys_sockaddr(&b->addr[i], v6, &ms->to[n]);
            ms->sys[n].msg_hdr.msg_iov = iov;
            ms->sys[n].msg_hdr.msg_iovlen = 1;
        }
    }
}

/** A full buffer, no route, or an ICMP error held over from an earlier datagram: these are lost. */
static void note_lost(struct ml_udp *u, int error, const ml_addr *to, size_t count)
{
    u->send_errors += count;
    if ((error == EHOSTUNREACH || error == ENETUNREACH || error == ENETDOWN) && u->unreachable != NULL) {
        u->unreachable(u->ctx, to);
    }
}

/**
 * A run was refused as one. EIO: the device has no checksums of its own, so it will not take the next one either; EINVAL:
 * longer than this path's MTU.
 */
static void send_singly(struct ml_udp *u, int fd, const struct msghdr *run, const ml_addr *to, int error)
{
    struct msghdr h = *run;
    h.msg_control = NULL;
    h.msg_controllen = 0;
    h.msg_iovlen = 1;
    u->has_runs = u->has_runs && error != EIO;
    for (size_t i = 0; i < run->msg_iovlen; i++) {
        h.msg_iov = &run->msg_iov[i];
        if (sendmsg(fd, &h, MSG_DONTWAIT) < 0) {
            note_lost(u, errno, to, 1);
        }
    }
}

/** Sends those of the batch that belong to one family. */
static void send_family(struct ml_udp *u, int fd, bool v6)
{
    struct messages ms;
    collect(u, v6, &ms);
    for (unsigned done = 0; done < ms.count;) {
        const ml_addr *to = &u->out->addr[ms.m[done].first];
        size_t count = ms.sys[done].msg_hdr.msg_iovlen;
        if (fd < 0) {
            u->send_errors += count;
            done++;
            continue;
        }
#ifdef __linux__
        int sent = sendmmsg(fd, ms.sys + done, ms.count - done, MSG_DONTWAIT);
#else
        int sent = sendmsg(fd, &ms.sys[done].msg_hdr, 0) < 0 ? -1 : 1;
#endif
        int error = errno;
        if (sent > 0) {
            done += (unsigned)sent;
        } else if (error != EINTR) {
            if (count > 1 && (error == EIO || error == EINVAL || error == EMSGSIZE)) {
                send_singly(u, fd, &ms.sys[done].msg_hdr, to, error);
            } else {
                note_lost(u, error, to, count);
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
