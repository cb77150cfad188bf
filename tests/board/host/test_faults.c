/*
 * The board's port under faults, in virtual time: the files of ports/baremetal with lwIP, Mbed TLS and a whole engine, on a board
 * that is this process (host_board.c), among a relay with TLS and a peer (core_net.h, world_net.c).
 *
 * Each fault is one child process, forked from a node that is joined and quiet: it makes the fault, cuts the connections, has the peer
 * ping and talk TCP, and must find the node as it was afterwards, with as much of the heap in use as before, and told in a
 * sentence. Nothing here waits for a clock.
 *
 *   test_faults CHAIN.pem KEY.pem ROOT.der memory|flash|entropy|hour [--all]
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/core_net.h"

#include "arena.h"
#include "bare_port.h"
#include "echo.h"
#include "host_board.h"
#include "netif.h"
#include "world_net.h"

#include <execinfo.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MUST(x)                                                                                                                \
    do {                                                                                                                       \
        if (!(x)) {                                                                                                            \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #x);                                                                     \
            fflush(stdout);                                                                                                    \
            _exit(3);                                                                                                          \
        }                                                                                                                      \
    } while (0)

#define ECHO_PORT  7
#define ECHO_BYTES 6000
#define BOARD      0
#define PEER       1
#define CONN_ID(c) (1000u + (c))
/* Less than what one connection takes. */
#define KEPT_BYTES 1024u
#define ALL_THERE  UINT32_MAX

static struct net *net;
static ml_port *port;
static bool has_echo;
static uint8_t board_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t relay_ip[4] = {192, 0, 2, 201};
static const ml_addr board_addr = {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 10}}, 41641};
static unsigned memory_lines, entropy_lines, flash_lines, unusable_lines;
static bool is_loud;
/* Faults of Ethernet, per mille. */
static unsigned lose, repeat;
static uint64_t dice = 7;

static struct {
    unsigned clean, ran, quiet_tls, quiet_lwip;
    uint64_t stack[1 << 15];
    ml_private_key key; /* the node's, of the last life */
} * shared;

/* ---- What the node says ---- */

static void on_log(void *ctx, ml_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    memory_lines += strstr(line, "no memory for TLS or IP") != NULL;
    entropy_lines += strstr(line, "waiting for the source of entropy") != NULL;
    flash_lines += strstr(line, "the flash refuses") != NULL;
    unusable_lines += strstr(line, "record cannot be used") != NULL;
    if (is_loud) {
        printf("%9.3f %s\n", (double)host_now / 1e6, line);
    }
}

/* ---- Network ---- */

static bool happens(unsigned per_mille)
{
    dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return per_mille > 0 && (dice >> 33) % 1000 < per_mille;
}

static void to_board(const uint8_t *frame, size_t len)
{
    if (!happens(lose)) {
        (void)host_frame_in(frame, len);
        if (happens(repeat)) {
            (void)host_frame_in(frame, len);
        }
    }
}

static void from_board(const uint8_t *frame, size_t len)
{
    MUST(host_now >= host_entropy_at); /* nothing is sent without randomness */
    if (happens(lose)) {
        return;
    }
    for (unsigned copies = happens(repeat) ? 2 : 1; copies > 0; copies--) {
        if (len > 42 && frame[12] == 8 && frame[13] == 0 && frame[23] == 17) {
            ml_output out = {.type = ML_OUT_DATAGRAM, .addr = {ml_ip_from4(frame + 30), ml_get_be16(frame + 36)}};
            out.data = frame + 42;
            out.len = ml_get_be16(frame + 38) - 8u;
            net_datagram(net, BOARD, &out);
        } else {
            world_net_frame(frame, len);
        }
    }
}

static struct net_stream *stream_of(unsigned conn)
{
    return net_stream_of(net, BOARD, CONN_ID(conn));
}

static void on_opened(unsigned conn)
{
    for (size_t i = 0; i < sizeof net->streams / sizeof net->streams[0]; i++) {
        struct net_stream *s = &net->streams[i];
        if (!s->is_used) {
            memset(s, 0, sizeof *s);
            s->is_used = true;
            s->node = BOARD;
            s->region = 1;
            s->id = CONN_ID(conn);
            s->local = board_addr;
            return;
        }
    }
    MUST(!"a place for a stream");
}

static void on_data(unsigned conn, const uint8_t *buf, size_t len)
{
    struct net_stream *s = stream_of(conn);
    if (s != NULL) {
        net_relay_in(net, s, buf, len);
    }
}

static void on_closed(unsigned conn)
{
    struct net_stream *s = stream_of(conn);
    if (s != NULL) {
        s->is_used = false;
    }
}

static void from_application(const uint8_t *packet, size_t len)
{
    (void)ml_handle_overlay(net->w.n[PEER].ml, net->w.now, packet, len);
}

static void deliver(struct net_msg *m)
{
    if (m->node != BOARD) {
        net_deliver(net, m);
    } else if (m->id != 0) {
        if (stream_of(m->id - CONN_ID(0)) != NULL) {
            world_net_write(m->id - CONN_ID(0), m->data, m->len);
        }
    } else {
        uint8_t frame[1514] = {0};
        memcpy(frame, board_mac, 6);
        memcpy(frame + 6, "\x02\0\0\0\0\x01\x08", 7);
        size_t n = ml_udp_build(frame + 14, sizeof frame - 14, &m->from, &board_addr, m->data, m->len, 1);
        to_board(frame, 14 + n);
    }
}

/* ---- Driving ---- */

static void on_overlay(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    ml_net_tunnel_input(packet, len);
}

static void on_event(void *ctx, const ml_event *ev)
{
    (void)ctx;
    (void)ev;
}

static void peer_turn(void)
{
    struct world_node *p = &net->w.n[PEER];
    unsigned before = p->inbox_count;
    while (net_drain(net, PEER)) {
        for (unsigned i = before; i < p->inbox_count; i++) {
            if (p->inbox[i % 8][9] == 6) {
                world_net_packet(p->inbox[i % 8], p->inbox_len[i % 8]);
            }
        }
        before = p->inbox_count;
    }
}

/** Everything that is due at this time. */
static void settle(void)
{
    for (int round = 0; round < 200; round++) {
        net->w.now = host_now;
        while (net->queue && net->queue->due <= net->w.now) {
            struct net_msg *m = net->queue;
            net->queue = m->next;
            deliver(m);
            free(m);
            peer_turn();
        }
        world_net_time((uint32_t)(host_now / 1000));
        peer_turn();
        MUST(ml_port_step(port, 0) == ML_OK);
        has_echo = has_echo || ml_echo_start(ECHO_PORT);
        net->w.now = host_now;
        if (!host_has_frames() && ml_port_deadline(port) > host_now && (!net->queue || net->queue->due > host_now)) {
            return;
        }
    }
}

static void run(ml_time span)
{
    ml_time end = host_now + span;
    settle();
    while (host_now < end) {
        ml_time next = end, at = ml_poll_deadline(net->w.n[PEER].ml);
        next = at < next ? at : next;
        at = ml_port_deadline(port);
        next = at < next ? at : next;
        uint32_t ms = world_net_sleep();
        next = ms < 3600000 && host_now + ML_MSEC(ms) < next ? host_now + ML_MSEC(ms) : next;
        next = net->queue && net->queue->due < next ? net->queue->due : next;
        host_now = next > host_now ? next : host_now + 1;
        net->w.now = host_now;
        net_keepalive(net);
        ml_handle_time(net->w.n[PEER].ml, host_now);
        settle();
    }
}

/* ---- The tailnet ---- */

static void join(void)
{
    world_netmap(&net->w, BOARD);
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        ml_netcheck_set_map_poll(&net->w.n[i].ml->netcheck, true);
        net_regions(net, i);
        world_netmap(&net->w, i);
    }
    const ml_ip ip4 = ml_ip4(100, 64, 0, 1);
    ml_net_tunnel_set_addr(&ip4);
}

/* What control would do: the peer learns of the board's home and the reverse. */
static void exchange(void)
{
    net->is_overlay_blocked[BOARD] = true; /* net_settle() leaves it alone: its outputs are the port's */
    net_exchange(net);
}

/** The peer, the relay, and the wires; no board yet. */
static void make_world(const char *chain, const char *key)
{
    const struct world_net_events ev = {to_board, from_application, on_opened, on_data, on_closed};
    net = net_start(NET_OPEN, NET_OPEN, 1);
    ml_clear(net->w.n[BOARD].ml);
    free(net->w.n[BOARD].mem);
    net->w.n[BOARD].mem = NULL;
    net->w.n[BOARD].ml = NULL;
    net->w.n[BOARD].addr = board_addr;
    host_now = net->w.now;
    host_frame_out = from_board;
    world_net_init(&ev, relay_ip, (const uint8_t[]){100, 64, 0, 2}, chain, key);
    snprintf(host_config, sizeof host_config,
             "ip=192.0.2.10/24\ngateway=192.0.2.201\nhost=192.0.2.201 control.test\nhost=192.0.2.201 relay1.example\n");
}

static void open_board(void)
{
    const ml_port_config cfg = {
        .engine = {.control_url = "http://control.test:81", .hostname = "board", .log = on_log, .log_level = ML_LOG_INFO},
        .sink = {.overlay = on_overlay, .event = on_event}};
    char why[96];
    ml_err err = ml_port_open(&port, &cfg, why, sizeof why);
    if (err != ML_OK) {
        printf("ml_port_open: %s\n", why);
    }
    MUST(err == ML_OK);
    ml_engine *e = ml_port_engine(port);
    net->w.n[BOARD].ml = e;
    if (!e->identity.has_node) { /* what control and the first start would bring */
        ml_x25519_keygen(&e->identity.machine, &e->random);
        ml_x25519_keygen(&e->identity.disco, &e->random);
        ml_x25519_keygen(&e->identity.node, &e->random);
        e->identity.has_node = e->has_machine = true;
        e->is_store_due[ML_STORE_IDENTITY] = true;
    }
    MUST(ml_start(e, host_now) == ML_OK);
    join();
}

static bool is_relayed(void)
{
    return ml_derp_pool_is_connected(&net->w.n[BOARD].ml->derp, 1);
}

static bool pings(void)
{
    const ml_ip ip = net->w.n[BOARD].ip4;
    struct world_node *p = &net->w.n[PEER];
    unsigned from = p->event_count;
    static uint32_t token;
    if (ml_ping(p->ml, host_now, &ip, ML_PING_ICMP, ++token) != ML_OK) {
        return false;
    }
    run(ML_SEC(1));
    for (unsigned i = from; i < p->event_count; i++) {
        if (p->events[i % 64].type == ML_EV_PONG) {
            return true;
        }
    }
    return false;
}

static bool echoes(ml_time within)
{
    world_echo_start((const uint8_t[]){100, 64, 0, 1}, ECHO_PORT, ECHO_BYTES);
    for (ml_time end = host_now + within; host_now < end && world_echo_state() == WORLD_ECHO_RUNS;) {
        run(ML_MSEC(100));
    }
    bool ok = world_echo_state() == WORLD_ECHO_DONE;
    world_echo_stop();
    return ok;
}

/** Relay, ping and TCP work, at the latest after @p within. Tries again as users do. */
static bool recovers(ml_time within)
{
    for (ml_time end = host_now + within; host_now < end; run(ML_SEC(1))) {
        if (is_relayed() && pings() && echoes(ML_SEC(30))) {
            return true;
        }
    }
    printf("  not back: relay %s\n", is_relayed() ? "connected" : "away");
    return false;
}

static void in_use(unsigned *tls, unsigned *lwip)
{
    struct ml_arena_stats a;
    ml_arena_get_stats(&a);
    *tls = (unsigned)a.used[ML_ARENA_TLS];
    *lwip = (unsigned)a.used[ML_ARENA_LWIP];
}

/** Waits until the heap holds as much as it did when the node was quiet. */
static bool heap_settles(unsigned want_tls, unsigned want_lwip)
{
    unsigned tls = 0, lwip = 0;
    for (int i = 0; i < 120; i++) {
        in_use(&tls, &lwip);
        if (tls == want_tls && lwip == want_lwip) {
            return true;
        }
        run(ML_SEC(1));
    }
    return false;
}

/**
 * A TLS connection that could not exchange its record buffers for smaller ones after the handshake keeps the larger ones as long
 * as it lives. What is not given back with it either is a leak.
 */
static bool heap_is_as_before(unsigned want_tls, unsigned want_lwip)
{
    if (heap_settles(want_tls, want_lwip)) {
        return true;
    }
    unsigned tls, lwip;
    in_use(&tls, &lwip);
    world_net_reset_all();
    if (lwip == want_lwip && tls < want_tls + KEPT_BYTES && recovers(ML_SEC(240)) && heap_settles(want_tls, want_lwip)) {
        return true;
    }
    printf("  leak: TLS %u, was %u; lwIP %u, was %u\n", tls, want_tls, lwip, want_lwip);
    return false;
}

static void settle_down(void)
{
    run(ML_SEC(8));
    exchange();
    MUST(recovers(ML_SEC(60)));
    run(ML_SEC(90));
    exchange();
    run(ML_SEC(90));
    in_use(&shared->quiet_tls, &shared->quiet_lwip);
}

/* ---- Children ---- */

/** A life that leaves nothing behind: its flash is its own. */
static void begin_life(void)
{
    struct host_flash *own = malloc(sizeof *own);
    MUST(own != NULL);
    *own = *host_flash;
    host_flash = own;
}

/** Runs @p life in a child, with everything as it is now. */
static bool in_child(bool (*life)(uint32_t arg), uint32_t arg)
{
    fflush(stdout);
    host_random_state = host_random_state * 31 + 1; /* a node that makes itself a key makes a new one */
    pid_t pid = fork();
    if (pid == 0) {
        _exit(life(arg) ? 0 : 1);
    }
    int status = 0;
    MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static uint32_t refused(void)
{
    struct ml_arena_stats a;
    ml_arena_get_stats(&a);
    return a.failed;
}

/** Servers die, come back, and the peer talks. The n-th request for memory from now on fails. */
static bool live_without(uint32_t n)
{
    begin_life();
    uint32_t before = refused();
    ml_arena_fail_at(n);
    world_net_reset_all();
    bool ok = pings();
    (void)ok;
    (void)echoes(ML_SEC(5));
    if (!recovers(ML_SEC(240))) {
        return false;
    }
    run(ML_SEC(12));
    if (refused() == before) {
        shared->clean = n;
        ml_arena_fail_at(0);
    } else if (memory_lines == 0) {
        printf("  nothing was said\n");
        return false;
    }
    return heap_is_as_before(shared->quiet_tls, shared->quiet_lwip);
}

/** The same from power-on: what the port and the stack set up finds no memory either. */
static bool boot_without(uint32_t n)
{
    begin_life();
    uint32_t before = refused();
    ml_arena_fail_at(n);
    open_board();
    run(ML_SEC(8));
    exchange();
    if (!recovers(ML_SEC(240))) {
        return false;
    }
    run(ML_SEC(90));
    exchange();
    run(ML_SEC(90));
    if (n == ALL_THERE) {
        in_use(&shared->quiet_tls, &shared->quiet_lwip);
    } else if (refused() == before) {
        shared->clean = n;
        ml_arena_fail_at(0);
    } else if (memory_lines == 0) {
        printf("  nothing was said\n");
        return false;
    }
    return heap_is_as_before(shared->quiet_tls, shared->quiet_lwip);
}

/** Every n-th request fails for a minute in which everything is lost again and again. */
static bool live_with_little(uint32_t n)
{
    begin_life();
    ml_arena_fail_every(n);
    for (int i = 0; i < 4; i++) {
        world_net_reset_all();
        (void)pings();
        (void)echoes(ML_SEC(5));
        run(ML_SEC(9));
    }
    ml_arena_fail_every(0);
    if (!recovers(ML_SEC(240))) {
        return false;
    }
    run(ML_SEC(12));
    return memory_lines > 0 && heap_is_as_before(shared->quiet_tls, shared->quiet_lwip);
}

/* ---- Which request is which ---- */

void *__real_ml_arena_alloc(enum ml_arena_tenant who, size_t len);
void *__real_ml_arena_tls_calloc(size_t n, size_t len);
void *__real_ml_arena_lwip_malloc(size_t len);
void *__real_ml_arena_lwip_calloc(size_t n, size_t len);
void *__wrap_ml_arena_alloc(enum ml_arena_tenant who, size_t len);
void *__wrap_ml_arena_tls_calloc(size_t n, size_t len);
void *__wrap_ml_arena_lwip_malloc(size_t len);
void *__wrap_ml_arena_lwip_calloc(size_t n, size_t len);

static bool is_recording;
static uint32_t recorded;

static void note(void)
{
    void *frames[24];
    if (!is_recording || recorded + 1 >= sizeof shared->stack / sizeof shared->stack[0]) {
        return;
    }
    uint64_t hash = 14695981039346656037u;
    int depth = backtrace(frames, 24);
    for (int i = 0; i < depth; i++) {
        hash = (hash ^ (uintptr_t)frames[i]) * 1099511628211u;
    }
    shared->stack[++recorded] = hash;
}

void *__wrap_ml_arena_alloc(enum ml_arena_tenant who, size_t len)
{
    note();
    return __real_ml_arena_alloc(who, len);
}

void *__wrap_ml_arena_tls_calloc(size_t n, size_t len)
{
    note();
    return __real_ml_arena_tls_calloc(n, len);
}

void *__wrap_ml_arena_lwip_malloc(size_t len)
{
    note();
    return __real_ml_arena_lwip_malloc(len);
}

void *__wrap_ml_arena_lwip_calloc(size_t n, size_t len)
{
    note();
    return __real_ml_arena_lwip_calloc(n, len);
}

static bool record(bool (*life)(uint32_t n))
{
    is_recording = true;
    bool ok = life(ALL_THERE);
    shared->ran = recorded;
    return ok;
}

static bool record_boot(uint32_t unused)
{
    (void)unused;
    return record(boot_without);
}

static bool record_life(uint32_t unused)
{
    (void)unused;
    return record(live_without);
}

/** True for the first request of each place in the code, told by the whole chain of callers. */
static bool is_worth(uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        if (shared->stack[i] == shared->stack[n]) {
            return false;
        }
    }
    return true;
}

/* After this the set-up is over, and what follows is what a restart of the servers does too. */
#define SETUP_REQUESTS 64u

static bool is_of_setup(uint32_t n)
{
    return n <= SETUP_REQUESTS;
}

/** Makes the n-th request fail for n = 1, 2, ... until one life is over before that many were made. Two at a time. */
static unsigned sweep(const char *what, bool (*life)(uint32_t n), bool (*worth)(uint32_t n))
{
    unsigned failures = 0, lives = 0, running = 0;
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    shared->clean = 0;
    fflush(stdout);
    const char *only = getenv("ONLY"); /* one request, to look at it */
    for (uint32_t n = only ? (uint32_t)atoi(only) : 1; shared->clean == 0 || running > 0; n++) {
        shared->clean = only && n > (uint32_t)atoi(only) ? n : shared->clean;
        if (worth != NULL && n <= shared->ran && !worth(n)) {
            continue;
        }
        if (running == 2 || shared->clean != 0) {
            int status = 0;
            MUST(wait(&status) > 0);
            running--;
            failures += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        }
        if (shared->clean != 0) {
            continue;
        }
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            bool ok = life(n);
            if (!ok) {
                printf("%s: request %u: failed\n", what, (unsigned)n);
                fflush(stdout);
            }
            _exit(ok ? 0 : 1);
        }
        lives++;
        running++;
    }
    clock_gettime(CLOCK_MONOTONIC, &t1);
    printf("%s: %u lives of %u requests, the last with all of %u requests granted, %u failures, %.1f s\n", what, lives,
           shared->ran, shared->clean - 1, failures, (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9);
    return failures;
}

static unsigned check(const char *what, bool ok)
{
    printf("%s: %s\n", what, ok ? "ok" : "FAILED");
    return !ok;
}

static unsigned test_memory(bool is_all)
{
    unsigned failures = check("power-on, all requests are granted", in_child(record_boot, 0));
    failures += sweep("power-on, the n-th request fails", boot_without, is_all ? NULL : is_of_setup);
    open_board();
    settle_down();
    failures += check("servers restart, all requests are granted", in_child(record_life, 0));
    failures += sweep("servers restart, the n-th request fails", live_without, is_all ? NULL : is_worth);
    for (uint32_t n = 1; n <= 12; n++) {
        char what[64];
        snprintf(what, sizeof what, "every request number %u fails for a minute", (unsigned)n);
        failures += check(what, in_child(live_with_little, n));
    }
    return failures;
}

/* ---- Entropy ---- */

static bool boot_before_entropy(uint32_t seconds)
{
    begin_life();
    host_entropy_at = host_now + ML_SEC(seconds);
    open_board();
    run(ML_SEC(8));
    exchange();
    return entropy_lines > seconds / 12 && recovers(ML_SEC(60));
}

static bool live_through_a_pause_of_entropy(uint32_t seconds)
{
    begin_life();
    host_entropy_at = host_now + ML_SEC(seconds);
    world_net_reset_all();
    if (!recovers(ML_SEC(240)) || host_now < host_entropy_at) {
        return false;
    }
    run(ML_SEC(12));
    return entropy_lines > 0 && heap_is_as_before(shared->quiet_tls, shared->quiet_lwip);
}

static unsigned test_entropy(void)
{
    unsigned failures = check("no entropy for 1 s after power-on", in_child(boot_before_entropy, 1));
    failures += check("no entropy for a minute after power-on", in_child(boot_before_entropy, 60));
    open_board();
    settle_down();
    failures += check("no entropy for 20 s of a connected node", in_child(live_through_a_pause_of_entropy, 20));
    return failures;
}

/* ---- Flash ---- */

/** One life of some minutes on the flash as it is, which stays for the next one. */
static bool live_on_this_flash(uint32_t unused)
{
    (void)unused;
    open_board();
    shared->key = net->w.n[BOARD].ml->identity.node;
    run(ML_SEC(8));
    exchange();
    if (!recovers(ML_SEC(60))) {
        return false;
    }
    run(ML_SEC(60));
    exchange();
    run(ML_SEC(60));
    return !host_flash->is_refusing || flash_lines > 0;
}

static bool live_while_flash_refuses_for_a_while(uint32_t unused)
{
    (void)unused;
    host_flash->is_refusing = true;
    open_board();
    shared->key = net->w.n[BOARD].ml->identity.node;
    run(ML_SEC(8));
    exchange();
    if (!recovers(ML_SEC(60)) || flash_lines == 0) {
        return false;
    }
    host_flash->is_refusing = false;
    run(ML_SEC(120));
    return true;
}

static bool has_key(const ml_private_key *want)
{
    ml_private_key now = shared->key;
    return memcmp(&now, want, sizeof now) == 0;
}

static unsigned test_flash(void)
{
    static struct host_flash first, base;
    unsigned failures = check("flash that refuses at first", in_child(live_while_flash_refuses_for_a_while, 0));
    ml_private_key key = shared->key;
    failures += check("the identity was stored later: the next life is the same node",
                      in_child(live_on_this_flash, 0) && has_key(&key));
    first = *host_flash;
    failures += check("another life", in_child(live_on_this_flash, 0) && has_key(&key));
    base = *host_flash;

    /* The power goes after so many operations, in the middle of a word or an erasure; until one life has none left. */
    unsigned cuts = 0, bad = 0;
    for (long at = 1;; at++) {
        *host_flash = base;
        host_flash->cut_after = at;
        bool ok = in_child(live_on_this_flash, 0) && has_key(&key);
        bool is_cut = host_flash->is_refusing;
        host_flash->is_refusing = false;
        host_flash->cut_after = -1;
        ok = ok && in_child(live_on_this_flash, 0) && has_key(&key);
        if (!ok) {
            printf("  operation %ld\n", at);
        }
        bad += !ok;
        if (!is_cut) {
            break;
        }
        cuts++;
        at += at / 8; /* every one at first; test_flash_store.c has all of them */
    }
    printf("flash that fails for ever in mid-operation, then a reset: %u places\n", cuts);
    failures += check("the same node each time", bad == 0 && cuts > 10);

    *host_flash = first;
    failures += check("flash that shows what it had a life ago", in_child(live_on_this_flash, 0) && has_key(&key));
    uint64_t r = 1;
    for (size_t i = 0; i < sizeof host_flash->cells; i++) {
        r = r * UINT64_C(6364136223846793005) + 1;
        ((uint8_t *)host_flash->cells)[i] = (uint8_t)(r >> 56);
    }
    failures += check("flash full of something else: a new node", in_child(live_on_this_flash, 0) && !has_key(&key));
    key = shared->key;
    failures += check("which it stays", in_child(live_on_this_flash, 0) && has_key(&key));
    return failures;
}

/* ---- An hour ---- */

/** Traffic, 5 % of the frames lost, 2 % doubled, servers that restart every three minutes. */
static bool live_an_hour(uint32_t minutes)
{
    unsigned ping_count = 0, ping_lost = 0, echo_count = 0, echo_lost = 0, restarts = 0;
    begin_life();
    lose = 50;
    repeat = 20;
    for (uint32_t minute = 0; minute < minutes; minute++) {
        if (minute % 3 == 2) {
            world_net_reset_all();
            restarts++;
        }
        for (ml_time end = host_now + ML_SEC(60); host_now < end; run(ML_SEC(1))) {
            ping_count++;
            ping_lost += !pings();
            if (ping_count % 4 == 0) {
                echo_count++;
                echo_lost += !echoes(ML_SEC(40));
            }
        }
    }
    lose = repeat = 0;
    struct ml_bare_stats s;
    struct ml_arena_stats a;
    ml_bare_get_stats(port, &s);
    ml_arena_get_stats(&a);
    printf(
        "%u minutes: %u pings, %u lost; %u echoes of %u bytes, %u not whole within 40 s; %u restarts of the relay; heap %u at "
        "most, %u requests refused; %u steps\n",
        (unsigned)minutes, ping_count, ping_lost, echo_count, ECHO_BYTES, echo_lost, restarts, (unsigned)a.peak_all,
        (unsigned)a.failed, (unsigned)s.steps);
    return recovers(ML_SEC(120)) && ping_lost * 3 < ping_count && echo_lost * 5 < echo_count &&
           heap_is_as_before(shared->quiet_tls, shared->quiet_lwip);
}

static unsigned test_hour(void)
{
    open_board();
    settle_down();
    return check("an hour of traffic, loss and restarts: the heap is as it was", in_child(live_an_hour, 60));
}

int main(int argc, char **argv)
{
    MUST(argc >= 5);
    setvbuf(stdout, NULL, _IOLBF, 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    host_flash = mmap(NULL, sizeof *host_flash, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(shared != MAP_FAILED && host_flash != MAP_FAILED);
    memset(host_flash->cells, 0xff, sizeof host_flash->cells);
    host_flash->cut_after = -1;
    is_loud = getenv("LOUD") != NULL;

    static uint8_t roots[4 + 4096 + 4];
    FILE *f = fopen(argv[3], "rb");
    MUST(f != NULL);
    uint32_t len = (uint32_t)fread(roots + 4, 1, 4096, f);
    fclose(f);
    memcpy(roots, &len, 4);
    host_roots = roots;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    host_unix_ms = (uint64_t)t.tv_sec * 1000;

    make_world(argv[1], argv[2]);
    bool is_all = argc > 5 && strcmp(argv[5], "--all") == 0;
    unsigned failures = 0;
    if (strcmp(argv[4], "memory") == 0) {
        failures = test_memory(is_all);
    } else if (strcmp(argv[4], "entropy") == 0) {
        failures = test_entropy();
    } else if (strcmp(argv[4], "flash") == 0) {
        failures = test_flash();
    } else if (strcmp(argv[4], "hour") == 0) {
        failures = test_hour();
    } else {
        MUST(!"a known test");
    }
    return failures == 0 ? 0 : 1;
}
