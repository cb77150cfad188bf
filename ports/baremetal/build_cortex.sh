#!/usr/bin/env bash
# Compiles the engine and what of this port is of no board for a Cortex-M4 into BUILD (default build-cortex), as a check and to be
# measured; nothing is linked. Needs gcc-arm-none-eabi and picolibc-arm-none-eabi (tools/setup.sh) and, the first time, a Debian
# mirror that has source packages.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath -m "${BUILD:-build-cortex}")
cache=$PWD/.cache
lwip=$(sh cmake/fetch_lwip.sh "$cache/lwip")
sources=$(sh ports/baremetal/fetch_sources.sh "$cache/board") # a process substitution that fails is not heard of
mapfile -t fetched <<<"$sources"
cmake -G Ninja -S ports/baremetal -B "$build" -DCMAKE_TOOLCHAIN_FILE="$PWD/ports/baremetal/cortex_m4.cmake" \
    -DLWIP_DIR="$lwip" -DMBEDTLS_DIR="${fetched[0]}" -DSODIUM_DIR="${fetched[1]}" \
    -DML_BOARD_LTO=OFF >/dev/null
targets=(portable)
for folder in src/*/; do
    if compgen -G "$folder*.c" >/dev/null; then
        targets+=("ml_$(basename "$folder")")
    fi
done
cmake --build "$build" -j "${JOBS:-2}" --target "${targets[@]}"
