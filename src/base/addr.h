/*
 * Addresses and prefixes: build, compare, classify, parse, print. IPv4 is held in its mapped form (types.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BASE_ADDR_H
#define ML_BASE_ADDR_H

#include "base/bytes.h"
#include "microlink/types.h"

/** Longest text of an address with port: "[8 groups]:65535" and its terminating zero. */
#define ML_ADDR_TEXT_CAP 48

ml_ip ml_ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
ml_ip ml_ip4_u32(uint32_t host_order);
ml_ip ml_ip_from4(const uint8_t b[4]); /**< 4 bytes in network order. */
ml_ip ml_ip_from16(const uint8_t b[16]);

bool ml_ip_is4(const ml_ip *ip); /**< In ::ffff:0:0/96. */
bool ml_ip_is6(const ml_ip *ip); /**< Set and not IPv4. */
bool ml_ip_is_set(const ml_ip *ip);
uint32_t ml_ip4_to_u32(const ml_ip *ip); /**< Host order; 0 when @p ip is not IPv4. */
bool ml_ip_equal(const ml_ip *a, const ml_ip *b);
bool ml_addr_equal(const ml_addr *a, const ml_addr *b);
bool ml_addr_is_set(const ml_addr *a); /**< Has an address and a non-zero port. */

bool ml_ip_is_loopback(const ml_ip *ip);
bool ml_ip_is_link_local(const ml_ip *ip); /**< 169.254.0.0/16, fe80::/10. */
bool ml_ip_is_private(const ml_ip *ip);    /**< RFC 1918 and fc00::/7, as Go's netip.Addr.IsPrivate. */
bool ml_ip_is_multicast(const ml_ip *ip);
bool ml_ip_is_unspecified(const ml_ip *ip);
/** 100.64.0.0/10 without 100.115.92.0/23, and fd7a:115c:a1e0::/48 (net/tsaddr). */
bool ml_ip_is_tailscale(const ml_ip *ip);

/** True when the families agree and @p ip lies inside. An unset prefix (zero address of bits 0) contains nothing IPv4. */
bool ml_prefix_contains(const ml_prefix *p, const ml_ip *ip);
bool ml_prefix_equal(const ml_prefix *a, const ml_prefix *b);
bool ml_prefix_is_host(const ml_prefix *p); /**< /32 or /128. */
bool ml_prefix_has_host_bits(const ml_prefix *p);

/** Parses "192.0.2.1" or an RFC 4291 text (also "::ffff:1.2.3.4", yielding IPv4); no zone. */
bool ml_ip_parse(const char *text, size_t len, ml_ip *out);
/** Parses "192.0.2.1:41641" or "[2001:db8::1]:41641". */
bool ml_addr_parse(const char *text, size_t len, ml_addr *out);
/** Parses "100.64.0.1/32" or "::/0"; without a slash the host prefix. Host bits are kept (see ml_prefix_has_host_bits). */
bool ml_prefix_parse(const char *text, size_t len, ml_prefix *out);

void ml_write_ip(struct ml_writer *w, const ml_ip *ip); /**< RFC 5952; unset prints as nothing. */
void ml_write_addr(struct ml_writer *w, const ml_addr *a);
void ml_write_prefix(struct ml_writer *w, const ml_prefix *p);

#endif
