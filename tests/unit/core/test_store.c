/*
 * Stored records: round trip, and every way in which one can be broken. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/store.h"

#include <string.h>

static struct ml_identity sample(void)
{
    struct ml_identity id = {.has_node = true, .login = "alice@example.org"};
    memset(id.machine.b, 1, 32);
    memset(id.node.b, 2, 32);
    memset(id.disco.b, 3, 32);
    return id;
}

static void every_record_comes_back_as_it_was_written(void **state)
{
    (void)state;
    uint8_t buf[ML_STORE_MAX];
    struct ml_identity id = sample(), got = {0};
    size_t n = ml_store_write_identity(buf, sizeof buf, &id);
    assert_true(n > 100 && n <= ML_STORE_MAX);
    assert_true(ml_store_read_identity(buf, n, &got));
    assert_memory_equal(&id, &got, sizeof id);
    memset(id.candidate.b, 4, 32); /* a renewal waits for a person */
    n = ml_store_write_identity(buf, sizeof buf, &id);
    assert_true(ml_store_read_identity(buf, n, &got));
    assert_memory_equal(&id, &got, sizeof id);
    id.has_node = false; /* a login does */
    id.candidate = id.node;
    memset(&id.node, 0, sizeof id.node);
    n = ml_store_write_identity(buf, sizeof buf, &id);
    assert_true(ml_store_read_identity(buf, n, &got));
    assert_memory_equal(&id, &got, sizeof id);

    uint8_t mark[12] = {0x40, 0, 0, 0, 0x65, 1, 2, 3, 4, 5, 6, 7}, mark2[12];
    n = ml_store_write_clock(buf, sizeof buf, mark);
    assert_true(n > 0 && ml_store_read_clock(buf, n, mark2));
    assert_memory_equal(mark, mark2, 12);

    struct ml_cache c = {.control_host = "login.example.org:443", .home_region = 901}, c2 = {0};
    memset(c.control_key.b, 9, 32);
    n = ml_store_write_cache(buf, sizeof buf, &c);
    assert_true(n > 0 && ml_store_read_cache(buf, n, &c2));
    assert_memory_equal(&c, &c2, sizeof c);
}

static void a_record_torn_or_changed_at_any_byte_is_refused(void **state)
{
    (void)state;
    uint8_t buf[ML_STORE_MAX];
    struct ml_identity id = sample(), got;
    memset(&got, 0xee, sizeof got);
    struct ml_identity untouched = got;
    size_t n = ml_store_write_identity(buf, sizeof buf, &id);
    for (size_t cut = 0; cut < n; cut++) {
        assert_false(ml_store_read_identity(buf, cut, &got));
    }
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            buf[i] ^= (uint8_t)(1 << bit);
            assert_false(ml_store_read_identity(buf, n, &got));
            buf[i] ^= (uint8_t)(1 << bit);
        }
    }
    assert_memory_equal(&got, &untouched, sizeof got);
    assert_true(ml_store_read_identity(buf, n, &got));
}

static void a_record_of_another_kind_is_refused(void **state)
{
    (void)state;
    uint8_t buf[ML_STORE_MAX], mark[12] = {0};
    struct ml_identity id = sample();
    struct ml_cache c;
    size_t n = ml_store_write_identity(buf, sizeof buf, &id);
    assert_false(ml_store_read_clock(buf, n, mark));
    assert_false(ml_store_read_cache(buf, n, &c));
}

static void a_buffer_too_small_yields_nothing(void **state)
{
    (void)state;
    uint8_t buf[ML_STORE_MAX];
    struct ml_identity id = sample();
    size_t n = ml_store_write_identity(buf, sizeof buf, &id);
    for (size_t cap = 0; cap < n; cap++) {
        assert_int_equal(ml_store_write_identity(buf, cap, &id), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_comes_back_as_it_was_written),
        cmocka_unit_test(a_record_torn_or_changed_at_any_byte_is_refused),
        cmocka_unit_test(a_record_of_another_kind_is_refused),
        cmocka_unit_test(a_buffer_too_small_yields_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
