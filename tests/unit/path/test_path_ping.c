/*
 * CLI pings and their results. SPDX-License-Identifier: MIT
 */
#include "path/path_world.h"

#define EP "203.0.113.5:41641"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_init(&w, NULL);
    fresh_endpoints(&w);
    ml_addr eps[2] = {vec_addr(EP), vec_addr("203.0.113.6:1")};
    open_slot(&w, 0, 7, eps, 2);
    return 0;
}

static void without_a_trusted_path_derp_and_all_candidates_are_pinged_and_the_first_pong_counts(void **state)
{
    (void)state;
    struct ml_path_pong pong;
    assert_int_equal(ml_path_cli_ping(&w.p, w.now, 0, 77, false), ML_OK);
    assert_int_equal(drain(&w), 3);
    const struct sent *over_derp = NULL;
    for (size_t i = 0; i < w.sent_count; i++) {
        over_derp = w.sent[i].dst.derp_region == 7 ? &w.sent[i] : over_derp;
    }
    assert_non_null(over_derp);
    assert_false(ml_path_poll_pong(&w.p, &pong));
    w.now += ML_MSEC(12);
    struct ml_disco_msg m = {.type = ML_DISCO_PONG};
    memcpy(m.tx, over_derp->msg.tx, 12);
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    answer(&w, find_ping_to(&w, EP), EP);
    assert_true(ml_path_poll_pong(&w.p, &pong));
    assert_int_equal(pong.token, 77);
    assert_int_equal(pong.derp_region, 7);
    assert_int_equal(pong.latency, ML_MSEC(12));
    assert_false(pong.is_timeout || ml_addr_is_set(&pong.via));
    assert_false(ml_path_poll_pong(&w.p, &pong));
    /* The direct pong made the path: the next ping goes there alone. */
    assert_int_equal(ml_path_cli_ping(&w.p, w.now, 0, 78, false), ML_OK);
    assert_int_equal(drain(&w), 1);
    w.now += ML_MSEC(3);
    answer(&w, &w.sent[0], EP);
    assert_true(ml_path_poll_pong(&w.p, &pong));
    ml_addr ep = vec_addr(EP);
    assert_true(pong.token == 78 && ml_addr_equal(&pong.via, &ep) && pong.derp_region == 0);
}

static void a_pong_over_derp_makes_no_path(void **state)
{
    (void)state;
    ml_path_cli_ping(&w.p, w.now, 0, 1, false);
    drain(&w);
    for (size_t i = 0; i < w.sent_count; i++) {
        struct ml_disco_msg m = {.type = ML_DISCO_PONG};
        memcpy(m.tx, w.sent[i].msg.tx, 12);
        deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    }
    struct ml_path_status st;
    ml_path_get_status(&w.p, w.now, 0, &st);
    assert_false(ml_addr_is_set(&st.direct));
}

static void an_unanswered_ping_fails_after_5_s(void **state)
{
    (void)state;
    struct ml_path_pong pong;
    ml_path_cli_ping(&w.p, w.now, 0, 5, false);
    drain(&w);
    ml_time asked_at = w.now;
    advance(&w, ML_MSEC(4999));
    assert_false(ml_path_poll_pong(&w.p, &pong));
    assert_true(ml_path_deadline(&w.p) <= asked_at + ML_SEC(5));
    advance(&w, ML_MSEC(1));
    assert_true(ml_path_poll_pong(&w.p, &pong));
    assert_true(pong.is_timeout && pong.token == 5);
}

static void closing_the_slot_fails_its_pings(void **state)
{
    (void)state;
    struct ml_path_pong pong;
    ml_path_cli_ping(&w.p, w.now, 0, 5, false);
    ml_path_peer_close(&w.p, 0);
    assert_true(ml_path_poll_pong(&w.p, &pong));
    assert_true(pong.is_timeout && pong.token == 5);
    assert_int_equal(drain(&w), 0);
    assert_int_equal(ml_path_deadline(&w.p), ML_NEVER);
}

static void refusals_say_why(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ML_PATH_CLI; i++) {
        assert_int_equal(ml_path_cli_ping(&w.p, w.now, 0, i, false), ML_OK);
    }
    assert_int_equal(ml_path_cli_ping(&w.p, w.now, 0, 9, false), ML_ERR_FULL);
    setup(NULL);
    assert_int_equal(ml_path_cli_ping(&w.p, w.now, 2, 1, false), ML_ERR_NOT_FOUND);
    assert_int_equal(ml_path_cli_ping(&w.p, w.now, 900, 1, false), ML_ERR_NOT_FOUND);
    open_slot(&w, 1, 0, NULL, 0);
    assert_int_equal(ml_path_cli_ping(&w.p, w.now, 1, 1, false), ML_ERR_NO_PATH);
}

static void a_full_queue_of_pongs_drops_and_counts(void **state)
{
    (void)state;
    for (int i = 0; i < ML_PATH_PONGS; i++) {
        ping_us(&w, 0, EP, (uint8_t)(i + 1));
        assert_int_equal(w.drop, ML_DROP_NONE);
    }
    ping_us(&w, 0, EP, 99);
    assert_int_equal(w.drop, ML_DROP_DISCO_LIMITED);
    assert_int_equal(drain(&w), ML_PATH_PONGS);
}

static bool is_relay_pinged(void)
{
    for (size_t i = 0; i < w.sent_count; i++) {
        if (w.sent[i].msg.type == ML_DISCO_PING && w.sent[i].dst.derp_region == 7) {
            return true;
        }
    }
    return false;
}

static void a_newcomers_ping_is_repeated_over_the_relay_until_it_is_answered(void **state)
{
    (void)state;
    struct ml_path_pong pong;
    ml_path_cli_ping(&w.p, w.now, 0, 5, true);
    drain(&w);
    for (unsigned i = 0; i < 2; i++) {
        advance(&w, ML_MSEC(249));
        assert_int_equal(drain(&w), 0);
        assert_true(ml_path_deadline(&w.p) == w.now + ML_MSEC(1));
        advance(&w, ML_MSEC(1));
        assert_int_equal(drain(&w), 1);
        assert_int_equal(w.sent[0].msg.type, ML_DISCO_PING);
        assert_int_equal(w.sent[0].dst.derp_region, 7);
    }
    advance(&w, ML_MSEC(30));
    struct ml_disco_msg m = {.type = ML_DISCO_PONG, .src = vec_addr("127.3.3.40:7")};
    memcpy(m.tx, w.sent[0].msg.tx, sizeof m.tx);
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    assert_true(ml_path_poll_pong(&w.p, &pong));
    assert_true(!pong.is_timeout && pong.token == 5 && pong.latency == ML_MSEC(30));
    advance(&w, ML_SEC(1));
    drain(&w);
    assert_false(is_relay_pinged());
    /* Three times at most. */
    ml_path_cli_ping(&w.p, w.now, 0, 6, true);
    drain(&w);
    unsigned repeats = 0;
    for (unsigned i = 0; i < 20; i++) {
        advance(&w, ML_MSEC(125));
        drain(&w);
        repeats += is_relay_pinged();
    }
    assert_int_equal(repeats, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_a_trusted_path_derp_and_all_candidates_are_pinged_and_the_first_pong_counts, setup),
        cmocka_unit_test_setup(a_pong_over_derp_makes_no_path, setup),
        cmocka_unit_test_setup(an_unanswered_ping_fails_after_5_s, setup),
        cmocka_unit_test_setup(a_newcomers_ping_is_repeated_over_the_relay_until_it_is_answered, setup),
        cmocka_unit_test_setup(closing_the_slot_fails_its_pings, setup),
        cmocka_unit_test_setup(refusals_say_why, setup),
        cmocka_unit_test_setup(a_full_queue_of_pongs_drops_and_counts, setup),
    };
    return ml_crypto_init() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
