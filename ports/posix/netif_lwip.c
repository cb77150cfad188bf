/*
 * lwIP netif, UDP and TCP of userspace networking (see netif_lwip.h). Built only when lwIP's source was found; otherwise
 * netif_none.c stands in.
 *
 * SPDX-License-Identifier: MIT
 */
#include "netif_lwip.h"

#include "base/addr.h"
#include "loop.h"

#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"
#include <stdlib.h>
#include <string.h>

/** Connections not accepted yet, and so not known to anybody who could count them. */
#define LISTEN_BACKLOG 4

struct ml_netif {
    struct netif netif;
    ml_netif_output_fn output;
    void *ctx;
    struct udp_pcb *udp;
    ml_netif_udp_fn udp_fn;
    void *udp_ctx;
    struct tcp_pcb *listener;
    ml_netif_accept_fn accept_fn;
    void *accept_ctx;
};

struct ml_netif_tcp {
    struct tcp_pcb *pcb; /**< NULL once lwIP has let go of it. */
    const struct ml_netif_tcp_events *ev;
    void *ctx;
    struct pbuf *held; /**< Received, not taken yet. */
    bool peer_closed, peer_closed_told;
    bool busy, closed, aborted; /**< Inside a callback; closed, or even aborted, meanwhile. */
};

static bool in_use; /* lwIP's own globals allow only one. */

uint32_t ml_netif_random(void)
{
    uint32_t v;
    ml_sys_random(NULL, (uint8_t *)&v, sizeof v);
    return v;
}

u32_t sys_now(void)
{
    return (u32_t)(ml_sys_now() / 1000);
}

static void to_lwip(ip_addr_t *out, const ml_ip *ip)
{
    memset(out, 0, sizeof *out);
    if (ml_ip_is4(ip)) {
        IP_ADDR4(out, ip->b[12], ip->b[13], ip->b[14], ip->b[15]);
    } else {
        memcpy(ip_2_ip6(out)->addr, ip->b, 16);
        IP_SET_TYPE(out, IPADDR_TYPE_V6);
    }
}

static ml_ip from_lwip(const ip_addr_t *ip)
{
    uint8_t b[16];
    if (IP_IS_V6(ip)) {
        memcpy(b, ip_2_ip6(ip)->addr, 16);
        return ml_ip_from16(b);
    }
    memcpy(b, &ip_2_ip4(ip)->addr, 4);
    return ml_ip_from4(b);
}

/* ---- The interface ---- */

static err_t transmit(struct netif *netif, struct pbuf *p)
{
    struct ml_netif *n = netif->state;
    uint8_t packet[ML_OVERLAY_MTU];
    if (p->tot_len > sizeof packet) {
        return ERR_VAL;
    }
    pbuf_copy_partial(p, packet, p->tot_len, 0);
    n->output(n->ctx, packet, p->tot_len);
    return ERR_OK;
}

static err_t output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    (void)to;
    return transmit(netif, p);
}

static err_t output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    (void)to;
    return transmit(netif, p);
}

static err_t setup(struct netif *netif)
{
    netif->name[0] = 'm';
    netif->name[1] = 'l';
    netif->mtu = ML_OVERLAY_MTU;
    netif->mtu6 = ML_OVERLAY_MTU;
    netif->output = output4;
    netif->output_ip6 = output6;
    return ERR_OK;
}

struct ml_netif *ml_netif_new(ml_netif_output_fn output, void *ctx)
{
    static bool initialised;
    struct ml_netif *n = in_use ? NULL : calloc(1, sizeof *n);
    if (n == NULL) {
        return NULL;
    }
    if (!initialised) {
        lwip_init();
        initialised = true;
    }
    n->output = output;
    n->ctx = ctx;
    if (netif_add_noaddr(&n->netif, n, setup, ip_input) == NULL) {
        free(n);
        return NULL;
    }
    netif_set_default(&n->netif);
    netif_set_link_up(&n->netif);
    netif_set_up(&n->netif);
    in_use = true;
    return n;
}

void ml_netif_free(struct ml_netif *n)
{
    if (n != NULL) {
        if (n->udp != NULL) {
            udp_remove(n->udp);
        }
        if (n->listener != NULL) {
            (void)tcp_close(n->listener);
        }
        netif_remove(&n->netif);
        free(n);
        in_use = false;
    }
}

void ml_netif_set_addrs(struct ml_netif *n, const ml_ip *ip4, const ml_ip *ip6)
{
    ip_addr_t a;
    to_lwip(&a, ip4);
    ip4_addr_t mask, gw = {0};
    IP4_ADDR(&mask, 255, 255, 255, 255);
    if (ml_ip_is4(ip4)) {
        netif_set_addr(&n->netif, ip_2_ip4(&a), &mask, &gw);
    }
    if (ml_ip_is6(ip6)) {
        to_lwip(&a, ip6);
        netif_ip6_addr_set(&n->netif, 0, ip_2_ip6(&a));
        netif_ip6_addr_set_state(&n->netif, 0, IP6_ADDR_PREFERRED);
    }
}

void ml_netif_input(struct ml_netif *n, const uint8_t *packet, size_t len)
{
    struct pbuf *p = len <= ML_OVERLAY_MTU ? pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM) : NULL;
    if (p == NULL) {
        return;
    }
    pbuf_take(p, packet, (u16_t)len);
    if (n->netif.input(p, &n->netif) != ERR_OK) {
        pbuf_free(p);
    }
}

ml_time ml_netif_deadline(const struct ml_netif *n, ml_time now)
{
    (void)n;
    u32_t ms = sys_timeouts_sleeptime();
    return ms == SYS_TIMEOUTS_SLEEPTIME_INFINITE ? ML_NEVER : now + ML_MSEC(ms);
}

void ml_netif_on_time(struct ml_netif *n)
{
    (void)n;
    sys_check_timeouts();
}

/* ---- UDP ---- */

static void on_udp(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
    (void)pcb;
    struct ml_netif *n = arg;
    uint8_t data[ML_OVERLAY_MTU];
    ml_addr from = {from_lwip(addr), port};
    u16_t len = pbuf_copy_partial(p, data, sizeof data, 0);
    pbuf_free(p);
    n->udp_fn(n->udp_ctx, &from, data, len);
}

bool ml_netif_udp_bind(struct ml_netif *n, uint16_t port, ml_netif_udp_fn fn, void *ctx)
{
    n->udp = udp_new_ip_type(IPADDR_TYPE_ANY);
    if (n->udp == NULL || udp_bind(n->udp, IP_ANY_TYPE, port) != ERR_OK) {
        return false;
    }
    n->udp_fn = fn;
    n->udp_ctx = ctx;
    udp_recv(n->udp, on_udp, n);
    return true;
}

ml_err ml_netif_udp_send(struct ml_netif *n, const ml_addr *to, const uint8_t *data, size_t len)
{
    ip_addr_t a;
    if (n->udp == NULL) {
        return ML_ERR_STATE;
    }
    struct pbuf *p = len <= ML_OVERLAY_MTU ? pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM) : NULL;
    if (p == NULL) {
        return ML_ERR_NO_MEM;
    }
    pbuf_take(p, data, (u16_t)len);
    to_lwip(&a, &to->ip);
    err_t err = udp_sendto(n->udp, p, &a, to->port);
    pbuf_free(p);
    return err == ERR_OK ? ML_OK : ML_ERR_NO_PATH;
}

/* ---- TCP ----
 * The user may close a connection from inside any event; memory is then freed when the outermost callback returns. */

static err_t leave(struct ml_netif_tcp *c)
{
    err_t result = c->aborted ? ERR_ABRT : ERR_OK; /* lwIP must not touch a pcb that was aborted in its callback. */
    c->busy = false;
    if (c->closed) {
        free(c);
    }
    return result;
}

static void drop_held(struct ml_netif_tcp *c)
{
    if (c->held != NULL) {
        pbuf_free(c->held);
        c->held = NULL;
    }
}

/** Offers held data; tells of the peer's FIN once all of it was taken. Call with `busy` set. */
static void deliver(struct ml_netif_tcp *c)
{
    while (c->held != NULL && !c->closed) {
        struct pbuf *p = c->held;
        size_t taken = c->ev->data(c->ctx, p->payload, p->len);
        if (c->closed) {
            return;
        }
        if (taken > 0 && c->pcb != NULL) {
            tcp_recved(c->pcb, (u16_t)taken);
        }
        bool whole = taken == p->len;
        c->held = taken > 0 ? pbuf_free_header(p, (u16_t)taken) : p;
        if (!whole) {
            return;
        }
    }
    if (c->peer_closed && !c->peer_closed_told && !c->closed) {
        c->peer_closed_told = true;
        c->ev->peer_closed(c->ctx);
    }
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    (void)pcb;
    (void)err;
    struct ml_netif_tcp *c = arg;
    if (p == NULL) {
        c->peer_closed = true;
    } else if (c->held != NULL) {
        pbuf_cat(c->held, p);
    } else {
        c->held = p;
    }
    c->busy = true;
    deliver(c);
    return leave(c);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    (void)pcb;
    (void)len;
    struct ml_netif_tcp *c = arg;
    c->busy = true;
    c->ev->writable(c->ctx);
    return leave(c);
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)pcb;
    (void)err;
    struct ml_netif_tcp *c = arg;
    c->busy = true;
    c->ev->opened(c->ctx);
    return leave(c);
}

static void on_err(void *arg, err_t err)
{
    struct ml_netif_tcp *c = arg;
    c->pcb = NULL; /* lwIP has freed it already. */
    if (err == ERR_CLSD) {
        /* Both sides closed in order; what was received before may still wait to be taken. */
        c->peer_closed = true;
        c->busy = true;
        deliver(c);
        (void)leave(c);
        return;
    }
    drop_held(c);
    c->ev->failed(c->ctx, err == ERR_RST ? "connection refused or reset" : "connection timed out");
    free(c);
}

static void attach(struct ml_netif_tcp *c, struct tcp_pcb *pcb)
{
    c->pcb = pcb;
    tcp_arg(pcb, c);
    tcp_recv(pcb, on_recv);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_err);
}

static void detach(struct tcp_pcb *pcb)
{
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct ml_netif *n = arg;
    if (err != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    struct ml_netif_tcp *c = calloc(1, sizeof *c);
    if (c != NULL) {
        attach(c, pcb);
        c->ev = n->accept_fn(n->accept_ctx, c, &c->ctx);
    }
    if (c == NULL || c->ev == NULL) {
        detach(pcb);
        tcp_abort(pcb);
        free(c);
        return ERR_ABRT;
    }
    return ERR_OK;
}

bool ml_netif_tcp_listen(struct ml_netif *n, uint16_t port, ml_netif_accept_fn fn, void *ctx)
{
    if (n->listener != NULL) {
        (void)tcp_close(n->listener);
        n->listener = NULL;
    }
    struct tcp_pcb *pcb = port ? tcp_new_ip_type(IPADDR_TYPE_ANY) : NULL;
    if (pcb == NULL) {
        return port == 0;
    }
    if (tcp_bind(pcb, IP_ANY_TYPE, port) == ERR_OK) {
        n->listener = tcp_listen_with_backlog(pcb, LISTEN_BACKLOG); /* On success it has taken pcb's place. */
    }
    if (n->listener == NULL) {
        tcp_abort(pcb);
        return false;
    }
    n->accept_fn = fn;
    n->accept_ctx = ctx;
    tcp_arg(n->listener, n);
    tcp_accept(n->listener, on_accept);
    return true;
}

struct ml_netif_tcp *ml_netif_tcp_connect(struct ml_netif *n, const ml_addr *to, const struct ml_netif_tcp_events *ev,
                                          void *ctx)
{
    (void)n;
    ip_addr_t a;
    struct ml_netif_tcp *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    to_lwip(&a, &to->ip);
    c->ev = ev;
    c->ctx = ctx;
    struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(&a));
    if (pcb == NULL) {
        free(c);
        return NULL;
    }
    attach(c, pcb);
    if (tcp_connect(pcb, &a, to->port, on_connected) != ERR_OK) {
        detach(pcb);
        tcp_abort(pcb);
        free(c);
        return NULL;
    }
    return c;
}

size_t ml_netif_tcp_write(struct ml_netif_tcp *c, const uint8_t *buf, size_t len)
{
    size_t room = c->pcb ? tcp_sndbuf(c->pcb) : 0;
    size_t n = len < room ? len : room;
    n = n > 0xffff ? 0xffff : n;
    if (n == 0 || tcp_write(c->pcb, buf, (u16_t)n, TCP_WRITE_FLAG_COPY) != ERR_OK) {
        return 0;
    }
    tcp_output(c->pcb);
    return n;
}

void ml_netif_tcp_more(struct ml_netif_tcp *c)
{
    if (!c->busy) {
        c->busy = true;
        deliver(c);
        (void)leave(c);
    }
}

void ml_netif_tcp_finish(struct ml_netif_tcp *c)
{
    if (c->pcb != NULL) {
        tcp_shutdown(c->pcb, 0, 1);
    }
}

void ml_netif_tcp_close(struct ml_netif_tcp *c)
{
    drop_held(c);
    if (c->pcb != NULL) {
        detach(c->pcb);
        if (tcp_close(c->pcb) != ERR_OK) {
            tcp_abort(c->pcb);
            c->aborted = true;
        }
        c->pcb = NULL;
    }
    c->closed = true;
    if (!c->busy) {
        free(c);
    }
}
