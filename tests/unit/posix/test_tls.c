/*
 * TLS against OpenSSL's server on loopback: what is accepted, and that every refusal gets its own reason.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "loop.h"
#include "tls_mbedtls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static pid_t server_pid;
static uint16_t server_port;
static int server_out = -1;

static int make_certs(void **state)
{
    (void)state;
    char cmd[512];
    strcpy(dir, "/tmp/ml-tls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(cmd, sizeof cmd, "sh %s/make_certs.sh %s", ML_TESTS_DIR, dir);
    return system(cmd);
}

static int remove_certs(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

static char *file(const char *name, const char *suffix)
{
    static char path[4][128];
    static unsigned n;
    char *p = path[n++ % 4];
    snprintf(p, sizeof path[0], "%s/%s%s", dir, name, suffix);
    return p;
}

/** Starts `openssl s_server` with a certificate and, unless NULL, one more behind it. */
static void start_server(const char *cert, const char *extra)
{
    int out[2];
    assert_int_equal(pipe(out), 0);
    server_pid = fork();
    assert_true(server_pid >= 0);
    if (server_pid == 0) {
        dup2(out[1], 1);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 2);
        const char *argv[16] = {"openssl",          "s_server", "-accept",          "127.0.0.1:0", "-cert",
                                file(cert, ".pem"), "-key",     file(cert, ".key"), "-www"};
        if (extra != NULL) {
            argv[9] = "-cert_chain";
            argv[10] = file(extra, ".pem");
        }
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(out[1]);
    server_out = out[0];
    char text[512] = "";
    size_t len = 0;
    const char *accept_line = NULL;
    while (accept_line == NULL || strchr(accept_line, '\n') == NULL) {
        ssize_t n = read(server_out, text + len, sizeof text - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
        text[len] = 0;
        accept_line = strstr(text, "ACCEPT 127.0.0.1:");
    }
    server_port = (uint16_t)atoi(accept_line + 17);
    assert_int_not_equal(server_port, 0);
}

static int stop_server(void **state)
{
    (void)state;
    if (server_pid > 0) {
        kill(server_pid, SIGTERM);
        waitpid(server_pid, NULL, 0);
        close(server_out);
        server_pid = 0;
    }
    return 0;
}

static struct {
    enum ml_tls_result result;
    ml_close_reason reason;
    char detail[192];
    bool has_meta;
    ml_derp_key meta;
} seen;

static int dial(uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(ml_sys_prepare_fd(fd), 0);
    return fd;
}

static enum ml_tls_result handshake(struct ml_tls_conn *c, int fd)
{
    for (;;) {
        enum ml_tls_result r = ml_tls_handshake(c);
        if (r != ML_TLS_WANT_READ && r != ML_TLS_WANT_WRITE) {
            return r;
        }
        struct pollfd p = {.fd = fd, .events = r == ML_TLS_WANT_READ ? POLLIN : POLLOUT};
        assert_true(poll(&p, 1, 10000) > 0);
    }
}

static void attempt_at(int64_t unix_now, const char *ca, const struct ml_tls_want *want)
{
    ml_random random = {.fill = ml_sys_random};
    struct ml_tls *t = ml_tls_new(&random, ca ? file(ca, ".pem") : NULL, NULL);
    assert_non_null(t);
    ml_tls_set_clock(t, unix_now);
    int fd = dial(server_port);
    struct ml_tls_conn *c = ml_tls_connect(t, fd, want);
    assert_non_null(c);
    seen.result = handshake(c, fd);
    seen.reason = ml_tls_reason(c);
    snprintf(seen.detail, sizeof seen.detail, "%s", ml_tls_detail(c));
    seen.has_meta = ml_tls_derp_meta_key(c, &seen.meta);
    ml_tls_conn_free(c);
    ml_tls_free(t);
    close(fd);
}

static void attempt(const char *ca, const struct ml_tls_want *want)
{
    attempt_at(0, ca, want);
}

static void expect_ok(void)
{
    if (seen.result != ML_TLS_OK) {
        print_message("refused: %s\n", seen.detail);
    }
    assert_int_equal(seen.result, ML_TLS_OK);
}

static void expect_refusal(ml_close_reason why)
{
    assert_int_equal(seen.result, ML_TLS_FAILED);
    if (seen.reason != why) {
        print_message("detail: %s\n", seen.detail);
    }
    assert_int_equal(seen.reason, why);
    assert_true(seen.detail[0] != 0);
}

static void read_pin(const char *cert, uint8_t pin[32])
{
    char hex[80];
    FILE *f = fopen(file(cert, ".sha256"), "r");
    assert_non_null(f);
    assert_non_null(fgets(hex, sizeof hex, f));
    fclose(f);
    assert_true(ml_hex_parse(hex, 64, pin, 32));
}

/* ---- Chain ---- */

static void a_chain_to_the_given_root_with_the_right_name_is_accepted(void **state)
{
    (void)state;
    static const char *const names[] = {"relay.example", "RELAY.example", "a.wild.example", "127.0.0.1", "2001:db8::1"};
    start_server("good", NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        attempt("ca", &(struct ml_tls_want){.sni = names[i], .verify_name = names[i]});
        expect_ok();
    }
    stop_server(state);
}

static void an_unknown_authority_is_told_from_a_wrong_name_and_a_wrong_time(void **state)
{
    (void)state;
    static const char *const wrong[] = {"other.example", "wild.example", "a.b.wild.example", "127.0.0.2", "good", ""};
    start_server("good", NULL);
    attempt("other", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
    expect_refusal(ML_CLOSE_TLS_UNTRUSTED);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .verify_name = wrong[i]});
        expect_refusal(ML_CLOSE_TLS_NAME);
    }
    stop_server(state);
    static const char *const times[] = {"expired", "future"};
    for (size_t i = 0; i < 2; i++) {
        start_server(times[i], NULL);
        attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
        expect_refusal(ML_CLOSE_TLS_TIME);
        stop_server(state);
    }
    start_server("client", NULL);
    attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
    expect_refusal(ML_CLOSE_TLS_UNTRUSTED);
    stop_server(state);
}

static void validity_is_judged_by_the_clock_given_not_by_the_systems(void **state)
{
    (void)state;
    const int64_t in_2020 = 1590969600, in_2100 = INT64_C(4102531200);
    uint8_t pin[32];
    read_pin("expired", pin);
    const struct ml_tls_want pinned = {.sni = "relay.example", .pin_sha256 = pin};
    start_server("expired", NULL);
    attempt_at(in_2020, NULL, &pinned);
    expect_ok();
    attempt_at(0, NULL, &pinned);
    expect_refusal(ML_CLOSE_TLS_TIME);
    stop_server(state);
    start_server("good", NULL);
    attempt_at(in_2100, "ca", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
    expect_refusal(ML_CLOSE_TLS_TIME);
    attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
    expect_ok();
    stop_server(state);
}

static void a_root_file_that_is_missing_or_empty_is_an_unknown_authority(void **state)
{
    (void)state;
    start_server("good", NULL);
    attempt("no-such-file", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
    expect_refusal(ML_CLOSE_TLS_UNTRUSTED);
    assert_non_null(strstr(seen.detail, "no trusted roots"));
    stop_server(state);
}

static void the_systems_roots_do_not_know_the_test_authority(void **state)
{
    (void)state;
    start_server("good", NULL);
    attempt(NULL, &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
    expect_refusal(ML_CLOSE_TLS_UNTRUSTED);
    stop_server(state);
}

static void an_advisory_check_reports_and_goes_on(void **state)
{
    (void)state;
    start_server("expired", NULL);
    attempt("other", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example", .verify_advisory = true});
    expect_ok();
    assert_true(seen.detail[0] != 0);
    stop_server(state);
}

/* ---- The certificate that is not part of the chain ---- */

static void an_extra_meta_certificate_does_not_break_verification(void **state)
{
    (void)state;
    static const char *const extra[] = {"meta", "meta_ec"};
    for (size_t i = 0; i < 2; i++) {
        uint8_t pin[32];
        start_server("good", extra[i]);
        attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
        expect_ok();
        attempt("other", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
        expect_refusal(ML_CLOSE_TLS_UNTRUSTED);
        read_pin("good", pin);
        attempt("other", &(struct ml_tls_want){.sni = "relay.example", .pin_sha256 = pin});
        expect_ok();
        stop_server(state);
    }
}

static void the_key_of_a_readable_meta_certificate_is_handed_on(void **state)
{
    (void)state;
    start_server("good", "meta_ec");
    attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
    expect_ok();
    assert_true(seen.has_meta);
    assert_int_equal(seen.meta.b[0], 0x00);
    assert_int_equal(seen.meta.b[31], 0xff);
    stop_server(state);
}

/* ---- Pins ---- */

static void D47_the_pinned_certificate_is_accepted_without_a_chain_and_no_other(void **state)
{
    (void)state;
    uint8_t pin[32];
    start_server("good", NULL);
    read_pin("good", pin);
    attempt("other", &(struct ml_tls_want){.sni = "relay.example", .pin_sha256 = pin});
    expect_ok();
    attempt("other", &(struct ml_tls_want){.pin_sha256 = pin}); /* Dialled by address: there is no name to match. */
    expect_ok();
    attempt("other", &(struct ml_tls_want){.sni = "other.example", .pin_sha256 = pin});
    expect_refusal(ML_CLOSE_TLS_NAME);
    pin[0] ^= 1;
    attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .pin_sha256 = pin});
    expect_refusal(ML_CLOSE_TLS_PIN);
    stop_server(state);
}

static void D47_a_pin_does_not_excuse_an_expired_certificate_or_a_second_one(void **state)
{
    (void)state;
    uint8_t pin[32];
    start_server("expired", NULL);
    read_pin("expired", pin);
    attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .pin_sha256 = pin});
    expect_refusal(ML_CLOSE_TLS_TIME);
    stop_server(state);
    start_server("good", "ca");
    read_pin("good", pin);
    attempt("ca", &(struct ml_tls_want){.sni = "relay.example", .pin_sha256 = pin});
    expect_refusal(ML_CLOSE_TLS_PIN);
    stop_server(state);
}

/* ---- Not TLS; data ---- */

static void a_server_that_does_not_speak_tls_is_told_as_such(void **state)
{
    (void)state;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(l, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(l, 1), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &len), 0);
    int fd = dial(ntohs(sa.sin_port));
    int peer = accept(l, NULL, NULL);
    assert_true(write(peer, "SSH-2.0-no tls here\r\n", 21) == 21);
    ml_random random = {.fill = ml_sys_random};
    struct ml_tls *t = ml_tls_new(&random, NULL, NULL);
    struct ml_tls_conn *c = ml_tls_connect(t, fd, &(struct ml_tls_want){.sni = "x.example", .verify_name = "x.example"});
    assert_int_equal(handshake(c, fd), ML_TLS_FAILED);
    assert_int_equal(ml_tls_reason(c), ML_CLOSE_TLS_OTHER);
    ml_tls_conn_free(c);
    ml_tls_free(t);
    close(fd);
    close(peer);
    close(l);
}

static void data_goes_both_ways_until_the_peer_closes(void **state)
{
    (void)state;
    start_server("good", NULL);
    ml_random random = {.fill = ml_sys_random};
    struct ml_tls *t = ml_tls_new(&random, file("ca", ".pem"), NULL);
    int fd = dial(server_port);
    struct ml_tls_conn *c =
        ml_tls_connect(t, fd, &(struct ml_tls_want){.sni = "relay.example", .verify_name = "relay.example"});
    static const char get[] = "GET / HTTP/1.0\r\n\r\n";
    size_t n = 0;
    assert_int_equal(handshake(c, fd), ML_TLS_OK);
    assert_int_equal(ml_tls_write(c, (const uint8_t *)get, sizeof get - 1, &n), ML_TLS_OK);
    assert_int_equal(n, sizeof get - 1);
    uint8_t buf[64];
    size_t total = 0;
    enum ml_tls_result r;
    while ((r = ml_tls_read(c, buf, sizeof buf, &n)) != ML_TLS_EOF) {
        if (r == ML_TLS_WANT_READ) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            assert_true(poll(&p, 1, 10000) > 0);
        } else {
            assert_int_equal(r, ML_TLS_OK);
            if (total == 0) {
                assert_memory_equal(buf, "HTTP/1.0 200", 12);
            }
            total += n;
        }
    }
    assert_true(total > 100);
    ml_tls_conn_free(c);
    ml_tls_free(t);
    close(fd);
    stop_server(state);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_chain_to_the_given_root_with_the_right_name_is_accepted, stop_server),
        cmocka_unit_test_teardown(an_unknown_authority_is_told_from_a_wrong_name_and_a_wrong_time, stop_server),
        cmocka_unit_test_teardown(validity_is_judged_by_the_clock_given_not_by_the_systems, stop_server),
        cmocka_unit_test_teardown(a_root_file_that_is_missing_or_empty_is_an_unknown_authority, stop_server),
        cmocka_unit_test_teardown(the_systems_roots_do_not_know_the_test_authority, stop_server),
        cmocka_unit_test_teardown(an_advisory_check_reports_and_goes_on, stop_server),
        cmocka_unit_test_teardown(an_extra_meta_certificate_does_not_break_verification, stop_server),
        cmocka_unit_test_teardown(the_key_of_a_readable_meta_certificate_is_handed_on, stop_server),
        cmocka_unit_test_teardown(D47_the_pinned_certificate_is_accepted_without_a_chain_and_no_other, stop_server),
        cmocka_unit_test_teardown(D47_a_pin_does_not_excuse_an_expired_certificate_or_a_second_one, stop_server),
        cmocka_unit_test(a_server_that_does_not_speak_tls_is_told_as_such),
        cmocka_unit_test_teardown(data_goes_both_ways_until_the_peer_closes, stop_server),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
