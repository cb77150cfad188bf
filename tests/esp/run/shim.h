/*
 * What the tests may change in shim.c. SPDX-License-Identifier: MIT
 */
#ifndef SHIM_H
#define SHIM_H

#include "esp_err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHIM_NVS_ENTRIES 12
struct shim_entry {
    char key[16];
    uint8_t data[1024];
    size_t len;
};
struct shim_nvs {
    struct shim_entry entry[SHIM_NVS_ENTRIES];
    esp_err_t open_error, write_error;
    int open_count;
};
extern struct shim_nvs shim_nvs;
/** Allocations by FreeRTOS and heap_caps that still succeed; -1: all. */
extern int shim_allocs_left;

void shim_start(void);
void shim_ip_event(void);

#endif
