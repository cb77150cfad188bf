/*
 * The WireGuard device against a second one, in virtual time: the timers and limits of dataplane.md 1.3.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg_pair.h"

static struct pair p;

static int setup(void **state)
{
    (void)state;
    pair_init(&p);
    return 0;
}

static void D2_messages_have_exact_lengths_and_zero_reserved_bytes(void **state)
{
    (void)state;
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt init = must_take(&p.a, p.now, 148);
    assert_memory_equal(init.b, "\x01\0\0\0", 4);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    assert_int_equal(resp.len, 92);
    assert_memory_equal(resp.b, "\x02\0\0\0", 4);
    assert_memory_equal(resp.b + 8, init.b + 4, 4);
    (void)give(&p.a, p.now, &p.b, &resp);
    struct pkt keep = must_take(&p.a, p.now, 32);
    assert_memory_equal(keep.b, "\x04\0\0\0", 4);
    assert_memory_equal(keep.b + 4, resp.b + 4, 4);
    assert_memory_equal(keep.b + 8, "\0\0\0\0\0\0\0\0", 8);
    struct pkt data = must_seal(&p.a, p.now, 40);
    assert_memory_equal(data.b + 8, "\x01\0\0\0\0\0\0\0", 8);

    for (int i = 1; i < 4; i++) {
        struct pkt bad = data;
        bad.b[i] = 1;
        struct ml_wg_in res = give(&p.b, p.now, &p.a, &bad);
        assert_int_equal(res.type, ML_WG_IN_DROP);
        assert_int_equal(res.drop, ML_DROP_UNKNOWN_TYPE);
        bad = init;
        bad.b[i] = 0x80;
        assert_int_equal(give(&p.b, p.now, &p.a, &bad).drop, ML_DROP_UNKNOWN_TYPE);
    }
    /* The 64 bytes of a cookie reply are shown by the test of D4. */
    assert_int_equal(give(&p.b, p.now, &p.a, &data).type, ML_WG_IN_DATA);
}

static void D3_a_wrong_mac1_is_dropped_without_reply(void **state)
{
    (void)state;
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt init = must_take(&p.a, p.now, 148);
    for (int bit = 0; bit < 3; bit++) {
        struct pkt bad = init;
        bad.b[bit == 0 ? 116 : bit == 1 ? 50 : 131] ^= 1;
        struct ml_wg_in res = give(&p.b, p.now, &p.a, &bad);
        assert_int_equal(res.type, ML_WG_IN_DROP);
        assert_int_equal(res.drop, ML_DROP_WG_BAD_MAC1);
        assert_false(p.b.wg.pending.is_open);
    }
    /* Not even as load: mac1 comes before everything. */
    assert_int_equal(p.b.wg.checker.window_count, 0);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    resp.b[60] ^= 1;
    assert_int_equal(give(&p.a, p.now, &p.b, &resp).drop, ML_DROP_WG_BAD_MAC1);
    assert_silent(&p.b, p.now);
}

/* Makes `s` be under load, by repeated initiations of a stranger who knows its key. */
static void put_under_load(struct side *s, const struct pkt *initiation, const struct side *from)
{
    for (uint32_t i = 0; i < s->wg.checker.load_per_sec; i++) {
        assert_int_equal(give(s, p.now, from, initiation).type, ML_WG_IN_INITIATION);
    }
}

static void D4_under_load_a_cookie_is_sent_used_and_forgotten_after_120_s(void **state)
{
    (void)state;
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt init = must_take(&p.a, p.now, 148);
    assert_memory_equal(init.b + 132, (uint8_t[16]){0}, 16);
    put_under_load(&p.b, &init, &p.a);
    struct ml_wg_in res = give(&p.b, p.now, &p.a, &init);
    assert_int_equal(res.type, ML_WG_IN_REPLY);
    assert_int_equal(res.len, 64);
    struct pkt cookie = {.len = 64};
    memcpy(cookie.b, res.data, 64);
    assert_memory_equal(cookie.b, "\x03\0\0\0", 4);
    assert_memory_equal(cookie.b + 4, init.b + 4, 4);
    assert_int_equal(give(&p.a, p.now, &p.b, &cookie).type, ML_WG_IN_COOKIE);
    ml_time got_at = p.now;

    /* The retry carries mac2, and passes while the load lasts. */
    p.now = ml_tick_time(&p.a.wg.common.epoch, p.a.peers[SLOT].timers.retransmit_at);
    ml_wg_on_time(&p.a.wg, p.now);
    struct pkt retry = must_take(&p.a, p.now, 148);
    assert_memory_not_equal(retry.b + 132, (uint8_t[16]){0}, 16);
    put_under_load(&p.b, &retry, &p.a);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &retry);
    assert_int_equal(give(&p.a, p.now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
    (void)must_take(&p.a, p.now, 32);

    /* From another address the same cookie is worth nothing; the load still lasts. */
    struct ml_wg_source elsewhere = p.a.addr;
    elsewhere.addr.port++;
    ml_wg_on_packet(&p.b.wg, p.now, &elsewhere, retry.b, retry.len, &res);
    assert_int_equal(res.type, ML_WG_IN_REPLY);

    p.now = got_at + ML_SEC(120);
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    assert_memory_not_equal(must_take(&p.a, p.now, 148).b + 132, (uint8_t[16]){0}, 16);
    p.now += ML_SEC(6);
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    assert_memory_equal(must_take(&p.a, p.now, 148).b + 132, (uint8_t[16]){0}, 16);
}

static void D4_a_cookie_that_answers_our_response_is_used_in_the_next_one(void **state)
{
    (void)state;
    ml_wg_peer_connect(&p.b.wg, p.now, SLOT);
    struct pkt other = must_take(&p.b, p.now, 148);
    put_under_load(&p.a, &other, &p.b);
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt init = must_take(&p.a, p.now, 148);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    assert_memory_equal(resp.b + 76, (uint8_t[16]){0}, 16);
    struct ml_wg_in res = give(&p.a, p.now, &p.b, &resp);
    assert_int_equal(res.type, ML_WG_IN_REPLY);
    struct pkt cookie = {.len = res.len};
    memcpy(cookie.b, res.data, res.len);
    assert_int_equal(give(&p.b, p.now, &p.a, &cookie).type, ML_WG_IN_COOKIE);
    p.now = ml_tick_time(&p.a.wg.common.epoch, p.a.peers[SLOT].timers.retransmit_at);
    ml_wg_on_time(&p.a.wg, p.now);
    init = must_take(&p.a, p.now, 148);
    put_under_load(&p.a, &other, &p.b);
    resp = must_answer(&p.b, p.now, &p.a, &init);
    assert_memory_not_equal(resp.b + 76, (uint8_t[16]){0}, 16);
    assert_int_equal(give(&p.a, p.now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
}

static void of_more_cookies_than_are_kept_the_oldest_gives_way(void **state)
{
    (void)state;
    struct pkt init = {.len = 0}, cookie = {.len = 64};
    for (uint16_t i = 0; i < ML_CFG_WG_COOKIES; i++) { /* as if other slots had them all */
        p.a.wg.cookies[i] = (struct ml_wg_cookie){.is_held = true, .slot = (uint16_t)(100 + i), .at = p.now + i % 3 - 1};
    }
    p.a.wg.cookies[4].at = p.now - 5;
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    init = must_take(&p.a, p.now, 148);
    put_under_load(&p.b, &init, &p.a);
    struct ml_wg_in res = give(&p.b, p.now, &p.a, &init);
    memcpy(cookie.b, res.data, 64);
    cookie.b[60] ^= 1; /* forged: costs nobody anything */
    assert_int_equal(give(&p.a, p.now, &p.b, &cookie).drop, ML_DROP_WG_BAD_AUTH);
    assert_int_equal(p.a.wg.cookies[4].slot, 104);
    cookie.b[60] ^= 1;
    assert_int_equal(give(&p.a, p.now, &p.b, &cookie).type, ML_WG_IN_COOKIE);
    for (uint16_t i = 0; i < ML_CFG_WG_COOKIES; i++) {
        assert_int_equal(p.a.wg.cookies[i].slot, i == 4 ? SLOT : 100 + i);
    }
    ml_wg_peer_close(&p.a.wg, SLOT);
    assert_false(p.a.wg.cookies[4].is_held);
}

/* Two others are answered, which is all the room for keypairs that b has. The response to the second. */
static struct pkt take_all_room(struct side others[2])
{
    struct pkt resp = {.len = 0};
    for (uint16_t i = 0; i < 2; i++) {
        side_init(&others[i], p.now, 7u + i, NULL);
        assert_true(ml_wg_peer_open(&others[i].wg, SLOT, &p.b.pub));
        assert_true(ml_wg_peer_open(&p.b.wg, (uint16_t)(2 * i), &others[i].pub));
        ml_wg_peer_connect(&others[i].wg, p.now, SLOT);
        struct pkt init = must_take(&others[i], p.now, 148);
        struct ml_wg_in res = give(&p.b, p.now, &others[i], &init);
        assert_int_equal(ml_wg_accept(&p.b.wg, p.now, (uint16_t)(2 * i), &res), ML_DROP_NONE);
        resp.len = res.len;
        memcpy(resp.b, res.data, res.len);
    }
    return resp;
}

static void an_initiation_that_finds_no_room_among_fresh_ones_is_refused_and_its_repetition_answered(void **state)
{
    (void)state;
    static struct side others[2];
    (void)take_all_room(others); /* two that never come back for the response */
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt init = must_take(&p.a, p.now, 148);
    struct ml_wg_in res = give(&p.b, p.now, &p.a, &init);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now, SLOT, &res), ML_DROP_NO_MEMORY);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now + ML_MSEC(100), SLOT, &res), ML_DROP_NO_MEMORY);
    assert_null(res.data);
    p.now = ml_tick_time(&p.a.wg.common.epoch, p.a.peers[SLOT].timers.retransmit_at);
    ml_wg_on_time(&p.a.wg, p.now);
    init = must_take(&p.a, p.now, 148);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    assert_int_equal(give(&p.a, p.now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
}

static void an_initiation_that_found_no_room_is_answered_when_a_first_packet_has_made_some(void **state)
{
    (void)state;
    static struct side others[2];
    struct pkt resp = take_all_room(others);
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt init = must_take(&p.a, p.now, 148);
    struct ml_wg_in res;
    ml_wg_on_handshake(&p.b.wg, p.now, init.b, init.len, &res);
    assert_int_equal(res.type, ML_WG_IN_INITIATION);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now, SLOT, &res), ML_DROP_NO_MEMORY);
    assert_int_equal(give(&others[1], p.now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
    struct pkt first = must_take(&others[1], p.now, 32);
    assert_int_equal(give(&p.b, p.now, &others[1], &first).type, ML_WG_IN_KEEPALIVE);
    ml_wg_on_handshake(&p.b.wg, p.now, init.b, init.len, &res);
    assert_int_equal(res.type, ML_WG_IN_INITIATION);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now, SLOT, &res), ML_DROP_NONE);
    resp.len = res.len;
    memcpy(resp.b, res.data, res.len);
    assert_int_equal(give(&p.a, p.now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
}

static void under_load_one_address_gets_bursts_of_five_and_twenty_a_second(void **state)
{
    (void)state;
    struct ml_wg_cookie_checker *c = &p.b.wg.checker;
    int passed = 0;
    for (int i = 0; i < 10; i++) {
        passed += ml_wg_checker_allow(c, p.now, &p.a.addr);
    }
    assert_int_equal(passed, 5);
    for (int i = 0; i < 40; i++) {
        p.now += ML_MSEC(25);
        passed += ml_wg_checker_allow(c, p.now, &p.a.addr);
    }
    assert_in_range(passed, 24, 26);
}

static void the_load_table_refuses_newcomers_when_full_and_forgets_after_a_second(void **state)
{
    (void)state;
    struct ml_wg_cookie_checker *c = &p.b.wg.checker;
    struct ml_wg_source s = p.a.addr;
    for (int i = 0; i < ML_CFG_WG_RATE_SLOTS; i++) {
        s.addr.ip.b[14] = (uint8_t)(i + 1);
        assert_true(ml_wg_checker_allow(c, p.now, &s));
    }
    s.addr.ip.b[14] = 200;
    assert_false(ml_wg_checker_allow(c, p.now, &s));
    p.now += ML_SEC(1) + 1;
    assert_true(ml_wg_checker_allow(c, p.now, &s));
}

static void D5_stamps_rise_strictly_also_across_a_power_cycle_with_the_clock_reset(void **state)
{
    (void)state;
    uint8_t mark[12], last[12], stamp[12];
    struct ml_wg_tai64n t;
    ml_wg_tai_init(&t, 0, NULL, 0);
    assert_false(ml_wg_tai_is_ready(&t, 0));
    memset(last, 0, sizeof last);
    for (int boot = 0; boot < 5; boot++) {
        /* Within the first second after each boot, clock at zero again. */
        ml_time now = ML_MSEC(200);
        if (boot > 0) {
            ml_wg_tai_init(&t, 0, mark, 0);
        }
        assert_true(ml_wg_tai_poll_mark(&t, now, mark));
        ml_wg_tai_stored(&t, true);
        for (int i = 0; i < 200; i++) {
            assert_true(ml_wg_tai_is_ready(&t, now));
            ml_wg_tai_stamp(&t, now, stamp);
            assert_true(memcmp(stamp, last, 12) > 0);
            assert_int_equal(ml_get_be32(stamp + 8) & 0xffffff, 0);
            assert_true(ml_get_be32(stamp + 8) < 1000000000);
            memcpy(last, stamp, 12);
            now += i % 3 ? ML_MSEC(4) : 0;
        }
    }
}

static void D5_a_rebooted_device_with_its_clock_at_zero_is_answered_within_a_second(void **state)
{
    (void)state;
    uint8_t mark[12];
    /* A real clock was known before, so the stamps were far ahead of what a reset clock shows. */
    ml_wg_set_wall(&p.a.wg, p.now, UINT64_C(1790000000000));
    assert_true(ml_wg_poll_clock(&p.a.wg, p.now, mark));
    ml_wg_clock_stored(&p.a.wg, true);
    handshake(&p.a, &p.b, p.now);

    ml_private_key priv = p.a.priv;
    ml_node_key pub = p.a.pub;
    p.now += ML_SEC(6); /* on B's clock; A's starts again */
    ml_time a_now = ML_MSEC(300);
    side_init(&p.a, a_now, 77, mark);
    p.a.priv = priv;
    p.a.pub = pub;
    ml_wg_set_key(&p.a.wg, &priv);
    assert_true(ml_wg_peer_open(&p.a.wg, SLOT, &p.b.pub));
    ml_wg_peer_connect(&p.a.wg, a_now, SLOT);
    struct pkt init = must_take(&p.a, a_now, 148);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    assert_int_equal(give(&p.a, a_now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
}

static void D6_an_initiation_with_an_old_or_equal_stamp_or_within_20_ms_is_ignored(void **state)
{
    (void)state;
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt first = must_take(&p.a, p.now, 148);
    ml_time first_at = p.now;
    p.now += ML_SEC(6);
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt second = must_take(&p.a, p.now, 148);
    p.now += ML_SEC(6);
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt third = must_take(&p.a, p.now, 148);
    assert_true(p.now > first_at);

    (void)must_answer(&p.b, p.now, &p.a, &second);
    struct ml_wg_in res = give(&p.b, p.now + ML_MSEC(10), &p.a, &third);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now + ML_MSEC(10), SLOT, &res), ML_DROP_WG_FLOOD);
    assert_int_equal(res.len, 0);
    p.now += ML_SEC(1);
    res = give(&p.b, p.now, &p.a, &second);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now, SLOT, &res), ML_DROP_WG_OLD_TIMESTAMP);
    res = give(&p.b, p.now, &p.a, &first);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now, SLOT, &res), ML_DROP_WG_OLD_TIMESTAMP);
    (void)must_answer(&p.b, p.now, &p.a, &third);
}

static void D7_the_responder_waits_for_a_packet_and_the_initiator_sends_one_at_once(void **state)
{
    (void)state;
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt init = must_take(&p.a, p.now, 148);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    /* The responder has keys, but its packets wait. */
    must_stage(&p.b, p.now, 60);
    assert_silent(&p.b, p.now);
    p.now += ML_MSEC(100);
    assert_int_equal(give(&p.a, p.now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
    struct pkt keep = must_take(&p.a, p.now, 32);
    assert_true(give(&p.b, p.now, &p.a, &keep).first_on_session);
    assert_int_equal(events(&p.b), 1u << ML_WG_EV_ESTABLISHED);
    struct pkt data = must_take(&p.b, p.now, 32 + 64);
    struct ml_wg_in res = give(&p.a, p.now, &p.b, &data);
    assert_int_equal(res.type, ML_WG_IN_DATA);
    assert_int_equal(res.len, 60);
}

static void staged_data_takes_the_place_of_the_first_keepalive(void **state)
{
    (void)state;
    must_stage(&p.a, p.now, 100);
    struct pkt init = must_take(&p.a, p.now, 148);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    (void)give(&p.a, p.now, &p.b, &resp);
    struct pkt data = must_take(&p.a, p.now, 32 + 112);
    assert_silent(&p.a, p.now);
    assert_int_equal(give(&p.b, p.now, &p.a, &data).len, 100);
}

static void a_packet_sealed_on_the_established_event_goes_before_staged_data(void **state)
{
    (void)state;
    uint16_t slot;
    must_stage(&p.a, p.now, 100);
    struct pkt init = must_take(&p.a, p.now, 148);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    (void)give(&p.a, p.now, &p.b, &resp);
    assert_int_equal(ml_wg_poll_event(&p.a.wg, &slot), ML_WG_EV_ESTABLISHED);
    assert_int_equal(slot, SLOT);
    struct pkt priority = must_seal(&p.a, p.now, 53);
    struct pkt data = must_take(&p.a, p.now, 32 + 112);
    assert_int_equal(ml_get_le64(priority.b + 8), 0);
    assert_int_equal(ml_get_le64(data.b + 8), 1);
}

static void D8_replayed_and_duplicated_packets_are_delivered_once(void **state)
{
    (void)state;
    static struct pkt all[300];
    handshake(&p.a, &p.b, p.now);
    for (int i = 0; i < 300; i++) {
        all[i] = must_seal(&p.a, p.now, 40);
    }
    int delivered = 0;
    for (int i = 0; i < 300; i += 2) { /* one path, then the other, late and out of order */
        delivered += give(&p.b, p.now, &p.a, &all[i]).type == ML_WG_IN_DATA;
    }
    for (int i = 299; i >= 0; i--) {
        struct ml_wg_in res = give(&p.b, p.now, &p.a, &all[i]);
        delivered += res.type == ML_WG_IN_DATA;
        assert_true(res.type == ML_WG_IN_DATA || res.drop == ML_DROP_WG_REPLAY);
    }
    assert_int_equal(delivered, 300);
    assert_int_equal(give(&p.b, p.now, &p.a, &all[7]).drop, ML_DROP_WG_REPLAY);
}

static void a_forged_packet_does_not_move_the_window(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    struct pkt good = must_seal(&p.a, p.now, 40);
    struct pkt forged = good;
    ml_put_le64(forged.b + 8, 100000);
    assert_int_equal(give(&p.b, p.now, &p.a, &forged).drop, ML_DROP_WG_BAD_AUTH);
    forged = good;
    forged.b[20] ^= 1;
    assert_int_equal(give(&p.b, p.now, &p.a, &forged).drop, ML_DROP_WG_BAD_AUTH);
    assert_int_equal(give(&p.b, p.now, &p.a, &good).type, ML_WG_IN_DATA);
}

/* Exchanges a packet each way, so that no other timer interferes. */
static void chat(ml_time now)
{
    struct pkt x = must_seal(&p.a, now, 40);
    (void)give(&p.b, now, &p.a, &x);
    x = must_seal(&p.b, now, 40);
    (void)give(&p.a, now, &p.b, &x);
}

static void D9_the_initiator_rekeys_on_send_after_120_s_and_the_responder_never_by_age(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    ml_time start = p.now;
    for (int t = 5; t <= 120; t += 5) {
        chat(start + ML_SEC(t));
        assert_silent(&p.a, start + ML_SEC(t));
        assert_silent(&p.b, start + ML_SEC(t));
    }
    p.now = start + ML_SEC(121);
    struct pkt x = must_seal(&p.b, p.now, 40);
    (void)give(&p.a, p.now, &p.b, &x);
    assert_silent(&p.b, p.now);
    assert_silent(&p.a, p.now);
    x = must_seal(&p.a, p.now, 40);
    (void)give(&p.b, p.now, &p.a, &x);
    (void)must_take(&p.a, p.now, 148);
    assert_silent(&p.b, p.now);
}

static void D9_the_initiator_rekeys_on_receive_after_165_s_once(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    ml_time start = p.now;
    p.now = start + ML_SEC(165);
    struct pkt x = must_seal(&p.b, p.now, 40);
    (void)give(&p.a, p.now, &p.b, &x);
    assert_silent(&p.a, p.now);
    p.now = start + ML_SEC(165) + ML_MSEC(1);
    x = must_seal(&p.b, p.now, 40);
    (void)give(&p.a, p.now, &p.b, &x);
    (void)must_take(&p.a, p.now, 148);
    assert_true(p.a.peers[SLOT].timers.has_refreshed);
    /* Received by the responder of a session as old: nothing. */
    x = must_seal(&p.a, p.now, 40);
    /* The send itself asks again, within 5 s of the last initiation: refused. */
    (void)give(&p.b, p.now, &p.a, &x);
    assert_silent(&p.b, p.now);
    assert_silent(&p.a, p.now);
}

static void D9_nothing_is_sent_or_accepted_on_a_keypair_older_than_180_s(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    ml_time start = p.now;
    struct pkt in_time = must_seal(&p.a, start + ML_SEC(179), 40);
    struct pkt late = must_seal(&p.a, start + ML_SEC(179), 40);
    assert_int_equal(give(&p.b, start + ML_SEC(180), &p.a, &in_time).type, ML_WG_IN_DATA);
    assert_int_equal(give(&p.b, start + ML_SEC(180) + 1, &p.a, &late).drop, ML_DROP_WG_EXPIRED);
    assert_true(ml_wg_peer_has_session(&p.b.wg, start + ML_SEC(180) - 1, SLOT));
    assert_false(ml_wg_peer_has_session(&p.b.wg, start + ML_SEC(180), SLOT));
    must_stage(&p.b, start + ML_SEC(180), 40);
    (void)must_take(&p.b, start + ML_SEC(180), 148);
}

static void packets_in_flight_at_a_rekey_still_arrive_once_on_the_previous_keypair(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    struct pkt seen = must_seal(&p.a, p.now, 40);
    struct pkt flying = must_seal(&p.a, p.now, 44);
    assert_int_equal(give(&p.b, p.now, &p.a, &seen).type, ML_WG_IN_DATA);
    p.now += ML_SEC(6);
    handshake(&p.a, &p.b, p.now);
    assert_int_equal(give(&p.b, p.now, &p.a, &flying).type, ML_WG_IN_DATA);
    assert_int_equal(give(&p.b, p.now, &p.a, &flying).drop, ML_DROP_WG_REPLAY);
    assert_int_equal(give(&p.b, p.now, &p.a, &seen).drop, ML_DROP_WG_REPLAY);
    /* The other way round the responder's old packets still open too. */
    p.now += ML_SEC(6);
    struct pkt old = must_seal(&p.b, p.now, 48);
    handshake(&p.a, &p.b, p.now);
    assert_int_equal(give(&p.a, p.now, &p.b, &old).type, ML_WG_IN_DATA);
    /* Two rekeys on, that keypair is gone. */
    struct pkt older = must_seal(&p.b, p.now, 48);
    p.now += ML_SEC(6);
    handshake(&p.a, &p.b, p.now);
    p.now += ML_SEC(6);
    handshake(&p.a, &p.b, p.now);
    assert_int_equal(give(&p.a, p.now, &p.b, &older).drop, ML_DROP_WG_UNKNOWN_INDEX);
}

static void D10_initiation_retries_are_5_s_to_5_34_s_apart_and_stop_with_the_waiting_packets_freed(void **state)
{
    (void)state;
    ml_time first = p.now, last = p.now;
    int sent = 1;
    must_stage(&p.a, p.now, 40);
    must_stage(&p.a, p.now, 40);
    (void)must_take(&p.a, p.now, 148);
    while ((events(&p.a) & (1u << ML_WG_EV_GAVE_UP)) == 0) {
        assert_true(ml_wg_deadline(&p.a.wg) > p.now);
        p.now = ml_wg_deadline(&p.a.wg);
        assert_in_range(p.now - last, ML_MSEC(5000), ML_MSEC(5333));
        ml_wg_on_time(&p.a.wg, p.now);
        struct pkt x;
        if (take(&p.a, p.now, &x)) {
            assert_int_equal(x.len, 148);
            last = p.now;
            sent++;
        }
    }
    assert_int_equal(sent, 20);
    assert_in_range(last - first, ML_SEC(90), ML_SEC(102));
    assert_int_equal(p.a.wg.counters.gave_up_dropped, 2);
    assert_int_equal(p.a.peers[SLOT].stage_count, 0);
    assert_silent(&p.a, p.now + ML_SEC(60));
}

static void D11_one_keepalive_follows_10_s_after_received_data_when_nothing_was_sent(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    ml_time start = p.now;
    for (int t = 0; t < 9; t += 4) {
        struct pkt x = must_seal(&p.a, start + ML_SEC(t), 40);
        (void)give(&p.b, start + ML_SEC(t), &p.a, &x);
    }
    ml_wg_on_time(&p.b.wg, start + ML_SEC(10) - 1);
    assert_silent(&p.b, start + ML_SEC(10) - 1);
    p.now = start + ML_SEC(10);
    ml_wg_on_time(&p.b.wg, p.now);
    struct pkt keep = must_take(&p.b, p.now, 32);
    assert_silent(&p.b, p.now);
    assert_int_equal(give(&p.a, p.now, &p.b, &keep).type, ML_WG_IN_KEEPALIVE);
    for (int t = 11; t < 40; t++) {
        ml_wg_on_time(&p.b.wg, start + ML_SEC(t));
        assert_silent(&p.b, start + ML_SEC(t));
        ml_wg_on_time(&p.a.wg, start + ML_SEC(t));
        assert_silent(&p.a, start + ML_SEC(t)); /* the keepalive is an answer, and asks for none */
    }
}

static void D11_a_handshake_follows_15_s_after_sent_data_when_nothing_was_received(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    p.now += ML_SEC(7);
    ml_time start = p.now;
    (void)must_seal(&p.a, p.now, 40);
    (void)must_seal(&p.a, p.now + ML_SEC(3), 40);
    while (ml_wg_deadline(&p.a.wg) < start + ML_SEC(15)) {
        ml_wg_on_time(&p.a.wg, ml_wg_deadline(&p.a.wg));
        assert_silent(&p.a, start + ML_SEC(15) - 1);
    }
    p.now = ml_wg_deadline(&p.a.wg);
    assert_in_range(p.now - start, ML_MSEC(15000), ML_MSEC(15333));
    ml_wg_on_time(&p.a.wg, p.now);
    (void)must_take(&p.a, p.now, 148);
}

static void sent_data_that_was_answered_starts_no_handshake(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    chat(p.now);
    p.now += ML_SEC(16);
    ml_wg_on_time(&p.a.wg, p.now);
    struct pkt keep = must_take(&p.a, p.now, 32);
    assert_int_equal(keep.len, 32);
    assert_silent(&p.a, p.now);
}

static void D12_plaintext_is_padded_to_16_but_never_beyond_1280_and_padding_is_removed(void **state)
{
    (void)state;
    static const struct {
        size_t len, sealed;
    } cases[] = {{20, 64}, {32, 64}, {33, 80}, {1264, 1296}, {1265, 1312}, {1273, 1312}, {1279, 1312}, {1280, 1312}};
    handshake(&p.a, &p.b, p.now);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pkt want = ip4(cases[i].len);
        struct pkt x = must_seal(&p.a, p.now, cases[i].len);
        assert_int_equal(x.len, cases[i].sealed);
        struct ml_wg_in res = give(&p.b, p.now, &p.a, &x);
        assert_int_equal(res.type, ML_WG_IN_DATA);
        assert_int_equal(res.len, cases[i].len);
        assert_memory_equal(res.data, want.b, want.len);
    }
    struct pkt big = ip4(1281), out;
    assert_int_equal(ml_wg_seal(&p.a.wg, p.now, SLOT, big.b, 1281, out.b, sizeof out.b, &out.len), ML_WG_REFUSED);
}

static void sealing_in_place_and_from_elsewhere_give_the_same_bytes(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    struct side copy;
    memcpy(&copy, &p.a, sizeof copy);
    copy.wg.peers = copy.peers;
    copy.wg.stage = copy.stage;
    copy.wg.flights = copy.flights;
    copy.wg.common.spares = copy.spares;
    struct pkt x = must_seal(&p.a, p.now, 77);
    struct pkt y = {.len = 0};
    struct pkt in = ip4(77);
    memcpy(y.b + 16, in.b, 77);
    assert_int_equal(ml_wg_seal(&copy.wg, p.now, SLOT, y.b + 16, 77, y.b, 32 + 80, &y.len), ML_WG_SEALED);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.b, y.b, x.len);
    assert_int_equal(ml_wg_seal(&copy.wg, p.now, SLOT, y.b + 16, 77, y.b, 32 + 79, &y.len), ML_WG_REFUSED);
}

static void an_inner_packet_whose_length_field_lies_is_dropped_but_counts_as_received(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    struct pkt in = ip4(40), out;
    ml_put_be16(in.b + 2, 49); /* padded to 48 */
    assert_int_equal(ml_wg_seal(&p.a.wg, p.now, SLOT, in.b, 40, out.b, sizeof out.b, &out.len), ML_WG_SEALED);
    struct ml_wg_in res = give(&p.b, p.now, &p.a, &out);
    assert_int_equal(res.drop, ML_DROP_MALFORMED);
    assert_int_equal(res.slot, SLOT);
    assert_int_equal(ml_tick_time(&p.b.wg.common.epoch, p.b.peers[SLOT].timers.keepalive_at), p.now + ML_SEC(10));
}

static void D13_unknown_keys_and_unknown_indices_produce_no_traffic(void **state)
{
    (void)state;
    static struct side stranger;
    side_init(&stranger, p.now, 99, NULL);
    assert_true(ml_wg_peer_open(&stranger.wg, SLOT, &p.b.pub));
    ml_wg_peer_connect(&stranger.wg, p.now, SLOT);
    struct pkt init = must_take(&stranger, p.now, 148);
    struct ml_wg_in res = give(&p.b, p.now, &stranger, &init);
    assert_int_equal(res.type, ML_WG_IN_INITIATION);
    assert_memory_equal(res.key.b, stranger.pub.b, 32); /* the owner finds it in no netmap */
    ml_wg_refuse(&p.b.wg);
    assert_int_equal(res.len, 0);
    assert_silent(&p.b, p.now);
    /* Nor does a slot of somebody else take it. */
    res = give(&p.b, p.now, &stranger, &init);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now, SLOT, &res), ML_DROP_WG_UNEXPECTED);
    assert_null(res.data);

    handshake(&p.a, &p.b, p.now);
    struct pkt x = must_seal(&p.a, p.now, 40);
    for (int i = 4; i < 8; i++) {
        struct pkt bad = x;
        bad.b[i] ^= 0x10;
        assert_int_equal(give(&p.b, p.now, &p.a, &bad).drop, ML_DROP_WG_UNKNOWN_INDEX);
    }
    struct pkt zero = x;
    memset(zero.b + 4, 0, 4);
    assert_int_equal(give(&p.b, p.now, &p.a, &zero).type, ML_WG_IN_DROP);
    struct pkt resp = {.len = 92};
    ml_put_le32(resp.b, 2);
    ml_wg_cookie_add_macs(NULL, p.now, p.b.pub.b, resp.b, 92, NULL);
    assert_int_equal(give(&p.b, p.now, &p.a, &resp).drop, ML_DROP_WG_UNEXPECTED);
    struct pkt cookie = {.len = 64};
    ml_put_le32(cookie.b, 3);
    assert_int_equal(give(&p.b, p.now, &p.a, &cookie).drop, ML_DROP_WG_UNKNOWN_INDEX);
    assert_silent(&p.b, p.now);
}

static void an_initiation_that_only_names_a_known_key_does_not_verify(void **state)
{
    (void)state;
    /* The stranger writes the static key of A; it lacks A's private key. */
    static struct side liar;
    side_init(&liar, p.now, 98, NULL);
    memcpy(liar.wg.id.pub, p.a.pub.b, 32);
    assert_true(ml_wg_peer_open(&liar.wg, SLOT, &p.b.pub));
    ml_wg_peer_connect(&liar.wg, p.now, SLOT);
    struct pkt init = must_take(&liar, p.now, 148);
    struct ml_wg_in res = give(&p.b, p.now, &liar, &init);
    assert_int_equal(res.type, ML_WG_IN_INITIATION);
    assert_memory_equal(res.key.b, p.a.pub.b, 32);
    assert_int_equal(ml_wg_verify(&p.b.wg), ML_DROP_WG_BAD_AUTH);
    res = give(&p.b, p.now, &liar, &init);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now, SLOT, &res), ML_DROP_WG_BAD_AUTH);
    /* The real one verifies, before and without a slot. */
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    init = must_take(&p.a, p.now, 148);
    res = give(&p.b, p.now, &p.a, &init);
    assert_int_equal(ml_wg_verify(&p.b.wg), ML_DROP_NONE);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now, SLOT, &res), ML_DROP_NONE);
}

static void two_sides_that_start_at_once_both_get_through_without_a_retry(void **state)
{
    (void)state;
    must_stage(&p.a, p.now, 40);
    must_stage(&p.b, p.now, 40);
    struct pkt ia = must_take(&p.a, p.now, 148), ib = must_take(&p.b, p.now, 148);
    struct pkt rb = must_answer(&p.b, p.now, &p.a, &ia), ra = must_answer(&p.a, p.now, &p.b, &ib);
    assert_int_equal(give(&p.a, p.now, &p.b, &rb).type, ML_WG_IN_HANDSHAKE);
    assert_int_equal(give(&p.b, p.now, &p.a, &ra).type, ML_WG_IN_HANDSHAKE);
    struct pkt da = must_take(&p.a, p.now, 80), db = must_take(&p.b, p.now, 80);
    assert_int_equal(give(&p.b, p.now, &p.a, &da).type, ML_WG_IN_DATA);
    assert_int_equal(give(&p.a, p.now, &p.b, &db).type, ML_WG_IN_DATA);
    chat(p.now);
    assert_silent(&p.a, p.now);
    assert_silent(&p.b, p.now);
}

static void two_sides_that_started_at_once_rekey_once_and_lose_nothing(void **state)
{
    (void)state;
    two_sides_that_start_at_once_both_get_through_without_a_retry(state);
    p.now += ML_SEC(121);
    uint64_t before = p.a.wg.counters.initiations_sent + p.b.wg.counters.initiations_sent;
    struct pkt da = must_seal(&p.a, p.now, 40), db = must_seal(&p.b, p.now, 40);
    struct side *one = memcmp(p.a.wg.id.pub, p.b.wg.id.pub, 32) > 0 ? &p.a : &p.b, *other = one == &p.a ? &p.b : &p.a;
    struct pkt init = must_take(one, p.now, 148);
    assert_silent(other, p.now);
    struct pkt resp = must_answer(other, p.now, one, &init);
    /* In flight while the rekey went on. */
    assert_int_equal(give(&p.b, p.now, &p.a, &da).type, ML_WG_IN_DATA);
    assert_int_equal(give(&p.a, p.now, &p.b, &db).type, ML_WG_IN_DATA);
    assert_int_equal(give(one, p.now, other, &resp).type, ML_WG_IN_HANDSHAKE);
    assert_int_equal(p.a.wg.counters.initiations_sent + p.b.wg.counters.initiations_sent, before + 1);
}

static void keys_are_wiped_540_s_after_the_last_session_and_the_owner_is_told(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    ml_time start = p.now;
    ml_wg_on_time(&p.a.wg, start + ML_SEC(540) - 1);
    assert_int_equal(events(&p.a), 0);
    assert_int_not_equal(p.a.peers[SLOT].session.current.local_index, 0);
    ml_wg_on_time(&p.a.wg, start + ML_SEC(540));
    assert_int_equal(events(&p.a), 1u << ML_WG_EV_DEAD);
    static const struct ml_wg_keypair none;
    assert_memory_equal(&p.a.peers[SLOT].session.current, &none, sizeof none);
    assert_int_equal(ml_wg_deadline(&p.a.wg), ML_NEVER);
    assert_true(ml_wg_peer_is_open(&p.a.wg, SLOT));
}

/* Everything that one side has to send reaches the other, until both are silent. Returns how many packets had content. */
static unsigned exchange(void)
{
    unsigned data = 0;
    bool is_moving = true;
    while (is_moving) {
        is_moving = false;
        for (int i = 0; i < 2; i++) {
            struct side *from = i ? &p.b : &p.a, *to = i ? &p.a : &p.b;
            struct pkt x;
            if (ml_wg_poll_clock(&from->wg, p.now, x.b)) {
                ml_wg_clock_stored(&from->wg, true);
            }
            while (take(from, p.now, &x)) {
                struct ml_wg_in res = give(to, p.now, from, &x);
                is_moving = true;
                data += res.type == ML_WG_IN_DATA;
                if (res.type == ML_WG_IN_INITIATION && ml_wg_accept(&to->wg, p.now, SLOT, &res) == ML_DROP_NONE) {
                    struct pkt resp = {.len = res.len};
                    memcpy(resp.b, res.data, res.len);
                    assert_int_equal(give(from, p.now, to, &resp).type, ML_WG_IN_HANDSHAKE);
                }
            }
        }
    }
    return data;
}

static void sessions_are_renewed_over_days_and_come_back_after_years(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    uint64_t before = p.a.wg.counters.handshakes;
    for (int i = 0; i < 12 * 360; i++) { /* twelve hours: 32-bit ticks begin anew in that time */
        p.now += ML_SEC(10);
        ml_wg_on_time(&p.a.wg, p.now);
        ml_wg_on_time(&p.b.wg, p.now);
        struct pkt x = must_seal(&p.a, p.now, 100);
        assert_int_equal(give(&p.b, p.now, &p.a, &x).type, ML_WG_IN_DATA);
        (void)exchange();
        assert_true(ml_wg_deadline(&p.a.wg) > p.now);
    }
    uint64_t renewed = p.a.wg.counters.handshakes - before;
    assert_in_range(renewed, 12 * 3600 / 130 - 1, 12 * 3600 / 120 + 1);
    const ml_time away[] = {ML_SEC(3600), ML_SEC(5 * 3600), ML_SEC(34360), ML_SEC(10 * 3600), ML_SEC(3 * 365 * 86400)};
    for (size_t i = 0; i < sizeof away / sizeof *away; i++) {
        p.now += away[i]; /* and nobody calls meanwhile */
        assert_false(ml_wg_peer_has_session(&p.a.wg, p.now, SLOT));
        must_stage(&p.a, p.now, 40);
        assert_int_equal(exchange(), 1);
        assert_true(ml_wg_peer_has_session(&p.a.wg, p.now, SLOT));
        assert_int_equal(ml_wg_peer_session_at(&p.a.wg, SLOT), p.now);
    }
}

static void a_packet_staged_behind_a_lost_response_gets_an_initiation_after_5_s(void **state)
{
    (void)state;
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    struct pkt init = must_take(&p.a, p.now, 148);
    (void)must_answer(&p.b, p.now, &p.a, &init); /* and A is gone */
    must_stage(&p.b, p.now + ML_SEC(1), 40);
    assert_silent(&p.b, p.now + ML_SEC(1));
    ml_time at = ml_wg_deadline(&p.b.wg);
    assert_in_range(at - p.now, ML_MSEC(5000), ML_MSEC(5333));
    ml_wg_on_time(&p.b.wg, at);
    (void)must_take(&p.b, at, 148);
}

static void waiting_packets_are_bounded_newest_kept_and_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        must_stage(&p.a, p.now, 40 + 16 * i);
    }
    assert_int_equal(p.a.wg.counters.staged_dropped, 2); /* three a peer */
    ml_node_key other = {{9}};
    assert_true(ml_wg_peer_open(&p.a.wg, 2, &other));
    struct pkt in = ip4(100), out;
    for (int i = 0; i < 2; i++) { /* the pool has four: the second takes the oldest of the other peer */
        assert_int_equal(ml_wg_seal(&p.a.wg, p.now, 2, in.b, 100, out.b, sizeof out.b, &out.len), ML_WG_STAGED);
    }
    assert_int_equal(p.a.wg.counters.staged_dropped, 3);
    assert_int_equal(p.a.peers[SLOT].stage_count, 2);
    ml_wg_peer_close(&p.a.wg, 2);
    struct pkt init = must_take(&p.a, p.now, 148);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    (void)give(&p.a, p.now, &p.b, &resp);
    (void)must_take(&p.a, p.now, 32 + 96);
    (void)must_take(&p.a, p.now, 32 + 112);
    assert_silent(&p.a, p.now);
}

static void initiations_wait_until_the_mark_of_the_clock_is_stored(void **state)
{
    (void)state;
    uint8_t mark[12];
    ml_wg_set_wall(&p.a.wg, p.now, UINT64_C(1800000000000)); /* a jump past the stored mark */
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    assert_silent(&p.a, p.now);
    assert_true(ml_wg_poll_clock(&p.a.wg, p.now, mark));
    assert_false(ml_wg_poll_clock(&p.a.wg, p.now, mark));
    assert_silent(&p.a, p.now);
    ml_wg_clock_stored(&p.a.wg, false); /* no storage: go on all the same */
    (void)must_take(&p.a, p.now, 148);
}

static void a_new_private_key_ends_all_sessions_and_the_same_one_none(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    ml_wg_set_key(&p.a.wg, &p.a.priv);
    assert_true(ml_wg_peer_has_session(&p.a.wg, p.now, SLOT));
    ml_private_key other;
    ml_x25519_keygen(&other, &p.a.rng);
    ml_wg_set_key(&p.a.wg, &other);
    assert_false(ml_wg_peer_has_session(&p.a.wg, p.now, SLOT));
    assert_true(ml_wg_peer_is_open(&p.a.wg, SLOT));
    ml_wg_set_key(&p.a.wg, NULL);
    struct pkt x = {.len = 148};
    assert_int_equal(give(&p.a, p.now, &p.b, &x).drop, ML_DROP_NOT_READY);
}

static void an_expired_session_sends_no_more_and_the_next_packet_starts_a_handshake(void **state)
{
    (void)state;
    handshake(&p.a, &p.b, p.now);
    p.now += ML_SEC(6);
    ml_wg_peer_expire(&p.a.wg, SLOT);
    assert_false(ml_wg_peer_has_session(&p.a.wg, p.now, SLOT));
    must_stage(&p.a, p.now, 40);
    (void)must_take(&p.a, p.now, 148);
}

static void a_closed_slot_leaves_nothing_behind(void **state)
{
    (void)state;
    must_stage(&p.a, p.now, 40);
    ml_wg_peer_close(&p.a.wg, SLOT);
    assert_silent(&p.a, p.now);
    static const struct ml_wg_peer none;
    assert_memory_equal(&p.a.peers[SLOT], &none, sizeof none);
    assert_true(ml_wg_peer_open(&p.a.wg, SLOT, &p.b.pub));
    handshake(&p.a, &p.b, p.now);
    ml_wg_clear(&p.a.wg);
    assert_memory_equal(&p.a.peers[SLOT], &none, sizeof none);
}

static void an_all_zero_peer_key_never_gets_an_initiation(void **state)
{
    (void)state;
    ml_node_key zero = {{0}};
    assert_true(ml_wg_peer_open(&p.a.wg, 0, &zero));
    ml_wg_peer_connect(&p.a.wg, p.now, 0);
    assert_silent(&p.a, p.now);
}

static void the_16_bit_slot_space_and_bad_configurations_are_checked(void **state)
{
    (void)state;
    struct ml_wg wg;
    struct ml_wg_peer peer;
    struct ml_wg_flight flight;
    struct ml_wg_spare spare;
    struct ml_wg_cfg cfg = {.random = &p.a.rng, .peers = &peer, .peer_count = 1, .flights = &flight, .flight_count = 1};
    cfg.spares = &spare;
    cfg.spare_count = 1;
    assert_int_equal(ml_wg_init(&wg, 0, &cfg), ML_OK);
    assert_false(ml_wg_peer_open(&wg, 1, &p.b.pub));
    ml_wg_set_key(&wg, &p.a.priv);
    assert_true(ml_wg_peer_open(&wg, 0, &p.b.pub));
    struct pkt in = ip4(40), out;
    assert_int_equal(ml_wg_seal(&wg, 0, 0, in.b, 40, out.b, sizeof out.b, &out.len), ML_WG_DROPPED);
    assert_int_equal(wg.counters.staged_dropped, 1);
    cfg.peer_count = 0;
    assert_int_equal(ml_wg_init(&wg, 0, &cfg), ML_ERR_ARG);
    cfg.peer_count = 1;
    cfg.random = NULL;
    assert_int_equal(ml_wg_init(&wg, 0, &cfg), ML_ERR_ARG);
    cfg.random = &p.a.rng;
    cfg.flight_count = 0;
    assert_int_equal(ml_wg_init(&wg, 0, &cfg), ML_ERR_ARG);
    cfg.flight_count = 1;
    cfg.spare_count = 0;
    assert_int_equal(ml_wg_init(&wg, 0, &cfg), ML_ERR_ARG);
}

static void more_handshakes_than_room_for_them_wait_or_take_the_place_of_an_unanswered_one(void **state)
{
    (void)state;
    ml_private_key nobody[2];
    ml_node_key key[2];
    for (uint16_t i = 0; i < 2; i++) { /* in slots 0 and 2: peers that never answer */
        ml_x25519_keygen(&nobody[i], &p.a.rng);
        ml_x25519_base(key[i].b, &nobody[i]);
        assert_true(ml_wg_peer_open(&p.a.wg, (uint16_t)(2 * i), &key[i]));
        ml_wg_peer_connect(&p.a.wg, p.now, (uint16_t)(2 * i));
        struct pkt x;
        assert_true(take(&p.a, p.now, &x));
        p.now += ML_MSEC(100);
    }
    ml_time first = p.now - ML_MSEC(200);
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    assert_silent(&p.a, p.now);
    assert_int_equal(ml_wg_deadline(&p.a.wg), first + ML_SEC(1));
    /* The older of the two gives way; the one that waited gets through. */
    p.now = first + ML_SEC(1);
    ml_wg_on_time(&p.a.wg, p.now);
    struct pkt init = must_take(&p.a, p.now, 148);
    assert_int_equal(p.a.wg.counters.initiations_displaced, 1);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &init);
    assert_int_equal(give(&p.a, p.now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
    (void)must_take(&p.a, p.now, 32);
    /* The one that gave way is repeated by its own timer, in the room that is free now. */
    struct pkt again;
    p.now = first + ML_MSEC(5334);
    ml_wg_on_time(&p.a.wg, p.now);
    assert_true(take(&p.a, p.now, &again));
    assert_int_equal(again.slot, 0);
    assert_int_equal(p.a.wg.counters.initiations_displaced, 1);
}

/* Two initiations of A, the second a second after the first. */
static void initiate_twice(struct pkt *first, struct pkt *second)
{
    ml_wg_peer_connect(&p.a.wg, p.now, SLOT);
    *first = must_take(&p.a, p.now, ML_WG_INITIATION_LEN);
    p.now += ML_SEC(1);
    ml_wg_peer_send_again(&p.a.wg, p.now, SLOT);
    *second = must_take(&p.a, p.now, ML_WG_INITIATION_LEN);
}

static void assert_a_is_heard(void)
{
    struct pkt data = must_seal(&p.a, p.now, 100);
    assert_int_equal(give(&p.b, p.now, &p.a, &data).type, ML_WG_IN_DATA);
}

static void a_repeated_initiation_does_not_make_the_answer_to_the_first_worthless(void **state)
{
    (void)state;
    struct pkt first, second;
    initiate_twice(&first, &second);
    struct pkt resp = must_answer(&p.b, p.now, &p.a, &first);
    /* The responder's rule against floods: the second goes unanswered. */
    struct ml_wg_in res = give(&p.b, p.now + ML_MSEC(10), &p.a, &second);
    assert_int_equal(ml_wg_accept(&p.b.wg, p.now + ML_MSEC(10), SLOT, &res), ML_DROP_WG_FLOOD);
    assert_int_equal(give(&p.a, p.now, &p.b, &resp).type, ML_WG_IN_HANDSHAKE);
    assert_a_is_heard();
}

static void of_two_answered_initiations_the_session_of_the_later_is_used(void **state)
{
    (void)state;
    for (int is_reordered = 0; is_reordered < 2; is_reordered++) {
        struct pkt first, second, resp[2];
        pair_init(&p);
        initiate_twice(&first, &second);
        resp[0] = must_answer(&p.b, p.now, &p.a, &first);
        p.now += ML_SEC(1);
        resp[1] = must_answer(&p.b, p.now, &p.a, &second);
        struct ml_wg_in res = give(&p.a, p.now, &p.b, &resp[is_reordered]);
        assert_int_equal(res.type, ML_WG_IN_HANDSHAKE);
        res = give(&p.a, p.now, &p.b, &resp[!is_reordered]);
        if (is_reordered) {
            assert_int_equal(res.drop, ML_DROP_WG_UNEXPECTED);
        } else {
            assert_int_equal(res.type, ML_WG_IN_HANDSHAKE);
        }
        assert_a_is_heard();
    }
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(D2_messages_have_exact_lengths_and_zero_reserved_bytes),
        T(D3_a_wrong_mac1_is_dropped_without_reply),
        T(D4_under_load_a_cookie_is_sent_used_and_forgotten_after_120_s),
        T(D4_a_cookie_that_answers_our_response_is_used_in_the_next_one),
        T(of_more_cookies_than_are_kept_the_oldest_gives_way),
        T(an_initiation_that_finds_no_room_among_fresh_ones_is_refused_and_its_repetition_answered),
        T(an_initiation_that_found_no_room_is_answered_when_a_first_packet_has_made_some),
        T(under_load_one_address_gets_bursts_of_five_and_twenty_a_second),
        T(the_load_table_refuses_newcomers_when_full_and_forgets_after_a_second),
        T(D5_stamps_rise_strictly_also_across_a_power_cycle_with_the_clock_reset),
        T(D5_a_rebooted_device_with_its_clock_at_zero_is_answered_within_a_second),
        T(D6_an_initiation_with_an_old_or_equal_stamp_or_within_20_ms_is_ignored),
        T(D7_the_responder_waits_for_a_packet_and_the_initiator_sends_one_at_once),
        T(staged_data_takes_the_place_of_the_first_keepalive),
        T(a_packet_sealed_on_the_established_event_goes_before_staged_data),
        T(D8_replayed_and_duplicated_packets_are_delivered_once),
        T(a_forged_packet_does_not_move_the_window),
        T(D9_the_initiator_rekeys_on_send_after_120_s_and_the_responder_never_by_age),
        T(D9_the_initiator_rekeys_on_receive_after_165_s_once),
        T(D9_nothing_is_sent_or_accepted_on_a_keypair_older_than_180_s),
        T(packets_in_flight_at_a_rekey_still_arrive_once_on_the_previous_keypair),
        T(D10_initiation_retries_are_5_s_to_5_34_s_apart_and_stop_with_the_waiting_packets_freed),
        T(D11_one_keepalive_follows_10_s_after_received_data_when_nothing_was_sent),
        T(D11_a_handshake_follows_15_s_after_sent_data_when_nothing_was_received),
        T(sent_data_that_was_answered_starts_no_handshake),
        T(D12_plaintext_is_padded_to_16_but_never_beyond_1280_and_padding_is_removed),
        T(sealing_in_place_and_from_elsewhere_give_the_same_bytes),
        T(an_inner_packet_whose_length_field_lies_is_dropped_but_counts_as_received),
        T(D13_unknown_keys_and_unknown_indices_produce_no_traffic),
        T(an_initiation_that_only_names_a_known_key_does_not_verify),
        T(two_sides_that_start_at_once_both_get_through_without_a_retry),
        T(two_sides_that_started_at_once_rekey_once_and_lose_nothing),
        T(keys_are_wiped_540_s_after_the_last_session_and_the_owner_is_told),
        T(sessions_are_renewed_over_days_and_come_back_after_years),
        T(a_packet_staged_behind_a_lost_response_gets_an_initiation_after_5_s),
        T(waiting_packets_are_bounded_newest_kept_and_counted),
        T(initiations_wait_until_the_mark_of_the_clock_is_stored),
        T(a_new_private_key_ends_all_sessions_and_the_same_one_none),
        T(an_expired_session_sends_no_more_and_the_next_packet_starts_a_handshake),
        T(a_closed_slot_leaves_nothing_behind),
        T(an_all_zero_peer_key_never_gets_an_initiation),
        T(more_handshakes_than_room_for_them_wait_or_take_the_place_of_an_unanswered_one),
        T(the_16_bit_slot_space_and_bad_configurations_are_checked),
        T(a_repeated_initiation_does_not_make_the_answer_to_the_first_worthless),
        T(of_two_answered_initiations_the_session_of_the_later_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
