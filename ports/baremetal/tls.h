/*
 * TLS client connections for streams over lwIP, by Mbed TLS 2.28.
 *
 * Chains are verified inside the handshake against roots that lie in flash: only those that a chain names as issuer are
 * parsed, in place, and forgotten at once; the peer's own chain is freed when the handshake is over.
 *
 * Record buffers: a relay writes records of at most 2 KB (its write buffer; a WireGuard packet is smaller), and a control
 * server frames of at most 4 KB. So a connection begins with a buffer for the former and grows it when the header of a record
 * announces more, up to TLS's limit of 16 KB; after the handshake, whose certificates may be larger, it shrinks back. A
 * server that sends larger records thus costs memory, never the connection, unless there is none left.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BAREMETAL_TLS_H
#define ML_BAREMETAL_TLS_H

#include "microlink/engine.h"

struct ml_tls_conn;

/** The bytes below: how many were moved, 0 when it must wait, -1 when the connection ended, -2 when it was lost. */
struct ml_tls_bio {
    void *ctx;
    int (*send)(void *ctx, const uint8_t *buf, size_t len);
    int (*recv)(void *ctx, uint8_t *buf, size_t len);
};

enum ml_tls_result {
    ML_TLS_OK,
    ML_TLS_WAIT,
    ML_TLS_STEP, /**< ml_tls_handshake(): call it again, nothing needs to arrive. */
    ML_TLS_EOF,
    ML_TLS_FAILED /**< ml_tls_reason() says why. */
};

/** @brief Once, before all else. @p random must outlive all connections. */
bool ml_tls_init(const ml_random *random);
/** @brief What certificates are judged by: seconds since 1970, 0 = the board's clock. Control's clock puts a wrong one right. */
void ml_tls_set_clock(uint64_t unix_s);
/** @brief Takes what it needs of @p want (sni, verify_name, pin, switches); NULL when there is no memory. */
struct ml_tls_conn *ml_tls_connect(const struct ml_tls_bio *bio, const ml_stream_open *want, const char *sni,
                                   const char *verify_name, const uint8_t *pin);
void ml_tls_conn_free(struct ml_tls_conn *c);
enum ml_tls_result ml_tls_handshake(struct ml_tls_conn *c);
enum ml_tls_result ml_tls_read(struct ml_tls_conn *c, uint8_t *buf, size_t cap, size_t *len);
/** @brief On WAIT repeat with at least the same bytes: they are taken, and counted by the call that returns OK. */
enum ml_tls_result ml_tls_write(struct ml_tls_conn *c, const uint8_t *buf, size_t len, size_t *written);
void ml_tls_shutdown(struct ml_tls_conn *c);
ml_close_reason ml_tls_reason(const struct ml_tls_conn *c);
const char *ml_tls_detail(const struct ml_tls_conn *c);
/** @brief Largest record buffer any connection has needed, for the report. */
size_t ml_tls_largest_buffer(void);

#endif
