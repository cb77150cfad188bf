/*
 * Classification of what arrives on the UDP socket or from a relay. dataplane.md section 2. SPDX-License-Identifier: MIT
 */
#include "disco/disco_demux.h"

#include "base/bytes.h"

enum { STUN_HEADER_LEN = 20, DISCO_CLEAR_LEN = 38, PROTO_DISCO = 0x7a11, PROTO_WIREGUARD = 0x7a12 };

/* Magic and sender's key. Less than a whole wrapper, so that a cut one counts as bad DISCO and not as bad WireGuard. */
static bool starts_disco(const uint8_t *buf, size_t len)
{
    static const uint8_t magic[6] = {0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac};
    return len >= DISCO_CLEAR_LEN && memcmp(buf, magic, sizeof magic) == 0;
}

enum ml_datagram_class ml_datagram_classify(const uint8_t *buf, size_t len)
{
    if (len >= STUN_HEADER_LEN && (buf[0] & 0xc0) == 0 && buf[1] == 0x01 && ml_get_be32(buf + 4) == UINT32_C(0x2112a442)) {
        return ML_DATAGRAM_STUN;
    }
    if (len >= ML_GENEVE_LEN && (buf[0] & 0xc0) == 0 && (buf[1] & 0x3f) == 0 && buf[7] == 0) {
        uint16_t protocol = ml_get_be16(buf + 2);
        if (protocol == PROTO_DISCO) {
            return starts_disco(buf + ML_GENEVE_LEN, len - ML_GENEVE_LEN) ? ML_DATAGRAM_GENEVE_DISCO : ML_DATAGRAM_WIREGUARD;
        }
        if (protocol == PROTO_WIREGUARD) {
            return ML_DATAGRAM_GENEVE_WIREGUARD;
        }
    }
    return starts_disco(buf, len) ? ML_DATAGRAM_DISCO : ML_DATAGRAM_WIREGUARD;
}

enum ml_datagram_class ml_derp_packet_classify(const uint8_t *buf, size_t len)
{
    return starts_disco(buf, len) ? ML_DATAGRAM_DISCO : ML_DATAGRAM_WIREGUARD;
}
