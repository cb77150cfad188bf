/*
 * The world's clock, its event queue, the engines, and what takes the place of control and of the hosts.
 *
 * Control is replaced by netmap deltas: what an engine would publish (endpoints, home region, disco key) reaches the others as
 * a peer patch after a delay, unless control is down. Hosts are replaced by numbered datagrams, so that loss, silence and
 * duplicates can be told to the packet.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "disco/disco_demux.h"
#include "ip/ip_build.h"
#include "path/path_internal.h"
#include "stun/stun_msg.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANARY      64
#define CANARY_BYTE 0xa5
#define MAGIC       UINT32_C(0x51317365)
#define UDP_HEAD    28

/* ---- Randomness ---- */

static uint64_t splitmix(uint64_t *s)
{
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_rand(struct sim *w)
{
    return splitmix(&w->rng);
}

unsigned sim_below(struct sim *w, unsigned bound)
{
    return bound ? (unsigned)(sim_rand(w) % bound) : 0;
}

bool sim_chance(struct sim *w, unsigned per_mille)
{
    return per_mille && sim_below(w, 1000) < per_mille;
}

static void node_random(void *ctx, uint8_t *buf, size_t len)
{
    uint64_t *s = ctx, v = 0;
    for (size_t i = 0; i < len; i++) {
        v = i % 8 == 0 ? splitmix(s) : v >> 8;
        buf[i] = (uint8_t)v;
    }
}

/* ---- Events ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}

struct sim_event *sim_push(struct sim *w, ml_time at, enum sim_event_type type)
{
    struct sim_event *ev = calloc(1, sizeof *ev);
    if (w->heap_len == w->heap_cap) {
        w->heap_cap = w->heap_cap ? 2 * w->heap_cap : 256;
        struct sim_event **grown =
            realloc(w->heap, w->heap_cap * sizeof w->heap[0]); /* NOLINT(bugprone-sizeof-expression): pointers they are */
        if (!grown) {
            abort();
        }
        w->heap = grown;
    }
    if (!ev) {
        abort();
    }
    ev->at = at;
    ev->seq = w->next_seq++;
    ev->type = type;
    size_t i = w->heap_len++;
    for (; i > 0 && is_before(ev, w->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        w->heap[i] = w->heap[(i - 1) / 2];
    }
    w->heap[i] = ev;
    return ev;
}

static struct sim_event *pop(struct sim *w)
{
    struct sim_event *top = w->heap[0], *last = w->heap[--w->heap_len];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k + 1 < w->heap_len && is_before(w->heap[k + 1], w->heap[k])) {
            k++;
        }
        if (k >= w->heap_len || !is_before(w->heap[k], last)) {
            break;
        }
        w->heap[i] = w->heap[k];
        i = k;
    }
    w->heap[i] = last;
    return top;
}

void sim_call_at(struct sim *w, ml_time at, sim_call call, void *arg)
{
    struct sim_event *ev = sim_push(w, at, SIM_EV_CALL);
    ev->call = call;
    ev->arg = arg;
}

/* ---- Failures ---- */

void sim_fail(struct sim *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "FAIL %s --seed %llu at %.3f s: ", w->name, (unsigned long long)w->seed, (double)w->now / 1e6);
    vfprintf(stderr, fmt, ap); /* NOLINT(clang-analyzer-valist.Uninitialized) */
    fprintf(stderr, "\n");
    va_end(ap);
    w->failures++;
}

/* ---- Making and ending a world ---- */

struct sim *sim_new(const char *name, const struct sim_opts *o, uint64_t seed)
{
    struct sim *w = calloc(1, sizeof *w);
    if (!w) {
        abort();
    }
    w->name = name;
    w->seed = seed;
    w->is_verbose = o->is_verbose;
    w->rng = seed;
    w->now = ML_SEC(1000);
    w->wall0 = UINT64_C(1790000000000);
    w->digest = UINT64_C(0xcbf29ce484222325);
    w->control_delay = ML_MSEC(100);
    sim_derp_init(w);
    return w;
}

static void check_memory(struct sim *w, unsigned i)
{
    const uint8_t *end = (const uint8_t *)w->n[i].mem + w->n[i].mem_len;
    for (unsigned k = 0; k < CANARY; k++) {
        if (end[k] != CANARY_BYTE) {
            sim_fail(w, "node %u wrote behind its memory", i);
            return;
        }
    }
}

static void clear_node(struct sim *w, unsigned i)
{
    if (w->n[i].ml) {
        check_memory(w, i);
        ml_clear(w->n[i].ml);
        free(w->n[i].mem);
        w->n[i].ml = NULL;
    }
}

/* What the engines threw away, for whoever looks into a failure. */
static void print_drops(const struct sim *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        ml_stats st;
        ml_get_stats(w->n[i].ml, &st);
        for (unsigned k = 1; w->n[i].ml && k < ML_DROP_COUNT; k++) {
            if (st.drop[k]) {
                printf("node %u dropped %llu: %s\n", i, (unsigned long long)st.drop[k], ml_drop_text((ml_drop)k));
            }
        }
    }
}

unsigned sim_free(struct sim *w)
{
    for (unsigned t = 0; t < SIM_TRAFFICS; t++) {
        if (w->traffic[t].is_used) {
            SIM_CHECK(w, w->traffic[t].dups == 0, "%u packets from %u to %u were delivered twice", w->traffic[t].dups,
                      w->traffic[t].from, w->traffic[t].to);
            free(w->traffic[t].seen);
        }
    }
    if (w->is_verbose) {
        print_drops(w);
    }
    for (unsigned i = 0; i < w->count; i++) {
        clear_node(w, i);
    }
    for (unsigned s = 0; s < SIM_STREAMS; s++) {
        free(w->streams[s].held);
    }
    while (w->heap_len) {
        struct sim_event *ev = pop(w);
        free(ev->data);
        free(ev);
    }
    free(w->heap);
    unsigned failures = w->failures;
    free(w);
    return failures;
}

unsigned sim_add_node(struct sim *w, enum sim_kind kind)
{
    if (w->count == SIM_NODES) {
        abort();
    }
    unsigned i = w->count++;
    struct sim_node *n = &w->n[i];
    n->w = w;
    n->rng = sim_rand(w);
    n->nat = n->nat6 = -1;
    n->link = (struct sim_link){.latency = ML_MSEC(2 + sim_below(w, 18)), .jitter = ML_MSEC(1 + sim_below(w, 3)), .reorder = 5};
    n->overlay = ml_ip4(100, 64, 0, (uint8_t)(1 + i));
    sim_place_kind(w, i, kind);
    const ml_random r = {.fill = node_random, .ctx = &n->rng};
    ml_x25519_keygen(&n->node_key, &r);
    ml_x25519_keygen(&n->disco_key, &r);
    return i;
}

/* ---- Control ---- */

static void delta(struct sim *w, unsigned i, const struct ml_delta *d)
{
    struct core_apply_ctx ctx = {.ml = w->n[i].ml, .now = w->now};
    core_apply(&ctx, d);
}

static void node_of(const struct sim *w, unsigned i, struct ml_node *out)
{
    const struct sim_node *n = &w->n[i];
    memset(out, 0, sizeof *out);
    out->id = 100 + i;
    snprintf(out->name, sizeof out->name, "node%u.example.ts.net.", i);
    ml_x25519_base(out->key.b, &n->node_key);
    ml_x25519_base(out->disco.b, &n->disco_key);
    out->addresses[0] = (ml_prefix){.ip = n->overlay, .bits = 32};
    out->address_count = out->allowed_count = 1;
    out->allowed[0] = out->addresses[0];
    out->home_region = n->told.home_region;
    out->endpoint_count = n->told.endpoint_count < ML_NODE_ENDPOINTS ? n->told.endpoint_count : ML_NODE_ENDPOINTS;
    memcpy(out->endpoints, n->told.endpoints, out->endpoint_count * sizeof out->endpoints[0]);
    out->is_machine_authorized = true;
    out->cap = ML_CAPVER_DEFAULT;
}

/* A peer that exists in the netmap only. Its endpoints lead to nobody. */
static void phantom_of(unsigned k, struct ml_node *out)
{
    memset(out, 0, sizeof *out);
    out->id = 10000 + k;
    snprintf(out->name, sizeof out->name, "idle%u.example.ts.net.", k);
    uint64_t s = k;
    node_random(&s, out->key.b, sizeof out->key.b);
    node_random(&s, out->disco.b, sizeof out->disco.b);
    out->addresses[0] = (ml_prefix){.ip = ml_ip4(100, 70, (uint8_t)(k >> 8), (uint8_t)k), .bits = 32};
    out->address_count = out->allowed_count = 1;
    out->allowed[0] = out->addresses[0];
    out->home_region = (uint16_t)(1 + k % SIM_REGIONS);
    out->endpoints[0] = (ml_addr){.ip = ml_ip4(198, 18, (uint8_t)(k >> 8), (uint8_t)k), .port = SIM_PORT};
    out->endpoint_count = 1;
    out->is_machine_authorized = true;
}

static void region_of(const struct sim *w, unsigned r, struct ml_derp_region *out)
{
    memset(out, 0, sizeof *out);
    out->id = (uint16_t)r;
    snprintf(out->code, sizeof out->code, "r%u", r);
    snprintf(out->name, sizeof out->name, "Region %u", r);
    out->node_count = 1;
    snprintf(out->nodes[0].host, sizeof out->nodes[0].host, "relay%u.example", r);
    out->nodes[0].ip4 = w->relays[r].ip;
    out->nodes[0].no_ip6 = true;
}

static void allow_all(struct sim *w, unsigned i)
{
    struct ml_rule rule = {.src_count = 1, .dst_count = 1};
    rule.srcs[0] = (ml_prefix){.ip = ml_ip4(0, 0, 0, 0)};
    rule.dsts[0] = (struct ml_rule_dst){.net = rule.srcs[0], .port_last = 65535};
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_RULES_BEGIN, .text = "base"});
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &rule});
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_RULES_END, .text = "base"});
}

void sim_netmap(struct sim *w, unsigned i)
{
    struct ml_node node;
    struct ml_derp_region region;
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_BEGIN, .first = true});
    node_of(w, i, &node);
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_SELF, .node = &node});
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    for (unsigned r = 1; r <= SIM_REGIONS; r++) {
        region_of(w, r, &region);
        delta(w, i, &(struct ml_delta){.type = ML_DELTA_DERP_REGION, .region = &region});
    }
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_DERP_END});
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEERS_BEGIN});
    for (unsigned k = 0; k < w->count; k++) {
        if (k != i && !w->n[k].is_hidden) {
            node_of(w, k, &node);
            delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
        }
    }
    for (unsigned k = 0; k < w->phantoms; k++) {
        phantom_of(k, &node);
        delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
    }
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEERS_END});
    allow_all(w, i);
    delta(w, i, &(struct ml_delta){.type = ML_DELTA_END});
    /* As when the map poll is open; otherwise a home never changes. */
    ml_netcheck_set_map_poll(&w->n[i].ml->netcheck, !w->is_control_down);
}

static bool is_told(const struct ml_control_published *a, const struct ml_control_published *b)
{
    return ml_key_equal(&a->disco, &b->disco) && a->home_region == b->home_region && a->endpoint_count == b->endpoint_count &&
           memcmp(a->endpoints, b->endpoints, a->endpoint_count * sizeof a->endpoints[0]) == 0;
}

/* Passes on what an engine publishes. */
static void control_sync(struct sim *w, unsigned i)
{
    struct sim_node *n = &w->n[i];
    bool is_same = is_told(&n->told, &n->ml->control.pub);
    n->told = n->ml->control.pub;
    if (is_same && !n->is_told_late) {
        return;
    }
    n->is_told_late = w->is_control_down;
    if (w->is_control_down) {
        return;
    }
    for (unsigned k = 0; k < w->count; k++) {
        if (k == i || n->is_hidden) {
            continue;
        }
        struct sim_event *ev = sim_push(w, w->now + w->control_delay + sim_below(w, 50000), SIM_EV_PATCH);
        ev->node = k;
        ev->subject = i;
    }
}

static void take_patch(struct sim *w, const struct sim_event *ev)
{
    const struct sim_node *n = &w->n[ev->subject];
    if (w->n[ev->node].is_suspended || w->is_control_down) { /* it gets the netmap when it is back */
        struct sim_event *later = sim_push(w, w->now + ML_SEC(1), SIM_EV_PATCH);
        later->node = ev->node;
        later->subject = ev->subject;
        return;
    }
    /* As things are now: what control sends never overtakes itself. */
    struct ml_node_patch p = {.id = 100 + ev->subject,
                              .fields = ML_PATCH_ENDPOINTS | ML_PATCH_DISCO | ML_PATCH_REGION,
                              .region = n->told.home_region,
                              .disco = n->told.disco};
    p.endpoint_count = n->told.endpoint_count < ML_NODE_ENDPOINTS ? n->told.endpoint_count : ML_NODE_ENDPOINTS;
    memcpy(p.endpoints, n->told.endpoints, p.endpoint_count * sizeof p.endpoints[0]);
    delta(w, ev->node, &(struct ml_delta){.type = ML_DELTA_BEGIN});
    delta(w, ev->node, &(struct ml_delta){.type = ML_DELTA_PEER_PATCH, .patch = &p});
    delta(w, ev->node, &(struct ml_delta){.type = ML_DELTA_END});
    sim_drain(w, ev->node);
}

void sim_control_set_down(struct sim *w, bool is_down)
{
    w->is_control_down = is_down;
    for (unsigned i = 0; i < w->count; i++) {
        ml_netcheck_set_map_poll(&w->n[i].ml->netcheck, !is_down);
        control_sync(w, i);
    }
}

/* ---- Engines ---- */

static void print_line(void *ctx, ml_log_level level, const char *line)
{
    const struct sim_node *n = ctx;
    printf("%.3f s: node %u, level %d: %s\n", (double)n->w->now / 1e6, (unsigned)(n - n->w->n), (int)level, line);
}

static void make_engine(struct sim *w, unsigned i, const ml_config *base)
{
    struct sim_node *n = &w->n[i];
    ml_config cfg = base ? *base : (ml_config){0};
    ml_addr local[2] = {n->local4, n->local6};
    cfg.random = (ml_random){.fill = node_random, .ctx = &n->rng};
    cfg.control_url = "http://127.0.0.1:1";
    cfg.hostname = "sim";
    if (w->is_verbose) {
        cfg.log = print_line;
        cfg.log_ctx = n;
        cfg.log_level = ML_LOG_DEBUG;
    }
    n->mem_len = ml_mem_needed(&cfg);
    n->mem = malloc(n->mem_len + CANARY);
    if (!n->mem) {
        abort();
    }
    memset((uint8_t *)n->mem + n->mem_len, CANARY_BYTE, CANARY);
    if (ml_init(&n->ml, n->mem, n->mem_len, &cfg) != ML_OK) {
        abort();
    }
    ml_x25519_keygen(&n->ml->identity.machine, &n->ml->random);
    n->ml->identity.node = n->node_key;
    n->ml->identity.disco = n->disco_key;
    n->ml->identity.has_node = n->ml->has_machine = true;
    n->ml->cache.home_region = n->told.home_region; /* of an earlier life, as stored */
    ml_set_wall_clock(n->ml, w->now, w->wall0 + w->now / 1000);
    if (ml_start(n->ml, w->now) != ML_OK) {
        abort();
    }
    ml_set_local_addrs(n->ml, w->now, local, ml_addr_is_set(&n->local6) ? 2 : 1);
}

void sim_start(struct sim *w, const ml_config *base)
{
    for (unsigned i = 0; i < w->count; i++) {
        if (!w->n[i].ml) {
            make_engine(w, i, base);
        }
    }
    for (unsigned i = 0; i < w->count; i++) {
        sim_netmap(w, i);
    }
    for (unsigned i = 0; i < w->count; i++) {
        sim_drain(w, i);
    }
}

void sim_restart_node(struct sim *w, unsigned i, bool has_new_disco)
{
    struct sim_node *n = &w->n[i];
    sim_derp_forget_node(w, i);
    clear_node(w, i);
    if (has_new_disco) {
        const ml_random r = {.fill = node_random, .ctx = &n->rng};
        ml_x25519_keygen(&n->disco_key, &r);
    }
    make_engine(w, i, NULL);
    sim_netmap(w, i);
    sim_drain(w, i);
}

void sim_new_disco(struct sim *w, unsigned i)
{
    struct sim_node *n = &w->n[i];
    ml_x25519_keygen(&n->disco_key, &n->ml->random);
    n->ml->identity.disco = n->disco_key;
    ml_path_set_keys(&n->ml->path, &n->ml->node_pub, &n->disco_key);
    core_publish(n->ml, w->now);
    sim_drain(w, i);
}

/* ---- Traffic ---- */

unsigned sim_traffic_start(struct sim *w, unsigned from, unsigned to, ml_time period)
{
    unsigned t = 0;
    while (t < SIM_TRAFFICS && w->traffic[t].is_used && (w->traffic[t].from != from || w->traffic[t].to != to)) {
        t++;
    }
    if (t == SIM_TRAFFICS) {
        abort();
    }
    struct sim_traffic *f = &w->traffic[t];
    if (!f->is_used) {
        *f = (struct sim_traffic){.is_used = true, .from = from, .to = to};
    }
    f->is_on = true;
    f->period = period;
    f->next_at = w->now;
    sim_traffic_mark(w, t);
    return t;
}

void sim_traffic_stop(struct sim *w, unsigned t)
{
    w->traffic[t].is_on = false;
}

void sim_traffic_mark(struct sim *w, unsigned t)
{
    struct sim_traffic *f = &w->traffic[t];
    f->seq_lo = f->seq;
    f->got = 0;
    f->max_gap = 0;
    f->first_at = 0;
    f->last_at = w->now;
}

uint32_t sim_traffic_sent(const struct sim *w, unsigned t)
{
    return w->traffic[t].seq - w->traffic[t].seq_lo;
}

ml_time sim_traffic_gap(const struct sim *w, unsigned t)
{
    const struct sim_traffic *f = &w->traffic[t];
    ml_time open = f->is_on ? w->now - f->last_at : 0;
    return open > f->max_gap ? open : f->max_gap;
}

/* Room to remember one more packet as delivered, however long the run. */
static void make_room(struct sim_traffic *f)
{
    if (f->seq < f->seen_cap) {
        return;
    }
    uint8_t *grown = realloc(f->seen, (f->seen_cap + SIM_SEQ_STEP) / 8);
    if (!grown) {
        abort();
    }
    memset(grown + f->seen_cap / 8, 0, SIM_SEQ_STEP / 8);
    f->seen = grown;
    f->seen_cap += SIM_SEQ_STEP;
}

static void traffic_send(struct sim *w, unsigned t)
{
    struct sim_traffic *f = &w->traffic[t];
    struct sim_node *n = &w->n[f->from];
    uint8_t data[48] = {0}, pkt[UDP_HEAD + sizeof data];
    f->next_at += f->period;
    if (n->is_suspended) {
        return;
    }
    make_room(f);
    ml_put_be32(data, MAGIC);
    ml_put_be32(data + 4, t);
    ml_put_be32(data + 8, f->seq++);
    const ml_addr src = {.ip = n->overlay, .port = 1000}, dst = {.ip = w->n[f->to].overlay, .port = 2000};
    size_t len = ml_udp_build(pkt, sizeof pkt, &src, &dst, data, sizeof data, 1);
    (void)ml_handle_overlay(n->ml, w->now, pkt, len);
    sim_drain(w, f->from);
}

static void traffic_got(struct sim *w, unsigned i, const uint8_t *pkt, size_t len)
{
    if (len < UDP_HEAD + 12 || ml_get_be32(pkt + UDP_HEAD) != MAGIC) {
        return;
    }
    unsigned t = ml_get_be32(pkt + UDP_HEAD + 4);
    uint32_t seq = ml_get_be32(pkt + UDP_HEAD + 8);
    struct sim_traffic *f = t < SIM_TRAFFICS ? &w->traffic[t] : NULL;
    if (!f || !f->is_used || f->to != i || seq >= f->seq) {
        sim_fail(w, "node %u was given a packet that is not for it", i);
        return;
    }
    if (f->seen[seq / 8] & (1U << seq % 8)) {
        f->dups++;
        return;
    }
    f->seen[seq / 8] |= (uint8_t)(1U << seq % 8);
    if (seq < f->seq_lo) {
        return;
    }
    f->got++;
    f->first_at = f->first_at ? f->first_at : w->now;
    if (w->is_verbose && w->now - f->last_at > ML_SEC(1)) {
        printf("%.3f s: node %u hears node %u again after %.3f s\n", (double)w->now / 1e6, f->to, f->from,
               (double)(w->now - f->last_at) / 1e6);
    }
    f->max_gap = w->now - f->last_at > f->max_gap ? w->now - f->last_at : f->max_gap;
    f->last_at = w->now;
}

/* ---- Engines: outputs ---- */

static void note(struct sim *w, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        w->digest = (w->digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

static void datagram_out(struct sim *w, unsigned i, const ml_output *out)
{
    struct sim_node *n = &w->n[i];
    n->datagrams++;
    n->bytes += out->len + UDP_HEAD;
    n->to_phantoms += (ml_ip4_to_u32(&out->addr.ip) >> 17) == (UINT32_C(198) << 24 | UINT32_C(18) << 16) >> 17;
    switch (ml_datagram_classify(out->data, out->len)) {
    case ML_DATAGRAM_DISCO:
        n->disco++;
        break;
    case ML_DATAGRAM_STUN:
        n->stun++;
        break;
    default:
        n->initiations += out->len > 0 && out->data[0] == 1;
        break;
    }
    note(w, &w->now, sizeof w->now);
    note(w, out->data, out->len);
    sim_net_send(w, i, &out->addr, out->data, out->len);
}

static void stream_out(struct sim *w, unsigned i, const ml_output *out)
{
    if (CORE_STREAM_OWNER(out->stream.id) == CORE_STREAM_DERP) {
        if (out->type == ML_OUT_STREAM_OPEN) {
            sim_derp_open(w, i, &out->stream);
        } else {
            sim_derp_close(w, i, out->stream.id);
        }
    } else if (out->type == ML_OUT_STREAM_OPEN) {
        struct sim_event *ev = sim_push(w, w->now + ML_MSEC(20), SIM_EV_REFUSED);
        ev->node = i;
        ev->id = out->stream.id;
    }
}

static bool drain_once(struct sim *w, unsigned i)
{
    struct sim_node *n = &w->n[i];
    ml_output out;
    bool any = false;
    while (ml_poll_output(n->ml, w->now, &out)) {
        any = true;
        switch (out.type) {
        case ML_OUT_DATAGRAM:
            datagram_out(w, i, &out);
            break;
        case ML_OUT_OVERLAY:
            traffic_got(w, i, out.data, out.len);
            break;
        case ML_OUT_STREAM_OPEN:
        case ML_OUT_STREAM_CLOSE:
            stream_out(w, i, &out);
            break;
        case ML_OUT_STORE:
            ml_handle_stored(n->ml, w->now, out.store, true);
            break;
        case ML_OUT_RESOLVE:
            ml_handle_resolved(n->ml, w->now, out.token, NULL, 0);
            break;
        case ML_OUT_EVENT:
            n->pongs += out.event.type == ML_EV_PONG;
            break;
        case ML_OUT_NONE:
            break;
        }
    }
    return any;
}

void sim_drain(struct sim *w, unsigned i)
{
    unsigned rounds = 0;
    do {
        (void)drain_once(w, i);
        sim_derp_tx(w, i);
        if (++rounds > 1000) {
            sim_fail(w, "node %u never stops giving out", i);
            return;
        }
    } while (sim_derp_offer_held(w, i));
    control_sync(w, i);
}

/* ---- Time ---- */

static void handle(struct sim *w, struct sim_event *ev)
{
    switch (ev->type) {
    case SIM_EV_PACKET:
    case SIM_EV_LAN:
        sim_net_arrive(w, ev);
        break;
    case SIM_EV_UP:
    case SIM_EV_DOWN:
    case SIM_EV_OPENED:
    case SIM_EV_CLOSED:
    case SIM_EV_KEEPALIVE:
        sim_derp_event(w, ev);
        break;
    case SIM_EV_REFUSED:
        if (w->n[ev->node].is_suspended) {
            struct sim_event *later = sim_push(w, w->now + ML_SEC(1), SIM_EV_REFUSED);
            later->node = ev->node;
            later->id = ev->id;
        } else if (w->n[ev->node].ml) {
            ml_handle_stream_closed(w->n[ev->node].ml, w->now, ev->id, ML_CLOSE_REFUSED, NULL);
            sim_drain(w, ev->node);
        }
        break;
    case SIM_EV_PATCH:
        take_patch(w, ev);
        break;
    case SIM_EV_CALL:
        ev->call(w, ev->arg);
        break;
    }
    free(ev->data);
    free(ev);
}

static ml_time next_deadline(const struct sim *w)
{
    ml_time at = w->heap_len ? w->heap[0]->at : ML_NEVER;
    for (unsigned i = 0; i < w->count; i++) {
        if (w->n[i].ml && !w->n[i].is_suspended) {
            ml_time d = ml_poll_deadline(w->n[i].ml);
            at = d < at ? d : at;
        }
    }
    for (unsigned t = 0; t < SIM_TRAFFICS && w->traffic[t].is_used; t++) {
        at = w->traffic[t].is_on && w->traffic[t].next_at < at ? w->traffic[t].next_at : at;
    }
    return at;
}

void sim_run(struct sim *w, ml_time span)
{
    ml_time end = w->now + span;
    unsigned stuck = 0;
    while (w->failures < 20) {
        ml_time next = next_deadline(w);
        if (next >= end) {
            break;
        }
        stuck = next > w->now ? 0 : stuck + 1;
        if (stuck > 100000) {
            sim_fail(w, "time stands still: a deadline stays in the past");
            break;
        }
        w->now = next > w->now ? next : w->now;
        while (w->heap_len && w->heap[0]->at <= w->now) {
            handle(w, pop(w));
        }
        for (unsigned t = 0; t < SIM_TRAFFICS && w->traffic[t].is_used; t++) {
            if (w->traffic[t].is_on && w->traffic[t].next_at <= w->now) {
                traffic_send(w, t);
            }
        }
        for (unsigned i = 0; i < w->count; i++) {
            if (w->n[i].ml && !w->n[i].is_suspended && ml_poll_deadline(w->n[i].ml) <= w->now) {
                ml_handle_time(w->n[i].ml, w->now);
                sim_drain(w, i);
            }
        }
    }
    w->now = end;
}

bool sim_run_until(struct sim *w, ml_time span, bool (*cond)(struct sim *w, void *arg), void *arg)
{
    ml_time end = w->now + span;
    while (!cond(w, arg)) {
        if (w->now >= end) {
            return false;
        }
        sim_run(w, ML_MSEC(10));
    }
    return true;
}

void sim_jump(struct sim *w, ml_time span)
{
    w->now += span;
    for (unsigned t = 0; t < SIM_TRAFFICS; t++) {
        w->traffic[t].next_at += span;
    }
}

/* ---- Questions ---- */

static void print_addr(const char *label, const ml_addr *a)
{
    char text[64];
    struct ml_writer wr = ml_writer_of((uint8_t *)text, sizeof text);
    ml_write_addr(&wr, a);
    printf("%s %s", label, ml_write_end_str(&wr));
}

void sim_explain(struct sim *w, unsigned from, unsigned to)
{
    ml_engine *ml = w->n[from].ml;
    uint16_t slot = core_slot_of(ml, ml_map_find_ip(&ml->map, &w->n[to].overlay));
    if (!w->is_verbose || slot == ML_PATH_NO_SLOT) {
        return;
    }
    const struct ml_path_peer *p = &ml->path.peers[slot];
    printf("node %u to %u:", from, to);
    ml_addr best = ml_path_best_addr(p);
    print_addr(" best", &best);
    printf(", trust %.3f s, home region %u, session %d, disco key %s\n",
           (double)(int64_t)(ml_path_time(&ml->path, p->trust_until) - w->now) / 1e6, p->home_region,
           sim_has_session(w, from, to), ml_key_equal(p->disco, ml_path_disco_key(&w->n[to].ml->path)) ? "right" : "stale");
    for (unsigned i = 0; i < ML_PATH_CANDIDATES; i++) {
        if (p->cand[i].from) {
            ml_addr addr = ml_path_cand_addr(p, &p->cand[i]);
            print_addr("   candidate", &addr);
            printf(" from %u, pong %d\n", p->cand[i].from, p->cand[i].has_pong);
        }
    }
    for (unsigned i = 0; i < w->n[to].told.endpoint_count; i++) {
        print_addr("   it publishes", &w->n[to].told.endpoints[i]);
        printf(", type %u\n", w->n[to].told.endpoint_types[i]);
    }
    for (int at = w->n[to].nat; at >= 0; at = w->nats[at].up) {
        for (unsigned i = 0; i < SIM_FLOWS; i++) {
            const struct sim_flow *f = &w->nats[at].flows[i];
            if (f->at && w->now - f->at < w->nats[at].timeout) {
                print_addr("   its NAT maps", &f->inside);
                print_addr(" for", &f->remote);
                printf(" to port %u, idle %.1f s\n", f->port, (double)(w->now - f->at) / 1e6);
            }
        }
    }
}

bool sim_is_direct(struct sim *w, unsigned from, unsigned to, ml_addr *via)
{
    ml_peer_info info;
    if (ml_get_peer_by_ip(w->n[from].ml, w->now, &w->n[to].overlay, &info) != ML_OK || !ml_addr_is_set(&info.direct)) {
        return false;
    }
    if (via) {
        *via = info.direct;
    }
    return true;
}

bool sim_has_session(struct sim *w, unsigned from, unsigned to)
{
    ml_peer_info info;
    return ml_get_peer_by_ip(w->n[from].ml, w->now, &w->n[to].overlay, &info) == ML_OK && info.has_session;
}

uint64_t sim_drops(struct sim *w, unsigned i, ml_drop reason)
{
    ml_stats s;
    ml_get_stats(w->n[i].ml, &s);
    return s.drop[reason];
}
