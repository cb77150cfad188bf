/*
 * Which region is our home: the rules of dataplane.md 6.4 and the history of latencies they look at.
 *
 * The home must not flap, because each change makes every peer learn a new place to reach us. Arithmetic is in nanoseconds as
 * in the official client, whose integer divisions decide ties.
 *
 * SPDX-License-Identifier: MIT
 */
#include "path/netcheck_internal.h"

#define HISTORY          ML_SEC(5 * 60 + 5)
#define FRAME_RECENT     ML_SEC(8)   /* PreferredDERPFrameTime */
#define KEEPALIVE_RECENT ML_SEC(120) /* PreferredDERPKeepAliveTimeout */

enum { ABSOLUTE_DIFF_NS = 10 * 1000 * 1000 };

uint32_t ml_netcheck_now(const struct ml_netcheck_region *r)
{
    if (r->now4_us && r->now6_us) {
        return r->now4_us < r->now6_us ? r->now4_us : r->now6_us;
    }
    if (r->now4_us || r->now6_us) {
        return r->now4_us ? r->now4_us : r->now6_us;
    }
    return r->now_http_us;
}

uint32_t ml_netcheck_recent(const struct ml_netcheck_region *r, ml_time now)
{
    if (r->best_us && now - r->best_at <= HISTORY) {
        return r->best_us;
    }
    return r->last_us && now - r->last_at <= HISTORY ? r->last_us : 0;
}

static void remember(struct ml_netcheck_region *r, ml_time now, uint32_t us)
{
    uint32_t recent = ml_netcheck_recent(r, now);
    if (recent == 0 || us <= recent) {
        r->best_us = us;
        r->best_at = now;
    } else if (recent != r->best_us) {
        r->best_us = recent; /* the old best has expired; the newest before this one takes its place */
        r->best_at = r->last_at;
    }
    r->last_us = us;
    r->last_at = now;
}

static int64_t scaled_ns(const struct ml_netcheck *n, const struct ml_netcheck_region *r, uint32_t us)
{
    int64_t ns = (int64_t)us * 1000;
    uint32_t score = n->score_milli ? n->score_milli[r->map_index] : 0;
    return score ? ns * score / 1000 : ns;
}

static bool heard_within(const struct ml_netcheck_region *r, ml_time now, ml_time d)
{
    return r && r->derp_heard_at && now - r->derp_heard_at < d;
}

/* Rule 6: nothing is known, so any region is as good as another; but always the same one. */
static uint16_t pick_random(const struct ml_netcheck *n)
{
    uint32_t eligible = 0;
    for (int pass = 0; pass < 2; pass++) {
        uint32_t left = eligible ? n->random_pick % eligible : 0;
        for (size_t i = 0; i < n->region_count; i++) {
            const struct ml_derp_region *m = &n->map[n->regions[i].map_index];
            if (m->no_measure_no_home || m->avoid || m->node_count == 0) {
                continue;
            }
            if (pass == 0) {
                eligible++;
            } else if (left-- == 0) {
                return m->id;
            }
        }
    }
    return 0;
}

uint16_t ml_netcheck_choose_home(struct ml_netcheck *n, ml_time now)
{
    uint16_t old_id = n->report.home_region, home = 0;
    int64_t best = 0, old_now = 0;
    for (size_t i = 0; i < n->region_count; i++) {
        struct ml_netcheck_region *r = &n->regions[i];
        uint32_t us = ml_netcheck_now(r);
        if (us == 0) {
            continue; /* rule 2: only regions present in this report */
        }
        remember(r, now, us);
        int64_t d = scaled_ns(n, r, ml_netcheck_recent(r, now)); /* rule 1 */
        if (r->id == old_id) {
            old_now = scaled_ns(n, r, us);
        }
        if (home == 0 || d < best) {
            best = d;
            home = r->id;
        }
    }
    const struct ml_netcheck_region *old = old_id ? ml_netcheck_region_find(n, old_id) : NULL;
    if (old_id != 0 && home != old_id) { /* rule 3 */
        bool is_accessible =
            old_now != 0 || heard_within(old, now, FRAME_RECENT) || (old && old->derp_heard_at > n->started_at);
        if (is_accessible && (old_now - best < ABSOLUTE_DIFF_NS || best > old_now / 3 * 2)) {
            home = old_id;
        }
    }
    if (home == 0 && heard_within(old, now, KEEPALIVE_RECENT)) { /* rule 5 */
        home = old_id;
    }
    if (home == 0) { /* rule 6 */
        home = old_id ? old_id : pick_random(n);
    }
    if (!n->is_in_map_poll && old_id != 0) { /* rule 7 */
        home = old_id;
    }
    return home;
}
