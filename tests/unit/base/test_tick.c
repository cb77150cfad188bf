/*
 * Unit tests of src/base/tick.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/tick.h"

#define HOURS(n) ML_SEC((n)*3600)

/* Stores an instant as an owner does that has one tick. */
static void put(struct ml_epoch *e, ml_tick *t, ml_time at)
{
    if (ml_epoch_is_due(e, at)) {
        *t = ml_tick_moved(*t, ml_epoch_move(e, at));
    }
    *t = ml_tick_of(e, at);
}

static void an_instant_comes_back_rounded_down_to_8_microseconds(void **state)
{
    (void)state;
    struct ml_epoch e = {0};
    ml_tick t = 0;
    /* From boot to a year later, in steps that hit every remainder. */
    for (ml_time at = 1; at < HOURS(24 * 365); at += HOURS(1) + 1234567) {
        put(&e, &t, at);
        assert_int_equal(ml_tick_time(&e, t), at - at % 8);
        put(&e, &t, at + ML_SEC(600)); /* a deadline */
        assert_int_equal(ml_tick_time(&e, t), at + ML_SEC(600) - at % 8);
    }
}

static void zero_and_never_are_kept_and_no_instant_becomes_one_of_them(void **state)
{
    (void)state;
    struct ml_epoch e = {0};
    assert_int_equal(ml_tick_of(&e, 0), 0);
    assert_int_equal(ml_tick_of(&e, ML_NEVER), ML_TICK_NEVER);
    assert_int_equal(ml_tick_time(&e, 0), 0);
    assert_int_equal(ml_tick_time(&e, ML_TICK_NEVER), ML_NEVER);
    assert_int_equal(ml_tick_of(&e, 1), 1);
    ml_time by = ml_epoch_move(&e, HOURS(100));
    assert_int_equal(ml_tick_moved(0, by), 0);
    assert_int_equal(ml_tick_moved(ML_TICK_NEVER, by), ML_TICK_NEVER);
    assert_int_equal(ml_tick_moved(1, by), 1);
    assert_int_equal(ml_tick_of(&e, HOURS(1)), 1); /* before the epoch */
    assert_in_range(ml_tick_of(&e, HOURS(100) + ML_EPOCH_SPAN), 1, ML_TICK_NEVER - 1);
}

static void moving_the_epoch_changes_no_instant_of_the_last_two_hours_nor_of_the_future(void **state)
{
    (void)state;
    const ml_time starts[] = {0, HOURS(1), ML_EPOCH_SPAN - 8, ML_EPOCH_SPAN, HOURS(50), HOURS(24 * 3650)};
    const ml_time after[] = {0, 8, ML_SEC(1), HOURS(2), HOURS(3), HOURS(9), HOURS(10), HOURS(11), HOURS(24 * 400)};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        for (size_t k = 0; k < sizeof after / sizeof *after; k++) {
            struct ml_epoch e = {0};
            ml_tick old = 0, soon = 0, last = 0;
            put(&e, &last, starts[i] + 8); /* not 0 */
            old = last;
            soon = ml_tick_of(&e, starts[i] + ML_SEC(540));
            ml_time now = starts[i] + 8 + after[k];
            if (ml_epoch_is_due(&e, now)) {
                ml_time by = ml_epoch_move(&e, now);
                assert_false(ml_epoch_is_due(&e, now));
                old = ml_tick_moved(old, by);
                soon = ml_tick_moved(soon, by);
            }
            ml_time age = now - ml_tick_time(&e, old);
            assert_true(age == after[k] || (after[k] > HOURS(2) && age >= HOURS(2) && age <= after[k]));
            if (after[k] < HOURS(2)) {
                assert_int_equal(ml_tick_time(&e, soon), starts[i] + ML_SEC(540));
            }
            assert_true(ml_tick_time(&e, soon) <= now || after[k] < ML_SEC(540));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instant_comes_back_rounded_down_to_8_microseconds),
        cmocka_unit_test(zero_and_never_are_kept_and_no_instant_becomes_one_of_them),
        cmocka_unit_test(moving_the_epoch_changes_no_instant_of_the_last_two_hours_nor_of_the_future),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
