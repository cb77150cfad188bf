/*
 * Packet filter: sets and their deltas, limits, jailed peers and shields up, flows, rejects. That verdicts agree with the
 * official filter is shown by test_filter_vectors.c. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "filter/filter.h"
#include "ip/ip_build.h"
#include "ip/tsmp.h"
#include <cmocka.h>
#include <stdlib.h>

static struct ml_filter f;
static void *mem;
static uint8_t buf[64];
static struct ml_ip_view v;

static int setup_with(uint16_t entries, uint16_t flows)
{
    struct ml_filter_cfg cfg = {.max_entries = entries, .max_flows = flows, .max_jailed_flows = 4};
    ml_prefix local = {.ip = ml_ip4(100, 64, 0, 1), .bits = 32};

    mem = malloc(ml_filter_mem(&cfg));
    assert_non_null(mem);
    ml_filter_init(&f, &cfg, mem);
    return ml_filter_set_locals(&f, &local, 1) == 1 ? 0 : -1;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(0, 0);
}

static int teardown(void **state)
{
    (void)state;
    assert_true(ml_filter_check(&f));
    free(mem);
    return 0;
}

static ml_drop apply(enum ml_delta_type type, const char *text)
{
    ml_drop d = ml_filter_apply(&f, &(struct ml_delta){.type = type, .text = text});
    assert_true(ml_filter_check(&f));
    return d;
}

/* A rule that lets 100.64.0.<from> reach our port. */
static ml_drop add_rule(uint8_t from, uint16_t port)
{
    struct ml_rule r = {.src_count = 1, .dst_count = 1};
    r.srcs[0] = (ml_prefix){.ip = ml_ip4(100, 64, 0, from), .bits = 32};
    r.dsts[0] = (struct ml_rule_dst){.net = {.ip = ml_ip4(100, 64, 0, 1), .bits = 32}, .port_first = port, .port_last = port};
    ml_drop d = ml_filter_apply(&f, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &r});
    assert_true(ml_filter_check(&f));
    return d;
}

static void set_of_one(const char *name, uint8_t from, uint16_t port)
{
    apply(ML_DELTA_RULES_BEGIN, name);
    add_rule(from, port);
    apply(ML_DELTA_RULES_END, NULL);
}

static const struct ml_ip_view *udp(uint8_t from, uint16_t from_port, uint8_t to, uint16_t to_port)
{
    ml_addr src = {.ip = ml_ip4(100, 64, 0, from), .port = from_port};
    ml_addr dst = {.ip = ml_ip4(100, 64, 0, to), .port = to_port};
    ml_ip_view_parse(&v, buf, ml_udp_build(buf, sizeof buf, &src, &dst, NULL, 0, 0));
    return &v;
}

static const struct ml_ip_view *tcp(uint8_t from, uint16_t port, uint8_t flags)
{
    ml_ip src = ml_ip4(100, 64, 0, from);
    ml_ip dst = ml_ip4(100, 64, 0, 1);
    memset(buf, 0, sizeof buf);
    ml_ip_write_header(buf, sizeof buf, &src, &dst, ML_IPPROTO_TCP, 20, 0);
    ml_put_be16(buf + 20, 5000);
    ml_put_be16(buf + 22, port);
    buf[32] = 0x50;
    buf[33] = flags;
    ml_ip_view_parse(&v, buf, 40);
    return &v;
}

static bool allows(uint8_t from, uint16_t port)
{
    return ml_filter_in(&f, tcp(from, port, ML_TCP_SYN), false) == ML_DROP_NONE;
}

static void C50_nothing_comes_in_before_any_rules(void **state)
{
    (void)state;
    assert_int_equal(ml_filter_in(&f, tcp(2, 80, ML_TCP_SYN), false), ML_DROP_FILTER_DENIED);
    assert_int_equal(ml_filter_in(&f, udp(2, 1, 1, 80), false), ML_DROP_FILTER_DENIED);
    ml_filter_clear(&f); /* nor is anything ours */
    assert_int_equal(ml_filter_in(&f, tcp(2, 80, ML_TCP_ACK), false), ML_DROP_FILTER_NOT_LOCAL);
}

static void C51_named_sets_add_up_and_are_replaced_emptied_and_deleted_one_by_one(void **state)
{
    (void)state;
    set_of_one("base", 2, 80);
    set_of_one("more", 3, 80);
    assert_true(allows(2, 80) && allows(3, 80) && !allows(2, 81));
    set_of_one("base", 4, 80);
    assert_true(!allows(2, 80) && allows(3, 80) && allows(4, 80));
    apply(ML_DELTA_RULES_BEGIN, "base"); /* [] */
    apply(ML_DELTA_RULES_END, NULL);
    assert_true(!allows(4, 80) && allows(3, 80));
    apply(ML_DELTA_RULES_DELETE, "more"); /* null */
    assert_false(allows(3, 80));
    apply(ML_DELTA_RULES_DELETE, "never was");
}

static void C51_a_star_clears_every_set_before_the_others_of_the_message_are_applied(void **state)
{
    (void)state;
    set_of_one("base", 2, 80);
    set_of_one("more", 3, 80);
    apply(ML_DELTA_BEGIN, NULL);
    apply(ML_DELTA_RULES_CLEAR_ALL, NULL);
    set_of_one("new", 4, 80);
    apply(ML_DELTA_END, NULL);
    assert_true(!allows(2, 80) && !allows(3, 80) && allows(4, 80));
}

static void a_set_that_breaks_off_never_takes_effect(void **state)
{
    (void)state;
    set_of_one("base", 2, 80);
    apply(ML_DELTA_BEGIN, NULL);
    apply(ML_DELTA_RULES_BEGIN, "base");
    add_rule(3, 80);
    assert_true(allows(2, 80) && !allows(3, 80));
    apply(ML_DELTA_ABORT, NULL);
    apply(ML_DELTA_RULES_END, NULL);
    assert_true(allows(2, 80) && !allows(3, 80));
}

static void C38_what_a_message_says_of_rules_takes_effect_at_its_end_or_not_at_all(void **state)
{
    (void)state;
    apply(ML_DELTA_BEGIN, NULL);
    set_of_one("base", 2, 80);
    set_of_one("more", 3, 81);
    assert_false(allows(2, 80));
    apply(ML_DELTA_END, NULL);
    assert_true(allows(2, 80));
    for (unsigned cut = 1; cut <= 5; cut++) {
        apply(ML_DELTA_BEGIN, NULL);
        apply(ML_DELTA_RULES_CLEAR_ALL, NULL);
        if (cut > 1) {
            set_of_one("base", 4, 1234);
        }
        if (cut > 2) {
            apply(ML_DELTA_RULES_DELETE, "more");
        }
        if (cut > 3) {
            apply(ML_DELTA_RULES_BEGIN, "more");
        }
        if (cut > 4) {
            add_rule(5, 99);
        }
        assert_true(allows(2, 80));
        apply(ML_DELTA_ABORT, NULL);
        assert_true(allows(2, 80));
        assert_true(allows(3, 81));
        assert_false(allows(4, 1234));
        assert_false(allows(5, 99));
    }
    apply(ML_DELTA_BEGIN, NULL);
    apply(ML_DELTA_RULES_CLEAR_ALL, NULL);
    set_of_one("base", 4, 1234);
    apply(ML_DELTA_END, NULL);
    assert_false(allows(2, 80));
    assert_false(allows(3, 81));
    assert_true(allows(4, 1234));
}

static void C52_a_set_with_outdated_fields_voids_the_whole_filter(void **state)
{
    (void)state;
    set_of_one("base", 2, 80);
    apply(ML_DELTA_RULES_BEGIN, "other");
    add_rule(3, 80);
    apply(ML_DELTA_RULES_INVALID, NULL);
    apply(ML_DELTA_RULES_END, NULL);
    assert_true(!allows(2, 80) && !allows(3, 80));
    set_of_one("other", 3, 80);
    assert_true(allows(2, 80) && allows(3, 80));
}

static void C53_a_rule_of_no_valid_protocol_matches_icmp_by_address_only(void **state)
{
    (void)state;
    ml_ip src = ml_ip4(100, 64, 0, 2);
    ml_ip dst = ml_ip4(100, 64, 0, 1);
    struct ml_rule r = {.src_count = 1, .dst_count = 1, .has_protos = true};
    r.srcs[0] = (ml_prefix){.ip = src, .bits = 32};
    r.dsts[0] = (struct ml_rule_dst){.net = {.ip = dst, .bits = 32}, .port_first = 0, .port_last = 65535};
    apply(ML_DELTA_RULES_BEGIN, "base");
    ml_filter_apply(&f, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &r});
    apply(ML_DELTA_RULES_END, NULL);
    assert_false(allows(2, 80));
    assert_int_equal(ml_filter_in(&f, udp(2, 1, 1, 80), false), ML_DROP_FILTER_DENIED);
    ml_ip_view_parse(&v, buf, ml_icmp_build_echo(buf, sizeof buf, &src, &dst, false, 1, 1, NULL, 0));
    assert_int_equal(ml_filter_in(&f, &v, false), ML_DROP_NONE);
}

static void rules_that_do_not_fit_allow_nothing_and_are_counted(void **state)
{
    (void)state;
    teardown(state);
    setup_with(7, 0); /* two rules of three entries */
    apply(ML_DELTA_RULES_BEGIN, "base");
    assert_int_equal(add_rule(2, 80), ML_DROP_NONE);
    assert_int_equal(add_rule(3, 80), ML_DROP_NONE);
    assert_int_equal(add_rule(4, 80), ML_DROP_MAP_RULE_OVER_LIMIT);
    apply(ML_DELTA_RULES_END, NULL);
    assert_true(allows(2, 80) && allows(3, 80) && !allows(4, 80));
    assert_true(ml_filter_is_partial(&f));
    assert_int_equal(f.rule_over_limit, 1);
    set_of_one("base", 5, 80); /* the old set makes room for the new one */
    assert_true(allows(5, 80) && !allows(2, 80) && !ml_filter_is_partial(&f));
}

static void a_fifth_set_and_a_set_with_too_long_a_name_are_not_taken(void **state)
{
    (void)state;
    set_of_one("a", 2, 80);
    set_of_one("b", 3, 80);
    set_of_one("c", 4, 80);
    set_of_one("d", 5, 80);
    set_of_one("e", 6, 80);
    assert_true(allows(5, 80) && !allows(6, 80));
    assert_int_equal(apply(ML_DELTA_RULES_BEGIN, "a name of more than thirty-one characters"), ML_DROP_MAP_RULE_OVER_LIMIT);
    add_rule(7, 80);
    apply(ML_DELTA_RULES_END, NULL);
    assert_false(allows(7, 80));
    assert_int_equal(f.rule_over_limit, 2);
}

static void C56_flows_survive_a_new_filter(void **state)
{
    (void)state;
    assert_int_equal(ml_filter_out(&f, udp(1, 1000, 2, 53), false), ML_DROP_NONE);
    set_of_one("base", 9, 9);
    apply(ML_DELTA_RULES_CLEAR_ALL, NULL);
    assert_int_equal(ml_filter_in(&f, udp(2, 53, 1, 1000), false), ML_DROP_NONE);
}

static void D62_replies_to_own_flows_pass_without_rules_and_the_oldest_flow_is_evicted(void **state)
{
    (void)state;
    teardown(state);
    setup_with(0, 3);
    for (uint16_t port = 1; port <= 3; port++) {
        ml_filter_out(&f, udp(1, port, 2, 53), false);
    }
    assert_int_equal(ml_filter_in(&f, udp(2, 53, 1, 1), false), ML_DROP_NONE); /* the first is now the latest used */
    assert_int_equal(ml_filter_in(&f, udp(2, 54, 1, 1), false), ML_DROP_FILTER_DENIED);
    assert_int_equal(ml_filter_in(&f, udp(3, 53, 1, 1), false), ML_DROP_FILTER_DENIED);
    ml_filter_out(&f, udp(1, 4, 2, 53), false);
    assert_int_equal(ml_filter_in(&f, udp(2, 53, 1, 2), false), ML_DROP_FILTER_DENIED);
    for (uint16_t port = 1; port <= 4; port++) {
        if (port != 2) {
            assert_int_equal(ml_filter_in(&f, udp(2, 53, 1, port), false), ML_DROP_NONE);
        }
    }
    assert_int_equal(f.flows.count, 3);
}

static void C55_D64_a_jailed_peer_gets_replies_only_and_has_flows_of_its_own(void **state)
{
    (void)state;
    set_of_one("base", 2, 80);
    assert_int_equal(ml_filter_in(&f, tcp(2, 80, ML_TCP_SYN), false), ML_DROP_NONE);
    assert_int_equal(ml_filter_in(&f, tcp(2, 80, ML_TCP_SYN), true), ML_DROP_FILTER_DENIED);
    assert_int_equal(ml_filter_in(&f, udp(2, 1, 1, 80), true), ML_DROP_FILTER_DENIED);
    assert_int_equal(ml_filter_in(&f, tcp(2, 80, ML_TCP_SYN | ML_TCP_ACK), true), ML_DROP_NONE);
    ml_filter_out(&f, udp(1, 7, 2, 99), true);
    assert_int_equal(ml_filter_in(&f, udp(2, 99, 1, 7), true), ML_DROP_NONE);
    assert_int_equal(ml_filter_in(&f, udp(2, 99, 1, 7), false), ML_DROP_FILTER_DENIED);
}

static void C55_shields_up_lets_only_replies_in(void **state)
{
    (void)state;
    set_of_one("base", 2, 80);
    ml_filter_set_shields_up(&f, true);
    assert_false(allows(2, 80));
    assert_int_equal(ml_filter_in(&f, tcp(2, 80, ML_TCP_ACK), false), ML_DROP_NONE);
    ml_filter_out(&f, udp(1, 7, 2, 99), false);
    assert_int_equal(ml_filter_in(&f, udp(2, 99, 1, 7), false), ML_DROP_NONE);
    ml_filter_set_shields_up(&f, false);
    assert_true(allows(2, 80));
}

static void C55_a_rule_that_would_admit_an_unsigned_peer_voids_the_filter(void **state)
{
    (void)state;
    ml_prefix two = {.ip = ml_ip4(100, 64, 0, 2), .bits = 32};
    ml_prefix nine = {.ip = ml_ip4(100, 64, 0, 9), .bits = 32};
    ml_prefix wide = {.ip = ml_ip4(100, 64, 0, 0), .bits = 10};

    set_of_one("base", 2, 80);
    ml_filter_unsigned_begin(&f);
    ml_filter_unsigned_prefix(&f, &nine);
    assert_true(allows(2, 80));
    ml_filter_unsigned_prefix(&f, &two);
    assert_false(allows(2, 80));
    ml_filter_unsigned_begin(&f);
    assert_true(allows(2, 80));
    ml_filter_unsigned_prefix(&f, &wide);
    assert_false(allows(2, 80));
}

static void D60_a_refused_syn_is_told_so_ten_times_a_second_at_most(void **state)
{
    (void)state;
    uint8_t reason = 0;
    uint8_t out[ML_TSMP_MAX];
    struct ml_ip_view r;
    struct ml_tsmp msg;
    ml_time now = ML_SEC(5);
    ml_drop d = ml_filter_in(&f, tcp(2, 80, ML_TCP_SYN), false);

    for (int i = 0; i < 10; i++) {
        assert_int_equal(ml_filter_reject(&f, now, &v, d, &reason), ML_FILTER_TELL);
        assert_int_equal(reason, 'A');
    }
    assert_int_equal(ml_filter_reject(&f, now + ML_MSEC(999), &v, d, &reason), ML_FILTER_LIMITED);
    assert_int_equal(ml_filter_reject(&f, now + ML_SEC(1), &v, d, &reason), ML_FILTER_TELL);
    ml_filter_set_shields_up(&f, true);
    assert_int_equal(ml_filter_reject(&f, now + ML_SEC(1), &v, d, &reason), ML_FILTER_TELL);
    assert_int_equal(reason, 'S');
    ml_ip_view_parse(&r, out, ml_tsmp_build_rejected(out, sizeof out, &v, reason, false));
    assert_true(ml_tsmp_parse(&r, &msg));
    assert_true(msg.type == ML_TSMP_REJECTED && msg.proto == ML_IPPROTO_TCP && msg.flow_dst.port == 80);
    d = ml_filter_in(&f, udp(2, 1, 1, 80), false);
    assert_int_equal(ml_filter_reject(&f, now + ML_SEC(3), &v, d, &reason), ML_FILTER_SILENT);
}

static void tcp_to_the_peerapi_port_passes_though_no_rule_allows_it(void **state)
{
    (void)state;
    f.peerapi_port4 = 40000;
    assert_true(allows(2, 40000));
    assert_false(allows(2, 40001));
    assert_int_equal(ml_filter_in(&f, udp(2, 1, 1, 40000), false), ML_DROP_FILTER_DENIED);
}

static void what_the_engine_sends_itself_can_be_noted(void **state)
{
    (void)state;
    ml_filter_note(&f, udp(1, 5055, 2, 5055), false);
    assert_int_equal(ml_filter_in(&f, udp(2, 5055, 1, 5055), false), ML_DROP_NONE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(C50_nothing_comes_in_before_any_rules),
        T(C51_named_sets_add_up_and_are_replaced_emptied_and_deleted_one_by_one),
        T(C51_a_star_clears_every_set_before_the_others_of_the_message_are_applied),
        T(a_set_that_breaks_off_never_takes_effect),
        T(C38_what_a_message_says_of_rules_takes_effect_at_its_end_or_not_at_all),
        T(C52_a_set_with_outdated_fields_voids_the_whole_filter),
        T(C53_a_rule_of_no_valid_protocol_matches_icmp_by_address_only),
        T(rules_that_do_not_fit_allow_nothing_and_are_counted),
        T(a_fifth_set_and_a_set_with_too_long_a_name_are_not_taken),
        T(C56_flows_survive_a_new_filter),
        T(D62_replies_to_own_flows_pass_without_rules_and_the_oldest_flow_is_evicted),
        T(C55_D64_a_jailed_peer_gets_replies_only_and_has_flows_of_its_own),
        T(C55_shields_up_lets_only_replies_in),
        T(C55_a_rule_that_would_admit_an_unsigned_peer_voids_the_filter),
        T(D60_a_refused_syn_is_told_so_ten_times_a_second_at_most),
        T(tcp_to_the_peerapi_port_passes_though_no_rule_allows_it),
        T(what_the_engine_sends_itself_can_be_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
