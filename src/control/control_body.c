/*
 * The JSON this node sends: RegisterRequest and MapRequest with Hostinfo and NetInfo. Source: control.md 5.1, 5.6, 6.
 *
 * Fields without a value are left out, never sent as empty text (C1). Every map request carries everything published (C30).
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "base/key.h"
#include "control/control_internal.h"
#include "microlink/version.h"
#include "json/json_write.h"

void ml_control_key_text(char *dst, size_t cap, const ml_node_key *pub)
{
    struct ml_writer w = ml_writer_of((uint8_t *)dst, cap);
    ml_write_key(&w, ML_KEY_PREFIX_NODE, pub->b);
    (void)ml_write_end_str(&w);
}

static void field_node_key(struct ml_json_writer *j, const char *name, const ml_node_key *pub)
{
    char text[ML_KEY_TEXT_CAP];
    ml_control_key_text(text, sizeof text, pub);
    ml_json_field_str(j, name, text);
}

static void field_tri(struct ml_json_writer *j, const char *name, enum ml_control_tri v)
{
    if (v != ML_CONTROL_UNKNOWN) {
        ml_json_field_bool(j, name, v == ML_CONTROL_TRUE);
    }
}

/* Microseconds as decimal seconds: 12345 is 0.012345. */
static void write_seconds(struct ml_json_writer *j, uint32_t usec)
{
    uint8_t text[24];
    struct ml_writer w = ml_writer_of(text, sizeof text);
    ml_write_dec(&w, usec / 1000000);
    ml_write_str(&w, ".");
    for (uint32_t unit = 100000; unit > 0; unit /= 10) {
        ml_write_u8(&w, (uint8_t)('0' + usec / unit % 10));
    }
    ml_json_write_raw(j, (const char *)text, w.len);
}

static void write_netinfo(struct ml_json_writer *j, const struct ml_control_published *p)
{
    ml_json_write_object_begin(j);
    field_tri(j, "MappingVariesByDestIP", p->mapping_varies);
    field_tri(j, "WorkingIPv6", p->working_ipv6);
    field_tri(j, "OSHasIPv6", p->os_has_ipv6);
    field_tri(j, "WorkingUDP", p->working_udp);
    if (p->home_region) {
        ml_json_field_u64(j, "PreferredDERP", p->home_region);
    }
    if (p->latency_count) {
        ml_json_write_key(j, "DERPLatency");
        ml_json_write_object_begin(j);
        for (uint8_t i = 0; i < p->latency_count; i++) {
            char name[16];
            struct ml_writer w = ml_writer_of((uint8_t *)name, sizeof name);
            ml_write_dec(&w, p->latency[i].region);
            ml_write_str(&w, p->latency[i].is_ip6 ? "-v6" : "-v4");
            ml_json_write_key(j, ml_write_end_str(&w));
            write_seconds(j, p->latency[i].usec);
        }
        ml_json_write_object_end(j);
    }
    ml_json_write_object_end(j);
}

static void write_service(struct ml_json_writer *j, const char *proto, uint16_t port)
{
    if (port) {
        ml_json_write_object_begin(j);
        ml_json_field_str(j, "Proto", proto);
        ml_json_field_u64(j, "Port", port);
        ml_json_write_object_end(j);
    }
}

static void write_hostinfo(struct ml_json_writer *j, const struct ml_control *c)
{
    const struct ml_control_published *p = &c->pub;
    ml_json_write_object_begin(j);
    ml_json_field_str(j, "IPNVersion", "microlink " MICROLINK_VERSION);
    ml_json_field_str(j, "OS", c->os);
    ml_json_field_str(j, "App", "microlink");
    ml_json_field_str(j, "Hostname", c->hostname);
    if (p->shields_up) {
        ml_json_field_bool(j, "ShieldsUp", true);
    }
    ml_json_field_bool(j, "NoLogsNoSupport", true);
    if (p->route_count) {
        ml_json_write_key(j, "RoutableIPs");
        ml_json_write_array_begin(j);
        for (uint8_t i = 0; i < p->route_count; i++) {
            ml_json_write_text_begin(j);
            ml_write_prefix(j->w, &p->routes[i]);
            ml_json_write_text_end(j);
        }
        ml_json_write_array_end(j);
    }
    if (p->peerapi4 || p->peerapi6) {
        ml_json_write_key(j, "Services");
        ml_json_write_array_begin(j);
        write_service(j, "peerapi4", p->peerapi4);
        write_service(j, "peerapi6", p->peerapi6);
        ml_json_write_array_end(j);
    }
    if (p->home_region || p->working_udp != ML_CONTROL_UNKNOWN) {
        ml_json_write_key(j, "NetInfo");
        write_netinfo(j, p);
    }
    ml_json_field_bool(j, "Userspace", true);
    ml_json_field_bool(j, "UserspaceRouter", true);
    ml_json_write_object_end(j);
}

size_t ml_control_body_register(const struct ml_control *c, uint8_t *dst, size_t cap, bool with_auth)
{
    struct ml_writer w = ml_writer_of(dst, cap);
    struct ml_json_writer j = ml_json_writer_of(&w);
    ml_json_write_object_begin(&j);
    ml_json_field_u64(&j, "Version", c->capver);
    field_node_key(&j, "NodeKey", c->reg.sent_candidate ? &c->candidate_pub : &c->node_pub);
    if (c->reg.sent_candidate && c->has_node_key) {
        field_node_key(&j, "OldNodeKey", &c->node_pub);
    }
    if (with_auth) {
        /* The part of a wrapped key after "--TL" is for Tailnet Lock and stays here (control.md 12.8). Headscale's keys may have that
         * in their random part. */
        const char *end = strncmp(c->auth_key, "tskey-", 6) == 0 ? strstr(c->auth_key, "--TL") : NULL;
        ml_json_write_key(&j, "Auth");
        ml_json_write_object_begin(&j);
        ml_json_write_key(&j, "AuthKey");
        ml_json_write_strn(&j, c->auth_key, end ? (size_t)(end - c->auth_key) : strlen(c->auth_key));
        ml_json_write_object_end(&j);
    }
    if (c->reg.is_logout) {
        ml_json_field_str(&j, "Expiry", "1970-01-01T00:02:03Z"); /* the past instant that means logout */
    } else if (c->reg.followup[0]) {
        ml_json_field_str(&j, "Followup", c->reg.followup);
    }
    ml_json_write_key(&j, "Hostinfo");
    write_hostinfo(&j, c);
    if (c->is_ephemeral) {
        ml_json_field_bool(&j, "Ephemeral", true);
    }
    ml_json_write_object_end(&j);
    return w.bad ? 0 : w.len;
}

size_t ml_control_body_map(const struct ml_control *c, uint8_t *dst, size_t cap, bool is_poll)
{
    const struct ml_control_published *p = &c->pub;
    struct ml_writer w = ml_writer_of(dst, cap);
    struct ml_json_writer j = ml_json_writer_of(&w);
    ml_json_write_object_begin(&j);
    ml_json_field_u64(&j, "Version", c->capver);
    ml_json_field_bool(&j, "KeepAlive", true);
    field_node_key(&j, "NodeKey", &c->node_pub);
    if (ml_key_is_set(&p->disco)) {
        ml_json_write_key(&j, "DiscoKey");
        ml_json_write_text_begin(&j);
        ml_write_key(&w, ML_KEY_PREFIX_DISCO, p->disco.b);
        ml_json_write_text_end(&j);
    }
    /* Never both false: that is the one-shot form servers treat in different ways (C33). */
    ml_json_field_bool(&j, is_poll ? "Stream" : "OmitPeers", true);
    ml_json_write_key(&j, "Hostinfo");
    write_hostinfo(&j, c);
    if (p->endpoint_count) {
        ml_json_write_key(&j, "Endpoints");
        ml_json_write_array_begin(&j);
        for (uint8_t i = 0; i < p->endpoint_count; i++) {
            ml_json_write_text_begin(&j);
            ml_write_addr(&w, &p->endpoints[i]);
            ml_json_write_text_end(&j);
        }
        ml_json_write_array_end(&j);
        ml_json_write_key(&j, "EndpointTypes");
        ml_json_write_array_begin(&j);
        for (uint8_t i = 0; i < p->endpoint_count; i++) {
            ml_json_write_u64(&j, p->endpoint_types[i]);
        }
        ml_json_write_array_end(&j);
    }
    ml_json_write_object_end(&j);
    return w.bad ? 0 : w.len;
}
