#!/usr/bin/env bash
# Tests against the official programs, built from the pinned Go module. Needs root for network namespaces.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
[ -x build/ports/posix/microlink ] || { echo "interop: build first (.ci/unit.sh)"; exit 1; }
export ML_BIN=${ML_BIN:-$ROOT/build/ports/posix/microlink}
export ML_CTOOLS=${ML_CTOOLS:-$ROOT/build/tests/interop/ctools}
export ML_REQUIRE_ROOT=${ML_REQUIRE_ROOT:-${CI:+1}}
cd tests/interop
go vet ./...
go test -count=1 -timeout 25m ${ML_TEST_RUN:+-run "$ML_TEST_RUN"} -v ./... 2>&1 | grep -vE '^(=== |[[:space:]]+--- PASS)' | grep -E '^(---|ok|FAIL|PASS|panic|\?)|---|ratio|error|Error|fatal' 
