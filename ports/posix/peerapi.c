/*
 * PeerAPI: listeners, the answers, and the way from lwIP's connections to the HTTP server (see peerapi.h).
 *
 * The HTTP server speaks over descriptors. A connection of lwIP gets a pair of sockets: the server holds one end, a link
 * carries bytes between the other and lwIP.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peerapi.h"

#include "base/addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ATTEMPTS 5

struct ml_peerapi_link {
    struct ml_peerapi *p;
    struct ml_netif_tcp *tcp;
    int fd, slot;
    uint8_t out[512]; /**< From the server, for the peer. */
    size_t out_pos, out_len;
    struct ml_peerapi_link *next;
};

/* ---- Answers ---- */

static bool is_for_us(const struct ml_peerapi *p, const char *host)
{
    ml_addr a;
    if (strcmp(host, "peer") == 0) {
        return true;
    }
    /* An address, never a name: names can be made to point here by the owner of a page in somebody's browser. */
    if (!ml_addr_parse(host, strlen(host), &a) || !ml_ip_is_set(&a.ip)) {
        return false;
    }
    return ml_ip_equal(&a.ip, &p->on4.ip) || ml_ip_equal(&a.ip, &p->on6.ip) || ml_is_masquerade(p->engine, &a.ip);
}

static void on_request(void *ctx, struct ml_http_conn *c, const struct ml_http_request *r, const uint8_t *body)
{
    static const char root[] = "microlink\n", refused[] = "refused\n", missing[] = "not found\n";
    (void)body;
    if (r->is_from_page || !is_for_us(ctx, r->host)) {
        ml_http_respond(c, 403, "text/plain", NULL, refused, sizeof refused - 1);
    } else if (strcmp(r->path, "/") == 0 && (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0)) {
        ml_http_respond(c, 200, "text/plain", NULL, root, sizeof root - 1);
    } else {
        ml_http_respond(c, 404, "text/plain", NULL, missing, sizeof missing - 1);
    }
}

/* ---- lwIP ---- */

static void release_link(struct ml_peerapi_link *l)
{
    ml_loop_remove(l->p->loop, l->slot);
    close(l->fd);
    if (l->tcp != NULL) {
        ml_netif_tcp_close(l->tcp);
    }
    free(l);
}

static void end_link(struct ml_peerapi_link *l)
{
    struct ml_peerapi_link **at = &l->p->links;
    while (*at != l) {
        at = &(*at)->next;
    }
    *at = l->next;
    release_link(l);
}

static void give_peer(struct ml_peerapi_link *l)
{
    l->out_pos += ml_netif_tcp_write(l->tcp, l->out + l->out_pos, l->out_len - l->out_pos);
    ml_loop_set(l->p->loop, l->slot, l->out_pos == l->out_len ? POLLIN : 0);
}

static void on_server(void *ctx, short revents)
{
    struct ml_peerapi_link *l = ctx;
    (void)revents;
    ssize_t n = recv(l->fd, l->out, sizeof l->out, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        end_link(l); /* Answered, or out of time; what was written before still reaches the peer. */
        return;
    }
    l->out_pos = 0;
    l->out_len = (size_t)n;
    give_peer(l);
}

static void tcp_opened(void *ctx)
{
    (void)ctx;
}

static size_t tcp_data(void *ctx, const uint8_t *buf, size_t len)
{
    struct ml_peerapi_link *l = ctx;
    /* The server answers by the head, which fits; what a full socket does not take is a body that nobody reads. */
    ssize_t n = send(l->fd, buf, len, MSG_NOSIGNAL);
    (void)n;
    return len;
}

static void tcp_writable(void *ctx)
{
    struct ml_peerapi_link *l = ctx;
    if (l->out_pos < l->out_len) {
        give_peer(l);
    }
}

static void tcp_peer_closed(void *ctx)
{
    struct ml_peerapi_link *l = ctx;
    (void)shutdown(l->fd, SHUT_WR);
}

static void tcp_failed(void *ctx, const char *why)
{
    struct ml_peerapi_link *l = ctx;
    (void)why;
    l->tcp = NULL;
    end_link(l);
}

/** False: one too many within this second. */
static bool may_come(struct ml_peerapi *p)
{
    ml_time now = ml_sys_now();
    if (now - p->window_at >= ML_SEC(1)) {
        p->window_at = now;
        p->window_count = 0;
    }
    return p->window_count++ < ML_PEERAPI_RATE;
}

static const struct ml_netif_tcp_events *on_accept(void *ctx, struct ml_netif_tcp *c, void **conn_ctx)
{
    static const struct ml_netif_tcp_events events = {tcp_opened, tcp_data, tcp_writable, tcp_peer_closed, tcp_failed};
    struct ml_peerapi *p = ctx;
    int pair[2];
    if (!may_come(p) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        return NULL;
    }
    struct ml_peerapi_link *l = calloc(1, sizeof *l);
    if (l == NULL || ml_sys_prepare_fd(pair[0]) != 0 || (l->slot = ml_loop_add(p->loop, pair[0], POLLIN, on_server, l)) < 0) {
        free(l);
        close(pair[0]);
        close(pair[1]);
        return NULL;
    }
    if (!ml_http_adopt(&p->http, pair[1])) {
        ml_loop_remove(p->loop, l->slot);
        close(pair[0]);
        free(l);
        return NULL;
    }
    l->p = p;
    l->tcp = c;
    l->fd = pair[0];
    l->next = p->links;
    p->links = l;
    *conn_ctx = l;
    return &events;
}

/* ---- Kernel ---- */

static void on_kernel_conn(struct ml_peerapi *p, const struct ml_peerapi_listener *on)
{
    int fd = accept(on->fd, NULL, NULL);
    if (fd >= 0) {
        (void)ml_http_adopt(&p->http, fd);
    }
}

static void on_listen4(void *ctx, short revents)
{
    struct ml_peerapi *p = ctx;
    (void)revents;
    on_kernel_conn(p, &p->on4);
}

static void on_listen6(void *ctx, short revents)
{
    struct ml_peerapi *p = ctx;
    (void)revents;
    on_kernel_conn(p, &p->on6);
}

/** Only the tunnel leads here: without the device, a host accepts packets for any of its addresses on any interface. */
static bool bind_to_device(int fd, const char *ifname)
{
#ifdef SO_BINDTODEVICE
    return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, ifname, (socklen_t)strlen(ifname)) == 0;
#else
    (void)fd, (void)ifname;
    errno = ENOTSUP;
    return false;
#endif
}

/** @return the listening socket, or -1 with errno. */
static int listen_on(const ml_ip *ip, uint16_t port, const char *ifname)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = {0};
    socklen_t len = sizeof a.in;
    int on = 1;
    if (ml_ip_is4(ip)) {
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(port);
        memcpy(&a.in.sin_addr, ip->b + 12, 4);
    } else {
        len = sizeof a.in6;
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(port);
        memcpy(&a.in6.sin6_addr, ip->b, 16);
    }
    int fd = socket(a.sa.sa_family, SOCK_STREAM, 0);
    if (fd < 0) {
        return -1;
    }
    if (ml_sys_prepare_fd(fd) != 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        !bind_to_device(fd, ifname) || bind(fd, &a.sa, len) != 0 || listen(fd, ML_PEERAPI_CONNS) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* ---- Listening ---- */

uint16_t ml_peerapi_port(const ml_ip *ip, uint8_t attempt)
{
    uint8_t data[3] = {(uint8_t)(ip->b[13] + attempt), ip->b[14], ip->b[15]};
    uint32_t crc = UINT32_MAX; /* CRC-32/IEEE */
    for (size_t i = 0; i < sizeof data; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
        }
    }
    return (uint16_t)(0x8000 | (~crc & 0xffff));
}

static bool serve_kernel(struct ml_peerapi *p, struct ml_peerapi_listener *on, const ml_ip *ip, char *why, size_t why_cap)
{
    if (ml_ip_equal(&on->ip, ip)) {
        return true;
    }
    if (on->fd >= 0) {
        ml_loop_remove(p->loop, on->slot);
        close(on->fd);
    }
    *on = (struct ml_peerapi_listener){.fd = -1, .slot = -1};
    if (!ml_ip_is_set(ip)) {
        return true;
    }
    for (uint8_t i = 0; i < ATTEMPTS && on->fd < 0; i++) {
        on->port = ml_peerapi_port(ip, i);
        on->fd = listen_on(ip, on->port, p->ifname);
        if (on->fd < 0 && errno != EADDRINUSE) {
            break;
        }
    }
    int saved = errno;
    on->slot = on->fd < 0 ? -1 : ml_loop_add(p->loop, on->fd, POLLIN, on == &p->on4 ? on_listen4 : on_listen6, p);
    if (on->slot < 0) {
        snprintf(why, why_cap, "peers cannot ping this node's PeerAPI over %s: %s", ml_ip_is4(ip) ? "IPv4" : "IPv6",
                 on->fd < 0 ? strerror(saved) : "too many descriptors");
        if (on->fd >= 0) {
            close(on->fd);
        }
        *on = (struct ml_peerapi_listener){.fd = -1, .slot = -1};
        return false;
    }
    on->ip = *ip;
    return true;
}

/* One listener takes both families. */
static bool serve_lwip(struct ml_peerapi *p, const ml_ip *ip4, const ml_ip *ip6, char *why, size_t why_cap)
{
    const ml_ip *first = ml_ip_is_set(ip4) ? ip4 : ip6;
    uint16_t port = ml_ip_is_set(first) ? ml_peerapi_port(first, 0) : 0;
    bool is_same = port == (p->on4.port ? p->on4.port : p->on6.port);
    bool ok = is_same || ml_netif_tcp_listen(p->netif, port, on_accept, p);
    if (!ok) {
        snprintf(why, why_cap, "peers cannot ping this node's PeerAPI: no memory");
        port = 0;
    }
    p->on4 = (struct ml_peerapi_listener){-1, -1, *ip4, ml_ip_is_set(ip4) ? port : 0};
    p->on6 = (struct ml_peerapi_listener){-1, -1, *ip6, ml_ip_is_set(ip6) ? port : 0};
    return ok;
}

bool ml_peerapi_serve(struct ml_peerapi *p, const ml_ip *ip4, const ml_ip *ip6, char *why, size_t why_cap)
{
    bool ok;
    if (p->netif != NULL) {
        ok = serve_lwip(p, ip4, ip6, why, why_cap);
    } else {
        ok = serve_kernel(p, &p->on4, ip4, why, why_cap);
        ok = serve_kernel(p, &p->on6, ip6, why, why_cap) && ok;
    }
    ml_set_peerapi_port(p->engine, ml_sys_now(), p->on4.port, p->on6.port);
    return ok;
}

/* ---- Life ---- */

void ml_peerapi_init(struct ml_peerapi *p, ml_engine *engine, struct ml_loop *loop, struct ml_netif *netif, const char *ifname)
{
    *p = (struct ml_peerapi){.engine = engine, .loop = loop, .netif = netif, .ifname = ifname};
    p->on4.fd = p->on4.slot = p->on6.fd = p->on6.slot = -1;
    p->http.ctx = p;
    p->http.request = on_request;
    p->http.max_conns = ML_PEERAPI_CONNS;
    p->http.conn_limit = ML_PEERAPI_LIFE;
    p->http.is_one_shot = true;
    ml_http_open(&p->http, loop);
}

void ml_peerapi_close(struct ml_peerapi *p)
{
    static const ml_ip none;
    char why[100];
    if (p->loop == NULL) { /* never opened */
        return;
    }
    (void)ml_peerapi_serve(p, &none, &none, why, sizeof why);
    struct ml_peerapi_link *l = p->links;
    p->links = NULL;
    while (l != NULL) {
        struct ml_peerapi_link *next = l->next;
        release_link(l);
        l = next;
    }
    ml_http_close(&p->http);
    p->loop = NULL;
}

ml_time ml_peerapi_deadline(const struct ml_peerapi *p)
{
    return ml_http_deadline(&p->http);
}

void ml_peerapi_on_time(struct ml_peerapi *p, ml_time now)
{
    ml_http_on_time(&p->http, now);
}
