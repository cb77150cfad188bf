/*
 * The map stream parser on arbitrary messages. First byte: chunk size, and whether it is the first message of its stream. The
 * same message in one piece must yield the same number of deltas.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "control/delta_text.h"
#include "control/map_parse.h"

struct seen {
    uint32_t hash, count;
    int open;
};

static void on_delta(void *ctx, const struct ml_delta *d)
{
    static char line[16384];
    struct seen *s = ctx;
    for (const char *p = delta_text(d, line, sizeof line); *p; p++) {
        s->hash = (s->hash ^ (uint8_t)*p) * 16777619U;
    }
    s->count++;
    s->open += d->type == ML_DELTA_BEGIN;
    s->open -= d->type == ML_DELTA_END || d->type == ML_DELTA_ABORT;
    if (s->open < 0 || s->open > 1) {
        abort();
    }
}

static struct seen run(const uint8_t *data, size_t len, size_t chunk, bool is_first)
{
    static struct ml_map_parse p;
    struct seen s = {0};
    const struct ml_delta_sink sink = {.fn = on_delta, .ctx = &s};
    ml_map_parse_init(&p);
    p.is_first = is_first;
    ml_map_parse_begin(&p);
    bool is_good = true;
    for (size_t at = 0; is_good && at < len; at += chunk) {
        is_good = ml_map_parse_feed(&p, data + at, len - at < chunk ? len - at : chunk, &sink);
    }
    if (is_good) {
        (void)ml_map_parse_end(&p, &sink);
    } else {
        ml_map_parse_abort(&p, &sink);
    }
    if (s.open != 0) {
        abort();
    }
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    bool is_first = data[0] & 1;
    struct seen a = run(data + 1, len - 1, (size_t)(data[0] >> 1) + 1, is_first);
    struct seen b = run(data + 1, len - 1, len, is_first);
    if (a.hash != b.hash || a.count != b.count) {
        abort();
    }
    return 0;
}
