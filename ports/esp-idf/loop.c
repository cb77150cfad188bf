/*
 * select() over a fixed table (see loop.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

#include "esp_host.h"
#include "esp_random.h"

#include <fcntl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

/** 2025-01-01: a clock before it was never set. */
#define PLAUSIBLE_UNIX_MS UINT64_C(1735689600000)
/** lwIP counts a wait in 32-bit milliseconds; longer ones are cut and simply waited for again. */
#define LONGEST_WAIT ML_SEC(3600)

void ml_loop_init(struct ml_loop *l)
{
    *l = (struct ml_loop){0};
    for (size_t i = 0; i < ML_LOOP_WATCHES; i++) {
        l->on[i].fd = -1;
    }
}

int ml_loop_add(struct ml_loop *l, int fd, short events, ml_watch_fn fn, void *ctx)
{
    for (size_t i = 0; i < ML_LOOP_WATCHES; i++) {
        if (l->on[i].fd < 0) {
            l->on[i] = (struct ml_watch){fd, events, fn, ctx};
            return (int)i;
        }
    }
    return -1;
}

void ml_loop_set(struct ml_loop *l, int slot, short events)
{
    if (slot >= 0) {
        l->on[slot].events = events;
    }
}

void ml_loop_remove(struct ml_loop *l, int slot)
{
    if (slot >= 0) {
        l->on[slot] = (struct ml_watch){.fd = -1};
    }
}

int ml_loop_wait(struct ml_loop *l, uint64_t usec)
{
    fd_set readable, writable;
    int watched[ML_LOOP_WATCHES], top = -1, called = 0;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    for (size_t i = 0; i < ML_LOOP_WATCHES; i++) {
        const struct ml_watch *w = &l->on[i];
        watched[i] = w->events ? w->fd : -1;
        if (watched[i] >= 0) {
            if (w->events & POLLIN) {
                FD_SET(w->fd, &readable);
            }
            if (w->events & POLLOUT) {
                FD_SET(w->fd, &writable);
            }
            top = w->fd > top ? w->fd : top;
        }
    }
    usec = usec > LONGEST_WAIT ? LONGEST_WAIT : usec;
    struct timeval tv = {.tv_sec = (time_t)(usec / ML_USEC_PER_SEC), .tv_usec = (suseconds_t)(usec % ML_USEC_PER_SEC)};
    ml_host_unlock();
    int ready = select(top + 1, &readable, &writable, NULL, &tv);
    ml_host_lock();
    for (size_t i = 0; ready > 0 && i < ML_LOOP_WATCHES; i++) {
        struct ml_watch *w = &l->on[i];
        /* A callback, or another task during the wait, may have given the slot to another socket. */
        if (watched[i] < 0 || w->fd != watched[i]) {
            continue;
        }
        short revents = (short)((FD_ISSET(w->fd, &readable) ? POLLIN : 0) | (FD_ISSET(w->fd, &writable) ? POLLOUT : 0));
        revents = (short)(revents & w->events);
        if (revents != 0) {
            w->fn(w->ctx, revents);
            called++;
        }
    }
    return called;
}

ml_time ml_sys_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (ml_time)ts.tv_sec * ML_USEC_PER_SEC + (ml_time)ts.tv_nsec / 1000;
}

uint64_t ml_sys_wall_ms(void)
{
    struct timeval tv;
    gettimeofday(&tv, NULL);
    uint64_t ms = (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000;
    return ms < PLAUSIBLE_UNIX_MS ? 0 : ms;
}

void ml_sys_random(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    esp_fill_random(buf, len);
}

int ml_sys_prepare_fd(int fd)
{
    int flags = fcntl(fd, F_GETFL, 0);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

bool ml_sys_is_writable(int fd)
{
    fd_set set;
    struct timeval none = {0};
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, NULL, &set, NULL, &none) > 0;
}
