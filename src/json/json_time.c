/*
 * RFC 3339 to milliseconds. See json_time.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "json/json_time.h"

#include "base/civil.h"

struct cursor {
    const char *p;
    size_t left;
    bool bad;
};

static uint32_t digits(struct cursor *c, unsigned count, uint32_t max)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < count; i++) {
        if (c->left == 0 || *c->p < '0' || *c->p > '9') {
            c->bad = true;
            return 0;
        }
        v = v * 10 + (uint32_t)(*c->p - '0');
        c->p++;
        c->left--;
    }
    if (v > max) {
        c->bad = true;
        return 0;
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
    uint32_t hours = digits(c, 2, 23);
    expect(c, ':');
    uint32_t minutes = digits(c, 2, 59);
    return sign * (int32_t)(hours * 3600 + minutes * 60);
}

bool ml_time_parse_rfc3339(const char *text, size_t len, int64_t *unix_ms)
{
    struct cursor c = {.p = text, .left = len};
    struct ml_civil t = {0};
    t.year = digits(&c, 4, 9999);
    expect(&c, '-');
    t.month = digits(&c, 2, 12);
    expect(&c, '-');
    t.day = digits(&c, 2, 31);
    expect(&c, 'T');
    t.hour = digits(&c, 2, 23);
    expect(&c, ':');
    t.minute = digits(&c, 2, 59);
    expect(&c, ':');
    t.second = digits(&c, 2, 59);
    uint32_t ms = 0;
    if (!c.bad && c.left > 0 && *c.p == '.') {
        expect(&c, '.');
        ms = fraction_ms(&c);
    }
    int32_t offset = c.bad ? 0 : offset_seconds(&c);
    int64_t s;
    if (c.bad || c.left > 0 || !ml_civil_to_unix(&t, &s)) {
        return false;
    }
    *unix_ms = (s - offset) * 1000 + ms;
    return true;
}
