/*
 * Dates of the proleptic Gregorian calendar to seconds since 1970, for the text forms of time (HTTP, RFC 3339).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BASE_CIVIL_H
#define ML_BASE_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

/** A date and time of day in UTC: year 0..9999, month 1..12, day from 1. */
struct ml_civil {
    uint32_t year, month, day, hour, minute, second;
};

/**
 * @brief Seconds since 1970-01-01, negative before.
 * @return false, and @p unix_s untouched, when there is no such day or time; second 60 counts as the next minute's first.
 */
bool ml_civil_to_unix(const struct ml_civil *c, int64_t *unix_s);

#endif
