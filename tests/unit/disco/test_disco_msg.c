/*
 * DISCO codec against package disco. SPDX-License-Identifier: MIT
 */
#include "disco/disco_msg.h"
#include "disco/vectors.h"

static void put_key(struct ml_writer *w, const uint8_t b[32])
{
    ml_write_str(w, " ");
    ml_write_hex(w, b, 32);
}

static void put_num(struct ml_writer *w, uint64_t n)
{
    ml_write_str(w, " ");
    ml_write_dec(w, n);
}

static void put_addrs(struct ml_writer *w, const struct ml_disco_msg *m)
{
    ml_write_str(w, m->addr_count ? " " : " -");
    for (size_t i = 0; i < m->addr_count; i++) {
        ml_write_str(w, i ? "," : "");
        ml_write_addr(w, &m->addrs[i]);
    }
}

static void put_endpoint(struct ml_writer *w, const struct ml_disco_msg *m)
{
    const struct ml_disco_relay_endpoint *e = &m->u.relay.endpoint;
    put_key(w, e->server.b);
    put_key(w, e->client[0].b);
    put_key(w, e->client[1].b);
    put_num(w, e->lamport_id);
    put_num(w, e->vni);
    put_num(w, e->bind_lifetime_ns);
    put_num(w, e->steady_lifetime_ns);
    put_addrs(w, m);
}

/* The same words in the same order as the generator prints for the official parser's result. */
static const char *fields(const struct ml_disco_msg *m, uint8_t *buf, size_t cap)
{
    struct ml_writer w = ml_writer_of(buf, cap);
    ml_write_dec(&w, m->type);
    switch (m->type) {
    case ML_DISCO_PING:
        ml_write_str(&w, " ");
        ml_write_hex(&w, m->tx, 12);
        put_key(&w, m->node_key.b);
        put_num(&w, m->padding);
        break;
    case ML_DISCO_PONG:
        ml_write_str(&w, " ");
        ml_write_hex(&w, m->tx, 12);
        ml_write_str(&w, " ");
        ml_write_addr(&w, &m->src);
        break;
    case ML_DISCO_CALL_ME_MAYBE:
        put_addrs(&w, m);
        break;
    case ML_DISCO_BIND:
    case ML_DISCO_BIND_CHALLENGE:
    case ML_DISCO_BIND_ANSWER:
        put_num(&w, m->u.bind.vni);
        put_num(&w, m->u.bind.generation);
        put_key(&w, m->u.bind.remote.b);
        put_key(&w, m->u.bind.challenge);
        break;
    case ML_DISCO_CALL_ME_MAYBE_VIA:
        put_endpoint(&w, m);
        break;
    case ML_DISCO_ALLOCATE_REQUEST:
        put_key(&w, m->u.relay.client[0].b);
        put_key(&w, m->u.relay.client[1].b);
        put_num(&w, m->u.relay.generation);
        break;
    case ML_DISCO_ALLOCATE_RESPONSE:
        put_num(&w, m->u.relay.generation);
        put_endpoint(&w, m);
        break;
    }
    return ml_write_end_str(&w);
}

static void D16_decoders_and_encoders_agree_with_package_disco_on_random_messages(void **state)
{
    (void)state;
    struct vec v;
    size_t good = 0, bad = 0, seen[10] = {0};
    for (vec_open(&v, "disco_messages.txt"); vec_next(&v);) {
        bool is_msg = strcmp(v.word[0], "msg") == 0;
        if (!is_msg && strcmp(v.word[0], "bad") != 0) {
            continue;
        }
        size_t len;
        uint8_t *b = vec_hex(v.word[1], &len);
        struct ml_disco_msg m;
        enum ml_disco_parse got = ml_disco_parse(&m, b, len);
        if (!is_msg) {
            assert_true(got == ML_DISCO_PARSE_SHORT || got == ML_DISCO_PARSE_UNKNOWN);
            bad++;
        } else {
            assert_int_equal(got, ML_DISCO_PARSE_OK);
            char want[2048];
            size_t at = 0;
            for (size_t i = 2; i < v.count; i++) {
                at += (size_t)snprintf(want + at, sizeof want - at, "%s%s", i > 2 ? " " : "", v.word[i]);
            }
            uint8_t text[2048];
            assert_string_equal(fields(&m, text, sizeof text), want);
            seen[m.type]++;
            good++;
            /* Encoders: the first 270 cases are exactly what the official encoder wrote. */
            if (good <= 270) {
                uint8_t out[ML_DISCO_MSG_MAX];
                struct ml_writer w = ml_writer_of(out, sizeof out);
                ml_disco_write(&w, &m);
                assert_false(w.bad);
                assert_int_equal(w.len, len);
                assert_memory_equal(out, b, len);
            }
        }
        free(b);
    }
    for (int t = 1; t <= 9; t++) {
        assert_true(seen[t] >= 30);
    }
    assert_true(bad > 50);
}

static void vectors_of_the_document_are_written(void **state)
{
    (void)state;
    struct ml_disco_msg m = {.type = ML_DISCO_PONG, .tx = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
    m.src = (ml_addr){ml_ip4(192, 0, 2, 1), 41641};
    uint8_t out[64], want[64];
    struct ml_writer w = ml_writer_of(out, sizeof out);
    ml_disco_write(&w, &m);
    vec_hex_into("02000102030405060708090a0b0c00000000000000000000ffffc0000201a2a9", want, 32);
    assert_int_equal(w.len, 32);
    assert_memory_equal(out, want, 32);
}

static enum ml_disco_parse parse_hex(const char *hex, struct ml_disco_msg *m)
{
    size_t len;
    uint8_t *b = vec_hex(hex, &len);
    enum ml_disco_parse r = ml_disco_parse(m, b, len);
    free(b);
    return r;
}

static void call_me_maybe_of_odd_length_or_version_is_an_empty_list(void **state)
{
    (void)state;
    struct ml_disco_msg m;
    assert_int_equal(parse_hex("0300", &m), ML_DISCO_PARSE_OK);
    assert_int_equal(m.addr_count, 0);
    assert_int_equal(parse_hex("030000000000000000000000ffffc0000201a2a900", &m), ML_DISCO_PARSE_OK);
    assert_int_equal(m.addr_count, 0);
    assert_int_equal(parse_hex("030100000000000000000000ffffc0000201a2a9", &m), ML_DISCO_PARSE_OK);
    assert_int_equal(m.addr_count, 0);
    assert_int_equal(parse_hex("030000000000000000000000ffffc0000201a2a9", &m), ML_DISCO_PARSE_OK);
    assert_int_equal(m.addr_count, 1);
}

static void lists_longer_than_the_bound_are_cut_and_counted(void **state)
{
    (void)state;
    uint8_t b[2 + 18 * 60] = {ML_DISCO_CALL_ME_MAYBE};
    struct ml_disco_msg m;
    assert_int_equal(ml_disco_parse(&m, b, sizeof b), ML_DISCO_PARSE_OK);
    assert_int_equal(m.addr_count, ML_DISCO_ADDRS);
    assert_int_equal(m.addr_dropped, 60 - ML_DISCO_ADDRS);
}

static void relay_messages_of_another_version_are_empty(void **state)
{
    (void)state;
    struct ml_disco_msg m;
    assert_int_equal(parse_hex("0701", &m), ML_DISCO_PARSE_EMPTY);
    assert_int_equal(parse_hex("0801", &m), ML_DISCO_PARSE_EMPTY);
    assert_int_equal(parse_hex("0901", &m), ML_DISCO_PARSE_EMPTY);
}

static void a_message_that_does_not_fit_marks_the_writer(void **state)
{
    (void)state;
    struct ml_disco_msg m = {.type = ML_DISCO_PONG};
    uint8_t out[31];
    struct ml_writer w = ml_writer_of(out, sizeof out);
    ml_disco_write(&w, &m);
    assert_true(w.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D16_decoders_and_encoders_agree_with_package_disco_on_random_messages),
        cmocka_unit_test(vectors_of_the_document_are_written),
        cmocka_unit_test(call_me_maybe_of_odd_length_or_version_is_an_empty_list),
        cmocka_unit_test(lists_longer_than_the_bound_are_cut_and_counted),
        cmocka_unit_test(relay_messages_of_another_version_are_empty),
        cmocka_unit_test(a_message_that_does_not_fit_marks_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
