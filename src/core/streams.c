/*
 * Connections: the streams that control and the relays ask for, their names, and what comes over them.
 *
 * An ml_stream_id is the owner in its top bits and the owner's own name below; a relay's name is its pool slot and a
 * generation, so that events of a connection already given up are told apart (ML_DROP_STREAM_STALE).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include <string.h>

#define DERP_PORT       443
#define DERP_TIMEOUT_MS 10000U
#define STUCK_PATIENCE  ML_SEC(1)

/* ---- Control ---- */

static void take_candidate(struct ml_engine *ml, const ml_private_key *key)
{
    static const ml_private_key none = {{0}};
    key = key ? key : &none;
    if (!ml_ct_equal(ml->identity.candidate.b, key->b, sizeof key->b)) {
        ml->identity.candidate = *key;
        core_store(ml, ML_STORE_IDENTITY);
    }
}

static void take_identity(struct ml_engine *ml, ml_time now, const ml_private_key *key, const ml_node_key *pub)
{
    ml_wipe(&ml->identity.candidate, sizeof ml->identity.candidate);
    if (key) {
        ml->identity.node = *key;
        ml->identity.has_node = true;
        ml->is_newly_registered = true;
    } else {
        core_drop_all(ml, now, true);
        ml_wipe(&ml->identity.node, sizeof ml->identity.node);
        ml->identity.has_node = false;
        ml->identity.login[0] = 0;
    }
    core_use_node_key(ml, now, pub);
    core_store(ml, ML_STORE_IDENTITY);
}

static void control_event(struct ml_engine *ml, ml_time now, const struct ml_control_event *ev)
{
    switch (ev->type) {
    case ML_CONTROL_EV_SERVER_KEY:
        if (ev->server_key && !ml_key_equal(ev->server_key, &ml->cache.control_key)) {
            ml->cache.control_key = *ev->server_key;
            ml_str_set(ml->cache.control_host, sizeof ml->cache.control_host, ml->url.host);
            core_store(ml, ML_STORE_CACHE);
        }
        break;
    case ML_CONTROL_EV_IDENTITY:
        take_identity(ml, now, ev->node_key, ev->node_pub);
        break;
    case ML_CONTROL_EV_CANDIDATE:
        take_candidate(ml, ev->node_key);
        break;
    case ML_CONTROL_EV_REGISTERED:
        ml->self.user_id = ev->user_id;
        if (ev->user_login && ev->user_login[0]) {
            ml_str_set(ml->self.login, sizeof ml->self.login, ev->user_login);
            if (strcmp(ml->identity.login, ml->self.login) != 0) {
                memcpy(ml->identity.login, ml->self.login, sizeof ml->identity.login);
                core_store(ml, ML_STORE_IDENTITY);
            }
        }
        break;
    case ML_CONTROL_EV_LOGIN_URL:
        ml_str_set(ml->login_url, sizeof ml->login_url, ev->text ? ev->text : "");
        core_mark(ml, CORE_MARK_LOGIN_URL);
        break;
    case ML_CONTROL_EV_STATE:
        if (ml->is_started) {
            core_set_state(ml, ev->state);
            /* Logged out: control has stopped by itself. */
            if (ev->state == ML_STATE_STOPPED) {
                core_drop_all(ml, now, false);
                ml->is_started = false;
            }
        }
        break;
    case ML_CONTROL_EV_RUNNING:
        if (ml->is_newly_registered) {
            ml->is_newly_registered = false;
            ml->fresh_at = now + ML_SEC(1);
            ml->fresh_until = now + CORE_FRESH_FOR;
        }
        ml->is_map_poll_open = true;
        ml_netcheck_set_map_poll(&ml->netcheck, true);
        ml->stats.control_connects++;
        ml_log_text(&ml->log, ML_LOG_INFO, "control: connected, netmap received");
        break;
    case ML_CONTROL_EV_STREAM_ENDED:
        ml->is_map_poll_open = false;
        ml_netcheck_set_map_poll(&ml->netcheck, false);
        ml_log_text(&ml->log, ML_LOG_DEBUG, "control: the map stream ended; the last netmap stays in force");
        break;
    case ML_CONTROL_EV_REREGISTER:
        ml_log_text(&ml->log, ML_LOG_WARN, "control: the server does not know this node any more, registering again");
        break;
    case ML_CONTROL_EV_PROBLEM:
        core_set_problem(ml, CORE_PROBLEM_CONTROL, ev->text ? ev->text : "");
        break;
    case ML_CONTROL_EV_NONE:
    case ML_CONTROL_EV_COUNT:
        break;
    }
}

void core_drain_control(struct ml_engine *ml, ml_time now)
{
    struct ml_control_event ev;
    while (ml_control_poll_event(&ml->control, &ev)) {
        control_event(ml, now, &ev);
    }
}

/* ---- Relays ---- */

/* "relay CODE: what, and what to do". */
static void relay_problem(struct ml_engine *ml, uint16_t region, const char *what)
{
    char text[ML_TEXT_CAP];
    const struct ml_derp_region *r = ml_derp_table_find(&ml->regions, region);
    struct ml_writer w = ml_writer_of((uint8_t *)text, sizeof text);
    ml_write_str(&w, "relay ");
    if (r && r->code[0]) {
        ml_write_str(&w, r->code);
    } else {
        ml_write_dec(&w, region);
    }
    ml_write_str(&w, ": ");
    ml_write_str(&w, what);
    ml_write_end_str(&w);
    if (region == ml->derp.home) {
        core_set_problem(ml, CORE_PROBLEM_RELAY, text);
    } else {
        ml_log_text(&ml->log, ML_LOG_WARN, text);
    }
}

static const char *close_text(ml_close_reason why)
{
    switch (why) {
    case ML_CLOSE_EOF:
    case ML_CLOSE_RESET:
        return "connection lost, reconnecting";
    case ML_CLOSE_DNS:
        return "its name does not resolve; check the device's DNS";
    case ML_CLOSE_REFUSED:
        return "connection refused; it may be restarting";
    case ML_CLOSE_TIMEOUT:
        return "no answer; check that its TCP port is not blocked";
    case ML_CLOSE_TLS_UNTRUSTED:
        return "its certificate is from an unknown authority; give that CA to this device";
    case ML_CLOSE_TLS_NAME:
        return "its certificate is for another host name";
    case ML_CLOSE_TLS_TIME:
        return "its certificate is not valid now; check this device's clock";
    case ML_CLOSE_TLS_PIN:
        return "its certificate is not the pinned one";
    case ML_CLOSE_TLS_OTHER:
        return "TLS failed; check that a relay listens there";
    case ML_CLOSE_NO_MEMORY:
        return "not enough memory for a TLS connection";
    }
    return "connection failed";
}

static void derp_event(struct ml_engine *ml, ml_time now, unsigned slot, uint16_t region, const struct ml_derp_event *ev)
{
    char line[96];
    struct ml_writer w = ml_writer_of((uint8_t *)line, sizeof line);
    const struct ml_derp_region *r = NULL;
    ml_netcheck_note_derp_frame(&ml->netcheck, now, region);
    switch (ev->type) {
    case ML_DERP_EV_LOGIN:
        ml->stats.derp_connects++;
        if (region == ml->derp.home) {
            core_set_problem(ml, CORE_PROBLEM_RELAY, "");
        }
        r = ml_derp_table_find(&ml->regions, region);
        ml_write_str(&w, region == ml->derp.home ? "relay connected: home region " : "relay connected: region ");
        ml_write_str(&w, r ? r->code : "?");
        ml_log_text(&ml->log, ML_LOG_INFO, ml_write_end_str(&w));
        break;
    case ML_DERP_EV_PACKET: {
        struct core_carrier c = {.region = region, .derp_slot = slot, .source = ev->key};
        ml->stats.derp_rx_packets++;
        core_packet_in(ml, now, &c, ev->data, ev->len);
        break;
    }
    case ML_DERP_EV_HEALTH:
        relay_problem(ml, region, ev->len ? "the relay reports a problem" : "the relay is well again");
        if (!ev->len) {
            core_set_problem(ml, CORE_PROBLEM_RELAY, "");
        }
        break;
    case ML_DERP_EV_DROP:
        core_count(ml, ev->drop);
        break;
    case ML_DERP_EV_FAILED:
        relay_problem(ml, region, ml_derp_fail_text(ev->fail));
        break;
    case ML_DERP_EV_RESTARTING:
        relay_problem(ml, region, "the relay announces a restart");
        break;
    case ML_DERP_EV_PEER_GONE:
        break;
    }
}

/* May a relayed packet be taken? Usually when there is room for what it may yield, one packet for the host and one in answer; the
 * port makes room and offers the rest again. When nobody makes room for a while, packets are taken and dropped for want of it:
 * a relay hangs up on a client that does not read for 2 s (dataplane.md 7.4, D51). */
static bool may_take_relayed(struct ml_engine *ml, ml_time now)
{
    if (ml->curve.left == 0) {
        ml->curve.is_short = true; /* what it carries may need a curve operation of its own */
        return false;
    }
    if (ml_outq_has_room(&ml->outq, 2 * CORE_PACKET_MAX)) {
        ml->stuck_since = 0;
        return true;
    }
    if (ml->stuck_since == 0) {
        ml->stuck_since = now ? now : 1;
    }
    return now - ml->stuck_since >= STUCK_PATIENCE;
}

void core_drain_derp(struct ml_engine *ml, ml_time now)
{
    struct ml_derp_event ev;
    unsigned slot = 0;
    uint16_t region = 0;
    while (may_take_relayed(ml, now) && ml_derp_pool_poll_event(&ml->derp, now, &slot, &region, &ev)) {
        derp_event(ml, now, slot, region, &ev);
    }
}

/* The server of the region to try: each failure moves on to the next one that relays. */
static const struct ml_derp_node *pick_node(const struct ml_derp_region *r, struct core_derp_stream *s)
{
    for (uint8_t i = 0; r && i < r->node_count; i++) {
        uint8_t at = (uint8_t)((s->node + i) % r->node_count);
        if (!r->nodes[at].is_stun_only) {
            s->node = at;
            return &r->nodes[at];
        }
    }
    return NULL;
}

static uint16_t relay_port(const struct ml_derp_node *node)
{
    return node->derp_port ? node->derp_port : DERP_PORT;
}

void core_write_relay_host(struct ml_writer *w, const struct ml_derp_node *node)
{
    ml_write_str(w, node->host);
    if (relay_port(node) != DERP_PORT) {
        ml_write_str(w, ":");
        ml_write_dec(w, relay_port(node));
    }
}

void core_relay_dial(const struct ml_engine *ml, const struct ml_derp_node *node, uint8_t *pin, ml_stream_open *out)
{
    *out = (ml_stream_open){.host = node->host,
                            .ip4 = node->ip4,
                            .ip6 = node->ip6,
                            .no_ip4 = node->no_ip4,
                            .no_ip6 = node->no_ip6,
                            .port = relay_port(node),
                            .timeout_ms = DERP_TIMEOUT_MS,
                            .tls = true,
                            .sni = node->host,
                            .verify_name = node->host};
    if (node->has_pin) {
        memcpy(pin, ml_derp_cert(node), 32);
        out->pin_sha256 = pin;
        out->verify_name = NULL;
    } else if (ml_derp_cert(node)[0]) {
        out->verify_name = ml_derp_cert(node);
    }
    out->no_verify = ml->is_insecure_ok && node->is_insecure_for_tests;
}

static bool open_derp(struct ml_engine *ml, ml_time now, unsigned slot, uint16_t region, ml_stream_open *out)
{
    struct core_derp_stream *s = &ml->derp_streams[slot];
    const struct ml_derp_region *r = ml->no_derp ? NULL : ml_derp_table_find(&ml->regions, region);
    if (s->region != region) {
        s->node = 0;
        s->region = region;
    }
    const struct ml_derp_node *node = pick_node(r, s);
    if (!node) {
        ml_derp_pool_closed(&ml->derp, now, slot);
        return false;
    }
    s->generation++;
    s->is_asked = true;
    s->is_open = false;
    core_relay_dial(ml, node, s->pin, out);
    out->id = CORE_STREAM_ID(CORE_STREAM_DERP, ((uint32_t)s->generation << 8) | slot);
    struct ml_writer w = ml_writer_of((uint8_t *)s->host_header, sizeof s->host_header);
    core_write_relay_host(&w, node);
    ml_write_end_str(&w);
    return true;
}

static struct core_derp_stream *derp_stream_of(struct ml_engine *ml, uint32_t local, unsigned *slot)
{
    *slot = local & 0xffU;
    if (*slot >= ml->max_derp) {
        return NULL;
    }
    struct core_derp_stream *s = &ml->derp_streams[*slot];
    return s->is_asked && s->generation == (uint16_t)(local >> 8) ? s : NULL;
}

/* ---- The underlay changed ---- */

static bool is_gone(const struct ml_engine *ml, const ml_addr *local)
{
    if (!ml_addr_is_set(local) || ml_ip_is_loopback(&local->ip) || ml->local_addr_count == 0) {
        return false;
    }
    for (uint8_t i = 0; i < ml->local_addr_count; i++) {
        if (ml_ip_equal(&ml->local_addrs[i].ip, &local->ip)) {
            return false;
        }
    }
    return true;
}

void core_check_streams(struct ml_engine *ml, ml_time now)
{
    for (unsigned i = 0; i < ml->max_derp; i++) {
        const struct core_derp_stream *s = &ml->derp_streams[i];
        if (s->is_asked && s->is_open && is_gone(ml, &s->local)) {
            ml_derp_pool_close_region(&ml->derp, now, s->region);
        }
    }
    ml_derp_pool_check(&ml->derp, now);
    if (is_gone(ml, &ml->control_local)) {
        ml_control_rebind(&ml->control, now);
    } else {
        ml_control_check(&ml->control, now);
    }
}

/* ---- The port's side ---- */

/* With a small heap a TLS handshake does not fall into the time in which control's records and segments fill it. */
#define RELAY_HOLD ML_SEC(2)

ml_time core_relay_hold(const struct ml_engine *ml)
{
    ml_time since = ml->is_heap_small ? ml_control_reading_since(&ml->control) : ML_NEVER;
    return since != ML_NEVER ? since + RELAY_HOLD : 0;
}

bool core_poll_stream(struct ml_engine *ml, ml_time now, ml_output *out)
{
    unsigned slot = 0;
    uint16_t region = 0;
    uint32_t close_id = 0;
    if (!ml->has_open_due && ml_control_poll_stream(&ml->control, now, &ml->open_due, &ml->has_open_due, &close_id) &&
        close_id) {
        *out = (ml_output){.type = ML_OUT_STREAM_CLOSE, .stream = {.id = CORE_STREAM_ID(CORE_STREAM_CONTROL, close_id)}};
        return true;
    }
    if (ml->has_open_due) {
        ml->has_open_due = false;
        *out = (ml_output){.type = ML_OUT_STREAM_OPEN, .stream = ml->open_due};
        out->stream.id = CORE_STREAM_ID(CORE_STREAM_CONTROL, ml->open_due.id);
        return true;
    }
    while (ml_derp_pool_poll_close(&ml->derp, &slot)) {
        struct core_derp_stream *s = &ml->derp_streams[slot];
        if (s->is_asked) {
            s->is_asked = false;
            *out = (ml_output){
                .type = ML_OUT_STREAM_CLOSE,
                .stream = {.id = CORE_STREAM_ID(CORE_STREAM_DERP, ((uint32_t)s->generation << 8) | (uint32_t)slot)}};
            return true;
        }
    }
    while (now >= core_relay_hold(ml) && ml_derp_pool_poll_open(&ml->derp, now, &slot, &region)) {
        if (open_derp(ml, now, slot, region, &out->stream)) {
            out->type = ML_OUT_STREAM_OPEN;
            return true;
        }
    }
    return core_latency_poll(ml, now, out);
}

void ml_handle_stream_opened(ml_engine *ml, ml_time now, ml_stream_id id, const ml_stream_info *info)
{
    unsigned slot = 0;
    if (!ml) {
        return;
    }
    core_begin(ml);
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_CONTROL) {
        ml->control_local = info ? info->local : (ml_addr){{{0}}, 0};
        ml_control_on_opened(&ml->control, now, CORE_STREAM_LOCAL(id));
        return;
    }
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_LATENCY) {
        core_latency_opened(ml, now, CORE_STREAM_LOCAL(id));
        return;
    }
    struct core_derp_stream *s = derp_stream_of(ml, CORE_STREAM_LOCAL(id), &slot);
    if (!s) {
        core_count(ml, ML_DROP_STREAM_STALE);
        return;
    }
    struct ml_derp_server server = {.host = s->host_header};
    if (info) {
        server.meta_key = info->derp_meta_key;
    }
    s->is_open = true;
    s->local = info ? info->local : (ml_addr){{{0}}, 0};
    ml_derp_pool_opened(&ml->derp, now, slot, &server);
}

void ml_handle_stream_data(ml_engine *ml, ml_time now, ml_stream_id id, const uint8_t *buf, size_t len, size_t *used)
{
    unsigned slot = 0;
    size_t off = 0;
    if (!ml || !buf || !used) {
        return;
    }
    core_begin(ml);
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_CONTROL) {
        struct core_apply_ctx ctx = {.ml = ml, .now = now};
        const struct ml_delta_sink sink = {.fn = core_apply, .ctx = &ctx};
        ml_control_on_data(&ml->control, now, CORE_STREAM_LOCAL(id), buf, len, used, &sink);
        core_drain_control(ml, now);
        return;
    }
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_LATENCY) {
        core_latency_data(ml, now, CORE_STREAM_LOCAL(id), buf, len);
        *used = len;
        return;
    }
    struct core_derp_stream *s = derp_stream_of(ml, CORE_STREAM_LOCAL(id), &slot);
    if (!s || !s->is_open) {
        *used = len;
        core_count(ml, ML_DROP_STREAM_STALE);
        return;
    }
    while (off < len) {
        size_t n = 0;
        core_drain_derp(ml, now);
        if (!may_take_relayed(ml, now)) {
            break; /* the port drains and offers the rest again */
        }
        ml_derp_pool_data(&ml->derp, now, slot, buf + off, len - off, &n);
        off += n;
        if (n == 0) {
            off = len; /* the connection failed: what is left of it is of no use */
        }
    }
    core_drain_derp(ml, now);
    *used = off;
}

void ml_handle_stream_closed(ml_engine *ml, ml_time now, ml_stream_id id, ml_close_reason why, const char *detail)
{
    unsigned slot = 0;
    if (!ml) {
        return;
    }
    core_begin(ml);
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_CONTROL) {
        struct core_apply_ctx ctx = {.ml = ml, .now = now};
        const struct ml_delta_sink sink = {.fn = core_apply, .ctx = &ctx};
        ml_control_on_closed(&ml->control, now, CORE_STREAM_LOCAL(id), why, detail, &sink);
        core_drain_control(ml, now);
        return;
    }
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_LATENCY) {
        core_latency_closed(ml, now, CORE_STREAM_LOCAL(id));
        return;
    }
    struct core_derp_stream *s = derp_stream_of(ml, CORE_STREAM_LOCAL(id), &slot);
    if (!s) {
        core_count(ml, ML_DROP_STREAM_STALE);
        return;
    }
    s->is_asked = s->is_open = false;
    s->node++;
    relay_problem(ml, s->region, close_text(why));
    unsigned lost = ml_derp_pool_closed(&ml->derp, now, slot);
    ml->stats.drop[ML_DROP_DERP_QUEUE_FULL] += lost;
    /* A lost relay often means that the way out changed (dataplane.md 6.1). */
    ml_netcheck_start(&ml->netcheck, now, false);
}

size_t ml_stream_tx_peek(const ml_engine *ml, ml_stream_id id, const uint8_t **buf)
{
    if (!ml || !buf) {
        return 0;
    }
    uint32_t local = CORE_STREAM_LOCAL(id);
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_CONTROL) {
        return ml_control_tx_peek(&ml->control, local, buf);
    }
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_LATENCY) {
        return core_latency_tx_peek(ml, local, buf);
    }
    unsigned slot = local & 0xffU;
    if (slot >= ml->max_derp || !ml->derp_streams[slot].is_open ||
        ml->derp_streams[slot].generation != (uint16_t)(local >> 8)) {
        return 0;
    }
    return ml_derp_pool_tx_peek(&ml->derp, slot, buf);
}

void ml_stream_tx_done(ml_engine *ml, ml_time now, ml_stream_id id, size_t n)
{
    unsigned slot = 0;
    if (!ml) {
        return;
    }
    if (CORE_STREAM_OWNER(id) == CORE_STREAM_CONTROL) {
        ml_control_tx_done(&ml->control, now, CORE_STREAM_LOCAL(id), n);
    } else if (CORE_STREAM_OWNER(id) == CORE_STREAM_LATENCY) {
        core_latency_tx_done(ml, CORE_STREAM_LOCAL(id), n);
    } else if (derp_stream_of(ml, CORE_STREAM_LOCAL(id), &slot)) {
        ml_derp_pool_tx_done(&ml->derp, slot, n);
    }
}
