/*
 * Relay regions and scores, kept in order of ids. See derp_table.h; rules in control.md 8.4.
 *
 * SPDX-License-Identifier: MIT
 */
#include "map/derp_table.h"

#include "base/bytes.h"

enum { MAX_REGIONS = 1024 };

size_t ml_derp_table_mem(uint16_t max_regions)
{
    if (max_regions == 0 || max_regions > MAX_REGIONS) {
        return 0;
    }
    return max_regions * (sizeof(struct ml_derp_score) + sizeof(struct ml_derp_region) + 1);
}

void ml_derp_table_init(struct ml_derp_table *t, uint16_t max_regions, void *mem)
{
    ml_zero(t);
    if (max_regions == 0 || max_regions > MAX_REGIONS) {
        return;
    }
    t->max_regions = max_regions;
    t->scores = mem;
    t->regions = (void *)(t->scores + max_regions);
    t->named = (void *)(t->regions + max_regions);
}

void ml_derp_table_clear(struct ml_derp_table *t)
{
    t->region_count = 0;
    t->score_count = 0;
    t->omit_default = false;
    t->is_replacing = false;
    t->is_sweeping = false;
}

/* Where a region is, or would go. */
static uint16_t position(const struct ml_derp_table *t, uint16_t id)
{
    uint16_t at = 0;
    while (at < t->region_count && t->regions[at].id < id) {
        at++;
    }
    return at;
}

const struct ml_derp_region *ml_derp_table_find(const struct ml_derp_table *t, uint16_t id)
{
    uint16_t at = position(t, id);
    return at < t->region_count && t->regions[at].id == id ? &t->regions[at] : NULL;
}

uint32_t ml_derp_table_score(const struct ml_derp_table *t, uint16_t id)
{
    for (uint16_t i = 0; i < t->score_count; i++) {
        if (t->scores[i].id == id) {
            return t->scores[i].milli;
        }
    }
    return ML_DERP_SCORE_ONE;
}

static void remove_at(struct ml_derp_table *t, uint16_t at, struct ml_derp_change *c)
{
    size_t behind = (size_t)(t->region_count - at - 1);

    c->what |= ML_DERP_REGION_REMOVED;
    c->id = t->regions[at].id;
    c->old_id = t->regions[at].id;
    memmove(&t->regions[at], &t->regions[at + 1], behind * sizeof t->regions[0]);
    memmove(&t->named[at], &t->named[at + 1], behind);
    t->region_count--;
}

/* How much a region is worth keeping: home, then one that a peer lives in, then any. */
static int worth(uint16_t id, const struct ml_peer_table *peers, uint16_t home)
{
    if (id == home) {
        return 2;
    }
    for (uint16_t i = 0; peers && i < peers->slot_count; i++) {
        if (peers->peers[i].id && peers->peers[i].home_region == id) {
            return 1;
        }
    }
    return 0;
}

/* The region that leaves for a new one in a full table: one not named by the new map, else the least useful, highest id. */
static bool find_victim(const struct ml_derp_table *t, uint16_t id, const struct ml_peer_table *peers, uint16_t home,
                        uint16_t *at)
{
    int least = worth(id, peers, home);
    uint16_t least_id = id;
    bool is_found = false;

    for (uint16_t i = t->region_count; i-- > 0;) {
        if (t->is_replacing && !t->named[i]) {
            *at = i;
            return true;
        }
        int w = worth(t->regions[i].id, peers, home);
        if (w < least || (w == least && t->regions[i].id > least_id)) {
            least = w;
            least_id = t->regions[i].id;
            *at = i;
            is_found = true;
        }
    }
    return is_found;
}

static bool same_server(const struct ml_derp_node *a, const struct ml_derp_node *b)
{
    return memcmp(a->host, b->host, sizeof a->host) == 0 && a->has_pin == b->has_pin && memcmp(&a->ip4, &b->ip4, 16) == 0 &&
           memcmp(&a->ip6, &b->ip6, 16) == 0 && a->no_ip4 == b->no_ip4 && a->no_ip6 == b->no_ip6 &&
           a->is_stun_only == b->is_stun_only && a->is_insecure_for_tests == b->is_insecure_for_tests &&
           a->stun_port == b->stun_port && a->derp_port == b->derp_port;
}

static bool same_region(const struct ml_derp_region *a, const struct ml_derp_region *b)
{
    if (a->node_count != b->node_count || a->avoid != b->avoid || a->no_measure_no_home != b->no_measure_no_home ||
        strcmp(a->code, b->code) != 0 || strcmp(a->name, b->name) != 0) {
        return false;
    }
    for (uint8_t i = 0; i < a->node_count && i < ML_DERP_NODES; i++) {
        if (!same_server(&a->nodes[i], &b->nodes[i])) {
            return false;
        }
    }
    return true;
}

static void put_region(struct ml_derp_table *t, const struct ml_derp_region *r, const struct ml_peer_table *peers,
                       uint16_t home, struct ml_derp_change *c)
{
    if (!r || r->id == 0 || r->node_count > ML_DERP_NODES) {
        return;
    }
    uint16_t at = position(t, r->id);
    if (at < t->region_count && t->regions[at].id == r->id) {
        t->named[at] = 1;
        if (!same_region(&t->regions[at], r)) {
            t->regions[at] = *r;
            c->what = ML_DERP_REGION_CHANGED;
            c->id = r->id;
        }
        return;
    }
    if (t->region_count == t->max_regions) {
        uint16_t victim = 0;
        bool has_victim = find_victim(t, r->id, peers, home, &victim);
        if (!has_victim || t->named[victim]) {
            t->over_limit++;
        }
        if (!has_victim) {
            return;
        }
        remove_at(t, victim, c);
        at = position(t, r->id);
    }
    size_t behind = (size_t)(t->region_count - at);
    memmove(&t->regions[at + 1], &t->regions[at], behind * sizeof t->regions[0]);
    memmove(&t->named[at + 1], &t->named[at], behind);
    t->regions[at] = *r;
    t->named[at] = 1;
    t->region_count++;
    c->what |= ML_DERP_REGION_ADDED;
    c->id = r->id;
}

static void put_score(struct ml_derp_table *t, uint16_t id, uint32_t milli, struct ml_derp_change *c)
{
    uint16_t i = 0;

    while (i < t->score_count && t->scores[i].id != id) {
        i++;
    }
    if (milli == 0 || i == t->max_regions) {
        return; /* not above zero is to be ignored; a score too many counts as 1.0 */
    }
    t->scores[i] = (struct ml_derp_score){.id = id, .milli = milli};
    t->score_count = i == t->score_count ? (uint16_t)(i + 1) : t->score_count;
    c->what = ML_DERP_SCORES_CHANGED;
}

void ml_derp_table_apply(struct ml_derp_table *t, const struct ml_delta *d, const struct ml_peer_table *peers, uint16_t home,
                         struct ml_derp_change *change)
{
    ml_zero(change);
    switch (d->type) {
    case ML_DELTA_BEGIN:
    case ML_DELTA_ABORT:
        t->is_replacing = false; /* a map that broke off removes nothing */
        t->is_sweeping = false;
        break;
    case ML_DELTA_DERP_BEGIN:
        t->is_replacing = true;
        t->omit_default = d->flag;
        memset(t->named, 0, t->max_regions);
        break;
    case ML_DELTA_DERP_REGION:
        put_region(t, d->region, peers, home, change);
        break;
    case ML_DELTA_DERP_END:
        t->is_sweeping = t->is_replacing;
        t->is_replacing = false;
        break;
    case ML_DELTA_DERP_SCORE_RESET:
        change->what = t->score_count ? ML_DERP_SCORES_CHANGED : 0;
        t->score_count = 0;
        break;
    case ML_DELTA_DERP_SCORE:
        if (d->id && d->id <= UINT16_MAX) {
            put_score(t, (uint16_t)d->id, d->score_milli, change);
        }
        break;
    default:
        break;
    }
}

bool ml_derp_table_sweep(struct ml_derp_table *t, struct ml_derp_change *change)
{
    ml_zero(change);
    for (uint16_t i = t->region_count; t->is_sweeping && i-- > 0;) {
        if (!t->named[i]) {
            remove_at(t, i, change);
            return true;
        }
    }
    t->is_sweeping = false;
    return false;
}
