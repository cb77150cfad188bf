/*
 * TLS client streams (tls_mbedtls.h) by ESP-IDF's Mbed TLS, 3.x or 4.x, and its certificate bundle.
 *
 * Mbed TLS is called directly, not through esp-tls, for three reasons: esp-tls takes a connected socket only since ESP-IDF
 * 5.1, it cannot pin a certificate, and it does not tell why a chain was refused (docs/decisions/0004). Only the TLS and X.509
 * interfaces are used, which 3.x and 4.x share; no primitive is.
 *
 * The handshake runs without verification, one step at a time, and the server is judged here right after the step that read its
 * certificates: before anything is sent in answer, so a pin, an advisory check and a name other than the SNI are ordinary code,
 * and after the record was freed, which is what takes most memory (docs/esp-idf.md, Memory). Its issuers are then dropped.
 * Session tickets: the sessions of the last servers are kept in RAM and offered again.
 * lwIP gives each write a buffer of a whole segment until it is acknowledged, so the short records at the end of a handshake
 * are gathered into one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_mbedtls.h"

#include "base/bytes.h"
#include "loop.h"
#include "sdkconfig.h"

#include <errno.h>
#include <mbedtls/build_info.h>
#include <mbedtls/oid.h>
#include <mbedtls/platform.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#if CONFIG_MBEDTLS_CERTIFICATE_BUNDLE
#include "esp_crt_bundle.h"
#endif
/* Mbed TLS 3 uses PSA for TLS 1.3, or when it is told to; its table of keys takes 1.4 KB. */
#if MBEDTLS_VERSION_MAJOR >= 4 || defined(MBEDTLS_USE_PSA_CRYPTO) || defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define NEEDS_PSA 1
#include <psa/crypto.h>
#endif

/** Servers whose session is kept: control and the home relay. */
#define SESSIONS  2
#define META_HEAD "derpkey"

struct session {
    char *names; /**< As in struct ml_tls_conn; NULL = free. */
    size_t names_size;
    mbedtls_ssl_session s; /**< Without the certificate. */
    bool has_meta;
    ml_derp_key meta;
};

struct ml_tls {
    bool has_ca;
    mbedtls_x509_crt ca;
#if CONFIG_MICROLINK_TLS_SESSION_TICKETS
    struct session session[SESSIONS];
    size_t next_session;
#endif
};

/** What the client says last in a handshake: a key exchange by an elliptic curve, ChangeCipherSpec and Finished, or the latter two. */
#define FLIGHT 200

struct flight {
    size_t len, sent;
    uint8_t buf[FLIGHT];
};

struct ml_tls_conn {
    struct ml_tls *owner;
    struct flight *flight; /**< During the handshake; NULL also without memory: then each record is written as it is made. */
    int fd;
    mbedtls_ssl_config conf;
    mbedtls_ssl_context ssl;
    const char *sni, *verify_name; /**< In `names`. */
    uint8_t pin[32];
    bool has_pin, verify_advisory, no_verify, has_meta;
    bool was_offered; /**< A session that was judged when it was kept. */
    bool is_judged;
    ml_derp_key meta;
    ml_close_reason reason;
    char detail[96];
    size_t names_size;
    char names[]; /**< The name sent and the one to verify, each with its zero. */
};

/* ---- Socket and randomness ---- */

static int write_out(const struct ml_tls_conn *c, const unsigned char *buf, size_t len)
{
    ssize_t n = send(c->fd, buf, len, 0);
    if (n >= 0) {
        return (int)n;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_WRITE
                                                                     : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

/** 0 when nothing is left. */
static int write_flight(const struct ml_tls_conn *c)
{
    struct flight *f = c->flight;
    while (f != NULL && f->sent < f->len) {
        int n = write_out(c, f->buf + f->sent, f->len - f->sent);
        if (n < 0) {
            return n;
        }
        f->sent += (size_t)n;
    }
    if (f != NULL) {
        f->len = f->sent = 0;
    }
    return 0;
}

static int bio_send(void *ctx, const unsigned char *buf, size_t len)
{
    const struct ml_tls_conn *c = ctx;
    struct flight *f = c->flight;
    if (f != NULL && f->sent == 0 && len <= sizeof f->buf - f->len) {
        memcpy(f->buf + f->len, buf, len);
        f->len += len;
        return (int)len;
    }
    int r = write_flight(c);
    return r != 0 ? r : write_out(c, buf, len);
}

static int bio_recv(void *ctx, unsigned char *buf, size_t len)
{
    const struct ml_tls_conn *c = ctx;
    int r = write_flight(c);
    if (r != 0) {
        return r;
    }
    ssize_t n = recv(c->fd, buf, len, 0);
    if (n > 0) {
        return (int)n;
    }
    if (n == 0) {
        return MBEDTLS_ERR_SSL_CONN_EOF;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_READ
                                                                     : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

#if MBEDTLS_VERSION_MAJOR < 4
static int random_bytes(void *ctx, unsigned char *buf, size_t len)
{
    ml_sys_random(ctx, buf, len);
    return 0;
}
#endif

/* ---- Configuration ---- */

struct ml_tls *ml_tls_new(const ml_random *random, const char *ca_file, const char *ca_pem)
{
    (void)random, (void)ca_file;
    struct ml_tls *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    mbedtls_x509_crt_init(&t->ca);
#ifdef NEEDS_PSA
    bool ok = psa_crypto_init() == PSA_SUCCESS;
#else
    bool ok = true;
#endif
    if (ok && ca_pem != NULL) {
        t->has_ca = true;
        ok = mbedtls_x509_crt_parse(&t->ca, (const unsigned char *)ca_pem, strlen(ca_pem) + 1) == 0;
    }
    if (!ok) {
        ml_tls_free(t);
        return NULL;
    }
    return t;
}

#if CONFIG_MICROLINK_TLS_SESSION_TICKETS
static void forget_session(struct session *s)
{
    if (s->names != NULL) {
        mbedtls_ssl_session_free(&s->s);
        free(s->names);
        s->names = NULL;
    }
}
#endif

void ml_tls_free(struct ml_tls *t)
{
    if (t == NULL) {
        return;
    }
#if CONFIG_MICROLINK_TLS_SESSION_TICKETS
    for (size_t i = 0; i < SESSIONS; i++) {
        forget_session(&t->session[i]);
    }
#endif
    mbedtls_x509_crt_free(&t->ca);
    free(t);
}

/** Sets the roots. A pin needs none, and neither does a server that nobody checks. */
static bool set_roots(struct ml_tls_conn *c)
{
    if (c->has_pin) {
        return true;
    }
    if (c->owner->has_ca) {
        mbedtls_ssl_conf_ca_chain(&c->conf, &c->owner->ca, NULL);
        return true;
    }
    if (c->verify_advisory) {
        c->no_verify = true; /* Noise authenticates this server; the bundle's roots are not worth the memory. */
        return true;
    }
#if CONFIG_MBEDTLS_CERTIFICATE_BUNDLE
    return esp_crt_bundle_attach(&c->conf) == ESP_OK;
#else
    snprintf(c->detail, sizeof c->detail, "no roots: enable CONFIG_MBEDTLS_CERTIFICATE_BUNDLE or set ca_pem");
    return false;
#endif
}

#if CONFIG_MICROLINK_TLS_SESSION_TICKETS
/** Only a server that is checked, so that resuming never stands for a check that was left out. */
static bool may_resume(const struct ml_tls_conn *c)
{
    return c->sni[0] && !c->verify_advisory && !c->no_verify && !c->has_pin;
}

static struct session *find_session(const struct ml_tls_conn *c)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        struct session *s = &c->owner->session[i];
        if (s->names != NULL && s->names_size == c->names_size && memcmp(s->names, c->names, c->names_size) == 0) {
            return s;
        }
    }
    return NULL;
}

/** A ticket goes into the client's first message, which has to fit into one record of ours. */
static bool is_ticket_long(const mbedtls_ssl_session *s)
{
    return s->MBEDTLS_PRIVATE(ticket_len) > MBEDTLS_SSL_OUT_CONTENT_LEN / 2;
}

static void keep_session(struct ml_tls_conn *c)
{
    if (!may_resume(c)) {
        return;
    }
    struct session *s = find_session(c);
    if (s == NULL) {
        s = &c->owner->session[c->owner->next_session++ % SESSIONS];
    }
    forget_session(s);
    mbedtls_ssl_session_init(&s->s);
    s->names = malloc(c->names_size);
    if (s->names == NULL || mbedtls_ssl_get_session(&c->ssl, &s->s) != 0 || is_ticket_long(&s->s)) {
        mbedtls_ssl_session_free(&s->s);
        free(s->names);
        s->names = NULL;
        return;
    }
    memcpy(s->names, c->names, c->names_size);
    s->names_size = c->names_size;
    s->has_meta = c->has_meta;
    s->meta = c->meta;
}

static void offer_session(struct ml_tls_conn *c)
{
    struct session *s = may_resume(c) ? find_session(c) : NULL;
    if (s == NULL) {
        return;
    }
    if (mbedtls_ssl_set_session(&c->ssl, &s->s) != 0) {
        forget_session(s);
        return;
    }
    c->was_offered = true;
    c->has_meta = s->has_meta;
    c->meta = s->meta;
}
#else
static void keep_session(struct ml_tls_conn *c)
{
    (void)c;
}

static void offer_session(struct ml_tls_conn *c)
{
    (void)c;
}
#endif

struct ml_tls_conn *ml_tls_connect(struct ml_tls *t, int fd, const struct ml_tls_want *want)
{
    const char *sni = want->sni != NULL ? want->sni : "", *verify_name = want->verify_name != NULL ? want->verify_name : "";
    size_t sni_size = strlen(sni) + 1, verify_size = strlen(verify_name) + 1;
    struct ml_tls_conn *c = calloc(1, sizeof *c + sni_size + verify_size);
    if (c == NULL) {
        return NULL;
    }
    c->sni = memcpy(c->names, sni, sni_size);
    c->verify_name = memcpy(c->names + sni_size, verify_name, verify_size);
    c->names_size = sni_size + verify_size;
    c->owner = t;
    c->fd = fd;
    c->reason = ML_CLOSE_TLS_OTHER;
    c->verify_advisory = want->verify_advisory;
    c->no_verify = want->no_verify;
    c->has_pin = want->pin_sha256 != NULL;
    if (c->has_pin) {
        memcpy(c->pin, want->pin_sha256, sizeof c->pin);
    }
    mbedtls_ssl_config_init(&c->conf);
    mbedtls_ssl_init(&c->ssl);
    bool ok = mbedtls_ssl_config_defaults(&c->conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                          MBEDTLS_SSL_PRESET_DEFAULT) == 0;
    if (ok) {
#if MBEDTLS_VERSION_MAJOR < 4
        mbedtls_ssl_conf_rng(&c->conf, random_bytes, NULL);
#endif
        mbedtls_ssl_conf_authmode(&c->conf, MBEDTLS_SSL_VERIFY_NONE);
        ok = (c->no_verify || set_roots(c)) && mbedtls_ssl_setup(&c->ssl, &c->conf) == 0 &&
             mbedtls_ssl_set_hostname(&c->ssl, c->sni[0] ? c->sni : NULL) == 0;
    }
    if (!ok) {
        ml_tls_conn_free(c);
        return NULL;
    }
    c->flight = calloc(1, sizeof *c->flight);
    mbedtls_ssl_set_bio(&c->ssl, c, bio_send, bio_recv, NULL);
    offer_session(c);
    return c;
}

void ml_tls_conn_free(struct ml_tls_conn *c)
{
    if (c != NULL) {
        mbedtls_ssl_free(&c->ssl);
        mbedtls_ssl_config_free(&c->conf);
        free(c->flight);
        free(c);
    }
}

/* ---- Judging the server ---- */

static enum ml_tls_result refuse(struct ml_tls_conn *c, ml_close_reason reason, const char *detail)
{
    c->reason = reason;
    snprintf(c->detail, sizeof c->detail, "%s", detail);
    return ML_TLS_FAILED;
}

/** The public key in the common name "derpkey<64 hex digits>" of a certificate that a relay adds to its chain. */
static bool meta_key(const mbedtls_x509_crt *crt, ml_derp_key *key)
{
    const size_t head = sizeof META_HEAD - 1;
    for (const mbedtls_x509_name *n = &crt->subject; n != NULL; n = n->next) {
        if (n->val.len == head + 64 && n->val.p != NULL && memcmp(n->val.p, META_HEAD, head) == 0 &&
            ml_hex_parse((const char *)n->val.p + head, 64, key->b, sizeof key->b)) {
            return true;
        }
    }
    return false;
}

static enum ml_tls_result judge_flags(struct ml_tls_conn *c, uint32_t flags)
{
    if (flags == 0) {
        return ML_TLS_OK;
    }
    if (flags == UINT32_MAX || (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)) {
        return refuse(c, ML_CLOSE_TLS_UNTRUSTED, "the certificate is not signed by a trusted root");
    }
    if (flags & (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)) {
        return refuse(c, ML_CLOSE_TLS_TIME, "the certificate is not valid at the time this device believes it is");
    }
    if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) {
        return refuse(c, ML_CLOSE_TLS_NAME, "the certificate is for another name");
    }
    return refuse(c, ML_CLOSE_TLS_UNTRUSTED, "the certificate is not acceptable");
}

static void free_chain(mbedtls_x509_crt **chain)
{
    if (*chain != NULL) {
        mbedtls_x509_crt_free(*chain);
        mbedtls_free(*chain);
        *chain = NULL;
    }
}

/** By the library, with the roots of set_roots(). */
static uint32_t verify(struct ml_tls_conn *c, mbedtls_x509_crt *chain, const char *name)
{
    const mbedtls_ssl_config *conf = &c->conf;
    uint32_t flags = 0; /* Without memory for it: all. */
    name = name[0] ? name : NULL;
#ifdef MBEDTLS_X509_TRUSTED_CERTIFICATE_CALLBACK
    if (conf->MBEDTLS_PRIVATE(f_ca_cb) != NULL) { /* What the bundle sets when it is to know cross-signed roots. */
        (void)mbedtls_x509_crt_verify_with_ca_cb(chain, conf->MBEDTLS_PRIVATE(f_ca_cb), conf->MBEDTLS_PRIVATE(p_ca_cb),
                                                 &mbedtls_x509_crt_profile_default, name, &flags, conf->MBEDTLS_PRIVATE(f_vrfy),
                                                 conf->MBEDTLS_PRIVATE(p_vrfy));
        return flags;
    }
#endif
    (void)mbedtls_x509_crt_verify(chain, conf->MBEDTLS_PRIVATE(ca_chain), NULL, name, &flags, conf->MBEDTLS_PRIVATE(f_vrfy),
                                  conf->MBEDTLS_PRIVATE(p_vrfy));
    return flags;
}

/** Whether it is for servers, and its key for one of the ways TLS has to use it. */
static bool is_for_tls(const mbedtls_x509_crt *leaf)
{
    return mbedtls_x509_crt_check_extended_key_usage(leaf, MBEDTLS_OID_SERVER_AUTH, sizeof MBEDTLS_OID_SERVER_AUTH - 1) == 0 &&
           (mbedtls_x509_crt_check_key_usage(leaf, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) == 0 ||
            mbedtls_x509_crt_check_key_usage(leaf, MBEDTLS_X509_KU_KEY_ENCIPHERMENT) == 0);
}

static enum ml_tls_result judge_pinned(struct ml_tls_conn *c, mbedtls_x509_crt *leaf)
{
    uint8_t hash[32];
    crypto_hash_sha256(hash, leaf->raw.p, leaf->raw.len);
    if (memcmp(hash, c->pin, sizeof hash) != 0) {
        return refuse(c, ML_CLOSE_TLS_PIN, "the certificate is not the pinned one");
    }
    /* Who signed it does not matter, name and validity do. */
    free_chain(&leaf->next);
    uint32_t flags = verify(c, leaf, c->sni);
    return judge_flags(c, flags != UINT32_MAX ? flags & ~(uint32_t)MBEDTLS_X509_BADCERT_NOT_TRUSTED : flags);
}

static enum ml_tls_result judge(struct ml_tls_conn *c, mbedtls_x509_crt *chain)
{
    c->has_meta = false;
    for (const mbedtls_x509_crt *crt = chain; crt != NULL && !c->has_meta; crt = crt->next) {
        c->has_meta = meta_key(crt, &c->meta);
    }
    if (c->no_verify) {
        return ML_TLS_OK;
    }
    if (c->has_pin) {
        return judge_pinned(c, chain);
    }
    enum ml_tls_result r = judge_flags(c, verify(c, chain, c->verify_name));
    if (r == ML_TLS_OK && !is_for_tls(chain)) {
        r = refuse(c, ML_CLOSE_TLS_OTHER, "the certificate is not for a server");
    }
    return r != ML_TLS_OK && c->verify_advisory ? ML_TLS_OK : r;
}

/** Where the library keeps what the server has shown, during the handshake or after it. */
static mbedtls_x509_crt **shown(mbedtls_ssl_session *s)
{
#ifdef MBEDTLS_SSL_KEEP_PEER_CERTIFICATE
    return s != NULL && s->MBEDTLS_PRIVATE(peer_cert) != NULL ? &s->MBEDTLS_PRIVATE(peer_cert) : NULL;
#else
    (void)s;
    return NULL;
#endif
}

/** Judges the server once it has shown its certificates. */
static enum ml_tls_result take_certificates(struct ml_tls_conn *c)
{
    mbedtls_x509_crt **chain = c->is_judged ? NULL : shown(c->ssl.MBEDTLS_PRIVATE(session_negotiate));
    if (chain == NULL) {
        return ML_TLS_OK;
    }
    c->is_judged = true;
    enum ml_tls_result r = judge(c, *chain);
    free_chain(&(*chain)->next); /* The key of the first one is still to be used. */
    return r;
}

static enum ml_tls_result finish(struct ml_tls_conn *c)
{
    mbedtls_x509_crt **chain = shown(c->ssl.MBEDTLS_PRIVATE(session));
    /* Without a certificate it was resumed, by a session that was judged when it was kept. */
    if (!c->is_judged && !c->no_verify && (chain != NULL || !c->was_offered)) {
        return refuse(c, ML_CLOSE_TLS_OTHER, "no certificate kept: CONFIG_MBEDTLS_SSL_KEEP_PEER_CERTIFICATE is off");
    }
    free(c->flight);
    c->flight = NULL;
    if (chain != NULL) {
        free_chain(chain); /* Nothing asks for it again. */
    }
    keep_session(c);
    return ML_TLS_OK;
}

#if CONFIG_MBEDTLS_DYNAMIC_BUFFER
int esp_mbedtls_free_rx_buffer(mbedtls_ssl_context *ssl); /* ESP-IDF's; no header has it */

/**
 * ESP-IDF frees the buffer of a record by the state it was read in, which it takes for the one before the present. Where a session
 * is resumed, or a ticket comes, the state jumps: the buffer stayed, just as long as its record, and the next one, the server's
 * first data at last, was read into it whatever its length.
 */
static int free_record(mbedtls_ssl_context *ssl, int state_before)
{
    return ssl->MBEDTLS_PRIVATE(state) == state_before + 1 ? 0 : esp_mbedtls_free_rx_buffer(ssl);
}
#else
static int free_record(const mbedtls_ssl_context *ssl, int state_before)
{
    (void)ssl;
    (void)state_before;
    return 0;
}
#endif

enum ml_tls_result ml_tls_handshake(struct ml_tls_conn *c)
{
    int r = 0;
    while (r == 0 && !mbedtls_ssl_is_handshake_over(&c->ssl)) {
        int state = c->ssl.MBEDTLS_PRIVATE(state);
        r = mbedtls_ssl_handshake_step(&c->ssl);
        if (r == 0) {
            r = free_record(&c->ssl, state);
        }
        if (r == 0 && take_certificates(c) != ML_TLS_OK) {
            return ML_TLS_FAILED;
        }
    }
    int left = write_flight(c);
    if (left != 0 && (r == 0 || r == MBEDTLS_ERR_SSL_WANT_READ)) {
        r = left; /* When all is out the library says once more that it is done, or that it waits. */
    }
    if (r == MBEDTLS_ERR_SSL_WANT_READ) {
        return ML_TLS_WANT_READ;
    }
    if (r == MBEDTLS_ERR_SSL_WANT_WRITE) {
        return ML_TLS_WANT_WRITE;
    }
    if (r != 0) {
        c->reason = r == MBEDTLS_ERR_SSL_ALLOC_FAILED ? ML_CLOSE_NO_MEMORY : ML_CLOSE_TLS_OTHER;
        snprintf(c->detail, sizeof c->detail, "Mbed TLS error -0x%04x in the handshake", (unsigned)-r);
        return ML_TLS_FAILED;
    }
    return finish(c);
}

/* ---- Bytes ---- */

/** An orderly end, a wait or a failure. */
static enum ml_tls_result translate(struct ml_tls_conn *c, int r)
{
    switch (r) {
    case MBEDTLS_ERR_SSL_WANT_READ:
#ifdef MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
    case MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET:
#endif
        return ML_TLS_WANT_READ;
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        return ML_TLS_WANT_WRITE;
    case 0:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
    case MBEDTLS_ERR_SSL_CONN_EOF:
        c->reason = ML_CLOSE_EOF;
        c->detail[0] = 0;
        return ML_TLS_EOF;
    default:
        c->reason = r == MBEDTLS_ERR_SSL_ALLOC_FAILED ? ML_CLOSE_NO_MEMORY : ML_CLOSE_RESET;
        snprintf(c->detail, sizeof c->detail, "Mbed TLS error -0x%04x", (unsigned)-r);
        return ML_TLS_FAILED;
    }
}

enum ml_tls_result ml_tls_read(struct ml_tls_conn *c, uint8_t *buf, size_t cap, size_t *len)
{
    int r = mbedtls_ssl_read(&c->ssl, buf, cap);
    *len = r > 0 ? (size_t)r : 0;
    return r > 0 ? ML_TLS_OK : translate(c, r);
}

enum ml_tls_result ml_tls_write(struct ml_tls_conn *c, const uint8_t *buf, size_t len, size_t *written)
{
    int r = mbedtls_ssl_write(&c->ssl, buf, len);
    *written = r > 0 ? (size_t)r : 0;
    return r > 0 ? ML_TLS_OK : translate(c, r);
}

bool ml_tls_has_data(const struct ml_tls_conn *c)
{
    return mbedtls_ssl_check_pending(&c->ssl) != 0;
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

bool ml_tls_derp_meta_key(const struct ml_tls_conn *c, ml_derp_key *out)
{
    if (c->has_meta) {
        *out = c->meta;
    }
    return c->has_meta;
}
