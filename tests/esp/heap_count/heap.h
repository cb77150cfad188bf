/*
 * The heap of the test program, counted. SPDX-License-Identifier: MIT
 */
#ifndef HEAP_H
#define HEAP_H

#include <stddef.h>

/** @brief Bytes in use, as asked for, by everything linked into the program (not by the C library itself). */
size_t heap_used(void);
size_t heap_blocks(void);
/** @brief Most bytes in use since the last heap_mark(). */
size_t heap_peak(void);
void heap_mark(void);
/** @brief Print the blocks of at least that length, oldest first. */
void heap_print(size_t least);
#endif
