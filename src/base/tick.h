/*
 * Instants in 32 bits, for the tables of which there is one entry a session.
 *
 * A tick is 8 microseconds, counted from an epoch that belongs to the table. Before a tick is stored the owner asks
 * ml_epoch_is_due(), and if so moves the epoch and all of its ticks: that is every five hours or later, and whatever is longer
 * ago than two hours is then two hours ago. So a tick never means another instant than it did, however long the table is used or
 * left alone; only ages beyond two hours are not exact.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BASE_TICK_H
#define ML_BASE_TICK_H

#include "microlink/types.h"

/** 0 and ML_TICK_NEVER stand for the instants 0 and ML_NEVER, 1 for the epoch. */
typedef uint32_t ml_tick;
#define ML_TICK_NEVER UINT32_MAX

enum { ML_TICK_SHIFT = 3 };
#define ML_EPOCH_SPAN (UINT64_C(1) << (31 + ML_TICK_SHIFT)) /* from an epoch to when it is moved: 4.8 hours */
#define ML_EPOCH_KEPT (UINT64_C(1) << (30 + ML_TICK_SHIFT)) /* from a moved epoch to now: 2.4 hours */

struct ml_epoch {
    ml_time start; /* a multiple of a tick */
};

/** An instant that is stored, or 0, or ML_NEVER. */
ml_time ml_tick_time(const struct ml_epoch *e, ml_tick t);
/** @brief The tick to store, rounded down. @p at: while the epoch is not due, at most five hours ahead. */
ml_tick ml_tick_of(const struct ml_epoch *e, ml_time at);
bool ml_epoch_is_due(const struct ml_epoch *e, ml_time now);
/** @brief Moves the epoch; what it returns is for ml_tick_moved(). */
ml_time ml_epoch_move(struct ml_epoch *e, ml_time now);
/** @brief The same instant, counted from an epoch that was moved by @p ticks. */
ml_tick ml_tick_moved(ml_tick t, ml_time ticks);

#endif
