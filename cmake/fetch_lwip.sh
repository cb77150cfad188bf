#!/bin/sh
# Fetch and unpack the distribution's source package of lwIP, by name (fetch_source.sh), into a cache folder.
# Usage: fetch_lwip.sh CACHE_DIR. Prints the folder that has src/include/lwip.
# SPDX-License-Identifier: MIT
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
cache=$1
mkdir -p "$cache"
cd "$cache"
found() { find "$cache" -path '*/src/include/lwip/init.h' 2>/dev/null | head -n 1 | sed 's|/src/include/lwip/init.h$||'; }
dir=$(found)
if [ -z "$dir" ]; then
    sh "$here/fetch_source.sh" "$cache" lwip
    rm -rf lwip-source
    for dsc in lwip_*.dsc; do
        dpkg-source --no-check -x "$dsc" lwip-source >&2
    done
    dir=$(found)
fi
[ -n "$dir" ] || { echo "fetch_lwip.sh: the lwIP source package has an unknown layout" >&2; exit 1; }
echo "$dir"
