/*
 * The bare-metal port: one engine over lwIP without an operating system (microlink/port.h has the contract). The order of
 * this file is that of ports/posix/port.c.
 *
 * There is one port a board, so it lives in static memory, the engine's arena included. The records go to flash. Of
 * ml_port_config `ca_file`, `ca_pem` and `state_path` mean nothing here: roots lie in flash beside the image.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare_port.h"

#include "base/addr.h"
#include "board/board.h"
#include "boot_config.h"
#include "crypto/crypto_backend.h"
#include "flash_store.h"
#include "netif.h"
#include "stream.h"
#include "tls.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

/** The wall clock is handed in again after this time. */
#define CLOCK_AGAIN ML_SEC(3600)
/** 2025-01-01: a clock before it was never set. */
#define PLAUSIBLE_UNIX_MS UINT64_C(1735689600000)
#define FLUSH_ROUNDS      64
/** A source of entropy that has none yet is asked again after this. */
#define ENTROPY_POLL ML_MSEC(20)
/** What goes on is said again after this. */
#define SAY_AGAIN        ML_SEC(10)
#define DEFAULT_UDP_PORT 41641

/** What a step consists of. */
enum turn { TURN_NET, TURN_STREAMS, TURN_TIME, TURN_RETRY, TURNS };
/** A step that has taken this long ends before its next part. */
#define STEP_BUDGET ML_MSEC(2)

struct ml_port {
    ml_engine *engine;
    ml_port_sink sink;
    ml_random random;
    ml_log_fn log;
    struct ml_flash flash;
    struct ml_flash_store store;
    ml_time clock_at;
    bool is_flushing, is_address_due;
    uint32_t refused;  /* by the heap, as last told */
    ml_time memory_at; /* not told again before */
    bool is_retry_due; /* TCP in the tunnel was told to wait */
    enum turn turn;    /* whose the next one is */
    bool is_turn_cut;  /* there is more to do at once */
    struct ml_bare_stats stats;
};

static struct ml_port the_port;
static alignas(max_align_t) uint8_t engine_memory[ML_BOARD_ENGINE_BYTES];

static void log_line(void *ctx, ml_log_level level, const char *line)
{
    static const char *const name[] = {"error", "warn", "info", "debug", "trace"};
    (void)ctx;
    printf("%s: %s\n", name[level], line);
}

static void say(ml_log_level level, const char *line)
{
    the_port.log(NULL, level, line);
}

/* ---- Entropy and memory ---- */

void ml_bare_random(uint8_t *buf, size_t len)
{
    struct ml_port *p = &the_port;
    ml_time begun = board_time_us(), say_at = begun;
    while (!board_random(buf, len)) {
        if (board_time_us() >= say_at) {
            say(ML_LOG_WARN, "waiting for the source of entropy; nothing goes on before it answers");
            say_at = board_time_us() + SAY_AGAIN;
        }
        board_pause(board_time_us() + ENTROPY_POLL);
    }
    if (say_at != begun) {
        p->stats.entropy_waits++;
        say(ML_LOG_INFO, "the source of entropy answers");
    }
}

static void fill_random(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    ml_bare_random(buf, len);
}

/** Whatever was lost for want of memory, a frame or a connection: one line tells of it, and one more of what follows at once. */
static void tell_memory(struct ml_port *p, ml_time now)
{
    struct ml_arena_stats a;
    ml_arena_get_stats(&a);
    if (a.failed != p->refused && now >= p->memory_at) {
        char line[96];
        snprintf(line, sizeof line, "no memory for TLS or IP: %u requests refused, %u bytes in use",
                 (unsigned)(a.failed - p->refused), (unsigned)a.used_all);
        say(ML_LOG_WARN, line);
        p->refused = a.failed;
        p->memory_at = now + SAY_AGAIN;
    }
}

/* ---- Storage ---- */

static void load_records(struct ml_port *p)
{
    static const char *const name[ML_STORE_COUNT] = {"identity", "clock", "cache"};
    uint8_t buf[ML_STORE_MAX]; /* on a stack that is nearly empty now */
    for (int k = 0; k < ML_STORE_COUNT; k++) {
        size_t len = 0;
        ml_err err = ml_flash_store_load(&p->store, (ml_store_kind)k, buf, sizeof buf, &len);
        if (err == ML_OK) {
            err = ml_load(p->engine, (ml_store_kind)k, buf, len);
        }
        if (err != ML_OK && err != ML_ERR_NOT_FOUND) {
            char line[80];
            snprintf(line, sizeof line, "stored %s record cannot be used: %s", name[k], ml_strerror(err));
            say(ML_LOG_ERROR, line);
        }
    }
    ml_wipe(buf, sizeof buf);
}

static void store(struct ml_port *p, ml_time now, const ml_output *out)
{
    static const char why[] = "the flash refuses to be written";
    ml_store_kind kind = out->store;
    bool ok = ml_flash_store_save(&p->store, kind, out->data, out->len) == ML_OK;
    if (!ok) {
        say(ML_LOG_ERROR, why);
        if (p->sink.store_failed != NULL) {
            p->sink.store_failed(p->sink.ctx, kind, why);
        }
    }
    ml_handle_stored(p->engine, now, kind, ok);
}

/* ---- From the stack ---- */

static void on_datagram(const ml_addr *from, uint8_t *buf, size_t len)
{
    struct ml_port *p = &the_port;
    if (ml_handle_datagram(p->engine, board_time_us(), from, buf, len) == ML_ERR_FULL) {
        ml_port_flush(p);
        (void)ml_handle_datagram(p->engine, board_time_us(), from, buf, len);
    }
}

static bool on_packet_for_tunnel(const uint8_t *packet, size_t len)
{
    struct ml_port *p = &the_port;
    ml_time now = board_time_us();
    ml_err err = ml_handle_overlay(p->engine, now, packet, len);
    if (err == ML_ERR_FULL && !p->is_flushing) {
        ml_port_flush(p);
        err = ml_handle_overlay(p->engine, now, packet, len);
    }
    /* A relayed packet lies in its stream's small buffer now: out with it before the next one comes. */
    ml_streams_write(now);
    p->is_retry_due |= err == ML_ERR_FULL;
    return err != ML_ERR_FULL;
}

static void on_address_changed(void)
{
    the_port.is_address_due = true; /* may come before there is an engine */
}

static const struct ml_net_events net_events = {on_datagram, on_packet_for_tunnel, on_address_changed};

static void tell_addr(struct ml_port *p, ml_time now)
{
    ml_addr addr;
    bool has = ml_net_get_addr(&addr);
    ml_set_local_addrs(p->engine, now, &addr, has ? 1 : 0);
}

/* ---- Driving ---- */

static void carry_out(struct ml_port *p, ml_time now, const ml_output *out)
{
    switch (out->type) {
    case ML_OUT_DATAGRAM:
        ml_net_udp_send(&out->addr, out->data, out->len);
        break;
    case ML_OUT_OVERLAY:
        if (p->sink.overlay != NULL) {
            p->sink.overlay(p->sink.ctx, out->data, out->len);
        }
        break;
    case ML_OUT_STREAM_OPEN:
        ml_streams_open(now, &out->stream);
        break;
    case ML_OUT_STREAM_CLOSE:
        ml_streams_close(out->stream.id);
        break;
    case ML_OUT_RESOLVE:
        ml_streams_resolve(now, out->token, out->text);
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

/** Until there is nothing more, or @p until has come: then true, and the loop comes back at once. */
static bool flush(struct ml_port *p, ml_time until)
{
    static ml_output out; /* 300 bytes that the stack need not have */
    if (p->is_flushing) {
        return false;
    }
    p->is_flushing = true;
    bool is_cut = true;
    for (int round = 0; is_cut && round < FLUSH_ROUNDS; round++) {
        ml_time now = board_time_us();
        bool is_late = false;
        while (!is_late && ml_poll_output(p->engine, now, &out) && out.type != ML_OUT_NONE) {
            carry_out(p, now, &out);
            is_late = board_time_us() >= until;
        }
        if (is_late || board_time_us() >= until) {
            break;
        }
        is_cut = ml_streams_pump(now, until);
    }
    p->is_flushing = false;
    return is_cut;
}

void ml_port_flush(ml_port *p)
{
    p->is_turn_cut |= flush(p, ML_NEVER);
}

void ml_port_rebind(ml_port *p)
{
    ml_time now = board_time_us();
    tell_addr(p, now);
    ml_rebind(p->engine, now);
}

static void tell_clock(ml_port *p, ml_time now)
{
    uint64_t ms = board_wall_ms();
    bool ok = ms >= PLAUSIBLE_UNIX_MS;
    p->clock_at = now + (ok ? CLOCK_AGAIN : ML_SEC(10));
    if (ok) {
        ml_set_wall_clock(p->engine, now, ms);
    }
}

static ml_time earliest(ml_time a, ml_time b)
{
    return a < b ? a : b;
}

ml_time ml_port_deadline(const ml_port *p)
{
    ml_time now = board_time_us();
    if (p->is_turn_cut) {
        return now;
    }
    ml_time at = earliest(ml_poll_deadline(p->engine), ml_streams_deadline(now));
    return earliest(at, earliest(ml_net_deadline(now), p->clock_at));
}

static void count_step(struct ml_bare_stats *s, ml_time took, ml_time polled, uint32_t x25519, bool is_plain)
{
    s->steps++;
    s->busy += took;
    s->longest = took > s->longest ? took : s->longest;
    if (is_plain && x25519 == 0 && took > s->longest_plain) {
        s->longest_plain = took;
        s->longest_plain_net = polled;
    }
    if (!is_plain && took > s->longest_tls) {
        s->longest_tls = took;
    }
    s->x25519 += x25519;
    s->x25519_most = x25519 > s->x25519_most ? x25519 : s->x25519_most;
}

/** Time of our own: waiting for devices is not. */
static ml_time own_time(void)
{
    return board_time_us() - board_waited_us();
}

/** @return false when a step of a TLS handshake was done. */
static bool do_turn(struct ml_port *p, ml_time until)
{
    ml_time now = board_time_us();
    bool is_plain = true;
    switch (p->turn) {
    case TURN_NET:
        p->is_turn_cut |= ml_net_poll(until);
        break;
    case TURN_STREAMS:
        ml_tls_set_clock(ml_get_unix_time(p->engine, now));
        is_plain = !ml_streams_on_time(now);
        break;
    case TURN_TIME:
        if (now >= p->clock_at) {
            tell_clock(p, now);
        }
        if (p->is_address_due) {
            p->is_address_due = false;
            ml_port_rebind(p);
        }
        ml_handle_time(p->engine, now);
        break;
    case TURN_RETRY:
        if (p->is_retry_due) {
            p->is_retry_due = false;
            ml_net_retry();
        }
        break;
    case TURNS:
        break;
    }
    p->turn = (enum turn)((p->turn + 1) % TURNS);
    return is_plain;
}

/*
 * A step goes round the turns once, from where the last one stopped, and stops when it has taken STEP_BUDGET: a turn, or carrying out
 * one output of the engine, may hold one operation on a curve, and two of them in a row would be a long time for whoever waits for
 * the loop. What was not carried out by then begins the next step.
 */
ml_err ml_port_step(ml_port *p, ml_time until)
{
    board_wait(earliest(ml_port_deadline(p), until));
    ml_time begun = own_time(), polled = 0, cut_at = board_time_us() + STEP_BUDGET;
    uint32_t x25519 = ml_bare_x25519_count();
    bool is_plain = true;
    p->is_turn_cut = false;
    bool is_late = flush(p, cut_at);
    for (int n = 0; n < TURNS && !is_late; n++) {
        ml_time at = own_time();
        bool is_net = p->turn == TURN_NET;
        is_plain &= do_turn(p, cut_at);
        polled += is_net ? own_time() - at : 0;
        is_late = board_time_us() >= cut_at || flush(p, cut_at);
    }
    p->is_turn_cut |= is_late;
    tell_memory(p, board_time_us());
    count_step(&p->stats, own_time() - begun, polled, ml_bare_x25519_count() - x25519, is_plain);
    return ML_OK;
}

/* ---- Life ---- */

/** What the caller leaves open is what the board's memory was sized for. */
static void set_sizes(ml_config *c)
{
    c->max_peers = c->max_peers ? c->max_peers : ML_BOARD_MAX_PEERS;
    c->max_sessions = c->max_sessions ? c->max_sessions : ML_BOARD_MAX_SESSIONS;
    c->max_regions = c->max_regions ? c->max_regions : ML_BOARD_MAX_REGIONS;
    c->max_rules = c->max_rules ? c->max_rules : ML_BOARD_MAX_RULES;
    c->out_queue_bytes = c->out_queue_bytes ? c->out_queue_bytes : ML_BOARD_OUT_QUEUE_BYTES;
    c->stream_tx_bytes = c->stream_tx_bytes ? c->stream_tx_bytes : ML_BOARD_STREAM_TX_BYTES;
}

static ml_err open_engine(struct ml_port *p, const ml_port_config *cfg, char *why, size_t why_cap)
{
    ml_config ec = cfg->engine;
    set_sizes(&ec);
    if (ec.random.fill == NULL) {
        ec.random = (ml_random){.fill = fill_random};
    }
    p->random = ec.random;
    ec.log = p->log;
    ec.memory_is_zero = true;
    p->stats.engine_need = ml_mem_needed(&ec);
    if (p->stats.engine_need == 0 || p->stats.engine_need > sizeof engine_memory) {
        snprintf(why, why_cap, "the engine needs %u bytes, ML_BOARD_ENGINE_BYTES gives %u", (unsigned)p->stats.engine_need,
                 (unsigned)sizeof engine_memory);
        return ML_ERR_NO_MEM;
    }
    ml_err err = ml_init(&p->engine, engine_memory, sizeof engine_memory, &ec);
    if (err != ML_OK) {
        snprintf(why, why_cap, "the engine refused its configuration: %s", ml_strerror(err));
    }
    return err;
}

ml_err ml_port_open(ml_port **out, const ml_port_config *cfg, char *why, size_t why_cap)
{
    struct ml_port *p = &the_port;
    char unused[1];
    if (why == NULL || why_cap == 0) {
        why = unused;
        why_cap = sizeof unused;
    }
    *out = NULL;
    memset(p, 0, sizeof *p);
    p->sink = cfg->sink;
    p->log = cfg->engine.log ? cfg->engine.log : log_line;
    if (!board_random_init()) {
        snprintf(why, why_cap, "the board has no source of entropy");
        return ML_ERR_STATE;
    }
    ml_err err = open_engine(p, cfg, why, why_cap);
    if (err != ML_OK) {
        return err;
    }
    p->flash = (struct ml_flash){board_flash_read, board_flash_erase, board_flash_program, board_flash_sector_len()};
    ml_flash_store_open(&p->store, &p->flash);
    load_records(p);
    if (!ml_tls_init(&p->random) || !ml_net_init(&net_events, cfg->udp_port ? cfg->udp_port : DEFAULT_UDP_PORT)) {
        snprintf(why, why_cap, "no Ethernet");
        return ML_ERR_NO_MEM;
    }
    ml_streams_init(p->engine);
    ml_time now = board_time_us();
    tell_clock(p, now);
    tell_addr(p, now);
    *out = p;
    return ML_OK;
}

void ml_port_close(ml_port *p)
{
    if (p != NULL) {
        ml_streams_close_all();
        ml_clear(p->engine);
    }
}

ml_engine *ml_port_engine(ml_port *p)
{
    return p->engine;
}

ml_time ml_port_now(const ml_port *p)
{
    (void)p;
    return board_time_us();
}

ml_err ml_port_erase(ml_port *p)
{
    return ml_flash_store_erase(&p->store);
}

size_t ml_port_get_fds(const ml_port *p, ml_port_fd *fds, size_t cap)
{
    (void)p;
    (void)fds;
    (void)cap;
    return 0;
}

void ml_bare_get_stats(const ml_port *p, struct ml_bare_stats *out)
{
    *out = p->stats;
}
