/*
 * The control client's state. For the size only: nobody outside src/control looks inside.
 *
 * Four small machines share one connection: the link (server key, dialling, Noise, HTTP/2), registration, the map poll, and
 * publishing by lite updates; each has its own back-off (C47). Only one request is being sent at a time, so one body buffer
 * serves them all; any number may be waiting for answers.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CONTROL_CONTROL_STATE_H
#define ML_CONTROL_CONTROL_STATE_H

#include "base/key.h"
#include "base/log.h"
#include "control/control_problem.h"
#include "control/map_parse.h"
#include "http/h2_conn.h"
#include "http/http1_upgrade.h"
#include "noise/noise_frame.h"
#include "noise/noise_ik.h"

#define ML_CONTROL_HOST_CAP  128
#define ML_CONTROL_URL_CAP   256 /**< Login URLs and ping URLs. */
#define ML_CONTROL_AUTH_CAP  192
#define ML_CONTROL_TX_MIN    1024
#define ML_CONTROL_BODY_MAX  2048 /**< Longest request body: a map request with everything published. */
#define ML_CONTROL_ENDPOINTS 16
#define ML_CONTROL_LATENCIES 16
#define ML_CONTROL_ROUTES    4
#define ML_CONTROL_QUOTE_CAP 200 /**< Words of the server that are kept (control.md 5.3, 7). */

#define ML_CONTROL_RACE_DELAY  ML_MSEC(500) /* plain first, then TLS (control.md 3.1) */
#define ML_CONTROL_DIAL_MAX    ML_SEC(10)
#define ML_CONTROL_TLS_ONLY    ML_SEC(120) /* a dial this soon after the last skips the plain port */
#define ML_CONTROL_WATCHDOG    ML_SEC(120)
#define ML_CONTROL_CHECK       ML_SEC(3)  /* answer to a ping after a change of the network */
#define ML_CONTROL_REQUEST_MAX ML_SEC(60) /* an answer to anything but the poll and a login that waits for a person */
#define ML_CONTROL_LITE_GAP    ML_SEC(1)
#define ML_CONTROL_BACKOFF_CAP ML_SEC(60)
#define ML_CONTROL_AUTH_PAUSE  ML_SEC(60) /* least pause after an auth key was refused (C24) */
#define ML_CONTROL_LOGOUT_MAX  ML_SEC(10)
#define ML_CONTROL_SLEEP_MAX   ML_SEC(300)
#define ML_CONTROL_PING_MAX    ML_SEC(15) /* an outer HEAD ping */

struct ml_control_url {
    char host[ML_CONTROL_HOST_CAP]; /**< Name or address literal without brackets. */
    uint16_t port;                  /**< 0 = default of the scheme. */
    bool is_tls;
};

enum ml_control_tri { ML_CONTROL_UNKNOWN, ML_CONTROL_FALSE, ML_CONTROL_TRUE };

struct ml_control_latency {
    uint16_t region;
    bool is_ip6;
    uint32_t usec;
};

/** What this node tells the server about itself, apart from its name. Sent in every map request (C30). */
struct ml_control_published {
    ml_disco_key disco;
    ml_addr endpoints[ML_CONTROL_ENDPOINTS];
    uint8_t
        endpoint_types[ML_CONTROL_ENDPOINTS]; /**< 0 unknown, 1 local, 2 STUN, 3 port-mapped, 4 STUN4 + local port, 5 fixed. */
    uint8_t endpoint_count;
    uint16_t home_region; /**< 0 = not known yet. */
    enum ml_control_tri working_udp, working_ipv6, os_has_ipv6, mapping_varies;
    struct ml_control_latency latency[ML_CONTROL_LATENCIES];
    uint8_t latency_count;
    ml_prefix routes[ML_CONTROL_ROUTES]; /**< Hostinfo.RoutableIPs. */
    uint8_t route_count;
    bool shields_up;
    uint16_t peerapi4, peerapi6; /**< Hostinfo.Services: ports of the PeerAPI, 0 = none. */
};

struct ml_control_stats {
    uint32_t dials, dial_failures; /**< Connection attempts; those that failed. */
    uint32_t registers;            /**< Register requests sent. */
    uint32_t polls, lite_updates;  /**< Map requests sent, by kind. */
    uint32_t map_messages;         /**< Complete messages, keepalives included. */
    uint64_t map_bytes;            /**< Bytes of the map stream. */
    uint32_t map_cut;              /**< Strings, list items or rules that did not fit and were left out. */
    uint32_t pings, pings_dropped; /**< Server requests answered; those that came while the last was still in work. */
};

/* ---- Private from here on ---- */

enum ml_control_slot {
    SLOT_PLAIN, /* plain dial, or the key fetch */
    SLOT_TLS,   /* TLS dial */
    SLOT_PING,  /* outer HEAD ping */
    SLOT_COUNT
};

enum ml_control_slot_state { SLOT_FREE, SLOT_WANTED, SLOT_OPENING, SLOT_OPEN };

struct ml_control_stream {
    uint8_t state;       /* enum ml_control_slot_state */
    uint16_t generation; /* of the id in use */
    uint32_t close_id;   /* to be closed by the integrator; 0 = none */
};

enum ml_control_link {
    LINK_DOWN, /* nothing in progress; see link_retry_at */
    LINK_KEY,  /* fetching /key */
    LINK_DIAL, /* one or two upgrade attempts */
    LINK_UP
};

/* One attempt at the upgrade. */
struct ml_control_dial {
    bool is_upgraded;  /* 101 seen, Noise answer expected */
    bool is_preparing; /* the initiation is being made: nothing to send yet */
    bool is_whole;     /* the Noise answer is here and being worked on */
    struct ml_http1 http;
    struct ml_noise_ik ik;
    uint16_t tx_len, tx_pos;
    uint8_t tx[448];
};

struct ml_control_key_fetch {
    struct ml_http1 http;
    struct ml_json json;
    char token[80];
    bool is_key_next; /* the value that follows is publicKey */
    bool is_bad;
    ml_machine_key key;
    uint16_t tx_len, tx_pos;
    uint8_t tx[320];
};

struct ml_control_session {
    struct ml_noise_conn noise;
    struct ml_h2 h2;
};

enum ml_control_req { REQ_REGISTER, REQ_POLL, REQ_LITE, REQ_REPLY, REQ_COUNT };

struct ml_control_request {
    uint32_t stream; /* HTTP/2 stream, 0 = not in flight */
    uint16_t status; /* 0 until the head of the answer */
    ml_time expires_at;
};

struct ml_control_register {
    bool is_needed;
    bool is_done;        /* the node key is accepted */
    bool is_rotating;    /* the candidate replaces node_key: OldNodeKey */
    bool has_rotated;    /* in this attempt, because the server said NodeKeyExpired */
    bool use_auth;       /* send the auth key, if there is one */
    bool sent_auth;      /* the request in flight carries it */
    bool sent_candidate; /* it is for the candidate key */
    bool is_logout;
    ml_time retry_at;
    ml_time wait; /* from Retry-After of a 429 */
    uint32_t failures;
    char followup[ML_CONTROL_URL_CAP]; /* AuthURL being waited for */
    /* The answer being read. */
    struct ml_json json;
    char token[ML_CONTROL_URL_CAP];
    uint8_t where; /* enum in control_register.c */
    bool is_bad, is_expired, is_authorized, has_signature, is_url_cut;
    char auth_url[ML_CONTROL_URL_CAP];
    char error[ML_CONTROL_QUOTE_CAP];
    uint64_t user_id;
    char login[96];
};

struct ml_control_poll {
    ml_time retry_at, watchdog_at, sleep_until;
    ml_time message_at; /* when the message being read began */
    uint32_t failures;
    uint32_t left;    /* of the message being read */
    uint8_t head[4];  /* its length */
    uint8_t head_len; /* bytes of it seen */
    bool has_map;     /* a full map came since start */
    bool in_message;
};

struct ml_control_lite {
    bool is_dirty;
    bool has_said_home; /* the last one had a home region */
    ml_time not_before, retry_at;
    uint32_t failures;
};

struct ml_control {
    const ml_random *random;
    const struct ml_log *log;
    uint8_t *tx;
    size_t tx_cap, tx_len;

    bool is_ephemeral, is_started, has_node_key, has_candidate, is_self_expired, is_self_authorized;
    bool is_key_pinned, is_key_fetched; /* fetched: in this attempt, so not to be fetched again */
    bool is_key_new;                    /* not yet announced by an event */
    bool is_expiry_flagged;             /* the server itself calls our key expired, not only the clock */
    bool has_dialled, is_key_suspect;   /* suspect: this attempt saw a tag failure or EOF right after 101 */
    bool is_reply_due, is_reply_head;
    bool is_stop_due, is_expiry_due, is_extended; /* asked for by a netmap: done when no call is inside a parser any more */
    uint16_t capver;
    uint8_t up_slot;
    ml_private_key machine_key, node_key, candidate_key;
    ml_node_key node_pub, candidate_pub; /* theirs */
    struct ml_curve_budget *budget;
    ml_machine_key server_key;

    ml_time call_now;        /* of the call that feeds the map parser */
    int64_t self_key_expiry; /* Unix seconds, of the last self node; 0 = never */
    ml_state state;
    ml_time logout_deadline;
    uint64_t wall_ms; /* at wall_at; 0 = unknown */
    ml_time wall_at;

    enum ml_control_link link;
    ml_time check_until; /* a ping of ours has to be answered by then; ML_NEVER: none is open */
    ml_time link_retry_at, race_at, dial_deadline, last_dial_at;
    uint32_t link_failures;
    struct ml_control_stream streams[SLOT_COUNT];

    struct ml_control_request req[REQ_COUNT];
    uint32_t map_message_max;
    uint16_t window;
    uint32_t unsent; /* stream whose request still needs `body`, ts_lb and path; 0 = none */
    size_t body_len;
    size_t quote_len;

    struct ml_control_poll poll;
    struct ml_control_lite lite;

    /* One server request at a time is answered (section 11). */
    ml_time ping_deadline;
    uint16_t ping_tx_len, ping_tx_pos;

    uint32_t events; /* bit per ml_control_event_type */
    enum ml_control_problem problem;

    const struct ml_delta_sink *out; /* the integrator's, during a call */
    struct ml_control_stats stats;

    /* What is large comes last (see struct ml_engine). */
    struct ml_control_url url;
    char hostname[64];
    char os[16];
    char auth_key[ML_CONTROL_AUTH_CAP];
    struct ml_control_published pub;
    struct ml_control_register reg;
    char reply_url[ML_CONTROL_URL_CAP];
    struct ml_control_url ping_url;
    uint8_t ping_tx[ML_CONTROL_URL_CAP + ML_CONTROL_HOST_CAP + 64];
    uint8_t body[ML_CONTROL_BODY_MAX];
    char ts_lb[2][ML_KEY_TEXT_CAP];
    char quote[ML_CONTROL_QUOTE_CAP]; /* body of an answer that is not 200 */
    char problem_text[ML_TEXT_CAP];
    union {
        struct ml_control_key_fetch key;
        struct ml_control_dial dial[2];
        struct ml_control_session session;
    } u;
    struct ml_map_parse map;
};

#endif
