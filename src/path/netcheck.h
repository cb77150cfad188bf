/*
 * Measures the relay regions with STUN, learns our public addresses, and chooses the home region. dataplane.md 6.
 *
 * The bounded variant of 6.5: one try and one retry per region and family, an array of latencies instead of old reports.
 * Rules 2, 3, 5, 6 and 7 of 6.4 as written there; rule 1 over the best and the newest latency of the last 5 min 5 s; no
 * forced region. Owns no socket: requests are polled and must leave from the WireGuard socket (D40).
 *
 * When no server of a full report answers, UDP is taken to be blocked, and up to ML_NETCHECK_HTTP regions are asked over HTTPS
 * one after another: the home, then those that were fast, then any. The exchange itself is the caller's. When nothing answers
 * there either, the home is kept (rules 5, 6), or one is picked at random when there is none.
 *
 * Not here: ICMP latency, captive portals.
 *
 * What gives way when full: probes beyond ML_NETCHECK_PROBES wait for a free one; regions beyond the array are not measured.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_PATH_NETCHECK_H
#define ML_PATH_NETCHECK_H

#include "microlink/stats.h"
#include "model/derpmap.h"
#include "path/endpoints.h"
#include "stun/stun_query.h"

#define ML_NETCHECK_PROBES   32 /* outstanding STUN requests, about 72 bytes each */
#define ML_NETCHECK_HTTP     3  /* regions asked over HTTPS in one report */
#define ML_NETCHECK_MAPPINGS 4  /* distinct IPv4 mappings told apart in one report */

/** What is kept of one region. Caller's array, one for each region of the DERP map. */
struct ml_netcheck_region {
    uint16_t id;
    uint16_t map_index;     /* in the region map */
    uint8_t tries4, tries6; /* sent in this report */
    uint8_t plan4, plan6;   /* to be sent in this report */
    bool is_heard4, is_heard6;
    bool is_http_tried;        /* in this report */
    uint32_t now4_us, now6_us; /* lowest of this report, 0 = none */
    uint32_t now_http_us;      /* likewise, over HTTPS */
    uint32_t best_us;          /* lowest of the last 5 min 5 s, 0 = none */
    uint32_t last_us;          /* newest */
    ml_time best_at, last_at;
    ml_time derp_heard_at; /* last frame from its relay, 0 = never */
};

/** Tri-state as in NetInfo. */
enum ml_tri { ML_TRI_UNKNOWN, ML_TRI_FALSE, ML_TRI_TRUE };

/** What a report says, in the terms of tailcfg.NetInfo. */
struct ml_netcheck_report {
    uint16_t home_region; /* 0 = none: no region at all */
    bool udp;             /* any STUN answer */
    bool ip4, ip6;        /* an answer over that family */
    bool os_has_ip6;
    enum ml_tri mapping_varies; /* IPv4 mapping differs by destination */
    struct ml_endpoint_facts facts;
    bool home_changed;    /* NotePreferred on all relay connections, connect to the new home */
    bool netinfo_changed; /* something other than latencies differs from the last report that had this set: tell control */
};

struct ml_netcheck {
    struct ml_netcheck_report report; /* the last finished one; zero before */
    struct ml_netcheck_region *regions;
    uint16_t region_count;

    /* Private from here. */
    uint16_t region_cap;
    const struct ml_derp_region *map;
    const uint32_t *score_milli;
    const ml_random *rng;
    uint32_t random_pick; /* same random region for the life of the engine */
    uint16_t fixed_port;
    bool has_ip4, has_ip6, has_key_and_peers, is_in_map_poll, is_disabled;
    bool is_http_ok; /* the caller can ask over HTTPS */
    bool is_http;    /* this report has come to that */
    uint8_t http_left;
    uint16_t http_region; /* being asked, 0 = none */
    ml_time http_until;   /* its time is up */
    bool is_running, is_full, is_report_ready, is_start_wanted, is_full_wanted, has_full, has_told;
    ml_time started_at, ended_at, last_full_at, stop_at, activity_at, next_at;
    struct ml_netcheck_report told; /* what netinfo_changed compares with */
    struct ml_netcheck_report now;  /* the one under way */
    struct {
        ml_addr addr;
        uint8_t seen;
    } mappings[ML_NETCHECK_MAPPINGS];
    uint8_t heard_count; /* regions */
    struct ml_netcheck_probe {
        struct ml_stun_query q;
        ml_addr addr;    /* resolved destination */
        uint16_t region; /* index into regions */
        uint8_t node;
        uint8_t state; /* enum in netcheck.c */
        bool is6;
        uint8_t generation; /* of the resolve token */
    } probes[ML_NETCHECK_PROBES];
};

/** @brief @p regions: caller's array of @p cap, the netcheck's until the end. @p rng must live as long. */
void ml_netcheck_init(struct ml_netcheck *n, struct ml_netcheck_region *regions, uint16_t cap, const ml_random *rng);

/**
 * @brief The DERP map changed. Latencies of regions that stay are kept; a measurement under way is broken off and started
 * again; a home that is gone is forgotten.
 * @param map          @p count regions, borrowed: they must live and stay as they are until the next call of this function.
 * @param score_milli  One score per region (1000 = 1.0, 0 = none), borrowed likewise; NULL = none.
 */
void ml_netcheck_set_regions(struct ml_netcheck *n, ml_time now, const struct ml_derp_region *map, size_t count,
                             const uint32_t *score_milli);
/** @brief Families the underlay has, and our UDP port if the user fixed it (else 0). */
void ml_netcheck_set_underlay(struct ml_netcheck *n, bool has_ip4, bool has_ip6, uint16_t fixed_port);
/** @brief We have a node key and at least one peer: condition for periodic measurements. */
void ml_netcheck_set_wanted(struct ml_netcheck *n, ml_time now, bool has_key_and_peers);
/** @brief A map poll with control is open. While it is not, a home that is set never changes (rule 7). */
void ml_netcheck_set_map_poll(struct ml_netcheck *n, bool is_open);
/** @brief The home region of an earlier run, so that it is kept by the rules. Before the first report only. */
void ml_netcheck_set_home(struct ml_netcheck *n, uint16_t region);
/** @brief no_stun: reports end at once and say only which home to keep or pick. */
void ml_netcheck_set_disabled(struct ml_netcheck *n, bool is_disabled);

/** @brief The caller can measure a relay over HTTPS: see ml_netcheck_http_region(). */
void ml_netcheck_set_http(struct ml_netcheck *n, bool is_possible);

/** @brief Tunnel traffic in either direction: keeps the periodic measurement going for 45 s. */
void ml_netcheck_note_activity(struct ml_netcheck *n, ml_time now);
/** @brief A frame came from the relay of this region. */
void ml_netcheck_note_derp_frame(struct ml_netcheck *n, ml_time now, uint16_t region);

/**
 * @brief Measure now. While one is running it is remembered and a second one follows.
 * @param full  All regions; otherwise the home and the two fastest unless a full one is due.
 */
void ml_netcheck_start(struct ml_netcheck *n, ml_time now, bool full);

/** @brief Next STUN request to send from the UDP socket. False: none now. */
bool ml_netcheck_poll_send(struct ml_netcheck *n, ml_time now, uint8_t out[ML_STUN_REQUEST_LEN], ml_addr *dst);
/** @brief Next name to resolve; answer with ml_netcheck_on_resolved(). @p host lives as long as the region map. */
bool ml_netcheck_poll_resolve(struct ml_netcheck *n, ml_time now, uint32_t *token, const char **host);
/** @brief Addresses of that name, none when it does not resolve. Stale tokens are ignored. */
void ml_netcheck_on_resolved(struct ml_netcheck *n, ml_time now, uint32_t token, const ml_ip *ips, size_t count);

/**
 * @brief The region to ask over HTTPS now, 0 for none; look again after each call. An exchange with another one is to be given
 * up. `GET /derp/latency-check` on an open TLS connection; its time counts from the request to the head of a 2xx answer.
 */
uint16_t ml_netcheck_http_region(const struct ml_netcheck *n);
/** @brief How that ended. @param took  0: no answer, or not a good one. */
void ml_netcheck_on_http(struct ml_netcheck *n, ml_time now, uint16_t region, ml_time took);

/** @brief A datagram of class STUN. @p drop says why when it was of no use. */
void ml_netcheck_on_stun(struct ml_netcheck *n, ml_time now, const uint8_t *buf, size_t len, enum ml_drop *drop);

/**
 * @brief What the running measurement knows of our addresses so far. False: none is running, or it has no answer yet.
 * Whether the mapping varies is taken from the last report until this one ends.
 */
bool ml_netcheck_get_early_facts(const struct ml_netcheck *n, struct ml_endpoint_facts *out);

/** @brief True once for each finished measurement. The report stays readable in n->report. */
bool ml_netcheck_poll_report(struct ml_netcheck *n, struct ml_netcheck_report *out);

void ml_netcheck_on_time(struct ml_netcheck *n, ml_time now);
ml_time ml_netcheck_deadline(const struct ml_netcheck *n);

/** @brief Lowest retained latency of a region in microseconds, 0 = none. For NetInfo.DERPLatency and the status. */
uint32_t ml_netcheck_latency(const struct ml_netcheck *n, ml_time now, uint16_t region);

#endif
