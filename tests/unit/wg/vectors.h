/* Lines of a vector file. SPDX-License-Identifier: MIT */
#ifndef ML_TEST_WG_VECTORS_H
#define ML_TEST_WG_VECTORS_H

#include "base/bytes.h"
#include <stdio.h>

/* The next line that is not a comment, without its end; NULL at the end of the file. */
static inline char *vector_line(FILE *f, char *buf, int cap)
{
    while (fgets(buf, cap, f)) {
        buf[strcspn(buf, "\n")] = 0;
        if (buf[0] != '#' && buf[0] != 0) {
            return buf;
        }
    }
    return NULL;
}

/* Cuts the next word off *at and decodes it; returns its length in bytes, 0 when it is not hex or too long. */
static inline size_t vector_hex(char **at, uint8_t *out, size_t cap)
{
    size_t n = strcspn(*at, " ");
    bool ok = n / 2 <= cap && n % 2 == 0 && ml_hex_parse(*at, n, out, n / 2);
    *at += n + ((*at)[n] == ' ');
    return ok ? n / 2 : 0;
}

#endif
