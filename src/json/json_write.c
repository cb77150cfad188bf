/*
 * Writing JSON: one bit of state (is a comma due?) is enough, because after any begin none is and after any value one is.
 * See json_write.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "json/json_write.h"

static void before_value(struct ml_json_writer *j)
{
    if (j->need_comma) {
        ml_write_u8(j->w, ',');
    }
    j->need_comma = true;
}

static void open_with(struct ml_json_writer *j, uint8_t c)
{
    before_value(j);
    ml_write_u8(j->w, c);
    j->need_comma = false;
}

static void close_with(struct ml_json_writer *j, uint8_t c)
{
    ml_write_u8(j->w, c);
    j->need_comma = true;
}

void ml_json_write_object_begin(struct ml_json_writer *j)
{
    open_with(j, '{');
}

void ml_json_write_object_end(struct ml_json_writer *j)
{
    close_with(j, '}');
}

void ml_json_write_array_begin(struct ml_json_writer *j)
{
    open_with(j, '[');
}

void ml_json_write_array_end(struct ml_json_writer *j)
{
    close_with(j, ']');
}

static void put_u_escape(struct ml_writer *w, uint16_t u)
{
    uint8_t be[2];
    ml_put_be16(be, u);
    ml_write_str(w, "\\u");
    ml_write_hex(w, be, 2);
}

/* Length of the valid UTF-8 sequence at p, 0 when there is none. */
static size_t utf8_len(const uint8_t *p, size_t len)
{
    uint8_t c = p[0];
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (n == 0 || len < n) {
        return 0;
    }
    uint8_t lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < lo || p[1] > hi) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

static void put_ascii(struct ml_writer *w, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c != 0 ? strchr(from, c) : NULL;
    if (at) {
        ml_write_u8(w, '\\');
        ml_write_u8(w, (uint8_t)to[at - from]);
    } else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
        put_u_escape(w, c);
    } else {
        ml_write_u8(w, c);
    }
}

static void put_string(struct ml_writer *w, const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;
    ml_write_u8(w, '"');
    for (size_t i = 0; i < len;) {
        if (p[i] < 0x80) {
            put_ascii(w, p[i++]);
            continue;
        }
        size_t n = utf8_len(p + i, len - i);
        if (n == 0) {
            put_u_escape(w, 0xfffd);
            i++;
        } else if (n == 3 && p[i] == 0xe2 && p[i + 1] == 0x80 && (p[i + 2] & 0xfe) == 0xa8) {
            /* Line and paragraph separator: legal in JSON, not in old JavaScript. */
            put_u_escape(w, (uint16_t)(0x2000 | (p[i + 2] & 0x3f)));
            i += n;
        } else {
            ml_write_bytes(w, p + i, n);
            i += n;
        }
    }
    ml_write_u8(w, '"');
}

void ml_json_write_key(struct ml_json_writer *j, const char *key)
{
    before_value(j);
    put_string(j->w, key, strlen(key));
    ml_write_u8(j->w, ':');
    j->need_comma = false;
}

void ml_json_write_strn(struct ml_json_writer *j, const char *text, size_t len)
{
    before_value(j);
    put_string(j->w, text, len);
}

void ml_json_write_str(struct ml_json_writer *j, const char *text)
{
    ml_json_write_strn(j, text, strlen(text));
}

void ml_json_write_u64(struct ml_json_writer *j, uint64_t v)
{
    before_value(j);
    ml_write_dec(j->w, v);
}

/* Writes a minus when there is one; the magnitude of INT64_MIN fits too. */
static uint64_t put_sign(struct ml_writer *w, int64_t v)
{
    if (v >= 0) {
        return (uint64_t)v;
    }
    ml_write_u8(w, '-');
    return (uint64_t)(-(v + 1)) + 1;
}

void ml_json_write_i64(struct ml_json_writer *j, int64_t v)
{
    before_value(j);
    ml_write_dec(j->w, put_sign(j->w, v));
}

void ml_json_write_milli(struct ml_json_writer *j, int64_t v)
{
    before_value(j);
    uint64_t m = put_sign(j->w, v);
    ml_write_dec(j->w, m / 1000);
    uint32_t rest = (uint32_t)(m % 1000);
    if (rest == 0) {
        return;
    }
    ml_write_u8(j->w, '.');
    for (uint32_t unit = 100; rest > 0; unit /= 10) {
        ml_write_u8(j->w, (uint8_t)('0' + rest / unit));
        rest %= unit;
    }
}

void ml_json_write_bool(struct ml_json_writer *j, bool v)
{
    before_value(j);
    ml_write_str(j->w, v ? "true" : "false");
}

void ml_json_write_null(struct ml_json_writer *j)
{
    before_value(j);
    ml_write_str(j->w, "null");
}

void ml_json_write_raw(struct ml_json_writer *j, const char *text, size_t len)
{
    before_value(j);
    ml_write_bytes(j->w, text, len);
}

void ml_json_write_base64(struct ml_json_writer *j, const uint8_t *src, size_t n)
{
    ml_json_write_text_begin(j);
    ml_write_base64(j->w, src, n);
    ml_json_write_text_end(j);
}

void ml_json_write_text_begin(struct ml_json_writer *j)
{
    before_value(j);
    ml_write_u8(j->w, '"');
}

void ml_json_write_text_end(struct ml_json_writer *j)
{
    ml_write_u8(j->w, '"');
}

void ml_json_field_str(struct ml_json_writer *j, const char *key, const char *text)
{
    ml_json_write_key(j, key);
    ml_json_write_str(j, text);
}

void ml_json_field_u64(struct ml_json_writer *j, const char *key, uint64_t v)
{
    ml_json_write_key(j, key);
    ml_json_write_u64(j, v);
}

void ml_json_field_i64(struct ml_json_writer *j, const char *key, int64_t v)
{
    ml_json_write_key(j, key);
    ml_json_write_i64(j, v);
}

void ml_json_field_bool(struct ml_json_writer *j, const char *key, bool v)
{
    ml_json_write_key(j, key);
    ml_json_write_bool(j, v);
}
