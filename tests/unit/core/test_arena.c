/*
 * The arena by tenant, as tools/sizes.c and docs/footprint.md show it. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/engine_priv.h"

#include <stdalign.h>

static void tenants_fill_the_arena_but_for_gaps_of_alignment(void **state)
{
    (void)state;
    static const uint16_t peers[] = {0, 2, 16, 64, 1000, 10000};
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        const ml_config cfg = {.max_peers = peers[i]};
        size_t len_of[CORE_TENANT_COUNT] = {0}, sum = 0;
        size_t total = core_arena_by_tenant(&cfg, len_of);
        assert_true(total > 0);
        assert_int_equal(total, ml_mem_needed(&cfg));
        for (unsigned t = 0; t < CORE_TENANT_COUNT; t++) {
            assert_true(len_of[t] > 0);
            sum += len_of[t];
        }
        assert_true(sum <= total && total - sum < CORE_TENANT_COUNT * alignof(max_align_t));
    }
}

static void an_impossible_configuration_has_no_arena(void **state)
{
    (void)state;
    const ml_config cfg = {.out_queue_bytes = 1};
    size_t len_of[CORE_TENANT_COUNT];
    assert_int_equal(core_arena_by_tenant(&cfg, len_of), 0);
    assert_int_equal(core_arena_by_tenant(NULL, len_of), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenants_fill_the_arena_but_for_gaps_of_alignment),
        cmocka_unit_test(an_impossible_configuration_has_no_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
