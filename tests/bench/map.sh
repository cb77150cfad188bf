#!/usr/bin/env bash
# Netmap parsing speed on this machine; what is measured is said at the top of map/bench_map.c.
# SPDX-License-Identifier: MIT
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=$(cd "${BUILD:-$ROOT/build}" && pwd)
OUT=$ROOT/.cache/bench
mkdir -p "$OUT"
cmake --build "$BUILD" --target ml_control ml_map ml_json >/dev/null
${CC:-cc} -std=c11 -O2 -D_POSIX_C_SOURCE=200809L -I"$ROOT/include" -I"$ROOT/src" "$ROOT/tests/bench/map/bench_map.c" \
  "$BUILD"/libml_control.a "$BUILD"/libml_map.a "$BUILD"/libml_json.a "$BUILD"/libml_base.a -o "$OUT/bench_map"
"$OUT/bench_map" "$@"
