/*
 * The output queue: order, contents and bounds under random use, against a plain model. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/outq.h"

#include <string.h>

static _Alignas(16) uint8_t mem[2048];

static void records_come_out_whole_and_in_order(void **state)
{
    (void)state;
    struct ml_outq q;
    ml_outq_init(&q, mem, sizeof mem);
    uint32_t seed = 1;
    uint32_t put = 0, taken = 0;
    uint32_t lens[64];
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t len = (seed >> 8) % 700;
        if ((seed >> 28) < 9 && put - taken < 64) {
            uint8_t *room = ml_outq_reserve(&q, 700);
            if (room) {
                memset(room, (int)(put & 0xff), len);
                ml_addr a = {.port = (uint16_t)put};
                ml_outq_commit(&q, 3, &a, len);
                lens[put % 64] = len;
                put++;
            }
        } else if (taken < put) {
            const uint8_t *p = NULL;
            const struct ml_outq_rec *rec = ml_outq_peek(&q, &p);
            assert_non_null(rec);
            assert_int_equal(rec->len, lens[taken % 64]);
            assert_int_equal(rec->addr.port, (uint16_t)taken);
            assert_int_equal(rec->kind, 3);
            for (uint32_t k = 0; k < rec->len; k++) {
                assert_int_equal(p[k], taken & 0xff);
            }
            ml_outq_pop(&q);
            taken++;
        }
        assert_int_equal(q.count, put - taken);
    }
    assert_true(put > 5000);
}

static void a_record_that_does_not_fit_is_refused_and_nothing_queued_is_lost(void **state)
{
    (void)state;
    struct ml_outq q;
    ml_outq_init(&q, mem, 1024);
    uint32_t n = 0;
    while (ml_outq_has_room(&q, 100)) {
        assert_non_null(ml_outq_reserve(&q, 100));
        ml_outq_commit(&q, 1, NULL, 100);
        n++;
    }
    assert_null(ml_outq_reserve(&q, 100));
    assert_true(n >= 6);
    assert_false(ml_outq_has_room(&q, 5000));
    const uint8_t *p = NULL;
    for (uint32_t i = 0; i < n; i++) {
        assert_non_null(ml_outq_peek(&q, &p));
        ml_outq_pop(&q);
    }
    assert_null(ml_outq_peek(&q, &p));
    ml_outq_pop(&q);
    assert_true(ml_outq_has_room(&q, 900));
}

static void scratch_room_takes_nothing_from_the_queue_and_is_wiped_by_the_next_call(void **state)
{
    (void)state;
    struct ml_outq q;
    const uint8_t *p = NULL;
    ml_outq_init(&q, mem, 1024);
    uint8_t *packet = ml_outq_reserve(&q, 50);
    memset(packet, 7, 50);
    ml_outq_commit(&q, 1, NULL, 50);
    uint8_t *scratch = ml_outq_scratch(&q, 500);
    assert_non_null(scratch);
    memset(scratch, 9, 500);
    ml_outq_commit(&q, 1, NULL, 500); /* is not a packet */
    assert_int_equal(ml_outq_peek(&q, &p)->len, 50);
    assert_int_equal(q.count, 1);
    assert_non_null(ml_outq_reserve(&q, 10));
    for (size_t i = 0; i < 500; i++) {
        assert_int_equal(scratch[i], 0);
    }
    assert_int_equal(packet[49], 7);
    assert_null(ml_outq_scratch(&q, 2000));
    ml_outq_end_scratch(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_whole_and_in_order),
        cmocka_unit_test(scratch_room_takes_nothing_from_the_queue_and_is_wiped_by_the_next_call),
        cmocka_unit_test(a_record_that_does_not_fit_is_refused_and_nothing_queued_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
