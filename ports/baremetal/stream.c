/*
 * Streams over lwIP's raw TCP (see stream.h).
 *
 * lwIP's callbacks only note what happened; the engine hears of it from ml_streams_pump(). What was received stays in lwIP's
 * own buffers until the engine or TLS has taken it, and only then is the window opened again: that is the back-pressure.
 * TLS handshakes are done one after the other, since each needs much memory for a short time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stream.h"

#include "arena.h"
#include "base/addr.h"
#include "board/board.h"
#include "boot_config.h"
#include "netif.h"
#include "tls.h"

#include "lwip/dns.h"
#include "lwip/tcp.h"
#include <stdio.h>
#include <string.h>

#define NAME_CAP 80
/** Decrypted bytes offered to the engine at a time. */
#define TLS_CHUNK 512

enum state { FREE, RESOLVING, CONNECTING, TLS_WAITING, TLS_SHAKING, OPEN, ENDED };

struct stream {
    enum state state;
    ml_stream_id id;
    ml_time deadline;
    struct tcp_pcb *pcb; /* NULL once lwIP has let go of it */
    struct pbuf *rx;     /* received, not taken yet */
    bool peer_closed;    /* nothing follows rx */
    ml_stream_open want; /* its pointers lead to the fields below, or nowhere */
    char host[NAME_CAP], sni[NAME_CAP], verify_name[NAME_CAP];
    uint8_t pin[32];
    struct ml_tls_conn *tls;
    uint8_t *plain; /* TLS_CHUNK bytes, decrypted and not taken yet */
    size_t plain_at, plain_len;
    bool wait_writable;
    bool is_step_due; /* the TLS handshake can go on without anything arriving */
    ml_close_reason reason;
    char detail[80];
};

static struct stream streams[ML_STREAMS];
static ml_engine *engine;

/** Nothing more will come; ml_streams_pump() tells the engine. */
static void end(struct stream *s, ml_close_reason reason, const char *detail)
{
    if (s->state != ENDED && s->state != FREE) {
        s->state = ENDED;
        s->reason = reason;
        snprintf(s->detail, sizeof s->detail, "%s", detail ? detail : "");
    }
}

static void release(struct stream *s)
{
    ml_tls_conn_free(s->tls);
    ml_arena_free(s->plain);
    if (s->rx != NULL) {
        pbuf_free(s->rx);
    }
    if (s->pcb != NULL) {
        tcp_arg(s->pcb, NULL);
        tcp_recv(s->pcb, NULL);
        tcp_sent(s->pcb, NULL);
        tcp_err(s->pcb, NULL);
        if (tcp_close(s->pcb) != ERR_OK) {
            tcp_abort(s->pcb); /* never from inside a callback of this pcb: we are called from the pump only */
        }
    }
    memset(s, 0, sizeof *s);
}

/* ---- lwIP's callbacks ---- */

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct stream *s = arg;
    (void)pcb;
    (void)err;
    if (p == NULL) {
        s->peer_closed = true;
    } else if (s->rx != NULL) {
        pbuf_cat(s->rx, p);
    } else {
        s->rx = p;
    }
    return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    struct stream *s = arg;
    (void)pcb;
    (void)len;
    s->wait_writable = false;
    return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
    struct stream *s = arg;
    s->pcb = NULL; /* lwIP has freed it */
    bool refused = s->state == CONNECTING && err == ERR_RST;
    end(s, refused ? ML_CLOSE_REFUSED : ML_CLOSE_RESET, refused ? "connection refused" : "connection reset");
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct stream *s = arg;
    (void)pcb;
    (void)err;
    s->state = s->want.tls ? TLS_WAITING : OPEN;
    return ERR_OK;
}

/* ---- Opening ---- */

static void dial(struct stream *s, const ip_addr_t *to)
{
    s->state = CONNECTING;
    s->pcb = tcp_new();
    if (s->pcb == NULL) {
        end(s, ML_CLOSE_NO_MEMORY, "no memory for a connection");
        return;
    }
    tcp_arg(s->pcb, s);
    tcp_recv(s->pcb, on_recv);
    tcp_sent(s->pcb, on_sent);
    tcp_err(s->pcb, on_err);
    tcp_nagle_disable(s->pcb);
    tcp_bind_netif(s->pcb, &ml_net_eth);
    if (tcp_connect(s->pcb, to, s->want.port, on_connected) != ERR_OK) {
        end(s, ML_CLOSE_REFUSED, "no route, or no memory");
    }
}

static void dial_ip(struct stream *s, const ml_ip *ip)
{
    ip_addr_t to = {0};
    memcpy(&ip_2_ip4(&to)->addr, ip->b + 12, 4);
    dial(s, &to);
}

static void on_dns(const char *name, const ip_addr_t *ip, void *arg)
{
    struct stream *s = arg;
    if (s->state == RESOLVING && strcmp(name, s->host) == 0) {
        if (ip != NULL) {
            dial(s, ip);
        } else {
            end(s, ML_CLOSE_DNS, "the name does not resolve");
        }
    }
}

static const char *copy(char *to, const char *from)
{
    if (from == NULL) {
        return NULL;
    }
    snprintf(to, NAME_CAP, "%s", from);
    return to;
}

static void resolve(struct stream *s)
{
    ml_ip ip;
    ip_addr_t found;
    if (ml_ip_is4(&s->want.ip4)) {
        dial_ip(s, &s->want.ip4);
    } else if ((ml_ip_parse(s->host, strlen(s->host), &ip) || ml_boot_find_host(s->host, &ip)) && ml_ip_is4(&ip)) {
        dial_ip(s, &ip);
    } else {
        s->state = RESOLVING;
        err_t err = dns_gethostbyname(s->host, &found, on_dns, s);
        if (err == ERR_OK) {
            dial(s, &found);
        } else if (err != ERR_INPROGRESS) {
            end(s, ML_CLOSE_DNS, "the name does not resolve");
        }
    }
}

void ml_streams_init(ml_engine *e)
{
    engine = e;
}

void ml_streams_open(ml_time now, const ml_stream_open *o)
{
    struct stream *s = NULL;
    for (size_t i = 0; i < ML_STREAMS && s == NULL; i++) {
        s = streams[i].state == FREE ? &streams[i] : NULL;
    }
    if (s == NULL || (o->host && strlen(o->host) >= NAME_CAP) || (o->sni && strlen(o->sni) >= NAME_CAP) ||
        (o->verify_name && strlen(o->verify_name) >= NAME_CAP)) {
        ml_handle_stream_closed(engine, now, o->id, ML_CLOSE_NO_MEMORY, s ? "name too long" : "too many streams");
        return;
    }
    s->id = o->id;
    s->deadline = now + ML_MSEC(o->timeout_ms ? o->timeout_ms : 10000);
    s->want = *o;
    s->want.host = copy(s->host, o->host ? o->host : "");
    s->want.sni = copy(s->sni, o->sni);
    s->want.verify_name = copy(s->verify_name, o->verify_name);
    if (o->pin_sha256 != NULL) {
        memcpy(s->pin, o->pin_sha256, sizeof s->pin);
        s->want.pin_sha256 = s->pin;
    }
    s->state = RESOLVING;
    resolve(s);
}

void ml_streams_close(ml_stream_id id)
{
    for (size_t i = 0; i < ML_STREAMS; i++) {
        struct stream *s = &streams[i];
        if (s->state != FREE && s->id == id) {
            if (s->tls != NULL && s->state == OPEN) {
                ml_tls_shutdown(s->tls);
            }
            release(s);
        }
    }
}

void ml_streams_close_all(void)
{
    for (size_t i = 0; i < ML_STREAMS; i++) {
        if (streams[i].state != FREE) {
            release(&streams[i]);
        }
    }
}

/* ---- Bytes below TLS ---- */

static int bio_send(void *ctx, const uint8_t *buf, size_t len)
{
    struct stream *s = ctx;
    if (s->pcb == NULL) {
        return -2;
    }
    size_t room = tcp_sndbuf(s->pcb), n = len < room ? len : room;
    if (n == 0 || tcp_write(s->pcb, buf, (u16_t)n, TCP_WRITE_FLAG_COPY) != ERR_OK) {
        s->wait_writable = true;
        return 0;
    }
    tcp_output(s->pcb);
    return (int)n;
}

static void taken(struct stream *s, size_t n)
{
    s->rx = pbuf_free_header(s->rx, (u16_t)n);
    if (s->pcb != NULL) {
        tcp_recved(s->pcb, (u16_t)n);
    }
}

static int bio_recv(void *ctx, uint8_t *buf, size_t len)
{
    struct stream *s = ctx;
    if (s->rx == NULL) {
        return s->peer_closed ? -1 : s->pcb == NULL ? -2 : 0;
    }
    u16_t n = pbuf_copy_partial(s->rx, buf, (u16_t)(len < 0xffff ? len : 0xffff), 0);
    taken(s, n);
    return n;
}

/* ---- Moving ---- */

static void opened(struct stream *s, ml_time now)
{
    ml_stream_info info = {0};
    if (s->pcb != NULL) {
        info.local = (ml_addr){ml_ip_from4((const uint8_t *)&ip_2_ip4(&s->pcb->local_ip)->addr), s->pcb->local_port};
        info.remote = (ml_addr){ml_ip_from4((const uint8_t *)&ip_2_ip4(&s->pcb->remote_ip)->addr), s->pcb->remote_port};
    }
    s->deadline = ML_NEVER;
    ml_handle_stream_opened(engine, now, s->id, &info);
}

static void start_tls(struct stream *s)
{
    const struct ml_tls_bio bio = {s, bio_send, bio_recv};
    s->plain = ml_arena_alloc(ML_ARENA_TLS, TLS_CHUNK);
    s->tls = s->plain ? ml_tls_connect(&bio, &s->want, s->want.sni, s->want.verify_name, s->want.pin_sha256) : NULL;
    if (s->tls == NULL) {
        end(s, ML_CLOSE_NO_MEMORY, "no memory for TLS");
    } else {
        s->state = TLS_SHAKING;
    }
}

static bool offer_tls(struct stream *s, ml_time now, ml_time until)
{
    bool moved = false;
    for (;;) {
        if (s->plain_len == 0) {
            s->plain_at = 0;
            enum ml_tls_result r = ml_tls_read(s->tls, s->plain, TLS_CHUNK, &s->plain_len);
            if (r == ML_TLS_EOF || r == ML_TLS_FAILED) {
                end(s, ml_tls_reason(s->tls), ml_tls_detail(s->tls));
            }
            if (r != ML_TLS_OK) {
                return moved;
            }
        }
        size_t used = 0;
        ml_handle_stream_data(engine, now, s->id, s->plain + s->plain_at, s->plain_len, &used);
        s->plain_at += used;
        s->plain_len -= used;
        if (used == 0) {
            return moved;
        }
        moved = true;
        if (board_time_us() >= until) {
            return true;
        }
    }
}

static bool offer_plain(struct stream *s, ml_time now, ml_time until)
{
    bool moved = false;
    while (s->rx != NULL) {
        size_t used = 0;
        ml_handle_stream_data(engine, now, s->id, s->rx->payload, s->rx->len, &used);
        if (used == 0) {
            return moved;
        }
        taken(s, used);
        moved = true;
        if (board_time_us() >= until) {
            return true;
        }
    }
    if (s->peer_closed) {
        end(s, ML_CLOSE_EOF, NULL);
    }
    return moved;
}

static bool write_some(struct stream *s, ml_time now)
{
    const uint8_t *buf;
    size_t len;
    bool moved = false;
    while (s->state == OPEN && !s->wait_writable && (len = ml_stream_tx_peek(engine, s->id, &buf)) > 0) {
        size_t n = 0;
        if (s->tls != NULL) {
            enum ml_tls_result r = ml_tls_write(s->tls, buf, len, &n);
            if (r == ML_TLS_EOF || r == ML_TLS_FAILED) {
                end(s, ml_tls_reason(s->tls), ml_tls_detail(s->tls));
            }
        } else {
            int sent = bio_send(s, buf, len);
            n = sent > 0 ? (size_t)sent : 0;
        }
        if (n == 0) {
            break;
        }
        ml_stream_tx_done(engine, now, s->id, n);
        moved = true;
    }
    return moved;
}

void ml_streams_write(ml_time now)
{
    for (size_t i = 0; i < ML_STREAMS; i++) {
        if (streams[i].state == OPEN && streams[i].deadline == ML_NEVER) {
            (void)write_some(&streams[i], now);
        }
    }
}

bool ml_streams_pump(ml_time now, ml_time until)
{
    static size_t next; /* so that a stream with much to say does not silence the others */
    bool moved = false;
    for (size_t i = 0; i < ML_STREAMS && (i == 0 || board_time_us() < until); i++) {
        struct stream *s = &streams[next++ % ML_STREAMS];
        if (s->state == OPEN) {
            if (s->deadline != ML_NEVER) {
                opened(s, now);
                moved = true;
            }
            moved |= s->tls != NULL ? offer_tls(s, now, until) : offer_plain(s, now, until);
            moved |= write_some(s, now);
        }
        if (s->state == ENDED) {
            ml_stream_id id = s->id;
            ml_close_reason reason = s->reason;
            char detail[sizeof s->detail];
            memcpy(detail, s->detail, sizeof detail);
            release(s);
            ml_handle_stream_closed(engine, now, id, reason, detail[0] ? detail : NULL);
            moved = true;
        }
    }
    return moved;
}

/** One step of the handshake under way, or the first of the next one. */
static bool shake(void)
{
    struct stream *next = NULL;
    for (size_t i = 0; i < ML_STREAMS; i++) {
        if (streams[i].state == TLS_SHAKING) {
            next = &streams[i];
            break;
        }
        if (streams[i].state == TLS_WAITING && next == NULL) {
            next = &streams[i];
        }
    }
    if (next != NULL && next->state == TLS_WAITING) {
        start_tls(next);
    }
    if (next != NULL && next->state == TLS_SHAKING) {
        enum ml_tls_result r = ml_tls_handshake(next->tls);
        next->is_step_due = r == ML_TLS_STEP;
        if (r == ML_TLS_OK) {
            next->state = OPEN;
        } else if (r != ML_TLS_WAIT && r != ML_TLS_STEP) {
            end(next, ml_tls_reason(next->tls), ml_tls_detail(next->tls));
        }
    }
    return next != NULL;
}

bool ml_streams_on_time(ml_time now)
{
    for (size_t i = 0; i < ML_STREAMS; i++) {
        struct stream *s = &streams[i];
        if (s->state != FREE && now >= s->deadline) {
            bool dns = s->state == RESOLVING;
            end(s, dns ? ML_CLOSE_DNS : ML_CLOSE_TIMEOUT, dns ? "no answer from the resolver" : "no connection in time");
        }
    }
    return shake();
}

ml_time ml_streams_deadline(ml_time now)
{
    ml_time at = ML_NEVER;
    for (size_t i = 0; i < ML_STREAMS; i++) {
        const struct stream *s = &streams[i];
        if (s->state == ENDED || s->state == TLS_WAITING || (s->state == TLS_SHAKING && s->is_step_due) ||
            (s->state == OPEN && s->deadline != ML_NEVER)) {
            return now;
        }
        if (s->state != FREE && s->deadline < at) {
            at = s->deadline;
        }
    }
    return at;
}

static void on_answer(const char *name, const ip_addr_t *ip, void *arg)
{
    (void)name;
    ml_ip found = {0};
    if (ip != NULL) {
        found = ml_ip_from4((const uint8_t *)&ip_2_ip4(ip)->addr);
    }
    ml_handle_resolved(engine, board_time_us(), (uint32_t)(uintptr_t)arg, &found, ip != NULL);
}

void ml_streams_resolve(ml_time now, uint32_t token, const char *name)
{
    ml_ip ip;
    ip_addr_t found;
    if (ml_ip_parse(name, strlen(name), &ip) || ml_boot_find_host(name, &ip)) {
        ml_handle_resolved(engine, now, token, &ip, 1);
        return;
    }
    err_t err = dns_gethostbyname(name, &found, on_answer, (void *)(uintptr_t)token);
    if (err != ERR_INPROGRESS) {
        on_answer(name, err == ERR_OK ? &found : NULL, (void *)(uintptr_t)token);
    }
}
