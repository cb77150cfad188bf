/*
 * The DISCO wrapper against types/key. SPDX-License-Identifier: MIT
 */
#include "disco/disco_box.h"
#include "disco/vectors.h"

static uint64_t seed = 3;
static const ml_random rng = {vec_random_fill, &seed};

static void boxes_sealed_by_the_official_package_open(void **state)
{
    (void)state;
    struct vec v;
    size_t cases = 0;
    for (vec_open(&v, "disco_messages.txt"); vec_next(&v);) {
        if (strcmp(v.word[0], "box") != 0) {
            continue;
        }
        ml_private_key ours;
        ml_disco_key peer, sender;
        vec_hex_into(v.word[1], ours.b, 32);
        vec_hex_into(v.word[3], peer.b, 32);
        size_t msg_len, len, got_len;
        uint8_t *want = vec_hex(v.word[4], &msg_len), *w = vec_hex(v.word[5], &len), *got;
        assert_true(ml_disco_sender(w, len, &sender));
        assert_memory_equal(sender.b, peer.b, 32);
        struct ml_disco_shared shared;
        assert_true(ml_disco_shared(&shared, &peer, &ours));
        assert_true(ml_disco_open(w, len, &shared, &got, &got_len));
        assert_int_equal(got_len, msg_len);
        assert_memory_equal(got, want, msg_len);
        free(want);
        free(w);
        cases++;
    }
    assert_int_equal(cases, 20);
}

static void a_sealed_message_opens_with_the_other_key_and_any_changed_byte_is_refused(void **state)
{
    (void)state;
    ml_private_key a, b;
    ml_disco_key a_pub, b_pub;
    ml_x25519_keygen(&a, &rng);
    ml_x25519_keygen(&b, &rng);
    ml_x25519_base(a_pub.b, &a);
    ml_x25519_base(b_pub.b, &b);
    struct ml_disco_shared ab, ba;
    assert_true(ml_disco_shared(&ab, &b_pub, &a) && ml_disco_shared(&ba, &a_pub, &b));
    uint8_t w[128], copy[128], *msg;
    size_t msg_len;
    size_t n = ml_disco_seal(w, sizeof w, &ab, &a_pub, &rng, (const uint8_t *)"hello", 5);
    assert_int_equal(n, 5 + ML_DISCO_OVERHEAD);
    memcpy(copy, w, n);
    assert_true(ml_disco_open(copy, n, &ba, &msg, &msg_len));
    assert_int_equal(msg_len, 5);
    assert_memory_equal(msg, "hello", 5);
    for (size_t i = 38; i < n; i++) { /* nonce and box; the key in the clear only selects the shared key */
        memcpy(copy, w, n);
        copy[i] ^= 1;
        assert_false(ml_disco_open(copy, n, &ba, &msg, &msg_len));
    }
    for (size_t cut = 0; cut < n; cut++) {
        memcpy(copy, w, n);
        assert_false(ml_disco_open(copy, cut, &ba, &msg, &msg_len));
    }
}

static void sealing_into_too_little_room_writes_nothing(void **state)
{
    (void)state;
    struct ml_disco_shared s = {{1}};
    ml_disco_key own = {{2}};
    uint8_t w[5 + ML_DISCO_OVERHEAD] = {0};
    assert_int_equal(ml_disco_seal(w, sizeof w - 1, &s, &own, &rng, (const uint8_t *)"hello", 5), 0);
    assert_int_equal(ml_disco_seal(w, 3, &s, &own, &rng, (const uint8_t *)"hello", 5), 0);
    assert_int_equal(w[0], 0);
}

static void a_low_order_point_yields_no_shared_key(void **state)
{
    (void)state;
    ml_private_key a;
    ml_x25519_keygen(&a, &rng);
    ml_disco_key zero = {{0}};
    struct ml_disco_shared s;
    assert_false(ml_disco_shared(&s, &zero, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_sealed_by_the_official_package_open),
        cmocka_unit_test(a_sealed_message_opens_with_the_other_key_and_any_changed_byte_is_refused),
        cmocka_unit_test(sealing_into_too_little_room_writes_nothing),
        cmocka_unit_test(a_low_order_point_yields_no_shared_key),
    };
    return ml_crypto_init() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
