/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include <stddef.h>
#include <stdint.h>
#define MBEDTLS_X509_BADCERT_EXPIRED      0x01
#define MBEDTLS_X509_BADCERT_CN_MISMATCH  0x04
#define MBEDTLS_X509_BADCERT_NOT_TRUSTED  0x08
#define MBEDTLS_X509_BADCERT_FUTURE       0x0200
#define MBEDTLS_X509_KU_DIGITAL_SIGNATURE 0x80
#define MBEDTLS_X509_KU_KEY_ENCIPHERMENT  0x20
typedef struct {
    int tag;
    size_t len;
    unsigned char *p;
} mbedtls_x509_buf;
typedef struct mbedtls_x509_name {
    mbedtls_x509_buf oid, val;
    struct mbedtls_x509_name *next;
} mbedtls_x509_name;
typedef struct mbedtls_x509_crt {
    mbedtls_x509_buf raw;
    mbedtls_x509_name subject;
    struct mbedtls_x509_crt *next;
} mbedtls_x509_crt;
typedef struct mbedtls_x509_crl mbedtls_x509_crl;
void mbedtls_x509_crt_init(mbedtls_x509_crt *c);
void mbedtls_x509_crt_free(mbedtls_x509_crt *c);
int mbedtls_x509_crt_parse(mbedtls_x509_crt *c, const unsigned char *text, size_t len);
int mbedtls_x509_crt_check_key_usage(const mbedtls_x509_crt *c, unsigned usage);
int mbedtls_x509_crt_check_extended_key_usage(const mbedtls_x509_crt *c, const char *oid, size_t len);
int mbedtls_x509_crt_verify(mbedtls_x509_crt *c, mbedtls_x509_crt *roots, mbedtls_x509_crl *crl, const char *name,
                            uint32_t *flags, int (*fn)(void *ctx, mbedtls_x509_crt *c, int depth, uint32_t *flags), void *ctx);
#ifdef MBEDTLS_X509_TRUSTED_CERTIFICATE_CALLBACK
typedef int (*mbedtls_x509_crt_ca_cb_t)(void *ctx, const mbedtls_x509_crt *c, mbedtls_x509_crt **roots);
typedef struct mbedtls_x509_crt_profile mbedtls_x509_crt_profile;
extern const mbedtls_x509_crt_profile mbedtls_x509_crt_profile_default;
int mbedtls_x509_crt_verify_with_ca_cb(mbedtls_x509_crt *c, mbedtls_x509_crt_ca_cb_t roots, void *roots_ctx,
                                       const mbedtls_x509_crt_profile *profile, const char *name, uint32_t *flags,
                                       int (*fn)(void *ctx, mbedtls_x509_crt *c, int depth, uint32_t *flags), void *ctx);
#endif
