/* WireGuard messages as bytes. SPDX-License-Identifier: MIT */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "wg/wg_msg.h"

static void D2_types_1_to_3_are_taken_only_at_their_exact_length_and_with_zero_reserved_bytes(void **state)
{
    (void)state;
    static const size_t want[] = {0, 148, 92, 64};
    uint8_t buf[2048] = {0};
    for (uint8_t type = 0; type < 6; type++) {
        buf[0] = type;
        for (size_t len = 0; len < 200; len++) {
            bool ok = type == 4 ? len >= 32 : type >= 1 && type <= 3 && len == want[type];
            assert_int_equal(ml_wg_msg_classify(buf, len), ok ? type : ML_WG_MSG_NONE);
            for (int i = 1; i < 4; i++) {
                buf[i] = 1;
                assert_int_equal(ml_wg_msg_classify(buf, len), ML_WG_MSG_NONE);
                buf[i] = 0;
            }
        }
    }
    buf[0] = 4;
    assert_int_equal(ml_wg_msg_classify(buf, 1312), ML_WG_MSG_DATA);
}

static void the_data_header_is_little_endian(void **state)
{
    (void)state;
    uint8_t h[16];
    ml_wg_msg_write_data_header(h, 0x11223344, 0x0102030405060708);
    assert_memory_equal(h, "\x04\0\0\0\x44\x33\x22\x11\x08\x07\x06\x05\x04\x03\x02\x01", 16);
}

static void D12_the_inner_length_field_removes_the_padding(void **state)
{
    (void)state;
    uint8_t b[1280] = {0x45, 0, 0, 60};
    assert_int_equal(ml_wg_inner_len(b, 64), 60);
    assert_int_equal(ml_wg_inner_len(b, 60), 60);
    assert_int_equal(ml_wg_inner_len(b, 59), 0);
    b[3] = 19;
    assert_int_equal(ml_wg_inner_len(b, 64), 0);
    b[0] = 0x60;
    b[4] = 0;
    b[5] = 8;
    assert_int_equal(ml_wg_inner_len(b, 64), 48);
    assert_int_equal(ml_wg_inner_len(b, 47), 0);
    b[4] = 0xff;
    b[5] = 0xff;
    assert_int_equal(ml_wg_inner_len(b, 1280), 0);
    b[0] = 0x50;
    assert_int_equal(ml_wg_inner_len(b, 64), 0);
    assert_int_equal(ml_wg_inner_len(b, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D2_types_1_to_3_are_taken_only_at_their_exact_length_and_with_zero_reserved_bytes),
        cmocka_unit_test(the_data_header_is_little_endian),
        cmocka_unit_test(D12_the_inner_length_field_removes_the_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
