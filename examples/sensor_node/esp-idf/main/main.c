/*
 * sensor_node for ESP-IDF: wake, join as the same node as last time, publish one reading, deep sleep. The identity is in NVS,
 * the count of readings in RTC memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "microlink.h"
#include "network.h"
#include "sdkconfig.h"

#include <stdio.h>
#if CONFIG_IDF_TARGET_LINUX
#include <stdlib.h>
#define KEPT /* Linux has no such memory. */
#else
#include "esp_attr.h"
#include "esp_sleep.h"
#define KEPT RTC_DATA_ATTR
#endif

#define PUBLISH_WITHIN_MS 30000  /* Wi-Fi, join, send, wait for the acknowledgement. */
#define LOGIN_WITHIN_MS   600000 /* Awake for a user who was told where to log the device in; the next start has another URL. */
#define STEP_MS           50

static KEPT unsigned reading_number; /* Survives deep sleep, not a power cut. */

/** A stand-in for the sensor. */
static int read_sensor(void)
{
    return 20 + (int)(reading_number % 5);
}

/** Sends the reading once a second until the collector answers anything. */
static bool publish(microlink_t *ml)
{
    char text[48];
    int n = snprintf(text, sizeof text, "reading %u: %d", reading_number, read_sensor());
    for (unsigned ms = 0, login_ms = 0; ms < PUBLISH_WITHIN_MS;) {
        const char *url = microlink_get_login_url(ml);
        if (url[0] && login_ms < LOGIN_WITHIN_MS) {
            if (login_ms == 0) {
                printf("To add this device to your tailnet, visit %s\n", url);
            }
            login_ms += STEP_MS;
        } else {
            ms += STEP_MS;
        }
        uint32_t peer;
        uint8_t answer[64];
        size_t len = sizeof answer;
        if (ms % 1000 == 0 && microlink_is_connected(ml) && microlink_resolve(ml, CONFIG_EXAMPLE_COLLECTOR, &peer) == ESP_OK) {
            (void)microlink_send(ml, peer, (const uint8_t *)text, (size_t)n);
        }
        vTaskDelay(pdMS_TO_TICKS(STEP_MS));
        if (microlink_receive(ml, NULL, answer, &len) == ESP_OK) {
            printf("published: %s\n", text);
            return true;
        }
    }
    const char *problem = microlink_get_problem(ml);
    printf("not published: %s\n", problem[0] ? problem : "no answer");
    return false;
}

void app_main(void)
{
    reading_number++;
    network_start();
    microlink_config_t config;
    microlink_get_default_config(&config);
    config.max_peers = 4;
    microlink_t *ml = microlink_init(&config);
    if (ml == NULL) {
        printf("cannot start: %s\n", microlink_get_init_error());
    } else {
        (void)microlink_connect(ml);
        (void)publish(ml);
        microlink_deinit(ml);
    }
#if CONFIG_IDF_TARGET_LINUX
    exit(0); /* Who started it starts it again. */
#else
    esp_deep_sleep((uint64_t)CONFIG_EXAMPLE_SLEEP_S * 1000000);
#endif
}
