/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#ifdef ML_CHECK_IDF6
#define MBEDTLS_VERSION_MAJOR 4
#else
#define MBEDTLS_VERSION_MAJOR 3
#endif
#define MBEDTLS_SSL_KEEP_PEER_CERTIFICATE
