/*
 * The netmap's rules at work in an engine: what a cut message leaves, and who may speak to whom. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "control/map_parse.h"
#include "core/core_world.h"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_start(&w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_end(&w);
    return 0;
}

/* ---- Cut messages ---- */

static struct ml_map_parse parse;

/* Gives the first n bytes of a message to node 0. */
static void feed(const char *json, size_t n, bool is_first)
{
    struct core_apply_ctx ctx = {.ml = w.n[0].ml, .now = w.now};
    const struct ml_delta_sink sink = {.fn = core_apply, .ctx = &ctx};
    ml_map_parse_init(&parse);
    ml_map_parse_stream(&parse);
    parse.is_first = is_first;
    ml_map_parse_begin(&parse);
    if (!ml_map_parse_feed(&parse, (const uint8_t *)json, n, &sink)) {
        ml_map_parse_abort(&parse, &sink);
    } else {
        (void)ml_map_parse_end(&parse, &sink); /* aborts by itself when the message is not whole */
    }
}

#define KEY(c)                                                                                                                 \
    "nodekey:" c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c \
        c c c c c c c c

static const char first_message[] = "{\"Node\":{\"ID\":100,\"Key\":\"" KEY(
    "1") "\",\"Addresses\":[\"100.64.0.1/32\"],\"MachineAuthorized\":true},"
         "\"Peers\":[{\"ID\":500,\"Key\":\"" KEY("2") "\",\"Addresses\":[\"100.64.0.50/32\"],\"HomeDERP\":1}],"
                                                      "\"PacketFilters\":{\"base\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":"
                                                      "\"*\",\"Ports\":{\"First\":0,\"Last\":65535}}]}],"
                                                      "\"more\":[{\"SrcIPs\":[\"100.64.0.2\"],\"DstPorts\":[{\"IP\":\"*\","
                                                      "\"Ports\":{\"First\":22,\"Last\":22}}]}]}}";

static void C38_a_first_message_cut_at_any_byte_leaves_the_old_rules_and_peers_in_force(void **state)
{
    (void)state;
    struct ml_rule narrow = {.src_count = 1, .dst_count = 1, .srcs = {{.ip = w.n[1].ip4, .bits = 32}}};
    narrow.dsts[0] = (struct ml_rule_dst){.net = {.ip = w.n[0].ip4, .bits = 32}, .port_first = 8080, .port_last = 8080};
    struct ml_engine *ml = w.n[0].ml;
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_BEGIN});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_RULES_BEGIN, .text = "base"});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &narrow});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_RULES_END, .text = "base"});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_END});
    uint32_t old_rules = ml_filter_digest(&ml->filter);
    for (size_t cut = 0; cut < sizeof first_message - 1; cut++) {
        feed(first_message, cut, true);
        assert_int_equal(ml_filter_digest(&ml->filter), old_rules);
        assert_int_not_equal(ml_map_find_id(&ml->map, 101), ML_PEER_NONE);
        assert_true(ml_filter_check(&ml->filter) && ml_map_check(&ml->map));
    }
    /* A later message: its list of peers was whole, so it counts, but rules do not before the end. */
    for (size_t cut = 0; cut < sizeof first_message - 1; cut++) {
        feed(first_message, cut, false);
        assert_int_equal(ml_filter_digest(&ml->filter), old_rules);
        assert_true(ml_filter_check(&ml->filter) && ml_map_check(&ml->map));
    }
    feed(first_message, sizeof first_message - 1, true);
    assert_int_not_equal(ml_filter_digest(&ml->filter), old_rules);
    assert_int_equal(ml_map_find_id(&ml->map, 101), ML_PEER_NONE);
    assert_int_not_equal(ml_map_find_id(&ml->map, 500), ML_PEER_NONE);
}

static void C50_a_stream_that_says_nothing_of_rules_allows_nothing(void **state)
{
    (void)state;
    static const char silent[] =
        "{\"Node\":{\"ID\":100,\"Key\":\"" KEY("1") "\",\"Addresses\":[\"100.64.0.1/32\"],\"MachineAuthorized\":true}}";
    struct ml_filter_cursor c = {0};
    struct ml_rule rule;
    feed(silent, sizeof silent - 1, true);
    assert_false(ml_filter_get_rule(&w.n[0].ml->filter, &c, &rule));
}

/* ---- Addresses that stay at home ---- */

static void D66_nothing_for_the_service_addresses_enters_the_tunnel_whatever_control_routes(void **state)
{
    (void)state;
    static const char *const service[] = {"100.100.100.100", "fd7a:115c:a1e0::53"};
    struct ml_node peer;
    world_node_of(&w, 1, &peer);
    for (unsigned i = 0; i < 2; i++) {
        ml_prefix net = {.bits = i ? 128 : 32};
        assert_true(ml_ip_parse(service[i], strlen(service[i]), &net.ip));
        peer.addresses[peer.address_count++] = net;
        peer.allowed[peer.allowed_count++] = net;
    }
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_BEGIN});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &peer});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_END});
    w.n[0].ml->route_prefs.accept_routes = true;
    assert_int_equal(world_send(&w, 0, 1, "the tunnel works"), ML_OK);
    assert_true(world_got(&w, 1, "the tunnel works"));
    for (unsigned i = 0; i < 2; i++) {
        ml_addr src = {.ip = w.n[0].ip4, .port = 1000}, dst = {.port = 53};
        uint8_t pkt[128];
        ml_stats before, after;
        assert_true(ml_ip_parse(service[i], strlen(service[i]), &dst.ip));
        src.ip = i ? dst.ip : src.ip;
        src.ip.b[15] ^= i ? 1 : 0;
        size_t n = ml_udp_build(pkt, sizeof pkt, &src, &dst, (const uint8_t *)"query", 5, 1);
        assert_true(n > 0);
        ml_get_stats(w.n[0].ml, &before);
        unsigned sent = w.n[0].datagrams;
        assert_int_equal(ml_handle_overlay(w.n[0].ml, w.now, pkt, n), ML_OK);
        world_settle(&w);
        ml_get_stats(w.n[0].ml, &after);
        assert_int_equal(w.n[0].datagrams, sent);
        assert_int_equal(after.drop[ML_DROP_ROUTE_SERVICE_IP], before.drop[ML_DROP_ROUTE_SERVICE_IP] + 1);
        assert_int_equal(after.overlay_tx_packets, before.overlay_tx_packets);
    }
}

/* ---- Who may speak ---- */

static void tell_peer(unsigned of, unsigned in, void (*change)(struct ml_node *))
{
    struct ml_node peer;
    world_node_of(&w, of, &peer);
    change(&peer);
    world_delta(&w, in, &(struct ml_delta){.type = ML_DELTA_BEGIN});
    world_delta(&w, in, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &peer});
    world_delta(&w, in, &(struct ml_delta){.type = ML_DELTA_END});
}

static void jail(struct ml_node *n)
{
    n->is_jailed = true;
}

static void C55_D64_a_jailed_peer_opens_nothing_but_answers_us(void **state)
{
    (void)state;
    tell_peer(1, 0, jail);
    assert_int_equal(world_send(&w, 1, 0, "let me in"), ML_OK);
    world_run(&w, ML_SEC(1));
    assert_false(world_got(&w, 0, "let me in"));
    assert_int_equal(world_send(&w, 0, 1, "question"), ML_OK);
    world_run(&w, ML_SEC(1));
    assert_true(world_got(&w, 1, "question"));
    /* The reply of that flow, from port 2000 to port 1000. */
    uint8_t pkt[128];
    ml_addr src = {.ip = w.n[1].ip4, .port = 2000}, dst = {.ip = w.n[0].ip4, .port = 1000};
    size_t n = ml_udp_build(pkt, sizeof pkt, &src, &dst, (const uint8_t *)"answer", 6, 1);
    assert_int_equal(ml_handle_overlay(w.n[1].ml, w.now, pkt, n), ML_OK);
    world_run(&w, ML_SEC(1));
    assert_true(world_got(&w, 0, "answer"));
}

static void C55_with_shields_up_only_answers_come_in(void **state)
{
    (void)state;
    ml_filter_set_shields_up(&w.n[0].ml->filter, true);
    assert_int_equal(world_send(&w, 1, 0, "let me in"), ML_OK);
    world_run(&w, ML_SEC(1));
    assert_false(world_got(&w, 0, "let me in"));
    ml_stats st;
    ml_get_stats(w.n[0].ml, &st);
    assert_int_equal(st.drop[ML_DROP_FILTER_DENIED], 1);
    assert_int_equal(world_send(&w, 0, 1, "out"), ML_OK);
    assert_true(world_got(&w, 1, "out"));
}

static void make_unsigned(struct ml_node *n)
{
    n->is_unsigned_peerapi_only = true;
}

static void C55_an_unsigned_peer_that_a_rule_would_admit_voids_all_rules(void **state)
{
    (void)state;
    tell_peer(1, 0, make_unsigned);
    assert_int_equal(world_send(&w, 1, 0, "let me in"), ML_OK);
    world_run(&w, ML_SEC(1));
    assert_false(world_got(&w, 0, "let me in"));
    tell_peer(1, 0, (void (*)(struct ml_node *))jail); /* signed again, but jailed */
    assert_int_equal(w.n[0].ml->map.unsigned_count, 0);
}

static const ml_prefix masked = {.ip = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 100, 99, 0, 1}}, .bits = 32};

static void mask_us(struct ml_node *n)
{
    n->masq4 = masked.ip;
}

static void is_masked(struct ml_node *n)
{
    n->addresses[0] = n->allowed[0] = masked;
}

static bool udp_sum_is_right(const uint8_t *pkt, size_t len)
{
    uint32_t sum = 17 + (uint32_t)(len - 20);
    for (size_t i = 12; i < len; i += 2) {
        sum += (uint32_t)pkt[i] << 8 | (i + 1 < len ? pkt[i + 1] : 0);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum == 0xffff;
}

static void D65_a_peer_sees_our_masquerade_address_and_reaches_us_by_it(void **state)
{
    (void)state;
    tell_peer(1, 0, mask_us);
    tell_peer(0, 1, is_masked);
    assert_int_equal(world_send(&w, 0, 1, "masked"), ML_OK);
    world_run(&w, ML_SEC(6));
    assert_true(world_got(&w, 1, "masked"));
    const uint8_t *pkt = w.n[1].inbox[(w.n[1].inbox_count - 1) % 8];
    assert_memory_equal(pkt + 12, masked.ip.b + 12, 4);
    assert_true(udp_sum_is_right(pkt, w.n[1].inbox_len[(w.n[1].inbox_count - 1) % 8]));
    ml_ip real = w.n[0].ip4;
    w.n[0].ip4 = masked.ip;
    assert_int_equal(world_send(&w, 1, 0, "to the mask"), ML_OK);
    world_run(&w, ML_SEC(1));
    assert_true(world_got(&w, 0, "to the mask"));
    pkt = w.n[0].inbox[(w.n[0].inbox_count - 1) % 8];
    assert_memory_equal(pkt + 16, real.b + 12, 4);
    assert_true(udp_sum_is_right(pkt, w.n[0].inbox_len[(w.n[0].inbox_count - 1) % 8]));
}

/* ---- Own expiry ---- */

static void tell_self(int64_t expiry)
{
    struct ml_node self;
    world_node_of(&w, 0, &self);
    self.key_expiry = expiry;
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_BEGIN});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_SELF, .node = &self});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_END});
}

static void C67_own_traffic_stops_when_the_key_expires_and_goes_on_when_it_is_extended(void **state)
{
    (void)state;
    const uint64_t unix_s = 1800000000;
    ml_set_wall_clock(w.n[0].ml, w.now, unix_s * 1000);
    tell_self((int64_t)unix_s + 60);
    assert_int_equal(world_send(&w, 0, 1, "still"), ML_OK);
    world_run(&w, ML_SEC(62));
    assert_int_equal(world_send(&w, 0, 1, "late"), ML_ERR_STATE);
    assert_false(world_got(&w, 1, "late"));
    ml_self_info self;
    ml_get_self(w.n[0].ml, &self);
    assert_true(self.is_expired);
    /* Control's clock decides when ours is more than a minute off. */
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_TIME, .unix_ms = (int64_t)(unix_s + 30 * 86400) * 1000});
    tell_self((int64_t)unix_s + 86400);
    assert_int_equal(world_send(&w, 0, 1, "late"), ML_ERR_STATE);
    tell_self((int64_t)unix_s + 60 * 86400);
    assert_int_equal(world_send(&w, 0, 1, "again"), ML_OK);
    world_run(&w, ML_SEC(6));
    assert_true(world_got(&w, 1, "again"));
}

static void the_time_for_certificates_is_controls_unless_it_lives_in_the_past(void **state)
{
    (void)state;
    ml_engine *ml = w.n[0].ml;
    const int64_t now_ms = INT64_C(1795000000000), later_ms = INT64_C(1795400000000), past_ms = INT64_C(1596240000000);
    assert_int_equal(ml_get_unix_time(ml, w.now), 0); /* nobody has said */
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_TIME, .unix_ms = now_ms});
    assert_int_equal(ml_get_unix_time(ml, w.now), now_ms / 1000);
    /* A clock that is wrong by days is corrected. */
    ml_set_wall_clock(ml, w.now, (uint64_t)now_ms);
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_TIME, .unix_ms = later_ms});
    assert_int_equal(ml_get_unix_time(ml, w.now), later_ms / 1000);
    /* The official test server says it is 2020. */
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_TIME, .unix_ms = past_ms});
    assert_int_equal(ml_get_unix_time(ml, w.now), now_ms / 1000);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(C38_a_first_message_cut_at_any_byte_leaves_the_old_rules_and_peers_in_force),
        T(C50_a_stream_that_says_nothing_of_rules_allows_nothing),
        T(D66_nothing_for_the_service_addresses_enters_the_tunnel_whatever_control_routes),
        T(C55_D64_a_jailed_peer_opens_nothing_but_answers_us),
        T(C55_with_shields_up_only_answers_come_in),
        T(C55_an_unsigned_peer_that_a_rule_would_admit_voids_all_rules),
        T(D65_a_peer_sees_our_masquerade_address_and_reaches_us_by_it),
        T(the_time_for_certificates_is_controls_unless_it_lives_in_the_past),
        T(C67_own_traffic_stops_when_the_key_expires_and_goes_on_when_it_is_extended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
