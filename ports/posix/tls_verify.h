/*
 * Judging a server's certificates: chain, name, validity, pin.
 *
 * Follows what the official client accepts (net/tlsdial, crypto/x509): names come from the subjectAltName only, one wildcard
 * label is allowed at the left, a pin replaces the chain but not name and validity.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_TLS_VERIFY_H
#define ML_POSIX_TLS_VERIFY_H

#include "microlink/engine.h"

#include <mbedtls/x509_crt.h>

/** Where trusted roots come from: a PEM text, or a file, or (both NULL) the system. */
struct ml_tls_roots {
    const char *pem;
    const char *file;
};

/** 0 = acceptable, else a ml_close_reason of the TLS_ kind with a sentence in @p why. */
struct ml_tls_verdict {
    bool ok;
    ml_close_reason reason;
    char why[160];
};

/**
 * @brief Full check: chain to a root, server usage, validity, @p name (DNS name or address literal).
 * @param unix_now  Seconds since 1970 as the engine knows them (control's clock corrects a device's), 0 = ask the system.
 */
struct ml_tls_verdict ml_tls_verify_chain(mbedtls_x509_crt *chain, const struct ml_tls_roots *roots, const char *name,
                                          int64_t unix_now);
/** @brief Exactly one certificate besides meta certificates, its DER has this SHA-256, is valid now, and for @p sni if set. */
struct ml_tls_verdict ml_tls_verify_pin(mbedtls_x509_crt *chain, const uint8_t pin[32], const char *sni, int64_t unix_now);
/** @brief The certificate names @p name: DNS entries (RFC 6125, leftmost wildcard) or an exact address entry. */
bool ml_tls_name_matches(const mbedtls_x509_crt *crt, const char *name);
/** @brief A DERP meta certificate ("derpkey" and 64 hex digits as common name). @p key may be NULL. */
bool ml_tls_is_meta_cert(const mbedtls_x509_crt *crt, ml_derp_key *key);

#endif
