/*
 * No call into the control client does more than one curve operation: both ports raced, registered, polled.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "curve_count.h"

#include "control/control.h"

static struct ml_curve_budget budget;

static void call_begins(void)
{
    curve_in_call = 0;
    budget.left = 1;
}

static void counted_on_time(struct ml_control *c, ml_time now, const struct ml_delta_sink *out)
{
    call_begins();
    ml_control_on_time(c, now, out);
    curve_call_ends();
}

static void counted_on_opened(struct ml_control *c, ml_time now, uint32_t id)
{
    call_begins();
    ml_control_on_opened(c, now, id);
    curve_call_ends();
}

static void counted_on_data(struct ml_control *c, ml_time now, uint32_t id, const uint8_t *buf, size_t len, size_t *used,
                            const struct ml_delta_sink *out)
{
    call_begins();
    ml_control_on_data(c, now, id, buf, len, used, out);
    curve_call_ends();
}

static void counted_on_closed(struct ml_control *c, ml_time now, uint32_t id, enum ml_close_reason why, const char *detail,
                              const struct ml_delta_sink *out)
{
    call_begins();
    ml_control_on_closed(c, now, id, why, detail, out);
    curve_call_ends();
}

#define ml_control_on_time   counted_on_time
#define ml_control_on_opened counted_on_opened
#define ml_control_on_data   counted_on_data
#define ml_control_on_closed counted_on_closed
#include "control_world.h"

static struct world w;

static void a_login_and_a_poll_do_one_curve_operation_a_call_at_most(void **state)
{
    (void)state;
    static const char *const urls[] = {"https://control.example", "http://127.0.0.1:8080"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        curve_most = curve_total = 0;
        world_init(&w, urls[i], i == 1);
        w.c.budget = &budget;
        w.is_hasty = true;
        call_begins();
        ml_control_start(&w.c, w.now, NULL);
        curve_call_ends();
        world_pass(&w, ML_MSEC(100));
        assert_true(w.session != 0);
        assert_int_equal(w.rest_len, 0);
        struct world_request *r = world_request(&w, "/machine/register");
        assert_non_null(r);
        world_answer(&w, r, 200, "{\"User\":{\"ID\":7},\"Login\":{\"LoginName\":\"a@b\"},\"MachineAuthorized\":true}");
        world_pass(&w, ML_MSEC(100));
        r = world_request(&w, "/machine/map");
        assert_non_null(r);
        assert_non_null(strstr(r->body, "NodeKey"));
        assert_int_equal(curve_most, 1);
        assert_int_equal(curve_total, 7); /* four for the initiation, two for its answer, one for the node key */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_and_a_poll_do_one_curve_operation_a_call_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
