/*
 * Dates of HTTP. Seconds by `date -u -d TEXT +%s` of GNU coreutils.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "control/http_date.h"

#include <string.h>

static int64_t seconds_of(const char *text)
{
    int64_t ms = -1;
    if (!ml_http_date_parse(text, strlen(text), &ms)) {
        assert_int_equal(ms, -1); /* untouched */
        return INT64_MIN;
    }
    assert_int_equal(ms % 1000, 0);
    return ms / 1000;
}

static void dates_are_seconds_since_1970(void **state)
{
    (void)state;
    assert_true(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777);
    assert_true(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT") == 0);
    assert_true(seconds_of("Tue, 29 Feb 2000 23:59:59 GMT") == 951868799);
    assert_true(seconds_of("Wed, 31 Dec 1969 23:59:59 GMT") == -1);
    assert_true(seconds_of("Mon, 01 Mar 0001 00:00:00 GMT") == INT64_C(-62130499200));
    assert_true(seconds_of("Fri, 31 Dec 9999 23:59:59 GMT") == INT64_C(253402300799));
    assert_true(seconds_of("Sat, 31 Dec 2016 23:59:60 GMT") == 1483228800); /* a leap second is the next minute */
}

static void other_forms_and_days_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "Sun, 06 Nov 1994 08:49:37 GM",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun; 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 199x 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 2001 00:00:00 GMT",
        "Thu, 29 Feb 1900 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(seconds_of(bad[i]) == INT64_MIN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_seconds_since_1970),
        cmocka_unit_test(other_forms_and_days_that_do_not_exist_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
