#!/usr/bin/env bash
# gcc build with warnings as errors, unit tests, replay of the fuzz corpora, no static data in the core,
# figures of docs/footprint.md.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
cmake -G Ninja -B build -S . -DCMAKE_C_COMPILER=gcc >/dev/null
cmake --build build -j "$JOBS"
ctest --test-dir build --output-on-failure -j "$JOBS"
tools/check_static.py build
tools/footprint.py --check
tools/check_readme.py gcc
