/*
 * A node above the engine and a port: what the application API does, without threads (see node.h).
 *
 * Owns the node's port, the receive queue and the snapshot of peers, which take memory when they are used. Carries datagrams as UDP inside the tunnel on one
 * port, and answers ICMP echo where the host has no IP stack of its own for the tunnel. Everything else is left out on
 * purpose: whoever wants TCP takes the port's interface instead.
 *
 * SPDX-License-Identifier: MIT
 */
#include "node.h"

#include "base/addr.h"
#include "host.h"
#include "ip/ip_build.h"
#include "microlink/port.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_PEERS 16
#define DEFAULT_HEARTBEAT 25000
#define DEFAULT_RX_QUEUE  8

/** As long as its data: what waits costs memory, an empty queue none. */
struct datagram {
    uint32_t src;
    uint16_t len;
    uint8_t data[];
};

/** What microlink_get_peers() hands out; the list is made by the first who asks for it. */
struct snapshot {
    microlink_peer_t *list;
    size_t cap;
};

struct microlink {
    ml_port *port;
    microlink_config_t cfg; /**< Strings are our copies (see `strings`). */
    char *strings[6];
    microlink_state_t state; /**< As last told. */
    bool resetting;          /**< A factory reset waits for the log-out to end. */
    bool port_failed;
    uint32_t ip_id;
    uint32_t rx_dropped;
    size_t rx_head, rx_count, rx_cap;
    struct datagram **rx;
    struct snapshot *peers;
};

static ML_HOST_THREAD_LOCAL char init_error[200];

/* ---- Small translations ---- */

static esp_err_t translate(ml_err err)
{
    switch (err) {
    case ML_OK:
        return ESP_OK;
    case ML_ERR_ARG:
        return ESP_ERR_INVALID_ARG;
    case ML_ERR_FULL:
    case ML_ERR_NO_MEM:
        return ESP_ERR_NO_MEM;
    case ML_ERR_STATE:
        return ESP_ERR_INVALID_STATE;
    case ML_ERR_NOT_FOUND:
    case ML_ERR_NO_PATH:
        return ESP_ERR_NOT_FOUND;
    case ML_ERR_UNSUPPORTED:
        return ESP_ERR_NOT_SUPPORTED;
    default:
        return ESP_FAIL;
    }
}

const char *ml_node_strerror(esp_err_t err)
{
    switch (err) {
    case ESP_OK:
        return "done";
    case ESP_ERR_NO_MEM:
        return "no memory or queue space left; try again after microlink_update()";
    case ESP_ERR_INVALID_ARG:
        return "an argument is missing or out of range";
    case ESP_ERR_INVALID_STATE:
        return "not connected to the tailnet";
    case ESP_ERR_INVALID_SIZE:
        return "the data is too long, or the buffer too short";
    case ESP_ERR_NOT_FOUND:
        return "there is none";
    case ESP_ERR_NOT_SUPPORTED:
        return "not built into this port";
    case ESP_ERR_TIMEOUT:
        return "no answer in time";
    default:
        return "failed; microlink_get_problem() has the reason";
    }
}

/* Questions change nothing, but the port hands out its engine without const. */
static ml_engine *engine_of(const microlink_t *ml)
{
    return ml_port_engine(ml->port);
}

/** False for NULL, and after a factory reset that could not open the port again. */
static bool usable(const microlink_t *ml)
{
    return ml != NULL && ml->port != NULL;
}

/* Never inlined: a call is shorter than this division. */
__attribute__((noinline)) static uint32_t to_ms(ml_time t)
{
    ml_time ms = (t + 500) / 1000;
    return ms >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)ms;
}

static void translate_endpoint(microlink_endpoint_t *out, const ml_addr *a)
{
    *out = (microlink_endpoint_t){.port = a->port};
    if (ml_ip_is4(&a->ip)) {
        memcpy(&out->addr.ip4, a->ip.b + 12, 4);
    } else {
        memcpy(out->addr.ip6, a->ip.b, 16);
        out->is_ipv6 = 1;
    }
}

static void translate_peer(microlink_peer_t *out, const ml_peer_info *in, ml_time now)
{
    *out = (microlink_peer_t){.node_id = (uint32_t)in->node_id, .vpn_ip = ml_ip4_to_u32(&in->ip4), .best_endpoint_idx = 0xff};
    ml_str_set(out->hostname, sizeof out->hostname, in->hostname);
    memcpy(out->public_key, in->node_key.b, 32);
    memcpy(out->disco_key, in->disco_key.b, 32);
    for (size_t i = 0; i < in->endpoint_count && out->endpoint_count < MICROLINK_MAX_ENDPOINTS; i++) {
        if (ml_addr_equal(&in->endpoints[i], &in->direct)) {
            out->best_endpoint_idx = out->endpoint_count;
        }
        translate_endpoint(&out->endpoints[out->endpoint_count++], &in->endpoints[i]);
    }
    out->using_derp = !ml_addr_is_set(&in->direct);
    if (out->using_derp && in->home_region != 0 && out->endpoint_count < MICROLINK_MAX_ENDPOINTS) {
        out->best_endpoint_idx = out->endpoint_count;
        out->endpoints[out->endpoint_count++] = (microlink_endpoint_t){.port = in->home_region, .is_derp = 1};
    }
    out->latency_ms = in->latency ? to_ms(in->latency) : MICROLINK_LATENCY_UNKNOWN;
    out->last_seen_ms = in->last_rx_at ? to_ms(now - in->last_rx_at) : UINT32_MAX;
}

static microlink_state_t state_of(const microlink_t *ml)
{
    ml_engine *e = engine_of(ml);
    switch (ml_get_state(e)) {
    case ML_STATE_STOPPED:
        return MICROLINK_STATE_IDLE;
    case ML_STATE_CONNECTING:
        return MICROLINK_STATE_REGISTERING;
    case ML_STATE_NEEDS_LOGIN:
        /* With a URL a user can help; without one only the program can, with another key. */
        return ml_get_login_url(e)[0] || !ml_get_problem(e)[0] ? MICROLINK_STATE_REGISTERING : MICROLINK_STATE_ERROR;
    case ML_STATE_NEEDS_APPROVAL:
    case ML_STATE_STARTING:
        return MICROLINK_STATE_FETCHING_PEERS;
    case ML_STATE_RUNNING:
        break;
    }
    if (ml_node_get_vpn_ip(ml) == 0) {
        return MICROLINK_STATE_CONFIGURING_WG;
    }
    ml_peer_info peer;
    ml_time now = ml_port_now(ml->port);
    for (size_t i = 0; i < ml_get_peer_count(e); i++) {
        if (ml_get_peer(e, now, i, &peer) == ML_OK && peer.has_session) {
            return MICROLINK_STATE_MONITORING;
        }
    }
    return MICROLINK_STATE_CONNECTED;
}

/* ---- Events ---- */

static void emit(microlink_t *ml, microlink_event_t ev)
{
    ev.text = ev.text ? ev.text : "";
    ev.state = ml->state;
    if (ml->cfg.on_event != NULL) {
        ml->cfg.on_event(ml->cfg.event_ctx, &ev);
    }
    ml_host_event(&ev);
}

static bool connected_state(microlink_state_t s)
{
    return s == MICROLINK_STATE_CONNECTED || s == MICROLINK_STATE_MONITORING;
}

static void notice_state(microlink_t *ml)
{
    microlink_state_t old = ml->state, now = state_of(ml);
    if (old == now) {
        return;
    }
    ml->state = now;
    emit(ml, (microlink_event_t){.type = MICROLINK_EVENT_STATE});
    if (ml->cfg.on_state_change != NULL) {
        ml->cfg.on_state_change(old, now);
    }
    if (connected_state(now) && !connected_state(old) && ml->cfg.on_connected != NULL) {
        ml->cfg.on_connected();
    }
    if (!connected_state(now) && connected_state(old) && ml->cfg.on_disconnected != NULL) {
        ml->cfg.on_disconnected();
    }
}

static bool peer_by_id(const microlink_t *ml, uint64_t id, ml_peer_info *out)
{
    ml_time now = ml_port_now(ml->port);
    size_t count = ml_get_peer_count(engine_of(ml));
    for (size_t i = 0; i < count; i++) {
        if (ml_get_peer(engine_of(ml), now, i, out) == ML_OK && out->node_id == id) {
            return true;
        }
    }
    return false;
}

static void on_peer_event(microlink_t *ml, const ml_event *in)
{
    ml_peer_info info;
    bool known = in->type != ML_EV_PEER_REMOVED && peer_by_id(ml, in->node_id, &info);
    microlink_event_t ev = {.type = MICROLINK_EVENT_PEER_CHANGED, .node_id = (uint32_t)in->node_id};
    ev.peer_ip = known ? ml_ip4_to_u32(&info.ip4) : 0;
    if (in->type == ML_EV_PEER_ADDED) {
        ev.type = MICROLINK_EVENT_PEER_ADDED;
        if (known && ml->cfg.on_peer_added != NULL) {
            microlink_peer_t peer;
            translate_peer(&peer, &info, ml_port_now(ml->port));
            ml->cfg.on_peer_added(&peer);
        }
    } else if (in->type == ML_EV_PEER_REMOVED) {
        ev.type = MICROLINK_EVENT_PEER_REMOVED;
        if (ml->cfg.on_peer_removed != NULL) {
            ml->cfg.on_peer_removed(ev.node_id);
        }
    }
    emit(ml, ev);
}

static void on_rejected(microlink_t *ml, const ml_event *in)
{
    const char *text = "refused";
    switch (in->reject.reason) {
    case 'A':
        text = "the peer's access rules do not allow it";
        break;
    case 'S':
        text = "the peer refuses all connections (shields up)";
        break;
    case 'F':
        text = "the peer does not forward";
        break;
    case 'W':
        text = "the peer's host firewall refused it";
        break;
    default:
        break;
    }
    emit(ml,
         (microlink_event_t){
             .type = MICROLINK_EVENT_REJECTED, .peer_ip = ml_ip4_to_u32(&in->reject.dst.ip), .error = ESP_FAIL, .text = text});
}

static void on_event(void *ctx, const ml_event *in)
{
    microlink_t *ml = ctx;
    microlink_event_t ev = {0};
    switch (in->type) {
    case ML_EV_LOGIN_URL:
        ev.type = MICROLINK_EVENT_LOGIN_URL;
        ev.text = ml_get_login_url(engine_of(ml));
        if (ev.text[0]) { /* Else there is nothing to visit any more. */
            emit(ml, ev);
        }
        break;
    case ML_EV_PROBLEM:
        ev.type = MICROLINK_EVENT_PROBLEM;
        ev.text = ml_get_problem(engine_of(ml));
        ev.error = ev.text[0] ? ESP_FAIL : ESP_OK;
        emit(ml, ev);
        break;
    case ML_EV_PONG:
    case ML_EV_PING_FAILED:
        ev.type = in->type == ML_EV_PONG ? MICROLINK_EVENT_PONG : MICROLINK_EVENT_PING_FAILED;
        ev.peer_ip = in->ping.token;
        ev.node_id = (uint32_t)in->ping.node_id;
        ev.latency_ms = to_ms(in->ping.latency);
        ev.relayed = in->ping.derp_region != 0;
        if (in->type == ML_EV_PING_FAILED) {
            ev.error = in->ping.error == ML_OK ? ESP_ERR_TIMEOUT : translate(in->ping.error);
        }
        emit(ml, ev);
        break;
    case ML_EV_PEER_ADDED:
    case ML_EV_PEER_CHANGED:
    case ML_EV_PEER_REMOVED:
        on_peer_event(ml, in);
        break;
    case ML_EV_REJECTED:
        on_rejected(ml, in);
        break;
    case ML_EV_STATE:
    case ML_EV_SELF:
    case ML_EV_NETCHECK:
        break; /* notice_state() sees what matters after the step. */
    }
}

static void on_store_failed(void *ctx, ml_store_kind kind, const char *why)
{
    (void)kind;
    emit(ctx, (microlink_event_t){.type = MICROLINK_EVENT_STORE_FAILED, .error = ESP_FAIL, .text = why});
}

/* ---- Packets ---- */

static uint16_t data_port(const microlink_t *ml)
{
    return ml->cfg.data_port ? ml->cfg.data_port : MICROLINK_DATA_PORT;
}

static void enqueue(microlink_t *ml, uint32_t src, const uint8_t *data, size_t len)
{
    bool fits = ml->rx_count < ml->rx_cap && len <= MICROLINK_MAX_PAYLOAD;
    struct datagram *d = fits ? malloc(sizeof *d + len) : NULL;
    if (d == NULL) {
        ml->rx_dropped++;
        return;
    }
    d->src = src;
    d->len = (uint16_t)len;
    if (len > 0) {
        memcpy(d->data, data, len);
    }
    ml->rx[(ml->rx_head + ml->rx_count++) % ml->rx_cap] = d;
    if (ml->rx_count == 1) {
        emit(ml, (microlink_event_t){.type = MICROLINK_EVENT_DATA, .peer_ip = src});
    }
}

static void on_overlay(void *ctx, const uint8_t *packet, size_t len)
{
    microlink_t *ml = ctx;
    struct ml_ip_view v;
    ml_addr src, dst;
    const uint8_t *data;
    size_t data_len;
    ml_ip_view_parse(&v, packet, len);
    if (v.proto == ML_IPPROTO_UDP && ml_udp_parse(&v, &src, &dst, &data, &data_len) && dst.port == data_port(ml) &&
        ml_ip_is4(&src.ip)) {
        enqueue(ml, ml_ip4_to_u32(&src.ip), data, data_len);
        return;
    }
    if (!ml_host_input(packet, len) && ml_ip_view_is_echo_request(&v)) {
        uint8_t reply[ML_OVERLAY_MTU];
        size_t n = ml_icmp_build_echo_reply(reply, sizeof reply, &v);
        if (n > 0) {
            (void)ml_handle_overlay(engine_of(ml), ml_port_now(ml->port), reply, n);
        }
    }
}

esp_err_t ml_node_send(microlink_t *ml, uint32_t dest_vpn_ip, const uint8_t *data, size_t len)
{
    if (!usable(ml) || (data == NULL && len > 0) || dest_vpn_ip == 0) {
        return ESP_ERR_INVALID_ARG;
    }
    if (len > MICROLINK_MAX_PAYLOAD) {
        return ESP_ERR_INVALID_SIZE;
    }
    ml_self_info self;
    ml_get_self(engine_of(ml), &self);
    if (!ml_ip_is4(&self.ip4)) {
        return ESP_ERR_INVALID_STATE;
    }
    ml_addr src = {self.ip4, data_port(ml)}, dst = {ml_ip4_u32(dest_vpn_ip), data_port(ml)};
    uint8_t packet[ML_OVERLAY_MTU];
    size_t n = ml_udp_build(packet, sizeof packet, &src, &dst, data, len, ml->ip_id++ & 0xffff);
    ml_err err = ml_handle_overlay(engine_of(ml), ml_port_now(ml->port), packet, n);
    ml_port_flush(ml->port);
    return translate(err);
}

esp_err_t ml_node_receive(microlink_t *ml, uint32_t *src_vpn_ip, uint8_t *buffer, size_t *len)
{
    if (ml == NULL || len == NULL || (buffer == NULL && *len > 0)) {
        return ESP_ERR_INVALID_ARG;
    }
    if (ml->rx_count == 0) {
        return ESP_ERR_NOT_FOUND;
    }
    struct datagram *d = ml->rx[ml->rx_head];
    size_t room = *len;
    *len = d->len;
    if (src_vpn_ip != NULL) {
        *src_vpn_ip = d->src;
    }
    if (room < d->len) {
        return ESP_ERR_INVALID_SIZE;
    }
    if (d->len > 0) {
        memcpy(buffer, d->data, d->len);
    }
    free(d);
    ml->rx_head = (ml->rx_head + 1) % ml->rx_cap;
    ml->rx_count--;
    return ESP_OK;
}

/* ---- Life ---- */

void ml_node_get_default_config(microlink_config_t *config)
{
    *config = (microlink_config_t){.enable_derp = true, .enable_disco = true, .enable_stun = true};
    config->max_peers = DEFAULT_MAX_PEERS;
    config->heartbeat_interval_ms = DEFAULT_HEARTBEAT;
    config->log_level = ML_LOG_WARN;
    ml_host_defaults(config);
}

/** Replaces the strings of the configuration by copies. */
static bool copy_strings(microlink_t *ml)
{
    microlink_config_t *c = &ml->cfg;
    const char **at[] = {&c->auth_key, &c->device_name, &c->control_url, &c->control_key, &c->ca_file, &c->state_path};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        if (*at[i] != NULL) {
            size_t n = strlen(*at[i]) + 1;
            ml->strings[i] = malloc(n);
            if (ml->strings[i] == NULL) {
                *at[i] = NULL;
                return false;
            }
            memcpy(ml->strings[i], *at[i], n);
            *at[i] = ml->strings[i];
        }
    }
    return true;
}

static ml_err on_load(void *ctx, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len)
{
    const microlink_t *ml = ctx;
    *len = cap;
    esp_err_t err = ml->cfg.storage.load(ml->cfg.storage.ctx, (microlink_record_t)kind, buf, len);
    if (err == ESP_ERR_NOT_FOUND || (err == ESP_OK && *len == 0)) {
        return ML_ERR_NOT_FOUND;
    }
    if (err != ESP_OK) {
        return ML_ERR_STATE;
    }
    return *len <= cap ? ML_OK : ML_ERR_CORRUPT;
}

static ml_err on_save(void *ctx, ml_store_kind kind, const uint8_t *buf, size_t len, char *why, size_t why_cap)
{
    const microlink_t *ml = ctx;
    esp_err_t err = ml->cfg.storage.save(ml->cfg.storage.ctx, (microlink_record_t)kind, buf, len);
    if (err != ESP_OK) {
        static const char text[] = "the storage hook could not save";
        ml_str_copy(why, why_cap, text, sizeof text - 1);
        return ML_ERR_NO_MEM;
    }
    return ML_OK;
}

static void on_log(void *ctx, ml_log_level level, const char *line)
{
    const microlink_t *ml = ctx;
    ml->cfg.on_log(ml->cfg.log_ctx, (int)level, line);
}

static ml_err open_port(microlink_t *ml, char *why, size_t why_cap)
{
    const microlink_config_t *c = &ml->cfg;
    ml_port_config pc = {0};
    pc.engine.control_url = c->control_url;
    pc.engine.auth_key = c->auth_key;
    pc.engine.hostname = c->device_name;
    pc.engine.control_key = c->control_key;
    pc.engine.max_peers = c->max_peers;
    pc.engine.no_derp = !c->enable_derp;
    pc.engine.no_disco = !c->enable_disco;
    pc.engine.no_stun = !c->enable_stun;
    pc.engine.ephemeral = c->ephemeral;
    pc.engine.shields_up = c->shields_up;
    pc.engine.log_level = (ml_log_level)(c->log_level > ML_LOG_TRACE ? ML_LOG_TRACE : c->log_level);
    pc.engine.log = c->on_log ? on_log : NULL;
    pc.engine.log_ctx = ml;
    pc.udp_port = c->udp_port;
    pc.ca_file = c->ca_file;
    pc.ca_pem = c->ca_pem;
    pc.state_path = c->state_path;
    if (c->storage.load != NULL && c->storage.save != NULL) {
        pc.storage = (ml_port_storage){.ctx = ml, .load = on_load, .save = on_save};
    }
    pc.sink = (ml_port_sink){.ctx = ml, .overlay = on_overlay, .event = on_event, .store_failed = on_store_failed};
    return ml_port_open(&ml->port, &pc, why, why_cap);
}

void ml_node_set_init_error(const char *why)
{
    ml_str_set(init_error, sizeof init_error, why);
}

microlink_t *ml_node_init(const microlink_config_t *config)
{
    init_error[0] = 0;
    microlink_t *ml = config ? calloc(1, sizeof *ml) : NULL;
    if (ml == NULL) {
        ml_node_set_init_error("no configuration given, or no memory");
        return NULL;
    }
    ml->cfg = *config;
    ml->rx_cap = config->rx_queue_len ? config->rx_queue_len : DEFAULT_RX_QUEUE;
    bool ok = copy_strings(ml);
    ml->rx = calloc(ml->rx_cap, sizeof(struct datagram *));
    ml->peers = calloc(1, sizeof *ml->peers);
    if (!ok || ml->rx == NULL || ml->peers == NULL) {
        ml_node_set_init_error("no memory for the configuration and the receive queue");
        ml_node_deinit(ml);
        return NULL;
    }
    ml->peers->cap = config->max_peers ? config->max_peers : DEFAULT_MAX_PEERS;
    if (open_port(ml, init_error, sizeof init_error) != ML_OK) {
        ml_node_deinit(ml);
        return NULL;
    }
    return ml;
}

const char *ml_node_get_init_error(void)
{
    return init_error;
}

void ml_node_deinit(microlink_t *ml)
{
    if (ml == NULL) {
        return;
    }
    if (ml->port != NULL) {
        if (ml_get_state(engine_of(ml)) != ML_STATE_STOPPED) {
            (void)ml_stop(engine_of(ml), ml_port_now(ml->port));
            ml_port_flush(ml->port);
        }
        ml_port_close(ml->port);
    }
    for (size_t i = 0; i < sizeof ml->strings / sizeof *ml->strings; i++) {
        if (ml->strings[i] != NULL) {
            /* The first one is a secret; volatile keeps the compiler from leaving the wipe out. */
            for (volatile char *p = ml->strings[i]; *p; p++) {
                *p = 0;
            }
            free(ml->strings[i]);
        }
    }
    for (size_t i = 0; i < ml->rx_count; i++) {
        free(ml->rx[(ml->rx_head + i) % ml->rx_cap]);
    }
    free(ml->rx);
    if (ml->peers != NULL) {
        free(ml->peers->list);
    }
    free(ml->peers);
    free(ml);
}

esp_err_t ml_node_connect(microlink_t *ml)
{
    if (!usable(ml)) {
        return ESP_ERR_INVALID_ARG;
    }
    esp_err_t err = translate(ml_start(engine_of(ml), ml_port_now(ml->port)));
    if (err == ESP_OK) {
        ml_port_flush(ml->port);
        notice_state(ml);
    }
    return err;
}

esp_err_t ml_node_disconnect(microlink_t *ml)
{
    if (!usable(ml)) {
        return ESP_ERR_INVALID_ARG;
    }
    esp_err_t err = translate(ml_stop(engine_of(ml), ml_port_now(ml->port)));
    ml_port_flush(ml->port);
    notice_state(ml);
    return err;
}

/** The second half of a factory reset, once control knows or cannot be told. */
static esp_err_t finish_reset(microlink_t *ml)
{
    char why[200];
    ml->resetting = false;
    esp_err_t err = translate(ml_port_erase(ml->port));
    ml_port_close(ml->port);
    ml->port = NULL;
    if (open_port(ml, why, sizeof why) != ML_OK) {
        /* Without a port nothing can be asked; the caller is told by this and every later call. */
        ml->port_failed = true;
        return ESP_FAIL;
    }
    notice_state(ml);
    return err;
}

esp_err_t ml_node_factory_reset(microlink_t *ml)
{
    if (!usable(ml)) {
        return ESP_ERR_INVALID_ARG;
    }
    /* A thread that drives may be waiting inside the port, which must not be closed under it: then the next step does it. */
    if (ml_logout(engine_of(ml), ml_port_now(ml->port)) != ML_OK && !ml_host_drives()) {
        return finish_reset(ml);
    }
    ml->resetting = true;
    ml_port_flush(ml->port);
    return ESP_OK;
}

esp_err_t ml_node_step(microlink_t *ml, ml_time until)
{
    if (ml == NULL) {
        return ESP_ERR_INVALID_ARG;
    }
    if (ml->port == NULL) {
        return ESP_FAIL;
    }
    ml_err err = ml_port_step(ml->port, until);
    if (ml->resetting) {
        ml_state s = ml_get_state(engine_of(ml));
        if (s == ML_STATE_STOPPED || s == ML_STATE_NEEDS_LOGIN) {
            return finish_reset(ml);
        }
    }
    notice_state(ml);
    return err == ML_OK ? ESP_OK : ESP_FAIL;
}

esp_err_t ml_node_rebind(microlink_t *ml)
{
    if (!usable(ml)) {
        return ESP_ERR_INVALID_ARG;
    }
    ml_port_rebind(ml->port);
    ml_port_flush(ml->port);
    return ESP_OK;
}

/* ---- Questions ---- */

bool ml_node_is_connected(const microlink_t *ml)
{
    return ml != NULL && connected_state(ml->state);
}

microlink_state_t ml_node_get_state(const microlink_t *ml)
{
    return ml ? ml->state : MICROLINK_STATE_IDLE;
}

uint32_t ml_node_get_vpn_ip(const microlink_t *ml)
{
    if (!usable(ml)) {
        return 0;
    }
    ml_self_info self;
    ml_get_self(engine_of(ml), &self);
    return ml_ip4_to_u32(&self.ip4);
}

esp_err_t ml_node_get_peers(const microlink_t *ml, const microlink_peer_t **peers, uint8_t *count)
{
    if (!usable(ml) || peers == NULL || count == NULL) {
        return ESP_ERR_INVALID_ARG;
    }
    struct snapshot *snap = ml->peers;
    if (snap->list == NULL && (snap->list = calloc(snap->cap, sizeof *snap->list)) == NULL) {
        return ESP_ERR_NO_MEM;
    }
    size_t n = 0, all = ml_get_peer_count(engine_of(ml));
    ml_time now = ml_port_now(ml->port);
    for (size_t i = 0; i < all && n < snap->cap; i++) {
        ml_peer_info info;
        if (ml_get_peer(engine_of(ml), now, i, &info) == ML_OK) {
            translate_peer(&snap->list[n++], &info, now);
        }
    }
    *peers = snap->list;
    *count = (uint8_t)n;
    return ESP_OK;
}

esp_err_t ml_node_get_stats(const microlink_t *ml, microlink_stats_t *stats)
{
    if (!usable(ml) || stats == NULL) {
        return ESP_ERR_INVALID_ARG;
    }
    ml_stats s;
    uint64_t dropped = ml->rx_dropped;
    ml_get_stats(engine_of(ml), &s);
    for (size_t i = 0; i < ML_DROP_COUNT; i++) {
        dropped += s.drop[i];
    }
    *stats = (microlink_stats_t){
        .bytes_sent = s.overlay_tx_bytes,
        .bytes_received = s.overlay_rx_bytes,
        .packets_sent = (uint32_t)s.overlay_tx_packets,
        .packets_received = (uint32_t)s.overlay_rx_packets,
        .packets_dropped = (uint32_t)dropped,
        .handshakes_completed = (uint32_t)s.handshakes,
        .derp_packets_relayed = (uint32_t)(s.derp_tx_packets + s.derp_rx_packets),
        .direct_packets_sent = (uint32_t)s.direct_tx_packets,
    };
    return ESP_OK;
}

uint32_t ml_node_get_peer_latency(const microlink_t *ml, uint32_t peer_vpn_ip)
{
    ml_peer_info info;
    ml_ip ip = ml_ip4_u32(peer_vpn_ip);
    if (!usable(ml) || ml_get_peer_by_ip(engine_of(ml), ml_port_now(ml->port), &ip, &info) != ML_OK || info.latency == 0) {
        return MICROLINK_LATENCY_UNKNOWN;
    }
    return to_ms(info.latency);
}

char *ml_node_vpn_ip_to_str(uint32_t vpn_ip, char *buf)
{
    struct ml_writer w = ml_writer_of((uint8_t *)buf, 16);
    ml_ip ip = ml_ip4_u32(vpn_ip);
    ml_write_ip(&w, &ip);
    ml_write_end_str(&w);
    return buf;
}

esp_err_t ml_node_ping(microlink_t *ml, uint32_t peer_vpn_ip)
{
    if (!usable(ml)) {
        return ESP_ERR_INVALID_ARG;
    }
    ml_ip ip = ml_ip4_u32(peer_vpn_ip);
    ml_err err = ml_ping(engine_of(ml), ml_port_now(ml->port), &ip, ML_PING_DISCO, peer_vpn_ip);
    ml_port_flush(ml->port);
    return translate(err);
}

esp_err_t ml_node_resolve(const microlink_t *ml, const char *name, uint32_t *vpn_ip)
{
    if (!usable(ml) || name == NULL || vpn_ip == NULL) {
        return ESP_ERR_INVALID_ARG;
    }
    ml_peer_info info;
    ml_ip literal;
    ml_err err = ml_ip_parse(name, strlen(name), &literal)
                     ? ml_get_peer_by_ip(engine_of(ml), ml_port_now(ml->port), &literal, &info)
                     : ml_get_peer_by_name(engine_of(ml), ml_port_now(ml->port), name, &info);
    if (err == ML_OK && !ml_ip_is4(&info.ip4)) {
        err = ML_ERR_NOT_FOUND;
    }
    if (err == ML_OK) {
        *vpn_ip = ml_ip4_to_u32(&info.ip4);
    }
    return translate(err);
}

const char *ml_node_get_login_url(const microlink_t *ml)
{
    return usable(ml) ? ml_get_login_url(engine_of(ml)) : "";
}

uint64_t ml_node_get_key_expiry(const microlink_t *ml)
{
    if (!usable(ml)) {
        return 0;
    }
    ml_self_info self;
    ml_get_self(engine_of(ml), &self);
    return self.key_expiry_unix;
}

const char *ml_node_get_problem(const microlink_t *ml)
{
    if (ml == NULL) {
        return "";
    }
    return ml->port_failed ? "opening failed after the factory reset; restart the program" : ml_get_problem(engine_of(ml));
}

size_t ml_node_get_fds(const microlink_t *ml, microlink_fd_t *fds, size_t cap)
{
    ml_port_fd port_fds[128];
    size_t n = usable(ml) ? ml_port_get_fds(ml->port, port_fds, sizeof port_fds / sizeof *port_fds) : 0;
    for (size_t i = 0; i < n && i < cap && i < sizeof port_fds / sizeof *port_fds; i++) {
        fds[i] = (microlink_fd_t){port_fds[i].fd, port_fds[i].events};
    }
    return n;
}

uint32_t ml_node_get_timeout(const microlink_t *ml)
{
    if (!usable(ml)) {
        return UINT32_MAX;
    }
    ml_time at = ml_port_deadline(ml->port), now = ml_port_now(ml->port);
    uint32_t ms = UINT32_MAX;
    if (at != ML_NEVER) {
        ml_time left = at > now ? (at - now + 999) / 1000 : 0; /* Rounded up: a wait that is too short would be repeated. */
        ms = left >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)left;
    }
    uint32_t bound = ml->cfg.heartbeat_interval_ms;
    return bound != 0 && ms > bound ? bound : ms;
}
