/*
 * Addresses of the underlay (see netmon.h). Wi-Fi, Ethernet and PPP all report by IP_EVENT.
 *
 * SPDX-License-Identifier: MIT
 */
#include "netmon.h"

#include "base/addr.h"
#include "esp_event.h"
#include "esp_netif.h"
#include "lwip/netif.h"
#include "sdkconfig.h"
#include "tunnel.h"
#include "wake.h"

#include <stdatomic.h>

/** DHCP, then IPv6: what belongs together comes within this time. */
#define SETTLE ML_MSEC(300)

static esp_event_handler_instance_t instance;
static atomic_bool changed;

static void on_ip_event(void *arg, esp_event_base_t base, int32_t id, void *data)
{
    (void)arg, (void)base, (void)id, (void)data;
#if CONFIG_MICROLINK_NETIF
    /* The tunnel's own address is told too, but is none of the underlay's. */
    if (id == IP_EVENT_GOT_IP6 && data != NULL && ((const ip_event_got_ip6_t *)data)->esp_netif == ml_tunnel_netif()) {
        return;
    }
#endif
    atomic_store(&changed, true);
    ml_wake();
}

bool ml_netmon_open(struct ml_netmon *m)
{
    *m = (struct ml_netmon){.settle_at = ML_NEVER};
    atomic_store(&changed, false);
    m->registered = esp_event_handler_instance_register(IP_EVENT, ESP_EVENT_ANY_ID, on_ip_event, NULL, &instance) == ESP_OK;
    return m->registered;
}

void ml_netmon_close(struct ml_netmon *m)
{
    if (m->registered) {
        (void)esp_event_handler_instance_unregister(IP_EVENT, ESP_EVENT_ANY_ID, instance);
        m->registered = false;
    }
}

static void add(struct ml_netmon *m, ml_ip ip)
{
    if (ml_ip_is_set(&ip) && !ml_ip_is_unspecified(&ip) && !ml_ip_is_loopback(&ip) && !ml_ip_is_link_local(&ip) &&
        m->count < ML_NETMON_ADDRS) {
        m->addrs[m->count++] = ip;
    }
}

/** In lwIP's thread, whose list it is. */
static void collect(void *arg)
{
    struct ml_netmon *m = arg;
    m->count = 0;
    for (struct netif *n = netif_list; n != NULL; n = n->next) {
        if (!netif_is_up(n) || !netif_is_link_up(n) || ml_tunnel_is(n)) {
            continue;
        }
        if (!ip4_addr_isany_val(*netif_ip4_addr(n))) {
            add(m, ml_ip_from4((const uint8_t *)&netif_ip4_addr(n)->addr));
        }
#if CONFIG_LWIP_IPV6
        for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
            if (ip6_addr_ispreferred(netif_ip6_addr_state(n, i))) {
                add(m, ml_ip_from16((const uint8_t *)netif_ip6_addr(n, i)->addr));
            }
        }
#endif
    }
}

void ml_netmon_refresh(struct ml_netmon *m)
{
    (void)ml_tcpip_run(collect, m);
}

bool ml_netmon_poll(struct ml_netmon *m, ml_time now)
{
    if (atomic_exchange(&changed, false)) {
        m->settle_at = now + SETTLE;
    }
    if (now < m->settle_at) {
        return false;
    }
    m->settle_at = ML_NEVER;
    ml_netmon_refresh(m);
    return true;
}
