/*
 * The map stream parser: every field, wrong types, cuts at every byte; and the vectors printed by the official tailcfg and
 * wgengine/filter (tests/vectors/control_map_cases.txt).
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "control/map_parse.h"
#include "delta_text.h"

#define TEXT_CAP (1 << 16)

struct log {
    size_t len;
    unsigned count[ML_DELTA_ABORT + 1];
    struct ml_ping_request ping;
    char text[TEXT_CAP];
};

static void on_delta(void *ctx, const struct ml_delta *d)
{
    struct log *log = ctx;
    log->count[d->type]++;
    if (d->type == ML_DELTA_PING) {
        log->ping = *d->ping;
    }
    if (log->len + 8192 < TEXT_CAP) {
        delta_text(d, log->text + log->len, 8192);
        log->len += strlen(log->text + log->len);
        log->text[log->len++] = '\n';
        log->text[log->len] = '\0';
    }
}

static struct log log_a, log_b;
static struct ml_map_parse parser;

static void log_reset(struct log *log)
{
    log->len = 0;
    log->text[0] = '\0';
    memset(log->count, 0, sizeof log->count);
}

static bool message(struct ml_map_parse *p, struct log *log, const char *json, size_t len, size_t chunk)
{
    const struct ml_delta_sink sink = {.fn = on_delta, .ctx = log};
    ml_map_parse_begin(p);
    for (size_t at = 0; at < len; at += chunk) {
        if (!ml_map_parse_feed(p, (const uint8_t *)json + at, len - at < chunk ? len - at : chunk, &sink)) {
            ml_map_parse_abort(p, &sink);
            return false;
        }
    }
    return ml_map_parse_end(p, &sink);
}

/* A later message of a stream: what it yields between begin and end. */
static const char *later(const char *json)
{
    ml_map_parse_init(&parser);
    parser.is_first = false;
    log_reset(&log_a);
    assert_true(message(&parser, &log_a, json, strlen(json), 4096));
    return log_a.text;
}

#define KEY  "nodekey:0101010101010101010101010101010101010101010101010101010101010101"
#define HEX1 "0101010101010101010101010101010101010101010101010101010101010101"
#define HEX0 "0000000000000000000000000000000000000000000000000000000000000000"
#define SELF "\"Node\":{\"ID\":1,\"Key\":\"" KEY "\"}"

static void first_message_brackets_its_peers_and_clears_what_it_does_not_name(void **state)
{
    (void)state;
    ml_map_parse_init(&parser);
    log_reset(&log_a);
    const char json[] = "{" SELF "}";
    assert_true(message(&parser, &log_a, json, sizeof json - 1, 1));
    assert_string_equal(log_a.text, "begin first\nhealth-begin\nmessage-gone name=*\npeers-begin\n"
                                    "self id=1 user=0 name= os= key=" HEX1 " disco=" HEX0
                                    " masq4= masq6= addresses= allowed= endpoints= home=0 cap=0 peerapi4=0 peerapi6=0 "
                                    "expiry=0 online=?\nrules-clear\ntka flag=0\npeers-end\nend\n");
}

static void C37_a_first_message_without_node_ends_the_stream(void **state)
{
    (void)state;
    static const char *const bad[] = {"{}",
                                      "{\"Peers\":[]}",
                                      "{\"ControlTime\":\"2026-01-01T00:00:00Z\"}",
                                      "{\"Node\":null}",
                                      "{\"Node\":{\"ID\":1,\"Key\":\"nodekey:12\"}}",
                                      "[]",
                                      "null",
                                      "1",
                                      ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ml_map_parse_init(&parser);
        log_reset(&log_a);
        assert_false(message(&parser, &log_a, bad[i], strlen(bad[i]), 4096));
        assert_int_equal(log_a.count[ML_DELTA_END], 0);
        assert_int_equal(log_a.count[ML_DELTA_BEGIN], log_a.count[ML_DELTA_ABORT]);
    }
}

static void C37_keepalive_before_the_first_map_and_empty_messages_after_it_are_accepted(void **state)
{
    (void)state;
    ml_map_parse_init(&parser);
    log_reset(&log_a);
    assert_true(message(&parser, &log_a, "{\"KeepAlive\":true}", 18, 1));
    assert_true(parser.is_first);
    assert_int_equal(log_a.len, 0);
    assert_string_equal(later("{}"), "");
    assert_string_equal(later("{\"ControlTime\":\"2026-11-23T14:05:06.789Z\"}"), "time ms=1795442706789\n");
}

static void keepalive_carries_requests_but_no_state(void **state)
{
    (void)state;
    assert_string_equal(later("{\"KeepAlive\":true,\"Peers\":[{\"ID\":5,\"Key\":\"" KEY "\"}],\"Domain\":\"x\","
                              "\"PopBrowserURL\":\"https://a/\",\"ControlTime\":\"1970-01-01T00:00:01Z\"}"),
                        "pop-url text=https://a/\ntime ms=1000\n");
}

static void C45_a_repeated_browser_url_and_ping_are_handed_out_once(void **state)
{
    (void)state;
    const char json[] =
        "{\"KeepAlive\":true,\"PopBrowserURL\":\"https://a/\",\"PingRequest\":{\"URL\":\"https://p\",\"Types\":\"TSMP\","
        "\"IP\":\"100.64.0.9\"}}";
    (void)later(json);
    assert_string_equal(log_a.text,
                        "pop-url text=https://a/\nping url=https://p types=TSMP noise=0 cut=0 ip=100.64.0.9 payload=\n");
    log_reset(&log_a);
    assert_true(message(&parser, &log_a, json, sizeof json - 1, 4096));
    assert_int_equal(log_a.len, 0);
}

static void C4_unknown_fields_of_any_depth_are_skipped(void **state)
{
    (void)state;
    static char json[200000];
    size_t n = 0;
    n += (size_t)sprintf(json + n, "{\"Unknown\":");
    for (int i = 0; i < 40000; i++) {
        json[n++] = i % 2 ? '[' : '{';
        if (i % 2 == 0) {
            n += (size_t)sprintf(json + n, "\"\":");
        }
    }
    n += (size_t)sprintf(json + n, "1");
    for (int i = 39999; i >= 0; i--) {
        json[n++] = i % 2 ? ']' : '}';
    }
    n += (size_t)sprintf(json + n, ",\"Domain\":\"d\"}");
    assert_string_equal(later(json), "begin\ndomain text=d\nend\n");
}

static void C4_ids_are_64_bit(void **state)
{
    (void)state;
    assert_string_equal(later("{\"PeersRemoved\":[9007199254740993,9223372036854775807]}"),
                        "begin\nremoved id=9007199254740993\nremoved id=9223372036854775807\nend\n");
    assert_string_equal(later("{\"OnlineChange\":{\"9007199254740993\":true},\"PeerSeenChange\":{\"3\":false}}"),
                        "begin\nonline id=9007199254740993 flag=1\nseen id=3 flag=0\nend\n");
}

static void negative_ids_as_of_the_official_test_server_are_ids_too(void **state)
{
    (void)state;
    assert_string_equal(later("{\"PeersRemoved\":[-5,0],\"OnlineChange\":{\"-6\":true,\"0\":true}}"),
                        "begin\nremoved id=-5\nonline id=-6 flag=1\nend\n");
    assert_non_null(strstr(later("{\"PeersChanged\":[{\"ID\":-7,\"Key\":\"" KEY "\"}]}"), "peer id=-7 "));
}

static void C39_a_full_list_makes_other_peer_fields_count_for_nothing(void **state)
{
    (void)state;
    assert_non_null(
        later("{\"Peers\":[{\"ID\":5,\"Key\":\"" KEY "\"}],\"PeersChanged\":[{\"ID\":6,\"Key\":\"" KEY "\"}],"
              "\"PeersRemoved\":[5],\"PeersChangedPatch\":[{\"NodeID\":5,\"Cap\":3}],\"OnlineChange\":{\"5\":true}}"));
    assert_int_equal(log_a.count[ML_DELTA_PEERS_BEGIN], 1);
    assert_int_equal(log_a.count[ML_DELTA_PEERS_END], 1);
    assert_int_equal(log_a.count[ML_DELTA_PEER], 1);
    assert_int_equal(log_a.count[ML_DELTA_PEER_REMOVED] + log_a.count[ML_DELTA_PEER_PATCH] + log_a.count[ML_DELTA_PEER_ONLINE],
                     0);
}

static void C39_an_empty_list_changes_nothing_later_and_means_nobody_at_first(void **state)
{
    (void)state;
    assert_string_equal(later("{\"Peers\":[]}"), "");
    ml_map_parse_init(&parser);
    log_reset(&log_a);
    const char json[] = "{" SELF ",\"Peers\":[]}";
    assert_true(message(&parser, &log_a, json, sizeof json - 1, 7));
    assert_int_equal(log_a.count[ML_DELTA_PEERS_BEGIN], 1);
    assert_int_equal(log_a.count[ML_DELTA_PEERS_END], 1);
}

static void C40_every_field_of_a_patch(void **state)
{
    (void)state;
    assert_string_equal(later("{\"PeersChangedPatch\":[{\"NodeID\":3,\"DERPRegion\":4,\"Cap\":130,\"CapMap\":{\"a\":[1]},"
                              "\"Endpoints\":[\"1.2.3.4:5\"],"
                              "\"Key\":\"" KEY "\",\"KeySignature\":\"AAAA\",\"DiscoKey\":\"discokey:" HEX0
                              "\",\"Online\":false,"
                              "\"LastSeen\":\"1970-01-01T00:01:40Z\",\"KeyExpiry\":\"0001-01-01T00:00:00Z\"},"
                              "{\"NodeID\":4,\"DERPRegion\":0,\"Cap\":0,\"Endpoints\":[],\"Key\":null},{\"DERPRegion\":9}]}"),
                        "begin\npatch id=3 region=4 cap=130 endpoints=1.2.3.4:5 key=" HEX1 " disco=" HEX0
                        " online=0 seen=100 expiry=0 signature\npatch id=4 endpoints=\nend\n");
}

static void C2_zero_time_is_never(void **state)
{
    (void)state;
    assert_non_null(strstr(later("{\"PeersChanged\":[{\"ID\":2,\"Key\":\"" KEY "\",\"KeyExpiry\":\"0001-01-01T00:00:00Z\"}]}"),
                           "expiry=0 "));
    assert_non_null(
        strstr(later("{\"PeersChanged\":[{\"ID\":2,\"Key\":\"" KEY "\",\"KeyExpiry\":\"2026-11-23T14:05:06+01:30\"}]}"),
               "expiry=1795437306 "));
}

static void C41_allowed_ips_default_to_addresses_only_when_absent(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "allowed=100.64.0.2/32 "},
        {",\"AllowedIPs\":null", "allowed=100.64.0.2/32 "},
        {",\"AllowedIPs\":[]", "allowed= "},
        {",\"AllowedIPs\":[\"10.0.0.0/8\",\"::/0\"]", "allowed=10.0.0.0/8,::/0 "},
        {",\"AllowedIPs\":[\"10.0.0.0/8\"],\"UnsignedPeerAPIOnly\":true", "allowed=100.64.0.2/32 "}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[512];
        snprintf(json, sizeof json, "{\"PeersChanged\":[{\"ID\":2,\"Key\":\"" KEY "\",\"Addresses\":[\"100.64.0.2/32\"]%s}]}",
                 cases[i][0]);
        assert_non_null(strstr(later(json), cases[i][1]));
    }
}

static void C41_D57_home_region_comes_from_home_derp_else_from_the_legacy_form(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"\"HomeDERP\":5,\"DERP\":\"127.3.3.40:9\"", "home=5 "},
                                           {"\"DERP\":\"127.3.3.40:9\"", "home=9 "},
                                           {"\"DERP\":\"127.3.3.41:9\"", "home=0 "},
                                           {"\"DERP\":\"\"", "home=0 "},
                                           {"\"HomeDERP\":0,\"DERP\":\"127.3.3.40:9\"", "home=9 "}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[512];
        snprintf(json, sizeof json, "{\"PeersChanged\":[{\"ID\":2,\"Key\":\"" KEY "\",%s}]}", cases[i][0]);
        assert_non_null(strstr(later(json), cases[i][1]));
    }
}

static void C42_derp_map_rules(void **state)
{
    (void)state;
    assert_string_equal(
        later(
            "{\"DERPMap\":{\"HomeParams\":{\"RegionScore\":{\"1\":0.5,\"2\":-1,\"3\":2e1}},\"Regions\":{\"1\":{\"RegionID\":1,"
            "\"RegionCode\":\"a\",\"RegionName\":\"A\",\"NoMeasureNoHome\":true,\"Nodes\":[{\"Name\":\"1a\",\"HostName\":\"h\","
            "\"IPv4\":\"none\",\"IPv6\":\"2001:db8::1\",\"STUNPort\":-1,\"DERPPort\":8443}]},\"2\":null},"
            "\"omitDefaultRegions\":true}}"),
        "begin\nscore-reset\nscore id=1 milli=500\nscore id=3 milli=20000\nderp-begin\n"
        "derp-region id=1 code=a name=A nohome node=h||off|2001:db8::1 stun=-1 port=8443\nderp-end\nend\n");
    assert_string_equal(later("{\"DERPMap\":{\"HomeParams\":{\"RegionScore\":{}}}}"), "begin\nscore-reset\nend\n");
    assert_string_equal(later("{\"DERPMap\":{}}"), "");
    assert_string_equal(later("{\"DERPMap\":{\"Regions\":{}}}"), "begin\nderp-begin\nderp-end\nend\n");
    /* Never only servers that cannot relay, and no server whose name or pin would be cut. */
    assert_non_null(strstr(
        later("{\"DERPMap\":{\"Regions\":{\"1\":{\"Nodes\":[{\"HostName\":\"s1\",\"STUNOnly\":true},{\"HostName\":\"s2\","
              "\"STUNOnly\":true},{\"HostName\":\"r\"},{\"HostName\":\"r2\"}]}}}}"),
        "node=s1||| stun=0 port=0 stunonly node=r||"));
    char json[512];
    snprintf(json, sizeof json, "{\"DERPMap\":{\"Regions\":{\"1\":{\"Nodes\":[{\"HostName\":\"%0100d\"}]}}}}", 1);
    assert_null(strstr(later(json), "node="));
}

static void C3_absent_null_and_empty_mean_different_things_wherever_the_protocol_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *json, *deltas;
    } cases[] = {
        /* null is absent; [] and {} are values */
        {"{\"PacketFilter\":null}", ""},
        {"{\"PacketFilter\":[]}", "begin\nrules-begin text=base\nrules-end\nend\n"},
        {"{\"PacketFilters\":null}", ""},
        {"{\"PacketFilters\":{}}", ""},
        {"{\"PacketFilters\":{\"base\":null}}", "begin\nrules-delete text=base\nend\n"},
        {"{\"PacketFilters\":{\"base\":[]}}", "begin\nrules-begin text=base\nrules-end\nend\n"},
        {"{\"Health\":null}", ""},
        {"{\"Health\":[]}", "begin\nhealth-begin\nend\n"},
        {"{\"DERPMap\":{\"Regions\":null}}", ""},
        {"{\"DERPMap\":{\"Regions\":{}}}", "begin\nderp-begin\nderp-end\nend\n"},
        {"{\"PeersChangedPatch\":[{\"NodeID\":3,\"Endpoints\":null}]}", "begin\npatch id=3\nend\n"},
        {"{\"PeersChangedPatch\":[{\"NodeID\":3,\"Endpoints\":[]}]}", "begin\npatch id=3 endpoints=\nend\n"},
        {"{\"Peers\":null}", ""},
        {"{\"Peers\":[]}", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = later(cases[i].json);
        if (strcmp(cases[i].deltas, "") == 0 && strcmp(got, "begin\nend\n") == 0) {
            continue; /* a message without effect may or may not be announced */
        }
        assert_string_equal(got, cases[i].deltas);
    }
}

#define FILTER(rule) "{\"PacketFilter\":[" rule "]}"
static void C51_named_filter_sets(void **state)
{
    (void)state;
    assert_string_equal(later("{\"PacketFilter\":[]}"), "begin\nrules-begin text=base\nrules-end\nend\n");
    assert_string_equal(later("{\"PacketFilters\":{\"*\":null,\"base\":null,\"x\":[]}}"),
                        "begin\nrules-clear\nrules-delete text=base\nrules-begin text=x\nrules-end\nend\n");
    assert_string_equal(later("{\"PacketFilters\":{\"*\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}]}]}}"), "");
    assert_string_equal(later("{\"PacketFilter\":null,\"PacketFilters\":null}"), "");
}

static void C52_address_forms_of_a_rule(void **state)
{
    (void)state;
    assert_string_equal(
        later(FILTER("{\"SrcIPs\":[\"*\",\"1.2.3.4\",\"10.0.0.0/8\",\"10.0.0.1/"
                     "8\",\"10.0.0.5-10.0.0.8\",\"9.9.9.9-1.1.1.1\",\"cap:x\",\"junk\","
                     "\"fd00::fffe-fd00::1:1\"],\"DstPorts\":[{\"IP\":\"100.64.0.1\",\"Ports\":{\"First\":22,\"Last\":23}},"
                     "{\"IP\":\"cap:y\",\"Ports\":{\"First\":0,\"Last\":65535}}],\"IPProto\":[6,300]}")),
        "begin\nrules-begin text=base\nrule "
        "src=0.0.0.0/0,::/0,1.2.3.4/32,10.0.0.0/8,10.0.0.5/32,10.0.0.6/31,10.0.0.8/32,fd00::fffe/127,fd00::1:0/127 "
        "dst=100.64.0.1/32:22-23 proto=6 lossy\nrules-end\nend\n");
    assert_non_null(
        strstr(later(FILTER("{\"SrcIPs\":[\"0.0.0.0-255.255.255.255\",\"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\"],"
                            "\"DstPorts\":[{\"IP\":\"*\"}]}")),
               "src=0.0.0.0/0,::/0 dst=0.0.0.0/0:0-0,::/0:0-0 proto=default\n"));
    assert_string_equal(later(FILTER("{\"SrcIPs\":[\"*\"],\"SrcBits\":[8],\"DstPorts\":[{\"IP\":\"*\"}]}")),
                        "begin\nrules-begin text=base\nrules-invalid\nrules-end\nend\n");
    assert_int_equal(
        (later(FILTER("{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Bits\":8}]}")), log_a.count[ML_DELTA_RULES_INVALID]),
        1);
}

static void C53_protocol_list_with_only_ignored_values_is_not_the_default(void **state)
{
    (void)state;
    assert_non_null(
        strstr(later(FILTER("{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}],\"IPProto\":[-1,256]}")), "proto=\n"));
    assert_non_null(
        strstr(later(FILTER("{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}],\"IPProto\":[]}")), "proto=default\n"));
    assert_non_null(
        strstr(later(FILTER("{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}],\"IPProto\":null}")), "proto=default\n"));
}

static void wrong_types_in_a_rule_never_widen_it(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}],\"IPProto\":{}",
        "\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}],\"IPProto\":\"6\"",
        "\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}],\"IPProto\":[\"6\"]",
        "\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}],\"IPProto\":[[6]]",
        "\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"}],\"IPProto\":[null]",
        "\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":[]}]",
        "\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":70000}}]",
        "\"SrcIPs\":[\"*\"],\"DstPorts\":[7]",
        "\"SrcIPs\":[1],\"DstPorts\":[{\"IP\":\"*\"}]",
        "\"SrcIPs\":\"*\",\"DstPorts\":[{\"IP\":\"*\"}]",
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        char json[512];
        snprintf(json, sizeof json, "{\"PacketFilter\":[{%s}]}", rules[i]);
        (void)later(json);
        assert_int_equal(log_a.count[ML_DELTA_RULE], 0);
        assert_int_equal(log_a.count[ML_DELTA_RULES_END], 1);
    }
}

static void a_rule_larger_than_a_chunk_comes_as_the_same_union(void **state)
{
    (void)state;
    static char json[8192];
    size_t n = (size_t)sprintf(json, "{\"PacketFilter\":[{\"SrcIPs\":[");
    for (int i = 0; i < ML_CFG_RULE_SRCS + 5; i++) {
        n += (size_t)sprintf(json + n, "%s\"10.0.%d.1\"", i ? "," : "", i);
    }
    n += (size_t)sprintf(json + n, "],\"DstPorts\":[");
    for (int i = 0; i < ML_CFG_RULE_DSTS + 3; i++) {
        n +=
            (size_t)sprintf(json + n, "%s{\"IP\":\"100.64.0.%d\",\"Ports\":{\"First\":%d,\"Last\":%d}}", i ? "," : "", i, i, i);
    }
    sprintf(json + n, "]}]}");
    (void)later(json);
    assert_int_equal(log_a.count[ML_DELTA_RULE], (ML_CFG_RULE_SRCS + 15) / 16 * ((ML_CFG_RULE_DSTS + 7) / 8));
    assert_non_null(strstr(log_a.text, "lossy"));
}

static void C1_a_peer_with_a_malformed_key_is_dropped(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "\"mkey:" HEX1 "\"", "\"nodekey:" HEX1 "00\"", "\"nodekey:zz\"", "\"\"", "7", "{}", "null", "\"nodekey:" HEX0 "\""};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char json[512];
        snprintf(json, sizeof json, "{\"PeersChanged\":[{\"ID\":2,\"Key\":%s},{\"ID\":3,\"Key\":\"" KEY "\"}]}", keys[i]);
        (void)later(json);
        assert_int_equal(log_a.count[ML_DELTA_PEER], 1);
        assert_non_null(strstr(log_a.text, "peer id=3"));
    }
}

static void node_fields_of_wrong_types_are_left_out(void **state)
{
    (void)state;
    (void)later("{\"PeersChanged\":[{\"ID\":2,\"Key\":\"" KEY
                "\",\"Name\":[],\"User\":\"x\",\"Addresses\":{},\"AllowedIPs\":[1,\"x\"],"
                "\"Endpoints\":[\"1.2.3.4\",null],\"HomeDERP\":-1,\"Hostinfo\":[],\"Cap\":1e3,\"Online\":1,\"Expired\":\"yes\","
                "\"CapMap\":[],\"Capabilities\":{},\"KeyExpiry\":5,\"IsJailed\":null}]}");
    assert_non_null(strstr(log_a.text,
                           "peer id=2 user=0 name= os= key=" HEX1 " disco=" HEX0
                           " masq4= masq6= addresses= allowed= endpoints= home=0 cap=0 peerapi4=0 peerapi6=0 expiry=0 "
                           "online=?\n"));
    assert_true(parser.cut_count > 5);
}

static void lists_longer_than_a_node_holds_are_cut_and_counted(void **state)
{
    (void)state;
    static char json[8192];
    size_t n = (size_t)sprintf(json, "{\"PeersChanged\":[{\"ID\":2,\"Key\":\"" KEY "\",\"Endpoints\":[");
    for (int i = 0; i < ML_NODE_ENDPOINTS + 4; i++) {
        n += (size_t)sprintf(json + n, "%s\"10.0.%d.1:1\"", i ? "," : "", i);
    }
    n += (size_t)sprintf(json + n, "],\"Name\":\"");
    memset(json + n, 'n', 400);
    sprintf(json + n + 400, "\"}]}");
    (void)later(json);
    assert_int_equal(parser.cut_count, 5);
    assert_int_equal(log_a.count[ML_DELTA_PEER], 1);
}

static void services_os_and_capabilities_of_a_node(void **state)
{
    (void)state;
    const char *text = later(
        "{\"Node\":{\"ID\":2,\"Key\":\"" KEY "\",\"Hostinfo\":{\"OS\":\"linux\",\"NetInfo\":{\"OS\":\"no\"},\"Services\":["
        "{\"Proto\":\"peerapi4\",\"Port\":4242},{\"Proto\":\"tcp\",\"Port\":22},{\"Port\":4343,\"Proto\":\"peerapi6\"}]},"
        "\"CapMap\":{\"magicdns-aaaa\":null,\"silent-disco\":[]},\"Capabilities\":[\"only-tcp-443\"],"
        "\"Online\":true,\"MachineAuthorized\":true,\"Cap\":130}}");
    assert_non_null(strstr(text, "os=linux "));
    assert_non_null(strstr(text, "cap=130 peerapi4=4242 peerapi6=4343 expiry=0 online=1 authorized aaaa tcp443 silent\n"));
}

static void other_fields(void **state)
{
    (void)state;
    assert_string_equal(later("{\"TKAInfo\":{\"Head\":\"X\"}}"), "begin\ntka flag=1\nend\n");
    assert_string_equal(later("{\"TKAInfo\":{\"Head\":\"X\",\"Disabled\":true}}"), "begin\ntka flag=0\nend\n");
    assert_string_equal(later("{\"DNSConfig\":{\"Proxied\":true,\"Routes\":{\"a\":[]}}}"), "begin\ndns-proxied flag=1\nend\n");
    assert_string_equal(later("{\"DNSConfig\":{}}"), "begin\ndns-proxied flag=0\nend\n");
    assert_string_equal(later("{\"Health\":[\"a\",\"b\"]}"), "begin\nhealth-begin\nhealth text=a\nhealth text=b\nend\n");
    assert_string_equal(
        later("{\"DisplayMessages\":{\"*\":null,\"m\":{\"Title\":\"T\",\"Text\":\"x\",\"PrimaryAction\":{\"URL\":\"u\"}}}}"),
        "begin\nmessage-gone name=*\nmessage name=m text=T: x\nend\n");
    assert_string_equal(later("{\"UserProfiles\":[{\"ID\":7,\"LoginName\":\"a@b\",\"Groups\":[\"g\"]}]}"),
                        "begin\nuser id=7 text=a@b\nend\n");
    assert_string_equal(later("{\"Debug\":{\"SleepSeconds\":1.5,\"Exit\":1}}"), "exit\n");
    assert_int_equal(parser.sleep_ms, 1500);
    assert_string_equal(later("{\"Debug\":{\"Exit\":null,\"SleepSeconds\":-3}}"), "");
    assert_int_equal(parser.sleep_ms, 0);
}

static void c2n_payload_up_to_its_limit_is_whole_and_beyond_it_marked(void **state)
{
    (void)state;
    static char json[8192];
    static const size_t lens[] = {0, 3, 1368, 1372, 4000};
    for (size_t i = 0; i < 5; i++) {
        size_t n = (size_t)sprintf(json, "{\"PingRequest\":{\"URL\":\"https://x/%zu\",\"Types\":\"c2n\",\"Payload\":\"", i);
        memset(json + n, 'A', lens[i] / 4 * 4);
        sprintf(json + n + lens[i] / 4 * 4, "\"}}");
        (void)later(json);
        assert_int_equal(log_a.count[ML_DELTA_PING], 1);
        size_t bytes = lens[i] / 4 * 3;
        assert_int_equal(log_a.ping.is_cut, bytes > ML_PING_PAYLOAD_CAP);
        assert_int_equal(log_a.ping.payload_len, bytes > ML_PING_PAYLOAD_CAP ? 0 : bytes);
    }
}

static const char big[] = "{\"Seq\":1,\"PingRequest\":{\"URL\":\"u\",\"Payload\":\"AAAA\"}," SELF
                          ",\"DERPMap\":{\"Regions\":{\"1\":{\"RegionID\":1,\"Nodes\":"
                          "[{\"HostName\":\"h\",\"IPv4\":\"1.2.3.4\"}]}}},\"Peers\":[{\"ID\":5,\"Key\":\"" KEY
                          "\",\"Addresses\":[\"100.64.0.2/32\"],\"Endpoints\":"
                          "[\"[2001:db8::1]:1\"],\"Hostinfo\":{\"OS\":\"l\\u00e9\",\"Services\":[{\"Proto\":\"peerapi4\","
                          "\"Port\":1}]},\"CapMap\":{\"a\":[{\"b\":[]}]}}],"
                          "\"PacketFilter\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,\"Last\":"
                          "65535}}],\"IPProto\":[6]}],"
                          "\"PacketFilters\":{\"*\":null,\"x\":[]},\"UserProfiles\":[{\"ID\":1,\"LoginName\":\"l\"}],\"Debug\":"
                          "{\"SleepSeconds\":1e0}}";

static void C36_any_segmentation_yields_the_same_deltas(void **state)
{
    (void)state;
    ml_map_parse_init(&parser);
    log_reset(&log_a);
    assert_true(message(&parser, &log_a, big, sizeof big - 1, sizeof big));
    for (size_t chunk = 1; chunk < 64; chunk++) {
        ml_map_parse_init(&parser);
        log_reset(&log_b);
        assert_true(message(&parser, &log_b, big, sizeof big - 1, chunk));
        assert_string_equal(log_a.text, log_b.text);
    }
}

static void a_message_cut_at_any_byte_is_aborted(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof big - 1; len++) {
        ml_map_parse_init(&parser);
        log_reset(&log_a);
        assert_false(message(&parser, &log_a, big, len, 4096));
        assert_int_equal(log_a.count[ML_DELTA_END] + log_a.count[ML_DELTA_PEERS_END], 0);
        assert_int_equal(log_a.count[ML_DELTA_ABORT], log_a.count[ML_DELTA_BEGIN]);
    }
}

static void C43_ten_thousand_peers_come_one_by_one_in_constant_memory(void **state)
{
    (void)state;
    ml_map_parse_init(&parser);
    log_reset(&log_a);
    const struct ml_delta_sink sink = {.fn = on_delta, .ctx = &log_a};
    ml_map_parse_begin(&parser);
    static const char head[] = "{" SELF ",\"Peers\":[";
    assert_true(ml_map_parse_feed(&parser, (const uint8_t *)head, sizeof head - 1, &sink));
    for (int i = 0; i < 10000; i++) {
        char peer[256];
        int n = snprintf(peer, sizeof peer, "%s{\"ID\":%d,\"Key\":\"" KEY "\",\"Name\":\"p%d.\"}", i ? "," : "", i + 2, i);
        assert_true(ml_map_parse_feed(&parser, (const uint8_t *)peer, (size_t)n, &sink));
    }
    assert_true(ml_map_parse_feed(&parser, (const uint8_t *)"]}", 2, &sink));
    assert_true(ml_map_parse_end(&parser, &sink));
    assert_int_equal(log_a.count[ML_DELTA_PEER], 10000);
    assert_true(sizeof parser <= 4096);
}

/* One case is an 'M' line (1 or 0 for first, a space, the message) and the deltas it must yield, one a line after "= ". */
static void deltas_agree_with_the_official_types_on_random_messages(void **state)
{
    (void)state;
    FILE *f = fopen(ML_VECTORS_DIR "/control_map_cases.txt", "r");
    assert_non_null(f);
    static char line[1 << 16];
    static char want[TEXT_CAP];
    size_t want_len = 0;
    int cases = 0;
    bool has_case = false;
    while (fgets(line, sizeof line, f)) {
        size_t n = strcspn(line, "\n");
        line[n] = '\0';
        if (line[0] == '=') {
            want_len += (size_t)snprintf(want + want_len, sizeof want - want_len, "%s\n", line + 2);
            continue;
        }
        if (line[0] != 'M' && line[0] != 'Z') {
            continue;
        }
        if (has_case) {
            size_t same = 0;
            while (want[same] && want[same] == log_a.text[same]) {
                same++;
            }
            size_t from = same > 60 ? same - 60 : 0;
            if (want[same] != log_a.text[same]) {
                fail_msg("case %d: got ...%.160s\nwant ...%.160s", cases, log_a.text + from, want + from);
            }
        }
        has_case = line[0] == 'M';
        if (has_case) {
            cases++;
            want_len = 0;
            want[0] = '\0';
            ml_map_parse_init(&parser);
            parser.is_first = line[2] == '1';
            log_reset(&log_a);
            assert_true(message(&parser, &log_a, line + 4, n - 4, 61));
        }
    }
    fclose(f);
    assert_true(cases >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_message_brackets_its_peers_and_clears_what_it_does_not_name),
        cmocka_unit_test(C37_a_first_message_without_node_ends_the_stream),
        cmocka_unit_test(C37_keepalive_before_the_first_map_and_empty_messages_after_it_are_accepted),
        cmocka_unit_test(keepalive_carries_requests_but_no_state),
        cmocka_unit_test(C45_a_repeated_browser_url_and_ping_are_handed_out_once),
        cmocka_unit_test(C4_unknown_fields_of_any_depth_are_skipped),
        cmocka_unit_test(C4_ids_are_64_bit),
        cmocka_unit_test(negative_ids_as_of_the_official_test_server_are_ids_too),
        cmocka_unit_test(C39_a_full_list_makes_other_peer_fields_count_for_nothing),
        cmocka_unit_test(C39_an_empty_list_changes_nothing_later_and_means_nobody_at_first),
        cmocka_unit_test(C40_every_field_of_a_patch),
        cmocka_unit_test(C2_zero_time_is_never),
        cmocka_unit_test(C41_allowed_ips_default_to_addresses_only_when_absent),
        cmocka_unit_test(C41_D57_home_region_comes_from_home_derp_else_from_the_legacy_form),
        cmocka_unit_test(C42_derp_map_rules),
        cmocka_unit_test(C3_absent_null_and_empty_mean_different_things_wherever_the_protocol_says_so),
        cmocka_unit_test(C51_named_filter_sets),
        cmocka_unit_test(C52_address_forms_of_a_rule),
        cmocka_unit_test(C53_protocol_list_with_only_ignored_values_is_not_the_default),
        cmocka_unit_test(wrong_types_in_a_rule_never_widen_it),
        cmocka_unit_test(a_rule_larger_than_a_chunk_comes_as_the_same_union),
        cmocka_unit_test(C1_a_peer_with_a_malformed_key_is_dropped),
        cmocka_unit_test(node_fields_of_wrong_types_are_left_out),
        cmocka_unit_test(lists_longer_than_a_node_holds_are_cut_and_counted),
        cmocka_unit_test(services_os_and_capabilities_of_a_node),
        cmocka_unit_test(other_fields),
        cmocka_unit_test(c2n_payload_up_to_its_limit_is_whole_and_beyond_it_marked),
        cmocka_unit_test(C36_any_segmentation_yields_the_same_deltas),
        cmocka_unit_test(a_message_cut_at_any_byte_is_aborted),
        cmocka_unit_test(C43_ten_thousand_peers_come_one_by_one_in_constant_memory),
        cmocka_unit_test(deltas_agree_with_the_official_types_on_random_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
