/*
 * The board's one heap (see arena.h).
 *
 * Blocks lie side by side, each behind a header with its own length and that of the block before it, so that both
 * neighbours of a freed block are found at once. First fit from the start keeps long-lived blocks low.
 *
 * SPDX-License-Identifier: MIT
 */
#include "arena.h"

#include "board/board.h"

#include <string.h>

#ifndef ML_BOARD_ARENA_BYTES
#define ML_BOARD_ARENA_BYTES 65536
#endif
#define UNIT 8u

/* Lengths in units of 8 bytes with the header; enough for 512 KB. */
struct head {
    uint16_t len, before;
    uint16_t mark; /* MARK_FREE, or MARK_USED + tenant */
    uint16_t check;
};

_Static_assert(sizeof(struct head) == UNIT, "one unit of book-keeping");
_Static_assert(ML_BOARD_ARENA_BYTES / UNIT <= UINT16_MAX, "arena too large for its headers");

#define MARK_FREE 0xf7eeu
#define MARK_USED 0x05edu

static uint64_t memory[ML_BOARD_ARENA_BYTES / UNIT];
static struct ml_arena_stats stats;
static uint32_t fail_every, fail_at, requests;

#define UNITS (sizeof memory / UNIT)

static struct head *at(size_t unit)
{
    return (struct head *)(void *)&memory[unit];
}

static void set(size_t unit, size_t len, size_t before, uint16_t mark)
{
    *at(unit) = (struct head){(uint16_t)len, (uint16_t)before, mark, (uint16_t)(len ^ before ^ mark)};
}

static size_t unit_of(const struct head *h)
{
    return (size_t)((const uint64_t *)(const void *)h - memory);
}

static void set_before(size_t unit, size_t before)
{
    if (unit < UNITS) {
        set(unit, at(unit)->len, before, at(unit)->mark);
    }
}

static void count(enum ml_arena_tenant who, size_t units, bool more)
{
    size_t bytes = units * UNIT;
    stats.used[who] = more ? stats.used[who] + bytes : stats.used[who] - bytes;
    stats.used_all = more ? stats.used_all + bytes : stats.used_all - bytes;
    if (stats.used[who] > stats.peak[who]) {
        stats.peak[who] = stats.used[who];
    }
    if (stats.used_all > stats.peak_all) {
        stats.peak_all = stats.used_all;
    }
}

void *ml_arena_alloc(enum ml_arena_tenant who, size_t len)
{
    size_t need = (len + UNIT - 1) / UNIT + 1;
    if (at(0)->len == 0) {
        set(0, UNITS, 0, MARK_FREE);
    }
    bool is_refused = fail_every != 0 && ++requests % fail_every == 0;
    if (fail_at != 0) {
        is_refused |= --fail_at == 0;
    }
    if (is_refused) {
        stats.failed++;
        return NULL;
    }
    for (size_t u = 0; len <= sizeof memory && u < UNITS; u += at(u)->len) {
        struct head h = *at(u);
        if (h.mark != MARK_FREE || h.len < need) {
            continue;
        }
        size_t rest = h.len - need;
        if (rest > 0) {
            set(u + need, rest, need, MARK_FREE);
            set_before(u + h.len, rest);
        }
        set(u, need, h.before, (uint16_t)(MARK_USED + who));
        count(who, need, true);
        return memset(&memory[u + 1], 0, (need - 1) * UNIT);
    }
    stats.failed++;
    return NULL;
}

void ml_arena_free(void *p)
{
    if (p == NULL) {
        return;
    }
    uint64_t *block = p;
    if (block <= memory || block >= memory + UNITS) {
        ml_board_panic("freed memory that is not of the arena");
    }
    struct head h = *(struct head *)(void *)(block - 1);
    size_t u = unit_of((struct head *)(void *)(block - 1));
    unsigned who = h.mark - MARK_USED;
    if (who >= ML_ARENA_TENANTS || h.check != (uint16_t)(h.len ^ h.before ^ h.mark)) {
        ml_board_panic("freed twice, or the heap was overwritten");
    }
    count((enum ml_arena_tenant)who, h.len, false);
    size_t len = h.len, first = u, before = h.before;
    memset(p, 0, (len - 1) * UNIT); /* keys of TLS sessions lie here too */
    if (u + len < UNITS && at(u + len)->mark == MARK_FREE) {
        len += at(u + len)->len;
    }
    if (before > 0 && at(u - before)->mark == MARK_FREE) {
        first = u - before;
        len += before;
        before = at(first)->before;
    }
    set(first, len, before, MARK_FREE);
    set_before(first + len, len);
}

void ml_arena_get_stats(struct ml_arena_stats *out)
{
    *out = stats;
}

void ml_arena_fail_every(uint32_t n)
{
    fail_every = n;
}

void ml_arena_fail_at(uint32_t n)
{
    fail_at = n;
}

void *ml_arena_tls_calloc(size_t n, size_t len)
{
    return len != 0 && n > SIZE_MAX / len ? NULL : ml_arena_alloc(ML_ARENA_TLS, n * len);
}

/* lwIP cannot go on without the few small blocks of its timers: when the arena is exhausted they come from here. */
#define RESERVE_BLOCKS 12
#define RESERVE_LEN    (4 * sizeof(void *)) /* struct sys_timeo; a segment of TCP is larger and waits */

static uint64_t reserve[RESERVE_BLOCKS][RESERVE_LEN / UNIT];
static bool is_reserve_used[RESERVE_BLOCKS];

void *ml_arena_lwip_malloc(size_t len)
{
    void *p = ml_arena_alloc(ML_ARENA_LWIP, len);
    for (size_t i = 0; p == NULL && len <= RESERVE_LEN && i < RESERVE_BLOCKS; i++) {
        if (!is_reserve_used[i]) {
            is_reserve_used[i] = true;
            p = memset(reserve[i], 0, RESERVE_LEN);
        }
    }
    return p;
}

void *ml_arena_lwip_calloc(size_t n, size_t len)
{
    return len != 0 && n > SIZE_MAX / len ? NULL : ml_arena_lwip_malloc(n * len);
}

void ml_arena_lwip_free(void *p)
{
    for (size_t i = 0; i < RESERVE_BLOCKS; i++) {
        if (p == (void *)reserve[i]) {
            is_reserve_used[i] = false;
            return;
        }
    }
    ml_arena_free(p);
}
