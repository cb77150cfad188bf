/*
 * Any bytes as a WireGuard message and as a decrypted plaintext. SPDX-License-Identifier: MIT
 */
#include "wg/wg_msg.h"
#include "wg/wg_replay.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t lens[] = {0, ML_WG_INITIATION_LEN, ML_WG_RESPONSE_LEN, ML_WG_COOKIE_LEN};
    uint32_t ring[ML_WG_REPLAY_BLOCKS(128)];
    struct ml_wg_replay r;
    enum ml_wg_msg_type type = ml_wg_msg_classify(data, len);

    if (type != ML_WG_MSG_NONE && (len < ML_WG_KEEPALIVE_LEN || data[1] || data[2] || data[3])) {
        abort();
    }
    if (type != ML_WG_MSG_NONE && type != ML_WG_MSG_DATA && len != lens[type]) {
        abort();
    }
    if (ml_wg_inner_len(data, len) > len) {
        abort();
    }
    /* The same bytes as a list of counters: none is accepted twice in a row. */
    ml_wg_replay_init(&r, ring, ML_WG_REPLAY_BLOCKS(128));
    for (size_t i = 0; i + 8 <= len; i += 8) {
        uint64_t counter = ml_get_le64(data + i);
        bool is_new = ml_wg_replay_is_new(&r, ring, counter);
        if (ml_wg_replay_accept(&r, ring, counter) != is_new || ml_wg_replay_accept(&r, ring, counter)) {
            abort();
        }
    }
    return 0;
}
