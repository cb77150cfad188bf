/*
 * Times in JSON: RFC 3339 text to milliseconds since 1970. Source: control.md 1.1, C2, C5.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_JSON_JSON_TIME_H
#define ML_JSON_JSON_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** "0001-01-01T00:00:00Z", Go's zero time. It means unset or never, never "long ago". */
#define ML_UNIX_MS_UNSET INT64_C(-62135596800000)

/**
 * @brief Parse what RFC 3339 and time.Time.UnmarshalJSON of Go both take: any number of fraction digits, Z or a numeric offset.
 * @param unix_ms  Milliseconds since 1970 UTC, rounded down; ML_UNIX_MS_UNSET for the zero time. Untouched on false.
 */
bool ml_time_parse_rfc3339(const char *text, size_t len, int64_t *unix_ms);

static inline bool ml_unix_ms_is_set(int64_t unix_ms)
{
    return unix_ms != ML_UNIX_MS_UNSET;
}

#endif
