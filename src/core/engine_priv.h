/*
 * The inside of an engine: all its state, and what the files of core/ ask of each other.
 *
 *   engine.c  memory, init, start and stop, commands        slots.c   who of the peers has a session slot
 *   streams.c TCP and TLS connections, relays               demux.c   datagrams and relayed packets in, IP packets in and out
 *   apply.c   netmap deltas -> tables                       pump.c    polls, time, events
 *   ping.c    pings asked for by the application            query.c   answers for status
 *   latency.c relays measured over HTTPS                    need.c    which peers matter in a tailnet larger than the table
 *   cache.c   what a restart begins with
 *
 * Private to core/.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CORE_ENGINE_PRIV_H
#define ML_CORE_ENGINE_PRIV_H

#include "base/log.h"
#include "base/rng.h"
#include "base/tick.h"
#include "control/control.h"
#include "core/outq.h"
#include "core/store.h"
#include "derp/derp_pool.h"
#include "filter/filter.h"
#include "http/http1_upgrade.h"
#include "map/derp_table.h"
#include "map/netmap.h"
#include "path/netcheck.h"
#include "path/path.h"
#include "route/route.h"
#include "wg/wg.h"

#define CORE_LOCAL_ADDRS         8
#define CORE_AUTH_KEY_CAP        ML_CONTROL_AUTH_CAP
#define CORE_PROBLEM_BYTES       768 /* all sentences about problems together; the newest is cut when they are more */
#define CORE_PINGS               8
#define CORE_FRESH_FOR           ML_SEC(8) /* how long a new node counts as not yet known to others */
#define CORE_PEER_EVENTS         32
#define CORE_PONG_EVENTS         8
#define CORE_TUNNEL_PING_TIMEOUT ML_SEC(10) /* TSMP and ICMP, as the official client waits */
/* Room a packet needs in the output queue: the largest sealed one. */
#define CORE_PACKET_MAX (ML_OVERLAY_MTU + ML_WG_DATA_OVERHEAD + 16)

/* A record that could not be stored is stored again after this, then after twice as long each time, up to half an hour. */
#define CORE_STORE_AGAIN           ML_SEC(15)
#define CORE_STORE_AGAIN_DOUBLINGS 7

/* Which module a stream belongs to: the top four bits of an ml_stream_id. */
enum core_stream_owner { CORE_STREAM_CONTROL = 1, CORE_STREAM_DERP = 2, CORE_STREAM_LATENCY = 3 };
#define CORE_STREAM_ID(owner, local) (((uint32_t)(owner) << 28) | (local))
#define CORE_STREAM_OWNER(id)        ((id) >> 28)
#define CORE_STREAM_LOCAL(id)        ((id)&0x0fffffffu)

/* A live peer: the same index is its slot in wg and path. Ticks are read by ml_tick_time(), and changed by core_tick(). */
struct core_slot {
    uint16_t peer;        /* slot in the netmap, ML_PEER_NONE = free */
    bool has_host_sent;   /* since the last advertisement that was a repeat */
    ml_tick initiated_at; /* when our last handshake message was an initiation; else 0 */
    ml_tick used_at;
    ml_tick handshake_at; /* 0 = none yet */
    uint64_t rx_bytes, tx_bytes;
};

struct core_ping {
    bool is_used;
    ml_ping_kind kind;
    uint32_t token;
    uint64_t node_id;
    ml_time sent_at;
    uint8_t nonce[8]; /* TSMP data; the first four bytes are ICMP identifier and sequence */
};

#define CORE_HOST_HEADER_CAP (ML_DERP_HOST_CAP + 8) /* name, ":", port */

/* A relay connection's current life. */
struct core_derp_stream {
    uint16_t generation;
    bool is_open;
    bool is_asked; /* ML_OUT_STREAM_OPEN was given out and not closed since */
    ml_addr local; /* our end of it; unset when not known */
    uint16_t region;
    uint8_t node; /* which server of the region */
    uint8_t pin[32];
    char host_header[CORE_HOST_HEADER_CAP];
};

/* The one exchange that measures a relay over HTTPS. */
struct core_latency {
    uint16_t region;
    uint16_t generation;
    bool is_asked; /* ML_OUT_STREAM_OPEN was given out and not closed since */
    bool is_open;
    bool is_done; /* its result was given to netcheck */
    uint16_t tx_at, tx_len;
    ml_time asked_at;
    struct ml_http1 http;
    uint8_t pin[32];
    char host[CORE_HOST_HEADER_CAP];
    uint8_t tx[CORE_HOST_HEADER_CAP + 72];
};

/* Events without content of their own are marks: a slow reader sees each once. */
enum {
    CORE_MARK_STATE = 1 << 0,
    CORE_MARK_SELF = 1 << 1,
    CORE_MARK_LOGIN_URL = 1 << 2,
    CORE_MARK_PROBLEM = 1 << 3,
    CORE_MARK_NETCHECK = 1 << 4,
    CORE_MARK_REJECTED = 1 << 5
};

/* Sources of a problem sentence, the most important first. */
enum core_problem {
    CORE_PROBLEM_LOCK,    /* Tailnet Lock is on */
    CORE_PROBLEM_CONTROL, /* control's own sentence */
    CORE_PROBLEM_EXPIRED,
    CORE_PROBLEM_STORE,
    CORE_PROBLEM_RELAY,
    CORE_PROBLEM_RULES,  /* filter rules over the limit */
    CORE_PROBLEM_PEERS,  /* more peers than slots */
    CORE_PROBLEM_HEALTH, /* control's Health list, first entry */
    CORE_PROBLEM_COUNT
};

#define CORE_WANTED 8
#define CORE_RECENT 8

/* A peer outside the table that somebody waits for: the first half of its node key, or its address. */
struct core_wanted {
    uint8_t what[16];
    bool is_ip, is_used;
    ml_time at;
};

struct core_need {
    struct core_wanted wanted[CORE_WANTED];
    uint64_t recent[CORE_RECENT]; /* node ids, the last used first */
    ml_time reread_at;            /* ML_NEVER: not due */
    ml_time reread_last, reread_gap;
    uint32_t list_rules; /* digest of the rules by which the last full list was weighed */
    bool has_reread, is_list_stale, is_weighed, has_list;
    bool is_reread_put_off; /* until the message that is being read has ended */
};

/* The cache record on its way in and out (cache.c). */
struct core_cache_out {
    uint8_t owner[8]; /* of the record that was loaded */
    bool is_loaded;   /* the tables hold what it said, not used yet */
    bool has_written, is_hurried;
    uint8_t spent;   /* of the bucket of writes */
    uint32_t digest; /* of what is stored, endpoints left out */
    ml_time due_at;  /* ML_NEVER: nothing to write */
    ml_time written_at, refill_at;
};

struct core_self {
    uint64_t node_id, user_id;
    char name[ML_NAME_CAP];
    char domain[ML_NAME_CAP];
    char login[96];
    ml_ip ip4, ip6;
    ml_prefix addresses[ML_NODE_ADDRESSES];
    uint8_t address_count;
    int64_t key_expiry;
    bool is_expired; /* control says so, or the clock does */
    bool is_authorized;
    bool is_known; /* a netmap named us */
};

/** Where a packet came from: UDP address, or relay slot, region and source key. */
struct core_carrier {
    ml_addr from;
    uint16_t region;
    unsigned derp_slot;
    ml_node_key source;
};

/* A handshake message that waits for its curve operations. */
struct core_handshake {
    struct core_carrier from;
    uint8_t len;
    uint8_t msg[ML_WG_INITIATION_LEN];
};

/* A handshake message of ours that may still have a way to go; see handshake_out.c. */
struct core_handshake_out {
    ml_time made_at, sent_at; /* sent first; while it went nowhere yet: 0 */
    uint16_t slot;
    bool went_direct, went_by_relay;
    uint8_t len; /* 0 = free */
    uint8_t msg[ML_WG_INITIATION_LEN];
};

/*
 * On RISC-V one instruction reaches the first 2 KB of a struct, and a field further on takes three. So first comes what is small
 * or used everywhere, then texts, tables and modules that are large or used in one place, the largest last.
 */
struct ml_engine {
    /* Configuration, copied. */
    ml_random random;
    struct ml_log log;
    uint16_t capver, max_peers, max_slots, max_derp;
    uint16_t udp_port;
    uint64_t build_unix_time;
    bool has_machine; /* machine and disco key exist */
    bool no_derp, no_disco, no_stun, is_ephemeral, is_shields_up, is_insecure_ok, is_key_pinned, is_heap_small;
    size_t mem_len; /* of the whole arena, for wiping */

    /* Who we are; the private halves are in `identity`. */
    struct ml_cache cache;
    ml_node_key node_pub;
    ml_machine_key machine_pub;
    struct ml_derp_self derp_self;

    /* Modules. */
    struct ml_derp_pool derp;
    struct ml_map map;
    struct ml_derp_table regions;
    struct ml_route_prefs route_prefs;
    struct ml_outq outq;

    /* Memory given to modules at ml_start(). */
    uint8_t *control_tx;
    size_t control_tx_len;
    struct ml_wg_peer *wg_peers;
    struct ml_wg_stage *wg_stages;
    struct ml_wg_flight *wg_flights;
    struct ml_wg_spare *wg_spares;
    uint16_t wg_stage_count, wg_flight_count, wg_spare_count;
    bool has_wg;      /* ml_wg_init() was done */
    uint32_t *scores; /* one for each region, for netcheck */

    /* What a call may cost (crypto/curve_budget.h): every public function begins with one curve operation. */
    struct ml_curve_budget curve;
    struct core_handshake *handshakes; /* a ring, the oldest is being worked on; when it is full the newest is dropped */
    uint8_t handshake_cap, handshake_head, handshake_count, handshake_out_cap;
    ml_time room_until; /* the oldest waits for room for its keypair, at most until then; 0: it does not */
    struct core_handshake_out *handshakes_out; /* handshake_out_cap of them; when all are taken the oldest goes no further */

    /* Live peers. */
    struct core_slot *slots;
    struct ml_epoch epoch;                 /* of the ticks in `slots` */
    uint16_t *slot_of_peer;                /* by netmap slot; ML_PATH_NO_SLOT = none */
    struct core_derp_stream *derp_streams; /* max_derp of them */
    ml_addr control_local;                 /* our end of the last control connection; unset when not known */
    struct core_need need;
    struct core_cache_out cache_out;

    /* State. */
    ml_state state;
    bool is_started;
    bool is_locked; /* Tailnet Lock is on: no traffic */
    bool is_map_poll_open;
    bool is_derp_map_open; /* between DERP_BEGIN and its end: the region table is in motion */
    bool is_pop_due;       /* the front record of outq was handed out */
    ml_time stuck_since;   /* relayed packets wait for room that nobody makes, 0 = they do not */
    bool has_rules_changed, has_peers_changed;
    ml_time removals_at; /* of the log lines about removed peers */
    uint8_t removals_told;
    bool is_newly_registered;      /* a node key was accepted in this run, and no netmap has come since */
    ml_time fresh_at, fresh_until; /* see core_fresh_time(); 0 = long known */
    bool is_expiry_told;           /* our own expiry was acted on */
    ml_time time_at;               /* last ml_handle_time() */
    ml_time wall_at;               /* when wall_ms was true; */
    uint64_t wall_ms;              /* 0 = not known */
    int64_t control_offset_s;      /* control's clock - ours when over a minute apart */
    ml_time expiry_check_at;
    uint8_t local_addr_count;

    /* Outputs. */
    bool has_open_due;
    uint32_t marks;
    uint8_t peer_event_head, peer_event_count;
    uint8_t pong_event_head, pong_event_count;
    bool is_store_due[ML_STORE_COUNT], is_store_busy[ML_STORE_COUNT];
    uint8_t store_fails[ML_STORE_COUNT];    /* in a row */
    ml_time store_again_at[ML_STORE_COUNT]; /* not tried again before */
    uint8_t clock_mark[12];
    struct core_self self;

    /* Tables. */
    ml_event reject;
    struct core_ping pings[CORE_PINGS];
    ml_stream_open open_due; /* control asked for a close and an open at once */
    ml_addr local_addrs[CORE_LOCAL_ADDRS];
    ml_ip pins[ML_PINS]; /* unset = free */
    struct {
        uint64_t node_id;
        uint8_t type;
    } peer_events[CORE_PEER_EVENTS];
    struct {
        ml_event_type type;
        ml_pong pong;
    } pong_events[CORE_PONG_EVENTS];

    /* Texts and keys. */
    struct ml_identity identity;
    ml_machine_key pinned_key;
    struct ml_control_url url;
    char hostname[64];
    char os[16];
    char auth_key[CORE_AUTH_KEY_CAP]; /* until ml_start() gives it to control; wiped then */
    char login_url[ML_TEXT_CAP];
    char problems[CORE_PROBLEM_BYTES]; /* one text after the other, each with its zero; see core_problem() */

    /* Larger modules. */
    struct ml_filter filter;
    struct ml_wg wg;
    struct ml_path path;
    struct ml_netcheck netcheck;
    struct core_latency latency;
    ml_stats stats;
    struct ml_control control;
};

/* Who lives in the arena, in its order. */
enum core_tenant {
    CORE_TENANT_ENGINE, /* struct ml_engine: what does not grow with any setting */
    CORE_TENANT_WG_PEERS,
    CORE_TENANT_WG_FLIGHTS, /* initiations that wait for their answer */
    CORE_TENANT_WG_SPARES,  /* keypairs that are not, or no longer, sent on */
    CORE_TENANT_WG_STAGES,  /* packets that wait for a session */
    CORE_TENANT_PATH_PEERS,
    CORE_TENANT_NETCHECK,
    CORE_TENANT_DERP_SLOTS,
    CORE_TENANT_DERP_STREAMS,
    CORE_TENANT_DERP_ROUTES,
    CORE_TENANT_HANDSHAKES, /* handshake messages waiting for their turn, or for a way */
    CORE_TENANT_SLOTS,
    CORE_TENANT_SLOT_OF_PEER,
    CORE_TENANT_SCORES,
    CORE_TENANT_DERP_TX,
    CORE_TENANT_OUTQ,
    CORE_TENANT_CONTROL_TX,
    CORE_TENANT_MAP,
    CORE_TENANT_REGIONS,
    CORE_TENANT_FILTER,
    CORE_TENANT_COUNT
};

/* engine.c */
/** The port called: one curve operation may be done until it calls again. */
static inline void core_begin(struct ml_engine *ml)
{
    ml->curve.left = 1;
}
/**
 * The bytes of each tenant of this configuration's arena, without the gaps of alignment between them; for tools/sizes.c.
 * Returns what ml_mem_needed() does.
 */
size_t core_arena_by_tenant(const ml_config *cfg, size_t len_of[CORE_TENANT_COUNT]);
void core_count(struct ml_engine *ml, ml_drop reason);
void core_store(struct ml_engine *ml, ml_store_kind kind);
void core_set_problem(struct ml_engine *ml, enum core_problem which, const char *text);
/** The sentence of this source, "" when there is none. */
const char *core_problem(const struct ml_engine *ml, enum core_problem which);
void core_set_state(struct ml_engine *ml, ml_state state);
/** A new node key is in force (or none): every module that uses it is told. @p pub: its public half. */
void core_use_node_key(struct ml_engine *ml, ml_time now, const ml_node_key *pub);
/** Seconds since the Unix epoch, control's clock preferred; 0 when not known. */
int64_t core_unix_now(const struct ml_engine *ml, ml_time now);
/** Tell control what changed about us: endpoints, home region, NetInfo. */
void core_publish(struct ml_engine *ml, ml_time now);
/** True while packets may flow at all. */
bool core_is_live(const struct ml_engine *ml);
/** Ends all sessions, relays and pings; the netmap goes too when @p forget. */
void core_drop_all(struct ml_engine *ml, ml_time now, bool forget);

/** What a peer that has no session is needed for now: pinned, recent, or nothing. */
enum ml_map_need core_need_at_rest(const struct ml_engine *ml, uint16_t peer);

/* slots.c */
/** The slot of this peer, opened if need be; an idle one is taken away when @p may_evict. ML_PATH_NO_SLOT: none to be had. */
uint16_t core_slot_get(struct ml_engine *ml, ml_time now, uint16_t peer, bool may_evict);
uint16_t core_slot_of(const struct ml_engine *ml, uint16_t peer);
/** The tick of an instant, 0 or not far from now, to be stored in a slot. */
ml_tick core_tick(struct ml_engine *ml, ml_time at);
void core_slot_close(struct ml_engine *ml, uint16_t slot);
/** Ends the session that was idle for longest, if one may be taken away: returns its peer, or ML_PEER_NONE. */
uint16_t core_slot_close_idle(struct ml_engine *ml, ml_time now);
/** Hands what the netmap now says of the peer to its path state. */
void core_slot_refresh(struct ml_engine *ml, ml_time now, uint16_t slot);
const struct ml_peer *core_slot_peer(const struct ml_engine *ml, uint16_t slot);

/* streams.c */
bool core_poll_stream(struct ml_engine *ml, ml_time now, ml_output *out);
/* No relay is dialled before. */
ml_time core_relay_hold(const struct ml_engine *ml);
/** Takes relay events as long as there is room for the packets in them. */
void core_drain_derp(struct ml_engine *ml, ml_time now);
void core_drain_control(struct ml_engine *ml, ml_time now);

/** The underlay changed: connections whose own address is gone are made anew, the others have to show that they live. */
void core_check_streams(struct ml_engine *ml, ml_time now);
/** How to dial a server of a relay region: everything but the id. @p pin: 32 bytes that live as long as the dialling. */
void core_relay_dial(const struct ml_engine *ml, const struct ml_derp_node *node, uint8_t *pin, ml_stream_open *out);
/** Its Host header. */
void core_write_relay_host(struct ml_writer *w, const struct ml_derp_node *node);

/* latency.c; `local` is the id without its owner */
bool core_latency_poll(struct ml_engine *ml, ml_time now, ml_output *out);
void core_latency_opened(struct ml_engine *ml, ml_time now, uint32_t local);
void core_latency_data(struct ml_engine *ml, ml_time now, uint32_t local, const uint8_t *buf, size_t len);
void core_latency_closed(struct ml_engine *ml, ml_time now, uint32_t local);
size_t core_latency_tx_peek(const struct ml_engine *ml, uint32_t local, const uint8_t **buf);
void core_latency_tx_done(struct ml_engine *ml, uint32_t local, size_t n);

/* demux.c */
/** Goes on with the handshake messages that wait, one curve operation in a call. */
void core_handshakes(struct ml_engine *ml, ml_time now);
void core_packet_in(struct ml_engine *ml, ml_time now, const struct core_carrier *c, uint8_t *buf, size_t len);
/** Seals an IP packet of our own making for a live peer and sends it. */
void core_send_inner(struct ml_engine *ml, ml_time now, uint16_t slot, const uint8_t *packet, size_t len);
/** Drains what wg, path and netcheck want sent into the output queue, as far as there is room. */
void core_drain_senders(struct ml_engine *ml, ml_time now);

/* handshake_out.c */
/** Sends a handshake message on its first way; @p msg may lie in the output queue's reserved room. */
void core_handshake_send(struct ml_engine *ml, ml_time now, uint16_t slot, const struct ml_peer *p, const uint8_t *msg,
                         size_t len);
/** Those that wait for a way, or for their second one. */
void core_handshake_go_on(struct ml_engine *ml, ml_time now);
void core_handshake_forget(struct ml_engine *ml, uint16_t slot);
ml_time core_handshake_deadline(const struct ml_engine *ml);
/** Repeats handshakes that nobody could answer while others were still hearing of this node. */
void core_fresh_time(struct ml_engine *ml, ml_time now);

/* apply.c */
void core_apply(void *ctx, const struct ml_delta *d);
/** Expired keys of peers, and our own. */
void core_check_expiry(struct ml_engine *ml, ml_time now);
struct core_apply_ctx {
    struct ml_engine *ml;
    ml_time now;
};

/* need.c */
void core_need_clear(struct ml_engine *ml);
/** Before a delta is given to the map. */
void core_need_before(struct ml_engine *ml, ml_time now, const struct ml_delta *d);
/** After END, when the rules of the message are in effect. */
void core_need_message_end(struct ml_engine *ml, ml_time now, bool has_new_rules);
/** A packet from or to a peer that is not in the table: has it read again when it may be one that was left out. */
void core_want_key(struct ml_engine *ml, ml_time now, const ml_node_key *key);
void core_want_ip(struct ml_engine *ml, ml_time now, const ml_ip *ip);
/** We speak with this peer: it is kept when its session ends, and over restarts. */
void core_note_recent(struct ml_engine *ml, ml_time now, uint64_t id);
void core_forget_recent(struct ml_engine *ml, uint64_t id);
bool core_is_recent(const struct ml_engine *ml, uint64_t id);
void core_need_time(struct ml_engine *ml, ml_time now);
ml_time core_need_deadline(const struct ml_engine *ml);

void core_regions_ready(struct ml_engine *ml, ml_time now);

/* cache.c */
/** Before ml_start(): the tables take what the record says. False when it is broken. */
bool core_cache_read(struct ml_engine *ml, const uint8_t *buf, size_t len);
/** In ml_start(): what was read is in force, or forgotten when it is not this node's. */
void core_cache_use(struct ml_engine *ml, ml_time now);
size_t core_cache_write(struct ml_engine *ml, uint8_t *buf, size_t cap);
/** Something that is cached changed; @p is_urgent: a restart must not bring back what is gone. */
void core_cache_touch(struct ml_engine *ml, ml_time now, bool is_urgent);
/** True when the record is to be written now. */
bool core_cache_poll(struct ml_engine *ml, ml_time now);
/** Write soon what waits. */
void core_cache_flush(struct ml_engine *ml, ml_time now);
ml_time core_cache_deadline(const struct ml_engine *ml);

/** A packet of a session that we do not have came from there: when it is a peer we know, begin a new session. */
void core_renew(struct ml_engine *ml, ml_time now, const struct core_carrier *c);

/* ping.c */
/** True when the TSMP pong or ICMP reply belongs to a ping of ours and is consumed. */
bool core_ping_answered(struct ml_engine *ml, ml_time now, ml_ping_kind kind, uint64_t node_id, const uint8_t nonce[8],
                        uint16_t peerapi_port);
void core_ping_time(struct ml_engine *ml, ml_time now);
ml_time core_ping_deadline(const struct ml_engine *ml);
void core_drain_pongs(struct ml_engine *ml, ml_time now);
void core_ping_fail_all(struct ml_engine *ml);

/* pump.c */
void core_mark(struct ml_engine *ml, uint32_t mark);
void core_peer_event(struct ml_engine *ml, ml_event_type type, uint64_t node_id);
void core_pong_event(struct ml_engine *ml, ml_event_type type, const ml_pong *pong);

#endif
