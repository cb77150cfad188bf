/*
 * What a host may add to the application API, beyond a port: a thread that drives the nodes, a lock around them, an IP stack
 * of its own. By default nothing: the program drives with microlink_update() from one thread.
 *
 * A port with more names a header in ML_HOST_HEADER that declares the same functions (ports/esp-idf/esp_host.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_COMMON_HOST_H
#define ML_COMMON_HOST_H

#ifdef ML_HOST_HEADER
#include ML_HOST_HEADER
#else

#include "microlink.h"

#define ML_HOST_THREAD_LOCAL _Thread_local

/** @brief Make ready what the other functions need; harmless when repeated. False: no memory. */
static inline bool ml_host_init(void)
{
    return true;
}
/** @brief Keep other threads out of all nodes; nests. */
static inline void ml_host_lock(void)
{
}
static inline void ml_host_unlock(void)
{
}
/** @brief Call @p fn where there is as much stack as a node needs, and wait for it. Without the lock. False: no memory, not called. */
static inline bool ml_host_call(void (*fn)(void *), void *arg)
{
    fn(arg);
    return true;
}
/** @brief Start driving @p ml with ml_node_step(), if a thread does that here. Called with the lock held. False: no memory. */
static inline bool ml_host_start(microlink_t *ml)
{
    (void)ml;
    return true;
}
/** @brief Stop driving it; returns when the thread is out of the node. Called without the lock. */
static inline void ml_host_stop(microlink_t *ml)
{
    (void)ml;
}
/** @brief A thread drives the nodes, and microlink_update() has nothing to do. */
static inline bool ml_host_drives(void)
{
    return false;
}
/** @brief A command changed what is due: the thread must look at the deadline again. */
static inline void ml_host_wake(void)
{
}
/** @brief The host's own defaults, on top of the common ones. */
static inline void ml_host_defaults(microlink_config_t *config)
{
    (void)config;
}
/** @brief The host's own way to tell of events. */
static inline void ml_host_event(const microlink_event_t *event)
{
    (void)event;
}
/** @brief Offer an IP packet that came out of the tunnel to the host's IP stack. True: it is taken care of. */
static inline bool ml_host_input(const uint8_t *packet, size_t len)
{
    (void)packet, (void)len;
    return false;
}

#endif
#endif
