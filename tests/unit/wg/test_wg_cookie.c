/* MACs and cookies, also against the official generator and checker. SPDX-License-Identifier: MIT */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "vectors.h"
#include "wg/wg_cookie.h"

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    uint8_t *n = ctx;
    memset(buf, ++*n, len);
}

static void macs_and_cookie_replies_agree_with_the_official_package(void **state)
{
    (void)state;
    static char line[2048];
    int lines = 0;
    FILE *f = fopen(ML_VECTORS_DIR "/wg_cookie.txt", "r");
    assert_non_null(f);
    while (vector_line(f, line, sizeof line)) {
        char *at = line;
        uint8_t pub[32], first[148], reply[64], second[148], mine[148] = {0};
        uint8_t mac1[16], other_mac1[16] = {1};
        struct ml_wg_cookie k = {.at = 0};
        struct ml_wg_cookie_checker c;
        assert_int_equal(vector_hex(&at, pub, 32), 32);
        size_t len = vector_hex(&at, first, sizeof first);
        assert_int_equal(vector_hex(&at, reply, 64), 64);
        assert_int_equal(vector_hex(&at, second, sizeof second), len);
        memcpy(mine, first, len - 32);
        assert_false(ml_wg_cookie_open(&k, 1, pub, other_mac1, reply));
        ml_wg_cookie_add_macs(NULL, 1, pub, mine, len, mac1);
        assert_memory_equal(mine, first, len);
        ml_wg_checker_init(&c, pub, 1);
        assert_true(ml_wg_checker_mac1(&c, first, len));
        assert_true(ml_wg_cookie_open(&k, 1, pub, mac1, reply));
        ml_wg_cookie_add_macs(&k, 1, pub, mine, len, NULL);
        assert_memory_equal(mine, second, len);
        reply[40] ^= 1;
        assert_false(ml_wg_cookie_open(&k, 1, pub, mac1, reply));
        lines++;
    }
    (void)fclose(f);
    assert_int_equal(lines, 8);
}

static void a_cookie_is_bound_to_its_source_and_dies_with_the_secret_after_120_s(void **state)
{
    (void)state;
    uint8_t seed = 0, pub[32] = {9}, msg[148] = {1}, reply[64];
    ml_random rng = {.fill = fill, .ctx = &seed};
    uint8_t mac1[16];
    struct ml_wg_cookie k;
    struct ml_wg_cookie_checker c;
    struct ml_wg_source udp = {.addr = {.port = 1}}, relayed = {.relay = {{7}}};
    ml_time now = ML_SEC(50);
    ml_wg_checker_init(&c, pub, 1);
    ml_wg_cookie_add_macs(NULL, now, pub, msg, 148, mac1);
    assert_false(ml_wg_checker_mac2(&c, now, msg, 148, &udp));
    ml_wg_checker_reply(&c, now, &rng, msg, 148, &udp, reply);
    assert_true(ml_wg_cookie_open(&k, now, pub, mac1, reply));
    ml_wg_cookie_add_macs(&k, now, pub, msg, 148, NULL);
    assert_true(ml_wg_checker_mac2(&c, now, msg, 148, &udp));
    assert_false(ml_wg_checker_mac2(&c, now, msg, 148, &relayed));
    udp.addr.port = 2;
    assert_false(ml_wg_checker_mac2(&c, now, msg, 148, &udp));
    udp.addr.port = 1;
    assert_true(ml_wg_checker_mac2(&c, now + ML_SEC(120), msg, 148, &udp));
    assert_false(ml_wg_checker_mac2(&c, now + ML_SEC(120) + 1, msg, 148, &udp));
    uint8_t old[32];
    memcpy(old, c.secret, 32);
    ml_wg_checker_reply(&c, now + ML_SEC(120), &rng, msg, 148, &relayed, reply);
    assert_memory_equal(c.secret, old, 32);
    ml_wg_checker_reply(&c, now + ML_SEC(120) + 1, &rng, msg, 148, &relayed, reply);
    assert_memory_not_equal(c.secret, old, 32);
}

static void load_is_more_than_the_limit_in_a_second_and_lasts_one(void **state)
{
    (void)state;
    uint8_t pub[32] = {9};
    struct ml_wg_cookie_checker c;
    ml_wg_checker_init(&c, pub, 3);
    ml_time now = ML_SEC(5);
    for (int i = 0; i < 3; i++) {
        assert_false(ml_wg_checker_note(&c, now));
    }
    assert_true(ml_wg_checker_note(&c, now));
    assert_true(ml_wg_checker_note(&c, now + ML_MSEC(999)));
    now += ML_MSEC(1999);
    assert_false(ml_wg_checker_note(&c, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(macs_and_cookie_replies_agree_with_the_official_package),
        cmocka_unit_test(a_cookie_is_bound_to_its_source_and_dies_with_the_secret_after_120_s),
        cmocka_unit_test(load_is_more_than_the_limit_in_a_second_and_lasts_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
