/* Keypair rotation and counter limits. SPDX-License-Identifier: MIT */
#include "wg_pair.h"

static struct ml_wg_session s, o;
static struct ml_wg_spare room[4];
static struct ml_wg_common common;

static struct ml_wg_keys keys(uint8_t n, bool is_mirror)
{
    struct ml_wg_keys k = {.local_index = n + (is_mirror ? 100u : 0u), .remote_index = n + (is_mirror ? 0u : 100u)};
    memset(is_mirror ? k.receive : k.send, n, 32);
    memset(is_mirror ? k.send : k.receive, n + 50, 32);
    return k;
}

static int setup(void **state)
{
    (void)state;
    ml_wg_session_clear(&s);
    ml_wg_session_clear(&o);
    common = (struct ml_wg_common){.spares = room, .spare_count = 4};
    return 0;
}

static void next_becomes_current_with_its_first_packet_and_current_previous(void **state)
{
    (void)state;
    struct ml_wg_keys k1 = keys(1, false), k2 = keys(2, false), m2 = keys(2, true);
    uint8_t msg[32];
    bool first;
    ml_wg_session_install_current(&s, &common, 1, &k1);
    assert_true(ml_wg_session_install_next(&s, &common, 2, &k2));
    assert_int_equal(ml_wg_session_find(&s, 1), ML_WG_KEYPAIR_CURRENT);
    assert_int_equal(ml_wg_session_find(&s, 2), ML_WG_KEYPAIR_NEXT);
    assert_int_equal(ml_wg_session_find(&s, 0), ML_WG_KEYPAIR_NONE);
    ml_wg_session_install_current(&o, &common, 2, &m2);
    ml_wg_session_seal(&o, msg, 0);
    assert_int_equal(ml_wg_session_open(&s, &common, 3, ML_WG_KEYPAIR_NEXT, msg, 32, false, &first), ML_DROP_NONE);
    assert_true(first);
    assert_false(s.current.is_initiator);
    assert_int_equal(ml_wg_session_find(&s, 1), ML_WG_KEYPAIR_PREVIOUS);
    assert_int_equal(ml_wg_session_find(&s, 2), ML_WG_KEYPAIR_CURRENT);
}

static void keys_of_our_own_handshake_push_an_unused_next_to_previous(void **state)
{
    (void)state;
    struct ml_wg_keys k1 = keys(1, false), k2 = keys(2, false), k3 = keys(3, false);
    ml_wg_session_install_current(&s, &common, 1, &k1);
    assert_true(ml_wg_session_install_next(&s, &common, 2, &k2));
    ml_wg_session_install_current(&s, &common, 2 + ML_SEC(5), &k3);
    assert_int_equal(ml_wg_session_find(&s, 1), ML_WG_KEYPAIR_NONE);
    assert_int_equal(ml_wg_session_find(&s, 2), ML_WG_KEYPAIR_PREVIOUS);
    assert_int_equal(ml_wg_session_find(&s, 3), ML_WG_KEYPAIR_CURRENT);
    assert_true(s.current.is_initiator);
}

static void handshakes_that_crossed_leave_both_sides_with_that_of_the_larger_key(void **state)
{
    (void)state;
    /* 1 is the old session, 2 that of o, 3 that of s, which has the larger key. */
    struct ml_wg_keys k1 = keys(1, false), k2 = keys(2, false), k3 = keys(3, false);
    struct ml_wg_keys m1 = keys(1, true), m2 = keys(2, true), m3 = keys(3, true);
    uint8_t from_s[32], from_o[32], late[32];
    bool first;
    ml_wg_session_install_current(&s, &common, 1, &k1);
    ml_wg_session_install_current(&o, &common, 1, &m1);
    ml_wg_session_seal(&o, late, 0);
    assert_true(ml_wg_session_install_next(&s, &common, 2, &k2));
    assert_true(ml_wg_session_install_next(&o, &common, 2, &m3));
    ml_wg_session_install_current(&s, &common, 3, &k3);
    ml_wg_session_install_current(&o, &common, 3, &m2);
    /* What was in flight on the old session still opens. */
    assert_int_equal(ml_wg_session_open(&s, &common, 4, ml_wg_session_find(&s, 1), late, 32, true, &first), ML_DROP_NONE);
    ml_wg_session_seal(&s, from_s, 0);
    ml_wg_session_seal(&o, from_o, 0);
    uint8_t again[32];
    memcpy(again, from_o, sizeof again);
    assert_int_equal(ml_wg_session_open(&s, &common, 4, ml_wg_session_find(&s, 2), from_o, 32, true, &first), ML_DROP_NONE);
    assert_false(first);
    assert_int_equal(ml_wg_session_open(&s, &common, 4, ml_wg_session_find(&s, 2), again, 32, true, &first), ML_DROP_WG_REPLAY);
    assert_int_equal(ml_wg_session_open(&o, &common, 4, ml_wg_session_find(&o, 103), from_s, 32, false, &first), ML_DROP_NONE);
    assert_true(first);
    assert_int_equal(s.current.local_index, 3);
    assert_int_equal(o.current.local_index, 103);
    assert_true(s.current.is_initiator);
    assert_false(o.current.is_initiator);
}

static void counters_end_before_2_to_the_64_minus_2_to_the_13(void **state)
{
    (void)state;
    struct ml_wg_keys k1 = keys(1, false), m1 = keys(1, true);
    uint8_t msg[32];
    bool first;
    ml_wg_session_install_current(&s, &common, 0, &k1);
    ml_wg_session_install_current(&o, &common, 0, &m1);
    s.current.counter = UINT64_MAX - 8192 - 1;
    assert_true(ml_wg_session_can_send(&s, &common, 1));
    ml_wg_session_seal(&s, msg, 0);
    assert_false(ml_wg_session_can_send(&s, &common, 1));
    assert_int_equal(ml_wg_session_open(&o, &common, 1, ML_WG_KEYPAIR_CURRENT, msg, 32, false, &first), ML_DROP_NONE);
    ml_wg_session_seal(&s, msg, 0);
    assert_int_equal(ml_wg_session_open(&o, &common, 1, ML_WG_KEYPAIR_CURRENT, msg, 32, false, &first), ML_DROP_WG_REPLAY);
}

/* ---- Room for keypairs that are not current ---- */

/* Sessions that only have `next`, of keys n and 100 + n. */
static void answer(struct ml_wg_session *x, ml_time now, uint8_t n)
{
    struct ml_wg_keys k = keys(n, false);
    assert_true(ml_wg_session_install_next(x, &common, now, &k));
}

static void the_oldest_previous_gives_way_and_no_keypair_stays_behind(void **state)
{
    (void)state;
    struct ml_wg_session many[4] = {0};
    common.spare_count = 3;
    for (uint8_t i = 0; i < 4; i++) {
        struct ml_wg_keys old = keys((uint8_t)(10 + i), false), new = keys((uint8_t)(20 + i), false);
        ml_wg_session_clear(&many[i]);
        ml_wg_session_install_current(&many[i], &common, ML_SEC(1 + i), &old);
        ml_wg_session_install_current(&many[i], &common, ML_SEC(10 + i), &new);
    }
    assert_int_equal(ml_wg_session_find(&many[0], 10), ML_WG_KEYPAIR_NONE);
    assert_null(many[0].previous);
    assert_int_equal(ml_wg_session_find(&many[0], 20), ML_WG_KEYPAIR_CURRENT);
    for (uint8_t i = 1; i < 4; i++) {
        assert_int_equal(ml_wg_session_find(&many[i], 10 + i), ML_WG_KEYPAIR_PREVIOUS);
    }
    answer(&s, ML_SEC(20), 1); /* `next` takes the place of a `previous` */
    assert_null(many[1].previous);
    ml_wg_session_clear(&s);
    for (int i = 0; i < 4; i++) {
        ml_wg_session_clear(&many[i]);
    }
    static const struct ml_wg_spare none[4];
    assert_memory_equal(room, none, sizeof none);
}

static void an_unused_next_stays_for_5_s_whatever_others_want(void **state)
{
    (void)state;
    struct ml_wg_session many[3] = {0};
    struct ml_wg_keys k1 = keys(1, false), k2 = keys(2, false), k3 = keys(3, false);
    common.spare_count = 2;
    for (uint8_t i = 0; i < 3; i++) {
        ml_wg_session_clear(&many[i]);
    }
    answer(&many[0], 0, 10);
    answer(&many[1], ML_SEC(1), 11);
    assert_false(ml_wg_session_has_room(&many[2], &common, ML_SEC(5) - 1));
    assert_false(ml_wg_session_install_next(&many[2], &common, ML_SEC(5) - 1, &k1));
    assert_null(many[2].next);
    /* A rekey of another goes on, but what was in flight on its old keys is lost. */
    ml_wg_session_install_current(&s, &common, 0, &k2);
    ml_wg_session_install_current(&s, &common, ML_SEC(20), &k3);
    assert_int_equal(ml_wg_session_find(&s, 3), ML_WG_KEYPAIR_CURRENT);
    assert_int_equal(ml_wg_session_find(&s, 2), ML_WG_KEYPAIR_NONE);
    assert_int_equal(ml_wg_session_find(&many[1], 11), ML_WG_KEYPAIR_NEXT);
    /* The peer's own place serves its next handshake; the oldest of the others gives way after 5 s. */
    assert_true(ml_wg_session_has_room(&many[0], &common, ML_SEC(2)));
    answer(&many[0], ML_SEC(2), 12);
    assert_true(ml_wg_session_has_room(&many[2], &common, ML_SEC(6)));
    answer(&many[2], ML_SEC(6), 13);
    assert_int_equal(ml_wg_session_find(&many[0], 12), ML_WG_KEYPAIR_NEXT);
    assert_int_equal(ml_wg_session_find(&many[1], 11), ML_WG_KEYPAIR_NONE);
    for (int i = 0; i < 3; i++) {
        ml_wg_session_clear(&many[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(next_becomes_current_with_its_first_packet_and_current_previous, setup),
        cmocka_unit_test_setup(keys_of_our_own_handshake_push_an_unused_next_to_previous, setup),
        cmocka_unit_test_setup(handshakes_that_crossed_leave_both_sides_with_that_of_the_larger_key, setup),
        cmocka_unit_test_setup(the_oldest_previous_gives_way_and_no_keypair_stays_behind, setup),
        cmocka_unit_test_setup(an_unused_next_stays_for_5_s_whatever_others_want, setup),
        cmocka_unit_test_setup(counters_end_before_2_to_the_64_minus_2_to_the_13, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
