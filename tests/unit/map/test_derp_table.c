/*
 * Table of relay regions. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "map/derp_table.h"
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static struct ml_derp_table t;
static void *mem;
static struct ml_derp_change c;

static int setup(void **state)
{
    (void)state;
    mem = malloc(ml_derp_table_mem(3));
    assert_non_null(mem);
    ml_derp_table_init(&t, 3, mem);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(mem);
    return 0;
}

static uint32_t apply_with(struct ml_delta d, const struct ml_peer_table *peers, uint16_t home)
{
    ml_derp_table_apply(&t, &d, peers, home, &c);
    return c.what;
}

static uint32_t apply(struct ml_delta d)
{
    return apply_with(d, NULL, 0);
}

static uint32_t put(uint16_t id, const char *host)
{
    struct ml_derp_region r = {.id = id, .node_count = 1};
    strcpy(r.nodes[0].host, host);
    return apply((struct ml_delta){.type = ML_DELTA_DERP_REGION, .region = &r});
}

static void regions_present_replace_all_others(void **state)
{
    (void)state;
    apply((struct ml_delta){.type = ML_DELTA_DERP_BEGIN, .flag = true});
    assert_int_equal(put(2, "b"), ML_DERP_REGION_ADDED);
    assert_int_equal(put(1, "a"), ML_DERP_REGION_ADDED);
    apply((struct ml_delta){.type = ML_DELTA_DERP_END});
    assert_false(ml_derp_table_sweep(&t, &c));
    assert_true(t.region_count == 2 && t.regions[0].id == 1 && t.regions[1].id == 2 && t.omit_default);

    apply((struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    assert_int_equal(put(1, "a"), 0);
    assert_int_equal(put(3, "c"), ML_DERP_REGION_ADDED);
    assert_int_equal(put(1, "a2"), ML_DERP_REGION_CHANGED);
    apply((struct ml_delta){.type = ML_DELTA_DERP_END});
    assert_true(ml_derp_table_sweep(&t, &c));
    assert_true(c.what == ML_DERP_REGION_REMOVED && c.old_id == 2);
    assert_false(ml_derp_table_sweep(&t, &c));
    assert_null(ml_derp_table_find(&t, 2));
    assert_string_equal(ml_derp_table_find(&t, 1)->nodes[0].host, "a2");
}

static void a_map_that_breaks_off_removes_no_region(void **state)
{
    (void)state;
    apply((struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    put(1, "a");
    apply((struct ml_delta){.type = ML_DELTA_DERP_END});
    apply((struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    apply((struct ml_delta){.type = ML_DELTA_ABORT});
    apply((struct ml_delta){.type = ML_DELTA_DERP_END});
    assert_false(ml_derp_table_sweep(&t, &c));
    assert_non_null(ml_derp_table_find(&t, 1));
}

static void scores_are_replaced_as_a_whole_and_not_positive_ones_ignored(void **state)
{
    (void)state;
    apply((struct ml_delta){.type = ML_DELTA_DERP_SCORE, .id = 7, .score_milli = 500}); /* before its region is known */
    assert_int_equal(ml_derp_table_score(&t, 7), 500);
    apply((struct ml_delta){.type = ML_DELTA_DERP_SCORE, .id = 7, .score_milli = 0});
    assert_int_equal(ml_derp_table_score(&t, 7), 500);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_DERP_SCORE_RESET}), ML_DERP_SCORES_CHANGED);
    assert_int_equal(ml_derp_table_score(&t, 7), ML_DERP_SCORE_ONE);
}

static void home_and_regions_of_peers_are_kept_when_there_are_too_many(void **state)
{
    (void)state;
    struct ml_peer peers[2] = {{.id = 1, .home_region = 8}, {.id = 0, .home_region = 5}};
    struct ml_peer_table pt = {.peers = peers, .slot_count = 2};

    apply((struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    for (uint16_t id = 1; id <= 9; id++) {
        struct ml_derp_region r = {.id = id};
        apply_with((struct ml_delta){.type = ML_DELTA_DERP_REGION, .region = &r}, &pt, 9);
    }
    apply((struct ml_delta){.type = ML_DELTA_DERP_END});
    assert_false(ml_derp_table_sweep(&t, &c));
    assert_int_equal(t.region_count, 3);
    assert_true(t.regions[0].id == 1 && t.regions[1].id == 8 && t.regions[2].id == 9);
    assert_int_equal(t.over_limit, 6);
}

static void old_regions_give_way_to_those_of_a_new_map(void **state)
{
    (void)state;
    apply((struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    put(1, "a");
    put(2, "b");
    put(3, "c");
    apply((struct ml_delta){.type = ML_DELTA_DERP_END});
    ml_derp_table_sweep(&t, &c);
    apply((struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
    assert_int_equal(put(10, "x"), ML_DERP_REGION_ADDED | ML_DERP_REGION_REMOVED);
    assert_true(c.id == 10 && c.old_id == 3);
    put(11, "y");
    put(12, "z");
    apply((struct ml_delta){.type = ML_DELTA_DERP_END});
    assert_false(ml_derp_table_sweep(&t, &c));
    assert_true(t.regions[0].id == 10 && t.regions[2].id == 12 && t.over_limit == 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(regions_present_replace_all_others),
        T(a_map_that_breaks_off_removes_no_region),
        T(scores_are_replaced_as_a_whole_and_not_positive_ones_ignored),
        T(home_and_regions_of_peers_are_kept_when_there_are_too_many),
        T(old_regions_give_way_to_those_of_a_new_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
