/*
 * The relay regions that are kept of a DERP map, and their scores (control.md 8.4). Bounded, in caller's memory.
 *
 * When there are more regions than slots, the home region is kept first, then regions that a peer lives in, then the lowest
 * ids; the rest is counted and left out until the next DERP map. Knows nothing of latencies or connections.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MAP_DERP_TABLE_H
#define ML_MAP_DERP_TABLE_H

#include "map/netmap.h"

#define ML_DERP_SCORE_ONE 1000 /**< A score of 1.0: latencies count as they are. */

enum {
    ML_DERP_REGION_REMOVED = 1 << 0, /**< Close connections to it. With ADDED: the slot was given to another region. */
    ML_DERP_REGION_ADDED = 1 << 1,
    ML_DERP_REGION_CHANGED = 1 << 2, /**< Its servers differ from before. */
    ML_DERP_SCORES_CHANGED = 1 << 3
};
struct ml_derp_change {
    uint32_t what;
    uint16_t id;     /**< ADDED, CHANGED, or REMOVED alone: which region. */
    uint16_t old_id; /**< REMOVED: which region is gone. */
};

struct ml_derp_score {
    uint16_t id;
    uint32_t milli;
};

struct ml_derp_table {
    struct ml_derp_region *regions; /**< region_count of them, in order of ids. Pointers die with the next apply. */
    uint16_t region_count;
    uint32_t over_limit; /**< Regions that had no slot, since init. */
    bool omit_default;   /**< omitDefaultRegions as last sent. */
    /* Private. */
    uint16_t max_regions, score_count;
    struct ml_derp_score *scores;
    uint8_t *named;
    bool is_replacing, is_sweeping;
};

/** Bytes of memory for @p max_regions (1..1024) regions, aligned for max_align_t; 0 when that is impossible. */
size_t ml_derp_table_mem(uint16_t max_regions);
void ml_derp_table_init(struct ml_derp_table *t, uint16_t max_regions, void *mem);
void ml_derp_table_clear(struct ml_derp_table *t);
/**
 * Applies one delta; those that are not about relays are ignored, but BEGIN and ABORT must be given too. After DERP_END call
 * ml_derp_table_sweep() until it returns false, before the next delta.
 * @param peers  To know which regions peers live in; may be NULL.
 * @param home   Our home region, 0 = none.
 */
void ml_derp_table_apply(struct ml_derp_table *t, const struct ml_delta *d, const struct ml_peer_table *peers, uint16_t home,
                         struct ml_derp_change *change);
bool ml_derp_table_sweep(struct ml_derp_table *t, struct ml_derp_change *change);
/** The region with this id, or NULL. */
const struct ml_derp_region *ml_derp_table_find(const struct ml_derp_table *t, uint16_t id);
/** The factor for a region's latency in thousandths; ML_DERP_SCORE_ONE unless control set another. */
uint32_t ml_derp_table_score(const struct ml_derp_table *t, uint16_t id);

#endif
