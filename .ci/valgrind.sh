#!/usr/bin/env bash
# The unit tests of the gcc build under valgrind: no invalid access, no use of an unset byte, no leak.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
ctest --test-dir build -T memcheck -j "$JOBS" --output-on-failure -E '^replay_' \
    --overwrite MemoryCheckCommandOptions="--error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible -q" \
    >"$log" 2>&1 || { tail -60 "$log"; exit 1; }
grep -E 'tests passed|Memory checking results' -A3 "$log" || tail -5 "$log"
if grep -qE 'Defect|Memory Leak|Uninitialized' "$log"; then
    tail -40 "$log"
    exit 1
fi
