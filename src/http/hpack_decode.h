/*
 * Streaming HPACK decoder (RFC 7541) for a client that announced SETTINGS_HEADER_TABLE_SIZE = 0.
 *
 * With no dynamic table a header block needs no memory beyond the field being read: bytes go in as they arrive, only
 * `:status`, `retry-after` and `date` are kept, everything else is checked and passed over. A reference to the (empty) dynamic
 * table is a decoding error. Why not nghttp2's: docs/decisions/0003-hpack.md. control.md 4, C18.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_HTTP_HPACK_DECODE_H
#define ML_HTTP_HPACK_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ML_HPACK_VALUE_CAP 33 /**< Longest value kept, with its zero; an HTTP date has 29 characters. */

/** One header block. Read-only for callers up to the line; valid after ml_hpack_finish(). */
struct ml_hpack {
    uint16_t status;                      /**< 0 when there was none (trailers). */
    bool is_malformed;                    /**< Decoded, but not a valid list of header fields (RFC 9113, 8.2 and 8.3). */
    char retry_after[ML_HPACK_VALUE_CAP]; /**< Zero-terminated; "" when absent or too long. */
    char date[ML_HPACK_VALUE_CAP];
    /* ---- private to hpack_decode.c ---- */
    bool failed, saw_status, saw_field, saw_regular, huffman;
    uint8_t state, field, kind, prefix_bits, shift, pos, bit_count;
    uint32_t value; /* integer being read */
    uint32_t left;  /* bytes of the string still to come */
    uint32_t bits;  /* Huffman code so far */
    char text[ML_HPACK_VALUE_CAP];
};

/** Starts a header block. */
void ml_hpack_begin(struct ml_hpack *h);
/** Takes the next bytes of the block. False: COMPRESSION_ERROR, final (the connection cannot go on). */
bool ml_hpack_feed(struct ml_hpack *h, const uint8_t *buf, size_t len);
/** The block is complete. False: it ended inside a field, or feeding failed. */
bool ml_hpack_finish(struct ml_hpack *h);

/** HPACK prefix integer (RFC 7541, 5.1): @p first holds the bits above the prefix. Returns the bytes written, at most 6. */
size_t ml_hpack_put_int(uint8_t *dst, uint8_t first, unsigned prefix_bits, uint32_t v);

#endif
