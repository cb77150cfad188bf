/*
 * Packet filter: may this packet come in, and which replies may follow the ones that went out. control.md 10.
 *
 * Verdicts are those of the official wgengine/filter. Rules come as deltas in named sets; what a message says of them takes
 * effect when the message was read to its end, so one that breaks off leaves the rules as they were. Everything is bounded and fails
 * closed: before any rules nothing new comes in, a rule that does not fit allows nothing, and "cap:" sources match nobody.
 * Owns the compiled rules, the local networks and two flow tables (normal and jailed). Peers and routes are others' business.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_FILTER_FILTER_H
#define ML_FILTER_FILTER_H

#include "ip/ip_view.h"
#include "microlink/stats.h"
#include "model/delta.h"

#define ML_FILTER_SETS     4
#define ML_FILTER_NAME_CAP 32 /**< A set with a longer name is not taken. */
#define ML_FILTER_LOCALS   8

struct ml_filter_cfg {
    uint16_t max_entries;      /**< One for each rule, source and destination, 22 B each; 0 = 64. At most 65000. */
    uint16_t max_flows;        /**< UDP and SCTP flows remembered, 48 B each; 0 = 64. At most 32768. */
    uint16_t max_jailed_flows; /**< The same for jailed peers; 0 = 16. */
};

/* One element of a compiled rule: a head is followed by its sources, then its destinations. Private. */
struct ml_filter_entry {
    uint8_t b[16];                  /* address; head: protocols */
    uint16_t port_first, port_last; /* head: source count, destination count */
    uint8_t bits;                   /* head: protocol count */
    uint8_t kind;
};

/* A named set: a run of entries in the pool. Private. */
struct ml_filter_set {
    char name[ML_FILTER_NAME_CAP]; /* "" = unused; the name that a set being read will have is in ml_filter.staged_name */
    uint16_t at, count;
    bool is_invalid;
    bool is_partial;
    bool is_doomed; /* in effect, and gone when the message ends */
};

/* Flows that went out, newest first; the oldest is replaced when full. Private. */
struct ml_flow;
struct ml_flow_table {
    struct ml_flow *flows;
    uint16_t *buckets;
    uint16_t cap, count, newest, oldest;
    uint16_t bucket_mask;
};

struct ml_filter {
    uint16_t peerapi_port4, peerapi_port6; /**< TCP to these ports of ours passes though refused: HTTP decides. 0 = none. */
    uint32_t rule_over_limit;              /**< Rules and sets that did not fit, since init. */
    /* Private. */
    struct ml_filter_entry *pool;
    uint16_t pool_cap, pool_used;
    struct ml_filter_set sets[ML_FILTER_SETS];
    struct ml_filter_set ready[ML_FILTER_SETS]; /* read; in effect when the message ends */
    struct ml_filter_set staged;                /* being read; its entries end the pool */
    bool is_staging, is_in_message, is_shields_up, is_void;
    ml_prefix locals[ML_FILTER_LOCALS];
    uint8_t local_count;
    struct ml_flow_table flows, jailed_flows;
    ml_time reject_window_at; /* of the reject rate */
    uint8_t reject_count;
};

size_t ml_filter_mem(const struct ml_filter_cfg *cfg);
/** @param mem ml_filter_mem(cfg) bytes aligned for max_align_t, the filter's from now on. */
void ml_filter_init(struct ml_filter *f, const struct ml_filter_cfg *cfg, void *mem);
/** Forgets rules, local networks and flows (logout, another identity). */
void ml_filter_clear(struct ml_filter *f);

/**
 * Which destinations are ours: own addresses, and routes that we advertise. Copied. Beyond ML_FILTER_LOCALS they are not ours;
 * returns how many were taken.
 */
size_t ml_filter_set_locals(struct ml_filter *f, const ml_prefix *nets, size_t count);
/** Refuse whatever is not a reply. A change forgets the flows, as in the reference. */
void ml_filter_set_shields_up(struct ml_filter *f, bool is_on);

/**
 * Applies one delta; those that are not about rules are ignored, but BEGIN, END and ABORT must be given too. Between BEGIN
 * and END changes wait for END; outside a message they take effect at once.
 * @return ML_DROP_NONE, or ML_DROP_MAP_RULE_OVER_LIMIT when something did not fit and therefore allows nothing.
 */
ml_drop ml_filter_apply(struct ml_filter *f, const struct ml_delta *d);
/** Rules in effect that were cut or left out: the node allows less than the server means. */
bool ml_filter_is_partial(const struct ml_filter *f);

/**
 * The validity rule for unsigned peers (control.md 10.6). After every change of rules or of unsigned peers: begin, then name
 * each prefix of each unsigned peer. When one overlaps a source of any rule the whole filter allows nothing.
 */
void ml_filter_unsigned_begin(struct ml_filter *f);
void ml_filter_unsigned_prefix(struct ml_filter *f, const ml_prefix *net);

/**
 * May @p v, received from a peer through the tunnel, come in?
 * @param is_jailed  The peer is jailed: only replies pass.
 * @return ML_DROP_NONE to accept; else FILTER_MALFORMED, FILTER_MULTICAST (also link-local), FILTER_NOT_LOCAL or FILTER_DENIED.
 */
ml_drop ml_filter_in(struct ml_filter *f, const struct ml_ip_view *v, bool is_jailed);
/** May @p v go out? Notes UDP and SCTP flows so that replies pass. */
ml_drop ml_filter_out(struct ml_filter *f, const struct ml_ip_view *v, bool is_jailed);
/** Notes the flow of a packet that the engine made itself and that skips ml_filter_out(). */
void ml_filter_note(struct ml_filter *f, const struct ml_ip_view *v, bool is_jailed);

/** Whether any rule in effect has @p ip among its sources. */
bool ml_filter_names_source(const struct ml_filter *f, const ml_ip *ip);
/** False when what is in effect allows nothing because a part of it is invalid. */
bool ml_filter_is_valid(const struct ml_filter *f);
/** Walks over the rules in effect: *cursor starts all zero. False after the last one. */
struct ml_filter_cursor {
    size_t set;
    uint32_t at;
    const struct ml_filter_entry *head; /**< Private. */
};
bool ml_filter_get_rule(const struct ml_filter *f, struct ml_filter_cursor *cursor, struct ml_rule *out);
/** Changes when the rules in effect do; 32 bits, not for secrets. */
uint32_t ml_filter_digest(const struct ml_filter *f);

/** What to do about a packet that ml_filter_in() refused. */
enum ml_filter_reject {
    ML_FILTER_SILENT,  /**< Nothing: only an IPv4 TCP SYN is told so. */
    ML_FILTER_LIMITED, /**< A reject is due, but ten went out within this second (ML_DROP_TSMP_LIMITED). */
    ML_FILTER_TELL     /**< Send ml_tsmp_build_rejected() with *reason. */
};
/** @param verdict what ml_filter_in() returned. @param reason 'A', or 'S' with shields up. */
enum ml_filter_reject ml_filter_reject(struct ml_filter *f, ml_time now, const struct ml_ip_view *v, ml_drop verdict,
                                       uint8_t *reason);

/** Whether everything is consistent. For tests and fuzzing. */
bool ml_filter_check(const struct ml_filter *f);

#endif
