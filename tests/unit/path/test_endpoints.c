/*
 * Our own endpoints. SPDX-License-Identifier: MIT
 */
#include "disco/vectors.h"
#include "path/endpoints.h"

static struct ml_endpoints e;

static void set_local(const char *const *text, size_t count)
{
    ml_addr a[16];
    for (size_t i = 0; i < count; i++) {
        a[i] = vec_addr(text[i]);
    }
    ml_endpoints_set_local(&e, a, count);
}

static void expect(size_t at, const char *addr, enum ml_endpoint_type type)
{
    ml_addr want = vec_addr(addr);
    assert_true(at < e.count);
    assert_true(ml_addr_equal(&e.list[at].addr, &want));
    assert_int_equal(e.list[at].type, type);
}

static int setup(void **state)
{
    (void)state;
    ml_endpoints_init(&e);
    return 0;
}

static void stun_results_come_first_then_local_addresses_with_their_types(void **state)
{
    (void)state;
    const char *local[] = {"[2001:db8::5]:41641", "192.168.1.5:41641"};
    set_local(local, 2);
    struct ml_endpoint_facts f = {.global4 = vec_addr("198.51.100.7:3000"), .global6 = vec_addr("[2001:db8::5]:41641")};
    ml_endpoints_set_facts(&e, ML_SEC(1), &f);
    assert_int_equal(e.count, 3);
    expect(0, "198.51.100.7:3000", ML_ENDPOINT_STUN);
    expect(1, "[2001:db8::5]:41641", ML_ENDPOINT_STUN);
    expect(2, "192.168.1.5:41641", ML_ENDPOINT_LOCAL);
}

static void a_varying_mapping_with_a_fixed_port_adds_the_hard_nat_guess(void **state)
{
    (void)state;
    struct ml_endpoint_facts f = {.global4 = vec_addr("198.51.100.7:3000"), .mapping_varies = true, .fixed_port = 41641};
    ml_endpoints_set_facts(&e, ML_SEC(1), &f);
    assert_int_equal(e.count, 2);
    expect(1, "198.51.100.7:41641", ML_ENDPOINT_STUN4_LOCAL_PORT);
    f.fixed_port = 0;
    setup(NULL);
    ml_endpoints_set_facts(&e, ML_SEC(1), &f);
    assert_int_equal(e.count, 1);
}

static void a_local_address_is_published_when_stun_says_nothing(void **state)
{
    (void)state;
    const char *local[] = {"192.168.1.5:41641"};
    set_local(local, 1);
    struct ml_endpoint_facts none = {0};
    ml_endpoints_set_facts(&e, ML_SEC(1), &none);
    assert_int_equal(e.count, 1);
    expect(0, "192.168.1.5:41641", ML_ENDPOINT_LOCAL);
    assert_true(ml_endpoints_take_changed(&e));
}

static void only_usable_local_addresses_are_taken(void **state)
{
    (void)state;
    const char *mixed[] = {"100.64.1.2:41641",    "[fd7a:115c:a1e0::1]:41641", "[fe80::1]:41641", "127.0.0.1:41641",
                           "169.254.1.1:41641",   "[fd00::1]:41641",           "10.0.0.1:41641",  "[2001:db8::1]:41641",
                           "[2001:db8::2]:41641", "[2001:db8::3]:41641"};
    set_local(mixed, 10);
    assert_int_equal(e.count, 3);
    expect(0, "10.0.0.1:41641", ML_ENDPOINT_LOCAL);
    expect(1, "[2001:db8::1]:41641", ML_ENDPOINT_LOCAL);
    expect(2, "[2001:db8::2]:41641", ML_ENDPOINT_LOCAL); /* two of one subnet */
    set_local(mixed, 6);
    assert_int_equal(e.count, 2);
    expect(0, "169.254.1.1:41641", ML_ENDPOINT_LOCAL);
    expect(1, "[fd00::1]:41641", ML_ENDPOINT_LOCAL);
    set_local(mixed, 4);
    assert_int_equal(e.count, 1);
    expect(0, "127.0.0.1:41641", ML_ENDPOINT_LOCAL);
    /* Loopback is nothing to tell anybody once there is something else. */
    struct ml_endpoint_facts f = {.global4 = vec_addr("198.51.100.7:3000")};
    ml_endpoints_set_facts(&e, ML_SEC(1), &f);
    assert_int_equal(e.count, 1);
    expect(0, "198.51.100.7:3000", ML_ENDPOINT_STUN);
}

static void an_old_mapping_stays_5_min_10_s_after_it_was_last_seen(void **state)
{
    (void)state;
    struct ml_endpoint_facts a = {.global4 = vec_addr("198.51.100.7:3000")}, b = {.global4 = vec_addr("198.51.100.7:3001")};
    ml_endpoints_set_facts(&e, ML_SEC(1), &a);
    ml_endpoints_set_facts(&e, ML_SEC(20), &b);
    assert_int_equal(e.count, 2);
    expect(0, "198.51.100.7:3001", ML_ENDPOINT_STUN);
    expect(1, "198.51.100.7:3000", ML_ENDPOINT_STUN);
    ml_endpoints_set_facts(&e, ML_SEC(310), &b);
    assert_int_equal(e.count, 2);
    ml_endpoints_set_facts(&e, ML_SEC(311), &b);
    assert_int_equal(e.count, 1);
}

static void the_list_is_bounded_and_keeps_room_for_local_addresses(void **state)
{
    (void)state;
    const char *local[] = {"10.0.0.1:41641", "10.0.1.1:41641", "10.0.2.1:41641"};
    set_local(local, 3);
    for (uint16_t i = 0; i < 200; i++) {
        struct ml_endpoint_facts f = {.global4 = vec_addr("198.51.100.7:3000"), .global6 = vec_addr("[2001:db8::7]:1")};
        f.global4.port = (uint16_t)(3000 + i);
        f.global6.port = (uint16_t)(1 + i);
        ml_endpoints_set_facts(&e, ML_SEC(1 + i), &f);
        assert_true(e.count <= ML_ENDPOINTS);
        assert_true(e.list[0].addr.port == 3000 + i);
    }
    assert_int_equal(e.count, ML_ENDPOINTS);
    expect(6, "10.0.0.1:41641", ML_ENDPOINT_LOCAL);
    expect(7, "10.0.1.1:41641", ML_ENDPOINT_LOCAL);
}

static void a_change_is_reported_when_the_set_differs_not_its_order(void **state)
{
    (void)state;
    const char *ab[] = {"10.0.0.1:1", "10.0.0.2:1"}, *ba[] = {"10.0.0.2:1", "10.0.0.1:1"};
    set_local(ab, 2);
    assert_true(ml_endpoints_take_changed(&e));
    assert_false(ml_endpoints_take_changed(&e));
    set_local(ba, 2);
    assert_false(ml_endpoints_take_changed(&e));
    set_local(ba, 1);
    assert_true(ml_endpoints_take_changed(&e));
}

static void endpoints_are_fresh_for_27_s_and_not_after_a_link_change(void **state)
{
    (void)state;
    struct ml_endpoint_facts f = {.global4 = vec_addr("198.51.100.7:3000")}, g = {.global4 = vec_addr("203.0.113.1:1")};
    assert_false(ml_endpoints_is_fresh(&e, 0));
    ml_endpoints_set_facts(&e, ML_SEC(10), &f);
    assert_true(ml_endpoints_is_fresh(&e, ML_SEC(37) - 1));
    assert_false(ml_endpoints_is_fresh(&e, ML_SEC(37)));
    ml_endpoints_set_facts(&e, ML_SEC(40), &f);
    ml_endpoints_forget_global(&e);
    assert_false(ml_endpoints_is_fresh(&e, ML_SEC(41)));
    assert_int_equal(e.count, 1); /* still published until something is known */
    ml_endpoints_set_facts(&e, ML_SEC(42), &g);
    assert_int_equal(e.count, 1);
    expect(0, "203.0.113.1:1", ML_ENDPOINT_STUN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(stun_results_come_first_then_local_addresses_with_their_types, setup),
        cmocka_unit_test_setup(a_varying_mapping_with_a_fixed_port_adds_the_hard_nat_guess, setup),
        cmocka_unit_test_setup(a_local_address_is_published_when_stun_says_nothing, setup),
        cmocka_unit_test_setup(only_usable_local_addresses_are_taken, setup),
        cmocka_unit_test_setup(an_old_mapping_stays_5_min_10_s_after_it_was_last_seen, setup),
        cmocka_unit_test_setup(the_list_is_bounded_and_keeps_room_for_local_addresses, setup),
        cmocka_unit_test_setup(a_change_is_reported_when_the_set_differs_not_its_order, setup),
        cmocka_unit_test_setup(endpoints_are_fresh_for_27_s_and_not_after_a_link_change, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
