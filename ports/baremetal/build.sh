#!/usr/bin/env bash
# Builds the node for the emulated board into BUILD (default build-board): node.elf, and node.bin for its flash.
# Further arguments go to cmake, for instance -DML_BOARD_RAM_KB=160. Needs the packages gcc-riscv64-unknown-elf and
# picolibc-riscv64-unknown-elf (tools/setup.sh) and, the first time, a Debian mirror that has source packages.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath -m "${BUILD:-build-board}")
cache=$PWD/.cache
lwip=$(sh cmake/fetch_lwip.sh "$cache/lwip")
sources=$(sh ports/baremetal/fetch_sources.sh "$cache/board") # a process substitution that fails is not heard of
mapfile -t fetched <<<"$sources"
cmake -G Ninja -S ports/baremetal -B "$build" -DCMAKE_TOOLCHAIN_FILE="$PWD/ports/baremetal/rv32imac.cmake" \
    -DLWIP_DIR="$lwip" -DMBEDTLS_DIR="${fetched[0]}" -DSODIUM_DIR="${fetched[1]}" "$@" >/dev/null
cmake --build "$build" -j "${JOBS:-2}"
