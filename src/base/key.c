/*
 * Text forms of public keys. See key.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/key.h"

bool ml_key_bytes_equal(const uint8_t a[32], const uint8_t b[32])
{
    return memcmp(a, b, 32) == 0;
}

bool ml_key_bytes_set(const uint8_t b[32])
{
    uint8_t any = 0;
    for (int i = 0; i < 32; i++) {
        any |= b[i];
    }
    return any != 0;
}

void ml_write_key(struct ml_writer *w, const char *prefix, const uint8_t b[32])
{
    ml_write_str(w, prefix);
    ml_write_hex(w, b, 32);
}

bool ml_key_parse(const char *prefix, const char *text, size_t len, uint8_t out[32])
{
    size_t n = strlen(prefix);
    uint8_t key[32];
    if (len != n + 64 || memcmp(text, prefix, n) != 0 || !ml_hex_parse(text + n, 64, key, 32)) {
        return false;
    }
    memcpy(out, key, 32);
    return true;
}

void ml_write_key_short(struct ml_writer *w, const uint8_t b[32])
{
    uint8_t text[8];
    struct ml_writer first = ml_writer_of(text, sizeof text);
    ml_write_base64(&first, b, 6);
    ml_write_u8(w, '[');
    ml_write_bytes(w, text, 5);
    ml_write_u8(w, ']');
}
