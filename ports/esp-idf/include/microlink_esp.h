/*
 * What microlink offers on ESP-IDF beyond microlink.h: its network interface, its events, and what sleep costs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MICROLINK_ESP_H
#define MICROLINK_ESP_H

#include "esp_event.h"
#include "esp_netif.h"
#include "microlink.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Every event of microlink.h is posted to the default event loop under this base; the id is the microlink_event_type_t. */
ESP_EVENT_DECLARE_BASE(MICROLINK_EVENT);

/** Event data. Posted without waiting: when the event loop's queue is full the event is lost, but not its effect. */
typedef struct {
    microlink_event_t event; /**< `text` is "" here. */
    char text[128];          /**< The event's text, cut to fit. */
} microlink_esp_event_t;

/** @brief The interface of the tunnel; NULL before the first tailnet address, or without CONFIG_MICROLINK_NETIF. */
esp_netif_t *microlink_esp_get_netif(void);
/** @brief How often the node woke up since start. Two readings an hour apart tell what it costs a sleeping device. */
uint32_t microlink_esp_get_wake_count(void);

#ifdef __cplusplus
}
#endif

#endif
