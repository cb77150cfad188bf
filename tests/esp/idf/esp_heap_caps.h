/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include <stddef.h>
#include <stdint.h>
#define MALLOC_CAP_8BIT     (1u << 2)
#define MALLOC_CAP_SPIRAM   (1u << 10)
#define MALLOC_CAP_INTERNAL (1u << 11)
void *heap_caps_calloc(size_t n, size_t size, uint32_t caps);
size_t heap_caps_get_largest_free_block(uint32_t caps);
