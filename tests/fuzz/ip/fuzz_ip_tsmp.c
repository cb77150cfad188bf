/* TSMP on any packet. SPDX-License-Identifier: MIT */
#include "ip/tsmp.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ml_ip_view v;
    struct ml_tsmp msg;
    uint8_t out[ML_TSMP_MAX];
    size_t n = 0;

    ml_ip_view_parse(&v, data, len);
    enum ml_tsmp_action action = ml_tsmp_handle(&v, 7, &msg, out, sizeof out, &n);
    if ((action == ML_TSMP_ANSWER) != (n > 0) || n > sizeof out) {
        abort();
    }
    if (action == ML_TSMP_ANSWER) {
        ml_ip_view_parse(&v, out, n);
        if (!ml_tsmp_parse(&v, &msg) || msg.type != ML_TSMP_PONG || msg.peerapi_port != 7) {
            abort();
        }
    }
    return 0;
}
