/*
 * Instants in 32 bits; see tick.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/tick.h"

ml_time ml_tick_time(const struct ml_epoch *e, ml_tick t)
{
    if (t == 0) {
        return 0;
    }
    return t == ML_TICK_NEVER ? ML_NEVER : e->start + ((ml_time)(t - 1) << ML_TICK_SHIFT);
}

ml_tick ml_tick_of(const struct ml_epoch *e, ml_time at)
{
    if (at == 0 || at == ML_NEVER) {
        return at == 0 ? 0 : ML_TICK_NEVER;
    }
    return at > e->start ? (ml_tick)((at - e->start) >> ML_TICK_SHIFT) + 1 : 1;
}

bool ml_epoch_is_due(const struct ml_epoch *e, ml_time now)
{
    return now > e->start && now - e->start >= ML_EPOCH_SPAN;
}

ml_time ml_epoch_move(struct ml_epoch *e, ml_time now)
{
    ml_time ticks = (now - ML_EPOCH_KEPT - e->start) >> ML_TICK_SHIFT;

    e->start += ticks << ML_TICK_SHIFT;
    return ticks;
}

ml_tick ml_tick_moved(ml_tick t, ml_time ticks)
{
    if (t == 0 || t == ML_TICK_NEVER) {
        return t;
    }
    return t > ticks ? (ml_tick)(t - ticks) : 1;
}
