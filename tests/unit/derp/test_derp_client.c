/*
 * Unit tests of src/derp/derp_client.c, derp_frame.c and derp_upgrade.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "derp/derp_vectors.h"

static struct ml_derp_client c;
static uint8_t tx[ML_DERP_TX_MIN];
static struct ml_derp_event ev;
static const ml_node_key peer = {{0x77}};
static const struct ml_derp_server home = {.host = "relay.example", .is_home = true};

/* Feeds all bytes in parts of `step`; events on the way are counted by type. */
static unsigned seen[8];
static void feed(ml_time now, const uint8_t *p, size_t n, size_t step)
{
    size_t used;
    for (size_t pos = 0; pos < n; pos += used) {
        size_t part = n - pos < step ? n - pos : step;
        ml_derp_client_data(&c, now, p + pos, part, &used);
        struct ml_derp_event next;
        while (ml_derp_client_poll_event(&c, &next)) {
            ev = next;
            seen[ev.type]++;
            if (ev.type == ML_DERP_EV_FAILED) {
                return;
            }
        }
    }
}

static void feed_vector(ml_time now, const char *name)
{
    uint8_t b[2048];
    feed(now, b, derp_vector(name, b), SIZE_MAX);
}

/* Takes everything out of the ring. */
static size_t drain(uint8_t *dst)
{
    const uint8_t *p;
    size_t total = 0;
    size_t n;
    while ((n = ml_derp_client_tx_peek(&c, &p)) > 0) {
        n = n < 100 ? n : 100;
        memcpy(dst + total, p, n);
        total += n;
        ml_derp_client_tx_done(&c, n);
    }
    return total;
}

static void connect_as(ml_time now, const char *server_info)
{
    uint8_t out[ML_DERP_TX_MIN];
    memset(seen, 0, sizeof seen);
    ml_derp_client_init(&c, &derp_self, tx, sizeof tx);
    ml_derp_client_open(&c, now, &home);
    feed(now, (const uint8_t *)derp_response, sizeof derp_response - 1, SIZE_MAX);
    feed_vector(now, "frame server_key");
    assert_true(ml_derp_client_is_ready(&c));
    feed_vector(now, server_info);
    assert_int_equal(seen[ML_DERP_EV_LOGIN], 1);
    drain(out);
}

static void the_request_and_login_are_as_the_official_client_sends_them(void **state)
{
    (void)state;
    uint8_t out[ML_DERP_TX_MIN];
    uint8_t server[32];
    uint8_t shared[32];
    static const char request[] = "GET /derp HTTP/1.1\r\nHost: relay.example\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n";
    ml_derp_client_init(&c, &derp_self, tx, sizeof tx);
    ml_derp_client_open(&c, 0, &home);
    size_t n = drain(out);
    assert_int_equal(n, sizeof request - 1);
    assert_memory_equal(out, request, n);
    feed(0, (const uint8_t *)derp_response, sizeof derp_response - 1, 1);
    feed_vector(0, "frame server_key");
    n = drain(out);
    assert_int_equal(n, ML_DERP_CLIENT_INFO_LEN + 6);
    assert_memory_equal(out, "\x02\0\0\0\x68", 5);
    assert_memory_equal(out + 5, derp_pub.b, 32);
    derp_vector("key server", server);
    assert_true(ml_box_beforenm(shared, server, &derp_priv));
    assert_true(ml_box_open(out + 61, shared, out + 37, out + 61, 48));
    assert_memory_equal(out + 61, "{\"version\":2,\"CanAckPings\":true}", 32);
    assert_memory_equal(out + ML_DERP_CLIENT_INFO_LEN, "\x07\0\0\0\1\1", 6);
}

static void a_fast_start_sends_the_login_with_the_request(void **state)
{
    (void)state;
    uint8_t out[ML_DERP_TX_MIN];
    struct ml_derp_server s = {.host = "relay.example", .ideal_node = "1a"};
    static const char end[] = "Ideal-Node: 1a\r\nDerp-Fast-Start: 1\r\n\r\n";
    derp_vector("key server", s.meta_key.b);
    ml_derp_client_init(&c, &derp_self, tx, sizeof tx);
    ml_derp_client_open(&c, 0, &s);
    assert_true(ml_derp_client_is_ready(&c));
    size_t n = drain(out);
    assert_memory_equal(out + n - ML_DERP_CLIENT_INFO_LEN - (sizeof end - 1), end, sizeof end - 1);
    memset(seen, 0, sizeof seen);
    feed_vector(0, "frame server_key");
    feed_vector(0, "frame server_info");
    assert_int_equal(seen[ML_DERP_EV_LOGIN], 1);
    assert_int_equal(drain(out), 0); /* not our home: no NotePreferred */
}

static const char *const session[] = {"frame server_key",  "frame server_info", "frame keepalive",
                                      "frame recv_packet", "frame peer_gone",   "frame peer_gone_old",
                                      "frame ping",        "frame health",      "frame restarting"};

static void D49_frames_cut_at_every_byte_and_together_in_one_record_are_parsed(void **state)
{
    (void)state;
    static uint8_t stream[4096];
    uint8_t out[ML_DERP_TX_MIN];
    size_t len = sizeof derp_response - 1;
    memcpy(stream, derp_response, len);
    for (size_t i = 0; i < sizeof session / sizeof *session; i++) {
        len += derp_vector(session[i], stream + len);
    }
    for (size_t cut = 0; cut < len; cut++) { /* 0: all in one, directly behind the 101 */
        memset(seen, 0, sizeof seen);
        ml_derp_client_init(&c, &derp_self, tx, sizeof tx);
        ml_derp_client_open(&c, 0, &home);
        drain(out);
        feed(0, stream, cut, SIZE_MAX);
        feed(0, stream + cut, len - cut, SIZE_MAX);
        assert_int_equal(seen[ML_DERP_EV_LOGIN], 1);
        assert_int_equal(seen[ML_DERP_EV_PACKET], 1);
        assert_int_equal(seen[ML_DERP_EV_PEER_GONE], 2);
        assert_int_equal(seen[ML_DERP_EV_HEALTH], 1);
        assert_int_equal(seen[ML_DERP_EV_RESTARTING], 1);
        assert_int_equal(seen[ML_DERP_EV_FAILED] + seen[ML_DERP_EV_DROP], 0);
        size_t n = drain(out);
        assert_memory_equal(out + n - 13,
                            "\x13\0\0\0\x08"
                            "12345678",
                            13); /* the pong */
    }
}

static void one_event(const char *name)
{
    uint8_t b[2048];
    size_t used;
    size_t n = derp_vector(name, b);
    ml_derp_client_data(&c, 0, b, n, &used);
    assert_int_equal(used, n);
    assert_true(ml_derp_client_poll_event(&c, &ev));
}

static void packets_reasons_and_texts_come_out_as_sent(void **state)
{
    (void)state;
    uint8_t key[32];
    derp_vector("key peer", key);
    connect_as(0, "frame server_info");
    one_event("frame recv_packet");
    assert_memory_equal(ev.key.b, key, 32);
    assert_int_equal(ev.len, 8);
    assert_memory_equal(ev.data, "a packet", 8);
    one_event("frame peer_gone");
    assert_memory_equal(ev.key.b, key, 32);
    assert_int_equal(ev.reason, ML_DERP_GONE_NOT_HERE);
    one_event("frame peer_gone_old");
    assert_int_equal(ev.reason, ML_DERP_GONE_DISCONNECTED);
    one_event("frame health");
    assert_memory_equal(ev.data, "duplicate connection", ev.len);
    one_event("frame restarting");
    assert_true(ev.reconnect_in == ML_SEC(2) && ev.try_for == ML_SEC(10));
}

static void an_event_not_taken_holds_back_the_stream(void **state)
{
    (void)state;
    uint8_t two[256];
    size_t used;
    connect_as(0, "frame server_info");
    size_t n = derp_vector("frame recv_packet", two);
    memcpy(two + n, two, n);
    ml_derp_client_data(&c, 0, two, 2 * n, &used);
    assert_int_equal(used, n);
    ml_derp_client_data(&c, 0, two + n, n, &used);
    assert_int_equal(used, 0);
    assert_true(ml_derp_client_poll_event(&c, &ev));
    ml_derp_client_data(&c, 0, two + n, n, &used);
    assert_int_equal(used, n);
    assert_true(ml_derp_client_poll_event(&c, &ev));
    assert_false(ml_derp_client_poll_event(&c, &ev));
}

static void malformed_frames_are_dropped_and_the_next_is_read(void **state)
{
    (void)state;
    static const uint8_t frames[] = {5, 0, 0, 0,    3, 1, 2, 3, 8, 0, 0,    0, 0, 0x15, 0, 0,
                                     0, 1, 9, 0x12, 0, 0, 0, 2, 1, 1, 0x99, 0, 0, 0,    0};
    uint8_t out[ML_DERP_TX_MIN];
    connect_as(0, "frame server_info");
    memset(seen, 0, sizeof seen);
    feed(0, frames, sizeof frames, SIZE_MAX);
    assert_int_equal(seen[ML_DERP_EV_DROP], 4);
    assert_int_equal(ev.drop, ML_DROP_DERP_UNKNOWN_FRAME);
    assert_int_equal(drain(out), 0);
    feed_vector(0, "frame recv_packet");
    assert_int_equal(seen[ML_DERP_EV_PACKET], 1);
}

static enum ml_derp_fail failure_of(const void *stream, size_t len, bool after_upgrade)
{
    memset(seen, 0, sizeof seen);
    ml_derp_client_init(&c, &derp_self, tx, sizeof tx);
    ml_derp_client_open(&c, 0, &home);
    if (after_upgrade) {
        feed(0, (const uint8_t *)derp_response, sizeof derp_response - 1, SIZE_MAX);
    }
    feed(0, stream, len, SIZE_MAX);
    return seen[ML_DERP_EV_FAILED] == 1 ? ev.fail : ML_DERP_FAIL_NONE;
}

static void upgrades_that_fail_say_why(void **state)
{
    (void)state;
    static char longer[ML_DERP_RESPONSE_MAX + 100] = "HTTP/1.1 101 x\r\nA: ";
    static const char refused[] = "HTTP/1.1 426 Upgrade Required\r\nX: y\r\n\r\nbody";
    static const char lf[] = "HTTP/1.0 101\nX: y\n\n";
    assert_int_equal(failure_of(refused, sizeof refused - 1, false), ML_DERP_FAIL_STATUS);
    assert_int_equal(ev.http_status, 426);
    assert_int_equal(failure_of("SSH-2.0-x\r\n", 11, false), ML_DERP_FAIL_NOT_HTTP);
    assert_int_equal(failure_of("HTTP/1.1 1011 x\r\n", 17, false), ML_DERP_FAIL_NOT_HTTP);
    assert_int_equal(failure_of(lf, sizeof lf - 1, false), ML_DERP_FAIL_NONE);
    memset(longer + 19, 'a', sizeof longer - 19);
    assert_int_equal(failure_of(longer, sizeof longer, false), ML_DERP_FAIL_NOT_HTTP);
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, (const uint8_t *)longer, 1), ML_DROP_NOT_READY);
}

static void D48_bad_greetings_abort_and_longer_ones_do_not(void **state)
{
    (void)state;
    uint8_t b[256] = {0};
    size_t n = derp_vector("frame server_key", b);
    b[4] += 60; /* 60 bytes for the future */
    assert_int_equal(failure_of(b, n + 60, true), ML_DERP_FAIL_NONE);
    assert_true(ml_derp_client_is_ready(&c));
    b[4] = 39;
    assert_int_equal(failure_of(b, 5 + 39, true), ML_DERP_FAIL_GREETING);
    b[4] = 40;
    b[5] ^= 1;
    assert_int_equal(failure_of(b, n, true), ML_DERP_FAIL_GREETING);
    b[5] ^= 1;
    memset(b + 13, 0, 32);
    assert_int_equal(failure_of(b, n, true), ML_DERP_FAIL_SERVER_KEY);
    n = derp_vector("frame keepalive", b);
    assert_int_equal(failure_of(b, n, true), ML_DERP_FAIL_GREETING);
    n = derp_vector("frame server_key", b);
    size_t m = derp_vector("frame server_info", b + n);
    b[n + 40] ^= 1;
    assert_int_equal(failure_of(b, n + m, true), ML_DERP_FAIL_SERVER_INFO);
    /* unknown frame types are skipped */
    connect_as(0, "frame server_info");
    feed(0, (const uint8_t *)"\xee\0\0\0\3abc", 8, SIZE_MAX);
    assert_int_equal(seen[ML_DERP_EV_DROP], 1);
    assert_int_equal(seen[ML_DERP_EV_FAILED], 0);
}

static void D50_the_largest_packet_is_skipped_whole_and_none_larger_is_sent(void **state)
{
    (void)state;
    static uint8_t big[5 + 32 + ML_DERP_PACKET_MAX] = {5, 0, 1, 0, 32};
    connect_as(0, "frame server_info");
    memset(seen, 0, sizeof seen);
    feed(0, big, sizeof big, 1400);
    assert_int_equal(seen[ML_DERP_EV_DROP], 1);
    assert_int_equal(ev.drop, ML_DROP_TOO_LARGE);
    feed_vector(0, "frame recv_packet");
    assert_int_equal(seen[ML_DERP_EV_PACKET], 1);
    /* the longest that fits is given out */
    ml_put_be32(big + 1, 32 + ML_UNDERLAY_MAX);
    feed(0, big, 5 + 32 + ML_UNDERLAY_MAX, 1400);
    assert_int_equal(seen[ML_DERP_EV_PACKET], 2);
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, big, ML_DERP_PACKET_MAX + 1), ML_DROP_TOO_LARGE);
    assert_int_equal(failure_of("\5\0\x10\0\1", 5, true), ML_DERP_FAIL_FRAME_SIZE);
}

static void login_must_end_in_time(void **state)
{
    (void)state;
    ml_derp_client_init(&c, &derp_self, tx, sizeof tx);
    assert_true(ml_derp_client_deadline(&c) == ML_NEVER);
    ml_derp_client_open(&c, ML_SEC(1), &home);
    assert_true(ml_derp_client_deadline(&c) == ML_SEC(11));
    ml_derp_client_time(&c, ML_SEC(11) - 1);
    assert_false(ml_derp_client_poll_event(&c, &ev));
    ml_derp_client_time(&c, ML_SEC(11));
    assert_true(ml_derp_client_poll_event(&c, &ev));
    assert_int_equal(ev.fail, ML_DERP_FAIL_LOGIN_TIMEOUT);
    assert_true(ml_derp_client_deadline(&c) == ML_NEVER);
}

static void D52_two_minutes_without_a_frame_end_the_connection(void **state)
{
    (void)state;
    connect_as(0, "frame server_info");
    assert_true(ml_derp_client_deadline(&c) == ML_SEC(120));
    ml_time now = 0;
    for (int i = 0; i < 10; i++) { /* keepalives keep it */
        now += ML_SEC(65);
        ml_derp_client_time(&c, now);
        feed_vector(now, "frame keepalive");
    }
    assert_int_equal(seen[ML_DERP_EV_FAILED], 0);
    /* half a frame is not a frame */
    size_t used;
    ml_derp_client_data(&c, now + ML_SEC(100), (const uint8_t *)"\6\0\0", 3, &used);
    ml_derp_client_time(&c, now + ML_SEC(120) - 1);
    assert_false(ml_derp_client_poll_event(&c, &ev));
    ml_derp_client_time(&c, now + ML_SEC(120));
    assert_true(ml_derp_client_poll_event(&c, &ev));
    assert_int_equal(ev.fail, ML_DERP_FAIL_READ_TIMEOUT);
}

static void a_check_is_answered_by_its_own_pong_only(void **state)
{
    (void)state;
    uint8_t out[ML_DERP_TX_MIN];
    connect_as(0, "frame server_info");
    ml_derp_client_check(&c, 0);
    assert_int_equal(drain(out), 13);
    assert_int_equal(out[0], ML_DERP_PING);
    out[0] = ML_DERP_PONG;
    out[5] ^= 1;
    feed(ML_SEC(1), out, 13, SIZE_MAX);
    assert_true(ml_derp_client_deadline(&c) == ML_SEC(3));
    out[5] ^= 1;
    feed(ML_SEC(1), out, 13, SIZE_MAX);
    assert_true(ml_derp_client_deadline(&c) == ML_SEC(121));
    ml_derp_client_check(&c, ML_SEC(2));
    ml_derp_client_time(&c, ML_SEC(5));
    assert_true(ml_derp_client_poll_event(&c, &ev));
    assert_int_equal(ev.fail, ML_DERP_FAIL_CHECK_TIMEOUT);
}

static void D56_packets_over_the_announced_rate_are_dropped(void **state)
{
    (void)state;
    uint8_t out[ML_DERP_TX_MIN];
    uint8_t packet[963] = {0};                  /* 1000 bytes with its 37 of framing */
    connect_as(0, "frame server_info_limited"); /* 1000 a second, 2000 at once */
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(drain(out), 2000);
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, packet, 0), ML_DROP_DERP_RATE_LIMITED);
    assert_int_equal(ml_derp_client_send(&c, ML_MSEC(999), &peer, packet, sizeof packet), ML_DROP_DERP_RATE_LIMITED);
    assert_int_equal(ml_derp_client_send(&c, ML_MSEC(1000), &peer, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(drain(out), 1000);
    /* an hour later there is one burst, not an hour's worth */
    ml_time later = ML_SEC(86400 * 365);
    assert_int_equal(ml_derp_client_send(&c, later, &peer, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(ml_derp_client_send(&c, later, &peer, packet, sizeof packet), ML_DROP_NONE);
    drain(out);
    assert_int_equal(ml_derp_client_send(&c, later, &peer, packet, sizeof packet), ML_DROP_DERP_RATE_LIMITED);
    assert_int_equal(drain(out), 0);
    feed_vector(later, "frame ping"); /* a pong is not a packet */
    assert_int_equal(drain(out), 13);
}

static void a_full_ring_drops_whole_packets_and_loses_no_control_frame(void **state)
{
    (void)state;
    static uint8_t out[2 * ML_DERP_TX_MIN];
    uint8_t packet[100];
    memset(packet, 0x42, sizeof packet);
    connect_as(0, "frame server_info");
    for (int round = 0; round < 50; round++) { /* the ring wraps at every offset */
        unsigned sent = 0;
        while (ml_derp_client_send(&c, 0, &peer, packet, sizeof packet - (size_t)round) == ML_DROP_NONE) {
            sent++;
        }
        assert_int_equal(ml_derp_client_send(&c, 0, &peer, packet, sizeof packet), ML_DROP_DERP_QUEUE_FULL);
        while (ml_derp_client_send(&c, 0, &peer, packet, 0) == ML_DROP_NONE) {
            sent++;
        }
        feed_vector(0, "frame ping");
        ml_derp_client_note_preferred(&c, false);
        ml_derp_client_check(&c, 0);
        c.check_by = 0;
        size_t n = drain(out);
        unsigned packets = 0, controls = 0;
        for (size_t pos = 0; pos < n; pos += 5 + ml_get_be32(out + pos + 1)) {
            packets += out[pos] == ML_DERP_SEND_PACKET;
            controls += out[pos] == ML_DERP_PONG || out[pos] == ML_DERP_PING || out[pos] == ML_DERP_NOTE_PREFERRED;
            assert_true(out[pos] != ML_DERP_SEND_PACKET || memcmp(out + pos + 5, peer.b, 32) == 0);
        }
        assert_int_equal(packets, sent);
        assert_int_equal(controls, 3);
    }
}

static void packets_before_the_login_follow_it(void **state)
{
    (void)state;
    static uint8_t out[ML_DERP_TX_MIN];
    uint8_t packet[300];
    memset(packet, 0x42, sizeof packet);
    ml_derp_client_init(&c, &derp_self, tx, sizeof tx);
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, packet, sizeof packet), ML_DROP_NONE);
    ml_derp_client_open(&c, 0, &home);
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, packet, sizeof packet), ML_DROP_NONE);
    feed(0, (const uint8_t *)derp_response, sizeof derp_response - 1, SIZE_MAX);
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, packet, sizeof packet), ML_DROP_NONE);
    assert_int_equal(ml_derp_client_send(&c, 0, &peer, packet, sizeof packet), ML_DROP_DERP_QUEUE_FULL);
    feed_vector(0, "frame server_key");
    size_t n = drain(out); /* the request was not yet sent either */
    const uint8_t *p = (const uint8_t *)strstr((const char *)out, "\r\n\r\n") + 4 + ML_DERP_CLIENT_INFO_LEN;
    for (int i = 0; i < 3; i++, p += 337) {
        assert_memory_equal(p, "\x04\0\0\x01\x4c", 5);
        assert_memory_equal(p + 5, peer.b, 32);
        assert_memory_equal(p + 37, packet, sizeof packet);
    }
    assert_int_equal(out + n - p, 6); /* NotePreferred */
    /* and are lost when it never comes */
    ml_derp_client_close(&c);
    ml_derp_client_send(&c, 0, &peer, packet, sizeof packet);
    assert_int_equal(ml_derp_client_close(&c), 1);
}

static void server_info_is_read_tolerantly(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool ok;
        uint32_t version, rate, burst;
    } cases[] = {
        {"{}", true, 0, 0, 0},
        {"{\"version\":2}", true, 2, 0, 0},
        {" { \"version\" : 2 , \"TokenBucketBytesBurst\" :\t7 }", true, 2, 0, 7},
        {"{\"TokenBucketBytesPerSecond\":99999999999999999999,\"version\":2}", true, 2, UINT32_MAX, 0},
        {"{\"x\":{\"version\":9},\"y\":[\"version\",{\"version\":8}],\"z\":\"\\\"version\\\":7\",\"version\":2}", true, 2, 0,
         0},
        {"{\"version\":-2}", true, 0, 0, 0},
        {"", false, 0, 0, 0},
        {"[]", false, 0, 0, 0},
        {"{\"version\":2", false, 2, 0, 0},
        {"{\"version", false, 0, 0, 0},
        {"{\"version\\", false, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ml_derp_server_info info;
        assert_int_equal(ml_derp_parse_server_info(cases[i].json, strlen(cases[i].json), &info), cases[i].ok);
        assert_int_equal(info.version, cases[i].version);
        assert_int_equal(info.bytes_per_sec, cases[i].rate);
        assert_int_equal(info.bytes_burst, cases[i].burst);
    }
}

static void closing_wipes_the_shared_key(void **state)
{
    (void)state;
    static const uint8_t zeros[32];
    connect_as(0, "frame server_info");
    assert_memory_not_equal(c.shared, zeros, 32);
    ml_derp_client_close(&c);
    assert_memory_equal(c.shared, zeros, 32);
    assert_false(ml_derp_client_is_ready(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_and_login_are_as_the_official_client_sends_them),
        cmocka_unit_test(a_fast_start_sends_the_login_with_the_request),
        cmocka_unit_test(D49_frames_cut_at_every_byte_and_together_in_one_record_are_parsed),
        cmocka_unit_test(packets_reasons_and_texts_come_out_as_sent),
        cmocka_unit_test(an_event_not_taken_holds_back_the_stream),
        cmocka_unit_test(malformed_frames_are_dropped_and_the_next_is_read),
        cmocka_unit_test(upgrades_that_fail_say_why),
        cmocka_unit_test(D48_bad_greetings_abort_and_longer_ones_do_not),
        cmocka_unit_test(D50_the_largest_packet_is_skipped_whole_and_none_larger_is_sent),
        cmocka_unit_test(login_must_end_in_time),
        cmocka_unit_test(D52_two_minutes_without_a_frame_end_the_connection),
        cmocka_unit_test(a_check_is_answered_by_its_own_pong_only),
        cmocka_unit_test(D56_packets_over_the_announced_rate_are_dropped),
        cmocka_unit_test(a_full_ring_drops_whole_packets_and_loses_no_control_frame),
        cmocka_unit_test(packets_before_the_login_follow_it),
        cmocka_unit_test(server_info_is_read_tolerantly),
        cmocka_unit_test(closing_wipes_the_shared_key),
    };
    return cmocka_run_group_tests(tests, derp_start, NULL);
}
