/*
 * Typed keys: compare, and their text forms "<prefix><64 lower-case hex>" (types/key of the official module).
 *
 * Private keys are compared and wiped by src/crypto; nothing here prints one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BASE_KEY_H
#define ML_BASE_KEY_H

#include "base/bytes.h"
#include "microlink/types.h"

/* Public keys are not secret: memcmp is right for them. */
#define ml_key_equal(x, y) ml_key_bytes_equal((x)->b, (y)->b)
bool ml_key_bytes_equal(const uint8_t a[32], const uint8_t b[32]);
bool ml_key_bytes_set(const uint8_t b[32]); /**< Not all zero. */
#define ml_key_is_set(k) ml_key_bytes_set((k)->b)

#define ML_KEY_PREFIX_NODE    "nodekey:"
#define ML_KEY_PREFIX_DISCO   "discokey:"
#define ML_KEY_PREFIX_MACHINE "mkey:"
#define ML_KEY_TEXT_CAP       (9 + 64 + 1) /**< Longest prefix, 64 hex digits, zero. */

/** Writes @p prefix and 64 hex digits. */
void ml_write_key(struct ml_writer *w, const char *prefix, const uint8_t b[32]);
/** Parses "<prefix><64 hex>" exactly; false on a wrong prefix, length or digit, and @p out then is untouched. */
bool ml_key_parse(const char *prefix, const char *text, size_t len, uint8_t out[32]);
/** Writes the short log form, "[abcde]": the first five base64 characters. */
void ml_write_key_short(struct ml_writer *w, const uint8_t b[32]);

#endif
