/*
 * The receiving side of the HTTP/2 connection: what a server may and may not send (RFC 9113, sections in the comments).
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

/* One fatal case: an open connection, streams 1 and 3 requested, the head of 1 answered, then these bytes. */
struct fatal_case {
    const char *hex;
    unsigned code;
};

static void expect_fatal(const struct fatal_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct script s;
        char want[32];
        script_open(&s, 0);
        assert_int_equal(get(&s), 1);
        assert_int_equal(get(&s), 3);
        SENT(&s, "headers 1 end, headers 3 end");
        serve(&s, HEAD_200("00000001"));
        EVENTS(&s, "head 1 200");
        serve(&s, cases[i].hex);
        snprintf(want, sizeof want, "fatal %u", cases[i].code);
        EVENTS(&s, want);
        /* 5.4.1: GOAWAY tells the code; nothing follows it, and the failure is final. */
        snprintf(want, sizeof want, "goaway 0 %u", cases[i].code);
        SENT(&s, want);
        SENT(&s, "");
        assert_int_equal(get(&s), 0);
        serve(&s, HEAD_200_END("00000001"));
        snprintf(want, sizeof want, "fatal %u", cases[i].code);
        EVENTS(&s, want);
    }
}
#define EXPECT_FATAL(cases) expect_fatal(cases, sizeof(cases) / sizeof *(cases))

/* ---- The opening, 3.4 ---- */

static void a_server_that_does_not_begin_with_settings_is_refused(void **state)
{
    (void)state;
    static const char *const first[] = {
        FRAME("000008", "06", "00", "00000000") "0102030405060708",
        FRAME("000000", "04", "01", "00000000"), /* an acknowledgement is not SETTINGS of its own */
        FRAME("000004", "08", "00", "00000000") "00000001",
        FRAME("000000", "bb", "00", "00000000"),
    };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        struct script s;
        script_begin(&s, 0);
        serve(&s, first[i]);
        EVENTS(&s, "fatal 1");
        SENT(&s, "preface, settings 18, goaway 0 1");
    }
}

/* ---- Answers ---- */

static void an_answer_comes_as_head_data_and_end(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    assert_int_equal(get(&s), 1);
    SENT(&s, "headers 1 end");
    assert_true(ml_h2_is_open(&s.c, 1));
    serve(&s, HEAD_200("00000001") FRAME("000005", "00", "00", "00000001") "68656c6c6f" /* "hello" */
          FRAME("000000", "00", "00", "00000001")                                       /* empty DATA is no event */
          FRAME("000002", "00", "01", "00000001") "2121");
    EVENTS(&s, "head 1 200, data 1 7, end 1");
    assert_memory_equal(s.body, "hello!!", 7);
    assert_false(ml_h2_is_open(&s.c, 1));
    SENT(&s, "");
}

static void retry_after_and_date_come_with_the_head(void **state)
{
    (void)state;
    /* RFC 7541, 6.2.2: name index 8 (:status), 53 (retry-after), 33 (date), values plain. */
    static const char block[] = FRAME("000012", "01", "05", "00000001") "0803343239"
                                                                        "0f26023330"
                                                                        "0f12054d6f6e2c31";
    struct script s;
    struct ml_h2_event ev = {.type = ML_H2_EV_NONE};
    uint8_t raw[64];
    size_t len = unhex(block, raw, sizeof raw), used = 0;
    script_asked(&s, 0, 1);
    ml_h2_feed(&s.c, raw, len, &used, &ev);
    assert_int_equal(ev.type, ML_H2_EV_HEADERS);
    assert_int_equal(ev.status, 429);
    assert_string_equal(ev.retry_after, "30");
    assert_string_equal(ev.date, "Mon,1");
}

/* 6.1, 6.2: pad length first, for HEADERS then five bytes of priority, padding last. */
static void padding_priority_and_continuation_are_taken_off(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 1);
    serve(
        &s, FRAME("00000b", "01", "28", "00000001") "03"
                                                    "80000000ff"
                                                    "0803"
                                                    "000000" /* :status = ... */
        FRAME("000000", "09", "00", "00000001")              /* 6.10: may be empty */
        FRAME("000001", "09", "00", "00000001") "32" FRAME("000002", "09", "04", "00000001") "3036" FRAME(
            "000006", "00", "08", "00000001") "03"
                                              "6162"
                                              "000000" FRAME("000003", "00", "08", "00000001") "02"
                                                                                               "0000" /* nothing but padding */
        FRAME("000001", "00", "09", "00000001") "00");                                                /* not even that */
    EVENTS(&s, "head 1 206, data 1 2, end 1");
    assert_memory_equal(s.body, "ab", 2);
}

static void trailers_end_an_answer_and_interim_answers_are_passed_over(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 1);
    serve(&s, FRAME("000005", "01", "04", "00000001") "0803313030" /* 8.1: 100 Continue */
          FRAME("000005", "01", "04", "00000001") "0803313033"     /* and another one */
          HEAD_200("00000001") FRAME("000001", "00", "00", "00000001") "78" FRAME("000005", "01", "05",
                                                                                  "00000001") "0001610162"); /* trailer a: b */
    EVENTS(&s, "head 1 200, data 1 1, end 1");
}

/* 8.1.1: malformed answers are stream errors of type PROTOCOL_ERROR; the other stream does not notice. */
static void malformed_answers_reset_their_stream_only(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *events;
    } cases[] = {
        {FRAME("000005", "01", "04", "00000001") "0001610162", "reset 1 1"},      /* no :status */
        {FRAME("000005", "01", "05", "00000001") "0803313030", "reset 1 1"},      /* 100 with END_STREAM */
        {FRAME("000005", "01", "04", "00000001") "0803313031", "reset 1 1"},      /* 8.6: no 101 */
        {FRAME("000002", "01", "04", "00000001") "8888", "reset 1 1"},            /* 8.3: twice */
        {FRAME("000001", "01", "04", "00000001") "82", "reset 1 1"},              /* 8.3: of a request */
        {FRAME("000006", "01", "04", "00000001") "880001410162", "reset 1 1"},    /* 8.2: upper case */
        {HEAD_200("00000001") HEAD_200("00000001"), "head 1 200, reset 1 1"},     /* a second head */
        {HEAD_200("00000001") HEAD_200_END("00000001"), "head 1 200, reset 1 1"}, /* :status in a trailer */
        {HEAD_200("00000001") FRAME("000005", "01", "04", "00000001") "0001610162",
         "head 1 200, reset 1 1"},                                   /* trailer, no END_STREAM */
        {FRAME("000001", "00", "00", "00000001") "78", "reset 1 1"}, /* DATA before the head */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script s;
        script_open(&s, 0);
        get(&s);
        get(&s);
        SENT(&s, "headers 1 end, headers 3 end");
        serve(&s, cases[i].hex);
        EVENTS(&s, cases[i].events);
        SENT(&s, "rst 1 1");
        serve(&s, HEAD_200_END("00000003"));
        EVENTS(&s, "head 3 200, end 3");
    }
}

static void answers_of_four_streams_interleave(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    for (uint32_t id = 1; id <= 7; id += 2) {
        assert_int_equal(get(&s), id);
    }
    assert_false(ml_h2_can_request(&s.c));
    assert_int_equal(get(&s), 0);
    SENT(&s, "headers 1 end, headers 3 end, headers 5 end, headers 7 end");
    serve(&s, HEAD_200("00000005") HEAD_200("00000001") FRAME("000001", "00", "00", "00000005") "35" HEAD_200_END("00000007")
                  FRAME("000001", "00", "00", "00000001") "31" HEAD_200("00000003")
                      FRAME("000001", "00", "01", "00000005") "35" FRAME("000001", "00", "01", "00000003") "33" FRAME(
                          "000000", "00", "01", "00000001"));
    EVENTS(&s, "head 5 200, head 1 200, data 5 1, head 7 200, end 7, data 1 1, head 3 200, data 5 1, end 5, data 3 1, end 3, "
               "end 1");
    assert_memory_equal(s.body,
                        "51"
                        "53",
                        4);
    assert_int_equal(get(&s), 9);
    SENT(&s, "headers 9 end");
}

/* 8.1: a server may answer early; we then stop sending the body, with NO_ERROR. */
static void an_answer_before_the_end_of_the_request_stops_the_body(void **state)
{
    (void)state;
    static const uint8_t body[70000];
    struct script s;
    script_open(&s, 0);
    assert_int_equal(post(&s, body, sizeof body), 1);
    SENT(&s, "headers 1, data 1 16384, data 1 16384, data 1 16384, data 1 16383");
    assert_false(ml_h2_is_sent(&s.c, 1));
    serve(&s, HEAD_200_END("00000001") FRAME("000004", "08", "00", "00000000") "0000ffff");
    EVENTS(&s, "head 1 200, end 1");
    assert_true(ml_h2_is_sent(&s.c, 1));
    SENT(&s, "rst 1 0");
}

/* ---- Header blocks ---- */

/* 6.10, 4.3: nothing may come between HEADERS and its CONTINUATION. */
static void interleaving_with_a_header_block_is_fatal(void **state)
{
    (void)state;
#define OPEN_BLOCK FRAME("000002", "01", "00", "00000001") "0803"
    static const struct fatal_case cases[] = {
        {OPEN_BLOCK FRAME("000001", "00", "00", "00000001") "32", 1},
        {OPEN_BLOCK FRAME("000003", "09", "04", "00000003") "323030", 1},
        {OPEN_BLOCK FRAME("000008", "06", "00", "00000000") "0102030405060708", 1},
        {OPEN_BLOCK FRAME("000003", "01", "04", "00000001") "323030", 1},
        {OPEN_BLOCK FRAME("000000", "bb", "00", "00000001"), 1}, /* 5.5: unknown types neither */
        {FRAME("000001", "09", "04", "00000001") "88", 1},       /* CONTINUATION of nothing */
    };
    EXPECT_FATAL(cases);
}

static void blocks_that_do_not_decode_are_fatal(void **state)
{
    (void)state;
    static const struct fatal_case cases[] = {
        {FRAME("000001", "01", "04", "00000001") "80", 9},   /* RFC 7541, 6.1: index 0 */
        {FRAME("000001", "01", "04", "00000001") "be", 9},   /* index 62, of a table of size 0 */
        {FRAME("000002", "01", "04", "00000001") "3f00", 9}, /* RFC 7541, 4.2: size 31 > 0 */
        {FRAME("000002", "01", "04", "00000001") "0803", 9}, /* ends inside a field */
        {FRAME("000001", "01", "04", "00000009") "88", 1},   /* 5.1.1: a stream never begun */
        {FRAME("000001", "01", "04", "00000002") "88", 1},   /* and one of the server's, unpromised */
    };
    EXPECT_FATAL(cases);
}

/* HEADERS and CONTINUATION of `fields` fields "a: b" (5 bytes each) after :status 200. */
static void serve_long_block(struct script *s, size_t fields)
{
    uint8_t *buf = malloc(5 * fields + 9 * 64), *p = buf;
    assert_non_null(buf);
    for (size_t done = 0; done < fields || done == 0;) {
        size_t now = fields - done < 3000 ? fields - done : 3000, first = done == 0;
        size_t len = 5 * now + first;
        bool last = done + now == fields;
        const uint8_t head[] = {0, (uint8_t)(len >> 8), (uint8_t)len, first ? 1 : 9, last ? 4 : 0, 0, 0, 0, 1};
        memcpy(p, head, sizeof head);
        p += sizeof head;
        if (first) {
            *p++ = 0x88;
        }
        for (size_t i = 0; i < now; i++, p += 5) {
            memcpy(p,
                   "\x00\x01"
                   "a\x01"
                   "b",
                   5);
        }
        done += now;
    }
    script_feed(s, buf, (size_t)(p - buf));
    free(buf);
}

/* 10.5.1: bounded work; 1 + 5 * 13107 = 65536. */
static void a_header_block_over_64_kib_is_too_much(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 1);
    serve_long_block(&s, 13107);
    EVENTS(&s, "head 1 200");
    script_asked(&s, 0, 1);
    serve_long_block(&s, 13108);
    EVENTS(&s, "fatal 11");
    SENT(&s, "goaway 0 11");
}

/* ---- Frames that are wrong by themselves ---- */

static void sizes_paddings_and_streams_that_break_the_rules_are_fatal(void **state)
{
    (void)state;
    static const struct fatal_case cases[] = {
        {FRAME("004001", "00", "00", "00000001"), 6}, /* 4.2 */
        {FRAME("ffffff", "bb", "00", "00000001"), 6},
        {FRAME("000007", "06", "00", "00000000"), 6},                /* 6.7 */
        {FRAME("000005", "04", "00", "00000000"), 6},                /* 6.5 */
        {FRAME("000006", "04", "01", "00000000"), 6},                /* 6.5: ACK with a payload */
        {FRAME("000003", "03", "00", "00000001"), 6},                /* 6.4 */
        {FRAME("000005", "08", "00", "00000001"), 6},                /* 6.9 */
        {FRAME("000007", "07", "00", "00000000"), 6},                /* 6.8 */
        {FRAME("000000", "00", "08", "00000001"), 6},                /* 6.1: no room for Pad Length */
        {FRAME("000000", "01", "0c", "00000001"), 6},                /* 6.2: likewise */
        {FRAME("000004", "01", "24", "00000001") "00000000", 6},     /* 6.2: nor for priority */
        {FRAME("000005", "01", "2c", "00000001") "0000000000", 6},   /* with both */
        {FRAME("000006", "01", "2c", "00000001") "010000000000", 6}, /* padding takes its place */
        {FRAME("000004", "00", "08", "00000001") "04000000", 1},     /* 6.1: padding = frame */
        {FRAME("000001", "00", "08", "00000001") "ff", 1},           /* 6.1: and longer */
        {FRAME("000003", "01", "0c", "00000001") "038800", 1},       /* 6.2 */
        {FRAME("000001", "00", "00", "00000000") "00", 1},           /* 6.1: stream 0 */
        {FRAME("000008", "06", "00", "00000001"), 1},                /* 6.7: not stream 0 */
        {FRAME("000001", "00", "00", "00000005") "78", 1},           /* 5.1: DATA on an idle stream */
        {FRAME("000001", "00", "00", "00000002") "78", 1},           /* 5.1: nor on the server's */
        {FRAME("000004", "03", "00", "00000005") "00000008", 1},     /* 6.4: RST_STREAM on an idle one */
        {FRAME("000004", "08", "00", "00000005") "00000001", 1},     /* 5.1: WINDOW_UPDATE likewise */
        {FRAME("000005", "05", "04", "00000001") "0000000282", 1},   /* 6.6, 8.4: we refuse push */
        {FRAME("000004", "08", "00", "00000000") "00000000", 1},     /* 6.9: by nothing */
        {FRAME("000004", "08", "00", "00000000") "7fffffff", 3},     /* 6.9.1: beyond 2^31-1 */
        {FRAME("000006", "04", "00", "00000000") "000200000001", 1}, /* 6.5.2: ENABLE_PUSH */
        {FRAME("000006", "04", "00", "00000000") "000480000000", 3}, /* INITIAL_WINDOW_SIZE */
        {FRAME("000006", "04", "00", "00000000") "000500003fff", 1}, /* MAX_FRAME_SIZE */
        {FRAME("000006", "04", "00", "00000000") "000501000000", 1},
    };
    EXPECT_FATAL(cases);
}

static void frames_and_settings_we_do_not_know_and_priority_are_ignored(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 1);
    serve(&s, FRAME("000003", "bb", "ff", "00000001") "010203" /* 4.1, 5.5 */
          FRAME("000005", "02", "00", "00000009") "0000000010" /* 6.3: even of an idle stream */
          FRAME("00000c", "04", "00", "00000000") "0009ffffffff"
                                                  "000100001000"); /* 6.5.2 */
    EVENTS(&s, "");
    SENT(&s, "settings ack");
    serve(&s, HEAD_200_END("00000001"));
    EVENTS(&s, "head 1 200, end 1");
}

/* 5.1: a stream whose HEADERS we have not sent is still idle to the server, whatever number we gave it. */
static void an_answer_to_a_request_that_was_not_sent_is_fatal(void **state)
{
    (void)state;
    static const char *const early[] = {
        HEAD_200_END("00000001"),
        FRAME("000001", "00", "00", "00000001") "78",
        FRAME("000004", "03", "00", "00000001") "00000008",
        FRAME("000004", "08", "00", "00000001") "00000001",
    };
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) {
        struct script s;
        script_open(&s, 0);
        assert_int_equal(get(&s), 1);
        serve(&s, early[i]);
        EVENTS(&s, "fatal 1");
        SENT(&s, "goaway 0 1");
    }
}

/* ---- PING and SETTINGS ---- */

static void a_ping_is_answered_with_its_own_bytes_and_an_answer_is_not(void **state)
{
    (void)state;
    struct script s;
    uint8_t out[64];
    static const uint8_t want[] = {0, 0, 8, 6, 1, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4};
    script_open(&s, 0);
    serve(&s, FRAME("000008", "06", "00", "00000000") "deadbeef01020304" FRAME("000008", "06", "01",
                                                                               "00000000") "0000000000000000");
    EVENTS(&s, "");
    assert_int_equal(ml_h2_poll_tx(&s.c, out, sizeof out), sizeof want);
    assert_memory_equal(out, want, sizeof want);
}

static void our_own_ping_is_open_until_the_answer_to_the_last_one_comes(void **state)
{
    (void)state;
    struct script s;
    uint8_t out[64];
    static const uint8_t want[] = {0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
    script_open(&s, 0);
    assert_false(ml_h2_is_ping_open(&s.c));
    ml_h2_ping(&s.c);
    ml_h2_ping(&s.c);
    assert_int_equal(ml_h2_poll_tx(&s.c, out, sizeof out), sizeof want);
    assert_memory_equal(out, want, sizeof want);
    assert_int_equal(ml_h2_poll_tx(&s.c, out, sizeof out), 0);
    serve(&s, FRAME("000008", "06", "01", "00000000") "0000000000000001"); /* the one before */
    EVENTS(&s, "");
    assert_true(ml_h2_is_ping_open(&s.c));
    serve(&s, FRAME("000008", "06", "00", "00000000") "0000000000000002"); /* a ping, no answer */
    EVENTS(&s, "");
    assert_true(ml_h2_is_ping_open(&s.c));
    serve(&s, FRAME("000008", "06", "01", "00000000") "0000000000000002");
    EVENTS(&s, "");
    assert_false(ml_h2_is_ping_open(&s.c));
}

static void settings_and_pings_are_acknowledged_in_their_order(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    serve(&s, FRAME("000008", "06", "00", "00000000") "0100000000000001" SERVER_PREFACE FRAME(
                  "000008", "06", "00",
                  "00000000") "0200000000000002" FRAME("000000", "04", "01",
                                                       "00000000")); /* that one acknowledges ours: no answer */
    EVENTS(&s, "");
    SENT(&s, "pong 01..01, settings ack, pong 02..02");
}

/* The answers have bounded room: reading stops until they were pulled, and none is lost. */
static void a_flood_of_pings_blocks_reading_until_the_answers_are_pulled(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 1);
    serve(&s,
          FRAME("000008", "06", "00", "00000000") "0100000000000001" FRAME(
              "000008", "06", "00",
              "00000000") "0200000000000002" FRAME("000008", "06", "00",
                                                   "00000000") "0300000000000003" FRAME("000008", "06", "00",
                                                                                        "00000000") "040000000000000"
                                                                                                    "4" FRAME(
                                                                                                        "000008", "06", "00",
                                                                                                        "0000000"
                                                                                                        "0") "050"
                                                                                                             "000"
                                                                                                             "000"
                                                                                                             "000"
                                                                                                             "000"
                                                                                                             "5" HEAD_200_END(
                                                                                                                 "00000001"));
    EVENTS(&s, "blocked, head 1 200, end 1");
    SENT(&s, "pong 01..01, pong 02..02, pong 03..03, pong 04..04, pong 05..05");
}

/* 6.5.2, 5.1.2: the limit counts streams in progress; a lower one does not end those there are. */
static void max_concurrent_streams_bounds_new_requests(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 2);
    serve(&s, FRAME("000006", "04", "00", "00000000") "000300000001");
    assert_false(ml_h2_can_request(&s.c));
    serve(&s, HEAD_200_END("00000001"));
    assert_false(ml_h2_can_request(&s.c));
    serve(&s, HEAD_200_END("00000003"));
    EVENTS(&s, "head 1 200, end 1, head 3 200, end 3");
    assert_int_equal(get(&s), 5);
    assert_int_equal(get(&s), 0);
    serve(&s, FRAME("000006", "04", "00", "00000000") "000300000002");
    assert_int_equal(get(&s), 7);
    serve(&s, FRAME("000006", "04", "00", "00000000") "000300000000");
    assert_false(ml_h2_can_request(&s.c));
}

/* ---- Ends of streams ---- */

/* 6.4, 8.7: only REFUSED_STREAM says that nothing was done. */
static void rst_stream_of_one_leaves_the_others_working(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    get(&s);
    get(&s);
    get(&s);
    SENT(&s, "headers 1 end, headers 3 end, headers 5 end");
    serve(&s, HEAD_200("00000001")
                  FRAME("000001", "00", "00", "00000001") "78" FRAME("000004", "03", "00", "00000001") "00000002" FRAME(
                      "000004", "03", "00",
                      "00000003") "00000007" FRAME("000004", "03", "00",
                                                   "00000001") "00000002" /* once more: the stream is gone already */
          HEAD_200("00000005") FRAME("000002", "00", "01", "00000005") "6f6b");
    EVENTS(&s, "head 1 200, data 1 1, reset 1 2, reset 3 7 retry, head 5 200, data 5 2, end 5");
    SENT(&s, "");
    assert_int_equal(get(&s), 7);
}

/* 6.8: streams above the last one were not processed; those up to it go on; new ones need a new connection. */
static void goaway_returns_unprocessed_requests_and_lets_the_others_finish(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    get(&s);
    get(&s);
    get(&s);
    SENT(&s, "headers 1 end, headers 3 end, headers 5 end");
    assert_int_equal(get(&s), 7); /* not sent yet */
    serve(&s, FRAME("00000b", "07", "00", "00000000") "80000003"
                                                      "00000000"
                                                      "627965"); /* reserved bit set, debug data "bye" */
    EVENTS(&s, "reset 5 7 retry, reset 7 7 retry, goaway 0");
    SENT(&s, "");
    assert_false(ml_h2_can_request(&s.c));
    serve(&s, HEAD_200_END("00000001"));
    EVENTS(&s, "head 1 200, end 1");
    /* A server shuts down in two steps; the second one names fewer. */
    serve(&s, FRAME("000008", "07", "00", "00000000") "00000001"
                                                      "0000000b");
    EVENTS(&s, "reset 3 7 retry, goaway 11");
    assert_false(ml_h2_can_request(&s.c));
}

/* 6.8: the first step of a shutdown names 2^31-1; requests in progress go on, one not sent yet will not go out any more. */
static void goaway_with_the_highest_stream_returns_only_what_was_not_sent(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 1);
    assert_int_equal(get(&s), 3);
    serve(&s, FRAME("000008", "07", "00", "00000000") "7fffffff"
                                                      "00000000");
    EVENTS(&s, "reset 3 7 retry, goaway 0");
    SENT(&s, "");
    serve(&s, HEAD_200_END("00000001"));
    EVENTS(&s, "head 1 200, end 1");
}

static void a_request_cancelled_before_it_was_sent_leaves_no_trace(void **state)
{
    (void)state;
    struct script s;
    script_open(&s, 0);
    assert_int_equal(get(&s), 1);
    ml_h2_cancel(&s.c, 1);
    assert_false(ml_h2_is_open(&s.c, 1));
    assert_true(ml_h2_is_sent(&s.c, 1));
    assert_int_equal(get(&s), 3);
    serve(&s, "");
    EVENTS(&s, "");
    SENT(&s, "headers 3 end"); /* 5.1.1: numbers may be passed over */
}

/* 5.1: after RST_STREAM the server may still have frames on the way; DATA counts for the connection (6.9). */
static void a_cancelled_stream_says_so_once_and_ignores_what_is_on_the_way(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 0, 2);
    serve(&s, HEAD_200("00000001"));
    ml_h2_cancel(&s.c, 1);
    ml_h2_cancel(&s.c, 1);
    ml_h2_cancel(&s.c, 99);
    assert_false(ml_h2_is_open(&s.c, 1));
    serve_data(&s, 1, 10000, 0); /* before RST_STREAM went out */
    EVENTS(&s, "head 1 200");
    SENT(&s, "rst 1 8");
    serve_data(&s, 1, 10000, 0); /* and after */
    serve_data(&s, 1, 12767, 0x1);
    serve(&s, FRAME("000004", "08", "00", "00000001") "00000001" FRAME("000004", "03", "00", "00000001") "00000008" FRAME(
                  "000005", "01", "05", "00000001") "0001610162");
    EVENTS(&s, "");
    SENT(&s, "window 0 32767");
    serve(&s, HEAD_200_END("00000003"));
    EVENTS(&s, "head 3 200, end 3");
    assert_int_equal(get(&s), 5);
}

static void no_event_follows_the_cancelling_of_a_stream_that_has_just_ended(void **state)
{
    (void)state;
    struct script s;
    struct ml_h2_event ev = {.type = ML_H2_EV_NONE};
    uint8_t raw[16];
    size_t used = 0, len = unhex(HEAD_200_END("00000001"), raw, sizeof raw);
    script_asked(&s, 0, 1);
    ml_h2_feed(&s.c, raw, len, &used, &ev);
    assert_int_equal(ev.type, ML_H2_EV_HEADERS);
    ml_h2_cancel(&s.c, 1);
    serve(&s, "");
    EVENTS(&s, "");
    SENT(&s, ""); /* the server has ended it: no RST_STREAM */
}

/* ---- Receive windows, 6.9 ---- */

static void a_server_that_overruns_a_stream_window_loses_the_stream(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 1000, 2);
    s.no_consume = true;
    serve(&s, HEAD_200("00000001") HEAD_200("00000003"));
    serve_data(&s, 1, 1000, 0);
    serve_data(&s, 1, 1, 0);
    EVENTS(&s, "head 1 200, head 3 200, data 1 1000, reset 1 3");
    SENT(&s, "rst 1 3");
    serve_data(&s, 3, 1000, 0x1);
    EVENTS(&s, "data 3 1000, end 3");
}

static void a_server_that_overruns_the_connection_window_loses_the_connection(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 65535, 2);
    s.no_consume = true;
    serve(&s, HEAD_200("00000001") HEAD_200("00000003"));
    serve_data(&s, 1, 16384, 0);
    serve_data(&s, 1, 16384, 0);
    serve_data(&s, 3, 16384, 0);
    serve_data(&s, 3, 16383, 0);
    EVENTS(&s, "head 1 200, head 3 200, data 1 32768, data 3 32767");
    SENT(&s, "");
    serve_data(&s, 3, 1, 0);
    EVENTS(&s, "fatal 3");
}

static void data_reported_after_the_end_of_its_stream_reopens_the_connection_window(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 65535, 1);
    s.no_consume = true;
    serve(&s, HEAD_200("00000001"));
    serve_data(&s, 1, 16384, 0);
    serve_data(&s, 1, 16384, 0);
    serve_data(&s, 1, 7232, 0x1);
    EVENTS(&s, "head 1 200, data 1 40000, end 1");
    SENT(&s, "");
    ml_h2_consumed(&s.c, 1, 40000);
    SENT(&s, "window 0 40000");
    /* More than there was gives the server nothing. */
    ml_h2_consumed(&s.c, 1, 40000);
    ml_h2_consumed(&s.c, 0, SIZE_MAX);
    SENT(&s, "");
    assert_int_equal(s.c.recv_window, 65535);
}

/* 6.1, 6.9: the whole payload counts, padding and its length included; nobody else reports those. */
static void padding_is_given_back_without_the_caller(void **state)
{
    (void)state;
    struct script s;
    script_asked(&s, 300, 1);
    serve(&s, HEAD_200("00000001"));
    for (int i = 0; i < 10; i++) { /* 10 times 128 bytes that are nothing but padding, through a window of 300 */
        uint8_t frame[9 + 128] = {0, 0, 128, 0, 8, 0, 0, 0, 1, 127};
        script_feed(&s, frame, sizeof frame);
        script_pull(&s, 512);
    }
    EVENTS(&s, "head 1 200");
    expect(s.tx, "window 1 256, window 1 256, window 1 256, window 1 256, window 1 256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_does_not_begin_with_settings_is_refused),
        cmocka_unit_test(an_answer_comes_as_head_data_and_end),
        cmocka_unit_test(retry_after_and_date_come_with_the_head),
        cmocka_unit_test(padding_priority_and_continuation_are_taken_off),
        cmocka_unit_test(trailers_end_an_answer_and_interim_answers_are_passed_over),
        cmocka_unit_test(malformed_answers_reset_their_stream_only),
        cmocka_unit_test(answers_of_four_streams_interleave),
        cmocka_unit_test(an_answer_before_the_end_of_the_request_stops_the_body),
        cmocka_unit_test(interleaving_with_a_header_block_is_fatal),
        cmocka_unit_test(blocks_that_do_not_decode_are_fatal),
        cmocka_unit_test(a_header_block_over_64_kib_is_too_much),
        cmocka_unit_test(sizes_paddings_and_streams_that_break_the_rules_are_fatal),
        cmocka_unit_test(frames_and_settings_we_do_not_know_and_priority_are_ignored),
        cmocka_unit_test(an_answer_to_a_request_that_was_not_sent_is_fatal),
        cmocka_unit_test(a_ping_is_answered_with_its_own_bytes_and_an_answer_is_not),
        cmocka_unit_test(our_own_ping_is_open_until_the_answer_to_the_last_one_comes),
        cmocka_unit_test(settings_and_pings_are_acknowledged_in_their_order),
        cmocka_unit_test(a_flood_of_pings_blocks_reading_until_the_answers_are_pulled),
        cmocka_unit_test(max_concurrent_streams_bounds_new_requests),
        cmocka_unit_test(rst_stream_of_one_leaves_the_others_working),
        cmocka_unit_test(goaway_returns_unprocessed_requests_and_lets_the_others_finish),
        cmocka_unit_test(goaway_with_the_highest_stream_returns_only_what_was_not_sent),
        cmocka_unit_test(a_request_cancelled_before_it_was_sent_leaves_no_trace),
        cmocka_unit_test(a_cancelled_stream_says_so_once_and_ignores_what_is_on_the_way),
        cmocka_unit_test(no_event_follows_the_cancelling_of_a_stream_that_has_just_ended),
        cmocka_unit_test(a_server_that_overruns_a_stream_window_loses_the_stream),
        cmocka_unit_test(a_server_that_overruns_the_connection_window_loses_the_connection),
        cmocka_unit_test(data_reported_after_the_end_of_its_stream_reopens_the_connection_window),
        cmocka_unit_test(padding_is_given_back_without_the_caller),
    };
    SCRIPT_MAIN(tests);
}
