/*
 * Netcheck in virtual time against simulated STUN servers. SPDX-License-Identifier: MIT
 */
#include "disco/vectors.h"
#include "microlink/stats.h"
#include "path/netcheck.h"

#define REGIONS 5

static uint64_t seed;
static ml_random rng = {vec_random_fill, &seed};
static struct ml_netcheck n;
static struct ml_netcheck_region regions[8];
static struct ml_derp_region map[REGIONS];
static ml_time now;

/* The world: each region answers after its latency (0 = never) and sees our mapping as seen4. */
static ml_time latency[REGIONS];
static ml_addr seen4[REGIONS];
static size_t asked[REGIONS];
static ml_time asked_at[REGIONS][8];

struct answer {
    ml_time at;
    uint8_t tx[12];
    ml_addr seen;
};
static struct answer queue[64];
static size_t queued;

static int setup(void **state)
{
    (void)state;
    seed = 5;
    now = ML_SEC(100);
    queued = 0;
    memset(map, 0, sizeof map);
    memset(asked, 0, sizeof asked);
    for (int i = 0; i < REGIONS; i++) {
        map[i] = (struct ml_derp_region){.id = (uint16_t)(i + 1), .node_count = 1};
        map[i].nodes[0].ip4 = ml_ip4(192, 0, 2, (uint8_t)(i + 1));
        latency[i] = ML_MSEC(10 * (i + 1));
        seen4[i] = vec_addr("198.51.100.7:3000");
    }
    ml_netcheck_init(&n, regions, 8, &rng);
    ml_netcheck_set_map_poll(&n, true);
    ml_netcheck_set_regions(&n, now, map, REGIONS, NULL);
    return 0;
}

static void send_all(void)
{
    uint8_t out[ML_STUN_REQUEST_LEN];
    ml_addr dst;
    while (ml_netcheck_poll_send(&n, now, out, &dst)) {
        size_t r = dst.ip.b[15] - 1U;
        assert_true(r < REGIONS && dst.port == 3478);
        asked_at[r][asked[r]++ % 8] = now;
        if (latency[r]) {
            queue[queued] = (struct answer){.at = now + latency[r], .seen = seen4[r]};
            memcpy(queue[queued++].tx, out + 8, 12);
        }
    }
}

static enum ml_drop respond(const uint8_t tx[12], const ml_addr *seen)
{
    uint8_t b[32] = {0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42};
    memcpy(b + 8, tx, 12);
    const uint8_t head[8] = {0x00, 0x01, 0x00, 0x08, 0x00, 0x01};
    memcpy(b + 20, head, 6);
    ml_put_be16(b + 26, seen->port);
    memcpy(b + 28, seen->ip.b + 12, 4);
    enum ml_drop drop = ML_DROP_COUNT;
    ml_netcheck_on_stun(&n, now, b, sizeof b, &drop);
    return drop;
}

/* Runs a measurement to its end and returns the report. */
static struct ml_netcheck_report run_to_end(void)
{
    struct ml_netcheck_report report;
    ml_time started = now;
    for (;;) {
        ml_netcheck_on_time(&n, now);
        if (ml_netcheck_poll_report(&n, &report)) {
            assert_true(now - started <= ML_SEC(3));
            queued = 0;
            return report;
        }
        send_all();
        ml_time next = ml_netcheck_deadline(&n);
        size_t first = SIZE_MAX;
        for (size_t i = 0; i < queued; i++) {
            if (queue[i].at <= next && (first == SIZE_MAX || queue[i].at < queue[first].at)) {
                first = i;
            }
        }
        assert_true(next != ML_NEVER);
        if (first == SIZE_MAX) {
            now = next > now ? next : now;
        } else {
            struct answer a = queue[first];
            queue[first] = queue[--queued];
            now = a.at;
            respond(a.tx, &a.seen);
        }
    }
}

static struct ml_netcheck_report run(bool full)
{
    ml_netcheck_start(&n, now, full);
    return run_to_end();
}

static void the_fastest_region_becomes_home_and_our_address_is_learned(void **state)
{
    (void)state;
    struct ml_netcheck_report r = run(true);
    assert_int_equal(r.home_region, 1);
    assert_true(r.udp && r.ip4 && r.home_changed && r.netinfo_changed && !r.ip6);
    ml_addr want = vec_addr("198.51.100.7:3000");
    assert_true(ml_addr_equal(&r.facts.global4, &want));
    assert_int_equal(ml_netcheck_latency(&n, now, 1), ML_MSEC(10));
}

static void a_report_ends_after_the_third_region_and_twice_its_latency(void **state)
{
    (void)state;
    latency[3] = latency[4] = 0;
    ml_time started = now;
    run(true);
    assert_int_equal(now - started, ML_MSEC(30 + 60));
}

static void silent_regions_get_one_retry_after_200_ms_and_3_s_end_it(void **state)
{
    (void)state;
    memset(latency, 0, sizeof latency);
    latency[0] = ML_MSEC(10);
    ml_time started = now;
    run(true);
    assert_int_equal(now - started, ML_SEC(3));
    assert_int_equal(asked[0], 1);
    for (int i = 1; i < REGIONS; i++) {
        assert_int_equal(asked[i], 2);
        assert_int_equal(asked_at[i][1] - asked_at[i][0], ML_MSEC(200));
    }
}

static void D39_answers_to_foreign_transaction_ids_are_refused(void **state)
{
    (void)state;
    ml_netcheck_start(&n, now, true);
    send_all();
    const uint8_t tx[12] = {1, 2, 3};
    assert_int_equal(respond(tx, &seen4[0]), ML_DROP_STUN_UNKNOWN_TX);
    assert_int_equal(respond(queue[0].tx, &seen4[0]), ML_DROP_NONE);
    assert_int_equal(respond(queue[0].tx, &seen4[0]), ML_DROP_STUN_UNKNOWN_TX); /* a second time */
}

static void D41_mapping_varies_when_two_servers_differ_and_is_absent_for_one(void **state)
{
    (void)state;
    assert_int_equal(run(true).mapping_varies, ML_TRI_FALSE);
    setup(NULL);
    seen4[1].port++;
    struct ml_netcheck_report r = run(true);
    assert_int_equal(r.mapping_varies, ML_TRI_TRUE);
    assert_true(r.facts.mapping_varies);
    setup(NULL);
    for (int i = 1; i < REGIONS; i++) {
        latency[i] = 0;
    }
    assert_int_equal(run(true).mapping_varies, ML_TRI_UNKNOWN);
}

static void another_mapping_is_advertised_when_two_servers_saw_it(void **state)
{
    (void)state;
    for (int i = 1; i < REGIONS; i++) {
        seen4[i] = vec_addr("198.51.100.7:4000");
        latency[i] = ML_MSEC(11);
    }
    struct ml_netcheck_report r = run(true);
    ml_addr want = vec_addr("198.51.100.7:4000");
    assert_true(ml_addr_equal(&r.facts.extra[0], &want));
}

static void D42_the_home_does_not_flap_and_a_region_at_half_the_latency_wins(void **state)
{
    (void)state;
    latency[0] = ML_MSEC(9);
    latency[1] = ML_MSEC(5);
    assert_int_equal(run(true).home_region, 2);
    for (int i = 0; i < 40; i++) { /* they take turns at being 6 ms slower */
        latency[0] = ML_MSEC(i % 2 ? 9 : 3);
        latency[1] = ML_MSEC(i % 2 ? 5 : 11);
        now += ML_SEC(23);
        struct ml_netcheck_report r = run(i % 10 == 0);
        assert_int_equal(r.home_region, 2);
        assert_false(r.home_changed);
    }
    /* Not yet: 30 % faster and more than 10 ms. Then half, and more than 10 ms. */
    setup(NULL);
    latency[0] = ML_MSEC(40);
    run(true);
    ml_netcheck_set_home(&n, 1);
    latency[1] = ML_MSEC(28);
    latency[2] = latency[3] = latency[4] = ML_MSEC(100);
    now += ML_SEC(310);
    assert_int_equal(run(true).home_region, 1);
    latency[1] = ML_MSEC(20);
    now += ML_SEC(310);
    assert_int_equal(run(true).home_region, 2);
}

static void less_than_10_ms_is_no_reason_to_move(void **state)
{
    (void)state;
    latency[0] = ML_MSEC(12);
    latency[1] = ML_MSEC(3);
    ml_netcheck_set_home(&n, 1);
    assert_int_equal(run(true).home_region, 1);
}

static void a_silent_home_is_left_unless_its_relay_was_heard_within_8_s(void **state)
{
    (void)state;
    ml_netcheck_set_home(&n, 5);
    latency[4] = 0;
    ml_netcheck_note_derp_frame(&n, now, 5);
    assert_int_equal(run(true).home_region, 5);
    now += ML_SEC(9);
    assert_int_equal(run(true).home_region, 1);
}

static void with_nothing_measured_the_home_is_kept_else_the_same_random_one_is_picked(void **state)
{
    (void)state;
    memset(latency, 0, sizeof latency);
    map[0].no_measure_no_home = true;
    struct ml_netcheck_report r = run(true);
    uint16_t picked = r.home_region;
    assert_in_range(picked, 2, REGIONS);
    assert_false(r.udp);
    now += ML_SEC(400);
    assert_int_equal(run(true).home_region, picked);
    ml_netcheck_set_home(&n, 4);
    now += ML_SEC(400);
    assert_int_equal(run(true).home_region, 4);
}

static void without_a_map_poll_a_home_never_changes_but_a_first_one_is_chosen(void **state)
{
    (void)state;
    ml_netcheck_set_map_poll(&n, false);
    assert_int_equal(run(true).home_region, 1);
    latency[0] = 0;
    now += ML_SEC(400);
    assert_int_equal(run(true).home_region, 1);
    ml_netcheck_set_map_poll(&n, true);
    now += ML_SEC(400);
    assert_int_equal(run(true).home_region, 2);
}

static void regions_that_are_not_to_be_measured_are_neither_probed_nor_chosen(void **state)
{
    (void)state;
    map[0].no_measure_no_home = true;
    assert_int_equal(run(true).home_region, 2);
    assert_int_equal(asked[0], 0);
}

static void scores_weigh_latencies(void **state)
{
    (void)state;
    static const uint32_t score[REGIONS] = {3000, 1000, 0, 0, 0};
    ml_netcheck_set_regions(&n, now, map, REGIONS, score);
    assert_int_equal(run(true).home_region, 2); /* 10 ms x 3 against 20 ms */
}

static void an_incremental_report_asks_the_home_and_the_two_fastest(void **state)
{
    (void)state;
    latency[2] = ML_MSEC(25);
    latency[3] = ML_MSEC(26);
    latency[4] = ML_MSEC(27);
    run(true);
    ml_netcheck_set_home(&n, 5);
    memset(asked, 0, sizeof asked);
    now += ML_SEC(23);
    run(false);
    assert_int_equal(asked[0] + asked[1] + asked[4], 3);
    assert_int_equal(asked[2] + asked[3], 0);
}

static void D45_netinfo_is_reported_again_only_for_more_than_latencies(void **state)
{
    (void)state;
    assert_true(run(true).netinfo_changed);
    latency[0] = ML_MSEC(14);
    now += ML_SEC(30);
    assert_false(run(true).netinfo_changed);
    seen4[1].port++;
    now += ML_SEC(30);
    assert_true(run(true).netinfo_changed);
    now += ML_SEC(30);
    assert_false(run(true).netinfo_changed);
    memset(latency, 0, sizeof latency);
    now += ML_SEC(30);
    assert_true(run(true).netinfo_changed);
}

static void measurements_repeat_every_20_to_26_s_while_there_is_traffic(void **state)
{
    (void)state;
    run(true);
    assert_int_equal(ml_netcheck_deadline(&n), ML_NEVER);
    ml_netcheck_set_wanted(&n, now, true);
    assert_int_equal(ml_netcheck_deadline(&n), ML_NEVER); /* no traffic yet */
    ml_netcheck_note_activity(&n, now);
    ml_time last_activity = now;
    size_t reports = 0;
    while (ml_netcheck_deadline(&n) != ML_NEVER) {
        ml_time next = ml_netcheck_deadline(&n);
        assert_in_range(next - now, ML_SEC(20), ML_SEC(26));
        now = next;
        ml_netcheck_on_time(&n, now);
        if (ml_netcheck_deadline(&n) == ML_NEVER) {
            break;
        }
        run_to_end();
        assert_true(++reports < 4);
    }
    assert_true(reports >= 1 && now - last_activity > ML_SEC(40));
}

static void names_are_resolved_when_the_map_has_no_address(void **state)
{
    (void)state;
    memset(&map[0].nodes[0].ip4, 0, sizeof map[0].nodes[0].ip4);
    strcpy(map[0].nodes[0].host, "derp1.example.com");
    ml_netcheck_start(&n, now, true);
    uint32_t token, again;
    const char *host;
    assert_true(ml_netcheck_poll_resolve(&n, now, &token, &host));
    assert_string_equal(host, "derp1.example.com");
    assert_false(ml_netcheck_poll_resolve(&n, now, &again, &host));
    send_all();
    assert_int_equal(asked[0], 0);
    ml_ip ips[2] = {ml_ip_from16((const uint8_t[16]){0x20, 1}), ml_ip4(192, 0, 2, 1)};
    now += ML_MSEC(50);
    ml_netcheck_on_resolved(&n, now, token + 256, ips, 2); /* stale */
    send_all();
    assert_int_equal(asked[0], 0);
    ml_netcheck_on_resolved(&n, now, token, ips, 2);
    send_all();
    assert_int_equal(asked[0], 1);
    now += ML_MSEC(10);
    assert_int_equal(respond(queue[queued - 1].tx, &seen4[0]), ML_DROP_NONE);
    assert_int_equal(regions[0].now4_us, ML_MSEC(10)); /* without the time DNS took */
}

static void a_new_map_keeps_latencies_of_regions_that_stay_and_drops_a_home_that_went(void **state)
{
    (void)state;
    run(true);
    struct ml_derp_region fewer[2] = {map[2], map[1]};
    ml_netcheck_set_regions(&n, now, fewer, 2, NULL);
    assert_int_equal(n.report.home_region, 0);
    assert_int_equal(ml_netcheck_latency(&n, now, 2), ML_MSEC(20));
    assert_int_equal(ml_netcheck_latency(&n, now, 1), 0);
    assert_int_equal(run(true).home_region, 2);
}

static void a_start_during_a_measurement_is_remembered_unless_it_is_the_same_instant(void **state)
{
    (void)state;
    ml_netcheck_start(&n, now, true);
    ml_netcheck_start(&n, now, false);
    send_all();
    run_to_end();
    assert_int_equal(ml_netcheck_deadline(&n), ML_NEVER);
    ml_netcheck_start(&n, now, true);
    send_all();
    now += ML_MSEC(1);
    ml_netcheck_start(&n, now, false);
    run_to_end();
    assert_int_not_equal(ml_netcheck_deadline(&n), ML_NEVER);
    run_to_end();
    assert_int_equal(ml_netcheck_deadline(&n), ML_NEVER);
}

static void disabled_stun_ends_at_once_with_a_home(void **state)
{
    (void)state;
    ml_netcheck_set_disabled(&n, true);
    ml_time started = now;
    struct ml_netcheck_report r = run(true);
    assert_int_equal(now, started);
    assert_true(r.home_region != 0 && !r.udp);
}

/* Runs a measurement in which nothing answers over UDP, and regions answer over HTTPS after http_latency (0 = never). */
static ml_time http_latency[REGIONS];
static size_t http_asked[REGIONS];
static struct ml_netcheck_report run_http(bool full)
{
    struct ml_netcheck_report report;
    ml_time started = now;
    memset(http_asked, 0, sizeof http_asked);
    ml_netcheck_start(&n, now, full);
    for (uint16_t asking = 0;;) {
        ml_netcheck_on_time(&n, now);
        if (ml_netcheck_poll_report(&n, &report)) {
            assert_true(now - started <= ML_SEC(9));
            return report;
        }
        send_all();
        uint16_t region = ml_netcheck_http_region(&n);
        ml_time next = ml_netcheck_deadline(&n);
        if (region && region != asking) {
            http_asked[region - 1]++;
            asking = region;
            if (http_latency[region - 1] && now + http_latency[region - 1] < next) {
                now += http_latency[region - 1];
                ml_netcheck_on_http(&n, now, region, http_latency[region - 1]);
                continue;
            }
        }
        now = next > now ? next : now;
    }
}

static void setup_http(void)
{
    memset(latency, 0, sizeof latency);
    for (size_t i = 0; i < REGIONS; i++) {
        http_latency[i] = ML_MSEC(100 * (i + 1));
    }
    ml_netcheck_set_http(&n, true);
}

static void D43_without_any_stun_answer_https_supplies_a_home(void **state)
{
    (void)state;
    setup_http();
    struct ml_netcheck_report r = run_http(true);
    size_t total = 0, best = 0;
    for (size_t i = REGIONS; i-- > 0;) {
        total += http_asked[i];
        best = http_asked[i] ? i + 1 : best;
    }
    assert_int_equal(total, ML_NETCHECK_HTTP);
    assert_int_equal(r.home_region, best); /* the fastest of those asked */
    assert_false(r.udp || r.ip4 || ml_ip_is_set(&r.facts.global4.ip));
    assert_int_equal(ml_netcheck_latency(&n, now, (uint16_t)best), ML_MSEC(100 * best));
}

static void D43_with_nothing_reachable_the_previous_home_is_kept(void **state)
{
    (void)state;
    run(true);
    uint16_t home = n.report.home_region;
    assert_int_equal(home, 1);
    setup_http();
    memset(http_latency, 0, sizeof http_latency);
    now += ML_SEC(3600);
    struct ml_netcheck_report r = run_http(true);
    assert_int_equal(r.home_region, home);
    assert_int_equal(http_asked[home - 1], 1); /* it is the first to be asked */
    assert_false(r.home_changed);
}

static void D44_no_measure_no_home_regions_are_not_asked_over_https(void **state)
{
    (void)state;
    setup_http();
    map[0].no_measure_no_home = map[1].no_measure_no_home = map[2].no_measure_no_home = true;
    map[3].nodes[0].is_stun_only = true;
    struct ml_netcheck_report r = run_http(true);
    assert_int_equal(r.home_region, 5);
    assert_true(!http_asked[0] && !http_asked[1] && !http_asked[2] && !http_asked[3]);
}

static void an_incremental_report_asks_nobody_over_https(void **state)
{
    (void)state;
    run(true);
    setup_http();
    run_http(false);
    for (size_t i = 0; i < REGIONS; i++) {
        assert_int_equal(http_asked[i], 0);
    }
}

static void a_silent_relay_does_not_keep_the_next_ones_from_being_asked(void **state)
{
    (void)state;
    run(true);
    setup_http();
    http_latency[0] = 0; /* the home */
    now += ML_SEC(3600);
    struct ml_netcheck_report r = run_http(true);
    assert_int_equal(http_asked[0], 1);
    assert_true(r.home_region != 1);
    /* What comes for a region that is not asked any more counts for nothing. */
    ml_netcheck_start(&n, now, true);
    ml_netcheck_on_http(&n, now, 1, ML_MSEC(1));
    assert_int_equal(n.regions[0].now_http_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(D43_without_any_stun_answer_https_supplies_a_home, setup),
        cmocka_unit_test_setup(D43_with_nothing_reachable_the_previous_home_is_kept, setup),
        cmocka_unit_test_setup(D44_no_measure_no_home_regions_are_not_asked_over_https, setup),
        cmocka_unit_test_setup(an_incremental_report_asks_nobody_over_https, setup),
        cmocka_unit_test_setup(a_silent_relay_does_not_keep_the_next_ones_from_being_asked, setup),
        cmocka_unit_test_setup(the_fastest_region_becomes_home_and_our_address_is_learned, setup),
        cmocka_unit_test_setup(a_report_ends_after_the_third_region_and_twice_its_latency, setup),
        cmocka_unit_test_setup(silent_regions_get_one_retry_after_200_ms_and_3_s_end_it, setup),
        cmocka_unit_test_setup(D39_answers_to_foreign_transaction_ids_are_refused, setup),
        cmocka_unit_test_setup(D41_mapping_varies_when_two_servers_differ_and_is_absent_for_one, setup),
        cmocka_unit_test_setup(another_mapping_is_advertised_when_two_servers_saw_it, setup),
        cmocka_unit_test_setup(D42_the_home_does_not_flap_and_a_region_at_half_the_latency_wins, setup),
        cmocka_unit_test_setup(less_than_10_ms_is_no_reason_to_move, setup),
        cmocka_unit_test_setup(a_silent_home_is_left_unless_its_relay_was_heard_within_8_s, setup),
        cmocka_unit_test_setup(with_nothing_measured_the_home_is_kept_else_the_same_random_one_is_picked, setup),
        cmocka_unit_test_setup(without_a_map_poll_a_home_never_changes_but_a_first_one_is_chosen, setup),
        cmocka_unit_test_setup(regions_that_are_not_to_be_measured_are_neither_probed_nor_chosen, setup),
        cmocka_unit_test_setup(scores_weigh_latencies, setup),
        cmocka_unit_test_setup(an_incremental_report_asks_the_home_and_the_two_fastest, setup),
        cmocka_unit_test_setup(D45_netinfo_is_reported_again_only_for_more_than_latencies, setup),
        cmocka_unit_test_setup(measurements_repeat_every_20_to_26_s_while_there_is_traffic, setup),
        cmocka_unit_test_setup(names_are_resolved_when_the_map_has_no_address, setup),
        cmocka_unit_test_setup(a_new_map_keeps_latencies_of_regions_that_stay_and_drops_a_home_that_went, setup),
        cmocka_unit_test_setup(a_start_during_a_measurement_is_remembered_unless_it_is_the_same_instant, setup),
        cmocka_unit_test_setup(disabled_stun_ends_at_once_with_a_home, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
