#!/usr/bin/env bash
# Tests against the official programs, built from the pinned Go module. Needs root for network namespaces.
#
#   ML_TEST_RUN=TestNodes .ci/interop.sh    only some
#
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
[ -x build/ports/posix/microlink ] || { echo "interop: build first (.ci/unit.sh)"; exit 1; }
export ML_BIN=${ML_BIN:-$ROOT/build/ports/posix/microlink}
export ML_BUILD=${ML_BUILD:-$ROOT/build}
export ML_CTOOLS=${ML_CTOOLS:-$ROOT/build/tests/interop/ctools}
export ML_REQUIRE_ROOT=${ML_REQUIRE_ROOT:-${CI:+1}}
log=${ML_INTEROP_LOG:-$ROOT/build/interop.log}
cd tests/interop
go vet ./...
go vet -tags bench,board,espidf,lab ./... # What no step runs, or another one, compiles too.
# Each test's own line as it ends shows progress; the whole log stays in a file.
status=0
: >"$log"
run() {
    go test -count=1 -timeout 25m -v "$@" 2>&1 | tee -a "$log" |
        { grep -E '^( *--- (PASS|FAIL|SKIP)|ok|FAIL|PASS|panic:)|ratio' || true; } || status=$?
}
# Labs mostly wait; four at a time keep two cores busy without starving any.
run -parallel 4 ${ML_TEST_RUN:+-run "$ML_TEST_RUN"} .
# Of the NAT lab only the small matrix; tests/lab/run.sh runs it whole.
[ -n "${ML_TEST_RUN:-}" ] || run -run TestQuickMatrix ./lab
if grep -qE '^ *--- SKIP' "$log" && [ "${ML_REQUIRE_ROOT:-}" = 1 ]; then
    echo "interop: a test was skipped, which the gate does not allow"
    status=1
fi
if [ "$status" != 0 ]; then
    echo "interop: failed; the last lines of $log:"
    tail -150 "$log"
fi
exit "$status"
