/*
 * The bounded netcheck: plan, probe, conclude. dataplane.md 6.2, 6.3, 6.5; the choice of the home is in netcheck_home.c.
 *
 * Rules, in the order in which the code meets them:
 *   - a full report probes every measurable region, an incremental one the home and the two fastest others; two tries each per
 *     family, 200 ms apart (incremental: 1.2 x the last latency);
 *   - a try that can teach nothing is left out: its region answered over that family, or over the other one while what this
 *     family is for (IPv4: does the mapping vary, IPv6: does it work at all) is known;
 *   - the third region heard ends the report after the slowest latency so far, twice that for a full one; 3 s end it anyway;
 *   - a full report without any answer goes on over HTTPS: one region at a time, 3 s each, 6 s together.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "base/rng.h"
#include "path/netcheck_internal.h"

#define STUN_PHASE       ML_SEC(3)
#define FULL_EVERY       ML_SEC(5 * 60)
#define FULL_EVERY_IDLE  ML_SEC(30 * 60)
#define HTTP_PHASE       ML_SEC(6)
#define HTTP_EACH        ML_SEC(3)
#define RETRY_AFTER      ML_MSEC(200)
#define PROBE_YIELDS     ML_MSEC(600) /* a silent probe this old gives its place when all are taken */
#define PERIODIC_MIN     ML_SEC(20)
#define PERIODIC_MAX     ML_SEC(26)
#define SESSION_ACTIVE   ML_SEC(45)
#define ENOUGH_REGIONS   3
#define TRIES            2
#define INCREMENTAL_MORE 2 /* regions besides the home */

enum probe_state { PROBE_FREE, PROBE_WANTS_IP, PROBE_RESOLVING, PROBE_READY, PROBE_SENT };

/* ---- Regions ---- */

static const struct ml_derp_region *map_of(const struct ml_netcheck *n, const struct ml_netcheck_region *r)
{
    return &n->map[r->map_index];
}

static bool node_usable(const struct ml_derp_node *d, bool is6)
{
    return d->stun_port >= 0 && d->stun_port <= UINT16_MAX && !(is6 ? d->no_ip6 : d->no_ip4);
}

/* The node for a try: they take turns. -1 = none speaks STUN over this family. */
static int node_for(const struct ml_derp_region *m, uint8_t try, bool is6)
{
    for (int k = 0; k < m->node_count; k++) {
        int i = (try + k) % m->node_count;
        if (node_usable(&m->nodes[i], is6)) {
            return i;
        }
    }
    return -1;
}

struct ml_netcheck_region *ml_netcheck_region_find(const struct ml_netcheck *n, uint16_t id)
{
    for (size_t i = 0; i < n->region_count; i++) {
        if (n->regions[i].id == id) {
            return &n->regions[i];
        }
    }
    return NULL;
}

/* ---- Set-up ---- */

void ml_netcheck_init(struct ml_netcheck *n, struct ml_netcheck_region *regions, uint16_t cap, const ml_random *rng)
{
    ml_zero(n);
    n->regions = regions;
    n->region_cap = cap;
    n->rng = rng;
    n->random_pick = ml_random_u32(rng);
    n->next_at = ML_NEVER;
    n->has_ip4 = true;
}

static void stop_probes(struct ml_netcheck *n)
{
    for (size_t i = 0; i < ML_NETCHECK_PROBES; i++) {
        n->probes[i].state = PROBE_FREE;
        ml_stun_query_cancel(&n->probes[i].q);
    }
}

static int find_in_map(const struct ml_derp_region *map, size_t count, uint16_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (map[i].id == id) {
            return (int)i;
        }
    }
    return -1;
}

void ml_netcheck_set_regions(struct ml_netcheck *n, ml_time now, const struct ml_derp_region *map, size_t count,
                             const uint32_t *score_milli)
{
    bool was_running = n->is_running, was_full = n->is_full;
    stop_probes(n);
    n->is_running = false;
    n->http_region = 0;
    n->map = map;
    n->score_milli = score_milli;
    for (uint16_t i = 0; i < n->region_count;) {
        int at = find_in_map(map, count, n->regions[i].id);
        if (at < 0) {
            n->regions[i] = n->regions[--n->region_count];
        } else {
            n->regions[i++].map_index = (uint16_t)at;
        }
    }
    for (size_t k = 0; k < count && n->region_count < n->region_cap; k++) {
        if (!ml_netcheck_region_find(n, map[k].id)) {
            n->regions[n->region_count++] = (struct ml_netcheck_region){.id = map[k].id, .map_index = (uint16_t)k};
            n->has_full = false; /* it has never been measured */
        }
    }
    if (n->report.home_region && find_in_map(map, count, n->report.home_region) < 0) {
        n->report.home_region = 0;
    }
    if (was_running) {
        ml_netcheck_start(n, now, was_full);
    }
}

void ml_netcheck_set_underlay(struct ml_netcheck *n, bool has_ip4, bool has_ip6, uint16_t fixed_port)
{
    n->has_ip4 = has_ip4;
    n->has_ip6 = has_ip6;
    n->fixed_port = fixed_port;
}

void ml_netcheck_set_map_poll(struct ml_netcheck *n, bool is_open)
{
    n->is_in_map_poll = is_open;
}

void ml_netcheck_set_home(struct ml_netcheck *n, uint16_t region)
{
    n->report.home_region = region;
}

void ml_netcheck_set_disabled(struct ml_netcheck *n, bool is_disabled)
{
    n->is_disabled = is_disabled;
}

void ml_netcheck_set_http(struct ml_netcheck *n, bool is_possible)
{
    n->is_http_ok = is_possible;
}

/* ---- When ---- */

static void arm_periodic(struct ml_netcheck *n, ml_time now)
{
    if (n->has_key_and_peers && n->activity_at && now - n->activity_at <= SESSION_ACTIVE) {
        n->next_at = now + PERIODIC_MIN + ml_random_below(n->rng, (uint32_t)(PERIODIC_MAX - PERIODIC_MIN) + 1);
    } else {
        n->next_at = ML_NEVER;
    }
}

void ml_netcheck_set_wanted(struct ml_netcheck *n, ml_time now, bool has_key_and_peers)
{
    bool was_wanted = n->has_key_and_peers;
    n->has_key_and_peers = has_key_and_peers;
    if (was_wanted != has_key_and_peers && !n->is_running) {
        arm_periodic(n, now);
    }
}

void ml_netcheck_note_activity(struct ml_netcheck *n, ml_time now)
{
    n->activity_at = now ? now : 1;
    if (!n->is_running && n->next_at == ML_NEVER) {
        arm_periodic(n, now);
    }
}

void ml_netcheck_note_derp_frame(struct ml_netcheck *n, ml_time now, uint16_t region)
{
    struct ml_netcheck_region *r = ml_netcheck_region_find(n, region);
    if (r) {
        r->derp_heard_at = now ? now : 1;
    }
}

/* ---- Plan ---- */

static bool full_is_due(const struct ml_netcheck *n, ml_time now)
{
    bool is_active = n->activity_at && now - n->activity_at <= SESSION_ACTIVE;
    return !n->has_full || now - n->last_full_at > (is_active ? FULL_EVERY : FULL_EVERY_IDLE);
}

static void plan(const struct ml_netcheck *n, struct ml_netcheck_region *r)
{
    const struct ml_derp_region *m = map_of(n, r);
    if (m->no_measure_no_home || (!n->is_full && m->avoid && r->id != n->report.home_region)) {
        return;
    }
    r->plan4 = n->has_ip4 && node_for(m, 0, false) >= 0 ? TRIES : 0;
    r->plan6 = n->has_ip6 && node_for(m, 0, true) >= 0 ? TRIES : 0;
}

static bool is_planned(const struct ml_netcheck_region *r)
{
    return r->plan4 || r->plan6;
}

static void plan_incremental(struct ml_netcheck *n, ml_time now)
{
    struct ml_netcheck_region *home = ml_netcheck_region_find(n, n->report.home_region);
    if (home) {
        plan(n, home);
    }
    for (int k = 0; k < INCREMENTAL_MORE; k++) {
        struct ml_netcheck_region *fastest = NULL;
        uint32_t fastest_us = 0;
        for (size_t i = 0; i < n->region_count; i++) {
            struct ml_netcheck_region *r = &n->regions[i];
            uint32_t us = ml_netcheck_recent(r, now);
            if (us && !is_planned(r) && r != home && !map_of(n, r)->avoid && (!fastest || us < fastest_us)) {
                fastest = r;
                fastest_us = us;
            }
        }
        if (fastest) {
            plan(n, fastest);
        }
    }
}

static void begin(struct ml_netcheck *n, ml_time now, bool full)
{
    stop_probes(n);
    n->is_running = true;
    n->is_start_wanted = n->is_full_wanted = false;
    n->started_at = now;
    n->stop_at = now + STUN_PHASE;
    n->next_at = ML_NEVER;
    n->is_full = full || full_is_due(n, now);
    n->heard_count = 0;
    n->is_http = false;
    n->http_region = 0;
    ml_zero(&n->now);
    memset(n->mappings, 0, sizeof n->mappings);
    for (size_t i = 0; i < n->region_count; i++) {
        struct ml_netcheck_region *r = &n->regions[i];
        r->tries4 = r->tries6 = r->plan4 = r->plan6 = 0;
        r->is_heard4 = r->is_heard6 = false;
        r->now4_us = r->now6_us = r->now_http_us = 0;
        r->is_http_tried = false;
        if (n->is_full && !n->is_disabled) {
            plan(n, r);
        }
    }
    if (!n->is_full && !n->is_disabled) {
        plan_incremental(n, now);
    }
}

void ml_netcheck_start(struct ml_netcheck *n, ml_time now, bool full)
{
    if (n->is_running) {
        if (now == n->started_at && (n->is_full || !full)) {
            return; /* several reasons at one instant are one measurement */
        }
        n->is_start_wanted = true;
        n->is_full_wanted |= full;
        return;
    }
    begin(n, now, full);
}

/* ---- Probes ---- */

/* What one family of a region is up to; keeps the code below free of pairs of everything. */
struct side {
    uint8_t *tries;
    uint8_t plan;
    bool is_heard, is_other_heard;
    bool is_known; /* what this family is measured for besides latency */
};

static struct side side_of(const struct ml_netcheck *n, struct ml_netcheck_region *r, bool is6)
{
    return is6 ? (struct side){&r->tries6, r->plan6, r->is_heard6, r->is_heard4, n->now.ip6}
               : (struct side){&r->tries4, r->plan4, r->is_heard4, r->is_heard6, n->now.mapping_varies != ML_TRI_UNKNOWN};
}

/* When the next try of a side is due; ML_NEVER when none is left that could teach something. */
static ml_time try_due(const struct ml_netcheck *n, struct ml_netcheck_region *r, bool is6)
{
    struct side s = side_of(n, r, is6);
    if (*s.tries >= s.plan || s.is_heard || (*s.tries > 0 && s.is_other_heard && s.is_known)) {
        return ML_NEVER;
    }
    ml_time spacing = !n->is_full && r->last_us ? (ml_time)r->last_us * 12 / 10 : RETRY_AFTER;
    return n->started_at + *s.tries * spacing;
}

static struct ml_netcheck_probe *probe_room(struct ml_netcheck *n, ml_time now)
{
    struct ml_netcheck_probe *oldest = NULL;
    for (size_t i = 0; i < ML_NETCHECK_PROBES; i++) {
        struct ml_netcheck_probe *b = &n->probes[i];
        if (b->state == PROBE_FREE) {
            return b;
        }
        if (b->state == PROBE_SENT && (!oldest || b->q.sent_at < oldest->q.sent_at)) {
            oldest = b;
        }
    }
    return oldest && now - oldest->q.sent_at >= PROBE_YIELDS ? oldest : NULL;
}

static void open_probe(const struct ml_netcheck *n, struct ml_netcheck_probe *b, uint16_t region, bool is6)
{
    struct ml_netcheck_region *r = &n->regions[region];
    const struct ml_derp_region *m = map_of(n, r);
    uint8_t *tries = side_of(n, r, is6).tries;
    int at = node_for(m, (*tries)++, is6);
    uint8_t generation = (uint8_t)(b->generation + 1);
    *b = (struct ml_netcheck_probe){.region = region, .is6 = is6, .generation = generation};
    if (at < 0) {
        return; /* the plan said otherwise; the entry stays free */
    }
    const struct ml_derp_node *d = &m->nodes[at];
    b->node = (uint8_t)at;
    b->addr = (ml_addr){.ip = is6 ? d->ip6 : d->ip4, .port = d->stun_port ? (uint16_t)d->stun_port : ML_STUN_PORT};
    b->state = ml_ip_is_set(&b->addr.ip) ? PROBE_READY : PROBE_WANTS_IP;
}

/* Opens every probe that is due and has room. */
static void open_due(struct ml_netcheck *n, ml_time now)
{
    for (int is6 = 0; is6 <= 1; is6++) {
        for (uint16_t i = 0; i < n->region_count; i++) {
            struct ml_netcheck_probe *b = NULL;
            if (try_due(n, &n->regions[i], is6) <= now) {
                b = probe_room(n, now);
            }
            if (b) {
                open_probe(n, b, i, is6);
            }
        }
    }
}

bool ml_netcheck_poll_send(struct ml_netcheck *n, ml_time now, uint8_t out[ML_STUN_REQUEST_LEN], ml_addr *dst)
{
    if (!n->is_running || n->is_http) {
        return false;
    }
    open_due(n, now);
    for (size_t i = 0; i < ML_NETCHECK_PROBES; i++) {
        struct ml_netcheck_probe *b = &n->probes[i];
        if (b->state == PROBE_READY) {
            b->state = PROBE_SENT;
            ml_stun_query_start(&b->q, now, n->rng, out);
            *dst = b->addr;
            return true;
        }
    }
    return false;
}

bool ml_netcheck_poll_resolve(struct ml_netcheck *n, ml_time now, uint32_t *token, const char **host)
{
    if (!n->is_running || n->is_http) {
        return false;
    }
    open_due(n, now);
    for (uint32_t i = 0; i < ML_NETCHECK_PROBES; i++) {
        struct ml_netcheck_probe *b = &n->probes[i];
        if (b->state == PROBE_WANTS_IP) {
            b->state = PROBE_RESOLVING;
            *token = (uint32_t)b->generation << 8 | i;
            *host = map_of(n, &n->regions[b->region])->nodes[b->node].host;
            return true;
        }
    }
    return false;
}

void ml_netcheck_on_resolved(struct ml_netcheck *n, ml_time now, uint32_t token, const ml_ip *ips, size_t count)
{
    uint32_t at = token & 0xff;
    if (!n->is_running || at >= ML_NETCHECK_PROBES || n->probes[at].generation != token >> 8 ||
        n->probes[at].state != PROBE_RESOLVING) {
        return;
    }
    struct ml_netcheck_probe *b = &n->probes[at];
    b->state = PROBE_FREE;
    for (size_t i = 0; i < count; i++) {
        if (b->is6 ? ml_ip_is6(&ips[i]) : ml_ip_is4(&ips[i])) {
            b->addr.ip = ips[i];
            b->state = PROBE_READY;
            break;
        }
    }
    ml_netcheck_on_time(n, now);
}

/* ---- Answers ---- */

static void note_mapping4(struct ml_netcheck *n, const ml_addr *seen)
{
    if (!n->now.ip4) {
        n->now.facts.global4 = *seen;
    } else if (!ml_addr_equal(&n->now.facts.global4, seen)) {
        n->now.mapping_varies = ML_TRI_TRUE;
    } else if (n->now.mapping_varies == ML_TRI_UNKNOWN) {
        n->now.mapping_varies = ML_TRI_FALSE;
    }
    n->now.ip4 = true;
    for (size_t i = 0; i < ML_NETCHECK_MAPPINGS; i++) {
        if (n->mappings[i].seen == 0) {
            n->mappings[i].addr = *seen;
        }
        if (ml_addr_equal(&n->mappings[i].addr, seen)) {
            n->mappings[i].seen++;
            return;
        }
    }
}

static void note_latency(struct ml_netcheck *n, ml_time now, const struct ml_netcheck_probe *b, ml_time took)
{
    struct ml_netcheck_region *r = &n->regions[b->region];
    bool is_first = !r->is_heard4 && !r->is_heard6;
    uint32_t us = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    uint32_t *slot = b->is6 ? &r->now6_us : &r->now4_us;
    if (*slot == 0 || us < *slot) {
        *slot = us;
    }
    *(b->is6 ? &r->is_heard6 : &r->is_heard4) = true;
    if (!is_first || ++n->heard_count != ENOUGH_REGIONS) {
        return;
    }
    ml_time slowest = 0;
    for (size_t i = 0; i < n->region_count; i++) {
        uint32_t l = ml_netcheck_now(&n->regions[i]);
        slowest = l > slowest ? l : slowest;
    }
    ml_time stop = now + slowest * (n->is_full ? 2 : 1);
    n->stop_at = stop < n->stop_at ? stop : n->stop_at;
}

void ml_netcheck_on_stun(struct ml_netcheck *n, ml_time now, const uint8_t *buf, size_t len, enum ml_drop *drop)
{
    uint8_t tx[ML_STUN_TX_LEN];
    ml_addr seen;
    if (!ml_stun_parse_response(buf, len, tx, &seen)) {
        *drop = ML_DROP_MALFORMED;
        return;
    }
    struct ml_netcheck_probe *b = NULL;
    for (size_t i = 0; i < ML_NETCHECK_PROBES && !b; i++) {
        if (n->probes[i].state == PROBE_SENT && ml_stun_query_matches(&n->probes[i].q, tx)) {
            b = &n->probes[i];
        }
    }
    if (!n->is_running || !b) {
        *drop = ML_DROP_STUN_UNKNOWN_TX;
        return;
    }
    *drop = ML_DROP_NONE;
    note_latency(n, now, b, ml_stun_query_finish(&b->q, now));
    b->state = PROBE_FREE;
    n->now.udp = true;
    if (ml_ip_is4(&seen.ip)) {
        note_mapping4(n, &seen);
    } else {
        n->now.ip6 = true;
        n->now.facts.global6 = seen;
    }
    /* The first answer of a set cancels what else is under way in it. */
    for (size_t i = 0; i < ML_NETCHECK_PROBES; i++) {
        if (n->probes[i].state != PROBE_FREE && n->probes[i].region == b->region && n->probes[i].is6 == b->is6) {
            n->probes[i].state = PROBE_FREE;
        }
    }
    ml_netcheck_on_time(n, now);
}

/* ---- HTTPS ---- */

static bool may_ask_http(const struct ml_netcheck *n, const struct ml_netcheck_region *r)
{
    const struct ml_derp_region *m = map_of(n, r);
    if (r->is_http_tried || m->no_measure_no_home || (m->avoid && r->id != n->report.home_region)) {
        return false;
    }
    for (int i = 0; i < m->node_count; i++) {
        if (!m->nodes[i].is_stun_only) {
            return true;
        }
    }
    return false;
}

/* The home, else the region that was fastest lately, else any: from a place of our own on, so that not all nodes ask the first. */
static struct ml_netcheck_region *pick_http(struct ml_netcheck *n, ml_time now)
{
    struct ml_netcheck_region *best = ml_netcheck_region_find(n, n->report.home_region);
    if (best && may_ask_http(n, best)) {
        return best;
    }
    uint32_t best_us = 0;
    best = NULL;
    for (size_t k = 0; k < n->region_count; k++) {
        struct ml_netcheck_region *r = &n->regions[(n->random_pick + k) % n->region_count];
        uint32_t us = ml_netcheck_recent(r, now);
        if (may_ask_http(n, r) && (!best || (us && (!best_us || us < best_us)))) {
            best = r;
            best_us = us;
        }
    }
    return best;
}

/* Goes on to the next region. False: that was all. */
static bool next_http(struct ml_netcheck *n, ml_time now)
{
    struct ml_netcheck_region *r = n->http_left ? pick_http(n, now) : NULL;
    n->http_region = 0;
    if (!r || now >= n->stop_at) {
        return false;
    }
    n->http_left--;
    n->http_region = r->id;
    n->http_until = now + HTTP_EACH < n->stop_at ? now + HTTP_EACH : n->stop_at;
    r->is_http_tried = true;
    return true;
}

/* The STUN phase is over. True when HTTPS takes its place. */
static bool begin_http(struct ml_netcheck *n, ml_time now)
{
    if (n->is_http || !n->is_http_ok || n->is_disabled || !n->is_full || n->now.udp) {
        return false;
    }
    stop_probes(n);
    n->is_http = true;
    n->http_left = ML_NETCHECK_HTTP;
    n->stop_at = now + HTTP_PHASE;
    return next_http(n, now);
}

uint16_t ml_netcheck_http_region(const struct ml_netcheck *n)
{
    return n->is_running ? n->http_region : 0;
}

void ml_netcheck_on_http(struct ml_netcheck *n, ml_time now, uint16_t region, ml_time took)
{
    struct ml_netcheck_region *r = ml_netcheck_region_find(n, region);
    if (!n->is_running || region == 0 || region != n->http_region || !r) {
        return;
    }
    r->now_http_us = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    n->http_until = now;
    ml_netcheck_on_time(n, now);
}

/* ---- End ---- */

static void conclude(struct ml_netcheck *n, ml_time now)
{
    struct ml_netcheck_report *r = &n->now;
    size_t extras = 0;
    for (size_t i = 0; i < ML_NETCHECK_MAPPINGS; i++) {
        bool is_first = ml_addr_equal(&n->mappings[i].addr, &r->facts.global4);
        if (n->mappings[i].seen >= 2 && !is_first && extras < sizeof r->facts.extra / sizeof r->facts.extra[0]) {
            r->facts.extra[extras++] = n->mappings[i].addr;
        }
    }
    r->facts.mapping_varies = r->mapping_varies == ML_TRI_TRUE;
    r->facts.fixed_port = n->fixed_port;
    r->os_has_ip6 = n->has_ip6;
    r->home_region = ml_netcheck_choose_home(n, now);
    r->home_changed = r->home_region != n->report.home_region;
    r->netinfo_changed = !n->has_told || r->home_region != n->told.home_region || r->udp != n->told.udp ||
                         r->ip6 != n->told.ip6 || r->os_has_ip6 != n->told.os_has_ip6 ||
                         r->mapping_varies != n->told.mapping_varies;
    if (r->netinfo_changed) {
        n->told = *r;
        n->has_told = true;
    }
    n->report = *r;
}

static void finish(struct ml_netcheck *n, ml_time now)
{
    stop_probes(n);
    conclude(n, now);
    n->is_running = n->is_http = false;
    n->http_region = 0;
    n->is_report_ready = true;
    n->ended_at = now;
    if (n->is_full) {
        n->has_full = true;
        n->last_full_at = now;
    }
    arm_periodic(n, now);
}

static bool has_work(const struct ml_netcheck *n)
{
    if (n->is_http) {
        return n->http_region != 0;
    }
    for (size_t i = 0; i < ML_NETCHECK_PROBES; i++) {
        if (n->probes[i].state != PROBE_FREE) {
            return true;
        }
    }
    for (size_t i = 0; i < n->region_count; i++) {
        if (try_due(n, &n->regions[i], false) != ML_NEVER || try_due(n, &n->regions[i], true) != ML_NEVER) {
            return true;
        }
    }
    return false;
}

void ml_netcheck_on_time(struct ml_netcheck *n, ml_time now)
{
    if (n->is_http && n->http_region && now >= n->http_until) {
        (void)next_http(n, now);
    }
    if (n->is_running && (now >= n->stop_at || !has_work(n)) && !begin_http(n, now)) {
        finish(n, now);
    }
    if (n->is_running) {
        return;
    }
    if (n->is_start_wanted) {
        begin(n, now, n->is_full_wanted);
    } else if (now >= n->next_at) {
        arm_periodic(n, now);
        if (n->next_at != ML_NEVER) {
            begin(n, now, false);
        }
    }
}

ml_time ml_netcheck_deadline(const struct ml_netcheck *n)
{
    if (!n->is_running) {
        return n->is_start_wanted ? n->ended_at : n->next_at;
    }
    if (!has_work(n)) {
        return n->started_at; /* nothing to measure: the report can end at once */
    }
    if (n->is_http) {
        return n->http_until;
    }
    ml_time first = n->stop_at, room_at = ML_NEVER;
    for (size_t i = 0; i < ML_NETCHECK_PROBES; i++) {
        const struct ml_netcheck_probe *b = &n->probes[i];
        ml_time at = b->state == PROBE_FREE ? 0 : b->state == PROBE_SENT ? b->q.sent_at + PROBE_YIELDS : ML_NEVER;
        room_at = at < room_at ? at : room_at;
    }
    for (size_t i = 0; i < n->region_count; i++) {
        for (int is6 = 0; is6 <= 1; is6++) {
            ml_time at = try_due(n, &n->regions[i], is6);
            if (at != ML_NEVER) {
                at = at < room_at ? room_at : at;
                first = at < first ? at : first;
            }
        }
    }
    return first;
}

bool ml_netcheck_get_early_facts(const struct ml_netcheck *n, struct ml_endpoint_facts *out)
{
    if (!n->is_running || !(n->has_ip4 ? n->now.ip4 : n->now.ip6)) {
        return false;
    }
    *out = n->now.facts;
    out->mapping_varies = n->now.mapping_varies == ML_TRI_TRUE || n->report.mapping_varies == ML_TRI_TRUE;
    out->fixed_port = n->fixed_port;
    return true;
}

bool ml_netcheck_poll_report(struct ml_netcheck *n, struct ml_netcheck_report *out)
{
    if (!n->is_report_ready) {
        return false;
    }
    n->is_report_ready = false;
    *out = n->report;
    return true;
}

uint32_t ml_netcheck_latency(const struct ml_netcheck *n, ml_time now, uint16_t region)
{
    const struct ml_netcheck_region *r = ml_netcheck_region_find(n, region);
    return r ? ml_netcheck_recent(r, now) : 0;
}
