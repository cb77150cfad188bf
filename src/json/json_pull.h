/*
 * A streaming JSON reader: bytes go in in pieces of any size, events come out, nothing is kept but one struct.
 *
 * It builds no tree and never holds a document, so a netmap of any size is read in constant memory. The grammar is that of
 * RFC 8259 as Go's encoding/json enforces it; the one thing read more loosely is a skipped value below ML_JSON_DEPTH levels,
 * where only strings and brackets are followed. Duplicate keys are reported as they come. Source: control.md 1.1, C3, C4.
 *
 *     while ((ev = ml_json_next(&j, p, n, &used)) != ML_JSON_NEED_MORE) { p += used; n -= used; ... }
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_JSON_JSON_PULL_H
#define ML_JSON_JSON_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Containers within containers that are followed. A value nested deeper is an error unless it is being skipped. */
#define ML_JSON_DEPTH 64

enum ml_json_event {
    ML_JSON_NEED_MORE, /**< All input is used; no event yet. */
    ML_JSON_OBJECT_BEGIN,
    ML_JSON_OBJECT_END,
    ML_JSON_ARRAY_BEGIN,
    ML_JSON_ARRAY_END,
    ML_JSON_KEY,    /**< tok holds it, unescaped. */
    ML_JSON_STRING, /**< tok holds it, unescaped. */
    ML_JSON_NUMBER, /**< tok holds its text: ml_json_get_i64() and so on. */
    ML_JSON_TRUE,
    ML_JSON_FALSE,
    ML_JSON_NULL,
    ML_JSON_END,  /**< The top-level value is complete. Only white space may follow it. */
    ML_JSON_ERROR /**< Not JSON. Final. */
};

/** Read-only for callers: tok, tok_len, tok_full_len, depth. The rest is private to json_pull.c. */
struct ml_json {
    char *tok;        /**< The caller's buffer. After KEY, STRING, NUMBER the text, ended by a zero; until the next call. */
    uint32_t tok_cap; /**< Its size. */
    uint32_t tok_len; /**< Bytes in tok without the zero. */
    uint32_t tok_full_len; /**< Bytes the text really has: more than tok_len when it was cut (between code points). */
    uint32_t depth;        /**< Open containers, those inside a skipped value included. */
    uint32_t skip_depth;
    uint64_t is_object; /* bit n: what container n is */
    uint16_t unit;      /* \u digits so far */
    uint16_t high;      /* a high surrogate waiting for its other half, or 0 */
    uint8_t state;
    uint8_t sub; /* position inside a literal, a number or an escape */
    uint8_t utf8[4];
    uint8_t utf8_len;
    uint8_t last; /* last event given out */
    bool skipping;
    bool is_key; /* the string being read is a key */
};

/** @param tok  Takes texts; the caller's, at least 1 byte, in use until the reader is. Longer texts are cut, not errors. */
void ml_json_init(struct ml_json *j, char *tok, size_t tok_cap);

/**
 * @brief Read on until the next event or the end of @p buf.
 *
 * Strings are unescaped as encoding/json does: \u pairs become one code point, a lone surrogate and every byte that is not
 * UTF-8 become U+FFFD.
 *
 * @param buf   Input, the caller's; nothing in it is needed after the call.
 * @param used  How much of it was read; offer the rest again for the next event.
 * @return NEED_MORE only when *used == len. END again and again (using up white space) once the document is complete.
 */
enum ml_json_event ml_json_next(struct ml_json *j, const uint8_t *buf, size_t len, size_t *used);

/**
 * @brief Say that no input follows, and get what is still open: a top-level NUMBER (call again), END, or ERROR.
 */
enum ml_json_event ml_json_finish(struct ml_json *j);

/**
 * @brief Pass over a value of any depth and size without an event or a copy.
 *
 * Right after KEY: its value. Right after OBJECT_BEGIN or ARRAY_BEGIN: what is left of that container, its END event
 * included. Before the first event: the document. After any other event the value is over already: does nothing.
 */
void ml_json_skip(struct ml_json *j);

/** True when the last text was longer than the buffer. */
static inline bool ml_json_is_cut(const struct ml_json *j)
{
    return j->tok_len < j->tok_full_len;
}
/** The last text is exactly @p text (case matters). */
bool ml_json_tok_is(const struct ml_json *j, const char *text);

/* The last NUMBER, exactly: false when it is cut, has a fraction or an exponent, or is out of range. No doubles anywhere. */
bool ml_json_get_i64(const struct ml_json *j, int64_t *out);
bool ml_json_get_u64(const struct ml_json *j, uint64_t *out);
/** The last NUMBER in thousandths, rounded towards zero; any fraction and exponent. False when cut or out of range. */
bool ml_json_get_milli(const struct ml_json *j, int64_t *out);

#endif
