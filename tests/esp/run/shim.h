/*
 * What the tests may change in shim.c. SPDX-License-Identifier: MIT
 */
#ifndef SHIM_H
#define SHIM_H

#include "esp_err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHIM_NVS_ENTRIES 12
struct shim_entry {
    char key[16];
    uint8_t data[3000];
    size_t len;
};
struct shim_nvs {
    struct shim_entry entry[SHIM_NVS_ENTRIES];
    esp_err_t open_error, read_error, write_error;
    int open_count;
    pthread_t opened_by, closed_by;
};
extern struct shim_nvs shim_nvs;
/** Allocations that still succeed; -1: all. */
extern atomic_int shim_allocs_left;
/** Which of the next allocations fails, once; 0: none. */
extern atomic_int shim_fail_in;
/** A datagram that is sent gets lost, and nobody is told. */
extern atomic_int shim_lose_datagrams;
/** A task that has no semaphore of lwIP yet gets none. */
extern atomic_int shim_no_thread_sem;
/** esp_fill_random() repeats itself. */
extern atomic_int shim_not_random;
/** Blocks allocated and not yet freed. */
extern atomic_int shim_blocks;

void shim_start(void);
void shim_ip_event(void);
/** ESP-IDF tells the address of the tunnel's interface as any other. */
void shim_tunnel_ip6_event(void);

#endif
