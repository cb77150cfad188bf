/*
 * What a relay's certificate has to show, kept behind the relay's name.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "model/derpmap.h"

#define HEX "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"

static struct ml_derp_node node;
static char text[ML_DERP_CERT_CAP];

static void host_of(size_t len)
{
    memset(&node, 0, sizeof node);
    memset(node.host, 'h', len);
}

static const char *cert(void)
{
    struct ml_writer w = ml_writer_of((uint8_t *)text, sizeof text);
    ml_derp_write_cert(&w, &node);
    ml_write_end_str(&w);
    return text;
}

static void the_longest_host_has_room_for_a_pin(void **state)
{
    (void)state;
    host_of(ML_DERP_HOST_CAP - 1);
    assert_string_equal(cert(), "");
    assert_true(ml_derp_set_cert(&node, "sha256-raw:" HEX));
    assert_true(node.has_pin);
    assert_int_equal(strlen(node.host), ML_DERP_HOST_CAP - 1);
    assert_string_equal(cert(), "sha256-raw:" HEX);
    assert_true(ml_derp_set_cert(&node, "relay.example"));
    assert_false(node.has_pin);
    assert_string_equal(cert(), "relay.example");
    assert_true(ml_derp_set_cert(&node, ""));
    assert_string_equal(cert(), "");
}

static void a_name_that_has_no_room_is_refused(void **state)
{
    (void)state;
    static const char name[] = "this-name-has-thirty-two-letters";
    host_of(ML_DERP_HOST_CAP - 1);
    assert_false(ml_derp_set_cert(&node, name));
    assert_string_equal(cert(), "");
    assert_true(ml_derp_set_cert(&node, name + 1));
    assert_string_equal(cert(), name + 1);
    host_of(30);
    memset(text, 'n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_true(ml_derp_set_cert(&node, text));
    assert_int_equal(strlen(ml_derp_cert(&node)), sizeof text - 1);
}

static void a_pin_that_cannot_be_read_is_a_pin_all_the_same(void **state)
{
    (void)state;
    host_of(10);
    assert_true(ml_derp_set_cert(&node, "sha256-raw:00"));
    assert_true(node.has_pin);
    assert_string_equal(cert(), "sha256-raw:0000000000000000000000000000000000000000000000000000000000000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_host_has_room_for_a_pin),
        cmocka_unit_test(a_name_that_has_no_room_is_refused),
        cmocka_unit_test(a_pin_that_cannot_be_read_is_a_pin_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
