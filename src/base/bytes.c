/*
 * Bounded readers and writers, hex, base64 and decimal text. See bytes.h.
 *
 * Nothing here branches on secrets: private keys are never turned into text by the engine except in its stored record, which
 * is binary.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/bytes.h"

const uint8_t *ml_read_bytes(struct ml_reader *r, size_t n)
{
    if (r->bad || n > r->len - r->pos) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p + r->pos;
    r->pos += n;
    return p;
}

void ml_read_copy(struct ml_reader *r, uint8_t *dst, size_t n)
{
    const uint8_t *p = ml_read_bytes(r, n);
    if (n == 0) {
        return;
    }
    if (p) {
        memcpy(dst, p, n);
    } else {
        memset(dst, 0, n);
    }
}

uint8_t ml_read_u8(struct ml_reader *r)
{
    const uint8_t *p = ml_read_bytes(r, 1);
    return p ? p[0] : 0;
}

uint16_t ml_read_be16(struct ml_reader *r)
{
    const uint8_t *p = ml_read_bytes(r, 2);
    return p ? ml_get_be16(p) : 0;
}

uint32_t ml_read_be32(struct ml_reader *r)
{
    const uint8_t *p = ml_read_bytes(r, 4);
    return p ? ml_get_be32(p) : 0;
}

uint64_t ml_read_be64(struct ml_reader *r)
{
    const uint8_t *p = ml_read_bytes(r, 8);
    return p ? ml_get_be64(p) : 0;
}

uint32_t ml_read_le32(struct ml_reader *r)
{
    const uint8_t *p = ml_read_bytes(r, 4);
    return p ? ml_get_le32(p) : 0;
}

uint64_t ml_read_le64(struct ml_reader *r)
{
    const uint8_t *p = ml_read_bytes(r, 8);
    return p ? ml_get_le64(p) : 0;
}

uint8_t *ml_write_room(struct ml_writer *w, size_t n)
{
    if (w->bad || n > w->cap - w->len) {
        w->bad = true;
        return NULL;
    }
    uint8_t *p = w->p + w->len;
    w->len += n;
    return p;
}

void ml_write_bytes(struct ml_writer *w, const void *src, size_t n)
{
    uint8_t *p = ml_write_room(w, n);
    if (p && n > 0) {
        memcpy(p, src, n);
    }
}

void ml_write_zeros(struct ml_writer *w, size_t n)
{
    uint8_t *p = ml_write_room(w, n);
    if (p && n > 0) {
        memset(p, 0, n);
    }
}

void ml_write_u8(struct ml_writer *w, uint8_t v)
{
    uint8_t *p = ml_write_room(w, 1);
    if (p) {
        p[0] = v;
    }
}

void ml_write_be16(struct ml_writer *w, uint16_t v)
{
    uint8_t *p = ml_write_room(w, 2);
    if (p) {
        ml_put_be16(p, v);
    }
}

void ml_write_be32(struct ml_writer *w, uint32_t v)
{
    uint8_t *p = ml_write_room(w, 4);
    if (p) {
        ml_put_be32(p, v);
    }
}

void ml_write_be64(struct ml_writer *w, uint64_t v)
{
    uint8_t *p = ml_write_room(w, 8);
    if (p) {
        ml_put_be64(p, v);
    }
}

void ml_write_le32(struct ml_writer *w, uint32_t v)
{
    uint8_t *p = ml_write_room(w, 4);
    if (p) {
        ml_put_le32(p, v);
    }
}

void ml_write_le64(struct ml_writer *w, uint64_t v)
{
    uint8_t *p = ml_write_room(w, 8);
    if (p) {
        ml_put_le64(p, v);
    }
}

void ml_write_str(struct ml_writer *w, const char *s)
{
    if (w->bad) {
        return;
    }
    size_t n = strlen(s);
    if (n > w->cap - w->len) {
        /* A sentence that does not fit is still worth showing as far as it goes. */
        n = w->cap - w->len;
        if (n > 0) {
            memcpy(w->p + w->len, s, n);
        }
        w->len += n;
        w->bad = true;
        return;
    }
    ml_write_bytes(w, s, n);
}

void ml_write_dec(struct ml_writer *w, uint64_t v)
{
    uint8_t digits[20];
    size_t n = 0;
    do {
        digits[sizeof digits - ++n] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    ml_write_bytes(w, digits + sizeof digits - n, n);
}

void ml_write_hex(struct ml_writer *w, const uint8_t *src, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *p = n <= SIZE_MAX / 2 ? ml_write_room(w, 2 * n) : NULL;
    if (!p) {
        w->bad = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        p[2 * i] = (uint8_t)digits[src[i] >> 4];
        p[2 * i + 1] = (uint8_t)digits[src[i] & 15];
    }
}

const char *ml_write_end_str(struct ml_writer *w)
{
    if (w->cap == 0) {
        w->bad = true;
        return "";
    }
    if (w->len == w->cap) {
        w->len--;
        w->bad = true;
    }
    w->p[w->len] = 0;
    return (const char *)w->p;
}

int ml_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool ml_hex_parse(const char *text, size_t text_len, uint8_t *dst, size_t n)
{
    if (text_len % 2 != 0 || text_len / 2 != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        int hi = ml_hex_digit(text[2 * i]);
        int lo = ml_hex_digit(text[2 * i + 1]);
        if (hi < 0 || lo < 0) {
            return false;
        }
        dst[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

void ml_write_base64(struct ml_writer *w, const uint8_t *src, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *p = n <= SIZE_MAX / 2 ? ml_write_room(w, ml_base64_len(n)) : NULL;
    if (!p) {
        w->bad = true;
        return;
    }
    for (size_t i = 0; i < n; i += 3, p += 4) {
        size_t left = n - i;
        uint32_t v = (uint32_t)src[i] << 16 | (left > 1 ? (uint32_t)src[i + 1] << 8 : 0) | (left > 2 ? src[i + 2] : 0);
        p[0] = (uint8_t)digits[v >> 18];
        p[1] = (uint8_t)digits[v >> 12 & 63];
        p[2] = (uint8_t)(left > 1 ? digits[v >> 6 & 63] : '=');
        p[3] = (uint8_t)(left > 2 ? digits[v & 63] : '=');
    }
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t ml_base64_parse(const char *text, size_t text_len, uint8_t *dst, size_t cap)
{
    if (text_len % 4 != 0) {
        return SIZE_MAX;
    }
    size_t out = 0;
    for (size_t i = 0; i < text_len; i += 4) {
        /* Padding is legal in the last group only: one or two of its characters. */
        size_t pad = 0;
        if (i + 4 == text_len && text[i + 3] == '=') {
            pad = text[i + 2] == '=' ? 2 : 1;
        }
        uint32_t v = 0;
        for (size_t j = 0; j < 4 - pad; j++) {
            int d = base64_digit(text[i + j]);
            if (d < 0) {
                return SIZE_MAX;
            }
            v |= (uint32_t)d << (18 - 6 * j);
        }
        size_t n = 3 - pad;
        if ((v & (0xffffffU >> (8 * n))) != 0 || n > cap - out) {
            return SIZE_MAX; /* stray bits behind the data, or no room */
        }
        for (size_t j = 0; j < n; j++) {
            dst[out++] = (uint8_t)(v >> (16 - 8 * j));
        }
    }
    return out;
}

bool ml_dec_parse(const char *text, size_t len, uint64_t *out)
{
    if (len == 0 || len > 20) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        uint64_t d = (uint64_t)(text[i] - '0');
        if (v > (UINT64_MAX - d) / 10) {
            return false;
        }
        v = v * 10 + d;
    }
    *out = v;
    return true;
}

bool ml_str_copy(char *dst, size_t cap, const char *src, size_t len)
{
    if (cap == 0) {
        return false;
    }
    bool whole = len < cap;
    size_t n = whole ? len : cap - 1;
    if (!whole) {
        /* Do not leave half a UTF-8 character behind. */
        while (n > 0 && ((uint8_t)src[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    if (n > 0) {
        memcpy(dst, src, n);
    }
    dst[n] = 0;
    return whole;
}

bool ml_str_set(char *dst, size_t cap, const char *src)
{
    return ml_str_copy(dst, cap, src, strlen(src));
}
