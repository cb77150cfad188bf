/*
 * The verdicts of the official filter on random rules and packets. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "filter_script.h"
#include <cmocka.h>

static void C54_D61_verdicts_are_those_of_the_official_filter(void **state)
{
    (void)state;
    struct filter_script s;
    FILE *in = fopen(ML_VECTORS_DIR "/filter_verdicts.txt", "r");

    assert_non_null(in);
    filter_script_init(&s);
    filter_script_run(&s, in);
    filter_script_end(&s);
    fclose(in);
    if (s.wrong) {
        fail_msg("%lu wrong, first %s", s.wrong, s.first_wrong);
    }
    assert_int_equal(s.bad_lines, 0);
    assert_true(s.packets >= 20000);
    assert_true(s.accepted > s.packets / 10 && s.accepted < s.packets * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(C54_D61_verdicts_are_those_of_the_official_filter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
