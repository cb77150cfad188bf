/*
 * Dates to seconds. See civil.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/civil.h"

static uint32_t days_in(uint32_t year, uint32_t month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

/* Days from 1970-01-01, counting years from March so that the leap day comes last. */
static int32_t days_from_1970(const struct ml_civil *c)
{
    uint32_t y = c->year + 400 - (c->month <= 2 ? 1 : 0); /* not below zero for year 0 */
    uint32_t m = c->month > 2 ? c->month - 3 : c->month + 9;
    uint32_t of_year = (153 * m + 2) / 5 + c->day - 1;
    return (int32_t)(y * 365 + y / 4 - y / 100 + y / 400 + of_year) - 719468 - 146097;
}

bool ml_civil_to_unix(const struct ml_civil *c, int64_t *unix_s)
{
    if (c->year > 9999 || c->month < 1 || c->month > 12 || c->day < 1 || c->day > days_in(c->year, c->month) || c->hour > 23 ||
        c->minute > 59 || c->second > 60) {
        return false;
    }
    *unix_s = (int64_t)days_from_1970(c) * 86400 + (int32_t)(c->hour * 3600 + c->minute * 60 + c->second);
    return true;
}
