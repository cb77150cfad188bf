/*
 * HTTP dates, the second form of Retry-After (control.md 5.3). Milliseconds since the Unix epoch; no leap seconds.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CONTROL_HTTP_DATE_H
#define ML_CONTROL_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @brief Parse "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7, the one form servers send).
 * @return false, and @p unix_ms untouched, on anything else.
 */
bool ml_http_date_parse(const char *text, size_t len, int64_t *unix_ms);

#endif
