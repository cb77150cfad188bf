/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include "mbedtls/x509_crt.h"
enum { MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM = 0, MBEDTLS_SSL_PRESET_DEFAULT = 0 };
enum { MBEDTLS_SSL_VERIFY_NONE, MBEDTLS_SSL_VERIFY_OPTIONAL, MBEDTLS_SSL_VERIFY_REQUIRED };
#define MBEDTLS_ERR_SSL_WANT_READ                   (-0x6900)
#define MBEDTLS_ERR_SSL_WANT_WRITE                  (-0x6880)
#define MBEDTLS_ERR_SSL_CONN_EOF                    (-0x7280)
#define MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY           (-0x7880)
#define MBEDTLS_ERR_SSL_INTERNAL_ERROR              (-0x6c00)
#define MBEDTLS_ERR_SSL_ALLOC_FAILED                (-0x7f00)
#define MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET (-0x7b00)
#define MBEDTLS_SSL_OUT_CONTENT_LEN                 1408
#define MBEDTLS_PRIVATE(member)                     private_##member
typedef struct {
    mbedtls_x509_crt *MBEDTLS_PRIVATE(ca_chain);
    int (*MBEDTLS_PRIVATE(f_vrfy))(void *ctx, mbedtls_x509_crt *c, int depth, uint32_t *flags);
    void *MBEDTLS_PRIVATE(p_vrfy);
#ifdef MBEDTLS_X509_TRUSTED_CERTIFICATE_CALLBACK
    mbedtls_x509_crt_ca_cb_t MBEDTLS_PRIVATE(f_ca_cb);
    void *MBEDTLS_PRIVATE(p_ca_cb);
#endif
} mbedtls_ssl_config;
typedef struct {
    mbedtls_x509_crt *MBEDTLS_PRIVATE(peer_cert);
    size_t MBEDTLS_PRIVATE(ticket_len);
} mbedtls_ssl_session;
typedef struct {
    int MBEDTLS_PRIVATE(state);
    mbedtls_ssl_session *MBEDTLS_PRIVATE(session), *MBEDTLS_PRIVATE(session_negotiate);
} mbedtls_ssl_context;
void mbedtls_ssl_config_init(mbedtls_ssl_config *c);
void mbedtls_ssl_config_free(mbedtls_ssl_config *c);
int mbedtls_ssl_config_defaults(mbedtls_ssl_config *c, int endpoint, int transport, int preset);
void mbedtls_ssl_conf_authmode(mbedtls_ssl_config *c, int mode);
void mbedtls_ssl_conf_ca_chain(mbedtls_ssl_config *c, mbedtls_x509_crt *ca, mbedtls_x509_crl *crl);
#ifndef ML_CHECK_IDF6
void mbedtls_ssl_conf_rng(mbedtls_ssl_config *c, int (*fn)(void *ctx, unsigned char *buf, size_t len), void *ctx);
#endif
void mbedtls_ssl_init(mbedtls_ssl_context *s);
void mbedtls_ssl_free(mbedtls_ssl_context *s);
int mbedtls_ssl_setup(mbedtls_ssl_context *s, const mbedtls_ssl_config *c);
int mbedtls_ssl_set_hostname(mbedtls_ssl_context *s, const char *name);
void mbedtls_ssl_set_bio(mbedtls_ssl_context *s, void *ctx, int (*tx)(void *ctx, const unsigned char *buf, size_t len),
                         int (*rx)(void *ctx, unsigned char *buf, size_t len),
                         int (*rx_timeout)(void *ctx, unsigned char *buf, size_t len, uint32_t ms));
int mbedtls_ssl_handshake_step(mbedtls_ssl_context *s);
int mbedtls_ssl_is_handshake_over(mbedtls_ssl_context *s);
int mbedtls_ssl_read(mbedtls_ssl_context *s, unsigned char *buf, size_t cap);
int mbedtls_ssl_write(mbedtls_ssl_context *s, const unsigned char *buf, size_t len);
int mbedtls_ssl_close_notify(mbedtls_ssl_context *s);
int mbedtls_ssl_check_pending(const mbedtls_ssl_context *s);
void mbedtls_ssl_session_init(mbedtls_ssl_session *s);
void mbedtls_ssl_session_free(mbedtls_ssl_session *s);
int mbedtls_ssl_get_session(const mbedtls_ssl_context *s, mbedtls_ssl_session *out);
int mbedtls_ssl_set_session(mbedtls_ssl_context *s, const mbedtls_ssl_session *in);
