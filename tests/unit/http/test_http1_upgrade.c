/*
 * HTTP/1.1: the upgrade request byte for byte, answers in pieces of every size. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "http/http1_upgrade.h"

static void the_upgrade_request_carries_136_base64_characters(void **state)
{
    (void)state;
    uint8_t out[512], init[101] = {0, 130, 1, 0, 96};
    struct ml_writer w = ml_writer_of(out, sizeof out);
    ml_http1_write_upgrade(&w, "example.org:8080", init, sizeof init);
    const char *text = ml_write_end_str(&w);
    const char *head = "POST /ts2021 HTTP/1.1\r\nHost: example.org:8080\r\nUpgrade: tailscale-control-protocol\r\n"
                       "Connection: upgrade\r\nX-Tailscale-Handshake: AIIBAGAA";
    assert_int_equal(strncmp(text, head, strlen(head)), 0);
    const char *value = strstr(text, "Handshake: ") + 11;
    assert_int_equal(strcspn(value, "\r"), 136);
    assert_string_equal(value + 136, "\r\nContent-Length: 0\r\n\r\n");
}

/* Body text, then '$' when complete, '!' on error, '.' when more must come. */
static void check(const char *in, bool is_head, unsigned status, const char *want, size_t want_rest)
{
    for (size_t piece = 1; piece < 80; piece++) {
        struct ml_http1 h;
        uint8_t out[256];
        struct ml_writer w = ml_writer_of(out, sizeof out);
        size_t len = strlen(in), at = 0, used, n;
        const uint8_t *data;
        enum ml_http1_event ev = ML_HTTP1_NEED_MORE;
        ml_http1_init(&h, is_head);
        while (at < len && ev != ML_HTTP1_END && ev != ML_HTTP1_ERROR) {
            size_t have = len - at < piece ? len - at : piece;
            ev = ml_http1_next(&h, (const uint8_t *)in + at, have, &used, &data, &n);
            ml_write_bytes(&w, data, n);
            at += used;
        }
        if (ev != ML_HTTP1_END && ev != ML_HTTP1_ERROR) {
            ev = ml_http1_finish(&h);
        }
        ml_write_u8(&w, ev == ML_HTTP1_END ? '$' : '!');
        assert_string_equal(ml_write_end_str(&w), want);
        if (ev == ML_HTTP1_END) {
            assert_int_equal(h.status, status);
            assert_int_equal(len - at, want_rest);
        }
    }
}

static void C10_bytes_after_the_head_of_a_101_are_left_alone(void **state)
{
    (void)state;
    check("HTTP/1.1 101 Switching Protocols\r\nContent-Security-Policy: x\r\nUpgrade: tailscale-control-protocol\r\n"
          "X-Frame-Options: DENY\r\nConnection: upgrade\r\n\r\n\x02zHTTP",
          false, 101, "$", 6);
    static const char *const fields[] = {"Upgrade: tailscale-control-protocol\r\n", "Upgrade: websocket\r\n", ""};
    for (size_t i = 0; i < 3; i++) {
        struct ml_http1 h;
        uint8_t in[128];
        const uint8_t *data;
        size_t used, n;
        struct ml_writer w = ml_writer_of(in, sizeof in);
        ml_write_str(&w, "HTTP/1.1 101 Switching Protocols\r\n");
        ml_write_str(&w, fields[i]);
        ml_write_str(&w, "\r\n\x02");
        ml_http1_init(&h, false);
        assert_int_equal(ml_http1_next(&h, in, w.len, &used, &data, &n), ML_HTTP1_HEAD);
        assert_int_equal(used, w.len - 1);
        assert_int_equal(ml_http1_is_upgraded(&h, ML_HTTP1_TS2021_TOKEN), i == 0);
    }
}

static void bodies_end_where_their_framing_says(void **state)
{
    (void)state;
    check("HTTP/1.1 200 OK\r\ncontent-LENGTH:  5 \r\n\r\nhelloX", false, 200, "hello$", 1);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: "
          "3\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\nX",
          false, 200, "hello0123456789$", 1);
    check("HTTP/1.0 200\r\n\r\nuntil close", false, 200, "until close$", 0);
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nX", false, 204, "$", 1);
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nX", true, 200, "$", 1);
    check("HTTP/1.1 200 OK\nContent-Length: 1\n\nab", false, 200, "a$", 1);
}

static void answers_whose_end_is_unclear_are_errors(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
        "HTTP/1.1 200 OK\r\nContent-",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check(bad[i], false, 0, "!", 0);
    }
}

static void fields_are_kept_or_passed_over_up_to_64_kib(void **state)
{
    (void)state;
    struct ml_http1 h;
    const uint8_t *data;
    size_t used, n;
    ml_http1_init(&h, false);
    const char *head = "HTTP/1.1 429 Slow\r\nRETRY-AFTER: 120\r\nDate: Mon, 23 Nov 2026 14:00:00 GMT\r\nUpgrade: far too long "
                       "to be anything that we ask for\r\nX: ";
    assert_int_equal(ml_http1_next(&h, (const uint8_t *)head, strlen(head), &used, &data, &n), ML_HTTP1_NEED_MORE);
    assert_string_equal(h.retry_after, "120");
    assert_string_equal(h.date, "Mon, 23 Nov 2026 14:00:00 GMT");
    assert_string_equal(h.upgrade, "");
    for (size_t i = strlen(head); i < ML_HTTP1_HEAD_MAX; i++) {
        assert_int_equal(ml_http1_next(&h, (const uint8_t *)"x", 1, &used, &data, &n), ML_HTTP1_NEED_MORE);
    }
    assert_int_equal(ml_http1_next(&h, (const uint8_t *)"x", 1, &used, &data, &n), ML_HTTP1_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_upgrade_request_carries_136_base64_characters),
        cmocka_unit_test(C10_bytes_after_the_head_of_a_101_are_left_alone),
        cmocka_unit_test(bodies_end_where_their_framing_says),
        cmocka_unit_test(answers_whose_end_is_unclear_are_errors),
        cmocka_unit_test(fields_are_kept_or_passed_over_up_to_64_kib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
