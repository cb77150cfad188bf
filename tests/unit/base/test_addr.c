/*
 * Unit tests of src/base/addr.c, key.c, rng.c, log.c and error.c: small files, one test program.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/key.h"
#include "base/log.h"
#include "base/rng.h"

static ml_ip ip_of(const char *text)
{
    ml_ip ip;
    assert_true(ml_ip_parse(text, strlen(text), &ip));
    return ip;
}

static const char *text_of(const ml_ip *ip, uint8_t buf[64])
{
    struct ml_writer w = ml_writer_of(buf, 64);
    ml_write_ip(&w, ip);
    return ml_write_end_str(&w);
}

/* RFC 5952 sections 4 and 5, and RFC 4291 section 2.2. */
static void addresses_print_in_their_one_canonical_form(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"2001:0db8::0001", "2001:db8::1"},
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:DB8::A", "2001:db8::a"},
        {"::1", "::1"},
        {"fd7a:115c:a1e0::", "fd7a:115c:a1e0::"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"::ffff:c000:201", "192.0.2.1"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"100.64.0.1", "100.64.0.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", ""}, /* "no address" prints as nothing */
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        uint8_t buf[64];
        ml_ip ip = ip_of(pairs[i][0]);
        assert_string_equal(text_of(&ip, buf), pairs[i][1]);
    }
}

static void malformed_addresses_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "1.2.3",
                                      "1.2.3.4.5",
                                      "1.2.3.256",
                                      "01.2.3.4",
                                      "1.2.3.4 ",
                                      "1..2.3",
                                      ":",
                                      ":::",
                                      "1::2::3",
                                      "1:2:3:4:5:6:7:8:9",
                                      "12345::",
                                      "1:2:3:4:5:6:7",
                                      "1:2:3:4:5:6:7:8::",
                                      "::1%eth0",
                                      "1:2:3:4:5:6:7:1.2.3.4",
                                      "::1.2.3",
                                      "g::",
                                      "1:",
                                      ":1",
                                      "1:2:3:4::5:6:7:8"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ml_ip ip;
        if (ml_ip_parse(bad[i], strlen(bad[i]), &ip)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

static void addresses_with_port_round_trip(void **state)
{
    (void)state;
    static const char *const good[] = {"192.0.2.1:41641", "[2001:db8::1]:65535", "[::1]:0"};
    static const char *const bad[] = {
        "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "2001:db8::1:80", "[192.0.2.1]:80", "[::1]80", "[::1:80",
        "[]:80",     ":80",        "1.2.3.4:-1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ml_addr a;
        uint8_t buf[ML_ADDR_TEXT_CAP];
        assert_true(ml_addr_parse(good[i], strlen(good[i]), &a));
        struct ml_writer w = ml_writer_of(buf, sizeof buf);
        ml_write_addr(&w, &a);
        assert_string_equal(ml_write_end_str(&w), good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ml_addr a;
        if (ml_addr_parse(bad[i], strlen(bad[i]), &a)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

static bool contains(const char *prefix, const char *ip)
{
    ml_prefix p;
    ml_ip addr = ip_of(ip);
    assert_true(ml_prefix_parse(prefix, strlen(prefix), &p));
    return ml_prefix_contains(&p, &addr);
}

static void prefixes_contain_only_their_own_family(void **state)
{
    (void)state;
    assert_true(contains("0.0.0.0/0", "8.8.8.8"));
    assert_false(contains("0.0.0.0/0", "2001:db8::1"));
    assert_true(contains("::/0", "2001:db8::1"));
    assert_false(contains("::/0", "8.8.8.8"));
    assert_true(contains("100.64.0.0/10", "100.127.255.255"));
    assert_false(contains("100.64.0.0/10", "100.128.0.0"));
    assert_true(contains("192.0.2.1/32", "192.0.2.1"));
    assert_false(contains("192.0.2.1", "192.0.2.0"));
    assert_true(contains("2001:db8::/33", "2001:db8:7fff::"));
    assert_false(contains("2001:db8::/33", "2001:db8:8000::"));
}

static void prefixes_tell_hosts_and_host_bits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_host, has_host_bits;
    } cases[] = {{"10.0.0.0/8", false, false},    {"10.0.0.1/8", false, true}, {"10.0.0.1/32", true, false},
                 {"10.0.0.1", true, false},       {"::/0", false, false},      {"2001:db8::1/128", true, false},
                 {"2001:db8::1/64", false, true}, {"0.0.0.0/0", false, false}, {"128.0.0.0/1", false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ml_prefix p;
        assert_true(ml_prefix_parse(cases[i].text, strlen(cases[i].text), &p));
        assert_int_equal(ml_prefix_is_host(&p), cases[i].is_host);
        assert_int_equal(ml_prefix_has_host_bits(&p), cases[i].has_host_bits);
    }
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "::/129", "/8", "10.0.0.0/8/8", "10.0.0.0/-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ml_prefix p;
        assert_false(ml_prefix_parse(bad[i], strlen(bad[i]), &p));
    }
    ml_prefix all;
    uint8_t buf[64];
    assert_true(ml_prefix_parse("::/0", 4, &all));
    struct ml_writer w = ml_writer_of(buf, sizeof buf);
    ml_write_prefix(&w, &all);
    assert_string_equal(ml_write_end_str(&w), "::/0");
}

static void addresses_are_classified(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool loopback, link_local, private, multicast, unspecified, tailscale;
    } cases[] = {
        {"127.1.2.3", 1, 0, 0, 0, 0, 0},         {"::1", 1, 0, 0, 0, 0, 0},          {"169.254.9.9", 0, 1, 0, 0, 0, 0},
        {"fe80::1", 0, 1, 0, 0, 0, 0},           {"febf::1", 0, 1, 0, 0, 0, 0},      {"fec0::1", 0, 0, 0, 0, 0, 0},
        {"10.1.1.1", 0, 0, 1, 0, 0, 0},          {"172.31.0.1", 0, 0, 1, 0, 0, 0},   {"172.32.0.1", 0, 0, 0, 0, 0, 0},
        {"192.168.0.1", 0, 0, 1, 0, 0, 0},       {"fc00::1", 0, 0, 1, 0, 0, 0},      {"fd7a:115c:a1e0::1", 0, 0, 1, 0, 0, 1},
        {"fd7a:115c:a1e1::1", 0, 0, 1, 0, 0, 0}, {"224.0.0.1", 0, 0, 0, 1, 0, 0},    {"ff02::1", 0, 0, 0, 1, 0, 0},
        {"0.0.0.0", 0, 0, 0, 0, 1, 0},           {"::", 0, 0, 0, 0, 1, 0},           {"100.64.0.0", 0, 0, 0, 0, 0, 1},
        {"100.115.91.255", 0, 0, 0, 0, 0, 1},    {"100.115.92.0", 0, 0, 0, 0, 0, 0}, {"100.115.93.255", 0, 0, 0, 0, 0, 0},
        {"100.115.94.0", 0, 0, 0, 0, 0, 1},      {"100.128.0.0", 0, 0, 0, 0, 0, 0},  {"8.8.8.8", 0, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ml_ip ip = ip_of(cases[i].text);
        assert_int_equal(ml_ip_is_loopback(&ip), cases[i].loopback);
        assert_int_equal(ml_ip_is_link_local(&ip), cases[i].link_local);
        assert_int_equal(ml_ip_is_private(&ip), cases[i].private);
        assert_int_equal(ml_ip_is_multicast(&ip), cases[i].multicast);
        assert_int_equal(ml_ip_is_unspecified(&ip), cases[i].unspecified);
        assert_int_equal(ml_ip_is_tailscale(&ip), cases[i].tailscale);
    }
    ml_ip ip = ml_ip4_u32(0xc0000201);
    assert_true(ml_ip_is4(&ip) && !ml_ip_is6(&ip) && ml_ip_is_set(&ip));
    assert_int_equal(ml_ip4_to_u32(&ip), 0xc0000201);
    ip = ml_ip_from16((const uint8_t *)"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1");
    assert_true(!ml_ip_is4(&ip) && ml_ip_is6(&ip));
    assert_int_equal(ml_ip4_to_u32(&ip), 0);
}

static void keys_parse_only_with_their_own_prefix(void **state)
{
    (void)state;
    static const char text[] = "nodekey:00000000000000000000000000000000000000000000000000000000000000ff";
    ml_node_key k = {{0}};
    assert_true(ml_key_parse(ML_KEY_PREFIX_NODE, text, sizeof text - 1, k.b));
    assert_int_equal(k.b[31], 0xff);
    assert_true(ml_key_is_set(&k));
    assert_false(ml_key_parse(ML_KEY_PREFIX_DISCO, text, sizeof text - 1, k.b));
    assert_false(ml_key_parse(ML_KEY_PREFIX_NODE, text, sizeof text - 2, k.b));
    uint8_t buf[ML_KEY_TEXT_CAP];
    struct ml_writer w = ml_writer_of(buf, sizeof buf);
    ml_write_key(&w, ML_KEY_PREFIX_NODE, k.b);
    assert_string_equal(ml_write_end_str(&w), text);
    w = ml_writer_of(buf, sizeof buf);
    ml_write_key_short(&w, k.b);
    assert_string_equal(ml_write_end_str(&w), "[AAAAA]");
}

static void fill_const(void *ctx, uint8_t *buf, size_t len)
{
    memset(buf, *(const int *)ctx, len);
}

static void backoff_grows_to_its_cap_with_jitter_and_a_floor(void **state)
{
    (void)state;
    int byte = 0;
    ml_random rng = {fill_const, &byte};
    for (byte = 0; byte <= 0xff; byte += 0xff) {
        assert_true(ml_backoff(&rng, 0, ML_SEC(5)) == 0);
        assert_true(ml_backoff(&rng, 1, ML_SEC(5)) >= ML_MSEC(5) && ml_backoff(&rng, 1, ML_SEC(5)) < ML_MSEC(15));
        assert_true(ml_backoff(&rng, 3, ML_SEC(5)) >= ML_MSEC(45) && ml_backoff(&rng, 3, ML_SEC(5)) < ML_MSEC(135));
        assert_true(ml_backoff_floored(&rng, 2, ML_SEC(5)) < ML_MSEC(60));
        assert_true(ml_backoff_floored(&rng, 3, ML_SEC(5)) >= ML_SEC(1) &&
                    ml_backoff_floored(&rng, 3, ML_SEC(5)) < ML_MSEC(1500));
        for (uint32_t n = 30; n != 0; n *= 3) { /* until it wraps past 2^32 */
            ml_time d = ml_backoff(&rng, n, ML_SEC(5));
            assert_true(d >= ML_MSEC(2500) && d <= ML_MSEC(7500));
            if (n > UINT32_MAX / 3) {
                break;
            }
        }
        assert_true(ml_random_below(&rng, 7) < 7);
        assert_int_equal(ml_random_below(&rng, 0), 0);
    }
}

static int lines;
static void count_line(void *ctx, ml_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    assert_string_equal(line, "hello");
    lines++;
}

static void a_line_above_the_level_is_not_handed_out(void **state)
{
    (void)state;
    struct ml_log log = {count_line, NULL, ML_LOG_WARN};
    lines = 0;
    ml_log_text(&log, ML_LOG_WARN, "hello");
    ml_log_text(&log, ML_LOG_INFO, "hello");
    ml_log_text(NULL, ML_LOG_ERROR, "hello");
    assert_int_equal(lines, 1);
}

static void every_error_and_drop_reason_has_a_text(void **state)
{
    (void)state;
    for (int e = ML_OK; e >= ML_ERR_NO_PATH; e--) {
        assert_string_not_equal(ml_strerror((ml_err)e), "unknown error");
    }
    assert_string_equal(ml_strerror((ml_err)-99), "unknown error");
    for (int d = 0; d < ML_DROP_COUNT; d++) {
        assert_string_not_equal(ml_drop_text((ml_drop)d), "unknown reason");
    }
    assert_string_equal(ml_drop_text(ML_DROP_COUNT), "unknown reason");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_print_in_their_one_canonical_form),
        cmocka_unit_test(malformed_addresses_are_refused),
        cmocka_unit_test(addresses_with_port_round_trip),
        cmocka_unit_test(prefixes_contain_only_their_own_family),
        cmocka_unit_test(prefixes_tell_hosts_and_host_bits),
        cmocka_unit_test(addresses_are_classified),
        cmocka_unit_test(keys_parse_only_with_their_own_prefix),
        cmocka_unit_test(backoff_grows_to_its_cap_with_jitter_and_a_floor),
        cmocka_unit_test(a_line_above_the_level_is_not_handed_out),
        cmocka_unit_test(every_error_and_drop_reason_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
