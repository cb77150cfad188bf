/*
 * The one connection to the control server: fetch its key, race the upgrade over both ports, then Noise and HTTP/2.
 *
 * Rules (control.md 2, 3, 4; C6-C10, C14, C20):
 *   - no key: GET /key over the URL's own scheme, verified TLS when it is https; then dial with it.
 *   - the plain port first, TLS after 500 ms or as soon as plain failed; TLS alone when the last dial was under two minutes ago.
 *   - every attempt makes its own initiation. The first whose handshake completes wins, the other is closed.
 *   - a tag failure or the end right after the 101 makes a cached key suspect: when no attempt won, it is fetched anew, once,
 *     before the failure counts. A pinned key is never replaced.
 *   - ten seconds for all of it. GOAWAY, garbage or loss: close everything and start over with back-off.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/key.h"
#include "base/rng.h"
#include "control/control_internal.h"
#include "json/json_write.h"

#define LONG_PAUSE ML_SEC(60) /* after a refusal that will not go away by itself (control.md 3.4) */

/* ---- Streams ---- */

static uint32_t stream_id(const struct ml_control *c, uint8_t slot)
{
    return slot | (uint32_t)c->streams[slot].generation << 8;
}

void ml_control_stream_open(struct ml_control *c, uint8_t slot)
{
    struct ml_control_stream *s = &c->streams[slot];
    s->generation = (uint16_t)(s->generation == UINT16_MAX ? 1 : s->generation + 1);
    s->state = SLOT_WANTED;
}

void ml_control_stream_close(struct ml_control *c, uint8_t slot)
{
    struct ml_control_stream *s = &c->streams[slot];
    if (s->state == SLOT_OPENING || s->state == SLOT_OPEN) {
        s->close_id = stream_id(c, slot);
    }
    s->state = SLOT_FREE;
}

/* ---- Starting ---- */

static void write_key_request(struct ml_control *c)
{
    struct ml_control_key_fetch *k = &c->u.key;
    char host[ML_CONTROL_HOST_CAP + 8];
    char path[24];
    struct ml_writer w = ml_writer_of((uint8_t *)host, sizeof host);
    ml_control_write_host(&w, c->url.host, ml_control_url_port(&c->url), c->url.is_tls);
    (void)ml_write_end_str(&w);
    w = ml_writer_of((uint8_t *)path, sizeof path);
    ml_write_str(&w, "/key?v=");
    ml_write_dec(&w, c->capver);
    (void)ml_write_end_str(&w);
    w = ml_writer_of(k->tx, sizeof k->tx);
    ml_http1_write_request(&w, "GET", host, path);
    k->tx_len = (uint16_t)w.len;
}

static void key_fetch_start(struct ml_control *c, ml_time now)
{
    memset(&c->u.key, 0, sizeof c->u.key);
    ml_http1_init(&c->u.key.http, false);
    ml_json_init(&c->u.key.json, c->u.key.token, sizeof c->u.key.token);
    write_key_request(c);
    c->link = LINK_KEY;
    c->dial_deadline = now + ML_CONTROL_DIAL_MAX;
    ml_control_stream_open(c, SLOT_PLAIN);
}

static uint16_t slot_port(const struct ml_control *c, uint8_t slot);

/* The connection is made while the initiation is: there is something to send once both are there. */
static void attempt_start(struct ml_control *c, uint8_t slot)
{
    struct ml_control_dial *d = &c->u.dial[slot];
    memset(d, 0, sizeof *d);
    ml_http1_init(&d->http, false);
    ml_noise_ik_begin(&d->ik, c->capver, &c->machine_key, &c->server_key);
    d->is_preparing = true;
    ml_control_stream_open(c, slot);
}

static void write_upgrade(struct ml_control *c, uint8_t slot, const uint8_t initiation[ML_NOISE_INITIATION_LEN])
{
    struct ml_control_dial *d = &c->u.dial[slot];
    char host[ML_CONTROL_HOST_CAP + 8];
    struct ml_writer w = ml_writer_of((uint8_t *)host, sizeof host);
    ml_control_write_host(&w, c->url.host, slot_port(c, slot), slot == SLOT_TLS);
    (void)ml_write_end_str(&w);
    w = ml_writer_of(d->tx, sizeof d->tx);
    ml_http1_write_upgrade(&w, host, initiation, ML_NOISE_INITIATION_LEN);
    d->tx_len = (uint16_t)w.len;
}

static void dial_failed(struct ml_control *c, ml_time now);

static bool is_dialling(const struct ml_control *c, uint8_t slot)
{
    return c->link == LINK_DIAL && c->streams[slot].state != SLOT_FREE;
}

/* Goes on with the initiations, as far as curve operations may be done now. */
static void prepare(struct ml_control *c, ml_time now)
{
    uint8_t initiation[ML_NOISE_INITIATION_LEN];
    for (unsigned i = SLOT_PLAIN; i <= SLOT_TLS; i++) {
        uint8_t slot = (uint8_t)i;
        struct ml_control_dial *d = &c->u.dial[slot];
        if (!is_dialling(c, slot) || !d->is_preparing) {
            continue;
        }
        switch (ml_noise_ik_initiate(&d->ik, c->random, initiation, c->budget)) {
        case ML_CURVE_DONE:
            d->is_preparing = false;
            write_upgrade(c, slot, initiation);
            break;
        case ML_CURVE_BAD: /* no X25519 key: as wrong as any other */
            c->is_key_suspect = true;
            c->race_at = ML_NEVER;
            dial_failed(c, now);
            break;
        case ML_CURVE_LATER:
            break;
        }
    }
}

static void dial_start(struct ml_control *c, ml_time now)
{
    uint16_t plain = 0;
    uint16_t tls = 0;
    ml_control_dial_ports(&c->url, &plain, &tls);
    (void)plain;
    bool is_recent = c->has_dialled && now - c->last_dial_at < ML_CONTROL_TLS_ONLY;
    memset(&c->u, 0, sizeof c->u);
    c->link = LINK_DIAL;
    c->dial_deadline = now + ML_CONTROL_DIAL_MAX;
    c->race_at = ML_NEVER;
    c->has_dialled = true;
    c->last_dial_at = now;
    c->is_key_suspect = false;
    c->stats.dials++;
    if (tls && is_recent) {
        attempt_start(c, SLOT_TLS);
    } else {
        c->race_at = tls ? now + ML_CONTROL_RACE_DELAY : ML_NEVER;
        attempt_start(c, SLOT_PLAIN);
    }
    prepare(c, now);
}

void ml_control_link_start(struct ml_control *c, ml_time now)
{
    c->is_key_fetched = false;
    if (ml_key_is_set(&c->server_key)) {
        dial_start(c, now);
    } else {
        key_fetch_start(c, now);
    }
}

/* ---- Ending ---- */

static void wipe_link(struct ml_control *c)
{
    if (c->link == LINK_UP) {
        ml_noise_conn_clear(&c->u.session.noise);
    }
    ml_wipe(&c->u, sizeof c->u);
    c->tx_len = 0;
    c->check_until = ML_NEVER;
    c->link = LINK_DOWN;
}

static void link_failed(struct ml_control *c, ml_time now, ml_time at_least)
{
    ml_control_stream_close(c, SLOT_PLAIN);
    ml_control_stream_close(c, SLOT_TLS);
    wipe_link(c);
    c->link_failures++;
    c->stats.dial_failures++;
    c->link_retry_at = ml_control_backoff(c, now, c->link_failures);
    if (at_least && c->link_retry_at < now + at_least) {
        c->link_retry_at = now + ml_random_jitter(c->random, at_least);
    }
}

/* No attempt is left. */
static void dial_failed(struct ml_control *c, ml_time now)
{
    bool may_refetch = c->is_key_suspect && !c->is_key_pinned && !c->is_key_fetched;
    if (may_refetch) {
        ml_control_stream_close(c, SLOT_PLAIN);
        ml_control_stream_close(c, SLOT_TLS);
        wipe_link(c);
        ml_zero(&c->server_key);
        key_fetch_start(c, now);
        return;
    }
    if (c->is_key_suspect) {
        ml_control_problem_set(c, ML_CONTROL_PROBLEM_SERVER_KEY, 0, NULL, 0);
    }
    link_failed(c, now, c->is_key_suspect ? LONG_PAUSE : 0);
}

void ml_control_link_drop(struct ml_control *c, ml_time now, bool is_failure)
{
    bool was_up = c->link == LINK_UP;
    ml_control_stream_close(c, SLOT_PLAIN);
    ml_control_stream_close(c, SLOT_TLS);
    wipe_link(c);
    if (is_failure) {
        c->link_failures++;
        c->link_retry_at = ml_control_backoff(c, now, c->link_failures);
    } else {
        c->link_retry_at = now;
    }
    if (!was_up) {
        return;
    }
    c->unsent = 0;
    for (int i = 0; i < REQ_COUNT; i++) {
        bool was_open = c->req[i].stream != 0;
        c->req[i].stream = 0;
        if (!was_open) {
            continue;
        }
        if (i == REQ_REGISTER) {
            ml_control_register_end(c, now, false);
        } else if (i == REQ_POLL) {
            ml_control_poll_end(c, now, false);
        } else if (i == REQ_LITE) {
            ml_control_lite_end(c, now, false);
        }
    }
}

/* The second attempt of a dial. */
static void race_start(struct ml_control *c, ml_time now)
{
    c->race_at = ML_NEVER;
    attempt_start(c, SLOT_TLS);
    prepare(c, now);
}

/* One attempt is over without success; the other may still run or start now. */
static void attempt_failed(struct ml_control *c, ml_time now, uint8_t slot)
{
    ml_control_stream_close(c, slot);
    ml_noise_ik_clear(&c->u.dial[slot].ik);
    if (slot == SLOT_PLAIN && c->race_at != ML_NEVER) {
        race_start(c, now);
        return;
    }
    if (c->race_at == ML_NEVER && c->streams[SLOT_PLAIN].state == SLOT_FREE && c->streams[SLOT_TLS].state == SLOT_FREE) {
        dial_failed(c, now);
    }
}

static enum ml_control_problem problem_of_close(enum ml_close_reason why)
{
    switch (why) {
    case ML_CLOSE_DNS:
        return ML_CONTROL_PROBLEM_DNS;
    case ML_CLOSE_REFUSED:
        return ML_CONTROL_PROBLEM_REFUSED;
    case ML_CLOSE_TIMEOUT:
        return ML_CONTROL_PROBLEM_TIMEOUT;
    case ML_CLOSE_TLS_UNTRUSTED:
    case ML_CLOSE_TLS_PIN:
        return ML_CONTROL_PROBLEM_TLS_UNTRUSTED;
    case ML_CLOSE_TLS_NAME:
        return ML_CONTROL_PROBLEM_TLS_NAME;
    case ML_CLOSE_TLS_TIME:
        return ML_CONTROL_PROBLEM_TLS_TIME;
    case ML_CLOSE_TLS_OTHER:
        return ML_CONTROL_PROBLEM_TLS_OTHER;
    case ML_CLOSE_NO_MEMORY:
        return ML_CONTROL_PROBLEM_NO_MEMORY;
    default:
        return ML_CONTROL_PROBLEM_LOST;
    }
}

static uint16_t slot_port(const struct ml_control *c, uint8_t slot)
{
    uint16_t plain = 0;
    uint16_t tls = 0;
    if (c->link == LINK_KEY) {
        return ml_control_url_port(&c->url);
    }
    ml_control_dial_ports(&c->url, &plain, &tls);
    return slot == SLOT_TLS ? tls : plain;
}

/*
 * The application hears of the attempt that its URL names: with https://host that is the TLS one, however the extra try on
 * port 80 ended.
 */
static void attempt_problem(struct ml_control *c, uint8_t slot, enum ml_control_problem what, const char *quote, size_t len)
{
    if ((slot == SLOT_TLS) == c->url.is_tls || c->link == LINK_KEY) {
        ml_control_problem_set(c, what, slot_port(c, slot), quote, len);
    }
}

/* ---- The key ---- */

static void key_failed(struct ml_control *c, ml_time now)
{
    ml_control_problem_set(c, ML_CONTROL_PROBLEM_NOT_CONTROL, ml_control_url_port(&c->url), NULL, 0);
    link_failed(c, now, 0);
}

static void key_json(struct ml_control_key_fetch *k, const uint8_t *p, size_t n)
{
    size_t used = 0;
    enum ml_json_event ev = ML_JSON_NEED_MORE;
    do {
        ev = ml_json_next(&k->json, p, n, &used);
        p += used;
        n -= used;
        if (ev == ML_JSON_KEY) {
            k->is_key_next = ml_json_tok_is(&k->json, "publicKey");
            if (!k->is_key_next) {
                ml_json_skip(&k->json);
            }
        } else if (ev == ML_JSON_STRING && k->is_key_next && k->json.depth == 1) {
            k->is_bad |= !ml_key_parse(ML_KEY_PREFIX_MACHINE, k->json.tok, k->json.tok_len, k->key.b);
            k->is_key_next = false;
        } else if (ev == ML_JSON_ERROR) {
            k->is_bad = true;
        }
    } while (ev != ML_JSON_NEED_MORE && ev != ML_JSON_ERROR && !(ev == ML_JSON_END && n == 0));
}

static void key_done(struct ml_control *c, ml_time now)
{
    struct ml_control_key_fetch *k = &c->u.key;
    bool is_good = k->http.status == 200 && !k->is_bad && ml_json_finish(&k->json) == ML_JSON_END && ml_key_is_set(&k->key);
    if (!is_good) {
        key_failed(c, now);
        return;
    }
    ml_machine_key key = k->key;
    ml_control_stream_close(c, SLOT_PLAIN);
    wipe_link(c);
    c->server_key = key;
    c->is_key_fetched = true;
    c->is_key_new = true;
    dial_start(c, now);
}

static void key_data(struct ml_control *c, ml_time now, const uint8_t *buf, size_t len)
{
    struct ml_control_key_fetch *k = &c->u.key;
    enum ml_http1_event ev = ML_HTTP1_NEED_MORE;
    do {
        size_t used = 0;
        size_t n = 0;
        const uint8_t *piece = NULL;
        ev = ml_http1_next(&k->http, buf, len, &used, &piece, &n);
        buf += used;
        len -= used;
        if (ev == ML_HTTP1_DATA && k->http.status == 200) {
            key_json(k, piece, n);
        }
    } while (ev == ML_HTTP1_HEAD || ev == ML_HTTP1_DATA);
    if (ev == ML_HTTP1_END) {
        key_done(c, now);
    } else if (ev == ML_HTTP1_ERROR) {
        key_failed(c, now);
    }
}

/* ---- The upgrade ---- */

static void session_start(struct ml_control *c, uint8_t slot)
{
    uint8_t tx_key[32];
    uint8_t rx_key[32];
    memcpy(tx_key, c->u.dial[slot].ik.tx_key, 32);
    memcpy(rx_key, c->u.dial[slot].ik.rx_key, 32);
    ml_control_stream_close(c, slot == SLOT_PLAIN ? SLOT_TLS : SLOT_PLAIN);
    ml_wipe(&c->u, sizeof c->u);
    ml_noise_conn_init(&c->u.session.noise, tx_key, rx_key);
    ml_wipe(tx_key, sizeof tx_key);
    ml_wipe(rx_key, sizeof rx_key);
    ml_h2_init(&c->u.session.h2, c->window);
    c->link = LINK_UP;
    c->up_slot = slot;
    c->race_at = ML_NEVER;
    c->tx_len = 0;
    c->unsent = 0;
    if (c->is_key_new) {
        c->is_key_new = false;
        ml_control_mark(c, ML_CONTROL_EV_SERVER_KEY);
    }
}

/* Reads the answer to the upgrade and the Noise response after it. Takes no byte that belongs to the records. */
static size_t dial_data(struct ml_control *c, ml_time now, uint8_t slot, const uint8_t *buf, size_t len)
{
    struct ml_control_dial *d = &c->u.dial[slot];
    size_t taken = 0;
    if (!d->is_upgraded) {
        const uint8_t *piece = NULL;
        size_t n = 0;
        enum ml_http1_event ev = ml_http1_next(&d->http, buf, len, &taken, &piece, &n);
        if (ev == ML_HTTP1_NEED_MORE) {
            return len;
        }
        if (ev != ML_HTTP1_HEAD) {
            attempt_problem(c, slot, ML_CONTROL_PROBLEM_NOT_CONTROL, NULL, 0);
            attempt_failed(c, now, slot);
            return len;
        }
        if (!ml_http1_is_upgraded(&d->http, ML_HTTP1_TS2021_TOKEN)) {
            bool is_proxy = d->http.status == 400 || d->http.status >= 500;
            size_t used = 0;
            ev = ml_http1_next(&d->http, buf + taken, len - taken, &used, &piece, &n);
            attempt_problem(c, slot, is_proxy ? ML_CONTROL_PROBLEM_UPGRADE : ML_CONTROL_PROBLEM_NOT_CONTROL,
                            ev == ML_HTTP1_DATA ? (const char *)piece : NULL, ev == ML_HTTP1_DATA ? n : 0);
            attempt_failed(c, now, slot);
            return len;
        }
        d->is_upgraded = true;
    }
    size_t used = 0;
    enum ml_noise_ik_result result = ml_noise_ik_feed(&d->ik, buf + taken, len - taken, &used, c->budget);
    taken += used;
    d->is_whole = result == ML_NOISE_IK_LATER;
    switch (result) {
    case ML_NOISE_IK_MORE:
    case ML_NOISE_IK_LATER:
        return taken;
    case ML_NOISE_IK_DONE:
        session_start(c, slot);
        return taken;
    case ML_NOISE_IK_REFUSED: /* the text is not authenticated: for the log only (C15) */
        ml_log_text(c->log, ML_LOG_WARN, d->ik.u.error_text);
        c->is_key_suspect = true;
        break;
    case ML_NOISE_IK_BAD_AUTH:
        c->is_key_suspect = true;
        break;
    default:
        attempt_problem(c, slot, ML_CONTROL_PROBLEM_GARBAGE, NULL, 0);
        break;
    }
    attempt_failed(c, now, slot);
    return len;
}

/* ---- The session ---- */

void ml_control_link_flush(struct ml_control *c)
{
    if (c->link != LINK_UP) {
        return;
    }
    for (;;) {
        size_t room = c->tx_cap - c->tx_len;
        if (room < ML_H2_TX_MIN + ML_NOISE_OVERHEAD) {
            break;
        }
        size_t most = room - ML_NOISE_OVERHEAD < ML_NOISE_PLAIN_MAX ? room - ML_NOISE_OVERHEAD : ML_NOISE_PLAIN_MAX;
        uint8_t *at = c->tx + c->tx_len;
        size_t n = ml_h2_poll_tx(&c->u.session.h2, at + ML_NOISE_HEADER_LEN, most);
        if (n == 0) {
            break;
        }
        c->tx_len += ml_noise_conn_seal(&c->u.session.noise, at, room, at + ML_NOISE_HEADER_LEN, n);
    }
    if (c->unsent && ml_h2_is_sent(&c->u.session.h2, c->unsent)) {
        ml_wipe(c->body, c->body_len); /* it may hold the auth key */
        c->unsent = 0;
    }
}

static int request_of(const struct ml_control *c, uint32_t stream)
{
    for (int i = 0; i < REQ_COUNT; i++) {
        if (c->req[i].stream == stream && stream != 0) {
            return i;
        }
    }
    return REQ_COUNT;
}

static void request_end(struct ml_control *c, ml_time now, int which, bool is_whole)
{
    c->req[which].stream = 0;
    if (which == REQ_REGISTER) {
        ml_control_register_end(c, now, is_whole);
    } else if (which == REQ_POLL) {
        ml_control_poll_end(c, now, is_whole);
    } else if (which == REQ_LITE) {
        ml_control_lite_end(c, now, is_whole);
    }
}

static void keep_quote(struct ml_control *c, const uint8_t *p, size_t n)
{
    size_t room = sizeof c->quote - c->quote_len;
    n = n < room ? n : room;
    memcpy(c->quote + c->quote_len, p, n);
    c->quote_len += n;
}

static void session_event(struct ml_control *c, ml_time now, const struct ml_h2_event *ev)
{
    int which = request_of(c, ev->stream);
    switch (ev->type) {
    case ML_H2_EV_HEADERS:
        c->link_failures = 0; /* HTTP answers: the link as such works */
        if (which == REQ_COUNT) {
            break;
        }
        c->req[which].status = ev->status;
        c->quote_len = 0;
        if (which == REQ_REGISTER) {
            ml_control_register_head(c, now, ev);
        }
        break;
    case ML_H2_EV_DATA:
        if (which != REQ_COUNT && c->req[which].status != 200) {
            keep_quote(c, ev->data, ev->data_len);
        } else if (which == REQ_REGISTER) {
            ml_control_register_data(c, ev->data, ev->data_len);
        } else if (which == REQ_POLL) {
            ml_control_poll_data(c, now, ev->data, ev->data_len);
        }
        break;
    case ML_H2_EV_END:
    case ML_H2_EV_RESET:
        if (which != REQ_COUNT) {
            request_end(c, now, which, ev->type == ML_H2_EV_END);
        }
        break;
    case ML_H2_EV_GOAWAY:
        ml_control_link_drop(c, now, true);
        break;
    case ML_H2_EV_FATAL:
        ml_control_problem_set(c, ML_CONTROL_PROBLEM_GARBAGE, 0, NULL, 0);
        ml_control_link_drop(c, now, true);
        break;
    default:
        break;
    }
}

static bool is_paused(const struct ml_control *c, ml_time now)
{
    return c->poll.sleep_until > now;
}

bool ml_control_link_has_backlog(const struct ml_control *c, ml_time now)
{
    const uint8_t *p = NULL;
    return c->link == LINK_UP && !is_paused(c, now) && c->tx_cap - c->tx_len >= ML_H2_TX_MIN + ML_NOISE_OVERHEAD &&
           ml_noise_conn_peek(&c->u.session.noise, &p) > 0;
}

/* Plaintext of the record at hand goes to HTTP/2. False: no more can be taken now, or the link is gone. */
static bool session_plain(struct ml_control *c, ml_time now)
{
    const uint8_t *p = NULL;
    size_t n = 0;
    while (c->link == LINK_UP && (n = ml_noise_conn_peek(&c->u.session.noise, &p)) > 0) {
        if (is_paused(c, now)) {
            return false;
        }
        size_t used = 0;
        struct ml_h2_event ev;
        ml_h2_feed(&c->u.session.h2, p, n, &used, &ev);
        uint32_t stream = ev.stream;
        size_t data_len = ev.type == ML_H2_EV_DATA ? ev.data_len : 0;
        session_event(c, now, &ev);
        if (c->link != LINK_UP) {
            return false;
        }
        if (data_len) {
            ml_h2_consumed(&c->u.session.h2, stream, data_len);
        }
        ml_noise_conn_consume(&c->u.session.noise, used);
        if (ev.type == ML_H2_EV_BLOCKED) {
            size_t before = c->tx_len;
            ml_control_link_flush(c);
            if (c->tx_len == before) {
                return false;
            }
        }
    }
    /* Events that need no input (an END after the last byte) are still to be asked for. */
    while (c->link == LINK_UP) {
        size_t used = 0;
        struct ml_h2_event ev;
        ml_h2_feed(&c->u.session.h2, NULL, 0, &used, &ev);
        if (ev.type == ML_H2_EV_NONE || ev.type == ML_H2_EV_BLOCKED) {
            break;
        }
        session_event(c, now, &ev);
    }
    return c->link == LINK_UP;
}

static size_t session_data(struct ml_control *c, ml_time now, const uint8_t *buf, size_t len)
{
    size_t taken = 0;
    while (session_plain(c, now) && taken < len) {
        size_t used = 0;
        enum ml_noise_error err = ml_noise_conn_feed(&c->u.session.noise, buf + taken, len - taken, &used);
        taken += used;
        if (err != ML_NOISE_OK) {
            ml_control_problem_set(c, ML_CONTROL_PROBLEM_GARBAGE, 0, NULL, 0);
            ml_control_link_drop(c, now, true);
            return len;
        }
    }
    if (c->link != LINK_UP) {
        return len; /* the rest belongs to a connection that is gone */
    }
    if (taken == len && session_plain(c, now) && !ml_h2_is_ping_open(&c->u.session.h2)) {
        c->check_until = ML_NEVER;
    }
    return taken;
}

void ml_control_link_resume(struct ml_control *c, ml_time now)
{
    if (ml_control_link_has_backlog(c, now)) {
        (void)session_plain(c, now);
    }
}

/* ---- What the integrator reports ---- */

void ml_control_link_opened(struct ml_control *c, ml_time now, uint8_t slot)
{
    (void)now;
    c->streams[slot].state = SLOT_OPEN;
}

void ml_control_link_data(struct ml_control *c, ml_time now, uint8_t slot, const uint8_t *buf, size_t len, size_t *used)
{
    size_t taken = 0;
    *used = len;
    if (c->link == LINK_KEY) {
        key_data(c, now, buf, len);
        return;
    }
    if (c->link == LINK_DIAL) {
        taken = dial_data(c, now, slot, buf, len);
        if (is_dialling(c, slot) && c->u.dial[slot].is_whole) {
            *used = taken; /* what follows the answer is for later */
        }
    }
    if (c->link == LINK_UP && slot == c->up_slot) {
        *used = taken + session_data(c, now, buf + taken, len - taken);
    }
}

void ml_control_link_closed(struct ml_control *c, ml_time now, uint8_t slot, enum ml_close_reason why, const char *detail)
{
    size_t detail_len = detail ? strlen(detail) : 0;
    bool was_open = c->streams[slot].state == SLOT_OPEN;
    c->streams[slot].state = SLOT_FREE;
    switch (c->link) {
    case LINK_KEY:
        if (was_open && ml_http1_finish(&c->u.key.http) == ML_HTTP1_END) {
            key_done(c, now);
        } else if (was_open && why == ML_CLOSE_EOF) {
            key_failed(c, now);
        } else {
            ml_control_problem_set(c, problem_of_close(why), ml_control_url_port(&c->url), detail, detail_len);
            link_failed(c, now, 0);
        }
        break;
    case LINK_DIAL:
        if (c->u.dial[slot].is_upgraded) {
            c->is_key_suspect = true; /* how a wrong key or a refused version looks (control.md 3.4) */
        } else {
            attempt_problem(c, slot, problem_of_close(why), detail, detail_len);
        }
        attempt_failed(c, now, slot);
        break;
    case LINK_UP:
        if (slot == c->up_slot) {
            ml_control_problem_set(c, ML_CONTROL_PROBLEM_LOST, 0, detail, detail_len);
            ml_control_link_drop(c, now, true);
        }
        break;
    default:
        break;
    }
}

void ml_control_link_on_time(struct ml_control *c, ml_time now)
{
    if (c->link == LINK_DIAL && now >= c->race_at) {
        race_start(c, now);
    }
    prepare(c, now);
    static const uint8_t nothing[1];
    for (unsigned i = SLOT_PLAIN; i <= SLOT_TLS; i++) {
        uint8_t slot = (uint8_t)i;
        if (is_dialling(c, slot) && c->u.dial[slot].is_whole) {
            (void)dial_data(c, now, slot, nothing, 0);
        }
    }
    if ((c->link == LINK_KEY || c->link == LINK_DIAL) && now >= c->dial_deadline) {
        ml_control_problem_set(c, ML_CONTROL_PROBLEM_TIMEOUT, slot_port(c, c->url.is_tls ? SLOT_TLS : SLOT_PLAIN), NULL, 0);
        link_failed(c, now, 0);
    }
}

ml_time ml_control_link_deadline(const struct ml_control *c)
{
    if (c->link == LINK_KEY) {
        return c->dial_deadline;
    }
    for (unsigned i = SLOT_PLAIN; i <= SLOT_TLS; i++) {
        uint8_t slot = (uint8_t)i;
        if (is_dialling(c, slot) && (c->u.dial[slot].is_preparing || c->u.dial[slot].is_whole)) {
            return 0; /* curve operations are to be done */
        }
    }
    if (c->link == LINK_DIAL) {
        return c->race_at < c->dial_deadline ? c->race_at : c->dial_deadline;
    }
    return ML_NEVER;
}

/* ---- Requests ---- */

bool ml_control_can_request(const struct ml_control *c)
{
    return c->link == LINK_UP && c->unsent == 0 && ml_h2_can_request(&c->u.session.h2);
}

bool ml_control_request(struct ml_control *c, ml_time now, enum ml_control_req which, const char *method, const char *path)
{
    const struct ml_h2_request request = {
        .method = method,
        .authority = c->url.host,
        .path = path,
        .ts_lb = c->ts_lb[0][0] ? c->ts_lb[0] : NULL,
        .ts_lb2 = c->ts_lb[1][0] ? c->ts_lb[1] : NULL,
        .body = c->body_len ? c->body : NULL,
        .body_len = c->body_len,
    };
    uint32_t stream = ml_h2_request(&c->u.session.h2, &request);
    if (stream == 0) {
        return false;
    }
    c->req[which] = (struct ml_control_request){.stream = stream, .expires_at = now + ML_CONTROL_REQUEST_MAX};
    c->unsent = stream;
    return true;
}

void ml_control_request_cancel(struct ml_control *c, enum ml_control_req which)
{
    uint32_t stream = c->req[which].stream;
    if (stream == 0 || c->link != LINK_UP) {
        return;
    }
    ml_h2_cancel(&c->u.session.h2, stream);
    c->req[which].stream = 0;
    if (c->unsent == stream) {
        c->unsent = 0;
    }
}
