/*
 * The control client against a scripted server, in virtual time.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "control_world.h"

static struct world w;

#define OK_BODY  "{\"User\":{\"ID\":7},\"Login\":{\"LoginName\":\"a@b\"},\"MachineAuthorized\":true}"
#define KEY_TEXT "nodekey:0101010101010101010101010101010101010101010101010101010101010101"
#define SELF     "{\"Node\":{\"ID\":1,\"Key\":\"" KEY_TEXT "\",\"MachineAuthorized\":true}}"
#define ZERO_KEY_ANSWER                                                                                                        \
    "HTTP/1.1 200 OK\r\nContent-Length: 85\r\n\r\n"                                                                            \
    "{\"publicKey\":\"mkey:0000000000000000000000000000000000000000000000000000000000000000\"}"
#define REGISTER "/machine/register"
#define MAP      "/machine/map"

static void start(const char *url, bool has_server_key)
{
    world_init(&w, url, has_server_key);
    ml_control_start(&w.c, w.now, NULL);
    world_run(&w);
}

static struct world_request *last(const char *path)
{
    struct world_request *r = world_request(&w, path);
    assert_non_null(r);
    return r;
}

static struct world_request *poll_request(void)
{
    for (int i = w.request_count - 1; i >= 0; i--) {
        if (strstr(w.requests[i].body, "\"Stream\":true")) {
            return &w.requests[i];
        }
    }
    fail_msg("no poll");
    return NULL;
}

/* Up to the first full map, lite update answered. */
static void start_running(void)
{
    start("http://127.0.0.1:8080", true);
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    world_head(&w, poll_request()->stream, 200, NULL, false);
    world_map(&w, poll_request(), SELF);
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_RUNNING);
    world_pass(&w, ML_SEC(2));
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 1);
    world_answer(&w, last(MAP), 200, "");
    world_run(&w);
}

/* ---- Key and dialling ---- */

static void C6_key_is_fetched_over_verified_tls_and_used(void **state)
{
    (void)state;
    start("https://control.example", false);
    assert_true(w.opens[0].tls && !w.opens[0].verify_advisory && !w.opens[0].no_verify);
    assert_int_equal(w.opens[0].port, 443);
    assert_string_equal(w.opens[0].verify_name, "control.example");
    assert_int_equal(w.events[ML_CONTROL_EV_SERVER_KEY], 1);
    assert_true(w.session != 0);
    assert_int_equal(world_count(&w, REGISTER, NULL), 1);
}

static void C6_zero_key_empty_body_and_garbage_are_failures(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ZERO_KEY_ANSWER,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html></h",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        world_init(&w, "https://control.example", false);
        w.key_answer = bad[i];
        ml_control_start(&w.c, w.now, NULL);
        world_run(&w);
        assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_NOT_CONTROL);
        assert_int_equal(w.handshakes, 0);
        assert_int_equal(w.open_count, 1);
    }
}

static void C7_end_after_101_refetches_the_key_once_then_reports_and_waits_long(void **state)
{
    (void)state;
    world_init(&w, "http://127.0.0.1:8080", true);
    w.close_after_101 = true;
    ml_control_start(&w.c, w.now, NULL);
    world_run(&w);
    assert_int_equal(w.handshakes, 2);
    assert_int_equal(w.open_count, 3); /* dial, key, dial */
    assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_SERVER_KEY);
    world_pass(&w, ML_SEC(29));
    assert_int_equal(w.open_count, 3);
    w.close_after_101 = false;
    world_pass(&w, ML_SEC(65));
    assert_int_equal(world_count(&w, REGISTER, NULL), 1);
}

static void C7_a_wrong_cached_key_is_replaced_and_a_pinned_one_is_not(void **state)
{
    (void)state;
    world_init(&w, "http://127.0.0.1:8080", false);
    ml_x25519_base(w.c.server_key.b, &(ml_private_key){.b = {8, [31] = 64}});
    ml_control_start(&w.c, w.now, NULL);
    world_run(&w);
    assert_true(w.session != 0);
    assert_int_equal(w.events[ML_CONTROL_EV_SERVER_KEY], 1);

    world_init(&w, "http://127.0.0.1:8080", false);
    ml_x25519_base(w.c.server_key.b, &(ml_private_key){.b = {8, [31] = 64}});
    w.c.is_key_pinned = true;
    ml_control_start(&w.c, w.now, NULL);
    world_run(&w);
    assert_int_equal(w.open_count, 1);
    assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_SERVER_KEY);
}

static void C8_ports_of_every_kind_of_url(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        uint16_t plain, tls;
    } cases[] = {
        {"https://c.example", 80, 443},       {"http://c.example", 80, 443},        {"https://c.example:8443", 80, 8443},
        {"http://c.example:8080", 8080, 443}, {"http://192.168.1.2:8080", 8080, 0}, {"http://localhost", 80, 0},
        {"http://127.0.0.1", 80, 0},          {"http://[::1]:81", 81, 0},           {"http://8.8.8.8:81", 81, 443},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world_init(&w, cases[i].url, true);
        w.is_mute = true;
        ml_control_start(&w.c, w.now, NULL);
        world_pass(&w, ML_SEC(1));
        assert_int_equal(w.open_count, cases[i].tls ? 2 : 1);
        assert_int_equal(w.opens[0].port, cases[i].plain);
        assert_false(w.opens[0].tls);
        if (cases[i].tls) {
            assert_int_equal(w.opens[1].port, cases[i].tls);
            assert_true(w.opens[1].tls && w.opens[1].verify_advisory);
            assert_int_equal(w.open_at[1] - w.open_at[0], ML_MSEC(500));
        }
    }
    static const char *const bad[] = {"ftp://x",    "https://", "https://h/path", "http://h:0", "http://h:70000",
                                      "http://u@h", "h",        "http://[::1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ml_control_url url;
        assert_false(ml_control_parse_url(bad[i], &url));
    }
}

static void C8_tls_starts_at_once_when_plain_fails_and_each_attempt_has_its_own_ephemeral_key(void **state)
{
    (void)state;
    world_init(&w, "https://c.example", true);
    w.refuse_plain = true;
    w.close_after_101 = true;
    ml_control_start(&w.c, w.now, NULL);
    world_run(&w);
    assert_int_equal(w.opens[1].port, 443);
    assert_int_equal(w.open_at[1], w.open_at[0]);
    assert_true(w.handshakes >= 2);
    assert_string_not_equal(w.handshake[0], w.handshake[1]);
}

static void C8_a_dial_within_two_minutes_skips_the_plain_port(void **state)
{
    (void)state;
    start("https://c.example", true);
    assert_true(w.session != 0);
    assert_false(w.opens[0].tls);
    int before = w.open_count;
    world_closed(&w, w.session, ML_CLOSE_RESET);
    world_pass(&w, ML_SEC(5));
    assert_true(w.open_count > before);
    assert_true(w.opens[before].tls);
}

static void a_silent_server_is_given_up_after_ten_seconds(void **state)
{
    (void)state;
    world_init(&w, "http://127.0.0.1:8080", true);
    w.is_mute = true;
    ml_control_start(&w.c, w.now, NULL);
    world_pass(&w, ML_MSEC(9990));
    assert_int_equal(w.close_count, 0);
    world_pass(&w, ML_MSEC(20));
    assert_int_equal(w.close_count, 1);
    assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_TIMEOUT);
}

static void every_way_to_fail_has_a_sentence(void **state)
{
    (void)state;
    for (int i = 1; i < ML_CONTROL_PROBLEM_COUNT; i++) {
        char text[ML_TEXT_CAP];
        struct ml_writer t = ml_writer_of((uint8_t *)text, sizeof text);
        ml_control_problem_write(&t, (enum ml_control_problem)i, "c.example", 443, "its\x01words\n", 10);
        ml_write_end_str(&t);
        assert_false(t.bad);
        assert_true(strlen(text) > 20);
        assert_null(strchr(text, '%'));
        assert_null(strchr(text, '\x01'));
    }
    static const struct {
        enum ml_close_reason why;
        enum ml_control_problem what;
    } cases[] = {{ML_CLOSE_DNS, ML_CONTROL_PROBLEM_DNS},
                 {ML_CLOSE_TLS_UNTRUSTED, ML_CONTROL_PROBLEM_TLS_UNTRUSTED},
                 {ML_CLOSE_TLS_NAME, ML_CONTROL_PROBLEM_TLS_NAME},
                 {ML_CLOSE_TLS_TIME, ML_CONTROL_PROBLEM_TLS_TIME}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world_init(&w, "https://c.example", false);
        w.is_mute = true;
        ml_control_start(&w.c, w.now, NULL);
        world_run(&w);
        world_closed(&w, w.opens[0].id, cases[i].why);
        world_run(&w);
        assert_int_equal(w.problem_code, cases[i].what);
    }
}

/* ---- Registration ---- */

static void C22_minimal_body_with_auth_key(void **state)
{
    (void)state;
    world_init(&w, "http://127.0.0.1:8080", true);
    assert_true(ml_control_set_auth_key(&w.c, w.now, "tskey-x--TLabc"));
    ml_control_start(&w.c, w.now, NULL);
    world_run(&w);
    const char *body = last(REGISTER)->body;
    assert_non_null(strstr(body, "{\"Version\":130,\"NodeKey\":\"nodekey:"));
    assert_non_null(strstr(body, "\"Auth\":{\"AuthKey\":\"tskey-x\"}"));
    assert_non_null(strstr(body, "\"Hostname\":\"mcu\""));
    assert_non_null(strstr(body, "\"OS\":\"freertos\""));
    assert_null(strstr(body, "OldNodeKey"));
    assert_null(strstr(body, "\"\""));
}

static void C22_a_key_of_headscale_is_sent_whole(void **state)
{
    (void)state;
    world_init(&w, "http://127.0.0.1:8080", true);
    assert_true(ml_control_set_auth_key(&w.c, w.now, "hskey-auth-a--TLb-c"));
    ml_control_start(&w.c, w.now, NULL);
    world_run(&w);
    assert_non_null(strstr(last(REGISTER)->body, "\"Auth\":{\"AuthKey\":\"hskey-auth-a--TLb-c\"}"));
}

static void C23_429_waits_what_retry_after_says_and_5_to_10_s_otherwise(void **state)
{
    (void)state;
    static const struct {
        const char *retry_after;
        ml_time from, to;
    } cases[] = {
        {"30", ML_SEC(30), ML_SEC(30)},
        {"3600", ML_SEC(3600), ML_SEC(3600)},
        {"0", ML_SEC(5), ML_SEC(10)},
        {"3601", ML_SEC(5), ML_SEC(10)},
        {"soon", ML_SEC(5), ML_SEC(10)},
        {NULL, ML_SEC(5), ML_SEC(10)},
        {"-1", ML_SEC(5), ML_SEC(10)},
        {"Sun, 06 Nov 1994 08:50:37 GMT", ML_SEC(60), ML_SEC(60)},
        {"Sun, 06 Nov 1994 08:49:37 GMT", ML_SEC(5), ML_SEC(10)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start("http://127.0.0.1:8080", true);
        ml_control_set_wall_clock(&w.c, w.now, UINT64_C(784111777000)); /* Sun, 06 Nov 1994 08:49:37 GMT */
        world_head(&w, last(REGISTER)->stream, 429, cases[i].retry_after, true);
        world_run(&w);
        assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_RATE_LIMITED);
        world_pass(&w, cases[i].from - ML_MSEC(1));
        assert_int_equal(world_count(&w, REGISTER, NULL), 1);
        world_pass(&w, cases[i].to - cases[i].from + ML_MSEC(2));
        assert_int_equal(world_count(&w, REGISTER, NULL), 2);
    }
}

static void C23_other_failures_are_quoted_and_retried_with_back_off(void **state)
{
    (void)state;
    start("http://127.0.0.1:8080", true);
    world_answer(&w, last(REGISTER), 500, "it burns\n");
    world_run(&w);
    assert_non_null(strstr(w.problem, "Server says: 'it burns'"));
    world_pass(&w, ML_SEC(1));
    assert_int_equal(world_count(&w, REGISTER, NULL), 2);
    world_answer(&w, last(REGISTER), 200, "<html>");
    world_pass(&w, ML_SEC(2));
    assert_int_equal(world_count(&w, REGISTER, NULL), 3);
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_NONE);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 1);
}

static void C24_a_refused_auth_key_is_tried_once_a_minute_for_ever(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ml_control_problem what;
    } cases[] = {{"invalid pre auth key", ML_CONTROL_PROBLEM_KEY_INVALID},
                 {"authkey expired", ML_CONTROL_PROBLEM_KEY_EXPIRED},
                 {"authkey already used", ML_CONTROL_PROBLEM_KEY_USED},
                 {"authkey revoked", ML_CONTROL_PROBLEM_KEY_REVOKED}};
    for (size_t i = 0; i < 4; i++) {
        world_init(&w, "http://127.0.0.1:8080", true);
        ml_control_set_auth_key(&w.c, w.now, "k");
        ml_control_start(&w.c, w.now, NULL);
        world_run(&w);
        for (int n = 1; n < 8; n++) {
            char body[128];
            snprintf(body, sizeof body, "{\"Error\":\"%s\"}", cases[i].text);
            world_answer(&w, last(REGISTER), 200, body);
            world_run(&w);
            assert_int_equal(w.problem_code, cases[i].what);
            assert_non_null(strstr(w.problem, cases[i].text));
            world_pass(&w, ML_SEC(59));
            assert_int_equal(world_count(&w, REGISTER, NULL), n);
            world_pass(&w, ML_SEC(17));
            assert_int_equal(world_count(&w, REGISTER, NULL), n + 1);
        }
    }
}

static void C25_unauthorized_machine_polls_and_runs_when_the_self_node_says_so(void **state)
{
    (void)state;
    start("http://127.0.0.1:8080", true);
    world_answer(&w, last(REGISTER), 200, "{\"MachineAuthorized\":false,\"AuthURL\":\"\"}");
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_NEEDS_APPROVAL);
    world_head(&w, poll_request()->stream, 200, NULL, false);
    world_map(&w, poll_request(), "{\"Node\":{\"ID\":1,\"Key\":\"" KEY_TEXT "\"}}");
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_NEEDS_APPROVAL);
    world_map(&w, poll_request(), SELF);
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_RUNNING);
}

static void C26_C27_interactive_login_follows_the_url_and_commits_last(void **state)
{
    (void)state;
    start("http://127.0.0.1:8080", true);
    world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/1\"}");
    world_run(&w);
    assert_string_equal(w.login, "https://a/1");
    assert_int_equal(ml_control_state(&w.c), ML_STATE_NEEDS_LOGIN);
    assert_non_null(strstr(last(REGISTER)->body, "\"Followup\":\"https://a/1\""));
    world_pass(&w, ML_SEC(3000)); /* the server may hold it as long as it likes */
    assert_int_equal(world_count(&w, REGISTER, NULL), 2);
    /* Another URL: shown and followed at once. */
    world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/2\"}");
    world_run(&w);
    assert_string_equal(w.login, "https://a/2");
    assert_int_equal(world_count(&w, REGISTER, "https://a/2"), 1);
    /* The same again: followed after a back-off, not shown again. */
    unsigned shown = w.events[ML_CONTROL_EV_LOGIN_URL];
    for (int i = 0; i < 5; i++) {
        world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/2\"}");
        world_run(&w);
        int n = world_count(&w, REGISTER, NULL);
        world_pass(&w, ML_SEC(3));
        assert_int_equal(world_count(&w, REGISTER, NULL), n + 1);
    }
    assert_int_equal(w.events[ML_CONTROL_EV_LOGIN_URL], shown);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 0);
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 1);
    assert_string_equal(w.login, "");
    assert_int_equal(world_count(&w, MAP, "\"Stream\":true"), 1);
}

/* The text of the public half, as in a request. */
static const char *key_text(const ml_private_key *key)
{
    static char text[80];
    ml_node_key pub;
    ml_x25519_base(pub.b, key);
    struct ml_writer tw = ml_writer_of((uint8_t *)text, sizeof text);
    ml_write_key(&tw, "nodekey:", pub.b);
    ml_write_end_str(&tw);
    return text;
}

static void a_login_that_waits_for_a_person_survives_a_restart(void **state)
{
    (void)state;
    start("http://127.0.0.1:8080", true);
    assert_int_equal(w.events[ML_CONTROL_EV_CANDIDATE], 0);
    world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/1\"}");
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_CANDIDATE], 1);
    assert_non_null(strstr(last(REGISTER)->body, key_text(&w.candidate)));
    /* Stopping does not give it up. */
    struct ml_control_identity id = {.candidate = w.candidate};
    ml_control_stop(&w.c, w.now);
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_CANDIDATE], 1);

    /* The person came while nobody was there. */
    world_init(&w, "http://127.0.0.1:8080", true);
    ml_control_start(&w.c, w.now, &id);
    world_run(&w);
    assert_non_null(strstr(last(REGISTER)->body, key_text(&id.candidate)));
    assert_null(strstr(last(REGISTER)->body, "Followup"));
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 1);
    assert_memory_equal(&w.node_key, &id.candidate, sizeof w.node_key);

    /* The server does not want it any more: another one. */
    world_init(&w, "http://127.0.0.1:8080", true);
    w.seed++;
    ml_control_start(&w.c, w.now, &id);
    world_run(&w);
    world_answer(&w, last(REGISTER), 200, "{\"NodeKeyExpired\":true}");
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_CANDIDATE], 1);
    assert_null(strstr(last(REGISTER)->body, key_text(&id.candidate)));
    world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/2\"}");
    world_run(&w);
    assert_true(memcmp(&w.candidate, &id.candidate, sizeof id.candidate) != 0);
    assert_non_null(strstr(last(REGISTER)->body, key_text(&w.candidate)));
    ml_control_logout(&w.c, w.now);
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 1);
    assert_false(w.has_key);
}

/* A start after the run in which the key expired and a URL was shown; the server answers for the old key. */
static void start_anew(const struct ml_control_identity *id, const char *answer)
{
    world_init(&w, "http://127.0.0.1:8080", true);
    w.seed++; /* keys made from now on are others */
    ml_control_start(&w.c, w.now, id);
    world_run(&w);
    assert_non_null(strstr(last(REGISTER)->body, key_text(&id->node_key)));
    assert_null(strstr(last(REGISTER)->body, "OldNodeKey"));
    world_answer(&w, last(REGISTER), 200, answer);
    world_run(&w);
    assert_string_equal(w.login, "");
}

static void C26_a_renewal_that_waits_for_a_person_survives_a_restart(void **state)
{
    (void)state;
    start_running();
    world_map(&w, poll_request(), "{\"Node\":{\"ID\":1,\"Key\":\"" KEY_TEXT "\",\"Expired\":true}}");
    world_run(&w);
    world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/1\"}");
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_CANDIDATE], 1);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 1);
    assert_non_null(strstr(last(REGISTER)->body, key_text(&w.candidate)));
    struct ml_control_identity id = {.node_key = w.node_key, .candidate = w.candidate};

    /* The old key is expired, or not known any more because the person came: with the new one nobody is asked again. */
    static const char *const refusals[] = {"{\"NodeKeyExpired\":true}", "{\"AuthURL\":\"https://a/2\"}"};
    for (size_t i = 0; i < 2; i++) {
        start_anew(&id, refusals[i]);
        assert_non_null(strstr(last(REGISTER)->body, key_text(&id.candidate)));
        assert_non_null(strstr(last(REGISTER)->body, "OldNodeKey"));
        world_answer(&w, last(REGISTER), 200, OK_BODY);
        world_run(&w);
        assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 1);
        assert_memory_equal(&w.node_key, &id.candidate, sizeof w.node_key);

        /* The person has not come: they are asked for the same key, so that either URL is good for it. */
        start_anew(&id, refusals[i]);
        world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/3\"}");
        world_run(&w);
        assert_string_equal(w.login, "https://a/3");
        assert_memory_equal(&w.candidate, &id.candidate, sizeof w.candidate);
        assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 0);

        /* The server does not want that one either: another one. */
        start_anew(&id, refusals[i]);
        world_answer(&w, last(REGISTER), 200, "{\"NodeKeyExpired\":true}");
        world_pass(&w, ML_SEC(2));
        assert_non_null(strstr(last(REGISTER)->body, "OldNodeKey"));
        assert_null(strstr(last(REGISTER)->body, key_text(&id.candidate)));
    }

    /* The expiry was extended meanwhile: nothing is renewed. */
    start_anew(&id, OK_BODY);
    assert_int_equal(world_count(&w, REGISTER, NULL), 1);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 0);
    assert_non_null(strstr(last(MAP)->body, key_text(&id.node_key)));
}

static void C28_expired_key_is_rotated_with_old_node_key_once_per_attempt(void **state)
{
    (void)state;
    world_init(&w, "http://127.0.0.1:8080", true);
    struct ml_control_identity id = {0};
    ml_x25519_keygen(&id.node_key, &w.random);
    ml_control_set_auth_key(&w.c, w.now, "k");
    ml_control_start(&w.c, w.now, &id);
    world_run(&w);
    assert_null(strstr(last(REGISTER)->body, "AuthKey")); /* C29 */
    world_answer(&w, last(REGISTER), 200, "{\"NodeKeyExpired\":true}");
    world_run(&w);
    assert_int_equal(world_count(&w, REGISTER, NULL), 2);
    assert_non_null(strstr(last(REGISTER)->body, "OldNodeKey"));
    assert_non_null(strstr(last(REGISTER)->body, "AuthKey"));
    world_answer(&w, last(REGISTER), 200, "{\"NodeKeyExpired\":true}");
    world_run(&w);
    assert_int_equal(world_count(&w, REGISTER, NULL), 2);
    assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_NODE_EXPIRED);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 0);
    world_pass(&w, ML_SEC(2));
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 1);
    assert_memory_not_equal(w.node_key.b, id.node_key.b, 32);
}

static void C28_logout_sends_a_past_expiry_and_erases_the_key_even_without_an_answer(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        start_running();
        ml_control_logout(&w.c, w.now);
        world_run(&w);
        assert_non_null(strstr(last(REGISTER)->body, "\"Expiry\":\"1970-01-01T00:02:03Z\""));
        assert_true(w.has_key);
        if (i == 0) {
            world_answer(&w, last(REGISTER), 200, "{\"NodeKeyExpired\":true}");
        }
        world_pass(&w, ML_SEC(11));
        assert_false(w.has_key);
        assert_int_equal(ml_control_state(&w.c), ML_STATE_STOPPED);
        assert_false(ml_key_bytes_set(w.c.node_key.b));
    }
}

/* ---- Map ---- */

static void C30_C33_C35_map_requests_carry_everything(void **state)
{
    (void)state;
    start_running();
    int polls = world_count(&w, MAP, "\"Stream\":true");
    int lites = world_count(&w, MAP, "\"OmitPeers\":true");
    assert_int_equal(polls + lites, world_count(&w, MAP, NULL));
    static const char *const words[] = {
        "\"Version\":130",      "\"NodeKey\":\"nodekey:", "\"DiscoKey\":\"discokey:d1d1", "\"KeepAlive\":true",
        "\"Hostinfo\":{",       "\"NetInfo\":{",          "\"PreferredDERP\":3",          "\"Endpoints\":[\"192.0.2.1:41641\"]",
        "\"EndpointTypes\":[2]"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        assert_int_equal(world_count(&w, MAP, words[i]), polls + lites);
    }
    assert_int_equal(world_count(&w, MAP, "Compress"), 0);
}

static void C31_changes_are_coalesced_and_latency_alone_publishes_nothing(void **state)
{
    (void)state;
    start_running();
    struct ml_control_published p = w.c.pub;
    p.latency_count = 1;
    p.latency[0] = (struct ml_control_latency){.region = 3, .usec = 12345};
    ml_control_set_published(&w.c, w.now, &p);
    world_pass(&w, ML_SEC(5));
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 1);
    for (uint16_t i = 0; i < 10;
         i++) { /* ten changes, the first goes out at once, the others wait for its answer and a second */
        p.home_region = (uint16_t)(10 + i);
        ml_control_set_published(&w.c, w.now, &p);
    }
    world_run(&w);
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 2);
    world_answer(&w, last(MAP), 200, "");
    world_pass(&w, ML_MSEC(990));
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 2);
    world_pass(&w, ML_MSEC(20));
    assert_int_equal(world_count(&w, MAP, "\"PreferredDERP\":19"), 1);
    assert_non_null(strstr(last(MAP)->body, "\"DERPLatency\":{\"3-v4\":0.012345}"));
    world_answer(&w, last(MAP), 200, "");
    world_pass(&w, ML_SEC(5));
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 3);
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 0);
}

static void C31_C32_after_login_all_is_said_at_once_and_the_first_home_when_it_is_known(void **state)
{
    (void)state;
    start("http://127.0.0.1:8080", true);
    struct ml_control_published p = w.c.pub;
    p.home_region = 0;
    ml_control_set_published(&w.c, w.now, &p);
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    /* Beside the poll, which nobody has answered yet. */
    assert_int_equal(world_count(&w, MAP, "\"Stream\":true"), 1);
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 1);
    assert_int_equal(world_count(&w, MAP, "PreferredDERP"), 0);
    world_answer(&w, last(MAP), 200, "");
    p.home_region = 3;
    ml_control_set_published(&w.c, w.now, &p);
    world_run(&w);
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 2);
    assert_non_null(strstr(last(MAP)->body, "\"PreferredDERP\":3"));
    world_answer(&w, last(MAP), 200, "");
    p.home_region = 4; /* Another one waits for the second that all others wait for. */
    ml_control_set_published(&w.c, w.now, &p);
    world_pass(&w, ML_MSEC(990));
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 2);
    world_pass(&w, ML_MSEC(20));
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 3);
}

static void a_peerapi_is_published_in_services_by_a_lite_update(void **state)
{
    (void)state;
    start_running();
    assert_int_equal(world_count(&w, MAP, "Services"), 0);
    struct ml_control_published p = w.c.pub;
    p.peerapi4 = 40001;
    ml_control_set_published(&w.c, w.now, &p);
    world_pass(&w, ML_SEC(2));
    assert_non_null(strstr(last(MAP)->body, "\"OmitPeers\":true"));
    assert_non_null(strstr(last(MAP)->body, "\"Services\":[{\"Proto\":\"peerapi4\",\"Port\":40001}]"));
    world_answer(&w, last(MAP), 200, "");
    p.peerapi6 = 40002;
    ml_control_set_published(&w.c, w.now, &p);
    world_pass(&w, ML_SEC(2));
    assert_non_null(
        strstr(last(MAP)->body, "{\"Proto\":\"peerapi4\",\"Port\":40001},{\"Proto\":\"peerapi6\",\"Port\":40002}]"));
    world_answer(&w, last(MAP), 200, "");
    p.peerapi4 = p.peerapi6 = 0;
    ml_control_set_published(&w.c, w.now, &p);
    world_pass(&w, ML_SEC(2));
    assert_null(strstr(last(MAP)->body, "Services"));
    assert_int_equal(world_count(&w, MAP, "\"OmitPeers\":true"), 4);
}

static void C36_oversized_and_empty_messages_end_the_poll(void **state)
{
    (void)state;
    static const uint8_t lengths[][4] = {{0, 0, 0, 0}, {1, 0, 0, 4}};
    for (int i = 0; i < 2; i++) {
        start_running();
        world_frame(&w, 0, 0, poll_request()->stream, lengths[i], 4);
        world_run(&w);
        assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 1);
        assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_MAP);
        world_pass(&w, ML_SEC(2));
        assert_int_equal(world_count(&w, MAP, "\"Stream\":true"), 2);
    }
}

static void C44_sleep_is_capped_and_exit_stops_for_good(void **state)
{
    (void)state;
    start_running();
    world_map(&w, poll_request(), "{\"Debug\":{\"SleepSeconds\":100000}}");
    world_run(&w);
    world_map(&w, poll_request(), "{\"ControlTime\":\"1970-01-01T00:00:09Z\"}");
    world_pass(&w, ML_SEC(299));
    assert_int_equal(w.last_time_ms, 0);
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 0);
    world_pass(&w, ML_SEC(2));
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 0);

    start_running();
    world_map(&w, poll_request(), "{\"Debug\":{\"Exit\":1}}");
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_STOPPED);
    assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_STOPPED);
    assert_true(ml_control_deadline(&w.c) == ML_NEVER);
}

static void a_small_window_is_announced_and_a_message_begun_is_seen(void **state)
{
    (void)state;
    static const uint8_t begin[] = {50, 0, 0, 0, '{'};
    start_running();
    assert_int_equal(w.window, 16384);
    assert_true(ml_control_reading_since(&w.c) == ML_NEVER);
    world_frame(&w, 0, 0, poll_request()->stream, begin, sizeof begin);
    world_pass(&w, ML_SEC(1));
    assert_true(ml_control_reading_since(&w.c) == w.now - ML_SEC(1));
    world_closed(&w, w.session, ML_CLOSE_EOF);
    assert_true(ml_control_reading_since(&w.c) == ML_NEVER);
    w.c.window = 2048;
    world_pass(&w, ML_SEC(70));
    assert_true(w.session != 0);
    assert_int_equal(w.window, 2048);
}

static void C46_C48_poll_survives_119_s_of_silence_and_not_120(void **state)
{
    (void)state;
    start_running();
    for (int i = 0; i < 20; i++) {
        world_pass(&w, ML_SEC(60));
        world_map(&w, poll_request(), "{\"KeepAlive\":true}");
    }
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 0);
    world_pass(&w, ML_SEC(119));
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 0);
    /* A part of a message is not a message. */
    world_frame(&w, 0, 0, poll_request()->stream, "\x12\0\0\0{\"Keep", 10);
    world_pass(&w, ML_SEC(2));
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 1);
    assert_int_equal(w.problem_code, ML_CONTROL_PROBLEM_SILENT);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_RUNNING);
    assert_int_equal(w.deltas[ML_DELTA_PEER_REMOVED] + w.deltas[ML_DELTA_ABORT], 0);
    world_pass(&w, ML_SEC(2));
    assert_int_equal(world_count(&w, MAP, "\"Stream\":true"), 2);
}

static void C47_a_server_that_ends_every_poll_is_asked_ever_more_rarely(void **state)
{
    (void)state;
    start("http://127.0.0.1:8080", true);
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    ml_time last_at = w.now;
    ml_time gap = 0;
    for (int i = 1; i < 12; i++) {
        world_answer(&w, poll_request(), 500, "no");
        world_run(&w);
        while (world_count(&w, MAP, "\"Stream\":true") == i) {
            world_pass(&w, ML_MSEC(10));
        }
        gap = w.now - last_at;
        last_at = w.now;
    }
    assert_true(gap >= ML_MSEC(500));
    /* Registration and publishing have counters of their own. */
    assert_int_equal(w.c.reg.failures, 0);
    assert_int_equal(w.c.lite.failures, 0);
    world_head(&w, poll_request()->stream, 200, NULL, false);
    world_map(&w, poll_request(), "{\"KeepAlive\":true}");
    world_run(&w);
    assert_true(w.c.poll.failures > 0);
    world_map(&w, poll_request(), SELF);
    world_run(&w);
    assert_int_equal(w.c.poll.failures, 0);
}

static void a_network_change_costs_no_connection_that_still_works(void **state)
{
    (void)state;
    start("http://127.0.0.1:8080", true);
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    world_head(&w, poll_request()->stream, 200, NULL, false);
    world_map(&w, poll_request(), SELF);
    world_run(&w);
    uint32_t dials = w.c.stats.dials, polls = w.c.stats.polls;
    ml_control_check(&w.c, w.now);
    world_run(&w);
    world_pass(&w, ML_SEC(10));
    assert_int_equal(w.c.stats.dials, dials);
    assert_int_equal(w.c.stats.polls, polls);
    assert_int_equal(w.c.check_until, ML_NEVER);
    /* One that does not is given up after 3 s, long before the watchdog. */
    w.is_deaf = true;
    ml_control_check(&w.c, w.now);
    world_run(&w);
    world_pass(&w, ML_MSEC(2900));
    assert_int_equal(w.c.stats.dials, dials);
    world_pass(&w, ML_MSEC(200));
    assert_int_equal(w.c.stats.dials, dials + 1);
    assert_int_equal(w.c.stats.polls, polls + 1);
}

static void C49_node_not_found_registers_again_once_per_step(void **state)
{
    (void)state;
    static const int status[] = {404, 400};
    for (int i = 0; i < 2; i++) {
        start("http://127.0.0.1:8080", true);
        ml_control_set_auth_key(&w.c, w.now, "k");
        world_answer(&w, last(REGISTER), 200, OK_BODY);
        world_run(&w);
        for (int n = 1; n < 5; n++) {
            world_answer(&w, poll_request(), status[i], "node not found\n");
            world_run(&w);
            assert_int_equal(w.events[ML_CONTROL_EV_REREGISTER], n);
            world_pass(&w, ML_SEC(3));
            assert_int_equal(world_count(&w, REGISTER, NULL), n + 1);
            assert_non_null(strstr(last(REGISTER)->body, "AuthKey"));
            world_answer(&w, last(REGISTER), 200, OK_BODY);
            world_pass(&w, ML_SEC(3));
        }
    }
}

static void C20_goaway_and_reset_lead_to_a_new_connection(void **state)
{
    (void)state;
    start_running();
    int before = w.open_count;
    world_frame(&w, 7, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    world_pass(&w, ML_SEC(3));
    assert_int_equal(w.open_count, before + 1);
    assert_int_equal(world_count(&w, MAP, "\"Stream\":true"), 2);
    world_frame(&w, 3, 0, poll_request()->stream, "\0\0\0\2", 4);
    world_pass(&w, ML_SEC(3));
    assert_int_equal(world_count(&w, MAP, "\"Stream\":true"), 3);
}

static void an_expired_self_node_is_renewed_while_the_poll_goes_on(void **state)
{
    (void)state;
    start_running();
    world_map(&w, poll_request(), "{\"Node\":{\"ID\":1,\"Key\":\"" KEY_TEXT "\",\"Expired\":true}}");
    world_run(&w);
    assert_non_null(strstr(last(REGISTER)->body, "OldNodeKey"));
    world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/1\"}");
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_NEEDS_LOGIN);
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 0);
    /* The server extends the expiry: no login needed any more. */
    world_map(&w, poll_request(), SELF);
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_RUNNING);
    assert_string_equal(w.login, "");
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 1);
}

static void an_expired_node_that_registers_anew_does_not_wait_for_approval(void **state)
{
    (void)state;
    start_running();
    ml_control_set_auth_key(&w.c, w.now, "k");
    /* Headscale says both at once. */
    world_map(&w, poll_request(),
              "{\"Node\":{\"ID\":1,\"Key\":\"" KEY_TEXT "\",\"Expired\":true,\"MachineAuthorized\":false}}");
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_CONNECTING);
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    world_map(&w, poll_request(), SELF);
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_RUNNING);
}

static void a_key_expired_by_the_clock_is_renewed_although_self_updates_do_not_say_expired(void **state)
{
    (void)state;
    const char self[] =
        "{\"Node\":{\"ID\":1,\"Key\":\"" KEY_TEXT "\",\"MachineAuthorized\":true,\"KeyExpiry\":\"2026-01-01T00:00:00Z\"}}";
    start_running();
    world_map(&w, poll_request(), self);
    world_run(&w);
    ml_control_set_expired(&w.c, w.now);
    world_run(&w);
    world_answer(&w, last(REGISTER), 200, "{\"AuthURL\":\"https://a/1\"}");
    world_map(&w, poll_request(), self);
    world_run(&w);
    assert_int_equal(ml_control_state(&w.c), ML_STATE_NEEDS_LOGIN);
    world_answer(&w, last(REGISTER), 200, OK_BODY);
    world_run(&w);
    assert_int_equal(w.events[ML_CONTROL_EV_IDENTITY], 2);
    assert_int_equal(world_count(&w, MAP, "\"Stream\":true"), 2);
}

/* ---- Requests of the server ---- */

static void C57_echo_and_unknown_paths(void **state)
{
    (void)state;
    start_running();
    /* POST /echo HTTP/1.1, Content-Length: 2, body "hi" */
    world_map(&w, poll_request(),
              "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":\"https://unused/machine/c2n/1\",\"Types\":\"c2n\",\"Payload\":"
              "\"UE9TVCAvZWNobyBIVFRQLzEuMQ0KSG9zdDogeA0KQ29udGVudC1MZW5ndGg6IDINCg0KaGk=\"}}");
    world_run(&w);
    assert_string_equal(last("/machine/c2n/1")->body, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    world_answer(&w, last("/machine/c2n/1"), 204, "");
    world_run(&w);
    /* GET /x HTTP/1.1 */
    world_map(&w, poll_request(),
              "{\"PingRequest\":{\"URL\":\"https://unused/machine/c2n/"
              "2\",\"Types\":\"c2n\",\"Payload\":\"R0VUIC94IEhUVFAvMS4xDQoNCg==\"}}");
    world_run(&w);
    assert_string_equal(last("/machine/c2n/2")->body, "HTTP/1.1 400 Bad Request\r\nContent-Length: 16\r\n\r\nunknown c2n path");
    world_map(&w, poll_request(), "{\"ControlTime\":\"1970-01-01T00:00:09Z\"}");
    assert_int_equal(w.last_time_ms, 9000);
}

static void C57_a_question_that_overtakes_the_acknowledgement_of_an_answer_is_answered(void **state)
{
    (void)state;
    start_running();
    static const char *const question[] = {
        "{\"PingRequest\":{\"URL\":\"https://unused/c2n/1\",\"Types\":\"c2n\",\"Payload\":\"R0VUIC94IEhUVFAvMS4xDQoNCg==\"}}",
        "{\"PingRequest\":{\"URL\":\"https://unused/c2n/2\",\"Types\":\"c2n\",\"Payload\":\"R0VUIC94IEhUVFAvMS4xDQoNCg==\"}}",
        "{\"PingRequest\":{\"URL\":\"https://unused/c2n/3\",\"Types\":\"c2n\",\"Payload\":\"R0VUIC94IEhUVFAvMS4xDQoNCg==\"}}"};
    world_map(&w, poll_request(), question[0]);
    world_run(&w);
    world_map(&w, poll_request(), question[1]);
    world_run(&w);
    assert_int_equal(world_count(&w, "/c2n/2", NULL), 0);
    world_answer(&w, last("/c2n/1"), 204, "");
    world_run(&w);
    assert_int_equal(world_count(&w, "/c2n/2", NULL), 1);
    /* An acknowledgement that never comes is not waited for longer than two seconds. */
    world_map(&w, poll_request(), question[2]);
    world_pass(&w, ML_SEC(3));
    assert_int_equal(world_count(&w, "/c2n/3", NULL), 1);
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 0);
    assert_int_equal(w.c.stats.pings_dropped, 0);
}

static void C58_head_pings_go_where_they_should_and_only_once(void **state)
{
    (void)state;
    start_running();
    const char noise[] = "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":\"https://x/over-noise?id=1\",\"URLIsNoise\":true}}";
    world_map(&w, poll_request(), noise);
    world_map(&w, poll_request(), noise);
    world_run(&w);
    assert_int_equal(world_count(&w, "/over-noise?id=1", NULL), 1);
    int before = w.open_count;
    world_map(&w, poll_request(),
              "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":\"https://hs.example:8443/machine/ping-response?id=2\"}}");
    world_run(&w);
    assert_int_equal(w.open_count, before + 1);
    assert_true(w.opens[before].tls && !w.opens[before].verify_advisory);
    assert_int_equal(w.opens[before].port, 8443);
    assert_string_equal(w.opens[before].host, "hs.example");
    assert_memory_equal(w.outer, "HEAD /machine/ping-response?id=2 HTTP/1.1\r\nHost: hs.example:8443\r\n", 66);
    int closed = w.close_count;
    world_pass(&w, ML_SEC(16));
    assert_int_equal(w.close_count, closed + 1);
    assert_int_equal(w.events[ML_CONTROL_EV_STREAM_ENDED], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(C6_key_is_fetched_over_verified_tls_and_used),
        cmocka_unit_test(C6_zero_key_empty_body_and_garbage_are_failures),
        cmocka_unit_test(C7_end_after_101_refetches_the_key_once_then_reports_and_waits_long),
        cmocka_unit_test(C7_a_wrong_cached_key_is_replaced_and_a_pinned_one_is_not),
        cmocka_unit_test(C8_ports_of_every_kind_of_url),
        cmocka_unit_test(C8_tls_starts_at_once_when_plain_fails_and_each_attempt_has_its_own_ephemeral_key),
        cmocka_unit_test(C8_a_dial_within_two_minutes_skips_the_plain_port),
        cmocka_unit_test(a_silent_server_is_given_up_after_ten_seconds),
        cmocka_unit_test(every_way_to_fail_has_a_sentence),
        cmocka_unit_test(C22_minimal_body_with_auth_key),
        cmocka_unit_test(C22_a_key_of_headscale_is_sent_whole),
        cmocka_unit_test(C23_429_waits_what_retry_after_says_and_5_to_10_s_otherwise),
        cmocka_unit_test(C23_other_failures_are_quoted_and_retried_with_back_off),
        cmocka_unit_test(C24_a_refused_auth_key_is_tried_once_a_minute_for_ever),
        cmocka_unit_test(C25_unauthorized_machine_polls_and_runs_when_the_self_node_says_so),
        cmocka_unit_test(C26_C27_interactive_login_follows_the_url_and_commits_last),
        cmocka_unit_test(a_login_that_waits_for_a_person_survives_a_restart),
        cmocka_unit_test(C26_a_renewal_that_waits_for_a_person_survives_a_restart),
        cmocka_unit_test(C28_expired_key_is_rotated_with_old_node_key_once_per_attempt),
        cmocka_unit_test(C28_logout_sends_a_past_expiry_and_erases_the_key_even_without_an_answer),
        cmocka_unit_test(C30_C33_C35_map_requests_carry_everything),
        cmocka_unit_test(C31_changes_are_coalesced_and_latency_alone_publishes_nothing),
        cmocka_unit_test(C31_C32_after_login_all_is_said_at_once_and_the_first_home_when_it_is_known),
        cmocka_unit_test(a_peerapi_is_published_in_services_by_a_lite_update),
        cmocka_unit_test(C36_oversized_and_empty_messages_end_the_poll),
        cmocka_unit_test(C44_sleep_is_capped_and_exit_stops_for_good),
        cmocka_unit_test(a_small_window_is_announced_and_a_message_begun_is_seen),
        cmocka_unit_test(C46_C48_poll_survives_119_s_of_silence_and_not_120),
        cmocka_unit_test(C47_a_server_that_ends_every_poll_is_asked_ever_more_rarely),
        cmocka_unit_test(a_network_change_costs_no_connection_that_still_works),
        cmocka_unit_test(C49_node_not_found_registers_again_once_per_step),
        cmocka_unit_test(C20_goaway_and_reset_lead_to_a_new_connection),
        cmocka_unit_test(an_expired_self_node_is_renewed_while_the_poll_goes_on),
        cmocka_unit_test(an_expired_node_that_registers_anew_does_not_wait_for_approval),
        cmocka_unit_test(a_key_expired_by_the_clock_is_renewed_although_self_updates_do_not_say_expired),
        cmocka_unit_test(C57_echo_and_unknown_paths),
        cmocka_unit_test(C57_a_question_that_overtakes_the_acknowledgement_of_an_answer_is_answered),
        cmocka_unit_test(C58_head_pings_go_where_they_should_and_only_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
