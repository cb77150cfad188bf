/*
 * Interface addresses and changes (see netmon.h). A change of Wi-Fi arrives as a dozen messages within a few hundred
 * milliseconds; only when it was quiet for a moment the list is read anew, so the engine rebinds once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "netmon.h"

#include "base/addr.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#endif

#define SETTLE ML_MSEC(250)

#ifdef __linux__
/** True when the message says something that may matter to the underlay. */
static bool matters(struct ml_netmon *m, const struct nlmsghdr *h)
{
    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
        const struct ifinfomsg *i = NLMSG_DATA(h);
        return (unsigned)i->ifi_index != m->skip_ifindex;
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
        const struct ifaddrmsg *a = NLMSG_DATA(h);
        return a->ifa_index != m->skip_ifindex;
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
        const struct rtmsg *r = NLMSG_DATA(h);
        if (r->rtm_dst_len == 0 && r->rtm_type == RTN_UNICAST) {
            m->default_route_new = true;
            return true;
        }
        return false;
    }
    default:
        return false;
    }
}

static void on_netlink(void *ctx, short revents)
{
    (void)revents;
    struct ml_netmon *m = ctx;
    _Alignas(struct nlmsghdr) char buf[8192];
    ssize_t n;
    while ((n = recv(m->fd, buf, sizeof buf, MSG_DONTWAIT)) > 0) {
        size_t at = 0, len = (size_t)n;
        while (len - at >= NLMSG_HDRLEN) {
            const struct nlmsghdr *h = (const void *)(buf + at); /* Messages are aligned, as the buffer is. */
            if (h->nlmsg_len < NLMSG_HDRLEN || h->nlmsg_len > len - at) {
                break;
            }
            if (matters(m, h)) {
                m->settle_at = ml_sys_now() + SETTLE;
            }
            size_t step = NLMSG_ALIGN(h->nlmsg_len);
            at += step < len - at ? step : len - at;
        }
    }
}

void ml_netmon_open(struct ml_netmon *m, struct ml_loop *loop)
{
    *m = (struct ml_netmon){.loop = loop, .fd = -1, .slot = -1, .settle_at = ML_NEVER};
    struct sockaddr_nl sa = {.nl_family = AF_NETLINK};
    sa.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
    m->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (m->fd >= 0 && bind(m->fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        close(m->fd);
        m->fd = -1;
    }
    if (m->fd >= 0) {
        m->slot = ml_loop_add(loop, m->fd, POLLIN, on_netlink, m);
    }
}
#else
void ml_netmon_open(struct ml_netmon *m, struct ml_loop *loop)
{
    *m = (struct ml_netmon){.loop = loop, .fd = -1, .slot = -1, .settle_at = ML_NEVER};
}
#endif

void ml_netmon_close(struct ml_netmon *m)
{
    if (m->loop != NULL && m->fd >= 0) {
        ml_loop_remove(m->loop, m->slot);
        close(m->fd);
        m->fd = -1;
    }
}

void ml_netmon_skip(struct ml_netmon *m, const char *ifname)
{
    m->skip_ifindex = ifname ? if_nametoindex(ifname) : 0;
}

static bool usable(const struct ifaddrs *i, bool loopback, unsigned skip, ml_ip *ip)
{
    if (i->ifa_addr == NULL || !(i->ifa_flags & IFF_UP) || !(i->ifa_flags & IFF_LOOPBACK) != !loopback) {
        return false;
    }
    if (i->ifa_addr->sa_family == AF_INET) {
        struct sockaddr_in s;
        memcpy(&s, i->ifa_addr, sizeof s);
        *ip = ml_ip_from4((const uint8_t *)&s.sin_addr);
    } else if (i->ifa_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 s;
        memcpy(&s, i->ifa_addr, sizeof s);
        *ip = ml_ip_from16((const uint8_t *)&s.sin6_addr);
    } else {
        return false;
    }
    return !ml_ip_is_link_local(ip) && !ml_ip_is_multicast(ip) && !ml_ip_is_tailscale(ip) &&
           (skip == 0 || if_nametoindex(i->ifa_name) != skip);
}

static size_t collect(const struct ifaddrs *list, bool loopback, unsigned skip, ml_ip out[ML_NETMON_ADDRS])
{
    size_t n = 0;
    for (const struct ifaddrs *i = list; i != NULL && n < ML_NETMON_ADDRS; i = i->ifa_next) {
        if (usable(i, loopback, skip, &out[n])) {
            n++;
        }
    }
    return n;
}

bool ml_netmon_refresh(struct ml_netmon *m)
{
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0) {
        return false;
    }
    ml_ip now[ML_NETMON_ADDRS] = {0};
    size_t n = collect(list, false, m->skip_ifindex, now);
    if (n == 0) {
        n = collect(list, true, m->skip_ifindex, now); /* Two nodes on one machine without any network still meet. */
    }
    freeifaddrs(list);
    bool changed = n != m->count || memcmp(now, m->addrs, n * sizeof now[0]) != 0;
    memcpy(m->addrs, now, sizeof m->addrs);
    m->count = n;
    return changed;
}

bool ml_netmon_poll(struct ml_netmon *m, ml_time now)
{
    if (m->settle_at == ML_NEVER || now < m->settle_at) {
        return false;
    }
    bool route = m->default_route_new;
    m->settle_at = ML_NEVER;
    m->default_route_new = false;
    return ml_netmon_refresh(m) || route;
}
