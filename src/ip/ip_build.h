/*
 * Building and rewriting IP packets: checksums, headers, UDP datagrams, ICMP echo and unreachable, masquerade, 4via6.
 *
 * Every builder writes a whole packet into caller's memory and returns its length, or 0 when it does not fit or the
 * addresses are not of one family. Headers are as net/packet writes them: no options, TTL 64, no fragmentation bits.
 * Source: RFC 791, 768, 792, 1071, 1624, 4443, 8200; dataplane.md 8, 9.2, 9.3, 14. Keeps no state.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_IP_BUILD_H
#define ML_IP_BUILD_H

#include "ip/ip_view.h"

/** Adds @p len bytes to a running ones' complement sum (start with 0). Only the last piece may have an odd length. */
uint32_t ml_ip_sum(uint32_t sum, const uint8_t *p, size_t len);
/** The checksum field for a finished sum: folded and inverted. */
uint16_t ml_ip_sum_finish(uint32_t sum);
/** Sum of the pseudo header (RFC 768, RFC 8200 8.1) for a transport part of @p len bytes. */
uint32_t ml_ip_sum_pseudo(const ml_ip *src, const ml_ip *dst, uint8_t proto, size_t len);

/** 20 or 40, by the family of @p ip. */
size_t ml_ip_header_len(const ml_ip *ip);
/**
 * Writes the IP header for a packet of @p payload_len bytes behind it.
 * @param id  IPv4: identification; IPv6: flow label (20 bits).
 * @return Its length, or 0: families differ, @p cap too small, or the packet longer than 65535 bytes.
 */
size_t ml_ip_write_header(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, uint8_t proto, size_t payload_len,
                          uint32_t id);

/** A whole UDP datagram. @p data may not overlap @p out, except that it may already lie where it will end up. */
size_t ml_udp_build(uint8_t *out, size_t cap, const ml_addr *src, const ml_addr *dst, const uint8_t *data, size_t data_len,
                    uint32_t id);
/**
 * The addresses and data of an unfragmented UDP packet whose lengths agree and whose checksum is right (IPv4: or absent).
 * @param data  Points into the packet.
 */
bool ml_udp_parse(const struct ml_ip_view *v, ml_addr *src, ml_addr *dst, const uint8_t **data, size_t *data_len);

/** ICMP or ICMPv6 echo request or reply, by the family of @p src. */
size_t ml_icmp_build_echo(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, bool is_reply, uint16_t ident,
                          uint16_t seq, const uint8_t *data, size_t data_len);
/** The reply to an echo request: addresses swapped, same identifier, sequence and data. 0 when @p v is no whole request. */
size_t ml_icmp_build_echo_reply(uint8_t *out, size_t cap, const struct ml_ip_view *v);
/** Identifier, sequence and data of an echo request or reply with a right checksum; false if @p v is neither. */
bool ml_icmp_parse_echo(const struct ml_ip_view *v, bool *is_reply, uint16_t *ident, uint16_t *seq, const uint8_t **data,
                        size_t *data_len);
/** "Host unreachable" / "address unreachable" from @p from to the sender of @p v, quoting its start. 0 if families differ. */
size_t ml_icmp_build_unreachable(uint8_t *out, size_t cap, const ml_ip *from, const struct ml_ip_view *v);

/**
 * Replaces the source (or with @p dst the destination) address in place and corrects the IPv4, TCP, UDP and ICMPv6
 * checksums by difference, so a packet that was damaged stays visibly damaged (masquerade, dataplane.md 9.2 and 9.3).
 * False, and nothing changed, when the packet is not whole or of the other family.
 */
bool ml_ip_rewrite(uint8_t *p, size_t len, bool dst, const ml_ip *to);

/** The IPv6 prefix under which IPv4 @p v4 of site @p site is reached (4via6). False when @p v4 is not IPv4. */
bool ml_ip_map_via(uint32_t site, const ml_prefix *v4, ml_prefix *out);
/** The IPv4 address inside a 4via6 address, else @p ip itself. */
ml_ip ml_ip_unmap_via(const ml_ip *ip);

#endif
