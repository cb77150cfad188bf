/*
 * The node as a daemon (`microlink run`): port, overlay interface and control socket in one loop.
 *
 * The struct is shared by daemon.c (life, overlay), localapi*.c (the control socket's answers) and relay.c (TCP of `nc` in
 * userspace mode). Everything runs on one thread.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_DAEMON_H
#define ML_POSIX_DAEMON_H

#include "http_server.h"
#include "netif_lwip.h"
#include "options.h"
#include "peerapi.h"
#include "posix_port.h"
#include "tun.h"

/** Requests that wait for a pong at a time. */
#define ML_DAEMON_PINGS 16
/** Datagrams kept for `microlink recv` in userspace mode; the newest is dropped when full. */
#define ML_DAEMON_RX 16
/** UDP port of `send` and `recv`, as in microlink.h. */
#define ML_DAEMON_DATA_PORT 5055

struct ml_daemon {
    const struct ml_options *opt;
    ml_port *port;
    ml_engine *engine;
    struct ml_tun tun; /**< fd -1 in userspace mode. */
    int tun_slot;
    ml_time tun_read_at;    /**< The time of the packets that were read at once. */
    struct ml_netif *netif; /**< NULL in TUN mode. */
    struct ml_http_server http;
    struct ml_peerapi peerapi;
    int signal_fd[2];
    bool quit, rebind;
    bool want_running;      /**< Not `down`. */
    bool logged_out;        /**< `logout` was asked for; `up` begins a new login. */
    const char *last_state; /**< As logged. */
    char problem[256];      /**< Of the port itself (TUN address, state file), beside the engine's. */
    uint32_t next_token;
    struct {
        struct ml_http_conn *conn; /**< NULL: free. */
        uint32_t token;
        ml_ping_kind kind;
        bool text; /**< Our own words' form instead of the official JSON. */
        ml_ip ip;
    } ping[ML_DAEMON_PINGS];
    struct {
        ml_addr from;
        uint16_t len;
        uint8_t data[1280];
    } rx[ML_DAEMON_RX];
    size_t rx_head, rx_count;
    struct ml_relay *relays;
    struct ml_http_conn *rx_waiter, *netcheck_waiter, *logout_waiter;
};

/** @return the process's exit status. */
int ml_daemon_run(struct ml_options *opt);

/* localapi.c */
void ml_localapi_request(void *ctx, struct ml_http_conn *c, const struct ml_http_request *r, const uint8_t *body);
void ml_localapi_abandoned(void *ctx, struct ml_http_conn *c);
void ml_localapi_event(struct ml_daemon *d, const ml_event *event);
/** @brief A datagram came for `recv` (userspace mode). */
void ml_localapi_datagram(struct ml_daemon *d, const ml_addr *from, const uint8_t *data, size_t len);
/** @brief Answer a sentence with a status of 400 and above. */
void ml_localapi_fail(struct ml_http_conn *c, int status, const char *sentence);

/* localapi_json.c: bodies in the official form (ipn/ipnstate, client/tailscale/apitype). */
bool ml_json_status(void *daemon, uint64_t *cursor, struct ml_writer *w);          /**< ml_http_body_fn, with peers. */
bool ml_json_status_no_peers(void *daemon, uint64_t *cursor, struct ml_writer *w); /**< ml_http_body_fn */
void ml_json_whois(struct ml_daemon *d, const ml_peer_info *p, struct ml_writer *w);
void ml_json_ping(struct ml_daemon *d, const ml_ip *ip, const ml_peer_info *p, const ml_pong *pong, const char *error,
                  bool is_self, struct ml_writer *w);
void ml_json_prefs(struct ml_daemon *d, struct ml_writer *w);
const char *ml_backend_state(const struct ml_daemon *d);
/** @brief The peer with this address; our own node as well, as a peer. */
bool ml_daemon_peer_by_ip(struct ml_daemon *d, const ml_ip *ip, ml_peer_info *out, bool *is_self);
/** @brief By address, MagicDNS name or short name. */
bool ml_daemon_peer_by_text(struct ml_daemon *d, const char *text, ml_peer_info *out, bool *is_self);
/** @brief Code of a relay region, "" if unknown. */
void ml_daemon_region_code(struct ml_daemon *d, uint16_t id, char code[16]);

/* localapi_text.c: the lines that our own words print. */
bool ml_text_status(void *daemon, uint64_t *cursor, struct ml_writer *w); /**< ml_http_body_fn */
bool ml_text_peers(void *daemon, uint64_t *cursor, struct ml_writer *w);  /**< ml_http_body_fn */
void ml_text_netcheck(struct ml_daemon *d, struct ml_writer *w);
void ml_text_whois(struct ml_daemon *d, const ml_peer_info *p, struct ml_writer *w);
void ml_text_pong(struct ml_daemon *d, const ml_ip *ip, const ml_peer_info *p, const ml_pong *pong, struct ml_writer *w);
/** @brief Go's time.Duration rounded to milliseconds: "0s", "12ms", "1.234s". */
void ml_write_duration_ms(struct ml_writer *w, ml_time usec);

/* relay.c: a control connection turned into a TCP connection over the tailnet. */
void ml_relay_start(struct ml_daemon *d, struct ml_http_conn *c, const ml_addr *to);
/** @brief The client left before the connection stood. */
void ml_relay_abandoned(struct ml_daemon *d, const struct ml_http_conn *c);
void ml_relay_close_all(struct ml_daemon *d);

#endif
