/*
 * SPDX-License-Identifier: MIT
 */
#include "world_net.h"

#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/sys.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"
#include "netif/ethernet.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(x)                                                                                                                \
    do {                                                                                                                       \
        if (!(x)) {                                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                                            \
            abort();                                                                                                           \
        }                                                                                                                      \
    } while (0)

struct conn {
    struct tcp_pcb *pcb;
    SSL *ssl;
    BIO *in, *out; /* ciphertext */
    bool is_used, is_open;
};

static struct world_net_events events;
static struct netif eth, tunnel;
static struct conn conns[WORLD_CONNS];
static SSL_CTX *ctx;
static uint32_t now, seed = 1;

static struct {
    struct tcp_pcb *pcb;
    size_t len, sent, got;
    enum world_echo state;
} client;

uint32_t world_random32(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed;
}

u32_t sys_now(void)
{
    return now;
}

/* ---- Interfaces ---- */

static err_t eth_output(struct netif *netif, struct pbuf *p)
{
    uint8_t frame[1600];
    (void)netif;
    MUST(p->tot_len <= sizeof frame);
    pbuf_copy_partial(p, frame, p->tot_len, 0);
    events.frame(frame, p->tot_len);
    return ERR_OK;
}

static err_t eth_setup(struct netif *netif)
{
    netif->mtu = 1500;
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, "\x02\0\0\0\0\x01", 6);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    netif->output = etharp_output;
    netif->linkoutput = eth_output;
    return ERR_OK;
}

static err_t tunnel_output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    uint8_t packet[1600];
    (void)netif;
    (void)to;
    MUST(p->tot_len <= sizeof packet);
    pbuf_copy_partial(p, packet, p->tot_len, 0);
    events.tunnel(packet, p->tot_len);
    return ERR_OK;
}

static err_t tunnel_setup(struct netif *netif)
{
    netif->mtu = 1280;
    netif->output = tunnel_output;
    return ERR_OK;
}

static void input(struct netif *netif, const uint8_t *data, size_t len)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
    MUST(p != NULL);
    pbuf_take(p, data, (u16_t)len);
    if (netif->input(p, netif) != ERR_OK) {
        pbuf_free(p);
    }
}

void world_net_frame(const uint8_t *frame, size_t len)
{
    input(&eth, frame, len);
}

void world_net_packet(const uint8_t *packet, size_t len)
{
    input(&tunnel, packet, len);
}

/* ---- TLS server ---- */

static void drop(struct conn *c)
{
    if (c->is_used) {
        SSL_free(c->ssl);
        *c = (struct conn){0};
        events.closed((unsigned)(c - conns));
    }
}

static void flush(struct conn *c)
{
    char *data;
    long len = BIO_get_mem_data(c->out, &data);
    uint16_t room = tcp_sndbuf(c->pcb), n = (uint16_t)(len < room ? len : room);
    if (n > 0 && tcp_write(c->pcb, data, n, TCP_WRITE_FLAG_COPY) == ERR_OK) {
        uint8_t skip[2048];
        for (size_t left = n; left > 0;) {
            int got = BIO_read(c->out, skip, left < sizeof skip ? (int)left : (int)sizeof skip);
            MUST(got > 0);
            left -= (size_t)got;
        }
    }
    tcp_output(c->pcb);
}

static void serve(struct conn *c)
{
    uint8_t buf[4096];
    int n;
    if (!c->is_open) {
        if (SSL_accept(c->ssl) == 1) {
            c->is_open = true;
            events.opened((unsigned)(c - conns));
        }
    }
    while (c->is_open && (n = SSL_read(c->ssl, buf, sizeof buf)) > 0) {
        events.data((unsigned)(c - conns), buf, (size_t)n);
    }
    ERR_clear_error();
    flush(c);
}

static err_t close_pcb(struct tcp_pcb *pcb)
{
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

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct conn *c = arg;
    (void)err;
    if (p == NULL) {
        drop(c);
        return close_pcb(pcb);
    }
    for (struct pbuf *q = p; q != NULL; q = q->next) {
        BIO_write(c->in, q->payload, q->len);
    }
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    serve(c);
    return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    (void)pcb;
    (void)len;
    flush(arg);
    return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
    (void)err;
    drop(arg);
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)arg;
    if (err != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    unsigned i = 0;
    while (i < WORLD_CONNS && conns[i].is_used) {
        i++;
    }
    MUST(i < WORLD_CONNS);
    struct conn *c = &conns[i];
    *c = (struct conn){
        .pcb = pcb, .ssl = SSL_new(ctx), .in = BIO_new(BIO_s_mem()), .out = BIO_new(BIO_s_mem()), .is_used = true};
    SSL_set_bio(c->ssl, c->in, c->out);
    tcp_arg(pcb, c);
    tcp_recv(pcb, on_recv);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_err);
    tcp_nagle_disable(pcb);
    return ERR_OK;
}

void world_net_write(unsigned conn, const uint8_t *buf, size_t len)
{
    struct conn *c = &conns[conn];
    if (c->is_open) {
        MUST(SSL_write(c->ssl, buf, (int)len) == (int)len);
        flush(c);
    }
}

void world_net_reset_all(void)
{
    for (unsigned i = 0; i < WORLD_CONNS; i++) {
        if (conns[i].is_used) {
            tcp_abort(conns[i].pcb); /* calls on_err */
        }
    }
}

/* ---- Echo client ---- */

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static void client_write(void)
{
    uint8_t buf[1024];
    while (client.sent < client.len) {
        size_t n = client.len - client.sent, room = tcp_sndbuf(client.pcb);
        n = n < sizeof buf ? n : sizeof buf;
        n = n < room ? n : room;
        for (size_t i = 0; i < n; i++) {
            buf[i] = pattern(client.sent + i);
        }
        if (n == 0 || tcp_write(client.pcb, buf, (u16_t)n, TCP_WRITE_FLAG_COPY) != ERR_OK) {
            break;
        }
        client.sent += n;
    }
    tcp_output(client.pcb);
}

static err_t client_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)arg;
    (void)pcb;
    (void)err;
    client_write();
    return ERR_OK;
}

static err_t client_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    (void)arg;
    (void)err;
    if (p == NULL) {
        client.state = WORLD_ECHO_FAILED;
        client.pcb = NULL;
        return close_pcb(pcb);
    }
    for (struct pbuf *q = p; q != NULL; q = q->next) {
        for (u16_t i = 0; i < q->len; i++) {
            MUST(((uint8_t *)q->payload)[i] == pattern(client.got++));
        }
    }
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    if (client.got == client.len) {
        client.state = WORLD_ECHO_DONE;
        client.pcb = NULL;
        return close_pcb(pcb);
    }
    return ERR_OK;
}

static err_t client_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    (void)arg;
    (void)pcb;
    (void)len;
    client_write();
    return ERR_OK;
}

static void client_err(void *arg, err_t err)
{
    (void)arg;
    (void)err;
    client.pcb = NULL;
    client.state = WORLD_ECHO_FAILED;
}

void world_echo_stop(void)
{
    if (client.pcb != NULL) {
        struct tcp_pcb *pcb = client.pcb;
        client.pcb = NULL;
        tcp_err(pcb, NULL);
        tcp_abort(pcb);
    }
}

void world_echo_start(const uint8_t ip[4], uint16_t port, size_t len)
{
    ip_addr_t to;
    IP4_ADDR(&to, ip[0], ip[1], ip[2], ip[3]);
    world_echo_stop();
    memset(&client, 0, sizeof client);
    client.len = len;
    client.pcb = tcp_new();
    MUST(client.pcb != NULL);
    tcp_recv(client.pcb, client_recv);
    tcp_sent(client.pcb, client_sent);
    tcp_err(client.pcb, client_err);
    MUST(tcp_connect(client.pcb, &to, port, client_connected) == ERR_OK);
}

enum world_echo world_echo_state(void)
{
    return client.state;
}

/* ---- Life ---- */

void world_net_time(uint32_t now_ms)
{
    now = now_ms;
    sys_check_timeouts();
}

uint32_t world_net_sleep(void)
{
    return sys_timeouts_sleeptime();
}

void world_net_init(const struct world_net_events *ev, const uint8_t ip[4], const uint8_t overlay[4], const char *chain,
                    const char *key)
{
    ip4_addr_t a, mask, none = {0};
    events = *ev;
    lwip_init();
    IP4_ADDR(&a, ip[0], ip[1], ip[2], ip[3]);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    MUST(netif_add(&eth, &a, &mask, &none, NULL, eth_setup, ethernet_input) != NULL);
    netif_set_default(&eth);
    netif_set_up(&eth);
    IP4_ADDR(&a, overlay[0], overlay[1], overlay[2], overlay[3]);
    IP4_ADDR(&mask, 255, 192, 0, 0);
    MUST(netif_add(&tunnel, &a, &mask, &none, NULL, tunnel_setup, ip_input) != NULL);
    netif_set_link_up(&tunnel);
    netif_set_up(&tunnel);
    struct tcp_pcb *pcb = tcp_new();
    MUST(pcb != NULL && tcp_bind(pcb, IP_ADDR_ANY, 443) == ERR_OK && (pcb = tcp_listen(pcb)) != NULL);
    tcp_accept(pcb, on_accept);
    ctx = SSL_CTX_new(TLS_server_method());
    MUST(ctx != NULL && SSL_CTX_use_certificate_chain_file(ctx, chain) == 1 &&
         SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
}
