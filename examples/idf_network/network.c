/*
 * Wi-Fi or Ethernet for the example (see network.h): what every ESP-IDF application does, and nothing of microlink.
 *
 * SPDX-License-Identifier: MIT
 */
#include "network.h"

#include "esp_event.h"
#include "esp_netif.h"
#include "nvs_flash.h"
#include "sdkconfig.h"

#include <stdio.h>
#include <string.h>

#if CONFIG_IDF_TARGET_LINUX
static void interface_start(void)
{
    network_linux_start();
}
#elif CONFIG_EXAMPLE_WIFI
#include "esp_wifi.h"

static void on_wifi(void *arg, esp_event_base_t base, int32_t id, void *data)
{
    (void)arg, (void)base, (void)data;
    if (id == WIFI_EVENT_STA_START || id == WIFI_EVENT_STA_DISCONNECTED) {
        esp_wifi_connect(); /* Also after the access point went away: for ever. */
    }
}

static void interface_start(void)
{
    wifi_init_config_t init = WIFI_INIT_CONFIG_DEFAULT();
    wifi_config_t cfg = {0};
    strncpy((char *)cfg.sta.ssid, CONFIG_EXAMPLE_WIFI_SSID, sizeof cfg.sta.ssid);
    strncpy((char *)cfg.sta.password, CONFIG_EXAMPLE_WIFI_PASSWORD, sizeof cfg.sta.password);
    esp_netif_create_default_wifi_sta();
    ESP_ERROR_CHECK(esp_wifi_init(&init));
    ESP_ERROR_CHECK(esp_event_handler_instance_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_wifi, NULL, NULL));
    ESP_ERROR_CHECK(esp_wifi_set_mode(WIFI_MODE_STA));
    ESP_ERROR_CHECK(esp_wifi_set_config(WIFI_IF_STA, &cfg));
    ESP_ERROR_CHECK(esp_wifi_start());
}
#else
#include "esp_eth.h"

static void interface_start(void)
{
    eth_mac_config_t mac_cfg = ETH_MAC_DEFAULT_CONFIG();
    eth_phy_config_t phy_cfg = ETH_PHY_DEFAULT_CONFIG();
    phy_cfg.phy_addr = 1;
    phy_cfg.reset_gpio_num = -1;
    phy_cfg.autonego_timeout_ms = 100;
    esp_eth_config_t cfg = ETH_DEFAULT_CONFIG(esp_eth_mac_new_openeth(&mac_cfg), esp_eth_phy_new_dp83848(&phy_cfg));
    esp_eth_handle_t eth;
    esp_netif_config_t netif_cfg = ESP_NETIF_DEFAULT_ETH();
    esp_netif_t *netif = esp_netif_new(&netif_cfg);
    ESP_ERROR_CHECK(esp_eth_driver_install(&cfg, &eth));
    ESP_ERROR_CHECK(esp_netif_attach(netif, esp_eth_new_netif_glue(eth)));
    ESP_ERROR_CHECK(esp_eth_start(eth));
}
#endif

void network_start(void)
{
#if CONFIG_IDF_TARGET_LINUX
    network_linux_flash();
#endif
    /*
     * NVS holds the node's identity: it is not erased because of an error, as many examples do. Nor does the device restart
     * for ever: microlink_init() says that NVS is missing, and the example ends.
     */
    esp_err_t err = nvs_flash_init();
    if (err != ESP_OK) {
        printf("NVS cannot be used: %s. To give up what it holds: idf.py erase-flash\n", esp_err_to_name(err));
    }
#if CONFIG_IDF_TARGET_LINUX
    network_linux_flash_made();
#endif
    ESP_ERROR_CHECK(esp_netif_init());
    ESP_ERROR_CHECK(esp_event_loop_create_default());
    interface_start();
}
