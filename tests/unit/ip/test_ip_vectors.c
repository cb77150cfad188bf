/*
 * The IP module against the official packages: classification, builders, TSMP, masquerade. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "ip/ip_build.h"
#include "ip/tsmp.h"
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static char line[8192];
static char *word[10];

/* Splits the next line that is no comment into words; returns how many. */
static int next_line(FILE *in)
{
    while (fgets(line, sizeof line, in)) {
        int n = 0;
        if (line[0] == '#') {
            continue;
        }
        line[strcspn(line, "\n")] = 0;
        for (char *p = line; p && n < 10; n++) {
            word[n] = p;
            p = strchr(p, ' ');
            if (p) {
                *p++ = 0;
            }
        }
        return n;
    }
    return 0;
}

static size_t hex(const char *text, uint8_t *out, size_t cap)
{
    size_t n = strlen(text) / 2;
    assert_true(n <= cap);
    assert_true(ml_hex_parse(text, strlen(text), out, n));
    return n;
}

static ml_ip ip(const char *text)
{
    ml_ip out;
    assert_true(ml_ip_parse(text, strlen(text), &out));
    return out;
}

static void packets_are_classified_as_the_official_decoder_does(void **state)
{
    (void)state;
    FILE *in = fopen(ML_VECTORS_DIR "/ip_decode.txt", "r");
    unsigned count = 0;

    assert_non_null(in);
    while (next_line(in) == 7) {
        uint8_t buf[256];
        struct ml_ip_view v;
        size_t len = hex(word[0], buf, sizeof buf);
        ml_ip_view_parse(&v, buf, len);
        int proto = atoi(word[2]);
        if (v.proto != proto || (proto && v.version != atoi(word[1]))) {
            fail_msg("%s: proto %d version %d", word[0], v.proto, v.version);
        }
        if (proto == ML_IPPROTO_TCP || proto == ML_IPPROTO_UDP || proto == ML_IPPROTO_SCTP) {
            assert_int_equal(v.src_port, atoi(word[3]));
            assert_int_equal(v.dst_port, atoi(word[4]));
        }
        if (proto == ML_IPPROTO_TCP) {
            assert_int_equal(v.tcp_flags, atoi(word[5]));
        }
        int bits = ml_ip_view_is_tcp_syn(&v) | ml_ip_view_is_icmp_error(&v) << 1 | ml_ip_view_is_echo_request(&v) << 2 |
                   ml_ip_view_is_echo_reply(&v) << 3;
        /* The official helpers also answer for the other family's ICMP, which the filter never asks. */
        bool is_foreign = proto == (v.version == 4 ? ML_IPPROTO_ICMPV6 : ML_IPPROTO_ICMP);
        if (proto && !is_foreign) {
            assert_int_equal(bits, atoi(word[6]));
        }
        count++;
    }
    fclose(in);
    assert_true(count > 2900);
}

/* What a line of ip_build.txt should yield, and what we made of it. */
static size_t build(uint8_t *out, size_t cap, const uint8_t *in, size_t in_len)
{
    struct ml_ip_view v;
    uint8_t data[256];

    if (strcmp(word[0], "ping") == 0) {
        ml_ip src = ip(word[1]);
        ml_ip dst = ip(word[2]);
        hex(word[3], data, sizeof data);
        return ml_tsmp_build_ping(out, cap, &src, &dst, data);
    }
    if (strcmp(word[0], "advert") == 0) {
        ml_ip src = ip(word[1]);
        ml_ip dst = ip(word[2]);
        ml_disco_key key;
        hex(word[3], key.b, sizeof key.b);
        return ml_tsmp_build_advertisement(out, cap, &src, &dst, &key);
    }
    if (strcmp(word[0], "udp") == 0) {
        ml_addr src;
        ml_addr dst;
        assert_true(ml_addr_parse(word[1], strlen(word[1]), &src) && ml_addr_parse(word[2], strlen(word[2]), &dst));
        return ml_udp_build(out, cap, &src, &dst, data, hex(word[3], data, sizeof data), (uint32_t)atoi(word[4]));
    }
    if (strcmp(word[0], "echo") == 0) {
        ml_ip src = ip(word[1]);
        ml_ip dst = ip(word[2]);
        size_t n = hex(word[6], data, sizeof data);
        return ml_icmp_build_echo(out, cap, &src, &dst, word[3][0] == '1', (uint16_t)atoi(word[4]), (uint16_t)atoi(word[5]),
                                  data, n);
    }
    ml_ip_view_parse(&v, in, in_len);
    if (strcmp(word[0], "pong") == 0) {
        return ml_tsmp_build_pong(out, cap, &v, (uint16_t)atoi(word[2]));
    }
    if (strcmp(word[0], "rejected") == 0) {
        return ml_tsmp_build_rejected(out, cap, &v, (uint8_t)atoi(word[2]), word[3][0] == '1');
    }
    if (strcmp(word[0], "unreachable") == 0) {
        ml_ip from = ip(word[1]);
        return ml_icmp_build_unreachable(out, cap, &from, &v);
    }
    assert_string_equal(word[0], "rewrite");
    ml_ip to = ip(word[2]);
    assert_true(in_len <= cap);
    memcpy(out, in, in_len);
    assert_true(ml_ip_rewrite(out, in_len, word[1][0] == '1', &to));
    return in_len;
}

static void D65_D77_built_and_rewritten_packets_are_those_of_the_official_packages(void **state)
{
    (void)state;
    FILE *f = fopen(ML_VECTORS_DIR "/ip_build.txt", "r");
    unsigned count = 0;
    int words = 0;

    assert_non_null(f);
    while ((words = next_line(f)) > 0) {
        uint8_t in[2048];
        uint8_t want[2048];
        uint8_t got[2048];
        count++;
        if (strcmp(word[0], "via") == 0) {
            ml_prefix v4;
            ml_prefix v6;
            ml_prefix mapped;
            assert_true(ml_prefix_parse(word[2], strlen(word[2]), &v4) && ml_prefix_parse(word[3], strlen(word[3]), &v6));
            assert_true(ml_ip_map_via((uint32_t)strtoul(word[1], NULL, 10), &v4, &mapped));
            assert_true(ml_prefix_equal(&mapped, &v6));
            ml_ip back = ml_ip_unmap_via(&mapped.ip);
            assert_true(ml_ip_equal(&back, &v4.ip));
            continue;
        }
        bool is_second = strcmp(word[0], "unreachable") == 0;
        bool is_third = strcmp(word[0], "rewrite") == 0;
        bool is_first = strcmp(word[0], "pong") == 0 || strcmp(word[0], "rejected") == 0;
        size_t in_len = is_first || is_second || is_third ? hex(word[is_first ? 1 : is_second ? 2 : 3], in, sizeof in) : 0;
        size_t want_len = hex(word[words - 1], want, sizeof want);
        size_t got_len = build(got, sizeof got, in, in_len);
        if (got_len != want_len || memcmp(got, want, want_len) != 0) {
            fail_msg("%s ... %s: %zu bytes", word[0], word[words - 1], got_len);
        }
        if (!is_third) {
            assert_int_equal(build(got, want_len - 1, in, in_len), 0); /* one byte short of room */
        }
    }
    fclose(f);
    assert_int_equal(count, 60 * 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_are_classified_as_the_official_decoder_does),
        cmocka_unit_test(D65_D77_built_and_rewritten_packets_are_those_of_the_official_packages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
