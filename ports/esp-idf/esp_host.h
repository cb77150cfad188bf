/*
 * What ESP-IDF adds to the application API (ports/common/host.h): a task, a lock, an interface and events.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ESP_HOST_H
#define ML_ESP_HOST_H

#include "microlink.h"

/* A thread-local variable would cost its size in every task of the system; a plain one is enough under the lock. */
#define ML_HOST_THREAD_LOCAL

bool ml_host_init(void);
void ml_host_lock(void);
void ml_host_unlock(void);
bool ml_host_call(void (*fn)(void *), void *arg);
bool ml_host_start(microlink_t *ml);
void ml_host_stop(microlink_t *ml);
bool ml_host_drives(void);
void ml_host_wake(void);
void ml_host_defaults(microlink_config_t *config);
void ml_host_event(const microlink_event_t *event);
bool ml_host_input(const uint8_t *packet, size_t len);
/** @brief Whether the calling task may do the node's work: not when there is a task for it, and another calls. */
bool ml_host_works_here(void);

#endif
