/* The clock of initiations. SPDX-License-Identifier: MIT */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "vectors.h"
#include "wg/wg_tai64n.h"
#include <stdlib.h>

static void a_stamp_is_encoded_as_the_official_package_does(void **state)
{
    (void)state;
    char line[256];
    int lines = 0;
    FILE *f = fopen(ML_VECTORS_DIR "/wg_tai64n.txt", "r");
    assert_non_null(f);
    while (vector_line(f, line, sizeof line)) {
        char *at = line;
        uint8_t want[12], mark[12], from[12], to[12];
        uint64_t before = strtoull(at, &at, 10);
        uint64_t after = strtoull(at, &at, 10);
        at++;
        assert_int_equal(vector_hex(&at, want, sizeof want), 12);
        for (int i = 0; i < 2; i++) {
            struct ml_wg_tai64n t;
            ml_wg_tai_init(&t, 0, NULL, 0);
            ml_wg_tai_set_wall(&t, 5, i ? after + 1 : before);
            assert_true(ml_wg_tai_poll_mark(&t, 5, mark));
            ml_wg_tai_stored(&t, true);
            ml_wg_tai_stamp(&t, 5, i ? to : from);
        }
        assert_true(memcmp(from, want, 12) <= 0);
        assert_true(memcmp(want, to, 12) <= 0);
        lines++;
    }
    (void)fclose(f);
    assert_int_equal(lines, 5);
}

static void marks_are_an_hour_apart_and_stamps_stay_below_them(void **state)
{
    (void)state;
    struct ml_wg_tai64n t;
    uint8_t mark[12] = {0}, stamp[12];
    int writes = 0;
    ml_wg_tai_init(&t, 0, NULL, 1700000000);
    for (int minute = 0; minute < 24 * 60; minute++) {
        ml_time now = ML_SEC(60 * minute);
        if (ml_wg_tai_poll_mark(&t, now, mark)) {
            writes++;
            assert_false(ml_wg_tai_poll_mark(&t, now, mark));
            ml_wg_tai_stored(&t, true);
        }
        assert_true(ml_wg_tai_is_ready(&t, now));
        ml_wg_tai_stamp(&t, now, stamp);
        assert_true(memcmp(stamp, mark, 12) < 0);
    }
    assert_in_range(writes, 24, 29); /* renewed ten minutes early: every 50 minutes */
}

static void time_never_goes_back_and_nonsense_is_ignored(void **state)
{
    (void)state;
    struct ml_wg_tai64n t;
    uint8_t mark[12], a[12], b[12];
    ml_wg_tai_init(&t, 0, NULL, 1700000000);
    assert_true(ml_wg_tai_poll_mark(&t, 0, mark));
    ml_wg_tai_stored(&t, true);
    ml_wg_tai_stamp(&t, ML_SEC(10), a);
    ml_wg_tai_set_wall(&t, ML_SEC(11), UINT64_C(1600000000000));
    ml_wg_tai_set_wall(&t, ML_SEC(11), UINT64_MAX);
    ml_wg_tai_stamp(&t, ML_SEC(11), b);
    assert_int_equal(ml_get_be64(b) - ml_get_be64(a), 1);
    ml_wg_tai_set_wall(&t, ML_SEC(12), UINT64_C(1800000000000));
    assert_false(ml_wg_tai_is_ready(&t, ML_SEC(12)));
    assert_true(ml_wg_tai_poll_mark(&t, ML_SEC(12), mark));
    assert_int_equal(ml_get_be64(mark), UINT64_C(0x400000000000000a) + 1800000000 + ML_WG_TAI_RESERVE_SEC);
    ml_wg_tai_stored(&t, true);
    assert_true(ml_wg_tai_is_ready(&t, ML_SEC(12)));
}

static void a_stored_mark_that_is_no_time_is_ignored(void **state)
{
    (void)state;
    struct ml_wg_tai64n t;
    uint8_t mark[12];
    memset(mark, 0xff, sizeof mark);
    ml_wg_tai_init(&t, 0, mark, 1700000000);
    assert_int_equal(t.mark_sec, 0);
    memset(mark, 0, sizeof mark);
    ml_wg_tai_init(&t, 0, mark, UINT64_MAX);
    assert_int_equal(t.base_ns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stamp_is_encoded_as_the_official_package_does),
        cmocka_unit_test(marks_are_an_hour_apart_and_stamps_stay_below_them),
        cmocka_unit_test(time_never_goes_back_and_nonsense_is_ignored),
        cmocka_unit_test(a_stored_mark_that_is_no_time_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
