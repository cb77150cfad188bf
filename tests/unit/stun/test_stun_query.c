/*
 * One STUN transaction. SPDX-License-Identifier: MIT
 */
#include "disco/vectors.h"
#include "stun/stun_query.h"

static uint64_t seed = 7;
static const ml_random rng = {vec_random_fill, &seed};

static void an_answer_matches_only_its_own_open_request(void **state)
{
    (void)state;
    struct ml_stun_query a = {0}, b = {0};
    uint8_t ra[40], rb[40];
    ml_stun_query_start(&a, ML_SEC(1), &rng, ra);
    ml_stun_query_start(&b, ML_SEC(1), &rng, rb);
    assert_memory_equal(ra + 8, a.tx, 12);
    assert_memory_not_equal(a.tx, b.tx, 12);
    assert_true(ml_stun_query_matches(&a, ra + 8));
    assert_false(ml_stun_query_matches(&a, rb + 8));
    assert_int_equal(ml_stun_query_finish(&a, ML_SEC(1) + ML_MSEC(17)), ML_MSEC(17));
    assert_false(ml_stun_query_matches(&a, ra + 8));
    ml_stun_query_cancel(&b);
    assert_false(ml_stun_query_matches(&b, rb + 8));
}

static void a_round_trip_is_never_zero(void **state)
{
    (void)state;
    struct ml_stun_query q;
    uint8_t r[40];
    ml_stun_query_start(&q, 5, &rng, r);
    assert_int_equal(ml_stun_query_finish(&q, 5), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_matches_only_its_own_open_request),
        cmocka_unit_test(a_round_trip_is_never_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
