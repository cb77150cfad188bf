/*
 * Builders of IP, UDP and ICMP packets, and in-place rewriting of addresses. See ip_build.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ip/ip_build.h"

enum { IP_TTL = 64, ICMP_HEADER_LEN = 8 };

uint32_t ml_ip_sum(uint32_t sum, const uint8_t *p, size_t len)
{
    for (; len >= 2; p += 2, len -= 2) {
        sum += ml_get_be16(p);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    if (len) {
        sum += (uint32_t)p[0] << 8;
    }
    return sum;
}

uint16_t ml_ip_sum_finish(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

uint32_t ml_ip_sum_pseudo(const ml_ip *src, const ml_ip *dst, uint8_t proto, size_t len)
{
    size_t at = ml_ip_is4(src) ? 12 : 0;
    uint32_t sum = ml_ip_sum(0, src->b + at, 16 - at);
    sum = ml_ip_sum(sum, dst->b + at, 16 - at);
    return sum + proto + (uint32_t)(len >> 16) + (uint32_t)(len & 0xffff);
}

size_t ml_ip_header_len(const ml_ip *ip)
{
    return ml_ip_is4(ip) ? ML_IP4_HEADER_LEN : ML_IP6_HEADER_LEN;
}

size_t ml_ip_write_header(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, uint8_t proto, size_t payload_len,
                          uint32_t id)
{
    size_t head = ml_ip_header_len(src);

    if (ml_ip_is4(src) != ml_ip_is4(dst) || cap < head || payload_len > 0xffff - head) {
        return 0;
    }
    memset(out, 0, head);
    if (head == ML_IP4_HEADER_LEN) {
        out[0] = 0x45;
        ml_put_be16(out + 2, (uint16_t)(head + payload_len));
        ml_put_be16(out + 4, (uint16_t)id);
        out[8] = IP_TTL;
        out[9] = proto;
        memcpy(out + 12, src->b + 12, 4);
        memcpy(out + 16, dst->b + 12, 4);
        ml_put_be16(out + 10, ml_ip_sum_finish(ml_ip_sum(0, out, head)));
    } else {
        ml_put_be32(out, 0x60000000u | (id & 0xfffff));
        ml_put_be16(out + 4, (uint16_t)payload_len);
        out[6] = proto;
        out[7] = IP_TTL;
        memcpy(out + 8, src->b, 16);
        memcpy(out + 24, dst->b, 16);
    }
    return head;
}

size_t ml_udp_build(uint8_t *out, size_t cap, const ml_addr *src, const ml_addr *dst, const uint8_t *data, size_t data_len,
                    uint32_t id)
{
    size_t head = ml_ip_header_len(&src->ip);
    size_t udp_len = ML_UDP_HEADER_LEN + data_len;

    if (cap < head + ML_UDP_HEADER_LEN || data_len > cap - head - ML_UDP_HEADER_LEN ||
        !ml_ip_write_header(out, cap, &src->ip, &dst->ip, ML_IPPROTO_UDP, udp_len, id)) {
        return 0;
    }
    uint8_t *udp = out + head;
    ml_put_be16(udp, src->port);
    ml_put_be16(udp + 2, dst->port);
    ml_put_be16(udp + 4, (uint16_t)udp_len);
    ml_put_be16(udp + 6, 0);
    if (data_len && data != udp + ML_UDP_HEADER_LEN) {
        memcpy(udp + ML_UDP_HEADER_LEN, data, data_len);
    }
    uint16_t sum = ml_ip_sum_finish(ml_ip_sum(ml_ip_sum_pseudo(&src->ip, &dst->ip, ML_IPPROTO_UDP, udp_len), udp, udp_len));
    ml_put_be16(udp + 6, sum ? sum : 0xffff); /* zero means "no checksum" */
    return head + udp_len;
}

/* Unfragmented: an IPv4 packet without offset and more-fragments, an IPv6 packet without fragment header. */
static bool is_fragmented(const struct ml_ip_view *v)
{
    return v->version == 4 ? (ml_get_be16(v->p + 6) & 0x3fff) != 0 : v->p[6] == ML_IPPROTO_IP6_FRAGMENT;
}

bool ml_udp_parse(const struct ml_ip_view *v, ml_addr *src, ml_addr *dst, const uint8_t **data, size_t *data_len)
{
    if (v->proto != ML_IPPROTO_UDP || is_fragmented(v) || v->ip_len < v->transport_at + ML_UDP_HEADER_LEN) {
        return false;
    }
    const uint8_t *udp = v->p + v->transport_at;
    size_t udp_len = ml_get_be16(udp + 4);
    if (udp_len < ML_UDP_HEADER_LEN || udp_len > v->ip_len - v->transport_at) {
        return false;
    }
    bool has_sum = ml_get_be16(udp + 6) != 0;
    if (!has_sum && v->version == 6) {
        return false;
    }
    if (has_sum &&
        ml_ip_sum_finish(ml_ip_sum(ml_ip_sum_pseudo(&v->src, &v->dst, ML_IPPROTO_UDP, udp_len), udp, udp_len)) != 0) {
        return false;
    }
    *src = (ml_addr){.ip = v->src, .port = v->src_port};
    *dst = (ml_addr){.ip = v->dst, .port = v->dst_port};
    *data = udp + ML_UDP_HEADER_LEN;
    *data_len = udp_len - ML_UDP_HEADER_LEN;
    return true;
}

/* Sum to start an ICMP checksum from: ICMPv6 covers the pseudo header, ICMP does not. */
static uint32_t icmp_sum_start(const ml_ip *src, const ml_ip *dst, size_t len)
{
    return ml_ip_is4(src) ? 0 : ml_ip_sum_pseudo(src, dst, ML_IPPROTO_ICMPV6, len);
}

/* An ICMP message of 8 bytes header and `data`. */
static size_t build_icmp(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, uint8_t type, uint8_t code,
                         uint32_t rest, const uint8_t *data, size_t data_len, uint32_t id)
{
    size_t head = ml_ip_header_len(src);
    size_t icmp_len = ICMP_HEADER_LEN + data_len;
    uint8_t proto = ml_ip_is4(src) ? ML_IPPROTO_ICMP : ML_IPPROTO_ICMPV6;

    if (cap < head + ICMP_HEADER_LEN || data_len > cap - head - ICMP_HEADER_LEN ||
        !ml_ip_write_header(out, cap, src, dst, proto, icmp_len, id)) {
        return 0;
    }
    uint8_t *icmp = out + head;
    icmp[0] = type;
    icmp[1] = code;
    ml_put_be16(icmp + 2, 0);
    ml_put_be32(icmp + 4, rest);
    if (data_len) {
        memcpy(icmp + ICMP_HEADER_LEN, data, data_len);
    }
    ml_put_be16(icmp + 2, ml_ip_sum_finish(ml_ip_sum(icmp_sum_start(src, dst, icmp_len), icmp, icmp_len)));
    return head + icmp_len;
}

size_t ml_icmp_build_echo(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, bool is_reply, uint16_t ident,
                          uint16_t seq, const uint8_t *data, size_t data_len)
{
    uint8_t type = 0;
    if (ml_ip_is4(src)) {
        type = is_reply ? ML_ICMP4_ECHO_REPLY : ML_ICMP4_ECHO_REQUEST;
    } else {
        type = is_reply ? ML_ICMP6_ECHO_REPLY : ML_ICMP6_ECHO_REQUEST;
    }
    return build_icmp(out, cap, src, dst, type, 0, (uint32_t)ident << 16 | seq, data, data_len, 0);
}

bool ml_icmp_parse_echo(const struct ml_ip_view *v, bool *is_reply, uint16_t *ident, uint16_t *seq, const uint8_t **data,
                        size_t *data_len)
{
    bool request = ml_ip_view_is_echo_request(v);

    if ((!request && !ml_ip_view_is_echo_reply(v)) || is_fragmented(v) || v->ip_len < v->transport_at + ICMP_HEADER_LEN) {
        return false;
    }
    const uint8_t *icmp = v->p + v->transport_at;
    size_t len = v->ip_len - v->transport_at;
    if (ml_ip_sum_finish(ml_ip_sum(icmp_sum_start(&v->src, &v->dst, len), icmp, len)) != 0) {
        return false;
    }
    *is_reply = !request;
    *ident = ml_get_be16(icmp + 4);
    *seq = ml_get_be16(icmp + 6);
    *data = icmp + ICMP_HEADER_LEN;
    *data_len = len - ICMP_HEADER_LEN;
    return true;
}

size_t ml_icmp_build_echo_reply(uint8_t *out, size_t cap, const struct ml_ip_view *v)
{
    bool is_reply = false;
    uint16_t ident = 0;
    uint16_t seq = 0;
    const uint8_t *data = NULL;
    size_t data_len = 0;

    if (!ml_icmp_parse_echo(v, &is_reply, &ident, &seq, &data, &data_len) || is_reply) {
        return 0;
    }
    return ml_icmp_build_echo(out, cap, &v->dst, &v->src, true, ident, seq, data, data_len);
}

size_t ml_icmp_build_unreachable(uint8_t *out, size_t cap, const ml_ip *from, const struct ml_ip_view *v)
{
    /* RFC 792: header and 8 bytes. RFC 4443 3.1: as much as the minimum MTU of 1280 leaves. */
    bool is4 = ml_ip_is4(from);
    size_t quote = is4 ? v->transport_at + 8 : 1280 - ML_IP6_HEADER_LEN - ICMP_HEADER_LEN;

    if (!ml_ip_is_set(&v->src)) {
        return 0;
    }
    if (quote > v->len) {
        quote = v->len;
    }
    return is4 ? build_icmp(out, cap, from, &v->src, ML_ICMP4_UNREACHABLE, 1, 0, v->p, quote, 0)
               : build_icmp(out, cap, from, &v->src, ML_ICMP6_UNREACHABLE, 3, 0, v->p, quote, 0);
}

/* Corrects the checksum at `field` for `n` changed bytes (RFC 1624, eqn. 3). */
static void fix_sum(uint8_t *field, const uint8_t *was, const uint8_t *is, size_t n)
{
    uint32_t sum = (uint16_t)~ml_get_be16(field);
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint16_t)~ml_get_be16(was + i);
        sum += ml_get_be16(is + i);
    }
    ml_put_be16(field, ml_ip_sum_finish(sum));
}

/* The checksum field of the transport header that covers the addresses, or NULL. */
static uint8_t *transport_sum(uint8_t *p, const struct ml_ip_view *v, size_t len)
{
    size_t at = v->transport_at;

    switch (v->proto) {
    case ML_IPPROTO_TCP:
        return len >= at + 18 ? p + at + 16 : NULL;
    case ML_IPPROTO_UDP:
        /* IPv4 without checksum stays without. */
        return len >= at + ML_UDP_HEADER_LEN && (v->version == 6 || ml_get_be16(p + at + 6)) ? p + at + 6 : NULL;
    case ML_IPPROTO_ICMPV6:
        return v->version == 6 && len >= at + 4 ? p + at + 2 : NULL;
    default:
        return NULL;
    }
}

bool ml_ip_rewrite(uint8_t *p, size_t len, bool dst, const ml_ip *to)
{
    struct ml_ip_view v;

    ml_ip_view_parse(&v, p, len);
    if (!ml_ip_is_set(&v.src) || !ml_ip_is_set(to) || ml_ip_is4(to) != (v.version == 4)) {
        return false;
    }
    if (v.transport_at < ml_ip_header_len(&v.src)) {
        return false; /* a header length under 20 would put the transport checksum inside the addresses */
    }
    size_t n = v.version == 4 ? 4 : 16;
    uint8_t *field = v.version == 4 ? p + (dst ? 16 : 12) : p + (dst ? 24 : 8);
    const uint8_t *now = to->b + (16 - n);
    if (v.version == 4) {
        fix_sum(p + 10, field, now, n);
    }
    uint8_t *sum = transport_sum(p, &v, len);
    if (sum) {
        fix_sum(sum, field, now, n);
        if (v.proto == ML_IPPROTO_UDP && ml_get_be16(sum) == 0) {
            ml_put_be16(sum, 0xffff);
        }
    }
    memcpy(field, now, n);
    return true;
}

static const uint8_t via_net[8] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0x0b, 0x1a};

bool ml_ip_map_via(uint32_t site, const ml_prefix *v4, ml_prefix *out)
{
    if (!ml_ip_is4(&v4->ip) || v4->bits > 32) {
        return false;
    }
    ml_zero(out);
    memcpy(out->ip.b, via_net, sizeof via_net);
    ml_put_be32(out->ip.b + 8, site);
    memcpy(out->ip.b + 12, v4->ip.b + 12, 4);
    out->bits = (uint8_t)(96 + v4->bits);
    return true;
}

ml_ip ml_ip_unmap_via(const ml_ip *ip)
{
    return memcmp(ip->b, via_net, sizeof via_net) == 0 ? ml_ip_from4(ip->b + 12) : *ip;
}
