/*
 * Names to addresses without blocking the loop: getaddrinfo() in a short-lived thread per look-up.
 *
 * The thread shares nothing with the loop but one record and a pipe; a look-up that is no longer wanted is abandoned, and
 * the thread frees the record when the system's resolver comes back.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_COMMON_RESOLVER_H
#define ML_COMMON_RESOLVER_H

#include "loop.h"

/** Look-ups at a time; more fail at once (as if the name did not resolve). */
#define ML_RESOLVER_SLOTS 8
/** Addresses kept of one answer. */
#define ML_RESOLVER_ADDRS 8

/** @p count 0: does not resolve. */
typedef void (*ml_resolved_fn)(void *ctx, uint32_t token, const ml_ip *ips, size_t count);

struct ml_lookup;
struct ml_resolver {
    struct ml_loop *loop;
    int pipe[2], slot;
    struct ml_lookup *lookup[ML_RESOLVER_SLOTS];
};

bool ml_resolver_open(struct ml_resolver *r, struct ml_loop *loop);
/** @brief Abandons what runs. */
void ml_resolver_close(struct ml_resolver *r);
/** @brief Start; @p fn is called from the loop. False when no slot or thread is to be had. */
bool ml_resolver_start(struct ml_resolver *r, const char *host, uint32_t token, ml_resolved_fn fn, void *ctx);
/** @brief No answer is wanted any more for @p ctx and @p token. */
void ml_resolver_cancel(struct ml_resolver *r, const void *ctx, uint32_t token);

#endif
