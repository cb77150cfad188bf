/*
 * The HPACK decoder: the result does not depend on how the block is cut. First byte: piece size. SPDX-License-Identifier: MIT
 */
#include "http/hpack_decode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ml_hpack a, b;
    if (len < 2) {
        return 0;
    }
    size_t piece = 1 + data[0] % 8u;
    data++;
    len--;
    ml_hpack_begin(&a);
    ml_hpack_begin(&b);
    ml_hpack_feed(&a, data, len);
    for (size_t at = 0; at < len; at += piece) {
        ml_hpack_feed(&b, data + at, len - at < piece ? len - at : piece);
    }
    if (ml_hpack_finish(&a) != ml_hpack_finish(&b) || a.status != b.status || a.is_malformed != b.is_malformed ||
        strcmp(a.retry_after, b.retry_after) != 0 || strcmp(a.date, b.date) != 0) {
        abort();
    }
    return 0;
}
