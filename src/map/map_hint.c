/*
 * Who was left out of a full table: a Bloom filter of node keys and addresses, two bits each.
 *
 * It answers "may this stranger be a peer?" before a whole netmap is read again for its sake. Filled by one full list, empty
 * at the start of the next; a peer removed in between stays in it. When it is full of ones everybody may be a peer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "map/map_private.h"

/* The two bits of a value. Keys come from strangers too: a collision made on purpose costs no more than a real peer does. */
static void bits_of(const struct ml_map *m, const uint8_t *bytes, unsigned len, uint32_t at[2])
{
    uint32_t h = ml_peer_hash(bytes, len);
    at[0] = h & m->hint_mask;
    at[1] = ((h >> 16 | h << 16) * 0xc2b2ae35u >> 7) & m->hint_mask;
}

static bool is_noted(const struct ml_map *m, const uint8_t *bytes, unsigned len)
{
    uint32_t at[2];
    bits_of(m, bytes, len, at);
    return (m->hints[at[0] / 8] >> at[0] % 8 & 1) && (m->hints[at[1] / 8] >> at[1] % 8 & 1);
}

bool ml_map_hint_add(struct ml_map *m, const uint8_t *bytes, unsigned len)
{
    uint32_t at[2];
    bool is_new = !is_noted(m, bytes, len);
    bits_of(m, bytes, len, at);
    m->hints[at[0] / 8] |= (uint8_t)(1u << at[0] % 8);
    m->hints[at[1] / 8] |= (uint8_t)(1u << at[1] % 8);
    return is_new;
}

void ml_map_hint_clear(struct ml_map *m)
{
    if (m->omitted) { /* else it is empty, and its pages may never have been touched */
        memset(m->hints, 0, (m->hint_mask + 1) / 8);
    }
}

bool ml_map_may_omit_key(const struct ml_map *m, const ml_node_key *key)
{
    return m->omitted && ml_key_is_set(key) && is_noted(m, key->b, 32);
}

bool ml_map_may_omit_ip(const struct ml_map *m, const ml_ip *ip)
{
    return m->omitted && ml_ip_is_set(ip) && is_noted(m, ip->b, 16);
}
