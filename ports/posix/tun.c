/*
 * TUN by ioctl, addresses and routes by rtnetlink (see tun.h). No other program is started.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tun.h"

#include "base/addr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/** All but the two buffers, whose pages cost nothing until they are touched. */
static void reset(struct ml_tun *t)
{
    memset(t, 0, offsetof(struct ml_tun, run));
    t->fd = -1;
    t->run.len = t->run.count = 0;
    t->run.is_closed = false;
}

#ifdef __linux__
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* ---- rtnetlink: one request, one acknowledgement ---- */

struct request {
    struct nlmsghdr h;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg addr;
        struct rtmsg route;
    } u;
    char attrs[128];
};

static void begin(struct request *r, uint16_t type, uint16_t flags, size_t body)
{
    memset(r, 0, sizeof *r);
    r->h.nlmsg_type = type;
    r->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    r->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
}

static void attr(struct request *r, unsigned short type, const void *data, size_t len)
{
    struct rtattr *a = (struct rtattr *)(void *)((char *)r + NLMSG_ALIGN(r->h.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), data, len);
    r->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->h.nlmsg_len) + RTA_ALIGN(a->rta_len));
}

/** 0 or a negative errno, the kernel's own answer included. */
static int transact(const struct request *r)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return -errno;
    }
    int result = -EIO;
    if (send(fd, r, r->h.nlmsg_len, 0) == (ssize_t)r->h.nlmsg_len) {
        _Alignas(struct nlmsghdr) char buf[1024];
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        struct nlmsghdr h;
        struct nlmsgerr e;
        if (n >= (ssize_t)NLMSG_LENGTH(sizeof e)) {
            memcpy(&h, buf, sizeof h);
            memcpy(&e, buf + NLMSG_HDRLEN, sizeof e);
            result = h.nlmsg_type == NLMSG_ERROR ? e.error : -EIO;
        }
    } else {
        result = -errno;
    }
    close(fd);
    return result;
}

static int change_addr(unsigned ifindex, const ml_ip *ip, bool add)
{
    struct request r;
    bool v4 = ml_ip_is4(ip);
    begin(&r, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof r.u.addr);
    r.u.addr.ifa_family = v4 ? AF_INET : AF_INET6;
    r.u.addr.ifa_prefixlen = v4 ? 32 : 128;
    r.u.addr.ifa_index = ifindex;
    r.u.addr.ifa_flags = v4 ? 0 : IFA_F_NODAD; /* The control server assigns it: nobody else has it. */
    const uint8_t *b = v4 ? ip->b + 12 : ip->b;
    attr(&r, IFA_LOCAL, b, v4 ? 4 : 16);
    attr(&r, IFA_ADDRESS, b, v4 ? 4 : 16);
    return transact(&r);
}

static int add_route(unsigned ifindex, bool v4)
{
    static const uint8_t net4[4] = {100, 64, 0, 0};
    static const uint8_t net6[16] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0};
    struct request r;
    begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof r.u.route);
    r.u.route.rtm_family = v4 ? AF_INET : AF_INET6;
    r.u.route.rtm_dst_len = v4 ? 10 : 48;
    r.u.route.rtm_table = RT_TABLE_MAIN;
    r.u.route.rtm_protocol = RTPROT_STATIC;
    r.u.route.rtm_scope = v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    r.u.route.rtm_type = RTN_UNICAST;
    attr(&r, RTA_DST, v4 ? net4 : net6, v4 ? 4 : 16);
    attr(&r, RTA_OIF, &ifindex, sizeof ifindex);
    return transact(&r);
}

static int set_link_up(unsigned ifindex)
{
    struct request r;
    uint32_t mtu = ML_OVERLAY_MTU;
    begin(&r, RTM_NEWLINK, 0, sizeof r.u.link);
    r.u.link.ifi_family = AF_UNSPEC;
    r.u.link.ifi_index = (int)ifindex;
    r.u.link.ifi_flags = IFF_UP;
    r.u.link.ifi_change = IFF_UP;
    attr(&r, IFLA_MTU, &mtu, sizeof mtu);
    return transact(&r);
}

/* The kernel's header is ours (tun_offload.h). */
_Static_assert(sizeof(struct virtio_net_hdr) == sizeof(struct ml_tun_head) &&
                   offsetof(struct virtio_net_hdr, gso_size) == offsetof(struct ml_tun_head, gso_size) &&
                   offsetof(struct virtio_net_hdr, csum_offset) == offsetof(struct ml_tun_head, csum_offset) &&
                   VIRTIO_NET_HDR_F_NEEDS_CSUM == ML_TUN_NEEDS_CSUM && VIRTIO_NET_HDR_GSO_TCPV4 == ML_TUN_GSO_TCPV4 &&
                   VIRTIO_NET_HDR_GSO_TCPV6 == ML_TUN_GSO_TCPV6 && VIRTIO_NET_HDR_GSO_ECN == ML_TUN_GSO_ECN,
               "virtio header");

ml_err ml_tun_open(struct ml_tun *t, const char *name, char *why, size_t why_cap)
{
    struct ifreq ifr = {0};
    reset(t);
    if (strlen(name) >= sizeof t->name || name[0] == 0) {
        snprintf(why, why_cap, "interface name %s is empty or longer than 15 characters", name);
        return ML_ERR_ARG;
    }
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        snprintf(why, why_cap, "/dev/net/tun: %s (run as root, or use --tun userspace-networking)", strerror(errno));
        return ML_ERR_STATE;
    }
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
    ifr.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(fd, TUNSETIFF, &ifr) != 0) {
        snprintf(why, why_cap, "interface %s: %s%s", name, strerror(errno),
                 errno == EBUSY ? " (another program has it)" : " (CAP_NET_ADMIN is needed, or --tun userspace-networking)");
        close(fd);
        return ML_ERR_STATE;
    }
    /* A kernel that refuses hands over single packets with finished checksums. */
    (void)ioctl(fd, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6));
    int err = set_link_up(if_nametoindex(ifr.ifr_name));
    if (err != 0) {
        snprintf(why, why_cap, "interface %s cannot be set up: %s", name, strerror(-err));
        close(fd);
        return ML_ERR_STATE;
    }
    t->fd = fd;
    snprintf(t->name, sizeof t->name, "%s", ifr.ifr_name);
    return ML_OK;
}

static int replace_addr(unsigned ifindex, ml_ip *have, const ml_ip *want)
{
    if (ml_ip_equal(have, want)) {
        return 0;
    }
    if (ml_ip_is_set(have)) {
        (void)change_addr(ifindex, have, false);
    }
    *have = (ml_ip){0};
    if (!ml_ip_is_set(want)) {
        return 0;
    }
    int err = change_addr(ifindex, want, true);
    if (err == 0) {
        err = add_route(ifindex, ml_ip_is4(want));
    }
    if (err == 0) {
        *have = *want;
    }
    return err;
}

ml_err ml_tun_set_addrs(struct ml_tun *t, const ml_ip *ip4, const ml_ip *ip6, char *why, size_t why_cap)
{
    unsigned ifindex = if_nametoindex(t->name);
    int err4 = replace_addr(ifindex, &t->ip4, ip4);
    int err6 = replace_addr(ifindex, &t->ip6, ip6);
    /* A host without IPv6 (EOPNOTSUPP, EACCES by sysctl, ENODEV) keeps its IPv4. */
    if (err4 != 0 || (err6 != 0 && !ml_ip_is_set(ip4))) {
        snprintf(why, why_cap, "interface %s does not take its address: %s", t->name, strerror(err4 ? -err4 : -err6));
        return ML_ERR_STATE;
    }
    if (err6 != 0) {
        snprintf(why, why_cap, "interface %s has no IPv6: %s", t->name, strerror(-err6));
    }
    return ML_OK;
}

#else /* not Linux */

ml_err ml_tun_open(struct ml_tun *t, const char *name, char *why, size_t why_cap)
{
    (void)name;
    reset(t);
    snprintf(why, why_cap, "TUN devices are built for Linux only; use --tun userspace-networking");
    return ML_ERR_UNSUPPORTED;
}

ml_err ml_tun_set_addrs(struct ml_tun *t, const ml_ip *ip4, const ml_ip *ip6, char *why, size_t why_cap)
{
    (void)t, (void)ip4, (void)ip6, (void)why, (void)why_cap;
    return ML_ERR_UNSUPPORTED;
}
#endif

void ml_tun_close(struct ml_tun *t)
{
    if (t->fd >= 0) {
        close(t->fd);
        t->fd = -1;
    }
}

size_t ml_tun_read(struct ml_tun *t, ml_tun_packet_fn fn, void *ctx)
{
    ssize_t n = read(t->fd, &t->in, sizeof t->in);
    if (n <= (ssize_t)sizeof t->in.head) {
        return 0;
    }
    return ml_tun_split(&t->in.head, t->in.packet, (size_t)n - sizeof t->in.head, ML_OVERLAY_MTU, fn, ctx);
}

static bool write_packet(struct ml_tun *t, const struct ml_tun_head *head, const uint8_t *packet, size_t len)
{
    struct iovec iov[2] = {{(void *)head, sizeof *head}, {(void *)packet, len}};
    return writev(t->fd, iov, 2) >= 0;
}

static void write_single(void *ctx, const uint8_t *packet, size_t len)
{
    static const struct ml_tun_head none;
    (void)write_packet(ctx, &none, packet, len);
}

void ml_tun_flush(struct ml_tun *t)
{
    struct ml_tun_run *run = &t->run;
    if (run->len == 0) {
        return;
    }
    ml_tun_run_finish(run);
    if (!write_packet(t, &run->head, run->packet, run->len) && errno == EINVAL && run->count > 1) {
        t->no_runs = true;
        (void)ml_tun_split(&run->head, run->packet, run->len, sizeof run->packet, write_single, t);
    }
    run->len = 0;
}

void ml_tun_write(struct ml_tun *t, const uint8_t *packet, size_t len)
{
    if (!t->no_runs && ml_tun_run_add(&t->run, packet, len)) {
        return;
    }
    ml_tun_flush(t);
    if (t->no_runs || !ml_tun_run_add(&t->run, packet, len)) {
        write_single(t, packet, len);
    }
}
