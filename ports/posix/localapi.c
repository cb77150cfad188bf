/*
 * Routes of the control socket. Paths and methods of the official LocalAPI (ipn/localapi) for what this node offers, and a
 * few of our own below /localapi/v0/microlink/ that answer in text for the words of this program.
 *
 * Reading is open to every local user, changing to root and the daemon's own user, as with tailscaled.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "daemon.h"
#include "microlink/version.h"
#include "json/json_pull.h"
#include "json/json_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX "/localapi/v0/"
/** Room for one answer about one node. */
#define ANSWER 12288

static void text(struct ml_http_conn *c, int status, const char *body, size_t len)
{
    ml_http_respond(c, status, "text/plain; charset=utf-8", NULL, body, len);
}

void ml_localapi_fail(struct ml_http_conn *c, int status, const char *sentence)
{
    char body[512];
    int n = snprintf(body, sizeof body, "%s\n", sentence);
    text(c, status, body, n < 0 ? 0 : (size_t)n < sizeof body ? (size_t)n : sizeof body - 1);
}

/** Runs @p fn into an answer of bounded size. */
#define ANSWER_WITH(c, type, call)                                                                                             \
    do {                                                                                                                       \
        uint8_t *room_ = malloc(ANSWER);                                                                                       \
        struct ml_writer w = ml_writer_of(room_, room_ ? ANSWER : 0);                                                          \
        call;                                                                                                                  \
        if (w.bad) {                                                                                                           \
            ml_localapi_fail(c, 500, "no memory for the answer");                                                              \
        } else {                                                                                                               \
            ml_http_respond(c, 200, type, NULL, room_, w.len);                                                                 \
        }                                                                                                                      \
        free(room_);                                                                                                           \
    } while (0)

static bool want_post(struct ml_http_conn *c, const struct ml_http_request *r)
{
    if (strcmp(r->method, "POST") != 0) {
        ml_localapi_fail(c, 405, "want POST");
        return false;
    }
    return true;
}

static bool want_write(struct ml_http_conn *c)
{
    if (!ml_http_may_write(c)) {
        ml_localapi_fail(c, 403, "access denied: only root and the daemon's user may change this");
        return false;
    }
    return true;
}

/* ---- whois, ip ---- */

static void whois(struct ml_daemon *d, struct ml_http_conn *c, const struct ml_http_request *r, bool as_text)
{
    char addr[96];
    ml_peer_info p;
    bool is_self;
    if (!ml_http_query(r, "addr", addr, sizeof addr)) {
        ml_localapi_fail(c, 400, "missing 'addr' parameter");
        return;
    }
    ml_addr with_port;
    ml_ip ip;
    if (ml_addr_parse(addr, strlen(addr), &with_port)) {
        ip = with_port.ip;
    } else if (!ml_ip_parse(addr, strlen(addr), &ip)) {
        ml_localapi_fail(c, 400, "invalid 'addr' parameter");
        return;
    }
    if (!ml_daemon_peer_by_ip(d, &ip, &p, &is_self)) {
        ml_localapi_fail(c, 404, as_text ? "peer not found" : "no match for IP:port");
    } else if (as_text) {
        ANSWER_WITH(c, "text/plain; charset=utf-8", ml_text_whois(d, &p, &w));
    } else {
        ANSWER_WITH(c, "application/json", ml_json_whois(d, &p, &w));
    }
}

static void write_ips(const ml_peer_info *p, struct ml_writer *w)
{
    if (ml_ip_is_set(&p->ip4)) {
        ml_write_ip(w, &p->ip4);
        ml_write_str(w, "\n");
    }
    if (ml_ip_is_set(&p->ip6)) {
        ml_write_ip(w, &p->ip6);
        ml_write_str(w, "\n");
    }
}

static void ip_of(struct ml_daemon *d, struct ml_http_conn *c, const struct ml_http_request *r)
{
    char name[ML_NAME_CAP];
    ml_peer_info p;
    bool is_self;
    if (ml_http_query(r, "peer", name, sizeof name)) {
        if (!ml_daemon_peer_by_text(d, name, &p, &is_self)) {
            ml_localapi_fail(c, 404, "no such peer");
            return;
        }
    } else {
        ml_self_info s;
        ml_get_self(d->engine, &s);
        p.ip4 = s.ip4;
        p.ip6 = s.ip6;
    }
    if (!ml_ip_is_set(&p.ip4) && !ml_ip_is_set(&p.ip6)) {
        char why[96];
        snprintf(why, sizeof why, "no current tailnet addresses; state: %s", ml_backend_state(d));
        ml_localapi_fail(c, 503, why);
        return;
    }
    ANSWER_WITH(c, "text/plain; charset=utf-8", write_ips(&p, &w));
}

/* ---- ping ---- */

static void ping_error(struct ml_daemon *d, struct ml_http_conn *c, const ml_ip *ip, bool as_text, const char *error,
                       bool is_self)
{
    if (as_text) {
        ml_localapi_fail(c, is_self ? 200 : 404, error);
    } else {
        ANSWER_WITH(c, "application/json", ml_json_ping(d, ip, NULL, NULL, error, is_self, &w));
    }
}

static void ping(struct ml_daemon *d, struct ml_http_conn *c, const struct ml_http_request *r, bool as_text)
{
    char peer[ML_NAME_CAP], type[16] = "disco", what[ML_NAME_CAP + 32];
    ml_peer_info p;
    ml_ip ip;
    bool is_self;
    if (!want_post(c, r)) {
        return;
    }
    if (!ml_http_query(r, "ip", peer, sizeof peer)) {
        ml_localapi_fail(c, 400, "missing 'ip' parameter");
        return;
    }
    if (!ml_http_query(r, "type", type, sizeof type) && !as_text) {
        ml_localapi_fail(c, 400, "missing 'type' parameter");
        return;
    }
    ml_ping_kind kind = ML_PING_DISCO;
    if (strcasecmp(type, "TSMP") == 0) {
        kind = ML_PING_TSMP;
    } else if (strcasecmp(type, "ICMP") == 0) {
        kind = ML_PING_ICMP;
    } else if (strcasecmp(type, "disco") != 0) {
        ml_localapi_fail(c, 400, "this node knows the ping types disco, TSMP and ICMP");
        return;
    }
    bool literal = ml_ip_parse(peer, strlen(peer), &ip);
    if (!literal && !as_text) {
        ml_localapi_fail(c, 400, "invalid IP");
        return;
    }
    if (!ml_daemon_peer_by_text(d, peer, &p, &is_self)) {
        ping_error(d, c, &ip, as_text, "no matching peer", false);
        return;
    }
    if (!literal) {
        ip = ml_ip_is_set(&p.ip4) ? p.ip4 : p.ip6;
    }
    if (is_self) {
        struct ml_writer w = ml_writer_of((uint8_t *)what, sizeof what);
        ml_write_ip(&w, &ip);
        ml_write_str(&w, " is local Tailscale IP");
        ping_error(d, c, &ip, as_text, ml_write_end_str(&w), true);
        return;
    }
    size_t i = 0;
    while (i < ML_DAEMON_PINGS && d->ping[i].conn != NULL) {
        i++;
    }
    if (i == ML_DAEMON_PINGS) {
        ml_localapi_fail(c, 503, "too many pings at a time");
        return;
    }
    d->ping[i].conn = c;
    d->ping[i].token = ++d->next_token;
    d->ping[i].kind = kind;
    d->ping[i].text = as_text;
    d->ping[i].ip = ip;
    ml_err err = ml_ping(d->engine, ml_sys_now(), &ip, kind, d->ping[i].token);
    if (err != ML_OK) {
        d->ping[i].conn = NULL;
        ping_error(d, c, &ip, as_text, ml_strerror(err), false);
    }
}

static void on_pong(struct ml_daemon *d, const ml_event *ev)
{
    for (size_t i = 0; i < ML_DAEMON_PINGS; i++) {
        struct ml_http_conn *c = d->ping[i].conn;
        if (c == NULL || d->ping[i].token != ev->ping.token) {
            continue;
        }
        ml_ip ip = d->ping[i].ip;
        bool as_text = d->ping[i].text, is_self;
        ml_peer_info p;
        d->ping[i].conn = NULL;
        bool known = ml_daemon_peer_by_ip(d, &ip, &p, &is_self);
        if (ev->type == ML_EV_PONG && known && as_text) {
            uint8_t line[512];
            struct ml_writer w = ml_writer_of(line, sizeof line);
            ml_text_pong(d, &ip, &p, &ev->ping, &w);
            bool direct = ev->ping.kind == ML_PING_DISCO && ml_addr_is_set(&ev->ping.via) && ev->ping.derp_region == 0;
            ml_http_respond(c, 200, "text/plain; charset=utf-8", direct ? "Microlink-Direct: true\r\n" : NULL, line, w.len);
        } else if (ev->type == ML_EV_PONG && known) {
            ANSWER_WITH(c, "application/json", ml_json_ping(d, &ip, &p, &ev->ping, NULL, false, &w));
        } else if (ev->type == ML_EV_PING_FAILED && ev->ping.error == ML_OK) {
            /* No answer in time: the client has a timeout of its own, and prints its own line when it hangs up. */
            d->ping[i].conn = c;
            d->ping[i].token = 0;
        } else {
            ping_error(d, c, &ip, as_text, known ? ml_strerror(ev->ping.error) : "no matching peer", false);
        }
        return;
    }
}

/* ---- Changes: up, down, logout ---- */

static void set_running(struct ml_daemon *d, bool on)
{
    bool stopped = ml_get_state(d->engine) == ML_STATE_STOPPED;
    d->want_running = on;
    if (on && stopped) {
        d->logged_out = false;
        (void)ml_start(d->engine, ml_sys_now());
    } else if (!on && !stopped) {
        (void)ml_stop(d->engine, ml_sys_now());
    }
}

/** Looks for WantRunning in a MaskedPrefs; other preferences are refused, since pretending to set them would be worse. */
static bool parse_prefs(const uint8_t *body, size_t len, bool *want, bool *set, char *unknown, size_t cap)
{
    char tok[48];
    struct ml_json j;
    char key[48] = "";
    size_t at = 0;
    *want = *set = false;
    unknown[0] = 0;
    ml_json_init(&j, tok, sizeof tok);
    for (;;) {
        size_t used = 0;
        enum ml_json_event ev = ml_json_next(&j, body + at, len - at, &used);
        at += used;
        switch (ev) {
        case ML_JSON_KEY:
            if (j.depth == 1) {
                snprintf(key, sizeof key, "%s", tok);
            }
            break;
        case ML_JSON_TRUE:
        case ML_JSON_FALSE:
            if (j.depth != 1) {
                break;
            }
            if (strcmp(key, "WantRunning") == 0) {
                *want = ev == ML_JSON_TRUE;
            } else if (strcmp(key, "WantRunningSet") == 0) {
                *set = ev == ML_JSON_TRUE;
            } else if (ev == ML_JSON_TRUE && strlen(key) > 3 && strcmp(key + strlen(key) - 3, "Set") == 0) {
                snprintf(unknown, cap, "%.*s", (int)strlen(key) - 3, key);
            }
            break;
        case ML_JSON_END:
            return true;
        case ML_JSON_ERROR:
            return false;
        case ML_JSON_NEED_MORE:
            return ml_json_finish(&j) == ML_JSON_END;
        default:
            break;
        }
    }
}

static void prefs(struct ml_daemon *d, struct ml_http_conn *c, const struct ml_http_request *r, const uint8_t *body)
{
    if (strcmp(r->method, "PATCH") == 0) {
        bool want, set;
        char unknown[48];
        if (!want_write(c)) {
            return;
        }
        if (!parse_prefs(body, r->body_len, &want, &set, unknown, sizeof unknown)) {
            ml_localapi_fail(c, 400, "invalid JSON body");
            return;
        }
        if (unknown[0]) {
            char why[160];
            snprintf(why, sizeof why, "preference %s cannot be changed here; restart microlink with other flags", unknown);
            ml_localapi_fail(c, 400, why);
            return;
        }
        if (set) {
            set_running(d, want);
        }
    } else if (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0) {
        ml_localapi_fail(c, 405, "unsupported method");
        return;
    }
    ANSWER_WITH(c, "application/json", ml_json_prefs(d, &w));
}

static void logout(struct ml_daemon *d, struct ml_http_conn *c, const struct ml_http_request *r)
{
    if (!want_post(c, r) || !want_write(c)) {
        return;
    }
    ml_err err = ml_logout(d->engine, ml_sys_now());
    if (err != ML_OK) {
        ml_localapi_fail(c, 500, ml_strerror(err));
    } else if (d->logout_waiter != NULL) {
        ml_localapi_fail(c, 503, "a log-out is under way");
    } else {
        d->logged_out = true;
        d->logout_waiter = c;
    }
}

/* ---- Data: dial, send, recv ---- */

/** Header lines that tell a client in TUN mode to use its own sockets, from and to these addresses. */
static void dial_self(struct ml_http_conn *c, const ml_addr *from, const ml_addr *to)
{
    char headers[256];
    struct ml_writer w = ml_writer_of((uint8_t *)headers, sizeof headers);
    ml_write_str(&w, "Dial-Self: true\r\n");
    if (to != NULL) {
        ml_write_str(&w, "Dial-Addr: ");
        ml_write_addr(&w, to);
        ml_write_str(&w, "\r\n");
    }
    if (from != NULL) {
        ml_write_str(&w, "Dial-From: ");
        ml_write_addr(&w, from);
        ml_write_str(&w, "\r\n");
    }
    ml_http_respond(c, 200, NULL, ml_write_end_str(&w), NULL, 0);
}

static void dial(struct ml_daemon *d, struct ml_http_conn *c, const struct ml_http_request *r)
{
    ml_peer_info p;
    ml_addr to = {0};
    bool is_self;
    uint64_t port;
    if (!want_post(c, r)) {
        return;
    }
    if (strcmp(r->upgrade, "ts-dial") != 0 || r->dial_host[0] == 0 ||
        !ml_dec_parse(r->dial_port, strlen(r->dial_port), &port) || port == 0 || port > 65535) {
        ml_localapi_fail(c, 400, "bad ts-dial upgrade");
        return;
    }
    if (r->dial_network[0] && strcmp(r->dial_network, "tcp") != 0) {
        ml_localapi_fail(c, 400, "this node dials TCP only");
        return;
    }
    to.port = (uint16_t)port;
    if (ml_daemon_peer_by_text(d, r->dial_host, &p, &is_self)) {
        ml_ip literal;
        bool by_ip = ml_ip_parse(r->dial_host, strlen(r->dial_host), &literal);
        to.ip = by_ip ? literal : ml_ip_is_set(&p.ip4) ? p.ip4 : p.ip6;
    } else {
        ml_localapi_fail(c, 502, "dial failure: no such peer");
        return;
    }
    if (d->netif == NULL) {
        dial_self(c, NULL, &to);
    } else {
        ml_relay_start(d, c, &to);
    }
}

static void send_text(struct ml_daemon *d, struct ml_http_conn *c, const struct ml_http_request *r, const uint8_t *body)
{
    char name[ML_NAME_CAP];
    ml_peer_info p;
    ml_self_info s;
    bool is_self;
    if (!want_post(c, r) || !want_write(c)) {
        return;
    }
    if (!ml_http_query(r, "peer", name, sizeof name) || !ml_daemon_peer_by_text(d, name, &p, &is_self)) {
        ml_localapi_fail(c, 404, "no such peer");
        return;
    }
    ml_get_self(d->engine, &s);
    bool v4 = ml_ip_is_set(&p.ip4) && ml_ip_is_set(&s.ip4);
    ml_addr to = {v4 ? p.ip4 : p.ip6, ML_DAEMON_DATA_PORT}, from = {v4 ? s.ip4 : s.ip6, ML_DAEMON_DATA_PORT};
    if (d->netif == NULL) {
        dial_self(c, &from, &to);
        return;
    }
    ml_err err = r->body_len <= 1232 ? ml_netif_udp_send(d->netif, &to, body, r->body_len) : ML_ERR_ARG;
    if (err != ML_OK) {
        ml_localapi_fail(c, 500, err == ML_ERR_ARG ? "longer than 1232 bytes" : ml_strerror(err));
    } else {
        ml_http_respond(c, 204, NULL, NULL, NULL, 0);
    }
}

static void give_datagram(struct ml_daemon *d, struct ml_http_conn *c)
{
    char headers[96];
    struct ml_writer w = ml_writer_of((uint8_t *)headers, sizeof headers);
    ml_write_str(&w, "Microlink-From: ");
    ml_write_addr(&w, &d->rx[d->rx_head].from);
    ml_write_str(&w, "\r\n");
    size_t at = d->rx_head;
    d->rx_head = (d->rx_head + 1) % ML_DAEMON_RX;
    d->rx_count--;
    ml_http_respond(c, 200, "application/octet-stream", ml_write_end_str(&w), d->rx[at].data, d->rx[at].len);
}

static void recv_text(struct ml_daemon *d, struct ml_http_conn *c)
{
    if (!want_write(c)) { /* Taking a datagram keeps it from others. */
        return;
    }
    if (d->netif == NULL) {
        ml_self_info s;
        ml_get_self(d->engine, &s);
        ml_addr from = {ml_ip_is_set(&s.ip4) ? s.ip4 : s.ip6, ML_DAEMON_DATA_PORT};
        dial_self(c, &from, NULL);
    } else if (d->rx_count > 0) {
        give_datagram(d, c);
    } else if (d->rx_waiter != NULL) {
        ml_localapi_fail(c, 503, "another recv is waiting");
    } else {
        d->rx_waiter = c;
    }
}

void ml_localapi_datagram(struct ml_daemon *d, const ml_addr *from, const uint8_t *data, size_t len)
{
    if (d->rx_count == ML_DAEMON_RX || len > sizeof d->rx[0].data) {
        return;
    }
    size_t i = (d->rx_head + d->rx_count++) % ML_DAEMON_RX;
    d->rx[i].from = *from;
    d->rx[i].len = (uint16_t)len;
    memcpy(d->rx[i].data, data, len);
    if (d->rx_waiter != NULL) {
        struct ml_http_conn *c = d->rx_waiter;
        d->rx_waiter = NULL;
        give_datagram(d, c);
    }
}

/* ---- netcheck ---- */

static void netcheck(struct ml_daemon *d, struct ml_http_conn *c)
{
    if (d->netcheck_waiter != NULL) {
        ml_localapi_fail(c, 503, "a measurement is under way");
        return;
    }
    d->netcheck_waiter = c;
    ml_err err = ml_netcheck(d->engine, ml_sys_now());
    if (err != ML_OK && d->netcheck_waiter == c) {
        d->netcheck_waiter = NULL;
        ml_localapi_fail(c, 503, ml_strerror(err));
    }
}

/* ---- Dispatch ---- */

static void own_request(struct ml_daemon *d, struct ml_http_conn *c, const struct ml_http_request *r, const uint8_t *body,
                        const char *name)
{
    if (strcmp(name, "status") == 0) {
        ml_http_respond_stream(c, "text/plain; charset=utf-8", ml_text_status, d);
    } else if (strcmp(name, "peers") == 0) {
        ml_http_respond_stream(c, "text/plain; charset=utf-8", ml_text_peers, d);
    } else if (strcmp(name, "ip") == 0) {
        ip_of(d, c, r);
    } else if (strcmp(name, "whois") == 0) {
        whois(d, c, r, true);
    } else if (strcmp(name, "ping") == 0) {
        ping(d, c, r, true);
    } else if (strcmp(name, "netcheck") == 0) {
        netcheck(d, c);
    } else if (strcmp(name, "send") == 0) {
        send_text(d, c, r, body);
    } else if (strcmp(name, "recv") == 0) {
        recv_text(d, c);
    } else {
        ml_localapi_fail(c, 404, "not found");
    }
}

void ml_localapi_request(void *ctx, struct ml_http_conn *c, const struct ml_http_request *r, const uint8_t *body)
{
    struct ml_daemon *d = ctx;
    size_t n = sizeof PREFIX - 1;
    if (strncmp(r->path, PREFIX, n) != 0) {
        ml_localapi_fail(c, 404, "not found");
        return;
    }
    const char *name = r->path + n;
    if (strncmp(name, "microlink/", 10) == 0) {
        own_request(d, c, r, body, name + 10);
    } else if (strcmp(name, "status") == 0) {
        char peers[8] = "true";
        (void)ml_http_query(r, "peers", peers, sizeof peers);
        ml_http_respond_stream(c, "application/json", strcmp(peers, "false") == 0 ? ml_json_status_no_peers : ml_json_status,
                               d);
    } else if (strcmp(name, "whois") == 0) {
        whois(d, c, r, false);
    } else if (strcmp(name, "ping") == 0) {
        ping(d, c, r, false);
    } else if (strcmp(name, "prefs") == 0) {
        prefs(d, c, r, body);
    } else if (strcmp(name, "serve-config") == 0 && strcmp(r->method, "GET") == 0) {
        ml_http_respond(c, 200, "application/json", NULL, "{}\n", 3); /* Nothing is served; `tailscale status` asks. */
    } else if (strcmp(name, "logout") == 0) {
        logout(d, c, r);
    } else if (strcmp(name, "dial") == 0) {
        dial(d, c, r);
    } else {
        ml_localapi_fail(c, 404, "not found");
    }
}

void ml_localapi_abandoned(void *ctx, struct ml_http_conn *c)
{
    struct ml_daemon *d = ctx;
    for (size_t i = 0; i < ML_DAEMON_PINGS; i++) {
        if (d->ping[i].conn == c) {
            d->ping[i].conn = NULL;
        }
    }
    ml_relay_abandoned(d, c);
    struct ml_http_conn **waiters[] = {&d->rx_waiter, &d->netcheck_waiter, &d->logout_waiter};
    for (size_t i = 0; i < sizeof waiters / sizeof *waiters; i++) {
        if (*waiters[i] == c) {
            *waiters[i] = NULL;
        }
    }
}

void ml_localapi_event(struct ml_daemon *d, const ml_event *ev)
{
    switch (ev->type) {
    case ML_EV_PONG:
    case ML_EV_PING_FAILED:
        on_pong(d, ev);
        break;
    case ML_EV_NETCHECK:
        if (d->netcheck_waiter != NULL) {
            struct ml_http_conn *c = d->netcheck_waiter;
            d->netcheck_waiter = NULL;
            ANSWER_WITH(c, "text/plain; charset=utf-8", ml_text_netcheck(d, &w));
        }
        break;
    case ML_EV_STATE: {
        ml_state s = ml_get_state(d->engine);
        if (d->logout_waiter != NULL && (s == ML_STATE_STOPPED || s == ML_STATE_NEEDS_LOGIN)) {
            struct ml_http_conn *c = d->logout_waiter;
            d->logout_waiter = NULL;
            ml_http_respond(c, 204, NULL, NULL, NULL, 0);
        }
        break;
    }
    default:
        break;
    }
}
