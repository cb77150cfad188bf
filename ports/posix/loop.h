/*
 * Waiting on descriptors: a table of watches over ppoll(), one thread, no tick.
 *
 * Owns nothing but the table; descriptors belong to whoever added them. A watch may be added, changed or removed from
 * inside any callback.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_LOOP_H
#define ML_POSIX_LOOP_H

#include "microlink/types.h"

#include <poll.h>

/** Sockets, streams, control connections and relayed connections of one process; more are refused. */
#define ML_LOOP_WATCHES 96

typedef void (*ml_watch_fn)(void *ctx, short revents);

struct ml_loop {
    struct pollfd fds[ML_LOOP_WATCHES]; /**< fd -1: poll() skips it. */
    struct {
        int fd; /**< -1: free. */
        ml_watch_fn fn;
        void *ctx;
    } on[ML_LOOP_WATCHES];
    size_t count; /**< Slots ever used. */
};

void ml_loop_init(struct ml_loop *l);
/** @return the slot of the watch, or -1 when the table is full. */
int ml_loop_add(struct ml_loop *l, int fd, short events, ml_watch_fn fn, void *ctx);
/** @brief Change what is waited for; 0 waits for nothing, not even for a hang-up (which poll() would repeat for ever). */
void ml_loop_set(struct ml_loop *l, int slot, short events);
/** @brief Stop watching; -1 is harmless. Does not close the descriptor. */
void ml_loop_remove(struct ml_loop *l, int slot);
/**
 * @brief Wait at most @p usec microseconds (ML_NEVER: without end, 0: not at all), then call what is ready.
 * @return Watches called; 0 after a timeout or a signal.
 */
int ml_loop_wait(struct ml_loop *l, uint64_t usec);

/** @brief Monotonic microseconds that go on during suspend where the system can. */
ml_time ml_sys_now(void);
/** @brief Milliseconds since 1970; 0 when the clock is not plausible (before 2025). */
uint64_t ml_sys_wall_ms(void);
/** @brief ml_random_fn over the kernel's generator; waits for it at early boot, ends the process if there is none. */
void ml_sys_random(void *ctx, uint8_t *buf, size_t len);
/** @brief Non-blocking and close-on-exec. @return 0, or -1 with errno. */
int ml_sys_prepare_fd(int fd);

/** @brief A connect() under way has ended, one way or the other. */
bool ml_sys_is_writable(int fd);

#endif
