/*
 * Hands a finished log line to the port. See log.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/log.h"

void ml_log_text(const struct ml_log *l, ml_log_level level, const char *text)
{
    if (ml_log_on(l, level)) {
        l->fn(l->ctx, level, text);
    }
}
