/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
void mbedtls_free(void *p);
