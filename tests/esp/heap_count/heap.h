/*
 * The heap of the test program, counted. SPDX-License-Identifier: MIT
 */
#ifndef HEAP_H
#define HEAP_H

#include <stdbool.h>
#include <stddef.h>

/** @brief Bytes in use, as asked for, by everything linked into the program (not by the C library itself). */
size_t heap_used(void);
size_t heap_blocks(void);
/** @brief Most bytes in use since the last heap_mark(). */
size_t heap_peak(void);
void heap_mark(void);
/**
 * @brief Let allocations fail, those of the node's task and of the main task: the @p nth from now (1 = the next), and with
 * @p all every later one too; 0: none. What other tasks do without memory is not the node's matter.
 */
void heap_fail(int nth, bool all);
/** @brief How many allocations are still to come before the one that fails; 0: it was reached, or none was set. */
int heap_fail_left(void);
/** @brief Print the blocks of at least that length, oldest first. */
void heap_print(size_t least);
#endif
