/*
 * The JSON reader against encoding/json, in pieces of every kind, and what it promises beyond. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/bytes.h"
#include "json/json_pull.h"

#include <stdio.h>
#include <stdlib.h>

#define OUT_CAP 65536

/* Appends the event in the notation of the vectors. */
static void note(struct ml_writer *w, const struct ml_json *j, enum ml_json_event ev)
{
    static const char *const text[] = {
        [ML_JSON_OBJECT_BEGIN] = "{", [ML_JSON_OBJECT_END] = "}", [ML_JSON_ARRAY_BEGIN] = "[", [ML_JSON_ARRAY_END] = "]",
        [ML_JSON_KEY] = "k",          [ML_JSON_STRING] = "s",     [ML_JSON_NUMBER] = "n",      [ML_JSON_TRUE] = "t",
        [ML_JSON_FALSE] = "f",        [ML_JSON_NULL] = "z"};
    if (w->len > 0) {
        ml_write_u8(w, ',');
    }
    ml_write_str(w, text[ev]);
    if (ev == ML_JSON_KEY || ev == ML_JSON_STRING || ev == ML_JSON_NUMBER) {
        ml_write_hex(w, (const uint8_t *)j->tok, j->tok_len);
    }
}

/* Reads a document in pieces: 0 = whole, 1 = single bytes, else random up to that. True when it is JSON. */
static bool read_all(const uint8_t *doc, size_t len, unsigned piece, bool skip, struct ml_writer *w)
{
    char tok[512];
    struct ml_json j;
    ml_json_init(&j, tok, sizeof tok);
    if (skip) {
        ml_json_skip(&j);
    }
    size_t at = 0;
    enum ml_json_event ev;
    while (at < len) {
        size_t n = piece == 0 ? len - at : piece == 1 ? 1 : 1 + (size_t)rand() % piece;
        n = n < len - at ? n : len - at;
        uint8_t *copy = malloc(n);
        memcpy(copy, doc + at, n);
        size_t done = 0, used;
        while ((ev = ml_json_next(&j, copy + done, n - done, &used)) != ML_JSON_NEED_MORE) {
            done += used;
            if (ev == ML_JSON_ERROR) {
                free(copy);
                assert_int_equal(ml_json_next(&j, doc, len, &used), ML_JSON_ERROR);
                return false;
            }
            if (ev != ML_JSON_END) {
                note(w, &j, ev);
            } else if (done == n) {
                break;
            }
        }
        free(copy);
        at += n;
    }
    while ((ev = ml_json_finish(&j)) == ML_JSON_NUMBER) {
        note(w, &j, ev);
    }
    return ev == ML_JSON_END;
}

static void every_document_reads_as_encoding_json_reads_it_in_any_pieces(void **state)
{
    (void)state;
    static char line[65536];
    static uint8_t doc[16384], out[OUT_CAP];
    FILE *f = fopen(ML_VECTORS_DIR "/json_tokens.txt", "r");
    assert_non_null(f);
    int count = 0;
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#') {
            continue;
        }
        char *hex = strtok(line, " \n"), *verdict = strtok(NULL, " \n"), *want = strtok(NULL, " \n");
        size_t len = strlen(hex) / 2;
        assert_true(ml_hex_parse(hex, strlen(hex), doc, len));
        bool ok = strcmp(verdict, "ok") == 0;
        for (unsigned piece = 0; piece < 10; piece++) {
            struct ml_writer w = ml_writer_of(out, sizeof out);
            if (read_all(doc, len, piece, false, &w) != ok) {
                fail_msg("%s: verdict is not %s in pieces of %u", hex, verdict, piece);
            }
            if (ok && strcmp(ml_write_end_str(&w), want) != 0) {
                fail_msg("%s: got %s, want %s", hex, (char *)out, want);
            }
            /* Skipping it comes to the same verdict, without an event. */
            w = ml_writer_of(out, sizeof out);
            assert_int_equal(read_all(doc, len, piece, true, &w), ok);
            assert_int_equal(w.len, 0);
        }
        count++;
    }
    fclose(f);
    assert_true(count > 500);
}

static enum ml_json_event next(struct ml_json *j, const char **p)
{
    size_t used;
    const char *volatile at = *p; /* gcc 12 at -O2 folds the length of a literal wrongly after `+=` (not with -O1 or clang) */
    enum ml_json_event ev = ml_json_next(j, (const uint8_t *)at, strlen(at), &used);
    *p += used;
    return ev;
}

static void C4_an_unknown_value_of_any_depth_is_skipped_in_bounded_memory(void **state)
{
    (void)state;
    char tok[8];
    struct ml_json j;
    size_t used;
    ml_json_init(&j, tok, sizeof tok);
    const char *head = "{\"x\":";
    assert_int_equal(next(&j, &head), ML_JSON_OBJECT_BEGIN);
    assert_int_equal(next(&j, &head), ML_JSON_KEY);
    ml_json_skip(&j);
    assert_int_equal(next(&j, &head), ML_JSON_NEED_MORE);
    for (int i = 0; i < 1000000; i++) {
        assert_int_equal(ml_json_next(&j, (const uint8_t *)(i % 2 ? "[" : "{\"a]}\\\"\":"), i % 2 ? 1 : 9, &used),
                         ML_JSON_NEED_MORE);
    }
    assert_int_equal(ml_json_next(&j, (const uint8_t *)"1", 1, &used), ML_JSON_NEED_MORE);
    for (int i = 999999; i >= 0; i--) {
        assert_int_equal(ml_json_next(&j, (const uint8_t *)(i % 2 ? "]" : "}"), 1, &used), ML_JSON_NEED_MORE);
    }
    const char *tail = ",\"y\":-5}";
    int64_t v;
    assert_int_equal(next(&j, &tail), ML_JSON_KEY);
    assert_true(ml_json_tok_is(&j, "y"));
    assert_int_equal(next(&j, &tail), ML_JSON_NUMBER);
    assert_true(ml_json_get_i64(&j, &v) && v == -5);
    assert_int_equal(next(&j, &tail), ML_JSON_OBJECT_END);
    assert_int_equal(next(&j, &tail), ML_JSON_END);
}

static void null_absent_and_empty_are_told_apart(void **state)
{
    (void)state;
    char tok[8];
    struct ml_json j;
    ml_json_init(&j, tok, sizeof tok);
    const char *p = "{\"a\":null,\"b\":[],\"c\":{}}";
    const enum ml_json_event want[] = {ML_JSON_OBJECT_BEGIN, ML_JSON_KEY,        ML_JSON_NULL, ML_JSON_KEY,
                                       ML_JSON_ARRAY_BEGIN,  ML_JSON_ARRAY_END,  ML_JSON_KEY,  ML_JSON_OBJECT_BEGIN,
                                       ML_JSON_OBJECT_END,   ML_JSON_OBJECT_END, ML_JSON_END};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(next(&j, &p), want[i]);
    }
}

static void skipping_inside_a_container_leaves_just_after_it(void **state)
{
    (void)state;
    char tok[8];
    struct ml_json j;
    ml_json_init(&j, tok, sizeof tok);
    const char *p = "[{\"a\":[1,{\"b\":2}],\"c\":3},[4,[5]],6]";
    assert_int_equal(next(&j, &p), ML_JSON_ARRAY_BEGIN);
    assert_int_equal(next(&j, &p), ML_JSON_OBJECT_BEGIN);
    ml_json_skip(&j);
    assert_int_equal(next(&j, &p), ML_JSON_ARRAY_BEGIN);
    assert_int_equal(next(&j, &p), ML_JSON_NUMBER);
    ml_json_skip(&j); /* the value is over: nothing to skip */
    assert_int_equal(next(&j, &p), ML_JSON_ARRAY_BEGIN);
    ml_json_skip(&j);
    assert_int_equal(next(&j, &p), ML_JSON_ARRAY_END);
    assert_int_equal(next(&j, &p), ML_JSON_NUMBER);
    assert_true(ml_json_tok_is(&j, "6"));
    assert_int_equal(next(&j, &p), ML_JSON_ARRAY_END);
    assert_int_equal(next(&j, &p), ML_JSON_END);
}

static void a_long_string_is_cut_between_code_points_and_its_true_length_told(void **state)
{
    (void)state;
    char tok[6];
    struct ml_json j;
    ml_json_init(&j, tok, sizeof tok);
    const char *p = "[\"abcd\xe2\x82\xac"
                    "e\",\"12345\",\"123456\"]";
    next(&j, &p);
    assert_int_equal(next(&j, &p), ML_JSON_STRING);
    assert_string_equal(tok, "abcd");
    assert_int_equal(j.tok_full_len, 8);
    assert_true(ml_json_is_cut(&j));
    assert_int_equal(next(&j, &p), ML_JSON_STRING);
    assert_true(ml_json_tok_is(&j, "12345"));
    assert_int_equal(next(&j, &p), ML_JSON_STRING);
    assert_string_equal(tok, "12345");
    assert_false(ml_json_tok_is(&j, "12345"));
}

static void a_value_below_64_levels_is_an_error_unless_skipped(void **state)
{
    (void)state;
    char tok[8];
    struct ml_json j;
    ml_json_init(&j, tok, sizeof tok);
    size_t used;
    for (int i = 0; i < ML_JSON_DEPTH; i++) {
        assert_int_equal(ml_json_next(&j, (const uint8_t *)"[", 1, &used), ML_JSON_ARRAY_BEGIN);
    }
    assert_int_equal(ml_json_next(&j, (const uint8_t *)"[", 1, &used), ML_JSON_ERROR);
}

static void C4_numbers_are_read_as_64_bit_integers_without_loss(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool i_ok;
        int64_t i;
        bool u_ok;
        uint64_t u;
        bool m_ok;
        int64_t m;
    } cases[] = {
        {"0", true, 0, true, 0, true, 0},
        {"-0", true, 0, false, 0, true, 0},
        {"9007199254740993", true, 9007199254740993, true, 9007199254740993, true, 9007199254740993000},
        {"9223372036854775807", true, INT64_MAX, true, INT64_MAX, false, 0},
        {"9223372036854775808", false, 0, true, UINT64_C(9223372036854775808), false, 0},
        {"-9223372036854775808", true, INT64_MIN, false, 0, false, 0},
        {"-9223372036854775809", false, 0, false, 0, false, 0},
        {"18446744073709551615", false, 0, true, UINT64_MAX, false, 0},
        {"18446744073709551616", false, 0, false, 0, false, 0},
        {"1.5", false, 0, false, 0, true, 1500},
        {"-0.0019", false, 0, false, 0, true, -1},
        {"0.05", false, 0, false, 0, true, 50},
        {"1e3", false, 0, false, 0, true, 1000000},
        {"25e-4", false, 0, false, 0, true, 2},
        {"1e-400", false, 0, false, 0, true, 0},
        {"1e400", false, 0, false, 0, false, 0},
        {"0e400", false, 0, false, 0, true, 0},
        {"0.33333333333333333333333333", false, 0, false, 0, true, 333},
        {"0.000000000000000000000000015e26", false, 0, false, 0, true, 1500},
        {"1.00000000000000000000000000e-2", false, 0, false, 0, true, 10},
        {"99999999999999999999999e-20", false, 0, false, 0, true, 999999},
    };
    char tok[64];
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct ml_json j;
        size_t used;
        int64_t i = 0, m = 0;
        uint64_t u = 0;
        ml_json_init(&j, tok, sizeof tok);
        ml_json_next(&j, (const uint8_t *)cases[k].text, strlen(cases[k].text), &used);
        assert_int_equal(ml_json_finish(&j), ML_JSON_NUMBER);
        assert_int_equal(ml_json_get_i64(&j, &i), cases[k].i_ok);
        assert_int_equal(ml_json_get_u64(&j, &u), cases[k].u_ok);
        if (ml_json_get_milli(&j, &m) != cases[k].m_ok || (cases[k].m_ok && m != cases[k].m)) {
            fail_msg("%s: %lld thousandths", cases[k].text, (long long)m);
        }
        assert_true((!cases[k].i_ok || i == cases[k].i) && (!cases[k].u_ok || u == cases[k].u));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_document_reads_as_encoding_json_reads_it_in_any_pieces),
        cmocka_unit_test(C4_an_unknown_value_of_any_depth_is_skipped_in_bounded_memory),
        cmocka_unit_test(null_absent_and_empty_are_told_apart),
        cmocka_unit_test(skipping_inside_a_container_leaves_just_after_it),
        cmocka_unit_test(a_long_string_is_cut_between_code_points_and_its_true_length_told),
        cmocka_unit_test(a_value_below_64_levels_is_an_error_unless_skipped),
        cmocka_unit_test(C4_numbers_are_read_as_64_bit_integers_without_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
