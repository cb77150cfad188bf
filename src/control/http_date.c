/*
 * HTTP dates to Unix milliseconds. Source: control.md 5.3; RFC 9110 5.6.7.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/http_date.h"

#include "base/bytes.h"
#include "base/civil.h"

/* Of digits that were checked. */
static uint32_t number(const char *p, size_t n)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v * 10 + (uint32_t)(p[i] - '0');
    }
    return v;
}

bool ml_http_date_parse(const char *text, size_t len, int64_t *unix_ms)
{
    static const char form[] = "xxx, 00 xxx 0000 00:00:00 GMT"; /* 0: a digit, x: anything */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (len != sizeof form - 1) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : form[i] != 'x' && text[i] != form[i]) {
            return false;
        }
    }
    struct ml_civil t = {
        .day = number(text + 5, 2),
        .year = number(text + 12, 4),
        .hour = number(text + 17, 2),
        .minute = number(text + 20, 2),
        .second = number(text + 23, 2),
    };
    for (uint32_t i = 0; i < 12; i++) {
        if (memcmp(text + 8, months + (size_t)i * 3, 3) == 0) {
            t.month = i + 1;
        }
    }
    int64_t s;
    if (!ml_civil_to_unix(&t, &s)) {
        return false;
    }
    *unix_ms = s * 1000;
    return true;
}
