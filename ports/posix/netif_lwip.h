/*
 * The overlay without a kernel interface: an lwIP stack that answers ICMP echo and carries TCP and UDP for the program's own
 * words (nc, send, recv).
 *
 * lwIP keeps its state in globals, so there is one per process. Not thread-safe; driven by the loop like everything else.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_NETIF_LWIP_H
#define ML_POSIX_NETIF_LWIP_H

#include "microlink/engine.h"

/** Takes one IP packet for the tunnel. May be called from inside every function below. */
typedef void (*ml_netif_output_fn)(void *ctx, const uint8_t *packet, size_t len);

struct ml_netif;
/** @return NULL when lwIP is not built in, there is no memory, or one exists already. */
struct ml_netif *ml_netif_new(ml_netif_output_fn output, void *ctx);
void ml_netif_free(struct ml_netif *n);
void ml_netif_set_addrs(struct ml_netif *n, const ml_ip *ip4, const ml_ip *ip6);
/** @brief One packet out of the tunnel; copied. */
void ml_netif_input(struct ml_netif *n, const uint8_t *packet, size_t len);
/** @brief lwIP's timers. */
ml_time ml_netif_deadline(const struct ml_netif *n, ml_time now);
void ml_netif_on_time(struct ml_netif *n);

/* ---- UDP: one bound port ---- */
typedef void (*ml_netif_udp_fn)(void *ctx, const ml_addr *from, const uint8_t *data, size_t len);
bool ml_netif_udp_bind(struct ml_netif *n, uint16_t port, ml_netif_udp_fn fn, void *ctx);
/** @retval ML_ERR_NO_PATH  lwIP has no route or source address for it. @retval ML_ERR_STATE not bound */
ml_err ml_netif_udp_send(struct ml_netif *n, const ml_addr *to, const uint8_t *data, size_t len);

/* ---- TCP: connections we open, and one port we listen on ---- */
struct ml_netif_tcp;
struct ml_netif_tcp_events {
    void (*opened)(void *ctx);
    /** @return how much was taken; the rest is offered again after ml_netif_tcp_more(). */
    size_t (*data)(void *ctx, const uint8_t *buf, size_t len);
    void (*writable)(void *ctx); /**< The peer acknowledged something: ml_netif_tcp_write() has room. */
    void (*peer_closed)(void *ctx);
    /** Reset, refused or timed out: the connection is gone, do not touch it. */
    void (*failed)(void *ctx, const char *why);
};
struct ml_netif_tcp *ml_netif_tcp_connect(struct ml_netif *n, const ml_addr *to, const struct ml_netif_tcp_events *ev,
                                          void *ctx);
/** @brief Who is told of an accepted connection (`opened` is not called), and what with. NULL refuses it: it is gone. */
typedef const struct ml_netif_tcp_events *(*ml_netif_accept_fn)(void *ctx, struct ml_netif_tcp *c, void **conn_ctx);
/**
 * @brief Listen on @p port of every address; replaces the port listened on before, 0 ends it. Connections that are not
 * accepted yet are bounded.
 */
bool ml_netif_tcp_listen(struct ml_netif *n, uint16_t port, ml_netif_accept_fn fn, void *ctx);
/** @return bytes taken (copied), possibly 0. */
size_t ml_netif_tcp_write(struct ml_netif_tcp *c, const uint8_t *buf, size_t len);
/** @brief Offer the held-back data again. */
void ml_netif_tcp_more(struct ml_netif_tcp *c);
/** @brief No more will be written (FIN after what is queued). */
void ml_netif_tcp_finish(struct ml_netif_tcp *c);
/** @brief Close both ways and forget; no further event. */
void ml_netif_tcp_close(struct ml_netif_tcp *c);

#endif
