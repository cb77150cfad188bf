/*
 * What libsodium's own start-up does elsewhere: here nothing is to be chosen (portable C is all there is), and random bytes
 * come from the engine's source, never from the library's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "board/board.h"

#include <sodium.h>

int sodium_init(void)
{
    return 0;
}

void sodium_misuse(void)
{
    ml_board_panic("libsodium was called wrongly");
}
