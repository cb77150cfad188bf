/*
 * The ESP-IDF port: one engine, its lwIP sockets, NVS and the tunnel's interface (microlink/port.h has the contract).
 *
 * One node per device: the wake-up, the interface and the event handlers exist once. Everything here runs with the host's
 * lock held (esp_host.h), which ml_port_step() gives up while it waits.
 *
 * SPDX-License-Identifier: MIT
 */
#include "esp_port.h"

#include "base/addr.h"
#include "esp_heap_caps.h"
#include "esp_host.h"
#include "esp_log.h"
#include "esp_netif.h"
#include "loop.h"
#include "netmon.h"
#include "sdkconfig.h"
#include "storage.h"
#include "stream.h"
#include "tls_mbedtls.h"
#include "tunnel.h"
#include "udp.h"
#include "wake.h"

#include <sodium.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG "microlink"
/** The wall clock is handed in again after this time: SNTP may have stepped it. */
#define CLOCK_AGAIN ML_SEC(3600)
/** While it was never set it is looked at after this time, then twice that, and so on: a device without SNTP sleeps too. */
#define CLOCK_SOON ML_SEC(10)
/** Lost sockets are made anew after this time. */
#define RETRY ML_SEC(5)
/** Rounds of draining per step before the sockets get their turn again. */
#define FLUSH_ROUNDS 64

struct ml_port {
    struct ml_storage nvs;
    struct ml_tls *tls;
    ml_engine *engine;
    void *arena;
    ml_port_sink sink;
    ml_port_storage storage;
    ml_log_fn log;
    void *log_ctx;
    ml_time clock_at;   /**< When the wall clock is due again. */
    ml_time clock_wait; /**< How long it was waited for last, while it is not set. */
    ml_time retry_at;   /**< Sockets were lost; ML_NEVER otherwise. */
    bool is_behind;     /**< The last drain ended with work left: no waiting before the next. */
    bool flushing;      /**< Callbacks of the sink may send; they must not start a second drain. */
    bool waking;        /**< ml_wake_open() succeeded. */
    struct ml_loop loop;
    struct ml_netmon netmon;
    struct ml_resolver resolver;
    struct ml_streams streams;
    struct ml_udp udp;
    uint8_t packet[ML_UDP_RX]; /**< A datagram or a packet of lwIP; never both at a time. */
};

static bool port_exists;
static atomic_uint wakes;

static void say(const ml_port *p, ml_log_level level, const char *line)
{
    p->log(p->log_ctx, level, line);
}

void ml_port_log_esp(void *ctx, ml_log_level level, const char *line)
{
    (void)ctx;
    switch (level) {
    case ML_LOG_ERROR:
        ESP_LOGE(TAG, "%s", line);
        break;
    case ML_LOG_WARN:
        ESP_LOGW(TAG, "%s", line);
        break;
    case ML_LOG_INFO:
        ESP_LOGI(TAG, "%s", line);
        break;
    case ML_LOG_DEBUG:
        ESP_LOGD(TAG, "%s", line);
        break;
    case ML_LOG_TRACE:
        ESP_LOGV(TAG, "%s", line);
        break;
    }
}

uint32_t ml_port_wakes(void)
{
    return atomic_load(&wakes);
}

/* ---- Storage ---- */

/**
 * Fails when it cannot be known whether there is an identity: a node that went on would be another one, and would overwrite
 * the first.
 */
static ml_err load_records(ml_port *p, char *why, size_t why_cap)
{
    static const char *const name[ML_STORE_COUNT] = {"identity", "clock", "cache"};
    uint8_t *record = malloc(ML_STORE_MAX);
    ml_err result = ML_OK;
    if (record == NULL) {
        snprintf(why, why_cap, "no memory to read the stored state");
        return ML_ERR_NO_MEM;
    }
    for (int k = 0; k < ML_STORE_COUNT; k++) {
        size_t len = 0;
        ml_err err = p->storage.load(p->storage.ctx, (ml_store_kind)k, record, ML_STORE_MAX, &len);
        bool was_read = err == ML_OK;
        if (was_read) {
            err = ml_load(p->engine, (ml_store_kind)k, record, len);
        } else if (k == ML_STORE_IDENTITY && err != ML_ERR_NOT_FOUND && err != ML_ERR_CORRUPT) {
            snprintf(why, why_cap, "the stored identity cannot be read now (%s): not starting as another node",
                     err == ML_ERR_NO_MEM ? "no memory" : "NVS failed");
            result = err;
            break;
        }
        if (err != ML_OK && err != ML_ERR_NOT_FOUND) {
            char line[96];
            snprintf(line, sizeof line, "stored %s record cannot be used: %s", name[k], ml_strerror(err));
            say(p, ML_LOG_ERROR, line);
            if (was_read && p->storage.ctx == &p->nvs) {
                ml_storage_set_aside(&p->nvs, (ml_store_kind)k, record, len);
            }
        }
        sodium_memzero(record, ML_STORE_MAX);
    }
    free(record);
    return result;
}

static void store(ml_port *p, ml_time now, const ml_output *out)
{
    char why[128] = "";
    ml_store_kind kind = out->store;
    bool ok = p->storage.save(p->storage.ctx, kind, out->data, out->len, why, sizeof why) == ML_OK;
    if (!ok) {
        say(p, ML_LOG_ERROR, why);
        if (p->sink.store_failed != NULL) {
            p->sink.store_failed(p->sink.ctx, kind, why);
        }
    }
    ml_handle_stored(p->engine, now, kind, ok);
}

/* ---- Addresses and names ---- */

static void tell_addrs(ml_port *p, ml_time now)
{
    ml_addr addrs[ML_NETMON_ADDRS];
    size_t n = 0;
    for (size_t i = 0; i < p->netmon.count; i++) {
        uint16_t port = ml_ip_is4(&p->netmon.addrs[i]) ? p->udp.port4 : p->udp.port6;
        if (port != 0) {
            addrs[n++] = (ml_addr){p->netmon.addrs[i], port};
        }
    }
    ml_set_local_addrs(p->engine, now, addrs, n);
}

static void on_resolved(void *ctx, uint32_t token, const ml_ip *ips, size_t count)
{
    ml_port *p = ctx;
    ml_handle_resolved(p->engine, ml_sys_now(), token, ips, count);
}

static void resolve(ml_port *p, ml_time now, uint32_t token, const char *name)
{
    ml_ip ip;
    if (ml_ip_parse(name, strlen(name), &ip)) {
        ml_handle_resolved(p->engine, now, token, &ip, 1);
    } else if (!ml_resolver_start(&p->resolver, name, token, on_resolved, p)) {
        ml_handle_resolved(p->engine, now, token, NULL, 0);
    }
}

static void on_datagram(void *ctx, const ml_addr *from, uint8_t *buf, size_t len)
{
    ml_port *p = ctx;
    if (ml_handle_datagram(p->engine, ml_sys_now(), from, buf, len) == ML_ERR_FULL) {
        ml_port_flush(p);
        (void)ml_handle_datagram(p->engine, ml_sys_now(), from, buf, len);
    }
}

static void on_unreachable(void *ctx, const ml_addr *to)
{
    ml_port *p = ctx;
    ml_handle_send_failed(p->engine, ml_sys_now(), to);
}

/** Our own tailnet addresses, when the engine says that they changed. */
static void set_tunnel(ml_port *p)
{
#if CONFIG_MICROLINK_NETIF
    ml_self_info *self = malloc(sizeof *self);
    if (self == NULL) {
        say(p, ML_LOG_ERROR, "no memory to set the address of the tunnel");
        return;
    }
    ml_get_self(p->engine, self);
    if (!ml_tunnel_set_addrs(&self->ip4, &self->ip6)) {
        say(p, ML_LOG_ERROR, "no memory for the tunnel's network interface");
    }
    free(self);
#else
    (void)p;
#endif
}

/** What lwIP sent into the tunnel. */
static void take_overlay(ml_port *p)
{
#if CONFIG_MICROLINK_NETIF
    size_t len;
    while ((len = ml_tunnel_take(p->packet, ML_OVERLAY_MTU)) > 0) {
        if (ml_handle_overlay(p->engine, ml_sys_now(), p->packet, len) == ML_ERR_FULL) {
            ml_port_flush(p);
            (void)ml_handle_overlay(p->engine, ml_sys_now(), p->packet, len);
        }
    }
#else
    (void)p;
#endif
}

/* ---- Driving ---- */

static void carry_out(ml_port *p, ml_time now, const ml_output *out)
{
    switch (out->type) {
    case ML_OUT_DATAGRAM:
        ml_udp_send(&p->udp, &out->addr, out->data, out->len);
        break;
    case ML_OUT_OVERLAY:
        if (p->sink.overlay != NULL) {
            p->sink.overlay(p->sink.ctx, out->data, out->len);
        }
        break;
    case ML_OUT_STREAM_OPEN:
        ml_streams_open(&p->streams, now, &out->stream);
        break;
    case ML_OUT_STREAM_CLOSE:
        ml_streams_close(&p->streams, out->stream.id);
        break;
    case ML_OUT_RESOLVE:
        resolve(p, now, out->token, out->text);
        break;
    case ML_OUT_STORE:
        store(p, now, out);
        break;
    case ML_OUT_EVENT:
        if (out->event.type == ML_EV_SELF) {
            set_tunnel(p);
        }
        if (p->sink.event != NULL) {
            p->sink.event(p->sink.ctx, &out->event);
        }
        break;
    case ML_OUT_NONE:
        break;
    }
}

/** Who calls the API from a task of his own leaves the work to the node's, which has the stack for it, and lwIP's memory. */
static bool may_work_here(void)
{
    return ml_host_works_here() && ml_sys_may_call_lwip();
}

void ml_port_flush(ml_port *p)
{
    if (p->flushing || !may_work_here()) {
        return;
    }
    p->flushing = true;
    p->is_behind = true;
    for (int round = 0; round < FLUSH_ROUNDS && p->is_behind; round++) {
        ml_time now = ml_sys_now();
        ml_output out;
        while (ml_poll_output(p->engine, now, &out) && out.type != ML_OUT_NONE) {
            carry_out(p, now, &out);
        }
        p->is_behind = ml_streams_pump(&p->streams, now);
    }
    p->flushing = false;
}

void ml_port_rebind(ml_port *p)
{
    char why[128] = "";
    ml_time now = ml_sys_now();
    if (!may_work_here()) {
        p->retry_at = now; /* The node's task does it. */
        return;
    }
    p->retry_at = ML_NEVER;
    if (ml_udp_rebind(&p->udp, why, sizeof why) != ML_OK) {
        p->retry_at = now + RETRY;
        say(p, ML_LOG_ERROR, why);
    }
    ml_netmon_refresh(&p->netmon);
    tell_addrs(p, now);
    ml_rebind(p->engine, now);
}

static void tell_clock(ml_port *p, ml_time now)
{
    uint64_t ms = ml_sys_wall_ms();
    p->clock_wait = ms != 0 || p->clock_wait >= CLOCK_AGAIN / 2 ? CLOCK_AGAIN : p->clock_wait ? 2 * p->clock_wait : CLOCK_SOON;
    p->clock_at = now + p->clock_wait;
    if (ms != 0) {
        ml_set_wall_clock(p->engine, now, ms);
    }
}

static ml_time earliest(ml_time a, ml_time b)
{
    return a < b ? a : b;
}

ml_time ml_port_deadline(const ml_port *p)
{
    if (p->is_behind || ml_wake_is_asked()) {
        return 0; /* what a stream still holds makes no socket readable */
    }
    ml_time at = earliest(ml_poll_deadline(p->engine), ml_streams_deadline(&p->streams));
    /* An idle node does not wake up to look at a clock. */
    if (ml_get_state(p->engine) != ML_STATE_STOPPED) {
        at = earliest(at, p->clock_at);
    }
    return earliest(at, earliest(p->netmon.settle_at, p->retry_at));
}

ml_err ml_port_step(ml_port *p, ml_time until)
{
    ml_time now = ml_sys_now();
    ml_time at = earliest(ml_port_deadline(p), until);
    ml_loop_wait(&p->loop, at == ML_NEVER ? ML_NEVER : at > now ? at - now : 0);
    ml_wake_noticed();
    atomic_fetch_add(&wakes, 1);
    now = ml_sys_now();
    if (now >= p->clock_at) {
        tell_clock(p, now);
    }
    ml_resolver_poll(&p->resolver);
    if (ml_netmon_poll(&p->netmon, now)) {
        ml_port_rebind(p);
    } else if (now >= p->retry_at) {
        ml_port_rebind(p);
    }
    take_overlay(p);
    ml_streams_on_time(&p->streams, now);
    ml_handle_time(p->engine, now);
    ml_port_flush(p);
    return ML_OK;
}

/* ---- Life ---- */

/** Of any alignment: the heap of a chip knows words only. */
static void *arena_alloc(size_t len)
{
#if CONFIG_MICROLINK_PSRAM
    void *mem = heap_caps_calloc(1, len, MALLOC_CAP_SPIRAM | MALLOC_CAP_8BIT);
    if (mem != NULL) {
        return mem;
    }
#endif
    return heap_caps_calloc(1, len, MALLOC_CAP_INTERNAL | MALLOC_CAP_8BIT);
}

/** A generator that repeats itself would make keys that somebody else has too. How good it is otherwise cannot be seen from here. */
static bool is_random(const ml_random *random)
{
    uint8_t a[16], b[sizeof a], or_differs = 0;
    random->fill(random->ctx, a, sizeof a);
    random->fill(random->ctx, b, sizeof b);
    for (size_t i = 1; i < sizeof a; i++) {
        or_differs |= (uint8_t)(a[i] ^ a[0]);
    }
    bool ok = or_differs != 0 && memcmp(a, b, sizeof a) != 0;
    sodium_memzero(a, sizeof a);
    sodium_memzero(b, sizeof b);
    return ok;
}

static ml_err open_engine(ml_port *p, const ml_port_config *cfg, char *why, size_t why_cap)
{
    ml_config ec = cfg->engine;
    if (ec.random.fill == NULL) {
        ec.random = (ml_random){.fill = ml_sys_random};
    }
    if (!is_random(&ec.random)) {
        snprintf(why, why_cap, "no randomness: esp_fill_random() repeats itself; start a radio, or bootloader_random_enable()");
        return ML_ERR_STATE;
    }
    ec.log = p->log;
    ec.log_ctx = p->log_ctx;
    ec.memory_is_zero = true;
    ec.is_heap_small = true;
    ec.max_derp = ec.max_derp ? ec.max_derp : CONFIG_MICROLINK_MAX_DERP;
    ec.max_sessions = ec.max_sessions ? ec.max_sessions : CONFIG_MICROLINK_MAX_SESSIONS;
    ec.max_regions = ec.max_regions ? ec.max_regions : CONFIG_MICROLINK_MAX_REGIONS;
    ec.out_queue_bytes = ec.out_queue_bytes ? ec.out_queue_bytes : CONFIG_MICROLINK_OUT_QUEUE_BYTES;
    ec.stream_tx_bytes = ec.stream_tx_bytes ? ec.stream_tx_bytes : CONFIG_MICROLINK_STREAM_TX_BYTES;
    if (ec.max_peers != 0 && ec.max_sessions > ec.max_peers) {
        ec.max_sessions = ec.max_peers;
    }
    size_t len = ml_mem_needed(&ec);
    if (len == 0) {
        snprintf(why, why_cap, "the configuration is impossible (a limit is out of range)");
        return ML_ERR_ARG;
    }
    const size_t align = alignof(max_align_t);
    p->arena = arena_alloc(len + align - 1);
    if (p->arena == NULL) {
        snprintf(why, why_cap, "no memory for the engine: it needs %u bytes in one piece, the largest free one has %u",
                 (unsigned)(len + align - 1),
                 (unsigned)heap_caps_get_largest_free_block(MALLOC_CAP_INTERNAL | MALLOC_CAP_8BIT));
        return ML_ERR_NO_MEM;
    }
    uint8_t *mem = p->arena;
    mem += (align - (uintptr_t)mem % align) % align;
    ml_err err = ml_init(&p->engine, mem, len, &ec);
    if (err != ML_OK) {
        p->engine = NULL;
        snprintf(why, why_cap, "wrong server URL, host name or key: %s", ml_strerror(err));
    }
    return err;
}

/** On the port of the last run if the application fixed none: peers and routers still send there. */
static ml_err open_udp(ml_port *p, uint16_t port, char *why, size_t why_cap)
{
    uint16_t last = port == 0 ? ml_get_last_udp_port(p->engine) : 0;
    ml_err err = ml_udp_open(&p->udp, &p->loop, last ? last : port, p->packet, on_datagram, on_unreachable, p, why, why_cap);
    p->udp.want_port = port;
    return err == ML_OK || last == 0 ? err : ml_udp_rebind(&p->udp, why, why_cap);
}

/** The parts below the engine, in the order in which they need each other. */
static ml_err open_parts(ml_port *p, const ml_port_config *cfg, char *why, size_t why_cap)
{
    if (cfg->ca_file != NULL) {
        snprintf(why, why_cap, "ca_file is not for this port: give the text as ca_pem");
        return ML_ERR_UNSUPPORTED;
    }
    if (cfg->storage.load != NULL && cfg->storage.save != NULL) {
        p->storage = cfg->storage;
    } else {
        p->storage = (ml_port_storage){.ctx = &p->nvs, .load = ml_storage_load, .save = ml_storage_save};
        ml_err err = ml_storage_open(&p->nvs, cfg->state_path, why, why_cap);
        if (err != ML_OK) {
            return err;
        }
    }
    p->tls = ml_tls_new(&cfg->engine.random, NULL, cfg->ca_pem);
    if (p->tls == NULL) {
        snprintf(why, why_cap, "ca_pem is not a PEM certificate, or no memory for it");
        return ML_ERR_ARG;
    }
    /* Harmless when the application has done it; without it lwIP's thread does not exist and its calls would assert. */
    if (esp_netif_init() != ESP_OK) {
        snprintf(why, why_cap, "esp_netif_init() failed: no memory for lwIP's thread");
        return ML_ERR_NO_MEM;
    }
    if (!ml_sys_may_call_lwip()) {
        snprintf(why, why_cap, "no memory for this task's semaphore of lwIP");
        return ML_ERR_NO_MEM;
    }
    p->waking = ml_wake_open(&p->loop);
    if (!p->waking) {
        snprintf(why, why_cap, "no loopback socket: set CONFIG_LWIP_NETIF_LOOPBACK, or raise CONFIG_LWIP_MAX_SOCKETS");
        return ML_ERR_STATE;
    }
    if (!ml_netmon_open(&p->netmon)) {
        snprintf(why, why_cap, "no event loop: call esp_event_loop_create_default() first");
        return ML_ERR_STATE;
    }
    (void)ml_resolver_open(&p->resolver, &p->loop);
    return ML_OK;
}

ml_err ml_port_open(ml_port **out, const ml_port_config *cfg, char *why, size_t why_cap)
{
    char unused[160];
    if (why == NULL || why_cap == 0) {
        why = unused;
        why_cap = sizeof unused;
    }
    why[0] = 0;
    *out = NULL;
    if (port_exists) {
        snprintf(why, why_cap, "there is a node already: this port runs one per device");
        return ML_ERR_STATE;
    }
    ml_port *p = sodium_init() >= 0 ? calloc(1, sizeof *p) : NULL;
    if (p == NULL) {
        snprintf(why, why_cap, "no memory");
        return ML_ERR_NO_MEM;
    }
    port_exists = true;
    p->log = cfg->engine.log ? cfg->engine.log : ml_port_log_esp;
    p->log_ctx = cfg->engine.log_ctx;
    p->sink = cfg->sink;
    p->retry_at = ML_NEVER;
    p->udp.fd4 = p->udp.fd6 = -1;
    ml_loop_init(&p->loop);
    ml_err err = open_engine(p, cfg, why, why_cap);
    if (err == ML_OK) {
        err = open_parts(p, cfg, why, why_cap);
    }
    if (err != ML_OK) {
        ml_port_close(p);
        return err;
    }
    ml_streams_init(&p->streams, &p->loop, &p->resolver, p->tls, p->engine, p->log, p->log_ctx);
    err = load_records(p, why, why_cap);
    if (err == ML_OK) {
        err = open_udp(p, cfg->udp_port, why, why_cap);
    }
    if (err != ML_OK) {
        ml_port_close(p);
        return err;
    }
    ml_netmon_refresh(&p->netmon);
    ml_time now = ml_sys_now();
    tell_clock(p, now);
    tell_addrs(p, now);
    *out = p;
    return ML_OK;
}

void ml_port_close(ml_port *p)
{
    if (p == NULL) {
        return;
    }
    if (p->waking) { /* There are sockets to close. */
        ml_sys_wait_for_lwip();
    }
#if CONFIG_MICROLINK_NETIF
    ml_tunnel_close();
#endif
    ml_netmon_close(&p->netmon);
    ml_streams_close_all(&p->streams);
    ml_resolver_close(&p->resolver);
    ml_udp_close(&p->udp);
    if (p->waking) {
        ml_wake_close(&p->loop);
    }
    ml_tls_free(p->tls);
    if (p->engine != NULL) {
        ml_clear(p->engine);
    }
    free(p->arena);
    ml_storage_close(&p->nvs);
    free(p);
    port_exists = false;
}

ml_engine *ml_port_engine(ml_port *p)
{
    return p->engine;
}

ml_time ml_port_now(const ml_port *p)
{
    (void)p;
    return ml_sys_now();
}

ml_err ml_port_erase(ml_port *p)
{
    char why[128];
    static const uint8_t nothing[1] = {0};
    if (p->storage.ctx == &p->nvs) {
        return ml_storage_erase(&p->nvs);
    }
    for (int k = 0; k < ML_STORE_COUNT; k++) {
        ml_err err = p->storage.save(p->storage.ctx, (ml_store_kind)k, nothing, 0, why, sizeof why);
        if (err != ML_OK) {
            return err;
        }
    }
    return ML_OK;
}

size_t ml_port_get_fds(const ml_port *p, ml_port_fd *fds, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < ML_LOOP_WATCHES; i++) {
        const struct ml_watch *w = &p->loop.on[i];
        if (w->fd >= 0 && w->events != 0) {
            if (n < cap) {
                short events = (short)((w->events & POLLIN ? 1 : 0) | (w->events & POLLOUT ? 4 : 0));
                fds[n] = (ml_port_fd){w->fd, events};
            }
            n++;
        }
    }
    return n;
}
