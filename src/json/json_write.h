/*
 * Writes JSON into an ml_writer: commas, colons and escapes are put where they belong.
 *
 * Strings are escaped as encoding/json does by default (control characters, quotes, <, >, &, U+2028, U+2029; bytes that are
 * not UTF-8 become \ufffd). It checks no nesting: begin and end must be paired by the caller. Running out of room sets
 * the writer's `bad`, to be looked at once at the end. Source: control.md 1.1.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_JSON_JSON_WRITE_H
#define ML_JSON_JSON_WRITE_H

#include "base/bytes.h"

struct ml_json_writer {
    struct ml_writer *w; /**< The caller's. */
    bool need_comma;
};

static inline struct ml_json_writer ml_json_writer_of(struct ml_writer *w)
{
    return (struct ml_json_writer){.w = w};
}

void ml_json_write_object_begin(struct ml_json_writer *j);
void ml_json_write_object_end(struct ml_json_writer *j);
void ml_json_write_array_begin(struct ml_json_writer *j);
void ml_json_write_array_end(struct ml_json_writer *j);
void ml_json_write_key(struct ml_json_writer *j, const char *key);  /**< Zero-terminated; the value follows by another call. */
void ml_json_write_str(struct ml_json_writer *j, const char *text); /**< Zero-terminated. */
void ml_json_write_strn(struct ml_json_writer *j, const char *text, size_t len);
void ml_json_write_u64(struct ml_json_writer *j, uint64_t v);
void ml_json_write_i64(struct ml_json_writer *j, int64_t v);
/** Thousandths as a decimal number without trailing zeros: 1500 is 1.5. */
void ml_json_write_milli(struct ml_json_writer *j, int64_t v);
void ml_json_write_bool(struct ml_json_writer *j, bool v);
void ml_json_write_null(struct ml_json_writer *j);
/** Puts @p text, a complete JSON value, as it is. */
void ml_json_write_raw(struct ml_json_writer *j, const char *text, size_t len);
/** Bytes as a string of padded standard base64, as []byte in Go. */
void ml_json_write_base64(struct ml_json_writer *j, const uint8_t *src, size_t n);
/**
 * A string whose content the caller writes with ml_write_*() between the two calls (keys, addresses): it must need no escape.
 */
void ml_json_write_text_begin(struct ml_json_writer *j);
void ml_json_write_text_end(struct ml_json_writer *j);

/* Key and value in one call. */
void ml_json_field_str(struct ml_json_writer *j, const char *key, const char *text);
void ml_json_field_u64(struct ml_json_writer *j, const char *key, uint64_t v);
void ml_json_field_i64(struct ml_json_writer *j, const char *key, int64_t v);
void ml_json_field_bool(struct ml_json_writer *j, const char *key, bool v);

#endif
