#!/bin/sh
# Fetch and unpack the distribution's source packages of Mbed TLS and libsodium, by name and version (cmake/fetch_source.sh), into a
# cache folder; nothing of them is in this tree. Usage: fetch_sources.sh CACHE_DIR. Prints the two source folders, one a line.
# SPDX-License-Identifier: MIT
set -eu
MBEDTLS=2.28.3
SODIUM=1.0.18
root=$(CDPATH='' cd "$(dirname "$0")/../.." && pwd)
cache=$1
mkdir -p "$cache"
cd "$cache"
if [ ! -f "mbedtls-$MBEDTLS/include/mbedtls/ssl.h" ] || [ ! -d "libsodium-$SODIUM/src/libsodium" ]; then
    sh "$root/cmake/fetch_source.sh" "$cache" mbedtls libsodium
    rm -rf "mbedtls-$MBEDTLS" "libsodium-$SODIUM"
    dpkg-source --no-check -x mbedtls_"$MBEDTLS"*.dsc "mbedtls-$MBEDTLS" >&2
    dpkg-source --no-check -x libsodium_"$SODIUM"*.dsc "libsodium-$SODIUM" >&2
fi
echo "$cache/mbedtls-$MBEDTLS"
echo "$cache/libsodium-$SODIUM"
