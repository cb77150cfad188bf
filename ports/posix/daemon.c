/*
 * `microlink run`: opens everything, runs the loop, leaves in order (see daemon.h).
 *
 * SIGTERM and SIGINT leave, SIGHUP rebinds; they arrive as bytes on a socket pair, so the loop needs no special case.
 *
 * SPDX-License-Identifier: MIT
 */
#include "daemon.h"

#include "base/addr.h"
#include "microlink/version.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/** How long leaving may take: closes and releases are best effort. */
#define LEAVE_WITHIN ML_MSEC(500)
/** Packets taken from the TUN device per wake-up; one read may give some fifty. */
#define TUN_BURST 64
/** Room for packets that one burst of the host makes, and for a bulk transfer's stream bytes. */
#define OUT_QUEUE_BYTES (256u * 1024u)

/** All peers of any usual tailnet, compactly. Memory is used as peers come: a slot that was never taken costs nothing. */
#define MAX_PEERS    16384
#define MAX_SESSIONS 128
#define MAX_RULES    8192

static int wake_fd = -1; /* Written by the signal handler. */

static void on_signal(int sig)
{
    int saved = errno;
    char byte = (char)sig;
    (void)send(wake_fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    errno = saved;
}

static void log_line(void *ctx, ml_log_level level, const char *line)
{
    const struct ml_daemon *d = ctx;
    /* Flags count from warnings: --verbose 0 shows errors and warnings. */
    if ((int)level <= d->opt->verbose + (int)ML_LOG_WARN) {
        ml_port_log_stderr(NULL, level, line);
    }
}

static void say(struct ml_daemon *d, ml_log_level level, const char *line)
{
    log_line(d, level, line);
}

/* ---- Overlay ---- */

static void to_host(void *ctx, const uint8_t *packet, size_t len)
{
    struct ml_daemon *d = ctx;
    if (d->netif != NULL) {
        ml_netif_input(d->netif, packet, len);
    } else if (d->tun.fd >= 0) {
        ml_tun_write(&d->tun, packet, len);
    }
}

static void from_host(void *ctx, const uint8_t *packet, size_t len)
{
    struct ml_daemon *d = ctx;
    (void)ml_port_overlay(d->port, ml_sys_now(), packet, len);
}

static void from_tun(void *ctx, const uint8_t *packet, size_t len)
{
    struct ml_daemon *d = ctx;
    (void)ml_port_overlay(d->port, d->tun_read_at, packet, len);
}

static void on_tun(void *ctx, short revents)
{
    (void)revents;
    struct ml_daemon *d = ctx;
    for (size_t n = 0, total = 0; total < TUN_BURST; total += n) {
        d->tun_read_at = ml_sys_now();
        n = ml_tun_read(&d->tun, from_tun, d);
        if (n == 0) {
            return;
        }
    }
}

static void on_overlay_datagram(void *ctx, const ml_addr *from, const uint8_t *data, size_t len)
{
    ml_localapi_datagram(ctx, from, data, len);
}

static void assign_addrs(struct ml_daemon *d)
{
    ml_self_info s;
    char why[200] = "";
    ml_get_self(d->engine, &s);
    if (d->netif != NULL) {
        ml_netif_set_addrs(d->netif, &s.ip4, &s.ip6);
    } else {
        if (ml_tun_set_addrs(&d->tun, &s.ip4, &s.ip6, why, sizeof why) != ML_OK) {
            snprintf(d->problem, sizeof d->problem, "%s", why);
        }
        if (why[0]) {
            say(d, ML_LOG_WARN, why);
        }
        s.ip4 = d->tun.ip4;
        s.ip6 = d->tun.ip6;
    }
    if (!ml_peerapi_serve(&d->peerapi, &s.ip4, &s.ip6, why, sizeof why)) {
        say(d, ML_LOG_WARN, why);
    }
}

static bool open_overlay(struct ml_daemon *d)
{
    char why[200] = "";
    if (strcmp(d->opt->tun, ML_TUN_USERSPACE) == 0) {
        d->netif = ml_netif_new(from_host, d);
        if (d->netif == NULL || !ml_netif_udp_bind(d->netif, ML_DAEMON_DATA_PORT, on_overlay_datagram, d)) {
            fprintf(stderr, "microlink: userspace networking is not built in, or there is no memory for it\n");
            return false;
        }
        return true;
    }
    if (ml_tun_open(&d->tun, d->opt->tun, why, sizeof why) != ML_OK) {
        fprintf(stderr, "microlink: %s\n", why);
        return false;
    }
    d->tun_slot = ml_loop_add(ml_port_loop(d->port), d->tun.fd, POLLIN, on_tun, d);
    ml_port_set_tunnel_ifname(d->port, d->tun.name);
    return true;
}

/* ---- Events ---- */

static void log_state(struct ml_daemon *d)
{
    char line[400];
    ml_self_info s;
    const char *state = ml_backend_state(d);
    if (state == d->last_state) { /* Two states of the engine may be one of these. */
        return;
    }
    d->last_state = state;
    ml_get_self(d->engine, &s);
    struct ml_writer w = ml_writer_of((uint8_t *)line, sizeof line);
    ml_write_str(&w, "state: ");
    ml_write_str(&w, state);
    if (ml_get_state(d->engine) == ML_STATE_RUNNING) {
        ml_write_str(&w, " as ");
        ml_write_str(&w, s.name);
        ml_write_str(&w, " ");
        ml_write_ip(&w, ml_ip_is_set(&s.ip4) ? &s.ip4 : &s.ip6);
    }
    say(d, ML_LOG_INFO, ml_write_end_str(&w));
}

static void on_event(void *ctx, const ml_event *ev)
{
    struct ml_daemon *d = ctx;
    switch (ev->type) {
    case ML_EV_STATE:
        log_state(d);
        break;
    case ML_EV_SELF:
        assign_addrs(d);
        break;
    case ML_EV_LOGIN_URL: {
        const char *url = ml_get_login_url(d->engine);
        if (url[0]) {
            /* Always shown: without it nobody gets on. */
            fprintf(stderr, "To authenticate, visit:\n\n\t%s\n\n", url);
        }
        break;
    }
    case ML_EV_PROBLEM: /* the engine has logged what is wrong */
        if (!ml_get_problem(d->engine)[0]) {
            say(d, ML_LOG_INFO, "all is well again");
        }
        break;
    default:
        break;
    }
    ml_localapi_event(d, ev);
}

static void on_store_failed(void *ctx, ml_store_kind kind, const char *why)
{
    struct ml_daemon *d = ctx;
    (void)kind;
    snprintf(d->problem, sizeof d->problem, "%s", why);
}

static void on_signal_fd(void *ctx, short revents)
{
    (void)revents;
    struct ml_daemon *d = ctx;
    char byte;
    while (recv(d->signal_fd[0], &byte, 1, MSG_DONTWAIT) == 1) {
        if (byte == SIGHUP) {
            d->rebind = true;
        } else {
            d->quit = true;
        }
    }
}

static bool catch_signals(struct ml_daemon *d)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, d->signal_fd) != 0 || ml_sys_prepare_fd(d->signal_fd[0]) != 0 ||
        ml_sys_prepare_fd(d->signal_fd[1]) != 0 ||
        ml_loop_add(ml_port_loop(d->port), d->signal_fd[0], POLLIN, on_signal_fd, d) < 0) {
        return false;
    }
    wake_fd = d->signal_fd[1];
    struct sigaction sa = {.sa_handler = on_signal};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    return true;
}

/* ---- Life ---- */

static bool open_port(struct ml_daemon *d, struct ml_options *opt)
{
    char why[256];
    ml_port_config pc = {0};
    pc.engine.control_url = opt->login_server;
    pc.engine.auth_key = opt->auth_key[0] ? opt->auth_key : NULL;
    pc.engine.max_peers = opt->max_peers ? opt->max_peers : MAX_PEERS;
    pc.engine.max_sessions = (uint16_t)(pc.engine.max_peers < MAX_SESSIONS ? pc.engine.max_peers : MAX_SESSIONS);
    pc.engine.max_rules = MAX_RULES;
    pc.engine.no_derp = opt->no_derp;
    pc.engine.no_disco = opt->no_disco;
    pc.engine.no_stun = opt->no_stun;
    pc.engine.ephemeral = opt->ephemeral;
    pc.engine.shields_up = opt->shields_up;
    pc.engine.out_queue_bytes = OUT_QUEUE_BYTES;
    pc.engine.stream_tx_bytes = 16384;
    pc.engine.log = log_line;
    pc.engine.log_ctx = d;
    pc.engine.log_level = (ml_log_level)(opt->verbose + (int)ML_LOG_WARN);
    char host[64] = "";
    if (opt->hostname == NULL && gethostname(host, sizeof host - 1) == 0 && host[0]) {
        host[strcspn(host, ".")] = 0;
    }
    pc.engine.hostname = opt->hostname ? opt->hostname : host[0] ? host : NULL;
    pc.udp_port = opt->port;
    pc.ca_file = opt->ca_file;
    pc.state_path = opt->state;
    pc.sink = (ml_port_sink){.ctx = d, .overlay = to_host, .event = on_event, .store_failed = on_store_failed};
    ml_err err = ml_port_open(&d->port, &pc, why, sizeof why);
    sodium_memzero(opt->auth_key, sizeof opt->auth_key);
    if (err != ML_OK) {
        fprintf(stderr, "microlink: %s\n", why);
        return false;
    }
    d->engine = ml_port_engine(d->port);
    return true;
}

static void leave(struct ml_daemon *d)
{
    say(d, ML_LOG_INFO, "leaving");
    ml_time until = ml_sys_now() + LEAVE_WITHIN;
    (void)ml_stop(d->engine, ml_sys_now());
    ml_port_flush(d->port);
    while (ml_get_state(d->engine) != ML_STATE_STOPPED && ml_sys_now() < until) {
        (void)ml_port_step(d->port, until);
        ml_tun_flush(&d->tun);
    }
}

static int run_loop(struct ml_daemon *d)
{
    while (!d->quit) {
        ml_time now = ml_sys_now();
        ml_time until = d->netif ? ml_netif_deadline(d->netif, now) : ML_NEVER;
        ml_time peerapi = ml_peerapi_deadline(&d->peerapi);
        until = peerapi < until ? peerapi : until;
        if (ml_port_step(d->port, until) != ML_OK) {
            fprintf(stderr, "microlink: the UDP sockets were lost and cannot be opened again\n");
            return 1;
        }
        if (d->netif != NULL) {
            ml_netif_on_time(d->netif);
        }
        ml_peerapi_on_time(&d->peerapi, ml_sys_now());
        if (d->rebind) {
            d->rebind = false;
            say(d, ML_LOG_INFO, "rebinding as asked");
            ml_port_rebind(d->port);
        }
        ml_port_flush(d->port);
        ml_tun_flush(&d->tun);
    }
    return 0;
}

int ml_daemon_run(struct ml_options *opt)
{
    char why[256];
    int status = 1;
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1); /* Name look-ups run in threads; an arena each would cost more than they use. */
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
#endif
    struct ml_daemon *d = calloc(1, sizeof *d);
    if (d == NULL) {
        fprintf(stderr, "microlink: no memory\n");
        return 1;
    }
    d->opt = opt;
    d->tun.fd = d->tun_slot = d->http.fd = d->signal_fd[0] = d->signal_fd[1] = -1;
    d->want_running = true;
    d->http.ctx = d;
    d->http.request = ml_localapi_request;
    d->http.abandoned = ml_localapi_abandoned;
    if (open_port(d, opt) && open_overlay(d)) {
        ml_peerapi_init(&d->peerapi, d->engine, ml_port_loop(d->port), d->netif, d->tun.name);
        assign_addrs(d);
        if (!catch_signals(d)) {
            fprintf(stderr, "microlink: no descriptors for signals\n");
        } else if (!ml_http_listen(&d->http, ml_port_loop(d->port), opt->socket, why, sizeof why)) {
            fprintf(stderr, "microlink: %s\n", why);
        } else {
            say(d, ML_LOG_INFO, "microlink " MICROLINK_VERSION " starting");
            (void)ml_start(d->engine, ml_sys_now());
            status = run_loop(d);
            leave(d);
        }
    }
    ml_relay_close_all(d);
    ml_peerapi_close(&d->peerapi);
    ml_http_close(&d->http);
    ml_netif_free(d->netif);
    ml_tun_close(&d->tun);
    ml_port_close(d->port);
    for (int i = 0; i < 2; i++) {
        if (d->signal_fd[i] >= 0) {
            close(d->signal_fd[i]);
        }
    }
    free(d);
    return status;
}
