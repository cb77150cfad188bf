/*
 * The HPACK decoder: a byte-driven state machine over one header block. See hpack_decode.h.
 *
 * A field is an index or a literal. A literal's name and value are strings, plain or Huffman coded; their bytes pass through
 * put_char(), which keeps them only while they can still be a name or value we want. The Huffman code of RFC 7541 is
 * canonical, so its table is the list of symbols by code and how many there are of each length.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/hpack_decode.h"

#include <string.h>

enum state { S_FIELD, S_INT, S_STRING_LEN, S_STRING };
/* What the integer or string being read is. */
enum kind { K_INDEXED, K_NAME_INDEX, K_TABLE_SIZE, K_NAME, K_VALUE };
/* The fields we tell apart. */
enum field { F_OTHER, F_STATUS, F_OTHER_PSEUDO, F_RETRY_AFTER, F_DATE };

#define STATIC_COUNT       61
#define STATIC_STATUS      8 /* first of seven :status entries */
#define STATIC_STATUS_LAST 14
#define STATIC_DATE        33
#define STATIC_RETRY_AFTER 53

#define HUFF_MIN 5
#define HUFF_MAX 30
/* Codes of each length from 5 to 30 bits; the fourth of 30 bits is EOS, which never appears in a string. RFC 7541, App. B. */
static const uint8_t huff_count[HUFF_MAX - HUFF_MIN + 1] = {10, 26, 32, 6,  0,  5,  3,  2, 6,  2,  3,  0, 0,
                                                            0,  3,  8,  13, 26, 29, 12, 4, 15, 19, 29, 0, 3};
static const uint8_t huff_symbol[256] = {
    0x30, 0x31, 0x32, 0x61, 0x63, 0x65, 0x69, 0x6f, 0x73, 0x74, 0x20, 0x25, 0x2d, 0x2e, 0x2f, 0x33, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3d, 0x41, 0x5f, 0x62, 0x64, 0x66, 0x67, 0x68, 0x6c, 0x6d, 0x6e, 0x70, 0x72, 0x75, 0x3a, 0x42, 0x43, 0x44,
    0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x59,
    0x6a, 0x6b, 0x71, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x26, 0x2a, 0x2c, 0x3b, 0x58, 0x5a, 0x21, 0x22, 0x28, 0x29, 0x3f, 0x27,
    0x2b, 0x7c, 0x23, 0x3e, 0x00, 0x24, 0x40, 0x5b, 0x5d, 0x7e, 0x5e, 0x7d, 0x3c, 0x60, 0x7b, 0x5c, 0xc3, 0xd0, 0x80, 0x82,
    0x83, 0xa2, 0xb8, 0xc2, 0xe0, 0xe2, 0x99, 0xa1, 0xa7, 0xac, 0xb0, 0xb1, 0xb3, 0xd1, 0xd8, 0xd9, 0xe3, 0xe5, 0xe6, 0x81,
    0x84, 0x85, 0x86, 0x88, 0x92, 0x9a, 0x9c, 0xa0, 0xa3, 0xa4, 0xa9, 0xaa, 0xad, 0xb2, 0xb5, 0xb9, 0xba, 0xbb, 0xbd, 0xbe,
    0xc4, 0xc6, 0xe4, 0xe8, 0xe9, 0x01, 0x87, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8f, 0x93, 0x95, 0x96, 0x97, 0x98, 0x9b, 0x9d,
    0x9e, 0xa5, 0xa6, 0xa8, 0xae, 0xaf, 0xb4, 0xb6, 0xb7, 0xbc, 0xbf, 0xc5, 0xe7, 0xef, 0x09, 0x8e, 0x90, 0x91, 0x94, 0x9f,
    0xab, 0xce, 0xd7, 0xe1, 0xec, 0xed, 0xc7, 0xcf, 0xea, 0xeb, 0xc0, 0xc1, 0xc8, 0xc9, 0xca, 0xcd, 0xd2, 0xd5, 0xda, 0xdb,
    0xee, 0xf0, 0xf2, 0xf3, 0xff, 0xcb, 0xcc, 0xd3, 0xd4, 0xd6, 0xdd, 0xde, 0xdf, 0xf1, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xfa,
    0xfb, 0xfc, 0xfd, 0xfe, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0b, 0x0c, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14,
    0x15, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x7f, 0xdc, 0xf9, 0x0a, 0x0d, 0x16,
};

void ml_hpack_begin(struct ml_hpack *h)
{
    memset(h, 0, sizeof *h);
}

static bool fail(struct ml_hpack *h)
{
    h->failed = true;
    return false;
}

static uint8_t static_field(uint32_t index)
{
    if (index >= STATIC_STATUS && index <= STATIC_STATUS_LAST) {
        return F_STATUS;
    }
    if (index < STATIC_STATUS) {
        return F_OTHER_PSEUDO;
    }
    return index == STATIC_DATE ? F_DATE : index == STATIC_RETRY_AFTER ? F_RETRY_AFTER : F_OTHER;
}

/* The order rules of RFC 9113, 8.3: pseudo-header fields first, of a response only :status, once. */
static void note_field(struct ml_hpack *h, uint8_t field)
{
    if (field == F_STATUS) {
        h->is_malformed = h->is_malformed || h->saw_regular || h->saw_status;
        h->saw_status = true;
    } else if (field == F_OTHER_PSEUDO) {
        h->is_malformed = true;
    } else {
        h->saw_regular = true;
    }
}

static void set_status(struct ml_hpack *h, const char *text, size_t len)
{
    uint16_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            len = 0;
            break;
        }
        v = (uint16_t)(v * 10 + (uint16_t)(text[i] - '0'));
    }
    if (len != 3 || v < 100) {
        h->is_malformed = true;
        return;
    }
    h->status = v;
}

static void string_begin(struct ml_hpack *h, uint8_t kind)
{
    h->kind = kind;
    h->state = S_STRING_LEN;
}

/* pos counts the characters seen, up to one more than fits; text keeps the first ones. */
static void put_char(struct ml_hpack *h, uint8_t c)
{
    if (h->kind == K_NAME) {
        h->is_malformed = h->is_malformed || c <= 0x20 || c >= 0x7f || (c >= 'A' && c <= 'Z') || (c == ':' && h->pos > 0);
    } else {
        h->is_malformed = h->is_malformed || c == 0 || c == '\r' || c == '\n';
    }
    if (h->pos < ML_HPACK_VALUE_CAP - 1) {
        h->text[h->pos] = (char)c;
    }
    if (h->pos < ML_HPACK_VALUE_CAP) {
        h->pos++;
    }
}

static bool text_is(const struct ml_hpack *h, const char *name)
{
    return h->pos == strlen(name) && memcmp(h->text, name, h->pos) == 0;
}

static void name_ended(struct ml_hpack *h)
{
    if (text_is(h, ":status")) {
        h->field = F_STATUS;
    } else if (h->pos > 0 && h->text[0] == ':') {
        h->field = F_OTHER_PSEUDO;
    } else if (text_is(h, "retry-after")) {
        h->field = F_RETRY_AFTER;
    } else if (text_is(h, "date")) {
        h->field = F_DATE;
    } else {
        h->field = F_OTHER;
        h->is_malformed = h->is_malformed || h->pos == 0;
    }
    string_begin(h, K_VALUE);
}

static void value_ended(struct ml_hpack *h)
{
    bool fits = h->pos < ML_HPACK_VALUE_CAP;
    note_field(h, h->field);
    if (h->field == F_STATUS) {
        set_status(h, h->text, h->pos);
    } else if (fits && (h->field == F_RETRY_AFTER || h->field == F_DATE)) {
        char *to = h->field == F_DATE ? h->date : h->retry_after;
        memcpy(to, h->text, h->pos);
        to[h->pos] = 0;
    }
    h->state = S_FIELD;
}

/* Padding of a Huffman string is at most 7 bits, all ones: the beginning of EOS. */
static bool huff_padding_ok(const struct ml_hpack *h)
{
    return h->bit_count <= 7 && h->bits == (UINT32_C(1) << h->bit_count) - 1;
}

static bool string_ended(struct ml_hpack *h)
{
    if (h->huffman && !huff_padding_ok(h)) {
        return fail(h);
    }
    if (h->kind == K_NAME) {
        name_ended(h);
    } else {
        value_ended(h);
    }
    return true;
}

/* A code is complete when it is below the first code of its length plus how many there are. */
static bool huff_bit(struct ml_hpack *h, unsigned bit)
{
    h->bits = h->bits << 1 | bit;
    h->bit_count++;
    uint32_t first = 0, index = 0;
    for (unsigned len = HUFF_MIN; len <= h->bit_count; len++) {
        uint32_t count = huff_count[len - HUFF_MIN];
        if (len == h->bit_count && h->bits - first < count) {
            put_char(h, huff_symbol[index + (h->bits - first)]);
            h->bits = 0;
            h->bit_count = 0;
            return true;
        }
        index += count;
        first = (first + count) << 1;
    }
    return h->bit_count < HUFF_MAX; /* 30 bits and no symbol: EOS */
}

static bool string_byte(struct ml_hpack *h, uint8_t c)
{
    if (h->huffman) {
        for (int i = 7; i >= 0; i--) {
            if (!huff_bit(h, c >> i & 1u)) {
                return fail(h);
            }
        }
    } else {
        put_char(h, c);
    }
    return --h->left > 0 || string_ended(h);
}

/* Acts on a complete integer. */
static bool int_ended(struct ml_hpack *h)
{
    switch (h->kind) {
    case K_INDEXED:
        if (h->value == 0 || h->value > STATIC_COUNT) {
            return fail(h);
        }
        note_field(h, static_field(h->value));
        if (h->value >= STATIC_STATUS && h->value <= STATIC_STATUS_LAST) {
            static const uint16_t status[] = {200, 204, 206, 304, 400, 404, 500};
            h->status = status[h->value - STATIC_STATUS];
        }
        h->saw_field = true;
        h->state = S_FIELD;
        return true;
    case K_TABLE_SIZE:
        h->state = S_FIELD;
        return h->value == 0 || fail(h);
    case K_NAME_INDEX:
        if (h->value > STATIC_COUNT) {
            return fail(h);
        }
        h->saw_field = true;
        if (h->value == 0) {
            string_begin(h, K_NAME);
        } else {
            h->field = static_field(h->value);
            string_begin(h, K_VALUE);
        }
        return true;
    default: /* a string's length */
        h->left = h->value;
        h->pos = 0;
        h->bits = 0;
        h->bit_count = 0;
        h->state = S_STRING;
        return h->left > 0 || string_ended(h);
    }
}

static bool int_begin(struct ml_hpack *h, uint8_t c, uint8_t prefix_bits)
{
    uint32_t mask = (UINT32_C(1) << prefix_bits) - 1;
    h->value = c & mask;
    h->shift = 0;
    if (h->value < mask) {
        return int_ended(h);
    }
    h->state = S_INT;
    return true;
}

/* Integers above 2^28 are refused: no field of a bounded header block needs them. */
static bool int_byte(struct ml_hpack *h, uint8_t c)
{
    if (h->shift > 21) {
        return fail(h);
    }
    h->value += (uint32_t)(c & 0x7f) << h->shift;
    h->shift = (uint8_t)(h->shift + 7);
    return (c & 0x80) != 0 || int_ended(h);
}

static bool field_byte(struct ml_hpack *h, uint8_t c)
{
    if (c & 0x80) {
        h->kind = K_INDEXED;
        return int_begin(h, c, 7);
    }
    if (c & 0x40) { /* with incremental indexing: a table of size 0 stays empty */
        h->kind = K_NAME_INDEX;
        return int_begin(h, c, 6);
    }
    if (c & 0x20) {
        if (h->saw_field) {
            return fail(h); /* RFC 7541, 4.2: only at the beginning of a block */
        }
        h->kind = K_TABLE_SIZE;
        return int_begin(h, c, 5);
    }
    h->kind = K_NAME_INDEX;
    return int_begin(h, c, 4);
}

bool ml_hpack_feed(struct ml_hpack *h, const uint8_t *buf, size_t len)
{
    bool ok = !h->failed;
    for (size_t i = 0; ok && i < len; i++) {
        switch (h->state) {
        case S_FIELD:
            ok = field_byte(h, buf[i]);
            break;
        case S_INT:
            ok = int_byte(h, buf[i]);
            break;
        case S_STRING_LEN:
            h->huffman = (buf[i] & 0x80) != 0;
            ok = int_begin(h, buf[i], 7);
            break;
        default:
            ok = string_byte(h, buf[i]);
            break;
        }
    }
    return ok;
}

bool ml_hpack_finish(struct ml_hpack *h)
{
    return !h->failed && h->state == S_FIELD;
}

size_t ml_hpack_put_int(uint8_t *dst, uint8_t first, unsigned prefix_bits, uint32_t v)
{
    uint32_t mask = (UINT32_C(1) << prefix_bits) - 1;
    if (v < mask) {
        dst[0] = (uint8_t)(first | v);
        return 1;
    }
    size_t n = 0;
    dst[n++] = (uint8_t)(first | mask);
    for (v -= mask; v >= 0x80; v >>= 7) {
        dst[n++] = (uint8_t)(v | 0x80);
    }
    dst[n++] = (uint8_t)v;
    return n;
}
