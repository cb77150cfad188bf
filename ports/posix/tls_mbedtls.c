/*
 * TLS records by Mbed TLS (see tls_mbedtls.h). The differences between 2.28 and 3.x are all in this file and tls_verify.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_mbedtls.h"

#include "tls_verify.h"

#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#if MBEDTLS_VERSION_MAJOR >= 3 && defined(MBEDTLS_PSA_CRYPTO_C)
#include <psa/crypto.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct ml_tls {
    mbedtls_ssl_config conf;
    ml_random random;
    char *ca_file;
    struct ml_tls_roots roots;
    int64_t unix_now; /* 0 = the system's clock */
};

struct ml_tls_conn {
    mbedtls_ssl_context ssl;
    struct ml_tls *tls;
    int fd;
    char sni[256], verify_name[256];
    bool has_verify_name, has_pin, advisory, no_verify;
    uint8_t pin[32];
    size_t pending_write; /**< Length of a write that the library has taken but not finished sending. */
    ml_close_reason reason;
    char detail[192];
    bool has_meta_key;
    ml_derp_key meta_key;
};

static int rng(void *ctx, unsigned char *buf, size_t len)
{
    const ml_random *r = ctx;
    r->fill(r->ctx, buf, len);
    return 0;
}

static int bio_send(void *ctx, const unsigned char *buf, size_t len)
{
    struct ml_tls_conn *c = ctx;
    ssize_t n = send(c->fd, buf, len, MSG_NOSIGNAL);
    if (n >= 0) {
        return (int)n;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_NET_CONN_RESET;
}

static int bio_recv(void *ctx, unsigned char *buf, size_t len)
{
    struct ml_tls_conn *c = ctx;
    ssize_t n = recv(c->fd, buf, len, 0);
    if (n >= 0) {
        return (int)n;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_NET_CONN_RESET;
}

struct ml_tls *ml_tls_new(const ml_random *random, const char *ca_file, const char *ca_pem)
{
    struct ml_tls *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    t->random = *random;
    t->ca_file = ca_file ? strdup(ca_file) : NULL;
    t->roots = (struct ml_tls_roots){.pem = ca_pem, .file = t->ca_file};
    mbedtls_ssl_config_init(&t->conf);
#if MBEDTLS_VERSION_MAJOR >= 3 && defined(MBEDTLS_PSA_CRYPTO_C)
    psa_crypto_init();
#endif
    if ((ca_file != NULL && t->ca_file == NULL) ||
        mbedtls_ssl_config_defaults(&t->conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0) {
        ml_tls_free(t);
        return NULL;
    }
    mbedtls_ssl_conf_rng(&t->conf, rng, &t->random);
    /* tls_verify.c decides after the handshake; with a mode other than NONE the library would need all roots in memory. */
    mbedtls_ssl_conf_authmode(&t->conf, MBEDTLS_SSL_VERIFY_NONE);
#if MBEDTLS_VERSION_MAJOR >= 3
    mbedtls_ssl_conf_min_tls_version(&t->conf, MBEDTLS_SSL_VERSION_TLS1_2);
#if MBEDTLS_VERSION_NUMBER < 0x03060100
    /* Up to 3.6.0 a TLS 1.3 client ignores the mode and insists on verifying by itself. */
    mbedtls_ssl_conf_max_tls_version(&t->conf, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
#else
    mbedtls_ssl_conf_min_version(&t->conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(&t->conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
    return t;
}

void ml_tls_set_clock(struct ml_tls *t, int64_t unix_now)
{
    t->unix_now = unix_now;
}

void ml_tls_free(struct ml_tls *t)
{
    if (t != NULL) {
        mbedtls_ssl_config_free(&t->conf);
        free(t->ca_file);
        free(t);
    }
}

static bool is_address(const char *name)
{
    return strchr(name, ':') != NULL || strspn(name, "0123456789.") == strlen(name);
}

struct ml_tls_conn *ml_tls_connect(struct ml_tls *t, int fd, const struct ml_tls_want *want)
{
    struct ml_tls_conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->tls = t;
    c->fd = fd;
    c->has_verify_name = want->verify_name != NULL;
    c->has_pin = want->pin_sha256 != NULL;
    c->advisory = want->verify_advisory;
    c->no_verify = want->no_verify;
    if (want->sni != NULL) {
        snprintf(c->sni, sizeof c->sni, "%s", want->sni);
    }
    if (c->has_verify_name) {
        snprintf(c->verify_name, sizeof c->verify_name, "%s", want->verify_name);
    }
    if (want->pin_sha256 != NULL) {
        memcpy(c->pin, want->pin_sha256, sizeof c->pin);
    }
    mbedtls_ssl_init(&c->ssl);
    /* An address is no server name (RFC 6066), and NULL says that leaving it out is meant. */
    const char *sni = c->sni[0] && !is_address(c->sni) ? c->sni : NULL;
    if (mbedtls_ssl_setup(&c->ssl, &t->conf) != 0 || mbedtls_ssl_set_hostname(&c->ssl, sni) != 0) {
        ml_tls_conn_free(c);
        return NULL;
    }
    mbedtls_ssl_set_bio(&c->ssl, c, bio_send, bio_recv, NULL);
    return c;
}

void ml_tls_conn_free(struct ml_tls_conn *c)
{
    if (c != NULL) {
        mbedtls_ssl_free(&c->ssl);
        free(c);
    }
}

static enum ml_tls_result fail(struct ml_tls_conn *c, ml_close_reason reason, int ret)
{
    char text[128] = "";
    c->reason = reason;
    mbedtls_strerror(ret, text, sizeof text);
    snprintf(c->detail, sizeof c->detail, "%s (-0x%04x)", text, (unsigned)-ret);
    return ML_TLS_FAILED;
}

static enum ml_tls_result translate(struct ml_tls_conn *c, int ret, ml_close_reason other)
{
    switch (ret) {
    case MBEDTLS_ERR_SSL_WANT_READ:
        return ML_TLS_WANT_READ;
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        return ML_TLS_WANT_WRITE;
    case 0:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        c->reason = ML_CLOSE_EOF;
        return ML_TLS_EOF;
#ifdef MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
    case MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET: /* TLS 1.3; we do not resume. */
        return ML_TLS_WANT_READ;
#endif
    case MBEDTLS_ERR_NET_CONN_RESET:
        return fail(c, ML_CLOSE_RESET, ret);
    case MBEDTLS_ERR_SSL_CONN_EOF:
        c->reason = ML_CLOSE_EOF;
        return ML_TLS_EOF;
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
        return fail(c, ML_CLOSE_NO_MEMORY, ret);
    default:
        return fail(c, other, ret);
    }
}

static enum ml_tls_result judge(struct ml_tls_conn *c)
{
    /* The chain belongs to the session and is only read; the library hands it out const all the same. */
    const mbedtls_x509_crt *peer = mbedtls_ssl_get_peer_cert(&c->ssl);
    union {
        const mbedtls_x509_crt *from;
        mbedtls_x509_crt *to;
    } cast = {.from = peer};
    mbedtls_x509_crt *chain = cast.to;
    for (const mbedtls_x509_crt *i = chain; i != NULL && !c->has_meta_key; i = i->next) {
        c->has_meta_key = ml_tls_is_meta_cert(i, &c->meta_key);
    }
    if (c->no_verify) {
        return ML_TLS_OK;
    }
    struct ml_tls_verdict v = {.reason = ML_CLOSE_TLS_OTHER, .why = "the server sent no certificate that can be read"};
    if (chain != NULL) {
        v = c->has_pin
                ? ml_tls_verify_pin(chain, c->pin, c->sni, c->tls->unix_now)
                : ml_tls_verify_chain(chain, &c->tls->roots, c->has_verify_name ? c->verify_name : c->sni, c->tls->unix_now);
    }
    if (v.ok) {
        return ML_TLS_OK;
    }
    snprintf(c->detail, sizeof c->detail, "%s", v.why);
    if (c->advisory && !c->has_pin) {
        return ML_TLS_OK;
    }
    c->reason = v.reason;
    return ML_TLS_FAILED;
}

enum ml_tls_result ml_tls_handshake(struct ml_tls_conn *c)
{
    int ret = mbedtls_ssl_handshake(&c->ssl);
    if (ret == 0) {
        return judge(c);
    }
    enum ml_tls_result r = translate(c, ret, ML_CLOSE_TLS_OTHER);
    if (r == ML_TLS_EOF) {
        /* Closed in the middle of a handshake: whatever is there, it is not the TLS server we look for. */
        c->reason = ML_CLOSE_TLS_OTHER;
        snprintf(c->detail, sizeof c->detail, "the server closed during the TLS handshake");
        return ML_TLS_FAILED;
    }
    return r;
}

enum ml_tls_result ml_tls_read(struct ml_tls_conn *c, uint8_t *buf, size_t cap, size_t *len)
{
    int ret = mbedtls_ssl_read(&c->ssl, buf, cap);
    if (ret > 0) {
        *len = (size_t)ret;
        return ML_TLS_OK;
    }
    *len = 0;
    return translate(c, ret, ML_CLOSE_RESET);
}

enum ml_tls_result ml_tls_write(struct ml_tls_conn *c, const uint8_t *buf, size_t len, size_t *written)
{
    /* After WANT_WRITE the library wants the same length again, although more may wait by now. */
    size_t n = c->pending_write ? c->pending_write : len;
    int ret = mbedtls_ssl_write(&c->ssl, buf, n);
    *written = 0;
    if (ret > 0) {
        c->pending_write = 0;
        *written = (size_t)ret;
        return ML_TLS_OK;
    }
    enum ml_tls_result r = translate(c, ret, ML_CLOSE_RESET);
    if (r == ML_TLS_WANT_WRITE || r == ML_TLS_WANT_READ) {
        c->pending_write = n;
    }
    return r;
}

bool ml_tls_has_data(const struct ml_tls_conn *c)
{
    return mbedtls_ssl_get_bytes_avail(&c->ssl) > 0;
}

void ml_tls_shutdown(struct ml_tls_conn *c)
{
    mbedtls_ssl_close_notify(&c->ssl);
}

ml_close_reason ml_tls_reason(const struct ml_tls_conn *c)
{
    return c->reason;
}

const char *ml_tls_detail(const struct ml_tls_conn *c)
{
    return c->detail;
}

bool ml_tls_derp_meta_key(const struct ml_tls_conn *c, ml_derp_key *out)
{
    if (c->has_meta_key) {
        *out = c->meta_key;
    }
    return c->has_meta_key;
}
