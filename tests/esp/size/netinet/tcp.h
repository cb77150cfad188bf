/* Declarations for measuring code size without ESP-IDF, see ../../README.md. SPDX-License-Identifier: MIT */
#pragma once
#define TCP_NODELAY 1
