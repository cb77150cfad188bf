/*
 * TLS client streams over a non-blocking socket, by Mbed TLS 2.28 or 3.x.
 *
 * The library only does the records: its own verification is off, and tls_verify.c judges the peer's chain after the
 * handshake and before one byte of application data is sent or taken. That way the trusted roots are read when they are
 * needed instead of being kept parsed (140 of them cost over 1 MB), pins and advisory checks are ordinary code, and an
 * unrelated extra certificate in the chain cannot fail the handshake.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_COMMON_TLS_MBEDTLS_H
#define ML_COMMON_TLS_MBEDTLS_H

#include "microlink/engine.h"

/** Configuration common to all streams of a port. */
struct ml_tls;
/** One connection. */
struct ml_tls_conn;

/** What a stream asks for (ml_stream_open). Strings and pin are copied by ml_tls_connect(). */
struct ml_tls_want {
    const char *sni;         /**< NULL or "": none is sent. */
    const char *verify_name; /**< Name the certificate must be for. */
    const uint8_t *pin_sha256;
    bool verify_advisory, no_verify;
};

enum ml_tls_result {
    ML_TLS_OK,
    ML_TLS_WANT_READ,
    ML_TLS_WANT_WRITE,
    ML_TLS_EOF,   /**< The peer closed in order. */
    ML_TLS_FAILED /**< ml_tls_reason() and ml_tls_detail() say why. */
};

/**
 * @param ca_file  PEM roots; NULL with @p ca_pem NULL: the system's bundle, looked for in the usual places.
 * @param ca_pem   Text that outlives the result; wins.
 */
struct ml_tls *ml_tls_new(const ml_random *random, const char *ca_file, const char *ca_pem);
void ml_tls_free(struct ml_tls *t);
/** @brief What time it is, for judging certificates: seconds since 1970, 0 = ask the system. Ports with a sure clock need not. */
void ml_tls_set_clock(struct ml_tls *t, int64_t unix_now);

/** @return NULL when there is no memory. @p fd stays the caller's. */
struct ml_tls_conn *ml_tls_connect(struct ml_tls *t, int fd, const struct ml_tls_want *want);
void ml_tls_conn_free(struct ml_tls_conn *c);
/** @brief Go on with the handshake; ML_TLS_OK once it is done and the peer is accepted. */
enum ml_tls_result ml_tls_handshake(struct ml_tls_conn *c);
enum ml_tls_result ml_tls_read(struct ml_tls_conn *c, uint8_t *buf, size_t cap, size_t *len);
/** @brief On WANT_* repeat with at least the same bytes; they are already taken, and counted by the call that returns OK. */
enum ml_tls_result ml_tls_write(struct ml_tls_conn *c, const uint8_t *buf, size_t len, size_t *written);
/** @brief Decrypted bytes wait inside: poll() would not show them. */
bool ml_tls_has_data(const struct ml_tls_conn *c);
/** @brief Tell the peer that we close; best effort. */
void ml_tls_shutdown(struct ml_tls_conn *c);

ml_close_reason ml_tls_reason(const struct ml_tls_conn *c);
/** @brief The library's or our own words on the failure, or on what an advisory check found; "" if nothing. */
const char *ml_tls_detail(const struct ml_tls_conn *c);
/** @brief Public key from a DERP meta certificate in the peer's chain. */
bool ml_tls_derp_meta_key(const struct ml_tls_conn *c, ml_derp_key *out);

#endif
