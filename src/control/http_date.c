/*
 * HTTP dates to Unix milliseconds. Source: control.md 5.3; RFC 9110 5.6.7.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/http_date.h"

#include "base/bytes.h"

struct civil {
    uint32_t year, month, day, hour, minute, second;
};

/* Days since 1970-01-01 of a proleptic Gregorian date: years are counted from March, so that the leap day comes last. */
static int64_t days_from_civil(const struct civil *t)
{
    int64_t y = (int64_t)t->year - (t->month <= 2 ? 1 : 0);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * ((int64_t)t->month + (t->month > 2 ? -3 : 9)) + 2) / 5 + (int64_t)t->day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static bool is_valid(const struct civil *t)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (t->month < 1 || t->month > 12 || t->day < 1 || t->hour > 23 || t->minute > 59 || t->second > 60) {
        return false;
    }
    bool is_leap = (t->year % 4 == 0 && t->year % 100 != 0) || t->year % 400 == 0;
    return t->day <= days[t->month - 1] + (t->month == 2 && is_leap ? 1U : 0U);
}

static int64_t to_seconds(const struct civil *t)
{
    return days_from_civil(t) * 86400 + (int64_t)t->hour * 3600 + (int64_t)t->minute * 60 + (int64_t)t->second;
}

/* Exactly @p n digits at @p p. */
static bool digits(const char *p, size_t n, uint32_t *out)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
        v = v * 10 + (uint32_t)(p[i] - '0');
    }
    *out = v;
    return true;
}

bool ml_http_date_parse(const char *text, size_t len, int64_t *unix_ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct civil t = {0};
    /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    if (len != 29 || text[3] != ',' || text[4] != ' ' || !digits(text + 5, 2, &t.day) || text[7] != ' ' || text[11] != ' ' ||
        !digits(text + 12, 4, &t.year) || text[16] != ' ' || !digits(text + 17, 2, &t.hour) || text[19] != ':' ||
        !digits(text + 20, 2, &t.minute) || text[22] != ':' || !digits(text + 23, 2, &t.second) ||
        memcmp(text + 25, " GMT", 4) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < 12; i++) {
        if (memcmp(text + 8, months + (size_t)i * 3, 3) == 0) {
            t.month = i + 1;
        }
    }
    if (!is_valid(&t)) {
        return false;
    }
    *unix_ms = to_seconds(&t) * 1000;
    return true;
}
