/*
 * posix_loop: the whole driver loop on one page, for those who want the engine without the application API. It answers ICMP
 * echo and prints what happens; the port does the sockets, this file decides what is done with packets and events.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ip/ip_build.h"
#include "microlink/port.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static ml_port *port;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

/* A packet came out of the tunnel: it passed WireGuard, the source check and the access rules. */
static void on_overlay(void *ctx, const uint8_t *packet, size_t len)
{
    struct ml_ip_view v;
    uint8_t reply[ML_OVERLAY_MTU];
    (void)ctx;
    ml_ip_view_parse(&v, packet, len);
    if (ml_ip_view_is_echo_request(&v)) {
        size_t n = ml_icmp_build_echo_reply(reply, sizeof reply, &v);
        if (n > 0) {
            (void)ml_handle_overlay(ml_port_engine(port), ml_port_now(port), reply, n);
        }
    }
}

static void on_event(void *ctx, const ml_event *ev)
{
    const ml_engine *e = ml_port_engine(port);
    (void)ctx;
    switch (ev->type) {
    case ML_EV_STATE:
        printf("state %d\n", (int)ml_get_state(e));
        break;
    case ML_EV_LOGIN_URL:
        printf("visit %s\n", ml_get_login_url(e));
        break;
    case ML_EV_PROBLEM:
        printf("problem: %s\n", ml_get_problem(e));
        break;
    case ML_EV_PEER_ADDED:
        printf("peers: %zu\n", ml_get_peer_count(e));
        break;
    default:
        break;
    }
    fflush(stdout);
}

int main(void)
{
    char why[256];
    ml_port_config cfg = {0};
    cfg.engine.control_url = getenv("ML_LOGIN_SERVER");
    cfg.engine.auth_key = getenv("TS_AUTHKEY");
    cfg.engine.hostname = "posix-loop";
    cfg.sink = (ml_port_sink){.overlay = on_overlay, .event = on_event};
    if (ml_port_open(&port, &cfg, why, sizeof why) != ML_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    if (ml_start(ml_port_engine(port), ml_port_now(port)) == ML_OK) {
        /* The loop: sleeps until a socket or a deadline asks for attention. Nothing runs on a fixed tick. */
        while (!stop && ml_port_step(port, ML_NEVER) == ML_OK) {
        }
        (void)ml_stop(ml_port_engine(port), ml_port_now(port));
        ml_port_flush(port);
    }
    ml_port_close(port);
    return 0;
}
