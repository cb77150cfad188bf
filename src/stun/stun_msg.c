/*
 * STUN codec: the one request shape of the official client and the parser of its answer. dataplane.md 5.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stun/stun_msg.h"

#include "base/addr.h"
#include "base/bytes.h"

enum {
    ATTR_MAPPED_ADDRESS = 0x0001,
    ATTR_XOR_MAPPED_ADDRESS = 0x0020,
    ATTR_XOR_MAPPED_ADDRESS_ALT = 0x8020, /* the number some servers used before the RFC */
    ATTR_SOFTWARE = 0x8022,
    ATTR_FINGERPRINT = 0x8028
};

static const uint8_t software[8] = {'t', 'a', 'i', 'l', 'n', 'o', 'd', 'e'};
static const uint8_t magic_cookie[4] = {0x21, 0x12, 0xa4, 0x42};

/* CRC-32/IEEE, bit by bit: 32 bytes every twenty seconds do not deserve a 1 KB table. */
static uint32_t crc32_ieee(const uint8_t *p, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (UINT32_C(0xedb88320) & (0U - (crc & 1U)));
        }
    }
    return ~crc;
}

void ml_stun_write_request(uint8_t out[ML_STUN_REQUEST_LEN], const uint8_t tx[ML_STUN_TX_LEN])
{
    ml_put_be16(out, 0x0001); /* binding request */
    ml_put_be16(out + 2, ML_STUN_REQUEST_LEN - ML_STUN_HEADER_LEN);
    memcpy(out + 4, magic_cookie, 4);
    memcpy(out + 8, tx, ML_STUN_TX_LEN);
    ml_put_be16(out + 20, ATTR_SOFTWARE);
    ml_put_be16(out + 22, 8);
    memcpy(out + 24, software, sizeof software);
    ml_put_be16(out + 32, ATTR_FINGERPRINT);
    ml_put_be16(out + 34, 4);
    ml_put_be32(out + 36, crc32_ieee(out, 32) ^ UINT32_C(0x5354554e));
}

bool ml_stun_is(const uint8_t *buf, size_t len)
{
    return len >= ML_STUN_HEADER_LEN && (buf[0] & 0xc0) == 0 && memcmp(buf + 4, magic_cookie, 4) == 0;
}

bool ml_stun_is_binding(const uint8_t *buf, size_t len)
{
    return ml_stun_is(buf, len) && buf[1] == 0x01;
}

/* Value of an address attribute; `mask` is XORed over the address (zeros for a plain one), its first two bytes over the port. */
static bool read_address(const uint8_t *v, size_t len, const uint8_t mask[16], ml_addr *out)
{
    if (len < 4) {
        return false;
    }
    size_t ip_len = v[1] == 1 ? 4 : v[1] == 2 ? 16 : 0;
    if (ip_len == 0 || len - 4 < ip_len) {
        return false;
    }
    uint8_t ip[16];
    for (size_t i = 0; i < ip_len; i++) {
        ip[i] = v[4 + i] ^ mask[i];
    }
    /* A v4-mapped IPv6 address is IPv4 in our form without further work. */
    out->ip = ip_len == 4 ? ml_ip_from4(ip) : ml_ip_from16(ip);
    out->port = (uint16_t)(ml_get_be16(v + 2) ^ ml_get_be16(mask));
    return true;
}

bool ml_stun_parse_response(const uint8_t *buf, size_t len, uint8_t tx[ML_STUN_TX_LEN], ml_addr *addr)
{
    static const uint8_t no_mask[16] = {0};
    if (!ml_stun_is(buf, len) || buf[0] != 0x01 || buf[1] != 0x01) {
        return false;
    }
    size_t attrs_len = ml_get_be16(buf + 2);
    if (attrs_len > len - ML_STUN_HEADER_LEN) {
        return false;
    }
    uint8_t mask[16];
    memcpy(mask, magic_cookie, 4);
    memcpy(mask + 4, buf + 8, ML_STUN_TX_LEN);

    ml_addr xored = {0}, plain = {0};
    bool has_xored = false, has_plain = false;
    struct ml_reader r = ml_reader_of(buf + ML_STUN_HEADER_LEN, attrs_len);
    while (ml_reader_left(&r) > 0) {
        uint16_t type = ml_read_be16(&r);
        size_t value_len = ml_read_be16(&r);
        const uint8_t *value = ml_read_bytes(&r, (value_len + 3) & ~(size_t)3);
        if (!value) {
            return false;
        }
        if (type == ATTR_XOR_MAPPED_ADDRESS || type == ATTR_XOR_MAPPED_ADDRESS_ALT) {
            if (!read_address(value, value_len, mask, &xored)) {
                return false;
            }
            has_xored = true;
        } else if (type == ATTR_MAPPED_ADDRESS) {
            if (!read_address(value, value_len, no_mask, &plain)) {
                return false;
            }
            has_plain = true;
        }
    }
    if (r.bad || !(has_xored || has_plain)) {
        return false;
    }
    memcpy(tx, buf + 8, ML_STUN_TX_LEN);
    *addr = has_xored ? xored : plain;
    return true;
}
