/*
 * HTTP/2 frame headers against RFC 9113, 4.1 and section 6. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "http/h2_frame.h"

/* 4.1: 24 bits of length, type, flags, a reserved bit that is ignored, 31 bits of stream. */
static void a_header_parses_and_the_reserved_bit_is_ignored(void **state)
{
    (void)state;
    static const uint8_t raw[ML_H2_FRAME_HEADER] = {0x01, 0x02, 0x03, 0x09, 0x25, 0xff, 0xfe, 0xfd, 0xfc};
    struct ml_h2_frame f;
    ml_h2_frame_parse(&f, raw);
    assert_int_equal(f.len, 0x010203);
    assert_int_equal(f.type, ML_H2_CONTINUATION);
    assert_int_equal(f.flags, 0x25);
    assert_int_equal(f.stream, 0x7ffefdfc);
}

static void a_header_is_written_as_section_4_1_draws_it(void **state)
{
    (void)state;
    uint8_t out[ML_H2_FRAME_HEADER];
    struct ml_writer w = ml_writer_of(out, sizeof out);
    const struct ml_h2_frame f = {.len = 0x3fff, .type = ML_H2_WINDOW_UPDATE, .flags = 0x01, .stream = 0x01020304};
    ml_h2_frame_write(&w, &f);
    assert_false(w.bad);
    assert_int_equal(w.len, sizeof out);
    assert_memory_equal(out, "\x00\x3f\xff\x08\x01\x01\x02\x03\x04", sizeof out);
    ml_h2_frame_write(&w, &f);
    assert_true(w.bad);
}

/* The numbers of the RFC, once more: 6.1 to 6.10, 6.5.2, 7. */
static void constants_are_those_of_the_rfc(void **state)
{
    (void)state;
    assert_int_equal(ML_H2_DATA, 0x00);
    assert_int_equal(ML_H2_HEADERS, 0x01);
    assert_int_equal(ML_H2_PRIORITY, 0x02);
    assert_int_equal(ML_H2_RST_STREAM, 0x03);
    assert_int_equal(ML_H2_SETTINGS, 0x04);
    assert_int_equal(ML_H2_PUSH_PROMISE, 0x05);
    assert_int_equal(ML_H2_PING, 0x06);
    assert_int_equal(ML_H2_GOAWAY, 0x07);
    assert_int_equal(ML_H2_WINDOW_UPDATE, 0x08);
    assert_int_equal(ML_H2_CONTINUATION, 0x09);
    assert_int_equal(ML_H2_SET_HEADER_TABLE_SIZE, 0x01);
    assert_int_equal(ML_H2_SET_ENABLE_PUSH, 0x02);
    assert_int_equal(ML_H2_SET_MAX_CONCURRENT_STREAMS, 0x03);
    assert_int_equal(ML_H2_SET_INITIAL_WINDOW_SIZE, 0x04);
    assert_int_equal(ML_H2_SET_MAX_FRAME_SIZE, 0x05);
    assert_int_equal(ML_H2_FRAME_SIZE_ERROR, 0x06);
    assert_int_equal(ML_H2_REFUSED_STREAM, 0x07);
    assert_int_equal(ML_H2_CANCEL, 0x08);
    assert_int_equal(ML_H2_COMPRESSION_ERROR, 0x09);
    assert_int_equal(ML_H2_ENHANCE_YOUR_CALM, 0x0b);
    assert_int_equal(strlen(ML_H2_PREFACE), ML_H2_PREFACE_LEN);
}

static void lengths_and_streams_that_a_type_cannot_have_are_errors(void **state)
{
    (void)state;
    enum { OK = ML_H2_NO_ERROR, PROTOCOL = ML_H2_PROTOCOL_ERROR, SIZE = ML_H2_FRAME_SIZE_ERROR };
    static const struct {
        uint8_t type, flags;
        uint32_t len, stream;
        int want;
    } cases[] = {
        /* 4.2: nothing above SETTINGS_MAX_FRAME_SIZE, whatever the type. */
        {ML_H2_DATA, 0, 16384, 1, OK},
        {ML_H2_DATA, 0, 16385, 1, SIZE},
        {0xbb, 0, 16385, 0, SIZE},
        {ML_H2_HEADERS, 0, 0xffffff, 1, SIZE},
        /* 6.1, 6.2, 6.6, 6.10: on a stream. */
        {ML_H2_DATA, 0, 0, 1, OK},
        {ML_H2_DATA, 0, 0, 0, PROTOCOL},
        {ML_H2_HEADERS, 0, 1, 0, PROTOCOL},
        {ML_H2_PUSH_PROMISE, 0, 4, 0, PROTOCOL},
        {ML_H2_CONTINUATION, 0, 1, 0, PROTOCOL},
        {ML_H2_CONTINUATION, 0, 1, 3, OK},
        /* 6.3: five bytes, on a stream. */
        {ML_H2_PRIORITY, 0, 5, 1, OK},
        {ML_H2_PRIORITY, 0, 4, 1, SIZE},
        {ML_H2_PRIORITY, 0, 6, 1, SIZE},
        {ML_H2_PRIORITY, 0, 5, 0, PROTOCOL},
        /* 6.4: four bytes, on a stream. */
        {ML_H2_RST_STREAM, 0, 4, 1, OK},
        {ML_H2_RST_STREAM, 0, 3, 1, SIZE},
        {ML_H2_RST_STREAM, 0, 5, 1, SIZE},
        {ML_H2_RST_STREAM, 0, 4, 0, PROTOCOL},
        /* 6.5: six bytes each, none with ACK, on no stream. */
        {ML_H2_SETTINGS, 0, 0, 0, OK},
        {ML_H2_SETTINGS, 0, 18, 0, OK},
        {ML_H2_SETTINGS, 0, 17, 0, SIZE},
        {ML_H2_SETTINGS, ML_H2_FLAG_ACK, 0, 0, OK},
        {ML_H2_SETTINGS, ML_H2_FLAG_ACK, 6, 0, SIZE},
        {ML_H2_SETTINGS, 0, 0, 1, PROTOCOL},
        /* 6.7: eight bytes, on no stream. */
        {ML_H2_PING, 0, 8, 0, OK},
        {ML_H2_PING, 0, 7, 0, SIZE},
        {ML_H2_PING, 0, 9, 0, SIZE},
        {ML_H2_PING, 0, 8, 1, PROTOCOL},
        /* 6.8: at least eight bytes, on no stream. */
        {ML_H2_GOAWAY, 0, 8, 0, OK},
        {ML_H2_GOAWAY, 0, 100, 0, OK},
        {ML_H2_GOAWAY, 0, 7, 0, SIZE},
        {ML_H2_GOAWAY, 0, 8, 1, PROTOCOL},
        /* 6.9: four bytes, on a stream or none. */
        {ML_H2_WINDOW_UPDATE, 0, 4, 0, OK},
        {ML_H2_WINDOW_UPDATE, 0, 4, 1, OK},
        {ML_H2_WINDOW_UPDATE, 0, 3, 0, SIZE},
        {ML_H2_WINDOW_UPDATE, 0, 5, 1, SIZE},
        /* 4.1: types that we do not know are ignored. */
        {0x0a, 0xff, 3, 0, OK},
        {0xbb, 0, 3, 7, OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct ml_h2_frame f = {
            .len = cases[i].len, .stream = cases[i].stream, .type = cases[i].type, .flags = cases[i].flags};
        if ((int)ml_h2_frame_check(&f) != cases[i].want) {
            fail_msg("type %u, length %u, stream %u: want %d", f.type, (unsigned)f.len, (unsigned)f.stream, cases[i].want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_parses_and_the_reserved_bit_is_ignored),
        cmocka_unit_test(a_header_is_written_as_section_4_1_draws_it),
        cmocka_unit_test(constants_are_those_of_the_rfc),
        cmocka_unit_test(lengths_and_streams_that_a_type_cannot_have_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
