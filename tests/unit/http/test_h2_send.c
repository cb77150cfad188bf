/*
 * The sending side of the HTTP/2 connection: bytes of the opening and of requests, send windows, order of urgency (RFC 9113,
 * RFC 7541; sections in the comments).
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "h2_script.h"

#define BODY 200000
static uint8_t body[BODY];

static void expect_bytes(struct script *s, const char *hex)
{
    uint8_t want[1024], got[1024];
    size_t want_len = unhex(hex, want, sizeof want);
    size_t got_len = ml_h2_poll_tx(&s->c, got, sizeof got);
    assert_int_equal(got_len, want_len);
    assert_memory_equal(got, want, want_len);
}

/* 3.4; 6.5.1 and 6.5.2: HEADER_TABLE_SIZE 0, ENABLE_PUSH 0, INITIAL_WINDOW_SIZE as asked for. */
static void the_first_bytes_are_the_preface_and_three_settings(void **state)
{
    (void)state;
    static const struct {
        uint32_t window;
        const char *hex;
    } cases[] = {{0, "00004000"}, {1, "00000001"}, {32768, "00008000"}, {65535, "0000ffff"}, {1u << 20, "0000ffff"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script s;
        char want[256];
        script_begin(&s, cases[i].window);
        snprintf(want, sizeof want, "%s%s%s%s",
                 "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a" FRAME("000012", "04", "00", "00000000"), "000100000000",
                 "000200000000"
                 "0004",
                 cases[i].hex);
        expect_bytes(&s, want);
        SENT(&s, "");
    }
}

/* The request goes out with the opening: the server's SETTINGS are not waited for (3.4). */
static void the_first_request_follows_the_opening_at_once(void **state)
{
    (void)state;
    struct script s;
    script_begin(&s, 0);
    assert_int_equal(post(&s, body, 10), 1);
    SENT(&s, "preface, settings 18, headers 1, data 1 10 end");
}

/* 8.3.1; RFC 7541, 6.1, 6.2.2, 6.3 and Appendix A. */
static void header_blocks_are_static_indexes_and_literals(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    const struct ml_h2_request get_with_body = {.method = "GET",
                                                .authority = "h:1",
                                                .path = "/a?b",
                                                .content_type = "text/x",
                                                .ts_lb = "nodekey:12",
                                                .ts_lb2 = "k",
                                                .body = (const uint8_t *)"hello",
                                                .body_len = 5};
    const struct ml_h2_request put = {.method = "PUT", .authority = "h", .path = "/"};
    assert_int_equal(ml_h2_request(&s.c, &get_with_body), 1);
    /* The table is set to nothing once (RFC 7541, 4.2), then :method GET, :scheme https, ... */
    expect_bytes(&s, FRAME("000036", "01", "04", "00000001") "20"
                                                             "82"
                                                             "87"
                                                             "0103683a31"         /* :authority h:1 */
                                                             "04042f613f62"       /* :path /a?b */
                                                             "0f1006746578742f78" /* content-type text/x: index 31 = 15 + 16 */
                                                             "000574732d6c62"
                                                             "0a6e6f64656b65793a3132" /* ts-lb nodekey:12 */
                                                             "000574732d6c62"
                                                             "016b"     /* ts-lb k */
                                                             "0f0d0135" /* content-length 5: index 28 = 15 + 13 */
                 FRAME("000005", "00", "01", "00000001") "68656c6c6f");
    assert_int_equal(ml_h2_request(&s.c, &put), 3);
    expect_bytes(&s, FRAME("00000c", "01", "05", "00000003") "0203505554"
                                                             "87"
                                                             "010168"
                                                             "04012f");
    /* POST has an index of its own. */
    assert_int_equal(post(&s, body, 1), 5);
    expect_bytes(&s, FRAME("000014", "01", "04", "00000005") "83"
                                                             "87"
                                                             "0109612e6578616d706c65"
                                                             "04012f"
                                                             "0f0d0131" FRAME("000001", "00", "01", "00000005") "00");
}

static void a_request_too_long_for_one_frame_is_refused_and_the_longest_goes_out(void **state)
{
    (void)state;
    struct script s;
    static char path[600];
    struct ml_h2_request req = {.method = "GET", .authority = "a", .path = path};
    memset(path, '/', sizeof path - 1);
    script_open(&s, 0);
    size_t n = sizeof path - 1;
    while (n > 0 && ml_h2_request(&s.c, &req) == 0) {
        path[--n] = 0;
    }
    assert_in_range(n, 350, 480);
    /* RFC 7541, 5.1: a length of 127 and more takes further bytes. */
    uint8_t out[ML_H2_TX_MIN];
    size_t len = ml_h2_poll_tx(&s.c, out, sizeof out);
    assert_int_equal(len, 9 + 3 + 3 + 1 + 3 + n); /* frame, update and two indexes, authority, path's name and length */
    assert_int_equal(out[15], 0x04);
    assert_int_equal(out[16], 0x7f);
    assert_int_equal((out[17] & 0x7f) + 128 * out[18] + 127, n);
}

/* ---- Send windows, 6.9 ---- */

static void a_body_waits_for_both_windows(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    assert_int_equal(post(&s, body, 100000), 1);
    SENT(&s, "headers 1, data 1 16384, data 1 16384, data 1 16384, data 1 16383"); /* 65535 and no more */
    serve(&s, FRAME("000004", "08", "00", "00000001") "00100000");
    SENT(&s, "");
    assert_false(ml_h2_is_sent(&s.c, 1));
    serve(&s, FRAME("000004", "08", "00", "00000000") "80000001"); /* the reserved bit is ignored */
    SENT(&s, "data 1 1");
    serve(&s, FRAME("000004", "08", "00", "00000000") "00100000");
    SENT(&s, "data 1 16384, data 1 16384, data 1 1696 end");
    assert_true(ml_h2_is_sent(&s.c, 1));
    assert_true(ml_h2_is_open(&s.c, 1));
    EVENTS(&s, "");
}

/* 6.9.2: the difference applies to streams in progress and may take them below zero; they then wait until above. */
static void a_smaller_initial_window_mid_body_makes_the_window_negative(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    post(&s, body, 100000);
    SENT(&s, "headers 1, data 1 16384, data 1 16384, data 1 16384, data 1 16383");
    serve(&s, FRAME("000004", "08", "00", "00000000") "00100000" FRAME("000006", "04", "00", "00000000") "000400004000");
    SENT(&s, "settings ack"); /* 0 - (65535 - 16384) = -49151 */
    serve(&s, FRAME("000004", "08", "00", "00000001") "0000bfff");
    SENT(&s, ""); /* 0 */
    serve(&s, FRAME("000004", "08", "00", "00000001") "00000064");
    SENT(&s, "data 1 100");
    /* To zero and up again: +0xffff - 0x4000 is taken back twice over. */
    serve(&s, FRAME("000006", "04", "00", "00000000") "000400000000" FRAME("000006", "04", "00", "00000000") "00040000000a");
    SENT(&s, "settings ack, settings ack");
    serve(&s, FRAME("000006", "04", "00", "00000000") "000400004005");
    SENT(&s, "settings ack, data 1 5");
    /* A stream begun now has the new size from its beginning. */
    post(&s, body, 20000);
    SENT(&s, "headers 3, data 3 16384, data 3 5"); /* a frame's limit, then the window's */
}

static void a_larger_initial_window_mid_body_lets_it_go_on(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    post(&s, body, 70000);
    SENT(&s, "headers 1, data 1 16384, data 1 16384, data 1 16384, data 1 16383");
    serve(&s, FRAME("000004", "08", "00", "00000000") "00100000");
    SENT(&s, "");
    serve(&s, FRAME("000006", "04", "00", "00000000") "000400100000");
    SENT(&s, "settings ack, data 1 4465 end");
}

/* 6.9.1: above 2^31-1 the stream is reset, 6.9.2: by SETTINGS the connection ends. */
static void windows_beyond_the_limit_are_flow_control_errors(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 2);
    serve(&s, FRAME("000004", "08", "00", "00000001") "7fff0000"); /* 2^31 - 1 exactly */
    EVENTS(&s, "");
    serve(&s, FRAME("000004", "08", "00", "00000001") "00000001");
    EVENTS(&s, "reset 1 3");
    SENT(&s, "rst 1 3");
    serve(&s, FRAME("000004", "08", "00", "00000003") "7fff0000");
    EVENTS(&s, "");
    serve(&s, FRAME("000006", "04", "00", "00000000") "000400010000"); /* one more than 65535 */
    EVENTS(&s, "fatal 3");
    SENT(&s, "goaway 0 3");
}

/* 6.9: an increment of zero is an error of its stream. */
static void a_window_update_of_nothing_resets_the_stream(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 2);
    serve(&s, FRAME("000004", "08", "00", "00000001") "00000000" HEAD_200_END("00000003"));
    EVENTS(&s, "reset 1 1, head 3 200, end 3");
    SENT(&s, "rst 1 1");
}

/* 5.2.1: the windows of streams are separate; the connection's is shared. */
static void a_stream_without_window_does_not_hold_up_another(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    serve(&s, FRAME("000006", "04", "00", "00000000") "000400000000");
    SENT(&s, "settings ack");
    post(&s, body, 100);
    post(&s, body, 100);
    SENT(&s, "headers 1, headers 3");
    serve(&s, FRAME("000004", "08", "00", "00000003") "00000064");
    SENT(&s, "data 3 100 end");
    serve(&s, FRAME("000004", "08", "00", "00000001") "00000063");
    SENT(&s, "data 1 99");
    serve(&s, FRAME("000004", "08", "00", "00000001") "00000001");
    SENT(&s, "data 1 1 end");
}

/* ---- Sizes ---- */

/* 6.5.2, 4.2: the server's limit; and never more than the caller's buffer holds. */
static void frames_keep_to_the_servers_limit_and_the_buffer(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    serve(&s, FRAME("00000c", "04", "00", "00000000") "000500005000"
                                                      "000400100000");
    serve(&s, FRAME("000004", "08", "00", "00000000") "00100000");
    SENT(&s, "settings ack");
    post(&s, body, 50000);
    SENT(&s, "headers 1, data 1 20480, data 1 20480, data 1 9040 end");
    post(&s, body, 1000);
    script_pull(&s, ML_H2_TX_MIN);
    expect(s.tx, "headers 3, data 3 471, data 3 503, data 3 26 end");
}

static void too_small_a_buffer_gets_nothing_and_loses_nothing(void **state)
{
    (void)state;
    struct script s;
    uint8_t out[64];
    script_begin(&s, 0);
    get(&s);
    assert_int_equal(ml_h2_poll_tx(&s.c, out, 50), 0);
    assert_int_equal(ml_h2_poll_tx(&s.c, out, 51), 51); /* preface and SETTINGS */
    assert_int_equal(ml_h2_poll_tx(&s.c, out, 20), 0);
    SENT(&s, "headers 1 end");
}

static void a_body_arrives_whole_and_in_order_through_any_buffer(void **state)
{
    (void)state;
    static const size_t caps[] = {ML_H2_TX_MIN, 513, 1400, 16384 + 9, 65536};
    for (size_t i = 0; i < BODY; i++) {
        body[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (size_t k = 0; k < sizeof caps / sizeof *caps; k++) {
        struct script s;
        size_t got = 0, n;
        uint8_t *out = malloc(caps[k]);
        assert_non_null(out);
        script_open(&s, 0);
        serve(&s, FRAME("000006", "04", "00", "00000000") "000400100000");
        serve(&s, FRAME("000004", "08", "00", "00000000") "00100000");
        SENT(&s, "settings ack");
        post(&s, body, BODY);
        bool ended = false;
        while ((n = ml_h2_poll_tx(&s.c, out, caps[k])) > 0) {
            for (size_t at = 0; at < n;) { /* every pull yields whole frames */
                size_t len = (size_t)out[at] << 16 | (size_t)out[at + 1] << 8 | out[at + 2];
                assert_true(at + 9 + len <= n && !ended);
                if (out[at + 3] == 0) {
                    assert_true(got + len <= BODY);
                    assert_memory_equal(out + at + 9, body + got, len);
                    got += len;
                    ended = out[at + 4] == 1;
                }
                at += 9 + len;
            }
        }
        assert_int_equal(got, BODY);
        assert_true(ended && ml_h2_is_sent(&s.c, 1));
        free(out);
    }
    memset(body, 0, sizeof body);
}

/* ---- Order ---- */

/* 5.1.1: HEADERS in the order of stream numbers, whichever slot is free. */
static void headers_go_out_in_the_order_of_stream_numbers(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    for (int i = 0; i < 4; i++) {
        get(&s);
    }
    SENT(&s, "headers 1 end, headers 3 end, headers 5 end, headers 7 end");
    serve(&s, HEAD_200_END("00000005"));
    assert_int_equal(get(&s), 9); /* third slot */
    serve(&s, HEAD_200_END("00000001"));
    assert_int_equal(get(&s), 11); /* first slot */
    SENT(&s, "headers 9 end, headers 11 end");
}

static void acknowledgements_go_before_resets_windows_and_bodies(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 2000, 2);
    serve(&s, HEAD_200("00000001") HEAD_200("00000003"));
    serve_data(&s, 1, 2000, 0);
    post(&s, body, 10);
    ml_h2_cancel(&s.c, 3);
    serve(&s, SERVER_PREFACE FRAME("000008", "06", "00", "00000000") "0700000000000007");
    SENT(&s, "settings ack, pong 07..07, rst 3 8, window 1 2000, headers 5, data 5 10 end");
}

/* A window is told when half of it was used up; less would cost a frame for every few bytes. */
static void windows_are_announced_by_halves_of_what_was_consumed(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 16384, 1);
    serve(&s, HEAD_200("00000001"));
    serve_data(&s, 1, 8191, 0);
    SENT(&s, "");
    serve_data(&s, 1, 1, 0);
    SENT(&s, "window 1 8192");
    s.no_consume = true;
    serve_data(&s, 1, 16384, 0);
    SENT(&s, "");
    ml_h2_consumed(&s.c, 1, 16383);
    SENT(&s, "window 1 16383");
    ml_h2_consumed(&s.c, 1, 1);
    SENT(&s, "");
    s.no_consume = false;
    serve_data(&s, 1, 8191, 0); /* 8192 + 16384 + 8191 = 32767 consumed of the connection */
    SENT(&s, "window 0 32767, window 1 8192");
}

static void nothing_but_goaway_is_sent_after_a_fatal_error(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    post(&s, body, 100000);
    get(&s);
    ml_h2_cancel(&s.c, 3);
    serve(&s, FRAME("000008", "06", "00", "00000000") "0700000000000007" FRAME("000007", "06", "00", "00000000"));
    EVENTS(&s, "fatal 6");
    SENT(&s, "goaway 0 6");
    assert_false(ml_h2_can_request(&s.c));
    SENT(&s, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_bytes_are_the_preface_and_three_settings),
        cmocka_unit_test(the_first_request_follows_the_opening_at_once),
        cmocka_unit_test(header_blocks_are_static_indexes_and_literals),
        cmocka_unit_test(a_request_too_long_for_one_frame_is_refused_and_the_longest_goes_out),
        cmocka_unit_test(a_body_waits_for_both_windows),
        cmocka_unit_test(a_smaller_initial_window_mid_body_makes_the_window_negative),
        cmocka_unit_test(a_larger_initial_window_mid_body_lets_it_go_on),
        cmocka_unit_test(windows_beyond_the_limit_are_flow_control_errors),
        cmocka_unit_test(a_window_update_of_nothing_resets_the_stream),
        cmocka_unit_test(a_stream_without_window_does_not_hold_up_another),
        cmocka_unit_test(frames_keep_to_the_servers_limit_and_the_buffer),
        cmocka_unit_test(too_small_a_buffer_gets_nothing_and_loses_nothing),
        cmocka_unit_test(a_body_arrives_whole_and_in_order_through_any_buffer),
        cmocka_unit_test(headers_go_out_in_the_order_of_stream_numbers),
        cmocka_unit_test(acknowledgements_go_before_resets_windows_and_bodies),
        cmocka_unit_test(windows_are_announced_by_halves_of_what_was_consumed),
        cmocka_unit_test(nothing_but_goaway_is_sent_after_a_fatal_error),
    };
    SCRIPT_MAIN(tests);
}
