/*
 * A TCP echo on the tailnet (see echo.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "echo.h"

#include "netif.h"

#include "lwip/tcp.h"
#include <string.h>

/** Connections at a time; each may hold a window and a send buffer of the one heap. The oldest makes room for a new one. */
#define CONNECTIONS 2
/** A peer that is silent for so long is asked whether it is still there; after three questions the connection ends. */
#define ASK_AFTER_MS 20000u
#define ASK_EVERY_MS 5000u
#define ASK_TIMES    3u

struct connection {
    struct tcp_pcb *pcb; /* NULL: free */
    struct pbuf *held;   /* received, not sent back yet */
    uint32_t number;
};

static struct connection connections[CONNECTIONS];
static uint32_t accepted;

static void forget(struct connection *c)
{
    if (c->held != NULL) {
        pbuf_free(c->held);
    }
    memset(c, 0, sizeof *c);
}

/** lwIP calls nobody any more about this connection. */
static struct tcp_pcb *detach(struct connection *c)
{
    struct tcp_pcb *pcb = c->pcb;
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    forget(c);
    return pcb;
}

/** Sends back as much as there is room for; the rest waits. */
static void echo(struct connection *c)
{
    while (c->held != NULL) {
        size_t room = tcp_sndbuf(c->pcb);
        u16_t n = c->held->len < room ? c->held->len : (u16_t)room;
        if (n == 0 || tcp_write(c->pcb, c->held->payload, n, TCP_WRITE_FLAG_COPY) != ERR_OK) {
            break;
        }
        tcp_recved(c->pcb, n);
        c->held = pbuf_free_header(c->held, n);
    }
    tcp_output(c->pcb);
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct connection *c = arg;
    (void)err;
    if (p == NULL) {
        (void)detach(c);
        if (tcp_close(pcb) != ERR_OK) {
            tcp_abort(pcb);
            return ERR_ABRT;
        }
        return ERR_OK;
    }
    if (c->held != NULL) {
        pbuf_cat(c->held, p);
    } else {
        c->held = p;
    }
    echo(c);
    return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    (void)pcb;
    (void)len;
    echo(arg);
    return ERR_OK;
}

/** For want of memory a write may have been put off with nothing under way whose arrival would take it up again. */
static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
    (void)pcb;
    if (arg != NULL) {
        echo(arg);
    }
    return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
    (void)err;
    forget(arg);
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct connection *c = &connections[0];
    (void)arg;
    if (err != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    for (size_t i = 1; i < CONNECTIONS && c->pcb != NULL; i++) {
        struct connection *other = &connections[i];
        c = other->pcb == NULL || other->number < c->number ? other : c;
    }
    if (c->pcb != NULL) {
        tcp_abort(detach(c));
    }
    *c = (struct connection){.pcb = pcb, .number = ++accepted};
    tcp_arg(pcb, c);
    tcp_recv(pcb, on_recv);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_err);
    tcp_poll(pcb, on_poll, 2);
    ip_set_option(pcb, SOF_KEEPALIVE);
    pcb->keep_idle = ASK_AFTER_MS;
    pcb->keep_intvl = ASK_EVERY_MS;
    pcb->keep_cnt = ASK_TIMES;
    return ERR_OK;
}

bool ml_echo_start(uint16_t port)
{
    struct tcp_pcb *pcb = tcp_new(), *listening = NULL;
    if (pcb != NULL && tcp_bind(pcb, IP_ADDR_ANY, port) == ERR_OK) {
        tcp_bind_netif(pcb, &ml_net_tunnel);
        listening = tcp_listen(pcb);
    }
    if (listening == NULL) {
        if (pcb != NULL) {
            tcp_abort(pcb);
        }
        return false;
    }
    tcp_accept(listening, on_accept);
    return true;
}
