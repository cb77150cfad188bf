/*
 * WireGuard for all peers of one node: the facade of this folder (dataplane.md section 1).
 *
 * Sealed packets and time go in by call; plaintext, packets to send and events come out by call. Which node key lives in
 * which slot, where a packet travels (UDP or relay), routes and filters are the owner's: the source address of a packet is
 * used for cookies and rate limits only and never redirects anything. Siblings of this folder are private to it, except
 * sizes in wg_msg.h, wg_session.h and wg_timers.h.
 *
 * The order of calls:
 *   packet in    ml_wg_on_packet(); on ML_WG_IN_INITIATION look `key` up, then ml_wg_accept() or ml_wg_refuse().
 *                An owner with a budget of curve operations keeps initiations and responses that pass ml_wg_check(), one after
 *                the other, and gives them to ml_wg_on_handshake() again and again until none says "later"
 *   packet out   ml_wg_seal(); a packet that cannot go yet is staged and comes back through ml_wg_poll_send()
 *   time         ml_wg_on_time() when ml_wg_deadline() has come
 *   after each   until NONE: ml_wg_poll_event(); then until false: ml_wg_poll_send()
 * Events before packets: on ML_WG_EV_ESTABLISHED the owner may ml_wg_seal() a message that must precede the staged data.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_WG_H
#define ML_WG_WG_H

#include "microlink/engine.h"
#include "wg/wg_cookie.h"
#include "wg/wg_session.h"
#include "wg/wg_tai64n.h"
#include "wg/wg_timers.h"

/** Keep X25519(our static, peer's static) per peer: one scalar multiplication less per handshake for 32 bytes. */
#ifndef ML_CFG_WG_KEEP_STATIC_SECRET
#define ML_CFG_WG_KEEP_STATIC_SECRET 1
#endif

#define ML_WG_NO_SLOT   UINT16_MAX
#define ML_WG_MAX_SLOTS 32768

/** A packet that waits for a session. */
struct ml_wg_stage {
    uint32_t seq;  /* order of arrival */
    uint16_t next; /* of the same peer, or of the free list */
    uint16_t len;
    uint8_t data[ML_OVERLAY_MTU];
};

/**
 * An initiation of ours that waits for its answer. There are fewer of these than peers: when all are taken, first one that has
 * been repeated gives way to the peer that asks, then the oldest that has waited for ML_WG_FLIGHT_MIN, which is repeated by its
 * own timer; while there is none that old, the peer that asks waits.
 */
struct ml_wg_flight {
    ml_time sent_at;
    struct ml_wg_initiator hs; /* local_index 0: free */
    uint16_t slot;
    uint8_t mac1[ML_WG_MAC_LEN]; /* for a cookie that answers it */
    bool is_repeated;            /* another was sent to the same peer since */
};

/** One peer with session state. All of it is private to wg.c. */
struct ml_wg_peer {
    struct ml_wg_session session;
    const ml_node_key *key; /* the owner's */
    struct ml_wg_timers timers;
    ml_tick initiation_at; /* last initiation accepted; ML_TICK_NEVER: none */
    uint8_t stamp[ML_WG_STAMP_LEN];
#if ML_CFG_WG_KEEP_STATIC_SECRET
    uint8_t static_secret[32];
#endif
    uint16_t stage_head, stage_tail;
    uint16_t work_next;
    uint8_t stage_count;
    uint8_t flags;
    uint8_t events;
};

/** What happened so far. Drops that have no call to return them are counted here. */
struct ml_wg_counters {
    uint64_t handshakes; /* completed, either role: the responder's count when the first packet comes */
    uint64_t initiations_sent, responses_sent, cookies_sent, keepalives_sent;
    uint64_t initiations_displaced; /* unanswered ones that gave way to another peer's */
    uint64_t staged_dropped;        /* ML_DROP_WG_STAGED_FULL */
    uint64_t gave_up_dropped;       /* ML_DROP_WG_GAVE_UP */
};

struct ml_wg_cfg {
    const ml_random *random;  /* copied */
    struct ml_wg_peer *peers; /* slots; live as long as the device */
    struct ml_wg_stage *stage;
    struct ml_wg_flight *flights;
    struct ml_wg_spare *spares;
    uint16_t peer_count;     /* 1..ML_WG_MAX_SLOTS */
    uint16_t flight_count;   /* 1 or more; as many as slots, and nobody waits */
    uint16_t spare_count;    /* 1 or more; twice as many as slots, and no keypair gives way to that of another peer */
    uint16_t stage_count;    /* may be 0: then nothing waits */
    uint8_t stage_per_peer;  /* newest kept; 0 = 4 */
    uint32_t load_per_sec;   /* handshake messages a second beyond which cookies are asked for; 0 = 20 */
    const uint8_t *tai_mark; /* stored 12-byte mark, or NULL */
    uint64_t unix_sec;       /* time known to be past, or 0 */
    /* Curve operations that may be done in one call; lives as long as the device. NULL: as many as it takes, nothing is put off. */
    struct ml_curve_budget *budget;
};

struct ml_wg {
    struct ml_wg_identity id;
    ml_random rng;
    struct ml_wg_cookie_checker checker;
    struct ml_wg_tai64n tai;
    struct ml_curve_budget *budget;
    struct ml_wg_responder pending;
    struct ml_wg_answer answer; /* to the response being opened */
    struct ml_wg_draft draft;   /* of the next initiation, for `draft_slot`; the others that want one wait */
    struct ml_wg_peer *peers;
    struct ml_wg_stage *stage;
    struct ml_wg_flight *flights;
    struct ml_wg_common common;
    struct ml_wg_cookie cookies[ML_CFG_WG_COOKIES];
    ml_time next_at; /* nothing is due before */
    struct ml_wg_counters counters;
    uint32_t stage_seq;
    uint16_t peer_count, stage_count, flight_count, stage_free;
    uint16_t work_head, work_tail; /* slots that may have something to send */
    uint16_t event_count, event_next;
    uint16_t draft_slot;
    uint8_t slot_bits;
    uint8_t stage_per_peer;
    bool has_key;
    uint8_t reply[ML_WG_RESPONSE_LEN];
};

enum ml_wg_in_type {
    ML_WG_IN_DROP,       /* nothing to do; `drop` says why */
    ML_WG_IN_DATA,       /* `slot`; the IP packet `data`, `len`, padding removed. Not yet checked: its source address */
    ML_WG_IN_KEEPALIVE,  /* `slot`: an authenticated packet without content */
    ML_WG_IN_HANDSHAKE,  /* `slot`: our initiation was answered, the session is up */
    ML_WG_IN_COOKIE,     /* `slot`: our next initiation will carry the cookie */
    ML_WG_IN_INITIATION, /* `key` wants a session: ml_wg_accept() or ml_wg_refuse() */
    ML_WG_IN_REPLY,      /* send `data`, `len` back to the source it came from */
    ML_WG_IN_LATER       /* the budget is spent: give the same message to ml_wg_on_handshake() again, and no other before */
};

/** Instead of a drop: the budget is spent, call again. */
#define ML_WG_LATER ML_DROP_COUNT

struct ml_wg_in {
    enum ml_wg_in_type type;
    ml_drop drop;
    uint16_t slot;
    bool first_on_session; /* DATA, KEEPALIVE: this packet confirmed a session that we answered */
    uint8_t *data;         /* into the packet's own buffer, or into the device until the next call on it */
    size_t len;
    ml_node_key key;
};

enum ml_wg_seal_result {
    ML_WG_SEALED,  /* send it now */
    ML_WG_STAGED,  /* copied; comes out of ml_wg_poll_send() once a session is up */
    ML_WG_REFUSED, /* longer than ML_OVERLAY_MTU, @p cap too small, or no private key */
    ML_WG_DROPPED  /* there is no session and no room to wait (counted in staged_dropped) */
};

enum ml_wg_event {
    ML_WG_EV_NONE,
    ML_WG_EV_ESTABLISHED, /* a new session can carry data; also on each rekey */
    ML_WG_EV_GAVE_UP,     /* the peer did not answer for about 90 s; waiting packets were freed */
    ML_WG_EV_DEAD         /* no new session for 540 s: all keys of the slot are wiped, the owner may close it */
};

/** @retval ML_ERR_ARG  no random source or no slots. */
ml_err ml_wg_init(struct ml_wg *wg, ml_time now, const struct ml_wg_cfg *cfg);
/** Wipes the device and all slots. */
void ml_wg_clear(struct ml_wg *wg);
/** Sets our private key (copied), or none with NULL. Every session ends; slots stay open. The same key again: no effect. */
void ml_wg_set_key(struct ml_wg *wg, const ml_private_key *priv);
/** The same for an owner that knows the public half: without the curve operation. */
void ml_wg_set_keys(struct ml_wg *wg, const ml_private_key *priv, const ml_node_key *pub);
/** Trusted wall-clock time: see ml_wg_tai_set_wall(). */
void ml_wg_set_wall(struct ml_wg *wg, ml_time now, uint64_t unix_ms);
/** The mark to store, if one is due; answered by ml_wg_clock_stored(). Initiations wait for the answer. */
bool ml_wg_poll_clock(struct ml_wg *wg, ml_time now, uint8_t mark[ML_WG_STAMP_LEN]);
void ml_wg_clock_stored(struct ml_wg *wg, bool ok);

/**
 * @brief Makes @p slot the place of @p key, empty. Closes what was there.
 * @param key  Not copied: it stays where it is, unchanged, until the slot is closed. (It may have changed by then.)
 * @return false on a bad slot.
 */
bool ml_wg_peer_open(struct ml_wg *wg, uint16_t slot, const ml_node_key *key);
/** Wipes the slot; its staged packets are freed. Harmless on a closed one. */
void ml_wg_peer_close(struct ml_wg *wg, uint16_t slot);
bool ml_wg_peer_is_open(const struct ml_wg *wg, uint16_t slot);
/** The node key of an open slot, else NULL. */
const ml_node_key *ml_wg_peer_key(const struct ml_wg *wg, uint16_t slot);
/** True when data can be sent to the peer right now. */
bool ml_wg_peer_has_session(const struct ml_wg *wg, ml_time now, uint16_t slot);
/** When the current session was derived; 0: there is none. */
ml_time ml_wg_peer_session_at(const struct ml_wg *wg, uint16_t slot);
/** Asks for a session although there is nothing to send yet. */
void ml_wg_peer_connect(struct ml_wg *wg, ml_time now, uint16_t slot);
/**
 * What was taken out last for this peer (an initiation of ml_wg_poll_send(), a response of ml_wg_accept()) never left: there was
 * no way to the peer, and now there is. An initiation is written at once: the spacing of 5 s counts messages that were sent,
 * and it also does for a response, whose initiator hears of us by it.
 */
void ml_wg_peer_send_again(struct ml_wg *wg, ml_time now, uint16_t slot);
/** Ends the sending life of the current session (the peer restarted): the next packet starts a handshake. */
void ml_wg_peer_expire(struct ml_wg *wg, uint16_t slot);

/**
 * @brief One packet from the network, WireGuard by its demultiplexed class; opened in place.
 * @param buf  Writable; on DATA `res->data` points into it.
 */
void ml_wg_on_packet(struct ml_wg *wg, ml_time now, const struct ml_wg_source *from, uint8_t *buf, size_t len,
                     struct ml_wg_in *res);
/**
 * @brief What comes before any curve operation on an initiation or a response: shape, mac1, and under load mac2 and the rate.
 * @return true: ml_wg_on_handshake() may have it. False: @p res says what becomes of it (DROP or REPLY).
 */
bool ml_wg_check(struct ml_wg *wg, ml_time now, const struct ml_wg_source *from, const uint8_t *msg, size_t len,
                 struct ml_wg_in *res);
/** The rest of it. After INITIATION, too, the same message may come again until ml_wg_accept() or ml_wg_refuse() ended it. */
void ml_wg_on_handshake(struct ml_wg *wg, ml_time now, const uint8_t *msg, size_t len, struct ml_wg_in *res);
/**
 * @brief Does the pending initiation really come from the key it names? One X25519, kept for ml_wg_accept().
 *
 * To be asked before a slot is opened, or taken from somebody else, for it: anybody can write an initiation that names a
 * key. ML_DROP_NONE when it does; ML_WG_LATER.
 */
ml_drop ml_wg_verify(struct ml_wg *wg);
/**
 * @brief Answer the pending initiation from an open slot that holds its key.
 * @return ML_DROP_NONE: send `res->data`, `res->len` to the peer (by its own path, not to the packet's source). ML_WG_LATER.
 *         ML_DROP_NO_MEMORY: no room for its keypair now; it stays pending and may be asked for again, or refused.
 *         Otherwise nothing is sent: forged, stamp not newer than the last, or within 20 ms of the last.
 */
ml_drop ml_wg_accept(struct ml_wg *wg, ml_time now, uint16_t slot, struct ml_wg_in *res);
/** Forget the handshake message that is being worked on: nothing is sent. ml_wg_on_packet() does it too when it gets one. */
void ml_wg_refuse(struct ml_wg *wg);

/**
 * @brief Seal an IP packet for a peer, or stage it and ask for a handshake.
 * @param dst  Room for ML_WG_DATA_OVERHEAD + len rounded up to 16. With pkt == dst + ML_WG_DATA_HEADER nothing is copied.
 */
enum ml_wg_seal_result ml_wg_seal(struct ml_wg *wg, ml_time now, uint16_t slot, const uint8_t *pkt, size_t len, uint8_t *dst,
                                  size_t cap, size_t *out_len);
/**
 * @brief The next packet to send of the device's own making: initiation, keepalive or staged data.
 * @param cap  At least ML_OVERLAY_MTU + ML_WG_DATA_OVERHEAD.
 * @return false: none.
 */
bool ml_wg_poll_send(struct ml_wg *wg, ml_time now, uint8_t *dst, size_t cap, uint16_t *slot, size_t *len);
enum ml_wg_event ml_wg_poll_event(struct ml_wg *wg, uint16_t *slot);

void ml_wg_on_time(struct ml_wg *wg, ml_time now); /**< Harmless if called early. */
/** When ml_wg_on_time() is next of use; may be earlier than needed, ML_NEVER when idle. */
ml_time ml_wg_deadline(const struct ml_wg *wg);

#endif
