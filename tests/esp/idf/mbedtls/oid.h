/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
#define MBEDTLS_OID_SERVER_AUTH "\x2b\x06\x01\x05\x05\x07\x03\x01"
