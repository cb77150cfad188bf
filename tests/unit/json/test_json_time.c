/*
 * RFC 3339 times against Go's time.Time. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "json/json_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void C5_every_fraction_and_offset_parses_as_go_parses_it(void **state)
{
    (void)state;
    char line[256];
    FILE *f = fopen(ML_VECTORS_DIR "/json_times.txt", "r");
    assert_non_null(f);
    int count = 0;
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#') {
            continue;
        }
        char *text = strtok(line, " \n"), *want = strtok(NULL, " \n");
        int64_t ms = 42;
        bool ok = ml_time_parse_rfc3339(text, strlen(text), &ms);
        if (ok != (strcmp(want, "bad") != 0) || ms != (ok ? strtoll(want, NULL, 10) : 42)) {
            fail_msg("%s: %d %lld, want %s", text, ok, (long long)ms, want);
        }
        count++;
    }
    fclose(f);
    assert_true(count > 100);
}

static void the_zero_time_is_unset(void **state)
{
    (void)state;
    int64_t ms;
    assert_true(ml_time_parse_rfc3339("0001-01-01T00:00:00Z", 20, &ms));
    assert_int_equal(ms, ML_UNIX_MS_UNSET);
    assert_false(ml_unix_ms_is_set(ms));
    assert_true(ml_time_parse_rfc3339("1970-01-01T00:00:00Z", 20, &ms) && ms == 0 && ml_unix_ms_is_set(ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(C5_every_fraction_and_offset_parses_as_go_parses_it),
        cmocka_unit_test(the_zero_time_is_unset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
