/*
 * The underlay: which way a packet to a peer goes now, and the DISCO conversation that finds out. dataplane.md 3.3, 4.
 *
 * The path state machine of the official client (wgengine/magicsock/endpoint.go) with a bound on everything. Owns, for each
 * peer with a slot, its candidate addresses, its best path and timers; and the outstanding pings, the pongs to be sent and
 * the DISCO shared keys of all. Does no I/O, does not know the netmap (core/ looks peers up), does not touch WireGuard
 * packets (it only says where they go), has no relay (Geneve) paths.
 *
 * Timers, all from 4.1 of the document:
 *   heartbeat    every 3 s while the last send is under 45 s ago: ping the best path, and all candidates when it is not
 *                direct, not trusted, or slower than 5 ms and not compared for 60 s
 *   trust        a pong makes its path the only one for 6.5 s; after that packets go there *and* over the peer's DERP home
 *   check        when we send and the path was not heard for 1 s, a ping asks whether it still works, and another after half of
 *                the wait; without an answer in 0.5 s and two round trips it is not trusted any more, and the peer is told by
 *                call-me-maybes to leave it too (path_check.c). A call-me-maybe of the peer, who so looks for a path, begins such
 *                a check as well. (The official client does nothing of it, and is silent for up to 6.5 s.)
 *   call back    a call-me-maybe of a peer whose pings do not come through is answered by one of ours as soon as we send
 *                to it, trusted path or not: ours may work one way only. (The official client calls when it has no path.)
 *   ping         5 s to be answered; a best path that is no longer trusted falls when its ping times out
 *   discovery    a candidate is pinged every 5 s at most, call-me-maybe excepted, and the first ping heard from it in 5 s
 *   ping back    a ping from a peer that we are sending to, while no direct path to it is trusted, is answered by a ping of
 *                ours to where it came from: what it came through is open now, and both sides are direct one round trip later
 *                (the official client waits for its next packet or heartbeat)
 *
 * Bounds and what gives way:
 *   candidates   8 a peer, of them 4 IPv6. Netmap and call-me-maybe addresses hold at most 6 and 3, the sources of its pings the
 *                rest. A new ping source replaces the one heard from longest ago; a new call-me-maybe address replaces a netmap
 *                address that never answered; of a longer list the first two of each kind (public IPv4, private, IPv6) have
 *                room. The best path never gives way (D37).
 *   pings        32 in all, 16 discovery pings of one peer. A new discovery ping takes the place of a discovery ping older
 *                than 1 s (of its own peer at that peer's limit), or is not sent; a heartbeat or CLI ping takes the place of
 *                the oldest discovery ping.
 *   pongs        8 waiting to be polled; more are dropped (ML_DROP_DISCO_LIMITED). Poll after every datagram.
 *   heard pings  16, to answer a ping that the network doubled only once; a copy that comes later is answered again.
 *   shared keys  one per slot, and 4 for peers without one, the least recently used gives way; at most 20 curve
 *                operations a second for them.
 *   CLI pings    4 at a time.
 *
 * Call order of the integrator: init, set_keys; peer_open/update/close as the netmap and sessions change; on every input the
 * function for it, then ml_path_poll_send() until it yields 0, ml_path_poll_pong() until false, ml_path_take_stun_wanted().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_PATH_PATH_H
#define ML_PATH_PATH_H

#include "base/tick.h"
#include "crypto/curve_budget.h"
#include "disco/disco_box.h"
#include "disco/disco_msg.h"
#include "microlink/error.h"
#include "microlink/stats.h"
#include "path/better.h"
#include "path/endpoints.h"

#define ML_PATH_CANDIDATES 8 /* per peer, 12 bytes each */
#define ML_PATH_GIVEN_MAX  6 /* of them from netmap and call-me-maybe */
#define ML_PATH_IP6        4 /* of them IPv6, 16 bytes more each */
#define ML_PATH_IP6_GIVEN  3
#define ML_PATH_HEARD      16
#define ML_PATH_PINGS      32
#define ML_PATH_PINGS_EACH 16 /* discovery pings of one peer among them: two rounds */
#define ML_PATH_PONGS      8
#define ML_PATH_KEYS       4
#define ML_PATH_CLI        4
#define ML_PATH_NO_SLOT    UINT16_MAX

#define ML_PATH_SESSION_ACTIVE  ML_SEC(45)
#define ML_PATH_HEARTBEAT       ML_SEC(3)
#define ML_PATH_TRUST           ML_MSEC(6500)
#define ML_PATH_CHECK_AFTER     ML_SEC(1)
#define ML_PATH_CHECK_WAIT      ML_MSEC(500)
#define ML_PATH_PING_TIMEOUT    ML_SEC(5)
#define ML_PATH_PING_INTERVAL   ML_SEC(5)
#define ML_PATH_UPGRADE         ML_SEC(60)
#define ML_PATH_GOOD_ENOUGH     ML_MSEC(5)
#define ML_PATH_ENDPOINTS_FRESH ML_SEC(27)

/**
 * What the netmap says of a peer. `endpoints` is borrowed for the call; the keys are not copied and stay where they are until
 * the slot is closed. The disco key may change there, and is in use from then on; the node key may not.
 */
struct ml_path_info {
    const ml_node_key *node;
    const ml_disco_key *disco; /* zero: not reachable by DISCO */
    uint16_t home_region;
    const ml_addr *endpoints;
    size_t endpoint_count;
    bool is_wireguard_only;
};

/* Two stamps of 16 bits, see ml_path_cand_tick(). */
struct ml_path_candidate {
    uint32_t ip4;    /* when it is IPv4 */
    uint16_t pinged; /* last discovery ping, 0 = none since the last reset, or long ago */
    uint16_t heard;  /* last ping from it, 0 = none, or long ago */
    uint16_t port;
    uint8_t from;     /* where it is known from: bits in path_internal.h; 0 = entry free */
    unsigned ip6 : 4; /* place in ml_path_peer.ip6 + 1, 0: it is IPv4 */
    unsigned has_pong : 1;
};

/** One slot. All private to src/path. */
struct ml_path_peer {
    const ml_node_key *node; /* NULL: the slot is free */
    const ml_disco_key *disco;
    struct ml_disco_shared shared;
    uint8_t shared_of[4]; /* start of the disco key that `shared` belongs to, to see that it changed */
    bool has_shared : 1, is_wireguard_only : 1;
    bool is_cmm_wanted : 1; /* a call-me-maybe is to be sent after our pings */
    bool is_cmm_repeat : 1; /* the one that is wanted, or was sent last, is one */
    bool is_unheard : 1;    /* no message of it came since our last call-me-maybe, repeats not counted */
    bool is_called : 1;     /* the peer called, and none of its pings came through: call it with the next packet we send */
    uint8_t check, notice;  /* enums in path_internal.h */
    uint8_t cmm_repeats;    /* of call-me-maybes since there was a path, or since we began to send */
    uint8_t best;           /* the candidate that is the best path: its place + 1, 0 = there is none */
    uint16_t home_region;
    uint16_t seen4_port; /* with seen4 */
    uint32_t seen4;      /* IPv4 address at which the peer saw the last ping to best come from; 0 = unknown */
    uint32_t latency_us; /* of best */
    /* To be read by ml_path_time(), and changed by ml_path_tick(). */
    ml_tick trust_until;
    ml_tick heard_at;          /* last packet or pong of the peer from best */
    ml_tick check_until;       /* next step of `check`; ML_TICK_NEVER: there is none */
    ml_tick last_send_at;      /* by local trigger; 0 = never */
    ml_tick last_rx_at;        /* 0 = never */
    ml_tick last_full_ping_at; /* 0 = never */
    ml_tick heartbeat_at;      /* ML_TICK_NEVER = idle */
    ml_tick cmm_wanted_at;     /* of the last one, sent or not; none follows for ML_PATH_PING_INTERVAL without pings */
    ml_tick cmm_round_at;      /* last round that a received call-me-maybe caused; 0 = never */
    uint32_t aged_tick;        /* when the stamps of candidates were last looked at */
    struct ml_path_candidate cand[ML_PATH_CANDIDATES];
    ml_ip ip6[ML_PATH_IP6]; /* unset = free */
};

/** Result of a CLI ping. */
struct ml_path_pong {
    uint32_t token;
    bool is_timeout;
    ml_time latency;
    ml_addr via;          /* direct */
    uint16_t derp_region; /* or this */
};

struct ml_path_cfg {
    const ml_random *rng; /* must live as long as the path */
    bool no_disco;        /* no pings, no call-me-maybe; only pings over DERP are answered */
    bool no_derp;         /* never route over DERP */
    bool no_stun;         /* own endpoints are as fresh as they get: local ones */
    /* Curve operations that may be done in one call; lives as long as the path. NULL: any. What has to wait to be sent waits; a
     * datagram is to be given only while there is one left. */
    struct ml_curve_budget *budget;
};

struct ml_path {
    struct ml_endpoints ep; /* own endpoints; use ml_endpoints_take_changed(&p->ep) and read ep.list */

    /* Private from here. */
    struct ml_path_cfg cfg;
    struct ml_path_peer *peers;
    struct ml_epoch epoch; /* of the ticks in `peers` */
    uint16_t peer_count;
    bool has_keys, is_stun_wanted, has_local4, has_local6, has_local;
    bool is_router_doubted;
    ml_time router_doubt_from;
    ml_node_key node_pub;
    ml_disco_key disco_pub;
    ml_private_key disco_priv;
    struct ml_path_ping {
        uint8_t tx[ML_DISCO_TX_LEN];
        uint8_t state;   /* enum in path.c; 0 = free */
        uint8_t purpose; /* enum in path.c */
        uint16_t slot;
        uint16_t derp_region; /* destination: this, or `to` */
        ml_addr to;
        uint8_t cli; /* index + 1 of the CLI ping it belongs to, else 0 */
        ml_time at;  /* when it was sent; when asked for, until then */
    } pings[ML_PATH_PINGS];
    struct ml_path_reply {
        uint8_t tx[ML_DISCO_TX_LEN];
        uint16_t derp_region;
        ml_addr src;      /* where the ping came from, and its pong goes unless it came over DERP */
        ml_node_key node; /* destination over DERP */
        ml_disco_key disco;
    } pongs[ML_PATH_PONGS];
    uint8_t pong_head, pong_count;
    uint8_t heard_next;
    uint32_t heard[ML_PATH_HEARD]; /* marks of UDP pings, to tell a repeated one; 0 = none */
    struct ml_path_key {
        ml_disco_key disco; /* zero = free */
        struct ml_disco_shared shared;
        ml_time used_at;
    } keys[ML_PATH_KEYS];
    uint8_t derive_count; /* curve operations in this second */
    ml_time derive_at;
    struct ml_path_cli {
        bool is_used, is_done;
        uint8_t repeats;
        uint16_t slot;
        ml_time at, repeat_at;
        struct ml_path_pong result;
    } cli[ML_PATH_CLI];
};

/** @brief @p peers: caller's array of @p count slots, the path's until ml_path_clear(). */
void ml_path_init(struct ml_path *p, const struct ml_path_cfg *cfg, struct ml_path_peer *peers, uint16_t count);
/** @brief Wipes keys and slots. */
void ml_path_clear(struct ml_path *p);
/** @brief Our node key and disco key pair; on a rotation too. Nothing is sent or opened before. */
void ml_path_set_keys(struct ml_path *p, const ml_node_key *node, const ml_private_key *disco);
/** @brief A private disco key's public half, as set; zero before. */
const ml_disco_key *ml_path_disco_key(const struct ml_path *p);

/* ---- Own endpoints ---- */
void ml_path_set_local_addrs(struct ml_path *p, const ml_addr *addrs, size_t count);
/** @brief A measurement ended: hand in its facts (ml_netcheck_report.facts). Call-me-maybes that waited for it go out. */
void ml_path_set_facts(struct ml_path *p, ml_time now, const struct ml_endpoint_facts *facts);
/** @brief True while a call-me-maybe waits for fresh endpoints: the first address that a measurement finds is enough for it. */
bool ml_path_is_waiting_for_facts(const struct ml_path *p, ml_time now);
/** @brief True once when a call-me-maybe waits for fresh endpoints: start a netcheck. */
bool ml_path_take_stun_wanted(struct ml_path *p);
/** @brief True once when our router has forgotten a mapping, so perhaps those of TCP too: check every connection. */
bool ml_path_take_router_doubted(struct ml_path *p);

/* ---- Peers. `slot` is 0..count-1; the integrator uses the same number for the WireGuard session. ---- */
/** @brief Start path state of a peer in a free slot. Sends nothing. */
void ml_path_peer_open(struct ml_path *p, ml_time now, uint16_t slot, const struct ml_path_info *info);
/** @brief The netmap changed: candidates are merged, a new home is taken, the best path stays. */
void ml_path_peer_update(struct ml_path *p, ml_time now, uint16_t slot, const struct ml_path_info *info);
/** @brief Forget the peer: its pings are no longer awaited, its CLI pings fail, its key is wiped. */
void ml_path_peer_close(struct ml_path *p, uint16_t slot);

/* ---- WireGuard packets ---- */
struct ml_path_route {
    ml_addr udp;          /* unset = not by UDP */
    uint16_t derp_region; /* 0 = not by DERP. Both are set while the direct path is not trusted: send the packet twice */
};
/**
 * @brief Where does a WireGuard packet to this peer go now? Call once for each packet (or batch): it counts as a send,
 * keeps heartbeats going, and starts discovery when there is no trusted direct path.
 * @return false: neither way exists; try the relay the peer was last heard on (7.7), else drop.
 */
bool ml_path_route(struct ml_path *p, ml_time now, uint16_t slot, struct ml_path_route *out);
/** @brief An authenticated WireGuard packet came from the peer. @p from: its UDP source, NULL over DERP. */
void ml_path_note_rx(struct ml_path *p, ml_time now, uint16_t slot, const ml_addr *from);
/** @brief The port could not send to @p addr at all (network or host unreachable): no path goes there until it answers. */
void ml_path_note_unreachable(struct ml_path *p, const ml_addr *addr);

/* ---- DISCO in ---- */
/** A DISCO datagram on its way through the two steps. */
struct ml_path_in {
    ml_addr from;              /* UDP source, or unset */
    uint16_t derp_region;      /* DERP region it came through, or 0 */
    ml_node_key derp_source;   /* node key the relay names as its source */
    bool is_derp_source_known; /* that key is in the netmap, with or without a slot */
    ml_disco_key sender;       /* filled in by ml_path_disco_open() */
    struct ml_disco_msg msg;   /* likewise */
};

/** @brief Step 0: the key a DISCO datagram claims to be from. Look it up in the netmap; if no peer has it, drop
 * (ML_DROP_DISCO_UNKNOWN_KEY) without going further: no cryptography is spent on strangers (D18). */
bool ml_path_disco_sender(const uint8_t *buf, size_t len, ml_disco_key *sender);

/**
 * @brief Step 1: open and parse, for a sender that is in the netmap. Works without a slot.
 * @param in  `from` or `derp_*` set by the caller; `sender` and `msg` are filled in.
 * @param buf Opened in place.
 * @return false with @p drop set. True: authentic and understood; go on to step 2.
 */
bool ml_path_disco_open(struct ml_path *p, ml_time now, struct ml_path_in *in, uint8_t *buf, size_t len, enum ml_drop *drop);

/**
 * @brief Between the steps: does this message need a slot for peer `in->derp_source`? True for a call-me-maybe. Open the slot
 * when that peer's netmap disco key equals `in->sender`; without a slot the message is dropped. A ping is answered without
 * one, but opening one when there is room keeps its source as a candidate.
 */
bool ml_path_disco_wants_slot(const struct ml_path_in *in);

/**
 * @brief Step 2: act on the message.
 * @return the slot that it concerned, or ML_PATH_NO_SLOT; @p drop is ML_DROP_NONE when it had an effect.
 */
uint16_t ml_path_disco_handle(struct ml_path *p, ml_time now, const struct ml_path_in *in, enum ml_drop *drop);

/* ---- DISCO out ---- */
struct ml_path_dst {
    ml_addr udp;          /* send to this address, or */
    uint16_t derp_region; /* to `node` over this region */
    ml_node_key node;
    /* 0, or slot + 1 of a peer that did not say a word since our last call-me-maybe, so perhaps cannot open them: control may
     * not have told it our disco key, and what told it through the tunnel may be lost. It is to be told again. */
    uint16_t deaf;
};
/** Longest datagram that ml_path_poll_send() yields: a call-me-maybe with all own endpoints and one more. */
#define ML_PATH_SEND_MAX (ML_DISCO_OVERHEAD + 2 + 18 * (ML_ENDPOINTS + 1))
/** @brief Next DISCO datagram to send: pongs first, then pings, then call-me-maybes. Returns its length, 0 = none.
 * @p cap at least ML_PATH_SEND_MAX. A ping's time runs from here. */
size_t ml_path_poll_send(struct ml_path *p, ml_time now, uint8_t *buf, size_t cap, struct ml_path_dst *dst);

/* ---- CLI pings (disco kind) ---- */
/** @brief Ping a peer: over its best path if trusted, else over DERP and all candidates at once. The first pong counts.
 * @p is_newcomer: control may not have told the peer of us yet. The ping is repeated over DERP 0.25, 0.5 and 0.75 s
 * later; official clients ping once, and their command again after a second. The latency is that of the ping that was answered.
 * @retval ML_ERR_FULL 4 are running  @retval ML_ERR_NO_PATH nothing to ping, or no disco key  @retval ML_ERR_STATE no keys */
ml_err ml_path_cli_ping(struct ml_path *p, ml_time now, uint16_t slot, uint32_t token, bool is_newcomer);
/** @brief Next result, at the latest 5 s after the ping. */
bool ml_path_poll_pong(struct ml_path *p, struct ml_path_pong *out);

/* ---- Time and status ---- */
/** @brief The underlay changed: no best path is believed, candidates stay and may be pinged at once; STUN is wanted. */
void ml_path_rebind(struct ml_path *p);
void ml_path_on_time(struct ml_path *p, ml_time now);
ml_time ml_path_deadline(const struct ml_path *p);

struct ml_path_status {
    ml_addr direct;     /* trusted direct address; unset while relayed */
    ml_time latency;    /* of the last pong of best, 0 = unknown */
    ml_time last_rx_at; /* 0 = never */
    bool is_active;     /* sent within 45 s */
};
void ml_path_get_status(const struct ml_path *p, ml_time now, uint16_t slot, struct ml_path_status *out);
/** @brief Microseconds ago that anything was sent to this peer; ML_NEVER when never. For choosing a slot to give up. */
ml_time ml_path_idle_for(const struct ml_path *p, ml_time now, uint16_t slot);

#endif
