/* The timer rules one by one; the device in motion is in test_wg.c. SPDX-License-Identifier: MIT */
#include "wg_pair.h"

static uint32_t seed = 3;
static const ml_random rng = {.fill = test_fill, .ctx = &seed};
static struct ml_wg_timers t;
static struct ml_epoch e;

static int setup(void **state)
{
    (void)state;
    ml_wg_timers_init(&t);
    return 0;
}

static void a_fresh_peer_waits_for_nothing_and_may_start_at_once(void **state)
{
    (void)state;
    assert_int_equal(ml_wg_timers_deadline(&t, &e), ML_NEVER);
    assert_int_equal(ml_wg_timers_expire(&t, &e, ML_SEC(100000)), 0);
    assert_true(ml_wg_timers_want_handshake(&t, &e, 0, &rng, false, false));
}

static void no_initiation_within_5_s_of_an_initiation_or_a_response(void **state)
{
    (void)state;
    ml_wg_timers_response_sent(&t, &e, ML_SEC(10));
    assert_false(ml_wg_timers_want_handshake(&t, &e, ML_SEC(15) - 1, &rng, false, false));
    assert_int_equal(ml_wg_timers_deadline(&t, &e), ML_NEVER);
    assert_false(ml_wg_timers_want_handshake(&t, &e, ML_SEC(15) - 1, &rng, false, true));
    assert_in_range(ml_wg_timers_deadline(&t, &e), ML_SEC(15), ML_SEC(15) + ML_MSEC(333));
    assert_true(ml_wg_timers_want_handshake(&t, &e, ML_SEC(15), &rng, false, false));
}

static void jitter_covers_0_to_333_ms(void **state)
{
    (void)state;
    ml_time low = ML_NEVER, high = 0;
    for (int i = 0; i < 5000; i++) {
        ml_wg_timers_initiation_sent(&t, &e, 0, &rng);
        ml_time at = ml_wg_timers_deadline(&t, &e);
        low = at < low ? at : low;
        high = at > high ? at : high;
    }
    assert_int_equal(low, ML_SEC(5));
    assert_int_equal(high, ML_MSEC(5333));
}

static void anything_sent_stops_the_keepalive_and_anything_received_the_new_handshake(void **state)
{
    (void)state;
    ml_wg_timers_data_received(&t, &e, ML_SEC(1));
    ml_wg_timers_data_received(&t, &e, ML_SEC(5));
    assert_int_equal(ml_wg_timers_deadline(&t, &e), ML_SEC(11));
    ml_wg_timers_any_sent(&t);
    assert_int_equal(ml_wg_timers_deadline(&t, &e), ML_NEVER);
    ml_wg_timers_data_sent(&t, &e, ML_SEC(1), &rng);
    assert_in_range(ml_wg_timers_deadline(&t, &e), ML_SEC(16), ML_MSEC(16333));
    ml_wg_timers_any_received(&t);
    assert_int_equal(ml_wg_timers_deadline(&t, &e), ML_NEVER);
}

static void a_completed_handshake_stops_retries_and_a_new_wish_resets_their_count(void **state)
{
    (void)state;
    ml_time now = 0;
    for (int i = 0; i < 10; i++) {
        ml_wg_timers_initiation_sent(&t, &e, now, &rng);
        now = ml_wg_timers_deadline(&t, &e);
        assert_int_equal(ml_wg_timers_expire(&t, &e, now), ML_WG_DUE_RETRY);
    }
    assert_int_equal(t.attempts, 10);
    assert_true(ml_wg_timers_want_handshake(&t, &e, now, &rng, true, false));
    assert_int_equal(t.attempts, 10);
    assert_true(ml_wg_timers_want_handshake(&t, &e, now, &rng, false, false));
    assert_int_equal(t.attempts, 0);
    ml_wg_timers_initiation_sent(&t, &e, now, &rng);
    ml_wg_timers_handshake_complete(&t);
    assert_int_equal(ml_wg_timers_deadline(&t, &e), ML_NEVER);
}

static void forgetting_stops_everything_else(void **state)
{
    (void)state;
    ml_wg_timers_session_derived(&t, &e, ML_SEC(1));
    ml_wg_timers_data_received(&t, &e, ML_SEC(1));
    assert_int_equal(ml_wg_timers_expire(&t, &e, ML_SEC(541)), ML_WG_DUE_FORGET);
    assert_int_equal(ml_wg_timers_deadline(&t, &e), ML_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_fresh_peer_waits_for_nothing_and_may_start_at_once, setup),
        cmocka_unit_test_setup(no_initiation_within_5_s_of_an_initiation_or_a_response, setup),
        cmocka_unit_test_setup(jitter_covers_0_to_333_ms, setup),
        cmocka_unit_test_setup(anything_sent_stops_the_keepalive_and_anything_received_the_new_handshake, setup),
        cmocka_unit_test_setup(a_completed_handshake_stops_retries_and_a_new_wish_resets_their_count, setup),
        cmocka_unit_test_setup(forgetting_stops_everything_else, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
