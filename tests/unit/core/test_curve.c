/*
 * No call into the engine does more than one curve operation: two engines join over relays and routers, shake hands in both
 * roles, go direct, rekey, lose a relay, and every call of theirs is counted.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "curve_count.h"

#include "microlink/engine.h"

/* Every function of engine.h that brings in something, or takes something out, is counted by a double in front of it. */
static bool counted_poll_output(ml_engine *ml, ml_time now, ml_output *out)
{
    curve_in_call = 0;
    bool any = ml_poll_output(ml, now, out);
    curve_call_ends();
    return any;
}

static void counted_handle_time(ml_engine *ml, ml_time now)
{
    curve_in_call = 0;
    ml_handle_time(ml, now);
    curve_call_ends();
}

static ml_err counted_handle_datagram(ml_engine *ml, ml_time now, const ml_addr *from, uint8_t *buf, size_t len)
{
    curve_in_call = 0;
    ml_err err = ml_handle_datagram(ml, now, from, buf, len);
    curve_call_ends();
    return err;
}

static ml_err counted_handle_overlay(ml_engine *ml, ml_time now, const uint8_t *packet, size_t len)
{
    curve_in_call = 0;
    ml_err err = ml_handle_overlay(ml, now, packet, len);
    curve_call_ends();
    return err;
}

static void counted_handle_stream_opened(ml_engine *ml, ml_time now, ml_stream_id id, const ml_stream_info *info)
{
    curve_in_call = 0;
    ml_handle_stream_opened(ml, now, id, info);
    curve_call_ends();
}

static void counted_handle_stream_data(ml_engine *ml, ml_time now, ml_stream_id id, const uint8_t *buf, size_t len,
                                       size_t *used)
{
    curve_in_call = 0;
    ml_handle_stream_data(ml, now, id, buf, len, used);
    curve_call_ends();
}

static void counted_handle_stream_closed(ml_engine *ml, ml_time now, ml_stream_id id, ml_close_reason why, const char *detail)
{
    curve_in_call = 0;
    ml_handle_stream_closed(ml, now, id, why, detail);
    curve_call_ends();
}

#define ml_poll_output          counted_poll_output
#define ml_handle_time          counted_handle_time
#define ml_handle_datagram      counted_handle_datagram
#define ml_handle_overlay       counted_handle_overlay
#define ml_handle_stream_opened counted_handle_stream_opened
#define ml_handle_stream_data   counted_handle_stream_data
#define ml_handle_stream_closed counted_handle_stream_closed
#include "core/core_net.h"

static void speak(struct net *n, ml_time span)
{
    for (ml_time end = n->w.now + span; n->w.now < end;) {
        (void)net_send(n, 0, 1, "ping");
        (void)net_send(n, 1, 0, "pong");
        net_run(n, ML_SEC(5));
    }
}

static void run(enum net_kind a, enum net_kind b)
{
    curve_most = curve_total = 0;
    struct net *n = net_start(a, b, 3);
    net_join(n);
    unsigned joined = curve_total;
    assert_true(joined >= 2); /* the logins at two relays */
    speak(n, ML_SEC(400));    /* three handshakes and more, begun by either side */
    assert_true(n->w.n[0].ml->stats.handshakes >= 3);
    assert_true(n->w.n[0].ml->wg.counters.initiations_sent + n->w.n[1].ml->wg.counters.initiations_sent >= 3);
    assert_true(n->w.n[0].ml->wg.counters.responses_sent + n->w.n[1].ml->wg.counters.responses_sent >= 3);
    /* Silence until the session is forgotten; then the other side begins. */
    net_run(n, ML_SEC(700));
    assert_int_equal(net_send(n, 1, 0, "again"), ML_OK);
    net_run(n, ML_SEC(10));
    speak(n, ML_SEC(20));
    assert_int_equal(curve_most, 1);
    /* A handshake costs both sides nine together, or seven when their static secret is kept. */
    assert_true(curve_total - joined >= 4 * 7);
    net_end(n);
}

static void a_join_handshakes_and_rekeys_do_one_curve_operation_a_call_at_most(void **state)
{
    (void)state;
    run(NET_OPEN, NET_OPEN);
    run(NET_EASY, NET_FIREWALL);
    run(NET_HARD, NET_HARD); /* all over the relay */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_join_handshakes_and_rekeys_do_one_curve_operation_a_call_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
