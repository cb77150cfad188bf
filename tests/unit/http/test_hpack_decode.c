/*
 * The HPACK decoder against golang.org/x/net/http2/hpack, nghttp2 and RFC 7541. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/bytes.h"
#include "http/hpack_decode.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

static bool decode(struct ml_hpack *h, const uint8_t *p, size_t len, size_t piece)
{
    ml_hpack_begin(h);
    for (size_t at = 0; at < len; at += piece) {
        if (!ml_hpack_feed(h, p + at, len - at < piece ? len - at : piece)) {
            assert_false(ml_hpack_finish(h));
            return false;
        }
    }
    return ml_hpack_finish(h);
}

static void C18_blocks_decode_as_the_go_decoder_decodes_them(void **state)
{
    (void)state;
    char line[4096];
    uint8_t block[1024];
    FILE *f = fopen(ML_VECTORS_DIR "/http_hpack.txt", "r");
    assert_non_null(f);
    int count = 0;
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#' || line[0] == ' ') { /* a comment, or the block of no bytes */
            continue;
        }
        char *hex = strtok(line, " \n"), *want = strtok(NULL, " \n"), *retry = strtok(NULL, " \n");
        size_t len = strlen(hex) / 2;
        assert_true(ml_hex_parse(hex, 2 * len, block, len));
        for (size_t piece = 1; piece < 5; piece++) {
            struct ml_hpack h;
            bool ok = decode(&h, block, len, piece == 4 ? 1024 : piece);
            if (ok != (strcmp(want, "bad") != 0)) {
                fail_msg("%s: %d, want %s", hex, ok, want);
            }
            if (!ok || h.is_malformed) {
                continue;
            }
            assert_int_equal(h.status, atoi(want));
            for (char *p = h.retry_after; *p; p++) {
                *p = *p == ' ' ? '_' : *p;
            }
            assert_string_equal(h.retry_after[0] ? h.retry_after : "-", retry);
        }
        count++;
    }
    fclose(f);
    assert_true(count > 1500);
}

static void C18_blocks_of_nghttp2_decode_with_huffman_and_a_size_update(void **state)
{
    (void)state;
    for (int status = 200; status < 600; status++) {
        nghttp2_hd_deflater *d;
        assert_int_equal(nghttp2_hd_deflate_new(&d, 4096), 0);
        assert_int_equal(nghttp2_hd_deflate_change_table_size(d, 0), 0);
        char digits[16], after[16];
        snprintf(digits, sizeof digits, "%d", status);
        snprintf(after, sizeof after, "%d", status * 7);
        nghttp2_nv nv[] = {
            {(uint8_t *)":status", (uint8_t *)digits, 7, 3, NGHTTP2_NV_FLAG_NONE},
            {(uint8_t *)"content-type", (uint8_t *)"text/plain; charset=utf-8", 12, 25, NGHTTP2_NV_FLAG_NONE},
            {(uint8_t *)"x-frame-options", (uint8_t *)"DENY", 15, 4, NGHTTP2_NV_FLAG_NO_INDEX},
            {(uint8_t *)"retry-after", (uint8_t *)after, 11, strlen(after), NGHTTP2_NV_FLAG_NONE},
            {(uint8_t *)"date", (uint8_t *)"Mon, 23 Nov 2026 14:00:00 GMT", 4, 29, NGHTTP2_NV_FLAG_NONE},
        };
        uint8_t block[512];
        ssize_t n = nghttp2_hd_deflate_hd(d, block, sizeof block, nv, sizeof nv / sizeof *nv);
        assert_true(n > 0 && block[0] == 0x20);
        struct ml_hpack h;
        assert_true(decode(&h, block, (size_t)n, 1));
        assert_false(h.is_malformed);
        assert_int_equal(h.status, status);
        assert_string_equal(h.retry_after, after);
        assert_string_equal(h.date, "Mon, 23 Nov 2026 14:00:00 GMT");
        nghttp2_hd_deflate_del(d);
    }
}

/* RFC 7541, C.6.1 is the first response of a sequence with Huffman coding: it refers to no table entry of its own. */
static void the_first_responses_of_rfc_7541_decode(void **state)
{
    (void)state;
    static const char *const hex[] = {
        /* C.5.1, plain */
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e"
        "65"
        "78616d706c652e636f6d",
        /* C.6.1, Huffman */
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"};
    for (size_t i = 0; i < 2; i++) {
        uint8_t block[128];
        size_t len = strlen(hex[i]) / 2;
        assert_true(ml_hex_parse(hex[i], 2 * len, block, len));
        struct ml_hpack h;
        assert_true(decode(&h, block, len, 1));
        assert_int_equal(h.status, 302);
        assert_string_equal(h.date, "Mon, 21 Oct 2013 20:13:21 GMT");
    }
    /* C.5.2 and C.6.2 refer to the dynamic table (be, c0, bf): with a table of size 0 that is an error. */
    static const uint8_t second[] = {0x48, 0x03, 0x33, 0x30, 0x37, 0xc1, 0xc0, 0xbf};
    struct ml_hpack h;
    assert_false(decode(&h, second, sizeof second, 1));
}

static void integers_of_rfc_7541_appendix_c1_encode(void **state)
{
    (void)state;
    uint8_t out[6];
    assert_int_equal(ml_hpack_put_int(out, 0, 5, 10), 1);
    assert_int_equal(out[0], 10);
    assert_int_equal(ml_hpack_put_int(out, 0, 5, 1337), 3);
    assert_memory_equal(out, "\x1f\x9a\x0a", 3);
    assert_int_equal(ml_hpack_put_int(out, 0, 8, 42), 1);
    assert_int_equal(out[0], 42);
}

static void fields_out_of_order_or_forbidden_make_the_list_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool malformed;
    } cases[] = {
        {"88", false},
        {"8888", true},
        {"61016188", true},
        {"8882", true},
        {"0803323030", false},
        {"0803323078", true},
        {"080432303030", true},
        {"00034162630178", true},
        {"88000361626301", false},
        {"8800036162630100", true},
        {"8800036162630178", false},
        {"8800000178", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t block[32];
        size_t len = strlen(cases[i].hex) / 2;
        struct ml_hpack h;
        assert_true(ml_hex_parse(cases[i].hex, 2 * len, block, len));
        if (decode(&h, block, len, 1)) {
            assert_int_equal(h.is_malformed, cases[i].malformed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(C18_blocks_decode_as_the_go_decoder_decodes_them),
        cmocka_unit_test(C18_blocks_of_nghttp2_decode_with_huffman_and_a_size_update),
        cmocka_unit_test(the_first_responses_of_rfc_7541_decode),
        cmocka_unit_test(integers_of_rfc_7541_appendix_c1_encode),
        cmocka_unit_test(fields_out_of_order_or_forbidden_make_the_list_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
