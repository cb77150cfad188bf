/*
 * The nine DISCO messages, plaintext side: bytes to a struct and back, no state. Source: package disco, dataplane.md 3.2.
 *
 * Peer relays (types 4..9) are not used by path/ yet; their codecs are here because the wire format is one document. Sealing
 * is in disco_box.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_DISCO_MSG_H
#define ML_DISCO_MSG_H

#include "base/bytes.h"
#include "microlink/types.h"

enum ml_disco_type {
    ML_DISCO_PING = 1,
    ML_DISCO_PONG = 2,
    ML_DISCO_CALL_ME_MAYBE = 3,
    ML_DISCO_BIND = 4,           /* BindUDPRelayEndpoint */
    ML_DISCO_BIND_CHALLENGE = 5, /* BindUDPRelayEndpointChallenge */
    ML_DISCO_BIND_ANSWER = 6,    /* BindUDPRelayEndpointAnswer */
    ML_DISCO_CALL_ME_MAYBE_VIA = 7,
    ML_DISCO_ALLOCATE_REQUEST = 8, /* AllocateUDPRelayEndpointRequest */
    ML_DISCO_ALLOCATE_RESPONSE = 9 /* AllocateUDPRelayEndpointResponse */
};

#define ML_DISCO_TX_LEN 12
/** Addresses kept of a list in a received message; the rest is cut (dataplane.md 4.4 suggests 16). */
#define ML_DISCO_ADDRS 16
/** Longest message we write: an allocate response with ML_DISCO_ADDRS addresses. */
#define ML_DISCO_MSG_MAX (2 + 4 + 124 + 18 * ML_DISCO_ADDRS)

/** Common part of the three messages of the relay handshake. */
struct ml_disco_bind {
    uint32_t vni;
    uint32_t generation;
    ml_disco_key remote; /* the other client's */
    uint8_t challenge[32];
};

struct ml_disco_relay_endpoint {
    ml_disco_key server;
    ml_disco_key client[2];
    uint64_t lamport_id;
    uint32_t vni;
    uint64_t bind_lifetime_ns;
    uint64_t steady_lifetime_ns;
};

struct ml_disco_msg {
    enum ml_disco_type type;
    uint8_t tx[ML_DISCO_TX_LEN]; /* ping, pong */
    ml_node_key node_key;        /* ping; zero when absent */
    uint32_t padding;            /* ping: bytes after the node key */
    ml_addr src;                 /* pong: where the ping was seen from */
    uint8_t addr_count;          /* call-me-maybe, -via, allocate response */
    uint32_t addr_dropped;       /* sent, but over ML_DISCO_ADDRS */
    ml_addr addrs[ML_DISCO_ADDRS];
    union {
        struct ml_disco_bind bind; /* types 4..6 */
        struct {
            ml_disco_key client[2];
            uint32_t generation; /* also of the response */
            struct ml_disco_relay_endpoint endpoint;
        } relay; /* types 7..9 */
    } u;
};

enum ml_disco_parse {
    ML_DISCO_PARSE_OK,
    ML_DISCO_PARSE_SHORT,   /* truncated, or a list that is not a whole number of addresses where that is an error */
    ML_DISCO_PARSE_UNKNOWN, /* a type we do not know */
    ML_DISCO_PARSE_EMPTY    /* a version we do not know: the official parser yields an empty message, to be ignored */
};

/**
 * @brief Parse one opened message.
 *
 * As the official parser: trailing bytes are ignored where a message has a fixed size; a call-me-maybe whose version or
 * length is wrong is an empty list (OK, addr_count 0); other list messages want a whole number of addresses, at least one.
 * The version of ping, pong and the bind messages is not looked at, as there.
 */
enum ml_disco_parse ml_disco_parse(struct ml_disco_msg *out, const uint8_t *buf, size_t len);

/** @brief Write a message, header included. Sets @p w bad when it does not fit or its type is unknown. */
void ml_disco_write(struct ml_writer *w, const struct ml_disco_msg *m);

#endif
