/*
 * Packet view: what is refused, and helpers. Agreement with the official decoder is in test_ip_vectors.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "ip/ip_build.h"
#include <cmocka.h>

static void an_ipv6_packet_with_a_mapped_address_is_unknown(void **state)
{
    (void)state;
    uint8_t b[48] = {0x60, 0, 0, 0, 0, 8, 17, 64};
    ml_ip mapped = ml_ip4(100, 64, 0, 1);
    struct ml_ip_view v;

    b[8] = 0xfd;
    b[24] = 0xfd;
    ml_ip_view_parse(&v, b, sizeof b);
    assert_int_equal(v.proto, ML_IPPROTO_UDP);
    memcpy(b + 8, mapped.b, 16);
    ml_ip_view_parse(&v, b, sizeof b);
    assert_int_equal(v.proto, ML_IPPROTO_UNKNOWN);
}

static void the_packet_length_cuts_padding_and_refuses_short_packets(void **state)
{
    (void)state;
    uint8_t b[64] = {0x45, 0, 0, 33};

    assert_int_equal(ml_ip_packet_len(b, 48), 33);
    assert_int_equal(ml_ip_packet_len(b, 33), 33);
    assert_int_equal(ml_ip_packet_len(b, 32), 0);
    b[3] = 19;
    assert_int_equal(ml_ip_packet_len(b, 48), 0);
    b[0] = 0x60;
    b[5] = 3;
    assert_int_equal(ml_ip_packet_len(b, 48), 43);
    assert_int_equal(ml_ip_packet_len(b, 42), 0);
    assert_int_equal(ml_ip_packet_len(b, 0), 0);
}

static void service_addresses_are_known(void **state)
{
    (void)state;
    ml_ip four = ml_ip4(100, 100, 100, 100);
    ml_ip other = ml_ip4(100, 100, 100, 101);
    ml_ip six;

    assert_true(ml_ip_parse("fd7a:115c:a1e0::53", 18, &six));
    assert_true(ml_ip_is_service(&four) && ml_ip_is_service(&six));
    assert_false(ml_ip_is_service(&other));
}

static void a_udp_datagram_is_read_back_and_a_damaged_one_is_not(void **state)
{
    (void)state;
    for (int is6 = 0; is6 < 2; is6++) {
        ml_addr src = {.ip = ml_ip4(100, 64, 0, 1), .port = 5055};
        ml_addr dst = {.ip = ml_ip4(100, 64, 0, 2), .port = 5056};
        ml_addr got_src;
        ml_addr got_dst;
        uint8_t b[80];
        const uint8_t *data = NULL;
        size_t len = 0;
        struct ml_ip_view v;
        if (is6) {
            assert_true(ml_ip_parse("fd7a::1", 7, &src.ip) && ml_ip_parse("fd7a::2", 7, &dst.ip));
        }
        size_t n = ml_udp_build(b, sizeof b, &src, &dst, (const uint8_t *)"hello", 5, 9);
        assert_int_equal(n, (is6 ? 48 : 28) + 5);
        ml_ip_view_parse(&v, b, sizeof b); /* padded, as WireGuard does */
        assert_true(ml_udp_parse(&v, &got_src, &got_dst, &data, &len));
        assert_int_equal(len, 5);
        assert_memory_equal(data, "hello", 5);
        assert_true(ml_addr_equal(&got_src, &src) && ml_addr_equal(&got_dst, &dst));
        b[n - 1] ^= 1;
        ml_ip_view_parse(&v, b, n);
        assert_false(ml_udp_parse(&v, &got_src, &got_dst, &data, &len));
    }
}

static void an_echo_request_is_answered_with_its_own_data(void **state)
{
    (void)state;
    ml_ip src = ml_ip4(100, 64, 0, 1);
    ml_ip dst = ml_ip4(100, 64, 0, 2);
    uint8_t b[64];
    uint8_t reply[64];
    struct ml_ip_view v;
    bool is_reply = false;
    uint16_t ident = 0;
    uint16_t seq = 0;
    const uint8_t *data = NULL;
    size_t len = 0;

    size_t n = ml_icmp_build_echo(b, sizeof b, &src, &dst, false, 7, 9, (const uint8_t *)"abc", 3);
    ml_ip_view_parse(&v, b, n);
    n = ml_icmp_build_echo_reply(reply, sizeof reply, &v);
    ml_ip_view_parse(&v, reply, n);
    assert_true(ml_icmp_parse_echo(&v, &is_reply, &ident, &seq, &data, &len));
    assert_true(is_reply && ident == 7 && seq == 9 && len == 3);
    assert_memory_equal(data, "abc", 3);
    assert_true(ml_ip_equal(&v.src, &dst) && ml_ip_equal(&v.dst, &src));
    assert_int_equal(ml_icmp_build_echo_reply(b, sizeof b, &v), 0); /* a reply is not answered */
}

static void an_address_of_the_other_family_is_not_written_into_a_packet(void **state)
{
    (void)state;
    uint8_t b[28] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17};
    uint8_t was[28];
    ml_ip six;

    memcpy(was, b, sizeof b);
    assert_true(ml_ip_parse("fd7a::1", 7, &six));
    assert_false(ml_ip_rewrite(b, sizeof b, true, &six));
    assert_memory_equal(b, was, sizeof b);
}

static void a_packet_whose_header_length_is_too_small_is_not_rewritten(void **state)
{
    (void)state;
    uint8_t b[40] = {0x40, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 100, 64, 0, 1, 100, 64, 0, 2};
    uint8_t was[40];
    ml_ip to = ml_ip4(100, 64, 0, 9);

    memcpy(was, b, sizeof b);
    assert_false(ml_ip_rewrite(b, sizeof b, false, &to));
    assert_memory_equal(b, was, sizeof b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ipv6_packet_with_a_mapped_address_is_unknown),
        cmocka_unit_test(the_packet_length_cuts_padding_and_refuses_short_packets),
        cmocka_unit_test(service_addresses_are_known),
        cmocka_unit_test(a_udp_datagram_is_read_back_and_a_damaged_one_is_not),
        cmocka_unit_test(an_echo_request_is_answered_with_its_own_data),
        cmocka_unit_test(a_packet_whose_header_length_is_too_small_is_not_rewritten),
        cmocka_unit_test(an_address_of_the_other_family_is_not_written_into_a_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
