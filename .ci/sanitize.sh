#!/usr/bin/env bash
# clang build with warnings as errors; the same tests under AddressSanitizer and UndefinedBehaviorSanitizer.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
cmake -G Ninja -B build-asan -S . -DCMAKE_C_COMPILER=clang -DML_SANITIZE=address,undefined >/dev/null
cmake --build build-asan -j "$JOBS"
ctest --test-dir build-asan --output-on-failure -j "$JOBS"
