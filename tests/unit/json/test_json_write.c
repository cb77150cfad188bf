/*
 * The JSON writer: strings as Go writes them, structure as it belongs. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "json/json_write.h"

#include <stdio.h>

static void strings_are_escaped_as_encoding_json_escapes_them(void **state)
{
    (void)state;
    char line[4096];
    uint8_t text[512], want[1024], out[1024];
    FILE *f = fopen(ML_VECTORS_DIR "/json_strings.txt", "r");
    assert_non_null(f);
    int count = 0;
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#') {
            continue;
        }
        char *a = strtok(line, " \n"), *b = strtok(NULL, " \n");
        size_t n = strlen(a) / 2, m = strlen(b) / 2;
        assert_true(ml_hex_parse(a, 2 * n, text, n) && ml_hex_parse(b, 2 * m, want, m));
        struct ml_writer w = ml_writer_of(out, sizeof out);
        struct ml_json_writer j = ml_json_writer_of(&w);
        ml_json_write_strn(&j, (const char *)text, n);
        assert_int_equal(w.len, m);
        assert_memory_equal(out, want, m);
        count++;
    }
    fclose(f);
    assert_true(count >= 300);
}

static void commas_and_colons_come_where_they_belong(void **state)
{
    (void)state;
    uint8_t out[512];
    struct ml_writer w = ml_writer_of(out, sizeof out);
    struct ml_json_writer j = ml_json_writer_of(&w);
    ml_json_write_object_begin(&j);
    ml_json_field_u64(&j, "Version", 130);
    ml_json_field_str(&j, "Name", "a\"b");
    ml_json_write_key(&j, "List");
    ml_json_write_array_begin(&j);
    ml_json_write_i64(&j, INT64_MIN);
    ml_json_write_milli(&j, -1050);
    ml_json_write_milli(&j, 2000);
    ml_json_write_null(&j);
    ml_json_write_object_begin(&j);
    ml_json_write_object_end(&j);
    ml_json_write_array_begin(&j);
    ml_json_write_array_end(&j);
    ml_json_write_array_end(&j);
    ml_json_field_bool(&j, "Stream", true);
    ml_json_field_i64(&j, "N", -3);
    ml_json_write_key(&j, "Raw");
    ml_json_write_raw(&j, "[1]", 3);
    ml_json_write_key(&j, "Sig");
    ml_json_write_base64(&j, (const uint8_t *)"ab", 2);
    ml_json_write_object_end(&j);
    assert_false(w.bad);
    assert_string_equal(
        ml_write_end_str(&w),
        "{\"Version\":130,\"Name\":\"a\\\"b\",\"List\":[-9223372036854775808,-1.05,2,null,{},[]],\"Stream\":true,"
        "\"N\":-3,\"Raw\":[1],\"Sig\":\"YWI=\"}");
}

static void too_little_room_sets_bad_at_every_length(void **state)
{
    (void)state;
    uint8_t out[32];
    for (size_t cap = 0; cap < 15; cap++) {
        struct ml_writer w = ml_writer_of(out, cap);
        struct ml_json_writer j = ml_json_writer_of(&w);
        ml_json_write_object_begin(&j);
        ml_json_field_str(&j, "k", "v\n12");
        ml_json_write_object_end(&j);
        assert_int_equal(w.bad, cap < 13);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped_as_encoding_json_escapes_them),
        cmocka_unit_test(commas_and_colons_come_where_they_belong),
        cmocka_unit_test(too_little_room_sets_bad_at_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
