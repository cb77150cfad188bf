/*
 * The PeerAPI over kernel sockets on the loopback device: its port, its answers, its limits. Over the tunnel and over lwIP:
 * tests/interop/peerapi_test.go.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/addr.h"
#include "peerapi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ml_loop loop;
static struct ml_peerapi api;

static ml_ip ip_of(const char *text)
{
    ml_ip ip = {0};
    assert_true(ml_ip_parse(text, strlen(text), &ip));
    return ip;
}

static bool serve(const char *ip4)
{
    char why[200] = "";
    ml_ip a = ip4 ? ip_of(ip4) : (ml_ip){0}, none = {0};
    return ml_peerapi_serve(&api, &a, &none, why, sizeof why);
}

static int start(void **state)
{
    (void)state;
    ml_loop_init(&loop);
    ml_peerapi_init(&api, NULL, &loop, NULL, "lo");
    return serve("127.0.0.1") ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    ml_peerapi_close(&api);
    return 0;
}

/** @return -1 when refused. */
static int dial(uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void turn(void)
{
    while (ml_loop_wait(&loop, 20000) > 0) {
    }
}

/** The whole answer to @p text; the server closes behind it. */
static const char *ask(const char *text)
{
    static char buf[2048];
    size_t len = 0;
    ssize_t n;
    int fd = dial(api.on4.port);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    turn();
    while ((n = recv(fd, buf + len, sizeof buf - 1 - len, MSG_DONTWAIT)) > 0) {
        len += (size_t)n;
    }
    assert_int_equal(n, 0);
    buf[len] = 0;
    close(fd);
    return buf;
}

static void assert_answer(const char *request, const char *status)
{
    const char *got = ask(request);
    if (strncmp(got, "HTTP/1.1 ", 9) != 0 || strncmp(got + 9, status, strlen(status)) != 0) {
        fail_msg("%s: %s, not %s", request, got, status);
    }
}

/* CRC-32 by zlib. */
static void the_port_follows_from_the_address_as_in_other_clients(void **state)
{
    (void)state;
    ml_ip a = ip_of("100.64.0.1"), b = ip_of("fd7a:115c:a1e0:ab12:4843:cd96:6240:1"), c = ip_of("100.255.0.9");
    assert_int_equal(ml_peerapi_port(&a, 0), 58436);
    assert_int_equal(ml_peerapi_port(&a, 1), 36467);
    assert_int_equal(ml_peerapi_port(&b, 0), 58436);
    assert_int_equal(ml_peerapi_port(&c, 1), 57782);
}

static void D68_the_root_is_there_and_nothing_else(void **state)
{
    (void)state;
    assert_answer("GET / HTTP/1.1\r\nHost: peer\r\n\r\n", "200 OK");
    assert_non_null(strstr(ask("GET / HTTP/1.1\r\nHost: peer\r\n\r\n"), "\r\n\r\nmicrolink\n"));
    assert_answer("HEAD / HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n", "200 OK");
    assert_answer("GET /?q=1 HTTP/1.0\r\nHost: peer\r\n\r\n", "200 OK");
    assert_answer("GET /x HTTP/1.1\r\nHost: peer\r\n\r\n", "404");
    assert_answer("POST / HTTP/1.1\r\nHost: peer\r\n\r\n", "404");
    assert_answer("PUT /v0/put/a HTTP/1.1\r\nHost: peer\r\nContent-Length: 99999999\r\n\r\n", "404");
    const char *head = ask("HEAD / HTTP/1.1\r\nHost: peer\r\n\r\n");
    assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
    assert_non_null(strstr(head, "Connection: close\r\n"));
}

static void D68_a_page_or_another_host_is_refused(void **state)
{
    (void)state;
    assert_answer("GET / HTTP/1.1\r\n\r\n", "403");
    assert_answer("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "403");
    assert_answer("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "403");
    assert_answer("GET / HTTP/1.1\r\nHost: 127.0.0.2:80\r\n\r\n", "403");
    assert_answer("GET / HTTP/1.1\r\nHost: [::]:80\r\n\r\n", "403");
    assert_answer("GET / HTTP/1.1\r\nHost: a.name.longer.than.any.address.is.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
                  "403");
    assert_answer("GET / HTTP/1.1\r\nHost: peer\r\nOrigin: null\r\n\r\n", "403");
    assert_answer("GET / HTTP/1.1\r\nHost: peer\r\nreferer: http://a/\r\n\r\n", "403");
    assert_answer("GET /x HTTP/1.1\r\nHost: peer\r\nReferer: a\r\n\r\n", "403");
    assert_answer("GET / HTTP/1.1\r\nHost: peer\r\nHost: peer\r\n\r\n", "400");
    assert_answer("nonsense\r\n\r\n", "400");
}

static void a_head_without_end_is_refused(void **state)
{
    (void)state;
    char head[ML_HTTP_HEAD_MAX + 1];
    memset(head, 'a', sizeof head - 1);
    head[sizeof head - 1] = 0;
    memcpy(head, "GET / HTTP/1.1\r\nX: ", 19);
    assert_answer(head, "431");
}

static void four_connections_at_a_time_and_ten_seconds_each(void **state)
{
    (void)state;
    int fds[ML_PEERAPI_CONNS + 1];
    char byte;
    for (size_t i = 0; i < ML_PEERAPI_CONNS + 1; i++) {
        fds[i] = dial(api.on4.port);
        assert_true(fds[i] >= 0);
        turn();
    }
    assert_int_equal(recv(fds[ML_PEERAPI_CONNS], &byte, 1, MSG_DONTWAIT), 0);
    ml_time at = ml_peerapi_deadline(&api), now = ml_sys_now();
    assert_true(at > now && at <= now + ML_PEERAPI_LIFE);
    ml_peerapi_on_time(&api, at - 1);
    assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), -1);
    ml_peerapi_on_time(&api, now + ML_PEERAPI_LIFE);
    for (size_t i = 0; i < ML_PEERAPI_CONNS + 1; i++) {
        assert_int_equal(recv(fds[i], &byte, 1, MSG_DONTWAIT), 0);
        close(fds[i]);
    }
    assert_int_equal(ml_peerapi_deadline(&api), ML_NEVER);
    assert_answer("GET / HTTP/1.1\r\nHost: peer\r\n\r\n", "200");
}

static void it_follows_the_address_and_leaves_a_port_that_is_taken(void **state)
{
    (void)state;
    uint16_t before = api.on4.port;
    struct ml_peerapi second;
    char why[200] = "";
    ml_ip a = ip_of("127.0.0.1"), none = {0}, foreign = ip_of("192.0.2.1");
    ml_peerapi_init(&second, NULL, &loop, NULL, "lo");
    assert_true(ml_peerapi_serve(&second, &a, &none, why, sizeof why));
    assert_int_not_equal(second.on4.port, before);
    assert_int_equal(second.on4.port, ml_peerapi_port(&a, 1));
    ml_peerapi_close(&second);
    assert_false(ml_peerapi_serve(&api, &foreign, &none, why, sizeof why));
    assert_non_null(strstr(why, "IPv4"));
    assert_int_equal(api.on4.port, 0);
    assert_int_equal(dial(before), -1);
    assert_true(serve("127.0.0.1"));
    assert_int_equal(api.on4.port, before);
    assert_true(serve(NULL));
    assert_int_equal(dial(before), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_port_follows_from_the_address_as_in_other_clients),
        cmocka_unit_test_setup_teardown(D68_the_root_is_there_and_nothing_else, start, stop),
        cmocka_unit_test_setup_teardown(D68_a_page_or_another_host_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(a_head_without_end_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(four_connections_at_a_time_and_ten_seconds_each, start, stop),
        cmocka_unit_test_setup_teardown(it_follows_the_address_and_leaves_a_port_that_is_taken, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
