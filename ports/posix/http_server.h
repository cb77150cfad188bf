/*
 * HTTP/1.1 server: accepts, parses, hands requests to one handler, sends responses; small and bounded. Listens on a Unix
 * socket (the control socket), or is given connections that somebody else accepted (the PeerAPI).
 *
 * A handler may answer at once or later (a ping waits for its pong). A response is a short text, a body produced piece by
 * piece as the socket takes it, or a switch to raw bytes both ways.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_HTTP_SERVER_H
#define ML_POSIX_HTTP_SERVER_H

#include "base/bytes.h"
#include "http_request.h"
#include "loop.h"

/** Connections at a time; more wait in the kernel's queue. */
#define ML_HTTP_CONNS 16
/** Room for one piece of a body, and of raw bytes waiting to be written. */
#define ML_HTTP_PIECE 16384

struct ml_http_conn;

/** Writes the next piece, at most w->cap bytes; advances @p cursor (0 at first). False: this was the last piece. */
typedef bool (*ml_http_body_fn)(void *ctx, uint64_t *cursor, struct ml_writer *w);

/** Raw mode (after ml_http_switch). */
struct ml_http_raw {
    /** Bytes from the client; returns how many were taken (the rest is offered again after ml_http_raw_more()). */
    size_t (*data)(void *ctx, const uint8_t *buf, size_t len);
    void (*client_finished)(void *ctx); /**< The client will send no more. */
    void (*writable)(void *ctx);        /**< Room again after ml_http_raw_write() took less. */
    void (*gone)(void *ctx);            /**< The connection is closed; no further call. */
};

struct ml_http_server {
    struct ml_loop *loop;
    int fd, slot;
    char path[108];
    void *ctx;
    /** One request with its body. Answer with one of the functions below, now or later. */
    void (*request)(void *ctx, struct ml_http_conn *c, const struct ml_http_request *r, const uint8_t *body);
    /** The client left while its answer was pending. */
    void (*abandoned)(void *ctx, struct ml_http_conn *c);
    size_t max_conns;   /**< 0 = ML_HTTP_CONNS, which is also the most. */
    ml_time conn_limit; /**< Longest life of a connection; 0 = no limit. Then ml_http_on_time() is to be called. */
    bool is_one_shot;   /**< Requests are answered by their head alone (the body is NULL), and the connection closed. */
    struct ml_http_conn *conn[ML_HTTP_CONNS];
};

/**
 * @brief Listen on @p path. A stale socket file is replaced, a live one is not.
 * @return false with a sentence in @p why
 */
bool ml_http_listen(struct ml_http_server *s, struct ml_loop *loop, const char *path, char *why, size_t why_cap);
/** @brief Serve without listening: connections come by ml_http_adopt(). */
void ml_http_open(struct ml_http_server *s, struct ml_loop *loop);
/** @brief Take over a connected stream socket, for better or worse. False: too many, or no memory; it is closed. */
bool ml_http_adopt(struct ml_http_server *s, int fd);
/** @brief When a connection is due to be closed; ML_NEVER if none is. */
ml_time ml_http_deadline(const struct ml_http_server *s);
void ml_http_on_time(struct ml_http_server *s, ml_time now);
/** @brief Drop all connections and stop listening; harmless on a server that was never opened (fd -1). */
void ml_http_close(struct ml_http_server *s);

/** @brief The client may change things: it is root or the daemon's own user (SO_PEERCRED). Never over an adopted connection. */
bool ml_http_may_write(const struct ml_http_conn *c);
/** @brief A short answer. @p headers: further header lines each ending in CRLF, or NULL. */
void ml_http_respond(struct ml_http_conn *c, int status, const char *type, const char *headers, const void *body, size_t len);
/** @brief A body of unknown length, produced by @p fn. */
void ml_http_respond_stream(struct ml_http_conn *c, const char *type, ml_http_body_fn fn, void *ctx);
/** @brief 101, then raw bytes. @p headers as above. */
void ml_http_switch(struct ml_http_conn *c, const char *headers, const struct ml_http_raw *raw, void *ctx);
size_t ml_http_raw_write(struct ml_http_conn *c, const uint8_t *buf, size_t len);
void ml_http_raw_more(struct ml_http_conn *c);
/** @brief Close after everything written was sent; `gone` is not called. */
void ml_http_raw_finish(struct ml_http_conn *c);

#endif
