/*
 * Sliding window of received counters (RFC 6479's ring of blocks, without its division).
 *
 * The caller gives the ring, so that a keypair that only receives stragglers can do with a small one. A counter is
 * accepted once, and only when it is at most ML_WG_REPLAY_SPAN(blocks) behind the highest accepted one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_REPLAY_H
#define ML_WG_REPLAY_H

#include "base/bytes.h"

/** Blocks of 32 counters needed to remember at least @p counters behind the highest: one more, for the block in progress. */
#define ML_WG_REPLAY_BLOCKS(counters) ((counters) / 32 + 1)
/** Counters behind the highest that are always remembered. */
#define ML_WG_REPLAY_SPAN(blocks) (((blocks)-1) * 32)

struct ml_wg_replay {
    uint32_t end[2]; /* highest accepted counter + 1, low and high half; 0: none yet */
    uint16_t pos;    /* ring position of the block of the highest */
    uint16_t blocks; /* size of the ring, 2.. */
};

void ml_wg_replay_init(struct ml_wg_replay *r, uint32_t *ring, uint16_t blocks);
/** True when @p counter was not seen and is not too old. Changes nothing: for before the packet is authenticated. */
bool ml_wg_replay_is_new(const struct ml_wg_replay *r, const uint32_t *ring, uint64_t counter);
/** The same test, and remembers @p counter when it passes: after authentication. @p counter < 2^64 - 1. */
bool ml_wg_replay_accept(struct ml_wg_replay *r, uint32_t *ring, uint64_t counter);
/** Takes over the newest part of @p from that fits a ring of @p blocks; what no longer fits counts as too old. */
void ml_wg_replay_shrink(struct ml_wg_replay *r, uint32_t *ring, uint16_t blocks, const struct ml_wg_replay *from,
                         const uint32_t *from_ring);

#endif
