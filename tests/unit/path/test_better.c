/*
 * ml_path_better against the official betterAddr. SPDX-License-Identifier: MIT
 */
#include "disco/vectors.h"
#include "path/better.h"

static struct ml_path_quality quality(char **word)
{
    struct ml_path_quality q = {.addr = vec_addr(word[0])};
    q.is_relay = strcmp(word[1], "-") != 0;
    q.vni = q.is_relay ? (uint32_t)strtoul(word[1], NULL, 10) : 0;
    q.latency = strtoul(word[2], NULL, 10);
    q.wire_mtu = (uint16_t)strtoul(word[3], NULL, 10);
    return q;
}

static void D27_verdicts_equal_those_of_the_official_function(void **state)
{
    (void)state;
    struct vec v;
    size_t cases = 0, yes = 0;
    for (vec_open(&v, "path_better.txt"); vec_next(&v); cases++) {
        struct ml_path_quality a = quality(&v.word[0]), b = quality(&v.word[4]);
        bool want = v.word[8][0] == '1';
        if (ml_path_better(&a, &b) != want) {
            fail_msg("%s @%s against %s @%s: want %d", v.word[0], v.word[2], v.word[4], v.word[6], want);
        }
        yes += want;
    }
    assert_true(cases > 2000 && yes > 500 && cases - yes > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(D27_verdicts_equal_those_of_the_official_function)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
