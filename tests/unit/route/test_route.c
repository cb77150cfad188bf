/*
 * Overlay routes and the source check, on a table built by hand as model/peer.h lays it out. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "route/route.h"
#include <cmocka.h>

static struct ml_peer peers[4];
static struct ml_peer_extra extras[8];
static uint16_t index_cells[16];
static struct ml_peer_table t;
static struct ml_route_prefs prefs;
static const uint8_t net6[8] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0};

static void add_cell(const ml_ip *ip, uint16_t cell)
{
    uint32_t at = ml_peer_hash(ip->b, 16) & t.ip_mask;
    while (index_cells[at] != ML_PEER_NONE) {
        at = (at + 1) & t.ip_mask;
    }
    index_cells[at] = cell;
}

static ml_ip six(uint8_t last)
{
    ml_ip ip = {{0}};
    memcpy(ip.b, net6, sizeof net6);
    ip.b[15] = last;
    return ip;
}

static void add_extra(ml_ip ip, uint8_t bits, enum ml_peer_extra_kind kind, uint16_t slot)
{
    extras[t.extra_count++] = (struct ml_peer_extra){.ip = ip, .bits = bits, .kind = (uint8_t)kind, .slot = slot};
    peers[slot].flags |= ML_PEER_HAS_EXTRA;
}

static int setup(void **state)
{
    (void)state;
    memset(peers, 0, sizeof peers);
    memset(index_cells, 0xff, sizeof index_cells);
    prefs = (struct ml_route_prefs){0};
    t = (struct ml_peer_table){.peers = peers, .extras = extras, .ip_index = index_cells, .ip_mask = 15, .slot_count = 4};
    for (uint16_t i = 0; i < 4; i++) {
        ml_ip ip4 = ml_ip4(100, 64, 0, (uint8_t)(i + 1));
        ml_ip ip6 = six((uint8_t)(i + 1));
        peers[i].id = i + 1u;
        peers[i].home_region = 1;
        peers[i].flags = ML_PEER_ROUTES_IP4 | ML_PEER_ROUTES_IP6;
        memcpy(peers[i].ip4, ip4.b + 12, 4);
        memcpy(peers[i].ip6, ip6.b, 16);
        add_cell(&ip4, i);
        add_cell(&ip6, (uint16_t)(i | ML_PEER_CELL_IP6));
    }
    /* Longest first, as map/ keeps them. */
    add_extra(ml_ip4(100, 64, 7, 7), 32, ML_EXTRA_ADDRESS, 0);
    add_extra(ml_ip4(10, 1, 0, 0), 16, ML_EXTRA_SUBNET, 1);
    add_extra(ml_ip4(10, 0, 0, 0), 8, ML_EXTRA_SUBNET, 0);
    add_extra(ml_ip4(0, 0, 0, 0), 0, ML_EXTRA_DEFAULT, 2);
    add_extra(ml_ip4(0, 0, 0, 0), 0, ML_EXTRA_DEFAULT, 3);
    return 0;
}

static uint16_t to(ml_ip ip)
{
    uint16_t slot = 99;
    ml_drop d = ml_route_lookup(&t, &prefs, &ip, &slot);
    assert_true((d == ML_DROP_NONE) == (slot != ML_PEER_NONE));
    return slot;
}

static bool ok(uint16_t slot, ml_ip ip)
{
    return ml_route_is_source_ok(&t, &prefs, slot, &ip);
}

static void hosts_of_the_tailnet_are_routed_by_either_address(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 4; i++) {
        assert_int_equal(to(ml_ip4(100, 64, 0, (uint8_t)(i + 1))), i);
        assert_int_equal(to(six((uint8_t)(i + 1))), i);
    }
    assert_int_equal(to(ml_ip4(100, 64, 7, 7)), 0);
    assert_int_equal(to(ml_ip4(100, 64, 0, 5)), ML_PEER_NONE);
    assert_int_equal(to(six(5)), ML_PEER_NONE);
    assert_int_equal(to((ml_ip){{0}}), ML_PEER_NONE);
}

static void subnets_are_routed_by_the_longest_prefix_once_accepted(void **state)
{
    (void)state;
    assert_int_equal(to(ml_ip4(10, 1, 2, 3)), ML_PEER_NONE);
    prefs.accept_routes = true;
    assert_int_equal(to(ml_ip4(10, 1, 2, 3)), 1);
    assert_int_equal(to(ml_ip4(10, 2, 2, 3)), 0);
    peers[1].flags |= ML_PEER_IS_EXPIRED;
    assert_int_equal(to(ml_ip4(10, 1, 2, 3)), 0);
}

static void C68_a_default_route_is_used_only_of_the_selected_exit_node(void **state)
{
    (void)state;
    prefs.accept_routes = true;
    assert_int_equal(to(ml_ip4(8, 8, 8, 8)), ML_PEER_NONE);
    prefs.exit_node_id = 4;
    assert_int_equal(to(ml_ip4(8, 8, 8, 8)), 3);
    assert_int_equal(to(ml_ip4(10, 1, 2, 3)), 1);
    prefs.exit_node_id = 1; /* offers none */
    assert_int_equal(to(ml_ip4(8, 8, 8, 8)), ML_PEER_NONE);
}

static void D63_sources_outside_the_accepted_prefixes_are_refused(void **state)
{
    (void)state;
    assert_true(ok(0, ml_ip4(100, 64, 0, 1)) && ok(0, six(1)));
    assert_false(ok(0, ml_ip4(100, 64, 0, 2)));
    assert_false(ok(0, ml_ip4(192, 168, 0, 1)));
    assert_false(ok(0, ml_ip4(10, 2, 0, 1))); /* routes are not accepted */
    assert_false(ok(3, ml_ip4(8, 8, 8, 8)));  /* not the exit node */
    prefs = (struct ml_route_prefs){.accept_routes = true, .exit_node_id = 4};
    assert_true(ok(0, ml_ip4(10, 2, 0, 1)));
    assert_false(ok(1, ml_ip4(10, 2, 0, 1)));
    assert_true(ok(3, ml_ip4(8, 8, 8, 8)));
    assert_false(ok(2, ml_ip4(8, 8, 8, 8)));
    assert_false(ok(3, ml_ip4(100, 64, 0, 1))); /* an exit node cannot speak for another peer */
    assert_false(ok(ML_PEER_NONE, ml_ip4(100, 64, 0, 9)));
}

static void service_addresses_never_have_a_route(void **state)
{
    (void)state;
    uint16_t slot = 0;
    ml_ip four = ml_ip4(100, 100, 100, 100);
    ml_ip service6 = six(0x53);
    prefs = (struct ml_route_prefs){.accept_routes = true, .exit_node_id = 4};
    assert_int_equal(ml_route_lookup(&t, &prefs, &four, &slot), ML_DROP_ROUTE_SERVICE_IP);
    assert_int_equal(slot, ML_PEER_NONE);
    assert_int_equal(ml_route_lookup(&t, &prefs, &service6, &slot), ML_DROP_ROUTE_SERVICE_IP);
    assert_false(ok(3, four));
}

static void expired_and_unreachable_peers_have_no_routes(void **state)
{
    (void)state;
    uint16_t slot = 0;
    ml_ip ip = ml_ip4(100, 64, 0, 2);
    peers[1].flags |= ML_PEER_IS_EXPIRED;
    assert_int_equal(ml_route_lookup(&t, &prefs, &ip, &slot), ML_DROP_ROUTE_PEER_EXPIRED);
    assert_false(ok(1, ip));
    peers[1].flags &= (uint16_t)~ML_PEER_IS_EXPIRED;
    peers[1].home_region = 0; /* and no disco key */
    assert_int_equal(ml_route_lookup(&t, &prefs, &ip, &slot), ML_DROP_ROUTE_NO_PEER);
    peers[1].flags |= ML_PEER_IS_WIREGUARD_ONLY;
    assert_int_equal(ml_route_lookup(&t, &prefs, &ip, &slot), ML_DROP_NONE);
}

static void an_address_that_is_not_allowed_is_not_routed(void **state)
{
    (void)state;
    peers[1].flags &= (uint16_t)~ML_PEER_ROUTES_IP4;
    assert_int_equal(to(ml_ip4(100, 64, 0, 2)), ML_PEER_NONE);
    assert_int_equal(to(six(2)), 1);
}

static void the_masquerade_address_is_found_by_family(void **state)
{
    (void)state;
    ml_ip out;
    ml_ip masq = ml_ip4(172, 16, 0, 1);
    ml_ip ip6 = six(1);
    add_extra(masq, 32, ML_EXTRA_MASQ, 1);
    assert_true(ml_route_masquerade(&t, 1, &masq, &out));
    assert_true(ml_ip_equal(&out, &masq));
    assert_false(ml_route_masquerade(&t, 1, &ip6, &out));
    assert_false(ml_route_masquerade(&t, 2, &masq, &out));
    assert_int_equal(to(masq), ML_PEER_NONE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        T(hosts_of_the_tailnet_are_routed_by_either_address),
        T(subnets_are_routed_by_the_longest_prefix_once_accepted),
        T(C68_a_default_route_is_used_only_of_the_selected_exit_node),
        T(D63_sources_outside_the_accepted_prefixes_are_refused),
        T(service_addresses_never_have_a_route),
        T(expired_and_unreachable_peers_have_no_routes),
        T(an_address_that_is_not_allowed_is_not_routed),
        T(the_masquerade_address_is_found_by_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
