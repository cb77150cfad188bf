/*
 * ppoll() over a fixed table, and the three things every part of the port asks the system for: time, clock, entropy.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/** 2025-01-01: a clock before it was never set. */
#define PLAUSIBLE_UNIX_MS UINT64_C(1735689600000)

void ml_loop_init(struct ml_loop *l)
{
    *l = (struct ml_loop){0};
    for (size_t i = 0; i < ML_LOOP_WATCHES; i++) {
        l->fds[i].fd = l->on[i].fd = -1;
    }
}

int ml_loop_add(struct ml_loop *l, int fd, short events, ml_watch_fn fn, void *ctx)
{
    for (size_t i = 0; i < ML_LOOP_WATCHES; i++) {
        if (l->on[i].fd < 0) {
            /* revents of a former user of the slot must not reach the new one in this round. */
            l->fds[i] = (struct pollfd){.fd = events ? fd : -1, .events = events};
            l->on[i].fd = fd;
            l->on[i].fn = fn;
            l->on[i].ctx = ctx;
            if (i >= l->count) {
                l->count = i + 1;
            }
            return (int)i;
        }
    }
    return -1;
}

void ml_loop_set(struct ml_loop *l, int slot, short events)
{
    if (slot >= 0) {
        l->fds[slot].fd = events ? l->on[slot].fd : -1;
        l->fds[slot].events = events;
        l->fds[slot].revents &= (short)(events | POLLERR | POLLHUP);
    }
}

void ml_loop_remove(struct ml_loop *l, int slot)
{
    if (slot >= 0) {
        l->fds[slot] = (struct pollfd){.fd = -1};
        l->on[slot].fd = -1;
    }
}

int ml_loop_wait(struct ml_loop *l, uint64_t usec)
{
    struct timespec ts = {.tv_sec = (time_t)(usec / ML_USEC_PER_SEC), .tv_nsec = (long)(usec % ML_USEC_PER_SEC) * 1000};
    int ready = ppoll(l->fds, (nfds_t)l->count, usec == ML_NEVER ? NULL : &ts, NULL);
    int called = 0;
    for (size_t i = 0; ready > 0 && i < l->count; i++) {
        short revents = l->fds[i].revents;
        if (l->fds[i].fd >= 0 && revents != 0) {
            l->fds[i].revents = 0;
            l->on[i].fn(l->on[i].ctx, revents);
            called++;
        }
    }
    return called;
}

ml_time ml_sys_now(void)
{
    struct timespec ts;
#ifdef CLOCK_BOOTTIME
    clock_gettime(CLOCK_BOOTTIME, &ts);
#else
    clock_gettime(CLOCK_MONOTONIC, &ts);
#endif
    return (ml_time)ts.tv_sec * ML_USEC_PER_SEC + (ml_time)ts.tv_nsec / 1000;
}

uint64_t ml_sys_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    uint64_t ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
    return ms < PLAUSIBLE_UNIX_MS ? 0 : ms;
}

void ml_sys_random(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    while (len > 0) {
        ssize_t n = getrandom(buf, len, 0);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            /* Going on with predictable keys would be worse than stopping. */
            fputs("microlink: the system has no source of randomness\n", stderr);
            abort();
        }
        buf += n;
        len -= (size_t)n;
    }
}

int ml_sys_prepare_fd(int fd)
{
    int fl = fcntl(fd, F_GETFL);
    if (fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0) {
        return -1;
    }
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

bool ml_sys_is_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) > 0;
}
