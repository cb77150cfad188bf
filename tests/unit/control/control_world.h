/*
 * A control client in virtual time and a scripted server for it: /key, the upgrade, Noise, and just enough HTTP/2 to see
 * requests and answer them. The server side of the handshake is written from control.md 3.4, not from src/noise.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CONTROL_WORLD_H
#define CONTROL_WORLD_H

#include <stdio.h>

#include "control/control.h"
#include "crypto/blake2s.h"
#include "delta_text.h"

#define WORLD_REQUESTS 24
#define WORLD_OPENS    48

struct world_request {
    uint32_t stream;
    char head[1024]; /* header block, literals readable */
    char body[4096];
    size_t head_len, body_len;
    bool is_done;
};

struct world {
    struct ml_control c;
    ml_time now;
    uint8_t tx[4096];
    uint32_t seed;
    ml_random random;
    ml_private_key server_key;
    ml_machine_key server_pub;

    /* How the server behaves. */
    bool refuse_plain, refuse_tls, is_mute, close_after_101;
    bool is_deaf;           /* answers no HTTP/2 ping */
    bool is_hasty;          /* its first record comes in one piece with the answer to the upgrade */
    const char *key_answer; /* whole HTTP answer to /key; NULL = the right one */

    /* What happened. */
    ml_stream_open opens[WORLD_OPENS];
    ml_time open_at[WORLD_OPENS];
    int open_count, close_count, handshakes;
    char handshake[4][140]; /* the last X-Tailscale-Handshake values */
    char outer[512];        /* what came on the outer ping's stream */
    unsigned events[ML_CONTROL_EV_COUNT];
    char problem[ML_TEXT_CAP], login[256];
    enum ml_control_problem problem_code;
    bool has_key;
    ml_private_key node_key, candidate; /* the latter all zero: none */
    unsigned deltas[ML_DELTA_ABORT + 1];
    int64_t last_time_ms;

    /* The server's end of the session. */
    uint32_t session;
    struct ml_noise_conn noise;
    uint8_t in[32768];
    size_t in_len;
    bool has_preface;
    uint8_t text[2048]; /* before the upgrade, of the stream text_id */
    size_t text_len;
    uint32_t text_id;
    uint8_t rest[512]; /* of that piece: what the client has not taken yet */
    size_t rest_len;
    uint32_t window; /* SETTINGS_INITIAL_WINDOW_SIZE of the client */
    struct world_request requests[WORLD_REQUESTS];
    int request_count;
};

static inline void world_random(void *ctx, uint8_t *buf, size_t len)
{
    struct world *w = ctx;
    for (size_t i = 0; i < len; i++) {
        w->seed = w->seed * 1664525U + 1013904223U;
        buf[i] = (uint8_t)(w->seed >> 24);
    }
}

static inline void world_delta(void *ctx, const struct ml_delta *d)
{
    struct world *w = ctx;
    w->deltas[d->type]++;
    if (d->type == ML_DELTA_TIME) {
        w->last_time_ms = d->unix_ms;
    }
}

static inline struct ml_delta_sink world_sink(struct world *w)
{
    return (struct ml_delta_sink){.fn = world_delta, .ctx = w};
}

static inline void world_init(struct world *w, const char *url, bool has_server_key)
{
    memset(w, 0, sizeof *w);
    w->now = ML_SEC(1000);
    w->seed = 7;
    w->random = (ml_random){.fill = world_random, .ctx = w};
    ml_crypto_init();
    ml_x25519_keygen(&w->server_key, &w->random);
    ml_x25519_base(w->server_pub.b, &w->server_key);
    struct ml_control_cfg cfg = {
        .hostname = "mcu.lan", .os = "freertos", .random = &w->random, .tx = w->tx, .tx_len = sizeof w->tx};
    ml_x25519_keygen(&cfg.machine_key, &w->random);
    if (has_server_key) {
        cfg.server_key = w->server_pub;
    }
    if (!ml_control_parse_url(url, &cfg.url) || !ml_control_init(&w->c, &cfg)) {
        fprintf(stderr, "world_init\n");
    }
    struct ml_control_published p = {
        .home_region = 3, .working_udp = ML_CONTROL_TRUE, .endpoint_count = 1, .endpoint_types = {2}};
    memset(p.disco.b, 0xd1, 32);
    ml_addr_parse("192.0.2.1:41641", 15, &p.endpoints[0]);
    ml_control_set_published(&w->c, w->now, &p);
}

static inline void world_data(struct world *w, uint32_t id, const void *buf, size_t len)
{
    struct ml_delta_sink sink = world_sink(w);
    size_t used = 0;
    ml_control_on_data(&w->c, w->now, id, buf, len, &used, &sink);
}

static inline void world_closed(struct world *w, uint32_t id, enum ml_close_reason why)
{
    struct ml_delta_sink sink = world_sink(w);
    if (id == w->session) {
        w->session = 0;
    }
    ml_control_on_closed(&w->c, w->now, id, why, NULL, &sink);
}

/* Answers the initiation; false when it is not for this server. */
static inline bool world_respond(struct world *w, const uint8_t init[101], uint8_t response[51])
{
    struct ml_noise_sym s;
    uint8_t k[32];
    uint8_t machine[32];
    uint8_t nothing[1];
    ml_private_key f;
    char prologue[48];
    ml_blake2s_2(s.h, "Noise_IK_25519_ChaChaPoly_BLAKE2s", 33, NULL, 0);
    memcpy(s.ck, s.h, 32);
    int n = snprintf(prologue, sizeof prologue, "Tailscale Control Protocol v%u", init[0] << 8 | init[1]);
    ml_noise_mix_hash(&s, prologue, (size_t)n);
    ml_noise_mix_hash(&s, w->server_pub.b, 32);
    ml_noise_mix_hash(&s, init + 5, 32);
    if (!ml_noise_mix_dh(&s, k, &w->server_key, init + 5) || !ml_noise_open(&s, machine, k, init + 37, 48) ||
        !ml_noise_mix_dh(&s, k, &w->server_key, machine) || !ml_noise_open(&s, nothing, k, init + 85, 16)) {
        return false;
    }
    ml_x25519_keygen(&f, &w->random);
    response[0] = 2;
    response[1] = 0;
    response[2] = 48;
    ml_x25519_base(response + 3, &f);
    ml_noise_mix_hash(&s, response + 3, 32);
    ml_noise_mix_dh(&s, k, &f, init + 5);
    ml_noise_mix_dh(&s, k, &f, machine);
    ml_noise_seal(&s, response + 35, k, nothing, 0);
    uint8_t c1[32];
    uint8_t c2[32];
    ml_hkdf_blake2s(c1, c2, NULL, s.ck, NULL, 0);
    ml_noise_conn_init(&w->noise, c2, c1);
    return true;
}

/* Sends HTTP/2 bytes in records of @p piece bytes. */
static inline void world_send(struct world *w, const uint8_t *p, size_t len)
{
    uint8_t record[ML_NOISE_FRAME_MAX];
    while (len > 0 && w->session) {
        size_t n = len < 1000 ? len : 1000;
        size_t sealed = ml_noise_conn_seal(&w->noise, record, sizeof record, p, n);
        world_data(w, w->session, record, sealed);
        p += n;
        len -= n;
    }
}

static inline void world_frame(struct world *w, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t len)
{
    static uint8_t frame[20000];
    frame[0] = (uint8_t)(len >> 16);
    frame[1] = (uint8_t)(len >> 8);
    frame[2] = (uint8_t)len;
    frame[3] = type;
    frame[4] = flags;
    ml_put_be32(frame + 5, stream);
    memcpy(frame + 9, payload, len);
    world_send(w, frame, len + 9);
}

static inline void world_head(struct world *w, uint32_t stream, int status, const char *retry_after, bool is_end)
{
    uint8_t block[128];
    size_t n = 0;
    block[n++] = 0x20;
    block[n++] = 0x08; /* :status by name, literal value */
    block[n++] = 3;
    n += (size_t)sprintf((char *)block + n, "%03d", status);
    if (retry_after) {
        block[n++] = 0x0f; /* retry-after is static entry 53 = 15 + 38 */
        block[n++] = 38;
        block[n++] = (uint8_t)strlen(retry_after);
        memcpy(block + n, retry_after, strlen(retry_after));
        n += strlen(retry_after);
    }
    world_frame(w, 1, (uint8_t)(4 | (is_end ? 1 : 0)), stream, block, n);
}

/* A whole answer. */
static inline void world_answer(struct world *w, const struct world_request *r, int status, const char *body)
{
    world_head(w, r->stream, status, NULL, false);
    world_frame(w, 0, 1, r->stream, body, strlen(body));
}

/* One netmap message on an open poll. */
static inline void world_map(struct world *w, const struct world_request *r, const char *json)
{
    static uint8_t message[16384];
    ml_put_le32(message, (uint32_t)strlen(json));
    memcpy(message + 4, json, strlen(json));
    world_frame(w, 0, 0, r->stream, message, strlen(json) + 4);
}

static inline struct world_request *world_find(struct world *w, uint32_t stream)
{
    for (int i = w->request_count - 1; i >= 0; i--) {
        if (w->requests[i].stream == stream) {
            return &w->requests[i];
        }
    }
    return NULL;
}

static inline void world_client_frame(struct world *w, uint8_t type, uint8_t flags, uint32_t stream, const uint8_t *p,
                                      size_t len)
{
    struct world_request *r = NULL;
    if (type == 1 && w->request_count < WORLD_REQUESTS) {
        r = &w->requests[w->request_count++];
        memset(r, 0, sizeof *r);
        r->stream = stream;
        r->head_len = len < sizeof r->head ? len : sizeof r->head;
        memcpy(r->head, p, r->head_len);
        for (size_t i = 0; i < r->head_len; i++) {
            r->head[i] = r->head[i] ? r->head[i] : '.';
        }
    } else if (type == 0 && (r = world_find(w, stream)) != NULL && r->body_len + len < sizeof r->body) {
        memcpy(r->body + r->body_len, p, len);
        r->body_len += len;
    } else if (type == 4 && !(flags & 1)) {
        for (size_t i = 0; i + 6 <= len; i += 6) {
            w->window = ml_get_be16(p + i) == 4 ? ml_get_be32(p + i + 2) : w->window;
        }
        world_frame(w, 4, 0, 0, "", 0);
    } else if (type == 6 && !(flags & 1) && !w->is_deaf) {
        world_frame(w, 6, 1, 0, p, len);
    }
    if (r && (flags & 1)) {
        r->is_done = true;
    }
}

static inline void world_server_plain(struct world *w)
{
    size_t at = 0;
    if (!w->has_preface) {
        if (w->in_len < 24) {
            return;
        }
        w->has_preface = true;
        at = 24;
    }
    while (w->in_len - at >= 9) {
        size_t len = (size_t)w->in[at] << 16 | (size_t)w->in[at + 1] << 8 | w->in[at + 2];
        if (w->in_len - at < 9 + len) {
            break;
        }
        world_client_frame(w, w->in[at + 3], w->in[at + 4], ml_get_be32(w->in + at + 5), w->in + at + 9, len);
        at += 9 + len;
    }
    memmove(w->in, w->in + at, w->in_len - at);
    w->in_len -= at;
}

static inline void world_upgrade(struct world *w, uint32_t id)
{
    char *header = strstr((char *)w->text, "X-Tailscale-Handshake: ");
    uint8_t init[136];
    uint8_t answer[256];
    memmove(w->handshake[1], w->handshake[0], sizeof w->handshake - sizeof w->handshake[0]);
    memcpy(w->handshake[0], header + 23, 136);
    w->handshakes++;
    size_t n = (size_t)sprintf((char *)answer, "HTTP/1.1 101 Switching Protocols\r\nDate: x\r\nUpgrade: "
                                               "tailscale-control-protocol\r\nX-Other: y\r\nConnection: upgrade\r\n\r\n");
    if (ml_base64_parse(header + 23, 136, init, sizeof init) != 101 || w->close_after_101 ||
        !world_respond(w, init, answer + n)) {
        world_data(w, id, answer, n);
        world_closed(w, id, ML_CLOSE_EOF);
        return;
    }
    w->session = id;
    w->has_preface = false;
    w->in_len = 0;
    if (!w->is_hasty) {
        world_data(w, id, answer, n + 51);
        return;
    }
    static const uint8_t settings[9] = {0, 0, 0, 4};
    memcpy(w->rest, answer, n + 51);
    w->rest_len = n + 51;
    w->rest_len +=
        ml_noise_conn_seal(&w->noise, w->rest + w->rest_len, sizeof w->rest - w->rest_len, settings, sizeof settings);
}

/* Offers again what the client left. */
static inline bool world_offer(struct world *w)
{
    struct ml_delta_sink sink = world_sink(w);
    size_t used = 0;
    if (w->rest_len == 0 || w->session == 0) {
        return false;
    }
    ml_control_on_data(&w->c, w->now, w->session, w->rest, w->rest_len, &used, &sink);
    memmove(w->rest, w->rest + used, w->rest_len - used);
    w->rest_len -= used;
    return used > 0;
}

static inline void world_text(struct world *w, uint32_t id, const uint8_t *p, size_t len)
{
    if (id != w->text_id) {
        w->text_id = id;
        w->text_len = 0;
    }
    memcpy(w->text + w->text_len, p, len);
    w->text_len += len;
    w->text[w->text_len] = 0;
    if (!strstr((char *)w->text, "\r\n\r\n") || w->is_mute) {
        return;
    }
    if (!strncmp((char *)w->text, "GET /key?v=130 ", 15)) {
        char answer[512];
        char key[80];
        struct ml_writer kw = ml_writer_of((uint8_t *)key, sizeof key);
        ml_write_key(&kw, "mkey:", w->server_pub.b);
        ml_write_end_str(&kw);
        char body[256];
        int len_body = snprintf(body, sizeof body, "{\"legacyPublicKey\":\"mkey:%064d\",\"publicKey\":\"%s\"}\n", 0, key);
        int n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len_body, body);
        world_data(w, id, w->key_answer ? w->key_answer : answer, w->key_answer ? strlen(w->key_answer) : (size_t)n);
    } else if (!strncmp((char *)w->text, "POST /ts2021 ", 13)) {
        world_upgrade(w, id);
    } else {
        snprintf(w->outer, sizeof w->outer, "%.500s", (char *)w->text);
    }
}

static inline void world_event(struct world *w, const struct ml_control_event *ev)
{
    w->events[ev->type]++;
    if (ev->type == ML_CONTROL_EV_PROBLEM) {
        snprintf(w->problem, sizeof w->problem, "%s", ev->text);
        w->problem_code = ev->problem;
    } else if (ev->type == ML_CONTROL_EV_LOGIN_URL) {
        snprintf(w->login, sizeof w->login, "%s", ev->text);
    } else if (ev->type == ML_CONTROL_EV_IDENTITY) {
        w->has_key = ev->node_key != NULL;
        if (ev->node_key) {
            w->node_key = *ev->node_key;
        }
    } else if (ev->type == ML_CONTROL_EV_CANDIDATE) {
        w->candidate = ev->node_key ? *ev->node_key : (ml_private_key){{0}};
    }
}

/* Carries everything to and fro until nothing moves. */
static inline void world_run(struct world *w)
{
    struct ml_delta_sink sink = world_sink(w);
    for (int i = 0; i < 200; i++) {
        bool moved = false;
        ml_stream_open open;
        bool has_open = false;
        uint32_t close_id = 0;
        ml_control_on_time(&w->c, w->now, &sink);
        moved = world_offer(w);
        while (ml_control_poll_stream(&w->c, w->now, &open, &has_open, &close_id)) {
            moved = true;
            if (close_id) {
                w->close_count++;
                w->session = close_id == w->session ? 0 : w->session;
            }
            if (!has_open) {
                continue;
            }
            if (w->open_count < WORLD_OPENS) {
                w->open_at[w->open_count] = w->now;
                w->opens[w->open_count++] = open;
            }
            if (open.tls ? w->refuse_tls : w->refuse_plain) {
                world_closed(w, open.id, ML_CLOSE_REFUSED);
            } else {
                ml_control_on_opened(&w->c, w->now, open.id);
            }
        }
        for (int k = 0; k < w->open_count; k++) {
            const uint8_t *p = NULL;
            uint32_t id = w->opens[k].id;
            size_t n = ml_control_tx_peek(&w->c, id, &p);
            if (n == 0) {
                continue;
            }
            moved = true;
            uint8_t copy[4096];
            memcpy(copy, p, n);
            ml_control_tx_done(&w->c, w->now, id, n);
            if (id != w->session) {
                world_text(w, id, copy, n);
                continue;
            }
            for (size_t at = 0; at < n && w->session;) {
                size_t used = 0;
                const uint8_t *plain = NULL;
                ml_noise_conn_feed(&w->noise, copy + at, n - at, &used);
                at += used;
                size_t len = ml_noise_conn_peek(&w->noise, &plain);
                memcpy(w->in + w->in_len, plain, len);
                w->in_len += len;
                ml_noise_conn_consume(&w->noise, len);
                world_server_plain(w);
            }
        }
        struct ml_control_event ev;
        while (ml_control_poll_event(&w->c, &ev)) {
            moved = true;
            world_event(w, &ev);
        }
        if (!moved) {
            return;
        }
    }
    fprintf(stderr, "world_run: does not come to rest\n");
}

/* Lets @p d pass, stopping at every deadline. */
static inline void world_pass(struct world *w, ml_time d)
{
    ml_time end = w->now + d;
    world_run(w);
    for (;;) {
        ml_time at = ml_control_deadline(&w->c);
        if (at > end) {
            break;
        }
        w->now = at > w->now ? at : w->now + 1000;
        world_run(w);
    }
    w->now = end;
    world_run(w);
}

/* The newest request whose path is @p path and which is complete; NULL if none. */
static inline struct world_request *world_request(struct world *w, const char *path)
{
    for (int i = w->request_count - 1; i >= 0; i--) {
        if (w->requests[i].stream && strstr(w->requests[i].head, path)) {
            return &w->requests[i];
        }
    }
    return NULL;
}

static inline int world_count(const struct world *w, const char *path, const char *word)
{
    int n = 0;
    for (int i = 0; i < w->request_count; i++) {
        n += strstr(w->requests[i].head, path) != NULL && (!word || strstr(w->requests[i].body, word) != NULL);
    }
    return n;
}

#endif
