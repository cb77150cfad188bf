/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#define ESP_IDF_VERSION_VAL(major, minor, patch) ((major)*65536 + (minor)*256 + (patch))
#ifdef ML_CHECK_IDF6
#define ESP_IDF_VERSION ESP_IDF_VERSION_VAL(6, 0, 0)
#else
#define ESP_IDF_VERSION ESP_IDF_VERSION_VAL(5, 3, 0)
#endif
