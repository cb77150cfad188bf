/*
 * Unit tests of src/derp/derp_pool.c with virtual time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "derp/derp_vectors.h"

#include "derp/derp_pool.h"

#define SLOTS  3
#define ROUTES 2

static struct ml_derp_pool p;
static struct ml_derp_slot slots[SLOTS];
static struct ml_derp_route routes[ROUTES];
static uint8_t tx[SLOTS][ML_DERP_TX_MIN];
static struct ml_derp_event ev;
static const ml_node_key alice = {{1}};
static const ml_node_key bob = {{2}};
static const uint8_t packet[40] = {0x42};
static const struct ml_derp_server server = {.host = "relay.example"};

static void init(uint8_t slot_count)
{
    struct ml_derp_pool_cfg cfg = {.self = derp_self,
                                   .slots = slots,
                                   .slot_count = slot_count,
                                   .tx = tx[0],
                                   .tx_cap_each = ML_DERP_TX_MIN,
                                   .routes = routes,
                                   .route_count = ROUTES};
    memset(slots, 0xee, sizeof slots);
    memset(routes, 0xee, sizeof routes);
    ml_derp_pool_init(&p, &cfg);
}

/* The region asked to be opened at `now`, or 0. */
static uint16_t wants(ml_time now, unsigned *slot)
{
    uint16_t region = 0;
    return ml_derp_pool_poll_open(&p, now, slot, &region) ? region : 0;
}

static bool next_event(ml_time now)
{
    unsigned slot;
    uint16_t region;
    return ml_derp_pool_poll_event(&p, now, &slot, &region, &ev);
}

static void give(ml_time now, unsigned slot, const char *name)
{
    uint8_t b[2048];
    size_t used;
    size_t n = derp_vector(name, b);
    ml_derp_pool_data(&p, now, slot, b, n, &used);
    assert_int_equal(used, n);
}

/* Takes what waits on a slot and returns how many SendPacket frames there were; tells other frame types by bits. */
static unsigned sent(unsigned slot, uint32_t *types)
{
    static uint8_t out[ML_DERP_TX_MIN];
    const uint8_t *b;
    size_t n = 0;
    size_t part;
    unsigned packets = 0;
    while ((part = ml_derp_pool_tx_peek(&p, slot, &b)) > 0) {
        memcpy(out + n, b, part);
        n += part;
        ml_derp_pool_tx_done(&p, slot, part);
    }
    size_t pos = n > 4 && memcmp(out, "GET ", 4) == 0 ? (size_t)(strstr((char *)out, "\r\n\r\n") - (char *)out) + 4 : 0;
    for (; pos < n; pos += 5 + ml_get_be32(out + pos + 1)) {
        packets += out[pos] == ML_DERP_SEND_PACKET;
        if (types) {
            *types |= 1U << out[pos];
        }
    }
    return packets;
}

/* Lets the stream of a slot come up and logs in. */
static void log_in(ml_time now, unsigned slot)
{
    size_t used;
    ml_derp_pool_opened(&p, now, slot, &server);
    ml_derp_pool_data(&p, now, slot, (const uint8_t *)derp_response, sizeof derp_response - 1, &used);
    give(now, slot, "frame server_key");
    give(now, slot, "frame server_info");
    assert_true(next_event(now));
    assert_int_equal(ev.type, ML_DERP_EV_LOGIN);
}

static unsigned open_home(ml_time now, uint16_t region)
{
    unsigned slot;
    ml_derp_pool_set_home(&p, now, region);
    assert_int_equal(wants(now, &slot), region);
    log_in(now, slot);
    assert_true(ml_derp_pool_is_connected(&p, region));
    return slot;
}

static void the_home_is_opened_and_kept_for_ever(void **state)
{
    (void)state;
    unsigned slot;
    init(SLOTS);
    assert_int_equal(wants(0, &slot), 0);
    slot = open_home(0, 7);
    sent(slot, NULL);
    for (ml_time now = 0; now < ML_SEC(3600); now += ML_SEC(60)) {
        ml_derp_pool_time(&p, now);
        give(now, slot, "frame keepalive");
    }
    assert_false(ml_derp_pool_poll_close(&p, &slot));
    assert_true(ml_derp_pool_is_connected(&p, 7));
}

static void D53_home_changes_are_told_to_all_connections(void **state)
{
    (void)state;
    uint32_t types = 0;
    unsigned second;
    init(SLOTS);
    unsigned first = open_home(0, 7);
    sent(first, &types);
    assert_true(types & 1U << ML_DERP_NOTE_PREFERRED); /* on login to home */
    assert_int_equal(ml_derp_pool_send(&p, 0, &alice, 8, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(wants(0, &second), 8);
    log_in(0, second);
    types = 0;
    assert_int_equal(sent(second, &types), 1);
    assert_false(types & 1U << ML_DERP_NOTE_PREFERRED);
    ml_derp_pool_set_home(&p, 0, 8);
    const uint8_t *b;
    assert_int_equal(ml_derp_pool_tx_peek(&p, first, &b), 6);
    assert_memory_equal(b, "\x07\0\0\0\1\0", 6);
    assert_int_equal(ml_derp_pool_tx_peek(&p, second, &b), 6);
    assert_memory_equal(b, "\x07\0\0\0\1\1", 6);
    give(0, first, "frame ping");
    ml_derp_pool_tx_done(&p, first, 6);
    assert_int_equal(ml_derp_pool_tx_peek(&p, first, &b), 13);
    assert_memory_equal(b,
                        "\x13\0\0\0\x08"
                        "12345678",
                        13);
}

static void D54_replies_stay_on_the_connection_the_peer_was_heard_on_until_it_is_gone(void **state)
{
    (void)state;
    unsigned slot;
    ml_node_key peer;
    derp_vector("key peer", peer.b);
    init(SLOTS);
    unsigned home = open_home(0, 7);
    sent(home, NULL);
    give(0, home, "frame recv_packet");
    assert_true(next_event(0));
    assert_memory_equal(ev.key.b, peer.b, 32);
    ml_derp_pool_learn(&p, &ev.key, home);
    assert_int_equal(ml_derp_pool_send(&p, 0, &peer, 9, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(ml_derp_pool_send(&p, 0, &peer, 0, packet, sizeof packet), ML_DROP_NONE); /* no home known: the same */
    assert_int_equal(sent(home, NULL), 2);
    assert_int_equal(wants(0, &slot), 0); /* its home is not dialled */
    give(0, home, "frame peer_gone");
    assert_true(next_event(0));
    assert_int_equal(ml_derp_pool_send(&p, 0, &peer, 0, packet, sizeof packet), ML_DROP_ROUTE_NO_PATH);
    assert_int_equal(ml_derp_pool_send(&p, 0, &peer, 9, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(wants(0, &slot), 9);
    /* while its home is being dialled a route heard of meanwhile is better than waiting */
    ml_derp_pool_learn(&p, &peer, home);
    ml_derp_pool_send(&p, 0, &peer, 9, packet, sizeof packet);
    assert_int_equal(sent(home, NULL), 1);
    /* and once its home is connected, that is used */
    log_in(0, slot);
    assert_int_equal(sent(slot, NULL), 1);
    ml_derp_pool_send(&p, 0, &peer, 9, packet, sizeof packet);
    assert_int_equal(sent(slot, NULL), 1);
}

static void routes_go_with_their_connection_and_the_oldest_first(void **state)
{
    (void)state;
    static const ml_node_key carol = {{3}};
    unsigned slot;
    init(SLOTS);
    unsigned home = open_home(0, 7);
    ml_derp_pool_learn(&p, &alice, home);
    ml_derp_pool_learn(&p, &bob, home);
    ml_derp_pool_learn(&p, &alice, home);
    ml_derp_pool_learn(&p, &carol, home); /* the table holds two */
    assert_int_equal(ml_derp_pool_send(&p, 4, &alice, 0, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(ml_derp_pool_send(&p, 4, &carol, 0, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(ml_derp_pool_send(&p, 4, &bob, 0, packet, sizeof packet), ML_DROP_ROUTE_NO_PATH);
    ml_derp_pool_closed(&p, 5, home);
    assert_int_equal(ml_derp_pool_send(&p, 5, &alice, 0, packet, sizeof packet), ML_DROP_ROUTE_NO_PATH);
    assert_int_equal(wants(ML_SEC(1), &slot), 7);
    log_in(ML_SEC(1), slot);
    assert_int_equal(ml_derp_pool_send(&p, ML_SEC(1), &alice, 0, packet, sizeof packet), ML_DROP_ROUTE_NO_PATH);
}

static void D55_other_connections_close_60_to_75_s_after_the_last_write(void **state)
{
    (void)state;
    ml_time shortest = ML_NEVER, longest = 0;
    for (int i = 0; i < 50; i++) {
        unsigned slot, closed;
        init(SLOTS);
        open_home(0, 7);
        ml_derp_pool_send(&p, 0, &alice, 8, packet, sizeof packet);
        assert_int_equal(wants(0, &slot), 8);
        log_in(0, slot);
        ml_time written = ML_SEC(30);
        ml_derp_pool_send(&p, written, &alice, 8, packet, sizeof packet);
        give(ML_SEC(80), slot, "frame recv_packet"); /* what is received does not keep it */
        assert_true(next_event(ML_SEC(80)));
        give(ML_SEC(80), 1 - slot, "frame keepalive");
        ml_time due = ml_derp_pool_deadline(&p);
        ml_derp_pool_time(&p, due - 1);
        assert_false(ml_derp_pool_poll_close(&p, &closed));
        ml_derp_pool_time(&p, due);
        assert_true(ml_derp_pool_poll_close(&p, &closed));
        assert_int_equal(closed, slot);
        assert_false(ml_derp_pool_poll_close(&p, &closed));
        assert_false(ml_derp_pool_is_connected(&p, 8));
        due -= written;
        shortest = due < shortest ? due : shortest;
        longest = due > longest ? due : longest;
    }
    assert_true(shortest >= ML_SEC(60) && longest <= ML_SEC(75) && longest - shortest > ML_SEC(5));
}

static void D52_backoff_grows_with_failures_and_a_login_resets_it(void **state)
{
    (void)state;
    unsigned slot;
    ml_time now = 0;
    init(SLOTS);
    ml_derp_pool_set_home(&p, now, 7);
    for (uint64_t n = 1; n < 40; n++) {
        assert_int_equal(wants(now, &slot), 7);
        ml_derp_pool_closed(&p, now, slot);
        ml_time wait = ml_derp_pool_deadline(&p) - now;
        ml_time base = n * n * ML_MSEC(10) < ML_SEC(5) ? n * n * ML_MSEC(10) : ML_SEC(5);
        assert_true(wait >= base / 2 && wait < base * 3 / 2);
        assert_int_equal(wants(now + wait - 1, &slot), 0);
        now += wait;
    }
    assert_int_equal(wants(now, &slot), 7);
    log_in(now, slot);
    /* two minutes of silence end it, and count as the first failure again */
    now += ML_SEC(120);
    ml_derp_pool_time(&p, now);
    assert_true(next_event(now));
    assert_int_equal(ev.type, ML_DERP_EV_FAILED);
    assert_int_equal(wants(now + ML_SEC(1), &slot), 0); /* not before the old stream is closed */
    assert_true(ml_derp_pool_poll_close(&p, &slot));
    assert_true(ml_derp_pool_deadline(&p) - now < ML_MSEC(15));
    assert_int_equal(wants(now + ML_MSEC(15), &slot), 7);
}

/* dataplane.md 7.5, "sends also reconnect": within bounds, and not at the same instant for a whole fleet. */
static void a_packet_brings_the_next_dial_of_a_lost_relay_forward_but_not_for_ever(void **state)
{
    (void)state;
    ml_time shortest = ML_NEVER, longest = 0;
    for (int i = 0; i < 50; i++) {
        unsigned slot;
        ml_time now = 0;
        init(SLOTS);
        ml_derp_pool_set_home(&p, now, 7);
        for (unsigned n = 1; n < 30; n++) {
            assert_int_equal(wants(now, &slot), 7);
            ml_derp_pool_closed(&p, now, slot);
            ml_time alone = ml_derp_pool_deadline(&p) - now;
            ml_derp_pool_send(&p, now, &alice, 7, packet, sizeof packet);
            ml_derp_pool_send(&p, now, &alice, 7, packet, sizeof packet);
            ml_time wait = ml_derp_pool_deadline(&p) - now;
            assert_true(wait <= alone);
            if (n > ML_DERP_EAGER_DIALS) {
                assert_true(wait == alone);
            } else if (n > 8) { /* alone 320 ms at the least */
                assert_true(wait >= ML_DERP_EAGER_WAIT / 2 && wait < ML_DERP_EAGER_WAIT * 3 / 2);
                shortest = wait < shortest ? wait : shortest;
                longest = wait > longest ? wait : longest;
            }
            assert_int_equal(wants(now + wait - 1, &slot), 0);
            now += wait;
        }
    }
    assert_true(longest - shortest > ML_DERP_EAGER_WAIT * 3 / 5);
}

/* A packet that leaves over another region waits for its answer over the home. */
static void a_packet_over_another_region_brings_the_next_dial_of_the_lost_home_forward(void **state)
{
    (void)state;
    unsigned slot, other;
    ml_time now = 0;
    init(SLOTS);
    open_home(0, 7);
    ml_derp_pool_send(&p, now, &alice, 9, packet, sizeof packet);
    assert_int_equal(wants(now, &other), 9);
    log_in(now, other);
    ml_derp_pool_closed(&p, now, 0);
    for (unsigned n = 2; n < 9; n++) {
        now = ml_derp_pool_deadline(&p);
        assert_int_equal(wants(now, &slot), 7);
        ml_derp_pool_closed(&p, now, slot);
    }
    assert_true(ml_derp_pool_deadline(&p) - now >= ML_MSEC(320)); /* 640 ms and jitter */
    assert_int_equal(ml_derp_pool_send(&p, now, &alice, 9, packet, sizeof packet), ML_DROP_NONE);
    assert_true(ml_derp_pool_deadline(&p) - now < ML_DERP_EAGER_WAIT * 3 / 2);
}

static void an_announced_restart_is_not_cut_short_by_a_packet(void **state)
{
    (void)state;
    init(SLOTS);
    open_home(0, 7);
    p.slots[0].restart_in = ML_SEC(3);
    ml_derp_pool_closed(&p, 0, 0);
    ml_derp_pool_send(&p, 0, &alice, 7, packet, sizeof packet);
    assert_true(ml_derp_pool_deadline(&p) == ML_SEC(3));
}

static void failures_of_a_region_are_remembered_without_a_slot(void **state)
{
    (void)state;
    unsigned slot;
    init(SLOTS);
    for (int n = 0; n < 5; n++) {
        ml_time now = ML_SEC(10) * (ml_time)n;
        assert_int_equal(ml_derp_pool_send(&p, now, &alice, 9, packet, sizeof packet), ML_DROP_NONE);
        assert_int_equal(wants(now, &slot), 9);
        assert_int_equal(ml_derp_pool_closed(&p, now, slot), 1); /* the waiting packet */
    }
    ml_derp_pool_send(&p, ML_SEC(40) + 1, &alice, 9, packet, sizeof packet);
    assert_int_equal(wants(ML_SEC(40) + 1, &slot), 0);
    assert_true(ml_derp_pool_deadline(&p) >= ML_SEC(40) + ML_DERP_EAGER_WAIT / 2); /* a first failure is 15 ms at the most */
    /* regions beyond the table only forget the one due first */
    for (uint16_t r = 100; r < 120; r++) {
        ml_derp_pool_reset(&p, ML_SEC(50));
        ml_derp_pool_send(&p, ML_SEC(50), &alice, r, packet, sizeof packet);
        assert_int_equal(wants(ML_SEC(50), &slot), r);
        ml_derp_pool_closed(&p, ML_SEC(50), slot);
    }
}

static void an_announced_restart_is_waited_for(void **state)
{
    (void)state;
    unsigned slot;
    init(SLOTS);
    slot = open_home(0, 7);
    give(0, slot, "frame restarting"); /* in 2 s */
    assert_true(next_event(0));
    ml_derp_pool_closed(&p, ML_SEC(1), slot);
    assert_true(ml_derp_pool_deadline(&p) == ML_SEC(3));
    assert_int_equal(wants(ML_SEC(3), &slot), 7);
}

static void the_least_recently_used_connection_makes_room_and_home_never(void **state)
{
    (void)state;
    unsigned slot8, slot9, slot, closed;
    init(SLOTS);
    unsigned home = open_home(0, 7);
    ml_derp_pool_send(&p, 0, &alice, 8, packet, sizeof packet);
    assert_int_equal(wants(0, &slot8), 8);
    log_in(0, slot8);
    ml_derp_pool_send(&p, ML_SEC(1), &bob, 9, packet, sizeof packet);
    assert_int_equal(wants(ML_SEC(1), &slot9), 9);
    log_in(ML_SEC(1), slot9);
    assert_int_equal(ml_derp_pool_send(&p, ML_SEC(4), &bob, 10, packet, sizeof packet), ML_DROP_NO_MEMORY);
    assert_int_equal(ml_derp_pool_send(&p, ML_SEC(5), &bob, 10, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(wants(ML_SEC(5), &slot), 0);
    assert_true(ml_derp_pool_poll_close(&p, &closed));
    assert_int_equal(closed, slot8);
    assert_int_equal(wants(ML_SEC(5), &slot), 10);
    assert_int_equal(slot, slot8);
    log_in(ML_SEC(5), slot);
    assert_int_equal(sent(slot, NULL), 1);
    /* a new home takes a slot even from a busy region */
    ml_derp_pool_set_home(&p, ML_SEC(6), 11);
    assert_true(ml_derp_pool_poll_close(&p, &closed));
    assert_int_not_equal(closed, home); /* the old home was used last, just now */
    assert_int_equal(wants(ML_SEC(6), &slot), 11);
}

static void with_one_slot_there_is_the_home_and_nothing_else(void **state)
{
    (void)state;
    unsigned slot;
    init(1);
    open_home(0, 7);
    assert_int_equal(ml_derp_pool_send(&p, ML_SEC(100), &alice, 8, packet, sizeof packet), ML_DROP_NO_MEMORY);
    assert_int_equal(ml_derp_pool_send(&p, ML_SEC(100), &alice, 7, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(ml_derp_pool_send_on(&p, ML_SEC(100), 7, &alice, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(ml_derp_pool_send_on(&p, ML_SEC(100), 0, &alice, packet, sizeof packet), ML_DROP_ROUTE_NO_PATH);
    /* moving the home takes the slot along */
    ml_derp_pool_set_home(&p, ML_SEC(101), 8);
    assert_true(ml_derp_pool_poll_close(&p, &slot));
    assert_int_equal(wants(ML_SEC(101), &slot), 8);
}

static void a_redefined_region_and_a_reset_reconnect_the_home(void **state)
{
    (void)state;
    unsigned slot;
    init(SLOTS);
    open_home(0, 7);
    ml_derp_pool_close_region(&p, 1, 99);
    assert_false(ml_derp_pool_poll_close(&p, &slot));
    ml_derp_pool_close_region(&p, 1, 7);
    assert_true(ml_derp_pool_poll_close(&p, &slot));
    assert_int_equal(wants(1, &slot), 7);
    log_in(1, slot);
    ml_derp_pool_reset(&p, 2);
    /* the stream ends by itself before we come to close it */
    assert_int_equal(ml_derp_pool_closed(&p, 2, slot), 0);
    assert_false(ml_derp_pool_poll_close(&p, &slot));
    assert_int_equal(wants(2, &slot), 7);
    ml_derp_pool_set_home(&p, 3, 0);
    ml_derp_pool_time(&p, ML_SEC(100));
    assert_true(ml_derp_pool_poll_close(&p, &slot));
    assert_true(ml_derp_pool_deadline(&p) == ML_NEVER);
}

static void events_of_streams_that_are_not_open_change_nothing(void **state)
{
    (void)state;
    size_t used = 9;
    const uint8_t *b;
    init(SLOTS);
    ml_derp_pool_data(&p, 0, 0, packet, sizeof packet, &used);
    assert_int_equal(used, 0);
    ml_derp_pool_data(&p, 0, 200, packet, sizeof packet, &used);
    ml_derp_pool_opened(&p, 0, 0, &server);
    ml_derp_pool_opened(&p, 0, 200, &server);
    ml_derp_pool_tx_done(&p, 200, 1);
    assert_int_equal(ml_derp_pool_tx_peek(&p, 0, &b), 0);
    assert_int_equal(ml_derp_pool_closed(&p, 0, 200), 0);
    ml_derp_pool_learn(&p, &alice, 200);
    assert_false(next_event(0));
    assert_true(ml_derp_pool_deadline(&p) == ML_NEVER);
}

static void a_network_change_checks_what_is_up_and_retries_what_waits(void **state)
{
    (void)state;
    unsigned slot;
    uint32_t types = 0;
    init(SLOTS);
    unsigned home = open_home(0, 7);
    sent(home, NULL);
    ml_derp_pool_send(&p, 0, &alice, 8, packet, sizeof packet);
    assert_int_equal(wants(0, &slot), 8);
    ml_derp_pool_closed(&p, 0, slot);
    ml_derp_pool_send(&p, 0, &alice, 8, packet, sizeof packet);
    assert_int_equal(wants(0, &slot), 0);
    ml_derp_pool_check(&p, 1);
    assert_int_equal(wants(1, &slot), 8);
    sent(home, &types);
    assert_true(types & 1U << ML_DERP_PING);
    assert_true(ml_derp_pool_deadline(&p) == ML_SEC(3) + 1);
    /* The dial to 8 is still under way when the network changes again: given up and begun anew. */
    unsigned again;
    ml_derp_pool_check(&p, 2);
    assert_false(ml_derp_pool_poll_open(&p, 2, &again, &(uint16_t){0}));
    assert_true(ml_derp_pool_poll_close(&p, &again));
    assert_int_equal(again, slot);
    assert_int_equal(wants(2, &again), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_home_is_opened_and_kept_for_ever),
        cmocka_unit_test(D53_home_changes_are_told_to_all_connections),
        cmocka_unit_test(D54_replies_stay_on_the_connection_the_peer_was_heard_on_until_it_is_gone),
        cmocka_unit_test(routes_go_with_their_connection_and_the_oldest_first),
        cmocka_unit_test(D55_other_connections_close_60_to_75_s_after_the_last_write),
        cmocka_unit_test(D52_backoff_grows_with_failures_and_a_login_resets_it),
        cmocka_unit_test(a_packet_brings_the_next_dial_of_a_lost_relay_forward_but_not_for_ever),
        cmocka_unit_test(a_packet_over_another_region_brings_the_next_dial_of_the_lost_home_forward),
        cmocka_unit_test(an_announced_restart_is_not_cut_short_by_a_packet),
        cmocka_unit_test(failures_of_a_region_are_remembered_without_a_slot),
        cmocka_unit_test(an_announced_restart_is_waited_for),
        cmocka_unit_test(the_least_recently_used_connection_makes_room_and_home_never),
        cmocka_unit_test(with_one_slot_there_is_the_home_and_nothing_else),
        cmocka_unit_test(a_redefined_region_and_a_reset_reconnect_the_home),
        cmocka_unit_test(events_of_streams_that_are_not_open_change_nothing),
        cmocka_unit_test(a_network_change_checks_what_is_up_and_retries_what_waits),
    };
    return cmocka_run_group_tests(tests, derp_start, NULL);
}
