/*
 * TLS over lwIP (see tls.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls.h"

#include "arena.h"
#include "board/board.h"
#include "tls_verify.h"

#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_internal.h>
#include <stdio.h>
#include <string.h>

/** First record buffer: a relay's 2 KB, header, tag, and the sequence number Mbed TLS keeps before it. */
#define IN_USUAL 2112u
/** Where the record's header lies in the buffer. */
#define IN_HEADER 8u
/** Field multiplications of P-256 that a step of a handshake does at most: about as long as one X25519 of the engine. */
#define STEP_OPS 124u

struct ml_tls_conn {
    mbedtls_ssl_context ssl;
    struct ml_tls_bio bio;
    const char *sni, *verify_name;
    const uint8_t *pin;
    bool is_advisory, no_verify;
    mbedtls_x509_crt *roots; /* during the check of a chain: those it names, behind an empty one */
    bool is_settle_due;      /* the buffer has another size than usual: a record needed more, or the library made it less */
    size_t pending_write;
    ml_close_reason reason;
    char detail[80];
};

static mbedtls_ssl_config conf;
static size_t largest;
static uint64_t clock_s; /* as the engine knows it */

void ml_tls_set_clock(uint64_t unix_s)
{
    clock_s = unix_s;
}

time_t ml_tls_time(time_t *out)
{
    time_t t = clock_s != 0 ? (time_t)clock_s : (time_t)(board_wall_ms() / 1000);
    if (out != NULL) {
        *out = t;
    }
    return t;
}

struct tm *mbedtls_platform_gmtime_r(const mbedtls_time_t *t, struct tm *out)
{
    return gmtime_r(t, out);
}

static int rng(void *ctx, unsigned char *buf, size_t len)
{
    const ml_random *r = ctx;
    r->fill(r->ctx, buf, len);
    return 0;
}

/* ---- Verification ---- */

/** True when the bytes of @p name occur in @p der: a cheap first look before a root is parsed. */
static bool contains(const uint8_t *der, size_t len, const mbedtls_x509_buf *name)
{
    for (size_t i = 0; name->len > 0 && i + name->len <= len; i++) {
        if (der[i] == name->p[0] && memcmp(der + i, name->p, name->len) == 0) {
            return true;
        }
    }
    return false;
}

static mbedtls_x509_crt *new_crt(void)
{
    mbedtls_x509_crt *one = mbedtls_calloc(1, sizeof *one);
    if (one != NULL) {
        mbedtls_x509_crt_init(one);
    }
    return one;
}

static void free_roots(struct ml_tls_conn *c)
{
    if (c->ssl.handshake != NULL) {
        c->ssl.handshake->sni_ca_chain = NULL;
    }
    mbedtls_x509_crt_free(c->roots); /* those behind it too */
    mbedtls_free(c->roots);
    c->roots = NULL;
}

/**
 * Adds the roots that may have signed @p child. Roots in flash: length and DER of each, padded to whole words; a length of 0 or of
 * erased flash ends them.
 */
static int add_roots(struct ml_tls_conn *c, const mbedtls_x509_crt *child)
{
    const uint8_t *p = board_config_roots();
    for (;;) {
        uint32_t len;
        memcpy(&len, p, sizeof len);
        if (len == 0 || len > 16384) {
            return 0;
        }
        p += sizeof len;
        bool is_known = false;
        for (const mbedtls_x509_crt *r = c->roots; r != NULL; r = r->next) {
            is_known |= r->raw.p == p;
        }
        if (!is_known && contains(p, len, &child->issuer_raw)) {
            mbedtls_x509_crt *one = new_crt();
            if (one == NULL) {
                return MBEDTLS_ERR_X509_ALLOC_FAILED;
            }
            bool is_issuer = mbedtls_x509_crt_parse_der_nocopy(one, p, len) == 0 &&
                             one->subject_raw.len == child->issuer_raw.len &&
                             memcmp(one->subject_raw.p, child->issuer_raw.p, one->subject_raw.len) == 0;
            if (is_issuer) {
                one->next = c->roots->next;
                c->roots->next = one;
            } else {
                mbedtls_x509_crt_free(one);
                mbedtls_free(one);
            }
        }
        p += (len + 3) / 4 * 4;
    }
}

/**
 * Before the library takes the server's certificates: reads their message, finds the roots they name and leaves the message to
 * the library. Its own hook for roots (a callback) would check the whole chain in one go.
 */
static int prepare_roots(struct ml_tls_conn *c)
{
    mbedtls_ssl_context *ssl = &c->ssl;
    int ret = mbedtls_ssl_read_record(ssl, 1);
    if (ret != 0) {
        return ret;
    }
    ssl->keep_current_message = 1; /* the library's next read finds it again */
    c->roots = new_crt();          /* an empty one in front: no roots at all would be an error before judge() is asked */
    if (c->roots == NULL) {
        return MBEDTLS_ERR_X509_ALLOC_FAILED;
    }
    ssl->handshake->sni_ca_chain = c->roots;
    ssl->handshake->ecrs_enabled = 1; /* the library does it for ECDSA only, but its key exchange is the same for RSA */
    if (ssl->in_msgtype != MBEDTLS_SSL_MSG_HANDSHAKE || ssl->in_hslen < 7 || ssl->in_hslen > ssl->in_msglen ||
        ssl->in_msg[0] != MBEDTLS_SSL_HS_CERTIFICATE) {
        return 0; /* the library refuses it */
    }
    const uint8_t *p = ssl->in_msg + 7, *end = ssl->in_msg + ssl->in_hslen;
    for (size_t len; ret == 0 && end - p > 3; p += len) {
        len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        p += 3;
        if (len > (size_t)(end - p)) {
            break;
        }
        mbedtls_x509_crt *crt = new_crt();
        if (crt == NULL) {
            return MBEDTLS_ERR_X509_ALLOC_FAILED;
        }
        if (mbedtls_x509_crt_parse_der_nocopy(crt, p, len) == 0) {
            ret = add_roots(c, crt);
        }
        mbedtls_x509_crt_free(crt);
        mbedtls_free(crt);
    }
    return ret;
}

static void remember(struct ml_tls_conn *c, ml_close_reason reason, const char *why)
{
    c->reason = reason;
    snprintf(c->detail, sizeof c->detail, "%.79s", why);
}

/** The library's opinion of one certificate of the chain; the server's own comes last, at depth 0. */
static int judge(void *ctx, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct ml_tls_conn *c = ctx;
    if (c->no_verify) {
        *flags = 0;
        return 0;
    }
    if (c->pin != NULL) {
        *flags = 0;
        if (depth == 0) {
            struct ml_tls_verdict v = ml_tls_verify_pin(crt, c->pin, c->sni, (int64_t)ml_tls_time(NULL));
            if (!v.ok) {
                remember(c, v.reason, v.why);
                *flags = MBEDTLS_X509_BADCERT_OTHER;
            }
        }
        return 0;
    }
    *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_CN_MISMATCH;
    const char *name = c->verify_name != NULL ? c->verify_name : c->sni;
    if (*flags & (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)) {
        remember(c, ML_CLOSE_TLS_TIME, "a certificate is not valid now; is the clock right?");
    } else if (*flags != 0) {
        remember(c, ML_CLOSE_TLS_UNTRUSTED, "certificate is not signed by a trusted authority");
    } else if (depth == 0 && (name == NULL || !ml_tls_name_matches(crt, name))) {
        remember(c, ML_CLOSE_TLS_NAME, "certificate is for another name");
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    }
    if (c->is_advisory) {
        *flags = 0;
    }
    return 0;
}

/* ---- Record buffer ---- */

/** Gives the input buffer another size, which holds what is in it. The library's pointers into it move along. */
static bool resize(mbedtls_ssl_context *ssl, size_t len)
{
    unsigned char *to = mbedtls_calloc(1, len), *was = ssl->in_buf;
    if (to == NULL) {
        return false;
    }
    memcpy(to, was, len < ssl->in_buf_len ? len : ssl->in_buf_len);
    unsigned char **const into[] = {&ssl->in_ctr, &ssl->in_hdr, &ssl->in_len, &ssl->in_iv, &ssl->in_msg};
    for (size_t i = 0; i < sizeof into / sizeof *into; i++) {
        *into[i] = to + (*into[i] - was);
    }
    if (ssl->in_offt != NULL) {
        ssl->in_offt = to + (ssl->in_offt - was);
    }
    mbedtls_platform_zeroize(was, ssl->in_buf_len);
    mbedtls_free(was);
    ssl->in_buf = to;
    ssl->in_buf_len = len;
    largest = len > largest ? len : largest;
    return true;
}

/** After the library found a record larger than its buffer: true when there is room now and it can go on. */
static bool grow(struct ml_tls_conn *c)
{
    mbedtls_ssl_context *ssl = &c->ssl;
    if (ssl->in_left < 5) {
        return false;
    }
    size_t need = IN_HEADER + 5 + ((size_t)ssl->in_hdr[3] << 8 | ssl->in_hdr[4]);
    if (need <= ssl->in_buf_len || need > MBEDTLS_SSL_IN_BUFFER_LEN) {
        return false;
    }
    need = (need + 511) / 512 * 512;
    bool ok = resize(ssl, need < MBEDTLS_SSL_IN_BUFFER_LEN ? need : MBEDTLS_SSL_IN_BUFFER_LEN);
    c->is_settle_due |= ok; /* the next time that nothing is waiting in it */
    if (!ok) {
        c->reason = ML_CLOSE_NO_MEMORY;
        snprintf(c->detail, sizeof c->detail, "no memory for a TLS record of %u bytes", (unsigned)need);
    }
    return ok;
}

/**
 * The usual size again. After a handshake the library cuts the buffer down to what it sends at most, if nothing has arrived by
 * then: a relay's next full record would need memory that may be gone, and a connection took what chance left it.
 */
static void settle(struct ml_tls_conn *c)
{
    mbedtls_ssl_context *ssl = &c->ssl;
    if (ssl->in_left == 0 && ssl->in_offt == NULL) {
        c->is_settle_due = ssl->in_buf_len != IN_USUAL && !resize(ssl, IN_USUAL); /* without memory at the next try */
    }
}

/* ---- Connections ---- */

static int bio_send(void *ctx, const unsigned char *buf, size_t len)
{
    struct ml_tls_conn *c = ctx;
    int n = c->bio.send(c->bio.ctx, buf, len);
    return n > 0 ? n : n == 0 ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_SSL_CONN_EOF;
}

static int bio_recv(void *ctx, unsigned char *buf, size_t len)
{
    struct ml_tls_conn *c = ctx;
    int n = c->bio.recv(c->bio.ctx, buf, len);
    return n > 0 ? n : n == 0 ? MBEDTLS_ERR_SSL_WANT_READ : n == -1 ? 0 : MBEDTLS_ERR_SSL_CONN_EOF;
}

bool ml_tls_init(const ml_random *random)
{
    mbedtls_ssl_config_init(&conf);
    if (mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) !=
        0) {
        return false;
    }
    /* The library draws from it and never writes to it. */
    mbedtls_ssl_conf_rng(&conf, rng, (void *)(uintptr_t)random);
    mbedtls_ssl_conf_authmode(&conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ecp_set_max_ops(STEP_OPS);
    mbedtls_ssl_conf_min_version(&conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    return true;
}

static bool is_address(const char *name)
{
    return strchr(name, ':') != NULL || strspn(name, "0123456789.") == strlen(name);
}

struct ml_tls_conn *ml_tls_connect(const struct ml_tls_bio *bio, const ml_stream_open *want, const char *sni,
                                   const char *verify_name, const uint8_t *pin)
{
    struct ml_tls_conn *c = ml_arena_alloc(ML_ARENA_TLS, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->bio = *bio;
    c->sni = sni;
    c->verify_name = verify_name;
    c->pin = pin;
    c->is_advisory = want->verify_advisory;
    c->no_verify = want->no_verify;
    mbedtls_ssl_init(&c->ssl);
    if (mbedtls_ssl_setup(&c->ssl, &conf) != 0 ||
        mbedtls_ssl_set_hostname(&c->ssl, sni != NULL && sni[0] && !is_address(sni) ? sni : NULL) != 0) {
        ml_tls_conn_free(c);
        return NULL;
    }
    mbedtls_ssl_set_verify(&c->ssl, judge, c);
    mbedtls_ssl_set_bio(&c->ssl, c, bio_send, bio_recv, NULL);
    return c;
}

void ml_tls_conn_free(struct ml_tls_conn *c)
{
    if (c != NULL) {
        free_roots(c);
        mbedtls_ssl_free(&c->ssl);
        ml_arena_free(c);
    }
}

static enum ml_tls_result translate(struct ml_tls_conn *c, int ret, ml_close_reason other)
{
    switch (ret) {
    case MBEDTLS_ERR_SSL_WANT_READ:
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        return ML_TLS_WAIT;
    case 0:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        c->reason = ML_CLOSE_EOF;
        return ML_TLS_EOF;
    case MBEDTLS_ERR_SSL_CONN_EOF:
        c->reason = other;
        return ML_TLS_FAILED;
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return ML_TLS_FAILED; /* judge() wrote why */
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
    case MBEDTLS_ERR_X509_ALLOC_FAILED:
    case MBEDTLS_ERR_MPI_ALLOC_FAILED:
    case MBEDTLS_ERR_ECP_ALLOC_FAILED:
    case MBEDTLS_ERR_PK_ALLOC_FAILED:
        remember(c, ML_CLOSE_NO_MEMORY, "no memory for TLS");
        return ML_TLS_FAILED;
    case MBEDTLS_ERR_SSL_BAD_INPUT_DATA:
        if (c->reason == ML_CLOSE_NO_MEMORY) {
            return ML_TLS_FAILED; /* grow() wrote why */
        }
        /* fall through */
    default:
        c->reason = other;
        snprintf(c->detail, sizeof c->detail, "TLS error -0x%04x", (unsigned)-ret);
        return ML_TLS_FAILED;
    }
}

enum ml_tls_result ml_tls_handshake(struct ml_tls_conn *c)
{
    int ret;
    /* One step a call of the loop, and of operations on a curve only a part of one. */
    do {
        bool is_due = c->ssl.state == MBEDTLS_SSL_SERVER_CERTIFICATE && c->roots == NULL;
        ret = is_due ? prepare_roots(c) : mbedtls_ssl_handshake_step(&c->ssl);
    } while (ret == MBEDTLS_ERR_SSL_BAD_INPUT_DATA && grow(c));
    if (ret == MBEDTLS_ERR_SSL_CRYPTO_IN_PROGRESS) {
        return ML_TLS_STEP;
    }
    if (c->ssl.state > MBEDTLS_SSL_SERVER_CERTIFICATE) {
        free_roots(c);
    }
    if (ret == 0) {
        if (c->ssl.state != MBEDTLS_SSL_HANDSHAKE_OVER) {
            return ML_TLS_STEP;
        }
        c->is_settle_due = true;
        settle(c);
        return ML_TLS_OK;
    }
    enum ml_tls_result r = translate(c, ret, ML_CLOSE_TLS_OTHER);
    if (r == ML_TLS_EOF) {
        remember(c, ML_CLOSE_TLS_OTHER, "the server closed during the TLS handshake");
        r = ML_TLS_FAILED;
    }
    return r;
}

enum ml_tls_result ml_tls_read(struct ml_tls_conn *c, uint8_t *buf, size_t cap, size_t *len)
{
    int ret;
    do {
        ret = mbedtls_ssl_read(&c->ssl, buf, cap);
    } while (ret == MBEDTLS_ERR_SSL_BAD_INPUT_DATA && grow(c));
    if (c->is_settle_due && ret == MBEDTLS_ERR_SSL_WANT_READ) {
        settle(c);
    }
    *len = ret > 0 ? (size_t)ret : 0;
    return ret > 0 ? ML_TLS_OK : translate(c, ret, ML_CLOSE_RESET);
}

enum ml_tls_result ml_tls_write(struct ml_tls_conn *c, const uint8_t *buf, size_t len, size_t *written)
{
    size_t n = c->pending_write ? c->pending_write : len;
    int ret = mbedtls_ssl_write(&c->ssl, buf, n);
    *written = ret > 0 ? (size_t)ret : 0;
    if (ret > 0) {
        c->pending_write = 0;
        return ML_TLS_OK;
    }
    enum ml_tls_result r = translate(c, ret, ML_CLOSE_RESET);
    if (r == ML_TLS_WAIT) {
        c->pending_write = n;
    }
    return r;
}

void ml_tls_shutdown(struct ml_tls_conn *c)
{
    (void)mbedtls_ssl_close_notify(&c->ssl);
}

ml_close_reason ml_tls_reason(const struct ml_tls_conn *c)
{
    return c->reason;
}

const char *ml_tls_detail(const struct ml_tls_conn *c)
{
    return c->detail;
}

size_t ml_tls_largest_buffer(void)
{
    return largest;
}
