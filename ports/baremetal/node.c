/*
 * A node on the board: joins the tailnet it is told of in flash, answers pings, and echoes TCP on port 7 of its tailnet
 * address. What happens is said on the console; single letters typed there command it:
 *
 *   s  figures      p  peers      r  reset, as the button would      b  rebind      f  forget the stored records
 *   m  TLS and lwIP get no memory until it is typed again            n  the same, but only every seventh request fails
 *   q  leave, print the figures, power off
 *
 * SPDX-License-Identifier: MIT
 */
#include "arena.h"
#include "bare_port.h"
#include "base/addr.h"
#include "base/bytes.h"
#include "board/board.h"
#include "boot_config.h"
#include "echo.h"
#include "netif.h"
#include "tls.h"

#include <stdio.h>
#include <string.h>

#define ECHO_PORT 7

extern char __ram_used[], __flash_used[], __stack_low[], __stack_high[], __bss_end[];

static ml_port *port;
static bool is_leaving;

/* ---- What is said ---- */

static const char *text_of_ip(const ml_ip *ip)
{
    static char text[48];
    struct ml_writer w = ml_writer_of((uint8_t *)text, sizeof text - 1);
    ml_write_ip(&w, ip);
    text[w.len] = 0;
    return text;
}

static void print_stats(void)
{
    struct ml_arena_stats a;
    struct ml_bare_stats s;
    struct ml_net_stats n;
    ml_arena_get_stats(&a);
    ml_bare_get_stats(port, &s);
    ml_net_get_stats(&n);
    printf("stats: engine=%u tls_peak=%u tls_now=%u lwip_peak=%u lwip_now=%u arena_peak=%u arena_failed=%u tls_buffer=%u "
           "stack_peak=%u ram=%u flash=%u ",
           (unsigned)s.engine_need, (unsigned)a.peak[ML_ARENA_TLS], (unsigned)a.used[ML_ARENA_TLS],
           (unsigned)a.peak[ML_ARENA_LWIP], (unsigned)a.used[ML_ARENA_LWIP], (unsigned)a.peak_all, (unsigned)a.failed,
           (unsigned)ml_tls_largest_buffer(), (unsigned)board_stack_used(), (unsigned)(uintptr_t)__ram_used,
           (unsigned)(uintptr_t)__flash_used);
    printf("longest_us=%u longest_plain_us=%u longest_plain_net_us=%u longest_tls_us=%u x25519=%u x25519_most=%u busy_ms=%u "
           "up_ms=%u "
           "eth_tx_busy=%u tx_no_mem=%u "
           "rx_no_mem=%u steps=%u\n",
           (unsigned)s.longest, (unsigned)s.longest_plain, (unsigned)s.longest_plain_net, (unsigned)s.longest_tls,
           (unsigned)s.x25519, (unsigned)s.x25519_most, (unsigned)(s.busy / 1000), (unsigned)(board_time_us() / 1000),
           (unsigned)n.tx_busy, (unsigned)n.tx_no_mem, (unsigned)n.rx_no_mem, (unsigned)s.steps);
}

static void print_peers(void)
{
    static ml_peer_info peer;
    ml_engine *e = ml_port_engine(port);
    size_t count = ml_get_peer_count(e);
    printf("peers: %u\n", (unsigned)count);
    for (size_t i = 0; i < count && ml_get_peer(e, board_time_us(), i, &peer) == ML_OK; i++) {
        printf("peer %s %s %s %s\n", text_of_ip(&peer.ip4), peer.hostname, peer.has_session ? "live" : "at rest",
               ml_addr_is_set(&peer.direct) ? "direct" : "relayed");
    }
}

static void on_overlay(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    ml_net_tunnel_input(packet, len);
}

static void on_event(void *ctx, const ml_event *ev)
{
    static const char *const state[] = {"stopped", "connecting", "needs login", "needs approval", "starting", "running"};
    static ml_self_info self;
    ml_engine *e = ml_port_engine(port);
    (void)ctx;
    switch (ev->type) {
    case ML_EV_STATE:
        printf("state: %s\n", state[ml_get_state(e)]);
        break;
    case ML_EV_SELF:
        ml_get_self(e, &self);
        ml_net_tunnel_set_addr(&self.ip4);
        printf("self: %s %s home %u\n", text_of_ip(&self.ip4), self.name, self.home_region);
        break;
    case ML_EV_LOGIN_URL:
        printf("visit: %s\n", ml_get_login_url(e));
        break;
    case ML_EV_PROBLEM:
        printf("problem: %s\n", ml_get_problem(e));
        break;
    default:
        break;
    }
}

static void leave(void)
{
    (void)ml_stop(ml_port_engine(port), board_time_us());
    ml_port_flush(port);
    print_stats();
    is_leaving = true;
}

static void starve(uint32_t every)
{
    static bool is_starved;
    is_starved = !is_starved;
    ml_arena_fail_every(is_starved ? every : 0);
    printf("memory: %s\n", is_starved ? "withheld" : "given");
}

static void on_key(int key)
{
    switch (key) {
    case 's':
        print_stats();
        break;
    case 'p':
        print_peers();
        break;
    case 'r':
        printf("reset\n");
        board_reset();
    case 'b':
        ml_port_rebind(port);
        break;
    case 'm':
        starve(1);
        break;
    case 'n':
        starve(7);
        break;
    case 'f':
        printf("forgotten: %s\n", ml_strerror(ml_port_erase(port)));
        break;
    case 'q':
        leave();
        break;
    default:
        break;
    }
}

int main(void)
{
    static char url[128], key[128], hostname[64];
    char why[96];
    bool has_url = ml_boot_get("control_url", 0, url, sizeof url);
    bool has_key = ml_boot_get("auth_key", 0, key, sizeof key);
    bool has_name = ml_boot_get("hostname", 0, hostname, sizeof hostname);
    uint32_t verbose = ml_boot_get_number("verbose");
    const ml_port_config cfg = {.engine = {.control_url = has_url ? url : NULL,
                                           .auth_key = has_key ? key : NULL,
                                           .hostname = has_name ? hostname : "board",
                                           .log_level = verbose ? (ml_log_level)verbose : ML_LOG_INFO},
                                .sink = {.overlay = on_overlay, .event = on_event}};
    printf("microlink on a board: %u bytes of RAM in use, %u of flash\n", (unsigned)(uintptr_t)__ram_used,
           (unsigned)(uintptr_t)__flash_used);
    if (ml_port_open(&port, &cfg, why, sizeof why) != ML_OK) {
        ml_board_panic(why);
    }
    if (ml_start(ml_port_engine(port), board_time_us()) != ML_OK) {
        ml_board_panic("cannot start");
    }
    bool has_echo = false;
    while (!is_leaving && ml_port_step(port, ML_NEVER) == ML_OK) {
        has_echo = has_echo || ml_echo_start(ECHO_PORT); /* without memory: again in the next turn */
        int c = board_getchar();
        if (c >= 0) {
            on_key(c);
        }
    }
    ml_port_close(port);
    return 0;
}
