/*
 * HTTP/1.1: requests out, one response in, byte by byte. See http1_upgrade.h.
 *
 * Strict where laxity lets two parsers disagree about where a message ends (folded fields, odd transfer codings, two lengths
 * that differ, signs or blanks in a number): such an answer is an error. A bare LF ends a line as CRLF does.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/http1_upgrade.h"

enum state {
    S_VERSION, /* "HTTP/1.x " */
    S_STATUS,
    S_REASON,
    S_LINE_START,
    S_NAME,
    S_VALUE_START, /* blanks before a value */
    S_VALUE,
    S_HEAD_LF, /* CR of the empty line was seen */
    S_BODY_LENGTH,
    S_BODY_EOF,
    S_CHUNK_SIZE,
    S_CHUNK_EXT, /* rest of the size line */
    S_CHUNK_DATA,
    S_CHUNK_END, /* line end after chunk data */
    S_TRAILER_START,
    S_TRAILER,
    S_TRAILER_LF,
    S_HEAD_DONE, /* HEAD is due */
    S_END,
    S_ERROR
};

enum field { F_OTHER, F_UPGRADE, F_RETRY_AFTER, F_DATE, F_LENGTH, F_CODING };

void ml_http1_write_request(struct ml_writer *w, const char *method, const char *host, const char *path)
{
    ml_write_str(w, method);
    ml_write_u8(w, ' ');
    ml_write_str(w, path);
    ml_write_str(w, " HTTP/1.1\r\nHost: ");
    ml_write_str(w, host);
    ml_write_str(w, "\r\nConnection: close\r\n\r\n");
}

void ml_http1_write_upgrade(struct ml_writer *w, const char *host, const uint8_t *initiation, size_t initiation_len)
{
    ml_write_str(w, "POST /ts2021 HTTP/1.1\r\nHost: ");
    ml_write_str(w, host);
    ml_write_str(w, "\r\nUpgrade: " ML_HTTP1_TS2021_TOKEN "\r\nConnection: upgrade\r\nX-Tailscale-Handshake: ");
    ml_write_base64(w, initiation, initiation_len);
    ml_write_str(w, "\r\nContent-Length: 0\r\n\r\n");
}

void ml_http1_init(struct ml_http1 *h, bool is_head)
{
    ml_zero(h);
    h->no_body = is_head;
    h->state = S_VERSION;
}

static void fail(struct ml_http1 *h)
{
    h->state = S_ERROR;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* RFC 9110, 5.6.2. */
static bool is_token_char(uint8_t c)
{
    uint8_t l = lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void text_reset(struct ml_http1 *h)
{
    h->pos = 0;
    h->over = false;
}

static void text_put(struct ml_http1 *h, uint8_t c)
{
    if (h->pos < ML_HTTP1_VALUE_CAP - 1) {
        h->text[h->pos++] = (char)c;
    } else {
        h->over = true;
    }
}

/* Case-insensitive; @p want is lower case. */
static bool text_is(const struct ml_http1 *h, const char *want)
{
    size_t n = strlen(want);
    if (h->over || n != h->pos) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (lower((uint8_t)h->text[i]) != (uint8_t)want[i]) {
            return false;
        }
    }
    return true;
}

static void name_ended(struct ml_http1 *h)
{
    static const char *const names[] = {"upgrade", "retry-after", "date", "content-length", "transfer-encoding"};
    h->field = F_OTHER;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (text_is(h, names[i])) {
            h->field = (uint8_t)(F_UPGRADE + i);
        }
    }
    h->state = S_VALUE_START;
    text_reset(h);
}

static void keep(char to[ML_HTTP1_VALUE_CAP], const struct ml_http1 *h)
{
    if (!h->over) {
        memcpy(to, h->text, h->pos);
        to[h->pos] = 0;
    }
}

static void length_field(struct ml_http1 *h)
{
    uint64_t v;
    if (h->over || !ml_dec_parse(h->text, h->pos, &v) || (h->has_length && v != h->content_length)) {
        fail(h);
        return;
    }
    h->has_length = true;
    h->content_length = v;
}

static void value_ended(struct ml_http1 *h)
{
    while (h->pos > 0 && !h->over && (h->text[h->pos - 1] == ' ' || h->text[h->pos - 1] == '\t')) {
        h->pos--;
    }
    h->state = S_LINE_START;
    switch (h->field) {
    case F_UPGRADE:
        keep(h->upgrade, h);
        break;
    case F_RETRY_AFTER:
        keep(h->retry_after, h);
        break;
    case F_DATE:
        keep(h->date, h);
        break;
    case F_LENGTH:
        length_field(h);
        break;
    case F_CODING:
        if (h->is_chunked || !text_is(h, "chunked")) {
            fail(h);
        }
        h->is_chunked = true;
        break;
    default:
        break;
    }
}

/* The empty line: what body follows (RFC 9112, 6.3)? */
static void head_ended(struct ml_http1 *h)
{
    if (h->status < 200 && h->status != 101) {
        bool no_body = h->no_body;
        uint32_t head_len = h->head_len;
        ml_http1_init(h, no_body); /* an interim answer; the final one follows, within the same bound */
        h->head_len = head_len;
        return;
    }
    if (h->is_chunked) {
        h->has_length = false; /* RFC 9112, 6.3: the coding decides */
    }
    h->no_body =
        h->no_body || h->status == 101 || h->status == 204 || h->status == 304 || (h->has_length && h->content_length == 0);
    h->state = S_HEAD_DONE;
}

static void body_begin(struct ml_http1 *h)
{
    h->left = h->content_length;
    h->state = h->no_body ? S_END : h->is_chunked ? S_CHUNK_SIZE : h->has_length ? S_BODY_LENGTH : S_BODY_EOF;
    h->pos = 0;
    if (h->state == S_CHUNK_SIZE) {
        h->left = 0;
    }
}

static void step_version(struct ml_http1 *h, uint8_t c)
{
    static const char want[] = "HTTP/1.";
    if (h->pos < sizeof want - 1) {
        if (c != (uint8_t)want[h->pos]) {
            fail(h);
        }
    } else if (h->pos == sizeof want - 1) {
        if (c != '0' && c != '1') {
            fail(h);
        }
    } else if (c == ' ') {
        h->state = S_STATUS;
        h->pos = 0;
        return;
    } else {
        fail(h);
    }
    h->pos++;
}

static void step_status(struct ml_http1 *h, uint8_t c)
{
    if (h->pos < 3) {
        if (c < '0' || c > '9' || (h->pos == 0 && c == '0')) {
            fail(h);
            return;
        }
        h->status = (uint16_t)(h->status * 10 + (c - '0'));
        h->pos++;
    } else if (c == '\n') {
        h->state = S_LINE_START;
    } else if (c == ' ' || c == '\r') {
        h->state = S_REASON;
    } else {
        fail(h);
    }
}

static void step_line_start(struct ml_http1 *h, uint8_t c)
{
    text_reset(h);
    if (c == '\r') {
        h->state = S_HEAD_LF;
    } else if (c == '\n') {
        head_ended(h);
    } else if (is_token_char(c)) {
        h->state = S_NAME;
        text_put(h, c);
    } else {
        fail(h);
    }
}

/* One byte of the head. */
static void step_head(struct ml_http1 *h, uint8_t c)
{
    if (++h->head_len > ML_HTTP1_HEAD_MAX || c == 0) {
        fail(h);
        return;
    }
    switch (h->state) {
    case S_VERSION:
        step_version(h, c);
        break;
    case S_STATUS:
        step_status(h, c);
        break;
    case S_REASON:
        if (c == '\n') {
            h->state = S_LINE_START;
        }
        break;
    case S_LINE_START:
        step_line_start(h, c);
        break;
    case S_NAME:
        if (c == ':') {
            name_ended(h);
        } else if (is_token_char(c)) {
            text_put(h, c);
        } else {
            fail(h);
        }
        break;
    case S_VALUE_START:
    case S_VALUE:
        if (c == '\n') {
            value_ended(h);
        } else if (c != '\r' && (h->state == S_VALUE || (c != ' ' && c != '\t'))) {
            h->state = S_VALUE;
            text_put(h, c);
        }
        break;
    default: /* S_HEAD_LF */
        if (c == '\n') {
            head_ended(h);
        } else {
            fail(h);
        }
        break;
    }
}

static void step_chunk_size(struct ml_http1 *h, uint8_t c)
{
    int d = ml_hex_digit((char)c);
    if (d >= 0) {
        if (h->left >> 60 != 0) {
            fail(h);
            return;
        }
        h->left = h->left << 4 | (uint64_t)d;
        h->pos = 1;
    } else if (h->pos > 0 && c == '\n') {
        h->state = h->left > 0 ? S_CHUNK_DATA : S_TRAILER_START;
    } else if (h->pos > 0 && (c == '\r' || c == ';' || c == ' ' || c == '\t')) {
        h->state = S_CHUNK_EXT;
    } else {
        fail(h);
    }
}

/* One byte of the framing between chunks and of the trailer section, whose fields are ignored. Bounded like the head. */
static void step_chunk(struct ml_http1 *h, uint8_t c)
{
    if (h->state != S_CHUNK_SIZE && h->state != S_CHUNK_END && ++h->head_len > ML_HTTP1_HEAD_MAX) {
        fail(h);
        return;
    }
    switch (h->state) {
    case S_CHUNK_SIZE:
        step_chunk_size(h, c);
        break;
    case S_CHUNK_EXT:
        if (c == '\n') {
            h->head_len--; /* an empty extension costs nothing, so that many chunks do not add up */
            h->state = h->left > 0 ? S_CHUNK_DATA : S_TRAILER_START;
        }
        break;
    case S_CHUNK_END:
        if (c == '\n') {
            h->state = S_CHUNK_SIZE;
            h->pos = 0;
        } else if (c != '\r') {
            fail(h);
        }
        break;
    case S_TRAILER_START:
        h->state = c == '\n' ? S_END : c == '\r' ? S_TRAILER_LF : S_TRAILER;
        break;
    case S_TRAILER:
        h->state = c == '\n' ? S_TRAILER_START : S_TRAILER;
        break;
    default: /* S_TRAILER_LF */
        h->state = c == '\n' ? S_END : S_ERROR;
        break;
    }
}

/* Hands out what of the body lies in the buffer. */
static size_t take_body(struct ml_http1 *h, size_t len)
{
    if (h->state == S_BODY_EOF) {
        return len;
    }
    size_t n = h->left < len ? (size_t)h->left : len;
    h->left -= n;
    if (h->left == 0) {
        h->state = h->state == S_BODY_LENGTH ? S_END : S_CHUNK_END;
    }
    return n;
}

enum ml_http1_event ml_http1_next(struct ml_http1 *h, const uint8_t *buf, size_t len, size_t *used, const uint8_t **piece,
                                  size_t *piece_len)
{
    size_t i = 0;
    *used = 0;
    *piece = NULL;
    *piece_len = 0;
    for (;;) {
        if (h->state == S_HEAD_DONE) {
            *used = i;
            body_begin(h);
            return ML_HTTP1_HEAD;
        }
        if (h->state == S_END || h->state == S_ERROR || i == len) {
            *used = i;
            return h->state == S_END ? ML_HTTP1_END : h->state == S_ERROR ? ML_HTTP1_ERROR : ML_HTTP1_NEED_MORE;
        }
        if (h->state == S_BODY_LENGTH || h->state == S_BODY_EOF || h->state == S_CHUNK_DATA) {
            *piece = buf + i;
            *piece_len = take_body(h, len - i);
            *used = i + *piece_len;
            return ML_HTTP1_DATA;
        }
        if (h->state <= S_HEAD_LF) {
            step_head(h, buf[i++]);
        } else {
            step_chunk(h, buf[i++]);
        }
    }
}

enum ml_http1_event ml_http1_finish(struct ml_http1 *h)
{
    if (h->state != S_END && h->state != S_BODY_EOF) {
        fail(h);
        return ML_HTTP1_ERROR;
    }
    h->state = S_END;
    return ML_HTTP1_END;
}

bool ml_http1_is_upgraded(const struct ml_http1 *h, const char *token)
{
    return h->status == 101 && strcmp(h->upgrade, token) == 0;
}
