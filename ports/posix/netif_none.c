/*
 * Stand-in for netif_lwip.c in a build without lwIP: userspace networking is refused with a sentence by the daemon.
 *
 * SPDX-License-Identifier: MIT
 */
#include "netif_lwip.h"

struct ml_netif *ml_netif_new(ml_netif_output_fn output, void *ctx)
{
    (void)output, (void)ctx;
    return NULL;
}

void ml_netif_free(struct ml_netif *n)
{
    (void)n;
}

void ml_netif_set_addrs(struct ml_netif *n, const ml_ip *ip4, const ml_ip *ip6)
{
    (void)n, (void)ip4, (void)ip6;
}

void ml_netif_input(struct ml_netif *n, const uint8_t *packet, size_t len)
{
    (void)n, (void)packet, (void)len;
}

ml_time ml_netif_deadline(const struct ml_netif *n, ml_time now)
{
    (void)n, (void)now;
    return ML_NEVER;
}

void ml_netif_on_time(struct ml_netif *n)
{
    (void)n;
}

bool ml_netif_udp_bind(struct ml_netif *n, uint16_t port, ml_netif_udp_fn fn, void *ctx)
{
    (void)n, (void)port, (void)fn, (void)ctx;
    return false;
}

ml_err ml_netif_udp_send(struct ml_netif *n, const ml_addr *to, const uint8_t *data, size_t len)
{
    (void)n, (void)to, (void)data, (void)len;
    return ML_ERR_UNSUPPORTED;
}

struct ml_netif_tcp *ml_netif_tcp_connect(struct ml_netif *n, const ml_addr *to, const struct ml_netif_tcp_events *ev,
                                          void *ctx)
{
    (void)n, (void)to, (void)ev, (void)ctx;
    return NULL;
}

bool ml_netif_tcp_listen(struct ml_netif *n, uint16_t port, ml_netif_accept_fn fn, void *ctx)
{
    (void)n, (void)port, (void)fn, (void)ctx;
    return false;
}

size_t ml_netif_tcp_write(struct ml_netif_tcp *c, const uint8_t *buf, size_t len)
{
    (void)c, (void)buf, (void)len;
    return 0;
}

void ml_netif_tcp_more(struct ml_netif_tcp *c)
{
    (void)c;
}

void ml_netif_tcp_finish(struct ml_netif_tcp *c)
{
    (void)c;
}

void ml_netif_tcp_close(struct ml_netif_tcp *c)
{
    (void)c;
}
