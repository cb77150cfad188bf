/*
 * lwIP's two interfaces and its UDP socket (see netif.h). Frames are copied once on their way in, into memory of just their
 * size, and once on their way out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "netif.h"

#include "bare_port.h"
#include "base/addr.h"
#include "board/board.h"
#include "boot_config.h"

#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"
#include <string.h>

/** Frames taken in before everything else gets a turn. */
#define RX_ROUND 8
/** What found no memory at the start is tried again after this. */
#define COMPLETE_AGAIN_MS 100u

struct netif ml_net_eth, ml_net_tunnel;
static const struct ml_net_events *events;
static struct udp_pcb *udp;
static uint16_t udp_port;
static bool is_dhcp_due;
static struct ml_net_stats stats;

uint32_t ml_board_random32(void)
{
    uint32_t v;
    ml_bare_random((uint8_t *)&v, sizeof v);
    return v;
}

u32_t sys_now(void)
{
    return (u32_t)(board_time_us() / 1000);
}

static void to_ip4(ip4_addr_t *out, const ml_ip *ip)
{
    IP4_ADDR(out, ip->b[12], ip->b[13], ip->b[14], ip->b[15]);
}

/* ---- Ethernet ---- */

static err_t eth_output(struct netif *netif, struct pbuf *p)
{
    (void)netif;
    uint8_t *buf = p->tot_len <= BOARD_ETH_MAX ? board_eth_tx_buffer() : NULL;
    if (buf == NULL) {
        stats.tx_busy++;
        return ERR_BUF;
    }
    pbuf_copy_partial(p, buf, p->tot_len, 0);
    board_eth_tx(p->tot_len);
    return ERR_OK;
}

static err_t eth_setup(struct netif *netif)
{
    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->mtu = 1500;
    netif->hwaddr_len = 6;
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    netif->output = etharp_output;
    netif->linkoutput = eth_output;
    return board_eth_init(netif->hwaddr) ? ERR_OK : ERR_IF;
}

static void eth_status(struct netif *netif)
{
    (void)netif;
    events->address_changed();
}

static bool eth_start(void)
{
    ip4_addr_t ip = {0}, mask = {0}, gw = {0};
    ml_ip a;
    unsigned bits = 24;
    bool is_static = ml_boot_get_ip("ip", &a, &bits) && bits >= 1 && bits <= 32;
    if (is_static) {
        to_ip4(&ip, &a);
        mask.addr = lwip_htonl(0xffffffffu << (32 - bits));
        if (ml_boot_get_ip("gateway", &a, NULL)) {
            to_ip4(&gw, &a);
        }
    }
    if (netif_add(&ml_net_eth, &ip, &mask, &gw, NULL, eth_setup, ethernet_input) == NULL) {
        return false;
    }
    if (ml_boot_get_ip("dns", &a, NULL)) {
        ip_addr_t server = {0};
        to_ip4(ip_2_ip4(&server), &a);
        dns_setserver(0, &server);
    }
    netif_set_default(&ml_net_eth);
    netif_set_up(&ml_net_eth);
    netif_set_status_callback(&ml_net_eth, eth_status);
    is_dhcp_due = !is_static;
    return true;
}

/* ---- The tailnet ---- */

static err_t tunnel_output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    static uint8_t packet[ML_OVERLAY_MTU];
    (void)netif;
    (void)to;
    if (p->tot_len > sizeof packet) {
        return ERR_VAL;
    }
    const uint8_t *data = p->payload;
    if (p->len != p->tot_len) {
        pbuf_copy_partial(p, packet, p->tot_len, 0);
        data = packet;
    }
    return events->to_tunnel(data, p->tot_len) ? ERR_OK : ERR_MEM; /* TCP keeps the segment then */
}

void ml_net_retry(void)
{
    tcp_txnow();
}

static err_t tunnel_setup(struct netif *netif)
{
    netif->name[0] = 'm';
    netif->name[1] = 'l';
    netif->mtu = ML_OVERLAY_MTU;
    netif->output = tunnel_output;
    return ERR_OK;
}

void ml_net_tunnel_set_addr(const ml_ip *ip4)
{
    ip4_addr_t ip, mask, gw = {0};
    if (!ml_ip_is4(ip4)) {
        return;
    }
    to_ip4(&ip, ip4);
    IP4_ADDR(&mask, 255, 192, 0, 0); /* all of the tailnet's range: answers to peers go back into the tunnel */
    netif_set_addr(&ml_net_tunnel, &ip, &mask, &gw);
}

void ml_net_tunnel_input(const uint8_t *packet, size_t len)
{
    struct pbuf *p = len <= ML_OVERLAY_MTU ? pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM) : NULL;
    if (p == NULL) {
        stats.rx_no_mem++;
    } else {
        pbuf_take(p, packet, (u16_t)len);
        if (ml_net_tunnel.input(p, &ml_net_tunnel) != ERR_OK) {
            pbuf_free(p);
        }
    }
}

/* ---- UDP ---- */

static void on_udp(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
    (void)arg;
    (void)pcb;
    ml_addr from = {ml_ip_from4((const uint8_t *)&ip_2_ip4(addr)->addr), port};
    if (p->len == p->tot_len) { /* always: frames come in one piece */
        events->datagram(&from, p->payload, p->len);
    }
    pbuf_free(p);
}

void ml_net_udp_send(const ml_addr *to, const uint8_t *data, size_t len)
{
    bool ok = udp != NULL && ml_ip_is4(&to->ip) && len <= ML_UNDERLAY_MAX;
    struct pbuf *p = ok ? pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM) : NULL;
    if (p != NULL) {
        ip_addr_t a = {0};
        to_ip4(ip_2_ip4(&a), &to->ip);
        pbuf_take(p, data, (u16_t)len);
        (void)udp_sendto_if(udp, p, &a, to->port, &ml_net_eth);
        pbuf_free(p);
    } else if (ml_ip_is4(&to->ip)) {
        stats.tx_no_mem++;
    }
}

/* ---- Life ---- */

/** What needs memory and may find none at first: tried again at every poll until it is there. */
static bool complete(void)
{
    if (is_dhcp_due) {
        is_dhcp_due = dhcp_start(&ml_net_eth) != ERR_OK;
    }
    if (udp == NULL && (udp = udp_new()) != NULL) {
        if (udp_bind(udp, IP_ADDR_ANY, udp_port) == ERR_OK) {
            udp_bind_netif(udp, &ml_net_eth);
            udp_recv(udp, on_udp, NULL);
        } else {
            udp_remove(udp);
            udp = NULL;
        }
    }
    return !is_dhcp_due && udp != NULL;
}

bool ml_net_init(const struct ml_net_events *ev, uint16_t port)
{
    events = ev;
    udp = NULL;
    udp_port = port;
    lwip_init();
    if (!eth_start()) {
        return false;
    }
    if (netif_add_noaddr(&ml_net_tunnel, NULL, tunnel_setup, ip_input) == NULL) {
        return false;
    }
    netif_set_link_up(&ml_net_tunnel);
    netif_set_up(&ml_net_tunnel);
    (void)complete();
    return true;
}

bool ml_net_poll(ml_time until)
{
    const uint8_t *frame;
    size_t len;
    (void)complete();
    sys_check_timeouts();
    for (int i = 0; i < RX_ROUND && (i == 0 || board_time_us() < until); i++) {
        frame = board_eth_rx(&len);
        if (frame == NULL) {
            return i > 0;
        }
        struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
        if (p != NULL) {
            pbuf_take(p, frame, (u16_t)len);
        } else {
            stats.rx_no_mem++;
        }
        board_eth_rx_done();
        if (p != NULL && ml_net_eth.input(p, &ml_net_eth) != ERR_OK) {
            pbuf_free(p);
        }
    }
    return true;
}

ml_time ml_net_deadline(ml_time now)
{
    u32_t ms = sys_timeouts_sleeptime();
    if (udp == NULL || is_dhcp_due) {
        ms = ms < COMPLETE_AGAIN_MS ? ms : COMPLETE_AGAIN_MS;
    }
    return ms == SYS_TIMEOUTS_SLEEPTIME_INFINITE ? ML_NEVER : now + ML_MSEC(ms);
}

bool ml_net_get_addr(ml_addr *out)
{
    const ip4_addr_t *ip = netif_ip4_addr(&ml_net_eth);
    *out = (ml_addr){ml_ip_from4((const uint8_t *)&ip->addr), udp_port};
    return ip->addr != 0;
}

void ml_net_get_stats(struct ml_net_stats *out)
{
    *out = stats;
}
