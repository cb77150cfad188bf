/*
 * Requests of the server to this node: c2n over Noise, and HEAD pings. Source: control.md 11; C57, C58.
 *
 * An answer goes out as a request of its own, beside the poll, which never waits for it. One more may wait until that request is
 * answered; what comes meanwhile is dropped and counted. c2n has two answers: what /echo was given, and 400.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/bytes.h"
#include "control/control_internal.h"

/* How long an answer that was sent may still wait for its acknowledgement once there is another to send. */
#define REPLY_PATIENCE ML_SEC(2)

/* The path of a URL, "/" at least; what is before it does not matter for requests over Noise. */
static const char *url_path(const char *url)
{
    const char *s = strstr(url, "://");
    s = strchr(s ? s + 3 : url, '/');
    return s ? s : "/";
}

/* Case-insensitive header field @p name (with colon) at the start of a line. */
static bool is_field(const uint8_t *line, size_t len, const char *name)
{
    size_t n = strlen(name);
    if (len < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t ch = line[i];
        ch = ch >= 'A' && ch <= 'Z' ? (uint8_t)(ch | 0x20) : ch;
        if (ch != (uint8_t)name[i]) {
            return false;
        }
    }
    return true;
}

struct c2n_request {
    const uint8_t *path, *body;
    size_t path_len, body_len;
};

/* Request line, header fields, body. A chunked body is not taken: the servers send lengths. */
static bool parse_request(const uint8_t *p, size_t len, struct c2n_request *out)
{
    memset(out, 0, sizeof *out);
    const uint8_t *end = p + len;
    const uint8_t *path = memchr(p, ' ', len);
    if (!path) {
        return false;
    }
    path++;
    const uint8_t *stop = memchr(path, ' ', (size_t)(end - path));
    const uint8_t *line = memchr(path, '\n', (size_t)(end - path));
    if (!stop || !line || stop > line || (size_t)(line - stop) < 7 || memcmp(stop + 1, "HTTP/1", 6) != 0) {
        return false;
    }
    const uint8_t *query = memchr(path, '?', (size_t)(stop - path));
    out->path = path;
    out->path_len = (size_t)((query ? query : stop) - path);
    for (line++; line < end;) {
        const uint8_t *next = memchr(line, '\n', (size_t)(end - line));
        if (!next) {
            return false;
        }
        size_t n = (size_t)(next - line);
        n -= n > 0 && line[n - 1] == '\r' ? 1 : 0;
        if (n == 0) {
            out->body = next + 1;
            return out->body_len <= (size_t)(end - out->body);
        }
        if (is_field(line, n, "transfer-encoding:")) {
            return false;
        }
        if (is_field(line, n, "content-length:")) {
            size_t at = 15;
            while (at < n && line[at] == ' ') {
                at++;
            }
            uint64_t length = 0;
            if (!ml_dec_parse((const char *)line + at, n - at, &length) || length > len) {
                return false;
            }
            out->body_len = (size_t)length;
        }
        line = next + 1;
    }
    return false;
}

static size_t write_answer(uint8_t *dst, size_t cap, const struct ml_ping_request *ping)
{
    static const char unknown[] = "unknown c2n path";
    struct c2n_request request;
    bool is_echo = parse_request(ping->payload, ping->payload_len, &request) && request.path_len == 5 &&
                   memcmp(request.path, "/echo", 5) == 0;
    struct ml_writer w = ml_writer_of(dst, cap);
    ml_write_str(&w, is_echo ? "HTTP/1.1 200 OK\r\nContent-Length: " : "HTTP/1.1 400 Bad Request\r\nContent-Length: ");
    ml_write_dec(&w, is_echo ? request.body_len : sizeof unknown - 1);
    ml_write_str(&w, "\r\n\r\n");
    if (is_echo) {
        ml_write_bytes(&w, request.body, request.body_len);
    } else {
        ml_write_str(&w, unknown);
    }
    return w.bad ? 0 : w.len;
}

/* The HEAD goes to the URL itself, over a connection of its own. */
static void outer_ping(struct ml_control *c, ml_time now, const char *url)
{
    char base[ML_CONTROL_URL_CAP];
    const char *path = url_path(url);
    const char *authority = strstr(url, "://");
    size_t base_len = authority ? (size_t)(authority + 3 - url) + strcspn(authority + 3, "/?#") : 0;
    if (!ml_str_copy(base, sizeof base, url, base_len) || !ml_control_parse_url(base, &c->ping_url)) {
        c->stats.pings_dropped++;
        return;
    }
    char host[ML_CONTROL_HOST_CAP + 8];
    struct ml_writer w = ml_writer_of((uint8_t *)host, sizeof host);
    ml_control_write_host(&w, c->ping_url.host, ml_control_url_port(&c->ping_url), c->ping_url.is_tls);
    (void)ml_write_end_str(&w);
    w = ml_writer_of(c->ping_tx, sizeof c->ping_tx);
    ml_http1_write_request(&w, "HEAD", host, path);
    if (w.bad) {
        return;
    }
    c->ping_tx_len = (uint16_t)w.len;
    c->ping_tx_pos = 0;
    c->ping_deadline = now + ML_CONTROL_PING_MAX;
    c->stats.pings++;
    ml_control_stream_open(c, SLOT_PING);
}

bool ml_control_ping_take(struct ml_control *c, ml_time now, const struct ml_ping_request *ping)
{
    bool is_c2n = strcmp(ping->types, "c2n") == 0;
    bool is_head = ping->types[0] == '\0';
    if (!is_c2n && !is_head) {
        return false;
    }
    bool is_outer = is_head && !ping->is_url_noise;
    ml_control_link_flush(c); /* the body of an earlier request may be on its way by now */
    bool is_busy = is_outer ? c->streams[SLOT_PING].state != SLOT_FREE : c->is_reply_due || c->unsent != 0;
    /* Text that would not be a valid request target goes nowhere. */
    bool is_clean = true;
    for (const char *s = ping->url; *s; s++) {
        is_clean &= (uint8_t)*s > 0x20 && (uint8_t)*s < 0x7f;
    }
    if (is_busy || ping->is_cut || !is_clean) {
        c->stats.pings_dropped++;
        return true;
    }
    if (is_outer) {
        outer_ping(c, now, ping->url);
        return true;
    }
    (void)ml_str_set(c->reply_url, sizeof c->reply_url, ping->url);
    c->body_len = is_c2n ? write_answer(c->body, sizeof c->body, ping) : 0;
    if (is_c2n && c->body_len == 0) {
        c->stats.pings_dropped++;
        return true;
    }
    c->is_reply_due = true;
    c->is_reply_head = is_head;
    /* The server asks again as soon as it has our answer, maybe before it has acknowledged it. */
    ml_time patience = now + REPLY_PATIENCE;
    c->req[REQ_REPLY].expires_at = patience < c->req[REQ_REPLY].expires_at ? patience : c->req[REQ_REPLY].expires_at;
    return true;
}

void ml_control_reply_start(struct ml_control *c, ml_time now)
{
    c->is_reply_due = false;
    ml_control_key_text(c->ts_lb[0], sizeof c->ts_lb[0], &c->node_pub);
    c->ts_lb[1][0] = '\0';
    if (ml_control_request(c, now, REQ_REPLY, c->is_reply_head ? "HEAD" : "POST", url_path(c->reply_url))) {
        c->stats.pings++;
    } else {
        c->stats.pings_dropped++;
    }
}
