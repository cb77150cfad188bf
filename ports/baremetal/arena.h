/*
 * The board's one heap: a fixed block shared by TLS, lwIP and the application, first fit, neighbours joined when freed, 8 bytes of book-keeping a
 * block. Counts per tenant what is used and the most that ever was. The engine never allocates from it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BOARD_ARENA_H
#define ML_BOARD_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The application has memory here only in images of the examples (posix/posix.c). */
enum ml_arena_tenant { ML_ARENA_TLS, ML_ARENA_LWIP, ML_ARENA_APP, ML_ARENA_TENANTS };

struct ml_arena_stats {
    size_t used[ML_ARENA_TENANTS], peak[ML_ARENA_TENANTS]; /**< Bytes with book-keeping. */
    size_t used_all, peak_all;
    uint32_t failed; /**< Requests that found no room, or were made to fail. */
};

/** @brief Zeroed memory, aligned to 8 bytes; NULL when there is none. */
void *ml_arena_alloc(enum ml_arena_tenant who, size_t len);
/** @param p  NULL does nothing. A block that is not one of ours, or freed twice, stops the board. */
void ml_arena_free(void *p);
void ml_arena_get_stats(struct ml_arena_stats *out);
/** @brief Make every @p n-th request fail from now on, 1: all of them; 0: none. For tests. */
void ml_arena_fail_every(uint32_t n);

/** @brief Make the @p n-th request from now on fail, once; 0: none. For tests. */
void ml_arena_fail_at(uint32_t n);

/* The forms the two libraries ask for. */
void *ml_arena_tls_calloc(size_t n, size_t len);
void *ml_arena_lwip_malloc(size_t len);
void *ml_arena_lwip_calloc(size_t n, size_t len);
void ml_arena_lwip_free(void *p);

#endif
