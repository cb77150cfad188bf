/* Noise_IKpsk2: constants, both roles, refusal of forgeries. SPDX-License-Identifier: MIT */
#include "vectors.h"
#include "wg_pair.h"

static void D1_the_initial_chaining_key_and_hash_are_the_official_ones(void **state)
{
    (void)state;
    char line[256], *at = line;
    uint8_t ck[32], h[32];
    FILE *f = fopen(ML_VECTORS_DIR "/wg_constants.txt", "r");
    assert_non_null(f);
    assert_non_null(vector_line(f, line, sizeof line));
    (void)fclose(f);
    assert_int_equal(vector_hex(&at, ck, 32), 32);
    assert_int_equal(vector_hex(&at, h, 32), 32);
    assert_memory_equal(ck, ml_wg_initial_ck, 32);
    assert_memory_equal(h, ml_wg_initial_hash, 32);
}

static void any_changed_byte_of_a_handshake_is_refused_and_the_right_one_still_works(void **state)
{
    (void)state;
    uint32_t seed = 5;
    ml_random rng = {.fill = test_fill, .ctx = &seed};
    struct ml_wg_identity a, b;
    struct ml_wg_initiator hs;
    struct ml_wg_responder resp;
    struct ml_wg_keys ka, kb;
    struct ml_wg_draft draft = {0};
    struct ml_wg_answer opening = {0};
    uint8_t ss[32], stamp[12] = {0x40}, msg[148], bad[148], answer[92];
    assert_true(ml_crypto_init());
    ml_x25519_keygen(&a.priv, &rng);
    ml_x25519_base(a.pub, &a.priv);
    ml_x25519_keygen(&b.priv, &rng);
    ml_x25519_base(b.pub, &b.priv);
    assert_true(ml_x25519(ss, &a.priv, b.pub));
    assert_int_equal(ml_wg_draft_run(&draft, &rng, b.pub, NULL), ML_CURVE_DONE);
    ml_wg_initiation_write(&hs, &draft, &a, b.pub, ss, stamp, 77, msg);
    /* Bit 255 of a public key is ignored by X25519, but not by the transcript. */
    for (size_t i = 8; i < 116; i++) {
        memcpy(bad, msg, 148);
        bad[i] ^= 0x80;
        assert_false(ml_wg_initiation_open(&resp, &b, bad) && ml_wg_initiation_verify(&resp, ss));
        assert_false(resp.is_open && resp.is_authentic);
    }
    assert_true(ml_wg_initiation_open(&resp, &b, msg));
    assert_memory_equal(resp.remote_static, a.pub, 32);
    assert_int_equal(ml_wg_response_write(&resp, &rng, 88, answer, &kb, NULL), ML_CURVE_BAD); /* not authentic yet */
    assert_true(ml_wg_initiation_open(&resp, &b, msg));
    assert_true(ml_wg_initiation_verify(&resp, ss));
    assert_memory_equal(resp.stamp, stamp, 12);

    /* One curve operation a call, with nothing lost in between; a second budget of none changes nothing. */
    struct ml_curve_budget none = {0}, one = {0};
    int calls = 0;
    enum ml_curve_step step;
    do {
        assert_int_equal(ml_wg_response_write(&resp, &rng, 88, answer, &kb, &none), ML_CURVE_LATER);
        one.left = 1;
        step = ml_wg_response_write(&resp, &rng, 88, answer, &kb, &one);
        calls++;
    } while (step == ML_CURVE_LATER);
    assert_int_equal(step, ML_CURVE_DONE);
    assert_int_equal(calls, 3);
    for (size_t i = 12; i < 60; i++) {
        memcpy(bad, answer, 92);
        bad[i] ^= 0x80;
        assert_int_equal(ml_wg_response_open(&hs, &opening, &a, bad, &ka, NULL), ML_CURVE_BAD);
    }
    one.left = 1;
    assert_int_equal(ml_wg_response_open(&hs, &opening, &a, answer, &ka, &one), ML_CURVE_LATER);
    one.left = 1;
    assert_int_equal(ml_wg_response_open(&hs, &opening, &a, answer, &ka, &one), ML_CURVE_DONE);
    assert_memory_equal(ka.send, kb.receive, 32);
    assert_memory_equal(ka.receive, kb.send, 32);
    assert_memory_not_equal(ka.send, ka.receive, 32);
    assert_int_equal(ka.local_index, 77);
    assert_int_equal(ka.remote_index, 88);
    assert_int_equal(kb.local_index, 88);
    assert_int_equal(kb.remote_index, 77);
    assert_int_equal(hs.local_index, 0);
}

static void low_order_points_are_refused(void **state)
{
    (void)state;
    uint32_t seed = 5;
    ml_random rng = {.fill = test_fill, .ctx = &seed};
    struct ml_wg_identity a;
    struct ml_wg_responder resp;
    uint8_t zero[32] = {0}, msg[148] = {1};
    ml_x25519_keygen(&a.priv, &rng);
    ml_x25519_base(a.pub, &a.priv);
    struct ml_wg_draft draft = {0};
    assert_int_equal(ml_wg_draft_run(&draft, &rng, zero, NULL), ML_CURVE_BAD);
    assert_false(ml_wg_initiation_open(&resp, &a, msg));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D1_the_initial_chaining_key_and_hash_are_the_official_ones),
        cmocka_unit_test(any_changed_byte_of_a_handshake_is_refused_and_the_right_one_still_works),
        cmocka_unit_test(low_order_points_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
