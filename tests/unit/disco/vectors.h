/*
 * Reads test vectors (one case a line, words apart by a space, # starts a comment) and gives tests repeatable randomness.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TESTS_UNIT_DISCO_VECTORS_H
#define TESTS_UNIT_DISCO_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "microlink/types.h"

#define VEC_WORDS 16

struct vec {
    FILE *f;
    char line[4096];
    char *word[VEC_WORDS];
    size_t count;
};

static inline void vec_open(struct vec *v, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", ML_VECTORS_DIR, name);
    v->f = fopen(path, "r");
    assert_non_null(v->f);
}

/* The next case, split into words; closes the file and returns false after the last. */
static inline bool vec_next(struct vec *v)
{
    while (fgets(v->line, sizeof v->line, v->f)) {
        v->line[strcspn(v->line, "\n")] = 0;
        if (v->line[0] == '#' || v->line[0] == 0) {
            continue;
        }
        v->count = 0;
        for (char *w = strtok(v->line, " "); w && v->count < VEC_WORDS; w = strtok(NULL, " ")) {
            v->word[v->count++] = w;
        }
        return true;
    }
    fclose(v->f);
    return false;
}

/* Hex, "-" for nothing. The bytes are on the heap in their exact size, so that a sanitizer sees one too many. */
static inline uint8_t *vec_hex(const char *text, size_t *len)
{
    size_t n = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
    uint8_t *b = malloc(n ? n : 1);
    assert_non_null(b);
    assert_true(n == 0 || ml_hex_parse(text, 2 * n, b, n));
    *len = n;
    return b;
}

static inline void vec_hex_into(const char *text, uint8_t *dst, size_t n)
{
    assert_int_equal(strlen(text), 2 * n);
    assert_true(ml_hex_parse(text, 2 * n, dst, n));
}

static inline ml_addr vec_addr(const char *text)
{
    ml_addr a = {0};
    if (strcmp(text, "-") != 0) {
        assert_true(ml_addr_parse(text, strlen(text), &a));
    }
    return a;
}

/* xorshift64*, the same bytes every run. */
static inline void vec_random_fill(void *ctx, uint8_t *buf, size_t len)
{
    uint64_t *s = ctx;
    for (size_t i = 0; i < len; i++) {
        *s ^= *s >> 12;
        *s ^= *s << 25;
        *s ^= *s >> 27;
        buf[i] = (uint8_t)((*s * UINT64_C(2685821657736338717)) >> 56);
    }
}

#endif
