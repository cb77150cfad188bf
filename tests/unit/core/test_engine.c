/*
 * The engine as a whole: memory, life, and two engines of one process that talk to each other. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/core_world.h"

static void memory_needed_is_exactly_what_init_takes(void **state)
{
    (void)state;
    uint64_t seed = 1;
    ml_engine *ml = NULL;
    const ml_config cfg = {.random = {.fill = world_random, .ctx = &seed}};
    size_t need = ml_mem_needed(&cfg);
    uint8_t *mem = malloc(need + 64);
    assert_true(need > 20000 && need < 120000);
    assert_non_null(mem);
    memset(mem, 0xa5, need + 64);
    assert_int_equal(ml_init(&ml, mem, need - 1, &cfg), ML_ERR_NO_MEM);
    assert_int_equal(ml_init(&ml, mem, need, &cfg), ML_OK);
    ml_clear(ml);
    for (size_t i = need; i < need + 64; i++) {
        assert_int_equal(mem[i], 0xa5);
    }
    /* And wiped afterwards. */
    for (size_t i = 0; i < need; i++) {
        assert_int_equal(mem[i], 0);
    }
    free(mem);
}

static void impossible_configurations_are_refused(void **state)
{
    (void)state;
    uint64_t seed = 1;
    ml_engine *ml = NULL;
    static _Alignas(16) uint8_t mem[200000];
    const ml_config good = {.random = {.fill = world_random, .ctx = &seed}};
    ml_config c = good;
    c.random.fill = NULL;
    assert_int_equal(ml_init(&ml, mem, sizeof mem, &c), ML_ERR_ARG);
    const char *bad_urls[] = {"ftp://x", "https://", "nonsense", "https://a b", "https://host:99999"};
    for (size_t i = 0; i < sizeof bad_urls / sizeof *bad_urls; i++) {
        c = good;
        c.control_url = bad_urls[i];
        assert_int_equal(ml_init(&ml, mem, sizeof mem, &c), ML_ERR_ARG);
    }
    c = good;
    c.control_key = "mkey:1234";
    assert_int_equal(ml_init(&ml, mem, sizeof mem, &c), ML_ERR_ARG);
    c = good;
    c.hostname = "a-name-that-is-longer-than-the-sixty-three-octets-that-a-label-of-the-dns-may-have";
    assert_int_equal(ml_init(&ml, mem, sizeof mem, &c), ML_ERR_ARG);
    c = good;
    c.max_peers = 60000;
    assert_int_equal(ml_mem_needed(&c), 0);
    c = good;
    c.out_queue_bytes = 100;
    assert_int_equal(ml_mem_needed(&c), 0);
    assert_int_equal(ml_init(NULL, mem, sizeof mem, &good), ML_ERR_ARG);
    assert_int_equal(ml_init(&ml, mem + 1, sizeof mem - 1, &good), ML_ERR_ARG);
}

static void commands_before_start_are_refused_and_harmless(void **state)
{
    (void)state;
    uint64_t seed = 1;
    ml_engine *ml = NULL;
    static _Alignas(16) uint8_t mem[200000];
    const ml_config cfg = {.random = {.fill = world_random, .ctx = &seed}};
    uint8_t pkt[64] = {0x45};
    ml_addr from = {.ip = ml_ip4(1, 2, 3, 4), .port = 5};
    ml_ip ip = ml_ip4(100, 64, 0, 1);
    ml_output out;
    assert_int_equal(ml_init(&ml, mem, sizeof mem, &cfg), ML_OK);
    assert_int_equal(ml_stop(ml, 1), ML_ERR_STATE);
    assert_int_equal(ml_logout(ml, 1), ML_ERR_STATE);
    assert_int_equal(ml_ping(ml, 1, &ip, ML_PING_DISCO, 1), ML_ERR_STATE);
    assert_int_equal(ml_netcheck(ml, 1), ML_ERR_STATE);
    assert_int_equal(ml_handle_overlay(ml, 1, pkt, sizeof pkt), ML_ERR_STATE);
    assert_int_equal(ml_handle_datagram(ml, 1, &from, pkt, sizeof pkt), ML_OK);
    ml_handle_time(ml, 1);
    ml_rebind(ml, 1);
    assert_false(ml_poll_output(ml, 1, &out));
    assert_true(ml_poll_deadline(ml) == ML_NEVER);
    ml_stats st;
    ml_get_stats(ml, &st);
    assert_true(st.drop[ML_DROP_NOT_READY] >= 2);
    ml_clear(ml);
}

static void C30_a_node_that_has_no_key_yet_has_its_disco_key_to_publish(void **state)
{
    (void)state;
    uint64_t seed = 1;
    ml_engine *ml = NULL;
    static _Alignas(16) uint8_t mem[200000];
    const ml_config cfg = {.random = {.fill = world_random, .ctx = &seed}};
    ml_disco_key want;
    assert_int_equal(ml_init(&ml, mem, sizeof mem, &cfg), ML_OK);
    assert_int_equal(ml_start(ml, 1), ML_OK);
    assert_false(ml->identity.has_node);
    ml_x25519_base(want.b, &ml->identity.disco);
    assert_true(ml_key_equal(&ml->control.pub.disco, &want));
    ml_clear(ml);
}

static void sentences_about_problems_share_their_room_and_the_most_important_is_told(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    ml_engine *ml = w->n[0].ml;
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    core_set_problem(ml, CORE_PROBLEM_HEALTH, "sick");
    core_set_problem(ml, CORE_PROBLEM_RULES, "many rules");
    core_set_problem(ml, CORE_PROBLEM_STORE, "no room");
    assert_string_equal(ml_get_problem(ml), "no room");
    core_set_problem(ml, CORE_PROBLEM_STORE, "");
    assert_string_equal(ml_get_problem(ml), "many rules");
    /* Texts are cut at their own limit, and the last of too many at what is left; the others stay as they are. */
    core_set_problem(ml, CORE_PROBLEM_CONTROL, longest);
    core_set_problem(ml, CORE_PROBLEM_RELAY, longest);
    core_set_problem(ml, CORE_PROBLEM_PEERS, longest);
    assert_int_equal(strlen(core_problem(ml, CORE_PROBLEM_CONTROL)), ML_TEXT_CAP - 1);
    assert_int_equal(strlen(core_problem(ml, CORE_PROBLEM_RELAY)), ML_TEXT_CAP - 1);
    assert_in_range(strlen(core_problem(ml, CORE_PROBLEM_PEERS)), 200, ML_TEXT_CAP - 2);
    assert_string_equal(core_problem(ml, CORE_PROBLEM_RULES), "many rules");
    assert_string_equal(core_problem(ml, CORE_PROBLEM_HEALTH), "sick");
    for (unsigned i = 0; i < CORE_PROBLEM_COUNT; i++) {
        core_set_problem(ml, (enum core_problem)i, "");
    }
    assert_string_equal(ml_get_problem(ml), "");
    core_set_problem(ml, CORE_PROBLEM_HEALTH, "sick again");
    assert_string_equal(ml_get_problem(ml), "sick again");
    world_end(w);
    free(w);
}

static void two_engines_in_one_process_handshake_and_carry_datagrams_both_ways(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    assert_int_equal(world_send(w, 0, 1, "hello"), ML_OK);
    assert_true(world_got(w, 1, "hello"));
    assert_int_equal(world_send(w, 1, 0, "back"), ML_OK);
    assert_true(world_got(w, 0, "back"));
    ml_peer_info p;
    ml_ip ip = w->n[1].ip4;
    assert_int_equal(ml_get_peer_by_ip(w->n[0].ml, w->now, &ip, &p), ML_OK);
    assert_true(p.has_session);
    assert_string_equal(p.hostname, "node1");
    assert_true(ml_addr_equal(&p.direct, &w->n[1].addr));
    ml_stats st;
    ml_get_stats(w->n[0].ml, &st);
    assert_int_equal(st.handshakes, 1);
    assert_int_equal(st.drop[ML_DROP_WG_REPLAY], 0);
    world_end(w);
    free(w);
}

static void a_flood_of_handshakes_fills_a_short_ring_and_the_first_in_it_is_answered(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    ml_engine *a = w->n[0].ml, *b = w->n[1].ml;
    uint8_t pkt[64], initiation[ML_WG_INITIATION_LEN], copy[ML_WG_INITIATION_LEN];
    ml_addr src = {.ip = w->n[0].ip4, .port = 1}, dst = {.ip = w->n[1].ip4, .port = 2};
    size_t n = ml_udp_build(pkt, sizeof pkt, &src, &dst, (const uint8_t *)"x", 1, 1);
    assert_int_equal(ml_handle_overlay(a, w->now, pkt, n), ML_OK);
    ml_output out;
    bool is_found = false;
    while (!is_found && world_poll(a, w->now, &out)) {
        is_found = out.type == ML_OUT_DATAGRAM && out.len == sizeof initiation && out.data[0] == 1;
        memcpy(initiation, out.data, is_found ? sizeof initiation : 0);
    }
    assert_true(is_found);
    /* Nothing is computed while they come in; what finds no room is dropped. */
    for (int i = 0; i < 10; i++) {
        memcpy(copy, initiation, sizeof copy);
        assert_int_equal(ml_handle_datagram(b, w->now, &w->n[0].addr, copy, sizeof copy), ML_OK);
    }
    assert_int_equal(b->handshake_count, b->handshake_cap);
    assert_int_equal(b->stats.drop[ML_DROP_WG_RATE_LIMITED], 10 - b->handshake_cap);
    assert_true(ml_poll_deadline(b) <= w->now);
    (void)world_drain(w, 1);
    assert_int_equal(b->handshake_count, 0);
    assert_int_equal(b->wg.counters.responses_sent, 1);
    assert_int_equal(b->stats.drop[ML_DROP_WG_OLD_TIMESTAMP], b->handshake_cap - 1);
    assert_true(ml_poll_deadline(b) > w->now);
    world_end(w);
    free(w);
}

static void pings_of_all_three_kinds_are_answered_or_run_into_their_time_out(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    ml_ip ip = w->n[1].ip4;
    assert_int_equal(ml_ping(w->n[0].ml, w->now, &ip, ML_PING_DISCO, 7), ML_OK);
    assert_int_equal(ml_ping(w->n[0].ml, w->now, &ip, ML_PING_TSMP, 8), ML_OK);
    world_run(w, ML_SEC(1));
    bool disco = false, tsmp = false;
    for (unsigned i = 0; i < w->n[0].event_count && i < 64; i++) {
        const ml_event *e = &w->n[0].events[i];
        disco = disco || (e->type == ML_EV_PONG && e->ping.token == 7 && ml_addr_equal(&e->ping.via, &w->n[1].addr));
        tsmp = tsmp || (e->type == ML_EV_PONG && e->ping.token == 8);
    }
    assert_true(disco);
    assert_true(tsmp);
    /* The host of node 1 answers no ICMP here, so that one fails, after ten seconds. */
    w->n[0].event_count = 0;
    assert_int_equal(ml_ping(w->n[0].ml, w->now, &ip, ML_PING_ICMP, 9), ML_OK);
    world_run(w, ML_SEC(11));
    bool failed = false;
    for (unsigned i = 0; i < w->n[0].event_count && i < 64; i++) {
        failed = failed || (w->n[0].events[i].type == ML_EV_PING_FAILED && w->n[0].events[i].ping.token == 9);
    }
    assert_true(failed);
    ml_ip nobody = ml_ip4(100, 64, 9, 9);
    assert_int_equal(ml_ping(w->n[0].ml, w->now, &nobody, ML_PING_DISCO, 1), ML_ERR_NOT_FOUND);
    world_end(w);
    free(w);
}

static void the_peerapi_port_is_published_told_in_tsmp_pongs_and_given_to_the_filter(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    ml_set_peerapi_port(w->n[1].ml, w->now, 40004, 40006);
    assert_int_equal(w->n[1].ml->control.pub.peerapi4, 40004);
    assert_int_equal(w->n[1].ml->control.pub.peerapi6, 40006);
    assert_int_equal(w->n[1].ml->filter.peerapi_port4, 40004);
    assert_int_equal(w->n[1].ml->filter.peerapi_port6, 40006);
    ml_ip ip = w->n[1].ip4;
    for (unsigned i = 0; i < 2; i++) {
        unsigned found = 0;
        w->n[0].event_count = 0;
        assert_int_equal(ml_ping(w->n[0].ml, w->now, &ip, ML_PING_TSMP, 80 + i), ML_OK);
        world_run(w, ML_SEC(1));
        for (unsigned e = 0; e < w->n[0].event_count && e < 64; e++) {
            const ml_event *ev = &w->n[0].events[e];
            if (ev->type == ML_EV_PONG && ev->ping.token == 80 + i) {
                assert_int_equal(ev->ping.peerapi_port, i == 0 ? 40004 : 0);
                found++;
            }
        }
        assert_int_equal(found, 1);
        ml_set_peerapi_port(w->n[1].ml, w->now, 0, 0);
    }
    world_end(w);
    free(w);
}

static void a_revoked_peer_is_gone_at_once(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    assert_int_equal(world_send(w, 0, 1, "one"), ML_OK);
    assert_true(world_got(w, 1, "one"));
    world_delta(w, 1, &(struct ml_delta){.type = ML_DELTA_BEGIN});
    world_delta(w, 1, &(struct ml_delta){.type = ML_DELTA_PEER_REMOVED, .id = 100});
    world_delta(w, 1, &(struct ml_delta){.type = ML_DELTA_END});
    unsigned sent_before = w->n[1].datagrams;
    w->n[1].inbox_count = 0;
    assert_int_equal(world_send(w, 0, 1, "two"), ML_OK);
    world_run(w, ML_SEC(20));
    assert_false(world_got(w, 1, "two"));
    /* Not one packet in answer: pings, initiations and data of a stranger go nowhere (D13, D18). */
    assert_int_equal(w->n[1].datagrams, sent_before);
    assert_int_equal(world_send(w, 1, 0, "x"), ML_ERR_NO_PATH);
    world_end(w);
    free(w);
}

static void D63_an_inner_source_that_is_not_the_peers_is_dropped(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    assert_int_equal(world_send(w, 0, 1, "one"), ML_OK);
    w->n[0].ip4 = ml_ip4(100, 64, 0, 77); /* node 0's host forges its source */
    assert_int_equal(world_send(w, 0, 1, "forged"), ML_OK);
    assert_false(world_got(w, 1, "forged"));
    ml_stats st;
    ml_get_stats(w->n[1].ml, &st);
    assert_int_equal(st.drop[ML_DROP_ROUTE_BAD_SOURCE], 1);
    world_end(w);
    free(w);
}

static void C66_a_tailnet_with_lock_enabled_gets_no_traffic_and_a_sentence(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    assert_int_equal(world_send(w, 0, 1, "one"), ML_OK);
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_TKA, .flag = true});
    assert_int_equal(world_send(w, 0, 1, "two"), ML_ERR_STATE);
    assert_non_null(strstr(ml_get_problem(w->n[0].ml), "Tailnet Lock"));
    assert_int_equal(world_send(w, 1, 0, "in"), ML_OK);
    assert_false(world_got(w, 0, "in"));
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_TKA, .flag = false});
    assert_int_equal(world_send(w, 0, 1, "three"), ML_OK);
    world_run(w, ML_SEC(6)); /* without a relay the path must be found again first */
    assert_true(world_got(w, 1, "three"));
    world_end(w);
    free(w);
}

static void D5_timestamps_rise_across_a_restart_with_the_clock_set_back(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    uint8_t clock[ML_STORE_MAX], identity[ML_STORE_MAX];
    assert_non_null(w);
    world_start(w);
    ml_set_wall_clock(w->n[0].ml, w->now, UINT64_C(1800000000000));
    world_settle(w);
    assert_int_equal(world_send(w, 0, 1, "one"), ML_OK);
    assert_true(world_got(w, 1, "one"));
    size_t clock_len = ml_store_write_clock(clock, sizeof clock, w->n[0].ml->clock_mark);
    size_t id_len = ml_store_write_identity(identity, sizeof identity, &w->n[0].ml->identity);
    struct world_node *n = &w->n[0];
    ml_clear(n->ml);
    w->now += ML_MSEC(100); /* even a fast reboot takes longer than the 20 ms flood limit */
    const ml_config cfg = {
        .random = {.fill = world_random, .ctx = &n->seed}, .control_url = "http://127.0.0.1:1", .no_stun = true};
    assert_int_equal(ml_init(&n->ml, n->mem, ml_mem_needed(&cfg), &cfg), ML_OK);
    assert_int_equal(ml_load(n->ml, ML_STORE_CLOCK, clock, clock_len), ML_OK);
    assert_int_equal(ml_load(n->ml, ML_STORE_IDENTITY, identity, id_len), ML_OK);
    /* The wall clock now says 1970 plus a little: no help at all. */
    ml_set_wall_clock(n->ml, w->now, 1000);
    assert_int_equal(ml_start(n->ml, w->now), ML_OK);
    ml_set_local_addrs(n->ml, w->now, &n->addr, 1);
    world_netmap(w, 0);
    ml_ip peer = w->n[1].ip4;
    assert_int_equal(ml_ping(n->ml, w->now, &peer, ML_PING_DISCO, 1), ML_OK); /* find the path, there being no relay */
    world_settle(w);
    w->n[1].inbox_count = 0;
    assert_int_equal(world_send(w, 0, 1, "two"), ML_OK);
    world_run(w, ML_SEC(1));
    assert_true(world_got(w, 1, "two"));
    ml_stats st;
    ml_get_stats(w->n[1].ml, &st);
    assert_int_equal(st.drop[ML_DROP_WG_OLD_TIMESTAMP], 0);
    world_end(w);
    free(w);
}

/* Takes everything out of one engine; how often this record was offered, and each time the storage's answer. */
static unsigned offers_of(struct world *w, ml_store_kind kind, bool answer)
{
    ml_engine *ml = w->n[0].ml;
    ml_output out;
    unsigned offers = 0;
    ml_handle_time(ml, w->now);
    while (ml_poll_output(ml, w->now, &out)) {
        if (out.type == ML_OUT_STORE) {
            offers += out.store == kind;
            ml_handle_stored(ml, w->now, out.store, out.store != kind || answer);
        }
    }
    return offers;
}

static void a_record_that_storage_refuses_is_said_and_offered_again_until_it_is_stored(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    ml_engine *ml = w->n[0].ml;
    core_store(ml, ML_STORE_IDENTITY);
    assert_int_equal(offers_of(w, ML_STORE_IDENTITY, false), 1);
    assert_non_null(strstr(ml_get_problem(ml), "could not be stored"));
    ml_time wait = ML_SEC(15);
    for (int i = 0; i < 12; i++) { /* later and later, half an hour at most */
        assert_true(ml_poll_deadline(ml) <= w->now + wait);
        w->now += wait - 1;
        assert_int_equal(offers_of(w, ML_STORE_IDENTITY, false), 0);
        w->now += 1;
        assert_int_equal(offers_of(w, ML_STORE_IDENTITY, false), 1);
        wait = wait < ML_SEC(15) << 7 ? 2 * wait : wait;
    }
    core_store(ml, ML_STORE_IDENTITY); /* something new is not held back */
    assert_int_equal(offers_of(w, ML_STORE_IDENTITY, true), 1);
    w->now += ML_SEC(3600);
    assert_int_equal(offers_of(w, ML_STORE_IDENTITY, true), 0);
    assert_null(strstr(ml_get_problem(ml), "could not be stored"));
    world_end(w);
    free(w);
}

static void hours_of_idling_and_traffic_leave_a_working_session_and_no_growth(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    for (int i = 0; i < 48; i++) {
        char text[16];
        snprintf(text, sizeof text, "round %d", i);
        assert_int_equal(world_send(w, (unsigned)i % 2, (unsigned)(i + 1) % 2, text), ML_OK);
        world_run(w, ML_SEC(16)); /* without a relay each side has to find the path for itself */
        assert_true(world_got(w, (unsigned)(i + 1) % 2, text));
        world_run(w, ML_SEC(60 * 30));
    }
    world_end(w);
    free(w);
}

static void C38_a_new_stream_replaces_the_netmap_and_one_that_breaks_off_removes_nobody(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    struct ml_node self, stranger;
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    assert_int_equal(world_send(w, 0, 1, "one"), ML_OK);
    /* A second stream begins, names us and one new peer, and breaks off. */
    world_node_of(w, 0, &self);
    world_node_of(w, 1, &stranger);
    stranger.id = 900;
    memset(stranger.key.b, 9, 32);
    memset(stranger.disco.b, 8, 32);
    stranger.addresses[0].ip = stranger.allowed[0].ip = ml_ip4(100, 64, 0, 90);
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_BEGIN, .first = true});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_SELF, .node = &self});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_PEERS_BEGIN});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &stranger});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_ABORT});
    assert_int_equal(world_send(w, 0, 1, "still"), ML_OK);
    assert_true(world_got(w, 1, "still"));
    assert_int_equal(world_send(w, 1, 0, "rules too"), ML_OK);
    assert_true(world_got(w, 0, "rules too"));
    /* The third is whole and does not name node 1 any more. */
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_BEGIN, .first = true});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_SELF, .node = &self});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_PEERS_BEGIN});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &stranger});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_PEERS_END});
    world_delta(w, 0, &(struct ml_delta){.type = ML_DELTA_END});
    assert_int_equal(ml_get_peer_count(w->n[0].ml), 1);
    assert_int_equal(world_send(w, 0, 1, "gone"), ML_ERR_NO_PATH);
    world_end(w);
    free(w);
}

static void stop_ends_everything_and_start_begins_again(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    world_start(w);
    world_settle(w);
    assert_int_equal(world_send(w, 0, 1, "one"), ML_OK);
    assert_int_equal(ml_stop(w->n[0].ml, w->now), ML_OK);
    world_settle(w);
    assert_int_equal(ml_get_state(w->n[0].ml), ML_STATE_STOPPED);
    assert_int_equal(world_send(w, 0, 1, "no"), ML_ERR_STATE);
    w->now += ML_SEC(1);
    assert_int_equal(ml_start(w->n[0].ml, w->now), ML_OK);
    world_settle(w);
    assert_int_equal(world_send(w, 0, 1, "two"), ML_OK);
    world_run(w, ML_SEC(6));
    assert_true(world_got(w, 1, "two"));
    world_end(w);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_needed_is_exactly_what_init_takes),
        cmocka_unit_test(impossible_configurations_are_refused),
        cmocka_unit_test(commands_before_start_are_refused_and_harmless),
        cmocka_unit_test(C30_a_node_that_has_no_key_yet_has_its_disco_key_to_publish),
        cmocka_unit_test(sentences_about_problems_share_their_room_and_the_most_important_is_told),
        cmocka_unit_test(two_engines_in_one_process_handshake_and_carry_datagrams_both_ways),
        cmocka_unit_test(a_flood_of_handshakes_fills_a_short_ring_and_the_first_in_it_is_answered),
        cmocka_unit_test(pings_of_all_three_kinds_are_answered_or_run_into_their_time_out),
        cmocka_unit_test(the_peerapi_port_is_published_told_in_tsmp_pongs_and_given_to_the_filter),
        cmocka_unit_test(a_revoked_peer_is_gone_at_once),
        cmocka_unit_test(D63_an_inner_source_that_is_not_the_peers_is_dropped),
        cmocka_unit_test(C66_a_tailnet_with_lock_enabled_gets_no_traffic_and_a_sentence),
        cmocka_unit_test(D5_timestamps_rise_across_a_restart_with_the_clock_set_back),
        cmocka_unit_test(a_record_that_storage_refuses_is_said_and_offered_again_until_it_is_stored),
        cmocka_unit_test(hours_of_idling_and_traffic_leave_a_working_session_and_no_growth),
        cmocka_unit_test(C38_a_new_stream_replaces_the_netmap_and_one_that_breaks_off_removes_nobody),
        cmocka_unit_test(stop_ends_everything_and_start_begins_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
