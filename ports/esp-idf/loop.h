/*
 * Waiting on descriptors with lwIP's select(), and what every part of the port asks the system for: time, clock, entropy.
 *
 * The same functions as the POSIX port's, so that ports/common/stream.c serves both. While it waits the host's lock is
 * released (esp_host.h): that is when other tasks get their turn. Callbacks run with the lock held.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ESP_LOOP_H
#define ML_ESP_LOOP_H

#include "microlink/types.h"

#include <sys/socket.h>

/* Some versions of lwIP and ESP-IDF bring these along, with values of their own; port.c translates for the application. */
#ifndef POLLIN
#define POLLIN  1
#define POLLOUT 4
#endif

/** Two UDP sockets, the wake-up, streams and a second connect for each of two; more are refused. */
#define ML_LOOP_WATCHES 16

typedef void (*ml_watch_fn)(void *ctx, short revents);

struct ml_watch {
    int fd; /**< -1: free. */
    short events;
    ml_watch_fn fn;
    void *ctx;
};

struct ml_loop {
    struct ml_watch on[ML_LOOP_WATCHES];
};

void ml_loop_init(struct ml_loop *l);
/** @return the slot of the watch, or -1 when the table is full. */
int ml_loop_add(struct ml_loop *l, int fd, short events, ml_watch_fn fn, void *ctx);
/** @brief Change what is waited for; 0 waits for nothing. */
void ml_loop_set(struct ml_loop *l, int slot, short events);
/** @brief Stop watching; -1 is harmless. Does not close the descriptor. */
void ml_loop_remove(struct ml_loop *l, int slot);
/** @brief Wait at most @p usec microseconds (ML_NEVER: without end), then call what is ready. @return watches called */
int ml_loop_wait(struct ml_loop *l, uint64_t usec);

/** @brief Monotonic microseconds; ESP-IDF corrects the clock behind it after light sleep. */
ml_time ml_sys_now(void);
/** @brief Milliseconds since 1970; 0 when the clock was never set (before 2025). */
uint64_t ml_sys_wall_ms(void);
/** @brief ml_random_fn over the hardware generator. See docs/esp-idf.md on entropy without radio. */
void ml_sys_random(void *ctx, uint8_t *buf, size_t len);
/** @brief Make a socket non-blocking. @return 0, or -1 with errno. */
int ml_sys_prepare_fd(int fd);
/** @brief A connect() under way has ended, one way or the other. */
bool ml_sys_is_writable(int fd);

#endif
