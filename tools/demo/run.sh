#!/usr/bin/env bash
# A whole tailnet on this machine for a moment: official control server, relays and node, and microlink among them. Installs
# what is missing, builds, runs, ends by itself. Needs no root when everything is installed already.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."

echo "[demo] installing what is missing"
tools/setup.sh demo
if [ -f .cache/env.sh ]; then
    # shellcheck disable=SC1091
    . .cache/env.sh
fi
echo "[demo] building microlink"
cmake -G Ninja -B build -S . >/dev/null
cmake --build build --target microlink
export ML_BIN=$PWD/build/ports/posix/microlink
unset ML_SUBJECT
cd tests/interop
go run ./cmd/demo
