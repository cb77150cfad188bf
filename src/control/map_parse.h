/*
 * MapResponse as a stream: the bytes of one JSON message in, in pieces of any size, and struct ml_delta values out.
 *
 * Working memory is this struct, whatever the message's size: one node, region, rule or request at a time, and one text.
 * Source: control.md 7 (what a message must have), 8 and 10. It reads no framing (control_map.c does) and keeps no netmap.
 *
 *     ml_map_parse_stream(p);                       a new poll: its first message describes everything
 *     ml_map_parse_begin(p);  ml_map_parse_feed(p, ...) ...;  ml_map_parse_end(p, sink);      for each message
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CONTROL_MAP_PARSE_H
#define ML_CONTROL_MAP_PARSE_H

#include "control/map_fields.h"
#include "control/map_rule.h"
#include "json/json_pull.h"

/** Longest text kept whole: the base64 of the largest c2n payload. Longer ones are cut and counted. */
#define ML_MAP_TOKEN_CAP (((ML_PING_PAYLOAD_CAP + 2) / 3) * 4 + 1)
#define ML_MAP_DEPTH     8  /**< MapResponse.PacketFilters{}[].DstPorts[].Ports and the like. */
#define ML_MAP_NAME_CAP  64 /**< Names of filter sets and ids of display messages. */

struct ml_map_parse {
    struct ml_json json;
    const struct ml_delta_sink *sink; /* during a call */
    struct {
        uint8_t ctx;   /* enum ml_map_ctx */
        uint8_t owner; /* enum ml_map_field under which it was opened */
        uint8_t field; /* of the value being read */
        uint8_t child; /* context of that value, if it is a container we enter */
    } stack[ML_MAP_DEPTH];
    uint8_t depth;
    uint16_t place; /* of the value being read; see map_fields.h */

    /* Of the stream. */
    bool is_first;                /* no complete first message yet */
    uint32_t last_ping, last_pop; /* hashes of the last URLs; survive the stream */

    /* Of the message; has_self, is_keepalive and sleep_ms are for the caller after the end. */
    bool has_begun, has_self, is_self_bad, is_keepalive, is_full_list, has_rules, has_tka;
    uint32_t sleep_ms;
    uint32_t cut_count; /* since init: values left out or cut */

    /* Of the container being read. */
    bool has_allowed, is_bad, is_proxied, is_lock_disabled, is_derp_bad;
    uint16_t legacy_derp, service_port;
    uint8_t service_kind;
    uint64_t map_id;
    char map_name[ML_MAP_NAME_CAP];
    char set_name[ML_MAP_NAME_CAP];
    union {
        struct ml_node node;
        struct ml_node_patch patch;
        struct ml_map_rule rule;
        struct ml_ping_request ping;
        struct {
            struct ml_derp_region region;
            struct ml_derp_node node;
            char cert[ML_DERP_CERT_CAP];
        } region;
        struct {
            uint64_t id;
            char login[96];
        } user;
        struct {
            char title[96];
            char text[ML_TEXT_CAP];
            char line[96 + ML_TEXT_CAP];
        } message;
    } u;
    char token[ML_MAP_TOKEN_CAP];
};

void ml_map_parse_init(struct ml_map_parse *p);
/** A new stream starts. What repeats are measured against (URLs) is kept. */
void ml_map_parse_stream(struct ml_map_parse *p);
/** A new message starts. */
void ml_map_parse_begin(struct ml_map_parse *p);
/** @return false: not JSON. The message is over then; call ml_map_parse_abort(). */
bool ml_map_parse_feed(struct ml_map_parse *p, const uint8_t *buf, size_t len, const struct ml_delta_sink *sink);
/**
 * @brief The message is complete.
 * @return false (after ABORT): it was not whole, was no object, or was the first of its stream without a usable Node (C37).
 */
bool ml_map_parse_end(struct ml_map_parse *p, const struct ml_delta_sink *sink);
/** The message broke off. Emits ABORT if it had begun to yield anything. */
void ml_map_parse_abort(struct ml_map_parse *p, const struct ml_delta_sink *sink);

#endif
