/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
typedef int psa_status_t;
#define PSA_SUCCESS 0
psa_status_t psa_crypto_init(void);
