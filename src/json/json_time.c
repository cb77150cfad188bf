/*
 * RFC 3339 to milliseconds. See json_time.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "json/json_time.h"

struct cursor {
    const char *p;
    size_t left;
    bool bad;
};

static uint32_t digits(struct cursor *c, unsigned count, uint32_t min, uint32_t max)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < count; i++) {
        if (c->left == 0 || *c->p < '0' || *c->p > '9') {
            c->bad = true;
            return min;
        }
        v = v * 10 + (uint32_t)(*c->p - '0');
        c->p++;
        c->left--;
    }
    if (v < min || v > max) {
        c->bad = true;
        return min;
    }
    return v;
}

static void expect(struct cursor *c, char ch)
{
    if (c->left == 0 || *c->p != ch) {
        c->bad = true;
        return;
    }
    c->p++;
    c->left--;
}

static uint32_t days_in(uint32_t year, uint32_t month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

/* Days from 1970-01-01, counting years from March so that the leap day comes last. */
static int64_t days_from_1970(uint32_t year, uint32_t month, uint32_t day)
{
    int64_t y = (int64_t)year - (month <= 2 ? 1 : 0) + 400; /* not below zero for year 0 */
    int64_t m = month > 2 ? month - 3 : month + 9;
    int64_t of_year = (153 * m + 2) / 5 + day - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + of_year - 719468 - 146097;
}

static uint32_t fraction_ms(struct cursor *c)
{
    uint32_t ms = 0, unit = 100;
    bool any = false;
    while (c->left > 0 && *c->p >= '0' && *c->p <= '9') {
        ms += unit * (uint32_t)(*c->p - '0');
        unit /= 10;
        any = true;
        c->p++;
        c->left--;
    }
    c->bad = c->bad || !any;
    return ms;
}

/* Seconds east of UTC. */
static int32_t offset_seconds(struct cursor *c)
{
    if (c->left == 0 || (*c->p != '+' && *c->p != '-')) {
        expect(c, 'Z');
        return 0;
    }
    int32_t sign = *c->p == '-' ? -1 : 1;
    expect(c, *c->p);
    uint32_t hours = digits(c, 2, 0, 23);
    expect(c, ':');
    uint32_t minutes = digits(c, 2, 0, 59);
    return sign * (int32_t)(hours * 3600 + minutes * 60);
}

bool ml_time_parse_rfc3339(const char *text, size_t len, int64_t *unix_ms)
{
    struct cursor c = {.p = text, .left = len};
    uint32_t year = digits(&c, 4, 0, 9999);
    expect(&c, '-');
    uint32_t month = digits(&c, 2, 1, 12);
    expect(&c, '-');
    uint32_t day = digits(&c, 2, 1, days_in(year, month));
    expect(&c, 'T');
    uint32_t hour = digits(&c, 2, 0, 23);
    expect(&c, ':');
    uint32_t minute = digits(&c, 2, 0, 59);
    expect(&c, ':');
    uint32_t second = digits(&c, 2, 0, 59);
    uint32_t ms = 0;
    if (!c.bad && c.left > 0 && *c.p == '.') {
        expect(&c, '.');
        ms = fraction_ms(&c);
    }
    int32_t offset = c.bad ? 0 : offset_seconds(&c);
    if (c.bad || c.left > 0) {
        return false;
    }
    int64_t s = days_from_1970(year, month, day) * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 + second - offset;
    *unix_ms = s * 1000 + ms;
    return true;
}
