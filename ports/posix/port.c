/*
 * The POSIX port: one engine, its sockets, its state file, in one loop (microlink/port.h has the contract).
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "netmon.h"
#include "posix_port.h"
#include "resolver.h"
#include "state_file.h"
#include "stream.h"
#include "tls_mbedtls.h"
#include "udp.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** The wall clock is handed in again after this time: NTP may have stepped it. */
#define CLOCK_AGAIN ML_SEC(3600)
/** Rounds of draining per step before the sockets get their turn again. */
#define FLUSH_ROUNDS 64

struct ml_port {
    struct ml_loop loop;
    struct ml_udp udp;
    struct ml_netmon netmon;
    struct ml_resolver resolver;
    struct ml_streams streams;
    struct ml_state_file state;
    struct ml_tls *tls;
    ml_engine *engine;
    void *arena;
    size_t arena_len;
    ml_port_sink sink;
    ml_port_storage storage;
    ml_log_fn log;
    void *log_ctx;
    ml_time clock_at;   /**< When the wall clock is due again. */
    ml_time drained_at; /**< When the last drain ended; the engine knows that time. */
    bool is_behind;     /**< The last drain ended with work left: no waiting before the next. */
    bool flushing;      /**< Callbacks of the sink may send; they must not start a second drain. */
    bool failed;        /**< Sockets were lost and could not be made anew. */
};

static void say(const ml_port *p, ml_log_level level, const char *line)
{
    if (p->log != NULL) {
        p->log(p->log_ctx, level, line);
    }
}

void ml_port_log_stderr(void *ctx, ml_log_level level, const char *line)
{
    static const char *const name[] = {"error", "warn", "info", "debug", "trace"};
    (void)ctx;
    fprintf(stderr, "microlink: %s: %s\n", name[level], line);
}

/* ---- Storage ---- */

static ml_err file_load(void *ctx, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len)
{
    return ml_state_file_load(ctx, kind, buf, cap, len);
}

static ml_err file_save(void *ctx, ml_store_kind kind, const uint8_t *buf, size_t len, char *why, size_t why_cap)
{
    return ml_state_file_save(ctx, kind, buf, len, why, why_cap);
}

static void load_records(ml_port *p)
{
    static const char *const name[ML_STORE_COUNT] = {"identity", "clock", "cache"};
    for (int k = 0; k < ML_STORE_COUNT; k++) {
        uint8_t buf[ML_STORE_MAX];
        size_t len = 0;
        ml_err err = p->storage.load(p->storage.ctx, (ml_store_kind)k, buf, sizeof buf, &len);
        if (err == ML_OK) {
            err = ml_load(p->engine, (ml_store_kind)k, buf, len);
        }
        sodium_memzero(buf, sizeof buf);
        if (err != ML_OK && err != ML_ERR_NOT_FOUND) {
            char line[96];
            snprintf(line, sizeof line, "stored %s record cannot be used: %s", name[k], ml_strerror(err));
            say(p, ML_LOG_ERROR, line);
        }
    }
}

static void store(ml_port *p, ml_time now, const ml_output *out)
{
    char why[256] = "";
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

/** The time of a packet of a run: a drain since the run began must not make it go back. */
static ml_time run_time(const ml_port *p, ml_time now)
{
    return now > p->drained_at ? now : p->drained_at;
}

static void on_datagram(void *ctx, ml_time now, const ml_addr *from, uint8_t *buf, size_t len)
{
    ml_port *p = ctx;
    if (ml_handle_datagram(p->engine, run_time(p, now), from, buf, len) == ML_ERR_FULL) {
        ml_port_flush(p);
        (void)ml_handle_datagram(p->engine, run_time(p, now), from, buf, len);
    }
}

static void on_unreachable(void *ctx, const ml_addr *to)
{
    ml_port *p = ctx;
    ml_handle_send_failed(p->engine, ml_sys_now(), to);
}

ml_err ml_port_overlay(ml_port *p, ml_time now, const uint8_t *packet, size_t len)
{
    ml_err err = ml_handle_overlay(p->engine, run_time(p, now), packet, len);
    if (err == ML_ERR_FULL && !p->flushing) {
        ml_port_flush(p);
        err = ml_handle_overlay(p->engine, run_time(p, now), packet, len);
    }
    return err;
}

/* ---- Driving ---- */

static void carry_out(ml_port *p, ml_time now, const ml_output *out)
{
    switch (out->type) {
    case ML_OUT_DATAGRAM:
        ml_udp_queue(&p->udp, &out->addr, out->data, out->len);
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
        if (p->sink.event != NULL) {
            p->sink.event(p->sink.ctx, &out->event);
        }
        break;
    case ML_OUT_NONE:
        break;
    }
}

void ml_port_flush(ml_port *p)
{
    if (p->flushing) {
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
        /* Before the streams: a call-me-maybe leaves on one of them, and the pings that open our NAT for its answer are here. */
        ml_udp_flush(&p->udp);
        p->is_behind = ml_streams_pump(&p->streams, now);
    }
    p->drained_at = ml_sys_now();
    p->flushing = false;
}

void ml_port_rebind(ml_port *p)
{
    char why[160] = "";
    if (ml_udp_rebind(&p->udp, why, sizeof why) != ML_OK) {
        p->failed = true;
        say(p, ML_LOG_ERROR, why);
    }
    ml_netmon_refresh(&p->netmon);
    ml_time now = ml_sys_now();
    tell_addrs(p, now);
    ml_rebind(p->engine, now);
}

static void tell_clock(ml_port *p, ml_time now)
{
    uint64_t ms = ml_sys_wall_ms();
    p->clock_at = now + (ms ? CLOCK_AGAIN : ML_SEC(10));
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
    if (p->is_behind) {
        return 0; /* what a stream still holds makes no socket readable */
    }
    ml_time at = earliest(ml_poll_deadline(p->engine), ml_streams_deadline(&p->streams));
    return earliest(at, earliest(p->netmon.settle_at, p->clock_at));
}

ml_err ml_port_step(ml_port *p, ml_time until)
{
    ml_time now = ml_sys_now();
    ml_time at = earliest(ml_port_deadline(p), until);
    ml_loop_wait(&p->loop, at == ML_NEVER ? ML_NEVER : at > now ? at - now : 0);
    now = ml_sys_now();
    if (now >= p->clock_at) {
        tell_clock(p, now);
    }
    if (ml_netmon_poll(&p->netmon, now)) {
        say(p, ML_LOG_INFO, "the network changed, looking for paths anew");
        ml_port_rebind(p);
    }
    /* Control's clock puts a device right whose own is not set, so that certificates can be judged. */
    ml_tls_set_clock(p->tls, (int64_t)ml_get_unix_time(p->engine, now));
    ml_streams_on_time(&p->streams, now);
    ml_handle_time(p->engine, now);
    ml_port_flush(p);
    return p->failed ? ML_ERR_STATE : ML_OK;
}

/* ---- Life ---- */

static ml_err open_storage(ml_port *p, const ml_port_config *cfg, char *why, size_t why_cap)
{
    if (cfg->storage.load != NULL && cfg->storage.save != NULL) {
        p->storage = cfg->storage;
        return ml_state_file_open(&p->state, NULL, NULL, why, why_cap);
    }
    p->storage = (ml_port_storage){.ctx = &p->state, .load = file_load, .save = file_save};
    ml_err err = ml_state_file_open(&p->state, cfg->state_path, NULL, why, why_cap);
    if (err == ML_OK && p->state.found == ML_STATE_FOUND_CORRUPT) {
        say(p, ML_LOG_ERROR, why);
    }
    return err;
}

static ml_err open_engine(ml_port *p, const ml_port_config *cfg, char *why, size_t why_cap)
{
    ml_config ec = cfg->engine;
    if (ec.random.fill == NULL) {
        ec.random = (ml_random){.fill = ml_sys_random};
    }
    ec.log = p->log;
    ec.log_ctx = p->log_ctx;
    p->arena_len = ml_mem_needed(&ec);
    /* From calloc() large arenas come as pages that cost nothing until they are written. */
    ec.memory_is_zero = true;
    p->arena = p->arena_len ? calloc(1, p->arena_len) : NULL;
    p->tls = ml_tls_new(&ec.random, cfg->ca_file, cfg->ca_pem);
    if (p->arena_len == 0) {
        snprintf(why, why_cap, "the configuration is impossible (a limit is out of range)");
        return ML_ERR_ARG;
    }
    if (p->arena == NULL || p->tls == NULL) {
        snprintf(why, why_cap, "no memory for the engine (%zu bytes)", p->arena_len);
        return ML_ERR_NO_MEM;
    }
    ml_err err = ml_init(&p->engine, p->arena, p->arena_len, &ec);
    if (err != ML_OK) {
        p->engine = NULL;
        snprintf(why, why_cap, "the engine refused its configuration (server URL, host name or key): %s", ml_strerror(err));
    }
    return err;
}

/* On the port of the last run if the user fixed none: peers still send there. */
static ml_err open_udp(ml_port *p, uint16_t port, char *why, size_t why_cap)
{
    uint16_t last = ml_get_last_udp_port(p->engine);
    if (port == 0 && last != 0 && ml_udp_open(&p->udp, &p->loop, last, on_datagram, p, why, why_cap) == ML_OK) {
        return ML_OK;
    }
    return ml_udp_open(&p->udp, &p->loop, port, on_datagram, p, why, why_cap);
}

ml_err ml_port_open(ml_port **out, const ml_port_config *cfg, char *why, size_t why_cap)
{
    char unused[256];
    if (why == NULL || why_cap == 0) {
        why = unused;
        why_cap = sizeof unused;
    }
    why[0] = 0;
    *out = NULL;
    ml_port *p = sodium_init() >= 0 ? calloc(1, sizeof *p) : NULL;
    if (p == NULL) {
        snprintf(why, why_cap, "no memory");
        return ML_ERR_NO_MEM;
    }
    p->log = cfg->engine.log ? cfg->engine.log : ml_port_log_stderr;
    p->log_ctx = cfg->engine.log_ctx;
    p->sink = cfg->sink;
    p->state.lock_fd = -1;
    ml_loop_init(&p->loop);
    ml_err err = open_storage(p, cfg, why, why_cap);
    if (err == ML_OK) {
        err = open_engine(p, cfg, why, why_cap);
    }
    if (err == ML_OK && !ml_resolver_open(&p->resolver, &p->loop)) {
        snprintf(why, why_cap, "no descriptors for the resolver");
        err = ML_ERR_NO_MEM;
    }
    if (err == ML_OK) {
        load_records(p);
        err = open_udp(p, cfg->udp_port, why, why_cap);
    }
    if (err != ML_OK) {
        ml_port_close(p);
        return err;
    }
    p->udp.unreachable = on_unreachable;
    ml_streams_init(&p->streams, &p->loop, &p->resolver, p->tls, p->engine, p->log, p->log_ctx);
    ml_netmon_open(&p->netmon, &p->loop);
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
    ml_netmon_close(&p->netmon);
    ml_streams_close_all(&p->streams);
    ml_resolver_close(&p->resolver);
    ml_udp_close(&p->udp);
    ml_tls_free(p->tls);
    if (p->engine != NULL) {
        ml_clear(p->engine);
    }
    free(p->arena);
    ml_state_file_close(&p->state);
    free(p);
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
    char why[160];
    static const uint8_t nothing[1] = {0};
    if (p->storage.ctx != &p->state) {
        for (int k = 0; k < ML_STORE_COUNT; k++) {
            ml_err err = p->storage.save(p->storage.ctx, (ml_store_kind)k, nothing, 0, why, sizeof why);
            if (err != ML_OK) {
                return err;
            }
        }
        return ML_OK;
    }
    return ml_state_file_erase(&p->state, why, sizeof why);
}

size_t ml_port_get_fds(const ml_port *p, ml_port_fd *fds, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < p->loop.count; i++) {
        if (p->loop.fds[i].fd >= 0) {
            if (n < cap) {
                fds[n] = (ml_port_fd){p->loop.fds[i].fd, p->loop.fds[i].events};
            }
            n++;
        }
    }
    return n;
}

struct ml_loop *ml_port_loop(ml_port *p)
{
    return &p->loop;
}

void ml_port_set_tunnel_ifname(ml_port *p, const char *ifname)
{
    ml_netmon_skip(&p->netmon, ifname);
    if (ml_netmon_refresh(&p->netmon)) {
        tell_addrs(p, ml_sys_now());
    }
}

uint16_t ml_port_udp_port(const ml_port *p)
{
    return p->udp.port4 ? p->udp.port4 : p->udp.port6;
}
