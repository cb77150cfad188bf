/*
 * Relay connections of whole engines: which regions are dialled, and that what comes over them is always read.
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

static void live_in(struct net *n, unsigned of, unsigned in, uint16_t region)
{
    struct ml_node node;
    net_node_of(n, of, &node);
    node.home_region = region;
    node.endpoint_count = 0;
    world_delta(&n->w, in, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
    world_delta(&n->w, in, &(struct ml_delta){.type = ML_DELTA_END});
}

static void D44_a_no_measure_no_home_region_is_dialled_for_a_peer_that_lives_there(void **state)
{
    (void)state;
    struct net *n = net_start(NET_OPEN, NET_OPEN, 3);
    n->no_home[1] = true;
    n->relay_delay[1] = ML_MSEC(1); /* by far the nearest */
    n->host[0].is_blocked = n->host[1].is_blocked = false;
    net_join(n);
    assert_int_equal(n->stun_asked[1], 0);
    assert_int_equal(n->dials[1], 0);
    assert_int_equal(n->w.n[0].ml->derp.home, 2);
    live_in(n, 1, 0, 1);
    n->host[0].is_blocked = n->host[1].is_blocked = true;
    assert_int_equal(net_send(n, 0, 1, "over there"), ML_OK);
    net_run(n, ML_SEC(1));
    assert_int_equal(n->dials[1], 1);
    assert_true(ml_derp_pool_is_connected(&n->w.n[0].ml->derp, 1));
    assert_true(n->frames[1] > 0);
    assert_int_equal(ml_netcheck(n->w.n[0].ml, n->w.now), ML_OK); /* UDP blocked: the HTTPS way does not ask it either */
    net_run(n, ML_SEC(12));
    assert_int_equal(n->stun_asked[1] + n->latency_checks[1], 0);
    assert_int_equal(n->w.n[0].ml->derp.home, 2);
    net_end(n);
}

/* Both sides relayed, with a session. */
static struct net *start_relayed(void)
{
    struct net *n = net_start(NET_OPEN, NET_OPEN, 1);
    net_join(n);
    n->host[0].is_blocked = n->host[1].is_blocked = true;
    assert_int_equal(net_send(n, 0, 1, "a"), ML_OK);
    net_run(n, ML_SEC(1));
    assert_true(world_got(&n->w, 1, "a"));
    return n;
}

static void D51_a_relay_is_read_on_although_the_host_takes_nothing(void **state)
{
    (void)state;
    struct net *n = start_relayed();
    ml_stats st;
    n->is_overlay_blocked[1] = true;
    for (int i = 0; i < 1000; i++) { /* 10 s */
        assert_int_equal(net_send(n, 0, 1, "one of very many packets that pile up because nobody takes them"), ML_OK);
        net_run(n, ML_MSEC(10));
    }
    assert_true(n->longest_stall < ML_MSEC(1500));
    ml_get_stats(n->w.n[1].ml, &st);
    assert_true(st.drop[ML_DROP_OUT_FULL] > 500);
    for (size_t i = 0; i < sizeof n->streams / sizeof n->streams[0]; i++) {
        assert_true(n->streams[i].pending_len < 4096);
    }
    /* The host wakes up: what comes now gets through. */
    n->is_overlay_blocked[1] = false;
    net_run(n, ML_MSEC(100));
    n->w.n[1].inbox_count = 0;
    assert_int_equal(net_send(n, 0, 1, "awake"), ML_OK);
    net_run(n, ML_MSEC(100));
    assert_true(world_got(&n->w, 1, "awake"));
    net_end(n);
}

static void a_burst_larger_than_the_queue_loses_nothing_while_the_host_takes_it(void **state)
{
    (void)state;
    struct net *n = start_relayed();
    ml_stats st;
    n->w.n[1].inbox_count = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(net_send(n, 0, 1, "burst"), ML_OK);
    }
    net_run(n, ML_SEC(1));
    ml_get_stats(n->w.n[1].ml, &st);
    assert_int_equal(st.drop[ML_DROP_OUT_FULL], 0);
    ml_get_stats(n->w.n[0].ml, &st);
    assert_int_equal(n->w.n[1].inbox_count, 100 - st.drop[ML_DROP_DERP_QUEUE_FULL]);
    net_end(n);
}

/* A node of a small heap that has the regions and reads a netmap message. */
static struct net *start_reading(void)
{
    struct net *n = net_start(NET_OPEN, NET_OPEN, 1);
    ml_engine *ml = n->w.n[0].ml;
    ml->is_heap_small = true;
    ml->control.poll.in_message = true;
    ml->control.poll.message_at = n->w.now;
    ml_netcheck_set_map_poll(&ml->netcheck, true);
    net_regions(n, 0);
    world_netmap(&n->w, 0);
    net_run(n, ML_MSEC(900));
    assert_int_equal(ml->derp.home, 1);
    assert_int_equal(n->dials[1], 0);
    assert_true(ml_poll_deadline(ml) > n->w.now);
    return n;
}

static void with_a_small_heap_a_relay_is_dialled_when_the_netmap_was_read(void **state)
{
    (void)state;
    struct net *n = start_reading();
    n->w.n[0].ml->control.poll.in_message = false;
    net_run(n, ML_MSEC(200));
    assert_true(ml_derp_pool_is_connected(&n->w.n[0].ml->derp, 1));
    net_end(n);
}

static void with_a_small_heap_a_relay_does_not_wait_for_ever_for_a_netmap(void **state)
{
    (void)state;
    struct net *n = start_reading();
    net_run(n, ML_MSEC(1000));
    assert_int_equal(n->dials[1], 0);
    net_run(n, ML_MSEC(300));
    assert_true(n->w.n[0].ml->control.poll.in_message);
    assert_true(ml_derp_pool_is_connected(&n->w.n[0].ml->derp, 1));
    net_end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D44_a_no_measure_no_home_region_is_dialled_for_a_peer_that_lives_there),
        cmocka_unit_test(D51_a_relay_is_read_on_although_the_host_takes_nothing),
        cmocka_unit_test(with_a_small_heap_a_relay_is_dialled_when_the_netmap_was_read),
        cmocka_unit_test(with_a_small_heap_a_relay_does_not_wait_for_ever_for_a_netmap),
        cmocka_unit_test(a_burst_larger_than_the_queue_loses_nothing_while_the_host_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
