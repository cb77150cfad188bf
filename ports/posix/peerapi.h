/*
 * The PeerAPI: HTTP/1.1 for other nodes, on the own tailnet addresses only. Source: dataplane.md 10.
 *
 * Answers `GET /` and `HEAD /`, which is what `tailscale ping --peerapi` asks for; nothing else is there (404). A request that
 * a web page caused, or that is meant for another host, is refused (403). In TUN mode kernel sockets listen, bound to the
 * address and to the device; in userspace mode lwIP does, which knows no other interface. Every peer may ask, whatever the
 * packet filter says, so everything is bounded: connections, their life, the size of a head.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_PEERAPI_H
#define ML_POSIX_PEERAPI_H

#include "http_server.h"
#include "microlink/engine.h"
#include "netif_lwip.h"

#define ML_PEERAPI_CONNS 4
#define ML_PEERAPI_LIFE  ML_SEC(10)
/** Connections lwIP may accept in a second. It remembers each for two minutes (TIME_WAIT), so this bounds that to about 1 MB. */
#define ML_PEERAPI_RATE 50

struct ml_peerapi_listener {
    int fd, slot; /**< -1: none, or lwIP's. */
    ml_ip ip;     /**< Served; unset if none. */
    uint16_t port;
};

struct ml_peerapi {
    ml_engine *engine;
    struct ml_loop *loop;
    struct ml_netif *netif; /**< NULL: TUN mode. */
    const char *ifname;     /**< Of the TUN device. */
    struct ml_http_server http;
    struct ml_peerapi_listener on4, on6;
    struct ml_peerapi_link *links;
    ml_time window_at;
    unsigned window_count;
};

/** @brief Nothing listens yet. All pointers live as long as @p p. */
void ml_peerapi_init(struct ml_peerapi *p, ml_engine *engine, struct ml_loop *loop, struct ml_netif *netif, const char *ifname);
/**
 * @brief Serve on these addresses, which the host has already (unset: none), instead of those before, and tell the engine.
 * @return false with a sentence in @p why when an address cannot be served; the other one is.
 */
bool ml_peerapi_serve(struct ml_peerapi *p, const ml_ip *ip4, const ml_ip *ip6, char *why, size_t why_cap);
/** @brief Stop listening and drop all connections. Before the netif and the port are closed. */
void ml_peerapi_close(struct ml_peerapi *p);
ml_time ml_peerapi_deadline(const struct ml_peerapi *p);
void ml_peerapi_on_time(struct ml_peerapi *p, ml_time now);

/** @brief The port to try first on @p ip (@p attempt 0), and after a conflict; the same as other clients choose. */
uint16_t ml_peerapi_port(const ml_ip *ip, uint8_t attempt);

#endif
