/*
 * Two engines over a network with relays and routers: which way packets take, and how soon they take the best one.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/core_net.h"

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
        ml_time took = time_to_direct(pairs[i].a, pairs[i].b);
        print_message("%u-%u %u ms\n", pairs[i].a, pairs[i].b, (unsigned)(took / 1000));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D33_both_sides_are_direct_before_the_second_ping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
