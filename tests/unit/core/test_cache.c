/*
 * The cache record: packets after a restart before control has answered, what it must not bring back, and how often it is
 * written. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/core_world.h"
#include "crypto/blake2s.h"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_start(&w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_end(&w);
    return 0;
}

static void reseal(uint8_t *buf, size_t len)
{
    struct ml_blake2s s;
    ml_blake2s_init(&s, ML_STORE_TRAILER, (const uint8_t *)"microlink record", 16);
    ml_blake2s_update(&s, buf, len - ML_STORE_TRAILER);
    ml_blake2s_final(&s, buf + len - ML_STORE_TRAILER);
}

/* Node i loses power and starts with what it had stored; control stays silent. */
static void restart(unsigned i)
{
    struct world_node *n = &w.n[i];
    struct ml_identity id = n->ml->identity;
    ml_clear(n->ml);
    free(n->mem);
    const ml_config cfg = {.random = {.fill = world_random, .ctx = &n->seed},
                           .control_url = "http://127.0.0.1:1",
                           .hostname = "again",
                           .no_stun = true};
    size_t need = ml_mem_needed(&cfg);
    n->mem = malloc(need);
    assert_non_null(n->mem);
    assert_int_equal(ml_init(&n->ml, n->mem, need, &cfg), ML_OK);
    n->ml->identity = id;
    n->ml->has_machine = true;
    for (unsigned k = ML_STORE_CLOCK; k < ML_STORE_COUNT; k++) {
        if (n->record_len[k]) {
            assert_int_equal(ml_load(n->ml, (ml_store_kind)k, n->record[k], n->record_len[k]), ML_OK);
        }
    }
    n->inbox_count = 0;
    assert_int_equal(ml_start(n->ml, w.now), ML_OK);
    ml_set_local_addrs(n->ml, w.now, &n->addr, 1);
}

/* Both have spoken and both caches are written. */
static void meet(void)
{
    assert_int_equal(world_send(&w, 0, 1, "before"), ML_OK);
    world_run(&w, ML_SEC(30));
    assert_true(world_got(&w, 1, "before"));
    assert_true(w.n[0].record_len[ML_STORE_CACHE] > 200);
}

static void after_a_restart_packets_flow_both_ways_within_two_seconds_though_control_is_silent(void **state)
{
    (void)state;
    meet();
    restart(0);
    (void)world_send(&w, 0, 1, "out");
    world_run(&w, ML_SEC(2));
    assert_true(world_got(&w, 1, "out"));
    restart(0);
    /* The peer does not know yet that its session is gone; what it sends tells us to begin another. */
    for (int i = 0; i < 4 && !world_got(&w, 0, "in"); i++) {
        (void)world_send(&w, 1, 0, "in");
        world_run(&w, ML_MSEC(500));
    }
    assert_true(world_got(&w, 0, "in"));
    ml_self_info self;
    ml_get_self(w.n[0].ml, &self);
    assert_true(ml_ip_equal(&self.ip4, &w.n[0].ip4));
    assert_int_equal(ml_get_peer_count(w.n[0].ml), 1);
}

static void a_peer_removed_meanwhile_is_gone_with_the_first_netmap(void **state)
{
    (void)state;
    struct ml_node self;
    meet();
    restart(0);
    (void)world_send(&w, 0, 1, "out");
    world_run(&w, ML_SEC(2));
    assert_true(world_got(&w, 1, "out"));
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_BEGIN, .first = true});
    world_node_of(&w, 0, &self);
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_SELF, .node = &self});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_PEERS_BEGIN});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_PEERS_END});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_END});
    assert_int_equal(ml_get_peer_count(w.n[0].ml), 0);
    w.n[0].inbox_count = 0;
    (void)world_send(&w, 1, 0, "still here?");
    world_run(&w, ML_SEC(2));
    assert_int_equal(w.n[0].inbox_count, 0);
    /* And a power cut right after does not bring it back. */
    restart(0);
    assert_int_equal(ml_get_peer_count(w.n[0].ml), 0);
}

static void the_cache_of_another_login_is_not_used(void **state)
{
    (void)state;
    meet();
    ml_x25519_keygen(&w.n[0].ml->identity.node, &w.n[0].ml->random);
    restart(0);
    assert_int_equal(ml_get_peer_count(w.n[0].ml), 0);
    assert_int_equal(w.n[0].ml->regions.region_count, 0);
    assert_int_equal(ml_filter_digest(&w.n[0].ml->filter), ml_filter_digest(&(struct ml_filter){0}));
}

static void nothing_is_cached_of_a_locked_tailnet_or_after_logout(void **state)
{
    (void)state;
    meet();
    size_t full = w.n[0].record_len[ML_STORE_CACHE];
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_TKA, .flag = true});
    world_run(&w, ML_SEC(5));
    size_t locked = w.n[0].record_len[ML_STORE_CACHE];
    assert_true(locked < full && locked < 200);
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_TKA, .flag = false});
    world_run(&w, ML_SEC(5));
    assert_int_equal(w.n[0].record_len[ML_STORE_CACHE], full);
    (void)ml_logout(w.n[0].ml, w.now);
    world_settle(&w);
    assert_true(w.n[0].record_len[ML_STORE_CACHE] < 200);
}

/* One rule for each port from 1 to n. */
static void rules(unsigned count)
{
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_BEGIN});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_RULES_BEGIN, .text = "base"});
    for (unsigned k = 0; k < count; k++) {
        struct ml_rule rule = {.src_count = 1, .dst_count = 1, .srcs = {{.ip = w.n[1].ip4, .bits = 32}}};
        rule.dsts[0] = (struct ml_rule_dst){
            .net = {.ip = w.n[0].ip4, .bits = 32}, .port_first = (uint16_t)(k + 2000), .port_last = (uint16_t)(k + 2000)};
        world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &rule});
    }
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_RULES_END, .text = "base"});
    world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_END});
}

static void rules_that_do_not_fit_into_the_record_leave_replies_only(void **state)
{
    (void)state;
    meet();
    rules(20);
    uint32_t want = ml_filter_digest(&w.n[0].ml->filter);
    world_run(&w, ML_SEC(5));
    restart(0);
    assert_int_equal(ml_filter_digest(&w.n[0].ml->filter), want);
    /* The engine takes 64 entries here, so the record is made small instead. */
    uint8_t buf[ML_STORE_MAX];
    size_t full = core_cache_write(w.n[0].ml, buf, sizeof buf);
    unsigned with_rules = 0, without = 0;
    for (size_t cap = full; cap > 0; cap--) {
        size_t n = core_cache_write(w.n[0].ml, buf, cap);
        if (n == 0) {
            continue;
        }
        w.n[0].record_len[ML_STORE_CACHE] = n;
        memcpy(w.n[0].record[ML_STORE_CACHE], buf, n);
        restart(0);
        uint32_t got = ml_filter_digest(&w.n[0].ml->filter);
        with_rules += got == want;
        without += got == ml_filter_digest(&(struct ml_filter){0});
        assert_int_equal(ml_get_peer_count(w.n[0].ml), 1);
        assert_true(got == want || got == ml_filter_digest(&(struct ml_filter){0})); /* never some of them */
        rules(20);
        (void)core_cache_write(w.n[0].ml, buf, sizeof buf);
    }
    assert_true(with_rules > 0 && without > 0);
}

static void a_record_of_version_one_is_read_and_any_damage_behind_the_seal_is_survived(void **state)
{
    (void)state;
    meet();
    struct world_node *n = &w.n[0];
    uint8_t good[ML_STORE_MAX];
    size_t len = n->record_len[ML_STORE_CACHE];
    memcpy(good, n->record[ML_STORE_CACHE], len);
    struct ml_cache c = n->ml->cache;
    n->record_len[ML_STORE_CACHE] = ml_store_write_cache(n->record[ML_STORE_CACHE], ML_STORE_MAX, &c);
    n->record[ML_STORE_CACHE][5] = 1;
    reseal(n->record[ML_STORE_CACHE], n->record_len[ML_STORE_CACHE]);
    restart(0);
    ml_self_info self;
    ml_get_self(n->ml, &self);
    assert_true(ml_ip_equal(&self.ip4, &n->ip4));
    assert_int_equal(ml_get_peer_count(n->ml), 0);
    for (size_t at = 8; at + ML_STORE_TRAILER < len; at++) {
        memcpy(n->record[ML_STORE_CACHE], good, len);
        n->record[ML_STORE_CACHE][at] ^= 0xff;
        reseal(n->record[ML_STORE_CACHE], len);
        struct ml_engine *ml = n->ml;
        ml->is_started = false;
        (void)ml_load(ml, ML_STORE_CACHE, n->record[ML_STORE_CACHE], len);
        ml->is_started = true;
        assert_true(ml_map_check(&ml->map) && ml_filter_check(&ml->filter));
    }
    for (size_t cut = len; cut > 24 + ML_STORE_TRAILER; cut--) {
        memcpy(n->record[ML_STORE_CACHE], good, cut);
        ml_put_be16(n->record[ML_STORE_CACHE] + 6, (uint16_t)(cut - 8 - ML_STORE_TRAILER));
        reseal(n->record[ML_STORE_CACHE], cut);
        n->ml->is_started = false;
        (void)ml_load(n->ml, ML_STORE_CACHE, n->record[ML_STORE_CACHE], cut);
        n->ml->is_started = true;
        assert_true(ml_map_check(&n->ml->map) && ml_filter_check(&n->ml->filter));
    }
}

static unsigned cache_writes(void)
{
    return w.n[0].store_count[ML_STORE_CACHE];
}

static void flash_wear_is_bounded_under_churn_and_nothing_at_rest(void **state)
{
    (void)state;
    meet();
    unsigned before = cache_writes();
    /* At rest, and under a control that says the same all day: a stream an hour, with the same netmap. */
    for (int hour = 0; hour < 24; hour++) {
        world_netmap(&w, 0);
        world_run(&w, ML_SEC(3600));
    }
    unsigned at_rest = cache_writes() - before;
    assert_int_equal(at_rest, 0);
    /* New rules, and another relay of the peer, every ten seconds of a day. */
    before = cache_writes();
    for (unsigned k = 0; k < 24 * 360; k++) {
        struct ml_node_patch p = {.id = 101, .fields = ML_PATCH_REGION, .region = (uint16_t)(1 + k % 7)};
        rules(1 + k % 5);
        world_delta(&w, 0, &(struct ml_delta){.type = ML_DELTA_PEER_PATCH, .patch = &p});
        w.now += ML_SEC(10);
        (void)world_drain(&w, 0);
    }
    unsigned churning = cache_writes() - before;
    print_message("cache writes a day: %u at rest, %u under churn\n", at_rest, churning);
    assert_true(churning >= 24 && churning <= 28);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(after_a_restart_packets_flow_both_ways_within_two_seconds_though_control_is_silent),
        T(a_peer_removed_meanwhile_is_gone_with_the_first_netmap),
        T(the_cache_of_another_login_is_not_used),
        T(nothing_is_cached_of_a_locked_tailnet_or_after_logout),
        T(rules_that_do_not_fit_into_the_record_leave_replies_only),
        T(a_record_of_version_one_is_read_and_any_damage_behind_the_seal_is_survived),
        T(flash_wear_is_bounded_under_churn_and_nothing_at_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
