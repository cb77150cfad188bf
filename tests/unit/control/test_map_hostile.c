/*
 * Every field of a netmap message in turn missing, null, of each wrong type, huge, repeated, and nested a thousand deep: the
 * message is read to its end or broken off, never anything else, rules never become wider, and the next message is read as if
 * nothing had been. docs/netmap.md says what becomes of a bad field.
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

#define KEY1  "nodekey:0101010101010101010101010101010101010101010101010101010101010101"
#define DISCO "discokey:0202020202020202020202020202020202020202020202020202020202020202"

static const char sample[] =
    "{\"KeepAlive\":false,\"Seq\":7,\"ControlTime\":\"2026-11-23T10:00:00Z\","
    "\"Node\":{\"ID\":1,\"Name\":\"me.ts.net.\",\"User\":9,\"Key\":\"" KEY1 "\",\"DiscoKey\":\"" DISCO
    "\",\"KeyExpiry\":\"2027-01-01T00:00:00Z\",\"Addresses\":[\"100.64.0.1/32\"],\"MachineAuthorized\":true,"
    "\"CapMap\":{\"only-tcp-443\":null}},"
    "\"DERPMap\":{\"HomeParams\":{\"RegionScore\":{\"1\":0.5}},\"Regions\":{\"1\":{\"RegionID\":1,\"RegionCode\":\"r\","
    "\"RegionName\":\"R\",\"Avoid\":false,\"NoMeasureNoHome\":false,\"Nodes\":[{\"Name\":\"1a\",\"RegionID\":1,\"HostName\":"
    "\"h\","
    "\"CertName\":\"c\",\"IPv4\":\"1.2.3.4\",\"IPv6\":\"none\",\"STUNPort\":3478,\"STUNOnly\":false,\"DERPPort\":443}]}}},"
    "\"PeersChanged\":[{\"ID\":5,\"StableID\":\"n5\",\"Name\":\"p.ts.net.\",\"User\":9,\"Key\":\"" KEY1
    "\",\"DiscoKey\":\"" DISCO
    "\",\"KeyExpiry\":\"0001-01-01T00:00:00Z\",\"Addresses\":[\"100.64.0.2/32\"],\"AllowedIPs\":[\"100.64.0.2/32\"],"
    "\"Endpoints\":[\"192.0.2.1:1\"],\"HomeDERP\":1,\"DERP\":\"127.3.3.40:1\",\"Hostinfo\":{\"OS\":\"linux\",\"Services\":"
    "[{\"Proto\":\"peerapi4\",\"Port\":1}]},\"Cap\":130,\"Online\":true,\"Expired\":false,\"IsJailed\":false,"
    "\"IsWireGuardOnly\":false,\"UnsignedPeerAPIOnly\":false,\"SelfNodeV4MasqAddrForThisPeer\":\"100.64.9.9\","
    "\"CapMap\":{\"a\":[1]}}],"
    "\"PeersRemoved\":[6],\"PeerSeenChange\":{\"7\":true},\"OnlineChange\":{\"8\":false},"
    "\"PeersChangedPatch\":[{\"NodeID\":9,\"DERPRegion\":2,\"Cap\":1,\"Endpoints\":[\"192.0.2.1:2\"],\"Key\":\"" KEY1
    "\",\"DiscoKey\":\"" DISCO
    "\",\"Online\":true,\"LastSeen\":\"2026-11-23T10:00:00Z\",\"KeyExpiry\":\"0001-01-01T00:00:00Z\"}],"
    "\"PacketFilter\":[{\"SrcIPs\":[\"100.64.0.2\"],\"DstPorts\":[{\"IP\":\"100.64.0.1\",\"Ports\":{\"First\":22,\"Last\":22}}]"
    ","
    "\"IPProto\":[6]}],"
    "\"PacketFilters\":{\"more\":[{\"SrcIPs\":[\"100.64.0.2\"],\"DstPorts\":[{\"IP\":\"100.64.0.1\",\"Ports\":{\"First\":80,"
    "\"Last\":80}}]}]},"
    "\"UserProfiles\":[{\"ID\":9,\"LoginName\":\"a@b\",\"DisplayName\":\"A\"}],\"Domain\":\"d\",\"Health\":[\"h\"],"
    "\"DisplayMessages\":{\"m\":{\"Title\":\"t\",\"Text\":\"x\"}},\"TKAInfo\":{\"Head\":\"AAAA\",\"Disabled\":true},"
    "\"DNSConfig\":{\"Proxied\":true},\"PopBrowserURL\":\"https://x\",\"PingRequest\":{\"URL\":\"https://"
    "u\",\"URLIsNoise\":true,"
    "\"Types\":\"disco\",\"IP\":\"100.64.0.2\",\"Payload\":\"AAAA\"},\"Debug\":{\"SleepSeconds\":0,\"Exit\":null}}";

struct seen {
    unsigned begin, end, abort, rule;
    bool is_wide;
    uint32_t digest;
};

/* The sample lets one host reach ports 22 and 80 of one host by TCP; more than that is wider, but for the protocols: a list
 * that is absent means the default four (tailcfg.FilterRule). */
static bool is_rule_wide(const struct ml_rule *r)
{
    for (uint8_t i = 0; i < r->src_count; i++) {
        if (r->srcs[i].bits != 32 || ml_ip4_to_u32(&r->srcs[i].ip) != 0x64400002) {
            return true;
        }
    }
    for (uint8_t i = 0; i < r->dst_count; i++) {
        const struct ml_rule_dst *d = &r->dsts[i];
        if (d->net.bits != 32 || d->port_last > 80 || d->port_last - d->port_first > 80) {
            return true;
        }
    }
    return false;
}

static void on_delta(void *ctx, const struct ml_delta *d)
{
    static char text[8192];
    struct seen *s = ctx;
    s->begin += d->type == ML_DELTA_BEGIN;
    s->end += d->type == ML_DELTA_END;
    s->abort += d->type == ML_DELTA_ABORT;
    if (d->type == ML_DELTA_RULE) {
        s->rule++;
        s->is_wide = s->is_wide || is_rule_wide(d->rule);
    }
    delta_text(d, text, sizeof text);
    for (const char *p = text; *p; p++) {
        s->digest = (s->digest ^ (uint8_t)*p) * 16777619u;
    }
}

static struct ml_map_parse parser;

static bool read_message(const char *json, size_t len, size_t chunk, struct seen *s)
{
    const struct ml_delta_sink sink = {.fn = on_delta, .ctx = s};
    memset(s, 0, sizeof *s);
    ml_map_parse_begin(&parser);
    for (size_t at = 0; at < len; at += chunk) {
        if (!ml_map_parse_feed(&parser, (const uint8_t *)json + at, len - at < chunk ? len - at : chunk, &sink)) {
            ml_map_parse_abort(&parser, &sink);
            return false;
        }
    }
    return ml_map_parse_end(&parser, &sink);
}

/* The end of the JSON value at @p at. */
static size_t value_end(const char *j, size_t at)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = at;; i++) {
        char c = j[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
            if (!in_string && depth == 0) {
                return i + 1;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0) {
                return i;
            }
            if (--depth == 0) {
                return i + 1;
            }
        } else if (depth == 0 && c == ',') {
            return i;
        }
    }
}

static char *nested(const char *open, const char *close, int depth)
{
    size_t n = 0, o = strlen(open), c = strlen(close);
    char *s = malloc((o + c) * (size_t)depth + 2);
    assert_non_null(s);
    for (int i = 0; i < depth; i++, n += o) {
        memcpy(s + n, open, o);
    }
    s[n++] = '1';
    for (int i = 0; i < depth; i++, n += c) {
        memcpy(s + n, close, c);
    }
    s[n] = 0;
    return s;
}

static char *huge_string(size_t len)
{
    char *s = malloc(len + 3);
    assert_non_null(s);
    memset(s, 'x', len + 2);
    s[0] = s[len + 1] = '"';
    s[len + 2] = 0;
    return s;
}

static void check(const char *json, size_t len, uint32_t good)
{
    struct seen s;
    static const size_t chunks[] = {1, 7, SIZE_MAX / 2};
    for (size_t i = 0; i < 3; i++) {
        ml_map_parse_init(&parser);
        parser.is_first = false;
        bool ok = read_message(json, len, chunks[i], &s);
        assert_true(s.begin <= 1 && s.end + s.abort == s.begin);
        assert_int_equal(s.end, ok ? s.begin : 0);
        assert_false(s.is_wide);
        assert_true(s.rule <= 4); /* a rule list given twice is read twice */
    }
    /* The same parser reads the next message as a new one would. */
    ml_map_parse_init(&parser);
    parser.is_first = false;
    assert_true(read_message(sample, sizeof sample - 1, SIZE_MAX / 2, &s));
    assert_int_equal(s.digest, good);
}

static void every_field_in_turn_is_missing_null_of_a_wrong_type_huge_repeated_and_nested(void **state)
{
    (void)state;
    char *huge = huge_string(20000), *lists = nested("[", "]", 1000), *objects = nested("{\"k\":", "}", 1000);
    const char *values[] = {"null",    "true",      "0",     "-1",  "99999999999999999999",
                            "1.5e300", "\"\"",      "\"x\"", "{}",  "[]",
                            "[null]",  "{\"k\":1}", huge,    lists, objects};
    struct seen s;
    unsigned fields = 0, messages = 0;
    ml_map_parse_init(&parser);
    parser.is_first = false;
    assert_true(read_message(sample, sizeof sample - 1, SIZE_MAX / 2, &s));
    assert_int_equal(s.rule, 2);
    assert_false(s.is_wide);
    const uint32_t good = s.digest;
    char *json = malloc(sizeof sample + 24000);
    assert_non_null(json);
    for (size_t at = 0; at + 2 < sizeof sample; at++) {
        if (sample[at] != '"' || sample[at + 1] != ':') {
            continue;
        }
        size_t from = at + 2, end = value_end(sample, from), key = at;
        while (sample[key - 1] != '"') {
            key--;
        }
        key--;
        fields++;
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            size_t n = strlen(values[v]);
            memcpy(json, sample, from);
            memcpy(json + from, values[v], n);
            memcpy(json + from + n, sample + end, sizeof sample - end);
            check(json, from + n + sizeof sample - 1 - end, good);
            messages++;
        }
        /* Missing: with the comma behind it, or else the one before it. */
        size_t cut_from = sample[end] == ',' || sample[key - 1] != ',' ? key : key - 1;
        size_t cut_end = sample[end] == ',' ? end + 1 : end;
        memcpy(json, sample, cut_from);
        memcpy(json + cut_from, sample + cut_end, sizeof sample - cut_end);
        check(json, cut_from + sizeof sample - 1 - cut_end, good);
        /* Repeated. */
        size_t n = end - key;
        memcpy(json, sample, end);
        json[end] = ',';
        memcpy(json + end + 1, sample + key, n);
        memcpy(json + end + 1 + n, sample + end, sizeof sample - end);
        check(json, sizeof sample + n, good);
        messages += 2;
    }
    print_message("%u fields, %u messages\n", fields, messages);
    assert_true(fields > 90);
    free(json);
    free(huge);
    free(lists);
    free(objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_in_turn_is_missing_null_of_a_wrong_type_huge_repeated_and_nested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
