/*
 * basic_connect for ESP-IDF: join a tailnet, print the address and the peers, stay.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "microlink.h"
#include "network.h"

#include <stdio.h>

static void on_event(void *ctx, const microlink_event_t *ev)
{
    (void)ctx;
    if (ev->type == MICROLINK_EVENT_LOGIN_URL && ev->text[0]) {
        printf("To add this device to your tailnet, visit %s\n", ev->text);
    } else if (ev->type == MICROLINK_EVENT_PROBLEM && ev->text[0]) {
        printf("problem: %s\n", ev->text);
    }
}

void app_main(void)
{
    network_start();
    microlink_config_t config;
    microlink_get_default_config(&config); /* Auth key, name and server come from menuconfig. */
    config.on_event = on_event;
    microlink_t *ml = microlink_init(&config);
    if (ml == NULL) {
        printf("cannot start: %s\n", microlink_get_init_error());
        return;
    }
    microlink_connect(ml);
    while (!microlink_is_connected(ml)) {
        vTaskDelay(pdMS_TO_TICKS(100));
    }
    char text[16];
    const microlink_peer_t *peers;
    uint8_t count = 0;
    printf("connected as %s\n", microlink_vpn_ip_to_str(microlink_get_vpn_ip(ml), text));
    microlink_get_peers(ml, &peers, &count);
    for (uint8_t i = 0; i < count; i++) {
        printf("  %-15s %s\n", microlink_vpn_ip_to_str(peers[i].vpn_ip, text), peers[i].hostname);
    }
}
