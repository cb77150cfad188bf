/*
 * The streaming JSON reader: a byte-driven state machine with one bit per open container. See json_pull.h.
 *
 * Skipping uses the same machine with events and copies switched off, so a skipped value is checked like any other down to
 * ML_JSON_DEPTH; below that (S_DEEP) brackets are counted and strings followed, nothing more.
 *
 * SPDX-License-Identifier: MIT
 */
#include "json/json_pull.h"

#include <string.h>

enum state {
    S_VALUE,        /* a value must come */
    S_VALUE_OR_END, /* after '[' */
    S_KEY,          /* after ',' in an object */
    S_KEY_OR_END,   /* after '{' */
    S_COLON,
    S_AFTER, /* after a value: ',' or the end of its container, or of the document */
    S_STRING,
    S_ESCAPE,
    S_HEX,
    S_LITERAL,
    S_NUMBER,
    S_DEEP,
    S_ERROR
};

/* Where in a number we are; those marked may end it. */
enum number {
    N_MINUS,
    N_ZERO /* may end */,
    N_INT /* may end */,
    N_DOT,
    N_FRACTION /* may end */,
    N_E,
    N_E_SIGN,
    N_EXP /* may end */
};

/* A step's result: an event, or that the machine goes on. */
#define GO_ON ML_JSON_NEED_MORE

void ml_json_init(struct ml_json *j, char *tok, size_t tok_cap)
{
    memset(j, 0, sizeof *j);
    j->tok = tok;
    j->tok_cap = tok_cap < UINT32_MAX ? (uint32_t)tok_cap : UINT32_MAX;
    j->state = S_VALUE;
    j->last = ML_JSON_NEED_MORE;
    tok[0] = 0;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool keeps_text(const struct ml_json *j)
{
    return !j->skipping;
}

static void tok_reset(struct ml_json *j)
{
    j->tok_len = j->tok_full_len = 0;
    j->tok[0] = 0;
}

/* Appends the bytes of one code point, or nothing once something did not fit, so that a cut text is a prefix. */
static void tok_put(struct ml_json *j, const uint8_t *p, uint32_t n)
{
    if (!keeps_text(j)) {
        return;
    }
    if (j->tok_len == j->tok_full_len && n < j->tok_cap - j->tok_len) {
        memcpy(j->tok + j->tok_len, p, n);
        j->tok_len += n;
        j->tok[j->tok_len] = 0;
    }
    j->tok_full_len = n > UINT32_MAX - j->tok_full_len ? UINT32_MAX : j->tok_full_len + n;
}

/* Appends plain ASCII, as much of it as fits. */
static void tok_put_ascii(struct ml_json *j, const uint8_t *p, size_t n)
{
    if (j->tok_len == j->tok_full_len) {
        uint32_t room = j->tok_cap - j->tok_len - 1;
        uint32_t take = n < room ? (uint32_t)n : room;
        memcpy(j->tok + j->tok_len, p, take);
        j->tok_len += take;
        j->tok[j->tok_len] = 0;
    }
    j->tok_full_len = n > UINT32_MAX - j->tok_full_len ? UINT32_MAX : j->tok_full_len + (uint32_t)n;
}

static void tok_put_rune(struct ml_json *j, uint32_t r)
{
    uint8_t u[4];
    uint32_t n;
    if (r < 0x80) {
        u[0] = (uint8_t)r;
        n = 1;
    } else if (r < 0x800) {
        u[0] = (uint8_t)(0xc0 | (r >> 6));
        u[1] = (uint8_t)(0x80 | (r & 0x3f));
        n = 2;
    } else if (r < 0x10000) {
        u[0] = (uint8_t)(0xe0 | (r >> 12));
        u[1] = (uint8_t)(0x80 | ((r >> 6) & 0x3f));
        u[2] = (uint8_t)(0x80 | (r & 0x3f));
        n = 3;
    } else {
        u[0] = (uint8_t)(0xf0 | (r >> 18));
        u[1] = (uint8_t)(0x80 | ((r >> 12) & 0x3f));
        u[2] = (uint8_t)(0x80 | ((r >> 6) & 0x3f));
        u[3] = (uint8_t)(0x80 | (r & 0x3f));
        n = 4;
    }
    tok_put(j, u, n);
}

static void put_replacement(struct ml_json *j)
{
    tok_put_rune(j, 0xfffd);
}

/* How long the sequence that begins with this byte is, 0 when none does. */
static uint32_t utf8_need(uint8_t first)
{
    if (first >= 0xc2 && first <= 0xdf) {
        return 2;
    }
    if ((first & 0xf0) == 0xe0) {
        return 3;
    }
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/* May @p c be the second byte after @p first? Excludes overlong forms, surrogates and what lies above U+10FFFF. */
static bool utf8_second_ok(uint8_t first, uint8_t c)
{
    uint8_t lo = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t hi = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return c >= lo && c <= hi;
}

/* A sequence broke off: each of its bytes counts as one wrong byte, as in Go. */
static void utf8_break(struct ml_json *j)
{
    for (; j->utf8_len > 0; j->utf8_len--) {
        put_replacement(j);
    }
}

static void high_break(struct ml_json *j)
{
    if (j->high != 0) {
        j->high = 0;
        put_replacement(j);
    }
}

/* One byte of a string that is no quote, backslash or control character. */
static void string_byte(struct ml_json *j, uint8_t c)
{
    high_break(j);
    if (j->utf8_len > 0) {
        bool fits = j->utf8_len == 1 ? utf8_second_ok(j->utf8[0], c) : (c & 0xc0) == 0x80;
        if (fits) {
            j->utf8[j->utf8_len++] = c;
            if (j->utf8_len == utf8_need(j->utf8[0])) {
                tok_put(j, j->utf8, j->utf8_len);
                j->utf8_len = 0;
            }
            return;
        }
        utf8_break(j);
    }
    if (c < 0x80) {
        tok_put(j, &c, 1);
    } else if (utf8_need(c) > 0) {
        j->utf8[0] = c;
        j->utf8_len = 1;
    } else {
        put_replacement(j);
    }
}

/* A finished \uXXXX. */
static void string_unit(struct ml_json *j, uint16_t u)
{
    if (j->high != 0 && u >= 0xdc00 && u <= 0xdfff) {
        uint32_t r = 0x10000 + (((uint32_t)j->high - 0xd800) << 10) + (u - 0xdc00u);
        j->high = 0;
        tok_put_rune(j, r);
        return;
    }
    high_break(j);
    if (u >= 0xd800 && u <= 0xdbff) {
        j->high = u;
    } else if (u >= 0xdc00 && u <= 0xdfff) {
        put_replacement(j);
    } else {
        tok_put_rune(j, u);
    }
}

static enum ml_json_event fail(struct ml_json *j)
{
    j->state = S_ERROR;
    return ML_JSON_ERROR;
}

static bool is_deep(const struct ml_json *j)
{
    return j->depth > ML_JSON_DEPTH;
}

/* A value just ended at the present depth. Passes its event on unless it belongs to what is skipped. */
static enum ml_json_event value_ended(struct ml_json *j, enum ml_json_event ev)
{
    j->state = S_AFTER;
    if (!j->skipping) {
        return ev;
    }
    if (j->depth == j->skip_depth) {
        j->skipping = false;
    }
    return GO_ON;
}

static enum ml_json_event open_container(struct ml_json *j, bool is_object)
{
    if (j->depth >= ML_JSON_DEPTH && !j->skipping) {
        return fail(j);
    }
    if (j->depth == UINT32_MAX) {
        return fail(j);
    }
    j->depth++;
    if (is_deep(j)) {
        j->state = S_DEEP;
        return GO_ON;
    }
    uint64_t bit = UINT64_C(1) << (j->depth - 1);
    j->is_object = is_object ? j->is_object | bit : j->is_object & ~bit;
    j->state = is_object ? S_KEY_OR_END : S_VALUE_OR_END;
    if (j->skipping) {
        return GO_ON;
    }
    return is_object ? ML_JSON_OBJECT_BEGIN : ML_JSON_ARRAY_BEGIN;
}

static bool in_object(const struct ml_json *j)
{
    return j->depth > 0 && (j->is_object >> (j->depth - 1) & 1) != 0;
}

static enum ml_json_event close_container(struct ml_json *j, bool is_object)
{
    if (j->depth == 0 || in_object(j) != is_object) {
        return fail(j);
    }
    j->depth--;
    return value_ended(j, is_object ? ML_JSON_OBJECT_END : ML_JSON_ARRAY_END);
}

static void string_begin(struct ml_json *j, bool is_key)
{
    tok_reset(j);
    j->is_key = is_key;
    j->utf8_len = 0;
    j->high = 0;
    j->state = S_STRING;
}

static enum ml_json_event string_ended(struct ml_json *j)
{
    utf8_break(j);
    high_break(j);
    if (is_deep(j)) {
        j->state = S_DEEP;
        return GO_ON;
    }
    if (!j->is_key) {
        return value_ended(j, ML_JSON_STRING);
    }
    j->state = S_COLON;
    return j->skipping ? GO_ON : ML_JSON_KEY;
}

static enum ml_json_event step_value(struct ml_json *j, uint8_t c)
{
    tok_reset(j);
    switch (c) {
    case '{':
    case '[':
        return open_container(j, c == '{');
    case '"':
        string_begin(j, false);
        return GO_ON;
    case 't':
    case 'f':
    case 'n':
        j->state = S_LITERAL;
        j->utf8[0] = c;
        j->sub = 1;
        return GO_ON;
    default:
        if (c != '-' && !is_digit(c)) {
            return fail(j);
        }
        j->state = S_NUMBER;
        j->sub = c == '-' ? N_MINUS : c == '0' ? N_ZERO : N_INT;
        tok_put(j, &c, 1);
        return GO_ON;
    }
}

static enum ml_json_event step_literal(struct ml_json *j, uint8_t c)
{
    uint8_t first = j->utf8[0];
    const char *word = first == 't' ? "true" : first == 'f' ? "false" : "null";
    if (c != (uint8_t)word[j->sub]) {
        return fail(j);
    }
    if (word[++j->sub] != 0) {
        return GO_ON;
    }
    return value_ended(j, first == 't' ? ML_JSON_TRUE : first == 'f' ? ML_JSON_FALSE : ML_JSON_NULL);
}

static bool number_may_end(uint8_t sub)
{
    return sub == N_ZERO || sub == N_INT || sub == N_FRACTION || sub == N_EXP;
}

/* The part of a number that @p c leads to, or -1 when it does not belong to it. */
static int number_next(uint8_t sub, uint8_t c)
{
    bool digit = is_digit(c), e = c == 'e' || c == 'E';
    switch (sub) {
    case N_MINUS:
        return !digit ? -1 : c == '0' ? N_ZERO : N_INT;
    case N_ZERO:
    case N_INT:
        if (digit && sub == N_INT) {
            return N_INT;
        }
        return c == '.' ? N_DOT : e ? N_E : -1;
    case N_DOT:
        return digit ? N_FRACTION : -1;
    case N_FRACTION:
        return digit ? N_FRACTION : e ? N_E : -1;
    case N_E:
        return digit ? N_EXP : c == '+' || c == '-' ? N_E_SIGN : -1;
    default:
        return digit ? N_EXP : -1;
    }
}

static enum ml_json_event step_escape(struct ml_json *j, uint8_t c)
{
    if (c == 'u') {
        j->sub = 0;
        j->unit = 0;
        j->state = S_HEX;
        return GO_ON;
    }
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = c != 0 ? strchr(from, c) : NULL;
    if (!at) {
        return fail(j);
    }
    high_break(j);
    uint8_t plain = (uint8_t)to[at - from];
    tok_put(j, &plain, 1);
    j->state = S_STRING;
    return GO_ON;
}

static enum ml_json_event step_hex(struct ml_json *j, uint8_t c)
{
    uint8_t lower = c | 0x20;
    unsigned digit;
    if (is_digit(c)) {
        digit = c - (unsigned)'0';
    } else if (lower >= 'a' && lower <= 'f') {
        digit = lower - (unsigned)'a' + 10;
    } else {
        return fail(j);
    }
    j->unit = (uint16_t)(j->unit << 4 | digit);
    if (++j->sub == 4) {
        string_unit(j, j->unit);
        j->state = S_STRING;
    }
    return GO_ON;
}

static enum ml_json_event step_deep(struct ml_json *j, uint8_t c)
{
    if (c == '"') {
        string_begin(j, false);
    } else if (c == '{' || c == '[') {
        return open_container(j, false);
    } else if (c == '}' || c == ']') {
        j->depth--;
        if (!is_deep(j)) {
            return value_ended(j, ML_JSON_ARRAY_END);
        }
    }
    return GO_ON;
}

/* One byte outside strings and numbers that is no white space. */
static enum ml_json_event step(struct ml_json *j, uint8_t c)
{
    switch (j->state) {
    case S_VALUE_OR_END:
        if (c == ']') {
            return close_container(j, false);
        }
        return step_value(j, c);
    case S_VALUE:
        return step_value(j, c);
    case S_KEY_OR_END:
        if (c == '}') {
            return close_container(j, true);
        }
        if (c == '"') {
            string_begin(j, true);
            return GO_ON;
        }
        return fail(j);
    case S_KEY:
        if (c == '"') {
            string_begin(j, true);
            return GO_ON;
        }
        return fail(j);
    case S_COLON:
        j->state = S_VALUE;
        return c == ':' ? GO_ON : fail(j);
    case S_AFTER:
        if (c == ',') {
            j->state = in_object(j) ? S_KEY : S_VALUE;
            return GO_ON;
        }
        if (c == '}' || c == ']') {
            return close_container(j, c == '}');
        }
        return fail(j);
    case S_DEEP:
        return step_deep(j, c);
    default:
        return fail(j);
    }
}

/* A run of string bytes: everything up to a quote, a backslash, a control character or the end. Sets *ev at the quote. */
static size_t string_run(struct ml_json *j, const uint8_t *p, size_t len, enum ml_json_event *ev)
{
    size_t i = 0;
    while (i < len) {
        uint8_t c = p[i];
        if (c == '"') {
            *ev = string_ended(j);
            return i + 1;
        }
        if (c == '\\') {
            utf8_break(j);
            j->state = S_ESCAPE;
            return i + 1;
        }
        if (c < 0x20) {
            *ev = fail(j);
            return i + 1;
        }
        size_t from = i++;
        if (!keeps_text(j)) {
            continue;
        }
        if (c >= 0x80 || j->high != 0 || j->utf8_len > 0) {
            string_byte(j, c);
            continue;
        }
        while (i < len && p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' && p[i] != '\\') {
            i++;
        }
        tok_put_ascii(j, p + from, i - from);
    }
    return i;
}

static enum ml_json_event run(struct ml_json *j, const uint8_t *buf, size_t len, size_t *used)
{
    size_t i = 0;
    enum ml_json_event ev = GO_ON;
    while (ev == GO_ON) {
        if (j->state == S_AFTER && j->depth == 0 && !j->skipping) {
            while (i < len && is_space(buf[i])) {
                i++;
            }
            /* The first END comes even when junk follows at once; the junk is an error of the next call. */
            ev = i < len && j->last == ML_JSON_END ? fail(j) : ML_JSON_END;
            break;
        }
        if (i == len) {
            break;
        }
        uint8_t c = buf[i];
        switch (j->state) {
        case S_STRING:
            i += string_run(j, buf + i, len - i, &ev);
            break;
        case S_ESCAPE:
            i++;
            ev = step_escape(j, c);
            break;
        case S_HEX:
            i++;
            ev = step_hex(j, c);
            break;
        case S_LITERAL:
            i++;
            ev = step_literal(j, c);
            break;
        case S_NUMBER: {
            int next = number_next(j->sub, c);
            if (next >= 0) {
                i++;
                j->sub = (uint8_t)next;
                tok_put(j, &c, 1);
            } else {
                /* c is not part of it and is read again. */
                ev = number_may_end(j->sub) ? value_ended(j, ML_JSON_NUMBER) : fail(j);
            }
            break;
        }
        case S_ERROR:
            ev = ML_JSON_ERROR;
            break;
        default:
            i++;
            ev = is_space(c) ? GO_ON : step(j, c);
            break;
        }
    }
    *used = i;
    return ev;
}

enum ml_json_event ml_json_next(struct ml_json *j, const uint8_t *buf, size_t len, size_t *used)
{
    enum ml_json_event ev = run(j, buf, len, used);
    if (ev != ML_JSON_NEED_MORE) {
        j->last = (uint8_t)ev;
    }
    return ev;
}

enum ml_json_event ml_json_finish(struct ml_json *j)
{
    enum ml_json_event ev = ML_JSON_NEED_MORE;
    if (j->state == S_NUMBER && j->depth == 0 && number_may_end(j->sub)) {
        ev = value_ended(j, ML_JSON_NUMBER);
    }
    if (ev == ML_JSON_NEED_MORE) {
        ev = j->state == S_AFTER && j->depth == 0 ? ML_JSON_END : fail(j);
    }
    j->last = (uint8_t)ev;
    return ev;
}

void ml_json_skip(struct ml_json *j)
{
    bool at_begin = j->last == ML_JSON_OBJECT_BEGIN || j->last == ML_JSON_ARRAY_BEGIN;
    bool at_start = j->last == ML_JSON_NEED_MORE && j->depth == 0 && j->state == S_VALUE;
    if (j->state == S_ERROR || j->skipping || !(at_begin || at_start || j->last == ML_JSON_KEY)) {
        return;
    }
    j->skipping = true;
    j->skip_depth = at_begin ? j->depth - 1 : j->depth;
}

bool ml_json_tok_is(const struct ml_json *j, const char *text)
{
    size_t n = strlen(text);
    return !ml_json_is_cut(j) && n == j->tok_len && memcmp(j->tok, text, n) == 0;
}

bool ml_json_get_u64(const struct ml_json *j, uint64_t *out)
{
    uint64_t v = 0;
    if (ml_json_is_cut(j) || j->tok_len == 0) {
        return false;
    }
    for (uint32_t i = 0; i < j->tok_len; i++) {
        uint8_t c = (uint8_t)j->tok[i];
        if (!is_digit(c) || v > (UINT64_MAX - (c - (uint64_t)'0')) / 10) {
            return false;
        }
        v = v * 10 + (c - (uint64_t)'0');
    }
    *out = v;
    return true;
}

bool ml_json_get_i64(const struct ml_json *j, int64_t *out)
{
    uint64_t v;
    if (j->tok_len == 0 || j->tok[0] != '-') {
        if (!ml_json_get_u64(j, &v) || v > INT64_MAX) {
            return false;
        }
        *out = (int64_t)v;
        return true;
    }
    struct ml_json rest = *j;
    rest.tok++;
    rest.tok_len--;
    rest.tok_full_len--;
    if (!ml_json_get_u64(&rest, &v) || v > (uint64_t)INT64_MAX + 1) {
        return false;
    }
    *out = v == 0 ? 0 : -(int64_t)(v - 1) - 1;
    return true;
}

/*
 * The digits without their point are an integer m; the number is m * 10^(exp - fraction digits). Digits beyond what 64 bits hold
 * are dropped and counted, which is exact for the thousandths of every number in range.
 */
bool ml_json_get_milli(const struct ml_json *j, int64_t *out)
{
    uint64_t m = 0;
    int64_t scale = 3, exp = 0;
    bool negative = false, exp_negative = false, after_point = false, in_exp = false, any = false;
    if (ml_json_is_cut(j)) {
        return false;
    }
    for (uint32_t i = 0; i < j->tok_len; i++) {
        uint8_t c = (uint8_t)j->tok[i];
        if (is_digit(c) && in_exp) {
            exp = exp < 100000 ? exp * 10 + (c - '0') : exp;
        } else if (is_digit(c)) {
            any = true;
            if (m < UINT64_MAX / 10 - 1) {
                m = m * 10 + (c - (uint64_t)'0');
                scale -= after_point;
            } else {
                scale += !after_point;
            }
        } else if (c == '.') {
            after_point = true;
        } else if (c == 'e' || c == 'E') {
            in_exp = true;
        } else if (c == '-' && in_exp) {
            exp_negative = true;
        } else if (c == '-') {
            negative = true;
        } else if (c != '+') {
            return false;
        }
    }
    if (!any) {
        return false;
    }
    scale += exp_negative ? -exp : exp;
    for (; scale < 0 && m > 0; scale++) {
        m /= 10;
    }
    for (; scale > 0 && m > 0; scale--) {
        if (m > INT64_MAX / 10) {
            return false;
        }
        m *= 10;
    }
    if (m > INT64_MAX) {
        return false;
    }
    *out = negative ? -(int64_t)m : (int64_t)m;
    return true;
}
