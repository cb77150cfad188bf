#!/usr/bin/env bash
# The unit tests of the gcc build under valgrind: no invalid access, no use of an unset byte, no leak.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
run_one() {
    log=$(mktemp)
    if ! (cd "$1" && valgrind -q --suppressions="$SUPPRESSIONS" --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
        "$2" >"$log" 2>&1); then
        echo "$(basename "$2"): FAILED under valgrind"
        tail -40 "$log"
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}
export -f run_one
export SUPPRESSIONS=$ROOT/.ci/valgrind.supp
# Folder and program of every unit test, as ctest knows them.
ctest --test-dir build --show-only=json-v1 | python3 -c '
import json, sys
for t in json.load(sys.stdin)["tests"]:
    if t["name"].startswith("test_"):
        where = [p["value"] for p in t["properties"] if p["name"] == "WORKING_DIRECTORY"]
        print(where[0], t["command"][0])' >build/valgrind.list
xargs -P "$JOBS" -L 1 bash -c 'run_one "$0" "$1"' <build/valgrind.list
echo "valgrind: $(wc -l <build/valgrind.list) test programs, no error and no leak"
