/*
 * Which fields of a MapResponse are known, and where. Source: tailcfg.MapResponse and below, control.md 8 and 10.
 *
 * A container is known by its context, a field by its number; everything else in a message is skipped. Numbers are grouped
 * by the function of map_parse.c that takes the value.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CONTROL_MAP_FIELDS_H
#define ML_CONTROL_MAP_FIELDS_H

#include <stddef.h>
#include <stdint.h>

enum ml_map_ctx {
    C_NONE, /* not a container we enter */
    C_TOP,
    C_NODE,
    C_NODES,
    C_IDS,
    C_FLAGS,
    C_PATCHES,
    C_PATCH,
    C_PREFIXES,
    C_ENDPOINTS,
    C_HOSTINFO,
    C_SERVICES,
    C_SERVICE,
    C_CAPS,
    C_CAPMAP,
    C_DERPMAP,
    C_HOME_PARAMS,
    C_SCORES,
    C_REGIONS,
    C_REGION,
    C_DERP_NODES,
    C_DERP_NODE,
    C_RULES,
    C_RULE_SETS,
    C_RULE,
    C_SRCS,
    C_BITS,
    C_PROTOS,
    C_DSTS,
    C_DST,
    C_PORTS,
    C_USERS,
    C_USER,
    C_DNS,
    C_HEALTH,
    C_MESSAGES,
    C_MESSAGE,
    C_TKA,
    C_DEBUG,
    C_PING,
    C_COUNT
};

enum ml_map_kind {
    KIND_OBJECT,  /* known names */
    KIND_LIST,    /* of containers */
    KIND_VALUES,  /* list of scalars */
    KIND_ID_MAP,  /* object whose names are decimal ids */
    KIND_NAME_MAP /* object with free names */
};

enum ml_map_field {
    F_UNKNOWN,
    F_PLAIN, /* its value goes to its place */
    /* scalar_top; containers too, as owners of what is in them */
    F_KEEPALIVE,
    F_PING,
    F_POP_URL,
    F_SELF,
    F_DERPMAP,
    F_PEERS,
    F_CHANGED,
    F_REMOVED,
    F_PATCHES,
    F_SEEN_CHANGE,
    F_ONLINE_CHANGE,
    F_DNS,
    F_DOMAIN,
    F_PACKET_FILTER,
    F_PACKET_FILTERS,
    F_USERS,
    F_HEALTH,
    F_MESSAGES,
    F_CONTROL_TIME,
    F_TKA,
    F_DEBUG,
    F_REGIONS,
    F_HOME_PARAMS,
    F_SCORE,
    F_SLEEP,
    F_EXIT,
    F_USER_LOGIN,
    F_MESSAGE_TITLE,
    F_MESSAGE_TEXT,
    /* scalar_node */
    F_NODE_NAME,
    F_NODE_KEY,
    F_NODE_KEY_EXPIRY,
    F_NODE_SIGNATURE,
    F_NODE_DISCO,
    F_NODE_ADDRESSES,
    F_NODE_ALLOWED,
    F_NODE_ENDPOINTS,
    F_NODE_DERP,
    F_NODE_HOSTINFO,
    F_NODE_ONLINE,
    F_NODE_CAPABILITY,
    F_NODE_OS,
    F_NODE_SERVICES,
    F_SERVICE_PROTO,
    /* scalar_patch */
    F_PATCH_REGION,
    F_PATCH_CAP,
    F_PATCH_ENDPOINTS,
    F_PATCH_KEY,
    F_PATCH_SIGNATURE,
    F_PATCH_DISCO,
    F_PATCH_ONLINE,
    F_PATCH_SEEN,
    F_PATCH_EXPIRY,
    /* scalar_derp */
    F_REGION_CODE,
    F_REGION_NAME,
    F_REGION_NODES,
    F_DERP_HOST,
    F_DERP_CERT,
    F_DERP_IP4,
    F_DERP_IP6,
    F_DERP_STUN_PORT,
    /* scalar_ping */
    F_PING_URL,
    F_PING_TYPES,
    F_PING_PAYLOAD,
    /* scalar_rule */
    F_RULE_SRC,
    F_RULE_BITS,
    F_RULE_DSTS,
    F_RULE_PROTO,
    F_DST_IP,
    F_DST_BITS,
    F_DST_PORTS,
    F_PORT_FIRST,
    F_PORT_LAST
};

/* What a place takes. */
enum ml_map_place { PLACE_NONE, PLACE_BOOL, PLACE_U16, PLACE_ID, PLACE_IP };
#define ML_MAP_PLACE_SHIFT 12

struct ml_map_field_def {
    const char *name;
    uint8_t field;  /* enum ml_map_field */
    uint8_t child;  /* enum ml_map_ctx when the value is a container we enter */
    uint16_t place; /* where in struct ml_map_parse the value goes, under its enum ml_map_place; 0: a function takes it */
};

struct ml_map_ctx_def {
    uint8_t kind;  /* enum ml_map_kind */
    uint8_t child; /* of KIND_LIST and the maps: context of an element that is a container */
    uint8_t count;
    const struct ml_map_field_def *fields; /* KIND_OBJECT only */
};

extern const struct ml_map_ctx_def ml_map_ctx_defs[C_COUNT];

/** The definition of @p name (exact case) in @p ctx, or NULL when it is not known there. */
const struct ml_map_field_def *ml_map_field_lookup(enum ml_map_ctx ctx, const char *name, size_t len);

#endif
