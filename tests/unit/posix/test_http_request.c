/*
 * Requests of the control socket: what the official client and ours send, and what must be refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ml_http_request r;

static enum ml_http_parse parse(const char *text)
{
    return ml_http_parse_head(text, strlen(text), &r);
}

static void a_request_of_the_official_client_is_understood(void **state)
{
    (void)state;
    static const char text[] = "POST /localapi/v0/ping?ip=100.64.0.1&size=0&type=disco HTTP/1.1\r\n"
                               "Host: local-tailscaled.sock\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n"
                               "Tailscale-Cap: 140\r\nAccept-Encoding: gzip\r\n\r\n";
    char v[32];
    assert_int_equal(parse(text), ML_HTTP_OK);
    assert_string_equal(r.method, "POST");
    assert_string_equal(r.path, "/localapi/v0/ping");
    assert_true(r.keep_alive);
    assert_int_equal(r.head_len, sizeof text - 1);
    assert_int_equal(r.body_len, 0);
    assert_true(ml_http_query(&r, "ip", v, sizeof v));
    assert_string_equal(v, "100.64.0.1");
    assert_true(ml_http_query(&r, "type", v, sizeof v));
    assert_string_equal(v, "disco");
    assert_false(ml_http_query(&r, "typ", v, sizeof v));
}

static void every_shorter_piece_of_it_is_incomplete(void **state)
{
    (void)state;
    static const char text[] = "GET /localapi/v0/status HTTP/1.1\r\nHost: x\r\n\r\n";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        assert_int_equal(ml_http_parse_head(text, n, &r), ML_HTTP_INCOMPLETE);
    }
}

static void a_dial_request_has_its_target(void **state)
{
    (void)state;
    assert_int_equal(parse("POST /localapi/v0/dial HTTP/1.1\r\nUpgrade: ts-dial\r\nConnection: upgrade\r\nDial-Host: peer\r\n"
                           "Dial-Port: 80\r\nDial-Network: tcp\r\n\r\n"),
                     ML_HTTP_OK);
    assert_string_equal(r.upgrade, "ts-dial");
    assert_string_equal(r.dial_host, "peer");
    assert_string_equal(r.dial_port, "80");
    assert_string_equal(r.dial_network, "tcp");
}

static void what_cannot_be_trusted_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET http://x/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n: no name\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "LONGMETHOD / HTTP/1.1\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nA: b\n\r\n\r\n",
        "\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse(bad[i]) != ML_HTTP_BAD) {
            fail_msg("not refused: %s", bad[i]);
        }
    }
}

static void limits_are_told_apart_from_mistakes(void **state)
{
    (void)state;
    char *big = malloc(ML_HTTP_HEAD_MAX + 1);
    assert_non_null(big);
    memset(big, 'a', ML_HTTP_HEAD_MAX);
    big[ML_HTTP_HEAD_MAX] = 0;
    assert_int_equal(parse(big), ML_HTTP_TOO_LARGE);
    free(big);
    assert_int_equal(parse("POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"), ML_HTTP_TOO_LARGE);
    assert_true(r.head_len > 0);
}

static void query_values_survive_encoding_and_decoding(void **state)
{
    (void)state;
    char encoded[256], text[300], v[64];
    static const char *const values[] = {"a b&c=d", "100%", "fd7a:115c:a1e0::1", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_true(ml_http_encode(values[i], encoded, sizeof encoded));
        snprintf(text, sizeof text, "GET /x?q=%s&z=1 HTTP/1.1\r\n\r\n", encoded);
        assert_int_equal(parse(text), ML_HTTP_OK);
        assert_true(ml_http_query(&r, "q", v, sizeof v));
        assert_string_equal(v, values[i]);
    }
    static const char *const bad[] = {"%", "%4", "%zz", "%00", "abc%2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "GET /x?q=%s HTTP/1.1\r\n\r\n", bad[i]);
        assert_int_equal(parse(text), ML_HTTP_OK);
        assert_false(ml_http_query(&r, "q", v, sizeof v));
    }
    assert_false(ml_http_encode("too long", encoded, 4));
}

static void a_connection_is_kept_unless_the_client_says_otherwise(void **state)
{
    (void)state;
    assert_int_equal(parse("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), ML_HTTP_OK);
    assert_false(r.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n"), ML_HTTP_OK);
    assert_false(r.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.1\r\nConnection: upgrade\r\n\r\n"), ML_HTTP_OK);
    assert_true(r.keep_alive);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_of_the_official_client_is_understood),
        cmocka_unit_test(every_shorter_piece_of_it_is_incomplete),
        cmocka_unit_test(a_dial_request_has_its_target),
        cmocka_unit_test(what_cannot_be_trusted_is_refused),
        cmocka_unit_test(limits_are_told_apart_from_mistakes),
        cmocka_unit_test(query_values_survive_encoding_and_decoding),
        cmocka_unit_test(a_connection_is_kept_unless_the_client_says_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
