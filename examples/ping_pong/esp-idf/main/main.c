/*
 * ping_pong for ESP-IDF: answers `tailscale ping`, echoes datagrams on the data port, pings every peer once a minute and
 * prints what it took. Prints the heap too, so that a long run shows whether any is lost.
 *
 * SPDX-License-Identifier: MIT
 */
#include "esp_system.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "microlink.h"
#include "microlink_esp.h"
#include "network.h"

#include <stdio.h>

#define ROUND_S 60

static microlink_t *node;

static void on_event(void *ctx, const microlink_event_t *ev)
{
    char ip[16];
    (void)ctx;
    switch (ev->type) {
    case MICROLINK_EVENT_STATE:
        if (ev->state == MICROLINK_STATE_CONNECTED) {
            printf("on the tailnet as %s\n", microlink_vpn_ip_to_str(microlink_get_vpn_ip(node), ip));
        }
        break;
    case MICROLINK_EVENT_LOGIN_URL:
        printf("To add this device to your tailnet, visit %s\n", ev->text);
        break;
    case MICROLINK_EVENT_PROBLEM:
        printf("problem: %s\n", ev->text[0] ? ev->text : "none any more");
        break;
    case MICROLINK_EVENT_PONG:
        printf("pong from %s in %u ms, %s\n", microlink_vpn_ip_to_str(ev->peer_ip, ip), (unsigned)ev->latency_ms,
               ev->relayed ? "relayed" : "direct");
        break;
    case MICROLINK_EVENT_PING_FAILED:
        printf("%s: %s\n", microlink_vpn_ip_to_str(ev->peer_ip, ip), microlink_strerror(ev->error));
        break;
    default:
        break;
    }
}

/** Sends every datagram back to where it came from. */
static void echo(microlink_t *ml)
{
    static uint8_t data[MICROLINK_MAX_PAYLOAD];
    uint32_t from;
    size_t len = sizeof data;
    while (microlink_receive(ml, &from, data, &len) == ESP_OK) {
        (void)microlink_send(ml, from, data, len);
        len = sizeof data;
    }
}

static void ping_all(microlink_t *ml)
{
    static uint32_t ip[255];
    const microlink_peer_t *peers;
    uint8_t count = 0;
    if (microlink_get_peers(ml, &peers, &count) != ESP_OK) {
        return;
    }
    for (uint8_t i = 0; i < count; i++) {
        ip[i] = peers[i].vpn_ip;
    }
    for (uint8_t i = 0; i < count; i++) {
        (void)microlink_ping(ml, ip[i]);
    }
    printf("heap %u bytes free, %u at least so far, %u wake-ups\n", (unsigned)esp_get_free_heap_size(),
           (unsigned)esp_get_minimum_free_heap_size(), (unsigned)microlink_esp_get_wake_count());
}

void app_main(void)
{
    unsigned at_start = (unsigned)esp_get_free_heap_size();
    network_start();
    printf("heap %u bytes free at the start, %u with the network\n", at_start, (unsigned)esp_get_free_heap_size());
    microlink_config_t config;
    microlink_get_default_config(&config);
    config.on_event = on_event;
    microlink_t *ml = microlink_init(&config);
    if (ml == NULL) {
        printf("cannot start: %s\n", microlink_get_init_error());
        return;
    }
    node = ml;
    microlink_connect(ml);
    for (unsigned wait = 0;; wait -= wait > 0) {
        vTaskDelay(pdMS_TO_TICKS(100));
        echo(ml);
        if (wait == 0 && microlink_is_connected(ml)) {
            ping_all(ml);
            wait = ROUND_S * 10;
        }
    }
}
