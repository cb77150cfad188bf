/*
 * Fuzz target: the JSON of a ServerInfo frame, and the HTTP response, which must give the same result in parts.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "derp/derp_frame.h"
#include "derp/derp_upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ml_derp_server_info info;
    ml_derp_key key;
    (void)ml_derp_parse_server_info((const char *)data, len, &info);
    (void)ml_derp_parse_server_key(data, len, &key);

    struct ml_derp_upgrade whole = {0};
    struct ml_derp_upgrade parts = {0};
    size_t used;
    size_t total = 0;
    enum ml_derp_upgrade_result r = ML_DERP_UPGRADE_MORE;
    enum ml_derp_upgrade_result want = ml_derp_upgrade_feed(&whole, data, len, &used);
    for (size_t pos = 0, n; pos < len && r == ML_DERP_UPGRADE_MORE; pos += n) {
        r = ml_derp_upgrade_feed(&parts, data + pos, 1, &n);
        total += n;
    }
    if (r != want || total != used || whole.status != parts.status) {
        abort();
    }
    return 0;
}
