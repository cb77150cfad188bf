/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#include <stdint.h>
void esp_deep_sleep(uint64_t usec);
