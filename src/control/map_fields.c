/*
 * The tables of map_fields.h, and nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/map_fields.h"

#include <string.h>

/* clang-format off */
static const struct ml_map_field_def top[] = {
    {"KeepAlive", F_KEEPALIVE, C_NONE},
    {"PingRequest", F_PING, C_PING},
    {"PopBrowserURL", F_POP_URL, C_NONE},
    {"Node", F_SELF, C_NODE},
    {"DERPMap", F_DERPMAP, C_DERPMAP},
    {"Peers", F_PEERS, C_NODES},
    {"PeersChanged", F_CHANGED, C_NODES},
    {"PeersRemoved", F_REMOVED, C_IDS},
    {"PeersChangedPatch", F_PATCHES, C_PATCHES},
    {"PeerSeenChange", F_SEEN_CHANGE, C_FLAGS},
    {"OnlineChange", F_ONLINE_CHANGE, C_FLAGS},
    {"DNSConfig", F_DNS, C_DNS},
    {"Domain", F_DOMAIN, C_NONE},
    {"PacketFilter", F_PACKET_FILTER, C_RULES},
    {"PacketFilters", F_PACKET_FILTERS, C_RULE_SETS},
    {"UserProfiles", F_USERS, C_USERS},
    {"Health", F_HEALTH, C_HEALTH},
    {"DisplayMessages", F_MESSAGES, C_MESSAGES},
    {"ControlTime", F_CONTROL_TIME, C_NONE},
    {"TKAInfo", F_TKA, C_TKA},
    {"Debug", F_DEBUG, C_DEBUG},
};
static const struct ml_map_field_def node[] = {
    {"ID", F_NODE_ID, C_NONE},
    {"Name", F_NODE_NAME, C_NONE},
    {"User", F_NODE_USER, C_NONE},
    {"Key", F_NODE_KEY, C_NONE},
    {"KeyExpiry", F_NODE_KEY_EXPIRY, C_NONE},
    {"KeySignature", F_NODE_SIGNATURE, C_NONE},
    {"DiscoKey", F_NODE_DISCO, C_NONE},
    {"Addresses", F_NODE_ADDRESSES, C_PREFIXES},
    {"AllowedIPs", F_NODE_ALLOWED, C_PREFIXES},
    {"Endpoints", F_NODE_ENDPOINTS, C_ENDPOINTS},
    {"DERP", F_NODE_DERP, C_NONE},
    {"HomeDERP", F_NODE_HOME, C_NONE},
    {"Hostinfo", F_NODE_HOSTINFO, C_HOSTINFO},
    {"Cap", F_NODE_CAP, C_NONE},
    {"Online", F_NODE_ONLINE, C_NONE},
    {"MachineAuthorized", F_NODE_AUTHORIZED, C_NONE},
    {"Capabilities", F_NODE_CAPABILITY, C_CAPS},
    {"CapMap", F_NODE_CAPABILITY, C_CAPMAP},
    {"UnsignedPeerAPIOnly", F_NODE_UNSIGNED, C_NONE},
    {"Expired", F_NODE_EXPIRED, C_NONE},
    {"SelfNodeV4MasqAddrForThisPeer", F_NODE_MASQ4, C_NONE},
    {"SelfNodeV6MasqAddrForThisPeer", F_NODE_MASQ6, C_NONE},
    {"IsWireGuardOnly", F_NODE_WG_ONLY, C_NONE},
    {"IsJailed", F_NODE_JAILED, C_NONE},
};
static const struct ml_map_field_def hostinfo[] = {{"OS", F_NODE_OS, C_NONE}, {"Services", F_NODE_SERVICES, C_SERVICES}};
static const struct ml_map_field_def service[] = {{"Proto", F_SERVICE_PROTO, C_NONE}, {"Port", F_SERVICE_PORT, C_NONE}};
static const struct ml_map_field_def patch[] = {
    {"NodeID", F_PATCH_ID, C_NONE},
    {"DERPRegion", F_PATCH_REGION, C_NONE},
    {"Cap", F_PATCH_CAP, C_NONE},
    {"Endpoints", F_PATCH_ENDPOINTS, C_ENDPOINTS},
    {"Key", F_PATCH_KEY, C_NONE},
    {"KeySignature", F_PATCH_SIGNATURE, C_NONE},
    {"DiscoKey", F_PATCH_DISCO, C_NONE},
    {"Online", F_PATCH_ONLINE, C_NONE},
    {"LastSeen", F_PATCH_SEEN, C_NONE},
    {"KeyExpiry", F_PATCH_EXPIRY, C_NONE},
};
static const struct ml_map_field_def derpmap[] = {
    {"HomeParams", F_HOME_PARAMS, C_HOME_PARAMS}, {"Regions", F_REGIONS, C_REGIONS}};
static const struct ml_map_field_def home_params[] = {{"RegionScore", F_SCORE, C_SCORES}};
static const struct ml_map_field_def region[] = {
    {"RegionCode", F_REGION_CODE, C_NONE},
    {"RegionName", F_REGION_NAME, C_NONE},
    {"Avoid", F_REGION_AVOID, C_NONE},
    {"NoMeasureNoHome", F_REGION_NO_HOME, C_NONE},
    {"Nodes", F_REGION_NODES, C_DERP_NODES},
};
static const struct ml_map_field_def derp_node[] = {
    {"HostName", F_DERP_HOST, C_NONE},
    {"CertName", F_DERP_CERT, C_NONE},
    {"IPv4", F_DERP_IP4, C_NONE},
    {"IPv6", F_DERP_IP6, C_NONE},
    {"STUNPort", F_DERP_STUN_PORT, C_NONE},
    {"STUNOnly", F_DERP_STUN_ONLY, C_NONE},
    {"DERPPort", F_DERP_PORT, C_NONE},
    {"InsecureForTests", F_DERP_INSECURE, C_NONE},
};
static const struct ml_map_field_def rule[] = {
    {"SrcIPs", F_RULE_SRC, C_SRCS},
    {"SrcBits", F_RULE_BITS, C_BITS},
    {"DstPorts", F_RULE_DSTS, C_DSTS},
    {"IPProto", F_RULE_PROTO, C_PROTOS},
};
static const struct ml_map_field_def dst[] = {
    {"IP", F_DST_IP, C_NONE}, {"Bits", F_DST_BITS, C_NONE}, {"Ports", F_DST_PORTS, C_PORTS}};
static const struct ml_map_field_def ports[] = {{"First", F_PORT_FIRST, C_NONE}, {"Last", F_PORT_LAST, C_NONE}};
static const struct ml_map_field_def user[] = {{"ID", F_USER_ID, C_NONE}, {"LoginName", F_USER_LOGIN, C_NONE}};
static const struct ml_map_field_def dns[] = {{"Proxied", F_DNS_PROXIED, C_NONE}};
static const struct ml_map_field_def message[] = {{"Title", F_MESSAGE_TITLE, C_NONE}, {"Text", F_MESSAGE_TEXT, C_NONE}};
static const struct ml_map_field_def tka[] = {{"Disabled", F_TKA_DISABLED, C_NONE}};
static const struct ml_map_field_def debug[] = {{"SleepSeconds", F_SLEEP, C_NONE}, {"Exit", F_EXIT, C_NONE}};
static const struct ml_map_field_def ping[] = {
    {"URL", F_PING_URL, C_NONE},
    {"URLIsNoise", F_PING_NOISE, C_NONE},
    {"Types", F_PING_TYPES, C_NONE},
    {"IP", F_PING_IP, C_NONE},
    {"Payload", F_PING_PAYLOAD, C_NONE},
};

#define OBJECT(t) {KIND_OBJECT, C_NONE, sizeof (t) / sizeof (t)[0], t}
const struct ml_map_ctx_def ml_map_ctx_defs[C_COUNT] = {
    [C_TOP] = OBJECT(top),
    [C_NODE] = OBJECT(node),
    [C_NODES] = {KIND_LIST, C_NODE, 0, NULL},
    [C_IDS] = {KIND_VALUES, C_NONE, 0, NULL},
    [C_FLAGS] = {KIND_ID_MAP, C_NONE, 0, NULL},
    [C_PATCHES] = {KIND_LIST, C_PATCH, 0, NULL},
    [C_PATCH] = OBJECT(patch),
    [C_PREFIXES] = {KIND_VALUES, C_NONE, 0, NULL},
    [C_ENDPOINTS] = {KIND_VALUES, C_NONE, 0, NULL},
    [C_HOSTINFO] = OBJECT(hostinfo),
    [C_SERVICES] = {KIND_LIST, C_SERVICE, 0, NULL},
    [C_SERVICE] = OBJECT(service),
    [C_CAPS] = {KIND_VALUES, C_NONE, 0, NULL},
    [C_CAPMAP] = {KIND_NAME_MAP, C_NONE, 0, NULL},
    [C_DERPMAP] = OBJECT(derpmap),
    [C_HOME_PARAMS] = OBJECT(home_params),
    [C_SCORES] = {KIND_ID_MAP, C_NONE, 0, NULL},
    [C_REGIONS] = {KIND_ID_MAP, C_REGION, 0, NULL},
    [C_REGION] = OBJECT(region),
    [C_DERP_NODES] = {KIND_LIST, C_DERP_NODE, 0, NULL},
    [C_DERP_NODE] = OBJECT(derp_node),
    [C_RULES] = {KIND_LIST, C_RULE, 0, NULL},
    [C_RULE_SETS] = {KIND_NAME_MAP, C_RULES, 0, NULL},
    [C_RULE] = OBJECT(rule),
    [C_SRCS] = {KIND_VALUES, C_NONE, 0, NULL},
    [C_BITS] = {KIND_VALUES, C_NONE, 0, NULL},
    [C_PROTOS] = {KIND_VALUES, C_NONE, 0, NULL},
    [C_DSTS] = {KIND_LIST, C_DST, 0, NULL},
    [C_DST] = OBJECT(dst),
    [C_PORTS] = OBJECT(ports),
    [C_USERS] = {KIND_LIST, C_USER, 0, NULL},
    [C_USER] = OBJECT(user),
    [C_DNS] = OBJECT(dns),
    [C_HEALTH] = {KIND_VALUES, C_NONE, 0, NULL},
    [C_MESSAGES] = {KIND_NAME_MAP, C_MESSAGE, 0, NULL},
    [C_MESSAGE] = OBJECT(message),
    [C_TKA] = OBJECT(tka),
    [C_DEBUG] = OBJECT(debug),
    [C_PING] = OBJECT(ping),
};
/* clang-format on */

const struct ml_map_field_def *ml_map_field_lookup(enum ml_map_ctx ctx, const char *name, size_t len)
{
    const struct ml_map_ctx_def *def = &ml_map_ctx_defs[ctx];
    for (uint8_t i = 0; i < def->count; i++) {
        if (strlen(def->fields[i].name) == len && memcmp(def->fields[i].name, name, len) == 0) {
            return &def->fields[i];
        }
    }
    return NULL;
}
