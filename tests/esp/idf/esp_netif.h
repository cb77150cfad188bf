/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "esp_err.h"
#include "esp_event.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef struct esp_netif_obj esp_netif_t;
typedef struct {
    uint32_t addr;
} esp_ip4_addr_t;
typedef struct {
    esp_ip4_addr_t ip, netmask, gw;
} esp_netif_ip_info_t;
ESP_EVENT_DECLARE_BASE(IP_EVENT);
enum { IP_EVENT_GOT_IP6 = 3 };
typedef struct {
    esp_netif_t *esp_netif;
} ip_event_got_ip6_t;
enum { ESP_NETIF_FLAG_AUTOUP = 1 << 2 };
typedef struct esp_netif_inherent_config {
    unsigned flags;
    const char *if_key, *if_desc;
    int route_prio;
} esp_netif_inherent_config_t;
typedef struct esp_netif_driver_ifconfig {
    void *handle;
    esp_err_t (*transmit)(void *h, void *buffer, size_t len);
    void (*driver_free_rx_buffer)(void *h, void *buffer);
} esp_netif_driver_ifconfig_t;
typedef struct esp_netif_netstack_config esp_netif_netstack_config_t;
typedef struct esp_netif_config {
    const esp_netif_inherent_config_t *base;
    const esp_netif_driver_ifconfig_t *driver;
    const esp_netif_netstack_config_t *stack;
} esp_netif_config_t;
esp_err_t esp_netif_init(void);
esp_netif_t *esp_netif_new(const esp_netif_config_t *cfg);
void esp_netif_destroy(esp_netif_t *n);
void esp_netif_action_start(void *n, esp_event_base_t base, int32_t id, void *data);
void esp_netif_action_stop(void *n, esp_event_base_t base, int32_t id, void *data);
esp_err_t esp_netif_set_ip_info(esp_netif_t *n, const esp_netif_ip_info_t *info);
