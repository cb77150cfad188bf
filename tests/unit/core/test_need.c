/*
 * A tailnet larger than the table: who is kept, who gets in, and how often the netmap is read again.
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/core_world.h"

#define TABLE 4
#define ALL   40

static struct world_node n;
static ml_time now;

static void delta(const struct ml_delta *d)
{
    struct core_apply_ctx ctx = {.ml = n.ml, .now = now};
    core_apply(&ctx, d);
}

static void event(enum ml_delta_type type)
{
    delta(&(struct ml_delta){.type = type, .first = type == ML_DELTA_BEGIN});
}

static struct ml_node node(uint64_t id)
{
    struct ml_node p = {.id = id, .home_region = 1, .is_machine_authorized = true};
    ml_put_be64(p.key.b, id * UINT64_C(0x9e3779b97f4a7c15));
    p.key.b[31] = 1;
    p.disco = (ml_disco_key){{(uint8_t)id, 2}};
    p.addresses[0] = p.allowed[0] = (ml_prefix){.ip = ml_ip4(100, 64, 1, (uint8_t)id), .bits = 32};
    p.address_count = p.allowed_count = 1;
    return p;
}

/* Rules that let one peer speak to us. */
static void allow(uint8_t from)
{
    struct ml_rule rule = {.src_count = 1, .dst_count = 1, .srcs = {{.ip = ml_ip4(100, 64, 1, from), .bits = 32}}};
    rule.dsts[0] = (struct ml_rule_dst){.net = {.ip = n.ip4, .bits = 32}, .port_last = 65535};
    delta(&(struct ml_delta){.type = ML_DELTA_RULES_BEGIN, .text = "base"});
    delta(&(struct ml_delta){.type = ML_DELTA_RULE, .rule = &rule});
    delta(&(struct ml_delta){.type = ML_DELTA_RULES_END, .text = "base"});
}

/* The whole netmap, as a new stream begins with it. */
static void netmap(uint8_t allowed)
{
    struct ml_node p = node(200);
    event(ML_DELTA_BEGIN);
    p.addresses[0].ip = n.ip4;
    delta(&(struct ml_delta){.type = ML_DELTA_SELF, .node = &p});
    event(ML_DELTA_PEERS_BEGIN);
    for (uint64_t id = 1; id <= ALL; id++) {
        p = node(id);
        delta(&(struct ml_delta){.type = ML_DELTA_PEER, .node = &p});
    }
    event(ML_DELTA_PEERS_END);
    if (allowed) {
        allow(allowed);
    }
    event(ML_DELTA_END);
}

static bool has(uint64_t id)
{
    return ml_map_find_id(&n.ml->map, id) != ML_PEER_NONE;
}

static unsigned rereads(void)
{
    ml_stats st;
    ml_get_stats(n.ml, &st);
    return (unsigned)st.map_rereads;
}

static int setup(void **state)
{
    (void)state;
    memset(&n, 0, sizeof n);
    now = ML_SEC(5);
    n.ip4 = ml_ip4(100, 64, 0, 1);
    const ml_config cfg = {.random = {.fill = world_random, .ctx = &n.seed},
                           .control_url = "http://127.0.0.1:1",
                           .no_stun = true,
                           .max_peers = TABLE};
    size_t need = ml_mem_needed(&cfg);
    n.mem = malloc(need);
    if (!n.mem || ml_init(&n.ml, n.mem, need, &cfg) != ML_OK) {
        return -1;
    }
    ml_x25519_keygen(&n.ml->identity.machine, &n.ml->random);
    ml_x25519_keygen(&n.ml->identity.disco, &n.ml->random);
    ml_x25519_keygen(&n.ml->identity.node, &n.ml->random);
    n.ml->identity.has_node = n.ml->has_machine = true;
    return ml_start(n.ml, now) == ML_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    assert_true(ml_map_check(&n.ml->map));
    ml_clear(n.ml);
    free(n.mem);
    return 0;
}

static ml_err send_to(uint8_t id)
{
    uint8_t pkt[64];
    ml_addr src = {.ip = n.ip4, .port = 1000}, dst = {.ip = ml_ip4(100, 64, 1, id), .port = 2000};
    size_t len = ml_udp_build(pkt, sizeof pkt, &src, &dst, (const uint8_t *)"x", 1, 1);
    return ml_handle_overlay(n.ml, now, pkt, len);
}

static void a_packet_to_a_peer_that_was_left_out_brings_it_in(void **state)
{
    (void)state;
    netmap(0);
    assert_true(has(1) && has(TABLE) && !has(30));
    assert_true(strstr(ml_get_problem(n.ml), "max_peers") != NULL);
    assert_int_equal(send_to(30), ML_ERR_NO_PATH);
    assert_int_equal(ml_poll_deadline(n.ml) <= now, true);
    ml_handle_time(n.ml, now);
    assert_int_equal(rereads(), 1);
    netmap(0); /* what control answers */
    assert_true(has(30) && !has(TABLE));
    assert_int_equal(send_to(30), ML_OK);
    netmap(0);
    assert_true(has(30));
}

static void a_packet_from_a_peer_that_was_left_out_brings_it_in(void **state)
{
    (void)state;
    netmap(0);
    struct ml_node p = node(35);
    uint8_t pkt[148] = {1};
    const struct core_carrier c = {.region = 1, .source = p.key};
    core_packet_in(n.ml, now, &c, pkt, sizeof pkt);
    ml_handle_time(n.ml, now);
    assert_int_equal(rereads(), 1);
    netmap(0);
    assert_true(has(35));
}

static void a_wish_while_a_list_is_read_waits_for_its_end_and_costs_no_pause(void **state)
{
    (void)state;
    struct ml_control *c = &n.ml->control;
    netmap(0);
    /* A long list is under way, and has passed the peer that is asked for. */
    c->req[REQ_POLL].stream = 1;
    c->poll.in_message = true;
    for (unsigned s = 0; s < 12; s++) {
        assert_int_equal(send_to(30), ML_ERR_NO_PATH);
        ml_handle_time(n.ml, now);
        assert_true(ml_poll_deadline(n.ml) > now);
        now += ML_SEC(1);
    }
    assert_int_equal(rereads(), 0);
    c->poll.in_message = false;
    c->req[REQ_POLL].stream = 0;
    event(ML_DELTA_END);
    ml_handle_time(n.ml, now);
    assert_int_equal(rereads(), 1);
    /* The one it brought meanwhile is not asked for again. */
    now += ML_SEC(3600);
    c->req[REQ_POLL].stream = 1;
    c->poll.in_message = true;
    assert_int_equal(send_to(31), ML_ERR_NO_PATH);
    ml_handle_time(n.ml, now);
    netmap(0);
    assert_true(has(31));
    c->poll.in_message = false;
    c->req[REQ_POLL].stream = 0;
    ml_handle_time(n.ml, now);
    assert_int_equal(rereads(), 1);
}

static void strangers_cause_no_reading(void **state)
{
    (void)state;
    unsigned mistaken = 0;
    netmap(0);
    for (unsigned i = 0; i < 1000; i++) {
        ml_node_key key;
        ml_random_fill(&n.ml->random, key.b, sizeof key.b);
        core_want_key(n.ml, now, &key);
        mistaken += core_need_deadline(n.ml) != ML_NEVER;
        n.ml->need.reread_at = ML_NEVER;
    }
    assert_true(mistaken < 150); /* the filter of this small table */
    assert_int_equal(send_to(250), ML_ERR_NO_PATH);
}

static void a_flood_for_peers_outside_the_table_reads_the_netmap_a_few_times_an_hour(void **state)
{
    (void)state;
    netmap(0);
    for (unsigned s = 0; s < 86400; s++) {
        (void)send_to((uint8_t)(10 + s % 30));
        ml_handle_time(n.ml, now);
        now += ML_SEC(1);
    }
    print_message("readings in a day of flood: %u\n", rereads());
    assert_true(rereads() >= 20 && rereads() <= 40);
    /* Calm again, it is quick again. */
    now += ML_SEC(3600);
    ml_handle_time(n.ml, now);
    unsigned before = rereads();
    (void)send_to(33);
    ml_handle_time(n.ml, now);
    assert_int_equal(rereads(), before + 1);
}

static void new_rules_bring_in_whom_they_let_speak_to_us(void **state)
{
    (void)state;
    netmap(20);
    ml_handle_time(n.ml, now);
    assert_int_equal(rereads(), 1);
    netmap(20);
    assert_true(has(20));
    ml_handle_time(n.ml, now + ML_SEC(60));
    assert_int_equal(rereads(), 1); /* the same rules: all is as it should be */
    now += ML_SEC(3600);
    delta(&(struct ml_delta){.type = ML_DELTA_BEGIN});
    allow(21);
    event(ML_DELTA_END);
    ml_handle_time(n.ml, now);
    assert_int_equal(rereads(), 2);
    netmap(21);
    assert_true(has(21));
}

static void C43_a_live_session_holds_its_place_in_a_full_table(void **state)
{
    (void)state;
    netmap(0);
    assert_int_equal(send_to(TABLE), ML_OK);
    for (uint8_t id = 10; id < 30; id++) {
        now += ML_SEC(3700);
        (void)send_to(id);
        n.ml->slots[core_slot_of(n.ml, ml_map_find_id(&n.ml->map, TABLE))].used_at = core_tick(n.ml, now);
        core_need_time(n.ml, now);
        netmap(0);
        assert_true(has(id) && has(TABLE));
    }
}

static void a_table_full_of_idle_sessions_makes_room(void **state)
{
    (void)state;
    netmap(0);
    for (uint8_t id = 1; id <= TABLE; id++) {
        assert_int_equal(send_to(id), ML_OK);
    }
    (void)send_to(30);
    ml_handle_time(n.ml, now);
    netmap(0);
    assert_false(has(30)); /* all were used just now */
    now += ML_SEC(30);
    (void)send_to(30);
    ml_handle_time(n.ml, now);
    netmap(0);
    assert_true(has(30));
    assert_int_equal(send_to(30), ML_OK);
}

static void a_pinned_peer_is_kept_whoever_else_comes(void **state)
{
    (void)state;
    const ml_ip pinned = ml_ip4(100, 64, 1, 25), absent = ml_ip4(100, 64, 1, 26);
    assert_int_equal(ml_pin_peer(n.ml, now, &pinned, true), ML_OK);
    assert_int_equal(ml_pin_peer(n.ml, now, &pinned, true), ML_OK); /* once is enough */
    netmap(0);
    assert_true(has(25));
    for (uint8_t id = 10; id < 24; id++) {
        now += ML_SEC(3700);
        (void)send_to(id);
        ml_handle_time(n.ml, now);
        netmap(0);
        assert_true(has(id) && has(25));
    }
    /* One that was left out is fetched when it is pinned. */
    now += ML_SEC(3700);
    unsigned before = rereads();
    assert_int_equal(ml_pin_peer(n.ml, now, &absent, true), ML_OK);
    ml_handle_time(n.ml, now);
    assert_int_equal(rereads(), before + 1);
    netmap(0);
    assert_true(has(26) && has(25));
    /* Not pinned any more, it makes room like the others. */
    assert_int_equal(ml_pin_peer(n.ml, now, &pinned, false), ML_OK);
    assert_int_equal(ml_map_need_of(&n.ml->map, ml_map_find_id(&n.ml->map, 25)), ML_NEED_NONE);
    /* The table cannot be pinned full, and there is a bound. */
    ml_err err = ML_OK;
    for (uint8_t i = 100; i < 120 && err == ML_OK; i++) {
        ml_ip ip = ml_ip4(100, 64, 9, i);
        err = ml_pin_peer(n.ml, now, &ip, true);
    }
    assert_int_equal(err, ML_ERR_FULL);
    assert_int_equal(ml_pin_peer(n.ml, now, &(ml_ip){{0}}, true), ML_ERR_ARG);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_packet_to_a_peer_that_was_left_out_brings_it_in),
        T(a_packet_from_a_peer_that_was_left_out_brings_it_in),
        T(a_wish_while_a_list_is_read_waits_for_its_end_and_costs_no_pause),
        T(strangers_cause_no_reading),
        T(a_flood_for_peers_outside_the_table_reads_the_netmap_a_few_times_an_hour),
        T(new_rules_bring_in_whom_they_let_speak_to_us),
        T(C43_a_live_session_holds_its_place_in_a_full_table),
        T(a_table_full_of_idle_sessions_makes_room),
        T(a_pinned_peer_is_kept_whoever_else_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
