/*
 * The clock behind the timestamps of initiations, for devices without one (dataplane.md 1.6).
 *
 * A responder accepts an initiation only when its stamp is greater than the last it saw from us, for as long as it
 * remembers us. So stamps rise strictly, within a run and across power cycles. For the latter a high-water mark is kept on
 * storage ahead of the clock: no stamp is given at or beyond a mark that is not safely stored, and a run starts at the mark
 * it finds. One write an hour. Storage itself is the port's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_TAI64N_H
#define ML_WG_TAI64N_H

#include "microlink/types.h"
#include "wg/wg_msg.h"

#define ML_WG_TAI_RESERVE_SEC 3600 /* how far a new mark lies ahead of the clock */
#define ML_WG_TAI_RENEW_SEC   600  /* a new mark is asked for when less than this is left */

/** An instant: TAI64 label of the second, nanoseconds with the low 24 bits clear. */
struct ml_tai64n {
    uint64_t sec;
    uint32_t nsec;
};

struct ml_wg_tai64n {
    ml_time base_at;       /* when the clock showed `base_ns` */
    uint64_t base_ns;      /* nanoseconds since the Unix epoch */
    struct ml_tai64n last; /* last stamp given; sec 0: none */
    uint64_t mark_sec;     /* stamps before this second are covered by storage; 0: nothing stored yet */
    uint64_t asked_sec;    /* the mark being stored, 0: none */
};

/**
 * @brief Start the clock.
 * @param mark      The stored high-water mark, or NULL at the first boot.
 * @param unix_sec  A time known to be past (build time), or 0.
 */
void ml_wg_tai_init(struct ml_wg_tai64n *t, ml_time now, const uint8_t mark[ML_WG_STAMP_LEN], uint64_t unix_sec);
/** Trusted time has come. Jumps forward when it lies ahead, never backward. @p unix_ms beyond the year 2200 is ignored. */
void ml_wg_tai_set_wall(struct ml_wg_tai64n *t, ml_time now, uint64_t unix_ms);
/**
 * @brief A mark to put on storage, when one is due: at boot, within ten minutes of the old one, after a jump.
 * @return false when none is due, or the last one asked for has not been answered with ml_wg_tai_stored().
 */
bool ml_wg_tai_poll_mark(struct ml_wg_tai64n *t, ml_time now, uint8_t mark[ML_WG_STAMP_LEN]);
/**
 * @brief The mark of the last poll is stored, or could not be. In the latter case stamps go on for this reserve all the
 *        same (a device without storage still connects; peers may ignore it for some minutes after a reboot).
 */
void ml_wg_tai_stored(struct ml_wg_tai64n *t, bool ok);
/** False while the next stamp would not be covered by a stored mark: initiations wait. */
bool ml_wg_tai_is_ready(const struct ml_wg_tai64n *t, ml_time now);
/** The next stamp, greater than all before. */
void ml_wg_tai_stamp(struct ml_wg_tai64n *t, ml_time now, uint8_t out[ML_WG_STAMP_LEN]);

#endif
