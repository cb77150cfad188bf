/*
 * The tunnel's interface (see tunnel.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "tunnel.h"

#include "base/addr.h"
#include "esp_idf_version.h"
#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "lwip/esp_netif_net_stack.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/tcpip.h"
#include "microlink/engine.h"
#include "sdkconfig.h"
#include "wake.h"

#include <stdlib.h>
#include <string.h>

#if CONFIG_MICROLINK_NETIF

/** As long as its data: a packet that waits costs memory, an empty queue none. */
struct packet {
    uint16_t len;
    uint8_t data[];
};

static struct {
    esp_netif_t *esp;
    struct netif *netif; /**< Of lwIP's thread. */
    QueueHandle_t out;   /**< Of struct packet *. */
    ml_ip ip4, ip6;
} t;

/* ---- In lwIP's thread ---- */

static err_t put(struct pbuf *p)
{
    if (t.out == NULL || p->tot_len > ML_OVERLAY_MTU) {
        return ERR_BUF;
    }
    struct packet *copy = uxQueueSpacesAvailable(t.out) > 0 ? malloc(sizeof *copy + p->tot_len) : NULL;
    if (copy == NULL) {
        return ERR_MEM;
    }
    copy->len = pbuf_copy_partial(p, copy->data, p->tot_len, 0);
    if (xQueueSend(t.out, &copy, 0) != pdTRUE) {
        free(copy);
        return ERR_MEM;
    }
    ml_wake_from_tcpip();
    return ERR_OK;
}

static err_t output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    (void)netif, (void)to;
    return put(p);
}

#if CONFIG_LWIP_IPV6
static err_t output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    (void)netif, (void)to;
    return put(p);
}

static void set_ip6(void *arg)
{
    const ml_ip *ip = arg;
    ip6_addr_t a = {0};
    if (t.netif == NULL) {
        return;
    }
    memcpy(a.addr, ip->b, 16);
    netif_ip6_addr_set_state(t.netif, 0, IP6_ADDR_INVALID);
    if (ml_ip_is6(ip)) {
        netif_ip6_addr_set(t.netif, 0, &a);
        netif_ip6_addr_set_state(t.netif, 0, IP6_ADDR_PREFERRED);
    }
}
#endif

static err_t init(struct netif *netif)
{
    netif->name[0] = 'm';
    netif->name[1] = 'l';
    netif->mtu = ML_OVERLAY_MTU;
    netif->output = output4;
#if CONFIG_LWIP_IPV6
    netif->output_ip6 = output6;
#endif
    t.netif = netif;
    return ERR_OK;
}

bool ml_tunnel_is(const void *netif)
{
    return t.netif != NULL && netif == t.netif;
}

/* ---- esp_netif's view: a driver that is never called, since the output above goes past it. ---- */

static esp_err_t no_transmit(void *h, void *buffer, size_t len)
{
    (void)h, (void)buffer, (void)len;
    return ESP_ERR_NOT_SUPPORTED;
}

static void no_free(void *h, void *buffer)
{
    (void)h, (void)buffer;
}

/* The type of this hook depends on version and configuration; nothing calls it, ml_tunnel_input() goes to lwIP itself. */
#if CONFIG_ESP_NETIF_RECEIVE_REPORT_ERRORS || ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(6, 0, 0)
static esp_err_t no_input(void *netif, void *buffer, size_t len, void *eb)
{
    (void)netif, (void)buffer, (void)len, (void)eb;
    return ESP_ERR_NOT_SUPPORTED;
}
#else
static void no_input(void *netif, void *buffer, size_t len, void *eb)
{
    (void)netif, (void)buffer, (void)len, (void)eb;
}
#endif

static bool make(void)
{
    static const esp_netif_inherent_config_t base = {
        .flags = ESP_NETIF_FLAG_AUTOUP, .if_key = "MICROLINK", .if_desc = "tailnet", .route_prio = 1};
    static const esp_netif_driver_ifconfig_t driver = {.handle = &t, .transmit = no_transmit, .driver_free_rx_buffer = no_free};
    static const esp_netif_netstack_config_t stack = {.lwip = {.init_fn = init, .input_fn = no_input}};
    const esp_netif_config_t cfg = {.base = &base, .driver = &driver, .stack = &stack};
    t.out = xQueueCreate(CONFIG_MICROLINK_NETIF_QUEUE, sizeof(struct packet *));
    t.esp = t.out != NULL ? esp_netif_new(&cfg) : NULL;
    if (t.esp == NULL) {
        ml_tunnel_close();
        return false;
    }
    esp_netif_action_start(t.esp, NULL, 0, NULL);
    return true;
}

bool ml_tunnel_set_addrs(const ml_ip *ip4, const ml_ip *ip6)
{
    if (t.esp == NULL) {
        if (!ml_ip_is4(ip4) && !ml_ip_is6(ip6)) {
            return true;
        }
        if (!make()) {
            return false;
        }
    }
    if (!ml_ip_equal(ip4, &t.ip4)) {
        esp_netif_ip_info_t info = {0};
        if (ml_ip_is4(ip4)) {
            memcpy(&info.ip.addr, ip4->b + 12, 4);
            info.netmask.addr = PP_HTONL(0xffc00000U); /* 100.64.0.0/10 */
        }
        (void)esp_netif_set_ip_info(t.esp, &info);
        t.ip4 = *ip4;
    }
#if CONFIG_LWIP_IPV6
    if (!ml_ip_equal(ip6, &t.ip6)) {
        t.ip6 = *ip6;
        (void)ml_tcpip_run(set_ip6, &t.ip6);
    }
#endif
    return true;
}

void ml_tunnel_close(void)
{
    if (t.esp != NULL) {
        esp_netif_action_stop(t.esp, NULL, 0, NULL);
        esp_netif_destroy(t.esp);
    }
    t.netif = NULL;
    if (t.out != NULL) {
        struct packet *left;
        while (xQueueReceive(t.out, &left, 0) == pdTRUE) {
            free(left);
        }
        vQueueDelete(t.out);
    }
    memset(&t, 0, sizeof t);
}

bool ml_tunnel_input(const uint8_t *packet, size_t len)
{
    struct pbuf *p = t.netif != NULL ? pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM) : NULL;
    if (p == NULL) {
        return false;
    }
    /* tcpip_input() hands over to lwIP's thread and may be called from here. */
    if (pbuf_take(p, packet, (u16_t)len) != ERR_OK || tcpip_input(p, t.netif) != ERR_OK) {
        pbuf_free(p);
        return false;
    }
    return true;
}

size_t ml_tunnel_take(uint8_t *packet, size_t cap)
{
    struct packet *next;
    if (t.out == NULL || xQueueReceive(t.out, &next, 0) != pdTRUE) {
        return 0;
    }
    size_t len = next->len <= cap ? next->len : 0; /* put() takes no longer ones. */
    memcpy(packet, next->data, len);
    free(next);
    return len;
}

esp_netif_t *ml_tunnel_netif(void)
{
    return t.esp;
}

#else
bool ml_tunnel_is(const void *netif)
{
    (void)netif;
    return false;
}
#endif
