/*
 * The engine's streams: resolve, connect (both families), TLS, then bytes both ways with back-pressure.
 *
 * For every port that has BSD sockets: "loop.h", "udp.h" and the implementations of resolver.h and tls_mbedtls.h are the
 * port's own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_COMMON_STREAM_H
#define ML_COMMON_STREAM_H

#include "loop.h"
#include "microlink/engine.h"
#include "resolver.h"
#include "tls_mbedtls.h"

/** Streams at a time: control, its successor, and the relays of the largest configuration. */
#ifndef ML_STREAMS
#define ML_STREAMS 12
#endif
/** Addresses tried per stream. */
#define ML_STREAM_CANDIDATES 6
/** Bytes read at a time and held back while the engine has no room. */
#ifndef ML_STREAM_RX
#define ML_STREAM_RX 4096
#endif

enum ml_stream_state { ML_STREAM_RESOLVING, ML_STREAM_CONNECTING, ML_STREAM_TLS, ML_STREAM_OPEN };

struct ml_streams;
struct ml_stream {
    struct ml_streams *owner;
    enum ml_stream_state state;
    ml_stream_id id;
    ml_time deadline;        /**< ML_NEVER once open. */
    ml_time next_attempt_at; /**< When the next address is tried beside the one under way. */
    uint16_t port;
    bool tls_wanted, no_ip4, no_ip6;
    char *host, *sni, *verify_name; /**< Copies; NULL as given. */
    uint8_t pin[32];
    bool has_pin, verify_advisory, no_verify;
    ml_ip candidate[ML_STREAM_CANDIDATES];
    size_t candidate_count, candidate_next;
    struct {
        int fd, slot;
    } dial[2]; /**< Connects under way; [0] is the connection once there is one. */
    struct ml_tls_conn *tls;
    uint8_t *rx; /**< ML_STREAM_RX bytes while there is something in it. */
    size_t rx_pos, rx_len;
    bool read_ended;      /**< No more will come; tell it once rx is empty. */
    bool wait_writable;   /**< The socket took less than there was. */
    bool tls_wants_write; /**< A read cannot go on before something is written. */
    ml_close_reason end_reason;
    char end_detail[192];
};

struct ml_streams {
    struct ml_loop *loop;
    struct ml_resolver *resolver;
    struct ml_tls *tls;
    ml_engine *engine;
    ml_log_fn log;
    void *log_ctx;
    struct ml_stream *slot[ML_STREAMS]; /**< NULL: free. */
};

void ml_streams_init(struct ml_streams *s, struct ml_loop *loop, struct ml_resolver *resolver, struct ml_tls *tls,
                     ml_engine *engine, ml_log_fn log, void *log_ctx);
void ml_streams_close_all(struct ml_streams *s);
/** @brief Carry out ML_OUT_STREAM_OPEN. A failure at once is told the engine from ml_streams_on_time(). */
void ml_streams_open(struct ml_streams *s, ml_time now, const ml_stream_open *open);
/** @brief Carry out ML_OUT_STREAM_CLOSE. */
void ml_streams_close(struct ml_streams *s, ml_stream_id id);
/** @brief Timeouts and next connection attempts. */
void ml_streams_on_time(struct ml_streams *s, ml_time now);
ml_time ml_streams_deadline(const struct ml_streams *s);
/** @brief Write what the engine has, offer it what was read. @return true when something moved: drain the engine again. */
bool ml_streams_pump(struct ml_streams *s, ml_time now);

#endif
