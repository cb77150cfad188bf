/*
 * Heads of control-socket requests, and the query decoder on what was parsed. SPDX-License-Identifier: MIT
 */
#include "http_request.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ml_http_request r;
    char v[64];
    if (ml_http_parse_head((const char *)data, len, &r) == ML_HTTP_OK) {
        if (r.head_len > len || r.body_len > ML_HTTP_BODY_MAX || r.path[0] != '/' || strlen(r.query) >= sizeof r.query) {
            abort();
        }
        if (ml_http_query(&r, "ip", v, sizeof v) && strlen(v) >= sizeof v) {
            abort();
        }
    }
    return 0;
}
