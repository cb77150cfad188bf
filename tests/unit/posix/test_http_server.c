/*
 * The control socket's server, client and server in one thread: answers at once and later, streamed bodies, raw mode with a
 * slow reader, and its limits.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RAW_TOTAL 300000

static struct ml_loop loop;
static struct ml_http_server server;
static char path[64];
static struct ml_http_conn *pending, *raw_conn;
static int abandoned_count;
static size_t raw_sent, raw_received;
static bool raw_client_finished, raw_is_gone;

/** Ten pieces of 10,000 letters. */
static bool ten_pieces(void *ctx, uint64_t *cursor, struct ml_writer *w)
{
    (void)ctx;
    uint8_t *p = ml_write_room(w, 10000);
    assert_non_null(p);
    memset(p, 'a' + (int)*cursor, 10000);
    return ++*cursor < 10;
}

static void raw_write_more(void)
{
    static uint8_t buf[20000];
    while (raw_sent < RAW_TOTAL) {
        size_t want = RAW_TOTAL - raw_sent < sizeof buf ? RAW_TOTAL - raw_sent : sizeof buf;
        size_t n = ml_http_raw_write(raw_conn, buf, want);
        raw_sent += n;
        if (n < want) {
            return;
        }
    }
    ml_http_raw_finish(raw_conn);
}

static size_t raw_data(void *ctx, const uint8_t *buf, size_t len)
{
    (void)ctx;
    (void)buf;
    raw_received += len;
    return len;
}

static void raw_finished(void *ctx)
{
    (void)ctx;
    raw_client_finished = true;
    raw_write_more();
}

static void raw_writable(void *ctx)
{
    (void)ctx;
    raw_write_more();
}

static void raw_gone(void *ctx)
{
    (void)ctx;
    raw_is_gone = true;
}

static const struct ml_http_raw raw = {raw_data, raw_finished, raw_writable, raw_gone};

static void on_request(void *ctx, struct ml_http_conn *c, const struct ml_http_request *r, const uint8_t *body)
{
    (void)ctx;
    if (strcmp(r->path, "/now") == 0) {
        ml_http_respond(c, 200, "text/plain", NULL, "now", 3);
    } else if (strcmp(r->path, "/echo") == 0) {
        ml_http_respond(c, 200, "text/plain", "X: y\r\n", body, r->body_len);
    } else if (strcmp(r->path, "/stream") == 0) {
        ml_http_respond_stream(c, "text/plain", ten_pieces, NULL);
    } else if (strcmp(r->path, "/raw") == 0) {
        raw_conn = c;
        ml_http_switch(c, NULL, &raw, NULL);
    } else {
        pending = c;
    }
}

static void on_abandoned(void *ctx, struct ml_http_conn *c)
{
    (void)ctx;
    assert_ptr_equal(c, pending);
    pending = NULL;
    abandoned_count++;
}

static int start(void **state)
{
    (void)state;
    char why[200];
    ml_loop_init(&loop);
    memset(&server, 0, sizeof server);
    server.request = on_request;
    server.abandoned = on_abandoned;
    pending = raw_conn = NULL;
    abandoned_count = 0;
    raw_sent = raw_received = 0;
    raw_client_finished = raw_is_gone = false;
    snprintf(path, sizeof path, "/tmp/ml-http-%d.sock", (int)getpid());
    return ml_http_listen(&server, &loop, path, why, sizeof why) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    ml_http_close(&server);
    return 0;
}

static int dial(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void turn(void)
{
    for (int i = 0; i < 20; i++) {
        (void)ml_loop_wait(&loop, 0);
    }
}

/** Reads what comes in while the server runs, until nothing more does; terminated. */
static size_t take(int fd, char *buf, size_t cap)
{
    size_t len = 0;
    for (int idle = 0; idle < 3;) {
        turn();
        ssize_t n = recv(fd, buf + len, cap - 1 - len < 1000 ? cap - 1 - len : 1000, MSG_DONTWAIT);
        if (n > 0) {
            len += (size_t)n;
            idle = 0;
        } else {
            idle++;
        }
    }
    buf[len] = 0;
    return len;
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    char buf[4096];
    int fd = dial();
    put(fd, "GET /now HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /now HTTP/1.1\r\nConnection: "
            "close\r\n\r\n");
    take(fd, buf, sizeof buf);
    const char *one = strstr(buf, "\r\n\r\nnow"), *two = strstr(buf, "X: y\r\n\r\nhello");
    assert_non_null(one);
    assert_non_null(two);
    assert_true(one < two);
    assert_non_null(strstr(two, "\r\n\r\nnow"));
    assert_int_equal(recv(fd, buf, 1, 0), 0); /* Closed, as asked. */
    close(fd);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    (void)state;
    static const char text[] = "POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    char buf[1024], one[2] = "";
    int fd = dial();
    for (size_t i = 0; i < sizeof text - 1; i++) {
        one[0] = text[i];
        put(fd, one);
        turn();
    }
    take(fd, buf, sizeof buf);
    assert_non_null(strstr(buf, "\r\n\r\nabc"));
    close(fd);
}

static void an_answer_may_come_later_and_its_client_may_leave_before(void **state)
{
    (void)state;
    char buf[1024];
    int fd = dial();
    put(fd, "GET /later HTTP/1.1\r\n\r\n");
    turn();
    assert_non_null(pending);
    ml_http_respond(pending, 404, "text/plain", NULL, "late", 4);
    take(fd, buf, sizeof buf);
    assert_non_null(strstr(buf, "404 Not Found"));
    put(fd, "GET /later HTTP/1.1\r\n\r\n");
    turn();
    assert_non_null(pending);
    close(fd);
    turn();
    assert_int_equal(abandoned_count, 1);
    assert_null(pending);
}

static void a_streamed_body_reaches_a_slow_reader_whole(void **state)
{
    (void)state;
    static char buf[200000];
    int fd = dial();
    put(fd, "GET /stream HTTP/1.1\r\n\r\n");
    take(fd, buf, sizeof buf);
    assert_non_null(strstr(buf, "Transfer-Encoding: chunked"));
    size_t letters[10] = {0};
    for (const char *p = strstr(buf, "\r\n\r\n"); *p; p++) {
        if (*p >= 'a' && *p < 'a' + 10) {
            letters[*p - 'a']++;
        }
    }
    for (size_t i = 0; i < 10; i++) {
        assert_in_range(letters[i], 10000, 10010); /* Chunk lengths are hex and may hold a letter. */
    }
    assert_non_null(strstr(buf, "0\r\n\r\n"));
    close(fd);
}

static void raw_bytes_reach_a_slow_reader_to_the_last_one(void **state)
{
    (void)state;
    static char buf[RAW_TOTAL + 1000];
    int fd = dial();
    put(fd, "POST /raw HTTP/1.1\r\n\r\n");
    turn();
    assert_non_null(raw_conn);
    put(fd, "12345");
    shutdown(fd, SHUT_WR);
    size_t n = take(fd, buf, sizeof buf);
    assert_int_equal(raw_received, 5);
    assert_true(raw_client_finished);
    assert_int_equal(n, strlen("HTTP/1.1 101 Switching Protocols\r\n\r\n") + RAW_TOTAL);
    assert_int_equal(recv(fd, buf, 1, 0), 0);
    assert_false(raw_is_gone); /* Finished by us: nobody needs to be told. */
    close(fd);
}

static void nonsense_is_answered_400_and_closed(void **state)
{
    (void)state;
    char buf[1024];
    int fd = dial();
    put(fd, "what is this\r\n\r\n");
    take(fd, buf, sizeof buf);
    assert_non_null(strstr(buf, "400 Bad Request"));
    assert_int_equal(recv(fd, buf, 1, 0), 0);
    close(fd);
}

static void one_connection_too_many_waits_for_a_free_place(void **state)
{
    (void)state;
    char buf[1024];
    int fd[ML_HTTP_CONNS + 1];
    for (size_t i = 0; i <= ML_HTTP_CONNS; i++) {
        fd[i] = dial();
        turn();
    }
    put(fd[ML_HTTP_CONNS], "GET /now HTTP/1.1\r\n\r\n");
    assert_int_equal(take(fd[ML_HTTP_CONNS], buf, sizeof buf), 0);
    close(fd[0]);
    take(fd[ML_HTTP_CONNS], buf, sizeof buf);
    assert_non_null(strstr(buf, "\r\n\r\nnow"));
    for (size_t i = 1; i <= ML_HTTP_CONNS; i++) {
        close(fd[i]);
    }
}

static void a_live_socket_is_not_taken_over(void **state)
{
    (void)state;
    struct ml_http_server other = {0};
    char why[200] = "";
    assert_false(ml_http_listen(&other, &loop, path, why, sizeof why));
    assert_non_null(strstr(why, "already answers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pipelined_requests_are_answered_in_order, start, stop),
        cmocka_unit_test_setup_teardown(a_request_may_come_byte_by_byte, start, stop),
        cmocka_unit_test_setup_teardown(an_answer_may_come_later_and_its_client_may_leave_before, start, stop),
        cmocka_unit_test_setup_teardown(a_streamed_body_reaches_a_slow_reader_whole, start, stop),
        cmocka_unit_test_setup_teardown(raw_bytes_reach_a_slow_reader_to_the_last_one, start, stop),
        cmocka_unit_test_setup_teardown(nonsense_is_answered_400_and_closed, start, stop),
        cmocka_unit_test_setup_teardown(one_connection_too_many_waits_for_a_free_place, start, stop),
        cmocka_unit_test_setup_teardown(a_live_socket_is_not_taken_over, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
