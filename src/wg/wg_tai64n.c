/*
 * Timestamps that rise across power cycles; see wg_tai64n.h.
 *
 *   1. At boot the clock starts at the stored mark, or at a time known to be past if that is later.
 *   2. Before the first stamp, and when less than ten minutes of the reserve are left, a mark one hour ahead is stored.
 *   3. A stamp is the clock rounded down to 16.8 ms (official senders hide the rest of the clock), or the previous stamp
 *      plus one such step where that is later.
 *   4. Trusted time moves the clock forward only. A jump past the mark makes stamps wait for a new one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg_tai64n.h"

#define TAI_EPOCH  UINT64_C(0x400000000000000a) /* label of 1970-01-01 00:00:00 as WireGuard counts it */
#define STEP_NS    UINT32_C(0x01000000)
#define NS_PER_SEC UINT32_C(1000000000)
#define LATEST_SEC UINT64_C(7258118400) /* 2200-01-01: later times are nonsense, and would poison the mark for ever */

void ml_wg_tai_init(struct ml_wg_tai64n *t, ml_time now, const uint8_t mark[ML_WG_STAMP_LEN], uint64_t unix_sec)
{
    uint64_t base = unix_sec < LATEST_SEC ? unix_sec : 0;

    ml_zero(t);
    if (mark) {
        uint64_t label = ml_get_be64(mark);
        if (label >= TAI_EPOCH && label - TAI_EPOCH < 2 * LATEST_SEC) {
            t->mark_sec = label - TAI_EPOCH;
            base = t->mark_sec > base ? t->mark_sec : base;
        }
    }
    t->base_at = now;
    t->base_ns = base * NS_PER_SEC;
}

/* Never inlined: a call is shorter. */
__attribute__((noinline)) static uint64_t clock_ns(const struct ml_wg_tai64n *t, ml_time now)
{
    return t->base_ns + (now > t->base_at ? now - t->base_at : 0) * 1000;
}

void ml_wg_tai_set_wall(struct ml_wg_tai64n *t, ml_time now, uint64_t unix_ms)
{
    if (unix_ms < LATEST_SEC * 1000 && unix_ms * 1000000 > clock_ns(t, now)) {
        t->base_at = now;
        t->base_ns = unix_ms * 1000000;
    }
}

/* The stamp that would be given now. */
static struct ml_tai64n next_stamp(const struct ml_wg_tai64n *t, ml_time now)
{
    uint64_t ns = clock_ns(t, now);
    struct ml_tai64n s = {.sec = ns / NS_PER_SEC, .nsec = (uint32_t)(ns % NS_PER_SEC) & ~(STEP_NS - 1)};

    if (t->last.sec > s.sec || (t->last.sec == s.sec && t->last.nsec >= s.nsec)) {
        s = t->last;
        s.nsec += STEP_NS;
        if (s.nsec >= NS_PER_SEC) {
            s.sec++;
            s.nsec = 0;
        }
    }
    return s;
}

bool ml_wg_tai_poll_mark(struct ml_wg_tai64n *t, ml_time now, uint8_t mark[ML_WG_STAMP_LEN])
{
    uint64_t sec = next_stamp(t, now).sec;

    if (t->asked_sec != 0 || sec + ML_WG_TAI_RENEW_SEC < t->mark_sec) {
        return false;
    }
    t->asked_sec = sec + ML_WG_TAI_RESERVE_SEC;
    ml_put_be64(mark, TAI_EPOCH + t->asked_sec);
    ml_put_be32(mark + 8, 0);
    return true;
}

void ml_wg_tai_stored(struct ml_wg_tai64n *t, bool ok)
{
    (void)ok; /* either way stamps go on: being ignored for minutes after a reboot is better than never connecting */
    if (t->asked_sec != 0) {
        t->mark_sec = t->asked_sec;
        t->asked_sec = 0;
    }
}

bool ml_wg_tai_is_ready(const struct ml_wg_tai64n *t, ml_time now)
{
    return next_stamp(t, now).sec < t->mark_sec;
}

void ml_wg_tai_stamp(struct ml_wg_tai64n *t, ml_time now, uint8_t out[ML_WG_STAMP_LEN])
{
    t->last = next_stamp(t, now);
    ml_put_be64(out, TAI_EPOCH + t->last.sec);
    ml_put_be32(out + 8, t->last.nsec);
}
