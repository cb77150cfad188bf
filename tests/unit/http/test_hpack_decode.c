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

/*
 * RFC 7541, Appendix C.2 to C.6. Our table has size 0: a block is decoded when it refers to the static table only, and refused
 * when it refers to an entry that an earlier block of its series would have added (indexes 62 and up). Requests decode too, but
 * are no list of fields that a response may have: their pseudo-header fields make it malformed.
 */
static void the_examples_of_rfc_7541_decode_or_are_refused_for_the_dynamic_table(void **state)
{
    (void)state;
    enum { FIELDS, MALFORMED, REFUSED };
    static const struct {
        const char *name, *hex;
        int want;
        uint16_t status;
    } cases[] = {
        {"C.2.1", "400a637573746f6d2d6b65790d637573746f6d2d686561646572", FIELDS, 0},
        {"C.2.2", "040c2f73616d706c652f70617468", MALFORMED, 0},
        {"C.2.3", "100870617373776f726406736563726574", FIELDS, 0},
        {"C.2.4", "82", MALFORMED, 0},
        {"C.3.1", "828684410f7777772e6578616d706c652e636f6d", MALFORMED, 0},
        {"C.3.2", "828684be58086e6f2d6361636865", REFUSED, 0},
        {"C.3.3", "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", REFUSED, 0},
        {"C.4.1", "828684418cf1e3c2e5f23a6ba0ab90f4ff", MALFORMED, 0},
        {"C.4.2", "828684be5886a8eb10649cbf", REFUSED, 0},
        {"C.4.3", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", REFUSED, 0},
        {"C.5.1",
         "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f"
         "7777772e6578616d706c652e636f6d",
         FIELDS, 302},
        {"C.5.2", "4803333037c1c0bf", REFUSED, 0},
        {"C.5.3",
         "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a"
         "584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
         REFUSED, 0},
        {"C.6.1",
         "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3", FIELDS,
         302},
        {"C.6.2", "4883640effc1c0bf", REFUSED, 0},
        {"C.6.3",
         "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36"
         "72c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
         REFUSED, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t block[160];
        size_t len = strlen(cases[i].hex) / 2;
        assert_true(len <= sizeof block && ml_hex_parse(cases[i].hex, 2 * len, block, len));
        for (size_t piece = 1; piece <= len; piece++) {
            struct ml_hpack h;
            bool ok = decode(&h, block, len, piece);
            if (ok != (cases[i].want != REFUSED) || (ok && h.is_malformed != (cases[i].want == MALFORMED))) {
                fail_msg("%s in pieces of %zu: decoded %d, malformed %d", cases[i].name, piece, ok, h.is_malformed);
            }
            if (cases[i].status != 0) {
                assert_int_equal(h.status, cases[i].status);
                assert_string_equal(h.date, "Mon, 21 Oct 2013 20:13:21 GMT");
            }
        }
    }
}

/* The parts of the refused blocks that stand for themselves, cut out by hand: their strings are worth checking too. */
static void strings_of_the_refused_examples_decode_by_themselves(void **state)
{
    (void)state;
    static const struct {
        const char *name, *hex;
        uint16_t status;
        const char *date;
    } cases[] = {
        {"C.5.2", "4803333037", 307, ""},
        {"C.5.3", "88611d4d6f6e2c203231204f637420323031332032303a31333a323220474d545a04677a6970", 200,
         "Mon, 21 Oct 2013 20:13:22 GMT"},
        {"C.6.2", "4883640eff", 307, ""},
        {"C.6.3",
         "886196d07abe941054d444a8200595040b8166e084a62d1bff5a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36"
         "72c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
         200, "Mon, 21 Oct 2013 20:13:22 GMT"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t block[160];
        size_t len = strlen(cases[i].hex) / 2;
        struct ml_hpack h;
        assert_true(len <= sizeof block && ml_hex_parse(cases[i].hex, 2 * len, block, len));
        assert_true(decode(&h, block, len, 1));
        assert_false(h.is_malformed);
        assert_int_equal(h.status, cases[i].status);
        assert_string_equal(h.date, cases[i].date);
    }
}

static void integers_of_rfc_7541_appendix_c1_encode(void **state)
{
    (void)state;
    uint8_t out[6];
    assert_int_equal(ml_hpack_put_int(out, 0, 5, 10), 1); /* C.1.1 */
    assert_int_equal(out[0], 10);
    assert_int_equal(ml_hpack_put_int(out, 0, 5, 1337), 3); /* C.1.2 */
    assert_memory_equal(out, "\x1f\x9a\x0a", 3);
    assert_int_equal(ml_hpack_put_int(out, 0, 8, 42), 1); /* C.1.3 */
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
        cmocka_unit_test(the_examples_of_rfc_7541_decode_or_are_refused_for_the_dynamic_table),
        cmocka_unit_test(strings_of_the_refused_examples_decode_by_themselves),
        cmocka_unit_test(integers_of_rfc_7541_appendix_c1_encode),
        cmocka_unit_test(fields_out_of_order_or_forbidden_make_the_list_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
