/*
 * Addresses and prefixes: classification, parsing and printing. See addr.h.
 *
 * The parsers take exactly what Go's net/netip takes (no leading zeros in IPv4, "::" stands for at least one group), since
 * that is what writes the texts we read; zones are refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

ml_ip ml_ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (ml_ip){.b = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}};
}

ml_ip ml_ip4_u32(uint32_t v)
{
    return ml_ip4((uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v);
}

ml_ip ml_ip_from4(const uint8_t b[4])
{
    return ml_ip4(b[0], b[1], b[2], b[3]);
}

ml_ip ml_ip_from16(const uint8_t b[16])
{
    ml_ip ip;
    memcpy(ip.b, b, 16);
    return ip;
}

bool ml_ip_is4(const ml_ip *ip)
{
    return memcmp(ip->b, mapped_prefix, sizeof mapped_prefix) == 0;
}

bool ml_ip_is_set(const ml_ip *ip)
{
    static const uint8_t none[16] = {0};
    return memcmp(ip->b, none, 16) != 0;
}

bool ml_ip_is6(const ml_ip *ip)
{
    return ml_ip_is_set(ip) && !ml_ip_is4(ip);
}

uint32_t ml_ip4_to_u32(const ml_ip *ip)
{
    return ml_ip_is4(ip) ? ml_get_be32(ip->b + 12) : 0;
}

bool ml_ip_equal(const ml_ip *a, const ml_ip *b)
{
    return memcmp(a->b, b->b, 16) == 0;
}

bool ml_addr_equal(const ml_addr *a, const ml_addr *b)
{
    return a->port == b->port && ml_ip_equal(&a->ip, &b->ip);
}

bool ml_addr_is_set(const ml_addr *a)
{
    return a->port != 0 && ml_ip_is_set(&a->ip);
}

/* The first `bits` bits of the 16 bytes agree. */
static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    if (memcmp(a, b, whole) != 0) {
        return false;
    }
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool in4(const ml_ip *ip, uint32_t net, unsigned bits)
{
    return ml_ip_is4(ip) && (ml_get_be32(ip->b + 12) ^ net) >> (32 - bits) == 0;
}

bool ml_ip_is_loopback(const ml_ip *ip)
{
    static const uint8_t one[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return in4(ip, 0x7f000000, 8) || memcmp(ip->b, one, 16) == 0;
}

bool ml_ip_is_link_local(const ml_ip *ip)
{
    return in4(ip, 0xa9fe0000, 16) || (ip->b[0] == 0xfe && (ip->b[1] & 0xc0) == 0x80);
}

bool ml_ip_is_private(const ml_ip *ip)
{
    return in4(ip, 0x0a000000, 8) || in4(ip, 0xac100000, 12) || in4(ip, 0xc0a80000, 16) || (ip->b[0] & 0xfe) == 0xfc;
}

bool ml_ip_is_multicast(const ml_ip *ip)
{
    return in4(ip, 0xe0000000, 4) || ip->b[0] == 0xff;
}

bool ml_ip_is_unspecified(const ml_ip *ip)
{
    return !ml_ip_is_set(ip) || in4(ip, 0, 32);
}

bool ml_ip_is_tailscale(const ml_ip *ip)
{
    static const uint8_t ula[6] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0};
    if (ml_ip_is4(ip)) {
        /* 100.115.92.0/23 is what ChromeOS uses for its own containers. */
        return in4(ip, 0x64400000, 10) && !in4(ip, 0x64735c00, 23);
    }
    return memcmp(ip->b, ula, sizeof ula) == 0;
}

/* Bits of the 16-byte form that a prefix fixes. */
static unsigned prefix_bits16(const ml_prefix *p)
{
    unsigned bits = p->bits + (ml_ip_is4(&p->ip) ? 96U : 0U);
    return bits > 128 ? 128 : bits;
}

bool ml_prefix_contains(const ml_prefix *p, const ml_ip *ip)
{
    if (!ml_ip_is_set(ip) || ml_ip_is4(&p->ip) != ml_ip_is4(ip)) {
        return false;
    }
    return bits_equal(p->ip.b, ip->b, prefix_bits16(p));
}

bool ml_prefix_equal(const ml_prefix *a, const ml_prefix *b)
{
    return a->bits == b->bits && ml_ip_equal(&a->ip, &b->ip);
}

bool ml_prefix_is_host(const ml_prefix *p)
{
    return ml_ip_is_set(&p->ip) && prefix_bits16(p) == 128;
}

bool ml_prefix_has_host_bits(const ml_prefix *p)
{
    unsigned bits = prefix_bits16(p);
    for (unsigned i = bits / 8; i < 16; i++) {
        unsigned fixed = i == bits / 8 ? bits % 8 : 0;
        if ((p->ip.b[i] & (0xffU >> fixed)) != 0) {
            return true;
        }
    }
    return false;
}

/* Four decimal groups of 0..255 without leading zeros. */
static bool parse4(const char *text, size_t len, uint8_t out[4])
{
    size_t pos = 0;
    for (int i = 0; i < 4; i++) {
        if (i > 0 && (pos >= len || text[pos++] != '.')) {
            return false;
        }
        size_t start = pos;
        unsigned v = 0;
        while (pos < len && text[pos] >= '0' && text[pos] <= '9' && pos - start < 3) {
            v = v * 10 + (unsigned)(text[pos++] - '0');
        }
        if (pos == start || v > 255 || (text[start] == '0' && pos - start > 1)) {
            return false;
        }
        out[i] = (uint8_t)v;
    }
    return pos == len;
}

static bool parse6(const char *text, size_t len, uint8_t out[16])
{
    size_t pos = 0;
    size_t n = 0;          /* bytes of `out` filled */
    size_t gap = SIZE_MAX; /* where "::" stands */
    memset(out, 0, 16);
    if (len >= 2 && text[0] == ':' && text[1] == ':') {
        gap = 0;
        pos = 2;
    }
    while (pos < len) {
        size_t start = pos;
        unsigned v = 0;
        int digit;
        while (pos < len && pos - start < 4 && (digit = ml_hex_digit(text[pos])) >= 0) {
            v = v << 4 | (unsigned)digit;
            pos++;
        }
        if (pos == start || n + 2 > 16) {
            return false;
        }
        if (pos < len && text[pos] == '.') {
            if (n + 4 > 16 || !parse4(text + start, len - start, out + n)) {
                return false;
            }
            n += 4;
            break;
        }
        ml_put_be16(out + n, (uint16_t)v);
        n += 2;
        if (pos == len) {
            break;
        }
        if (text[pos++] != ':' || pos == len) {
            return false;
        }
        if (text[pos] == ':') {
            if (gap != SIZE_MAX) {
                return false;
            }
            gap = n;
            pos++;
        }
    }
    if (gap == SIZE_MAX) {
        return n == 16;
    }
    if (n >= 16) {
        return false; /* "::" must stand for something */
    }
    memmove(out + 16 - (n - gap), out + gap, n - gap);
    memset(out + gap, 0, 16 - n);
    return true;
}

bool ml_ip_parse(const char *text, size_t len, ml_ip *out)
{
    uint8_t b[16];
    if (len <= 15 && parse4(text, len, b)) {
        *out = ml_ip_from4(b);
        return true;
    }
    if (len > 45 || !parse6(text, len, b)) {
        return false;
    }
    *out = ml_ip_from16(b);
    return true;
}

bool ml_addr_parse(const char *text, size_t len, ml_addr *out)
{
    size_t colon = len;
    while (colon > 0 && text[colon - 1] != ':') {
        colon--;
    }
    uint64_t port;
    if (colon == 0 || len - colon > 5 || !ml_dec_parse(text + colon, len - colon, &port) || port > 65535) {
        return false;
    }
    size_t host_len = colon - 1;
    bool bracketed = host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']';
    uint8_t b[16];
    if (bracketed) {
        if (host_len > 47 || !parse6(text + 1, host_len - 2, b)) {
            return false;
        }
        out->ip = ml_ip_from16(b);
    } else {
        if (!parse4(text, host_len, b)) {
            return false;
        }
        out->ip = ml_ip_from4(b);
    }
    out->port = (uint16_t)port;
    return true;
}

bool ml_prefix_parse(const char *text, size_t len, ml_prefix *out)
{
    size_t slash = 0;
    while (slash < len && text[slash] != '/') {
        slash++;
    }
    ml_ip ip;
    if (!ml_ip_parse(text, slash, &ip)) {
        return false;
    }
    uint64_t max = ml_ip_is4(&ip) ? 32 : 128;
    uint64_t bits = max;
    if (slash < len) {
        const char *digits = text + slash + 1;
        size_t n = len - slash - 1;
        if (n > 3 || !ml_dec_parse(digits, n, &bits) || bits > max || (n > 1 && digits[0] == '0')) {
            return false;
        }
    }
    out->ip = ip;
    out->bits = (uint8_t)bits;
    return true;
}

static void write4(struct ml_writer *w, const uint8_t b[4])
{
    for (int i = 0; i < 4; i++) {
        if (i > 0) {
            ml_write_u8(w, '.');
        }
        ml_write_dec(w, b[i]);
    }
}

static void write_group(struct ml_writer *w, unsigned v)
{
    static const char digits[] = "0123456789abcdef";
    for (int shift = 12; shift >= 0; shift -= 4) {
        if (shift == 0 || v >> shift != 0) {
            ml_write_u8(w, (uint8_t)digits[v >> shift & 15]);
        }
    }
}

/* RFC 5952: the longest run of at least two zero groups becomes "::", the first of equals. */
static void write6(struct ml_writer *w, const uint8_t b[16])
{
    int best = -1;
    int best_len = 1;
    for (int i = 0; i < 8; i++) {
        int n = 0;
        while (i + n < 8 && ml_get_be16(b + 2 * (i + n)) == 0) {
            n++;
        }
        if (n > best_len) {
            best = i;
            best_len = n;
        }
        i += n > 0 ? n - 1 : 0;
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            ml_write_str(w, "::");
            i += best_len - 1;
            continue;
        }
        if (i > 0 && i != best + best_len) {
            ml_write_u8(w, ':');
        }
        write_group(w, ml_get_be16(b + 2 * i));
    }
}

static void write_any(struct ml_writer *w, const ml_ip *ip)
{
    if (ml_ip_is4(ip)) {
        write4(w, ip->b + 12);
    } else {
        write6(w, ip->b);
    }
}

void ml_write_ip(struct ml_writer *w, const ml_ip *ip)
{
    if (ml_ip_is_set(ip)) {
        write_any(w, ip);
    }
}

void ml_write_addr(struct ml_writer *w, const ml_addr *a)
{
    if (!ml_ip_is_set(&a->ip)) {
        return;
    }
    bool is4 = ml_ip_is4(&a->ip);
    ml_write_str(w, is4 ? "" : "[");
    write_any(w, &a->ip);
    ml_write_str(w, is4 ? ":" : "]:");
    ml_write_dec(w, a->port);
}

void ml_write_prefix(struct ml_writer *w, const ml_prefix *p)
{
    write_any(w, &p->ip);
    ml_write_u8(w, '/');
    ml_write_dec(w, p->bits);
}
