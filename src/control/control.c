/*
 * The facade of the control client: configuration, the order in which waiting work is started, time, events, state.
 *
 * Every entry point ends in pump(), which starts what is due (a server's ping first, then registration, poll, lite update) and
 * seals what HTTP/2 wants to send. Source: control.md 9; design.md 5.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/control.h"

#include "base/addr.h"
#include "base/rng.h"
#include "control/control_internal.h"

/* ---- Shared by the files of this folder ---- */

void ml_control_mark(struct ml_control *c, enum ml_control_event_type ev)
{
    c->events |= 1U << ev;
}

void ml_control_problem_set(struct ml_control *c, enum ml_control_problem what, uint16_t port, const char *quote, size_t len)
{
    char text[sizeof c->problem_text];
    struct ml_writer w = ml_writer_of((uint8_t *)text, sizeof text);
    ml_control_problem_write(&w, what, c->url.host, port, quote, len);
    (void)ml_write_end_str(&w);
    if (what == c->problem && strcmp(text, c->problem_text) == 0) {
        return;
    }
    c->problem = what;
    memcpy(c->problem_text, text, sizeof text);
    ml_control_mark(c, ML_CONTROL_EV_PROBLEM); /* who takes the event logs it, once */
}

ml_time ml_control_backoff(const struct ml_control *c, ml_time now, uint32_t failures)
{
    return now + ml_backoff_floored(c->random, failures, ML_CONTROL_BACKOFF_CAP);
}

static ml_state work_out_state(const struct ml_control *c)
{
    if (!c->is_started) {
        return ML_STATE_STOPPED;
    }
    if (c->reg.followup[0] && (!c->reg.is_done || c->is_self_expired)) {
        return ML_STATE_NEEDS_LOGIN;
    }
    if (c->is_self_expired && c->auth_key[0] == '\0') {
        return ML_STATE_NEEDS_LOGIN;
    }
    if (!c->reg.is_done) {
        return ML_STATE_CONNECTING;
    }
    if (!c->is_self_authorized) {
        /* Headscale calls an expired node unauthorized too; nobody is asked to approve it. */
        return c->is_self_expired ? ML_STATE_CONNECTING : ML_STATE_NEEDS_APPROVAL;
    }
    return c->poll.has_map ? ML_STATE_RUNNING : ML_STATE_STARTING;
}

void ml_control_update_state(struct ml_control *c)
{
    ml_state state = work_out_state(c);
    if (state != c->state) {
        c->state = state;
        ml_control_mark(c, ML_CONTROL_EV_STATE);
    }
}

/* ---- Configuration ---- */

/* Hostinfo.Hostname: the first label, at most 63 bytes. */
static void copy_hostname(char dst[64], const char *name)
{
    size_t len = strcspn(name, ".");
    (void)ml_str_copy(dst, 64, name, len < 63 ? len : 63);
}

bool ml_control_init(struct ml_control *c, const struct ml_control_cfg *cfg)
{
    memset(c, 0, sizeof *c);
    if (!cfg->random || !cfg->random->fill || cfg->url.host[0] == '\0' || !cfg->tx || cfg->tx_len < ML_CONTROL_TX_MIN) {
        return false;
    }
    c->url = cfg->url;
    c->capver = cfg->capver ? cfg->capver : ML_CAPVER_DEFAULT;
    copy_hostname(c->hostname, cfg->hostname && cfg->hostname[0] ? cfg->hostname : "microlink");
    (void)ml_str_copy(c->os, sizeof c->os, cfg->os && cfg->os[0] ? cfg->os : "linux",
                      strlen(cfg->os && cfg->os[0] ? cfg->os : "linux"));
    c->is_ephemeral = cfg->ephemeral;
    c->random = cfg->random;
    c->log = cfg->log;
    c->machine_key = cfg->machine_key;
    c->budget = cfg->budget;
    c->server_key = cfg->server_key;
    c->is_key_pinned = cfg->server_key_is_pinned;
    c->tx = cfg->tx;
    c->tx_cap = cfg->tx_len;
    c->window = cfg->window;
    c->map_message_max = cfg->map_message_max ? cfg->map_message_max : UINT32_C(64) << 20;
    c->check_until = c->race_at = c->logout_deadline = c->poll.watchdog_at = ML_NEVER;
    ml_map_parse_init(&c->map);
    return true;
}

void ml_control_clear(struct ml_control *c)
{
    if (c->tx) {
        ml_wipe(c->tx, c->tx_cap);
    }
    ml_wipe(c, sizeof *c);
}

/* ---- Driving ---- */

/* The engine said, or the netmap says, that our key expired: a new one has to be accepted. The poll goes on meanwhile. */
static void begin_renewal(struct ml_control *c, ml_time now)
{
    if (c->is_self_expired || !c->reg.is_done) {
        return;
    }
    c->is_self_expired = true;
    ml_control_problem_set(c, ML_CONTROL_PROBLEM_NODE_EXPIRED, 0, NULL, 0);
    ml_control_register_need(c, now, true, true);
}

static void after_call(struct ml_control *c, ml_time now)
{
    if (c->is_expiry_due) {
        c->is_expiry_due = false;
        begin_renewal(c, now);
    }
    if (c->is_extended) { /* the server extended the expiry before anybody logged in */
        c->is_extended = false;
        if (c->is_self_expired) {
            c->is_self_expired = false;
            ml_control_register_forget(c);
            ml_control_mark(c, ML_CONTROL_EV_CANDIDATE);
            ml_control_problem_set(c, ML_CONTROL_PROBLEM_NONE, 0, NULL, 0);
        }
    }
    if (c->is_stop_due) {
        c->is_stop_due = false;
        ml_control_stop(c, now);
    }
}

/* The earliest instant at which a request wants to go out. */
static ml_time want_at(const struct ml_control *c)
{
    ml_time at = ML_NEVER;
    if (c->reg.is_needed && c->req[REQ_REGISTER].stream == 0) {
        at = c->reg.retry_at;
    }
    if (c->reg.is_done && !c->reg.is_logout && c->req[REQ_POLL].stream == 0 && c->poll.retry_at < at) {
        at = c->poll.retry_at;
    }
    ml_time lite = ml_control_lite_at(c);
    return lite < at ? lite : at;
}

static void pump(struct ml_control *c, ml_time now)
{
    after_call(c, now);
    if (c->is_started && c->link == LINK_DOWN && now >= c->link_retry_at && now >= want_at(c)) {
        ml_control_link_start(c, now);
    }
    ml_control_link_flush(c);
    bool is_paused = c->poll.sleep_until > now;
    if (c->is_reply_due && c->req[REQ_REPLY].stream == 0 && ml_control_can_request(c)) {
        ml_control_reply_start(c, now);
        ml_control_link_flush(c);
    }
    if (c->is_started && !is_paused && !c->is_reply_due) {
        if (ml_control_register_due(c, now) && ml_control_can_request(c)) {
            ml_control_register_start(c, now);
            ml_control_link_flush(c);
        }
        if (ml_control_poll_due(c, now) && ml_control_can_request(c)) {
            ml_control_poll_start(c, now);
            ml_control_link_flush(c);
        }
        if (ml_control_lite_at(c) <= now && ml_control_can_request(c)) {
            ml_control_lite_start(c, now);
            ml_control_link_flush(c);
        }
    }
    ml_control_update_state(c);
}

void ml_control_start(struct ml_control *c, ml_time now, const struct ml_control_identity *id)
{
    if (c->is_started) {
        return;
    }
    c->has_node_key = id && ml_key_is_set(&id->node_key);
    c->has_candidate = id && ml_key_is_set(&id->candidate);
    if (c->has_node_key) {
        c->node_key = id->node_key;
        ml_x25519_base(c->node_pub.b, &c->node_key);
    }
    if (c->has_candidate) {
        c->candidate_key = id->candidate;
        ml_x25519_base(c->candidate_pub.b, &c->candidate_key);
    }
    c->is_started = true;
    c->link_retry_at = now;
    c->link_failures = 0;
    c->is_self_expired = c->is_expiry_due = c->is_extended = c->is_stop_due = false;
    c->is_self_authorized = true;
    memset(&c->reg, 0, sizeof c->reg);
    memset(&c->poll, 0, sizeof c->poll);
    memset(&c->lite, 0, sizeof c->lite);
    c->poll.watchdog_at = ML_NEVER;
    ml_control_register_need(c, now, false, false);
    pump(c, now);
}

void ml_control_stop(struct ml_control *c, ml_time now)
{
    c->is_started = false; /* first, so that what is dropped below is not started again */
    c->reg.is_needed = c->reg.is_done = false;
    c->logout_deadline = ML_NEVER;
    ml_control_link_drop(c, now, false);
    ml_control_stream_close(c, SLOT_PING);
    ml_control_register_forget(c);
    c->lite.is_dirty = c->is_reply_due = false;
    c->poll.watchdog_at = ML_NEVER;
    ml_control_update_state(c);
}

void ml_control_logout(struct ml_control *c, ml_time now)
{
    if (!c->has_node_key) {
        ml_control_register_forget(c);
        ml_control_mark(c, ML_CONTROL_EV_IDENTITY);
        ml_control_stop(c, now);
        return;
    }
    bool was_started = c->is_started;
    ml_control_register_forget(c);
    c->is_started = true;
    if (!was_started) {
        c->link_retry_at = now;
    }
    c->reg.is_logout = true;
    c->logout_deadline = now + ML_CONTROL_LOGOUT_MAX;
    ml_control_register_need(c, now, false, false);
    pump(c, now);
}

bool ml_control_set_auth_key(struct ml_control *c, ml_time now, const char *auth_key)
{
    size_t len = auth_key ? strlen(auth_key) : 0;
    ml_wipe(c->auth_key, sizeof c->auth_key);
    if (len >= sizeof c->auth_key) {
        return false;
    }
    memcpy(c->auth_key, auth_key ? auth_key : "", len);
    /* An attempt without Auth that is in flight goes on: its answer says whether the key is needed. */
    bool is_idle = c->req[REQ_REGISTER].stream == 0 || c->reg.followup[0] != '\0';
    bool is_waiting =
        c->is_started && c->reg.is_needed && !c->reg.is_logout && is_idle && (c->reg.failures || c->reg.followup[0]);
    if (is_waiting && len > 0) {
        /* A login that waits for a person, or for the back-off after a bad key, starts over with this one. */
        ml_control_request_cancel(c, REQ_REGISTER);
        if (c->reg.followup[0]) {
            c->reg.followup[0] = '\0';
            ml_control_mark(c, ML_CONTROL_EV_LOGIN_URL);
        }
        c->reg.failures = 0;
        ml_control_register_need(c, now, false, true);
    }
    pump(c, now);
    return true;
}

void ml_control_set_expired(struct ml_control *c, ml_time now)
{
    c->is_expiry_due = true;
    if (!c->out) { /* otherwise called by the sink: the call below it ends in pump() */
        pump(c, now);
    }
}

void ml_control_set_wall_clock(struct ml_control *c, ml_time now, uint64_t unix_ms)
{
    c->wall_ms = unix_ms;
    c->wall_at = now;
}

void ml_control_check(struct ml_control *c, ml_time now)
{
    if (c->link != LINK_UP) {
        ml_control_rebind(c, now);
        return;
    }
    ml_h2_ping(&c->u.session.h2);
    c->check_until = now + ML_CONTROL_CHECK;
    pump(c, now);
}

void ml_control_rebind(struct ml_control *c, ml_time now)
{
    ml_control_link_drop(c, now, false);
    c->link_failures = 0;
    if (c->is_started) {
        c->poll.retry_at = now;
    }
    pump(c, now);
}

ml_time ml_control_reading_since(const struct ml_control *c)
{
    return c->poll.in_message ? c->poll.message_at : ML_NEVER;
}

bool ml_control_reread(struct ml_control *c, ml_time now)
{
    if (c->req[REQ_POLL].stream == 0) {
        return true;
    }
    if (c->map.is_first || c->poll.in_message) {
        return false;
    }
    ml_control_request_cancel(c, REQ_POLL);
    c->poll.watchdog_at = ML_NEVER;
    c->poll.retry_at = now;
    pump(c, now);
    return true;
}

static bool same_but_latency(const struct ml_control_published *a, const struct ml_control_published *b)
{
    bool is_same = ml_key_equal(&a->disco, &b->disco) && a->endpoint_count == b->endpoint_count &&
                   a->home_region == b->home_region && a->working_udp == b->working_udp && a->working_ipv6 == b->working_ipv6 &&
                   a->os_has_ipv6 == b->os_has_ipv6 && a->mapping_varies == b->mapping_varies &&
                   a->route_count == b->route_count && a->shields_up == b->shields_up && a->peerapi4 == b->peerapi4 &&
                   a->peerapi6 == b->peerapi6;
    for (uint8_t i = 0; is_same && i < a->endpoint_count; i++) {
        is_same = ml_addr_equal(&a->endpoints[i], &b->endpoints[i]) && a->endpoint_types[i] == b->endpoint_types[i];
    }
    for (uint8_t i = 0; is_same && i < a->route_count; i++) {
        is_same = ml_prefix_equal(&a->routes[i], &b->routes[i]);
    }
    return is_same;
}

void ml_control_set_published(struct ml_control *c, ml_time now, const struct ml_control_published *p)
{
    bool is_same = same_but_latency(&c->pub, p);
    c->pub = *p;
    if (c->pub.endpoint_count > ML_CONTROL_ENDPOINTS) {
        c->pub.endpoint_count = ML_CONTROL_ENDPOINTS;
    }
    if (c->pub.latency_count > ML_CONTROL_LATENCIES) {
        c->pub.latency_count = ML_CONTROL_LATENCIES;
    }
    if (c->pub.route_count > ML_CONTROL_ROUTES) {
        c->pub.route_count = ML_CONTROL_ROUTES;
    }
    if (!is_same) {
        c->lite.is_dirty = true;
        pump(c, now);
    }
}

/* ---- Streams ---- */

/* The slot of @p id, or SLOT_COUNT when the id is not (or no longer) in use. */
static uint8_t slot_of(const struct ml_control *c, uint32_t id)
{
    uint8_t slot = (uint8_t)(id & 0xff);
    bool is_current = slot < SLOT_COUNT && c->streams[slot].generation == id >> 8 && c->streams[slot].state >= SLOT_OPENING;
    return is_current ? slot : SLOT_COUNT;
}

static void fill_open(struct ml_control *c, uint8_t slot, ml_stream_open *open)
{
    memset(open, 0, sizeof *open);
    open->id = slot | (uint32_t)c->streams[slot].generation << 8;
    open->timeout_ms = ML_CONTROL_DIAL_MAX / 1000;
    if (slot == SLOT_PING || c->link == LINK_KEY) {
        const struct ml_control_url *url = slot == SLOT_PING ? &c->ping_url : &c->url;
        open->host = url->host;
        open->port = ml_control_url_port(url);
        open->tls = url->is_tls;
    } else {
        uint16_t plain = 0;
        uint16_t tls = 0;
        ml_control_dial_ports(&c->url, &plain, &tls);
        open->host = c->url.host;
        open->port = slot == SLOT_TLS ? tls : plain;
        open->tls = slot == SLOT_TLS;
        open->verify_advisory = open->tls;
    }
    if (open->tls) {
        open->sni = open->host;
        open->verify_name = open->host;
    }
}

bool ml_control_poll_stream(struct ml_control *c, ml_time now, ml_stream_open *open, bool *has_open, uint32_t *close_id)
{
    (void)now;
    *has_open = false;
    *close_id = 0;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        struct ml_control_stream *s = &c->streams[slot];
        if (s->close_id) {
            *close_id = s->close_id;
            s->close_id = 0;
            return true;
        }
    }
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        struct ml_control_stream *s = &c->streams[slot];
        if (s->state == SLOT_WANTED) {
            s->state = SLOT_OPENING;
            fill_open(c, (uint8_t)slot, open);
            *has_open = true;
            return true;
        }
    }
    return false;
}

void ml_control_on_opened(struct ml_control *c, ml_time now, uint32_t id)
{
    uint8_t slot = slot_of(c, id);
    if (slot != SLOT_COUNT) {
        ml_control_link_opened(c, now, slot);
        pump(c, now);
    }
}

void ml_control_on_data(struct ml_control *c, ml_time now, uint32_t id, const uint8_t *buf, size_t len, size_t *used,
                        const struct ml_delta_sink *sink)
{
    uint8_t slot = slot_of(c, id);
    *used = len;
    if (slot == SLOT_PING) {
        ml_control_stream_close(c, slot); /* the answer does not matter */
        return;
    }
    if (slot != SLOT_COUNT) {
        c->out = sink;
        ml_control_link_data(c, now, slot, buf, len, used);
        pump(c, now);
        c->out = NULL;
    }
}

void ml_control_on_closed(struct ml_control *c, ml_time now, uint32_t id, enum ml_close_reason reason, const char *detail,
                          const struct ml_delta_sink *sink)
{
    uint8_t slot = slot_of(c, id);
    if (slot == SLOT_PING) {
        c->streams[slot].state = SLOT_FREE;
        return;
    }
    if (slot != SLOT_COUNT) {
        c->out = sink;
        ml_control_link_closed(c, now, slot, reason, detail);
        pump(c, now);
        c->out = NULL;
    }
}

size_t ml_control_tx_peek(const struct ml_control *c, uint32_t id, const uint8_t **buf)
{
    uint8_t slot = slot_of(c, id);
    *buf = NULL;
    if (slot == SLOT_COUNT || c->streams[slot].state != SLOT_OPEN) {
        return 0;
    }
    if (slot == SLOT_PING) {
        *buf = c->ping_tx + c->ping_tx_pos;
        return (size_t)(c->ping_tx_len - c->ping_tx_pos);
    }
    switch (c->link) {
    case LINK_KEY:
        *buf = c->u.key.tx + c->u.key.tx_pos;
        return (size_t)(c->u.key.tx_len - c->u.key.tx_pos);
    case LINK_DIAL:
        *buf = c->u.dial[slot].tx + c->u.dial[slot].tx_pos;
        return (size_t)(c->u.dial[slot].tx_len - c->u.dial[slot].tx_pos);
    case LINK_UP:
        *buf = c->tx;
        return slot == c->up_slot ? c->tx_len : 0;
    default:
        return 0;
    }
}

void ml_control_tx_done(struct ml_control *c, ml_time now, uint32_t id, size_t n)
{
    const uint8_t *p = NULL;
    uint8_t slot = slot_of(c, id);
    size_t most = ml_control_tx_peek(c, id, &p);
    n = n < most ? n : most;
    if (n == 0) {
        return;
    }
    if (slot == SLOT_PING) {
        c->ping_tx_pos = (uint16_t)(c->ping_tx_pos + n);
    } else if (c->link == LINK_KEY) {
        c->u.key.tx_pos = (uint16_t)(c->u.key.tx_pos + n);
    } else if (c->link == LINK_DIAL) {
        c->u.dial[slot].tx_pos = (uint16_t)(c->u.dial[slot].tx_pos + n);
    } else {
        memmove(c->tx, c->tx + n, c->tx_len - n);
        c->tx_len -= n;
        pump(c, now);
    }
}

/* ---- Time ---- */

/* Never inlined: the struct is far inside of the engine's, where each access takes three instructions. */
__attribute__((noinline)) void ml_control_on_time(struct ml_control *c, ml_time now, const struct ml_delta_sink *sink)
{
    c->out = sink;
    if (c->poll.sleep_until != 0 && now >= c->poll.sleep_until) {
        c->poll.sleep_until = 0;
    }
    ml_control_link_resume(c, now);
    ml_control_link_on_time(c, now);
    if (c->link == LINK_UP && now >= c->poll.watchdog_at) {
        ml_control_problem_set(c, ML_CONTROL_PROBLEM_SILENT, 0, NULL, 0);
        ml_control_link_drop(c, now, true);
    }
    if (c->link == LINK_UP && now >= c->check_until) {
        ml_log_text(c->log, ML_LOG_INFO, "control: the connection did not survive the network change, dialling again");
        ml_control_rebind(c, now);
    }
    for (int i = 0; i < REQ_COUNT; i++) {
        if (c->link != LINK_UP || c->req[i].stream == 0 || now < c->req[i].expires_at) {
            continue;
        }
        if (i == REQ_REPLY && c->is_reply_due) {
            ml_control_request_cancel(c, REQ_REPLY);
        } else {
            ml_control_problem_set(c, ML_CONTROL_PROBLEM_TIMEOUT, 0, NULL, 0);
            ml_control_link_drop(c, now, true);
        }
    }
    if (c->streams[SLOT_PING].state != SLOT_FREE && now >= c->ping_deadline) {
        ml_control_stream_close(c, SLOT_PING);
    }
    if (now >= c->logout_deadline) { /* the server could not be told; the key is forgotten all the same */
        ml_wipe(&c->node_key, sizeof c->node_key);
        c->has_node_key = false;
        ml_control_mark(c, ML_CONTROL_EV_IDENTITY);
        ml_control_stop(c, now);
    }
    pump(c, now);
    c->out = NULL;
}

static ml_time earlier(ml_time a, ml_time b)
{
    return a < b ? a : b;
}

ml_time ml_control_deadline(const struct ml_control *c)
{
    ml_time at = c->logout_deadline;
    if (c->streams[SLOT_PING].state != SLOT_FREE) {
        at = earlier(at, c->ping_deadline);
    }
    if (!c->is_started) {
        return at;
    }
    at = earlier(at, ml_control_link_deadline(c));
    ml_time want = want_at(c);
    if (c->link == LINK_DOWN) {
        at = earlier(at, want > c->link_retry_at ? want : c->link_retry_at);
    } else if (c->link == LINK_UP) {
        at = earlier(at, earlier(c->poll.watchdog_at, c->check_until));
        if (c->poll.sleep_until) {
            at = earlier(at, c->poll.sleep_until);
        } else {
            if (ml_control_can_request(c)) {
                at = earlier(at, want);
            }
            if (ml_control_link_has_backlog(c, ML_NEVER - 1)) {
                at = 0;
            }
        }
        for (int i = 0; i < REQ_COUNT; i++) {
            at = c->req[i].stream ? earlier(at, c->req[i].expires_at) : at;
        }
    }
    return at;
}

/* ---- Events ---- */

bool ml_control_poll_event(struct ml_control *c, struct ml_control_event *ev)
{
    memset(ev, 0, sizeof *ev);
    for (unsigned type = 1; type < ML_CONTROL_EV_COUNT; type++) {
        if ((c->events >> type & 1) == 0) {
            continue;
        }
        c->events &= ~(1U << type);
        ev->type = (enum ml_control_event_type)type;
        ev->state = c->state;
        ev->problem = c->problem;
        ev->text = ev->type == ML_CONTROL_EV_LOGIN_URL ? c->reg.followup : c->problem_text;
        ev->user_id = c->reg.user_id;
        ev->user_login = c->reg.login;
        ev->node_key = c->has_node_key ? &c->node_key : NULL;
        ev->node_pub = c->has_node_key ? &c->node_pub : NULL;
        if (ev->type == ML_CONTROL_EV_CANDIDATE) {
            ev->node_key = c->has_candidate ? &c->candidate_key : NULL;
        }
        ev->server_key = &c->server_key;
        return true;
    }
    return false;
}

ml_state ml_control_state(const struct ml_control *c)
{
    return c->state;
}

void ml_control_get_stats(const struct ml_control *c, struct ml_control_stats *out)
{
    *out = c->stats;
}
