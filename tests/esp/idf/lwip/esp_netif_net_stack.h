/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "esp_netif.h"
#include "lwip/netif.h"
struct esp_netif_netstack_config {
    struct {
        err_t (*init_fn)(struct netif *n);
#ifdef ML_CHECK_IDF6
        esp_err_t (*input_fn)(void *n, void *buffer, size_t len, void *eb);
#else
        void (*input_fn)(void *n, void *buffer, size_t len, void *eb);
#endif
    } lwip;
};
