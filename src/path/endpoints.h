/*
 * Our own endpoints: what we tell control and, in a call-me-maybe, our peers. dataplane.md 4.9.
 *
 * Owns the list, its order and types, and the memory of what STUN said in the last 5 min 10 s, so that a lost answer does not
 * withdraw an address. Does not measure anything (netcheck.h) and does not know peers (path.h).
 *
 * When more is known than the list holds: what is first in the order of 4.9 stays, but room is kept for two local addresses
 * (one IPv4 if there is one). A node that publishes no address gets no call-me-maybe (4.4), and local ones help the peers of the
 * same network most.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_PATH_ENDPOINTS_H
#define ML_PATH_ENDPOINTS_H

#include "microlink/types.h"

#define ML_ENDPOINTS         8 /* published */
#define ML_ENDPOINTS_LOCAL   8 /* local addresses remembered */
#define ML_ENDPOINTS_TRACKED 6 /* STUN results remembered; the one that expires first gives way */

/** tailcfg.EndpointType, the values that go to control. */
enum ml_endpoint_type {
    ML_ENDPOINT_UNKNOWN = 0,
    ML_ENDPOINT_LOCAL = 1,
    ML_ENDPOINT_STUN = 2,
    ML_ENDPOINT_PORTMAPPED = 3,
    ML_ENDPOINT_STUN4_LOCAL_PORT = 4, /* hard NAT: STUN's IPv4 with our own port, a guess */
    ML_ENDPOINT_EXPLICIT = 5
};

struct ml_endpoint {
    ml_addr addr;
    uint8_t type; /* enum ml_endpoint_type */
};

/** What a measurement found out (netcheck.h gives it). */
struct ml_endpoint_facts {
    ml_addr global4, global6; /* unset = not seen this time */
    ml_addr extra[2];         /* further mappings that several servers reported */
    bool mapping_varies;      /* known to vary */
    uint16_t fixed_port;      /* our IPv4 port when the user fixed it, else 0: no hard-NAT guess */
};

struct ml_endpoints {
    struct ml_endpoint list[ML_ENDPOINTS];
    uint8_t count;
    bool is_changed;    /* the set differs from what ml_endpoints_take_changed() last gave out */
    bool has_refreshed; /* a measurement has ended since there was reason to doubt the list */
    ml_time refreshed_at;

    /* Private from here. */
    ml_addr local[ML_ENDPOINTS_LOCAL];
    uint8_t local_count;
    struct {
        struct ml_endpoint ep;
        ml_time until; /* 0 = free */
    } tracked[ML_ENDPOINTS_TRACKED];
    struct ml_endpoint_facts facts;
    bool is_forgetting;
};

void ml_endpoints_init(struct ml_endpoints *e);

/**
 * @brief Addresses of the underlay interfaces with the port of the socket. Copied; over ML_ENDPOINTS_LOCAL are cut.
 * Unusable ones may be in it: tailnet addresses, fe80::/10 and the rest are sorted out here.
 */
void ml_endpoints_set_local(struct ml_endpoints *e, const ml_addr *addrs, size_t count);

/** @brief A measurement ended, well or not: the list is fresh from @p now on. */
void ml_endpoints_set_facts(struct ml_endpoints *e, ml_time now, const struct ml_endpoint_facts *f);

/** @brief The link changed: the list is stale, and with the next facts the remembered STUN results are forgotten. Until then the
 * list stays, so that control is not told of a change that is none. */
void ml_endpoints_forget_global(struct ml_endpoints *e);

/** @brief There is reason to doubt the list: it is stale until the next facts. */
void ml_endpoints_doubt(struct ml_endpoints *e);

/** @brief Younger than 27 s, so good for a call-me-maybe. */
bool ml_endpoints_is_fresh(const struct ml_endpoints *e, ml_time now);

/** @brief True once after each change of the *set* (order does not count): publish `list` to control then. */
bool ml_endpoints_take_changed(struct ml_endpoints *e);

#endif
