#!/bin/sh
# Downloads source packages of the distribution with apt, by name, into the folder CACHE_DIR: .dsc files and what they name.
# Usage: fetch_source.sh CACHE_DIR PACKAGE... Works as root or not, and leaves the system's own package lists alone: it reads which
# archives the system uses and asks them for source packages. Debian, Ubuntu and kin.
# SPDX-License-Identifier: MIT
set -eu
cache=$1
shift
mkdir -p "$cache/lists/partial" "$cache/archives/partial"
cd "$cache"
opts="-o Dir::Etc::SourceList=$cache/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$cache/lists
      -o Dir::Cache=$cache -o APT::Sandbox::User= -o APT::Get::List-Cleanup=0"
# Archives that carry the same version are asked in the order of this list; one may have lost a file that another has.
for order in "sort -u" "sort -ur"; do
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | $order |
        sed 's/^/deb-src /' >sources.list
    # shellcheck disable=SC2086
    apt-get $opts -qq update >&2
    # shellcheck disable=SC2086
    if apt-get $opts -qq source --download-only "$@" >&2; then
        rm -rf lists # 20 MB that nobody reads again
        exit 0
    fi
done
echo "fetch_source.sh: no archive has the source of: $*" >&2
exit 1
