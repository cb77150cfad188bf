/*
 * Certificate judgement (see tls_verify.h).
 *
 * Roots are found by issuer name: the bundle is read block by block, each root is parsed, kept if a certificate of the
 * chain names it as issuer, and freed at once if not. That costs milliseconds per handshake and kilobytes of memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_verify.h"

#include "base/addr.h"

#include <mbedtls/asn1.h>
#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define META_PREFIX     "derpkey"
#define META_PREFIX_LEN 7
#define SAN_DNS         (MBEDTLS_ASN1_CONTEXT_SPECIFIC | 2)
#define SAN_IP          (MBEDTLS_ASN1_CONTEXT_SPECIFIC | 7)
/** Largest certificate looked at, in base64 characters; real ones are below 4 KB. */
#define PEM_BLOCK_MAX 16384

static const char *const system_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Ubuntu, Alpine, OpenWrt */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL */
    "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* RHEL 7 */
    "/etc/ssl/cert.pem",                                 /* Alpine, BSD, macOS */
};

static struct ml_tls_verdict refuse(ml_close_reason reason, const char *why)
{
    struct ml_tls_verdict v = {.reason = reason};
    snprintf(v.why, sizeof v.why, "%s", why);
    return v;
}

/* ---- Names ---- */

/** "*.example.com" stands for exactly one label in its place; without a star the names are equal but for case. */
static bool dns_matches(const char *pattern, size_t plen, const char *name)
{
    size_t nlen = strlen(name);
    if (nlen > 0 && name[nlen - 1] == '.') {
        nlen--;
    }
    if (plen > 2 && pattern[0] == '*' && pattern[1] == '.') {
        const char *dot = memchr(name, '.', nlen);
        if (dot == NULL || dot == name) {
            return false;
        }
        size_t rest = nlen - (size_t)(dot - name);
        return rest == plen - 1 && strncasecmp(pattern + 1, dot, rest) == 0;
    }
    return plen == nlen && plen > 0 && strncasecmp(pattern, name, nlen) == 0;
}

bool ml_tls_name_matches(const mbedtls_x509_crt *crt, const char *name)
{
    ml_ip ip;
    bool is_ip = ml_ip_parse(name, strlen(name), &ip);
    for (const mbedtls_x509_sequence *s = &crt->subject_alt_names; s != NULL; s = s->next) {
        if (s->buf.p == NULL) {
            continue;
        }
        if (!is_ip && s->buf.tag == SAN_DNS && dns_matches((const char *)s->buf.p, s->buf.len, name)) {
            return true;
        }
        if (is_ip && s->buf.tag == SAN_IP) {
            ml_ip san = {0};
            if (s->buf.len == 4) {
                san = ml_ip_from4(s->buf.p);
            } else if (s->buf.len == 16) {
                san = ml_ip_from16(s->buf.p);
            }
            if (ml_ip_is_set(&san) && ml_ip_equal(&san, &ip)) {
                return true;
            }
        }
    }
    return false;
}

bool ml_tls_is_meta_cert(const mbedtls_x509_crt *crt, ml_derp_key *key)
{
    const mbedtls_asn1_named_data *cn = &crt->subject;
    while (cn != NULL && (cn->oid.len != MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN) ||
                          memcmp(cn->oid.p, MBEDTLS_OID_AT_CN, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN)) != 0)) {
        cn = cn->next;
    }
    if (cn == NULL || cn->val.len < META_PREFIX_LEN || memcmp(cn->val.p, META_PREFIX, META_PREFIX_LEN) != 0) {
        return false;
    }
    ml_derp_key k;
    bool whole = ml_hex_parse((const char *)cn->val.p + META_PREFIX_LEN, cn->val.len - META_PREFIX_LEN, k.b, sizeof k.b);
    if (key != NULL && whole) {
        *key = k;
    }
    /* For the pin anything with the prefix is skipped, as the official client does; a key needs the whole form. */
    return key == NULL || whole;
}

/* ---- Roots ---- */

static bool issued_one_of(const mbedtls_x509_crt *root, const mbedtls_x509_crt *chain)
{
    for (const mbedtls_x509_crt *c = chain; c != NULL; c = c->next) {
        if (c->issuer_raw.len == root->subject_raw.len &&
            memcmp(c->issuer_raw.p, root->subject_raw.p, root->subject_raw.len) == 0) {
            return true;
        }
    }
    return false;
}

/** Takes one base64 block (line ends already gone); keeps the certificate in @p found if it may end the chain. */
static void consider(const char *b64, size_t len, const mbedtls_x509_crt *chain, mbedtls_x509_crt *found)
{
    uint8_t *der = len > 0 ? malloc(len) : NULL;
    if (der == NULL) {
        return;
    }
    size_t der_len = ml_base64_parse(b64, len, der, len);
    mbedtls_x509_crt one;
    mbedtls_x509_crt_init(&one);
    if (der_len != SIZE_MAX && mbedtls_x509_crt_parse_der(&one, der, der_len) == 0 && issued_one_of(&one, chain)) {
        mbedtls_x509_crt_parse_der(found, der, der_len);
    }
    mbedtls_x509_crt_free(&one);
    free(der);
}

/** Line-wise PEM reader, fed from a file or a text. */
struct pem {
    char block[PEM_BLOCK_MAX];
    size_t len;
    bool inside;
    size_t certs;
};

static void pem_line(struct pem *p, const char *line, size_t len, const mbedtls_x509_crt *chain, mbedtls_x509_crt *found)
{
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r' || line[len - 1] == ' ')) {
        len--;
    }
    if (len >= 27 && memcmp(line, "-----BEGIN CERTIFICATE-----", 27) == 0) {
        p->inside = true;
        p->len = 0;
    } else if (len >= 9 && memcmp(line, "-----END ", 9) == 0) {
        if (p->inside) {
            p->certs++;
            consider(p->block, p->len, chain, found);
        }
        p->inside = false;
    } else if (p->inside) {
        if (p->len + len > sizeof p->block) {
            p->inside = false; /* Too long to be a certificate: skipped. */
            return;
        }
        memcpy(p->block + p->len, line, len);
        p->len += len;
    }
}

static bool read_pem_file(struct pem *p, const char *path, const mbedtls_x509_crt *chain, mbedtls_x509_crt *found)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    char line[1024];
    while (fgets(line, sizeof line, f) != NULL) {
        pem_line(p, line, strlen(line), chain, found);
    }
    fclose(f);
    return true;
}

static void read_pem_text(struct pem *p, const char *text, const mbedtls_x509_crt *chain, mbedtls_x509_crt *found)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        pem_line(p, text, len, chain, found);
        text += len + (text[len] == '\n');
    }
}

/** Fills @p found with the roots that may end the chain. False with a sentence when there are no roots at all. */
static bool find_roots(const struct ml_tls_roots *roots, const mbedtls_x509_crt *chain, mbedtls_x509_crt *found, char *why,
                       size_t cap)
{
    struct pem *p = calloc(1, sizeof *p);
    if (p == NULL) {
        snprintf(why, cap, "no memory to read the trusted roots");
        return false;
    }
    if (roots->pem != NULL) {
        read_pem_text(p, roots->pem, chain, found);
    } else if (roots->file != NULL) {
        read_pem_file(p, roots->file, chain, found);
    } else {
        const char *env = getenv("SSL_CERT_FILE");
        if (env == NULL || !read_pem_file(p, env, chain, found)) {
            for (size_t i = 0; i < sizeof system_bundles / sizeof *system_bundles; i++) {
                if (read_pem_file(p, system_bundles[i], chain, found)) {
                    break;
                }
            }
        }
    }
    size_t certs = p->certs;
    free(p);
    if (certs == 0) {
        snprintf(why, cap, "no trusted roots in %s", roots->pem ? "the given text" : roots->file ? roots->file : "the system");
        return false;
    }
    return true;
}

/* ---- Verdicts ---- */

/* Seconds since 1970 of a UTC calendar time (days-from-civil by the Gregorian rules). */
static int64_t unix_of(const mbedtls_x509_time *t)
{
    int64_t year = t->mon <= 2 ? t->year - 1 : t->year;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t day_of_year = (153 * (t->mon + (t->mon > 2 ? -3 : 9)) + 2) / 5 + t->day - 1;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719468;
    return days * 86400 + t->hour * 3600 + t->min * 60 + t->sec;
}

/* @p unix_now 0: nobody knows better than the system. */
static bool is_early(const mbedtls_x509_crt *crt, int64_t unix_now)
{
    return unix_now != 0 ? unix_now < unix_of(&crt->valid_from) : mbedtls_x509_time_is_future(&crt->valid_from);
}

static bool is_late(const mbedtls_x509_crt *crt, int64_t unix_now)
{
    return unix_now != 0 ? unix_now > unix_of(&crt->valid_to) : mbedtls_x509_time_is_past(&crt->valid_to);
}

static struct ml_tls_verdict time_verdict(const mbedtls_x509_crt *crt, int64_t unix_now)
{
    struct ml_tls_verdict v = {.reason = ML_CLOSE_TLS_TIME};
    const mbedtls_x509_time *from = &crt->valid_from, *to = &crt->valid_to;
    bool early = is_early(crt, unix_now);
    const mbedtls_x509_time *t = early ? from : to;
    snprintf(v.why, sizeof v.why,
             early ? "certificate is not valid before %04d-%02d-%02d; is the clock right?"
                   : "certificate expired on %04d-%02d-%02d; or is the clock wrong?",
             t->year, t->mon, t->day);
    return v;
}

static bool valid_now(const mbedtls_x509_crt *crt, int64_t unix_now)
{
    return !is_early(crt, unix_now) && !is_late(crt, unix_now);
}

/* The library compares with the system's clock; where a better one is known its verdict on time is replaced by ours. */
static int judge_time(void *ctx, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    const int64_t *unix_now = ctx;
    (void)depth;
    if (*unix_now != 0) {
        *flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
        *flags |= is_early(crt, *unix_now) ? MBEDTLS_X509_BADCERT_FUTURE : 0;
        *flags |= is_late(crt, *unix_now) ? MBEDTLS_X509_BADCERT_EXPIRED : 0;
    }
    return 0;
}

static struct ml_tls_verdict name_verdict(const char *name)
{
    struct ml_tls_verdict v = {.reason = ML_CLOSE_TLS_NAME};
    snprintf(v.why, sizeof v.why, "certificate is not for %.100s", name);
    return v;
}

struct ml_tls_verdict ml_tls_verify_chain(mbedtls_x509_crt *chain, const struct ml_tls_roots *roots, const char *name,
                                          int64_t unix_now)
{
    struct ml_tls_verdict v = {.reason = ML_CLOSE_TLS_UNTRUSTED};
    mbedtls_x509_crt found;
    uint32_t flags = 0;
    mbedtls_x509_crt_init(&found);
    if (!find_roots(roots, chain, &found, v.why, sizeof v.why)) {
        mbedtls_x509_crt_free(&found);
        return v;
    }
    int ret = mbedtls_x509_crt_verify(chain, found.raw.p ? &found : NULL, NULL, NULL, &flags, judge_time, &unix_now);
    mbedtls_x509_crt_free(&found);
    uint32_t time_flags = MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE;
    if (ret != 0 && (flags & ~time_flags) != 0) {
        return refuse(ML_CLOSE_TLS_UNTRUSTED, flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED
                                                  ? "certificate is not signed by a trusted authority"
                                                  : "certificate chain uses a weak or wrong algorithm");
    }
    if (ret != 0 && flags == 0) {
        return refuse(ML_CLOSE_TLS_UNTRUSTED, "certificate chain cannot be verified");
    }
    if (flags != 0) {
        return valid_now(chain, unix_now)
                   ? refuse(ML_CLOSE_TLS_TIME, "a certificate of the chain is not valid now; is the clock right?")
                   : time_verdict(chain, unix_now);
    }
    if (mbedtls_x509_crt_check_extended_key_usage(chain, MBEDTLS_OID_SERVER_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH)) !=
        0) {
        return refuse(ML_CLOSE_TLS_UNTRUSTED, "certificate is not for servers");
    }
    if (name == NULL || !ml_tls_name_matches(chain, name)) {
        return name_verdict(name ? name : "an unnamed host");
    }
    v.ok = true;
    return v;
}

struct ml_tls_verdict ml_tls_verify_pin(mbedtls_x509_crt *chain, const uint8_t pin[32], const char *sni, int64_t unix_now)
{
    struct ml_tls_verdict v = {.reason = ML_CLOSE_TLS_PIN};
    bool seen = false;
    for (const mbedtls_x509_crt *c = chain; c != NULL; c = c->next) {
        uint8_t sum[32];
        if (ml_tls_is_meta_cert(c, NULL)) {
            continue;
        }
        if (seen) {
            return refuse(ML_CLOSE_TLS_PIN, "more than one certificate, although one is pinned");
        }
#if MBEDTLS_VERSION_MAJOR >= 3
        int ret = mbedtls_sha256(c->raw.p, c->raw.len, sum, 0);
#else
        int ret = mbedtls_sha256_ret(c->raw.p, c->raw.len, sum, 0);
#endif
        if (ret != 0 || memcmp(sum, pin, sizeof sum) != 0) {
            return refuse(ML_CLOSE_TLS_PIN, "certificate is not the pinned one");
        }
        if (sni != NULL && sni[0] && !ml_tls_name_matches(c, sni)) {
            return name_verdict(sni);
        }
        if (!valid_now(c, unix_now)) {
            return time_verdict(c, unix_now);
        }
        seen = true;
    }
    v.ok = seen;
    if (!seen) {
        snprintf(v.why, sizeof v.why, "the pinned certificate was not presented");
    }
    return v;
}
