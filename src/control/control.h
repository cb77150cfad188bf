/*
 * The control client: reach the control server, register this node, follow its netmap, publish what peers need to know.
 *
 * Sans-I/O. Streams are asked for by ml_control_poll_stream(), bytes come in by ml_control_on_data() and go out by
 * ml_control_tx_peek(), the netmap leaves as ml_delta values through the sink given to on_data, everything else as events.
 * Below it are noise/ (ts2021), http/ (upgrade, HTTP/2) and json/. It owns keys on their way to being accepted (machine
 * key, node key, auth key), connection and back-off state; it keeps no netmap. Source: control.md 2-9, 11.
 *
 * Siblings and core/ use the functions here; the struct's fields are private to src/control, its size is not.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CONTROL_CONTROL_H
#define ML_CONTROL_CONTROL_H

#include "base/log.h"
#include "control/control_state.h"
#include "model/delta.h"

/**
 * @brief Take a control URL apart: "http(s)://host[:port][/]".
 * @return false when it is not one, names another scheme, has a path, or its host is longer than the struct holds.
 */
bool ml_control_parse_url(const char *url, struct ml_control_url *out);

struct ml_control_cfg {
    struct ml_control_url url;
    uint16_t capver;            /**< Announced everywhere (control.md 6.5); 0 = ML_CAPVER_DEFAULT. */
    const char *hostname;       /**< Copied, at most 63 bytes, first label only. */
    const char *os;             /**< Hostinfo.OS; copied, at most 15 bytes. */
    bool ephemeral;             /**< RegisterRequest.Ephemeral. */
    const ml_random *random;    /**< Must outlive the client. */
    const struct ml_log *log;   /**< May be NULL; must outlive the client. */
    ml_private_key machine_key; /**< Copied. */
    /** Curve operations that may be done in one call; lives as long as the client. NULL: any. */
    struct ml_curve_budget *budget;
    ml_machine_key server_key; /**< Cached or pinned; all zero = fetch it first. */
    bool server_key_is_pinned; /**< Never replace server_key by a fetched one. */
    uint8_t *tx;               /**< ML_CONTROL_TX_MIN bytes or more: sealed bytes waiting for the socket; ours until clear. */
    size_t tx_len;
    uint16_t window;          /**< Bytes that a stream of the server may be ahead of what was read; 0 = 16384. */
    uint32_t map_message_max; /**< Longest netmap message taken; 0 = 64 MiB. Parsing memory does not depend on it. */
};

/** @return false: bad URL, missing random source, or too little tx memory. */
bool ml_control_init(struct ml_control *c, const struct ml_control_cfg *cfg);
/** Wipes everything. No stream is closed: the caller drops them. */
void ml_control_clear(struct ml_control *c);

/** The node's keys as stored by an earlier run. */
struct ml_control_identity {
    ml_private_key node_key;  /**< The server has accepted it. All zero: none, register anew. */
    ml_private_key candidate; /**< It has not yet: a login with this key waited for a person (ML_CONTROL_EV_CANDIDATE). */
};

/**
 * Connect, and stay connected through every failure until stop. @p id NULL: no node key yet. Copied. Call
 * ml_control_set_published() first: without a disco key, servers forget the one they have (C30).
 */
void ml_control_start(struct ml_control *c, ml_time now, const struct ml_control_identity *id);
/** Close all streams (poll_stream yields the closes); keys stay. */
void ml_control_stop(struct ml_control *c, ml_time now);
/**
 * Tell the server that this node key is finished, then forget it and stop: ends in an IDENTITY event without key and state
 * ML_STATE_STOPPED, also when the server cannot be reached within ML_CONTROL_LOGOUT_MAX (the key is forgotten all the same).
 */
void ml_control_logout(struct ml_control *c, ml_time now);
/** Use this key (copied; NULL removes it) for the next registration, at once when one is waiting. False: too long. */
bool ml_control_set_auth_key(struct ml_control *c, ml_time now, const char *auth_key);
/** The engine saw our own key expire by the clock: get a new one accepted (auth key, or a login URL). Idempotent.
 *  May be called from the sink. */
void ml_control_set_expired(struct ml_control *c, ml_time now);
/** Trusted wall clock, for Retry-After given as a date. */
void ml_control_set_wall_clock(struct ml_control *c, ml_time now, uint64_t unix_ms);
/**
 * The underlay changed. A connection that is up is asked for a sign of life, and given up without one within
 * ML_CONTROL_CHECK; an attempt under way, or a back-off, starts over at once.
 */
void ml_control_check(struct ml_control *c, ml_time now);
/** The underlay changed and the connection cannot have survived: drop it, and dial again without waiting for a back-off. */
void ml_control_rebind(struct ml_control *c, ml_time now);
/**
 * Open the map poll anew on the same connection, to hear the whole netmap again. Not from inside the sink.
 *
 * @return false when a message is being read: nothing was done, ask again after its end. True also without a poll: the next one
 *         begins with the whole netmap anyway.
 */
bool ml_control_reread(struct ml_control *c, ml_time now);

/**
 * Takes a copy. A change of anything but latency is published by a lite update: coalesced, one at a time, at most one a
 * second, but a first home region at once.
 */
void ml_control_set_published(struct ml_control *c, ml_time now, const struct ml_control_published *p);

/* ---- Streams. Local ids are slot | generation << 8, below 2^24; never 0. ---- */
/**
 * What to do next about streams. Yields at most one open and one close per call; call until it returns false.
 * @param open      Filled when *has_open. Its strings live in @p c and stay until the stream is opened or closed.
 * @param close_id  The stream to close, or 0. Nothing is delivered for it afterwards; events for it are ignored.
 */
bool ml_control_poll_stream(struct ml_control *c, ml_time now, struct ml_stream_open *open, bool *has_open, uint32_t *close_id);
void ml_control_on_opened(struct ml_control *c, ml_time now, uint32_t id);
/**
 * Bytes from a stream. Emits deltas from inside, so the sink must be ready to apply them; a caller that has no room for what
 * they cause does not call. All bytes are taken unless our own tx memory is full or the server told us to pause (@p used then
 * tells how many were; offer the rest again after the streams were written and ml_control_deadline() has come).
 */
void ml_control_on_data(struct ml_control *c, ml_time now, uint32_t id, const uint8_t *buf, size_t len, size_t *used,
                        const struct ml_delta_sink *sink);
/** The stream failed to open, or ended. @p detail may be NULL. @p sink hears ABORT when a netmap message was cut off. */
void ml_control_on_closed(struct ml_control *c, ml_time now, uint32_t id, enum ml_close_reason reason, const char *detail,
                          const struct ml_delta_sink *sink);
size_t ml_control_tx_peek(const struct ml_control *c, uint32_t id, const uint8_t **buf);
void ml_control_tx_done(struct ml_control *c, ml_time now, uint32_t id, size_t n);

/* ---- Time ---- */
/** Harmless if called early. @p sink hears ABORT when the watchdog cuts off a netmap message. */
void ml_control_on_time(struct ml_control *c, ml_time now, const struct ml_delta_sink *sink);
ml_time ml_control_deadline(const struct ml_control *c);

/* ---- Events ---- */
enum ml_control_event_type {
    ML_CONTROL_EV_NONE,
    ML_CONTROL_EV_SERVER_KEY,   /**< server_key was fetched and proven by a handshake: cache it. */
    ML_CONTROL_EV_IDENTITY,     /**< node_key was accepted: store it and use it from now on. NULL: forgotten (logout). */
    ML_CONTROL_EV_CANDIDATE,    /**< node_key waits for a person: store it, for the URL is good for it only. NULL: no more.
                                     A node whose key expired has both. */
    ML_CONTROL_EV_REGISTERED,   /**< user_id, user_login: the owner. */
    ML_CONTROL_EV_LOGIN_URL,    /**< text: the page the user must visit; "" when none is pending any more. */
    ML_CONTROL_EV_STATE,        /**< state changed. */
    ML_CONTROL_EV_RUNNING,      /**< The first full netmap of a stream is complete. */
    ML_CONTROL_EV_STREAM_ENDED, /**< The map poll ended; the last netmap stays in force (C48). */
    ML_CONTROL_EV_REREGISTER,   /**< The server does not know our key any more; registering again. */
    ML_CONTROL_EV_PROBLEM,      /**< problem, text: one sentence that says what to do; PROBLEM_NONE and "" when it is over. */
    ML_CONTROL_EV_COUNT
};
struct ml_control_event {
    enum ml_control_event_type type;
    ml_state state;
    enum ml_control_problem problem;
    const char *text; /**< Lives until the next call on the client. */
    uint64_t user_id;
    const char *user_login;
    const ml_private_key *node_key;
    const ml_node_key *node_pub; /**< Its public half. */
    const ml_machine_key *server_key;
};
/**
 * Takes one event; false when there is none. Events are "this changed" marks, so a slow reader sees the newest value once.
 * They come in the order of the enumeration: an identity before the state that depends on it.
 */
bool ml_control_poll_event(struct ml_control *c, struct ml_control_event *ev);

ml_state ml_control_state(const struct ml_control *c);
/** When the netmap message that is being read began; ML_NEVER: none is. */
ml_time ml_control_reading_since(const struct ml_control *c);

void ml_control_get_stats(const struct ml_control *c, struct ml_control_stats *out);

#endif
