/*
 * A TCP echo on the tailnet (see echo.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "echo.h"

#include "netif.h"

#include "lwip/tcp.h"

/** Sends back as much as there is room for; the rest waits in the pbuf that hangs on the connection. */
static void echo(struct tcp_pcb *pcb, struct pbuf *p)
{
    while (p != NULL) {
        size_t room = tcp_sndbuf(pcb);
        u16_t n = p->len < room ? p->len : (u16_t)room;
        if (n == 0 || tcp_write(pcb, p->payload, n, TCP_WRITE_FLAG_COPY) != ERR_OK) {
            break;
        }
        tcp_recved(pcb, n);
        p = pbuf_free_header(p, n);
    }
    tcp_arg(pcb, p);
    tcp_output(pcb);
}

static err_t on_echo_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct pbuf *held = arg;
    (void)err;
    if (p == NULL) {
        if (held != NULL) {
            pbuf_free(held);
        }
        tcp_arg(pcb, NULL);
        tcp_recv(pcb, NULL);
        tcp_sent(pcb, NULL);
        tcp_err(pcb, NULL);
        if (tcp_close(pcb) != ERR_OK) {
            tcp_abort(pcb);
            return ERR_ABRT;
        }
        return ERR_OK;
    }
    if (held != NULL) {
        pbuf_cat(held, p);
        p = held;
    }
    echo(pcb, p);
    return ERR_OK;
}

static err_t on_echo_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    (void)len;
    echo(pcb, arg);
    return ERR_OK;
}

static void on_echo_err(void *arg, err_t err)
{
    (void)err;
    if (arg != NULL) {
        pbuf_free(arg);
    }
}

static err_t on_echo_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)arg;
    if (err != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, on_echo_recv);
    tcp_sent(pcb, on_echo_sent);
    tcp_err(pcb, on_echo_err);
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
    tcp_accept(listening, on_echo_accept);
    return true;
}
