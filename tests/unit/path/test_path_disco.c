/*
 * DISCO datagrams coming in. SPDX-License-Identifier: MIT
 */
#include "path/path_world.h"

#include <stdio.h>

#define EP "203.0.113.5:41641"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_init(&w, NULL);
    fresh_endpoints(&w);
    ml_addr ep = vec_addr(EP);
    open_slot(&w, 0, 7, &ep, 1);
    return 0;
}

static void D18_forged_boxes_are_dropped_and_strangers_are_told_by_their_key_alone(void **state)
{
    (void)state;
    struct ml_disco_msg m = {.type = ML_DISCO_PING};
    uint8_t plain[64], buf[256];
    struct ml_writer wr = ml_writer_of(plain, sizeof plain);
    ml_disco_write(&wr, &m);
    /* Boxed with a stranger's key, but with the peer's name on it. */
    struct ml_disco_shared k;
    assert_true(ml_disco_shared(&k, &w.us.disco, &w.r[2].priv));
    size_t n = ml_disco_seal(buf, sizeof buf, &k, &w.r[0].disco, &w.rng, plain, wr.len);
    struct ml_path_in in = {.from = vec_addr("203.0.113.9:9")};
    assert_false(ml_path_disco_open(&w.p, w.now, &in, buf, n, &w.drop));
    assert_int_equal(w.drop, ML_DROP_DISCO_BAD_BOX);
    assert_int_equal(drain(&w), 0);
    /* The sender's key is readable without any cryptography: the integrator drops those not in its netmap here. */
    ml_disco_key sender;
    n = ml_disco_seal(buf, sizeof buf, &k, &w.r[2].disco, &w.rng, plain, wr.len);
    assert_true(ml_path_disco_sender(buf, n, &sender));
    assert_true(ml_key_equal(&sender, &w.r[2].disco));
    assert_int_equal(w.p.derive_count, 0);
}

static void D19_udp_ping_is_answered_to_its_exact_source_and_a_repeated_one_once(void **state)
{
    (void)state;
    for (int r = 0; r <= 1; r++) { /* a peer with a slot, and one without */
        ping_us(&w, r, "203.0.113.9:1234", 5);
        assert_int_equal(drain(&w), 1);
        ml_addr from = vec_addr("203.0.113.9:1234");
        assert_int_equal(w.sent[0].remote, r);
        assert_int_equal(w.sent[0].msg.type, ML_DISCO_PONG);
        assert_true(ml_addr_equal(&w.sent[0].dst.udp, &from) && w.sent[0].dst.derp_region == 0);
        assert_true(ml_addr_equal(&w.sent[0].msg.src, &from));
        const uint8_t tx[12] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
        assert_memory_equal(w.sent[0].msg.tx, tx, 12);
        ping_us(&w, r, "203.0.113.9:1234", 5);
        assert_int_equal(w.drop, ML_DROP_DISCO_DUPLICATE);
        assert_int_equal(drain(&w), 0);
        ping_us(&w, r, "203.0.113.9:1235", 5); /* another address: another answer */
        assert_int_equal(drain(&w), 1);
        ping_us(&w, r, "203.0.113.9:1234", 6);
        assert_int_equal(drain(&w), 1);
    }
}

static void a_padded_ping_is_answered(void **state)
{
    (void)state;
    struct ml_disco_msg m = {.type = ML_DISCO_PING, .node_key = w.r[0].node, .padding = 200};
    deliver(&w, &w.r[0], EP, 0, NULL, &m);
    assert_int_equal(drain(&w), 1);
    assert_int_equal(w.sent[0].msg.type, ML_DISCO_PONG);
}

static void D20_ping_over_derp_is_answered_on_the_same_region_to_its_source_key(void **state)
{
    (void)state;
    struct ml_disco_msg m = {.type = ML_DISCO_PING, .tx = {4}, .node_key = w.r[1].node};
    deliver(&w, &w.r[1], NULL, 12, &w.r[1].node, &m);
    assert_int_equal(drain(&w), 1);
    ml_addr src = vec_addr("127.3.3.40:12");
    assert_int_equal(w.sent[0].msg.type, ML_DISCO_PONG);
    assert_int_equal(w.sent[0].dst.derp_region, 12);
    assert_memory_equal(w.sent[0].dst.node.b, w.r[1].node.b, 32);
    assert_false(ml_addr_is_set(&w.sent[0].dst.udp));
    assert_true(ml_addr_equal(&w.sent[0].msg.src, &src));
    deliver(&w, &w.r[1], NULL, 12, NULL, &m); /* a source that is in no netmap */
    assert_int_equal(w.drop, ML_DROP_DERP_UNKNOWN_PEER);
    assert_int_equal(drain(&w), 0);
}

static struct ml_disco_msg cmm_of(const char *const *addrs, size_t count)
{
    struct ml_disco_msg m = {.type = ML_DISCO_CALL_ME_MAYBE, .addr_count = (uint8_t)count};
    for (size_t i = 0; i < count; i++) {
        m.addrs[i] = vec_addr(addrs[i]);
    }
    return m;
}

static void D22_call_me_maybe_over_udp_or_with_another_keys_relay_source_is_ignored(void **state)
{
    (void)state;
    const char *eps[] = {"203.0.113.80:80"};
    struct ml_disco_msg m = cmm_of(eps, 1);
    deliver(&w, &w.r[0], EP, 0, NULL, &m);
    assert_int_equal(w.drop, ML_DROP_DISCO_WRONG_CARRIER);
    assert_int_equal(drain(&w), 0);
    open_slot(&w, 1, 7, NULL, 0);
    deliver(&w, &w.r[0], NULL, 7, &w.r[1].node, &m); /* relay says peer 1, the box is peer 0's */
    assert_int_equal(w.drop, ML_DROP_DISCO_UNKNOWN_KEY);
    assert_int_equal(drain(&w), 0);
    ml_addr ep = vec_addr(eps[0]);
    for (int s = 0; s < 2; s++) {
        assert_false(has_candidate(&w, (uint16_t)s, &ep));
    }
}

static void D23_call_me_maybe_pings_all_listed_addresses_at_once_and_sends_none_back(void **state)
{
    (void)state;
    struct ml_path_route r;
    ml_path_route(&w.p, w.now, 0, &r); /* EP was pinged just now */
    drain(&w);
    w.now += ML_MSEC(100);
    const char *eps[] = {"203.0.113.80:80", EP, "10.0.0.9:41641", "[2001:db8::9]:41641"};
    ml_addr locals[2] = {vec_addr("10.0.0.2:41641"), vec_addr("[2001:db8:1::1]:41641")};
    ml_path_set_local_addrs(&w.p, locals, 2);
    struct ml_disco_msg m = cmm_of(eps, 4);
    assert_int_equal(deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m), 0);
    assert_int_equal(drain(&w), 4);
    assert_int_equal(count_type(&w, ML_DISCO_PING), 4);
    for (int i = 0; i < 4; i++) {
        assert_non_null(find_ping_to(&w, eps[i]));
    }
}

static void D24_odd_call_me_maybes_are_harmless(void **state)
{
    (void)state;
    const uint8_t empty[2] = {ML_DISCO_CALL_ME_MAYBE, 0};
    uint8_t odd[2 + 19] = {ML_DISCO_CALL_ME_MAYBE, 0}, many[2 + 18 * 40] = {ML_DISCO_CALL_ME_MAYBE, 0};
    deliver_bytes(&w, &w.r[0], NULL, 7, &w.r[0].node, empty, sizeof empty);
    assert_int_equal(w.drop, ML_DROP_NONE);
    w.now += ML_SEC(2);
    deliver_bytes(&w, &w.r[0], NULL, 7, &w.r[0].node, odd, sizeof odd);
    assert_int_equal(w.drop, ML_DROP_NONE);
    drain(&w);
    /* IPv6 link-local addresses are skipped, and a list of forty is cut. */
    const char *eps[] = {"[fe80::1]:41641", "203.0.113.81:1"};
    struct ml_disco_msg m = cmm_of(eps, 2);
    w.now += ML_SEC(2);
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    drain(&w);
    assert_null(find_ping_to(&w, eps[0]));
    assert_non_null(find_ping_to(&w, eps[1]));
    for (int i = 0; i < 40; i++) {
        uint8_t *a = many + 2 + 18 * i;
        a[10] = a[11] = 0xff;
        a[12] = 203, a[14] = 113, a[15] = (uint8_t)i, a[17] = 7;
    }
    w.now += ML_SEC(2);
    deliver_bytes(&w, &w.r[0], NULL, 7, &w.r[0].node, many, sizeof many);
    assert_int_equal(w.drop, ML_DROP_NONE);
    assert_in_range(drain(&w), 1, ML_PATH_CANDIDATES);
}

static void each_call_me_maybe_replaces_the_list_of_the_one_before(void **state)
{
    (void)state;
    const char *first[] = {"203.0.113.80:80"}, *second[] = {"203.0.113.81:80"};
    struct ml_disco_msg m = cmm_of(first, 1);
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    drain(&w);
    w.now += ML_SEC(2);
    m = cmm_of(second, 1);
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    drain(&w);
    assert_null(find_ping_to(&w, first[0]));
    assert_non_null(find_ping_to(&w, second[0]));
    assert_non_null(find_ping_to(&w, EP)); /* the netmap holds this one */
}

static void call_me_maybes_cause_one_round_a_second(void **state)
{
    (void)state;
    const char *eps[] = {"203.0.113.80:80"};
    struct ml_disco_msg m = cmm_of(eps, 1);
    size_t rounds = 0;
    for (int i = 0; i < 100; i++) {
        deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
        rounds += drain(&w) > 0;
        w.now += ML_MSEC(30);
    }
    assert_int_equal(rounds, 3);
}

static void a_peers_call_me_maybes_do_not_keep_ours_from_going_out(void **state)
{
    (void)state;
    /* Each side pings when the other calls, so neither has a ping of its own due when it sends. */
    const char *eps[] = {"203.0.113.80:80"};
    struct ml_disco_msg m = cmm_of(eps, 1);
    struct ml_path_route r;
    size_t sent[2] = {0, 0};
    open_slot(&w, 1, 7, NULL, 0);
    for (int i = 0; i < 120; i++) {
        fresh_endpoints(&w);
        if (i % 24 == 0) {
            ping_us(&w, 1, eps[0], (uint8_t)(i + 1)); /* its pings come through, our pongs do not */
            drain(&w);
            deliver(&w, &w.r[1], NULL, 7, &w.r[1].node, &m);
        }
        ml_path_route(&w.p, w.now, 1, &r);
        drain(&w);
        sent[i >= 24] += count_type(&w, ML_DISCO_CALL_ME_MAYBE);
        w.now += ML_MSEC(200);
    }
    assert_int_equal(sent[0], 0); /* not as an answer to the first */
    assert_in_range(sent[1], 3, 4);
}

/* The peer calls; its own pings were dropped by our router. Ours go out, and are answered: now our router would take its pings, but
 * an official peer sends them again only when it is called. */
static void a_peer_whose_pings_do_not_come_through_is_called_with_the_next_packet(void **state)
{
    (void)state;
    const char *eps[] = {"203.0.113.80:80"};
    struct ml_disco_msg m = cmm_of(eps, 1);
    struct ml_path_route r;
    for (int is_trusted = 0; is_trusted < 2; is_trusted++) {
        w.now += ML_SEC(60);
        open_slot(&w, 1, 7, NULL, 0);
        fresh_endpoints(&w);
        deliver(&w, &w.r[1], NULL, 7, &w.r[1].node, &m);
        drain(&w);
        assert_int_equal(count_type(&w, ML_DISCO_CALL_ME_MAYBE), 0); /* D23 */
        if (is_trusted) {
            struct sent ping = *find_ping_to(&w, eps[0]);
            w.now += ML_MSEC(10);
            answer(&w, &ping, eps[0]);
        }
        size_t sent = 0;
        for (int i = 0; i < 40; i++) {
            assert_true(ml_path_route(&w.p, w.now, 1, &r));
            assert_true(ml_addr_is_set(&r.udp) == (is_trusted == 1));
            drain(&w);
            sent += count_type(&w, ML_DISCO_CALL_ME_MAYBE);
            assert_int_equal(sent, 1); /* with the first packet */
            w.now += ML_MSEC(10);
        }
    }
}

static void after_a_repeated_call_me_maybe_a_known_address_is_pinged_back_again(void **state)
{
    (void)state;
    struct ml_path_route r;
    struct ml_disco_msg m = {.type = ML_DISCO_PING, .node_key = w.r[0].node};
    size_t back[2] = {0, 0};
    for (int i = 0; i < 48; i++) { /* the peer pings every 100 ms; our pings and its pongs are lost */
        fresh_endpoints(&w);
        ml_path_route(&w.p, w.now, 0, &r);
        drain(&w);
        back[i >= 5] += count_type(&w, ML_DISCO_PING);
        m.tx[0]++;
        deliver(&w, &w.r[0], EP, 0, NULL, &m);
        drain(&w);
        back[i >= 5] += find_ping_to(&w, EP) != NULL;
        w.now += ML_MSEC(100);
        ml_path_on_time(&w.p, w.now);
    }
    assert_int_equal(back[0], 2); /* ours, and one for the first of the peer's */
    assert_in_range(back[1], 7, 11);
}

static void a_call_me_maybe_asks_for_a_slot_and_works_when_one_is_opened(void **state)
{
    (void)state;
    struct ml_path_in in = {.derp_region = 7, .msg = {.type = ML_DISCO_CALL_ME_MAYBE}};
    assert_true(ml_path_disco_wants_slot(&in));
    in.msg.type = ML_DISCO_PING;
    assert_false(ml_path_disco_wants_slot(&in));
    const char *eps[] = {"203.0.113.80:80"};
    struct ml_disco_msg m = cmm_of(eps, 1);
    deliver(&w, &w.r[1], NULL, 7, &w.r[1].node, &m);
    assert_int_equal(w.drop, ML_DROP_DERP_UNKNOWN_PEER);
    open_slot(&w, 1, 7, NULL, 0);
    assert_int_equal(deliver(&w, &w.r[1], NULL, 7, &w.r[1].node, &m), 1);
    assert_int_equal(drain(&w), 1);
}

static void a_peer_that_says_nothing_is_deaf_from_the_second_call_on(void **state)
{
    (void)state;
    struct ml_path_route r;
    unsigned calls = 0, deaf = 0, first = 0;
    for (int i = 0; i < 100; i++) {
        fresh_endpoints(&w);
        ml_path_route(&w.p, w.now, 0, &r);
        drain(&w);
        for (size_t k = 0; k < w.sent_count; k++) {
            bool is_call = w.sent[k].msg.type == ML_DISCO_CALL_ME_MAYBE;
            calls += is_call && !w.peers[0].is_cmm_repeat;
            deaf += w.sent[k].dst.deaf == 1;
            first = w.sent[k].dst.deaf && !first ? calls : first;
            assert_true(is_call || !w.sent[k].dst.deaf);
        }
        if (i == 50) { /* a word of it shows that it knows us */
            assert_in_range(calls, 5, 10);
            assert_int_equal(deaf, calls - 1);
            struct ml_disco_msg m = {.type = ML_DISCO_PING, .node_key = w.r[0].node};
            deliver(&w, &w.r[0], EP, 0, NULL, &m);
            calls = deaf = first = 0;
        }
        w.now += ML_MSEC(500);
        ml_path_on_time(&w.p, w.now);
    }
    assert_int_equal(first, 2);
    assert_int_equal(deaf, calls - 1);
}

static void addresses_measured_long_ago_leave_room_for_the_last_one_and_for_local_ones(void **state)
{
    (void)state;
    const char *text[] = {"203.0.113.90:7", "203.0.113.90:6", "203.0.113.90:5",    "203.0.113.90:4",
                          "203.0.113.90:3", "203.0.113.90:2", "192.168.1.4:41641", "[2001:db8::9]:41641"};
    ml_addr eps[8];
    for (int i = 0; i < 8; i++) {
        eps[i] = vec_addr(text[i]);
    }
    for (int is_netmap = 0; is_netmap < 2; is_netmap++) {
        open_slot(&w, 1, 7, eps + 2, 5);
        struct ml_disco_msg m = cmm_of(text + 1, 6);
        deliver(&w, &w.r[1], NULL, 7, &w.r[1].node, &m);
        for (int i = 1; i < 7; i++) {
            assert_true(has_candidate(&w, 1, &eps[i]));
        }
        if (is_netmap) {
            struct ml_path_info info = {.node = &w.r[1].node, .disco = &w.r[1].disco, .home_region = 7, .endpoints = eps};
            info.endpoint_count = 8;
            ml_path_peer_update(&w.p, w.now, 1, &info);
        } else {
            m = cmm_of(text, 8);
            deliver(&w, &w.r[1], NULL, 7, &w.r[1].node, &m);
        }
        for (int i = 0; i < 8; i++) {
            assert_int_equal(has_candidate(&w, 1, &eps[i]), i != 4 && i != 5); /* the oldest gave way */
        }
    }
    open_slot(&w, 1, 7, eps, 8); /* as a list heard for the first time */
    assert_true(has_candidate(&w, 1, &eps[0]) && has_candidate(&w, 1, &eps[6]) && has_candidate(&w, 1, &eps[7]));
}

static void D26_unknown_types_and_versions_change_nothing(void **state)
{
    (void)state;
    struct ml_path_peer before = w.peers[0];
    for (int type = 0; type < 256; type++) {
        if (type >= 1 && type <= 3) {
            continue; /* their versions: ping and pong do not look at it, a call-me-maybe is empty (D24) */
        }
        for (int version = 0; version < 2; version++) {
            uint8_t b[160] = {(uint8_t)type, (uint8_t)version};
            deliver_bytes(&w, &w.r[0], NULL, 7, &w.r[0].node, b, sizeof b);
            assert_true(w.drop == ML_DROP_UNKNOWN_TYPE || w.drop == ML_DROP_MALFORMED);
            deliver_bytes(&w, &w.r[0], EP, 0, NULL, b, sizeof b);
            assert_true(w.drop == ML_DROP_UNKNOWN_TYPE || w.drop == ML_DROP_MALFORMED);
        }
    }
    before.shared = w.peers[0].shared; /* the shared key is computed at the first datagram */
    before.has_shared = w.peers[0].has_shared;
    memcpy(before.shared_of, w.peers[0].shared_of, sizeof before.shared_of);
    assert_memory_equal(&before, &w.peers[0], sizeof before);
    assert_int_equal(drain(&w), 0);
}

static void two_peers_with_one_disco_key_both_learn_the_address(void **state)
{
    (void)state;
    w.r[1].disco = w.r[0].disco;
    w.r[1].priv = w.r[0].priv;
    open_slot(&w, 1, 7, NULL, 0);
    ping_us(&w, 0, "203.0.113.70:7", 1);
    assert_int_equal(drain(&w), 1);
    ml_addr from = vec_addr("203.0.113.70:7");
    for (int s = 0; s < 2; s++) {
        assert_true(has_candidate(&w, (uint16_t)s, &from));
    }
}

static void curve_operations_for_peers_without_a_slot_are_limited(void **state)
{
    (void)state;
    size_t limited = 0;
    struct remote many[40];
    for (int i = 0; i < 40; i++) {
        remote_init(&w, &many[i], (uint8_t)i);
        struct ml_disco_msg m = {.type = ML_DISCO_PING, .tx = {1}};
        deliver(&w, &many[i], "203.0.113.9:9", 0, NULL, &m);
        limited += w.drop == ML_DROP_DISCO_LIMITED;
        drain(&w);
    }
    assert_int_equal(limited, 20);
    for (int i = 0; i < 600; i++) { /* however many more come within the second */
        struct ml_disco_msg m = {.type = ML_DISCO_PING, .tx = {1}};
        deliver(&w, &many[20 + i % 20], "203.0.113.9:9", 0, NULL, &m);
        assert_int_equal(w.drop, ML_DROP_DISCO_LIMITED);
    }
    w.now += ML_SEC(1);
    struct ml_disco_msg m = {.type = ML_DISCO_PING, .tx = {2}};
    deliver(&w, &many[39], "203.0.113.9:9", 0, NULL, &m);
    assert_int_equal(w.drop, ML_DROP_NONE);
}

static void a_slot_opened_after_a_ping_takes_over_its_shared_key(void **state)
{
    (void)state;
    ping_us(&w, 1, "203.0.113.9:9", 1);
    const struct ml_path_key *k = &w.p.keys[0];
    assert_true(ml_key_equal(&k->disco, &w.r[1].disco));
    open_slot(&w, 1, 7, NULL, 0);
    assert_int_equal(drain(&w), 1);
    assert_true(w.peers[1].has_shared);
    assert_memory_equal(w.peers[1].shared.b, k->shared.b, 32);
}

static void without_disco_only_pings_over_derp_are_answered(void **state)
{
    (void)state;
    struct ml_path_cfg cfg = {.no_disco = true};
    world_init(&w, &cfg);
    ml_addr ep = vec_addr(EP);
    open_slot(&w, 0, 7, &ep, 1);
    ping_us(&w, 0, EP, 1);
    assert_int_equal(drain(&w), 0);
    struct ml_disco_msg m = {.type = ML_DISCO_PING};
    deliver(&w, &w.r[0], NULL, 7, &w.r[0].node, &m);
    assert_int_equal(drain(&w), 1);
    struct ml_path_route r;
    assert_true(ml_path_route(&w.p, w.now, 0, &r));
    assert_int_equal(drain(&w), 0);
}

static void a_ping_from_a_peer_we_send_to_is_pinged_back_at_once(void **state)
{
    (void)state;
    struct ml_path_route r;
    struct ml_path_status st;
    assert_true(ml_path_route(&w.p, w.now, 0, &r));
    drain(&w); /* our own ping to EP, lost in the peer's firewall */
    assert_non_null(find_ping_to(&w, EP));
    w.now += ML_MSEC(80);
    ping_us(&w, 0, EP, 1); /* the call-me-maybe had the peer ping us: its firewall is open now */
    drain(&w);
    assert_int_equal(count_type(&w, ML_DISCO_PONG), 1);
    assert_int_equal(count_type(&w, ML_DISCO_PING), 1);
    const struct sent *back = find_ping_to(&w, EP);
    w.now += ML_MSEC(20);
    answer(&w, back, EP);
    ml_path_get_status(&w.p, w.now, 0, &st);
    assert_true(ml_addr_is_set(&st.direct));
    /* From now on there is nothing to find out. */
    ping_us(&w, 0, EP, 2);
    drain(&w);
    assert_int_equal(count_type(&w, ML_DISCO_PING), 0);
}

static void D30_pings_back_keep_to_the_limit_of_discovery(void **state)
{
    (void)state;
    struct ml_path_route r;
    ml_path_route(&w.p, w.now, 0, &r);
    drain(&w);
    size_t back = 0;
    for (unsigned i = 1; i <= 40; i++) { /* 10 s of a peer that hears nothing of us */
        w.now += ML_MSEC(250);
        ping_us(&w, 0, EP, (uint8_t)i);
        drain(&w);
        back += count_type(&w, ML_DISCO_PING);
    }
    assert_in_range(back, 2, 3); /* one for the news, then one every 5 s */
}

static void an_idle_peers_ping_is_answered_and_nothing_more(void **state)
{
    (void)state;
    struct ml_path_route r;
    ping_us(&w, 0, EP, 1);
    assert_int_equal(drain(&w), 1);
    ml_path_route(&w.p, w.now, 0, &r);
    drain(&w);
    advance(&w, ML_SEC(46));
    drain(&w);
    advance(&w, ML_SEC(20));
    drain(&w);
    ping_us(&w, 0, EP, 2);
    drain(&w);
    assert_int_equal(count_type(&w, ML_DISCO_PONG), 1);
    assert_int_equal(count_type(&w, ML_DISCO_PING), 0);
}

static void D37_a_flood_of_pings_from_many_ports_leaves_other_peers_their_share(void **state)
{
    (void)state;
    struct ml_path_route r;
    char from[32];
    ml_path_route(&w.p, w.now, 0, &r);
    drain(&w);
    size_t back = 0;
    for (unsigned i = 0; i < 2000; i++) { /* within one second */
        w.now += 500;
        snprintf(from, sizeof from, "203.0.113.77:%u", 1024 + i);
        ping_us(&w, 0, from, (uint8_t)i);
        drain(&w);
        back += count_type(&w, ML_DISCO_PING);
        assert_true(count_type(&w, ML_DISCO_PONG) <= 1);
    }
    assert_in_range(back, 1, ML_PATH_PINGS_EACH + ML_PATH_PINGS_EACH);
    /* Another peer's discovery finds room. */
    ml_addr other = vec_addr("203.0.113.8:41641");
    open_slot(&w, 1, 7, &other, 1);
    ml_path_route(&w.p, w.now, 1, &r);
    drain(&w);
    assert_non_null(find_ping_to(&w, "203.0.113.8:41641"));
}

static void nothing_is_opened_before_there_are_keys(void **state)
{
    (void)state;
    w.p.has_keys = false;
    ping_us(&w, 0, EP, 1);
    assert_int_equal(w.drop, ML_DROP_NOT_READY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(D18_forged_boxes_are_dropped_and_strangers_are_told_by_their_key_alone, setup),
        cmocka_unit_test_setup(D19_udp_ping_is_answered_to_its_exact_source_and_a_repeated_one_once, setup),
        cmocka_unit_test_setup(a_padded_ping_is_answered, setup),
        cmocka_unit_test_setup(D20_ping_over_derp_is_answered_on_the_same_region_to_its_source_key, setup),
        cmocka_unit_test_setup(D22_call_me_maybe_over_udp_or_with_another_keys_relay_source_is_ignored, setup),
        cmocka_unit_test_setup(D23_call_me_maybe_pings_all_listed_addresses_at_once_and_sends_none_back, setup),
        cmocka_unit_test_setup(D24_odd_call_me_maybes_are_harmless, setup),
        cmocka_unit_test_setup(each_call_me_maybe_replaces_the_list_of_the_one_before, setup),
        cmocka_unit_test_setup(call_me_maybes_cause_one_round_a_second, setup),
        cmocka_unit_test_setup(a_peers_call_me_maybes_do_not_keep_ours_from_going_out, setup),
        cmocka_unit_test_setup(a_peer_whose_pings_do_not_come_through_is_called_with_the_next_packet, setup),
        cmocka_unit_test_setup(after_a_repeated_call_me_maybe_a_known_address_is_pinged_back_again, setup),
        cmocka_unit_test_setup(a_call_me_maybe_asks_for_a_slot_and_works_when_one_is_opened, setup),
        cmocka_unit_test_setup(D26_unknown_types_and_versions_change_nothing, setup),
        cmocka_unit_test_setup(a_peer_that_says_nothing_is_deaf_from_the_second_call_on, setup),
        cmocka_unit_test_setup(addresses_measured_long_ago_leave_room_for_the_last_one_and_for_local_ones, setup),
        cmocka_unit_test_setup(two_peers_with_one_disco_key_both_learn_the_address, setup),
        cmocka_unit_test_setup(curve_operations_for_peers_without_a_slot_are_limited, setup),
        cmocka_unit_test_setup(a_slot_opened_after_a_ping_takes_over_its_shared_key, setup),
        cmocka_unit_test_setup(without_disco_only_pings_over_derp_are_answered, setup),
        cmocka_unit_test_setup(a_ping_from_a_peer_we_send_to_is_pinged_back_at_once, setup),
        cmocka_unit_test_setup(D30_pings_back_keep_to_the_limit_of_discovery, setup),
        cmocka_unit_test_setup(an_idle_peers_ping_is_answered_and_nothing_more, setup),
        cmocka_unit_test_setup(D37_a_flood_of_pings_from_many_ports_leaves_other_peers_their_share, setup),
        cmocka_unit_test_setup(nothing_is_opened_before_there_are_keys, setup),
    };
    return ml_crypto_init() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
