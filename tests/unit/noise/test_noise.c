/*
 * Unit tests of src/noise: limits and failures that need the keys in hand. Agreement with the official server is shown by
 * tests/interop/noise_test.go.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "noise/noise_frame.h"
#include "noise/noise_ik.h"

static const uint8_t key_a[32] = {1};
static const uint8_t key_b[32] = {2};

static void fill_count(void *ctx, uint8_t *buf, size_t len)
{
    uint8_t *n = ctx;
    for (size_t i = 0; i < len; i++) {
        buf[i] = (*n)++;
    }
}

static bool is_zero(const void *p, size_t len)
{
    const uint8_t *b = p;
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= b[i];
    }
    return any == 0;
}

static void a_low_order_server_key_makes_no_initiation(void **state)
{
    (void)state;
    uint8_t n = 1;
    ml_random rng = {fill_count, &n};
    ml_machine_key server = {{0}};
    ml_private_key machine = {{7}};
    struct ml_noise_ik ik;
    uint8_t out[ML_NOISE_INITIATION_LEN] = {0};
    ml_noise_ik_begin(&ik, 130, &machine, &server);
    assert_int_equal(ml_noise_ik_initiate(&ik, &rng, out, NULL), ML_CURVE_BAD);
    assert_true(is_zero(out, sizeof out));
    assert_true(is_zero(&ik.ephemeral, 32) && is_zero(&ik.machine, 32));
}

static void start(struct ml_noise_ik *ik, uint8_t out[ML_NOISE_INITIATION_LEN])
{
    uint8_t n = 1;
    ml_random rng = {fill_count, &n};
    ml_private_key server = {{9}};
    ml_private_key machine = {{7}};
    ml_machine_key server_pub;
    ml_x25519_base(server_pub.b, &server);
    ml_noise_ik_begin(ik, 0x0102, &machine, &server_pub);
    assert_int_equal(ml_noise_ik_initiate(ik, &rng, out, NULL), ML_CURVE_DONE);
}

static void one_curve_operation_a_call_makes_the_same_initiation(void **state)
{
    (void)state;
    struct ml_noise_ik ik;
    uint8_t whole[ML_NOISE_INITIATION_LEN], pieces[ML_NOISE_INITIATION_LEN];
    struct ml_curve_budget budget = {0};
    uint8_t n = 1;
    ml_random rng = {fill_count, &n};
    start(&ik, whole);
    ml_machine_key server = ik.server;
    ml_private_key machine = {{7}};
    ml_noise_ik_begin(&ik, 0x0102, &machine, &server);
    for (int calls = 1; calls <= 4; calls++) {
        assert_int_equal(ml_noise_ik_initiate(&ik, &rng, pieces, &budget), ML_CURVE_LATER);
        assert_true(budget.is_short);
        budget.left = 1;
        assert_int_equal(ml_noise_ik_initiate(&ik, &rng, pieces, &budget), calls == 4 ? ML_CURVE_DONE : ML_CURVE_LATER);
        budget.left = 0;
    }
    assert_memory_equal(pieces, whole, sizeof whole);
    /* A whole response waits in the same way, and takes nothing that follows it. */
    static const uint8_t response[ML_NOISE_RESPONSE_LEN + 1] = {2, 0, 48, 9};
    size_t used = 0;
    assert_int_equal(ml_noise_ik_feed(&ik, response, sizeof response, &used, &budget), ML_NOISE_IK_LATER);
    assert_int_equal(used, ML_NOISE_RESPONSE_LEN);
    budget.left = 1;
    assert_int_equal(ml_noise_ik_feed(&ik, response, sizeof response, &used, &budget), ML_NOISE_IK_LATER);
    assert_int_equal(used, 0);
    budget.left = 1;
    assert_int_equal(ml_noise_ik_feed(&ik, NULL, 0, &used, &budget), ML_NOISE_IK_BAD_AUTH);
}

static void the_initiation_has_its_fixed_header(void **state)
{
    (void)state;
    struct ml_noise_ik ik;
    uint8_t out[ML_NOISE_INITIATION_LEN];
    start(&ik, out);
    assert_memory_equal(out, "\x01\x02\x01\x00\x60", 5);
    ml_noise_ik_clear(&ik);
    assert_true(is_zero(&ik, sizeof ik));
}

static void every_bad_response_wipes_the_secrets(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        enum ml_noise_ik_result want;
        uint8_t bytes[ML_NOISE_RESPONSE_LEN];
    } cases[] = {
        {51, ML_NOISE_IK_BAD_AUTH, {2, 0, 48, 9}}, /* a point, but no tag */
        {51, ML_NOISE_IK_BAD_AUTH, {2, 0, 48, 0}}, /* the low-order point */
        {3, ML_NOISE_IK_BAD_FRAME, {2, 0, 47}},    {3, ML_NOISE_IK_BAD_FRAME, {2, 1, 48}},
        {3, ML_NOISE_IK_BAD_FRAME, {4, 0, 48}},    {3, ML_NOISE_IK_BAD_FRAME, {0, 0, 0}},
        {3, ML_NOISE_IK_REFUSED, {3, 0, 0}},       {5, ML_NOISE_IK_REFUSED, {3, 0, 2, 'n', '\n'}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ml_noise_ik ik;
        uint8_t out[ML_NOISE_INITIATION_LEN];
        size_t used;
        start(&ik, out);
        for (size_t j = 0; j + 1 < cases[i].len; j++) {
            assert_int_equal(ml_noise_ik_feed(&ik, cases[i].bytes + j, 1, &used, NULL), ML_NOISE_IK_MORE);
            assert_int_equal(used, 1);
        }
        uint8_t last[3] = {cases[i].bytes[cases[i].len - 1], 4, 0};
        assert_int_equal(ml_noise_ik_feed(&ik, last, 3, &used, NULL), cases[i].want);
        assert_int_equal(used, 1); /* what follows is not its business */
        assert_int_equal(ml_noise_ik_feed(&ik, last, 3, &used, NULL), cases[i].want);
        assert_int_equal(used, 0);
        assert_true(is_zero(&ik.sym, sizeof ik.sym) && is_zero(&ik.machine, 32) && is_zero(&ik.ephemeral, 32));
        if (cases[i].len == 5) {
            assert_string_equal(ik.u.error_text, "n?");
        }
    }
}

static void records_are_sealed_in_place_and_within_their_limits(void **state)
{
    (void)state;
    static struct ml_noise_conn c;
    static uint8_t buf[ML_NOISE_FRAME_MAX + 1];
    ml_noise_conn_init(&c, key_a, key_b);
    assert_int_equal(ml_noise_conn_seal(&c, buf, sizeof buf, buf + 3, ML_NOISE_PLAIN_MAX + 1), 0);
    assert_int_equal(ml_noise_conn_seal(&c, buf, ML_NOISE_FRAME_MAX - 1, buf + 3, ML_NOISE_PLAIN_MAX), 0);
    assert_true(c.tx_counter == 0);
    assert_int_equal(ml_noise_conn_seal(&c, buf, ML_NOISE_FRAME_MAX, buf + 3, ML_NOISE_PLAIN_MAX), ML_NOISE_FRAME_MAX);
    assert_memory_equal(buf, "\x04\x0f\xfd", 3);
    assert_true(c.tx_counter == 1);
}

static void the_last_counter_is_never_used(void **state)
{
    (void)state;
    static struct ml_noise_conn c;
    uint8_t buf[64];
    size_t used;
    ml_noise_conn_init(&c, key_a, key_a);
    c.tx_counter = UINT64_MAX - 1;
    c.rx_counter = UINT64_MAX - 1;
    size_t n = ml_noise_conn_seal(&c, buf, sizeof buf, (const uint8_t *)"x", 1);
    assert_int_equal(n, 20);
    assert_int_equal(ml_noise_conn_feed(&c, buf, n, &used), ML_NOISE_OK);
    const uint8_t *p;
    assert_int_equal(ml_noise_conn_peek(&c, &p), 1);
    ml_noise_conn_consume(&c, 1);
    assert_int_equal(ml_noise_conn_feed(&c, buf, n, &used), ML_NOISE_ERR_COUNTER);
    ml_noise_conn_init(&c, key_a, key_a);
    c.tx_counter = UINT64_MAX;
    assert_int_equal(ml_noise_conn_seal(&c, buf, sizeof buf, (const uint8_t *)"x", 1), 0);
    assert_int_equal(ml_noise_conn_error(&c), ML_NOISE_ERR_COUNTER);
    assert_true(is_zero(c.tx_key, 32));
}

static void nothing_is_taken_while_plaintext_waits_or_after_an_error(void **state)
{
    (void)state;
    static struct ml_noise_conn c;
    static struct ml_noise_conn peer;
    uint8_t two[64];
    size_t used;
    const uint8_t *p;
    ml_noise_conn_init(&peer, key_a, key_b);
    ml_noise_conn_init(&c, key_b, key_a);
    size_t n = ml_noise_conn_seal(&peer, two, sizeof two, (const uint8_t *)"abc", 3);
    size_t m = ml_noise_conn_seal(&peer, two + n, sizeof two - n, (const uint8_t *)"d", 1);
    two[n + m - 1] ^= 1;
    assert_int_equal(ml_noise_conn_feed(&c, two, n + m, &used), ML_NOISE_OK);
    assert_int_equal(used, n);
    assert_int_equal(ml_noise_conn_peek(&c, &p), 1); /* could have been the early magic */
    ml_noise_conn_consume(&c, 1);
    assert_int_equal(ml_noise_conn_peek(&c, &p), 2);
    assert_memory_equal(p, "bc", 2);
    ml_noise_conn_consume(&c, 1);
    assert_int_equal(ml_noise_conn_feed(&c, two + n, m, &used), ML_NOISE_OK);
    assert_int_equal(used, 0);
    ml_noise_conn_consume(&c, 1);
    assert_int_equal(ml_noise_conn_feed(&c, two + n, m, &used), ML_NOISE_ERR_AUTH);
    assert_int_equal(used, m);
    assert_int_equal(ml_noise_conn_feed(&c, two, n, &used), ML_NOISE_ERR_AUTH);
    assert_int_equal(used, 0);
    assert_int_equal(ml_noise_conn_peek(&c, &p), 0);
    assert_int_equal(ml_noise_conn_seal(&c, two, sizeof two, two, 0), 0);
    assert_true(is_zero(c.rx_key, 32) && is_zero(c.tx_key, 32));
}

static void an_early_payload_up_to_its_bound_is_skipped(void **state)
{
    (void)state;
    static struct ml_noise_conn c;
    static struct ml_noise_conn peer;
    static uint8_t record[ML_NOISE_FRAME_MAX];
    static uint8_t early[9 + ML_NOISE_EARLY_MAX + 1] = {0xff, 0xff, 0xff, 'T', 'S', 0, 0, 0x10, 0};
    size_t used;
    const uint8_t *p;
    early[sizeof early - 1] = 'x';
    ml_noise_conn_init(&peer, key_a, key_b);
    ml_noise_conn_init(&c, key_b, key_a);
    for (size_t pos = 0; pos < sizeof early;) {
        size_t n = sizeof early - pos < ML_NOISE_PLAIN_MAX ? sizeof early - pos : ML_NOISE_PLAIN_MAX;
        size_t len = ml_noise_conn_seal(&peer, record, sizeof record, early + pos, n);
        assert_int_equal(ml_noise_conn_feed(&c, record, len, &used), ML_NOISE_OK);
        assert_int_equal(used, len);
        pos += n;
    }
    assert_int_equal(ml_noise_conn_peek(&c, &p), 1);
    assert_int_equal(*p, 'x');
}

static int start_crypto(void **state)
{
    (void)state;
    return ml_crypto_init() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_low_order_server_key_makes_no_initiation),
        cmocka_unit_test(the_initiation_has_its_fixed_header),
        cmocka_unit_test(one_curve_operation_a_call_makes_the_same_initiation),
        cmocka_unit_test(every_bad_response_wipes_the_secrets),
        cmocka_unit_test(records_are_sealed_in_place_and_within_their_limits),
        cmocka_unit_test(the_last_counter_is_never_used),
        cmocka_unit_test(nothing_is_taken_while_plaintext_waits_or_after_an_error),
        cmocka_unit_test(an_early_payload_up_to_its_bound_is_skipped),
    };
    return cmocka_run_group_tests(tests, start_crypto, NULL);
}
