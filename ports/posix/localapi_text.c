/*
 * The lines that the words of `microlink` print, written by the daemon; they follow the official client's (cmd/tailscale/cli).
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "daemon.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/** More than any line below needs. */
#define LINE_ROOM 1024

static void pad(struct ml_writer *w, size_t start, size_t width)
{
    do {
        ml_write_str(w, " ");
    } while (w->len - start < width && !w->bad);
}

void ml_write_duration_ms(struct ml_writer *w, ml_time usec)
{
    ml_time ms = (usec + 500) / 1000;
    if (ms == 0) {
        ml_write_str(w, "0s");
    } else if (ms < 1000) {
        ml_write_dec(w, ms);
        ml_write_str(w, "ms");
    } else {
        ml_time part = ms % 1000;
        ml_write_dec(w, ms / 1000);
        if (part != 0) {
            ml_write_str(w, ".");
            for (ml_time unit = 100; part != 0; unit /= 10) {
                ml_write_dec(w, part / unit);
                part %= unit;
            }
        }
        ml_write_str(w, "s");
    }
}

static const ml_ip *first_ip(const ml_peer_info *p)
{
    return ml_ip_is_set(&p->ip4) ? &p->ip4 : &p->ip6;
}

/** "active; direct 192.0.2.7:41641", "idle", "offline", "-" as the official table has it. */
static void write_path(struct ml_daemon *d, struct ml_writer *w, const ml_peer_info *p)
{
    char code[16];
    bool offline = p->is_online_known && !p->is_online, traffic = p->rx_bytes != 0 || p->tx_bytes != 0;
    ml_daemon_region_code(d, p->home_region, code);
    if (p->is_active) {
        if (ml_addr_is_set(&p->direct)) {
            ml_write_str(w, "active; direct ");
            ml_write_addr(w, &p->direct);
        } else {
            ml_write_str(w, "active; relay \"");
            ml_write_str(w, code);
            ml_write_str(w, "\"");
        }
        ml_write_str(w, offline ? "; offline" : "");
    } else if (traffic) {
        ml_write_str(w, offline ? "idle; offline" : "idle");
    } else {
        ml_write_str(w, offline ? "offline" : "-");
    }
    if (traffic) {
        ml_write_str(w, ", tx ");
        ml_write_dec(w, p->tx_bytes);
        ml_write_str(w, " rx ");
        ml_write_dec(w, p->rx_bytes);
    }
}

static void status_line(struct ml_daemon *d, struct ml_writer *w, const ml_peer_info *p, const ml_self_info *s)
{
    size_t start = w->len;
    ml_write_ip(w, first_ip(p));
    pad(w, start, 17);
    start = w->len;
    ml_write_str(w, p->hostname);
    pad(w, start, 21);
    start = w->len;
    if (p->user_id == s->user_id && s->user_login[0]) {
        size_t at = strcspn(s->user_login, "@");
        ml_write_bytes(w, s->user_login, at);
        ml_write_str(w, "@");
    } else if (p->user_id != 0) {
        ml_write_dec(w, p->user_id);
    } else {
        ml_write_str(w, "-");
    }
    pad(w, start, 13);
    start = w->len;
    ml_write_str(w, p->os);
    pad(w, start, 8);
    write_path(d, w, p);
    ml_write_str(w, "\n");
}

static void write_not_running(struct ml_daemon *d, struct ml_writer *w)
{
    const char *state = ml_backend_state(d), *url = ml_get_login_url(d->engine);
    if (strcmp(state, "NeedsLogin") == 0) {
        ml_write_str(w, "Logged out.\n");
        if (url[0]) {
            ml_write_str(w, "Log in at: ");
            ml_write_str(w, url);
            ml_write_str(w, "\n");
        }
    } else if (strcmp(state, "NeedsMachineAuth") == 0) {
        ml_write_str(w, "Machine is not yet approved by tailnet admin.\n");
    } else if (strcmp(state, "Stopped") == 0) {
        ml_write_str(w, "microlink is stopped.\n");
    }
}

static void write_health(struct ml_daemon *d, struct ml_writer *w)
{
    const char *problem = ml_get_problem(d->engine);
    if (problem[0] || d->problem[0]) {
        ml_write_str(w, "\n# Health check:\n");
    }
    if (problem[0]) {
        ml_write_str(w, "#     - ");
        ml_write_str(w, problem);
        ml_write_str(w, "\n");
    }
    if (d->problem[0]) {
        ml_write_str(w, "#     - ");
        ml_write_str(w, d->problem);
        ml_write_str(w, "\n");
    }
}

/* What went nowhere and why, the limits that were reached among it. */
static void write_drops(struct ml_daemon *d, struct ml_writer *w)
{
    ml_stats st;
    bool any = false;
    ml_get_stats(d->engine, &st);
    for (int i = ML_DROP_NONE + 1; i < ML_DROP_COUNT; i++) {
        if (st.drop[i] != 0) {
            ml_write_str(w, any ? "" : "\n# Dropped since the start:\n");
            ml_write_str(w, "#     - ");
            ml_write_dec(w, st.drop[i]);
            ml_write_str(w, " ");
            ml_write_str(w, ml_drop_text((ml_drop)i));
            ml_write_str(w, "\n");
            any = true;
        }
    }
}

bool ml_text_status(void *daemon, uint64_t *cursor, struct ml_writer *w)
{
    struct ml_daemon *d = daemon;
    ml_self_info s;
    ml_get_self(d->engine, &s);
    if (*cursor == 0) {
        ml_peer_info self;
        bool is_self;
        write_not_running(d, w);
        const ml_ip *ip = ml_ip_is_set(&s.ip4) ? &s.ip4 : &s.ip6;
        if (ml_ip_is_set(ip) && ml_daemon_peer_by_ip(d, ip, &self, &is_self)) {
            status_line(d, w, &self, &s);
        }
        *cursor = 1;
    }
    size_t count = ml_get_peer_count(d->engine);
    while (*cursor - 1 < count && w->cap - w->len > LINE_ROOM) {
        ml_peer_info p;
        if (ml_get_peer(d->engine, ml_sys_now(), (size_t)(*cursor - 1), &p) == ML_OK) {
            status_line(d, w, &p, &s);
        }
        (*cursor)++;
    }
    /* Every drop reason takes a line of at most 80 characters. */
    if (*cursor - 1 < count || w->cap - w->len < LINE_ROOM + ML_DROP_COUNT * 80U) {
        return true;
    }
    write_health(d, w);
    write_drops(d, w);
    return false;
}

bool ml_text_peers(void *daemon, uint64_t *cursor, struct ml_writer *w)
{
    struct ml_daemon *d = daemon;
    size_t count = ml_get_peer_count(d->engine);
    while (*cursor < count && w->cap - w->len > LINE_ROOM) {
        ml_peer_info p;
        if (ml_get_peer(d->engine, ml_sys_now(), (size_t)*cursor, &p) == ML_OK) {
            size_t start = w->len;
            ml_write_ip(w, first_ip(&p));
            pad(w, start, 17);
            start = w->len;
            ml_write_str(w, p.hostname);
            pad(w, start, 21);
            start = w->len;
            if (ml_addr_is_set(&p.direct)) {
                ml_write_addr(w, &p.direct);
            } else {
                char code[16];
                ml_daemon_region_code(d, p.home_region, code);
                ml_write_str(w, "DERP(");
                ml_write_str(w, code);
                ml_write_str(w, ")");
            }
            pad(w, start, 23);
            if (p.latency != 0) {
                ml_write_duration_ms(w, p.latency);
            } else {
                ml_write_str(w, "-");
            }
            ml_write_str(w, "\n");
        }
        (*cursor)++;
    }
    return *cursor < count;
}

/** A latency as Go prints a duration rounded to a tenth of a millisecond, filled up to seven columns. */
static void write_latency(struct ml_writer *w, ml_time usec)
{
    char text[24] = "";
    unsigned long long tenths = (usec + 50) / 100; /* of a millisecond */
    size_t columns = 0;
    if (usec != 0 && tenths < 10) {
        columns = (size_t)snprintf(text, sizeof text, "%llu", tenths * 100) + 2;
        ml_write_str(w, text);
        ml_write_str(w, "\xc2\xb5s"); /* the micro sign: two bytes, one column */
    } else if (usec != 0) {
        bool is_seconds = tenths >= 10000;
        int n = snprintf(text, sizeof text, is_seconds ? "%llu.%04llu" : "%llu.%01llu", tenths / (is_seconds ? 10000 : 10),
                         tenths % (is_seconds ? 10000 : 10));
        while (n > 0 && (text[n - 1] == '0' || text[n - 1] == '.')) {
            bool is_point = text[--n] == '.';
            text[n] = 0;
            if (is_point) {
                break;
            }
        }
        ml_write_str(w, text);
        ml_write_str(w, is_seconds ? "s" : "ms");
        columns = strlen(text) + (is_seconds ? 1 : 2);
    }
    for (; columns < 7; columns++) {
        ml_write_str(w, " ");
    }
}

static void write_region(struct ml_writer *w, const ml_region_info *r)
{
    char code[24];
    snprintf(code, sizeof code, "%3s: ", r->code);
    ml_write_str(w, "\t\t- ");
    ml_write_str(w, code);
    write_latency(w, r->latency);
    ml_write_str(w, " (");
    ml_write_str(w, r->name[0] ? r->name : r->code);
    ml_write_str(w, ")\n");
}

/** Those with a latency first, the fastest at the top; the others in order of their numbers. */
static void write_regions(struct ml_daemon *d, struct ml_writer *w)
{
    size_t count = ml_get_region_count(d->engine);
    ml_time last = 0;
    size_t last_at = 0;
    for (size_t written = 0; written < count; written++) {
        ml_region_info r, next = {0};
        size_t next_at = count;
        ml_time next_key = ML_NEVER;
        for (size_t i = 0; i < count; i++) {
            ml_time key = ml_get_region(d->engine, i, &r) == ML_OK && r.latency ? r.latency : ML_NEVER;
            bool is_after = written == 0 || key > last || (key == last && i > last_at);
            if (is_after && (next_at == count || key < next_key)) {
                next = r;
                next_at = i;
                next_key = key;
            }
        }
        if (next_at == count || w->cap - w->len < LINE_ROOM) {
            return;
        }
        write_region(w, &next);
        last = next_key;
        last_at = next_at;
    }
}

static void write_time(struct ml_writer *w)
{
    struct timespec ts;
    struct tm tm;
    char text[48], zone[8];
    clock_gettime(CLOCK_REALTIME, &ts);
    if (localtime_r(&ts.tv_sec, &tm) == NULL) {
        return;
    }
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    strftime(zone, sizeof zone, "%z", &tm); /* +hhmm */
    ml_write_str(w, text);
    snprintf(text, sizeof text, ".%09ld", ts.tv_nsec);
    ml_write_str(w, text);
    if (strcmp(zone, "+0000") == 0) {
        ml_write_str(w, "Z");
    } else {
        ml_write_bytes(w, zone, 3);
        ml_write_str(w, ":");
        ml_write_str(w, zone + 3);
    }
}

void ml_text_netcheck(struct ml_daemon *d, struct ml_writer *w)
{
    ml_netcheck_info n;
    bool has_latency = false;
    const char *nearest = "[none]";
    ml_region_info home = {0};
    ml_get_netcheck(d->engine, &n);
    for (size_t i = 0; i < ml_get_region_count(d->engine); i++) {
        ml_region_info r;
        if (ml_get_region(d->engine, i, &r) == ML_OK) {
            has_latency = has_latency || r.latency != 0;
            home = r.is_home ? r : home;
        }
    }
    ml_write_str(w, "\nReport:\n\t* Time: ");
    write_time(w);
    ml_write_str(w, n.udp ? "\n\t* UDP: true\n\t* IPv4: " : "\n\t* UDP: false\n\t* IPv4: ");
    if (ml_addr_is_set(&n.global4)) {
        ml_write_str(w, "yes, ");
        ml_write_addr(w, &n.global4);
    } else {
        ml_write_str(w, "(no addr found)");
    }
    ml_write_str(w, "\n\t* IPv6: ");
    if (ml_addr_is_set(&n.global6)) {
        ml_write_str(w, "yes, ");
        ml_write_addr(w, &n.global6);
    } else {
        ml_write_str(w, n.ip6 ? "(no addr found)" : n.os_has_ip6 ? "no, but OS has support" : "no, unavailable in OS");
    }
    ml_write_str(w, "\n\t* MappingVariesByDestIP: ");
    ml_write_str(w, !n.mapping_varies_known ? "" : n.mapping_varies ? "true" : "false");
    ml_write_str(w, "\n\t* PortMapping: \n"); /* none was asked for: what the official tool prints then */
    if (!has_latency) {
        ml_write_str(w, "\t* Nearest DERP: unknown (no response to latency probes)\n");
        return;
    }
    if (home.id != 0) {
        nearest = home.name[0] ? home.name : home.code;
    }
    ml_write_str(w, "\t* Nearest DERP: ");
    ml_write_str(w, nearest);
    ml_write_str(w, "\n\t* DERP latency:\n");
    write_regions(d, w);
}

void ml_text_whois(struct ml_daemon *d, const ml_peer_info *p, struct ml_writer *w)
{
    ml_self_info s;
    ml_get_self(d->engine, &s);
    size_t n = strlen(p->name);
    ml_write_str(w, "Machine:\n  Name:          ");
    ml_write_bytes(w, p->name, n > 0 && p->name[n - 1] == '.' ? n - 1 : n);
    ml_write_str(w, "\n  ID:            ");
    ml_write_dec(w, p->node_id);
    ml_write_str(w, "\n  Addresses:     [");
    if (ml_ip_is_set(&p->ip4)) {
        ml_write_ip(w, &p->ip4);
        ml_write_str(w, "/32");
    }
    if (ml_ip_is_set(&p->ip6)) {
        ml_write_str(w, ml_ip_is_set(&p->ip4) ? " " : "");
        ml_write_ip(w, &p->ip6);
        ml_write_str(w, "/128");
    }
    ml_write_str(w, "]\nUser:\n  Name:     ");
    ml_write_str(w, p->user_id == s.user_id ? s.user_login : "");
    ml_write_str(w, "\n  ID:       ");
    ml_write_dec(w, p->user_id);
    ml_write_str(w, "\n");
}

void ml_text_pong(struct ml_daemon *d, const ml_ip *ip, const ml_peer_info *p, const ml_pong *pong, struct ml_writer *w)
{
    static const char *const kind[] = {"disco", "TSMP", "ICMP"};
    ml_write_str(w, "pong from ");
    ml_write_str(w, p->hostname);
    ml_write_str(w, " (");
    ml_write_ip(w, ml_ip_is4(ip) || !ml_ip_is_set(&p->ip6) ? &p->ip4 : &p->ip6);
    if (pong->peerapi_port != 0) {
        ml_write_str(w, ", ");
        ml_write_dec(w, pong->peerapi_port);
    }
    ml_write_str(w, ") via ");
    bool tells_path = pong->kind == ML_PING_DISCO; /* The others name themselves, whichever way the tunnel took. */
    if (tells_path && pong->derp_region != 0) {
        char code[16];
        ml_daemon_region_code(d, pong->derp_region, code);
        ml_write_str(w, "DERP(");
        ml_write_str(w, code);
        ml_write_str(w, ")");
    } else if (tells_path && ml_addr_is_set(&pong->via)) {
        ml_write_addr(w, &pong->via);
    } else {
        ml_write_str(w, kind[pong->kind]);
    }
    ml_write_str(w, " in ");
    ml_write_duration_ms(w, pong->latency);
    ml_write_str(w, "\n");
}
