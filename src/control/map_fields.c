/*
 * The tables of map_fields.h, and nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/map_fields.h"

#include <string.h>

#include "control/map_parse.h"

#define AT(kind, member) (uint16_t)((kind) << ML_MAP_PLACE_SHIFT | offsetof(struct ml_map_parse, member))
#define BOOL_AT(member)  AT(PLACE_BOOL, member)
#define U16_AT(member)   AT(PLACE_U16, member)
#define ID_AT(member)    AT(PLACE_ID, member)
#define IP_AT(member)    AT(PLACE_IP, member)

/* clang-format off */
static const struct ml_map_field_def top[] = {
    {"KeepAlive", F_KEEPALIVE, C_NONE, BOOL_AT(is_keepalive)},
    {"PingRequest", F_PING, C_PING, 0},
    {"PopBrowserURL", F_POP_URL, C_NONE, 0},
    {"Node", F_SELF, C_NODE, 0},
    {"DERPMap", F_DERPMAP, C_DERPMAP, 0},
    {"Peers", F_PEERS, C_NODES, 0},
    {"PeersChanged", F_CHANGED, C_NODES, 0},
    {"PeersRemoved", F_REMOVED, C_IDS, 0},
    {"PeersChangedPatch", F_PATCHES, C_PATCHES, 0},
    {"PeerSeenChange", F_SEEN_CHANGE, C_FLAGS, 0},
    {"OnlineChange", F_ONLINE_CHANGE, C_FLAGS, 0},
    {"DNSConfig", F_DNS, C_DNS, 0},
    {"Domain", F_DOMAIN, C_NONE, 0},
    {"PacketFilter", F_PACKET_FILTER, C_RULES, 0},
    {"PacketFilters", F_PACKET_FILTERS, C_RULE_SETS, 0},
    {"UserProfiles", F_USERS, C_USERS, 0},
    {"Health", F_HEALTH, C_HEALTH, 0},
    {"DisplayMessages", F_MESSAGES, C_MESSAGES, 0},
    {"ControlTime", F_CONTROL_TIME, C_NONE, 0},
    {"TKAInfo", F_TKA, C_TKA, 0},
    {"Debug", F_DEBUG, C_DEBUG, 0},
};
static const struct ml_map_field_def node[] = {
    {"ID", F_PLAIN, C_NONE, ID_AT(u.node.id)},
    {"Name", F_NODE_NAME, C_NONE, 0},
    {"User", F_PLAIN, C_NONE, ID_AT(u.node.user_id)},
    {"Key", F_NODE_KEY, C_NONE, 0},
    {"KeyExpiry", F_NODE_KEY_EXPIRY, C_NONE, 0},
    {"KeySignature", F_NODE_SIGNATURE, C_NONE, 0},
    {"DiscoKey", F_NODE_DISCO, C_NONE, 0},
    {"Addresses", F_NODE_ADDRESSES, C_PREFIXES, 0},
    {"AllowedIPs", F_NODE_ALLOWED, C_PREFIXES, 0},
    {"Endpoints", F_NODE_ENDPOINTS, C_ENDPOINTS, 0},
    {"DERP", F_NODE_DERP, C_NONE, 0},
    {"HomeDERP", F_PLAIN, C_NONE, U16_AT(u.node.home_region)},
    {"Hostinfo", F_NODE_HOSTINFO, C_HOSTINFO, 0},
    {"Cap", F_PLAIN, C_NONE, U16_AT(u.node.cap)},
    {"Online", F_NODE_ONLINE, C_NONE, 0},
    {"MachineAuthorized", F_PLAIN, C_NONE, BOOL_AT(u.node.is_machine_authorized)},
    {"Capabilities", F_NODE_CAPABILITY, C_CAPS, 0},
    {"CapMap", F_NODE_CAPABILITY, C_CAPMAP, 0},
    {"UnsignedPeerAPIOnly", F_PLAIN, C_NONE, BOOL_AT(u.node.is_unsigned_peerapi_only)},
    {"Expired", F_PLAIN, C_NONE, BOOL_AT(u.node.is_expired)},
    {"SelfNodeV4MasqAddrForThisPeer", F_PLAIN, C_NONE, IP_AT(u.node.masq4)},
    {"SelfNodeV6MasqAddrForThisPeer", F_PLAIN, C_NONE, IP_AT(u.node.masq6)},
    {"IsWireGuardOnly", F_PLAIN, C_NONE, BOOL_AT(u.node.is_wireguard_only)},
    {"IsJailed", F_PLAIN, C_NONE, BOOL_AT(u.node.is_jailed)},
};
static const struct ml_map_field_def hostinfo[] = {{"OS", F_NODE_OS, C_NONE, 0}, {"Services", F_NODE_SERVICES, C_SERVICES, 0}};
static const struct ml_map_field_def service[] = {{"Proto", F_SERVICE_PROTO, C_NONE, 0}, {"Port", F_PLAIN, C_NONE, U16_AT(service_port)}};
static const struct ml_map_field_def patch[] = {
    {"NodeID", F_PLAIN, C_NONE, ID_AT(u.patch.id)},
    {"DERPRegion", F_PATCH_REGION, C_NONE, 0},
    {"Cap", F_PATCH_CAP, C_NONE, 0},
    {"Endpoints", F_PATCH_ENDPOINTS, C_ENDPOINTS, 0},
    {"Key", F_PATCH_KEY, C_NONE, 0},
    {"KeySignature", F_PATCH_SIGNATURE, C_NONE, 0},
    {"DiscoKey", F_PATCH_DISCO, C_NONE, 0},
    {"Online", F_PATCH_ONLINE, C_NONE, 0},
    {"LastSeen", F_PATCH_SEEN, C_NONE, 0},
    {"KeyExpiry", F_PATCH_EXPIRY, C_NONE, 0},
};
static const struct ml_map_field_def derpmap[] = {
    {"HomeParams", F_HOME_PARAMS, C_HOME_PARAMS, 0}, {"Regions", F_REGIONS, C_REGIONS, 0}};
static const struct ml_map_field_def home_params[] = {{"RegionScore", F_SCORE, C_SCORES, 0}};
static const struct ml_map_field_def region[] = {
    {"RegionCode", F_REGION_CODE, C_NONE, 0},
    {"RegionName", F_REGION_NAME, C_NONE, 0},
    {"Avoid", F_PLAIN, C_NONE, BOOL_AT(u.region.region.avoid)},
    {"NoMeasureNoHome", F_PLAIN, C_NONE, BOOL_AT(u.region.region.no_measure_no_home)},
    {"Nodes", F_REGION_NODES, C_DERP_NODES, 0},
};
static const struct ml_map_field_def derp_node[] = {
    {"HostName", F_DERP_HOST, C_NONE, 0},
    {"CertName", F_DERP_CERT, C_NONE, 0},
    {"IPv4", F_DERP_IP4, C_NONE, 0},
    {"IPv6", F_DERP_IP6, C_NONE, 0},
    {"STUNPort", F_DERP_STUN_PORT, C_NONE, 0},
    {"STUNOnly", F_PLAIN, C_NONE, BOOL_AT(u.region.node.is_stun_only)},
    {"DERPPort", F_PLAIN, C_NONE, U16_AT(u.region.node.derp_port)},
    {"InsecureForTests", F_PLAIN, C_NONE, BOOL_AT(u.region.node.is_insecure_for_tests)},
};
static const struct ml_map_field_def rule[] = {
    {"SrcIPs", F_RULE_SRC, C_SRCS, 0},
    {"SrcBits", F_RULE_BITS, C_BITS, 0},
    {"DstPorts", F_RULE_DSTS, C_DSTS, 0},
    {"IPProto", F_RULE_PROTO, C_PROTOS, 0},
};
static const struct ml_map_field_def dst[] = {
    {"IP", F_DST_IP, C_NONE, 0}, {"Bits", F_DST_BITS, C_NONE, 0}, {"Ports", F_DST_PORTS, C_PORTS, 0}};
static const struct ml_map_field_def ports[] = {{"First", F_PORT_FIRST, C_NONE, 0}, {"Last", F_PORT_LAST, C_NONE, 0}};
static const struct ml_map_field_def user[] = {{"ID", F_PLAIN, C_NONE, ID_AT(u.user.id)}, {"LoginName", F_USER_LOGIN, C_NONE, 0}};
static const struct ml_map_field_def dns[] = {{"Proxied", F_PLAIN, C_NONE, BOOL_AT(is_proxied)}};
static const struct ml_map_field_def message[] = {{"Title", F_MESSAGE_TITLE, C_NONE, 0}, {"Text", F_MESSAGE_TEXT, C_NONE, 0}};
static const struct ml_map_field_def tka[] = {{"Disabled", F_PLAIN, C_NONE, BOOL_AT(is_lock_disabled)}};
static const struct ml_map_field_def debug[] = {{"SleepSeconds", F_SLEEP, C_NONE, 0}, {"Exit", F_EXIT, C_NONE, 0}};
static const struct ml_map_field_def ping[] = {
    {"URL", F_PING_URL, C_NONE, 0},
    {"URLIsNoise", F_PLAIN, C_NONE, BOOL_AT(u.ping.is_url_noise)},
    {"Types", F_PING_TYPES, C_NONE, 0},
    {"IP", F_PLAIN, C_NONE, IP_AT(u.ping.ip)},
    {"Payload", F_PING_PAYLOAD, C_NONE, 0},
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
