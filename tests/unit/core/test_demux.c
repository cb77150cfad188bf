/*
 * Two engines over a network with relays and routers: which way packets take, and how soon they take the best one.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/core_net.h"
#include "ip/tsmp.h"

/* ---- Time to a direct path ---- */

/* The time from the first packet of node 0 until both sides send directly, at one packet a second each way. */
static ml_time time_to_direct(enum net_kind a, enum net_kind b)
{
    struct net *n = net_start(a, b, 3);
    net_join(n);
    ml_time start = n->w.now, took = ML_NEVER;
    for (int tick = 0; tick < 2000 && took == ML_NEVER; tick++) {
        if (tick % 100 == 0) {
            assert_int_equal(net_send(n, 0, 1, "ping"), ML_OK);
        }
        if (tick % 100 == 20) { /* what the other side's host answers */
            assert_int_equal(net_send(n, 1, 0, "pong"), ML_OK);
        }
        net_run(n, ML_MSEC(10));
        if (net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0)) {
            took = n->w.now - start;
        }
    }
    net_end(n);
    return took;
}

static void D33_both_sides_are_direct_before_the_second_ping(void **state)
{
    (void)state;
    static const struct {
        enum net_kind a, b;
    } pairs[] = {{NET_OPEN, NET_OPEN},     {NET_OPEN, NET_FIREWALL}, {NET_FIREWALL, NET_OPEN}, {NET_FIREWALL, NET_FIREWALL},
                 {NET_OPEN, NET_EASY},     {NET_EASY, NET_OPEN},     {NET_EASY, NET_EASY},     {NET_FIREWALL, NET_EASY},
                 {NET_EASY, NET_FIREWALL}, {NET_OPEN, NET_HARD},     {NET_HARD, NET_OPEN}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        assert_true(time_to_direct(pairs[i].a, pairs[i].b) <= ML_MSEC(200));
    }
}

static void a_stale_address_is_replaced_within_the_time_of_one_stun_answer(void **state)
{
    (void)state;
    struct net *n = net_start(NET_EASY, NET_EASY, 3);
    net_join(n);
    /* While they idled, both routers restarted and give out other addresses; region 3 does not answer any more. */
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        n->host[i].pub = ml_ip4(198, 51, 100, (uint8_t)(101 + i));
        n->host[i].hole_count = 0;
    }
    n->is_relay_down[3] = true;
    ml_time start = n->w.now;
    assert_int_equal(net_send(n, 0, 1, "ping"), ML_OK);
    while (!(net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0)) && n->w.now - start < ML_SEC(3)) {
        net_run(n, ML_MSEC(10));
    }
    assert_true(n->w.now - start <= ML_MSEC(300));
    net_end(n);
}

static void an_hour_of_idling_later_the_first_packet_is_answered_at_once(void **state)
{
    (void)state;
    struct net *n = net_start(NET_EASY, NET_FIREWALL, 2);
    net_join(n);
    assert_int_equal(net_send(n, 0, 1, "first"), ML_OK);
    net_run(n, ML_SEC(3600));
    n->w.n[1].inbox_count = n->w.n[0].inbox_count = 0;
    assert_int_equal(net_send(n, 0, 1, "after an hour"), ML_OK);
    net_run(n, ML_MSEC(150)); /* a handshake and the packet, over the relay: three times 40 ms */
    assert_true(world_got(&n->w, 1, "after an hour"));
    assert_int_equal(net_send(n, 1, 0, "answer"), ML_OK);
    net_run(n, ML_MSEC(50));
    assert_true(world_got(&n->w, 0, "answer"));
    net_end(n);
}

static void a_handshake_that_found_no_way_goes_out_as_soon_as_there_is_one(void **state)
{
    (void)state;
    struct net *n = net_start(NET_OPEN, NET_OPEN, 0); /* no relay at all */
    net_join(n);
    assert_int_equal(net_send(n, 0, 1, "hello"), ML_OK);
    net_run(n, ML_MSEC(100)); /* ping and pong, initiation and response, data: 50 ms */
    assert_true(world_got(&n->w, 1, "hello"));
    net_end(n);
}

/* ---- Where packets go ---- */

/* Both sides direct, packets flowing. */
static struct net *start_direct(enum net_kind a, enum net_kind b, uint8_t regions)
{
    struct net *n = net_start(a, b, regions);
    net_join(n);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(net_send(n, 0, 1, "a"), ML_OK);
        assert_int_equal(net_send(n, 1, 0, "b"), ML_OK);
        net_run(n, ML_MSEC(250));
    }
    assert_true(net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0));
    n->w.n[0].inbox_count = n->w.n[1].inbox_count = 0;
    return n;
}

/* Node 0 has no session with node 1 any more, node 1 does not know. */
static void lose_session(struct net *n)
{
    ml_engine *ml = n->w.n[0].ml;
    net_run(n, ML_SEC(6)); /* no initiation within 5 s of the last */
    assert_true(net_is_direct(n, 0, 1));
    ml_wg_peer_expire(&ml->wg, core_slot_of(ml, ml_map_find_key(&ml->map, &n->w.n[1].ml->node_pub)));
}

static void a_handshake_message_goes_one_way_at_a_time(void **state)
{
    (void)state;
    /* An official node that gets both copies at once may make two sessions of them (handshake_out.c). */
    struct net *n = start_direct(NET_OPEN, NET_OPEN, 2);
    lose_session(n);
    uint64_t before = n->w.n[0].ml->stats.derp_tx_packets;
    assert_int_equal(net_send(n, 0, 1, "again"), ML_OK);
    net_run(n, ML_SEC(2));
    assert_true(world_got(&n->w, 1, "again"));
    assert_int_equal(n->w.n[0].ml->stats.derp_tx_packets, before);
    assert_int_equal(n->w.n[1].ml->stats.drop[ML_DROP_WG_OLD_TIMESTAMP], 0);
    assert_true(ml_poll_deadline(n->w.n[0].ml) > n->w.now);
    net_end(n);
}

static void a_handshake_message_lost_on_the_direct_path_goes_by_relay_soon(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_OPEN, 2);
    lose_session(n);
    uint64_t before = n->w.n[1].ml->wg.counters.responses_sent;
    n->host[0].is_blocked = true;
    assert_int_equal(net_send(n, 0, 1, "again"), ML_OK);
    net_run(n, ML_MSEC(240));
    assert_int_equal(n->w.n[1].ml->wg.counters.responses_sent, before);
    net_run(n, ML_MSEC(60)); /* 250 ms, and 40 over the relay */
    assert_int_equal(n->w.n[1].ml->wg.counters.responses_sent, before + 1);
    net_end(n);
}

static void D14_the_source_of_wireguard_packets_never_redirects_sending(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_OPEN, 1);
    ml_addr real = n->w.n[0].addr;
    n->wg_source[0] = (ml_addr){.ip = ml_ip4(198, 51, 100, 66), .port = 666};
    for (int i = 0; i < 5; i++) {
        n->w.n[1].inbox_count = 0;
        assert_int_equal(net_send(n, 0, 1, "from elsewhere"), ML_OK);
        net_run(n, ML_SEC(1));
        assert_true(world_got(&n->w, 1, "from elsewhere")); /* authentic, so it counts */
        assert_int_equal(net_send(n, 1, 0, "reply"), ML_OK);
        assert_true(ml_addr_equal(&n->wg_to[1], &real));
    }
    ml_addr direct = net_direct(n, 1, 0);
    assert_true(ml_addr_equal(&direct, &real));
    net_end(n);
}

static void D35_an_address_the_system_cannot_send_to_is_left_at_once(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_OPEN, 1);
    ml_addr peer = n->w.n[1].addr;
    n->host[0].is_blocked = true;
    ml_handle_send_failed(n->w.n[0].ml, n->w.now, &peer);
    assert_false(net_is_direct(n, 0, 1));
    assert_int_equal(net_send(n, 0, 1, "another way"), ML_OK);
    net_run(n, ML_MSEC(100));
    assert_true(world_got(&n->w, 1, "another way"));
    /* Other addresses change nothing; and back it comes once it answers. */
    n->host[0].is_blocked = false;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(net_send(n, 0, 1, "x"), ML_OK);
        net_run(n, ML_SEC(1));
    }
    assert_true(net_is_direct(n, 0, 1));
    ml_addr other = {.ip = ml_ip4(203, 0, 113, 99), .port = 1};
    ml_handle_send_failed(n->w.n[0].ml, n->w.now, &other);
    assert_true(net_is_direct(n, 0, 1));
    net_end(n);
}

static void D40_stun_leaves_from_the_wireguard_socket_and_peers_reach_what_it_maps(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_EASY, 2);
    ml_self_info self;
    ml_get_self(n->w.n[1].ml, &self);
    bool is_published = false;
    for (uint8_t i = 0; i < self.endpoint_count; i++) {
        is_published = is_published || ml_addr_equal(&self.endpoints[i], &n->stun_saw[1]);
    }
    assert_true(is_published);
    ml_addr direct = net_direct(n, 0, 1);
    assert_true(ml_addr_equal(&direct, &n->stun_saw[1])); /* one router port for both, so one socket */
    assert_int_equal(net_send(n, 0, 1, "through the mapping"), ML_OK);
    assert_true(ml_addr_equal(&n->wg_to[0], &n->stun_saw[1]));
    net_run(n, ML_MSEC(50));
    assert_true(world_got(&n->w, 1, "through the mapping"));
    net_end(n);
}

/* ---- Families ---- */

static void D75_overlay_ipv6_works_over_an_ipv4_underlay(void **state)
{
    (void)state;
    struct net *n = net_start(NET_EASY, NET_OPEN, 1);
    net_join(n);
    for (int i = 0; i < 3; i++) { /* relayed at first, then direct */
        n->w.n[0].inbox_count = n->w.n[1].inbox_count = 0;
        assert_int_equal(net_send_ip(n, 0, 1, "six over four", true), ML_OK);
        net_run(n, ML_MSEC(300));
        assert_true(world_got(&n->w, 1, "six over four"));
        assert_int_equal(net_send_ip(n, 1, 0, "back", true), ML_OK);
        net_run(n, ML_MSEC(300));
        assert_true(world_got(&n->w, 0, "back"));
    }
    ml_addr direct = net_direct(n, 0, 1);
    assert_true(ml_ip_is4(&direct.ip));
    net_end(n);
}

static void D75_overlay_ipv4_works_over_an_ipv6_underlay(void **state)
{
    (void)state;
    struct net *n = net_start(NET_OPEN, NET_OPEN, 0);
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        n->w.n[i].addr = (ml_addr){.ip = net_ip6(0x20010db8, (uint8_t)(1 + i)), .port = 41641};
        ml_set_local_addrs(n->w.n[i].ml, n->w.now, &n->w.n[i].addr, 1);
    }
    net_join(n);
    assert_int_equal(net_send(n, 0, 1, "four over six"), ML_OK);
    net_run(n, ML_MSEC(300));
    assert_true(world_got(&n->w, 1, "four over six"));
    assert_int_equal(net_send(n, 1, 0, "back"), ML_OK);
    net_run(n, ML_MSEC(300));
    assert_true(world_got(&n->w, 0, "back"));
    ml_addr direct = net_direct(n, 0, 1);
    assert_true(ml_ip_is6(&direct.ip));
    net_end(n);
}

/* ---- Disco keys inside the tunnel ---- */

static void set_disco_of(struct net *n, unsigned of, unsigned in, uint8_t fill)
{
    struct ml_node node;
    net_node_of(n, of, &node);
    memset(node.disco.b, fill, sizeof node.disco.b);
    world_delta(&n->w, in, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
}

static ml_disco_key disco_of(struct net *n, unsigned of, unsigned in)
{
    ml_peer_info info;
    memset(&info, 0, sizeof info);
    assert_int_equal(ml_get_peer_by_ip(n->w.n[in].ml, n->w.now, &n->w.n[of].ip4, &info), ML_OK);
    return info.disco_key;
}

static void D25_D59_the_advertisement_updates_the_disco_key_and_reaches_no_host(void **state)
{
    (void)state;
    struct net *n = net_start(NET_OPEN, NET_OPEN, 1);
    net_join(n);
    const ml_disco_key *real = ml_path_disco_key(&n->w.n[0].ml->path);
    set_disco_of(n, 0, 1, 0x77); /* node 1's netmap holds a stale key of node 0 */
    assert_int_equal(net_send(n, 0, 1, "user data"), ML_OK);
    net_run(n, ML_SEC(1));
    ml_disco_key known = disco_of(n, 0, 1);
    assert_memory_equal(known.b, real->b, sizeof known.b);
    assert_int_equal(n->w.n[1].inbox_count, 1); /* the user's packet, and nothing before it */
    assert_true(world_got(&n->w, 1, "user data"));
    for (int i = 0; i < 6; i++) {
        assert_int_equal(net_send(n, 0, 1, "a"), ML_OK);
        assert_int_equal(net_send(n, 1, 0, "b"), ML_OK);
        net_run(n, ML_SEC(1));
    }
    assert_true(net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0));
    net_end(n);
}

static void a_lost_advertisement_is_repeated_with_the_second_call_that_nobody_answers(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_OPEN, 1);
    const ml_disco_key *real = ml_path_disco_key(&n->w.n[0].ml->path);
    set_disco_of(n, 0, 1, 0x77); /* as if the one on the present session had been lost */
    for (int i = 0; i < 25; i++) {
        assert_int_equal(net_send(n, 0, 1, "a"), ML_OK);
        assert_int_equal(net_send(n, 1, 0, "b"), ML_OK);
        net_run(n, ML_SEC(1));
    }
    ml_disco_key known = disco_of(n, 0, 1);
    assert_memory_equal(known.b, real->b, sizeof known.b);
    assert_true(net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0));
    net_end(n);
}

static void D59_an_advertised_zero_key_is_ignored(void **state)
{
    (void)state;
    static const ml_disco_key zero;
    uint8_t msg[ML_TSMP_MAX];
    struct net *n = start_direct(NET_OPEN, NET_OPEN, 1);
    ml_disco_key before = disco_of(n, 0, 1);
    size_t len = ml_tsmp_build_advertisement(msg, sizeof msg, &n->w.n[0].ip4, &n->w.n[1].ip4, &zero);
    assert_int_equal(len, 53);
    core_send_inner(n->w.n[0].ml, n->w.now, core_slot_of(n->w.n[0].ml, 0), msg, len);
    net_run(n, ML_SEC(1));
    ml_disco_key after = disco_of(n, 0, 1);
    assert_memory_equal(after.b, before.b, sizeof after.b);
    assert_int_equal(n->w.n[1].inbox_count, 0);
    net_end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D33_both_sides_are_direct_before_the_second_ping),
        cmocka_unit_test(a_stale_address_is_replaced_within_the_time_of_one_stun_answer),
        cmocka_unit_test(an_hour_of_idling_later_the_first_packet_is_answered_at_once),
        cmocka_unit_test(a_handshake_that_found_no_way_goes_out_as_soon_as_there_is_one),
        cmocka_unit_test(D14_the_source_of_wireguard_packets_never_redirects_sending),
        cmocka_unit_test(D35_an_address_the_system_cannot_send_to_is_left_at_once),
        cmocka_unit_test(D40_stun_leaves_from_the_wireguard_socket_and_peers_reach_what_it_maps),
        cmocka_unit_test(D75_overlay_ipv6_works_over_an_ipv4_underlay),
        cmocka_unit_test(D75_overlay_ipv4_works_over_an_ipv6_underlay),
        cmocka_unit_test(D25_D59_the_advertisement_updates_the_disco_key_and_reaches_no_host),
        cmocka_unit_test(a_lost_advertisement_is_repeated_with_the_second_call_that_nobody_answers),
        cmocka_unit_test(D59_an_advertised_zero_key_is_ignored),
        cmocka_unit_test(a_handshake_message_goes_one_way_at_a_time),
        cmocka_unit_test(a_handshake_message_lost_on_the_direct_path_goes_by_relay_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
