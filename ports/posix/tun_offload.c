/*
 * Cutting and joining of TCP segments at the TUN device (see tun_offload.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "tun_offload.h"

#include "base/bytes.h"
#include "ip/ip_build.h"

#include <string.h>

enum { TCP_HEADER_LEN = 20, TCP_HEADER_MAX = 60, TCP_PSH = 0x08, TCP_CWR = 0x80, IP4_HEADER_MAX = 60, IP4_DF = 0x4000 };
/* Offsets in the headers. */
enum { IP4_LEN = 2, IP4_ID = 4, IP4_FRAGMENT = 6, IP4_SUM = 10, IP4_SRC = 12, IP6_LEN = 4, IP6_SRC = 8 };
enum { TCP_SEQ = 4, TCP_ACK = 8, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_WINDOW = 14, TCP_SUM = 16, TCP_URGENT = 18 };

/** Ones' complement sum as ml_ip_sum() has it, eight bytes at a time: every byte of a transfer passes here. */
static uint32_t sum_of(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t word[2];
        memcpy(word, p, sizeof word);
        sum += (uint64_t)word[0] + word[1];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    /* The sum of swapped halves is the swapped sum (RFC 1071, 2 B). */
    uint8_t folded[2];
    uint16_t native = (uint16_t)sum;
    memcpy(folded, &native, sizeof folded);
    return ml_ip_sum(ml_get_be16(folded), p, len);
}

/** Sum of the pseudo header of @p packet for a TCP part of @p len bytes. */
static uint32_t sum_pseudo(const uint8_t *packet, size_t len)
{
    bool v4 = packet[0] >> 4 == 4;
    uint32_t sum = v4 ? ml_ip_sum(0, packet + IP4_SRC, 8) : ml_ip_sum(0, packet + IP6_SRC, 32);
    return sum + ML_IPPROTO_TCP + (uint32_t)len;
}

static void finish_ip(uint8_t *packet, size_t ip_len, size_t len)
{
    if (packet[0] >> 4 == 4) {
        ml_put_be16(packet + IP4_LEN, (uint16_t)len);
        ml_put_be16(packet + IP4_SUM, 0);
        ml_put_be16(packet + IP4_SUM, ml_ip_sum_finish(ml_ip_sum(0, packet, ip_len)));
    } else {
        ml_put_be16(packet + IP6_LEN, (uint16_t)(len - ip_len));
    }
}

/* ---- Cutting ---- */

static size_t whole(const struct ml_tun_head *head, uint8_t *packet, size_t len, size_t mtu, ml_tun_packet_fn fn, void *ctx)
{
    if (len == 0 || len > mtu) {
        return 0;
    }
    if (head->flags & ML_TUN_NEEDS_CSUM) {
        size_t at = (size_t)head->csum_start + head->csum_offset;
        if (head->csum_start >= len || at + 2 > len) {
            return 0;
        }
        /* The field holds the pseudo header's sum and is summed with the rest. For UDP a sum of 0 would say "none". */
        uint16_t sum = ml_ip_sum_finish(sum_of(packet + head->csum_start, len - head->csum_start));
        ml_put_be16(packet + at, sum ? sum : 0xffff);
    }
    fn(ctx, packet, len);
    return 1;
}

size_t ml_tun_split(const struct ml_tun_head *head, uint8_t *packet, size_t len, size_t mtu, ml_tun_packet_fn fn, void *ctx)
{
    uint8_t headers[IP4_HEADER_MAX + TCP_HEADER_MAX];
    unsigned type = head->gso_type & ~(unsigned)ML_TUN_GSO_ECN;
    if (type == ML_TUN_GSO_NONE) {
        return whole(head, packet, len, mtu, fn, ctx);
    }
    size_t ip_len = head->csum_start;
    bool v4 = type == ML_TUN_GSO_TCPV4;
    if ((!v4 && type != ML_TUN_GSO_TCPV6) || ip_len < (v4 ? ML_IP4_HEADER_LEN : ML_IP6_HEADER_LEN) || ip_len > IP4_HEADER_MAX ||
        ip_len + TCP_HEADER_LEN > len || packet[0] >> 4 != (v4 ? 4 : 6) || head->gso_size == 0) {
        return 0;
    }
    size_t tcp_len = (size_t)(packet[ip_len + TCP_OFFSET] >> 4) * 4;
    size_t headers_len = ip_len + tcp_len;
    if (tcp_len < TCP_HEADER_LEN || headers_len >= len || headers_len + head->gso_size > mtu) {
        return 0;
    }
    memcpy(headers, packet, headers_len);
    uint32_t seq = ml_get_be32(headers + ip_len + TCP_SEQ);
    uint16_t id = v4 ? ml_get_be16(headers + IP4_ID) : 0;
    uint8_t flags = headers[ip_len + TCP_FLAGS];
    size_t count = 0;
    for (size_t at = headers_len; at < len; count++) {
        size_t left = len - at;
        size_t n = left < head->gso_size ? left : head->gso_size;
        /* The headers go over the end of the segment before, which is done with. */
        uint8_t *segment = packet + at - headers_len;
        uint8_t *tcp = segment + ip_len;
        memcpy(segment, headers, headers_len);
        if (v4) {
            ml_put_be16(segment + IP4_ID, (uint16_t)(id + count));
        }
        finish_ip(segment, ip_len, headers_len + n);
        ml_put_be32(tcp + TCP_SEQ, seq + (uint32_t)(at - headers_len));
        unsigned kept = flags;
        if (n < left) {
            kept &= ~(unsigned)(ML_TCP_FIN | TCP_PSH);
        }
        if (count > 0) {
            kept &= ~(unsigned)TCP_CWR;
        }
        tcp[TCP_FLAGS] = (uint8_t)kept;
        ml_put_be16(tcp + TCP_SUM, 0);
        ml_put_be16(tcp + TCP_SUM, ml_ip_sum_finish(sum_pseudo(segment, tcp_len + n) + sum_of(tcp, tcp_len + n)));
        at += n;
        fn(ctx, segment, headers_len + n);
    }
    return count;
}

/* ---- Joining ---- */

/** Length of the IP header of a whole TCP packet that may be joined with others; 0 for all else. */
static size_t joinable(const uint8_t *p, size_t len)
{
    size_t ip_len;
    if (len >= ML_IP4_HEADER_LEN + TCP_HEADER_LEN && p[0] == 0x45) {
        ip_len = ML_IP4_HEADER_LEN;
        /* Without "don't fragment" the identification means something, and would be another one afterwards. */
        if (p[9] != ML_IPPROTO_TCP || ml_get_be16(p + IP4_LEN) != len || ml_get_be16(p + IP4_FRAGMENT) != IP4_DF ||
            ml_ip_sum_finish(ml_ip_sum(0, p, ip_len)) != 0) {
            return 0;
        }
    } else if (len >= ML_IP6_HEADER_LEN + TCP_HEADER_LEN && p[0] >> 4 == 6) {
        ip_len = ML_IP6_HEADER_LEN;
        if (p[6] != ML_IPPROTO_TCP || (size_t)ml_get_be16(p + IP6_LEN) + ip_len != len) {
            return 0;
        }
    } else {
        return 0;
    }
    const uint8_t *tcp = p + ip_len;
    size_t tcp_len = (size_t)(tcp[TCP_OFFSET] >> 4) * 4;
    bool bulk = (tcp[TCP_FLAGS] & ~(unsigned)TCP_PSH) == ML_TCP_ACK && (tcp[TCP_OFFSET] & 0x0f) == 0;
    if (!bulk || tcp_len < TCP_HEADER_LEN || ip_len + tcp_len >= len) {
        return 0;
    }
    return ml_ip_sum_finish(sum_pseudo(p, len - ip_len) + sum_of(tcp, len - ip_len)) == 0 ? ip_len : 0;
}

static bool same(const uint8_t *a, const uint8_t *b, size_t from, size_t to)
{
    return memcmp(a + from, b + from, to - from) == 0;
}

/** The same connection and the same headers in all that does not have to differ. */
static bool same_headers(const uint8_t *a, const uint8_t *b, size_t ip_len, size_t tcp_len)
{
    const uint8_t *ta = a + ip_len;
    const uint8_t *tb = b + ip_len;
    bool ip = ip_len == ML_IP4_HEADER_LEN
                  ? same(a, b, 0, IP4_LEN) && same(a, b, IP4_FRAGMENT, IP4_SUM) && same(a, b, IP4_SRC, ip_len)
                  : same(a, b, 0, IP6_LEN) && same(a, b, IP6_LEN + 2, ip_len);
    return ip && same(ta, tb, 0, TCP_SEQ) && same(ta, tb, TCP_ACK, TCP_FLAGS) && same(ta, tb, TCP_WINDOW, TCP_SUM) &&
           same(ta, tb, TCP_URGENT, tcp_len);
}

bool ml_tun_run_add(struct ml_tun_run *run, const uint8_t *packet, size_t len)
{
    size_t ip_len = run->is_closed ? 0 : joinable(packet, len);
    if (ip_len == 0 || len > sizeof run->packet) {
        return false;
    }
    const uint8_t *tcp = packet + ip_len;
    size_t headers_len = ip_len + (size_t)(tcp[TCP_OFFSET] >> 4) * 4;
    size_t n = len - headers_len;
    if (run->len == 0) {
        run->head = (struct ml_tun_head){
            .gso_type = ip_len == ML_IP4_HEADER_LEN ? ML_TUN_GSO_TCPV4 : ML_TUN_GSO_TCPV6,
            .header_len = (uint16_t)headers_len,
            .gso_size = (uint16_t)n,
            .csum_start = (uint16_t)ip_len,
            .csum_offset = TCP_SUM,
        };
        memcpy(run->packet, packet, len);
        run->len = len;
        run->count = 1;
        run->next_seq = ml_get_be32(tcp + TCP_SEQ);
    } else {
        if (ip_len != run->head.csum_start || headers_len != run->head.header_len || n > run->head.gso_size ||
            run->len + n > sizeof run->packet || ml_get_be32(tcp + TCP_SEQ) != run->next_seq ||
            !same_headers(run->packet, packet, ip_len, headers_len - ip_len)) {
            return false;
        }
        memcpy(run->packet + run->len, packet + headers_len, n);
        run->packet[ip_len + TCP_FLAGS] |= tcp[TCP_FLAGS];
        run->len += n;
        run->count++;
    }
    run->next_seq += (uint32_t)n;
    run->is_closed = n < run->head.gso_size || (tcp[TCP_FLAGS] & TCP_PSH) != 0;
    return true;
}

void ml_tun_run_finish(struct ml_tun_run *run)
{
    run->is_closed = false;
    if (run->count < 2) {
        run->head = (struct ml_tun_head){0}; /* As it came. */
        return;
    }
    size_t ip_len = run->head.csum_start;
    run->head.flags = ML_TUN_NEEDS_CSUM;
    finish_ip(run->packet, ip_len, run->len);
    /* Folded, but not inverted: it goes on being summed. */
    uint16_t pseudo = (uint16_t)~ml_ip_sum_finish(sum_pseudo(run->packet, run->len - ip_len));
    ml_put_be16(run->packet + ip_len + TCP_SUM, pseudo);
}
