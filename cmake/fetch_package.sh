#!/bin/sh
# Fetch and unpack source packages of the distribution with apt, by name, into a cache folder; nothing of them is in this tree.
# Usage: fetch_package.sh CACHE_DIR PACKAGE... Prints a folder for each, one a line. Works as root or not, and leaves the
# system's own package lists alone. Debian, Ubuntu and kin.
# SPDX-License-Identifier: MIT
set -eu
cache=$1
shift
mkdir -p "$cache/lists/partial" "$cache/archives/partial"
cd "$cache"
missing=
for package in "$@"; do
    [ -f "$package/.unpacked" ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    opts="-o Dir::Etc::SourceList=$cache/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$cache/lists
          -o Dir::Cache=$cache -o APT::Sandbox::User= -o APT::Get::List-Cleanup=0"
    # Archives that carry the same version are asked in the order of this list; one may have lost a file that another has.
    for order in "sort -u" "sort -ur"; do
        apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | $order |
            sed 's/^/deb-src /' >sources.list
        # shellcheck disable=SC2086
        apt-get $opts -qq update >&2
        # shellcheck disable=SC2086
        apt-get $opts -qq source --download-only $missing >&2 && break
    done
    for package in $missing; do
        rm -rf "$package"
        dpkg-source --no-check -x "$(ls -t "${package}"_*.dsc | head -n 1)" "$package" >&2
        touch "$package/.unpacked"
    done
    rm -rf lists # 20 MB that nobody reads again
fi
for package in "$@"; do
    echo "$cache/$package"
done
