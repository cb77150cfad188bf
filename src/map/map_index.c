/*
 * Hash indexes of the peer table (open addressing, linear steps, at most half full) and the pool of extra routes.
 *
 * A cell holds a slot; the address index also says which of the two addresses it stands for. Removal closes the gap, so
 * there are no tombstones and a lookup ends at the first free cell.
 *
 * SPDX-License-Identifier: MIT
 */
#include "map/map_private.h"

static struct ml_map_index *index_of(struct ml_map *m, enum ml_map_field field)
{
    switch (field) {
    case ML_FIELD_KEY:
        return &m->key_index;
    case ML_FIELD_DISCO:
        return &m->disco_index;
    default:
        return &m->ip_index;
    }
}

/* The hash of a peer's field; false when the field is unset. */
static bool hash_of(const struct ml_map *m, enum ml_map_field field, uint16_t slot, uint32_t *hash)
{
    const struct ml_peer *p = &m->t.peers[slot];
    ml_ip ip;

    switch (field) {
    case ML_FIELD_KEY:
        *hash = ml_peer_hash(p->key.b, 32);
        return ml_key_is_set(&p->key);
    case ML_FIELD_DISCO:
        *hash = ml_peer_hash(p->disco.b, 32);
        return ml_key_is_set(&p->disco);
    case ML_FIELD_IP4:
        ip = ml_map_peer_ip4(p);
        break;
    default:
        ip = ml_map_peer_ip6(p);
        break;
    }
    *hash = ml_peer_hash(ip.b, 16);
    return ml_ip_is_set(&ip);
}

static uint16_t cell_of(enum ml_map_field field, uint16_t slot)
{
    return field == ML_FIELD_IP6 ? (uint16_t)(slot | ML_PEER_CELL_IP6) : slot;
}

/* The hash by which a cell of this index was placed. */
static uint32_t cell_hash(const struct ml_map *m, enum ml_map_field field, uint16_t cell)
{
    uint32_t hash = 0;
    if (field == ML_FIELD_IP4 || field == ML_FIELD_IP6) {
        field = (cell & ML_PEER_CELL_IP6) ? ML_FIELD_IP6 : ML_FIELD_IP4;
        cell = cell & (uint16_t)~ML_PEER_CELL_IP6;
    }
    hash_of(m, field, cell, &hash);
    return hash;
}

void ml_map_index_add(struct ml_map *m, enum ml_map_field field, uint16_t slot)
{
    struct ml_map_index *x = index_of(m, field);
    uint32_t at = 0;

    if (!hash_of(m, field, slot, &at)) {
        return;
    }
    for (at &= x->mask; x->cell[at] != ML_PEER_NONE;) {
        at = (at + 1) & x->mask;
    }
    x->cell[at] = cell_of(field, slot);
}

void ml_map_index_remove(struct ml_map *m, enum ml_map_field field, uint16_t slot)
{
    struct ml_map_index *x = index_of(m, field);
    uint32_t at = 0;

    if (!hash_of(m, field, slot, &at)) {
        return;
    }
    for (at &= x->mask; x->cell[at] != cell_of(field, slot);) {
        if (x->cell[at] == ML_PEER_NONE) {
            return;
        }
        at = (at + 1) & x->mask;
    }
    /* Move back every later cell of the run whose own place is not behind the gap. */
    uint32_t gap = at;
    for (at = (at + 1) & x->mask; x->cell[at] != ML_PEER_NONE; at = (at + 1) & x->mask) {
        uint32_t home = cell_hash(m, field, x->cell[at]) & x->mask;
        if (((at - home) & x->mask) >= ((at - gap) & x->mask)) {
            x->cell[gap] = x->cell[at];
            gap = at;
        }
    }
    x->cell[gap] = ML_PEER_NONE;
}

uint16_t ml_map_find_key(const struct ml_map *m, const ml_node_key *key)
{
    const struct ml_map_index *x = &m->key_index;

    if (!ml_key_is_set(key)) {
        return ML_PEER_NONE;
    }
    for (uint32_t at = ml_peer_hash(key->b, 32) & x->mask; x->cell[at] != ML_PEER_NONE; at = (at + 1) & x->mask) {
        if (ml_key_equal(&m->t.peers[x->cell[at]].key, key)) {
            return x->cell[at];
        }
    }
    return ML_PEER_NONE;
}

uint16_t ml_map_find_disco(const struct ml_map *m, const ml_disco_key *disco, uint16_t after)
{
    const struct ml_map_index *x = &m->disco_index;
    bool is_past = after == ML_PEER_NONE;

    if (!ml_key_is_set(disco)) {
        return ML_PEER_NONE;
    }
    for (uint32_t at = ml_peer_hash(disco->b, 32) & x->mask; x->cell[at] != ML_PEER_NONE; at = (at + 1) & x->mask) {
        if (is_past && ml_key_equal(&m->t.peers[x->cell[at]].disco, disco)) {
            return x->cell[at];
        }
        is_past = is_past || x->cell[at] == after;
    }
    return ML_PEER_NONE;
}

uint16_t ml_map_find_ip(const struct ml_map *m, const ml_ip *ip)
{
    const struct ml_map_index *x = &m->ip_index;

    if (!ml_ip_is_set(ip)) {
        return ML_PEER_NONE;
    }
    for (uint32_t at = ml_peer_hash(ip->b, 16) & x->mask; x->cell[at] != ML_PEER_NONE; at = (at + 1) & x->mask) {
        uint16_t slot = x->cell[at] & (uint16_t)~ML_PEER_CELL_IP6;
        ml_ip has = (x->cell[at] & ML_PEER_CELL_IP6) ? ml_map_peer_ip6(&m->t.peers[slot]) : ml_map_peer_ip4(&m->t.peers[slot]);
        if (ml_ip_equal(&has, ip)) {
            return slot;
        }
    }
    for (uint16_t i = 0; i < m->t.extra_count; i++) {
        if (m->t.extras[i].kind == ML_EXTRA_ADDRESS && ml_ip_equal(&m->t.extras[i].ip, ip)) {
            return m->t.extras[i].slot;
        }
    }
    return ML_PEER_NONE;
}

/* Every peer with the field set is found exactly once, and there is nothing else. */
static bool check_field(const struct ml_map *m, const struct ml_map_index *x, enum ml_map_field field, uint32_t *expected)
{
    for (uint16_t slot = 0; slot < m->t.slot_count; slot++) {
        uint32_t at = 0;
        uint32_t steps = 0;
        if (m->t.peers[slot].id == 0 || !hash_of(m, field, slot, &at)) {
            continue;
        }
        ++*expected;
        for (at &= x->mask; x->cell[at] != cell_of(field, slot); at = (at + 1) & x->mask) {
            if (x->cell[at] == ML_PEER_NONE || steps++ > x->mask) {
                return false;
            }
        }
    }
    return true;
}

static uint32_t used_cells(const struct ml_map_index *x)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i <= x->mask; i++) {
        used += x->cell[i] != ML_PEER_NONE;
    }
    return used;
}

bool ml_map_index_check(const struct ml_map *m)
{
    uint32_t keys = 0;
    uint32_t discos = 0;
    uint32_t ips = 0;

    return check_field(m, &m->key_index, ML_FIELD_KEY, &keys) && used_cells(&m->key_index) == keys &&
           check_field(m, &m->disco_index, ML_FIELD_DISCO, &discos) && used_cells(&m->disco_index) == discos &&
           check_field(m, &m->ip_index, ML_FIELD_IP4, &ips) && check_field(m, &m->ip_index, ML_FIELD_IP6, &ips) &&
           used_cells(&m->ip_index) == ips;
}

/* ---- Extra routes ---- */

static bool same_extra(const struct ml_peer_extra *a, const struct ml_peer_extra *b)
{
    return ml_ip_equal(&a->ip, &b->ip) && a->bits == b->bits && a->kind == b->kind;
}

bool ml_map_extras_equal(const struct ml_map *m, uint16_t slot, const struct ml_peer_extra *list, size_t count)
{
    size_t have = 0;

    for (uint16_t i = 0; i < m->t.extra_count; i++) {
        if (m->t.extras[i].slot != slot) {
            continue;
        }
        bool is_listed = false;
        for (size_t k = 0; k < count && !is_listed; k++) {
            is_listed = same_extra(&m->t.extras[i], &list[k]);
        }
        if (!is_listed) {
            return false;
        }
        have++;
    }
    return have == count;
}

/* Longest prefix first; among equals the lowest id, which thereby wins. */
static bool goes_before(const struct ml_map *m, const struct ml_peer_extra *a, const struct ml_peer_extra *b)
{
    if (a->bits != b->bits) {
        return a->bits > b->bits;
    }
    return m->t.peers[a->slot].id < m->t.peers[b->slot].id;
}

void ml_map_extras_set(struct ml_map *m, uint16_t slot, const struct ml_peer_extra *list, size_t count)
{
    struct ml_peer_extra *x = m->t.extras;
    uint16_t kept = 0;

    for (uint16_t i = 0; i < m->t.extra_count; i++) {
        if (x[i].slot != slot) {
            x[kept++] = x[i];
        }
    }
    m->t.extra_count = kept;
    m->t.peers[slot].flags &= (uint16_t)~ML_PEER_HAS_EXTRA;
    for (size_t k = 0; k < count; k++) {
        if (m->t.extra_count == m->max_extras) {
            m->counts.route_over_limit++;
            continue;
        }
        uint16_t at = m->t.extra_count++;
        for (; at > 0 && goes_before(m, &list[k], &x[at - 1]); at--) {
            x[at] = x[at - 1];
        }
        x[at] = list[k];
        m->t.peers[slot].flags |= ML_PEER_HAS_EXTRA;
    }
}
