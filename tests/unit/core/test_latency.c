/*
 * Relays measured over HTTPS by a whole engine whose UDP is blocked. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/core_net.h"

static unsigned checks_of(const struct net *n)
{
    unsigned sum = 0;
    for (unsigned r = 1; r <= NET_REGIONS; r++) {
        sum += n->latency_checks[r];
    }
    return sum;
}

static void D43_a_node_without_udp_gets_the_nearest_relay_by_https(void **state)
{
    (void)state;
    struct net *n = net_start(NET_OPEN, NET_OPEN, 3);
    n->host[0].is_blocked = n->host[1].is_blocked = true;
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        ml_netcheck_set_map_poll(&n->w.n[i].ml->netcheck, true);
        net_regions(n, i);
        world_netmap(&n->w, i);
    }
    net_run(n, ML_SEC(12));
    assert_int_equal(checks_of(n), 6); /* three regions each, once each */
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        ml_netcheck_info info;
        ml_get_netcheck(n->w.n[i].ml, &info);
        assert_int_equal(info.home_region, 1);
        assert_false(info.udp);
        ml_region_info region;
        assert_int_equal(ml_get_region(n->w.n[i].ml, 0, &region), ML_OK);
        assert_int_equal(region.latency, 2 * n->relay_delay[1]); /* the request alone, not DNS, TCP and TLS */
        assert_true(region.is_home && region.is_connected);
        /* The measuring connections are gone, the home stays. */
        unsigned open = 0;
        for (size_t k = 0; k < sizeof n->streams / sizeof n->streams[0]; k++) {
            open += n->streams[k].is_used && n->streams[k].node == i;
        }
        assert_int_equal(open, 1);
    }
    net_exchange(n);
    assert_int_equal(net_send(n, 0, 1, "relayed"), ML_OK);
    net_run(n, ML_SEC(1));
    assert_true(world_got(&n->w, 1, "relayed"));
    net_end(n);
}

static void D43_with_nothing_reachable_the_home_stays(void **state)
{
    (void)state;
    struct net *n = net_start(NET_OPEN, NET_OPEN, 3);
    net_join(n);
    for (unsigned r = 1; r <= NET_REGIONS; r++) {
        n->is_relay_down[r] = true;
    }
    n->host[0].is_blocked = true;
    uint16_t home = n->w.n[0].ml->derp.home;
    assert_int_equal(ml_netcheck(n->w.n[0].ml, n->w.now), ML_OK);
    net_run(n, ML_SEC(12));
    assert_int_equal(n->w.n[0].ml->derp.home, home);
    assert_int_equal(n->w.n[0].ml->netcheck.report.home_region, home);
    net_end(n);
}

static void while_udp_answers_nobody_is_asked_over_https(void **state)
{
    (void)state;
    struct net *n = net_start(NET_EASY, NET_OPEN, 3);
    net_join(n);
    assert_int_equal(ml_netcheck(n->w.n[0].ml, n->w.now), ML_OK);
    net_run(n, ML_SEC(12));
    assert_int_equal(checks_of(n), 0);
    net_end(n);
}

static void stopping_gives_up_the_exchange(void **state)
{
    (void)state;
    struct net *n = net_start(NET_OPEN, NET_OPEN, 1);
    n->host[0].is_blocked = true;
    net_join(n);
    n->relay_delay[1] = ML_SEC(1);
    assert_int_equal(ml_netcheck(n->w.n[0].ml, n->w.now), ML_OK);
    net_run(n, ML_MSEC(3500));
    struct core_latency *l = &n->w.n[0].ml->latency;
    assert_true(l->is_asked && !l->is_done);
    assert_int_equal(ml_stop(n->w.n[0].ml, n->w.now), ML_OK);
    net_settle(n);
    assert_false(l->is_asked);
    net_end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D43_a_node_without_udp_gets_the_nearest_relay_by_https),
        cmocka_unit_test(D43_with_nothing_reachable_the_home_stays),
        cmocka_unit_test(while_udp_answers_nobody_is_asked_over_https),
        cmocka_unit_test(stopping_gives_up_the_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
