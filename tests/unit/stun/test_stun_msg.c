/*
 * STUN codec against net/stun. SPDX-License-Identifier: MIT
 */
#include "disco/vectors.h"
#include "stun/stun_msg.h"

static void D38_request_equals_the_vector_of_the_official_encoder(void **state)
{
    (void)state;
    const uint8_t tx[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    uint8_t want[40], got[40];
    vec_hex_into("000100142112a4420102030405060708090a0b0c802200087461696c6e6f646580280004b32c370f", want, 40);
    ml_stun_write_request(got, tx);
    assert_memory_equal(got, want, 40);
}

static void D38_requests_equal_those_that_the_official_parser_accepted(void **state)
{
    (void)state;
    struct vec v;
    size_t cases = 0;
    for (vec_open(&v, "stun_messages.txt"); vec_next(&v);) {
        if (strcmp(v.word[0], "request") == 0) {
            uint8_t tx[12], want[40], got[40];
            vec_hex_into(v.word[1], tx, 12);
            vec_hex_into(v.word[2], want, 40);
            ml_stun_write_request(got, tx);
            assert_memory_equal(got, want, 40);
            cases++;
        }
    }
    assert_true(cases >= 20);
}

static void official_responses_parse(void **state)
{
    (void)state;
    struct vec v;
    size_t cases = 0;
    for (vec_open(&v, "stun_messages.txt"); vec_next(&v);) {
        if (strcmp(v.word[0], "response") == 0) {
            uint8_t want_tx[12], tx[12];
            vec_hex_into(v.word[1], want_tx, 12);
            ml_addr want = vec_addr(v.word[2]), got;
            size_t len;
            uint8_t *b = vec_hex(v.word[3], &len);
            assert_true(ml_stun_parse_response(b, len, tx, &got));
            assert_memory_equal(tx, want_tx, 12);
            assert_true(ml_addr_equal(&got, &want));
            free(b);
            cases++;
        }
    }
    assert_true(cases >= 20);
}

static void verdicts_on_mutated_responses_are_those_of_the_official_parser(void **state)
{
    (void)state;
    struct vec v;
    size_t ok_cases = 0, bad_cases = 0;
    for (vec_open(&v, "stun_messages.txt"); vec_next(&v);) {
        if (strcmp(v.word[0], "parse") != 0) {
            continue;
        }
        size_t len;
        uint8_t *b = vec_hex(v.word[4], &len);
        uint8_t tx[12];
        ml_addr got;
        bool want_ok = strcmp(v.word[1], "ok") == 0;
        assert_int_equal(ml_stun_parse_response(b, len, tx, &got), want_ok);
        if (want_ok) {
            uint8_t want_tx[12];
            vec_hex_into(v.word[2], want_tx, 12);
            ml_addr want = vec_addr(v.word[3]);
            assert_memory_equal(tx, want_tx, 12);
            assert_true(ml_addr_equal(&got, &want));
            ok_cases++;
        } else {
            bad_cases++;
        }
        free(b);
    }
    assert_true(ok_cases > 50 && bad_cases > 50);
}

/* One response per clause of D39; foreign transaction IDs are in test_netcheck.c, which knows its own. */
static void D39_every_form_of_response_parses_and_truncated_attributes_do_not(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        const char *addr; /* NULL = refused */
    } cases[] = {
        {"0101000c2112a4420102030405060708090a0b0c002000080001a147e112a643", "192.0.2.1:32853"},
        {"0101000c2112a4420102030405060708090a0b0c802000080001a147e112a643", "192.0.2.1:32853"},
        {"0101000c2112a4420102030405060708090a0b0c0001000800018055c0000201", "192.0.2.1:32853"},
        /* IPv6: 2001:db8::1 */
        {"010100182112a4420102030405060708090a0b0c002000140002a1470113a9fa0102030405060708090a0b0d", "[2001:db8::1]:32853"},
        /* an unknown attribute of 3 bytes and its padding first */
        {"010100142112a4420102030405060708090a0b0c7777000301020300002000080001a147e112a643", "192.0.2.1:32853"},
        /* both addresses: the XORed one counts, wherever it stands */
        {"010100182112a4420102030405060708090a0b0c002000080001a147e112a6430001000800010001c0000202", "192.0.2.1:32853"},
        /* trailing bytes beyond the header's length */
        {"0101000c2112a4420102030405060708090a0b0c002000080001a147e112a643ffffff", "192.0.2.1:32853"},
        /* attribute longer than the message; header longer than the data; address cut; family unknown; no address */
        {"0101000c2112a4420102030405060708090a0b0c002000090001a147e112a643", NULL},
        {"010100102112a4420102030405060708090a0b0c002000080001a147e112a643", NULL},
        {"010100082112a4420102030405060708090a0b0c002000040001a147", NULL},
        {"0101000c2112a4420102030405060708090a0b0c002000080003a147e112a643", NULL},
        {"010100002112a4420102030405060708090a0b0c", NULL},
        /* a request, and an error response */
        {"0001000c2112a4420102030405060708090a0b0c002000080001a147e112a643", NULL},
        {"0111000c2112a4420102030405060708090a0b0c002000080001a147e112a643", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len;
        uint8_t *b = vec_hex(cases[i].hex, &len);
        uint8_t tx[12];
        ml_addr got;
        assert_int_equal(ml_stun_parse_response(b, len, tx, &got), cases[i].addr != NULL);
        if (cases[i].addr) {
            ml_addr want = vec_addr(cases[i].addr);
            assert_true(ml_addr_equal(&got, &want));
        }
        free(b);
    }
}

static void every_truncation_of_a_response_is_refused(void **state)
{
    (void)state;
    size_t len;
    uint8_t *b = vec_hex("0101000c2112a4420102030405060708090a0b0c002000080001a147e112a643", &len);
    for (size_t n = 0; n < len; n++) {
        uint8_t tx[12], *cut = malloc(n ? n : 1);
        ml_addr got;
        memcpy(cut, b, n);
        assert_false(ml_stun_parse_response(cut, n, tx, &got));
        free(cut);
    }
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D38_request_equals_the_vector_of_the_official_encoder),
        cmocka_unit_test(D38_requests_equal_those_that_the_official_parser_accepted),
        cmocka_unit_test(official_responses_parse),
        cmocka_unit_test(verdicts_on_mutated_responses_are_those_of_the_official_parser),
        cmocka_unit_test(D39_every_form_of_response_parses_and_truncated_attributes_do_not),
        cmocka_unit_test(every_truncation_of_a_response_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
