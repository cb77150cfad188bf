/*
 * Whole engines and what happens around them in time: changes of the underlay, sleep, and doing nothing at all.
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

/* Both sides direct, packets flowing. */
static struct net *start_direct(enum net_kind a, enum net_kind b)
{
    struct net *n = net_start(a, b, 2);
    net_join(n);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(net_send(n, 0, 1, "a"), ML_OK);
        assert_int_equal(net_send(n, 1, 0, "b"), ML_OK);
        net_run(n, ML_MSEC(250));
    }
    assert_true(net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0));
    return n;
}

/* Sends ten packets a second from 1 to 0 for `span`; returns the longest time without one. */
static ml_time longest_silence(struct net *n, ml_time span)
{
    ml_time end = n->w.now + span, heard_at = n->w.now, longest = 0;
    unsigned had = n->w.n[0].inbox_count;
    for (unsigned tick = 0; n->w.now < end; tick++) {
        if (tick % 10 == 0) {
            (void)net_send(n, 1, 0, "tick");
            (void)net_send(n, 0, 1, "tock");
        }
        net_run(n, ML_MSEC(10));
        if (n->w.n[0].inbox_count != had) {
            had = n->w.n[0].inbox_count;
            heard_at = n->w.now;
        }
        ml_time silent = n->w.now - heard_at;
        longest = silent > longest ? silent : longest;
    }
    return longest;
}

static unsigned streams_of(const struct net *n, unsigned node)
{
    unsigned open = 0;
    for (size_t k = 0; k < sizeof n->streams / sizeof n->streams[0]; k++) {
        open += n->streams[k].is_used && n->streams[k].node == node;
    }
    return open;
}

static void D36_a_new_local_address_clears_the_paths_asks_stun_again_and_finds_new_ones(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_OPEN);
    unsigned stun = n->host[0].stun_requests, dials = n->dials[1];
    n->w.n[0].addr.ip = ml_ip4(203, 0, 113, 77);
    ml_set_local_addrs(n->w.n[0].ml, n->w.now, &n->w.n[0].addr, 1);
    ml_rebind(n->w.n[0].ml, n->w.now);
    assert_false(net_is_direct(n, 0, 1));
    net_settle(n);
    assert_true(n->host[0].stun_requests > stun); /* at once */
    assert_int_equal(n->dials[1], dials + 1);     /* the old address is gone, and its connections with it */
    assert_true(longest_silence(n, ML_SEC(5)) < ML_SEC(1));
    ml_addr direct = net_direct(n, 1, 0);
    assert_true(ml_addr_equal(&direct, &n->w.n[0].addr)); /* same port */
    assert_true(net_is_direct(n, 0, 1));
    ml_self_info self;
    ml_get_self(n->w.n[0].ml, &self);
    for (uint8_t i = 0; i < self.endpoint_count; i++) {
        assert_true(ml_ip_equal(&self.endpoints[i].ip, &n->w.n[0].addr.ip));
    }
    net_end(n);
}

static void a_further_address_costs_no_connection(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_OPEN);
    unsigned dials = n->dials[1] + n->dials[2];
    ml_addr both[2] = {n->w.n[0].addr, {.ip = ml_ip4(203, 0, 113, 78), .port = 41641}};
    ml_set_local_addrs(n->w.n[0].ml, n->w.now, both, 2);
    ml_rebind(n->w.n[0].ml, n->w.now);
    assert_true(longest_silence(n, ML_SEC(5)) < ML_MSEC(500));
    assert_int_equal(n->dials[1] + n->dials[2], dials);
    assert_true(net_is_direct(n, 0, 1));
    net_end(n);
}

static void a_resume_from_sleep_is_noticed_and_everything_is_looked_at_again(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_EASY, NET_OPEN);
    unsigned stun = n->host[0].stun_requests;
    n->w.now += ML_SEC(600);
    n->host[0].pub = ml_ip4(198, 51, 100, 200); /* it woke up elsewhere */
    n->host[0].hole_count = 0;
    ml_handle_time(n->w.n[0].ml, n->w.now);
    net_settle(n);
    assert_true(n->host[0].stun_requests > stun);
    assert_false(net_is_direct(n, 0, 1));
    assert_true(longest_silence(n, ML_SEC(10)) < ML_SEC(2));
    assert_true(net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0));
    net_end(n);
}

static void a_router_that_forgot_a_mapping_is_not_trusted_with_the_relays_connection_either(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_EASY, NET_OPEN);
    unsigned dials = n->dials[1];
    net_run(n, ML_SEC(10));
    for (size_t k = 0; k < sizeof n->streams / sizeof n->streams[0]; k++) {
        struct net_stream *s = &n->streams[k];
        if (s->is_used && s->node == 0) {
            s->local.port ^= 1; /* what the node writes goes nowhere, and nobody tells it */
        }
    }
    n->host[0].pub = ml_ip4(198, 51, 100, 200);
    n->host[0].hole_count = 0;
    assert_true(longest_silence(n, ML_SEC(10)) < ML_SEC(2));
    assert_int_equal(n->dials[1], dials + 1);
    assert_int_equal(streams_of(n, 0), 1);
    net_end(n);
}

static void being_called_in_time_is_no_sleep_however_long_the_wait(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_OPEN);
    net_run(n, ML_SEC(300));
    unsigned stun = n->host[0].stun_requests;
    net_run(n, ML_SEC(600));
    assert_int_equal(n->host[0].stun_requests, stun);
    net_end(n);
}

static void D35_packets_flow_again_when_udp_is_blocked_and_return_to_it(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_OPEN, NET_OPEN);
    n->host[0].is_blocked = true;
    assert_true(longest_silence(n, ML_SEC(20)) < ML_SEC(2));
    assert_false(net_is_direct(n, 0, 1));
    n->host[0].is_blocked = false;
    ml_time back_at = n->w.now;
    while (!net_is_direct(n, 0, 1) && n->w.now - back_at < ML_SEC(10)) {
        assert_true(longest_silence(n, ML_MSEC(100)) < ML_MSEC(500));
    }
    assert_true(net_is_direct(n, 0, 1));
    net_end(n);
}

static void D35_lost_nat_mappings_cost_less_than_two_seconds(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_EASY, NET_EASY);
    n->host[0].pub = ml_ip4(198, 51, 100, 150);
    n->host[0].hole_count = n->host[1].hole_count = 0;
    assert_true(longest_silence(n, ML_SEC(20)) < ML_SEC(2));
    assert_true(net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0));
    net_end(n);
}

static void a_relay_that_restarts_costs_less_than_two_seconds(void **state)
{
    (void)state;
    struct net *n = net_start(NET_OPEN, NET_OPEN, 2);
    net_join(n);
    n->host[0].is_blocked = n->host[1].is_blocked = true;
    assert_int_equal(net_send(n, 0, 1, "a"), ML_OK);
    net_run(n, ML_SEC(1));
    n->is_relay_down[1] = true;
    for (size_t k = 0; k < sizeof n->streams / sizeof n->streams[0]; k++) {
        struct net_stream *s = &n->streams[k];
        if (s->is_used && s->region == 1) {
            s->is_used = false;
            ml_handle_stream_closed(n->w.n[s->node].ml, n->w.now, s->id, ML_CLOSE_RESET, NULL);
        }
    }
    ml_time down = longest_silence(n, ML_SEC(1));
    n->is_relay_down[1] = false;
    assert_true(down + longest_silence(n, ML_SEC(10)) < ML_SEC(2));
    net_end(n);
}

static void D29_two_idle_nodes_send_nothing_but_what_keeps_a_relay_connected(void **state)
{
    (void)state;
    struct net *n = start_direct(NET_EASY, NET_EASY);
    net_run(n, ML_SEC(600)); /* sessions and their timers have run out */
    unsigned datagrams = n->host[0].tx + n->host[1].tx;
    uint64_t stream = n->host[0].stream_tx_bytes + n->host[1].stream_tx_bytes;
    net_run(n, ML_SEC(1500));
    assert_int_equal(n->host[0].tx + n->host[1].tx, datagrams);
    assert_int_equal(n->host[0].stream_tx_bytes + n->host[1].stream_tx_bytes, stream);
    assert_int_equal(streams_of(n, 0) + streams_of(n, 1), 2);
    net_end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D36_a_new_local_address_clears_the_paths_asks_stun_again_and_finds_new_ones),
        cmocka_unit_test(a_further_address_costs_no_connection),
        cmocka_unit_test(a_resume_from_sleep_is_noticed_and_everything_is_looked_at_again),
        cmocka_unit_test(a_router_that_forgot_a_mapping_is_not_trusted_with_the_relays_connection_either),
        cmocka_unit_test(being_called_in_time_is_no_sleep_however_long_the_wait),
        cmocka_unit_test(D35_packets_flow_again_when_udp_is_blocked_and_return_to_it),
        cmocka_unit_test(D35_lost_nat_mappings_cost_less_than_two_seconds),
        cmocka_unit_test(a_relay_that_restarts_costs_less_than_two_seconds),
        cmocka_unit_test(D29_two_idle_nodes_send_nothing_but_what_keeps_a_relay_connected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
