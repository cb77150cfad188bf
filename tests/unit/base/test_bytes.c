/*
 * Unit tests of src/base/bytes.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

static void a_reader_never_passes_its_end_and_stays_bad(void **state)
{
    (void)state;
    static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7};
    struct ml_reader r = ml_reader_of(data, sizeof data);
    assert_int_equal(ml_read_u8(&r), 1);
    assert_int_equal(ml_read_be16(&r), 0x0203);
    assert_int_equal(ml_read_le32(&r), 0x07060504);
    assert_false(r.bad);
    assert_int_equal(ml_reader_left(&r), 0);
    assert_non_null(ml_read_bytes(&r, 0));
    assert_int_equal(ml_read_u8(&r), 0);
    assert_true(r.bad);
    uint8_t copy[2] = {9, 9};
    ml_read_copy(&r, copy, sizeof copy);
    assert_int_equal(copy[0] | copy[1], 0);
    struct ml_reader huge = ml_reader_of(data, sizeof data);
    assert_null(ml_read_bytes(&huge, SIZE_MAX));
    assert_int_equal(ml_reader_left(&huge), 0);
}

static void a_writer_never_passes_its_end_and_keeps_what_was_whole(void **state)
{
    (void)state;
    uint8_t buf[9] = {0};
    buf[8] = 0xaa;
    struct ml_writer w = ml_writer_of(buf, 8);
    ml_write_be32(&w, 0x01020304);
    ml_write_be64(&w, 0);
    assert_true(w.bad);
    assert_int_equal(w.len, 4);
    ml_write_u8(&w, 1);
    assert_int_equal(w.len, 4);
    assert_int_equal(buf[8], 0xaa);
    assert_memory_equal(buf, "\1\2\3\4", 4);
}

static void text_that_does_not_fit_is_cut_and_still_terminated(void **state)
{
    (void)state;
    uint8_t buf[8];
    struct ml_writer w = ml_writer_of(buf, sizeof buf);
    ml_write_str(&w, "relay ");
    ml_write_str(&w, "connected");
    assert_string_equal(ml_write_end_str(&w), "relay c");
    assert_true(w.bad);
    w = ml_writer_of(buf, sizeof buf);
    ml_write_str(&w, "exactly8");
    assert_string_equal(ml_write_end_str(&w), "exactly");
    w = ml_writer_of(buf, 0);
    assert_string_equal(ml_write_end_str(&w), "");
    w = ml_writer_of(buf, sizeof buf);
    ml_write_dec(&w, 0);
    ml_write_dec(&w, 4096);
    assert_string_equal(ml_write_end_str(&w), "04096");
}

static void integers_round_trip_in_both_orders(void **state)
{
    (void)state;
    uint8_t buf[64];
    struct ml_writer w = ml_writer_of(buf, sizeof buf);
    ml_write_be16(&w, 0xfedc);
    ml_write_be32(&w, 0xfedcba98);
    ml_write_be64(&w, 0xfedcba9876543210);
    ml_write_le32(&w, 0xfedcba98);
    ml_write_le64(&w, 0xfedcba9876543210);
    ml_write_zeros(&w, 3);
    struct ml_reader r = ml_reader_of(buf, w.len);
    assert_int_equal(ml_read_be16(&r), 0xfedc);
    assert_int_equal(ml_read_be32(&r), 0xfedcba98);
    assert_true(ml_read_be64(&r) == 0xfedcba9876543210);
    assert_int_equal(ml_read_le32(&r), 0xfedcba98);
    assert_true(ml_read_le64(&r) == 0xfedcba9876543210);
    assert_int_equal(ml_reader_left(&r), 3);
    assert_false(r.bad);
}

static void hex_accepts_both_cases_and_refuses_the_rest(void **state)
{
    (void)state;
    uint8_t b[2];
    assert_true(ml_hex_parse("aF09", 4, b, 2));
    assert_int_equal(ml_get_be16(b), 0xaf09);
    assert_false(ml_hex_parse("aF0", 3, b, 2));
    assert_false(ml_hex_parse("aF0g", 4, b, 2));
    assert_false(ml_hex_parse("aF0911", 6, b, 2));
    uint8_t text[8];
    struct ml_writer w = ml_writer_of(text, sizeof text);
    ml_write_hex(&w, b, 0);
    ml_write_hex(&w, (const uint8_t *)"\xab\x01", 2);
    assert_string_equal(ml_write_end_str(&w), "ab01");
}

/* RFC 4648 section 10. */
static void base64_follows_the_rfc_vectors(void **state)
{
    (void)state;
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t i = 0; i < 7; i++) {
        uint8_t buf[16];
        struct ml_writer w = ml_writer_of(buf, sizeof buf);
        ml_write_base64(&w, (const uint8_t *)plain[i], strlen(plain[i]));
        assert_string_equal(ml_write_end_str(&w), coded[i]);
        assert_int_equal(ml_base64_parse(coded[i], strlen(coded[i]), buf, strlen(plain[i])), strlen(plain[i]));
        assert_memory_equal(buf, plain[i], strlen(plain[i]));
    }
}

static void malformed_base64_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zh==", "Zm9=", "Zm 9", "Zm-v", "=g=="};
    uint8_t buf[16];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(ml_base64_parse(bad[i], strlen(bad[i]), buf, sizeof buf) == SIZE_MAX);
    }
    assert_true(ml_base64_parse("Zm9v", 4, buf, 2) == SIZE_MAX);
}

static void decimals_stop_at_64_bits(void **state)
{
    (void)state;
    uint64_t v;
    assert_true(ml_dec_parse("18446744073709551615", 20, &v));
    assert_true(v == UINT64_MAX);
    assert_false(ml_dec_parse("18446744073709551616", 20, &v));
    assert_false(ml_dec_parse("", 0, &v));
    assert_false(ml_dec_parse("-1", 2, &v));
    assert_false(ml_dec_parse("000000000000000000001", 21, &v));
}

static void a_cut_copy_ends_between_characters(void **state)
{
    (void)state;
    char dst[6];
    assert_true(ml_str_copy(dst, sizeof dst, "abcde", 5));
    assert_string_equal(dst, "abcde");
    assert_false(ml_str_copy(dst, sizeof dst, "abcd\xc3\xa4", 6));
    assert_string_equal(dst, "abcd");
    assert_true(ml_str_copy(dst, sizeof dst, NULL, 0));
    assert_string_equal(dst, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_never_passes_its_end_and_stays_bad),
        cmocka_unit_test(a_writer_never_passes_its_end_and_keeps_what_was_whole),
        cmocka_unit_test(text_that_does_not_fit_is_cut_and_still_terminated),
        cmocka_unit_test(integers_round_trip_in_both_orders),
        cmocka_unit_test(hex_accepts_both_cases_and_refuses_the_rest),
        cmocka_unit_test(base64_follows_the_rfc_vectors),
        cmocka_unit_test(malformed_base64_is_refused),
        cmocka_unit_test(decimals_stop_at_64_bits),
        cmocka_unit_test(a_cut_copy_ends_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
