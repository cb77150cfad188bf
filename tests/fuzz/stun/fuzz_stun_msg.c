/*
 * Any bytes into the STUN response parser: no access out of bounds, and success only for what has the shape of an answer.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "base/addr.h"
#include "stun/stun_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t tx[ML_STUN_TX_LEN];
    ml_addr addr;
    if (ml_stun_parse_response(data, len, tx, &addr)) {
        if (!ml_stun_is_binding(data, len) || memcmp(tx, data + 8, sizeof tx) != 0) {
            abort();
        }
    }
    return 0;
}
