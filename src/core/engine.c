/*
 * The engine's memory, life and commands. See engine_priv.h for the other parts.
 *
 * All memory is one arena: the engine struct first, then what each module asked for, laid out by one function that serves
 * both ml_mem_needed() (counting) and ml_init() (placing), so that the two cannot disagree.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include <stdalign.h>
#include <string.h>

#define DEFAULT_URL       "https://controlplane.tailscale.com"
#define DEFAULT_PEERS     16
#define DEFAULT_SLOTS     16
#define DEFAULT_REGIONS   32
#define DEFAULT_RULES     64
#define DEFAULT_DERP      2
#define DEFAULT_OUTQ      8192
#define DEFAULT_STREAM_TX 4096
#define SMALL_WINDOW      2048
#define MIN_OUTQ          (2 * (CORE_PACKET_MAX + sizeof(struct ml_outq_rec) + 8))

/* ---- Memory ---- */

struct arena {
    uint8_t *base; /* NULL: count only */
    size_t used;
    size_t *len_of; /* by tenant; NULL: nobody asks */
};

static void *take(struct arena *a, enum core_tenant tenant, size_t len)
{
    const size_t align = alignof(max_align_t);
    size_t at = (a->used + align - 1) / align * align;
    a->used = at + len;
    if (a->len_of) {
        a->len_of[tenant] += len;
    }
    return a->base ? a->base + at : NULL;
}

/* The configuration with every default filled in. */
struct sizes {
    uint16_t peers, slots, regions, rules, derp, stages, routes, flows, handshakes, handshakes_out, flights, spares;
    uint32_t outq, tx;
};

static bool get_sizes(const ml_config *cfg, struct sizes *z)
{
    z->peers = cfg->max_peers ? cfg->max_peers : DEFAULT_PEERS;
    z->slots = cfg->max_sessions ? cfg->max_sessions : (uint16_t)(z->peers < DEFAULT_SLOTS ? z->peers : DEFAULT_SLOTS);
    z->regions = cfg->max_regions ? cfg->max_regions : DEFAULT_REGIONS;
    z->rules = cfg->max_rules ? cfg->max_rules : DEFAULT_RULES;
    z->derp = cfg->max_derp ? cfg->max_derp : DEFAULT_DERP;
    z->outq = cfg->out_queue_bytes ? cfg->out_queue_bytes : DEFAULT_OUTQ;
    z->tx = cfg->stream_tx_bytes ? cfg->stream_tx_bytes : DEFAULT_STREAM_TX;
    /* A packet that waits for a session costs 1.3 KB; a host with much memory has many sessions too. */
    uint32_t least = z->outq < 8192U ? 3U : 4U;
    z->stages = (uint16_t)(z->outq / 4096U < least ? least : (z->outq / 4096U > 256U ? 256U : z->outq / 4096U));
    z->routes = (uint16_t)(z->slots < 16 ? 16 : z->slots);
    z->handshakes_out = (uint16_t)(z->slots / 16U < 4U ? 4U : (z->slots / 16U > 32U ? 32U : z->slots / 16U));
    /* With the places for new keypairs (below), those of all 16 peers of a small device that call at the same moment. */
    z->handshakes = z->handshakes_out < 8U ? 8U : z->handshakes_out;
    /* Half of the peers may be waiting for an answer at a time. */
    z->flights = (uint16_t)(z->slots <= 8U ? z->slots : (z->slots / 2U < 8U ? 8U : z->slots / 2U));
    /* Half of the sessions may be in the midst of a change of keys at a time. */
    z->spares = z->flights;
    z->flows = (uint16_t)(z->peers < 64 ? 64 : (z->peers > 512 ? 512 : z->peers));
    return z->peers <= ML_MAP_MAX_PEERS && z->slots <= ML_WG_MAX_SLOTS && z->regions <= 1024 && z->derp <= ML_DERP_SLOTS_MAX &&
           z->outq >= MIN_OUTQ && z->tx >= ML_DERP_TX_MIN && z->tx >= ML_CONTROL_TX_MIN;
}

struct layout {
    struct ml_engine *ml;
    struct ml_wg_peer *wg_peers;
    struct ml_wg_flight *wg_flights;
    struct ml_wg_spare *wg_spares;
    struct ml_wg_stage *wg_stages;
    struct ml_path_peer *path_peers;
    struct ml_netcheck_region *netcheck_regions;
    struct ml_derp_slot *derp_slots;
    struct core_derp_stream *derp_streams;
    struct ml_derp_route *derp_routes;
    struct core_handshake *handshakes;
    struct core_handshake_out *handshakes_out;
    struct core_slot *slots;
    uint16_t *slot_of_peer;
    uint32_t *scores;
    uint8_t *derp_tx, *outq, *control_tx;
    void *map, *regions, *filter;
};

static size_t lay_out(struct arena a, const struct sizes *z, struct layout *l)
{
    const struct ml_map_cfg map_cfg = {.max_peers = z->peers};
    const struct ml_filter_cfg filter_cfg = {.max_entries = z->rules, .max_flows = z->flows};
    l->ml = take(&a, CORE_TENANT_ENGINE, sizeof *l->ml);
    l->wg_peers = take(&a, CORE_TENANT_WG_PEERS, z->slots * sizeof *l->wg_peers);
    l->wg_flights = take(&a, CORE_TENANT_WG_FLIGHTS, z->flights * sizeof *l->wg_flights);
    l->wg_spares = take(&a, CORE_TENANT_WG_SPARES, z->spares * sizeof *l->wg_spares);
    l->wg_stages = take(&a, CORE_TENANT_WG_STAGES, z->stages * sizeof *l->wg_stages);
    l->path_peers = take(&a, CORE_TENANT_PATH_PEERS, z->slots * sizeof *l->path_peers);
    l->netcheck_regions = take(&a, CORE_TENANT_NETCHECK, z->regions * sizeof *l->netcheck_regions);
    l->derp_slots = take(&a, CORE_TENANT_DERP_SLOTS, z->derp * sizeof *l->derp_slots);
    l->derp_streams = take(&a, CORE_TENANT_DERP_STREAMS, z->derp * sizeof *l->derp_streams);
    l->derp_routes = take(&a, CORE_TENANT_DERP_ROUTES, z->routes * sizeof *l->derp_routes);
    l->handshakes = take(&a, CORE_TENANT_HANDSHAKES, z->handshakes * sizeof *l->handshakes);
    l->handshakes_out = take(&a, CORE_TENANT_HANDSHAKES, z->handshakes_out * sizeof *l->handshakes_out);
    l->slots = take(&a, CORE_TENANT_SLOTS, z->slots * sizeof *l->slots);
    l->slot_of_peer = take(&a, CORE_TENANT_SLOT_OF_PEER, z->peers * sizeof *l->slot_of_peer);
    l->scores = take(&a, CORE_TENANT_SCORES, z->regions * sizeof *l->scores);
    l->derp_tx = take(&a, CORE_TENANT_DERP_TX, (size_t)z->derp * z->tx);
    l->outq = take(&a, CORE_TENANT_OUTQ, z->outq);
    l->control_tx = take(&a, CORE_TENANT_CONTROL_TX, z->tx);
    l->map = take(&a, CORE_TENANT_MAP, ml_map_mem(&map_cfg));
    l->regions = take(&a, CORE_TENANT_REGIONS, ml_derp_table_mem(z->regions));
    l->filter = take(&a, CORE_TENANT_FILTER, ml_filter_mem(&filter_cfg));
    return a.used;
}

size_t ml_mem_needed(const ml_config *cfg)
{
    struct sizes z;
    struct layout l;
    if (!cfg || !get_sizes(cfg, &z)) {
        return 0;
    }
    return lay_out((struct arena){0}, &z, &l);
}

size_t core_arena_by_tenant(const ml_config *cfg, size_t len_of[CORE_TENANT_COUNT])
{
    struct sizes z;
    struct layout l;
    memset(len_of, 0, CORE_TENANT_COUNT * sizeof *len_of);
    return cfg && get_sizes(cfg, &z) ? lay_out((struct arena){.len_of = len_of}, &z, &l) : 0;
}

static bool copy_str(char *dst, size_t cap, const char *src, const char *otherwise)
{
    const char *s = src && src[0] ? src : otherwise;
    return ml_str_set(dst, cap, s);
}

static void init_modules(struct ml_engine *ml, const struct sizes *z, const struct layout *l)
{
    ml_outq_init(&ml->outq, l->outq, z->outq);
    ml_map_init(&ml->map, &(struct ml_map_cfg){.max_peers = z->peers}, l->map);
    ml_derp_table_init(&ml->regions, z->regions, l->regions);
    ml_filter_init(&ml->filter, &(struct ml_filter_cfg){.max_entries = z->rules, .max_flows = z->flows}, l->filter);
    ml_filter_set_shields_up(&ml->filter, ml->is_shields_up);
    ml_netcheck_init(&ml->netcheck, l->netcheck_regions, z->regions, &ml->random);
    ml_netcheck_set_disabled(&ml->netcheck, ml->no_stun);
    ml_netcheck_set_http(&ml->netcheck, !ml->no_derp);
    ml_path_init(
        &ml->path,
        &(struct ml_path_cfg){
            .rng = &ml->random, .no_disco = ml->no_disco, .no_derp = ml->no_derp, .no_stun = ml->no_stun, .budget = &ml->curve},
        l->path_peers, z->slots);
    ml->derp_self =
        (struct ml_derp_self){.priv = &ml->identity.node, .pub = &ml->node_pub, .rng = &ml->random, .budget = &ml->curve};
    ml_derp_pool_init(&ml->derp, &(struct ml_derp_pool_cfg){.self = ml->derp_self,
                                                            .slots = l->derp_slots,
                                                            .slot_count = (uint8_t)z->derp,
                                                            .tx = l->derp_tx,
                                                            .tx_cap_each = z->tx,
                                                            .routes = l->derp_routes,
                                                            .route_count = z->routes});
    ml->derp_streams = l->derp_streams;
    ml->handshakes = l->handshakes;
    ml->handshakes_out = l->handshakes_out;
    ml->handshake_cap = (uint8_t)z->handshakes;
    ml->handshake_out_cap = (uint8_t)z->handshakes_out;
    memset(ml->handshakes_out, 0, z->handshakes_out * sizeof *ml->handshakes_out);
    ml->slots = l->slots;
    ml->slot_of_peer = l->slot_of_peer;
    ml->scores = l->scores;
    ml->control_tx = l->control_tx;
    ml->control_tx_len = z->tx;
    for (uint16_t i = 0; i < z->slots; i++) {
        ml->slots[i].peer = ML_PEER_NONE;
    }
    for (uint16_t i = 0; i < z->peers; i++) {
        ml->slot_of_peer[i] = ML_PATH_NO_SLOT;
    }
}

ml_err ml_init(ml_engine **out, void *mem, size_t len, const ml_config *cfg)
{
    struct sizes z;
    struct layout l;
    if (!out || !mem || !cfg || !cfg->random.fill || (uintptr_t)mem % alignof(max_align_t) != 0 || !get_sizes(cfg, &z)) {
        return ML_ERR_ARG;
    }
    size_t need = lay_out((struct arena){0}, &z, &l);
    if (len < need) {
        return ML_ERR_NO_MEM;
    }
    if (!ml_crypto_init()) {
        return ML_ERR_UNSUPPORTED;
    }
    if (!cfg->memory_is_zero) {
        memset(mem, 0, need);
    }
    lay_out((struct arena){.base = mem}, &z, &l);
    struct ml_engine *ml = l.ml;
    ml->mem_len = need;
    ml->random = cfg->random;
    ml->log = (struct ml_log){.fn = cfg->log, .ctx = cfg->log_ctx, .level = cfg->log_level};
    ml->capver = cfg->capability_version ? cfg->capability_version : ML_CAPVER_DEFAULT;
    ml->max_peers = z.peers;
    ml->max_slots = z.slots;
    ml->max_derp = z.derp;
    ml->udp_port = cfg->udp_port;
    ml->build_unix_time = cfg->build_unix_time;
    ml->no_derp = cfg->no_derp;
    ml->no_disco = cfg->no_disco;
    ml->no_stun = cfg->no_stun;
    ml->is_ephemeral = cfg->ephemeral;
    ml->is_shields_up = cfg->shields_up;
    ml->is_heap_small = cfg->is_heap_small;
#ifdef ML_TEST_HOOKS
    ml->is_insecure_ok = cfg->insecure_tls_for_tests;
#endif
    if (!copy_str(ml->hostname, sizeof ml->hostname, cfg->hostname, "microlink") ||
        !copy_str(ml->os, sizeof ml->os, cfg->os, "linux") || !copy_str(ml->auth_key, sizeof ml->auth_key, cfg->auth_key, "") ||
        !ml_control_parse_url(cfg->control_url && cfg->control_url[0] ? cfg->control_url : DEFAULT_URL, &ml->url)) {
        ml_wipe(mem, need);
        return ML_ERR_ARG;
    }
    if (cfg->control_key && cfg->control_key[0]) {
        if (!ml_key_parse(ML_KEY_PREFIX_MACHINE, cfg->control_key, strlen(cfg->control_key), ml->pinned_key.b)) {
            ml_wipe(mem, need);
            return ML_ERR_ARG;
        }
        ml->is_key_pinned = true;
    }
    init_modules(ml, &z, &l);
    core_need_clear(ml);
    ml->cache_out.due_at = ML_NEVER;
    ml->wg_peers = l.wg_peers;
    ml->wg_stages = l.wg_stages;
    ml->wg_stage_count = z.stages;
    ml->wg_flights = l.wg_flights;
    ml->wg_flight_count = z.flights;
    ml->wg_spares = l.wg_spares;
    ml->wg_spare_count = z.spares;
    *out = ml;
    return ML_OK;
}

void ml_clear(ml_engine *ml)
{
    if (ml) {
        ml_control_clear(&ml->control);
        if (ml->has_wg) {
            ml_wg_clear(&ml->wg);
        }
        ml_path_clear(&ml->path);
        ml_wipe(ml, ml->mem_len);
    }
}

/* ---- Small things every part uses ---- */

void core_count(struct ml_engine *ml, ml_drop reason)
{
    if (reason != ML_DROP_NONE && reason < ML_DROP_COUNT) {
        ml->stats.drop[reason]++;
    }
}

void core_store(struct ml_engine *ml, ml_store_kind kind)
{
    ml->is_store_due[kind] = true;
    ml->store_again_at[kind] = 0; /* something new is tried at once, whatever became of the last */
}

const char *core_problem(const struct ml_engine *ml, enum core_problem which)
{
    const char *at = ml->problems;
    for (unsigned i = 0; i < which; i++) {
        at += strlen(at) + 1;
    }
    return at;
}

void core_set_problem(struct ml_engine *ml, enum core_problem which, const char *text)
{
    size_t at = (size_t)(core_problem(ml, which) - ml->problems);
    size_t old_len = strlen(ml->problems + at);
    size_t used = (size_t)(core_problem(ml, CORE_PROBLEM_COUNT) - ml->problems);
    size_t most = sizeof ml->problems - (used - old_len);
    size_t len = strlen(text);
    most = most < ML_TEXT_CAP - 1 ? most : ML_TEXT_CAP - 1;
    len = len < most ? len : most;
    if (len == old_len && memcmp(ml->problems + at, text, len) == 0) {
        return;
    }
    memmove(ml->problems + at + len, ml->problems + at + old_len, used - at - old_len);
    memcpy(ml->problems + at, text, len);
    if (text[0]) {
        ml_log_text(&ml->log, ML_LOG_WARN, ml->problems + at);
    }
    core_mark(ml, CORE_MARK_PROBLEM);
}

void core_set_state(struct ml_engine *ml, ml_state state)
{
    if (ml->state != state) {
        ml->state = state;
        core_mark(ml, CORE_MARK_STATE);
    }
}

/* Never inlined: a call is shorter than these divisions. */
__attribute__((noinline)) int64_t core_unix_now(const struct ml_engine *ml, ml_time now)
{
    if (ml->wall_ms == 0) {
        return 0;
    }
    return (int64_t)((ml->wall_ms + (now - ml->wall_at) / 1000U) / 1000U) + ml->control_offset_s;
}

bool core_is_live(const struct ml_engine *ml)
{
    return ml->is_started && ml->identity.has_node && !ml->is_locked && !ml->self.is_expired;
}

void core_drop_all(struct ml_engine *ml, ml_time now, bool forget)
{
    for (uint16_t i = 0; i < ml->max_slots; i++) {
        core_slot_close(ml, i);
    }
    core_ping_fail_all(ml);
    ml_derp_pool_set_home(&ml->derp, now, 0);
    ml_derp_pool_reset(&ml->derp, now);
    if (forget) {
        ml_map_clear(&ml->map);
        ml_filter_clear(&ml->filter);
        core_need_clear(ml);
        ml->cache.ip4 = ml->cache.ip6 = (ml_ip){{0}};
        core_store(ml, ML_STORE_CACHE);
        memset(&ml->self, 0, sizeof ml->self);
        for (uint16_t i = 0; i < ml->max_peers; i++) {
            ml->slot_of_peer[i] = ML_PATH_NO_SLOT;
        }
        core_mark(ml, CORE_MARK_SELF);
    }
}

void core_use_node_key(struct ml_engine *ml, ml_time now, const ml_node_key *pub)
{
    if (ml->identity.has_node) {
        ml->node_pub = *pub;
        ml_wg_set_keys(&ml->wg, &ml->identity.node, pub);
    } else {
        memset(&ml->node_pub, 0, sizeof ml->node_pub);
        ml_wg_set_key(&ml->wg, NULL);
    }
    /* Without a node key too: the first map request of a new node names the disco key (C30), or peers learn it a second later. */
    ml_path_set_keys(&ml->path, &ml->node_pub, &ml->identity.disco);
    /* A relay knows us by our node key. */
    ml_derp_pool_reset(&ml->derp, now);
}

static enum ml_control_tri tri_of(enum ml_tri t)
{
    return t == ML_TRI_TRUE ? ML_CONTROL_TRUE : (t == ML_TRI_FALSE ? ML_CONTROL_FALSE : ML_CONTROL_UNKNOWN);
}

void core_publish(struct ml_engine *ml, ml_time now)
{
    const struct ml_netcheck_report *r = &ml->netcheck.report;
    struct ml_control_published p = {0};
    if (!ml->is_started) {
        return;
    }
    p.disco = *ml_path_disco_key(&ml->path);
    if (!ml->no_disco) {
        for (uint8_t i = 0; i < ml->path.ep.count && i < ML_CONTROL_ENDPOINTS; i++) {
            p.endpoints[i] = ml->path.ep.list[i].addr;
            p.endpoint_types[i] = ml->path.ep.list[i].type;
            p.endpoint_count++;
        }
    }
    p.home_region = ml->no_derp ? 0 : ml->derp.home;
    if (r->home_region) {
        p.working_udp = r->udp ? ML_CONTROL_TRUE : ML_CONTROL_FALSE;
        p.working_ipv6 = r->ip6 ? ML_CONTROL_TRUE : ML_CONTROL_FALSE;
        p.mapping_varies = tri_of(r->mapping_varies);
    }
    for (uint16_t i = 0; i < ml->regions.region_count && p.latency_count < ML_CONTROL_LATENCIES; i++) {
        uint32_t us = ml_netcheck_latency(&ml->netcheck, now, ml->regions.regions[i].id);
        if (us) {
            p.latency[p.latency_count++] = (struct ml_control_latency){.region = ml->regions.regions[i].id, .usec = us};
        }
    }
    p.shields_up = ml->is_shields_up;
    p.peerapi4 = ml->filter.peerapi_port4;
    p.peerapi6 = ml->filter.peerapi_port6;
    ml_control_set_published(&ml->control, now, &p);
}

/* ---- Stored state ---- */

ml_err ml_load(ml_engine *ml, ml_store_kind kind, const uint8_t *buf, size_t len)
{
    if (!ml || !buf || ml->is_started) {
        return ml && ml->is_started ? ML_ERR_STATE : ML_ERR_ARG;
    }
    switch (kind) {
    case ML_STORE_IDENTITY:
        if (!ml_store_read_identity(buf, len, &ml->identity)) {
            return ML_ERR_CORRUPT;
        }
        ml->has_machine = true;
        return ML_OK;
    case ML_STORE_CLOCK:
        return ml_store_read_clock(buf, len, ml->clock_mark) ? ML_OK : ML_ERR_CORRUPT;
    case ML_STORE_CACHE:
        return core_cache_read(ml, buf, len) ? ML_OK : ML_ERR_CORRUPT;
    case ML_STORE_COUNT:
        break;
    }
    return ML_ERR_ARG;
}

void ml_handle_stored(ml_engine *ml, ml_time now, ml_store_kind kind, bool ok)
{
    if (!ml || kind >= ML_STORE_COUNT || !ml->is_store_busy[kind]) {
        return;
    }
    ml->is_store_busy[kind] = false;
    if (ok) {
        ml->store_fails[kind] = 0;
    } else {
        ml->is_store_due[kind] = true;
        ml->store_again_at[kind] = now + (CORE_STORE_AGAIN << ml->store_fails[kind]);
        ml->store_fails[kind] += ml->store_fails[kind] < CORE_STORE_AGAIN_DOUBLINGS;
    }
    if (kind == ML_STORE_CLOCK) {
        ml_wg_clock_stored(&ml->wg, ok);
    }
    core_set_problem(ml, CORE_PROBLEM_STORE,
                     ok ? "" : "the state could not be stored: a restart may make a new node of this device");
}

/* ---- Commands ---- */

static ml_err start_control(struct ml_engine *ml, ml_time now)
{
    struct ml_control_cfg cfg = {.url = ml->url,
                                 .capver = ml->capver,
                                 .hostname = ml->hostname,
                                 .os = ml->os,
                                 .ephemeral = ml->is_ephemeral,
                                 .random = &ml->random,
                                 .log = &ml->log,
                                 .machine_key = ml->identity.machine,
                                 .budget = &ml->curve,
                                 .tx = ml->control_tx,
                                 .tx_len = ml->control_tx_len,
                                 .window = ml->is_heap_small ? SMALL_WINDOW : 0};
    if (ml->is_key_pinned) {
        cfg.server_key = ml->pinned_key;
        cfg.server_key_is_pinned = true;
    } else if (strcmp(ml->cache.control_host, ml->url.host) == 0) {
        cfg.server_key = ml->cache.control_key;
    }
    bool ok = ml_control_init(&ml->control, &cfg);
    ml_wipe(&cfg, sizeof cfg);
    if (!ok) {
        return ML_ERR_ARG;
    }
    if (ml->wall_ms) {
        ml_control_set_wall_clock(&ml->control, now, ml->wall_ms + (now - ml->wall_at) / 1000U);
    }
    if (ml->auth_key[0] && !ml_control_set_auth_key(&ml->control, now, ml->auth_key)) {
        return ML_ERR_ARG;
    }
    ml_wipe(ml->auth_key, sizeof ml->auth_key);
    struct ml_control_identity id = {.node_key = ml->identity.node, .candidate = ml->identity.candidate};
    ml_control_start(&ml->control, now, &id);
    ml_wipe(&id, sizeof id);
    return ML_OK;
}

/* Only now is the stored mark at hand, below which no timestamp may be given. Once: a later start goes on with the clock. */
static ml_err start_wg(struct ml_engine *ml, ml_time now)
{
    static const uint8_t no_mark[ML_WG_STAMP_LEN] = {0};
    if (!ml->has_wg) {
        const struct ml_wg_cfg cfg = {
            .random = &ml->random,
            .peers = ml->wg_peers,
            .stage = ml->wg_stages,
            .flights = ml->wg_flights,
            .flight_count = ml->wg_flight_count,
            .spares = ml->wg_spares,
            .spare_count = ml->wg_spare_count,
            .peer_count = ml->max_slots,
            .stage_count = ml->wg_stage_count,
            /* A quarter of the room for one peer; 4 at least, more than that only where there is much. */
            .stage_per_peer = (uint8_t)(ml->wg_stage_count / 4U < 4U ? 4U : ml->wg_stage_count / 4U),
            .tai_mark = memcmp(ml->clock_mark, no_mark, sizeof no_mark) != 0 ? ml->clock_mark : NULL,
            .unix_sec = ml->build_unix_time,
            .budget = &ml->curve};
        ml_err err = ml_wg_init(&ml->wg, now, &cfg);
        if (err != ML_OK) {
            return err;
        }
        ml->has_wg = true;
    }
    if (ml->wall_ms) {
        ml_wg_set_wall(&ml->wg, now, ml->wall_ms + (now - ml->wall_at) / 1000U);
    }
    return ML_OK;
}

ml_err ml_start(ml_engine *ml, ml_time now)
{
    if (!ml) {
        return ML_ERR_ARG;
    }
    if (ml->is_started) {
        return ML_ERR_STATE;
    }
    if (!ml->has_machine) {
        ml_x25519_keygen(&ml->identity.machine, &ml->random);
        ml_x25519_keygen(&ml->identity.disco, &ml->random);
        ml->has_machine = true;
        core_store(ml, ML_STORE_IDENTITY);
    }
    ml_x25519_base(ml->machine_pub.b, &ml->identity.machine);
    ml_err err = start_wg(ml, now);
    if (err == ML_OK) {
        err = start_control(ml, now);
    }
    if (err != ML_OK) {
        return err;
    }
    ml->is_started = true;
    ml->time_at = now; /* until the first ml_handle_time() nobody slept */
    ml->fresh_at = now + ML_SEC(1);
    ml->fresh_until = now + CORE_FRESH_FOR;
    ml_node_key pub = {{0}};
    if (ml->identity.has_node) {
        ml_x25519_base(pub.b, &ml->identity.node);
    }
    core_use_node_key(ml, now, &pub);
    if (ml->cache.home_region) {
        ml_netcheck_set_home(&ml->netcheck, ml->cache.home_region);
    }
    core_set_state(ml, ML_STATE_CONNECTING);
    core_cache_use(ml, now);
    core_publish(ml, now);
    return ML_OK;
}

ml_err ml_stop(ml_engine *ml, ml_time now)
{
    if (!ml) {
        return ML_ERR_ARG;
    }
    if (!ml->is_started) {
        return ML_ERR_STATE;
    }
    ml_control_stop(&ml->control, now);
    core_drop_all(ml, now, false);
    core_cache_flush(ml, now);
    ml->is_started = false;
    ml->is_map_poll_open = false;
    core_set_state(ml, ML_STATE_STOPPED);
    return ML_OK;
}

ml_err ml_logout(ml_engine *ml, ml_time now)
{
    if (!ml) {
        return ML_ERR_ARG;
    }
    if (!ml->is_started) {
        return ML_ERR_STATE;
    }
    core_drop_all(ml, now, true);
    ml_control_logout(&ml->control, now);
    return ML_OK;
}

ml_err ml_set_auth_key(ml_engine *ml, ml_time now, const char *auth_key)
{
    if (!ml || !auth_key) {
        return ML_ERR_ARG;
    }
    if (!ml->is_started) {
        return ml_str_set(ml->auth_key, sizeof ml->auth_key, auth_key) ? ML_OK : ML_ERR_ARG;
    }
    return ml_control_set_auth_key(&ml->control, now, auth_key) ? ML_OK : ML_ERR_ARG;
}

void ml_set_wall_clock(ml_engine *ml, ml_time now, uint64_t unix_ms)
{
    if (!ml || unix_ms == 0) {
        return;
    }
    ml->wall_ms = unix_ms;
    ml->wall_at = now;
    if (ml->is_started) {
        ml_wg_set_wall(&ml->wg, now, unix_ms);
        ml_control_set_wall_clock(&ml->control, now, unix_ms);
        core_check_expiry(ml, now);
    }
}

void ml_set_local_addrs(ml_engine *ml, ml_time now, const ml_addr *addrs, size_t count)
{
    bool has4 = false, has6 = false;
    if (!ml || (count && !addrs)) {
        return;
    }
    ml->local_addr_count = 0;
    for (size_t i = 0; i < count && ml->local_addr_count < CORE_LOCAL_ADDRS; i++) {
        ml->local_addrs[ml->local_addr_count++] = addrs[i];
        has4 = has4 || ml_ip_is4(&addrs[i].ip);
        has6 = has6 || ml_ip_is6(&addrs[i].ip);
    }
    if (ml->local_addr_count && ml->local_addrs[0].port != ml->cache.udp_port) {
        ml->cache.udp_port = ml->local_addrs[0].port;
        core_cache_touch(ml, now, false);
    }
    ml_path_set_local_addrs(&ml->path, ml->local_addrs, ml->local_addr_count);
    ml_netcheck_set_underlay(&ml->netcheck, has4, has6, ml->udp_port);
}

void ml_set_peerapi_port(ml_engine *ml, ml_time now, uint16_t port4, uint16_t port6)
{
    if (ml && (ml->filter.peerapi_port4 != port4 || ml->filter.peerapi_port6 != port6)) {
        ml->filter.peerapi_port4 = port4;
        ml->filter.peerapi_port6 = port6;
        core_publish(ml, now);
    }
}

void ml_rebind(ml_engine *ml, ml_time now)
{
    if (!ml || !ml->is_started) {
        return;
    }
    ml_log_text(&ml->log, ML_LOG_INFO, "underlay changed: checking relays, measuring again");
    ml_path_rebind(&ml->path);
    ml_netcheck_start(&ml->netcheck, now, true);
    core_check_streams(ml, now);
}

ml_err ml_netcheck(ml_engine *ml, ml_time now)
{
    if (!ml) {
        return ML_ERR_ARG;
    }
    if (!ml->is_started || ml->regions.region_count == 0) {
        return ML_ERR_STATE;
    }
    ml_netcheck_start(&ml->netcheck, now, true);
    return ML_OK;
}
