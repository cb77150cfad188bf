/*
 * TCP of `nc` in userspace mode: bytes between one control connection (switched to raw) and one lwIP connection.
 *
 * Neither side is read faster than the other takes it. Ends are passed on: the client's end of input becomes a FIN, the
 * peer's FIN closes the control connection once everything was delivered.
 *
 * SPDX-License-Identifier: MIT
 */
#include "daemon.h"

#include <stdlib.h>

struct ml_relay {
    struct ml_daemon *d;
    struct ml_http_conn *http; /**< NULL once closed. */
    struct ml_netif_tcp *tcp;  /**< NULL once closed. */
    bool switched;             /**< The control connection is raw; before, it waits for its answer. */
    struct ml_relay *next;
};

static void discard(struct ml_relay *r)
{
    struct ml_relay **at = &r->d->relays;
    while (*at != r) {
        at = &(*at)->next;
    }
    *at = r->next;
    free(r);
}

/** Nobody listens any more. */
static void hang_up(struct ml_relay *r)
{
    struct ml_netif_tcp *tcp = r->tcp;
    discard(r);
    if (tcp != NULL) {
        ml_netif_tcp_close(tcp);
    }
}

/* ---- From the client ---- */

static size_t from_client(void *ctx, const uint8_t *buf, size_t len)
{
    struct ml_relay *r = ctx;
    return r->tcp ? ml_netif_tcp_write(r->tcp, buf, len) : len;
}

static void client_finished(void *ctx)
{
    struct ml_relay *r = ctx;
    if (r->tcp != NULL) {
        ml_netif_tcp_finish(r->tcp);
    }
}

static void client_writable(void *ctx)
{
    struct ml_relay *r = ctx;
    if (r->tcp != NULL) {
        ml_netif_tcp_more(r->tcp);
    }
}

static void client_gone(void *ctx)
{
    hang_up(ctx);
}

static const struct ml_http_raw raw = {from_client, client_finished, client_writable, client_gone};

/* ---- From the peer ---- */

static void tcp_opened(void *ctx)
{
    struct ml_relay *r = ctx;
    if (r->http != NULL) {
        r->switched = true;
        ml_http_switch(r->http, "Upgrade: ts-dial\r\nConnection: upgrade\r\n", &raw, r);
    }
}

static size_t tcp_data(void *ctx, const uint8_t *buf, size_t len)
{
    struct ml_relay *r = ctx;
    return r->http ? ml_http_raw_write(r->http, buf, len) : len;
}

static void tcp_writable(void *ctx)
{
    struct ml_relay *r = ctx;
    if (r->http != NULL && r->switched) {
        ml_http_raw_more(r->http);
    }
}

static void tcp_peer_closed(void *ctx)
{
    struct ml_relay *r = ctx;
    struct ml_http_conn *http = r->http;
    struct ml_netif_tcp *tcp = r->tcp;
    if (http != NULL) {
        ml_http_raw_finish(http);
    }
    discard(r);
    ml_netif_tcp_close(tcp);
}

static void tcp_failed(void *ctx, const char *why)
{
    struct ml_relay *r = ctx;
    struct ml_http_conn *http = r->http;
    bool switched = r->switched;
    discard(r);
    if (http != NULL && switched) {
        ml_http_raw_finish(http);
    } else if (http != NULL) {
        char text[96] = "dial failure: ";
        size_t n = 14;
        while (*why && n + 1 < sizeof text) {
            text[n++] = *why++;
        }
        text[n] = 0;
        ml_localapi_fail(http, 502, text);
    }
}

static const struct ml_netif_tcp_events tcp_events = {tcp_opened, tcp_data, tcp_writable, tcp_peer_closed, tcp_failed};

void ml_relay_start(struct ml_daemon *d, struct ml_http_conn *c, const ml_addr *to)
{
    struct ml_relay *r = calloc(1, sizeof *r);
    if (r == NULL) {
        ml_localapi_fail(c, 503, "no memory for a connection");
        return;
    }
    r->d = d;
    r->http = c;
    r->next = d->relays;
    d->relays = r;
    r->tcp = ml_netif_tcp_connect(d->netif, to, &tcp_events, r);
    if (r->tcp == NULL) {
        discard(r);
        ml_localapi_fail(c, 502, "dial failure: no route or no memory");
    }
}

void ml_relay_abandoned(struct ml_daemon *d, const struct ml_http_conn *c)
{
    for (struct ml_relay *r = d->relays; r != NULL; r = r->next) {
        if (r->http == c) {
            hang_up(r);
            return;
        }
    }
}

void ml_relay_close_all(struct ml_daemon *d)
{
    struct ml_relay *r = d->relays;
    d->relays = NULL;
    while (r != NULL) {
        struct ml_relay *next = r->next;
        if (r->tcp != NULL) {
            ml_netif_tcp_close(r->tcp);
        }
        free(r);
        r = next;
    }
}
