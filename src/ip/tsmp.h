/*
 * TSMP, the message protocol between nodes inside the tunnel (IP protocol 99): codec and what to answer. dataplane.md 8.
 *
 * TSMP is consumed before the packet filter decides and never reaches the host; the only check before it is the source
 * check of the tunnel (route/). Keeps no state; the rate of reject messages is filter/'s business.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_IP_TSMP_H
#define ML_IP_TSMP_H

#include "ip/ip_view.h"

#define ML_TSMP_DATA_LEN 8
/** Longest TSMP packet we write: an advertisement over IPv6. */
#define ML_TSMP_MAX (ML_IP6_HEADER_LEN + 33)

/* The type byte behind the IP header. */
enum ml_tsmp_type {
    ML_TSMP_REJECTED = 0x21,      /**< '!' */
    ML_TSMP_ADVERTISEMENT = 0x61, /**< 'a': disco key of the sender */
    ML_TSMP_PONG = 0x6f,          /**< 'o' */
    ML_TSMP_PING = 0x70           /**< 'p' */
};

/** Reasons of a rejection. */
enum {
    ML_TSMP_REASON_RULES = 'A',
    ML_TSMP_REASON_SHIELDS_UP = 'S',
    ML_TSMP_REASON_FORWARDING_OFF = 'F',
    ML_TSMP_REASON_HOST_FIREWALL = 'W',
    ML_TSMP_REASON_TRANSIT_IP = 'T'
};

struct ml_tsmp {
    enum ml_tsmp_type type;
    uint8_t data[ML_TSMP_DATA_LEN]; /**< Ping, pong. */
    uint16_t peerapi_port;          /**< Pong: of the replier, 0 = none. */
    uint8_t proto;                  /**< Rejected: protocol of the refused flow. */
    uint8_t reason;                 /**< Rejected. */
    bool is_maybe_broken;           /**< Rejected: only a hint, the connection may still work. */
    ml_addr flow_src, flow_dst;     /**< Rejected: the flow, as the node that opened it sees it: source is that node. */
    ml_disco_key disco;             /**< Advertisement; all zero is to be ignored. */
};

/** False when @p v is not TSMP, is too short for its type, or of a type we do not know. */
bool ml_tsmp_parse(const struct ml_ip_view *v, struct ml_tsmp *out);

/* Whole packets; return the length, or 0 when @p cap is too small or the families differ. */
size_t ml_tsmp_build_ping(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, const uint8_t data[ML_TSMP_DATA_LEN]);
/** The answer to ping @p v: addresses swapped, IPv4 identification (IPv6 flow label) inverted. 0 if @p v is no ping. */
size_t ml_tsmp_build_pong(uint8_t *out, size_t cap, const struct ml_ip_view *v, uint16_t peerapi_port);
/** "@p v was refused", addressed to its source. */
size_t ml_tsmp_build_rejected(uint8_t *out, size_t cap, const struct ml_ip_view *v, uint8_t reason, bool is_maybe_broken);
size_t ml_tsmp_build_advertisement(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, const ml_disco_key *key);

/* What a received TSMP packet asks for. */
enum ml_tsmp_action {
    ML_TSMP_NOT,       /**< Not TSMP: go on with the filter. */
    ML_TSMP_IGNORE,    /**< TSMP, consumed, nothing to do: unknown type, too short, or a zero disco key. */
    ML_TSMP_ANSWER,    /**< Consumed; a pong of *out_len bytes is in `out`, to be sent to the peer it came from. */
    ML_TSMP_SET_DISCO, /**< Consumed; msg->disco is the present disco key of the peer that has this source address. */
    ML_TSMP_GOT_PONG,  /**< Consumed; msg->data says to which ping. */
    ML_TSMP_GOT_REJECT /**< Consumed; msg tells which flow. */
};

/**
 * Looks at one inner packet whose source has been checked. Answers even with an empty filter and shields up.
 * @param peerapi_port  Ours, for the pong; 0 = none.
 * @param msg  Filled for every action from ML_TSMP_ANSWER on.
 */
enum ml_tsmp_action ml_tsmp_handle(const struct ml_ip_view *v, uint16_t peerapi_port, struct ml_tsmp *msg, uint8_t *out,
                                   size_t cap, size_t *out_len);

#endif
