/*
 * The command line: words, flags, defaults, environment, and exit status 2 for what is wrong.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ml_options o;

/** Parses a line of words separated by single spaces. */
static int parse(const char *line)
{
    static char text[512];
    static char *argv[32];
    int argc = 0;
    snprintf(text, sizeof text, "microlink %s", line);
    for (char *p = strtok(text, " "); p != NULL; p = strtok(NULL, " ")) {
        argv[argc++] = p;
    }
    argv[argc] = NULL;
    return ml_options_parse(&o, argc, argv);
}

static int no_environment(void **state)
{
    (void)state;
    unsetenv("TS_AUTHKEY");
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("XDG_STATE_HOME");
    return 0;
}

static void run_takes_every_flag_of_the_manual(void **state)
{
    (void)state;
    assert_int_equal(parse("run --login-server http://c:1 --auth-key tskey-1 --hostname h --state mem: --socket /s --tun "
                           "userspace-networking --port 41641 --ca-file /ca --max-peers 300 --no-derp --no-disco --no-stun "
                           "--ephemeral --shields-up --verbose 2"),
                     -1);
    assert_int_equal(o.word, ML_WORD_RUN);
    assert_string_equal(o.login_server, "http://c:1");
    assert_string_equal(o.auth_key, "tskey-1");
    assert_string_equal(o.hostname, "h");
    assert_string_equal(o.state, "mem:");
    assert_string_equal(o.socket, "/s");
    assert_string_equal(o.tun, ML_TUN_USERSPACE);
    assert_string_equal(o.ca_file, "/ca");
    assert_int_equal(o.port, 41641);
    assert_int_equal(o.max_peers, 300);
    assert_true(o.no_derp && o.no_disco && o.no_stun && o.ephemeral && o.shields_up);
    assert_int_equal(o.verbose, 2);
}

static void the_socket_is_taken_before_and_behind_the_word(void **state)
{
    (void)state;
    assert_int_equal(parse("--socket=/a status --json"), -1);
    assert_string_equal(o.socket, "/a");
    assert_true(o.json);
    assert_int_equal(parse("status --socket /b"), -1);
    assert_string_equal(o.socket, "/b");
}

static void ping_has_the_official_defaults_and_flags(void **state)
{
    (void)state;
    assert_int_equal(parse("ping peer"), -1);
    assert_int_equal(o.count, 10);
    assert_int_equal(o.timeout_us, 5000000);
    assert_true(o.until_direct);
    assert_string_equal(o.arg[0], "peer");
    assert_int_equal(parse("ping -c 3 --timeout 300ms --until-direct=false --tsmp 100.64.0.1"), -1);
    assert_int_equal(o.count, 3);
    assert_int_equal(o.timeout_us, 300000);
    assert_false(o.until_direct);
    assert_true(o.tsmp);
    assert_int_equal(parse("ping --c=1 --icmp x"), -1);
    assert_int_equal(o.count, 1);
}

static void the_auth_key_comes_from_flag_file_or_environment_in_this_order(void **state)
{
    (void)state;
    char path[] = "/tmp/ml-key-XXXXXX", line[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "tskey-file\n", 11) == 11);
    close(fd);
    setenv("TS_AUTHKEY", "tskey-env", 1);
    assert_int_equal(parse("run"), -1);
    assert_string_equal(o.auth_key, "tskey-env");
    snprintf(line, sizeof line, "run --auth-key file:%s", path);
    assert_int_equal(parse(line), -1);
    assert_string_equal(o.auth_key, "tskey-file");
    unlink(path);
    assert_int_equal(parse(line), 1);
}

static void what_is_wrong_with_the_command_line_is_status_2(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",          "frobnicate",      "run --nonsense",      "run extra",        "ping",
        "ping a b",  "ping -c x a",     "ping --timeout 5q a", "ip -4 -6",         "nc host",
        "nc host 0", "nc host 70000",   "nc host port",        "run --port 99999", "run --max-peers 0",
        "whois",     "status --json x", "send peer",           "run --verbose 9",  "ping --tsmp --icmp a",
        "run --port"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (parse(lines[i]) != 2) {
            fail_msg("accepted: %s", lines[i]);
        }
    }
}

static void durations_are_read_as_go_writes_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t usec;
    } good[] = {{"5s", 5000000}, {"300ms", 300000}, {"1m30s", 90000000}, {"1.5s", 1500000}, {"2h", UINT64_C(7200000000)},
                {"7", 7000000}};
    static const char *const bad[] = {"", "s", "5x", "-1s", "1s2", "99999999999999s", "."};
    uint64_t v;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(ml_duration_parse(good[i].text, &v));
        assert_int_equal(v, good[i].usec);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (ml_duration_parse(bad[i], &v)) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(run_takes_every_flag_of_the_manual, no_environment),
        cmocka_unit_test_setup(the_socket_is_taken_before_and_behind_the_word, no_environment),
        cmocka_unit_test_setup(ping_has_the_official_defaults_and_flags, no_environment),
        cmocka_unit_test_setup(the_auth_key_comes_from_flag_file_or_environment_in_this_order, no_environment),
        cmocka_unit_test_setup(what_is_wrong_with_the_command_line_is_status_2, no_environment),
        cmocka_unit_test(durations_are_read_as_go_writes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
