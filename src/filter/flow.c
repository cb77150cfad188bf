/*
 * Flow table: a hash with chains through one array, and a list in order of use through the same array. See flow.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "filter/flow.h"

uint32_t ml_flow_bucket_count(uint16_t cap)
{
    uint32_t n = 1;
    while (n < cap) {
        n <<= 1;
    }
    return n;
}

void ml_flow_init(struct ml_flow_table *t, struct ml_flow *flows, uint16_t *buckets, uint16_t cap)
{
    ml_zero(t);
    t->flows = flows;
    t->buckets = buckets;
    t->cap = cap;
    t->bucket_mask = (uint16_t)(ml_flow_bucket_count(cap) - 1);
    ml_flow_clear(t);
}

void ml_flow_clear(struct ml_flow_table *t)
{
    t->count = 0;
    t->newest = ML_FLOW_NONE;
    t->oldest = ML_FLOW_NONE;
    for (uint32_t i = 0; i <= t->bucket_mask; i++) {
        t->buckets[i] = ML_FLOW_NONE;
    }
}

static void make_key(uint8_t key[37], uint8_t proto, const ml_ip *src, uint16_t src_port, const ml_ip *dst, uint16_t dst_port)
{
    memcpy(key, src->b, 16);
    memcpy(key + 16, dst->b, 16);
    ml_put_be16(key + 32, src_port);
    ml_put_be16(key + 34, dst_port);
    key[36] = proto;
}

/* Flows are made by our own side only, so an unkeyed hash is no lever for strangers. */
static uint16_t *bucket_of(const struct ml_flow_table *t, const uint8_t key[37])
{
    uint32_t h = key[36];
    for (unsigned i = 0; i < 36; i += 4) {
        h = (h ^ ml_get_be32(key + i)) * 0x85ebca6bu;
        h ^= h >> 15;
    }
    return &t->buckets[h & t->bucket_mask];
}

static uint16_t find(const struct ml_flow_table *t, const uint8_t key[37])
{
    uint16_t i = *bucket_of(t, key);
    while (i != ML_FLOW_NONE && memcmp(t->flows[i].key, key, 37) != 0) {
        i = t->flows[i].chain;
    }
    return i;
}

static void list_remove(struct ml_flow_table *t, uint16_t i)
{
    struct ml_flow *f = &t->flows[i];
    *(f->newer != ML_FLOW_NONE ? &t->flows[f->newer].older : &t->newest) = f->older;
    *(f->older != ML_FLOW_NONE ? &t->flows[f->older].newer : &t->oldest) = f->newer;
}

static void list_push(struct ml_flow_table *t, uint16_t i)
{
    struct ml_flow *f = &t->flows[i];
    f->newer = ML_FLOW_NONE;
    f->older = t->newest;
    *(t->newest != ML_FLOW_NONE ? &t->flows[t->newest].newer : &t->oldest) = i;
    t->newest = i;
}

static void chain_remove(struct ml_flow_table *t, uint16_t i)
{
    uint16_t *at = bucket_of(t, t->flows[i].key);
    while (*at != i) {
        at = &t->flows[*at].chain;
    }
    *at = t->flows[i].chain;
}

void ml_flow_add_reverse(struct ml_flow_table *t, const struct ml_ip_view *v)
{
    uint8_t key[37];

    make_key(key, v->proto, &v->dst, v->dst_port, &v->src, v->src_port);
    uint16_t i = find(t, key);
    if (i != ML_FLOW_NONE) {
        list_remove(t, i);
        list_push(t, i);
        return;
    }
    if (t->count < t->cap) {
        i = t->count++;
    } else {
        i = t->oldest;
        list_remove(t, i);
        chain_remove(t, i);
    }
    memcpy(t->flows[i].key, key, sizeof key);
    uint16_t *bucket = bucket_of(t, key);
    t->flows[i].chain = *bucket;
    *bucket = i;
    list_push(t, i);
}

bool ml_flow_is_known(struct ml_flow_table *t, const struct ml_ip_view *v)
{
    uint8_t key[37];

    make_key(key, v->proto, &v->src, v->src_port, &v->dst, v->dst_port);
    uint16_t i = find(t, key);
    if (i == ML_FLOW_NONE) {
        return false;
    }
    list_remove(t, i);
    list_push(t, i);
    return true;
}

bool ml_flow_check(const struct ml_flow_table *t)
{
    uint32_t in_list = 0;
    uint32_t in_chains = 0;

    for (uint16_t i = t->newest; i != ML_FLOW_NONE && in_list <= t->count; i = t->flows[i].older) {
        in_list++;
        if (find(t, t->flows[i].key) != i) {
            return false;
        }
    }
    for (uint32_t b = 0; b <= t->bucket_mask; b++) {
        for (uint16_t i = t->buckets[b]; i != ML_FLOW_NONE && in_chains <= t->count; i = t->flows[i].chain) {
            in_chains++;
        }
    }
    return t->count <= t->cap && in_list == t->count && in_chains == t->count;
}
