/*
 * TSMP: what a received message asks for. Layouts are checked in test_ip_vectors.c. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "ip/tsmp.h"
#include <cmocka.h>

static ml_ip src;
static ml_ip dst;

static enum ml_tsmp_action handle(const uint8_t *b, size_t len, struct ml_tsmp *msg, uint8_t *out, size_t *out_len)
{
    struct ml_ip_view v;
    ml_ip_view_parse(&v, b, len);
    return ml_tsmp_handle(&v, 0x1234, msg, out, ML_TSMP_MAX, out_len);
}

static int setup(void **state)
{
    (void)state;
    src = ml_ip4(100, 64, 0, 1);
    dst = ml_ip4(100, 64, 0, 2);
    return 0;
}

static void a_ping_is_answered_with_its_data_and_the_peerapi_port(void **state)
{
    (void)state;
    uint8_t b[ML_TSMP_MAX];
    uint8_t out[ML_TSMP_MAX];
    struct ml_tsmp msg;
    struct ml_ip_view v;
    size_t out_len = 0;
    size_t n = ml_tsmp_build_ping(b, sizeof b, &src, &dst, (const uint8_t *)"12345678");

    assert_int_equal(handle(b, n, &msg, out, &out_len), ML_TSMP_ANSWER);
    ml_ip_view_parse(&v, out, out_len);
    assert_true(ml_tsmp_parse(&v, &msg));
    assert_int_equal(msg.type, ML_TSMP_PONG);
    assert_memory_equal(msg.data, "12345678", 8);
    assert_int_equal(msg.peerapi_port, 0x1234);
    assert_true(ml_ip_equal(&v.src, &dst) && ml_ip_equal(&v.dst, &src));
    assert_int_equal(handle(out, out_len, &msg, b, &n), ML_TSMP_GOT_PONG);
    assert_int_equal(n, 0); /* a pong is never answered */
}

static void the_pong_of_the_specification_is_built(void **state)
{
    (void)state;
    uint8_t ping[ML_TSMP_MAX];
    uint8_t got[ML_TSMP_MAX];
    uint8_t want[31];
    const char *hex = "4500001f000000004063b1f96440000164400002"
                      "6f0000000000000000"
                      "1234";
    struct ml_ip_view v;
    size_t n = ml_tsmp_build_ping(ping, sizeof ping, &dst, &src, (const uint8_t *)"\0\0\0\0\0\0\0");

    ping[4] = 0xff; /* identification, inverted in the answer */
    ping[5] = 0xff;
    ml_ip_view_parse(&v, ping, n);
    assert_true(ml_hex_parse(hex, strlen(hex), want, sizeof want));
    assert_int_equal(ml_tsmp_build_pong(got, sizeof got, &v, 0x1234), sizeof want);
    assert_memory_equal(got, want, sizeof want);
}

static void an_advertisement_gives_the_disco_key_and_a_zero_key_is_ignored(void **state)
{
    (void)state;
    ml_disco_key key;
    uint8_t b[ML_TSMP_MAX];
    uint8_t out[ML_TSMP_MAX];
    struct ml_tsmp msg;
    size_t out_len = 0;

    memset(&key, 0xbb, sizeof key);
    size_t n = ml_tsmp_build_advertisement(b, sizeof b, &src, &dst, &key);
    assert_int_equal(n, 53);
    assert_int_equal(handle(b, n, &msg, out, &out_len), ML_TSMP_SET_DISCO);
    assert_memory_equal(&msg.disco, &key, sizeof key);
    memset(b + 21, 0, 32);
    assert_int_equal(handle(b, n, &msg, out, &out_len), ML_TSMP_IGNORE);
    assert_int_equal(handle(b, n - 1, &msg, out, &out_len), ML_TSMP_NOT); /* cut: no IP packet any more */
}

static void a_rejection_names_the_flow_as_its_opener_sees_it(void **state)
{
    (void)state;
    uint8_t syn[40] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 100, 64, 0, 1, 100, 64, 0, 2, 0x13, 0x88, 0, 80};
    uint8_t b[ML_TSMP_MAX];
    uint8_t out[ML_TSMP_MAX];
    struct ml_ip_view v;
    struct ml_tsmp msg;
    size_t out_len = 0;

    syn[32] = 0x50;
    syn[33] = 2;
    ml_ip_view_parse(&v, syn, sizeof syn);
    size_t n = ml_tsmp_build_rejected(b, sizeof b, &v, 'A', true);
    assert_int_equal(handle(b, n, &msg, out, &out_len), ML_TSMP_GOT_REJECT);
    assert_true(msg.proto == 6 && msg.reason == 'A' && msg.is_maybe_broken);
    assert_true(ml_ip_equal(&msg.flow_src.ip, &src) && msg.flow_src.port == 5000);
    assert_true(ml_ip_equal(&msg.flow_dst.ip, &dst) && msg.flow_dst.port == 80);
}

static void unknown_types_and_short_messages_are_consumed_without_effect(void **state)
{
    (void)state;
    uint8_t b[ML_TSMP_MAX];
    uint8_t out[ML_TSMP_MAX];
    struct ml_tsmp msg;
    size_t out_len = 0;
    size_t n = ml_tsmp_build_ping(b, sizeof b, &src, &dst, (const uint8_t *)"12345678");

    b[20] = 'z';
    assert_int_equal(handle(b, n, &msg, out, &out_len), ML_TSMP_IGNORE);
    b[20] = 'p';
    b[3]--; /* eight bytes: too short for a ping, long enough for TSMP */
    assert_int_equal(handle(b, n - 1, &msg, out, &out_len), ML_TSMP_IGNORE);
    b[9] = 17;
    assert_int_equal(handle(b, n, &msg, out, &out_len), ML_TSMP_NOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ping_is_answered_with_its_data_and_the_peerapi_port),
        cmocka_unit_test(the_pong_of_the_specification_is_built),
        cmocka_unit_test(an_advertisement_gives_the_disco_key_and_a_zero_key_is_ignored),
        cmocka_unit_test(a_rejection_names_the_flow_as_its_opener_sees_it),
        cmocka_unit_test(unknown_types_and_short_messages_are_consumed_without_effect),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
