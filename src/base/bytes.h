/*
 * Bounded reading and writing of bytes, and fixed-order integers.
 *
 * A reader or writer never goes past its end: the first access that would sets `bad`, yields zeros or writes nothing, and
 * so does every access after it. A parser therefore reads straight through and checks `bad` once at the end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BASE_BYTES_H
#define ML_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t ml_get_be16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}
static inline uint32_t ml_get_be32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}
static inline uint64_t ml_get_be64(const uint8_t *p)
{
    return ((uint64_t)ml_get_be32(p) << 32) | ml_get_be32(p + 4);
}
static inline uint32_t ml_get_le32(const uint8_t *p)
{
    return ((uint32_t)p[3] << 24) | ((uint32_t)p[2] << 16) | ((uint32_t)p[1] << 8) | p[0];
}
static inline uint64_t ml_get_le64(const uint8_t *p)
{
    return ((uint64_t)ml_get_le32(p + 4) << 32) | ml_get_le32(p);
}
static inline void ml_put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void ml_put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
static inline void ml_put_be64(uint8_t *p, uint64_t v)
{
    ml_put_be32(p, (uint32_t)(v >> 32));
    ml_put_be32(p + 4, (uint32_t)v);
}
static inline void ml_put_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}
static inline void ml_put_le64(uint8_t *p, uint64_t v)
{
    ml_put_le32(p, (uint32_t)v);
    ml_put_le32(p + 4, (uint32_t)(v >> 32));
}

/** Reads `len` bytes at `p` from `pos` on. `bad` once set stays set. */
struct ml_reader {
    const uint8_t *p;
    size_t len;
    size_t pos;
    bool bad;
};

/** Writes into `cap` bytes at `p` from `len` on. `bad` once set stays set; `len` then tells how much was whole. */
struct ml_writer {
    uint8_t *p;
    size_t cap;
    size_t len;
    bool bad;
};

static inline struct ml_reader ml_reader_of(const uint8_t *p, size_t len)
{
    return (struct ml_reader){.p = p, .len = len};
}
static inline struct ml_writer ml_writer_of(uint8_t *p, size_t cap)
{
    return (struct ml_writer){.p = p, .cap = cap};
}
static inline size_t ml_reader_left(const struct ml_reader *r)
{
    return r->bad ? 0 : r->len - r->pos;
}

/** The next @p n bytes in place, or NULL (and `bad`) when fewer are left. */
const uint8_t *ml_read_bytes(struct ml_reader *r, size_t n);
/** Copies the next @p n bytes to @p dst; all zero when fewer are left. */
void ml_read_copy(struct ml_reader *r, uint8_t *dst, size_t n);
uint8_t ml_read_u8(struct ml_reader *r);
uint16_t ml_read_be16(struct ml_reader *r);
uint32_t ml_read_be32(struct ml_reader *r);
uint64_t ml_read_be64(struct ml_reader *r);
uint32_t ml_read_le32(struct ml_reader *r);
uint64_t ml_read_le64(struct ml_reader *r);

/** Room for @p n bytes, already counted as written, or NULL (and `bad`) when there is none. */
uint8_t *ml_write_room(struct ml_writer *w, size_t n);
void ml_write_bytes(struct ml_writer *w, const void *src, size_t n);
void ml_write_zeros(struct ml_writer *w, size_t n);
void ml_write_u8(struct ml_writer *w, uint8_t v);
void ml_write_be16(struct ml_writer *w, uint16_t v);
void ml_write_be32(struct ml_writer *w, uint32_t v);
void ml_write_be64(struct ml_writer *w, uint64_t v);
void ml_write_le32(struct ml_writer *w, uint32_t v);
void ml_write_le64(struct ml_writer *w, uint64_t v);

/* Text. None of these writes a terminating zero; ml_write_end_str() does. */
void ml_write_str(struct ml_writer *w, const char *s);
void ml_write_dec(struct ml_writer *w, uint64_t v);
void ml_write_hex(struct ml_writer *w, const uint8_t *src, size_t n); /**< Lower case. */
/**
 * Terminates the text with a zero and returns it. When the text did not fit it is cut to what does (the zero always fits
 * when `cap` > 0), so the result can be shown as it is.
 */
const char *ml_write_end_str(struct ml_writer *w);

/** Value of a hex digit of either case, -1 for anything else. */
int ml_hex_digit(char c);
/** Decodes exactly 2*@p n hex digits (either case) of @p text into @p dst. False, and @p dst unspecified, otherwise. */
bool ml_hex_parse(const char *text, size_t text_len, uint8_t *dst, size_t n);
/** Standard base64 with padding. The result has ml_base64_len(n) characters. */
void ml_write_base64(struct ml_writer *w, const uint8_t *src, size_t n);
static inline size_t ml_base64_len(size_t n)
{
    return (n + 2) / 3 * 4;
}
/** Decodes padded standard base64; @p dst must hold text_len / 4 * 3 bytes. Returns the length, or SIZE_MAX if malformed. */
size_t ml_base64_parse(const char *text, size_t text_len, uint8_t *dst, size_t cap);
/** Parses a decimal of 1..20 digits that fits 64 bits; false otherwise. */
bool ml_dec_parse(const char *text, size_t len, uint64_t *out);

/** Copies at most @p cap - 1 characters of a text of @p len and terminates; returns false when it was cut. */
bool ml_str_copy(char *dst, size_t cap, const char *src, size_t len);
/** The same with a text that ends with a zero. */
bool ml_str_set(char *dst, size_t cap, const char *src);

/* Fixed-size copies and compares that read as what they are. */
#define ml_zero(p) memset((p), 0, sizeof *(p))

#endif
