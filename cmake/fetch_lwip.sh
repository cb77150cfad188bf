#!/bin/sh
# Fetch and unpack the distribution's source package of lwIP with apt, by name, into a cache folder.
# Usage: fetch_lwip.sh CACHE_DIR. Prints the folder that has src/include/lwip. Works as root or not, and leaves the
# system's own package lists alone: it reads which archives the system uses and asks them for source packages. Debian, Ubuntu and kin.
# SPDX-License-Identifier: MIT
set -eu
cache=$1
mkdir -p "$cache/lists/partial" "$cache/archives/partial"
cd "$cache"
found() { find "$cache" -path '*/src/include/lwip/init.h' 2>/dev/null | head -n 1 | sed 's|/src/include/lwip/init.h$||'; }
dir=$(found)
if [ -z "$dir" ]; then
    opts="-o Dir::Etc::SourceList=$cache/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$cache/lists
          -o Dir::Cache=$cache -o APT::Sandbox::User= -o APT::Get::List-Cleanup=0"
    # The system's own package sources, asked for source packages too. Archives that carry the same version are asked in the order
    # of this list; one may have lost a file that another has.
    for order in "sort -u" "sort -ur"; do
        apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | $order |
            sed 's/^/deb-src /' >sources.list
        # shellcheck disable=SC2086
        apt-get $opts -qq update >&2
        # shellcheck disable=SC2086
        apt-get $opts -qq source --download-only lwip >&2 && break
    done
    rm -rf lwip-source
    for dsc in lwip_*.dsc; do
        dpkg-source --no-check -x "$dsc" lwip-source >&2
    done
    rm -rf lists # 20 MB that nobody reads again
    dir=$(found)
fi
[ -n "$dir" ] || { echo "fetch_lwip.sh: the lwIP source package has an unknown layout" >&2; exit 1; }
echo "$dir"
