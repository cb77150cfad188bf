/* The window of received counters, also against the official filter. SPDX-License-Identifier: MIT */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "vectors.h"
#include "wg/wg_replay.h"
#include <stdlib.h>

#define BLOCKS ML_WG_REPLAY_BLOCKS(2048)
static uint32_t ring[BLOCKS];
static struct ml_wg_replay r;

static int setup(void **state)
{
    (void)state;
    memset(ring, 0xff, sizeof ring);
    ml_wg_replay_init(&r, ring, BLOCKS);
    return 0;
}

static bool accept(uint64_t c)
{
    bool is_new = ml_wg_replay_is_new(&r, ring, c);
    assert_int_equal(ml_wg_replay_accept(&r, ring, c), is_new);
    return is_new;
}

static void it_agrees_with_the_official_filter(void **state)
{
    (void)state;
    char line[128], *end;
    int lines = 0;
    FILE *f = fopen(ML_VECTORS_DIR "/wg_replay.txt", "r");
    assert_non_null(f);
    while (vector_line(f, line, sizeof line)) {
        uint64_t counter = strtoull(line, &end, 10);
        assert_int_equal(accept(counter), end[1] == '1');
        lines++;
    }
    (void)fclose(f);
    assert_int_equal(lines, 3000);
}

static void exactly_2048_counters_behind_the_highest_are_remembered(void **state)
{
    (void)state;
    for (uint64_t top = 10000; top < 10064; top++) {
        setup(NULL);
        assert_true(accept(top));
        assert_true(accept(top - 2048));
        assert_false(accept(top - 2048));
        assert_false(accept(top - 2049));
        assert_true(accept(top - 1));
    }
}

static void it_agrees_with_a_plain_list_while_the_ring_wraps(void **state)
{
    (void)state;
    static uint8_t seen[40000];
    uint64_t top = 0;
    uint32_t x = 7;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 60000; i++) {
        x = x * 1664525 + 1013904223;
        uint64_t c = (uint64_t)i / 2 + (x >> 24) * ((x >> 20) % 9);
        bool want = !seen[c] && (c >= top || top - c <= 2048);
        assert_int_equal(accept(c), want);
        seen[c] |= want;
        top = c > top ? c : top;
    }
}

static void jumps_of_any_size_clear_what_they_pass(void **state)
{
    (void)state;
    assert_true(accept(0));
    assert_false(accept(0));
    assert_true(accept(31));
    assert_true(accept(32));
    assert_true(accept(2047 + 33));
    assert_true(accept(40));
    assert_true(accept(UINT64_C(1) << 40));
    assert_false(accept(40));
    assert_true(accept((UINT64_C(1) << 40) - 100));
    assert_true(accept(UINT64_MAX - 8193));
    assert_false(accept(UINT64_MAX));
    assert_false(accept(1));
}

static void the_newest_part_survives_in_a_smaller_ring(void **state)
{
    (void)state;
    uint32_t small[ML_WG_REPLAY_BLOCKS(256)];
    struct ml_wg_replay s;
    for (uint64_t c = 0; c < 5000; c += 2) {
        assert_true(accept(c));
    }
    ml_wg_replay_shrink(&s, small, ML_WG_REPLAY_BLOCKS(256), &r, ring);
    for (uint64_t c = 4998 - 256; c <= 4998; c++) {
        assert_int_equal(ml_wg_replay_accept(&s, small, c), c % 2);
    }
    assert_false(ml_wg_replay_accept(&s, small, 4741));
    assert_true(ml_wg_replay_accept(&s, small, 5000));
    setup(NULL);
    ml_wg_replay_shrink(&s, small, ML_WG_REPLAY_BLOCKS(256), &r, ring);
    assert_true(ml_wg_replay_accept(&s, small, 0));
    assert_false(ml_wg_replay_accept(&s, small, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_agrees_with_the_official_filter, setup),
        cmocka_unit_test_setup(exactly_2048_counters_behind_the_highest_are_remembered, setup),
        cmocka_unit_test_setup(it_agrees_with_a_plain_list_while_the_ring_wraps, setup),
        cmocka_unit_test_setup(jumps_of_any_size_clear_what_they_pass, setup),
        cmocka_unit_test_setup(the_newest_part_survives_in_a_smaller_ring, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
