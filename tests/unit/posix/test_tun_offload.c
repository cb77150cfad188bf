/*
 * TCP segments cut from, and joined to, the large packets of a TUN device. Whether a kernel agrees is seen by TestBulkTransfers
 * of tests/interop.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "ip/ip_build.h"
#include "tun_offload.h"

#include <string.h>

enum { MTU = 1280, IP4 = 20, IP6 = 40, TCP = 32 /* with the timestamps that all hosts send */, FIN = 1, PSH = 8, ACK = 16 };

static uint8_t sent[64][2000];
static size_t sent_len[64], sent_count;
static struct ml_tun_run run;

static void keep(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    assert_true(sent_count < 64 && len <= sizeof sent[0]);
    memcpy(sent[sent_count], packet, len);
    sent_len[sent_count++] = len;
}

/** Put both checksums right. */
static void finish(uint8_t *p, size_t len)
{
    size_t ip_len = p[0] >> 4 == 4 ? (size_t)(p[0] & 15) * 4 : IP6;
    struct ml_ip_view v;
    ml_ip_view_parse(&v, p, len);
    if (ip_len != IP6) {
        ml_put_be16(p + 10, 0);
        ml_put_be16(p + 10, ml_ip_sum_finish(ml_ip_sum(0, p, ip_len)));
    }
    ml_put_be16(p + ip_len + 16, 0);
    uint32_t sum = ml_ip_sum_pseudo(&v.src, &v.dst, 6, len - ip_len);
    ml_put_be16(p + ip_len + 16, ml_ip_sum_finish(ml_ip_sum(sum, p + ip_len, len - ip_len)));
}

/** A segment with @p n bytes of data that tell where in the stream they are. @return its length. */
static size_t segment(uint8_t *p, bool v4, uint32_t seq, unsigned flags, size_t n)
{
    size_t ip_len = v4 ? IP4 : IP6;
    size_t len = ip_len + TCP + n;
    ml_ip src = {0};
    ml_ip dst = {0};
    assert_true(ml_ip_parse(v4 ? "100.64.0.1" : "fd7a:115c:a1e0::1", v4 ? 10 : 17, &src));
    assert_true(ml_ip_parse(v4 ? "100.64.0.2" : "fd7a:115c:a1e0::2", v4 ? 10 : 17, &dst));
    assert_int_equal(ml_ip_write_header(p, 65535, &src, &dst, 6, TCP + n, 0x1234), ip_len);
    if (v4) {
        p[6] = 0x40; /* Don't fragment. */
    }
    uint8_t *t = p + ip_len;
    memset(t, 0, TCP);
    ml_put_be16(t, 40000);
    ml_put_be16(t + 2, 443);
    ml_put_be32(t + 4, seq);
    ml_put_be32(t + 8, 0xabcdef01);
    t[12] = TCP / 4 << 4;
    t[13] = (uint8_t)flags;
    ml_put_be16(t + 14, 501);
    memcpy(t + 20, "\x01\x01\x08\x0a\x11\x22\x33\x44\x55\x66\x77\x88", 12);
    for (size_t i = 0; i < n; i++) {
        t[TCP + i] = (uint8_t)((seq + i) * 31 >> 3);
    }
    finish(p, len);
    return len;
}

static struct ml_tun_head head_of(bool v4, uint16_t gso_size)
{
    return (struct ml_tun_head){
        .flags = ML_TUN_NEEDS_CSUM,
        .gso_type = v4 ? ML_TUN_GSO_TCPV4 : ML_TUN_GSO_TCPV6,
        .header_len = (uint16_t)((v4 ? IP4 : IP6) + TCP),
        .gso_size = gso_size,
        .csum_start = v4 ? IP4 : IP6,
        .csum_offset = 16,
    };
}

static void a_large_packet_is_cut_into_segments(void **state)
{
    (void)state;
    static uint8_t p[65535];
    uint8_t want[2000];
    for (int family = 0; family < 2; family++) {
        bool v4 = family == 0;
        size_t mss = MTU - TCP - (v4 ? IP4 : IP6);
        size_t len = segment(p, v4, 0xfffffff0, ACK | PSH | FIN, 2 * mss + 100); /* The sequence wraps. */
        struct ml_tun_head head = head_of(v4, (uint16_t)mss);
        sent_count = 0;
        assert_int_equal(ml_tun_split(&head, p, len, MTU, keep, NULL), 3);
        for (uint32_t i = 0; i < 3; i++) {
            /* As if the host had made it so: the last one alone ends the stream. */
            size_t n = segment(want, v4, 0xfffffff0 + i * (uint32_t)mss, i < 2 ? ACK : ACK | PSH | FIN, i < 2 ? mss : 100);
            if (v4) {
                ml_put_be16(want + 4, (uint16_t)(0x1234 + i));
                finish(want, n);
            }
            assert_int_equal(sent_len[i], n);
            assert_memory_equal(sent[i], want, n);
        }
    }
}

static void congestion_window_reduced_is_said_once(void **state)
{
    (void)state;
    static uint8_t p[65535];
    size_t len = segment(p, true, 1, ACK | 0x80, 2000);
    struct ml_tun_head head = head_of(true, 1000);
    head.gso_type |= ML_TUN_GSO_ECN;
    sent_count = 0;
    assert_int_equal(ml_tun_split(&head, p, len, MTU, keep, NULL), 2);
    assert_int_equal(sent[0][IP4 + 13], ACK | 0x80);
    assert_int_equal(sent[1][IP4 + 13], ACK);
}

static void a_checksum_that_was_left_to_the_device_is_finished(void **state)
{
    (void)state;
    uint8_t p[100];
    uint8_t want[100];
    ml_addr src = {0};
    ml_addr dst = {0};
    src.port = dst.port = 53;
    assert_true(ml_ip_parse("100.64.0.1", 10, &src.ip) && ml_ip_parse("100.64.0.2", 10, &dst.ip));
    struct ml_tun_head head = {.flags = ML_TUN_NEEDS_CSUM, .csum_start = IP4, .csum_offset = 6};
    uint32_t sum = ml_ip_sum_pseudo(&src.ip, &dst.ip, 17, 12);
    for (unsigned data = 0; data < 0x10000; data += 0x101) {
        uint8_t text[4] = {(uint8_t)data, (uint8_t)(data >> 8), 3, 4};
        size_t len = ml_udp_build(want, sizeof want, &src, &dst, text, sizeof text, 7);
        memcpy(p, want, len);
        ml_put_be16(p + IP4 + 6, (uint16_t)~ml_ip_sum_finish(sum));
        sent_count = 0;
        assert_int_equal(ml_tun_split(&head, p, len, MTU, keep, NULL), 1);
        assert_memory_equal(sent[0], want, len);
    }
    /* A sum of zero would mean "none" to the other end: the data that makes it so. */
    uint8_t zero[4] = {0};
    size_t len = ml_udp_build(want, sizeof want, &src, &dst, zero, sizeof zero, 7);
    uint16_t makes_zero = ml_get_be16(want + IP4 + 6);
    ml_put_be16(zero, makes_zero);
    len = ml_udp_build(want, sizeof want, &src, &dst, zero, sizeof zero, 7);
    assert_int_equal(ml_get_be16(want + IP4 + 6), 0xffff);
    memcpy(p, want, len);
    ml_put_be16(p + IP4 + 6, (uint16_t)~ml_ip_sum_finish(sum));
    sent_count = 0;
    assert_int_equal(ml_tun_split(&head, p, len, MTU, keep, NULL), 1);
    assert_memory_equal(sent[0], want, len);
}

static void what_does_not_fit_its_header_is_dropped(void **state)
{
    (void)state;
    static uint8_t p[65535];
    size_t len = segment(p, true, 1, ACK, 2000);
    struct ml_tun_head good = head_of(true, 1000);
    struct ml_tun_head h = good;
    uint8_t kept[65];
    memcpy(kept, p, sizeof kept);
#define REFUSED(change, length)                                                                                                \
    do {                                                                                                                       \
        h = good;                                                                                                              \
        memcpy(p, kept, sizeof kept);                                                                                          \
        change;                                                                                                                \
        assert_int_equal(ml_tun_split(&h, p, (length), MTU, keep, NULL), 0);                                                   \
    } while (0)
    REFUSED(h.gso_type = 3, len); /* UDP, which was not offered to the kernel. */
    REFUSED(h.gso_type = ML_TUN_GSO_TCPV6, len);
    REFUSED(h.gso_size = 0, len);
    REFUSED(h.gso_size = MTU - IP4 - TCP + 1, len);
    REFUSED(h.csum_start = 19, len);
    REFUSED(h.csum_start = 61, len);
    REFUSED(p[0] = 0x65, len);
    REFUSED(p[IP4 + 12] = 0x40, len);
    REFUSED(p[IP4 + 12] = 0xf0, IP4 + 60);
    REFUSED((void)0, IP4 + TCP);
    REFUSED((void)0, IP4 + 19);
    h = (struct ml_tun_head){0};
    assert_int_equal(ml_tun_split(&h, p, MTU + 1, MTU, keep, NULL), 0);
    assert_int_equal(ml_tun_split(&h, p, 0, MTU, keep, NULL), 0);
    h = (struct ml_tun_head){.flags = ML_TUN_NEEDS_CSUM, .csum_start = 20, .csum_offset = 16};
    assert_int_equal(ml_tun_split(&h, p, 37, MTU, keep, NULL), 0);
    h.csum_start = 65535;
    h.csum_offset = 65535;
    assert_int_equal(ml_tun_split(&h, p, 100, MTU, keep, NULL), 0);
#undef REFUSED
}

/** What the kernel would make of the run. */
static void cut_run(void)
{
    ml_tun_run_finish(&run);
    sent_count = 0;
    assert_true(ml_tun_split(&run.head, run.packet, run.len, 2000, keep, NULL) > 0);
    run.len = 0;
}

static void a_run_is_joined_and_is_the_same_packets_again(void **state)
{
    (void)state;
    static uint8_t p[10][2000];
    size_t len[10];
    for (int family = 0; family < 2; family++) {
        for (uint32_t i = 0; i < 10; i++) {
            len[i] = segment(p[i], family == 0, 0xfffff000 + i * 1000, i < 9 ? ACK : ACK | PSH, i < 9 ? 1000 : 7);
            if (family == 0) {
                ml_put_be16(p[i] + 4, (uint16_t)(0xfffe + i));
                finish(p[i], len[i]);
            }
            assert_true(ml_tun_run_add(&run, p[i], len[i]));
        }
        assert_int_equal(run.count, 10);
        assert_int_equal(run.len, len[0] + 8007);
        assert_false(ml_tun_run_add(&run, p[0], len[0]));
        cut_run();
        assert_int_equal(run.head.gso_type, family == 0 ? ML_TUN_GSO_TCPV4 : ML_TUN_GSO_TCPV6);
        assert_int_equal(run.head.gso_size, 1000);
        assert_int_equal(sent_count, 10);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(sent_len[i], len[i]);
            assert_memory_equal(sent[i], p[i], len[i]);
        }
    }
}

static void a_run_of_one_is_left_as_it_came(void **state)
{
    (void)state;
    uint8_t p[2000];
    size_t len = segment(p, true, 1, ACK | PSH, 1);
    assert_true(ml_tun_run_add(&run, p, len));
    ml_tun_run_finish(&run);
    static const struct ml_tun_head none;
    assert_memory_equal(&run.head, &none, sizeof none);
    assert_int_equal(run.len, len);
    assert_memory_equal(run.packet, p, len);
    run.len = 0;
}

static void a_run_ends_where_the_packet_would_be_too_long(void **state)
{
    (void)state;
    uint8_t p[2000];
    for (int family = 0; family < 2; family++) {
        uint32_t seq = 1;
        size_t headers = TCP + (family == 0 ? IP4 : IP6);
        while (ml_tun_run_add(&run, p, segment(p, family == 0, seq, ACK, 1200))) {
            seq += 1200;
        }
        assert_int_equal(run.len, (65535 - headers) / 1200 * 1200 + headers);
        ml_tun_run_finish(&run);
        run.len = 0;
    }
}

/** @return whether the second of two segments joins the first, after byte @p at of it was changed by @p bits. */
static bool joins(bool v4, size_t at, uint8_t bits, bool finished)
{
    uint8_t p[2000];
    ml_tun_run_finish(&run);
    run.len = 0;
    assert_true(ml_tun_run_add(&run, p, segment(p, v4, 1, ACK, 1000)));
    size_t len = segment(p, v4, 1001, ACK, 1000);
    p[at] ^= bits;
    if (finished) {
        finish(p, len);
    }
    bool joined = ml_tun_run_add(&run, p, len);
    ml_tun_run_finish(&run);
    run.len = 0;
    return joined;
}

static void only_what_differs_in_nothing_else_joins(void **state)
{
    (void)state;
    for (int family = 0; family < 2; family++) {
        bool v4 = family == 0;
        size_t ip_len = v4 ? IP4 : IP6;
        assert_true(joins(v4, 0, 0, true));
        for (size_t at = 0; at < ip_len + TCP; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                /* With right checksums: the identification is free, PSH may end a run, and the sums are what `finish` makes. */
                bool id = v4 && (at == 4 || at == 5);
                bool psh = at == ip_len + 13 && bit == 3;
                bool sums = (v4 && (at == 10 || at == 11)) || at == ip_len + 16 || at == ip_len + 17;
                /* A header length that says less or more than there is cannot be finished. */
                bool length = at == 0 || (at == ip_len + 12 && bit > 3);
                assert_int_equal(joins(v4, at, (uint8_t)(1u << bit), !length), id || psh || sums);
            }
        }
        for (size_t at = 0; at < ip_len + TCP + 1000; at++) {
            assert_false(joins(v4, at, 0x10, false));
        }
    }
}

static void what_is_no_bulk_never_begins_a_run(void **state)
{
    (void)state;
    uint8_t p[2000];
    static const unsigned flags[] = {0, 1, 2, 4, 8, ACK | 1, ACK | 2, ACK | 4, ACK | 0x20, ACK | 0x40, ACK | 0x80};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        assert_false(ml_tun_run_add(&run, p, segment(p, true, 1, flags[i], 1000)));
    }
    assert_false(ml_tun_run_add(&run, p, segment(p, true, 1, ACK, 0)));
    size_t len = segment(p, true, 1, ACK, 1000);
    for (size_t cut = 0; cut < len; cut++) {
        assert_false(ml_tun_run_add(&run, p, cut));
    }
    assert_false(ml_tun_run_add(&run, p, len + 1));
    p[9] = 17;
    finish(p, len);
    assert_false(ml_tun_run_add(&run, p, len));
    assert_int_equal(run.len, 0);
}

static void a_run_takes_neither_a_gap_nor_a_longer_segment_nor_one_behind_a_short_one(void **state)
{
    (void)state;
    uint8_t p[2000];
    assert_true(ml_tun_run_add(&run, p, segment(p, true, 1, ACK, 1000)));
    assert_false(ml_tun_run_add(&run, p, segment(p, true, 1, ACK, 1000)));
    assert_false(ml_tun_run_add(&run, p, segment(p, true, 1002, ACK, 1000)));
    assert_false(ml_tun_run_add(&run, p, segment(p, true, 1001, ACK, 1001)));
    assert_false(ml_tun_run_add(&run, p, segment(p, false, 1001, ACK, 1000)));
    assert_true(ml_tun_run_add(&run, p, segment(p, true, 1001, ACK, 999)));
    assert_false(ml_tun_run_add(&run, p, segment(p, true, 2000, ACK, 999)));
    ml_tun_run_finish(&run);
    run.len = 0;
    assert_true(ml_tun_run_add(&run, p, segment(p, true, 1, ACK | PSH, 1000)));
    assert_false(ml_tun_run_add(&run, p, segment(p, true, 1001, ACK, 1000)));
    ml_tun_run_finish(&run);
    run.len = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_packet_is_cut_into_segments),
        cmocka_unit_test(congestion_window_reduced_is_said_once),
        cmocka_unit_test(a_checksum_that_was_left_to_the_device_is_finished),
        cmocka_unit_test(what_does_not_fit_its_header_is_dropped),
        cmocka_unit_test(a_run_is_joined_and_is_the_same_packets_again),
        cmocka_unit_test(a_run_of_one_is_left_as_it_came),
        cmocka_unit_test(a_run_ends_where_the_packet_would_be_too_long),
        cmocka_unit_test(only_what_differs_in_nothing_else_joins),
        cmocka_unit_test(what_is_no_bulk_never_begins_a_run),
        cmocka_unit_test(a_run_takes_neither_a_gap_nor_a_longer_segment_nor_one_behind_a_short_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
