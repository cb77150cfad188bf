/*
 * Lines of the boot configuration (see boot_config.h). SPDX-License-Identifier: MIT
 */
#include "boot_config.h"

#include "base/addr.h"
#include "board/board.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX  8192u
#define VALUE_MAX 256

static const char *line_end(const char *p)
{
    while (*p != '\n' && *p != 0 && *p != '\xff') {
        p++;
    }
    return p;
}

bool ml_boot_get(const char *name, unsigned nth, char *out, size_t cap)
{
    const char *text = board_config_text(), *p = text;
    size_t n = strlen(name);
    while (*p != 0 && *p != '\xff' && p < text + TEXT_MAX) {
        const char *end = line_end(p);
        if ((size_t)(end - p) > n && memcmp(p, name, n) == 0 && p[n] == '=' && nth-- == 0) {
            size_t len = (size_t)(end - p) - n - 1;
            if (len >= cap) {
                return false;
            }
            memcpy(out, p + n + 1, len);
            out[len] = 0;
            return true;
        }
        p = *end == '\n' ? end + 1 : end;
    }
    return false;
}

bool ml_boot_get_ip(const char *name, ml_ip *out, unsigned *bits)
{
    char text[64];
    if (!ml_boot_get(name, 0, text, sizeof text)) {
        return false;
    }
    char *slash = strchr(text, '/');
    if (slash != NULL) {
        *slash = 0;
        if (bits != NULL) {
            *bits = (unsigned)atoi(slash + 1);
        }
    }
    return ml_ip_parse(text, strlen(text), out);
}

uint32_t ml_boot_get_number(const char *name)
{
    char text[16];
    return ml_boot_get(name, 0, text, sizeof text) ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

bool ml_boot_find_host(const char *host, ml_ip *out)
{
    char line[VALUE_MAX];
    for (unsigned i = 0; ml_boot_get("host", i, line, sizeof line); i++) {
        char *space = strchr(line, ' ');
        if (space != NULL && strcmp(space + 1, host) == 0) {
            return ml_ip_parse(line, (size_t)(space - line), out);
        }
    }
    return false;
}
