/*
 * Compiled rules: named sets as runs of entries in one pool, and the deltas that replace them.
 *
 * Three generations share the pool: the sets in effect, those of the present message that were read to their end, and the
 * one being read, which is last. END puts the second in the place of the first; ABORT drops it. When the pool is too small
 * for both, the sets that the message replaces go first: until its end the node allows less, never more. A set that does not
 * fit at all keeps the rules that came before the pool was full and is marked partial.
 *
 * SPDX-License-Identifier: MIT
 */
#include "filter/filter_private.h"

static struct ml_filter_set *find_in(struct ml_filter_set sets[ML_FILTER_SETS], const char *name)
{
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        if (sets[i].name[0] && strcmp(sets[i].name, name) == 0) {
            return &sets[i];
        }
    }
    return NULL;
}

/* Takes a run of entries out of the pool and closes the gap. */
static void release(struct ml_filter *f, uint16_t at, uint16_t count)
{
    memmove(&f->pool[at], &f->pool[at + count], (size_t)(f->pool_used - at - count) * sizeof f->pool[0]);
    f->pool_used = (uint16_t)(f->pool_used - count);
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        if (f->sets[i].at > at) {
            f->sets[i].at = (uint16_t)(f->sets[i].at - count);
        }
        if (f->ready[i].at > at) {
            f->ready[i].at = (uint16_t)(f->ready[i].at - count);
        }
    }
    if (f->is_staging && f->staged.at > at) {
        f->staged.at = (uint16_t)(f->staged.at - count);
    }
}

static void drop_set(struct ml_filter *f, struct ml_filter_set *set)
{
    uint16_t at = set->at;
    uint16_t count = set->count;
    ml_zero(set);
    release(f, at, count);
}

/* Forgets the set being read. */
static void drop_staged(struct ml_filter *f)
{
    if (f->is_staging) {
        f->pool_used = f->staged.at;
        f->is_staging = false;
    }
    ml_zero(&f->staged);
}

/* Forgets what the message has said so far; what is in effect stays. */
static void roll_back(struct ml_filter *f)
{
    drop_staged(f);
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        if (f->ready[i].name[0]) {
            drop_set(f, &f->ready[i]);
        }
        f->sets[i].is_doomed = false;
    }
}

/* Drops the sets in effect that the message has replaced or deleted. */
static void drop_replaced(struct ml_filter *f)
{
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        if (f->sets[i].name[0] && f->sets[i].is_doomed) {
            drop_set(f, &f->sets[i]);
        }
    }
}

/* The message is whole: what it said is in effect. That there is a place for each set was seen when it was read. */
static void commit(struct ml_filter *f)
{
    drop_staged(f); /* a set that was not read to its end never takes effect */
    drop_replaced(f);
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        for (size_t k = 0; f->ready[i].name[0] && k < ML_FILTER_SETS; k++) {
            if (!f->sets[k].name[0]) {
                f->sets[k] = f->ready[i];
                ml_zero(&f->ready[i]);
            }
        }
    }
}

static ml_drop begin_set(struct ml_filter *f, const char *name)
{
    drop_staged(f);
    if (!name || name[0] == 0 || strlen(name) >= ML_FILTER_NAME_CAP) {
        f->rule_over_limit++;
        return ML_DROP_MAP_RULE_OVER_LIMIT;
    }
    ml_str_set(f->staged.name, sizeof f->staged.name, name);
    f->staged.at = f->pool_used;
    f->is_staging = true;
    return ML_DROP_NONE;
}

static unsigned count_sets(const struct ml_filter *f)
{
    unsigned n = 0;
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        n += f->sets[i].name[0] && !f->sets[i].is_doomed;
        n += f->ready[i].name[0] != 0;
    }
    return n;
}

static ml_drop end_set(struct ml_filter *f)
{
    if (!f->is_staging) {
        return ML_DROP_NONE;
    }
    struct ml_filter_set *old = find_in(f->sets, f->staged.name);
    struct ml_filter_set *ready = find_in(f->ready, f->staged.name);
    if (old) {
        old->is_doomed = true;
    }
    if (ready) {
        drop_set(f, ready); /* named twice: the later one counts */
    }
    if (count_sets(f) == ML_FILTER_SETS) {
        drop_staged(f);
        f->rule_over_limit++;
        return ML_DROP_MAP_RULE_OVER_LIMIT;
    }
    for (size_t i = 0; i < ML_FILTER_SETS && f->is_staging; i++) {
        if (!f->ready[i].name[0]) {
            f->ready[i] = f->staged;
            ml_zero(&f->staged);
            f->is_staging = false;
        }
    }
    return ML_DROP_NONE;
}

static bool make_room(struct ml_filter *f, uint32_t need)
{
    if (need > (uint32_t)(f->pool_cap - f->pool_used)) {
        struct ml_filter_set *old = find_in(f->sets, f->staged.name);
        if (old) {
            old->is_doomed = true;
        }
        drop_replaced(f);
    }
    return need <= (uint32_t)(f->pool_cap - f->pool_used);
}

static void put_prefix(struct ml_filter_entry *e, uint8_t kind, const ml_prefix *net, uint16_t first, uint16_t last)
{
    memcpy(e->b, net->ip.b, 16);
    e->bits = net->bits;
    e->kind = kind;
    e->port_first = first;
    e->port_last = last;
}

static ml_drop add_rule(struct ml_filter *f, const struct ml_rule *r)
{
    if (!f->is_staging || !r || r->src_count > ML_RULE_SRCS || r->dst_count > ML_RULE_DSTS || r->proto_count > ML_RULE_PROTOS) {
        return ML_DROP_NONE;
    }
    f->staged.is_partial = f->staged.is_partial || r->is_lossy;
    if (r->src_count == 0 || r->dst_count == 0) {
        return ML_DROP_NONE; /* matches nothing; a pure capability grant looks like this too */
    }
    if (!make_room(f, 1u + r->src_count + r->dst_count)) {
        f->staged.is_partial = true;
        f->rule_over_limit++;
        return ML_DROP_MAP_RULE_OVER_LIMIT;
    }
    static const uint8_t default_protos[] = {ML_IPPROTO_TCP, ML_IPPROTO_UDP, ML_IPPROTO_ICMP, ML_IPPROTO_ICMPV6};
    struct ml_filter_entry *e = &f->pool[f->pool_used];
    ml_zero(e);
    e->kind = ML_ENTRY_RULE;
    e->port_first = r->src_count;
    e->port_last = r->dst_count;
    e->bits = r->has_protos ? r->proto_count : sizeof default_protos;
    memcpy(e->b, r->has_protos ? r->protos : default_protos, e->bits);
    for (uint8_t i = 0; i < r->src_count; i++) {
        put_prefix(++e, ML_ENTRY_SOURCE, &r->srcs[i], 0, 0);
    }
    for (uint8_t i = 0; i < r->dst_count; i++) {
        put_prefix(++e, ML_ENTRY_DEST, &r->dsts[i].net, r->dsts[i].port_first, r->dsts[i].port_last);
    }
    uint16_t count = (uint16_t)(1 + r->src_count + r->dst_count);
    f->pool_used = (uint16_t)(f->pool_used + count);
    f->staged.count = (uint16_t)(f->staged.count + count);
    return ML_DROP_NONE;
}

void ml_filter_clear_rules(struct ml_filter *f)
{
    memset(f->sets, 0, sizeof f->sets);
    memset(f->ready, 0, sizeof f->ready);
    ml_zero(&f->staged);
    f->is_staging = false;
    f->is_in_message = false;
    f->pool_used = 0;
    f->is_void = false;
}

/* Deletes one set, or all when @p name is NULL. */
static void doom(struct ml_filter *f, const char *name)
{
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        if (f->ready[i].name[0] && (!name || strcmp(f->ready[i].name, name) == 0)) {
            drop_set(f, &f->ready[i]);
        }
        f->sets[i].is_doomed = f->sets[i].is_doomed || (f->sets[i].name[0] && (!name || strcmp(f->sets[i].name, name) == 0));
    }
}

static ml_drop apply_change(struct ml_filter *f, const struct ml_delta *d)
{
    switch (d->type) {
    case ML_DELTA_RULES_BEGIN:
        return begin_set(f, d->text);
    case ML_DELTA_RULE:
        return add_rule(f, d->rule);
    case ML_DELTA_RULES_INVALID:
        f->staged.is_invalid = f->is_staging;
        break;
    case ML_DELTA_RULES_END:
        return end_set(f);
    case ML_DELTA_RULES_CLEAR_ALL:
        drop_staged(f);
        doom(f, NULL);
        break;
    case ML_DELTA_RULES_DELETE:
        if (d->text) {
            doom(f, d->text);
        }
        break;
    default:
        break;
    }
    return ML_DROP_NONE;
}

ml_drop ml_filter_apply(struct ml_filter *f, const struct ml_delta *d)
{
    switch (d->type) {
    case ML_DELTA_BEGIN:
        roll_back(f);
        f->is_in_message = true;
        return ML_DROP_NONE;
    case ML_DELTA_END:
        commit(f);
        f->is_in_message = false;
        return ML_DROP_NONE;
    case ML_DELTA_ABORT:
        roll_back(f);
        f->is_in_message = false;
        return ML_DROP_NONE;
    default:
        break;
    }
    ml_drop drop = apply_change(f, d);
    if (!f->is_in_message && !f->is_staging) {
        commit(f);
    }
    return drop;
}

bool ml_filter_is_partial(const struct ml_filter *f)
{
    for (size_t i = 0; i < ML_FILTER_SETS; i++) {
        if (f->sets[i].name[0] && f->sets[i].is_partial) {
            return true;
        }
    }
    return false;
}

bool ml_filter_next_rule(const struct ml_filter *f, struct ml_filter_cursor *c)
{
    while (c->set < ML_FILTER_SETS) {
        const struct ml_filter_set *set = &f->sets[c->set];
        if (set->name[0] && c->at < set->count) {
            c->head = &f->pool[set->at + c->at];
            c->at += 1u + c->head->port_first + c->head->port_last;
            return true;
        }
        c->set++;
        c->at = 0;
    }
    return false;
}

bool ml_filter_get_rule(const struct ml_filter *f, struct ml_filter_cursor *cursor, struct ml_rule *out)
{
    ml_zero(out);
    if (!ml_filter_next_rule(f, cursor)) {
        return false;
    }
    const struct ml_filter_entry *e = cursor->head;
    out->has_protos = true;
    out->proto_count = e->bits;
    memcpy(out->protos, e->b, e->bits);
    out->src_count = (uint8_t)e->port_first;
    out->dst_count = (uint8_t)e->port_last;
    for (uint8_t i = 0; i < out->src_count; i++) {
        out->srcs[i] = ml_filter_entry_prefix(++e);
    }
    for (uint8_t i = 0; i < out->dst_count; i++) {
        e++;
        out->dsts[i] =
            (struct ml_rule_dst){.net = ml_filter_entry_prefix(e), .port_first = e->port_first, .port_last = e->port_last};
    }
    return true;
}

static bool overlaps(const ml_prefix *a, const ml_prefix *b)
{
    return a->bits <= b->bits ? ml_prefix_contains(a, &b->ip) : ml_prefix_contains(b, &a->ip);
}

void ml_filter_unsigned_begin(struct ml_filter *f)
{
    f->is_void = false;
}

void ml_filter_unsigned_prefix(struct ml_filter *f, const ml_prefix *net)
{
    struct ml_filter_cursor c = {0};

    while (!f->is_void && ml_filter_next_rule(f, &c)) {
        for (uint16_t i = 1; i <= c.head->port_first; i++) {
            ml_prefix src = ml_filter_entry_prefix(&c.head[i]);
            f->is_void = f->is_void || overlaps(&src, net);
        }
    }
}

/* Whether a set lies within the pool and is a run of whole rules. */
static bool check_set(const struct ml_filter *f, const struct ml_filter_set *set)
{
    uint32_t at = set->at;
    uint32_t end = at + set->count;
    if (end > f->pool_used || (!set->name[0] && set->count)) {
        return false;
    }
    while (at < end) {
        const struct ml_filter_entry *head = &f->pool[at];
        if (head->kind != ML_ENTRY_RULE || head->bits > ML_RULE_PROTOS) {
            return false;
        }
        at += 1u + head->port_first + head->port_last;
    }
    return at == end;
}

bool ml_filter_check(const struct ml_filter *f)
{
    uint32_t used = f->is_staging ? f->staged.count : 0;
    const struct ml_filter_set *all[2 * ML_FILTER_SETS];

    for (size_t i = 0; i < 2 * ML_FILTER_SETS; i++) {
        all[i] = i < ML_FILTER_SETS ? &f->sets[i] : &f->ready[i - ML_FILTER_SETS];
        used += all[i]->count;
        if (!check_set(f, all[i])) {
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            bool is_apart = all[j]->at >= all[i]->at + all[i]->count || all[j]->at + all[j]->count <= all[i]->at;
            if (!is_apart && all[i]->count && all[j]->count) {
                return false;
            }
        }
    }
    if (f->is_staging && f->staged.at + f->staged.count != f->pool_used) {
        return false;
    }
    return used == f->pool_used && f->pool_used <= f->pool_cap && count_sets(f) <= ML_FILTER_SETS && ml_flow_check(&f->flows) &&
           ml_flow_check(&f->jailed_flows);
}
