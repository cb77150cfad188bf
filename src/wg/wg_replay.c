/*
 * Sliding window of received counters; see wg_replay.h.
 *
 * Block b of 32 counters lives at ring position (pos - (head block - b)) mod blocks. Only differences smaller than the ring
 * are ever formed, so a conditional addition replaces the division of 64-bit numbers that small cores do not have.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg_replay.h"

/* In halves, so that the struct is not aligned to 8 bytes on a small core. */
static uint64_t end_of(const struct ml_wg_replay *r)
{
    return (uint64_t)r->end[1] << 32 | r->end[0];
}

static void set_end(struct ml_wg_replay *r, uint64_t end)
{
    r->end[0] = (uint32_t)end;
    r->end[1] = (uint32_t)(end >> 32);
}

void ml_wg_replay_init(struct ml_wg_replay *r, uint32_t *ring, uint16_t blocks)
{
    set_end(r, 0);
    r->pos = 0;
    r->blocks = blocks;
    memset(ring, 0, blocks * sizeof *ring);
}

/* Position of the block `behind` blocks before the head; behind < blocks. */
static uint16_t position(const struct ml_wg_replay *r, uint64_t behind)
{
    uint16_t d = (uint16_t)behind;

    return (uint16_t)(r->pos >= d ? r->pos - d : r->pos + r->blocks - d);
}

bool ml_wg_replay_is_new(const struct ml_wg_replay *r, const uint32_t *ring, uint64_t counter)
{
    if (counter >= end_of(r)) {
        return counter != UINT64_MAX;
    }
    uint64_t highest = end_of(r) - 1;
    if (highest - counter > ML_WG_REPLAY_SPAN((uint64_t)r->blocks)) {
        return false;
    }
    /* At most `blocks - 1` blocks behind, because the span is a whole number of blocks. */
    uint16_t at = position(r, highest / 32 - counter / 32);
    return !(ring[at] & (UINT32_C(1) << (counter % 32)));
}

bool ml_wg_replay_accept(struct ml_wg_replay *r, uint32_t *ring, uint64_t counter)
{
    if (!ml_wg_replay_is_new(r, ring, counter)) {
        return false;
    }
    if (counter >= end_of(r)) {
        uint64_t head = end_of(r) ? (end_of(r) - 1) / 32 : 0;
        uint64_t steps = counter / 32 - head;
        if (steps >= r->blocks) {
            memset(ring, 0, r->blocks * sizeof *ring);
        } else {
            for (; steps > 0; steps--) {
                r->pos = (uint16_t)(r->pos + 1 == r->blocks ? 0 : r->pos + 1);
                ring[r->pos] = 0;
            }
        }
        set_end(r, counter + 1);
    }
    ring[position(r, (end_of(r) - 1) / 32 - counter / 32)] |= UINT32_C(1) << (counter % 32);
    return true;
}

void ml_wg_replay_shrink(struct ml_wg_replay *r, uint32_t *ring, uint16_t blocks, const struct ml_wg_replay *from,
                         const uint32_t *from_ring)
{
    ml_wg_replay_init(r, ring, blocks);
    set_end(r, end_of(from));
    r->pos = (uint16_t)(blocks - 1);
    for (uint16_t behind = 0; behind < blocks && behind < from->blocks; behind++) {
        ring[blocks - 1 - behind] = from_ring[position(from, behind)];
    }
}
