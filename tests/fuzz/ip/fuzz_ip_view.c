/* Packet view, parsers and in-place rewriting on any bytes. SPDX-License-Identifier: MIT */
#include "ip/ip_build.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ml_ip_view v;
    struct ml_ip_view after;
    uint8_t out[1400];
    ml_addr src;
    ml_addr dst;
    const uint8_t *payload = NULL;
    size_t n = 0;
    bool is_reply = false;
    uint16_t ident = 0;
    uint16_t seq = 0;

    ml_ip_view_parse(&v, data, len);
    if (ml_ip_view_payload(&v, &n) && (v.payload_at + n > len || n == 0)) {
        abort();
    }
    ml_ip_view_is_icmp_error(&v);
    if (ml_udp_parse(&v, &src, &dst, &payload, &n) && (payload < data || payload + n > data + len)) {
        abort();
    }
    ml_icmp_parse_echo(&v, &is_reply, &ident, &seq, &payload, &n);
    n = ml_icmp_build_echo_reply(out, sizeof out, &v);
    ml_ip_view_parse(&after, out, n);
    if (n && !ml_ip_view_is_echo_reply(&after)) {
        abort();
    }
    ml_icmp_build_unreachable(out, sizeof out, &v.dst, &v);
    if (ml_ip_packet_len(data, len) > len) {
        abort();
    }
    uint8_t *copy = malloc(len ? len : 1);
    if (copy && len) {
        memcpy(copy, data, len);
        ml_ip_rewrite(copy, len, data[0] & 1, &v.dst);
        /* There and back again leaves the packet as it was, but for the two forms of a zero UDP checksum. */
        ml_ip to = v.src;
        memcpy(copy, data, len);
        if (ml_ip_rewrite(copy, len, false, &v.dst) && ml_ip_rewrite(copy, len, false, &to)) {
            ml_ip_view_parse(&after, copy, len);
            if (after.proto != v.proto || !ml_ip_equal(&after.src, &v.src)) {
                abort();
            }
        }
    }
    free(copy);
    return 0;
}
