/*
 * Classification of IP packets, step by step as net/packet's Parsed.Decode (control.md 10.3). The order of the tests is part
 * of the behaviour: what is refused as "unknown" here is dropped by the filter in both directions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ip/ip_view.h"

/*
 * A later fragment that starts within the first 80 bytes could overwrite transport header fields that were already judged
 * (RFC 1858): the longest IPv4 header and a TCP header, in units of 8 bytes. Applied to IPv6 too.
 */
#define MIN_FRAGMENT_UNITS 10

enum { TCP_HEADER_LEN = 20, SCTP_HEADER_LEN = 12, ICMP_MIN_LEN = 4, IGMP_MIN_LEN = 8, TSMP_MIN_LEN = 7, IP6_FRAGMENT_LEN = 8 };

static void read_ports(struct ml_ip_view *v)
{
    const uint8_t *sub = v->p + v->transport_at;
    v->src_port = ml_get_be16(sub);
    v->dst_port = ml_get_be16(sub + 2);
}

/* Transport headers that both families read alike. `sub_len` counts what is really there, not what the header says. */
static void read_transport(struct ml_ip_view *v, size_t sub_len)
{
    const uint8_t *sub = v->p + v->transport_at;

    switch (v->proto) {
    case ML_IPPROTO_TCP:
        if (sub_len < TCP_HEADER_LEN) {
            break;
        }
        read_ports(v);
        v->tcp_flags = sub[13];
        v->payload_at = v->transport_at + ((size_t)(sub[12] & 0xf0) >> 2);
        return;
    case ML_IPPROTO_UDP:
        if (sub_len < ML_UDP_HEADER_LEN) {
            break;
        }
        read_ports(v);
        v->payload_at = v->transport_at + ML_UDP_HEADER_LEN;
        return;
    case ML_IPPROTO_SCTP:
        if (sub_len < SCTP_HEADER_LEN) {
            break;
        }
        read_ports(v);
        return;
    case ML_IPPROTO_TSMP:
        if (sub_len < TSMP_MIN_LEN) {
            break;
        }
        v->payload_at = v->transport_at;
        return;
    case ML_IPPROTO_FRAGMENT:
        break; /* our own mark; nobody may claim it on the wire */
    default:
        return;
    }
    v->proto = ML_IPPROTO_UNKNOWN;
}

static void parse4(struct ml_ip_view *v)
{
    const uint8_t *p = v->p;

    if (v->len < ML_IP4_HEADER_LEN) {
        return;
    }
    v->version = 4;
    v->ip_len = ml_get_be16(p + 2);
    v->transport_at = (size_t)(p[0] & 0x0f) << 2;
    if (v->len < v->ip_len) {
        return;
    }
    v->src = ml_ip_from4(p + 12);
    v->dst = ml_ip_from4(p + 16);
    if (v->transport_at > v->ip_len) {
        return;
    }
    size_t sub_len = v->len - v->transport_at;
    uint16_t frag = ml_get_be16(p + 6);

    v->proto = p[9];
    if ((frag & 0x1fff) != 0) {
        v->proto = (frag & 0x1fff) < MIN_FRAGMENT_UNITS ? ML_IPPROTO_UNKNOWN : ML_IPPROTO_FRAGMENT;
        return;
    }
    if (v->proto == ML_IPPROTO_ICMP) {
        v->payload_at = v->transport_at + ICMP_MIN_LEN;
        v->proto = sub_len < ICMP_MIN_LEN ? ML_IPPROTO_UNKNOWN : v->proto;
        return;
    }
    bool is_bad = (v->proto == ML_IPPROTO_IGMP && sub_len < IGMP_MIN_LEN) || (v->proto == ML_IPPROTO_TSMP && (frag & 0x2000));
    if (is_bad) {
        v->proto = ML_IPPROTO_UNKNOWN;
        return;
    }
    read_transport(v, sub_len);
}

/* Steps over a fragment header that directly follows the base header. False when there is no transport header to read. */
static bool skip_fragment_header(struct ml_ip_view *v)
{
    const uint8_t *frag = v->p + ML_IP6_HEADER_LEN;

    if (v->len < ML_IP6_HEADER_LEN + IP6_FRAGMENT_LEN) {
        v->proto = ML_IPPROTO_UNKNOWN;
        return false;
    }
    v->transport_at += IP6_FRAGMENT_LEN;
    uint16_t offset = ml_get_be16(frag + 2) >> 3;
    if (offset == 0) {
        v->proto = frag[0];
        return true;
    }
    v->proto = offset < MIN_FRAGMENT_UNITS ? ML_IPPROTO_UNKNOWN : ML_IPPROTO_FRAGMENT;
    return false;
}

static void parse6(struct ml_ip_view *v)
{
    const uint8_t *p = v->p;

    if (v->len < ML_IP6_HEADER_LEN) {
        return;
    }
    v->version = 6;
    v->ip_len = (size_t)ml_get_be16(p + 4) + ML_IP6_HEADER_LEN;
    v->transport_at = ML_IP6_HEADER_LEN;
    if (v->len < v->ip_len) {
        return;
    }
    v->src = ml_ip_from16(p + 8);
    v->dst = ml_ip_from16(p + 24);
    if (ml_ip_is4(&v->src) || ml_ip_is4(&v->dst)) {
        return; /* would read as IPv4 addresses from here on */
    }
    v->proto = p[6];
    if (v->proto == ML_IPPROTO_IP6_FRAGMENT && !skip_fragment_header(v)) {
        return;
    }
    size_t sub_len = v->len - v->transport_at;
    if (v->proto == ML_IPPROTO_ICMPV6) {
        v->payload_at = v->transport_at + ICMP_MIN_LEN;
        v->proto = sub_len < ICMP_MIN_LEN ? ML_IPPROTO_UNKNOWN : v->proto;
        return;
    }
    read_transport(v, sub_len);
}

void ml_ip_view_parse(struct ml_ip_view *v, const uint8_t *p, size_t len)
{
    ml_zero(v);
    v->p = p;
    v->len = len;
    if (len == 0) {
        return;
    }
    if (p[0] >> 4 == 4) {
        parse4(v);
    } else if (p[0] >> 4 == 6) {
        parse6(v);
    }
}

const uint8_t *ml_ip_view_payload(const struct ml_ip_view *v, size_t *len)
{
    if (v->proto == ML_IPPROTO_UNKNOWN || v->payload_at == 0 || v->payload_at >= v->ip_len) {
        *len = 0;
        return NULL;
    }
    *len = v->ip_len - v->payload_at;
    return v->p + v->payload_at;
}

bool ml_ip_view_is_tcp_syn(const struct ml_ip_view *v)
{
    return v->proto == ML_IPPROTO_TCP && (v->tcp_flags & (ML_TCP_SYN | ML_TCP_ACK)) == ML_TCP_SYN;
}

/* The ICMP of the packet's own family with its whole header of 8 bytes there; type and code come next. */
static const uint8_t *icmp_header(const struct ml_ip_view *v)
{
    if (v->proto != (v->version == 4 ? ML_IPPROTO_ICMP : ML_IPPROTO_ICMPV6) || v->len < v->transport_at + 8) {
        return NULL;
    }
    return v->p + v->transport_at;
}

bool ml_ip_view_is_icmp_error(const struct ml_ip_view *v)
{
    const uint8_t *icmp = icmp_header(v);
    if (!icmp) {
        return false;
    }
    if (v->version == 4) {
        return icmp[0] == ML_ICMP4_UNREACHABLE || icmp[0] == ML_ICMP4_TIME_EXCEEDED || icmp[0] == ML_ICMP4_PARAM_PROBLEM;
    }
    return icmp[0] >= ML_ICMP6_UNREACHABLE && icmp[0] <= ML_ICMP6_PARAM_PROBLEM;
}

bool ml_ip_view_is_echo_request(const struct ml_ip_view *v)
{
    const uint8_t *icmp = icmp_header(v);
    return icmp && icmp[0] == (v->version == 4 ? ML_ICMP4_ECHO_REQUEST : ML_ICMP6_ECHO_REQUEST) && icmp[1] == 0;
}

bool ml_ip_view_is_echo_reply(const struct ml_ip_view *v)
{
    const uint8_t *icmp = icmp_header(v);
    return icmp && icmp[0] == (v->version == 4 ? ML_ICMP4_ECHO_REPLY : ML_ICMP6_ECHO_REPLY) && icmp[1] == 0;
}

bool ml_ip_is_service(const ml_ip *ip)
{
    static const uint8_t service6[16] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53};
    return ml_ip4_to_u32(ip) == 0x64646464u || memcmp(ip->b, service6, 16) == 0;
}

size_t ml_ip_packet_len(const uint8_t *p, size_t len)
{
    size_t ip_len = 0;

    if (len >= ML_IP4_HEADER_LEN && p[0] >> 4 == 4) {
        ip_len = ml_get_be16(p + 2);
        if (ip_len < ML_IP4_HEADER_LEN) {
            return 0;
        }
    } else if (len >= ML_IP6_HEADER_LEN && p[0] >> 4 == 6) {
        ip_len = (size_t)ml_get_be16(p + 4) + ML_IP6_HEADER_LEN;
    }
    return ip_len <= len ? ip_len : 0;
}
