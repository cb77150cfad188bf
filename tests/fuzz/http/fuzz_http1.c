/*
 * The HTTP/1.1 response reader: events and body do not depend on how input is cut. First byte: piece size, HEAD or not.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/http1_upgrade.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t scan(const uint8_t *p, size_t len, size_t piece, bool is_head)
{
    struct ml_http1 h;
    uint64_t hash = 0;
    enum ml_http1_event ev = ML_HTTP1_NEED_MORE;
    ml_http1_init(&h, is_head);
    for (size_t at = 0; at < len && ev != ML_HTTP1_END && ev != ML_HTTP1_ERROR;) {
        size_t n = len - at < piece ? len - at : piece, used, data_len;
        const uint8_t *data;
        ev = ml_http1_next(&h, p + at, n, &used, &data, &data_len);
        if (used > n || (ev == ML_HTTP1_DATA && (data < p + at || data + data_len > p + at + n || data_len == 0))) {
            abort();
        }
        for (size_t i = 0; i < data_len; i++) {
            hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
        }
        hash += ev == ML_HTTP1_HEAD ? h.status : 0;
        at += used;
    }
    return hash * 2 + (ml_http1_finish(&h) == ML_HTTP1_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2) {
        return 0;
    }
    bool is_head = (data[0] & 0x80) != 0;
    if (scan(data + 1, len - 1, len, is_head) != scan(data + 1, len - 1, 1 + data[0] % 32u, is_head)) {
        abort();
    }
    return 0;
}
