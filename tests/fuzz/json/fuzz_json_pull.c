/*
 * The JSON reader: the verdict and the events do not depend on how input is cut; skipping agrees. First byte: piece size.
 *
 * SPDX-License-Identifier: MIT
 */
#include "json/json_pull.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct result {
    uint64_t hash;
    bool ok;
};

static void mix(struct result *r, uint64_t v)
{
    r->hash = (r->hash ^ v) * UINT64_C(0x100000001b3);
}

static struct result scan(const uint8_t *p, size_t len, size_t piece, bool skip)
{
    char tok[16];
    struct ml_json j;
    struct result r = {0};
    ml_json_init(&j, tok, sizeof tok);
    if (skip) {
        ml_json_skip(&j);
    }
    enum ml_json_event ev = ML_JSON_NEED_MORE;
    for (size_t at = 0; at < len && ev != ML_JSON_ERROR;) {
        size_t n = len - at < piece ? len - at : piece, used;
        ev = ml_json_next(&j, p + at, n, &used);
        if (used > n || j.tok_len >= sizeof tok || tok[j.tok_len] != 0 || (ev == ML_JSON_NEED_MORE && used != n)) {
            abort();
        }
        at += used;
        if (ev != ML_JSON_NEED_MORE && ev != ML_JSON_END) {
            mix(&r, ev);
            for (uint32_t i = 0; ev != ML_JSON_ERROR && i < j.tok_len; i++) {
                mix(&r, (uint8_t)tok[i]);
            }
            int64_t v;
            uint64_t u;
            (void)(ml_json_get_milli(&j, &v) || ml_json_get_i64(&j, &v) || ml_json_get_u64(&j, &u));
        }
    }
    if (ev != ML_JSON_ERROR) {
        while ((ev = ml_json_finish(&j)) == ML_JSON_NUMBER) {
        }
    }
    r.ok = ev == ML_JSON_END;
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2) {
        return 0;
    }
    size_t piece = 1 + data[0] % 16u;
    struct result whole = scan(data + 1, len - 1, len, false), cut = scan(data + 1, len - 1, piece, false);
    struct result skipped = scan(data + 1, len - 1, piece, true);
    if (whole.ok != cut.ok || whole.hash != cut.hash || (whole.ok && !skipped.ok)) {
        abort();
    }
    return 0;
}
