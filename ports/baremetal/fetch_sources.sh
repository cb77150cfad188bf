#!/bin/sh
# Fetch and unpack the distribution's source packages of Mbed TLS and libsodium with apt, by name and version, into a cache
# folder; nothing of them is in this tree. Usage: fetch_sources.sh CACHE_DIR. Prints the two source folders, one a line.
# As cmake/fetch_lwip.sh does: works as root or not, and leaves the system's own package lists alone.
# SPDX-License-Identifier: MIT
set -eu
MBEDTLS=2.28.3
SODIUM=1.0.18
cache=$1
mkdir -p "$cache/lists/partial" "$cache/archives/partial"
cd "$cache"
if [ ! -f "mbedtls-$MBEDTLS/include/mbedtls/ssl.h" ] || [ ! -d "libsodium-$SODIUM/src/libsodium" ]; then
    opts="-o Dir::Etc::SourceList=$cache/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$cache/lists
          -o Dir::Cache=$cache -o APT::Sandbox::User= -o APT::Get::List-Cleanup=0"
    # Archives that carry the same version are asked in the order of this list; one may have lost a file that another has.
    for order in "sort -u" "sort -ur"; do
        apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | $order |
            sed 's/^/deb-src /' >sources.list
        # shellcheck disable=SC2086
        apt-get $opts -qq update >&2
        # shellcheck disable=SC2086
        apt-get $opts -qq source --download-only mbedtls libsodium >&2 && break
    done
    rm -rf "mbedtls-$MBEDTLS" "libsodium-$SODIUM"
    dpkg-source --no-check -x mbedtls_"$MBEDTLS"*.dsc "mbedtls-$MBEDTLS" >&2
    dpkg-source --no-check -x libsodium_"$SODIUM"*.dsc "libsodium-$SODIUM" >&2
    rm -rf lists # 20 MB that nobody reads again
fi
echo "$cache/mbedtls-$MBEDTLS"
echo "$cache/libsodium-$SODIUM"
