/*
 * HTTP/1.1 request heads (see http_request.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_request.h"

#include <string.h>
#include <strings.h>

static bool copy(char *dst, size_t cap, const char *src, size_t len)
{
    if (len >= cap || memchr(src, 0, len) != NULL) {
        return false;
    }
    memcpy(dst, src, len);
    dst[len] = 0;
    return true;
}

/** Offset behind the empty line, or 0. */
static size_t head_end(const char *buf, size_t len)
{
    for (size_t i = 3; i < len; i++) {
        if (buf[i] == '\n' && buf[i - 1] == '\r' && buf[i - 2] == '\n' && buf[i - 3] == '\r') {
            return i + 1;
        }
    }
    return 0;
}

static bool parse_request_line(const char *line, size_t len, struct ml_http_request *r)
{
    const char *sp1 = memchr(line, ' ', len);
    if (sp1 == NULL) {
        return false;
    }
    const char *target = sp1 + 1, *end = line + len;
    const char *sp2 = memchr(target, ' ', (size_t)(end - target));
    if (sp2 == NULL || target == sp2 || *target != '/') {
        return false;
    }
    size_t version_len = (size_t)(end - sp2 - 1);
    if (version_len != 8 || memcmp(sp2 + 1, "HTTP/1.", 7) != 0 || (end[-1] != '0' && end[-1] != '1')) {
        return false;
    }
    r->keep_alive = end[-1] == '1';
    const char *q = memchr(target, '?', (size_t)(sp2 - target));
    const char *path_end = q ? q : sp2;
    if (!copy(r->method, sizeof r->method, line, (size_t)(sp1 - line)) || r->method[0] == 0 ||
        !copy(r->path, sizeof r->path, target, (size_t)(path_end - target))) {
        return false;
    }
    return q == NULL || copy(r->query, sizeof r->query, q + 1, (size_t)(sp2 - q - 1));
}

static bool is(const char *name, size_t len, const char *want)
{
    return len == strlen(want) && strncasecmp(name, want, len) == 0;
}

/** Case-insensitive search for a token in a comma-separated value. */
static bool has_token(const char *v, size_t len, const char *token)
{
    size_t n = strlen(token);
    for (size_t i = 0; i + n <= len; i++) {
        bool starts = i == 0 || v[i - 1] == ',' || v[i - 1] == ' ';
        bool ends = i + n == len || v[i + n] == ',' || v[i + n] == ' ';
        if (starts && ends && strncasecmp(v + i, token, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool parse_length(const char *v, size_t len, size_t *out)
{
    if (len == 0 || len > 9) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (v[i] < '0' || v[i] > '9') {
            return false;
        }
        n = n * 10 + (size_t)(v[i] - '0');
    }
    *out = n;
    return true;
}

static bool parse_header(const char *line, size_t len, struct ml_http_request *r, bool *have_length)
{
    const char *colon = memchr(line, ':', len);
    if (colon == NULL || colon == line || line[0] == ' ' || line[0] == '\t') {
        return false; /* Also folded lines, which RFC 9112 5.2 lets a server refuse. */
    }
    size_t name_len = (size_t)(colon - line);
    const char *v = colon + 1, *end = line + len;
    while (v < end && (*v == ' ' || *v == '\t')) {
        v++;
    }
    while (end > v && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    size_t n = (size_t)(end - v);
    if (is(line, name_len, "content-length")) {
        size_t body;
        if (!parse_length(v, n, &body) || (*have_length && body != r->body_len)) {
            return false; /* Two that differ are how requests are smuggled. */
        }
        *have_length = true;
        r->body_len = body;
        return true;
    }
    if (is(line, name_len, "transfer-encoding")) {
        return false;
    }
    if (is(line, name_len, "connection")) {
        r->keep_alive = r->keep_alive && !has_token(v, n, "close");
        return true;
    }
    if (is(line, name_len, "expect")) {
        r->expects_100 = has_token(v, n, "100-continue");
        return true;
    }
    if (is(line, name_len, "host")) {
        if (r->has_host) {
            return false; /* RFC 9112 3.2 */
        }
        r->has_host = true;
        if (!copy(r->host, sizeof r->host, v, n)) {
            r->host[0] = 0;
        }
        return true;
    }
    if (is(line, name_len, "origin") || is(line, name_len, "referer")) {
        r->is_from_page = true;
        return true;
    }
    if (is(line, name_len, "upgrade")) {
        return copy(r->upgrade, sizeof r->upgrade, v, n);
    }
    if (is(line, name_len, "dial-host")) {
        return copy(r->dial_host, sizeof r->dial_host, v, n);
    }
    if (is(line, name_len, "dial-port")) {
        return copy(r->dial_port, sizeof r->dial_port, v, n);
    }
    if (is(line, name_len, "dial-network")) {
        return copy(r->dial_network, sizeof r->dial_network, v, n);
    }
    return true;
}

enum ml_http_parse ml_http_parse_head(const char *buf, size_t len, struct ml_http_request *out)
{
    memset(out, 0, sizeof *out);
    size_t end = head_end(buf, len < ML_HTTP_HEAD_MAX ? len : ML_HTTP_HEAD_MAX);
    if (end == 0) {
        return len >= ML_HTTP_HEAD_MAX ? ML_HTTP_TOO_LARGE : ML_HTTP_INCOMPLETE;
    }
    bool first = true, have_length = false;
    size_t at = 0;
    while (at < end - 2) {
        const char *nl = memchr(buf + at, '\n', end - at);
        size_t line_len = (size_t)(nl - (buf + at));
        if (line_len == 0 || nl[-1] != '\r') {
            return ML_HTTP_BAD;
        }
        bool ok =
            first ? parse_request_line(buf + at, line_len - 1, out) : parse_header(buf + at, line_len - 1, out, &have_length);
        if (!ok) {
            return ML_HTTP_BAD;
        }
        first = false;
        at += line_len + 1;
    }
    out->head_len = end;
    if (first) {
        return ML_HTTP_BAD;
    }
    return out->body_len > ML_HTTP_BODY_MAX ? ML_HTTP_TOO_LARGE : ML_HTTP_OK;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(const char *v, size_t len, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = v[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int hi = i + 2 < len ? hex(v[i + 1]) : -1;
            int lo = i + 2 < len ? hex(v[i + 2]) : -1;
            if (hi < 0 || lo < 0 || (hi == 0 && lo == 0)) {
                return false;
            }
            c = (char)(hi << 4 | lo);
            i += 2;
        }
        if (n + 1 >= cap) {
            return false;
        }
        out[n++] = c;
    }
    out[n] = 0;
    return true;
}

bool ml_http_query(const struct ml_http_request *r, const char *name, char *out, size_t cap)
{
    size_t name_len = strlen(name);
    const char *p = r->query;
    while (*p) {
        size_t len = strcspn(p, "&");
        if (len > name_len && p[name_len] == '=' && memcmp(p, name, name_len) == 0) {
            return decode(p + name_len + 1, len - name_len - 1, out, cap);
        }
        p += len + (p[len] == '&');
    }
    return false;
}

bool ml_http_encode(const char *text, char *out, size_t cap)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) != NULL;
        if (n + (plain ? 1 : 3) >= cap) {
            out[n] = 0;
            return false;
        }
        if (plain) {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    out[n] = 0;
    return true;
}
