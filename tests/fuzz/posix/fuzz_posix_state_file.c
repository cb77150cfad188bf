/*
 * State files: what decodes must encode to the same bytes. SPDX-License-Identifier: MIT
 */
#include "state_file.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct ml_state_file s;
    static uint8_t file[ML_STATE_FILE_MAX], again[ML_STATE_FILE_MAX];
    if (len + 32 > sizeof file) {
        return 0;
    }
    /* With the checksum put right, so that the fuzzer gets behind it. */
    memcpy(file, data, len);
    crypto_hash_sha256(file + len, data, len);
    memset(&s, 0, sizeof s);
    if (ml_state_file_decode(&s, file, len + 32)) {
        if (ml_state_file_encode(&s, again) != len + 32 || memcmp(file, again, len + 32) != 0) {
            abort();
        }
    }
    (void)ml_state_file_decode(&s, data, len);
    return 0;
}
