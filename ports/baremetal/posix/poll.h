/*
 * poll() as the examples use it (posix.c): the C library of the board has no such header.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BAREMETAL_POLL_H
#define ML_BAREMETAL_POLL_H

typedef unsigned int nfds_t;
struct pollfd {
    int fd;
    short events, revents;
};

/** @brief There are no descriptors: waits for Ethernet, the console, or @p timeout_ms (negative: without a bound). @return 0 */
int poll(struct pollfd *fds, nfds_t count, int timeout_ms);

#endif
