/*
 * Answers of the control socket in the official form: field names and meaning of ipn/ipnstate.Status, PeerStatus and
 * PingResult, apitype.WhoIsResponse, ipn.Prefs (v1.102.3). What this node does not have is left at its zero value.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "base/key.h"
#include "daemon.h"
#include "microlink/version.h"
#include "json/json_write.h"

#include <string.h>
#include <time.h>

/** Room that one peer can need, names escaped to six times their length included; a piece ends before it runs short. */
#define PEER_ROOM 6144

typedef struct ml_json_writer json;

const char *ml_backend_state(const struct ml_daemon *d)
{
    if (d->logged_out && ml_get_state(d->engine) == ML_STATE_STOPPED) {
        return "NeedsLogin";
    }
    if (!d->want_running) {
        return "Stopped";
    }
    switch (ml_get_state(d->engine)) {
    case ML_STATE_STOPPED:
        return "Stopped";
    case ML_STATE_NEEDS_LOGIN:
        return "NeedsLogin";
    case ML_STATE_NEEDS_APPROVAL:
        return "NeedsMachineAuth";
    case ML_STATE_RUNNING:
        return "Running";
    default:
        return "Starting";
    }
}

void ml_daemon_region_code(struct ml_daemon *d, uint16_t id, char code[16])
{
    ml_region_info r;
    code[0] = 0;
    for (size_t i = 0; id != 0 && i < ml_get_region_count(d->engine); i++) {
        if (ml_get_region(d->engine, i, &r) == ML_OK && r.id == id) {
            ml_str_set(code, 16, r.code);
            return;
        }
    }
}

/** Our own node in the form of a peer. */
static void self_as_peer(const ml_self_info *s, ml_peer_info *p)
{
    memset(p, 0, sizeof *p);
    p->node_id = s->node_id;
    p->user_id = s->user_id;
    ml_str_set(p->name, sizeof p->name, s->name);
    size_t label = strcspn(s->name, ".");
    ml_str_copy(p->hostname, sizeof p->hostname, label ? s->name : s->hostname, label ? label : strlen(s->hostname));
    strcpy(p->os, "linux");
    p->ip4 = s->ip4;
    p->ip6 = s->ip6;
    p->node_key = s->node_key;
    p->disco_key = s->disco_key;
    memcpy(p->endpoints, s->endpoints, sizeof p->endpoints);
    p->endpoint_count = s->endpoint_count;
    p->home_region = s->home_region;
    p->is_expired = s->is_expired;
}

bool ml_daemon_peer_by_ip(struct ml_daemon *d, const ml_ip *ip, ml_peer_info *out, bool *is_self)
{
    ml_self_info self;
    ml_get_self(d->engine, &self);
    *is_self = ml_ip_is_set(ip) && (ml_ip_equal(ip, &self.ip4) || ml_ip_equal(ip, &self.ip6));
    if (*is_self) {
        self_as_peer(&self, out);
        return true;
    }
    return ml_get_peer_by_ip(d->engine, ml_sys_now(), ip, out) == ML_OK;
}

bool ml_daemon_peer_by_text(struct ml_daemon *d, const char *text, ml_peer_info *out, bool *is_self)
{
    ml_ip ip;
    ml_self_info self;
    *is_self = false;
    if (ml_ip_parse(text, strlen(text), &ip)) {
        return ml_daemon_peer_by_ip(d, &ip, out, is_self);
    }
    if (ml_get_peer_by_name(d->engine, ml_sys_now(), text, out) == ML_OK) {
        return true;
    }
    ml_get_self(d->engine, &self);
    size_t n = strlen(text), label = strcspn(self.name, ".");
    *is_self = n > 0 && (strcmp(text, self.name) == 0 || (n == label && memcmp(text, self.name, n) == 0) ||
                         (n + 1 == strlen(self.name) && memcmp(text, self.name, n) == 0));
    if (*is_self) {
        self_as_peer(&self, out);
    }
    return *is_self;
}

/* ---- Pieces ---- */

/** RFC 3339 of an instant on the monotonic clock; Go's zero time when @p at is 0. */
static void field_time(json *j, const char *key, ml_time at)
{
    uint64_t wall = ml_sys_wall_ms();
    char text[40] = "0001-01-01T00:00:00Z";
    if (at != 0 && wall != 0) {
        time_t t = (time_t)((wall - (ml_sys_now() - at) / 1000) / 1000);
        struct tm tm;
        if (gmtime_r(&t, &tm) != NULL) {
            strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
        }
    }
    ml_json_field_str(j, key, text);
}

static void field_unix(json *j, const char *key, uint64_t seconds)
{
    char text[40];
    time_t t = (time_t)seconds;
    struct tm tm;
    if (seconds != 0 && gmtime_r(&t, &tm) != NULL && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0) {
        ml_json_field_str(j, key, text);
    }
}

static void field_key(json *j, const char *key, const char *prefix, const uint8_t b[32])
{
    ml_json_write_key(j, key);
    ml_json_write_text_begin(j);
    ml_write_key(j->w, prefix, b);
    ml_json_write_text_end(j);
}

static void text_ip(json *j, const ml_ip *ip, bool prefix)
{
    ml_json_write_text_begin(j);
    ml_write_ip(j->w, ip);
    if (prefix) {
        ml_write_str(j->w, ml_ip_is4(ip) ? "/32" : "/128");
    }
    ml_json_write_text_end(j);
}

/** A list of the one or two addresses; null when there is none, as Go prints a nil slice. */
static void field_ips(json *j, const char *key, const ml_ip *ip4, const ml_ip *ip6, bool prefix)
{
    ml_json_write_key(j, key);
    if (!ml_ip_is_set(ip4) && !ml_ip_is_set(ip6)) {
        ml_json_write_null(j);
        return;
    }
    ml_json_write_array_begin(j);
    if (ml_ip_is_set(ip4)) {
        text_ip(j, ip4, prefix);
    }
    if (ml_ip_is_set(ip6)) {
        text_ip(j, ip6, prefix);
    }
    ml_json_write_array_end(j);
}

static void field_addrs(json *j, const char *key, const ml_addr *a, size_t count)
{
    ml_json_write_key(j, key);
    if (count == 0) {
        ml_json_write_null(j);
        return;
    }
    ml_json_write_array_begin(j);
    for (size_t i = 0; i < count; i++) {
        ml_json_write_text_begin(j);
        ml_write_addr(j->w, &a[i]);
        ml_json_write_text_end(j);
    }
    ml_json_write_array_end(j);
}

/** The stable id is a text of control that the engine does not keep: the node number stands in. */
static void field_stable_id(json *j, const char *key, uint64_t node_id)
{
    ml_json_write_key(j, key);
    ml_json_write_text_begin(j);
    ml_write_dec(j->w, node_id);
    ml_json_write_text_end(j);
}

/** The suffix of all names of this tailnet: our own name without its first label and the dot at the end. */
static void magic_suffix(const ml_self_info *s, char *out, size_t cap)
{
    const char *dot = strchr(s->name, '.');
    size_t n = dot ? strlen(dot + 1) : 0;
    while (n > 0 && dot[n] == '.') {
        n--;
    }
    ml_str_copy(out, cap, dot ? dot + 1 : "", n);
}

static void write_peer(struct ml_daemon *d, json *j, const ml_peer_info *p, bool is_self)
{
    char code[16];
    ml_daemon_region_code(d, p->home_region, code);
    ml_json_write_object_begin(j);
    field_stable_id(j, "ID", p->node_id);
    ml_json_field_u64(j, "NodeID", p->node_id);
    field_key(j, "PublicKey", ML_KEY_PREFIX_NODE, p->node_key.b);
    ml_json_field_str(j, "HostName", p->hostname);
    ml_json_field_str(j, "DNSName", p->name);
    ml_json_field_str(j, "OS", p->os);
    ml_json_field_u64(j, "UserID", p->user_id);
    field_ips(j, "TailscaleIPs", &p->ip4, &p->ip6, false);
    field_ips(j, "AllowedIPs", &p->ip4, &p->ip6, true);
    field_addrs(j, "Addrs", p->endpoints, p->endpoint_count);
    ml_json_write_key(j, "CurAddr");
    ml_json_write_text_begin(j);
    if (ml_addr_is_set(&p->direct)) {
        ml_write_addr(j->w, &p->direct);
    }
    ml_json_write_text_end(j);
    ml_json_field_str(j, "Relay", code);
    ml_json_field_str(j, "PeerRelay", "");
    ml_json_field_u64(j, "RxBytes", p->rx_bytes);
    ml_json_field_u64(j, "TxBytes", p->tx_bytes);
    field_time(j, "Created", 0);
    field_time(j, "LastWrite", 0);
    field_time(j, "LastSeen", 0);
    field_time(j, "LastHandshake", p->last_handshake_at);
    ml_json_field_bool(j, "Online", is_self ? ml_get_state(d->engine) == ML_STATE_RUNNING : p->is_online_known && p->is_online);
    ml_json_field_bool(j, "ExitNode", false);
    ml_json_field_bool(j, "ExitNodeOption", false);
    ml_json_field_bool(j, "Active", p->is_active);
    ml_json_write_key(j, "PeerAPIURL");
    ml_json_write_null(j);
    ml_json_field_u64(j, "TaildropTarget", 0);
    ml_json_field_str(j, "NoFileSharingReason", "");
    ml_json_field_bool(j, "InNetworkMap", true);
    ml_json_field_bool(j, "InMagicSock", !is_self);
    ml_json_field_bool(j, "InEngine", p->has_session);
    if (p->is_expired) {
        ml_json_field_bool(j, "Expired", true);
    }
    if (is_self) {
        ml_self_info s;
        ml_get_self(d->engine, &s);
        field_unix(j, "KeyExpiry", s.key_expiry_unix);
    }
    ml_json_write_object_end(j);
}

static void write_user(json *j, const ml_self_info *s)
{
    ml_json_write_key(j, "User");
    ml_json_write_object_begin(j);
    if (s->user_id != 0) {
        char id[24];
        struct ml_writer w = ml_writer_of((uint8_t *)id, sizeof id);
        ml_write_dec(&w, s->user_id);
        ml_json_write_key(j, ml_write_end_str(&w));
        ml_json_write_object_begin(j);
        ml_json_field_u64(j, "ID", s->user_id);
        ml_json_field_str(j, "LoginName", s->user_login);
        ml_json_field_str(j, "DisplayName", s->user_login);
        ml_json_write_object_end(j);
    }
    ml_json_write_object_end(j);
}

/** Everything in front of the peers; leaves the outer object open. */
static void write_head(struct ml_daemon *d, json *j)
{
    ml_self_info s;
    ml_peer_info self;
    char suffix[ML_NAME_CAP];
    ml_get_self(d->engine, &s);
    self_as_peer(&s, &self);
    magic_suffix(&s, suffix, sizeof suffix);
    ml_json_write_object_begin(j);
    ml_json_field_str(j, "Version", MICROLINK_VERSION "-microlink");
    ml_json_field_bool(j, "TUN", d->tun.fd >= 0);
    ml_json_field_str(j, "BackendState", ml_backend_state(d));
    ml_json_field_bool(j, "HaveNodeKey", ml_key_is_set(&s.node_key));
    ml_json_field_str(j, "AuthURL", ml_get_login_url(d->engine));
    field_ips(j, "TailscaleIPs", &s.ip4, &s.ip6, false);
    ml_json_write_key(j, "Self");
    write_peer(d, j, &self, true);
    ml_json_write_key(j, "Health");
    ml_json_write_array_begin(j);
    const char *problem = ml_get_problem(d->engine);
    if (problem[0]) {
        ml_json_write_str(j, problem);
    }
    if (d->problem[0]) {
        ml_json_write_str(j, d->problem);
    }
    ml_json_write_array_end(j);
    /* Ours: what went nowhere and why, the limits that were reached among it. */
    ml_stats st;
    ml_get_stats(d->engine, &st);
    ml_json_write_key(j, "Dropped");
    ml_json_write_object_begin(j);
    for (int i = ML_DROP_NONE + 1; i < ML_DROP_COUNT; i++) {
        if (st.drop[i] != 0) {
            ml_json_field_u64(j, ml_drop_text((ml_drop)i), st.drop[i]);
        }
    }
    ml_json_write_object_end(j);
    ml_json_field_str(j, "MagicDNSSuffix", suffix);
    ml_json_write_key(j, "CurrentTailnet");
    if (s.name[0]) {
        ml_json_write_object_begin(j);
        ml_json_field_str(j, "Name", s.domain);
        ml_json_field_str(j, "MagicDNSSuffix", suffix);
        ml_json_field_bool(j, "MagicDNSEnabled", false);
        ml_json_write_object_end(j);
    } else {
        ml_json_write_null(j);
    }
    ml_json_write_key(j, "CertDomains");
    ml_json_write_null(j);
    write_user(j, &s);
    ml_json_write_key(j, "ClientVersion");
    ml_json_write_null(j);
}

bool ml_json_status_no_peers(void *daemon, uint64_t *cursor, struct ml_writer *w)
{
    *cursor = 1;
    json j = ml_json_writer_of(w);
    write_head(daemon, &j);
    ml_json_write_key(&j, "Peer");
    ml_json_write_null(&j);
    ml_json_write_object_end(&j);
    ml_write_str(w, "\n");
    return false;
}

/** Piece 0 is the head, piece n+1 begins with peer n. Peers that come or go between two pieces may be missed or doubled. */
bool ml_json_status(void *daemon, uint64_t *cursor, struct ml_writer *w)
{
    struct ml_daemon *d = daemon;
    json j = ml_json_writer_of(w);
    size_t count = ml_get_peer_count(d->engine);
    if (*cursor == 0) {
        write_head(d, &j);
        ml_json_write_key(&j, "Peer");
        ml_json_write_object_begin(&j);
        *cursor = 1;
        return true;
    }
    bool first = *cursor == 1;
    while (*cursor - 1 < count && w->cap - w->len > PEER_ROOM) {
        ml_peer_info p;
        if (ml_get_peer(d->engine, ml_sys_now(), (size_t)(*cursor - 1), &p) == ML_OK) {
            char key[ML_KEY_TEXT_CAP];
            struct ml_writer kw = ml_writer_of((uint8_t *)key, sizeof key);
            ml_write_key(&kw, ML_KEY_PREFIX_NODE, p.node_key.b);
            j.need_comma = !first;
            ml_json_write_key(&j, ml_write_end_str(&kw));
            write_peer(d, &j, &p, false);
            first = false;
        }
        (*cursor)++;
    }
    if (*cursor - 1 < count) {
        return true;
    }
    ml_write_str(w, "}}\n");
    return false;
}

void ml_json_whois(struct ml_daemon *d, const ml_peer_info *p, struct ml_writer *w)
{
    json j = ml_json_writer_of(w);
    ml_self_info s;
    ml_get_self(d->engine, &s);
    bool same_user = p->user_id == s.user_id;
    ml_json_write_object_begin(&j);
    ml_json_write_key(&j, "Node");
    ml_json_write_object_begin(&j);
    ml_json_field_u64(&j, "ID", p->node_id);
    field_stable_id(&j, "StableID", p->node_id);
    ml_json_field_str(&j, "Name", p->name);
    ml_json_field_u64(&j, "User", p->user_id);
    field_key(&j, "Key", ML_KEY_PREFIX_NODE, p->node_key.b);
    if (ml_key_is_set(&p->disco_key)) {
        field_key(&j, "DiscoKey", ML_KEY_PREFIX_DISCO, p->disco_key.b);
    }
    field_ips(&j, "Addresses", &p->ip4, &p->ip6, true);
    field_ips(&j, "AllowedIPs", &p->ip4, &p->ip6, true);
    field_addrs(&j, "Endpoints", p->endpoints, p->endpoint_count);
    ml_json_field_u64(&j, "HomeDERP", p->home_region);
    ml_json_write_key(&j, "Hostinfo");
    ml_json_write_object_begin(&j);
    ml_json_field_str(&j, "OS", p->os);
    ml_json_field_str(&j, "Hostname", p->hostname);
    ml_json_write_object_end(&j);
    ml_json_field_str(&j, "ComputedName", p->hostname);
    ml_json_field_str(&j, "ComputedNameWithHost", p->hostname);
    ml_json_write_object_end(&j);
    ml_json_write_key(&j, "UserProfile");
    ml_json_write_object_begin(&j);
    ml_json_field_u64(&j, "ID", p->user_id);
    ml_json_field_str(&j, "LoginName", same_user ? s.user_login : "");
    ml_json_field_str(&j, "DisplayName", same_user ? s.user_login : "");
    ml_json_write_object_end(&j);
    ml_json_write_key(&j, "CapMap");
    ml_json_write_null(&j);
    ml_json_write_object_end(&j);
    ml_write_str(w, "\n");
}

void ml_json_ping(struct ml_daemon *d, const ml_ip *ip, const ml_peer_info *p, const ml_pong *pong, const char *error,
                  bool is_self, struct ml_writer *w)
{
    json j = ml_json_writer_of(w);
    char code[16] = "";
    /* TSMP and ICMP travel inside the tunnel and tell no path. */
    bool tells_path = pong != NULL && pong->kind == ML_PING_DISCO;
    uint16_t region = tells_path ? pong->derp_region : 0;
    ml_json_write_object_begin(&j);
    ml_json_write_key(&j, "IP");
    text_ip(&j, ip, false);
    ml_json_write_key(&j, "NodeIP");
    text_ip(&j, p ? (ml_ip_is4(ip) || !ml_ip_is_set(&p->ip6) ? &p->ip4 : &p->ip6) : ip, false);
    ml_json_field_str(&j, "NodeName", p ? p->hostname : "");
    ml_json_field_str(&j, "Err", error ? error : "");
    ml_json_write_key(&j, "LatencySeconds");
    if (pong != NULL) {
        /* Seconds with microseconds, which the writer's thousandths are too coarse for. */
        char text[40];
        struct ml_writer t = ml_writer_of((uint8_t *)text, sizeof text);
        ml_write_dec(&t, pong->latency / ML_USEC_PER_SEC);
        ml_write_str(&t, ".");
        for (ml_time unit = ML_USEC_PER_SEC / 10, rest = pong->latency % ML_USEC_PER_SEC; unit > 0; unit /= 10) {
            ml_write_dec(&t, rest / unit % 10);
        }
        ml_json_write_raw(&j, text, t.len);
        ml_daemon_region_code(d, region, code);
    } else {
        ml_json_write_raw(&j, "0", 1);
    }
    ml_json_write_key(&j, "Endpoint");
    ml_json_write_text_begin(&j);
    if (tells_path && ml_addr_is_set(&pong->via)) {
        ml_write_addr(w, &pong->via);
    }
    ml_json_write_text_end(&j);
    ml_json_field_str(&j, "PeerRelay", "");
    ml_json_field_u64(&j, "DERPRegionID", region);
    ml_json_field_str(&j, "DERPRegionCode", code);
    if (pong != NULL && pong->peerapi_port != 0) {
        ml_json_field_u64(&j, "PeerAPIPort", pong->peerapi_port);
    }
    if (is_self) {
        ml_json_field_bool(&j, "IsLocalIP", true);
    }
    ml_json_write_object_end(&j);
    ml_write_str(w, "\n");
}

void ml_json_prefs(struct ml_daemon *d, struct ml_writer *w)
{
    json j = ml_json_writer_of(w);
    ml_self_info s;
    ml_get_self(d->engine, &s);
    ml_json_write_object_begin(&j);
    ml_json_field_str(&j, "ControlURL", d->opt->login_server ? d->opt->login_server : "https://controlplane.tailscale.com");
    ml_json_field_bool(&j, "RouteAll", false);
    ml_json_field_bool(&j, "CorpDNS", false);
    ml_json_field_bool(&j, "WantRunning", d->want_running);
    ml_json_field_bool(&j, "LoggedOut", !ml_key_is_set(&s.node_key));
    ml_json_field_bool(&j, "ShieldsUp", d->opt->shields_up);
    ml_json_field_str(&j, "Hostname", s.hostname);
    ml_json_write_object_end(&j);
    ml_write_str(w, "\n");
}
