/*
 * Read-only view of one IP packet: family, addresses, transport protocol and ports, as the packet filter sees them.
 *
 * Classifies exactly as net/packet's Parsed.Decode does (control.md 10.3), because verdicts must agree with official nodes.
 * One difference, on the safe side: an IPv6 packet that carries an IPv4-mapped address is "unknown" here, since our
 * addresses hold IPv4 in that form and such a packet could pass itself off as IPv4. Owns nothing, keeps no state, verifies
 * no checksum.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_IP_VIEW_H
#define ML_IP_VIEW_H

#include "base/addr.h"

/* IP protocol numbers, and the two classes that are none. */
enum {
    ML_IPPROTO_UNKNOWN = 0, /**< Unparsable, or not to be trusted: dropped. Also what protocol 0 on the wire becomes. */
    ML_IPPROTO_ICMP = 1,
    ML_IPPROTO_IGMP = 2,
    ML_IPPROTO_TCP = 6,
    ML_IPPROTO_UDP = 17,
    ML_IPPROTO_IP6_FRAGMENT = 44,
    ML_IPPROTO_ICMPV6 = 58,
    ML_IPPROTO_TSMP = 99,
    ML_IPPROTO_SCTP = 132,
    ML_IPPROTO_FRAGMENT = 255 /**< A later fragment: no transport header to read. */
};

enum { ML_IP4_HEADER_LEN = 20, ML_IP6_HEADER_LEN = 40, ML_UDP_HEADER_LEN = 8 };

enum { ML_TCP_FIN = 0x01, ML_TCP_SYN = 0x02, ML_TCP_RST = 0x04, ML_TCP_ACK = 0x10 };

enum {
    ML_ICMP4_ECHO_REPLY = 0,
    ML_ICMP4_UNREACHABLE = 3,
    ML_ICMP4_ECHO_REQUEST = 8,
    ML_ICMP4_TIME_EXCEEDED = 11,
    ML_ICMP4_PARAM_PROBLEM = 0x12, /**< As net/packet has it. RFC 792 says 12; verdicts must agree, so 0x12 it is. */
    ML_ICMP6_UNREACHABLE = 1,
    ML_ICMP6_PACKET_TOO_BIG = 2,
    ML_ICMP6_TIME_EXCEEDED = 3,
    ML_ICMP6_PARAM_PROBLEM = 4,
    ML_ICMP6_ECHO_REQUEST = 128,
    ML_ICMP6_ECHO_REPLY = 129
};

struct ml_ip_view {
    const uint8_t *p;    /**< The packet; must outlive the view. */
    size_t len;          /**< Bytes at `p`; may exceed `ip_len` by padding. */
    size_t ip_len;       /**< Length that the IP header states; <= len unless `proto` is unknown. */
    size_t transport_at; /**< Offset of the transport header, behind an IPv6 fragment header if there is one. */
    size_t payload_at;   /**< Offset behind the transport header; for TSMP the same as `transport_at`; 0 if not known. */
    uint8_t version;     /**< 4, 6, or 0 when this is no IP packet. */
    uint8_t proto;       /**< ML_IPPROTO_*, or another protocol number as it is on the wire. */
    uint8_t tcp_flags;   /**< Valid for TCP. */
    uint16_t src_port;   /**< Valid for TCP, UDP and SCTP, else 0. */
    uint16_t dst_port;
    ml_ip src, dst; /**< Unset when the header was not whole. */
};

/** Fills @p v from the @p len bytes at @p p. Never fails: what cannot be read is `proto` ML_IPPROTO_UNKNOWN. */
void ml_ip_view_parse(struct ml_ip_view *v, const uint8_t *p, size_t len);

/** The bytes behind the transport header, up to the IP length; NULL and 0 when there are none or it is not known where. */
const uint8_t *ml_ip_view_payload(const struct ml_ip_view *v, size_t *len);
/** TCP that opens a connection: SYN set, ACK clear. */
bool ml_ip_view_is_tcp_syn(const struct ml_ip_view *v);
bool ml_ip_view_is_icmp_error(const struct ml_ip_view *v);
bool ml_ip_view_is_echo_request(const struct ml_ip_view *v);
bool ml_ip_view_is_echo_reply(const struct ml_ip_view *v);
/** 100.100.100.100 or fd7a:115c:a1e0::53: served locally or not at all, never sent to a peer (control.md C70). */
bool ml_ip_is_service(const ml_ip *ip);
/**
 * Length of the IP packet at the start of @p len bytes, to cut WireGuard's padding; 0 when there is no whole packet there.
 */
size_t ml_ip_packet_len(const uint8_t *p, size_t len);

#endif
