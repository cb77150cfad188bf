/*
 * Reads filter scripts (tests/unit/filter/filter_script.h) from standard input and compares verdicts. Prints what it saw;
 * exit status 1 when a verdict differs or a line makes no sense.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../../unit/filter/filter_script.h"

int main(void)
{
    struct filter_script s;

    filter_script_init(&s);
    filter_script_run(&s, stdin);
    filter_script_end(&s);
    printf("%lu packets, %lu accepted, %lu wrong, %lu bad lines\n", s.packets, s.accepted, s.wrong, s.bad_lines);
    if (s.wrong) {
        printf("%s\n", s.first_wrong);
    }
    return s.packets == 0 || s.wrong || s.bad_lines;
}
