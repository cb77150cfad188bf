#!/bin/sh
# Fetch and unpack source packages of the distribution, by name (fetch_source.sh), into a cache folder; nothing of them is in this
# tree. Usage: fetch_package.sh CACHE_DIR PACKAGE... Prints a folder for each, one a line.
# SPDX-License-Identifier: MIT
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
cache=$1
shift
mkdir -p "$cache"
cd "$cache"
missing=
for package in "$@"; do
    [ -f "$package/.unpacked" ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    sh "$here/fetch_source.sh" "$cache" $missing
    for package in $missing; do
        rm -rf "$package"
        dpkg-source --no-check -x "$(ls -t "${package}"_*.dsc | head -n 1)" "$package" >&2
        touch "$package/.unpacked"
    done
fi
for package in "$@"; do
    echo "$cache/$package"
done
