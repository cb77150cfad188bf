/*
 * Path selection in virtual time: routing, trust, heartbeats, discovery, candidates. SPDX-License-Identifier: MIT
 */
#include "path/path_world.h"

#define EP "203.0.113.5:41641"

static struct world w;

static struct ml_path_route route(void)
{
    struct ml_path_route r;
    ml_path_route(&w.p, w.now, 0, &r);
    return r;
}

static int setup(void **state)
{
    (void)state;
    world_init(&w, NULL);
    fresh_endpoints(&w);
    ml_addr ep = vec_addr(EP);
    open_slot(&w, 0, 7, &ep, 1);
    return 0;
}

static void the_first_packet_goes_over_derp_and_starts_discovery(void **state)
{
    (void)state;
    struct ml_path_route r = route();
    assert_false(ml_addr_is_set(&r.udp));
    assert_int_equal(r.derp_region, 7);
    assert_int_equal(drain(&w), 2);
    assert_non_null(find_ping_to(&w, EP));
    assert_int_equal(w.sent[1].msg.type, ML_DISCO_CALL_ME_MAYBE);
}

static void D17_pings_are_124_bytes_and_carry_our_node_key(void **state)
{
    (void)state;
    route();
    drain(&w);
    const struct sent *ping = find_ping_to(&w, EP);
    assert_int_equal(ping->len, 124);
    assert_memory_equal(ping->msg.node_key.b, w.us.node.b, 32);
    assert_int_equal(ping->msg.padding, 0);
}

static void D28_trusted_path_is_udp_only_and_6_5_s_after_the_last_pong_both(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(10));
    ml_time pong_at = w.now;
    struct ml_path_route r = route();
    assert_true(ml_addr_is_set(&r.udp));
    assert_int_equal(r.derp_region, 0);
    w.now = pong_at + ML_MSEC(6500);
    r = route();
    assert_int_equal(r.derp_region, 0);
    w.now = pong_at + ML_MSEC(6500) + 1;
    r = route();
    ml_addr ep = vec_addr(EP);
    assert_true(ml_addr_equal(&r.udp, &ep));
    assert_int_equal(r.derp_region, 7);
}

static void a_silent_path_is_checked_after_a_second_and_left_when_the_ping_is_lost(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(10));
    drain(&w);
    /* Something comes back: nothing to ask. */
    ml_addr ep = vec_addr(EP);
    for (int i = 0; i < 12; i++) {
        advance(&w, ML_MSEC(100));
        ml_path_note_rx(&w.p, w.now, 0, &ep);
        assert_int_equal(route().derp_region, 0);
        assert_int_equal(drain(&w), 0);
    }
    /* Nothing does: two pings, and half a second later both ways. */
    for (int i = 0; i < 10; i++) {
        advance(&w, ML_MSEC(90));
        assert_int_equal(route().derp_region, 0);
        drain(&w);
        assert_null(find_ping_to(&w, EP));
    }
    advance(&w, ML_MSEC(100));
    assert_int_equal(route().derp_region, 0);
    assert_int_equal(drain(&w), 1);
    advance(&w, ML_MSEC(259));
    assert_int_equal(route().derp_region, 0);
    assert_int_equal(drain(&w), 0);
    assert_int_equal(ml_path_deadline(&w.p), w.now + ML_MSEC(1));
    advance(&w, ML_MSEC(1));
    assert_int_equal(route().derp_region, 0);
    drain(&w);
    assert_int_equal(count_type(&w, ML_DISCO_PING), 1);
    advance(&w, ML_MSEC(259));
    assert_int_equal(route().derp_region, 0);
    assert_int_equal(drain(&w), 0);
    advance(&w, ML_MSEC(1));
    struct ml_path_route r = route();
    assert_true(r.derp_region == 7 && ml_addr_equal(&r.udp, &ep));
    /* It was only those pings that got lost: the next one restores trust. */
    drain(&w);
    answer(&w, find_ping_to(&w, EP), EP);
    assert_int_equal(route().derp_region, 0);
}

/* Whether the call-me-maybe among what was sent, of which there is one, names an address; -1 without one. */
static int names(const char *addr)
{
    ml_addr a = vec_addr(addr);
    int found = -1;
    for (size_t i = 0; i < w.sent_count; i++) {
        if (w.sent[i].msg.type != ML_DISCO_CALL_ME_MAYBE) {
            continue;
        }
        assert_int_equal(found, -1);
        assert_int_equal(w.sent[i].dst.derp_region, 7);
        found = 0;
        for (size_t k = 0; k < w.sent[i].msg.addr_count; k++) {
            found |= ml_addr_equal(&w.sent[i].msg.addrs[k], &a);
        }
    }
    return found;
}

#define SEEN  "198.51.100.7:1234" /* what answer() says, and STUN too */
#define LOCAL "10.0.0.2:41641"

static void a_peer_is_told_to_leave_a_path_that_fails_its_check(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(10));
    drain(&w);
    advance(&w, ML_SEC(1));
    route();
    drain(&w);
    assert_int_equal(names(SEEN), -1);
    advance(&w, ML_MSEC(260));
    drain(&w);
    assert_int_equal(names(SEEN), 1); /* so that it is one that a call-me-maybe named */
    assert_false(ml_path_take_stun_wanted(&w.p));
    advance(&w, ML_MSEC(260));
    drain(&w);
    assert_int_equal(names(SEEN), 1); /* once more: the first may have been written into a connection that was dead */
    assert_true(ml_path_take_stun_wanted(&w.p));
    fresh_endpoints(&w);
    assert_int_equal(drain(&w), 0); /* what was named now would be left out in a moment */
    advance(&w, ML_MSEC(60));
    drain(&w);
    assert_int_equal(w.sent[0].msg.type, ML_DISCO_CALL_ME_MAYBE);
    assert_int_equal(w.sent[0].msg.addr_count, 1);
    w.sent[0] = w.sent[--w.sent_count]; /* the peer leaves all but LOCAL; all have been measured, and are named again */
    assert_int_equal(names(SEEN), 1);
    assert_int_equal(names(LOCAL), 1);
    assert_false(ml_path_take_router_doubted(&w.p));
    drain(&w);
    assert_int_equal(names(SEEN), -1);
}

static void a_check_that_is_answered_tells_nobody_to_leave(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(10));
    drain(&w);
    advance(&w, ML_SEC(1));
    route();
    drain(&w); /* this ping is lost */
    advance(&w, ML_MSEC(260));
    drain(&w);
    const struct sent *second = find_ping_to(&w, EP);
    advance(&w, ML_MSEC(10));
    answer(&w, second, EP);
    advance(&w, ML_MSEC(600));
    drain(&w);
    assert_int_equal(names(SEEN), -1);
    assert_int_equal(route().derp_region, 0);
}

static void what_comes_from_elsewhere_does_not_vouch_for_the_best_path(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(10));
    drain(&w);
    ml_addr other = vec_addr("203.0.113.5:7");
    bool is_asked = false, is_left = false;
    for (int i = 0; i < 17; i++) {
        advance(&w, ML_MSEC(100));
        ml_path_note_rx(&w.p, w.now, 0, &other);
        is_left = route().derp_region == 7;
        drain(&w);
        is_asked |= find_ping_to(&w, EP) != NULL;
    }
    assert_true(is_asked && is_left);
}

static void answer_seen_as(const struct sent *ping, const char *seen)
{
    struct ml_disco_msg m = {.type = ML_DISCO_PONG, .src = vec_addr(seen)};
    assert_non_null(ping);
    memcpy(m.tx, ping->msg.tx, sizeof m.tx);
    deliver(&w, &w.r[0], EP, 0, NULL, &m);
}

static void a_peer_that_sees_us_elsewhere_is_told_to_leave_the_old_address(void **state)
{
    (void)state;
    ml_time last = 0;
    size_t rounds = 0, doubts = 0;
    make_direct(&w, EP, ML_MSEC(10));
    drain(&w);
    advance(&w, ML_SEC(3)); /* a heartbeat */
    drain(&w);
    answer_seen_as(find_ping_to(&w, EP), SEEN);
    assert_int_equal(drain(&w), 0);
    advance(&w, ML_SEC(3));
    drain(&w);
    answer_seen_as(find_ping_to(&w, EP), "198.51.100.7:999");
    assert_int_equal(route().derp_region, 0); /* what we send arrives */
    drain(&w);
    assert_int_equal(names(SEEN), 1);
    assert_true(ml_path_take_stun_wanted(&w.p));
    assert_true(ml_path_take_router_doubted(&w.p));
    assert_false(ml_path_take_router_doubted(&w.p));
    advance(&w, ML_MSEC(60));
    assert_int_equal(route().derp_region, 0);
    drain(&w);
    assert_int_equal(names(SEEN), 0);
    assert_int_equal(names(LOCAL), 1);
    /* A peer that sees us elsewhere each time does not have us call it more often than discovery would. */
    for (unsigned i = 1; i <= 60; i++) {
        char seen[32];
        advance(&w, ML_SEC(1));
        route();
        drain(&w);
        const struct sent *ping = find_ping_to(&w, EP);
        if (ping) {
            struct sent copy = *ping;
            snprintf(seen, sizeof seen, "198.51.100.7:%u", 1000 + i);
            answer_seen_as(&copy, seen);
        }
        drain(&w);
        if (names(LOCAL) == 1) {
            assert_true(last == 0 || w.now - last >= ML_SEC(5));
            last = w.now;
            rounds++;
            doubts += ml_path_take_router_doubted(&w.p);
            advance(&w, ML_MSEC(60));
            drain(&w);
            assert_int_equal(names(LOCAL), 1);
        }
    }
    assert_in_range(rounds, 5, 12);
    assert_in_range(doubts, 1, 2); /* nor the servers asked more often than every 30 s */
}

static void a_call_me_maybe_that_takes_our_path_away_has_all_pinged_at_once(void **state)
{
    (void)state;
    struct ml_disco_msg m = {.type = ML_DISCO_CALL_ME_MAYBE, .addr_count = 2};
    m.addrs[0] = vec_addr("203.0.113.50:7");
    m.addrs[1] = vec_addr("203.0.113.51:7");
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    route();
    drain(&w);
    answer(&w, find_ping_to(&w, "203.0.113.50:7"), "203.0.113.50:7");
    advance(&w, ML_MSEC(10));
    m.addrs[0] = m.addrs[1];
    m.addr_count = 1;
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    drain(&w);
    assert_non_null(find_ping_to(&w, "203.0.113.51:7"));
    for (int i = 0; i < 20; i++) { /* nothing left to take: one round a second */
        deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
        assert_int_equal(w.drop, ML_DROP_DISCO_LIMITED);
    }
}

static void a_call_me_maybe_has_a_trusted_path_checked_and_withdraws_what_it_leaves_out(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(10));
    struct ml_disco_msg m = {.type = ML_DISCO_CALL_ME_MAYBE, .addr_count = 1};
    m.addrs[0] = vec_addr("203.0.113.50:7");
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    ml_addr ep = vec_addr(EP), other = m.addrs[0];
    assert_int_equal(route().derp_region, 0);
    drain(&w);
    assert_non_null(find_ping_to(&w, EP));
    advance(&w, ML_MSEC(260));
    advance(&w, ML_MSEC(260));
    struct ml_path_route r = route();
    assert_true(r.derp_region == 7 && ml_addr_equal(&r.udp, &ep));
    drain(&w);
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m); /* within the second: merged, not pinged */
    advance(&w, ML_MSEC(600));
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    drain(&w);
    answer(&w, find_ping_to(&w, "203.0.113.50:7"), "203.0.113.50:7");
    r = route();
    assert_true(r.derp_region == 0 && ml_addr_equal(&r.udp, &other));
    /* The next one leaves that address out: it is gone. */
    advance(&w, ML_SEC(2));
    m.addrs[0] = vec_addr(EP);
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    r = route();
    assert_false(ml_addr_is_set(&r.udp));
}

/* Call-me-maybes that are sent again before the next round is due, from the first packet to a path at the most. */
#define REPEATS 4

static void call_me_maybes_of_the_peer_do_not_put_off_our_own(void **state)
{
    (void)state;
    size_t ours = 0;
    struct ml_disco_msg m = {.type = ML_DISCO_CALL_ME_MAYBE, .addr_count = 1};
    m.addrs[0] = vec_addr("203.0.113.50:7");
    route();
    drain(&w);
    assert_int_equal(count_type(&w, ML_DISCO_CALL_ME_MAYBE), 1);
    for (int i = 0; i < 60; i++) { /* 30 s; the peer calls every 5 s, each time just before our round is due */
        advance(&w, ML_MSEC(500));
        fresh_endpoints(&w);
        if (i % 10 == 8) {
            deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
        }
        route();
        drain(&w);
        ours += count_type(&w, ML_DISCO_CALL_ME_MAYBE);
    }
    assert_in_range(ours, 4 + REPEATS, 7 + REPEATS); /* the repeats are those of the first rounds */
}

/* Sends every 100 ms for `length`, nothing answers; the instants of our call-me-maybes, and how many there were. */
static size_t calls_while_sending(ml_time length, ml_time at[], size_t cap, size_t *pings)
{
    size_t n = 0;
    for (ml_time end = w.now + length; w.now < end; advance(&w, ML_MSEC(100))) {
        fresh_endpoints(&w);
        route();
        drain(&w);
        *pings += count_type(&w, ML_DISCO_PING);
        if (count_type(&w, ML_DISCO_CALL_ME_MAYBE)) {
            assert_true(n < cap);
            at[n++] = w.now;
        }
    }
    return n;
}

static void an_unanswered_call_me_maybe_is_repeated_twice_in_the_first_two_rounds(void **state)
{
    (void)state;
    ml_time at[40], start = w.now;
    size_t pings = 0;
    size_t n = calls_while_sending(ML_SEC(5), at, 40, &pings);
    assert_int_equal(n, 3);
    assert_int_equal(pings, 1); /* candidates are not pinged for it */
    assert_true(at[1] - at[0] >= ML_MSEC(500) && at[1] - at[0] <= ML_MSEC(600));
    assert_true(at[2] - at[1] >= ML_MSEC(700) && at[2] - at[1] <= ML_MSEC(800));
    ml_time last = at[2];
    size_t repeats = 2;
    n = calls_while_sending(ML_SEC(55), at, 40, &pings);
    for (size_t i = 0; i < n; i++) { /* those of a new round come together, or 5 s after the last */
        repeats += at[i] - last > ML_MSEC(200) && at[i] - last < ML_SEC(2);
        last = at[i];
    }
    assert_int_equal(repeats, REPEATS);
    assert_true(n >= 10);
    assert_true(w.now >= start + ML_SEC(60));
}

static void a_call_me_maybe_is_not_repeated_once_there_is_a_path_or_nothing_is_sent(void **state)
{
    (void)state;
    route();
    drain(&w);
    const struct sent ping = *find_ping_to(&w, EP);
    assert_int_equal(count_type(&w, ML_DISCO_CALL_ME_MAYBE), 1);
    advance(&w, ML_MSEC(100));
    answer(&w, &ping, EP);
    for (int i = 0; i < 20; i++) {
        advance(&w, ML_MSEC(100));
        drain(&w);
        assert_int_equal(count_type(&w, ML_DISCO_CALL_ME_MAYBE), 0);
    }
    setup(NULL);
    route(); /* one packet, then none */
    drain(&w);
    size_t calls = 0;
    for (int i = 0; i < 25; i++) {
        advance(&w, ML_MSEC(100));
        drain(&w);
        calls += count_type(&w, ML_DISCO_CALL_ME_MAYBE);
    }
    assert_in_range(calls, 1, 2);
}

static void D29_active_peers_are_pinged_every_3_s_until_45_s_after_the_last_send(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(2));
    ml_time last_send = w.now;
    route();
    drain(&w);
    ml_time previous = 0;
    size_t beats = 0;
    while (ml_path_deadline(&w.p) != ML_NEVER) {
        w.now = ml_path_deadline(&w.p);
        ml_path_on_time(&w.p, w.now);
        drain(&w);
        const struct sent *ping = find_ping_to(&w, EP);
        if (ping) {
            if (previous) {
                assert_int_equal(w.now - previous, ML_SEC(3));
            }
            previous = w.now;
            beats++;
            w.now += ML_MSEC(2);
            answer(&w, ping, EP);
            w.now -= ML_MSEC(2);
        }
        assert_true(w.now < last_send + ML_SEC(60));
    }
    assert_true(previous <= last_send + ML_SEC(45) && previous > last_send + ML_SEC(41));
    assert_int_equal(beats, 15);
}

static void D30_a_candidate_is_not_discovery_pinged_more_often_than_every_5_s(void **state)
{
    (void)state;
    ml_time last = 0;
    size_t pings = 0;
    for (int i = 0; i < 3000; i++) { /* 30 s of packets 10 ms apart, nothing answers */
        route();
        drain(&w);
        if (find_ping_to(&w, EP)) {
            assert_true(last == 0 || w.now - last >= ML_SEC(5));
            last = w.now;
            pings++;
        }
        advance(&w, ML_MSEC(10));
    }
    assert_true(pings >= 5 && pings <= 6);
}

static void D31_call_me_maybe_follows_a_ping_over_the_home_with_fresh_endpoints(void **state)
{
    (void)state;
    w.now += ML_SEC(27); /* the endpoints are too old now */
    route();
    assert_true(ml_path_take_stun_wanted(&w.p));
    assert_false(ml_path_take_stun_wanted(&w.p));
    assert_int_equal(drain(&w), 1);
    assert_int_equal(w.sent[0].msg.type, ML_DISCO_PING);
    w.now += ML_MSEC(300);
    struct ml_endpoint_facts f = {.global4 = vec_addr("198.51.100.7:999")};
    ml_path_set_facts(&w.p, w.now, &f);
    assert_int_equal(drain(&w), 1);
    assert_int_equal(w.sent[0].msg.type, ML_DISCO_CALL_ME_MAYBE);
    assert_int_equal(w.sent[0].dst.derp_region, 7);
    assert_memory_equal(w.sent[0].dst.node.b, w.r[0].node.b, 32);
    ml_addr stun = vec_addr("198.51.100.7:999");
    assert_true(ml_addr_equal(&w.sent[0].msg.addrs[0], &stun));
    /* Nothing can be pinged within 5 s, so there is no second one either. */
    w.now += ML_SEC(1);
    route();
    assert_int_equal(drain(&w), 0);
}

static void D31_without_a_candidate_there_is_no_ping_and_no_call_me_maybe(void **state)
{
    (void)state;
    open_slot(&w, 0, 7, NULL, 0);
    route();
    assert_int_equal(drain(&w), 0);
}

static void D21_a_ping_alone_makes_no_path_and_only_an_own_fresh_pong_does(void **state)
{
    (void)state;
    ping_us(&w, 0, "203.0.113.77:5", 1);
    drain(&w);
    struct ml_path_status st;
    ml_path_get_status(&w.p, w.now, 0, &st);
    assert_false(ml_addr_is_set(&st.direct));
    /* A pong to an ID we never sent. */
    struct sent foreign = {.remote = 0};
    memset(foreign.msg.tx, 9, 12);
    answer(&w, &foreign, EP);
    assert_int_equal(w.drop, ML_DROP_DISCO_UNKNOWN_TX);
    ml_path_get_status(&w.p, w.now, 0, &st);
    assert_false(ml_addr_is_set(&st.direct));
    /* Our ID, from the right peer, but after 5 s. */
    route();
    drain(&w);
    struct sent ping = *find_ping_to(&w, EP);
    advance(&w, ML_SEC(5));
    answer(&w, &ping, EP);
    assert_int_equal(w.drop, ML_DROP_DISCO_UNKNOWN_TX);
    ml_path_get_status(&w.p, w.now, 0, &st);
    assert_false(ml_addr_is_set(&st.direct));
    /* Our ID, but another peer answers. */
    ml_addr ep = vec_addr("203.0.113.6:1");
    open_slot(&w, 1, 7, &ep, 1);
    advance(&w, ML_SEC(1));
    route();
    drain(&w);
    ping = *find_ping_to(&w, EP);
    ping.remote = 1;
    answer(&w, &ping, EP);
    assert_int_equal(w.drop, ML_DROP_DISCO_UNKNOWN_TX);
    /* And the real thing. */
    ping.remote = 0;
    answer(&w, &ping, EP);
    assert_int_equal(w.drop, ML_DROP_NONE);
    ml_path_get_status(&w.p, w.now, 0, &st);
    assert_true(ml_addr_is_set(&st.direct));
}

static void a_pong_credits_the_address_that_was_pinged_not_its_source(void **state)
{
    (void)state;
    route();
    drain(&w);
    answer(&w, find_ping_to(&w, EP), "203.0.113.99:7");
    struct ml_path_status st;
    ml_path_get_status(&w.p, w.now, 0, &st);
    ml_addr ep = vec_addr(EP);
    assert_true(ml_addr_equal(&st.direct, &ep));
}

static void D25_a_changed_disco_key_keeps_the_path_and_pings_use_it(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(10));
    remote_init(&w, &w.r[0], 1); /* the key that the slot refers to */
    struct ml_path_route r = route();
    assert_true(ml_addr_is_set(&r.udp));
    assert_int_equal(r.derp_region, 0);
    advance(&w, ML_SEC(3));
    drain(&w);
    const struct sent *ping = find_ping_to(&w, EP);
    assert_non_null(ping);
    assert_int_equal(ping->remote, 0); /* opened with the new key */
    w.now += ML_MSEC(9);
    answer(&w, ping, EP);
    assert_int_equal(w.drop, ML_DROP_NONE);
    advance(&w, ML_MSEC(6400));
    r = route();
    assert_int_equal(r.derp_region, 0);
}

static void a_changed_home_region_is_used_at_once(void **state)
{
    (void)state;
    struct ml_path_info info = {.node = &w.r[0].node, .disco = &w.r[0].disco, .home_region = 9};
    ml_path_peer_update(&w.p, w.now, 0, &info);
    assert_int_equal(route().derp_region, 9);
}

static void D35_a_dead_path_falls_to_derp_within_6_5_s_and_returns(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(10));
    ml_time last_pong = w.now;
    bool is_over_derp = false;
    while (w.now < last_pong + ML_SEC(30)) {
        advance(&w, ML_MSEC(100));
        struct ml_path_route r = route();
        drain(&w);
        if (!is_over_derp && r.derp_region) {
            is_over_derp = true;
            assert_true(w.now - last_pong <= ML_MSEC(6600));
        }
        assert_true(!is_over_derp || r.derp_region == 7);
    }
    assert_true(is_over_derp);
    assert_false(ml_path_has_best(&w.peers[0])); /* its pings timed out */
    for (int i = 0; i < 60; i++) {
        advance(&w, ML_MSEC(100));
        route();
        drain(&w);
        const struct sent *ping = find_ping_to(&w, EP);
        if (ping) {
            answer(&w, ping, EP);
            assert_int_equal(route().derp_region, 0);
            return;
        }
    }
    fail_msg("not probed again within 6 s");
}

static void a_better_path_takes_over_and_a_slightly_better_one_does_not(void **state)
{
    (void)state;
    ml_addr eps[3] = {vec_addr(EP), vec_addr("203.0.113.6:1"), vec_addr("203.0.113.7:1")};
    open_slot(&w, 0, 7, eps, 3);
    route();
    drain(&w);
    struct sent a = *find_ping_to(&w, EP), b = *find_ping_to(&w, "203.0.113.6:1"), c = *find_ping_to(&w, "203.0.113.7:1");
    w.now += ML_MSEC(100);
    answer(&w, &c, "203.0.113.7:1");
    assert_true(ml_path_is_best(&w.peers[0], &eps[2]));
    w.peers[0].latency_us = 100500; /* 0.5 % slower than what comes now */
    answer(&w, &b, "203.0.113.6:1");
    assert_true(ml_path_is_best(&w.peers[0], &eps[2]));
    w.peers[0].latency_us = 200000;
    answer(&w, &a, EP);
    assert_true(ml_path_is_best(&w.peers[0], &eps[0]));
}

static void slow_direct_path_is_compared_again_every_60_s_and_a_good_one_is_not(void **state)
{
    (void)state;
    static const ml_time latencies[] = {ML_MSEC(5), ML_MSEC(6)};
    for (int k = 0; k < 2; k++) {
        setup(NULL);
        ml_addr eps[2] = {vec_addr(EP), vec_addr("203.0.113.6:1")};
        open_slot(&w, 0, 7, eps, 2);
        make_direct(&w, EP, latencies[k]);
        ml_time full_at = w.now - latencies[k];
        ml_time again_at = 0;
        while (w.now < full_at + ML_SEC(70)) {
            advance(&w, ML_MSEC(500));
            route();
            drain(&w);
            if (!again_at && find_ping_to(&w, "203.0.113.6:1")) {
                again_at = w.now;
            }
            const struct sent *ping = find_ping_to(&w, EP);
            if (ping) {
                w.now += latencies[k];
                answer(&w, ping, EP);
            }
        }
        assert_int_equal(again_at != 0, k == 1);
        assert_true(k == 0 || (again_at >= full_at + ML_SEC(60) && again_at < full_at + ML_SEC(64)));
    }
}

static void D37_a_flood_of_pings_from_many_ports_is_bounded_and_spares_the_best_path(void **state)
{
    (void)state;
    ping_us(&w, 0, "203.0.113.50:1", 1);
    drain(&w);
    make_direct(&w, "203.0.113.50:1", ML_MSEC(4)); /* the best path itself is only known from a ping */
    ml_addr best = vec_addr("203.0.113.50:1");
    for (int port = 2; port < 5000; port++) {
        char from[40];
        snprintf(from, sizeof from, "203.0.113.50:%d", port);
        w.now += 100;
        ping_us(&w, 0, from, (uint8_t)port);
        assert_int_equal(w.drop, ML_DROP_NONE);
        assert_int_equal(drain(&w), 1); /* each is answered */
    }
    assert_true(ml_path_is_best(&w.peers[0], &best));
    struct ml_path_status st;
    ml_path_get_status(&w.p, w.now, 0, &st);
    assert_true(ml_addr_equal(&st.direct, &best));
    ml_addr ep = vec_addr(EP);
    assert_true(has_candidate(&w, 0, &best) && has_candidate(&w, 0, &ep));
}

static void a_long_netmap_list_leaves_room_for_ping_sources_and_prefers_public_addresses(void **state)
{
    (void)state;
    const char *text[] = {"10.0.0.1:1",    "10.0.0.2:1",      "10.0.0.3:1",      "10.0.0.4:1",
                          "10.0.0.5:1",    "[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1",
                          "203.0.113.1:1", "203.0.113.2:1",   "203.0.113.3:1"};
    ml_addr eps[11];
    for (int i = 0; i < 11; i++) {
        eps[i] = vec_addr(text[i]);
    }
    open_slot(&w, 0, 7, eps, 11);
    size_t held = 0;
    for (int i = 0; i < ML_PATH_CANDIDATES; i++) {
        held += w.peers[0].cand[i].from != 0;
    }
    assert_int_equal(held, ML_PATH_GIVEN_MAX);
    assert_true(has_candidate(&w, 0, &eps[8]) && has_candidate(&w, 0, &eps[9]));
    ping_us(&w, 0, "203.0.113.90:1", 1);
    route();
    drain(&w);
    assert_non_null(find_ping_to(&w, "203.0.113.90:1"));
}

static void D37_ipv6_candidates_have_a_bound_of_their_own_and_the_best_path_stays(void **state)
{
    (void)state;
    ml_addr eps[6];
    const char *text[] = {"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1",
                          "[2001:db8::4]:1", "203.0.113.1:1",   "203.0.113.2:1"};
    for (int i = 0; i < 6; i++) {
        eps[i] = vec_addr(text[i]);
    }
    ml_addr local[2] = {vec_addr("10.0.0.2:41641"), vec_addr("[2001:db8:1::2]:41641")};
    ml_path_set_local_addrs(&w.p, local, 2);
    open_slot(&w, 0, 7, eps, 6);
    assert_true(has_candidate(&w, 0, &eps[0]) && has_candidate(&w, 0, &eps[1]) && has_candidate(&w, 0, &eps[2]));
    assert_false(has_candidate(&w, 0, &eps[3]));
    assert_true(has_candidate(&w, 0, &eps[4]) && has_candidate(&w, 0, &eps[5]));
    make_direct(&w, text[1], ML_MSEC(4));
    for (int port = 2; port < 3000; port++) {
        char from[40];
        snprintf(from, sizeof from, "[2001:db8::9]:%d", port);
        w.now += 100;
        ping_us(&w, 0, from, (uint8_t)port);
        assert_int_equal(w.drop, ML_DROP_NONE);
        assert_int_equal(drain(&w), 1);
        ml_addr source = vec_addr(from);
        assert_true(has_candidate(&w, 0, &source)); /* the newest replaces the one before */
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(has_candidate(&w, 0, &eps[i]), i != 3);
    }
    struct ml_path_status st;
    ml_path_get_status(&w.p, w.now, 0, &st);
    assert_true(ml_addr_equal(&st.direct, &eps[1]));
}

static void a_candidate_pinged_long_ago_is_pinged_at_once_however_long_that_is(void **state)
{
    (void)state;
    /* Stamps are 16 bits of 16.4 ms: 1,073.7 s later they would look the same. */
    const ml_time gaps[] = {ML_MSEC(1073741), ML_MSEC(1074741), ML_MSEC(2 * 1073741), ML_SEC(3600), ML_SEC(40 * 86400)};
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        route();
        drain(&w);
        assert_non_null(find_ping_to(&w, EP));
        w.now += gaps[i];
        ml_path_on_time(&w.p, w.now);
        drain(&w);
    }
    route();
    drain(&w);
    assert_non_null(find_ping_to(&w, EP));
}

static void heartbeats_and_trust_go_on_over_days_and_nothing_is_trusted_again_later(void **state)
{
    (void)state;
    struct ml_path_status st;
    /* A path in use, at instants at which the epoch of its ticks is moved. */
    for (int day = 0; day < 3; day++) {
        ml_time due = w.p.epoch.start + ML_EPOCH_SPAN;
        w.now = due - ML_SEC(20);
        ml_path_on_time(&w.p, w.now);
        make_direct(&w, EP, ML_MSEC(1));
        unsigned beats = 0;
        for (int i = 0; i < 40; i++) {
            w.now += ML_SEC(1);
            ml_path_on_time(&w.p, w.now);
            assert_int_equal(route().derp_region, 0);
            drain(&w);
            const struct sent *ping = find_ping_to(&w, EP);
            if (ping) {
                beats++;
                w.now += ML_MSEC(1);
                answer(&w, ping, EP);
            }
            assert_true(ml_path_deadline(&w.p) > w.now && ml_path_deadline(&w.p) <= w.now + ML_SEC(3));
        }
        assert_in_range(beats, 13, 40);
        assert_true(w.p.epoch.start + ML_EPOCH_SPAN > due);
    }
    /* Left alone: at no time does an old stamp look like a new one. */
    for (int i = 0; i < 60 * 24 * 4; i++) {
        w.now += ML_SEC(60);
        ml_path_on_time(&w.p, w.now);
        drain(&w);
        ml_path_get_status(&w.p, w.now, 0, &st);
        assert_false(ml_addr_is_set(&st.direct) || st.is_active);
        assert_in_range(ml_path_idle_for(&w.p, w.now, 0), ML_SEC(60), ML_NEVER - 1);
        assert_int_equal(ml_path_deadline(&w.p), ML_NEVER);
    }
    w.now += ML_SEC(400 * 86400);
    assert_int_equal(route().derp_region, 7);
    drain(&w);
    assert_non_null(find_ping_to(&w, EP));
}

static void a_ping_source_is_forgotten_45_s_after_its_last_ping(void **state)
{
    (void)state;
    ping_us(&w, 0, "203.0.113.90:1", 1);
    advance(&w, ML_SEC(44));
    route();
    drain(&w);
    assert_non_null(find_ping_to(&w, "203.0.113.90:1"));
    advance(&w, ML_SEC(6));
    route();
    drain(&w);
    assert_null(find_ping_to(&w, "203.0.113.90:1"));
    assert_non_null(find_ping_to(&w, EP));
}

static void a_candidate_gone_from_the_netmap_takes_the_best_path_with_it(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(4));
    struct ml_path_info info = {.node = &w.r[0].node, .disco = &w.r[0].disco, .home_region = 7};
    ml_path_peer_update(&w.p, w.now, 0, &info);
    assert_false(ml_path_has_best(&w.peers[0]));
    assert_int_equal(route().derp_region, 7);
}

static void rebind_forgets_best_paths_keeps_candidates_and_wants_stun(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(4));
    ml_path_take_stun_wanted(&w.p);
    ml_path_rebind(&w.p);
    assert_true(ml_path_take_stun_wanted(&w.p));
    struct ml_path_route r = route();
    assert_false(ml_addr_is_set(&r.udp));
    assert_int_equal(r.derp_region, 7);
    drain(&w);
    assert_non_null(find_ping_to(&w, EP));                       /* at once, although it was pinged less than 5 s ago */
    assert_int_equal(count_type(&w, ML_DISCO_CALL_ME_MAYBE), 0); /* waits for STUN */
}

static void an_unreachable_address_is_not_used_until_it_answers(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(4));
    ml_addr ep = vec_addr(EP);
    ml_path_note_unreachable(&w.p, &ep);
    struct ml_path_route r = route();
    assert_false(ml_addr_is_set(&r.udp));
    assert_int_equal(r.derp_region, 7);
}

static void a_wireguard_only_peer_gets_udp_only_and_no_disco(void **state)
{
    (void)state;
    ml_addr eps[2] = {vec_addr("203.0.113.1:51820"), vec_addr("203.0.113.2:51820")};
    ml_disco_key none = {{0}};
    struct ml_path_info info = {
        .node = &w.r[1].node, .disco = &none, .endpoints = eps, .endpoint_count = 2, .is_wireguard_only = true};
    ml_path_peer_open(&w.p, w.now, 1, &info);
    struct ml_path_route r;
    assert_true(ml_path_route(&w.p, w.now, 1, &r));
    assert_true(ml_addr_equal(&r.udp, &eps[0]) && r.derp_region == 0);
    ml_path_note_rx(&w.p, w.now, 1, &eps[1]);
    assert_true(ml_path_route(&w.p, w.now, 1, &r));
    assert_true(ml_addr_equal(&r.udp, &eps[1]));
    assert_int_equal(drain(&w), 0);
    assert_int_equal(ml_path_deadline(&w.p), ML_NEVER);
}

static void heartbeats_find_room_when_discovery_fills_the_ping_table(void **state)
{
    (void)state;
    make_direct(&w, EP, ML_MSEC(4));
    for (uint16_t slot = 1; slot < WORLD_SLOTS; slot++) {
        open_slot(&w, slot, 7, NULL, 0);
    }
    /* Thirty-two discovery pings to another peer that never answers, all of them new. */
    for (int i = 0; i < ML_PATH_PINGS; i++) {
        w.p.pings[i] = (struct ml_path_ping){.state = 2, .slot = 1, .at = w.now + ML_SEC(3)};
    }
    advance(&w, ML_SEC(3));
    drain(&w);
    assert_non_null(find_ping_to(&w, EP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_packet_goes_over_derp_and_starts_discovery, setup),
        cmocka_unit_test_setup(D17_pings_are_124_bytes_and_carry_our_node_key, setup),
        cmocka_unit_test_setup(D28_trusted_path_is_udp_only_and_6_5_s_after_the_last_pong_both, setup),
        cmocka_unit_test_setup(a_silent_path_is_checked_after_a_second_and_left_when_the_ping_is_lost, setup),
        cmocka_unit_test_setup(a_peer_is_told_to_leave_a_path_that_fails_its_check, setup),
        cmocka_unit_test_setup(a_check_that_is_answered_tells_nobody_to_leave, setup),
        cmocka_unit_test_setup(what_comes_from_elsewhere_does_not_vouch_for_the_best_path, setup),
        cmocka_unit_test_setup(a_peer_that_sees_us_elsewhere_is_told_to_leave_the_old_address, setup),
        cmocka_unit_test_setup(a_call_me_maybe_that_takes_our_path_away_has_all_pinged_at_once, setup),
        cmocka_unit_test_setup(a_call_me_maybe_has_a_trusted_path_checked_and_withdraws_what_it_leaves_out, setup),
        cmocka_unit_test_setup(call_me_maybes_of_the_peer_do_not_put_off_our_own, setup),
        cmocka_unit_test_setup(an_unanswered_call_me_maybe_is_repeated_twice_in_the_first_two_rounds, setup),
        cmocka_unit_test_setup(a_call_me_maybe_is_not_repeated_once_there_is_a_path_or_nothing_is_sent, setup),
        cmocka_unit_test_setup(D29_active_peers_are_pinged_every_3_s_until_45_s_after_the_last_send, setup),
        cmocka_unit_test_setup(D30_a_candidate_is_not_discovery_pinged_more_often_than_every_5_s, setup),
        cmocka_unit_test_setup(D31_call_me_maybe_follows_a_ping_over_the_home_with_fresh_endpoints, setup),
        cmocka_unit_test_setup(D31_without_a_candidate_there_is_no_ping_and_no_call_me_maybe, setup),
        cmocka_unit_test_setup(D21_a_ping_alone_makes_no_path_and_only_an_own_fresh_pong_does, setup),
        cmocka_unit_test_setup(a_pong_credits_the_address_that_was_pinged_not_its_source, setup),
        cmocka_unit_test_setup(D25_a_changed_disco_key_keeps_the_path_and_pings_use_it, setup),
        cmocka_unit_test_setup(a_changed_home_region_is_used_at_once, setup),
        cmocka_unit_test_setup(D35_a_dead_path_falls_to_derp_within_6_5_s_and_returns, setup),
        cmocka_unit_test_setup(a_better_path_takes_over_and_a_slightly_better_one_does_not, setup),
        cmocka_unit_test_setup(slow_direct_path_is_compared_again_every_60_s_and_a_good_one_is_not, setup),
        cmocka_unit_test_setup(D37_a_flood_of_pings_from_many_ports_is_bounded_and_spares_the_best_path, setup),
        cmocka_unit_test_setup(a_long_netmap_list_leaves_room_for_ping_sources_and_prefers_public_addresses, setup),
        cmocka_unit_test_setup(a_ping_source_is_forgotten_45_s_after_its_last_ping, setup),
        cmocka_unit_test_setup(D37_ipv6_candidates_have_a_bound_of_their_own_and_the_best_path_stays, setup),
        cmocka_unit_test_setup(a_candidate_pinged_long_ago_is_pinged_at_once_however_long_that_is, setup),
        cmocka_unit_test_setup(heartbeats_and_trust_go_on_over_days_and_nothing_is_trusted_again_later, setup),
        cmocka_unit_test_setup(a_candidate_gone_from_the_netmap_takes_the_best_path_with_it, setup),
        cmocka_unit_test_setup(rebind_forgets_best_paths_keeps_candidates_and_wants_stun, setup),
        cmocka_unit_test_setup(an_unreachable_address_is_not_used_until_it_answers, setup),
        cmocka_unit_test_setup(a_wireguard_only_peer_gets_udp_only_and_no_disco, setup),
        cmocka_unit_test_setup(heartbeats_find_room_when_discovery_fills_the_ping_table, setup),
    };
    return ml_crypto_init() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
